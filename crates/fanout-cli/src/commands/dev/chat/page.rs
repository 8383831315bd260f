//! The responses of the port.
//!
//! | request | response |
//! | --- | --- |
//! | `GET /ann`, `GET /luis` | the page |
//! | `GET /PERSON/events` | messages, as server-sent events |
//! | `POST /PERSON/publish` | that of the function `publish`; the body is the text |
//! | `POST /PERSON/attempts` | calls that the token must not allow, and why Momento refused them |

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::json;

use super::people::{Attempt, People, Person};
use super::stream;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Only the files of this port run in the page, and no other page shows it.
const POLICY: &str = "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Responds to the pages.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    people: Arc<People>,
}

impl Pages {
    pub(super) const fn new(people: Arc<People>) -> Self {
        Self { people }
    }

    pub(super) async fn respond(&self, request: Request<Bytes>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path: Vec<_> = parts.uri.path().trim_matches('/').split('/').collect();
        let (method, rest) = match &*path {
            [""] => return redirect(Person::Ann),
            ["page.css"] => return file(STYLE, "text/css; charset=utf-8"),
            ["page.js"] => return file(SCRIPT, "text/javascript; charset=utf-8"),
            [name] => (Person::named(name), ""),
            [name, rest] => (Person::named(name), *rest),
            _ => (None, ""),
        };
        let Some(person) = method else {
            return problem(StatusCode::NOT_FOUND, "expected /ann or /luis");
        };
        match (&parts.method, rest) {
            (&Method::GET, "") => file(PAGE, "text/html; charset=utf-8"),
            (&Method::GET, "events") => self.events(person),
            (&Method::POST, "publish") => {
                self.people.publish(person, body).await.map(|body| Full::from(body).boxed_unsync())
            }
            (&Method::POST, "attempts") => match self.people.attempts(person).await {
                Ok(attempts) => {
                    let attempts: Vec<_> = attempts.iter().map(as_json).collect();
                    json_response(StatusCode::OK, &json!({ "attempts": attempts }))
                }
                Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.message()),
            },
            (_, "" | "events" | "publish" | "attempts") => {
                problem(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed for this path")
            }
            _ => problem(StatusCode::NOT_FOUND, "the path does not exist"),
        }
    }

    fn events(&self, person: Person) -> Response<Body> {
        let events = stream::events(Arc::clone(&self.people), person, stream::SETTLE);
        let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(events)));
        set(&mut response, header::CONTENT_TYPE, "text/event-stream");
        set(&mut response, header::CACHE_CONTROL, "no-store");
        response
    }
}

fn as_json(attempt: &Attempt) -> serde_json::Value {
    json!({"call": attempt.to_string(), "refusal": attempt.refusal})
}

fn file(text: &'static str, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(text).boxed_unsync());
    set(&mut response, header::CONTENT_TYPE, content_type);
    set(&mut response, header::CONTENT_SECURITY_POLICY, POLICY);
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn redirect(person: Person) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(format!("/{person}")).expect("a name is a valid header");
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    json_response(status, &json!({ "detail": detail }))
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    local_guard::json_response(status, body).map(BodyExt::boxed_unsync)
}

fn set(response: &mut Response<Body>, name: header::HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
