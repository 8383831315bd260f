//! Prints what one event becomes.

use std::collections::HashSet;

use fanout_core::destination::{Target, Topic};
use fanout_core::fan_out::{Delivery, DeliveryOutcome};
use fanout_core::reason::Reason;
use fanout_core::route::{Inbound, Plan, Planned, Topics};
use fanout_core::transform::{OnFailure, Transformed};
use momento_webhook::{Event, Verified};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::outline::{Outline, OutlinedRoute};
use super::recording::{self, Content, Recorded, Step};
use super::table::{counted, merged, stage_as_json};
use crate::error::Error;
use crate::event::verified;
use crate::output::{Output, Printable, Quoted};
use crate::translations::Translations;

/// The widest transform whose result is on the same line.
const MAX_WIDTH: usize = 40;

/// Prints what an event becomes: for people, or as one JSON object, which begins with the members of `json`.
///
/// # Errors
/// If a destination would not accept it.
pub(super) async fn run(
    outline: &Outline<'_>,
    event: &Verified<Event>,
    (json, translations): (Option<Value>, Translations),
    output: &mut Output,
) -> Result<(), Error> {
    let plan = match outline.routes.plan(event) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            return match json {
                Some(members) => {
                    output.json(&merged(members, json!({"status": "ignored", "destinations": []})))
                }
                None => ignored(outline, event, output),
            };
        }
        Err(feeds_itself) => {
            if let Some(members) = json {
                let detail = feeds_itself.to_string();
                let refused = json!({"status": "feeds_itself", "detail": detail, "destinations": []});
                output.json(&merged(members, refused))?;
            } else {
                print_event(event, output)?;
                output.result("refused  feeds_itself: the function publishes nothing")?;
            }
            return Err(Error::Failed(format!("the function refuses the event: {feeds_itself}")));
        }
    };
    let outlined = outline.find(plan.route());
    let recorded = recording::record(outlined, event).await;
    let printer = Printer { outline, outlined, plan: &plan, event };
    if let Some(members) = json {
        output.json(&merged(members, printer.as_json(&recorded)?))?;
    } else {
        printer.print(&recorded, output)?;
    }
    let translates = |one: &Recorded<'_>| one.steps.iter().any(|step| step.stage.uses("translate"));
    if translations == Translations::Pseudolocalize && recorded.iter().any(translates) {
        output.note(
            "note: `pseudolocalize` translated in place of Amazon Translate; --aws uses Amazon Translate",
        );
    }
    let classifies = |one: &Recorded<'_>| one.steps.iter().any(|step| step.stage.classifies());
    if translations == Translations::Pseudolocalize && recorded.iter().any(classifies) {
        output.note("note: `moderate` searched its lists only; with --aws it calls the service as well");
    }
    let looks_up = |one: &Recorded<'_>| one.steps.iter().any(|step| step.stage.uses("lookup"));
    if recorded.iter().any(looks_up) {
        output
            .note("note: `lookup` read no cache: values have their `default`, and lists and sets are empty");
    }
    let (failed, all) = (recorded.iter().filter(|one| !one.outcome.is_done()).count(), recorded.len());
    if failed > 0 {
        return Err(Error::Failed(format!(
            "{failed} of {} would not accept it",
            counted(all, "destination")
        )));
    }
    Ok(())
}

fn ignored(outline: &Outline<'_>, event: &Event, output: &mut Output) -> Result<(), Error> {
    print_event(event, output)?;
    output.result(
        "ignored  no route matches this cache and topic: the function responds 200 and publishes nothing",
    )?;
    for other in outline.outlined.iter().filter(|other| matches_topic(other.route.inbound(), event)) {
        output.result(format_args!("         {}", not_taken(other, event)))?;
    }
    for doubt in outline.doubts() {
        output.note(format_args!("note: {doubt}"));
    }
    Ok(())
}

fn print_event(event: &Event, output: &mut Output) -> Result<(), Error> {
    let from = event.token_id.as_deref().map_or_else(String::new, |id| format!(", from {}", Quoted(id)));
    output.result(format_args!("event    {}{from}", named(&event.cache, &event.topic)))?;
    output.result(format_args!("text     {}", Quoted(&event.text)))
}

fn target(target: &Target<'_>) -> String {
    match target {
        Target::Topic(Topic { cache, topic }) => named(cache, topic),
        Target::Service { .. } => target.to_string(),
    }
}

fn named(cache: &str, topic: &str) -> String {
    format!("{} in the cache {}", Quoted(topic), Quoted(cache))
}

/// Returns true if a route matches the topic of an event, in some cache.
fn matches_topic(inbound: &Inbound, event: &Event) -> bool {
    match &inbound.topics {
        Topics::Any => true,
        Topics::Like(pattern) => pattern.find(&event.topic).is_some(),
    }
}

/// Says why a route that matches the topic does not take the event.
fn not_taken(other: &OutlinedRoute<'_>, event: &Event) -> String {
    let inbound = other.route.inbound();
    let route = format!("not the route at line {}, {}:", other.line, Quoted(&inbound.to_string()));
    match &inbound.cache {
        Some(cache) if cache.as_str() != event.cache => {
            format!("{route} its cache is {}", Quoted(cache.as_str()))
        }
        _ => format!("{route} it is less specific"),
    }
}

/// Prints the recording of one event.
struct Printer<'t> {
    outline: &'t Outline<'t>,
    outlined: &'t OutlinedRoute<'t>,
    plan: &'t Plan<'t>,
    event: &'t Event,
}

impl Printer<'_> {
    fn print(&self, recorded: &[Recorded<'_>], output: &mut Output) -> Result<(), Error> {
        print_event(self.event, output)?;
        let inbound = self.outlined.route.inbound();
        let of = inbound
            .cache
            .as_ref()
            .map_or_else(String::new, |cache| format!(" in the cache {}", Quoted(cache.as_str())));
        output.result(format_args!(
            "route    line {}: {}{of}",
            self.outlined.line,
            Quoted(&inbound.to_string())
        ))?;
        for (name, capture) in self.captures() {
            output.result(format_args!("         {{{name}}} is {}", Quoted(capture)))?;
        }
        let others = self.outline.outlined.iter().filter(|other| other.index != self.outlined.index);
        for other in others.filter(|other| matches_topic(other.route.inbound(), self.event)) {
            output.result(format_args!("         {}", not_taken(other, self.event)))?;
        }
        for (number, (planned, recorded)) in (1..).zip(self.plan.destinations().iter().zip(recorded)) {
            output.result("")?;
            output.result(format_args!("{number}.  {}", target(&planned.target)))?;
            for line in steps(&recorded.steps) {
                output.result(format_args!("    {line}"))?;
            }
            for line in self.end(planned, recorded) {
                output.result(format_args!("    {line}"))?;
            }
        }
        output.result("")?;
        output.result("nothing was published or sent")
    }

    fn captures(&self) -> Vec<(&str, &str)> {
        self.plan.context(tokio::time::Instant::now()).captures.to_vec()
    }

    fn end(&self, planned: &Planned<'_>, recorded: &Recorded<'_>) -> Vec<String> {
        let outcome = &recorded.outcome;
        let mut lines = vec![match (outcome, &recorded.content) {
            (DeliveryOutcome::ForEach(topics), Some(Content::Text(text))) => {
                let names: Vec<_> = topics.iter().map(|delivery| target(&delivery.target)).collect();
                format!("=> would be published to {}: {}", names.join(", "), Quoted(text))
            }
            (_, Some(Content::Text(text))) => format!("=> would be published: {}", Quoted(text)),
            (_, Some(Content::Request(request))) => format!("=> would be sent to {request}"),
            (DeliveryOutcome::Dropped { transform, reason }, None) => {
                format!("=> would be dropped by {transform}: {reason}")
            }
            (DeliveryOutcome::Unnamed { missing }, None) => {
                format!("=> would be refused: the event lacks {missing}, which the destination needs")
            }
            (DeliveryOutcome::NotTransformed { transform, reason, detail }, None) => {
                format!("{} ({transform}, {reason}: {detail})", failed(*reason))
            }
            (DeliveryOutcome::RequestError { reason, detail }, None) => {
                format!("{} ({reason}: {detail})", failed(*reason))
            }
            (DeliveryOutcome::Failed { reason, .. }, None) => format!("{} ({reason})", failed(*reason)),
            (other, None) => format!("=> {}", other.status()),
        }];
        for next in self.next(planned, recorded) {
            let inbound = next.route.inbound().to_string();
            lines.push(format!("   and take the route at line {}, {}, next", next.line, Quoted(&inbound)));
        }
        lines
    }

    /// Returns the routes that a published text would take, each once.
    fn next(&self, planned: &Planned<'_>, recorded: &Recorded<'_>) -> Vec<&OutlinedRoute<'_>> {
        let targets: Vec<_> = match (&recorded.outcome, &recorded.content) {
            (DeliveryOutcome::ForEach(topics), Some(Content::Text(_))) => {
                topics.iter().map(|delivery| &delivery.target).collect()
            }
            (_, Some(Content::Text(_))) => vec![&planned.target],
            _ => Vec::new(),
        };
        let mut next: Vec<_> = targets.into_iter().filter_map(|target| self.next_of(target)).collect();
        let mut seen = HashSet::new();
        next.retain(|next| seen.insert(next.index));
        next
    }

    /// Returns the route that an event of this topic would take.
    fn next_of(&self, target: &Target<'_>) -> Option<&OutlinedRoute<'_>> {
        let topic = target.topic()?;
        let (cache, topic) = (topic.cache.to_string(), topic.topic.to_string());
        let event = verified(&Event { cache, topic, ..self.event.clone() }).ok()?;
        let plan = self.outline.routes.plan(&event).ok()??;
        Some(self.outline.find(plan.route()))
    }

    fn as_json(&self, recorded: &[Recorded<'_>]) -> Result<Value, Error> {
        // The destination as in the response of the function, and what its sender got.
        let destination = |(planned, recorded): (&Planned<'_>, &Recorded<'_>)| {
            let (target, outcome) = (planned.target.clone(), recorded.outcome.clone());
            let mut shown = serde_json::to_value(Delivery { target, outcome })?;
            // Nothing was sent.
            without_attempts(&mut shown);
            let steps: Vec<_> = recorded.steps.iter().map(step_as_json).collect();
            let content = match &recorded.content {
                None => json!({"steps": steps}),
                Some(Content::Request(request)) => json!({"steps": steps, "sent": request}),
                Some(Content::Text(text)) => {
                    let next: Vec<_> = self.next(planned, recorded).iter().map(|next| next.line).collect();
                    json!({"steps": steps, "text": text, "next_lines": next})
                }
            };
            Ok(merged(shown, content))
        };
        let captures: serde_json::Map<_, _> =
            self.captures().into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        let destinations = self.plan.destinations().iter().zip(recorded).map(destination);
        let destinations = destinations.collect::<Result<Vec<_>, Error>>()?;
        Ok(json!({
            "status": "taken",
            "route": {"line": self.outlined.line, "topic": self.outlined.route.inbound().to_string()},
            "captures": captures,
            "destinations": destinations,
        }))
    }
}

/// Removes the numbers of attempts from an outcome.
fn without_attempts(outcome: &mut Value) {
    let Some(members) = outcome.as_object_mut() else { return };
    members.remove("attempts");
    members.get_mut("topics").and_then(Value::as_array_mut).into_iter().flatten().for_each(without_attempts);
}

/// Says whether the sender of the event would retry.
const fn failed(reason: Reason) -> &'static str {
    if reason.is_transient() {
        "=> would fail, and the sender would retry"
    } else {
        "=> would be refused, and a retry would not help"
    }
}

/// Returns the text with spaces after it, up to this width.
fn padded(text: &str, wide: usize) -> String {
    let spaces = wide.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(spaces))
}

/// Returns a line for each transform, with its result.
fn steps(steps: &[Step<'_>]) -> Vec<String> {
    let names: Vec<_> = steps.iter().map(|step| Printable(&step.stage.to_string()).to_string()).collect();
    let wide =
        names.iter().map(|name| name.width()).filter(|wide| *wide <= MAX_WIDTH).max().unwrap_or_default();
    let mut lines = Vec::new();
    for (step, name) in steps.iter().zip(names) {
        if name.width() <= wide {
            lines.push(format!("{}  {}", padded(&name, wide), result(step)));
        } else {
            lines.extend([name, format!("{}  {}", " ".repeat(wide), result(step))]);
        }
    }
    lines
}

fn result(step: &Step<'_>) -> String {
    let on_failure = match step.stage.on_failure() {
        OnFailure::Fail => "",
        OnFailure::Drop => "; on_failure drops the event",
        OnFailure::Pass => "; on_failure passes the text on unchanged",
    };
    let shared = step.shared_with.map_or_else(String::new, |index| format!("shared with {}", index + 1));
    match (&step.result, step.shared_with) {
        (Ok(Transformed::Message(message)), None) => {
            let language = message.language.as_deref();
            let language = language.map_or_else(String::new, |code| format!("  (written in {code})"));
            format!("{}{language}", Quoted(&message.text))
        }
        (Ok(Transformed::Message(_)), Some(_)) => shared,
        (Ok(Transformed::Dropped(_)), None) => "dropped".to_owned(),
        (Ok(Transformed::Dropped(_)), Some(_)) => format!("dropped, {shared}"),
        (Err(error), None) => format!("failed, {}: {}{on_failure}", error.reason, error.detail),
        (Err(_), Some(_)) => format!("failed, {shared}{on_failure}"),
    }
}

fn step_as_json(step: &Step<'_>) -> Value {
    let result = match &step.result {
        Ok(Transformed::Message(message)) => json!({"text": message.text, "language": message.language}),
        Ok(Transformed::Dropped(reason)) => json!({"dropped": reason}),
        Err(error) => json!({"failed": error.reason, "detail": error.detail}),
    };
    let shared_with = json!({"shared_with": step.shared_with.map(|index| index + 1)});
    merged(merged(stage_as_json(step.stage), result), shared_with)
}
