//! The JSON document around a message, inside the transform `json`.

use std::fmt;

/// A JSON document of which a message is a member.
#[derive(Clone, Copy)]
pub struct Around<'t>(&'t str);

impl<'t> Around<'t> {
    /// The document in `text`.
    #[must_use]
    pub const fn new(text: &'t str) -> Self {
        Self(text)
    }

    /// The document, as it was sent: it is JSON, and may have in it what a tree of values cannot, as `1e999`.
    #[must_use]
    pub const fn text(self) -> &'t str {
        self.0
    }
}

/// Without the text, which is somebody's message.
impl fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Around(<{} bytes>)", self.0.len())
    }
}
