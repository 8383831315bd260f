//! How a request proves to be genuine.

use std::time::Duration;

use momento_webhook::SigningSecret;

use super::{Read, Settings};

const SECRET: &str = "WEBHOOK_SIGNING_SECRET";

/// `WEBHOOK_SIGNING_SECRET`, `WEBHOOK_SIGNING_SECRET_PREVIOUS` and `MAX_EVENT_AGE_SECONDS`.
#[derive(Clone, Debug)]
pub struct SigningConfig {
    /// The current secret, and the one before it while it is being rotated.
    pub secrets: Vec<SigningSecret>,
    /// How long ago a webhook may have been sent; zero switches the check off.
    pub max_age: Duration,
}

impl SigningConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let current = match secret(settings, SECRET) {
            Ok(None) => settings.fault(SECRET, "is not set: it is the secret that the sender signs with"),
            current => current,
        };
        let previous = secret(settings, "WEBHOOK_SIGNING_SECRET_PREVIOUS");
        let seconds = settings.parse("MAX_EVENT_AGE_SECONDS", 60, "a number of seconds, 0 or more");
        let secrets = [current?, previous?].into_iter().flatten();
        Ok(Self {
            // An empty variable counts as not set, so no secret is empty.
            secrets: secrets.filter_map(|secret| SigningSecret::new(&secret).ok()).collect(),
            max_age: Duration::from_secs(seconds?),
        })
    }
}

/// A secret, taken verbatim. What came along from a file or a form would make every signature wrong, and
/// nobody would see why.
fn secret(settings: &mut Settings<'_>, name: &str) -> Read<Option<String>> {
    match settings.get(name)? {
        Some(secret) if secret.trim() != secret || secret.contains(char::is_control) => settings.fault(
            name,
            "has white space at an end or a control character in it, perhaps a line end of a file",
        ),
        secret => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{LEAST, faults, read, vars};

    #[test]
    fn the_secret_must_be_there() {
        assert_eq!(
            faults(&[("WEBHOOK_SIGNING_SECRET", "")]),
            [(
                "WEBHOOK_SIGNING_SECRET".to_owned(),
                "is not set: it is the secret that the sender signs with".to_owned()
            )]
        );
    }

    #[test]
    fn a_secret_has_no_line_end_and_is_not_blank() {
        for name in ["WEBHOOK_SIGNING_SECRET", "WEBHOOK_SIGNING_SECRET_PREVIOUS"] {
            for wrong in ["secret\n", " ", " secret", "sec\tret"] {
                let faults = faults(&[(name, wrong)]);
                assert!(matches!(&faults[..], [(at, _)] if at == name), "{wrong:?}: {faults:?}");
            }
            assert_eq!(faults(&[(name, "clé secrète-秘密")]), []);
        }
    }

    #[test]
    fn the_previous_secret_is_one_more() {
        let with = [&[("WEBHOOK_SIGNING_SECRET_PREVIOUS", "old")][..], &LEAST].concat();
        assert_eq!(read(&vars(&with)).unwrap().signing.secrets.len(), 2);
    }

    #[test]
    fn an_age_is_a_number_of_seconds() {
        assert_eq!(faults(&[("MAX_EVENT_AGE_SECONDS", "0")]), []);
        for wrong in ["-1", "1.5", "60s", "99999999999999999999"] {
            assert_eq!(
                faults(&[("MAX_EVENT_AGE_SECONDS", wrong)]),
                [("MAX_EVENT_AGE_SECONDS".to_owned(), "is not a number of seconds, 0 or more".to_owned())]
            );
        }
    }
}
