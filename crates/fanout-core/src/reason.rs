//! Why a step on the way of an event did not work: one list of reasons for transforms and destinations.

use std::fmt;

/// What went wrong, as the answer and the log name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It cannot be reached, or says that it is away.
    Unavailable,
    /// No answer within the time of a try, or of the request.
    TimedOut,
    /// A limit on the rate of requests.
    RateLimited,
    /// Something went wrong at the other end, or here.
    Internal,
    /// Such a text, or such a name, is not accepted.
    InvalidArgument,
    /// The text is larger than is accepted.
    TooLarge,
    /// What is named does not exist: a cache, a terminology.
    NotFound,
    /// The key, or the role, may not do that.
    PermissionDenied,
    /// The key, or the credentials, are not accepted at all.
    Unauthenticated,
}

impl Reason {
    /// Whether it may be better in a moment: worth another try, now or later.
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

    /// One word for it, as the answer and the log have it.
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

/// An error and what it came from, on one line.
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
