//! The turns of the readers to send an event.
//!
//! Thousands of readers that send at once would make every other call wait until all of them have sent. So each waits
//! for a turn before each event, and one task gives turns to a group of readers, then to other tasks, then to the next
//! group. A reader that does not use its turn delays no other.

use std::sync::OnceLock;

use tokio::sync::{mpsc, oneshot};

/// The readers that send before another call runs.
const GROUP: usize = 64;

type Turn = oneshot::Sender<()>;

/// Gives turns to readers, in the order in which they ask.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The queue of the task that gives turns. The first reader starts the task, and it ends with `self`.
    queue: OnceLock<mpsc::UnboundedSender<Turn>>,
}

impl Turns {
    /// Waits for a turn. Cancel safe: a dropped future gives up its place.
    pub(crate) async fn next(&self) {
        let queue = self.queue.get_or_init(|| {
            let (queue, waiting) = mpsc::unbounded_channel();
            tokio::spawn(give(waiting));
            queue
        });
        let (turn, given) = oneshot::channel();
        // Both fail only when the runtime shuts down, and then the reader is dropped as well.
        let _ = queue.send(turn);
        let _ = given.await;
    }
}

async fn give(mut waiting: mpsc::UnboundedReceiver<Turn>) {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.recv_many(&mut group, GROUP).await > 0 {
        for turn in group.drain(..) {
            // A reader that is gone does not take its turn.
            let _ = turn.send(());
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn reader_that_does_not_use_its_turn_delays_no_other() {
        let turns = Turns::default();
        let mut unused: Vec<_> = (0..2 * GROUP).map(|_| Box::pin(turns.next())).collect();
        for reader in &mut unused {
            assert_eq!(reader.now_or_never(), None);
        }
        turns.next().await;
        drop(unused);
        turns.next().await;
    }
}
