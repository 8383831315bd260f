//! Objects of Amazon S3.
//!
//! Reading an object is one signed GET. It uses what all clients of the SDK share (signatures, credentials, retries, timeouts,
//! connections) without the client of S3: `docs/decisions/0070-routes-from-s3-without-its-client.md`.

use std::time::Duration;

use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};
use aws_types::region::Region;
use aws_types::service_config::ServiceConfigKey;
use aws_types::{SdkConfig, SigningName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use crate::client::{APP_NAME, Aws, retries, timeouts};
use crate::failure::{of_sdk, timed_out};
use fanout_core::object_id::ObjectId;
use fanout_core::reason::{Failure, Reason};

/// The timeout of an object. A function reads it at its start, which Lambda ends after 10 s.
const OBJECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of an object in bytes. 10,000 destinations of 200 bytes take half of it.
const MAX_OBJECT: usize = 4 * 1024 * 1024;

/// The bytes that a signed request encodes in a query, and in a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// An error response, which is an XML document.
#[derive(Debug, thiserror::Error)]
#[error("the service responded with an error")]
struct ObjectError(ErrorMetadata);

impl ProvideErrorMetadata for ObjectError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

impl Aws {
    /// Reads an object.
    ///
    /// # Errors
    /// When the object does not exist or is too large, when the credentials do not allow to read it, and when the service does
    /// not respond in time.
    pub async fn object(&self, id: &ObjectId) -> Result<Vec<u8>, Failure> {
        let read = timeout(OBJECT_TIMEOUT, self.get_object(id)).await.unwrap_or_else(|_| Err(timed_out()));
        read.map_err(|failure| {
            let not_allowed = "not allowed, or not found: it needs s3:GetObject, s3:GetObjectVersion for a version, and \
                               kms:Decrypt for a key of its own";
            match failure.reason {
                Reason::PermissionDenied => Failure { detail: not_allowed.into(), ..failure },
                _ => failure,
            }
        })
    }

    async fn get_object(&self, id: &ObjectId) -> Result<Vec<u8>, Failure> {
        let config = self.config().await?;
        let object = operation(config).invoke(path(id)).await.map_err(of_sdk)?;
        if object.len() > MAX_OBJECT {
            let detail = format!("the object has more than {} MiB", MAX_OBJECT / (1024 * 1024));
            return Err(Failure::new(Reason::TooLarge, detail));
        }
        Ok(object)
    }
}

/// Returns the path of an object in the endpoint of the region, with its version. The bucket is a part of the path because
/// certificates do not cover names of buckets with dots.
fn path(id: &ObjectId) -> String {
    let path = format!("/{}/{}", id.bucket, utf8_percent_encode(&id.key, ENCODED_IN_PATH));
    match &id.version {
        Some(version) => format!("{path}?versionId={}", utf8_percent_encode(version, ENCODED)),
        None => path,
    }
}

fn operation(config: &SdkConfig) -> Operation<String, Vec<u8>, ObjectError> {
    let region = config.region().expect("the configuration has a region");
    // S3 takes the path as it is sent, and wants the hash of the body.
    let mut options = SigningOptions::default();
    options.double_uri_encode = false;
    options.normalize_uri_path = false;
    options.content_sha256_header = true;
    let mut signing = Layer::new("signing");
    signing.store_put(AuthSchemeOptionResolverParams::new(()));
    signing.store_put(SigV4OperationSigningConfig {
        region: Some(region.clone().into()),
        name: Some(SigningName::from_static("s3")),
        signing_options: options,
        ..SigV4OperationSigningConfig::default()
    });
    let credentials = config.credentials_provider().expect("the configuration has credentials");
    let components = RuntimeComponentsBuilder::new("signing")
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
        .with_identity_resolver(SCHEME_ID, credentials)
        .with_identity_cache(config.identity_cache());
    Operation::builder()
        .service_name("s3")
        .operation_name("GetObject")
        .http_client(config.http_client().expect("the configuration has an HTTP client"))
        .sleep_impl(config.sleep_impl().expect("the configuration has a runtime"))
        .endpoint_url(&endpoint(config, region))
        .standard_retry(&retries())
        .retry_classifier(TransientErrorClassifier::<ObjectError>::new())
        .retry_classifier(HttpStatusCodeClassifier::default())
        .timeout_config(timeouts())
        .runtime_plugin(
            StaticRuntimePlugin::new().with_config(signing.freeze()).with_runtime_components(components),
        )
        .serializer(|path: String| {
            let mut request = HttpRequest::get(path)?;
            // One byte more than allowed, so that a larger object is noticed.
            request.headers_mut().insert("range", format!("bytes=0-{MAX_OBJECT}"));
            request.headers_mut().insert("user-agent", format!("app/{APP_NAME}"));
            Ok(request)
        })
        .deserializer(read)
        .build()
}

/// Returns the URL of the service, by the same rules as the clients of the SDK.
fn endpoint(config: &SdkConfig, region: &Region) -> String {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let key = key.build().expect("all parts of the key are set");
    let is_set = config.get_origin("endpoint_url").is_client_config();
    let of_service =
        config.service_config().filter(|_| !is_set).and_then(|settings| settings.load_config(key));
    of_service.or_else(|| config.endpoint_url().map(str::to_owned)).unwrap_or_else(|| {
        let domain = if region.as_ref().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://s3.{region}.{domain}")
    })
}

fn read(response: &HttpResponse) -> Result<Vec<u8>, OrchestratorError<ObjectError>> {
    let body = response.body().bytes().unwrap_or_default();
    match response.status().as_u16() {
        200 | 206 => Ok(body.to_vec()),
        // An empty object has no first byte.
        416 => Ok(Vec::new()),
        _ => {
            let mut error = ErrorMetadata::builder();
            if let Some(code) = code(body) {
                error = error.code(code);
            }
            if let Some(id) = response.headers().get("x-amz-request-id") {
                error = error.custom("aws_request_id", id);
            }
            Err(OrchestratorError::operation(ObjectError(error.build())))
        }
    }
}

/// Returns the code in an error document.
fn code(document: &[u8]) -> Option<&str> {
    let (_, rest) = std::str::from_utf8(document).ok()?.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_key_and_version() {
        for (id, expected) in [
            ("s3://chat/a/b.toml", "/chat/a/b.toml"),
            ("s3://c.d/ä b+c?d/~x_-", "/c.d/%C3%A4%20b%2Bc%3Fd/~x_-"),
            ("s3://chat/a?versionId=3/L+4=", "/chat/a?versionId=3%2FL%2B4%3D"),
        ] {
            assert_eq!(path(&id.parse().unwrap()), expected);
        }
    }

    #[test]
    fn reads_code_of_error_document() {
        let document = b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>x</Message></Error>";
        assert_eq!(code(document), Some("NoSuchKey"));
        assert_eq!((code(b""), code(b"<Code>"), code(&[0xff])), (None, None, None));
    }
}
