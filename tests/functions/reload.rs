//! Routes that change while the function runs.

use std::time::Duration;

use serde_json::{Value, json};
use test_support::AwsResponse;
use test_support::HttpResponse;
use test_support::object_server::ObjectServer;
use test_support::process::TIMEOUT;
use test_support::secrets_server::SecretsServer;
use test_support::signed::RawRequest;
use tokio::time::{sleep, timeout};

use crate::support::{BOTH, Function, Transport, genuine};

/// More than the maximum age of the routes in these tests.
const LATER: Duration = Duration::from_millis(1_100);

fn routes_to(topic: &str) -> String {
    format!("[[routes]]\ntopic = \"topic 1\"\ndestinations = [\"{topic}\"]\n")
}

const FAULTY: &str = "[[routes]]\ntopic = \"topic 1\"\ndestinations = [\"{room}\"]\n";

/// Starts a function whose routes are at `place` and get old after a second.
async fn start(transport: Transport, place: &str, environment: Vec<(String, String)>) -> Function {
    let of_test = [
        ("OUTBOUND_TOPIC", ""),
        ("TRANSFORM", ""),
        ("FANOUT_CONFIG", place),
        ("ROUTES_MAX_AGE_SECONDS", "1"),
    ];
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(of_test).collect();
    Function::start(transport, &environment).await
}

async fn get(function: &Function, transport: Transport, path: &'static str) -> HttpResponse {
    let request = RawRequest { method: "GET".to_owned(), path: Some(path), ..genuine(1, "") };
    function.send(transport, &request).await
}

/// Waits until the check ends that the last request has started. In Lambda it ends before the next invocation.
async fn checked(function: &Function) {
    match &function.runtime_api {
        Some(runtime_api) => {
            timeout(TIMEOUT, runtime_api.wait_for_pollers(1)).await.expect("it asks for an invocation");
        }
        None => sleep(Duration::from_millis(300)).await,
    }
}

/// Delivers an event when the routes are old, and another one when they have been checked.
async fn deliver_later(function: &Function, transport: Transport, number: u64) {
    sleep(LATER).await;
    for number in [number, number + 1] {
        assert_eq!(function.deliver(transport, number, "hello").await.status, 200, "{transport:?}");
        checked(function).await;
    }
}

async fn not_updated(function: &Function) -> Value {
    let line = function.process.wait_for_line(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        line.get("RoutesNotUpdated").is_some().then_some(line)
    });
    line.await.unwrap()
}

#[tokio::test]
async fn takes_over_routes_of_parameter_without_restart() {
    for transport in BOTH {
        let parameters = SecretsServer::start().await.unwrap();
        parameters.put("/chat/routes", &routes_to("old"));
        let function = start(transport, "ssm:/chat/routes", parameters.environment()).await;
        assert_eq!(function.deliver(transport, 1, "hello").await.status, 200);
        checked(&function).await;
        let before = get(&function, transport, "/health").await.json();
        checked(&function).await;
        parameters.put("/chat/routes", &routes_to("new"));
        deliver_later(&function, transport, 2).await;
        assert!(function.published("new").contains(&"hello".to_owned()), "{transport:?}");
        let after = get(&function, transport, "/health").await.json();
        assert_eq!(before["routes"].as_str().unwrap().len(), 12);
        assert_ne!(before["routes"], after["routes"]);
        let output = function.process.output();
        assert!(output.iter().any(|line| line.contains("the routes have changed")), "{output:?}");
    }
}

#[tokio::test]
async fn keeps_routes_while_their_source_is_faulty() {
    for transport in BOTH {
        let parameters = SecretsServer::start().await.unwrap();
        parameters.put("/chat/routes", &routes_to("out"));
        let function = start(transport, "ssm:/chat/routes", parameters.environment()).await;
        assert_eq!(get(&function, transport, "/health/ready").await.status, 200);

        parameters.put("/chat/routes", FAULTY);
        deliver_later(&function, transport, 1).await;
        let line = not_updated(&function).await;
        assert_eq!((&line["level"], &line["place"]), (&json!("ERROR"), &json!("ssm:/chat/routes")));
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.starts_with("ssm:/chat/routes:3:"), "{reason}");
        assert_eq!(line["RoutesNotUpdated"], 1);
        let declared = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"];
        assert_eq!(declared == "RoutesNotUpdated", matches!(transport, Transport::Lambda(..)));
        let ready = get(&function, transport, "/health/ready").await;
        assert_eq!((ready.status, ready.json()["code"].as_str()), (503, Some("routes_invalid")));
        assert_eq!(get(&function, transport, "/health").await.status, 200, "it works on");

        parameters.fail("/chat/routes", AwsResponse::error(400, "AccessDeniedException"));
        deliver_later(&function, transport, 3).await;
        let ready = get(&function, transport, "/health/ready").await;
        assert_eq!((ready.status, ready.json()["code"].as_str()), (503, Some("routes_unreadable")));
        assert!(!ready.body.contains("/chat/routes"), "{}", ready.body);

        parameters.put("/chat/routes", &routes_to("out"));
        deliver_later(&function, transport, 5).await;
        assert_eq!(get(&function, transport, "/health/ready").await.status, 200);
        assert_eq!(function.published("out"), ["hello"; 6], "{transport:?}");
    }
}

#[tokio::test]
async fn takes_over_routes_of_object_and_of_file() {
    let transport = BOTH[0];
    let objects = ObjectServer::start().await.unwrap();
    objects.put("/chat/routes.toml", routes_to("old"));
    let function = start(transport, "s3://chat/routes.toml", objects.environment()).await;
    assert_eq!(function.deliver(transport, 1, "hello").await.status, 200);
    objects.put("/chat/routes.toml", routes_to("new"));
    deliver_later(&function, transport, 2).await;
    assert!(function.published("new").contains(&"hello".to_owned()));

    let folder = test_support::tempdir().unwrap();
    let path = folder.path().join("fanout.toml");
    std::fs::write(&path, routes_to("old")).unwrap();
    let function = start(transport, path.to_str().unwrap(), Vec::new()).await;
    assert_eq!(function.deliver(transport, 1, "hello").await.status, 200);
    std::fs::remove_file(&path).unwrap();
    deliver_later(&function, transport, 2).await;
    assert!(not_updated(&function).await["reason"].as_str().unwrap().contains("No such file"));
    std::fs::write(&path, routes_to("new")).unwrap();
    deliver_later(&function, transport, 4).await;
    assert!(function.published("new").contains(&"hello".to_owned()));
}

#[tokio::test]
async fn reads_source_once_without_maximum_age() {
    let transport = BOTH[0];
    let parameters = SecretsServer::start().await.unwrap();
    parameters.put("/chat/routes", &routes_to("old"));
    let environment =
        [&parameters.environment()[..], &[("ROUTES_MAX_AGE_SECONDS".into(), "0".into())]].concat();
    let of_test = [("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", "ssm:/chat/routes")];
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(of_test).collect();
    let function = Function::start(transport, &environment).await;
    for number in 1..4 {
        assert_eq!(function.deliver(transport, number, "hello").await.status, 200);
    }
    assert_eq!(parameters.requests().len(), 1);
}
