//! Reading TOML so that every fault is found, and each with its place.
//!
//! serde stops at the first fault. Here a table is read once more without the entry that was at fault,
//! until nothing new is found: who writes a file gets the whole list in one go.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Bytes of the document.
pub type Span = Range<usize>;

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub span: Span,
    /// What, and what would be right.
    pub message: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

/// A table of a document.
#[derive(Clone, Debug, Default)]
pub struct Given<'i> {
    table: DeTable<'i>,
    span: Span,
}

impl<'i> Given<'i> {
    /// A whole document.
    ///
    /// # Errors
    /// Every place at which it is not TOML.
    pub fn document(text: &'i str) -> Result<Self, Vec<Fault>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { span: document.span(), table: document.into_inner() });
        }
        let mut faults: Vec<_> = errors.iter().map(|error| fault(error, &document.span())).collect();
        let is_unclosed = |fault: &Fault| {
            ["unclosed array,", "unclosed inline table,"].iter().any(|says| fault.message.starts_with(says))
        };
        if faults.iter().any(is_unclosed)
            && let Some(cause) = unclosed(text)
        {
            // All that stands behind it is wrong only because of it.
            faults.retain(|fault| fault.span.start < cause.span.start);
            faults.push(cause);
        }
        Err(faults)
    }

    /// A table with nothing in it, where something else stands for one.
    #[must_use]
    pub fn nothing(span: Span) -> Self {
        Self { table: DeTable::new(), span }
    }

    /// The table that `value` is.
    ///
    /// # Errors
    /// When it is something else.
    pub fn table(value: Spanned<DeValue<'i>>) -> Result<Self, Fault> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(Self { table, span }),
            other => Err(Fault::new(span, format!("is {}, and should be a table", kind(&other)))),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Takes the entry `key` out of it, to be read in another way than the rest.
    pub fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'i>>> {
        self.table.remove(key)
    }

    /// The entries that are left.
    pub fn into_entries(self) -> impl Iterator<Item = (Spanned<String>, Spanned<DeValue<'i>>)> {
        self.table
            .into_iter()
            .map(|(key, value)| (Spanned::new(key.span(), key.into_inner().into_owned()), value))
    }

    /// What is left of it, as a `T`.
    ///
    /// # Errors
    /// Every entry that is wrong, and what is missing.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Vec<Fault>> {
        match self.read_most() {
            (Some(read), faults) if faults.is_empty() => Ok(read),
            (_, faults) => Err(faults),
        }
    }

    /// What is left of it, as a `T` without the entries that are wrong, where it can do without them; and every
    /// entry that is wrong, and what is missing.
    #[must_use]
    pub fn read_most<T: DeserializeOwned>(mut self) -> (Option<T>, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut removed = Vec::new();
        loop {
            let value = Spanned::new(self.span.clone(), DeValue::Table(self.table.clone()));
            let error = match T::deserialize(ValueDeserializer::from(value)) {
                Ok(read) => return (Some(read), faults),
                Err(error) => error,
            };
            // What is missing because it was wrong was told already.
            let is_told = |key: &String| plain(error.message()) == missing(key);
            if !removed.iter().any(is_told) {
                faults.push(fault(&error, &self.span));
            }
            match self.entry_at(error.span()) {
                Some(key) => {
                    self.table.remove(key.as_str());
                    removed.push(key);
                }
                None => return (None, faults),
            }
        }
    }

    /// The key of the entry that has `place` in its key or its value.
    fn entry_at(&self, place: Option<Span>) -> Option<String> {
        let place = place?;
        let holds = |span: Span| span.start <= place.start && place.end <= span.end;
        let entry = self.table.iter().find(|(key, value)| holds(key.span()) || holds(value.span()));
        entry.map(|(key, _)| key.get_ref().to_string())
    }
}

/// The entries of the array that `value` is.
///
/// # Errors
/// When it is something else.
pub fn array(value: Spanned<DeValue<'_>>) -> Result<impl Iterator<Item = Spanned<DeValue<'_>>>, Fault> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(entries) => Ok(entries.into_iter()),
        other => Err(Fault::new(span, format!("is {}, and should be a list", kind(&other)))),
    }
}

/// The text that `value` is.
///
/// # Errors
/// When it is something else.
pub fn text(value: Spanned<DeValue<'_>>) -> Result<Spanned<String>, Fault> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Ok(Spanned::new(span, text.into_owned())),
        other => Err(Fault::new(span, format!("is {}, and should be text, in quotes", kind(&other)))),
    }
}

fn fault(error: &toml::de::Error, around: &Span) -> Fault {
    Fault::new(error.span().unwrap_or_else(|| around.clone()), plain(error.message()))
}

/// What is said of a key that is needed and is not there.
#[must_use]
pub fn missing(key: &str) -> String {
    format!("there is no `{key}` here, and it is needed")
}

/// What is said of a key that there is not, where these are.
#[must_use]
pub fn unknown(key: &str, known: &str) -> String {
    format!("there is no `{key}` to be set here; there is {known}")
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The words of serde for somebody who writes a file, and need not know its types. What else it says is handed
/// on.
fn plain(said: &str) -> String {
    if let Some(key) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return missing(key);
    }
    let is_of = |begins: &str| said.strip_prefix(begins).and_then(|rest| rest.split_once("`, "));
    if let Some((key, known)) = is_of("unknown field `") {
        let known = known.strip_prefix("expected ").unwrap_or("nothing");
        return unknown(key, known.strip_prefix("one of ").unwrap_or(known));
    }
    if let Some((given, known)) = is_of("unknown variant `") {
        let known = known.strip_prefix("expected ").unwrap_or(known);
        return format!("is {given:?}, and should be {known}");
    }
    let wrong = ["invalid type: ", "invalid value: "].iter().find_map(|begins| said.strip_prefix(begins));
    let Some((given, wanted)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return said.to_owned();
    };
    let given = match given.split_once(' ') {
        Some(("integer" | "boolean", value)) => value.trim_matches('`'),
        Some(("floating", value)) => value.trim_start_matches("point ").trim_matches('`'),
        Some(("string", value)) => value,
        _ if given == "sequence" => "a list",
        _ if given == "map" => "a table",
        _ => given,
    };
    let wanted = match wanted {
        "a string" => "text, in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        "a character" => "one character, in quotes",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "usize" | "u64" | "u32" => "a whole number, 0 or more",
        "a nonzero usize" | "a nonzero u64" | "a nonzero u32" => "a whole number, 1 or more",
        _ if wanted.starts_with("struct ") => "a table",
        _ if wanted.starts_with("enum ") || wanted == "string or map" => "one of its names, in quotes",
        _ => wanted,
    };
    format!("is {given}, and should be {wanted}")
}

/// The list or inline table that is opened and never closed.
fn unclosed(text: &str) -> Option<Fault> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let at = text.len() - rest.len();
        match next {
            '[' => open.push((at, ']')),
            '{' => open.push((at, '}')),
            ']' | '}' if open.last().is_some_and(|(_, closes)| *closes == next) => {
                open.pop();
            }
            // It closes something around what it should have closed.
            ']' | '}' => break,
            _ => {}
        }
        // What is inside of strings and comments opens nothing.
        let length = match next {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => string(rest, next),
            _ => next.len_utf8(),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    let (at, closes) = if rest.is_empty() { open.first() } else { open.last() }?;
    let what = if *closes == ']' { "list" } else { "table" };
    Some(Fault::new(*at..*at + 1, format!("the {what} that begins here has no end: `{closes}` is missing")))
}

/// How many bytes the string has that a text begins with.
fn string(text: &str, quote: char) -> usize {
    let three: String = [quote; 3].iter().collect();
    let closes = if text.starts_with(&three) { three.as_str() } else { three.get(..1).unwrap_or_default() };
    let mut at = closes.len();
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(closes) {
            return at + closes.len();
        }
        // A string of one line ends with it at the latest.
        if closes.len() == 1 && rest.starts_with('\n') {
            return at;
        }
        let escapes = quote == '"' && rest.starts_with('\\');
        at += rest.chars().take(if escapes { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        size: u8,
        #[serde(default)]
        name: String,
    }

    fn read(text: &str) -> Result<Settings, Vec<(String, String)>> {
        let told = |fault: Fault| (text.get(fault.span).unwrap().to_owned(), fault.message);
        let given =
            Given::document(text).map_err(|faults| faults.into_iter().map(told).collect::<Vec<_>>())?;
        given.read().map_err(|faults| faults.into_iter().map(told).collect())
    }

    #[test]
    fn what_is_right_is_read() {
        assert_eq!(read("size = 1"), Ok(Settings { size: 1, name: String::new() }));
    }

    #[test]
    fn every_fault_is_found_and_has_its_place() {
        let faults = read("size = \"1\"\nlabel = 'x'\nname = 3\n").unwrap_err();
        let places: Vec<_> = faults.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["label", "3", "\"1\""]);
        let messages: Vec<_> = faults.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "there is no `label` to be set here; there is `size` or `name`",
                "is 3, and should be text, in quotes",
                "is \"1\", and should be a whole number from 0 to 255"
            ]
        );
    }

    #[test]
    fn what_is_missing_is_a_fault_but_not_when_it_was_wrong() {
        assert_eq!(read("name = 'x'").unwrap_err()[0].1, "there is no `size` here, and it is needed");
        assert_eq!(read("size = 300").unwrap_err().len(), 1);
    }

    #[test]
    fn the_words_of_serde_are_put_plainly() {
        for (said, plainly) in [
            ("missing field `target`", "there is no `target` here, and it is needed"),
            ("unknown field `a`, there are no fields", "there is no `a` to be set here; there is nothing"),
            ("unknown field `a`, expected `b`", "there is no `a` to be set here; there is `b`"),
            (
                "unknown field `a`, expected one of `b`, `c`",
                "there is no `a` to be set here; there is `b`, `c`",
            ),
            ("unknown variant `x`, expected `a` or `b`", "is \"x\", and should be `a` or `b`"),
            ("unknown variant `x`, expected one of `a`, `b`", "is \"x\", and should be one of `a`, `b`"),
            (
                "invalid value: integer `0`, expected a nonzero usize",
                "is 0, and should be a whole number, 1 or more",
            ),
            ("invalid type: sequence, expected a string", "is a list, and should be text, in quotes"),
            ("invalid type: map, expected a boolean", "is a table, and should be true or false"),
            (
                "invalid type: floating point `1.5`, expected usize",
                "is 1.5, and should be a whole number, 0 or more",
            ),
            (
                "invalid type: string \"a, expected b\", expected struct X",
                "is \"a, expected b\", and should be a table",
            ),
            ("duplicate key", "duplicate key"),
        ] {
            assert_eq!(plain(said), plainly);
        }
    }

    #[test]
    fn what_is_never_closed_is_told_and_not_what_comes_of_it() {
        let behind = "\nname = 'x'\n[[a]]\nb = [1]\n";
        for (text, place, closes) in [
            ("size = [1, [2]", "[", "]"),
            ("size = [\"a]\\\"]\", ']', # ]\n \"\"\"\n]\"\"\"", "[", "]"),
            ("size = [{ a = [1] ]", "{", "}"),
            ("size = { a = [1 }", "[", "]"),
        ] {
            let text = format!("{text}{behind}");
            let faults = read(&text).unwrap_err();
            let [(at, message)] = &faults[..] else { panic!("{text}: {faults:?}") };
            let is_told = message.contains(&format!("`{closes}` is missing"));
            assert_eq!((at.as_str(), is_told), (place, true), "{message}");
        }
        let faults = read("name = \nsize = [1\n").unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn what_is_not_toml_is_told_at_every_place() {
        assert_eq!(read("size = \nname = \n").unwrap_err().len(), 2);
    }
}
