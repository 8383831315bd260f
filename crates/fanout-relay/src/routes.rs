//! Routes of a `fanout.toml` as a target: messages go from topic to topic in this process, without a webhook.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use fanout_core::dedupe::DestinationProgress;
use fanout_core::destination::Publisher;
use fanout_core::fan_out::{DeliveryOutcome, FanOut};
use fanout_core::reason::Reason;
use fanout_core::route::{Plan, Routes};
use futures_util::future::BoxFuture;
use momento_webhook::Verified;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::schedule::{Attempt, Target};
use crate::spool::{Payload, Spooled};

/// The timeout of one attempt, retries of its publishes included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends messages through routes. A message without a route counts as delivered.
pub struct RoutesTarget<P> {
    file: String,
    routes: Routes,
    fan_out: FanOut<P>,
}

/// The progress of one message at its destinations, by their ids; pending ones are left out. An edited file has other ids where it differs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress(HashMap<String, DestinationProgress>);

impl<P: Publisher> RoutesTarget<P> {
    /// Returns the target for the routes of `file`, which is its name in logs.
    #[must_use]
    pub fn new(file: String, routes: Routes, fan_out: FanOut<P>) -> Self {
        Self { file, routes, fan_out }
    }

    async fn attempt(&self, message: &Spooled) -> Attempt {
        let text = match &message.payload {
            Payload::Text(text) => text.clone(),
            Payload::Binary(_) => {
                return Attempt::Permanent {
                    error: "the message is binary, and routes take texts".to_owned(),
                };
            }
            Payload::Gap(_) => {
                return Attempt::Permanent { error: "routes take no notices of gaps".to_owned() };
            }
        };
        // Momento authenticated the publisher, and the relay made the event.
        let event = Verified::trusted(message.event(text));
        let plan = match self.routes.plan(&event) {
            Ok(Some(plan)) => plan,
            Ok(None) => return Attempt::Delivered,
            Err(error) => return Attempt::Permanent { error: error.to_string() },
        };
        let before = Progress::read(message.progress.as_deref());
        let progress = before.of(&plan);
        let deadline = Instant::now() + ATTEMPT_TIMEOUT;
        let outcomes = self.fan_out.serve(&plan, Some(&progress), None, deadline).await;
        result(&plan, &outcomes, &progress)
    }
}

/// Returns the result of an attempt. `earlier` is the progress before it.
fn result(plan: &Plan<'_>, outcomes: &[DeliveryOutcome], earlier: &[DestinationProgress]) -> Attempt {
    let destinations = plan.route().destinations();
    let failures: Vec<(String, Reason)> = destinations
        .iter()
        .zip(outcomes)
        .filter_map(|(destination, outcome)| Some((destination.to.to_string(), outcome.failure()?)))
        .collect();
    if failures.is_empty() {
        return Attempt::Delivered;
    }
    let texts: Vec<_> = failures.iter().map(|(to, reason)| format!("{to}: {reason}")).collect();
    let error = texts.join("; ");
    // A destination that fails for good does not keep the others from another attempt.
    if failures.iter().any(|(_, reason)| reason.is_transient()) {
        let all = destinations.iter().zip(outcomes.iter().zip(earlier));
        let progress = all.map(|(destination, (outcome, earlier))| {
            (destination.id().to_owned(), outcome.progress(Some(earlier)))
        });
        let progress =
            Progress(progress.filter(|(_, progress)| *progress != DestinationProgress::Pending).collect());
        let progress = serde_json::to_string(&progress).expect("a map with texts as keys is valid JSON");
        Attempt::Transient { error, retry_after: None, progress: Some(progress) }
    } else {
        Attempt::Permanent { error }
    }
}

impl Progress {
    /// Reads what an earlier attempt left. Other content, as from another target, means no progress: a destination may
    /// then get the message twice.
    fn read(progress: Option<&str>) -> Self {
        progress.and_then(|progress| serde_json::from_str(progress).ok()).unwrap_or_default()
    }

    /// Returns the progress of each destination of a plan.
    fn of(&self, plan: &Plan<'_>) -> Vec<DestinationProgress> {
        let of = |id: &str| self.0.get(id).cloned().unwrap_or(DestinationProgress::Pending);
        plan.route().destinations().iter().map(|destination| of(destination.id())).collect()
    }
}

impl<P: Publisher + fmt::Debug + Send + Sync + 'static> Target for RoutesTarget<P> {
    fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
        Box::pin(self.attempt(message))
    }
}

/// Shows only the name of the file.
impl<P> fmt::Debug for RoutesTarget<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use fanout_core::destination::Topic;
    use fanout_core::file;
    use fanout_core::reason::Failure;
    use fanout_core::retry::RetryPolicy;
    use fanout_core::transform::Transforms;

    use super::*;
    use crate::webhook::tests::message;

    const ROUTES: &str = "[[routes]]\ntopic = 't'\ntransforms = ['uppercase']\n\
                          destinations = ['good', 'bad', { topic = 'none', transforms = [{ filter = { matches = 'x' } }] }]";

    /// Records publishes, and fails for the topic `bad` with these reasons first.
    #[derive(Clone, Debug, Default)]
    struct Fake(Arc<Mutex<(Vec<Reason>, Vec<String>)>>);

    impl Publisher for Fake {
        async fn publish(&self, topic: &Topic<'_>, text: &str) -> Result<(), Failure> {
            let mut state = self.0.lock().unwrap();
            let failure = if topic.topic == "bad" { state.0.pop() } else { None };
            if let Some(reason) = failure {
                return Err(reason.into());
            }
            state.1.push(format!("{}: {text}", topic.topic));
            Ok(())
        }
    }

    fn target(failures: Vec<Reason>) -> (RoutesTarget<Fake>, Fake) {
        let fake = Fake::default();
        fake.0.lock().unwrap().0 = failures;
        let routes = file::read(ROUTES, &Transforms::standard(), &[]).unwrap();
        let retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::PUBLISH };
        (RoutesTarget::new("f".to_owned(), routes, FanOut::new(fake.clone(), retry)), fake)
    }

    fn text() -> Spooled {
        message(Payload::Text("hi".to_owned()))
    }

    #[tokio::test]
    async fn retry_serves_only_destinations_that_lack_the_message() {
        let (target, fake) = target(vec![Reason::Unavailable]);
        let attempt = target.deliver(&text()).await;
        let Attempt::Transient { error, progress, .. } = attempt else { panic!("{attempt:?}") };
        assert_eq!(error, "bad: unavailable");
        let message = Spooled { progress, ..text() };
        assert_eq!(target.deliver(&message).await, Attempt::Delivered);
        assert_eq!(fake.0.lock().unwrap().1, ["good: HI", "bad: HI"]);
    }

    #[tokio::test]
    async fn retry_publishes_to_topics_of_a_list_that_lack_the_message() {
        let (fake, text) = (Fake::default(), r#"{"to":["bad","a"]}"#);
        fake.0.lock().unwrap().0 = vec![Reason::Unavailable];
        let file = "[[routes]]\ntopic = 't'\ndestinations = [{ topic = '{each}', for_each = '{json.to}' }]";
        let routes = file::read(file, &Transforms::standard(), &[]).unwrap();
        let retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::PUBLISH };
        let target = RoutesTarget::new("f".to_owned(), routes, FanOut::new(fake.clone(), retry));
        let attempt = target.deliver(&message(Payload::Text(text.to_owned()))).await;
        let Attempt::Transient { error, progress, .. } = attempt else { panic!("{attempt:?}") };
        assert_eq!(error, "{each}: unavailable");
        let message = Spooled { progress, ..message(Payload::Text(text.to_owned())) };
        assert_eq!(target.deliver(&message).await, Attempt::Delivered);
        assert_eq!(fake.0.lock().unwrap().1, [format!("a: {text}"), format!("bad: {text}")]);
    }

    #[tokio::test]
    async fn permanent_failure_makes_message_dead_once_nothing_is_transient() {
        let (target, _) = target(vec![Reason::NotFound]);
        let error = "bad: not found".to_owned();
        assert_eq!(target.deliver(&text()).await, Attempt::Permanent { error });
    }

    #[tokio::test]
    async fn message_without_route_is_delivered_and_binary_one_is_rejected() {
        let (target, fake) = target(Vec::new());
        let other = Spooled { topic_name: "other".to_owned(), ..text() };
        assert_eq!(target.deliver(&other).await, Attempt::Delivered);
        let attempt = target.deliver(&message(Payload::Binary(vec![0]))).await;
        assert!(matches!(attempt, Attempt::Permanent { .. }), "{attempt:?}");
        assert_eq!(fake.0.lock().unwrap().1, Vec::<String>::new());
    }

    #[tokio::test]
    async fn ignores_progress_of_another_target() {
        let (target, fake) = target(Vec::new());
        let message = Spooled { progress: Some("7".to_owned()), ..text() };
        assert_eq!(target.deliver(&message).await, Attempt::Delivered);
        assert_eq!(fake.0.lock().unwrap().1.len(), 2);
    }
}
