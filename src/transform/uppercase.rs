//! `uppercase`: every letter upper-case, by Unicode's rules. The text may get longer: `ß` becomes
//! `SS`.

use std::borrow::Cow;

pub(super) fn apply(text: Cow<'_, str>) -> Cow<'_, str> {
    // Only ASCII is looked through in advance: texts with other letters are written anew.
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return text;
    }
    Cow::Owned(text.to_uppercase())
}
