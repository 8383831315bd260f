//! The outcomes that the functions `token` and `publish` share. Bodies say what is wrong, and never show the value of a claim.

use bytes::Bytes;
use fanout_identity::{Denied, NotProven};
use http::{HeaderValue, Response, StatusCode, header};

use crate::response::{self, Outcome};

/// The outcome of a request that the function does not carry out.
#[derive(Debug)]
pub enum CallerOutcome {
    /// A browser asks whether a page may ask.
    Preflight,
    /// The caller has not proven who they are.
    NotProven(NotProven),
    /// The caller has no profile, or an unusable claim.
    Denied(Denied),
    /// A web page asks that is not on the list.
    OriginRefused,
    /// The path is not one of the function: these.
    NotFound(&'static str),
    /// The method is not one of the path: these.
    Method(&'static str),
    /// The person has sent too many requests.
    RateLimited {
        /// The time until the next one, in seconds.
        seconds: u64,
    },
    /// The deadline passed.
    TimedOut,
    /// The listener could not read the request.
    Unreadable(Outcome<'static>),
    /// The handler panicked.
    Crashed,
}

impl CallerOutcome {
    /// Returns the status: 401 without a proof, 403 with one that allows nothing, 5xx if that cannot be decided now.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Preflight => StatusCode::NO_CONTENT,
            Self::NotProven(NotProven::KeysUnavailable) | Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotProven(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) | Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unreadable(outcome) => outcome.status(),
            Self::Crashed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns its name: the `code` of a problem, and the `outcome` of the log record.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::NotProven(error) => error.code(),
            Self::Denied(denied) => denied.code(),
            Self::OriginRefused => "origin_not_allowed",
            Self::NotFound(_) => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::RateLimited { .. } => "rate_limited",
            Self::TimedOut => "timed_out",
            Self::Unreadable(outcome) => outcome.name(),
            Self::Crashed => "crashed",
        }
    }

    /// Returns what is wrong; for the caller, and without the details of a failure of ours.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Preflight => "preflight answered".to_owned(),
            Self::NotProven(error) => error.to_string(),
            Self::Denied(denied) => denied.to_string(),
            Self::OriginRefused => "pages of this origin may not use the function".to_owned(),
            Self::NotFound(paths) => format!("the path is not {paths}"),
            Self::Method(methods) => format!("the method is not {methods}"),
            Self::RateLimited { seconds } => {
                format!("too many requests of one person: ask again in {seconds} s")
            }
            Self::TimedOut => "no decision in time: ask again".to_owned(),
            Self::Unreadable(outcome) => outcome.detail(),
            Self::Crashed => "the request could not be handled".to_owned(),
        }
    }

    /// Returns the whole response.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let status = self.status();
        let mut response = match self {
            Self::Preflight => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = status;
                response
            }
            _ => response::problem(status, self.detail(), self.name(), None),
        };
        let headers = response.headers_mut();
        match self {
            Self::Method(methods) => {
                let methods = HeaderValue::try_from(format!("{methods}, OPTIONS"));
                headers.insert(header::ALLOW, methods.expect("the names of methods are ASCII"));
            }
            Self::RateLimited { seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            _ => {}
        }
        private(response)
    }
}

/// Adds the headers that every response to a caller has. No cache may keep it.
#[must_use]
pub fn private(mut response: Response<Bytes>) -> Response<Bytes> {
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, response::RETRY_AFTER);
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}
