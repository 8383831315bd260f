//! A secret in a secret store: its id, its text, its versions, and the trait of the store.

use std::fmt;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use momento_webhook::visible::{InvisibleCharacter, single_line, trim_invisible};
use tokio::time::Instant;

use crate::reason::{Failure, Reason};

/// A secret, and optionally one member of it: `name`, `name#member`, or the same after `ssm:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretId {
    /// The name in the secret store.
    pub name: SecretName,
    /// The member of the JSON object in the secret; `None` for the whole text.
    pub member: Option<String>,
}

/// The name of a secret in its store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretName {
    /// The name or ARN of a secret in AWS Secrets Manager.
    Secret(String),
    /// The name or ARN of a parameter in AWS Systems Manager.
    Parameter(String),
}

/// Error for an invalid [`SecretId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretIdError {
    /// The name is empty.
    #[error("has no name of a secret")]
    NoName,
    /// The text after `#` is empty.
    #[error("has no name of a member after #")]
    NoMember,
    /// The name has a character that names in AWS cannot have.
    #[error("has a character that is not visible ASCII in the name of the secret")]
    NotAscii,
    /// An invisible character is inside the id.
    #[error(transparent)]
    Invisible(#[from] InvisibleCharacter),
}

impl FromStr for SecretId {
    type Err = SecretIdError;

    fn from_str(given: &str) -> Result<Self, SecretIdError> {
        let given = single_line(given)?;
        // Neither names nor ARNs can have a `#`. A member can have any visible character.
        let (name, member) = match given.split_once('#') {
            Some((_, "")) => return Err(SecretIdError::NoMember),
            Some((name, member)) => (name, Some(member.to_owned())),
            None => (given, None),
        };
        let (name, wrap): (_, fn(String) -> SecretName) = match name.strip_prefix("ssm:") {
            Some(name) => (name, SecretName::Parameter),
            None => (name, SecretName::Secret),
        };
        if name.is_empty() {
            return Err(SecretIdError::NoName);
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretIdError::NotAscii);
        }
        Ok(Self { name: wrap(name.to_owned()), member })
    }
}

impl SecretId {
    /// Returns the part of a secret that this id means, without invisible characters at its ends: a text, or a list as
    /// JSON.
    ///
    /// # Errors
    /// If the part is missing, or neither a text nor a list.
    pub fn select(&self, SecretText(text): &SecretText) -> Result<SecretText, UnusableSecret> {
        // JSON does not allow a byte order mark, which some editors write.
        let text = trim_invisible(text);
        let selected = match &self.member {
            None => text.to_owned(),
            Some(name) => {
                let object: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(text).map_err(|_| UnusableSecret::NotAnObject(name.clone()))?;
                match object.get(name) {
                    None => return Err(UnusableSecret::NoMember(name.clone())),
                    Some(serde_json::Value::String(member)) => trim_invisible(member).to_owned(),
                    Some(list @ serde_json::Value::Array(_)) => list.to_string(),
                    Some(_) => return Err(UnusableSecret::NeitherTextNorList(name.clone())),
                }
            }
        };
        if selected.is_empty() { Err(UnusableSecret::Empty) } else { Ok(SecretText(selected)) }
    }
}

/// Error for a secret that was fetched, and is not what its id says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSecret {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The id names a member, and the text is not a JSON object.
    #[error("is not a JSON object, which it has to be for #{0}")]
    NotAnObject(String),
    /// The JSON object lacks the member.
    #[error("has no member {0:?}")]
    NoMember(String),
    /// The member is neither a text nor a list.
    #[error("has a member {0:?} that is neither a text nor a list")]
    NeitherTextNorList(String),
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret {name}"),
            Self::Parameter(name) => write!(f, "parameter {name}"),
        }
    }
}

/// A secret store: the edge to the service that holds secrets.
pub trait SecretStore: fmt::Debug + Send + Sync + 'static {
    /// Fetches a secret. Gives up on the previous version at `previous_until`, and returns the current one without it. Does
    /// not ask for the previous version if that is `None`.
    fn fetch<'s>(
        &'s self,
        name: &'s SecretName,
        previous_until: Option<Instant>,
    ) -> BoxFuture<'s, Result<StoredSecret, Failure>>;
}

/// A secret as its store returns it.
#[derive(Debug)]
pub struct StoredSecret {
    /// The current version.
    pub current: SecretText,
    /// The previous version, if it was asked for and the secret has one. An error here does not affect the current version.
    pub previous: Result<Option<SecretText>, Failure>,
}

/// Returns the failure of a store that does not respond in time. An unreachable store does not refuse the connection.
#[must_use]
pub fn timed_out() -> Failure {
    let detail =
        "no response in time: a function in a VPC needs a NAT gateway, or an endpoint of the service";
    Failure::new(Reason::TimedOut, detail)
}

/// The text of a secret. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
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

/// The current version of something, and optionally the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The current version.
    pub current: T,
    /// The previous version.
    pub previous: Option<T>,
}

impl<T> Versioned<T> {
    /// Converts each version. Leaves out a previous version that cannot be converted: it may have another form.
    ///
    /// # Errors
    /// The error of the current version.
    pub fn try_map<U, E>(&self, mut convert: impl FnMut(&T) -> Result<U, E>) -> Result<Versioned<U>, E> {
        let current = convert(&self.current)?;
        Ok(Versioned { current, previous: self.previous.as_ref().and_then(|text| convert(text).ok()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(id: &str, text: &str) -> Result<String, UnusableSecret> {
        let id: SecretId = id.parse().unwrap();
        id.select(&SecretText::new(text)).map(|text| text.reveal().to_owned())
    }

    #[test]
    fn parses_name_and_optional_member() {
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:chat/keys-AbCdEf";
        let secret = |name: &str| SecretName::Secret(name.to_owned());
        let parameter = |name: &str| SecretName::Parameter(name.to_owned());
        for (given, name, member) in [
            ("chat/keys", secret("chat/keys"), None),
            ("chat/keys#momento", secret("chat/keys"), Some("momento")),
            ("\u{feff}chat/keys#momento\r\n", secret("chat/keys"), Some("momento")),
            (arn, secret(arn), None),
            (&format!("{arn}#the key"), secret(arn), Some("the key")),
            ("ssm:/chat/key", parameter("/chat/key"), None),
            ("ssm:/chat/keys#a#b", parameter("/chat/keys"), Some("a#b")),
        ] {
            let expected = SecretId { name, member: member.map(str::to_owned) };
            assert_eq!(given.parse(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn rejects_invalid_ids() {
        for (wrong, error) in [
            ("ssm:", SecretIdError::NoName),
            ("#member", SecretIdError::NoName),
            ("name#", SecretIdError::NoMember),
            ("name#\n", SecretIdError::NoMember),
            ("na me", SecretIdError::NotAscii),
            ("ssm:/schlüssel", SecretIdError::NotAscii),
            ("na\nme", InvisibleCharacter('\n').into()),
            ("ssm:\u{feff}/chat/key", InvisibleCharacter('\u{feff}').into()),
            ("name#mem\u{200b}ber", InvisibleCharacter('\u{200b}').into()),
        ] {
            assert_eq!(wrong.parse::<SecretId>(), Err(error), "{wrong:?}");
        }
    }

    #[test]
    fn selects_whole_text_or_one_member() {
        let object = r#"{"key": "text", "n": 1, "list": ["a", "b"]}"#;
        assert_eq!(select("id", "text"), Ok("text".into()));
        assert_eq!(select("id#key", object), Ok("text".into()));
        assert_eq!(select("id#list", object), Ok(r#"["a","b"]"#.into()));
        for (id, text, error) in [
            ("id", "", UnusableSecret::Empty),
            ("id", "\u{feff}\n", UnusableSecret::Empty),
            ("id#key", r#"{"key": ""}"#, UnusableSecret::Empty),
            ("id#key", "plain", UnusableSecret::NotAnObject("key".into())),
            ("id#key", "[1]", UnusableSecret::NotAnObject("key".into())),
            ("id#kye", object, UnusableSecret::NoMember("kye".into())),
            ("id#n", object, UnusableSecret::NeitherTextNorList("n".into())),
        ] {
            assert_eq!(select(id, text), Err(error), "{id} {text}");
        }
    }

    #[test]
    fn trims_invisible_characters_around_text_and_member() {
        for invisible in ["\u{feff}", "\u{200b}", "\r\n"] {
            let member = serde_json::json!({ "key": format!("{invisible}text{invisible}") });
            for (id, text) in [("id", "text".to_owned()), ("id#key", member.to_string())] {
                let selected = select(id, &format!("{invisible}{text}{invisible}"));
                assert_eq!(selected, Ok("text".into()), "{id} {invisible:?}");
            }
        }
    }

    #[test]
    fn leaves_out_previous_version_of_another_form() {
        let id: SecretId = "id#key".parse().unwrap();
        for previous in ["plain", "", r#"{"other": "x"}"#] {
            let current = SecretText::new(r#"{"key": "new"}"#);
            let secret = Versioned { current, previous: Some(SecretText::new(previous)) };
            let selected = secret.try_map(|text| id.select(text));
            let expected = Versioned { current: SecretText::new("new"), previous: None };
            assert_eq!(selected, Ok(expected), "{previous}");
        }
    }

    #[test]
    fn shows_no_secret() {
        assert!(!format!("{:?}", SecretText::new("s3cr3t")).contains("s3cr3t"));
        for text in ["s3cr3t", r#"{"a": "s3cr3t"}"#] {
            let error = select("id#k", text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cr3t"));
        }
    }
}
