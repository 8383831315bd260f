//! What can keep local Momento from starting, and what it cannot do to its caches.

use std::io;
use std::net::SocketAddr;

/// Why [`Builder::start`](crate::Builder::start) did not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address for gRPC cannot be had: in use, or not one of this machine.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The address of the admin port cannot be had.
    #[error("cannot open the admin port on {addr}")]
    Admin {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The listener that was handed over has no address.
    #[error("cannot tell the address of the listener")]
    Listener(#[source] io::Error),
    /// A cache that should be there from the start cannot be created.
    #[error("cannot create cache '{name}'")]
    Cache {
        /// The name asked for.
        name: String,
        /// Why it is refused.
        source: CacheError,
    },
    /// Heartbeats need some time between them.
    #[error("the heartbeat interval must be greater than zero")]
    HeartbeatInterval,
}

/// The longest name of a cache or topic, in bytes. Momento publishes no number; this one keeps a test
/// that sends nonsense from being accepted.
pub(crate) const MAX_NAME_BYTES: usize = 512;

/// Why something cannot be done to a cache or to a topic in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The name of the cache cannot be one.
    #[error("cache name must be 1 to {MAX_NAME_BYTES} bytes and not blank")]
    InvalidCacheName,
    /// The name of the topic cannot be one.
    #[error("topic name must be 1 to {MAX_NAME_BYTES} bytes")]
    InvalidTopicName,
    /// There is no cache of this name.
    #[error("cache with name '{0}' does not exist")]
    CacheNotFound(String),
    /// There is a cache of this name.
    #[error("cache with name '{0}' already exists")]
    CacheAlreadyExists(String),
}
