//! Delivers the messages of one subscription from the spool to its target.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, OptionFuture, join_all};
use momento_webhook::Millis;
use rand::Rng as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::breaker::{self, Breaker, BreakerPolicy};
use crate::clock::{RelayClock, millis};
use crate::metrics::SubscriptionMetrics;
use crate::pace::Pace;
use crate::spool::{Change, MessageId, Outcome, Spool, SpoolError, Spooled, SubscriptionId, TopicId};

/// Messages that are read from the spool at once.
const FETCH: usize = 256;
/// The longest wait without a look at the clock: after this time, a clock that was set is noticed.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// The time between two searches for expired messages.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);
/// The longest time that attempts may take to end after a shutdown. The targets have timeouts of 5 seconds.
const MAX_END: Duration = Duration::from_secs(10);
/// The longest wait that a target can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// The share by which a wait between attempts is longer or shorter.
const JITTER: f64 = 0.2;

/// How a subscription delivers.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The order of deliveries.
    pub order: Order,
    /// The largest number of deliveries at the same time.
    pub concurrency: usize,
    /// The largest number of attempts in a second.
    pub rate: Option<NonZeroU32>,
    /// The waits between attempts, each varied by up to a fifth. After the last one the message is dead.
    pub retry: Vec<Duration>,
    /// The age at which a message expires.
    pub expire_after: Duration,
    /// When the target counts as away.
    pub breaker: BreakerPolicy,
}

/// The order of deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Messages that are due are delivered at the same time.
    #[default]
    None,
    /// Messages of one topic are delivered one after the other. A message that fails holds up its topic until it is
    /// delivered, dead or expired.
    Topic,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            order: Order::None,
            concurrency: 16,
            rate: None,
            retry: [1, 5, 15, 60, 300, 1_800, 7_200, 21_600].map(Duration::from_secs).to_vec(),
            expire_after: Duration::from_hours(24),
            breaker: BreakerPolicy::default(),
        }
    }
}

/// Takes messages.
pub trait Target: fmt::Debug + Send + Sync + 'static {
    /// Delivers a message once.
    fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt>;

    /// Returns the largest number of messages that [`deliver_batch`](Self::deliver_batch) delivers at the same time.
    fn batch_size(&self) -> usize {
        1
    }

    /// Delivers several messages once. Returns the result of each, in their order.
    fn deliver_batch<'a>(&'a self, messages: &'a [Spooled]) -> BoxFuture<'a, Vec<Attempt>> {
        Box::pin(join_all(messages.iter().map(|message| self.deliver(message))))
    }
}

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The target has the message.
    Delivered,
    /// Another attempt may help.
    Transient {
        /// Why it failed.
        error: String,
        /// How long the target asks to wait.
        retry_after: Option<Duration>,
        /// A note of the target to itself, for the next attempt.
        progress: Option<String>,
    },
    /// The target does not take this message.
    Permanent {
        /// Why.
        error: String,
    },
    /// The target wants no messages at all. The subscription is paused, and the message stays in the spool.
    Disabled {
        /// Why.
        error: String,
    },
}

/// Delivers until `shutdown` completes, then waits for the attempts that have begun. Returns early if the target
/// disables its subscription.
///
/// # Errors
/// If the spool has stopped.
pub(crate) async fn run(
    lane: Arc<Lane>,
    subscription: SubscriptionId,
    shutdown: impl Future<Output = ()>,
) -> Result<End, SpoolError> {
    let mut scheduler = Scheduler::new(lane, subscription);
    let end = tokio::select! {
        end = scheduler.run() => end,
        // Also while the spool cannot store or read.
        () = shutdown => Ok(End::Shutdown),
    };
    let ended = async { while scheduler.running.join_next().await.is_some() {} };
    // Outcomes that cannot be stored are given up. Their messages are delivered again.
    let _ = tokio::time::timeout(MAX_END, ended).await;
    end
}

/// Lets the messages of a subscription expire that are not delivered, until `shutdown` completes. Without that, they would
/// keep their room in the spool.
///
/// # Errors
/// If the spool has stopped.
pub(crate) async fn expire(
    spool: Spool,
    subscription: SubscriptionId,
    expire_after: Duration,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SpoolError> {
    let clock = RelayClock::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let (at, received_before) = clock.before(expire_after);
        let (due_until, except) = (Millis::MAX, HashSet::new());
        spool.send(Change::Expire { subscription, received_before, at, due_until, except }).await?;
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            () = tokio::time::sleep(EXPIRE_EVERY) => {}
        }
    }
}

/// Why a scheduler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was asked to.
    Shutdown,
    /// The target wants no messages.
    Disabled(String),
}

struct Scheduler {
    subscription: SubscriptionId,
    lane: Arc<Lane>,
    /// Lists of messages that are to be delivered one after the other.
    waiting: VecDeque<VecDeque<Spooled>>,
    running: JoinSet<Result<Next, SpoolError>>,
    /// The messages that wait or run, by the task or list that has them. They are still pending in the spool.
    held: HashMap<MessageId, TopicId>,
    /// The read of more messages, while deliveries run.
    fetching: Option<BoxFuture<'static, Result<Fetched, SpoolError>>>,
    /// The messages that were delivered since that read began. It may return them.
    released: Vec<MessageId>,
    /// True if messages may be due that were not read.
    is_stale: bool,
    /// The time at which the next message is due, as far as it is known.
    due_at: Instant,
    /// The topic that had its turn last, with an order by topic.
    last_topic: Option<TopicId>,
}

/// The messages that are due.
struct Fetched {
    lists: Vec<VecDeque<Spooled>>,
    /// False if more may be due.
    is_all: bool,
    /// The time at which the next message is due.
    next_due: Option<Millis>,
}

/// The parts that all deliveries of a subscription share.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) spool: Spool,
    schedule: Schedule,
    target: Arc<dyn Target>,
    pub(crate) breaker: Arc<Breaker>,
    pace: Pace,
    clock: RelayClock,
    pub(crate) metrics: Arc<SubscriptionMetrics>,
    /// Notified when a message is dead.
    pub(crate) died: Notify,
}

/// Delivers several messages once. No message is lost if the target panics. The panic is in the log.
pub(crate) async fn deliver_contained(target: &dyn Target, messages: &[Spooled]) -> Vec<Attempt> {
    let panicked = |message: &Spooled| Attempt::Transient {
        error: "the delivery panicked".to_owned(),
        retry_after: None,
        progress: message.progress.clone(),
    };
    let attempts = AssertUnwindSafe(target.deliver_batch(messages)).catch_unwind().await;
    let attempts = attempts.unwrap_or_else(|_| messages.iter().map(panicked).collect());
    assert_eq!(attempts.len(), messages.len(), "a target returns the result of each message");
    attempts
}

/// The result of delivering lists of messages.
struct Next {
    messages: Vec<MessageId>,
    /// True if one of them needs another attempt.
    is_retried: bool,
    disabled: Option<String>,
}

impl Scheduler {
    fn new(lane: Arc<Lane>, subscription: SubscriptionId) -> Self {
        Self {
            subscription,
            lane,
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            held: HashMap::new(),
            fetching: None,
            released: Vec::new(),
            is_stale: true,
            due_at: Instant::now(),
            last_topic: None,
        }
    }

    async fn run(&mut self) -> Result<End, SpoolError> {
        let mut arrivals = self.lane.spool.arrivals(self.subscription);
        let mut expire_at = Instant::now();
        loop {
            let now = Instant::now();
            if expire_at <= now {
                expire_at = now + EXPIRE_EVERY;
                self.expire().await?;
            }
            if self.due_at <= now {
                self.due_at = now + MAX_SLEEP;
                self.is_stale = true;
            }
            let wake = self.start().min(expire_at).min(self.due_at);
            if self.is_stale && self.fetching.is_none() && self.has_few() {
                self.fetch();
            }
            tokio::select! {
                Some(next) = self.running.join_next() => {
                    let next = next.expect("a delivery does not panic, and nothing aborts it")?;
                    // The next message of the topic may be due, or the wait of one has begun.
                    self.is_stale |= next.is_retried || self.lane.schedule.order == Order::Topic;
                    self.release(next.messages);
                    if let Some(error) = next.disabled {
                        return Ok(End::Disabled(error));
                    }
                }
                Some(fetched) = OptionFuture::from(self.fetching.as_mut()) => {
                    self.fetching = None;
                    self.take(fetched?);
                }
                ended = arrivals.next(), if !self.is_stale => {
                    ended?;
                    self.is_stale = true;
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Returns true if more messages are to be read.
    fn has_few(&self) -> bool {
        match self.lane.schedule.order {
            // The read takes a while, and the rest is delivered meanwhile.
            Order::None => self.waiting.len() < FETCH / 2,
            Order::Topic => self.waiting.is_empty() && self.running.len() < self.lane.schedule.concurrency,
        }
    }

    /// Starts as many deliveries as may run. Returns the time at which more can be started without another reason.
    fn start(&mut self) -> Instant {
        let later = Instant::now() + MAX_SLEEP;
        while self.running.len() < self.lane.schedule.concurrency && !self.waiting.is_empty() {
            if let Some(wait) = self.lane.pace.wait() {
                return Instant::now() + wait;
            }
            if !self.lane.breaker.try_start() {
                return self.lane.breaker.open_until().unwrap_or(later);
            }
            // A batch waits for nothing: it has the messages that are due now.
            let size = self.lane.target.batch_size().clamp(1, self.waiting.len());
            let lists: Vec<_> = self.waiting.drain(..size).collect();
            self.lane.start_attempts(lists.len());
            let lane = Arc::clone(&self.lane);
            self.running.spawn(async move { lane.deliver_all(lists).await });
        }
        later
    }

    /// Begins to read messages that are due.
    fn fetch(&mut self) {
        self.is_stale = false;
        let (spool, subscription, now) = (self.lane.spool.clone(), self.subscription, self.lane.clock.now());
        self.fetching = Some(match self.lane.schedule.order {
            Order::None => {
                let limit = FETCH + self.held.len();
                Box::pin(async move {
                    let (due, next_due) = spool.due_and_next(subscription, now, limit).await?;
                    let is_all = due.len() < limit;
                    Ok(Fetched {
                        lists: due.into_iter().map(|message| VecDeque::from([message])).collect(),
                        is_all,
                        next_due,
                    })
                })
            }
            Order::Topic => {
                let busy: HashSet<TopicId> = self.held.values().copied().collect();
                let (concurrency, batch) = (self.lane.schedule.concurrency, self.lane.target.batch_size());
                let free = (concurrency - self.running.len()).saturating_mul(batch);
                let each = FETCH / concurrency.saturating_mul(batch).max(1) + 1;
                let last = self.last_topic;
                Box::pin(async move {
                    let mut topics = spool.due_topics(subscription, now).await?;
                    // They are sorted. Each has its turn: those that always have messages must not keep out the others.
                    let next = topics.partition_point(|topic| Some(*topic) <= last);
                    topics.rotate_left(next);
                    topics.retain(|topic| !busy.contains(topic));
                    let is_all = topics.len() <= free;
                    let mut lists = Vec::new();
                    for topic in topics.into_iter().take(free) {
                        let messages = spool.oldest(topic, each).await?;
                        lists
                            .push(messages.into_iter().take_while(|message| message.due_at <= now).collect());
                    }
                    let next_due = spool.next_due(subscription, now).await?;
                    Ok(Fetched { lists, is_all, next_due })
                })
            }
        });
    }

    /// Takes messages that were read, except for those that it has already.
    fn take(&mut self, Fetched { lists, is_all, next_due }: Fetched) {
        for mut list in lists {
            list.retain(|message| !self.held.contains_key(&message.id));
            let Some(first) = list.front() else { continue };
            self.last_topic = Some(first.topic);
            self.held.extend(list.iter().map(|message| (message.id, message.topic)));
            self.waiting.push_back(list);
        }
        for message in self.released.drain(..) {
            self.held.remove(&message);
        }
        self.is_stale |= !is_all;
        let wait = next_due.map_or(MAX_SLEEP, |next| {
            Duration::from_millis(next.saturating_sub(self.lane.clock.now())).min(MAX_SLEEP)
        });
        self.due_at = Instant::now() + wait;
    }

    /// Lets go of messages that a delivery has ended with.
    fn release(&mut self, messages: Vec<MessageId>) {
        if self.fetching.is_some() {
            self.released.extend(messages);
        } else {
            for message in messages {
                self.held.remove(&message);
            }
        }
    }

    async fn expire(&mut self) -> Result<(), SpoolError> {
        // What waits here can expire too, and so can what is being read. It is read again if it does not.
        self.fetching = None;
        let waiting = self.waiting.drain(..).flatten().map(|message| message.id);
        for message in waiting.chain(self.released.drain(..)) {
            self.held.remove(&message);
        }
        self.is_stale = true;
        let except = self.held.keys().copied().collect();
        self.lane.spool.send(self.lane.expired(self.subscription, except)).await
    }
}

impl Lane {
    pub(crate) fn new(spool: Spool, schedule: Schedule, target: Arc<dyn Target>) -> Self {
        let breaker = Arc::new(Breaker::new(schedule.breaker));
        let pace = Pace::new(schedule.rate);
        let (clock, metrics, died) = (RelayClock::default(), Arc::default(), Notify::new());
        Self { spool, schedule, target, breaker, pace, clock, metrics, died }
    }

    /// Returns the change that gives old messages their outcome, except for those in `except`.
    fn expired(&self, subscription: SubscriptionId, except: HashSet<MessageId>) -> Change {
        let (at, received_before) = self.clock.before(self.schedule.expire_after);
        let longest = self.schedule.retry.iter().max().copied().unwrap_or_default().mul_f64(1.0 + JITTER);
        let due_until = at.saturating_add(millis(longest.max(MAX_RETRY_AFTER)));
        Change::Expire { subscription, received_before, at, due_until, except }
    }

    fn start_attempts(&self, count: usize) {
        for _ in 0..count {
            self.pace.start();
        }
    }

    /// Delivers the first message of each list as one batch, then the second, and so on. A list ends with the first message
    /// that needs another attempt.
    async fn deliver_all(&self, mut lists: Vec<VecDeque<Spooled>>) -> Result<Next, SpoolError> {
        let messages = lists.iter().flatten().map(|message| message.id).collect();
        let mut next = Next { messages, is_retried: false, disabled: None };
        let mut is_first = true;
        while !lists.is_empty() {
            // The scheduler has asked for the first batch.
            if !std::mem::take(&mut is_first) {
                if self.pace.wait().is_some() || !self.breaker.try_start() {
                    break;
                }
                self.start_attempts(lists.len());
            }
            let mut batch = Vec::with_capacity(lists.len());
            let mut behind = Vec::with_capacity(lists.len());
            for mut list in lists {
                if let Some(message) = self.next_unexpired(&mut list).await? {
                    batch.push(message);
                    behind.push(list);
                }
            }
            lists = Vec::new();
            for ((message, attempt), list) in batch.iter().zip(self.attempt(&batch).await).zip(behind) {
                let is_finished = matches!(attempt, Attempt::Delivered | Attempt::Permanent { .. });
                next.is_retried |= !is_finished;
                if is_finished && !list.is_empty() {
                    lists.push(list);
                }
                let disabled = self.record(message, attempt).await?;
                next.disabled = next.disabled.or(disabled);
            }
        }
        Ok(next)
    }

    /// Takes the first message of a list that is not too old. Those before it expire.
    async fn next_unexpired(&self, list: &mut VecDeque<Spooled>) -> Result<Option<Spooled>, SpoolError> {
        while let Some(message) = list.pop_front() {
            let (now, received_before) = self.clock.before(self.schedule.expire_after);
            if message.received_at > received_before {
                return Ok(Some(message));
            }
            let (id, outcome) = (message.id, Outcome::Expired);
            let expired = Change::Finished { id, outcome, attempts: None, at: now, error: None };
            self.spool.send(expired).await?;
        }
        Ok(None)
    }

    /// Makes one attempt for each message of a batch, and tells the breaker whether the target responds.
    async fn attempt(&self, batch: &[Spooled]) -> Vec<Attempt> {
        if batch.is_empty() {
            self.breaker.abandon();
            return Vec::new();
        }
        let started = Instant::now();
        let attempts = deliver_contained(&*self.target, batch).await;
        for (message, attempt) in batch.iter().zip(&attempts) {
            let age = Duration::from_millis(self.clock.now().saturating_sub(message.received_at));
            self.metrics.attempt(attempt, started.elapsed(), age);
        }
        let is_any = |is_one: fn(&Attempt) -> bool| attempts.iter().any(is_one);
        let change = if is_any(|one| matches!(one, Attempt::Delivered | Attempt::Permanent { .. })) {
            self.breaker.succeeded()
        } else if is_any(|one| matches!(one, Attempt::Transient { .. })) {
            self.breaker.failed()
        } else {
            self.breaker.abandon();
            breaker::Change::None
        };
        match change {
            breaker::Change::Opened(cooldown) => {
                tracing::warn!(target = ?self.target, ?cooldown, "the target fails repeatedly; deliveries wait");
            }
            breaker::Change::Closed => tracing::info!(target = ?self.target, "the target responds again"),
            breaker::Change::None => {}
        }
        attempts
    }

    /// Records the result of an attempt. Returns why the target is disabled.
    async fn record(&self, message: &Spooled, attempt: Attempt) -> Result<Option<String>, SpoolError> {
        let now = self.clock.now();
        let (id, attempts) = (message.id, message.attempts.saturating_add(1));
        let finished =
            |outcome, error| Change::Finished { id, outcome, attempts: Some(attempts), at: now, error };
        let change = match attempt {
            Attempt::Delivered => finished(Outcome::Delivered, None),
            Attempt::Permanent { error } => finished(Outcome::Dead, Some(error)),
            Attempt::Transient { error, retry_after, progress } => {
                match self.next_attempt(message, now, retry_after) {
                    Some(due_at) => Change::Retry { id, attempts, due_at, error, progress },
                    None => finished(Outcome::Dead, Some(error)),
                }
            }
            Attempt::Disabled { error } => return Ok(Some(error)),
        };
        let is_dead = matches!(change, Change::Finished { outcome: Outcome::Dead, .. });
        self.spool.send(change).await?;
        if is_dead {
            self.died.notify_one();
        }
        Ok(None)
    }

    /// Returns the time of the next attempt, or `None` after the last one.
    fn next_attempt(&self, message: &Spooled, now: Millis, retry_after: Option<Duration>) -> Option<Millis> {
        let index = usize::try_from(message.attempts).ok()?;
        let wait =
            self.schedule.retry.get(index)?.mul_f64(rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER));
        let wait = wait.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
        // A message is looked at when it expires, not later.
        let (_, received_before) = self.clock.before(self.schedule.expire_after);
        let left = message.received_at.saturating_sub(received_before).max(1);
        Some(now.saturating_add(millis(wait).min(left)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fanout_core::clock::{Clock as _, SystemClock};

    use super::*;
    use crate::clock::tests::Settable;
    use crate::spool::{Limits, Location, Payload, Received};

    /// Calls a function for every attempt.
    struct Fake<F>(F);

    impl<F> fmt::Debug for Fake<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("fake")
        }
    }

    impl<F: Fn(&Spooled) -> BoxFuture<'static, Attempt> + Send + Sync + 'static> Target for Fake<F> {
        fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
            self.0(message)
        }
    }

    fn fake<F: Fn(&Spooled) -> BoxFuture<'static, Attempt>>(deliver: F) -> Fake<F> {
        Fake(deliver)
    }

    fn ready(attempt: Attempt) -> BoxFuture<'static, Attempt> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            attempt
        })
    }

    fn transient() -> Attempt {
        Attempt::Transient { error: "503".to_owned(), retry_after: None, progress: None }
    }

    fn quick() -> Schedule {
        Schedule {
            retry: vec![Duration::from_millis(1); 3],
            breaker: BreakerPolicy { failures: u32::MAX, ..BreakerPolicy::default() },
            ..Schedule::default()
        }
    }

    /// A spool with `topics` topics and `each` messages in each, numbered from 1.
    async fn spool(topics: usize, each: u64) -> (Spool, SubscriptionId) {
        let spool = Spool::open(&Location::Memory, Limits::default()).unwrap();
        let subscription = spool.subscription("s").await.unwrap();
        let mut ids = Vec::new();
        for topic in 0..topics {
            ids.push(spool.topic(subscription, "cache", &topic.to_string()).await.unwrap().0);
        }
        for number in 1..=each {
            for topic in &ids {
                let received = Received {
                    topic: *topic,
                    page: 1,
                    number,
                    received_at: SystemClock.now(),
                    token_id: None,
                    payload: Payload::Text(String::new()),
                    cursor: None,
                };
                spool.send(Change::Received(received)).await.unwrap();
            }
        }
        (spool, subscription)
    }

    /// Waits until no message is pending, and returns the sums of delivered, dead and expired ones.
    async fn finished(spool: &Spool) -> (u64, u64, u64) {
        let mut changes = spool.changes();
        loop {
            let totals = spool.totals().await.unwrap();
            if totals.iter().all(|topic| topic.pending == 0) {
                let sum = |count: fn(&crate::spool::TopicTotals) -> u64| totals.iter().map(count).sum();
                return (sum(|topic| topic.delivered), sum(|topic| topic.dead), sum(|topic| topic.expired));
            }
            changes.changed().await.unwrap();
        }
    }

    fn lane(spool: &Spool, schedule: Schedule, target: impl Target) -> Arc<Lane> {
        Arc::new(Lane::new(spool.clone(), schedule, Arc::new(target)))
    }

    /// Runs a scheduler until no message is pending.
    async fn run_all(
        (spool, subscription): &(Spool, SubscriptionId),
        schedule: Schedule,
        target: impl Target,
    ) -> (u64, u64, u64) {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let shutdown = async move { stopped.notified().await };
        let scheduler = run(lane(spool, schedule, target), *subscription, shutdown);
        let (end, sums) = tokio::join!(scheduler, async {
            let sums = finished(spool).await;
            stop.notify_one();
            sums
        });
        assert_eq!(end.unwrap(), End::Shutdown);
        sums
    }

    #[tokio::test]
    async fn delivers_every_message_once_and_as_many_at_once_as_allowed() {
        let spool = spool(3, 400).await;
        let (running, most, seen) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::default());
        let (now, max, all) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&seen));
        let target = fake(move |message: &Spooled| {
            let all: &Mutex<Vec<_>> = &all;
            all.lock().unwrap().push(message.id);
            max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let now = Arc::clone(&now);
            Box::pin(async move {
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Attempt::Delivered
            })
        });
        assert_eq!(run_all(&spool, Schedule { concurrency: 5, ..quick() }, target).await, (1_200, 0, 0));
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), most.load(Ordering::SeqCst)), (1_200, 5));
    }

    #[tokio::test]
    async fn keeps_order_of_each_topic_when_messages_fail_first() {
        let spool = spool(4, 50).await;
        let delivered: Arc<Mutex<HashMap<TopicId, Vec<u64>>>> = Arc::default();
        let seen = Arc::clone(&delivered);
        let target = fake(move |message: &Spooled| {
            if message.number % 7 == 3 && message.attempts < 2 {
                return ready(transient());
            }
            seen.lock().unwrap().entry(message.topic).or_default().push(message.number);
            ready(Attempt::Delivered)
        });
        let schedule = Schedule { order: Order::Topic, ..quick() };
        assert_eq!(run_all(&spool, schedule, target).await, (200, 0, 0));
        for (topic, numbers) in &*delivered.lock().unwrap() {
            assert_eq!(*numbers, (1..=50).collect::<Vec<_>>(), "{topic:?}");
        }
    }

    /// Takes batches of four, and calls a function for each.
    struct Batches<F>(F);

    impl<F> fmt::Debug for Batches<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("batches")
        }
    }

    impl<F: Fn(&[Spooled]) -> Vec<Attempt> + Send + Sync + 'static> Target for Batches<F> {
        fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
            ready(self.0(std::slice::from_ref(message)).remove(0))
        }

        fn batch_size(&self) -> usize {
            4
        }

        fn deliver_batch<'a>(&'a self, messages: &'a [Spooled]) -> BoxFuture<'a, Vec<Attempt>> {
            let attempts = self.0(messages);
            Box::pin(async move {
                tokio::task::yield_now().await;
                attempts
            })
        }
    }

    #[tokio::test]
    async fn messages_that_are_due_go_together_and_fail_one_by_one() {
        let spool = spool(1, 11).await;
        let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
        let seen = Arc::clone(&sizes);
        let target = Batches(move |messages: &[Spooled]| {
            seen.lock().unwrap().push(messages.len());
            let attempt = |message: &Spooled| match (message.number, message.attempts) {
                (2, _) => Attempt::Permanent { error: "404".to_owned() },
                (3, 0) | (4, _) => transient(),
                _ => Attempt::Delivered,
            };
            messages.iter().map(attempt).collect()
        });
        assert_eq!(run_all(&spool, Schedule { concurrency: 1, ..quick() }, target).await, (9, 2, 0));
        assert_eq!(sizes.lock().unwrap()[..2], [4, 4]);
        let dead = spool.0.finished(Outcome::Dead, MessageId::default(), 9).await.unwrap();
        assert_eq!(
            dead.iter().map(|message| (message.number, message.attempts)).collect::<Vec<_>>(),
            [(2, 1), (4, 4)]
        );
    }

    #[tokio::test]
    async fn batch_has_one_message_of_each_topic_and_keeps_their_order() {
        let spool = spool(6, 20).await;
        let delivered: Arc<Mutex<HashMap<TopicId, Vec<u64>>>> = Arc::default();
        let seen = Arc::clone(&delivered);
        let target = Batches(move |messages: &[Spooled]| {
            let topics: HashSet<_> = messages.iter().map(|message| message.topic).collect();
            assert_eq!(topics.len(), messages.len());
            let attempt = |message: &Spooled| {
                if message.number % 5 == 2 && message.attempts < 2 {
                    return transient();
                }
                seen.lock().unwrap().entry(message.topic).or_default().push(message.number);
                Attempt::Delivered
            };
            messages.iter().map(attempt).collect()
        });
        let schedule = Schedule { order: Order::Topic, concurrency: 2, ..quick() };
        assert_eq!(run_all(&spool, schedule, target).await, (120, 0, 0));
        for (topic, numbers) in &*delivered.lock().unwrap() {
            assert_eq!(*numbers, (1..=20).collect::<Vec<_>>(), "{topic:?}");
        }
    }

    #[tokio::test]
    async fn batch_that_fails_is_one_failure_for_the_breaker() {
        let spool = spool(1, 40).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let (count, third) = (Arc::clone(&calls), Arc::new(Notify::new()));
        let reached = Arc::clone(&third);
        let target = Batches(move |messages: &[Spooled]| {
            if count.fetch_add(1, Ordering::SeqCst) == 2 {
                reached.notify_one();
            }
            messages.iter().map(|_| transient()).collect()
        });
        let breaker = BreakerPolicy { failures: 3, ..BreakerPolicy::default() };
        let schedule = Schedule { concurrency: 1, breaker, ..quick() };
        let shutdown = async move { third.notified().await };
        run(lane(&spool.0, schedule, target), spool.1, shutdown).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn makes_message_dead_after_last_retry_or_permanent_failure() {
        let spool = spool(1, 3).await;
        let attempts: Arc<Mutex<Vec<(u64, u32)>>> = Arc::default();
        let seen = Arc::clone(&attempts);
        let target = fake(move |message: &Spooled| {
            seen.lock().unwrap().push((message.number, message.attempts));
            ready(match message.number {
                1 => transient(),
                2 => Attempt::Permanent { error: "404".to_owned() },
                _ => Attempt::Delivered,
            })
        });
        let schedule = Schedule { order: Order::Topic, ..quick() };
        assert_eq!(run_all(&spool, schedule, target).await, (1, 2, 0));
        assert_eq!(*attempts.lock().unwrap(), [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (3, 0)]);
        let dead = spool.0.finished(Outcome::Dead, MessageId::default(), 9).await.unwrap();
        let dead: Vec<_> =
            dead.iter().map(|message| (message.error.as_deref().unwrap(), message.attempts)).collect();
        assert_eq!(dead, [("503", 4), ("404", 1)]);
    }

    #[tokio::test]
    async fn retries_message_whose_delivery_panics() {
        let spool = spool(1, 2).await;
        let target = fake(|message: &Spooled| {
            let (number, attempts) = (message.number, message.attempts);
            Box::pin(async move {
                assert!(number == 2 || attempts == 9, "it panics");
                Attempt::Delivered
            })
        });
        assert_eq!(run_all(&spool, quick(), target).await, (1, 1, 0));
    }

    #[tokio::test]
    async fn expires_message_that_fails_for_too_long() {
        let spool = spool(1, 1).await;
        let schedule = Schedule {
            retry: vec![Duration::from_hours(1)],
            expire_after: Duration::from_millis(50),
            ..quick()
        };
        let target = fake(|_: &Spooled| ready(transient()));
        assert_eq!(run_all(&spool, schedule, target).await, (0, 0, 1));
    }

    /// Runs a scheduler with `clock` until `end` completes.
    async fn run_with_clock(
        (spool, subscription): &(Spool, SubscriptionId),
        schedule: Schedule,
        target: impl Target,
        clock: &Settable,
        end: impl Future<Output = ()>,
    ) {
        let mut lane = Lane::new(spool.clone(), schedule, Arc::new(target));
        lane.clock = RelayClock::new(clock.clone());
        assert_eq!(run(Arc::new(lane), *subscription, end).await.unwrap(), End::Shutdown);
    }

    #[tokio::test]
    async fn message_does_not_expire_because_clock_is_set_forward() {
        let spool = spool(1, 5).await;
        let clock = Settable::at(SystemClock.now());
        let set = clock.clone();
        // The clock is set while the first message is delivered.
        let target = fake(move |_: &Spooled| {
            set.set(SystemClock.now() + 365 * 24 * 3_600_000);
            ready(Attempt::Delivered)
        });
        let schedule = Schedule { concurrency: 1, ..quick() };
        let end = async {
            finished(&spool.0).await;
        };
        run_with_clock(&spool, schedule, target, &clock, end).await;
        assert_eq!(finished(&spool.0).await, (5, 0, 0));
    }

    #[tokio::test]
    async fn message_is_delivered_although_clock_was_set_back() {
        for order in [Order::None, Order::Topic] {
            let spool = spool(2, 5).await;
            // What has arrived, arrived in the future. One has been tried, and waits for its next attempt in the future.
            let id = spool.0.due(spool.1, SystemClock.now(), 1).await.unwrap()[0].id;
            let (error, due_at) = ("503".to_owned(), SystemClock.now() + 60_000);
            let retry = Change::Retry { id, attempts: 1, due_at, error, progress: None };
            spool.0.send(retry).await.unwrap();
            let clock = Settable::at(SystemClock.now() - 365 * 24 * 3_600_000);
            let end = async {
                finished(&spool.0).await;
            };
            let target = fake(|_: &Spooled| ready(Attempt::Delivered));
            let schedule = Schedule { order, ..quick() };
            run_with_clock(&spool, schedule, target, &clock, end).await;
            assert_eq!(finished(&spool.0).await, (10, 0, 0), "{order:?}");
        }
    }

    #[tokio::test]
    async fn wait_of_retry_in_far_future_ends() {
        let spool = spool(1, 1).await;
        let id = spool.0.due(spool.1, SystemClock.now(), 1).await.unwrap()[0].id;
        // The attempt was recorded while the clock was wrong by a year. The message arrived before.
        let (error, due_at) = ("503".to_owned(), SystemClock.now() + 365 * 24 * 3_600_000);
        spool.0.send(Change::Retry { id, attempts: 1, due_at, error, progress: None }).await.unwrap();
        let target = fake(|_: &Spooled| ready(Attempt::Delivered));
        assert_eq!(run_all(&spool, quick(), target).await, (1, 0, 0));
    }

    #[tokio::test]
    async fn every_topic_has_its_turn_while_others_are_busy() {
        let spool = spool(4, 600).await;
        let seen: Arc<Mutex<Vec<TopicId>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let target = fake(move |message: &Spooled| {
            sink.lock().unwrap().push(message.topic);
            ready(Attempt::Delivered)
        });
        let schedule = Schedule { order: Order::Topic, concurrency: 1, ..quick() };
        assert_eq!(run_all(&spool, schedule, target).await, (2_400, 0, 0));
        // A turn has as many messages as are read at once.
        let first_turns: HashSet<_> = seen.lock().unwrap().iter().take(4 * (FETCH + 1)).copied().collect();
        assert_eq!(first_turns.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_scheduler_while_disk_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::File(folder.path().join("relay.db"));
        let spool = Spool::open(&location, Limits::default()).unwrap();
        let subscription = spool.subscription("s").await.unwrap();
        let topic = spool.topic(subscription, "cache", "topic").await.unwrap().0;
        spool.fill_disk(u32::MAX).await;
        let received = Received {
            topic,
            page: 1,
            number: 1,
            received_at: SystemClock.now(),
            token_id: None,
            payload: Payload::Text("x".repeat(1_000_000)),
            cursor: None,
        };
        spool.send(Change::Received(received)).await.unwrap();
        let target = fake(|_: &Spooled| ready(Attempt::Delivered));
        let shutdown = tokio::time::sleep(Duration::from_secs(1));
        let end = run(lane(&spool, quick(), target), subscription, shutdown).await;
        assert_eq!(end.unwrap(), End::Shutdown);
        spool.close().await;
    }

    #[tokio::test]
    async fn waits_as_long_as_target_asks_up_to_a_bound() {
        for (asked, expected) in [(600, 600), (1_000_000, 3_600)] {
            let spool = spool(1, 1).await;
            let before = SystemClock.now();
            let tried = Arc::new(Notify::new());
            let stop = Arc::clone(&tried);
            let target = fake(move |_: &Spooled| {
                stop.notify_one();
                ready(Attempt::Transient {
                    error: "429".to_owned(),
                    retry_after: Some(Duration::from_secs(asked)),
                    progress: None,
                })
            });
            let shutdown = async move { tried.notified().await };
            run(lane(&spool.0, quick(), target), spool.1, shutdown).await.unwrap();
            let wait = spool.0.next_due(spool.1, before).await.unwrap().unwrap() - before;
            assert!((expected * 1_000..expected * 1_000 + 60_000).contains(&wait), "{asked}: {wait}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_expire_that_are_not_delivered() {
        let spool = spool(1, 3).await;
        let expired = async {
            assert_eq!(finished(&spool.0).await, (0, 0, 3));
        };
        expire(spool.0.clone(), spool.1, Duration::ZERO, expired).await.unwrap();
    }

    #[tokio::test]
    async fn stops_attempts_while_target_is_away() {
        let spool = spool(1, 100).await;
        let attempts = Arc::new(AtomicUsize::new(0));
        let (count, tenth) = (Arc::clone(&attempts), Arc::new(Notify::new()));
        let reached = Arc::clone(&tenth);
        let target = fake(move |_: &Spooled| {
            if count.fetch_add(1, Ordering::SeqCst) == 9 {
                reached.notify_one();
            }
            ready(transient())
        });
        let schedule = Schedule {
            concurrency: 1,
            breaker: BreakerPolicy { failures: 10, ..BreakerPolicy::default() },
            ..quick()
        };
        let shutdown = async move { tenth.notified().await };
        run(lane(&spool.0, schedule, target), spool.1, shutdown).await.unwrap();
        assert_eq!(attempts.load(Ordering::SeqCst), 10);
        assert_eq!(spool.0.usage().messages, 100);
    }

    #[tokio::test]
    async fn pauses_subscription_that_target_disables() {
        let spool = spool(1, 2).await;
        let target = fake(|_: &Spooled| ready(Attempt::Disabled { error: "410".to_owned() }));
        let end = run(lane(&spool.0, quick(), target), spool.1, std::future::pending()).await;
        assert_eq!(end.unwrap(), End::Disabled("410".to_owned()));
        assert_eq!(spool.0.usage().messages, 2);
    }

    #[tokio::test]
    async fn finishes_running_attempt_at_shutdown() {
        let spool = spool(1, 2).await;
        let begun = Arc::new(Notify::new());
        let first = Arc::clone(&begun);
        let target = fake(move |_: &Spooled| {
            first.notify_one();
            ready(Attempt::Delivered)
        });
        let schedule = Schedule { concurrency: 1, ..quick() };
        let shutdown = async move { begun.notified().await };
        run(lane(&spool.0, schedule, target), spool.1, shutdown).await.unwrap();
        let totals = spool.0.totals().await.unwrap();
        assert!(totals[0].delivered >= 1, "{totals:?}");
        assert_eq!(totals[0].delivered + totals[0].pending, 2);
    }
}
