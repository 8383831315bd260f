//! The HTTP edge: a request in, a verified event to the pipeline, a response and a log record out.
//!
//! It does not know which listener a request comes from. The edge for messages of a queue is
//! [`sqs_batch`](crate::serve), which shares the parts of the [`Webhook`].

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use momento_webhook::freshness::Window;
use momento_webhook::received::SIGNATURE_HEADERS;
use momento_webhook::{Event, Millis, ReceiverSecret, SignatureHeaders, SignaturePolicy, Verified};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::live_routes::{LiveRoutes, NotUpdated};
use crate::pipeline::{Job, Pipeline};
use crate::request_log::{LogRecord, RequestLog};
use crate::response::{self, NotReady, Outcome, Rejection};
use crate::secrets::{Refreshed, Rotating};
use crate::serve::{Batch, BatchResponse, Function, FunctionRequest, MAX_BODY, RESPONSE_TIMEOUT};
use crate::trace::{TRACEPARENT, TraceContext, XRAY};
use fanout_core::clock::{Clock, SystemClock};
use fanout_core::dead_letter::{DeadLetterPolicy, DeadLetters};
use fanout_core::dedupe::shared::SharedDedupe;
use fanout_core::destination::Publisher;
use fanout_core::fan_out::FanOut;

/// The function: everything between a request and its response.
#[derive(Debug)]
pub struct Webhook<P, C = SystemClock> {
    signatures: SignaturePolicy,
    secrets: Rotating<Vec<ReceiverSecret>>,
    window: Window,
    pub(crate) pipeline: Pipeline<P>,
    request_log: RequestLog,
    pub(crate) clock: C,
}

/// The signatures and secrets of the sender, and the maximum age of an event.
#[derive(Debug)]
pub struct Signing {
    /// The schemes that are accepted.
    pub signatures: SignaturePolicy,
    /// The secrets that are accepted.
    pub secrets: Rotating<Vec<ReceiverSecret>>,
    /// The maximum age; zero for no limit.
    pub max_age: Duration,
}

impl<P: Publisher> Webhook<P> {
    /// Accepts requests with a signature by a secret of `signing`, and sends their events through `fan_out` by `routes`.
    pub fn new(
        signing: Signing,
        routes: impl Into<LiveRoutes>,
        fan_out: FanOut<P>,
        request_log: RequestLog,
    ) -> Self {
        Self {
            signatures: signing.signatures,
            secrets: signing.secrets,
            window: Window::new(signing.max_age),
            pipeline: Pipeline::new(routes, fan_out),
            request_log,
            clock: SystemClock,
        }
    }

    /// Writes dead letters to this queue.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: Option<DeadLetters>) -> Self {
        Self { pipeline: self.pipeline.with_dead_letters(dead_letters), ..self }
    }

    /// Recognizes events that other environments have handled, too.
    #[must_use]
    pub fn with_shared_dedupe(self, shared: Option<SharedDedupe>) -> Self {
        Self { pipeline: self.pipeline.with_shared_dedupe(shared), ..self }
    }

    /// Uses another clock.
    pub fn with_clock<C: Clock>(self, clock: C) -> Webhook<P, C> {
        let Self { signatures, secrets, window, pipeline, request_log, .. } = self;
        Webhook { signatures, secrets, window, pipeline, request_log, clock }
    }
}

impl<P: Publisher, C: Clock> Webhook<P, C> {
    /// Handles one request. A panic on the way becomes a response with status 500.
    pub async fn handle(&self, request: impl Into<FunctionRequest>) -> Response<Bytes> {
        let response = self.handle_with_routes_in_use(request.into()).await;
        self.pipeline.routes().check();
        response
    }

    async fn handle_with_routes_in_use(&self, request: FunctionRequest) -> Response<Bytes> {
        if request.rejection.is_none() {
            let health = HealthCheck::of(request.request.method(), request.request.uri());
            if let Some(health) = health {
                return self.respond_to(health);
            }
        }
        let started = Instant::now();
        let mut record = LogRecord::new(self.clock.now(), request.id.clone());
        record.set_trace(request.trace.as_ref().map(TraceContext::trace));
        match contained(self.respond(request, &mut record, started)).await {
            Some(response) => response,
            None => self.finish(&record, &Outcome::Crashed, started),
        }
    }

    async fn respond(
        &self,
        request: FunctionRequest,
        record: &mut LogRecord,
        started: Instant,
    ) -> Response<Bytes> {
        let deadline = started + request.time_left.min(RESPONSE_TIMEOUT);
        let event = match request.rejection {
            Some(rejection) => Err(rejection),
            None => self.read(&request.request, deadline).await,
        };
        let (event, sent) = match event {
            Ok(read) => read,
            Err(rejection) => return self.finish(record, &Outcome::Rejected(rejection), started),
        };
        // Headers are not signed. They are read after the body is verified, so that a forged request writes nothing of
        // its own to the log.
        let trace = TraceContext::of_request(request.request.headers(), request.trace.as_ref());
        record.set_trace(trace.as_ref().map(TraceContext::trace));
        record.set_event(&event);
        let xray = trace.as_ref().map(TraceContext::to_xray);
        let routes = self.pipeline.routes().current();
        let job = Job {
            routes: &routes,
            event: &event,
            dead_letter: None,
            policy: DeadLetterPolicy::AnyFailure,
            now: record.time(),
            xray: xray.as_deref(),
            deadline,
        };
        let outcome = match self.window.check(sent, job.now) {
            Ok(_) => {
                let handled = self.pipeline.run(job).await;
                record.set_dedupe_failed(handled.dedupe_failed);
                handled.outcome
            }
            Err(error) => Outcome::Rejected(error.into()),
        };
        self.finish(record, &outcome, started)
    }

    /// Verifies a request, and reads its event and the time at which it was sent.
    async fn read(
        &self,
        request: &Request<Bytes>,
        deadline: Instant,
    ) -> Result<(Verified<Event>, Millis), Rejection> {
        self.check_head(request.method(), request.headers(), request.body().len() as u64)?;
        let (verified, sent) = self.verify(request.body(), signatures(request.headers()), deadline).await?;
        let event = verified.event()?;
        // A sender of Standard Webhooks may repeat a body as it was, with a new time.
        let sent = sent.unwrap_or(event.publish_timestamp);
        Ok((event, sent))
    }

    /// Returns the schemes that are accepted.
    pub(crate) const fn signatures(&self) -> SignaturePolicy {
        self.signatures
    }

    /// Verifies bytes by one of these signatures. Returns the time of sending if the signature covers it.
    pub(crate) async fn verify<B: AsRef<[u8]> + Copy>(
        &self,
        body: B,
        signatures: SignatureHeaders<'_>,
        deadline: Instant,
    ) -> Result<(Verified<B>, Option<Millis>), Rejection> {
        let mut secrets = self.secrets.current();
        loop {
            let error = match signatures.verify(self.signatures, &secrets, body) {
                Err(error) if error.is_mismatch() => error,
                verified => return Ok(verified?),
            };
            // The secret may have changed. Requests whose signature matches do not wait for this.
            match timeout_at(deadline, self.secrets.refresh(&secrets)).await {
                Ok(Refreshed::Changed(changed)) => secrets = changed,
                Ok(Refreshed::Unchanged) => return Err(error.into()),
                // A genuine request may be sent again then. A forged one gets the same response.
                Ok(Refreshed::Unknown) | Err(_) => return Err(Rejection::SignatureUndecided),
            }
        }
    }

    fn respond_to(&self, health: HealthCheck) -> Response<Bytes> {
        let routes = self.pipeline.routes();
        let not_ready = match health {
            HealthCheck::Live => None,
            HealthCheck::Ready => match routes.not_updated() {
                Some(NotUpdated::Unreadable(_)) => Some(NotReady::RoutesUnreadable),
                Some(NotUpdated::Invalid(_)) => Some(NotReady::RoutesInvalid),
                None => self.secrets.is_outdated().then_some(NotReady::SecretsUnreadable),
            },
        };
        response::health(routes.current().version.as_deref(), not_ready)
    }

    fn finish(&self, record: &LogRecord, outcome: &Outcome<'_>, started: Instant) -> Response<Bytes> {
        let destinations = self.log(record, outcome, started);
        outcome.response(destinations.as_deref())
    }

    /// Writes the log record. Returns the outcomes of the destinations as JSON, for the response.
    pub(crate) fn log(
        &self,
        record: &LogRecord,
        outcome: &Outcome<'_>,
        started: Instant,
    ) -> Option<Box<RawValue>> {
        let took = started.elapsed();
        let destinations = outcome.destinations();
        self.request_log.write(&record.finished(outcome, destinations.as_deref(), took));
        destinations
    }
}

impl<P: Publisher, C: Clock> Function for Webhook<P, C> {
    const HEADERS: &'static [&'static str] = &HEADERS;

    fn check_head(&self, method: &Method, headers: &HeaderMap, length: u64) -> Result<(), Rejection> {
        if method != Method::POST {
            return Err(Rejection::Method);
        }
        if length > MAX_BODY as u64 {
            return Err(Rejection::BodyTooLarge { limit: MAX_BODY });
        }
        Ok(signatures(headers).check(self.signatures)?)
    }

    async fn handle(&self, request: FunctionRequest) -> Response<Bytes> {
        self.handle(request).await
    }

    async fn handle_batch(
        &self,
        batch: Batch,
        invocation: Option<&TraceContext>,
        time_left: Duration,
    ) -> Option<BatchResponse> {
        Some(batch.serve(self, invocation, time_left).await)
    }

    async fn settled(&self) {
        tokio::join!(self.secrets.settled(), self.pipeline.settled());
    }
}

/// The headers with signatures, and those with traces.
const HEADERS: [&str; 6] = {
    let [momento, id, timestamp, signature] = SIGNATURE_HEADERS;
    [momento, id, timestamp, signature, TRACEPARENT, XRAY]
};

/// Runs `handling`. Returns `None` if it panics; then the guards that it held are released, with what they guard as it
/// was before.
pub(crate) async fn contained<T>(handling: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(handling).catch_unwind().await.ok()
}

fn signatures(headers: &HeaderMap) -> SignatureHeaders<'_> {
    SignatureHeaders::collect(|name| headers.get_all(name).into_iter().map(HeaderValue::as_bytes))
}

/// A request for the health of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// `GET /health`: whether the function runs.
    Live,
    /// `GET /health/ready`: also whether its routes and secrets are up to date.
    Ready,
}

impl HealthCheck {
    /// Recognizes a health check, with any prefix that a gateway may add to the path.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let mut segments = uri.path().rsplit('/');
        match (method, segments.next(), segments.next()) {
            (&(Method::GET | Method::HEAD), Some("health"), _) => Some(Self::Live),
            (&(Method::GET | Method::HEAD), Some("ready"), Some("health")) => Some(Self::Ready),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::future::ready;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use momento_webhook::momento;
    use serde_json::{Value, json};

    use super::*;
    use fanout_core::names::TopicName;
    use fanout_core::reason::{Failure, Reason};
    use fanout_core::retry::RetryPolicy;
    use fanout_core::route::{Destination, Routes};
    use fanout_core::testing::{FakePublisher, NOW, PublishFault, body, secret, stages};
    use fanout_core::transform::{
        Context, Message, OnFailure, Stage, Transform, TransformFuture, Transformed,
    };

    pub(crate) struct FixedClock;
    impl Clock for FixedClock {
        fn now(&self) -> Millis {
            NOW
        }
    }

    pub(crate) type TestWebhook = Webhook<Arc<FakePublisher>, FixedClock>;

    fn signed(body: String) -> Request<Bytes> {
        let signature = momento::sign(&secret(), body.as_bytes());
        Request::post("/").header(momento::SIGNATURE_HEADER, signature).body(body.into()).unwrap()
    }

    /// A webhook with these destinations: topics, and their transforms.
    pub(crate) fn webhook_with(
        publisher: &Arc<FakePublisher>,
        destinations: impl IntoIterator<Item = (&'static str, Vec<Stage>)>,
        request_log: RequestLog,
    ) -> TestWebhook {
        let destination =
            |(topic, chain)| Destination::verbatim(None, &TopicName::new(topic).unwrap(), chain);
        routed(publisher, Routes::one(destinations.into_iter().map(destination).collect()), request_log)
    }

    fn routed(publisher: &Arc<FakePublisher>, routes: Routes, request_log: RequestLog) -> TestWebhook {
        let secrets = Rotating::fixed(vec![secret().into()]);
        let signing =
            Signing { signatures: SignaturePolicy::Momento, secrets, max_age: Duration::from_mins(1) };
        let fan_out = FanOut::new(Arc::clone(publisher), RetryPolicy::PUBLISH);
        Webhook::new(signing, routes, fan_out, request_log).with_clock(FixedClock)
    }

    fn webhook(publisher: FakePublisher, topics: &[&'static str]) -> (TestWebhook, Arc<FakePublisher>) {
        let publisher = Arc::new(publisher);
        let destinations = topics.iter().map(|topic| (*topic, stages("['uppercase']")));
        (webhook_with(&publisher, destinations, RequestLog::Off), publisher)
    }

    async fn respond(webhook: &TestWebhook, request: Request<Bytes>) -> (u16, Value) {
        let response = webhook.handle(request).await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn second_delivery_serves_only_destinations_that_failed() {
        let unavailable = PublishFault::Because(Reason::Unavailable);
        let failing = FakePublisher::default().fail("b", unavailable, 5).fail("d", unavailable, 5);
        let (webhook, publisher) = webhook(failing, &["a", "b", "c", "d"]);
        let statuses = |body: &Value| -> Vec<String> {
            let destinations = body["destinations"].as_array().unwrap();
            destinations.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
        };

        let (status, first) = respond(&webhook, signed(body("demo", "in", 1, |_| ()))).await;
        assert_eq!(
            (status, statuses(&first)),
            (503, ["published", "failed", "published", "failed"].map(str::to_owned).to_vec())
        );

        let again = || signed(body("demo", "in", 1, |event| event.publish_timestamp += 1_000));
        let (status, second) = respond(&webhook, again()).await;
        assert_eq!(status, 200);
        assert_eq!(statuses(&second), ["already_published", "published", "already_published", "published"]);

        let (status, third) = respond(&webhook, again()).await;
        assert_eq!((status, third), (200, json!({"status": "duplicate"})));

        let mut topics: Vec<_> = publisher.published().into_iter().map(|(_, topic, _)| topic).collect();
        topics.sort_unstable();
        assert_eq!(topics, ["a", "b", "c", "d"]);
        assert_eq!(publisher.published()[0], ("demo".into(), "a".into(), "HELLO".into()));
    }

    /// Fails at the first message with a transient reason, and drops all others.
    #[derive(Debug, Default)]
    struct FailsThenDrops(AtomicBool);

    impl Transform for FailsThenDrops {
        fn apply<'t>(&'t self, _: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
            Box::pin(ready(if self.0.swap(true, Ordering::Relaxed) {
                Ok(Transformed::Dropped("now it is known".into()))
            } else {
                Err(Failure::new(Reason::Unavailable, "not now"))
            }))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn second_delivery_tells_dropped_from_published() {
        let drops = || stages("[{ filter = { equals = 'x' } }]");
        let fails_then_drops = || {
            let transform = Arc::new(FailsThenDrops::default());
            vec![Stage::new("later".into(), "{}".into(), OnFailure::Fail, true, transform)]
        };
        for (last, expected, overall) in [
            (Vec::new(), ["already_dropped", "published"], "success"),
            (fails_then_drops(), ["already_dropped", "dropped"], "dropped"),
        ] {
            let unavailable = PublishFault::Because(Reason::Unavailable);
            let publisher = Arc::new(FakePublisher::default().fail("b", unavailable, 5));
            let webhook = webhook_with(&publisher, [("a", drops()), ("b", last)], RequestLog::Off);
            let (status, _) = respond(&webhook, signed(body("demo", "in", 1, |_| ()))).await;
            assert_eq!(status, 503);
            let (status, again) = respond(&webhook, signed(body("demo", "in", 1, |_| ()))).await;
            let statuses = [0, 1].map(|index| again["destinations"][index]["status"].as_str().unwrap());
            assert_eq!((status, again["status"].as_str(), statuses), (200, Some(overall), expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_deliveries_publish_once() {
        let (webhook, publisher) = webhook(FakePublisher::default(), &["a"]);
        let request = || signed(body("demo", "in", 1, |_| ()));
        let ((_, first), (_, second)) =
            tokio::join!(respond(&webhook, request()), respond(&webhook, request()));
        assert_eq!(
            (first["status"].as_str(), second["status"].as_str()),
            (Some("success"), Some("duplicate"))
        );
        assert_eq!(publisher.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn second_delivery_waits_for_the_first_until_its_own_deadline() {
        let hanging = FakePublisher::default().fail("a", PublishFault::Hangs, 100);
        let (webhook, _) = webhook(hanging, &["a"]);
        let first = webhook.handle(signed(body("demo", "in", 1, |_| ())));
        let mut second = FunctionRequest::from(signed(body("demo", "in", 1, |_| ())));
        second.time_left = Duration::from_secs(1);
        let (_, second) = tokio::join!(first, webhook.handle(second));
        assert_eq!(second.status(), 503);
        assert_eq!(second.headers()["retry-after"], "2");
    }

    #[tokio::test]
    async fn rejected_request_reaches_no_destination() {
        let (webhook, publisher) = webhook(FakePublisher::default(), &["a", "b"]);
        let stale = signed(body("demo", "in", 1, |event| event.publish_timestamp = NOW - 60_001));
        let future = signed(body("demo", "in", 1, |event| event.publish_timestamp = NOW + 60_001));
        let mut get = signed(body("demo", "in", 1, |_| ()));
        *get.method_mut() = Method::GET;
        let mut forged = signed(body("demo", "in", 1, |_| ()));
        *forged.body_mut() = Bytes::from(body("demo", "in", 2, |_| ()));
        for (request, status, code) in [
            (stale, 403, "event_too_old"),
            (future, 403, "event_from_the_future"),
            (get, 405, "method_not_allowed"),
            (forged, 403, "signature_wrong"),
            (signed("{}".into()), 400, "not_an_event"),
            (signed(body("demo", "b", 1, |_| ())), 422, "feeds_itself"),
            (signed(" ".repeat(MAX_BODY + 1)), 413, "body_too_large"),
        ] {
            let (actual, body) = respond(&webhook, request).await;
            assert_eq!((actual, body["code"].as_str()), (status, Some(code)));
        }
        assert_eq!(publisher.calls(), 0);
    }

    #[tokio::test]
    async fn ignores_event_without_route() {
        let publisher = Arc::default();
        let webhook = routed(&publisher, Routes::default(), RequestLog::Off);
        let (status, body) = respond(&webhook, signed(body("demo", "in", 1, |_| ()))).await;
        assert_eq!((status, body), (200, json!({"status": "ignored"})));
        assert_eq!(publisher.calls(), 0);
    }
}
