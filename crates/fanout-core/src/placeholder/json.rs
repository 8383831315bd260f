//! One member of a JSON text, read without the rest.
//!
//! What is beside the member does not matter: a number of forty digits, half of a surrogate pair or a thousand
//! nested lists need no place in a tree of values.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Returns the JSON behind `steps` (names of members, numbers of entries), as it was sent; nothing if `text` is not
/// JSON or has no such member. Of a member that is given twice, the last one counts.
pub(crate) fn member<'t>(text: &'t str, steps: &[String]) -> Option<&'t str> {
    let mut json = serde_json::from_str::<&RawValue>(text).ok()?.get();
    for step in steps {
        if !json.starts_with(['{', '[']) {
            return None;
        }
        json = serde_json::Deserializer::from_str(json).deserialize_any(Find(step)).ok()??;
    }
    Some(json)
}

/// Returns the text of a JSON string; nothing for other JSON, and for half of a surrogate pair.
pub(crate) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// Returns the number of a list's entry: digits, without a zero in front.
pub(crate) fn index(step: &str) -> Option<usize> {
    let is_index = step == "0" || !step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit());
    step.parse().ok().filter(|_| is_index)
}

/// Finds the member or entry of this name.
struct Find<'s>(&'s str);

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            if string(key.get()).as_deref() == Some(self.0) {
                found = Some(value.get());
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut found, wanted) = (None, index(self.0));
        let mut number = 0;
        while let Some(entry) = list.next_element::<&RawValue>()? {
            if wanted == Some(number) {
                found = Some(entry.get());
            }
            number += 1;
        }
        Ok(found)
    }
}
