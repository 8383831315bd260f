//! The outcome of a request for a token. Only this module and [`caller::outcome`](crate::caller::outcome) know its HTTP
//! statuses.

use bytes::Bytes;
use fanout_core::reason::Failure;
use fanout_momento::IssuedToken;
use http::{Response, StatusCode};
use serde::Serialize;

use crate::caller::CallerOutcome;
use crate::caller::outcome::private;
use crate::response;

/// The outcome of a request for a token.
#[derive(Debug)]
pub enum TokenOutcome {
    /// The caller gets a token.
    Issued(Issued),
    /// Momento has not issued the token.
    NotIssued(Failure),
    /// The function has not asked for one.
    Caller(CallerOutcome),
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

impl From<CallerOutcome> for TokenOutcome {
    fn from(outcome: CallerOutcome) -> Self {
        Self::Caller(outcome)
    }
}

impl TokenOutcome {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Issued(_) => StatusCode::OK,
            Self::NotIssued(failure) if failure.reason.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotIssued(_) => StatusCode::BAD_GATEWAY,
            Self::Caller(outcome) => outcome.status(),
        }
    }

    /// Returns its name: the `code` of a problem, and the `outcome` of the log record.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Issued(_) => "issued",
            Self::NotIssued(_) => "not_issued",
            Self::Caller(outcome) => outcome.name(),
        }
    }

    /// Returns what is wrong; for the caller, and without the details of a failure of ours.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Issued(_) => "token issued".to_owned(),
            Self::NotIssued(failure) if failure.reason.is_transient() => {
                "the service has not issued the token: ask again".to_owned()
            }
            Self::NotIssued(_) => "the service does not issue the token: the log has the reason".to_owned(),
            Self::Caller(outcome) => outcome.detail(),
        }
    }

    /// Returns the whole response. No cache may keep it.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let status = self.status();
        match self {
            Self::Issued(Issued { token, token_id, topics }) => {
                let body = Body {
                    token: &token.token,
                    endpoint: &token.endpoint,
                    expires_at: token.expires_at,
                    token_id,
                    topics,
                };
                private(response::body_of(status, "application/json", &body))
            }
            Self::NotIssued(_) => private(response::problem(status, self.detail(), self.name(), None)),
            Self::Caller(outcome) => outcome.response(),
        }
    }
}
