//! How often ordinary text is taken for something else.
//!
//! The words of a dictionary are read where Debian's package `wamerican` has put them; `.ci/run` installs it.

use std::fs;

use fake::locales;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{moderated, standard};

const DICTIONARY: &str = "/usr/share/dict/american-english";

/// The words of the dictionary that the lists contain, with their forms.
const COUNTED: usize = 200;

fn masked_of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<String> {
    let masked = texts.into_iter().filter(|text| !standard().find(text).is_empty());
    masked.map(ToOwned::to_owned).collect()
}

#[test]
fn dictionary_has_few_words_that_count() {
    let Ok(words) = fs::read_to_string(DICTIONARY) else {
        println!("{DICTIONARY} is missing: nothing to measure");
        return;
    };
    let moderator = standard();
    let mut counted = 0;
    for word in words.lines() {
        let found = moderator.find(word);
        counted += usize::from(!found.is_empty());
        let plain = word.trim_end_matches("'s").to_lowercase();
        for finding in &found {
            // A word counts as itself, or for `fuck` inside; never in its middle, and never as another one.
            assert!(finding.entry == plain || plain.contains("fuck"), "{word}: {finding:?}");
        }
    }
    let total = words.lines().count();
    println!("{counted} of {total} words of the dictionary count");
    assert!(counted <= COUNTED, "{counted}");
    // All words in a row: none counts because of its neighbours.
    let innocent: Vec<_> = words.lines().filter(|word| moderator.find(word).is_empty()).collect();
    for separator in [" ", ", ", ". "] {
        for row in innocent.chunks(50) {
            let text = row.join(separator);
            assert_eq!(moderated(&text), text);
        }
    }
}

#[test]
fn prose_stays_as_it_is() {
    let prose = [
        include_str!("prose.txt"),
        include_str!("../../../../docs/ARCHITECTURE.md"),
        include_str!("../../../../docs/DEPLOYING.md"),
        include_str!("../../../../docs/PERFORMANCE.md"),
    ];
    let prose = prose.concat();
    for text in [
        prose.clone(),
        prose.replace('\'', "’").replace(" \"", " “").replace("\" ", "” ").replace(" - ", " — "),
    ] {
        let masked = masked_of(text.lines());
        println!("{} of {} words of prose", masked.len(), text.split_whitespace().count());
        assert!(masked.is_empty(), "{masked:#?}");
    }
}

#[test]
fn names_stay_as_they_are() {
    use locales::Data;
    fn names<D: Data>() -> Vec<String> {
        let mut names: Vec<_> = D::NAME_LAST_NAME.iter().map(|name| (*name).to_owned()).collect();
        let first = D::NAME_FIRST_NAME;
        names.extend(first.iter().enumerate().map(|(number, name)| {
            format!("{name} {}", D::NAME_LAST_NAME.get(number % D::NAME_LAST_NAME.len()).unwrap())
        }));
        names.extend(D::ADDRESS_COUNTRY.iter().map(|name| (*name).to_owned()));
        names.extend(D::ADDRESS_STATE.iter().map(|name| (*name).to_owned()));
        names
    }
    let mut all = names::<locales::EN>();
    all.extend(names::<locales::FR_FR>());
    all.extend(names::<locales::DE_DE>());
    all.extend(names::<locales::IT_IT>());
    all.extend(names::<locales::PT_BR>());
    all.extend(names::<locales::PT_PT>());
    all.extend(names::<locales::NL_NL>());
    all.extend(names::<locales::TR_TR>());
    all.extend(names::<locales::JA_JP>());
    all.extend(names::<locales::ZH_CN>());
    let masked = masked_of(all.iter().map(String::as_str));
    println!("{} of {} names", masked.len(), all.len());
    assert!(masked.is_empty(), "{masked:?}");
}

const HEX: &str = "0123456789abcdef";
const BASE36: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
const BASE62: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const BASE64: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
const CROCKFORD: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Links, ids, hashes, file names, JSON and code, of a seeded generator.
#[test]
fn codes_stay_as_they_are() {
    let mut random = StdRng::seed_from_u64(2026);
    let mut of = |alphabet: &str, length: usize| -> String {
        let alphabet = alphabet.as_bytes();
        (0..length)
            .map(|_| char::from(*alphabet.get(random.random_range(0..alphabet.len())).unwrap()))
            .collect()
    };
    let mut counts = Vec::new();
    for _ in 0..5000 {
        let uuid = format!("{}-{}-4{}-a{}-{}", of(HEX, 8), of(HEX, 4), of(HEX, 3), of(HEX, 3), of(HEX, 12));
        let texts = [
            ("UUIDs", format!("order {uuid} is late")),
            ("upper-case UUIDs", uuid.to_uppercase()),
            ("SHA-1", format!("fixed in {}", of(HEX, 40))),
            ("short hashes", format!("see {}", of(HEX, 7))),
            ("SHA-256", of(HEX, 64)),
            ("ULIDs", of(CROCKFORD, 26)),
            ("video links", format!("https://youtu.be/{}", of(BASE64, 11))),
            ("bare links", format!("youtu.be/{}", of(BASE64, 11))),
            ("document links", format!("https://docs.google.com/document/d/{}/edit", of(BASE64, 44))),
            ("keys", format!("AKIA{}", of(CROCKFORD, 16))),
            ("base64", format!("{}+{}/{}==", of(BASE62, 12), of(BASE62, 20), of(BASE62, 20))),
            ("tokens", format!("ghp_{}", of(BASE62, 36))),
            (
                "file names",
                format!(
                    "IMG_{}.jpg {}.{}",
                    of("0123456789", 8),
                    of(BASE36, 8),
                    of("abcdefghijklmnopqrstuvwxyz", 3)
                ),
            ),
            (
                "JSON",
                format!(
                    "{{\"id\":\"{}\",\"n\":[{},{}],\"{}\":\"{}\"}}",
                    of(BASE62, 12),
                    of("0123456789", 4),
                    of("0123456789", 2),
                    of("abcd", 2),
                    of(BASE36, 10)
                ),
            ),
            (
                "code",
                format!(
                    "{}[{}] = {}({}, {});",
                    of("abcxyz", 3),
                    of("ijk", 1),
                    of(BASE62, 9),
                    of("stuv", 1),
                    of("0123456789", 2)
                ),
            ),
            (
                "numbers",
                format!(
                    "{}-{}-{} +{} {}",
                    of("0123456789", 4),
                    of("0123456789", 2),
                    of("0123456789", 2),
                    of("0123456789", 2),
                    of("0123456789", 9)
                ),
            ),
            ("cursors", format!("next={}", of(BASE64, 24))),
        ];
        for (number, (kind, text)) in texts.into_iter().enumerate() {
            if counts.len() <= number {
                counts.push((kind, 0));
            }
            if !standard().find(&text).is_empty() {
                println!("{kind}: {text} -> {}", moderated(&text));
                counts[number].1 += 1;
            }
        }
    }
    assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
}
