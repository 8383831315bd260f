//! Runs the fan-out of the function for one event, with a recorder around each transform and with recording senders.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanout_core::dedupe::DestinationProgress;
use fanout_core::destination::{Accepted, Publisher, Sent, ServiceRequest, ServiceSender, Topic};
use fanout_core::fan_out::{DeliveryOutcome, FanOut};
use fanout_core::reason::{Failure, Reason};
use fanout_core::retry::RetryPolicy;
use fanout_core::route::{Destination, Route, Routes};
use fanout_core::transform::{Context, Message, NoItems, Stage, Transform, TransformFuture, Transformed};
use futures_util::future::{BoxFuture, ready};
use momento_webhook::{Event, Verified};
use tokio::time::Instant;
use topic_fanout::serve::RESPONSE_TIMEOUT;

use super::outline::{OutlinedRoute, OutlinedStep};

/// The recording of one destination.
#[derive(Debug)]
pub(super) struct Recorded<'o> {
    /// The transforms that were applied, in order.
    pub(super) steps: Vec<Step<'o>>,
    pub(super) outcome: DeliveryOutcome,
    /// The content that its sender received.
    pub(super) content: Option<Content>,
}

/// One transform on the way to a destination.
#[derive(Debug)]
pub(super) struct Step<'o> {
    pub(super) stage: &'o Stage,
    /// The index of an earlier destination that shares the transform.
    pub(super) shared_with: Option<usize>,
    pub(super) result: TransformResult,
}

type TransformResult = Result<Transformed<'static>, Failure>;

/// The content that a sender received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The text for a topic.
    Text(String),
    /// The request to an AWS destination.
    Request(Box<ServiceRequest>),
}

/// Runs the fan-out of `event`, which takes the route `outlined`. Nothing leaves this process.
///
/// Each destination is served in a fan-out of its own, as a second delivery serves the destinations that the first one
/// missed. So the content of a sender belongs to that destination. A shared transform is still applied once.
pub(super) async fn record<'o>(outlined: &OutlinedRoute<'o>, event: &Verified<Event>) -> Vec<Recorded<'o>> {
    let mut chains: Vec<Vec<Arc<Recorder>>> = Vec::new();
    for destination in &outlined.destinations {
        let recorder = |(position, step): (usize, &OutlinedStep<'_>)| match step.shared_with {
            None => Arc::new(Recorder::new(step.stage.clone())),
            Some(owner) => {
                let shared = chains.get(owner).and_then(|chain| chain.get(position));
                Arc::clone(shared.expect("a shared transform has the same position in an earlier chain"))
            }
        };
        let chain = destination.steps.iter().enumerate().map(recorder).collect();
        chains.push(chain);
    }
    let destinations = outlined.destinations.iter().zip(&chains).map(|(outlined, chain)| {
        let stages = outlined.steps.iter().zip(chain).map(|(step, recorder)| recorder.stage(step.stage));
        Destination::new(outlined.destination.to.clone(), stages.collect())
    });
    let route = Route::new(outlined.route.inbound().clone(), destinations.collect())
        .with_required_token_id(outlined.route.requires_token_id());
    let routes = Routes::new(vec![route]).expect("a route that is valid beside others is valid alone");
    let plan = routes.plan(event).ok().flatten().expect("the event takes this route among others");

    let sink = Sink::default();
    let fan_out = FanOut::new(sink.clone(), RetryPolicy::PUBLISH)
        .with_sender(Arc::new(sink.clone()))
        .with_reader(Arc::new(NoItems));
    let mut all = Vec::new();
    for (index, (destination, chain)) in outlined.destinations.iter().zip(&chains).enumerate() {
        let mut progress = vec![DestinationProgress::Published; chains.len()];
        *progress.get_mut(index).expect("each destination has a chain") = DestinationProgress::Pending;
        let outcomes = fan_out.serve(&plan, Some(&progress), None, Instant::now() + RESPONSE_TIMEOUT).await;
        let steps = destination.steps.iter().zip(chain).map_while(|(step, recorder)| {
            let result = recorder.result()?;
            Some(Step { stage: step.stage, shared_with: step.shared_with, result })
        });
        all.push(Recorded {
            steps: steps.collect(),
            outcome: outcomes.into_iter().nth(index).expect("each destination has an outcome"),
            content: locked(&sink.0).take(),
        });
    }
    all
}

/// Applies the transform of a stage once, and returns the same result from then on.
#[derive(Debug)]
struct Recorder {
    stage: Stage,
    result: Mutex<Option<TransformResult>>,
}

impl Recorder {
    const fn new(stage: Stage) -> Self {
        Self { stage, result: Mutex::new(None) }
    }

    /// Returns `stage`, with this recorder in the place of its transform.
    fn stage(self: &Arc<Self>, stage: &Stage) -> Stage {
        let (name, settings) = (stage.name().to_owned(), stage.settings().to_owned());
        Stage::new(name.into(), settings, stage.on_failure(), stage.may_pass(), Arc::clone(self) as _)
    }

    /// Returns the result, if the transform was applied.
    fn result(&self) -> Option<TransformResult> {
        locked(&self.result).as_ref().map(copied)
    }
}

impl Transform for Recorder {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t> {
        Box::pin(async move {
            if let Some(result) = self.result() {
                return result;
            }
            // This result stays if the fan-out stops waiting.
            let timed_out = Failure::new(Reason::TimedOut, "it did not end in time");
            *locked(&self.result) = Some(Err(timed_out));
            let result = copied(&self.stage.transform().apply(message, context).await);
            *locked(&self.result) = Some(copied(&result));
            result
        })
    }
}

/// Accepts everything, and keeps the last of it.
#[derive(Clone, Debug, Default)]
struct Sink(Arc<Mutex<Option<Content>>>);

impl Publisher for Sink {
    async fn publish(&self, _: &Topic<'_>, text: &str) -> Result<(), Failure> {
        *locked(&self.0) = Some(Content::Text(text.to_owned()));
        Ok(())
    }
}

impl ServiceSender for Sink {
    fn send<'c>(
        &'c self,
        request: &'c ServiceRequest,
        _: Option<&'c str>,
        _: Instant,
    ) -> BoxFuture<'c, Sent> {
        *locked(&self.0) = Some(Content::Request(Box::new(request.clone())));
        Box::pin(ready(Sent { attempts: 1, result: Ok(Accepted::Created) }))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies a result, without the source of an error.
fn copied(result: &Result<Transformed<'_>, Failure>) -> TransformResult {
    match result {
        Ok(Transformed::Message(Message { text, language, found })) => Ok(Transformed::Message(Message {
            text: text.to_string().into(),
            language: language.as_ref().map(|code| code.to_string().into()),
            found: found.clone(),
        })),
        Ok(Transformed::Dropped(reason)) => Ok(Transformed::Dropped(reason.to_string().into())),
        Err(error) => Err(Failure::new(error.reason, error.detail.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fanout_core::file;
    use fanout_core::transform::{Build, TransformSettings, Transforms};
    use serde::{Deserialize, Serialize};

    use super::super::outline::Outline;
    use super::*;
    use crate::event;

    /// Returns the recording of each destination, with the results of its transforms as text.
    async fn recorded(
        text: &str,
        transforms: &Transforms,
    ) -> Vec<(Vec<String>, DeliveryOutcome, Option<Content>)> {
        let routes = file::read(text, transforms, fanout_aws::KINDS).unwrap();
        let outline = Outline::new(text, &routes);
        let event = event::read("f", br#"{"cache": "c", "topic": "in", "text": " Hello "}"#).unwrap();
        let plan = routes.plan(&event).unwrap().unwrap();
        let recorded = record(outline.find(plan.route()), &event).await;
        let result = |step: &Step<'_>| match &step.result {
            Ok(Transformed::Message(message)) => message.text.to_string(),
            Ok(Transformed::Dropped(reason)) => format!("dropped: {reason}"),
            Err(error) => format!("failed: {error}"),
        };
        let all = |one: Recorded<'_>| (one.steps.iter().map(result).collect(), one.outcome, one.content);
        recorded.into_iter().map(all).collect()
    }

    #[tokio::test]
    async fn records_each_destination_and_applies_shared_transforms_once() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let transforms = Transforms::standard().with_text("count", move |text| {
            counted.fetch_add(1, Ordering::Relaxed);
            text.trim().to_owned()
        });
        let limited = |on_failure: &str| {
            format!("{{ pseudolocalize = {{ target = 'es', max_bytes = 3, on_failure = '{on_failure}' }} }}")
        };
        // Two destinations have the same topic, and one text each.
        let text = format!(
            "[[routes]]\ntopic = 'in'\ntransforms = ['count']\ndestinations = [
             {{ topic = 'a', extra_transforms = ['uppercase'] }}, {{ topic = 'a', extra_transforms = ['lowercase'] }},
             {{ topic = 'b', extra_transforms = [{}, 'uppercase'] }}, {{ topic = 'c', extra_transforms = [{}, 'uppercase'] }},
             {{ topic = 'd', extra_transforms = [{}, 'uppercase'] }}, 'for-{{token_id}}', {{ topic = 'e', transforms = [] }},
             {{ sqs = {{ queue = 'https://sqs/q' }} }}]",
            limited("fail"),
            limited("drop"),
            limited("pass")
        );
        let recorded = recorded(&text, &transforms).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);

        let statuses: Vec<_> = recorded.iter().map(|(_, outcome, _)| outcome.status()).collect();
        let (done, refused) = ("published", "refused");
        assert_eq!(statuses, [done, done, refused, "dropped", done, refused, done, done]);
        let steps: Vec<_> = recorded.iter().map(|(steps, ..)| steps.len()).collect();
        assert_eq!(steps, [2, 2, 2, 2, 3, 1, 0, 1]);
        assert_eq!(recorded[0].0, ["Hello", "HELLO"]);
        assert!(recorded[4].0[1].starts_with("failed: ") && recorded[4].0[2] == "HELLO", "{recorded:?}");
        let texts: Vec<_> = recorded.iter().map(|(.., content)| content.as_ref()).collect();
        let text = |text: &str| Some(Content::Text(text.to_owned()));
        let expected = [text("HELLO"), text("hello"), None, None, text("HELLO"), None, text(" Hello ")];
        assert_eq!(texts[..7], expected.each_ref().map(Option::as_ref));
        assert!(
            matches!(texts[7], Some(Content::Request(request)) if request.to_string().contains("Hello")),
            "{texts:?}"
        );
    }

    #[derive(Debug, Deserialize, Serialize)]
    struct Hang {}

    impl TransformSettings for Hang {
        const NAME: &'static str = "hang";

        fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
            Ok(Arc::new(self))
        }
    }

    impl Transform for Hang {
        fn apply<'t>(&'t self, _: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn records_a_transform_that_hangs_as_timed_out_and_applies_it_once() {
        let text = "[[routes]]\ntopic = 'in'\ntransforms = ['hang']\ndestinations = ['a', 'b']";
        let started = Instant::now();
        let recorded = recorded(text, &Transforms::standard().with::<Hang>()).await;
        assert!(started.elapsed() < RESPONSE_TIMEOUT, "it hangs once");
        for (steps, outcome, content) in recorded {
            assert_eq!(steps, ["failed: it did not end in time"]);
            assert_eq!((outcome.failure(), content), (Some(Reason::TimedOut), None));
        }
    }
}
