//! A transform that panics. The function responds and continues, and logs where it panicked, but not the panic's message.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use momento_local::MomentoLocal;
use serde_json::{Value, json};
use test_support::aws_server::record;
use test_support::process::Process;
use test_support::runtime_api::RuntimeApi;
use test_support::signed;

use crate::support::{BOTH, CACHE, Function, INBOUND, OUTBOUND, SECRET, Transport, listening, settings};

const TEXT: &str = "a pr1vate text";

/// The function with the transform `panic_once`, which panics at the first [`TEXT`].
#[test]
#[ignore = "the other tests start it as a process"]
fn function_that_panics_once() {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let transform = |text: &str| {
        assert!(text != TEXT || PANICKED.swap(true, Ordering::Relaxed), "cannot handle {text}");
        text.to_uppercase()
    };
    let transforms = fanout_core::transform::Transforms::standard().with_text("panic_once", transform);
    assert_eq!(topic_fanout::run::webhook_with(&transforms), ExitCode::SUCCESS);
}

async fn start(transport: Transport) -> Function {
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let runtime_api = match transport {
        Transport::Lambda(..) => Some(RuntimeApi::start().await.unwrap()),
        Transport::Http1 | Transport::Http2 => None,
    };
    let mut environment = settings(&momento.endpoint(), &[("TRANSFORM", "panic_once")]);
    environment.extend(runtime_api.iter().flat_map(RuntimeApi::environment));
    let arguments =
        ["--exact", "panics::function_that_panics_once", "--ignored", "--nocapture", "--test-threads=2"];
    let program = std::env::current_exe().unwrap();
    let process = Process::start_with(&program, &arguments, environment).unwrap();
    let port = if runtime_api.is_none() { listening(&process).await } else { 0 };
    Function::over(momento, process, runtime_api, port)
}

/// Checks that the panic has a log record with its location, and that no line shows what its message quotes.
async fn logs_location_only(function: &Function) {
    let line = function.process.wait_for_line(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "the function panicked").then_some(line)
    });
    let line = line.await.unwrap();
    assert_eq!(line["level"], "ERROR");
    assert!(line["location"].as_str().unwrap().contains("panics.rs:"), "{line}");
    let output = function.process.output().join("\n");
    for hidden in ["pr1vate", "cannot handle"] {
        assert!(!output.contains(hidden), "{output}");
    }
}

#[tokio::test]
async fn panic_in_request_is_500_and_releases_event() {
    for transport in BOTH {
        let function = start(transport).await;
        let request = signed::post(SECRET, signed::event(CACHE, INBOUND, 1, TEXT).to_json()).unwrap();
        let first = function.send(transport, &request).await;
        assert_eq!((first.status, first.json()["code"].as_str()), (500, Some("crashed")), "{transport:?}");
        let record = function.log_record(|line| line["outcome"] == "crashed").await;
        assert_eq!((&record["level"], &record["Undelivered"]), (&json!("ERROR"), &json!(1)));
        logs_location_only(&function).await;

        let second = function.send(transport, &request).await;
        assert_eq!(
            (second.status, second.json()["status"].as_str()),
            (200, Some("success")),
            "{transport:?}"
        );
        assert_eq!(function.published(OUTBOUND), ["A PR1VATE TEXT"]);
    }
}

#[tokio::test]
async fn panic_in_batch_fails_its_message_only_and_releases_event() {
    let function = start(BOTH[0]).await;
    let record = |number: u64, text: &str| {
        record("events", &number.to_string(), &signed::event(CACHE, INBOUND, number, text).to_json())
    };
    let (panics, other) = (record(1, TEXT), record(2, "another"));
    let response = function.invoke(json!({"Records": [panics, other]}).to_string().into_bytes()).await;
    assert_eq!(response, json!({"batchItemFailures": [{"itemIdentifier": "1"}]}));
    let record = function.log_record(|line| line["outcome"] == "crashed").await;
    assert_eq!((&record["level"], &record["queue"]), (&json!("ERROR"), &json!("events")));
    logs_location_only(&function).await;

    let response = function.invoke(json!({"Records": [panics]}).to_string().into_bytes()).await;
    assert_eq!(response, json!({"batchItemFailures": []}));
    assert_eq!(function.published(OUTBOUND), ["ANOTHER", "A PR1VATE TEXT"]);
}
