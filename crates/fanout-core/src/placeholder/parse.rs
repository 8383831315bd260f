//! Parses texts with placeholders, from left to right. Placeholders do not nest, so there is no recursion.

use super::filters::{Argument, Filter};

/// The maximum size of a text in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The maximum number of pieces of a text: placeholders, and the texts between them.
const MAX_PIECES: usize = 256;
/// The maximum number of members, and of filters, of a placeholder. Each reads the whole value.
const MAX_STEPS: usize = 16;

/// The hint for syntaxes of defaults.
const DEFAULT_HINT: &str = "; for a default write `{token_id | default('guest')}`";

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

/// A placeholder: `{name}`, `{json.member}`, `{name | filter}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// The name of the field or capture: `json`.
    pub(crate) name: String,
    pub(super) members: Vec<String>,
    /// The name with its members as written: `json.from`.
    pub(super) path: String,
    pub(super) filters: Vec<Filter>,
    /// The byte offset of its opening brace.
    pub(crate) at: usize,
    /// The text between the braces.
    pub(crate) inside: String,
}

/// Error for a text with invalid syntax. The message begins with a verb whose subject is the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// The byte offset of the fault; `None` for an empty text.
    pub at: Option<usize>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl SyntaxError {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at: Some(at), message: message.into() }
    }

    /// Returns the error for an empty text.
    pub(crate) fn empty() -> Self {
        Self { at: None, message: "is empty; write its text".to_owned() }
    }
}

impl Placeholder {
    /// Returns true if it is a name without members and filters.
    pub(crate) fn is_plain(&self) -> bool {
        self.members.is_empty() && self.filters.is_empty()
    }
}

/// Parses a text. In a name, it also rejects the wildcards and parameters of other syntaxes, which are hardly ever meant
/// literally.
pub(crate) fn parse(source: &str, is_name: bool) -> Result<Vec<Piece>, SyntaxError> {
    if source.len() > MAX_BYTES {
        return Err(SyntaxError::new(0, format!("has more than {MAX_BYTES} bytes")));
    }
    let mut pieces = Vec::new();
    let mut cursor = Cursor { source, rest: source };
    loop {
        let at = cursor.at();
        let text = cursor.word(|char| !matches!(char, '{' | '}'));
        if is_name {
            reject_foreign(text, at, text == source)?;
        }
        push_text(&mut pieces, text);
        if cursor.rest.is_empty() {
            return Ok(pieces);
        }
        match cursor.placeholder(text)? {
            Piece::Text(text) => push_text(&mut pieces, &text),
            _ if pieces.len() >= MAX_PIECES => {
                return Err(SyntaxError::new(
                    at,
                    format!("has more than {MAX_PIECES} placeholders and texts"),
                ));
            }
            placeholder @ Piece::Placeholder(_) => pieces.push(placeholder),
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Rejects the wildcards and parameters of other syntaxes in the text of a name, which begins at `at`.
fn reject_foreign(text: &str, at: usize, is_whole: bool) -> Result<(), SyntaxError> {
    let sign = foreign_sign(text, is_whole).map(|(offset, sign)| {
        let message = format!(
            "has `{sign}`, which is not a wildcard here; write `{{name}}` for a part that varies, or `{{'{sign}'}}` for the character itself"
        );
        SyntaxError::new(at + offset, message)
    });
    let parameter = foreign_parameters(text).find(|parameter| parameter.sign != ':' || at == 0).map(
        |Foreign { offset, sign, name, written }| {
            let message = format!(
                "has `{written}`, which is not a placeholder here; write `{{{name}}}`, or `{{'{sign}'}}` for the character itself"
            );
            SyntaxError::new(at + offset, message)
        },
    );
    let first = [sign, parameter].into_iter().flatten().min_by_key(|error| error.at);
    first.map_or(Ok(()), Err)
}

/// A parameter of another syntax.
pub(super) struct Foreign<'t> {
    offset: usize,
    sign: char,
    /// The placeholder that has its value.
    pub(super) name: String,
    pub(super) written: &'t str,
}

/// Returns the parameters of other syntaxes in a text: `<room>`, `$room`, `$(room)`, `%room%`, `%(room)s`, `$.room` for a member
/// of a JSON text, and `:room` at the beginning.
pub(super) fn foreign_parameters(text: &str) -> impl Iterator<Item = Foreign<'_>> {
    text.char_indices().filter_map(|(offset, sign)| {
        let behind = text.get(offset + 1..)?;
        let (opens, closes) = match sign {
            '<' => ("", ">"),
            '%' if behind.starts_with('(') => ("(", ")s"),
            '%' => ("", "%"),
            '$' if behind.starts_with('(') => ("(", ")"),
            '$' if behind.starts_with('.') => (".", ""),
            '$' => ("", ""),
            ':' if offset == 0 => ("", ""),
            _ => return None,
        };
        let rest = behind.strip_prefix(opens)?;
        let is_end = |char: char| !(char.is_ascii_alphanumeric() || matches!(char, '_' | '.'));
        let name = rest.split(is_end).next()?.trim_end_matches('.');
        let begins_as_name = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
        let ends = rest.get(name.len()..)?.starts_with(closes);
        let written = text.get(offset..offset + 1 + opens.len() + name.len() + closes.len())?;
        // The names of members keep their case.
        let meant = if opens == "." { format!("json.{name}") } else { name.to_lowercase() };
        (begins_as_name && ends).then_some(Foreign { offset, sign, name: meant, written })
    })
}

/// Returns the first sign by which another syntax marks a wildcard or a parameter in a name, and its offset: `*`
/// anywhere, `:word` after a slash, and `+` or `#` as a whole level.
fn foreign_sign(text: &str, is_whole: bool) -> Option<(usize, char)> {
    let is_word = |text: &str| !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric());
    let mut start = 0;
    for level in text.split('/') {
        if let Some(offset) = level.find('*') {
            return Some((start + offset, '*'));
        }
        let is_sign = |sign: &char| match sign {
            ':' => start > 0 && level.strip_prefix(':').is_some_and(is_word),
            sign => (is_whole || text.contains('/')) && level.strip_prefix(*sign) == Some(""),
        };
        if let Some(sign) = [':', '+', '#'].into_iter().find(is_sign) {
            return Some((start, sign));
        }
        start += level.len() + 1;
    }
    None
}

struct Cursor<'s> {
    source: &'s str,
    /// The part that was not read yet.
    rest: &'s str,
}

impl<'s> Cursor<'s> {
    fn at(&self) -> usize {
        self.source.len() - self.rest.len()
    }

    /// Takes the characters up to the first that does not match.
    fn word(&mut self, matches: impl Fn(char) -> bool) -> &'s str {
        let end = self.rest.find(|char| !matches(char)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Returns what was read since `start` was the rest.
    fn since(&self, start: &'s str) -> &'s str {
        start.strip_suffix(self.rest).expect("the rest is the end of the text")
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `char` if it is next.
    fn eat(&mut self, char: char) -> bool {
        let rest = self.rest.strip_prefix(char);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes `char` if it is next, and white space around it.
    fn eat_spaced(&mut self, char: char) -> bool {
        self.skip_space();
        let is_there = self.eat(char);
        self.skip_space();
        is_there
    }

    /// Takes a text in single or double quotes, if one is next.
    fn quoted(&mut self) -> Result<Option<&'s str>, SyntaxError> {
        let at = self.at();
        let Some(quote) = ['\'', '"'].into_iter().find(|quote| self.eat(*quote)) else { return Ok(None) };
        let Some((text, rest)) = self.rest.split_once(quote) else {
            let message = format!("opens a quoted text and does not end it; add `{quote}`");
            return Err(SyntaxError::new(at, message));
        };
        self.rest = rest;
        Ok(Some(text))
    }

    /// Takes the placeholder or quoted text that begins at a brace. `before` is the text before it.
    fn placeholder(&mut self, before: &str) -> Result<Piece, SyntaxError> {
        let at = self.at();
        let error = |message: &str| Err(SyntaxError::new(at, message));
        if !self.eat('{') {
            return error("closes a brace that is not open; for the character itself write `{'}'}`");
        }
        let foreign = match self.rest.chars().next() {
            Some('{') => "has `{{`; write one brace, as in `{topic}`, or `{'{'}` for the character itself",
            Some('%') => {
                "has `{%`, but there are no blocks; for a value that may be missing write `{token_id | default('guest')}`, \
                 and for a condition another destination with the transform `filter`"
            }
            Some('#') => "has `{#`, but texts have no comments; write comments in the file, after `#`",
            Some('}') => "has a placeholder without a name; for the character itself write `{'{'}`",
            _ => "",
        };
        if !foreign.is_empty() {
            return error(foreign);
        }
        self.skip_space();
        if let Some(text) = self.quoted()? {
            self.skip_space();
            if self.eat('}') {
                return Ok(Piece::Text(text.to_owned()));
            }
            return error(
                "has a quoted text in braces that more text follows; expected `}`. For JSON, write a table instead of a text",
            );
        }
        if let Some(sign) = ['$', '%'].into_iter().find(|sign| before.ends_with(*sign)) {
            let message = format!(
                "has `{sign}{{`; write `{{topic}}` without the `{sign}`, or `{{'{sign}'}}` for the character itself"
            );
            return Err(SyntaxError::new(at - sign.len_utf8(), message));
        }
        let start = self.rest;
        let name = self.word(|char| matches!(char, 'a'..='z' | '0'..='9' | '_'));
        if name.is_empty() || name.starts_with(|char: char| char.is_ascii_digit()) {
            self.rest = start;
            return Err(self.unexpected(at, "a name"));
        }
        let mut members = Vec::new();
        while self.eat('.') {
            let member = match self.quoted()? {
                Some(member) => member,
                None => self.word(|char| char.is_alphanumeric() || matches!(char, '_' | '-')),
            };
            if member.is_empty() {
                return Err(self.unexpected(at, "the name of a member, in quotes if it has other characters than letters, digits, `_` and `-`"));
            }
            members.push(member.to_owned());
        }
        let path = self.since(start).to_owned();
        let mut filters = Vec::new();
        while self.eat_spaced('|') {
            filters.push(self.filter(at)?);
        }
        if members.len().max(filters.len()) > MAX_STEPS {
            return error("has a placeholder with more than 16 members or filters");
        }
        let inside = self.since(start).trim_end().to_owned();
        if !self.eat('}') {
            return Err(self.unexpected(at, "`|` and a filter, or `}`"));
        }
        Ok(Piece::Placeholder(Placeholder { name: name.to_owned(), members, path, filters, at, inside }))
    }

    fn filter(&mut self, brace: usize) -> Result<Filter, SyntaxError> {
        let at = self.at();
        let name = self.word(|char| matches!(char, 'a'..='z' | '0'..='9' | '_'));
        if name.is_empty() {
            return Err(self.unexpected(brace, "a filter"));
        }
        let mut arguments = Vec::new();
        if self.eat_spaced('(') {
            while !self.eat_spaced(')') {
                if !arguments.is_empty() && !self.eat_spaced(',') {
                    return Err(self.unexpected(brace, "`,` or `)`"));
                }
                arguments.push(self.argument(brace)?);
            }
        }
        Filter::new(name, arguments).map_err(|message| SyntaxError::new(at, message))
    }

    fn argument(&mut self, brace: usize) -> Result<Argument, SyntaxError> {
        if let Some(text) = self.quoted()? {
            return Ok(Argument::Text(text.to_owned()));
        }
        let before = self.rest;
        let word = self.word(|char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '+' | '_'));
        if matches!(word, "true" | "false") || serde_json::from_str::<serde_json::Number>(word).is_ok() {
            return Ok(Argument::Json(word.to_owned()));
        }
        self.rest = before;
        let error = self.unexpected(brace, "a text in quotes, a number, `true` or `false`");
        if word.is_empty() {
            return Err(error);
        }
        Err(SyntaxError { message: format!("{}; write `'{word}'`", error.message), ..error })
    }

    /// Returns the error for the next character, in a placeholder that begins at `brace`.
    fn unexpected(&self, brace: usize, expected: &str) -> SyntaxError {
        let Some(found) = self.rest.chars().next() else {
            let message =
                "opens a brace and does not close it; add `}`, or write `{'{'}` for the character itself";
            return SyntaxError::new(brace, message);
        };
        let hint = match found {
            '[' => "; for a member write a dot, as in `{json.items.0}`",
            '(' => "; for a filter write `|`, as in `{text | upper}`",
            _ if self.rest.starts_with("or ") => DEFAULT_HINT,
            '|' | '?' | ':' => DEFAULT_HINT,
            'A'..='Z' | '-' => "; a name consists of a-z, 0-9 and _",
            _ => "",
        };
        SyntaxError::new(self.at(), format!("has {found:?} in a placeholder; expected {expected}{hint}"))
    }
}
