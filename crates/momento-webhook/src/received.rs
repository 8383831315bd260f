//! The signature of a received request, by each scheme that the receiver accepts.
//!
//! With [`SignaturePolicy::Either`], a request is genuine if one of the signatures that it carries is valid. An attacker can
//! remove a header or add an invalid one, and gains nothing: what remains must still be valid for this body. Momento's scheme
//! does not sign headers, so `Either` is as strong as Momento's scheme alone. The time of sending is signed by both
//! schemes: in the header of Standard Webhooks, and in the body for Momento.

use crate::event::Millis;
use crate::momento::{self, SigningSecret, SigningSecretError};
use crate::standard::{self, StandardSecret, StandardSecretError};
use crate::verified::Verified;

/// The schemes that a receiver accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Momento's signature.
    #[default]
    Momento,
    /// That of Standard Webhooks.
    Standard,
    /// One of the two.
    Either,
}

impl SignaturePolicy {
    const fn accepts_momento(self) -> bool {
        matches!(self, Self::Momento | Self::Either)
    }

    const fn accepts_standard(self) -> bool {
        matches!(self, Self::Standard | Self::Either)
    }
}

/// A secret for the schemes of a [`SignaturePolicy`]. Momento's key are the UTF-8 bytes of its text, and that of Standard
/// Webhooks the bytes that its base64 encodes, so neither key can be used for the other scheme.
#[derive(Clone, Debug)]
pub struct ReceiverSecret {
    momento: Option<SigningSecret>,
    standard: Option<StandardSecret>,
}

/// Error for a text that is not a secret for one of the schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverSecretError {
    /// It is not a secret for Momento's scheme.
    #[error(transparent)]
    Momento(#[from] SigningSecretError),
    /// It is not a secret for Standard Webhooks.
    #[error("is not a secret of Standard Webhooks, which is whsec_ and base64")]
    Standard(#[from] StandardSecretError),
}

impl ReceiverSecret {
    /// Parses a secret for all schemes of `policy`.
    ///
    /// # Errors
    /// If the text is not a secret for one of them.
    pub fn new(policy: SignaturePolicy, secret: &str) -> Result<Self, ReceiverSecretError> {
        let momento = policy.accepts_momento().then(|| SigningSecret::new(secret)).transpose()?;
        let standard = policy.accepts_standard().then(|| StandardSecret::parse(secret)).transpose()?;
        Ok(Self { momento, standard })
    }
}

/// A secret for Momento's scheme.
impl From<SigningSecret> for ReceiverSecret {
    fn from(secret: SigningSecret) -> Self {
        Self { momento: Some(secret), standard: None }
    }
}

/// The headers of a request that carry signatures.
#[derive(Clone, Copy, Debug)]
pub struct SignatureHeaders<'h> {
    momento: Carried<'h>,
    id: Carried<'h>,
    timestamp: Carried<'h>,
    signature: Carried<'h>,
}

/// The values of one header.
#[derive(Clone, Copy, Debug)]
enum Carried<'h> {
    Missing,
    Once(&'h [u8]),
    Several,
}

/// Error for a request without a valid signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceivedError {
    /// The error of Momento's scheme.
    #[error(transparent)]
    Momento(#[from] momento::SignatureError),
    /// The error of Standard Webhooks.
    #[error(transparent)]
    Standard(#[from] standard::SignatureError),
}

impl ReceivedError {
    /// Returns true if a header is missing.
    #[must_use]
    pub const fn is_missing(self) -> bool {
        matches!(
            self,
            Self::Momento(momento::SignatureError::Missing)
                | Self::Standard(standard::SignatureError::Missing(_))
        )
    }

    /// Returns true if the request has a well-formed signature, and no secret made it.
    #[must_use]
    pub const fn is_mismatch(self) -> bool {
        matches!(
            self,
            Self::Momento(momento::SignatureError::Mismatch)
                | Self::Standard(standard::SignatureError::Mismatch)
        )
    }

    /// Returns the error that says more about the request: a wrong signature before a malformed one, and that before a
    /// missing one.
    const fn or(self, other: Self) -> Self {
        if self.is_mismatch() || !other.is_mismatch() && other.is_missing() { self } else { other }
    }
}

/// The names of all headers that carry signatures.
pub const SIGNATURE_HEADERS: [&str; 4] =
    [momento::SIGNATURE_HEADER, standard::ID_HEADER, standard::TIMESTAMP_HEADER, standard::SIGNATURE_HEADER];

impl<'h> SignatureHeaders<'h> {
    /// Collects the headers of a request. `values` returns the values of the header with this name, in lower case.
    pub fn collect<V: IntoIterator<Item = &'h [u8]>>(values: impl Fn(&'static str) -> V) -> Self {
        let carried = |name| {
            let mut values = values(name).into_iter();
            match (values.next(), values.next()) {
                (None, _) => Carried::Missing,
                (Some(value), None) => Carried::Once(value),
                (Some(_), Some(_)) => Carried::Several,
            }
        };
        Self {
            momento: carried(momento::SIGNATURE_HEADER),
            id: carried(standard::ID_HEADER),
            timestamp: carried(standard::TIMESTAMP_HEADER),
            signature: carried(standard::SIGNATURE_HEADER),
        }
    }

    /// Returns true if the request has a signature by a scheme of `policy`, valid or not.
    #[must_use]
    pub const fn has_any(&self, policy: SignaturePolicy) -> bool {
        policy.accepts_momento() && !matches!(self.momento, Carried::Missing)
            || policy.accepts_standard() && !matches!(self.signature, Carried::Missing)
    }

    /// Checks, without the body, that the request has a well-formed signature by a scheme of `policy`. So a request that
    /// cannot be genuine is rejected before its body is read.
    ///
    /// # Errors
    /// If it has none.
    pub fn check(&self, policy: SignaturePolicy) -> Result<(), ReceivedError> {
        let momento = || Ok(momento::read_signature(self.momento()?).map(drop)?);
        let standard = || Ok(standard::check(self.standard()?).map(drop)?);
        either(policy, standard, momento)
    }

    /// Verifies that `body` was signed with one of `secrets`, by a scheme of `policy`. Returns the time of sending if the
    /// signature covers it; the time in the body is signed in any case.
    ///
    /// # Errors
    /// If the request has no valid signature. With two invalid ones, the error is that of the better one.
    pub fn verify<B: AsRef<[u8]> + Copy>(
        &self,
        policy: SignaturePolicy,
        secrets: &[ReceiverSecret],
        body: B,
    ) -> Result<(Verified<B>, Option<Millis>), ReceivedError> {
        let standard = || {
            let secrets = secrets.iter().filter_map(|secret| secret.standard.as_ref());
            let (verified, seconds) = standard::verify(secrets, body, self.standard()?)?;
            Ok((verified, Some(seconds.saturating_mul(1_000))))
        };
        let momento = || {
            let secrets = secrets.iter().filter_map(|secret| secret.momento.as_ref());
            Ok((momento::verify(secrets, body, self.momento()?)?, None))
        };
        either(policy, standard, momento)
    }

    fn momento(&self) -> Result<Option<&'h [u8]>, momento::SignatureError> {
        match self.momento {
            Carried::Missing => Ok(None),
            Carried::Once(value) => Ok(Some(value)),
            Carried::Several => Err(momento::SignatureError::Several),
        }
    }

    fn standard(&self) -> Result<standard::Headers<'h>, standard::SignatureError> {
        use standard::SignatureError::{BadId, BadTimestamp, Missing, NoSignature, Several};
        let text = |name, carried, malformed| match carried {
            Carried::Missing => Err(Missing(name)),
            Carried::Once(value) => std::str::from_utf8(value).map_err(|_| malformed),
            Carried::Several => Err(Several(name)),
        };
        Ok(standard::Headers {
            signature: text(standard::SIGNATURE_HEADER, self.signature, NoSignature)?,
            id: text(standard::ID_HEADER, self.id, BadId)?,
            timestamp: text(standard::TIMESTAMP_HEADER, self.timestamp, BadTimestamp)?,
        })
    }
}

/// Returns what a scheme of `policy` accepts, that of Standard Webhooks first.
fn either<T>(
    policy: SignaturePolicy,
    standard: impl FnOnce() -> Result<T, ReceivedError>,
    momento: impl FnOnce() -> Result<T, ReceivedError>,
) -> Result<T, ReceivedError> {
    match policy {
        SignaturePolicy::Momento => momento(),
        SignaturePolicy::Standard => standard(),
        SignaturePolicy::Either => {
            standard().or_else(|by_standard| momento().map_err(|by_momento| by_momento.or(by_standard)))
        }
    }
}

#[cfg(test)]
mod tests {
    use SignaturePolicy::{Either, Momento, Standard};

    use super::*;

    const TEXT: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = b"{}";
    const SECONDS: u64 = 1_614_265_330;

    type Headers = Vec<(&'static str, String)>;

    fn signed_by_momento() -> Headers {
        vec![(momento::SIGNATURE_HEADER, momento::sign(&SigningSecret::new(TEXT).unwrap(), BODY))]
    }

    fn signed_by_standard() -> Headers {
        let secret = StandardSecret::parse(TEXT).unwrap();
        vec![
            (standard::ID_HEADER, "msg_1".to_owned()),
            (standard::TIMESTAMP_HEADER, SECONDS.to_string()),
            (standard::SIGNATURE_HEADER, standard::sign(&[secret], "msg_1", SECONDS, BODY).unwrap()),
        ]
    }

    fn signed_by_both() -> Headers {
        [signed_by_momento(), signed_by_standard()].concat()
    }

    /// Returns the same headers with another value of one.
    fn with(headers: &Headers, name: &str, value: &str) -> Headers {
        let changed = headers.iter().cloned();
        changed.map(|(known, old)| (known, if known == name { value.to_owned() } else { old })).collect()
    }

    fn collect(headers: &Headers) -> SignatureHeaders<'_> {
        SignatureHeaders::collect(|name| {
            headers.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_bytes())
        })
    }

    fn verify(
        policy: SignaturePolicy,
        headers: &Headers,
        body: &[u8],
    ) -> Result<Option<Millis>, ReceivedError> {
        let secrets = [ReceiverSecret::new(policy, TEXT).unwrap()];
        let headers = collect(headers);
        let verified = headers.verify(policy, &secrets, body).map(|(_, sent)| sent);
        // What is genuine passes the check without the body.
        assert!(verified.is_err() || headers.check(policy).is_ok());
        verified
    }

    #[test]
    fn each_policy_accepts_its_signatures_only() {
        let (sent, missing) = (Ok(Some(SECONDS * 1_000)), Err(momento::SignatureError::Missing.into()));
        let no_header = Err(standard::SignatureError::Missing(standard::SIGNATURE_HEADER).into());
        for (headers, by_momento, by_standard, by_either) in [
            (signed_by_momento(), Ok(None), no_header, Ok(None)),
            (signed_by_standard(), missing, sent, sent),
            (signed_by_both(), Ok(None), sent, sent),
            (Vec::new(), missing, no_header, missing),
        ] {
            assert_eq!(verify(Momento, &headers, BODY), by_momento, "{headers:?}");
            assert_eq!(verify(Standard, &headers, BODY), by_standard, "{headers:?}");
            assert_eq!(verify(Either, &headers, BODY), by_either, "{headers:?}");
        }
    }

    #[test]
    fn one_valid_signature_is_enough_and_an_invalid_one_beside_it_changes_nothing() {
        let both = signed_by_both();
        for (name, value) in [
            (standard::SIGNATURE_HEADER, "v1,AAAA"),
            (standard::SIGNATURE_HEADER, "nonsense"),
            (standard::ID_HEADER, "msg_2"),
            (standard::TIMESTAMP_HEADER, "1614265331"),
        ] {
            let headers = with(&both, name, value);
            assert_eq!(verify(Either, &headers, BODY), Ok(None), "{headers:?}");
            assert!(verify(Standard, &headers, BODY).is_err(), "{headers:?}");
        }
        for value in ["", "zz", &"0".repeat(64)] {
            let headers = with(&both, momento::SIGNATURE_HEADER, value);
            assert_eq!(verify(Either, &headers, BODY), Ok(Some(SECONDS * 1_000)), "{headers:?}");
            assert!(verify(Momento, &headers, BODY).is_err(), "{headers:?}");
        }
    }

    #[test]
    fn no_policy_accepts_another_body() {
        for policy in [Momento, Standard, Either] {
            for headers in [signed_by_momento(), signed_by_standard(), signed_by_both()] {
                let error = verify(policy, &headers, b"{} ").unwrap_err();
                assert!(error.is_mismatch() || error.is_missing(), "{policy:?} {error:?}");
                assert!(policy != Either || error.is_mismatch(), "{error:?}");
            }
        }
    }

    #[test]
    fn header_that_appears_twice_is_no_signature() {
        let both = signed_by_both();
        for (name, _) in &both {
            let mut headers = both.clone();
            headers.extend(both.iter().filter(|(known, _)| known == name).cloned());
            let policy = if *name == momento::SIGNATURE_HEADER { Momento } else { Standard };
            assert!(
                verify(policy, &headers, BODY).unwrap_err().to_string().contains("more than one"),
                "{name}"
            );
            assert!(collect(&headers).check(policy).is_err(), "{name}");
            assert!(verify(Either, &headers, BODY).is_ok(), "{name}");
        }
    }

    #[test]
    fn signature_of_one_scheme_is_not_valid_for_the_other() {
        let value =
            |headers: &Headers, name| headers.iter().find(|(known, _)| *known == name).unwrap().1.clone();
        let both = signed_by_both();
        let swapped = with(
            &with(&both, momento::SIGNATURE_HEADER, &value(&both, standard::SIGNATURE_HEADER)),
            standard::SIGNATURE_HEADER,
            &value(&both, momento::SIGNATURE_HEADER),
        );
        assert!(verify(Either, &swapped, BODY).is_err());
        // A header that is not UTF-8 is malformed.
        let headers = SignatureHeaders::collect(|_| [&[0xff][..]]);
        assert!(!headers.check(Either).unwrap_err().is_missing());
    }

    #[test]
    fn secret_must_fit_every_scheme() {
        assert!(ReceiverSecret::new(Momento, "not base64!").is_ok());
        for policy in [Standard, Either] {
            let error = ReceiverSecret::new(policy, "not base64!").unwrap_err();
            assert_eq!(error, ReceiverSecretError::Standard(StandardSecretError::NotBase64));
        }
        assert!(ReceiverSecret::new(Momento, "").is_err() && ReceiverSecret::new(Standard, "").is_err());
    }

    #[test]
    fn requests_without_signature_are_told_apart() {
        for (headers, momento, standard) in [
            (Vec::new(), false, false),
            (signed_by_momento(), true, false),
            (signed_by_standard(), false, true),
        ] {
            let headers = collect(&headers);
            assert_eq!((headers.has_any(Momento), headers.has_any(Standard)), (momento, standard));
            assert_eq!(headers.has_any(Either), momento || standard);
        }
    }
}
