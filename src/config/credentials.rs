//! How Momento is reached.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE as BASE64_URL;
use momento::CredentialProvider;

use super::secrets::secret_id;
use super::{ConfigErrors, Read, SecretId, Settings, Source, Sourced};
use crate::secrets::{SecretText, Versioned, Wanted};

const KEY: &str = "MOMENTO_API_KEY";
const SECRET_ID: &str = "MOMENTO_API_KEY_SECRET_ID";
const ENDPOINT: &str = "MOMENTO_ENDPOINT";

/// `MOMENTO_API_KEY` and `MOMENTO_ENDPOINT`.
#[derive(Clone, Debug)]
pub struct MomentoConfig {
    /// The key and the endpoint, as the SDK wants them; its `Debug` shows no key.
    pub credentials: CredentialProvider,
    /// Where messages are published and subscribed to, as a URL without a path. The SDK knows it as well and
    /// keeps it to itself, and who speaks to the service without the SDK needs it.
    pub endpoint: String,
}

/// `MOMENTO_API_KEY_SECRET_ID` and `MOMENTO_ENDPOINT`.
#[derive(Clone, Debug)]
pub struct KeySecret {
    id: SecretId,
    endpoint: Option<Endpoint>,
}

impl MomentoConfig {
    /// Reads these settings and no others.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn from_source(source: &dyn Source) -> Result<Self, ConfigErrors> {
        Settings::read(source, |settings| {
            let key = match settings.get(KEY) {
                Ok(Some(key)) => checked(settings, KEY, key),
                Ok(None) => settings.fault(KEY, "is not set: an API key or a token of Momento"),
                Err(noted) => Err(noted),
            };
            let endpoint = Endpoint::read(settings);
            Self::of(settings, KEY, &key?, endpoint?.as_ref())
        })
    }

    /// Of a key that the variable `name` has, or leads to.
    fn of(
        settings: &mut Settings<'_>,
        name: &'static str,
        key: &str,
        endpoint: Option<&Endpoint>,
    ) -> Read<Self> {
        match endpoint {
            Some(Endpoint::Local(authority)) => local(settings, name, key, authority),
            Some(Endpoint::Hosted(host)) => hosted(settings, name, key, Some(host)),
            None => hosted(settings, name, key, None),
        }
    }
}

/// The key, or the secret that it is in.
pub(super) fn read(settings: &mut Settings<'_>) -> Read<Sourced<MomentoConfig, KeySecret>> {
    let key = match (settings.get(KEY), secret_id(settings, SECRET_ID)) {
        (Err(noted), _) | (_, Err(noted)) => Err(noted),
        (Ok(Some(key)), Ok(None)) => checked(settings, KEY, key).map(Sourced::Given),
        (Ok(None), Ok(Some(id))) => Ok(Sourced::Secret(id)),
        (Ok(Some(_)), Ok(Some(_))) => {
            settings.fault(SECRET_ID, format!("is set beside {KEY}; set one of the two"))
        }
        (Ok(None), Ok(None)) => settings.fault(
            KEY,
            format!("is not set, and neither is {SECRET_ID}: an API key or a token of Momento is needed"),
        ),
    };
    let endpoint = Endpoint::read(settings);
    match (key?, endpoint?) {
        (Sourced::Given(key), endpoint) => {
            MomentoConfig::of(settings, KEY, &key, endpoint.as_ref()).map(Sourced::Given)
        }
        (Sourced::Secret(id), endpoint) => Ok(Sourced::Secret(KeySecret { id, endpoint })),
    }
}

impl Wanted for KeySecret {
    type Value = Versioned<MomentoConfig>;

    fn setting(&self) -> &'static str {
        SECRET_ID
    }

    fn id(&self) -> &SecretId {
        &self.id
    }

    fn read(&self, secret: &Versioned<SecretText>) -> Result<Self::Value, ConfigErrors> {
        secret.try_map(|key| {
            // The environment was read before: nothing is looked for in it.
            Settings::read(&|_: &str| None, |settings| {
                let key = checked(settings, SECRET_ID, key.reveal().to_owned())?;
                MomentoConfig::of(settings, SECRET_ID, &key, self.endpoint.as_ref())
            })
        })
    }
}

/// It is sent as a header: a line end that came along from a file would fail every call.
fn checked(settings: &mut Settings<'_>, name: &'static str, key: String) -> Read<String> {
    if key.bytes().any(|byte| !byte.is_ascii_graphic() && byte != b' ') {
        return settings.fault(name, "has characters that no key has, perhaps a line end");
    }
    Ok(key)
}

#[derive(Clone, Debug)]
enum Endpoint {
    /// `http://host:port` of a plaintext server of development and tests; here without its scheme.
    Local(String),
    /// A host name of the service.
    Hosted(String),
}

impl Endpoint {
    fn read(settings: &mut Settings<'_>) -> Read<Option<Self>> {
        match settings.get(ENDPOINT)? {
            None => Ok(None),
            Some(url) if is_url(&url, "http") => match authority(&url) {
                Some(authority) => Ok(Some(Self::Local(authority))),
                None => settings
                    .fault(ENDPOINT, "is not http://host:port, which is what a local server is reached by"),
            },
            Some(host) if is_host(&host) => Ok(Some(Self::Hosted(host))),
            Some(_) => settings.fault(
                ENDPOINT,
                "is not the host name of a Momento endpoint, nor http://host:port of a local server",
            ),
        }
    }
}

/// The host and the port of a URL that has nothing else.
fn authority(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let host_and_port = match uri.port_u16() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    let has_path = uri.path_and_query().is_some_and(|path| !matches!(path.as_str(), "" | "/"));
    let is_bare = !authority.host().is_empty() && authority.as_str() == host_and_port && !has_path;
    is_bare.then_some(host_and_port)
}

/// A local server, for which any key does. A key that holds its endpoint is sent without it; any other is
/// wrapped in the form that the SDK unwraps, so that it is sent as it is.
fn local(settings: &mut Settings<'_>, name: &'static str, key: &str, authority: &str) -> Read<MomentoConfig> {
    let credentials = CredentialProvider::from_disposable_token(key).or_else(|_| {
        let wrapped = serde_json::json!({ "api_key": key, "endpoint": authority });
        CredentialProvider::from_disposable_token(BASE64_URL.encode(wrapped.to_string()))
    });
    match credentials {
        Ok(credentials) => {
            let endpoint = format!("http://{authority}");
            Ok(MomentoConfig { credentials: credentials.insecure_endpoint_override(&endpoint), endpoint })
        }
        Err(_) => settings.fault(name, "is not accepted by the SDK"),
    }
}

/// The service. Keys are told apart by their form: a v1 key and a disposable token are base64 JSON
/// that holds its endpoint, a v2 key is a JWT.
fn hosted(
    settings: &mut Settings<'_>,
    name: &'static str,
    key: &str,
    endpoint: Option<&str>,
) -> Read<MomentoConfig> {
    if let Ok(credentials) = CredentialProvider::from_disposable_token(key) {
        // Somebody who sets an endpoint beside a key that has one wants the one that they set.
        return match (endpoint, endpoint_of(key)) {
            (Some(endpoint), _) => {
                let credentials = credentials.base_endpoint(endpoint);
                Ok(MomentoConfig { credentials, endpoint: data_endpoint(endpoint) })
            }
            (None, Some(endpoint)) => Ok(MomentoConfig { credentials, endpoint: data_endpoint(&endpoint) }),
            (None, None) => settings.fault(name, "holds no endpoint"),
        };
    }
    if key.split('.').count() != 3 {
        return settings.fault(
            name,
            format!("is neither an API key nor a token of Momento; for a local server set {ENDPOINT} to http://host:port"),
        );
    }
    let Some(endpoint) = endpoint else {
        return settings.fault(ENDPOINT, format!("is not set, and the v2 key in {name} needs it"));
    };
    match CredentialProvider::from_api_key_v2(key, endpoint) {
        Ok(credentials) => Ok(MomentoConfig { credentials, endpoint: data_endpoint(endpoint) }),
        Err(_) => settings.fault(name, "looks like a v2 API key of Momento, but is not one"),
    }
}

/// The endpoint that a v1 key or a disposable token holds.
fn endpoint_of(key: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Document {
        endpoint: String,
    }
    let document: Document = serde_json::from_slice(&BASE64_URL.decode(key).ok()?).ok()?;
    Some(document.endpoint)
}

/// Where messages go, of a service with this endpoint.
fn data_endpoint(endpoint: &str) -> String {
    format!("https://cache.{endpoint}")
}

fn is_url(endpoint: &str, scheme: &str) -> bool {
    endpoint.split_once("://").is_some_and(|(given, _)| given.eq_ignore_ascii_case(scheme))
}

/// A host name as TLS wants it: labels of letters, digits and hyphens, the last of them no number.
fn is_host(endpoint: &str) -> bool {
    // The SDK puts a label or two in front.
    const LONGEST: usize = 240;
    let is_label = |label: &str| {
        let inner = label.trim_matches('-');
        (1..=63).contains(&label.len())
            && inner.len() == label.len()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = endpoint.rsplit('.').next().unwrap_or_default();
    endpoint.len() <= LONGEST
        && endpoint.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::config::tests::{LEAST, faults, read, vars};

    fn v1() -> String {
        BASE64_URL.encode(r#"{"endpoint":"cell-1.prod.example.com","api_key":"inner"}"#)
    }

    fn v2() -> String {
        let segment = |json: &str| URL_SAFE_NO_PAD.encode(json);
        format!("{}.{}.signature", segment(r#"{"alg":"none"}"#), segment(r#"{"t":"g","id":"x"}"#))
    }

    fn credentials(key: &str, endpoint: &str) -> Result<CredentialProvider, ConfigErrors> {
        let with = [&[("MOMENTO_API_KEY", key), ("MOMENTO_ENDPOINT", endpoint)][..], &LEAST].concat();
        let Sourced::Given(momento) = read(&vars(&with))?.momento else { panic!("a key is given") };
        let told = format!(" cache_endpoint: {},", momento.endpoint);
        assert!(momento.credentials.to_string().contains(&told), "{told} as the SDK has it");
        Ok(momento.credentials)
    }

    #[test]
    fn a_v1_key_brings_its_endpoint() {
        let credentials = credentials(&v1(), "").unwrap();
        assert_eq!(credentials.auth_token(), "inner");
        assert!(credentials.to_string().contains("https://cache.cell-1.prod.example.com"));
    }

    #[test]
    fn an_endpoint_beside_a_v1_key_is_used() {
        let credentials = credentials(&v1(), "cell-2.example.com").unwrap();
        assert!(credentials.to_string().contains("cache_endpoint: https://cache.cell-2.example.com"));
    }

    #[test]
    fn a_v2_key_needs_its_endpoint() {
        let credentials = credentials(&v2(), "cell-1.example.com").unwrap();
        assert_eq!(credentials.auth_token(), v2());
        assert!(credentials.to_string().contains("https://cache.cell-1.example.com"));
        assert_eq!(
            faults(&[("MOMENTO_API_KEY", &v2()), ("MOMENTO_ENDPOINT", "")]),
            [(
                "MOMENTO_ENDPOINT".to_owned(),
                "is not set, and the v2 key in MOMENTO_API_KEY needs it".to_owned()
            )]
        );
    }

    #[test]
    fn a_local_server_takes_any_key() {
        for (key, sent) in [("any key", "any key"), (&v1(), "inner"), (&v2(), &v2())] {
            let credentials = credentials(key, "http://localhost:8080/").unwrap();
            assert_eq!(credentials.auth_token(), sent);
            assert!(credentials.to_string().contains("cache_endpoint: http://localhost:8080,"));
        }
    }

    #[test]
    fn the_key_and_the_endpoint_are_looked_at_both() {
        let faults = faults(&[("MOMENTO_API_KEY", ""), ("MOMENTO_ENDPOINT", "https://wrong")]);
        let names: Vec<_> = faults.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["MOMENTO_API_KEY", "MOMENTO_ENDPOINT"]);
    }

    #[test]
    fn what_is_no_key_or_no_endpoint_is_said() {
        for (key, endpoint, wrong, says) in [
            ("", "", "MOMENTO_API_KEY", "is not set"),
            ("any key", "", "MOMENTO_API_KEY", "is neither"),
            ("a.b.c", "cell-1.example.com", "MOMENTO_API_KEY", "looks like a v2"),
            ("key\n", "http://localhost:8080", "MOMENTO_API_KEY", "perhaps a line end"),
            ("k", "https://cell-1.example.com", "MOMENTO_ENDPOINT", "is not the host name"),
            ("k", "cell 1", "MOMENTO_ENDPOINT", "is not the host name"),
            ("a.b.c", ".", "MOMENTO_ENDPOINT", "is not the host name"),
            ("a.b.c", "a..b", "MOMENTO_ENDPOINT", "is not the host name"),
            ("a.b.c", "127.0.0.1", "MOMENTO_ENDPOINT", "is not the host name"),
            ("a.b.c", "-a.example.com", "MOMENTO_ENDPOINT", "is not the host name"),
            ("a.b.c", &"a".repeat(300), "MOMENTO_ENDPOINT", "is not the host name"),
            ("k", "http://", "MOMENTO_ENDPOINT", "is not http://host:port"),
            ("k", "http://localhost:8080/path", "MOMENTO_ENDPOINT", "is not http://host:port"),
            ("k", "http://user@localhost:80", "MOMENTO_ENDPOINT", "is not http://host:port"),
            ("k", "http://localhost:99999", "MOMENTO_ENDPOINT", "is not http://host:port"),
        ] {
            let faults = faults(&[("MOMENTO_API_KEY", key), ("MOMENTO_ENDPOINT", endpoint)]);
            let [(name, fault)] = &faults[..] else { panic!("{key:?} {endpoint:?}: {faults:?}") };
            assert!(name == wrong && fault.contains(says), "{key:?} {endpoint:?}: {faults:?}");
        }
    }
}
