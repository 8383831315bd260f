//! The port for operators: plain HTTP/1.1.
//!
//! | request | response |
//! | --- | --- |
//! | `GET /health/live` | 200 while the process serves |
//! | `GET /health/ready` | 200 if every topic is subscribed to and the spool stores messages; 503 otherwise, with the causes |
//! | `GET /metrics` | the metrics, for Prometheus |
//! | `GET /topics` | the topics that were added at run time |
//! | `POST /topics`, `DELETE /topics` with [`TopicsOf`](crate::operations::TopicsOf) | adds or removes topics; the number of those that are new, or no longer there |
//! | `POST /operations` with an [`Operation`] | its result |
//!
//! With a [`Token`], metrics and operations need it, and health does not, because orchestrators have no token. To a request
//! without it, `ready` names no causes: they have names of topics and texts of errors. Without a token, the port is on a
//! loopback address only, and a [`Guard`] rejects requests that a page of another origin can have sent.

use std::future::pending;

use bytes::Bytes;
use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::prometheus::MEDIA_TYPE;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use local_guard::{Guard, json_response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::metrics;
use crate::operations::{Operation, OperationError, perform};
use crate::relay::Status;
use crate::spool::Spool;
use crate::token::Token;

/// Serves requests until the future is dropped.
pub async fn serve(listener: TcpListener, spool: Spool, status: Status, token: Option<Token>) {
    let guard = if token.is_some() { Guard::any_host() } else { Guard::loopback() };
    let respond = move |request: Request<Bytes>| {
        let (spool, status) = (spool.clone(), status.clone());
        let is_allowed = token.as_ref().is_none_or(|token| token.is_in(request.headers()));
        async move {
            let routed = match (is_allowed, request.uri().path()) {
                (true, _) | (false, "/health/live" | "/health/ready") => {
                    route(&spool, &status, request, is_allowed).await
                }
                (false, _) => return unauthorized(),
            };
            match routed {
                Ok((code, Body::Json(json))) => json_response(code, &json),
                Ok((code, Body::Text(text))) => text_response(code, text),
                Err((code, error)) => json_response(code, &json!({ "error": error })),
            }
        }
    };
    local_guard::serve(listener, guard, "the port for operators", pending(), respond).await;
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut response =
        json_response(StatusCode::UNAUTHORIZED, &json!({ "error": "the token is missing or wrong" }));
    let scheme = header::HeaderValue::from_static("Bearer");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    response
}

fn text_response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(MEDIA_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A status and the text of an error.
type Failure = (StatusCode, String);

enum Body {
    Text(String),
    Json(Value),
}

async fn route(
    spool: &Spool,
    status: &Status,
    request: Request<Bytes>,
    shows_causes: bool,
) -> Result<(StatusCode, Body), Failure> {
    let internal = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/health/live") => Ok((StatusCode::OK, Body::Json(json!({ "live": true })))),
        (&Method::GET, "/health/ready") => {
            let causes = causes(spool, status);
            let code = if causes.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let is_ready = causes.is_empty();
            let body = if shows_causes {
                json!({ "ready": is_ready, "causes": causes })
            } else {
                json!({ "ready": is_ready })
            };
            Ok((code, Body::Json(body)))
        }
        (&Method::GET, "/metrics") => {
            let text = metrics::prometheus(spool, &status.subscriptions(), SystemClock.now()).await;
            Ok((StatusCode::OK, Body::Text(text.map_err(|error| internal(error.to_string()))?)))
        }
        (&Method::POST, "/operations") => operate(spool, read(&request)?).await,
        (&Method::GET, "/topics") => operate(spool, Operation::Topics).await,
        (&Method::POST, "/topics") => operate(spool, Operation::AddTopics(read(&request)?)).await,
        (&Method::DELETE, "/topics") => operate(spool, Operation::RemoveTopics(read(&request)?)).await,
        (method, path @ ("/health/live" | "/health/ready" | "/metrics" | "/operations" | "/topics")) => {
            Err((StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not support {method}")))
        }
        (_, path) => Err((StatusCode::NOT_FOUND, format!("unknown path {path}"))),
    }
}

/// Reads the body of a request.
fn read<T: DeserializeOwned>(request: &Request<Bytes>) -> Result<T, Failure> {
    serde_json::from_slice(request.body()).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

/// Performs an operation.
async fn operate(spool: &Spool, operation: Operation) -> Result<(StatusCode, Body), Failure> {
    let internal = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
    let performed = perform(spool, operation).await.map_err(|error| match error {
        OperationError::Spool(error) => internal(error.to_string()),
        error => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
    })?;
    let json = serde_json::to_value(&performed).map_err(|error| internal(error.to_string()))?;
    Ok((StatusCode::OK, Body::Json(json)))
}

/// Returns why the relay is not ready.
fn causes(spool: &Spool, status: &Status) -> Vec<String> {
    let mut causes: Vec<_> = spool
        .failure()
        .map(|error| format!("the spool cannot store messages: {error}"))
        .into_iter()
        .collect();
    for subscription in status.subscriptions() {
        let name = &subscription.name;
        for (topic, state) in &subscription.topics {
            if let Some(cause) = state.borrow().cause() {
                causes.push(format!("{name}: topic {topic:?}: {cause}"));
            }
        }
        if let Some(cause) = &subscription.disabled {
            causes.push(format!("{name}: the target wants no more messages: {cause}"));
        }
    }
    causes
}
