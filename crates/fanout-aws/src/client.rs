//! The configuration and the clients of the AWS SDK, and the list of the services that this crate calls.
//!
//! Many deployments call no service, so nothing is read or built before the first call: no environment, profile,
//! certificate or connection.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::{ProvideRegion as _, RegionProviderChain};
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig, imds};
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use tokio::sync::OnceCell;

use crate::http;
use crate::in_time::InTime;

use fanout_core::destination::{Accepted, ServiceRequest};
use fanout_core::reason::{Failure, Reason};
use fanout_core::retry::RetryPolicy;
use futures_util::future::{BoxFuture, ready};

/// One call of a service. An attempt includes credentials and a new connection. Within a region it takes 0.1 s to 0.3 s;
/// three attempts that hang would use up the 4 s of a response.
pub(crate) const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 5,
    attempt_timeout: Duration::from_millis(1_500),
    initial_backoff: Duration::from_millis(100),
    max_backoff: Duration::from_millis(800),
};
/// The timeout of a connection. Within a region it takes a few milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout of the metadata service of a virtual machine, which runs on the same host. Outside of AWS no host refuses
/// the connection, so a call without credentials waits that long before it fails.
const METADATA_TIMEOUT: Duration = Duration::from_millis(400);

/// The name of this program in the `x-amz-user-agent` of each call. It cannot have a `/`.
pub(crate) const APP_NAME: &str = concat!("topic-fanout-", env!("CARGO_PKG_VERSION"));

/// The configuration and the clients, which are built at the first call and kept.
#[derive(Debug, Default)]
pub struct Aws {
    settings: Settings,
    config: OnceCell<SdkConfig>,
    clients: Clients,
}

/// A request to an AWS destination, as the service takes it.
pub(crate) trait Call: Sync {
    /// Calls the service. `trace` is the X-Ray header to pass on.
    fn call(
        &self,
        aws: &Aws,
        trace: Option<&str>,
        tries: InTime,
    ) -> impl Future<Output = Result<Accepted, Failure>> + Send;
}

/// For each service: its cargo feature, its name and its SDK. A kind of AWS destinations has the name that it has in a file,
/// and its variant of [`ServiceRequest`].
macro_rules! services {
    (
        destinations { $($kind_feature:literal $kind:ident: $kind_sdk:ident => $request:ident,)* }
        others { $($feature:literal $service:ident: $sdk:ident,)* }
    ) => {
        /// The kinds of AWS destinations that this build can send to.
        pub const KINDS: &[&str] = &[$(#[cfg(feature = $kind_feature)] stringify!($kind)),*];

        impl Aws {
            /// Sends a request, with one call of its service.
            pub(crate) fn call<'c>(
                &'c self,
                request: &'c ServiceRequest,
                trace: Option<&'c str>,
                tries: InTime,
            ) -> BoxFuture<'c, Result<Accepted, Failure>> {
                match request {
                    $(
                        #[cfg(feature = $kind_feature)]
                        ServiceRequest::$request(request) => Box::pin(request.call(self, trace, tries)),
                    )*
                    other => Box::pin(ready(Err(lacking(other)))),
                }
            }
        }

        clients! {
            $($kind_feature $kind: $kind_sdk,)*
            $($feature $service: $sdk,)*
        }
    };
}

/// Declares the client of each service.
macro_rules! clients {
    ($($feature:literal $service:ident: $sdk:ident,)*) => {
        #[derive(Debug, Default)]
        struct Clients {
            $(#[cfg(feature = $feature)] $service: OnceLock<$sdk::Client>,)*
        }

        impl Aws {
            $(
                #[cfg(feature = $feature)]
                pub(crate) async fn $service(&self) -> Result<&$sdk::Client, Failure> {
                    let config = self.config().await?;
                    Ok(self.clients.$service.get_or_init(|| {
                        let config = $sdk::config::Builder::from(config);
                        let partition = retry_partition(stringify!($service));
                        $sdk::Client::from_conf(config.retry_partition(partition).build())
                    }))
                }
            )*
        }
    };
}

services! {
    destinations {
        "dynamodb" dynamodb: aws_sdk_dynamodb => DynamoDb,
        "eventbridge" eventbridge: aws_sdk_eventbridge => EventBridge,
        "sqs" sqs: aws_sdk_sqs => Sqs,
        "step-functions" step_functions: aws_sdk_sfn => StepFunctions,
    }
    others {
        "comprehend" comprehend: aws_sdk_comprehend,
        "lambda" lambda: aws_sdk_lambda,
        "parameters" ssm: aws_sdk_ssm,
        "secrets" secrets_manager: aws_sdk_secretsmanager,
        "translate" translate: aws_sdk_translate,
    }
}

/// Returns the failure of a request that this build cannot send. A file with such a destination is rejected at load.
fn lacking(request: &ServiceRequest) -> Failure {
    let source = format!("`{}` is not in [{}]", request.kind(), KINDS.join(", "));
    Failure::invalid("the build lacks this kind of destination").because(source)
}

/// Settings that replace what the AWS tools look up.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The region. Default: `AWS_REGION`, the profile, the virtual machine.
    pub region: Option<String>,
    /// The URL of every service. Default: `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, the URL for the region.
    pub endpoint: Option<String>,
    /// The credentials. Default: the environment, the profile, the container, the virtual machine.
    pub credentials: Option<SharedCredentialsProvider>,
}

impl Aws {
    /// Uses `settings`, and looks up what they leave out.
    #[must_use]
    pub fn with(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    pub(crate) async fn config(&self) -> Result<&SdkConfig, Failure> {
        // The cell does not keep a failure: the next call tries again.
        self.config.get_or_try_init(|| self.settings.load()).await
    }
}

impl Settings {
    async fn load(&self) -> Result<SdkConfig, Failure> {
        let http = http::client();
        let provider = ProviderConfig::without_region().with_http_client(http.clone());
        let metadata = LazyLock::new(|| metadata(&provider));
        // Lambda has both in the environment. The rest of each chain is built only where it is needed.
        let region = match &self.region {
            Some(region) => Some(Region::new(region.clone())),
            None => EnvironmentVariableRegionProvider::new().region().await,
        };
        let region = match region {
            Some(region) => Some(region),
            None => looked_up_region(&provider, metadata.clone()).await,
        };
        let Some(region) = region else {
            return Err(Failure::new(Reason::InvalidArgument, "the AWS region is not set; set AWS_REGION"));
        };
        let environment = EnvironmentVariableCredentialsProvider::new();
        let credentials = match &self.credentials {
            Some(credentials) => credentials.clone(),
            None if environment.provide_credentials().await.is_ok() => {
                SharedCredentialsProvider::new(environment)
            }
            None => SharedCredentialsProvider::new(
                DefaultCredentialsChain::builder()
                    .configure(provider.clone())
                    .region(region.clone())
                    .imds_client(metadata.clone())
                    .build()
                    .await,
            ),
        };
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .credentials_provider(credentials)
            .http_client(http)
            .retry_config(retries())
            .timeout_config(timeouts())
            // It is for long bodies. These are short, and the timeout of an attempt covers them.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        // The name is only for the logs of AWS, so an invalid one is no reason to fail.
        if let Ok(name) = AppName::new(APP_NAME) {
            loader = loader.app_name(name);
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Ok(loader.load().await)
    }
}

/// Looks up the region in the places of the AWS tools after the environment, in their order.
async fn looked_up_region(provider: &ProviderConfig, metadata: imds::Client) -> Option<Region> {
    RegionProviderChain::first_try(ProfileFileRegionProvider::builder().configure(provider).build())
        .or_else(ImdsRegionProvider::builder().configure(provider).imds_client(metadata).build())
        .region()
        .await
}

/// Returns a client of the metadata service that makes one attempt. By default the SDK makes four, of a second each and with
/// backoff, before it reports that there are no credentials.
fn metadata(provider: &ProviderConfig) -> imds::Client {
    imds::Client::builder()
        .configure(provider)
        .max_attempts(1)
        .connect_timeout(METADATA_TIMEOUT)
        .read_timeout(METADATA_TIMEOUT)
        .build()
}

/// Returns a retry partition without the bucket of retry tokens. One throttled event with eight destinations takes a third of
/// the bucket, and only successes refill it: after three such events the SDK would not retry for as long as the process
/// lives. The number of attempts and the deadline are limits enough.
fn retry_partition(service: &'static str) -> RetryPartition {
    RetryPartition::custom(service).token_bucket(TokenBucket::unlimited()).build()
}

pub(crate) fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(RETRY.max_attempts)
        .with_initial_backoff(RETRY.initial_backoff)
        .with_max_backoff(RETRY.max_backoff)
}

/// Returns the timeouts of every call. The SDK does not share connections between different timeouts, so a timeout made of
/// the time left would need a new connection for each call.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(RETRY.attempt_timeout)
        .build()
}
