//! The listeners. Each takes its shutdown from the caller, finishes the requests that have begun within a deadline, and
//! passes every request to the same [`Function`].

use std::future::{Future, ready};
use std::time::Duration;

use ::http::{HeaderMap, Method, Request, Response};
use bytes::Bytes;

use crate::response::Rejection;
use crate::trace::TraceContext;

mod budget;
pub mod http;
pub mod lambda;
mod sqs_batch;

pub use sqs_batch::{Batch, BatchResponse};

/// The largest body that is read, in bytes. A message has at most 4 KB, and JSON escapes make it six times as long at
/// worst. Ten times that leaves room for accounts with a higher limit.
pub const MAX_BODY: usize = 256 * 1024;

/// The time until the response is out. Senders of webhooks stop waiting at 5 s, and the connection, the gateway and the start
/// of an environment take their part of that.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

/// The time for requests that have begun to finish after the shutdown.
pub const DRAIN: Duration = Duration::from_secs(5);

/// A function that a listener serves: a request in, a response out. It writes its own request log.
pub trait Function: Send + Sync + 'static {
    /// The names of the headers that it reads, in lower case. The HTTP server keeps no others.
    const HEADERS: &'static [&'static str];

    /// Checks the head of a request, whose body has `length` bytes or more. The HTTP server checks it before it reads a body.
    ///
    /// # Errors
    /// If the function would reject the request with any body.
    fn check_head(&self, method: &Method, headers: &HeaderMap, length: u64) -> Result<(), Rejection>;

    /// Handles one request. It contains panics.
    fn handle(&self, request: FunctionRequest) -> impl Future<Output = Response<Bytes>> + Send;

    /// Handles messages of a queue within `time_left`. Returns `None` if the function has no use for them.
    fn handle_batch(
        &self,
        _batch: Batch,
        _invocation: Option<&TraceContext>,
        _time_left: Duration,
    ) -> impl Future<Output = Option<BatchResponse>> + Send {
        ready(None)
    }

    /// Waits for background work that requests have started. In Lambda, the environment stands still after the response.
    fn settled(&self) -> impl Future<Output = ()> + Send;
}

/// A request, as a listener passes it on.
#[derive(Debug)]
pub struct FunctionRequest {
    /// The request, with the body as it was sent. The body is empty if there is a `rejection`.
    pub request: Request<Bytes>,
    /// Why the listener could not read the whole request.
    pub rejection: Option<Rejection>,
    /// The request id of the platform.
    pub id: Option<String>,
    /// The trace of the platform.
    pub trace: Option<TraceContext>,
    /// The time until the response has to be out, [`RESPONSE_TIMEOUT`] at most.
    pub time_left: Duration,
}

impl From<Request<Bytes>> for FunctionRequest {
    fn from(request: Request<Bytes>) -> Self {
        Self { request, rejection: None, id: None, trace: None, time_left: RESPONSE_TIMEOUT }
    }
}

/// Completes when the process receives `SIGTERM`, as from platforms, or `SIGINT`, as from a terminal.
///
/// # Errors
/// If the process cannot listen for signals.
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
