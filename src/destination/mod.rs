//! Places that take a text. Destinations are nouns, one kind per file.

pub mod topic;

pub use topic::{MomentoPublisher, Publisher, Topic};

use crate::reason::Reason;

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
