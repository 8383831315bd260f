//! What commands read: files, and standard input.

use std::io::{self, Read as _};

use crate::error::Error;

/// Reads all bytes of a file.
pub(crate) fn file(path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::because(format_args!("{path} cannot be read"), &error))
}

/// Reads all bytes of a file, or of standard input if it is `-`.
pub(crate) fn bytes(path: &str) -> Result<Vec<u8>, Error> {
    if path != "-" {
        return file(path);
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| Error::because("standard input cannot be read", &error))
}

/// Returns a text as given, or standard input without its last line end if it is `-`.
pub(crate) fn text(given: String) -> Result<String, Error> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::from_utf8(bytes("-")?)
        .map_err(|error| Error::because("standard input cannot be read", &error))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
