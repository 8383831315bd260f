//! The accepted age of an event.
//!
//! A signature proves who wrote a body, not when it was sent: an attacker can record a genuine request and
//! replay it. Momento's documentation advises to reject requests older than 60 seconds by
//! `publish_timestamp`, the time at which the webhook was sent.

use std::time::Duration;

use crate::event::Millis;

/// The accepted lead of the sender's clock over ours.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// The range of accepted ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    max_age: Duration,
}

/// Error for an age outside the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreshnessError {
    /// The request was sent too long ago.
    #[error("sent {} ms ago; at most {} ms are accepted", age.as_millis(), max_age.as_millis())]
    TooOld {
        /// The age of the request.
        age: Duration,
        /// The greatest accepted age.
        max_age: Duration,
    },
    /// The request was sent in the future, by more than [`CLOCK_SKEW`].
    #[error("sent {} ms in the future; clocks may differ by at most {} ms", ahead.as_millis(), CLOCK_SKEW.as_millis())]
    FromTheFuture {
        /// The distance into the future.
        ahead: Duration,
    },
}

impl Window {
    /// Returns a window of ages up to `max_age`. Zero accepts every age.
    #[must_use]
    pub const fn new(max_age: Duration) -> Self {
        Self { max_age }
    }

    /// Returns the age at `now` of a request that was sent at `sent`. A time of sending up to [`CLOCK_SKEW`] in
    /// the future counts as zero.
    ///
    /// # Errors
    /// If the age is outside the window; see [`FreshnessError`].
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
    const MINUTE: Window = Window::new(Duration::from_mins(1));

    #[test]
    fn accepts_edges_of_window() {
        assert_eq!(MINUTE.check(NOW, NOW), Ok(Duration::ZERO));
        assert_eq!(MINUTE.check(NOW - 60_000, NOW), Ok(Duration::from_mins(1)));
        assert_eq!(MINUTE.check(NOW + 5_000, NOW), Ok(Duration::ZERO));
    }

    #[test]
    fn rejects_age_one_millisecond_outside_window() {
        assert_eq!(
            MINUTE.check(NOW - 60_001, NOW),
            Err(FreshnessError::TooOld {
                age: Duration::from_millis(60_001),
                max_age: Duration::from_mins(1)
            })
        );
        assert_eq!(
            MINUTE.check(NOW + 5_001, NOW),
            Err(FreshnessError::FromTheFuture { ahead: Duration::from_millis(5_001) })
        );
    }

    #[test]
    fn accepts_every_age_with_zero() {
        let off = Window::new(Duration::ZERO);
        assert_eq!(off.check(0, NOW), Ok(Duration::from_millis(NOW)));
        assert_eq!(off.check(Millis::MAX, NOW), Ok(Duration::ZERO));
    }

    #[test]
    fn check_never_overflows() {
        for sent in [0, 1, NOW, Millis::MAX] {
            for now in [0, 1, NOW, Millis::MAX] {
                let _ = MINUTE.check(sent, now);
            }
        }
    }
}
