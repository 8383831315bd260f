//! Support for the tests and benchmarks of the functions. They treat a function as a black box: a real process,
//! connected over real sockets.
//!
//! | module | purpose |
//! | --- | --- |
//! | [`runtime_api`] | a small Lambda Runtime API, which passes invocations to a function |
//! | [`gateway`] | requests in the payloads of a function URL, an HTTP API, a REST API and a load balancer |
//! | [`process`] | a process, with its output |
//! | [`http_client`] | requests over plain HTTP |
//! | [`signed`] | signed events |
//! | [`aws_server`] | queues, buses, tables and state machines of Amazon |
//! | [`comprehend_server`] | Amazon Comprehend |
//! | [`faulty_proxy`] | a TCP proxy with resets, black holes and other faults |
//! | [`object_server`] | Amazon S3: objects with their versions |
//! | [`secrets_server`] | Secrets Manager, and parameters of the Systems Manager with their versions |
//! | [`translate_server`] | Amazon Translate |

mod aws_json;
pub mod aws_server;
pub mod comprehend_server;
pub mod faulty_proxy;
pub mod gateway;
pub mod http_client;
pub mod object_server;
pub mod process;
pub mod runtime_api;
pub mod secrets_server;
pub mod signed;
pub mod translate_server;

pub use aws_json::AwsResponse;
/// Makes a folder, which is removed when the value is dropped.
pub use tempfile::tempdir;

/// A response of a function, over HTTP or through a gateway.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: std::collections::HashMap<String, String>,
    /// The body.
    pub body: String,
}

impl HttpResponse {
    /// Returns the body as JSON; null if it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}
