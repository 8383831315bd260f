//! The filters and tests of templates: those that a text needs, each of a bounded result.
//!
//! The engine's own bounds are far too wide for a function of 128 MB: it repeats a string up to 100 MB, joins
//! a list with whatever stands between, indents and pads as far as a number says. So it begins with
//! nothing; what makes no more than a few times what it is given is taken from the engine, and the rest
//! is here.

use std::borrow::Cow;
use std::io::{self, Write};
use std::string::FromUtf8Error;
use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, filters, tests};

use super::MOST_BYTES;

type Register = fn(&mut Environment<'static>, &'static str);

/// Every filter.
pub(super) const FILTERS: [(&str, Register); 19] = [
    ("capitalize", |engine, name| engine.add_filter(name, filters::capitalize)),
    ("count", |engine, name| engine.add_filter(name, filters::length)),
    ("d", |engine, name| engine.add_filter(name, filters::default)),
    ("default", |engine, name| engine.add_filter(name, filters::default)),
    ("e", |engine, name| engine.add_filter(name, filters::escape)),
    ("escape", |engine, name| engine.add_filter(name, filters::escape)),
    ("first", |engine, name| engine.add_filter(name, filters::first)),
    ("items", |engine, name| engine.add_filter(name, filters::items)),
    ("join", |engine, name| engine.add_filter(name, join)),
    ("last", |engine, name| engine.add_filter(name, filters::last)),
    ("length", |engine, name| engine.add_filter(name, filters::length)),
    ("lower", |engine, name| engine.add_filter(name, filters::lower)),
    ("replace", |engine, name| engine.add_filter(name, replace)),
    ("split", |engine, name| engine.add_filter(name, filters::split)),
    ("title", |engine, name| engine.add_filter(name, filters::title)),
    ("tojson", |engine, name| engine.add_filter(name, tojson)),
    ("trim", |engine, name| engine.add_filter(name, filters::trim)),
    ("truncate", |engine, name| engine.add_filter(name, truncate)),
    ("upper", |engine, name| engine.add_filter(name, filters::upper)),
];

/// Every test, as in `is defined`.
pub(super) const TESTS: [(&str, Register); 10] = [
    ("boolean", |engine, name| engine.add_test(name, tests::is_boolean)),
    ("defined", |engine, name| engine.add_test(name, tests::is_defined)),
    ("endingwith", |engine, name| engine.add_test(name, tests::is_endingwith)),
    ("iterable", |engine, name| engine.add_test(name, tests::is_iterable)),
    ("mapping", |engine, name| engine.add_test(name, tests::is_mapping)),
    ("none", |engine, name| engine.add_test(name, tests::is_none)),
    ("number", |engine, name| engine.add_test(name, tests::is_number)),
    ("startingwith", |engine, name| engine.add_test(name, tests::is_startingwith)),
    ("string", |engine, name| engine.add_test(name, tests::is_string)),
    ("undefined", |engine, name| engine.add_test(name, tests::is_undefined)),
];

/// What is wrong with an empty text as the first argument of `replace`.
const NOTHING_TO_REPLACE: &str = "there is nothing to replace";

/// How many arguments a filter or a test takes, beside what it is applied to: the least, the most, and those that
/// may be given by a name.
pub(super) fn arguments(name: &str) -> (usize, usize, &'static [&'static str]) {
    match name {
        "join" => (0, 1, &["attribute"]),
        "d" | "default" | "split" => (0, 2, &[]),
        "replace" => (2, 2, &[]),
        "trim" => (0, 1, &[]),
        "truncate" => (1, 2, &[]),
        "endingwith" | "startingwith" => (1, 1, &[]),
        _ => (0, 0, &[]),
    }
}

/// Why the engine could not do something, where it says so without a part of a value: its words may have one.
pub(super) fn reason(error: &Error) -> Cow<'static, str> {
    const TYPES: [&str; 11] = [
        "undefined",
        "bool",
        "number",
        "string",
        "bytes",
        "sequence",
        "map",
        "iterable",
        "plain object",
        "none",
        "kwargs",
    ];
    let known = |wanted: &str| TYPES.into_iter().find(|name| *name == wanted);
    let detail = error.detail().unwrap_or_default();
    if let Some((operator, types)) = detail
        .strip_prefix("tried to use ")
        .and_then(|rest| rest.split_once(" operator on unsupported types "))
        && let Some((one, other)) = types.split_once(" and ")
        && let (Some(one), Some(other)) = (known(one), known(other))
        && let Some(operator) = ["+", "-", "/", "//", "%"].into_iter().find(|known| *known == operator)
    {
        return format!("there is no {one} {operator} {other}").into();
    }
    if let Some((is, wanted)) =
        detail.strip_prefix("cannot convert ").and_then(|rest| rest.split_once(" to "))
        && let Some(is) = known(is)
    {
        let wanted = match wanted {
            "usize" | "i64" => "a whole number",
            "string" => "text",
            _ => "something else",
        };
        return format!("{wanted} is needed, and there is a {is}").into();
    }
    if detail.starts_with("unable to calculate ") {
        return "a number is divided by nothing, or becomes too large".into();
    }
    if detail.ends_with("is not iterable") {
        return "a list is needed, and there is none".into();
    }
    if detail.starts_with("cannot calculate length of ") {
        return "a text or a list is needed".into();
    }
    Cow::Borrowed(match (detail, error.kind()) {
        (NOTHING_TO_REPLACE, _) => NOTHING_TO_REPLACE,
        ("value is not a string", _) => "text is needed",
        ("cannot convert value into pairs", _) => "an object is needed",
        ("cannot get first item from value" | "cannot get last item from value", _) => {
            "a text or a list is needed"
        }
        ("cannot perform a containment check on this value", _) => "`in` needs a text, a list or an object",
        (_, ErrorKind::MissingArgument) => "an argument is missing",
        (_, ErrorKind::TooManyArguments) => "there is an argument too many",
        (_, ErrorKind::CannotUnpack) => "what a loop goes through has not the parts that it names",
        _ => "the values are not such that this can be done with them",
    })
}

/// An engine with these and nothing else: no function, no global name.
pub(super) fn engine() -> Environment<'static> {
    static ENGINE: OnceLock<Environment<'static>> = OnceLock::new();
    // What is cloned shares the filters and tests.
    ENGINE.get_or_init(build).clone()
}

fn build() -> Environment<'static> {
    let mut engine = Environment::empty();
    for (name, register) in FILTERS.into_iter().chain(TESTS) {
        register(&mut engine, name);
    }
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_syntax(syntax());
    engine.set_formatter(|out, _, value| Ok(out.write_str(&written(value)?)?));
    engine
}

/// What stands in the result for a value: a text is itself, everything else is JSON. The engine would write
/// `True` and `None`.
fn written(value: &Value) -> Result<Cow<'_, str>, Error> {
    match value.as_str() {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => tojson(value).map(Cow::Owned),
    }
}

/// A template's last line feed is a part of it, as every other.
pub(super) fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// The members of a list in one text: `members | join(", ", attribute="name")`.
#[expect(clippy::needless_pass_by_value, reason = "the engine hands its arguments over")]
fn join(list: &Value, between: Option<Cow<'_, str>>, options: Kwargs) -> Result<Value, Error> {
    let attribute: Option<&str> = options.get("attribute")?;
    options.assert_all_used()?;
    let mut made = Bounded::new(MOST_BYTES);
    for (place, member) in list.try_iter()?.enumerate() {
        if let Some(between) = between.as_deref().filter(|_| place > 0) {
            made.write_all(between.as_bytes()).map_err(too_large)?;
        }
        let member = match attribute {
            Some(attribute) => member.get_attr(attribute)?,
            None => member,
        };
        made.write_all(written(&member)?.as_bytes()).map_err(too_large)?;
    }
    made.into_text().map(Value::from).map_err(|_| ErrorKind::InvalidOperation.into())
}

/// `text | replace("from", "to")`.
#[expect(clippy::needless_pass_by_value, reason = "the engine hands its arguments over")]
fn replace(text: Cow<'_, str>, from: Cow<'_, str>, to: Cow<'_, str>) -> Result<String, Error> {
    if from.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, NOTHING_TO_REPLACE));
    }
    let places = text.matches(&*from).count();
    let grown = places.saturating_mul(to.len().saturating_sub(from.len()));
    if text.len().saturating_add(grown) > MOST_BYTES {
        return Err(too_large(()));
    }
    Ok(text.replace(&*from, &to))
}

/// Any value as JSON, with nothing between its parts. It can stand in a JSON text as it is.
fn tojson(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let mut made = Bounded::new(MOST_BYTES);
    serde_json::to_writer(&mut made, value).map_err(|error| {
        let kind = if error.is_io() { ErrorKind::WriteFailure } else { ErrorKind::BadSerialization };
        Error::from(kind)
    })?;
    made.into_text().map_err(|_| ErrorKind::BadSerialization.into())
}

/// At most so many characters; where something is cut off, the last of them are `end`: `truncate(80)`,
/// `truncate(80, "...")`.
fn truncate(text: Cow<'_, str>, length: usize, end: Option<Cow<'_, str>>) -> String {
    if text.chars().nth(length).is_none() {
        return text.into_owned();
    }
    let end = end.unwrap_or(Cow::Borrowed("…"));
    let kept = length.saturating_sub(end.chars().count());
    text.chars().take(kept).chain(end.chars().take(length)).collect()
}

fn too_large<E>(_: E) -> Error {
    ErrorKind::WriteFailure.into()
}

/// Bytes up to a limit: what would go beyond is an error, and is not taken.
#[derive(Debug)]
pub(super) struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Bounded {
    pub(super) const fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
    }

    pub(super) fn into_text(self) -> Result<String, FromUtf8Error> {
        String::from_utf8(self.bytes)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
