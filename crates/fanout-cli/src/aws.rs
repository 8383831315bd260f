//! The clients of AWS, which a build may lack.

use std::sync::Arc;

use fanout_core::destination::sqs::QueueSender;
use fanout_core::function::FunctionInvoker;

use crate::error::Error;

/// True if this build has the clients.
pub(crate) const IS_BUILT: bool = cfg!(feature = "aws");

/// Returns the error of a build without the clients, which `what` needs.
pub(crate) fn missing(what: &str) -> Error {
    Error::Usage(format!(
        "{what} needs the clients of AWS; `cargo fanout` is built without them, so that the first build is short. Run \
         `cargo run -p fanout-cli --` instead, or `cargo install --path crates/fanout-cli`"
    ))
}

/// Returns the sender for batches of messages for queues.
///
/// # Errors
/// If this build lacks it.
#[cfg_attr(
    feature = "aws",
    expect(clippy::unnecessary_wraps, reason = "a build without the clients has an error")
)]
pub(crate) fn queue_sender() -> Result<Arc<dyn QueueSender>, Error> {
    #[cfg(feature = "aws")]
    return Ok(fanout_aws::Cloud::default().queue_sender());
    #[cfg(not(feature = "aws"))]
    Err(missing("a queue"))
}

/// Returns what invokes functions of AWS Lambda.
///
/// # Errors
/// If this build lacks it.
#[cfg_attr(
    feature = "aws",
    expect(clippy::unnecessary_wraps, reason = "a build without the clients has an error")
)]
pub(crate) fn function_invoker() -> Result<Arc<dyn FunctionInvoker>, Error> {
    #[cfg(feature = "aws")]
    return Ok(fanout_aws::Cloud::default().function_invoker());
    #[cfg(not(feature = "aws"))]
    Err(missing("a function"))
}
