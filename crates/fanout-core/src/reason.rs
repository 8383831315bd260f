//! Reasons of failures: one list for transforms, destinations and secrets.

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
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed out",
            Self::RateLimited => "rate limited",
            Self::Internal => "internal error",
            Self::InvalidArgument => "invalid argument",
            Self::TooLarge => "too large",
            Self::NotFound => "not found",
            Self::PermissionDenied => "permission denied",
            Self::Unauthenticated => "not authenticated",
        })
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
