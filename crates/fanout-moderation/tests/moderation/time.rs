//! How long hard texts take.

use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::standard;

/// Texts that are hard on a list of words: what is like many of them at once.
fn hard(length: usize) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(1);
    let alphabets = [
        "0123456789@$!|()+ ",
        "@$!|*1",
        "a1",
        "s1t!|*5h",
        "liuvkcz",
        "aeiou st",
        "fuck ",
        "as ",
        " .-_,",
        "f.u.c.k",
        "еасор ",
        "傻逼你妈操 ",
        "a*",
        "🍆🍑💦👌👉",
        "f1l|",
        "*a*e",
        "n1g",
        "abcdefghijklmnopqrstuvwxyz",
        "sS5$zZ ",
        "\u{200b}f\u{301}",
        "くそまんこちの",
        "ab-",
        "/.a:",
        "🇫🇺",
    ];
    let random = alphabets.iter().map(|alphabet| {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| *alphabet.choose(&mut random).unwrap()).collect()
    });
    let random: Vec<String> = random.collect();
    let repeated = [
        "fuck",
        "a",
        "fuck ",
        "f u c k ",
        "as s",
        "1a",
        "a***",
        "shi",
        "s h i ",
        "kill yoursel",
        "motherfucke",
        "a@a.",
        "http://",
        "a/",
        "!",
        "@",
        "kill  ",
        "n-i-g-g-e-",
        "\u{202e}a",
        "=\"",
        "g",
    ];
    random.into_iter().chain(repeated.iter().map(|it| it.repeat(length / it.len()))).collect()
}

#[test]
fn time_grows_with_length() {
    let moderator = standard();
    for text in hard(100_000) {
        let begin: String = text.chars().take(20).collect();
        let started = Instant::now();
        let _ = moderator.find(&text);
        let took = started.elapsed();
        // A tenth of a megabyte without optimization, on a busy machine. A square would take minutes.
        assert!(took < Duration::from_secs(5), "{begin:?}: {took:?}");
    }
}
