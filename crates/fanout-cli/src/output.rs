//! Prints results to standard output, and everything about them to standard error.
//!
//! All output of the commands goes through [`Output`], which escapes the characters that control a terminal. So a text of a
//! server, a message or a file cannot control it.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use momento_webhook::visible::controls_terminal;
use serde::Serialize;

use crate::error::Error;

/// The longest part of a response that is shown to people, in characters.
const MAX_EXCERPT: usize = 300;

/// A terminal in which a line is edited.
pub(crate) trait Screen: Send {
    /// Prints a line above the one that is edited. Returns false if lines are no longer edited.
    fn print(&mut self, line: &str) -> bool;
}

/// Standard output and standard error, or their replacements in tests.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Where lines go instead, while one is edited.
    screen: Option<Box<dyn Screen>>,
    /// True if labels have colours, in results and in notes.
    has_colours: (bool, bool),
    /// The columns of the terminal that shows results.
    width: Option<u16>,
}

/// The labels with a colour, and its number for a terminal: green, red and yellow.
const COLOURS: [(&str, u8); 6] =
    [("arrived", 32), ("failed", 31), ("dropped", 33), ("retry", 33), ("not sent", 33), ("note", 33)];

impl Output {
    /// Returns the standard output and error of this process.
    #[must_use]
    pub fn standard() -> Self {
        let may_have = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let has_colours = (may_have && io::stdout().is_terminal(), may_have && io::stderr().is_terminal());
        let size = rustix::termios::tcgetwinsize(io::stdout());
        let width = size.ok().map(|size| size.ws_col).filter(|width| *width > 0);
        Self { has_colours, width, ..Self::new(io::stdout(), io::stderr()) }
    }

    /// Returns an output that writes results to `out` and notes to `err`.
    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            screen: None,
            has_colours: (false, false),
            width: None,
        }
    }

    /// Returns the columns of the terminal that shows results, or `None` if they go to a file or a pipe.
    pub(crate) const fn width(&self) -> Option<u16> {
        self.width
    }

    /// Prints one line of a result after a label.
    ///
    /// # Errors
    /// If standard output is closed, or cannot be written.
    pub(crate) fn labelled_result(&mut self, label: &str, rest: impl fmt::Display) -> Result<(), Error> {
        let line = labelled(label, rest, self.has_colours.0);
        self.write_result(&line)
    }

    /// Prints one line about the work after a label.
    pub(crate) fn labelled_note(&mut self, label: &str, rest: impl fmt::Display) {
        let line = labelled(label, rest, self.has_colours.1);
        self.write_note(&line);
    }

    /// Prints through this screen, until [`leave_terminal`](Self::leave_terminal).
    pub(crate) fn share_terminal(&mut self, screen: Box<dyn Screen>) {
        self.screen = Some(screen);
    }

    /// Ends the editing of lines.
    pub(crate) fn leave_terminal(&mut self) {
        self.screen = None;
    }

    /// Prints one line of a result, [escaped](Printable): it stays one line.
    ///
    /// # Errors
    /// If standard output is closed, or cannot be written.
    pub fn result(&mut self, line: impl fmt::Display) -> Result<(), Error> {
        self.write_result(&Printable(&line.to_string()).to_string())
    }

    fn write_result(&mut self, line: &str) -> Result<(), Error> {
        if self.screen.as_mut().is_some_and(|screen| screen.print(line)) {
            return Ok(());
        }
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Error::Closed,
            _ => Error::because("the output cannot be written", &error),
        })
    }

    /// Prints a result of several lines, each as [`result`](Self::result) does.
    ///
    /// # Errors
    /// If standard output is closed, or cannot be written.
    pub fn results(&mut self, lines: &str) -> Result<(), Error> {
        lines.lines().try_for_each(|line| self.result(line))
    }

    /// Prints one line of a result as JSON. Characters that control a terminal are escaped as `\uXXXX`.
    ///
    /// # Errors
    /// If standard output is closed, or cannot be written.
    pub fn json(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let json = serde_json::to_string(line)?;
        // On one line, JSON has these characters inside of strings only, and all of them fit into four digits.
        let escaped = json.chars().fold(String::with_capacity(json.len()), |mut escaped, character| {
            if controls_terminal(character) {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            } else {
                escaped.push(character);
            }
            escaped
        });
        self.result(escaped)
    }

    /// Prints one line about the work, for people, [escaped](Printable). A closed standard error is not an error.
    pub fn note(&mut self, line: impl fmt::Display) {
        self.write_note(&Printable(&line.to_string()).to_string());
    }

    fn write_note(&mut self, line: &str) {
        let screen = self.screen.as_mut().filter(|_| io::stderr().is_terminal());
        if !screen.is_some_and(|screen| screen.print(line)) {
            let _ = writeln!(self.err, "{line}");
        }
    }
}

/// Returns a label, in its colour, and the rest, [escaped](Printable).
fn labelled(label: &str, rest: impl fmt::Display, has_colours: bool) -> String {
    let rest = rest.to_string();
    let colour = COLOURS.iter().find(|(known, _)| has_colours && *known == label);
    match colour {
        Some((_, colour)) => format!("\u{1b}[{colour}m{label:<9}\u{1b}[0m {}", Printable(&rest)),
        None => format!("{label:<9} {}", Printable(&rest)),
    }
}

/// Output that is kept in memory.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Returns what was written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

/// A text in quotes, escaped as [`Printable`] does.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'t>(pub &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        escape(self.0, f, |character| controls_terminal(character) || matches!(character, '"' | '\\'))?;
        f.write_char('"')
    }
}

/// A text on one line, with an escape such as `\u{1b}` in place of each character that
/// [controls a terminal](controls_terminal). [`Output`] prints all lines this way; a caller needs it for the width of
/// a text, and where an unescaped line end would begin another line.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'t>(pub &'t str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, f, controls_terminal)
    }
}

fn escape(text: &str, f: &mut fmt::Formatter<'_>, is_escaped: impl Fn(char) -> bool) -> fmt::Result {
    text.chars().try_for_each(|character| {
        if is_escaped(character) {
            write!(f, "{}", character.escape_default())
        } else {
            f.write_char(character)
        }
    })
}

/// A duration for people, with one digit after the point. `humantime` would print `3ms 140us`.
#[derive(Clone, Copy, Debug)]
pub struct Rounded(pub Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 1.0 { write!(f, "{:.1} ms", seconds * 1_000.0) } else { write!(f, "{seconds:.1} s") }
    }
}

/// Returns a duration for programs: milliseconds, rounded to the microsecond.
#[must_use]
pub fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// Returns the beginning of a response's body, on one line.
pub(crate) fn excerpt(body: &str) -> String {
    let body = body.trim();
    let shown: String = body.chars().take(MAX_EXCERPT).collect();
    let more = if shown.len() < body.len() { " ..." } else { "" };
    format!("{}{more}", Printable(&shown))
}

/// Returns a value as one word of a shell, in single quotes unless it is safe without.
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
    fn escapes_characters_that_control_a_terminal() {
        assert_eq!(
            Quoted("a\u{1b}[2J\n\u{9b}\u{202e}\"\\").to_string(),
            r#""a\u{1b}[2J\n\u{9b}\u{202e}\"\\""#
        );
        assert_eq!(Printable("\u{7}say \"é\"").to_string(), r#"\u{7}say "é""#);
        assert_eq!(Quoted("Straße 😀").to_string(), "\"Straße 😀\"");
    }

    #[test]
    fn colours_label_and_escapes_the_rest() {
        assert_eq!(labelled("arrived", "\u{1b}[0mx", true), "\u{1b}[32marrived  \u{1b}[0m \\u{1b}[0mx");
        assert_eq!(labelled("arrived", "x", false), "arrived   x");
        assert_eq!(labelled("sent", "x", true), "sent      x");
    }

    #[test]
    fn prints_short_durations() {
        assert_eq!(Rounded(Duration::from_micros(3_140)).to_string(), "3.1 ms");
        assert_eq!(Rounded(Duration::from_millis(12_345)).to_string(), "12.3 s");
        assert!((millis(Duration::from_nanos(1_234_567)) - 1.235).abs() < f64::EPSILON);
    }

    #[test]
    fn cuts_long_body_between_characters() {
        assert_eq!(excerpt(" {\"a\":\n1} "), "{\"a\":\\n1}");
        let long = "é".repeat(MAX_EXCERPT + 1);
        assert_eq!(excerpt(&long), format!("{} ...", "é".repeat(MAX_EXCERPT)));
    }

    #[test]
    fn quotes_for_the_shell() {
        for (value, word) in
            [("plain-1", "plain-1"), ("topic 2", "'topic 2'"), ("it's $x", r"'it'\''s $x'"), ("", "''")]
        {
            assert_eq!(shell_word(value), word);
        }
    }
}
