//! The error of all commands, and its exit codes.

use std::error::Error as StdError;
use std::fmt;

/// Error of a command. It holds the message to print, and no error of a lower layer: its only use is to be printed.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The flags contradict one another, or name something that cannot be used. Exit code 2.
    Usage(String),
    /// Anything else. Exit code 1.
    Failed(String),
    /// The reader of standard output has gone, as in `fanout topic subscribe ... | head -1`. Exit code 0.
    Closed,
}

impl Error {
    /// Returns a failure that says what failed, and why.
    pub fn because(what: impl fmt::Display, cause: &dyn StdError) -> Self {
        Self::Failed(format!("{what}: {}", with_sources(cause)))
    }

    /// Returns what is wrong; empty if the reader of standard output has gone.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Usage(message) | Self::Failed(message) => message,
            Self::Closed => "",
        }
    }
}

/// Makes a failure of any other error. This type is not an error of the standard library for that reason.
impl<E: StdError> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Failed(with_sources(&error))
    }
}

/// Returns the message of an error and of all its sources, on one line.
fn with_sources(error: &dyn StdError) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}
