//! What the caller is told.
//!
//! This is the one place that knows HTTP statuses. Bodies say what the caller did wrong and what
//! became of each destination, and nothing about the inside. Errors are problem documents
//! ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use momento_webhook::EventError;
use momento_webhook::freshness::FreshnessError;
use momento_webhook::momento::SignatureError;
use serde::Serialize;
use serde_json::value::RawValue;

use fanout_core::dead_letter::NoSuchDestination;
use fanout_core::fan_out::Delivery;
use fanout_core::reason::Reason;
use fanout_core::route::FeedsItself;

/// What became of a request.
#[derive(Debug)]
pub enum Outcome<'d> {
    /// The event was genuine, and this became of its destinations.
    Delivered(Vec<Delivery<'d>>),
    /// The event was genuine, and what its destinations did not take is kept in the queue for dead letters.
    DeadLettered(Vec<Delivery<'d>>),
    /// No route is for this topic.
    Ignored,
    /// Every destination took it at an earlier delivery.
    Duplicate,
    /// The request was not accepted.
    Rejected(Rejection),
    /// The time was up while an earlier delivery of the same event was still being handled.
    Busy,
    /// Handling it panicked. Nothing here does, but what is built upon this may.
    Crashed,
}

/// Why a request was not accepted.
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
    /// The body stopped coming.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body broke off, or was not framed as HTTP frames it.
    #[error("the body did not arrive whole")]
    BodyBroken,
    /// Too many requests are unfinished at the moment.
    #[error("too many requests are unfinished at the moment: send it again")]
    Overloaded,
    /// What a gateway hands to the Lambda function is not an HTTP request.
    #[error("the invocation is not an HTTP request")]
    NotHttp,
    /// It is not proven genuine.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Whether it is genuine is not known: no secret that is known has made its signature, and what the secret is now
    /// could not be fetched, or not in time.
    #[error("whether the signature is right cannot be known at the moment: send it again")]
    SignatureUndecided,
    /// It is genuine, and was sent too long ago or in the future.
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
    /// It is genuine, and not an event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// It would come back for ever.
    #[error(transparent)]
    FeedsItself(#[from] FeedsItself),
    /// A dead letter for nobody.
    #[error(transparent)]
    NoSuchDestination(#[from] NoSuchDestination),
}

impl Rejection {
    /// Whether it was proven genuine before: what is refused then is a message that somebody did send.
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

/// Why serialization does not fail.
pub(crate) const IS_JSON: &str = "strings and numbers under string keys are JSON";

/// When a sender that tries again should do so, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

impl Outcome<'_> {
    /// The status: the caller's faults are 4xx, ours and upstream's 5xx.
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
                // The fault is in the settings, but what matters to the caller is that sending it
                // again will not help.
                Rejection::FeedsItself(_) | Rejection::NoSuchDestination(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
            },
        }
    }

    /// One word for it: the `status` of a good answer, the `code` of a problem, the `outcome` of the
    /// log and the `Reason` of the metrics.
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
                Rejection::Signature(SignatureError::Missing) => "signature_missing",
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

    /// Whether a destination lacks a genuine message that nothing here keeps: it is lost, unless whoever brought it
    /// brings it again.
    #[must_use]
    pub fn is_undelivered(&self) -> bool {
        match self {
            Self::Delivered(deliveries) => deliveries.iter().any(|delivery| !delivery.outcome.is_done()),
            Self::DeadLettered(_) | Self::Ignored | Self::Duplicate => false,
            Self::Rejected(rejection) => rejection.is_after_verification(),
            Self::Busy | Self::Crashed => true,
        }
    }

    /// Whether no destination was to have it.
    fn is_dropped(&self) -> bool {
        let is_dropped = |delivery: &Delivery<'_>| delivery.outcome.is_dropped();
        !self.deliveries().is_empty() && self.deliveries().iter().all(is_dropped)
    }

    /// What became of each destination.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery<'_>] {
        match self {
            Self::Delivered(deliveries) | Self::DeadLettered(deliveries) => deliveries,
            _ => &[],
        }
    }

    /// What became of each destination, as the answer and the journal show it. With many destinations this
    /// is most of both, and written once.
    #[must_use]
    pub fn destinations(&self) -> Option<Box<RawValue>> {
        let deliveries = self.deliveries();
        let json = || serde_json::value::to_raw_value(deliveries).expect(IS_JSON);
        (!deliveries.is_empty()).then(json)
    }

    /// The whole answer, with its [`destinations`](Self::destinations).
    #[must_use]
    pub fn response(&self, destinations: Option<&RawValue>) -> Response<Bytes> {
        let status = self.status();
        let (content_type, body) = if status.is_success() {
            let good = Good { status: self.name(), destinations };
            ("application/json", serde_json::to_vec(&good))
        } else {
            let problem = Problem {
                r#type: "about:blank",
                title: status
                    .canonical_reason()
                    .expect("every status of `Outcome::status` has a reason phrase"),
                status: status.as_u16(),
                detail: self.detail(),
                code: self.name(),
                destinations,
            };
            ("application/problem+json", serde_json::to_vec(&problem))
        };
        let mut response = Response::new(Bytes::from(body.expect(IS_JSON)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
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

    fn detail(&self) -> String {
        match self {
            Self::Rejected(rejection) => rejection.to_string(),
            Self::Busy => "an earlier delivery of the same event is still being handled".to_owned(),
            Self::Crashed => "the request could not be handled".to_owned(),
            _ if self.status() == StatusCode::UNPROCESSABLE_ENTITY => {
                "a destination refused the message: sending it again will not help".to_owned()
            }
            _ => "a destination did not take the message for now: send it again".to_owned(),
        }
    }
}

/// What is told to whoever asks whether the function is there: that it is, and which one.
#[must_use]
pub fn health() -> Response<Bytes> {
    let body = concat!(r#"{"status":"ok","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of a good answer.
#[derive(Serialize)]
struct Good<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destinations: Option<&'a RawValue>,
}

/// The body of any other answer.
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

    use super::*;
    use fanout_core::destination::{Target, Topic};
    use fanout_core::fan_out::DeliveryOutcome;

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
        fn answered(&self) -> Response<Bytes> {
            self.response(self.destinations().as_deref())
        }
    }

    fn not_an_event() -> EventError {
        momento_webhook::Event::from_json(b"{}").unwrap_err()
    }

    #[test]
    fn every_outcome_has_its_status_and_its_name() {
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
            (Outcome::Rejected(SignatureError::Missing.into()), 403, "signature_missing"),
            (Outcome::Rejected(SignatureError::Several.into()), 403, "signature_wrong"),
            (Outcome::Rejected(SignatureError::Malformed.into()), 403, "signature_wrong"),
            (Outcome::Rejected(SignatureError::Mismatch.into()), 403, "signature_wrong"),
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
    fn every_rejection_comes_before_or_after_the_proof() {
        let age = Duration::from_secs(61);
        for (rejection, is_after_verification) in [
            (Rejection::Method, false),
            (Rejection::BodyTooLarge { limit: 1 }, false),
            (Rejection::BodyTimeout, false),
            (Rejection::BodyBroken, false),
            (Rejection::Overloaded, false),
            (Rejection::NotHttp, false),
            (SignatureError::Missing.into(), false),
            (SignatureError::Several.into(), false),
            (SignatureError::Malformed.into(), false),
            (SignatureError::Mismatch.into(), false),
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
    fn undelivered_is_what_a_destination_lacks_and_nothing_keeps() {
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
    fn the_worst_that_may_pass_decides() {
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
    fn a_good_answer_lists_every_destination() {
        let response = delivered(vec![published()]).answered();
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            response.body(),
            r#"{"status":"success","destinations":[{"cache":"c","topic":"t","status":"published","attempts":1}]}"#
        );
        assert_eq!(Outcome::Ignored.answered().body(), r#"{"status":"ignored"}"#);
        assert_eq!(
            delivered(vec![dropped()]).answered().body(),
            r#"{"status":"dropped","destinations":[{"cache":"c","topic":"t","status":"dropped","reason":"why","transform":"filter"}]}"#
        );
    }

    #[test]
    fn any_other_answer_is_a_problem_document() {
        let response = delivered(vec![failed(Reason::Unavailable)]).answered();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(
            response.body(),
            r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"a destination did not take the message for now: send it again","code":"destination_failed","destinations":[{"cache":"c","topic":"t","status":"failed","reason":"unavailable","attempts":1}]}"#
        );
        let response = Outcome::Rejected(Rejection::Method).answered();
        assert_eq!(response.headers()["allow"], "POST");
        assert!(!response.headers().contains_key("retry-after"));
    }
}
