//! Plain HTTP/1.1 and HTTP/2: a container, a host, a laptop.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout, timeout_at};

use super::DRAIN;
use crate::answer::Refusal;
use crate::destination::Publisher;
use crate::fan_out::TIME_TO_ANSWER;
use crate::webhook::{Clock, Inbound, MAX_BODY, Webhook};

/// How much of a body that is too large is still read, so that its sender gets to see the answer
/// instead of a broken connection.
const MAX_DRAINED: usize = 16 * 1024 * 1024;

/// How long the headers of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after a connection could not be accepted, which is mostly because there are too
/// many open files: at once it would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `webhook` on `listener` until `shutdown`, then ends what has begun.
pub async fn serve<P: Publisher, C: Clock>(
    listener: TcpListener,
    webhook: Arc<Webhook<P, C>>,
    shutdown: impl Future<Output = ()>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let connections = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small and wait for nothing: they go out at once.
        let _ = stream.set_nodelay(true);
        let webhook = Arc::clone(&webhook);
        let service = service_fn(move |request| answer(Arc::clone(&webhook), request));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "connection ended early");
            }
        });
    }
    drop(listener);
    if timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("connections still open at the end");
    }
}

async fn answer<P: Publisher, C: Clock>(
    webhook: Arc<Webhook<P, C>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let (body, fault) = match read(body, started + TIME_TO_ANSWER).await {
        Ok(body) => (body, None),
        Err(fault) => (Bytes::new(), Some(fault)),
    };
    let time_left = TIME_TO_ANSWER.saturating_sub(started.elapsed());
    let inbound = Inbound { request: Request::from_parts(parts, body), fault, id: None, time_left };
    // In a task of its own, so that a sender who goes away does not leave an event half published
    // and nothing remembered of it.
    let handled = tokio::spawn(async move { webhook.handle(inbound).await });
    let response = handled.await.unwrap_or_else(|error| {
        // Nothing here panics, but what is built upon it may: it is an answer, not a broken connection.
        tracing::error!(%error, "request not handled");
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    Ok(response.map(Full::new))
}

/// Reads a whole body, of [`MAX_BODY`] bytes at most.
async fn read(mut body: Incoming, deadline: Instant) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::BodyTooLarge { limit: MAX_BODY };
    if body.size_hint().lower() > MAX_DRAINED as u64 {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    let mut length = 0;
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            // Whoever breaks off in the middle of a body does not wait for an answer.
            Ok(Some(Err(_))) | Err(_) => return Err(Refusal::BodyTimeout),
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
