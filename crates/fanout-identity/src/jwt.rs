//! A JWT of an OIDC provider as the proof of who asks.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde_json::{Map, Value};

use crate::claims::{Claims, NotProven, UniqueObject};
use crate::jwks::Jwks;

/// The longest JWT in bytes. One with many groups has about 4,000.
pub const MAX_JWT_BYTES: usize = 8 * 1024;

/// The difference of two clocks that is tolerated, in seconds.
const LEEWAY_SECONDS: u64 = 30;

/// The algorithms that can be accepted, and their names. All are asymmetric: with a shared secret, everyone who can verify
/// can also sign.
pub const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The requirements for a JWT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// The claim `iss`.
    pub issuer: String,
    /// The audiences that are accepted. A JWT names one of them.
    pub audience: Vec<String>,
    /// The claim with the audience: `aud`, or `client_id` in access tokens of Cognito.
    pub audience_claim: String,
    /// The URL of the provider's keys.
    pub jwks: String,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
}

/// Verifies the JWTs of one provider.
#[derive(Debug)]
pub struct JwtVerifier {
    settings: JwtSettings,
    keys: Jwks,
}

impl JwtVerifier {
    /// Verifies by these settings and keys.
    #[must_use]
    pub const fn new(settings: JwtSettings, keys: Jwks) -> Self {
        Self { settings, keys }
    }

    /// Verifies a JWT, and returns its claims.
    ///
    /// # Errors
    /// If the JWT is not valid now, not of this provider, or not for this audience; or if that cannot be found out.
    pub async fn verify(&self, token: &str) -> Result<Claims, NotProven> {
        if token.len() > MAX_JWT_BYTES {
            return Err(NotProven::TooLarge { limit: MAX_JWT_BYTES });
        }
        let (algorithm, key_id) = head(token)?;
        let algorithm = algorithm.filter(|algorithm| self.settings.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(NotProven::Algorithm)?;
        let found = self.keys.key(key_id.as_deref(), algorithm).await?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        // The audience may be another claim.
        validation.validate_aud = false;
        let decoded = decode::<UniqueObject>(token, &found.key().decoding, &validation);
        let UniqueObject(claims) = decoded.map_err(|error| reason(error.kind()))?.claims;
        self.check_audience(&claims)?;
        Ok(Claims::proven(claims))
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), NotProven> {
        let accepts = |value: &Value| {
            value
                .as_str()
                .is_some_and(|given| self.settings.audience.iter().any(|accepted| accepted == given))
        };
        let is_accepted = match claims.get(&self.settings.audience_claim) {
            Some(Value::Array(list)) => list.iter().any(accepts),
            Some(value) => accepts(value),
            None => false,
        };
        if is_accepted { Ok(()) } else { Err(NotProven::Audience) }
    }
}

/// Reads the header of a JWT: its algorithm, if it is one of [`ALGORITHMS`], and the id of its key.
fn head(token: &str) -> Result<(Option<Algorithm>, Option<String>), NotProven> {
    let mut segments = token.split('.');
    let (Some(header), Some(_), Some(_), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return Err(NotProven::Malformed("it does not have three parts"));
    };
    let header =
        URL_SAFE_NO_PAD.decode(header).map_err(|_| NotProven::Malformed("its header is not base64url"))?;
    let UniqueObject(header) = serde_json::from_slice(&header)
        .map_err(|_| NotProven::Malformed("its header is not a JSON object whose members are there once"))?;
    // An extension that has to be understood, and is not.
    if header.contains_key("crit") {
        return Err(NotProven::Malformed("its header has `crit`"));
    }
    let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm);
    match header.get("kid") {
        None => Ok((algorithm, None)),
        Some(Value::String(id)) => Ok((algorithm, Some(id.clone()))),
        Some(_) => Err(NotProven::Malformed("its `kid` is not a text")),
    }
}

fn reason(kind: &ErrorKind) -> NotProven {
    match kind {
        ErrorKind::ExpiredSignature => NotProven::Expired,
        ErrorKind::ImmatureSignature => NotProven::NotYetValid,
        ErrorKind::InvalidIssuer => NotProven::Issuer,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::MissingAlgorithm => {
            NotProven::Algorithm
        }
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => match claim.as_str()
        {
            "exp" => NotProven::Claim("exp"),
            "nbf" => NotProven::Claim("nbf"),
            _ => NotProven::Claim("iss"),
        },
        ErrorKind::Json(_) => {
            NotProven::Malformed("its claims are not a JSON object whose members are there once")
        }
        // A wrong signature, one that is not base64, or a key that is too short.
        _ => NotProven::Signature,
    }
}
