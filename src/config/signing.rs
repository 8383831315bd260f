//! The signing secrets, and the maximum age of an event.

use std::time::Duration;

use momento_webhook::visible::{single_line, trim_invisible};
use momento_webhook::{ReceiverSecret, SignaturePolicy};

use super::secrets::sourced;
use super::{Read, SecretId, Settings, Sourced};

const SECRET: &str = "WEBHOOK_SIGNING_SECRET";
const PREVIOUS: &str = "WEBHOOK_SIGNING_SECRET_PREVIOUS";
const SIGNATURE: &str = "WEBHOOK_SIGNATURE";

/// The maximum number of secrets in a list. A request with a forged signature costs a hash of its body for each.
const MAX_SECRETS: usize = 20;

/// `WEBHOOK_SIGNATURE`, `WEBHOOK_SIGNING_SECRET` or `WEBHOOK_SIGNING_SECRET_ID`, `WEBHOOK_SIGNING_SECRET_PREVIOUS`, and
/// `MAX_EVENT_AGE_SECONDS`.
#[derive(Clone, Debug)]
pub struct SigningConfig {
    /// The schemes that are accepted.
    pub signatures: SignaturePolicy,
    /// The signing secrets, or the secret that has them.
    pub secrets: Sourced<Vec<ReceiverSecret>, SecretId>,
    /// More that are accepted. They can be set beside a secret that has a previous version.
    pub previous: Vec<ReceiverSecret>,
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
        let secrets = sourced(settings, SECRET, Self::SECRET_ID, needed).and_then(|secrets| {
            Ok(match secrets {
                Sourced::Given(secrets) => Sourced::Given(checked(settings, SECRET, scheme, &secrets)?),
                Sourced::Secret(id) => Sourced::Secret(id),
            })
        });
        let previous = settings.line(PREVIOUS).and_then(|secrets| match secrets {
            Some(secrets) => checked(settings, PREVIOUS, scheme, &secrets),
            None => Ok(Vec::new()),
        });
        let max_age = settings.parse(
            "MAX_EVENT_AGE_SECONDS",
            Self::DEFAULT_MAX_AGE.as_secs(),
            "a number of seconds, 0 or more",
        );
        let (secrets, previous, max_age) = (secrets?, previous?, Duration::from_secs(max_age?));
        Ok(Self { signatures: signatures?, secrets, previous, max_age })
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

/// Parses the signing secrets of several senders: one secret, or a list of them in JSON.
///
/// # Errors
/// If a secret is invalid, or in the list twice, and if the list is empty or has too many. The error names all such
/// secrets by their positions, and does not show them.
pub fn signing_secrets(signatures: SignaturePolicy, text: &str) -> Result<Vec<ReceiverSecret>, String> {
    let text = trim_invisible(text);
    if !text.starts_with('[') {
        return Ok(vec![signing_secret(signatures, text)?]);
    }
    // The error of the library could quote a secret.
    let texts: Vec<String> = serde_json::from_str(text).map_err(|_| {
        r#"begins with `[` and is not a list of texts in JSON, such as ["one secret", "another"]"#.to_owned()
    })?;
    let texts: Vec<_> = texts.iter().map(|text| trim_invisible(text)).collect();
    if texts.is_empty() {
        return Err("is an empty list; expected a secret".to_owned());
    }
    if texts.len() > MAX_SECRETS {
        return Err(format!("has {} secrets; the maximum is {MAX_SECRETS}", texts.len()));
    }
    let (mut secrets, mut faults) = (Vec::new(), Vec::new());
    for (index, text) in texts.iter().enumerate() {
        let first = texts.iter().position(|other| other == text).filter(|first| *first < index);
        match (signing_secret(signatures, text), first) {
            (Ok(_), Some(first)) => {
                faults.push(format!("secret number {} is the same as number {}", index + 1, first + 1));
            }
            (Ok(secret), None) => secrets.push(secret),
            (Err(error), _) => faults.push(format!("secret number {}: {error}", index + 1)),
        }
    }
    if faults.is_empty() { Ok(secrets) } else { Err(faults.join("; ")) }
}

fn checked(
    settings: &mut Settings<'_>,
    name: &str,
    signatures: SignaturePolicy,
    secrets: &str,
) -> Read<Vec<ReceiverSecret>> {
    signing_secrets(signatures, secrets).or_else(|error| settings.fault(name, error))
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
            let Sourced::Given(current) = signing.secrets else { panic!("they are given") };
            for secrets in [current, signing.previous] {
                assert!(headers.verify(signing.signatures, &secrets, b"body").is_ok());
            }
        }
    }

    #[test]
    fn accepts_each_secret_of_a_list() {
        let is_accepted = |secrets: &[ReceiverSecret], secret: &str| {
            let signature = momento::sign(&SigningSecret::new(secret).unwrap(), b"body");
            let is_header = |name| name == momento::SIGNATURE_HEADER;
            let headers = SignatureHeaders::collect(|name| is_header(name).then_some(signature.as_bytes()));
            headers.verify(SignaturePolicy::Momento, secrets, b"body").is_ok()
        };
        let list = "\u{feff}[ \"first\",\"sec, 2\" ,\"third\\n\"]\r\n";
        for name in SECRETS {
            let with = [(name, list)];
            let signing = read(&vars(&[&with[..], &LEAST].concat())).unwrap().signing;
            let Sourced::Given(current) = signing.secrets else { panic!("they are given") };
            let secrets = if name == SECRET { current } else { signing.previous };
            for secret in ["first", "sec, 2", "third"] {
                assert!(is_accepted(&secrets, secret), "{name} {secret}");
            }
            assert!(!is_accepted(&secrets, list) && !is_accepted(&secrets, "secret"), "{name}");
        }
        let most: Vec<_> = (0..MAX_SECRETS).map(|number| format!("secret {number}")).collect();
        let list = serde_json::to_string_pretty(&most).unwrap();
        let secrets = signing_secrets(SignaturePolicy::Momento, &list).unwrap();
        assert!(most.iter().all(|secret| is_accepted(&secrets, secret)), "a stored list may have lines");
    }

    #[test]
    fn rejects_list_with_invalid_secrets_by_their_positions() {
        let many =
            serde_json::to_string(&(0..=MAX_SECRETS).collect::<Vec<_>>()).unwrap().replace(',', "\",\"");
        let many = many.replace('[', "[\"").replace(']', "\"]");
        let no_list =
            r#"begins with `[` and is not a list of texts in JSON, such as ["one secret", "another"]"#;
        for (wrong, says) in [
            ("[", no_list),
            ("[s3cr3t]", no_list),
            (r#"["s3cr3t", 1]"#, no_list),
            (r#"["s3cr3t"] x"#, no_list),
            ("[]", "is an empty list; expected a secret"),
            (&many, "has 21 secrets; the maximum is 20"),
            (r#"["s3cr3t", ""]"#, "secret number 2: the signing secret is empty"),
            (r#"["s3cr3t", "x", "s3cr3t\n"]"#, "secret number 3 is the same as number 1"),
            (
                r#"[" s3cr3t", "x", "x", "s3\tcr3t"]"#,
                "secret number 1: begins or ends with white space; secret number 3 is the same as number 2; \
                 secret number 4: contains the invisible character U+0009",
            ),
        ] {
            for name in SECRETS {
                assert_eq!(faults(&[(name, wrong)]), [(name.to_owned(), says.to_owned())], "{wrong}");
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
