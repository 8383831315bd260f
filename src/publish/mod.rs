//! The function `publish`: a proof of who asks and a text in, a message of a topic out. It carries the id of who published.
//!
//! | module | contents |
//! | --- | --- |
//! | [`request`] | the paths, and the message in a request |
//! | [`moderation`] | the transforms of a route, before publishing |
//! | [`idempotency`] | the requests that were carried out before |
//! | [`outcome`] | what the caller gets, with its status |
//! | [`record`] | the log record |
//!
//! It never fails open: what cannot be decided, or moderated, is not published.

use std::sync::Arc;

use bytes::Bytes;
use fanout_core::clock::{Clock, SystemClock};
use fanout_core::destination::Topic;
use fanout_core::permission::Access;
use fanout_core::retry::RetryPolicy;
use fanout_identity::{Grant, HistoryRule, Profiles, TokensFile};
use fanout_momento::{CacheSender, CallerPublisher, KeySource, MomentoCache, NotPublished, TokenRequest};
use http::{HeaderMap, Method, Request, Response};
use tokio::time::Instant;

use crate::caller::rate::RateLimit;
use crate::caller::{CallerOutcome, Callers, Cors};
use crate::config::DedupeConfig;
use crate::live_routes::{LiveRoutes, NotUpdated};
use crate::request_log::RequestLog;
use crate::response::{self, NotReady, Outcome, Rejection};
use crate::serve::{Function, FunctionRequest, MAX_BODY, RESPONSE_TIMEOUT};
use crate::trace::{TRACEPARENT, TraceContext, XRAY};
use crate::webhook::HealthCheck;

pub mod idempotency;
pub mod moderation;
pub mod outcome;
pub mod record;
pub mod request;

use idempotency::Idempotency;
use outcome::{PublishOutcome, Published};
use record::PublishRecord;
use request::{Action, Message};

/// What web pages may send.
const CORS: Cors =
    Cors { methods: "GET, POST", headers: "authorization, content-type, idempotency-key, traceparent" };

/// The function.
#[derive(Debug)]
pub struct PublishFunction {
    callers: Callers,
    profiles: Profiles,
    history: Vec<HistoryRule>,
    rate: RateLimit,
    max_text: usize,
    publisher: CallerPublisher,
    items: Arc<CacheSender>,
    /// `None` without a file of routes. Then no profile is `moderated`.
    routes: Option<LiveRoutes>,
    idempotency: Idempotency,
    request_log: RequestLog,
}

impl PublishFunction {
    /// Publishes by the profiles of `file`, with tokens that `keys` issue.
    #[must_use]
    pub fn new(
        file: TokensFile,
        keys: Arc<dyn KeySource>,
        routes: Option<LiveRoutes>,
        dedupe: DedupeConfig,
        request_log: RequestLog,
    ) -> Self {
        let retry = RetryPolicy::PUBLISH;
        let cache = Arc::new(MomentoCache::new(Arc::clone(&keys), retry.attempt_timeout));
        let shared = match dedupe {
            DedupeConfig::Memory => None,
            DedupeConfig::Cache { cache: name } => Some((Arc::clone(&cache) as _, name)),
        };
        Self {
            callers: Callers::new(file.proof, file.allowed_origins, CORS),
            profiles: file.profiles,
            history: file.history,
            rate: RateLimit::new(file.requests_per_minute),
            max_text: file.max_text_bytes,
            publisher: CallerPublisher::new(keys, retry),
            items: Arc::new(CacheSender::new(cache, retry)),
            routes,
            idempotency: Idempotency::new(shared),
            request_log,
        }
    }

    async fn respond(&self, request: FunctionRequest) -> Response<Bytes> {
        let started = Instant::now();
        let FunctionRequest { request, rejection, id, trace, time_left } = request;
        if rejection.is_none()
            && let Some(health) = HealthCheck::of(request.method(), request.uri())
        {
            return self.health(health);
        }
        let deadline = started + time_left.min(RESPONSE_TIMEOUT);
        let origin = self.callers.origin(request.headers());
        let mut record = PublishRecord::new(SystemClock.now(), id);
        // On the heap: it has the futures of transforms and clients.
        let handling = Box::pin(self.handle(&request, trace.as_ref(), &mut record, deadline));
        let outcome: PublishOutcome = self.callers.decide(rejection, &origin, deadline, handling).await;
        self.request_log.write_publish(&record, &outcome, started.elapsed());
        let mut response = outcome.response();
        let is_preflight = matches!(outcome, PublishOutcome::Caller(CallerOutcome::Preflight));
        self.callers.add_cors(&mut response, &origin, is_preflight);
        response
    }

    fn health(&self, health: HealthCheck) -> Response<Bytes> {
        let not_ready = match (health, self.routes.as_ref().and_then(LiveRoutes::not_updated)) {
            (HealthCheck::Live, _) | (HealthCheck::Ready, None) => None,
            (HealthCheck::Ready, Some(NotUpdated::Unreadable(_))) => Some(NotReady::RoutesUnreadable),
            (HealthCheck::Ready, Some(NotUpdated::Invalid(_))) => Some(NotReady::RoutesInvalid),
        };
        let routes = self.routes.as_ref().map(LiveRoutes::current);
        response::health(routes.as_ref().and_then(|routes| routes.version.as_deref()), not_ready)
    }

    async fn handle(
        &self,
        request: &Request<Bytes>,
        platform: Option<&TraceContext>,
        record: &mut PublishRecord,
        deadline: Instant,
    ) -> PublishOutcome {
        let action = match Action::of(request.method(), request.uri()) {
            Ok(action) => action,
            Err(outcome) => return outcome,
        };
        if request.body().len() > MAX_BODY {
            return unreadable(Rejection::BodyTooLarge { limit: MAX_BODY });
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
        record.caller.set_grant(&grant);
        if let Err(seconds) = self.rate.take(&grant.token_id, record.caller.time()) {
            return CallerOutcome::RateLimited { seconds }.into();
        }
        match action {
            Action::Publish { topic } => self.publish(&grant, topic, request, record, deadline).await,
            Action::History { topic, limit } => self.history(&grant, &topic, limit, record, deadline).await,
        }
    }

    async fn publish(
        &self,
        grant: &Grant<'_>,
        topic: Option<String>,
        request: &Request<Bytes>,
        record: &mut PublishRecord,
        deadline: Instant,
    ) -> PublishOutcome {
        let message = match Message::read(topic, request.body()) {
            Ok(message) => message,
            Err(outcome) => return outcome,
        };
        record.set_topic(grant.cache.as_str(), &message.topic);
        if !grant.allows_topic(Access::Write, &message.topic) {
            return PublishOutcome::TopicNotAllowed;
        }
        if message.text.len() > self.max_text {
            return PublishOutcome::TextTooLarge { limit: self.max_text };
        }
        let key = match request::idempotency_key(request.headers()) {
            Ok(key) => key,
            Err(outcome) => return outcome,
        };
        let Some(key) = key else { return self.moderate_and_publish(grant, &message, deadline).await };
        let publishing = self.moderate_and_publish(grant, &message, idempotency::before_store(deadline));
        let key = idempotency::Key { cache: grant.cache.as_str(), person: &grant.token_id, key };
        self.idempotency.once(key, &message, record.caller.time(), deadline, publishing).await
    }

    async fn moderate_and_publish(
        &self,
        grant: &Grant<'_>,
        message: &Message,
        deadline: Instant,
    ) -> PublishOutcome {
        let cache = grant.cache.as_str();
        let moderated = if grant.moderated {
            match moderation::moderate(self.routes.as_ref(), &self.items, grant, message, deadline).await {
                Ok(text) => Some(text),
                Err(outcome) => return outcome,
            }
        } else {
            None
        };
        let text = moderated.as_deref().unwrap_or(&message.text);
        let permissions = grant.publish_permissions();
        let caller = TokenRequest {
            token_id: &grant.token_id,
            ttl_seconds: grant.ttl_seconds,
            permissions: &permissions,
        };
        match self.publisher.publish(caller, &Topic::new(cache, &message.topic), text, deadline).await {
            Ok(()) => PublishOutcome::Published(Published {
                cache: cache.to_owned(),
                topic: message.topic.clone(),
                token_id: grant.token_id.clone(),
                text: moderated,
            }),
            Err(NotPublished::Token(failure)) => PublishOutcome::NotIssued(failure),
            Err(NotPublished::Text(failure)) => PublishOutcome::NotPublished(failure),
        }
    }

    async fn history(
        &self,
        grant: &Grant<'_>,
        topic: &str,
        limit: u16,
        record: &mut PublishRecord,
        deadline: Instant,
    ) -> PublishOutcome {
        let cache = grant.cache.as_str();
        record.set_topic(cache, topic);
        if !grant.allows_topic(Access::Read, topic) {
            return PublishOutcome::TopicNotAllowed;
        }
        let rule = self.history.iter().find_map(|rule| Some((rule, rule.key(topic)?)));
        let Some((rule, key)) = rule else { return PublishOutcome::NoHistory };
        let list_cache = rule.cache.as_ref().map_or(cache, |cache| cache.as_str());
        match self.items.newest((list_cache, &key), rule.end, limit, deadline).await {
            Ok(messages) => PublishOutcome::History(outcome::History {
                cache: cache.to_owned(),
                topic: topic.to_owned(),
                messages,
            }),
            Err(failure) => PublishOutcome::HistoryUnreadable(failure),
        }
    }
}

fn unreadable(rejection: Rejection) -> PublishOutcome {
    CallerOutcome::Unreadable(Outcome::Rejected(rejection)).into()
}

impl Function for PublishFunction {
    const HEADERS: &'static [&'static str] =
        &["authorization", "origin", request::IDEMPOTENCY_KEY, TRACEPARENT, XRAY];

    fn check_head(&self, _: &Method, _: &HeaderMap, length: u64) -> Result<(), Rejection> {
        if length > MAX_BODY as u64 { Err(Rejection::BodyTooLarge { limit: MAX_BODY }) } else { Ok(()) }
    }

    async fn handle(&self, request: FunctionRequest) -> Response<Bytes> {
        let response = self.respond(request).await;
        self.routes.iter().for_each(LiveRoutes::check);
        response
    }

    async fn settled(&self) {
        self.publisher.settled().await;
        if let Some(routes) = &self.routes {
            routes.settled().await;
        }
    }
}
