//! The content of a webhook's body.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// A point in time: milliseconds since the Unix epoch.
pub type Millis = u64;

/// The end of the year 9999 in UTC, the last time that RFC 3339 can represent. A greater number has the wrong
/// unit, or is not a time.
pub const LAST_MILLIS: Millis = 253_402_300_799_999;

/// The greatest length in bytes of a cache's or topic's name and of a token id. It bounds log records and
/// responses. Momento documents no limit for names, and 64 characters for token ids.
pub const MAX_NAME: usize = 1_024;

/// One message of a topic, as a webhook delivers it.
///
/// The parser ignores unknown members, which Momento may add later. It rejects missing and duplicate members, wrong
/// types, numbers that are not timestamps, and empty or overlong names. The fields are those of Momento's
/// documentation as last published (`docs/topics/webhooks/overview.mdx`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Event {
    /// The cache, which is the namespace of the topic.
    #[serde(deserialize_with = "name")]
    pub cache: String,
    /// The topic that the message was published to.
    #[serde(deserialize_with = "name")]
    pub topic: String,
    /// The time at which the message was published.
    #[serde(deserialize_with = "timestamp")]
    pub event_timestamp: Millis,
    /// The time at which this webhook was sent. It changes with each attempt.
    #[serde(deserialize_with = "timestamp")]
    pub publish_timestamp: Millis,
    /// The number of the message in its topic. It restarts when the topic is reset.
    pub topic_sequence_number: u64,
    /// The sequence page that `topic_sequence_number` belongs to. Momento's hosted webhooks do not send it;
    /// subscribers of the topic receive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_sequence_page: Option<u64>,
    /// The identifier in the publisher's token. A missing, null or empty member means no identifier; the writer
    /// uses an empty string, as Momento does.
    #[serde(default, deserialize_with = "token_id", serialize_with = "write_token_id")]
    pub token_id: Option<String>,
    /// The message.
    pub text: String,
}

/// Error for a body that is not an event.
#[derive(Debug, thiserror::Error)]
#[error("not an event: {0}")]
pub struct EventError(#[from] serde_json::Error);

impl Event {
    /// Returns what identifies the event in all its deliveries: cache, topic, sequence number, and sequence page
    /// (with `true`). Without a page, it is the time of publishing (with `false`).
    #[must_use]
    pub fn identity(&self) -> (&str, &str, u64, (bool, u64)) {
        let page = match self.topic_sequence_page {
            Some(page) => (true, page),
            None => (false, self.event_timestamp),
        };
        (&self.cache, &self.topic, self.topic_sequence_number, page)
    }

    /// Returns the [identity](Self::identity) as a hash of 64 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let (cache, topic, number, (has_page, page)) = self.identity();
        let mut hash = Sha256::new();
        for name in [cache, topic] {
            hash.update(name.len().to_be_bytes());
            hash.update(name);
        }
        hash.update(number.to_be_bytes());
        hash.update([u8::from(has_page)]);
        hash.update(page.to_be_bytes());
        hex::encode(hash.finalize())
    }

    /// Parses a body. [`Verified::event`](crate::Verified::event) parses only verified ones.
    ///
    /// # Errors
    /// If `body` is not JSON in UTF-8, or not an event.
    pub fn from_json(body: &[u8]) -> Result<Self, EventError> {
        if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(EventError(de::Error::custom("the body is not a JSON object")));
        }
        Ok(serde_json::from_slice(body)?)
    }

    /// Returns the body: compact JSON, with the members in the order of Momento's documentation.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and integers are always valid JSON")
    }
}

/// Accepts only an object. The derived implementation would accept a list of the members as well.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> de::Visitor<'de> for Object {
            type Value = Event;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<Event, A::Error> {
                Event::deserialize(MapAccessDeserializer::new(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Shows all members except the text: messages must not appear in logs.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("cache", &self.cache)
            .field("topic", &self.topic)
            .field("event_timestamp", &self.event_timestamp)
            .field("publish_timestamp", &self.publish_timestamp)
            .field("topic_sequence_number", &self.topic_sequence_number)
            .field("topic_sequence_page", &self.topic_sequence_page)
            .field("token_id", &self.token_id)
            .field("text", &format_args!("<{} bytes>", self.text.len()))
            .finish()
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() { Err(de::Error::custom("an empty name")) } else { bounded(name) }
}

fn bounded<E: de::Error>(name: String) -> Result<String, E> {
    if name.len() > MAX_NAME {
        return Err(E::custom(format_args!("a name of more than {MAX_NAME} bytes")));
    }
    Ok(name)
}

fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
    let millis = Millis::deserialize(deserializer)?;
    if millis > LAST_MILLIS {
        return Err(de::Error::custom(format_args!(
            "{millis} is not a timestamp in milliseconds since the Unix epoch"
        )));
    }
    Ok(millis)
}

fn token_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let id = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    id.filter(|id| !id.is_empty()).map(|id| bounded(id.into_owned())).transpose()
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn write_token_id<S: Serializer>(id: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = r#"{"cache":"chat","topic":"room-281","event_timestamp":1704296470564,"publish_timestamp":1704296470565,"topic_sequence_number":1,"token_id":"mo-the-squirrel","text":"Here I am!!"}"#;

    /// Returns the documented body with one member replaced, or removed if `value` is empty.
    fn with(member: &str, value: &str) -> String {
        let mut body: serde_json::Map<String, serde_json::Value> = serde_json::from_str(DOCUMENTED).unwrap();
        body.remove(member);
        let rest = serde_json::to_string(&body).unwrap();
        match value {
            "" => rest,
            value => format!(r#"{{"{member}":{value},{}"#, rest.strip_prefix('{').unwrap()),
        }
    }

    fn error(body: &str) -> String {
        Event::from_json(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn parses_and_writes_documented_example() {
        let event = Event::from_json(DOCUMENTED.as_bytes()).unwrap();
        assert_eq!(
            event,
            Event {
                cache: "chat".into(),
                topic: "room-281".into(),
                event_timestamp: 1_704_296_470_564,
                publish_timestamp: 1_704_296_470_565,
                topic_sequence_number: 1,
                topic_sequence_page: None,
                token_id: Some("mo-the-squirrel".into()),
                text: "Here I am!!".into(),
            }
        );
        assert_eq!(event.to_json(), DOCUMENTED);
    }

    #[test]
    fn parses_missing_null_and_empty_token_id_as_none() {
        for value in ["", "null", r#""""#] {
            let event = Event::from_json(with("token_id", value).as_bytes()).unwrap();
            assert_eq!(event.token_id, None, "{value:?}");
            assert!(event.to_json().contains(r#""token_id":"""#));
        }
    }

    #[test]
    fn ignores_deeply_nested_unknown_members() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let event = Event::from_json(with("added_later", &deep).as_bytes()).unwrap();
        assert_eq!(event.text, "Here I am!!");
    }

    #[test]
    fn id_depends_only_on_identity() {
        let event = Event::from_json(DOCUMENTED.as_bytes()).unwrap();
        assert_eq!(event.id().len(), 64);
        for (member, value) in
            [("publish_timestamp", "1704296479999"), ("text", "\"other\""), ("token_id", "")]
        {
            assert_eq!(
                Event::from_json(with(member, value).as_bytes()).unwrap().id(),
                event.id(),
                "{member}"
            );
        }
        let others = [
            ("cache", "\"cha\""),
            ("topic", "\"troom-281\""),
            ("topic_sequence_number", "2"),
            ("topic_sequence_page", "1704296470564"),
            ("event_timestamp", "1704296470563"),
        ];
        for (member, value) in others {
            assert_ne!(
                Event::from_json(with(member, value).as_bytes()).unwrap().id(),
                event.id(),
                "{member}"
            );
        }
    }

    #[test]
    fn id_with_page_ignores_time() {
        let at = |time: u64| {
            let mut event = Event::from_json(with("topic_sequence_page", "7").as_bytes()).unwrap();
            event.event_timestamp = time;
            event.id()
        };
        assert_eq!(at(1), at(2));
    }

    #[test]
    fn parses_and_writes_sequence_page() {
        let event = Event::from_json(with("topic_sequence_page", "7").as_bytes()).unwrap();
        assert_eq!(event.topic_sequence_page, Some(7));
        assert!(event.to_json().contains(r#""topic_sequence_page":7"#));
    }

    #[test]
    fn names_missing_and_duplicate_members() {
        for member in
            ["cache", "topic", "event_timestamp", "publish_timestamp", "topic_sequence_number", "text"]
        {
            let missing = error(&with(member, ""));
            assert!(missing.contains(&format!("missing field `{member}`")), "{missing}");
        }
        let twice = DOCUMENTED.replace(r#""text":"#, r#""text":"first","text":"#);
        assert!(error(&twice).contains("duplicate field `text`"));
    }

    #[test]
    fn rejects_invalid_timestamps() {
        for number in [
            "-1",
            "1.5",
            "1e300",
            "1704296470565.0",
            "18446744073709551616",
            "18446744073709551615",
            "253402300800000",
            r#""1704296470565""#,
            "null",
            "true",
        ] {
            for member in ["event_timestamp", "publish_timestamp"] {
                let error = error(&with(member, number));
                assert!(error.starts_with("not an event: "), "{number}: {error}");
            }
        }
        assert!(
            error(&with("publish_timestamp", "253402300800000"))
                .contains("is not a timestamp in milliseconds since the Unix epoch")
        );
    }

    #[test]
    fn rejects_empty_names_and_accepts_empty_text() {
        assert!(error(&with("cache", r#""""#)).contains("an empty name"));
        assert!(error(&with("topic", r#""""#)).contains("an empty name"));
        assert_eq!(Event::from_json(with("text", r#""""#).as_bytes()).unwrap().text, "");
    }

    #[test]
    fn rejects_list_of_members() {
        let members = r#"["demo","plain",1,1,7,null,"mo","a text"]"#;
        for list in ["[]", members] {
            assert_eq!(error(list), "not an event: the body is not a JSON object");
            assert!(serde_json::from_str::<Event>(list).is_err());
        }
        let value: serde_json::Value = serde_json::from_str(DOCUMENTED).unwrap();
        assert!(serde_json::from_value::<Event>(value).is_ok());
    }

    #[test]
    fn rejects_overlong_names_and_accepts_long_text() {
        let name = |bytes| format!(r#""{}""#, "n".repeat(bytes));
        for member in ["cache", "topic", "token_id"] {
            assert!(Event::from_json(with(member, &name(MAX_NAME)).as_bytes()).is_ok(), "{member}");
            let longer = error(&with(member, &name(MAX_NAME + 1)));
            assert!(longer.contains("a name of more than 1024 bytes"), "{member}: {longer}");
        }
        assert!(Event::from_json(with("text", &name(100_000)).as_bytes()).is_ok());
    }

    #[test]
    fn rejects_invalid_json() {
        for body in [&b""[..], b"null", b"[]", b"{", b"\xff", b"{\"cache\":\"\xff\"}"] {
            assert!(Event::from_json(body).is_err(), "{body:?}");
        }
        assert!(error(&with("text", r#""\ud800""#)).contains("hex escape"));
        assert_eq!(Event::from_json(with("text", r#""\u0000""#).as_bytes()).unwrap().text, "\0");
    }

    #[test]
    fn debug_shows_no_text() {
        let shown = format!("{:?}", Event::from_json(DOCUMENTED.as_bytes()).unwrap());
        assert!(shown.contains("room-281") && !shown.contains("Here I am"), "{shown}");
    }
}
