//! A queue of Amazon SQS.
//!
//! ```toml
//! [[routes.destinations]]
//! sqs = { queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", group = "{topic}" }
//! ```

use std::collections::BTreeMap;

use momento_webhook::Event;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use toml::Spanned;

use super::outlet::Fields;
use crate::config::file::Texts;
use crate::route::Template;

/// A queue, as a route names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sqs {
    pub(super) queue: Template,
    group: Option<Template>,
    deduplication: Option<Template>,
    attributes: BTreeMap<String, Template>,
    delay_seconds: Option<u16>,
}

/// A message for a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMessage {
    /// The URL of the queue.
    pub queue: String,
    /// What is in it.
    pub body: String,
    /// The group in which its order is kept, in a FIFO queue.
    pub group: Option<String>,
    /// What makes it the same as another, in a FIFO queue.
    pub deduplication: Option<String>,
    /// What stands beside the body.
    pub attributes: BTreeMap<String, String>,
    /// After how many seconds it can be received.
    pub delay_seconds: Option<u16>,
}

/// A queue of Amazon SQS.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SqsKeys {
    /// The URL of the queue, which may have the route's captures and fields of the event in it.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    queue: Spanned<String>,
    /// The message group in a FIFO queue (its URL ends with `.fifo`). Default there: `{cache}#{topic}`, so that each topic keeps its order.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    group: Option<Spanned<String>>,
    /// The deduplication id in a FIFO queue: of two messages with the same within 5 minutes, the queue drops the second. Default there: a hash of what makes an event the same, so that what is delivered twice is queued once.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    deduplication: Option<Spanned<String>>,
    /// Message attributes, by their names; at most 10. One that is made of a field that the event does not have is left out.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    attributes: BTreeMap<String, Spanned<String>>,
    /// After how many seconds the message can be received: 0 to 900. Not in FIFO queues. Default: as the queue has it.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u16>", range(min = 0, max = 900)))]
    delay_seconds: Option<Spanned<u16>>,
}

/// The end of the name of a queue that keeps an order.
const FIFO: &str = ".fifo";
/// The most attributes of a message.
const MOST_ATTRIBUTES: usize = 10;
/// The most characters of the name of a group.
const LONGEST_GROUP: usize = 128;
/// The longest delay, in seconds.
const LONGEST_DELAY: u16 = 900;

impl Sqs {
    /// What a file calls it.
    pub const KIND: &'static str = "sqs";

    pub(crate) fn read(keys: SqsKeys, texts: &mut Texts<'_, '_>) -> Option<Self> {
        let SqsKeys { queue, group, deduplication, attributes, delay_seconds } = keys;
        let is_url = ["https://", "http://"].iter().any(|scheme| queue.get_ref().starts_with(scheme));
        if !is_url && !queue.get_ref().starts_with('{') {
            texts.fault(
                queue.span(),
                "the queue is given by its URL, as https://sqs.<region>.amazonaws.com/<account>/<name>",
            );
        }
        let is_fifo = is_fifo(queue.get_ref());
        for given in [&group, &deduplication].into_iter().flatten().filter(|_| !is_fifo) {
            texts.fault(
                given.span(),
                "only FIFO queues have it, and their names end with .fifo; leave it out",
            );
        }
        if let Some(delay) = &delay_seconds {
            if is_fifo {
                texts.fault(delay.span(), "FIFO queues have no delay by message; leave it out");
            } else if *delay.get_ref() > LONGEST_DELAY {
                texts.fault(delay.span(), "the longest delay is 900 seconds");
            }
        }
        if let Some(one_too_many) = attributes.values().nth(MOST_ATTRIBUTES) {
            texts.fault(one_too_many.span(), "a message has at most 10 attributes");
        }
        let queue = texts.name("queue", &queue);
        let group = group.map(|group| texts.template("group", &group));
        let deduplication = deduplication.map(|id| texts.template("deduplication", &id));
        let mut read = BTreeMap::new();
        for (name, text) in attributes {
            read.extend(texts.template("attribute", &text).map(|text| (name, text)));
        }
        Some(Self {
            queue: queue?,
            group: transposed(group)?,
            deduplication: transposed(deduplication)?,
            attributes: read,
            delay_seconds: delay_seconds.map(Spanned::into_inner),
        })
    }

    pub(super) fn templates(&self) -> Vec<&Template> {
        let Self { queue, group, deduplication, .. } = self;
        [Some(queue), group.as_ref(), deduplication.as_ref()].into_iter().flatten().collect()
    }

    pub(super) fn message(&self, fields: &Fields<'_>) -> Result<QueueMessage, String> {
        let queue = fields.render(&self.queue)?;
        let (mut group, mut deduplication) = (None, None);
        if is_fifo(&queue) {
            let event = fields.context().event;
            group = Some(match &self.group {
                Some(group) => fields.render(group)?,
                None => group_of(event),
            });
            deduplication = Some(match &self.deduplication {
                Some(id) => fields.render(id)?,
                None => fields.id(),
            });
        }
        let rendered = |(name, text): (&String, &Template)| Some((name.clone(), fields.render(text).ok()?));
        Ok(QueueMessage {
            queue,
            body: fields.text().to_owned(),
            group,
            deduplication,
            attributes: self.attributes.iter().filter_map(rendered).collect(),
            delay_seconds: self.delay_seconds,
        })
    }
}

/// Whether the queue of this URL, or name, keeps an order.
pub(crate) fn is_fifo(queue: &str) -> bool {
    queue.ends_with(FIFO)
}

/// The group of an event: its cache and topic, so that each topic keeps its order. Where a queue would not take
/// that for a name, a hash of it.
pub(crate) fn group_of(event: &Event) -> String {
    let group = format!("{}#{}", event.cache, event.topic);
    let is_name = group.len() <= LONGEST_GROUP && group.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { group } else { hex::encode(Sha256::digest(&group)) }
}

/// None where something was given that cannot be used.
#[expect(
    clippy::option_option,
    reason = "the outer one is whether it was given, the inner one whether it can be used"
)]
fn transposed<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        Some(None) => None,
        Some(usable) => Some(usable),
        None => Some(None),
    }
}
