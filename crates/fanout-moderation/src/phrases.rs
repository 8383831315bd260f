//! Words and phrases, and where they stand in a text.
//!
//! They are found as whole words, whatever the case and the shape of their letters: `Straße` is `STRASSE`, a
//! full-width `Ａ` is an `a`, and an accent is the same as one letter or as two characters. What is not seen at all,
//! such as a soft hyphen, is as if it were not there. In scripts that are written without spaces, where a word ends
//! cannot be told: there a phrase is found anywhere.

use std::collections::HashMap;
use std::ops::Range;

use momento_webhook::visible::is_ignorable;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// A list of words and phrases. In a word `*` stands for any letters and digits, or none: `acme*`, `*corp`.
#[derive(Debug, Default)]
pub struct Phrases {
    list: Vec<Phrase>,
    /// Numbers of phrases, by their first piece.
    begun: HashMap<String, Vec<usize>>,
    /// Numbers of the phrases that begin with a pattern.
    open: Vec<usize>,
}

#[derive(Debug)]
struct Phrase {
    /// As it was given.
    entry: String,
    pieces: Vec<Piece>,
}

/// A piece of a phrase, folded.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// With `*` in it.
    Pattern(String),
}

impl Phrases {
    /// Returns the list of these phrases.
    ///
    /// # Errors
    /// If one of them is blank, or has a `*` that stands alone.
    pub fn new(list: &[String]) -> Result<Self, String> {
        let mut phrases = Self::default();
        for entry in list {
            let phrase = Phrase::new(entry)?;
            let number = phrases.list.len();
            match phrase.pieces.first() {
                None => return Err("a list of words has an empty one".to_owned()),
                Some(Piece::Text(first)) => phrases.begun.entry(first.clone()).or_default().push(number),
                Some(Piece::Pattern(_)) => phrases.open.push(number),
            }
            phrases.list.push(phrase);
        }
        Ok(phrases)
    }

    /// Returns true if the list has no phrase.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns true if `phrase` is one of them.
    #[must_use]
    pub fn is(&self, phrase: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let pieces = pieces(phrase.trim());
        let (Some((_, first)), Some((_, last))) = (pieces.first(), pieces.last()) else { return false };
        self.find(phrase.trim()).into_iter().any(|(_, at)| at == (first.start..last.end))
    }

    /// Returns the phrases that stand in `text`, each with its bytes, from the first to the last.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<(&str, Range<usize>)> {
        if self.is_empty() {
            return Vec::new();
        }
        let pieces = pieces(text);
        let mut found = Vec::new();
        for (place, (first, at)) in pieces.iter().enumerate() {
            let numbers = self.begun.get(first).into_iter().flatten().chain(&self.open);
            for phrase in numbers.filter_map(|number| self.list.get(*number)) {
                let Some(there) = pieces.get(place..place + phrase.pieces.len()) else { continue };
                if there.iter().zip(&phrase.pieces).all(|((there, _), piece)| piece.is(there)) {
                    let end = there.last().map_or(at.end, |(_, last)| last.end);
                    found.push((&*phrase.entry, at.start..end));
                }
            }
        }
        found
    }
}

impl Phrase {
    fn new(entry: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut end = None;
        for (piece, at) in pieces(entry.trim()) {
            let is_star = piece == "*";
            let is_word = piece.chars().all(char::is_alphanumeric);
            match parts.last_mut() {
                // A star and a word that touch are one pattern.
                Some(Piece::Text(last))
                    if end == Some(at.start) && is_star && last.chars().all(char::is_alphanumeric) =>
                {
                    let pattern = format!("{last}*");
                    parts.pop();
                    parts.push(Piece::Pattern(pattern));
                }
                Some(Piece::Pattern(last)) if end == Some(at.start) && (is_star || is_word) => {
                    last.push_str(&piece);
                }
                _ if is_star => parts.push(Piece::Pattern(piece)),
                _ => parts.push(Piece::Text(piece)),
            }
            end = Some(at.end);
        }
        let is_bare =
            |piece: &Piece| matches!(piece, Piece::Pattern(pattern) if pattern.chars().all(|it| it == '*'));
        if parts.iter().any(is_bare) {
            return Err(format!(
                "{entry:?} has a `*` that stands alone; expected it in a word, as in `acme*`"
            ));
        }
        Ok(Self { entry: entry.to_owned(), pieces: parts })
    }
}

impl Piece {
    fn is(&self, piece: &str) -> bool {
        match self {
            Self::Text(text) => text == piece,
            Self::Pattern(pattern) => fits(pattern, piece),
        }
    }
}

/// Returns true if a word fits a pattern: `*` stands for any letters and digits.
fn fits(pattern: &str, word: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == word };
    let Some(mut word) = word.strip_prefix(before).filter(|_| word.chars().all(char::is_alphanumeric)) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some((_, behind)) = word.split_once(part) else { return false };
        word = behind;
    }
    word.ends_with(last)
}

/// The words of a text and what is between them, each in the form in which it is compared, and its bytes. Any
/// white space is one blank, and what is not seen is in none.
fn pieces(text: &str) -> Vec<(String, Range<usize>)> {
    if !text.contains(is_ignorable) {
        return visible_pieces(text).collect();
    }
    // It would cut words in two.
    let seen = text.char_indices().filter(|(_, character)| !is_ignorable(*character));
    let mut visible = String::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len());
    for (place, character) in seen {
        visible.push(character);
        places.extend(place..place + character.len_utf8());
    }
    let place = |byte: usize| places.get(byte).copied().unwrap_or(text.len());
    let pieces = visible_pieces(&visible);
    // The end of a piece is behind its last byte, not at the next one that is seen.
    pieces.map(|(piece, at)| (piece, place(at.start)..place(at.end.saturating_sub(1)) + 1)).collect()
}

fn visible_pieces(text: &str) -> impl Iterator<Item = (String, Range<usize>)> {
    let words = text.split_word_bound_indices().flat_map(|(start, word)| {
        // To Unicode `it's`, `a.b` and `a_b` are one word each; here they are three pieces.
        let cuts = word.split_inclusive(joins).flat_map(|part| {
            let joint = part.chars().next_back().filter(|last| joins(*last)).map_or(0, char::len_utf8);
            let (before, joint) = part.split_at_checked(part.len() - joint).unwrap_or((part, ""));
            [before, joint].into_iter().filter(|piece| !piece.is_empty())
        });
        cuts.scan(start, |start, piece| {
            let at = *start..*start + piece.len();
            *start = at.end;
            Some((piece, at))
        })
    });
    let mut was_space = false;
    words.filter_map(move |(piece, at)| {
        let is_space = piece.chars().all(char::is_whitespace);
        let repeats = std::mem::replace(&mut was_space, is_space) && is_space;
        if repeats {
            return None;
        }
        Some((if is_space { " ".to_owned() } else { folded(piece) }, at))
    })
}

fn joins(character: char) -> bool {
    character.is_ascii_punctuation()
        || matches!(character, '’' | '‘' | '·' | '․' | '‧' | '．' | '＇' | '：' | '＿')
}

/// Upper case before lower case: then `ß` is `ss`, and both forms of the small sigma are one. And lower case before
/// that: the capital `ẞ` is its own upper case.
fn folded(piece: &str) -> String {
    if piece.is_ascii() {
        return piece.to_ascii_lowercase();
    }
    let upper = piece.nfkc().flat_map(char::to_lowercase).flat_map(char::to_uppercase);
    let folded = upper.flat_map(char::to_lowercase).nfkc();
    folded.map(|character| if character == '’' { '\'' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'t>(phrase: &str, text: &'t str) -> Vec<&'t str> {
        let phrases = Phrases::new(&[phrase.to_owned()]).unwrap();
        phrases.find(text).into_iter().map(|(_, at)| text.get(at).unwrap()).collect()
    }

    #[test]
    fn whole_words_are_found_in_any_case_and_shape() {
        assert_eq!(
            found("acme", "Acme, ACME! acmes and pacme; acme's (acme_x) ａｃｍｅ"),
            ["Acme", "ACME", "acme", "acme", "ａｃｍｅ"]
        );
        let street = ["STRASSE", "Straße", "strasse", "STRAẞE"];
        assert_eq!(found("straße", "STRASSE Straße strasse STRAẞE"), street);
        assert_eq!(found("STRAẞE", "STRASSE Straße strasse STRAẞE"), street);
        assert_eq!(found("café", "cafe\u{301} CAFÉ cafe"), ["cafe\u{301}", "CAFÉ"]);
        assert_eq!(found("οδος", "ΟΔΟΣ οδός"), ["ΟΔΟΣ"]);
        assert_eq!(found("дурак", "Дурак! дураки"), ["Дурак"]);
        assert_eq!(found("a.b", "a.b A.B a-b ab"), ["a.b", "A.B"]);
        assert_eq!(found("don't", "Don’t don't dont"), ["Don’t", "don't"]);
        assert_eq!(found("🍆", "x🍆y 🍅"), ["🍆"]);
    }

    #[test]
    fn what_is_not_seen_is_not_there() {
        for invisible in ["\u{200b}", "\u{ad}", "\u{2060}", "\u{3164}", "\u{200d}\u{feff}", "\u{e0061}"] {
            let text = format!("an {invisible}ac{invisible}me{invisible} {invisible}corp{invisible}, x");
            assert_eq!(found("acme corp", &text), [format!("ac{invisible}me{invisible} {invisible}corp")]);
            let phrase = format!("{invisible}ac{invisible}me");
            assert_eq!(found(&phrase, "an Acme"), ["Acme"]);
            assert!(Phrases::new(&["acme".to_owned()]).unwrap().is(&phrase));
            assert!(Phrases::new(&[invisible.to_owned()]).is_err());
        }
        assert_eq!(found("👩‍👧", "x 👩‍👧 y"), ["👩‍👧"]);
        assert_eq!(found("می‌خواهم", "من می‌خواهم"), ["می‌خواهم"]);
    }

    #[test]
    fn a_phrase_may_have_any_space_between_its_words() {
        assert_eq!(found(" buy  now ", "Buy\u{a0}\n now, buynow, buy, now"), ["Buy\u{a0}\n now"]);
    }

    #[test]
    fn without_spaces_a_phrase_is_found_anywhere() {
        assert_eq!(found("競合", "これは競合他社の製品"), ["競合"]);
    }

    #[test]
    fn star_stands_for_letters_of_one_word() {
        let text = "Acmes, acme, pacme, an acme's, acme2 ac-me ACMEé a cme";
        assert_eq!(found("acme*", text), ["Acmes", "acme", "acme", "acme2", "ACMEé"]);
        assert_eq!(found("*acme*", text), ["Acmes", "acme", "pacme", "acme", "acme2", "ACMEé"]);
        assert_eq!(found("*acme", text), ["acme", "pacme", "acme"]);
        assert_eq!(
            found("buy *coin now", "Buy bitcoin now, buy coin now, buy coins now"),
            ["Buy bitcoin now", "buy coin now"]
        );
        assert_eq!(found("f*ck", "fck f-ck fork, flack; f*ck"), ["fck", "flack"]);
        for pattern in ["*", "a * b", "**"] {
            assert!(Phrases::new(&[pattern.to_owned()]).unwrap_err().contains("stands alone"), "{pattern}");
        }
    }

    #[test]
    fn an_empty_word_is_refused() {
        assert!(Phrases::new(&["a".to_owned(), " ".to_owned()]).is_err());
        assert!(Phrases::new(&[]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_text(text in "(\\PC|[\\s\u{ad}\u{200b}\u{3164}\u{e0061}])*") {
            let mut end = 0;
            let is_between = |character: char| character.is_whitespace() || is_ignorable(character);
            for (_, at) in pieces(&text) {
                prop_assert!(text.get(end..at.start).unwrap().chars().all(is_between));
                prop_assert!(!text.get(at.clone()).unwrap().is_empty());
                end = at.end;
            }
            prop_assert!(text.get(end..).unwrap().chars().all(is_between));
        }
    }
}
