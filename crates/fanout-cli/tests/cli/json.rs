//! Every command that prints data prints JSON for programs.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use fanout_cli::cli::Cli;
use momento_local::MomentoLocal;
use serde_json::{Deserializer, Value, json};
use test_support::process::TIMEOUT;
use tokio::time::timeout;

use crate::harness::{Ended, File, SECRET, end, end_with, fanout};
use crate::relay::{Receiver, Relay, Setup, publish};

/// Commands without data.
const WITHOUT_DATA: [&str; 2] = ["completions", "man"];
/// Commands that print nothing but JSON, so that they need no flag.
const ALWAYS_JSON: [&str; 3] = ["relay dead show", "relay health", "schema"];

/// Returns the paths of all commands that have no subcommands, and whether they have `--json`.
fn commands(command: &clap::Command, path: &str) -> Vec<(String, bool)> {
    let of = |command: &clap::Command| {
        let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
        if command.has_subcommands() {
            return commands(command, &path);
        }
        let has_json = command.get_arguments().any(|argument| argument.get_id() == "json");
        vec![(path, has_json)]
    };
    command.get_subcommands().flat_map(of).collect()
}

/// What commands printed, by their paths.
#[derive(Default)]
struct Printed(Vec<(&'static str, Value)>);

impl Printed {
    /// Adds what a command printed: one or more JSON values.
    #[track_caller]
    fn add(&mut self, path: &'static str, ended: Ended) {
        let ended = ended.assert_code(0);
        let values: Result<Vec<Value>, _> = Deserializer::from_str(&ended.out).into_iter().collect();
        let values = values.unwrap_or_else(|error| panic!("{path}: {error}: {ended:#?}"));
        assert!(!values.is_empty(), "{path}: {ended:#?}");
        self.0.extend(values.into_iter().map(|value| (path, value)));
    }

    /// Returns the last value that a command printed.
    fn last(&self, path: &str) -> &Value {
        &self.0.iter().rfind(|(of, _)| *of == path).unwrap().1
    }
}

/// Waits for this many dead messages.
async fn dead(relay: &mut Relay, count: usize) -> Vec<Value> {
    let list = json!({"list": {"outcome": "dead", "after": 0, "limit": 10}});
    loop {
        let dead = relay.operate(&list).await["messages"].as_array().unwrap().clone();
        if dead.len() == count {
            return dead;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_command_with_data_prints_json() {
    let momento = MomentoLocal::builder().cache("demo").history(3).start().await.unwrap();
    let setup = Setup { folder: tempfile::tempdir().unwrap(), momento };
    let receiver = Receiver::start(|request| if request == 1 { 200 } else { 422 }).await;
    let endpoint = setup.momento.endpoint();
    let mut printed = Printed::default();

    let routes = File::new("json.toml", "[[routes]]\ntopic = 't'\ndestinations = ['o']");
    printed.add("check", end(fanout(&["check", routes.path(), "--json"])).await);
    printed.add("dev", end(fanout(&["dev", "--send", "x", "--json"])).await);
    printed.add("moderate", end(fanout(&["moderate", "Oh sh1t", "--json"])).await);
    printed.add("schema", end(fanout(&["schema"])).await);
    let url = &receiver.stub.url;
    printed.add("send", end(fanout(&["send", "--url", url, "--secret", SECRET, "--json"])).await);
    let args = ["sign", "--secret", SECRET, "--scheme", "both", "--json"];
    printed.add("sign", end_with(fanout(&args), b"{}").await);

    // A relay with four dead messages, and a gap after the first.
    setup.write(url, &["t"], "order = \"topic\"");
    let mut relay = setup.relay("t").await;
    publish(&setup.momento, "t", 1);
    timeout(TIMEOUT, dead(&mut relay, 1)).await.expect("the message is dead");
    setup.momento.block();
    timeout(TIMEOUT, setup.momento.wait_for_no_subscribers("demo", "t")).await.unwrap();
    publish(&setup.momento, "t", 9);
    setup.momento.unblock();
    let letters = timeout(TIMEOUT, dead(&mut relay, 4)).await.expect("the messages are dead");
    let text = std::fs::read_to_string(setup.path()).unwrap();
    let port = relay.port().await.split_off("http://".len());
    std::fs::write(setup.path(), text.replace("127.0.0.1:0", &port)).unwrap();
    let ids: Vec<_> = letters.iter().map(|letter| letter["id"].to_string()).collect();
    let number = letters[0]["number"].to_string();
    let again = ["replay", "--topic", "t", "--from", &number, "--to", &number, "--json"];
    let other = Receiver::start(|_| 200).await;
    let target = format!("{{ url = {:?}, secret = \"env:SECRET\" }}", other.stub.url);
    for (path, args) in [
        ("relay check", &["check", "--json"][..]),
        ("relay health", &["health"]),
        ("relay totals", &["totals", "--json"]),
        ("relay gaps", &["gaps", "--json"]),
        ("relay dead list", &["dead", "list", "--json"]),
        ("relay dead show", &["dead", "show", &ids[0]]),
        ("relay dead drop", &["dead", "drop", &ids[1], "--json"]),
        ("relay dead redrive", &["dead", "redrive", "--all", "--json"]),
        ("relay replay", &[&again[..], &["--dry-run", "--routes", routes.path()]].concat()),
        ("relay replay", &[&again[..], &["--dry-run"]].concat()),
        ("relay replay", &[&again[..], &["--target", &target]].concat()),
        ("relay topics add", &["topics", "add", "a", "b", "--json"]),
        ("relay topics list", &["topics", "list", "--json"]),
        ("relay topics remove", &["topics", "remove", "a", "--json"]),
    ] {
        printed.add(path, setup.run(args).await);
    }
    assert_eq!(printed.last("relay dead drop"), &json!({"changed": 1}));
    assert_eq!(printed.last("relay replay"), &json!({"messages": 1, "delivered": 1}));
    assert_eq!(printed.last("relay check")["subscriptions"][0]["topics"], json!(["t"]));
    relay.stop().await;

    let topic = ["demo", "json", "--endpoint", &endpoint, "--json"];
    printed.add("topic publish", end(fanout(&[&["topic", "publish"][..], &topic, &["é"]].concat())).await);
    assert_eq!(printed.last("topic publish"), &json!({"cache": "demo", "topic": "json", "bytes": 2}));
    let args = [&["topic", "subscribe"][..], &topic, &["--resume-at", "1", "--count", "1"]].concat();
    printed.add("topic subscribe", end(fanout(&args)).await);

    let commands = commands(&Cli::command(), "");
    let with_data = commands.iter().filter(|(path, _)| !WITHOUT_DATA.contains(&path.as_str()));
    let with_data: BTreeSet<_> = with_data.map(|(path, _)| path.as_str()).collect();
    assert_eq!(printed.0.iter().map(|(path, _)| *path).collect::<BTreeSet<_>>(), with_data);
    for (path, has_json) in &commands {
        let needs_no_flag = [&WITHOUT_DATA[..], &ALWAYS_JSON].concat().contains(&path.as_str());
        assert_eq!(*has_json, !needs_no_flag, "{path}");
    }
}

#[tokio::test]
async fn errors_of_files_are_json_too() {
    let setup = Setup::new().await;
    for (spool, expected) in [("1", 2), ("'relay.db'", 1)] {
        let text = format!(
            "spool = {spool}\n[[subscriptions]]\ncache = 'demo'\ntopics = ['t']\nspeed = 1\n\
             target = {{ url = 'http://127.0.0.1:1/', secret = 'env:SECRET' }}"
        );
        std::fs::write(setup.path(), text).unwrap();
        let ended = setup.run(&["check", "--json"]).await.assert_code(1);
        let [file] = &ended.json()[..] else { panic!("{ended:#?}") };
        assert_eq!(file["errors"].as_array().map(Vec::len), Some(expected), "{file:#}");
        assert_eq!(file["errors"][expected - 1]["line"], 5);
    }
}
