//! A topic of Momento.

use std::borrow::Cow;
use std::future::Future;

use sha2::{Digest as _, Sha256};

use crate::reason::Failure;

/// A topic in a cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic<'n> {
    /// The name of the cache.
    pub cache: Cow<'n, str>,
    /// The name of the topic.
    pub topic: Cow<'n, str>,
}

impl<'n> Topic<'n> {
    /// Returns the topic with these names.
    pub fn new(cache: impl Into<Cow<'n, str>>, topic: impl Into<Cow<'n, str>>) -> Self {
        Self { cache: cache.into(), topic: topic.into() }
    }

    /// Returns a short hash of both names, by which the progress of an event says where it was published: 16 hexadecimal
    /// digits.
    #[must_use]
    pub fn key(&self) -> String {
        // No name of a cache has a slash or a control character.
        let hash = Sha256::new().chain_update(&*self.cache).chain_update([0]).chain_update(&*self.topic);
        let mut key = hex::encode(hash.finalize());
        key.truncate(16);
        key
    }

    /// Returns the same topic, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> Topic<'_> {
        Topic::new(&*self.cache, &*self.topic)
    }
}

/// Publishes texts to topics of Momento.
pub trait Publisher: Send + Sync + 'static {
    /// Publishes a text, with one attempt. The caller retries.
    fn publish(&self, topic: &Topic<'_>, text: &str) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Waits for work that publishes have started and did not wait for.
    fn settled(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}
