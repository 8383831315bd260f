//! The receiver of README.md: a handler of axum, with requests that it has to reject.
#![expect(clippy::unwrap_used, reason = "a test asserts by panicking")]

use axum::body::Body;
use axum::http::Request;
use momento_webhook::Event;
use tower_service::Service as _;

// README.md shows from here to the first test.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::post;
use momento_webhook::{SigningSecret, SigningSecretError, freshness, momento};

async fn webhook(State(secret): State<SigningSecret>, headers: HeaderMap, body: Bytes) -> StatusCode {
    // All values: a request with two signatures is rejected, whichever comes first.
    let signatures = headers.get_all(momento::SIGNATURE_HEADER);
    let signatures = signatures.into_iter().map(HeaderValue::as_bytes);
    let Ok(verified) = momento::verify(&[secret], body, signatures) else {
        return StatusCode::FORBIDDEN;
    };
    let Ok(event) = verified.event() else {
        return StatusCode::BAD_REQUEST;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let window = freshness::Window::new(Duration::from_mins(1));
    if window.check(event.publish_timestamp, now).is_err() {
        return StatusCode::FORBIDDEN;
    }
    // Work with `event.topic` and `event.text` here, within 5 seconds.
    StatusCode::OK
}

fn router(secret: &str) -> Result<Router, SigningSecretError> {
    let secret = SigningSecret::new(secret)?;
    Ok(Router::new().route("/webhook", post(webhook)).with_state(secret))
}

/// Returns the event that was sent this long ago.
fn event(age: Duration) -> String {
    let sent = (SystemTime::now() - age).duration_since(UNIX_EPOCH).unwrap();
    let sent = u64::try_from(sent.as_millis()).unwrap();
    let event = Event {
        cache: "chat".to_owned(),
        topic: "room-281".to_owned(),
        event_timestamp: sent,
        publish_timestamp: sent,
        topic_sequence_number: 1,
        topic_sequence_page: None,
        token_id: None,
        text: "Here I am!!".to_owned(),
    };
    event.to_json()
}

#[tokio::test]
async fn accepts_signed_event_and_rejects_others() {
    let text = "a secret";
    let secret = SigningSecret::new(text).unwrap();
    let fresh = event(Duration::ZERO);
    let old = event(Duration::from_secs(90));
    let sign = |body: &str| momento::sign(&secret, body.as_bytes());
    let forged = "0".repeat(64);
    for (body, signatures, status) in [
        (fresh.as_str(), vec![sign(&fresh)], StatusCode::OK),
        (&fresh, vec![], StatusCode::FORBIDDEN),
        (&fresh, vec![forged.clone()], StatusCode::FORBIDDEN),
        (&fresh, vec![sign(&fresh), forged.clone()], StatusCode::FORBIDDEN),
        (&fresh, vec![forged, sign(&fresh)], StatusCode::FORBIDDEN),
        (&old, vec![sign(&old)], StatusCode::FORBIDDEN),
        ("{}", vec![sign("{}")], StatusCode::BAD_REQUEST),
    ] {
        let mut request = Request::post("/webhook").body(Body::from(body.to_owned())).unwrap();
        for signature in &signatures {
            request.headers_mut().append(momento::SIGNATURE_HEADER, signature.parse().unwrap());
        }
        let response = router(text).unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status, "{body} {signatures:?}");
    }
}

#[test]
fn readme_shows_this_receiver() {
    let source = include_str!("axum.rs");
    let (_, shown) = source.split_once("first test.\n").unwrap();
    let (shown, _) = shown.split_once("\n/// Returns the event").unwrap();
    assert!(include_str!("../README.md").contains(shown.trim_end()), "README.md lacks the handler");
}
