//! The relay under kill -9: every published message is delivered, dead, expired, or in a gap. Of two relays to one FIFO queue,
//! either may die.
//!
//! `scripts/relay-crashes` runs more cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use momento_local::MomentoLocal;
use serde_json::Value;
use test_support::aws_server::AwsServer;
use test_support::process::{Process, TIMEOUT};
use tokio::time::timeout;

use crate::harness::{SECRET, end, fanout, start};
use crate::stub::{Stub, response};

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];
/// The messages of a topic that Momento keeps. A longer outage of the relay is a gap.
const HISTORY: usize = 60;

/// A message: the topic and the number. Momento has one page here.
type Message = (String, u64);

/// Numbers that a seed repeats: the generator of Knuth's MMIX.
struct Random(u64);

impl Random {
    fn draw(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        range.start + (self.0 >> 33) % (range.end - range.start)
    }
}

/// The counts of a run.
#[derive(Debug, Default)]
struct Counts {
    published: u64,
    delivered: u64,
    duplicates: u64,
    dead: u64,
    expired: u64,
    missing: u64,
}

struct Run {
    folder: tempfile::TempDir,
    momento: MomentoLocal,
    /// Every acceptance of a message.
    accepted: Arc<Mutex<Vec<Message>>>,
    /// Drawn from by the receiver too.
    random: Arc<Mutex<Random>>,
    published: [u64; TOPICS.len()],
    _receiver: Stub,
}

impl Run {
    async fn new(seed: u64, order: &str) -> Self {
        let momento = MomentoLocal::builder().cache("demo").history(HISTORY).start().await.unwrap();
        let random = Arc::new(Mutex::new(Random(seed)));
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let (drawn, sink) = (Arc::clone(&random), Arc::clone(&accepted));
        let receiver = Stub::start(move |_, received| {
            let status = match drawn.lock().unwrap().draw(0..100) {
                0..5 => 500,
                5..8 => 429,
                8..10 => 422,
                _ => 200,
            };
            if status == 200 {
                let body = received.json();
                let topic = body["topic"].as_str().unwrap().to_owned();
                let number = body["topic_sequence_number"].as_u64().unwrap();
                sink.lock().unwrap().push((topic, number));
            }
            response(status, "")
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "spool = {:?}\n[[subscriptions]]\ncache = \"demo\"\ntopics = {TOPICS:?}\nfrom = \"available\"\n\
             order = {order:?}\nretry = [\"1ms\", \"5ms\", \"5ms\"]\n\
             target = {{ url = {:?}, secret = \"env:SECRET\" }}\n",
            folder.path().join("relay.db").to_str().unwrap(),
            receiver.url
        );
        std::fs::write(folder.path().join("relay.toml"), text).unwrap();
        Self { folder, momento, accepted, random, published: [0; TOPICS.len()], _receiver: receiver }
    }

    fn random(&self, range: std::ops::Range<u64>) -> u64 {
        self.random.lock().unwrap().draw(range)
    }

    fn relay(&self, args: &[&str]) -> tokio::process::Command {
        let path = self.folder.path().join("relay.toml");
        let mut command = fanout(&[&["relay", "--config", path.to_str().unwrap()], args].concat());
        command.env("SECRET", SECRET).env("MOMENTO_ENDPOINT", self.momento.endpoint());
        command
    }

    fn publish(&mut self, count: u64) {
        for _ in 0..count {
            let index = usize::try_from(self.random(0..TOPICS.len() as u64)).unwrap();
            self.published[index] += 1;
            let text = format!("{} {}", TOPICS[index], self.published[index]);
            self.momento.publish("demo", TOPICS[index], text).unwrap();
        }
    }

    /// Starts the relay, publishes while it runs, and kills it after a random time.
    async fn cycle(&mut self) {
        let mut relay = start(self.relay(&[]));
        // Some are killed before they have opened the spool, some while they subscribe, some while they deliver.
        let mut left = Duration::from_micros(self.random(0..60_000));
        if self.random(0..4) > 0 {
            left += self.first_delivery(&relay).await;
        }
        let steps = self.random(1..6);
        for _ in 0..steps {
            let count = self.random(0..12);
            self.publish(count);
            tokio::time::sleep(left / u32::try_from(steps).unwrap()).await;
        }
        relay.signal("KILL").await.unwrap();
        relay.ended().await.unwrap();
        // Now and then, the outage is longer than Momento's memory.
        let away = if self.random(0..8) == 0 { 400 } else { self.random(0..30) };
        self.publish(away);
    }

    /// Waits until the relay has started.
    async fn first_delivery(&self, relay: &Process) -> Duration {
        relay.wait_for_line(|line| line.contains("relay started").then_some(())).await.unwrap();
        Duration::from_micros(self.random(0..40_000))
    }

    async fn json(&self, args: &[&str]) -> Vec<Value> {
        end(self.relay(args)).await.assert_code(0).json()
    }

    /// Runs the relay until nothing is pending, stops it, and checks every message.
    async fn check(&self) -> Counts {
        let relay = start(self.relay(&[]));
        let all: u64 = self.published.iter().sum();
        let totals = timeout(TIMEOUT * 4, async {
            for topic in TOPICS {
                self.momento.wait_for_subscribers("demo", topic, 1).await;
            }
            self.drain(relay).await
        });
        let totals = totals.await.expect("the relay delivers everything");
        let sum = |key: &str| totals.iter().map(|topic| topic[key].as_u64().unwrap()).sum::<u64>();
        let accepted = self.accepted.lock().unwrap().clone();
        let mut known: BTreeSet<Message> = accepted.iter().cloned().collect();
        let distinct = known.len() as u64;
        let key =
            |value: &Value| (value["topic"].as_str().unwrap().to_owned(), value["number"].as_u64().unwrap());
        let dead = self.json(&["dead", "list", "--json", "--limit", "1000000"]).await;
        known.extend(dead.iter().map(key));
        let mut missing = 0;
        for gap in self.json(&["gaps", "--json"]).await {
            for number in gap["first"].as_u64().unwrap()..=gap["last"].as_u64().unwrap() {
                missing += 1;
                known.insert((gap["topic"].as_str().unwrap().to_owned(), number));
            }
        }
        for (topic, published) in TOPICS.iter().zip(self.published) {
            let lost: Vec<_> =
                (1..=published).filter(|number| !known.contains(&((*topic).to_owned(), *number))).collect();
            assert!(lost.is_empty(), "{topic}: {lost:?} are lost");
        }
        let counts = Counts {
            published: all,
            delivered: sum("delivered"),
            duplicates: accepted.len() as u64 - distinct,
            dead: sum("dead"),
            expired: sum("expired"),
            missing: sum("missing"),
        };
        assert_eq!(sum("pending"), 0);
        assert_eq!(missing, counts.missing);
        assert_eq!(counts.dead, dead.len() as u64);
        // Each message has exactly one outcome, and none has an outcome that was not published.
        assert_eq!(all, counts.delivered + counts.dead + counts.expired + counts.missing, "{counts:?}");
        assert_eq!(all, sum("received") + counts.missing);
        assert!(counts.delivered <= distinct, "{counts:?}");
        counts
    }

    /// Stops the relay once every message has an outcome. Returns the counts of its topics.
    async fn drain(&self, mut relay: Process) -> Vec<Value> {
        let mut time = Duration::from_millis(200);
        loop {
            // Before that, a signal ends the process at once.
            relay.wait_for_line(|line| line.contains("relay started").then_some(())).await.unwrap();
            tokio::time::sleep(time).await;
            time *= 2;
            relay.terminate().await.unwrap();
            assert!(relay.ended().await.unwrap().success(), "{:?}", relay.output());
            let totals = self.json(&["totals", "--json"]).await;
            let count = |key: &str| totals.iter().map(|topic| topic[key].as_u64().unwrap()).sum::<u64>();
            let all: u64 = self.published.iter().sum();
            if count("pending") == 0 && count("received") + count("missing") >= all {
                return totals;
            }
            relay = start(self.relay(&[]));
        }
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_when_relay_is_killed_at_any_moment() {
    let cycles = variable("RELAY_CRASH_CYCLES", 24);
    let seed = variable("RELAY_CRASH_SEED", 1);
    for order in ["none", "topic"] {
        let mut run = Run::new(seed, order).await;
        for _ in 0..cycles / 2 {
            run.cycle().await;
        }
        let counts = run.check().await;
        let _ = writeln!(
            std::io::stdout(),
            "order {order}: {} kills; {} published = {} delivered + {} dead + {} expired + {} missing; {} duplicates",
            cycles / 2,
            counts.published,
            counts.delivered,
            counts.dead,
            counts.expired,
            counts.missing,
            counts.duplicates
        );
    }
}

/// The FIFO queue of two relays.
struct Queue(AwsServer);

impl Queue {
    const NAME: &str = "events.fifo";

    /// Returns the messages of each topic as the queue has them: of those with the same deduplication id, it keeps the
    /// first. Returns the number of all that were sent too.
    fn kept(&self) -> (BTreeMap<String, Vec<u64>>, usize) {
        let sent = self.0.sent(Self::NAME);
        let mut ids = BTreeMap::new();
        let mut kept: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for message in &sent {
            let body: Value = serde_json::from_str(message["MessageBody"].as_str().unwrap()).unwrap();
            let topic = body["topic"].as_str().unwrap().to_owned();
            let number = body["topic_sequence_number"].as_u64().unwrap();
            let id = message["MessageDeduplicationId"].as_str().unwrap().to_owned();
            let before = ids.insert(id, (topic.clone(), number));
            match before {
                None => kept.entry(topic).or_default().push(number),
                Some(before) => assert_eq!(before, (topic, number), "two messages have one id"),
            }
        }
        (kept, sent.len())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifo_queue_of_two_relays_has_each_message_once_and_in_order_whichever_dies() {
    let cycles = variable("RELAY_CRASH_CYCLES", 24) / 2;
    let mut random = Random(variable("RELAY_CRASH_SEED", 1));
    let queue = Queue(AwsServer::start().await.unwrap());
    // Momento has every message, so that no gap hides one.
    let momento = MomentoLocal::builder().cache("demo").history(1_000_000).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |index: usize| folder.path().join(format!("{index}.toml"));
    for index in 0..2 {
        let text = format!(
            "spool = {:?}\n[[subscriptions]]\ncache = \"demo\"\ntopics = {TOPICS:?}\nfrom = \"available\"\n\
             order = \"topic\"\ntarget = {{ sqs = {:?} }}\n",
            folder.path().join(format!("{index}.db")).to_str().unwrap(),
            queue.0.queue_url(Queue::NAME)
        );
        std::fs::write(path(index), text).unwrap();
    }
    let begin = |index: usize| {
        let mut command = fanout(&["relay", "--config", path(index).to_str().unwrap()]);
        command.envs(queue.0.environment()).env("MOMENTO_ENDPOINT", momento.endpoint());
        start(command)
    };
    let mut published = [0; TOPICS.len()];
    let mut publish = |random: &mut Random| {
        for _ in 0..random.draw(0..40) {
            let index = usize::try_from(random.draw(0..TOPICS.len() as u64)).unwrap();
            published[index] += 1;
            momento.publish("demo", TOPICS[index], "text").unwrap();
        }
    };
    let mut relays: [Option<Process>; 2] = [None, None];
    let mut kills = 0;
    for _ in 0..cycles {
        for (index, relay) in relays.iter_mut().enumerate() {
            // One that died stays away for some cycles.
            if relay.is_none() && random.draw(0..3) > 0 {
                *relay = Some(begin(index));
            }
        }
        publish(&mut random);
        tokio::time::sleep(Duration::from_micros(random.draw(0..300_000))).await;
        publish(&mut random);
        let index = usize::try_from(random.draw(0..2)).unwrap();
        if let Some(mut relay) = relays[index].take() {
            relay.signal("KILL").await.unwrap();
            relay.ended().await.unwrap();
            kills += 1;
        }
    }
    // The one that is left, or the first, delivers the rest.
    let mut last = relays.into_iter().flatten().next().unwrap_or_else(|| begin(0));
    let all: u64 = published.iter().sum();
    let complete = async {
        loop {
            let seen = queue.0.requests().len();
            if queue.kept().0.values().map(|numbers| numbers.len() as u64).sum::<u64>() == all {
                break;
            }
            queue.0.wait_for_requests(seen + 1).await;
        }
    };
    timeout(TIMEOUT * 4, complete).await.expect("the queue has every message");
    last.wait_for_line(|line| line.contains("relay started").then_some(())).await.unwrap();
    last.terminate().await.unwrap();
    assert!(last.ended().await.unwrap().success(), "{:?}", last.output());
    let (kept, sent) = queue.kept();
    for (topic, published) in TOPICS.iter().zip(published) {
        let numbers = kept.get(*topic).cloned().unwrap_or_default();
        assert_eq!(numbers, (1..=published).collect::<Vec<_>>(), "{topic}");
    }
    let _ = writeln!(
        std::io::stdout(),
        "two relays: {kills} kills; {all} published = {all} in the queue; {} dropped by it as duplicates",
        sent as u64 - all
    );
}
