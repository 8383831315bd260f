//! Suggests the known word that an operator meant.

/// Words of other tools, each with our words. Of these, the first that is known at its place is meant.
const SYNONYMS: [(&[&str], &[&str]); 23] = [
    (&["from", "source", "inbound", "input", "channel"], &["topic"]),
    (&["to", "outbound", "output", "targets", "sinks"], &["destinations", "target"]),
    (&["language", "lang"], &["target", "language"]),
    (&["namespace"], &["cache"]),
    (&["pointer", "path", "field", "json"], &["member", "pointer"]),
    (&["regex", "regexp", "pattern"], &["matches"]),
    (&["starts_with"], &["prefix"]),
    (&["ends_with"], &["suffix"]),
    (&["not_contains", "negate", "invert"], &["not"]),
    (&["length", "max", "limit", "size"], &["characters", "max_length"]),
    (&["name", "id"], &["key"]),
    (&["by", "amount", "step"], &["increment"]),
    (&["url", "queue_url", "name"], &["queue"]),
    (&["arn", "state_machine_arn"], &["state_machine"]),
    (&["payload", "message", "body", "data", "content"], &["text", "body"]),
    (&["user", "user_id", "sender", "publisher", "publisher_id"], &["token_id"]),
    (&["timestamp", "time", "date", "now"], &["event_timestamp"]),
    (&["uuid", "guid", "id", "message_id"], &["event_id"]),
    (&["sequence", "sequence_number"], &["topic_sequence_number"]),
    (&["profanity", "censor", "sanitize", "clean"], &["moderate"]),
    (&["none", "identity", "noop", "pass"], &["echo"]),
    (&["substring", "slice", "shorten"], &["truncate"]),
    (&["render", "format", "replace"], &["template"]),
];

/// The minimum similarity of a suggestion, of at most 1.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the known word that has the meaning of `word` in other tools, or else the one that is most similar to it, if one is
/// similar enough to be a typing error.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let known: Vec<_> = known.into_iter().collect();
    let ours = SYNONYMS.iter().filter(|(words, _)| words.contains(&word.as_str()));
    let mut ours = ours.flat_map(|(_, ours)| *ours);
    let synonym = ours.find_map(|ours| known.iter().copied().find(|known| known == ours));
    // The measure favours a common beginning, however much follows.
    let is_similar = |known: &str, similarity| similarity >= MIN_SIMILARITY && word.len() <= 2 * known.len();
    synonym.or_else(|| {
        let similar = known.iter().map(|known| (strsim::jaro_winkler(&word, known), *known));
        let similar = similar.filter(|(similarity, known)| is_similar(known, *similarity));
        similar.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
    })
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

    #[test]
    fn suggests_word_with_same_meaning_where_it_is_known() {
        for (word, known, meant) in [
            ("from", &["topic", "cache"][..], Some("topic")),
            ("to", &["topic", "destinations"], Some("destinations")),
            ("to", &["target", "source"], Some("target")),
            ("userId", &["token_id"], None),
            ("user_id", &["token_id", "topic"], Some("token_id")),
            ("path", &["pointer", "set"], Some("pointer")),
            ("id", &["event_id"], Some("event_id")),
            ("from", &["cache"], None),
        ] {
            assert_eq!(closest(word, known.iter().copied()), meant, "{word}");
        }
    }
}
