//! How long hard texts take.

use std::time::{Duration, Instant};

use super::hard::hard_texts;
use super::standard;

#[test]
fn time_grows_with_length() {
    let moderator = standard();
    for text in hard_texts(100_000) {
        let begin: String = text.chars().take(20).collect();
        let started = Instant::now();
        let _ = moderator.find(&text);
        let took = started.elapsed();
        // A tenth of a megabyte without optimization, on a busy machine. A square would take minutes.
        assert!(took < Duration::from_secs(5), "{begin:?}: {took:?}");
    }
}
