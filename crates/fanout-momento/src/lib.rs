//! Momento as this project uses it: publish through the SDK, subscribe through the official stubs.
//!
//! | module | content |
//! | --- | --- |
//! | [`cache`] | items in caches, with credentials that can change |
//! | [`cache_sender`] | changes items for cache destinations |
//! | [`caller_publisher`] | publishes with the tokens of callers |
//! | [`credentials`] | an API key, the endpoint that it reaches, and connections to it |
//! | [`publisher`] | publishes to topics, with credentials that can change |
//! | [`set`] | a set in a cache |
//! | [`subscription`] | a subscription to one topic that survives interruptions |
//! | [`token_issuer`] | issues disposable tokens |
//! | [`status`] | failures: their reason, and their description |

pub mod cache;
pub mod cache_sender;
pub mod caller_publisher;
pub mod credentials;
pub mod publisher;
pub mod set;
pub mod status;
pub mod subscription;
pub mod token_issuer;

pub use cache::MomentoCache;
pub use cache_sender::CacheSender;
pub use caller_publisher::{CallerPublisher, NotPublished};
pub use credentials::{Credentials, CredentialsError, Endpoint, EndpointError};
pub use publisher::{KeySource, Keys, MomentoPublisher};
pub use set::CacheSet;
pub use subscription::{Subscription, SubscriptionError, SubscriptionEvent};
pub use token_issuer::{IssuedToken, TokenIssuer, TokenRequest};
