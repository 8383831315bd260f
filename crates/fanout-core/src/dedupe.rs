//! The events that this environment has already handled.
//!
//! Senders try again, and a try again must serve only the destinations that did not take the event
//! before. What is remembered lives in this process and is bounded; an environment that never saw the
//! event handles it anew.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use momento_webhook::{Event, Verified};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// How many events are remembered. One takes about 170 bytes, and one more for each destination while some destination
/// is pending: a megabyte at most, unless very many events fail at very many destinations. At 5 messages a second (what a hosted webhook carries) they span a quarter of an hour.
pub const REMEMBERED: NonZeroUsize = match NonZeroUsize::new(4_096) {
    Some(remembered) => remembered,
    None => NonZeroUsize::MIN,
};

/// Remembers events, the longest unseen forgotten first.
#[derive(Debug)]
pub struct Dedupe {
    seen: Mutex<LruCache<Key, Arc<AsyncMutex<Progress>>>>,
    hashers: [RandomState; 2],
}

/// What is remembered of an event: 128 bits of a keyed hash instead of its names, which may be long.
/// Nobody outside can look for two events of the same key, and by chance there are none.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationProgress {
    /// The destination has not accepted the event yet.
    Pending,
    /// The destination has accepted it.
    Published,
    /// A transform dropped it.
    Dropped,
}

/// The progress of one event, held by whoever is handling it.
pub type Claim = OwnedMutexGuard<Progress>;

impl Progress {
    /// Returns the progress of an event from that of its destinations.
    #[must_use]
    pub fn of(destinations: impl Iterator<Item = DestinationProgress>) -> Self {
        let destinations: Vec<_> = destinations.collect();
        if destinations.contains(&DestinationProgress::Pending) {
            Self::Partial(destinations)
        } else {
            Self::Done
        }
    }
}

impl Dedupe {
    /// Remembers up to `capacity` events.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { seen: Mutex::new(LruCache::new(capacity)), hashers: [RandomState::new(), RandomState::new()] }
    }

    /// Waits until nobody else is handling the same event, then holds it. What comes back for the destinations
    /// at the places in `only` is another matter than the event itself, which has been handled by then.
    pub async fn claim(&self, event: &Verified<Event>, only: Option<&[usize]>) -> Claim {
        let key = self.key(event, only);
        let progress = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(seen.get_or_insert(key, Arc::default))
        };
        progress.lock_owned().await
    }

    fn key(&self, event: &Event, only: Option<&[usize]>) -> Key {
        let identity = (event.identity(), only);
        self.hashers.each_ref().map(|hasher| hasher.hash_one(identity))
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
        dedupe.claim(event, None).await.clone()
    }

    #[tokio::test]
    async fn what_was_left_pending_is_remembered() {
        let dedupe = Dedupe::default();
        let event = event("c", "t", 1);
        let mut claim = dedupe.claim(&event, None).await;
        assert_eq!(*claim, Progress::New);
        let partial = Progress::Partial(vec![DestinationProgress::Dropped, DestinationProgress::Pending]);
        *claim = partial.clone();
        drop(claim);
        assert_eq!(progress(&dedupe, &event).await, partial);
    }

    #[tokio::test]
    async fn the_same_event_is_the_same_whenever_it_is_sent() {
        let dedupe = Dedupe::default();
        *dedupe.claim(&event("c", "t", 1), None).await = Progress::Done;
        let again = event_with("c", "t", 1, |event| event.publish_timestamp += 1_000);
        assert_eq!(progress(&dedupe, &again).await, Progress::Done);
    }

    #[tokio::test]
    async fn another_cache_topic_number_page_or_time_is_another_event() {
        let dedupe = Dedupe::default();
        let first = event("c", "t", 1);
        *dedupe.claim(&first, None).await = Progress::Done;
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
    async fn with_a_page_the_time_does_not_matter() {
        let dedupe = Dedupe::default();
        let paged = |page, time| {
            event_with("c", "t", 1, |event| {
                event.topic_sequence_page = Some(page);
                event.event_timestamp = time;
            })
        };
        *dedupe.claim(&paged(7, 1), None).await = Progress::Done;
        assert_eq!(progress(&dedupe, &paged(7, 2)).await, Progress::Done);
        assert_eq!(progress(&dedupe, &paged(8, 1)).await, Progress::New);
    }

    #[tokio::test]
    async fn the_longest_unseen_is_forgotten_first() {
        let dedupe = Dedupe::new(NonZeroUsize::new(2).unwrap());
        for number in [1, 2] {
            *dedupe.claim(&event("c", "t", number), None).await = Progress::Done;
        }
        assert_eq!(progress(&dedupe, &event("c", "t", 1)).await, Progress::Done);
        assert_eq!(progress(&dedupe, &event("c", "t", 3)).await, Progress::New);
        assert_eq!(progress(&dedupe, &event("c", "t", 1)).await, Progress::Done);
        assert_eq!(progress(&dedupe, &event("c", "t", 2)).await, Progress::New);
    }

    #[tokio::test]
    async fn the_second_delivery_waits_for_the_first() {
        let dedupe = Dedupe::default();
        let event = event("c", "t", 1);
        let mut first = dedupe.claim(&event, None).await;
        let second = dedupe.claim(&event, None);
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        *first = Progress::Done;
        drop(first);
        assert_eq!(*second.await, Progress::Done);
    }
}
