//! Placeholders: `{name}` in a text of a file stands for a value of an event. The syntax is the same everywhere.
//!
//! ```text
//! {room}                              a capture of the route, or a field of the event
//! {json.from}  {json.items.0.name}    a member of a text that is JSON
//! {json."first name"}                 a member with other characters in its name
//! {token_id | default('guest')}    filters, from left to right
//! {'{'}                               the quoted text
//! ```
//!
//! Texts are parsed when the file is read. Unknown names and filters, invalid arguments, and the syntaxes of other tools are
//! rejected then. Values of an event are never parsed. Time and size of each result are bounded.
//!
//! | module | purpose |
//! | --- | --- |
//! | `parse` | parses a text into pieces |
//! | [`fields`] | the table of an event's fields |
//! | [`filters`] | the functions that change a value |
//! | `json_template` | JSON whose texts are templates |

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

pub mod fields;
pub mod filters;
mod json_template;
mod parse;

pub use fields::{FIELDS, Field, Scope, Values};
pub use filters::FILTERS;
pub(crate) use json_template::JsonTemplate;
pub use parse::SyntaxError;
pub(crate) use parse::{Piece, Placeholder, parse};

use fields::FieldValue;
use filters::Filter;

use crate::json::RawJson;
use crate::suggest::closest;

/// The name of the placeholder for an entry of the list of `for_each`.
pub const EACH: &str = "each";

/// The maximum size of a name in bytes.
const MAX_NAME_BYTES: usize = momento_webhook::event::MAX_NAME;
/// The maximum size in bytes of a value in a request: no service accepts more.
const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The text as it was written.
    source: String,
    pieces: Vec<Piece>,
}

/// Error for an event whose value is not a list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListError {
    /// The event lacks this value.
    Missing(String),
    /// The value is not a list.
    NotAList,
    /// An entry is not a text or a number, or is empty.
    Entry,
    /// The list has more entries than the caller accepts.
    TooLong,
}

/// A part of a [`Template`], for a caller that renders it with values other than those of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'t> {
    /// A text.
    Text(&'t str),
    /// A placeholder.
    Value {
        /// The name: `json`.
        name: &'t str,
        /// The members behind it.
        members: &'t [String],
        /// The name with its members as written: `json.from`.
        path: &'t str,
        /// True if a filter changes the value.
        has_filters: bool,
        /// The byte offset of its opening brace.
        at: usize,
    },
}

/// Writes the source.
impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

/// Error for an event whose values do not make a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The event lacks this value, or it is empty.
    #[error("the event has no {0}")]
    Missing(String),
    /// The text has more bytes than this limit.
    #[error("the result has more than {0} bytes")]
    TooLarge(usize),
}

impl Template {
    /// Parses a text with any names.
    ///
    /// # Errors
    /// If the syntax is invalid.
    pub fn new(source: impl Into<String>) -> Result<Self, SyntaxError> {
        Self::parse(source.into(), false)
    }

    /// Parses a name with any placeholders. A name has no wildcards and parameters of other syntaxes.
    ///
    /// # Errors
    /// If the syntax is invalid.
    pub fn new_name(source: impl Into<String>) -> Result<Self, SyntaxError> {
        Self::parse(source.into(), true)
    }

    /// Parses a text of `scope`, in a route with these captures.
    ///
    /// # Errors
    /// If the syntax is invalid, or a name is unknown there; outside of transforms, if the text is empty.
    pub fn read(source: impl Into<String>, captures: &[&str], scope: Scope) -> Result<Self, SyntaxError> {
        let template = Self::parse(source.into(), scope == Scope::Name)?;
        if template.source.is_empty() && scope < Scope::Transform {
            return Err(SyntaxError::empty());
        }
        if scope == Scope::Name && template.literal().is_some_and(|name| name.len() > MAX_NAME_BYTES) {
            return Err(SyntaxError::new(0, format!("has more than {MAX_NAME_BYTES} bytes")));
        }
        for placeholder in template.placeholders() {
            check(placeholder, captures, scope)
                .map_err(|message| SyntaxError::new(placeholder.at, message))?;
        }
        Ok(template)
    }

    fn parse(source: String, is_name: bool) -> Result<Self, SyntaxError> {
        let pieces = parse(&source, is_name)?;
        Ok(Self { source, pieces })
    }

    /// Returns a template that renders exactly `text`, including its braces.
    #[must_use]
    pub fn verbatim(text: &str) -> Self {
        let quoted =
            |char| if matches!(char, '{' | '}') { format!("{{'{char}'}}") } else { char.to_string() };
        let source = text.chars().map(quoted).collect();
        Self { source, pieces: vec![Piece::Text(text.to_owned())] }
    }

    /// Returns its text, if it has no placeholders.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Returns the names of its fields and captures, in order, with repetitions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.placeholders().map(|placeholder| placeholder.name.as_str())
    }

    /// Returns the values without a default that an event may lack.
    pub fn lacking(&self) -> impl Iterator<Item = &str> {
        let may_lack = |placeholder: &&Placeholder| {
            let is_optional = Field::named(&placeholder.name).is_some_and(|field| field.is_optional);
            is_optional && !placeholder.filters.iter().any(|filter| matches!(filter, Filter::Default(_)))
        };
        self.placeholders().filter(may_lack).map(|placeholder| placeholder.path.as_str())
    }

    /// Returns its parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Part::Text(text),
            Piece::Placeholder(Placeholder { name, members, path, filters, at, .. }) => {
                Part::Value { name, members, path, has_filters: !filters.is_empty(), at: *at }
            }
        })
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

    /// Parses a list: one placeholder of a value that can be a list, such as `{lookup.rooms}`.
    ///
    /// # Errors
    /// If the syntax is invalid, or the text is anything else.
    pub fn read_list(source: impl Into<String>, captures: &[&str]) -> Result<Self, SyntaxError> {
        let template = Self::read(source, captures, Scope::Request)?;
        match &*template.pieces {
            [Piece::Placeholder(one)]
                if one.filters.is_empty()
                    && Field::named(&one.name).is_some_and(|field| field.has_members) =>
            {
                Ok(template)
            }
            _ => Err(SyntaxError::new(
                0,
                "is not a list; expected one placeholder without filters, such as `{lookup.rooms}` or `{json.rooms}`",
            )),
        }
    }

    /// Returns the entries of a list that [`read_list`](Self::read_list) has read: at most `max`, none of them empty.
    pub(crate) fn list<'v>(
        &'v self,
        values: &Values<'v>,
        max: usize,
    ) -> Result<Vec<Cow<'v, str>>, ListError> {
        let mut placeholders = self.placeholders();
        let Placeholder { name, members, path, .. } = placeholders.next().expect("a list is one placeholder");
        let json = match values.get(name, members) {
            Some(FieldValue::Json(json)) => json,
            Some(FieldValue::Text(_)) => return Err(ListError::NotAList),
            None => return Err(ListError::Missing(missing(name, path, values))),
        };
        let entries: Vec<Box<RawValue>> = serde_json::from_str(&json).map_err(|_| ListError::NotAList)?;
        if entries.len() > max {
            return Err(ListError::TooLong);
        }
        let entry = |entry: Box<RawValue>| match entry.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(entry.get()).ok().filter(|text: &String| !text.is_empty()),
            Some(b'-' | b'0'..=b'9') => Some(entry.get().to_owned()),
            _ => None,
        };
        let entries: Option<Vec<_>> = entries.into_iter().map(|of| entry(of).map(Cow::Owned)).collect();
        entries.ok_or(ListError::Entry)
    }

    /// Renders a name.
    ///
    /// # Errors
    /// If a value is missing or empty, because different names would become equal; if the name is too long.
    pub fn name(&self, values: &Values<'_>) -> Result<Cow<'_, str>, RenderError> {
        self.render(values, false, MAX_NAME_BYTES)
    }

    /// Renders a value of a request.
    ///
    /// # Errors
    /// If a value is missing or empty, or the result is too large.
    pub fn part(&self, values: &Values<'_>) -> Result<Cow<'_, str>, RenderError> {
        self.render(values, false, MAX_VALUE_BYTES)
    }

    /// Renders a text of at most `max_bytes`. Values may be empty.
    ///
    /// # Errors
    /// If a value is missing, or the text is too large.
    pub fn text(&self, values: &Values<'_>, max_bytes: usize) -> Result<Cow<'_, str>, RenderError> {
        self.render(values, true, max_bytes)
    }

    fn render(
        &self,
        values: &Values<'_>,
        may_be_empty: bool,
        max_bytes: usize,
    ) -> Result<Cow<'_, str>, RenderError> {
        if let Some(text) = self.literal() {
            return if text.len() > max_bytes {
                Err(RenderError::TooLarge(max_bytes))
            } else {
                Ok(Cow::Borrowed(text))
            };
        }
        let mut rendered = String::new();
        for piece in &self.pieces {
            let text = match piece {
                Piece::Text(text) => Cow::Borrowed(text.as_str()),
                Piece::Placeholder(placeholder) => placeholder.render(values, may_be_empty, max_bytes)?,
            };
            if rendered.len() + text.len() > max_bytes {
                return Err(RenderError::TooLarge(max_bytes));
            }
            rendered.push_str(&text);
        }
        Ok(Cow::Owned(rendered))
    }
}

/// Returns true if a name is one text, without placeholders, and without the wildcards and parameters of other syntaxes.
#[must_use]
pub fn is_literal(name: &str) -> bool {
    let is_list = name.starts_with('[') || name.ends_with(']');
    !is_list && parse(name, true).is_ok_and(|pieces| matches!(&*pieces, [Piece::Text(text)] if text == name))
}

/// Returns the parameters of other syntaxes in a text, such as `$room`, whose names are known: captures, and fields of an
/// event. Each has the placeholder that was probably meant.
#[must_use]
pub fn foreign_parameters(text: &str, captures: &[&str]) -> Vec<(String, String)> {
    let is_known = |name: &str| {
        let name = name.split('.').next().unwrap_or_default();
        captures.contains(&name) || Field::named(name).is_some()
    };
    let foreign = parse::foreign_parameters(text).filter(|foreign| is_known(&foreign.name));
    foreign.map(|foreign| (foreign.written.to_owned(), format!("{{{}}}", foreign.name))).collect()
}

/// Returns the first placeholder in a text whose name is known: a capture, or a field of an event.
#[must_use]
pub fn known_placeholder(text: &str, captures: &[&str]) -> Option<String> {
    let pieces = parse(text, false).ok()?;
    pieces.into_iter().find_map(|piece| match piece {
        Piece::Placeholder(Placeholder { name, inside, .. }) => (captures.contains(&name.as_str())
            || Field::named(&name).is_some())
        .then(|| format!("{{{inside}}}")),
        Piece::Text(_) => None,
    })
}

impl Placeholder {
    fn render<'v>(
        &'v self,
        values: &Values<'v>,
        may_be_empty: bool,
        max_bytes: usize,
    ) -> Result<Cow<'v, str>, RenderError> {
        let mut value = values.get(&self.name, &self.members);
        for filter in &self.filters {
            value = filter
                .apply(value, max_bytes)
                .map_err(|filters::TooLarge| RenderError::TooLarge(max_bytes))?;
        }
        match value.map(FieldValue::into_text) {
            Some(text) if may_be_empty || !text.is_empty() => Ok(text),
            _ => Err(RenderError::Missing(missing(&self.name, &self.path, values))),
        }
    }
}

/// Describes a value that an event lacks.
fn missing(name: &str, path: &str, values: &Values<'_>) -> String {
    if name == "json" && RawJson::read(values.text).is_none() {
        format!("{path}: its text is not JSON")
    } else {
        path.to_owned()
    }
}

/// Rejects a name that is unknown in `scope`.
fn check(placeholder: &Placeholder, captures: &[&str], scope: Scope) -> Result<(), String> {
    let Placeholder { name, members, path, .. } = placeholder;
    let field = Field::named(name);
    if field.is_none() && !captures.contains(&name.as_str()) {
        if name == EACH {
            return Err(format!(
                "has `{{{name}}}`, which exists only in the `topic` and the `cache` of a destination with `for_each`"
            ));
        }
        let fields = FIELDS.iter().filter(|field| field.known <= scope).map(|field| field.name);
        let known: Vec<_> = captures.iter().copied().chain(fields).collect();
        if let Some(meant) = closest(name, known.iter().copied()) {
            return Err(format!("has the unknown name `{name}`; did you mean `{meant}`?"));
        }
        let known: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
        return Err(format!("has the unknown name `{name}`; expected one of {}", known.join(", ")));
    }
    if !members.is_empty() && !field.is_some_and(|field| field.has_members) {
        return Err(format!(
            "has `{{{path}}}`, but `{name}` has no members; a member of a JSON text is `{{json.member}}`"
        ));
    }
    match field.map(|field| field.known) {
        Some(Scope::Request) if scope < Scope::Request => {
            Err(format!("has `{{{name}}}`, which is unknown here: names are made before the transforms run"))
        }
        Some(Scope::Inside) if scope < Scope::Inside => {
            Err(format!("has `{{{name}}}`, which exists only in the transforms inside `json`"))
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
