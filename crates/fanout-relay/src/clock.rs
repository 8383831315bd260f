//! The clock of a subscription, which notices that it is set.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fanout_core::clock::{Clock, SystemClock};
use momento_webhook::Millis;

/// The difference between two clocks that counts as a change of the clock. Less than that is the work of a time server, or of
/// a machine that is busy between two readings.
const TOLERANCE: Millis = 5_000;

/// Reads the time, and compares it with a clock that cannot be set. A clock that is set forward must not make messages
/// expire that have not been waiting.
pub(crate) struct RelayClock {
    clock: Box<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    last: Millis,
    read: Instant,
    ahead: Millis,
}

impl RelayClock {
    pub(crate) fn new(clock: impl Clock) -> Self {
        let state = State { last: clock.now(), read: Instant::now(), ahead: 0 };
        Self { clock: Box::new(clock), state: Mutex::new(state) }
    }

    /// Returns the current time.
    pub(crate) fn now(&self) -> Millis {
        self.read().0
    }

    /// Returns the current time, and the time before which a message arrived if it is older than `age`. The time by which
    /// the clock was set forward does not count.
    pub(crate) fn before(&self, age: Duration) -> (Millis, Millis) {
        let (now, ahead) = self.read();
        (now, now.saturating_sub(millis(age)).saturating_sub(ahead))
    }

    fn read(&self) -> (Millis, Millis) {
        // Every change of the state is one assignment.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, read) = (self.clock.now(), Instant::now());
        let expected = state.last.saturating_add(millis(read.duration_since(state.read)));
        let ahead = if now > expected.saturating_add(TOLERANCE) {
            state.ahead.saturating_add(now - expected)
        } else if now.saturating_add(TOLERANCE) < expected {
            state.ahead.saturating_sub(expected - now)
        } else {
            state.ahead
        };
        if ahead != state.ahead || now.saturating_add(TOLERANCE) < expected {
            tracing::warn!(expected, now, "the clock was set, or the machine slept; messages keep their age");
        }
        *state = State { last: now, read, ahead };
        (now, ahead)
    }
}

impl Default for RelayClock {
    fn default() -> Self {
        Self::new(SystemClock)
    }
}

impl fmt::Debug for RelayClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayClock").field("state", &self.state).finish_non_exhaustive()
    }
}

pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A clock that a test sets.
    #[derive(Clone, Debug)]
    pub(crate) struct Settable(pub(crate) Arc<AtomicU64>);

    impl Settable {
        pub(crate) fn at(now: Millis) -> Self {
            Self(Arc::new(AtomicU64::new(now)))
        }

        pub(crate) fn set(&self, now: Millis) {
            self.0.store(now, Ordering::SeqCst);
        }
    }

    impl Clock for Settable {
        fn now(&self) -> Millis {
            self.0.load(Ordering::SeqCst)
        }
    }

    const NOW: Millis = 1_704_296_470_564;
    const DAY: Millis = 24 * 3_600_000;

    #[test]
    fn time_by_which_clock_is_set_forward_does_not_count() {
        let settable = Settable::at(NOW);
        let clock = RelayClock::new(settable.clone());
        let age = Duration::from_mins(1);
        assert_eq!(clock.before(age), (NOW, NOW - 60_000));
        settable.set(NOW + DAY);
        assert_eq!(clock.before(age), (NOW + DAY, NOW - 60_000));
        settable.set(NOW + DAY + 1_000);
        assert_eq!(clock.before(age), (NOW + DAY + 1_000, NOW + 1_000 - 60_000));
        settable.set(NOW + 1_000);
        assert_eq!(clock.before(age), (NOW + 1_000, NOW + 1_000 - 60_000));
        settable.set(NOW - DAY);
        assert_eq!(clock.before(age), (NOW - DAY, NOW - DAY - 60_000));
    }
}
