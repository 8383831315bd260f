//! A breaker per target: while the target is away, messages wait instead of using up their attempts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Transient failures in a row that open it.
    pub failures: u32,
    /// How long it stays open at first. Each probe that fails doubles the time.
    pub initial_cooldown: Duration,
    /// The longest time that it stays open.
    pub max_cooldown: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 10, initial_cooldown: Duration::from_secs(5), max_cooldown: Duration::from_mins(5) }
    }
}

/// Counts failures in a row, and decides when attempts make sense.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Attempts are made.
    Closed { failures: u32 },
    /// No attempt is made until `until`. Then one is made as a probe.
    Open { until: Instant, cooldown: Duration },
    /// The probe is being made.
    Probing { cooldown: Duration },
}

/// The effect of a result on the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It opened.
    Opened(Duration),
    /// It closed.
    Closed,
    /// It is as before.
    None,
}

impl Breaker {
    pub(crate) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Returns true if an attempt can start now. While the breaker is open, one attempt can start after the cooldown;
    /// its result must be recorded, or it must be [abandoned](Self::abandon).
    pub(crate) fn try_start(&self) -> bool {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => true,
            State::Open { until, cooldown } if until <= Instant::now() => {
                *state = State::Probing { cooldown };
                true
            }
            State::Open { .. } | State::Probing { .. } => false,
        }
    }

    /// Returns the time at which a probe can start, if the breaker is open.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        match *self.state() {
            State::Open { until, .. } => Some(until),
            State::Closed { .. } | State::Probing { .. } => None,
        }
    }

    /// Returns true if attempts are held back.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(*self.state(), State::Closed { .. })
    }

    /// Records that the target responded. A rejection of one message is a response too.
    pub(crate) fn succeeded(&self) -> Change {
        let before = std::mem::replace(&mut *self.state(), State::Closed { failures: 0 });
        if matches!(before, State::Closed { .. }) { Change::None } else { Change::Closed }
    }

    /// Records a transient failure.
    pub(crate) fn failed(&self) -> Change {
        let mut state = self.state();
        let cooldown = match *state {
            State::Closed { failures } if failures + 1 < self.policy.failures => {
                *state = State::Closed { failures: failures + 1 };
                return Change::None;
            }
            State::Closed { .. } => self.policy.initial_cooldown,
            State::Probing { cooldown } => (cooldown * 2).min(self.policy.max_cooldown),
            // An attempt that started before the breaker opened.
            State::Open { .. } => return Change::None,
        };
        *state = State::Open { until: Instant::now() + cooldown, cooldown };
        Change::Opened(cooldown)
    }

    /// Ends a probe without a result, so that another can start.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        if let State::Probing { cooldown } = *state {
            *state = State::Open { until: Instant::now(), cooldown };
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change of the state is one assignment, so a panic cannot leave half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        initial_cooldown: Duration::from_secs(1),
        max_cooldown: Duration::from_secs(3),
    };

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row() {
        let breaker = Breaker::new(POLICY);
        for _ in 0..2 {
            assert_eq!(breaker.failed(), Change::None);
        }
        assert_eq!(breaker.succeeded(), Change::None);
        for _ in 0..2 {
            assert_eq!(breaker.failed(), Change::None);
        }
        assert_eq!(breaker.failed(), Change::Opened(Duration::from_secs(1)));
        assert!(!breaker.try_start());
    }

    #[tokio::test(start_paused = true)]
    async fn admits_one_probe_after_cooldown_that_doubles_up_to_limit() {
        let breaker = Breaker::new(POLICY);
        for _ in 0..3 {
            breaker.failed();
        }
        for cooldown in [2, 3, 3] {
            tokio::time::sleep_until(breaker.open_until().unwrap()).await;
            assert!(breaker.try_start());
            assert!(!breaker.try_start());
            assert_eq!(breaker.failed(), Change::Opened(Duration::from_secs(cooldown)));
        }
        tokio::time::sleep_until(breaker.open_until().unwrap()).await;
        assert!(breaker.try_start());
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert!(breaker.try_start() && breaker.try_start());
    }

    #[tokio::test(start_paused = true)]
    async fn admits_another_probe_after_abandoned_one() {
        let breaker = Breaker::new(POLICY);
        for _ in 0..3 {
            breaker.failed();
        }
        tokio::time::sleep_until(breaker.open_until().unwrap()).await;
        assert!(breaker.try_start());
        breaker.abandon();
        assert!(breaker.try_start());
    }

    #[tokio::test(start_paused = true)]
    async fn stays_open_when_earlier_attempts_fail_later() {
        let breaker = Breaker::new(POLICY);
        for _ in 0..3 {
            breaker.failed();
        }
        let until = breaker.open_until();
        assert_eq!(breaker.failed(), Change::None);
        assert_eq!(breaker.open_until(), until);
    }
}
