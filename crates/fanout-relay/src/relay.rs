//! Readers and schedulers of all subscriptions, on one spool.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use fanout_momento::subscription::{Cursor, SubscriptionPolicy};
use fanout_momento::{Credentials, Subscription};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::breaker::Breaker;
use crate::metrics::SubscriptionMetrics;
use crate::reader::{self, Reader, ReaderState};
use crate::schedule::{self, End, Lane, Schedule, Target};
use crate::spool::{Spool, SpoolError};

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
    /// Where a topic starts that the spool does not know.
    pub from: Start,
    /// True if the target is told of gaps.
    pub gap_notices: bool,
    /// How messages are delivered.
    pub schedule: Schedule,
    /// Where they are delivered to.
    pub target: Arc<dyn Target>,
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

/// What a relay does at present. Clones share it.
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
    let mut tasks: JoinSet<Result<Ended, SpoolError>> = JoinSet::new();
    let mut channels = Channels { credentials, current: None };
    for (index, config) in subscriptions.into_iter().enumerate() {
        let subscription = spool.subscription(&config.name).await?;
        let lane = Lane::new(spool.clone(), config.schedule, config.target);
        let mut topics = Vec::new();
        for name in config.topics {
            let (topic, cursor) = spool.topic(subscription, &config.cache, &name).await?;
            let cursor = cursor.or(match config.from {
                Start::Now => None,
                Start::Available => Some(Cursor { number: 1, page: 0 }),
            });
            let authorization = credentials.authorization().clone();
            let stream = Subscription::over(channels.next()?, authorization, &config.cache, &name, cursor)
                .with_policy(policy);
            let (sender, state) = watch::channel(ReaderState::default());
            let reader = Reader {
                topic,
                gap_notices: config.gap_notices,
                spool: spool.clone(),
                state: sender,
                metrics: Arc::clone(&lane.metrics),
            };
            let stop = stop.clone();
            let read =
                async move { reader::read(stream, &reader, stop.cancelled()).await.map(|()| Ended::Reader) };
            tasks.spawn(tracing::Instrument::instrument(
                read,
                tracing::info_span!("reader", subscription = config.name, cache = config.cache, topic = name),
            ));
            topics.push((name, state));
        }
        let (breaker, metrics) = (Arc::clone(&lane.breaker), Arc::clone(&lane.metrics));
        let stop = stop.clone();
        let deliver = async move {
            let end = schedule::run(lane, subscription, stop.cancelled()).await?;
            Ok(Ended::Scheduler { index, end })
        };
        let span = tracing::info_span!("scheduler", subscription = config.name);
        tasks.spawn(tracing::Instrument::instrument(deliver, span));
        status.lock().push(SubscriptionStatus {
            name: config.name,
            topics,
            disabled: None,
            breaker,
            metrics,
        });
    }
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown, if !stop.is_cancelled() => stop.cancel(),
            ended = tasks.join_next() => match ended {
                // Without subscriptions there is nothing to do but to wait.
                None if stop.is_cancelled() => return Ok(()),
                None => {
                    shutdown.await;
                    return Ok(());
                }
                Some(ended) => {
                    let ended = ended.expect("no task panics, and none is aborted")?;
                    if let Ended::Scheduler { index, end: End::Disabled(error) } = ended
                        && let Some(subscription) = status.lock().get_mut(index)
                    {
                        tracing::error!(
                            subscription = subscription.name,
                            error,
                            "the target disabled its webhook; messages stay in the spool until the relay restarts"
                        );
                        subscription.disabled = Some(error);
                    }
                }
            },
        }
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
