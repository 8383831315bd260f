//! Plain HTTP/1.1 and HTTP/2: a container, a host, a laptop.
//!
//! Anyone on the network can connect, so everything that a caller can hold is limited: see `docs/SECURITY.md`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::budget::{Budget, Evicted, Lease};
use super::{DRAIN, Function, FunctionRequest, MAX_BODY, RESPONSE_TIMEOUT};
use crate::config::ListenConfig;
use crate::response::{Outcome, Rejection};
use crate::webhook::HealthCheck;

/// The bytes of a rejected body that are read and thrown away over HTTP/1. Without that, the caller would see a broken
/// connection instead of the response.
const MAX_DRAINED: usize = 16 * 1024 * 1024;

/// The time from the start of a connection to its first request. The deadline of a request starts when its headers are
/// there.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// The header of a response with the id of its log record.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The maximum number of connections. Each takes a file descriptor, and up to about 30 KiB of memory.
const MAX_CONNECTIONS: usize = 900;

/// The time to wait after a connection could not be accepted. The usual reason is too many open files, and without the
/// wait it would fail again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The maximum size of the headers of a request, in bytes.
const MAX_HEADERS: u16 = 16 * 1024;

/// The maximum size of the headers of a request over HTTP/2, in bytes. They are buffered for each of [`MAX_STREAMS`].
const MAX_HTTP2_HEADERS: u32 = 8 * 1024;

/// The maximum number of requests at once in an HTTP/2 connection.
const MAX_STREAMS: u32 = 8;

/// The number of requests over [`MAX_STREAMS`] that an HTTP/2 connection survives. A client may send some before it learns of
/// the limit: hyper and Go send 100 at most.
const MAX_REFUSED_STREAMS: usize = 100;

/// The bytes that a caller may send on an HTTP/2 connection or stream before the function reads them: the least that
/// HTTP/2 allows for a connection.
const WINDOW: u32 = 65_535;

/// The memory that an unfinished request takes beside its body and headers, in bytes. It is estimated upwards.
const REQUEST_SIZE: usize = 8 * 1024;

/// The first capacity of the buffer for a body, in bytes, where the body is not shorter. Most events fit.
const FIRST_CAPACITY: usize = 8 * 1024;

/// Serves `function` on `listener` until `shutdown`, then finishes the requests that have begun.
pub async fn serve<F: Function>(
    listener: TcpListener,
    function: Arc<F>,
    config: ListenConfig,
    shutdown: impl Future<Output = ()>,
) {
    let server = Server {
        builder: builder(config.idle_timeout),
        idle_timeout: config.idle_timeout,
        graceful: GracefulShutdown::new(),
        connections: Budget::new("connections", max_connections()),
        requests: Arc::new(Requests {
            function,
            bodies: Budget::new("memory for bodies", config.body_memory),
            handlers: TaskTracker::new(),
        }),
    };
    tokio::select! {
        () = shutdown => {}
        () = server.accept(&listener) => {}
    }
    drop(listener);
    server.drain().await;
}

fn builder(idle_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .max_buf_size(MAX_HEADERS.into())
        // A caller may close its half after the request, and still wants the response.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HTTP2_HEADERS)
        .max_concurrent_streams(MAX_STREAMS)
        .max_local_error_reset_streams(MAX_REFUSED_STREAMS)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW);
    builder
}

/// Returns the maximum number of connections: three quarters of the files that the process may open, and no more than
/// [`MAX_CONNECTIONS`]. The other files are for connections to Momento and AWS.
fn max_connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    files.map_or(MAX_CONNECTIONS, |files| (files / 4 * 3).clamp(1, MAX_CONNECTIONS))
}

struct Server<F> {
    builder: auto::Builder<TokioExecutor>,
    idle_timeout: Duration,
    graceful: GracefulShutdown,
    connections: Arc<Budget>,
    requests: Arc<Requests<F>>,
}

impl<F: Function> Server<F> {
    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let mut lease = self.connections.lease();
                    lease.grow(1).await.expect("a lease that is not evictable is not evicted");
                    lease.set_evictable(true);
                    tokio::spawn(self.connection(stream, lease));
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Serves one connection until it ends, is idle for too long, or gives way to another.
    fn connection(&self, stream: TcpStream, lease: Lease) -> impl Future<Output = ()> + use<F> {
        // Responses are small. Without this, some would wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let evicted = lease.evicted();
        let (activity, seen) = watch::channel(Activity::default());
        let connection = Arc::new(Connection { lease: Mutex::new(lease), activity });
        let requests = Arc::clone(&self.requests);
        let service = service_fn(move |request| {
            let (requests, active) = (Arc::clone(&requests), Active::new(&connection));
            // On the heap, so that a stream takes little memory while it waits for a caller that does not read its response.
            Box::pin(
                async move { Ok::<_, Infallible>(requests.respond(request, active).await.map(Full::new)) },
            )
        });
        let served = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let served = self.graceful.watch(served);
        let idle_timeout = self.idle_timeout;
        async move {
            tokio::select! {
                ended = served => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "connection ended early");
                    }
                }
                () = idle(seen, idle_timeout) => tracing::debug!("idle connection closed"),
                () = evicted.cancelled() => tracing::debug!("connection closed for another one"),
            }
        }
    }

    /// Waits until the requests that have begun are finished and their responses are sent.
    async fn drain(self) {
        let Self { graceful, requests, .. } = self;
        requests.handlers.close();
        let drained = async {
            graceful.shutdown().await;
            requests.handlers.wait().await;
        };
        if timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("requests or connections are still open at the end");
        }
    }
}

/// A connection, as its requests see it.
struct Connection {
    /// Evictable while no request of the connection is being handled.
    lease: Mutex<Lease>,
    activity: watch::Sender<Activity>,
}

/// The requests of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    /// The number of requests whose response is pending.
    pending: usize,
    /// The number of those whose body is read.
    handled: usize,
    /// True once a request has begun.
    any: bool,
}

impl Connection {
    fn update(&self, update: impl FnOnce(&mut Activity)) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        self.activity.send_modify(update);
        lease.set_evictable(self.activity.borrow().handled == 0);
    }
}

/// One request of a connection, counted until it is dropped.
struct Active {
    connection: Arc<Connection>,
    is_handled: bool,
}

impl Active {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.update(|activity| {
            *activity = Activity { pending: activity.pending + 1, any: true, ..*activity }
        });
        Self { connection: Arc::clone(connection), is_handled: false }
    }

    fn set_handled(&mut self) {
        self.is_handled = true;
        self.connection.update(|activity| activity.handled += 1);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let handled = usize::from(self.is_handled);
        self.connection.update(|activity| {
            activity.pending -= 1;
            activity.handled -= handled;
        });
    }
}

/// Completes when a connection has had no request for too long. The caller is silent, or stopped in the middle of the
/// headers or of the preface of HTTP/2.
async fn idle(mut seen: watch::Receiver<Activity>, idle_timeout: Duration) {
    loop {
        let activity = *seen.borrow_and_update();
        let changed = seen.changed();
        if activity.pending > 0 {
            if changed.await.is_err() {
                return;
            }
            continue;
        }
        let limit = if activity.any { idle_timeout } else { FIRST_REQUEST };
        // The sender is dropped only together with the connection.
        if !matches!(timeout(limit, changed).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// The requests of all connections.
struct Requests<F> {
    function: Arc<F>,
    bodies: Arc<Budget>,
    /// The requests that are being handled, whether or not their callers still wait.
    handlers: TaskTracker,
}

impl<F: Function> Requests<F> {
    async fn respond(&self, request: Request<Incoming>, mut active: Active) -> Response<Bytes> {
        let started = Instant::now();
        let mut lease = self.bodies.lease();
        let (request, rejection) = match self.read(request, &mut lease, started + RESPONSE_TIMEOUT).await {
            Ok(request) => (request, None),
            Err(rejection) => (Request::default(), Some(rejection)),
        };
        active.set_handled();
        lease.set_evictable(false);
        let time_left = RESPONSE_TIMEOUT.saturating_sub(started.elapsed());
        // A new one: what a caller sends is not signed, and must not get into the log.
        let id = format!("{:016x}", rand::random::<u64>());
        let request = FunctionRequest { request, rejection, id: Some(id.clone()), trace: None, time_left };
        // A task of its own, so that a caller who goes away does not leave an event half published.
        let function = Arc::clone(&self.function);
        let handled = self.handlers.spawn(async move {
            let response = function.handle(request).await;
            drop(lease);
            response
        });
        let mut response = handled.await.unwrap_or_else(|error| {
            tracing::error!(%error, "request not handled");
            Outcome::Crashed.response(None)
        });
        let id = HeaderValue::try_from(id).expect("hexadecimal digits are valid in a header");
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }

    /// Reads a request: its body, and the headers that the function needs.
    async fn read(
        &self,
        request: Request<Incoming>,
        lease: &mut Lease,
        deadline: Instant,
    ) -> Result<Request<Bytes>, Rejection> {
        let (parts, body) = request.into_parts();
        let mut body = pin!(body);
        // The caller of an HTTP/2 stream, or one that waits for `100 Continue`, sees the response without a drain.
        let may_drain = parts.version < Version::HTTP_2 && !parts.headers.contains_key(header::EXPECT);
        let read = if HealthCheck::of(&parts.method, &parts.uri).is_some() {
            Ok(Request::from_parts(parts, Bytes::new()))
        } else {
            self.read_body(parts, body.as_mut(), lease, deadline).await
        };
        if may_drain && !matches!(read, Err(Rejection::Overloaded)) {
            // The response follows in any case.
            let _ = timeout_at(deadline, drain(body)).await;
        }
        read
    }

    async fn read_body(
        &self,
        parts: Parts,
        body: Pin<&mut Incoming>,
        lease: &mut Lease,
        deadline: Instant,
    ) -> Result<Request<Bytes>, Rejection> {
        self.function.check_head(&parts.method, &parts.headers, body.size_hint().lower())?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = parts.method;
        *request.headers_mut() = keep(&parts.headers, F::HEADERS);
        *request.uri_mut() = path_and_query(&parts.uri);
        // All else of the head would take memory until the body is there.
        drop((parts.headers, parts.uri, parts.extensions));
        let headers = request.headers().values().map(HeaderValue::len).sum::<usize>();
        let head = headers + request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
        let evicted = lease.evicted();
        let read = async {
            take(lease, REQUEST_SIZE + head, deadline).await?;
            lease.set_evictable(true);
            read_body(body, lease, deadline).await
        };
        *request.body_mut() = tokio::select! {
            biased;
            () = evicted.cancelled() => Err(Rejection::Overloaded),
            body = read => body,
        }?;
        Ok(request)
    }
}

/// Returns the path and the query of a request, in memory of their own.
fn path_and_query(uri: &Uri) -> Uri {
    // A request with the method CONNECT has none.
    uri.path_and_query().and_then(|uri| Uri::try_from(uri.as_str()).ok()).unwrap_or_default()
}

/// Returns the headers with these names, in memory of their own.
fn keep(headers: &HeaderMap, names: &[&'static str]) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(names.len());
    for name in names.iter().copied() {
        for value in headers.get_all(name) {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a copy of a valid value is valid");
            kept.append(HeaderName::from_static(name), value);
        }
    }
    kept
}

/// Takes `amount` of the memory for bodies.
async fn take(lease: &mut Lease, amount: usize, deadline: Instant) -> Result<(), Rejection> {
    match timeout_at(deadline, lease.grow(amount)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Evicted)) | Err(_) => Err(Rejection::Overloaded),
    }
}

/// Reads a whole body of at most [`MAX_BODY`] bytes. The lease covers the capacity of the buffer.
async fn read_body(
    mut body: Pin<&mut Incoming>,
    lease: &mut Lease,
    deadline: Instant,
) -> Result<Bytes, Rejection> {
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let most = announced.map_or(MAX_BODY, |length| length.min(MAX_BODY));
    let mut read = Vec::new();
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(read.into()),
            Ok(Some(Err(_))) => return Err(Rejection::BodyBroken),
            Err(_) => return Err(Rejection::BodyTimeout),
        };
        let Ok(data) = frame.into_data() else { continue };
        let length = read.len() + data.len();
        if length > MAX_BODY {
            return Err(Rejection::BodyTooLarge { limit: MAX_BODY });
        }
        if length > read.capacity() {
            let capacity = FIRST_CAPACITY.max(2 * read.capacity()).min(most).max(length);
            take(lease, capacity - read.capacity(), deadline).await?;
            read.reserve_exact(capacity - read.len());
        }
        read.extend_from_slice(&data);
    }
}

/// Reads the rest of a body and throws it away, up to [`MAX_DRAINED`] bytes.
async fn drain(mut body: Pin<&mut Incoming>) {
    let mut drained = 0;
    while drained <= MAX_DRAINED && body.size_hint().lower() <= MAX_DRAINED as u64 {
        let Some(Ok(frame)) = body.frame().await else { return };
        drained += frame.data_ref().map_or(0, Bytes::len);
    }
}
