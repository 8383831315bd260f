//! Hands in parcels at the services that they are for.

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::failure::Failure;
use super::in_time::{InTime, in_time};
use super::{Aws, MAX_ATTEMPTS};
use crate::destination::{Carried, Carrier, DeliveryError, Parcel, Taken};

impl Carrier for Aws {
    fn carry<'c>(
        &'c self,
        parcel: &'c Parcel,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Carried> {
        Box::pin(async move {
            let tries = InTime::new(deadline);
            let result = in_time(deadline, self.until_taken(parcel, trace, &tries)).await;
            Carried { attempts: tries.begun(), result: result.map_err(Into::into) }
        })
    }
}

impl Aws {
    /// Tries again where the SDK does not, and it may be worth it: it leaves alone a request of which a part has
    /// failed, and one that is in conflict with another.
    async fn until_taken(
        &self,
        parcel: &Parcel,
        trace: Option<&str>,
        tries: &InTime,
    ) -> Result<Taken, Failure> {
        let mut calls = 1;
        loop {
            let failure = match self.hand_in(parcel, trace, tries.clone()).await {
                Err(failure) if failure.reason.is_passing() && calls < MAX_ATTEMPTS => failure,
                ended => return ended,
            };
            match tries.pause() {
                Some(pause) => sleep(pause).await,
                None => return Err(failure),
            }
            calls += 1;
        }
    }

    fn hand_in<'c>(
        &'c self,
        parcel: &'c Parcel,
        trace: Option<&'c str>,
        tries: InTime,
    ) -> BoxFuture<'c, Result<Taken, Failure>> {
        match parcel {
            #[cfg(feature = "dynamodb")]
            Parcel::Row(row) => Box::pin(self.write(row, tries)),
            #[cfg(feature = "eventbridge")]
            Parcel::Event(event) => Box::pin(self.put_event(event, trace, tries)),
            #[cfg(feature = "sqs")]
            Parcel::Message(message) => Box::pin(self.send_message(message, trace, tries)),
            #[cfg(feature = "step-functions")]
            Parcel::Execution(execution) => Box::pin(self.start_execution(execution, trace, tries)),
            #[cfg(not(feature = "aws"))]
            _ => {
                // What this build does not have it accepts in no file.
                let failure = Failure::new(crate::reason::Reason::InvalidArgument, "not in this build");
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
