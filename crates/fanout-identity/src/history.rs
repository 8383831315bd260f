//! The lists of caches that have the last messages of topics. `tokens.toml` says which: nothing is guessed.

use fanout_core::destination::ListEnd;
use fanout_core::names::CacheName;
use fanout_core::placeholder::{Part, SyntaxError, Template};
use fanout_core::route::Pattern;

/// The list of the topics of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRule {
    /// The topics, whose captures the key can have.
    pub topics: Pattern,
    /// The cache of the list; `None` for the cache of the topic.
    pub cache: Option<CacheName>,
    /// The key of the list.
    pub key: HistoryKey,
    /// The end of the list that messages are added to.
    pub end: ListEnd,
}

/// The key of a list: texts, and captures of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryKey(Vec<KeyPart>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyPart {
    Text(String),
    /// The index of a capture of the pattern.
    Capture(usize),
}

impl HistoryRule {
    /// Returns the key of the list of a topic, or `None` if the rule is not for it.
    #[must_use]
    pub fn key(&self, topic: &str) -> Option<String> {
        let captures = self.topics.find(topic)?;
        let part = |part: &KeyPart| match part {
            KeyPart::Text(text) => text.clone(),
            KeyPart::Capture(index) => {
                (*captures.get(*index).expect("an index of a capture of this pattern")).to_owned()
            }
        };
        Some(self.key.0.iter().map(part).collect())
    }
}

impl HistoryKey {
    /// Reads the text of a key for the topics of `pattern`.
    ///
    /// # Errors
    /// If the syntax is invalid, or a name is not a capture of the pattern.
    pub fn new(source: &str, pattern: &Pattern) -> Result<Self, SyntaxError> {
        if source.trim().is_empty() {
            return Err(SyntaxError { at: None, message: "is empty; write the key of the list".to_owned() });
        }
        let template = Template::new_name(source)?;
        let part = |part: Part<'_>| match part {
            Part::Text(text) => Ok(KeyPart::Text(text.to_owned())),
            Part::Value { name, members, path, has_filters, at } => {
                let index = pattern.names().position(|known| known == name);
                if let Some(index) = index.filter(|_| members.is_empty() && !has_filters) {
                    return Ok(KeyPart::Capture(index));
                }
                let known: Vec<_> = pattern.names().map(|name| format!("`{{{name}}}`")).collect();
                let expected = if known.is_empty() {
                    "the topic has no captures".to_owned()
                } else {
                    format!("expected one of {}", known.join(", "))
                };
                let message = format!("has `{path}`, which is not a capture of the topic; {expected}");
                Err(SyntaxError { at: Some(at), message })
            }
        };
        template.parts().map(part).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(topic: &str, key: &str) -> Result<HistoryRule, String> {
        let topics = Pattern::new(topic).unwrap();
        let key = HistoryKey::new(key, &topics).map_err(|error| error.to_string())?;
        Ok(HistoryRule { topics, cache: None, key, end: ListEnd::Back })
    }

    #[test]
    fn makes_key_of_captures() {
        let languages = rule("{room}-subscribe-{language}", "last-{language}-{room}").unwrap();
        assert_eq!(languages.key("lobby-subscribe-es").as_deref(), Some("last-es-lobby"));
        assert_eq!(languages.key("lobby-publish"), None);
        assert_eq!(rule("news", "last-news").unwrap().key("news").as_deref(), Some("last-news"));
    }

    #[test]
    fn rejects_key_with_other_names() {
        for (topic, key, expected) in [
            ("{room}", "", "is empty"),
            ("{room}", "last-{topic}", "not a capture of the topic; expected one of `{room}`"),
            ("{room}", "last-{room | lower}", "not a capture"),
            ("{room}", "last-{room.name}", "not a capture"),
            ("news", "last-{room}", "the topic has no captures"),
            ("{room}", "last-{room", "brace"),
        ] {
            let error = rule(topic, key).unwrap_err();
            assert!(error.contains(expected), "{topic} {key}: {error}");
        }
    }
}
