//! The order in which a text is shown.
//!
//! Letters stand in a text in the order in which they are read, and a reader sees them so, unless the text says
//! otherwise: between U+202E (right-to-left override) and U+202C the last one stands first, so that
//! `\u{202e}kcuf` is seen as another word than it spells. U+202D does the same to Hebrew and Arabic.
//!
//! Letters that are turned upside down, as `ʇᴉɥs`, are read from the end of the word.
//!
//! This is as much of Unicode's bidirectional algorithm (UAX #9) as overrides need: what of embeddings and isolates
//! only moves whole words about is left alone.

use std::collections::BTreeSet;
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// How deep what changes the order may be in one another; what is deeper does nothing (UAX #9, BD2).
const DEEPEST: usize = 125;

/// Letters, and what each is when it is turned upside down.
const TURNED: [(char, char); 30] = [
    ('b', 'q'),
    ('d', 'p'),
    ('l', 'l'),
    ('n', 'u'),
    ('o', 'o'),
    ('p', 'd'),
    ('q', 'b'),
    ('s', 's'),
    ('u', 'n'),
    ('x', 'x'),
    ('z', 'z'),
    ('ı', 'i'),
    ('ƃ', 'g'),
    ('ǝ', 'e'),
    ('ɐ', 'a'),
    ('ɔ', 'c'),
    ('ə', 'e'),
    ('ɟ', 'f'),
    ('ɥ', 'h'),
    ('ɯ', 'm'),
    ('ɹ', 'r'),
    ('ɾ', 'j'),
    ('ʃ', 'l'),
    ('ʇ', 't'),
    ('ʌ', 'v'),
    ('ʍ', 'w'),
    ('ʎ', 'y'),
    ('ʞ', 'k'),
    ('ᴉ', 'i'),
    ('ꞁ', 'l'),
];

/// A text in the order in which it is shown.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The text, without the characters that change the order.
    pub(crate) text: String,
    /// Where its characters, as a reader counts them, came from: their ends here, and their bytes there.
    from: Vec<(usize, Range<usize>)>,
}

/// The text between a character that changes the order and the one that ends it.
#[derive(Default)]
struct Run {
    is_reversed: bool,
    is_isolate: bool,
    /// Characters by their numbers, and runs inside, in the order in which they are shown.
    parts: Vec<Vec<usize>>,
}

impl Run {
    fn shown(mut self) -> Vec<usize> {
        if self.is_reversed {
            self.parts.reverse();
        }
        self.parts.concat()
    }
}

impl Shown {
    /// Returns the text as it is shown, if that is in another order than it stands.
    pub(crate) fn of(text: &str) -> Option<Self> {
        if text.is_ascii() {
            None
        } else if text.contains(['\u{202d}', '\u{202e}']) {
            Some(Self::overridden(text))
        } else {
            Self::turned(text)
        }
    }

    /// Returns the text with each word of turned letters as its reader sees it, if there is one.
    fn turned(text: &str) -> Option<Self> {
        let upright = |character: char| TURNED.iter().find(|(turned, _)| *turned == character).map(|it| it.1);
        let mut shown = Self { text: String::with_capacity(text.len()), from: Vec::new() };
        let mut has_turned = false;
        let characters: Vec<_> = text.char_indices().collect();
        for word in characters.chunk_by(|one, next| upright(one.1).is_some() == upright(next.1).is_some()) {
            let is_turned = word.iter().any(|it| !it.1.is_ascii() && upright(it.1).is_some());
            has_turned |= is_turned;
            let in_order: Vec<_> = if is_turned {
                word.iter().rev().map(|(start, it)| (*start, *it, upright(*it).unwrap_or(*it))).collect()
            } else {
                word.iter().map(|(start, it)| (*start, *it, *it)).collect()
            };
            for (start, from, to) in in_order {
                shown.text.push(to);
                shown.from.push((shown.text.len(), start..start + from.len_utf8()));
            }
        }
        has_turned.then_some(shown)
    }

    /// Returns the text in the order that its overrides make.
    fn overridden(text: &str) -> Self {
        let characters: Vec<_> = text.grapheme_indices(true).collect();
        let mut runs = vec![Run::default()];
        let mut too_deep = 0_usize;
        for (number, (_, character)) in characters.iter().enumerate() {
            let run = |is_reversed, is_isolate| Run { is_reversed, is_isolate, parts: Vec::new() };
            let opened = match character.chars().next() {
                Some('\u{202d}' | '\u{202e}') => run(true, false),
                Some('\u{202a}' | '\u{202b}') => run(false, false),
                Some('\u{2066}'..='\u{2068}') => run(false, true),
                Some('\u{202c}') => {
                    if too_deep > 0 {
                        too_deep -= 1;
                    } else if runs.last().is_some_and(|run| !run.is_isolate) {
                        close(&mut runs);
                    }
                    continue;
                }
                Some('\u{2069}') => {
                    while let Some(run) = runs.iter().rposition(|run| run.is_isolate) {
                        let is_it = run + 1 == runs.len();
                        close(&mut runs);
                        if is_it {
                            break;
                        }
                    }
                    continue;
                }
                Some('\n' | '\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2029}') => {
                    while runs.len() > 1 {
                        close(&mut runs);
                    }
                    too_deep = 0;
                    add(&mut runs, vec![number]);
                    continue;
                }
                _ => {
                    add(&mut runs, vec![number]);
                    continue;
                }
            };
            if runs.len() > DEEPEST {
                too_deep += 1;
            } else {
                runs.push(opened);
            }
        }
        while runs.len() > 1 {
            close(&mut runs);
        }
        let order = runs.pop().map(Run::shown).unwrap_or_default();
        let mut shown = Self { text: String::with_capacity(text.len()), from: Vec::new() };
        for (start, character) in order.into_iter().filter_map(|number| characters.get(number)) {
            shown.text.push_str(character);
            shown.from.push((shown.text.len(), *start..start + character.len()));
        }
        shown
    }

    /// Where the characters came from that have to do with these places; both have them in their order.
    pub(crate) fn came_from(&self, places: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut found = BTreeSet::new();
        for place in places {
            let first = self.from.partition_point(|(end, _)| *end <= place.start);
            for (end, from) in self.from.iter().skip(first) {
                found.insert((from.start, from.end));
                if *end >= place.end {
                    break;
                }
            }
        }
        found.into_iter().map(|(start, end)| start..end).collect()
    }
}

fn add(runs: &mut [Run], part: Vec<usize>) {
    if let Some(run) = runs.last_mut() {
        run.parts.push(part);
    }
}

/// Ends the innermost run; the text itself has no end but its own.
fn close(runs: &mut Vec<Run>) {
    if runs.len() > 1
        && let Some(run) = runs.pop()
    {
        add(runs, run.shown());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Option<String> {
        Shown::of(text).map(|shown| shown.text)
    }

    #[test]
    fn what_is_overridden_is_turned_round() {
        for (text, wanted) in [
            ("abc", None),
            ("\u{202b}abc\u{202c}", None),
            ("\u{202e}cba", Some("abc")),
            ("a\u{202e}cb\u{202c}d", Some("abcd")),
            ("a\u{202e}cb\u{202c}\u{202c}d\u{2069}e", Some("abcde")),
            ("\u{202e}e\u{301}d", Some("de\u{301}")),
            // A new line begins anew.
            ("\u{202e}cba\nxyz", Some("abc\nxyz")),
            // What is inside is one part of what is around it.
            ("\u{202e}d\u{202a}bc\u{202c}a", Some("abcd")),
            ("\u{202e}d\u{202e}cb\u{202c}a", Some("abcd")),
            ("\u{202e}d\u{2066}b\u{202c}c\u{2069}a\u{202c}e", Some("abcde")),
        ] {
            assert_eq!(shown(text).as_deref(), wanted, "{text:?}");
        }
        let deep = format!("{}ab{}cd", "\u{202e}".repeat(50_000), "\u{202c}".repeat(50_000));
        assert_eq!(shown(&deep).unwrap(), "bacd");
    }

    #[test]
    fn words_of_turned_letters_are_read_from_their_end() {
        for (text, wanted) in [
            ("ʞɔnɟ", Some("fuck")),
            ("so ʇᴉɥs, ʎssnd", Some("so shit, pussy")),
            ("no turned letters in café", None),
        ] {
            assert_eq!(shown(text).as_deref(), wanted, "{text}");
        }
        let word = std::slice::from_ref(&(2..6));
        assert_eq!(Shown::of("a ʇᴉɥs").unwrap().came_from(word), [2..4, 4..7, 7..9, 9..10]);
    }

    #[test]
    fn places_are_those_of_the_text() {
        let shown = Shown::of("a\u{202e}é\u{301}b\u{202c}").unwrap();
        assert_eq!(shown.text, "abé\u{301}");
        assert_eq!(shown.came_from(&[0..1, 1..2, 2..6]), [0..1, 4..8, 8..9]);
        assert_eq!(shown.came_from(&[0..2, 1..2]), [0..1, 8..9]);
        assert_eq!(shown.came_from(&[]), []);
    }

    proptest! {
        #[test]
        fn no_character_is_lost(text in "[ab\n\u{301}\u{202a}-\u{202e}\u{2066}-\u{2069}👩\u{200d}]{0,30}") {
            let Some(shown) = Shown::of(&text) else { return Ok(()) };
            let is_control = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let mut all: Vec<_> = text.chars().filter(|character| !is_control(*character)).collect();
            let mut there: Vec<_> = shown.text.chars().collect();
            all.sort_unstable();
            there.sort_unstable();
            prop_assert_eq!(all, there);
            let places = shown.came_from(std::slice::from_ref(&(0..shown.text.len())));
            let kept: String = places.iter().map(|place| text.get(place.clone()).unwrap()).collect();
            prop_assert_eq!(kept.chars().count(), shown.text.chars().count());
        }
    }
}
