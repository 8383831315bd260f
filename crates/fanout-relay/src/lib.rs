//! Delivers the messages of Momento topics to webhooks, functions, queues or routes, at least once.
//!
//! A reader per topic subscribes and writes each message to the [`spool`], together with the cursor. A scheduler per
//! subscription takes messages from the spool and delivers them. A message leaves the spool with an outcome: delivered,
//! dead or expired. What Momento itself lost is recorded as a gap.

mod body;
mod breaker;
mod clock;
pub mod dead_letter;
pub mod file;
pub mod function;
pub mod metrics;
pub mod operations;
mod pace;
pub mod port;
pub mod queue;
mod reader;
mod relay;
pub mod replay;
pub mod routes;
mod schedule;
pub mod shard;
pub mod spool;
pub mod token;
pub mod topics;
pub mod webhook;

pub use breaker::{Breaker, BreakerPolicy};
pub use reader::ReaderState;
pub use relay::{
    RelayError, STREAMS_PER_CHANNEL, Start, Status, SubscriptionConfig, SubscriptionStatus, run,
};
pub use schedule::{Attempt, Order, Schedule, Target};
