//! Signed events.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use momento_webhook::{Event, Millis, SigningSecret, momento};

/// A request to send: method, headers and raw bytes.
#[derive(Clone, Debug)]
pub struct RawRequest {
    /// The method.
    pub method: String,
    /// The path, such as `/health`; `None` for the default of the client.
    pub path: Option<&'static str>,
    /// The headers. A name can appear several times, and a value can have any bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

/// Returns the current time, in milliseconds since the Unix epoch.
#[must_use]
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// Returns an event that is published and sent now.
#[must_use]
pub fn event(cache: &str, topic: &str, number: u64, text: &str) -> Event {
    let now = now();
    Event {
        cache: cache.to_owned(),
        topic: topic.to_owned(),
        event_timestamp: now,
        publish_timestamp: now,
        topic_sequence_number: number,
        topic_sequence_page: None,
        token_id: None,
        text: text.to_owned(),
    }
}

/// Returns a request with `body` as Momento sends it, signed with `secret`.
///
/// # Errors
/// If the secret is invalid.
pub fn post(secret: &str, body: impl Into<Bytes>) -> anyhow::Result<RawRequest> {
    let body = body.into();
    let signature = momento::sign(&SigningSecret::new(secret)?, &body);
    Ok(RawRequest {
        method: "POST".to_owned(),
        path: None,
        headers: vec![
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("user-agent".to_owned(), momento::USER_AGENT.into()),
            (momento::SIGNATURE_HEADER.to_owned(), signature.into_bytes()),
        ],
        body,
    })
}
