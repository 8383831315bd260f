//! Connects to Momento: credentials, clients, and the creation of caches.

use std::sync::Arc;
use std::time::Duration;

use fanout_core::retry::RetryPolicy;
use fanout_core::secret_store::Versioned;
use fanout_momento::status::{describe_error, status};
use fanout_momento::subscription::Cursor;
use fanout_momento::{CacheSender, Credentials, MomentoCache, MomentoPublisher, Subscription};
use momento::cache::configurations::Laptop;
use momento::{CacheClient, MomentoError};
use tokio::time::timeout;
use tonic::{Code, Status};
use topic_fanout::config::{ConfigErrors, MomentoConfig};

/// The default endpoint of a local Momento.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:8080";

/// The key for a local Momento, which takes any.
pub const LOCAL_KEY: &str = "local";

/// The timeout of one publish.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout for the creation of a cache.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);
/// The time to live of items. The SDK's cache client needs one, and stores nothing here.
const ITEM_TTL: Duration = Duration::from_mins(1);

/// Momento, with the endpoint and the key to use.
#[derive(Clone, Debug)]
pub struct Service(Credentials);

/// Error for a service that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The key or the endpoint is invalid.
    #[error("{0}")]
    Settings(String),
    /// The endpoint is not a valid address.
    #[error("the endpoint {endpoint} cannot be used")]
    Endpoint {
        /// The URL that was made from the endpoint.
        endpoint: String,
        /// The fault.
        #[source]
        source: tonic::transport::Error,
    },
    /// The client of the SDK cannot be built.
    #[error("the client of Momento cannot be built")]
    Client(#[source] Box<MomentoError>),
    /// The service does not respond.
    #[error("Momento at {endpoint} does not respond: {cause}")]
    Away {
        /// Its endpoint.
        endpoint: String,
        /// The cause.
        cause: String,
    },
    /// The cache is missing and cannot be created.
    #[error("the cache {name} cannot be created: {cause}")]
    Cache {
        /// Its name.
        name: String,
        /// The error of Momento.
        cause: String,
    },
}

impl Service {
    /// Creates a service from an endpoint and a key, by the rules of `MOMENTO_ENDPOINT` and `MOMENTO_API_KEY`. A local
    /// server needs no key.
    ///
    /// # Errors
    /// If the endpoint or the key is invalid.
    pub fn new(endpoint: Option<&str>, key: Option<&str>) -> Result<Self, ServiceError> {
        let local = endpoint.is_some_and(|endpoint| endpoint.contains("://"));
        let key = key.or(local.then_some(LOCAL_KEY)).unwrap_or("");
        let source = |name: &str| match name {
            "MOMENTO_API_KEY" => Some(key.to_owned()),
            "MOMENTO_ENDPOINT" => endpoint.map(str::to_owned),
            _ => None,
        };
        let credentials = MomentoConfig::credentials(&source);
        credentials.map(Self).map_err(|faults| ServiceError::Settings(on_one_line(&faults)))
    }

    /// Returns the URL for publishing and subscribing.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.0.endpoint()
    }

    /// Returns true for a plaintext server for development and tests.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.is_local()
    }

    /// Returns the credentials.
    #[must_use]
    pub const fn credentials(&self) -> &Credentials {
        &self.0
    }

    /// Returns a subscription to later messages of a topic, or from `cursor` on, over a connection of its own.
    ///
    /// # Errors
    /// If the endpoint is not a valid address.
    pub fn subscribe(
        &self,
        cache: &str,
        topic: &str,
        cursor: Option<Cursor>,
    ) -> Result<Subscription, ServiceError> {
        let endpoint = self.endpoint().to_owned();
        Subscription::new(&self.0, cache, topic, cursor)
            .map_err(|source| ServiceError::Endpoint { endpoint, source })
    }

    /// Returns a publisher. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If its client cannot be built.
    pub fn publisher(&self) -> Result<MomentoPublisher, ServiceError> {
        self.publisher_within(PUBLISH_TIMEOUT)
    }

    /// Returns a publisher with this timeout for one publish.
    ///
    /// # Errors
    /// If its client cannot be built.
    pub fn publisher_within(&self, timeout: Duration) -> Result<MomentoPublisher, ServiceError> {
        let keys = Arc::new(Versioned { current: self.0.clone(), previous: None });
        MomentoPublisher::new(Arc::new(keys), timeout).map_err(ServiceError::Client)
    }

    /// Returns a sender for cache destinations, which retries by `retry`. Its client is built at its first use.
    #[must_use]
    pub fn cache_sender(&self, retry: RetryPolicy) -> CacheSender {
        let keys = Arc::new(Versioned { current: self.0.clone(), previous: None });
        CacheSender::new(Arc::new(MomentoCache::new(Arc::new(keys), retry.attempt_timeout)), retry)
    }

    /// Creates a cache if it is missing. A key without that permission is not an error: if the cache is missing, its first
    /// use fails.
    ///
    /// # Errors
    /// If Momento does not respond, or rejects the name or the key.
    pub async fn ensure_cache(&self, name: &str) -> Result<(), ServiceError> {
        let client = CacheClient::builder()
            .default_ttl(ITEM_TTL)
            .configuration(Laptop::latest())
            .credential_provider(self.0.provider().clone())
            .build()
            .map_err(|error| ServiceError::Client(Box::new(error)))?;
        let away = |cause| ServiceError::Away { endpoint: self.endpoint().to_owned(), cause };
        match timeout(CONTROL_TIMEOUT, client.create_cache(name)).await {
            Ok(Ok(_)) => Ok(()),
            Err(_) => Err(away(format!("no response within {} s", CONTROL_TIMEOUT.as_secs()))),
            Ok(Err(error)) => match status(&error).map(Status::code) {
                Some(Code::PermissionDenied | Code::Unimplemented | Code::AlreadyExists) => Ok(()),
                Some(Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled) => {
                    Err(away(describe_error(&error)))
                }
                _ => Err(ServiceError::Cache { name: name.to_owned(), cause: describe_error(&error) }),
            },
        }
    }
}

/// Returns all faults of settings on one line.
fn on_one_line(ConfigErrors(faults): &ConfigErrors) -> String {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn v2() -> String {
        let segment = |json: &str| URL_SAFE_NO_PAD.encode(json);
        format!("{}.{}.signature", segment(r#"{"alg":"none"}"#), segment(r#"{"t":"g","id":"x"}"#))
    }

    #[test]
    fn sends_local_key_to_local_server() {
        let service = Service::new(Some("http://localhost:8080/"), None).unwrap();
        assert_eq!(service.endpoint(), "http://localhost:8080");
        assert_eq!(service.credentials().authorization().to_str().unwrap(), LOCAL_KEY);
    }

    #[test]
    fn reports_faults_on_one_line_without_the_key() {
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
}
