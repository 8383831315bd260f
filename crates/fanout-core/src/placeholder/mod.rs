//! `{name}`: texts that are made of an event, in one language wherever a file has such a text.
//!
//! ```text
//! {room}                              a capture of the route, or a field of the event
//! {json.from}  {json.items.0.name}    a member of the text, where it is JSON
//! {json."first name"}                 a member with other characters in its name
//! {token_id | default('somebody')}    filters, from left to right
//! {'{'}                               a quoted text is that text
//! ```
//!
//! A text is read when the file is: an unknown name or filter, an argument of the wrong type and what only another
//! syntax means are refused then. What an event brings is never read as such a text. The time and the result of each are
//! bounded.
//!
//! | module | purpose |
//! | --- | --- |
//! | `parse` | a text, read into pieces |
//! | [`fields`] | the one table of an event's fields |
//! | [`filters`] | what is done to a value before it is written |
//! | `json` | one member of a JSON text |
//! | `json_template` | JSON in which texts are templates |

use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

pub mod fields;
pub mod filters;
pub(crate) mod json;
mod json_template;
mod parse;

pub use fields::{FIELDS, Field, Place, Values};
pub use filters::FILTERS;
pub(crate) use json_template::JsonTemplate;
pub use parse::SyntaxError;
pub(crate) use parse::{Piece, Placeholder, parse};

use fields::Value;
use filters::Filter;

/// The most bytes of a name.
const MOST_OF_NAME: usize = momento_webhook::event::MAX_NAME;
/// The most bytes of what is sent to a destination: none takes more.
const MOST_OF_REQUEST: usize = 1024 * 1024;

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As it was written.
    source: String,
    pieces: Vec<Piece>,
}

/// As it was written.
impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

/// An event from which a text cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// It does not have this, or has nothing in it.
    #[error("the event has no {0}")]
    Missing(String),
    /// The text would have more bytes than it may.
    #[error("more than {0} bytes would be made of the event")]
    TooLarge(usize),
}

impl Template {
    /// Reads a text whose names may be any.
    ///
    /// # Errors
    /// A text that cannot be read.
    pub fn new(source: impl Into<String>) -> Result<Self, SyntaxError> {
        Self::parse(source.into(), false)
    }

    /// Reads a text that stands at `place` of a route with these captures.
    ///
    /// # Errors
    /// A text that cannot be read, or names what is not known there; outside of transforms, an empty text too.
    pub fn read(source: impl Into<String>, captures: &[&str], place: Place) -> Result<Self, SyntaxError> {
        let template = Self::parse(source.into(), place == Place::Name)?;
        if template.source.is_empty() && place < Place::Transform {
            return Err(SyntaxError::empty());
        }
        if place == Place::Name && template.literal().is_some_and(|name| name.len() > MOST_OF_NAME) {
            return Err(SyntaxError::new(0, format!("has more than {MOST_OF_NAME} bytes")));
        }
        for placeholder in template.placeholders() {
            check(placeholder, captures, place)
                .map_err(|message| SyntaxError::new(placeholder.at, message))?;
        }
        Ok(template)
    }

    fn parse(source: String, is_name: bool) -> Result<Self, SyntaxError> {
        let pieces = parse(&source, is_name)?;
        Ok(Self { source, pieces })
    }

    /// Returns a template of this very text, braces and all.
    #[must_use]
    pub fn verbatim(text: &str) -> Self {
        let quoted =
            |char| if matches!(char, '{' | '}') { format!("{{'{char}'}}") } else { char.to_string() };
        let source = text.chars().map(quoted).collect();
        Self { source, pieces: vec![Piece::Text(text.to_owned())] }
    }

    /// Returns the one text that it makes, if it has no placeholders.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Returns the fields and captures that it is made of, in order; the same as often as it is there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.placeholders().map(|placeholder| placeholder.name.as_str())
    }

    /// Returns the first thing that it needs and an event may lack.
    #[must_use]
    pub fn lacking(&self) -> Option<&str> {
        let may_lack = |placeholder: &&Placeholder| {
            let is_optional = Field::named(&placeholder.name).is_some_and(|field| field.is_optional);
            is_optional && !placeholder.filters.iter().any(|filter| matches!(filter, Filter::Default(_)))
        };
        self.placeholders().find(may_lack).map(|placeholder| placeholder.path.as_str())
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder(placeholder) => Some(placeholder),
            Piece::Text(_) => None,
        })
    }

    /// Makes a name.
    ///
    /// # Errors
    /// A value that the event lacks, or that is empty: names that differ would become the same. A name that is too long.
    pub fn name(&self, values: &Values<'_>) -> Result<Cow<'_, str>, RenderError> {
        self.render(values, false, MOST_OF_NAME)
    }

    /// Makes a part of what is sent to a destination.
    ///
    /// # Errors
    /// The same.
    pub fn part(&self, values: &Values<'_>) -> Result<Cow<'_, str>, RenderError> {
        self.render(values, false, MOST_OF_REQUEST)
    }

    /// Makes a text of at most `most` bytes. A value may be empty.
    ///
    /// # Errors
    /// A value that the event lacks, and a text that is too large.
    pub fn text(&self, values: &Values<'_>, most: usize) -> Result<Cow<'_, str>, RenderError> {
        self.render(values, true, most)
    }

    fn render(
        &self,
        values: &Values<'_>,
        may_be_empty: bool,
        most: usize,
    ) -> Result<Cow<'_, str>, RenderError> {
        if let Some(text) = self.literal() {
            return if text.len() > most {
                Err(RenderError::TooLarge(most))
            } else {
                Ok(Cow::Borrowed(text))
            };
        }
        let mut made = String::new();
        for piece in &self.pieces {
            let text = match piece {
                Piece::Text(text) => Cow::Borrowed(text.as_str()),
                Piece::Placeholder(placeholder) => placeholder.render(values, may_be_empty, most)?,
            };
            if made.len() + text.len() > most {
                return Err(RenderError::TooLarge(most));
            }
            made.push_str(&text);
        }
        Ok(Cow::Owned(made))
    }
}

impl Placeholder {
    fn render<'v>(
        &'v self,
        values: &Values<'v>,
        may_be_empty: bool,
        most: usize,
    ) -> Result<Cow<'v, str>, RenderError> {
        let mut value = values.get(&self.name, &self.members);
        for filter in &self.filters {
            value = filter.apply(value, most).map_err(|filters::TooLarge| RenderError::TooLarge(most))?;
        }
        match value.map(Value::into_text) {
            Some(text) if may_be_empty || !text.is_empty() => Ok(text),
            _ if self.name == "json" && json::member(values.text, &[]).is_none() => {
                Err(RenderError::Missing(format!("{}: its text is not JSON", self.path)))
            }
            _ => Err(RenderError::Missing(self.path.clone())),
        }
    }
}

/// Refuses what is not known at a place.
fn check(placeholder: &Placeholder, captures: &[&str], place: Place) -> Result<(), String> {
    let Placeholder { name, members, path, .. } = placeholder;
    let field = Field::named(name);
    if field.is_none() && !captures.contains(&name.as_str()) {
        let fields = FIELDS.iter().filter(|field| field.known <= place).map(|field| field.name);
        let known: Vec<_> = captures.iter().copied().chain(fields).map(|name| format!("`{name}`")).collect();
        return Err(format!("has the unknown name `{name}`; expected one of {}", known.join(", ")));
    }
    if !members.is_empty() && !field.is_some_and(|field| field.has_members) {
        return Err(format!(
            "has `{{{path}}}`, and `{name}` has no members; those of a JSON text are `{{json.member}}`"
        ));
    }
    match field.map(|field| field.known) {
        Some(Place::Request) if place < Place::Request => {
            Err(format!("has `{{{name}}}`, which is not known yet: a name is made before the transforms"))
        }
        Some(Place::Inside) if place < Place::Inside => {
            Err(format!("has `{{{name}}}`, which there is only in the transforms inside `json`"))
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests;
