//! Finds valid settings that are probably a habit from another tool, and would fail in silence.

use fanout_core::destination::ServiceDestination;
use fanout_core::placeholder::{foreign_parameters, known_placeholder};
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
        match &destination.to {
            To::Topic(topic) => doubts.extend(doubt_of_name(&topic.topic.to_string())),
            To::Service(service) => doubts.extend(doubts_of_request(service, &captures)),
        }
        doubts.extend(destination.chain.iter().flat_map(|stage| doubts_of_transform(stage, &captures)));
    }
    let mut seen = std::collections::HashSet::new();
    doubts.retain(|doubt| seen.insert(doubt.clone()));
    doubts
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
    let texts = service.templates().into_iter().map(ToString::to_string);
    texts.flat_map(|text| doubts_of_text(service.kind(), &text, captures)).collect()
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
    foreign_parameters(text, captures).into_iter().map(doubt).collect()
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
