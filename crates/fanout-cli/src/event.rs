//! Makes events on this machine.

use fanout_core::clock::{Clock as _, SystemClock};
use momento_webhook::{Event, EventError, Millis, Verified};
use serde::Deserialize;

use crate::error::Error;

/// An event as a user writes it: the body of a webhook, with defaults for most members.
#[derive(Deserialize)]
struct Draft {
    cache: String,
    topic: String,
    text: String,
    event_timestamp: Option<Millis>,
    publish_timestamp: Option<Millis>,
    #[serde(default)]
    topic_sequence_number: u64,
    topic_sequence_page: Option<u64>,
    token_id: Option<String>,
}

/// Reads an event from the JSON in the file `name`. Missing times are now.
pub(crate) fn read(name: &str, json: &[u8]) -> Result<Verified<Event>, Error> {
    let invalid = |error: &str| Error::Failed(format!("{name}: the event cannot be used: {error}"));
    // Some editors write a byte order mark.
    let json = json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json);
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(invalid(
            "expected a JSON object, such as {\"cache\": \"demo\", \"topic\": \"a\", \"text\": \"Hi\"}",
        ));
    }
    let draft: Draft = serde_json::from_slice(json).map_err(|error| invalid(&error.to_string()))?;
    let now = SystemClock.now();
    let event = Event {
        cache: draft.cache,
        topic: draft.topic,
        event_timestamp: draft.event_timestamp.unwrap_or(now),
        publish_timestamp: draft.publish_timestamp.unwrap_or(now),
        topic_sequence_number: draft.topic_sequence_number,
        topic_sequence_page: draft.topic_sequence_page,
        token_id: draft.token_id,
        text: draft.text,
    };
    verified(&event).map_err(|error| {
        let error = error.to_string();
        // The position is one in the JSON that was written here, not in the file.
        invalid(error.split(" at line ").next().unwrap_or(&error))
    })
}

/// Returns the event as one that a webhook brings. It needs no signature: the user of this machine made it.
pub(crate) fn verified(event: &Event) -> Result<Verified<Event>, EventError> {
    Verified::trusted(event.to_json()).event()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_missing_members() {
        let event = read("f", br#"{"cache": "c", "topic": "t", "text": "x", "token_id": ""}"#).unwrap();
        assert_eq!((event.topic_sequence_number, event.token_id.as_deref()), (0, None));
        assert!(
            event.event_timestamp > 1_700_000_000_000 && event.event_timestamp == event.publish_timestamp
        );
        let given =
            br#"{"cache": "c", "topic": "t", "text": "x", "event_timestamp": 1, "topic_sequence_page": 2}"#;
        let event = read("f", given).unwrap();
        assert_eq!((event.event_timestamp, event.topic_sequence_page), (1, Some(2)));
    }

    #[test]
    fn names_the_file_of_an_invalid_event() {
        let given = br#"{"cache": "c", "topic": "t", "text": "x", "event_timestamp": 1e3}"#;
        let Err(Error::Failed(message)) = read("f", given) else { panic!("it is invalid") };
        assert!(message.starts_with("f: the event cannot be used: "), "{message}");
    }
}
