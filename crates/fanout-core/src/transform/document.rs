//! A JSON text that is changed in places, and stays as it is everywhere else.
//!
//! Only the objects and lists along a pointer are taken apart; whatever they hold beside it is kept as the
//! text that it was. A number of forty digits, the order of members and the escapes of a string come through
//! as they were sent, which a tree of values could not promise. Only the white space between the members of
//! what was taken apart is lost.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::TransformError;
use crate::limits::MAX_NESTING;
use crate::placeholder::json::{self, index, string};

/// A JSON Pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    text: String,
    steps: Vec<String>,
}

/// A JSON text, taken apart as far as was needed.
#[derive(Debug)]
pub(super) struct Document<'t>(Node<'t>);

#[derive(Debug)]
enum Node<'t> {
    /// As it was sent.
    Raw(&'t str),
    /// JSON that was written here.
    Written(String),
    Object(Vec<(Key<'t>, Node<'t>)>),
    List(Vec<Node<'t>>),
    /// What was here was taken out. The place is kept, so that the numbers of a list's other entries stay the
    /// same until it is written.
    Gone,
}

/// A member's name: as JSON, and what it says. A name with half of a surrogate pair says nothing.
#[derive(Debug)]
struct Key<'t> {
    json: Cow<'t, str>,
    name: Option<Cow<'t, str>>,
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// When it is none: what would be right.
    pub(super) fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let Some(rest) = text.strip_prefix('/') else {
            if text.is_empty() {
                return Ok(Self { text, steps: Vec::new() });
            }
            return Err(format!(
                "{text:?} is no JSON Pointer: it should begin with a slash, as \"/message\""
            ));
        };
        if rest.split('/').count() > MAX_NESTING {
            return Err(format!("the JSON Pointer has more than {MAX_NESTING} steps"));
        }
        let steps: Option<_> = rest.split('/').map(step).collect();
        match steps {
            Some(steps) => Ok(Self { text, steps }),
            None => Err(format!("{text:?} is no JSON Pointer: a tilde is written ~0, a slash in a name ~1")),
        }
    }

    /// Whether it is the whole document.
    pub(super) fn is_root(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether one of both is the other, or inside it.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.steps.iter().zip(&other.steps).all(|(one, other)| one == other)
    }

    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

/// What a step says, or nothing when a tilde stands alone.
fn step(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('~');
    let mut step = parts.next()?.to_owned();
    for part in parts {
        if let Some(rest) = part.strip_prefix('0') {
            step.push('~');
            step.push_str(rest);
        } else {
            step.push('/');
            step.push_str(part.strip_prefix('1')?);
        }
    }
    Some(step)
}

impl<'t> Document<'t> {
    /// Reads a text, or nothing when it is not JSON.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|raw| Self(Node::Raw(raw.get())))
    }

    /// What is at `at`, or nothing when there is nothing.
    ///
    /// # Errors
    /// When a member on the way is given twice: who reads the text may take either.
    pub(super) fn look(&mut self, at: &Pointer) -> Result<Option<Looked<'t>>, TransformError> {
        match self.find(at)? {
            Some(Node::Raw(json)) => Ok(Some(Looked(json))),
            _ => Ok(None),
        }
    }

    /// Writes `json` in place of what is at `at`, which is there.
    pub(super) fn replace(&mut self, at: &Pointer, json: String) -> Result<(), TransformError> {
        match self.find(at)? {
            Some(node) => *node = Node::Written(json),
            None => return Err(astray(at)),
        }
        Ok(())
    }

    /// Takes out what is at `at`. Says whether there was anything.
    pub(super) fn take(&mut self, at: &Pointer) -> Result<Option<Taken<'t>>, TransformError> {
        let found = self.find(at)?;
        Ok(found.map(|node| Taken(std::mem::replace(node, Node::Gone))))
    }

    /// Puts `json` at `at`, in place of what is there. Objects that are missing on the way are made.
    pub(super) fn set(&mut self, at: &Pointer, json: String) -> Result<(), TransformError> {
        self.put(at, Taken(Node::Written(json)))
    }

    /// The same with what was taken out elsewhere.
    pub(super) fn put(&mut self, at: &Pointer, taken: Taken<'t>) -> Result<(), TransformError> {
        let mut node = &mut self.0;
        for step in &at.steps {
            node.open();
            node = match node {
                Node::Object(members) => {
                    let place = member(members, step, at)?;
                    if place.is_none() {
                        members.push((Key::new(step), Node::Gone));
                    }
                    let place = place.unwrap_or(members.len() - 1);
                    members.get_mut(place).map(|(_, node)| node)
                }
                Node::List(entries) => {
                    let place = if step == "-" { Some(entries.len()) } else { index(step) };
                    if place == Some(entries.len()) {
                        entries.push(Node::Gone);
                    }
                    place.and_then(|place| entries.get_mut(place))
                }
                Node::Raw(_) | Node::Written(_) | Node::Gone => None,
            }
            .ok_or_else(|| astray(at))?;
            if matches!(node, Node::Gone) {
                *node = Node::Object(Vec::new());
            }
        }
        *node = taken.0;
        Ok(())
    }

    fn find(&mut self, at: &Pointer) -> Result<Option<&mut Node<'t>>, TransformError> {
        let mut node = &mut self.0;
        for step in &at.steps {
            node.open();
            let next = match node {
                Node::Object(members) => {
                    let place = member(members, step, at)?;
                    place.and_then(|place| members.get_mut(place)).map(|(_, node)| node)
                }
                Node::List(entries) => index(step).and_then(|place| entries.get_mut(place)),
                Node::Raw(_) | Node::Written(_) | Node::Gone => None,
            };
            node = match next {
                Some(next) => next,
                None => return Ok(None),
            };
        }
        Ok(Some(node).filter(|node| !matches!(node, Node::Gone)))
    }
}

/// Something that was taken out of a document.
#[derive(Debug)]
pub(super) struct Taken<'t>(Node<'t>);

impl<'t> Node<'t> {
    /// Takes an object or a list apart. What is neither stays as it is.
    fn open(&mut self) {
        let Self::Raw(json) = *self else { return };
        if json.starts_with('{') {
            if let Ok(Members(members)) = serde_json::from_str(json) {
                let members =
                    members.into_iter().map(|(key, value)| (Key::read(key), Self::Raw(value.get())));
                *self = Self::Object(members.collect());
            }
        } else if json.starts_with('[')
            && let Ok(entries) = serde_json::from_str::<Vec<&'t RawValue>>(json)
        {
            *self = Self::List(entries.into_iter().map(|entry| Self::Raw(entry.get())).collect());
        }
    }

    const fn is_there(&self) -> bool {
        !matches!(self, Self::Gone)
    }
}

impl<'t> Key<'t> {
    fn new(name: &str) -> Self {
        let name = name.to_owned();
        Self { json: Cow::Owned(json_string(&name)), name: Some(Cow::Owned(name)) }
    }

    fn read(json: &'t RawValue) -> Self {
        Self { json: Cow::Borrowed(json.get()), name: string(json.get()) }
    }
}

/// A value in a document, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked<'t>(&'t str);

impl<'t> Looked<'t> {
    /// Whether it is a string, if only one that says nothing.
    pub(super) fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// What the string says, or nothing when it is no string, or has half of a surrogate pair.
    pub(super) fn string(self) -> Option<Cow<'t, str>> {
        string(self.0)
    }

    /// The value by itself, or nothing when it is one that no tree can have.
    pub(super) fn value(self) -> Option<Value> {
        serde_json::from_str(self.0).ok()
    }
}

/// What is at `at` in a text; nothing where there is nothing, or the text is not JSON. Of a member that is given
/// twice, the last one counts, as in a tree of values.
pub(super) fn look_up<'t>(text: &'t str, at: &Pointer) -> Option<Looked<'t>> {
    json::member(text, &at.steps).map(Looked)
}

/// The JSON string that says `text`.
pub(super) fn json_string(text: &str) -> String {
    Value::from(text).to_string()
}

/// Where the member `name` is.
fn member(
    members: &[(Key<'_>, Node<'_>)],
    name: &str,
    at: &Pointer,
) -> Result<Option<usize>, TransformError> {
    let is_it = |(key, _): &(Key<'_>, Node<'_>)| key.name.as_deref() == Some(name);
    let place = members.iter().position(is_it);
    if place.is_some() && members.iter().filter(|member| is_it(member)).count() > 1 {
        let detail = format!("a member on the way to {:?} is given twice", at.text);
        return Err(TransformError::unfit(detail));
    }
    Ok(place)
}

/// That nothing can be put at `at`.
fn astray(at: &Pointer) -> TransformError {
    TransformError::unfit(format!("the JSON has no place {:?}", at.text))
}

/// The members of an object as they were sent, in their order, with what is given twice.
struct Members<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw(json) => f.write_str(json),
            Self::Written(json) => f.write_str(json),
            Self::Object(members) => {
                f.write_str("{")?;
                for (place, (key, node)) in members.iter().filter(|(_, node)| node.is_there()).enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{node}", key.json)?;
                }
                f.write_str("}")
            }
            Self::List(entries) => {
                f.write_str("[")?;
                for (place, node) in entries.iter().filter(|node| node.is_there()).enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{node}")?;
                }
                f.write_str("]")
            }
            Self::Gone => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Pointer {
        Pointer::new(text).unwrap()
    }

    #[test]
    fn pointers_are_those_of_the_rfc() {
        let text =
            r#"{"foo":["bar","baz"],"":"0","a/b":"1","c%d":"2","m~n":"3"," ":"4","k\"l":"5","~1":"6"}"#;
        let mut document = Document::read(text).unwrap();
        for (pointer, wanted) in [
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
            let looked = document.look(&at(pointer)).unwrap();
            assert_eq!(looked.and_then(Looked::string).as_deref(), wanted, "{pointer}");
            assert_eq!(look_up(text, &at(pointer)).and_then(Looked::string).as_deref(), wanted, "{pointer}");
        }
        assert_eq!(document.to_string(), text);
        for wrong in ["foo", "#/foo", "/~", "/~2", "/a~", &"/a".repeat(MAX_NESTING + 1)] {
            assert!(Pointer::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_member_given_twice_is_neither() {
        let mut document = Document::read(r#"{"a":"1","\u0061":"2","b":"3","b":"4","c":"5"}"#).unwrap();
        assert!(document.look(&at("/a")).is_err());
        assert!(document.take(&at("/b/x")).is_err());
        assert!(document.set(&at("/b"), "1".to_owned()).is_err());
        assert_eq!(document.look(&at("/c")).unwrap().and_then(Looked::string).as_deref(), Some("5"));
    }

    #[test]
    fn one_value_is_looked_up_whatever_is_beside_it() {
        let text = r#"{"x":"\ud83d","y":1e999,"a":"0","a":[{"b":"1"}],"c":"\udc00"}"#;
        assert_eq!(look_up(text, &at("/a/0/b")).and_then(Looked::string).as_deref(), Some("1"));
        for there in ["/x", "/c"] {
            let looked = look_up(text, &at(there)).unwrap();
            assert_eq!((looked.is_string(), looked.string()), (true, None));
        }
        assert_eq!(look_up(text, &at("/y")).unwrap().value(), None);
        assert_eq!(look_up(text, &at("/z")), None);
        assert_eq!(look_up("no JSON", &at("")), None);
    }

    #[test]
    fn the_numbers_of_entries_stay_the_same_until_all_is_done() {
        let mut document = Document::read("[0, 1, 2, 3]").unwrap();
        for pointer in ["/0", "/2"] {
            assert!(document.take(&at(pointer)).unwrap().is_some());
            assert!(document.take(&at(pointer)).unwrap().is_none());
        }
        document.set(&at("/3"), "\"x\"".to_owned()).unwrap();
        document.set(&at("/-"), "4".to_owned()).unwrap();
        document.set(&at("/5"), "5".to_owned()).unwrap();
        assert!(document.set(&at("/7"), "7".to_owned()).is_err());
        assert_eq!(document.to_string(), "[1,\"x\",4,5]");
    }
}
