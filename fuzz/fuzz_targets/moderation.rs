//! Searches any text for words of all lists. What is found has its place in the text, what is not found stays, and the time
//! grows with the length only.
#![no_main]

use std::time::{Duration, Instant};

use fanout_moderation::phrases::Phrases;
use fanout_moderation::{Counts, Language, Moderator, Severity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let all = Some(Severity::Mild);
    let moderator = Moderator {
        counts: Counts { profane: all, offensive: all, sexual: all, mean: all },
        languages: Language::ALL.to_vec(),
        allow: Phrases::default(),
        deny: Phrases::new(&["acme*".to_owned()]).expect("it is a phrase"),
    };
    let found = moderator.find(text);
    for finding in &found {
        assert!(!finding.at.is_empty() && !finding.entry.is_empty());
        assert!(finding.at.iter().all(|at| text.get(at.clone()).is_some_and(|part| !part.is_empty())));
    }
    let result = moderator.mask(text, &found, '*');
    assert!(result == text || !found.is_empty());
    assert_eq!(moderator.mask(&result, &moderator.find(&result), '*'), result);
    // Long texts are slow to run: one of sixteen is repeated to 64 KiB, which take some milliseconds. A square of the length would
    // take minutes.
    if text.len() % 16 == 0 {
        let long = text.repeat((64 << 10) / text.len().max(1));
        let started = Instant::now();
        let _ = moderator.find(&long);
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
});
