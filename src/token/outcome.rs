//! The outcome of a request for a token. Only this module knows its HTTP statuses. Bodies say what is wrong, and never
//! show the value of a claim.

use bytes::Bytes;
use fanout_core::reason::Failure;
use fanout_identity::{Denied, NotProven};
use fanout_momento::IssuedToken;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::response::{self, Outcome};

/// The outcome of a request for a token.
#[derive(Debug)]
pub enum TokenOutcome {
    /// The caller gets a token.
    Issued(Issued),
    /// A browser asks whether a page may ask.
    Preflight,
    /// The caller has not proven who they are.
    NotProven(NotProven),
    /// The caller may not have a token.
    Denied(Denied),
    /// A web page asks that is not on the list.
    OriginRefused,
    /// The path is not that of the function.
    NotFound,
    /// The method is not `POST`.
    Method,
    /// The person has had too many tokens.
    RateLimited {
        /// The time until the next one, in seconds.
        seconds: u64,
    },
    /// Momento has not issued the token.
    NotIssued(Failure),
    /// The deadline passed.
    TimedOut,
    /// The listener could not read the request.
    Unreadable(Outcome<'static>),
    /// The handler panicked.
    Crashed,
}

/// A token, and what its owner has to know.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: IssuedToken,
    /// The id in it.
    pub token_id: String,
    /// The topics that it is for.
    pub topics: Vec<TopicUse>,
}

/// A topic, and what a token allows there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicUse {
    /// The cache of the topic.
    pub cache: String,
    /// The topic.
    pub topic: String,
    /// True if the token may publish.
    pub publish: bool,
    /// True if the token may subscribe.
    pub subscribe: bool,
}

/// The body of a response with a token.
#[derive(Serialize)]
struct Body<'b> {
    token: &'b str,
    endpoint: &'b str,
    expires_at: u64,
    token_id: &'b str,
    topics: &'b [TopicUse],
}

impl TokenOutcome {
    /// Returns the status: 401 without a proof, 403 with one that allows nothing, 5xx if that cannot be decided now.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Issued(_) => StatusCode::OK,
            Self::Preflight => StatusCode::NO_CONTENT,
            Self::NotProven(NotProven::KeysUnavailable) | Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotProven(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) | Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotIssued(failure) if failure.reason.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotIssued(_) => StatusCode::BAD_GATEWAY,
            Self::Unreadable(outcome) => outcome.status(),
            Self::Crashed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns its name: the `code` of a problem, and the `outcome` of the log record.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Issued(_) => "issued",
            Self::Preflight => "preflight",
            Self::NotProven(error) => error.code(),
            Self::Denied(denied) => denied.code(),
            Self::OriginRefused => "origin_not_allowed",
            Self::NotFound => "not_found",
            Self::Method => "method_not_allowed",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotIssued(_) => "not_issued",
            Self::TimedOut => "timed_out",
            Self::Unreadable(outcome) => outcome.name(),
            Self::Crashed => "crashed",
        }
    }

    /// Returns what is wrong; for the caller, and without the details of a failure of ours.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Issued(_) | Self::Preflight => String::new(),
            Self::NotProven(error) => error.to_string(),
            Self::Denied(denied) => denied.to_string(),
            Self::OriginRefused => "pages of this origin may not ask for tokens".to_owned(),
            Self::NotFound => "the path is not /token".to_owned(),
            Self::Method => "tokens are asked for by POST".to_owned(),
            Self::RateLimited { seconds } => {
                format!("too many tokens for one person: ask again in {seconds} s")
            }
            Self::NotIssued(failure) if failure.reason.is_transient() => {
                "the service has not issued the token: ask again".to_owned()
            }
            Self::NotIssued(_) => "the service does not issue the token: the log has the reason".to_owned(),
            Self::TimedOut => "no decision in time: ask again".to_owned(),
            Self::Unreadable(outcome) => outcome.detail(),
            Self::Crashed => "the request could not be handled".to_owned(),
        }
    }

    /// Returns the whole response. No cache may keep it.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let status = self.status();
        let mut response = match self {
            Self::Issued(Issued { token, token_id, topics }) => {
                let body = Body {
                    token: &token.token,
                    endpoint: &token.endpoint,
                    expires_at: token.expires_at,
                    token_id,
                    topics,
                };
                response::body_of(status, "application/json", &body)
            }
            Self::Preflight => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = status;
                response
            }
            _ => response::problem(status, self.detail(), self.name(), None),
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            }
            Self::RateLimited { seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, response::RETRY_AFTER);
            }
            _ if status == StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
