//! What is printed: results to standard output, everything about them to standard error.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::error::Error;

/// The longest part of a response that is shown to people, in characters.
const SHOWN: usize = 300;

/// Where results go, and where everything else goes.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

impl Output {
    /// The standard output and error of this process.
    #[must_use]
    pub fn standard() -> Self {
        Self::new(io::stdout(), io::stderr())
    }

    /// Others, for tests.
    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), err: Box::new(err) }
    }

    /// Prints one line of a result.
    ///
    /// # Errors
    /// If standard output is closed, or cannot be written.
    pub fn result(&mut self, line: impl fmt::Display) -> Result<(), Error> {
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Error::Closed,
            _ => Error::because("the output cannot be written", &error),
        })
    }

    /// Prints one line of a result as JSON.
    ///
    /// # Errors
    /// If standard output is closed, or cannot be written.
    pub fn json(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(line)?;
        self.result(line)
    }

    /// One line about what goes on, for people. That nobody reads it is no reason to stop.
    pub fn note(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

/// Somebody's text in quotes, with nothing in it that a terminal would obey.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'t>(pub &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        printable(self.0, f, |char| matches!(char, '"' | '\\'))?;
        f.write_char('"')
    }
}

/// Somebody's text without quotes, with nothing in it that a terminal would obey.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'t>(pub &'t str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        printable(self.0, f, |_| false)
    }
}

fn printable(text: &str, f: &mut fmt::Formatter<'_>, also: impl Fn(char) -> bool) -> fmt::Result {
    for char in text.chars() {
        // Control characters move the cursor and more; the others turn around what is next to them.
        if char.is_control()
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || also(char)
        {
            write!(f, "{}", char.escape_default())?;
        } else {
            f.write_char(char)?;
        }
    }
    Ok(())
}

/// A time span for people, with one digit behind the point: `humantime` would print `3ms 140us`.
#[derive(Clone, Copy, Debug)]
pub struct Took(pub Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 1.0 { write!(f, "{:.1} ms", seconds * 1_000.0) } else { write!(f, "{seconds:.1} s") }
    }
}

/// A time span as programs read it: milliseconds, to the microsecond.
#[must_use]
pub fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// Returns the name of a status with its number, such as `200 OK`.
pub(crate) fn reason_phrase(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(name) => format!("{} {name}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Returns the beginning of a response's body, on one line.
pub(crate) fn excerpt(body: &str) -> String {
    let body = body.trim();
    let shown: String = body.chars().take(SHOWN).collect();
    let more = if shown.len() < body.len() { " ..." } else { "" };
    format!("{}{more}", Printable(&shown))
}

/// A value as a shell takes it: bare where that is safe, else in single quotes.
#[must_use]
pub fn shell_word(value: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,+=@%".contains(&byte);
    if !value.is_empty() && value.bytes().all(bare) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_command_the_terminal() {
        assert_eq!(
            Quoted("a\u{1b}[2J\n\u{9b}\u{202e}\"\\").to_string(),
            r#""a\u{1b}[2J\n\u{9b}\u{202e}\"\\""#
        );
        assert_eq!(Printable("\u{7}say \"é\"").to_string(), r#"\u{7}say "é""#);
        assert_eq!(Quoted("Straße 😀").to_string(), "\"Straße 😀\"");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(Took(Duration::from_micros(3_140)).to_string(), "3.1 ms");
        assert_eq!(Took(Duration::from_millis(12_345)).to_string(), "12.3 s");
        assert!((millis(Duration::from_nanos(1_234_567)) - 1.235).abs() < f64::EPSILON);
    }

    #[test]
    fn a_long_answer_is_cut_at_a_character() {
        assert_eq!(excerpt(" {\"a\":\n1} "), "{\"a\":\\n1}");
        let long = "é".repeat(SHOWN + 1);
        assert_eq!(excerpt(&long), format!("{} ...", "é".repeat(SHOWN)));
    }

    #[test]
    fn a_status_without_a_name_is_a_number() {
        assert_eq!(reason_phrase(StatusCode::OK), "200 OK");
        assert_eq!(reason_phrase(StatusCode::from_u16(299).unwrap()), "299");
    }

    #[test]
    fn a_shell_word_stays_one_word() {
        for (value, word) in
            [("plain-1", "plain-1"), ("topic 2", "'topic 2'"), ("it's $x", r"'it'\''s $x'"), ("", "''")]
        {
            assert_eq!(shell_word(value), word);
        }
    }
}
