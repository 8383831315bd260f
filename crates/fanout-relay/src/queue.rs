//! A queue of Amazon SQS as a target. The function `webhook` reads it in batches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::destination::sqs::{
    MAX_BATCH, QueueMessage, QueueSender, batches, escaped, group_of, is_fifo,
};
use fanout_core::reason::{Failure, Reason};
use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use crate::body::BodyKind;
use crate::dead_letter;
use crate::schedule::{Attempt, Target};
use crate::spool::Spooled;

/// The timeout of one attempt, retries of the SDK included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends messages to a queue, as bodies of webhooks without signatures. What is due at the same time is sent with one call.
///
/// The message group is that of the topic. A FIFO queue also gets a deduplication id, which depends on the cache, the topic,
/// the page and the number only: a message that two relays send is in the queue once.
pub struct QueueTarget {
    queue: String,
    sender: Arc<dyn QueueSender>,
    /// The name of a subscription, whose dead messages are sent as dead letters.
    dead_letters_of: Option<String>,
}

impl QueueTarget {
    /// Returns the target for the queue with this URL.
    #[must_use]
    pub fn new(queue: String, sender: Arc<dyn QueueSender>) -> Self {
        Self { queue, sender, dead_letters_of: None }
    }

    /// Sends dead letters of the subscription with this name instead.
    #[must_use]
    pub fn for_dead_letters(self, subscription: String) -> Self {
        Self { dead_letters_of: Some(subscription), ..self }
    }

    async fn attempt(&self, messages: &[Spooled]) -> Vec<Attempt> {
        let messages: Vec<_> = messages.iter().map(|message| self.message(message)).collect();
        let deadline = Instant::now() + ATTEMPT_TIMEOUT;
        let calls = batches(&messages).into_iter().map(|batch| self.call(batch, deadline));
        join_all(calls).await.into_iter().flatten().collect()
    }

    fn message(&self, message: &Spooled) -> QueueMessage {
        let (mut event, kind) = BodyKind::of(message);
        event.publish_timestamp = SystemClock.now();
        let (body, id) = match &self.dead_letters_of {
            None => (kind.body(&event), kind.id(&event)),
            // A message that is redriven and dead again is another dead letter.
            Some(subscription) => (
                dead_letter::body(subscription, message, event.publish_timestamp),
                format!("{}_{}", kind.id(&event), message.received_at),
            ),
        };
        QueueMessage {
            queue: self.queue.clone(),
            body: escaped(&body),
            group: Some(group_of(&event)),
            deduplication: is_fifo(&self.queue).then_some(id),
            attributes: BTreeMap::new(),
            delay_seconds: None,
        }
    }

    fn call<'c>(&'c self, batch: &'c [QueueMessage], deadline: Instant) -> BoxFuture<'c, Vec<Attempt>> {
        Box::pin(async move {
            let failure = match self.sender.send_batch(batch, deadline).await {
                Ok(results) => return results.into_iter().map(attempt_of).collect(),
                Err(failure) => attempt_of(Err(failure)),
            };
            if batch.len() == 1 || !matches!(failure, Attempt::Permanent { .. }) {
                return vec![failure; batch.len()];
            }
            // One message can be why the others are rejected too, so each goes alone.
            let alone = batch.chunks(1).map(|message| self.call(message, deadline));
            join_all(alone).await.into_iter().flatten().collect()
        })
    }
}

/// Returns the result of an attempt for the response of a service.
pub(crate) fn attempt_of(result: Result<(), Failure>) -> Attempt {
    let Err(failure) = result else { return Attempt::Delivered };
    let error = failure.to_string();
    match failure.reason {
        Reason::InvalidArgument | Reason::TooLarge => Attempt::Permanent { error },
        // A missing queue or permission is a fault of the target, and not of the message.
        _ => Attempt::Transient { error, retry_after: None, progress: None },
    }
}

impl Target for QueueTarget {
    fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
        Box::pin(async move {
            let attempts = self.attempt(std::slice::from_ref(message)).await;
            attempts.into_iter().next().expect("each message has a result")
        })
    }

    fn batch_size(&self) -> usize {
        MAX_BATCH
    }

    fn deliver_batch<'a>(&'a self, messages: &'a [Spooled]) -> BoxFuture<'a, Vec<Attempt>> {
        Box::pin(self.attempt(messages))
    }
}

impl fmt::Debug for QueueTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.queue)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;
    use crate::spool::{GapNotice, Payload};
    use crate::webhook::tests::message;

    /// Records the calls. A call or a message whose text is in here fails with this reason.
    #[derive(Debug, Default)]
    struct Fake {
        fails_call: Option<(&'static str, Reason)>,
        fails_message: Option<(&'static str, Reason)>,
        calls: Mutex<Vec<Vec<Value>>>,
    }

    impl QueueSender for Fake {
        fn send_batch<'c>(
            &'c self,
            messages: &'c [QueueMessage],
            _: Instant,
        ) -> BoxFuture<'c, Result<Vec<Result<(), Failure>>, Failure>> {
            let call = messages.iter().map(|message| serde_json::to_value(message).unwrap()).collect();
            self.calls.lock().unwrap().push(call);
            let failure = |message: &QueueMessage, fails: Option<(&str, Reason)>| {
                fails.filter(|(text, _)| message.body.contains(text)).map(|(_, reason)| Failure::from(reason))
            };
            let failed = messages.iter().find_map(|message| failure(message, self.fails_call));
            let result = |message| failure(message, self.fails_message).map_or(Ok(()), Err);
            let results = failed.map_or_else(|| Ok(messages.iter().map(result).collect()), Err);
            Box::pin(std::future::ready(results))
        }
    }

    fn target(queue: &str, fake: &Arc<Fake>) -> QueueTarget {
        QueueTarget::new(queue.to_owned(), Arc::clone(fake) as Arc<dyn QueueSender>)
    }

    fn texts(texts: &[&str]) -> Vec<Spooled> {
        texts.iter().map(|text| message(Payload::Text((*text).to_owned()))).collect()
    }

    const FIFO: &str = "https://sqs.eu-west-1.amazonaws.com/1/events.fifo";

    async fn sent(queue: &str, payload: Payload) -> Value {
        let fake = Arc::new(Fake::default());
        assert_eq!(target(queue, &fake).deliver(&message(payload)).await, Attempt::Delivered);
        fake.calls.lock().unwrap().remove(0).remove(0)
    }

    #[tokio::test]
    async fn fifo_queue_gets_group_and_stable_deduplication_id() {
        let sent_one = sent(FIFO, Payload::Text("hi".to_owned())).await;
        let again = sent(FIFO, Payload::Text("hi".to_owned())).await;
        assert_eq!((&sent_one["queue"], &sent_one["group"]), (&json!(FIFO), &json!("c#t")));
        assert_eq!(sent_one["deduplication"], again["deduplication"]);
        let body: Value = serde_json::from_str(sent_one["body"].as_str().unwrap()).unwrap();
        assert_eq!((&body["text"], &body["topic_sequence_page"]), (&json!("hi"), &json!(9)));
        let notice = GapNotice { first: 3, last: 5, reason: "lost".to_owned() };
        let gap = sent(FIFO, Payload::Gap(notice)).await;
        assert_ne!(gap["deduplication"], sent_one["deduplication"]);
    }

    #[tokio::test]
    async fn standard_queue_gets_group_only() {
        let sent = sent("https://sqs.eu-west-1.amazonaws.com/1/events", Payload::Binary(vec![0])).await;
        assert_eq!((&sent["group"], sent.get("deduplication")), (&json!("c#t"), None));
        assert!(sent["body"].as_str().unwrap().ends_with(r#""text":"AA==","encoding":"base64"}"#), "{sent}");
    }

    #[tokio::test]
    async fn dead_letter_has_another_deduplication_id_after_each_redrive() {
        let fake = Arc::new(Fake::default());
        let target = target(FIFO, &fake).for_dead_letters("s".to_owned());
        let dead = message(Payload::Text("hi".to_owned()));
        let again = Spooled { received_at: dead.received_at + 1, ..dead.clone() };
        target.deliver_batch(&[dead.clone(), dead, again]).await;
        let sent = fake.calls.lock().unwrap().concat();
        assert_eq!(sent[0]["deduplication"], sent[1]["deduplication"]);
        assert_ne!(sent[0]["deduplication"], sent[2]["deduplication"]);
        assert_eq!(sent[0]["group"], "c#t");
        let body: Value = serde_json::from_str(sent[0]["body"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&body["dead_letter"]["subscription"], &body["event"]["text"]),
            (&json!("s"), &json!("hi"))
        );
    }

    #[tokio::test]
    async fn only_failures_of_the_message_itself_are_permanent() {
        for (reason, permanent) in [
            (Reason::InvalidArgument, true),
            (Reason::TooLarge, true),
            (Reason::Unavailable, false),
            (Reason::NotFound, false),
            (Reason::PermissionDenied, false),
            (Reason::Unauthenticated, false),
        ] {
            let fake = Arc::new(Fake { fails_message: Some(("hi", reason)), ..Fake::default() });
            let attempt = target(FIFO, &fake).deliver(&message(Payload::Text("hi".to_owned()))).await;
            assert_eq!(matches!(attempt, Attempt::Permanent { .. }), permanent, "{reason}");
        }
    }

    #[tokio::test]
    async fn each_message_of_a_batch_has_its_own_result() {
        let fake = Arc::new(Fake { fails_message: Some(("bad", Reason::RateLimited)), ..Fake::default() });
        let attempts = target(FIFO, &fake).deliver_batch(&texts(&["a", "bad", "b"])).await;
        let delivered: Vec<_> = attempts.iter().map(|attempt| *attempt == Attempt::Delivered).collect();
        assert_eq!(delivered, [true, false, true]);
        assert_eq!(fake.calls.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [3]);
    }

    #[tokio::test]
    async fn message_that_makes_the_call_invalid_is_dead_alone() {
        let fake = Arc::new(Fake { fails_call: Some(("bad", Reason::InvalidArgument)), ..Fake::default() });
        let attempts = target(FIFO, &fake).deliver_batch(&texts(&["a", "bad", "b"])).await;
        let permanent = |attempt: &Attempt| matches!(attempt, Attempt::Permanent { .. });
        assert_eq!(attempts.iter().map(permanent).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(fake.calls.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 1, 1]);
    }

    #[tokio::test]
    async fn call_that_fails_is_a_transient_failure_of_each_message() {
        let fake = Arc::new(Fake { fails_call: Some(("a", Reason::Unavailable)), ..Fake::default() });
        let attempts = target(FIFO, &fake).deliver_batch(&texts(&["a", "b"])).await;
        let transient =
            |attempt: &Attempt| matches!(attempt, Attempt::Transient { error, .. } if error == "unavailable");
        assert!(attempts.len() == 2 && attempts.iter().all(transient), "{attempts:?}");
        assert_eq!(fake.calls.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn batch_is_bounded_in_bytes() {
        let fake = Arc::new(Fake::default());
        let large = "x".repeat(400_000);
        let attempts = target(FIFO, &fake).deliver_batch(&texts(&[&large, &large, &large])).await;
        assert_eq!(attempts, vec![Attempt::Delivered; 3]);
        assert_eq!(fake.calls.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }
}
