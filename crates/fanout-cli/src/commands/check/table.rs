//! The routes of a file as a table, and as JSON.

use fanout_core::route::To;
use fanout_core::transform::Stage;
use serde_json::{Value, json};

use super::columns::aligned;
use super::outline::{Outline, Outlined, StepOut, WayOut, cache_of, cache_to};
use crate::error::Error;
use crate::output::{Output, Printable, Quoted};

/// Prints the table, and what there is to say about it.
pub(super) fn print(name: &str, outline: &Outline<'_>, output: &mut Output) -> Result<(), Error> {
    let head = ["line", "cache", "topic", "", "cache", "topic", "transforms"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(outline.outlined.iter().flat_map(rows)).collect();
    for line in aligned(&rows) {
        output.result(line)?;
    }
    output.result("")?;
    let steps = || outline.outlined.iter().flat_map(|outlined| &outlined.ways).flat_map(|way| &way.steps);
    if steps().any(|step| step.shared_with.is_some()) {
        output.result("(in parentheses: done once, with the same for the destinations above)")?;
    }
    for note in outline.notes() {
        output.result(format_args!("note: {note}"))?;
    }
    output.result(format_args!("{name}: {}", summary(outline)))
}

/// One row for each destination; the route stands in the first.
fn rows(outlined: &Outlined<'_>) -> Vec<[String; 7]> {
    let inbound = outlined.route.inbound();
    let cache = |cache: Option<String>, else_| cache.map_or(else_, |cache| Quoted(&cache).to_string());
    let row = |(number, way): (usize, &WayOut<'_>)| {
        let [line, from, topic] = if number > 0 {
            [const { String::new() }; 3]
        } else {
            let from = cache(cache_of(inbound), "(any)".to_owned());
            [outlined.line.to_string(), from, Quoted(&inbound.to_string()).to_string()]
        };
        let same = if way.destination.to.topic().is_some() { "(same)" } else { "" };
        let to = cache(cache_to(inbound, way.destination), same.to_owned());
        let to_topic = match &way.destination.to {
            To::Topic(to) => Quoted(&to.topic.to_string()).to_string(),
            To::Aws(_) => Printable(&way.destination.to.to_string()).to_string(),
        };
        [line, from, topic, "->".to_owned(), to, to_topic, chain(way)]
    };
    outlined.ways.iter().enumerate().map(row).collect()
}

fn chain(way: &WayOut<'_>) -> String {
    // The settings of what is shared stand above.
    let shown = |step: &StepOut<'_>| {
        let stage = step.stage;
        if step.shared_with.is_some() {
            Printable(stage.name()).to_string()
        } else {
            Printable(&stage.to_string()).to_string()
        }
    };
    let shown = |steps: &[StepOut<'_>]| steps.iter().map(shown).collect::<Vec<_>>().join(" | ");
    // What is shared is what chains begin with.
    let shared = way.steps.iter().take_while(|step| step.shared_with.is_some()).count();
    match way.steps.split_at_checked(shared) {
        None | Some(([], [])) => "(none)".to_owned(),
        Some(([], own)) => shown(own),
        Some((shared, [])) => format!("({})", shown(shared)),
        Some((shared, own)) => format!("({}) | {}", shown(shared), shown(own)),
    }
}

fn summary(outline: &Outline<'_>) -> String {
    let routes = outline.outlined.len();
    let destinations: usize = outline.outlined.iter().map(|outlined| outlined.ways.len()).sum();
    let transforms = outline.outlined.iter().map(Outlined::transforms).max().unwrap_or_default();
    let applied = match transforms {
        (0, _) => "texts stay as they are".to_owned(),
        (applied, unshared) => {
            let most = if routes == 1 { "an event has" } else { "an event has at most" };
            let without = match unshared - applied {
                0 => String::new(),
                _ => format!(" ({unshared} if each destination had its own)"),
            };
            format!("{most} {} applied{without}", counted(applied, "transform"))
        }
    };
    format!("{}, {}; {applied}", counted(routes, "route"), counted(destinations, "destination"))
}

/// A number of things.
pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The same for programs.
pub(super) fn as_json(name: &str, outline: &Outline<'_>) -> Value {
    let routes: Vec<_> = outline.outlined.iter().map(|outlined| route_as_json(outline, outlined)).collect();
    json!({"file": name, "errors": [], "routes": routes, "notes": outline.notes()})
}

fn route_as_json(outline: &Outline<'_>, outlined: &Outlined<'_>) -> Value {
    let inbound = outlined.route.inbound();
    let destination = |way: &WayOut<'_>| {
        let next: Vec<_> = way.next.iter().map(|place| outline.line(*place)).collect();
        let transforms: Vec<_> = way.steps.iter().map(step_as_json).collect();
        match &way.destination.to {
            To::Topic(to) => json!({
                "cache": cache_to(inbound, way.destination), "topic": to.topic.to_string(),
                "transforms": transforms, "next_lines": next,
            }),
            To::Aws(aws_destination) => json!({
                "kind": aws_destination.kind(), "name": aws_destination.name().to_string(), "transforms": transforms, "next_lines": next,
            }),
        }
    };
    let (applied, unshared) = outlined.transforms();
    json!({
        "line": outlined.line,
        "cache": cache_of(inbound),
        "topic": inbound.to_string(),
        "destinations": outlined.ways.iter().map(destination).collect::<Vec<_>>(),
        "transforms_applied": applied,
        "transforms_unshared": unshared,
    })
}

fn step_as_json(step: &StepOut<'_>) -> Value {
    let mut shown = stage_as_json(step.stage);
    if let Some(members) = shown.as_object_mut() {
        members.insert("shared".to_owned(), step.shared_with.is_some().into());
    }
    shown
}

/// A transform with its settings: an object, or a text where there are transforms inside.
pub(super) fn stage_as_json(stage: &Stage) -> Value {
    let settings: Value = serde_json::from_str(stage.settings()).unwrap_or_else(|_| stage.settings().into());
    json!({"name": stage.name(), "settings": settings, "on_failure": stage.on_failure()})
}
