//! The pipeline of one verified event: route, dedupe, fan-out and dead letters. It ends in an [`Outcome`].
//!
//! Where the event comes from does not matter here: the edges say what differs, in a [`Job`].

use std::time::Duration;

use momento_webhook::{Event, Millis, Verified};
use tokio::time::{Instant, timeout_at};

use crate::live_routes::{LiveRoutes, VersionedRoutes};
use crate::response::{Outcome, Rejection};
use fanout_core::dead_letter::{DeadLetter, DeadLetterPolicy, DeadLetters, NoSuchDestination};
use fanout_core::dedupe::shared::{SharedClaim, SharedDedupe};
use fanout_core::dedupe::{Dedupe, DestinationProgress, Progress};
use fanout_core::destination::Publisher;
use fanout_core::fan_out::{Delivery, FanOut};
use fanout_core::reason::{Failure, with_sources};
use fanout_core::route::Plan;

/// The time that is kept free for storing the progress of an event for other environments.
const TIME_TO_STORE: Duration = Duration::from_millis(300);

/// Routes, dedupe, fan-out and dead letters.
#[derive(Debug)]
pub struct Pipeline<P> {
    routes: LiveRoutes,
    dedupe: Dedupe,
    shared: Option<SharedDedupe>,
    fan_out: FanOut<P>,
    dead_letters: Option<DeadLetters>,
}

/// One event for the pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Job<'j> {
    /// The routes. They stay those of the event when newer ones come into use.
    pub routes: &'j VersionedRoutes,
    /// The event.
    pub event: &'j Verified<Event>,
    /// The dead letter that the event comes from. Only its destinations are served.
    pub dead_letter: Option<&'j DeadLetter>,
    /// When a new dead letter is written.
    pub policy: DeadLetterPolicy,
    /// The current time.
    pub now: Millis,
    /// The tracing header of X-Ray that AWS destinations pass on.
    pub xray: Option<&'j str>,
    /// When the outcome has to be known.
    pub deadline: Instant,
}

/// The result of a [`Job`].
#[derive(Debug)]
pub struct Handled<'e> {
    /// The outcome.
    pub outcome: Outcome<'e>,
    /// True if the store that environments share failed, so that another one may handle the event again.
    pub dedupe_failed: bool,
}

impl<P: Publisher> Pipeline<P> {
    /// Sends events through `fan_out` by `routes`.
    pub fn new(routes: impl Into<LiveRoutes>, fan_out: FanOut<P>) -> Self {
        Self { routes: routes.into(), dedupe: Dedupe::default(), shared: None, fan_out, dead_letters: None }
    }

    /// Writes dead letters to this queue.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: Option<DeadLetters>) -> Self {
        Self { dead_letters, ..self }
    }

    /// Recognizes events that other environments have handled, too.
    #[must_use]
    pub fn with_shared_dedupe(self, shared: Option<SharedDedupe>) -> Self {
        Self { shared, ..self }
    }

    /// Returns the policy for a message of the queue named `queue`. `is_dead_letter` says whether it is a dead letter.
    #[must_use]
    pub fn policy_for_message(&self, queue: &str, is_dead_letter: bool) -> DeadLetterPolicy {
        let policy = |letters: &DeadLetters| letters.policy_for_message(queue, is_dead_letter);
        self.dead_letters.as_ref().map_or(DeadLetterPolicy::Never, policy)
    }

    /// Sends an event to the destinations that have not accepted it yet.
    pub async fn run<'e>(&'e self, job: Job<'e>) -> Handled<'e> {
        let mut dedupe_failed = false;
        let outcome = self.deliver(job, &mut dedupe_failed).await.unwrap_or_else(Outcome::Rejected);
        Handled { outcome, dedupe_failed }
    }

    async fn deliver<'e>(&'e self, job: Job<'e>, dedupe_failed: &mut bool) -> Result<Outcome<'e>, Rejection> {
        let Job { routes, event, dead_letter, deadline, .. } = job;
        let plan = match (routes.routes.plan(event)?, dead_letter) {
            (Some(plan), _) => plan,
            (None, None) => return Ok(Outcome::Ignored),
            (None, Some(_)) => return Err(NoSuchDestination.into()),
        };
        let only = dead_letter.map(|dead_letter| dead_letter.progress(&plan)).transpose()?;

        let claim = self.dedupe.claim(event, only.as_deref(), routes.generation);
        let Ok(mut progress) = timeout_at(deadline, claim).await else { return Ok(Outcome::Busy) };
        if *progress == Progress::Done {
            return Ok(Outcome::Duplicate);
        }
        let Some(shared) = &self.shared else {
            return Ok(self.serve(job, plan, only.as_deref(), &mut progress).await);
        };
        let mut failed = |error: &Failure| {
            *dedupe_failed = true;
            let (topic, number) = (&event.topic, event.topic_sequence_number);
            let error = with_sources(error);
            tracing::warn!(%topic, number, error, "the cache for dedupe failed: other environments may repeat the event");
        };
        let held = match shared.claim(event, &plan, only.as_deref(), deadline).await {
            Ok(SharedClaim::Held(held)) => held,
            Ok(SharedClaim::Done) => {
                *progress = Progress::Done;
                return Ok(Outcome::Duplicate);
            }
            Ok(SharedClaim::Busy) => return Ok(Outcome::Busy),
            // An event twice is better than a lost one.
            Err(error) => {
                failed(&error);
                return Ok(self.serve(job, plan, only.as_deref(), &mut progress).await);
            }
        };
        *progress = std::mem::take(&mut *progress).merge(held.progress.clone());
        let left = deadline.saturating_duration_since(Instant::now());
        let job = Job { deadline: deadline - TIME_TO_STORE.min(left / 4), ..job };
        let outcome = self.serve(job, plan, only.as_deref(), &mut progress).await;
        if let Err(error) = shared.finish(held, &progress, deadline).await {
            failed(&error);
        }
        Ok(outcome)
    }

    /// Serves the destinations that are pending by `progress`, and updates it. `only` is the progress that the dead letter said,
    /// if the event comes from one.
    async fn serve<'e>(
        &'e self,
        job: Job<'e>,
        plan: Plan<'e>,
        only: Option<&[DestinationProgress]>,
        progress: &mut Progress,
    ) -> Outcome<'e> {
        let Job { event, policy, now, xray, deadline, .. } = job;
        let earlier = match progress {
            Progress::Partial(earlier) => Some(earlier.clone()),
            // The deliveries of several environments together have served every destination.
            Progress::Done => return Outcome::Duplicate,
            Progress::New => only.map(<[_]>::to_vec),
        };

        let dead_letters = self.dead_letters.as_ref();
        let end = dead_letters.map_or(deadline, |_| policy.deadline_for_destinations(deadline));
        let outcomes = self.fan_out.serve(&plan, earlier.as_deref(), xray, end).await;
        let reached = outcomes.iter().enumerate().map(|(index, outcome)| {
            outcome.progress(earlier.as_ref().and_then(|earlier| earlier.get(index)))
        });
        let reached: Vec<_> = reached.collect();
        *progress = Progress::of(reached.clone());

        let all = outcomes.iter().enumerate();
        let all = all.map(|(index, outcome)| (outcome, only.and_then(|only| only.get(index))));
        let wanted = all.filter(|(_, only)| only.is_none_or(|only| !only.is_done()));
        let is_due = policy.is_due(&wanted.collect::<Vec<_>>());
        let route = plan.route();
        let deliveries = plan.into_targets().zip(outcomes);
        let deliveries: Vec<_> = deliveries.map(|(target, outcome)| Delivery { target, outcome }).collect();
        let Some(dead_letters) = dead_letters.filter(|_| is_due) else {
            return Outcome::Delivered(deliveries);
        };
        match dead_letters.send(event, route, (&deliveries, &reached), now, xray, deadline).await {
            Ok(()) => {
                *progress = Progress::Done;
                Outcome::DeadLettered(deliveries)
            }
            // The response is the one without a dead-letter queue: some senders retry.
            Err(error) => {
                let (topic, number) = (&event.topic, event.topic_sequence_number);
                let (reason, source) = (error.reason, error.source);
                tracing::error!(%topic, number, %reason, ?source, "dead letter not written");
                Outcome::Delivered(deliveries)
            }
        }
    }

    /// Returns the routes.
    #[must_use]
    pub const fn routes(&self) -> &LiveRoutes {
        &self.routes
    }

    /// Waits for background work: what publishing has started, and the check of the routes.
    pub async fn settled(&self) {
        tokio::join!(self.fan_out.settled(), self.routes.settled());
    }
}
