//! JSON whose texts are templates. Values of an event are escaped, so that they stay inside their strings.

use serde_json::Value;

use super::{RenderError, Template, Values};

/// A JSON value whose texts are templates.
#[derive(Debug)]
pub(crate) struct JsonTemplate {
    value: Value,
    /// The JSON Pointers of the texts, and their templates.
    texts: Vec<(String, Template)>,
}

impl JsonTemplate {
    /// Parses a value of a TOML file. `read` parses each text in it.
    ///
    /// # Errors
    /// The errors of `read`; values that JSON does not have.
    pub(crate) fn new(value: Value, read: impl Fn(&str) -> Result<Template, String>) -> Result<Self, String> {
        let (mut texts, mut open) = (Vec::new(), vec![(String::new(), &value)]);
        while let Some((at, value)) = open.pop() {
            match value {
                // TOML has no null. serde reads these two as null.
                Value::Null => return Err("JSON has no inf and no nan".to_owned()),
                Value::Bool(_) | Value::Number(_) => {}
                Value::String(text) => texts.push((at, read(text)?)),
                Value::Array(entries) => {
                    let entries = entries.iter().enumerate();
                    open.extend(entries.map(|(number, entry)| (format!("{at}/{number}"), entry)));
                }
                // The TOML library represents a date for serde like this.
                Value::Object(members) if members.contains_key("$__toml_private_datetime") => {
                    return Err("JSON has no dates; write it as text, in quotes".to_owned());
                }
                Value::Object(members) => {
                    let step = |name: &str| name.replace('~', "~0").replace('/', "~1");
                    open.extend(members.iter().map(|(name, value)| (format!("{at}/{}", step(name)), value)));
                }
            }
        }
        // The order of the file: an error names the first missing value.
        texts.reverse();
        Ok(Self { value, texts })
    }

    /// Renders the JSON, with at most `max_bytes`.
    ///
    /// # Errors
    /// If a value is missing, or the JSON is too large.
    pub(crate) fn render(&self, values: &Values<'_>, max_bytes: usize) -> Result<String, RenderError> {
        let mut rendered = self.value.clone();
        for (at, template) in &self.texts {
            let text = rendered.pointer_mut(at).expect("the pointer was made from this value");
            *text = Value::from(template.text(values, max_bytes)?);
        }
        let rendered = rendered.to_string();
        if rendered.len() > max_bytes { Err(RenderError::TooLarge(max_bytes)) } else { Ok(rendered) }
    }
}
