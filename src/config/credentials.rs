//! The API key and endpoint of Momento.

use fanout_momento::{Credentials, CredentialsError, Endpoint};

use super::secrets::sourced;
use super::{ConfigErrors, Read, SecretId, Settings, Source, Sourced};

const KEY: &str = "MOMENTO_API_KEY";
const ENDPOINT: &str = "MOMENTO_ENDPOINT";

/// `MOMENTO_API_KEY` or `MOMENTO_API_KEY_SECRET_ID`, and `MOMENTO_ENDPOINT`.
#[derive(Clone, Debug)]
pub struct MomentoConfig {
    /// The API key with its endpoint, or the secret that has the key.
    pub credentials: Sourced<Credentials, SecretId>,
    /// The endpoint, which a key in a secret may need.
    pub endpoint: Option<Endpoint>,
}

impl MomentoConfig {
    /// The variable that names the secret.
    pub const SECRET_ID: &str = "MOMENTO_API_KEY_SECRET_ID";

    /// Reads `MOMENTO_API_KEY` and `MOMENTO_ENDPOINT` only.
    ///
    /// # Errors
    /// All faults of these settings.
    pub fn credentials(source: &dyn Source) -> Result<Credentials, ConfigErrors> {
        Settings::read(source, |settings| {
            let key = settings.line(KEY).and_then(|key| match key {
                Some(key) => Ok(key),
                None => settings.fault(KEY, "is not set: an API key or a token of Momento"),
            });
            let endpoint = endpoint(settings);
            credentials(settings, &key?, endpoint?.as_ref())
        })
    }

    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let key = sourced(settings, KEY, Self::SECRET_ID, "an API key or a token of Momento is needed");
        let endpoint = endpoint(settings);
        let (key, endpoint) = (key?, endpoint?);
        let credentials = match key {
            Sourced::Given(key) => Sourced::Given(credentials(settings, &key, endpoint.as_ref())?),
            Sourced::Secret(id) => Sourced::Secret(id),
        };
        Ok(Self { credentials, endpoint })
    }
}

fn endpoint(settings: &mut Settings<'_>) -> Read<Option<Endpoint>> {
    let endpoint = settings.line(ENDPOINT)?.map(|endpoint| endpoint.parse()).transpose();
    endpoint.or_else(|error: fanout_momento::EndpointError| settings.fault(ENDPOINT, error.to_string()))
}

fn credentials(settings: &mut Settings<'_>, key: &str, endpoint: Option<&Endpoint>) -> Read<Credentials> {
    Credentials::new(key, endpoint).or_else(|error| match error {
        CredentialsError::EndpointNeeded => {
            settings.fault(ENDPOINT, format!("is not set, and the v2 key in {KEY} needs it"))
        }
        error => settings.fault(KEY, error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use crate::config::tests::faults;

    fn v2() -> String {
        let segment = |json: &str| URL_SAFE_NO_PAD.encode(json);
        format!("{}.{}.signature", segment(r#"{"alg":"none"}"#), segment(r#"{"t":"g","id":"x"}"#))
    }

    #[test]
    fn v2_key_needs_endpoint() {
        assert_eq!(
            faults(&[("MOMENTO_API_KEY", &v2()), ("MOMENTO_ENDPOINT", "")]),
            [(
                "MOMENTO_ENDPOINT".to_owned(),
                "is not set, and the v2 key in MOMENTO_API_KEY needs it".to_owned()
            )]
        );
        assert_eq!(faults(&[("MOMENTO_API_KEY", &v2()), ("MOMENTO_ENDPOINT", "cell-1.example.com")]), []);
    }

    #[test]
    fn reports_faults_of_key_and_endpoint_together() {
        let faults = faults(&[("MOMENTO_API_KEY", ""), ("MOMENTO_ENDPOINT", "https://wrong")]);
        let names: Vec<_> = faults.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["MOMENTO_API_KEY", "MOMENTO_ENDPOINT"]);
    }

    #[test]
    fn names_variable_of_invalid_key_or_endpoint() {
        for (key, endpoint, wrong, says) in [
            ("", "", "MOMENTO_API_KEY", "is not set"),
            ("any key", "", "MOMENTO_API_KEY", "is neither"),
            ("a.b.c", "cell-1.example.com", "MOMENTO_API_KEY", "looks like a v2"),
            ("ke\ny", "http://localhost:8080", "MOMENTO_API_KEY", "U+000A"),
            ("ke\u{feff}y", "http://localhost:8080", "MOMENTO_API_KEY", "U+FEFF"),
            ("k", "https://cell-1.example.com", "MOMENTO_ENDPOINT", "is not the host name"),
            ("k", "http://localhost:8080/path", "MOMENTO_ENDPOINT", "is not http://host:port"),
            ("k", "http://local\u{200b}host:8080", "MOMENTO_ENDPOINT", "U+200B"),
        ] {
            let faults = faults(&[("MOMENTO_API_KEY", key), ("MOMENTO_ENDPOINT", endpoint)]);
            let [(name, fault)] = &faults[..] else { panic!("{key:?} {endpoint:?}: {faults:?}") };
            assert!(name == wrong && fault.contains(says), "{key:?} {endpoint:?}: {faults:?}");
        }
    }
}
