//! A queue of Amazon SQS.
//!
//! ```toml
//! [[routes.destinations]]
//! sqs = { queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", group = "{topic}" }
//! ```

use std::collections::BTreeMap;

use momento_webhook::Event;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::aws::{Fields, RequestError, fitting};
use super::content::{Content, ContentKeys};
use super::limits::{SQS_ATTRIBUTE_NAME, SQS_ATTRIBUTES, SQS_DELAY_SECONDS, SQS_ID, SQS_MESSAGE_BYTES};
use crate::file::Texts;
use crate::placeholder::Template;

/// A queue, as a route names it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sqs {
    pub(super) queue: Template,
    body: Content,
    group: Option<Template>,
    deduplication: Option<Template>,
    attributes: BTreeMap<String, Template>,
    delay_seconds: Option<u16>,
}

/// A message for a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueMessage {
    /// The URL of the queue.
    pub queue: String,
    /// What is in it.
    pub body: String,
    /// The group in which its order is kept, in a FIFO queue; that of which no other is to be kept waiting, in a
    /// standard queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What makes it the same as another, in a FIFO queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<String>,
    /// What stands beside the body.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// After how many seconds it can be received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<u16>,
}

/// A queue of Amazon SQS.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SqsKeys {
    /// The URL of the queue, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    queue: Spanned<String>,
    /// What is in the message. Default: `text`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ContentKeys>"))]
    body: Option<Spanned<ContentKeys>>,
    /// The message group. Default in a FIFO queue (its URL ends with `.fifo`): `{cache}#{topic}`, so that each topic keeps its order. In other queues: none; one that is given makes it a fair queue.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    group: Option<Spanned<String>>,
    /// The deduplication id in a FIFO queue: of two messages with the same within 5 minutes, the queue drops the second. Default there: a hash of the event's id and of the destination, so that what is delivered twice is queued once.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    deduplication: Option<Spanned<String>>,
    /// Message attributes, by their names; at most 10. One whose placeholders have no value is left out.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    attributes: BTreeMap<String, Spanned<String>>,
    /// After how many seconds the message can be received: 0 to 900. Not in FIFO queues. Default: as the queue has it.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u16>", range(min = 0, max = 900)))]
    delay_seconds: Option<Spanned<u16>>,
}

/// The end of the name of a queue that keeps an order.
const FIFO: &str = ".fifo";
/// What counts for the type of one.
const ATTRIBUTE_TYPE: &str = "String";

impl Sqs {
    /// What a file calls it.
    pub const KIND: &'static str = "sqs";

    pub(crate) fn read(keys: SqsKeys, texts: &mut Texts<'_, '_>) -> Option<Self> {
        let SqsKeys { queue, body, group, deduplication, attributes, delay_seconds } = keys;
        let is_url = ["https://", "http://"].iter().any(|scheme| queue.get_ref().starts_with(scheme));
        if !is_url && !queue.get_ref().starts_with('{') {
            texts.fault(
                queue.span(),
                "the queue is given by its URL, as https://sqs.<region>.amazonaws.com/<account>/<name>",
            );
        } else if queue.get_ref().ends_with('/') {
            texts.fault(queue.span(), "the URL of a queue ends with the queue's name");
        }
        let is_fifo = is_fifo(queue.get_ref());
        // Where a hole ends its name, it is not known before there is an event.
        let is_standard = !is_fifo && !queue.get_ref().ends_with('}');
        if let Some(given) = deduplication.as_ref().filter(|_| is_standard) {
            texts.fault(
                given.span(),
                "only FIFO queues have it, and their names end with .fifo; leave it out",
            );
        }
        if let Some(delay) = &delay_seconds {
            if is_fifo {
                texts.fault(delay.span(), "FIFO queues have no delay by message; leave it out");
            } else if *delay.get_ref() > SQS_DELAY_SECONDS {
                texts.fault(delay.span(), "the longest delay is 900 seconds");
            }
        }
        if let Some(one_too_many) = attributes.values().nth(SQS_ATTRIBUTES) {
            texts.fault(one_too_many.span(), "a message has at most 10 attributes");
        }
        for (name, text) in attributes.iter().filter(|(name, _)| !is_attribute(name)) {
            let message = format!(
                "{name:?} is no name of an attribute: use A-Z, a-z, 0-9, - and _, and single dots inside; AWS. and \
                 Amazon. are not for its beginning"
            );
            texts.fault(text.span(), message);
        }
        let queue = texts.name("queue", &queue);
        let body = Content::read(body, Content::Text, "body", texts);
        let group = group.map(|group| texts.template("group", &group));
        let deduplication = deduplication.map(|id| texts.template("deduplication", &id));
        let mut read = BTreeMap::new();
        for (name, text) in attributes {
            read.extend(texts.template("attribute", &text).map(|text| (name, text)));
        }
        Some(Self {
            queue: queue?,
            body: body?,
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

    pub(super) fn message(&self, fields: &Fields<'_>) -> Result<QueueMessage, RequestError> {
        let queue = fields.name(&self.queue)?;
        let is_fifo = is_fifo(&queue);
        let group = match &self.group {
            Some(group) => Some(identifier(fields.render(group)?)),
            None => is_fifo.then(|| group_of(fields.context().event)),
        };
        let deduplication = match &self.deduplication {
            _ if !is_fifo => None,
            Some(deduplication) => Some(identifier(fields.render(deduplication)?)),
            None => Some(fields.id()),
        };
        let rendered = |(name, text): (&String, &Template)| {
            Some(fields.render_optional(text).transpose()?.map(|text| (name.clone(), text)))
        };
        let message = QueueMessage {
            queue,
            body: self.body.render(fields)?,
            group,
            deduplication,
            attributes: self.attributes.iter().filter_map(rendered).collect::<Result<_, _>>()?,
            delay_seconds: self.delay_seconds.filter(|_| !is_fifo),
        };
        message.check()?;
        Ok(message)
    }
}

impl QueueMessage {
    /// Whether a queue takes it, as far as that is to be told without asking.
    fn check(&self) -> Result<(), RequestError> {
        if self.body.is_empty() {
            return Err(RequestError::invalid("the text is empty, and a queue takes no empty message"));
        }
        let mut texts = self.attributes.values().chain([&self.body]);
        if texts.any(|text| !text.chars().all(is_taken)) {
            return Err(RequestError::invalid("there is a character in it that a queue does not take"));
        }
        let attribute = |(name, text): (&String, &String)| name.len() + ATTRIBUTE_TYPE.len() + text.len();
        let bytes = self.body.len() + self.attributes.iter().map(attribute).sum::<usize>();
        if bytes > SQS_MESSAGE_BYTES {
            return Err(RequestError::too_large("the message is larger than a queue takes: 1 MiB at most"));
        }
        Ok(())
    }
}

/// Whether messages may have it:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>.
const fn is_taken(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// Whether it is the name of an attribute:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.
fn is_attribute(name: &str) -> bool {
    let is_of_it = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let lower = name.to_ascii_lowercase();
    (1..=SQS_ATTRIBUTE_NAME).contains(&name.len())
        && name.chars().all(is_of_it)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !["aws.", "amazon."].iter().any(|reserved| lower.starts_with(reserved))
}

/// Whether the queue of this URL, or name, keeps an order.
#[must_use]
pub fn is_fifo(queue: &str) -> bool {
    queue.ends_with(FIFO)
}

/// The group of an event: its cache and topic, so that each topic keeps its order.
pub(crate) fn group_of(event: &Event) -> String {
    identifier(format!("{}#{}", event.cache, event.topic))
}

/// A group or a deduplication id: a hash of it where a queue would not take it.
fn identifier(text: String) -> String {
    fitting(text, SQS_ID, |char| char.is_ascii_graphic())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::aws::tests::{faults, refused, request_of, shown};
    use crate::reason::Reason;

    #[test]
    fn a_queue_gets_the_text() {
        assert_eq!(
            shown("sqs = { queue = 'https://q/{room}' }"),
            json!({"queue": "https://q/friends", "body": "Hello"})
        );
    }

    #[test]
    fn a_queue_gets_what_it_is_to() {
        let message = shown(
            "sqs = { queue = 'https://q/1', group = '{room}', delay_seconds = 900, attributes = { room = '{room}', by = '{token_id}' } }",
        );
        assert_eq!(
            message,
            json!({
                "queue": "https://q/1", "body": "Hello", "group": "friends", "attributes": {"room": "friends"},
                "delay_seconds": 900,
            })
        );
    }

    #[test]
    fn a_fifo_queue_keeps_topics_in_order_and_takes_an_event_once() {
        let settings = "sqs = { queue = 'https://q/1.fifo' }";
        let message = shown(settings);
        assert_eq!(message["group"], "chat#friends-publish");
        assert_eq!(message["deduplication"].as_str().unwrap().len(), 64);
        let again = request_of(settings, |event| event.publish_timestamp += 1).unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), message);
        let other = request_of(settings, |event| event.topic_sequence_number += 1).unwrap();
        assert_ne!(serde_json::to_value(other).unwrap()["deduplication"], message["deduplication"]);
        let own = shown(
            "sqs = { queue = 'https://q/1.fifo', group = '{room}', deduplication = '{room} {topic_sequence_number}' }",
        );
        assert_eq!(own["group"], "friends");
        assert_eq!(own["deduplication"].as_str().unwrap().len(), 64, "there is a space in what was given");
    }

    #[test]
    fn a_queue_whose_name_comes_with_the_event_may_be_either() {
        let settings =
            "sqs = { queue = 'https://q/{cache}', deduplication = '{event_id}', delay_seconds = 3 }";
        let fifo = request_of(settings, |event| event.cache = "a.fifo".to_owned()).unwrap();
        let fifo = serde_json::to_value(fifo).unwrap();
        assert!(fifo["deduplication"].is_string() && fifo["delay_seconds"].is_null(), "{fifo}");
        let standard = shown(settings);
        assert!(standard["deduplication"].is_null() && standard["delay_seconds"] == 3, "{standard}");
    }

    #[test]
    fn what_no_queue_takes_is_refused() {
        let settings = "sqs = { queue = 'https://q/1', attributes = { room = '{room}' } }";
        let empty = "the text is empty, and a queue takes no empty message";
        assert_eq!(refused(settings, ""), (Reason::InvalidArgument, empty.to_owned()));
        let event = "sqs = { queue = 'https://q/1', body = 'event' }";
        assert!(request_of(event, |event| event.text = String::new()).is_ok());
        for char in ["\0", "\u{b}", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            assert_eq!(refused(settings, char).0, Reason::InvalidArgument, "{char:?}");
        }
        let text = "\t\n\r \u{7f}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}";
        assert!(request_of(settings, |event| event.text = text.to_owned()).is_ok());
        // `room`, `String`, `friends`.
        let rest = 4 + 6 + 7;
        assert!(request_of(settings, |event| event.text = "x".repeat(SQS_MESSAGE_BYTES - rest)).is_ok());
        assert_eq!(refused(settings, &"x".repeat(SQS_MESSAGE_BYTES - rest + 1)).0, Reason::TooLarge);
    }

    #[test]
    fn names_of_attributes_are_looked_at() {
        for name in ["a", "A-b_c.d", "aws", "1"] {
            assert!(is_attribute(name), "{name}");
        }
        for name in ["", ".a", "a.", "a..b", "a b", "ä", "AWS.a", "amazon.b", &"x".repeat(257)] {
            assert!(!is_attribute(name), "{name}");
        }
        let told = faults("sqs = { queue = 'https://q/1', attributes = { 'a b' = 'x' } }");
        assert!(told.len() == 1 && told[0].contains("\"a b\" is no name of an attribute"), "{told:#?}");
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        for (settings, says) in [
            ("queue = 'orders'", "the queue is given by its URL"),
            ("queue = 'https://q/1', deduplication = 'a'", "only FIFO queues have it"),
            ("queue = 'https://q/1.fifo', delay_seconds = 1", "FIFO queues have no delay by message"),
            ("queue = 'https://q/1', delay_seconds = 901", "the longest delay is 900 seconds"),
            ("queue = 'https://q/1', delay_seconds = -1", "is -1, and should be"),
            ("queue = 'https://q/1', body = 'texts'", "should be \"event\", \"text\""),
            (
                "queue = 'https://q/1', attributes = { a='x', b='x', c='x', d='x', e='x', f='x', g='x', h='x', i='x', j='x', k='x' }",
                "a message has at most 10 attributes",
            ),
        ] {
            let told = faults(&format!("sqs = {{ {settings} }}"));
            assert!(told.len() == 1 && told[0].contains(says), "{settings}: {told:#?}");
        }
    }
}
