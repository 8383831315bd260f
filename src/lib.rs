//! A signed webhook comes in, is proven genuine, transformed, and fanned out to Momento topics.
//!
//! This library is the whole of the functions; the binaries in `src/bin` only start them. The way of
//! one event goes through these modules from top to bottom, and no module knows the one after the
//! next:
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`serve`] | the listeners: AWS Lambda's runtime, or plain HTTP |
//! | [`webhook`] | the HTTP edge: a request in, an answer out |
//! | [`momento_webhook`] | (a crate) the signature, the event, its age |
//! | [`dedupe`] | the events that this environment has already handled |
//! | [`route`] | where an event goes |
//! | [`transform`] | what is done to its text on the way |
//! | [`fan_out`] | to all destinations at once, with retries, until the deadline |
//! | [`destination`] | one kind of place that takes a text, each in a file of its own |
//! | [`response`] | what the caller is told: the one place that knows HTTP statuses |
//! | [`request_log`] | what the operator is told: one line for each invocation, with its metrics |
//!
//! Beside the way stand [`config`] (the settings), [`retry`] (how failures are tried again, as data),
//! [`names`] (types for names that could be swapped), [`telemetry`] (everything else that is logged),
//! [`trace`] (in whose trace a request is), [`output`] (where lines go),
//! [`secrets`] (those that are kept elsewhere), [`clock`] (what time it is) and [`run`] (which puts it all together).

pub mod cloud;
pub mod config;
pub mod output;
pub mod pipeline;
pub mod request_log;
pub mod response;
pub mod run;
pub mod secrets;
pub mod serve;
pub mod telemetry;
pub mod trace;
pub mod webhook;
