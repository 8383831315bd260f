//! What runs beside the session, and hands in what happens.

use std::time::Duration;

use fanout_core::destination::{AwsRequest, Publisher as _, Topic};
use fanout_momento::status::describe_failure;
use fanout_momento::{MomentoPublisher, Subscription, SubscriptionError, SubscriptionEvent};
use momento_webhook::Event as Webhook;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use super::tracker::Id;
use crate::deliver::{Delivered, Deliverer, Failure, Undelivered};
use crate::input::{Line, read_line};

/// What happens.
pub(super) enum Happening {
    /// To the subscription to the topic in this place.
    Subscription {
        place: usize,
        event: SubscriptionEvent,
        at: Instant,
    },
    /// The function is about to publish; not told of one that runs elsewhere.
    Publishing {
        cache: String,
        topic: String,
        text: String,
    },
    /// The function has something for a place that is no topic; not told of one that runs elsewhere.
    HandingIn {
        request: Box<AwsRequest>,
        /// Whether it was really sent.
        is_sent: bool,
    },
    Refused(SubscriptionError),
    NotPublished {
        id: Id,
        reason: String,
    },
    TryAgain {
        id: Id,
        failure: Failure,
        attempt: (u32, u32),
        pause: Duration,
    },
    Delivering {
        id: Id,
    },
    Delivered {
        id: Id,
        delivered: Delivered,
        took: Duration,
    },
    Undelivered {
        id: Id,
        undelivered: Undelivered,
    },
}

/// Hands in everything that happens to a subscription, until nobody takes it or it is refused.
pub(super) async fn listen(mut subscription: Subscription, place: usize, happen: UnboundedSender<Happening>) {
    loop {
        let happening = match subscription.next().await {
            Ok(event) => Happening::Subscription { place, event, at: Instant::now() },
            Err(refused) => Happening::Refused(refused),
        };
        let over = matches!(happening, Happening::Refused(_));
        if happen.send(happening).is_err() || over {
            return;
        }
    }
}

/// Publishes one text after the other. Not tried again: that could publish twice.
pub(super) async fn publish(
    publisher: MomentoPublisher,
    (cache, topic): (String, String),
    mut texts: UnboundedReceiver<(Id, String)>,
    happen: UnboundedSender<Happening>,
) {
    let topic = Topic::new(&*cache, &*topic);
    while let Some((id, text)) = texts.recv().await {
        if let Err(error) = publisher.publish(&topic, &text).await {
            let _ = happen.send(Happening::NotPublished { id, reason: describe_failure(&error) });
        }
    }
}

/// Delivers one event after the other.
pub(super) async fn deliver(
    target: Deliverer,
    mut events: UnboundedReceiver<(Id, Webhook)>,
    happen: UnboundedSender<Happening>,
) {
    while let Some((id, mut event)) = events.recv().await {
        let _ = happen.send(Happening::Delivering { id });
        let begun = Instant::now();
        let outcome = target
            .deliver(&mut event, |again| {
                let failure = again.failure.clone();
                let attempt = (again.attempt, again.max_attempts);
                let _ = happen.send(Happening::TryAgain { id, failure, attempt, pause: again.pause });
            })
            .await;
        let _ = happen.send(match outcome {
            Ok(delivered) => Happening::Delivered { id, delivered, took: begun.elapsed() },
            Err(undelivered) => Happening::Undelivered { id, undelivered },
        });
    }
}

/// A thread of its own, that the process does not wait for when it ends: reading a terminal cannot be
/// broken off.
pub(super) fn read_lines(lines: mpsc::Sender<Line>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("typing".to_owned());
    thread.spawn(move || {
        let mut input = std::io::stdin().lock();
        // What cannot be read has ended.
        while let Ok(Some((line, is_last))) = read_line(&mut input) {
            if lines.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(())
}
