//! `template`: a new text, made of the event.
//!
//! ```toml
//! transforms = [{ template = { text = "{token_id | default('somebody')} in {room}: {text}" } }]
//! transforms = [{ template = { json = { from = "{token_id}", message = "{text}" } } }]
//! ```
//!
//! The placeholders are those of every text in a file: see [`placeholder`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Applying, Build, Context, Message, Settings, Transform, TransformError, Transformed};
use crate::placeholder::{self, JsonTemplate, RenderError, SyntaxError};
use crate::reason::Reason;

/// The most bytes that a template makes, unless `max_bytes` says otherwise: a message has 4 KB, unless an
/// account's limit was raised.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// The most that `max_bytes` may be: a whole webhook is not larger either.
const MOST_BYTES: usize = 256 * 1024;

/// A new text: one of `text` and `json` is needed.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateSettings {
    /// The text, with placeholders: `"{room}: {text}"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The text as JSON: a table or list whose texts have placeholders. What an event brings stays inside its string.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// The most bytes that it may make of a message, from 1 to 262144; 65536 where it is not given. A message
    /// that it would make more of fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
}

/// The settings, read.
#[derive(Debug)]
struct Template {
    content: Content,
    max_bytes: usize,
}

#[derive(Debug)]
enum Content {
    Text(placeholder::Template),
    Json(JsonTemplate),
}

impl Settings for TemplateSettings {
    const NAME: &'static str = "template";

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let max_bytes = self.max_bytes.unwrap_or(MAX_BYTES);
        if !(1..=MOST_BYTES).contains(&max_bytes) {
            return Err(format!("max_bytes is a number from 1 to {MOST_BYTES}"));
        }
        let content = match (self.text, self.json) {
            (Some(text), None) => Content::Text(with.template(&text)?),
            (None, Some(json)) => Content::Json(JsonTemplate::new(json, |text| with.template(text))?),
            _ => return Err("template needs one of text and json".to_owned()),
        };
        if let Content::Text(text) = &content
            && text.literal().is_some_and(|text| text.len() > max_bytes)
        {
            return Err(format!("the text alone is more than max_bytes, {max_bytes}"));
        }
        Ok(Arc::new(Template { content, max_bytes }))
    }
}

impl Build<'_> {
    /// Returns the template that a text of the settings is.
    ///
    /// # Errors
    /// What is wrong with it, and in which of its lines.
    pub(super) fn template(&self, text: &str) -> Result<placeholder::Template, String> {
        let place = if self.is_inside { placeholder::Place::Inside } else { placeholder::Place::Transform };
        placeholder::Template::read(text, self.captures, place).map_err(|SyntaxError { at, message }| {
            let line = text.get(..at.unwrap_or(0)).unwrap_or(text).matches('\n').count() + 1;
            format!("line {line} of the text {message}")
        })
    }
}

impl Transform for Template {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> Applying<'t> {
        Box::pin(async move {
            let values = message.values(context);
            let text = match &self.content {
                Content::Text(template) => template.text(&values, self.max_bytes)?.into_owned(),
                Content::Json(template) => template.render(&values, self.max_bytes)?,
            };
            Ok(Transformed::Message(message.with_text(text)))
        })
    }
}

impl From<RenderError> for TransformError {
    fn from(error: RenderError) -> Self {
        let reason = match error {
            RenderError::Missing(_) => Reason::InvalidArgument,
            RenderError::TooLarge(_) => Reason::TooLarge,
        };
        Self::new(reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::{faulty, stages, text, through, through_in};

    async fn failed(list: &str, text: &str) -> (Reason, String) {
        let error = through(&stages(list), text).await.unwrap_err();
        (error.reason, error.detail.into_owned())
    }

    #[tokio::test]
    async fn puts_the_text_as_it_is_now_into_a_frame() {
        let list = "['uppercase', { template = { text = '[{text}] {original} in {topic}' } }]";
        assert_eq!(
            text(list, "hi").await,
            format!("[HI] {} in topic", crate::testing::event("c", "t", 1).text)
        );
        let list = stages("[{ template = { text = '{room}: {text}' } }]");
        let made = through_in(&list, "", &[("room", "kitchen")], None).await.unwrap();
        assert_eq!(made, Transformed::Message(Message::new("kitchen: ")));
    }

    #[tokio::test]
    async fn makes_json_that_no_text_breaks_out_of() {
        let list = "[{ template = { json = { said = '{text}', in = ['{topic}', 1, true, {}, []], \"a\\\"b\" = { c = '{\"{\"}' } } } }]";
        assert_eq!(
            text(list, "\",\"x\":\"\n{text}").await,
            r#"{"a\"b":{"c":"{"},"in":["topic",1,true,{},[]],"said":"\",\"x\":\"\n{text}"}"#
        );
        let list = "[{ template = { json = { said = '{json.no}' } } }]";
        assert_eq!(
            failed(list, "{}").await,
            (Reason::InvalidArgument, "the event has no json.no".to_owned())
        );
        let list = "[{ template = { json = '{text}', max_bytes = 5 } }]";
        assert_eq!(text(list, "abc").await, "\"abc\"");
        assert_eq!(failed(list, "abcd").await.0, Reason::TooLarge);
    }

    #[tokio::test]
    async fn reads_no_template_in_a_text() {
        let twice = "[{ template = { text = '{text}' } }, { template = { text = '{text}' } }]";
        let evil = "{cache} {{ cache }} {% for a in text %} {text | upper";
        assert_eq!(text(twice, evil).await, evil);
    }

    #[tokio::test]
    async fn fails_on_what_the_event_lacks_and_on_too_much() {
        let list = "[{ template = { text = '{json.name}' } }]";
        assert_eq!(
            failed(list, "{}").await,
            (Reason::InvalidArgument, "the event has no json.name".to_owned())
        );
        assert_eq!(failed(list, "my secret").await.1, "the event has no json.name: its text is not JSON");
        let list = "[{ template = { text = '{text}!', max_bytes = 5 } }]";
        assert_eq!(text(list, "1234").await, "1234!");
        assert_eq!(
            failed(list, "12345").await,
            (Reason::TooLarge, "more than 5 bytes would be made of the event".to_owned())
        );
    }

    #[tokio::test]
    async fn knows_the_document_inside_of_json_only() {
        let list = stages(
            "[{ json = { pointer = '/m', transforms = [{ template = { text = '{document.from}: {text}' } }] } }]",
        );
        let made = through(&list, r#"{"from":"Ann","m":"hi"}"#).await.unwrap();
        assert_eq!(made, Transformed::Message(Message::new(r#"{"from":"Ann","m":"Ann: hi"}"#)));
        let told = faulty("[{ template = { text = '{document.from}' } }]").unwrap_err();
        assert!(told[0].1.contains("only in the transforms inside `json`"), "{told:?}");
    }

    #[test]
    fn refuses_settings_that_cannot_be_meant() {
        for (settings, says) in [
            (
                "text = 'a\n{roon}'",
                "line 2 of the text has the unknown name `roon`; expected one of `room`, `language_code`, `cache`",
            ),
            ("text = '{{ text }}'", "line 1 of the text has `{{`: write one brace"),
            ("text = 'x', json = {}", "template needs one of text and json"),
            ("max_bytes = 3", "template needs one of text and json"),
            ("text = 'x', max_bytes = 0", "from 1 to 262144"),
            ("text = 'x', max_bytes = 262145", "from 1 to 262144"),
            ("text = 'long', max_bytes = 3", "the text alone is more than max_bytes, 3"),
            ("json = { a = [nan] }", "JSON has no inf and no nan"),
            ("json = { a = 2024-01-01 }", "JSON has no dates"),
            ("json = { a = ['{rom}'] }", "has the unknown name `rom`"),
        ] {
            let settings = settings.replace("'a\n{roon}'", "\"a\\n{roon}\"");
            let told = faulty(&format!("[{{ template = {{ {settings} }} }}]")).unwrap_err();
            assert!(told.iter().any(|(_, message)| message.contains(says)), "{settings}: {told:?}");
        }
    }
}
