//! The headers that prove a webhook genuine.

use momento_webhook::momento::{self, SigningSecret, SigningSecretError};
use momento_webhook::standard::{self, SignatureError, StandardSecret, StandardSecretError};
use rand::Rng as _;

/// How a webhook is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// As Momento does: hex of HMAC-SHA3-256 over the body
    #[default]
    Momento,
    /// As Standard Webhooks has it: HMAC-SHA256 over the id, the time and the body, with a secret of the
    /// form `whsec_` and base64; the function `webhook` does not take it
    Standard,
    /// Both, side by side
    Both,
}

/// A secret that signs by one scheme or by both.
#[derive(Clone, Debug)]
pub struct Signer {
    momento: Option<SigningSecret>,
    standard: Option<StandardSecret>,
}

/// A secret that the scheme cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// Momento's own signature.
    #[error(transparent)]
    Momento(#[from] SigningSecretError),
    /// Standard Webhooks.
    #[error("Standard Webhooks needs a secret of the form whsec_ and base64")]
    Standard(#[from] StandardSecretError),
}

/// Returns a new id for a message, for Standard Webhooks.
pub(crate) fn new_message_id() -> String {
    format!("msg_{:016x}", rand::rng().random::<u64>())
}

/// One header: its name and its value.
pub type Header = (&'static str, String);

impl Signer {
    /// Signs with `secret`: its UTF-8 bytes for Momento, what its base64 says for Standard Webhooks.
    ///
    /// # Errors
    /// When the secret is empty, or `scheme` is or has Standard Webhooks and it is not base64.
    pub fn new(scheme: Scheme, secret: &str) -> Result<Self, SignerError> {
        let momento = match scheme {
            Scheme::Momento | Scheme::Both => Some(SigningSecret::new(secret)?),
            Scheme::Standard => None,
        };
        let standard = match scheme {
            Scheme::Standard | Scheme::Both => Some(StandardSecret::parse(secret)?),
            Scheme::Momento => None,
        };
        Ok(Self { momento, standard })
    }

    /// The headers for `body`. `id` names the message and `seconds` is the time of the attempt since
    /// the Unix epoch; Momento's own signature has no use for either.
    ///
    /// # Errors
    /// When Standard Webhooks is to sign and `id` is empty or contains a dot.
    pub fn headers(&self, id: &str, seconds: u64, body: &[u8]) -> Result<Vec<Header>, SignatureError> {
        let mut headers = Vec::with_capacity(4);
        if let Some(secret) = &self.momento {
            headers.push((momento::SIGNATURE_HEADER, momento::sign(secret, body)));
        }
        if let Some(secret) = &self.standard {
            let signature = standard::sign(std::slice::from_ref(secret), id, seconds, body)?;
            headers.push((standard::ID_HEADER, id.to_owned()));
            headers.push((standard::TIMESTAMP_HEADER, seconds.to_string()));
            headers.push((standard::SIGNATURE_HEADER, signature));
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = b"{}";

    fn names(scheme: Scheme) -> Vec<&'static str> {
        let headers = Signer::new(scheme, SECRET).unwrap().headers("msg_1", 1, BODY).unwrap();
        headers.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn each_scheme_has_its_headers() {
        let standard = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        assert_eq!(names(Scheme::Momento), ["momento-signature"]);
        assert_eq!(names(Scheme::Standard), standard);
        assert_eq!(names(Scheme::Both), [&["momento-signature"][..], &standard].concat());
    }

    #[test]
    fn both_signatures_are_genuine() {
        let headers = Signer::new(Scheme::Both, SECRET).unwrap().headers("msg_1", 7, BODY).unwrap();
        let value = |wanted| headers.iter().find(|(name, _)| *name == wanted).unwrap().1.as_str();
        let momento = SigningSecret::new(SECRET).unwrap();
        assert!(momento::verify(&[momento], BODY, [value("momento-signature").as_bytes()]).is_ok());
        let standard = StandardSecret::parse(SECRET).unwrap();
        let signed = standard::Headers {
            id: value("webhook-id"),
            timestamp: value("webhook-timestamp"),
            signature: value("webhook-signature"),
        };
        assert_eq!(standard::verify(&[standard], BODY, signed).unwrap().1, 7);
    }

    #[test]
    fn only_a_scheme_that_is_wanted_can_refuse_a_secret() {
        assert!(Signer::new(Scheme::Momento, "not base64!").is_ok());
        for scheme in [Scheme::Standard, Scheme::Both] {
            assert_eq!(
                Signer::new(scheme, "not base64!").unwrap_err(),
                SignerError::Standard(StandardSecretError::NotBase64)
            );
        }
        assert_eq!(
            Signer::new(Scheme::Momento, "").unwrap_err(),
            SignerError::Momento(SigningSecretError::Empty)
        );
    }

    #[test]
    fn an_id_that_cannot_be_signed_matters_to_standard_webhooks_only() {
        let headers = |scheme| Signer::new(scheme, SECRET).unwrap().headers("a.b", 1, BODY);
        assert!(headers(Scheme::Momento).is_ok());
        assert_eq!(headers(Scheme::Standard), Err(SignatureError::BadId));
    }
}
