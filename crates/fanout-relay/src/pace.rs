//! Limits the attempts in a second.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time that attempts may be early or late. Timers have a resolution of a millisecond, and more attempts start in each.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Spaces attempts evenly.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// Returns a pace of `rate` attempts in a second; without a rate, attempts start at once.
    pub(crate) fn new(rate: Option<NonZeroU32>) -> Self {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get());
        Self { interval, next: Mutex::new(Instant::now()) }
    }

    /// Returns the time until an attempt can start, or `None` if it can start now.
    pub(crate) fn wait(&self) -> Option<Duration> {
        if self.interval.is_zero() {
            return None;
        }
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        Some(next.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }

    /// Records that an attempt starts.
    pub(crate) fn start(&self) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Time that was not used is lost, except for a little.
        let earliest = Instant::now().checked_sub(TOLERANCE).unwrap_or(*next);
        *next = (*next).max(earliest) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn starts_as_many_attempts_as_the_rate_allows() {
        let pace = Pace::new(NonZeroU32::new(50));
        // The time before is not saved up.
        tokio::time::advance(Duration::from_mins(1)).await;
        let begun = Instant::now();
        let mut started = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            if let Some(wait) = pace.wait() {
                tokio::time::sleep(wait).await;
            } else {
                pace.start();
                started += 1;
            }
        }
        assert!((100..=106).contains(&started), "{started}");
    }

    #[tokio::test(start_paused = true)]
    async fn starts_at_once_without_rate() {
        let pace = Pace::new(None);
        for _ in 0..1_000 {
            pace.start();
            assert_eq!(pace.wait(), None);
        }
    }
}
