//! Properties of any text.

use fanout_moderation::masked;
use proptest::prelude::*;

use super::{moderated, standard};

const DISGUISE: &str = "([fuckshitasbe1!@$*|0 .,а-яéｆ一傻逼あくそクソ가ᄒ\u{301}\u{3099}\u{200d}\u{200b}हि👩🅵🇫-]|fuck|shit|kill yourself|f u c k|fu-ck|\\. ){0,40}";

/// A sentence without a listed word.
fn sentence() -> impl Strategy<Value = String> {
    let words = [
        "I", "a", "as", "it", "is", "this", "that", "pass", "s", "u", "c", "k", "hit", "kill", "go",
        "mother", "cup", "5", "tit.", "class", "yours", "die",
    ];
    let words = prop::collection::vec(prop::sample::select(words.to_vec()), 1..8);
    words.prop_map(|words| words.join(" ")).prop_filter("innocent", |text| standard().find(text).is_empty())
}

#[test]
fn masks_what_counts_only_once_the_rest_is_masked() {
    // `f u c` is a word only where no `k` is beside it.
    assert_eq!(moderated("👩f u c k|f u c kfuck"), "👩* * * *|* * * *****");
}

proptest! {
    #[test]
    fn masks_whole_characters_and_nothing_else(text in ".{0,64}") {
        check(&text)?;
    }

    #[test]
    fn masks_whole_characters_of_disguises(text in DISGUISE) {
        check(&text)?;
    }

    #[test]
    fn masks_once(text in DISGUISE, mask in prop::sample::select(vec!['*', '█', '#', '-', '.', '?'])) {
        let moderated = |text: &str| standard().mask(text, &standard().find(text), mask);
        let once = moderated(&text);
        prop_assert_eq!(moderated(&once), once);
    }

    #[test]
    fn innocent_sentences_stay_innocent_together(one in sentence(), other in sentence(), end in "[.!?]") {
        let both = format!("{one}{end} {other}{end}");
        prop_assert_eq!(moderated(&both), both);
    }

    #[test]
    fn finds_word_between_any_others(before in "[a-z]{1,8}[.,!?]? ", after in "[.,!?]? [a-z]{1,8}") {
        prop_assume!(standard().find(&format!("{before}x{after}")).is_empty());
        // The word can make a longer entry with what is beside it, as `fuck er`.
        let result = moderated(&format!("{before}fuck{after}"));
        prop_assert_eq!(result.get(before.len()..before.len() + 4), Some("****"), "{}", result);
    }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let found = standard().find(text);
    let result = masked(text, &found, '█');
    if found.is_empty() {
        prop_assert_eq!(&result, text);
    }
    let mut kept = String::new();
    let mut end = 0;
    let mut places: Vec<_> = found.iter().flat_map(|it| it.at.clone()).collect();
    places.sort_by_key(|at| at.start);
    for at in places {
        prop_assert!(text.get(at.clone()).is_some_and(|bad| !bad.is_empty()));
        kept.push_str(text.get(end..at.start.max(end)).unwrap());
        end = end.max(at.end);
    }
    kept.push_str(text.get(end..).unwrap());
    // What is left of the result is a part of what was there, in order.
    let mut rest = result.chars().filter(|character| *character != '█');
    let mut all = text.chars().filter(|character| *character != '█');
    prop_assert!(rest.all(|character| all.any(|other| other == character)));
    prop_assert!(
        kept.chars().filter(|it| *it != '█').count() <= result.chars().filter(|it| *it != '█').count()
    );
    Ok(())
}
