//! The id of a secret in place of its value, and the maximum age of secrets.

use std::time::Duration;

use fanout_core::secret_store::{SecretId, SecretIdError};

use super::{Read, Settings, Sourced};

/// `SECRETS_MAX_AGE_SECONDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretsConfig {
    /// The age at which a secret is fetched again without a reason; `None` for never.
    pub max_age: Option<Duration>,
}

impl SecretsConfig {
    /// The first message that needs a new version finds it. The age is for what no message finds: a signing secret
    /// that is withdrawn. An hour costs next to nothing.
    const DEFAULT_SECONDS: u64 = 3_600;

    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let wanted = "a number of seconds, 0 or more";
        let seconds = settings.parse("SECRETS_MAX_AGE_SECONDS", Self::DEFAULT_SECONDS, wanted)?;
        Ok(Self { max_age: (seconds > 0).then(|| Duration::from_secs(seconds)) })
    }
}

/// Reads the value of `name`, or the id of its secret from `id_name`. `needed` says what is missing without either.
pub(super) fn sourced(
    settings: &mut Settings<'_>,
    name: &str,
    id_name: &str,
    needed: &str,
) -> Read<Sourced<String, SecretId>> {
    let id = settings.line(id_name).and_then(|id| {
        let id = id.map(|id| id.parse()).transpose();
        id.or_else(|error: SecretIdError| settings.fault(id_name, error.to_string()))
    });
    match (settings.line(name)?, id?) {
        (Some(value), None) => Ok(Sourced::Given(value)),
        (None, Some(id)) => Ok(Sourced::Secret(id)),
        (Some(_), Some(_)) => settings.fault(id_name, format!("is set beside {name}; set one of the two")),
        (None, None) => settings.fault(name, format!("is not set, and neither is {id_name}: {needed}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{LEAST, faults, read, vars};

    #[test]
    fn reads_maximum_age_in_seconds_with_zero_for_never() {
        let age = |value: &str| {
            let with = [&[("SECRETS_MAX_AGE_SECONDS", value)][..], &LEAST].concat();
            read(&vars(&with)).unwrap().secrets.max_age
        };
        assert_eq!(age(""), Some(Duration::from_hours(1)));
        assert_eq!(age("60"), Some(Duration::from_mins(1)));
        assert_eq!(age("0"), None);
        let wrong = faults(&[("SECRETS_MAX_AGE_SECONDS", "1h")]);
        let expected = ("SECRETS_MAX_AGE_SECONDS".into(), "is not a number of seconds, 0 or more".into());
        assert_eq!(wrong, [expected]);
    }

    #[test]
    fn rejects_value_and_id_of_its_secret_together() {
        for (value, id) in [
            ("MOMENTO_API_KEY", "MOMENTO_API_KEY_SECRET_ID"),
            ("WEBHOOK_SIGNING_SECRET", "WEBHOOK_SIGNING_SECRET_ID"),
        ] {
            let both = faults(&[(id, "chat/keys")]);
            assert_eq!(both, [(id.to_owned(), format!("is set beside {value}; set one of the two"))]);
            assert_eq!(faults(&[(value, ""), (id, "chat/keys#member")]), []);
            assert_eq!(faults(&[(value, ""), (id, "\u{feff}chat/keys#member\u{200b}")]), []);
            for (wrong, says) in [
                ("chat/keys#", "has no name of a member after #"),
                ("chat/\u{feff}keys", "contains the invisible character U+FEFF"),
                ("chat/keys#mem\u{200b}ber", "contains the invisible character U+200B"),
            ] {
                assert_eq!(faults(&[(value, ""), (id, wrong)]), [(id.to_owned(), says.to_owned())]);
            }
        }
        let with = [("WEBHOOK_SIGNING_SECRET", ""), ("WEBHOOK_SIGNING_SECRET_ID", "id")];
        assert_eq!(faults(&[&with[..], &[("WEBHOOK_SIGNING_SECRET_PREVIOUS", "old")]].concat()), []);
    }
}
