//! Issues disposable tokens.
//!
//! Through the official stubs: the SDK's client has no timeout, and makes no token for both topics and keys.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fanout_core::permission::{Permission, Resource, Role};
use fanout_core::reason::{Failure, Reason};
use momento::MomentoError;
use momento_protos::permission_messages::permissions_type::{
    self, CacheItemSelector, CachePermissions, CacheSelector, TopicPermissions, TopicSelector,
    cache_item_selector, cache_permissions, cache_selector, topic_permissions, topic_selector,
};
use momento_protos::permission_messages::{
    CacheRole, ExplicitPermissions, Permissions, PermissionsType, TopicRole, permissions,
};
use momento_protos::token::generate_disposable_token_request::Expires;
use momento_protos::token::token_client::TokenClient;
use momento_protos::token::{GenerateDisposableTokenRequest, GenerateDisposableTokenResponse};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::publisher::{KeySource, Keys};
use crate::status::reason;

/// The maximum number of attempts for one token. A token whose response gets lost does no harm: its owner does not have it.
const MAX_ATTEMPTS: u32 = 2;

/// Issues disposable tokens with an API key that can change.
pub struct TokenIssuer {
    keys: Arc<dyn KeySource>,
    attempt_timeout: Duration,
    current: Mutex<Option<(Arc<Keys>, Channel)>>,
}

/// The token that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'r> {
    /// The id in the token, of at most 64 characters.
    pub token_id: &'r str,
    /// The time for which it is valid, in seconds.
    pub ttl_seconds: u32,
    /// Its permissions.
    pub permissions: &'r [Permission],
}

/// A token. `Debug` does not show it.
pub struct IssuedToken {
    /// The token, in the form that `CredentialProvider` of the SDKs reads.
    pub token: String,
    /// The endpoint that it is for.
    pub endpoint: String,
    /// The time at which it expires, in seconds since the Unix epoch.
    pub expires_at: u64,
    /// The token as calls send it.
    pub(crate) authorization: MetadataValue<Ascii>,
}

impl TokenIssuer {
    /// Uses these keys. `attempt_timeout` is that of one call.
    #[must_use]
    pub fn new(keys: Arc<dyn KeySource>, attempt_timeout: Duration) -> Self {
        Self { keys, attempt_timeout, current: Mutex::default() }
    }

    /// Issues a token. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If Momento refuses it, or does not respond.
    pub async fn issue(&self, request: TokenRequest<'_>) -> Result<IssuedToken, Failure> {
        let mut attempt = 1;
        loop {
            let keys = self.keys.current();
            let failure = match self.attempt(&keys, request).await {
                Ok(response) => return issued(response),
                Err(failure) => failure,
            };
            let is_worth_another = match failure.reason {
                // The key may have been rotated.
                Reason::Unauthenticated => self.keys.refresh(&keys).await.is_some(),
                reason => reason.is_transient(),
            };
            if attempt == MAX_ATTEMPTS || !is_worth_another {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// Waits until a refresh of the key ends that no caller waits for.
    pub async fn settled(&self) {
        self.keys.settled().await;
    }

    async fn attempt(
        &self,
        keys: &Arc<Keys>,
        wanted: TokenRequest<'_>,
    ) -> Result<GenerateDisposableTokenResponse, Failure> {
        let credentials = &keys.current;
        let mut client = TokenClient::new(self.channel(keys)?);
        let mut request = Request::new(GenerateDisposableTokenRequest {
            expires: Some(Expires { valid_for_seconds: wanted.ttl_seconds }),
            auth_token: credentials.provider().auth_token().to_owned(),
            permissions: Some(Permissions {
                kind: Some(permissions::Kind::Explicit(ExplicitPermissions {
                    permissions: wanted.permissions.iter().map(message).collect(),
                })),
            }),
            token_id: wanted.token_id.to_owned(),
        });
        request.set_timeout(self.attempt_timeout);
        request.metadata_mut().insert("authorization", credentials.authorization().clone());
        let response =
            tokio::time::timeout(self.attempt_timeout, client.generate_disposable_token(request)).await;
        let failed = |status: Status| {
            let error = MomentoError::from(status);
            Failure::from(reason(&error)).because(error)
        };
        match response {
            Ok(response) => response.map(tonic::Response::into_inner).map_err(failed),
            Err(_) => Err(Reason::TimedOut.into()),
        }
    }

    /// Returns the connection with these keys.
    fn channel(&self, keys: &Arc<Keys>) -> Result<Channel, Failure> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, channel)) = current.as_ref().filter(|(known, _)| Arc::ptr_eq(known, keys)) {
            return Ok(channel.clone());
        }
        let channel = keys.current.token_channel();
        let channel = channel.map_err(|error| Failure::from(Reason::Internal).because(error))?;
        *current = Some((Arc::clone(keys), channel.clone()));
        Ok(channel)
    }
}

/// Returns a token in the form that the SDKs make of the response, too.
fn issued(response: GenerateDisposableTokenResponse) -> Result<IssuedToken, Failure> {
    let GenerateDisposableTokenResponse { api_key, endpoint, valid_until } = response;
    let mut authorization: MetadataValue<Ascii> = api_key
        .parse()
        .map_err(|_| Failure::new(Reason::Internal, "the token has a character that a header cannot have"))?;
    authorization.set_sensitive(true);
    let document = serde_json::json!({"endpoint": endpoint, "api_key": api_key});
    let token = BASE64.encode(document.to_string());
    Ok(IssuedToken { token, endpoint, expires_at: valid_until, authorization })
}

fn message(permission: &Permission) -> PermissionsType {
    let Permission { cache, resource, role } = permission;
    let cache = CacheSelector { kind: Some(cache_selector::Kind::CacheName(cache.as_str().to_owned())) };
    let items = |selector| {
        let role = match role {
            Role::Read => CacheRole::CacheReadOnly,
            Role::Write => CacheRole::CacheWriteOnly,
            Role::ReadWrite => CacheRole::CacheReadWrite,
        };
        permissions_type::Kind::CachePermissions(CachePermissions {
            role: role.into(),
            cache: Some(cache_permissions::Cache::CacheSelector(cache.clone())),
            cache_item: Some(cache_permissions::CacheItem::ItemSelector(CacheItemSelector {
                kind: Some(selector),
            })),
        })
    };
    let kind = match resource {
        Resource::Key(key) => items(cache_item_selector::Kind::Key(key.clone().into_bytes())),
        Resource::KeyPrefix(prefix) => {
            items(cache_item_selector::Kind::KeyPrefix(prefix.clone().into_bytes()))
        }
        Resource::Topic(topic) => {
            let role = match role {
                Role::Read => TopicRole::TopicReadOnly,
                Role::Write => TopicRole::TopicWriteOnly,
                Role::ReadWrite => TopicRole::TopicReadWrite,
            };
            let selector = TopicSelector { kind: Some(topic_selector::Kind::TopicName(topic.clone())) };
            permissions_type::Kind::TopicPermissions(TopicPermissions {
                role: role.into(),
                cache: Some(topic_permissions::Cache::CacheSelector(cache.clone())),
                topic: Some(topic_permissions::Topic::TopicSelector(selector)),
            })
        }
    };
    PermissionsType { kind: Some(kind) }
}

/// Never shows a key.
impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer").finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
