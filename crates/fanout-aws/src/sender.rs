//! Hands in requests at the services that they are for.

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use crate::client::{Aws, RETRY};
use crate::failure::Failure;
use crate::in_time::{InTime, in_time};
use fanout_core::destination::{Accepted, AwsRequest, AwsSender, DeliveryError, Sent};

impl AwsSender for Aws {
    fn send<'c>(
        &'c self,
        request: &'c AwsRequest,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Sent> {
        Box::pin(async move {
            let tries = InTime::new(deadline);
            let result = in_time(deadline, self.until_accepted(request, trace, &tries)).await;
            Sent { attempts: tries.begun(), result: result.map_err(Into::into) }
        })
    }
}

impl Aws {
    /// Tries again where the SDK does not, and it may be worth it: it leaves alone a request of which a part has
    /// failed, and one that is in conflict with another.
    async fn until_accepted(
        &self,
        request: &AwsRequest,
        trace: Option<&str>,
        tries: &InTime,
    ) -> Result<Accepted, Failure> {
        let mut calls = 1;
        loop {
            let failure = match self.send_to_aws(request, trace, tries.clone()).await {
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

    fn send_to_aws<'c>(
        &'c self,
        request: &'c AwsRequest,
        trace: Option<&'c str>,
        tries: InTime,
    ) -> BoxFuture<'c, Result<Accepted, Failure>> {
        match request {
            #[cfg(feature = "dynamodb")]
            AwsRequest::Row(row) => Box::pin(self.write(row, tries)),
            #[cfg(feature = "eventbridge")]
            AwsRequest::Event(event) => Box::pin(self.put_event(event, trace, tries)),
            #[cfg(feature = "sqs")]
            AwsRequest::Message(message) => Box::pin(self.send_message(message, trace, tries)),
            #[cfg(feature = "step-functions")]
            AwsRequest::Execution(execution) => Box::pin(self.start_execution(execution, trace, tries)),
            #[cfg(not(all(
                feature = "dynamodb",
                feature = "eventbridge",
                feature = "sqs",
                feature = "step-functions"
            )))]
            _ => {
                // What this build does not have it accepts in no file.
                let failure = Failure::new(fanout_core::reason::Reason::InvalidArgument, "not in this build");
                Box::pin(futures_util::future::ready(Err(failure)))
            }
        }
    }
}

impl From<Failure> for DeliveryError {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.reason, source: failure.source }
    }
}
