//! The progress of events in a store that all environments of a function share.
//!
//! Each event has one item, whose key is a hash of the event and of the destinations of its route. So functions with the
//! same destinations share the progress of an event, and functions with other destinations do not.
//!
//! | item | value | time to live |
//! | --- | --- | --- |
//! | `KEY` | `claim OWNER` while the first delivery of the event is handled | until its deadline |
//! | `KEY` | `partial` and the progress of each destination, or `done` | [`KEPT`] |
//! | `KEY/claim` | `OWNER`, while a later delivery serves the pending destinations | until its deadline |
//!
//! An environment that crashes leaves its claim behind, which expires. The progress of earlier deliveries is never
//! overwritten by a claim, so a crash does not lose it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use momento_webhook::Event;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep, timeout_at};

use super::{DestinationProgress, Progress};
use crate::names::CacheName;
use crate::reason::{Failure, Reason};
use crate::route::Plan;

/// The time for which progress is kept: as long as the relay retries a message by default, and the longest time to live
/// that Momento accepts by default.
pub const KEPT: Duration = Duration::from_hours(24);

/// The timeout of one call of the store. A call within a region takes a few milliseconds.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a claim outlives the deadline of its delivery.
const MARGIN: Duration = Duration::from_secs(1);

/// The time to live that ends an item. The store has no call that deletes an item only if it has a certain value.
const AT_ONCE: Duration = Duration::from_millis(1);

/// The wait before a claimed event is looked up again. It doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_millis(400);

const CLAIM: &str = "claim ";
const PARTIAL: &str = "partial ";
const DONE: &str = "done";

/// A store of items with a time to live, which several processes share.
pub trait SharedStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the value of an item, or `None` without one.
    fn get<'s>(&'s self, item: Item<'s>) -> BoxFuture<'s, Result<Option<Vec<u8>>, Failure>>;

    /// Stores a value.
    fn set<'s>(&'s self, item: Item<'s>, value: &'s str, ttl: Duration)
    -> BoxFuture<'s, Result<(), Failure>>;

    /// Stores a value if the item does not exist. Returns true if it is stored.
    fn set_if_absent<'s>(
        &'s self,
        item: Item<'s>,
        value: &'s str,
        ttl: Duration,
    ) -> BoxFuture<'s, Result<bool, Failure>>;

    /// Stores a value if the item has the value `current`. Returns true if it is stored.
    fn set_if_equal<'s>(
        &'s self,
        item: Item<'s>,
        current: &'s str,
        value: &'s str,
        ttl: Duration,
    ) -> BoxFuture<'s, Result<bool, Failure>>;
}

/// The place of an item in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Item<'i> {
    /// The cache.
    pub cache: &'i str,
    /// The key.
    pub key: &'i str,
}

/// Recognizes events that any environment has handled, or is handling.
#[derive(Clone, Debug)]
pub struct SharedDedupe {
    store: Arc<dyn SharedStore>,
    /// The cache of the items; `None` for the cache of the event.
    cache: Option<CacheName>,
}

/// The answer to a delivery that wants to handle an event.
#[derive(Debug)]
pub enum SharedClaim {
    /// The event is held for this delivery.
    Held(Held),
    /// Every destination is served.
    Done,
    /// Another delivery handled the event until the deadline.
    Busy,
}

/// An event that is held for one delivery.
#[derive(Debug)]
pub struct Held {
    cache: String,
    key: String,
    owner: String,
    /// The value of the item while it is held.
    value: String,
    /// The progress of earlier deliveries.
    pub progress: Progress,
}

/// The value of an item.
enum Stored {
    Claim,
    Partial(Vec<DestinationProgress>),
    Done,
}

impl SharedDedupe {
    /// Keeps items in `cache`, or else in the cache of each event.
    #[must_use]
    pub const fn new(store: Arc<dyn SharedStore>, cache: Option<CacheName>) -> Self {
        Self { store, cache }
    }

    /// Waits until no other environment handles the event, then holds it. `dead_letter` is the progress that a dead letter says.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn claim(
        &self,
        event: &Event,
        plan: &Plan<'_>,
        dead_letter: Option<&[DestinationProgress]>,
        deadline: Instant,
    ) -> Result<SharedClaim, Failure> {
        let cache = self.cache.as_ref().map_or(event.cache.as_str(), CacheName::as_str).to_owned();
        let (key, owner) = (key(event, plan, dead_letter), format!("{:032x}", rand::random::<u128>()));
        let mut held = Held { cache, key, value: format!("{CLAIM}{owner}"), owner, progress: Progress::New };
        let count = plan.destinations().len();
        let mut wait = FIRST_WAIT;
        loop {
            let ttl = deadline.saturating_duration_since(Instant::now()) + MARGIN;
            if call(deadline, self.store.set_if_absent(held.item(), &held.value, ttl)).await? {
                return Ok(SharedClaim::Held(held));
            }
            match self.read(&held, count, deadline).await? {
                Some(Stored::Done) => return Ok(SharedClaim::Done),
                Some(Stored::Partial(_)) => {
                    let lock = held.lock();
                    if call(deadline, self.store.set_if_absent(held.at(&lock), &held.owner, ttl)).await? {
                        // The item may have changed before it was locked.
                        let found = self.read(&held, count, deadline).await?;
                        if let Some(Stored::Partial(progress)) = found {
                            held.value = text(&progress);
                            held.progress = Progress::Partial(progress);
                            return Ok(SharedClaim::Held(held));
                        }
                        self.unlock(&held, deadline).await?;
                        if matches!(found, Some(Stored::Done)) {
                            return Ok(SharedClaim::Done);
                        }
                    }
                }
                Some(Stored::Claim) | None => {}
            }
            if Instant::now() + wait >= deadline {
                return Ok(SharedClaim::Busy);
            }
            sleep(wait).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    /// Stores the progress of an event, and ends the claim on it.
    ///
    /// # Errors
    /// If the store fails. Then the claim expires, and a later delivery handles the event again.
    pub async fn finish(&self, held: Held, progress: &Progress, deadline: Instant) -> Result<(), Failure> {
        match progress {
            Progress::New => {}
            // True whatever another delivery has stored meanwhile.
            Progress::Done => call(deadline, self.store.set(held.item(), DONE, KEPT)).await?,
            // If the claim has expired, another delivery may know more.
            Progress::Partial(destinations) => {
                let value = text(destinations);
                let stored = self.store.set_if_equal(held.item(), &held.value, &value, KEPT);
                call(deadline, stored).await?;
                if held.progress != Progress::New {
                    self.unlock(&held, deadline).await?;
                }
            }
        }
        Ok(())
    }

    async fn unlock(&self, held: &Held, deadline: Instant) -> Result<bool, Failure> {
        let lock = held.lock();
        call(deadline, self.store.set_if_equal(held.at(&lock), &held.owner, "", AT_ONCE)).await
    }

    async fn read(&self, held: &Held, count: usize, deadline: Instant) -> Result<Option<Stored>, Failure> {
        let Some(value) = call(deadline, self.store.get(held.item())).await? else { return Ok(None) };
        let stored = std::str::from_utf8(&value).ok().and_then(|value| Stored::read(value, count));
        stored.map(Some).ok_or_else(|| Failure::invalid("the item has an unknown form"))
    }
}

impl Held {
    fn item(&self) -> Item<'_> {
        self.at(&self.key)
    }

    fn at<'i>(&'i self, key: &'i str) -> Item<'i> {
        Item { cache: &self.cache, key }
    }

    /// Returns the key of the claim on an event with progress.
    fn lock(&self) -> String {
        format!("{}/claim", self.key)
    }
}

impl Stored {
    /// Reads a value with the progress of `count` destinations.
    fn read(value: &str, count: usize) -> Option<Self> {
        if value == DONE {
            return Some(Self::Done);
        }
        if value.starts_with(CLAIM) {
            return Some(Self::Claim);
        }
        let (mut destinations, mut letters) = (Vec::new(), value.strip_prefix(PARTIAL)?.chars());
        while let Some(letter) = letters.next() {
            destinations.push(match letter {
                '-' => DestinationProgress::Pending,
                'p' => DestinationProgress::Published,
                'd' => DestinationProgress::Dropped,
                '[' => {
                    let (keys, rest) = letters.as_str().split_once(']')?;
                    letters = rest.chars();
                    DestinationProgress::PublishedTo(keys.split(' ').map(str::to_owned).collect())
                }
                _ => return None,
            });
        }
        (destinations.len() == count).then_some(Self::Partial(destinations))
    }
}

/// Returns the value of an item with progress: a letter for each destination, or the keys of topics in brackets.
fn text(destinations: &[DestinationProgress]) -> String {
    let mut text = PARTIAL.to_owned();
    for destination in destinations {
        match destination {
            DestinationProgress::Pending => text.push('-'),
            DestinationProgress::PublishedTo(topics) => {
                let topics: Vec<_> = topics.iter().map(String::as_str).collect();
                text.extend(["[", &topics.join(" "), "]"]);
            }
            DestinationProgress::Published => text.push('p'),
            DestinationProgress::Dropped => text.push('d'),
        }
    }
    text
}

/// Returns the key of an event, for its destinations and those that a dead letter lists.
fn key(event: &Event, plan: &Plan<'_>, dead_letter: Option<&[DestinationProgress]>) -> String {
    let mut hash = Sha256::new().chain_update(event.id());
    for destination in plan.route().destinations() {
        hash.update(destination.id());
    }
    // The ids have a fixed length, so none of them is taken for what follows.
    for (index, progress) in dead_letter.unwrap_or_default().iter().enumerate() {
        if !progress.is_done() {
            hash.update(format!(" {index}"));
        }
        if let DestinationProgress::PublishedTo(topics) = progress {
            for topic in topics {
                hash.update(format!(" {topic}"));
            }
        }
    }
    format!("topic-fanout/{}", hex::encode(hash.finalize()))
}

/// Makes one call of the store, which ends in time.
async fn call<T>(deadline: Instant, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let end = deadline.min(Instant::now() + CALL_TIMEOUT);
    timeout_at(end, call).await.unwrap_or_else(|_| Err(Reason::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use futures_util::FutureExt as _;
    use futures_util::future::{pending, ready};

    use super::*;
    use crate::destination::Topic;
    use crate::names::TopicName;
    use crate::route::{Destination, Routes};
    use crate::testing::{TIMEOUT, event, event_with};
    use DestinationProgress::{Pending, Published};

    /// A store that fails or hangs on demand.
    #[derive(Debug, Default)]
    struct FakeStore {
        items: Mutex<HashMap<(String, String), (String, Instant)>>,
        fault: Mutex<Option<Reason>>,
        calls: Mutex<Vec<&'static str>>,
    }

    impl FakeStore {
        fn with<T: Send + 'static>(
            &self,
            name: &'static str,
            item: Item<'_>,
            change: impl FnOnce(Option<&str>) -> (T, Option<(String, Duration)>),
        ) -> BoxFuture<'static, Result<T, Failure>> {
            self.calls.lock().unwrap().push(name);
            match *self.fault.lock().unwrap() {
                Some(Reason::TimedOut) => return pending().boxed(),
                Some(reason) => return ready(Err(reason.into())).boxed(),
                None => {}
            }
            let mut items = self.items.lock().unwrap();
            let place = (item.cache.to_owned(), item.key.to_owned());
            let now = Instant::now();
            let current = items.get(&place).filter(|(_, end)| *end > now).map(|(value, _)| value.as_str());
            let (result, stored) = change(current);
            if let Some((value, ttl)) = stored {
                items.insert(place, (value, now + ttl));
            }
            ready(Ok(result)).boxed()
        }

        fn fail(&self, reason: Option<Reason>) {
            *self.fault.lock().unwrap() = reason;
        }

        fn take_calls(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.calls.lock().unwrap())
        }
    }

    impl SharedStore for FakeStore {
        fn get<'s>(&'s self, item: Item<'s>) -> BoxFuture<'s, Result<Option<Vec<u8>>, Failure>> {
            self.with("get", item, |current| (current.map(|value| value.as_bytes().to_vec()), None))
        }

        fn set<'s>(
            &'s self,
            item: Item<'s>,
            value: &'s str,
            ttl: Duration,
        ) -> BoxFuture<'s, Result<(), Failure>> {
            self.with("set", item, |_| ((), Some((value.to_owned(), ttl))))
        }

        fn set_if_absent<'s>(
            &'s self,
            item: Item<'s>,
            value: &'s str,
            ttl: Duration,
        ) -> BoxFuture<'s, Result<bool, Failure>> {
            self.with("set_if_absent", item, |current| {
                let is_absent = current.is_none();
                (is_absent, is_absent.then(|| (value.to_owned(), ttl)))
            })
        }

        fn set_if_equal<'s>(
            &'s self,
            item: Item<'s>,
            wanted: &'s str,
            value: &'s str,
            ttl: Duration,
        ) -> BoxFuture<'s, Result<bool, Failure>> {
            self.with("set_if_equal", item, |current| {
                let is_equal = current == Some(wanted);
                (is_equal, is_equal.then(|| (value.to_owned(), ttl)))
            })
        }
    }

    fn routes(topics: &[&str]) -> Routes {
        let destination =
            |topic: &&str| Destination::verbatim(None, &TopicName::new(*topic).unwrap(), Vec::new());
        Routes::one(topics.iter().map(destination).collect())
    }

    /// Two environments with the same store, and the route of an event to the topics `a` and `b`.
    struct Fixture {
        store: Arc<FakeStore>,
        routes: Routes,
    }

    impl Fixture {
        fn new() -> Self {
            Self { store: Arc::default(), routes: routes(&["a", "b"]) }
        }

        fn environment(&self) -> SharedDedupe {
            SharedDedupe::new(Arc::<FakeStore>::clone(&self.store), None)
        }

        async fn claim(&self) -> Result<SharedClaim, Failure> {
            self.claim_of(1, None).await
        }

        async fn claim_of(
            &self,
            number: u64,
            dead_letter: Option<&[DestinationProgress]>,
        ) -> Result<SharedClaim, Failure> {
            let event = event("c", "t", number);
            let plan = self.routes.plan(&event).unwrap().unwrap();
            self.environment().claim(&event, &plan, dead_letter, Instant::now() + TIMEOUT).await
        }

        async fn held(&self) -> Held {
            match self.claim().await.unwrap() {
                SharedClaim::Held(held) => held,
                other => panic!("{other:?}"),
            }
        }

        async fn finish(&self, held: Held, progress: &Progress) {
            self.environment().finish(held, progress, Instant::now() + TIMEOUT).await.unwrap();
        }
    }

    fn partial() -> Progress {
        Progress::Partial(vec![Published, Pending])
    }

    #[tokio::test(start_paused = true)]
    async fn new_event_takes_two_calls_and_duplicate_two_more() {
        let fixture = Fixture::new();
        let held = fixture.held().await;
        assert_eq!(held.progress, Progress::New);
        fixture.finish(held, &Progress::Done).await;
        assert_eq!(fixture.store.take_calls(), ["set_if_absent", "set"]);
        assert!(matches!(fixture.claim().await, Ok(SharedClaim::Done)));
        assert_eq!(fixture.store.take_calls(), ["set_if_absent", "get"]);
        tokio::time::advance(KEPT).await;
        assert_eq!(fixture.held().await.progress, Progress::New);
    }

    #[tokio::test(start_paused = true)]
    async fn later_delivery_gets_progress_and_keeps_it_through_crash() {
        let fixture = Fixture::new();
        let held = fixture.held().await;
        fixture.finish(held, &partial()).await;
        // The second environment crashes.
        assert_eq!(fixture.held().await.progress, partial());
        let begun = Instant::now();
        let held = loop {
            match fixture.claim().await.unwrap() {
                SharedClaim::Held(held) => break held,
                SharedClaim::Busy => {}
                SharedClaim::Done => panic!("it is not done"),
            }
        };
        assert_eq!(held.progress, partial());
        assert!(begun.elapsed() <= TIMEOUT + MARGIN + MAX_WAIT, "{:?}", begun.elapsed());
        // A failed retry leaves the event free at once.
        fixture.finish(held, &partial()).await;
        tokio::time::advance(AT_ONCE).await;
        let begun = Instant::now();
        let held = fixture.held().await;
        assert_eq!((held.progress.clone(), begun.elapsed()), (partial(), Duration::ZERO));
        fixture.finish(held, &Progress::Done).await;
        assert!(matches!(fixture.claim().await, Ok(SharedClaim::Done)));
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_topics_of_destination_with_for_each() {
        let fixture = Fixture::new();
        let topics = |names: &[&str]| {
            DestinationProgress::PublishedTo(names.iter().map(|name| Topic::new("c", *name).key()).collect())
        };
        let progress = Progress::Partial(vec![topics(&["a", "b"]), Pending]);
        let held = fixture.held().await;
        fixture.finish(held, &progress).await;
        assert_eq!(fixture.held().await.progress, progress);
        // Dead letters with other topics are others.
        for names in [&["a"][..], &["a", "b"]] {
            let dead_letter = [topics(names), Published];
            let claim = fixture.claim_of(1, Some(&dead_letter)).await;
            assert!(matches!(claim, Ok(SharedClaim::Held(_))), "{names:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn claim_of_crashed_environment_expires() {
        let fixture = Fixture::new();
        let _crashed = fixture.held().await;
        assert!(matches!(fixture.claim().await, Ok(SharedClaim::Busy)));
        tokio::time::advance(MARGIN).await;
        assert_eq!(fixture.held().await.progress, Progress::New);
    }

    #[tokio::test(start_paused = true)]
    async fn second_delivery_waits_for_first() {
        let fixture = Fixture::new();
        let held = fixture.held().await;
        let first = async {
            sleep(Duration::from_secs(1)).await;
            fixture.finish(held, &Progress::Done).await;
        };
        let (second, ()) = tokio::join!(fixture.claim(), first);
        assert!(matches!(second, Ok(SharedClaim::Done)));
    }

    #[tokio::test(start_paused = true)]
    async fn delivery_that_outlived_its_claim_takes_nothing_back() {
        let fixture = Fixture::new();
        let late = fixture.held().await;
        tokio::time::advance(TIMEOUT + MARGIN).await;
        let second = fixture.held().await;
        fixture.finish(second, &Progress::Done).await;
        fixture.finish(late, &partial()).await;
        assert!(matches!(fixture.claim().await, Ok(SharedClaim::Done)));
    }

    #[tokio::test(start_paused = true)]
    async fn tells_events_destinations_and_dead_letters_apart() {
        let mut fixture = Fixture::new();
        let held = fixture.held().await;
        fixture.finish(held, &Progress::Done).await;
        let dead_letters = [Some(&[Pending, Published][..]), Some(&[Published, Pending])];
        for (number, dead_letter) in [(2, None), (1, dead_letters[0]), (1, dead_letters[1])] {
            assert!(
                matches!(fixture.claim_of(number, dead_letter).await, Ok(SharedClaim::Held(_))),
                "{number} {dead_letter:?}"
            );
        }
        fixture.routes = routes(&["a", "c"]);
        assert!(matches!(fixture.claim().await, Ok(SharedClaim::Held(_))));
        // With a page, the time of the event does not count.
        fixture.routes = routes(&["a", "b"]);
        for (time, is_new) in [(1, true), (2, false)] {
            let event = event_with("c", "t", 1, |event| {
                event.topic_sequence_page = Some(1);
                event.event_timestamp = time;
            });
            let plan = fixture.routes.plan(&event).unwrap().unwrap();
            let deadline = Instant::now() + TIMEOUT;
            let claim = fixture.environment().claim(&event, &plan, None, deadline).await.unwrap();
            assert_eq!(matches!(claim, SharedClaim::Held(_)), is_new);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failing_and_hanging_store_is_failure_in_time() {
        let fixture = Fixture::new();
        for reason in [Reason::Unavailable, Reason::TimedOut] {
            fixture.store.fail(Some(reason));
            let begun = Instant::now();
            assert_eq!(fixture.claim().await.unwrap_err().reason, reason);
            assert!(begun.elapsed() <= CALL_TIMEOUT, "{:?}", begun.elapsed());
        }
        fixture.store.fail(None);
        let held = fixture.held().await;
        fixture.store.fail(Some(Reason::Unavailable));
        let finished = fixture.environment().finish(held, &Progress::Done, Instant::now() + TIMEOUT).await;
        assert_eq!(finished.unwrap_err().reason, Reason::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn item_of_another_program_is_failure() {
        let fixture = Fixture::new();
        let held = fixture.held().await;
        for value in ["", "partial", "partial p", "partial pp-", "partial p?", "partial p[a", "4"] {
            fixture.store.set(held.item(), value, KEPT).await.unwrap();
            assert_eq!(fixture.claim().await.unwrap_err().reason, Reason::InvalidArgument, "{value:?}");
        }
    }
}
