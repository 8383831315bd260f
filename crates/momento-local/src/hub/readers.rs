//! Wakes the readers of a topic.
//!
//! A publish that wakes thousands of readers at once makes every other call wait until all of them have run. So
//! readers are in groups: a publish wakes the first group, and a task wakes the others and yields after each.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use super::lock;

/// The readers that run before another call gets its turn.
const GROUP: usize = 64;

/// The readers of one topic.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    groups: Mutex<Vec<watch::Sender<()>>>,
    /// Notifies the task that wakes the groups after the first.
    woken: watch::Sender<()>,
}

impl Readers {
    /// Adds a reader, which the receiver wakes until it is dropped.
    pub(crate) fn join(self: &Arc<Self>) -> watch::Receiver<()> {
        let mut groups = lock(&self.groups);
        if let Some(group) = groups.iter().find(|group| group.receiver_count() < GROUP) {
            return group.subscribe();
        }
        if groups.len() == 1 {
            tokio::spawn(wake_later_groups(self.woken.subscribe(), Arc::downgrade(self)));
        }
        let (group, reader) = watch::channel(());
        groups.push(group);
        reader
    }

    /// Wakes all readers, without waiting for them.
    pub(crate) fn wake(&self) {
        self.wake_group(0);
        self.woken.send_replace(());
    }

    /// Wakes a group; returns false if it does not exist.
    fn wake_group(&self, index: usize) -> bool {
        lock(&self.groups).get(index).map(|group| group.send_replace(())).is_some()
    }
}

/// Wakes all groups but the first after each [`Readers::wake`], until the readers are dropped.
async fn wake_later_groups(mut woken: watch::Receiver<()>, readers: Weak<Readers>) {
    while woken.changed().await.is_ok() {
        let mut groups = 1..;
        while let (Some(readers), Some(group)) = (readers.upgrade(), groups.next())
            && readers.wake_group(group)
        {
            drop(readers);
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn wakes_every_group_and_reuses_place_of_dropped_reader() {
        let readers = Arc::new(Readers::default());
        let mut joined: Vec<_> = (0..3 * GROUP).map(|_| readers.join()).collect();
        assert_eq!(lock(&readers.groups).len(), 3);
        for _ in 0..2 {
            readers.wake();
            for reader in &mut joined {
                reader.changed().await.unwrap();
            }
        }
        joined.truncate(GROUP);
        joined.push(readers.join());
        assert_eq!(lock(&readers.groups).len(), 3);
    }

    #[tokio::test]
    async fn runs_other_tasks_before_all_readers() {
        let (readers, ran) = (Arc::new(Readers::default()), Arc::new(AtomicUsize::new(0)));
        for _ in 0..10 * GROUP {
            let (mut reader, ran) = (readers.join(), Arc::clone(&ran));
            tokio::spawn(async move {
                reader.changed().await.unwrap();
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
        tokio::task::yield_now().await;
        readers.wake();
        tokio::task::yield_now().await;
        assert!(ran.load(Ordering::Relaxed) <= 2 * GROUP, "{ran:?}");
        while ran.load(Ordering::Relaxed) < 10 * GROUP {
            tokio::task::yield_now().await;
        }
    }
}
