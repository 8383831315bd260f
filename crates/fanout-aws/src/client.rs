//! Amazon Web Services: what is shared by everything that calls them.
//!
//! Most deployments call none of them, so that nothing is read or built before the first call: no
//! environment, no profile, no certificates, no connection.

use std::sync::OnceLock;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig, imds};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::Provider as Tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use tokio::sync::OnceCell;

use crate::failure::Failure;

use fanout_core::reason::Reason;
use fanout_core::retry::RetryPolicy;

/// One call of a service. An attempt includes credentials and a new connection. Within a region it takes 0.1 s to 0.3 s;
/// three attempts that hang would use up the 4 s of a response.
pub(crate) const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 5,
    attempt_timeout: Duration::from_millis(1_500),
    initial_backoff: Duration::from_millis(100),
    max_backoff: Duration::from_millis(800),
};
/// How long a connection may take: within a region it takes a few milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the metadata service of a virtual machine may take. It is next door or not there at all, and
/// where it is not, nobody refuses the connection: whoever has no credentials waits that long to hear so.
const METADATA_TIMEOUT: Duration = Duration::from_millis(400);

/// Who calls, in the `x-amz-user-agent` of each call. No `/` may be in it.
const APP_NAME: &str = concat!("topic-fanout-", env!("CARGO_PKG_VERSION"));

/// The configuration and the clients, built when they are first needed and kept from then on.
#[derive(Debug, Default)]
pub struct Aws {
    settings: Settings,
    config: OnceCell<SdkConfig>,
    clients: Clients,
}

/// One client for each service, and how to get it.
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

clients! {
    "dynamodb" dynamodb: aws_sdk_dynamodb,
    "eventbridge" eventbridge: aws_sdk_eventbridge,
    "parameters" ssm: aws_sdk_ssm,
    "secrets" secrets_manager: aws_sdk_secretsmanager,
    "step-functions" sfn: aws_sdk_sfn,
    "sqs" sqs: aws_sdk_sqs,
    "translate" translate: aws_sdk_translate,
}

/// What is given instead of being looked up where the AWS tools look it up.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The region, or `AWS_REGION`, the profile's, the virtual machine's.
    pub region: Option<String>,
    /// The URL of every service, or `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, the region's.
    pub endpoint: Option<String>,
    /// The credentials, or those of the environment, the profile, the container, the virtual machine.
    pub credentials: Option<SharedCredentialsProvider>,
}

impl Aws {
    /// As `settings` say, and for what they do not say as the environment does.
    #[must_use]
    pub fn with(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    async fn config(&self) -> Result<&SdkConfig, Failure> {
        // A failure is not kept: the next call looks again.
        self.config.get_or_try_init(|| self.settings.load()).await
    }
}

impl Settings {
    async fn load(&self) -> Result<SdkConfig, Failure> {
        // The SDK's own default would link a second library of cryptography.
        let http = HttpClientBuilder::new().tls_provider(Tls::rustls(CryptoMode::Ring)).build_https();
        let provider = ProviderConfig::without_region().with_http_client(http.clone());
        let metadata = metadata(&provider);
        let region = match &self.region {
            Some(region) => Some(Region::new(region.clone())),
            None => region(&provider, metadata.clone()).await,
        };
        let Some(region) = region else {
            return Err(Failure::new(Reason::InvalidArgument, "no AWS region is set: set AWS_REGION"));
        };
        let credentials = match &self.credentials {
            Some(credentials) => credentials.clone(),
            None => SharedCredentialsProvider::new(
                DefaultCredentialsChain::builder()
                    .configure(provider)
                    .region(region.clone())
                    .imds_client(metadata)
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
            // It watches long bodies. These are short, and the timeout of a try watches them.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        // Only to be told apart in the logs of AWS: no reason to fail.
        if let Ok(name) = AppName::new(APP_NAME) {
            loader = loader.app_name(name);
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Ok(loader.load().await)
    }
}

/// Where the AWS tools look for a region, in their order.
async fn region(provider: &ProviderConfig, metadata: imds::Client) -> Option<Region> {
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::builder().configure(provider).build())
        .or_else(ImdsRegionProvider::builder().configure(provider).imds_client(metadata).build())
        .region()
        .await
}

/// The metadata service of a virtual machine, asked once: by itself the SDK would ask it four times, a
/// second each and the pauses, before it says that there are no credentials.
fn metadata(provider: &ProviderConfig) -> imds::Client {
    imds::Client::builder()
        .configure(provider)
        .max_attempts(1)
        .connect_timeout(METADATA_TIMEOUT)
        .read_timeout(METADATA_TIMEOUT)
        .build()
}

/// Without the SDK's own bucket of tries. Where a message goes to eight places, one throttled event takes a third
/// of it, and it only fills up again by the successes that are not to be had then: after three such events
/// nothing would be tried again for as long as the process lives. The number of tries and the deadline are
/// limit enough.
fn retry_partition(service: &'static str) -> RetryPartition {
    RetryPartition::custom(service).token_bucket(TokenBucket::unlimited()).build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(RETRY.max_attempts)
        .with_initial_backoff(RETRY.initial_backoff)
        .with_max_backoff(RETRY.max_backoff)
}

/// The same for every call: the SDK keeps connections apart by these timeouts, so that one that went by the
/// time left would begin with a new connection each time.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(RETRY.attempt_timeout)
        .build()
}
