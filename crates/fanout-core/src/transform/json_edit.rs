//! JSON that is edited in places, and stays as it was written everywhere else.
//!
//! Only the objects and lists along a pointer are taken apart. Only white space between the members of those is lost.

use std::borrow::Cow;
use std::fmt;

use crate::json::{self, JsonLevel, Pointer, RawJson, index, quoted};
use crate::reason::Failure;

/// A JSON text, taken apart as far as was needed.
#[derive(Debug)]
pub(super) struct EditableJson<'t>(JsonNode<'t>);

/// A value of [`EditableJson`].
#[derive(Debug)]
pub(super) enum JsonNode<'t> {
    /// A value as it was sent.
    Raw(RawJson<'t>),
    /// New JSON.
    Written(String),
    /// Names, which are JSON strings, and values.
    Object(Vec<(Cow<'t, str>, Self)>),
    List(Vec<Self>),
    /// A value that was removed. It keeps the indexes of the other entries of its list.
    Removed,
}

impl<'t> EditableJson<'t> {
    /// Reads a text. Returns `None` if it is not JSON.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        RawJson::read(text).map(|json| Self(JsonNode::Raw(json)))
    }

    /// Returns the value at `at`, if it is there and not edited.
    ///
    /// # Errors
    /// If a member on the path is duplicate: a reader of the text may take either.
    pub(super) fn get(&mut self, at: &Pointer) -> Result<Option<RawJson<'t>>, Failure> {
        match self.find(at)? {
            Some(JsonNode::Raw(json)) => Ok(Some(*json)),
            _ => Ok(None),
        }
    }

    /// Removes and returns the value at `at`, if it is there.
    pub(super) fn take(&mut self, at: &Pointer) -> Result<Option<JsonNode<'t>>, Failure> {
        Ok(self.find(at)?.map(|node| std::mem::replace(node, JsonNode::Removed)))
    }

    /// Writes `value` to `at`, in place of a value that is there. Creates the missing objects of the path.
    pub(super) fn put(&mut self, at: &Pointer, value: JsonNode<'t>) -> Result<(), Failure> {
        let mut node = &mut self.0;
        for step in at.steps() {
            if matches!(node, JsonNode::Removed) {
                *node = JsonNode::Object(Vec::new());
            }
            node.open();
            let next = match node {
                JsonNode::Object(members) => {
                    if member(members, step, at)?.is_none() {
                        members.push((quoted(step).into(), JsonNode::Removed));
                    }
                    member(members, step, at)?
                }
                JsonNode::List(entries) => {
                    let index = if step == "-" { Some(entries.len()) } else { index(step) };
                    if index == Some(entries.len()) {
                        entries.push(JsonNode::Removed);
                    }
                    index.and_then(|index| entries.get_mut(index))
                }
                JsonNode::Raw(_) | JsonNode::Written(_) | JsonNode::Removed => None,
            };
            node = next.ok_or_else(|| {
                Failure::invalid(format!(
                    "cannot write to {:?}: its parent is neither an object nor a list with that index",
                    at.as_str()
                ))
            })?;
        }
        *node = value;
        Ok(())
    }

    fn find(&mut self, at: &Pointer) -> Result<Option<&mut JsonNode<'t>>, Failure> {
        let mut node = &mut self.0;
        for step in at.steps() {
            node.open();
            let next = match node {
                JsonNode::Object(members) => member(members, step, at)?,
                JsonNode::List(entries) => index(step).and_then(|index| entries.get_mut(index)),
                JsonNode::Raw(_) | JsonNode::Written(_) | JsonNode::Removed => None,
            };
            let Some(next) = next else { return Ok(None) };
            node = next;
        }
        Ok(Some(node).filter(|node| node.is_there()))
    }
}

impl<'t> JsonNode<'t> {
    /// Takes an object or a list apart. Other values stay as they are.
    fn open(&mut self) {
        if let Self::Raw(json) = *self {
            match json.open() {
                JsonLevel::Object(members) => {
                    let member = |(name, value): (RawJson<'t>, _)| (name.as_str().into(), Self::Raw(value));
                    *self = Self::Object(members.into_iter().map(member).collect());
                }
                JsonLevel::List(entries) => *self = Self::List(entries.into_iter().map(Self::Raw).collect()),
                JsonLevel::Scalar => {}
            }
        }
    }

    const fn is_there(&self) -> bool {
        !matches!(self, Self::Removed)
    }
}

/// Returns the member called `name`, if it is there.
fn member<'n, 't>(
    members: &'n mut [(Cow<'t, str>, JsonNode<'t>)],
    name: &str,
    at: &Pointer,
) -> Result<Option<&'n mut JsonNode<'t>>, Failure> {
    let is_named = |member: &&mut (Cow<'_, str>, _)| json::string(&member.0).as_deref() == Some(name);
    let mut found = members.iter_mut().filter(is_named);
    let member = found.next();
    if found.next().is_some() {
        let detail = format!("the text has a duplicate member on the path {:?}", at.as_str());
        return Err(Failure::invalid(detail));
    }
    Ok(member.map(|(_, value)| value))
}

impl fmt::Display for EditableJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for JsonNode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw(json) => f.write_str(json.as_str()),
            Self::Written(json) => f.write_str(json),
            Self::Object(members) => {
                f.write_str("{")?;
                let members = members.iter().filter(|(_, value)| value.is_there());
                for (index, (name, value)) in members.enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{name}:{value}")?;
                }
                f.write_str("}")
            }
            Self::List(entries) => {
                f.write_str("[")?;
                for (index, entry) in entries.iter().filter(|entry| entry.is_there()).enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{entry}")?;
                }
                f.write_str("]")
            }
            Self::Removed => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Pointer {
        Pointer::new(text).unwrap()
    }

    fn written(json: &str) -> JsonNode<'static> {
        JsonNode::Written(json.to_owned())
    }

    #[test]
    fn rejects_duplicate_member_on_the_way() {
        let mut json = EditableJson::read(r#"{"a":"1","\u0061":"2","b":"3","b":"4","c":"5"}"#).unwrap();
        assert!(json.get(&at("/a")).is_err());
        assert!(json.take(&at("/b/x")).is_err());
        assert!(json.put(&at("/b"), written("1")).is_err());
        assert_eq!(json.get(&at("/c")).unwrap().and_then(RawJson::string).as_deref(), Some("5"));
    }

    #[test]
    fn indexes_of_entries_stay_the_same_until_the_text_is_written() {
        let mut json = EditableJson::read("[0, 1, 2, 3]").unwrap();
        for pointer in ["/0", "/2"] {
            assert!(json.take(&at(pointer)).unwrap().is_some());
            assert!(json.take(&at(pointer)).unwrap().is_none());
        }
        json.put(&at("/3"), written("\"x\"")).unwrap();
        json.put(&at("/-"), written("4")).unwrap();
        json.put(&at("/5"), written("5")).unwrap();
        assert!(json.put(&at("/7"), written("7")).is_err());
        assert_eq!(json.to_string(), "[1,\"x\",4,5]");
    }
}
