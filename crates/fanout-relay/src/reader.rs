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
use crate::spool::{Change, GapRecord, Payload, Received, Room, Spool, SpoolError, TopicId};

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
    /// The room in the spool that it may take.
    pub(crate) room: Room,
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
    let Reader { topic, gap_notices: notice, spool, room, state, metrics } = reader;
    let (topic, notice) = (*topic, *notice);
    if !spool.has_room(*room) {
        let before = state.send_replace(ReaderState::Waiting);
        subscription.pause();
        spool.room(*room).await?;
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
            for gap in records(topic, before, gap, subscription.cursor()) {
                tracing::warn!(
                    page = gap.page,
                    first = gap.first,
                    last = gap.last,
                    reason = gap.reason,
                    "Momento did not deliver messages"
                );
                spool.send(Change::Gap { gap, notice }).await?;
            }
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

/// Returns the records of a gap. The last one has the cursor.
fn records(
    topic: TopicId,
    before: Option<Cursor>,
    gap: Discontinuity,
    cursor: Option<Cursor>,
) -> Vec<GapRecord> {
    let at = SystemClock.now();
    let record = |page, first, last, reason: &str, cursor| GapRecord {
        topic,
        page,
        first,
        last,
        reason: reason.to_owned(),
        at,
        cursor,
    };
    let missing = "messages are missing";
    match before {
        // Numbers of different pages cannot be compared: what the old page had from `before` on is not known.
        Some(before) if before.page != gap.page && before.page != 0 => {
            let first = before.number.max(1);
            let reset = |cursor| record(before.page, first, first - 1, "the topic was reset", cursor);
            if gap.new == 0 {
                vec![reset(cursor)]
            } else {
                vec![reset(None), record(gap.page, 1, gap.new, missing, cursor)]
            }
        }
        // What Momento says is last may be less than what arrived.
        Some(before) => vec![record(gap.page, before.number, gap.new, missing, cursor)],
        None => vec![record(gap.page, gap.last.saturating_add(1), gap.new, missing, cursor)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::tests::topic_id;

    #[test]
    fn records_name_the_numbers_that_are_missing() {
        let at = |number, page| Some(Cursor { number, page });
        let gap = |last, new, page| Discontinuity { last, new, page };
        for (before, gap, expected) in [
            // (page, first, last)
            (at(5, 1), gap(4, 7, 1), &[(1, 5, 7)][..]),
            (at(5, 1), gap(2, 7, 1), &[(1, 5, 7)]),
            (at(1, 0), gap(0, 7, 1), &[(1, 1, 7)]),
            (at(0, 1), gap(0, 7, 1), &[(1, 0, 7)]),
            (None, gap(3, 7, 1), &[(1, 4, 7)]),
            // A reset: it is not known what is missing of the old page.
            (at(5, 1), gap(4, 0, 2), &[(1, 5, 4)]),
            (at(0, 1), gap(0, 0, 2), &[(1, 1, 0)]),
            (at(5, 1), gap(4, 3, 2), &[(1, 5, 4), (2, 1, 3)]),
        ] {
            let records = records(topic_id(1), before, gap, at(8, gap.page));
            let numbers: Vec<_> =
                records.iter().map(|record| (record.page, record.first, record.last)).collect();
            assert_eq!(numbers, expected, "{before:?} {gap:?}");
            let cursors: Vec<_> = records.iter().rev().map(|record| record.cursor).collect();
            assert_eq!(cursors[0], at(8, gap.page));
            assert!(cursors[1..].iter().all(Option::is_none));
        }
    }
}
