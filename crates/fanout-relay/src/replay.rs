//! Delivers messages to another target than that of their subscription, without a change of their spool.

use std::sync::Arc;
use std::time::Duration;

use crate::operations::{ListedMessage, ShownMessage};
use crate::schedule::{self, End, Lane, Order, Schedule, Target};
use crate::spool::{
    Change, Limits, Location, MessageId, OpenError, Outcome, Payload, Received, Spool, SpoolError, Spooled,
};

/// The retries of a replay, for which an operator waits.
const RETRY: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];

/// Error for messages that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The spool in memory cannot be created.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The spool in memory fails.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The target wants no messages.
    #[error("the target wants no messages: {0}")]
    Disabled(String),
}

/// The outcomes of messages.
#[derive(Debug)]
pub struct Replayed {
    /// The number of messages that the target has.
    pub delivered: u64,
    /// The messages that it does not take, each with its error.
    pub dead: Vec<Spooled>,
}

/// Delivers messages as a relay does: from a spool, with retries, and in the order of each topic. Each keeps its id and its
/// times. Returns when each message is delivered or dead.
///
/// # Errors
/// If the target disables itself, or memory does not suffice.
pub async fn replay(messages: Vec<ShownMessage>, target: Arc<dyn Target>) -> Result<Replayed, ReplayError> {
    let limits = Limits { max_messages: u64::MAX, max_bytes: u64::MAX, ..Limits::default() };
    let spool = Spool::open(&Location::Memory, limits)?;
    let subscription = spool.subscription("replay").await?;
    for ShownMessage { message, token_id, text, binary } in messages {
        let ListedMessage { cache, topic, page, number, received_at, .. } = message;
        let (topic, _) = spool.topic(subscription, &cache, &topic).await?;
        let payload = match (text, binary) {
            (Some(text), _) => Payload::Text(text),
            (None, binary) => Payload::Binary(binary.unwrap_or_default()),
        };
        let cursor = None;
        let received = Received { topic, page, number, received_at, token_id, payload, cursor };
        spool.send(Change::Received(received)).await?;
    }
    spool.flush().await?;
    // An old message is wanted all the same.
    let schedule = Schedule {
        order: Order::Topic,
        retry: RETRY.to_vec(),
        expire_after: Duration::MAX,
        ..Schedule::default()
    };
    let mut changes = spool.changes();
    let complete = async { while spool.usage().messages > 0 && changes.changed().await.is_ok() {} };
    let lane = Arc::new(Lane::new(spool.clone(), schedule, target));
    if let End::Disabled(error) = schedule::run(lane, subscription, complete).await? {
        return Err(ReplayError::Disabled(error));
    }
    let delivered = spool.totals().await?.iter().map(|topic| topic.delivered).sum();
    let dead = spool.finished(Outcome::Dead, MessageId::default(), usize::MAX).await?;
    Ok(Replayed { delivered, dead })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::schedule::Attempt;

    /// Records the messages. It rejects the number 2, and is gone at 9.
    #[derive(Debug, Default)]
    struct Fake(Mutex<Vec<(u64, u64, Payload)>>);

    impl Target for Fake {
        fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
            let delivered = (message.number, message.received_at, message.payload.clone());
            self.0.lock().unwrap().push(delivered);
            let error = "no".to_owned();
            Box::pin(std::future::ready(match message.number {
                2 => Attempt::Permanent { error },
                9 => Attempt::Disabled { error },
                _ => Attempt::Delivered,
            }))
        }
    }

    fn message(number: u64, text: Option<&str>, binary: Option<&[u8]>) -> ShownMessage {
        let message = ListedMessage {
            id: 1,
            cache: "c".to_owned(),
            topic: "t".to_owned(),
            page: 1,
            number,
            received_at: number,
            attempts: 3,
            outcome: Some(Outcome::Delivered),
            error: None,
        };
        let (text, binary) = (text.map(str::to_owned), binary.map(<[u8]>::to_vec));
        ShownMessage { message, token_id: None, text, binary }
    }

    #[tokio::test]
    async fn delivers_old_messages_in_order_with_their_times() {
        let fake = Arc::new(Fake::default());
        let target = Arc::clone(&fake) as Arc<dyn Target>;
        let messages =
            vec![message(1, Some("a"), None), message(2, Some("b"), None), message(3, None, Some(&[0]))];
        let replayed = replay(messages, target).await.unwrap();
        let dead: Vec<_> = replayed.dead.iter().map(|dead| (dead.number, dead.error.as_deref())).collect();
        assert_eq!((replayed.delivered, &dead[..]), (2, &[(2, Some("no"))][..]));
        let delivered = fake.0.lock().unwrap().clone();
        let expected =
            [Payload::Text("a".to_owned()), Payload::Text("b".to_owned()), Payload::Binary(vec![0])];
        let expected: Vec<_> =
            (1..).zip(expected).map(|(number, payload)| (number, number, payload)).collect();
        assert_eq!(delivered, expected);
    }

    #[tokio::test]
    async fn ends_if_the_target_wants_no_messages() {
        let messages = vec![message(9, Some("a"), None)];
        let error = replay(messages, Arc::new(Fake::default())).await.unwrap_err();
        assert!(matches!(error, ReplayError::Disabled(error) if error == "no"));
    }
}
