//! How a request proves to be genuine.

use std::time::Duration;

use momento_webhook::SigningSecret;

use super::secrets::secret_id;
use super::{ConfigErrors, Read, SecretId, Settings, Source, Sourced};
use crate::secrets::{Rotating, SecretText, Versioned, Wanted};

const SECRET: &str = "WEBHOOK_SIGNING_SECRET";
const SECRET_ID: &str = "WEBHOOK_SIGNING_SECRET_ID";
const PREVIOUS: &str = "WEBHOOK_SIGNING_SECRET_PREVIOUS";

/// How a request proves to be genuine, as the function uses it.
#[derive(Clone, Debug)]
pub struct SigningConfig {
    /// The current secret, and the ones before it while it is being rotated.
    pub secrets: Rotating<Vec<SigningSecret>>,
    /// How long ago a webhook may have been sent; zero switches the check off.
    pub max_age: Duration,
}

/// `WEBHOOK_SIGNING_SECRET_ID`, `WEBHOOK_SIGNING_SECRET_PREVIOUS` and `MAX_EVENT_AGE_SECONDS`.
#[derive(Clone, Debug)]
pub struct SigningSecretConfig {
    id: SecretId,
    /// One more, for who begins to keep the secret elsewhere with another one.
    given: Option<SigningSecret>,
    /// How long ago a webhook may have been sent; zero switches the check off.
    pub max_age: Duration,
}

impl SigningConfig {
    /// Reads `WEBHOOK_SIGNING_SECRET`, `WEBHOOK_SIGNING_SECRET_PREVIOUS` and `MAX_EVENT_AGE_SECONDS`, and no
    /// others.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn from_source(source: &dyn Source) -> Result<Self, ConfigErrors> {
        Settings::read(source, |settings| {
            let current = match secret(settings, SECRET) {
                Ok(None) => settings.fault(SECRET, "is not set: it is the secret that the sender signs with"),
                current => current,
            };
            let (previous, max_age) = (secret(settings, PREVIOUS), max_age(settings));
            Ok(Self::given([current?, previous?], max_age?))
        })
    }

    fn given(secrets: [Option<SigningSecret>; 2], max_age: Duration) -> Self {
        Self { secrets: Rotating::fixed(secrets.into_iter().flatten().collect()), max_age }
    }
}

/// The secret, or where it is.
pub(super) fn read(settings: &mut Settings<'_>) -> Read<Sourced<SigningConfig, SigningSecretConfig>> {
    let current = match (secret(settings, SECRET), secret_id(settings, SECRET_ID)) {
        (Err(noted), _) | (_, Err(noted)) => Err(noted),
        (Ok(Some(secret)), Ok(None)) => Ok(Sourced::Given(secret)),
        (Ok(None), Ok(Some(id))) => Ok(Sourced::Secret(id)),
        (Ok(Some(_)), Ok(Some(_))) => {
            settings.fault(SECRET_ID, format!("is set beside {SECRET}; set one of the two"))
        }
        (Ok(None), Ok(None)) => settings.fault(
            SECRET,
            format!(
                "is not set, and neither is {SECRET_ID}: the secret that the sender signs with is needed"
            ),
        ),
    };
    let (given, max_age) = (secret(settings, PREVIOUS), max_age(settings));
    let (given, max_age) = (given?, max_age?);
    Ok(match current? {
        Sourced::Given(current) => Sourced::Given(SigningConfig::given([Some(current), given], max_age)),
        Sourced::Secret(id) => Sourced::Secret(SigningSecretConfig { id, given, max_age }),
    })
}

impl Wanted for SigningSecretConfig {
    type Value = Vec<SigningSecret>;

    fn setting(&self) -> &'static str {
        SECRET_ID
    }

    fn id(&self) -> &SecretId {
        &self.id
    }

    fn read(&self, secret: &Versioned<SecretText>) -> Result<Self::Value, ConfigErrors> {
        let read = |text: &SecretText| {
            // The environment was read before: nothing is looked for in it.
            Settings::read(&|_: &str| None, |settings| checked(settings, SECRET_ID, text.reveal()))
        };
        let Versioned { current, previous } = secret.try_map(read)?;
        Ok([Some(current), previous, self.given.clone()].into_iter().flatten().collect())
    }
}

fn max_age(settings: &mut Settings<'_>) -> Read<Duration> {
    settings.parse("MAX_EVENT_AGE_SECONDS", 60, "a number of seconds, 0 or more").map(Duration::from_secs)
}

fn secret(settings: &mut Settings<'_>, name: &str) -> Read<Option<SigningSecret>> {
    match settings.get(name)? {
        Some(secret) => checked(settings, name, &secret).map(Some),
        None => Ok(None),
    }
}

/// A secret, taken verbatim. What came along from a file or a form would make every signature wrong, and
/// nobody would see why.
fn checked(settings: &mut Settings<'_>, name: &str, secret: &str) -> Read<SigningSecret> {
    if secret.trim() != secret || secret.contains(char::is_control) {
        return settings.fault(
            name,
            "has white space at an end or a control character in it, perhaps a line end of a file",
        );
    }
    match SigningSecret::new(secret) {
        Ok(secret) => Ok(secret),
        Err(error) => settings.fault(name, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Sourced;
    use crate::config::tests::{LEAST, faults, read, vars};

    #[test]
    fn the_secret_must_be_there() {
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
        let Sourced::Given(signing) = read(&vars(&with)).unwrap().signing else { panic!("it is given") };
        assert_eq!(signing.secrets.current().len(), 2);
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
