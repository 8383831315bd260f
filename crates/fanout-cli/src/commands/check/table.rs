//! The routes of a file as a table, or as JSON.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use fanout_core::route::To;
use fanout_core::transform::Stage;
use serde_json::{Value, json};

use super::outline::{Outline, OutlinedDestination, OutlinedRoute, OutlinedStep, cache_of, cache_to};
use super::parameter;
use crate::error::Error;
use crate::output::{Output, Printable, Quoted};

/// The columns that are never narrower than their content.
const FIXED: [usize; 2] = [0, 3];
/// The spaces between columns.
const GAP: u16 = 2;

/// Prints the table, its notes and a summary.
pub(super) fn print(name: &str, text: &str, outline: &Outline<'_>, output: &mut Output) -> Result<(), Error> {
    for line in lines(outline, output.width()) {
        output.result(line)?;
    }
    output.result("")?;
    let mut destinations = outline.outlined.iter().flat_map(|outlined| &outlined.destinations);
    if destinations.any(|destination| destination.steps.iter().any(|step| step.shared_with.is_some())) {
        output.result("(in parentheses: applied once, together with the destinations above)")?;
    }
    for note in outline.notes().into_iter().chain(parameter::notes(text)) {
        output.result(format_args!("note: {note}"))?;
    }
    output.result(format_args!("{name}: {}", summary(outline)))
}

/// Returns the lines of the table.
fn lines(outline: &Outline<'_>, width: Option<u16>) -> Vec<String> {
    let head = ["line", "cache", "topic", "", "cache", "topic", "transforms"].map(str::to_owned);
    let rows = [head].into_iter().chain(outline.outlined.iter().flat_map(rows));
    aligned(rows, &FIXED, width)
}

/// Returns rows as lines, with the cells of each column under one another. If they would be wider than a terminal of this
/// width, cells have several lines, but for those of the `fixed` columns.
pub(super) fn aligned<const N: usize>(
    rows: impl IntoIterator<Item = [String; N]>,
    fixed: &[usize],
    width: Option<u16>,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP));
        if fixed.contains(&index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    if let Some(width) = width {
        // The spaces behind the last column are removed.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.saturating_add(GAP));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Returns a row for each destination. The first one has the route as well.
fn rows(outlined: &OutlinedRoute<'_>) -> Vec<[String; 7]> {
    let inbound = outlined.route.inbound();
    let cache = |cache: Option<String>, default: &str| {
        cache.map_or_else(|| default.to_owned(), |cache| Quoted(&cache).to_string())
    };
    let row = |(number, outlined_destination): (usize, &OutlinedDestination<'_>)| {
        let destination = outlined_destination.destination;
        let [line, from, topic] = if number > 0 {
            [const { String::new() }; 3]
        } else {
            let from = cache(cache_of(inbound), "(any)");
            let required = if outlined.route.requires_token_id() { ", with a token id" } else { "" };
            [outlined.line.to_string(), from, format!("{}{required}", Quoted(&inbound.to_string()))]
        };
        let (to, to_topic) = match &destination.to {
            To::Topic(to) => {
                let list = to.for_each.iter().map(|for_each| format!(" for each of {}", for_each.list));
                let topic = format!("{}{}", Quoted(&to.topic.to_string()), list.collect::<String>());
                (cache(cache_to(inbound, destination), "(same)"), topic)
            }
            To::Service(_) => (String::new(), Printable(&destination.to.to_string()).to_string()),
        };
        [line, from, topic, "->".to_owned(), to, to_topic, chain(&outlined_destination.steps)]
    };
    outlined.destinations.iter().enumerate().map(row).collect()
}

/// Shows a chain: the shared transforms, which come first, by their names only, because their settings are above.
fn chain(steps: &[OutlinedStep<'_>]) -> String {
    let (shared, own) = steps.split_at(steps.partition_point(|step| step.shared_with.is_some()));
    let shared: Vec<_> = shared.iter().map(|step| Printable(step.stage.name()).to_string()).collect();
    let own = own.iter().map(|step| Printable(&step.stage.to_string()).to_string());
    let shared = (!shared.is_empty()).then(|| format!("({})", shared.join(" | ")));
    let parts: Vec<_> = shared.into_iter().chain(own).collect();
    if parts.is_empty() { "(none)".to_owned() } else { parts.join(" | ") }
}

fn summary(outline: &Outline<'_>) -> String {
    let routes = outline.outlined.len();
    let destinations: usize = outline.outlined.iter().map(|outlined| outlined.destinations.len()).sum();
    let transforms = outline.outlined.iter().map(OutlinedRoute::transforms).max().unwrap_or((0, 0));
    let applied = match transforms {
        (0, _) => "no transforms".to_owned(),
        (applied, unshared) => {
            let most = if routes == 1 { "" } else { "at most " };
            let without = match unshared - applied {
                0 => String::new(),
                _ => format!(" ({unshared} if each destination had its own)"),
            };
            format!("{most}{} for each event{without}", counted(applied, "transform"))
        }
    };
    format!("{}, {}; {applied}", counted(routes, "route"), counted(destinations, "destination"))
}

/// Returns a number with its noun, such as `2 routes`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Returns the routes and their notes for programs.
pub(super) fn as_json(name: &str, text: &str, outline: &Outline<'_>) -> Value {
    let routes: Vec<_> = outline.outlined.iter().map(|outlined| route_as_json(outline, outlined)).collect();
    let notes: Vec<_> = outline.notes().into_iter().chain(parameter::notes(text)).collect();
    json!({
        "file": name, "errors": [], "routes": routes, "notes": notes, "parameter": parameter::as_json(text),
    })
}

fn route_as_json(outline: &Outline<'_>, outlined: &OutlinedRoute<'_>) -> Value {
    let inbound = outlined.route.inbound();
    let destination = |outlined: &OutlinedDestination<'_>| {
        let next: Vec<_> = outlined.next.iter().map(|index| outline.line(*index)).collect();
        let transforms: Vec<_> = outlined.steps.iter().map(step_as_json).collect();
        match &outlined.destination.to {
            To::Topic(to) => {
                let for_each = to.for_each.as_ref();
                json!({
                    "cache": cache_to(inbound, outlined.destination), "topic": to.topic.to_string(),
                    "for_each": for_each.map(|for_each| for_each.list.to_string()),
                    "max_topics": for_each.map(|for_each| for_each.max_topics),
                    "transforms": transforms, "next_lines": next,
                })
            }
            To::Service(service_destination) => json!({
                "kind": service_destination.kind(), "name": service_destination.name().to_string(),
                "transforms": transforms, "next_lines": next,
            }),
        }
    };
    let (applied, unshared) = outlined.transforms();
    json!({
        "line": outlined.line,
        "cache": cache_of(inbound),
        "topic": inbound.to_string(),
        "require_token_id": outlined.route.requires_token_id(),
        "destinations": outlined.destinations.iter().map(destination).collect::<Vec<_>>(),
        "transforms_applied": applied,
        "transforms_unshared": unshared,
    })
}

fn step_as_json(step: &OutlinedStep<'_>) -> Value {
    merged(stage_as_json(step.stage), json!({"shared": step.shared_with.is_some()}))
}

/// Returns a transform with its settings: an object, or a text if transforms are nested in it.
pub(super) fn stage_as_json(stage: &Stage) -> Value {
    let settings: Value = serde_json::from_str(stage.settings()).unwrap_or_else(|_| stage.settings().into());
    json!({"name": stage.name(), "settings": settings, "on_failure": stage.on_failure()})
}

/// Returns an object with the members of another one added.
pub(crate) fn merged(mut object: Value, mut more: Value) -> Value {
    let more = more.as_object_mut().expect("both are objects");
    object.as_object_mut().expect("both are objects").append(more);
    object
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::super::outline::tests::routes;
    use super::*;

    #[test]
    fn fits_table_into_width_of_terminal() {
        let text = "[[routes]]
topic = '{room}-publish'
transforms = [{ json = { pointer = '/message', transforms = ['trim', 'moderate'] } }]
destinations = ['{room}-out', '東京-{room}']";
        let routes = routes(text);
        let outline = Outline::new(text, &routes);
        let whole = lines(&outline, None);
        let [_, first, second] = &whole[..] else { panic!("one line for each row: {whole:#?}") };
        assert!(
            first.ends_with(r#"json {"pointer":"/message","transforms":["trim","moderate"]}"#),
            "{first}"
        );
        // Cells are under one another, also after wide characters.
        let before = |line: &str, cell: &str| line.split(cell).next().map(UnicodeWidthStr::width);
        assert_eq!(before(first, "json {"), before(second, "(json)"));
        assert_eq!(lines(&outline, Some(500)), whole);
        for width in [40, 80, 100] {
            let lines = lines(&outline, Some(width));
            assert!(lines.iter().all(|line| line.width() <= usize::from(width)), "{width}: {lines:#?}");
            let texts = |lines: &[String]| {
                let mut characters: Vec<_> = lines.iter().flat_map(|line| line.chars()).collect();
                characters.retain(|character| *character != ' ');
                characters.sort_unstable();
                characters
            };
            assert_eq!(texts(&lines), texts(&whole), "{width}: {lines:#?}");
        }
    }
}
