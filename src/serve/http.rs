//! Plain HTTP/1.1 and HTTP/2: a container, a host, a laptop.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::DRAIN;
use crate::response::{Outcome, Rejection};
use crate::webhook::{MAX_BODY, RESPONSE_TIMEOUT, Webhook, WebhookRequest};
use fanout_core::clock::Clock;
use fanout_core::destination::Publisher;

/// How much of a body that is too large is still read, so that its sender gets to see the answer
/// instead of a broken connection.
const MAX_DRAINED: usize = 16 * 1024 * 1024;

/// How long a connection may take to its first request. The time to answer begins when the headers of a
/// request are there.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// Connections at once; more wait until one of these ends. Each holds a file descriptor, of which a process
/// mostly has 1,024.
const MAX_CONNECTIONS: usize = 900;

/// How long to wait after a connection could not be accepted, which is mostly because there are too
/// many open files: at once it would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `webhook` on `listener` until `shutdown`, then ends what has begun. A connection that has no request for
/// `idle_timeout` after its first one is closed.
pub async fn serve<P: Publisher, C: Clock>(
    listener: TcpListener,
    webhook: Arc<Webhook<P, C>>,
    idle_timeout: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let server = Server {
        builder: builder(idle_timeout),
        idle_timeout,
        webhook,
        connections: GracefulShutdown::new(),
        handlers: TaskTracker::new(),
        free: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
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
    // A sender that has said everything may close its half, and still wants its answer.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle_timeout).half_close(true);
    builder.http2().timer(TokioTimer::new());
    builder
}

struct Server<P, C> {
    builder: auto::Builder<TokioExecutor>,
    idle_timeout: Duration,
    webhook: Arc<Webhook<P, C>>,
    connections: GracefulShutdown,
    /// Requests being handled, whether or not somebody still waits for the answer.
    handlers: TaskTracker,
    free: Arc<Semaphore>,
}

impl<P: Publisher, C: Clock> Server<P, C> {
    async fn accept(&self, listener: &TcpListener) {
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&self.free).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = self.connection(stream);
                    tokio::spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// One connection, until it ends or nothing comes of it.
    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + use<P, C> {
        // Answers are small and wait for nothing: they go out at once.
        let _ = stream.set_nodelay(true);
        let (activity, seen) = watch::channel(Activity::default());
        let webhook = Arc::clone(&self.webhook);
        let handlers = self.handlers.clone();
        let service = service_fn(move |request| {
            let (webhook, handlers, busy) = (Arc::clone(&webhook), handlers.clone(), Busy::new(&activity));
            async move {
                let answer = answer(webhook, handlers, request).await;
                drop(busy);
                answer
            }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = self.connections.watch(connection);
        let idle_timeout = self.idle_timeout;
        async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "connection ended early");
                    }
                }
                () = idle(seen, idle_timeout) => tracing::debug!("idle connection closed"),
            }
        }
    }

    /// Waits for what has begun: first for its answers to go out, then for what nobody waits for.
    async fn drain(self) {
        let Self { connections, handlers, .. } = self;
        handlers.close();
        let drained = async {
            connections.shutdown().await;
            handlers.wait().await;
        };
        if timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("requests or connections still open at the end");
        }
    }
}

/// What a connection has been used for.
#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    /// Requests being answered.
    running: usize,
    /// Whether there ever was one.
    any: bool,
}

/// One request of a connection, counted while it lives.
struct Busy(watch::Sender<Activity>);

impl Busy {
    fn new(activity: &watch::Sender<Activity>) -> Self {
        activity.send_modify(|activity| *activity = Activity { running: activity.running + 1, any: true });
        Self(activity.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|activity| activity.running -= 1);
    }
}

/// Completes when a connection has had no request for too long: it says nothing, or stopped in the middle
/// of its headers or of the preface by which its version is told.
async fn idle(mut seen: watch::Receiver<Activity>, idle_timeout: Duration) {
    loop {
        let activity = *seen.borrow_and_update();
        let changed = seen.changed();
        if activity.running > 0 {
            if changed.await.is_err() {
                return;
            }
            continue;
        }
        let limit = if activity.any { idle_timeout } else { FIRST_REQUEST };
        // Its other end goes only with the connection.
        if !matches!(timeout(limit, changed).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn answer<P: Publisher, C: Clock>(
    webhook: Arc<Webhook<P, C>>,
    handlers: TaskTracker,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let (body, rejection) = match read(body, started + RESPONSE_TIMEOUT).await {
        Ok(body) => (body, None),
        Err(rejection) => (Bytes::new(), Some(rejection)),
    };
    let time_left = RESPONSE_TIMEOUT.saturating_sub(started.elapsed());
    let request = Request::from_parts(parts, body);
    let request = WebhookRequest { request, rejection, id: None, trace: None, time_left };
    // In a task of its own, so that a sender who goes away does not leave an event half published
    // and nothing remembered of it.
    let handled = handlers.spawn(async move { webhook.handle(request).await });
    let response = handled.await.unwrap_or_else(|error| {
        tracing::error!(%error, "request not handled");
        Outcome::Crashed.response(None)
    });
    Ok(response.map(Full::new))
}

/// Reads a whole body, of [`MAX_BODY`] bytes at most.
async fn read(body: Incoming, deadline: Instant) -> Result<Bytes, Rejection> {
    let mut body = pin!(body);
    let too_large = || Rejection::BodyTooLarge { limit: MAX_BODY };
    if body.size_hint().lower() > MAX_DRAINED as u64 {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    let mut length = 0;
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Rejection::BodyBroken),
            Err(_) => return Err(Rejection::BodyTimeout),
        };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= MAX_BODY {
            read.extend_from_slice(&data);
        } else if length > MAX_DRAINED {
            break;
        } else {
            read = BytesMut::new();
        }
    }
    if length > MAX_BODY { Err(too_large()) } else { Ok(read.freeze()) }
}
