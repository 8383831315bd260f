//! The keys of an OIDC provider, which rotate: fetched, kept, and fetched again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanout_core::clock::Clock;
use futures_util::future::BoxFuture;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use momento_webhook::Millis;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::claims::NotProven;

/// The maximum size of a set of keys, in bytes. A key has about 500.
pub const MAX_JWKS_BYTES: usize = 128 * 1024;
/// The most keys that are read of a set.
const MAX_KEYS: usize = 100;
/// The age at which the keys are fetched again. A key that the provider withdraws is accepted for that long.
const MAX_AGE: Millis = 10 * 60 * 1_000;
/// The age up to which keys are used while the provider cannot be reached.
const MAX_STALE: Millis = 60 * 60 * 1_000;
/// The least time between two fetches, so that a caller who invents key ids does not cause many.
const COOLDOWN: Millis = 10 * 1_000;
/// The least time between two fetches while no keys are known.
const FIRST_COOLDOWN: Millis = 1_000;
/// The timeout of a fetch. The response has to be out after 4 s.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Fetches a document from a URL.
pub trait FetchKeys: fmt::Debug + Send + Sync + 'static {
    /// Fetches the document at `url`, of at most [`MAX_JWKS_BYTES`]. It follows no redirects.
    fn fetch<'f>(&'f self, url: &'f str) -> BoxFuture<'f, Result<Vec<u8>, FetchError>>;
}

/// Why a document could not be fetched, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// The keys of one provider. Two providers share nothing: the same key id may name different keys.
pub struct Jwks {
    url: String,
    fetch: Arc<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Held during a fetch, so that one is made at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Arc<[ProviderKey]>,
    /// The time of the last fetch that succeeded.
    fetched: Option<Millis>,
    /// The time of the last fetch.
    tried: Option<Millis>,
}

/// A public key that can verify.
pub(crate) struct ProviderKey {
    id: Option<String>,
    /// The algorithms that the key is for.
    algorithms: Vec<Algorithm>,
    pub(crate) decoding: DecodingKey,
}

impl Known {
    fn has_keys_younger_than(&self, age: Millis, now: Millis) -> bool {
        self.fetched.is_some_and(|fetched| now.saturating_sub(fetched) < age)
    }

    fn may_fetch(&self, now: Millis) -> bool {
        let cooldown = if self.fetched.is_some() { COOLDOWN } else { FIRST_COOLDOWN };
        self.tried.is_none_or(|tried| now.saturating_sub(tried) >= cooldown)
    }

    /// Returns the key with this id, for this algorithm.
    fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Found, NotProven> {
        let named = |key: &&ProviderKey| id.is_none() || key.id.as_deref() == id;
        let found: Vec<_> = self.keys.iter().enumerate().filter(|(_, key)| named(key)).collect();
        if id.is_none() && found.len() > 1 {
            return Err(NotProven::NoKeyId);
        }
        if found.is_empty() {
            return Err(NotProven::UnknownKey);
        }
        let fits = found.into_iter().find(|(_, key)| key.algorithms.contains(&algorithm));
        let (index, _) = fits.ok_or(NotProven::Algorithm)?;
        Ok(Found { keys: Arc::clone(&self.keys), index })
    }
}

/// A key of a set, which stays as it is when the set is fetched again.
pub(crate) struct Found {
    keys: Arc<[ProviderKey]>,
    index: usize,
}

impl Found {
    pub(crate) fn key(&self) -> &ProviderKey {
        self.keys.get(self.index).expect("the index is that of a key of the same set")
    }
}

impl Jwks {
    /// Returns the keys at `url`, which are fetched at their first use.
    #[must_use]
    pub fn new(url: String, fetch: Arc<dyn FetchKeys>, clock: Arc<dyn Clock>) -> Self {
        Self { url, fetch, clock, known: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the key with this id, for this algorithm. Fetches the keys if they are old, or do not have it.
    pub(crate) async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Found, NotProven> {
        let known = self.known().clone();
        let found = known.key(id, algorithm);
        let is_lacking = matches!(found, Err(NotProven::UnknownKey));
        if known.has_keys_younger_than(MAX_AGE, self.clock.now()) && !is_lacking {
            return found;
        }
        if known.has_keys_younger_than(MAX_STALE, self.clock.now()) && !is_lacking {
            // One caller fetches. The others do not wait for that.
            if let Ok(fetching) = self.fetching.try_lock() {
                self.refresh().await;
                drop(fetching);
            }
        } else {
            let _fetching = self.fetching.lock().await;
            self.refresh().await;
        }
        let known = self.known().clone();
        if !known.has_keys_younger_than(MAX_STALE, self.clock.now()) {
            return Err(NotProven::KeysUnavailable);
        }
        match known.key(id, algorithm) {
            // The provider may have rotated its keys, and cannot be asked.
            Err(NotProven::UnknownKey) if known.fetched < known.tried => Err(NotProven::KeysUnavailable),
            found => found,
        }
    }

    /// Fetches the keys, unless that was tried a short time ago. The caller holds `fetching`.
    async fn refresh(&self) {
        let now = self.clock.now();
        if !self.known().may_fetch(now) {
            return;
        }
        // A caller that goes away cuts off the fetch, which then counts as one that failed.
        self.known().tried = Some(now);
        let fetched = match timeout(FETCH_TIMEOUT, self.fetch.fetch(&self.url)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError("no response in time".to_owned())),
        };
        match fetched.and_then(|document| read(&document)) {
            Ok(keys) => {
                let mut known = self.known();
                known.keys = keys.into();
                known.fetched = Some(now);
            }
            Err(error) => {
                tracing::warn!(url = self.url, %error, "the keys of the identity provider cannot be fetched");
            }
        }
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Reads a set of keys. It leaves out keys that cannot verify, such as those for encryption.
fn read(document: &[u8]) -> Result<Vec<ProviderKey>, FetchError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let invalid = |what: &str| FetchError(format!("the document {what}"));
    if document.len() > MAX_JWKS_BYTES {
        return Err(invalid(&format!("has more than {MAX_JWKS_BYTES} bytes")));
    }
    let set: Set = serde_json::from_slice(document).map_err(|_| invalid("is not a set of keys"))?;
    let keys: Vec<_> = set.keys.into_iter().take(MAX_KEYS).filter_map(provider_key).collect();
    if keys.is_empty() { Err(invalid("has no key that can verify")) } else { Ok(keys) }
}

fn provider_key(key: Value) -> Option<ProviderKey> {
    let key: Jwk = serde_json::from_value(key).ok()?;
    if key.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let mut algorithms = match &key.algorithm {
        AlgorithmParameters::RSA(_) => vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        // A symmetric key would let everyone who can read the set sign.
        _ => return None,
    };
    if let Some(only) = key.common.key_algorithm {
        algorithms.retain(|algorithm| Algorithm::try_from(only) == Ok(*algorithm));
    }
    let decoding = DecodingKey::from_jwk(&key).ok()?;
    Some(ProviderKey { id: key.common.key_id, algorithms, decoding })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::pending;
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;

    #[derive(Debug)]
    enum Says {
        Keys(&'static [&'static str]),
        Fails,
        Hangs,
    }

    /// A provider with a script, and a clock that stands still.
    #[derive(Debug, Default)]
    struct Script {
        says: Mutex<VecDeque<Says>>,
        now: AtomicU64,
    }

    impl FetchKeys for Script {
        fn fetch<'f>(&'f self, _: &'f str) -> BoxFuture<'f, Result<Vec<u8>, FetchError>> {
            let says = self.says.lock().unwrap().pop_front().expect("no fetch more than the script has");
            async move {
                match says {
                    Says::Keys(ids) => Ok(set(ids)),
                    Says::Fails => Err(FetchError("away".to_owned())),
                    Says::Hangs => pending().await,
                }
            }
            .boxed()
        }
    }

    struct ScriptClock(Arc<Script>);
    impl Clock for ScriptClock {
        fn now(&self) -> Millis {
            self.0.now.load(Ordering::Relaxed)
        }
    }

    fn set(ids: &[&str]) -> Vec<u8> {
        let keys: Vec<_> = ids
            .iter()
            .map(|id| {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                let point = key.public_key().as_ref();
                let part = |from, to| URL_SAFE_NO_PAD.encode(&point[from..to]);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": part(1, 33), "y": part(33, 65)})
            })
            .collect();
        json!({"keys": keys}).to_string().into_bytes()
    }

    struct Provider {
        script: Arc<Script>,
        keys: Jwks,
    }

    impl Provider {
        fn new() -> Self {
            let script = Arc::new(Script::default());
            let fetch: Arc<dyn FetchKeys> = Arc::clone(&script) as _;
            let keys = Jwks::new("https://x/".into(), fetch, Arc::new(ScriptClock(Arc::clone(&script))));
            Self { script, keys }
        }

        fn says(&self, says: impl IntoIterator<Item = Says>) {
            self.script.says.lock().unwrap().extend(says);
        }

        fn pass(&self, millis: Millis) {
            self.script.now.fetch_add(millis, Ordering::Relaxed);
        }

        async fn key(&self, id: &str) -> Result<(), NotProven> {
            self.keys.key(Some(id), Algorithm::ES256).await.map(drop)
        }

        fn left(&self) -> usize {
            self.script.says.lock().unwrap().len()
        }
    }

    #[tokio::test]
    async fn unknown_key_id_fetches_again_once_in_the_cooldown() {
        let provider = Provider::new();
        provider.says([Says::Keys(&["a"]), Says::Keys(&["b"])]);
        assert_eq!(provider.key("a").await, Ok(()));
        for _ in 0..3 {
            assert_eq!(provider.key("b").await, Err(NotProven::UnknownKey));
        }
        provider.pass(COOLDOWN);
        assert_eq!(provider.key("b").await, Ok(()));
        assert_eq!(provider.key("a").await, Err(NotProven::UnknownKey));
        assert_eq!(provider.left(), 0);
    }

    #[tokio::test]
    async fn withdrawn_key_is_accepted_until_keys_are_old() {
        let provider = Provider::new();
        provider.says([Says::Keys(&["a"]), Says::Keys(&["b"])]);
        assert_eq!(provider.key("a").await, Ok(()));
        provider.pass(MAX_AGE - 1);
        assert_eq!((provider.key("a").await, provider.left()), (Ok(()), 1));
        provider.pass(1);
        assert_eq!(provider.key("a").await, Err(NotProven::UnknownKey));
    }

    #[tokio::test(start_paused = true)]
    async fn old_keys_are_used_for_a_while_if_provider_is_away_or_slow() {
        let provider = Provider::new();
        provider.says([
            Says::Keys(&["a"]),
            Says::Fails,
            Says::Hangs,
            Says::Fails,
            Says::Fails,
            Says::Keys(&["a"]),
        ]);
        assert_eq!(provider.key("a").await, Ok(()));
        provider.pass(MAX_AGE);
        assert_eq!(provider.key("a").await, Ok(()), "fails");
        assert_eq!(provider.key("a").await, Ok(()), "cooldown");
        provider.pass(COOLDOWN);
        assert_eq!(provider.key("a").await, Ok(()), "hangs");
        provider.pass(COOLDOWN);
        // The provider may have rotated its keys.
        assert_eq!(provider.key("b").await, Err(NotProven::KeysUnavailable));
        provider.pass(MAX_STALE);
        assert_eq!(provider.key("a").await, Err(NotProven::KeysUnavailable));
        provider.pass(COOLDOWN);
        assert_eq!((provider.key("a").await, provider.left()), (Ok(()), 0));
    }

    #[tokio::test]
    async fn without_keys_nothing_is_accepted_and_provider_is_asked_soon_again() {
        let provider = Provider::new();
        provider.says([Says::Fails, Says::Keys(&["a"])]);
        assert_eq!(provider.key("a").await, Err(NotProven::KeysUnavailable));
        assert_eq!(provider.key("a").await, Err(NotProven::KeysUnavailable));
        provider.pass(FIRST_COOLDOWN);
        assert_eq!(provider.key("a").await, Ok(()));
    }

    #[tokio::test]
    async fn callers_at_once_cause_one_fetch() {
        let provider = Provider::new();
        provider.says([Says::Keys(&["a"])]);
        let (one, other, unknown) = tokio::join!(provider.key("a"), provider.key("a"), provider.key("b"));
        assert_eq!((one, other, unknown), (Ok(()), Ok(()), Err(NotProven::UnknownKey)));
    }

    #[test]
    fn rejects_sets_without_a_key_that_verifies() {
        for wrong in [
            json!({"keys": []}),
            json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}),
            json!({"keys": [{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}]}),
            json!({"keys": [{"kty": "RSA", "use": "enc", "n": "AA", "e": "AQAB"}]}),
            json!({"error": "x"}),
            json!([]),
        ] {
            assert!(read(wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
        assert!(read(&vec![b' '; MAX_JWKS_BYTES + 1]).is_err());
        assert_eq!(read(&set(&["a", "b"])).unwrap().len(), 2);
    }
}
