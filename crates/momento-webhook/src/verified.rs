//! The type of data with a valid signature.

use std::ops::Deref;

use crate::event::{Event, EventError};

/// Data from a holder of the signing secret.
///
/// Only the `verify` functions of this crate make one from bytes, and only [`Verified::event`] makes a
/// `Verified<Event>`. So code that takes a `Verified<Event>` accepts no unverified event. The only way around a
/// signature is [`trusted`](Self::trusted), whose name is easy to search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Wraps data whose signature a `verify` function has found valid.
    pub(crate) const fn new(verified: T) -> Self {
        Self(verified)
    }

    /// Wraps data from a source that only trusted senders can write to, such as a private queue. Never use it for
    /// data of a public endpoint.
    pub const fn trusted(data: T) -> Self {
        Self(data)
    }

    /// Returns the data without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<B: AsRef<[u8]>> Verified<B> {
    /// Parses the verified bytes as an event.
    ///
    /// # Errors
    /// If the body is not an event; see [`EventError`].
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
