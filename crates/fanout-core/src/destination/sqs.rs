//! A queue of Amazon SQS.
//!
//! ```toml
//! [[routes.destinations]]
//! sqs = { queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", group = "{topic}" }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use momento_webhook::Event;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use toml::Spanned;

use super::ServiceRequest;
use super::content::{Content, ContentKeys};
use super::limits::{
    SQS_ATTRIBUTE_NAME, SQS_ATTRIBUTES, SQS_BATCH_BYTES, SQS_BATCH_MESSAGES, SQS_DELAY_SECONDS, SQS_ID,
    SQS_MESSAGE_BYTES, SQS_NAME,
};
use super::service::{Fields, MakeRequest, RequestError, ServiceSettings, fitting, short};
use crate::file::Texts;
use crate::placeholder::Template;
use crate::reason::Failure;

/// A queue, as a route names it.
#[derive(Clone, Debug)]
struct Sqs {
    queue: Template,
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
    /// The body.
    pub body: String,
    /// The message group. A FIFO queue keeps the order of a group. A standard queue shares its throughput fairly between
    /// groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The deduplication id, for a FIFO queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<String>,
    /// The message attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The number of seconds before the message can be received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<u16>,
}

/// Sends messages to queues, several with one call.
pub trait QueueSender: fmt::Debug + Send + Sync {
    /// Sends messages to the queue of the first one with one call, with as many attempts as fit before `deadline`. Returns
    /// the result of each message, in their order. The [`batches`] are small enough.
    ///
    /// # Errors
    /// If the call fails as a whole.
    fn send_batch<'c>(
        &'c self,
        messages: &'c [QueueMessage],
        deadline: Instant,
    ) -> BoxFuture<'c, Result<Vec<Result<(), Failure>>, Failure>>;
}

/// The largest number of messages of one call.
pub const MAX_BATCH: usize = SQS_BATCH_MESSAGES;

/// A queue of Amazon SQS.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SqsKeys {
    /// The URL of the queue, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    queue: Spanned<String>,
    /// The body of the message. Default: `text`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ContentKeys>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Spanned<ContentKeys>>,
    /// The message group. Default for a FIFO queue (its URL ends with `.fifo`): `{cache}#{topic}`, so that each topic keeps its order. Default for a standard queue: no group; a group makes it a fair queue.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Spanned<String>>,
    /// The deduplication id, for a FIFO queue: if two messages have the same id within 5 minutes, the queue drops the second. Default: a hash of the event's id and of the destination, so that a redelivered event is queued once.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    deduplication: Option<Spanned<String>>,
    /// Message attributes, by their names; at most 10. An attribute whose placeholders have no value is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    attributes: BTreeMap<String, Spanned<String>>,
    /// The number of seconds before the message can be received: 0 to 900. Not for FIFO queues. Default: the delay of the queue.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u16>", range(min = 0, max = 900)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_seconds: Option<Spanned<u16>>,
}

/// The end of the name of a FIFO queue.
const FIFO: &str = ".fifo";
/// The type of all attributes, which counts for the size of a message.
const ATTRIBUTE_TYPE: &str = "String";

impl ServiceSettings for SqsKeys {
    const KIND: &'static str = "sqs";

    fn defaults() -> serde_json::Value {
        json!({ "body": "text" })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { queue, body, group, deduplication, attributes, delay_seconds } = self;
        let is_fifo = is_fifo(queue.get_ref());
        // The event decides if the name ends with a placeholder.
        let is_standard = !is_fifo && !queue.get_ref().ends_with('}');
        if let Some(given) = deduplication.as_ref().filter(|_| is_standard) {
            texts.fault(
                given.span(),
                "`deduplication` is for FIFO queues only, whose names end with .fifo; leave it out",
            );
        }
        if let Some(delay) = &delay_seconds {
            if is_fifo {
                texts.fault(delay.span(), "`delay_seconds` is not for FIFO queues; leave it out");
            } else if *delay.get_ref() > SQS_DELAY_SECONDS {
                texts.fault(delay.span(), format!("the delay is longer than {SQS_DELAY_SECONDS} seconds"));
            }
        }
        if let Some(excess) = attributes.values().nth(SQS_ATTRIBUTES) {
            texts.fault(excess.span(), format!("the message has more than {SQS_ATTRIBUTES} attributes"));
        }
        for (name, text) in attributes.iter().filter(|(name, _)| !is_attribute(name)) {
            let message = format!(
                "{name:?} is not a valid name of an attribute: use A-Z, a-z, 0-9, - and _, and single dots inside; it \
                 cannot begin with AWS. or Amazon."
            );
            texts.fault(text.span(), message);
        }
        let queue = texts.name("queue", &queue, check_queue);
        let body = Content::read(body, Content::Text, "body", texts);
        let group = texts.optional("group", group);
        let deduplication = texts.optional("deduplication", deduplication);
        let mut read = BTreeMap::new();
        for (name, text) in attributes {
            read.extend(texts.template("attribute", &text).map(|text| (name, text)));
        }
        Some(Arc::new(Sqs {
            queue: queue?,
            body: body?,
            group: group?,
            deduplication: deduplication?,
            attributes: read,
            delay_seconds: delay_seconds.map(Spanned::into_inner),
        }))
    }
}

impl MakeRequest for Sqs {
    fn name(&self) -> &Template {
        &self.queue
    }

    fn templates(&self) -> Vec<&Template> {
        let Self { queue, group, deduplication, .. } = self;
        [Some(queue), group.as_ref(), deduplication.as_ref()].into_iter().flatten().collect()
    }

    fn request(&self, fields: &Fields<'_>) -> Result<ServiceRequest, RequestError> {
        let queue = fields.name(&self.queue, check_queue)?;
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
        Ok(message.into())
    }
}

impl QueueMessage {
    pub(super) fn destination(&self) -> &str {
        &self.queue
    }

    /// Returns an error if the message breaks a limit of every queue.
    fn check(&self) -> Result<(), RequestError> {
        if self.body.is_empty() {
            return Err(RequestError::invalid("the text is empty; SQS accepts no empty message"));
        }
        let mut texts = self.attributes.values().chain([&self.body]);
        if texts.any(|text| !text.chars().all(is_valid)) {
            return Err(RequestError::invalid("the message has a character that SQS does not accept"));
        }
        let bytes = self.bytes();
        if bytes > SQS_MESSAGE_BYTES {
            let message = format!("the message has {bytes} bytes; SQS accepts at most {SQS_MESSAGE_BYTES}");
            return Err(RequestError::too_large(message));
        }
        Ok(())
    }

    /// Returns the size as SQS counts it.
    fn bytes(&self) -> usize {
        let attribute = |(name, text): (&String, &String)| name.len() + ATTRIBUTE_TYPE.len() + text.len();
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// Divides messages into batches that one call can send, in their order. A message that is too large is alone.
#[must_use]
pub fn batches(mut messages: &[QueueMessage]) -> Vec<&[QueueMessage]> {
    let mut batches = Vec::new();
    while !messages.is_empty() {
        let sizes = messages.iter().scan(0_usize, |bytes, message| {
            *bytes += message.bytes();
            Some(*bytes)
        });
        let fitting = sizes.take(MAX_BATCH).take_while(|bytes| *bytes <= SQS_BATCH_BYTES).count();
        let (batch, rest) = messages.split_at(fitting.max(1));
        batches.push(batch);
        messages = rest;
    }
    batches
}

/// Returns JSON without the two characters that JSON may contain unescaped and that SQS does not accept.
#[must_use]
pub fn escaped(json: &str) -> String {
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// Checks the URL of a queue.
///
/// # Errors
/// If `queue` is not the URL of a queue.
pub fn check_queue(queue: &str) -> Result<(), String> {
    if !["https://", "http://"].iter().any(|scheme| queue.starts_with(scheme)) {
        let expected = "https://sqs.<region>.amazonaws.com/<account>/<name>";
        return Err(format!("the queue is not a URL; expected {expected}"));
    }
    let name = short(queue);
    let is_valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
    let stem = name.strip_suffix(FIFO).unwrap_or(name);
    if stem.is_empty() || name.len() > SQS_NAME || !stem.chars().all(is_valid) {
        return Err(format!(
            "the URL of the queue ends with an invalid name; expected at most {SQS_NAME} of A-Z, a-z, 0-9, - and _, and \
             perhaps {FIFO}"
        ));
    }
    Ok(())
}

/// Returns true if a message can have this character:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>.
const fn is_valid(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// Returns true if an attribute can have this name:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.
fn is_attribute(name: &str) -> bool {
    let is_valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let lower = name.to_ascii_lowercase();
    (1..=SQS_ATTRIBUTE_NAME).contains(&name.len())
        && name.chars().all(is_valid)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !["aws.", "amazon."].iter().any(|reserved| lower.starts_with(reserved))
}

/// Returns true if the queue with this URL, ARN or name is a FIFO queue.
#[must_use]
pub fn is_fifo(queue: &str) -> bool {
    queue.ends_with(FIFO)
}

/// Returns the message group of an event: its cache and topic, so that each topic keeps its order.
#[must_use]
pub fn group_of(event: &Event) -> String {
    identifier(format!("{}#{}", event.cache, event.topic))
}

/// Returns a group or a deduplication id: `text`, or its hash if SQS does not accept it.
fn identifier(text: String) -> String {
    fitting(text, SQS_ID, |char| char.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::service::tests::{faults, refused, request_of, shown};
    use crate::reason::Reason;

    #[test]
    fn queue_gets_text() {
        assert_eq!(
            shown("sqs = { queue = 'https://q/{room}' }"),
            json!({"queue": "https://q/friends", "body": "Hello"})
        );
    }

    #[test]
    fn queue_gets_group_attributes_and_delay() {
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
    fn fifo_queue_keeps_order_of_topics_and_drops_redelivered_event() {
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
        assert_eq!(own["deduplication"].as_str().unwrap().len(), 64, "the given id has a space");
    }

    #[test]
    fn queue_named_by_event_is_fifo_or_standard() {
        let settings =
            "sqs = { queue = 'https://q/{cache}', deduplication = '{event_id}', delay_seconds = 3 }";
        let fifo = request_of(settings, |event| event.cache = "a.fifo".to_owned()).unwrap();
        let fifo = serde_json::to_value(fifo).unwrap();
        assert!(fifo["deduplication"].is_string() && fifo["delay_seconds"].is_null(), "{fifo}");
        let standard = shown(settings);
        assert!(standard["deduplication"].is_null() && standard["delay_seconds"] == 3, "{standard}");
    }

    #[test]
    fn rejects_messages_that_no_queue_accepts() {
        let settings = "sqs = { queue = 'https://q/1', attributes = { room = '{room}' } }";
        let empty = "the text is empty; SQS accepts no empty message";
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
    fn divides_messages_into_batches_by_number_and_size() {
        let message = |bytes: usize| QueueMessage {
            queue: "https://q/1".to_owned(),
            body: "x".repeat(bytes),
            group: None,
            deduplication: None,
            attributes: BTreeMap::new(),
            delay_seconds: None,
        };
        let half = SQS_BATCH_BYTES / 2;
        for (sizes, expected) in [
            (vec![], &[][..]),
            (vec![1; 25], &[10, 10, 5]),
            (vec![half, half, half, 1], &[2, 2]),
            (vec![half, half + 1, 1], &[1, 2]),
            (vec![1, SQS_BATCH_BYTES + 1, 1], &[1, 1, 1]),
        ] {
            let messages: Vec<_> = sizes.into_iter().map(message).collect();
            let batches: Vec<_> = batches(&messages).into_iter().map(<[_]>::len).collect();
            assert_eq!(batches, expected);
        }
    }

    #[test]
    fn escaped_json_has_only_characters_that_queues_accept() {
        let json = json!({ "a": "\u{fffe}\u{ffff}\u{fffd}" });
        let escaped = escaped(&json.to_string());
        assert!(escaped.chars().all(is_valid), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), json);
    }

    #[test]
    fn rejects_invalid_names_of_attributes() {
        for name in ["a", "A-b_c.d", "aws", "1"] {
            assert!(is_attribute(name), "{name}");
        }
        for name in ["", ".a", "a.", "a..b", "a b", "ä", "AWS.a", "amazon.b", &"x".repeat(257)] {
            assert!(!is_attribute(name), "{name}");
        }
        let told = faults("sqs = { queue = 'https://q/1', attributes = { 'a b' = 'x' } }");
        assert!(
            told.len() == 1 && told[0].contains("\"a b\" is not a valid name of an attribute"),
            "{told:#?}"
        );
    }

    #[test]
    fn rejects_invalid_queues_at_load_and_before_sending() {
        for (name, is_valid) in [
            ("orders", true),
            ("Or_d-3.fifo", true),
            ("x".repeat(SQS_NAME).as_str(), true),
            ("x".repeat(SQS_NAME + 1).as_str(), false),
            (format!("{}.fifo", "x".repeat(SQS_NAME - 4)).as_str(), false),
            ("or.ders", false),
            (".fifo", false),
        ] {
            let settings = format!("sqs = {{ queue = 'https://q/{name}' }}");
            let rendered =
                request_of("sqs = { queue = 'https://q/{cache}' }", |event| event.cache = name.to_owned());
            assert_eq!(rendered.is_ok(), is_valid, "{name}");
            if is_valid {
                shown(&settings);
            } else {
                assert!(faults(&settings)[0].contains("ends with an invalid name"), "{name}");
            }
        }
        assert!(faults("sqs = { queue = 'https://q/' }")[0].contains("ends with an invalid name"));
        let (reason, detail) = refused("sqs = { queue = '{json.to}' }", r#"{"to":"orders"}"#);
        assert_eq!(reason, Reason::InvalidArgument);
        assert!(detail.starts_with("the queue is not a URL"), "{detail}");
    }

    #[test]
    fn rejects_invalid_settings() {
        for (settings, says) in [
            ("queue = 'orders'", "the queue is not a URL"),
            ("queue = 'https://q/1', deduplication = 'a'", "`deduplication` is for FIFO queues only"),
            ("queue = 'https://q/1.fifo', delay_seconds = 1", "`delay_seconds` is not for FIFO queues"),
            ("queue = 'https://q/1', delay_seconds = 901", "the delay is longer than 900 seconds"),
            ("queue = 'https://q/1', delay_seconds = -1", "is -1; expected"),
            ("queue = 'https://q/1', body = 'texts'", "expected \"event\", \"text\""),
            (
                "queue = 'https://q/1', attributes = { a='x', b='x', c='x', d='x', e='x', f='x', g='x', h='x', i='x', j='x', k='x' }",
                "the message has more than 10 attributes",
            ),
        ] {
            let told = faults(&format!("sqs = {{ {settings} }}"));
            assert!(told.len() == 1 && told[0].contains(says), "{settings}: {told:#?}");
        }
    }
}
