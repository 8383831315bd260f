//! A topic of Momento.

use crate::reason::Failure;
use std::borrow::Cow;
use std::future::Future;

/// A topic in a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
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
