//! Dead letters, and events from queues.

use std::time::{Duration, Instant};

use momento_local::{Fault, MomentoLocal, Rpc};
use momento_webhook::{Event, SigningSecret, momento};
use serde_json::{Value, json};
use test_support::AwsResponse;
use test_support::aws_server::{AwsServer, record};
use test_support::gateway::Gateway;
use test_support::process::Process;
use test_support::runtime_api::{Invoked, RuntimeApi};
use test_support::signed::{self, RawRequest};
use tonic::Code;

use crate::support::{
    BOTH, CACHE, Function, INBOUND, SECRET, Transport, genuine, listening, program, settings,
};

const LAMBDA: Transport = BOTH[0];
const DEAD: &str = "dead-letters";
const THREE: (&str, &str) = ("OUTBOUND_TOPICS", "a,b,c");

/// Starts a function with three outbound topics and a queue for dead letters.
async fn start(transport: Transport, queues: &AwsServer, with: &[(&str, &str)]) -> Function {
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let url = queues.queue_url(DEAD);
    let given = [("OUTBOUND_TOPIC", ""), THREE, ("DEAD_LETTER_QUEUE_URL", &url)];
    let mut environment = settings(&momento.endpoint(), &[&given, with].concat());
    environment.extend(queues.environment());
    if let Transport::Lambda(..) = transport {
        let runtime_api = RuntimeApi::start().await.unwrap();
        environment.extend(runtime_api.environment());
        let process = Process::start(program(), environment).unwrap();
        return Function::over(momento, process, Some(runtime_api), 0);
    }
    let process = Process::start(program(), environment).unwrap();
    let port = listening(&process).await;
    Function::over(momento, process, None, port)
}

fn body(number: u64, text: &str) -> String {
    signed::event(CACHE, INBOUND, number, text).to_json()
}

/// Invokes the function with messages of a queue, and returns the ids of those that failed.
async fn batch(function: &Function, records: &[Value]) -> Vec<String> {
    let response = function.invoke(json!({ "Records": records }).to_string().into_bytes()).await;
    assert_eq!(response.as_object().unwrap().len(), 1, "{response}");
    let failures = response["batchItemFailures"].as_array().unwrap();
    let mut failures: Vec<_> =
        failures.iter().map(|one| one["itemIdentifier"].as_str().unwrap().to_owned()).collect();
    failures.sort_unstable();
    failures
}

fn refuse(function: &Function, topic: &str, code: Code) {
    function.momento.inject(Fault::error(code).on(Rpc::Publish).topic(topic));
}

fn published(function: &Function) -> [Vec<String>; 3] {
    ["a", "b", "c"].map(|topic| function.published(topic))
}

#[tokio::test]
async fn undelivered_event_becomes_dead_letter_and_response_is_200() {
    for transport in BOTH {
        let queues = AwsServer::start().await.unwrap();
        let function = start(transport, &queues, &[]).await;
        refuse(&function, "b", Code::Unavailable);
        refuse(&function, "c", Code::PermissionDenied);
        let request = genuine(1, "hello \u{ffff}");
        let response = function.send(transport, &request).await;
        let answered = response.json();
        assert_eq!(
            (response.status, answered["status"].as_str()),
            (200, Some("dead_lettered")),
            "{transport:?}"
        );
        let statuses = ["published", "failed", "refused"];
        for (place, status) in statuses.into_iter().enumerate() {
            assert_eq!(answered["destinations"][place]["status"], status, "{answered}");
        }
        assert_eq!(published(&function), [vec!["HELLO \u{ffff}".to_owned()], vec![], vec![]]);

        let [letter] = &queues.bodies(DEAD)[..] else { panic!("one letter: {:?}", queues.bodies(DEAD)) };
        assert!(letter.chars().all(|one| one < '\u{fffe}'), "a queue would not take {letter}");
        let mut letter: Value = serde_json::from_str(letter).unwrap();
        let event = Event::from_json(&request.body).unwrap();
        assert_eq!(letter["event"], serde_json::to_value(&event).unwrap());
        let destinations = letter["dead_letter"]["destinations"].as_array_mut().unwrap();
        let take = |one: &mut Value| one.as_object_mut().unwrap().remove("id").unwrap();
        let ids: Vec<_> = destinations.iter_mut().map(take).collect();
        assert!(
            ids.iter().all(|id| id.as_str().is_some_and(|id| id.len() == 64)) && ids[0] != ids[1],
            "{ids:?}"
        );
        let [b, c] = &destinations[..] else { panic!("{destinations:?}") };
        assert_eq!(
            *c,
            json!({"index": 2, "cache": CACHE, "topic": "c", "status": "refused",
                   "reason": "permission_denied", "attempts": 1})
        );
        assert_eq!((&b["index"], &b["topic"], &b["reason"]), (&json!(1), &json!("b"), &json!("unavailable")));

        let line = function.log_record(|line| line["outcome"] == "dead_lettered").await;
        assert_eq!(
            (&line["DeadLettered"], &line["Failed"], &line["Undelivered"], &line["level"]),
            (&json!(1), &json!(2), &json!(0), &json!("ERROR"))
        );
        assert_eq!(line["status"], 200);

        // The event is handled: a second delivery writes no second dead letter.
        let again = function.send(transport, &request).await;
        assert_eq!(again.json(), json!({"status": "duplicate"}));
        assert_eq!(queues.bodies(DEAD).len(), 1);
    }
}

#[tokio::test]
async fn dead_letter_without_list_is_for_all_destinations() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    let event: Value = serde_json::from_str(&body(1, "hello")).unwrap();
    let head = json!({"timestamp": 7, "subscription": "chat", "attempts": 9, "error": "the response is 503"});
    let letter = json!({"dead_letter": head, "event": event}).to_string();
    refuse(&function, "b", Code::Unavailable);
    // Some destinations accept it, so a new dead letter lists the other.
    assert_eq!(batch(&function, &[record(DEAD, "1", &letter)]).await, [""; 0]);
    assert_eq!(published(&function), [vec!["HELLO".to_owned()], vec![], vec!["HELLO".to_owned()]]);
    let [rest] = &queues.bodies(DEAD)[..] else { panic!("one letter: {:?}", queues.bodies(DEAD)) };
    let rest: Value = serde_json::from_str(rest).unwrap();
    assert_eq!(rest["dead_letter"]["destinations"][0]["topic"], "b", "{rest}");
    function.momento.clear_faults();
    assert_eq!(batch(&function, &[record(DEAD, "2", &rest.to_string())]).await, [""; 0]);
    assert_eq!(published(&function).map(|texts| texts.len()), [1, 1, 1]);
}

#[tokio::test]
async fn dead_letter_of_list_is_for_topics_that_lack_the_event() {
    const FILE: &str = r#"
        [[routes]]
        topic = "topic {number}"
        destinations = ["a", { topic = "{each}", for_each = "{json.to}" }]
    "#;
    let queues = AwsServer::start().await.unwrap();
    let with = [("OUTBOUND_TOPICS", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", FILE)];
    let function = start(LAMBDA, &queues, &with).await;
    for topic in ["b", "c"] {
        refuse(&function, topic, Code::Unavailable);
    }
    let text = r#"{"to":["b","x","c"]}"#;
    assert_eq!(function.deliver(LAMBDA, 1, text).await.json()["status"], "dead_lettered");
    let first = queues.bodies(DEAD).remove(0);
    let destination = serde_json::from_str::<Value>(&first).unwrap()["dead_letter"]["destinations"].take();
    assert_eq!((destination.as_array().unwrap().len(), &destination[0]["topic"]), (1, &json!("{each}")));
    assert_eq!(destination[0]["published_to"].as_array().unwrap().len(), 1, "{destination}");

    // While no topic accepts it, the dead letter stays in its queue.
    assert_eq!(batch(&function, &[record(DEAD, "1", &first)]).await, ["1"]);
    assert_eq!(queues.bodies(DEAD).len(), 1);
    function.momento.clear_faults();
    refuse(&function, "c", Code::Unavailable);
    assert_eq!(batch(&function, &[record(DEAD, "2", &first)]).await, [""; 0]);
    let second = queues.bodies(DEAD).remove(1);
    function.momento.clear_faults();
    assert_eq!(batch(&function, &[record(DEAD, "3", &second)]).await, [""; 0]);
    assert_eq!(queues.bodies(DEAD).len(), 2);
    for topic in ["a", "b", "c", "x"] {
        assert_eq!(function.published(topic), [text], "{topic}");
    }
}

#[tokio::test]
async fn writes_no_dead_letter_for_delivered_or_rejected_event() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    assert_eq!(function.deliver(LAMBDA, 1, "hello").await.json()["status"], "success");
    let forged = RawRequest { headers: Vec::new(), ..genuine(2, "hello") };
    assert_eq!(function.send(LAMBDA, &forged).await.status, 403);
    assert_eq!(queues.bodies(DEAD), [""; 0]);
}

#[tokio::test]
async fn response_is_503_when_dead_letter_cannot_be_written() {
    let faults = [
        AwsResponse::Hang,
        AwsResponse::error(500, "com.amazonaws.sqs#InternalError"),
        AwsResponse::error(400, "com.amazonaws.sqs#QueueDoesNotExist"),
        AwsResponse::error(403, "AccessDenied"),
    ];
    for fault in faults {
        let queues = AwsServer::start().await.unwrap();
        queues.fail_queue(DEAD, fault.clone());
        let function = start(LAMBDA, &queues, &[]).await;
        refuse(&function, "b", Code::Unavailable);
        let started = Instant::now();
        let response = function.deliver(LAMBDA, 1, "hello").await;
        assert_eq!(response.status, 503, "{fault:?}");
        assert!(started.elapsed() < Duration::from_millis(4_500), "{fault:?}: {:?}", started.elapsed());
        function
            .process
            .wait_for_line(|line| line.contains("dead letter not written").then_some(()))
            .await
            .unwrap();

        // The second delivery is for the failed destination only.
        function.momento.clear_faults();
        let again = function.deliver(LAMBDA, 1, "hello").await;
        assert_eq!(again.status, 200, "{}", again.body);
    }
}

#[tokio::test]
async fn redrives_dead_letter_to_its_destinations_only() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    refuse(&function, "b", Code::Unavailable);
    function.deliver(LAMBDA, 1, "hello").await;
    let letter = queues.bodies(DEAD).remove(0);

    assert_eq!(batch(&function, &[record(DEAD, "m1", &letter)]).await, ["m1"]);
    assert_eq!(queues.bodies(DEAD).len(), 1, "it is in the queue already");
    function.momento.clear_faults();
    assert_eq!(batch(&function, &[record(DEAD, "m1", &letter)]).await, [""; 0]);
    assert_eq!(published(&function), ["HELLO"; 3].map(|text| vec![text.to_owned()]));
    let line = function.log_record(|line| line["request_id"] == "m1" && line["outcome"] == "success").await;
    assert_eq!((&line["queue"], &line["topic"]), (&json!(DEAD), &json!(INBOUND)));

    // The same holds in an environment that has not seen the event before.
    let other = start(LAMBDA, &queues, &[]).await;
    assert_eq!(batch(&other, &[record(DEAD, "m1", &letter)]).await, [""; 0]);
    assert_eq!(published(&other), [vec![], vec!["HELLO".to_owned()], vec![]]);
}

#[tokio::test]
async fn partly_redriven_dead_letter_is_replaced_by_its_rest() {
    let queues = AwsServer::start().await.unwrap();
    let sender = start(LAMBDA, &queues, &[]).await;
    for topic in ["a", "b", "c"] {
        refuse(&sender, topic, Code::Unavailable);
    }
    sender.deliver(LAMBDA, 1, "hello").await;
    let all = queues.bodies(DEAD).remove(0);
    let places = |letter: &str| -> Vec<Value> {
        let letter: Value = serde_json::from_str(letter).unwrap();
        let destinations = letter["dead_letter"]["destinations"].as_array().unwrap();
        destinations.iter().map(|one| one["index"].clone()).collect()
    };
    assert_eq!(places(&all), [0, 1, 2]);

    let function = start(LAMBDA, &queues, &[]).await;
    refuse(&function, "b", Code::PermissionDenied);
    refuse(&function, "c", Code::Unavailable);
    assert_eq!(batch(&function, &[record(DEAD, "m1", &all)]).await, [""; 0], "a new dead letter replaces it");
    let [_, rest] = &queues.bodies(DEAD)[..] else { panic!("{:?}", queues.bodies(DEAD)) };
    assert_eq!(places(rest), [1, 2]);

    // All destinations fail again: the dead letter stays, with its count of receives, and no new one is written.
    for code in [Code::Unavailable, Code::PermissionDenied] {
        function.momento.clear_faults();
        refuse(&function, "b", code);
        refuse(&function, "c", code);
        assert_eq!(batch(&function, &[record(DEAD, "m2", rest)]).await, ["m2"]);
        assert_eq!(queues.bodies(DEAD).len(), 2);
    }
    function.momento.clear_faults();
    assert_eq!(batch(&function, &[record(DEAD, "m2", rest)]).await, [""; 0]);
    assert_eq!(published(&function), ["HELLO"; 3].map(|text| vec![text.to_owned()]));

    // If the rest cannot be written, the dead letter stays.
    let other = start(LAMBDA, &queues, &[]).await;
    refuse(&other, "b", Code::Unavailable);
    queues.fail_queue(DEAD, AwsResponse::error(403, "AccessDenied"));
    assert_eq!(batch(&other, &[record(DEAD, "m1", &all)]).await, ["m1"]);
}

#[tokio::test]
async fn dead_letter_in_fifo_queue_is_not_replaced() {
    const ORDERED: &str = "dead-letters.fifo";
    let queues = AwsServer::start().await.unwrap();
    let url = queues.queue_url(ORDERED);
    let function = start(LAMBDA, &queues, &[("DEAD_LETTER_QUEUE_URL", &url)]).await;
    for topic in ["a", "b", "c"] {
        refuse(&function, topic, Code::Unavailable);
    }
    function.deliver(LAMBDA, 1, "hello").await;
    let letter = queues.bodies(ORDERED).remove(0);
    function.momento.clear_faults();
    refuse(&function, "b", Code::Unavailable);
    let mut record = record(ORDERED, "m1", &letter);
    record["attributes"]["MessageGroupId"] = json!("group");
    assert_eq!(batch(&function, &[record]).await, ["m1"]);
    assert_eq!(queues.bodies(ORDERED).len(), 1, "other messages of the group would overtake a new one");
}

#[tokio::test]
async fn dead_letter_finds_moved_destination_and_stays_without_destination() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    refuse(&function, "b", Code::PermissionDenied);
    function.deliver(LAMBDA, 1, "hello").await;
    let letter = queues.bodies(DEAD).remove(0);

    let moved = start(LAMBDA, &queues, &[("OUTBOUND_TOPICS", "x,c,b")]).await;
    assert_eq!(batch(&moved, &[record(DEAD, "m1", &letter)]).await, [""; 0]);
    assert_eq!(published(&moved), [vec![], vec!["HELLO".to_owned()], vec![]]);

    let gone = start(LAMBDA, &queues, &[("OUTBOUND_TOPICS", "a,c")]).await;
    assert_eq!(batch(&gone, &[record(DEAD, "m1", &letter)]).await, ["m1"]);
    let line = gone.log_record(|line| line["outcome"] == "no_such_destination").await;
    assert_eq!(line["level"], "ERROR");

    let routes = "[[routes]]\ntopic = 'another'\ndestinations = ['b']";
    let none = [("OUTBOUND_TOPICS", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", routes)];
    let elsewhere = start(LAMBDA, &queues, &none).await;
    assert_eq!(batch(&elsewhere, &[record(DEAD, "m1", &letter)]).await, ["m1"]);
    assert_eq!(
        batch(&elsewhere, &[record("events", "m2", &body(9, "x"))]).await,
        [""; 0],
        "no route has its topic"
    );
}

#[tokio::test]
async fn dead_letter_finds_its_destination_among_others_with_same_name() {
    const ORDERS: &str = "orders";
    let queues = AwsServer::start().await.unwrap();
    let url = queues.queue_url(ORDERS);
    let route = |bodies: [&str; 2]| {
        let of = |body: &str| format!("{{ sqs = {{ queue = '{url}', body = {{ is = '{body}' }} }} }}");
        format!("[[routes]]\ntopic = '{INBOUND}'\ndestinations = [{}]", bodies.map(of).join(", "))
    };
    let start = async |bodies| {
        let file = route(bodies);
        start(LAMBDA, &queues, &[("OUTBOUND_TOPICS", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", &file)]).await
    };
    let function = start(["first", "second"]).await;
    queues.fail_queue(ORDERS, AwsResponse::error(403, "AccessDenied"));
    function.deliver(LAMBDA, 1, "hello").await;
    let letter = queues.bodies(DEAD).remove(0);
    let mut only: Value = serde_json::from_str(&letter).unwrap();
    only["dead_letter"]["destinations"].as_array_mut().unwrap().remove(1);
    queues.recover_queue(ORDERS);

    // The destinations have changed places, and the id finds the right one.
    let swapped = start(["second", "first"]).await;
    assert_eq!(batch(&swapped, &[record(DEAD, "m1", &only.to_string())]).await, [""; 0]);
    assert_eq!(queues.bodies(ORDERS), [r#"{"is":"first"}"#]);
    // No destination has the id. The one with the same index and name replaces it.
    let mended = start(["mended", "second"]).await;
    assert_eq!(batch(&mended, &[record(DEAD, "m1", &only.to_string())]).await, [""; 0]);
    assert_eq!(queues.bodies(ORDERS)[1..], [r#"{"is":"mended"}"#]);
    // A dead letter without ids.
    only["dead_letter"]["destinations"][0].as_object_mut().unwrap().remove("id");
    assert_eq!(batch(&swapped, &[record(DEAD, "m2", &only.to_string())]).await, [""; 0]);
    // A dead letter without destinations stays: nothing shows that it was delivered.
    only["dead_letter"]["destinations"] = json!([]);
    assert_eq!(batch(&function, &[record(DEAD, "m3", &only.to_string())]).await, ["m3"]);
}

#[tokio::test]
async fn dead_letter_from_another_queue_is_not_written_again() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    for code in [Code::Unavailable, Code::PermissionDenied] {
        function.momento.clear_faults();
        refuse(&function, "b", code);
        function.deliver(LAMBDA, code as u64, "hello").await;
        let letter = queues.bodies(DEAD).pop().unwrap();
        let before = queues.bodies(DEAD).len();
        assert_eq!(batch(&function, &[record("last-resort", "m1", &letter)]).await, ["m1"]);
        assert_eq!(queues.bodies(DEAD).len(), before, "it would cycle");
    }
}

#[tokio::test]
async fn invalid_message_fails_without_rest_of_batch() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    let signed = |number: u64, secret: &str| {
        let mut event = signed::event(CACHE, INBOUND, number, "signed");
        // An event that waited in a queue may be older than one in a request.
        event.publish_timestamp -= 3_600_000;
        let body = event.to_json();
        let signature = momento::sign(&SigningSecret::new(secret).unwrap(), body.as_bytes());
        let mut record = record("events", &format!("signed {number}"), &body);
        record["messageAttributes"]["momento-signature"] =
            json!({"stringValue": signature, "dataType": "String", "stringListValues": []});
        record
    };
    let mut bare = record("events", "bare", &body(4, "bare"));
    let mut nothing = record("events", "nothing", "");
    for member in ["attributes", "messageAttributes"] {
        (bare[member], nothing[member]) = (json!(null), json!(null));
    }
    nothing["body"] = json!(null);
    let records = [
        bare,
        nothing,
        record("events", "good", &body(1, "plain")),
        record("events", "poison", "\u{0}{"),
        record("events", "empty", ""),
        record("events", "another shape", r#"{"dead_letter": {"destinations": []}, "event": {}}"#),
        signed(2, SECRET),
        signed(3, "another secret"),
    ];
    assert_eq!(batch(&function, &records).await, ["another shape", "empty", "nothing", "poison", "signed 3"]);
    let mut texts = function.published("a");
    texts.sort_unstable();
    assert_eq!(texts, ["BARE", "PLAIN", "SIGNED"]);
    let line = function.log_record(|line| line["request_id"] == "signed 3").await;
    assert_eq!(line["outcome"], "signature_wrong");
    assert_eq!(queues.bodies(DEAD), [""; 0], "an invalid message is for the queue's own dead letters");
}

#[tokio::test]
async fn event_of_queue_becomes_dead_letter_only_if_retry_would_do_harm() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    // No destination has the event: the queue delivers it again.
    for topic in ["a", "b", "c"] {
        refuse(&function, topic, Code::Unavailable);
    }
    assert_eq!(batch(&function, &[record("events", "1", &body(1, "one"))]).await, ["1"]);
    assert_eq!(queues.bodies(DEAD).len(), 0);
    // Two destinations have the event, and would get it twice.
    function.momento.clear_faults();
    refuse(&function, "b", Code::Unavailable);
    assert_eq!(batch(&function, &[record("events", "2", &body(2, "two"))]).await, [""; 0]);
    assert_eq!(queues.bodies(DEAD).len(), 1);
    // All failures are permanent: a retry would fail again.
    function.momento.clear_faults();
    for topic in ["a", "b", "c"] {
        refuse(&function, topic, Code::PermissionDenied);
    }
    assert_eq!(batch(&function, &[record("events", "3", &body(3, "three"))]).await, [""; 0]);
    assert_eq!(queues.bodies(DEAD).len(), 2);
    // Without a queue for dead letters, the message stays in its queue.
    let without = start(LAMBDA, &queues, &[("DEAD_LETTER_QUEUE_URL", "")]).await;
    refuse(&without, "b", Code::PermissionDenied);
    assert_eq!(batch(&without, &[record("events", "4", &body(4, "four"))]).await, ["4"]);
}

#[tokio::test]
async fn destination_that_drops_event_does_not_count_as_delivered() {
    let queues = AwsServer::start().await.unwrap();
    let routes = "[[routes]]\ntopic = 'topic 1'\ndestinations = ['a', { topic = 'b', transforms = [{ filter = { prefix = '/' } }] }]";
    let with = [("OUTBOUND_TOPICS", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", routes)];
    let function = start(LAMBDA, &queues, &with).await;
    refuse(&function, "a", Code::Unavailable);
    assert_eq!(batch(&function, &[record("events", "1", &body(1, "one"))]).await, ["1"]);
    assert_eq!(queues.bodies(DEAD).len(), 0, "the queue delivers it again, and no destination gets it twice");
}

#[tokio::test]
async fn publishes_with_little_time_left() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    let payload = Gateway::FunctionUrl.payload(&genuine(1, "hello"), false).unwrap().to_string();
    let runtime_api = function.runtime_api.as_ref().unwrap();
    let invoked =
        runtime_api.invoke(payload.into_bytes().into(), Duration::from_millis(1_100)).await.unwrap();
    assert!(matches!(&invoked, Invoked::Response(response) if !response.is_empty()), "{invoked:?}");
    assert_eq!(published(&function), ["HELLO"; 3].map(|text| vec![text.to_owned()]));
    assert_eq!(queues.bodies(DEAD).len(), 0);
}

#[tokio::test]
async fn failed_message_of_fifo_queue_is_not_overtaken() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[("DEAD_LETTER_QUEUE_URL", "")]).await;
    function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).topic("b").times(1));
    let of = |group: &str, number: u64, text: &str| {
        let mut record = record("events.fifo", text, &body(number, text));
        record["attributes"]["MessageGroupId"] = json!(group);
        record
    };
    let records = [of("x", 1, "x1"), of("x", 2, "x2"), of("x", 3, "x3")];
    assert_eq!(batch(&function, &records).await, ["x1", "x2", "x3"]);
    assert_eq!(batch(&function, &[of("x", 1, "x1"), of("x", 2, "x2"), of("y", 4, "y1")]).await, [""; 0]);
    let in_order: Vec<_> = function.published("b").into_iter().filter(|text| text.starts_with('X')).collect();
    assert_eq!(in_order, ["X1", "X2"]);
}

#[tokio::test]
async fn unreadable_batch_is_an_error_of_the_function() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    let mut broken = record("events", "1", "x");
    broken["messageId"] = json!(7);
    let payload = json!({ "Records": [record("events", "2", &body(1, "x")), broken] }).to_string();
    let runtime_api = function.runtime_api.as_ref().unwrap();
    let invoked = runtime_api.invoke(payload.into_bytes().into(), Duration::from_secs(10)).await.unwrap();
    assert!(matches!(&invoked, Invoked::Error(error) if error.starts_with(b"{")), "{invoked:?}");
}

#[tokio::test]
async fn publishes_all_of_a_hundred_messages() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    let records: Vec<_> = (0..100)
        .map(|number| record("events", &number.to_string(), &body(number, &number.to_string())))
        .collect();
    assert_eq!(batch(&function, &records).await, [""; 0]);
    let mut numbers: Vec<u64> = function.published("c").iter().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn health_check_returns_version() {
    for transport in Transport::all() {
        let function = Function::start(transport, &[]).await;
        let get = |path| RawRequest { method: "GET".to_owned(), path: Some(path), ..genuine(1, "hello") };
        let response = function.send(transport, &get("/health")).await;
        assert_eq!(response.status, 200, "{transport:?}");
        assert_eq!(response.json(), json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}));
        for path in ["/healthy", "/"] {
            assert_eq!(function.send(transport, &get(path)).await.status, 405, "{transport:?} {path}");
        }
    }
}
