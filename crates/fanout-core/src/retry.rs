//! How failures are tried again: capped, jittered, and data.

use std::time::Duration;

use rand::Rng;

/// How often, how long and with what pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first one included.
    pub max_attempts: u32,
    /// How long one try may take.
    pub attempt_timeout: Duration,
    /// The longest pause before the second try; it doubles from try to try.
    pub first_pause: Duration,
    /// What the longest pause doubles up to.
    pub longest_pause: Duration,
}

impl RetryPolicy {
    /// Publishing from a function that answers within 4 s: one try takes a few milliseconds
    /// within a region, so that 1.1 s (the deadline of the SDK's own `Lambda` configuration) means
    /// that it hangs; three of those and a part of a fourth fit.
    pub const PUBLISH: Self = Self {
        max_attempts: 5,
        attempt_timeout: Duration::from_millis(1_100),
        first_pause: Duration::from_millis(50),
        longest_pause: Duration::from_millis(400),
    };

    /// The pause after try number `attempt` (the first is 1), drawn evenly between nothing and the
    /// longest, so that many who failed together do not come back together ("full jitter").
    #[must_use]
    pub fn pause(&self, attempt: u32, rng: &mut impl Rng) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << attempt.saturating_sub(1).min(30));
        doubled.min(self.longest_pause).mul_f64(rng.random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread_out() {
        let policy = RetryPolicy::PUBLISH;
        let mut rng = StdRng::seed_from_u64(1);
        for (attempt, longest) in [(1, 50), (2, 100), (3, 200), (4, 400), (5, 400), (u32::MAX, 400)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<_> = (0..1_000).map(|_| policy.pause(attempt, &mut rng)).collect();
            assert!(pauses.iter().all(|pause| *pause <= longest));
            assert!(pauses.iter().any(|pause| *pause > longest.mul_f64(0.9)));
            assert!(pauses.iter().any(|pause| *pause < longest.mul_f64(0.1)));
        }
    }
}
