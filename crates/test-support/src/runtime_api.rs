//! A small Lambda Runtime API: hands invocations to a function and takes its answers, as
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html> says.

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

/// What became of an invocation.
#[derive(Clone, Debug)]
pub enum Invoked {
    /// The function answered.
    Response(Bytes),
    /// The function reported an error: a gateway makes a 502 of it.
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
}

#[derive(Debug)]
struct Invocation {
    id: String,
    payload: Bytes,
    deadline_ms: u64,
    handed_out: oneshot::Sender<Instant>,
    done: oneshot::Sender<(Invoked, Instant)>,
}

impl RuntimeApi {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be listened to.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    /// The environment of a function that this is the Runtime API of.
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

    /// From now on, invocations are part of the trace that this header names.
    pub fn trace(&self, header: &str) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.trace = Some(header.to_owned());
    }

    /// Waits until the function asks for `many` invocations at once.
    pub async fn wait_for_pollers(&self, many: usize) {
        let mut polling = self.shared.polling.subscribe();
        // The sender is in `self`.
        let _ = polling.wait_for(|count| *count >= many).await;
    }

    /// Invokes the function, which has `timeout` to answer.
    ///
    /// # Errors
    /// When the function goes away before it answers.
    pub async fn invoke(&self, payload: Bytes, timeout: Duration) -> anyhow::Result<Invoked> {
        Ok(self.invoke_timed(payload, timeout).await?.0)
    }

    /// Invokes the function; gives the time between the moment that the invocation was handed out and
    /// the moment that the answer was there.
    ///
    /// # Errors
    /// When the function goes away before it answers.
    pub async fn invoke_timed(
        &self,
        payload: Bytes,
        timeout: Duration,
    ) -> anyhow::Result<(Invoked, Duration)> {
        let (done, answered) = oneshot::channel();
        let (handed_out, started) = oneshot::channel();
        let deadline_ms = now() + u64::try_from(timeout.as_millis())?;
        {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.next_id += 1;
            let id = format!("00000000-0000-4000-8000-{:012}", state.next_id);
            state.queue.push_back(Invocation { id, payload, deadline_ms, handed_out, done });
        }
        self.shared.queued.notify_one();
        let Ok((invoked, ended)) = answered.await else { bail!("the invocation was never answered") };
        let started = started.await.context("the invocation was never handed out")?;
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
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
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
    // Several may wait, and one notification wakes one of them.
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
    let _ = invocation.handed_out.send(Instant::now());
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

/// One request for the next invocation, counted while it waits.
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
