//! Secrets that are kept elsewhere: the edge to what keeps them.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::reason::Reason;

/// Where it is out of reach, nobody refuses the connection.
pub const NO_ANSWER: &str =
    "no answer in time: what runs in a VPC needs a way out to the service, or an endpoint of it";

/// What can be fetched in one go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretName {
    /// A secret of AWS Secrets Manager: its name or its ARN.
    Secret(String),
    /// A parameter of AWS Systems Manager: its name or its ARN.
    Parameter(String),
}

/// As an operator knows it.
impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret {name}"),
            Self::Parameter(name) => write!(f, "parameter {name}"),
        }
    }
}

/// What keeps secrets: the edge to it.
pub trait SecretStore: fmt::Debug + Send + Sync + 'static {
    /// Both versions of the secret `name`. The one before is given up on at `deadline`, and the current one goes without.
    fn fetch<'s>(
        &'s self,
        name: &'s SecretName,
        deadline: Instant,
    ) -> BoxFuture<'s, Result<Kept, SecretError>>;
}

/// What there is of a secret.
#[derive(Debug)]
pub struct Kept {
    /// The version that counts.
    pub current: SecretText,
    /// The one before it, where there is one. What is wrong with it keeps nobody from using the current one.
    pub previous: Result<Option<SecretText>, SecretError>,
}

impl Kept {
    /// The versions that are known.
    #[must_use]
    pub fn versions(&self) -> Versioned<SecretText> {
        let previous = self.previous.as_ref().ok().cloned().flatten();
        Versioned { current: self.current.clone(), previous }
    }

    /// Whether the version before may be known in a moment. One that cannot be read for good is none.
    #[must_use]
    pub fn is_half(&self) -> bool {
        self.previous.as_ref().is_err_and(|error| error.reason.is_transient())
    }
}

/// Something, and perhaps what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The one that counts.
    pub current: T,
    /// The one before it.
    pub previous: Option<T>,
}

/// A secret, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// This secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(<redacted>)")
    }
}

/// Why a secret could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct SecretError {
    /// What went wrong.
    pub reason: Reason,
    /// The same in words.
    pub detail: &'static str,
    /// What the client library said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl<T> Versioned<T> {
    /// The same of each version, but without the one before where there is none for it.
    ///
    /// # Errors
    /// When `map` fails for the current one.
    pub fn try_map<U, E>(&self, mut map: impl FnMut(&T) -> Result<U, E>) -> Result<Versioned<U>, E> {
        let current = map(&self.current)?;
        Ok(Versioned { current, previous: self.previous.as_ref().and_then(|previous| map(previous).ok()) })
    }
}
