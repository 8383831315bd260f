//! What AWS destinations hand in, made of an event: texts, numbers, JSON.
//!
//! ```toml
//! body = "event"                                              # the event as JSON
//! body = "text"                                               # the text as it is
//! body = { room = "{room}", at = { number = "{event_timestamp}" }, text = "{text}", kind = "chat" }
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use toml::Spanned;

use super::aws::{Fields, RequestError};
use super::json::{Document, NoJson};
use crate::file::Texts;
use crate::placeholder::Template;
use crate::reason::Reason;
use crate::spanned::Span;

/// What is handed in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    /// The event as JSON, with the text as it has become.
    Event,
    /// That text alone.
    Text,
    /// A JSON object with these members.
    Object(Members),
}

/// Named values.
pub(super) type Members = BTreeMap<String, Value>;

/// How one of them is made.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Value {
    /// The same for every event.
    Fixed(Attribute),
    /// A text.
    Text(Template),
    /// A number.
    Number(Template),
    /// Whatever JSON says.
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

/// What is handed in.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "should be \"event\", \"text\", or a table of texts, numbers and booleans")]
pub(crate) enum ContentKeys {
    /// One of two.
    Named(Named),
    /// A JSON object with these members. One whose placeholders have no value is left out.
    Members(BTreeMap<String, ValueKeys>),
}

/// Which of two.
#[derive(Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Named {
    /// The event as JSON, with the text as it has become.
    Event,
    /// The text as it has become.
    Text,
}

/// A value: a text, which may have placeholders, a number, true or false.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "should be a text, a number, true or false, { number = \"a text\" } or { json = \"a text\" }"
)]
pub(crate) enum ValueKeys {
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A number that is made of the event.
    Number {
        /// What makes the number, as `{topic_sequence_number}`.
        number: String,
    },
    /// JSON that is made of the event.
    Json {
        /// What makes the JSON, as `{text}`.
        json: String,
    },
}

impl Content {
    /// The content that is given, or that which `default` says.
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

    /// What it becomes.
    ///
    /// # Errors
    /// When a member cannot be made.
    pub(super) fn render(&self, fields: &Fields<'_>) -> Result<String, RequestError> {
        Ok(match self {
            Self::Event => fields.event_json(),
            Self::Text => fields.text().to_owned(),
            // Names and values are texts under which there is nothing that JSON cannot say.
            Self::Object(members) => serde_json::to_string(&rendered(members, fields)?).unwrap_or_default(),
        })
    }

    /// The same where it has to be JSON, and, with `is_object`, an object.
    ///
    /// # Errors
    /// The same, and when the text is something else.
    pub(super) fn render_json(&self, fields: &Fields<'_>, is_object: bool) -> Result<String, RequestError> {
        let rendered = self.render(fields)?;
        if matches!(self, Self::Text) {
            let document = Document::read(&rendered);
            let is_an_object = || document.as_ref().is_ok_and(Document::is_object);
            if is_object && !is_an_object() {
                return Err(RequestError::invalid("the text is no JSON object"));
            }
            if document.is_err() {
                return Err(RequestError::invalid("the text is no JSON"));
            }
        }
        Ok(rendered)
    }
}

/// The values of an event; those that are made of what it does not have are left out.
///
/// # Errors
/// When one is not the number, or the JSON, that it should be.
pub(super) fn rendered(
    members: &Members,
    fields: &Fields<'_>,
) -> Result<BTreeMap<String, Attribute>, RequestError> {
    let mut rendered = BTreeMap::new();
    for (name, value) in members {
        match value.render(name, fields) {
            Ok(value) => drop(rendered.insert(name.clone(), value)),
            Err(RequestError::Missing(_)) => {}
            Err(unfit) => return Err(unfit),
        }
    }
    Ok(rendered)
}

impl Value {
    /// Those that are given.
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
            // A text with nothing in it is one too; only topics have to be named.
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
                texts.fault(
                    span.clone(),
                    format!("the {what} is no number that can be written; give one that is"),
                );
                return None;
            }
        };
        // What no event changes is looked at once.
        let never = match &value {
            Self::Number(template) => {
                template.literal().filter(|text| number(what, (*text).to_owned()).is_err()).map(|_| "number")
            }
            Self::Json(template) => {
                template.literal().filter(|text| json(what, text).is_err()).map(|_| "JSON")
            }
            Self::Fixed(_) | Self::Text(_) => None,
        };
        if let Some(never) = never {
            texts.fault(span.clone(), format!("the {what} is no {never}, whatever the event is"));
            return None;
        }
        Some(value)
    }

    /// The template in it.
    pub(super) const fn template(&self) -> Option<&Template> {
        match self {
            Self::Fixed(_) => None,
            Self::Text(template) | Self::Number(template) | Self::Json(template) => Some(template),
        }
    }

    /// What it becomes; `name` is what it is called.
    ///
    /// # Errors
    /// When the event lacks a field, or has the wrong thing in it.
    pub(super) fn render(&self, name: &str, fields: &Fields<'_>) -> Result<Attribute, RequestError> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => Attribute::Text(fields.render(template)?),
            Self::Number(template) => number(name, fields.render(template)?)?,
            Self::Json(template) => json(name, &fields.render(template)?)?,
        })
    }
}

fn number(name: &str, text: String) -> Result<Attribute, RequestError> {
    if serde_json::from_str::<serde_json::Number>(&text).is_err() || text.trim() != text {
        return Err(RequestError::invalid(format!("{name} is made no number of")));
    }
    Ok(Attribute::Number(text))
}

fn json(name: &str, text: &str) -> Result<Attribute, RequestError> {
    let document = Document::read(text);
    document
        .map(Attribute::Json)
        .map_err(|NoJson| RequestError::invalid(format!("{name} is made no JSON of")))
}

impl RequestError {
    pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { reason: Reason::InvalidArgument, detail: detail.into() }
    }

    pub(super) fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { reason: Reason::TooLarge, detail: detail.into() }
    }
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bool(is) => serializer.serialize_bool(*is),
            // As it was written: a number read into a float would lose digits.
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

    use crate::destination::aws::tests::{faults, refused, shown};
    use crate::reason::Reason;

    const TEXT: &str = "sqs = { queue = 'http://q', body = { at = { json = '{text}' } } }";
    const NUMBER: &str = "sqs = { queue = 'http://q', body = { at = { number = '{text}' } } }";

    #[test]
    fn members_are_texts_numbers_booleans_and_json() {
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
    fn digits_are_kept_as_they_are() {
        let settings =
            "sqs = { queue = 'http://q', body = { at = { number = '123456789012345678901234.50' } } }";
        assert_eq!(shown(settings)["body"], r#"{"at":123456789012345678901234.50}"#);
    }

    #[test]
    fn what_is_no_number_or_no_json_is_refused() {
        let invalid = |said: &str| (Reason::InvalidArgument, said.to_owned());
        for text in ["Hello", "1,5", "0x1", " 1", "1 2", "NaN"] {
            assert_eq!(refused(NUMBER, text), invalid("at is made no number of"), "{text}");
        }
        for text in ["Hello", "{", "1 2", "{'a': 1}", r#"{"a": "\ud800"}"#] {
            assert_eq!(refused(TEXT, text), invalid("at is made no JSON of"), "{text}");
        }
    }

    #[test]
    fn values_that_are_none_are_faults() {
        for (value, says) in [
            ("[1]", "should be \"event\", \"text\", or a table"),
            ("{ x = { number = 'a', json = 'b' } }", "should be"),
            ("{ a = { b = 'c' } }", "should be"),
            ("'texts'", "should be"),
            ("{ a = nan }", "is no number that can be written"),
            ("{ a = '{rom}' }", "has the unknown name `rom`; expected one of `room`"),
            ("{ a = { number = 'abc' } }", "is no number, whatever the event is"),
            ("{ a = { json = '[' } }", "is no JSON, whatever the event is"),
        ] {
            let told = faults(&format!("sqs = {{ queue = 'http://q', body = {value} }}"));
            assert!(told.len() == 1 && told[0].contains(says), "{value}: {told:#?}");
        }
    }

    #[test]
    fn the_event_has_the_text_as_it_has_become() {
        let body = shown("sqs = { queue = 'http://q', body = 'event' }")["body"].as_str().unwrap().to_owned();
        let event = momento_webhook::Event::from_json(body.as_bytes()).unwrap();
        assert_eq!(
            (event.topic.as_str(), event.topic_sequence_number, event.text.as_str()),
            ("friends-publish", 7, "Hello")
        );
        assert_eq!(json!(event.token_id), json!(null));
    }
}
