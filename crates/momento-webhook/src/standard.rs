//! The signature of [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
//! HMAC-SHA256 over the id, the time and the body, in the headers `webhook-id`, `webhook-timestamp`
//! and `webhook-signature`. Unlike Momento's signature it covers the time of sending. Libraries exist for
//! every major language.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::verified::Verified;
use crate::visible::trim_invisible;

/// The header with the id of the message, the same in every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with one or more signatures, separated by spaces, each `v1,` and base64.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// The prefix of a secret's text.
const SECRET_PREFIX: &str = "whsec_";
/// The prefix of a symmetric signature. A header can have others as well (`v1a`, Ed25519).
const VERSION: &str = "v1,";

/// The length of a signature in bytes, before the base64 encoding.
const SIGNATURE_LEN: usize = 32;

/// A signing secret. Its key is hashed once, not for every body.
#[derive(Clone)]
pub struct StandardSecret(Hmac<Sha256>);

/// Error for a text that is not a secret of Standard Webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandardSecretError {
    /// The secret is not base64.
    #[error("the secret is not `whsec_` and base64")]
    NotBase64,
    /// The secret is empty: anyone could sign with it.
    #[error("the secret is empty")]
    Empty,
}

/// The three headers of a signed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'h> {
    /// The value of [`ID_HEADER`].
    pub id: &'h str,
    /// The value of [`TIMESTAMP_HEADER`].
    pub timestamp: &'h str,
    /// The value of [`SIGNATURE_HEADER`].
    pub signature: &'h str,
}

/// Error for a request without a valid signature, or for an id that cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The id is empty, or contains a dot, which ends it in the signed text.
    #[error("the webhook id is empty or contains a dot")]
    BadId,
    /// The timestamp is not a whole number of seconds since the Unix epoch.
    #[error("the webhook timestamp is not a number of seconds since the Unix epoch")]
    BadTimestamp,
    /// The header is missing.
    #[error("the header `{0}` is missing")]
    Missing(&'static str),
    /// The request has the header several times, and the sender's intent is unclear.
    #[error("there is more than one header `{0}`")]
    Several(&'static str),
    /// The request has no signature of a known version.
    #[error("the `v1` signature is missing")]
    NoSignature,
    /// No signature matches the request with any of the secrets.
    #[error("no signature matches the request")]
    Mismatch,
}

impl StandardSecret {
    /// Parses `whsec_` and base64. The prefix is optional, as in the reference libraries. Invisible characters at
    /// either end are trimmed.
    ///
    /// # Errors
    /// If the rest is empty or not base64.
    pub fn parse(secret: &str) -> Result<Self, StandardSecretError> {
        let secret = trim_invisible(secret);
        let encoded = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
        let key = BASE64.decode(encoded).map_err(|_| StandardSecretError::NotBase64)?;
        Self::from_bytes(&key)
    }

    /// Returns a secret with these bytes as its key.
    ///
    /// # Errors
    /// If the key is empty.
    pub fn from_bytes(key: &[u8]) -> Result<Self, StandardSecretError> {
        if key.is_empty() {
            return Err(StandardSecretError::Empty);
        }
        Ok(Self(Hmac::new_from_slice(key).expect("an HMAC key can have any length")))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        self.0
            .clone()
            .chain_update(id)
            .chain_update(".")
            .chain_update(timestamp)
            .chain_update(".")
            .chain_update(body)
    }
}

/// Never shows the secret.
impl fmt::Debug for StandardSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandardSecret(<redacted>)")
    }
}

/// Returns the value of [`SIGNATURE_HEADER`] for `body`, sent as message `id` at `seconds` since the Unix
/// epoch. It has one signature for each of `secrets`: during a rotation, receivers with either secret accept it.
///
/// # Errors
/// If `id` is empty or contains a dot: the signed text would be ambiguous.
pub fn sign(
    secrets: &[StandardSecret],
    id: &str,
    seconds: u64,
    body: &[u8],
) -> Result<String, SignatureError> {
    check_id(id)?;
    let timestamp = seconds.to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let signature = secret.mac(id, &timestamp, body).finalize().into_bytes();
            format!("{VERSION}{}", BASE64.encode(signature))
        })
        .collect();
    Ok(signatures.join(" "))
}

/// Verifies that `body` and the time in the headers were signed with one of `secrets`. Returns that time as well,
/// in seconds since the Unix epoch. Each comparison takes constant time.
///
/// [`freshness`](crate::freshness) checks the age.
///
/// # Errors
/// If the request has no valid signature; see [`SignatureError`].
pub fn verify<'k, B: AsRef<[u8]>>(
    secrets: impl IntoIterator<Item = &'k StandardSecret>,
    body: B,
    headers: Headers<'_>,
) -> Result<(Verified<B>, u64), SignatureError> {
    let seconds = check(headers)?;
    let signatures: Vec<_> = signatures(headers)
        .filter_map(|signature| BASE64.decode(signature).ok())
        .filter(|signature| signature.len() == SIGNATURE_LEN)
        .collect();
    // The body is hashed once for each secret, however many signatures a stranger sends.
    let is_valid = secrets.into_iter().any(|secret| {
        let mac = secret.mac(headers.id, headers.timestamp, body.as_ref());
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    });
    if is_valid { Ok((Verified::new(body), seconds)) } else { Err(SignatureError::Mismatch) }
}

/// Checks the form of the headers, without the body. Returns the time in seconds since the Unix epoch.
///
/// # Errors
/// If a header is malformed.
pub fn check(headers: Headers<'_>) -> Result<u64, SignatureError> {
    check_id(headers.id)?;
    if headers.timestamp.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Err(SignatureError::BadTimestamp);
    }
    let seconds = headers.timestamp.parse().map_err(|_| SignatureError::BadTimestamp)?;
    if signatures(headers).next().is_none() {
        return Err(SignatureError::NoSignature);
    }
    Ok(seconds)
}

/// Returns the encoded signatures of the known version.
fn signatures(headers: Headers<'_>) -> impl Iterator<Item = &str> {
    headers.signature.split(' ').filter_map(|signature| signature.strip_prefix(VERSION))
}

fn check_id(id: &str) -> Result<(), SignatureError> {
    if id.is_empty() || id.contains('.') { Err(SignatureError::BadId) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification, "Signature scheme"; its signature computed with OpenSSL.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> StandardSecret {
        StandardSecret::parse(text).unwrap()
    }

    fn headers(signature: &str) -> Headers<'_> {
        Headers { id: ID, timestamp: "1614265330", signature }
    }

    #[test]
    fn signs_and_verifies_example_of_specification() {
        assert_eq!(sign(&[secret(SECRET)], ID, SECONDS, BODY).as_deref(), Ok(SIGNATURE));
        let (verified, seconds) = verify(&[secret(SECRET)], BODY, headers(SIGNATURE)).unwrap();
        assert_eq!((verified.into_inner(), seconds), (BODY, SECONDS));
    }

    #[test]
    fn parses_secret_without_prefix() {
        let bare = SECRET.strip_prefix("whsec_").unwrap();
        assert!(verify(&[secret(bare)], BODY, headers(SIGNATURE)).is_ok());
    }

    #[test]
    fn verifies_with_secret_that_has_invisible_characters_at_its_ends() {
        for invisible in ["\u{feff}", "\r\n", "\u{200b}"] {
            let secret = secret(&format!("{invisible}{SECRET}{invisible}"));
            assert!(verify(&[secret], BODY, headers(SIGNATURE)).is_ok(), "{invisible:?}");
        }
    }

    #[test]
    fn accepts_one_valid_signature_among_several() {
        for signatures in [
            format!("v1,AAAA {SIGNATURE}"),
            format!("{SIGNATURE} v1a,whatever"),
            format!("v1,not/base64! {SIGNATURE}"),
            format!("  {SIGNATURE}  "),
        ] {
            assert!(verify(&[secret(SECRET)], BODY, headers(&signatures)).is_ok(), "{signatures}");
        }
    }

    #[test]
    fn both_secrets_of_rotation_sign_and_verify() {
        let (old, new) = (secret(SECRET), secret("whsec_AAAA"));
        let both = sign(&[old.clone(), new.clone()], ID, SECONDS, BODY).unwrap();
        assert_eq!(both.split(' ').count(), 2);
        for receiver in [old, new] {
            assert!(verify(&[receiver], BODY, headers(&both)).is_ok());
        }
    }

    #[test]
    fn rejects_changed_id_time_body_and_secret() {
        let secrets = [secret(SECRET)];
        let valid = headers(SIGNATURE);
        for wrong in [Headers { id: "msg_other", ..valid }, Headers { timestamp: "1614265331", ..valid }] {
            assert_eq!(verify(&secrets, BODY, wrong), Err(SignatureError::Mismatch), "{wrong:?}");
        }
        assert_eq!(verify(&secrets, &b"{}"[..], valid), Err(SignatureError::Mismatch));
        assert_eq!(verify(&[secret("AAAA")], BODY, valid), Err(SignatureError::Mismatch));
    }

    #[test]
    fn rejects_malformed_id_timestamp_and_signature() {
        let secrets = [secret(SECRET)];
        let valid = headers(SIGNATURE);
        for id in ["", "a.b"] {
            assert_eq!(verify(&secrets, BODY, Headers { id, ..valid }), Err(SignatureError::BadId));
            assert_eq!(sign(&secrets, id, SECONDS, BODY), Err(SignatureError::BadId));
        }
        for timestamp in ["", "+1614265330", "-1", "1.5", "yesterday", "99999999999999999999"] {
            let wrong = Headers { timestamp, ..valid };
            assert_eq!(verify(&secrets, BODY, wrong), Err(SignatureError::BadTimestamp), "{timestamp}");
        }
        for signature in ["", "v1a,abc", "v2,abc", "abc"] {
            let wrong = headers(signature);
            assert_eq!(verify(&secrets, BODY, wrong), Err(SignatureError::NoSignature), "{signature}");
        }
    }

    #[test]
    fn rejects_secret_that_is_empty_or_not_base64() {
        for (text, error) in [
            ("whsec_", StandardSecretError::Empty),
            ("", StandardSecretError::Empty),
            ("whsec_?", StandardSecretError::NotBase64),
        ] {
            assert_eq!(StandardSecret::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", secret(SECRET)), "StandardSecret(<redacted>)");
    }
}
