//! `filter`: drops texts that do not meet its conditions.
//!
//! ```toml
//! transforms = [
//!     { filter = { prefix = "!", token_id = true } },
//!     { filter = { member = { pointer = "/type", equals = "chat" } } },
//!     { filter = { matches = '^\s*$', not = true } },
//! ]
//! ```
//!
//! A text has to meet all conditions of a filter. They are case-sensitive. Inside the transform `json`, the text is the
//! string at its pointer.

use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::template::MAX_BYTES;
use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings, Transformed};
use crate::json::Pointer;
use crate::placeholder::Template;

/// The maximum size in bytes of a compiled pattern. It bounds the time for a text: the worst patterns of this size take
/// tens of milliseconds for 4 KB. Usual patterns have a tenth of it.
const MAX_PATTERN_SIZE: usize = 64 * 1024;

/// At least one condition is needed.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FilterSettings {
    /// The text that the other conditions are for, which may have placeholders. Default: the text of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The text is equal to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    equals: Option<String>,
    /// The text begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// The text ends with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<String>,
    /// The text contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
    /// A regular expression that matches some part of the text, or all of it with `^` and `$`. The syntax is that of the
    /// Rust crate `regex-lite`, without look-around and back-references. `\w`, `\d`, `\s`, `\b` and `(?i)` cover ASCII
    /// only; `.` and `[à-ÿ]` cover characters of any script.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<String>,
    /// `true`: the publisher's token has an id. `false`: it has none. A text: the id is equal to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<TokenId>,
    /// The text is JSON with this member. Its other members do not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Member>,
    /// If `true`, the filter drops the texts that meet all conditions instead. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not: bool,
}

/// The condition for the id of a token.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "`token_id` is invalid; expected true, false, or an id in quotes")]
enum TokenId {
    Present(bool),
    Is(String),
}

/// The condition for a member.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Member {
    /// Its JSON Pointer (RFC 6901), such as `"/type"`. Of duplicate members, the last one counts.
    pointer: String,
    /// Its value: a text, a number, true or false; `3` and `3.0` are equal. Default: any value, `null` included.
    #[serde(skip_serializing_if = "Option::is_none")]
    equals: Option<Value>,
}

#[derive(Debug)]
struct Conditions {
    /// `None` for the text of the message.
    value: Option<Template>,
    all: Vec<Condition>,
    not: bool,
}

#[derive(Debug)]
enum Condition {
    Equals(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Matches(Regex),
    TokenId(TokenId),
    Member(Pointer, Option<Value>),
}

impl TransformSettings for FilterSettings {
    const NAME: &'static str = "filter";

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let Self { value, equals, prefix, suffix, contains, matches, token_id, member, not } = self;
        for (name, text) in [("prefix", &prefix), ("suffix", &suffix), ("contains", &contains)] {
            if text.as_deref() == Some("") {
                return Err(format!(
                    "`{name}` is empty, so that every text has it; leave it out, or write a text"
                ));
            }
        }
        let all = [
            equals.map(Condition::Equals),
            prefix.map(Condition::Prefix),
            suffix.map(Condition::Suffix),
            contains.map(Condition::Contains),
            matches.map(|pattern| compile(&pattern).map(Condition::Matches)).transpose()?,
            token_id.map(check_token_id).transpose()?,
            member.map(check_member).transpose()?,
        ];
        let all: Vec<_> = all.into_iter().flatten().collect();
        if all.is_empty() {
            return Err(
                "`filter` has no condition; expected `equals`, `prefix`, `suffix`, `contains`, `matches`, \
                        `token_id` or `member`"
                    .to_owned(),
            );
        }
        let value = value.map(|value| with.template(&value)).transpose()?;
        Ok(Arc::new(Conditions { value, all, not }))
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_PATTERN_SIZE)
        .build()
        .map_err(|error| format!("`matches` is not a valid regular expression: {error}"))
}

fn check_token_id(condition: TokenId) -> Result<Condition, String> {
    match condition {
        TokenId::Is(id) if id.is_empty() => {
            Err("`token_id` is empty; for events without a token id, write `token_id = false`".into())
        }
        condition => Ok(Condition::TokenId(condition)),
    }
}

fn check_member(Member { pointer, equals }: Member) -> Result<Condition, String> {
    let pointer = Pointer::new(pointer)?;
    match equals {
        // TOML has no null. serde reads these two as null.
        Some(Value::Null) => Err("`equals` is inf or nan, which JSON does not have".into()),
        Some(Value::Array(_) | Value::Object(_)) => {
            Err("`equals` is a list or a table; expected a text, a number, true or false".into())
        }
        equals @ (None | Some(Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
            Ok(Condition::Member(pointer, equals))
        }
    }
}

impl Transform for Conditions {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t> {
        let rendered = match &self.value {
            Some(value) => match value.text(&message.values(context), MAX_BYTES) {
                Ok(rendered) => Some(rendered.into_owned()),
                Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
            },
            None => None,
        };
        let text = rendered.as_deref().unwrap_or(&message.text);
        let token_id = context.event.token_id.as_deref();
        let reason = match self.all.iter().find(|condition| !condition.holds(text, token_id)) {
            None if self.not => "filter: the text meets the conditions of a filter with `not`",
            Some(condition) if !self.not => condition.reason(),
            None | Some(_) => return message.done(),
        };
        Box::pin(std::future::ready(Ok(Transformed::Dropped(reason.into()))))
    }
}

impl Condition {
    fn holds(&self, text: &str, token_id: Option<&str>) -> bool {
        match self {
            Self::Equals(expected) => text == expected,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(expected) => text.contains(expected),
            Self::Matches(pattern) => pattern.is_match(text),
            Self::TokenId(TokenId::Present(expected)) => token_id.is_some() == *expected,
            Self::TokenId(TokenId::Is(expected)) => token_id == Some(expected),
            Self::Member(pointer, expected) => has_member(text, pointer, expected.as_ref()),
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::Equals(_) => "filter: the text is not equal to the expected text",
            Self::Prefix(_) => "filter: the text does not begin with the prefix",
            Self::Suffix(_) => "filter: the text does not end with the suffix",
            Self::Contains(_) => "filter: the text does not contain the expected text",
            Self::Matches(_) => "filter: the text does not match the pattern",
            Self::TokenId(TokenId::Present(true)) => "filter: the token id is missing",
            Self::TokenId(TokenId::Present(false)) => "filter: the event has a token id",
            Self::TokenId(TokenId::Is(_)) => "filter: the token id is not the expected one",
            Self::Member(..) => "filter: the JSON member is missing, or has another value",
        }
    }
}

fn has_member(text: &str, pointer: &Pointer, expected: Option<&Value>) -> bool {
    let Some(member) = pointer.find_in(text) else { return false };
    let Some(expected) = expected else { return true };
    match (serde_json::from_str(member.as_str()), expected) {
        (Ok(Value::Number(actual)), Value::Number(expected)) => is_same_number(&actual, expected),
        (actual, expected) => actual.is_ok_and(|actual: Value| actual == *expected),
    }
}

fn is_same_number(one: &Number, other: &Number) -> bool {
    // 3 and 3.0 are equal. Two integers are compared to the last digit.
    let has_float = one.is_f64() || other.is_f64();
    one == other
        || has_float && one.as_f64().partial_cmp(&other.as_f64()).is_some_and(std::cmp::Ordering::is_eq)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::transform::tests::{faulty, stages, through};

    /// Returns the reason if `text` is dropped.
    async fn filtered(settings: &str, text: &str) -> Result<(), String> {
        let list = format!("[{{ filter = {{ {settings} }} }}]");
        match through(&stages(&list), text).await.unwrap() {
            Transformed::Message(message) => {
                assert_eq!(message.text, text);
                Ok(())
            }
            Transformed::Dropped(reason) => Err(reason.into_owned()),
        }
    }

    async fn check(settings: &str, goes_on: &[&str], dropped: &[&str], reason: &str) {
        let not = format!("{settings}, not = true");
        for text in goes_on {
            assert_eq!(filtered(settings, text).await, Ok(()), "{settings}: {text}");
            let reason = Err("filter: the text meets the conditions of a filter with `not`".to_owned());
            assert_eq!(filtered(&not, text).await, reason, "{settings}: {text}");
        }
        for text in dropped {
            assert_eq!(filtered(settings, text).await, Err(reason.to_owned()), "{settings}: {text}");
            assert_eq!(filtered(&not, text).await, Ok(()), "{settings}: {text}");
        }
    }

    #[tokio::test]
    async fn applies_each_condition() {
        check("equals = 'a'", &["a"], &["A", "ab", ""], "filter: the text is not equal to the expected text")
            .await;
        check("equals = ''", &[""], &[" "], "filter: the text is not equal to the expected text").await;
        check(
            "prefix = 'é!'",
            &["é!", "é!x"],
            &["xé!", ""],
            "filter: the text does not begin with the prefix",
        )
        .await;
        check("suffix = '?'", &["?", "a?"], &["?a", ""], "filter: the text does not end with the suffix")
            .await;
        check(
            "contains = 'b'",
            &["abc"],
            &["ABC", ""],
            "filter: the text does not contain the expected text",
        )
        .await;
        let reason = "filter: the text does not match the pattern";
        check(r"matches = '\d{2}'", &["a12b"], &["1a2", "٣٤"], reason).await;
        check("matches = '^[à-ÿ].$'", &["é😀"], &["e😀", "é😀x", "É😀"], reason).await;
        check("matches = '(?i)^hello'", &["HELLO x"], &["x hello"], reason).await;
    }

    #[tokio::test]
    async fn compares_token_id() {
        for (token_id, holding) in [
            (None, [false, true, false, false]),
            (Some("ann"), [true, false, true, false]),
            (Some("true"), [true, false, false, true]),
        ] {
            let event = crate::testing::event_with("cache", "topic", 1, |event| {
                event.token_id = token_id.map(str::to_owned);
            });
            for (asked, holds) in ["true", "false", "'ann'", "'true'"].into_iter().zip(holding) {
                let stages = stages(&format!("[{{ filter = {{ token_id = {asked} }} }}]"));
                let context = Context {
                    event: &event,
                    captures: &[],
                    document: None,
                    items: None,
                    deadline: tokio::time::Instant::now(),
                };
                let made = stages[0].apply(Message::new("x"), &context).await.unwrap();
                assert_eq!(matches!(made, Transformed::Message(_)), holds, "{token_id:?} {asked}");
            }
        }
    }

    #[tokio::test]
    async fn finds_member_of_json() {
        let reason = "filter: the JSON member is missing, or has another value";
        let chat = "member = { pointer = '/type', equals = 'chat' }";
        let not = ["chat", "", "{", r#"{"type":"Chat"}"#, r#"{"types":"chat"}"#, r#"["chat"]"#];
        check(chat, &[r#"{"type":"chat","x":1}"#], &not, reason).await;
        let first = "member = { pointer = '/a~1b/0' }";
        check(first, &[r#"{"a/b":[null]}"#], &[r#"{"a/b":[]}"#, r#"{"a":{"b":[1]}}"#], reason).await;
        let three = "member = { pointer = '/n', equals = 3 }";
        check(
            three,
            &[r#"{"n":3}"#, r#"{"n":3.0}"#, r#"{"n":30e-1}"#],
            &[r#"{"n":"3"}"#, r#"{"n":3.1}"#],
            reason,
        )
        .await;
        let exact = "member = { pointer = '/n', equals = 9007199254740993 }";
        check(exact, &[r#"{"n":9007199254740993}"#], &[r#"{"n":9007199254740992}"#], reason).await;
        check("member = { pointer = '/n', equals = false }", &[r#"{"n":false}"#], &[r#"{"n":0}"#], reason)
            .await;
        check("member = { pointer = '' }", &["1", "{}"], &["x"], reason).await;
        check(
            "member = { pointer = '/type' }",
            &[r#"{"type":"chat","x":"\ud83d"}"#, r#"{"type":1e999}"#, r#"{"type":"\ud83d"}"#],
            &[r#"{"x":1e999}"#, r#"{"type":"chat","x":\ud83d}"#],
            reason,
        )
        .await;
        let deep = format!(r#"{{"x":{}{},"type":"a","type":"chat"}}"#, "[".repeat(9_999), "]".repeat(9_999));
        check(chat, &[r#"{"type":"chat","x":[1e999]}"#, &deep], &[r#"{"type":"chat\ud83d"}"#], reason).await;
    }

    #[tokio::test]
    async fn drops_text_that_fails_one_of_two_conditions() {
        let both = "prefix = 'a', suffix = 'z'";
        assert_eq!(filtered(both, "abcz").await, Ok(()));
        assert_eq!(
            filtered(both, "abc").await,
            Err("filter: the text does not end with the suffix".to_owned())
        );
        assert_eq!(filtered("prefix = 'a', suffix = 'z', not = true", "abc").await, Ok(()));
    }

    #[test]
    fn rejects_invalid_settings() {
        for (settings, wanted) in [
            ("", "`filter` has no condition; expected `equals`"),
            ("not = true", "`filter` has no condition; expected `equals`"),
            ("prefix = ''", "`prefix` is empty"),
            ("matches = '('", "`matches` is not a valid regular expression: "),
            (r"matches = '\p{L}'", "`matches` is not a valid regular expression: "),
            ("matches = '(?:[a-z]{1000}){1000}'", "`matches` is not a valid regular expression: "),
            ("token_id = 3", "expected true, false, or an id in quotes"),
            ("token_id = ''", "write `token_id = false`"),
            ("member = { pointer = 'type' }", "expected a leading `/`"),
            ("member = { equals = 'x' }", "missing key `pointer`"),
            ("member = { pointer = '/a', equals = [1] }", "`equals` is a list or a table"),
            ("member = { pointer = '/a', equals = nan }", "which JSON does not have"),
            ("member = { pointer = '/a', is = 1 }", "unknown key `is`; expected `pointer` or `equals`"),
        ] {
            let faults = faulty(&format!("[{{ filter = {{ {settings} }} }}]")).unwrap_err();
            assert!(faults[0].1.contains(wanted), "{settings}: {faults:?}");
        }
    }

    #[tokio::test]
    async fn bounds_time_of_pattern() {
        let text = "a".repeat(16 * 1024);
        let started = Instant::now();
        assert!(filtered("matches = '(a*)*(a|aa)*b'", &text).await.is_err());
        // A matcher that backtracks would take far longer on any machine.
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
