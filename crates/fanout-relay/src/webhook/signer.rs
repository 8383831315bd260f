//! Makes the headers that prove a webhook genuine.

use momento_webhook::momento::{self, SigningSecret, SigningSecretError};
use momento_webhook::standard::{self, SignatureError, StandardSecret, StandardSecretError};
use serde::Deserialize;

/// The scheme that signs a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Momento's scheme: hex of HMAC-SHA3-256 over the body.
    #[default]
    Momento,
    /// Standard Webhooks: HMAC-SHA256 over the id, the time and the body.
    Standard,
    /// Both schemes.
    Both,
}

/// Signs by one scheme or by both.
#[derive(Clone, Debug)]
pub struct Signer {
    momento: Option<SigningSecret>,
    standard: Option<StandardSecret>,
}

/// Error for a secret that the scheme cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The secret is invalid for Momento's scheme.
    #[error(transparent)]
    Momento(#[from] SigningSecretError),
    /// The secret is invalid for Standard Webhooks.
    #[error("Standard Webhooks needs a secret of the form whsec_ and base64")]
    Standard(#[from] StandardSecretError),
}

/// The name and the value of a header.
pub type Header = (&'static str, String);

impl Signer {
    /// Returns a signer with `secret`: its UTF-8 bytes for Momento, its decoded base64 for Standard Webhooks.
    ///
    /// # Errors
    /// If the secret is empty, or if it is not base64 and `scheme` includes Standard Webhooks.
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

    /// Returns the headers for `body`. Standard Webhooks signs `id`, the id of the message, and `seconds`, the time of the
    /// attempt since the Unix epoch, too.
    ///
    /// # Errors
    /// If Standard Webhooks signs, and `id` is empty or contains a dot.
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
    fn each_scheme_makes_its_headers() {
        let standard = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        assert_eq!(names(Scheme::Momento), ["momento-signature"]);
        assert_eq!(names(Scheme::Standard), standard);
        assert_eq!(names(Scheme::Both), [&["momento-signature"][..], &standard].concat());
    }

    #[test]
    fn makes_valid_signatures_for_both_schemes() {
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
    fn checks_secret_for_the_given_scheme_only() {
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
    fn rejects_id_with_dot_for_standard_webhooks_only() {
        let headers = |scheme| Signer::new(scheme, SECRET).unwrap().headers("a.b", 1, BODY);
        assert!(headers(Scheme::Momento).is_ok());
        assert_eq!(headers(Scheme::Standard), Err(SignatureError::BadId));
    }
}
