//! Publishes with the token of a caller, so that subscribers and webhooks see the id of who published.
//!
//! Through the official stubs: a client of the SDK has connections of its own for each token.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanout_core::clock::{Clock, SystemClock};
use fanout_core::destination::Topic;
use fanout_core::reason::{Failure, Reason};
use fanout_core::retry::RetryPolicy;
use lru::LruCache;
use momento::MomentoError;
use momento_protos::cache_client::pubsub::pubsub_client::PubsubClient;
use momento_protos::cache_client::pubsub::topic_value::Kind;
use momento_protos::cache_client::pubsub::{PublishRequest, TopicValue};
use tokio::time::Instant;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::publisher::{KeySource, Keys};
use crate::status::reason;
use crate::token_issuer::{TokenIssuer, TokenRequest};

/// The tokens that are kept: about a megabyte. Of more, those that were used last are.
const MAX_TOKENS: NonZeroUsize = NonZeroUsize::new(1_000).expect("it is not zero");

/// The time before its expiry at which a token is replaced, if its lifetime is twice as long or longer.
const MARGIN: Duration = Duration::from_secs(30);

/// Publishes with tokens that it issues and keeps.
pub struct CallerPublisher {
    keys: Arc<dyn KeySource>,
    issuer: TokenIssuer,
    retry: RetryPolicy,
    tokens: Mutex<LruCache<TokenKey, Arc<KeptToken>>>,
    hashers: [RandomState; 2],
    channel: Mutex<Option<(Arc<Keys>, Channel)>>,
}

/// The key of a token: 128 bits of a keyed hash of its id, its lifetime and its permissions. A caller cannot compute a
/// collision, because the keys of the hash are random.
type TokenKey = [u64; 2];

/// A token in use.
struct KeptToken {
    authorization: MetadataValue<Ascii>,
    /// The time at which it is replaced, in milliseconds since the Unix epoch.
    replaced_at: u64,
}

/// Why a text was not published.
#[derive(Debug)]
pub enum NotPublished {
    /// Momento has not issued the token.
    Token(Failure),
    /// Momento has not taken the text.
    Text(Failure),
}

impl CallerPublisher {
    /// Uses these keys to issue tokens. Retries by `retry`.
    #[must_use]
    pub fn new(keys: Arc<dyn KeySource>, retry: RetryPolicy) -> Self {
        Self {
            issuer: TokenIssuer::new(Arc::clone(&keys), retry.attempt_timeout),
            keys,
            retry,
            tokens: Mutex::new(LruCache::new(MAX_TOKENS)),
            hashers: [RandomState::new(), RandomState::new()],
            channel: Mutex::default(),
        }
    }

    /// Publishes a text with a token for `caller`, which is issued if none is kept. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If Momento does not issue the token, or does not take the text before `deadline`.
    pub async fn publish(
        &self,
        caller: TokenRequest<'_>,
        topic: &Topic<'_>,
        text: &str,
        deadline: Instant,
    ) -> Result<(), NotPublished> {
        let key = self.key(caller);
        let kept = self.kept(key);
        let was_kept = kept.is_some();
        let token = match kept {
            Some(token) => token,
            None => self.issue(key, caller).await?,
        };
        match self.with(&token, topic, text, deadline).await {
            // The token may have been revoked with the API key that issued it.
            Err(failure) if was_kept && failure.reason == Reason::Unauthenticated => {
                let token = self.issue(key, caller).await?;
                self.with(&token, topic, text, deadline).await.map_err(NotPublished::Text)
            }
            result => result.map_err(NotPublished::Text),
        }
    }

    /// Waits until a refresh of the key ends that no caller waits for.
    pub async fn settled(&self) {
        self.keys.settled().await;
    }

    fn key(&self, caller: TokenRequest<'_>) -> TokenKey {
        let permissions: Vec<_> = caller.permissions.iter().map(ToString::to_string).collect();
        let identity = (caller.token_id, caller.ttl_seconds, permissions);
        self.hashers.each_ref().map(|hasher| hasher.hash_one(&identity))
    }

    fn kept(&self, key: TokenKey) -> Option<Arc<KeptToken>> {
        let token = lock(&self.tokens).get(&key).map(Arc::clone);
        token.filter(|token| SystemClock.now() < token.replaced_at)
    }

    async fn issue(&self, key: TokenKey, caller: TokenRequest<'_>) -> Result<Arc<KeptToken>, NotPublished> {
        let issued = self.issuer.issue(caller).await.map_err(NotPublished::Token)?;
        let margin = MARGIN.min(Duration::from_secs(u64::from(caller.ttl_seconds) / 2)).as_secs();
        let token = Arc::new(KeptToken {
            authorization: issued.authorization,
            replaced_at: issued.expires_at.saturating_sub(margin).saturating_mul(1_000),
        });
        lock(&self.tokens).put(key, Arc::clone(&token));
        Ok(token)
    }

    async fn with(
        &self,
        token: &KeptToken,
        topic: &Topic<'_>,
        text: &str,
        deadline: Instant,
    ) -> Result<(), Failure> {
        self.retry.run(deadline, || self.attempt(token, topic, text)).await.1
    }

    async fn attempt(&self, token: &KeptToken, topic: &Topic<'_>, text: &str) -> Result<(), Failure> {
        let (keys, channel) = self.channel()?;
        let mut attempt = Attempt { publisher: self, keys, is_answered: false };
        let mut request = Request::new(PublishRequest {
            cache_name: topic.cache.to_string(),
            topic: topic.topic.to_string(),
            value: Some(TopicValue { kind: Some(Kind::Text(text.to_owned())) }),
        });
        request.set_timeout(self.retry.attempt_timeout);
        request.metadata_mut().insert("authorization", token.authorization.clone());
        // As the SDKs do. A name that cannot be a header is in the message only.
        if let Ok(cache) = topic.cache.parse() {
            request.metadata_mut().insert("cache", cache);
        }
        let result = PubsubClient::new(channel).publish(request).await.map_err(|status| {
            let error = MomentoError::from(status);
            Failure::from(reason(&error)).because(error)
        });
        attempt.is_answered = !matches!(&result, Err(failure) if failure.reason == Reason::TimedOut);
        result.map(drop)
    }

    /// Returns the connection that all tokens share.
    fn channel(&self) -> Result<(Arc<Keys>, Channel), Failure> {
        let keys = self.keys.current();
        let mut current = lock(&self.channel);
        if let Some((known, channel)) = current.as_ref().filter(|(known, _)| Arc::ptr_eq(known, &keys)) {
            return Ok((Arc::clone(known), channel.clone()));
        }
        let channel = keys.current.channel();
        let channel = channel.map_err(|error| Failure::from(Reason::Internal).because(error))?;
        *current = Some((Arc::clone(&keys), channel.clone()));
        Ok((keys, channel))
    }
}

/// One attempt, which its caller can drop at any time. Without a response, the next attempt has a new connection: this one
/// may be cut off.
struct Attempt<'a> {
    publisher: &'a CallerPublisher,
    keys: Arc<Keys>,
    is_answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            lock(&self.publisher.channel).take_if(|(keys, _)| Arc::ptr_eq(keys, &self.keys));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Never shows a token.
impl fmt::Debug for CallerPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerPublisher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use fanout_core::names::CacheName;
    use fanout_core::permission::{Permission, Resource, Role};
    use momento_local::{Fault, MomentoLocal, Rpc};
    use tonic::Code;

    use super::*;
    use crate::credentials::Credentials;

    async fn start() -> (MomentoLocal, CallerPublisher) {
        let momento = MomentoLocal::builder().cache("c").api_key("key").start().await.unwrap();
        let current = Credentials::new("key", Some(&momento.endpoint().parse().unwrap())).unwrap();
        let keys = Arc::new(Keys { current, previous: None });
        let publisher = CallerPublisher::new(Arc::new(keys), RetryPolicy::PUBLISH);
        (momento, publisher)
    }

    async fn publish(publisher: &CallerPublisher, token_id: &str, topic: &str) -> Result<(), NotPublished> {
        let permissions = [Permission {
            cache: CacheName::new("c").unwrap(),
            resource: Resource::Topic("t".to_owned()),
            role: Role::Write,
        }];
        let caller = TokenRequest { token_id, ttl_seconds: 600, permissions: &permissions };
        let deadline = Instant::now() + Duration::from_secs(4);
        publisher.publish(caller, &Topic::new("c", topic), "hello", deadline).await
    }

    #[tokio::test]
    async fn publishes_with_id_of_each_caller_and_keeps_their_tokens() {
        let (momento, publisher) = start().await;
        for token_id in ["ann", "bob", "ann", "bob"] {
            publish(&publisher, token_id, "t").await.unwrap();
        }
        let ids: Vec<_> =
            momento.published("c", "t").into_iter().map(|message| message.publisher_id).collect();
        assert_eq!(ids, ["ann", "bob", "ann", "bob"]);
        assert_eq!(lock(&publisher.tokens).len(), 2);
        // A token that is kept needs no issuer.
        let fault = momento.inject(Fault::error(Code::Internal).on(Rpc::GenerateDisposableToken));
        publish(&publisher, "ann", "t").await.unwrap();
        assert_eq!(fault.hits(), 0);
        assert!(matches!(publish(&publisher, "eve", "t").await, Err(NotPublished::Token(_))));
    }

    #[tokio::test]
    async fn token_allows_no_other_topic() {
        let (momento, publisher) = start().await;
        let Err(NotPublished::Text(failure)) = publish(&publisher, "ann", "other").await else {
            panic!("the token is for one topic")
        };
        assert_eq!(failure.reason, Reason::PermissionDenied);
        assert!(momento.published("c", "other").is_empty());
    }

    #[tokio::test]
    async fn replaces_token_that_is_no_longer_accepted() {
        let (momento, publisher) = start().await;
        publish(&publisher, "ann", "t").await.unwrap();
        let fault = momento.inject(Fault::error(Code::Unauthenticated).on(Rpc::Publish).times(1));
        publish(&publisher, "ann", "t").await.unwrap();
        assert_eq!((fault.hits(), momento.published("c", "t").len()), (1, 2));
    }

    #[tokio::test]
    async fn connects_anew_after_attempt_without_response() {
        let (momento, publisher) = start().await;
        publish(&publisher, "ann", "t").await.unwrap();
        let fault = momento.inject(Fault::hang().on(Rpc::Publish).times(1));
        let hanging = tokio::time::timeout(Duration::from_millis(200), publish(&publisher, "ann", "t")).await;
        assert!(hanging.is_err() && lock(&publisher.channel).is_none());
        publish(&publisher, "ann", "t").await.unwrap();
        assert_eq!((fault.hits(), momento.published("c", "t").len()), (1, 2));
    }
}
