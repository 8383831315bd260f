//! A topic of Momento.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use momento::config::grpc_configuration::GrpcConfiguration;
use momento::config::transport_strategy::TransportStrategy;
use momento::topics::Configuration;
use momento::{CredentialProvider, ErrorSource, MomentoError, MomentoErrorCode, TopicClient};
use tonic::Code;

use super::DeliveryError;
use crate::reason::Reason;

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic<'n> {
    /// Its cache.
    pub cache: Cow<'n, str>,
    /// Its name.
    pub topic: Cow<'n, str>,
}

impl<'n> Topic<'n> {
    /// The topic of these names.
    pub fn new(cache: impl Into<Cow<'n, str>>, topic: impl Into<Cow<'n, str>>) -> Self {
        Self { cache: cache.into(), topic: topic.into() }
    }

    /// The same, borrowed from this one.
    #[must_use]
    pub fn borrowed(&self) -> Topic<'_> {
        Topic::new(&*self.cache, &*self.topic)
    }
}

/// Publishes texts to topics: the edge to Momento.
pub trait Publisher: Send + Sync + 'static {
    /// Publishes once; trying again is for the caller.
    fn publish(
        &self,
        topic: &Topic<'_>,
        text: &str,
    ) -> impl Future<Output = Result<(), DeliveryError>> + Send;
}

/// The one shared client of Momento.
///
/// It is replaced when it seems to be cut off. A connection that the network has forgotten gives no error:
/// what is sent on it is simply never answered, and the SDK notices after most of a minute. So when
/// two tries in a row were never answered, with no answer of any kind in between, a new client
/// takes over, with new connections.
#[derive(Debug)]
pub struct MomentoPublisher {
    credentials: CredentialProvider,
    configuration: Configuration,
    current: Mutex<Current>,
}

/// Tries in a row that were never answered, until the client is replaced.
const SILENCE: u32 = 2;

#[derive(Debug)]
struct Current {
    client: Arc<TopicClient>,
    unanswered: u32,
}

impl MomentoPublisher {
    /// Builds the client. It connects when it is first used.
    ///
    /// # Errors
    /// When the endpoint in `credentials` cannot be one.
    pub fn new(
        credentials: CredentialProvider,
        attempt_timeout: Duration,
    ) -> Result<Self, Box<MomentoError>> {
        let grpc = GrpcConfiguration::builder().deadline(attempt_timeout);
        let configuration = Configuration::builder()
            .transport_strategy(TransportStrategy::builder().grpc_configuration(grpc));
        let configuration = configuration.build();
        let client = connect(&credentials, &configuration)?;
        Ok(Self { credentials, configuration, current: Mutex::new(Current { client, unanswered: 0 }) })
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a try on `client` was never answered.
    fn unanswered(&self, client: &Arc<TopicClient>) {
        let mut current = self.current();
        // Others may have noticed before.
        if !Arc::ptr_eq(&current.client, client) {
            return;
        }
        current.unanswered += 1;
        if current.unanswered < SILENCE {
            return;
        }
        match connect(&self.credentials, &self.configuration) {
            Ok(client) => {
                tracing::warn!(unanswered = current.unanswered, "connections to Momento replaced");
                *current = Current { client, unanswered: 0 };
            }
            // It was built from the same before.
            Err(error) => tracing::error!(%error, "connections to Momento not replaced"),
        }
    }
}

fn connect(
    credentials: &CredentialProvider,
    configuration: &Configuration,
) -> Result<Arc<TopicClient>, Box<MomentoError>> {
    let builder =
        TopicClient::builder().configuration(configuration.clone()).credential_provider(credentials.clone());
    builder.build().map(Arc::new).map_err(Box::new)
}

impl Publisher for MomentoPublisher {
    async fn publish(&self, topic: &Topic<'_>, text: &str) -> Result<(), DeliveryError> {
        let client = Arc::clone(&self.current().client);
        let mut attempt = Attempt { publisher: self, client: &client, is_answered: false };
        let published = match client.publish(&*topic.cache, &*topic.topic, text).await {
            Ok(_) => Ok(()),
            Err(error) => Err(DeliveryError { reason: reason(&error), source: Some(Box::new(error)) }),
        };
        attempt.is_answered = !matches!(&published, Err(error) if error.reason == Reason::TimedOut);
        published
    }
}

/// One try, which may be given up on at any time by being dropped.
struct Attempt<'a> {
    publisher: &'a MomentoPublisher,
    client: &'a Arc<TopicClient>,
    is_answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            self.publisher.current().unanswered = 0;
        } else {
            self.publisher.unanswered(self.client);
        }
    }
}

/// Reads an error of the SDK.
///
/// Its own codes do not tell a rate limit from a text that is too large, and take some broken
/// connections for a limit: the status underneath decides, where there is one.
fn reason(error: &MomentoError) -> Reason {
    let Some(ErrorSource::TonicStatus(status)) = &error.inner_error else {
        return match error.error_code {
            MomentoErrorCode::InvalidArgumentError => Reason::InvalidArgument,
            _ => Reason::Internal,
        };
    };
    match status.code() {
        Code::Unavailable => Reason::Unavailable,
        // A connection that is refused, or cut in the middle of a call, comes as any of these.
        Code::Cancelled | Code::Unknown | Code::Internal if is_connection(status) => Reason::Unavailable,
        // A client whose own deadline passes cancels the call.
        Code::DeadlineExceeded | Code::Cancelled => Reason::TimedOut,
        Code::ResourceExhausted => exhausted(status),
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::Unimplemented => {
            Reason::InvalidArgument
        }
        Code::NotFound => Reason::NotFound,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::Unknown | Code::Internal | Code::Aborted | Code::DataLoss | Code::AlreadyExists | Code::Ok => {
            Reason::Internal
        }
    }
}

/// Whether it is the connection that failed, and not the service that answered.
fn is_connection(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<std::io::Error>() || error.is::<hyper::Error>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Which limit: the service names it in the metadata `err`, and older ones in the message, as the
/// SDK's `errors.rs` reads them.
fn exhausted(status: &tonic::Status) -> Reason {
    let too_large = if let Some(limit) = status.metadata().get("err") {
        let sizes =
            ["request_size_limit_exceeded", "item_size_limit_exceeded", "element_size_limit_exceeded"];
        sizes.iter().any(|size| limit == size)
    } else {
        let message = status.message().to_lowercase();
        ["request limit", "item size", "element size"].iter().any(|size| message.contains(size))
    };
    if too_large { Reason::TooLarge } else { Reason::RateLimited }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    fn of(status: Status) -> Reason {
        reason(&MomentoError::from(status))
    }

    #[test]
    fn every_status_has_its_reason() {
        for (code, expected) in [
            (Code::Cancelled, Reason::TimedOut),
            (Code::Unknown, Reason::Internal),
            (Code::InvalidArgument, Reason::InvalidArgument),
            (Code::DeadlineExceeded, Reason::TimedOut),
            (Code::NotFound, Reason::NotFound),
            (Code::AlreadyExists, Reason::Internal),
            (Code::PermissionDenied, Reason::PermissionDenied),
            (Code::ResourceExhausted, Reason::RateLimited),
            (Code::FailedPrecondition, Reason::InvalidArgument),
            (Code::Aborted, Reason::Internal),
            (Code::OutOfRange, Reason::InvalidArgument),
            (Code::Unimplemented, Reason::InvalidArgument),
            (Code::Internal, Reason::Internal),
            (Code::Unavailable, Reason::Unavailable),
            (Code::DataLoss, Reason::Internal),
            (Code::Unauthenticated, Reason::Unauthenticated),
        ] {
            assert_eq!(of(Status::new(code, "")), expected, "{code:?}");
        }
    }

    #[test]
    fn a_text_that_is_too_large_is_told_from_a_rate_limit() {
        let with = |err: &'static str| {
            let mut status = Status::resource_exhausted("");
            status.metadata_mut().insert("err", err.parse().unwrap());
            of(status)
        };
        assert_eq!(with("request_size_limit_exceeded"), Reason::TooLarge);
        assert_eq!(with("item_size_limit_exceeded"), Reason::TooLarge);
        assert_eq!(with("operations_rate_limit_exceeded"), Reason::RateLimited);
        assert_eq!(with("throughput_rate_limit_exceeded"), Reason::RateLimited);
        assert_eq!(of(Status::resource_exhausted("Request limit exceeded")), Reason::TooLarge);
        assert_eq!(of(Status::resource_exhausted("too many operations")), Reason::RateLimited);
    }

    #[test]
    fn a_broken_connection_is_passing_though_the_sdk_calls_it_a_limit() {
        let reason = of(Status::internal("h2 protocol error: error reading a body from connection"));
        assert!(reason.is_passing(), "{reason:?}");
    }
}
