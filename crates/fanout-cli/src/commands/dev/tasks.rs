//! The tasks beside the session: subscriptions, publishing, delivery, and reading of typed lines.

use std::io::{ErrorKind, IsTerminal as _};
use std::time::Duration;

use fanout_core::destination::{Publisher as _, ServiceRequest, Topic};
use fanout_momento::status::describe_failure;
use fanout_momento::{MomentoPublisher, Subscription, SubscriptionError, SubscriptionEvent};
use momento_webhook::Event as Webhook;
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep};

use super::tracker::Id;
use crate::input::{Line, read_line};
use fanout_relay::webhook::deliver::{Delivered, Deliverer, Failure, Undelivered};

/// The time between two attempts to connect to an external function.
const RECONNECT: Duration = Duration::from_millis(100);

/// A report of a task to the session.
pub(super) enum Update {
    /// Something happened to the subscription to a topic.
    Subscription {
        /// The index of the topic.
        index: usize,
        event: SubscriptionEvent,
        at: Instant,
    },
    /// The function in this process is about to publish.
    Publishing {
        cache: String,
        topic: String,
        text: String,
    },
    /// The function in this process has a request to an AWS destination.
    ServiceRequest {
        request: Box<ServiceRequest>,
        is_sent: bool,
    },
    SubscriptionFailed(SubscriptionError),
    NotPublished {
        id: Id,
        reason: String,
    },
    Delivering {
        id: Id,
    },
    /// The external function does not listen yet.
    Waiting,
    Retry {
        id: Id,
        failure: Failure,
        /// The number of the attempt, and the largest number.
        attempt: (u32, u32),
        backoff: Duration,
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

/// Reports everything that happens to a subscription, until it fails or the session ends.
pub(super) async fn listen(mut subscription: Subscription, index: usize, updates: UnboundedSender<Update>) {
    loop {
        let update = match subscription.next().await {
            Ok(event) => Update::Subscription { index, event, at: Instant::now() },
            Err(error) => Update::SubscriptionFailed(error),
        };
        let has_failed = matches!(update, Update::SubscriptionFailed(_));
        if updates.send(update).is_err() || has_failed {
            return;
        }
    }
}

/// Publishes one text after the other. A failure is not retried: the text could be published twice.
pub(super) async fn publish(
    publisher: MomentoPublisher,
    (cache, topic): (String, String),
    mut texts: UnboundedReceiver<(Id, String)>,
    updates: UnboundedSender<Update>,
) {
    let topic = Topic::new(&*cache, &*topic);
    while let Some((id, text)) = texts.recv().await {
        if let Err(error) = publisher.publish(&topic, &text).await {
            let _ = updates.send(Update::NotPublished { id, reason: describe_failure(&error) });
        }
    }
}

/// Delivers one event after the other. An `external` function may take this long to come up.
pub(super) async fn deliver(
    target: Deliverer,
    external: Option<(Url, Duration)>,
    mut events: UnboundedReceiver<(Id, Webhook)>,
    updates: UnboundedSender<Update>,
) {
    let mut awaited = external;
    while let Some((id, mut event)) = events.recv().await {
        if let Some((url, limit)) = awaited.take() {
            listens(&url, limit, &updates).await;
        }
        let _ = updates.send(Update::Delivering { id });
        let started = Instant::now();
        let outcome = target
            .deliver(&mut event, |retry| {
                let failure = retry.failure.clone();
                let attempt = (retry.attempt, retry.max_attempts);
                let _ = updates.send(Update::Retry { id, failure, attempt, backoff: retry.backoff });
            })
            .await;
        let _ = updates.send(match outcome {
            Ok(delivered) => Update::Delivered { id, delivered, took: started.elapsed() },
            Err(undelivered) => Update::Undelivered { id, undelivered },
        });
    }
}

/// Waits until the server of a URL accepts connections, or for this long. Reports once that it waits.
async fn listens(url: &Url, limit: Duration, updates: &UnboundedSender<Update>) {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return };
    let host = host.trim_matches(['[', ']']);
    let deadline = Instant::now() + limit;
    let mut is_reported = false;
    while let Err(error) = TcpStream::connect((host, port)).await {
        if error.kind() != ErrorKind::ConnectionRefused || Instant::now() >= deadline {
            // The delivery reports why it fails.
            return;
        }
        if !is_reported {
            is_reported = true;
            let _ = updates.send(Update::Waiting);
        }
        sleep(RECONNECT).await;
    }
}

/// The line that ends the typing in a terminal.
pub(super) const QUIT: &str = "quit";

/// Reads lines on a thread of its own. The process does not wait for it: reading from a terminal cannot be interrupted.
pub(super) fn read_lines(lines: mpsc::Sender<Line>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("typing".to_owned());
    thread.spawn(move || {
        let mut input = std::io::stdin().lock();
        let is_terminal = input.is_terminal();
        // An error ends the input too.
        while let Ok(Some((line, is_last))) = read_line(&mut input) {
            if is_terminal && line.as_deref() == Ok(QUIT) {
                return;
            }
            if lines.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(())
}
