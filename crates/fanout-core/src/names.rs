//! Types for names that could be confused.

use std::fmt;

use serde::Serialize;

/// The name of a cache, which is the namespace of topics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct CacheName(String);

/// The name of a topic: any text, spaces, commas and slashes included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TopicName(String);

/// Error for an invalid cache or topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("is empty")]
    Empty,
    /// The name is only white space.
    #[error("is blank; expected a name")]
    Blank,
    /// The name of a cache is also sent as a header, which is visible ASCII.
    #[error("has a character that is not visible ASCII")]
    NotAscii,
}

impl CacheName {
    /// Checks a name.
    ///
    /// # Errors
    /// If the name is blank, or has characters other than visible ASCII and spaces.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.trim().is_empty() {
            Err(NameError::Blank)
        } else if name.bytes().any(|byte| byte != b' ' && !byte.is_ascii_graphic()) {
            Err(NameError::NotAscii)
        } else {
            Ok(Self(name))
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicName {
    /// Checks a name.
    ///
    /// # Errors
    /// If the name is empty.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() { Err(NameError::Empty) } else { Ok(Self(name)) }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
