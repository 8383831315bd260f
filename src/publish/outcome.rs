//! The outcome of a request to the function `publish`. Only this module and
//! [`caller::outcome`](crate::caller::outcome) know its HTTP statuses. Log records have the details, so none has a part of a
//! text.

use bytes::Bytes;
use fanout_core::reason::{Failure, Reason};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::request::{MAX_IDEMPOTENCY_KEY, MAX_LIMIT};
use crate::caller::CallerOutcome;
use crate::caller::outcome::private;
use crate::response;

/// The outcome of a request to the function `publish`.
#[derive(Debug)]
pub enum PublishOutcome {
    /// The text was published.
    Published(Published),
    /// An earlier request with the same `Idempotency-Key` has published the text. This is its result.
    Repeated(Published),
    /// The caller gets the last messages of a topic.
    History(History),
    /// The body is not a message.
    NotMessage,
    /// The body is not UTF-8.
    NotText,
    /// The topic is not a name.
    TopicInvalid,
    /// The header `Idempotency-Key` is not a key.
    KeyInvalid,
    /// The number of messages is out of range.
    LimitInvalid,
    /// The profile of the caller does not have the topic.
    TopicNotAllowed,
    /// The text is too long.
    TextTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The `Idempotency-Key` belongs to another message.
    KeyReused,
    /// Another request with the same `Idempotency-Key` is being handled.
    Busy,
    /// A transform has dropped the text.
    Rejected {
        /// The name of the transform.
        transform: String,
        /// Its reason, which has no part of the text.
        reason: String,
    },
    /// A transform has failed.
    NotTransformed(Failure),
    /// The profile is `moderated`, and no route has transforms for the topic.
    NoTransforms,
    /// The topic has no history.
    NoHistory,
    /// The list with the messages could not be read.
    HistoryUnreadable(Failure),
    /// Momento has not issued the token.
    NotIssued(Failure),
    /// Momento has not taken the text.
    NotPublished(Failure),
    /// The request was not carried out for a reason that all functions for people share.
    Caller(CallerOutcome),
}

/// The result of publishing, and the body of its response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The cache of the topic.
    pub cache: String,
    /// The topic.
    pub topic: String,
    /// The id of the publisher, as subscribers see it.
    pub token_id: String,
    /// The text as it was published, if it was moderated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The last messages of a topic, and the body of the response with them.
#[derive(Debug, Serialize)]
pub struct History {
    /// The cache of the topic.
    pub cache: String,
    /// The topic.
    pub topic: String,
    /// The messages, the oldest first.
    pub messages: Vec<String>,
}

/// The problem document of a text that a transform has dropped.
#[derive(Serialize)]
struct RejectedBody<'b> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'b str,
    code: &'static str,
    transform: &'b str,
}

impl From<CallerOutcome> for PublishOutcome {
    fn from(outcome: CallerOutcome) -> Self {
        Self::Caller(outcome)
    }
}

impl PublishOutcome {
    /// Returns the status: 4xx for faults of the caller, 422 for a text that moderation rejects, 5xx for faults of ours and of
    /// the services behind us.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Published(_) | Self::Repeated(_) | Self::History(_) => StatusCode::OK,
            Self::NotMessage | Self::NotText | Self::TopicInvalid | Self::KeyInvalid | Self::LimitInvalid => {
                StatusCode::BAD_REQUEST
            }
            Self::TopicNotAllowed => StatusCode::FORBIDDEN,
            Self::NoHistory => StatusCode::NOT_FOUND,
            Self::TextTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotPublished(failure) if failure.reason == Reason::TooLarge => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::KeyReused | Self::Rejected { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotTransformed(failure) if is_of_text(failure) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotTransformed(failure)
            | Self::HistoryUnreadable(failure)
            | Self::NotIssued(failure)
            | Self::NotPublished(failure) => {
                if failure.reason.is_transient() {
                    StatusCode::SERVICE_UNAVAILABLE
                } else {
                    StatusCode::BAD_GATEWAY
                }
            }
            Self::NoTransforms => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Caller(outcome) => outcome.status(),
        }
    }

    /// Returns its name: the `code` of a problem, and the `outcome` of the log record.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Published(_) => "published",
            Self::Repeated(_) => "duplicate",
            Self::History(_) => "history",
            Self::NotMessage => "message_invalid",
            Self::NotText => "not_text",
            Self::TopicInvalid => "topic_invalid",
            Self::KeyInvalid => "idempotency_key_invalid",
            Self::LimitInvalid => "limit_invalid",
            Self::TopicNotAllowed => "topic_not_allowed",
            Self::TextTooLarge { .. } => "text_too_large",
            Self::KeyReused => "idempotency_key_reused",
            Self::Busy => "busy",
            Self::Rejected { .. } => "rejected",
            Self::NotTransformed(_) => "not_transformed",
            Self::NoTransforms => "no_transforms",
            Self::NoHistory => "no_history",
            Self::HistoryUnreadable(_) => "history_unreadable",
            Self::NotIssued(_) => "not_issued",
            Self::NotPublished(failure) if failure.reason == Reason::TooLarge => "text_too_large",
            Self::NotPublished(_) => "not_published",
            Self::Caller(outcome) => outcome.name(),
        }
    }

    /// Returns what happened; for the caller, and without the details of a failure of ours.
    #[must_use]
    pub fn detail(&self) -> String {
        let detail = match self {
            Self::Published(_) => "text published",
            Self::Repeated(_) => "text published by an earlier request",
            Self::History(_) => "history read",
            Self::NotMessage => {
                "the body is not a JSON object with the texts `topicName` and `topicValue`, and nothing else"
            }
            Self::NotText => "the body is not UTF-8: a message is a text",
            Self::TopicInvalid => "the topic is empty, too long, or not UTF-8",
            Self::KeyInvalid => {
                return format!(
                    "Idempotency-Key is not one header of 1 to {MAX_IDEMPOTENCY_KEY} ASCII characters"
                );
            }
            Self::LimitInvalid => return format!("limit is not a number from 1 to {MAX_LIMIT}"),
            Self::TopicNotAllowed => "the profile of the caller does not allow this for the topic",
            Self::TextTooLarge { limit } => return format!("the text has more than {limit} bytes"),
            Self::KeyReused => "the Idempotency-Key was used for another message: take a new key",
            Self::Busy => "an earlier request with this Idempotency-Key is still being handled",
            Self::Rejected { reason, .. } => return reason.clone(),
            Self::NotTransformed(failure) if is_of_text(failure) => {
                return format!("the text cannot be moderated: {}", failure.detail);
            }
            Self::NotTransformed(failure) if failure.reason.is_transient() => {
                "the text cannot be moderated at the moment: send it again"
            }
            Self::NotTransformed(_) => "the text cannot be moderated: the log has the reason",
            Self::NoTransforms => "the text cannot be moderated: no route has transforms for the topic",
            Self::NoHistory => "the topic has no history",
            Self::HistoryUnreadable(failure) if failure.reason.is_transient() => {
                "the history cannot be read at the moment: ask again"
            }
            Self::HistoryUnreadable(_) => "the history cannot be read: the log has the reason",
            Self::NotPublished(failure) if failure.reason == Reason::TooLarge => {
                "the service does not accept so long a text"
            }
            Self::NotIssued(failure) | Self::NotPublished(failure) if failure.reason.is_transient() => {
                "the service has not accepted the text: send it again"
            }
            Self::NotIssued(_) | Self::NotPublished(_) => {
                "the service does not accept the text: the log has the reason"
            }
            Self::Caller(outcome) => return outcome.detail(),
        };
        detail.to_owned()
    }

    /// Returns the failure of a service or a transform, for the log.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::NotTransformed(failure)
            | Self::HistoryUnreadable(failure)
            | Self::NotIssued(failure)
            | Self::NotPublished(failure) => Some(failure),
            _ => None,
        }
    }

    /// Returns the whole response. No cache may keep it.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let status = self.status();
        private(match self {
            Self::Published(published) | Self::Repeated(published) => {
                response::body_of(status, "application/json", published)
            }
            Self::History(history) => response::body_of(status, "application/json", history),
            Self::Caller(outcome) => return outcome.response(),
            Self::Rejected { transform, .. } => {
                let detail = self.detail();
                let body = RejectedBody {
                    r#type: "about:blank",
                    title: "Unprocessable Content",
                    status: status.as_u16(),
                    detail: &detail,
                    code: self.name(),
                    transform,
                };
                response::body_of(status, "application/problem+json", &body)
            }
            _ => response::problem(status, self.detail(), self.name(), None),
        })
    }
}

/// Returns true if a transform failed because of the text.
const fn is_of_text(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::InvalidArgument | Reason::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(reason: Reason) -> [PublishOutcome; 4] {
        let failure = || Failure::from(reason);
        [
            PublishOutcome::NotTransformed(failure()),
            PublishOutcome::HistoryUnreadable(failure()),
            PublishOutcome::NotIssued(failure()),
            PublishOutcome::NotPublished(failure()),
        ]
    }

    #[test]
    fn maps_every_outcome_to_status_and_name() {
        let published = || Published {
            cache: "c".to_owned(),
            topic: "t".to_owned(),
            token_id: "ann".to_owned(),
            text: None,
        };
        let history = History { cache: "c".to_owned(), topic: "t".to_owned(), messages: Vec::new() };
        let rejected = PublishOutcome::Rejected { transform: "moderate".into(), reason: "why".into() };
        let [transform, unreadable, issued, sent] = failures(Reason::Unavailable);
        let [bad_text, ..] = failures(Reason::InvalidArgument);
        let [not_allowed, bad_list, not_issuing, refused] = failures(Reason::PermissionDenied);
        let [.., too_large] = failures(Reason::TooLarge);
        for (outcome, status, name) in [
            (PublishOutcome::Published(published()), 200, "published"),
            (PublishOutcome::Repeated(published()), 200, "duplicate"),
            (PublishOutcome::History(history), 200, "history"),
            (PublishOutcome::NotMessage, 400, "message_invalid"),
            (PublishOutcome::NotText, 400, "not_text"),
            (PublishOutcome::TopicInvalid, 400, "topic_invalid"),
            (PublishOutcome::KeyInvalid, 400, "idempotency_key_invalid"),
            (PublishOutcome::LimitInvalid, 400, "limit_invalid"),
            (PublishOutcome::TopicNotAllowed, 403, "topic_not_allowed"),
            (PublishOutcome::NoHistory, 404, "no_history"),
            (PublishOutcome::TextTooLarge { limit: 1 }, 413, "text_too_large"),
            (too_large, 413, "text_too_large"),
            (PublishOutcome::KeyReused, 422, "idempotency_key_reused"),
            (rejected, 422, "rejected"),
            (bad_text, 422, "not_transformed"),
            (transform, 503, "not_transformed"),
            (not_allowed, 502, "not_transformed"),
            (PublishOutcome::Busy, 503, "busy"),
            (unreadable, 503, "history_unreadable"),
            (bad_list, 502, "history_unreadable"),
            (issued, 503, "not_issued"),
            (not_issuing, 502, "not_issued"),
            (sent, 503, "not_published"),
            (refused, 502, "not_published"),
            (PublishOutcome::NoTransforms, 500, "no_transforms"),
            (CallerOutcome::Preflight.into(), 204, "preflight"),
            (CallerOutcome::OriginRefused.into(), 403, "origin_not_allowed"),
            (CallerOutcome::NotFound("/").into(), 404, "not_found"),
            (CallerOutcome::Method("POST").into(), 405, "method_not_allowed"),
            (CallerOutcome::RateLimited { seconds: 1 }.into(), 429, "rate_limited"),
            (CallerOutcome::TimedOut.into(), 503, "timed_out"),
            (CallerOutcome::Crashed.into(), 500, "crashed"),
        ] {
            let response = outcome.response();
            assert_eq!((outcome.status().as_u16(), outcome.name()), (status, name));
            assert_eq!(response.status(), status, "{name}");
            assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
            assert_eq!(
                response.headers().contains_key("retry-after"),
                [429, 503].contains(&status),
                "{name}"
            );
        }
    }
}
