//! Finds valid settings that are probably a habit from another tool, and would fail in silence.

use fanout_core::destination::ServiceDestination;
use fanout_core::placeholder::{Field, Template, foreign_parameters, known_placeholder};
use fanout_core::route::{Destination, Route, To, Topics};
use fanout_core::transform::Stage;
use serde_json::Value;

use crate::output::Quoted;

/// Returns what is doubtful in a route, each once.
pub(super) fn doubts(route: &Route) -> Vec<String> {
    let mut doubts = Vec::new();
    let captures: Vec<_> = match &route.inbound().topics {
        Topics::Any => Vec::new(),
        Topics::Like(pattern) => {
            doubts.extend(doubt_of_name(&pattern.to_string()));
            pattern.names().collect()
        }
    };
    let is_moderated =
        |destination: &Destination| destination.chain.iter().any(|stage| stage.uses("moderate"));
    let some_are_moderated = route.destinations().iter().any(is_moderated);
    for destination in route.destinations() {
        if some_are_moderated && !is_moderated(destination) {
            doubts.push(format!(
                "{} gets texts without `moderate`, which other destinations of the route have; `transforms` replaces the \
                 transforms of the route, and `extra_transforms` adds to them",
                Quoted(&destination.to.to_string())
            ));
        }
        doubts.extend(doubts_of_owners(destination));
        match &destination.to {
            To::Topic(topic) => {
                let name = topic.topic.to_string();
                let of_capture = || {
                    let doubt = doubt_of_sign(&name, &captures, "")?;
                    Some(format!("the topic {} {doubt}", Quoted(&name)))
                };
                doubts.extend(doubt_of_name(&name).or_else(of_capture));
            }
            To::Service(service) => doubts.extend(doubts_of_request(service, &captures)),
        }
        doubts.extend(destination.chain.iter().flat_map(|stage| doubts_of_transform(stage, &captures)));
    }
    let mut seen = std::collections::HashSet::new();
    doubts.retain(|doubt| seen.insert(doubt.clone()));
    doubts
}

/// Returns a doubt for each name of a destination, or key of a `lookup`, that two people can share.
fn doubts_of_owners(destination: &Destination) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |settings: &Value, keys: &[&str]| {
        let mut texts = Vec::new();
        keys.iter().filter_map(|key| settings.get(key)).for_each(|value| strings(value, &mut texts));
        names.extend(texts.into_iter().map(str::to_owned));
    };
    for stage in destination.chain.iter().filter(|stage| stage.name() == "lookup") {
        let settings = serde_json::from_str(stage.settings()).expect("the settings of a stage are JSON");
        add(&settings, &["item", "dictionary", "field", "list", "set"]);
    }
    match &destination.to {
        To::Service(service) => add(service.settings(), &["key", "field", "element"]),
        To::Topic(topic) => names.push(topic.topic.to_string()),
    }
    names.iter().filter_map(|name| doubt_of_owner(name)).collect()
}

/// Returns a doubt if a name has the id of a person and a value that the author of a message chooses. With
/// `{token_id}-{json.course}`, the person `a-b` with the course `c` has the name of the person `a` with the course `b-c`.
fn doubt_of_owner(name: &str) -> Option<String> {
    let template = Template::new(name).expect("the name of a valid file is valid");
    // A capture is a part of the topic that the author publishes to.
    let is_chosen = |name: &&str| {
        matches!(*name, "topic" | "json" | "text" | "original" | "document") || Field::named(name).is_none()
    };
    let chosen = template.names().find(is_chosen)?;
    template.names().find(|name| *name == "token_id")?;
    Some(format!(
        "the name {} has `{{token_id}}` beside `{{{chosen}}}`, which the author of a message chooses: the name can be \
         that of another person, unless token ids never have the text between the two; `field` of a `dictionary` keeps \
         them apart",
        Quoted(name)
    ))
}

/// Returns what is doubtful in the name of a topic. Quoted characters are meant.
fn doubt_of_name(source: &str) -> Option<String> {
    let outside: String = source.split('{').enumerate().fold(String::new(), |text, (index, part)| {
        let literal = if index == 0 { Some(part) } else { part.split_once('}').map(|(_, after)| after) };
        text + literal.unwrap_or_default()
    });
    let varies = "write `{name}` for a part that varies";
    let doubt = if ["(.", ".+", "\\d", "\\w", "[^"].iter().any(|sign| outside.contains(sign))
        || outside.starts_with('^')
        || outside.ends_with('$')
    {
        format!("looks like a regular expression, which topics are not; {varies}")
    } else if let Some(sign) = ['?', '[', '>'].into_iter().find(|sign| outside.contains(*sign)) {
        format!("has `{sign}`, which is not a wildcard here; {varies}, or `{{'{sign}'}}` if it is meant")
    } else if outside.starts_with("https://") || outside.starts_with("http://") {
        "is a URL, which topics are not; URLs are targets of the relay, in `relay.toml`".to_owned()
    } else if let Some(doubt) = doubt_of_sign(source, &[], varies).or_else(|| doubt_of_hash(source)) {
        doubt
    } else if outside.contains(',') {
        "has a comma, and is one topic; for several, write a list of names".to_owned()
    } else if source.trim() != source {
        "begins or ends with white space, which is part of the name".to_owned()
    } else {
        return None;
    };
    Some(format!("the topic {} {doubt}", Quoted(source)))
}

/// Returns what is doubtful in the texts of a request.
fn doubts_of_request(service: &ServiceDestination, captures: &[&str]) -> Vec<String> {
    let (kind, mut doubts) = (service.kind(), Vec::new());
    for text in service.templates().into_iter().map(ToString::to_string) {
        doubts.extend(doubts_of_text(kind, &text, captures));
        doubts.extend(doubt_of_hash(&text).map(|doubt| format!("`{kind}` {doubt}")));
    }
    doubts
}

/// Returns what is doubtful in the settings of a transform.
fn doubts_of_transform(stage: &Stage, captures: &[&str]) -> Vec<String> {
    let name = stage.name();
    let Ok(mut settings) = serde_json::from_str::<Value>(stage.settings()) else { return Vec::new() };
    // The only setting of `filter` with placeholders.
    if name == "filter"
        && let Some(settings) = settings.as_object_mut()
    {
        settings.remove("value");
    }
    let mut texts = Vec::new();
    strings(&settings, &mut texts);
    match name {
        "template" | "json" | "lookup" => {
            texts.iter().flat_map(|text| doubts_of_text(name, text, captures)).collect()
        }
        "filter" | "moderate" | "truncate" => {
            let literal = |text: &&str| {
                known_placeholder(text, captures).map(|placeholder| {
                    format!(
                        "`{name}` has `{placeholder}`, but its settings have no placeholders; it compares or adds \
                         these characters"
                    )
                })
            };
            texts.iter().filter_map(literal).collect()
        }
        _ => Vec::new(),
    }
}

fn doubts_of_text(of: &str, text: &str, captures: &[&str]) -> Vec<String> {
    let doubt = |(written, meant)| {
        format!("`{of}` has `{written}`, which is a plain text; for its value write `{meant}`")
    };
    let sign = doubt_of_sign(text, captures, "for a value write a placeholder, such as `{text}`");
    let sign = sign.map(|doubt| format!("`{of}` {doubt}"));
    foreign_parameters(text, captures).into_iter().map(doubt).chain(sign).collect()
}

/// Returns a doubt if a name or a text of a request has the `#{...}` of Ruby. In other texts, `#{json.number}` is meant: it makes `#42`.
fn doubt_of_hash(text: &str) -> Option<String> {
    text.contains("#{").then(|| {
        "has `#` before a placeholder; write `{topic}` without the `#`, or `{'#'}` if it is meant".to_owned()
    })
}

/// Returns a doubt if a text has a format of C, such as `%s`, or `:` and the name of a capture that it does not use otherwise.
fn doubt_of_sign(text: &str, captures: &[&str], remedy: &str) -> Option<String> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let found = |sign: &str| {
        text.match_indices(sign).any(|(at, _)| {
            let before = text.get(..at).unwrap_or_default();
            let behind = text.get(at + sign.len()..).unwrap_or_default();
            !before.ends_with(|char: char| char.is_ascii_digit()) && !behind.starts_with(is_word)
        })
    };
    if let Some(format) = ["%s", "%d", "%v", "%@"].into_iter().find(|format| found(format)) {
        let rest = format.trim_start_matches('%');
        return Some(format!(
            "has `{format}`, which is a plain text; {remedy}, or `{{'%'}}{rest}` if it is meant"
        ));
    }
    let capture = captures.iter().find(|capture| {
        found(&format!(":{capture}")) && !text.starts_with(':') && !text.contains(&format!("{{{capture}"))
    })?;
    Some(format!("has `:{capture}`, which is a plain text; for its value write `{{{capture}}}`"))
}

/// Collects all texts in a JSON value.
fn strings<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(values) => values.iter().for_each(|value| strings(value, texts)),
        Value::Object(members) => members.values().for_each(|value| strings(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
