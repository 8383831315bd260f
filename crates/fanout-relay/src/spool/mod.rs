//! The place where messages wait between a topic and a target.
//!
//! A thread owns one SQLite database and applies changes in the order in which they were sent. Changes that wait at the
//! same time share one transaction. A message and the cursor behind it are in the same transaction, so that after a crash
//! the reader continues exactly after the last stored message. What is kept in memory is a database too, which ends with
//! the process.
//!
//! If a transaction fails, for example because the disk is full, the thread keeps its changes and tries again. Meanwhile
//! senders wait, and nothing is lost.

mod store;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanout_momento::subscription::Cursor;
use momento_webhook::{Event, Millis};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use self::store::Store;
use self::store::Usages;
pub use self::store::{OpenError, Usage};
use self::writer::Command;

/// The changes and reads that wait for the thread. More make their senders wait.
const QUEUE: usize = 1_024;

/// Where a spool keeps its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a file, which survives the process.
    File(PathBuf),
    /// In memory. Messages that wait are lost when the process ends.
    Memory,
}

/// The bounds of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest number of messages without an outcome.
    pub max_messages: u64,
    /// The largest size of their bodies in bytes.
    pub max_bytes: u64,
    /// How long a message stays after its outcome, for a replay. Dead messages stay until they are redriven or dropped.
    pub keep_for: Duration,
}

/// The room in a spool that a subscription may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All of it.
    All,
    /// A share of it.
    Shared(SubscriptionId),
}

impl Limits {
    /// Returns true if `room` has room. A subscription that shares the spool takes up to what it leaves free, so that a
    /// target that is away cannot stop the others.
    fn fit(&self, usages: &Usages, room: Room) -> bool {
        let all = usages.all;
        let own = match room {
            Room::All => Usage::default(),
            Room::Shared(subscription) => usages.of(subscription),
        };
        own.messages < self.max_messages.saturating_sub(all.messages)
            && own.bytes < self.max_bytes.saturating_sub(all.bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_messages: 1_000_000, max_bytes: 1024 * 1024 * 1024, keep_for: Duration::from_hours(24) }
    }
}

/// A subscription in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(i64);

/// A topic of a subscription in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicId(i64);

/// A message in the spool. Later messages have greater ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(i64);

impl MessageId {
    /// Returns the id with this number.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// The content of a message. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// A text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
    /// The notice that messages are missing.
    Gap(GapNotice),
}

/// The description of a gap for a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapNotice {
    /// The first missing number.
    pub first: u64,
    /// The last missing number. It is less than `first` if it is not known what is missing.
    pub last: u64,
    /// How the gap was noticed.
    pub reason: String,
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its topic.
    pub topic: TopicId,
    /// The sequence page.
    pub page: u64,
    /// The sequence number.
    pub number: u64,
    /// The time at which it arrived. Momento gives none.
    pub received_at: Millis,
    /// The id in the publisher's token, if it has one.
    pub token_id: Option<String>,
    /// The text or the bytes.
    pub payload: Payload,
    /// The message to continue with after this one.
    pub cursor: Option<Cursor>,
}

/// Messages that Momento did not deliver and will not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// Their topic.
    pub topic: TopicId,
    /// The page of the numbers.
    pub page: u64,
    /// The first missing number.
    pub first: u64,
    /// The last missing number. It is less than `first` if the topic was reset: the messages of this page from `first` on may
    /// be missing, and it is not known how many there were.
    pub last: u64,
    /// How it was noticed.
    pub reason: String,
    /// The time at which it was noticed.
    pub at: Millis,
    /// The message to continue with. Not kept with the record.
    pub cursor: Option<Cursor>,
}

impl GapRecord {
    /// Returns the notice for the target. It has the first missing number.
    fn notice(&self) -> Received {
        let Self { topic, page, first, last, reason, at, cursor } = self;
        let notice = GapNotice { first: *first, last: *last, reason: reason.clone() };
        Received {
            topic: *topic,
            page: *page,
            number: *first,
            received_at: *at,
            token_id: None,
            payload: Payload::Gap(notice),
            cursor: *cursor,
        }
    }
}

/// How a message left the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The target has it.
    Delivered,
    /// The target does not take it. It is kept until it is redriven or dropped.
    Dead,
    /// It was not delivered in time.
    Expired,
    /// It was dead, and the operator gave it up.
    Dropped,
    /// It was dead, and a queue or a topic for dead letters has it.
    DeadLettered,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 5] =
        [Self::Delivered, Self::Dead, Self::Expired, Self::Dropped, Self::DeadLettered];

    /// Returns true if only a dead message can get this outcome.
    #[must_use]
    pub const fn follows_dead(self) -> bool {
        matches!(self, Self::Dropped | Self::DeadLettered)
    }

    /// Returns the name in metrics and listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// A message as the spool has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Its id.
    pub id: MessageId,
    /// Its topic.
    pub topic: TopicId,
    /// The cache of the topic.
    pub cache: String,
    /// The name of the topic.
    pub topic_name: String,
    /// The sequence page.
    pub page: u64,
    /// The sequence number.
    pub number: u64,
    /// The time at which it arrived.
    pub received_at: Millis,
    /// The id in the publisher's token, if it has one.
    pub token_id: Option<String>,
    /// The text or the bytes.
    pub payload: Payload,
    /// Attempts so far.
    pub attempts: u32,
    /// The time of the next attempt, or of the outcome.
    pub due_at: Millis,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// A note of the target to itself, for the next attempt.
    pub progress: Option<String>,
    /// Its outcome; `None` while it is pending.
    pub outcome: Option<Outcome>,
}

impl Spooled {
    /// Returns the event of this message, with `text` in place of its content.
    #[must_use]
    pub fn event(&self, text: String) -> Event {
        Event {
            cache: self.cache.clone(),
            topic: self.topic_name.clone(),
            event_timestamp: self.received_at,
            publish_timestamp: self.received_at,
            topic_sequence_number: self.number,
            topic_sequence_page: Some(self.page),
            token_id: self.token_id.clone(),
            text,
        }
    }
}

/// The counts of one topic since the spool was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicTotals {
    /// The topic.
    pub topic: TopicId,
    /// The name of its subscription.
    pub subscription: String,
    /// Its cache.
    pub cache: String,
    /// Its name.
    pub name: String,
    /// Messages that arrived, each once.
    pub received: u64,
    /// Messages that were delivered.
    pub delivered: u64,
    /// Messages that are dead now.
    pub dead: u64,
    /// Messages that expired.
    pub expired: u64,
    /// Dead messages that were dropped.
    pub dropped: u64,
    /// Dead messages that a queue or a topic for dead letters has.
    pub dead_lettered: u64,
    /// Messages without an outcome.
    pub pending: u64,
    /// Messages in gaps, which did not arrive.
    pub missing: u64,
    /// When the oldest message without an outcome arrived.
    pub oldest: Option<Millis>,
}

/// A change of the spool.
#[derive(Clone, Debug)]
pub enum Change {
    /// A message arrived. One that is there already is ignored.
    Received(Received),
    /// Messages are missing.
    Gap {
        /// Which.
        gap: GapRecord,
        /// True if the target is told.
        notice: bool,
    },
    /// An attempt failed, and another follows.
    Retry {
        /// The message.
        id: MessageId,
        /// Attempts so far.
        attempts: u32,
        /// The time of the next.
        due_at: Millis,
        /// Why it failed.
        error: String,
        /// A note of the target to itself, for the next attempt.
        progress: Option<String>,
    },
    /// A message has its outcome. A message that has one keeps it, except that a dead one can be dropped or dead-lettered.
    Finished {
        /// The message.
        id: MessageId,
        /// Its outcome.
        outcome: Outcome,
        /// Attempts in all; `None` keeps the count.
        attempts: Option<u32>,
        /// The time.
        at: Millis,
        /// Why it is not delivered.
        error: Option<String>,
    },
    /// A message with an outcome is delivered again, as if it had just arrived.
    Redrive {
        /// The message.
        id: MessageId,
        /// Its outcome. A message with another one stays as it is.
        from: Outcome,
        /// The time.
        at: Millis,
    },
    /// Topics are added to a subscription at run time, or removed.
    Topics {
        /// The subscription.
        subscription: SubscriptionId,
        /// The topics.
        topics: Vec<String>,
        /// True if they are added, and false if they are removed.
        are_added: bool,
    },
    /// Messages that arrived too long ago expire. Those whose times are in the future, because the clock was set back, are due
    /// now.
    Expire {
        /// Their subscription.
        subscription: SubscriptionId,
        /// Messages that arrived before expire.
        received_before: Millis,
        /// The time.
        at: Millis,
        /// The latest time at which a message can be due.
        due_until: Millis,
        /// Messages that are being delivered, which do not expire.
        except: HashSet<MessageId>,
    },
}

/// Error for a spool that has stopped, or that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The thread has ended.
    #[error("the spool has stopped")]
    Stopped,
    /// SQLite cannot read.
    #[error("the spool cannot be read")]
    Read(#[from] rusqlite::Error),
}

/// A handle to a spool. Clones share the spool. It closes when the last handle is dropped.
#[derive(Clone)]
pub struct Spool {
    commands: mpsc::Sender<Command>,
    limits: Limits,
    usages: watch::Receiver<Usages>,
    failure: watch::Receiver<Option<String>>,
    changed: watch::Receiver<u64>,
    topics: watch::Receiver<u64>,
    closing: Arc<AtomicBool>,
    closed: Arc<writer::Closed>,
}

impl Spool {
    /// Opens a spool and starts its thread. A file that does not exist is created.
    ///
    /// # Errors
    /// If the file is damaged, foreign, from a newer version, in use, or inaccessible. It is left as it is.
    pub fn open(location: &Location, limits: Limits) -> Result<Self, OpenError> {
        let io = |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let (store, path) = match location {
            Location::File(path) => (Store::open(path)?, path.as_path()),
            Location::Memory => (Store::in_memory()?, Path::new(":memory:")),
        };
        let usages = store.usages().map_err(|error| io(path, Box::new(error)))?;
        let (commands, received) = mpsc::channel(QUEUE);
        let (usages_sender, usages) = watch::channel(usages);
        let (failure_sender, failure) = watch::channel(None);
        let (changed_sender, changed) = watch::channel(0);
        let (topics_sender, topics) = watch::channel(0);
        let closing = Arc::default();
        let closed = writer::spawn(writer::Writer {
            store,
            keep_for: limits.keep_for,
            commands: received,
            usages: usages_sender,
            failure: failure_sender,
            changed: changed_sender,
            topics: topics_sender,
            closing: Arc::clone(&closing),
        })
        .map_err(|error| io(path, Box::new(error)))?;
        Ok(Self { commands, limits, usages, failure, changed, topics, closing, closed: Arc::new(closed) })
    }

    /// Sends a change, which is stored after all changes that were sent before. Waits while the queue is full.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn send(&self, change: Change) -> Result<(), SpoolError> {
        self.commands.send(Command::Change(change)).await.map_err(|_| SpoolError::Stopped)
    }

    /// Waits until all changes that were sent before are stored.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn flush(&self) -> Result<(), SpoolError> {
        self.read(|_| Ok(())).await
    }

    /// Returns true if the spool takes more messages.
    #[must_use]
    pub fn has_room(&self, room: Room) -> bool {
        self.limits.fit(&self.usages.borrow(), room)
    }

    /// Waits until the spool takes more messages, an eighth of its limits if it was full.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn room(&self, room: Room) -> Result<(), SpoolError> {
        if self.has_room(room) {
            return Ok(());
        }
        let Limits { max_messages, max_bytes, .. } = self.limits;
        let max_messages = max_messages - max_messages / 8;
        let low = Limits { max_messages, max_bytes: max_bytes - max_bytes / 8, ..self.limits };
        let mut usages = self.usages.clone();
        let fit = usages.wait_for(|usages| low.fit(usages, room)).await;
        fit.map(drop).map_err(|_| SpoolError::Stopped)
    }

    /// Returns the messages without an outcome.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usages.borrow().all
    }

    /// Returns the limits.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns why changes cannot be stored at present.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Returns a counter that grows with every transaction.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Returns a counter that grows when topics are added or removed at run time.
    #[must_use]
    pub fn topic_changes(&self) -> watch::Receiver<u64> {
        self.topics.clone()
    }

    /// Returns the topics that were added at run time, in alphabetical order: those of one subscription, or of all. Each has
    /// the name of its subscription.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn added_topics(
        &self,
        subscription: Option<SubscriptionId>,
    ) -> Result<Vec<(String, String)>, SpoolError> {
        self.read(move |store| store.added_topics(subscription)).await
    }

    /// Returns the id of the subscription with this name, if the spool has it.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn find_subscription(&self, name: &str) -> Result<Option<SubscriptionId>, SpoolError> {
        let name = name.to_owned();
        self.read(move |store| store.find_subscription(&name)).await
    }

    /// Returns the arrivals of a subscription, for its scheduler.
    pub(crate) fn arrivals(&self, subscription: SubscriptionId) -> Arrivals {
        Arrivals { usages: self.usages.clone(), subscription, seen: 0 }
    }

    /// Returns the id of the subscription with this name, which is created if it is missing.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn subscription(&self, name: &str) -> Result<SubscriptionId, SpoolError> {
        let name = name.to_owned();
        self.read(move |store| store.subscription(&name)).await
    }

    /// Returns the names and ids of the subscriptions that have messages without an outcome.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn waiting_subscriptions(&self) -> Result<Vec<(String, SubscriptionId)>, SpoolError> {
        self.read(Store::waiting_subscriptions).await
    }

    /// Returns the id of a topic, which is created if it is missing, and the message to continue with.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn topic(
        &self,
        subscription: SubscriptionId,
        cache: &str,
        topic: &str,
    ) -> Result<(TopicId, Option<Cursor>), SpoolError> {
        let (cache, topic) = (cache.to_owned(), topic.to_owned());
        self.read(move |store| store.topic(subscription, &cache, &topic)).await
    }

    /// Returns up to `limit` messages of a subscription that are due at `now`, the longest due first.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn due(
        &self,
        subscription: SubscriptionId,
        now: Millis,
        limit: usize,
    ) -> Result<Vec<Spooled>, SpoolError> {
        self.read(move |store| store.due(subscription, now, limit)).await
    }

    /// Returns what [`due`](Self::due) does, and the time after `now` at which the next message is due.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn due_and_next(
        &self,
        subscription: SubscriptionId,
        now: Millis,
        limit: usize,
    ) -> Result<(Vec<Spooled>, Option<Millis>), SpoolError> {
        self.read(move |store| Ok((store.due(subscription, now, limit)?, store.next_due(subscription, now)?)))
            .await
    }

    /// Returns up to `limit` pending messages of one topic, the oldest first, due or not.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn oldest(&self, topic: TopicId, limit: usize) -> Result<Vec<Spooled>, SpoolError> {
        self.read(move |store| store.oldest(topic, limit)).await
    }

    /// Returns the time after `now` at which the next message of a subscription is due.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn next_due(
        &self,
        subscription: SubscriptionId,
        now: Millis,
    ) -> Result<Option<Millis>, SpoolError> {
        self.read(move |store| store.next_due(subscription, now)).await
    }

    /// Returns the topics of a subscription whose oldest pending message is due at `now`.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn due_topics(
        &self,
        subscription: SubscriptionId,
        now: Millis,
    ) -> Result<Vec<TopicId>, SpoolError> {
        self.read(move |store| store.due_topics(subscription, now)).await
    }

    /// Returns up to `limit` messages with this outcome that come after `after`, the oldest first.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn finished(
        &self,
        outcome: Outcome,
        after: MessageId,
        limit: usize,
    ) -> Result<Vec<Spooled>, SpoolError> {
        self.read(move |store| store.finished(outcome, after, limit)).await
    }

    /// Returns up to `limit` dead messages of a subscription that come after `after`, the oldest first.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn dead(
        &self,
        subscription: SubscriptionId,
        after: MessageId,
        limit: usize,
    ) -> Result<Vec<Spooled>, SpoolError> {
        self.read(move |store| store.dead(subscription, after, limit)).await
    }

    /// Returns up to `limit` messages of a topic with numbers from `from` to `to` that come after `after`, with any
    /// outcome or none. Notices of gaps are not among them.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn range(
        &self,
        topic: TopicId,
        from: u64,
        to: u64,
        after: MessageId,
        limit: usize,
    ) -> Result<Vec<Spooled>, SpoolError> {
        self.read(move |store| store.range(topic, from, to, after, limit)).await
    }

    /// Returns all gaps, the oldest first.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn gaps(&self) -> Result<Vec<GapRecord>, SpoolError> {
        self.read(Store::gaps).await
    }

    /// Returns the counts of all topics.
    ///
    /// # Errors
    /// If the thread has ended, or SQLite fails.
    pub async fn totals(&self) -> Result<Vec<TopicTotals>, SpoolError> {
        self.read(Store::totals).await
    }

    /// Makes the disk full for this many transactions.
    #[cfg(test)]
    pub(crate) async fn fill_disk(&self, transactions: u32) {
        self.read(move |store| store.fill_disk(transactions)).await.expect("SQLite takes a limit");
    }

    /// Stores what was sent, and closes the file. Changes that other handles send later are lost. If the disk is full,
    /// so are those that cannot be stored: Momento sends their messages again, or reports a gap.
    pub async fn close(self) {
        let Self { commands, closing, closed, .. } = self;
        closing.store(true, Ordering::Relaxed);
        // An error means that the thread has ended already.
        let _ = commands.send(Command::Close).await;
        drop(commands);
        closed.wait().await;
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let (sender, receiver) = oneshot::channel();
        let read = Box::new(move |store: &Store| {
            // The caller may have gone.
            let _ = sender.send(read(store));
        });
        self.commands.send(Command::Read(read)).await.map_err(|_| SpoolError::Stopped)?;
        Ok(receiver.await.map_err(|_| SpoolError::Stopped)??)
    }
}

/// Notices that messages of one subscription have become pending.
pub(crate) struct Arrivals {
    usages: watch::Receiver<Usages>,
    subscription: SubscriptionId,
    seen: u64,
}

impl Arrivals {
    /// Waits until more have than before. The future can be dropped at any time.
    pub(crate) async fn next(&mut self) -> Result<(), SpoolError> {
        let Self { usages, subscription, seen } = self;
        let usages = usages.wait_for(|usages| usages.arrivals(*subscription) != *seen).await;
        *seen = usages.map_err(|_| SpoolError::Stopped)?.arrivals(*subscription);
        Ok(())
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("limits", &self.limits)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

/// Does not show the content.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text(<{} bytes>)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary(<{} bytes>)", bytes.len()),
            Self::Gap(notice) => write!(f, "{notice:?}"),
        }
    }
}
