//! Errors at start, and errors of caches and topics.

use std::io;
use std::net::SocketAddr;

use local_guard::InvalidHost;

/// Error of [`Builder::start`](crate::Builder::start).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address for gRPC is in use, or not an address of this machine.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The address of the admin port is in use, or not an address of this machine.
    #[error("cannot open the admin port on {addr}")]
    Admin {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// A configured host of the admin port is invalid.
    #[error("cannot configure the admin port")]
    AdminHost(#[from] InvalidHost),
    /// The listener of the caller has no address.
    #[error("cannot read the address of the listener")]
    Listener(#[source] io::Error),
    /// A cache of the settings cannot be created.
    #[error("cannot create cache '{name}'")]
    Cache {
        /// The name of the cache.
        name: String,
        /// The reason.
        source: CacheError,
    },
    /// The heartbeat interval is zero.
    #[error("the heartbeat interval must be greater than zero")]
    HeartbeatInterval,
}

/// The longest name of a cache or topic, in bytes. Momento documents no limit; this one lets a test see an error.
pub(crate) const MAX_NAME_BYTES: usize = 512;

/// Error of an operation on a cache or on a topic in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The name is not a valid cache name.
    #[error("cache name must be 1 to {MAX_NAME_BYTES} bytes and not blank")]
    InvalidCacheName,
    /// The name is not a valid topic name.
    #[error("topic name must be 1 to {MAX_NAME_BYTES} bytes")]
    InvalidTopicName,
    /// No cache has this name.
    #[error("cache with name '{0}' does not exist")]
    CacheNotFound(String),
    /// The server has as many subscriptions as it accepts.
    // The JavaScript SDK looks for "subscribers" in the text.
    #[error(
        "too many subscribers: all {0} that the server accepts are connected; end some, or raise the limit"
    )]
    TooManySubscriptions(usize),
    /// A cache already has this name.
    #[error("cache with name '{0}' already exists")]
    CacheAlreadyExists(String),
}
