//! Measures the cost of moderation: the first text, memory, an ordinary message, and the texts that are hardest on a list of words.
//!
//! ```console
//! $ cargo run --release --package fanout-moderation --example cost
//! ```

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

#[path = "../tests/moderation/hard.rs"]
mod hard;

use std::hint::black_box;
use std::time::{Duration, Instant};

use fanout_moderation::phrases::Phrases;
use fanout_moderation::{Counts, Language, Moderator, Severity};

const LENGTH: usize = 1_000_000;

fn main() {
    let before = resident();
    let started = Instant::now();
    let moderator = Moderator {
        counts: Counts {
            profane: Some(Severity::Moderate),
            offensive: Some(Severity::Moderate),
            sexual: Some(Severity::Moderate),
            mean: Some(Severity::Severe),
        },
        languages: Language::ALL.to_vec(),
        allow: Phrases::default(),
        deny: Phrases::default(),
    };
    let found = moderator.find("Hello, how are you? Oh shit, it's late.");
    println!("start and first text: {:?}, {} found", started.elapsed(), found.len());
    println!("memory: {} KiB before, {} KiB after", before, resident());

    for text in ["Hello there, how are you doing today? :)", "Oh sh1t, what the fuck did you do there?!"] {
        let took = best(5, || {
            for _ in 0..20_000 {
                black_box(moderator.mask(text, &moderator.find(black_box(text)), '*'));
            }
        });
        println!("{} bytes: {:?}", text.len(), took / 20_000);
    }

    let mut worst = (Duration::ZERO, String::new());
    // Long enough not to repeat soon.
    for pattern in hard::hard_texts(5_000) {
        let text = pattern.repeat(LENGTH / pattern.len());
        let took = best(3, || {
            black_box(moderator.mask(&text, &moderator.find(&text), '*'));
        });
        let name = format!("{:?}", pattern.chars().take(24).collect::<String>());
        println!("1 MB of {name}: {took:?}");
        worst = worst.max((took, name));
    }
    println!("worst: 1 MB of {}: {:?}", worst.1, worst.0);
}

/// Returns the shortest of several runs.
fn best(runs: usize, mut run: impl FnMut()) -> Duration {
    let times = (0..runs).map(|_| {
        let started = running();
        run();
        running().saturating_sub(started)
    });
    times.min().unwrap_or_default()
}

/// Returns how long this process has had a processor, on Linux: other processes do not count.
fn running() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0))
}

/// Returns the resident memory in KiB, on Linux.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
