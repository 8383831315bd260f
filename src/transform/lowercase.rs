//! `lowercase`: every letter lower-case, by Unicode's rules; a sigma at the end of a word becomes `ς`.

use std::borrow::Cow;

pub(super) fn apply(text: Cow<'_, str>) -> Cow<'_, str> {
    // Only ASCII is looked through in advance: texts with other letters are written anew.
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return text;
    }
    Cow::Owned(text.to_lowercase())
}
