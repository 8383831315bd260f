//! The caches with their topics and subscribers, and the lock of their items.
//!
//! [`log`] implements one topic, without locks or time, and [`turns`] paces the readers of all topics. This module
//! shares the topics between calls. It holds no lock across an `await`, and a publisher never waits for a reader.

pub(crate) mod log;
mod turns;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::error::{CacheError, MAX_NAME_BYTES};
use crate::items::{ItemError, Items, Store};
use log::{Cursor, Event, Limits, Log, Published, Value};
use turns::Turns;

/// The topics that one cache remembers. Beyond that, it forgets the least recently used ones without subscribers,
/// as the service forgets topics after a quiet period.
const MAX_TOPICS_PER_CACHE: usize = 10_000;

/// All caches.
#[derive(Debug)]
pub(crate) struct Hub {
    limits: Limits,
    create_caches: bool,
    max_subscriptions: usize,
    subscriptions: AtomicUsize,
    /// The names of the caches and their topics. A caller that needs both locks takes that of the items first.
    caches: Mutex<HashMap<String, Cache>>,
    items: Mutex<Store>,
    last_page: AtomicU64,
    clock: AtomicU64,
    turns: Turns,
    /// Notifies after every publish, subscribe and unsubscribe, for [`Hub::wait_until`].
    activity: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Cache {
    topics: HashMap<String, Arc<Topic>>,
}

#[derive(Debug)]
struct Topic {
    log: Mutex<Log>,
    /// Notifies the readers after every publish and reset.
    events: watch::Sender<()>,
    /// Becomes true when the cache is deleted.
    closed: watch::Sender<bool>,
    subscribers: AtomicUsize,
    last_used: AtomicU64,
}

impl Hub {
    pub(crate) fn new(
        limits: Limits,
        create_caches: bool,
        max_subscriptions: usize,
        max_items_bytes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            limits,
            create_caches,
            max_subscriptions,
            subscriptions: AtomicUsize::new(0),
            caches: Mutex::default(),
            items: Mutex::new(Store::new(max_items_bytes)),
            last_page: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            turns: Turns::default(),
            activity: watch::Sender::new(()),
        })
    }

    pub(crate) fn create_cache(&self, name: &str) -> Result<(), CacheError> {
        check_cache_name(name)?;
        let mut caches = lock(&self.caches);
        if caches.contains_key(name) {
            return Err(CacheError::CacheAlreadyExists(name.to_owned()));
        }
        caches.insert(name.to_owned(), Cache::default());
        Ok(())
    }

    /// Deletes a cache with its items and topics; subscriptions to them end.
    pub(crate) fn delete_cache(&self, name: &str) -> Result<(), CacheError> {
        check_cache_name(name)?;
        let mut items = lock(&self.items);
        let cache = lock(&self.caches).remove(name).ok_or_else(|| not_found(name))?;
        items.clear(name);
        cache.close();
        Ok(())
    }

    /// Deletes all items of a cache.
    pub(crate) fn flush_cache(&self, name: &str) -> Result<(), CacheError> {
        check_cache_name(name)?;
        let mut items = lock(&self.items);
        if !lock(&self.caches).contains_key(name) {
            return Err(not_found(name));
        }
        items.clear(name);
        Ok(())
    }

    /// Calls `operate` with the items of a cache.
    pub(crate) fn with_items<R>(
        &self,
        cache: &str,
        operate: impl FnOnce(&mut Items<'_>) -> Result<R, ItemError>,
    ) -> Result<R, ItemError> {
        check_cache_name(cache)?;
        let mut items = lock(&self.items);
        self.use_cache(&mut lock(&self.caches), cache)?;
        operate(&mut items.cache(cache))
    }

    /// Returns the names of all caches, in alphabetical order.
    pub(crate) fn cache_names(&self) -> Vec<String> {
        let mut names: Vec<_> = lock(&self.caches).keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn publish(
        &self,
        cache: &str,
        topic: &str,
        publisher_id: String,
        value: Value,
    ) -> Result<Arc<Published>, CacheError> {
        let topic = self.topic(cache, topic)?;
        let published = lock(&topic.log).publish(publisher_id, value);
        topic.events.send_replace(());
        self.activity.send_replace(());
        Ok(published)
    }

    /// Begins a new sequence page on a topic.
    pub(crate) fn reset_topic(&self, cache: &str, topic: &str) -> Result<(), CacheError> {
        self.topic(cache, topic)?.reset(self.next_page());
        Ok(())
    }

    /// Subscribes from `resume_at` on, a number and its page; from the latest messages on if the number is 0.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        cache: &str,
        topic: &str,
        resume_at: (u64, u64),
    ) -> Result<Subscription, CacheError> {
        let topic = self.topic(cache, topic)?;
        let max = self.max_subscriptions;
        let one_more = |open| (open < max).then_some(open + 1);
        self.subscriptions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .map_err(|_| CacheError::TooManySubscriptions(max))?;
        topic.subscribers.fetch_add(1, Ordering::AcqRel);
        // Watched before the cursor is taken: a message in between causes one needless wake-up and is not missed.
        let (events, closed) = (topic.events.subscribe(), topic.closed.subscribe());
        let cursor = lock(&topic.log).resume_at(resume_at.0, resume_at.1);
        self.activity.send_replace(());
        Ok(Subscription { hub: Arc::clone(self), topic, cursor, events, closed })
    }

    /// Returns the current number of subscribers of a topic.
    pub(crate) fn subscriber_count(&self, cache: &str, topic: &str) -> usize {
        self.existing_topic(cache, topic).map_or(0, |topic| topic.subscribers.load(Ordering::Acquire))
    }

    /// Returns the messages that a resuming subscriber can have replayed, oldest first.
    pub(crate) fn history(&self, cache: &str, topic: &str) -> Vec<Arc<Published>> {
        self.existing_topic(cache, topic).map_or_else(Vec::new, |topic| lock(&topic.log).history())
    }

    /// Waits until `condition` holds. Checks it after every publish, subscribe and unsubscribe.
    pub(crate) async fn wait_until(&self, mut condition: impl FnMut(&Self) -> bool) {
        let mut activity = self.activity.subscribe();
        while !condition(self) {
            activity.changed().await.expect("the sender lives in `self`");
        }
    }

    fn topic(&self, cache: &str, name: &str) -> Result<Arc<Topic>, CacheError> {
        check_cache_name(cache)?;
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(CacheError::InvalidTopicName);
        }
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut caches = lock(&self.caches);
        let cache = self.use_cache(&mut caches, cache)?;
        if let Some(topic) = cache.topics.get(name) {
            topic.last_used.store(now, Ordering::Relaxed);
            return Ok(Arc::clone(topic));
        }
        cache.make_room();
        let topic = Arc::new(Topic {
            log: Mutex::new(Log::new(self.limits, self.next_page())),
            events: watch::Sender::new(()),
            closed: watch::Sender::new(false),
            subscribers: AtomicUsize::new(0),
            last_used: AtomicU64::new(now),
        });
        cache.topics.insert(name.to_owned(), Arc::clone(&topic));
        Ok(topic)
    }

    /// Returns a cache, which comes into being if the settings say so.
    fn use_cache<'c>(
        &self,
        caches: &'c mut HashMap<String, Cache>,
        name: &str,
    ) -> Result<&'c mut Cache, CacheError> {
        if self.create_caches && !caches.contains_key(name) {
            caches.insert(name.to_owned(), Cache::default());
        }
        caches.get_mut(name).ok_or_else(|| not_found(name))
    }

    fn existing_topic(&self, cache: &str, topic: &str) -> Option<Arc<Topic>> {
        lock(&self.caches).get(cache)?.topics.get(topic).cloned()
    }

    /// Returns the next page number: greater than all before, but not consecutive, as on the service.
    ///
    /// It is the time in microseconds, so that a restarted server has other pages than the one before it, also if
    /// a test restarts it at once. JavaScript can represent the number exactly.
    fn next_page(&self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| u64::try_from(since.as_micros()).ok())
            .unwrap_or(0);
        let next = |last: u64| now.max(last + 1);
        let last = self.last_page.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last))
    }
}

impl Cache {
    fn close(&self) {
        for topic in self.topics.values() {
            topic.closed.send_replace(true);
        }
    }

    /// Forgets a tenth of the topics, the least recently used ones, if the cache has too many.
    fn make_room(&mut self) {
        if self.topics.len() < MAX_TOPICS_PER_CACHE {
            return;
        }
        let mut idle: Vec<_> = self
            .topics
            .iter()
            // A subscriber, or a publisher before its write, holds a reference. No call can get a new one now,
            // because the caller has the lock.
            .filter(|(_, topic)| Arc::strong_count(topic) == 1)
            .map(|(name, topic)| (topic.last_used.load(Ordering::Relaxed), name.clone()))
            .collect();
        idle.sort_unstable();
        for (_, name) in idle.into_iter().take(MAX_TOPICS_PER_CACHE / 10) {
            self.topics.remove(&name);
        }
    }
}

impl Topic {
    fn reset(&self, page: u64) {
        lock(&self.log).reset(page);
        self.events.send_replace(());
    }
}

/// One subscriber of a topic. A drop unsubscribes it.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    cursor: Cursor,
    events: watch::Receiver<()>,
    closed: watch::Receiver<bool>,
}

impl Subscription {
    /// Waits for a turn to send something.
    pub(crate) async fn turn(&self) {
        self.hub.turns.next().await;
    }

    /// Waits for the next event; `None` after the cache is deleted. Cancel safe: a dropped future loses no event.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if *self.closed.borrow() {
                return None;
            }
            self.turn().await;
            if let Some(event) = lock(&self.topic.log).next(&mut self.cursor) {
                return Some(event);
            }
            tokio::select! {
                changed = self.events.changed() => changed.ok()?,
                changed = self.closed.changed() => changed.ok()?,
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.topic.subscribers.fetch_sub(1, Ordering::AcqRel);
        self.hub.subscriptions.fetch_sub(1, Ordering::AcqRel);
        self.hub.activity.send_replace(());
    }
}

fn check_cache_name(name: &str) -> Result<(), CacheError> {
    if name.trim().is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(CacheError::InvalidCacheName);
    }
    Ok(())
}

fn not_found(cache: &str) -> CacheError {
    CacheError::CacheNotFound(cache.to_owned())
}

/// Locks. Code of this crate does not panic while it holds a lock, so a poisoned one has consistent data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use momento_protos::cache_client::{KeysExistRequest, SetRequest};

    use super::*;
    use crate::items::{any, scalar};

    const LIMITS: Limits = Limits { history: 10, latest: 1, lag: 10, bytes: 1_000 };

    fn hub() -> Arc<Hub> {
        let hub = Hub::new(LIMITS, false, 2, 1_000);
        hub.create_cache("cache").unwrap();
        hub
    }

    fn text(event: Option<Event>) -> String {
        match event {
            Some(Event::Message(message)) => message.text().unwrap().to_owned(),
            other => panic!("not a message: {other:?}"),
        }
    }

    #[test]
    fn creates_lists_and_deletes_caches() {
        let hub = hub();
        assert_eq!(hub.create_cache("cache"), Err(CacheError::CacheAlreadyExists("cache".to_owned())));
        hub.create_cache("a").unwrap();
        assert_eq!(hub.cache_names(), ["a", "cache"]);
        hub.delete_cache("a").unwrap();
        assert_eq!(hub.delete_cache("a"), Err(CacheError::CacheNotFound("a".to_owned())));
    }

    #[test]
    fn deleted_and_flushed_cache_has_no_items() {
        let hub = hub();
        let exists = |cache: &str| {
            let request = KeysExistRequest { cache_keys: vec![b"key".into()] };
            hub.with_items(cache, |items| any::keys_exist(items, request)).map(|response| response.exists[0])
        };
        let set = || {
            let (cache_key, cache_body) = (b"key".into(), b"value".into());
            let request = SetRequest { cache_key, cache_body, ttl_milliseconds: 60_000 };
            hub.with_items("cache", |items| scalar::set(items, request)).unwrap();
            assert_eq!(exists("cache"), Ok(true));
        };
        set();
        hub.flush_cache("cache").unwrap();
        assert_eq!(exists("cache"), Ok(false));
        set();
        hub.delete_cache("cache").unwrap();
        let missing = CacheError::CacheNotFound("cache".to_owned());
        assert_eq!(exists("cache"), Err(ItemError::Cache(missing.clone())));
        assert_eq!(hub.flush_cache("cache"), Err(missing));
        hub.create_cache("cache").unwrap();
        assert_eq!(exists("cache"), Ok(false));
        assert_eq!(exists(" "), Err(ItemError::Cache(CacheError::InvalidCacheName)));
    }

    #[test]
    fn rejects_invalid_names() {
        let hub = hub();
        for name in ["", " ", &"x".repeat(513)] {
            assert_eq!(hub.create_cache(name), Err(CacheError::InvalidCacheName), "{name}");
        }
        let publish = |topic: &str| hub.publish("cache", topic, String::new(), "x".into()).map(|_| ());
        assert_eq!(publish(""), Err(CacheError::InvalidTopicName));
        assert_eq!(publish("a topic/with anything"), Ok(()));
    }

    #[test]
    fn publish_fails_without_cache_unless_caches_are_created_on_use() {
        let publish = |hub: &Hub| hub.publish("new", "topic", String::new(), "x".into()).map(|_| ());
        assert_eq!(publish(&hub()), Err(CacheError::CacheNotFound("new".to_owned())));
        let creating = Hub::new(LIMITS, true, 2, 1_000);
        assert_eq!(publish(&creating), Ok(()));
        assert_eq!(creating.cache_names(), ["new"]);
    }

    #[test]
    fn each_new_topic_and_reset_has_greater_page() {
        let hub = hub();
        let page = |topic: &str| {
            hub.publish("cache", topic, String::new(), "x".into())
                .map(|message| message.sequence_page)
                .unwrap()
        };
        let (first, second) = (page("one"), page("two"));
        assert!(first < second);
        hub.reset_topic("cache", "one").unwrap();
        assert!(second < page("one"));
    }

    #[tokio::test]
    async fn wakes_waiting_subscriber_on_message_and_deleted_cache() {
        let hub = hub();
        let mut subscription = hub.subscribe("cache", "topic", (0, 0)).unwrap();
        let reader = tokio::spawn(async move {
            let first = text(subscription.next().await);
            (first, subscription.next().await)
        });
        tokio::task::yield_now().await;
        hub.publish("cache", "topic", String::new(), "hello".into()).unwrap();
        tokio::task::yield_now().await;
        hub.delete_cache("cache").unwrap();
        let (first, end) = reader.await.unwrap();
        assert_eq!((first.as_str(), end), ("hello", None));
    }

    #[tokio::test]
    async fn runs_other_call_before_all_readers_have_read() {
        const READERS: usize = 1_000;
        let hub = Hub::new(LIMITS, true, READERS, 1_000);
        let read = Arc::new(AtomicUsize::new(0));
        for _ in 0..READERS {
            let mut subscription = hub.subscribe("cache", "topic", (0, 0)).unwrap();
            let read = Arc::clone(&read);
            tokio::spawn(async move {
                while subscription.next().await.is_some() {
                    read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        hub.publish("cache", "topic", String::new(), "one".into()).unwrap();
        hub.publish("cache", "topic", String::new(), "two".into()).unwrap();
        let before = tokio::spawn({
            let read = Arc::clone(&read);
            async move { read.load(Ordering::Relaxed) }
        });
        let before = before.await.unwrap();
        assert!(before <= 200, "{before}");
        while read.load(Ordering::Relaxed) < 2 * READERS {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn counts_subscribers_and_waits_for_them() {
        let hub = hub();
        assert_eq!(hub.subscriber_count("cache", "topic"), 0);
        let first = hub.subscribe("cache", "topic", (0, 0)).unwrap();
        let second = hub.subscribe("cache", "topic", (0, 0)).unwrap();
        let third = hub.subscribe("cache", "other", (0, 0)).err();
        assert_eq!(third, Some(CacheError::TooManySubscriptions(2)));
        hub.wait_until(|hub| hub.subscriber_count("cache", "topic") == 2).await;
        drop(first);
        drop(hub.subscribe("cache", "other", (0, 0)).unwrap());
        let waiting = tokio::spawn({
            let hub = Arc::clone(&hub);
            async move { hub.wait_until(|hub| hub.subscriber_count("cache", "topic") == 0).await }
        });
        tokio::task::yield_now().await;
        drop(second);
        waiting.await.unwrap();
    }

    #[test]
    fn forgets_least_recently_used_topics_without_subscribers() {
        let hub = hub();
        let _subscription = hub.subscribe("cache", "watched", (0, 0)).unwrap();
        for number in 0..MAX_TOPICS_PER_CACHE {
            hub.publish("cache", &number.to_string(), String::new(), "x".into()).unwrap();
        }
        assert_eq!(hub.history("cache", "0").len(), 0, "the oldest topic is forgotten");
        let newest = (MAX_TOPICS_PER_CACHE - 1).to_string();
        assert_eq!(hub.history("cache", &newest).len(), 1);
        assert_eq!(hub.subscriber_count("cache", "watched"), 1);
    }
}
