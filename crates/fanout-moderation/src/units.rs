//! A text as a reader sees it: one unit for each visible character.

use momento_webhook::visible::is_ignorable;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{compose, is_combining_mark};

use crate::automaton::LOOKS;
use crate::lexicon::LONGEST;

/// The most signs in a row that may stand for letters.
const SIGNS_FOR_LETTERS: usize = 3;

/// One visible character, with the marks on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    start: u32,
    end: u32,
    /// The character in lower case, with its accents.
    pub(crate) character: char,
    /// The plain letters that it passes for; 0 where there are fewer.
    pub(crate) looks: [u8; 3],
    pub(crate) class: Class,
    pub(crate) is_upper: bool,
    /// Its alphabet, if that has lookalikes of Latin letters; 0 otherwise.
    alphabet: u8,
    /// True if it may be read as one of `looks`.
    pub(crate) is_read_as_looks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A letter of a script with spaces between words.
    Letter,
    Hiragana,
    Katakana,
    /// A character that is a word by itself: of Chinese, or a picture.
    Whole,
    Digit,
    /// A sign that may stand for a letter.
    Sign,
    Space,
    /// A sign that may stand between letters in a disguise.
    Joiner,
    Apostrophe,
    /// Everything else, and what must not be looked at.
    Other,
}

impl Unit {
    pub(crate) const fn is_wordy(&self) -> bool {
        matches!(self.class, Class::Letter | Class::Digit | Class::Hiragana | Class::Katakana | Class::Whole)
    }

    /// Its first byte in the text.
    pub(crate) fn start(&self) -> usize {
        usize::try_from(self.start).expect("a pointer has 32 bits at least")
    }

    /// The byte behind it.
    pub(crate) fn end(&self) -> usize {
        usize::try_from(self.end).expect("a pointer has 32 bits at least")
    }

    /// Returns true if it is a letter of another alphabet than the word.
    pub(crate) const fn is_disguise(&self) -> bool {
        self.alphabet != 0
    }

    /// Returns true if it and `next` belong to one word.
    pub(crate) const fn continues(&self, next: &Self) -> bool {
        matches!(
            (self.class, next.class),
            (Class::Letter | Class::Digit, Class::Letter | Class::Digit)
                | (Class::Hiragana, Class::Hiragana)
                | (Class::Katakana, Class::Katakana)
        )
    }
}

/// Returns the units of `text`.
pub(crate) fn units(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::with_capacity(text.len());
    let mut end = 0;
    for character in text.chars() {
        let start = end;
        end += u32::try_from(character.len_utf8()).expect("it is 4 at most");
        if character.is_ascii() {
            units.push(ascii(start, character));
            continue;
        }
        if is_ignorable(character) {
            continue;
        }
        if is_combining_mark(character)
            && let Some(base) = units.last_mut().filter(|base| base.is_wordy())
        {
            base.end = end;
            if let Some(composed) = compose(base.character, character) {
                let is_upper = base.is_upper;
                *base = Unit { is_upper, ..other(base.start, end, composed) };
            }
            continue;
        }
        units.push(other(start, end, character));
    }
    resolve(&mut units);
    units
}

fn ascii(start: u32, character: char) -> Unit {
    let byte = u8::try_from(character).unwrap_or_default();
    let none = [0, 0, 0];
    let (class, looks) = match byte {
        b'a'..=b'z' | b'A'..=b'Z' => (Class::Letter, none),
        b'0' => (Class::Digit, [b'o', 0, 0]),
        b'1' => (Class::Digit, *b"il\0"),
        b'3' => (Class::Digit, [b'e', 0, 0]),
        b'4' => (Class::Digit, [b'a', 0, 0]),
        b'5' => (Class::Digit, [b's', 0, 0]),
        b'6' => (Class::Digit, *b"gb\0"),
        b'7' => (Class::Digit, [b't', 0, 0]),
        b'8' => (Class::Digit, [b'b', 0, 0]),
        b'9' => (Class::Digit, [b'g', 0, 0]),
        b'2' => (Class::Digit, none),
        b'@' => (Class::Sign, [b'a', 0, 0]),
        b'$' => (Class::Sign, [b's', 0, 0]),
        b'!' => (Class::Sign, [b'i', 0, 0]),
        b'|' => (Class::Sign, *b"il\0"),
        b'*' => (Class::Sign, none),
        b'.' | b'-' | b'_' | b'~' | b'+' | b'/' | b'\\' | b'^' => (Class::Joiner, none),
        b'\'' => (Class::Apostrophe, none),
        _ if character.is_ascii_whitespace() || character.is_ascii_control() => (Class::Space, none),
        _ => (Class::Other, none),
    };
    Unit {
        start,
        end: start + 1,
        character: character.to_ascii_lowercase(),
        looks,
        class,
        is_upper: character.is_ascii_uppercase(),
        alphabet: 0,
        is_read_as_looks: false,
    }
}

fn other(start: u32, end: u32, character: char) -> Unit {
    let unit = |character: char, looks, class, alphabet| Unit {
        start,
        end,
        character,
        looks,
        class,
        is_upper: false,
        alphabet,
        is_read_as_looks: alphabet == 0 && class == Class::Letter,
    };
    if let Some(letter) = boxed(character) {
        return Unit { end, ..ascii(start, letter) };
    }
    let plain = only(character.nfkc()).unwrap_or(character);
    if plain.is_ascii() {
        return Unit { end, ..ascii(start, plain) };
    }
    let is_upper = plain.is_uppercase();
    let lower = only(plain.to_lowercase()).unwrap_or(plain);
    let sign = match lower {
        '€' => b'e',
        '¢' | '₵' | '©' => b'c',
        '£' => b'l',
        '¥' => b'y',
        '¡' => b'i',
        '§' => b's',
        '†' | '‡' | '₮' => b't',
        '₦' => b'n',
        '₩' => b'w',
        '₭' => b'k',
        '฿' => b'b',
        '®' => b'r',
        _ => 0,
    };
    if sign != 0 {
        return unit(lower, [sign, 0, 0], Class::Sign, 0);
    }
    let class = class(lower);
    let row = LOOKS.binary_search_by_key(&plain, |row| row.0).ok().and_then(|row| LOOKS.get(row));
    match row {
        Some((_, looks, alphabet)) if class == Class::Letter => {
            Unit { is_upper, ..unit(lower, *looks, class, *alphabet) }
        }
        _ => Unit { is_upper, ..unit(lower, [0, 0, 0], class, 0) },
    }
}

fn class(character: char) -> Class {
    match character {
        '‿' | '‗' | '・' | '·' | '․' | '‧' | '•' | '‐' | '‑' | '–' | '—' | '−' => {
            Class::Joiner
        }
        // The blank of Braille looks like a space.
        '\u{2800}' => Class::Space,
        '\u{3041}'..='\u{309f}' => Class::Hiragana,
        '\u{30a0}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' => Class::Katakana,
        '\u{3400}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '○'
        | '●'
        | '〇' => Class::Whole,
        '’' | '‘' | 'ʼ' | '＇' => Class::Apostrophe,
        _ if character.is_alphabetic() => Class::Letter,
        _ if character.is_numeric() => Class::Digit,
        _ if character.is_whitespace() => Class::Space,
        _ => Class::Other,
    }
}

/// The letter in a box, a circle, or half a flag.
fn boxed(character: char) -> Option<char> {
    let first = match character {
        '🅐'..='🅩' => '🅐',
        '🄐'..='🄩' => '🄐',
        '⒜'..='⒵' => '⒜',
        '🅰'..='🆉' => '🅰',
        '🇦'..='🇿' => '🇦',
        _ => return None,
    };
    let distance = u8::try_from(u32::from(character) - u32::from(first)).ok()?;
    Some(char::from(b'a' + distance))
}

fn only(mut characters: impl Iterator<Item = char>) -> Option<char> {
    characters.next().filter(|_| characters.next().is_none())
}

/// Decides for each word which of its characters stand for others.
fn resolve(units: &mut [Unit]) {
    let mut rest = units;
    while !rest.is_empty() {
        let word = Word::at_the_start_of(rest);
        let (units, behind) = rest.split_at_mut(word.length.max(1));
        if word.length > 1 && (word.digits > 0 || word.has_signs || word.is_mixed) {
            word.resolve(units);
        }
        rest = behind;
    }
}

/// The counts of a row of letters, digits and signs.
#[derive(Default)]
struct Word {
    length: usize,
    letters: usize,
    digits: usize,
    has_signs: bool,
    /// True if its letters are of several alphabets.
    is_mixed: bool,
}

impl Word {
    /// Reads to the end of the row, or to more signs than stand for letters.
    fn at_the_start_of(units: &[Unit]) -> Self {
        let mut word = Self::default();
        let mut alphabet = None;
        let mut signs = 0;
        for unit in units {
            let is_sign = unit.class == Class::Sign;
            if signs > SIGNS_FOR_LETTERS && !(is_sign && signs == word.length) {
                word.length -= if signs == word.length { 0 } else { signs };
                break;
            }
            signs = if is_sign { signs + 1 } else { 0 };
            match unit.class {
                Class::Letter => {
                    word.letters += 1;
                    word.is_mixed |= *alphabet.get_or_insert(unit.alphabet) != unit.alphabet;
                }
                Class::Digit => word.digits += 1,
                Class::Sign => word.has_signs = true,
                _ => break,
            }
            word.length += 1;
        }
        word
    }

    fn resolve(&self, units: &mut [Unit]) {
        // Letters of another alphabet beside Latin ones, or of two other alphabets, are Latin ones in disguise.
        let is_like_latin =
            |unit: &Unit| unit.class != Class::Letter || unit.character.is_ascii() || unit.looks != [0; 3];
        let is_disguised = self.is_mixed && units.iter().all(is_like_latin);
        for unit in units.iter_mut() {
            match unit.class {
                Class::Letter => unit.is_read_as_looks |= is_disguised,
                // There are no more digits than letters in a disguise: `A55` is a telephone.
                Class::Digit => {
                    unit.is_read_as_looks = self.digits <= self.letters && self.length <= LONGEST;
                }
                _ => {}
            }
        }
        if self.has_signs && self.length <= LONGEST {
            resolve_signs(units);
        }
    }
}

/// A sign stands for a letter only in company of letters, and not many in a row. An asterisk may be any vowel, and does so
/// alone.
fn resolve_signs(word: &mut [Unit]) {
    // Stars around a word are emphasis.
    let is_star = |unit: Option<&Unit>| unit.is_some_and(|unit| unit.character == '*');
    let is_emphasis = word.len() > 2 && is_star(word.first()) && is_star(word.last());
    let word = if is_emphasis { word.get_mut(1..word.len() - 1).unwrap_or_default() } else { word };
    let mut was_letter = false;
    let mut rest = word;
    while let Some(first) = rest.first() {
        let is_sign = first.class == Class::Sign;
        let count = rest.iter().take_while(|unit| (unit.class == Class::Sign) == is_sign).count();
        let (run, behind) = rest.split_at_mut(count);
        let is_letter = |unit: Option<&Unit>| unit.is_some_and(|unit| unit.class == Class::Letter);
        if is_sign {
            let in_company = was_letter || is_letter(behind.first());
            let is_open = run.len() > 1 && run.iter().any(|unit| unit.character == '*');
            let is_read = run.len() <= SIGNS_FOR_LETTERS && !is_open && in_company;
            for unit in run.iter_mut() {
                unit.is_read_as_looks = is_read;
            }
        }
        was_letter = is_letter(run.last());
        rest = behind;
    }
}
