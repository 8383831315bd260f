//! Items in caches, through one shared client of the SDK.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanout_core::dedupe::shared::{Item, SharedStore};
use fanout_core::reason::{Failure, Reason};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use momento::cache::{
    Configuration, GetResponse, SetIfAbsentRequest, SetIfAbsentResponse, SetIfEqualRequest,
    SetIfEqualResponse, SetRequest,
};
use momento::config::grpc_configuration::GrpcConfiguration;
use momento::config::transport_strategy::TransportStrategy;
use momento::{CacheClient, MomentoError};

use crate::publisher::{KeySource, Keys, MAX_UNANSWERED};
use crate::status::reason;

/// The time to live of items without one of their own. The SDK's client needs it, and every call here has its own.
const ITEM_TTL: Duration = Duration::from_mins(1);

/// Reads and writes items through one client of the SDK, which is built at its first use.
///
/// As in [`MomentoPublisher`](crate::MomentoPublisher), the client is replaced when its key is, and after two calls in a row
/// without any response: their connection may be cut off, which the SDK notices after most of a minute.
pub struct MomentoCache {
    keys: Arc<dyn KeySource>,
    configuration: Configuration,
    current: Mutex<Option<Current>>,
}

#[derive(Clone)]
struct Current {
    client: Arc<CacheClient>,
    keys: Arc<Keys>,
    unanswered: u32,
}

impl MomentoCache {
    /// Uses these keys. `timeout` is that of one call.
    #[must_use]
    pub fn new(keys: Arc<dyn KeySource>, timeout: Duration) -> Self {
        let grpc = GrpcConfiguration::builder().deadline(timeout);
        let transport = TransportStrategy::builder().grpc_configuration(grpc);
        let configuration = Configuration::builder().transport_strategy(transport).build();
        Self { keys, configuration, current: Mutex::default() }
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the client with the current key. Needs a Tokio runtime.
    fn client(&self) -> Result<Arc<CacheClient>, Failure> {
        let keys = self.keys.current();
        let mut current = self.current();
        if let Some(current) = current.as_ref().filter(|current| current.keys.current == keys.current) {
            return Ok(Arc::clone(&current.client));
        }
        let client = CacheClient::builder()
            .default_ttl(ITEM_TTL)
            .configuration(self.configuration.clone())
            .credential_provider(keys.current.provider().clone())
            .build();
        let client = Arc::new(client.map_err(failed)?);
        *current = Some(Current { client: Arc::clone(&client), keys, unanswered: 0 });
        Ok(client)
    }

    /// Makes one call, which its caller can drop at any time.
    pub(crate) async fn call<T, F: Future<Output = Result<T, MomentoError>>>(
        &self,
        call: impl FnOnce(Arc<CacheClient>) -> F,
    ) -> Result<T, Failure> {
        let client = self.client()?;
        let mut attempt = Attempt { cache: self, client: Arc::clone(&client), is_answered: false };
        let result = call(client).await.map_err(failed);
        let reason = result.as_ref().err().map(|error| error.reason);
        attempt.is_answered = reason != Some(Reason::TimedOut);
        if reason == Some(Reason::Unauthenticated) {
            // Polled once, this starts a fetch. A later call has the new key.
            let rejected = self.keys.current();
            let _ = self.keys.refresh(&rejected).now_or_never();
        }
        result
    }
}

fn failed(error: MomentoError) -> Failure {
    Failure::from(reason(&error)).because(error)
}

impl SharedStore for MomentoCache {
    fn get<'s>(&'s self, item: Item<'s>) -> BoxFuture<'s, Result<Option<Vec<u8>>, Failure>> {
        let call = self.call(async move |client| client.get(item.cache, item.key).await);
        Box::pin(async {
            Ok(match call.await? {
                GetResponse::Hit { value } => Some(value.into()),
                GetResponse::Miss => None,
            })
        })
    }

    fn set<'s>(
        &'s self,
        item: Item<'s>,
        value: &'s str,
        ttl: Duration,
    ) -> BoxFuture<'s, Result<(), Failure>> {
        let request = SetRequest::new(item.cache, item.key, value).ttl(ttl);
        Box::pin(async { self.call(async |client| client.send_request(request).await).await.map(drop) })
    }

    fn set_if_absent<'s>(
        &'s self,
        item: Item<'s>,
        value: &'s str,
        ttl: Duration,
    ) -> BoxFuture<'s, Result<bool, Failure>> {
        let request = SetIfAbsentRequest::new(item.cache, item.key, value).ttl(ttl);
        Box::pin(async {
            let response = self.call(async |client| client.send_request(request).await).await?;
            Ok(response == SetIfAbsentResponse::Stored)
        })
    }

    fn set_if_equal<'s>(
        &'s self,
        item: Item<'s>,
        current: &'s str,
        value: &'s str,
        ttl: Duration,
    ) -> BoxFuture<'s, Result<bool, Failure>> {
        let request = SetIfEqualRequest::new(item.cache, item.key, value, current).ttl(ttl);
        Box::pin(async {
            let response = self.call(async |client| client.send_request(request).await).await?;
            Ok(response == SetIfEqualResponse::Stored)
        })
    }
}

/// Never shows the key.
impl fmt::Debug for MomentoCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MomentoCache").finish_non_exhaustive()
    }
}

/// One call, which its caller can drop at any time.
struct Attempt<'a> {
    cache: &'a MomentoCache,
    client: Arc<CacheClient>,
    is_answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut slot = self.cache.current();
        // Another caller may have replaced the client.
        let Some(current) = slot.as_mut().filter(|current| Arc::ptr_eq(&current.client, &self.client)) else {
            return;
        };
        current.unanswered = if self.is_answered { 0 } else { current.unanswered + 1 };
        if current.unanswered >= MAX_UNANSWERED {
            tracing::warn!(unanswered = current.unanswered, "connections to caches of Momento replaced");
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use momento_local::{Fault, MomentoLocal, Rpc};

    use super::*;
    use crate::credentials::Credentials;

    const ITEM: Item<'_> = Item { cache: "c", key: "k" };
    const TTL: Duration = Duration::from_mins(1);

    async fn start() -> (MomentoLocal, MomentoCache) {
        let momento = MomentoLocal::builder().cache("c").start().await.unwrap();
        let current = Credentials::new("any", Some(&momento.endpoint().parse().unwrap())).unwrap();
        let keys = Arc::new(Keys { current, previous: None });
        (momento, MomentoCache::new(Arc::new(keys), Duration::from_millis(300)))
    }

    #[tokio::test]
    async fn sets_and_compares_items() {
        let (_momento, cache) = start().await;
        assert_eq!(cache.get(ITEM).await.unwrap(), None);
        assert!(!cache.set_if_equal(ITEM, "a", "b", TTL).await.unwrap());
        assert!(cache.set_if_absent(ITEM, "a", TTL).await.unwrap());
        assert!(!cache.set_if_absent(ITEM, "b", TTL).await.unwrap());
        assert_eq!(cache.get(ITEM).await.unwrap().as_deref(), Some(&b"a"[..]));
        assert!(!cache.set_if_equal(ITEM, "b", "c", TTL).await.unwrap());
        assert!(cache.set_if_equal(ITEM, "a", "c", TTL).await.unwrap());
        cache.set(ITEM, "d", TTL).await.unwrap();
        assert_eq!(cache.get(ITEM).await.unwrap().as_deref(), Some(&b"d"[..]));
        let missing = Item { cache: "missing", ..ITEM };
        assert_eq!(cache.get(missing).await.unwrap_err().reason, Reason::NotFound);
    }

    #[tokio::test]
    async fn replaces_client_after_two_calls_without_response() {
        let (momento, cache) = start().await;
        cache.get(ITEM).await.unwrap();
        let first = cache.client().unwrap();
        let fault = momento.inject(Fault::hang().on(Rpc::Get).times(2));
        assert_eq!(cache.get(ITEM).await.unwrap_err().reason, Reason::TimedOut);
        assert!(Arc::ptr_eq(&first, &cache.client().unwrap()));
        // A caller that stops waiting counts as well.
        let stopped = tokio::time::timeout(Duration::from_millis(100), cache.get(ITEM)).await;
        assert!(stopped.is_err());
        assert_eq!(fault.hits(), 2);
        assert!(!Arc::ptr_eq(&first, &cache.client().unwrap()));
        assert_eq!(cache.get(ITEM).await.unwrap(), None);
    }
}
