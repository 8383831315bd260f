//! A queue of Amazon SQS as a target. The function `webhook` reads it in batches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::destination::AwsSender;
use fanout_core::destination::sqs::{QueueMessage, group_of, is_fifo};
use fanout_core::reason::Reason;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::body::BodyKind;
use crate::schedule::{Attempt, Target};
use crate::spool::Spooled;

/// The timeout of one attempt, retries of the SDK included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends each message to a queue, as the body of a webhook without a signature.
///
/// The message group is that of the topic. A FIFO queue also gets a deduplication id, which depends on the cache, the topic,
/// the page and the number only: a message that two relays send is in the queue once.
pub struct QueueTarget {
    queue: String,
    sender: Arc<dyn AwsSender>,
}

impl QueueTarget {
    /// Returns the target for the queue with this URL.
    #[must_use]
    pub fn new(queue: String, sender: Arc<dyn AwsSender>) -> Self {
        Self { queue, sender }
    }

    async fn attempt(&self, message: &Spooled) -> Attempt {
        let (mut event, kind) = BodyKind::of(message);
        event.publish_timestamp = SystemClock.now();
        let request = QueueMessage {
            queue: self.queue.clone(),
            body: kind.body(&event),
            group: Some(group_of(&event)),
            deduplication: is_fifo(&self.queue).then(|| kind.id(&event)),
            attributes: BTreeMap::new(),
            delay_seconds: None,
        };
        let deadline = Instant::now() + ATTEMPT_TIMEOUT;
        let Err(failure) = self.sender.send(&request.into(), None, deadline).await.result else {
            return Attempt::Delivered;
        };
        let error = failure.to_string();
        match failure.reason {
            Reason::InvalidArgument | Reason::TooLarge => Attempt::Permanent { error },
            // A missing queue or permission is a fault of the target, and not of the message.
            _ => Attempt::Transient { error, retry_after: None, progress: None },
        }
    }
}

impl Target for QueueTarget {
    fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
        Box::pin(self.attempt(message))
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

    use fanout_core::destination::{Accepted, AwsRequest, Sent};
    use fanout_core::reason::Failure;
    use serde_json::{Value, json};

    use super::*;
    use crate::spool::{GapNotice, Payload};
    use crate::webhook::tests::message;

    /// Records requests, and fails with this reason.
    #[derive(Debug, Default)]
    struct Fake(Option<Reason>, Mutex<Vec<Value>>);

    impl AwsSender for Fake {
        fn send<'c>(
            &'c self,
            request: &'c AwsRequest,
            _: Option<&'c str>,
            _: Instant,
        ) -> BoxFuture<'c, Sent> {
            let AwsRequest::Sqs(message) = request else { panic!("{request:?}") };
            self.1.lock().unwrap().push(serde_json::to_value(message).unwrap());
            let result = self.0.map_or(Ok(Accepted::Created), |reason| Err(Failure::from(reason)));
            Box::pin(std::future::ready(Sent { attempts: 1, result }))
        }
    }

    const FIFO: &str = "https://sqs.eu-west-1.amazonaws.com/1/events.fifo";

    async fn sent(queue: &str, payload: Payload) -> Value {
        let fake = Arc::new(Fake::default());
        let target = QueueTarget::new(queue.to_owned(), Arc::clone(&fake) as Arc<dyn AwsSender>);
        assert_eq!(target.deliver(&message(payload)).await, Attempt::Delivered);
        fake.1.lock().unwrap().remove(0)
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
    async fn only_failures_of_the_message_itself_are_permanent() {
        for (reason, permanent) in [
            (Reason::InvalidArgument, true),
            (Reason::TooLarge, true),
            (Reason::Unavailable, false),
            (Reason::NotFound, false),
            (Reason::PermissionDenied, false),
            (Reason::Unauthenticated, false),
        ] {
            let target = QueueTarget::new(FIFO.to_owned(), Arc::new(Fake(Some(reason), Mutex::default())));
            let attempt = target.deliver(&message(Payload::Text("hi".to_owned()))).await;
            assert_eq!(matches!(attempt, Attempt::Permanent { .. }), permanent, "{reason}");
        }
    }
}
