//! Calls that have to end by a deadline, with as many tries as fit.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use crate::client::RETRY;
use crate::failure::Failure;

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
    begun: Arc<AtomicU32>,
}

impl InTime {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { deadline, begun: Arc::default() }
    }

    /// How many tries have begun so far, of all clones.
    pub(super) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Returns the backoff before another attempt, for a failure that the SDK does not retry. Returns `None` if there is
    /// no attempt or no time left.
    pub(super) fn backoff(&self) -> Option<Duration> {
        let backoff = RETRY.backoff(self.begun(), &mut rand::rng());
        self.is_left(backoff).then_some(backoff)
    }

    /// Returns true if another attempt, after this backoff, can end in time.
    fn is_left(&self, backoff: Duration) -> bool {
        // The SDK starts to count anew with each call.
        self.begun() < RETRY.max_attempts && Instant::now() + backoff + LEAST_ATTEMPT <= self.deadline
    }
}

/// Counts. The SDK classifies a failed try more than once, so that it cannot be done there.
impl Intercept for InTime {
    fn name(&self) -> &'static str {
        "in time"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl ClassifyRetry for InTime {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        if !attempt.is_failed() {
            return RetryAction::NoActionIndicated;
        }
        if !self.is_left(RETRY.backoff_limit(self.begun())) {
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
