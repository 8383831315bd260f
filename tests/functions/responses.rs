//! Every row of the table of responses in docs/REFERENCE.md, over both transports.

use momento_local::{Fault, Rpc};
use serde_json::json;
use test_support::signed::{self, RawRequest};
use tonic::Code;

use crate::support::{BOTH, CACHE, Function, INBOUND, OUTBOUND, SECRET, Transport, genuine};

/// Sends a request and checks the problem document, the log record, and that nothing was published.
async fn refused(
    transport: Transport,
    settings: &[(&str, &str)],
    request: RawRequest,
    status: u16,
    code: &str,
) -> serde_json::Value {
    let function = Function::start(transport, settings).await;
    let response = function.send(transport, &request).await;
    let problem = response.json();
    assert_eq!(
        (response.status, problem["code"].as_str()),
        (status, Some(code)),
        "{transport:?}: {response:?}"
    );
    assert_eq!(response.headers["content-type"], "application/problem+json", "{transport:?}");
    assert_eq!(problem["status"], status, "{transport:?}");
    assert_eq!(problem["type"], "about:blank");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    assert_eq!(response.headers.contains_key("retry-after"), status == 503, "{transport:?}");
    assert_eq!(
        response.headers.get("allow").map(String::as_str),
        (status == 405).then_some("POST"),
        "{transport:?}"
    );
    assert!(function.published(OUTBOUND).is_empty(), "{transport:?}");
    let line = function.log_record(|line| line["outcome"] == code).await;
    assert_eq!(
        (&line["status"], &line["Refused"], &line["Reason"]),
        (&json!(status), &json!(1), &json!(code))
    );
    problem
}

fn sent(shift_ms: i64) -> RawRequest {
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    event.publish_timestamp = event.publish_timestamp.checked_add_signed(shift_ms).unwrap();
    signed::post(SECRET, event.to_json()).unwrap()
}

#[tokio::test]
async fn method_other_than_post_is_405() {
    for transport in BOTH {
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let request = RawRequest { method: method.into(), ..genuine(1, "hello") };
            refused(transport, &[], request, 405, "method_not_allowed").await;
        }
    }
}

#[tokio::test]
async fn body_over_limit_is_413() {
    for transport in BOTH {
        let request = signed::post(SECRET, vec![b' '; 6 * 1024 * 1024]).unwrap();
        refused(transport, &[], request, 413, "body_too_large").await;
    }
}

#[tokio::test]
async fn missing_or_wrong_signature_is_403() {
    for transport in BOTH {
        let mut missing = genuine(1, "hello");
        missing.headers.retain(|(name, _)| name != "momento-signature");
        refused(transport, &[], missing, 403, "signature_missing").await;

        let forged = signed::post("another secret", genuine(1, "hello").body).unwrap();
        refused(transport, &[], forged, 403, "signature_wrong").await;

        let mut changed = genuine(1, "hello");
        changed.body = genuine(1, "hellO").body;
        refused(transport, &[], changed, 403, "signature_wrong").await;
    }
}

#[tokio::test]
async fn event_too_old_or_from_the_future_is_403() {
    for transport in BOTH {
        let problem = refused(transport, &[], sent(-61_000), 403, "event_too_old").await;
        assert!(problem["detail"].as_str().unwrap().starts_with("sent 61"), "{problem}");
        refused(transport, &[], sent(61_000), 403, "event_from_the_future").await;
        refused(transport, &[("MAX_EVENT_AGE_SECONDS", "5")], sent(-6_000), 403, "event_too_old").await;
    }
}

#[tokio::test]
async fn accepts_event_of_any_age_without_maximum_age() {
    for transport in BOTH {
        let function = Function::start(transport, &[("MAX_EVENT_AGE_SECONDS", "0")]).await;
        for shift in [-86_400_000, 86_400_000] {
            let response = function.send(transport, &sent(shift)).await;
            assert_eq!(response.status, 200, "{transport:?} {shift}: {response:?}");
        }
    }
}

#[tokio::test]
async fn signed_body_that_is_not_an_event_is_400() {
    for transport in BOTH {
        for body in [
            r"",
            r"null",
            r"[]",
            r"{}",
            r#"{"cache":"demo","topic":"topic 1","event_timestamp":1,"publish_timestamp":-1,"topic_sequence_number":1,"text":"hello"}"#,
            r#"{"cache":"","topic":"topic 1","event_timestamp":1,"publish_timestamp":1,"topic_sequence_number":1,"text":"hello"}"#,
        ] {
            let request = signed::post(SECRET, body).unwrap();
            let problem = refused(transport, &[], request, 400, "not_an_event").await;
            assert!(problem["detail"].as_str().unwrap().starts_with("not an event: "), "{problem}");
        }
    }
}

#[tokio::test]
async fn event_of_outbound_topic_is_422_and_logged_as_error() {
    for transport in BOTH {
        let settings = [("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "topic 2,topic 1")];
        refused(transport, &settings, genuine(1, "hello"), 422, "feeds_itself").await;
        let function = Function::start(transport, &settings).await;
        function.send(transport, &genuine(1, "hello")).await;
        let line = function.log_record(|line| line["outcome"] == "feeds_itself").await;
        assert_eq!(line["level"], "ERROR");
        assert!(line["message"].as_str().unwrap().contains("invoke itself forever"), "{line}");
    }
}

#[tokio::test]
async fn second_delivery_is_duplicate() {
    for transport in BOTH {
        let function = Function::start(transport, &[]).await;
        let mut event = signed::event(CACHE, INBOUND, 1, "hello");
        let first = function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!(first.json()["status"], "success");
        // A sender that retries signs again, with a new time of sending.
        event.publish_timestamp += 1;
        let second = function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!((second.status, second.json()), (200, json!({"status": "duplicate"})), "{transport:?}");
        assert_eq!(function.published(OUTBOUND), ["HELLO"]);
    }
}

#[tokio::test]
async fn tells_events_apart_by_page_and_time() {
    let transport = BOTH[0];
    let function = Function::start(transport, &[]).await;
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    // With a page the time does not matter, so the last of these is a second delivery.
    for (page, expected) in [
        (None, "success"),
        (None, "success"),
        (Some(1), "success"),
        (Some(2), "success"),
        (Some(2), "duplicate"),
    ] {
        event.topic_sequence_page = page;
        event.event_timestamp += 1;
        let response = function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!(response.json()["status"], expected, "{page:?}");
    }
    assert_eq!(function.published(OUTBOUND).len(), 4);
}

#[tokio::test]
async fn permanent_failure_is_422() {
    for transport in BOTH {
        for (code, reason) in [
            (Code::NotFound, "not_found"),
            (Code::PermissionDenied, "permission_denied"),
            (Code::Unauthenticated, "unauthenticated"),
            (Code::InvalidArgument, "invalid_argument"),
        ] {
            let function = Function::start(transport, &[]).await;
            let fault = function.momento.inject(Fault::error(code).on(Rpc::Publish));
            let response = function.deliver(transport, 1, "hello").await;
            let problem = response.json();
            assert_eq!(
                (response.status, problem["code"].as_str()),
                (422, Some("destination_refused")),
                "{code:?}"
            );
            assert_eq!(problem["destinations"][0]["reason"], reason);
            assert_eq!(problem["destinations"][0]["attempts"], 1);
            assert!(!response.headers.contains_key("retry-after"));
            assert_eq!(fault.hits(), 1, "a retry");
        }
    }
}

#[tokio::test]
async fn unknown_cache_or_too_large_text_is_422() {
    for transport in BOTH {
        let function = Function::start(transport, &[("OUTBOUND_CACHE", "nowhere")]).await;
        let response = function.deliver(transport, 1, "hello").await;
        assert_eq!(
            (response.status, &response.json()["destinations"][0]["reason"]),
            (422, &json!("not_found"))
        );

        let function = Function::start(transport, &[]).await;
        let response = function.deliver(transport, 1, &"x".repeat(5_000)).await;
        let reason = response.json()["destinations"][0]["reason"].clone();
        assert_eq!(response.status, 422, "{response:?}");
        assert!(reason == "too_large" || reason == "invalid_argument", "{reason}");
    }
}

#[tokio::test]
async fn second_delivery_retries_only_destinations_that_failed() {
    for transport in BOTH {
        let function =
            Function::start(transport, &[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b,c")]).await;
        let fault = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).topic("b"));
        let first = function.deliver(transport, 1, "hello").await;
        let problem = first.json();
        assert_eq!(
            (first.status, problem["code"].as_str()),
            (503, Some("destination_failed")),
            "{transport:?}"
        );
        assert_eq!(first.headers["retry-after"], "2");
        let statuses = |response: &serde_json::Value| {
            let all = response["destinations"].as_array().unwrap().clone();
            all.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(statuses(&problem), ["published", "failed", "published"]);

        fault.remove();
        let event = function.momento.published(CACHE, "a");
        assert_eq!(event.len(), 1);
        // `deliver` makes a new event. A sender that retries sends the same one.
        let mut event = signed::event(CACHE, INBOUND, 2, "again");
        let fault = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).topic("b"));
        let first = function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!(first.status, 503);
        fault.remove();
        event.publish_timestamp += 1;
        let second = function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!(second.status, 200, "{second:?}");
        assert_eq!(statuses(&second.json()), ["already_published", "published", "already_published"]);
        assert_eq!(function.published("a"), ["HELLO", "AGAIN"]);
        assert_eq!(function.published("b"), ["AGAIN"]);
        assert_eq!(function.published("c"), ["HELLO", "AGAIN"]);
    }
}

#[tokio::test]
async fn transient_failure_outweighs_permanent_failure() {
    let transport = BOTH[0];
    let function = Function::start(transport, &[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b")]).await;
    function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).topic("a"));
    let unavailable = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).topic("b"));
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    assert_eq!(function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await.status, 503);
    unavailable.remove();
    event.publish_timestamp += 1;
    let again = function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
    assert_eq!(again.status, 422, "{again:?}");
    assert_eq!(again.json()["destinations"][1]["status"], "published");
}
