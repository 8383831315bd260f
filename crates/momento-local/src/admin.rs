//! The admin port: plain HTTP/1.1, for scripts outside the process.
//!
//! | request | effect |
//! | --- | --- |
//! | `GET /health` | reports whether connections are blocked |
//! | `GET /block`, `GET /unblock` | cuts all connections and refuses new ones; accepts connections again |
//! | `POST /cut` | cuts all connections; clients can connect again at once |
//! | `POST /reset` with `{"cache", "topic"}` | begins a new sequence page on a topic |
//! | `GET /subscribers?cache=C&topic=T` | counts the subscribers; names are percent-encoded |
//! | `POST /faults` with a [fault](crate::faults::json) | injects it, and returns its `id` |
//! | `GET /faults`, `DELETE /faults`, `DELETE /faults/ID` | lists all faults with their hits; removes all; removes one |
//!
//! `block` and `unblock` accept GET because the suites of the SDKs use it. POST works as well, and a browser has to
//! use POST.
//!
//! The port has no authentication, so a [`Guard`] rejects requests that a page of another origin can have sent.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use local_guard::{Guard, is_from_browser, json_response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::call::Shared;
use crate::faults::Fault;
use crate::faults::json::{FaultJson, ListedFault};

/// The faults that can be injected at once. A fault with long texts takes up to 64 KiB.
const MAX_FAULTS: usize = 1_000;

/// Serves requests until the server shuts down.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, guard: Guard) {
    let respond = {
        let shared = Arc::clone(&shared);
        move |request: Request<Bytes>| {
            let shared = Arc::clone(&shared);
            async move {
                let result = route(&shared, &request);
                let (status, body) =
                    result.unwrap_or_else(|(status, error)| (status, json!({ "error": error })));
                json_response(status, &body)
            }
        }
    };
    local_guard::serve(listener, guard, "the admin port", shared.shutdown.cancelled(), respond).await;
}

/// A status and the text of an error.
type Failure = (StatusCode, String);

fn route(shared: &Shared, request: &Request<Bytes>) -> Result<(StatusCode, Value), Failure> {
    let method = request.method().clone();
    let uri = request.uri().clone();
    // The Go SDK's suite calls `//block`: empty segments do not count.
    let segments: Vec<_> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
    tracing::debug!(%method, path = uri.path(), "admin request");
    let is_from_browser = is_from_browser(request);
    match (method, segments.as_slice()) {
        (Method::GET, ["health"]) => Ok(state(shared)),
        (Method::GET, ["block" | "unblock"]) if is_from_browser => {
            Err((StatusCode::METHOD_NOT_ALLOWED, "a browser must use POST here".to_owned()))
        }
        (Method::GET | Method::POST, ["block"]) => {
            shared.gate.block();
            Ok(state(shared))
        }
        (Method::GET | Method::POST, ["unblock"]) => {
            shared.gate.unblock();
            Ok(state(shared))
        }
        (Method::POST, ["cut"]) => {
            shared.gate.cut();
            Ok(state(shared))
        }
        (Method::POST, ["reset"]) => {
            let TopicName { cache, topic } = read(request)?;
            shared
                .hub
                .reset_topic(&cache, &topic)
                .map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
            Ok((StatusCode::OK, json!({ "reset": true })))
        }
        (Method::GET, ["subscribers"]) => {
            let TopicName { cache, topic } = TopicName::from_query(uri.query().unwrap_or_default())?;
            Ok((StatusCode::OK, json!({ "subscribers": shared.hub.subscriber_count(&cache, &topic) })))
        }
        (Method::POST, ["faults"]) => {
            let fault: FaultJson = read(request)?;
            let fault = Fault::try_from(fault).map_err(|error| (StatusCode::BAD_REQUEST, error))?;
            let handle = shared.faults.inject_within(MAX_FAULTS, fault).ok_or_else(|| {
                let error =
                    format!("{MAX_FAULTS} faults are injected, which is the limit; remove some with DELETE");
                (StatusCode::CONFLICT, error)
            })?;
            Ok((StatusCode::CREATED, json!({ "id": handle.id() })))
        }
        (Method::GET, ["faults"]) => {
            let faults: Vec<_> =
                shared.faults.all().iter().map(|active| ListedFault::from(&**active)).collect();
            Ok((StatusCode::OK, json!({ "faults": faults })))
        }
        (Method::DELETE, ["faults"]) => {
            shared.faults.clear();
            Ok((StatusCode::OK, json!({ "faults": [] })))
        }
        (Method::DELETE, ["faults", id]) => {
            if id.parse().is_ok_and(|id| shared.faults.remove(id)) {
                Ok((StatusCode::OK, json!({ "removed": true })))
            } else {
                Err((StatusCode::NOT_FOUND, format!("unknown fault '{id}'")))
            }
        }
        (method, ["health" | "block" | "unblock" | "cut" | "reset" | "subscribers" | "faults"]) => {
            Err((StatusCode::METHOD_NOT_ALLOWED, format!("{} does not support {method}", uri.path())))
        }
        _ => Err((StatusCode::NOT_FOUND, format!("unknown path {}", uri.path()))),
    }
}

fn state(shared: &Shared) -> (StatusCode, Value) {
    (StatusCode::OK, json!({ "status": "ok", "blocked": shared.gate.is_blocked() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicName {
    cache: String,
    topic: String,
}

impl TopicName {
    fn from_query(query: &str) -> Result<Self, Failure> {
        let value = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                .and_then(percent_decode)
                .ok_or_else(|| {
                    (StatusCode::BAD_REQUEST, format!("the query parameter '{name}' is missing or malformed"))
                })
        };
        Ok(Self { cache: value("cache")?, topic: value("topic")? })
    }
}

/// Decodes percent-encoded UTF-8; `None` if it is malformed.
fn percent_decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn read<T: for<'de> Deserialize<'de>>(request: &Request<Bytes>) -> Result<T, Failure> {
    serde_json::from_slice(request.body()).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_percent_encoded_names_in_query() {
        let name = TopicName::from_query("cache=a%20b&topic=c%2Fd%3D").unwrap();
        assert_eq!((name.cache.as_str(), name.topic.as_str()), ("a b", "c/d="));
        for bad in
            ["", "cache=a", "topic=a&caches=b", "cache=%zz&topic=a", "cache=%f&topic=a", "cache=%ff&topic=a"]
        {
            assert!(TopicName::from_query(bad).is_err(), "{bad}");
        }
    }
}
