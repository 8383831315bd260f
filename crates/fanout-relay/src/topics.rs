//! Topics that are not in the file: they are read at an interval.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fanout_core::names::TopicName;
use fanout_core::reason::{Failure, with_sources};
use fanout_momento::CacheSet;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::shard::Shard;

/// The largest number of topics of one source.
pub(crate) const MAX_TOPICS: usize = 10_000;

/// A source of topics, and the interval at which it is read.
#[derive(Clone, Debug)]
pub struct TopicsFrom {
    /// The source.
    pub source: Arc<dyn TopicSource>,
    /// The interval.
    pub interval: Duration,
    /// The part of the topics that this relay takes.
    pub shard: Option<(Shard, String)>,
}

/// Lists topics.
pub trait TopicSource: fmt::Debug + Send + Sync + 'static {
    /// Returns the topics as they are now.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<String>, Failure>>;
}

/// The texts of the set are the topics.
impl TopicSource for CacheSet {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(self.texts())
    }
}

/// Reads a source again and again, and sends the topics that differ from those before. While it cannot be read, the topics
/// stay as they are.
pub(crate) async fn read(from: TopicsFrom, index: usize, found: &mpsc::Sender<(usize, BTreeSet<String>)>) {
    let mut known = BTreeSet::new();
    let mut is_failing = false;
    loop {
        match from.source.topics().await {
            Ok(topics) if topics.len() > MAX_TOPICS => {
                tracing::error!(
                    topics = topics.len(),
                    MAX_TOPICS,
                    "the source has too many topics; none changes"
                );
            }
            Ok(topics) => {
                if std::mem::take(&mut is_failing) {
                    tracing::info!("the source of topics is read again");
                }
                let topics: BTreeSet<_> = topics.into_iter().filter(|topic| is_ours(&from, topic)).collect();
                if topics != known {
                    tracing::info!(topics = topics.len(), "the topics of the source have changed");
                    if found.send((index, topics.clone())).await.is_err() {
                        return;
                    }
                    known = topics;
                }
            }
            Err(failure) => {
                // One line for each outage, and not for each attempt.
                if !std::mem::replace(&mut is_failing, true) {
                    let error = with_sources(&failure);
                    tracing::error!(
                        error,
                        "the source of topics cannot be read; the topics stay as they are"
                    );
                }
            }
        }
        tokio::time::sleep(from.interval).await;
    }
}

fn is_ours(from: &TopicsFrom, topic: &str) -> bool {
    TopicName::new(topic).is_ok()
        && from.shard.as_ref().is_none_or(|(shard, cache)| shard.takes(cache, topic))
}
