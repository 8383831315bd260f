//! The type that only a good signature makes.

use std::ops::Deref;

use crate::event::{Event, EventError};

/// Something that was proven to come from a holder of the signing secret.
///
/// The `verify` functions of this crate make one out of bytes, and only [`Verified::event`] makes an event of
/// those: code that takes a `Verified<Event>` cannot be handed anything else. The one way around a signature is
/// called [`trusted`](Self::trusted), and is easily found in what uses this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// For the `verify` functions, after the signature was found good.
    pub(crate) const fn new(proven: T) -> Self {
        Self(proven)
    }

    /// For what came by a way that only those can take who are trusted: a queue to which nobody else may write.
    /// Never for what anybody can send.
    pub const fn trusted(bytes: T) -> Self {
        Self(bytes)
    }

    /// Gives up the proof and keeps what was proven.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<B: AsRef<[u8]>> Verified<B> {
    /// Reads the proven bytes as an event.
    ///
    /// # Errors
    /// When the body is genuine and still not an event; see [`EventError`].
    pub fn event(&self) -> Result<Verified<Event>, EventError> {
        Event::from_json(self.0.as_ref()).map(Verified)
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
