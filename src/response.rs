//! The response to the caller.
//!
//! Only this module knows HTTP statuses. Bodies say what is wrong with the request and list the outcome of each destination,
//! but no internals. Errors are problem documents
//! ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use momento_webhook::freshness::FreshnessError;
use momento_webhook::{EventError, ReceivedError};
use serde::Serialize;
use serde_json::value::RawValue;

use fanout_core::dead_letter::NoSuchDestination;
use fanout_core::fan_out::Delivery;
use fanout_core::reason::Reason;
use fanout_core::route::FeedsItself;

/// The outcome of a request.
#[derive(Debug)]
pub enum Outcome<'d> {
    /// The event was genuine. Each destination has an outcome.
    Delivered(Vec<Delivery<'d>>),
    /// The event was genuine. Some destination did not accept it, and it is kept as a dead letter.
    DeadLettered(Vec<Delivery<'d>>),
    /// No route matches the topic.
    Ignored,
    /// Every destination accepted the event at an earlier delivery.
    Duplicate,
    /// The request was rejected.
    Rejected(Rejection),
    /// The deadline passed while an earlier delivery of the event was still being handled.
    Busy,
    /// The handler panicked.
    Crashed,
}

/// Why a request was rejected.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// Webhooks are sent by `POST`.
    #[error("webhooks are sent by POST")]
    Method,
    /// The body is longer than any event.
    #[error("the body is longer than {limit} bytes")]
    BodyTooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// The body did not arrive before the deadline.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body ended early, or its framing is invalid.
    #[error("the body did not arrive whole")]
    BodyBroken,
    /// Too many requests are unfinished at the moment.
    #[error("too many requests are unfinished at the moment: send it again")]
    Overloaded,
    /// The payload of a gateway is not an HTTP request.
    #[error("the invocation is not an HTTP request")]
    NotHttp,
    /// The signature is missing or wrong.
    #[error(transparent)]
    Signature(#[from] ReceivedError),
    /// The signature matches no known secret, and the current secret could not be fetched before the deadline.
    #[error("the signature cannot be checked at the moment: send it again")]
    SignatureUndecided,
    /// The signed event is too old, or from the future.
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
    /// The signed body is not an event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The event takes a cycle of routes.
    #[error(transparent)]
    FeedsItself(#[from] FeedsItself),
    /// No route has a destination of the dead letter.
    #[error(transparent)]
    NoSuchDestination(#[from] NoSuchDestination),
}

impl Rejection {
    /// Returns true if the request was rejected after its signature was verified.
    #[must_use]
    pub const fn is_after_verification(&self) -> bool {
        match self {
            Self::Method
            | Self::BodyTooLarge { .. }
            | Self::BodyTimeout
            | Self::BodyBroken
            | Self::Overloaded
            | Self::NotHttp
            | Self::Signature(_)
            | Self::SignatureUndecided => false,
            Self::Freshness(_) | Self::Event(_) | Self::FeedsItself(_) | Self::NoSuchDestination(_) => true,
        }
    }
}

/// The reason why serialization does not fail.
pub(crate) const IS_JSON: &str = "strings and numbers under string keys are JSON";

/// The seconds after which a sender should retry.
pub(crate) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

impl Outcome<'_> {
    /// Returns the status: 4xx for faults of the caller, 5xx for those of the function and of its destinations.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::DeadLettered(_) | Self::Ignored | Self::Duplicate => StatusCode::OK,
            Self::Delivered(deliveries) => {
                let mut failures =
                    deliveries.iter().filter_map(|delivery| delivery.outcome.failure()).peekable();
                if failures.peek().is_none() {
                    StatusCode::OK
                } else if failures.any(Reason::is_transient) {
                    StatusCode::SERVICE_UNAVAILABLE
                } else {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
            }
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Crashed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Rejected(rejection) => match rejection {
                Rejection::Method => StatusCode::METHOD_NOT_ALLOWED,
                Rejection::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                Rejection::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
                Rejection::Signature(_) | Rejection::Freshness(_) => StatusCode::FORBIDDEN,
                Rejection::SignatureUndecided | Rejection::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
                Rejection::Event(_) | Rejection::NotHttp | Rejection::BodyBroken => StatusCode::BAD_REQUEST,
                // The settings are at fault, but the caller has to know that a retry will not help.
                Rejection::FeedsItself(_) | Rejection::NoSuchDestination(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
            },
        }
    }

    /// Returns its name: the `status` of a response with 200, the `code` of a problem, the `outcome` of the log record and the
    /// `Reason` of the metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered(_) => match self.status() {
                StatusCode::OK if self.is_dropped() => "dropped",
                StatusCode::OK => "success",
                StatusCode::UNPROCESSABLE_ENTITY => "destination_refused",
                _ => "destination_failed",
            },
            Self::DeadLettered(_) => "dead_lettered",
            Self::Ignored => "ignored",
            Self::Duplicate => "duplicate",
            Self::Busy => "busy",
            Self::Crashed => "crashed",
            Self::Rejected(rejection) => match rejection {
                Rejection::Method => "method_not_allowed",
                Rejection::BodyTooLarge { .. } => "body_too_large",
                Rejection::BodyTimeout => "body_timeout",
                Rejection::BodyBroken => "body_broken",
                Rejection::Overloaded => "overloaded",
                Rejection::NotHttp => "not_http",
                Rejection::Signature(error) if error.is_missing() => "signature_missing",
                Rejection::Signature(_) => "signature_wrong",
                Rejection::SignatureUndecided => "signature_undecided",
                Rejection::Freshness(FreshnessError::TooOld { .. }) => "event_too_old",
                Rejection::Freshness(FreshnessError::FromTheFuture { .. }) => "event_from_the_future",
                Rejection::Event(_) => "not_an_event",
                Rejection::FeedsItself(_) => "feeds_itself",
                Rejection::NoSuchDestination(_) => "no_such_destination",
            },
        }
    }

    /// Returns true if some destination lacks a genuine message that is not kept. It is lost unless its sender retries.
    #[must_use]
    pub fn is_undelivered(&self) -> bool {
        match self {
            Self::Delivered(deliveries) => deliveries.iter().any(|delivery| !delivery.outcome.is_done()),
            Self::DeadLettered(_) | Self::Ignored | Self::Duplicate => false,
            Self::Rejected(rejection) => rejection.is_after_verification(),
            Self::Busy | Self::Crashed => true,
        }
    }

    /// Returns true if transforms dropped the event for every destination.
    fn is_dropped(&self) -> bool {
        let is_dropped = |delivery: &Delivery<'_>| delivery.outcome.is_dropped();
        !self.deliveries().is_empty() && self.deliveries().iter().all(is_dropped)
    }

    /// Returns the outcome of each destination.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery<'_>] {
        match self {
            Self::Delivered(deliveries) | Self::DeadLettered(deliveries) => deliveries,
            _ => &[],
        }
    }

    /// Returns the outcomes of all destinations as JSON, for the response and the log record. With many destinations they are
    /// most of both, so they are serialized once.
    #[must_use]
    pub fn destinations(&self) -> Option<Box<RawValue>> {
        let deliveries = self.deliveries();
        let json = || serde_json::value::to_raw_value(deliveries).expect(IS_JSON);
        (!deliveries.is_empty()).then(json)
    }

    /// Returns the whole response, with its [`destinations`](Self::destinations).
    #[must_use]
    pub fn response(&self, destinations: Option<&RawValue>) -> Response<Bytes> {
        let status = self.status();
        let mut response = if status.is_success() {
            body_of(status, "application/json", &Good { status: self.name(), destinations })
        } else {
            problem(status, self.detail(), self.name(), destinations)
        };
        let headers = response.headers_mut();
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            _ => {}
        }
        response
    }

    /// Returns what is wrong with the request.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Rejected(rejection) => rejection.to_string(),
            Self::Busy => "an earlier delivery of the same event is still being handled".to_owned(),
            Self::Crashed => "the request could not be handled".to_owned(),
            _ if self.status() == StatusCode::UNPROCESSABLE_ENTITY => {
                "a destination refused the message: a retry will not help".to_owned()
            }
            _ => "a destination did not accept the message: send it again".to_owned(),
        }
    }
}

/// Why a function that runs is not ready: it uses values from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The source of the routes could not be read.
    #[error("the source of the routes could not be read: the log has the reason")]
    RoutesUnreadable,
    /// The text of the routes has faults.
    #[error("the text of the routes has faults: the log has them")]
    RoutesInvalid,
    /// A secret could not be fetched again.
    #[error("a secret could not be fetched again: the log has the reason")]
    SecretsUnreadable,
}

impl NotReady {
    /// Returns the word for the reason in the response.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::RoutesUnreadable => "routes_unreadable",
            Self::RoutesInvalid => "routes_invalid",
            Self::SecretsUnreadable => "secrets_unreadable",
        }
    }
}

/// Returns the response to a health check. Anyone can ask, so a reason is one word, and the log has the rest.
#[must_use]
pub fn health(routes: Option<&str>, not_ready: Option<NotReady>) -> Response<Bytes> {
    let healthy = Health { status: "ok", version: env!("CARGO_PKG_VERSION"), routes };
    let mut response = match not_ready {
        None => body_of(StatusCode::OK, "application/json", &healthy),
        Some(reason) => problem(StatusCode::SERVICE_UNAVAILABLE, reason.to_string(), reason.code(), None),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) fn problem(
    status: StatusCode,
    detail: String,
    code: &'static str,
    destinations: Option<&RawValue>,
) -> Response<Bytes> {
    let title = status.canonical_reason().expect("every status of a response has a reason phrase");
    let status_code = status.as_u16();
    let problem = Problem { r#type: "about:blank", title, status: status_code, detail, code, destinations };
    body_of(status, "application/problem+json", &problem)
}

pub(crate) fn body_of(
    status: StatusCode,
    content_type: &'static str,
    body: &impl Serialize,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(serde_json::to_vec(body).expect(IS_JSON)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The body of the response to a health check.
#[derive(Serialize)]
struct Health<'h> {
    status: &'static str,
    version: &'static str,
    /// The version of the routes in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<&'h str>,
}

/// The body of a response with status 200.
#[derive(Serialize)]
struct Good<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destinations: Option<&'a RawValue>,
}

/// The body of any other response.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destinations: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use momento_webhook::{momento::SignatureError, standard};

    use super::*;
    use fanout_core::destination::{Target, Topic};
    use fanout_core::fan_out::DeliveryOutcome;

    fn unsigned(error: SignatureError) -> Rejection {
        ReceivedError::from(error).into()
    }

    fn by_standard(error: standard::SignatureError) -> Rejection {
        ReceivedError::from(error).into()
    }

    fn failed(reason: Reason) -> DeliveryOutcome {
        DeliveryOutcome::Failed { attempts: 1, reason }
    }

    fn published() -> DeliveryOutcome {
        DeliveryOutcome::Published { attempts: 1 }
    }

    fn dropped() -> DeliveryOutcome {
        DeliveryOutcome::Dropped { transform: "filter".into(), reason: "why".into() }
    }

    fn not_transformed(reason: Reason) -> DeliveryOutcome {
        DeliveryOutcome::NotTransformed { transform: "translate".into(), reason, detail: "why".into() }
    }

    fn delivered(outcomes: Vec<DeliveryOutcome>) -> Outcome<'static> {
        let target = || Target::Topic(Topic::new("c", "t"));
        Outcome::Delivered(
            outcomes.into_iter().map(|outcome| Delivery { target: target(), outcome }).collect(),
        )
    }

    impl Outcome<'_> {
        fn whole_response(&self) -> Response<Bytes> {
            self.response(self.destinations().as_deref())
        }
    }

    fn not_an_event() -> EventError {
        momento_webhook::Event::from_json(b"{}").unwrap_err()
    }

    #[test]
    fn maps_every_outcome_to_status_and_name() {
        let age = Duration::from_secs(61);
        for (outcome, status, name) in [
            (delivered(vec![published()]), 200, "success"),
            (delivered(vec![DeliveryOutcome::AlreadyPublished, published()]), 200, "success"),
            (Outcome::Ignored, 200, "ignored"),
            (delivered(vec![dropped(), dropped()]), 200, "dropped"),
            (delivered(vec![dropped(), published()]), 200, "success"),
            (delivered(vec![dropped(), DeliveryOutcome::AlreadyDropped]), 200, "dropped"),
            (delivered(vec![dropped(), DeliveryOutcome::AlreadyPublished]), 200, "success"),
            (
                delivered(vec![DeliveryOutcome::Unnamed { missing: "token_id".into() }]),
                422,
                "destination_refused",
            ),
            (Outcome::Duplicate, 200, "duplicate"),
            (Outcome::Busy, 503, "busy"),
            (Outcome::Rejected(Rejection::Method), 405, "method_not_allowed"),
            (Outcome::Rejected(Rejection::BodyTooLarge { limit: 1 }), 413, "body_too_large"),
            (Outcome::Rejected(Rejection::BodyTimeout), 408, "body_timeout"),
            (Outcome::Rejected(Rejection::BodyBroken), 400, "body_broken"),
            (Outcome::Rejected(Rejection::Overloaded), 503, "overloaded"),
            (Outcome::Crashed, 500, "crashed"),
            (Outcome::Rejected(Rejection::NotHttp), 400, "not_http"),
            (Outcome::Rejected(unsigned(SignatureError::Missing)), 403, "signature_missing"),
            (Outcome::Rejected(unsigned(SignatureError::Several)), 403, "signature_wrong"),
            (Outcome::Rejected(unsigned(SignatureError::Malformed)), 403, "signature_wrong"),
            (Outcome::Rejected(unsigned(SignatureError::Mismatch)), 403, "signature_wrong"),
            (
                Outcome::Rejected(by_standard(standard::SignatureError::Missing("x"))),
                403,
                "signature_missing",
            ),
            (Outcome::Rejected(by_standard(standard::SignatureError::Mismatch)), 403, "signature_wrong"),
            (Outcome::Rejected(Rejection::SignatureUndecided), 503, "signature_undecided"),
            (Outcome::Rejected(FreshnessError::TooOld { age, max_age: age }.into()), 403, "event_too_old"),
            (
                Outcome::Rejected(FreshnessError::FromTheFuture { ahead: age }.into()),
                403,
                "event_from_the_future",
            ),
            (Outcome::Rejected(not_an_event().into()), 400, "not_an_event"),
            (Outcome::Rejected(FeedsItself.into()), 422, "feeds_itself"),
        ] {
            assert_eq!((outcome.status().as_u16(), outcome.name()), (status, name), "{outcome:?}");
        }
    }

    #[test]
    fn tells_rejections_before_and_after_verification() {
        let age = Duration::from_secs(61);
        for (rejection, is_after_verification) in [
            (Rejection::Method, false),
            (Rejection::BodyTooLarge { limit: 1 }, false),
            (Rejection::BodyTimeout, false),
            (Rejection::BodyBroken, false),
            (Rejection::Overloaded, false),
            (Rejection::NotHttp, false),
            (unsigned(SignatureError::Missing), false),
            (unsigned(SignatureError::Several), false),
            (unsigned(SignatureError::Malformed), false),
            (unsigned(SignatureError::Mismatch), false),
            (Rejection::SignatureUndecided, false),
            (FreshnessError::TooOld { age, max_age: age }.into(), true),
            (FreshnessError::FromTheFuture { ahead: age }.into(), true),
            (not_an_event().into(), true),
            (FeedsItself.into(), true),
            (NoSuchDestination.into(), true),
        ] {
            assert_eq!(rejection.is_after_verification(), is_after_verification, "{rejection:?}");
            let outcome = Outcome::Rejected(rejection);
            assert_eq!(outcome.is_undelivered(), is_after_verification, "{outcome:?}");
        }
    }

    #[test]
    fn undelivered_if_destination_lacks_event_and_nothing_keeps_it() {
        let unnamed = || DeliveryOutcome::Unnamed { missing: "token_id".into() };
        let dead_lettered = || match delivered(vec![published(), failed(Reason::Unavailable)]) {
            Outcome::Delivered(deliveries) => Outcome::DeadLettered(deliveries),
            other => other,
        };
        for (outcome, is_undelivered) in [
            (delivered(vec![published(), dropped(), DeliveryOutcome::AlreadyPublished]), false),
            (delivered(vec![]), false),
            (delivered(vec![published(), failed(Reason::Unavailable)]), true),
            (delivered(vec![published(), failed(Reason::NotFound)]), true),
            (delivered(vec![not_transformed(Reason::Unavailable)]), true),
            (delivered(vec![unnamed()]), true),
            (dead_lettered(), false),
            (Outcome::Ignored, false),
            (Outcome::Duplicate, false),
            (Outcome::Busy, true),
            (Outcome::Crashed, true),
        ] {
            assert_eq!(outcome.is_undelivered(), is_undelivered, "{outcome:?}");
        }
    }

    #[test]
    fn transient_failure_decides_status() {
        for (reason, status) in [
            (Reason::Unavailable, 503),
            (Reason::TimedOut, 503),
            (Reason::RateLimited, 503),
            (Reason::Internal, 503),
            (Reason::InvalidArgument, 422),
            (Reason::TooLarge, 422),
            (Reason::NotFound, 422),
            (Reason::PermissionDenied, 422),
            (Reason::Unauthenticated, 422),
        ] {
            assert_eq!(delivered(vec![published(), failed(reason)]).status().as_u16(), status, "{reason}");
            assert_eq!(
                delivered(vec![published(), not_transformed(reason)]).status().as_u16(),
                status,
                "{reason}"
            );
            let mixed = delivered(vec![failed(reason), failed(Reason::Unavailable)]);
            assert_eq!(mixed.status().as_u16(), 503, "{reason}");
        }
    }

    #[test]
    fn response_with_200_lists_every_destination() {
        let response = delivered(vec![published()]).whole_response();
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            response.body(),
            r#"{"status":"success","destinations":[{"cache":"c","topic":"t","status":"published","attempts":1}]}"#
        );
        assert_eq!(Outcome::Ignored.whole_response().body(), r#"{"status":"ignored"}"#);
        assert_eq!(
            delivered(vec![dropped()]).whole_response().body(),
            r#"{"status":"dropped","destinations":[{"cache":"c","topic":"t","status":"dropped","reason":"why","transform":"filter"}]}"#
        );
    }

    #[test]
    fn any_other_response_is_problem_document() {
        let response = delivered(vec![failed(Reason::Unavailable)]).whole_response();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(
            response.body(),
            r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"a destination did not accept the message: send it again","code":"destination_failed","destinations":[{"cache":"c","topic":"t","status":"failed","reason":"unavailable","attempts":1}]}"#
        );
        let response = Outcome::Rejected(Rejection::Method).whole_response();
        assert_eq!(response.headers()["allow"], "POST");
        assert!(!response.headers().contains_key("retry-after"));
    }
}
