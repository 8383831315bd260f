//! The requests with an `Idempotency-Key` that were carried out before. A caller that got no response sends the request again,
//! and gets the first result.
//!
//! Without a shared store, this process remembers them: another instance publishes the text again. In a store, each has one
//! item:
//!
//! | value | time to live |
//! | --- | --- |
//! | `claim OWNER` while the first request is handled | until its deadline |
//! | the result as JSON | [`KEPT`] |
//!
//! Only a text that was published is remembered. A request that failed is carried out again.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanout_core::dedupe::shared::{CALL_TIMEOUT, Item, SharedStore};
use fanout_core::names::CacheName;
use fanout_core::reason::{Failure, Reason, with_sources};
use lru::LruCache;
use momento_webhook::Millis;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::outcome::{PublishOutcome, Published};
use super::request::Message;

/// The time for which a result is kept.
pub const KEPT: Duration = Duration::from_hours(1);

/// The results that this process remembers. Each takes a few hundred bytes, and a moderated one its text.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(2_048).expect("it is not zero");

/// How long a claim outlives the deadline of its request.
const MARGIN: Duration = Duration::from_secs(1);

/// The time to live that ends an item. The store has no call that deletes an item only if it has a certain value.
const AT_ONCE: Duration = Duration::from_millis(1);

/// The wait before a claimed item is read again.
const WAIT: Duration = Duration::from_millis(100);

/// The time that is kept free for storing a result.
const TIME_TO_STORE: Duration = Duration::from_millis(300);

const CLAIM: &str = "claim ";

/// Remembers requests.
#[derive(Debug)]
pub struct Idempotency {
    seen: Mutex<LruCache<String, Arc<AsyncMutex<Option<Kept>>>>>,
    shared: Option<(Arc<dyn SharedStore>, Option<CacheName>)>,
}

/// The key of a request.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k> {
    /// The cache of the topic.
    pub cache: &'k str,
    /// The token id of the person. Keys of different people are different.
    pub person: &'k str,
    /// The header `Idempotency-Key`.
    pub key: &'k str,
}

/// The result of a request that was carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    /// The hash of its message.
    message: String,
    #[serde(skip)]
    until: Millis,
    result: Published,
}

/// What the store says about a request.
enum Claim {
    /// It is claimed by this value.
    Held(String),
    Done(PublishOutcome),
}

/// Returns the deadline for publishing, if the result has to be stored by `deadline`.
pub(super) fn before_store(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline - TIME_TO_STORE.min(left / 4)
}

impl Idempotency {
    /// Remembers requests in this process, or else in `shared`: in the named cache, or that of each topic.
    #[must_use]
    pub fn new(shared: Option<(Arc<dyn SharedStore>, Option<CacheName>)>) -> Self {
        Self { seen: Mutex::new(LruCache::new(REMEMBERED)), shared }
    }

    /// Returns the outcome of `publishing`, or of an earlier request with the same key.
    pub async fn once(
        &self,
        key: Key<'_>,
        message: &Message,
        now: Millis,
        deadline: Instant,
        publishing: impl Future<Output = PublishOutcome>,
    ) -> PublishOutcome {
        let (name, message) = (hash(&[key.person, key.key]), hash(&[&message.topic, &message.text]));
        match &self.shared {
            None => self.once_here(name, message, now, publishing).await,
            Some((store, cache)) => {
                let cache = cache.as_ref().map_or(key.cache, |cache| cache.as_str());
                let name = format!("topic-fanout/publish/{name}");
                let item = Item { cache, key: &name };
                once_in(store.as_ref(), item, message, deadline, publishing).await
            }
        }
    }

    async fn once_here(
        &self,
        name: String,
        message: String,
        now: Millis,
        publishing: impl Future<Output = PublishOutcome>,
    ) -> PublishOutcome {
        let entry = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(seen.get_or_insert(name, Arc::default))
        };
        // A request that is being handled holds it.
        let mut kept = entry.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.until) {
            return kept.outcome(&message);
        }
        let outcome = publishing.await;
        if let PublishOutcome::Published(result) = &outcome {
            let until = now.saturating_add(u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX));
            *kept = Some(Kept { message, until, result: result.clone() });
        }
        outcome
    }
}

impl Kept {
    fn outcome(&self, message: &str) -> PublishOutcome {
        if self.message == message {
            PublishOutcome::Repeated(self.result.clone())
        } else {
            PublishOutcome::KeyReused
        }
    }
}

/// Does the same with an item of a store. If the store fails, the text is published: a text twice is better than a lost one.
async fn once_in(
    store: &dyn SharedStore,
    item: Item<'_>,
    message: String,
    deadline: Instant,
    publishing: impl Future<Output = PublishOutcome>,
) -> PublishOutcome {
    let failed = |error: &Failure| {
        let error = with_sources(error);
        tracing::warn!(error, "the cache for Idempotency-Key failed: the text may be published again");
    };
    let held = match claim(store, item, &message, deadline).await {
        Ok(Claim::Held(held)) => held,
        Ok(Claim::Done(outcome)) => return outcome,
        Err(error) => {
            failed(&error);
            return publishing.await;
        }
    };
    let outcome = publishing.await;
    let stored = if let PublishOutcome::Published(result) = &outcome {
        let kept = Kept { message, until: 0, result: result.clone() };
        let kept = serde_json::to_string(&kept).expect("strings under string keys are JSON");
        call(deadline, store.set(item, &kept, KEPT)).await
    } else {
        call(deadline, store.set_if_equal(item, &held, "", AT_ONCE)).await.map(drop)
    };
    if let Err(error) = stored {
        failed(&error);
    }
    outcome
}

/// Claims an item, or returns the result in it. Waits while another request holds it.
async fn claim(
    store: &dyn SharedStore,
    item: Item<'_>,
    message: &str,
    deadline: Instant,
) -> Result<Claim, Failure> {
    let held = format!("{CLAIM}{:032x}", rand::random::<u128>());
    loop {
        let ttl = deadline.saturating_duration_since(Instant::now()) + MARGIN;
        if call(deadline, store.set_if_absent(item, &held, ttl)).await? {
            return Ok(Claim::Held(held));
        }
        match call(deadline, store.get(item)).await? {
            Some(value) if !value.starts_with(CLAIM.as_bytes()) && !value.is_empty() => {
                let kept: Kept = serde_json::from_slice(&value)
                    .map_err(|_| Failure::new(Reason::InvalidArgument, "the item has an unknown form"))?;
                return Ok(Claim::Done(kept.outcome(message)));
            }
            _ => {}
        }
        if Instant::now() + WAIT >= deadline {
            return Ok(Claim::Done(PublishOutcome::Busy));
        }
        sleep(WAIT).await;
    }
}

/// Makes one call of the store, which ends in time.
async fn call<T>(deadline: Instant, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let end = deadline.min(Instant::now() + CALL_TIMEOUT);
    timeout_at(end, call).await.unwrap_or_else(|_| Err(Reason::TimedOut.into()))
}

/// Returns a hash of texts, each with its length, so that none is taken for what follows.
fn hash(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hex::encode(hash.finalize())
}
