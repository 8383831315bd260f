//! The HTTP client of all calls, and the authorities that it trusts.
//!
//! Reading the authorities of the system took a quarter of the start of a function in Lambda. There, services of AWS have
//! certificates of Amazon's own authority. So the client trusts that one first, and reads those of the system if a server has
//! another: `docs/decisions/0091-roots-of-amazon-first.md`.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// The root certificates that Amazon advises to trust: <https://www.amazontrust.com/repository/>.
const AMAZON: &[u8] = include_bytes!("amazon-roots.pem");

/// Returns the client for all calls. Reads the environment, and no certificate.
pub(crate) fn client() -> SharedHttpClient {
    let is_set = |name| std::env::var_os(name).is_some();
    let system = with(TrustStore::default());
    // The operator has said what to trust.
    if !is_set("AWS_LAMBDA_FUNCTION_NAME") || is_set("SSL_CERT_FILE") || is_set("SSL_CERT_DIR") {
        return system;
    }
    SharedHttpClient::new(TwoStores::new(with(TrustStore::empty().with_pem_certificate(AMAZON)), system))
}

fn with(trusted: TrustStore) -> SharedHttpClient {
    let context = TlsContext::builder().with_trust_store(trusted).build();
    // The default of the SDK would link a second cryptography library.
    Builder::new()
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .tls_context(context.expect("the builder does not fail"))
        .build_https()
}

/// A client that changes over to another one for good when it does not accept the certificate of a server.
///
/// It does not pass on the validation of the configuration, in which the client of the SDK builds everything a first time.
#[derive(Clone, Debug)]
struct TwoStores {
    first: SharedHttpClient,
    other: SharedHttpClient,
    needs_other: Arc<AtomicBool>,
}

impl TwoStores {
    fn new(first: SharedHttpClient, other: SharedHttpClient) -> Self {
        Self { first, other, needs_other: Arc::default() }
    }
}

impl HttpClient for TwoStores {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        if self.needs_other.load(Ordering::Relaxed) {
            return self.other.http_connector(settings, components);
        }
        SharedHttpConnector::new(Connector {
            first: self.first.http_connector(settings, components),
            stores: self.clone(),
            settings: settings.clone(),
            components: components.clone(),
        })
    }
}

#[derive(Clone, Debug)]
struct Connector {
    first: SharedHttpConnector,
    stores: TwoStores,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(copy) = request.try_clone() else { return self.first.call(request) };
        let (first, this) = (self.first.call(request), self.clone());
        HttpConnectorFuture::new(async move {
            match first.await {
                Err(error) if is_of_certificate(&error) => {
                    this.stores.needs_other.store(true, Ordering::Relaxed);
                    this.stores.other.http_connector(&this.settings, &this.components).call(copy).await
                }
                response => response,
            }
        })
    }
}

/// Returns true if the certificate of the server was not accepted. The server has not got the request then.
fn is_of_certificate(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| inner(error))
        .any(|error| matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// Returns the next error. `source` of an I/O error leaves out the error that it wraps.
fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapper) => wrapper.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

#[cfg(all(test, feature = "secrets"))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use aws_credential_types::Credentials;
    use aws_sdk_secretsmanager::config::{BehaviorVersion, Config, Region};
    use aws_smithy_runtime_api::client::http::http_client_fn;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use rustls::{AlertDescription, CertificateError};

    use super::*;

    /// Responds to each call, or fails, and counts.
    #[derive(Clone, Debug)]
    struct Fake {
        failure: Option<rustls::Error>,
        calls: Arc<AtomicUsize>,
    }

    impl Fake {
        fn new(failure: Option<rustls::Error>) -> Self {
            Self { failure, calls: Arc::default() }
        }

        fn client(&self) -> SharedHttpClient {
            let fake = self.clone();
            http_client_fn(move |_, _| SharedHttpConnector::new(fake.clone()))
        }

        fn calls(&self) -> usize {
            self.calls.load(Ordering::SeqCst)
        }
    }

    impl HttpConnector for Fake {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            self.calls.fetch_add(1, Ordering::SeqCst);
            HttpConnectorFuture::ready(if let Some(error) = self.failure.clone() {
                // As the connector wraps it.
                Err(ConnectorError::io(io::Error::other(io::Error::other(error)).into()))
            } else {
                let status = StatusCode::try_from(200).expect("it is a status");
                Ok(HttpResponse::new(status, SdkBody::from(r#"{"SecretString":"text"}"#)))
            })
        }
    }

    /// Returns how many of two calls succeed, and how many calls each client got.
    async fn twice(failure: Option<rustls::Error>) -> [usize; 3] {
        let (first, other) = (Fake::new(failure), Fake::new(None));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .http_client(TwoStores::new(first.client(), other.client()));
        let client = aws_sdk_secretsmanager::Client::from_conf(config.build());
        let mut succeeded = 0;
        for _ in 0..2 {
            let response = client.get_secret_value().secret_id("id").send().await;
            succeeded += usize::from(response.is_ok_and(|found| found.secret_string() == Some("text")));
        }
        [succeeded, first.calls(), other.calls()]
    }

    #[tokio::test]
    async fn asks_other_client_from_a_certificate_that_is_not_accepted_on() {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(twice(Some(unknown)).await, [2, 1, 2]);
        assert_eq!(twice(None).await, [2, 2, 0]);
        let alert = rustls::Error::AlertReceived(AlertDescription::InternalError);
        assert_eq!(twice(Some(alert)).await, [0, 2, 0]);
    }

    #[test]
    fn reads_all_roots_of_amazon() {
        let begins = AMAZON.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"-----BEGIN"));
        assert_eq!(begins.count(), 5);
    }
}
