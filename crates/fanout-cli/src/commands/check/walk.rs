//! What becomes of one event, one transform after the other.
//!
//! It is what the function does, without the publishing: the same plan, the same transforms, and each of them
//! applied once however many destinations have it.

use std::collections::HashMap;

use fanout_core::destination::{AwsDestination, AwsRequest, Fields, RequestError};
use fanout_core::reason::Reason;
use fanout_core::route::{Destination, Plan, To};
use fanout_core::transform::{Message, OnFailure, Stage, TransformError, Transformed};
use momento_webhook::{Event, Millis, SigningSecret, Verified, momento};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use topic_fanout::webhook::{Clock as _, SystemClock, TIME_TO_ANSWER};

use super::outline::Outlined;
use crate::error::Error;
use crate::output::Printable;

/// What becomes of one destination.
#[derive(Debug)]
pub(super) struct Walked<'o> {
    pub(super) steps: Vec<Step<'o>>,
    pub(super) end: End<'o>,
}

/// One transform on the way to a destination.
#[derive(Debug)]
pub(super) struct Step<'o> {
    pub(super) stage: &'o Stage,
    /// The destination, by its place, for which it was applied, where that is another one.
    pub(super) shared_with: Option<usize>,
    pub(super) made: Made,
}

/// What a transform made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// A message, and perhaps it found the language out.
    Message(Message<'static>),
    /// Nothing, for this reason.
    Dropped(String),
    /// Nothing, because it could not.
    Failed(Reason, String),
}

/// The end of the way to a destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End<'o> {
    /// This text is published.
    Published(String),
    /// Nothing is, which is as it should be; for the reason that this transform gave.
    Dropped { transform: &'o str, reason: String },
    /// Nothing is, because this transform failed.
    Failed { transform: &'o str, reason: Reason, detail: String },
    /// This is handed in, where there is no topic.
    HandedIn(Box<AwsRequest>),
    /// Nothing is, because the event has no such field.
    Unnamed { missing: String },
    /// Nothing is, because the text is none for that place.
    RequestError { reason: Reason, detail: String },
}

impl From<RequestError> for End<'_> {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Missing(missing) => Self::Unnamed { missing },
            RequestError::Refused { reason, detail } => {
                Self::RequestError { reason, detail: detail.into_owned() }
            }
        }
    }
}

impl End<'_> {
    /// Whether the destination has what it should have.
    pub(super) const fn is_good(&self) -> bool {
        matches!(self, Self::Published(_) | Self::HandedIn(_) | Self::Dropped { .. })
    }
}

/// Applies the transforms of a plan to its event, which takes the route `outlined`.
pub(super) async fn walk<'o>(plan: &Plan<'_>, outlined: &Outlined<'o>) -> Vec<Walked<'o>> {
    let mut made: HashMap<usize, (usize, Made)> = HashMap::new();
    let mut walked = Vec::new();
    for (place, (way, planned)) in outlined.ways.iter().zip(plan.destinations()).enumerate() {
        let mut message = Message::new(plan.text().to_owned());
        let mut steps = Vec::new();
        let mut end = None;
        for step in &way.steps {
            let known = made.get(&step.node).cloned();
            let (first, result) = match known {
                Some(known) => known,
                None => (place, apply(step.stage, &message, plan).await),
            };
            made.insert(step.node, (first, result.clone()));
            let transform = step.stage.name();
            end = match (&result, step.stage.on_failure()) {
                (Made::Message(next), _) => {
                    message = next.clone();
                    None
                }
                (Made::Failed(..), OnFailure::Pass) => None,
                (Made::Dropped(reason), _) => Some(End::Dropped { transform, reason: reason.clone() }),
                (Made::Failed(_, detail), OnFailure::Drop) => {
                    Some(End::Dropped { transform, reason: format!("failed: {detail}") })
                }
                (Made::Failed(reason, detail), OnFailure::Fail) => {
                    Some(End::Failed { transform, reason: *reason, detail: detail.clone() })
                }
            };
            let shared_with = (first != place).then_some(first);
            steps.push(Step { stage: step.stage, shared_with, made: result });
            if end.is_some() {
                break;
            }
        }
        let end = end.unwrap_or_else(|| match (&planned.error, &way.destination.to) {
            (Some(error), _) => error.clone().into(),
            (None, To::Topic(_)) => End::Published(message.text.into_owned()),
            (None, To::Aws(aws_destination)) => handed_in(way.destination, aws_destination, plan, &message),
        });
        walked.push(Walked { steps, end });
    }
    walked
}

fn handed_in<'o>(
    destination: &Destination,
    aws_destination: &AwsDestination,
    plan: &Plan<'_>,
    message: &Message<'_>,
) -> End<'o> {
    match aws_destination.request(&Fields::new(&plan.context(Instant::now()), destination, message)) {
        Ok(request) => End::HandedIn(Box::new(request)),
        Err(error) => error.into(),
    }
}

async fn apply(stage: &Stage, message: &Message<'_>, plan: &Plan<'_>) -> Made {
    // As much as they all have together, where they do not wait for one another.
    let deadline = Instant::now() + TIME_TO_ANSWER / 4 * 3;
    let context = plan.context(deadline);
    let applied = match timeout_at(deadline, stage.transform().apply(message.borrowed(), &context)).await {
        Ok(applied) => applied,
        Err(_) => Err(TransformError::new(Reason::TimedOut, "it did not end in time")),
    };
    match applied {
        Ok(Transformed::Message(next)) => Made::Message(Message {
            text: next.text.into_owned().into(),
            language: next.language.map(|code| code.into_owned().into()),
        }),
        Ok(Transformed::Dropped(reason)) => Made::Dropped(reason.into_owned()),
        Err(error) => Made::Failed(error.reason, error.detail.into_owned()),
    }
}

/// An event as somebody writes it by hand.
#[derive(Deserialize)]
struct Given {
    cache: String,
    topic: String,
    text: String,
    event_timestamp: Option<Millis>,
    publish_timestamp: Option<Millis>,
    #[serde(default)]
    topic_sequence_number: u64,
    topic_sequence_page: Option<u64>,
    token_id: Option<String>,
}

/// The event in the file of this name: what a webhook's body has, or the part of it that matters.
pub(super) fn event(name: &str, json: &[u8]) -> Result<Verified<Event>, Error> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::Failed(format!("{}: the event cannot be used: {error}", Printable(name)))
    };
    // Some editors begin every file with a mark.
    let json = json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json);
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(wrong(
            &"it is a JSON object, as {\"cache\": \"demo\", \"topic\": \"a\", \"text\": \"Hi\"}, and this is none",
        ));
    }
    let given: Given = serde_json::from_slice(json).map_err(|error| wrong(&error))?;
    let now = SystemClock.now();
    let event = Event {
        cache: given.cache,
        topic: given.topic,
        event_timestamp: given.event_timestamp.unwrap_or(now),
        publish_timestamp: given.publish_timestamp.unwrap_or(now),
        topic_sequence_number: given.topic_sequence_number,
        topic_sequence_page: given.topic_sequence_page,
        token_id: given.token_id,
        text: given.text,
    };
    signed(&event).map_err(|error| {
        // The place is one in the body that was made here.
        let error = error.to_string();
        wrong(&error.split(" at line ").next().unwrap_or_default())
    })
}

/// An event as one that a webhook brings: only what was verified has a plan.
pub(super) fn signed(event: &Event) -> Result<Verified<Event>, Box<dyn std::error::Error>> {
    let secret = SigningSecret::new("nobody else sees what this signs")?;
    let body = event.to_json();
    let signature = momento::sign(&secret, body.as_bytes());
    let proven = momento::verify(&[secret], body, [signature.as_bytes()])?;
    Ok(proven.event()?)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use fanout_core::destination::{DeliveryError, Publisher, Topic};
    use fanout_core::fan_out::{DeliveryOutcome, FanOut};
    use fanout_core::retry::RetryPolicy;

    use super::super::outline::Outline;
    use super::super::outline::tests::routes;
    use super::*;

    /// Remembers the texts that topics were given.
    #[derive(Clone, Default)]
    struct Taker(Arc<Mutex<Vec<(String, String)>>>);

    impl Publisher for Taker {
        async fn publish(&self, topic: &Topic<'_>, text: &str) -> Result<(), DeliveryError> {
            self.0.lock().unwrap().push((topic.topic.to_string(), text.to_owned()));
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_told_is_what_the_function_does() {
        let limited = |on_failure: &str| {
            format!("{{ pseudo = {{ target = 'es', max_bytes = 3, on_failure = '{on_failure}' }} }}")
        };
        let text = format!(
            "[[routes]]\ntopic = '{{room}}-in'\ntransforms = ['trim']\ndestinations = ['{{room}}', 'for-{{token_id}}',
             {{ topic = 'a', then = ['uppercase'] }}, {{ topic = 'b', then = ['uppercase', 'lowercase'] }},
             {{ topic = 'c', then = [{}] }}, {{ topic = 'd', then = [{}] }}, {{ topic = 'e', then = [{}, 'uppercase'] }},
             {{ topic = 'f', transforms = [] }}]",
            limited("fail"),
            limited("drop"),
            limited("pass")
        );
        let routes = routes(&text);
        let outline = Outline::new(&text, &routes);
        let event = event("f", br#"{"cache": "c", "topic": "lobby-in", "text": " Hello "}"#).unwrap();
        let plan = routes.plan(&event).unwrap().unwrap();
        let walked = walk(&plan, outline.find(plan.route()).unwrap()).await;

        let taker = Taker::default();
        let deadline = Instant::now() + TIME_TO_ANSWER;
        let outcomes =
            FanOut::new(taker.clone(), RetryPolicy::PUBLISH).serve(&plan, None, None, deadline).await;
        let texts = taker.0.lock().unwrap();
        assert_eq!((walked.len(), texts.len()), (8, 5));
        for ((walked, outcome), planned) in walked.iter().zip(&outcomes).zip(plan.destinations()) {
            let same = match (&walked.end, outcome) {
                (End::Published(text), DeliveryOutcome::Published { .. }) => {
                    texts.contains(&(planned.target.to_string(), text.clone()))
                }
                (
                    End::Dropped { transform, reason },
                    DeliveryOutcome::Dropped { transform: other, reason: why },
                ) => (*transform, reason) == (other.as_str(), why),
                (
                    End::Failed { transform, reason, detail },
                    DeliveryOutcome::NotTransformed { transform: other, reason: why, detail: said },
                ) => (*transform, reason, detail.as_str()) == (other.as_str(), why, said.as_ref()),
                (End::Unnamed { missing }, DeliveryOutcome::Unnamed { missing: other }) => missing == other,
                _ => false,
            };
            assert!(same, "{walked:?} and {outcome:?}");
        }
        let shared: Vec<_> =
            walked.iter().map(|one| one.steps.first().map(|step| step.shared_with)).collect();
        assert_eq!(shared[0], Some(None));
        assert!(shared[1..7].iter().all(|shared| *shared == Some(Some(0))), "{shared:?}");
    }

    #[test]
    fn an_event_is_signed_and_what_is_not_given_is_made() {
        let given = event("f", br#"{"cache": "c", "topic": "t", "text": "x", "token_id": ""}"#).unwrap();
        assert_eq!((given.topic_sequence_number, given.token_id.as_deref()), (0, None));
        assert!(
            given.event_timestamp > 1_700_000_000_000 && given.event_timestamp == given.publish_timestamp
        );
        let given =
            br#"{"cache": "c", "topic": "t", "text": "x", "event_timestamp": 1, "topic_sequence_page": 2}"#;
        let given = event("f", given).unwrap();
        assert_eq!((given.event_timestamp, given.topic_sequence_page), (1, Some(2)));
        let error =
            event("f", br#"{"cache": "c", "topic": "t", "text": "x", "event_timestamp": 1e3}"#).unwrap_err();
        let Error::Failed(message) = error else { panic!("{error:?}") };
        assert!(message.starts_with("f: the event cannot be used: "), "{message}");
    }
}
