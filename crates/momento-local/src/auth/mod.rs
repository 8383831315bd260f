//! Keys and tokens: compares a key with the accepted one, verifies tokens, and reads the token id inside.

pub(crate) mod issuer;
pub(crate) mod permissions;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use self::issuer::{Claims, InvalidToken, Issuer, Purpose};
use self::permissions::Permissions;
use crate::status;

/// The claims that can hold a token's id, in order of precedence. Momento does not document the layout of its
/// tokens. Its token service calls the field `token_id`; tests often write the other two.
const TOKEN_ID_CLAIMS: [&str; 3] = ["token_id", "tokenId", "tid"];

/// The longest token id that the service accepts, in characters.
pub(crate) const MAX_TOKEN_ID_CHARS: usize = 64;

/// Checks keys, and issues tokens.
pub(crate) struct Authenticator {
    /// The forms of the one accepted key. If empty, any key is accepted, and also a call without one.
    accepted: Vec<String>,
    pub(crate) issuer: Issuer,
}

/// Shows no key.
impl std::fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authenticator")
            .field("required", &!self.accepted.is_empty())
            .finish_non_exhaustive()
    }
}

/// The caller, as its key describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The id in the caller's token; empty if the token has none.
    pub(crate) token_id: String,
    pub(crate) permissions: Permissions,
    /// The last second in which the token is valid, since the Unix epoch.
    pub(crate) expires: Option<u64>,
    /// Whether local Momento issued the key itself.
    pub(crate) is_issued: bool,
}

impl Caller {
    /// Returns a caller without a key, who may do nothing.
    pub(crate) const fn unknown() -> Self {
        let permissions = Permissions::Explicit(Vec::new());
        Self { token_id: String::new(), permissions, expires: None, is_issued: false }
    }
}

impl Default for Authenticator {
    fn default() -> Self {
        Self { accepted: Vec::new(), issuer: Issuer::new() }
    }
}

impl Authenticator {
    /// Accepts only `key`, and the tokens that are issued here. A v1 key is a JSON document in base64, and SDKs send the
    /// `api_key` inside. So that inner key is accepted as well.
    pub(crate) fn only(key: &str) -> Self {
        let mut accepted = vec![key.to_owned()];
        accepted.extend(inner_key(key));
        Self { accepted, ..Self::default() }
    }

    /// Returns the one accepted key, as SDKs send it.
    #[cfg(feature = "sdk")]
    pub(crate) fn key(&self) -> Option<&str> {
        self.accepted.last().map(String::as_str)
    }

    /// Checks the key in the metadata of a call.
    pub(crate) fn check_metadata(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        self.check(metadata.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default())
    }

    pub(crate) fn check(&self, key: &str) -> Result<Caller, Status> {
        if let Some(verified) = self.verify(key) {
            let claims = verified.map_err(invalid)?;
            if claims.purpose == Purpose::Refresh {
                return Err(invalid(InvalidToken::Purpose));
            }
            let permissions = claims.permissions().ok_or_else(|| invalid(InvalidToken::Signature))?;
            let Claims { token_id, exp, .. } = claims;
            return Ok(Caller { token_id, permissions, expires: exp, is_issued: true });
        }
        if !self.accepted.is_empty() && !self.accepted.iter().any(|accepted| accepted == key) {
            return Err(status::error(Code::Unauthenticated, "invalid authentication credentials"));
        }
        let token_id = token_id(key).unwrap_or_default();
        Ok(Caller { token_id, permissions: Permissions::SuperUser, expires: None, is_issued: false })
    }

    /// Verifies a token of local Momento, alone or inside a v1 key; `None` if it is another key.
    pub(crate) fn verify(&self, key: &str) -> Option<Result<Claims, InvalidToken>> {
        self.issuer.verify(inner_key(key).as_deref().unwrap_or(key))
    }
}

/// Returns the error for a token that is not valid.
pub(crate) fn invalid(error: InvalidToken) -> Status {
    status::error(Code::Unauthenticated, format!("invalid authentication credentials: {error}"))
}

/// Returns the `api_key` inside a v1 key.
fn inner_key(key: &str) -> Option<String> {
    match v1_document(key)?.remove("api_key") {
        Some(Value::String(inner)) => Some(inner),
        _ => None,
    }
}

fn token_id(key: &str) -> Option<String> {
    if let Some(mut document) = v1_document(key) {
        return claim(&mut document).or_else(|| claim(&mut jwt_claims(&inner_key(key)?)?));
    }
    claim(&mut jwt_claims(key)?)
}

fn claim(claims: &mut Map<String, Value>) -> Option<String> {
    TOKEN_ID_CLAIMS.iter().find_map(|name| match claims.remove(*name) {
        Some(Value::String(id)) if id.chars().count() <= MAX_TOKEN_ID_CHARS => Some(id),
        _ => None,
    })
}

fn v1_document(key: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&STANDARD.decode(key.trim()).ok()?).ok()
}

/// Reads the claims of a JWT, without a check of its signature.
fn jwt_claims(key: &str) -> Option<Map<String, Value>> {
    let mut segments = key.split('.');
    let (_header, claims, _signature) = (segments.next()?, segments.next()?, segments.next()?);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use momento_protos::permission_messages::CacheRole;

    use super::permissions::tests::{items, message};
    use super::*;

    fn with_key(key: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", key.parse().unwrap());
        metadata
    }

    fn v1(document: &str) -> String {
        STANDARD.encode(document)
    }

    fn jwt(claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(claims))
    }

    fn superuser(token_id: &str) -> Caller {
        Caller {
            token_id: token_id.to_owned(),
            permissions: Permissions::SuperUser,
            expires: None,
            is_issued: false,
        }
    }

    #[test]
    fn accepts_any_caller_without_configured_key() {
        let authenticator = Authenticator::default();
        assert_eq!(authenticator.check_metadata(&MetadataMap::new()).unwrap(), superuser(""));
        for key in ["", "local", "whatever"] {
            assert_eq!(authenticator.check_metadata(&with_key(key)).unwrap(), superuser(""), "{key}");
        }
    }

    #[test]
    fn accepts_key_and_its_inner_key() {
        let key = v1(r#"{"api_key":"inner","endpoint":"example.com"}"#);
        let authenticator = Authenticator::only(&key);
        assert!(authenticator.check(&key).is_ok());
        assert!(authenticator.check("inner").is_ok());
        for wrong in ["", "inner2", "Inner"] {
            let error = authenticator.check(wrong).unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated, "{wrong}");
        }
        let missing = authenticator.check_metadata(&MetadataMap::new()).unwrap_err();
        assert_eq!(missing.code(), Code::Unauthenticated);
    }

    #[test]
    fn accepts_issued_token_alone_and_inside_v1_key() {
        let authenticator = Authenticator::only("secret");
        let permissions = message(vec![items(CacheRole::CacheReadOnly, None, None)]);
        let issued = Claims::new(Purpose::Disposable, Some(60), "mo".to_owned(), &permissions);
        let token = authenticator.issuer.sign(&issued);
        let wrapped = v1(&format!(r#"{{"api_key":"{token}","endpoint":"example.com"}}"#));
        for key in [&token, &wrapped] {
            let caller = authenticator.check(key).unwrap();
            assert_eq!(
                (caller.token_id.as_str(), caller.expires, caller.is_issued),
                ("mo", issued.exp, true)
            );
            assert_eq!(caller.permissions, permissions.clone().try_into().unwrap());
        }
        // A server without a configured key accepts every key, but not a forged token.
        let other = Authenticator::default();
        for key in [&token, &wrapped] {
            assert_eq!(other.check(key).unwrap_err().code(), Code::Unauthenticated);
        }
        let refresh = authenticator.issuer.sign(&issued.refresh());
        assert_eq!(authenticator.check(&refresh).unwrap_err().code(), Code::Unauthenticated);
    }

    #[test]
    fn reads_token_id_from_every_form_of_token() {
        let cases = [
            (jwt(r#"{"token_id":"mo"}"#), "mo"),
            (jwt(r#"{"tid":"mo"}"#), "mo"),
            (v1(r#"{"tokenId":"mo"}"#), "mo"),
            (v1(&format!(r#"{{"api_key":"{}"}}"#, jwt(r#"{"token_id":"mo"}"#))), "mo"),
            (jwt(r#"{"token_id":7}"#), ""),
            (jwt(&format!(r#"{{"token_id":"{}"}}"#, "x".repeat(65))), ""),
            ("a.b.c".to_owned(), ""),
        ];
        for (key, expected) in cases {
            assert_eq!(Authenticator::default().check(&key).unwrap(), superuser(expected), "{key}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert!(!format!("{:?}", Authenticator::only("secret")).contains("secret"));
    }
}
