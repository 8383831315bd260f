//! The lists of words, and the search for one of them.
//!
//! The lists are one automaton, made by `build.rs` and part of the binary. A search walks it from each
//! start of a word, along everything that the characters may stand for, and takes the longest entry that ends where a word ends.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::automaton::{STEMS, State};
use crate::codes::codes;
use crate::units::{Class, Unit, units};
use crate::{Counts, Finding};

/// The languages in which `k` often stands for `c` and `z` for `s`: English and Spanish.
const SPELLED_FREELY: u64 = 0b11 << 8;
const ENGLISH: u64 = 1 << 8;
const NAME: u64 = 1 << 24;
const SAFE: u64 = 1 << 25;

/// Shorter words are found in fewer disguises: too many words of some language are like them.
const SHORT: usize = 4;

/// The most signs and spaces between two words of a phrase, and between two letters that stand alone.
const GAP: usize = 3;

/// The longest word, in characters, that is searched for a [stem](STEMS), or whose digits and signs stand for letters.
pub(crate) const LONGEST: usize = 40;

/// A kind of what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Swearing.
    Profane,
    /// Slurs.
    Offensive,
    /// Sexual words.
    Sexual,
    /// Threats and insults.
    Mean,
}

/// How bad a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As `damn` is.
    Mild = 1,
    /// As `shit` is.
    Moderate = 2,
    /// As a slur is.
    Severe = 3,
}

/// The kinds of an entry and their severities, as the lists have them; none for a phrase of an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

/// A language with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English, `en`.
    English,
    /// Spanish, `es`.
    Spanish,
    /// Portuguese, `pt`.
    Portuguese,
    /// French, `fr`.
    French,
    /// German, `de`.
    German,
    /// Italian, `it`.
    Italian,
    /// Japanese, `ja`.
    Japanese,
    /// Chinese, `zh`.
    Chinese,
    /// Russian, `ru`.
    Russian,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Profane, Self::Offensive, Self::Sexual, Self::Mean];

    /// The name, as a file gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Profane => "profane",
            Self::Offensive => "offensive",
            Self::Sexual => "sexual",
            Self::Mean => "mean",
        }
    }
}

impl Severity {
    /// The name, as a file gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mild => "mild",
            Self::Moderate => "moderate",
            Self::Severe => "severe",
        }
    }
}

impl Kinds {
    /// Returns each kind and its severity.
    pub fn iter(self) -> impl Iterator<Item = (Kind, Severity)> {
        Kind::ALL.into_iter().enumerate().filter_map(move |(number, kind)| {
            let severity = match self.0 >> (2 * number) & 3 {
                0 => return None,
                1 => Severity::Mild,
                2 => Severity::Moderate,
                _ => Severity::Severe,
            };
            Some((kind, severity))
        })
    }

    /// Returns the kinds that count.
    pub fn counted(self, counts: Counts) -> impl Iterator<Item = Kind> {
        self.iter()
            .filter(move |(kind, severity)| counts.of(*kind).is_some_and(|from| *severity >= from))
            .map(|it| it.0)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (kind, severity)) in self.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{} {}", kind.name(), severity.name())?;
        }
        Ok(())
    }
}

impl Counts {
    const fn of(self, kind: Kind) -> Option<Severity> {
        match kind {
            Kind::Profane => self.profane,
            Kind::Offensive => self.offensive,
            Kind::Sexual => self.sexual,
            Kind::Mean => self.mean,
        }
    }
}

impl Language {
    /// All of them, in the order of the bits of an entry.
    pub const ALL: [Self; 9] = [
        Self::English,
        Self::Spanish,
        Self::Portuguese,
        Self::French,
        Self::German,
        Self::Italian,
        Self::Japanese,
        Self::Chinese,
        Self::Russian,
    ];

    /// The code of ISO 639-1.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
            Self::Portuguese => "pt",
            Self::French => "fr",
            Self::German => "de",
            Self::Italian => "it",
            Self::Japanese => "ja",
            Self::Chinese => "zh",
            Self::Russian => "ru",
        }
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(code: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|language| language.code() == code).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|language| format!("`{}`", language.code())).collect();
            format!("unknown language {code:?}; expected one of {}", known.join(", "))
        })
    }
}

/// The lists, and what of them counts.
pub(crate) struct Lexicon {
    counts: Counts,
    languages: u64,
}

/// The best match so far from one start.
#[derive(Default)]
struct Best {
    bad: Option<Hit>,
    /// Where the longest entry ends that never counts.
    safe: usize,
}

struct Hit {
    /// The number of the unit behind it.
    end: usize,
    entry: String,
    value: u64,
}

/// A way through the automaton.
#[derive(Clone, Copy)]
struct Way {
    state: State,
    /// The number of the next unit.
    next: usize,
    /// Letters of the entry so far.
    letters: usize,
    /// Letters that stand for similar ones.
    similar: usize,
    seen: Seen,
}

/// Features of a way, as bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen(u8);

impl Seen {
    /// A letter was doubled, or has an accent that the entry lacks.
    const LOOSE: Self = Self(1);
    /// A letter has an accent that makes it another letter in some language: `jøder` are not `joder`.
    const FOREIGN: Self = Self(2);
    /// A sign between letters was passed over.
    const JOINED: Self = Self(4);
    const SPACE: Self = Self(8);
    /// A letter is written once.
    const SINGLE: Self = Self(16);
    /// A letter is written twice that the entry has once: then all are.
    const DOUBLED: Self = Self(32);
    /// A sign hides a letter.
    const HIDDEN: Self = Self(64);

    const fn has(self, bit: Self) -> bool {
        self.0 & bit.0 != 0
    }

    const fn with(self, bit: Self, is_seen: bool) -> Self {
        if is_seen { Self(self.0 | bit.0) } else { self }
    }
}

impl Lexicon {
    pub(crate) fn new(counts: Counts, languages: &[Language]) -> Self {
        let bit = |language: &Language| {
            let number = Language::ALL.iter().position(|known| known == language);
            1 << (8 + number.expect("all are in the list"))
        };
        Self { counts, languages: languages.iter().map(bit).fold(0, |all, bit| all | bit) }
    }

    /// Returns what counts in `text` outside of the `allowed` bytes, in order.
    pub(crate) fn find(&self, text: &str, allowed: &[Range<usize>]) -> Vec<Finding> {
        let mut units = units(text);
        hide(&mut units, &codes(text));
        for at in allowed {
            hide(&mut units, std::slice::from_ref(at));
        }
        let mut found = self.words(&units);
        let spaced = self.spaced(&units);
        if !spaced.is_empty() {
            found.extend(spaced);
            found.sort_by_key(|(at, _)| (at.start, usize::MAX - at.end));
            found.dedup_by(|(next, _), (one, _)| next.end <= one.end);
        }
        let finding = |(at, hit): (Range<usize>, Hit)| {
            let (first, last) = (units.get(at.start)?, units.get(at.end.checked_sub(1)?)?);
            let kinds = Kinds(u8::try_from(hit.value & 0xff).expect("it is one byte"));
            let at = first.start()..last.end();
            Some(Finding { at: vec![at], entry: hit.entry, kinds })
        };
        let mut found: Vec<_> = found.into_iter().filter_map(finding).collect();
        self.spelled(&units, &mut found);
        found
    }

    /// Finds words and phrases. The places are numbers of units.
    fn words(&self, units: &[Unit]) -> Vec<(Range<usize>, Hit)> {
        let mut found = Vec::new();
        let (mut safe, mut start) = (0, 0);
        let mut entry = Vec::new();
        while start < units.len() {
            if !is_start(units, start) {
                start += 1;
                continue;
            }
            let best = self.best(units, start, &mut entry);
            safe = safe.max(best.safe);
            let bad = best.bad.or_else(|| self.stem(units, start)).filter(|hit| hit.end > safe);
            match bad {
                Some(hit) => {
                    let end = hit.end;
                    found.push((start..end, hit));
                    start = end;
                }
                None => start += 1,
            }
        }
        found
    }

    /// Finds words whose letters stand alone, as `f u c k`: all letters of such a row make a word, or all but a pronoun in front.
    fn spaced(&self, units: &[Unit]) -> Vec<(Range<usize>, Hit)> {
        let mut found = Vec::new();
        let mut row: Vec<usize> = Vec::new();
        let mut number = 0;
        while number <= units.len() {
            if stands_alone(units, number) && row.last().is_none_or(|last| is_gap(units, last + 1..number)) {
                row.push(number);
            } else if number == units.len() || units.get(number).is_some_and(Unit::is_wordy) {
                found.extend(self.row(units, &row));
                row.clear();
                if stands_alone(units, number) {
                    row.push(number);
                }
            }
            number += 1;
        }
        found
    }

    /// Finds words whose letters are all apart by the same signs, as `f,u,c,k`. The signs are not a part of it.
    fn spelled(&self, units: &[Unit], found: &mut Vec<Finding>) {
        let is_single = |number: usize| {
            let is_tied = |other: Option<&Unit>| {
                other.is_some_and(|other| other.is_wordy() && other.class != Class::Whole)
            };
            units.get(number).is_some_and(|unit| unit.class == Class::Letter)
                && !is_tied(units.get(number + 1))
                && !is_tied(number.checked_sub(1).and_then(|before| units.get(before)))
        };
        let mut spelled = Vec::new();
        let mut start = 0;
        while start < units.len() {
            let gap = (start + 2..=start + GAP + 1).find(|next| is_single(*next));
            let Some(step) = gap.filter(|_| is_single(start)).map(|next| next - start) else {
                start += 1;
                continue;
            };
            let gap = units.get(start + 1..start + step).unwrap_or_default();
            let is_same = |next: &usize| {
                is_single(*next)
                    && units.get(next + 1 - step..*next).is_some_and(|other| {
                        other.iter().map(|unit| unit.character).eq(gap.iter().map(|unit| unit.character))
                    })
            };
            let row: Vec<_> = (start + step..).step_by(step).take_while(is_same).collect();
            let row: Vec<_> = [start].into_iter().chain(row).collect();
            start += (row.len() - 1) * step;
            let is_code = gap.iter().any(|unit| matches!(unit.character, '"' | '\0'));
            if is_code || row.len() < SHORT {
                continue;
            }
            let word: Vec<_> = row.iter().filter_map(|number| units.get(*number).copied()).collect();
            let Some((from, hit)) = self.whole(&word).filter(|(from, _)| word.len() - from >= SHORT) else {
                continue;
            };
            let at: Vec<_> = word.iter().skip(from).map(|unit| unit.start()..unit.end()).collect();
            let begin = at.first().map_or(0, |at| at.start);
            let before = found.partition_point(|it| it.at.first().is_some_and(|at| at.start <= begin));
            let is_known = before
                .checked_sub(1)
                .and_then(|last| found.get(last))
                .is_some_and(|last| last.at.last().is_some_and(|at| at.end > begin));
            if !is_known {
                let kinds = Kinds(u8::try_from(hit.value & 0xff).expect("it is one byte"));
                spelled.push(Finding { at, entry: hit.entry, kinds });
            }
        }
        if !spelled.is_empty() {
            found.extend(spelled);
            found.sort_by_key(|it| it.at.first().map(|at| at.start));
        }
    }

    fn row(&self, units: &[Unit], row: &[usize]) -> Option<(Range<usize>, Hit)> {
        let word: Vec<_> = row.iter().filter_map(|number| units.get(*number).copied()).collect();
        let (from, hit) = self.whole(&word).filter(|_| row.len() > 2)?;
        Some((*row.get(from)?..row.last()? + 1, hit))
    }

    /// Finds the entry that all these letters make, or all but a pronoun in front.
    fn whole(&self, word: &[Unit]) -> Option<(usize, Hit)> {
        let pronoun = word.first().is_some_and(|unit| matches!(unit.character, 'a' | 'i' | 'u' | 'o' | 'y'));
        let whole =
            |from: usize| self.best(word, from, &mut Vec::new()).bad.filter(|hit| hit.end == word.len());
        let from = usize::from(pronoun);
        let hit = whole(0).map(|hit| (0, hit)).or_else(|| whole(from).map(|hit| (from, hit)));
        hit.or_else(|| self.stem(word, 0).map(|hit| (0, hit)))
    }

    /// Returns the longest entries that begin with the unit `start`.
    fn best(&self, units: &[Unit], start: usize, entry: &mut Vec<u8>) -> Best {
        let mut best = Best::default();
        let way = Way { state: State::start(), next: start, letters: 0, similar: 0, seen: Seen(0) };
        self.read(units, start, way, entry, &mut best);
        best
    }

    /// Goes on behind a letter.
    fn walk(&self, units: &[Unit], start: usize, way: Way, entry: &mut Vec<u8>, best: &mut Best) {
        self.consider(units, start, &way, entry, best);
        let Some(unit) = units.get(way.next) else { return };
        if !way.seen.has(Seen::JOINED)
            && let Some(state) = way.state.step(b" ")
            && is_end(units, way.next)
            && let Some(next) = word_behind(units, way.next)
        {
            entry.push(b' ');
            let seen = way.seen.with(Seen::SPACE, true);
            self.read(units, start, Way { state, next, seen, ..way }, entry, best);
            entry.pop();
        }
        let is_joiner = unit.class == Class::Joiner
            || unit.class == Class::Apostrophe && !is_contraction(units, way.next + 1)
            || unit.class == Class::Sign && !unit.is_read_as_looks;
        let is_between = units.get(way.next - 1).is_some_and(|it| it.class == Class::Letter)
            && units.get(way.next + 1).is_some_and(|it| it.class == Class::Letter);
        if is_joiner && is_between && !way.seen.has(Seen::SPACE) {
            let seen = way.seen.with(Seen::JOINED, true);
            self.read(units, start, Way { next: way.next + 1, seen, ..way }, entry, best);
        }
        let is_letter = |number: usize| units.get(number).is_some_and(|it| it.class == Class::Letter);
        // A word of four letters has two on one side of the sign.
        let is_inside = is_letter(way.next + 2) || way.next > 1 && is_letter(way.next - 2);
        if is_between && is_inside && way.similar == 0 && !is_tied_before(units, start) {
            for letter in hidden_letters(unit) {
                let Some(state) = way.state.step(&[*letter]) else { continue };
                entry.push(*letter);
                let ahead = Way {
                    state,
                    next: way.next + 1,
                    letters: way.letters + 1,
                    similar: 1,
                    seen: way.seen.with(Seen::HIDDEN, true),
                };
                self.walk(units, start, ahead, entry, best);
                entry.pop();
            }
        }
        self.read(units, start, way, entry, best);
    }

    /// Reads the next unit as each of the letters that it may stand for.
    fn read(&self, units: &[Unit], start: usize, way: Way, entry: &mut Vec<u8>, best: &mut Best) {
        let Some(unit) = units.get(way.next) else { return };
        let repeats = || {
            units.iter().skip(way.next).take_while(|other| {
                other.character == unit.character && other.class == unit.class && unit.class == Class::Letter
            })
        };
        let count = repeats().count().max(1);
        let may_be_doubled = match unit.character {
            'a' | 'e' | 'i' | 'u' => true,
            'h' | 'k' | 't' => is_end(units, way.next + count),
            _ => false,
        };
        readings(unit, |reading, how| {
            let Some(state) = way.state.step(reading) else { return };
            let length = entry.len();
            entry.extend_from_slice(reading);
            let is_foreign = matches!(unit.character, 'ø' | 'ö' | 'ä' | 'å' | 'ł' | 'ą' | 'ę');
            let is_accent = how == Reading::Accent;
            let seen = way.seen.with(Seen::LOOSE, is_accent).with(Seen::FOREIGN, is_accent && is_foreign);
            let seen = seen.with(Seen::SINGLE, count == 1);
            let similar = way.similar + usize::from(how == Reading::Similar);
            let next = way.next + count;
            let letters = way.letters + 1;
            let ahead = Way { state, next, letters, similar, seen };
            if count > 1
                && let Some(state) = ahead.state.step(reading)
            {
                entry.extend_from_slice(reading);
                self.walk(units, start, Way { state, letters: ahead.letters + 1, ..ahead }, entry, best);
                entry.truncate(length + reading.len());
            }
            let is_doubled = count == 2 && !may_be_doubled;
            let seen = seen.with(Seen::LOOSE, count == 2).with(Seen::DOUBLED, is_doubled);
            if !(seen.has(Seen::SINGLE) && seen.has(Seen::DOUBLED)) {
                self.walk(units, start, Way { seen, ..ahead }, entry, best);
            }
            entry.truncate(length);
        });
    }

    /// Takes an entry that ends here, if it is longer than what there is.
    fn consider(&self, units: &[Unit], start: usize, way: &Way, entry: &[u8], best: &mut Best) {
        let end = way.next;
        if units.get(end - 1).is_some_and(|last| last.class == Class::Joiner) {
            return;
        }
        let Some(value) = way.state.value() else { return };
        let is_plain = !way.seen.has(Seen::LOOSE) && !way.seen.has(Seen::JOINED) && way.similar == 0;
        if value & self.languages == 0 || !(is_end(units, end) || is_before_number(units, end, way.letters)) {
            return;
        }
        let is_name = value & NAME != 0 && is_name(units, start..end);
        if value & SAFE != 0 || is_name {
            if is_plain {
                best.safe = best.safe.max(end);
            }
            return;
        }
        if !self.counts(value) {
            // A milder word hides what is in it: `kick-ass` has no `ass`.
            let is_spelled_out = |unit: &Unit| match unit.class {
                Class::Letter => !unit.is_read_as_looks,
                class => class == Class::Joiner,
            };
            if !way.seen.has(Seen::SPACE)
                && !way.seen.has(Seen::LOOSE)
                && way.similar == 0
                && units.get(start..end).is_some_and(|word| word.iter().all(is_spelled_out))
            {
                best.safe = best.safe.max(end);
            }
            return;
        }
        let entry = || String::from_utf8(entry.to_vec()).expect("entries are text");
        let hit = || Hit { end, entry: entry(), value };
        if (way.similar == 0 || value & SPELLED_FREELY != 0)
            && (!way.seen.has(Seen::FOREIGN) || value & ENGLISH != 0)
            && best
                .bad
                .as_ref()
                .is_none_or(|bad| bad.end < end || bad.end == end && is_preferred(value, bad.value))
            && (is_plain || way.letters >= SHORT && way.similar < 2)
            && (!way.seen.has(Seen::JOINED) || !way.seen.has(Seen::SPACE) && is_alone(units, start..end))
            && (!way.seen.has(Seen::HIDDEN) || is_hidden_word(units, start..end, value))
            && !is_inside_compound(units, start..end, way.letters)
            && (!is_in_camel_case(units, start..end)
                || way.letters >= SHORT && is_capitalized(units, start..end))
            && !is_part_of_kana(units, start..end)
        {
            best.bad = Some(hit());
        }
    }

    fn counts(&self, value: u64) -> bool {
        Kinds(u8::try_from(value & 0xff).expect("it is one byte")).counted(self.counts).next().is_some()
    }

    /// Finds a word that has one of the [`STEMS`] in it.
    fn stem(&self, units: &[Unit], start: usize) -> Option<Hit> {
        let rest = units.get(start..).unwrap_or_default();
        let is_part = |unit: &&Unit| {
            matches!(unit.class, Class::Letter | Class::Digit)
                || unit.class == Class::Sign && unit.is_read_as_looks
        };
        let count = rest.iter().take(LONGEST + 1).take_while(is_part).count();
        if !(5..=LONGEST).contains(&count) {
            return None;
        }
        let mut word = rest.get(..count)?;
        while let Some((last, before)) = word.split_last() {
            // `!` behind a word ends a sentence.
            if last.class != Class::Sign {
                break;
            }
            word = before;
        }
        // In an identifier case and digits change more often.
        let changes = word
            .windows(2)
            .filter(|pair| matches!(pair, [one, next] if !one.is_upper && next.is_upper))
            .count();
        let digits = word.iter().filter(|unit| unit.class == Class::Digit).count();
        if changes > 2 || digits > 3 {
            return None;
        }
        let mut read = [0; LONGEST];
        let mut length = 0_usize;
        for unit in word {
            let letter = match unit.looks {
                [first, ..] if unit.is_read_as_looks && first != 0 => first,
                _ => u8::try_from(unit.character).unwrap_or_default(),
            };
            let last = length.checked_sub(1).and_then(|last| read.get(last));
            if letter == b'g' || last != Some(&letter) {
                *read.get_mut(length)? = letter;
                length += 1;
            }
        }
        let read = read.get(..length)?;
        let has = |stem: &str| {
            let first = stem.as_bytes().first();
            let mut starts = read.iter().enumerate().filter(|(_, letter)| Some(*letter) == first);
            starts.any(|(start, _)| read.get(start..).is_some_and(|rest| rest.starts_with(stem.as_bytes())))
        };
        let counts = |value: u64| value & self.languages != 0 && self.counts(value);
        let stem = STEMS.iter().find(|(stem, value)| counts(*value) && has(stem));
        stem.map(|(stem, value)| Hit { end: start + word.len(), entry: (*stem).to_owned(), value: *value })
    }
}

/// Hides what is not to be looked at.
fn hide(units: &mut [Unit], places: &[Range<usize>]) {
    let mut number = units.partition_point(|unit| places.first().is_some_and(|at| unit.end() <= at.start));
    for at in places {
        while let Some(unit) = units.get_mut(number).filter(|unit| unit.start() < at.end) {
            if unit.start() >= at.start {
                unit.class = Class::Other;
                unit.character = '\0';
            }
            number += 1;
        }
    }
}

/// How a character is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As what it is, or as a sign or a letter of another alphabet that stands for it.
    Plain,
    /// Without its accent.
    Accent,
    /// As a similar letter.
    Similar,
}

/// The letters that a sign between two others may hide: a vowel as in `f#ck`, or what it looks like.
fn hidden_letters(sign: &Unit) -> &'static [u8] {
    match (sign.class, sign.character) {
        (Class::Sign, '*') if sign.is_read_as_looks => b"hls",
        (Class::Sign, '@' | '$' | '!') if sign.is_read_as_looks => b"aeiou",
        (Class::Joiner, '.' | '-' | '_' | '~' | '^') | (Class::Other, '%' | '&' | '?' | '=') => b"aeiou",
        (Class::Joiner, '+') => b"aeiout",
        (Class::Other, '#') => b"aeiouh",
        (Class::Other, '(' | '<' | '[' | '{') => b"c",
        _ => b"",
    }
}

/// Tells all readings of a unit.
fn readings(unit: &Unit, mut tell: impl FnMut(&[u8], Reading)) {
    match unit.class {
        Class::Space | Class::Joiner | Class::Other => return,
        Class::Apostrophe => return tell(b"'", Reading::Plain),
        Class::Sign if unit.character == '*' && !unit.is_read_as_looks => return tell(b"*", Reading::Plain),
        Class::Digit | Class::Sign => {}
        Class::Letter | Class::Hiragana | Class::Katakana | Class::Whole => {
            tell(unit.character.encode_utf8(&mut [0; 4]).as_bytes(), Reading::Plain);
            let similar = match unit.character {
                'i' if unit.is_upper => b'l',
                'l' => b'i',
                'k' => b'c',
                'z' => b's',
                'v' => b'u',
                _ => 0,
            };
            if similar != 0 {
                tell(&[similar], Reading::Similar);
            }
        }
    }
    if unit.is_read_as_looks {
        let vowels: &[u8] = if unit.character == '*' { b"aeiou" } else { &[] };
        let is_accent = unit.class == Class::Letter && !unit.is_disguise();
        let how = if is_accent { Reading::Accent } else { Reading::Plain };
        for letter in unit.looks.iter().chain(vowels).filter(|letter| **letter != 0) {
            tell(&[*letter], how);
        }
    }
}

/// Returns true if `value` names what is found better than `other`: a disguise as `f*ck` fits words of several languages.
fn is_preferred(value: u64, other: u64) -> bool {
    value & ENGLISH != 0 && other & ENGLISH == 0
}

fn is_start(units: &[Unit], number: usize) -> bool {
    let Some(unit) = units.get(number) else { return false };
    let before = number.checked_sub(1).and_then(|before| units.get(before));
    match unit.class {
        Class::Sign => unit.is_read_as_looks && before.is_none_or(|before| !before.is_wordy()),
        Class::Digit => unit.is_read_as_looks && before.is_none_or(|before| !before.continues(unit)),
        _ => {
            unit.is_wordy()
                && before.is_none_or(|before| {
                    !before.continues(unit) || is_particle(before) || is_case_change(before, unit)
                })
        }
    }
}

/// Returns true if a word ends before the unit `number`.
fn is_end(units: &[Unit], number: usize) -> bool {
    let Some(last) = number.checked_sub(1).and_then(|last| units.get(last)) else { return false };
    let Some(next) = units.get(number) else { return true };
    match last.class {
        Class::Sign => !next.is_wordy(),
        _ => !last.continues(next) || is_particle(next) || is_case_change(last, next),
    }
}

/// Returns true if a word ends between the two by its capitals, as in `StupidName`.
fn is_case_change(one: &Unit, next: &Unit) -> bool {
    one.class == Class::Letter && next.class == Class::Letter && !one.is_upper && next.is_upper
}

/// Returns true if one of the ends of these units is inside a row of letters, at a change of case.
fn is_in_camel_case(units: &[Unit], at: Range<usize>) -> bool {
    let changes = |one: Option<usize>, next: usize| {
        let pair = one.and_then(|one| Some((units.get(one)?, units.get(next)?)));
        pair.is_some_and(|(one, next)| is_case_change(one, next))
    };
    changes(at.start.checked_sub(1), at.start) || changes(at.end.checked_sub(1), at.end)
}

/// Returns true if the word goes on at the unit `start`, behind an apostrophe, as English words do: `who're`.
fn is_contraction(units: &[Unit], start: usize) -> bool {
    let rest = units.get(start..).unwrap_or_default();
    let letters: String = rest
        .iter()
        .take(3)
        .take_while(|unit| unit.class == Class::Letter)
        .map(|unit| unit.character)
        .collect();
    matches!(&*letters, "s" | "d" | "m" | "t" | "re" | "ve" | "ll")
}

/// Returns true if all of these units but the first are in lower case.
fn is_capitalized(units: &[Unit], at: Range<usize>) -> bool {
    units.get(at.start + 1..at.end).is_some_and(|rest| rest.iter().all(|unit| !unit.is_upper))
}

/// Returns true if a short number is behind a word, as in a name: `word12`.
fn is_before_number(units: &[Unit], end: usize, letters: usize) -> bool {
    let behind = units.get(end..).unwrap_or_default();
    let digits = behind.iter().take(5).take_while(|unit| unit.class == Class::Digit).count();
    letters >= SHORT && (1..=4).contains(&digits) && is_end(units, end + digits)
}

/// Returns true for a character that often stands between two words of Japanese.
const fn is_particle(unit: &Unit) -> bool {
    matches!(unit.character, 'の' | 'が' | 'を' | 'は' | 'に' | 'と' | 'で' | 'も' | 'だ' | 'よ' | 'や')
}

/// The number of the unit at which the next word begins, if only spaces and hyphens are before it.
fn word_behind(units: &[Unit], number: usize) -> Option<usize> {
    let behind = units.get(number..)?;
    let gap = behind.iter().take(GAP + 1).take_while(|unit| {
        unit.class == Class::Space
            || unit.class == Class::Joiner && matches!(unit.character, '-' | '_' | '‐' | '‑')
    });
    let gap = gap.count();
    ((1..=GAP).contains(&gap) && is_start(units, number + gap)).then_some(number + gap)
}

fn stands_alone(units: &[Unit], number: usize) -> bool {
    let is_wordy = |number: usize| units.get(number).is_some_and(Unit::is_wordy);
    units.get(number).is_some_and(|unit| unit.class == Class::Letter)
        && !is_wordy(number + 1)
        && (number == 0 || !is_wordy(number - 1))
}

/// Returns true if nothing but spaces and signs is between two letters that stand alone, and no sentence ends there.
fn is_gap(units: &[Unit], between: Range<usize>) -> bool {
    let Some(between) = units.get(between).filter(|between| between.len() <= GAP) else { return false };
    let is_filler = |unit: &Unit| {
        matches!(unit.class, Class::Space | Class::Joiner)
            || unit.class == Class::Sign && unit.character != '!'
    };
    // A hyphen in front of a letter begins an option, as in `-s -s`.
    let is_option = matches!(between, [.., one, last] if one.class == Class::Space && last.character == '-');
    let ends_sentence = between
        .windows(2)
        .any(|pair| matches!(pair, [one, next] if one.character == '.' && next.class == Class::Space));
    !between.is_empty() && between.iter().all(is_filler) && !ends_sentence && !is_option
}

/// Returns true if no sign joins the units with others.
fn is_alone(units: &[Unit], at: Range<usize>) -> bool {
    !is_tied_before(units, at.start) && !is_tied(units.get(at.end), units.get(at.end + 1))
}

/// Returns true if a sign joins the unit `start` with one before it.
fn is_tied_before(units: &[Unit], start: usize) -> bool {
    let before = |distance: usize| start.checked_sub(distance).and_then(|number| units.get(number));
    is_tied(before(1), before(2))
}

fn is_tied(sign: Option<&Unit>, other: Option<&Unit>) -> bool {
    sign.is_some_and(|sign| matches!(sign.class, Class::Joiner | Class::Apostrophe))
        && other.is_some_and(|other| other.is_wordy() || other.class == Class::Sign)
}

/// Returns true if a match with a hidden letter is a word: it ends with a letter, and is not code such as `p.to_string`.
fn is_hidden_word(units: &[Unit], at: Range<usize>, value: u64) -> bool {
    let ends_with_letter = at.end.checked_sub(1).and_then(|last| units.get(last)).is_some_and(Unit::is_wordy);
    value & ENGLISH != 0 && ends_with_letter && is_alone(units, at)
}

/// Returns true if a short word is in the middle of a compound, as in `kitchen-cum-diner`, or in an identifier, as in `SHT_NULL`.
fn is_inside_compound(units: &[Unit], at: Range<usize>, letters: usize) -> bool {
    let is_hyphen = |number: Option<usize>| {
        number.and_then(|number| units.get(number)).is_some_and(|unit| unit.character == '-')
    };
    let is_tied = |sign: Option<&Unit>, other: Option<&Unit>| {
        sign.is_some_and(|sign| sign.character == '_') && other.is_some_and(Unit::is_wordy)
    };
    let before = |distance: usize| at.start.checked_sub(distance).and_then(|number| units.get(number));
    letters < SHORT
        && (is_hyphen(at.start.checked_sub(1)) && is_hyphen(Some(at.end))
            || is_tied(before(1), before(2))
            || is_tied(units.get(at.end), units.get(at.end + 1)))
}

/// Returns true if the units are part of a name: capitalized, beside another capitalized word.
fn is_name(units: &[Unit], at: Range<usize>) -> bool {
    let is_capitalized = |start: usize| {
        units.get(start).is_some_and(|unit| unit.is_upper)
            && units.get(start + 1).is_some_and(|unit| {
                unit.class == Class::Letter && !unit.is_upper
                    || matches!(unit.class, Class::Joiner | Class::Apostrophe)
            })
    };
    if !is_capitalized(at.start) {
        return false;
    }
    let is_space = |number: usize| units.get(number).is_some_and(|unit| unit.class == Class::Space);
    let next = if is_space(at.end) { Some(at.end + 1) } else { None };
    let start_before = |end: usize| {
        let before = units
            .get(..end)?
            .iter()
            .rev()
            .take_while(|unit| unit.is_wordy() || unit.character == '.')
            .count();
        (before > 0).then(|| end - before)
    };
    let before = at.start.checked_sub(1).filter(|space| is_space(*space)).and_then(start_before);
    next.is_some_and(is_capitalized) || before.is_some_and(is_capitalized)
}

/// Returns true if a short word of hiragana is rather a piece of another one: they are written without spaces.
fn is_part_of_kana(units: &[Unit], at: Range<usize>) -> bool {
    let Some(word) = units.get(at.clone()) else { return true };
    let before = at.start.checked_sub(1).and_then(|number| units.get(number)).map(|unit| unit.class);
    let behind = units.get(at.end).map(|unit| unit.class);
    let is_tied = before == Some(Class::Hiragana) || behind == Some(Class::Hiragana);
    word.iter().all(|unit| unit.class == Class::Hiragana)
        && (word.len() < 3 && is_tied || word.len() < 4 && before == Some(Class::Whole))
}
