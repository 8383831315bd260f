//! Texts with placeholders, read into pieces.
//!
//! One walk from left to right, which does not call itself: nothing in a text can be nested.

use super::filters::{Argument, Filter};

/// The most bytes of a text.
const MOST_BYTES: usize = 64 * 1024;
/// The most pieces of a text: placeholders, and what stands between them.
const MOST_PIECES: usize = 256;
/// The most members, and the most filters, of a placeholder. Each looks at the whole value.
const MOST_STEPS: usize = 16;

/// How to write what may be missing.
const DEFAULT: &str = "; a default is written `{token_id | default('somebody')}`";

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

/// A placeholder: `{name}`, `{json.member}`, `{name | filter}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// What it is made of: `json`.
    pub(crate) name: String,
    pub(super) members: Vec<String>,
    /// The name with its members, as they were written: `json.from`.
    pub(super) path: String,
    pub(super) filters: Vec<Filter>,
    /// Where its brace is, in bytes.
    pub(crate) at: usize,
    /// All that stands between the braces.
    pub(crate) inside: String,
}

/// A text that cannot be read. The message begins with a verb: its subject is the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Where it is, in bytes; nowhere in a text that is empty.
    pub at: Option<usize>,
    /// What is wrong, and what to write.
    pub message: String,
}

impl SyntaxError {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at: Some(at), message: message.into() }
    }

    /// Returns the error for a text that has to have something in it.
    pub(crate) fn empty() -> Self {
        Self { at: None, message: "is empty; write its text".to_owned() }
    }
}

impl Placeholder {
    /// Returns true if it is a name and nothing else.
    pub(crate) fn is_plain(&self) -> bool {
        self.members.is_empty() && self.filters.is_empty()
    }
}

/// Reads a text. In a name, the wildcards and parameters of other syntaxes are refused as well: nobody means a topic
/// that is called so.
pub(crate) fn parse(source: &str, is_name: bool) -> Result<Vec<Piece>, SyntaxError> {
    if source.len() > MOST_BYTES {
        return Err(SyntaxError::new(0, format!("has more than {MOST_BYTES} bytes")));
    }
    let mut pieces = Vec::new();
    let mut cursor = Cursor { source, rest: source };
    loop {
        let at = cursor.at();
        let text = cursor.word(|char| !matches!(char, '{' | '}'));
        if let Some(sign) = foreign_sign(text, text == source).filter(|_| is_name) {
            let message = format!(
                "has `{sign}`, which has no meaning here: write `{{name}}` for what differs, or `{{'{sign}'}}` to mean it"
            );
            return Err(SyntaxError::new(at + text.find(sign).unwrap_or(0), message));
        }
        push_text(&mut pieces, text);
        if cursor.rest.is_empty() {
            return Ok(pieces);
        }
        match cursor.placeholder(text)? {
            Piece::Text(text) => push_text(&mut pieces, &text),
            _ if pieces.len() >= MOST_PIECES => {
                return Err(SyntaxError::new(
                    at,
                    format!("has more than {MOST_PIECES} placeholders and texts"),
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

/// Returns the sign by which other syntaxes say in a name that something differs.
fn foreign_sign(text: &str, is_whole: bool) -> Option<char> {
    let is_word = |text: &str| !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric());
    let is_in = |sign: &char| match sign {
        '*' => text.contains('*'),
        ':' => text.split('/').skip(1).any(|level| level.strip_prefix(':').is_some_and(is_word)),
        sign => {
            (is_whole || text.contains('/'))
                && text.split('/').any(|level| level.strip_prefix(*sign) == Some(""))
        }
    };
    ['*', ':', '+', '#'].into_iter().find(is_in)
}

struct Cursor<'s> {
    source: &'s str,
    /// What is not read yet.
    rest: &'s str,
}

impl<'s> Cursor<'s> {
    fn at(&self) -> usize {
        self.source.len() - self.rest.len()
    }

    /// Takes all characters that are of a kind.
    fn word(&mut self, is_of_it: impl Fn(char) -> bool) -> &'s str {
        let end = self.rest.find(|char| !is_of_it(char)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes this one, if it comes next.
    fn eat(&mut self, char: char) -> bool {
        let rest = self.rest.strip_prefix(char);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes this one and the white space around it, if it comes next.
    fn eat_spaced(&mut self, char: char) -> bool {
        self.skip_space();
        let is_there = self.eat(char);
        self.skip_space();
        is_there
    }

    /// Takes a text in quotes of either kind, if one comes next.
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

    /// Takes what begins at a brace. `before` is the text in front of it.
    fn placeholder(&mut self, before: &str) -> Result<Piece, SyntaxError> {
        let at = self.at();
        let error = |message: &str| Err(SyntaxError::new(at, message));
        if !self.eat('{') {
            return error("closes a brace that is not open; a brace itself is written `{'}'}`");
        }
        let foreign = match self.rest.chars().next() {
            Some('{') => "has `{{`: write one brace, as `{topic}`; a brace itself is written `{'{'}`",
            Some('%') => {
                "has `{%`: a text has no blocks; write `{token_id | default('somebody')}` for what may be missing, and \
                 a destination of its own with the transform `filter` for a condition"
            }
            Some('#') => "has `{#`: a text has no comments; write them into the file, behind `#`",
            Some('}') => "has a placeholder without a name; a brace itself is written `{'{'}`",
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
                "has a quoted text in braces with more behind it; expected `}`. For JSON, write a table in place of a text",
            );
        }
        if let Some(sign) = ['$', '%'].into_iter().find(|sign| before.ends_with(*sign)) {
            let message = format!(
                "has `{sign}{{`: write `{{topic}}` without the `{sign}`; the sign itself is written `{{'{sign}'}}`"
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
                return Err(self.unexpected(at, "the name of a member, in quotes if it has signs"));
            }
            members.push(member.to_owned());
        }
        let path = start.strip_suffix(self.rest).unwrap_or(start).to_owned();
        let mut filters = Vec::new();
        while self.eat_spaced('|') {
            filters.push(self.filter(at)?);
        }
        if members.len().max(filters.len()) > MOST_STEPS {
            return error("has a placeholder with too many members or filters: more than 16");
        }
        let inside = start.strip_suffix(self.rest).unwrap_or(start).trim_end().to_owned();
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
        Err(self.unexpected(brace, "a text in quotes, a number, `true` or `false`"))
    }

    /// Returns the error for what comes next, in a placeholder that begins at `brace`.
    fn unexpected(&self, brace: usize, expected: &str) -> SyntaxError {
        let Some(found) = self.rest.chars().next() else {
            let message = "opens a brace and does not close it; add `}`, or write `{'{'}` to mean a brace";
            return SyntaxError::new(brace, message);
        };
        let hint = match found {
            '[' => "; a member is written with a dot, as `{json.items.0}`",
            '(' => "; a filter is written behind `|`, as `{text | upper}`",
            _ if self.rest.starts_with("or ") => DEFAULT,
            '|' | '?' | ':' => DEFAULT,
            'A'..='Z' | '-' => "; a name has a-z, 0-9 and _",
            _ => "",
        };
        SyntaxError::new(self.at(), format!("has {found:?} in a placeholder; expected {expected}{hint}"))
    }
}
