//! Texts with placeholders for claims: `{claims.sub}`, `{claims."cognito:username"}`.
//!
//! The syntax is that of every placeholder. What differs is that a text decides what a person may reach, and that people
//! choose some of their claims. So two people with different claims never get the same name, and none gets a prefix of
//! another's: a value is used unchanged, and must not contain the text that separates it from what follows.

use std::fmt;

use fanout_core::placeholder::{Part, SyntaxError, Template};
use momento_webhook::event::MAX_NAME;
use momento_webhook::visible::is_invisible;
use serde_json::Value;

use crate::claims::Claims;
use crate::profile::ClaimError;

/// The name of the claims in a placeholder.
const CLAIMS: &str = "claims";

/// The most names that one text becomes by claims that are lists.
const MAX_NAMES: usize = 50;

/// A text with placeholders for claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTemplate {
    source: String,
    parts: Vec<ClaimPart>,
    is_prefix: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ClaimPart {
    Text(String),
    Claim { members: Vec<String>, path: String },
}

impl ClaimTemplate {
    /// Reads the text of a whole name.
    ///
    /// # Errors
    /// If the syntax is invalid, or different claims could become the same name.
    pub fn name(source: &str) -> Result<Self, SyntaxError> {
        Self::read(source, false)
    }

    /// Reads the text of the beginning of names.
    ///
    /// # Errors
    /// If the syntax is invalid, or the name of one person could begin with that of another.
    pub fn prefix(source: &str) -> Result<Self, SyntaxError> {
        Self::read(source, true)
    }

    fn read(source: &str, is_prefix: bool) -> Result<Self, SyntaxError> {
        if source.trim().is_empty() {
            return Err(SyntaxError { at: None, message: "is empty; write its text".to_owned() });
        }
        let template = Template::new_name(source)?;
        let mut parts: Vec<ClaimPart> = Vec::new();
        for part in template.parts() {
            let (name, members, path, has_filters, at) = match part {
                Part::Text(text) => {
                    parts.push(ClaimPart::Text(text.to_owned()));
                    continue;
                }
                Part::Value { name, members, path, has_filters, at } => {
                    (name, members, path, has_filters, at)
                }
            };
            let fault = |message: String| Err(SyntaxError { at: Some(at), message });
            if name != CLAIMS {
                return fault(format!(
                    "has the unknown name `{name}`; only claims are known here: write `{{claims.{path}}}`"
                ));
            }
            if members.is_empty() {
                return fault("has `{claims}` without a claim; write `{claims.sub}`".to_owned());
            }
            if has_filters {
                return fault(format!(
                    "has a filter behind `{path}`; a filter could make the claims of two people equal"
                ));
            }
            if matches!(parts.last(), Some(ClaimPart::Claim { .. })) {
                return fault(format!(
                    "has no text before `{{{path}}}`; write a text between two claims that separates them"
                ));
            }
            parts.push(ClaimPart::Claim { members: members.to_vec(), path: path.to_owned() });
        }
        if is_prefix && let Some(ClaimPart::Claim { path, .. }) = parts.last() {
            let message = format!(
                "ends with `{{{path}}}`; write a text behind it, as in `{{{path}}}:`, or a person `ann` reaches the keys of `anna`"
            );
            return Err(SyntaxError { at: None, message });
        }
        Ok(Self { source: source.to_owned(), parts, is_prefix })
    }

    /// Returns true if it needs no claim.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, ClaimPart::Claim { .. }))
    }

    /// Returns the text with `value` in place of each claim, to show what its names are like.
    #[must_use]
    pub fn with_claims(&self, value: &str) -> String {
        let part = |part: &ClaimPart| match part {
            ClaimPart::Text(text) => text.clone(),
            ClaimPart::Claim { .. } => value.to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// Renders one text.
    ///
    /// # Errors
    /// If a claim is missing, is a list, or has a value that cannot be used.
    pub fn one(&self, claims: &Claims) -> Result<String, ClaimError> {
        let mut rendered = self.render(claims, false)?;
        Ok(rendered.pop().expect("a text without lists becomes one"))
    }

    /// Renders one text for each entry of a claim that is a list; no text for an empty list.
    ///
    /// # Errors
    /// If a claim is missing, or has a value that cannot be used.
    pub fn all(&self, claims: &Claims) -> Result<Vec<String>, ClaimError> {
        self.render(claims, true)
    }

    fn render(&self, claims: &Claims, may_be_list: bool) -> Result<Vec<String>, ClaimError> {
        let mut rendered = vec![String::new()];
        for (index, part) in self.parts.iter().enumerate() {
            let (members, path) = match part {
                ClaimPart::Text(text) => {
                    for begun in &mut rendered {
                        begun.push_str(text);
                    }
                    continue;
                }
                ClaimPart::Claim { members, path } => (members, path),
            };
            let values = match claims.get(members) {
                None => return Err(ClaimError::Missing(path.clone())),
                Some(Value::Array(list)) if may_be_list => {
                    list.iter().map(|entry| value(path, entry)).collect::<Result<Vec<_>, _>>()?
                }
                Some(one) => vec![value(path, one)?],
            };
            if let Some(separator) = self.separator(index) {
                // Read from the left, the value ends at the first separator.
                let ends =
                    |value: &String| format!("{value}{separator}").find(separator) == Some(value.len());
                if !values.iter().all(ends) {
                    return Err(ClaimError::Separator {
                        path: path.clone(),
                        separator: separator.to_owned(),
                    });
                }
            }
            if rendered.len().saturating_mul(values.len()) > MAX_NAMES {
                return Err(ClaimError::TooMany { path: path.clone(), limit: MAX_NAMES });
            }
            rendered = rendered
                .iter()
                .flat_map(|begun| values.iter().map(move |value| format!("{begun}{value}")))
                .collect();
        }
        if rendered.iter().any(|name| name.len() > MAX_NAME) {
            return Err(ClaimError::TooLong { template: self.source.clone(), limit: MAX_NAME });
        }
        Ok(rendered)
    }

    /// Returns the text behind the claim at `index` that separates it from what follows. The end of a whole name is where
    /// every such name ends, and separates nothing.
    fn separator(&self, index: usize) -> Option<&str> {
        let Some(ClaimPart::Text(text)) = self.parts.get(index + 1) else { return None };
        (self.is_prefix || index + 2 < self.parts.len()).then_some(text.as_str())
    }
}

/// Returns the text of a claim, which is used unchanged.
fn value(path: &str, value: &Value) -> Result<String, ClaimError> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return Err(ClaimError::NotText(path.to_owned())),
    };
    if text.is_empty() {
        return Err(ClaimError::Missing(path.to_owned()));
    }
    // Some readers trim, some do not see these, and some take `*` for all names.
    if text.trim() != text || text.contains('*') || text.chars().any(is_invisible) {
        return Err(ClaimError::Character(path.to_owned()));
    }
    Ok(text)
}

impl fmt::Display for ClaimTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::claims;

    #[test]
    fn rejects_texts_that_could_mix_people_up() {
        for (source, is_prefix, says) in [
            ("", false, "is empty"),
            ("{room}", false, "write `{claims.room}`"),
            ("{claims}", false, "write `{claims.sub}`"),
            ("{claims.sub | lower}", false, "could make the claims of two people equal"),
            ("{claims.a}{claims.b}", false, "no text before `{claims.b}`"),
            ("user:{claims.sub}", true, "ends with `{claims.sub}`"),
            ("room-*", false, "*"),
            ("{claims.sub", false, "does not close"),
        ] {
            let error = ClaimTemplate::read(source, is_prefix).unwrap_err().to_string();
            assert!(error.contains(says), "{source}: {error}");
        }
    }

    #[test]
    fn list_becomes_one_name_for_each_entry() {
        let template = ClaimTemplate::name("{claims.room}-subscribe-{claims.languages}").unwrap();
        let with = |languages| claims(json!({"room": "lobby", "languages": languages}));
        assert_eq!(
            template.all(&with(json!(["es", "de"]))).unwrap(),
            ["lobby-subscribe-es", "lobby-subscribe-de"]
        );
        assert_eq!(template.all(&with(json!([]))).unwrap(), [""; 0]);
        assert_eq!(template.all(&with(json!("es"))).unwrap(), ["lobby-subscribe-es"]);
        assert_eq!(
            template.all(&with(json!(vec!["es"; 51]))),
            Err(ClaimError::TooMany { path: "claims.languages".into(), limit: 50 })
        );
        let one = ClaimTemplate::name("{claims.languages}").unwrap();
        assert_eq!(one.one(&with(json!(["es"]))), Err(ClaimError::NotText("claims.languages".into())));
    }

    #[test]
    fn hostile_values_are_errors() {
        let template = ClaimTemplate::name("{claims.room}-in-{claims.language}").unwrap();
        let with = |room| template.all(&claims(json!({"room": room, "language": "es"})));
        let path = || "claims.room".to_owned();
        assert_eq!(with(json!("")), Err(ClaimError::Missing(path())));
        assert_eq!(with(json!(null)), Err(ClaimError::Missing(path())));
        assert_eq!(with(json!({})), Err(ClaimError::NotText(path())));
        assert_eq!(with(json!([["a"]])), Err(ClaimError::NotText(path())));
        for wrong in ["*", "a*", " a", "a\n", "a\u{200b}", "a\0", "\u{feff}a"] {
            assert_eq!(with(json!(wrong)), Err(ClaimError::Character(path())), "{wrong:?}");
        }
        let separator = || Err(ClaimError::Separator { path: path(), separator: "-in-".into() });
        for wrong in ["a-in-b", "-in-", "a-in"] {
            assert_eq!(with(json!(wrong)), separator(), "{wrong:?}");
        }
        assert_eq!(with(json!("a-b")).unwrap(), ["a-b-in-es"]);
        let long = "x".repeat(MAX_NAME);
        assert!(matches!(with(json!(long)), Err(ClaimError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn different_claims_never_become_the_same_name(
            one in ("[ab:-]{1,5}", "[ab:-]{1,5}"),
            other in ("[ab:-]{1,5}", "[ab:-]{1,5}"),
            separator in "[ab:-]{1,3}",
            end in "[ab:-]{0,3}",
        ) {
            let template = ClaimTemplate::name(&format!("{{claims.a}}{separator}{{claims.b}}{end}")).unwrap();
            let render = |(a, b): &(String, String)| template.one(&claims(json!({"a": a, "b": b})));
            if let (Ok(first), Ok(second)) = (render(&one), render(&other)) {
                prop_assert_eq!(first == second, one == other);
            }
        }

        #[test]
        fn prefix_of_one_person_never_covers_that_of_another(
            one in "[ab:é\u{301}e-]{1,6}", other in "[ab:é\u{301}e-]{1,6}", separator in "[ab:-]{1,3}",
        ) {
            let template = ClaimTemplate::prefix(&format!("user:{{claims.sub}}{separator}")).unwrap();
            let render = |sub: &str| template.one(&claims(json!({"sub": sub})));
            if let (Ok(first), Ok(second)) = (render(&one), render(&other)) {
                prop_assert_eq!(second.starts_with(&first), one == other);
            }
        }

        #[test]
        fn any_value_stays_whole_or_is_an_error(value in any::<String>()) {
            let template = ClaimTemplate::name("{claims.sub}-publish").unwrap();
            if let Ok(name) = template.one(&claims(json!({"sub": value}))) {
                prop_assert_eq!(name, format!("{value}-publish"));
            }
        }
    }
}
