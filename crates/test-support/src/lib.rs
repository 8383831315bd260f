//! What the tests and the benchmarks of the functions stand on. The functions are black boxes to both:
//! real processes, spoken to over real sockets.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`runtime_api`] | a small Lambda Runtime API, which hands invocations to a function |
//! | [`gateway`] | requests in the payloads of a function URL, an HTTP API, a REST API and a load balancer |
//! | [`process`] | a function as a process, with its output |
//! | [`http_client`] | requests over plain HTTP |
//! | [`signed`] | signed events |
//! | [`aws_server`] | queues, buses, tables and state machines of Amazon |
//! | [`queue_server`] | Amazon SQS |
//! | [`secrets_server`] | Secrets Manager, and parameters of the Systems Manager with their versions |
//! | [`translate_server`] | Amazon Translate, and parameters of the Systems Manager |

mod aws_json;
pub mod aws_server;
pub mod gateway;
pub mod http_client;
pub mod process;
pub mod queue_server;
pub mod runtime_api;
pub mod secrets_server;
pub mod signed;
pub mod translate_server;

/// What was answered, by whichever way it came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: std::collections::HashMap<String, String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}
