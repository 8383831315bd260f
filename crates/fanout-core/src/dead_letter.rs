//! What destinations did not take is kept in a queue, from where it can be delivered later.
//!
//! Hosted webhooks are sent once: what is answered with 503 is gone. With a queue for dead letters the event is
//! written there together with the destinations that did not take it, and the sender is told that all is well.
//! A letter that comes back from the queue is for those destinations only.

use std::sync::Arc;

use momento_webhook::{Event, EventError, Millis, Verified};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::destination::aws::short;
use crate::destination::sqs::{QueueMessage, group_of, is_fifo};
use crate::destination::{AwsRequest, AwsSender, DeliveryError, Target, Topic};
use crate::fan_out::Delivery;
use crate::route::{Plan, Route};

/// Where dead letters go.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    queue: String,
    sender: Arc<dyn AwsSender>,
}

/// A dead letter that has come back.
#[derive(Debug)]
pub struct Letter {
    /// What was not delivered.
    pub event: Verified<Event>,
    destinations: Vec<Undelivered>,
}

/// A destination that did not take the event.
#[derive(Debug, Deserialize)]
struct Undelivered {
    /// Its place in the route.
    place: usize,
    /// What it is, wherever it stands. Two may have one name.
    #[serde(default)]
    id: Option<String>,
    #[serde(flatten)]
    names: Names,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Names {
    Topic { cache: String, topic: String },
    Aws { kind: String, name: String },
}

/// A letter is for a destination that the routes do not have, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dead letter is for a route or a destination that is not there any more")]
pub struct NoSuchDestination;

impl DeadLetters {
    /// Those that go to the queue with this URL.
    #[must_use]
    pub const fn new(queue: String, sender: Arc<dyn AwsSender>) -> Self {
        Self { queue, sender }
    }

    /// Whether they go to the queue of this name.
    #[must_use]
    pub fn is_queue(&self, name: &str) -> bool {
        short(&self.queue) == name
    }

    /// Whether they are taken out of the queue in the order in which they were put in.
    #[must_use]
    pub fn keep_order(&self) -> bool {
        is_fifo(&self.queue)
    }

    /// Writes one for the destinations of a route that did not take the event.
    ///
    /// # Errors
    /// When the queue does not take it before the deadline.
    pub async fn send(
        &self,
        event: &Event,
        route: &Route,
        deliveries: &[Delivery<'_>],
        now: Millis,
        xray: Option<&str>,
        deadline: Instant,
    ) -> Result<(), DeliveryError> {
        let is_fifo = self.keep_order();
        let undelivered = undelivered(route, deliveries);
        let message = QueueMessage {
            queue: self.queue.clone(),
            body: body(event, &undelivered, now),
            group: is_fifo.then(|| group_of(event)),
            // Whatever is lost by being the same as another was there before.
            deduplication: is_fifo.then(|| id(event, &undelivered)),
            attributes: std::collections::BTreeMap::new(),
            delay_seconds: None,
        };
        let request = AwsRequest::Message(message);
        self.sender.send(&request, xray, deadline).await.result.map(drop)
    }
}

/// A destination that did not take the event, as a letter has it.
struct Entry<'d> {
    place: usize,
    id: &'d str,
    delivery: &'d Delivery<'d>,
}

fn undelivered<'d>(route: &'d Route, deliveries: &'d [Delivery<'d>]) -> Vec<Entry<'d>> {
    let both = route.destinations().iter().zip(deliveries).enumerate();
    both.filter(|(_, (_, delivery))| !delivery.outcome.is_done())
        .map(|(place, (destination, delivery))| Entry { place, id: destination.id(), delivery })
        .collect()
}

fn id(event: &Event, undelivered: &[Entry<'_>]) -> String {
    let mut hash = Sha256::new().chain_update(event.id());
    for entry in undelivered {
        hash.update(entry.id);
    }
    hex::encode(hash.finalize())
}

fn body(event: &Event, undelivered: &[Entry<'_>], now: Millis) -> String {
    #[derive(Serialize)]
    struct Body<'b> {
        dead_letter: Head<'b>,
        event: &'b Event,
    }
    #[derive(Serialize)]
    struct Head<'b> {
        timestamp: Millis,
        destinations: &'b [Entry<'b>],
    }
    let body = Body { dead_letter: Head { timestamp: now, destinations: undelivered }, event };
    let body = serde_json::to_string(&body).expect("strings and numbers under string keys are JSON");
    // Two characters that JSON may hold as they are, and a queue may not.
    body.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("place", &self.place)?;
        map.serialize_entry("id", &self.id)?;
        self.delivery.serialize_into(&mut map)?;
        map.end()
    }
}

impl Letter {
    /// Reads the body of a message as a dead letter; none where it is something else.
    ///
    /// # Errors
    /// When it is one, and there is no event in it.
    pub fn read(body: &str) -> Result<Option<Self>, EventError> {
        #[derive(Deserialize)]
        struct Body<'b> {
            dead_letter: Head,
            #[serde(borrow)]
            event: &'b RawValue,
        }
        #[derive(Deserialize)]
        struct Head {
            destinations: Vec<Undelivered>,
        }
        let Ok(letter) = serde_json::from_str::<Body<'_>>(body) else { return Ok(None) };
        let event = Verified::trusted(letter.event.get().as_bytes()).event()?;
        Ok(Some(Self { event, destinations: letter.dead_letter.destinations }))
    }

    /// The places of its destinations in a plan. Routes may have been changed since it was written: a destination
    /// is looked for by what it is, and by its name where it is another now.
    ///
    /// # Errors
    /// When one is not there, or the letter is for none.
    pub fn places(&self, plan: &Plan<'_>) -> Result<Vec<usize>, NoSuchDestination> {
        let there: Vec<_> = plan.destinations().iter().zip(plan.route().destinations()).collect();
        let mut found: Vec<Option<usize>> = vec![None; self.destinations.len()];
        for by_id in [true, false] {
            for (nth, Undelivered { place, id, names }) in self.destinations.iter().enumerate() {
                if found.get(nth).is_some_and(Option::is_some) {
                    continue;
                }
                let is_it = |place: &usize| {
                    !found.contains(&Some(*place))
                        && there.get(*place).is_some_and(|(planned, destination)| {
                            names.are_of(&planned.target)
                                && (!by_id || id.as_ref().is_some_and(|id| *id == destination.id()))
                        })
                };
                let is = Some(*place).filter(is_it).or_else(|| (0..there.len()).find(is_it));
                if let Some(unset) = found.get_mut(nth) {
                    *unset = is;
                }
            }
        }
        let mut places = found.into_iter().collect::<Option<Vec<_>>>().ok_or(NoSuchDestination)?;
        if places.is_empty() {
            return Err(NoSuchDestination);
        }
        places.sort_unstable();
        Ok(places)
    }
}

impl Names {
    fn are_of(&self, target: &Target<'_>) -> bool {
        match (self, target) {
            (Self::Topic { cache, topic }, Target::Topic(Topic { cache: of, topic: name })) => {
                cache == of && topic == name
            }
            (Self::Aws { kind, name }, Target::Aws { kind: of, name: called }) => {
                kind == of && name == called
            }
            _ => false,
        }
    }
}
