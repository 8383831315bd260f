//! The JSON document around a message, inside the transform `json`.

use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use super::TransformError;
use super::document::{Looked, Pointer, Unreadable, look_up, tree};

/// A JSON document that is read as far as somebody asks for it.
///
/// Not everything that is JSON can be read into a tree of values: half of a surrogate pair, `1e999`, a thousand
/// lists in one another. Who needs one member is not to mind what the others are.
pub struct Around<'t> {
    text: &'t str,
    tree: OnceLock<Result<Value, Unreadable>>,
}

impl<'t> Around<'t> {
    /// The document in `text`.
    #[must_use]
    pub const fn new(text: &'t str) -> Self {
        Self { text, tree: OnceLock::new() }
    }

    /// The whole of it.
    ///
    /// # Errors
    /// When there is something in it that no tree of values can have.
    pub fn tree(&self) -> Result<&Value, TransformError> {
        self.read().map_err(|why| TransformError::unfit(format!("the document {why}")).because(why))
    }

    pub(super) fn read(&self) -> Result<&Value, Unreadable> {
        self.tree.get_or_init(|| tree(self.text)).as_ref().map_err(|why| *why)
    }

    /// What is at `at`, without a look at the rest. Of a member that is given twice, the last one counts.
    pub(super) fn look_up(&self, at: &Pointer) -> Option<Looked<'t>> {
        look_up(self.text, at)
    }
}

/// Without the text, which is somebody's message.
impl fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Around(<{} bytes>)", self.text.len())
    }
}
