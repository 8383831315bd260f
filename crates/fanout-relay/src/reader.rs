//! Reads one topic into the spool.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fanout_core::clock::{Clock, SystemClock};
use fanout_momento::Subscription;
use fanout_momento::subscription::{
    Cursor, Discontinuity, Item, ItemValue, SubscriptionError, SubscriptionEvent,
};
use tokio::sync::watch;

use crate::metrics::SubscriptionMetrics;
use crate::spool::{Change, GapRecord, Payload, Received, Spool, SpoolError, TopicId};

/// The wait before another attempt where Momento rejects the subscription: the cache may be created later, or the key
/// may get the permission.
const REJECTED_RETRY: Duration = Duration::from_secs(30);

/// The state of a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReaderState {
    /// No stream was open yet.
    #[default]
    Connecting,
    /// Messages arrive.
    Subscribed,
    /// The stream is gone, and another one is opened soon.
    Interrupted(String),
    /// Momento rejects the subscription. Another attempt follows twice a minute.
    Rejected(String),
    /// The spool is full, or cannot store messages. The reader waits.
    Waiting,
}

impl ReaderState {
    /// All names.
    pub(crate) const NAMES: [&str; 5] = ["connecting", "subscribed", "interrupted", "rejected", "waiting"];

    /// Returns why no messages arrive; `None` if they do.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Subscribed => None,
            Self::Connecting => Some("not subscribed yet"),
            Self::Waiting => Some("the spool is full"),
            Self::Interrupted(cause) | Self::Rejected(cause) => Some(cause),
        }
    }

    /// Returns the name in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Subscribed => "subscribed",
            Self::Interrupted(_) => "interrupted",
            Self::Rejected(_) => "rejected",
            Self::Waiting => "waiting",
        }
    }
}

/// The state of a reader, without its stream.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) topic: TopicId,
    /// True if the target is told of gaps.
    pub(crate) gap_notices: bool,
    pub(crate) spool: Spool,
    pub(crate) state: watch::Sender<ReaderState>,
    pub(crate) metrics: Arc<SubscriptionMetrics>,
}

/// Reads the topic until `shutdown` completes.
///
/// # Errors
/// If the spool has stopped.
pub(crate) async fn read(
    mut subscription: Subscription,
    reader: &Reader,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SpoolError> {
    let mut shutdown = pin!(shutdown);
    loop {
        let step = step(&mut subscription, reader);
        // A dropped step loses nothing: a message that is not sent yet is behind the stored cursor.
        tokio::select! {
            result = step => result?,
            () = &mut shutdown => return Ok(()),
        }
    }
}

async fn step(subscription: &mut Subscription, reader: &Reader) -> Result<(), SpoolError> {
    let Reader { topic, gap_notices: notice, spool, state, metrics } = reader;
    let (topic, notice) = (*topic, *notice);
    if !spool.has_room() {
        let before = state.send_replace(ReaderState::Waiting);
        spool.room().await?;
        state.send_replace(before);
    }
    let before = subscription.cursor();
    match subscription.next().await {
        Ok(SubscriptionEvent::Opened) => match state.send_replace(ReaderState::Subscribed) {
            ReaderState::Subscribed => {}
            ReaderState::Connecting => tracing::info!("subscribed"),
            _ => tracing::info!("subscribed again"),
        },
        Ok(SubscriptionEvent::Heartbeat) => {}
        Ok(SubscriptionEvent::Interrupted { cause, .. }) => {
            let before = state.send_replace(ReaderState::Interrupted(cause.to_string()));
            // One line for each outage, and not for each attempt.
            if !matches!(before, ReaderState::Interrupted(_)) {
                tracing::warn!(%cause, "the subscription is interrupted, and receives nothing");
            }
        }
        Ok(SubscriptionEvent::Item(item)) => {
            metrics.received(match &item.value {
                ItemValue::Text(text) => text.len(),
                ItemValue::Binary(bytes) => bytes.len(),
                ItemValue::Unknown => 0,
            });
            let cursor = subscription.cursor();
            let change = match received(topic, item, cursor) {
                Ok(received) => Change::Received(received),
                Err(gap) => Change::Gap { gap, notice },
            };
            spool.send(change).await?;
        }
        Ok(SubscriptionEvent::Discontinuity(gap)) => {
            let gap = record(topic, before, gap, subscription.cursor());
            tracing::warn!(
                page = gap.page,
                first = gap.first,
                last = gap.last,
                "Momento did not deliver messages"
            );
            spool.send(Change::Gap { gap, notice }).await?;
        }
        Err(SubscriptionError { status, .. }) => {
            let message = fanout_momento::status::describe(&status);
            let before = state.send_replace(ReaderState::Rejected(message.clone()));
            if !matches!(before, ReaderState::Rejected(before) if before == message) {
                tracing::error!(error = message, "Momento rejects the subscription");
            }
            tokio::time::sleep(REJECTED_RETRY).await;
        }
    }
    Ok(())
}

/// Returns a gap for a kind of value that this version does not know.
fn received(topic: TopicId, item: Item, cursor: Option<Cursor>) -> Result<Received, GapRecord> {
    let payload = match item.value {
        ItemValue::Text(text) => Payload::Text(text),
        ItemValue::Binary(bytes) => Payload::Binary(bytes),
        ItemValue::Unknown => {
            let reason = "this version does not know the kind of the value".to_owned();
            let (page, number, at) = (item.page, item.number, SystemClock.now());
            return Err(GapRecord { topic, page, first: number, last: number, reason, at, cursor });
        }
    };
    Ok(Received {
        topic,
        page: item.page,
        number: item.number,
        received_at: SystemClock.now(),
        token_id: item.publisher_id,
        payload,
        cursor,
    })
}

fn record(topic: TopicId, before: Option<Cursor>, gap: Discontinuity, cursor: Option<Cursor>) -> GapRecord {
    // Numbers of different pages cannot be compared: what the old page had after `before` is not known.
    let is_same_page = before.is_none_or(|before| before.page == gap.page || before.page == 0);
    let (first, reason) = if is_same_page {
        (gap.last.saturating_add(1), "messages are missing")
    } else {
        (0, "the topic was reset")
    };
    GapRecord {
        topic,
        page: gap.page,
        first,
        last: gap.new,
        reason: reason.to_owned(),
        at: SystemClock.now(),
        cursor,
    }
}
