//! By whichever way a request comes, the text arrives at the subscribers of the outbound topics.

use momento_local::MomentoLocal;
use serde_json::json;
use test_support::gateway::Gateway;
use test_support::process::Process;
use test_support::runtime_api::RuntimeApi;
use test_support::signed;

use crate::support::{
    CACHE, Function, INBOUND, OUTBOUND, SECRET, Subscriber, Way, genuine, program, settings,
};

#[tokio::test]
async fn through_every_gateway_plain_and_base64() {
    let function = Function::lambda(&[]).await;
    let mut subscriber = function.subscribe(OUTBOUND).await;
    for (number, way) in (1..).zip(Way::all().into_iter().filter(|way| matches!(way, Way::Lambda(..)))) {
        let answer = function.deliver(way, number, "Straße 😀 \"quoted\"").await;
        assert_eq!(answer.status, 200, "{way:?}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(
            answer.json(),
            json!({"status": "success", "destinations": [
                {"cache": "demo", "topic": "topic 2", "status": "published", "attempts": 1}
            ]})
        );
        assert_eq!(subscriber.next().await, "STRASSE 😀 \"QUOTED\"", "{way:?}");
    }
}

#[tokio::test]
async fn over_http1_and_http2() {
    let function = Function::http(&[]).await;
    let mut subscriber = function.subscribe(OUTBOUND).await;
    for (number, way) in [(1, Way::Http1), (2, Way::Http2)] {
        let answer = function.deliver(way, number, "hello").await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("success")), "{way:?}");
        assert_eq!(subscriber.next().await, "HELLO", "{way:?}");
    }
}

#[tokio::test]
async fn a_hundred_topics_at_once() {
    let topics: Vec<_> = (0..100).map(|number| format!("room {number}")).collect();
    let function = Function::lambda(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", &topics.join(","))]).await;
    let mut subscribers = Vec::new();
    for topic in topics.iter().step_by(33) {
        subscribers.push(function.subscribe(topic).await);
    }
    let answer = function.deliver(Way::Lambda(Gateway::HttpApi, false), 1, "all").await;
    assert_eq!(answer.status, 200);
    let destinations = answer.json()["destinations"].as_array().unwrap().clone();
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
async fn to_another_cache_where_one_is_set() {
    let function = Function::lambda(&[("OUTBOUND_CACHE", "archive"), ("OUTBOUND_TOPIC", INBOUND)]).await;
    function.momento.create_cache("archive").unwrap();
    // The same topic in another cache is another topic: nothing feeds itself here.
    let answer = function.deliver(Way::Lambda(Gateway::RestApi, false), 1, "hello").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(function.momento.published("archive", INBOUND).len(), 1);
    assert!(function.published(INBOUND).is_empty());
}

#[tokio::test]
async fn the_transforms_are_applied_in_order() {
    for (transform, expected) in [
        ("", "  Hello "),
        ("echo", "  Hello "),
        ("lowercase", "  hello "),
        ("trim", "Hello"),
        ("trim,uppercase", "HELLO"),
    ] {
        let function = Function::lambda(&[("TRANSFORM", transform)]).await;
        let answer = function.deliver(Way::Lambda(Gateway::FunctionUrl, false), 1, "  Hello ").await;
        assert_eq!(answer.status, 200, "{transform}");
        assert_eq!(function.published(OUTBOUND), [expected], "{transform}");
    }
}

#[tokio::test]
async fn both_secrets_of_a_rotation_are_accepted() {
    let function = Function::lambda(&[("WEBHOOK_SIGNING_SECRET_PREVIOUS", "the old one")]).await;
    let way = Way::Lambda(Gateway::FunctionUrl, false);
    for (number, secret, status) in [(1, SECRET, 200), (2, "the old one", 200), (3, "another", 403)] {
        let event = signed::event(CACHE, INBOUND, number, "hello");
        let request = signed::post(secret, event.to_json()).unwrap();
        assert_eq!(function.send(way, &request).await.status, status, "{secret}");
    }
    assert_eq!(function.published(OUTBOUND).len(), 2);
}

#[tokio::test]
async fn with_a_key_that_the_server_knows() {
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
        let answer = Gateway::FunctionUrl.http_response(&serde_json::from_slice(&response).unwrap()).unwrap();
        assert_eq!(answer.status, status, "{key}: {answer:?}");
    }
    assert_eq!(momento.published(CACHE, OUTBOUND).len(), 1);
}

#[tokio::test]
async fn the_publisher_of_what_arrives_is_the_function() {
    // An event's token id is the author's; what the function publishes is its own.
    let function = Function::lambda(&[]).await;
    let mut subscriber = Subscriber::new(&function.momento, OUTBOUND).await;
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    event.token_id = Some("mo-the-squirrel".into());
    let request = signed::post(SECRET, event.to_json()).unwrap();
    let answer = function.send(Way::Lambda(Gateway::FunctionUrl, false), &request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(subscriber.next().await, "HELLO");
    let line = function.journal(|line| line["outcome"] == "success").await;
    assert_eq!(line["token_id"], "mo-the-squirrel");
}
