//! One module for each command: its flags, and what it does.

pub(crate) mod check;
pub(crate) mod dev;
pub(crate) mod schema;
pub(crate) mod send;
pub(crate) mod sign;
pub(crate) mod topic;

use std::io::Read as _;

use rand::Rng as _;

use crate::cli::Error;

/// The bytes of a file, or of standard input where it is `-`.
fn read(file: &str) -> Result<Vec<u8>, Error> {
    if file == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        return read.map(|_| bytes).map_err(|error| Error::Input("standard input".to_owned(), error));
    }
    std::fs::read(file).map_err(|error| Error::Input(file.to_owned(), error))
}

/// A text, or standard input without its last line end where it is `-`.
fn text(given: String) -> Result<String, Error> {
    if given != "-" {
        return Ok(given);
    }
    let not_utf8 = |error| Error::Input("standard input".to_owned(), std::io::Error::other(error));
    let mut text = String::from_utf8(read("-")?).map_err(not_utf8)?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// An id for a message that has none of its own.
fn message_id() -> String {
    format!("msg_{:016x}", rand::rng().random::<u64>())
}
