//! JSON that is made of an event, read as it was written.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON text, and what is in it.
#[derive(Clone, Debug)]
pub struct Document {
    text: Box<RawValue>,
    json: Json,
}

/// What is in a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as it was written: a float would lose digits of it.
    Number(String),
    /// A text.
    Text(String),
    /// Values in their order.
    List(Vec<Self>),
    /// Values by their names. Of two with one name, the last counts.
    Object(BTreeMap<String, Self>),
}

/// How many lists and objects may be in one another. Each is read once for every one around it.
const DEEPEST: usize = 128;

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is no JSON, has half of a character in it (`\ud800`), or is nested too deeply.
    pub fn read(text: &str) -> Result<Self, NoJson> {
        let raw = serde_json::from_str::<&RawValue>(text).map_err(|_| NoJson)?;
        let json = Json::of(raw, DEEPEST).ok_or(NoJson)?;
        Ok(Self { text: raw.to_owned(), json })
    }

    /// Whether it is an object.
    #[must_use]
    pub const fn is_object(&self) -> bool {
        matches!(self.json, Json::Object(_))
    }

    /// What is in it.
    #[must_use]
    pub const fn json(&self) -> &Json {
        &self.json
    }
}

/// A text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoJson;

impl Json {
    fn of(raw: &RawValue, deepest: usize) -> Option<Self> {
        let text = raw.get();
        let inside = || deepest.checked_sub(1);
        Some(match text.as_bytes().first()? {
            b'{' => {
                let deepest = inside()?;
                let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok()?;
                let read = |(name, raw)| Some((name, Self::of(raw, deepest)?));
                Self::Object(members.into_iter().map(read).collect::<Option<_>>()?)
            }
            b'[' => {
                let deepest = inside()?;
                let values = serde_json::from_str::<Vec<&RawValue>>(text).ok()?;
                Self::List(values.into_iter().map(|raw| Self::of(raw, deepest)).collect::<Option<_>>()?)
            }
            b'"' => Self::Text(serde_json::from_str(text).ok()?),
            b't' | b'f' => Self::Bool(serde_json::from_str(text).ok()?),
            b'n' => Self::Null,
            _ => Self::Number(text.to_owned()),
        })
    }
}

/// As it was written, to the blank.
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

    /// Slow and obvious, for what has no long numbers in it.
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
        fn what_is_read_is_what_is_in_it(value in any_json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let document = Document::read(&text).unwrap();
                prop_assert_eq!(document.json(), &of_value(value.clone()));
                prop_assert_eq!(serde_json::to_string(&document).unwrap(), text);
            }
        }

        #[test]
        fn nothing_that_is_refused_elsewhere_is_read(text in r#"[\[\]{}",:0-9E.+\\a-fnrtul -]{0,24}"#) {
            if serde_json::from_str::<Value>(&text).is_ok() {
                prop_assert!(Document::read(&text).is_ok());
            } else if let Ok(document) = Document::read(&text) {
                // Only for its numbers, which are not looked at.
                prop_assert!(text.contains(['e', 'E']), "{:?}", document);
            }
        }
    }

    #[test]
    fn no_digit_is_lost() {
        for number in
            ["123456789012345678901234567890", "18446744073709551616", "0.1234567890123456789", "1e400", "-0"]
        {
            assert_eq!(json(number), Some(Json::Number(number.to_owned())));
        }
    }

    #[test]
    fn what_others_could_not_read_is_refused() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for no_json in [
            "",
            "Hello",
            r#"{"a":"\ud800"}"#,
            r#""\udc00""#,
            r#"{"\ud800":1}"#,
            "{",
            "1 2",
            &deep(DEEPEST + 1),
        ] {
            assert_eq!(json(no_json), None, "{no_json}");
        }
        assert!(json(&deep(DEEPEST)).is_some());
        assert_eq!(json(r#" "\ud83d\ude00" "#), Some(Json::Text("😀".to_owned())));
    }
}
