//! The errors of a file, each with its line, as compilers print them.

use fanout_core::file::FileError;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::table::counted;
use crate::error::Error;
use crate::output::{Output, Printable};

/// The most characters that are shown of a line.
const MAX_SHOWN: usize = 110;
/// The most characters that are shown before the error.
const MAX_BEFORE: usize = 80;

/// All errors of one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults<'f> {
    pub(crate) name: &'f str,
    pub(crate) text: &'f str,
    pub(crate) errors: &'f [FileError],
}

impl Faults<'_> {
    /// Prints each error with its line, or all of them as one JSON object.
    pub(crate) fn print(&self, is_json: bool, output: &mut Output) -> Result<(), Error> {
        if is_json {
            return output.json(&self.as_json());
        }
        for error in self.errors {
            output.note(format_args!("{}:{error}", self.name));
            self.excerpt(error).iter().flat_map(|excerpt| excerpt.lines()).for_each(|line| output.note(line));
        }
        Ok(())
    }

    /// Returns the line of an error, and under it a caret.
    fn excerpt(&self, error: &FileError) -> Option<String> {
        let line = self.text.lines().nth(error.line.checked_sub(1)?)?;
        if line.trim().is_empty() {
            return None;
        }
        let before = error.column.saturating_sub(1);
        let skipped = before.saturating_sub(MAX_BEFORE);
        let start = if skipped > 0 { "…" } else { "" };
        let mut chars = line.chars().skip(skipped);
        let head: String = chars.by_ref().take(before - skipped).collect();
        let tail: String = chars.by_ref().take(MAX_SHOWN + skipped - before).collect();
        let end = if chars.next().is_some() { "…" } else { "" };
        let (head, tail) = (shown(&head), shown(&tail));
        let number = error.line.to_string();
        let blank = " ".repeat(number.len());
        let caret = format!("{}^", " ".repeat(start.width() + head.width()));
        Some(format!(" {number} | {start}{head}{tail}{end}\n {blank} | {caret}"))
    }

    pub(crate) fn summary(&self) -> String {
        format!("{}: {}", self.name, counted(self.errors.len(), "error"))
    }

    fn as_json(&self) -> Value {
        let error =
            |error: &FileError| json!({"line": error.line, "column": error.column, "message": error.message});
        json!({"file": self.name, "errors": self.errors.iter().map(error).collect::<Vec<_>>()})
    }
}

/// Returns a part of a line as it is printed: a tab as four spaces.
fn shown(part: &str) -> String {
    Printable(&part.replace('\t', "    ")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, line: usize, column: usize) -> Option<String> {
        let error = FileError { line, column, message: String::new() };
        Faults { name: "f", text, errors: &[] }.excerpt(&error)
    }

    #[test]
    fn puts_caret_under_the_error() {
        for (text, line, column, expected) in [
            ("a = 1", 1, 5, " 1 | a = 1\n   |     ^"),
            ("\n\tb = x\r\n", 2, 6, " 2 |     b = x\n   |         ^"),
            ("東 = 1", 1, 3, " 1 | 東 = 1\n   |    ^"),
            ("\u{1b} x", 1, 3, " 1 | \\u{1b} x\n   |        ^"),
            ("a", 1, 2, " 1 | a\n   |  ^"),
        ] {
            assert_eq!(excerpt(text, line, column).unwrap(), expected, "{text:?}");
        }
        assert_eq!(excerpt(&"\n".repeat(99), 99, 1), None);
        assert_eq!(excerpt("", 0, 0), None);
    }

    #[test]
    fn shows_part_of_a_long_line() {
        let line = format!("{}!{}", "a".repeat(1_000), "b".repeat(1_000));
        let excerpt = excerpt(&line, 1, 1_001).unwrap();
        let (shown, caret) = excerpt.split_once('\n').unwrap();
        assert!(shown.chars().count() < 120, "{shown}");
        let position = caret.chars().position(|char| char == '^').unwrap();
        assert_eq!(shown.chars().nth(position), Some('!'));
    }
}
