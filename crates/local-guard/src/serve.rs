use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::Guard;

/// The time that a client has to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that a client has to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1_024;

/// The longest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1_024;

/// The largest number of open connections. Beyond it, the oldest one without a request is closed, or else the oldest one.
const MAX_CONNECTIONS: usize = 256;

/// The wait after a connection that cannot be accepted, for example because too many files are open.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves plain HTTP/1.1 on a local port until `shutdown` completes, and then drops the open connections: a client that
/// keeps its connection open must not delay the shutdown.
///
/// `respond` gets the requests that `guard` accepts, with their bodies. The body of its response may be a stream. A rejected
/// request gets the reason as JSON: also one whose body is longer than 64 KiB, or does not arrive within 10 seconds. `port` is
/// the name of the port in the log, such as `the admin port`.
pub async fn serve<R, B>(
    listener: TcpListener,
    guard: Guard,
    port: &'static str,
    shutdown: impl Future<Output = ()>,
    respond: impl Fn(Request<Bytes>) -> R + Clone + Send + 'static,
) where
    R: Future<Output = Response<B>> + Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let guard = Arc::new(guard);
    let mut connections = JoinSet::new();
    let mut open = VecDeque::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on {port}");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        make_room(&mut open);
        let (guard, respond) = (Arc::clone(&guard), respond.clone());
        let is_busy = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&is_busy);
        let task = connections.spawn(async move {
            let service = service_fn(move |request| {
                let (guard, respond, busy) = (Arc::clone(&guard), respond.clone(), Arc::clone(&busy));
                async move {
                    let response = match read(&guard, request).await {
                        Ok(request) => {
                            busy.store(true, Ordering::Relaxed);
                            let response = respond(request).await;
                            busy.store(false, Ordering::Relaxed);
                            response.map(Either::Left)
                        }
                        Err((status, error)) => {
                            json_response(status, &json!({ "error": error })).map(Either::Right)
                        }
                    };
                    Ok::<_, Infallible>(response)
                }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(socket), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection on {port} ended early");
            }
        });
        open.push_back(Connection { task, is_busy });
    }
    connections.shutdown().await;
}

/// An open connection.
struct Connection {
    task: AbortHandle,
    /// True while a request is handled: it has arrived whole, and its response is not there yet.
    is_busy: Arc<AtomicBool>,
}

/// Closes a connection if as many are open as may be. A client that opens many must not keep out the others.
fn make_room(open: &mut VecDeque<Connection>) {
    open.retain(|connection| !connection.task.is_finished());
    if open.len() < MAX_CONNECTIONS {
        return;
    }
    let idle = open.iter().position(|connection| !connection.is_busy.load(Ordering::Relaxed));
    if let Some(closed) = open.remove(idle.unwrap_or(0)) {
        closed.task.abort();
    }
}

/// Checks a request and reads its body. An error is a response: its status and its text.
async fn read(guard: &Guard, request: Request<Incoming>) -> Result<Request<Bytes>, (StatusCode, String)> {
    guard.check(&request).map_err(|rejected| (rejected.status(), rejected.to_string()))?;
    let (parts, body) = request.into_parts();
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, body.to_bytes())),
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("cannot read the body: {error}"))),
        Err(_) => {
            let seconds = BODY_TIMEOUT.as_secs();
            Err((StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {seconds} s")))
        }
    }
}

/// Returns a response with JSON, on one line.
#[must_use]
pub fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
