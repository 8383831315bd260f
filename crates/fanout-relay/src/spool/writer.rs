//! The thread that owns the database.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fanout_core::clock::{Clock as _, SystemClock};
use momento_webhook::Millis;
use tokio::sync::{mpsc, watch};

use super::Change;
use super::store::{Store, Usages};

/// The largest number of changes in one transaction.
const MAX_BATCH: usize = 256;
/// The wait after a transaction that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The time between two purges, if the first removed all old messages.
const PURGE_EVERY: Duration = Duration::from_secs(10);

/// A command for the thread.
pub(super) enum Command {
    Change(Change),
    Read(Box<dyn FnOnce(&Store) + Send>),
    Close,
}

/// The state of the thread.
pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) keep_for: Duration,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) usages: watch::Sender<Usages>,
    pub(super) failure: watch::Sender<Option<String>>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) topics: watch::Sender<u64>,
    /// Set when the spool closes: a transaction that fails is given up then.
    pub(super) closing: Arc<AtomicBool>,
}

/// Notices that the thread has ended.
pub(super) struct Closed(watch::Receiver<()>);

impl Closed {
    /// Waits until the file is closed.
    pub(super) async fn wait(&self) {
        // The thread sends nothing: it drops its end after the database.
        let _ = self.0.clone().changed().await;
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

/// Starts the thread.
pub(super) fn spawn(writer: Writer) -> std::io::Result<Closed> {
    let (open, closed) = watch::channel(());
    std::thread::Builder::new().name("spool".to_owned()).spawn(move || {
        writer.run();
        drop(open);
    })?;
    Ok(Closed(closed))
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut purge_at = Instant::now();
        while let Some(command) = self.commands.blocking_recv() {
            let mut next = Some(command);
            // Changes that wait already go into the same transaction.
            while let Some(Command::Change(change)) = next {
                batch.push(change);
                next = if batch.len() < MAX_BATCH { self.commands.try_recv().ok() } else { None };
            }
            if !self.store_batch(&mut batch) {
                // A later change must not be stored without these: its cursor would be behind messages that are lost.
                return;
            }
            match next {
                Some(Command::Read(read)) => read(&self.store),
                Some(Command::Close) => return,
                Some(Command::Change(_)) | None => {}
            }
            let now = Instant::now();
            if purge_at <= now {
                // Old messages leave as fast as new ones arrive: while more remain, half of the time is for them.
                let is_more = self.purge();
                purge_at = Instant::now() + if is_more { now.elapsed() } else { PURGE_EVERY };
            }
        }
    }

    /// Stores the changes in one transaction, and tries until it succeeds. Returns false if it gave up, because the spool
    /// closes.
    fn store_batch(&mut self, batch: &mut Vec<Change>) -> bool {
        if batch.is_empty() {
            return true;
        }
        let changes: Vec<&Change> = batch.iter().collect();
        let mut usages = self.usages.borrow().clone();
        while let Err(error) = self.store.apply(&changes, &mut usages) {
            let error = error.to_string();
            if self.failure.borrow().as_ref() != Some(&error) {
                tracing::error!(%error, "the spool cannot store messages; subscriptions wait");
            }
            self.failure.send_replace(Some(error));
            if self.commands.is_closed() || self.closing.load(Ordering::Relaxed) {
                tracing::error!(changes = changes.len(), "the spool stops with changes that it cannot store");
                return false;
            }
            std::thread::sleep(RETRY_AFTER);
        }
        if self.failure.send_replace(None).is_some() {
            tracing::info!("the spool stores messages again");
        }
        let have_topics_changed = batch.drain(..).any(|change| matches!(change, Change::Topics { .. }));
        if have_topics_changed {
            self.topics.send_modify(|count| *count = count.wrapping_add(1));
        }
        self.usages.send_replace(usages);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        true
    }

    /// Removes old messages. Returns true if more remain.
    fn purge(&self) -> bool {
        let keep = Millis::try_from(self.keep_for.as_millis()).unwrap_or(Millis::MAX);
        let before = SystemClock.now().saturating_sub(keep);
        self.store.purge(before).unwrap_or_else(|error| {
            tracing::warn!(%error, "old messages cannot be removed from the spool");
            false
        })
    }
}
