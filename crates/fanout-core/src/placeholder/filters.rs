//! Filters: what is done to the value of a placeholder before it is written.
//!
//! A filter that has the name of one of Jinja's has its signature too. A value that is not a text is written as JSON
//! first, except for `tojson` and `join`.

use std::borrow::Cow;

use serde_json::value::RawValue;
use unicode_segmentation::UnicodeSegmentation as _;

use super::fields::Value;
use super::json;

/// What a filter is called, how it is written, and what it does.
pub const FILTERS: [(&str, &str, &str); 8] = [
    (
        "cut",
        "cut(20, '…')",
        "at most 20 characters, as a reader counts them; what is cut ends with `…`, or nothing",
    ),
    (
        "default",
        "default('somebody')",
        "this in place of what is missing or empty: a text, a number, `true` or `false`",
    ),
    ("join", "join(', ')", "the entries of a JSON list in one text, with this between them"),
    ("lower", "lower", "every letter lower-case"),
    ("replace", "replace('old', 'new')", "every `old` replaced by `new`"),
    ("tojson", "tojson", "the value as JSON: a text in quotes, with its escapes"),
    ("trim", "trim", "no white space at either end"),
    ("upper", "upper", "every letter upper-case"),
];

/// A filter with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Cut { most: usize, end: String },
    Default(Argument),
    Join(String),
    Lower,
    Replace(String, String),
    ToJson,
    Trim,
    Upper,
}

/// An argument of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Text(String),
    /// A number, `true` or `false`.
    Json(String),
}

/// A filter makes more than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Filter {
    /// Returns the filter of this name with these arguments.
    ///
    /// # Errors
    /// An unknown name, or arguments of another number or type: what was expected.
    pub(super) fn new(name: &str, arguments: Vec<Argument>) -> Result<Self, String> {
        use Argument::{Json, Text};
        let mut arguments = arguments.into_iter();
        let given = (arguments.next(), arguments.next(), arguments.next());
        let filter = match (name, given) {
            ("cut", (Some(Json(most)), end @ (None | Some(Text(_))), None)) => {
                let end = if let Some(Text(end)) = end { end } else { String::new() };
                most.parse()
                    .ok()
                    .filter(|most| end.graphemes(true).count() < *most)
                    .map(|most| Self::Cut { most, end })
            }
            ("default", (Some(value), None, None)) => Some(Self::Default(value)),
            ("join", (Some(Text(between)), None, None)) => Some(Self::Join(between)),
            ("join", (None, ..)) => Some(Self::Join(String::new())),
            ("lower", (None, ..)) => Some(Self::Lower),
            ("replace", (Some(Text(old)), Some(Text(new)), None)) if !old.is_empty() => {
                Some(Self::Replace(old, new))
            }
            ("tojson", (None, ..)) => Some(Self::ToJson),
            ("trim", (None, ..)) => Some(Self::Trim),
            ("upper", (None, ..)) => Some(Self::Upper),
            _ => None,
        };
        filter.ok_or_else(|| {
            if let Some((_, usage, _)) = FILTERS.iter().find(|(known, ..)| *known == name) {
                return format!(
                    "gives the filter `{name}` other arguments than it takes: it is written `{usage}`"
                );
            }
            let known: Vec<_> = FILTERS.iter().map(|(name, ..)| format!("`{name}`")).collect();
            format!("has the unknown filter `{name}`; expected one of {}", known.join(", "))
        })
    }

    /// Applies it. What is missing stays missing, but for `default`.
    pub(super) fn apply<'v>(
        &'v self,
        value: Option<Value<'v>>,
        most: usize,
    ) -> Result<Option<Value<'v>>, TooLarge> {
        let value = match (self, value) {
            (Self::Default(argument), None) => return Ok(Some(argument.value())),
            (Self::Default(argument), Some(Value::Text(text))) if text.is_empty() => {
                return Ok(Some(argument.value()));
            }
            (Self::Default(_), value) | (_, value @ None) => return Ok(value),
            (_, Some(value)) => value,
        };
        let made = match (self, value) {
            (Self::ToJson, Value::Text(text)) => serde_json::Value::from(text).to_string(),
            (Self::Join(between), Value::Json(list)) if list.starts_with('[') => {
                match joined(&list, between, most)? {
                    Some(joined) => joined,
                    None => return Ok(None),
                }
            }
            (_, value) => self.of_text(value.into_text(), most)?,
        };
        if made.len() > most { Err(TooLarge) } else { Ok(Some(Value::Text(made.into()))) }
    }

    fn of_text(&self, text: Cow<'_, str>, most_bytes: usize) -> Result<String, TooLarge> {
        Ok(match self {
            Self::Cut { most, end } => cut(&text, *most, end),
            Self::Lower => text.to_lowercase(),
            Self::Replace(old, new) => {
                let grows = text.matches(old).count().saturating_mul(new.len().saturating_sub(old.len()));
                if text.len().saturating_add(grows) > most_bytes {
                    return Err(TooLarge);
                }
                text.replace(old, new)
            }
            Self::Trim => text.trim().to_owned(),
            Self::Upper => text.to_uppercase(),
            Self::Default(_) | Self::Join(_) | Self::ToJson => text.into_owned(),
        })
    }
}

impl Argument {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text.into()),
            Self::Json(json) => Value::Json(json.into()),
        }
    }
}

impl<'v> Value<'v> {
    /// Returns what is written of it.
    pub(super) fn into_text(self) -> Cow<'v, str> {
        match self {
            Self::Text(text) | Self::Json(text) => text,
        }
    }
}

/// Returns at most so many characters, as a reader counts them: nothing that is one to a reader is cut in two.
fn cut(text: &str, most: usize, end: &str) -> String {
    if text.graphemes(true).nth(most).is_none() {
        return text.to_owned();
    }
    text.graphemes(true).take(most - end.graphemes(true).count()).chain([end]).collect()
}

/// Returns the entries of a list in one text; nothing where one has half of a surrogate pair.
fn joined(list: &str, between: &str, most: usize) -> Result<Option<String>, TooLarge> {
    let Ok(entries) = serde_json::from_str::<Vec<&RawValue>>(list) else { return Ok(None) };
    let mut joined = String::new();
    for (number, entry) in entries.iter().map(|entry| entry.get()).enumerate() {
        let entry = if entry.starts_with('"') { json::string(entry) } else { Some(entry.into()) };
        let Some(entry) = entry else { return Ok(None) };
        let between = if number == 0 { "" } else { between };
        if joined.len() + between.len() + entry.len() > most {
            return Err(TooLarge);
        }
        joined.extend([between, &entry]);
    }
    Ok(Some(joined))
}
