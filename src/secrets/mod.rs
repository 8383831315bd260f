//! Secrets that are kept elsewhere, and change while the function runs.
//!
//! | module | what it is for |
//! | --- | --- |
//! | (here) | the edge to what keeps them, and what is made of what it gives |
//! | [`rotating`] | a value made of a secret, fetched again when it may have changed |
//!
//! Each secret has a current version and perhaps the one before it. Whoever rotates one cannot change
//! everything that uses it in the same instant, so both count.

pub mod rotating;

use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::config::{ConfigError, ConfigErrors, SecretId};
use fanout_core::reason::{Reason, with_sources};
use fanout_core::secret_store::NO_ANSWER;
pub use fanout_core::secret_store::{Kept, SecretError, SecretName, SecretStore, SecretText, Versioned};

pub use rotating::{Instead, Policy, Rotating};

/// How long a secret is waited for, its version before included. A function has 10 s to start.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one is waited for that is fetched again. Requests wait for it, which have 4 s, and something to do afterwards.
pub const REFETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long before that its version before is given up on.
const SPARE: Duration = Duration::from_millis(500);

/// Why a secret that was fetched is not what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("is empty")]
    Empty,
    #[error("is not a JSON object, which it has to be for #{0}")]
    NoObject(String),
    #[error("has no member {0:?}")]
    NoMember(String),
    #[error("has a member {0:?} that is not a string")]
    NoString(String),
}

/// A setting that is in a secret.
pub trait Wanted: fmt::Debug + Send + Sync + 'static {
    /// What is made of it.
    type Value: Send + Sync + 'static;

    /// The variable that names the secret.
    fn setting(&self) -> &'static str;

    /// The secret.
    fn id(&self) -> &SecretId;

    /// What is made of it. What is wrong with the version before is no fault: it may be of another form.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    fn read(&self, secret: &Versioned<SecretText>) -> Result<Self::Value, ConfigErrors>;
}

impl SecretId {
    /// What is meant of the secret that was fetched.
    fn pick(&self, fetched: &Versioned<SecretText>) -> Result<Versioned<SecretText>, Unusable> {
        fetched.try_map(|version| self.pick_one(version))
    }

    fn pick_one(&self, secret: &SecretText) -> Result<SecretText, Unusable> {
        let picked = match &self.member {
            None => secret.clone(),
            Some(name) => {
                let object: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(secret.reveal()).map_err(|_| Unusable::NoObject(name.clone()))?;
                match object.get(name) {
                    None => return Err(Unusable::NoMember(name.clone())),
                    Some(serde_json::Value::String(member)) => SecretText::new(member),
                    Some(_) => return Err(Unusable::NoString(name.clone())),
                }
            }
        };
        if picked.reveal().is_empty() { Err(Unusable::Empty) } else { Ok(picked) }
    }
}

/// Fetches secrets, all at once, within [`FETCH_TIMEOUT`].
pub async fn fetch(store: &dyn SecretStore, names: &[SecretName]) -> Vec<Result<Kept, SecretError>> {
    join_all(names.iter().map(|name| fetch_one(store, name, FETCH_TIMEOUT))).await
}

async fn fetch_one(
    store: &dyn SecretStore,
    name: &SecretName,
    patience: Duration,
) -> Result<Kept, SecretError> {
    let now = Instant::now();
    let fetching = store.fetch(name, now + patience.saturating_sub(SPARE));
    let no_answer = |_| Err(SecretError { reason: Reason::TimedOut, detail: NO_ANSWER, source: None });
    let kept = timeout_at(now + patience, fetching).await.unwrap_or_else(no_answer)?;
    if let Err(error) = &kept.previous {
        let error = with_sources(error);
        tracing::warn!(%name, error, "the version before of a secret cannot be read; the current one is used");
    }
    Ok(kept)
}

/// What `wanted` means of what was fetched.
///
/// # Errors
/// What is wrong, by the name of the setting.
fn pick<T: Send + Sync + 'static>(
    wanted: &dyn Wanted<Value = T>,
    fetched: Result<&Kept, &SecretError>,
) -> Result<Versioned<SecretText>, ConfigErrors> {
    let id = wanted.id();
    let fault = match fetched.map(|kept| id.pick(&kept.versions())) {
        Ok(Ok(picked)) => return Ok(picked),
        Ok(Err(unusable)) => format!("{} {unusable}", id.name),
        Err(error) => format!("{}: {}", id.name, with_sources(error)),
    };
    Err(ConfigErrors(vec![ConfigError { name: wanted.setting().to_owned(), fault }]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn text(text: &str) -> SecretText {
        SecretText::new(text)
    }

    fn pick(id: &str, current: &str, previous: Option<&str>) -> Result<Versioned<SecretText>, Unusable> {
        let id: SecretId = id.parse().unwrap();
        id.pick(&Versioned { current: text(current), previous: previous.map(text) })
    }

    #[test]
    fn all_of_a_secret_or_one_member() {
        let whole = Versioned { current: text("new"), previous: Some(text("old")) };
        assert_eq!(pick("id", "new", Some("old")), Ok(whole.clone()));
        let (new, old) = (r#"{"key": "new", "n": 1}"#, r#"{"key": "old"}"#);
        assert_eq!(pick("id#key", new, Some(old)), Ok(whole));
        for (id, current, error) in [
            ("id", "", Unusable::Empty),
            ("id#key", r#"{"key": ""}"#, Unusable::Empty),
            ("id#key", "plain", Unusable::NoObject("key".into())),
            ("id#key", "[1]", Unusable::NoObject("key".into())),
            ("id#kye", new, Unusable::NoMember("kye".into())),
            ("id#n", new, Unusable::NoString("n".into())),
        ] {
            assert_eq!(pick(id, current, Some(old)), Err(error), "{id} {current}");
        }
    }

    #[test]
    fn a_version_before_of_another_form_is_none() {
        for old in ["plain", "", r#"{"other": "x"}"#] {
            let picked = pick("id#key", r#"{"key": "new"}"#, Some(old)).unwrap();
            assert_eq!(picked, Versioned { current: text("new"), previous: None }, "{old}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        assert!(!format!("{:?}", text("s3cr3t")).contains("s3cr3t"));
        for error in [pick("id#k", "s3cr3t", None), pick("id#k", r#"{"a": "s3cr3t"}"#, None)] {
            let error = error.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cr3t"));
        }
    }
}
