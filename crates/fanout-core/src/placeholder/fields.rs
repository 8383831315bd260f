//! What placeholders stand for: the one table of an event's fields.

use std::borrow::Cow;
use std::fmt;

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
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text(for<'v> fn(&Values<'v>) -> Option<Cow<'v, str>>),
    Number(fn(&Values<'_>) -> Option<u64>),
    /// A JSON text, whose members can be named.
    Json(for<'v> fn(&Values<'v>) -> Option<&'v str>),
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
    text("cache", "the cache of the inbound topic", |values| Some(values.event.cache.as_str().into())),
    text("topic", "the inbound topic", |values| Some(values.event.topic.as_str().into())),
    optional(text("token_id", "the id in the publisher's token; missing without one", |values| {
        values.event.token_id.as_deref().map(Cow::Borrowed)
    })),
    number(
        "topic_sequence_number",
        "counts up per topic, and falls back to 0 after a quiet period",
        |values| Some(values.event.topic_sequence_number),
    ),
    optional(number(
        "topic_sequence_page",
        "the run of numbers that `topic_sequence_number` belongs to; missing where the sender does not send it",
        |values| values.event.topic_sequence_page,
    )),
    number("event_timestamp", "when the message was published, in ms since the Unix epoch", |values| {
        Some(values.event.event_timestamp)
    }),
    number("publish_timestamp", "when the webhook was sent, in ms since the Unix epoch", |values| {
        Some(values.event.publish_timestamp)
    }),
    text("event_id", "a hash that is the same each time the event is delivered", |values| {
        Some(values.event.id().into())
    }),
    text("text", "the text as it is now", |values| Some(values.text.into())),
    text("original", "the text as it was sent", |values| Some(values.event.text.as_str().into())),
    Field {
        known: Place::Request,
        ..optional(text(
            "language",
            "the language that the text was written in, once `translate` has found out; missing before",
            |values| values.language.map(Cow::Borrowed),
        ))
    },
    Field {
        name: "json",
        description: "the text, read as JSON; `json.from`, `json.items.0.name` and `json.\"first name\"` are members",
        known: Place::Name,
        is_optional: true,
        kind: Kind::Json(|values| Some(values.text)),
    },
    Field {
        name: "document",
        description: "the same of the JSON document around the text, inside the transform `json`",
        known: Place::Inside,
        is_optional: true,
        kind: Kind::Json(|values| values.document),
    },
];

const fn text(
    name: &'static str,
    description: &'static str,
    get: for<'v> fn(&Values<'v>) -> Option<Cow<'v, str>>,
) -> Field {
    Field { name, description, known: Place::Name, is_optional: false, kind: Kind::Text(get) }
}

const fn number(name: &'static str, description: &'static str, get: fn(&Values<'_>) -> Option<u64>) -> Field {
    Field { name, description, known: Place::Name, is_optional: false, kind: Kind::Number(get) }
}

const fn optional(field: Field) -> Field {
    Field { is_optional: true, ..field }
}

impl Field {
    /// Returns the field of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// Returns true if it is a JSON text, whose members can be named.
    #[must_use]
    pub const fn has_members(&self) -> bool {
        matches!(self.kind, Kind::Json(_))
    }
}

impl<'v> Values<'v> {
    /// Returns the value of a field or capture, or of the member behind `members` of its JSON; nothing where the event
    /// has none, and for JSON's `null`.
    pub(super) fn get(&self, name: &str, members: &[String]) -> Option<Value<'v>> {
        let Some(field) = Field::named(name) else {
            let capture = self.captures.iter().find(|(known, _)| *known == name);
            return capture.map(|(_, text)| Value::Text(Cow::Borrowed(text)));
        };
        match field.kind {
            Kind::Text(get) => get(self).map(Value::Text),
            Kind::Number(get) => get(self).map(|number| Value::Json(number.to_string().into())),
            Kind::Json(get) => match json::member(get(self)?, members)? {
                "null" => None,
                string if string.starts_with('"') => json::string(string).map(Value::Text),
                other => Some(Value::Json(other.into())),
            },
        }
    }
}

/// Without texts, which are somebody's messages.
impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("event", self.event)
            .field("captures", &self.captures)
            .finish_non_exhaustive()
    }
}
