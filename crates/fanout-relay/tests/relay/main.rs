//! The relay between local Momento and a target in this process.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test asserts by panicking"
)]

mod ledger;
mod network;
mod outages;
mod targets;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanout_core::retry::RetryPolicy;
use fanout_momento::Credentials;
use fanout_momento::subscription::SubscriptionPolicy;
use fanout_relay::spool::{Limits, Location, Payload, Spool, Spooled};
use fanout_relay::{Attempt, Order, ReaderState, Schedule, Start, Status, SubscriptionConfig, Target, run};
use futures_util::future::BoxFuture;
use momento_local::{Fault, MomentoLocal, Rpc};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::Code;

const QUICK: SubscriptionPolicy = SubscriptionPolicy {
    open: RetryPolicy {
        max_attempts: u32::MAX,
        attempt_timeout: Duration::from_secs(5),
        initial_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(50),
    },
    idle_timeout: Duration::from_mins(1),
};

/// Keeps what it takes, and rejects each message as often as `failures` says.
#[derive(Debug)]
struct Recorder {
    failures: u32,
    taken: watch::Sender<Vec<(String, u64, String)>>,
    attempts: Mutex<HashMap<(String, u64), u32>>,
}

impl Recorder {
    fn new(failures: u32) -> Arc<Self> {
        Arc::new(Self { failures, taken: watch::channel(Vec::new()).0, attempts: Mutex::default() })
    }

    /// Waits for this many messages.
    async fn wait(&self, messages: usize) -> Vec<(String, u64, String)> {
        self.taken.subscribe().wait_for(|taken| taken.len() >= messages).await.unwrap().clone()
    }
}

impl Target for Recorder {
    fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
        let key = (message.topic_name.clone(), message.number);
        let mut attempts = self.attempts.lock().unwrap();
        let attempts = attempts.entry(key.clone()).or_default();
        *attempts += 1;
        let attempt = if *attempts <= self.failures {
            Attempt::Transient { error: "503".to_owned(), retry_after: None, progress: None }
        } else {
            let Payload::Text(text) = &message.payload else { panic!("a text") };
            self.taken.send_modify(|taken| taken.push((key.0, key.1, text.clone())));
            Attempt::Delivered
        };
        Box::pin(std::future::ready(attempt))
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    status: Status,
}

impl Running {
    /// Starts a relay from local Momento to `target`.
    fn start(
        momento: &MomentoLocal,
        spool: &Spool,
        topics: &[&str],
        schedule: Schedule,
        target: &Arc<Recorder>,
    ) -> Self {
        let subscription = SubscriptionConfig {
            name: "test".to_owned(),
            cache: "c".to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            topics_from: None,
            from: Start::Now,
            gap_notices: false,
            schedule,
            target: Arc::clone(target) as Arc<dyn Target>,
            dead_letters: None,
        };
        Self::of(&momento.endpoint(), vec![subscription], spool, QUICK)
    }

    /// Starts a relay of these subscriptions.
    fn of(
        endpoint: &str,
        subscriptions: Vec<SubscriptionConfig>,
        spool: &Spool,
        policy: SubscriptionPolicy,
    ) -> Self {
        let credentials = Credentials::new("any", Some(&endpoint.parse().unwrap())).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (status, spool) = (Status::default(), spool.clone());
        let shared = status.clone();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            run(subscriptions, &spool, &credentials, policy, &shared, shutdown).await.unwrap();
        });
        Self { stop, task, status }
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }

    /// Waits until the reader of the only topic is in a state.
    async fn wait_for(&self, matches: impl Fn(&ReaderState) -> bool) {
        let mut state = loop {
            let subscriptions = self.status.subscriptions();
            if let Some((_, state)) =
                subscriptions.first().and_then(|subscription| subscription.topics.first())
            {
                break state.clone();
            }
            tokio::task::yield_now().await;
        };
        state.wait_for(|state| matches(state)).await.unwrap();
    }
}

/// Retries at once, five times.
fn quick(order: Order) -> Schedule {
    Schedule { order, retry: vec![Duration::from_millis(1); 5], ..Schedule::default() }
}

async fn momento() -> MomentoLocal {
    MomentoLocal::builder().cache("c").start().await.unwrap()
}

fn memory() -> Spool {
    Spool::open(&Location::Memory, Limits::default()).unwrap()
}

fn numbers(taken: &[(String, u64, String)]) -> BTreeMap<String, Vec<u64>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (topic, number, _) in taken {
        numbers.entry(topic.clone()).or_default().push(*number);
    }
    numbers
}

#[tokio::test]
async fn delivers_every_message_of_every_topic_in_order() {
    let (momento, spool, target) = (momento().await, memory(), Recorder::new(1));
    let relay = Running::start(&momento, &spool, &["a", "b", "d"], quick(Order::Topic), &target);
    for topic in ["a", "b", "d"] {
        momento.wait_for_subscribers("c", topic, 1).await;
    }
    for index in 0..100 {
        for topic in ["a", "b", "d"] {
            momento.publish("c", topic, format!("{topic} {index}")).unwrap();
        }
    }
    let taken = target.wait(300).await;
    for (topic, numbers) in numbers(&taken) {
        assert_eq!(numbers, (1..=100).collect::<Vec<_>>(), "{topic}");
    }
    relay.stop().await;
    spool.flush().await.unwrap();
    assert_eq!(spool.usage().messages, 0);
}

#[tokio::test]
async fn continues_after_restart_where_the_spool_ends() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("relay.db"));
    let (momento, target) = (momento().await, Recorder::new(0));
    for round in 0..3 {
        let spool = Spool::open(&location, Limits::default()).unwrap();
        let relay = Running::start(&momento, &spool, &["t"], quick(Order::Topic), &target);
        momento.wait_for_subscribers("c", "t", 1).await;
        for index in 0..10 {
            momento.publish("c", "t", format!("{round} {index}")).unwrap();
        }
        target.wait(round * 15 + 10).await;
        relay.stop().await;
        momento.wait_for_no_subscribers("c", "t").await;
        spool.close().await;
        // The relay is away meanwhile.
        for index in 0..5 {
            momento.publish("c", "t", format!("{round} away {index}")).unwrap();
        }
    }
    let taken = target.wait(40).await;
    assert_eq!(numbers(&taken)["t"], (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn records_gap_for_messages_that_momento_no_longer_has() {
    let momento = MomentoLocal::builder().cache("c").history(3).start().await.unwrap();
    let (spool, target) = (memory(), Recorder::new(0));
    let relay = Running::start(&momento, &spool, &["t"], quick(Order::None), &target);
    momento.wait_for_subscribers("c", "t", 1).await;
    momento.publish("c", "t", "first").unwrap();
    target.wait(1).await;
    momento.block();
    momento.wait_for_no_subscribers("c", "t").await;
    for index in 0..10 {
        momento.publish("c", "t", index.to_string()).unwrap();
    }
    momento.unblock();
    target.wait(4).await;
    relay.stop().await;
    let gaps = spool.gaps().await.unwrap();
    let missing: u64 = gaps.iter().map(|gap| gap.last + 1 - gap.first).sum();
    let delivered = spool.totals().await.unwrap()[0].delivered;
    assert_eq!(missing + delivered, 11, "{gaps:?}");
    assert_eq!(gaps[0].first, 2);
}

#[tokio::test]
async fn says_that_momento_rejects_subscription() {
    let (momento, spool, target) = (momento().await, memory(), Recorder::new(0));
    momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Subscribe));
    let relay = Running::start(&momento, &spool, &["t"], quick(Order::None), &target);
    relay.wait_for(|state| matches!(state, ReaderState::Rejected(_))).await;
    relay.stop().await;
}

#[tokio::test]
async fn stops_reading_while_spool_is_full() {
    let (momento, target) = (momento().await, Recorder::new(u32::MAX));
    let spool = Spool::open(&Location::Memory, Limits { max_messages: 1, ..Limits::default() }).unwrap();
    // The message is neither delivered nor dead while the test runs.
    let schedule = Schedule { retry: vec![Duration::from_hours(1)], ..Schedule::default() };
    let relay = Running::start(&momento, &spool, &["t"], schedule, &target);
    relay.wait_for(|state| *state == ReaderState::Subscribed).await;
    momento.publish("c", "t", "one").unwrap();
    relay.wait_for(|state| *state == ReaderState::Waiting).await;
    relay.stop().await;
}
