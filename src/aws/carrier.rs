//! Hands in parcels at the services that they are for.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::Aws;
use super::failure::Failure;
use super::in_time::{InTime, in_time};
use crate::destination::{Carried, Carrier, DeliveryError, Parcel};

impl Carrier for Aws {
    fn carry<'c>(
        &'c self,
        parcel: &'c Parcel,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Carried> {
        Box::pin(async move {
            let tries = InTime::new(deadline);
            let result = in_time(deadline, self.hand_in(parcel, trace, tries.clone())).await;
            // The last try failed too where they all did, and the good one is not counted there.
            let attempts = tries.failed() + u32::from(result.is_ok());
            Carried { attempts, result: result.map_err(Into::into) }
        })
    }
}

impl Aws {
    fn hand_in<'c>(
        &'c self,
        parcel: &'c Parcel,
        trace: Option<&'c str>,
        tries: InTime,
    ) -> BoxFuture<'c, Result<(), Failure>> {
        match parcel {
            #[cfg(feature = "sqs")]
            Parcel::Message(message) => Box::pin(self.send_message(message, trace, tries)),
            #[cfg(not(feature = "sqs"))]
            Parcel::Message(_) => absent(),
        }
    }
}

/// For what this build does not have, and so accepts in no file.
#[cfg(not(feature = "aws"))]
fn absent<'c>() -> BoxFuture<'c, Result<(), Failure>> {
    let failure = Failure::new(crate::reason::Reason::InvalidArgument, "not in this build");
    Box::pin(futures_util::future::ready(Err(failure)))
}

impl From<Failure> for DeliveryError {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.reason, source: failure.source }
    }
}
