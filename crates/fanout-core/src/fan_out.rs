//! One event to all its destinations at once, with an outcome for each.
//!
//! Transforms and publishes go hand in hand: what chains have in common is done once, and a text is published
//! as soon as its own chain has come to its end. Failures that may pass are tried again, each destination by
//! itself: one that hangs keeps no other from being served, and none is waited for beyond the deadline.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join, join_all};
use serde::ser::{Serialize, SerializeMap, Serializer};
use tokio::time::{Instant, sleep, timeout_at};

use crate::dedupe::DestinationProgress;
use crate::destination::{
    Accepted, AwsDestination, AwsSender, DeliveryError, Fields, NoAws, Publisher, RequestError, Sent, Target,
    Topic,
};
use crate::reason::Reason;
use crate::retry::RetryPolicy;
use crate::route::{Plan, To};
use crate::transform::{Branch, Context, Message, OnFailure, TransformError, Transformed, Tree};

/// A try that could not take at least this long is not begun: nobody would learn what came of it.
const LEAST_ATTEMPT: Duration = Duration::from_millis(20);

/// Serves many destinations at once.
#[derive(Debug)]
pub struct FanOut<P> {
    publisher: P,
    sender: Arc<dyn AwsSender>,
    retry: RetryPolicy,
}

/// What became of one destination.
#[derive(Debug)]
pub struct Delivery<'d> {
    /// The destination.
    pub target: Target<'d>,
    /// What became of it.
    pub outcome: DeliveryOutcome,
}

/// What became of one destination.
#[derive(Clone, Debug)]
pub enum DeliveryOutcome {
    /// It took the text, after this many tries.
    Published {
        /// Tries, the good one included.
        attempts: u32,
    },
    /// It has had what is its share from an earlier delivery of the same event.
    AlreadyPublished,
    /// At an earlier delivery of the same event it was decided that it gets no text.
    AlreadyDropped,
    /// A transform decided that it gets no text.
    Dropped {
        /// Which one.
        transform: String,
        /// Why.
        reason: String,
    },
    /// A transform could not do its work.
    NotTransformed {
        /// Which one.
        transform: String,
        /// What went wrong.
        reason: Reason,
        /// The same in words.
        detail: Cow<'static, str>,
    },
    /// Its name cannot be made, or something else that it needs: the event has no such field.
    Unnamed {
        /// The field.
        missing: String,
    },
    /// The text is none for it.
    RequestError {
        /// What is wrong with it.
        reason: Reason,
        /// The same in words.
        detail: Cow<'static, str>,
    },
    /// It did not take the text, in this many tries.
    Failed {
        /// Tries in all; none where the deadline had come before.
        attempts: u32,
        /// What the last of them came to.
        reason: Reason,
    },
}

/// What all destinations of one event share.
#[derive(Clone, Copy, Debug)]
struct Task<'t> {
    plan: &'t Plan<'t>,
    context: &'t Context<'t>,
    xray: Option<&'t str>,
    deadline: Instant,
}

/// A destination, by its place, and what became of it.
type Served = (usize, DeliveryOutcome);

impl<P: Publisher> FanOut<P> {
    /// Publishes through `publisher`, and tries again as `retry` says.
    pub fn new(publisher: P, retry: RetryPolicy) -> Self {
        Self { publisher, sender: Arc::new(NoAws), retry }
    }

    /// The same, and what is no topic through `sender`, which tries again by itself.
    #[must_use]
    pub fn with_sender(self, sender: Arc<dyn AwsSender>) -> Self {
        Self { sender, ..self }
    }

    /// Waits for what publishing has begun and did not wait for.
    pub async fn settled(&self) {
        self.publisher.settled().await;
    }

    /// Serves the destinations of `plan` that are pending by `progress`; without it, all of them. `xray` is the tracing
    /// header that AWS destinations pass on.
    ///
    /// Returns an outcome for each destination of the plan, in the plan's order, by `deadline`.
    pub async fn serve(
        &self,
        plan: &Plan<'_>,
        progress: Option<&[DestinationProgress]>,
        xray: Option<&str>,
        deadline: Instant,
    ) -> Vec<DeliveryOutcome> {
        let now = Instant::now();
        // A quarter of the time is left to publish what a transform passes on after it has hung.
        let context = plan.context(now + deadline.saturating_duration_since(now) / 4 * 3);
        let task = Task { plan, context: &context, xray, deadline };
        let count = plan.destinations().len();
        let mut outcomes = match progress {
            None => vec![None; count],
            Some(progress) => progress.iter().copied().map(DeliveryOutcome::of_earlier).collect(),
        };
        assert_eq!(outcomes.len(), count, "the progress has an entry for each destination");
        let pending = progress.map(|_| {
            let pending = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_none());
            pending.map(|(index, _)| index).collect::<Vec<_>>()
        });
        let tree = plan.tree(pending.as_deref());
        for (index, outcome) in self.tree(task, &tree, Message::new(plan.text())).await {
            *outcomes.get_mut(index).expect("the tree has the indexes of the plan") = Some(outcome);
        }
        let outcomes = outcomes.into_iter();
        outcomes.map(|outcome| outcome.expect("the tree has every pending destination")).collect()
    }

    /// Serves all destinations of `tree`.
    async fn tree(&self, task: Task<'_>, tree: &Tree, message: Message<'_>) -> Vec<Served> {
        let publishes =
            join_all(tree.destinations.iter().map(|place| self.destination(task, *place, &message)));
        if tree.branches.is_empty() {
            return publishes.await;
        }
        let branches = join_all(tree.branches.iter().map(|branch| self.branch(task, branch, &message)));
        let (mut served, behind) = join(publishes, branches).await;
        served.extend(behind.into_iter().flatten());
        served
    }

    /// Applies one transform, and serves all destinations behind it.
    fn branch<'b>(
        &'b self,
        task: Task<'b>,
        branch: &'b Branch,
        message: &'b Message<'b>,
    ) -> BoxFuture<'b, Vec<Served>> {
        Box::pin(async move {
            let name = branch.stage.name();
            let applying = branch.stage.transform().apply(message.borrowed(), task.context);
            let applied = match timeout_at(task.context.deadline, applying).await {
                Ok(applied) => applied,
                Err(_) => Err(TransformError::new(Reason::TimedOut, "it did not end in time")),
            };
            match applied {
                Ok(Transformed::Message(next)) => {
                    let behind = branch.behind.iter().map(|(_, tree)| self.tree(task, tree, next.borrowed()));
                    join_all(behind).await.into_iter().flatten().collect()
                }
                Ok(Transformed::Dropped(reason)) => {
                    let dropped =
                        DeliveryOutcome::Dropped { transform: name.to_owned(), reason: reason.into_owned() };
                    branch.places().into_iter().map(|place| (place, dropped.clone())).collect()
                }
                Err(error) => {
                    tracing::debug!(transform = name, %error, source = ?error.source, "transform failed");
                    let behind = branch.behind.iter().map(|(on_failure, tree)| {
                        self.not_transformed(task, (name, *on_failure), &error, tree, message)
                    });
                    join_all(behind).await.into_iter().flatten().collect()
                }
            }
        })
    }

    /// What becomes of the destinations behind a transform that failed.
    async fn not_transformed(
        &self,
        task: Task<'_>,
        (name, on_failure): (&str, OnFailure),
        error: &TransformError,
        tree: &Tree,
        message: &Message<'_>,
    ) -> Vec<Served> {
        let transform = name.to_owned();
        let outcome = match on_failure {
            OnFailure::Pass => return self.tree(task, tree, message.borrowed()).await,
            OnFailure::Drop => DeliveryOutcome::Dropped { transform, reason: format!("failed: {error}") },
            OnFailure::Fail => DeliveryOutcome::NotTransformed {
                transform,
                reason: error.reason,
                detail: error.detail.clone(),
            },
        };
        tree.places().into_iter().map(|place| (place, outcome.clone())).collect()
    }

    async fn destination(&self, task: Task<'_>, index: usize, message: &Message<'_>) -> Served {
        let planned = task.plan.destinations().get(index).expect("the tree has the indexes of the plan");
        let destination =
            task.plan.route().destinations().get(index).expect("a plan has the destinations of its route");
        let outcome = match (&planned.error, &destination.to) {
            (Some(error), _) => error.clone().into(),
            (None, To::Topic(_)) => {
                let topic = planned.target.topic().expect("the target of a topic is a topic");
                self.publish(topic, &message.text, task.deadline).await
            }
            (None, To::Aws(aws_destination)) => {
                let fields = Fields::new(task.context, destination, message);
                self.send_to_aws(aws_destination, task, &fields).await
            }
        };
        (index, outcome)
    }

    async fn send_to_aws(
        &self,
        aws_destination: &AwsDestination,
        task: Task<'_>,
        fields: &Fields<'_>,
    ) -> DeliveryOutcome {
        let request = match aws_destination.request(fields) {
            Ok(request) => request,
            Err(error) => return error.into(),
        };
        let sent = self.sender.send(&request, task.xray, task.deadline).await;
        if let Err(error) = &sent.result {
            tracing::debug!(kind = aws_destination.kind(), reason = %error.reason, source = ?error.source, "not taken");
        }
        DeliveryOutcome::of(&sent)
    }

    async fn publish(&self, topic: &Topic<'_>, text: &str, deadline: Instant) -> DeliveryOutcome {
        let is_too_late = |start: Instant| start + LEAST_ATTEMPT > deadline;
        if is_too_late(Instant::now()) {
            return DeliveryOutcome::Failed { attempts: 0, reason: Reason::TimedOut };
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.attempt(topic, text, deadline).await {
                Ok(()) => return DeliveryOutcome::Published { attempts },
                Err(error) => error,
            };
            let backoff = self.retry.backoff(attempts, &mut rand::rng());
            let is_last = attempts >= self.retry.max_attempts || is_too_late(Instant::now() + backoff);
            let reason = error.reason;
            if is_last || !reason.is_transient() {
                return DeliveryOutcome::Failed { attempts, reason };
            }
            tracing::debug!(cache = %topic.cache, topic = %topic.topic, attempts, %reason, "publish tried again");
            sleep(backoff).await;
        }
    }

    async fn attempt(&self, topic: &Topic<'_>, text: &str, deadline: Instant) -> Result<(), DeliveryError> {
        let end = deadline.min(Instant::now() + self.retry.attempt_timeout);
        match timeout_at(end, self.publisher.publish(topic, text)).await {
            Ok(result) => result,
            Err(_) => Err(DeliveryError { reason: Reason::TimedOut, source: None }),
        }
    }
}

impl From<RequestError> for DeliveryOutcome {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Missing(missing) => Self::Unnamed { missing },
            RequestError::Refused { reason, detail } => Self::RequestError { reason, detail },
        }
    }
}

impl DeliveryOutcome {
    /// What has become of a destination whose request was sent.
    #[must_use]
    pub const fn of(sent: &Sent) -> Self {
        let attempts = sent.attempts;
        match &sent.result {
            Ok(Accepted::Created) => Self::Published { attempts },
            Ok(Accepted::Duplicate) => Self::AlreadyPublished,
            Err(error) => Self::Failed { attempts, reason: error.reason },
        }
    }

    /// Returns the outcome that an earlier delivery of the same event has decided.
    const fn of_earlier(progress: DestinationProgress) -> Option<Self> {
        match progress {
            DestinationProgress::Pending => None,
            DestinationProgress::Published => Some(Self::AlreadyPublished),
            DestinationProgress::Dropped => Some(Self::AlreadyDropped),
        }
    }

    /// Returns the progress that this outcome leaves behind for a later delivery of the same event.
    #[must_use]
    pub const fn progress(&self) -> DestinationProgress {
        match self {
            Self::Published { .. } | Self::AlreadyPublished => DestinationProgress::Published,
            Self::Dropped { .. } | Self::AlreadyDropped => DestinationProgress::Dropped,
            Self::NotTransformed { .. }
            | Self::Unnamed { .. }
            | Self::RequestError { .. }
            | Self::Failed { .. } => DestinationProgress::Pending,
        }
    }

    /// Whether nothing is left to do for the destination: it has the text, from this delivery or an earlier
    /// one, or is to have none.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.failure().is_none()
    }

    /// Why the destination does not have the text that it should have.
    #[must_use]
    pub const fn failure(&self) -> Option<Reason> {
        match self {
            Self::Published { .. } | Self::AlreadyPublished | Self::AlreadyDropped | Self::Dropped { .. } => {
                None
            }
            Self::NotTransformed { reason, .. }
            | Self::Failed { reason, .. }
            | Self::RequestError { reason, .. } => Some(*reason),
            Self::Unnamed { .. } => Some(Reason::InvalidArgument),
        }
    }

    /// Whether it was decided, now or before, that the destination is to have no text.
    #[must_use]
    pub const fn is_dropped(&self) -> bool {
        matches!(self, Self::AlreadyDropped | Self::Dropped { .. })
    }

    /// One word for it.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self {
            Self::Published { .. } => "published",
            Self::AlreadyPublished => "already_published",
            Self::AlreadyDropped => "already_dropped",
            Self::Dropped { .. } => "dropped",
            Self::NotTransformed { reason, .. } | Self::Failed { reason, .. } if reason.is_transient() => {
                "failed"
            }
            Self::NotTransformed { .. }
            | Self::Failed { .. }
            | Self::RequestError { .. }
            | Self::Unnamed { .. } => "refused",
        }
    }
}

/// As the answer and the log show it.
impl Serialize for Delivery<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.serialize_into(&mut map)?;
        map.end()
    }
}

impl Delivery<'_> {
    /// Adds its members to a JSON object that is being written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn serialize_into<M: SerializeMap>(&self, delivery: &mut M) -> Result<(), M::Error> {
        self.target.serialize_into(delivery)?;
        delivery.serialize_entry("status", self.outcome.status())?;
        if let Some(reason) = self.outcome.failure() {
            delivery.serialize_entry("reason", &reason)?;
        }
        match &self.outcome {
            DeliveryOutcome::AlreadyPublished | DeliveryOutcome::AlreadyDropped => {}
            DeliveryOutcome::Published { attempts } | DeliveryOutcome::Failed { attempts, .. } => {
                delivery.serialize_entry("attempts", attempts)?;
            }
            DeliveryOutcome::Dropped { transform, reason } => {
                delivery.serialize_entry("reason", reason)?;
                delivery.serialize_entry("transform", transform)?;
            }
            DeliveryOutcome::NotTransformed { transform, detail, .. } => {
                delivery.serialize_entry("transform", transform)?;
                delivery.serialize_entry("detail", detail)?;
            }
            DeliveryOutcome::RequestError { detail, .. } => delivery.serialize_entry("detail", detail)?,
            DeliveryOutcome::Unnamed { missing } => {
                delivery.serialize_entry("detail", &format!("the event has no {missing}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::ready;

    use super::*;
    use crate::names::TopicName;
    use crate::route::{Destination, Routes};
    use crate::testing::TIMEOUT;
    use crate::testing::{Failure, FakePublisher, event};
    use crate::transform::{Applying, Stage, Transform};

    const EVER: usize = 1_000;

    /// Counts how often it is applied, and does as it is told.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Probe {
        calls: Arc<AtomicUsize>,
        fails: bool,
        hangs: bool,
    }

    impl Transform for Probe {
        fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> Applying<'t> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            if self.hangs {
                return Box::pin(std::future::pending());
            }
            if self.fails {
                return Box::pin(ready(Err(TransformError::new(Reason::RateLimited, "too much"))));
            }
            let text = format!("{}!", message.text);
            message.with_text(text).done()
        }
    }

    fn probe(name: &'static str, probe: &Probe, on_failure: OnFailure) -> Stage {
        Stage::new(name.into(), "{}".into(), on_failure, true, Arc::new(probe.clone()))
    }

    /// Serves the topics with these chains.
    async fn serve(fan_out: &FanOut<FakePublisher>, chains: &[(&str, Vec<Stage>)]) -> Vec<DeliveryOutcome> {
        serve_within(fan_out, chains, TIMEOUT).await
    }

    async fn serve_within(
        fan_out: &FanOut<FakePublisher>,
        chains: &[(&str, Vec<Stage>)],
        time: Duration,
    ) -> Vec<DeliveryOutcome> {
        let destination = |(name, chain): &(&str, Vec<Stage>)| {
            Destination::verbatim(None, &TopicName::new(*name).unwrap(), chain.clone())
        };
        let routes = Routes::one(chains.iter().map(destination).collect());
        let event = event("c", "in", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        fan_out.serve(&plan, None, None, Instant::now() + time).await
    }

    async fn publish(publisher: FakePublisher, names: &[&str]) -> (Vec<DeliveryOutcome>, Duration, usize) {
        let fan_out = FanOut::new(publisher, RetryPolicy::PUBLISH);
        let start = Instant::now();
        let chains: Vec<_> = names.iter().map(|name| (*name, Vec::new())).collect();
        let outcomes = serve(&fan_out, &chains).await;
        (outcomes, start.elapsed(), fan_out.publisher.calls())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again() {
        for reason in [Reason::Unavailable, Reason::TimedOut, Reason::RateLimited, Reason::Internal] {
            let publisher = FakePublisher::default().fail("a", Failure::Because(reason), 2);
            let (outcomes, _, calls) = publish(publisher, &["a"]).await;
            assert!(matches!(outcomes[0], DeliveryOutcome::Published { attempts: 3 }), "{reason}");
            assert_eq!(calls, 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_for_good_is_not_tried_again() {
        for reason in [
            Reason::InvalidArgument,
            Reason::TooLarge,
            Reason::NotFound,
            Reason::PermissionDenied,
            Reason::Unauthenticated,
        ] {
            let publisher = FakePublisher::default().fail("a", Failure::Because(reason), EVER);
            let (outcomes, took, calls) = publish(publisher, &["a"]).await;
            assert_eq!(outcomes[0].failure(), Some(reason));
            assert_eq!((calls, took), (1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_the_last_try() {
        let publisher = FakePublisher::default().fail("a", Failure::Because(Reason::Unavailable), EVER);
        let (outcomes, took, calls) = publish(publisher, &["a"]).await;
        assert!(matches!(outcomes[0], DeliveryOutcome::Failed { attempts: 5, .. }));
        assert_eq!(calls, 5);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_keeps_no_other_and_ends_at_the_deadline() {
        let publisher = FakePublisher::default().fail("b", Failure::Hangs, EVER);
        let (outcomes, took, _) = publish(publisher, &["a", "b", "c"]).await;
        let done: Vec<_> = outcomes.iter().map(DeliveryOutcome::is_done).collect();
        assert_eq!(done, [true, false, true]);
        assert_eq!(outcomes[1].failure(), Some(Reason::TimedOut));
        assert!(took <= TIMEOUT, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_hang_is_got_over_within_the_deadline() {
        let publisher = FakePublisher::default().fail("a", Failure::Hangs, 1);
        let (outcomes, took, _) = publish(publisher, &["a"]).await;
        assert!(matches!(outcomes[0], DeliveryOutcome::Published { attempts: 2 }));
        assert!(took < Duration::from_millis(1_200), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_time_nothing_is_begun() {
        for left in [0, 19] {
            let fan_out = FanOut::new(FakePublisher::default(), RetryPolicy::PUBLISH);
            let time = Duration::from_millis(left);
            let outcomes = serve_within(&fan_out, &[("a", Vec::new())], time).await;
            assert!(matches!(outcomes[0], DeliveryOutcome::Failed { attempts: 0, .. }), "{left} ms");
            assert_eq!(outcomes[0].failure(), Some(Reason::TimedOut));
            assert_eq!(fan_out.publisher.calls(), 0, "{left} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_chains_have_in_common_is_done_once() {
        let fan_out = FanOut::new(FakePublisher::default(), RetryPolicy::PUBLISH);
        let [common, own] = [(); 2].map(|()| Probe::default());
        let first = || probe("common", &common, OnFailure::Fail);
        let then = |name| vec![first(), probe(name, &own, OnFailure::Fail)];
        let chains = [("a", then("x")), ("b", then("y")), ("c", vec![first()]), ("d", then("x"))];
        serve(&fan_out, &chains).await;
        assert_eq!((common.calls.load(Ordering::Relaxed), own.calls.load(Ordering::Relaxed)), (1, 2));
        let mut texts = fan_out.publisher.published();
        texts.sort_unstable();
        let texts: Vec<_> = texts.iter().map(|(_, topic, text)| (topic.as_str(), text.as_str())).collect();
        assert_eq!(texts, [("a", "Hello!!"), ("b", "Hello!!"), ("c", "Hello!"), ("d", "Hello!!")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_transform_that_fails_does_to_each_destination_what_was_asked_for() {
        let fan_out = FanOut::new(FakePublisher::default(), RetryPolicy::PUBLISH);
        let failing = Probe { fails: true, ..Probe::default() };
        let chain = |on_failure| vec![probe("failing", &failing, on_failure)];
        let chains = [
            ("a", chain(OnFailure::Fail)),
            ("b", chain(OnFailure::Drop)),
            ("c", chain(OnFailure::Pass)),
            ("d", Vec::new()),
        ];
        let outcomes = serve(&fan_out, &chains).await;
        let statuses: Vec<_> = outcomes.iter().map(DeliveryOutcome::status).collect();
        assert_eq!(statuses, ["failed", "dropped", "published", "published"]);
        assert_eq!(outcomes[0].failure(), Some(Reason::RateLimited));
        assert_eq!(failing.calls.load(Ordering::Relaxed), 1);
        assert!(fan_out.publisher.published().iter().all(|(_, _, text)| text == "Hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_transform_that_hangs_leaves_time_to_publish_what_passes() {
        let fan_out = FanOut::new(FakePublisher::default(), RetryPolicy::PUBLISH);
        let hanging = Probe { hangs: true, ..Probe::default() };
        let chain = |on_failure| vec![probe("hanging", &hanging, on_failure)];
        let chains = [("a", chain(OnFailure::Fail)), ("b", chain(OnFailure::Pass)), ("c", Vec::new())];
        let start = Instant::now();
        let outcomes = serve(&fan_out, &chains).await;
        let statuses: Vec<_> = outcomes.iter().map(DeliveryOutcome::status).collect();
        assert_eq!(statuses, ["failed", "published", "published"]);
        assert_eq!(outcomes[0].failure(), Some(Reason::TimedOut));
        assert_eq!(start.elapsed(), TIMEOUT / 4 * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn serves_pending_destinations_only() {
        use DestinationProgress::{Dropped, Pending, Published};
        let (outcomes, published) = serve_after(&[Published, Pending, Dropped]).await;
        let statuses: Vec<_> = outcomes.iter().map(DeliveryOutcome::status).collect();
        assert_eq!(statuses, ["already_published", "published", "already_dropped"]);
        assert_eq!(published, ["b"]);
    }

    /// An index that is out of step would otherwise make a lost message look delivered.
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "the progress has an entry for each destination")]
    async fn panics_on_progress_of_another_plan() {
        serve_after(&[DestinationProgress::Published; 2]).await;
    }

    /// Serves three topics that have this progress.
    async fn serve_after(progress: &[DestinationProgress]) -> (Vec<DeliveryOutcome>, Vec<String>) {
        let fan_out = FanOut::new(FakePublisher::default(), RetryPolicy::PUBLISH);
        let destination = |name| Destination::verbatim(None, &TopicName::new(name).unwrap(), Vec::new());
        let routes = Routes::one(["a", "b", "c"].map(destination).into());
        let event = event("c", "in", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        let outcomes = fan_out.serve(&plan, Some(progress), None, Instant::now() + TIMEOUT).await;
        let published = fan_out.publisher.published().into_iter().map(|(_, topic, _)| topic).collect();
        (outcomes, published)
    }

    #[test]
    fn a_delivery_says_what_became_of_it() {
        let shown = |outcome| {
            serde_json::to_string(&Delivery { target: Target::Topic(Topic::new("c", "t")), outcome }).unwrap()
        };
        let failed = |reason| DeliveryOutcome::Failed { attempts: 2, reason };
        for (outcome, expected) in [
            (DeliveryOutcome::Published { attempts: 1 }, r#""status":"published","attempts":1"#),
            (DeliveryOutcome::AlreadyPublished, r#""status":"already_published""#),
            (DeliveryOutcome::AlreadyDropped, r#""status":"already_dropped""#),
            (failed(Reason::TimedOut), r#""status":"failed","reason":"timed_out","attempts":2"#),
            (failed(Reason::TooLarge), r#""status":"refused","reason":"too_large","attempts":2"#),
            (
                DeliveryOutcome::Dropped { transform: "filter".into(), reason: "why".into() },
                r#""status":"dropped","reason":"why","transform":"filter""#,
            ),
            (
                DeliveryOutcome::NotTransformed {
                    transform: "translate".into(),
                    reason: Reason::RateLimited,
                    detail: "why".into(),
                },
                r#""status":"failed","reason":"rate_limited","transform":"translate","detail":"why""#,
            ),
            (
                DeliveryOutcome::Unnamed { missing: "token_id".into() },
                r#""status":"refused","reason":"invalid_argument","detail":"the event has no token_id""#,
            ),
            (
                DeliveryOutcome::RequestError { reason: Reason::TooLarge, detail: "why".into() },
                r#""status":"refused","reason":"too_large","detail":"why""#,
            ),
        ] {
            assert_eq!(shown(outcome), format!(r#"{{"cache":"c","topic":"t",{expected}}}"#));
        }
    }
}
