//! The binary `fanout` as a black box: real processes, real sockets, local Momento.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test asserts by panicking"
)]

mod chat;
mod check;
mod crashes;
mod dev;
mod dev_routes;
mod harness;
mod json;
mod moderate;
mod prompt;
mod relay;
mod send;
mod sign;
mod stub;
mod terminal;
mod topic;
