//! The signing secrets, and the maximum age of an event.

use std::time::Duration;

use momento_webhook::SigningSecret;
use momento_webhook::visible::single_line;

use super::secrets::sourced;
use super::{Read, SecretId, Settings, Sourced};

const SECRET: &str = "WEBHOOK_SIGNING_SECRET";
const PREVIOUS: &str = "WEBHOOK_SIGNING_SECRET_PREVIOUS";

/// `WEBHOOK_SIGNING_SECRET` or `WEBHOOK_SIGNING_SECRET_ID`, `WEBHOOK_SIGNING_SECRET_PREVIOUS`, and
/// `MAX_EVENT_AGE_SECONDS`.
#[derive(Clone, Debug)]
pub struct SigningConfig {
    /// The signing secret, or the secret that has it.
    pub secret: Sourced<SigningSecret, SecretId>,
    /// One more that is accepted. It can be set beside a secret that has a previous version.
    pub previous: Option<SigningSecret>,
    /// The maximum age of an event; zero for no limit.
    pub max_age: Duration,
}

impl SigningConfig {
    /// The variable that names the secret.
    pub const SECRET_ID: &str = "WEBHOOK_SIGNING_SECRET_ID";

    /// The default of `MAX_EVENT_AGE_SECONDS`.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_mins(1);

    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let needed = "the secret that the sender signs with is needed";
        let secret = sourced(settings, SECRET, Self::SECRET_ID, needed).and_then(|secret| {
            Ok(match secret {
                Sourced::Given(secret) => Sourced::Given(checked(settings, SECRET, &secret)?),
                Sourced::Secret(id) => Sourced::Secret(id),
            })
        });
        let previous = settings
            .line(PREVIOUS)
            .and_then(|secret| secret.map(|secret| checked(settings, PREVIOUS, &secret)).transpose());
        let max_age = settings.parse(
            "MAX_EVENT_AGE_SECONDS",
            Self::DEFAULT_MAX_AGE.as_secs(),
            "a number of seconds, 0 or more",
        );
        let (secret, previous, max_age) = (secret?, previous?, Duration::from_secs(max_age?));
        Ok(Self { secret, previous, max_age })
    }
}

/// Parses a signing secret. Trims invisible characters at its ends, such as a line end of a file: they would make every
/// signature wrong.
///
/// # Errors
/// If the secret is invalid. The error does not show it.
pub fn signing_secret(secret: &str) -> Result<SigningSecret, String> {
    let secret = single_line(secret).map_err(|error| error.to_string())?;
    if secret.trim() != secret {
        return Err("begins or ends with white space".to_owned());
    }
    SigningSecret::new(secret).map_err(|error| error.to_string())
}

fn checked(settings: &mut Settings<'_>, name: &str, secret: &str) -> Read<SigningSecret> {
    signing_secret(secret).or_else(|error| settings.fault(name, error))
}

#[cfg(test)]
mod tests {
    use momento_webhook::momento::sign;

    use super::*;
    use crate::config::tests::{LEAST, faults, read, vars};

    const SECRETS: [&str; 2] = [SECRET, PREVIOUS];

    #[test]
    fn reports_missing_secret() {
        assert_eq!(
            faults(&[("WEBHOOK_SIGNING_SECRET", "")]),
            [(
                "WEBHOOK_SIGNING_SECRET".to_owned(),
                "is not set, and neither is WEBHOOK_SIGNING_SECRET_ID: the secret that the sender signs with is \
                 needed"
                    .to_owned()
            )]
        );
    }

    #[test]
    fn rejects_white_space_at_an_end_and_invisible_characters_inside() {
        for name in SECRETS {
            for (wrong, says) in [
                (" ", "white space"),
                (" secret", "white space"),
                ("secret\u{a0}", "white space"),
                ("sec\tret", "U+0009"),
                ("sec\u{feff}ret", "U+FEFF"),
                ("sec\u{200b}ret", "U+200B"),
            ] {
                let faults = faults(&[(name, wrong)]);
                let [(at, fault)] = &faults[..] else { panic!("{wrong:?}: {faults:?}") };
                assert!(at == name && fault.contains(says), "{wrong:?}: {faults:?}");
            }
            assert_eq!(faults(&[(name, "clé secrète-秘密")]), []);
        }
    }

    #[test]
    fn trims_invisible_characters_at_both_ends() {
        let expected = sign(&SigningSecret::new("secret").unwrap(), b"body");
        for secret in ["\u{feff}secret", "secret\r\n", "\u{200b}secret\u{2060}"] {
            let with = SECRETS.map(|name| (name, secret));
            let signing = read(&vars(&[&with[..], &LEAST].concat())).unwrap().signing;
            let Sourced::Given(current) = signing.secret else { panic!("it is given") };
            for secret in [current, signing.previous.unwrap()] {
                assert_eq!(sign(&secret, b"body"), expected, "{secret:?}");
            }
        }
    }

    #[test]
    fn reads_maximum_age_in_seconds() {
        assert_eq!(faults(&[("MAX_EVENT_AGE_SECONDS", "0")]), []);
        for wrong in ["-1", "1.5", "60s", "99999999999999999999"] {
            assert_eq!(
                faults(&[("MAX_EVENT_AGE_SECONDS", wrong)]),
                [("MAX_EVENT_AGE_SECONDS".to_owned(), "is not a number of seconds, 0 or more".to_owned())]
            );
        }
    }
}
