//! Places that take a text. Destinations are nouns, one kind per file.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`topic`] | a topic of Momento |
//! | [`aws`] | a place of Amazon Web Services: what all of these have in common |
//! | [`content`] | what is handed in there: texts, numbers, JSON, made of an event |
//! | [`dynamodb`] | a table |
//! | [`eventbridge`] | a bus |
//! | [`sqs`] | a queue |
//! | [`step_functions`] | a state machine |
//!
//! A topic is published to by a [`Publisher`]. An AWS destination makes an [`AwsRequest`] of a text and what is known of its
//! event, which takes nothing but the settings of the route; what carries requests is an [`AwsSender`], so
//! that routes can be read, checked and tried out where there is no AWS.

pub mod aws;
pub mod content;
pub mod dynamodb;
pub mod eventbridge;
pub mod json;
mod limits;
pub mod sqs;
pub mod step_functions;
pub mod topic;

pub use aws::{Accepted, AwsDestination, AwsRequest, AwsSender, Fields, NoAws, RequestError, Sent};
pub use topic::{Publisher, Topic};

use std::borrow::Cow;
use std::fmt;

use serde::ser::SerializeMap;

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

/// A destination of one event, by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'n> {
    /// A topic of Momento.
    Topic(Topic<'n>),
    /// A place of Amazon Web Services.
    Aws {
        /// Its kind, as a file calls it: `sqs`.
        kind: &'static str,
        /// Its name, without what tells more than that: no account, no region.
        name: Cow<'n, str>,
    },
}

impl Target<'_> {
    /// The topic, where it is one.
    #[must_use]
    pub const fn topic(&self) -> Option<&Topic<'_>> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::Aws { .. } => None,
        }
    }

    /// Adds the names to a JSON object that is being written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self {
            Self::Topic(Topic { cache, topic }) => {
                map.serialize_entry("cache", cache)?;
                map.serialize_entry("topic", topic)
            }
            Self::Aws { kind, name } => {
                map.serialize_entry("kind", kind)?;
                map.serialize_entry("name", name)
            }
        }
    }
}

/// For people: the topic, or the kind and the name.
impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => f.write_str(&topic.topic),
            Self::Aws { kind, name } => write!(f, "{kind} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::limits;

    #[test]
    fn documentation_lists_every_limit() {
        let documentation = include_str!("../../../../docs/CONFIGURATION.md");
        for (name, limit) in limits::ALL {
            let row = format!("| {} | {limit} |", name.trim());
            assert!(documentation.contains(&row), "docs/CONFIGURATION.md lacks {row:?}");
        }
    }
}
