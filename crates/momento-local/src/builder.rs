//! Settings, and the start of a server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use local_guard::Guard;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::call::Shared;
use crate::connection::Gate;
use crate::error::StartError;
use crate::faults::Registry;
use crate::faults::metadata::Counts;
use crate::hub::Hub;
use crate::hub::log::Limits;
use crate::server::MomentoLocal;

/// The default limit of a message, in bytes. Momento documents 4 KB, as a soft limit.
pub(crate) const DEFAULT_MAX_MESSAGE_BYTES: usize = 4_096;
/// The messages of a topic that a resuming subscriber can have replayed. The service does not say how many
/// it keeps ("unspecified and subject to change").
pub(crate) const DEFAULT_HISTORY: usize = 1_000;
/// The latest messages that a fresh subscriber receives first. By Momento's definition, such a subscription "will begin
/// with the latest messages"; the definition does not say how many. The suite of the Python SDK expects one.
pub(crate) const DEFAULT_LATEST: usize = 1;
/// The default time between heartbeats. The SDKs' own suites wait for several, and expect them about every second.
pub(crate) const DEFAULT_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The messages that a subscriber can fall behind before it loses some.
const DEFAULT_SUBSCRIBER_LAG: usize = 1_000;
/// The subscriptions that are open at once. One whose client does not read takes up to 40 KiB, with messages of 4 KiB.
pub(crate) const DEFAULT_MAX_SUBSCRIPTIONS: usize = 10_000;
/// The bytes of items that all caches keep together.
pub(crate) const DEFAULT_MAX_ITEMS_BYTES: usize = 256 * 1_024 * 1_024;
/// The bytes that one topic keeps, for replay and for slow subscribers together.
const DEFAULT_TOPIC_BYTES: usize = 8 * 1_024 * 1_024;
/// The time that a shutdown waits for clients.
const DEFAULT_DRAIN: Duration = Duration::from_secs(2);

/// The settings of a local Momento. [`MomentoLocal::builder`] makes one.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    admin_hosts: Vec<String>,
    caches: Vec<String>,
    create_caches: bool,
    api_key: Option<Secret>,
    max_message_bytes: usize,
    heartbeat_interval: Duration,
    max_subscriptions: usize,
    max_items_bytes: usize,
    limits: Limits,
    drain: Duration,
}

/// A key that debug output does not show.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            admin: None,
            admin_hosts: Vec::new(),
            caches: Vec::new(),
            create_caches: false,
            api_key: None,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            heartbeat_interval: DEFAULT_HEARTBEAT_INTERVAL,
            max_subscriptions: DEFAULT_MAX_SUBSCRIPTIONS,
            max_items_bytes: DEFAULT_MAX_ITEMS_BYTES,
            limits: Limits {
                history: DEFAULT_HISTORY,
                latest: DEFAULT_LATEST,
                lag: DEFAULT_SUBSCRIBER_LAG,
                bytes: DEFAULT_TOPIC_BYTES,
            },
            drain: DEFAULT_DRAIN,
        }
    }
}

impl MomentoLocal {
    /// Starts on a free port, without caches and without an admin port.
    ///
    /// # Errors
    ///
    /// If the system has no free port.
    pub async fn start() -> Result<Self, StartError> {
        Self::builder().start().await
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Sets the address for gRPC. Default: a free port on the loopback interface.
    pub fn listen(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.listen = addr.into();
        self
    }

    /// Opens the admin port at `addr`. Default: no admin port.
    pub fn admin(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.admin = Some(addr.into());
        self
    }

    /// Accepts requests for this host on the admin port, in addition to `localhost` and loopback addresses. Can be
    /// called several times.
    pub fn admin_host(mut self, host: impl Into<String>) -> Self {
        self.admin_hosts.push(host.into());
        self
    }

    /// Adds a cache that exists from the start. Can be called several times.
    pub fn cache(mut self, name: impl Into<String>) -> Self {
        self.caches.push(name.into());
        self
    }

    /// Sets whether the use of a topic or an item creates a missing cache. Default: false, as on the service.
    pub fn create_caches(mut self, create: bool) -> Self {
        self.create_caches = create;
        self
    }

    /// Accepts only this key, as Momento issues it or as SDKs send it, and the tokens that this server issues. Default: any
    /// key, or none.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(Secret(key.into()));
        self
    }

    /// Sets the largest message, in bytes. Default: 4096.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Sets how many messages of a topic a resuming subscriber can have replayed. Default: 1000. 0 disables replay.
    pub fn history(mut self, messages: usize) -> Self {
        self.limits.history = messages;
        self
    }

    /// Sets how many of the latest messages a fresh subscriber receives first. Default: 1. The history is the upper
    /// limit.
    pub fn latest(mut self, messages: usize) -> Self {
        self.limits.latest = messages;
        self
    }

    /// Sets how many messages a subscriber can fall behind before it loses some and receives a discontinuity.
    /// Default: 1000. The history counts instead if it is longer; at least 1.
    pub fn subscriber_lag(mut self, messages: usize) -> Self {
        self.limits.lag = messages;
        self
    }

    /// Sets how many bytes of messages a topic keeps, for replay and for slow subscribers together. Default:
    /// 8 MiB. A topic always keeps its newest message, whatever the size.
    pub fn topic_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets how many subscriptions can be open at once, on all topics together. Default: 10,000. A further one fails
    /// with "resource exhausted".
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.max_subscriptions = subscriptions;
        self
    }

    /// Sets how many bytes of items all caches keep together. Default: 256 MiB. A call that would exceed it fails with
    /// "resource exhausted".
    pub fn max_items_bytes(mut self, bytes: usize) -> Self {
        self.max_items_bytes = bytes;
        self
    }

    /// Sets the time between two heartbeats of a subscription. Default: one second.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// Sets how long [`MomentoLocal::shutdown`] waits for clients before it cuts their connections. Default:
    /// two seconds.
    pub fn drain(mut self, timeout: Duration) -> Self {
        self.drain = timeout;
        self
    }

    /// Listens and serves.
    ///
    /// # Errors
    ///
    /// If a port is in use, or a setting is invalid.
    pub async fn start(self) -> Result<MomentoLocal, StartError> {
        let addr = self.listen;
        let listener = TcpListener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })?;
        self.start_with(listener).await
    }

    /// Serves on a listener of the caller, in place of the address of [`listen`](Self::listen).
    ///
    /// # Errors
    ///
    /// If the admin port is in use, or a setting is invalid.
    pub async fn start_with(self, listener: TcpListener) -> Result<MomentoLocal, StartError> {
        if self.heartbeat_interval.is_zero() {
            return Err(StartError::HeartbeatInterval);
        }
        let guard =
            self.admin_hosts.iter().try_fold(Guard::loopback(), |guard, host| guard.and_host(host))?;
        let admin = match self.admin {
            None => None,
            Some(addr) => {
                let listener = TcpListener::bind(addr).await;
                Some((listener.map_err(|source| StartError::Admin { addr, source })?, guard))
            }
        };
        let hub = Hub::new(self.limits, self.create_caches, self.max_subscriptions, self.max_items_bytes);
        for name in &self.caches {
            hub.create_cache(name).map_err(|source| StartError::Cache { name: name.clone(), source })?;
        }
        let shared = Arc::new(Shared {
            hub,
            gate: Arc::new(Gate::default()),
            faults: Arc::new(Registry::default()),
            counts: Counts::default(),
            authenticator: self
                .api_key
                .map_or_else(Authenticator::default, |key| Authenticator::only(&key.0)),
            max_message_bytes: self.max_message_bytes,
            heartbeat_interval: self.heartbeat_interval,
            shutdown: CancellationToken::new(),
        });
        MomentoLocal::serve(shared, listener, admin, self.drain).map_err(StartError::Listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let builder = Builder::default().api_key("secret");
        assert!(!format!("{builder:?}").contains("secret"));
    }

    #[tokio::test]
    async fn rejects_invalid_settings() {
        let host = Builder::default().admin_host("momento:9090").start().await;
        assert!(matches!(host, Err(StartError::AdminHost(_))));
        let zero = Builder::default().heartbeat_interval(Duration::ZERO).start().await;
        assert!(matches!(zero, Err(StartError::HeartbeatInterval)));
        let duplicate = Builder::default().cache("a").cache("a").start().await;
        assert!(matches!(duplicate, Err(StartError::Cache { name, .. }) if name == "a"));
    }

    #[tokio::test]
    async fn names_port_in_use() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let taken = taken.local_addr().map(|addr| (addr, taken)).unwrap();
        let listen = Builder::default().listen(taken.0).start().await;
        assert!(matches!(listen, Err(StartError::Listen { addr, .. }) if addr == taken.0));
        let admin = Builder::default().admin(taken.0).start().await;
        assert!(matches!(admin, Err(StartError::Admin { addr, .. }) if addr == taken.0));
    }
}
