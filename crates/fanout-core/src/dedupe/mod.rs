//! The events that this process has handled, or is handling.
//!
//! Senders retry, and a retry must serve only the destinations that have not accepted the event yet. The memory is bounded
//! and belongs to this process; a process that has never seen an event handles it anew, unless it asks a [`shared`] store.

pub mod shared;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use momento_webhook::{Event, Verified};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::destination::Topic;

/// The number of handled events that are remembered. An event takes about 170 bytes, and one more for each destination
/// while a destination is pending: a megabyte at most, unless very many events fail at very many destinations. At 5
/// messages a second, the rate of a hosted webhook, they span a quarter of an hour.
pub const REMEMBERED: NonZeroUsize = match NonZeroUsize::new(4_096) {
    Some(remembered) => remembered,
    None => NonZeroUsize::MIN,
};

/// The events in flight that one new event looks past to find one to forget. This bounds the time that an event takes if
/// thousands are in flight.
const LOOKED_AT: usize = 8;

/// Remembers events. It forgets the least recently seen first, and never an event in flight.
#[derive(Debug)]
pub struct Dedupe {
    seen: Mutex<LruCache<Key, Arc<AsyncMutex<Seen>>>>,
    capacity: NonZeroUsize,
    hashers: [RandomState; 2],
}

/// The key of an event: 128 bits of a keyed hash instead of its names, which may be long. A sender cannot compute a
/// collision, because the keys of the hash are random.
type Key = [u64; 2];

/// How far an event has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Never handled here.
    #[default]
    New,
    /// Handled before, and some destination is still pending. It has one entry for each destination of the plan.
    Partial(Vec<DestinationProgress>),
    /// Handled: no destination is pending.
    Done,
}

/// How far an event has come with one destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationProgress {
    /// The destination has not accepted the event yet.
    Pending,
    /// The destination has `for_each`, and these of its topics have accepted the event, by their [keys](Topic::key).
    PublishedTo(BTreeSet<String>),
    /// The destination has accepted it.
    Published,
    /// A transform dropped it.
    Dropped,
}

/// The progress of one event, held while the event is handled.
#[derive(Debug)]
pub struct Claim(OwnedMutexGuard<Seen>);

/// The memory of an event.
#[derive(Debug, Default)]
struct Seen {
    progress: Progress,
    /// The generation of the routes that the progress belongs to.
    generation: u64,
}

impl Deref for Claim {
    type Target = Progress;

    fn deref(&self) -> &Progress {
        &self.0.progress
    }
}

impl DerefMut for Claim {
    fn deref_mut(&mut self) -> &mut Progress {
        &mut self.0.progress
    }
}

impl Progress {
    /// Returns the progress of an event from that of its destinations.
    #[must_use]
    pub fn of(destinations: Vec<DestinationProgress>) -> Self {
        if destinations.iter().all(DestinationProgress::is_done) {
            Self::Done
        } else {
            Self::Partial(destinations)
        }
    }

    /// Returns the progress of an event whose deliveries got this far in two places.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Done, _) | (_, Self::Done) => Self::Done,
            (Self::New, progress) | (progress, Self::New) => progress,
            (Self::Partial(one), Self::Partial(other)) => {
                Self::of(one.into_iter().zip(other).map(|(one, other)| one.merge(other)).collect())
            }
        }
    }
}

impl DestinationProgress {
    /// Returns true if nothing is left to do.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        match self {
            Self::Pending | Self::PublishedTo(_) => false,
            Self::Published | Self::Dropped => true,
        }
    }

    /// Returns true if a topic of a destination with `for_each` has accepted the event.
    #[must_use]
    pub fn has_topic(&self, topic: &Topic<'_>) -> bool {
        matches!(self, Self::PublishedTo(topics) if topics.contains(&topic.key()))
    }

    /// Returns the progress of a destination that deliveries in two places got this far with.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one.is_done() || other == Self::Pending => one,
            (Self::PublishedTo(mut one), Self::PublishedTo(other)) => {
                one.extend(other);
                Self::PublishedTo(one)
            }
            (_, other) => other,
        }
    }
}

impl Dedupe {
    /// Remembers up to `capacity` events, and more only while they are in flight.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        let seen = Mutex::new(LruCache::unbounded());
        Self { seen, capacity, hashers: [RandomState::new(), RandomState::new()] }
    }

    /// Waits until no other delivery of the event is in flight, then holds its progress. `dead_letter` is the progress that a
    /// dead letter says. That of its delivery is separate from that of the event, which is done by then.
    ///
    /// `generation` says which routes the destinations are of. Partial progress with the destinations of other routes is
    /// forgotten: an event twice is better than a lost one.
    pub async fn claim(
        &self,
        event: &Verified<Event>,
        dead_letter: Option<&[DestinationProgress]>,
        generation: u64,
    ) -> Claim {
        let key = self.key(event, dead_letter, generation);
        let progress = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let progress = Arc::clone(seen.get_or_insert(key, Arc::default));
            forget(&mut seen, self.capacity);
            progress
        };
        let mut seen = progress.lock_owned().await;
        if seen.generation != generation {
            seen.generation = generation;
            if matches!(seen.progress, Progress::Partial(_)) {
                seen.progress = Progress::New;
            }
        }
        Claim(seen)
    }

    fn key(&self, event: &Event, dead_letter: Option<&[DestinationProgress]>, generation: u64) -> Key {
        // The progress is of destinations of these routes.
        let identity = (event.identity(), dead_letter.map(|progress| (progress, generation)));
        self.hashers.each_ref().map(|hasher| hasher.hash_one(identity))
    }
}

/// Forgets the least recently seen events above `capacity`. An event in flight counts as seen now: if it were forgotten, a
/// second delivery of it would publish it again.
fn forget(seen: &mut LruCache<Key, Arc<AsyncMutex<Seen>>>, capacity: NonZeroUsize) {
    for _ in 0..LOOKED_AT {
        if seen.len() <= capacity.get() {
            return;
        }
        let Some((key, progress)) = seen.pop_lru() else { return };
        if Arc::strong_count(&progress) > 1 {
            seen.put(key, progress);
        }
    }
}

impl Default for Dedupe {
    fn default() -> Self {
        Self::new(REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event, event_with};

    async fn progress(dedupe: &Dedupe, event: &Verified<Event>) -> Progress {
        dedupe.claim(event, None, 0).await.clone()
    }

    #[tokio::test]
    async fn remembers_pending_destinations() {
        let dedupe = Dedupe::default();
        let event = event("c", "t", 1);
        let mut claim = dedupe.claim(&event, None, 0).await;
        assert_eq!(*claim, Progress::New);
        let partial = Progress::Partial(vec![DestinationProgress::Dropped, DestinationProgress::Pending]);
        *claim = partial.clone();
        drop(claim);
        assert_eq!(progress(&dedupe, &event).await, partial);
    }

    #[tokio::test]
    async fn forgets_partial_progress_when_routes_change() {
        use DestinationProgress::{Pending, Published};
        let dedupe = Dedupe::default();
        let (partial, done) = (event("c", "t", 1), event("c", "t", 2));
        *dedupe.claim(&partial, None, 0).await = Progress::Partial(vec![Published, Pending]);
        *dedupe.claim(&done, None, 0).await = Progress::Done;
        *dedupe.claim(&done, Some(&[Published, Pending]), 0).await = Progress::Done;
        assert_eq!(*dedupe.claim(&partial, None, 1).await, Progress::New);
        assert_eq!(*dedupe.claim(&done, None, 1).await, Progress::Done);
        let dead_letter = [Published, Pending];
        assert_eq!(*dedupe.claim(&done, Some(&dead_letter), 1).await, Progress::New, "another destination");
        // An event that began with the old routes ends with them.
        *dedupe.claim(&partial, None, 0).await = Progress::Partial(vec![Published, Pending]);
        assert_eq!(*dedupe.claim(&partial, None, 1).await, Progress::New);
    }

    #[test]
    fn merges_progress_of_two_places() {
        use DestinationProgress::{Dropped, Pending, Published};
        let partial = |destinations: &[DestinationProgress]| Progress::Partial(destinations.to_vec());
        let to = |topics: &[&str]| {
            DestinationProgress::PublishedTo(topics.iter().map(ToString::to_string).collect())
        };
        for (one, other, merged) in [
            (Progress::New, Progress::New, Progress::New),
            (partial(&[to(&["a"])]), partial(&[Pending]), partial(&[to(&["a"])])),
            (partial(&[to(&["a"])]), partial(&[to(&["b"])]), partial(&[to(&["a", "b"])])),
            (partial(&[to(&["a"])]), partial(&[Published]), Progress::Done),
            (Progress::New, Progress::Done, Progress::Done),
            (Progress::New, partial(&[Pending, Dropped]), partial(&[Pending, Dropped])),
            (partial(&[Pending, Dropped]), Progress::Done, Progress::Done),
            (partial(&[Pending, Pending]), partial(&[Pending, Published]), partial(&[Pending, Published])),
            (partial(&[Published, Pending]), partial(&[Pending, Dropped]), Progress::Done),
        ] {
            assert_eq!(one.clone().merge(other.clone()), merged, "{one:?} {other:?}");
            assert_eq!(other.clone().merge(one.clone()), merged, "{other:?} {one:?}");
        }
    }

    #[tokio::test]
    async fn recognizes_event_that_is_sent_again_later() {
        let dedupe = Dedupe::default();
        *dedupe.claim(&event("c", "t", 1), None, 0).await = Progress::Done;
        let again = event_with("c", "t", 1, |event| event.publish_timestamp += 1_000);
        assert_eq!(progress(&dedupe, &again).await, Progress::Done);
    }

    #[tokio::test]
    async fn tells_events_apart_by_cache_topic_number_page_and_time() {
        let dedupe = Dedupe::default();
        let first = event("c", "t", 1);
        *dedupe.claim(&first, None, 0).await = Progress::Done;
        for other in [
            event("d", "t", 1),
            event("c", "u", 1),
            event("ct", "x", 1),
            event("c", "t", 2),
            event_with("c", "t", 1, |event| event.topic_sequence_page = Some(1)),
            event_with("c", "t", 1, |event| event.event_timestamp += 1),
        ] {
            assert_eq!(progress(&dedupe, &other).await, Progress::New, "{other:?}");
        }
    }

    #[tokio::test]
    async fn ignores_time_of_event_with_page() {
        let dedupe = Dedupe::default();
        let paged = |page, time| {
            event_with("c", "t", 1, |event| {
                event.topic_sequence_page = Some(page);
                event.event_timestamp = time;
            })
        };
        *dedupe.claim(&paged(7, 1), None, 0).await = Progress::Done;
        assert_eq!(progress(&dedupe, &paged(7, 2)).await, Progress::Done);
        assert_eq!(progress(&dedupe, &paged(8, 1)).await, Progress::New);
    }

    #[tokio::test]
    async fn forgets_least_recently_seen_event_first() {
        let dedupe = Dedupe::new(NonZeroUsize::new(2).unwrap());
        for number in [1, 2] {
            *dedupe.claim(&event("c", "t", number), None, 0).await = Progress::Done;
        }
        assert_eq!(progress(&dedupe, &event("c", "t", 1)).await, Progress::Done);
        assert_eq!(progress(&dedupe, &event("c", "t", 3)).await, Progress::New);
        assert_eq!(progress(&dedupe, &event("c", "t", 1)).await, Progress::Done);
        assert_eq!(progress(&dedupe, &event("c", "t", 2)).await, Progress::New);
    }

    #[tokio::test]
    async fn second_delivery_waits_for_first() {
        let dedupe = Dedupe::default();
        let event = event("c", "t", 1);
        let mut first = dedupe.claim(&event, None, 0).await;
        let second = dedupe.claim(&event, None, 0);
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        *first = Progress::Done;
        drop(first);
        assert_eq!(*second.await, Progress::Done);
    }
    #[tokio::test]
    async fn never_forgets_events_in_flight() {
        let dedupe = Dedupe::new(NonZeroUsize::new(2).unwrap());
        let numbers = 0..40;
        let mut claims = Vec::new();
        for number in numbers.clone() {
            claims.push(dedupe.claim(&event("c", "t", number), None, 0).await);
        }
        for number in 1_000..1_100 {
            assert_eq!(progress(&dedupe, &event("c", "t", number)).await, Progress::New);
        }
        for number in numbers.clone() {
            let event = event("c", "t", number);
            let second = dedupe.claim(&event, None, 0);
            tokio::pin!(second);
            assert!(futures_util::poll!(&mut second).is_pending(), "{number}");
        }
        drop(claims);
        for number in 2_000..2_100 {
            assert_eq!(progress(&dedupe, &event("c", "t", number)).await, Progress::New);
        }
        assert_eq!(dedupe.seen.lock().unwrap().len(), 2);
    }
}
