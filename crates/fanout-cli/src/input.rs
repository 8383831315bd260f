//! Reads files and standard input.

use std::io::{self, BufRead, Read as _};

use crate::error::Error;

/// The length of the longest line that is read, in bytes. A message may have far fewer, so that Momento refuses the
/// ones that are too long.
const MAX_LINE: usize = 1024 * 1024;

/// A line, or the reason to skip it.
pub(crate) type Line = Result<String, &'static str>;

/// Reads all bytes of a file.
pub(crate) fn file(path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::because(format_args!("{path} cannot be read"), &error))
}

/// Reads all bytes of a file, or of standard input if the path is `-`.
pub(crate) fn bytes(path: &str) -> Result<Vec<u8>, Error> {
    if path != "-" {
        return file(path);
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| Error::because("standard input cannot be read", &error))
}

/// Returns the text as given, or standard input without its last line end if it is `-`.
pub(crate) fn text(given: String) -> Result<String, Error> {
    if given == "-" { without_line_end(bytes("-")?) } else { Ok(given) }
}

fn without_line_end(mut bytes: Vec<u8>) -> Result<String, Error> {
    remove_line_end(&mut bytes);
    String::from_utf8(bytes).map_err(|error| Error::because("standard input cannot be read", &error))
}

/// Reads the next line without its line end. The flag is true if it is the last line.
///
/// A line without a line end is the last: a terminal passes one on when Ctrl-D is typed inside a line, and would
/// wait for a second Ctrl-D if it were read again.
pub(crate) fn read_line(input: &mut impl BufRead) -> io::Result<Option<(Line, bool)>> {
    let mut line = Vec::new();
    // The longest line fits with its `\r\n`; one byte more without it shows that a line is too long.
    let limit = u64::try_from(MAX_LINE + 2).unwrap_or(u64::MAX);
    if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let has_end = remove_line_end(&mut line);
    if line.len() > MAX_LINE {
        if !has_end {
            input.skip_until(b'\n')?;
        }
        return Ok(Some((Err("skipped a line that is longer than any message"), false)));
    }
    let text = String::from_utf8(line).map_err(|_| "skipped a line that is not UTF-8");
    Ok(Some((text, !has_end)))
}

/// Removes the last line end, `\n` or `\r\n`. Returns true if there was one.
fn remove_line_end(bytes: &mut Vec<u8>) -> bool {
    let is_line = bytes.pop_if(|byte| *byte == b'\n').is_some();
    if is_line {
        bytes.pop_if(|byte| *byte == b'\r');
    }
    is_line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_one_line_end_of_either_kind() {
        for (given, text) in [
            ("", ""),
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\r", "a\r"),
            ("\n", ""),
            ("\r\n", ""),
            ("a\n\n", "a\n"),
            ("a\r\nb\r\n\r\n", "a\r\nb\r\n"),
        ] {
            assert_eq!(without_line_end(given.as_bytes().to_vec()), Ok(text.to_owned()), "{given:?}");
        }
    }

    #[test]
    fn reads_lines_without_their_ends_and_skips_invalid_ones() {
        let long = [&vec![b'x'; MAX_LINE + 1][..], b"\n"].concat();
        let longer = [&vec![b'x'; 3 * MAX_LINE][..], b"\r\n"].concat();
        let longest = vec![b'y'; MAX_LINE];
        let input =
            [&b" a \r\n\r\n\n\xff\n"[..], &long, b"b\rc\n", &longer, &longest, b"\r\nlast\r"].concat();
        let mut input = &input[..];
        let (mut lines, mut last) = (Vec::new(), Vec::new());
        while let Some((line, is_last)) = read_line(&mut input).unwrap() {
            lines.push(line.ok());
            last.push(is_last);
        }
        assert_eq!(last, [false, false, false, false, false, false, false, false, true]);
        let longest = String::from_utf8(longest).unwrap();
        let texts: Vec<_> = lines.iter().map(Option::as_deref).collect();
        assert_eq!(
            texts,
            [
                Some(" a "),
                Some(""),
                Some(""),
                None,
                None,
                Some("b\rc"),
                None,
                Some(longest.as_str()),
                Some("last\r")
            ]
        );
    }
}
