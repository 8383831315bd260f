//! The requests of the function `publish`: their paths, and the message in a body.
//!
//! | request | body |
//! | --- | --- |
//! | `POST /publish` | `{"topicName": "...", "topicValue": "..."}` |
//! | `POST /publish/TOPIC` | the text |
//! | `GET /history/TOPIC?limit=N` | |

use http::{HeaderMap, Method, Uri};
use momento_webhook::event::MAX_NAME;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::outcome::PublishOutcome;
use crate::caller::CallerOutcome;

/// The header with the key of a request that may be sent again.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The longest key, in characters.
pub(super) const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The messages of a history without `limit`.
const DEFAULT_LIMIT: u16 = 20;

/// The most messages of a history.
pub(super) const MAX_LIMIT: u16 = 100;

const PATHS: &str = "/publish, /publish/TOPIC or /history/TOPIC";

/// What a caller wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// To publish a text.
    Publish {
        /// The topic, if the path has it.
        topic: Option<String>,
    },
    /// To read the last messages of a topic.
    History { topic: String, limit: u16 },
}

/// A message to publish.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The text.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Body {
    topic_name: String,
    topic_value: String,
}

impl Action {
    /// Reads the method and the URI, with any prefix that a gateway may add to the path.
    pub(super) fn of(method: &Method, uri: &Uri) -> Result<Self, PublishOutcome> {
        let Some((action, topic)) = split(uri.path()) else {
            return Err(CallerOutcome::NotFound(PATHS).into());
        };
        let is_history = action == "history";
        if is_history && topic.is_empty() {
            return Err(CallerOutcome::NotFound(PATHS).into());
        }
        let allowed = if is_history { Method::GET } else { Method::POST };
        match *method {
            Method::OPTIONS => return Err(CallerOutcome::Preflight.into()),
            ref method if *method == allowed => {}
            _ => return Err(CallerOutcome::Method(if is_history { "GET" } else { "POST" }).into()),
        }
        if topic.is_empty() {
            return Ok(Self::Publish { topic: None });
        }
        let topic = percent_decode_str(topic).decode_utf8().map_err(|_| PublishOutcome::TopicInvalid)?;
        let topic = checked(topic.into_owned())?;
        Ok(if is_history {
            Self::History { topic, limit: limit(uri.query().unwrap_or_default())? }
        } else {
            Self::Publish { topic: Some(topic) }
        })
    }
}

/// Returns the first segment that is an action, and the path behind it.
fn split(path: &str) -> Option<(&str, &str)> {
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('/') {
        let (segment, behind) = after.split_once('/').unwrap_or((after, ""));
        if matches!(segment, "publish" | "history") {
            return Some((segment, behind));
        }
        rest = after;
    }
    None
}

fn checked(topic: String) -> Result<String, PublishOutcome> {
    if topic.is_empty() || topic.len() > MAX_NAME { Err(PublishOutcome::TopicInvalid) } else { Ok(topic) }
}

fn limit(query: &str) -> Result<u16, PublishOutcome> {
    let mut limits = query.split('&').filter_map(|part| part.strip_prefix("limit="));
    match (limits.next(), limits.next()) {
        (None, _) => Ok(DEFAULT_LIMIT),
        (Some(limit), None) => {
            let limit = limit.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            limit.ok_or(PublishOutcome::LimitInvalid)
        }
        (Some(_), Some(_)) => Err(PublishOutcome::LimitInvalid),
    }
}

impl Message {
    /// Reads a body: the text for the `topic` of the path, or both as JSON.
    pub(super) fn read(topic: Option<String>, body: &[u8]) -> Result<Self, PublishOutcome> {
        if let Some(topic) = topic {
            let text = std::str::from_utf8(body).map_err(|_| PublishOutcome::NotText)?;
            return Ok(Self { topic, text: text.to_owned() });
        }
        // The derived implementation would accept a list of the members as well.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(PublishOutcome::NotMessage);
        }
        let Body { topic_name, topic_value } =
            serde_json::from_slice(body).map_err(|_| PublishOutcome::NotMessage)?;
        Ok(Self { topic: checked(topic_name)?, text: topic_value })
    }
}

/// Returns the key of a request that may be sent again.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, PublishOutcome> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).into_iter();
    let Some(key) = given.next() else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()));
    match (key, given.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(PublishOutcome::KeyInvalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(method: &str, uri: &str) -> Result<Action, &'static str> {
        let outcome = Action::of(&method.parse().unwrap(), &uri.parse().unwrap());
        outcome.map_err(|outcome| outcome.name())
    }

    #[test]
    fn reads_topic_of_path() {
        let publish = |topic: &str| Ok(Action::Publish { topic: Some(topic.to_owned()) });
        for (uri, expected) in [
            ("/publish", Ok(Action::Publish { topic: None })),
            ("/prod/publish/", Ok(Action::Publish { topic: None })),
            ("/publish/lobby", publish("lobby")),
            ("/prod/publish/a%20b%2Fc", publish("a b/c")),
            ("/publish/a/b", publish("a/b")),
            ("/publish/publish", publish("publish")),
            ("/publish/%ff", Err("topic_invalid")),
            ("/publisher", Err("not_found")),
            ("/", Err("not_found")),
            ("/history/a", Err("method_not_allowed")),
        ] {
            assert_eq!(action("POST", uri), expected, "{uri}");
        }
        assert_eq!(action("POST", &format!("/publish/{}", "x".repeat(1_025))), Err("topic_invalid"));
        assert_eq!(action("GET", "/publish/a"), Err("method_not_allowed"));
        assert_eq!(action("OPTIONS", "/publish"), Err("preflight"));
    }

    #[test]
    fn reads_limit_of_query() {
        for (uri, expected) in [
            ("/history/a", Ok(20)),
            ("/history/a?limit=1", Ok(1)),
            ("/history/a?x=y&limit=100", Ok(100)),
            ("/history/a?limit=0", Err("limit_invalid")),
            ("/history/a?limit=101", Err("limit_invalid")),
            ("/history/a?limit=-1", Err("limit_invalid")),
            ("/history/a?limit=", Err("limit_invalid")),
            ("/history/a?limit=1&limit=2", Err("limit_invalid")),
            ("/history/", Err("not_found")),
        ] {
            let expected = expected.map(|limit| Action::History { topic: "a".to_owned(), limit });
            assert_eq!(action("GET", uri), expected, "{uri}");
        }
    }

    #[test]
    fn reads_message_and_nothing_else() {
        let read = |body: &str| Message::read(None, body.as_bytes()).map_err(|outcome| outcome.name());
        let message = Message { topic: "a".to_owned(), text: "\u{e9}\n".to_owned() };
        assert_eq!(read(r#" {"topicValue": "\u00e9\n", "topicName": "a"}"#), Ok(message));
        for wrong in [
            "",
            "hello",
            "{}",
            r#"["a", "b"]"#,
            r#"{"topicName": "a"}"#,
            r#"{"topicName": "a", "topicValue": 1}"#,
            r#"{"topicName": "a", "topicValue": "b", "tokenId": "eve"}"#,
            r#"{"topicName": "a", "topicName": "b", "topicValue": "c"}"#,
            r#"{"topicName": "a", "topicValue": "b"} x"#,
        ] {
            assert_eq!(read(wrong), Err("message_invalid"), "{wrong}");
        }
        assert_eq!(read(r#"{"topicName": "", "topicValue": "b"}"#), Err("topic_invalid"));
        let raw = |body: &[u8]| Message::read(Some("a".to_owned()), body).map_err(|outcome| outcome.name());
        assert_eq!(raw(b"{}").unwrap().text, "{}");
        assert_eq!(raw(b""), Ok(Message { topic: "a".to_owned(), text: String::new() }));
        assert_eq!(raw(b"\xff"), Err("not_text"));
    }
}
