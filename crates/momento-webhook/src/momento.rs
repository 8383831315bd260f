//! Momento's own signature: the header `momento-signature`, lower-case hex of HMAC-SHA3-256 over
//! the raw bytes of the body, keyed with the UTF-8 bytes of the signing secret.
//!
//! The hash is SHA-3, not SHA-2. The body must not be re-serialised before it is hashed: writers differ in the
//! order of keys, in white space and in escapes.

use std::fmt;

use hmac::{KeyInit, Mac, SimpleHmac};
use sha3::Sha3_256;

use crate::verified::Verified;
use crate::visible::{InvisibleCharacter, single_line};

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "momento-signature";

/// The `user-agent` of Momento's hosted webhooks.
pub const USER_AGENT: &str = "Momento/1.0 (Webhooks; +https://docs.momentohq.com/topics/webhooks)";

/// The length of a signature in bytes, before the hex encoding.
const SIGNATURE_LEN: usize = 32;

/// A signing secret. Its key is hashed once, not for every body.
#[derive(Clone)]
pub struct SigningSecret(SimpleHmac<Sha3_256>);

/// Error for a text that is not a signing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningSecretError {
    /// The secret is empty: anyone could sign with it.
    #[error("the signing secret is empty")]
    Empty,
    /// An invisible character is inside the secret.
    #[error("the signing secret {0}")]
    Invisible(#[from] InvisibleCharacter),
}

/// Error for a request without a valid signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature is missing.
    #[error("the signature is missing")]
    Missing,
    /// The request has several signatures, and the sender's intent is unclear.
    #[error("there is more than one signature")]
    Several,
    /// The signature is not 64 hexadecimal digits.
    #[error("the signature is not {} hexadecimal digits", 2 * SIGNATURE_LEN)]
    Malformed,
    /// The signature does not match the body with any of the secrets.
    #[error("the signature does not match the body")]
    Mismatch,
}

impl SigningSecret {
    /// Takes the secret as Momento shows it: its UTF-8 bytes are the key. Invisible characters at either
    /// end, such as a byte order mark or a line end, are trimmed.
    ///
    /// # Errors
    /// If the secret is empty, or has an invisible character inside.
    pub fn new(secret: &str) -> Result<Self, SigningSecretError> {
        let secret = single_line(secret)?;
        if secret.is_empty() {
            return Err(SigningSecretError::Empty);
        }
        Ok(Self(SimpleHmac::new_from_slice(secret.as_bytes()).expect("an HMAC key can have any length")))
    }

    fn mac(&self, body: &[u8]) -> SimpleHmac<Sha3_256> {
        self.0.clone().chain_update(body)
    }
}

/// Never shows the secret.
impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(<redacted>)")
    }
}

/// Returns the signature of `body`: 64 lower-case hexadecimal digits.
#[must_use]
pub fn sign(secret: &SigningSecret, body: &[u8]) -> String {
    hex::encode(secret.mac(body).finalize().into_bytes())
}

/// Reads the signature of a request without verifying it, so that a request without a well-formed signature can be rejected
/// before its body is read. `signatures` are the values of all [`SIGNATURE_HEADER`]s of the request.
///
/// # Errors
/// If the signature is missing or malformed, or if there are several.
pub fn read_signature<'s>(
    signatures: impl IntoIterator<Item = &'s [u8]>,
) -> Result<[u8; SIGNATURE_LEN], SignatureError> {
    let mut signatures = signatures.into_iter();
    let signature = signatures.next().ok_or(SignatureError::Missing)?;
    if signatures.next().is_some() {
        return Err(SignatureError::Several);
    }
    let mut read = [0; SIGNATURE_LEN];
    hex::decode_to_slice(signature, &mut read).map_err(|_| SignatureError::Malformed)?;
    Ok(read)
}

/// Verifies that `body` was signed with one of `secrets`. During a rotation there are several. `signatures` are the
/// values of all [`SIGNATURE_HEADER`]s of the request. Each comparison takes constant time.
///
/// # Errors
/// If the request has no valid signature; see [`SignatureError`].
pub fn verify<'k, 's, B: AsRef<[u8]>>(
    secrets: impl IntoIterator<Item = &'k SigningSecret>,
    body: B,
    signatures: impl IntoIterator<Item = &'s [u8]>,
) -> Result<Verified<B>, SignatureError> {
    let signature = read_signature(signatures)?;
    let is_valid =
        secrets.into_iter().any(|secret| secret.mac(body.as_ref()).verify_slice(&signature).is_ok());
    if is_valid { Ok(Verified::new(body)) } else { Err(SignatureError::Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::new(text).unwrap()
    }

    #[test]
    fn accepts_signature_of_any_secret() {
        let body = b"body";
        let secrets = [secret("current"), secret("previous")];
        for signer in &secrets {
            let signature = sign(signer, body);
            assert!(verify(&secrets, body, [signature.as_bytes()]).is_ok());
        }
        let other = sign(&secret("another"), body);
        assert_eq!(verify(&secrets, body, [other.as_bytes()]), Err(SignatureError::Mismatch));
        assert_eq!(verify(&[], body, [other.as_bytes()]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn rejects_missing_and_several_signatures() {
        let secret = secret("k");
        let signature = sign(&secret, b"body");
        let secrets = [secret];
        assert_eq!(verify(&secrets, b"body", []), Err(SignatureError::Missing));
        let twice = [signature.as_bytes(), signature.as_bytes()];
        assert_eq!(verify(&secrets, b"body", twice), Err(SignatureError::Several));
    }

    #[test]
    fn rejects_signature_that_is_not_64_hexadecimal_digits() {
        let secret = secret("k");
        let signature = sign(&secret, b"");
        let secrets = [secret];
        let long = format!("{signature}00");
        for wrong in [&b""[..], b"0", b"zz", &signature.as_bytes()[1..], long.as_bytes(), &[0xff; 64]] {
            assert_eq!(verify(&secrets, b"", [wrong]), Err(SignatureError::Malformed), "{wrong:?}");
        }
    }

    #[test]
    fn rejects_secret_without_visible_character() {
        for empty in ["", "\n", "\u{feff}", "\u{200b}\r\n"] {
            assert_eq!(SigningSecret::new(empty).unwrap_err(), SigningSecretError::Empty, "{empty:?}");
        }
    }

    #[test]
    fn verifies_with_secret_that_has_invisible_characters_at_its_ends() {
        let signature = sign(&secret("a secret"), b"body");
        for invisible in ["\u{feff}", "\r\n", "\u{200b}", "\u{2060}", "\u{ad}"] {
            let secret = secret(&format!("{invisible}a secret{invisible}"));
            assert!(verify(&[secret], b"body", [signature.as_bytes()]).is_ok(), "{invisible:?}");
        }
    }

    #[test]
    fn rejects_secret_with_invisible_character_inside() {
        let error = SigningSecret::new("a\u{feff}secret").unwrap_err();
        assert_eq!(error.to_string(), "the signing secret contains the invisible character U+FEFF");
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", secret("hunter2")), "SigningSecret(<redacted>)");
    }
}
