//! `fanout relay` between local Momento and receivers on this machine, over real sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fanout_momento::subscription::{Item, ItemValue};
use fanout_momento::{Credentials, Subscription, SubscriptionEvent};
use momento_local::MomentoLocal;
use momento_webhook::{SigningSecret, momento as scheme};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::AwsResponse;
use test_support::aws_server::{AwsRequest, AwsServer, entries_failed};
use test_support::process::{Process, TIMEOUT};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::harness::{Ended, SECRET, end, fanout, momento, start};
use crate::stub::{RealFunction, Received, Stub, response};

/// A folder with a file for the relay and its spool.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    pub(crate) momento: MomentoLocal,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), momento: momento().await }
    }

    pub(crate) fn path(&self) -> String {
        self.folder.path().join("relay.toml").to_str().unwrap().to_owned()
    }

    /// Writes a file with one subscription, to the topics `topics` in the cache `demo`.
    pub(crate) fn write(&self, url: &str, topics: &[&str], more: &str) {
        let spool = self.folder.path().join("relay.db").to_str().unwrap().to_owned();
        let text = format!(
            "spool = {spool:?}\nlisten = \"127.0.0.1:0\"\n[[subscriptions]]\ncache = \"demo\"\ntopics = {topics:?}\n\
             target = {{ url = {url:?}, secret = \"env:SECRET\" }}\n{more}\n"
        );
        std::fs::write(self.folder.path().join("relay.toml"), text).unwrap();
    }

    /// Starts a relay, and waits until it is subscribed to `topic`.
    pub(crate) async fn relay(&self, topic: &str) -> Relay {
        let path = self.path();
        let mut command = fanout(&["relay", "--config", &path]);
        command.env("SECRET", SECRET).env("MOMENTO_ENDPOINT", self.momento.endpoint());
        let process = start(command);
        timeout(TIMEOUT, self.momento.wait_for_subscribers("demo", topic, 1)).await.unwrap();
        Relay { process, port: None }
    }

    /// Runs a command on the file.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        let path = self.path();
        let mut command = fanout(&[&["relay", "--config", &path], args].concat());
        command.env("SECRET", SECRET);
        end(command).await
    }
}

pub(crate) struct Relay {
    process: Process,
    port: Option<String>,
}

impl Relay {
    /// Returns the URL of the port for operators.
    pub(crate) async fn port(&mut self) -> String {
        if self.port.is_none() {
            let find = |line: &str| {
                let line: Value = serde_json::from_str(line).ok()?;
                Some(line.get("address")?.as_str()?.to_owned())
            };
            self.port = Some(format!("http://{}", self.process.wait_for_line(find).await.unwrap()));
        }
        self.port.clone().unwrap()
    }

    async fn get(&mut self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{}{path}", self.port().await)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn operate(&mut self, operation: &Value) -> Value {
        let url = format!("{}/operations", self.port().await);
        let response = reqwest::Client::new().post(url).body(operation.to_string()).send().await.unwrap();
        response.json().await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        self.process.terminate().await.unwrap();
        let status = self.process.ended().await.unwrap();
        assert!(status.success(), "{status}: {:?}", self.process.output());
    }
}

/// A receiver that records the numbers of the messages that it accepts.
pub(crate) struct Receiver {
    pub(crate) stub: Stub,
    accepted: watch::Sender<Vec<u64>>,
}

impl Receiver {
    /// Starts a receiver that responds with the status that `status` returns for the number of the request.
    pub(crate) async fn start(status: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Self {
        let accepted = watch::Sender::new(Vec::new());
        let sender = accepted.clone();
        let stub = Stub::start(move |request, received| {
            let status = status(request);
            if status == 200 {
                sender.send_modify(|accepted| accepted.push(number(received)));
            }
            response(status, "")
        })
        .await;
        Self { stub, accepted }
    }

    /// Waits for this many messages.
    async fn wait(&self, count: usize) -> Vec<u64> {
        let mut accepted = self.accepted.subscribe();
        let all = timeout(TIMEOUT, accepted.wait_for(|accepted| accepted.len() >= count)).await;
        all.expect("the messages arrive").unwrap().clone()
    }
}

fn number(received: &Received) -> u64 {
    received.json()["topic_sequence_number"].as_u64().unwrap()
}

pub(crate) fn publish(momento: &MomentoLocal, topic: &str, count: usize) {
    for index in 0..count {
        momento.publish("demo", topic, format!("text {index}")).unwrap();
    }
}

#[tokio::test]
async fn function_gets_every_message_of_a_topic() {
    let setup = Setup::new().await;
    let function = RealFunction::start(&setup.momento, "out", "uppercase").await;
    setup.write(&function.url, &["in"], "order = \"topic\"");
    let credentials = Credentials::new("any", Some(&setup.momento.endpoint().parse().unwrap())).unwrap();
    let mut subscription = Subscription::new(&credentials, "demo", "out", None).unwrap();
    assert!(matches!(subscription.next().await.unwrap(), SubscriptionEvent::Opened));
    let relay = setup.relay("in").await;
    publish(&setup.momento, "in", 5);
    let mut texts = Vec::new();
    while texts.len() < 5 {
        let event = timeout(TIMEOUT, subscription.next()).await.unwrap().unwrap();
        if let SubscriptionEvent::Item(Item { value: ItemValue::Text(text), .. }) = event {
            texts.push(text);
        }
    }
    assert_eq!(texts, ["TEXT 0", "TEXT 1", "TEXT 2", "TEXT 3", "TEXT 4"]);
    relay.stop().await;
}

#[tokio::test]
async fn receiver_gets_signed_body_again_until_it_accepts() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|request| if request == 1 { 503 } else { 200 }).await;
    setup.write(&receiver.stub.url, &["t"], "retry = [\"10ms\"]");
    let relay = setup.relay("t").await;
    publish(&setup.momento, "t", 1);
    receiver.wait(1).await;
    relay.stop().await;
    let requests = receiver.stub.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        let body = request.json();
        assert_eq!(
            (&body["cache"], &body["topic"], &body["text"]),
            (&json!("demo"), &json!("t"), &json!("text 0"))
        );
        assert!(body["topic_sequence_page"].is_u64(), "{body}");
        let signature = request.header("momento-signature").as_bytes();
        assert!(scheme::verify(&[SigningSecret::new(SECRET).unwrap()], &*request.body, [signature]).is_ok());
        assert_eq!(request.header("webhook-id"), requests[0].header("webhook-id"));
    }
}

#[tokio::test]
async fn continues_after_kill_without_loss() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|request| if request % 3 == 0 { 500 } else { 200 }).await;
    setup.write(&receiver.stub.url, &["t"], "retry = [\"10ms\", \"10ms\", \"10ms\", \"10ms\", \"10ms\"]");
    for round in 1..=3 {
        let mut relay = setup.relay("t").await;
        publish(&setup.momento, "t", 30);
        receiver.wait(round * 20).await;
        relay.process.signal("KILL").await.unwrap();
        relay.process.ended().await.unwrap();
        publish(&setup.momento, "t", 10);
        timeout(TIMEOUT, setup.momento.wait_for_no_subscribers("demo", "t")).await.unwrap();
    }
    let relay = setup.relay("t").await;
    let mut accepted = receiver.accepted.subscribe();
    let all: BTreeSet<_> = (1..=120).collect();
    let complete = accepted.wait_for(|accepted| accepted.iter().copied().collect::<BTreeSet<_>>() == all);
    timeout(TIMEOUT, complete).await.expect("every message arrives").unwrap();
    relay.stop().await;
}

#[tokio::test]
async fn operator_redrives_dead_messages_of_running_relay() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|request| if request <= 2 { 422 } else { 200 }).await;
    setup.write(&receiver.stub.url, &["t"], "");
    let mut relay = setup.relay("t").await;
    publish(&setup.momento, "t", 2);
    let list = json!({"list": {"outcome": "dead", "after": 0, "limit": 10}});
    let dead = loop {
        let dead = relay.operate(&list).await["messages"].as_array().unwrap().clone();
        if dead.len() == 2 {
            break dead;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(dead[0]["error"], "the response is 422 Unprocessable Entity");
    assert_eq!(relay.operate(&json!({"redrive": "all"})).await, json!({"changed": 2}));
    receiver.wait(2).await;
    // The command line asks the relay that has the spool open.
    let again = ["replay", "--topic", "t", "--from", "1", "--to", "1"];
    setup.run(&again).await.assert_code(1).assert_one_error("the relay at 127.0.0.1:0 does not respond: ");
    let text = std::fs::read_to_string(setup.path()).unwrap();
    let port = relay.port().await.split_off("http://".len());
    std::fs::write(setup.path(), text.replace("127.0.0.1:0", &port)).unwrap();
    assert_eq!(setup.run(&again).await.assert_code(0).out, "1 message will be delivered again\n");
    receiver.wait(3).await;
    std::fs::write(
        setup.path(),
        text.lines().filter(|line| !line.starts_with("listen")).collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    setup
        .run(&again)
        .await
        .assert_code(1)
        .assert_one_error("in use by another process, and the file does not set");
    relay.stop().await;
}

#[tokio::test]
async fn commands_work_on_the_spool_of_a_relay_that_has_ended() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|request| if request == 1 { 422 } else { 200 }).await;
    setup.write(&receiver.stub.url, &["t"], "order = \"topic\"");
    setup.run(&["dead", "list"]).await.assert_code(1).assert_one_error("does not exist");
    let relay = setup.relay("t").await;
    publish(&setup.momento, "t", 3);
    receiver.wait(2).await;
    relay.stop().await;
    let listed = setup.run(&["dead", "list", "--json"]).await.assert_code(0).json();
    let [dead] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((&dead["number"], &dead["outcome"]), (&json!(1), &json!("dead")));
    let id = dead["id"].to_string();
    let shown = setup.run(&["dead", "show", &id]).await.assert_code(0).json();
    assert_eq!(shown[0]["text"], "text 0");
    let listed = setup.run(&["dead", "list"]).await.assert_code(0);
    assert!(listed.out.contains("\"t\" in the cache \"demo\": number 1 of page "), "{listed:?}");
    let redriven = setup.run(&["dead", "redrive", &id]).await.assert_code(0);
    assert_eq!(redriven.out, "1 message will be delivered again\n");
    setup.run(&["dead", "drop", &id]).await.assert_code(1).assert_one_error("has no message");
    let replayed = setup.run(&["replay", "--topic", "t", "--from", "2", "--to", "3"]).await.assert_code(0);
    assert_eq!(replayed.out, "2 messages will be delivered again\n");
    assert_eq!(setup.run(&["gaps"]).await.assert_code(0).out, "");
    assert_eq!(
        setup.run(&["totals"]).await.assert_code(0).out,
        "\"t\" in the cache \"demo\", for \"demo\": 3 received, 0 delivered, 3 pending, 0 dead, 0 expired, 0 dropped, 0 \
         dead-lettered; 0 missing\n"
    );
    let relay = setup.relay("t").await;
    assert_eq!(receiver.wait(5).await, [2, 3, 1, 2, 3]);
    relay.stop().await;
}

#[tokio::test]
async fn replay_delivers_to_another_target_and_changes_nothing() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 200).await;
    let other = Receiver::start(|request| [503, 200, 422][(request - 1) % 3]).await;
    setup.write(&receiver.stub.url, &["t"], "");
    let mut relay = setup.relay("t").await;
    publish(&setup.momento, "t", 3);
    receiver.wait(3).await;
    let text = std::fs::read_to_string(setup.path()).unwrap();
    let port = relay.port().await.split_off("http://".len());
    std::fs::write(setup.path(), text.replace("127.0.0.1:0", &port)).unwrap();
    let again = ["replay", "--topic", "t", "--from", "2", "--to", "3", "--target"];
    let target = format!("{{ url = {:?}, secret = \"env:SECRET\" }}", other.stub.url);
    // A relay that runs, and one that has ended.
    for is_running in [true, false] {
        let ended = setup.run(&[&again[..], &[&target]].concat()).await.assert_code(1);
        let url = other.stub.url.trim_end_matches('/');
        assert_eq!(ended.out, format!("1 of 2 messages delivered to {url}\n"));
        assert!(ended.err.contains("number 3 of page "), "{ended:?}");
        assert!(ended.err.contains(": the response is 422 Unprocessable Entity\n"), "{ended:?}");
        if is_running {
            relay.process.terminate().await.unwrap();
            relay.process.ended().await.unwrap();
        }
    }
    let requests = other.stub.requests();
    assert_eq!(requests.iter().map(number).collect::<Vec<_>>(), [2, 2, 3, 2, 2, 3]);
    // Messages arrive in any order.
    let original = receiver.stub.requests().into_iter().find(|request| number(request) == 2).unwrap();
    assert_eq!(requests[0].header("webhook-id"), original.header("webhook-id"));
    assert_eq!(requests[0].json()["event_timestamp"], original.json()["event_timestamp"]);
    let totals = setup.run(&["totals"]).await.assert_code(0);
    assert!(totals.out.contains(" 3 received, 3 delivered, 0 pending, 0 dead,"), "{totals:?}");
    for (target, says) in [
        ("ftp://example.com", "--target:1:18: not a URL"),
        ("arn:aws:lambda:x", "--target:1:21: not the ARN of a function"),
        ("{ url = 'https://example.com/' }", "--target:1:10: missing key `secret`"),
    ] {
        let mut command = fanout(&[&["relay", "--config", &setup.path()], &again[..], &[target]].concat());
        command.env("SECRET", SECRET).env("WEBHOOK_SIGNING_SECRET", SECRET);
        end(command).await.assert_code(1).assert_err(says);
    }
}

#[tokio::test]
async fn replay_shows_what_routes_would_make_of_messages() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 200).await;
    setup.write(&receiver.stub.url, &["t"], "");
    let relay = setup.relay("t").await;
    publish(&setup.momento, "t", 2);
    receiver.wait(2).await;
    relay.stop().await;
    let routes = setup.folder.path().join("new.toml").to_str().unwrap().to_owned();
    let rules = "[[routes]]\ntopic = 't'\ntransforms = ['uppercase']\n\
                 destinations = ['out', { topic = 'ones', extra_transforms = [{ filter = { matches = '1' } }] }]";
    std::fs::write(&routes, rules).unwrap();
    let again = ["replay", "--topic", "t", "--from", "1", "--to", "9", "--dry-run"];
    let ended = setup.run(&[&again[..], &["--routes", &routes]].concat()).await.assert_code(0);
    for part in [
        "number 1 of page ",
        ", for \"demo\"\n",
        "text     \"text 0\"\n",
        "=> would be published: \"TEXT 1\"\n",
        "=> would be dropped by filter: ",
        "2 messages would be accepted\n",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
    let ended = setup.run(&again).await.assert_code(0);
    let url = receiver.stub.url.trim_end_matches('/');
    assert!(ended.out.contains(&format!("would be delivered to {url}\n")), "{ended:?}");
    // The routes of a new file, with the same spool.
    let spool = setup.folder.path().join("relay.db");
    let text = format!(
        "spool = {:?}\n[[subscriptions]]\ncache = \"demo\"\ntarget = {{ routes = {routes:?} }}",
        spool.to_str().unwrap()
    );
    std::fs::write(setup.path(), text).unwrap();
    std::fs::write(&routes, rules.replace("'out'", "'out-{token_id}'")).unwrap();
    let ended = setup.run(&again).await.assert_code(1);
    let ended = ended.assert_err("2 of 2 messages would not be accepted");
    assert!(ended.out.contains("the event lacks token_id"), "{ended:?}");
    assert_eq!(receiver.stub.requests().len(), 2);
}

#[tokio::test]
async fn hangup_loads_the_file_again() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 200).await;
    setup.write(&receiver.stub.url, &["a"], "");
    let mut relay = setup.relay("a").await;
    setup.write(&receiver.stub.url, &["a", "b"], "order = \"sideways\"");
    relay.process.signal("HUP").await.unwrap();
    relay.process.next_line("the file is not loaded; the relay continues as before").await.unwrap();
    setup.write(&receiver.stub.url, &["a", "b"], "");
    relay.process.signal("HUP").await.unwrap();
    relay.process.next_line("the file is loaded again").await.unwrap();
    for topic in ["a", "b"] {
        timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", topic, 1)).await.unwrap();
        publish(&setup.momento, topic, 1);
    }
    receiver.wait(2).await;
    relay.stop().await;
}

#[tokio::test]
async fn port_with_token_shows_only_health_without_it() {
    const TOKEN: &str = "a-token-of-the-tests";
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 422).await;
    setup.write(&receiver.stub.url, &["t"], "");
    let text = std::fs::read_to_string(setup.path()).unwrap();
    let text = text.replace("\"127.0.0.1:0\"", "\"0.0.0.0:0\"\nlisten_token = \"env:TOKEN\"");
    std::fs::write(setup.path(), &text).unwrap();
    let path = setup.path();
    let mut command = fanout(&["relay", "--config", &path]);
    command.env("SECRET", SECRET).env("TOKEN", TOKEN).env("MOMENTO_ENDPOINT", setup.momento.endpoint());
    let mut relay = Relay { process: start(command), port: None };
    timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", "t", 1)).await.unwrap();
    let port = relay.port().await.replace("0.0.0.0", "127.0.0.1");
    relay.port = Some(port.clone());
    let ready = loop {
        let (status, body) = relay.get("/health/ready").await;
        if status == 200 {
            break body;
        }
    };
    assert_eq!(ready, "{\"ready\":true}\n");
    assert_eq!(relay.get("/health/live").await.0, 200);
    for path in ["/metrics", "/operations", "/other"] {
        assert_eq!(relay.get(path).await.0, 401, "{path}");
    }
    let client = reqwest::Client::new();
    for (authorization, status) in [("Bearer wrong".to_owned(), 401), (format!("Bearer {TOKEN}"), 200)] {
        let request = client.get(format!("{port}/metrics")).header("authorization", authorization);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
    // The command line sends the token.
    let address = port.trim_start_matches("http://127.0.0.1");
    std::fs::write(setup.path(), text.replace("0.0.0.0:0", &format!("0.0.0.0{address}"))).unwrap();
    for (token, code) in [(TOKEN, 0), ("another-token-of-the-tests", 1)] {
        let mut command = fanout(&["relay", "--config", &path, "totals"]);
        command.env("SECRET", SECRET).env("TOKEN", token);
        let ended = end(command).await.assert_code(code);
        assert_eq!(ended.err.contains("the token is missing or wrong"), code == 1, "{ended:?}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn container_needs_no_file_and_no_shell() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 200).await;
    setup.write(&receiver.stub.url, &["t"], "");
    let text = std::fs::read_to_string(setup.path()).unwrap();
    let with = |text: &str, args: &[&str]| {
        let mut command = fanout(&[&["relay", "--config", "env:RELAY_CONFIG"], args].concat());
        command
            .env("SECRET", SECRET)
            .env("RELAY_CONFIG", text)
            .env("MOMENTO_ENDPOINT", setup.momento.endpoint());
        command
    };
    let mut relay = Relay { process: start(with(&text, &[])), port: None };
    timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", "t", 1)).await.unwrap();
    let port = relay.port().await.split_off("http://".len());
    let known = text.replace("127.0.0.1:0", &port);
    end(with(&known, &["health"])).await.assert_code(0);
    while end(with(&known, &["health", "--ready"])).await.code != Some(0) {}
    setup.momento.delete_cache("demo").unwrap();
    setup.momento.cut_connections();
    let ended = loop {
        let ended = end(with(&known, &["health", "--ready"])).await;
        if ended.code == Some(1) {
            break ended;
        }
    };
    ended.assert_one_error("topic");
    end(with(&known, &["health"])).await.assert_code(0);
    relay.stop().await;
    end(with(&known, &["health"])).await.assert_code(1).assert_one_error("does not respond");
    end(with("", &["health"])).await.assert_code(1).assert_one_error("the variable RELAY_CONFIG is not set");
}

#[tokio::test]
async fn port_reports_health_and_metrics_and_rejects_other_sites() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 200).await;
    setup.write(&receiver.stub.url, &["t"], "");
    let mut relay = setup.relay("t").await;
    publish(&setup.momento, "t", 3);
    receiver.wait(3).await;
    assert_eq!(relay.get("/health/live").await.0, 200);
    let delivered = "fanout_relay_delivered_total{subscription=\"demo\"} 3\n";
    let metrics = loop {
        let (status, metrics) = relay.get("/metrics").await;
        assert_eq!(status, 200);
        if metrics.contains(delivered) {
            break metrics;
        }
        tokio::task::yield_now().await;
    };
    for line in [
        "# TYPE fanout_relay_delivered_total counter\n",
        "fanout_relay_received_total{subscription=\"demo\"} 3\n",
        "fanout_relay_pending{subscription=\"demo\"} 0\n",
        "fanout_relay_topics{subscription=\"demo\",state=\"subscribed\"} 1\n",
        "fanout_relay_operations_total{subscription=\"demo\"} 3\n",
        "fanout_relay_attempts_total{subscription=\"demo\",result=\"delivered\"} 3\n",
        "fanout_relay_delivery_seconds_count{subscription=\"demo\"} 3\n",
        "fanout_relay_spool_messages 0\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert_eq!(relay.get("/health/ready").await, (200, "{\"causes\":[],\"ready\":true}\n".to_owned()));
    let other = reqwest::Client::new()
        .post(format!("{}/operations", relay.port().await))
        .header("origin", "https://attacker.example")
        .body("\"totals\"");
    assert_eq!(other.send().await.unwrap().status(), 403);
    setup.momento.block();
    let (_, ready) = loop {
        let ready = relay.get("/health/ready").await;
        if ready.0 == 503 {
            break ready;
        }
        tokio::task::yield_now().await;
    };
    assert!(ready.contains("demo: topic \\\"t\\\": "), "{ready}");
    relay.process.wait_for_line(|line| line.contains("receives nothing").then_some(())).await.unwrap();
    relay.stop().await;
}

#[tokio::test]
async fn target_that_is_gone_pauses_its_subscription_with_alarm() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 410).await;
    setup.write(&receiver.stub.url, &["t"], "");
    let mut relay = setup.relay("t").await;
    publish(&setup.momento, "t", 1);
    relay.process.next_line("the target disabled its webhook").await.unwrap();
    assert!(
        relay
            .get("/health/ready")
            .await
            .1
            .contains("the target wants no more messages: the response is 410 Gone")
    );
    relay.stop().await;
    assert_eq!(receiver.stub.requests().len(), 1);
}

#[tokio::test]
async fn target_is_told_of_gaps_if_asked() {
    let momento = MomentoLocal::builder().cache("demo").history(3).start().await.unwrap();
    let setup = Setup { folder: tempfile::tempdir().unwrap(), momento };
    let receiver = Receiver::start(|_| 200).await;
    setup.write(&receiver.stub.url, &["t"], "order = \"topic\"\ngaps = \"deliver\"");
    let relay = setup.relay("t").await;
    publish(&setup.momento, "t", 1);
    receiver.wait(1).await;
    setup.momento.block();
    timeout(TIMEOUT, setup.momento.wait_for_no_subscribers("demo", "t")).await.unwrap();
    publish(&setup.momento, "t", 10);
    setup.momento.unblock();
    let accepted = receiver.wait(5).await;
    relay.stop().await;
    assert_eq!((accepted[1], &accepted[2..]), (2, &[9, 10, 11][..]));
    let body = receiver.stub.requests()[1].json();
    assert_eq!(
        (&body["gap"]["first"], &body["gap"]["last"], &body["text"]),
        (&json!(2), &json!(8), &json!(""))
    );
    let gaps = setup.run(&["gaps"]).await.assert_code(0);
    assert!(gaps.out.contains("\"t\" in the cache \"demo\": numbers 2 to 8 of page "), "{gaps:?}");
}

#[tokio::test]
async fn check_shows_subscriptions_and_reports_all_errors() {
    let setup = Setup::new().await;
    setup.write("https://example.com/s3cr3t", &["a", "b"], "order = \"topic\"\nrate = 5");
    let ended = setup.run(&["check"]).await.assert_code(0);
    for part in [
        "relay.toml: valid\n",
        "subscription  \"demo\" in the cache \"demo\", to https://example.com\n",
        "              from now, one at a time for each topic, 16 at once, 5 attempts a second\n",
        "              9 attempts, expires after 1day\n",
        "  topic       \"b\"\n",
        "streams       2, over 1 connections; an account has 100 subscriptions by default\n",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
    assert!(!ended.out.contains("s3cr3t"), "{ended:?}");
    setup.write("ftp://example.com", &[], "speed = 1");
    for command in [&["check"][..], &[]] {
        let ended = setup.run(command).await.assert_code(1);
        for part in ["relay.toml:6:18: not a URL", "7:1: unknown key `speed`"] {
            assert!(ended.err.contains(part), "{part} in {ended:#?}");
        }
    }
}

#[tokio::test]
async fn routes_send_messages_from_topic_to_topic_without_webhook() {
    let setup = Setup::new().await;
    let routes = setup.folder.path().join("fanout.toml").to_str().unwrap().to_owned();
    let folder = setup.folder.path();
    std::fs::write(&routes, "[[routes]]\ntopic = 'in'\ntransforms = ['uppercase']\ndestinations = ['out']")
        .unwrap();
    let text = format!(
        "spool = {:?}\n[[subscriptions]]\ncache = \"demo\"\ntarget = {{ routes = {routes:?} }}\norder = \"topic\"",
        folder.join("relay.db").to_str().unwrap()
    );
    std::fs::write(folder.join("relay.toml"), text).unwrap();
    let credentials = Credentials::new("any", Some(&setup.momento.endpoint().parse().unwrap())).unwrap();
    let mut subscription = Subscription::new(&credentials, "demo", "out", None).unwrap();
    assert!(matches!(subscription.next().await.unwrap(), SubscriptionEvent::Opened));
    let relay = setup.relay("in").await;
    publish(&setup.momento, "in", 3);
    let mut texts = Vec::new();
    while texts.len() < 3 {
        let event = timeout(TIMEOUT, subscription.next()).await.unwrap().unwrap();
        if let SubscriptionEvent::Item(Item { value: ItemValue::Text(text), .. }) = event {
            texts.push(text);
        }
    }
    assert_eq!(texts, ["TEXT 0", "TEXT 1", "TEXT 2"]);
    relay.stop().await;
    let ended = setup.run(&["check"]).await.assert_code(0);
    assert!(ended.out.contains("  topic       \"in\"\n"), "{ended:?}");
    for (routes_text, says) in [
        (
            "[[routes]]\ntopic = '{a}-in'\ndestinations = ['out']",
            "has a route for {a}-in, which is not one topic",
        ),
        (
            "[[routes]]\ntopic = 'in'\ncache = 'x'\ndestinations = ['out']",
            "has no route for the cache \"demo\"",
        ),
        ("[[routes]]\ntopic = 'in'", "fanout.toml:1:1: the route has no destinations"),
    ] {
        std::fs::write(&routes, routes_text).unwrap();
        setup.run(&["check"]).await.assert_code(1).assert_err(says);
    }
}

/// The deduplication ids of a queue, and the numbers of their messages.
fn deduplicated(aws: &AwsServer) -> BTreeMap<String, u64> {
    let sent = aws.sent("events.fifo").into_iter().map(|message| {
        let body: Value = serde_json::from_str(message["MessageBody"].as_str().unwrap()).unwrap();
        let id = message["MessageDeduplicationId"].as_str().unwrap().to_owned();
        assert_eq!(message["MessageGroupId"], "demo#t");
        (id, body["topic_sequence_number"].as_u64().unwrap())
    });
    sent.collect()
}

#[tokio::test]
async fn two_relays_put_each_message_into_one_fifo_queue_whichever_dies() {
    let aws = AwsServer::start().await.unwrap();
    let setup = Setup::new().await;
    let mut relays = Vec::new();
    for index in 0..2 {
        let path = setup.folder.path().join(format!("{index}.toml"));
        let spool = setup.folder.path().join(format!("{index}.db"));
        let text = format!(
            "spool = {:?}\n[[subscriptions]]\ncache = \"demo\"\ntopics = [\"t\"]\ntarget = {{ sqs = {:?} }}",
            spool.to_str().unwrap(),
            aws.queue_url("events.fifo")
        );
        std::fs::write(&path, text).unwrap();
        let mut command = fanout(&["relay", "--config", path.to_str().unwrap()]);
        command.envs(aws.environment()).env("MOMENTO_ENDPOINT", setup.momento.endpoint());
        relays.push(start(command));
        timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", "t", index + 1)).await.unwrap();
    }
    let complete = async |count: u64| {
        let all = async {
            while deduplicated(&aws).len() as u64 != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(TIMEOUT, all).await.expect("the queue has every message");
    };
    publish(&setup.momento, "t", 20);
    complete(20).await;
    relays[0].signal("KILL").await.unwrap();
    publish(&setup.momento, "t", 20);
    complete(40).await;
    // The same message has the same id in both relays: the queue keeps one of the two.
    let numbers: Vec<_> = deduplicated(&aws).into_values().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    relays[1].terminate().await.unwrap();
    assert!(relays[1].ended().await.unwrap().success());
}

#[tokio::test]
async fn queue_gets_batches_and_only_the_failed_messages_again() {
    let aws = AwsServer::start().await.unwrap();
    let setup = Setup::new().await;
    let spool = setup.folder.path().join("relay.db");
    let text = format!(
        "spool = {:?}\n[[subscriptions]]\ncache = \"demo\"\ntopics = [\"t\"]\ntarget = {{ sqs = {:?} }}\n\
         concurrency = 1\nretry = [\"1ms\"]",
        spool.to_str().unwrap(),
        aws.queue_url("events")
    );
    std::fs::write(setup.path(), text).unwrap();
    let path = setup.path();
    let start_relay = async || {
        let mut command = fanout(&["relay", "--config", &path]);
        command.envs(aws.environment()).env("MOMENTO_ENDPOINT", setup.momento.endpoint());
        let process = start(command);
        timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", "t", 1)).await.unwrap();
        Relay { process, port: None }
    };
    let relay = start_relay().await;
    publish(&setup.momento, "t", 12);
    let all = async {
        while aws.sent("events").len() < 12 {
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, all).await.expect("the queue has every message");
    relay.stop().await;
    // All of them are due at the same time.
    let replayed = setup.run(&["replay", "--topic", "t", "--from", "1", "--to", "12"]).await.assert_code(0);
    assert_eq!(replayed.out, "12 messages will be delivered again\n");
    let before = aws.requests().len();
    let failed = [(1, "InternalError", false), (2, "InvalidMessageContents", true)];
    aws.script("SendMessageBatch", [entries_failed(10, &failed)]);
    let relay = start_relay().await;
    timeout(TIMEOUT, aws.wait_for_requests(before + 3)).await.unwrap();
    relay.stop().await;
    let numbers = |request: &AwsRequest| -> Vec<u64> {
        let entries = request.body["Entries"].as_array().unwrap().iter();
        let bodies = entries.map(|entry| entry["MessageBody"].as_str().unwrap());
        let bodies = bodies.map(|body| serde_json::from_str::<Value>(body).unwrap());
        bodies.map(|body| body["topic_sequence_number"].as_u64().unwrap()).collect()
    };
    let calls: Vec<_> = aws.requests()[before..].iter().map(numbers).collect();
    assert_eq!(calls[0], (1..=10).collect::<Vec<_>>());
    let mut rest = calls[1..].concat();
    rest.sort_unstable();
    assert_eq!(rest, [2, 11, 12], "{calls:?}");
    let totals = setup.run(&["totals"]).await.assert_code(0);
    assert!(totals.out.contains(" 11 delivered, 0 pending, 1 dead,"), "{totals:?}");
    let dead = setup.run(&["dead", "list"]).await.assert_code(0);
    assert!(dead.out.contains("number 3 of page "), "{dead:?}");
    let ended = setup.run(&["check"]).await.assert_code(0);
    assert!(ended.out.contains("/events, with up to 10 messages a call\n"), "{ended:?}");
}

#[tokio::test]
async fn dead_message_leaves_the_spool_once_its_queue_has_a_copy() {
    let aws = AwsServer::start().await.unwrap();
    let setup = Setup::new().await;
    let receiver = Receiver::start(|request| if request == 2 { 200 } else { 422 }).await;
    let dead_letters = format!("dead_letters = {{ sqs = {:?} }}", aws.queue_url("dead"));
    setup.write(&receiver.stub.url, &["t"], &format!("order = \"topic\"\n{dead_letters}"));
    aws.fail_queue("dead", AwsResponse::error(400, "com.amazonaws.sqs#QueueDoesNotExist"));
    let path = setup.path();
    let mut command = fanout(&["relay", "--config", &path]);
    command.envs(aws.environment()).env("SECRET", SECRET).env("MOMENTO_ENDPOINT", setup.momento.endpoint());
    let mut relay = Relay { process: start(command), port: None };
    timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", "t", 1)).await.unwrap();
    publish(&setup.momento, "t", 3);
    let failing = async {
        loop {
            let (_, metrics) = relay.get("/metrics").await;
            let value = |line: &str| {
                Some(
                    line.strip_prefix("fanout_relay_dead_letter_failures_total{subscription=\"demo\"} ")?
                        != "0",
                )
            };
            if metrics.contains("fanout_relay_dead{subscription=\"demo\"} 2\n")
                && metrics.lines().find_map(value) == Some(true)
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, failing).await.expect("a metric counts the failures");
    aws.recover_queue("dead");
    let accepted = async {
        while aws.bodies("dead").len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, accepted).await.expect("the queue has the dead letters");
    relay.stop().await;
    let totals = setup.run(&["totals"]).await.assert_code(0);
    assert!(
        totals.out.contains(" 1 delivered, 0 pending, 0 dead, 0 expired, 0 dropped, 2 dead-lettered;"),
        "{totals:?}"
    );
    let letters = aws.bodies("dead");
    let letters = letters.iter().map(|body| serde_json::from_str::<Value>(body).unwrap());
    let letters: Vec<_> =
        letters.map(|letter| (letter["event"]["text"].clone(), letter["dead_letter"].clone())).collect();
    assert_eq!((&letters[0].0, &letters[1].0), (&json!("text 0"), &json!("text 2")));
    let head = &letters[0].1;
    assert_eq!(
        (&head["subscription"], &head["attempts"], &head["error"]),
        (&json!("demo"), &json!(1), &json!("the response is 422 Unprocessable Entity"))
    );
    let check = setup.run(&["check"]).await.assert_code(0);
    assert!(check.out.contains("              dead messages go to the queue "), "{check:?}");
}

#[tokio::test]
async fn dead_messages_can_go_to_a_topic() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 422).await;
    setup.write(&receiver.stub.url, &["t"], "dead_letters = { topic = \"dead\" }");
    let credentials = Credentials::new("any", Some(&setup.momento.endpoint().parse().unwrap())).unwrap();
    let mut subscription = Subscription::new(&credentials, "demo", "dead", None).unwrap();
    assert!(matches!(subscription.next().await.unwrap(), SubscriptionEvent::Opened));
    let relay = setup.relay("t").await;
    publish(&setup.momento, "t", 1);
    let letter = loop {
        let event = timeout(TIMEOUT, subscription.next()).await.unwrap().unwrap();
        if let SubscriptionEvent::Item(Item { value: ItemValue::Text(text), .. }) = event {
            break serde_json::from_str::<Value>(&text).unwrap();
        }
    };
    relay.stop().await;
    assert_eq!((&letter["event"]["text"], &letter["dead_letter"]["attempts"]), (&json!("text 0"), &json!(1)));
}

#[tokio::test]
async fn function_is_invoked_as_by_its_url_until_it_accepts() {
    let setup = Setup::new().await;
    let lambda = Stub::start(|request, _| {
        let (status, header, body) = match request {
            1 => (
                429,
                ("x-amzn-errortype", "TooManyRequestsException"),
                r#"{"Reason":"CallerRateLimitExceeded"}"#,
            ),
            2 => (200, ("x-amz-function-error", "Unhandled"), r#"{"errorType":"Runtime.ExitError"}"#),
            3 => (200, ("x-amz-executed-version", "1"), r#"{"statusCode":503,"body":""}"#),
            _ => (200, ("x-amz-executed-version", "1"), r#"{"statusCode":200,"body":"{}"}"#),
        };
        let response = http::Response::builder().status(status).header(header.0, header.1);
        response.body(body.to_owned()).unwrap()
    })
    .await;
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:webhook:live";
    let text = format!(
        "spool = {:?}\n[[subscriptions]]\ncache = \"demo\"\ntopics = [\"in\"]\n\
         target = {{ lambda = \"{arn}\", secret = \"env:SECRET\" }}\nretry = [\"1ms\", \"1ms\", \"1ms\"]",
        setup.folder.path().join("relay.db").to_str().unwrap()
    );
    std::fs::write(setup.path(), text).unwrap();
    let path = setup.path();
    let mut command = fanout(&["relay", "--config", &path]);
    command.env("SECRET", SECRET).env("MOMENTO_ENDPOINT", setup.momento.endpoint());
    command.env("AWS_ENDPOINT_URL", lambda.url.trim_end_matches('/')).env("AWS_REGION", "eu-central-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    let relay = Relay { process: start(command), port: None };
    timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", "in", 1)).await.unwrap();
    publish(&setup.momento, "in", 1);
    let all = async {
        while lambda.requests().len() < 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, all).await.expect("the function is invoked until it accepts the message");
    relay.stop().await;
    let totals = setup.run(&["totals"]).await.assert_code(0);
    assert!(totals.out.contains(" 1 delivered, 0 pending, 0 dead,"), "{totals:?}");
    let requests = lambda.requests();
    let [.., last] = &requests[..] else { panic!("{requests:?}") };
    let name = arn.replace(':', "%3A");
    assert_eq!(last.path, format!("/2015-03-31/functions/{name}/invocations"));
    // The ARN names the region.
    assert!(last.header("authorization").contains("/eu-west-1/lambda/aws4_request"), "{last:?}");
    // The function accepts what its URL would make of the payload.
    let payload = last.json();
    let function = RealFunction::start(&setup.momento, "out", "uppercase").await;
    let mut request = reqwest::Client::new().post(&function.url);
    for (name, value) in payload["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    let response = request.body(payload["body"].as_str().unwrap().to_owned()).send().await.unwrap();
    assert_eq!(response.status(), 200, "{:?}", response.text().await);
    let check = setup.run(&["check"]).await.assert_code(0);
    assert!(check.out.contains(&format!(", to the function {arn}\n")), "{check:?}");
}

#[tokio::test]
async fn topics_follow_a_set_in_a_cache() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 200).await;
    setup.write(
        &receiver.stub.url,
        &["fixed"],
        "topics_from = { cache = \"demo\", set = \"rooms\", every = \"20ms\" }",
    );
    let credentials = Credentials::new("any", Some(&setup.momento.endpoint().parse().unwrap())).unwrap();
    let client = momento::CacheClient::builder()
        .default_ttl(TIMEOUT * 20)
        .configuration(momento::cache::configurations::Laptop::latest())
        .credential_provider(credentials.provider().clone())
        .build()
        .unwrap();
    let relay = setup.relay("fixed").await;
    client.set_add_elements("demo", "rooms", vec!["a", "b", "fixed"]).await.unwrap();
    for topic in ["a", "b"] {
        timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", topic, 1)).await.unwrap();
        publish(&setup.momento, topic, 1);
    }
    receiver.wait(2).await;
    client.set_remove_elements("demo", "rooms", vec!["a", "fixed"]).await.unwrap();
    timeout(TIMEOUT, setup.momento.wait_for_no_subscribers("demo", "a")).await.unwrap();
    for topic in ["b", "fixed"] {
        assert_eq!(setup.momento.subscriber_count("demo", topic), 1, "{topic}");
        publish(&setup.momento, topic, 1);
    }
    receiver.wait(4).await;
    // What cannot be read changes nothing.
    client.delete("demo", "rooms").await.unwrap();
    client.set("demo", "rooms", "not a set").await.unwrap();
    relay
        .process
        .wait_for_line(|line| line.contains("the source of topics cannot be read").then_some(()))
        .await
        .unwrap();
    relay.stop().await;
    let ended = setup.run(&["check"]).await.assert_code(0);
    assert!(
        ended.out.contains("  topics      of the set \"rooms\" in the cache \"demo\", every 20ms"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn topics_are_added_and_removed_at_run_time_and_stay_over_restart() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 200).await;
    setup.write(&receiver.stub.url, &["fixed"], "");
    let mut relay = setup.relay("fixed").await;
    let url = format!("{}/topics", relay.port().await);
    let client = reqwest::Client::new();
    let send = async |request: reqwest::RequestBuilder, topics: &[&str]| {
        let body = json!({"subscription": "demo", "topics": topics});
        let response = request.body(body.to_string()).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    assert_eq!(send(client.post(&url), &["a", "b", "fixed"]).await, (200, json!({"changed": 3})));
    for topic in ["a", "b"] {
        timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", topic, 1)).await.unwrap();
        publish(&setup.momento, topic, 1);
    }
    receiver.wait(2).await;
    assert_eq!(send(client.delete(&url), &["a", "fixed"]).await, (200, json!({"changed": 2})));
    timeout(TIMEOUT, setup.momento.wait_for_no_subscribers("demo", "a")).await.unwrap();
    assert_eq!(setup.momento.subscriber_count("demo", "fixed"), 1);
    let (status, error) = send(client.delete(&url), &["fixed"]).await;
    assert_eq!((status, &error["error"]), (422, &json!("the topic \"fixed\" was not added at run time")));
    let listed = client.get(&url).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(listed, json!({"topics": [{"subscription": "demo", "topics": ["b"]}]}));
    assert_eq!(client.put(&url).send().await.unwrap().status(), 405);
    relay.stop().await;
    // The command line, while no relay runs.
    assert_eq!(setup.run(&["topics", "add", "b", "c d"]).await.assert_code(0).out, "1 topic added\n");
    assert_eq!(
        setup.run(&["topics", "list"]).await.assert_code(0).out,
        "\"b\", for \"demo\"\n\"c d\", for \"demo\"\n"
    );
    setup.run(&["topics", "add", "--subscription", "x", "a"]).await.assert_code(2);
    let relay = setup.relay("c d").await;
    timeout(TIMEOUT, setup.momento.wait_for_subscribers("demo", "b", 1)).await.unwrap();
    publish(&setup.momento, "b", 1);
    receiver.wait(3).await;
    relay.stop().await;
    assert_eq!(setup.run(&["topics", "remove", "b", "c d"]).await.assert_code(0).out, "2 topics removed\n");
    let many: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let ended = setup.run(&[&["topics", "add"], &many[..]].concat()).await.assert_code(0);
    ended.assert_err("note: 101 subscriptions are more than the default limit of an account, 100");
    setup.write(&receiver.stub.url, &[], "");
    let ended = setup.run(&["check"]).await.assert_code(0);
    assert!(ended.out.contains("  topics      none in the file; "), "{ended:?}");
}

#[tokio::test]
async fn shards_divide_topics_between_relays() {
    let setup = Setup::new().await;
    let topics: Vec<_> = (0..20).map(|number| format!("topic {number}")).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    setup.write("https://example.com/", &topics, "");
    let text = std::fs::read_to_string(setup.path()).unwrap();
    let mut seen = BTreeSet::new();
    for shard in 1..=3 {
        std::fs::write(setup.path(), format!("shard = \"{shard}/3\"\n{text}")).unwrap();
        let ended = setup.run(&["check"]).await.assert_code(0);
        for line in ended.out.lines().filter(|line| line.starts_with("  topic ")) {
            assert!(seen.insert(line.to_owned()), "{line}");
        }
    }
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn file_of_this_repository_is_valid() {
    let mut command = fanout(&["relay", "check"]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../"));
    let ended = end(command).await.assert_code(0);
    assert!(ended.out.contains("  topic       \"topic 1\"\n"), "{ended:?}");
}

#[tokio::test]
async fn warns_that_spool_in_memory_is_lost() {
    let setup = Setup::new().await;
    let receiver = Receiver::start(|_| 200).await;
    setup.write(&receiver.stub.url, &["t"], "");
    let path = setup.path();
    let text = std::fs::read_to_string(&path).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    std::fs::write(Path::new(&path), format!("spool = \"memory\"\n{rest}")).unwrap();
    let mut relay = setup.relay("t").await;
    relay.process.next_line("the spool is in memory").await.unwrap();
    publish(&setup.momento, "t", 1);
    receiver.wait(1).await;
    relay.stop().await;
}
