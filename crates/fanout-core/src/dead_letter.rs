//! Dead letters: events that destinations did not accept, kept in a queue until they can be delivered.
//!
//! A hosted webhook is sent once, so an event that the function answers with 503 is lost. With a dead-letter queue the
//! function writes the event there, with the destinations that did not accept it, and responds with 200. When the dead letter
//! comes back from the queue, only those destinations are served.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use momento_webhook::{Event, EventError, Millis, Verified};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::dedupe::DestinationProgress;
use crate::destination::service::short;
use crate::destination::sqs::{QueueMessage, escaped, group_of, is_fifo};
use crate::destination::{ServiceRequest, ServiceSender, Target, Topic};
use crate::fan_out::{Delivery, DeliveryOutcome};
use crate::reason::{Failure, Reason};
use crate::route::{Plan, Route};

/// The dead-letter queue.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    queue: String,
    sender: Arc<dyn ServiceSender>,
}

/// When an event that some destination did not accept is written to the dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterPolicy {
    /// After any failure. For a request, whose sender may never send the event again.
    AnyFailure,
    /// For an event from a queue, which redelivers it to all of its destinations. Written where some destination has
    /// accepted the event and would get it twice, and where every failure is permanent.
    UnlessRedelivered,
    /// For a dead letter. Written where some destination, or topic of one, has accepted the event: the new dead letter has
    /// fewer of them, so dead letters come to an end. A dead letter that fails as a whole stays in its queue, which counts
    /// how often it was received.
    FewerDestinations,
    /// For a dead letter in a FIFO queue, where the messages behind it would overtake a new one.
    Never,
}

/// The time that is kept free for writing a dead letter.
const TIME_TO_WRITE: Duration = Duration::from_secs(1);

impl DeadLetterPolicy {
    /// Returns true if a dead letter is due after these outcomes of the destinations that were to be served. Each has the
    /// progress that the dead letter said, if the event came from one.
    #[must_use]
    pub fn is_due(self, outcomes: &[(&DeliveryOutcome, Option<&DestinationProgress>)]) -> bool {
        let failures = || outcomes.iter().filter_map(|(outcome, _)| outcome.failure());
        let is_accepted_by_some =
            || outcomes.iter().any(|(outcome, dead_letter)| outcome.is_accepted_since(*dead_letter));
        let is_any_failure = failures().next().is_some();
        match self {
            Self::AnyFailure => is_any_failure,
            Self::UnlessRedelivered => {
                is_any_failure && (is_accepted_by_some() || !failures().any(Reason::is_transient))
            }
            Self::FewerDestinations => is_any_failure && is_accepted_by_some(),
            Self::Never => false,
        }
    }

    /// Returns the time by which destinations have to be served, so that a dead letter can be written by `deadline`.
    /// When little time is left, destinations get half of it.
    #[must_use]
    pub fn deadline_for_destinations(self, deadline: Instant) -> Instant {
        if self == Self::Never {
            return deadline;
        }
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        now + left.saturating_sub(TIME_TO_WRITE.min(left / 2))
    }
}

/// A dead letter that has come back.
#[derive(Debug)]
pub struct DeadLetter {
    /// The event that was not delivered.
    pub event: Verified<Event>,
    /// Those that did not accept it. `None` means all: the relay does not know them.
    destinations: Option<Vec<Undelivered>>,
}

/// A destination that did not accept the event.
#[derive(Debug, Deserialize)]
struct Undelivered {
    /// Its index in the route.
    #[serde(default)]
    index: Option<usize>,
    /// A hash of its settings. Two destinations of a route may have the same names.
    #[serde(default)]
    id: Option<String>,
    /// The keys of the topics that have accepted the event, of a destination with `for_each`.
    #[serde(default)]
    published_to: BTreeSet<String>,
    #[serde(flatten)]
    names: Names,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Names {
    Topic { cache: String, topic: String },
    Service { kind: String, name: String },
}

/// Error for a dead letter whose route or destination does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dead letter is for a route or a destination that does not exist any more")]
pub struct NoSuchDestination;

impl DeadLetters {
    /// Uses the queue with this URL.
    #[must_use]
    pub const fn new(queue: String, sender: Arc<dyn ServiceSender>) -> Self {
        Self { queue, sender }
    }

    /// Returns the policy for a message of the queue named `queue`, which may be this one. `is_dead_letter` says whether
    /// the message is a dead letter.
    #[must_use]
    pub fn policy_for_message(&self, queue: &str, is_dead_letter: bool) -> DeadLetterPolicy {
        if !is_dead_letter && short(&self.queue) != queue {
            DeadLetterPolicy::UnlessRedelivered
        } else if is_fifo(&self.queue) {
            DeadLetterPolicy::Never
        } else {
            DeadLetterPolicy::FewerDestinations
        }
    }

    /// Writes a dead letter for the destinations of `route` that did not accept the event. `progress` is that of each.
    ///
    /// # Errors
    /// When the queue does not accept it before the deadline.
    pub async fn send(
        &self,
        event: &Event,
        route: &Route,
        (deliveries, progress): (&[Delivery<'_>], &[DestinationProgress]),
        now: Millis,
        xray: Option<&str>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let is_fifo = is_fifo(&self.queue);
        let undelivered = undelivered(route, deliveries, progress);
        let message = QueueMessage {
            queue: self.queue.clone(),
            body: body(event, &undelivered, now),
            group: is_fifo.then(|| group_of(event)),
            // The queue drops a dead letter that it has already.
            deduplication: is_fifo.then(|| id(event, &undelivered)),
            attributes: BTreeMap::new(),
            delay_seconds: None,
        };
        let request = ServiceRequest::from(message);
        self.sender.send(&request, xray, deadline).await.result.map(drop)
    }
}

/// A destination that did not accept the event, as a dead letter lists it.
struct Listed<'d> {
    index: usize,
    id: &'d str,
    published_to: Option<&'d BTreeSet<String>>,
    delivery: &'d Delivery<'d>,
}

fn undelivered<'d>(
    route: &'d Route,
    deliveries: &'d [Delivery<'d>],
    progress: &'d [DestinationProgress],
) -> Vec<Listed<'d>> {
    let all = route.destinations().iter().zip(deliveries.iter().zip(progress)).enumerate();
    let undelivered = all.filter(|(_, (_, (delivery, _)))| !delivery.outcome.is_done());
    let listed = undelivered.map(|(index, (destination, (delivery, progress)))| {
        let published_to = match progress {
            DestinationProgress::PublishedTo(topics) => Some(topics),
            _ => None,
        };
        Listed { index, id: destination.id(), published_to, delivery }
    });
    listed.collect()
}

fn id(event: &Event, undelivered: &[Listed<'_>]) -> String {
    let mut hash = Sha256::new().chain_update(event.id());
    for listed in undelivered {
        hash.update(listed.id);
        listed.published_to.into_iter().flatten().for_each(|topic| hash.update(topic));
    }
    hex::encode(hash.finalize())
}

fn body(event: &Event, undelivered: &[Listed<'_>], now: Millis) -> String {
    #[derive(Serialize)]
    struct Body<'b> {
        dead_letter: Head<'b>,
        event: &'b Event,
    }
    #[derive(Serialize)]
    struct Head<'b> {
        timestamp: Millis,
        destinations: &'b [Listed<'b>],
    }
    let body = Body { dead_letter: Head { timestamp: now, destinations: undelivered }, event };
    escaped(&serde_json::to_string(&body).expect("strings and numbers under string keys are JSON"))
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("index", &self.index)?;
        map.serialize_entry("id", &self.id)?;
        if let Some(topics) = self.published_to {
            map.serialize_entry("published_to", topics)?;
        }
        self.delivery.serialize_into(&mut map)?;
        map.end()
    }
}

impl DeadLetter {
    /// Reads the body of a message. Returns `None` if it does not have the shape of a dead letter.
    ///
    /// # Errors
    /// When it has that shape, and its event is invalid.
    pub fn read(body: &str) -> Result<Option<Self>, EventError> {
        #[derive(Deserialize)]
        struct Body<'b> {
            dead_letter: Head,
            #[serde(borrow)]
            event: &'b RawValue,
        }
        #[derive(Deserialize)]
        struct Head {
            destinations: Option<Vec<Undelivered>>,
        }
        let Ok(body) = serde_json::from_str::<Body<'_>>(body) else { return Ok(None) };
        let event = Verified::trusted(body.event.get().as_bytes()).event()?;
        Ok(Some(Self { event, destinations: body.dead_letter.destinations }))
    }

    /// Returns the progress of each destination of a plan. Those that the dead letter does not list have accepted the event.
    /// The routes may have changed since it was written: a destination is found by its id, or else by its names. Its old
    /// index decides between several.
    ///
    /// # Errors
    /// When the plan lacks one of the destinations, and when the list of the dead letter is empty.
    pub fn progress(&self, plan: &Plan<'_>) -> Result<Vec<DestinationProgress>, NoSuchDestination> {
        let planned: Vec<_> = plan.destinations().iter().zip(plan.route().destinations()).collect();
        let Some(destinations) = &self.destinations else {
            return Ok(vec![DestinationProgress::Pending; planned.len()]);
        };
        let mut indexes: Vec<Option<usize>> = vec![None; destinations.len()];
        let mut found = HashSet::new();
        for by_id in [true, false] {
            let undelivered = indexes.iter_mut().zip(destinations);
            for (unset, Undelivered { index, id, names, .. }) in
                undelivered.filter(|(index, _)| index.is_none())
            {
                let is_same = |index: &usize| {
                    !found.contains(index)
                        && planned.get(*index).is_some_and(|(planned, destination)| {
                            names.are_of(&planned.target)
                                && (!by_id || id.as_deref() == Some(destination.id()))
                        })
                };
                *unset = index.filter(&is_same).or_else(|| (0..planned.len()).find(&is_same));
                found.extend(*unset);
            }
        }
        if indexes.is_empty() {
            return Err(NoSuchDestination);
        }
        let mut progress = vec![DestinationProgress::Published; planned.len()];
        for (index, Undelivered { published_to, .. }) in indexes.into_iter().zip(destinations) {
            let pending = if published_to.is_empty() {
                DestinationProgress::Pending
            } else {
                DestinationProgress::PublishedTo(published_to.clone())
            };
            let index = index.ok_or(NoSuchDestination)?;
            *progress.get_mut(index).expect("the index of a destination") = pending;
        }
        Ok(progress)
    }
}

impl Names {
    fn are_of(&self, target: &Target<'_>) -> bool {
        match (self, target) {
            (Self::Topic { cache, topic }, Target::Topic(Topic { cache: of, topic: name })) => {
                cache == of && topic == name
            }
            (Self::Service { kind, name }, Target::Service { kind: of, name: called }) => {
                kind == of && name == called
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_decides_by_failures_and_accepted_destinations() {
        use DeadLetterPolicy::{AnyFailure, FewerDestinations, Never, UnlessRedelivered};
        let published = || DeliveryOutcome::Published { attempts: 1 };
        let dropped = || DeliveryOutcome::AlreadyDropped;
        let failed = |reason| DeliveryOutcome::Failed { attempts: 1, reason };
        let transient = || failed(Reason::Unavailable);
        let permanent = || failed(Reason::PermissionDenied);
        for (outcomes, due) in [
            (vec![published(), dropped()], &[][..]),
            (vec![transient(), permanent()], &[AnyFailure]),
            (vec![transient(), dropped()], &[AnyFailure]),
            (vec![permanent(), permanent()], &[AnyFailure, UnlessRedelivered]),
            (vec![transient(), published()], &[AnyFailure, UnlessRedelivered, FewerDestinations]),
        ] {
            for policy in [AnyFailure, UnlessRedelivered, FewerDestinations, Never] {
                let outcomes: Vec<_> = outcomes.iter().map(|outcome| (outcome, None)).collect();
                assert_eq!(policy.is_due(&outcomes), due.contains(&policy), "{policy:?} {outcomes:?}");
            }
        }
    }
}
