//! Places that take a text. Destinations are nouns, one kind per file.

pub mod topic;

pub use topic::{MomentoPublisher, Publisher, Topic};

use std::fmt;

/// Why a destination did not take a text.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct DeliveryError {
    /// What went wrong.
    pub reason: Reason,
    /// What the client library said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong, as the answer and the log name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The destination cannot be reached, or says that it is away.
    Unavailable,
    /// No answer within the time of a try, or of the request.
    TimedOut,
    /// A limit on the rate of requests.
    RateLimited,
    /// Something went wrong at the destination.
    Internal,
    /// The destination does not accept such a text or such a name.
    InvalidArgument,
    /// The text is larger than the destination accepts.
    TooLarge,
    /// There is no such cache.
    NotFound,
    /// The key may not publish there.
    PermissionDenied,
    /// The key is not accepted at all.
    Unauthenticated,
}

impl Reason {
    /// Whether it may be better in a moment: worth another try, now or later.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        match self {
            Self::Unavailable | Self::TimedOut | Self::RateLimited | Self::Internal => true,
            Self::InvalidArgument
            | Self::TooLarge
            | Self::NotFound
            | Self::PermissionDenied
            | Self::Unauthenticated => false,
        }
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
