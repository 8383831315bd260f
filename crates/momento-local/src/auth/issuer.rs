//! The tokens that local Momento issues: JWTs, signed with a key of this process.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use momento_protos::permission_messages;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tonic_prost::prost::Message as _;

use super::jwt_claims;
use super::permissions::Permissions;

/// The claim `iss` of every token of local Momento. A token with it needs a valid signature.
const ISSUER: &str = "momento-local";

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Signs and verifies tokens. Its key lives as long as the process, so tokens of another process are invalid.
pub(crate) struct Issuer(Hmac<Sha256>);

/// Shows no key.
impl std::fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Issuer")
    }
}

/// The purpose of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// An API key.
    Key,
    /// A token that expires soon, and can carry a token id.
    Disposable,
    /// Renews the API key that was issued with it.
    Refresh,
}

/// The claims of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    /// Makes each token unique. A refresh token has the number of its API key.
    pub(crate) jti: u64,
    pub(crate) purpose: Purpose,
    /// Seconds since the Unix epoch.
    pub(crate) iat: u64,
    /// The last second in which the token is valid, since the Unix epoch; `None` for a token that never expires.
    pub(crate) exp: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) token_id: String,
    /// The message `Permissions` in base64.
    permissions: String,
}

/// Error for a token of local Momento that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidToken {
    #[error("the token is not from this server, or was changed")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not an API key")]
    Purpose,
}

impl Claims {
    /// Returns the claims of a token that is valid from now on.
    pub(crate) fn new(
        purpose: Purpose,
        valid_for_seconds: Option<u32>,
        token_id: String,
        permissions: &permission_messages::Permissions,
    ) -> Self {
        let iat = now();
        Self {
            iss: ISSUER.to_owned(),
            jti: rand::random(),
            purpose,
            iat,
            exp: valid_for_seconds.map(|seconds| iat + u64::from(seconds)),
            token_id,
            permissions: URL_SAFE_NO_PAD.encode(permissions.encode_to_vec()),
        }
    }

    /// Returns the claims of the token that renews this one.
    pub(crate) fn refresh(&self) -> Self {
        Self { purpose: Purpose::Refresh, exp: None, ..self.clone() }
    }

    /// Returns the claims of a new token with the same permissions, valid for as long as this one was at first.
    pub(crate) fn renewed(&self) -> Self {
        let iat = now();
        Self { jti: rand::random(), iat, exp: self.exp.map(|exp| iat + (exp - self.iat)), ..self.clone() }
    }

    pub(crate) fn permissions(&self) -> Option<Permissions> {
        let message = URL_SAFE_NO_PAD.decode(&self.permissions).ok()?;
        permission_messages::Permissions::decode(message.as_slice()).ok()?.try_into().ok()
    }
}

impl Issuer {
    /// Returns an issuer with a new key.
    pub(crate) fn new() -> Self {
        let key: [u8; 32] = rand::random();
        Self(Hmac::new_from_slice(&key).expect("HMAC takes a key of any length"))
    }

    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let claims = serde_json::to_vec(claims).expect("claims have only strings and numbers");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Verifies a token, whatever its purpose; `None` if it does not claim to be one of local Momento.
    pub(crate) fn verify(&self, token: &str) -> Option<Result<Claims, InvalidToken>> {
        let claims = jwt_claims(token)?;
        if claims.get("iss").and_then(|iss| iss.as_str()) != Some(ISSUER) {
            return None;
        }
        Some(self.verify_signature(token).and_then(|()| {
            let claims = serde_json::from_value(claims.into());
            let claims: Claims = claims.map_err(|_| InvalidToken::Signature)?;
            if claims.exp.is_some_and(|exp| exp < now()) { Err(InvalidToken::Expired) } else { Ok(claims) }
        }))
    }

    fn verify_signature(&self, token: &str) -> Result<(), InvalidToken> {
        let (signed, signature) = token.rsplit_once('.').ok_or(InvalidToken::Signature)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidToken::Signature)?;
        let mac = self.0.clone().chain_update(signed);
        mac.verify_slice(&signature).map_err(|_| InvalidToken::Signature)
    }
}

/// Returns the seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use momento_protos::permission_messages::CacheRole;

    use super::super::permissions::Access;
    use super::super::permissions::tests::{items, message};
    use super::*;

    fn claims(purpose: Purpose, seconds: Option<u32>) -> Claims {
        let read_only = message(vec![items(CacheRole::CacheReadOnly, Some("cache"), None)]);
        Claims::new(purpose, seconds, "mo".to_owned(), &read_only)
    }

    #[test]
    fn verifies_only_unchanged_token_of_this_process() {
        let issuer = Issuer::new();
        let original = claims(Purpose::Disposable, Some(60));
        let token = issuer.sign(&original);
        assert_eq!(issuer.verify(&token), Some(Ok(original.clone())));
        let allowed = original.permissions().unwrap();
        assert!(allowed.allow_item(Access::Read, "cache", b"key"));
        assert!(!allowed.allow_item(Access::Write, "cache", b"key"));

        assert_eq!(Issuer::new().verify(&token), Some(Err(InvalidToken::Signature)));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = issuer.sign(&Claims { token_id: "jo".to_owned(), ..original });
        let (_, other_signature) = other.rsplit_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let claims = signed.split('.').nth(1).unwrap();
        for forged in [
            format!("{signed}.{other_signature}"),
            format!("{signed}."),
            format!("{signed}.A{signature}"),
            format!("{none}.{claims}.{signature}"),
            format!("{none}.{claims}."),
        ] {
            assert_eq!(issuer.verify(&forged), Some(Err(InvalidToken::Signature)), "{forged}");
        }
        for foreign in ["", "local", "a.b.c", &format!("{none}.{none}.{signature}")] {
            assert_eq!(issuer.verify(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn rejects_expired_token() {
        let issuer = Issuer::new();
        let expired = Claims { exp: Some(now() - 1), ..claims(Purpose::Key, None) };
        assert_eq!(issuer.verify(&issuer.sign(&expired)), Some(Err(InvalidToken::Expired)));
        let never = claims(Purpose::Key, None);
        assert_eq!(issuer.verify(&issuer.sign(&never)), Some(Ok(never)));
    }

    #[test]
    fn renewed_token_lasts_as_long_and_is_another() {
        let old = Claims { iat: 1_000, exp: Some(1_060), ..claims(Purpose::Key, Some(60)) };
        let new = old.renewed();
        assert_eq!(new.exp, Some(new.iat + 60));
        assert!(new.iat > old.iat);
        assert_ne!(new.jti, old.jti);
        assert_eq!(new.permissions(), old.permissions());
        assert_eq!(old.refresh().jti, old.jti);
    }
}
