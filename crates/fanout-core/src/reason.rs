//! Reasons of failures: one list for transforms, destinations and secrets.

use std::borrow::Cow;
use std::fmt;

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The service cannot be reached, or reports that it is unavailable.
    Unavailable,
    /// The service did not respond within the timeout of an attempt, or by the deadline of the request.
    TimedOut,
    /// The service limits the rate of requests.
    RateLimited,
    /// The service failed, or this program did.
    Internal,
    /// The service does not accept such a text or name.
    InvalidArgument,
    /// The text is too large.
    TooLarge,
    /// A named thing does not exist: a cache, a queue, a terminology.
    NotFound,
    /// The API key or the role lacks a permission.
    PermissionDenied,
    /// The API key or the credentials are invalid.
    Unauthenticated,
}

impl Reason {
    /// Returns true if the failure is transient: a later attempt may succeed.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Unavailable | Self::TimedOut | Self::RateLimited | Self::Internal => true,
            Self::InvalidArgument
            | Self::TooLarge
            | Self::NotFound
            | Self::PermissionDenied
            | Self::Unauthenticated => false,
        }
    }

    /// Returns the word for the reason in the response and the log record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::InvalidArgument => "invalid_argument",
            Self::TooLarge => "too_large",
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Reason {
    const fn words(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed out",
            Self::RateLimited => "rate limited",
            Self::Internal => "internal error",
            Self::InvalidArgument => "invalid argument",
            Self::TooLarge => "too large",
            Self::NotFound => "not found",
            Self::PermissionDenied => "permission denied",
            Self::Unauthenticated => "not authenticated",
        }
    }
}

/// Error for a step that failed: a transform, a delivery, a call of a service.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// The kind of failure, which decides whether an attempt is worth a retry.
    pub reason: Reason,
    /// A description of the failure. It contains no part of a text, a key or a secret.
    pub detail: Cow<'static, str>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// Returns a failure without a cause.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), source: None }
    }

    /// Returns the failure of a text that is never accepted.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::InvalidArgument, detail)
    }

    /// Returns the same failure with its cause.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

/// A failure with nothing to add to its kind.
impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason.words())
    }
}

/// Returns an error and its sources on one line.
#[must_use]
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        said.push_str(": ");
        said.push_str(&error.to_string());
        source = error.source();
    }
    said
}
