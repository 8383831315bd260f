//! The signing secrets, and the maximum age of an event.

use std::time::Duration;

use momento_webhook::visible::single_line;
use momento_webhook::{ReceiverSecret, SignaturePolicy};

use super::secrets::sourced;
use super::{Read, SecretId, Settings, Sourced};

const SECRET: &str = "WEBHOOK_SIGNING_SECRET";
const PREVIOUS: &str = "WEBHOOK_SIGNING_SECRET_PREVIOUS";
const SIGNATURE: &str = "WEBHOOK_SIGNATURE";

/// `WEBHOOK_SIGNATURE`, `WEBHOOK_SIGNING_SECRET` or `WEBHOOK_SIGNING_SECRET_ID`, `WEBHOOK_SIGNING_SECRET_PREVIOUS`, and
/// `MAX_EVENT_AGE_SECONDS`.
#[derive(Clone, Debug)]
pub struct SigningConfig {
    /// The schemes that are accepted.
    pub signatures: SignaturePolicy,
    /// The signing secret, or the secret that has it.
    pub secret: Sourced<ReceiverSecret, SecretId>,
    /// One more that is accepted. It can be set beside a secret that has a previous version.
    pub previous: Option<ReceiverSecret>,
    /// The maximum age of an event; zero for no limit.
    pub max_age: Duration,
}

impl SigningConfig {
    /// The variable that names the secret.
    pub const SECRET_ID: &str = "WEBHOOK_SIGNING_SECRET_ID";

    /// The default of `MAX_EVENT_AGE_SECONDS`.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_mins(1);

    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        // With an unknown scheme, the secrets are still read.
        let signatures = policy(settings);
        let scheme = signatures.as_ref().copied().unwrap_or_default();
        let needed = "the secret that the sender signs with is needed";
        let secret = sourced(settings, SECRET, Self::SECRET_ID, needed).and_then(|secret| {
            Ok(match secret {
                Sourced::Given(secret) => Sourced::Given(checked(settings, SECRET, scheme, &secret)?),
                Sourced::Secret(id) => Sourced::Secret(id),
            })
        });
        let previous = settings
            .line(PREVIOUS)
            .and_then(|secret| secret.map(|secret| checked(settings, PREVIOUS, scheme, &secret)).transpose());
        let max_age = settings.parse(
            "MAX_EVENT_AGE_SECONDS",
            Self::DEFAULT_MAX_AGE.as_secs(),
            "a number of seconds, 0 or more",
        );
        let (secret, previous, max_age) = (secret?, previous?, Duration::from_secs(max_age?));
        Ok(Self { signatures: signatures?, secret, previous, max_age })
    }
}

fn policy(settings: &mut Settings<'_>) -> Read<SignaturePolicy> {
    match settings.line(SIGNATURE)?.as_deref() {
        None | Some("momento") => Ok(SignaturePolicy::Momento),
        Some("standard") => Ok(SignaturePolicy::Standard),
        Some("either") => Ok(SignaturePolicy::Either),
        Some(_) => settings.fault(SIGNATURE, "is unknown; expected momento, standard or either"),
    }
}

/// Parses a signing secret for these schemes. Trims invisible characters at its ends, such as a line end of a file: they would make every
/// signature wrong.
///
/// # Errors
/// If the secret is invalid. The error does not show it.
pub fn signing_secret(signatures: SignaturePolicy, secret: &str) -> Result<ReceiverSecret, String> {
    let secret = single_line(secret).map_err(|error| error.to_string())?;
    if secret.trim() != secret {
        return Err("begins or ends with white space".to_owned());
    }
    ReceiverSecret::new(signatures, secret).map_err(|error| error.to_string())
}

fn checked(
    settings: &mut Settings<'_>,
    name: &str,
    signatures: SignaturePolicy,
    secret: &str,
) -> Read<ReceiverSecret> {
    signing_secret(signatures, secret).or_else(|error| settings.fault(name, error))
}

#[cfg(test)]
mod tests {
    use momento_webhook::{SignatureHeaders, SigningSecret, momento};

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
        let signature = momento::sign(&SigningSecret::new("secret").unwrap(), b"body");
        let is_header = |name| name == momento::SIGNATURE_HEADER;
        let headers = SignatureHeaders::collect(|name| is_header(name).then_some(signature.as_bytes()));
        for secret in ["\u{feff}secret", "secret\r\n", "\u{200b}secret\u{2060}"] {
            let with = SECRETS.map(|name| (name, secret));
            let signing = read(&vars(&[&with[..], &LEAST].concat())).unwrap().signing;
            let Sourced::Given(current) = signing.secret else { panic!("it is given") };
            for secret in [current, signing.previous.unwrap()] {
                assert!(headers.verify(signing.signatures, &[secret], b"body").is_ok());
            }
        }
    }

    #[test]
    fn reads_schemes_and_secrets_that_fit_them() {
        let whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for (word, expected) in [
            ("", SignaturePolicy::Momento),
            ("momento", SignaturePolicy::Momento),
            ("standard", SignaturePolicy::Standard),
            ("either", SignaturePolicy::Either),
        ] {
            let with = [(SIGNATURE, word), (SECRET, whsec)];
            assert_eq!(read(&vars(&[&with[..], &LEAST].concat())).unwrap().signing.signatures, expected);
        }
        let says = "is not a secret of Standard Webhooks, which is whsec_ and base64";
        for word in ["standard", "either"] {
            for (current, previous, at) in [("not base64!", whsec, SECRET), (whsec, "not base64!", PREVIOUS)]
            {
                let with = [(SIGNATURE, word), (SECRET, current), (PREVIOUS, previous)];
                assert_eq!(faults(&with), [(at.to_owned(), says.to_owned())]);
            }
        }
        let wrong = faults(&[(SIGNATURE, "both")]);
        assert_eq!(
            wrong,
            [(SIGNATURE.to_owned(), "is unknown; expected momento, standard or either".to_owned())]
        );
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
