//! The fan-out: one event to all its destinations at once, with an outcome for each.
//!
//! A transform that several chains begin with runs once, and a text is published as soon as its own chain ends. Each
//! destination retries transient failures by itself: a destination that hangs delays no other, and the fan-out ends at its
//! deadline.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join, join_all};
use serde::ser::{Serialize, SerializeMap, Serializer};
use tokio::time::{Instant, timeout_at};

use crate::dedupe::DestinationProgress;
use crate::destination::{
    Accepted, Fields, NoService, Publisher, RequestError, Sent, ServiceDestination, ServiceSender, Target,
    Topic,
};
use crate::reason::{Failure, Reason};
use crate::retry::RetryPolicy;
use crate::route::{Outbound, Plan, To};
use crate::transform::{Branch, Context, ItemReader, Items, Message, OnFailure, Transformed, Tree};

/// Serves all destinations of an event at once.
#[derive(Debug)]
pub struct FanOut<P> {
    publisher: P,
    sender: Arc<dyn ServiceSender>,
    reader: Option<Arc<dyn ItemReader>>,
    retry: RetryPolicy,
}

/// A destination and its outcome.
#[derive(Clone, Debug)]
pub struct Delivery<'d> {
    /// The destination.
    pub target: Target<'d>,
    /// The outcome.
    pub outcome: DeliveryOutcome,
}

/// The outcome of one destination.
#[derive(Clone, Debug)]
pub enum DeliveryOutcome {
    /// The destination accepted the text.
    Published {
        /// The number of attempts, the successful one included.
        attempts: u32,
    },
    /// An earlier delivery of the same event has served the destination.
    AlreadyPublished,
    /// An earlier delivery of the same event has dropped the text.
    AlreadyDropped,
    /// A transform dropped the text.
    Dropped {
        /// The name of the transform.
        transform: String,
        /// The reason in words.
        reason: String,
    },
    /// A transform failed.
    NotTransformed {
        /// The name of the transform.
        transform: String,
        /// The kind of failure.
        reason: Reason,
        /// A description of the failure.
        detail: Cow<'static, str>,
    },
    /// The event lacks a field of which the name, or another needed text, is made.
    Unnamed {
        /// The field.
        missing: String,
    },
    /// The destination accepts no such request.
    RequestError {
        /// The kind of failure.
        reason: Reason,
        /// A description of the failure.
        detail: Cow<'static, str>,
    },
    /// Each topic of a destination with `for_each` has an outcome of its own. There is at least one.
    ForEach(Vec<Delivery<'static>>),
    /// The destination did not accept the text.
    Failed {
        /// The number of attempts; 0 if the deadline was over.
        attempts: u32,
        /// The failure of the last attempt.
        reason: Reason,
    },
}

/// The values that all destinations of one event share.
#[derive(Clone, Copy, Debug)]
struct Task<'t> {
    plan: &'t Plan<'t>,
    progress: Option<&'t [DestinationProgress]>,
    context: &'t Context<'t>,
    xray: Option<&'t str>,
    deadline: Instant,
}

/// The index of a destination in the plan, and its outcome.
type Served = (usize, DeliveryOutcome);

impl<P: Publisher> FanOut<P> {
    /// Publishes with `publisher`, and retries by `retry`.
    pub fn new(publisher: P, retry: RetryPolicy) -> Self {
        Self { publisher, sender: Arc::new(NoService), reader: None, retry }
    }

    /// Sends requests to service destinations with `sender`, which retries by itself.
    #[must_use]
    pub fn with_sender(self, sender: Arc<dyn ServiceSender>) -> Self {
        Self { sender, ..self }
    }

    /// Reads the items for the transform `lookup` with `reader`, which retries by itself. Without it, every look-up
    /// fails.
    #[must_use]
    pub fn with_reader(self, reader: Arc<dyn ItemReader>) -> Self {
        Self { reader: Some(reader), ..self }
    }

    /// Waits for work that publishes have started and did not wait for.
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
        // If a transform hangs, a quarter of the time is left to publish the text that passes on.
        let context = plan.context(now + deadline.saturating_duration_since(now) / 4 * 3);
        let items = self.reader.clone().map(Items::new);
        let context = Context { items: items.as_ref(), ..context };
        let task = Task { plan, progress, context: &context, xray, deadline };
        let count = plan.destinations().len();
        let mut outcomes = match progress {
            None => vec![None; count],
            Some(progress) => progress.iter().map(DeliveryOutcome::of_earlier).collect(),
        };
        assert_eq!(outcomes.len(), count, "the progress has an entry for each destination");
        let pending = progress.map(|_| {
            let pending = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_none());
            pending.map(|(index, _)| index).collect::<Vec<_>>()
        });
        if plan.lacks_token_id() {
            let dropped = DeliveryOutcome::Dropped {
                transform: "require_token_id".to_owned(),
                reason: "the publisher's token has no id".to_owned(),
            };
            return outcomes.into_iter().map(|earlier| earlier.unwrap_or_else(|| dropped.clone())).collect();
        }
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
                Err(_) => Err(Failure::new(Reason::TimedOut, "it did not end in time")),
            };
            match applied {
                Ok(Transformed::Message(next)) => {
                    let behind = branch.next.iter().map(|(_, tree)| self.tree(task, tree, next.borrowed()));
                    join_all(behind).await.into_iter().flatten().collect()
                }
                Ok(Transformed::Dropped(reason)) => {
                    let dropped =
                        DeliveryOutcome::Dropped { transform: name.to_owned(), reason: reason.into_owned() };
                    branch.indexes().into_iter().map(|place| (place, dropped.clone())).collect()
                }
                Err(error) => {
                    tracing::debug!(transform = name, %error, source = ?error.source, "transform failed");
                    let behind = branch.next.iter().map(|(on_failure, tree)| {
                        self.not_transformed(task, (name, *on_failure), &error, tree, message)
                    });
                    join_all(behind).await.into_iter().flatten().collect()
                }
            }
        })
    }

    /// Serves the destinations behind a transform that failed.
    async fn not_transformed(
        &self,
        task: Task<'_>,
        (name, on_failure): (&str, OnFailure),
        error: &Failure,
        tree: &Tree,
        message: &Message<'_>,
    ) -> Vec<Served> {
        let transform = name.to_owned();
        let outcome = match on_failure.after(error, || message.borrowed()) {
            Ok(Transformed::Message(message)) => return self.tree(task, tree, message).await,
            Ok(Transformed::Dropped(reason)) => {
                DeliveryOutcome::Dropped { transform, reason: reason.into_owned() }
            }
            Err(Failure { reason, detail, .. }) => {
                DeliveryOutcome::NotTransformed { transform, reason: *reason, detail: detail.clone() }
            }
        };
        tree.indexes().into_iter().map(|place| (place, outcome.clone())).collect()
    }

    async fn destination(&self, task: Task<'_>, index: usize, message: &Message<'_>) -> Served {
        let planned = task.plan.destinations().get(index).expect("the tree has the indexes of the plan");
        let destination =
            task.plan.route().destinations().get(index).expect("a plan has the destinations of its route");
        let outcome = match (&planned.error, &destination.to) {
            (Some(error), _) => error.clone().into(),
            (None, To::Topic(outbound @ Outbound { for_each: Some(for_each), .. })) => {
                let topics = task.plan.topics_for_each(outbound, for_each, message.found.as_deref());
                match topics {
                    Ok(topics) => self.publish_to_all(topics, task, index, &message.text).await,
                    Err(error) => error.into(),
                }
            }
            (None, To::Topic(_)) => {
                let topic = planned.target.topic().expect("the target of a topic is a topic");
                self.publish(topic, &message.text, task.deadline).await
            }
            (None, To::Service(service_destination)) => {
                let fields = Fields::new(task.context, destination, message);
                self.send_to_service(service_destination, task, &fields).await
            }
        };
        (index, outcome)
    }

    async fn send_to_service(
        &self,
        service_destination: &ServiceDestination,
        task: Task<'_>,
        fields: &Fields<'_>,
    ) -> DeliveryOutcome {
        let request = match service_destination.request(fields) {
            Ok(request) => request,
            Err(error) => return error.into(),
        };
        let sent = self.sender.send(&request, task.xray, task.deadline).await;
        if let Err(error) = &sent.result {
            tracing::debug!(kind = service_destination.kind(), reason = %error.reason, source = ?error.source, "not accepted");
        }
        DeliveryOutcome::of(&sent)
    }

    /// Publishes to the topics of a destination with `for_each`, but for those that its progress has.
    async fn publish_to_all(
        &self,
        topics: Vec<Topic<'static>>,
        task: Task<'_>,
        index: usize,
        text: &str,
    ) -> DeliveryOutcome {
        if topics.is_empty() {
            let (transform, reason) = ("for_each".to_owned(), "the list is empty".to_owned());
            return DeliveryOutcome::Dropped { transform, reason };
        }
        let progress = task.progress.and_then(|progress| progress.get(index));
        let delivery = async |topic: Topic<'static>| {
            let outcome = if progress.is_some_and(|progress| progress.has_topic(&topic)) {
                DeliveryOutcome::AlreadyPublished
            } else {
                self.publish(&topic, text, task.deadline).await
            };
            Delivery { target: Target::Topic(topic), outcome }
        };
        DeliveryOutcome::ForEach(join_all(topics.into_iter().map(delivery)).await)
    }

    async fn publish(&self, topic: &Topic<'_>, text: &str, deadline: Instant) -> DeliveryOutcome {
        let (attempts, result) = self.retry.run(deadline, || self.publisher.publish(topic, text)).await;
        match result {
            Ok(()) => DeliveryOutcome::Published { attempts },
            Err(Failure { reason, .. }) => DeliveryOutcome::Failed { attempts, reason },
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
    /// Returns the outcome of a request that was sent.
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
    const fn of_earlier(progress: &DestinationProgress) -> Option<Self> {
        match progress {
            DestinationProgress::Pending | DestinationProgress::PublishedTo(_) => None,
            DestinationProgress::Published => Some(Self::AlreadyPublished),
            DestinationProgress::Dropped => Some(Self::AlreadyDropped),
        }
    }

    /// Returns the progress that this outcome leaves behind for a later delivery of the same event. `earlier` is the progress
    /// before it.
    #[must_use]
    pub fn progress(&self, earlier: Option<&DestinationProgress>) -> DestinationProgress {
        match self {
            Self::ForEach(topics) if !self.is_done() => {
                let earlier = earlier.cloned().unwrap_or(DestinationProgress::Pending);
                let done = topics.iter().filter(|delivery| delivery.outcome.is_done());
                let done = done.filter_map(|delivery| Some(delivery.target.topic()?.key()));
                DestinationProgress::PublishedTo(done.collect()).merge(earlier)
            }
            Self::ForEach(_) | Self::Published { .. } | Self::AlreadyPublished => {
                DestinationProgress::Published
            }
            Self::Dropped { .. } | Self::AlreadyDropped => DestinationProgress::Dropped,
            Self::NotTransformed { .. }
            | Self::Unnamed { .. }
            | Self::RequestError { .. }
            | Self::Failed { .. } => earlier.cloned().unwrap_or(DestinationProgress::Pending),
        }
    }

    /// Returns true if nothing is left to do: this or an earlier delivery has served the destination, or has dropped the
    /// text.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.failure().is_none()
    }

    /// Returns why the destination lacks the text, or `None` if nothing is left to do.
    #[must_use]
    pub fn failure(&self) -> Option<Reason> {
        match self {
            Self::ForEach(topics) => {
                let failures = || topics.iter().filter_map(|delivery| delivery.outcome.failure());
                // The sender retries if a retry can help some topic.
                failures().find(|reason| reason.is_transient()).or_else(|| failures().next())
            }
            Self::Published { .. } | Self::AlreadyPublished | Self::AlreadyDropped | Self::Dropped { .. } => {
                None
            }
            Self::NotTransformed { reason, .. }
            | Self::Failed { reason, .. }
            | Self::RequestError { reason, .. } => Some(*reason),
            Self::Unnamed { .. } => Some(Reason::InvalidArgument),
        }
    }

    /// Returns true if this or an earlier delivery has dropped the text.
    #[must_use]
    pub const fn is_dropped(&self) -> bool {
        matches!(self, Self::AlreadyDropped | Self::Dropped { .. })
    }

    /// Returns true if the text was published since the destination had this progress, to one topic at least.
    #[must_use]
    pub fn is_accepted_since(&self, progress: Option<&DestinationProgress>) -> bool {
        let is_new = |topic: &Topic<'_>| !progress.is_some_and(|progress| progress.has_topic(topic));
        match self {
            Self::ForEach(topics) => topics
                .iter()
                .any(|delivery| delivery.outcome.is_done() && delivery.target.topic().is_some_and(is_new)),
            outcome => outcome.is_done() && !outcome.is_dropped(),
        }
    }

    /// Returns the word for the outcome in the response and the log record.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::ForEach(_) => match self.failure() {
                Some(reason) if reason.is_transient() => "failed",
                Some(_) => "refused",
                None => "published",
            },
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

/// Writes the delivery as the response and the log record show it.
impl Serialize for Delivery<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.serialize_into(&mut map)?;
        map.end()
    }
}

impl<'d> Delivery<'d> {
    /// Returns the deliveries to the topics of a destination with `for_each`, or else this one.
    pub fn each(&self) -> impl Iterator<Item = &Delivery<'d>> {
        match &self.outcome {
            DeliveryOutcome::ForEach(topics) => topics.iter(),
            _ => std::slice::from_ref(self).iter(),
        }
    }
}

impl Delivery<'_> {
    /// Writes the delivery as members of a JSON object.
    ///
    /// # Errors
    /// The error of the serializer.
    pub fn serialize_into<M: SerializeMap>(&self, delivery: &mut M) -> Result<(), M::Error> {
        self.target.serialize_into(delivery)?;
        delivery.serialize_entry("status", self.outcome.status())?;
        if let Some(reason) = self.outcome.failure() {
            delivery.serialize_entry("reason", &reason)?;
        }
        match &self.outcome {
            DeliveryOutcome::AlreadyPublished | DeliveryOutcome::AlreadyDropped => {}
            DeliveryOutcome::ForEach(topics) => delivery.serialize_entry("topics", topics)?,
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
    use std::time::Duration;

    use futures_util::future::ready;

    use super::*;
    use crate::limits::{MAX_NESTING, MAX_TRANSFORMS};
    use crate::names::TopicName;
    use crate::route::{Destination, Routes};
    use crate::testing::TIMEOUT;
    use crate::testing::{FakePublisher, PublishFault, event};
    use crate::transform::{Stage, Transform, TransformFuture};

    const EVER: usize = 1_000;

    /// Counts its calls, and succeeds, fails or hangs.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Probe {
        calls: Arc<AtomicUsize>,
        fails: bool,
        hangs: bool,
    }

    impl Transform for Probe {
        fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            if self.hangs {
                return Box::pin(std::future::pending());
            }
            if self.fails {
                return Box::pin(ready(Err(Failure::new(Reason::RateLimited, "too much"))));
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
    async fn retries_transient_failures() {
        for reason in [Reason::Unavailable, Reason::TimedOut, Reason::RateLimited, Reason::Internal] {
            let publisher = FakePublisher::default().fail("a", PublishFault::Because(reason), 2);
            let (outcomes, _, calls) = publish(publisher, &["a"]).await;
            assert!(matches!(outcomes[0], DeliveryOutcome::Published { attempts: 3 }), "{reason}");
            assert_eq!(calls, 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_retry_permanent_failures() {
        for reason in [
            Reason::InvalidArgument,
            Reason::TooLarge,
            Reason::NotFound,
            Reason::PermissionDenied,
            Reason::Unauthenticated,
        ] {
            let publisher = FakePublisher::default().fail("a", PublishFault::Because(reason), EVER);
            let (outcomes, took, calls) = publish(publisher, &["a"]).await;
            assert_eq!(outcomes[0].failure(), Some(reason));
            assert_eq!((calls, took), (1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_last_attempt() {
        let publisher = FakePublisher::default().fail("a", PublishFault::Because(Reason::Unavailable), EVER);
        let (outcomes, took, calls) = publish(publisher, &["a"]).await;
        assert!(matches!(outcomes[0], DeliveryOutcome::Failed { attempts: 5, .. }));
        assert_eq!(calls, 5);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn destination_that_hangs_delays_no_other_and_ends_at_deadline() {
        let publisher = FakePublisher::default().fail("b", PublishFault::Hangs, EVER);
        let (outcomes, took, _) = publish(publisher, &["a", "b", "c"]).await;
        let done: Vec<_> = outcomes.iter().map(DeliveryOutcome::is_done).collect();
        assert_eq!(done, [true, false, true]);
        assert_eq!(outcomes[1].failure(), Some(Reason::TimedOut));
        assert!(took <= TIMEOUT, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_after_attempt_that_hangs() {
        let publisher = FakePublisher::default().fail("a", PublishFault::Hangs, 1);
        let (outcomes, took, _) = publish(publisher, &["a"]).await;
        assert!(matches!(outcomes[0], DeliveryOutcome::Published { attempts: 2 }));
        assert!(took < Duration::from_millis(1_200), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn starts_no_attempt_without_time() {
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
    async fn runs_common_transforms_once() {
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
    async fn failed_transform_follows_on_failure_of_each_destination() {
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
    async fn transform_that_hangs_leaves_time_to_publish() {
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
        serve_after(&[const { DestinationProgress::Published }; 2]).await;
    }

    /// Runs `test` in a thread with half of the stack that a thread of tokio has.
    fn on_small_stack(test: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(1 << 20).spawn(test).unwrap().join().unwrap();
    }

    /// Reads a route with these transforms, and serves one event with this text.
    fn serve_file(transforms: &str, to: &str, text: &str) -> Result<Vec<DeliveryOutcome>, Vec<String>> {
        let file = format!("[[routes]]\ntopic = 'in'\ntransforms = {transforms}\ndestinations = [{to}]");
        let routes =
            crate::file::read(&file, &crate::transform::Transforms::standard(), crate::destination::KINDS)
                .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let event = crate::testing::event_with("c", "in", 1, |event| event.text = text.to_owned());
        let plan = routes.plan(&event).unwrap().unwrap();
        let fan_out = FanOut::new(FakePublisher::default(), RetryPolicy::PUBLISH);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Ok(runtime.block_on(fan_out.serve(&plan, None, None, Instant::now() + TIMEOUT)))
    }

    #[tokio::test(start_paused = true)]
    async fn drops_event_without_token_id_if_route_requires_one() {
        let file = "[[routes]]\ntopic = 'in'\nrequire_token_id = true\ndestinations = ['a', { counter = { key = 'k' } }]";
        let routes =
            crate::file::read(file, &crate::transform::Transforms::standard(), crate::destination::KINDS)
                .unwrap();
        let fan_out = FanOut::new(FakePublisher::default(), RetryPolicy::PUBLISH);
        for (token_id, expected) in [(None, ["dropped"; 2]), (Some("mo"), ["published", "failed"])] {
            let event = crate::testing::event_with("c", "in", 1, |event| {
                event.token_id = token_id.map(str::to_owned);
            });
            let plan = routes.plan(&event).unwrap().unwrap();
            let outcomes = fan_out.serve(&plan, None, None, Instant::now() + TIMEOUT).await;
            // Without a sender, requests to caches fail.
            let statuses: Vec<_> = outcomes.iter().map(DeliveryOutcome::status).collect();
            assert_eq!(statuses, expected);
            if let DeliveryOutcome::Dropped { transform, reason } = &outcomes[0] {
                assert_eq!(
                    (transform.as_str(), reason.as_str()),
                    ("require_token_id", "the publisher's token has no id")
                );
            }
        }
        let progress = [DestinationProgress::Published, DestinationProgress::Pending];
        let event = event("c", "in", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        let outcomes = fan_out.serve(&plan, Some(&progress), None, Instant::now() + TIMEOUT).await;
        let statuses: Vec<_> = outcomes.iter().map(DeliveryOutcome::status).collect();
        assert_eq!(statuses, ["already_published", "dropped"]);
    }

    /// Returns transforms with `levels` of `json` inside one another, and the number of all transforms.
    fn nested(levels: usize) -> (String, usize) {
        let (mut list, mut count) = ("['trim']".to_owned(), 1);
        for _ in 0..levels {
            // The template makes JSON of the text for the next level.
            list = format!(
                "[{{ template = {{ json = {{ m = 'x' }} }} }}, {{ json = {{ pointer = '/m', transforms = {list} }} }}]"
            );
            count += 2;
        }
        (list, count)
    }

    #[test]
    fn serves_longest_and_deepest_chain_on_small_stack() {
        on_small_stack(|| {
            let trims = |count: usize| vec!["'trim'"; count].join(", ");
            // A list of transforms in a route is on the third level, and each `json` adds three levels.
            let (deepest, count) = nested((MAX_NESTING - 3) / 3);
            let inner = deepest.strip_prefix('[').unwrap();
            let deepest = format!("[{}, {inner}", trims(MAX_TRANSFORMS - count));
            for transforms in [format!("[{}]", trims(MAX_TRANSFORMS)), deepest] {
                let outcomes = serve_file(&transforms, "'out'", "Hello").unwrap();
                assert_eq!(outcomes[0].status(), "published", "{:?}", outcomes[0]);
                let more = format!("{{ topic = 'out', extra_transforms = [{}] }}", trims(1));
                let errors = serve_file(&transforms, &more, "Hello").unwrap_err();
                let expected = "4:17: the destination has 65 transforms, those inside `json` included; the maximum is 64";
                assert_eq!(errors, [expected]);
            }
            let errors = serve_file(&format!("[{}]", trims(MAX_TRANSFORMS + 1)), "'out', 'other'", "x");
            let expected =
                "3:14: the route has 65 transforms, those inside `json` included; the maximum is 64";
            assert_eq!(errors.unwrap_err(), [expected]);
            let errors = serve_file(&nested((MAX_NESTING - 3) / 3 + 1).0, "'out'", "x").unwrap_err();
            assert!(errors[0].contains("more than 64 tables and lists"), "{errors:?}");
        });
    }

    #[test]
    fn walks_deepest_values_on_small_stack() {
        on_small_stack(|| {
            // The value of `set` is on the seventh level.
            let levels = MAX_NESTING - 6;
            let value = "[".repeat(levels) + "1" + &"]".repeat(levels);
            let pointer = "/a".repeat(MAX_NESTING);
            let transforms = format!(
                "[{{ json = {{ set = {{ '{pointer}' = {value} }} }} }}, {{ json = {{ drop = ['{pointer}'] }} }}]"
            );
            assert_eq!(serve_file(&transforms, "'out'", "{}").unwrap()[0].status(), "published");
            let item = "{ sqs = { queue = 'https://q/a', body = { a = { json = '{text}' } } } }";
            let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
            for (text, reason) in [
                (nested(crate::destination::json::MAX_NESTING), Reason::Unavailable),
                (nested(crate::destination::json::MAX_NESTING + 1), Reason::InvalidArgument),
                (nested(100_000), Reason::InvalidArgument),
            ] {
                // `NoService` is the sender of an accepted request.
                assert_eq!(serve_file("[]", item, &text).unwrap()[0].failure(), Some(reason));
            }
            let deep = nested(100_000);
            let transforms =
                "[{ json = { drop = ['/0/0/0'] } }, { filter = { member = { pointer = '/0/0' } } }]";
            assert_eq!(
                serve_file(transforms, "'out-{json.0.0 | cut(3)}'", &deep).unwrap()[0].status(),
                "published"
            );
        });
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

    /// Finds the rooms of every person, unless it fails.
    #[derive(Debug)]
    struct Rooms(Result<&'static [&'static str], Reason>);

    impl ItemReader for Rooms {
        fn read<'r>(
            &'r self,
            _: &'r crate::transform::lookup::ItemQuery,
            _: Instant,
        ) -> BoxFuture<'r, Result<Option<Vec<String>>, Failure>> {
            let rooms = self.0.map(|rooms| Some(rooms.iter().map(ToString::to_string).collect()));
            Box::pin(ready(rooms.map_err(Failure::from)))
        }
    }

    /// Serves the rooms, and `other`, after this progress. Returns the outcomes, and the topics with the text.
    async fn serve_rooms(
        rooms: Result<&'static [&'static str], Reason>,
        publisher: FakePublisher,
        progress: Option<&DestinationProgress>,
    ) -> (DeliveryOutcome, DestinationProgress, Vec<String>) {
        let file = "
            [[routes]]
            topic = 'in'
            destinations = ['other', { topic = '{each}-subscribe', for_each = '{lookup.rooms}', transforms = [
                { lookup = { as = 'rooms', set = 'rooms-{cache}' } }, 'uppercase'] }]";
        let routes =
            crate::file::read(file, &crate::transform::Transforms::standard(), crate::destination::KINDS)
                .unwrap();
        let fan_out = FanOut::new(publisher, RetryPolicy::PUBLISH).with_reader(Arc::new(Rooms(rooms)));
        let event = event("c", "in", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        let all = progress.map(|progress| [DestinationProgress::Published, progress.clone()]);
        let served =
            fan_out.serve(&plan, all.as_ref().map(<[_; 2]>::as_slice), None, Instant::now() + TIMEOUT).await;
        let outcome = served.into_iter().nth(1).unwrap();
        let texts = fan_out.publisher.published().into_iter().filter(|(_, topic, _)| topic != "other");
        let texts = texts.map(|(cache, topic, text)| format!("{cache}/{topic}: {text}")).collect();
        let reached = outcome.progress(progress);
        (outcome, reached, texts)
    }

    fn keys(topics: &[&str]) -> DestinationProgress {
        DestinationProgress::PublishedTo(topics.iter().map(|topic| Topic::new("c", *topic).key()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn publishes_to_topic_of_each_entry() {
        let (outcome, reached, texts) = serve_rooms(Ok(&["a", "b"]), FakePublisher::default(), None).await;
        assert_eq!(texts, ["c/a-subscribe: HELLO", "c/b-subscribe: HELLO"]);
        assert_eq!((outcome.status(), reached), ("published", DestinationProgress::Published));
        let (outcome, reached, texts) = serve_rooms(Ok(&[]), FakePublisher::default(), None).await;
        assert!(matches!(outcome, DeliveryOutcome::Dropped { reason, .. } if reason == "the list is empty"));
        assert_eq!((reached, texts.len()), (DestinationProgress::Dropped, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_publishes_to_topics_that_lack_the_text_only() {
        let failing =
            || FakePublisher::default().fail("b-subscribe", PublishFault::Because(Reason::Unavailable), EVER);
        let rooms: Result<&[&str], _> = Ok(&["a", "b"]);
        let (outcome, reached, _) = serve_rooms(rooms, failing(), None).await;
        assert_eq!((outcome.status(), outcome.failure()), ("failed", Some(Reason::Unavailable)));
        assert!(outcome.is_accepted_since(None) && !outcome.is_done());
        assert_eq!(reached, keys(&["a-subscribe"]));

        // A failure before the list is read keeps what is known.
        let (outcome, after, texts) = serve_rooms(Err(Reason::Unavailable), failing(), Some(&reached)).await;
        assert_eq!((outcome.status(), after, texts.len()), ("failed", reached.clone(), 0));
        // The dead letter has that progress, so a second one would be the same.
        let (outcome, after, texts) = serve_rooms(rooms, failing(), Some(&reached)).await;
        assert_eq!((after, texts.len()), (reached.clone(), 0));
        assert!(!outcome.is_accepted_since(Some(&reached)));
        // Meanwhile the person has entered another room.
        let rooms: Result<&[&str], _> = Ok(&["a", "b", "new"]);
        let (outcome, after, texts) = serve_rooms(rooms, failing(), Some(&reached)).await;
        assert_eq!(
            (after, texts),
            (keys(&["a-subscribe", "new-subscribe"]), vec!["c/new-subscribe: HELLO".to_owned()])
        );
        assert!(outcome.is_accepted_since(Some(&reached)));
        let (outcome, after, texts) = serve_rooms(Ok(&["b"]), FakePublisher::default(), Some(&reached)).await;
        assert_eq!((outcome.status(), after), ("published", DestinationProgress::Published));
        assert_eq!(texts, ["c/b-subscribe: HELLO"]);
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failure_of_one_topic_is_that_of_the_destination() {
        let publisher = FakePublisher::default()
            .fail("a-subscribe", PublishFault::Because(Reason::PermissionDenied), EVER)
            .fail("b-subscribe", PublishFault::Because(Reason::TimedOut), EVER);
        let (outcome, ..) = serve_rooms(Ok(&["a", "b", "d"]), publisher, None).await;
        assert_eq!((outcome.status(), outcome.failure()), ("failed", Some(Reason::TimedOut)));
        let target = Target::Topic(Topic::new("c", "{each}-subscribe"));
        assert_eq!(
            serde_json::to_string(&Delivery { target, outcome }).unwrap(),
            r#"{"cache":"c","topic":"{each}-subscribe","status":"failed","reason":"timed_out","topics":[{"cache":"c","topic":"a-subscribe","status":"refused","reason":"permission_denied","attempts":1},{"cache":"c","topic":"b-subscribe","status":"failed","reason":"timed_out","attempts":5},{"cache":"c","topic":"d-subscribe","status":"published","attempts":1}]}"#
        );
    }

    #[test]
    fn shows_outcome_of_delivery() {
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
