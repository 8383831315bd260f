//! Texts that count, texts that do not, and the rate at which ordinary text is masked.
#![expect(clippy::unwrap_used, reason = "a test asserts by panicking")]

mod benign;
mod corpus;
mod disguises;
mod hard;
mod properties;
mod time;

use fanout_moderation::{Counts, Language, Moderator, Severity};

/// Returns a moderator with the defaults of a file.
fn standard() -> Moderator {
    let moderate = Some(Severity::Moderate);
    Moderator {
        counts: Counts {
            profane: moderate,
            offensive: moderate,
            sexual: moderate,
            mean: Some(Severity::Severe),
        },
        languages: Language::ALL.to_vec(),
        allow: fanout_moderation::phrases::Phrases::default(),
        deny: fanout_moderation::phrases::Phrases::default(),
    }
}

/// Returns `text` with what counts in it masked.
fn moderated(text: &str) -> String {
    standard().mask(text, &standard().find(text), '*')
}
