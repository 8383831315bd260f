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
            To::Topic(topic) => doubts.extend(doubt_of_name(&topic.topic.to_string())),
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
