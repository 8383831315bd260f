//! Dead letters: copies of dead messages, for a queue or a topic. The function `webhook` reads those of a queue.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::destination::{Publisher, Topic};
use fanout_core::retry::RetryPolicy;
use futures_util::future::BoxFuture;
use momento_webhook::Millis;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::body::BodyKind;
use crate::queue::attempt_of;
use crate::schedule::{Attempt, Lane, Target, deliver_contained};
use crate::spool::{Change, MessageId, Outcome, SpoolError, Spooled, SubscriptionId};

/// The waits between attempts while some dead letter is not accepted.
const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: u32::MAX,
    attempt_timeout: Duration::from_secs(5),
    initial_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_mins(5),
};

/// Returns the body of a dead letter. Without a list of destinations, it is for all of them.
pub(crate) fn body(subscription: &str, message: &Spooled, now: Millis) -> String {
    #[derive(Serialize)]
    struct Body<'b> {
        dead_letter: Head<'b>,
        event: Box<RawValue>,
    }
    #[derive(Serialize)]
    struct Head<'b> {
        timestamp: Millis,
        subscription: &'b str,
        attempts: u32,
        error: Option<&'b str>,
    }
    let (event, kind) = BodyKind::of(message);
    let event = RawValue::from_string(kind.body(&event)).expect("the body of a webhook is JSON");
    let (attempts, error) = (message.attempts, message.error.as_deref());
    let body = Body { dead_letter: Head { timestamp: now, subscription, attempts, error }, event };
    serde_json::to_string(&body).expect("texts and numbers under text keys are JSON")
}

/// Publishes dead letters to a topic.
pub struct DeadLetterTopic<P> {
    subscription: String,
    topic: Topic<'static>,
    publisher: P,
}

impl<P: Publisher> DeadLetterTopic<P> {
    /// Returns the target for the dead messages of the subscription with this name.
    #[must_use]
    pub fn new(subscription: String, topic: Topic<'static>, publisher: P) -> Self {
        Self { subscription, topic, publisher }
    }
}

impl<P: Publisher> Target for DeadLetterTopic<P> {
    fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
        let body = body(&self.subscription, message, SystemClock.now());
        Box::pin(async move { attempt_of(self.publisher.publish(&self.topic, &body).await) })
    }
}

impl<P> fmt::Debug for DeadLetterTopic<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.topic.cache, self.topic.topic)
    }
}

/// Sends a copy of each dead message to `target` until `shutdown` completes. A message whose copy is accepted gets the
/// outcome [`Outcome::DeadLettered`]. The others stay dead, and are tried again.
///
/// # Errors
/// If the spool has stopped.
pub(crate) async fn run(
    lane: &Lane,
    subscription: SubscriptionId,
    target: &dyn Target,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SpoolError> {
    let mut shutdown = pin!(shutdown);
    let mut failures = 0;
    loop {
        let is_complete = send_all(lane, subscription, target).await?;
        match (is_complete, failures) {
            (true, 0) => {}
            (true, _) => tracing::info!(?target, "dead letters are accepted again"),
            // One line for each outage, and not for each attempt.
            (false, 0) => tracing::error!(?target, "dead letters are not accepted; they stay in the spool"),
            (false, _) => {}
        }
        failures = if is_complete { 0 } else { failures + 1 };
        let backoff = RETRY.backoff(failures, &mut rand::rng());
        let more = async {
            if is_complete {
                lane.died.notified().await;
            } else {
                tokio::time::sleep(backoff).await;
            }
        };
        tokio::select! {
            () = more => {}
            () = &mut shutdown => return Ok(()),
        }
    }
}

/// Sends a copy of each dead message once. Returns true if all of them were accepted.
async fn send_all(
    lane: &Lane,
    subscription: SubscriptionId,
    target: &dyn Target,
) -> Result<bool, SpoolError> {
    let (mut is_complete, mut after) = (true, MessageId::default());
    loop {
        let page = lane.spool.dead(subscription, after, target.batch_size()).await?;
        let Some(last) = page.last() else { return Ok(is_complete) };
        after = last.id;
        let mut is_away = false;
        for (message, attempt) in page.iter().zip(deliver_contained(target, &page).await) {
            if attempt == Attempt::Delivered {
                let (id, outcome, at) = (message.id, Outcome::DeadLettered, SystemClock.now());
                lane.spool.send(Change::Finished { id, outcome, attempts: None, at, error: None }).await?;
                continue;
            }
            lane.metrics.dead_letter_failed();
            is_complete = false;
            // A letter that is never accepted does not keep others from their attempt.
            is_away |= !matches!(attempt, Attempt::Permanent { .. });
        }
        if is_away {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use fanout_core::dead_letter::DeadLetter;
    use fanout_core::reason::{Failure, Reason};
    use tokio::sync::oneshot;

    use super::*;
    use crate::schedule::Schedule;
    use crate::spool::{GapNotice, Limits, Location, Payload, Received, Spool};
    use crate::webhook::tests::message;

    /// Records texts, and fails with these reasons first.
    #[derive(Clone, Debug, Default)]
    struct Fake(Arc<Mutex<(Vec<Reason>, Vec<String>)>>);

    impl Publisher for Fake {
        async fn publish(&self, _: &Topic<'_>, text: &str) -> Result<(), Failure> {
            let mut state = self.0.lock().unwrap();
            let failure = state.0.pop().map(Failure::from);
            if failure.is_none() {
                state.1.push(text.to_owned());
            }
            failure.map_or(Ok(()), Err)
        }
    }

    #[test]
    fn function_reads_body_as_dead_letter_for_all_destinations() {
        for payload in [
            Payload::Text("hi".to_owned()),
            Payload::Binary(vec![0]),
            Payload::Gap(GapNotice { first: 1, last: 2, reason: "lost".to_owned() }),
        ] {
            let dead = Spooled { error: Some("422".to_owned()), attempts: 3, ..message(payload) };
            let body = body("s", &dead, 7);
            assert!(body.starts_with(
                r#"{"dead_letter":{"timestamp":7,"subscription":"s","attempts":3,"error":"422"},"event":{"cache":"c","#
            ));
            let letter = DeadLetter::read(&body).unwrap().expect("it has the shape of a dead letter");
            assert_eq!(letter.event.topic_sequence_page, Some(9));
        }
    }

    /// Runs until a spool with three dead messages has none. Returns the number of those that are dead-lettered, and the texts.
    async fn dead_lettered(failures: Vec<Reason>) -> (u64, Vec<String>) {
        let spool = Spool::open(&Location::Memory, Limits::default()).unwrap();
        let subscription = spool.subscription("s").await.unwrap();
        let (topic, _) = spool.topic(subscription, "c", "t").await.unwrap();
        for number in 1..=3 {
            let payload = Payload::Text(format!("text {number}"));
            let (token_id, cursor, received_at) = (None, None, 7);
            let received = Received { topic, page: 1, number, received_at, token_id, payload, cursor };
            spool.send(Change::Received(received)).await.unwrap();
        }
        for message in spool.oldest(topic, 9).await.unwrap() {
            let (id, error) = (message.id, Some("422".to_owned()));
            let outcome = Outcome::Dead;
            spool.send(Change::Finished { id, outcome, attempts: Some(1), at: 9, error }).await.unwrap();
        }
        let fake = Fake::default();
        fake.0.lock().unwrap().0 = failures;
        let target = Arc::new(DeadLetterTopic::new("s".to_owned(), Topic::new("c", "dead"), fake.clone()));
        let lane = Lane::new(spool.clone(), Schedule::default(), Arc::clone(&target) as Arc<dyn Target>);
        let (stop, stopped) = oneshot::channel::<()>();
        let mut changes = spool.changes();
        let watched = async {
            loop {
                let totals = spool.totals().await.unwrap().remove(0);
                if totals.dead == 0 {
                    drop(stop);
                    return totals.dead_lettered;
                }
                changes.changed().await.unwrap();
            }
        };
        let shutdown = async { drop(stopped.await) };
        let (ended, count) = tokio::join!(run(&lane, subscription, &*target, shutdown), watched);
        ended.unwrap();
        let texts = fake.0.lock().unwrap().1.clone();
        (count, texts)
    }

    #[tokio::test(start_paused = true)]
    async fn message_leaves_the_spool_once_its_copy_is_accepted() {
        let (count, texts) = dead_lettered(vec![]).await;
        assert_eq!((count, texts.len()), (3, 3));
        for (number, text) in (1..).zip(texts) {
            let letter = DeadLetter::read(&text).unwrap().unwrap();
            assert_eq!(letter.event.text, format!("text {number}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn copies_are_retried_until_they_are_accepted() {
        let (count, texts) = dead_lettered(vec![Reason::NotFound, Reason::Unavailable]).await;
        assert_eq!((count, texts.len()), (3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn copy_that_is_not_acceptable_does_not_hold_up_others() {
        let (count, texts) = dead_lettered(vec![Reason::TooLarge]).await;
        assert_eq!(count, 3);
        let number = |text: &String| DeadLetter::read(text).unwrap().unwrap().event.topic_sequence_number;
        assert_eq!(texts.iter().map(number).collect::<Vec<_>>(), [2, 3, 1]);
    }
}
