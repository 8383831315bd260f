//! Services that classify a text by what is toxic in it, for `moderate`.
//!
//! A service is behind the trait [`Classifier`], and has a name that a configuration uses: `comprehend` is Amazon Comprehend.

use std::fmt;
use std::ops::Range;

use futures_util::future::{BoxFuture, ready};
use tokio::time::Instant;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::reason::Failure;

/// The maximum size in bytes of a segment (`DetectToxicContent` in the API reference of Amazon Comprehend).
pub const MAX_SEGMENT_BYTES: usize = 1024;

/// The maximum number of segments in one call (the same page).
pub const MAX_SEGMENTS: usize = 10;

/// A service that classifies texts. It retries transient failures itself.
pub trait Classifier: fmt::Debug + Send + Sync {
    /// Returns the labels of each segment, in order. The caller may drop the future at any time, and does at the deadline.
    fn classify<'c>(
        &'c self,
        request: ClassificationRequest<'c>,
    ) -> BoxFuture<'c, Result<Vec<Vec<Label>>, Failure>>;
}

/// A request to classify segments of a text.
#[derive(Clone, Copy)]
pub struct ClassificationRequest<'c> {
    /// The segments: 1 to [`MAX_SEGMENTS`], each of 1 to [`MAX_SEGMENT_BYTES`].
    pub segments: &'c [&'c str],
    /// The time at which the caller stops waiting.
    pub deadline: Instant,
}

/// A category of what is toxic in a segment, and how sure the service is.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The name, in lower case: `hate_speech`.
    pub name: String,
    /// The score, from 0 to 1.
    pub score: f32,
}

/// Finds nothing toxic. It stands in for a service where none may be called: in `fanout check` and `fanout dev` without `--aws`.
#[derive(Clone, Copy, Debug)]
pub struct NoClassifier;

impl Classifier for NoClassifier {
    fn classify<'c>(
        &'c self,
        request: ClassificationRequest<'c>,
    ) -> BoxFuture<'c, Result<Vec<Vec<Label>>, Failure>> {
        Box::pin(ready(Ok(vec![Vec::new(); request.segments.len()])))
    }
}

/// Does not show the segments, which are parts of a user's message.
impl fmt::Debug for ClassificationRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassificationRequest")
            .field("segments", &format_args!("<{}>", self.segments.len()))
            .field("deadline", &self.deadline)
            .finish()
    }
}

/// Returns the bytes of the segments of a text: as many sentences as fit into one, or words, or characters. A segment has more
/// than white space.
pub(super) fn segments(text: &str) -> Vec<Range<usize>> {
    let mut segments: Vec<Range<usize>> = Vec::new();
    for (start, sentence) in text.split_sentence_bound_indices() {
        if sentence.len() <= MAX_SEGMENT_BYTES {
            append(&mut segments, start..start + sentence.len());
            continue;
        }
        for (from, word) in sentence.split_word_bound_indices() {
            if word.len() <= MAX_SEGMENT_BYTES {
                append(&mut segments, start + from..start + from + word.len());
                continue;
            }
            for (at, character) in word.char_indices() {
                let begin = start + from + at;
                append(&mut segments, begin..begin + character.len_utf8());
            }
        }
    }
    let is_blank = |at: &Range<usize>| text.get(at.clone()).is_none_or(|text| text.trim().is_empty());
    segments.retain(|at| !is_blank(at));
    segments
}

fn append(segments: &mut Vec<Range<usize>>, next: Range<usize>) {
    match segments.last_mut().filter(|last| next.end - last.start <= MAX_SEGMENT_BYTES) {
        Some(last) => last.end = next.end,
        None => segments.push(next),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn segments_end_at_sentences_words_or_characters() {
        assert_eq!(segments(""), []);
        assert_eq!(segments(" \n "), []);
        assert_eq!(segments("Hello. You there!"), [Range { start: 0, end: 17 }]);
        let sentence = format!("{}. ", "a".repeat(600));
        assert_eq!(segments(&sentence.repeat(2)), [0..602, 602..1204]);
        let words = "word ".repeat(300);
        assert_eq!(segments(&words), [0..1024, 1024..1500]);
        assert_eq!(segments(&"é".repeat(600)), [0..1024, 1024..1200]);
    }

    proptest! {
        #[test]
        fn segments_hold_all_but_white_space(text in "(\\PC|[a-z. \n]{0,400}|x{900}){0,6}") {
            let mut end = 0;
            for at in segments(&text) {
                prop_assert!((1..=MAX_SEGMENT_BYTES).contains(&at.len()));
                prop_assert!(text.get(end..at.start).is_some_and(|between| between.trim().is_empty()));
                prop_assert!(text.get(at.clone()).is_some());
                end = at.end;
            }
            prop_assert!(text.get(end..).is_some_and(|rest| rest.trim().is_empty()));
        }
    }
}
