//! What all places of Amazon Web Services have in common.

use std::borrow::Cow;
use std::fmt;

use futures_util::future::{BoxFuture, ready};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::DeliveryError;
use super::sqs::{QueueMessage, Sqs};
use crate::reason::Reason;
use crate::route::Template;
use crate::transform::Context;

/// A place of Amazon Web Services, as a route names it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outlet {
    /// A queue.
    Sqs(Sqs),
}

/// What is to be handed in at such a place, with everything made of the event that is to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Parcel {
    /// For a queue.
    Message(QueueMessage),
}

/// Hands in parcels: the edge to Amazon Web Services.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// Hands one in, with as many tries as fit before `deadline`. `trace` is the header of X-Ray that is to go with it.
    fn carry<'c>(
        &'c self,
        parcel: &'c Parcel,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Carried>;
}

/// What became of a parcel.
#[derive(Debug)]
pub struct Carried {
    /// Tries in all; none where the deadline had come before.
    pub attempts: u32,
    /// What the last of them came to.
    pub result: Result<(), DeliveryError>,
}

/// Carries nothing: where a build has no AWS in it, and no file with such destinations is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Carrier for Nowhere {
    fn carry<'c>(&'c self, _: &'c Parcel, _: Option<&'c str>, _: Instant) -> BoxFuture<'c, Carried> {
        let error = DeliveryError { reason: Reason::Unavailable, source: None };
        Box::pin(ready(Carried { attempts: 0, result: Err(error) }))
    }
}

/// What the texts of a route can be made of, for one event.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'f> {
    context: &'f Context<'f>,
    text: &'f str,
}

/// The names of all [`Fields`] that are not captures.
pub const FIELDS: [&str; 8] = [
    "cache",
    "topic",
    "token_id",
    "topic_sequence_number",
    "topic_sequence_page",
    "event_timestamp",
    "publish_timestamp",
    "text",
];

impl<'f> Fields<'f> {
    /// Those of an event, with its text as it has become.
    #[must_use]
    pub const fn new(context: &'f Context<'f>, text: &'f str) -> Self {
        Self { context, text }
    }

    /// The text as it has become.
    #[must_use]
    pub const fn text(&self) -> &'f str {
        self.text
    }

    /// What transforms know, and outlets too.
    #[must_use]
    pub const fn context(&self) -> &'f Context<'f> {
        self.context
    }

    /// What makes it the same text of the same event, however often it is delivered: 64 characters that do as an
    /// identifier everywhere. Two destinations of one place may get different texts of one event.
    #[must_use]
    pub fn id(&self) -> String {
        hex::encode(Sha256::new().chain_update(self.context.event.id()).chain_update(self.text).finalize())
    }

    /// The field or capture of this name; none where the event has no such.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'f, str>> {
        let Context { event, captures, .. } = *self.context;
        Some(match name {
            "cache" => event.cache.as_str().into(),
            "topic" => event.topic.as_str().into(),
            "token_id" => event.token_id.as_deref()?.into(),
            "topic_sequence_number" => event.topic_sequence_number.to_string().into(),
            "topic_sequence_page" => event.topic_sequence_page?.to_string().into(),
            "event_timestamp" => event.event_timestamp.to_string().into(),
            "publish_timestamp" => event.publish_timestamp.to_string().into(),
            "text" => self.text.into(),
            _ => captures.iter().find(|(known, _)| *known == name).map(|(_, text)| Cow::Borrowed(*text))?,
        })
    }

    /// What a template becomes.
    ///
    /// # Errors
    /// The name of the field that the event does not have, or has nothing in.
    pub fn render(&self, template: &Template) -> Result<String, String> {
        let rendered = template.render(|name| self.get(name)).map_err(|missing| missing.name)?;
        Ok(rendered.into_owned())
    }
}

impl Outlet {
    /// Its kind, as a file calls it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqs(_) => Sqs::KIND,
        }
    }

    /// How its name is made.
    #[must_use]
    pub const fn name(&self) -> &Template {
        match self {
            Self::Sqs(sqs) => &sqs.queue,
        }
    }

    /// All that is made of an event's fields and captures.
    #[must_use]
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Sqs(sqs) => sqs.templates(),
        }
    }

    /// What is to be handed in there.
    ///
    /// # Errors
    /// The name of the field that the event would have to have, and has not.
    pub fn parcel(&self, fields: &Fields<'_>) -> Result<Parcel, String> {
        match self {
            Self::Sqs(sqs) => sqs.message(fields).map(Parcel::Message),
        }
    }
}

/// All kinds of outlets, as a file calls them.
pub const KINDS: [&str; 1] = [Sqs::KIND];

/// Whether this build can hand in parcels at places of this kind.
#[must_use]
pub fn is_built_in(kind: &str) -> bool {
    [(Sqs::KIND, cfg!(feature = "sqs"))].contains(&(kind, true))
}

/// The cargo feature that a kind needs.
#[must_use]
pub fn feature(kind: &str) -> String {
    kind.replace('_', "-")
}

/// The last part of an ARN or a URL: its name, without account, region and host.
#[must_use]
pub fn short(name: &str) -> &str {
    name.rsplit(['/', ':']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_account_and_region() {
        for (name, shown) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", "orders.fifo"),
            ("arn:aws:events:eu-west-1:123456789012:event-bus/orders", "orders"),
            ("arn:aws:states:eu-west-1:123456789012:stateMachine:orders", "orders"),
            ("orders", "orders"),
        ] {
            assert_eq!(short(name), shown);
        }
    }
}
