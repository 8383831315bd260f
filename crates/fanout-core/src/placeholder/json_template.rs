//! JSON that is made of an event: each text in it is a template, and what the event brings cannot break out of it.

use serde_json::Value;

use super::{RenderError, Template, Values};

/// A JSON value in which texts are templates.
#[derive(Debug)]
pub(crate) struct JsonTemplate {
    value: Value,
    /// The templates, and where they stand: JSON Pointers.
    texts: Vec<(String, Template)>,
}

impl JsonTemplate {
    /// Returns the template that a value of a TOML file is; `read` reads each text in it.
    ///
    /// # Errors
    /// What `read` says, and values that JSON does not have.
    pub(crate) fn new(value: Value, read: impl Fn(&str) -> Result<Template, String>) -> Result<Self, String> {
        let (mut texts, mut open) = (Vec::new(), vec![(String::new(), &value)]);
        while let Some((at, value)) = open.pop() {
            match value {
                // There is no null in TOML: it is what is left of these.
                Value::Null => return Err("JSON has no inf and no nan".to_owned()),
                Value::Bool(_) | Value::Number(_) => {}
                Value::String(text) => texts.push((at, read(text)?)),
                Value::Array(entries) => {
                    let entries = entries.iter().enumerate();
                    open.extend(entries.map(|(number, entry)| (format!("{at}/{number}"), entry)));
                }
                // How the TOML library hands a date on to serde.
                Value::Object(members) if members.contains_key("$__toml_private_datetime") => {
                    return Err("JSON has no dates; write it as text, in quotes".to_owned());
                }
                Value::Object(members) => {
                    let step = |name: &str| name.replace('~', "~0").replace('/', "~1");
                    open.extend(members.iter().map(|(name, value)| (format!("{at}/{}", step(name)), value)));
                }
            }
        }
        // In the order of the file: what is missing first is told.
        texts.reverse();
        Ok(Self { value, texts })
    }

    /// Makes the JSON, of at most `most` bytes.
    ///
    /// # Errors
    /// A value that the event lacks, and JSON that is too large.
    pub(crate) fn render(&self, values: &Values<'_>, most: usize) -> Result<String, RenderError> {
        let mut made = self.value.clone();
        for (at, template) in &self.texts {
            if let Some(text) = made.pointer_mut(at) {
                *text = Value::from(template.text(values, most)?);
            }
        }
        let made = made.to_string();
        if made.len() > most { Err(RenderError::TooLarge(most)) } else { Ok(made) }
    }
}
