//! A small Lambda Runtime API: passes invocations to a function and receives its responses. It implements
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use crate::signed::now;

/// A Runtime API on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// The result of an invocation.
#[derive(Clone, Debug)]
pub enum Invoked {
    /// The function returned a response.
    Response(Bytes),
    /// The function reported an error. A gateway responds with 502.
    Error(Bytes),
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    queued: Notify,
    polling: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    trace: Option<String>,
    queue: VecDeque<Invocation>,
    running: HashMap<String, oneshot::Sender<(Invoked, Instant)>>,
    start_failure: Option<Bytes>,
}

#[derive(Debug)]
struct Invocation {
    id: String,
    payload: Bytes,
    deadline_ms: u64,
    delivered: oneshot::Sender<Instant>,
    done: oneshot::Sender<(Invoked, Instant)>,
}

impl RuntimeApi {
    /// Starts the Runtime API.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    /// Returns the environment of a function that uses this Runtime API.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "webhook".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/webhook".to_owned()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Sets the trace header of the invocations from now on.
    pub fn trace(&self, header: &str) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.trace = Some(header.to_owned());
    }

    /// Returns the error that the function has reported instead of polling.
    #[must_use]
    pub fn start_failure(&self) -> Option<Bytes> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).start_failure.clone()
    }

    /// Waits until the function polls for `number` invocations at the same time.
    pub async fn wait_for_pollers(&self, number: usize) {
        let mut polling = self.shared.polling.subscribe();
        polling.wait_for(|count| *count >= number).await.expect("the sender lives in `self`");
    }

    /// Invokes the function with this timeout.
    ///
    /// # Errors
    /// If the function ends before it responds.
    pub async fn invoke(&self, payload: Bytes, timeout: Duration) -> anyhow::Result<Invoked> {
        Ok(self.invoke_timed(payload, timeout).await?.0)
    }

    /// Invokes the function. Returns also the time from the delivery of the invocation to the response.
    ///
    /// # Errors
    /// If the function ends before it responds.
    pub async fn invoke_timed(
        &self,
        payload: Bytes,
        timeout: Duration,
    ) -> anyhow::Result<(Invoked, Duration)> {
        let (done, result) = oneshot::channel();
        let (delivered, started) = oneshot::channel();
        let deadline_ms = now() + u64::try_from(timeout.as_millis())?;
        {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.next_id += 1;
            let id = format!("00000000-0000-4000-8000-{:012}", state.next_id);
            state.queue.push_back(Invocation { id, payload, deadline_ms, delivered, done });
        }
        self.shared.queued.notify_one();
        let Ok((invoked, ended)) = result.await else { bail!("the function did not respond") };
        let started = started.await.context("the invocation was not delivered")?;
        Ok((invoked, ended.saturating_duration_since(started)))
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(Arc::clone(&shared), request));
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let response = match (request.method(), &parts[..]) {
        (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => next(&shared).await,
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, kind @ ("response" | "error")]) => {
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            let body = body.unwrap_or_default();
            let ended = Instant::now();
            let invoked = if *kind == "response" { Invoked::Response(body) } else { Invoked::Error(body) };
            let running = shared.state.lock().unwrap_or_else(PoisonError::into_inner).running.remove(*id);
            match running.map(|running| running.send((invoked, ended))) {
                Some(_) => status(StatusCode::ACCEPTED),
                None => status(StatusCode::NOT_FOUND),
            }
        }
        (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).ok();
            shared.state.lock().unwrap_or_else(PoisonError::into_inner).start_failure = body;
            status(StatusCode::ACCEPTED)
        }
        _ => status(StatusCode::NOT_FOUND),
    };
    Ok(response)
}

async fn next(shared: &Shared) -> Response<Full<Bytes>> {
    let _polling = Polling::new(&shared.polling);
    let invocation = loop {
        let queued = shared.queued.notified();
        if let Some(invocation) = take(shared) {
            break invocation;
        }
        queued.await;
    };
    // Several polls may wait, and one notification wakes only one of them.
    shared.queued.notify_one();
    let trace = shared.state.lock().unwrap_or_else(PoisonError::into_inner).trace.clone();
    let trace = trace.unwrap_or_else(|| "Root=1-65957ef6-0123456789abcdef01234567;Sampled=0".to_owned());
    let response = Response::builder()
        .header("lambda-runtime-aws-request-id", &invocation.id)
        .header("lambda-runtime-deadline-ms", invocation.deadline_ms)
        .header(
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:webhook",
        )
        .header("lambda-runtime-trace-id", trace)
        .header("content-type", "application/json")
        .body(Full::new(invocation.payload));
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.running.insert(invocation.id, invocation.done);
    let _ = invocation.delivered.send(Instant::now());
    response.unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR))
}

fn take(shared: &Shared) -> Option<Invocation> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner).queue.pop_front()
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// A request for the next invocation. It counts while it waits.
struct Polling<'c>(&'c watch::Sender<usize>);

impl<'c> Polling<'c> {
    fn new(count: &'c watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
