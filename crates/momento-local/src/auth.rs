//! Who is calling: the `authorization` metadata against the one key that is accepted, and the token id
//! that a token carries.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::status;

/// The claims in which a token's id is looked for. Momento does not publish how its tokens are laid out;
/// the first is what its token service calls the field, the others are what tests tend to write.
const TOKEN_ID_CLAIMS: [&str; 3] = ["token_id", "tokenId", "tid"];

/// The longest token id that the service accepts, in characters.
const MAX_TOKEN_ID_CHARS: usize = 64;

/// Decides which keys are accepted.
#[derive(Default)]
pub(crate) struct Authenticator {
    /// The forms in which the key may come; empty: anything is accepted, nothing at all included.
    accepted: Vec<String>,
}

/// The keys stay out of logs.
impl std::fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authenticator").field("required", &!self.accepted.is_empty()).finish()
    }
}

/// Who made a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The id inside the caller's token; empty where it has none.
    pub(crate) token_id: String,
}

impl Authenticator {
    /// Accepts only `key`. SDKs take a v1 key apart (it is base64 of a JSON document) and send the
    /// `api_key` inside it, so that one is accepted as well.
    pub(crate) fn only(key: &str) -> Self {
        let mut accepted = vec![key.to_owned()];
        if let Some(Value::String(inner)) =
            v1_document(key).and_then(|mut document| document.remove("api_key"))
        {
            accepted.push(inner);
        }
        Self { accepted }
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

/// The signature is not looked at: what is wanted is what the token says, not whether Momento signed it.
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
    fn without_a_key_everybody_is_welcome() {
        let authenticator = Authenticator::default();
        assert_eq!(authenticator.check(&MetadataMap::new()).unwrap(), Caller::default());
        assert_eq!(authenticator.check(&with_key("")).unwrap(), Caller::default());
        assert_eq!(authenticator.check(&with_key("whatever")).unwrap(), Caller::default());
    }

    #[test]
    fn a_key_is_accepted_raw_and_as_the_key_inside_it() {
        let key = v1(r#"{"api_key":"inner","endpoint":"example.com"}"#);
        let authenticator = Authenticator::only(&key);
        assert!(authenticator.check(&with_key(&key)).is_ok());
        assert!(authenticator.check(&with_key("inner")).is_ok());
        for wrong in ["", "inner2", "Inner"] {
            let refused = authenticator.check(&with_key(wrong)).unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{wrong}");
        }
        assert_eq!(authenticator.check(&MetadataMap::new()).unwrap_err().code(), Code::Unauthenticated);
    }

    #[test]
    fn the_token_id_is_found_in_every_form_of_token() {
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
    fn keys_stay_out_of_debug_output() {
        assert!(!format!("{:?}", Authenticator::only("secret")).contains("secret"));
    }
}
