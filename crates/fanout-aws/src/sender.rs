//! Sends requests to AWS destinations.

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use crate::client::{Aws, RETRY};
use crate::in_time::{InTime, in_time};
use fanout_core::destination::{Accepted, Sent, ServiceRequest, ServiceSender};
use fanout_core::reason::Failure;

impl ServiceSender for Aws {
    fn send<'c>(
        &'c self,
        request: &'c ServiceRequest,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Sent> {
        Box::pin(async move {
            let tries = InTime::new(deadline);
            let result = in_time(deadline, self.call_with_retries(request, trace, &tries)).await;
            Sent { attempts: tries.begun(), result }
        })
    }
}

impl Aws {
    /// Retries transient failures that the SDK does not retry: a request of which a part has failed, and a request that is
    /// in conflict with another one.
    async fn call_with_retries(
        &self,
        request: &ServiceRequest,
        trace: Option<&str>,
        tries: &InTime,
    ) -> Result<Accepted, Failure> {
        let mut calls = 1;
        loop {
            let failure = match self.call(request, trace, tries.clone()).await {
                Err(failure) if failure.reason.is_transient() && calls < RETRY.max_attempts => failure,
                ended => return ended,
            };
            match tries.backoff() {
                Some(backoff) => sleep(backoff).await,
                None => return Err(failure),
            }
            calls += 1;
        }
    }
}
