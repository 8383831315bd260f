//! The values of placeholders: the table of an event's fields.

use std::borrow::Cow;

use momento_webhook::Event;

use crate::json::RawJson;

/// The values of an event for placeholders.
#[derive(Clone, Copy)]
pub struct Values<'v> {
    /// The event, with its original text.
    pub event: &'v Event,
    /// The names and texts of the route's captures.
    pub captures: &'v [(&'v str, &'v str)],
    /// The current text.
    pub text: &'v str,
    /// The code of the language that the text was written in, if a transform detected it.
    pub language: Option<&'v str>,
    /// The JSON document that contains the text, inside the transform `json`.
    pub document: Option<&'v str>,
    /// The results of the transforms `lookup`: a JSON object.
    pub found: Option<&'v str>,
}

/// The use of a text. Each scope knows the fields of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The name of a destination. It is rendered when an event arrives, before the transforms.
    Name,
    /// A value of a request.
    Request,
    /// A transform.
    Transform,
    /// A transform inside the transform `json`.
    Inside,
}

/// A field of an event.
#[derive(Debug)]
pub struct Field {
    /// The name, such as `topic`. A member of the webhook's body has the same name.
    pub name: &'static str,
    /// The description for users.
    pub description: &'static str,
    /// The first scope that knows it.
    pub known: Scope,
    /// True if an event can lack it.
    pub is_optional: bool,
    /// True if it is JSON, whose members can be named.
    pub has_members: bool,
    get: for<'v> fn(&Values<'v>) -> Option<FieldValue<'v>>,
}

/// A value of a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FieldValue<'v> {
    Text(Cow<'v, str>),
    /// JSON other than a string, as it was written.
    Json(Cow<'v, str>),
}

/// All fields.
pub static FIELDS: [Field; 14] = [
    field("cache", "the cache of the inbound topic", |v| text(&v.event.cache)),
    field("topic", "the inbound topic", |v| text(&v.event.topic)),
    optional("token_id", "the id in the publisher's token; missing without one", |v| {
        text(v.event.token_id.as_deref()?)
    }),
    field(
        "topic_sequence_number",
        "the number of the message in its topic; restarts at 0 after a quiet period",
        |v| number(v.event.topic_sequence_number),
    ),
    optional(
        "topic_sequence_page",
        "the page of that number, another one after each restart; missing if the sender does not send it",
        |v| number(v.event.topic_sequence_page?),
    ),
    field("event_timestamp", "the time of publishing, in milliseconds since the Unix epoch", |v| {
        number(v.event.event_timestamp)
    }),
    field(
        "publish_timestamp",
        "the time at which the webhook was sent, in milliseconds since the Unix epoch",
        |v| number(v.event.publish_timestamp),
    ),
    field("event_id", "a hash, the same at each delivery of the event", |v| {
        Some(FieldValue::Text(v.event.id().into()))
    }),
    field("text", "the text, as the transforms so far have left it", |v| text(v.text)),
    field("original", "the text, as it was sent", |v| text(&v.event.text)),
    Field {
        known: Scope::Request,
        ..optional(
            "language",
            "the code of the language that the text was written in, after `translate`; missing if the text has no letters",
            |v| text(v.language?),
        )
    },
    Field {
        has_members: true,
        ..optional("json", "the text as JSON; `json.from` and `json.items.0.name` are members of it", |v| {
            text(v.text)
        })
    },
    Field {
        known: Scope::Request,
        has_members: true,
        ..optional(
            "lookup",
            "what the transforms `lookup` have found; `lookup.name` is what one as `name` has found",
            |v| text(v.found?),
        )
    },
    Field {
        known: Scope::Inside,
        has_members: true,
        ..optional("document", "the whole JSON document, in the transforms inside `json`", |v| {
            text(v.document?)
        })
    },
];

const fn field(
    name: &'static str,
    description: &'static str,
    get: for<'v> fn(&Values<'v>) -> Option<FieldValue<'v>>,
) -> Field {
    Field { name, description, known: Scope::Name, is_optional: false, has_members: false, get }
}

const fn optional(
    name: &'static str,
    description: &'static str,
    get: for<'v> fn(&Values<'v>) -> Option<FieldValue<'v>>,
) -> Field {
    Field { is_optional: true, ..field(name, description, get) }
}

#[expect(clippy::unnecessary_wraps, reason = "a getter of the table returns an option")]
fn text(text: &str) -> Option<FieldValue<'_>> {
    Some(FieldValue::Text(text.into()))
}

#[expect(clippy::unnecessary_wraps, reason = "a getter of the table returns an option")]
fn number(number: u64) -> Option<FieldValue<'static>> {
    Some(FieldValue::Json(number.to_string().into()))
}

impl Field {
    /// Returns the field called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }
}

impl<'v> Values<'v> {
    /// Returns the value of a field or capture, or of a member of its JSON. Returns `None` if the event lacks it, or if it
    /// is `null`.
    pub(super) fn get(&self, name: &str, members: &[String]) -> Option<FieldValue<'v>> {
        let Some(field) = Field::named(name) else {
            let capture = self.captures.iter().find(|(known, _)| *known == name);
            return capture.and_then(|(_, capture)| text(capture));
        };
        match (field.get)(self)? {
            FieldValue::Text(Cow::Borrowed(text)) if field.has_members => {
                match RawJson::read(text)?.find(members)? {
                    string if string.is_string() => string.string().map(FieldValue::Text),
                    null if null.as_str() == "null" => None,
                    other => Some(FieldValue::Json(other.as_str().into())),
                }
            }
            value => Some(value),
        }
    }
}
