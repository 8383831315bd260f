//! What destinations do not take, and what comes from queues.

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

/// A function with three outbound topics and a queue for dead letters.
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

/// Invokes the function with messages; gives those that it is not done with.
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
async fn what_was_not_taken_is_in_the_queue_and_the_sender_told_that_all_is_well() {
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

        // It is done with: a sender that tries again does not make a second letter.
        let again = function.send(transport, &request).await;
        assert_eq!(again.json(), json!({"status": "duplicate"}));
        assert_eq!(queues.bodies(DEAD).len(), 1);
    }
}

#[tokio::test]
async fn what_all_took_or_nobody_wanted_is_no_letter() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    assert_eq!(function.deliver(LAMBDA, 1, "hello").await.json()["status"], "success");
    let forged = RawRequest { headers: Vec::new(), ..genuine(2, "hello") };
    assert_eq!(function.send(LAMBDA, &forged).await.status, 403);
    assert_eq!(queues.bodies(DEAD), [""; 0]);
}

#[tokio::test]
async fn a_queue_that_is_down_leaves_the_answer_as_it_is_without() {
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

        // A sender that tries again serves only what is missing.
        function.momento.clear_faults();
        let again = function.deliver(LAMBDA, 1, "hello").await;
        assert_eq!(again.status, 200, "{}", again.body);
    }
}

#[tokio::test]
async fn a_letter_that_comes_back_is_for_its_destinations_only() {
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

    // In an environment that has not seen the event before, too.
    let other = start(LAMBDA, &queues, &[]).await;
    assert_eq!(batch(&other, &[record(DEAD, "m1", &letter)]).await, [""; 0]);
    assert_eq!(published(&other), [vec![], vec!["HELLO".to_owned()], vec![]]);
}

#[tokio::test]
async fn of_a_letter_that_some_take_only_the_others_are_tried_again() {
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
    assert_eq!(batch(&function, &[record(DEAD, "m1", &all)]).await, [""; 0], "another has its place");
    let [_, rest] = &queues.bodies(DEAD)[..] else { panic!("{:?}", queues.bodies(DEAD)) };
    assert_eq!(places(rest), [1, 2]);

    // None of these takes it: it stays, with its count of receives, and nothing new is written.
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

    // Where the rest cannot be written, nothing is lost.
    let other = start(LAMBDA, &queues, &[]).await;
    refuse(&other, "b", Code::Unavailable);
    queues.fail_queue(DEAD, AwsResponse::error(403, "AccessDenied"));
    assert_eq!(batch(&other, &[record(DEAD, "m1", &all)]).await, ["m1"]);
}

#[tokio::test]
async fn a_letter_in_a_fifo_queue_stays_whole_where_it_is() {
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
    assert_eq!(queues.bodies(ORDERED).len(), 1, "what is written anew would be overtaken");
}

#[tokio::test]
async fn a_letter_whose_destination_is_gone_stays_in_the_queue_and_one_that_moved_is_found() {
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
        "nobody asked for it"
    );
}

#[tokio::test]
async fn a_letter_finds_its_destination_among_others_of_the_same_name() {
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

    // They have changed places.
    let swapped = start(["second", "first"]).await;
    assert_eq!(batch(&swapped, &[record(DEAD, "m1", &only.to_string())]).await, [""; 0]);
    assert_eq!(queues.bodies(ORDERS), [r#"{"is":"first"}"#]);
    // It is another now: what has its place and its name stands for it.
    let mended = start(["mended", "second"]).await;
    assert_eq!(batch(&mended, &[record(DEAD, "m1", &only.to_string())]).await, [""; 0]);
    assert_eq!(queues.bodies(ORDERS)[1..], [r#"{"is":"mended"}"#]);
    // A letter of before there were ids.
    only["dead_letter"]["destinations"][0].as_object_mut().unwrap().remove("id");
    assert_eq!(batch(&swapped, &[record(DEAD, "m2", &only.to_string())]).await, [""; 0]);
    // For nobody: nothing says that it is done with.
    only["dead_letter"]["destinations"] = json!([]);
    assert_eq!(batch(&function, &[record(DEAD, "m3", &only.to_string())]).await, ["m3"]);
}

#[tokio::test]
async fn a_letter_that_comes_from_another_queue_is_not_written_anew_either() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    for code in [Code::Unavailable, Code::PermissionDenied] {
        function.momento.clear_faults();
        refuse(&function, "b", code);
        function.deliver(LAMBDA, code as u64, "hello").await;
        let letter = queues.bodies(DEAD).pop().unwrap();
        let before = queues.bodies(DEAD).len();
        assert_eq!(batch(&function, &[record("last-resort", "m1", &letter)]).await, ["m1"]);
        assert_eq!(queues.bodies(DEAD).len(), before, "it would go round for ever");
    }
}

#[tokio::test]
async fn one_bad_message_of_a_batch_fails_alone() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    let signed = |number: u64, secret: &str| {
        let mut event = signed::event(CACHE, INBOUND, number, "signed");
        // Older than any request may be: it has waited in the queue.
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
    assert_eq!(queues.bodies(DEAD), [""; 0], "what is no event is for the queue's own dead letters");
}

#[tokio::test]
async fn what_a_queue_will_bring_again_is_written_down_only_where_that_would_do_harm() {
    let queues = AwsServer::start().await.unwrap();
    let function = start(LAMBDA, &queues, &[]).await;
    // Nobody has it: the queue brings it again.
    for topic in ["a", "b", "c"] {
        refuse(&function, topic, Code::Unavailable);
    }
    assert_eq!(batch(&function, &[record("events", "1", &body(1, "one"))]).await, ["1"]);
    assert_eq!(queues.bodies(DEAD).len(), 0);
    // Two have it, and would have it twice.
    function.momento.clear_faults();
    refuse(&function, "b", Code::Unavailable);
    assert_eq!(batch(&function, &[record("events", "2", &body(2, "two"))]).await, [""; 0]);
    assert_eq!(queues.bodies(DEAD).len(), 1);
    // Nobody ever takes it.
    function.momento.clear_faults();
    for topic in ["a", "b", "c"] {
        refuse(&function, topic, Code::PermissionDenied);
    }
    assert_eq!(batch(&function, &[record("events", "3", &body(3, "three"))]).await, [""; 0]);
    assert_eq!(queues.bodies(DEAD).len(), 2);
    // Without a queue for dead letters, all that can be done is to leave it where it is.
    let without = start(LAMBDA, &queues, &[("DEAD_LETTER_QUEUE_URL", "")]).await;
    refuse(&without, "b", Code::PermissionDenied);
    assert_eq!(batch(&without, &[record("events", "4", &body(4, "four"))]).await, ["4"]);
}

#[tokio::test]
async fn what_was_dropped_is_not_what_somebody_has() {
    let queues = AwsServer::start().await.unwrap();
    let routes = "[[routes]]\ntopic = 'topic 1'\ndestinations = ['a', { topic = 'b', transforms = [{ filter = { prefix = '/' } }] }]";
    let with = [("OUTBOUND_TOPICS", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", routes)];
    let function = start(LAMBDA, &queues, &with).await;
    refuse(&function, "a", Code::Unavailable);
    assert_eq!(batch(&function, &[record("events", "1", &body(1, "one"))]).await, ["1"]);
    assert_eq!(queues.bodies(DEAD).len(), 0, "the queue brings it again, and nobody gets it twice");
}

#[tokio::test]
async fn with_little_time_a_destination_that_is_there_gets_its_event_all_the_same() {
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
async fn in_a_fifo_queue_nothing_overtakes_what_is_not_done_with() {
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
async fn a_batch_that_cannot_be_read_is_an_error_so_that_nothing_is_deleted() {
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
async fn a_hundred_messages_at_once_are_all_published() {
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
async fn whoever_asks_for_its_health_is_told_its_version() {
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
