//! The signature of [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
//! HMAC-SHA256 over the id, the time and the body, in the headers `webhook-id`, `webhook-timestamp`
//! and `webhook-signature`. Unlike Momento's it binds the time to the body, and it has libraries in
//! every language.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::verified::Verified;
use crate::visible::trim_invisible;

/// The header with the identifier of the message; the same from attempt to attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with one or more signatures, separated by spaces, each `v1,` and base64.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// What a secret's text begins with.
const SECRET_PREFIX: &str = "whsec_";
/// What a symmetric signature begins with. Others (`v1a`, Ed25519) may stand beside it.
const VERSION: &str = "v1,";

/// A signing secret, ready to sign.
#[derive(Clone)]
pub struct StandardSecret(Hmac<Sha256>);

/// A text that cannot be a secret of Standard Webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandardSecretError {
    /// Not base64.
    #[error("the secret is not `whsec_` and base64")]
    NotBase64,
    /// Anybody can sign with the empty secret.
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

/// Why a request is not genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// An identifier must be there, and must not contain the dot that ends it.
    #[error("the webhook id is empty or contains a dot")]
    BadId,
    /// The timestamp is not a whole number of seconds since the Unix epoch.
    #[error("the webhook timestamp is not a number of seconds since the Unix epoch")]
    BadTimestamp,
    /// None of the signatures is of a kind that is known.
    #[error("there is no `v1` signature")]
    NoSignature,
    /// None of the signatures is the one of this request with any of the secrets.
    #[error("no signature matches the request")]
    Mismatch,
}

impl StandardSecret {
    /// Reads `whsec_` and base64; the prefix may be left out, as the reference libraries allow. Invisible
    /// characters at either end are trimmed.
    ///
    /// # Errors
    /// When the rest is not base64, or empty.
    pub fn parse(secret: &str) -> Result<Self, StandardSecretError> {
        let secret = trim_invisible(secret);
        let encoded = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
        let key = BASE64.decode(encoded).map_err(|_| StandardSecretError::NotBase64)?;
        Self::from_bytes(&key)
    }

    /// Takes the key itself.
    ///
    /// # Errors
    /// When it is empty.
    pub fn from_bytes(key: &[u8]) -> Result<Self, StandardSecretError> {
        if key.is_empty() {
            return Err(StandardSecretError::Empty);
        }
        // An HMAC key may be of any length, so the only error of `new_from_slice` cannot happen.
        Hmac::new_from_slice(key).map(Self).map_err(|_| StandardSecretError::Empty)
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

/// The value of [`SIGNATURE_HEADER`] for `body`, sent as message `id` at `seconds` since the Unix
/// epoch: one signature for each of `secrets`, so that receivers with either secret of a rotation
/// accept it.
///
/// # Errors
/// When `id` is empty or contains a dot: the signature would not say where it ends.
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

/// Proves that `body` and the time in the headers were signed with one of `secrets`; gives that time
/// too, in seconds since the Unix epoch. Each comparison takes the same time wherever the first
/// difference is.
///
/// How old is too old is for [`freshness`](crate::freshness) to say.
///
/// # Errors
/// When the request is not proven genuine; see [`SignatureError`].
pub fn verify<B: AsRef<[u8]>>(
    secrets: &[StandardSecret],
    body: B,
    headers: Headers<'_>,
) -> Result<(Verified<B>, u64), SignatureError> {
    check_id(headers.id)?;
    if headers.timestamp.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Err(SignatureError::BadTimestamp);
    }
    let seconds = headers.timestamp.parse().map_err(|_| SignatureError::BadTimestamp)?;
    let mut signatures =
        headers.signature.split(' ').filter_map(|signature| signature.strip_prefix(VERSION)).peekable();
    if signatures.peek().is_none() {
        return Err(SignatureError::NoSignature);
    }
    let genuine = signatures.filter_map(|signature| BASE64.decode(signature).ok()).any(|signature| {
        secrets.iter().any(|secret| {
            secret.mac(headers.id, headers.timestamp, body.as_ref()).verify_slice(&signature).is_ok()
        })
    });
    if genuine { Ok((Verified::new(body), seconds)) } else { Err(SignatureError::Mismatch) }
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
    fn the_known_example() {
        assert_eq!(sign(&[secret(SECRET)], ID, SECONDS, BODY).as_deref(), Ok(SIGNATURE));
        let (proven, seconds) = verify(&[secret(SECRET)], BODY, headers(SIGNATURE)).unwrap();
        assert_eq!((proven.into_inner(), seconds), (BODY, SECONDS));
    }

    #[test]
    fn the_prefix_may_be_left_out() {
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
    fn one_good_signature_among_several_is_enough() {
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
    fn both_secrets_of_a_rotation_sign_and_verify() {
        let (old, new) = (secret(SECRET), secret("whsec_AAAA"));
        let both = sign(&[old.clone(), new.clone()], ID, SECONDS, BODY).unwrap();
        assert_eq!(both.split(' ').count(), 2);
        for receiver in [old, new] {
            assert!(verify(&[receiver], BODY, headers(&both)).is_ok());
        }
    }

    #[test]
    fn the_id_the_time_and_the_body_are_all_signed() {
        let secrets = [secret(SECRET)];
        let good = headers(SIGNATURE);
        for wrong in [Headers { id: "msg_other", ..good }, Headers { timestamp: "1614265331", ..good }] {
            assert_eq!(verify(&secrets, BODY, wrong), Err(SignatureError::Mismatch), "{wrong:?}");
        }
        assert_eq!(verify(&secrets, &b"{}"[..], good), Err(SignatureError::Mismatch));
        assert_eq!(verify(&[secret("AAAA")], BODY, good), Err(SignatureError::Mismatch));
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let secrets = [secret(SECRET)];
        let good = headers(SIGNATURE);
        for id in ["", "a.b"] {
            assert_eq!(verify(&secrets, BODY, Headers { id, ..good }), Err(SignatureError::BadId));
            assert_eq!(sign(&secrets, id, SECONDS, BODY), Err(SignatureError::BadId));
        }
        for timestamp in ["", "+1614265330", "-1", "1.5", "yesterday", "99999999999999999999"] {
            let wrong = Headers { timestamp, ..good };
            assert_eq!(verify(&secrets, BODY, wrong), Err(SignatureError::BadTimestamp), "{timestamp}");
        }
        for signature in ["", "v1a,abc", "v2,abc", "abc"] {
            let wrong = headers(signature);
            assert_eq!(verify(&secrets, BODY, wrong), Err(SignatureError::NoSignature), "{signature}");
        }
    }

    #[test]
    fn a_secret_is_base64_and_not_empty() {
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
