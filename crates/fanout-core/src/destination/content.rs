//! The content of requests, made of an event: text, numbers, JSON.
//!
//! ```toml
//! body = "event"                                              # the event as JSON
//! body = "text"                                               # the text after the transforms
//! body = { room = "{room}", at = { number = "{event_timestamp}" }, text = "{text}", kind = "chat" }
//! ```

use std::collections::BTreeMap;

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use toml::Spanned;

use super::json::{Document, NotJson};
use super::service::{Fields, RequestError};
use crate::file::Texts;
use crate::placeholder::Template;
use crate::spanned::Span;

/// The content of a request.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// The event as JSON, with the text after the transforms.
    Event,
    /// The text after the transforms.
    Text,
    /// A JSON object with these members.
    Object(Members),
}

/// Values by their names.
pub(super) type Members = BTreeMap<String, Value>;

/// How a value is made.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The same value for every event.
    Fixed(Attribute),
    /// A text.
    Text(Template),
    /// A number.
    Number(Template),
    /// JSON.
    Json(Template),
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number, as it was written: no digit is lost.
    Number(String),
    /// True or false.
    Bool(bool),
    /// JSON.
    Json(Document),
}

/// The content of a request: `"event"`, `"text"`, or a table of values.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected \"event\", \"text\", or a table of texts, numbers and booleans")]
pub(crate) enum ContentKeys {
    /// The event, or its text.
    Named(Named),
    /// A JSON object with these members. A member whose placeholders have no value is left out.
    Members(BTreeMap<String, ValueKeys>),
}

/// The event, or its text.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Named {
    /// The event as JSON, with the text after the transforms.
    Event,
    /// The text after the transforms.
    Text,
}

/// A value: a text, which may have placeholders, a number, true or false.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a text, a number, true or false, { number = \"a text\" } or { json = \"a text\" }"
)]
pub(crate) enum ValueKeys {
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A number that is made of the event.
    Number {
        /// The text of the number, such as `{topic_sequence_number}`.
        number: String,
    },
    /// JSON that is made of the event.
    Json {
        /// The text of the JSON, such as `{text}`.
        json: String,
    },
}

impl Content {
    /// Reads the content that a file gives. Returns `default` if it gives none.
    pub(super) fn read(
        given: Option<Spanned<ContentKeys>>,
        default: Self,
        what: &str,
        texts: &mut Texts<'_, '_>,
    ) -> Option<Self> {
        let Some(given) = given else { return Some(default) };
        let span = given.span();
        Some(match given.into_inner() {
            ContentKeys::Named(Named::Event) => Self::Event,
            ContentKeys::Named(Named::Text) => Self::Text,
            ContentKeys::Members(members) => {
                let members =
                    members.into_iter().map(|(name, value)| (name, Spanned::new(span.clone(), value)));
                Self::Object(Value::read_all(members, what, texts)?)
            }
        })
    }

    /// Renders the content.
    ///
    /// # Errors
    /// When a member cannot be made.
    pub(super) fn render(&self, fields: &Fields<'_>) -> Result<String, RequestError> {
        Ok(match self {
            Self::Event => fields.event_json(),
            Self::Text => fields.text().to_owned(),
            Self::Object(members) => serde_json::to_string(&rendered(members, fields)?)
                .expect("texts, numbers, booleans and JSON under string keys are JSON"),
        })
    }

    /// Renders the content of a request that takes only JSON, and with `is_object` only a JSON object.
    ///
    /// # Errors
    /// When a member cannot be made, and when the text is not JSON.
    pub(super) fn render_json(&self, fields: &Fields<'_>, is_object: bool) -> Result<String, RequestError> {
        let rendered = self.render(fields)?;
        if matches!(self, Self::Text) {
            let document = Document::read(&rendered);
            let is_an_object = || document.as_ref().is_ok_and(Document::is_object);
            if is_object && !is_an_object() {
                return Err(RequestError::invalid("the text is not a JSON object"));
            }
            if document.is_err() {
                return Err(RequestError::invalid("the text is not JSON"));
            }
        }
        Ok(rendered)
    }
}

/// Renders values. Leaves out a value that is made of something that the event lacks.
///
/// # Errors
/// When a value is not a number, or not JSON, and should be.
pub(super) fn rendered(
    members: &Members,
    fields: &Fields<'_>,
) -> Result<BTreeMap<String, Attribute>, RequestError> {
    let mut rendered = BTreeMap::new();
    for (name, value) in members {
        match value.render(name, fields) {
            Ok(value) => drop(rendered.insert(name.clone(), value)),
            Err(RequestError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rendered)
}

impl Value {
    /// Reads the values that a file gives.
    pub(super) fn read_all(
        given: impl IntoIterator<Item = (String, Spanned<ValueKeys>)>,
        what: &str,
        texts: &mut Texts<'_, '_>,
    ) -> Option<Members> {
        let mut members = Some(Members::new());
        for (name, value) in given {
            let span = value.span();
            match Self::read(value.into_inner(), &span, what, texts) {
                Some(value) => drop(members.as_mut().map(|members| members.insert(name, value))),
                None => members = None,
            }
        }
        members
    }

    fn read(given: ValueKeys, span: &Span, what: &str, texts: &mut Texts<'_, '_>) -> Option<Self> {
        let mut template = |text: String| texts.template(what, &Spanned::new(span.clone(), text));
        let value = match given {
            // A value can be empty. A template cannot.
            ValueKeys::Text(text) if text.is_empty() => Self::Fixed(Attribute::Text(text)),
            ValueKeys::Text(text) => Self::Text(template(text)?),
            ValueKeys::Number { number } => Self::Number(template(number)?),
            ValueKeys::Json { json } => Self::Json(template(json)?),
            ValueKeys::Bool(is) => Self::Fixed(Attribute::Bool(is)),
            ValueKeys::Integer(number) => Self::Fixed(Attribute::Number(number.to_string())),
            ValueKeys::Float(number) if number.is_finite() => {
                Self::Fixed(Attribute::Number(number.to_string()))
            }
            ValueKeys::Float(_) => {
                texts.fault(span.clone(), format!("the {what} is inf or nan; expected a finite number"));
                return None;
            }
        };
        if let Some(Err(RequestError::Refused { detail, .. })) = value.constant(&format!("the {what}")) {
            texts.fault(span.clone(), detail);
            return None;
        }
        Some(value)
    }

    /// Returns the template of the value.
    pub(super) const fn template(&self) -> Option<&Template> {
        match self {
            Self::Fixed(_) => None,
            Self::Text(template) | Self::Number(template) | Self::Json(template) => Some(template),
        }
    }

    /// Returns the value if it is the same for every event. Errors call it `name`.
    pub(super) fn constant(&self, name: &str) -> Option<Result<Attribute, RequestError>> {
        let literal = || self.template().and_then(Template::literal);
        Some(match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::Text(_) => Ok(Attribute::Text(literal()?.to_owned())),
            Self::Number(_) => number(name, literal()?.to_owned()),
            Self::Json(_) => json(name, literal()?),
        })
    }

    /// Renders the value of the member or attribute `name`.
    ///
    /// # Errors
    /// When the event lacks a field, or the text is not a number, or not JSON, and should be.
    pub(super) fn render(&self, name: &str, fields: &Fields<'_>) -> Result<Attribute, RequestError> {
        let quoted = || format!("`{name}`");
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => Attribute::Text(fields.render(template)?),
            Self::Number(template) => number(&quoted(), fields.render(template)?)?,
            Self::Json(template) => json(&quoted(), &fields.render(template)?)?,
        })
    }
}

fn number(name: &str, text: String) -> Result<Attribute, RequestError> {
    if serde_json::from_str::<serde_json::Number>(&text).is_err() || text.trim() != text {
        return Err(RequestError::invalid(format!("{name} is not a number")));
    }
    Ok(Attribute::Number(text))
}

fn json(name: &str, text: &str) -> Result<Attribute, RequestError> {
    let document = Document::read(text);
    document.map(Attribute::Json).map_err(|NotJson| RequestError::invalid(format!("{name} is not JSON")))
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bool(is) => serializer.serialize_bool(*is),
            // A float would lose digits.
            Self::Number(number) => {
                serde_json::from_str::<&RawValue>(number).map_err(S::Error::custom)?.serialize(serializer)
            }
            Self::Json(document) => document.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::destination::service::tests::{faults, refused, shown};
    use crate::reason::Reason;

    const TEXT: &str = "sqs = { queue = 'http://q', body = { at = { json = '{text}' } } }";
    const NUMBER: &str = "sqs = { queue = 'http://q', body = { at = { number = '{text}' } } }";

    #[test]
    fn renders_members_as_text_number_boolean_and_json() {
        let body = shown(
            "sqs = { queue = 'http://q', body = { text = 'to \"{room}\"', empty = '', number = { number = '{topic_sequence_number}' },
             json = { json = '{\"{\"}\"in\": [{topic_sequence_number}]{\"}\"}' }, one = 1, half = 0.5, yes = true, none = '{token_id}' } }",
        );
        assert_eq!(
            body["body"],
            r#"{"empty":"","half":0.5,"json":{"in": [7]},"number":7,"one":1,"text":"to \"friends\"","yes":true}"#
        );
    }

    #[test]
    fn keeps_every_digit_of_number() {
        let settings =
            "sqs = { queue = 'http://q', body = { at = { number = '123456789012345678901234.50' } } }";
        assert_eq!(shown(settings)["body"], r#"{"at":123456789012345678901234.50}"#);
    }

    #[test]
    fn rejects_event_whose_text_is_not_number_or_json() {
        let invalid = |said: &str| (Reason::InvalidArgument, said.to_owned());
        for text in ["Hello", "1,5", "0x1", " 1", "1 2", "NaN"] {
            assert_eq!(refused(NUMBER, text), invalid("`at` is not a number"), "{text}");
        }
        for text in ["Hello", "{", "1 2", "{'a': 1}", r#"{"a": "\ud800"}"#] {
            assert_eq!(refused(TEXT, text), invalid("`at` is not JSON"), "{text}");
        }
    }

    #[test]
    fn rejects_invalid_values_at_load() {
        for (value, says) in [
            ("[1]", "expected \"event\", \"text\", or a table"),
            ("{ x = { number = 'a', json = 'b' } }", "expected"),
            ("{ a = { b = 'c' } }", "expected"),
            ("'texts'", "expected \"event\""),
            ("{ a = nan }", "the body is inf or nan; expected a finite number"),
            ("{ a = '{rom}' }", "has the unknown name `rom`; did you mean `room`?"),
            ("{ a = { number = 'abc' } }", "the body is not a number"),
            ("{ a = { json = '[' } }", "the body is not JSON"),
        ] {
            let told = faults(&format!("sqs = {{ queue = 'http://q', body = {value} }}"));
            assert!(told.len() == 1 && told[0].contains(says), "{value}: {told:#?}");
        }
    }

    #[test]
    fn renders_event_with_text_after_transforms() {
        let body = shown("sqs = { queue = 'http://q', body = 'event' }")["body"].as_str().unwrap().to_owned();
        let event = momento_webhook::Event::from_json(body.as_bytes()).unwrap();
        assert_eq!(
            (event.topic.as_str(), event.topic_sequence_number, event.text.as_str()),
            ("friends-publish", 7, "Hello")
        );
        assert_eq!(json!(event.token_id), json!(null));
    }
}
