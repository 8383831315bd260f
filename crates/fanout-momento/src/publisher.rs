//! Publishes to topics through one shared client of the SDK.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanout_core::destination::{Publisher, Topic};
use fanout_core::reason::{Failure, Reason};
use fanout_core::secret_store::Versioned;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use momento::config::grpc_configuration::GrpcConfiguration;
use momento::config::transport_strategy::TransportStrategy;
use momento::topics::Configuration;
use momento::{MomentoError, TopicClient};

use crate::credentials::Credentials;
use crate::status::reason;

/// Attempts in a row without a response, after which the client is replaced.
pub(crate) const MAX_UNANSWERED: u32 = 2;

/// The current credentials, and optionally the previous ones.
pub type Keys = Versioned<Credentials>;

/// Credentials that can change while they are in use.
pub trait KeySource: fmt::Debug + Send + Sync + 'static {
    /// Returns the credentials as they are known now.
    fn current(&self) -> Arc<Keys>;

    /// Looks for credentials that are newer than `rejected`. It starts when it is first polled, and continues when it is
    /// dropped.
    fn refresh<'s>(&'s self, rejected: &'s Arc<Keys>) -> BoxFuture<'s, Option<Arc<Keys>>>;

    /// Waits until a refresh ends that no caller waits for.
    fn settled(&self) -> BoxFuture<'_, ()>;
}

/// Credentials that do not change.
impl KeySource for Arc<Keys> {
    fn current(&self) -> Arc<Keys> {
        Self::clone(self)
    }

    fn refresh<'s>(&'s self, _: &'s Arc<Keys>) -> BoxFuture<'s, Option<Arc<Keys>>> {
        ready(None).boxed()
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

/// Publishes through one shared client of the SDK.
///
/// The client is replaced when its connections seem to be cut off. A connection that the network has forgotten gives no
/// error: requests get no response, and the SDK notices after most of a minute. So after two attempts in a row without
/// any response, a new client takes over, with new connections.
///
/// The client is also replaced when its key is. A key that is rejected may have been rotated, so newer credentials are
/// tried, and while those are being fetched, the other version. So it does not matter whether the old key is withdrawn
/// before the new one is known, or the new one is known before Momento accepts it. A key that may not publish to one topic
/// is rejected as well, and must not take the client away from the other topics: only a key that is accepted takes over.
#[derive(Debug)]
pub struct MomentoPublisher {
    keys: Arc<dyn KeySource>,
    configuration: Configuration,
    clients: Mutex<Clients>,
}

#[derive(Debug)]
struct Clients {
    active: Client,
    /// A client with the other key. While two keys are both in use, neither connects anew each time.
    other: Option<Client>,
    unanswered: u32,
}

#[derive(Clone, Debug)]
struct Client {
    client: Arc<TopicClient>,
    key: Key,
}

/// One of the two versions.
#[derive(Clone, Debug)]
struct Key {
    keys: Arc<Keys>,
    is_previous: bool,
}

impl Key {
    const fn current(keys: Arc<Keys>) -> Self {
        Self { keys, is_previous: false }
    }

    /// Returns both versions, the current one first.
    fn versions(keys: &Arc<Keys>) -> impl Iterator<Item = Self> {
        let versions = [false, true].map(|is_previous| Self { keys: Arc::clone(keys), is_previous });
        versions.into_iter().take(1 + usize::from(keys.previous.is_some()))
    }

    /// Returns true if Momento cannot tell these keys apart. Newer keys may be those that are known, with another version
    /// beside them.
    fn is(&self, other: &Self) -> bool {
        self.credentials() == other.credentials()
    }

    fn credentials(&self) -> &Credentials {
        let Versioned { current, previous } = &*self.keys;
        if self.is_previous {
            previous.as_ref().expect("`versions` checks that there are two")
        } else {
            current
        }
    }

    fn connect(self, configuration: &Configuration) -> Result<Client, Box<MomentoError>> {
        let provider = self.credentials().provider().clone();
        let client =
            TopicClient::builder().configuration(configuration.clone()).credential_provider(provider).build();
        Ok(Client { client: Arc::new(client.map_err(Box::new)?), key: self })
    }
}

impl Clients {
    const fn new(active: Client) -> Self {
        Self { active, other: None, unanswered: 0 }
    }
}

impl MomentoPublisher {
    /// Builds the client, which connects at its first use. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the endpoint of the key is invalid.
    pub fn new(keys: Arc<dyn KeySource>, attempt_timeout: Duration) -> Result<Self, Box<MomentoError>> {
        let grpc = GrpcConfiguration::builder().deadline(attempt_timeout);
        let transport = TransportStrategy::builder().grpc_configuration(grpc);
        let configuration = Configuration::builder().transport_strategy(transport).build();
        let client = Key::current(keys.current()).connect(&configuration)?;
        Ok(Self { keys, configuration, clients: Mutex::new(Clients::new(client)) })
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the active client, after its key is replaced by a newer one that is known.
    fn active(&self) -> Result<Client, Failure> {
        let keys = self.keys.current();
        let client = self.clients().active.clone();
        if Arc::ptr_eq(&client.key.keys, &keys) {
            return Ok(client);
        }
        let client = self.client_with(Key::current(keys))?;
        self.activate(&client);
        Ok(client)
    }

    fn client_with(&self, key: Key) -> Result<Client, Failure> {
        let mut clients = self.clients();
        // Another caller may have built it.
        let mut known = std::iter::once(&clients.active).chain(&clients.other);
        if let Some(client) = known.find(|client| client.key.is(&key)) {
            return Ok(Client { client: Arc::clone(&client.client), key });
        }
        let client =
            key.connect(&self.configuration).map_err(|error| Failure::from(reason(&error)).because(error))?;
        clients.other = Some(client.clone());
        Ok(client)
    }

    fn activate(&self, client: &Client) {
        let mut clients = self.clients();
        if Arc::ptr_eq(&clients.active.client, &client.client) {
            clients.active.key = client.key.clone();
            return;
        }
        let other = std::mem::replace(&mut *clients, Clients::new(client.clone())).active;
        // A client with a key of an older secret is dropped.
        let is_known = Key::versions(&client.key.keys).any(|key| key.is(&other.key));
        clients.other = is_known.then_some(other);
    }

    /// Returns a key to try after these were rejected.
    async fn alternative(&self, rejected: &[Key]) -> Option<Key> {
        let keys = &rejected.last()?.keys;
        let untried = |keys: &Arc<Keys>| {
            Key::versions(keys).find(|key| !rejected.iter().any(|rejected| rejected.is(key)))
        };
        // Polled once, this starts a refresh. The other version is tried meanwhile: a refresh may take too long.
        if let Some(newer) = self.keys.refresh(keys).now_or_never().flatten() {
            return untried(&newer);
        }
        let other = untried(keys);
        if other.is_some() {
            return other;
        }
        untried(&self.keys.refresh(keys).await?)
    }

    /// Records that an attempt got no response.
    fn record_unanswered(&self, client: &Client) {
        let mut clients = self.clients();
        // Another caller may have replaced the client.
        if !Arc::ptr_eq(&clients.active.client, &client.client) {
            clients.other.take_if(|other| Arc::ptr_eq(&other.client, &client.client));
            return;
        }
        clients.unanswered += 1;
        if clients.unanswered < MAX_UNANSWERED {
            return;
        }
        match client.key.clone().connect(&self.configuration) {
            Ok(client) => {
                tracing::warn!(unanswered = clients.unanswered, "connections to Momento replaced");
                clients.active = client;
                clients.unanswered = 0;
            }
            // The same key made a client before.
            Err(error) => tracing::error!(%error, "connections to Momento not replaced"),
        }
    }

    /// Publishes once. Returns the error if the key was rejected.
    async fn attempt(
        &self,
        client: &Client,
        topic: &Topic<'_>,
        text: &str,
    ) -> Result<Option<Failure>, Failure> {
        let mut attempt = Attempt { publisher: self, client, is_answered: false };
        let published = client.client.publish(&*topic.cache, &*topic.topic, text).await;
        let Err(error) = published else {
            attempt.is_answered = true;
            return Ok(None);
        };
        let reason = reason(&error);
        attempt.is_answered = reason != Reason::TimedOut;
        let error = Failure::from(reason).because(error);
        match reason {
            Reason::Unauthenticated | Reason::PermissionDenied => Ok(Some(error)),
            _ => Err(error),
        }
    }
}

impl Publisher for MomentoPublisher {
    async fn publish(&self, topic: &Topic<'_>, text: &str) -> Result<(), Failure> {
        let mut client = self.active()?;
        let Some(rejection) = self.attempt(&client, topic, text).await? else { return Ok(()) };
        let mut rejected = vec![client.key];
        // This ends: no key is tried twice, and a secret does not change all the time.
        while let Some(key) = self.alternative(&rejected).await {
            client = self.client_with(key)?;
            if self.attempt(&client, topic, text).await?.is_none() {
                self.activate(&client);
                return Ok(());
            }
            rejected.push(client.key);
        }
        // The first rejection counts: the other keys may be withdrawn.
        Err(rejection)
    }

    async fn settled(&self) {
        self.keys.settled().await;
    }
}

/// One attempt, which its caller can drop at any time.
struct Attempt<'a> {
    publisher: &'a MomentoPublisher,
    client: &'a Client,
    is_answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            self.publisher.clients().unanswered = 0;
        } else {
            self.publisher.record_unanswered(self.client);
        }
    }
}
