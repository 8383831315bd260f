//! `filter`: only what meets conditions goes on; the rest is dropped.
//!
//! ```toml
//! transforms = [
//!     { filter = { prefix = "!", token_id = true } },
//!     { filter = { member = { pointer = "/type", equals = "chat" } } },
//!     { filter = { matches = '^\s*$', not = true } },
//! ]
//! ```
//!
//! All conditions of one filter have to hold; several filters in a row do the same with a reason for each.
//! Capital and small letters differ. Inside the transform `json` the text is that of the member.

use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::document::{Pointer, look_up};
use super::{Applying, Build, Context, Message, Settings, Transform, Transformed};

/// The most memory, in bytes, that a pattern may be compiled to. The time that a text takes grows with it: the
/// worst patterns of this size take tens of milliseconds for 4 KB. Those that a person writes are a tenth of it.
const MAX_PATTERN: usize = 64 * 1024;

/// At least one condition is needed.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The text is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    equals: Option<String>,
    /// The text begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// The text ends with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<String>,
    /// The text has this in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
    /// A regular expression that is found in the text: anywhere, unless it has `^` and `$`. The syntax is
    /// that of the Rust crate `regex-lite`: no look-around and no back-references; `\w`, `\d`, `\s`, `\b` and
    /// `(?i)` know ASCII only, while `.` and `[à-ÿ]` mean whole characters of any script.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<String>,
    /// `true`: whoever published the text did so with a token that has an id. `false`: there is no id. A
    /// text: the id is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<TokenId>,
    /// The text is JSON, and has a member. A text that is not JSON has none. What else is in it does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Member>,
    /// Turns the whole round: what meets all the conditions is dropped, and the rest goes on. Default:
    /// `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not: bool,
}

/// What is asked of a token's id.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "token_id is true, false or the id itself, in quotes")]
enum TokenId {
    Present(bool),
    Is(String),
}

/// What is asked of a member.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Member {
    /// Where it is: a JSON Pointer (RFC 6901), as `"/type"`. Of a member that is given twice, the last one
    /// counts.
    pointer: String,
    /// What it is: text, number, true or false; `3` and `3.0` are one number. Default: anything, `null`
    /// included.
    #[serde(skip_serializing_if = "Option::is_none")]
    equals: Option<Value>,
}

/// The conditions, read.
#[derive(Debug)]
struct Conditions {
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
    Member(Asked),
}

/// [`Member`], read.
#[derive(Debug)]
struct Asked {
    at: Pointer,
    equals: Option<Value>,
}

impl Settings for Filter {
    const NAME: &'static str = "filter";

    fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let Self { equals, prefix, suffix, contains, matches, token_id, member, not } = self;
        for (name, given) in [("prefix", &prefix), ("suffix", &suffix), ("contains", &contains)] {
            if given.as_deref() == Some("") {
                return Err(format!(
                    "every text has an empty {name}: leave it out, or say what is looked for"
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
            let message =
                "filter needs a condition: equals, prefix, suffix, contains, matches, token_id or member";
            return Err(message.to_owned());
        }
        Ok(Arc::new(Conditions { all, not }))
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_PATTERN)
        .build()
        .map_err(|error| format!("matches is no regular expression: {error}"))
}

fn check_token_id(asked: TokenId) -> Result<Condition, String> {
    match asked {
        TokenId::Is(id) if id.is_empty() => {
            Err("no token has an empty id: did you mean token_id = false?".into())
        }
        asked => Ok(Condition::TokenId(asked)),
    }
}

fn check_member(asked: Member) -> Result<Condition, String> {
    let at = Pointer::new(asked.pointer.as_str())?;
    match asked.equals {
        // There is no null in TOML: it is what is left of these.
        Some(Value::Null) => Err("no member equals inf or nan: JSON has neither".into()),
        Some(Value::Array(_) | Value::Object(_)) => {
            Err("a member equals text, a number, true or false".into())
        }
        equals @ (None | Some(Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
            Ok(Condition::Member(Asked { at, equals }))
        }
    }
}

impl Transform for Conditions {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> Applying<'t> {
        let text = &*message.text;
        let token_id = context.event.token_id.as_deref();
        let reason = match self.all.iter().find(|condition| !condition.holds(text, token_id)) {
            None if self.not => "filter: the text is one of those that are kept back",
            Some(condition) if !self.not => condition.reason(),
            None | Some(_) => return message.done(),
        };
        Box::pin(std::future::ready(Ok(Transformed::Dropped(reason.into()))))
    }
}

impl Condition {
    fn holds(&self, text: &str, token_id: Option<&str>) -> bool {
        match self {
            Self::Equals(wanted) => text == wanted,
            Self::Prefix(wanted) => text.starts_with(wanted),
            Self::Suffix(wanted) => text.ends_with(wanted),
            Self::Contains(wanted) => text.contains(wanted),
            Self::Matches(pattern) => pattern.is_match(text),
            Self::TokenId(TokenId::Present(wanted)) => token_id.is_some() == *wanted,
            Self::TokenId(TokenId::Is(wanted)) => token_id == Some(wanted),
            Self::Member(wanted) => wanted.is_in(text),
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::Equals(_) => "filter: the text is not the one that is asked for",
            Self::Prefix(_) => "filter: the text does not begin with the prefix",
            Self::Suffix(_) => "filter: the text does not end with the suffix",
            Self::Contains(_) => "filter: the text does not contain what is asked for",
            Self::Matches(_) => "filter: the text does not match the pattern",
            Self::TokenId(TokenId::Present(true)) => "filter: there is no token id",
            Self::TokenId(TokenId::Present(false)) => "filter: there is a token id",
            Self::TokenId(TokenId::Is(_)) => "filter: the token id is not the one that is asked for",
            Self::Member(_) => "filter: the text has no such member",
        }
    }
}

impl Asked {
    fn is_in(&self, text: &str) -> bool {
        let Some(member) = look_up(text, &self.at) else { return false };
        let Some(wanted) = &self.equals else { return true };
        match (member.value(), wanted) {
            (Some(Value::Number(is)), Value::Number(wanted)) => same_number(&is, wanted),
            (is, wanted) => is.as_ref() == Some(wanted),
        }
    }
}

fn same_number(one: &Number, other: &Number) -> bool {
    let whole = one.is_f64() || other.is_f64();
    // 3 and 3.0 are the same; two whole numbers are compared to the last digit.
    one == other || whole && one.as_f64().partial_cmp(&other.as_f64()).is_some_and(std::cmp::Ordering::is_eq)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::transform::tests::{faulty, stages, through};

    /// Whether `text` goes on, or why not.
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
            let reason = Err("filter: the text is one of those that are kept back".to_owned());
            assert_eq!(filtered(&not, text).await, reason, "{settings}: {text}");
        }
        for text in dropped {
            assert_eq!(filtered(settings, text).await, Err(reason.to_owned()), "{settings}: {text}");
            assert_eq!(filtered(&not, text).await, Ok(()), "{settings}: {text}");
        }
    }

    #[tokio::test]
    async fn each_condition_holds_or_not() {
        check("equals = 'a'", &["a"], &["A", "ab", ""], "filter: the text is not the one that is asked for")
            .await;
        check("equals = ''", &[""], &[" "], "filter: the text is not the one that is asked for").await;
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
            "filter: the text does not contain what is asked for",
        )
        .await;
        let reason = "filter: the text does not match the pattern";
        check(r"matches = '\d{2}'", &["a12b"], &["1a2", "٣٤"], reason).await;
        check("matches = '^[à-ÿ].$'", &["é😀"], &["e😀", "é😀x", "É😀"], reason).await;
        check("matches = '(?i)^hello'", &["HELLO x"], &["x hello"], reason).await;
    }

    #[tokio::test]
    async fn the_token_id_is_there_or_is_the_one() {
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
                    deadline: tokio::time::Instant::now(),
                };
                let made = stages[0].apply(Message::new("x"), &context).await.unwrap();
                assert_eq!(matches!(made, Transformed::Message(_)), holds, "{token_id:?} {asked}");
            }
        }
    }

    #[tokio::test]
    async fn a_member_is_looked_up_in_the_json() {
        let reason = "filter: the text has no such member";
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
    async fn all_conditions_have_to_hold() {
        let both = "prefix = 'a', suffix = 'z'";
        assert_eq!(filtered(both, "abcz").await, Ok(()));
        assert_eq!(
            filtered(both, "abc").await,
            Err("filter: the text does not end with the suffix".to_owned())
        );
        assert_eq!(filtered("prefix = 'a', suffix = 'z', not = true", "abc").await, Ok(()));
    }

    #[test]
    fn settings_that_cannot_be_right_are_refused() {
        for (settings, wanted) in [
            ("", "filter needs a condition: equals"),
            ("not = true", "filter needs a condition: equals"),
            ("prefix = ''", "every text has an empty prefix"),
            ("matches = '('", "matches is no regular expression: "),
            (r"matches = '\p{L}'", "matches is no regular expression: "),
            ("matches = '(?:[a-z]{1000}){1000}'", "matches is no regular expression: "),
            ("token_id = 3", "token_id is true, false or the id itself"),
            ("token_id = ''", "did you mean token_id = false"),
            ("member = { pointer = 'type' }", "should begin with a slash"),
            ("member = { equals = 'x' }", "missing key `pointer`"),
            ("member = { pointer = '/a', equals = [1] }", "a member equals text"),
            ("member = { pointer = '/a', equals = nan }", "JSON has neither"),
            ("member = { pointer = '/a', is = 1 }", "unknown key `is`; expected `pointer` or `equals`"),
        ] {
            let faults = faulty(&format!("[{{ filter = {{ {settings} }} }}]")).unwrap_err();
            assert!(faults[0].1.contains(wanted), "{settings}: {faults:?}");
        }
    }

    #[tokio::test]
    async fn no_pattern_takes_for_ever() {
        let text = "a".repeat(16 * 1024);
        let started = Instant::now();
        assert!(filtered("matches = '(a*)*(a|aa)*b'", &text).await.is_err());
        // Far from what one that tries again would take, on any machine.
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
