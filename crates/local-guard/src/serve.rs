use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Guard;

/// The time that a client has to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that are open at once. Others wait to be accepted.
const MAX_CONNECTIONS: usize = 100;

/// The wait after a connection that cannot be accepted, for example because too many files are open.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves plain HTTP/1.1 on a local port until `shutdown` completes, and then drops the open connections: a client that
/// keeps its connection open must not delay the shutdown.
///
/// `respond` gets the requests that `guard` accepts. A rejected request gets the reason as JSON. `port` is the name of the
/// port in the log, such as `the admin port`.
pub async fn serve<R>(
    listener: TcpListener,
    guard: Guard,
    port: &'static str,
    shutdown: impl Future<Output = ()>,
    respond: impl Fn(Request<Incoming>) -> R + Clone + Send + 'static,
) where
    R: Future<Output = Response<Full<Bytes>>> + Send,
{
    let guard = Arc::new(guard);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
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
        let (guard, respond) = (Arc::clone(&guard), respond.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (guard, respond) = (Arc::clone(&guard), respond.clone());
                async move {
                    Ok::<_, Infallible>(match guard.check(&request) {
                        Ok(()) => respond(request).await,
                        Err(rejected) => {
                            json_response(rejected.status(), &json!({ "error": rejected.to_string() }))
                        }
                    })
                }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(socket), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection on {port} ended early");
            }
        });
    }
    connections.shutdown().await;
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
