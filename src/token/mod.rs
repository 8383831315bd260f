//! The function `token`: a proof of who asks in, a token of Momento out.
//!
//! | module | contents |
//! | --- | --- |
//! | [`outcome`] | what the caller gets, with its status |
//! | [`record`] | the log record, which is the audit record of a token |
//!
//! It never fails open: what cannot be decided is a response without a token.

use bytes::Bytes;
use fanout_core::clock::{Clock, SystemClock};
use fanout_core::permission::{Access, Permission, Resource};
use fanout_identity::{Profiles, TokensFile};
use fanout_momento::{TokenIssuer, TokenRequest};
use http::{HeaderMap, Method, Request, Response};
use tokio::time::Instant;

use crate::caller::rate::RateLimit;
use crate::caller::{CallerOutcome, Callers, Cors};
use crate::request_log::RequestLog;
use crate::response::{self, Outcome, Rejection};
use crate::serve::{Function, FunctionRequest, RESPONSE_TIMEOUT};
use crate::trace::{TRACEPARENT, TraceContext, XRAY};
use crate::webhook::HealthCheck;

pub mod outcome;
pub mod record;

use outcome::{Issued, TokenOutcome, TopicUse};
use record::TokenRecord;

/// The largest body that is accepted, in bytes. It is not read: what a person may do depends on the proof alone.
pub const MAX_TOKEN_BODY: usize = 16 * 1024;

/// What web pages may send.
const CORS: Cors = Cors { methods: "POST", headers: "authorization, content-type, traceparent" };

/// The function.
#[derive(Debug)]
pub struct TokenFunction {
    callers: Callers,
    profiles: Profiles,
    rate: RateLimit,
    issuer: TokenIssuer,
    request_log: RequestLog,
}

impl TokenFunction {
    /// Issues tokens by the profiles of `file`.
    #[must_use]
    pub fn new(file: TokensFile, issuer: TokenIssuer, request_log: RequestLog) -> Self {
        Self {
            callers: Callers::new(file.proof, file.allowed_origins, CORS),
            profiles: file.profiles,
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
        let origin = self.callers.origin(request.headers());
        let mut record = TokenRecord::new(SystemClock.now(), id);
        let handling = self.handle(&request, trace.as_ref(), &mut record);
        let outcome: TokenOutcome = self.callers.decide(rejection, &origin, deadline, handling).await;
        self.request_log.write_token(&record, &outcome, started.elapsed());
        let mut response = outcome.response();
        let is_preflight = matches!(outcome, TokenOutcome::Caller(CallerOutcome::Preflight));
        self.callers.add_cors(&mut response, &origin, is_preflight);
        response
    }

    async fn handle(
        &self,
        request: &Request<Bytes>,
        platform: Option<&TraceContext>,
        record: &mut TokenRecord,
    ) -> TokenOutcome {
        if request.uri().path().trim_end_matches('/').rsplit('/').next() != Some("token") {
            return CallerOutcome::NotFound("/token").into();
        }
        match *request.method() {
            Method::OPTIONS => return CallerOutcome::Preflight.into(),
            Method::POST => {}
            _ => return CallerOutcome::Method("POST").into(),
        }
        if request.body().len() > MAX_TOKEN_BODY {
            let rejection = Rejection::BodyTooLarge { limit: MAX_TOKEN_BODY };
            return CallerOutcome::Unreadable(Outcome::Rejected(rejection)).into();
        }
        let claims = match self.callers.prove(request).await {
            Ok(claims) => claims,
            Err(error) => return CallerOutcome::NotProven(error).into(),
        };
        // As with webhooks, headers of a caller who has proven nothing write nothing to the log.
        let trace = TraceContext::of_request(request.headers(), platform);
        record.caller.set_trace(trace.as_ref().map(TraceContext::trace));
        let grant = match self.profiles.grant(&claims) {
            Ok(grant) => grant,
            Err(denied) => return CallerOutcome::Denied(denied).into(),
        };
        let permissions = match grant.token_permissions() {
            Ok(permissions) => permissions,
            Err(denied) => return CallerOutcome::Denied(denied).into(),
        };
        record.set_grant(&grant, &permissions);
        if let Err(seconds) = self.rate.take(&grant.token_id, record.caller.time()) {
            return CallerOutcome::RateLimited { seconds }.into();
        }
        let wanted = TokenRequest {
            token_id: &grant.token_id,
            ttl_seconds: grant.ttl_seconds,
            permissions: &permissions,
        };
        match self.issuer.issue(wanted).await {
            Ok(token) => {
                record.set_expires_at(token.expires_at);
                let topics = permissions.iter().filter_map(topic_use).collect();
                TokenOutcome::Issued(Issued { token, token_id: grant.token_id, topics })
            }
            Err(failure) => TokenOutcome::NotIssued(failure),
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

fn topic_use(permission: &Permission) -> Option<TopicUse> {
    let Resource::Topic(topic) = &permission.resource else { return None };
    Some(TopicUse {
        cache: permission.cache.as_str().to_owned(),
        topic: topic.clone(),
        publish: permission.role.allows(Access::Write),
        subscribe: permission.role.allows(Access::Read),
    })
}
