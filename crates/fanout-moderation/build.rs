//! Builds the lists of `words/` into one automaton, and the table of lookalikes from Unicode's data.
//!
//! A list has sections. A heading names the kinds of what follows and their severities: `[profane=moderate mean=mild]`, or
//! `[safe]` for what never counts. Then come entries, separated by commas or lines:
//!
//! | entry | meaning |
//! | --- | --- |
//! | `word`, `two words` | this word or phrase; a hyphen is the same as a space |
//! | `word{s\|ed\|}` | the word with each of the endings |
//! | `~word~` | any word with this in it |
//! | `word @name` | the word, but not as part of a name: capitalized, beside another capitalized word |

#![expect(clippy::panic, reason = "a fault in a list ends the build")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript as _};
use unicode_security::confusable_detection::skeleton;

/// In the order of the bits of an entry's languages. `emoji` and `safe` belong to all.
const LANGUAGES: [&str; 9] = ["en", "es", "pt", "fr", "de", "it", "ja", "zh", "ru"];
const KINDS: [&str; 4] = ["profane", "offensive", "sexual", "mean"];
const SEVERITIES: [&str; 4] = ["", "mild", "moderate", "severe"];
const NAME: u64 = 1 << 24;
const SAFE: u64 = 1 << 25;
const ALL_LANGUAGES: u64 = 0xffff << 8;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo names it"));
    println!("cargo::rerun-if-changed=words");
    println!("cargo::rerun-if-changed=data");
    let mut words = BTreeMap::new();
    let mut stems = BTreeMap::new();
    for language in LANGUAGES.into_iter().chain(["emoji", "safe"]) {
        let path = Path::new("words").join(language).with_extension("txt");
        let list = fs::read_to_string(&path).expect("the list is there");
        let language = LANGUAGES.iter().position(|code| *code == language);
        let languages = language.map_or(ALL_LANGUAGES, |number| 1 << (8 + number));
        read(&path, &list, languages, &mut words, &mut stems);
    }
    let automaton = Automaton::of(&words);
    let tables = [automaton.tables(), tables(&stems)].concat();
    fs::write(out.join("tables.rs"), tables).expect("it can be written");
}

/// The words as a minimal automaton: each node stands for all ends that it leads to.
#[derive(Default)]
struct Automaton {
    /// The number of the first edge of a node, and the number of its value plus one, or 0.
    nodes: Vec<(usize, usize)>,
    /// The edges of each node, in order: a byte, and the number of the next node.
    edges: Vec<(u8, usize)>,
    values: Vec<u64>,
    known: HashMap<(usize, Vec<(u8, usize)>), usize>,
}

impl Automaton {
    fn of(words: &BTreeMap<String, u64>) -> Self {
        let words: Vec<_> = words.iter().map(|(word, value)| (word.as_bytes(), *value)).collect();
        let mut automaton = Self::default();
        // The last node is the root: each is added after those that it leads to.
        automaton.add(&words, 0);
        automaton
    }

    /// Adds the node that `words` share, which have `depth` bytes in common and are in order.
    fn add(&mut self, words: &[(&[u8], u64)], depth: usize) -> usize {
        let (ended, longer) =
            words.split_at(words.iter().take_while(|(word, _)| word.len() == depth).count());
        let value = ended.first().map_or(0, |(_, value)| self.value(*value));
        let groups = longer.chunk_by(|(one, _), (other, _)| one.get(depth) == other.get(depth));
        let edges: Vec<_> = groups
            .map(|group| {
                let byte = group.first().and_then(|(word, _)| word.get(depth));
                (*byte.expect("the words are longer"), self.add(group, depth + 1))
            })
            .collect();
        if let Some(known) = self.known.get(&(value, edges.clone())) {
            return *known;
        }
        self.nodes.push((self.edges.len(), value));
        self.edges.extend(&edges);
        self.known.insert((value, edges), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn value(&mut self, value: u64) -> usize {
        let known = self.values.iter().position(|known| *known == value);
        known.unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        }) + 1
    }

    /// Writes arrays that compress well: most nodes lead to the one before, and have no value.
    fn tables(&self) -> String {
        let small = |number: usize| u16::try_from(number).expect("the lists are small");
        let ends = self.nodes.iter().map(|(edge, _)| *edge).chain([self.edges.len()]);
        let edges: Vec<_> = ends.map(small).collect();
        let values: Vec<_> =
            self.nodes.iter().map(|(_, value)| u8::try_from(*value).expect("kinds are few")).collect();
        let bytes: Vec<_> = self.edges.iter().map(|(byte, _)| *byte).collect();
        let mut back = Vec::new();
        for (number, (first, end)) in edges.iter().zip(edges.iter().skip(1)).enumerate() {
            let edges = self.edges.get(usize::from(*first)..usize::from(*end)).unwrap_or_default();
            back.extend(edges.iter().map(|(_, node)| small(number - node)));
        }
        format!(
            "/// The number of the first edge of each node, and behind the last.\n\
             pub(crate) static EDGES: [u16; {}] = {edges:?};\n\
             /// The number of the value of each node plus one, or 0.\n\
             pub(crate) static VALUE: [u8; {}] = {values:?};\n\
             /// The byte of each edge.\n\
             pub(crate) static BYTES: [u8; {}] = {bytes:?};\n\
             /// How many nodes before the one that it starts at each edge ends.\n\
             pub(crate) static BACK: [u16; {}] = {back:?};\n\
             pub(crate) static VALUES: [u64; {}] = {:?};\n",
            edges.len(),
            values.len(),
            bytes.len(),
            back.len(),
            self.values.len(),
            self.values
        )
    }
}

fn read(
    path: &Path,
    list: &str,
    languages: u64,
    words: &mut BTreeMap<String, u64>,
    stems: &mut BTreeMap<String, u64>,
) {
    let mut kinds = None;
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(heading) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            kinds = Some(heading.split(' ').map(kind).fold(0, |all, kind| all | kind));
            continue;
        }
        let kinds = kinds.unwrap_or_else(|| panic!("{}: words before a heading", path.display()));
        for entry in line.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (entry, name) = entry.strip_suffix(" @name").map_or((entry, 0), |entry| (entry, NAME));
            let stem = entry.strip_prefix('~').and_then(|entry| entry.strip_suffix('~'));
            for word in expanded(stem.unwrap_or(entry)) {
                let word = word.replace('-', " ").nfkc().flat_map(char::to_lowercase).collect::<String>();
                let word = word.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(!word.is_empty(), "{}: an empty word in `{entry}`", path.display());
                if stem.is_some() {
                    stems.insert(word.clone(), kinds | languages);
                }
                let value = words.entry(word).or_default();
                *value = merged(*value, kinds | languages | name);
            }
        }
    }
}

/// Two entries of one word: the worse severity of each kind, in the languages of both.
fn merged(one: u64, other: u64) -> u64 {
    let kinds = (0..4).map(|kind| (one >> (2 * kind) & 3).max(other >> (2 * kind) & 3) << (2 * kind));
    kinds.fold((one | other) & !0xff, |all, kind| all | kind)
}

fn kind(text: &str) -> u64 {
    if text == "safe" {
        return SAFE;
    }
    let (kind, severity) = text.split_once('=').unwrap_or_else(|| panic!("`{text}` is not KIND=SEVERITY"));
    let kind =
        KINDS.iter().position(|known| *known == kind).unwrap_or_else(|| panic!("unknown kind `{kind}`"));
    let severity = SEVERITIES.iter().skip(1).position(|known| *known == severity);
    let severity = severity.unwrap_or_else(|| panic!("unknown severity in `{text}`")) + 1;
    u64::try_from(severity << (2 * kind)).expect("it is small")
}

/// All words that an entry with `{a|b}` stands for.
fn expanded(entry: &str) -> Vec<String> {
    let Some((before, rest)) = entry.split_once('{') else { return vec![entry.to_owned()] };
    let (choices, after) = rest.split_once('}').unwrap_or_else(|| panic!("`{entry}` lacks a brace"));
    let ends = expanded(after);
    let words =
        choices.split('|').flat_map(|choice| ends.iter().map(move |end| format!("{before}{choice}{end}")));
    words.collect()
}

/// Which letter a character passes for.
fn tables(stems: &BTreeMap<String, u64>) -> String {
    let mut looks: BTreeMap<char, BTreeSet<char>> = BTreeMap::new();
    for character in ('\u{80}'..=char::MAX).filter(|character| character.is_alphabetic()) {
        let mut add = |text: String| {
            let letters: String = text.nfkd().filter(|part| !is_combining_mark(*part)).collect();
            let letter = match letters.to_lowercase().as_str() {
                "rn" => Some('m'),
                letter => letter.chars().next().filter(|_| letter.len() == 1),
            };
            if let Some(letter) = letter.filter(char::is_ascii_lowercase) {
                looks.entry(character).or_default().insert(letter);
            }
        };
        add(character.to_string());
        add(skeleton(&character.to_string()).collect());
        add(skeleton(&character.to_uppercase().to_string()).collect());
    }
    for line in fs::read_to_string("data/looks.txt").expect("the list is there").lines() {
        let Some((letter, characters)) = line.split_once(' ').filter(|(letter, _)| *letter != "#") else {
            continue;
        };
        let letter = letter.chars().next().expect("a line is not empty");
        for character in characters.chars().filter(|character| !character.is_whitespace()) {
            looks.entry(character).or_default().insert(letter);
        }
    }
    // Those that are another shape of an ASCII letter become that letter before.
    looks.retain(|character, _| !character.nfkc().all(|part| part.is_ascii()));
    let mut scripts = Vec::new();
    let mut rows = String::new();
    for (character, letters) in &looks {
        let mut letters: Vec<_> =
            letters.iter().map(|letter| u8::try_from(*letter).expect("it is ASCII")).collect();
        letters.resize(3, 0);
        let script = match character.script() {
            // Chats have the last three as lookalikes only, so that a whole word of them is read as Latin.
            Script::Latin
            | Script::Common
            | Script::Inherited
            | Script::Cherokee
            | Script::Coptic
            | Script::Lisu => 0,
            script => {
                let known = scripts.iter().position(|known| *known == script);
                known.unwrap_or_else(|| {
                    scripts.push(script);
                    scripts.len() - 1
                }) + 1
            }
        };
        writeln!(rows, "    ({character:?}, {letters:?}, {script}),").expect("a string takes all");
    }
    let count = looks.len();
    let mut tables = format!(
        "/// Characters in order, the letters that each passes for, and its alphabet: 0 is Latin.\n\
         pub(crate) static LOOKS: [(char, [u8; 3], u8); {count}] = [\n{rows}];\n\n\
         /// What makes a word count wherever it stands in it.\n\
         pub(crate) static STEMS: [(&str, u64); {}] = [\n",
        stems.len()
    );
    for (stem, value) in stems {
        writeln!(tables, "    ({stem:?}, {value}),").expect("a string takes all");
    }
    tables.push_str("];\n");
    tables
}
