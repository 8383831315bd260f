//! Publishes to topics through the one shared client of Momento.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanout_momento::Credentials;
use futures_util::FutureExt as _;
use momento::config::grpc_configuration::GrpcConfiguration;
use momento::config::transport_strategy::TransportStrategy;
use momento::topics::Configuration;
use momento::{CredentialProvider, ErrorSource, MomentoError, MomentoErrorCode, TopicClient};
use tonic::Code;

use fanout_core::destination::{DeliveryError, Publisher, Topic};
use fanout_core::reason::Reason;
use fanout_core::secret_store::Versioned;

use crate::secrets::{Refreshed, Rotating};

/// The one shared client of Momento.
///
/// It is replaced when it seems to be cut off. A connection that the network has forgotten gives no error:
/// what is sent on it is simply never answered, and the SDK notices after most of a minute. So when
/// two tries in a row were never answered, with no answer of any kind in between, a new client
/// takes over, with new connections.
///
/// It is replaced as well when its key is. Where a key is refused, that may be because it has been rotated: what has
/// come instead is tried, and where nothing has yet, the other of the two versions, while it is being fetched. So it
/// goes on whether the old key was withdrawn before the new one was found, or the new one is not accepted yet. A key
/// that may not do this one thing is refused too, and does not make everybody else change: only what has done better
/// takes over.
#[derive(Debug)]
pub struct MomentoPublisher {
    keys: Rotating<Keys>,
    configuration: Configuration,
    current: Mutex<Current>,
}

/// How Momento is reached, and how it was before.
pub type Keys = Versioned<Credentials>;

/// Tries in a row that were never answered, until the client is replaced.
const SILENCE: u32 = 2;

#[derive(Debug)]
struct Current {
    client: Client,
    /// One with another key. Where two keys take turns, none connects anew at every turn.
    other: Option<Client>,
    unanswered: u32,
}

/// A client, and the key that it has.
#[derive(Clone, Debug)]
struct Client {
    client: Arc<TopicClient>,
    key: Key,
}

/// One of two.
#[derive(Clone, Debug)]
struct Key {
    keys: Arc<Keys>,
    is_previous: bool,
}

impl Key {
    fn current_of(keys: Arc<Keys>) -> Self {
        Self { keys, is_previous: false }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys) && self.is_previous == other.is_previous
    }

    fn credentials(&self) -> &CredentialProvider {
        let Versioned { current, previous } = &*self.keys;
        let previous = previous.as_ref().filter(|_| self.is_previous);
        previous.unwrap_or(current).provider()
    }

    /// The other of the two, where there are two.
    fn other(&self) -> Option<Self> {
        let is_previous = !self.is_previous;
        self.keys.previous.as_ref()?;
        Some(Self { keys: Arc::clone(&self.keys), is_previous })
    }
}

impl MomentoPublisher {
    /// Builds the client. It connects when it is first used.
    ///
    /// # Errors
    /// When the endpoint of the key cannot be one.
    pub fn new(keys: Rotating<Keys>, attempt_timeout: Duration) -> Result<Self, Box<MomentoError>> {
        let grpc = GrpcConfiguration::builder().deadline(attempt_timeout);
        let configuration = Configuration::builder()
            .transport_strategy(TransportStrategy::builder().grpc_configuration(grpc));
        let configuration = configuration.build();
        let client = connect(Key::current_of(keys.current()), &configuration)?;
        Ok(Self { keys, configuration, current: Mutex::new(Current::with(client)) })
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client, with a key as new as there is.
    fn client(&self) -> Result<Client, DeliveryError> {
        let keys = self.keys.current();
        let client = self.lock().client.clone();
        if Arc::ptr_eq(&client.key.keys, &keys) {
            return Ok(client);
        }
        let client = self.client_with(Key::current_of(keys))?;
        self.use_from_now_on(&client);
        Ok(client)
    }

    /// A client with this key.
    fn client_with(&self, key: Key) -> Result<Client, DeliveryError> {
        let mut current = self.lock();
        // Others may have been here before.
        let mut clients = std::iter::once(&current.client).chain(&current.other);
        if let Some(client) = clients.find(|client| client.key.is(&key)) {
            return Ok(client.clone());
        }
        let client = connect(key, &self.configuration)
            .map_err(|error| DeliveryError { reason: reason(&error), source: Some(error) })?;
        current.other = Some(client.clone());
        Ok(client)
    }

    fn use_from_now_on(&self, client: &Client) {
        let mut current = self.lock();
        if !current.client.key.is(&client.key) {
            let other = std::mem::replace(&mut *current, Current::with(client.clone())).client;
            // Of a secret that has changed, nothing is kept.
            current.other = Some(other).filter(|other| Arc::ptr_eq(&other.key.keys, &client.key.keys));
        }
    }

    /// What may do where `refusing` were refused.
    async fn instead_of(&self, refusing: &[Key]) -> Option<Key> {
        let key = refusing.last()?;
        let newer = |refreshed| match refreshed {
            Refreshed::Changed(keys) => Some(Key::current_of(keys)),
            Refreshed::Unchanged | Refreshed::Unknown => None,
        };
        // Polled once, this starts a fetch. The other key is tried meanwhile: the fetch may take longer than there is time.
        if let Some(newer) = self.keys.refresh(&key.keys).now_or_never().and_then(newer) {
            return Some(newer);
        }
        let other = key.other().filter(|other| !refusing.iter().any(|refusing| refusing.is(other)));
        if other.is_some() {
            return other;
        }
        newer(self.keys.refresh(&key.keys).await)
    }

    /// Notes that a try with `client` was never answered.
    fn unanswered(&self, client: &Client) {
        let mut current = self.lock();
        // Others may have noticed before.
        if !Arc::ptr_eq(&current.client.client, &client.client) {
            current.other.take_if(|other| Arc::ptr_eq(&other.client, &client.client));
            return;
        }
        current.unanswered += 1;
        if current.unanswered < SILENCE {
            return;
        }
        match connect(client.key.clone(), &self.configuration) {
            Ok(client) => {
                tracing::warn!(unanswered = current.unanswered, "connections to Momento replaced");
                current.client = client;
                current.unanswered = 0;
            }
            // It was built from the same before.
            Err(error) => tracing::error!(%error, "connections to Momento not replaced"),
        }
    }

    async fn attempt(&self, client: &Client, topic: &Topic<'_>, text: &str) -> Result<(), DeliveryError> {
        let mut attempt = Attempt { publisher: self, client, is_answered: false };
        let published = match client.client.publish(&*topic.cache, &*topic.topic, text).await {
            Ok(_) => Ok(()),
            Err(error) => Err(DeliveryError { reason: reason(&error), source: Some(Box::new(error)) }),
        };
        attempt.is_answered = !matches!(&published, Err(error) if error.reason == Reason::TimedOut);
        published
    }
}

/// The refusals of a key, apart from all other failures.
fn refused(published: Result<(), DeliveryError>) -> Result<Result<(), DeliveryError>, DeliveryError> {
    match published {
        Err(error) if !matches!(error.reason, Reason::Unauthenticated | Reason::PermissionDenied) => {
            Err(error)
        }
        published => Ok(published),
    }
}

impl Current {
    const fn with(client: Client) -> Self {
        Self { client, other: None, unanswered: 0 }
    }
}

fn connect(key: Key, configuration: &Configuration) -> Result<Client, Box<MomentoError>> {
    let credentials = key.credentials().clone();
    let builder =
        TopicClient::builder().configuration(configuration.clone()).credential_provider(credentials);
    Ok(Client { client: builder.build().map(Arc::new).map_err(Box::new)?, key })
}

impl Publisher for MomentoPublisher {
    async fn publish(&self, topic: &Topic<'_>, text: &str) -> Result<(), DeliveryError> {
        let mut client = self.client()?;
        let Err(error) = refused(self.attempt(&client, topic, text).await)? else { return Ok(()) };
        let mut refusing = vec![client.key];
        // It ends: nothing is tried twice, and a secret does not change all the time.
        while let Some(key) = self.instead_of(&refusing).await {
            client = self.client_with(key)?;
            if refused(self.attempt(&client, topic, text).await)?.is_ok() {
                self.use_from_now_on(&client);
                return Ok(());
            }
            refusing.push(client.key);
        }
        // What the others were refused for may be that they are of no use any more.
        Err(error)
    }

    async fn settled(&self) {
        self.keys.settled().await;
    }
}

/// One try, which may be given up on at any time by being dropped.
struct Attempt<'a> {
    publisher: &'a MomentoPublisher,
    client: &'a Client,
    is_answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            self.publisher.lock().unanswered = 0;
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
        assert!(reason.is_transient(), "{reason:?}");
    }
}
