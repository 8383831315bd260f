//! A reader of TOML that finds every fault, with its place.
//!
//! serde stops at the first fault. This reader removes the faulty entry and reads the table again, until it finds no more
//! faults: the operator gets the whole list at once.

use std::borrow::Cow;
use std::ops::Range;

use momento_webhook::visible::is_invisible;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::limits::MAX_NESTING;
use crate::suggest::closest;

/// A range of bytes of the document.
pub type Span = Range<usize>;

/// A fault in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place.
    pub span: Span,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl Fault {
    /// Returns a fault at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

/// A reader of a document that goes on after a fault, and reports all faults at the end.
pub trait CollectFaults {
    /// Returns the faults so far.
    fn faults(&mut self) -> &mut Vec<Fault>;

    /// Returns what an operator reads for a message about a table with these keys.
    #[must_use]
    fn explain(message: String, _keys: &[&str]) -> String {
        message
    }

    /// Returns the message for an unknown key of a table with these keys.
    #[must_use]
    fn unknown(key: &str, keys: &[&str]) -> String {
        unknown(key, keys)
    }

    /// Adds a fault.
    fn note(&mut self, span: Span, message: impl Into<String>) {
        self.faults().push(Fault::new(span, message));
    }

    /// Adds a fault, in place of what could not be read.
    fn fault<T>(&mut self, span: Span, message: impl Into<String>) -> Option<T> {
        self.note(span, message);
        None
    }

    /// Returns what was read, or adds the fault.
    fn kept<T>(&mut self, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|fault| self.faults().push(fault)).ok()
    }

    /// Corrects keys with typing errors, and adds their faults. `keys` are all keys that the table can have.
    fn correct(&mut self, given: &mut Given<'_>, keys: &[&str]) {
        self.faults().extend(given.correct(keys));
    }

    /// Reads the rest of a table, and leaves out faulty entries. `keys` are all keys that the table can have.
    fn rest<T: DeserializeOwned>(&mut self, mut given: Given<'_>, keys: &[&str]) -> Option<T> {
        self.correct(&mut given, keys);
        let (read, faults) = given.read_most();
        for fault in faults {
            // serde knows only the keys that are left.
            let message = match unknown_key(&fault.message) {
                Some(key) => Self::unknown(key, keys),
                None => Self::explain(fault.message, keys),
            };
            self.note(fault.span, message);
        }
        read
    }
}

/// A table of a document.
#[derive(Clone, Debug, Default)]
pub struct Given<'i> {
    table: DeTable<'i>,
    span: Span,
    /// The keys of the entries that the caller has removed.
    taken: Vec<String>,
}

impl<'i> Given<'i> {
    /// Parses a document.
    ///
    /// # Errors
    /// Every place where the text is not TOML, and a document with more than [`MAX_NESTING`] tables and lists inside one
    /// another.
    pub fn document(text: &'i str) -> Result<Self, Vec<Fault>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let document = within_limit(document).map_err(|fault| vec![fault])?;
        if errors.is_empty() {
            return Ok(Self { span: document.span(), table: document.into_inner(), taken: Vec::new() });
        }
        if let Some(format) = other_format(text) {
            return Err(vec![Fault::new(0..0, format!("the file is {format}; expected TOML"))]);
        }
        let mut faults: Vec<_> = errors.iter().map(|error| fault(error, &document.span())).collect();
        let is_unclosed = |fault: &Fault| {
            ["unclosed array,", "unclosed inline table,"].iter().any(|says| fault.message.starts_with(says))
        };
        if faults.iter().any(is_unclosed)
            && let Some(cause) = unclosed(text)
        {
            // Faults behind an unclosed list or table are only its consequences.
            faults.retain(|fault| fault.span.start < cause.span.start);
            faults.push(cause);
            return Err(faults);
        }
        for fault in &mut faults {
            if fault.message == DUPLICATE {
                fault.message = duplicate(text, &fault.span, document.get_ref());
            } else if let Some(known) =
                unquoted(text, fault.span.start).or_else(|| other_habit(text, fault.span.start))
            {
                *fault = known;
            }
        }
        // One value without quotes can have several faults.
        faults.dedup();
        Err(faults)
    }

    /// Returns an empty table, for a value that has no settings.
    #[must_use]
    pub fn nothing(span: Span) -> Self {
        Self { span, ..Self::default() }
    }

    /// Converts a value to a table.
    ///
    /// # Errors
    /// When the value is not a table.
    pub fn table(value: Spanned<DeValue<'i>>) -> Result<Self, Fault> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(Self { table, span, taken: Vec::new() }),
            other => {
                let message = format!("is {}; expected a table, as in {{ key = \"value\" }}", kind(&other));
                Err(Fault::new(span, message))
            }
        }
    }

    /// Returns the place of the table.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Returns true if no entries are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Returns true if the table has `key`.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns the keys that are left.
    pub fn keys(&self) -> impl Iterator<Item = Spanned<String>> {
        self.table.keys().map(|key| Spanned::new(key.span(), key.get_ref().to_string()))
    }

    /// Removes and returns the value of `key`, which the caller reads in another way than the rest.
    pub fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'i>>> {
        let value = self.table.remove(key)?;
        self.taken.push(key.to_owned());
        Some(value)
    }

    /// Renames each unknown key that is similar to a missing one of `keys`. Returns the faults. So a typing error is one fault:
    /// the key that was meant is not missing, and its value is checked as well.
    #[must_use]
    pub fn correct(&mut self, keys: &[&str]) -> Vec<Fault> {
        let unknown = self.table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref()));
        let unknown: Vec<_> =
            unknown.map(|key| Spanned::new(key.span(), key.get_ref().to_string())).collect();
        let mut faults = Vec::new();
        for key in unknown {
            let (span, key) = (key.span(), key.into_inner());
            let is_missing =
                |known: &&str| !self.contains(known) && !self.taken.iter().any(|key| key == known);
            let Some(meant) = closest(&key, keys.iter().copied().filter(is_missing)) else { continue };
            let value = self.table.remove(key.as_str()).expect("the key is in the table");
            self.table.insert(Spanned::new(span.clone(), Cow::Owned(meant.to_owned())), value);
            faults.push(Fault::new(span, did_you_mean(&key, meant)));
        }
        faults
    }

    /// Returns the entries that are left.
    pub fn into_entries(self) -> impl Iterator<Item = (Spanned<String>, Spanned<DeValue<'i>>)> {
        self.table
            .into_iter()
            .map(|(key, value)| (Spanned::new(key.span(), key.into_inner().into_owned()), value))
    }

    /// Reads the entries that are left.
    ///
    /// # Errors
    /// Every faulty entry and every missing key.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Vec<Fault>> {
        match self.read_most() {
            (Some(read), faults) if faults.is_empty() => Ok(read),
            (_, faults) => Err(faults),
        }
    }

    /// Reads the entries that are left, and leaves out the faulty ones. Returns `None` if `T` needs one of these. Returns
    /// every faulty entry and every missing key as well.
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
            if let Some(keys) = known_keys(error.message()) {
                let corrected = self.correct(&keys);
                if !corrected.is_empty() {
                    faults.extend(corrected);
                    continue;
                }
            }
            // A key that was removed because it is faulty is not missing.
            let is_known = |key: &String| plain(error.message()) == missing(key);
            if !removed.iter().any(is_known) {
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

    /// Returns the key of the entry whose key or value contains `place`.
    fn entry_at(&self, place: Option<Span>) -> Option<String> {
        let place = place?;
        let holds = |span: Span| span.start <= place.start && place.end <= span.end;
        let entry = self.table.iter().find(|(key, value)| holds(key.span()) || holds(value.span()));
        entry.map(|(key, _)| key.get_ref().to_string())
    }
}

/// Returns the document, or a fault if it has more than [`MAX_NESTING`] tables and lists inside one another. The parser has a
/// limit for each kind of nesting (dotted keys, headings, inline tables), but not for all of them together. This function does
/// not call itself, and it takes a rejected document apart, because dropping it would call itself too.
fn within_limit(document: Spanned<DeTable<'_>>) -> Result<Spanned<DeTable<'_>>, Fault> {
    let mut open: Vec<_> = document.get_ref().values().map(|value| (value, 1)).collect();
    let mut excess = None;
    while let Some((value, level)) = open.pop() {
        let is_nested = matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_));
        if level > MAX_NESTING && is_nested {
            excess = Some(value.span());
            break;
        }
        match value.get_ref() {
            DeValue::Table(table) => open.extend(table.values().map(|value| (value, level + 1))),
            DeValue::Array(values) => open.extend(values.iter().map(|value| (value, level + 1))),
            _ => {}
        }
    }
    let Some(span) = excess else { return Ok(document) };
    let mut open: Vec<_> = document.into_inner().into_iter().map(|(_, value)| value).collect();
    while let Some(value) = open.pop() {
        match value.into_inner() {
            DeValue::Table(table) => open.extend(table.into_iter().map(|(_, value)| value)),
            DeValue::Array(values) => open.extend(values),
            _ => {}
        }
    }
    let message = format!("the file has more than {MAX_NESTING} tables and lists inside one another");
    Err(Fault::new(span, message))
}

/// Returns the entries of an array.
///
/// # Errors
/// When the value is not an array.
pub fn array(value: Spanned<DeValue<'_>>) -> Result<impl Iterator<Item = Spanned<DeValue<'_>>>, Fault> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(entries) => Ok(entries.into_iter()),
        DeValue::String(text) => {
            Err(Fault::new(span, format!("is text; expected a list; write [{:?}]", text.as_ref())))
        }
        other => Err(Fault::new(span, format!("is {}; expected a list", kind(&other)))),
    }
}

/// Converts a value to a text.
///
/// # Errors
/// When the value is not a text.
pub fn text(value: Spanned<DeValue<'_>>) -> Result<Spanned<String>, Fault> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Ok(Spanned::new(span, text.into_owned())),
        other => Err(Fault::new(span, format!("is {}; expected text, in quotes", kind(&other)))),
    }
}

fn fault(error: &toml::de::Error, around: &Span) -> Fault {
    Fault::new(error.span().unwrap_or_else(|| around.clone()), plain(error.message()))
}

/// Returns the message for a missing key.
#[must_use]
pub fn missing(key: &str) -> String {
    format!("missing key `{key}`")
}

/// Returns the message for an unknown key that resembles a known one.
fn did_you_mean(key: &str, meant: &str) -> String {
    format!("{UNKNOWN}{key}`; did you mean `{meant}`?")
}

/// Returns the message for an unknown key. `known` are the keys that the table can have.
#[must_use]
pub fn unknown(key: &str, known: &[&str]) -> String {
    if let Some(meant) = closest(key, known.iter().copied()) {
        return did_you_mean(key, meant);
    }
    let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
    let expected = match &*known {
        [] => return format!("{UNKNOWN}{key}`; expected no keys"),
        [one] => one.clone(),
        [one, other] => format!("{one} or {other}"),
        all => format!("one of {}", all.join(", ")),
    };
    format!("{UNKNOWN}{key}`; expected {expected}")
}

/// Returns the key that a message of [`unknown`] is about.
fn unknown_key(message: &str) -> Option<&str> {
    message.strip_prefix(UNKNOWN)?.split_once("`; ").map(|(key, _)| key)
}

const UNKNOWN: &str = "unknown key `";

/// The message of the parser for a key that a table has twice.
const DUPLICATE: &str = "duplicate key";

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

/// The beginning of serde's message for an unknown key.
const UNKNOWN_FIELD: &str = "unknown field `";

/// Returns the keys that serde expects, if its message is about an unknown one.
fn known_keys(said: &str) -> Option<Vec<&str>> {
    let (_, known) = said.strip_prefix(UNKNOWN_FIELD)?.split_once("`, ")?;
    Some(known.split('`').skip(1).step_by(2).collect())
}

/// What a type expects that reads a duration with its unit, such as `"30s"`.
pub const A_DURATION: &str = "a duration in quotes, such as \"30s\"";

/// The message for a list in place of one text.
pub(crate) const NOT_ONE_TEXT: &str = "is a list; expected text, in quotes";

/// Translates a message of serde for an operator, who does not know the types of Rust. Returns other messages as they are.
fn plain(said: &str) -> String {
    if let Some(key) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return missing(key);
    }
    let after = |begin: &str| said.strip_prefix(begin).and_then(|rest| rest.split_once("`, "));
    if let (Some(known), Some((key, _))) = (known_keys(said), after(UNKNOWN_FIELD)) {
        return unknown(key, &known);
    }
    if let Some((given, known)) = after("unknown variant `") {
        return format!("is {given:?}; {known}");
    }
    let wrong = ["invalid type: ", "invalid value: "].iter().find_map(|begin| said.strip_prefix(begin));
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
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "usize" | "u64" | "u32" => "an integer, 0 or more",
        "a nonzero usize" | "a nonzero u64" | "a nonzero u32" => "an integer, 1 or more",
        _ if wanted.starts_with("struct ") => "a table",
        _ if wanted.starts_with("enum ") || wanted == "string or map" => "one of its names, in quotes",
        _ => wanted,
    };
    // A number in quotes.
    let quoted = given.trim_matches('"');
    let is_quoted = wanted.starts_with("an integer") && given != quoted && quoted.parse::<u64>().is_ok();
    let remedy = match wanted {
        _ if is_quoted => format!("; write {quoted}, without quotes"),
        "a list" if given.starts_with('"') => format!("; write [{given}]"),
        "a table" if given.starts_with('"') => ", as in { key = \"value\" }".to_owned(),
        // Their keys end in `_seconds`.
        _ if wanted.starts_with("an integer") && is_duration(quoted) => {
            "; write a number of seconds".to_owned()
        }
        _ if wanted == A_DURATION && given.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("; write \"{given}s\" for seconds")
        }
        _ => String::new(),
    };
    format!("is {given}; expected {wanted}{remedy}")
}

/// Returns true if a text is a number and the unit of a time, such as `5m`.
fn is_duration(text: &str) -> bool {
    let unit = text.trim_start_matches(|char: char| char.is_ascii_digit());
    unit.len() < text.len() && matches!(unit.trim(), "s" | "sec" | "m" | "min" | "h" | "d" | "day" | "days")
}

/// Returns the format of a text that is not TOML.
fn other_format(text: &str) -> Option<&'static str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.next()?;
    let is_key = |line: &str| {
        let word = line.split_once(':').map(|(word, _)| word);
        word.is_some_and(|word| word.chars().all(|char| char.is_alphanumeric() || "_-".contains(char)))
    };
    match first {
        _ if first.starts_with(['{', '['])
            && first.trim_start_matches(['[', ' ']).starts_with(['{', '"']) =>
        {
            Some("JSON")
        }
        _ if first.starts_with('<') => Some("XML"),
        "---" => Some("YAML"),
        _ if is_key(first) && !first.contains('=') => Some("YAML"),
        _ => None,
    }
}

/// Returns the fault for a habit from another format at `place`, where the parser failed: its comments, the colon behind a
/// key, and spaces that are not plain ones.
fn other_habit(text: &str, place: usize) -> Option<Fault> {
    let (before, behind) = text.split_at_checked(place)?;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(start..)?.lines().next()?;
    let head = line.split(':').next().unwrap_or_default();
    let is_key =
        |key: &str| !key.is_empty() && key.chars().all(|char| char.is_alphanumeric() || "_-".contains(char));
    if line.trim_start().starts_with("//") {
        let message = "a comment begins with `#`, and not with `//`";
        return Some(Fault::new(start..start + line.len(), message));
    }
    if head.len() < line.len() && is_key(head.trim()) {
        let place = start + head.len();
        return Some(Fault::new(place..place + 1, "has `:` behind a key; write `=`"));
    }
    let found = behind.chars().next()?;
    let is_space = !found.is_ascii() && (found.is_whitespace() || is_invisible(found));
    is_space.then(|| {
        let message =
            format!("has the character U+{:04X}, which is not a plain space; write one", u32::from(found));
        Fault::new(place..place + found.len_utf8(), message)
    })
}

/// Returns the fault of the value without quotes at `place`, where the parser failed.
fn unquoted(text: &str, place: usize) -> Option<Fault> {
    let before = text.get(..place)?;
    let start = before.rfind(['=', '[', ',', '\n'])?;
    let head = text.get(..start)?;
    let is_in_list = || head.trim_end().ends_with(['[', ',']);
    let is_heading =
        || head.rsplit('\n').next().is_some_and(|line| line.trim_matches([' ', '\t', '[']).is_empty());
    match before.get(start..)?.chars().next()? {
        '\n' if !is_in_list() => return None,
        '[' if is_heading() => return None,
        _ => {}
    }
    let start = start + 1;
    let value = text.get(start..)?;
    let start = start + (value.len() - value.trim_start_matches([' ', '\t']).len());
    let value = text.get(start..)?.split([',', ']', '#', '\n', '\r']).next().unwrap_or_default().trim_end();
    // The brace that ends an inline table.
    let value = if value.contains('{') { value } else { value.trim_end_matches('}').trim_end() };
    let message = match value.chars().next()? {
        quote @ ('“' | '”' | '„' | '‘' | '’' | '«' | '`') => {
            format!("has the quotation mark {quote}; write \"")
        }
        first
            if (first.is_alphabetic() || matches!(first, '{' | '$' | '<' | '*' | '/' | '_'))
                && !value.contains(['"', '\'', '=']) =>
        {
            match value.to_lowercase().as_str() {
                "true" | "yes" | "on" => format!("is {value}; write true"),
                "false" | "no" | "off" => format!("is {value}; write false"),
                _ => format!("the text {value} has no quotes; write \"{value}\""),
            }
        }
        _ => return None,
    };
    Some(Fault::new(start..start + value.len(), message))
}

/// Returns the message for a key that its table has twice, with the line of the first one.
fn duplicate(text: &str, place: &Span, document: &DeTable<'_>) -> String {
    let key = text.get(place.clone()).unwrap_or_default().trim_matches(['"', '\'']);
    let mut first = None;
    let mut open = vec![document];
    while let Some(table) = open.pop() {
        for (known, value) in table {
            let is_before = known.span().start < place.start;
            if is_before && known.get_ref() == key {
                first = first.max(Some(known.span().start));
            }
            // An inline table that has ended before is another table.
            let has_ended = |value: &Spanned<DeValue<'_>>| {
                value.span().end <= place.start
                    && text.get(value.span()).is_some_and(|text| text.starts_with('{'))
            };
            let values = match value.get_ref() {
                DeValue::Array(values) => values.iter().collect(),
                DeValue::Table(_) => vec![value],
                _ => Vec::new(),
            };
            let tables = values.into_iter().filter(|value| !has_ended(value));
            open.extend(tables.filter_map(|value| value.get_ref().as_table()));
        }
    }
    if let Some(before) = first.and_then(|at| text.get(..at)) {
        let line = before.matches('\n').count() + 1;
        return format!("{DUPLICATE} `{key}`; the table has it at line {line} already");
    }
    // A heading that is there twice: the document has the second only.
    let heading = |line: usize| text.lines().nth(line).map(str::trim);
    let line = text.get(..place.start).map_or(0, |before| before.matches('\n').count());
    match (0..line).find(|earlier| heading(*earlier) == heading(line)) {
        Some(earlier) => format!("{DUPLICATE} `{key}`; the file has it at line {} already", earlier + 1),
        None => DUPLICATE.to_owned(),
    }
}

/// Returns the fault of a list or inline table that is never closed.
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
            // It closes a list or table around the unclosed one.
            ']' | '}' => break,
            _ => {}
        }
        // Brackets in strings and comments do not count.
        let length = match next {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => string(rest, next),
            _ => next.len_utf8(),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    let (at, closes) = if rest.is_empty() { open.first() } else { open.last() }?;
    let what = if *closes == ']' { "list" } else { "table" };
    Some(Fault::new(*at..*at + 1, format!("the {what} that begins here has no end; expected `{closes}`")))
}

/// Returns the number of bytes of the string at the start of a text.
fn string(text: &str, quote: char) -> usize {
    let three: String = [quote; 3].iter().collect();
    let closes = if text.starts_with(&three) { three.as_str() } else { three.get(..1).unwrap_or_default() };
    let mut at = closes.len();
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(closes) {
            return at + closes.len();
        }
        // A string in single quotation marks ends with its line.
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
        let shown = |fault: Fault| (text.get(fault.span).unwrap().to_owned(), fault.message);
        let given =
            Given::document(text).map_err(|faults| faults.into_iter().map(shown).collect::<Vec<_>>())?;
        given.read().map_err(|faults| faults.into_iter().map(shown).collect())
    }

    #[test]
    fn reads_valid_table() {
        assert_eq!(read("size = 1"), Ok(Settings { size: 1, name: String::new() }));
    }

    #[test]
    fn reports_every_fault_with_its_place() {
        let faults = read("size = \"1\"\nlabel = 'x'\nname = 3\n").unwrap_err();
        let places: Vec<_> = faults.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["label", "3", "\"1\""]);
        let messages: Vec<_> = faults.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "unknown key `label`; expected `size` or `name`",
                "is 3; expected text, in quotes",
                "is \"1\"; expected an integer from 0 to 255; write 1, without quotes"
            ]
        );
    }

    #[test]
    fn reports_missing_key_unless_key_is_faulty() {
        assert_eq!(read("name = 'x'").unwrap_err()[0].1, "missing key `size`");
        assert_eq!(read("size = 300").unwrap_err().len(), 1);
    }

    #[test]
    fn rejects_document_with_too_many_levels() {
        let inline = |levels: usize| format!("a = {}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Given::document(&inline(MAX_NESTING)).is_ok());
        let dotted = |keys: usize| vec!["a"; keys].join(".");
        // Each kind of nesting is below the limit of the parser.
        let tables = format!("{{ {} = ", dotted(70)).repeat(70) + "1" + &"}".repeat(70);
        let many = format!("[{}]\n{} = {tables}", dotted(70), dotted(70));
        for text in [inline(MAX_NESTING + 1), format!("{} = 1", dotted(MAX_NESTING + 2)), many] {
            let faults = Given::document(&text).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].message, "the file has more than 64 tables and lists inside one another");
        }
    }

    #[test]
    fn translates_messages_of_serde() {
        for (said, plainly) in [
            ("missing field `target`", "missing key `target`"),
            ("unknown field `a`, there are no fields", "unknown key `a`; expected no keys"),
            ("unknown field `a`, expected `b`", "unknown key `a`; expected `b`"),
            ("unknown field `a`, expected `b` or `c`", "unknown key `a`; expected `b` or `c`"),
            (
                "unknown field `a`, expected one of `b`, `c`, `d`",
                "unknown key `a`; expected one of `b`, `c`, `d`",
            ),
            ("unknown variant `x`, expected `a` or `b`", "is \"x\"; expected `a` or `b`"),
            ("unknown variant `x`, expected one of `a`, `b`", "is \"x\"; expected one of `a`, `b`"),
            ("invalid value: integer `0`, expected a nonzero usize", "is 0; expected an integer, 1 or more"),
            ("invalid type: sequence, expected a string", NOT_ONE_TEXT),
            ("invalid type: map, expected a boolean", "is a table; expected true or false"),
            ("invalid type: floating point `1.5`, expected usize", "is 1.5; expected an integer, 0 or more"),
            (
                "invalid type: string \"a, expected b\", expected struct X",
                "is \"a, expected b\"; expected a table, as in { key = \"value\" }",
            ),
            (
                "invalid type: integer `5`, expected a duration in quotes, such as \"30s\"",
                "is 5; expected a duration in quotes, such as \"30s\"; write \"5s\" for seconds",
            ),
            (DUPLICATE, DUPLICATE),
        ] {
            assert_eq!(plain(said), plainly);
        }
        assert_eq!(unknown_key(&unknown("a", &["b", "c"])), Some("a"));
        assert_eq!(unknown_key(&missing("a")), None);
    }

    #[test]
    fn reports_unclosed_list_or_table_without_its_consequences() {
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
            let is_named = message.contains(&format!("expected `{closes}`"));
            assert_eq!((at.as_str(), is_named), (place, true), "{message}");
        }
        let faults = read("name = \nsize = [1\n").unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn corrects_typing_errors_and_checks_their_values() {
        let faults = read("sizes = 300\nlabel = 'x'").unwrap_err();
        let messages: Vec<_> = faults.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "unknown key `sizes`; did you mean `size`?",
                "unknown key `label`; expected `size` or `name`",
                "is 300; expected an integer from 0 to 255"
            ]
        );
        let faults = read("size = 1\nnames = 'x'\nname = 'y'").unwrap_err();
        assert_eq!(faults, [("names".to_owned(), "unknown key `names`; did you mean `name`?".to_owned())]);
        let mut given = Given::document("routes = 1\nroute = 2").unwrap();
        given.take("routes");
        assert_eq!(given.correct(&["routes"]), [], "a key that was taken is not missing");
    }

    #[test]
    fn names_value_without_quotes_and_its_remedy() {
        for (text, place, says) in [
            ("name = in", "in", "the text in has no quotes; write \"in\""),
            ("name = my topic # x", "my topic", "write \"my topic\""),
            ("name = {room}-in", "{room}-in", "write \"{room}-in\""),
            ("name = [out, 'x']", "out", "write \"out\""),
            ("name = [\n  out,\n]", "out", "write \"out\""),
            ("a = { name = out }", "out", "write \"out\""),
            ("name = True", "True", "is True; write true"),
            ("name = “x”", "“x”", "has the quotation mark “; write \""),
        ] {
            let faults = read(text).unwrap_err();
            let [(at, message)] = &faults[..] else { panic!("{text}: {faults:?}") };
            assert!(at == place && message.contains(says), "{text}: {at}: {message}");
        }
        for text in ["name", "[name", "name = ", "name = 'x", "name = 1x"] {
            let faults = read(text).unwrap_err();
            assert!(faults.iter().all(|(_, message)| !message.contains("write")), "{text}: {faults:?}");
        }
    }

    #[test]
    fn names_first_place_of_duplicate_key() {
        for (text, line) in [
            ("name = 'x'\nsize = 1\nname = 'y'", 1),
            ("[[a]]\nname = 1\n[[a]]\nsize = [{ name = 1 }]\nname = 2\n'name' = 3", 5),
            ("[name]\n[b]\n[name]", 1),
            ("name.a = 1\nb = { c = 1, c = 2 }", 2),
        ] {
            let faults = read(text).unwrap_err();
            let [(_, message)] = &faults[..] else { panic!("{text}: {faults:?}") };
            assert!(message.ends_with(&format!(" has it at line {line} already")), "{text}: {message}");
        }
    }

    #[test]
    fn names_other_formats() {
        for (text, format) in [
            ("{\"routes\": []}", "JSON"),
            ("# routes\n\nroutes:\n  - topic: in\n", "YAML"),
            ("---\nroutes: []\n", "YAML"),
            ("[{\"topic\": \"in\"}]", "JSON"),
            ("<routes/>", "XML"),
        ] {
            let message = format!("the file is {format}; expected TOML");
            assert_eq!(read(text).unwrap_err(), [(String::new(), message)]);
        }
    }

    #[test]
    fn reports_every_place_that_is_not_toml() {
        assert_eq!(read("size = \nname = \n").unwrap_err().len(), 2);
    }
}
