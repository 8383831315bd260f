//! Momento itself: who we are there, where it is, and clients of it.

use std::time::Duration;

use fanout_core::destination::DeliveryError;
use momento::cache::configurations::Laptop;
use momento::{CacheClient, CredentialProvider, ErrorSource, MomentoError, MomentoErrorCode};
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};
use topic_fanout::config::{ConfigErrors, MomentoConfig};
use topic_fanout::publisher::MomentoPublisher;
use topic_fanout::secrets::{Rotating, Versioned};

use crate::post::root;

/// Where a local Momento is, unless it was told otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:8080";

/// What is sent to a local Momento as a key: it takes any.
pub const LOCAL_KEY: &str = "local";

/// How long one publish may take.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long creating a cache may take.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection is asked whether it is still there, and how long it may take to say so: a
/// stream that carries nothing for hours would not notice otherwise.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// The time to live of items that nobody stores: the SDK's cache client wants one.
const NO_ITEMS: Duration = Duration::from_secs(60);

/// Momento, as one key reaches it.
#[derive(Clone, Debug)]
pub struct Service {
    credentials: CredentialProvider,
    endpoint: String,
    authorization: MetadataValue<Ascii>,
}

/// Why Momento cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The key or the endpoint is none.
    #[error("{0}")]
    Settings(String),
    /// The endpoint is no address.
    #[error("the endpoint {endpoint} cannot be used")]
    Endpoint {
        /// The URL that was made of the endpoint.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// The SDK's client cannot be built.
    #[error("the client of Momento cannot be built")]
    Client(#[source] Box<MomentoError>),
    /// It is not there, or refuses to talk.
    #[error("Momento at {endpoint} does not answer: {cause}")]
    Away {
        /// Where it was looked for.
        endpoint: String,
        /// What happened.
        cause: String,
    },
    /// The cache is not there and cannot be created.
    #[error("the cache {name} cannot be created: {cause}")]
    Cache {
        /// Its name.
        name: String,
        /// What Momento says.
        cause: String,
    },
}

impl Service {
    /// Momento at `endpoint` for the holder of `key`, by the same rules as the function's
    /// `MOMENTO_ENDPOINT` and `MOMENTO_API_KEY`. A local server takes any key and needs none.
    ///
    /// # Errors
    /// When they are no endpoint and no key, or not of one another.
    pub fn new(endpoint: Option<&str>, key: Option<&str>) -> Result<Self, ServiceError> {
        let local = endpoint.is_some_and(|endpoint| endpoint.contains("://"));
        let key = key.or(local.then_some(LOCAL_KEY)).unwrap_or_default();
        let MomentoConfig { credentials, endpoint } = settings(endpoint, key)?;
        let mut authorization: MetadataValue<Ascii> = credentials
            .auth_token()
            .parse()
            .map_err(|_| ServiceError::Settings("MOMENTO_API_KEY: cannot be sent as a header".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Self { credentials, endpoint, authorization })
    }

    /// Where messages are published and subscribed to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether it is a plaintext server of development.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.endpoint.starts_with("http://")
    }

    /// What the SDK wants to know.
    #[must_use]
    pub fn credentials(&self) -> &CredentialProvider {
        &self.credentials
    }

    /// The value of the metadata `authorization`.
    #[must_use]
    pub fn authorization(&self) -> &MetadataValue<Ascii> {
        &self.authorization
    }

    /// A connection of its own, made when it is first used. It carries 100 streams at most.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn channel(&self) -> Result<Channel, ServiceError> {
        let wrong = |source| ServiceError::Endpoint { endpoint: self.endpoint.clone(), source };
        let (interval, patience) = KEEP_ALIVE;
        let mut endpoint = Endpoint::from_shared(self.endpoint.clone())
            .map_err(wrong)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(interval)
            .keep_alive_timeout(patience)
            .keep_alive_while_idle(true);
        if !self.is_local() {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_webpki_roots()).map_err(wrong)?;
        }
        Ok(endpoint.connect_lazy())
    }

    /// The SDK's client for publishing. It has to be called within a Tokio runtime.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn publisher(&self) -> Result<MomentoPublisher, ServiceError> {
        self.publisher_within(PUBLISH_TIMEOUT)
    }

    /// The same, of which one publish may take so long.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn publisher_within(&self, timeout: Duration) -> Result<MomentoPublisher, ServiceError> {
        let momento =
            MomentoConfig { credentials: self.credentials.clone(), endpoint: self.endpoint.clone() };
        let keys = Rotating::fixed(Versioned { current: momento, previous: None });
        MomentoPublisher::new(keys, timeout).map_err(ServiceError::Client)
    }

    /// Creates the cache `name` where it is not there yet. A key that may not create caches is fine:
    /// whether the cache is there shows when it is used.
    ///
    /// # Errors
    /// When Momento does not answer, or does not accept the name or the key.
    pub async fn ensure_cache(&self, name: &str) -> Result<(), ServiceError> {
        let client = CacheClient::builder()
            .default_ttl(NO_ITEMS)
            .configuration(Laptop::latest())
            .credential_provider(self.credentials.clone())
            .build()
            .map_err(|error| ServiceError::Client(Box::new(error)))?;
        let away = |cause| ServiceError::Away { endpoint: self.endpoint.clone(), cause };
        match timeout(CONTROL_TIMEOUT, client.create_cache(name)).await {
            Ok(Ok(_)) => Ok(()),
            Err(_) => Err(away(format!("nothing within {} s", CONTROL_TIMEOUT.as_secs()))),
            Ok(Err(error)) => match status(&error).map(Status::code) {
                Some(Code::PermissionDenied | Code::Unimplemented | Code::AlreadyExists) => Ok(()),
                Some(Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled) => {
                    Err(away(cause(&error)))
                }
                _ => Err(ServiceError::Cache { name: name.to_owned(), cause: cause(&error) }),
            },
        }
    }
}

/// The rules for keys and endpoints are those of the function's settings.
fn settings(endpoint: Option<&str>, key: &str) -> Result<MomentoConfig, ServiceError> {
    let source = |name: &str| match name {
        "MOMENTO_API_KEY" => Some(key.to_owned()),
        "MOMENTO_ENDPOINT" => endpoint.map(str::to_owned),
        _ => None,
    };
    MomentoConfig::from_source(&source).map_err(|faults| ServiceError::Settings(on_one_line(&faults)))
}

/// All faults of settings, on one line.
pub(crate) fn on_one_line(ConfigErrors(faults): &ConfigErrors) -> String {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

/// Why a publish failed: what the function would call it, and what Momento says.
#[must_use]
pub fn describe_failure(error: &DeliveryError) -> String {
    let said = error.source.as_deref().and_then(|source| source.downcast_ref::<MomentoError>());
    match said {
        Some(said) => cause(said),
        None => error.reason.to_string(),
    }
}

fn status(error: &MomentoError) -> Option<&Status> {
    match &error.inner_error {
        Some(ErrorSource::TonicStatus(status)) => Some(status),
        _ => None,
    }
}

fn cause(error: &MomentoError) -> String {
    match status(error) {
        Some(status) => describe(status),
        None if error.error_code == MomentoErrorCode::InvalidArgumentError => error.message.clone(),
        None => root(error),
    }
}

/// A status in words: what kind of failure it is, and what was said or lies at the bottom of it.
#[must_use]
pub fn describe(status: &Status) -> String {
    let kind = match status.code() {
        Code::Ok => "no error",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown error",
        Code::InvalidArgument => "invalid argument",
        Code::DeadlineExceeded => "deadline exceeded",
        Code::NotFound => "not found",
        Code::AlreadyExists => "already exists",
        Code::PermissionDenied => "permission denied",
        Code::ResourceExhausted => "limit exceeded",
        Code::FailedPrecondition => "failed precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out of range",
        Code::Unimplemented => "not implemented",
        Code::Internal => "internal error",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data loss",
        Code::Unauthenticated => "not authenticated",
    };
    let detail = match std::error::Error::source(status) {
        Some(source) => root(source),
        None => status.message().to_owned(),
    };
    if detail.is_empty() { kind.to_owned() } else { format!("{kind}: {detail}") }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{URL_SAFE as BASE64_URL, URL_SAFE_NO_PAD};

    use super::*;

    fn v1() -> String {
        BASE64_URL.encode(r#"{"endpoint":"cell-1.prod.example.com","api_key":"inner"}"#)
    }

    fn v2() -> String {
        let segment = |json: &str| URL_SAFE_NO_PAD.encode(json);
        format!("{}.{}.signature", segment(r#"{"alg":"none"}"#), segment(r#"{"t":"g","id":"x"}"#))
    }

    /// What is derived here, after a check that the SDK derives the same.
    fn reached(endpoint: Option<&str>, key: Option<&str>) -> (String, String) {
        let service = Service::new(endpoint, key).unwrap();
        let sdk = service.credentials().to_string();
        assert!(sdk.contains(&format!(" cache_endpoint: {},", service.endpoint())), "{sdk}");
        (service.endpoint().to_owned(), service.authorization().to_str().unwrap().to_owned())
    }

    #[test]
    fn every_kind_of_key_reaches_where_the_sdk_goes() {
        for (endpoint, key, expected, sent) in [
            (Some("http://localhost:8080/"), None, "http://localhost:8080", LOCAL_KEY),
            (Some("http://127.0.0.1:1"), Some("any"), "http://127.0.0.1:1", "any"),
            (None, Some(v1().as_str()), "https://cache.cell-1.prod.example.com", "inner"),
            (Some("cell-2.example.com"), Some(&v1()), "https://cache.cell-2.example.com", "inner"),
            (Some("cell-2.example.com"), Some(&v2()), "https://cache.cell-2.example.com", &v2()),
        ] {
            assert_eq!(reached(endpoint, key), (expected.to_owned(), sent.to_owned()));
        }
    }

    #[test]
    fn what_is_wrong_is_said_on_one_line_and_without_the_key() {
        for (endpoint, key, says) in [
            (Some("https://example.com"), Some("s3cr3t"), "MOMENTO_ENDPOINT"),
            (Some("http://host/path"), None, "MOMENTO_ENDPOINT"),
            (Some("example.com"), None, "MOMENTO_API_KEY: is not set"),
            (None, Some("s3cr3t"), "MOMENTO_API_KEY: is neither"),
            (None, Some(v2().as_str()), "MOMENTO_ENDPOINT: is not set"),
        ] {
            let error = Service::new(endpoint, key).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains('\n') && !error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let service = Service::new(Some("http://127.0.0.1:1"), Some("s3cr3t")).unwrap();
        assert!(!format!("{service:?}").contains("s3cr3t"));
    }

    #[test]
    fn a_status_is_told_in_words() {
        assert_eq!(describe(&Status::not_found("no such cache")), "not found: no such cache");
        assert_eq!(describe(&Status::unavailable("")), "unavailable");
    }

    #[tokio::test]
    async fn a_hosted_endpoint_is_spoken_to_over_tls() {
        let hosted = Service::new(Some("cell-1.example.com"), Some(&v2())).unwrap();
        assert!(!hosted.is_local() && hosted.channel().is_ok());
    }
}
