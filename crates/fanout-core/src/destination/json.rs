//! JSON that is made of an event, with every number as it was written.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::{JsonLevel, RawJson};

/// A JSON text, and its value.
#[derive(Clone, Debug)]
pub struct Document {
    text: Box<RawValue>,
    json: Json,
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as it was written: a float would lose digits.
    Number(String),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object. If two members have the same name, the last one counts.
    Object(BTreeMap<String, Self>),
}

/// The maximum number of arrays and objects inside one another, as in `serde_json`. It bounds the recursion of all that
/// walk a [`Json`], and the time of reading, which reads each value once for each value around it.
pub const MAX_NESTING: usize = 128;

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// When the text is not JSON, has half of a surrogate pair (`\ud800`), or has more than [`MAX_NESTING`] levels.
    pub fn read(text: &str) -> Result<Self, NotJson> {
        let raw = serde_json::from_str::<&RawValue>(text).map_err(|_| NotJson)?;
        let json = RawJson::read(raw.get()).and_then(|raw| Json::of(raw, MAX_NESTING)).ok_or(NotJson)?;
        Ok(Self { text: raw.to_owned(), json })
    }

    /// Returns true if the value is an object.
    #[must_use]
    pub const fn is_object(&self) -> bool {
        matches!(self.json, Json::Object(_))
    }

    /// Returns the value.
    #[must_use]
    pub const fn json(&self) -> &Json {
        &self.json
    }
}

/// Error for a text that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl Json {
    fn of(raw: RawJson<'_>, levels: usize) -> Option<Self> {
        Some(match raw.open() {
            JsonLevel::Object(members) => {
                let levels = levels.checked_sub(1)?;
                let read = |(name, value): (RawJson<'_>, RawJson<'_>)| {
                    Some((name.string()?.into_owned(), Self::of(value, levels)?))
                };
                Self::Object(members.into_iter().map(read).collect::<Option<_>>()?)
            }
            JsonLevel::List(entries) => {
                let levels = levels.checked_sub(1)?;
                Self::List(entries.into_iter().map(|entry| Self::of(entry, levels)).collect::<Option<_>>()?)
            }
            JsonLevel::Scalar => match raw.as_str() {
                "null" => Self::Null,
                "true" => Self::Bool(true),
                "false" => Self::Bool(false),
                _ if raw.is_string() => Self::Text(raw.string()?.into_owned()),
                number => Self::Number(number.to_owned()),
            },
        })
    }
}

/// Writes the text as it was read, with its white space.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.text.get() == other.text.get()
    }
}

impl Eq for Document {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn json(text: &str) -> Option<Json> {
        Document::read(text).ok().map(|document| document.json)
    }

    /// A slow and obvious reader for JSON without long numbers.
    fn of_value(value: Value) -> Json {
        match value {
            Value::Null => Json::Null,
            Value::Bool(is) => Json::Bool(is),
            Value::Number(number) => Json::Number(number.to_string()),
            Value::String(text) => Json::Text(text),
            Value::Array(values) => Json::List(values.into_iter().map(of_value).collect()),
            Value::Object(members) => {
                Json::Object(members.into_iter().map(|(name, value)| (name, of_value(value))).collect())
            }
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_value_and_keeps_text(value in any_json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let document = Document::read(&text).unwrap();
                prop_assert_eq!(document.json(), &of_value(value.clone()));
                prop_assert_eq!(serde_json::to_string(&document).unwrap(), text);
            }
        }

        #[test]
        fn rejects_what_serde_json_rejects(text in r#"[\[\]{}",:0-9E.+\\a-fnrtul -]{0,24}"#) {
            if serde_json::from_str::<Value>(&text).is_ok() {
                prop_assert!(Document::read(&text).is_ok());
            } else if let Ok(document) = Document::read(&text) {
                // It does not check the size of numbers.
                prop_assert!(text.contains(['e', 'E']), "{:?}", document);
            }
        }
    }

    #[test]
    fn keeps_every_digit() {
        for number in
            ["123456789012345678901234567890", "18446744073709551616", "0.1234567890123456789", "1e400", "-0"]
        {
            assert_eq!(json(number), Some(Json::Number(number.to_owned())));
        }
    }

    #[test]
    fn rejects_invalid_and_too_deeply_nested_json() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for not_json in [
            "",
            "Hello",
            r#"{"a":"\ud800"}"#,
            r#""\udc00""#,
            r#"{"\ud800":1}"#,
            "{",
            "1 2",
            &deep(MAX_NESTING + 1),
        ] {
            assert_eq!(json(not_json), None, "{not_json}");
        }
        assert!(json(&deep(MAX_NESTING)).is_some());
        assert_eq!(json(r#" "\ud83d\ude00" "#), Some(Json::Text("😀".to_owned())));
    }
}
