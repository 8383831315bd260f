//! A local Momento for development and tests: topics and caches over the official gRPC definitions.
//!
//! Any official SDK can connect to it, without an account, a container or the internet. A client observes the
//! same behaviour as with the service. Faults on demand make every failure path testable over a real connection.
//!
//! ```
//! # use momento_local::{Fault, MomentoLocal, Rpc};
//! # use tonic::Code;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let momento = MomentoLocal::builder().cache("demo").start().await?;
//! // Connect an SDK to `momento.endpoint()`, then break things:
//! let fault = momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).times(1));
//! momento.publish("demo", "orders", "hello")?;
//! assert_eq!(momento.published("demo", "orders")[0].text(), Some("hello"));
//! assert_eq!(fault.hits(), 0, "faults apply to clients, not to the test itself");
//! momento.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | module | purpose |
//! | --- | --- |
//! | `builder`, `server` | settings and start; a running server and its methods for tests |
//! | `hub` | the caches and topics that calls share |
//! | `hub::log`, `hub::turns` | the numbers and the retention of one topic, without I/O; the pace of the readers |
//! | `service`, `rpc` | the way of a gRPC call; the methods and their names |
//! | `pubsub`, `control`, `issue` | topics; caches and ping; tokens and API keys |
//! | `items` | the items of caches, one file for each type |
//! | `call`, `status` | key, permissions and faults of a call; errors as the service sends them |
//! | `auth`, `auth::permissions`, `auth::issuer` | keys and token ids; what a token allows; signatures of tokens |
//! | `faults` | faults on demand: from code, as JSON, or requested in metadata |
//! | `connection` | sockets that can be cut, and the gate that blocks them |
//! | `admin` | the HTTP port for scripts outside the process |
//! | `cli` | the flags of the binary |
//! | `error` | errors at start and of caches |

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
mod issue;
mod items;
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
