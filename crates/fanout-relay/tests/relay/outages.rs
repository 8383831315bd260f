//! Outages of Momento and of the target that last, with the default timeouts and retries.

use std::io::Write as _;
use std::time::Instant;

use test_support::faulty_proxy::{Fault as NetworkFault, FaultyProxy};

use super::*;
use crate::ledger::Ledger;
use crate::targets::{Receiver, webhook};

const TOPICS: [&str; 3] = ["a", "b", "d"];
/// The time after an outage in which every message must have its outcome.
const RECOVERY: Duration = Duration::from_mins(5);

/// Publishes to each topic, again and again.
async fn publish(momento: &MomentoLocal, ledger: &mut Ledger, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        for topic in TOPICS {
            ledger.publish(momento, topic, 1);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes before, during and after an outage. Returns a row of a table.
async fn outage(is_target: bool, fault: NetworkFault, time: Duration) -> String {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("relay.db"));
    let spool = Spool::open(&location, Limits::default()).unwrap();
    let (momento, receiver) = (momento().await, Receiver::start().await);
    let source = FaultyProxy::start(momento.addr()).await.unwrap();
    let target = FaultyProxy::start(receiver.address).await.unwrap();
    let subscription = SubscriptionConfig {
        name: "test".to_owned(),
        cache: "c".to_owned(),
        topics: TOPICS.map(str::to_owned).to_vec(),
        topics_from: None,
        from: Start::Available,
        gap_notices: false,
        schedule: Schedule { order: Order::Topic, ..Schedule::default() },
        target: webhook(target.address()),
        dead_letters: None,
    };
    let relay = Running::of(&source.url(), vec![subscription], &spool, SubscriptionPolicy::default());
    let mut ledger = Ledger::default();
    publish(&momento, &mut ledger, Duration::from_secs(1)).await;
    let proxy = if is_target { &target } else { &source };
    proxy.set(fault);
    publish(&momento, &mut ledger, time).await;
    proxy.set(NetworkFault::None);
    let ended = Instant::now();
    publish(&momento, &mut ledger, Duration::from_secs(1)).await;
    let sums = ledger.settle_within(RECOVERY, &spool).await;
    let recovered = ended.elapsed();
    relay.stop().await;
    let accepted = receiver.accepted.borrow().clone();
    let different = receiver.wait(0).await;
    assert_eq!(different, sums.delivered, "what the spool takes for delivered has arrived");
    let place = if is_target { "the target" } else { "Momento" };
    let kind = if fault == NetworkFault::Reset { "refuses connections" } else { "is silent" };
    format!(
        "| {place} {kind} | {} s | {} | {} | {} | {} | {} | {} | {:.1} s |",
        time.as_secs(),
        ledger.len(),
        sums.delivered,
        sums.dead,
        sums.expired,
        sums.missing,
        accepted.len() - different,
        recovered.as_secs_f64()
    )
}

#[tokio::test]
#[ignore = "takes as long as the outages; scripts/relay-faults runs it"]
async fn nothing_is_lost_in_outages_that_last() {
    let seconds = std::env::var("RELAY_OUTAGE_SECONDS").unwrap_or_else(|_| "4".to_owned());
    for seconds in seconds.split_whitespace() {
        let time = Duration::from_secs(seconds.parse().unwrap());
        let rows = tokio::join!(
            outage(false, NetworkFault::Reset, time),
            outage(false, NetworkFault::BlackHole, time),
            outage(true, NetworkFault::Reset, time),
            outage(true, NetworkFault::BlackHole, time),
        );
        let _ = writeln!(std::io::stdout(), "{}\n{}\n{}\n{}", rows.0, rows.1, rows.2, rows.3);
    }
}
