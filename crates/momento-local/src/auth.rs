//! The metadata `authorization`: compares the key with the accepted one, and reads the token id inside.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::status;

/// The claims that can hold a token's id, in order of precedence. Momento does not document the layout of its
/// tokens. Its token service calls the field `token_id`; tests often write the other two.
const TOKEN_ID_CLAIMS: [&str; 3] = ["token_id", "tokenId", "tid"];

/// The longest token id that the service accepts, in characters.
const MAX_TOKEN_ID_CHARS: usize = 64;

/// Checks keys.
#[derive(Default)]
pub(crate) struct Authenticator {
    /// The forms of the one accepted key. If empty, any key is accepted, and also a call without one.
    accepted: Vec<String>,
}

/// Shows no key.
impl std::fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authenticator").field("required", &!self.accepted.is_empty()).finish()
    }
}

/// The caller, as its key describes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The id in the caller's token; empty if the token has none.
    pub(crate) token_id: String,
}

impl Authenticator {
    /// Accepts only `key`. A v1 key is a JSON document in base64, and SDKs send the `api_key` inside. So that
    /// inner key is accepted as well.
    pub(crate) fn only(key: &str) -> Self {
        let mut accepted = vec![key.to_owned()];
        if let Some(Value::String(inner)) =
            v1_document(key).and_then(|mut document| document.remove("api_key"))
        {
            accepted.push(inner);
        }
        Self { accepted }
    }

    /// Returns the one accepted key, as SDKs send it.
    #[cfg(feature = "sdk")]
    pub(crate) fn key(&self) -> Option<&str> {
        self.accepted.last().map(String::as_str)
    }

    pub(crate) fn check(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let key = metadata.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !self.accepted.is_empty() && !self.accepted.iter().any(|accepted| accepted == key) {
            return Err(status::error(Code::Unauthenticated, "invalid authentication credentials"));
        }
        Ok(Caller { token_id: token_id(key).unwrap_or_default() })
    }
}

fn token_id(key: &str) -> Option<String> {
    if let Some(mut document) = v1_document(key) {
        return claim(&mut document).or_else(|| match document.remove("api_key") {
            Some(Value::String(inner)) => claim(&mut jwt_claims(&inner)?),
            _ => None,
        });
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

/// Reads the claims of a JWT, without a check of its signature: only Momento can check that.
fn jwt_claims(key: &str) -> Option<Map<String, Value>> {
    let mut segments = key.split('.');
    let (_header, claims, _signature) = (segments.next()?, segments.next()?, segments.next()?);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn accepts_any_caller_without_configured_key() {
        let authenticator = Authenticator::default();
        assert_eq!(authenticator.check(&MetadataMap::new()).unwrap(), Caller::default());
        assert_eq!(authenticator.check(&with_key("")).unwrap(), Caller::default());
        assert_eq!(authenticator.check(&with_key("whatever")).unwrap(), Caller::default());
    }

    #[test]
    fn accepts_key_and_its_inner_key() {
        let key = v1(r#"{"api_key":"inner","endpoint":"example.com"}"#);
        let authenticator = Authenticator::only(&key);
        assert!(authenticator.check(&with_key(&key)).is_ok());
        assert!(authenticator.check(&with_key("inner")).is_ok());
        for wrong in ["", "inner2", "Inner"] {
            let error = authenticator.check(&with_key(wrong)).unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated, "{wrong}");
        }
        assert_eq!(authenticator.check(&MetadataMap::new()).unwrap_err().code(), Code::Unauthenticated);
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
            assert_eq!(Authenticator::default().check(&with_key(&key)).unwrap().token_id, expected, "{key}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert!(!format!("{:?}", Authenticator::only("secret")).contains("secret"));
    }
}
