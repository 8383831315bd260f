//! Routes from a file.

use momento_local::MomentoLocal;
use serde_json::{Value, json};
use test_support::process::Process;
use test_support::signed;

use crate::support::{BOTH, CACHE, Function, INBOUND, SECRET, Subscriber, Transport, program, settings};

/// The settings that a file replaces.
const NO_ROUTES: [(&str, &str); 2] = [("OUTBOUND_TOPIC", ""), ("TRANSFORM", "")];

const CHAT: &str = r#"
[[routes]]
topic = "{room}-publish"
transforms = ["trim"]
destinations = ["{room}-same", { topic = "{room}-loud", extra_transforms = ["uppercase"] }, "for-{token_id}"]
"#;

async fn start(transport: Transport, file: &str) -> Function {
    Function::start(transport, &[&NO_ROUTES[..], &[("FANOUT_CONFIG", file)]].concat()).await
}

async fn send(
    function: &Function,
    transport: Transport,
    topic: &str,
    token_id: Option<&str>,
    text: &str,
) -> (u16, Value) {
    let mut event = signed::event(CACHE, topic, 1, text);
    event.token_id = token_id.map(ToOwned::to_owned);
    let response = function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
    (response.status, response.json())
}

fn statuses(response: &Value) -> Vec<(String, String)> {
    let text = |destination: &Value, key: &str| destination[key].as_str().unwrap().to_owned();
    let destinations = response["destinations"].as_array().unwrap();
    destinations.iter().map(|one| (text(one, "topic"), text(one, "status"))).collect()
}

#[tokio::test]
async fn publishes_event_by_its_route() {
    for transport in BOTH {
        let function = start(transport, CHAT).await;
        let (status, response) = send(&function, transport, "friends-publish", Some("mo"), " Hello ").await;
        assert_eq!((status, &response["status"]), (200, &json!("success")), "{transport:?}: {response}");
        let topics = ["friends-same", "friends-loud", "for-mo"];
        assert_eq!(statuses(&response), topics.map(|topic| (topic.to_owned(), "published".to_owned())));
        for (topic, text) in topics.into_iter().zip(["Hello", "HELLO", "Hello"]) {
            assert_eq!(function.published(topic), [text], "{transport:?} {topic}");
        }
    }
}

#[tokio::test]
async fn ignores_topic_without_route() {
    for transport in BOTH {
        let function = start(transport, CHAT).await;
        let (status, response) = send(&function, transport, INBOUND, None, "Hello").await;
        assert_eq!((status, response), (200, json!({"status": "ignored"})), "{transport:?}");
        let line = function.log_record(|line| line["outcome"] == "ignored").await;
        assert_eq!((&line["level"], &line["Published"]), (&json!("INFO"), &json!(0)));
    }
}

#[tokio::test]
async fn invalid_name_affects_no_other_destination() {
    for transport in BOTH {
        let function = start(transport, CHAT).await;
        let (status, response) = send(&function, transport, "friends-publish", None, "Hello").await;
        assert_eq!(
            (status, &response["code"]),
            (422, &json!("destination_refused")),
            "{transport:?}: {response}"
        );
        assert_eq!(
            response["destinations"][2],
            json!({
                "cache": CACHE, "topic": "for-{token_id}", "status": "refused",
                "reason": "invalid_argument", "detail": "the event has no token_id",
            })
        );
        assert_eq!(function.published("friends-loud"), ["HELLO"], "{transport:?}");
    }
}

#[tokio::test]
async fn reads_routes_from_path() {
    let folder = test_support::tempdir().unwrap();
    let file = folder.path().join("fanout.toml");
    std::fs::write(&file, CHAT).unwrap();
    let function = start(Transport::Http1, file.to_str().unwrap()).await;
    drop(folder);
    let mut loud = Subscriber::new(&function.momento, "friends-loud").await;
    send(&function, Transport::Http1, "friends-publish", Some("mo"), "Hello").await;
    assert_eq!(loud.next().await, "HELLO");
}

#[tokio::test]
async fn invalid_file_ends_function_with_all_faults() {
    let file = r#"
[[routes]]
topic = "in"
transforms = ["shout"]
destinations = ["out", "{room}", { tpoic = "x" }]
"#;
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let with = [&NO_ROUTES[..], &[("FANOUT_CONFIG", file)]].concat();
    let mut process = Process::start(program(), settings(&momento.endpoint(), &with)).unwrap();
    assert!(!process.ended().await.unwrap().success());
    let output = process.output().join("\n");
    for says in [
        "FANOUT_CONFIG: 4:15: unknown transform \"shout\"",
        "FANOUT_CONFIG: 5:25: the topic has the unknown name `room`; expected one of `cache`",
        "FANOUT_CONFIG: 5:36: unknown key `tpoic`; did you mean `topic`?",
    ] {
        assert!(output.contains(says), "{says:?} is not in:\n{output}");
    }
}
