//! Handles events between input and output: routes, transforms, destinations and the fan-out.
//!
//! Nothing here knows HTTP or a client library. I/O stands behind narrow traits: [`Publisher`] for topics, [`ServiceSender`] for
//! AWS destinations, [`QueueSender`] for batches of messages, [`FunctionInvoker`] for functions, [`Translator`] for
//! translations, [`SharedStore`] for the progress of events, and [`Clock`].
//!
//! [`Publisher`]: destination::Publisher
//! [`ServiceSender`]: destination::ServiceSender
//! [`QueueSender`]: destination::sqs::QueueSender
//! [`FunctionInvoker`]: function::FunctionInvoker
//! [`Translator`]: transform::translate::Translator
//! [`SharedStore`]: dedupe::shared::SharedStore
//! [`Clock`]: clock::Clock

pub mod clock;
pub mod dead_letter;
pub mod dedupe;
mod described;
pub mod destination;
#[cfg(test)]
mod documentation;
pub mod fan_out;
pub mod file;
pub mod function;
mod json;
pub mod limits;
pub mod names;
pub mod object_id;
pub mod permission;
pub mod placeholder;
pub mod prometheus;
pub mod reason;
pub mod retry;
pub mod route;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secret_store;
pub mod spanned;
pub mod suggest;
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::unwrap_used, reason = "a test asserts by panicking")]
pub mod testing;
pub mod transform;
