//! Destinations: the receivers of texts. Each kind is one file, named by a noun.
//!
//! | module | contents |
//! | --- | --- |
//! | [`topic`] | a topic of Momento |
//! | [`service`] | what all kinds of service destinations have in common |
//! | [`registry`] | the list of the kinds of service destinations |
//! | [`cache`] | items of a cache |
//! | [`content`] | the content of requests: texts, numbers and JSON, made of an event |
//! | [`dynamodb`] | a table |
//! | [`eventbridge`] | a bus |
//! | [`sqs`] | a queue |
//! | [`step_functions`] | a state machine |
//!
//! A [`Publisher`] publishes to topics. A service destination, which is in AWS or in a cache, makes a [`ServiceRequest`] of an
//! event, with nothing but the settings of the route; a [`ServiceSender`] sends it. So routes can be read, checked and tried
//! without any service.

pub mod cache;
pub mod content;
pub mod dynamodb;
pub mod eventbridge;
pub mod json;
mod limits;
pub mod registry;
pub mod service;
pub mod sqs;
pub mod step_functions;
pub mod topic;

pub use cache::{CacheChange, CacheWrite, ListEnd};
pub use registry::{CACHE_KINDS, KINDS, ServiceRequest};
pub use service::{
    Accepted, Fields, NoService, RequestError, Senders, Sent, ServiceDestination, ServiceSender,
};
pub use topic::{Publisher, Topic};

use std::borrow::Cow;
use std::fmt;

use serde::ser::SerializeMap;

/// A destination of one event, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'n> {
    /// A topic of Momento.
    Topic(Topic<'n>),
    /// A service destination.
    Service {
        /// The kind, as a file names it: `sqs`.
        kind: &'static str,
        /// The name in AWS without account, region and host, or the key of the item.
        name: Cow<'n, str>,
    },
}

impl Target<'_> {
    /// Returns the topic, if the destination is a topic.
    #[must_use]
    pub const fn topic(&self) -> Option<&Topic<'_>> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::Service { .. } => None,
        }
    }

    /// Writes the names as members of a JSON object.
    ///
    /// # Errors
    /// The error of the serializer.
    pub fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self {
            Self::Topic(Topic { cache, topic }) => {
                map.serialize_entry("cache", cache)?;
                map.serialize_entry("topic", topic)
            }
            Self::Service { kind, name } => {
                map.serialize_entry("kind", kind)?;
                map.serialize_entry("name", name)
            }
        }
    }
}

/// Writes the topic, or the kind and the name.
impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => f.write_str(&topic.topic),
            Self::Service { kind, name } => write!(f, "{kind} {name}"),
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
