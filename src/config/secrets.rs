//! What stands for a secret that is kept elsewhere, and how long it is believed.

use std::str::FromStr;
use std::time::Duration;

use fanout_core::secret_store::SecretName;

use super::{Read, Settings};

/// Which secret, and what of it: `name`, `name#member`, or the same behind `ssm:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretId {
    /// What has to be fetched.
    pub name: SecretName,
    /// The member of the JSON object that it holds; all of it where there is none.
    pub member: Option<String>,
}

/// A text that names no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretIdError {
    /// There is no name.
    #[error("names no secret")]
    NoName,
    /// There is a `#` and nothing behind it.
    #[error("names no member behind #")]
    NoMember,
    /// No name has such a character.
    #[error("has a character that is not visible ASCII in the name of the secret")]
    Character,
}

impl FromStr for SecretId {
    type Err = SecretIdError;

    fn from_str(given: &str) -> Result<Self, SecretIdError> {
        // Neither names nor ARNs have a `#`. A member may have anything.
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
            return Err(SecretIdError::Character);
        }
        Ok(Self { name: wrap(name.to_owned()), member })
    }
}

/// `SECRETS_MAX_AGE_SECONDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretsConfig {
    /// After how long secrets are fetched again without being asked to; `None` for never.
    pub max_age: Option<Duration>,
}

impl SecretsConfig {
    /// What a rotation brings is found at the first message that needs it. This is for what nobody notices
    /// otherwise: a signing secret that is no longer to be accepted. An hour costs next to nothing.
    const DEFAULT_SECONDS: u64 = 3_600;

    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let wanted = "a number of seconds, 0 or more";
        let seconds = settings.parse("SECRETS_MAX_AGE_SECONDS", Self::DEFAULT_SECONDS, wanted)?;
        Ok(Self { max_age: (seconds > 0).then(|| Duration::from_secs(seconds)) })
    }
}

/// The secret that the variable `name` stands for, where it is set.
pub(super) fn secret_id(settings: &mut Settings<'_>, name: &str) -> Read<Option<SecretId>> {
    match settings.get(name)?.map(|given| given.parse()).transpose() {
        Ok(id) => Ok(id),
        Err(error) => {
            let error: SecretIdError = error;
            settings.fault(name, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{LEAST, faults, read, vars};

    #[test]
    fn a_secret_has_a_name_and_perhaps_a_member() {
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:chat/keys-AbCdEf";
        let secret = |name: &str| SecretName::Secret(name.to_owned());
        let parameter = |name: &str| SecretName::Parameter(name.to_owned());
        for (given, name, member) in [
            ("chat/keys", secret("chat/keys"), None),
            ("chat/keys#momento", secret("chat/keys"), Some("momento")),
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
    fn what_names_no_secret_is_said() {
        for (wrong, error) in [
            ("ssm:", SecretIdError::NoName),
            ("#member", SecretIdError::NoName),
            ("name#", SecretIdError::NoMember),
            ("na me", SecretIdError::Character),
            ("name\n", SecretIdError::Character),
            ("ssm:/schlüssel", SecretIdError::Character),
        ] {
            assert_eq!(wrong.parse::<SecretId>(), Err(error), "{wrong:?}");
        }
    }

    #[test]
    fn an_age_is_a_number_of_seconds_and_none_is_never() {
        let age = |value: &str| {
            let with = [&[("SECRETS_MAX_AGE_SECONDS", value)][..], &LEAST].concat();
            read(&vars(&with)).unwrap().secrets.max_age
        };
        assert_eq!(age(""), Some(Duration::from_secs(3_600)));
        assert_eq!(age("60"), Some(Duration::from_secs(60)));
        assert_eq!(age("0"), None);
        let wrong = faults(&[("SECRETS_MAX_AGE_SECONDS", "1h")]);
        let expected = ("SECRETS_MAX_AGE_SECONDS".into(), "is not a number of seconds, 0 or more".into());
        assert_eq!(wrong, [expected]);
    }

    #[test]
    fn a_value_and_the_secret_that_it_is_in_do_not_go_together() {
        for (value, id) in [
            ("MOMENTO_API_KEY", "MOMENTO_API_KEY_SECRET_ID"),
            ("WEBHOOK_SIGNING_SECRET", "WEBHOOK_SIGNING_SECRET_ID"),
        ] {
            let both = faults(&[(id, "chat/keys")]);
            assert_eq!(both, [(id.to_owned(), format!("is set beside {value}; set one of the two"))]);
            assert_eq!(faults(&[(value, ""), (id, "chat/keys#member")]), []);
            let wrong = faults(&[(value, ""), (id, "chat/keys#")]);
            assert_eq!(wrong, [(id.to_owned(), "names no member behind #".to_owned())]);
        }
        let with = [("WEBHOOK_SIGNING_SECRET", ""), ("WEBHOOK_SIGNING_SECRET_ID", "id")];
        assert_eq!(faults(&[&with[..], &[("WEBHOOK_SIGNING_SECRET_PREVIOUS", "old")]].concat()), []);
    }
}
