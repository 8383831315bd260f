//! What placeholders stand for: the one table of an event's fields.

use std::borrow::Cow;

use momento_webhook::Event;

use super::json;

/// What is known of an event where a text is made of it.
#[derive(Clone, Copy)]
pub struct Values<'v> {
    /// The event, with its text as it was sent.
    pub event: &'v Event,
    /// The captures of its route: names and texts.
    pub captures: &'v [(&'v str, &'v str)],
    /// The text as it is now.
    pub text: &'v str,
    /// The code of the language that the text was written in, where a transform found it out.
    pub language: Option<&'v str>,
    /// The JSON document around the text, inside the transform `json`.
    pub document: Option<&'v str>,
}

/// Where a text stands. Each place knows what those before it know, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The name of a destination. It is made when an event arrives, before the transforms.
    Name,
    /// What is sent to a destination.
    Request,
    /// A transform.
    Transform,
    /// A transform inside the transform `json`.
    Inside,
}

/// A field of an event.
#[derive(Debug)]
pub struct Field {
    /// The name, as in `{topic}`. A field of the webhook's body has the name of its member there.
    pub name: &'static str,
    /// What it stands for, for people.
    pub description: &'static str,
    /// The first place that knows it.
    pub known: Place,
    /// Whether an event can lack it.
    pub is_optional: bool,
    /// Whether it is a JSON text, whose members can be named.
    pub has_members: bool,
    get: for<'v> fn(&Values<'v>) -> Option<Value<'v>>,
}

/// A value of a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'v> {
    Text(Cow<'v, str>),
    /// Other JSON than a string, as it was written: a number keeps its digits.
    Json(Cow<'v, str>),
}

/// All fields.
pub static FIELDS: [Field; 13] = [
    field("cache", "the cache of the inbound topic", |v| text(&v.event.cache)),
    field("topic", "the inbound topic", |v| text(&v.event.topic)),
    optional("token_id", "the id in the publisher's token; missing without one", |v| {
        text(v.event.token_id.as_deref()?)
    }),
    field("topic_sequence_number", "counts up per topic, and falls back to 0 after a quiet period", |v| {
        number(v.event.topic_sequence_number)
    }),
    optional(
        "topic_sequence_page",
        "the run that this number is of; missing if the sender does not send it",
        |v| number(v.event.topic_sequence_page?),
    ),
    field("event_timestamp", "when the message was published, in ms since the Unix epoch", |v| {
        number(v.event.event_timestamp)
    }),
    field("publish_timestamp", "when the webhook was sent, in ms since the Unix epoch", |v| {
        number(v.event.publish_timestamp)
    }),
    field("event_id", "a hash that is the same each time the event is delivered", |v| {
        Some(Value::Text(v.event.id().into()))
    }),
    field("text", "the text as it is now", |v| text(v.text)),
    field("original", "the text as it was sent", |v| text(&v.event.text)),
    Field {
        known: Place::Request,
        ..optional(
            "language",
            "the language that the text was written in, once `translate` found out; a text without letters has none",
            |v| text(v.language?),
        )
    },
    Field {
        has_members: true,
        ..optional("json", "the text as JSON; `json.from` and `json.items.0.name` are members", |v| {
            text(v.text)
        })
    },
    Field {
        known: Place::Inside,
        has_members: true,
        ..optional("document", "the JSON around the text, inside the transform `json`", |v| text(v.document?))
    },
];

const fn field(
    name: &'static str,
    description: &'static str,
    get: for<'v> fn(&Values<'v>) -> Option<Value<'v>>,
) -> Field {
    Field { name, description, known: Place::Name, is_optional: false, has_members: false, get }
}

const fn optional(
    name: &'static str,
    description: &'static str,
    get: for<'v> fn(&Values<'v>) -> Option<Value<'v>>,
) -> Field {
    Field { is_optional: true, ..field(name, description, get) }
}

#[expect(clippy::unnecessary_wraps, reason = "a getter of the table returns an option")]
fn text(text: &str) -> Option<Value<'_>> {
    Some(Value::Text(text.into()))
}

#[expect(clippy::unnecessary_wraps, reason = "a getter of the table returns an option")]
fn number(number: u64) -> Option<Value<'static>> {
    Some(Value::Json(number.to_string().into()))
}

impl Field {
    /// Returns the field of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }
}

impl<'v> Values<'v> {
    /// Returns the value of a field or capture, or of the member behind `members` of its JSON; nothing where the event
    /// has none, and for JSON's `null`.
    pub(super) fn get(&self, name: &str, members: &[String]) -> Option<Value<'v>> {
        let Some(field) = Field::named(name) else {
            let capture = self.captures.iter().find(|(known, _)| *known == name);
            return capture.and_then(|(_, capture)| text(capture));
        };
        match (field.get)(self)? {
            Value::Text(Cow::Borrowed(json)) if field.has_members => match json::member(json, members)? {
                "null" => None,
                string if string.starts_with('"') => json::string(string).map(Value::Text),
                other => Some(Value::Json(other.into())),
            },
            value => Some(value),
        }
    }
}
