//! Calls that have to end by a deadline, with as many tries as fit.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::{FIRST_PAUSE, LONGEST_PAUSE, MAX_ATTEMPTS};

/// A try that could not take at least this long is not begun: nobody would learn what came of it.
const LEAST_ATTEMPT: Duration = Duration::from_millis(100);

/// What `call` comes to, if it does by `deadline`.
pub(super) fn in_time<'c, T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, Failure>> + Send + 'c,
) -> BoxFuture<'c, Result<T, Failure>> {
    Box::pin(async move {
        if deadline.saturating_duration_since(Instant::now()) < LEAST_ATTEMPT {
            return Err(Failure::timed_out());
        }
        timeout_at(deadline, call).await.unwrap_or_else(|_| Err(Failure::timed_out()))
    })
}

/// Has a say in whether a failed try is followed by another: not by one that could not end in time.
///
/// So the caller hears of what really happened, a rate limit for example, and not of a deadline.
#[derive(Clone, Debug)]
pub(super) struct InTime {
    deadline: Instant,
    failed: Arc<AtomicU32>,
}

impl InTime {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { deadline, failed: Arc::default() }
    }

    /// How many tries have failed so far, of all clones.
    pub(super) fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a try that the SDK takes for a good one.
    pub(super) fn note_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The pause before another try where the SDK does not try again by itself; none where there is to be no other.
    pub(super) fn pause(&self) -> Option<Duration> {
        let failed = self.failed();
        let pause = longest_pause(failed.saturating_sub(1)).mul_f64(rand::random());
        let is_left = failed < MAX_ATTEMPTS && Instant::now() + pause + LEAST_ATTEMPT <= self.deadline;
        is_left.then_some(pause)
    }
}

/// The longest pause after so many tries and one.
fn longest_pause(failed: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failed.min(16)).min(LONGEST_PAUSE)
}

impl ClassifyRetry for InTime {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        if !attempt.is_failed() {
            return RetryAction::NoActionIndicated;
        }
        let failed = self.failed.fetch_add(1, Ordering::Relaxed);
        let pause = longest_pause(failed);
        // The SDK counts for each call anew.
        let was_last = failed + 1 >= MAX_ATTEMPTS;
        if was_last || Instant::now() + pause + LEAST_ATTEMPT > self.deadline {
            return RetryAction::RetryForbidden;
        }
        match attempt.response().map(|response| response.status().as_u16()) {
            // Two that the SDK leaves alone: a rate limit without a code, and an answer that is none.
            Some(429) => RetryAction::throttling_error(),
            Some(200..=299) => RetryAction::server_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "in time"
    }
}
