//! How old an event may be.
//!
//! A signature proves who wrote a body, not when it was sent: whoever records a genuine request can
//! send it again. Momento's documentation advises to refuse what is older than 60 seconds by
//! `publish_timestamp`, the time at which the webhook was sent.

use std::time::Duration;

use crate::event::Millis;

/// How far ahead of ours the sender's clock may run.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// The ages that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    max_age: Duration,
}

/// Why an age was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreshnessError {
    /// Sent longer ago than is accepted.
    #[error("sent {} ms ago, more than the {} ms accepted", age.as_millis(), max_age.as_millis())]
    TooOld {
        /// How long ago it was sent.
        age: Duration,
        /// What would have been accepted.
        max_age: Duration,
    },
    /// Sent later than now, by more than [`CLOCK_SKEW`].
    #[error("sent {} ms from now, more than the {} ms that clocks may differ", ahead.as_millis(), CLOCK_SKEW.as_millis())]
    FromTheFuture {
        /// How far in the future it was sent.
        ahead: Duration,
    },
}

impl Window {
    /// Accepts what was sent at most `max_age` ago; zero accepts every age.
    #[must_use]
    pub const fn new(max_age: Duration) -> Self {
        Self { max_age }
    }

    /// The age at `now` of what was sent at `sent`, where it is accepted. An age within
    /// [`CLOCK_SKEW`] of the future counts as zero.
    ///
    /// # Errors
    /// When the age is not accepted; see [`FreshnessError`].
    pub fn check(self, sent: Millis, now: Millis) -> Result<Duration, FreshnessError> {
        let age = Duration::from_millis(now.saturating_sub(sent));
        if self.max_age.is_zero() {
            return Ok(age);
        }
        let ahead = Duration::from_millis(sent.saturating_sub(now));
        if ahead > CLOCK_SKEW {
            return Err(FreshnessError::FromTheFuture { ahead });
        }
        if age > self.max_age {
            return Err(FreshnessError::TooOld { age, max_age: self.max_age });
        }
        Ok(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_704_296_470_565;
    const MINUTE: Window = Window::new(Duration::from_secs(60));

    #[test]
    fn the_edges_of_the_window_are_inside_it() {
        assert_eq!(MINUTE.check(NOW, NOW), Ok(Duration::ZERO));
        assert_eq!(MINUTE.check(NOW - 60_000, NOW), Ok(Duration::from_secs(60)));
        assert_eq!(MINUTE.check(NOW + 5_000, NOW), Ok(Duration::ZERO));
    }

    #[test]
    fn a_millisecond_past_an_edge_is_outside() {
        assert_eq!(
            MINUTE.check(NOW - 60_001, NOW),
            Err(FreshnessError::TooOld {
                age: Duration::from_millis(60_001),
                max_age: Duration::from_secs(60)
            })
        );
        assert_eq!(
            MINUTE.check(NOW + 5_001, NOW),
            Err(FreshnessError::FromTheFuture { ahead: Duration::from_millis(5_001) })
        );
    }

    #[test]
    fn zero_accepts_every_age() {
        let off = Window::new(Duration::ZERO);
        assert_eq!(off.check(0, NOW), Ok(Duration::from_millis(NOW)));
        assert_eq!(off.check(Millis::MAX, NOW), Ok(Duration::ZERO));
    }

    #[test]
    fn no_number_overflows() {
        for sent in [0, 1, NOW, Millis::MAX] {
            for now in [0, 1, NOW, Millis::MAX] {
                let _ = MINUTE.check(sent, now);
            }
        }
    }
}
