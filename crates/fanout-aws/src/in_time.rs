//! Calls that end by a deadline, with as many attempts as fit.

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
use crate::failure::timed_out;
use fanout_core::reason::Failure;

/// The minimum time for an attempt. With less time left, the response would be out before the result.
const LEAST_ATTEMPT: Duration = Duration::from_millis(100);

/// Waits for `call` until `deadline`.
pub(super) fn in_time<'c, T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, Failure>> + Send + 'c,
) -> BoxFuture<'c, Result<T, Failure>> {
    Box::pin(async move {
        if deadline.saturating_duration_since(Instant::now()) < LEAST_ATTEMPT {
            return Err(timed_out());
        }
        timeout_at(deadline, call).await.unwrap_or_else(|_| Err(timed_out()))
    })
}

/// Counts the attempts of a call, and forbids an attempt that could not end in time.
///
/// So the caller gets the real failure, for example a rate limit, instead of a timeout.
#[derive(Clone, Debug)]
pub(super) struct InTime {
    deadline: Instant,
    begun: Arc<AtomicU32>,
}

impl InTime {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { deadline, begun: Arc::default() }
    }

    /// Returns the number of attempts so far, over all clones.
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
        // The SDK counts the attempts of each call separately.
        self.begun() < RETRY.max_attempts && Instant::now() + backoff + LEAST_ATTEMPT <= self.deadline
    }
}

/// Counts the attempts. The classifier cannot count, because the SDK classifies a failed attempt more than once.
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
            // The SDK does not retry a rate limit without a code, and a success without a valid body.
            Some(429) => RetryAction::throttling_error(),
            Some(200..=299) => RetryAction::server_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "in time"
    }
}
