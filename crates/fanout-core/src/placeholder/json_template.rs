//! JSON that is made of an event: each text in it is a template, and what the event brings cannot break out of it.

use serde_json::Value;

use super::{RenderError, Template, Values};

/// A JSON value in which texts are templates.
#[derive(Debug)]
pub(crate) struct JsonTemplate(Vec<Part>);

#[derive(Debug)]
enum Part {
    /// JSON as it is.
    Json(String),
    /// A string.
    Text(Template),
}

impl JsonTemplate {
    /// Returns the template that a value of a TOML file is; `read` reads each text in it.
    ///
    /// # Errors
    /// What `read` says, and values that JSON does not have.
    pub(crate) fn new(
        value: &Value,
        read: &impl Fn(&str) -> Result<Template, String>,
    ) -> Result<Self, String> {
        let mut template = Self(Vec::new());
        template.push(value, read)?;
        Ok(template)
    }

    /// A file is not nested deeply: its parser has a limit.
    fn push(
        &mut self,
        value: &Value,
        read: &impl Fn(&str) -> Result<Template, String>,
    ) -> Result<(), String> {
        match value {
            // There is no null in TOML: it is what is left of these.
            Value::Null => return Err("JSON has no inf and no nan".to_owned()),
            Value::Bool(_) | Value::Number(_) => self.push_json(&value.to_string()),
            Value::String(text) => {
                let template = read(text)?;
                match template.literal() {
                    Some(text) => self.push_json(&Value::from(text).to_string()),
                    None => self.0.push(Part::Text(template)),
                }
            }
            Value::Array(entries) => {
                for (number, entry) in entries.iter().enumerate() {
                    self.push_json(if number == 0 { "[" } else { "," });
                    self.push(entry, read)?;
                }
                self.push_json(if entries.is_empty() { "[]" } else { "]" });
            }
            // How the TOML library hands a date on to serde.
            Value::Object(members) if members.contains_key("$__toml_private_datetime") => {
                return Err("JSON has no dates; write it as text, in quotes".to_owned());
            }
            Value::Object(members) => {
                for (number, (name, member)) in members.iter().enumerate() {
                    self.push_json(if number == 0 { "{" } else { "," });
                    self.push_json(&Value::from(name.as_str()).to_string());
                    self.push_json(":");
                    self.push(member, read)?;
                }
                self.push_json(if members.is_empty() { "{}" } else { "}" });
            }
        }
        Ok(())
    }

    fn push_json(&mut self, json: &str) {
        match self.0.last_mut() {
            Some(Part::Json(before)) => before.push_str(json),
            _ => self.0.push(Part::Json(json.to_owned())),
        }
    }

    /// Makes the JSON, of at most `most` bytes.
    ///
    /// # Errors
    /// A value that the event lacks, and JSON that is too large.
    pub(crate) fn render(&self, values: &Values<'_>, most: usize) -> Result<String, RenderError> {
        let mut made = String::new();
        for part in &self.0 {
            match part {
                Part::Json(json) => made.push_str(json),
                Part::Text(template) => made.push_str(&Value::from(template.text(values, most)?).to_string()),
            }
            if made.len() > most {
                return Err(RenderError::TooLarge(most));
            }
        }
        Ok(made)
    }
}
