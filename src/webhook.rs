//! The HTTP edge: a request in, an answer out, and a line in the journal.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use momento_webhook::freshness::Window;
use momento_webhook::momento::SignatureError;
use momento_webhook::{Event, Millis, SigningSecret, Verified, momento};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::request_log::{LogRecord, RequestLog};
use crate::response::{self, Outcome, Refusal};
use crate::secrets::{Refreshed, Rotating};
use crate::trace::TraceContext;
pub use fanout_core::clock::{Clock, SystemClock};
use fanout_core::dead_letter::{DeadLetters, Letter, NoSuchDestination};
use fanout_core::dedupe::{Dedupe, DestinationProgress, Progress};
use fanout_core::destination::Publisher;
use fanout_core::fan_out::{Delivery, DeliveryOutcome, FanOut};
use fanout_core::reason::Reason;
use fanout_core::route::Routes;

/// The most bytes of a body that are read. A message has at most 4 KB, which JSON escapes make six
/// times as long at worst; ten times that leaves room for accounts with a raised limit.
pub const MAX_BODY: usize = 256 * 1024;

/// How long a request may take until its answer is out: senders stop waiting at 5 s, and their
/// connection, the gateway and the start of an environment take their part of that.
pub const TIME_TO_ANSWER: Duration = Duration::from_secs(4);

/// The function: everything between a request and its answer.
#[derive(Debug)]
pub struct Webhook<P, C = SystemClock> {
    secrets: Rotating<Vec<SigningSecret>>,
    window: Window,
    routes: Routes,
    dedupe: Dedupe,
    fan_out: FanOut<P>,
    dead_letters: Option<DeadLetters>,
    journal: RequestLog,
    clock: C,
}

/// A message of a queue.
#[derive(Debug)]
pub struct Queued {
    /// What the queue calls the message.
    pub id: String,
    /// The name of the queue.
    pub queue: String,
    /// What is in it: an event as a webhook brings it, or a dead letter.
    pub body: String,
    /// The signatures beside it. Where there are any, one has to be right.
    pub signatures: Vec<String>,
    /// The trace that it is part of.
    pub trace: Option<TraceContext>,
    /// How long it may take.
    pub time_left: Duration,
}

/// How an event has come.
#[derive(Clone, Copy, Debug)]
enum Origin<'l> {
    /// As a request, whose sender may never try again.
    Request,
    /// From the queue of this name, which will; and the dead letter that it was in.
    Queue(&'l str, Option<&'l Letter>),
}

/// What a dead letter may take to be written. It is kept free before the end of the time for an answer.
const TIME_FOR_LETTER: Duration = Duration::from_secs(1);

/// A request, as any of the listeners hands it over.
#[derive(Debug)]
pub struct Inbound {
    /// The request itself; the body as it was sent, and empty where `fault` says why there is none.
    pub request: Request<Bytes>,
    /// Why there is no whole request.
    pub fault: Option<Refusal>,
    /// What the platform calls it.
    pub id: Option<String>,
    /// The platform's own trace, where it has one.
    pub trace: Option<TraceContext>,
    /// How long the answer may take. It is never given more than [`TIME_TO_ANSWER`].
    pub time_left: Duration,
}

/// The signing secrets of the sender, and the maximum age of an event.
#[derive(Debug)]
pub struct Signing {
    /// The secrets that are accepted.
    pub secrets: Rotating<Vec<SigningSecret>>,
    /// The maximum age; zero for no limit.
    pub max_age: Duration,
}

impl From<Request<Bytes>> for Inbound {
    fn from(request: Request<Bytes>) -> Self {
        Self { request, fault: None, id: None, trace: None, time_left: TIME_TO_ANSWER }
    }
}

impl<P: Publisher> Webhook<P> {
    /// A function that accepts what `signing` proves, and sends it on by `routes` through `fan_out`.
    pub fn new(signing: Signing, routes: Routes, fan_out: FanOut<P>, journal: RequestLog) -> Self {
        Self {
            secrets: signing.secrets,
            window: Window::new(signing.max_age),
            routes,
            dedupe: Dedupe::default(),
            fan_out,
            dead_letters: None,
            journal,
            clock: SystemClock,
        }
    }

    /// The same, and what destinations did not take is kept as `dead_letters` says.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: Option<DeadLetters>) -> Self {
        Self { dead_letters, ..self }
    }

    /// The same with another clock.
    pub fn with_clock<C: Clock>(self, clock: C) -> Webhook<P, C> {
        let Self { secrets, window, routes, dedupe, fan_out, dead_letters, journal, .. } = self;
        Webhook { secrets, window, routes, dedupe, fan_out, dead_letters, journal, clock }
    }
}

impl<P: Publisher, C: Clock> Webhook<P, C> {
    /// Answers one request.
    pub async fn handle(&self, inbound: impl Into<Inbound>) -> Response<Bytes> {
        let inbound = inbound.into();
        if inbound.fault.is_none() && is_about_health(&inbound.request) {
            return response::health();
        }
        let started = Instant::now();
        let now = self.clock.now();
        let deadline = started + inbound.time_left.min(TIME_TO_ANSWER);
        let mut entry = LogRecord::new(now, inbound.id);
        entry.in_trace(inbound.trace.as_ref().map(TraceContext::trace));

        let proven = match inbound.fault {
            Some(fault) => Err(fault),
            None => self.prove(&inbound.request, deadline).await,
        };
        let event = match proven {
            Ok(event) => event,
            Err(refusal) => return self.end(entry, &Outcome::Refused(refusal), started),
        };
        // Only now: what a stranger sends begins no trace, and nobody gets into the journal by a header alone.
        let trace = TraceContext::of_request(inbound.request.headers(), inbound.trace.as_ref());
        entry.of(&event, now);
        entry.in_trace(trace.as_ref().map(TraceContext::trace));
        let outcome = match self.window.check(event.publish_timestamp, now) {
            Ok(_) => self.process(&event, Origin::Request, now, trace.as_ref(), deadline).await,
            Err(error) => Outcome::Refused(error.into()),
        };
        self.end(entry, &outcome, started)
    }

    /// Handles one message of a queue; gives whether it is done with. What is not comes again, as often as the
    /// queue has it, and is then where the queue sends what nobody could handle.
    pub async fn take(&self, queued: Queued) -> bool {
        let started = Instant::now();
        let now = self.clock.now();
        let deadline = started + queued.time_left;
        let mut entry = LogRecord::new(now, Some(queued.id.clone())).from_queue(queued.queue.clone());
        entry.in_trace(queued.trace.as_ref().map(TraceContext::trace));
        let content = match self.read(&queued, deadline).await {
            Ok(content) => content,
            Err(refusal) => {
                self.tell(entry, &Outcome::Refused(refusal), started);
                return false;
            }
        };
        let (event, letter) = match &content {
            Content::Event(event) => (event, None),
            Content::Letter(letter) => (&letter.event, Some(letter)),
        };
        let trace = queued.trace.as_ref();
        entry.of(event, now);
        let origin = Origin::Queue(&queued.queue, letter);
        let outcome = self.process(event, origin, now, trace, deadline).await;
        self.tell(entry, &outcome, started);
        outcome.status().is_success()
    }

    /// Reads a message. It is trusted for where it comes from; a signature that is there is looked at all the same.
    async fn read(&self, queued: &Queued, deadline: Instant) -> Result<Content, Refusal> {
        let body = queued.body.as_bytes();
        if queued.signatures.is_empty() {
            return Ok(match Letter::read(&queued.body)? {
                Some(letter) => Content::Letter(letter),
                None => Content::Event(Verified::trusted(body).event()?),
            });
        }
        let signatures = || queued.signatures.iter().map(String::as_bytes);
        Ok(Content::Event(self.verify(body, signatures, deadline).await?.event()?))
    }

    /// Waits for what its requests have begun and did not wait for, of which nothing may be left when the platform
    /// makes everything stand still.
    pub async fn settled(&self) {
        tokio::join!(self.secrets.settled(), self.fan_out.settled());
    }

    fn end(&self, entry: LogRecord, outcome: &Outcome<'_>, started: Instant) -> Response<Bytes> {
        let destinations = self.tell(entry, outcome, started);
        outcome.response(destinations.as_deref())
    }

    /// Writes the line of the journal; gives what became of each destination, which the answer shows as well.
    fn tell(&self, entry: LogRecord, outcome: &Outcome<'_>, started: Instant) -> Option<Box<RawValue>> {
        let took = started.elapsed();
        let destinations = outcome.destinations();
        self.journal.write(&entry.ended(outcome, destinations.as_deref(), took));
        destinations
    }

    /// Proves a request genuine, and reads it.
    async fn prove(&self, request: &Request<Bytes>, deadline: Instant) -> Result<Verified<Event>, Refusal> {
        if request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        if request.body().len() > MAX_BODY {
            return Err(Refusal::BodyTooLarge { limit: MAX_BODY });
        }
        let signatures = || {
            let signatures = request.headers().get_all(momento::SIGNATURE_HEADER);
            signatures.iter().map(http::HeaderValue::as_bytes)
        };
        Ok(self.verify(request.body(), signatures, deadline).await?.event()?)
    }

    /// Proves bytes by one of these signatures.
    async fn verify<'s, B: AsRef<[u8]> + Copy, S: Iterator<Item = &'s [u8]>>(
        &self,
        body: B,
        signatures: impl Fn() -> S,
        deadline: Instant,
    ) -> Result<Verified<B>, Refusal> {
        let mut secrets = self.secrets.current();
        loop {
            match momento::verify(&secrets, body, signatures()) {
                Err(SignatureError::Mismatch) => {}
                verified => return Ok(verified?),
            }
            // The secret may have changed. Other requests do not wait.
            match timeout_at(deadline, self.secrets.refresh(&secrets)).await {
                Ok(Refreshed::Changed(changed)) => secrets = changed,
                Ok(Refreshed::Unchanged) => return Err(SignatureError::Mismatch.into()),
                // It may be genuine, and then it may be sent again. A forged one gets the same answer.
                Ok(Refreshed::Unknown) | Err(_) => return Err(Refusal::SignatureUndecided),
            }
        }
    }

    /// Sends an event to the destinations that do not have it.
    async fn process<'e>(
        &'e self,
        event: &'e Verified<Event>,
        origin: Origin<'_>,
        now: Millis,
        trace: Option<&TraceContext>,
        deadline: Instant,
    ) -> Outcome<'e> {
        let plan = match self.routes.plan(event) {
            Ok(Some(plan)) => plan,
            Ok(None) => {
                return match origin {
                    // The route that it was written for is gone, and it is not: somebody may want it.
                    Origin::Queue(_, Some(_)) => Outcome::Refused(NoSuchDestination.into()),
                    Origin::Request | Origin::Queue(_, None) => Outcome::Ignored,
                };
            }
            Err(feeds_itself) => return Outcome::Refused(feeds_itself.into()),
        };
        let only = match origin {
            Origin::Queue(_, Some(letter)) => match letter.places(&plan) {
                Ok(places) => Some(places),
                Err(error) => return Outcome::Refused(error.into()),
            },
            Origin::Request | Origin::Queue(_, None) => None,
        };
        let xray = trace.map(TraceContext::to_xray);
        let claim = self.dedupe.claim(event, only.as_deref());
        let Ok(mut progress) = timeout_at(deadline, claim).await else {
            return Outcome::Busy;
        };
        let earlier = match &*progress {
            Progress::Done => return Outcome::Duplicate,
            Progress::Partial(earlier) => Some(earlier.clone()),
            Progress::New => only.as_ref().map(|only| {
                let one = |index| match only.contains(&index) {
                    true => DestinationProgress::Pending,
                    false => DestinationProgress::Published,
                };
                (0..plan.destinations().len()).map(one).collect()
            }),
        };
        let is_letter = |letters: &DeadLetters| match origin {
            Origin::Request => false,
            Origin::Queue(queue, letter) => letter.is_some() || letters.is_queue(queue),
        };
        // In a queue that keeps an order, what is written anew would be overtaken.
        let letters =
            self.dead_letters.as_ref().filter(|&letters| !(is_letter(letters) && letters.keep_order()));
        let end = if letters.is_some() {
            // Where little time is left, destinations get half of it.
            let left = deadline.saturating_duration_since(Instant::now());
            deadline.checked_sub(TIME_FOR_LETTER.min(left / 2)).unwrap_or(deadline)
        } else {
            deadline
        };
        let outcomes = self.fan_out.serve(&plan, earlier.as_deref(), xray.as_deref(), end).await;
        *progress = Progress::of(outcomes.iter().map(DeliveryOutcome::progress));
        let route = plan.route();
        let deliveries =
            plan.into_targets().zip(outcomes).map(|(target, outcome)| Delivery { target, outcome });
        let deliveries: Vec<_> = deliveries.collect();
        let is_due = |letters: &&DeadLetters| match origin {
            Origin::Request => deliveries.iter().any(|one| one.outcome.failure().is_some()),
            Origin::Queue(..) => {
                let is_asked = |place: &usize| only.as_deref().is_none_or(|only| only.contains(place));
                is_due_from_queue(&deliveries, is_asked, is_letter(letters))
            }
        };
        let Some(letters) = letters.filter(is_due) else { return Outcome::Delivered(deliveries) };
        match letters.send(event, route, &deliveries, now, xray.as_deref(), deadline).await {
            Ok(()) => {
                *progress = Progress::Done;
                Outcome::DeadLettered(deliveries)
            }
            // The sender is told what it would be told without: some do try again.
            Err(error) => {
                let (topic, number) = (&event.topic, event.topic_sequence_number);
                let (reason, source) = (error.reason, error.source);
                tracing::error!(%topic, number, %reason, ?source, "dead letter not written");
                Outcome::Delivered(deliveries)
            }
        }
    }
}

/// Whether what has become of a message of a queue is to be written down. The queue brings it again by itself, but for
/// all of its destinations: so it is where some of them have it by now, and where none will ever take it. What is
/// a letter already is written anew only for fewer destinations: else it would go round for ever.
fn is_due_from_queue(
    deliveries: &[Delivery<'_>],
    is_asked: impl Fn(&usize) -> bool,
    is_letter: bool,
) -> bool {
    let mut failures = deliveries.iter().filter_map(|one| one.outcome.failure()).peekable();
    let is_any = failures.peek().is_some();
    let is_for_good = !failures.any(Reason::is_transient);
    let mut asked = deliveries.iter().enumerate().filter(|(place, _)| is_asked(place));
    let is_partly = asked.any(|(_, one)| one.outcome.is_done() && !one.outcome.is_dropped());
    is_any && (is_partly || is_for_good && !is_letter)
}

/// What a queue can bring.
enum Content {
    Event(Verified<Event>),
    Letter(Letter),
}

/// `GET /health`, whatever the gateway has put before the path.
fn is_about_health(request: &Request<Bytes>) -> bool {
    let is_asking = matches!(*request.method(), Method::GET | Method::HEAD);
    is_asking && request.uri().path().rsplit('/').next() == Some("health")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::future::ready;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use momento_webhook::Millis;

    use super::*;
    use fanout_core::names::TopicName;
    use fanout_core::reason::Reason;
    use fanout_core::retry::RetryPolicy;
    use fanout_core::route::Destination;
    use fanout_core::testing::{Failure, FakePublisher, NOW, body, secret, stages};
    use fanout_core::transform::{
        Applying, Context, Message, OnFailure, Stage, Transform, TransformError, Transformed,
    };

    struct FixedClock;
    impl Clock for FixedClock {
        fn now(&self) -> Millis {
            NOW
        }
    }

    fn signed(body: String) -> Request<Bytes> {
        let signature = momento::sign(&secret(), body.as_bytes());
        Request::post("/").header(momento::SIGNATURE_HEADER, signature).body(body.into()).unwrap()
    }

    fn webhook(
        publisher: FakePublisher,
        topics: &[&str],
    ) -> (Webhook<Arc<FakePublisher>, FixedClock>, Arc<FakePublisher>) {
        let publisher = Arc::new(publisher);
        let secrets = Rotating::fixed(vec![secret()]);
        let signing = Signing { secrets, max_age: Duration::from_secs(60) };
        let destination = |topic: &&str| {
            Destination::verbatim(None, &TopicName::new(*topic).unwrap(), stages("['uppercase']"))
        };
        let routes = Routes::one(topics.iter().map(destination).collect());
        let fan_out = FanOut::new(Arc::clone(&publisher), RetryPolicy::PUBLISH);
        let webhook = Webhook::new(signing, routes, fan_out, RequestLog::Off).with_clock(FixedClock);
        (webhook, publisher)
    }

    async fn answer(
        webhook: &Webhook<Arc<FakePublisher>, FixedClock>,
        request: Request<Bytes>,
    ) -> (u16, serde_json::Value) {
        let response = webhook.handle(request).await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_delivery_serves_only_those_that_did_not_take_it() {
        let unavailable = Failure::Because(Reason::Unavailable);
        let failing = FakePublisher::default().fail("b", unavailable, 5).fail("d", unavailable, 5);
        let (webhook, publisher) = webhook(failing, &["a", "b", "c", "d"]);
        let statuses = |body: &serde_json::Value| -> Vec<String> {
            let destinations = body["destinations"].as_array().unwrap();
            destinations.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
        };

        let (status, first) = answer(&webhook, signed(body("demo", "in", 1, |_| ()))).await;
        assert_eq!(
            (status, statuses(&first)),
            (503, ["published", "failed", "published", "failed"].map(str::to_owned).to_vec())
        );

        let again = || signed(body("demo", "in", 1, |event| event.publish_timestamp += 1_000));
        let (status, second) = answer(&webhook, again()).await;
        assert_eq!(status, 200);
        assert_eq!(statuses(&second), ["already_published", "published", "already_published", "published"]);

        let (status, third) = answer(&webhook, again()).await;
        assert_eq!((status, third), (200, serde_json::json!({"status": "duplicate"})));

        let mut topics: Vec<_> = publisher.published().into_iter().map(|(_, topic, _)| topic).collect();
        topics.sort_unstable();
        assert_eq!(topics, ["a", "b", "c", "d"]);
        assert_eq!(publisher.published()[0], ("demo".into(), "a".into(), "HELLO".into()));
    }

    /// Fails for now at the first message, and drops all others.
    #[derive(Debug, Default)]
    struct FailsThenDrops(AtomicBool);

    impl Transform for FailsThenDrops {
        fn apply<'t>(&'t self, _: Message<'t>, _: &'t Context<'t>) -> Applying<'t> {
            Box::pin(ready(if self.0.swap(true, Ordering::Relaxed) {
                Ok(Transformed::Dropped("now it is known".into()))
            } else {
                Err(TransformError::new(Reason::Unavailable, "not now"))
            }))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dropped_before_is_not_said_to_be_published() {
        let unavailable = Failure::Because(Reason::Unavailable);
        let (mut webhook, _) = webhook(FakePublisher::default().fail("b", unavailable, 5), &[]);
        let drops = || stages("[{ filter = { equals = 'x' } }]");
        let fails_then_drops = || {
            let transform = Arc::new(FailsThenDrops::default());
            vec![Stage::new("later".into(), "{}".into(), OnFailure::Fail, true, transform)]
        };
        for (number, last, expected, overall) in [
            (1, Vec::new(), ["already_dropped", "published"], "success"),
            (2, fails_then_drops(), ["already_dropped", "dropped"], "dropped"),
        ] {
            let destination =
                |(name, chain)| Destination::verbatim(None, &TopicName::new(name).unwrap(), chain);
            webhook.routes = Routes::one([("a", drops()), ("b", last)].map(destination).into());
            let (status, _) = answer(&webhook, signed(body("demo", "in", number, |_| ()))).await;
            assert_eq!(status, 503);
            let (status, again) = answer(&webhook, signed(body("demo", "in", number, |_| ()))).await;
            let statuses = [0, 1].map(|place| again["destinations"][place]["status"].as_str().unwrap());
            assert_eq!((status, again["status"].as_str(), statuses), (200, Some(overall), expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_deliveries_at_once_publish_once() {
        let (webhook, publisher) = webhook(FakePublisher::default(), &["a"]);
        let request = || signed(body("demo", "in", 1, |_| ()));
        let ((_, first), (_, second)) =
            tokio::join!(answer(&webhook, request()), answer(&webhook, request()));
        assert_eq!(
            (first["status"].as_str(), second["status"].as_str()),
            (Some("success"), Some("duplicate"))
        );
        assert_eq!(publisher.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_delivery_does_not_wait_for_the_first_beyond_its_deadline() {
        let hanging = FakePublisher::default().fail("a", Failure::Hangs, 100);
        let (webhook, _) = webhook(hanging, &["a"]);
        let first = webhook.handle(signed(body("demo", "in", 1, |_| ())));
        let mut second = Inbound::from(signed(body("demo", "in", 1, |_| ())));
        second.time_left = Duration::from_secs(1);
        let (_, second) = tokio::join!(first, webhook.handle(second));
        assert_eq!(second.status(), 503);
        assert_eq!(second.headers()["retry-after"], "2");
    }

    #[tokio::test]
    async fn no_destination_is_called_for_what_is_refused() {
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
            let (answered, body) = answer(&webhook, request).await;
            assert_eq!((answered, body["code"].as_str()), (status, Some(code)));
        }
        assert_eq!(publisher.calls(), 0);
    }

    #[tokio::test]
    async fn an_event_without_a_route_is_ignored() {
        let (mut webhook, publisher) = webhook(FakePublisher::default(), &["a"]);
        webhook.routes = Routes::default();
        let (status, body) = answer(&webhook, signed(body("demo", "in", 1, |_| ()))).await;
        assert_eq!((status, body), (200, serde_json::json!({"status": "ignored"})));
        assert_eq!(publisher.calls(), 0);
    }
}
