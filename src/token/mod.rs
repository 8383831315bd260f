//! The function `token`: a proof of who asks in, a token of Momento out.
//!
//! | module | contents |
//! | --- | --- |
//! | [`outcome`] | what the caller gets, with its status |
//! | [`record`] | the log record, which is the audit record of a token |
//! | [`rate`] | the limit of tokens for each person |
//! | [`provider`] | fetches the keys of the identity provider |
//!
//! It never fails open: what cannot be decided is a response without a token.

use std::sync::Arc;

use bytes::Bytes;
use fanout_core::clock::{Clock, SystemClock};
use fanout_core::permission::{Access, Permission, Resource};
use fanout_identity::{
    Authorizer, Claims, GatewayContext, Jwks, JwtVerifier, NotProven, Profiles, Proof, TokensFile,
};
use fanout_momento::{TokenIssuer, TokenRequest};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use tokio::time::{Instant, timeout_at};

use crate::request_log::RequestLog;
use crate::response::{self, Outcome, Rejection};
use crate::serve::{Function, FunctionRequest, RESPONSE_TIMEOUT};
use crate::trace::{TRACEPARENT, TraceContext, XRAY};
use crate::webhook::{HealthCheck, contained};

pub mod outcome;
pub mod provider;
pub mod rate;
pub mod record;

use outcome::{Issued, TokenOutcome, TopicUse};
use rate::RateLimit;
use record::TokenRecord;

/// The largest body that is accepted, in bytes. It is not read: what a person may do depends on the proof alone.
pub const MAX_TOKEN_BODY: usize = 16 * 1024;

/// The time for which a browser remembers the response to a preflight, in seconds.
const PREFLIGHT_SECONDS: &str = "600";

/// The function.
#[derive(Debug)]
pub struct TokenFunction {
    proof: Verifier,
    profiles: Profiles,
    allowed_origins: Vec<String>,
    rate: RateLimit,
    issuer: TokenIssuer,
    request_log: RequestLog,
}

/// How callers prove who they are.
#[derive(Debug)]
enum Verifier {
    Jwt(Box<JwtVerifier>),
    Gateway(Authorizer),
}

impl TokenFunction {
    /// Issues tokens by the profiles of `file`.
    #[must_use]
    pub fn new(file: TokensFile, issuer: TokenIssuer, request_log: RequestLog) -> Self {
        let proof = match file.proof {
            Proof::Jwt(settings) => {
                let url = settings.jwks.clone();
                let keys = Jwks::new(url, Arc::new(provider::Provider::default()), Arc::new(SystemClock));
                Verifier::Jwt(Box::new(JwtVerifier::new(settings, keys)))
            }
            Proof::Gateway(authorizer) => Verifier::Gateway(authorizer),
        };
        Self {
            proof,
            profiles: file.profiles,
            allowed_origins: file.allowed_origins,
            rate: RateLimit::new(file.tokens_per_minute),
            issuer,
            request_log,
        }
    }

    async fn respond(&self, request: FunctionRequest) -> Response<Bytes> {
        let started = Instant::now();
        let FunctionRequest { request, rejection, id, trace, time_left } = request;
        if rejection.is_none() && HealthCheck::of(request.method(), request.uri()).is_some() {
            return response::health(None, None);
        }
        let deadline = started + time_left.min(RESPONSE_TIMEOUT);
        let origin = self.origin(request.headers());
        let mut record = TokenRecord::new(SystemClock.now(), id);
        let outcome = match (rejection, &origin) {
            (Some(rejection), _) => TokenOutcome::Unreadable(Outcome::Rejected(rejection)),
            (None, Origin::Refused) => TokenOutcome::OriginRefused,
            (None, Origin::None | Origin::Allowed(_)) => {
                let handling = timeout_at(deadline, self.handle(&request, trace.as_ref(), &mut record));
                match contained(handling).await {
                    Some(Ok(outcome)) => outcome,
                    Some(Err(_)) => TokenOutcome::TimedOut,
                    None => TokenOutcome::Crashed,
                }
            }
        };
        self.request_log.write_token(&record, &outcome, started.elapsed());
        let mut response = outcome.response();
        self.add_cors(&mut response, &origin, &outcome);
        response
    }

    async fn handle(
        &self,
        request: &Request<Bytes>,
        platform: Option<&TraceContext>,
        record: &mut TokenRecord,
    ) -> TokenOutcome {
        if request.uri().path().trim_end_matches('/').rsplit('/').next() != Some("token") {
            return TokenOutcome::NotFound;
        }
        match *request.method() {
            Method::OPTIONS => return TokenOutcome::Preflight,
            Method::POST => {}
            _ => return TokenOutcome::Method,
        }
        if request.body().len() > MAX_TOKEN_BODY {
            let rejection = Rejection::BodyTooLarge { limit: MAX_TOKEN_BODY };
            return TokenOutcome::Unreadable(Outcome::Rejected(rejection));
        }
        let claims = match self.prove(request).await {
            Ok(claims) => claims,
            Err(error) => return TokenOutcome::NotProven(error),
        };
        // As with webhooks, headers of a caller who has proven nothing write nothing to the log.
        let trace = TraceContext::of_request(request.headers(), platform);
        record.set_trace(trace.as_ref().map(TraceContext::trace));
        let grant = match self.profiles.grant(&claims) {
            Ok(grant) => grant,
            Err(denied) => return TokenOutcome::Denied(denied),
        };
        record.set_grant(&grant);
        if let Err(seconds) = self.rate.take(&grant.token_id, record.time()) {
            return TokenOutcome::RateLimited { seconds };
        }
        let wanted = TokenRequest {
            token_id: &grant.token_id,
            ttl_seconds: grant.ttl_seconds,
            permissions: &grant.permissions,
        };
        match self.issuer.issue(wanted).await {
            Ok(token) => {
                record.set_expires_at(token.expires_at);
                let topics = grant.permissions.iter().filter_map(topic_use).collect();
                TokenOutcome::Issued(Issued { token, token_id: grant.token_id, topics })
            }
            Err(failure) => TokenOutcome::NotIssued(failure),
        }
    }

    async fn prove(&self, request: &Request<Bytes>) -> Result<Claims, NotProven> {
        match &self.proof {
            Verifier::Jwt(verifier) => verifier.verify(bearer(request.headers())?).await,
            Verifier::Gateway(authorizer) => {
                let context = request.extensions().get::<GatewayContext>().ok_or(NotProven::NoAuthorizer)?;
                authorizer.claims(context)
            }
        }
    }

    fn origin(&self, headers: &HeaderMap) -> Origin {
        let mut given = headers.get_all(header::ORIGIN).into_iter();
        let Some(origin) = given.next() else { return Origin::None };
        let is_allowed = self.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        if is_allowed && given.next().is_none() { Origin::Allowed(origin.clone()) } else { Origin::Refused }
    }

    fn add_cors(&self, response: &mut Response<Bytes>, origin: &Origin, outcome: &TokenOutcome) {
        let headers = response.headers_mut();
        if !self.allowed_origins.is_empty() {
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
        }
        let Origin::Allowed(origin) = origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if matches!(outcome, TokenOutcome::Preflight) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
            let allowed = HeaderValue::from_static("authorization, content-type, traceparent");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
        }
    }
}

impl Function for TokenFunction {
    const HEADERS: &'static [&'static str] = &["authorization", "origin", TRACEPARENT, XRAY];

    fn check_head(&self, _: &Method, _: &HeaderMap, length: u64) -> Result<(), Rejection> {
        if length > MAX_TOKEN_BODY as u64 {
            Err(Rejection::BodyTooLarge { limit: MAX_TOKEN_BODY })
        } else {
            Ok(())
        }
    }

    async fn handle(&self, request: FunctionRequest) -> Response<Bytes> {
        self.respond(request).await
    }

    async fn settled(&self) {
        self.issuer.settled().await;
    }
}

/// The web page that a request comes from.
enum Origin {
    /// The caller is not a web page.
    None,
    /// It is one of the pages that may ask.
    Allowed(HeaderValue),
    /// It is another page.
    Refused,
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

fn topic_use(permission: &Permission) -> Option<TopicUse> {
    let Resource::Topic(topic) = &permission.resource else { return None };
    Some(TopicUse {
        cache: permission.cache.as_str().to_owned(),
        topic: topic.clone(),
        publish: permission.role.allows(Access::Write),
        subscribe: permission.role.allows(Access::Read),
    })
}
