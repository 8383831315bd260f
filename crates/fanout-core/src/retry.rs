//! Retry policies as data: capped, with jitter.

use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, sleep, timeout_at};

use crate::reason::{Failure, Reason};

/// The minimum time for an attempt. With less time left, the response would be out before the result.
const LEAST_ATTEMPT: Duration = Duration::from_millis(20);

/// The number of attempts, the timeout of one attempt, and the backoff between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// The timeout of one attempt.
    pub attempt_timeout: Duration,
    /// The limit of the backoff before the second attempt. It doubles with each attempt.
    pub initial_backoff: Duration,
    /// The value that the limit doubles up to.
    pub max_backoff: Duration,
}

impl RetryPolicy {
    /// Publishes from a function that responds within 4 s. An attempt within a region takes a few milliseconds, so
    /// one that takes 1.1 s (the deadline of the SDK's own `Lambda` configuration) hangs. Three of those and a part
    /// of a fourth fit.
    pub const PUBLISH: Self = Self {
        max_attempts: 5,
        attempt_timeout: Duration::from_millis(1_100),
        initial_backoff: Duration::from_millis(50),
        max_backoff: Duration::from_millis(400),
    };

    /// Makes attempts until one succeeds, fails for good or is the last that fits before `deadline`. Returns their number,
    /// which is 0 if the deadline was over, and the result of the last one.
    pub async fn run<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        deadline: Instant,
        attempt: impl Fn() -> F,
    ) -> (u32, Result<T, Failure>) {
        let is_too_late = |start: Instant| start + LEAST_ATTEMPT > deadline;
        if is_too_late(Instant::now()) {
            return (0, Err(Failure::from(Reason::TimedOut)));
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            let end = deadline.min(Instant::now() + self.attempt_timeout);
            let failure = match timeout_at(end, attempt()).await {
                Ok(Ok(done)) => return (attempts, Ok(done)),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::from(Reason::TimedOut),
            };
            let backoff = self.backoff(attempts, &mut rand::rng());
            let is_last = attempts >= self.max_attempts || is_too_late(Instant::now() + backoff);
            if is_last || !failure.reason.is_transient() {
                return (attempts, Err(failure));
            }
            tracing::debug!(attempts, reason = %failure.reason, "an attempt failed; it is retried");
            sleep(backoff).await;
        }
    }

    /// Returns the backoff after attempt number `attempt` (the first is 1): a random time between zero and
    /// [`backoff_limit`](Self::backoff_limit), so that callers that fail together do not return together ("full
    /// jitter").
    #[must_use]
    pub fn backoff(&self, attempt: u32, rng: &mut impl Rng) -> Duration {
        self.backoff_limit(attempt).mul_f64(rng.random())
    }

    /// Returns the longest backoff after attempt number `attempt`.
    #[must_use]
    pub fn backoff_limit(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(30);
        self.initial_backoff.saturating_mul(1 << doublings).min(self.max_backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_is_spread_out() {
        let policy = RetryPolicy::PUBLISH;
        let mut rng = StdRng::seed_from_u64(1);
        for (attempt, limit) in [(1, 50), (2, 100), (3, 200), (4, 400), (5, 400), (u32::MAX, 400)] {
            let limit = Duration::from_millis(limit);
            let backoffs: Vec<_> = (0..1_000).map(|_| policy.backoff(attempt, &mut rng)).collect();
            assert!(backoffs.iter().all(|backoff| *backoff <= limit));
            assert!(backoffs.iter().any(|backoff| *backoff > limit.mul_f64(0.9)));
            assert!(backoffs.iter().any(|backoff| *backoff < limit.mul_f64(0.1)));
        }
    }
}
