//! JSON, read one level at a time. Whatever is inside a value stays as it was written.
//!
//! A tree of values cannot represent a number of forty digits, `1e999`, half of a surrogate pair or a thousand nested
//! lists. Here they do not matter: a member is found beside them, and they are written again as they were.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::MAX_NESTING;

/// Valid JSON as it was written, without white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawJson<'t>(&'t str);

/// A JSON value, taken apart one level deep.
#[derive(Debug)]
pub(crate) enum JsonLevel<'t> {
    /// Names, which are JSON strings, and values, in order. A name can occur more than once.
    Object(Vec<(RawJson<'t>, RawJson<'t>)>),
    List(Vec<RawJson<'t>>),
    /// A string, a number, `true`, `false` or `null`.
    Scalar,
}

impl<'t> RawJson<'t> {
    /// Reads a text. Returns `None` if it is not JSON.
    pub(crate) fn read(text: &'t str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|raw| Self(raw.get()))
    }

    pub(crate) const fn as_str(self) -> &'t str {
        self.0
    }

    pub(crate) fn open(self) -> JsonLevel<'t> {
        if !self.0.starts_with(['{', '[']) {
            return JsonLevel::Scalar;
        }
        let level = serde_json::Deserializer::from_str(self.0).deserialize_any(JsonLevelVisitor);
        level.expect("a part of valid JSON is valid JSON")
    }

    /// Returns the value behind `steps`: names of members and indexes of entries. Of members with the same name, the
    /// last one counts.
    pub(crate) fn find(self, steps: &[String]) -> Option<Self> {
        steps.iter().try_fold(self, |json, step| match json.open() {
            JsonLevel::Object(members) => {
                let is_named = |(name, _): &(Self, Self)| name.string().as_deref() == Some(step);
                members.into_iter().rfind(is_named).map(|(_, value)| value)
            }
            JsonLevel::List(entries) => entries.get(index(step)?).copied(),
            JsonLevel::Scalar => None,
        })
    }

    pub(crate) fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Returns the text of a string; see [`string`].
    pub(crate) fn string(self) -> Option<Cow<'t, str>> {
        string(self.0)
    }
}

/// Returns the text of a JSON string. Returns `None` for other JSON, and for a string with half of a surrogate pair.
pub(crate) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// Returns `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the index of a list's entry: digits without leading zeros.
pub(crate) fn index(step: &str) -> Option<usize> {
    let is_index = step == "0" || !step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit());
    step.parse().ok().filter(|_| is_index)
}

struct JsonLevelVisitor;

impl<'de> Visitor<'de> for JsonLevelVisitor {
    type Value = JsonLevel<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push((RawJson(name.get()), RawJson(value.get())));
        }
        Ok(JsonLevel::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element::<&RawValue>()? {
            entries.push(RawJson(entry.get()));
        }
        Ok(JsonLevel::List(entries))
    }
}

/// A JSON Pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: String,
    steps: Vec<String>,
}

impl Pointer {
    /// Parses a pointer.
    ///
    /// # Errors
    /// If the text is not a pointer: what was expected.
    pub(crate) fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let steps: Option<Vec<_>> = match text.strip_prefix('/') {
            Some(rest) => rest.split('/').map(unescaped).collect(),
            None if text.is_empty() => Some(Vec::new()),
            None => {
                return Err(format!(
                    "{text:?} is not a JSON Pointer; expected a leading `/`, as in `/message`"
                ));
            }
        };
        match steps {
            Some(steps) if steps.len() > MAX_NESTING => {
                Err(format!("the JSON Pointer has more than {MAX_NESTING} steps"))
            }
            Some(steps) => Ok(Self { text, steps }),
            None => {
                Err(format!("{text:?} is not a JSON Pointer; write `~0` for `~`, and `~1` for `/` in a name"))
            }
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn steps(&self) -> &[String] {
        &self.steps
    }

    /// Returns true if it means the whole document.
    pub(crate) fn is_root(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns true if both pointers are equal, or one leads into the value of the other.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.steps.iter().zip(&other.steps).all(|(one, other)| one == other)
    }

    /// Returns the value in `text`. Returns `None` if it is missing, or if the text is not JSON.
    pub(crate) fn find_in<'t>(&self, text: &'t str) -> Option<RawJson<'t>> {
        RawJson::read(text)?.find(&self.steps)
    }
}

/// Returns the name that a step means. Returns `None` if a `~` is not followed by `0` or `1`.
fn unescaped(step: &str) -> Option<String> {
    let is_valid = step.split('~').skip(1).all(|part| part.starts_with(['0', '1']));
    is_valid.then(|| step.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string_at(text: &str, pointer: &str) -> Option<String> {
        Pointer::new(pointer).unwrap().find_in(text)?.string().map(Cow::into_owned)
    }

    #[test]
    fn follows_pointers_of_the_rfc() {
        let text =
            r#"{"foo":["bar","baz"],"":"0","a/b":"1","c%d":"2","m~n":"3"," ":"4","k\"l":"5","~1":"6"}"#;
        for (pointer, expected) in [
            ("/foo/0", Some("bar")),
            ("/foo/1", Some("baz")),
            ("/foo/00", None),
            ("/foo/2", None),
            ("/foo/-", None),
            ("/foo/+1", None),
            ("/foo", None),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/c%d", Some("2")),
            ("/m~0n", Some("3")),
            ("/ ", Some("4")),
            ("/k\"l", Some("5")),
            ("/~01", Some("6")),
            ("/foo/0/x", None),
            ("", None),
        ] {
            assert_eq!(string_at(text, pointer).as_deref(), expected, "{pointer}");
        }
    }

    #[test]
    fn rejects_invalid_pointers() {
        for wrong in ["foo", "#/foo", "/~", "/~2", "/a~", &"/a".repeat(MAX_NESTING + 1)] {
            assert!(Pointer::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn finds_member_beside_unreadable_members() {
        let text = r#"{"x":"\ud83d","y":1e999,"a":"0","a":[{"b":"1"}],"c":"\udc00"}"#;
        assert_eq!(string_at(text, "/a/0/b").as_deref(), Some("1"));
        for (pointer, raw) in [("/x", r#""\ud83d""#), ("/c", r#""\udc00""#), ("/y", "1e999")] {
            let found = Pointer::new(pointer).unwrap().find_in(text).unwrap();
            assert_eq!((found.as_str(), found.string()), (raw, None));
        }
        assert_eq!(string_at(text, "/z"), None);
        assert_eq!(string_at("no JSON", ""), None);
    }

    fn open_all(json: RawJson<'_>, depth: usize) {
        match json.open() {
            _ if depth == 0 => {}
            JsonLevel::Object(members) => {
                for (name, value) in members {
                    assert!(name.is_string());
                    open_all(value, depth - 1);
                }
            }
            JsonLevel::List(entries) => entries.into_iter().for_each(|entry| open_all(entry, depth - 1)),
            JsonLevel::Scalar => {}
        }
    }

    proptest! {
        #[test]
        fn opens_every_part_of_what_it_reads(text in r#"([\[\]{}",:0-9E.+\\a-fnrtul -]|"a":|\\ud83d|true|1e999){0,12}"#) {
            for text in [text.clone(), format!("[{text}]"), format!("{{\"a\":{text}}}")] {
                if let Some(json) = RawJson::read(&text) {
                    open_all(json, 16);
                }
            }
        }

        #[test]
        fn finds_same_value_as_a_tree(text in r#"(\{("[ab]":(1|"x"|\{"a":2\}|\[3,"y"\]|null),?){0,3}\}|\[(4|\{"b":5\}|,){0,3}\])"#, steps in prop::collection::vec("[ab01]", 0..3)) {
            let tree: Result<serde_json::Value, _> = serde_json::from_str(&text);
            let pointer: String = steps.iter().flat_map(|step| ["/", step]).collect();
            let found = Pointer::new(pointer.as_str()).unwrap().find_in(&text);
            let found = found.map(|json| serde_json::from_str::<serde_json::Value>(json.as_str()).unwrap());
            prop_assert_eq!(found, tree.ok().and_then(|tree| tree.pointer(&pointer).cloned()));
        }
    }
}
