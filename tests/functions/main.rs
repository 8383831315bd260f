//! The functions as black boxes: the real binary, spoken to through a Lambda Runtime API or over plain
//! HTTP, publishing through the real SDK to a local Momento, whose faults are on a real wire. `amazon` is about one edge
//! only, with the real SDK of AWS on a real wire.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test asserts by panicking"
)]

#[cfg(feature = "aws")]
mod amazon;
mod answers;
#[cfg(feature = "aws")]
mod aws_destinations;
#[cfg(feature = "aws")]
mod chat;
#[cfg(feature = "aws")]
mod dead_letters;
mod faults;
mod hostile;
mod lifecycle;
mod limits;
mod panics;
mod routes;
#[cfg(feature = "aws")]
mod secrets;
mod support;
mod tracing;
mod ways;
