//! An API key of Momento, and the endpoint that it reaches.

use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE as BASE64_URL;
use momento::CredentialProvider;
use momento_webhook::visible::{InvisibleCharacter, single_line};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint as TonicEndpoint};

/// The timeout for a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval between pings on a connection. Without them, a stream that carries nothing for hours would not notice
/// that its connection is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The timeout for the response to a ping.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// An API key or token, and the endpoint that it reaches. `Debug` does not show the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    provider: CredentialProvider,
    endpoint: String,
    authorization: MetadataValue<Ascii>,
}

/// Error for an API key or token that cannot be used. It never shows the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// An invisible character is inside the key.
    #[error(transparent)]
    Invisible(#[from] InvisibleCharacter),
    /// The key is sent as a header.
    #[error("has a character that a header cannot have")]
    NotHeader,
    /// The key has the form of neither version.
    #[error(
        "is neither an API key nor a token of Momento; for a local server set MOMENTO_ENDPOINT to http://host:port"
    )]
    UnknownForm,
    /// The key has the form of a v1 key, and lacks the endpoint.
    #[error("holds no endpoint")]
    NoEndpointInKey,
    /// A v2 key does not hold its endpoint.
    #[error("is a v2 key, which needs MOMENTO_ENDPOINT")]
    EndpointNeeded,
    /// The SDK does not accept the key as a v2 key.
    #[error("looks like a v2 API key of Momento, but is not one")]
    NotV2,
    /// The SDK does not accept the key.
    #[error("is not accepted by the SDK")]
    Rejected,
}

/// The endpoint of a Momento service, or of a local server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The host and port of a plaintext server for development and tests.
    Local(String),
    /// The host name of the service.
    Hosted(String),
}

/// Error for an invalid [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// An invisible character is inside the endpoint.
    #[error(transparent)]
    Invisible(#[from] InvisibleCharacter),
    /// An `http://` URL has more than a host and a port, or less.
    #[error("is not http://host:port, the form for a local server")]
    NotLocal,
    /// The text has none of the two forms.
    #[error("is not the host name of a Momento endpoint, nor http://host:port of a local server")]
    NotHost,
}

impl Credentials {
    /// Parses `key`, which needs an `endpoint` if it is a v2 key. Trims invisible characters at its ends. With the
    /// endpoint of a local server, any key will do.
    ///
    /// # Errors
    /// If the key is invalid, or `endpoint` is missing.
    pub fn new(key: &str, endpoint: Option<&Endpoint>) -> Result<Self, CredentialsError> {
        let key = single_line(key)?;
        if key.bytes().any(|byte| !byte.is_ascii_graphic() && byte != b' ') {
            return Err(CredentialsError::NotHeader);
        }
        let (provider, endpoint) = match endpoint.map(|Endpoint(kind)| kind) {
            Some(Kind::Local(authority)) => local(key, authority)?,
            Some(Kind::Hosted(host)) => hosted(key, Some(host))?,
            None => hosted(key, None)?,
        };
        let mut authorization: MetadataValue<Ascii> =
            provider.auth_token().parse().map_err(|_| CredentialsError::NotHeader)?;
        authorization.set_sensitive(true);
        Ok(Self { provider, endpoint, authorization })
    }

    /// Returns the credentials as the SDK takes them.
    #[must_use]
    pub const fn provider(&self) -> &CredentialProvider {
        &self.provider
    }

    /// Returns the URL for publishing and subscribing, without a path. The SDK derives the same, and does not show it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the value of the metadata `authorization`.
    #[must_use]
    pub const fn authorization(&self) -> &MetadataValue<Ascii> {
        &self.authorization
    }

    /// Returns true for a plaintext server for development and tests.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.endpoint.starts_with("http://")
    }

    /// Returns a new connection, which connects at its first use. It carries at most 100 streams. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the endpoint is not a valid URL.
    pub fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        self.connect(self.endpoint.clone())
    }

    /// Returns a new connection to the service that issues tokens. It is as [`channel`](Self::channel) returns one.
    ///
    /// # Errors
    /// If the endpoint is not a valid URL.
    pub fn token_channel(&self) -> Result<Channel, tonic::transport::Error> {
        // The SDK puts `token.` where it puts `cache.` for other calls. A local server has one address.
        self.connect(self.endpoint.replacen("https://cache.", "https://token.", 1))
    }

    fn connect(&self, url: String) -> Result<Channel, tonic::transport::Error> {
        let mut endpoint = TonicEndpoint::new(url)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if !self.is_local() {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_webpki_roots())?;
        }
        Ok(endpoint.connect_lazy())
    }
}

/// A local server takes any key. A key that holds its endpoint is sent without it; any other is wrapped in the form that
/// the SDK unwraps, so that it is sent as it is.
fn local(key: &str, authority: &str) -> Result<(CredentialProvider, String), CredentialsError> {
    let provider = CredentialProvider::from_disposable_token(key).or_else(|_| {
        let wrapped = serde_json::json!({ "api_key": key, "endpoint": authority });
        CredentialProvider::from_disposable_token(BASE64_URL.encode(wrapped.to_string()))
    });
    let endpoint = format!("http://{authority}");
    let provider = provider.map_err(|_| CredentialsError::Rejected)?;
    Ok((provider.insecure_endpoint_override(&endpoint), endpoint))
}

/// The forms of keys differ: a v1 key and a disposable token are base64 JSON that holds its endpoint, a v2 key is a JWT.
fn hosted(key: &str, endpoint: Option<&str>) -> Result<(CredentialProvider, String), CredentialsError> {
    let (provider, endpoint) = if let Ok(provider) = CredentialProvider::from_disposable_token(key) {
        // An endpoint that is set goes before the one in the key.
        match endpoint {
            Some(endpoint) => (provider.base_endpoint(endpoint), endpoint.to_owned()),
            None => (provider, endpoint_in(key).ok_or(CredentialsError::NoEndpointInKey)?),
        }
    } else if key.split('.').count() == 3 {
        let endpoint = endpoint.ok_or(CredentialsError::EndpointNeeded)?;
        let provider = CredentialProvider::from_api_key_v2(key, endpoint);
        (provider.map_err(|_| CredentialsError::NotV2)?, endpoint.to_owned())
    } else {
        return Err(CredentialsError::UnknownForm);
    };
    Ok((provider, format!("https://cache.{endpoint}")))
}

/// Returns the endpoint in a v1 key or a disposable token.
fn endpoint_in(key: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Token {
        endpoint: String,
    }
    let token: Token = serde_json::from_slice(&BASE64_URL.decode(key).ok()?).ok()?;
    Some(token.endpoint)
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Trims invisible characters at the ends.
    fn from_str(given: &str) -> Result<Self, EndpointError> {
        let given = single_line(given)?;
        let is_http = given.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"));
        if is_http {
            return authority(given)
                .map(|authority| Self(Kind::Local(authority)))
                .ok_or(EndpointError::NotLocal);
        }
        if is_host(given) { Ok(Self(Kind::Hosted(given.to_owned()))) } else { Err(EndpointError::NotHost) }
    }
}

/// Returns the host and port of a URL that has nothing else.
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

/// Returns true for a host name as TLS has it: labels of letters, digits and hyphens. The last is not a number.
fn is_host(endpoint: &str) -> bool {
    // The SDK puts one or two labels in front.
    const MAX_LEN: usize = 240;
    let is_label = |label: &str| {
        let inner = label.trim_matches('-');
        (1..=63).contains(&label.len())
            && inner.len() == label.len()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    endpoint.len() <= MAX_LEN
        && endpoint.split('.').all(is_label)
        && !endpoint.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn v1() -> String {
        BASE64_URL.encode(r#"{"endpoint":"cell-1.prod.example.com","api_key":"inner"}"#)
    }

    fn v2() -> String {
        let segment = |json: &str| URL_SAFE_NO_PAD.encode(json);
        format!("{}.{}.signature", segment(r#"{"alg":"none"}"#), segment(r#"{"t":"g","id":"x"}"#))
    }

    fn credentials(key: &str, endpoint: Option<&str>) -> Result<Credentials, CredentialsError> {
        Credentials::new(key, endpoint.map(|endpoint| endpoint.parse().unwrap()).as_ref())
    }

    #[test]
    fn reaches_where_the_sdk_goes() {
        for (key, endpoint, expected, sent) in [
            ("any key", Some("http://localhost:8080/"), "http://localhost:8080", "any key"),
            (&v1(), Some("http://localhost:8080"), "http://localhost:8080", "inner"),
            (&v2(), Some("HTTP://127.0.0.1:1"), "http://127.0.0.1:1", &v2()),
            (&v1(), None, "https://cache.cell-1.prod.example.com", "inner"),
            (&v1(), Some("cell-2.example.com"), "https://cache.cell-2.example.com", "inner"),
            (&v2(), Some("cell-2.example.com"), "https://cache.cell-2.example.com", &v2()),
        ] {
            let credentials = credentials(key, endpoint).unwrap();
            assert_eq!(credentials.endpoint(), expected);
            assert_eq!(credentials.authorization().to_str().unwrap(), sent);
            let sdk = credentials.provider().to_string();
            assert!(sdk.contains(&format!(" cache_endpoint: {expected},")), "{sdk}");
        }
    }

    #[test]
    fn trims_invisible_characters_around_key_and_endpoint() {
        for invisible in ["\u{feff}", "\u{200b}", "\r\n"] {
            let around = |text: &str| format!("{invisible}{text}{invisible}");
            let credentials = credentials(&around(&v2()), Some(&around("cell-1.example.com"))).unwrap();
            assert_eq!(credentials.endpoint(), "https://cache.cell-1.example.com");
            assert_eq!(credentials.authorization().to_str().unwrap(), v2());
        }
    }

    #[test]
    fn rejects_invalid_keys() {
        for (key, endpoint, error) in [
            ("any key", None, CredentialsError::UnknownForm),
            (&v2(), None, CredentialsError::EndpointNeeded),
            ("a.b.c", Some("cell-1.example.com"), CredentialsError::NotV2),
            ("clé", Some("http://localhost:8080"), CredentialsError::NotHeader),
            ("ke\ny", Some("http://localhost:8080"), InvisibleCharacter('\n').into()),
            ("ke\u{feff}y", Some("http://localhost:8080"), InvisibleCharacter('\u{feff}').into()),
        ] {
            assert_eq!(credentials(key, endpoint).err(), Some(error), "{key:?} {endpoint:?}");
        }
    }

    #[test]
    fn rejects_invalid_endpoints() {
        let too_long = "a".repeat(300);
        for (endpoint, error) in [
            ("https://cell-1.example.com", EndpointError::NotHost),
            ("cell 1", EndpointError::NotHost),
            (".", EndpointError::NotHost),
            ("a..b", EndpointError::NotHost),
            ("127.0.0.1", EndpointError::NotHost),
            ("-a.example.com", EndpointError::NotHost),
            (&too_long, EndpointError::NotHost),
            ("http://", EndpointError::NotLocal),
            ("http://localhost:8080/path", EndpointError::NotLocal),
            ("http://user@localhost:80", EndpointError::NotLocal),
            ("http://localhost:99999", EndpointError::NotLocal),
            ("cell-1.\u{200b}example.com", InvisibleCharacter('\u{200b}').into()),
        ] {
            assert_eq!(endpoint.parse::<Endpoint>(), Err(error), "{endpoint:?}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let credentials = credentials("s3cr3t", Some("http://127.0.0.1:1")).unwrap();
        assert!(!format!("{credentials:?}").contains("s3cr3t"));
    }

    #[tokio::test]
    async fn connects_to_hosted_endpoint_over_tls() {
        let hosted = credentials(&v2(), Some("cell-1.example.com")).unwrap();
        assert!(!hosted.is_local() && hosted.channel().is_ok());
    }
}
