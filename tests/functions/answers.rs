//! Every row of the table of answers, by both ways.

use momento_local::{Fault, Rpc};
use serde_json::json;
use test_support::signed::{self, RawRequest};
use tonic::Code;

use crate::support::{BOTH, CACHE, Function, INBOUND, OUTBOUND, SECRET, Way, genuine};

/// Answers one request, checks what every problem has in common, and that nothing was published.
async fn refused(
    way: Way,
    settings: &[(&str, &str)],
    request: RawRequest,
    status: u16,
    code: &str,
) -> serde_json::Value {
    let function = Function::start(way, settings).await;
    let answer = function.send(way, &request).await;
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{way:?}: {answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{way:?}");
    assert_eq!(problem["status"], status, "{way:?}");
    assert_eq!(problem["type"], "about:blank");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    assert_eq!(answer.headers.contains_key("retry-after"), status == 503, "{way:?}");
    assert_eq!(answer.headers.get("allow").map(String::as_str), (status == 405).then_some("POST"), "{way:?}");
    assert!(function.published(OUTBOUND).is_empty(), "{way:?}");
    let line = function.journal(|line| line["outcome"] == code).await;
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
async fn not_post_is_405() {
    for way in BOTH {
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let request = RawRequest { method: method.into(), ..genuine(1, "hello") };
            refused(way, &[], request, 405, "method_not_allowed").await;
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    for way in BOTH {
        let request = signed::post(SECRET, vec![b' '; 6 * 1024 * 1024]).unwrap();
        refused(way, &[], request, 413, "body_too_large").await;
    }
}

#[tokio::test]
async fn a_signature_that_is_missing_or_wrong_is_403() {
    for way in BOTH {
        let mut missing = genuine(1, "hello");
        missing.headers.retain(|(name, _)| name != "momento-signature");
        refused(way, &[], missing, 403, "signature_missing").await;

        let forged = signed::post("another secret", genuine(1, "hello").body).unwrap();
        refused(way, &[], forged, 403, "signature_wrong").await;

        let mut changed = genuine(1, "hello");
        changed.body = genuine(1, "hellO").body;
        refused(way, &[], changed, 403, "signature_wrong").await;
    }
}

#[tokio::test]
async fn too_old_or_from_the_future_is_403_and_publishes_nothing() {
    for way in BOTH {
        let problem = refused(way, &[], sent(-61_000), 403, "event_too_old").await;
        assert!(problem["detail"].as_str().unwrap().starts_with("sent 61"), "{problem}");
        refused(way, &[], sent(61_000), 403, "event_from_the_future").await;
        refused(way, &[("MAX_EVENT_AGE_SECONDS", "5")], sent(-6_000), 403, "event_too_old").await;
    }
}

#[tokio::test]
async fn with_the_age_switched_off_every_age_is_accepted() {
    for way in BOTH {
        let function = Function::start(way, &[("MAX_EVENT_AGE_SECONDS", "0")]).await;
        for shift in [-86_400_000, 86_400_000] {
            let answer = function.send(way, &sent(shift)).await;
            assert_eq!(answer.status, 200, "{way:?} {shift}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn genuine_but_not_an_event_is_400() {
    for way in BOTH {
        for body in [
            r"",
            r"null",
            r"[]",
            r"{}",
            r#"{"cache":"demo","topic":"topic 1","event_timestamp":1,"publish_timestamp":-1,"topic_sequence_number":1,"text":"hello"}"#,
            r#"{"cache":"","topic":"topic 1","event_timestamp":1,"publish_timestamp":1,"topic_sequence_number":1,"text":"hello"}"#,
        ] {
            let request = signed::post(SECRET, body).unwrap();
            let problem = refused(way, &[], request, 400, "not_an_event").await;
            assert!(problem["detail"].as_str().unwrap().starts_with("not an event: "), "{problem}");
        }
    }
}

#[tokio::test]
async fn an_event_of_an_outbound_topic_is_refused_loudly() {
    for way in BOTH {
        let settings = [("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "topic 2,topic 1")];
        refused(way, &settings, genuine(1, "hello"), 422, "feeds_itself").await;
        let function = Function::start(way, &settings).await;
        function.send(way, &genuine(1, "hello")).await;
        let line = function.journal(|line| line["outcome"] == "feeds_itself").await;
        assert_eq!(line["level"], "ERROR");
        assert!(line["message"].as_str().unwrap().contains("feed itself"), "{line}");
    }
}

#[tokio::test]
async fn a_second_delivery_is_a_duplicate() {
    for way in BOTH {
        let function = Function::start(way, &[]).await;
        let mut event = signed::event(CACHE, INBOUND, 1, "hello");
        let first = function.send(way, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!(first.json()["status"], "success");
        // A sender that tries again signs anew, with a new time of sending.
        event.publish_timestamp += 1;
        let second = function.send(way, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!((second.status, second.json()), (200, json!({"status": "duplicate"})), "{way:?}");
        assert_eq!(function.published(OUTBOUND), ["HELLO"]);
    }
}

#[tokio::test]
async fn another_page_or_another_time_is_another_event() {
    let way = BOTH[0];
    let function = Function::start(way, &[]).await;
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    // With a page the time does not matter: the last of these was there before.
    for (page, expected) in [
        (None, "success"),
        (None, "success"),
        (Some(1), "success"),
        (Some(2), "success"),
        (Some(2), "duplicate"),
    ] {
        event.topic_sequence_page = page;
        event.event_timestamp += 1;
        let answer = function.send(way, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!(answer.json()["status"], expected, "{page:?}");
    }
    assert_eq!(function.published(OUTBOUND).len(), 4);
}

#[tokio::test]
async fn refused_for_good_is_422() {
    for way in BOTH {
        for (code, reason) in [
            (Code::NotFound, "not_found"),
            (Code::PermissionDenied, "permission_denied"),
            (Code::Unauthenticated, "unauthenticated"),
            (Code::InvalidArgument, "invalid_argument"),
        ] {
            let function = Function::start(way, &[]).await;
            let fault = function.momento.inject(Fault::error(code).on(Rpc::Publish));
            let answer = function.deliver(way, 1, "hello").await;
            let problem = answer.json();
            assert_eq!(
                (answer.status, problem["code"].as_str()),
                (422, Some("destination_refused")),
                "{code:?}"
            );
            assert_eq!(problem["destinations"][0]["reason"], reason);
            assert_eq!(problem["destinations"][0]["attempts"], 1);
            assert!(!answer.headers.contains_key("retry-after"));
            assert_eq!(fault.hits(), 1, "it is not tried again");
        }
    }
}

#[tokio::test]
async fn a_cache_that_does_not_exist_and_a_text_that_is_too_large_are_422() {
    for way in BOTH {
        let function = Function::start(way, &[("OUTBOUND_CACHE", "nowhere")]).await;
        let answer = function.deliver(way, 1, "hello").await;
        assert_eq!((answer.status, &answer.json()["destinations"][0]["reason"]), (422, &json!("not_found")));

        let function = Function::start(way, &[]).await;
        let answer = function.deliver(way, 1, &"x".repeat(5_000)).await;
        let reason = answer.json()["destinations"][0]["reason"].clone();
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(reason == "too_large" || reason == "invalid_argument", "{reason}");
    }
}

#[tokio::test]
async fn failed_for_now_is_503_and_tried_again_only_where_it_failed() {
    for way in BOTH {
        let function = Function::start(way, &[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b,c")]).await;
        let fault = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).topic("b"));
        let first = function.deliver(way, 1, "hello").await;
        let problem = first.json();
        assert_eq!((first.status, problem["code"].as_str()), (503, Some("destination_failed")), "{way:?}");
        assert_eq!(first.headers["retry-after"], "2");
        let statuses = |answer: &serde_json::Value| {
            let all = answer["destinations"].as_array().unwrap().clone();
            all.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(statuses(&problem), ["published", "failed", "published"]);

        fault.remove();
        let event = function.momento.published(CACHE, "a");
        assert_eq!(event.len(), 1);
        // `deliver` makes a new event; a sender that tries again sends the same one.
        let mut event = signed::event(CACHE, INBOUND, 2, "again");
        let fault = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).topic("b"));
        let first = function.send(way, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!(first.status, 503);
        fault.remove();
        event.publish_timestamp += 1;
        let second = function.send(way, &signed::post(SECRET, event.to_json()).unwrap()).await;
        assert_eq!(second.status, 200, "{second:?}");
        assert_eq!(statuses(&second.json()), ["already_published", "published", "already_published"]);
        assert_eq!(function.published("a"), ["HELLO", "AGAIN"]);
        assert_eq!(function.published("b"), ["AGAIN"]);
        assert_eq!(function.published("c"), ["HELLO", "AGAIN"]);
    }
}

#[tokio::test]
async fn what_failed_for_now_outweighs_what_is_refused_for_good() {
    let way = BOTH[0];
    let function = Function::start(way, &[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b")]).await;
    function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).topic("a"));
    let unavailable = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).topic("b"));
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    assert_eq!(function.send(way, &signed::post(SECRET, event.to_json()).unwrap()).await.status, 503);
    unavailable.remove();
    event.publish_timestamp += 1;
    let again = function.send(way, &signed::post(SECRET, event.to_json()).unwrap()).await;
    assert_eq!(again.status, 422, "{again:?}");
    assert_eq!(again.json()["destinations"][1]["status"], "published");
}
