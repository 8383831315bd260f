//! Types for names that could be swapped with one another.

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

/// A name that is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// There is only white space in it.
    #[error("is blank: write its name, or leave it out")]
    Blank,
    /// The name of a cache is sent as a header too.
    #[error("has a character that is not visible ASCII")]
    NotAscii,
}

impl CacheName {
    /// # Errors
    /// When no cache can have the name.
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

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicName {
    /// # Errors
    /// When the name is empty.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() { Err(NameError::Empty) } else { Ok(Self(name)) }
    }

    /// The name.
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
