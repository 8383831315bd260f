//! A local Momento for development and tests: topics and cache control over the real gRPC definitions, so
//! that any official SDK can point at it, without an account, a container or the internet. What a client
//! can observe is as the service does it, and it can be told to misbehave, so that every failure path is
//! tested against a real wire.
//!
//! ```
//! # use momento_local::{Fault, MomentoLocal, Rpc};
//! # use tonic::Code;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let momento = MomentoLocal::builder().cache("demo").start().await?;
//! // Point an SDK at `momento.endpoint()`, then break things:
//! let fault = momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).times(1));
//! momento.publish("demo", "orders", "hello")?;
//! assert_eq!(momento.published("demo", "orders")[0].text(), Some("hello"));
//! assert_eq!(fault.hits(), 0, "faults are for callers, not for the test itself");
//! momento.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | module | job |
//! | --- | --- |
//! | `builder`, `server` | settings; a running server and what a test can ask of it |
//! | `hub`, `hub::log` | caches and topics shared between calls; one topic's numbers, retention and readers, pure |
//! | `pubsub`, `control`, `ping` | the gRPC services |
//! | `call`, `auth`, `status` | what calls have in common; keys and token ids; errors as the service sends them |
//! | `faults` | misbehaving on demand: from code, as JSON, or asked for in a request's metadata |
//! | `connection` | sockets that can be cut, and the gate that blocks them |
//! | `admin` | the HTTP port for scripts outside the process |
//! | `cli` | the flags of the binary |
//! | `error` | why it did not start |

mod admin;
mod auth;
mod builder;
mod call;
pub mod cli;
mod connection;
mod control;
mod error;
mod faults;
mod hub;
mod pubsub;
mod rpc;
mod server;
mod service;
mod status;

pub use builder::Builder;
pub use error::{CacheError, StartError};
pub use faults::{Fault, FaultHandle};
pub use hub::log::{Published, Value};
pub use rpc::Rpc;
pub use server::MomentoLocal;
