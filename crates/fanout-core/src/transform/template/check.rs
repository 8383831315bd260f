//! What a template may say, before it is used.
//!
//! Names, filters and tests that do not exist are found when a file is read, not when a message comes. And
//! no value inside a template may become many times larger than what came in: a function that ran out of
//! memory would take other events with it. The engine bounds its steps, not the sizes of its values, so a
//! template has
//!
//! - no multiplication, which repeats texts and lists;
//! - no blocks that keep what is written inside them, or that call themselves;
//! - and each of its expressions is weighed: a name weighs 1, or what its value weighed when it was set. An
//!   expression of strings and lists cannot be larger than its weight times the largest thing that came in.
//!
//! With no value that goes on from one turn of a loop to the next (the engine forgets what was set inside),
//! the weights are found in one walk from top to bottom, over the tokens that the engine itself sees.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Environment;
use minijinja::machinery::{Token, tokenize};

use super::filters;

pub(super) const CACHE: &str = "cache";
pub(super) const TOPIC: &str = "topic";
pub(super) const TEXT: &str = "text";
pub(super) const ORIGINAL: &str = "original";
pub(super) const TOKEN_ID: &str = "token_id";
pub(super) const NUMBER: &str = "topic_sequence_number";
pub(super) const PAGE: &str = "topic_sequence_page";
pub(super) const EVENT_TIMESTAMP: &str = "event_timestamp";
pub(super) const PUBLISH_TIMESTAMP: &str = "publish_timestamp";
pub(super) const LANGUAGE: &str = "language";
pub(super) const JSON: &str = "json";
pub(super) const DOCUMENT: &str = "document";

/// What every template may name beside the captures of its route: no capture has one of these names.
pub const FIELDS: [&str; 12] = [
    CACHE,
    DOCUMENT,
    EVENT_TIMESTAMP,
    JSON,
    LANGUAGE,
    ORIGINAL,
    PUBLISH_TIMESTAMP,
    TEXT,
    TOKEN_ID,
    TOPIC,
    NUMBER,
    PAGE,
];

/// The blocks that there are.
const BLOCKS: [&str; 7] = ["if", "elif", "else", "endif", "for", "endfor", "set"];

/// Words of the language, which are no names.
const WORDS: [&str; 18] = [
    "if", "elif", "else", "endif", "for", "endfor", "set", "in", "is", "not", "and", "or", "true", "false",
    "none", "True", "False", "None",
];

/// The most that an expression may weigh.
const HEAVIEST: usize = 128;

/// The names that a template uses, of those that there are: its own are not among them.
pub(super) fn names(
    engine: &Environment<'_>,
    source: &str,
    captures: &[&str],
) -> Result<Vec<String>, String> {
    let mut check = Check::default();
    check.source(source)?;
    let undeclared = engine
        .get_template(super::NAME)
        .map(|template| template.undeclared_variables(false))
        .unwrap_or_default();
    let is_own = |name: &str| check.weights.contains_key(name);
    let is_there = |name: &str| FIELDS.contains(&name) || captures.contains(&name);
    let sliced = check.sliced.iter().copied().filter(|name| !is_own(name));
    // The engine keeps this word for blocks, which there are not here.
    let reserved = check.names.iter().copied().filter(|name| *name == "self");
    let missing: BTreeSet<&str> = undeclared
        .iter()
        .map(String::as_str)
        .chain(sliced)
        .chain(reserved)
        .filter(|name| !is_there(name) || *name == "self")
        .collect();
    if !missing.is_empty() {
        let missing: Vec<_> = missing.into_iter().collect();
        let mut there: Vec<_> = FIELDS.iter().chain(captures).copied().collect();
        there.sort_unstable();
        return Err(format!(
            "the template names {}, which there is not; there are: {}",
            missing.join(", "),
            there.join(", ")
        ));
    }
    let used: Vec<_> = check.names.into_iter().filter(|name| is_there(name)).map(ToOwned::to_owned).collect();
    let twice = used.iter().find(|name| FIELDS.contains(&name.as_str()) && captures.contains(&name.as_str()));
    if let Some(name) = twice {
        return Err(format!(
            "the template names {name}, which is both what every template has and a capture of its route: call \
             the capture something else"
        ));
    }
    Ok(used)
}

#[derive(Default)]
struct Check<'s> {
    /// All that may be names.
    names: BTreeSet<&'s str>,
    /// Those of which a part is taken: the engine does not report them.
    sliced: BTreeSet<&'s str>,
    /// What the template's own names weigh.
    weights: BTreeMap<&'s str, usize>,
}

impl<'s> Check<'s> {
    fn source(&mut self, source: &'s str) -> Result<(), String> {
        let mut tag: Option<(bool, Vec<Token<'s>>)> = None;
        for token in tokenize(source, false, filters::syntax()) {
            let (token, place) = token.map_err(|error| error.to_string())?;
            let at = |fault: String| format!("line {} of the template: {fault}", place.start_line);
            match (token, &mut tag) {
                (Token::BlockStart, _) => tag = Some((true, Vec::new())),
                (Token::VariableStart, _) => tag = Some((false, Vec::new())),
                (Token::BlockEnd | Token::VariableEnd, _) => match tag.take() {
                    Some((true, tokens)) => self.block(&tokens).map_err(at)?,
                    Some((false, tokens)) => drop(self.expression(&tokens).map_err(at)?),
                    None => {}
                },
                (token, Some((_, tokens))) => tokens.push(token),
                (_, None) => {}
            }
        }
        Ok(())
    }

    fn block(&mut self, tokens: &[Token<'s>]) -> Result<(), String> {
        let Some((Token::Ident(keyword), rest)) = tokens.split_first() else { return Ok(()) };
        match (*keyword, rest) {
            ("set", [Token::Ident(name), Token::Assign, value @ ..]) => {
                let weight = self.expression(value)?;
                self.weigh(name, weight);
            }
            ("set", _) => {
                return Err(
                    "one name is set to one value, as in {% set name = token_id or \"somebody\" %}".into()
                );
            }
            ("for", _) => {
                let is_in = |token: &Token<'_>| matches!(token, Token::Ident("in"));
                let mut halves = rest.splitn(2, is_in);
                let (own, list) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
                if list.iter().any(|token| matches!(token, Token::Ident("recursive"))) {
                    return Err("a loop cannot be recursive".into());
                }
                // The condition of a loop may name what it goes through.
                let names = own.iter().filter_map(|token| match token {
                    Token::Ident(name) => Some(*name),
                    _ => None,
                });
                let names: Vec<_> = names.collect();
                for name in &names {
                    self.weigh(name, 1);
                }
                let weight = self.expression(list)?;
                for name in names {
                    self.weigh(name, weight);
                }
                self.weigh("loop", weight);
            }
            (keyword, rest) if BLOCKS.contains(&keyword) => drop(self.expression(rest)?),
            (keyword, _) => {
                return Err(format!("there is no block {keyword:?}; there are: if, for and set"));
            }
        }
        Ok(())
    }

    /// A name may be set more than once; the heaviest counts.
    fn weigh(&mut self, name: &'s str, weight: usize) {
        let known = self.weights.entry(name).or_default();
        *known = weight.max(*known);
    }

    /// What an expression weighs.
    fn expression(&mut self, tokens: &[Token<'s>]) -> Result<usize, String> {
        let mut weight = 1_usize;
        let before = |place: usize, back: usize| place.checked_sub(back).and_then(|place| tokens.get(place));
        for (place, token) in tokens.iter().enumerate() {
            let name = match token {
                Token::Mul | Token::Pow => {
                    return Err("a template cannot multiply".into());
                }
                Token::Int(0) | Token::Float(0.0)
                    if matches!(before(place, 1), Some(Token::Div | Token::FloorDiv | Token::Mod)) =>
                {
                    return Err("this divides by nothing".into());
                }
                Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
                    weight += 1;
                    continue;
                }
                Token::Ident(name) => *name,
                _ => continue,
            };
            match (before(place, 2), before(place, 1)) {
                (_, Some(Token::Pipe)) => {
                    is_one_of("filter", name, &filters::FILTERS.map(|(name, _)| name))?;
                    check_arguments(name, behind(tokens, place), false)?;
                    continue;
                }
                (owner, Some(Token::Dot)) => {
                    let is_called = matches!(tokens.get(place + 1), Some(Token::ParenOpen));
                    if is_called && !matches!(owner, Some(Token::Ident("loop"))) {
                        return Err(format!(
                            "there is no method {name:?}: a filter may do it, as in text | upper"
                        ));
                    }
                    continue;
                }
                (of, Some(Token::Ident("is"))) if !matches!(of, Some(Token::Dot)) && name != "not" => {
                    is_one_of("test", name, &filters::TESTS.map(|(name, _)| name))?;
                    check_arguments(name, behind(tokens, place), true)?;
                    continue;
                }
                (Some(Token::Ident("is")), Some(Token::Ident("not"))) => {
                    is_one_of("test", name, &filters::TESTS.map(|(name, _)| name))?;
                    check_arguments(name, behind(tokens, place), true)?;
                    continue;
                }
                _ => {}
            }
            if WORDS.contains(&name) {
                continue;
            }
            self.names.insert(name);
            if matches!(tokens.get(place + 1), Some(Token::BracketOpen)) {
                self.sliced.insert(name);
            }
            weight = weight.saturating_add(self.weights.get(name).copied().unwrap_or(1));
        }
        if weight > HEAVIEST {
            return Err("this would become many times larger than the message: put less together".into());
        }
        Ok(weight)
    }
}

fn behind<'t, 's>(tokens: &'t [Token<'s>], place: usize) -> &'t [Token<'s>] {
    tokens.get(place + 1..).unwrap_or_default()
}

/// Whether a filter or a test is given as many arguments as it takes: else it would fail for every message. A
/// test may have one without brackets.
fn check_arguments(name: &str, behind: &[Token<'_>], is_test: bool) -> Result<(), String> {
    let (least, most, known) = filters::arguments(name);
    let count = match behind.split_first() {
        Some((Token::ParenOpen, given)) => {
            let (mut count, mut depth, mut is_new) = (0, 1_usize, true);
            for (place, token) in given.iter().enumerate() {
                match token {
                    Token::ParenClose | Token::BracketClose | Token::BraceClose => depth -= 1,
                    Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
                    _ => {}
                }
                match (token, given.get(place + 1)) {
                    _ if depth == 0 => break,
                    (Token::Comma, _) if depth == 1 => is_new = true,
                    (Token::Ident(own), Some(Token::Assign)) if depth == 1 => {
                        if !known.contains(own) {
                            let only = if known.is_empty() {
                                String::new()
                            } else {
                                format!(", only {}", known.join(", "))
                            };
                            return Err(format!("{name} has no argument named {own}{only}"));
                        }
                        is_new = false;
                    }
                    _ => count += usize::from(std::mem::take(&mut is_new)),
                }
            }
            count
        }
        Some((Token::Ident(word), _)) => usize::from(is_test && !WORDS.contains(word)),
        Some((Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_), _)) => {
            usize::from(is_test)
        }
        Some((Token::BracketOpen | Token::BraceOpen, _)) => usize::from(is_test),
        _ => 0,
    };
    let takes = match (least, most) {
        (_, 0) => "no arguments".to_owned(),
        (1, 1) => "1 argument".to_owned(),
        (least, most) if least == most => format!("{most} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    };
    if (least..=most).contains(&count) { Ok(()) } else { Err(format!("{name} takes {takes}, not {count}")) }
}

/// The filters in a line of a template, in their order.
pub(super) fn filters(source: &str, line: usize) -> Vec<String> {
    let mut filters = Vec::new();
    let mut is_next = false;
    for (token, place) in tokenize(source, false, filters::syntax()).map_while(Result::ok) {
        match token {
            Token::Ident(name) if is_next && usize::from(place.start_line) == line => {
                filters.push(name.to_owned());
            }
            _ => {}
        }
        is_next = matches!(token, Token::Pipe);
    }
    filters.dedup();
    filters
}

fn is_one_of(kind: &str, name: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&name) {
        return Ok(());
    }
    Err(format!("there is no {kind} {name:?}; there are: {}", known.join(", ")))
}
