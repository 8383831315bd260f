//! The relay before receivers behind a faulty network.

use std::net::SocketAddr;

use bytes::Bytes;
use fanout_relay::webhook::signer::{Scheme, Signer};
use fanout_relay::webhook::{Webhook, post};
use fanout_relay::{BreakerPolicy, SubscriptionStatus};
use http::StatusCode;
use local_guard::Guard;
use serde_json::{Value, json};
use test_support::faulty_proxy::{Fault as NetworkFault, FaultyProxy};
use test_support::process::TIMEOUT;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::ledger::{Key, Ledger, Sums};

/// A receiver that accepts every message.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: watch::Sender<Vec<Key>>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = watch::Sender::new(Vec::new());
        let sink = accepted.clone();
        let respond = move |request: http::Request<Bytes>| {
            let sink = sink.clone();
            async move {
                let body: Value = serde_json::from_slice(request.body()).unwrap();
                let number = |name: &str| body[name].as_u64().unwrap();
                let (page, number) = (number("topic_sequence_page"), number("topic_sequence_number"));
                let key = (body["topic"].as_str().unwrap().to_owned(), page, number);
                sink.send_modify(|accepted| accepted.push(key));
                local_guard::json_response(StatusCode::OK, &json!({}))
            }
        };
        let serve =
            local_guard::serve(listener, Guard::loopback(), "the receiver", std::future::pending(), respond);
        Self { address, accepted, task: tokio::spawn(serve) }
    }

    /// Waits for this many messages, and returns how many different ones there are.
    pub(crate) async fn wait(&self, messages: usize) -> usize {
        let mut accepted = self.accepted.subscribe();
        let accepted = timeout(TIMEOUT, accepted.wait_for(|accepted| accepted.len() >= messages));
        let accepted = accepted.await.expect("the messages arrive").unwrap();
        accepted.iter().collect::<std::collections::BTreeSet<_>>().len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn webhook(to: SocketAddr) -> Arc<dyn Target> {
    let signer = Signer::new(Scheme::Momento, "secret").unwrap();
    Arc::new(Webhook::new(post::url(&format!("http://{to}/")).unwrap(), signer, &[]).unwrap())
}

/// Retries without end, and at once.
fn persistent() -> Schedule {
    Schedule {
        retry: vec![Duration::from_millis(2); 10_000],
        breaker: BreakerPolicy { failures: u32::MAX, ..BreakerPolicy::default() },
        ..Schedule::default()
    }
}

fn subscription(topic: &str, schedule: Schedule, target: Arc<dyn Target>) -> SubscriptionConfig {
    SubscriptionConfig {
        name: topic.to_owned(),
        cache: "c".to_owned(),
        topics: vec![topic.to_owned()],
        topics_from: None,
        from: Start::Available,
        gap_notices: false,
        schedule,
        target,
        dead_letters: None,
    }
}

#[tokio::test]
async fn every_message_arrives_when_connection_is_cut_after_any_number_of_bytes() {
    let (momento, spool, receiver) = (momento().await, memory(), Receiver::start().await);
    let proxy = FaultyProxy::start(receiver.address).await.unwrap();
    let config = subscription("t", persistent(), webhook(proxy.address()));
    let relay = Running::of(&momento.endpoint(), vec![config], &spool, QUICK);
    let mut ledger = Ledger::default();
    for bytes in (0..200).step_by(7) {
        proxy.set(NetworkFault::ResetAfter(bytes));
        ledger.publish(&momento, "t", 2);
        proxy.wait_for_connections(proxy.connections() + 2).await;
    }
    proxy.set(NetworkFault::None);
    assert_eq!(ledger.settle(&spool).await, Sums::delivered(58));
    relay.stop().await;
    assert_eq!(receiver.wait(58).await, 58);
}

#[tokio::test]
async fn silent_target_is_tried_again_after_timeout() {
    let (momento, spool, receiver) = (momento().await, memory(), Receiver::start().await);
    let proxy = FaultyProxy::start(receiver.address).await.unwrap();
    let config = subscription("t", persistent(), webhook(proxy.address()));
    let relay = Running::of(&momento.endpoint(), vec![config], &spool, QUICK);
    let mut ledger = Ledger::default();
    proxy.set(NetworkFault::BlackHole);
    ledger.publish(&momento, "t", 3);
    proxy.wait_for_held(3).await;
    network::pass(Duration::from_secs(6)).await;
    // Each is tried again, over another connection.
    proxy.wait_for_held(6).await;
    let pending = spool.oldest(spool.totals().await.unwrap()[0].topic, 3).await.unwrap();
    for message in &pending {
        assert_eq!(message.error.as_deref(), Some("no response within 5s"));
    }
    proxy.set(NetworkFault::None);
    assert_eq!(ledger.settle(&spool).await, Sums::delivered(3));
    relay.stop().await;
    assert_eq!(receiver.wait(3).await, 3);
}

#[tokio::test]
async fn dead_target_among_ten_delays_no_other() {
    for fault in [NetworkFault::BlackHole, NetworkFault::Reset] {
        let (momento, spool) = (momento().await, memory());
        let mut receivers = Vec::new();
        for _ in 0..10 {
            receivers.push(Receiver::start().await);
        }
        let proxy = FaultyProxy::start(receivers[0].address).await.unwrap();
        proxy.set(fault);
        let topics: Vec<_> = (0..10).map(|number| format!("topic {number}")).collect();
        let configs = topics.iter().zip(&receivers).enumerate().map(|(index, (topic, receiver))| {
            let to = if index == 0 { proxy.address() } else { receiver.address };
            let schedule = Schedule { retry: vec![Duration::from_millis(2); 20], ..Schedule::default() };
            subscription(topic, schedule, webhook(to))
        });
        let relay = Running::of(&momento.endpoint(), configs.collect(), &spool, QUICK);
        let mut ledger = Ledger::default();
        ledger.publish(&momento, "topic 0", 40);
        if fault == NetworkFault::BlackHole {
            // All attempts that may run at once hang.
            proxy.wait_for_held(16).await;
        } else {
            let first = loop {
                // Before that, the relay has not started.
                match relay.status.subscriptions().into_iter().next() {
                    Some(first) if first.breaker.is_open() => break first,
                    _ => tokio::task::yield_now().await,
                }
            };
            let SubscriptionStatus { name, .. } = first;
            assert_eq!(name, "topic 0");
        }
        for topic in &topics[1..] {
            ledger.publish(&momento, topic, 40);
        }
        for receiver in &receivers[1..] {
            assert_eq!(receiver.wait(40).await, 40);
        }
        // The dead target has nothing meanwhile, and its messages wait.
        assert_eq!(receivers[0].wait(0).await, 0);
        assert_eq!(spool.totals().await.unwrap()[0].pending, 40);
        proxy.set(NetworkFault::None);
        network::pass(Duration::from_secs(6)).await;
        assert_eq!(ledger.settle(&spool).await, Sums::delivered(400), "{fault:?}");
        relay.stop().await;
        assert_eq!(receivers[0].wait(40).await, 40);
    }
}
