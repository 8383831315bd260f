//! The callers of the functions `token` and `publish`: people who prove who they are, often from a web page.
//!
//! | module | contents |
//! | --- | --- |
//! | [`outcome`] | the responses that both functions give, with their statuses |
//! | [`record`] | the part of a log record that both functions write |
//! | [`rate`] | the limit of requests for each person |
//! | [`provider`] | fetches the keys of the identity provider |

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use fanout_core::clock::SystemClock;
use fanout_identity::{Authorizer, Claims, GatewayContext, Jwks, JwtVerifier, NotProven, Proof};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::time::{Instant, timeout_at};

use crate::response::{Outcome, Rejection};
use crate::webhook::contained;

pub mod outcome;
pub mod provider;
pub mod rate;
pub mod record;

pub use outcome::CallerOutcome;

/// The time for which a browser remembers the response to a preflight, in seconds.
const PREFLIGHT_SECONDS: &str = "600";

/// Decides who calls, and which web pages may.
#[derive(Debug)]
pub struct Callers {
    proof: Verifier,
    allowed_origins: Vec<String>,
    cors: Cors,
}

/// What web pages may send.
#[derive(Clone, Copy, Debug)]
pub struct Cors {
    /// The methods, beside `OPTIONS`.
    pub methods: &'static str,
    /// The headers.
    pub headers: &'static str,
}

/// How callers prove who they are.
#[derive(Debug)]
enum Verifier {
    Jwt(Box<JwtVerifier>),
    Gateway(Authorizer),
}

/// The web page that a request comes from.
#[derive(Debug)]
pub enum Origin {
    /// The caller is not a web page.
    None,
    /// It is one of the pages that may ask.
    Allowed(HeaderValue),
    /// It is another page.
    Refused,
}

impl Callers {
    /// Accepts callers with this proof, and web pages of these origins.
    #[must_use]
    pub fn new(proof: Proof, allowed_origins: Vec<String>, cors: Cors) -> Self {
        let proof = match proof {
            Proof::Jwt(settings) => {
                let url = settings.jwks.clone();
                let keys = Jwks::new(url, Arc::new(provider::Provider::default()), Arc::new(SystemClock));
                Verifier::Jwt(Box::new(JwtVerifier::new(settings, keys)))
            }
            Proof::Gateway(authorizer) => Verifier::Gateway(authorizer),
        };
        Self { proof, allowed_origins, cors }
    }

    /// Returns the outcome of `handling`, or of what prevents it: an unreadable request, a web page that may not ask, the
    /// deadline, or a panic.
    pub async fn decide<O: From<CallerOutcome>>(
        &self,
        rejection: Option<Rejection>,
        origin: &Origin,
        deadline: Instant,
        handling: impl Future<Output = O>,
    ) -> O {
        let outcome = match (rejection, origin) {
            (Some(rejection), _) => CallerOutcome::Unreadable(Outcome::Rejected(rejection)),
            (None, Origin::Refused) => CallerOutcome::OriginRefused,
            (None, Origin::None | Origin::Allowed(_)) => {
                match contained(timeout_at(deadline, handling)).await {
                    Some(Ok(outcome)) => return outcome,
                    Some(Err(_)) => CallerOutcome::TimedOut,
                    None => CallerOutcome::Crashed,
                }
            }
        };
        outcome.into()
    }

    /// Returns what is proven about the caller.
    ///
    /// # Errors
    /// If the caller has not proven who they are.
    pub async fn prove(&self, request: &Request<Bytes>) -> Result<Claims, NotProven> {
        match &self.proof {
            Verifier::Jwt(verifier) => verifier.verify(bearer(request.headers())?).await,
            Verifier::Gateway(authorizer) => {
                let context = request.extensions().get::<GatewayContext>().ok_or(NotProven::NoAuthorizer)?;
                authorizer.claims(context)
            }
        }
    }

    /// Returns the web page that a request with these headers comes from.
    #[must_use]
    pub fn origin(&self, headers: &HeaderMap) -> Origin {
        let mut given = headers.get_all(header::ORIGIN).into_iter();
        let Some(origin) = given.next() else { return Origin::None };
        let is_allowed = self.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        if is_allowed && given.next().is_none() { Origin::Allowed(origin.clone()) } else { Origin::Refused }
    }

    /// Adds the headers by which a browser lets the page read the response.
    pub fn add_cors(&self, response: &mut Response<Bytes>, origin: &Origin, is_preflight: bool) {
        let headers = response.headers_mut();
        if !self.allowed_origins.is_empty() {
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
        }
        let Origin::Allowed(origin) = origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if is_preflight {
            let Cors { methods, headers: allowed } = self.cors;
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allowed));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
        }
    }
}

/// Returns the JWT in the header `Authorization`.
fn bearer(headers: &HeaderMap) -> Result<&str, NotProven> {
    let mut given = headers.get_all(header::AUTHORIZATION).into_iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(NotProven::Missing) };
    let value = value.to_str().map_err(|_| NotProven::Malformed("it is not ASCII"))?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(NotProven::Missing),
    }
}
