//! What becomes of one event, told.

use fanout_core::destination::{Target, Topic};
use fanout_core::route::{Inbound, Plan, Planned, Topics};
use fanout_core::transform::OnFailure;
use momento_webhook::{Event, Verified};
use serde_json::{Value, json};

use unicode_width::UnicodeWidthStr as _;

use super::columns::padded;
use super::outline::{Outline, Outlined};
use super::table::{counted, stage_as_json};
use super::walk::{self, End, Made, Step, Walked};
use crate::error::Error;
use crate::output::{Output, Printable, Quoted};

/// The widest a transform may be for what it made to stand beside it.
const WIDEST: usize = 40;

/// Tells what becomes of an event; an error where not all would be as it should.
pub(super) async fn run(
    outline: &Outline<'_>,
    event: &Verified<Event>,
    is_json: bool,
    output: &mut Output,
) -> Result<(), Error> {
    let plan = match outline.routes.plan(event) {
        Ok(Some(plan)) => plan,
        Ok(None) if is_json => return output.json(&json!({"status": "ignored", "destinations": []})),
        Ok(None) => return ignored(outline, event, output),
        Err(feeds_itself) => {
            if is_json {
                let detail = feeds_itself.to_string();
                output.json(&json!({"status": "feeds_itself", "detail": detail, "destinations": []}))?;
            } else {
                tell_event(event, output)?;
                output.result("refused  feeds_itself: nothing is published")?;
            }
            return Err(Error::Failed(format!("the event would be refused: {feeds_itself}")));
        }
    };
    // The plan is of these very routes.
    let Some(outlined) = outline.find(plan.route()) else { return Ok(()) };
    let walked = walk::walk(&plan, outlined).await;
    let teller = Teller { outline, outlined, plan: &plan, event };
    if is_json {
        output.json(&teller.as_json(&walked))?;
    } else {
        teller.tell(&walked, output)?;
    }
    let (failed, all) = (walked.iter().filter(|one| !one.end.is_good()).count(), walked.len());
    if failed > 0 {
        return Err(Error::Failed(format!(
            "{failed} of {} would not be served",
            counted(all, "destination")
        )));
    }
    Ok(())
}

fn ignored(outline: &Outline<'_>, event: &Event, output: &mut Output) -> Result<(), Error> {
    tell_event(event, output)?;
    output.result(
        "ignored  no route is for this topic of this cache; the answer is 200, and nothing is published",
    )?;
    for other in outline.outlined.iter().filter(|other| is_like(other.route.inbound(), event)) {
        output.result(format_args!("         {}", not_taken(other, event)))?;
    }
    Ok(())
}

fn tell_event(event: &Event, output: &mut Output) -> Result<(), Error> {
    let from = event.token_id.as_deref().map_or_else(String::new, |id| format!(", from {}", Quoted(id)));
    output.result(format_args!("event    {}{from}", named(&event.cache, &event.topic)))?;
    output.result(format_args!("text     {}", Quoted(&event.text)))
}

fn target(target: &Target<'_>) -> String {
    match target {
        Target::Topic(Topic { cache, topic }) => named(cache, topic),
        Target::Aws { .. } => Printable(&target.to_string()).to_string(),
    }
}

/// The same for programs.
fn names(target: &Target<'_>) -> Value {
    match target {
        Target::Topic(Topic { cache, topic }) => json!({"cache": cache, "topic": topic}),
        Target::Aws { kind, name } => json!({"kind": kind, "name": name}),
    }
}

fn named(cache: &str, topic: &str) -> String {
    format!("{} in the cache {}", Quoted(topic), Quoted(cache))
}

/// Whether the topics of a route are like that of an event, whatever its cache.
fn is_like(inbound: &Inbound, event: &Event) -> bool {
    match &inbound.topics {
        Topics::Any => true,
        Topics::Like(pattern) => pattern.find(&event.topic).is_some(),
    }
}

/// Why a route whose topics fit does not get the event.
fn not_taken(other: &Outlined<'_>, event: &Event) -> String {
    let inbound = other.route.inbound();
    let route = format!("not by the route at line {}, {}:", other.line, Quoted(&inbound.to_string()));
    match &inbound.cache {
        Some(cache) if cache.as_str() != event.cache => {
            format!("{route} it is for the cache {}", Quoted(cache.as_str()))
        }
        _ => format!("{route} it is less close"),
    }
}

struct Teller<'t> {
    outline: &'t Outline<'t>,
    outlined: &'t Outlined<'t>,
    plan: &'t Plan<'t>,
    event: &'t Event,
}

impl Teller<'_> {
    fn tell(&self, walked: &[Walked<'_>], output: &mut Output) -> Result<(), Error> {
        tell_event(self.event, output)?;
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
        let others = self.outline.outlined.iter().filter(|other| other.place != self.outlined.place);
        for other in others.filter(|other| is_like(other.route.inbound(), self.event)) {
            output.result(format_args!("         {}", not_taken(other, self.event)))?;
        }
        for (place, (planned, walked)) in self.plan.destinations().iter().zip(walked).enumerate() {
            output.result("")?;
            let number = place + 1;
            output.result(format_args!("{number}.  {}", target(&planned.target)))?;
            for line in steps(&walked.steps) {
                output.result(format_args!("    {line}"))?;
            }
            for line in self.end(planned, &walked.end) {
                output.result(format_args!("    {line}"))?;
            }
        }
        output.result("")?;
        output.result("nothing was published")
    }

    fn captures(&self) -> Vec<(&str, &str)> {
        self.plan.context(tokio::time::Instant::now()).captures.to_vec()
    }

    fn end(&self, planned: &Planned<'_>, end: &End<'_>) -> Vec<String> {
        match end {
            End::Published(text) => {
                let mut lines = vec![format!("=> would be published: {}", Quoted(text))];
                if let Some(next) = self.next(&planned.target) {
                    let inbound = Quoted(&next.route.inbound().to_string()).to_string();
                    lines.push(format!("   and go on with the route at line {}, {inbound}", next.line));
                }
                lines
            }
            End::HandedIn(request) => {
                vec![format!("=> would be sent to {}", Printable(&request.to_string()))]
            }
            End::RequestError { reason, detail } => {
                vec![format!(
                    "=> would be refused, and to try again not help ({reason}: {})",
                    Printable(detail)
                )]
            }
            End::Dropped { transform, reason } => {
                vec![format!("=> would be dropped by {}: {}", Printable(transform), Printable(reason))]
            }
            End::Failed { transform, reason, detail } => {
                let then = if reason.is_transient() {
                    "would fail, and the sender try again"
                } else {
                    "would be refused, and to try again not help"
                };
                vec![format!("=> {then} ({}, {reason}: {})", Printable(transform), Printable(detail))]
            }
            End::Unnamed { missing } => {
                vec![format!("=> would be refused: the event has no {missing}, which the destination needs")]
            }
        }
    }

    /// The route that an event of this topic would take.
    fn next(&self, target: &Target<'_>) -> Option<&Outlined<'_>> {
        let topic = target.topic()?;
        let (cache, topic) = (topic.cache.to_string(), topic.topic.to_string());
        let event = walk::signed(&Event { cache, topic, ..self.event.clone() }).ok()?;
        let plan = self.outline.routes.plan(&event).ok()??;
        self.outline.find(plan.route())
    }

    fn as_json(&self, walked: &[Walked<'_>]) -> Value {
        let destination = |(planned, walked): (&Planned<'_>, &Walked<'_>)| {
            let mut shown = json!({
                "steps": walked.steps.iter().map(step_as_json).collect::<Vec<_>>(),
            });
            let end = match &walked.end {
                End::Published(text) => {
                    let next = self.next(&planned.target).map(|next| next.line);
                    json!({"status": "published", "text": text, "next_line": next})
                }
                End::HandedIn(request) => json!({"status": "published", "sent": request}),
                End::RequestError { reason, detail } => {
                    json!({"status": "refused", "reason": reason, "detail": detail})
                }
                End::Dropped { transform, reason } => {
                    json!({"status": "dropped", "transform": transform, "reason": reason})
                }
                End::Failed { transform, reason, detail } => {
                    let status = if reason.is_transient() { "failed" } else { "refused" };
                    json!({"status": status, "transform": transform, "reason": reason, "detail": detail})
                }
                End::Unnamed { missing } => {
                    json!({"status": "refused", "detail": format!("the event has no {missing}")})
                }
            };
            merge(&mut shown, names(&planned.target));
            merge(&mut shown, end);
            shown
        };
        let captures: serde_json::Map<_, _> =
            self.captures().into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        let destinations: Vec<_> = self.plan.destinations().iter().zip(walked).map(destination).collect();
        json!({
            "status": "taken",
            "route": {"line": self.outlined.line, "topic": self.outlined.route.inbound().to_string()},
            "captures": captures,
            "destinations": destinations,
        })
    }
}

/// The transforms as lines, with what each made beside it.
fn steps(steps: &[Step<'_>]) -> Vec<String> {
    let names: Vec<_> = steps.iter().map(|step| Printable(&step.stage.to_string()).to_string()).collect();
    let wide = names.iter().map(|name| name.width()).filter(|wide| *wide <= WIDEST).max().unwrap_or_default();
    let mut lines = Vec::new();
    for (step, name) in steps.iter().zip(names) {
        if name.width() <= wide {
            lines.push(format!("{}  {}", padded(&name, wide), made(step)));
        } else {
            lines.extend([name, format!("{}  {}", " ".repeat(wide), made(step))]);
        }
    }
    lines
}

fn made(step: &Step<'_>) -> String {
    let passes = match step.stage.on_failure() {
        OnFailure::Fail => "",
        OnFailure::Drop => "; on_failure drops it",
        OnFailure::Pass => "; on_failure lets the text go on as it was",
    };
    let shared = step.shared_with.map_or_else(String::new, |place| format!("shared with {}", place + 1));
    match &step.made {
        Made::Message(_) if step.shared_with.is_some() => shared,
        Made::Message(message) => {
            let language = message.language.as_deref();
            let language =
                language.map_or_else(String::new, |code| format!("  (written in {})", Printable(code)));
            format!("{}{language}", Quoted(&message.text))
        }
        Made::Dropped(_) if step.shared_with.is_some() => format!("dropped, {shared}"),
        Made::Dropped(_) => "dropped".to_owned(),
        Made::Failed(..) if step.shared_with.is_some() => format!("failed, {shared}{passes}"),
        Made::Failed(reason, detail) => format!("failed, {reason}: {}{passes}", Printable(detail)),
    }
}

fn step_as_json(step: &Step<'_>) -> Value {
    let mut shown = stage_as_json(step.stage);
    let made = match &step.made {
        Made::Message(message) => json!({"text": message.text, "language": message.language}),
        Made::Dropped(reason) => json!({"dropped": reason}),
        Made::Failed(reason, detail) => json!({"failed": reason, "detail": detail}),
    };
    merge(&mut shown, made);
    merge(&mut shown, json!({"shared_with": step.shared_with.map(|place| place + 1)}));
    shown
}

/// Adds the members of one object to another.
fn merge(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}
