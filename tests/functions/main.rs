//! Tests of the functions as black boxes. They start the real binary, send requests through a Lambda Runtime API or over plain
//! HTTP, and let it publish through the real SDK to a local Momento. Faults happen on real connections. `amazon` tests the
//! clients of AWS alone, with the real SDK.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test asserts by panicking"
)]

#[cfg(feature = "aws")]
mod amazon;
#[cfg(feature = "aws")]
mod aws_destinations;
mod cache_destinations;
#[cfg(feature = "aws")]
mod chat;
#[cfg(feature = "aws")]
mod dead_letters;
mod dedupe;
mod faults;
mod hostile;
mod lifecycle;
mod limits;
mod metrics;
mod panics;
mod publish;
mod recipes;
#[cfg(feature = "aws")]
mod reload;
mod responses;
mod routes;
#[cfg(feature = "aws")]
mod secrets;
mod signatures;
mod support;
mod token;
mod tracing;
mod transports;
