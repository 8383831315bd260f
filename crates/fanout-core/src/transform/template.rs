//! `template`: replaces the text by one made from the event.
//!
//! ```toml
//! transforms = [{ template = { text = "{token_id | default('guest')} in {room}: {text}" } }]
//! transforms = [{ template = { json = { from = "{token_id}", message = "{text}" } } }]
//! ```
//!
//! Placeholders are the same everywhere in a file: see [`placeholder`](crate::placeholder).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings, Transformed};
use crate::placeholder::{JsonTemplate, RenderError, Scope, SyntaxError, Template};
use crate::reason::{Failure, Reason};

/// The default of `max_bytes`. Momento accepts messages of 4 KB, or more if the limit of the account was raised.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// The largest `max_bytes`: the maximum size of a webhook.
const LARGEST_MAX_BYTES: usize = 256 * 1024;

/// Either `text` or `json` is needed.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateSettings {
    /// The new text, with placeholders: `"{room}: {text}"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The new text as JSON: a table or list whose texts can have placeholders. Values of the event are escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// The maximum size of the new text in bytes, from 1 to 262144. The transform fails for a larger one. Default: 65536.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
}

#[derive(Debug)]
struct Replacement {
    text: TextOrJson,
    max_bytes: usize,
}

#[derive(Debug)]
enum TextOrJson {
    Text(Template),
    Json(JsonTemplate),
}

impl TransformSettings for TemplateSettings {
    const NAME: &'static str = "template";

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let max_bytes = self.max_bytes.unwrap_or(MAX_BYTES);
        if !(1..=LARGEST_MAX_BYTES).contains(&max_bytes) {
            return Err(format!("`max_bytes` is {max_bytes}; expected 1 to {LARGEST_MAX_BYTES}"));
        }
        let text = match (self.text, self.json) {
            (Some(text), None) => TextOrJson::Text(with.template(&text)?),
            (None, Some(json)) => TextOrJson::Json(JsonTemplate::new(json, |text| with.template(text))?),
            _ => return Err("`template` needs either `text` or `json`".to_owned()),
        };
        if let TextOrJson::Text(text) = &text
            && text.literal().is_some_and(|text| text.len() > max_bytes)
        {
            return Err(format!("`text` alone has more bytes than `max_bytes`, which is {max_bytes}"));
        }
        Ok(Arc::new(Replacement { text, max_bytes }))
    }
}

impl Build<'_> {
    /// Parses a text of the settings as a template.
    ///
    /// # Errors
    /// If the text is invalid: the line and the fault.
    pub(super) fn template(&self, text: &str) -> Result<Template, String> {
        let scope = if self.is_inside { Scope::Inside } else { Scope::Transform };
        Template::read(text, self.captures, scope).map_err(|SyntaxError { at, message }| {
            let before = text.get(..at.unwrap_or(0)).expect("an error is at a character of the text");
            let line = before.matches('\n').count() + 1;
            format!("line {line} of the text {message}")
        })
    }
}

impl Transform for Replacement {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t> {
        Box::pin(async move {
            let values = message.values(context);
            let text = match &self.text {
                TextOrJson::Text(template) => template.text(&values, self.max_bytes)?.into_owned(),
                TextOrJson::Json(template) => template.render(&values, self.max_bytes)?,
            };
            Ok(Transformed::Message(message.with_text(text)))
        })
    }
}

impl From<RenderError> for Failure {
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
    async fn renders_current_and_original_text() {
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
    async fn escapes_values_in_json() {
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
    async fn does_not_render_placeholders_of_the_text() {
        let twice = "[{ template = { text = '{text}' } }, { template = { text = '{text}' } }]";
        let evil = "{cache} {{ cache }} {% for a in text %} {text | upper";
        assert_eq!(text(twice, evil).await, evil);
    }

    #[tokio::test]
    async fn fails_if_value_is_missing_or_result_is_too_large() {
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
            (Reason::TooLarge, "the result has more than 5 bytes".to_owned())
        );
    }

    #[tokio::test]
    async fn accepts_document_only_inside_json() {
        let list = stages(
            "[{ json = { pointer = '/m', transforms = [{ template = { text = '{document.from}: {text}' } }] } }]",
        );
        let made = through(&list, r#"{"from":"Ann","m":"hi"}"#).await.unwrap();
        assert_eq!(made, Transformed::Message(Message::new(r#"{"from":"Ann","m":"Ann: hi"}"#)));
        let told = faulty("[{ template = { text = '{document.from}' } }]").unwrap_err();
        assert!(told[0].1.contains("only in the transforms inside `json`"), "{told:?}");
    }

    #[test]
    fn rejects_invalid_settings() {
        for (settings, says) in [
            ("text = 'a\n{roon}'", "line 2 of the text has the unknown name `roon`; did you mean `room`?"),
            ("text = '{{ text }}'", "line 1 of the text has `{{`; write one brace"),
            ("text = 'x', json = {}", "`template` needs either `text` or `json`"),
            ("max_bytes = 3", "`template` needs either `text` or `json`"),
            ("text = 'x', max_bytes = 0", "expected 1 to 262144"),
            ("text = 'x', max_bytes = 262145", "expected 1 to 262144"),
            ("text = 'long', max_bytes = 3", "`text` alone has more bytes than `max_bytes`, which is 3"),
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
