//! Finds profanity and abuse in a text, disguised or not, and leaves the rest alone.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `units` | a text as a reader sees it: one unit for each visible character |
//! | `automaton` | the lists of words, as `build.rs` makes them |
//! | `codes` | addresses, paths, file names and codes, which are not words |
//! | `lexicon` | the lists of words, and the search for one of them |
//! | [`phrases`] | the words and phrases of an operator |
//! | `shown` | the order in which a text is shown |
//!
//! A match is a word or a phrase: it begins and ends at word boundaries, once its disguise is undone. Nothing in here does I/O,
//! and nothing is built at start: the lists are an automaton inside the binary.

use std::ops::Range;

use momento_webhook::visible::is_ignorable;
use unicode_segmentation::UnicodeSegmentation as _;

mod automaton;
mod codes;
mod lexicon;
pub mod phrases;
mod shown;
mod units;

use lexicon::Lexicon;
pub use lexicon::{Kind, Kinds, Language, Severity};
use phrases::Phrases;
use shown::Shown;

/// Finds what counts in a text.
#[derive(Debug)]
pub struct Moderator {
    /// The severity from which on each kind counts.
    pub counts: Counts,
    /// The languages whose lists count.
    pub languages: Vec<Language>,
    /// Words and phrases that never count.
    pub allow: Phrases,
    /// Words and phrases that always count.
    pub deny: Phrases,
}

/// The severity from which on a kind counts; a kind without one does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Swearing.
    pub profane: Option<Severity>,
    /// Slurs.
    pub offensive: Option<Severity>,
    /// Sexual words.
    pub sexual: Option<Severity>,
    /// Threats and insults.
    pub mean: Option<Severity>,
}

/// A word or phrase that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its bytes, in order. There are several where the text is shown in another order than it stands.
    pub at: Vec<Range<usize>>,
    /// The entry of the lists, or the phrase of the operator.
    pub entry: String,
    /// The kinds of the entry. A phrase of the operator has none.
    pub kinds: Kinds,
}

/// How often a text is searched again after something in it was masked, so that no text takes long.
const MOST_ROUNDS: usize = 8;

impl Moderator {
    /// Returns `text` with `mask` in place of each character of what counts, and of what counts only then: letters
    /// that stand alone may make a word once others beside them are masked. So nothing counts in the result.
    ///
    /// `findings` are those of [`find`](Self::find).
    #[must_use]
    pub fn mask(&self, text: &str, findings: &[Finding], mask: char) -> String {
        let mut result = masked(text, findings, mask);
        for _ in 0..MOST_ROUNDS {
            let next = masked(&result, &self.find(&result), mask);
            if next == result {
                break;
            }
            result = next;
        }
        result
    }

    /// Returns what counts in `text`, in order.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Finding> {
        let mut found = self.find_as_it_stands(text);
        if let Some(shown) = Shown::of(text) {
            // Both count: the text as it is shown, and as a screen reader says it.
            let seen = self.find_as_it_stands(&shown.text);
            found.extend(seen.into_iter().map(|it| Finding { at: shown.came_from(&it.at), ..it }));
            found.sort_by_key(|it| it.at.first().map(|at| at.start));
            found.dedup_by(|next, one| next.at == one.at);
        }
        found
    }

    fn find_as_it_stands(&self, text: &str) -> Vec<Finding> {
        let denied = self.deny.find(text).into_iter();
        let mut found: Vec<_> = denied
            .map(|(entry, at)| Finding { at: vec![at], entry: entry.to_owned(), kinds: Kinds::default() })
            .collect();
        if self.counts != Counts::default() {
            let allowed: Vec<_> = self.allow.find(text).into_iter().map(|(_, at)| at).collect();
            let lexicon = Lexicon::new(self.counts, &self.languages);
            let listed = lexicon.find(text, &allowed).into_iter().filter(|it| !self.allow.is(&it.entry));
            found.extend(listed);
            found.sort_by_key(|it| it.at.first().map(|at| at.start));
        }
        found
    }
}

/// Returns `text` with `mask` in place of each character of the findings. White space and invisible characters stay.
#[must_use]
pub fn masked(text: &str, findings: &[Finding], mask: char) -> String {
    let mut places: Vec<_> = findings.iter().flat_map(|it| &it.at).map(|at| (at.start, at.end)).collect();
    places.sort_unstable();
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for (start, stop) in places {
        let start = start.max(end);
        let Some(bad) = text.get(start..stop.max(start)) else { continue };
        masked.push_str(text.get(end..start).expect("a finding begins at a character"));
        if bad.is_ascii() {
            let mask = |part: char| if part.is_ascii_whitespace() { part } else { mask };
            masked.extend(bad.chars().map(mask));
        } else {
            for character in bad.graphemes(true) {
                if character.chars().all(|part| part.is_whitespace() || is_ignorable(part)) {
                    masked.push_str(character);
                } else {
                    masked.push(mask);
                }
            }
        }
        end = start + bad.len();
    }
    masked.push_str(text.get(end..).expect("a finding ends at a character"));
    masked
}
