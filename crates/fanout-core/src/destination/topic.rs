//! A topic of Momento.

use std::borrow::Cow;
use std::future::Future;

use super::DeliveryError;

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic<'n> {
    /// Its cache.
    pub cache: Cow<'n, str>,
    /// Its name.
    pub topic: Cow<'n, str>,
}

impl<'n> Topic<'n> {
    /// The topic of these names.
    pub fn new(cache: impl Into<Cow<'n, str>>, topic: impl Into<Cow<'n, str>>) -> Self {
        Self { cache: cache.into(), topic: topic.into() }
    }

    /// The same, borrowed from this one.
    #[must_use]
    pub fn borrowed(&self) -> Topic<'_> {
        Topic::new(&*self.cache, &*self.topic)
    }
}

/// Publishes texts to topics: the edge to Momento.
pub trait Publisher: Send + Sync + 'static {
    /// Publishes once; trying again is for the caller.
    fn publish(
        &self,
        topic: &Topic<'_>,
        text: &str,
    ) -> impl Future<Output = Result<(), DeliveryError>> + Send;

    /// Waits for what publishing has begun and did not wait for.
    fn settled(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}
