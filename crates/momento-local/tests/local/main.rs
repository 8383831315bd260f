//! Local Momento as its users see it: through the official stubs, the official Rust SDK, the admin port,
//! and the binary. Nothing here sleeps to wait; whatever is waited for is an event, within [`within`].

// Says to the lints what cargo knows: helpers in here are test code as well.
#![cfg(test)]

mod admin;
mod binary;
mod caches;
mod faults;
mod lifecycle;
mod sdk;
mod support;
mod topics;
