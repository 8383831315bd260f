//! A signed webhook comes in, is verified, transformed, and fanned out to Momento topics.
//!
//! This library is the whole of the functions; the binaries in `src/bin` only start them.
//!
//! | module | contents |
//! | --- | --- |
//! | [`run`] | settings, client, runtime and listener, put together |
//! | [`serve`] | the listeners: AWS Lambda's runtime, or plain HTTP |
//! | [`webhook`] | the HTTP edge: a request in, a response out |
//! | [`pipeline`] | a verified event to an outcome: route, dedupe, fan-out, dead letter |
//! | [`response`] | what the caller gets: the one place that knows HTTP statuses |
//! | [`request_log`] | one log record for each invocation, with its metrics |
//! | [`emf`] | the form of metrics in log lines |
//! | [`config`] | the settings |
//! | [`health`] | the health check of a container |
//! | [`cloud`] | the settings with everything that had to be fetched |
//! | [`secrets`] | values of secrets that can change while the function runs |
//! | [`caller`] | who calls the functions `token` and `publish` |
//! | [`token`] | the function `token` |
//! | [`publish`] | the function `publish` |
//! | [`telemetry`] | everything else that is logged |
//! | [`trace`] | the trace that a request belongs to |
//! | [`output`] | the writer of log lines |
//!
//! Routes, transforms, destinations and the fan-out are the crate [`fanout_core`].

pub mod caller;
pub mod cloud;
pub mod config;
pub mod emf;
pub mod health;
pub mod live_routes;
pub mod metrics;
pub mod output;
pub mod pipeline;
pub mod publish;
pub mod request_log;
pub mod response;
pub mod run;
pub mod secrets;
pub mod serve;
pub mod telemetry;
pub mod token;
pub mod trace;
pub mod webhook;
