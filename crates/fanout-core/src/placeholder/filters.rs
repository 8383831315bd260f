//! Filters: functions that change the value of a placeholder.
//!
//! A filter with a name of Jinja's also has its signature. Except for `tojson` and `join`, filters get a value that is not a
//! text as its JSON.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;

use super::fields::FieldValue;
use crate::json::{JsonLevel, RawJson, quoted};
use crate::suggest::closest;

/// The name, the usage and the description of each filter.
pub const FILTERS: [(&str, &str, &str); 8] = [
    ("cut", "cut(20, '…')", "at most 20 characters; a text that was cut ends with `…`, which counts"),
    (
        "default",
        "default('guest')",
        "a text, a number, `true` or `false` in place of a missing or empty value",
    ),
    ("join", "join(', ')", "the entries of a JSON list as one text, with `, ` between them"),
    ("lower", "lower", "all letters in lower case"),
    ("replace", "replace('old', 'new')", "every `old` replaced by `new`"),
    ("tojson", "tojson", "the value as JSON; a text gets quotes and escapes"),
    ("trim", "trim", "without the white space at both ends"),
    ("upper", "upper", "all letters in upper case"),
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

/// Error for a result of a filter that exceeds the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Filter {
    /// Returns the filter called `name` with these arguments.
    ///
    /// # Errors
    /// If the name is unknown, or the number or types of the arguments are wrong: what was expected.
    pub(super) fn new(name: &str, arguments: Vec<Argument>) -> Result<Self, String> {
        use Argument::{Json, Text};
        let mut arguments = arguments.into_iter();
        let arguments = (arguments.next(), arguments.next(), arguments.next());
        let filter = match (name, arguments) {
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
                return format!("has the filter `{name}` with invalid arguments; expected `{usage}`");
            }
            if let Some(meant) = closest(name, FILTERS.iter().map(|(name, ..)| *name)) {
                return format!("has the unknown filter `{name}`; did you mean `{meant}`?");
            }
            let known: Vec<_> = FILTERS.iter().map(|(name, ..)| format!("`{name}`")).collect();
            format!("has the unknown filter `{name}`; expected one of {}", known.join(", "))
        })
    }

    /// Applies the filter to a value. Only `default` changes a missing value.
    pub(super) fn apply<'v>(
        &'v self,
        value: Option<FieldValue<'v>>,
        most: usize,
    ) -> Result<Option<FieldValue<'v>>, TooLarge> {
        let value = match (self, value) {
            (Self::Default(argument), None) => return Ok(Some(argument.value())),
            (Self::Default(argument), Some(FieldValue::Text(text))) if text.is_empty() => {
                return Ok(Some(argument.value()));
            }
            (Self::Default(_), value) | (_, value @ None) => return Ok(value),
            (_, Some(value)) => value,
        };
        let made = match (self, value) {
            (Self::ToJson, FieldValue::Text(text)) => quoted(&text),
            (Self::Join(between), FieldValue::Json(json)) => {
                match RawJson::read(&json).expect("the value is JSON").open() {
                    JsonLevel::List(entries) => match joined(entries, between, most)? {
                        Some(joined) => joined,
                        None => return Ok(None),
                    },
                    JsonLevel::Object(_) | JsonLevel::Scalar => json.to_string(),
                }
            }
            (_, value) => self.of_text(value.into_text(), most)?,
        };
        if made.len() > most { Err(TooLarge) } else { Ok(Some(FieldValue::Text(made.into()))) }
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
    fn value(&self) -> FieldValue<'_> {
        match self {
            Self::Text(text) => FieldValue::Text(text.into()),
            Self::Json(json) => FieldValue::Json(json.into()),
        }
    }
}

impl<'v> FieldValue<'v> {
    /// Returns the text that a placeholder renders.
    pub(super) fn into_text(self) -> Cow<'v, str> {
        match self {
            Self::Text(text) | Self::Json(text) => text,
        }
    }
}

/// Returns at most `most` characters (extended grapheme clusters). A text that was cut ends with `end`.
fn cut(text: &str, most: usize, end: &str) -> String {
    if text.graphemes(true).nth(most).is_none() {
        return text.to_owned();
    }
    text.graphemes(true).take(most - end.graphemes(true).count()).chain([end]).collect()
}

/// Returns the entries of a list as one text, with `between` between them. Returns `None` if an entry has half of a
/// surrogate pair.
fn joined(entries: Vec<RawJson<'_>>, between: &str, most: usize) -> Result<Option<String>, TooLarge> {
    let mut joined = String::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let entry = if entry.is_string() { entry.string() } else { Some(entry.as_str().into()) };
        let Some(entry) = entry else { return Ok(None) };
        let between = if index == 0 { "" } else { between };
        if joined.len() + between.len() + entry.len() > most {
            return Err(TooLarge);
        }
        joined.extend([between, &entry]);
    }
    Ok(Some(joined))
}
