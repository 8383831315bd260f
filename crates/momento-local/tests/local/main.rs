//! Tests of local Momento from outside: through the official stubs, the official Rust SDK, the admin port and the
//! binary. They wait for events, with [`within`](support::within), and never sleep.

// Tells the lints that helpers in here are test code as well.
#![cfg(test)]

mod admin;
mod binary;
mod caches;
mod faults;
mod lifecycle;
mod sdk;
// Only Linux has the size of a process in `/proc`.
#[cfg(target_os = "linux")]
mod slow;
mod support;
mod tokens;
mod topics;
