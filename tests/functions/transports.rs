//! Events arrive at the subscribers of the outbound topics, over every transport.

use momento_local::MomentoLocal;
use serde_json::json;
use test_support::gateway::Gateway;
use test_support::process::Process;
use test_support::runtime_api::RuntimeApi;
use test_support::signed;

use crate::support::{
    CACHE, Function, INBOUND, OUTBOUND, SECRET, Subscriber, Transport, genuine, program, settings,
};

#[tokio::test]
async fn publishes_event_from_every_gateway() {
    let function = Function::lambda(&[]).await;
    let mut subscriber = function.subscribe(OUTBOUND).await;
    for (number, transport) in
        (1..).zip(Transport::all().into_iter().filter(|transport| matches!(transport, Transport::Lambda(..))))
    {
        let response = function.deliver(transport, number, "Straße 😀 \"quoted\"").await;
        assert_eq!(response.status, 200, "{transport:?}: {response:?}");
        assert_eq!(response.headers["content-type"], "application/json");
        assert_eq!(
            response.json(),
            json!({"status": "success", "destinations": [
                {"cache": "demo", "topic": "topic 2", "status": "published", "attempts": 1}
            ]})
        );
        assert_eq!(subscriber.next().await, "STRASSE 😀 \"QUOTED\"", "{transport:?}");
    }
}

#[tokio::test]
async fn publishes_event_over_http1_and_http2() {
    let function = Function::http(&[]).await;
    let mut subscriber = function.subscribe(OUTBOUND).await;
    for (number, transport) in [(1, Transport::Http1), (2, Transport::Http2)] {
        let response = function.deliver(transport, number, "hello").await;
        assert_eq!(
            (response.status, response.json()["status"].as_str()),
            (200, Some("success")),
            "{transport:?}"
        );
        assert_eq!(subscriber.next().await, "HELLO", "{transport:?}");
    }
}

#[tokio::test]
async fn publishes_to_a_hundred_topics() {
    let topics: Vec<_> = (0..100).map(|number| format!("room {number}")).collect();
    let function = Function::lambda(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", &topics.join(","))]).await;
    let mut subscribers = Vec::new();
    for topic in topics.iter().step_by(33) {
        subscribers.push(function.subscribe(topic).await);
    }
    let response = function.deliver(Transport::Lambda(Gateway::HttpApi, false), 1, "all").await;
    assert_eq!(response.status, 200);
    let destinations = response.json()["destinations"].as_array().unwrap().clone();
    let names: Vec<_> = destinations.iter().map(|one| one["topic"].as_str().unwrap()).collect();
    assert_eq!(names, topics, "every destination, in order");
    assert!(destinations.iter().all(|one| one["status"] == "published"));
    for topic in &topics {
        assert_eq!(function.published(topic), ["ALL"], "{topic}");
    }
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.next().await, "ALL");
    }
}

#[tokio::test]
async fn publishes_to_outbound_cache() {
    let function = Function::lambda(&[("OUTBOUND_CACHE", "archive"), ("OUTBOUND_TOPIC", INBOUND)]).await;
    function.momento.create_cache("archive").unwrap();
    // The same topic in another cache is another topic: nothing feeds itself here.
    let response = function.deliver(Transport::Lambda(Gateway::RestApi, false), 1, "hello").await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(function.momento.published("archive", INBOUND).len(), 1);
    assert!(function.published(INBOUND).is_empty());
}

#[tokio::test]
async fn applies_transforms_in_order() {
    for (transform, expected) in [
        ("", "  Hello "),
        ("echo", "  Hello "),
        ("lowercase", "  hello "),
        ("trim", "Hello"),
        ("trim,uppercase", "HELLO"),
    ] {
        let function = Function::lambda(&[("TRANSFORM", transform)]).await;
        let response = function.deliver(Transport::Lambda(Gateway::FunctionUrl, false), 1, "  Hello ").await;
        assert_eq!(response.status, 200, "{transform}");
        assert_eq!(function.published(OUTBOUND), [expected], "{transform}");
    }
}

#[tokio::test]
async fn accepts_both_secrets_during_rotation() {
    let function = Function::lambda(&[("WEBHOOK_SIGNING_SECRET_PREVIOUS", "the old one")]).await;
    let transport = Transport::Lambda(Gateway::FunctionUrl, false);
    for (number, secret, status) in [(1, SECRET, 200), (2, "the old one", 200), (3, "another", 403)] {
        let event = signed::event(CACHE, INBOUND, number, "hello");
        let request = signed::post(secret, event.to_json()).unwrap();
        assert_eq!(function.send(transport, &request).await.status, status, "{secret}");
    }
    assert_eq!(function.published(OUTBOUND).len(), 2);
}

#[tokio::test]
async fn unknown_api_key_is_422() {
    let momento = MomentoLocal::builder().cache(CACHE).api_key("the key").start().await.unwrap();
    for (key, status) in [("the key", 200), ("another", 422)] {
        let runtime_api = RuntimeApi::start().await.unwrap();
        let environment = settings(&momento.endpoint(), &[("MOMENTO_API_KEY", key)]);
        let _process =
            Process::start(program(), environment.into_iter().chain(runtime_api.environment())).unwrap();
        let payload = Gateway::FunctionUrl.payload(&genuine(1, "hello"), false).unwrap();
        let invoked = runtime_api.invoke(payload.to_string().into(), std::time::Duration::from_secs(10));
        let test_support::runtime_api::Invoked::Response(response) = invoked.await.unwrap() else {
            panic!("a response")
        };
        let response =
            Gateway::FunctionUrl.http_response(&serde_json::from_slice(&response).unwrap()).unwrap();
        assert_eq!(response.status, status, "{key}: {response:?}");
    }
    assert_eq!(momento.published(CACHE, OUTBOUND).len(), 1);
}

#[tokio::test]
async fn publishes_as_itself_and_logs_token_id_of_event() {
    // An event's token id is the author's; what the function publishes is its own.
    let function = Function::lambda(&[]).await;
    let mut subscriber = Subscriber::new(&function.momento, OUTBOUND).await;
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    event.token_id = Some("mo-the-squirrel".into());
    let request = signed::post(SECRET, event.to_json()).unwrap();
    let response = function.send(Transport::Lambda(Gateway::FunctionUrl, false), &request).await;
    assert_eq!(response.status, 200);
    assert_eq!(subscriber.next().await, "HELLO");
    let line = function.log_record(|line| line["outcome"] == "success").await;
    assert_eq!(line["token_id"], "mo-the-squirrel");
}
