//! AWS Lambda: functions that are invoked directly.

use aws_sdk_lambda::config::{Config, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_smithy_types::retry::RetryConfig;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::client::{Aws, timeouts};
use crate::failure::of_sdk;
use crate::in_time::in_time;
use fanout_core::function::{FunctionArn, FunctionInvoker, Invoked};
use fanout_core::reason::Failure;

impl FunctionInvoker for Aws {
    fn invoke<'c>(
        &'c self,
        function: &'c FunctionArn,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> BoxFuture<'c, Result<Invoked, Failure>> {
        in_time(deadline, invoke(self, function, payload))
    }
}

async fn invoke(aws: &Aws, function: &FunctionArn, payload: Vec<u8>) -> Result<Invoked, Failure> {
    // The caller retries, and its deadline is the only timeout: a function can take longer than other services.
    let once = Config::builder()
        .region(Region::new(function.region().to_owned()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts().to_builder().disable_operation_attempt_timeout().build());
    let call = aws.lambda().await?.invoke().function_name(function.as_str()).payload(Blob::new(payload));
    let invoked = call.customize().config_override(once).send().await.map_err(of_sdk)?;
    let payload = invoked.payload.map(Blob::into_inner).unwrap_or_default();
    Ok(match invoked.function_error {
        None => Invoked::Responded(payload),
        Some(_) => Invoked::Failed(payload),
    })
}
