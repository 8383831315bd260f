//! `truncate`: cuts a text to a number of characters or bytes.
//!
//! ```toml
//! transforms = [{ truncate = { characters = 280, ellipsis = "…" } }]
//! ```
//!
//! A character is an extended grapheme cluster: an emoji of several parts, a letter with its accents, or a syllable of
//! Hindi or Korean. It is never cut in two. If the first one is larger than `bytes`, the text becomes empty.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings};

/// At least one of `characters` and `bytes` is needed. With both, both limits apply.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TruncateSettings {
    /// The maximum number of characters (extended grapheme clusters). Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    characters: Option<NonZeroUsize>,
    /// The maximum number of bytes in UTF-8. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<NonZeroUsize>,
    /// The end of a text that was cut. It counts towards the limits. Default: empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ellipsis: String,
}

#[derive(Debug)]
struct TruncateLimits {
    /// The limit of a text that is not cut.
    whole: Limit,
    /// The limit of a text that is cut, without its ellipsis.
    cut: Limit,
    ellipsis: String,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    characters: usize,
    bytes: usize,
}

impl TransformSettings for TruncateSettings {
    const NAME: &'static str = "truncate";

    fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        if self.characters.is_none() && self.bytes.is_none() {
            return Err("`truncate` needs `characters`, `bytes` or both".to_owned());
        }
        let limit = |limit: Option<NonZeroUsize>| limit.map_or(usize::MAX, NonZeroUsize::get);
        let whole = Limit { characters: limit(self.characters), bytes: limit(self.bytes) };
        let ellipsis =
            Limit { characters: self.ellipsis.graphemes(true).count(), bytes: self.ellipsis.len() };
        let left = |limit: usize, ellipsis: usize, of: &str| {
            let over = || format!("`ellipsis` alone has {ellipsis} {of}, more than the limit of {limit}");
            limit.checked_sub(ellipsis).ok_or_else(over)
        };
        let cut = Limit {
            characters: left(whole.characters, ellipsis.characters, "characters")?,
            bytes: left(whole.bytes, ellipsis.bytes, "bytes")?,
        };
        Ok(Arc::new(TruncateLimits { whole, cut, ellipsis: self.ellipsis }))
    }
}

impl Transform for TruncateLimits {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        let Message { text, language, found } = message;
        Message { text: self.truncate(text), language, found }.done()
    }
}

impl TruncateLimits {
    fn truncate<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let fits = self.whole.of(&text);
        if fits.len() == text.len() {
            return text;
        }
        let cut = self.cut.of(&text);
        if !self.ellipsis.is_empty() {
            // An ellipsis that joins the character before it, such as an accent, only makes fewer characters.
            return Cow::Owned([cut, &self.ellipsis].concat());
        }
        let end = cut.len();
        match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).expect("the cut ends at a character")),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        }
    }
}

impl Limit {
    /// Returns the longest beginning of `text` within the limit.
    fn of(self, text: &str) -> &str {
        // A character has at least one byte.
        if text.len() <= self.bytes.min(self.characters) {
            return text;
        }
        let ends = text.grapheme_indices(true).map(|(start, character)| start + character.len());
        let end = ends.take(self.characters).take_while(|end| *end <= self.bytes).last();
        text.get(..end.unwrap_or(0)).expect("a grapheme cluster ends at a character")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transform::tests::{faulty, text};

    fn limits(characters: usize, bytes: usize, ellipsis: &str) -> Option<TruncateLimits> {
        let left = |limit: usize, length| limit.checked_sub(length);
        let cut = Limit {
            characters: left(characters, ellipsis.graphemes(true).count())?,
            bytes: left(bytes, ellipsis.len())?,
        };
        Some(TruncateLimits { whole: Limit { characters, bytes }, cut, ellipsis: ellipsis.to_owned() })
    }

    #[tokio::test]
    async fn cuts_between_grapheme_clusters() {
        let three = "[{ truncate = { characters = 3 } }]";
        assert_eq!(text(three, "héllo").await, "hél");
        assert_eq!(text(three, "he\u{301}llo").await, "he\u{301}l");
        assert_eq!(text(three, "👩‍👩‍👧👍🏽🇩🇪x").await, "👩‍👩‍👧👍🏽🇩🇪");
        assert_eq!(text(three, "नमस्ते दुनिया").await, "नमस्ते");
        assert_eq!(text(three, "a\r\nbc").await, "a\r\nb");
        assert_eq!(text(three, "").await, "");
    }

    #[tokio::test]
    async fn cuts_no_character_at_byte_limit() {
        let eight = "[{ truncate = { bytes = 8 } }]";
        assert_eq!(text(eight, "ééééé").await, "éééé");
        assert_eq!(text(eight, "aéééé").await, "aééé");
        assert_eq!(text(eight, "👩‍👩‍👧").await, "");
        assert_eq!(text("[{ truncate = { bytes = 8, ellipsis = '…' } }]", "👩‍👩‍👧").await, "…");
        assert_eq!(text("[{ truncate = { bytes = 8, characters = 2 } }]", "éa👩‍👩‍👧").await, "éa");
    }

    #[tokio::test]
    async fn counts_ellipsis_towards_limit() {
        let list = "[{ truncate = { characters = 6, ellipsis = '...' } }]";
        assert_eq!(text(list, "Guten Tag").await, "Gut...");
        assert_eq!(text(list, "Guten!").await, "Guten!");
        let list = "[{ truncate = { characters = 1, ellipsis = '…' } }]";
        assert_eq!(text(list, "Guten Tag").await, "…");
    }

    #[test]
    fn does_not_copy_text_that_fits() {
        for limits in [limits(5, usize::MAX, "…"), limits(usize::MAX, 6, "")] {
            assert!(matches!(limits.unwrap().truncate(Cow::Borrowed("héllo")), Cow::Borrowed("héllo")));
        }
        let cut = limits(2, usize::MAX, "").unwrap();
        assert!(matches!(cut.truncate(Cow::Borrowed("héllo")), Cow::Borrowed("hé")));
        assert_eq!(cut.truncate(Cow::Owned("héllo".to_owned())), "hé");
    }

    #[test]
    fn rejects_invalid_limits() {
        for (list, wanted) in [
            ("['truncate']", "needs `characters`, `bytes`"),
            ("[{ truncate = { ellipsis = '…' } }]", "needs `characters`, `bytes`"),
            ("[{ truncate = { characters = 0 } }]", "an integer, 1 or more"),
            ("[{ truncate = { bytes = -1 } }]", "an integer, 1 or more"),
            (
                "[{ truncate = { bytes = 2, ellipsis = '…' } }]",
                "`ellipsis` alone has 3 bytes, more than the limit of 2",
            ),
            (
                "[{ truncate = { characters = 2, bytes = 9, ellipsis = '...' } }]",
                "alone has 3 characters, more than the limit of 2",
            ),
        ] {
            let faults = faulty(list).unwrap_err();
            assert!(faults[0].1.contains(wanted), "{list}: {faults:?}");
        }
    }

    proptest! {
        #[test]
        fn returns_longest_beginning_that_fits(
            text in "[a-cé\u{301}👩👧🇩🇪\u{200d}\u{fe0f}\r\nक्ष각]{0,24}",
            characters in 1_usize..12,
            bytes in 1_usize..40,
            ellipsis in prop::sample::select(vec!["", "…", "...", " \u{301}"]),
        ) {
            let Some(limits) = limits(characters, bytes, ellipsis) else { return Ok(()) };
            let result = limits.truncate(Cow::Borrowed(&text));
            prop_assert!(result.graphemes(true).count() <= characters);
            prop_assert!(result.len() <= bytes);
            prop_assert_eq!(&limits.truncate(result.clone()), &result);
            if result == text {
                return Ok(());
            }
            let kept = result.strip_suffix(ellipsis).unwrap();
            let ends: Vec<_> = text.grapheme_indices(true).map(|(start, it)| start + it.len()).collect();
            prop_assert!(text.starts_with(kept));
            prop_assert!(kept.is_empty() || ends.contains(&kept.len()));
            // The next character would not have fitted.
            let count = ends.iter().filter(|end| **end <= kept.len()).count();
            let next = ends[count];
            let limit = limits.cut;
            prop_assert!(count + 1 > limit.characters || next > limit.bytes);
            // And the text did not fit as a whole.
            prop_assert!(ends.len() > characters || text.len() > bytes);
        }

        #[test]
        fn fits_any_text(text in ".*", characters in 1_usize..20) {
            let limits = limits(characters, usize::MAX, "").unwrap();
            let result = limits.truncate(Cow::Borrowed(&text));
            prop_assert_eq!(result.graphemes(true).count(), characters.min(text.graphemes(true).count()));
        }
    }
}
