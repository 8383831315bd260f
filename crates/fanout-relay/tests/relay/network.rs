//! The relay behind a faulty network to Momento.

use std::net::SocketAddr;

use test_support::faulty_proxy::{Fault as NetworkFault, FaultyProxy};

use super::*;
use crate::ledger::{Ledger, Sums};

const FAST: SubscriptionPolicy =
    SubscriptionPolicy { open: RetryPolicy { max_backoff: Duration::from_millis(5), ..QUICK.open }, ..QUICK };

/// A relay of the topic `t`, whose connections to Momento go through a proxy.
struct Scene {
    momento: MomentoLocal,
    proxy: FaultyProxy,
    spool: Spool,
    target: Arc<Recorder>,
    ledger: Ledger,
}

impl Scene {
    async fn new() -> Self {
        Self::with(momento().await).await
    }

    async fn with(momento: MomentoLocal) -> Self {
        let proxy = FaultyProxy::start(momento.addr()).await.unwrap();
        Self { momento, proxy, spool: memory(), target: Recorder::new(0), ledger: Ledger::default() }
    }

    fn start(&self, policy: SubscriptionPolicy) -> Running {
        self.start_at(self.proxy.address(), policy)
    }

    fn start_at(&self, momento: SocketAddr, policy: SubscriptionPolicy) -> Running {
        let subscription = SubscriptionConfig {
            name: "test".to_owned(),
            cache: "c".to_owned(),
            topics: vec!["t".to_owned()],
            topics_from: None,
            // A topic has its cursor from the start.
            from: Start::Available,
            gap_notices: false,
            schedule: quick(Order::Topic),
            target: Arc::clone(&self.target) as Arc<dyn Target>,
            dead_letters: None,
        };
        Running::of(&format!("http://{momento}"), vec![subscription], &self.spool, policy)
    }

    fn publish(&mut self, count: usize) {
        self.ledger.publish(&self.momento, "t", count);
    }

    /// Publishes messages, and waits until they are delivered.
    async fn deliver(&mut self, count: usize) {
        self.publish(count);
        self.target.wait(self.ledger.len()).await;
    }

    /// Waits until every message has its outcome, and stops the relay. The target has each message once, because it has
    /// rejected none.
    async fn settle(&self, relay: Running) -> Sums {
        let sums = self.ledger.settle(&self.spool).await;
        relay.stop().await;
        assert_eq!(self.target.taken.borrow().len(), sums.delivered);
        sums
    }
}

/// Lets `time` pass at once, for this process alone.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    let step = Duration::from_millis(500);
    for _ in 0..time.as_millis() / step.as_millis() {
        tokio::time::advance(step).await;
        // What was waiting does what it does, over real sockets.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::resume();
}

#[tokio::test]
async fn nothing_is_lost_when_connection_is_reset_after_any_number_of_bytes() {
    // Heartbeats make up the bytes that messages do not.
    let momento = MomentoLocal::builder().cache("c").heartbeat_interval(Duration::from_millis(2));
    let mut scene = Scene::with(momento.start().await.unwrap()).await;
    let relay = scene.start(FAST);
    for bytes in (1..400).step_by(9) {
        scene.proxy.set(NetworkFault::ResetAfter(bytes));
        scene.publish(1);
        scene.proxy.wait_for_connections(scene.proxy.connections() + 2).await;
    }
    scene.proxy.set(NetworkFault::None);
    assert_eq!(scene.settle(relay).await, Sums::delivered(scene.ledger.len()));
}

#[tokio::test]
async fn nothing_is_lost_in_a_thousand_reconnects() {
    let mut scene = Scene::new().await;
    let relay = scene.start(FAST);
    for number in 1..=1_000 {
        scene.proxy.wait_for_connections(number).await;
        scene.publish(1);
        scene.proxy.reset();
    }
    assert_eq!(scene.settle(relay).await, Sums::delivered(1_000));
}

#[tokio::test]
async fn nothing_is_lost_in_a_slow_network() {
    let mut scene = Scene::new().await;
    scene.proxy.set(NetworkFault::Delay(Duration::from_millis(3)));
    let relay = scene.start(FAST);
    for _ in 0..20 {
        scene.publish(5);
        scene.target.wait(scene.ledger.len() - 3).await;
    }
    assert_eq!(scene.settle(relay).await, Sums::delivered(100));
}

#[tokio::test]
async fn black_hole_counts_as_interruption_until_it_ends() {
    let mut scene = Scene::new().await;
    let open = RetryPolicy { attempt_timeout: Duration::from_millis(50), ..FAST.open };
    let relay = scene.start(SubscriptionPolicy { open, idle_timeout: Duration::from_millis(200) });
    scene.deliver(3).await;
    scene.proxy.set(NetworkFault::BlackHole);
    scene.publish(5);
    relay.wait_for(|state| matches!(state, ReaderState::Interrupted(_))).await;
    assert!(scene.proxy.held() > 0);
    assert_eq!(scene.target.taken.borrow().len(), 3);
    scene.proxy.set(NetworkFault::None);
    assert_eq!(scene.settle(relay).await, Sums::delivered(8));
}

#[tokio::test]
async fn server_that_vanishes_is_noticed_by_keep_alive() {
    let mut scene = Scene::new().await;
    // The keep-alive of the connection is sooner than this.
    let relay = scene.start(SubscriptionPolicy { idle_timeout: Duration::from_hours(1), ..FAST });
    scene.deliver(3).await;
    scene.proxy.half_open();
    scene.momento.wait_for_no_subscribers("c", "t").await;
    scene.publish(5);
    pass(Duration::from_secs(20)).await;
    assert_eq!(scene.settle(relay).await, Sums::delivered(8));
    assert!(scene.proxy.connections() > 1);
}

#[tokio::test]
async fn outage_longer_than_memory_of_momento_is_a_gap() {
    let mut scene = Scene::with(MomentoLocal::builder().cache("c").history(3).start().await.unwrap()).await;
    let relay = scene.start(FAST);
    scene.deliver(2).await;
    scene.proxy.set(NetworkFault::Reset);
    scene.momento.wait_for_no_subscribers("c", "t").await;
    scene.proxy.wait_for_connections(6).await;
    scene.publish(10);
    scene.proxy.set(NetworkFault::None);
    assert_eq!(scene.settle(relay).await, Sums { delivered: 5, missing: 7, ..Sums::default() });
}

#[tokio::test]
async fn restart_of_momento_is_a_gap_without_known_numbers() {
    let mut scene = Scene::new().await;
    let relay = scene.start(FAST);
    scene.deliver(4).await;
    scene.proxy.set(NetworkFault::Reset);
    scene.momento.wait_for_no_subscribers("c", "t").await;
    scene.publish(3);
    // Another process begins with other pages, and has nothing.
    scene.momento = momento().await;
    scene.publish(2);
    scene.proxy.lead_to(scene.momento.addr());
    scene.proxy.set(NetworkFault::None);
    assert_eq!(scene.settle(relay).await, Sums { delivered: 6, unknown: 3, ..Sums::default() });
}

#[tokio::test]
async fn reset_of_topic_is_a_gap_that_is_no_message() {
    let mut scene = Scene::new().await;
    let relay = scene.start(FAST);
    scene.deliver(3).await;
    scene.momento.reset_topic("c", "t").unwrap();
    scene.deliver(2).await;
    let pages: Vec<_> = scene.spool.gaps().await.unwrap();
    assert_eq!(pages.iter().map(|gap| (gap.first, gap.last)).collect::<Vec<_>>(), [(4, 3)]);
    relay.stop().await;
    // It is away, and does not learn how many messages the page had.
    scene.publish(4);
    scene.momento.reset_topic("c", "t").unwrap();
    scene.publish(3);
    let relay = scene.start(FAST);
    assert_eq!(scene.settle(relay).await, Sums { delivered: 8, unknown: 4, ..Sums::default() });
}

#[tokio::test]
async fn revoked_key_is_an_alarm_without_hot_loop_until_it_is_valid_again() {
    let mut scene = Scene::new().await;
    let relay = scene.start(FAST);
    scene.deliver(2).await;
    let rejected = scene.momento.inject(Fault::error(Code::Unauthenticated).on(Rpc::Subscribe));
    scene.momento.inject(Fault::stream_error(Code::Unauthenticated));
    relay.wait_for(|state| matches!(state, ReaderState::Rejected(_))).await;
    scene.publish(3);
    pass(Duration::from_mins(1)).await;
    // Twice a minute.
    assert!((1..=3).contains(&rejected.hits()), "{}", rejected.hits());
    scene.momento.clear_faults();
    pass(Duration::from_secs(31)).await;
    assert_eq!(scene.settle(relay).await, Sums::delivered(5));
}
