//! Readers and schedulers of all subscriptions, on one spool.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanout_momento::subscription::{Cursor, SubscriptionPolicy};
use fanout_momento::{Credentials, Subscription};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::Instrument as _;

use crate::breaker::Breaker;
use crate::dead_letter;
use crate::metrics::SubscriptionMetrics;
use crate::reader::{self, Reader, ReaderState};
use crate::schedule::{self, End, Lane, Schedule, Target};
use crate::spool::{Room, Spool, SpoolError, SubscriptionId};
use crate::topics::{self, TopicsFrom};

/// The streams that one connection carries. Source: Momento closes a connection with more.
pub const STREAMS_PER_CHANNEL: usize = 100;

/// Topics of one cache whose messages go to one target.
#[derive(Clone, Debug)]
pub struct SubscriptionConfig {
    /// The name in logs, metrics and the spool. Another name starts with an empty spool.
    pub name: String,
    /// The cache of the topics.
    pub cache: String,
    /// The topics.
    pub topics: Vec<String>,
    /// Where more topics come from.
    pub topics_from: Option<TopicsFrom>,
    /// Where a topic starts that the spool does not know.
    pub from: Start,
    /// True if the target is told of gaps.
    pub gap_notices: bool,
    /// How messages are delivered.
    pub schedule: Schedule,
    /// Where they are delivered to.
    pub target: Arc<dyn Target>,
    /// Where copies of dead messages go. Without it, dead messages stay in the spool.
    pub dead_letters: Option<Arc<dyn Target>>,
}

/// The first message of a new subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Messages from now on. Momento may send the latest one as well.
    #[default]
    Now,
    /// All that Momento still has.
    Available,
}

/// Error for a relay that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The endpoint of Momento is not a valid URL.
    #[error("the endpoint of Momento cannot be used")]
    Endpoint(#[from] tonic::transport::Error),
    /// The spool fails.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// The present state of a relay. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Vec<SubscriptionStatus>>>);

/// The state of one subscription.
#[derive(Clone, Debug)]
pub struct SubscriptionStatus {
    /// Its name.
    pub name: String,
    /// Its topics, and the state of the reader of each.
    pub topics: Vec<(String, watch::Receiver<ReaderState>)>,
    /// Why the target disabled it.
    pub disabled: Option<String>,
    /// The state of its target.
    pub breaker: Arc<Breaker>,
    /// Its counts.
    pub metrics: Arc<SubscriptionMetrics>,
}

impl Status {
    /// Returns the state of all subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SubscriptionStatus>> {
        // Every change is one assignment or one push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Ended {
    Reader,
    Expiry,
    Scheduler { index: usize, end: End },
}

/// Reads and delivers until `shutdown` completes. Then readers stop, attempts that have begun end, and what is left stays
/// in the spool.
///
/// # Errors
/// If the endpoint of Momento is invalid, or the spool fails.
pub async fn run(
    subscriptions: Vec<SubscriptionConfig>,
    spool: &Spool,
    credentials: &Credentials,
    policy: SubscriptionPolicy,
    status: &Status,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RelayError> {
    status.lock().clear();
    let stop = CancellationToken::new();
    // Everything ends when this future is dropped.
    let _stop = stop.clone().drop_guard();
    let (found_sender, mut found) = mpsc::channel(1);
    let channels = Channels { credentials, current: None };
    let is_shared = subscriptions.len() > 1;
    let mut running =
        Running { spool, is_shared, policy, status, stop: stop.clone(), channels, tasks: JoinSet::new() };
    let mut topics = Vec::new();
    // A change that is made from here on is seen.
    let mut added = spool.topic_changes();
    added.mark_unchanged();
    running.expire_others(&subscriptions).await?;
    for (index, config) in subscriptions.into_iter().enumerate() {
        topics.push(running.start(index, config, &found_sender).await?);
    }
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown, if !stop.is_cancelled() => stop.cancel(),
            Some((index, found)) = found.recv(), if !stop.is_cancelled() => {
                let topics: &mut Topics = topics.get_mut(index).expect("a source has the index of its subscription");
                topics.found = found;
                running.follow(index, topics).await?;
            }
            changed = added.changed(), if !stop.is_cancelled() => {
                changed.map_err(|_| SpoolError::Stopped)?;
                for (index, topics) in topics.iter_mut().enumerate() {
                    topics.added = running.added(topics.id).await?;
                    running.follow(index, topics).await?;
                }
            }
            ended = running.tasks.join_next() => match ended {
                None if stop.is_cancelled() => return Ok(()),
                // Without subscriptions there is nothing to do but to wait.
                None => {
                    shutdown.await;
                    return Ok(());
                }
                Some(ended) => {
                    let ended = ended.expect("no task panics, and none is aborted")?;
                    if let Ended::Scheduler { index, end: End::Disabled(error) } = ended {
                        let topics = topics.get(index).expect("a scheduler has the index of its subscription");
                        tracing::error!(
                            subscription = topics.name,
                            error,
                            "the target disabled its webhook; messages stay in the spool until the relay restarts"
                        );
                        running.expire(topics.id, topics.expire_after);
                        if let Some(subscription) = status.lock().get_mut(index) {
                            subscription.disabled = Some(error);
                        }
                    }
                }
            },
        }
    }
}

/// The parts that all subscriptions share.
struct Running<'r> {
    spool: &'r Spool,
    /// True if several subscriptions share the spool.
    is_shared: bool,
    policy: SubscriptionPolicy,
    status: &'r Status,
    stop: CancellationToken,
    channels: Channels<'r>,
    tasks: JoinSet<Result<Ended, SpoolError>>,
}

/// The topics of one subscription, and what their readers need.
struct Topics {
    id: SubscriptionId,
    name: String,
    cache: String,
    from: Start,
    gap_notices: bool,
    expire_after: Duration,
    metrics: Arc<SubscriptionMetrics>,
    /// The topics that stay, whatever the source says.
    fixed: BTreeSet<String>,
    /// Those that the source says.
    found: BTreeSet<String>,
    /// Those that were added at run time.
    added: BTreeSet<String>,
    /// The readers, each with what ends it.
    readers: BTreeMap<String, CancellationToken>,
}

impl Running<'_> {
    /// Lets the messages of subscriptions expire that are not among `subscriptions`.
    async fn expire_others(&mut self, subscriptions: &[SubscriptionConfig]) -> Result<(), RelayError> {
        for (name, id) in self.spool.waiting_subscriptions().await? {
            if subscriptions.iter().all(|subscription| subscription.name != name) {
                tracing::warn!(
                    subscription = name,
                    "the spool has messages of a subscription that is not in the file; they expire"
                );
                self.expire(id, Schedule::default().expire_after);
            }
        }
        Ok(())
    }

    /// Lets the messages of a subscription expire that are not delivered.
    fn expire(&mut self, id: SubscriptionId, expire_after: Duration) {
        let (spool, stop) = (self.spool.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            schedule::expire(spool, id, expire_after, stop.cancelled()).await?;
            Ok(Ended::Expiry)
        });
    }

    /// Starts a subscription with its fixed topics.
    async fn start(
        &mut self,
        index: usize,
        config: SubscriptionConfig,
        found: &mpsc::Sender<(usize, BTreeSet<String>)>,
    ) -> Result<Topics, RelayError> {
        let id = self.spool.subscription(&config.name).await?;
        let expire_after = config.schedule.expire_after;
        let lane = Arc::new(Lane::new(self.spool.clone(), config.schedule, config.target));
        self.status.lock().push(SubscriptionStatus {
            name: config.name.clone(),
            topics: Vec::new(),
            disabled: None,
            breaker: Arc::clone(&lane.breaker),
            metrics: Arc::clone(&lane.metrics),
        });
        let mut topics = Topics {
            id,
            name: config.name,
            cache: config.cache,
            from: config.from,
            gap_notices: config.gap_notices,
            expire_after,
            metrics: Arc::clone(&lane.metrics),
            fixed: config.topics.into_iter().collect(),
            found: BTreeSet::new(),
            added: self.added(id).await?,
            readers: BTreeMap::new(),
        };
        self.follow(index, &mut topics).await?;
        if let Some(target) = config.dead_letters {
            let span = tracing::info_span!("dead letters", subscription = topics.name);
            let (lane, stop) = (Arc::clone(&lane), self.stop.clone());
            let send = async move {
                dead_letter::run(&lane, id, &*target, stop.cancelled()).await.map(|()| Ended::Reader)
            };
            self.tasks.spawn(send.instrument(span));
        }
        let span = tracing::info_span!("scheduler", subscription = topics.name);
        let stop = self.stop.clone();
        let deliver = async move {
            let end = schedule::run(lane, id, stop.cancelled()).await?;
            Ok(Ended::Scheduler { index, end })
        };
        self.tasks.spawn(deliver.instrument(span));
        if let Some(source) = config.topics_from {
            let span = tracing::info_span!("topics", subscription = topics.name);
            let (stop, found) = (self.stop.clone(), found.clone());
            let read = async move {
                tokio::select! {
                    () = topics::read(source, index, &found) => {}
                    () = stop.cancelled() => {}
                }
                Ok(Ended::Reader)
            };
            self.tasks.spawn(read.instrument(span));
        }
        Ok(topics)
    }

    /// Returns the topics that were added to a subscription at run time.
    async fn added(&self, id: SubscriptionId) -> Result<BTreeSet<String>, SpoolError> {
        Ok(self.spool.added_topics(Some(id)).await?.into_iter().map(|(_, topic)| topic).collect())
    }

    /// Starts and ends readers, so that the topics of all origins have one.
    async fn follow(&mut self, index: usize, topics: &mut Topics) -> Result<(), RelayError> {
        let all = [&topics.fixed, &topics.found, &topics.added];
        let wanted: BTreeSet<_> = all.into_iter().flatten().cloned().collect();
        topics.readers.retain(|topic, stop| {
            let is_wanted = wanted.contains(topic);
            if !is_wanted {
                stop.cancel();
                tracing::info!(subscription = topics.name, topic, "the topic is no longer subscribed to");
            }
            is_wanted
        });
        let mut states = Vec::new();
        for name in wanted {
            if !topics.readers.contains_key(&name) {
                let stop = self.stop.child_token();
                states.push((name.clone(), self.read(topics, &name, stop.clone()).await?));
                topics.readers.insert(name, stop);
            }
        }
        if let Some(status) = self.status.lock().get_mut(index) {
            status.topics.retain(|(topic, _)| topics.readers.contains_key(topic));
            status.topics.extend(states);
        }
        Ok(())
    }

    /// Starts the reader of a topic.
    async fn read(
        &mut self,
        topics: &Topics,
        name: &str,
        stop: CancellationToken,
    ) -> Result<watch::Receiver<ReaderState>, RelayError> {
        let Topics { id, cache, from, gap_notices, metrics, .. } = topics;
        let (topic, cursor) = self.spool.topic(*id, cache, name).await?;
        let cursor = cursor.or(match from {
            Start::Now => None,
            Start::Available => Some(Cursor { number: 1, page: 0 }),
        });
        let authorization = self.channels.credentials.authorization().clone();
        let stream = Subscription::over(self.channels.next()?, authorization, cache, name, cursor)
            .with_policy(self.policy);
        let (sender, state) = watch::channel(ReaderState::default());
        let reader = Reader {
            topic,
            gap_notices: *gap_notices,
            spool: self.spool.clone(),
            room: if self.is_shared { Room::Shared(*id) } else { Room::All },
            state: sender,
            metrics: Arc::clone(metrics),
        };
        let read =
            async move { reader::read(stream, &reader, stop.cancelled()).await.map(|()| Ended::Reader) };
        let span = tracing::info_span!("reader", subscription = topics.name, cache, topic = name);
        self.tasks.spawn(read.instrument(span));
        Ok(state)
    }
}

/// Connections to Momento, each for a limited number of streams.
struct Channels<'c> {
    credentials: &'c Credentials,
    current: Option<(Channel, usize)>,
}

impl Channels<'_> {
    /// Returns the connection for the next stream.
    fn next(&mut self) -> Result<Channel, tonic::transport::Error> {
        match &mut self.current {
            Some((channel, streams)) if *streams < STREAMS_PER_CHANNEL => {
                *streams += 1;
                Ok(channel.clone())
            }
            _ => {
                let channel = self.credentials.channel()?;
                self.current = Some((channel.clone(), 1));
                Ok(channel)
            }
        }
    }
}
