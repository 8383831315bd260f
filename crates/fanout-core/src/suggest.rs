//! Suggests the known word that an operator meant.

/// The minimum similarity of a suggestion, of at most 1.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the known word that is most similar to `word`, if one is similar enough to be a typing error.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let similar = known.into_iter().map(|known| (strsim::jaro_winkler(&word, known), known));
    // The measure favours a common beginning, however much follows.
    let similar =
        similar.filter(|(similarity, known)| *similarity >= MIN_SIMILARITY && word.len() <= 2 * known.len());
    similar.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_word_of_typing_error_only() {
        let known = ["topic", "cache", "transforms", "extra_transforms", "uppercase", "dynamodb", "room"];
        for (word, meant) in [
            ("topik", Some("topic")),
            ("Topic", Some("topic")),
            ("transform", Some("transforms")),
            ("extra_transform", Some("extra_transforms")),
            ("upper", Some("uppercase")),
            ("uperase", Some("uppercase")),
            ("dynamo", Some("dynamodb")),
            ("roomm", Some("room")),
            ("speed", None),
            ("", None),
            ("x", None),
            ("room | uppercase", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
        assert_eq!(closest("topic", []), None);
    }
}
