//! What becomes of one event, told.

use fanout_core::destination::{Target, Topic};
use fanout_core::fan_out::{Delivery, DeliveryOutcome};
use fanout_core::reason::Reason;
use fanout_core::route::{Inbound, Plan, Planned, Topics};
use fanout_core::transform::{OnFailure, Transformed};
use momento_webhook::{Event, Verified};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::columns::padded;
use super::outline::{Outline, Outlined};
use super::recording::{self, Content, Recorded, Step};
use super::table::{counted, stage_as_json};
use crate::error::Error;
use crate::event::verified;
use crate::output::{Output, Printable, Quoted};
use crate::translations::Translations;

/// The widest a transform may be for what it made to stand beside it.
const WIDEST: usize = 40;

/// Tells what becomes of an event; an error where not all would be as it should.
pub(super) async fn run(
    outline: &Outline<'_>,
    event: &Verified<Event>,
    (is_json, translations): (bool, Translations),
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
    let outlined = outline.find(plan.route()).expect("the outline has all routes");
    let recorded = recording::record(outlined, event).await;
    let teller = Teller { outline, outlined, plan: &plan, event };
    if is_json {
        output.json(&teller.as_json(&recorded)?)?;
    } else {
        teller.tell(&recorded, output)?;
    }
    let translates = |one: &Recorded<'_>| one.steps.iter().any(|step| step.stage.uses("translate"));
    if translations == Translations::StandIn && recorded.iter().any(translates) {
        output.note("note: translations are stood in for; --aws asks Amazon Translate");
    }
    let (failed, all) = (recorded.iter().filter(|one| !one.outcome.is_done()).count(), recorded.len());
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
        Target::Aws { .. } => target.to_string(),
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
    fn tell(&self, recorded: &[Recorded<'_>], output: &mut Output) -> Result<(), Error> {
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
        for (place, (planned, recorded)) in self.plan.destinations().iter().zip(recorded).enumerate() {
            output.result("")?;
            let number = place + 1;
            output.result(format_args!("{number}.  {}", target(&planned.target)))?;
            for line in steps(&recorded.steps) {
                output.result(format_args!("    {line}"))?;
            }
            for line in self.end(planned, recorded) {
                output.result(format_args!("    {line}"))?;
            }
        }
        output.result("")?;
        output.result("nothing was published")
    }

    fn captures(&self) -> Vec<(&str, &str)> {
        self.plan.context(tokio::time::Instant::now()).captures.to_vec()
    }

    fn end(&self, planned: &Planned<'_>, recorded: &Recorded<'_>) -> Vec<String> {
        let outcome = &recorded.outcome;
        let mut lines = vec![match (outcome, &recorded.content) {
            (_, Some(Content::Text(text))) => format!("=> would be published: {}", Quoted(text)),
            (_, Some(Content::Request(request))) => format!("=> would be sent to {request}"),
            (DeliveryOutcome::Dropped { transform, reason }, None) => {
                format!("=> would be dropped by {transform}: {reason}")
            }
            (DeliveryOutcome::Unnamed { missing }, None) => {
                format!("=> would be refused: the event has no {missing}, which the destination needs")
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
        if let (Some(Content::Text(_)), Some(next)) = (&recorded.content, self.next(&planned.target)) {
            let inbound = next.route.inbound().to_string();
            lines.push(format!("   and go on with the route at line {}, {}", next.line, Quoted(&inbound)));
        }
        lines
    }

    /// The route that an event of this topic would take.
    fn next(&self, target: &Target<'_>) -> Option<&Outlined<'_>> {
        let topic = target.topic()?;
        let (cache, topic) = (topic.cache.to_string(), topic.topic.to_string());
        let event = verified(&Event { cache, topic, ..self.event.clone() }).ok()?;
        let plan = self.outline.routes.plan(&event).ok()??;
        self.outline.find(plan.route())
    }

    fn as_json(&self, recorded: &[Recorded<'_>]) -> Result<Value, Error> {
        // As the response of the function has it, and what its senders got.
        let destination = |(planned, recorded): (&Planned<'_>, &Recorded<'_>)| {
            let (target, outcome) = (planned.target.clone(), recorded.outcome.clone());
            let mut shown = serde_json::to_value(Delivery { target, outcome })?;
            // Nothing was sent.
            shown.as_object_mut().map(|members| members.remove("attempts"));
            merge(&mut shown, json!({"steps": recorded.steps.iter().map(step_as_json).collect::<Vec<_>>()}));
            match &recorded.content {
                None => {}
                Some(Content::Request(request)) => merge(&mut shown, json!({"sent": request})),
                Some(Content::Text(text)) => {
                    let next = self.next(&planned.target).map(|next| next.line);
                    merge(&mut shown, json!({"text": text, "next_line": next}));
                }
            }
            Ok(shown)
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

/// Returns what the sender of the event would have to do.
const fn failed(reason: Reason) -> &'static str {
    if reason.is_transient() {
        "=> would fail, and the sender would try again"
    } else {
        "=> would be refused, and trying again would not help"
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
    match (&step.result, step.shared_with) {
        (Ok(Transformed::Message(message)), None) => {
            let language = message.language.as_deref();
            let language = language.map_or_else(String::new, |code| format!("  (written in {code})"));
            format!("{}{language}", Quoted(&message.text))
        }
        (Ok(Transformed::Message(_)), Some(_)) => shared,
        (Ok(Transformed::Dropped(_)), None) => "dropped".to_owned(),
        (Ok(Transformed::Dropped(_)), Some(_)) => format!("dropped, {shared}"),
        (Err(error), None) => format!("failed, {}: {}{passes}", error.reason, error.detail),
        (Err(_), Some(_)) => format!("failed, {shared}{passes}"),
    }
}

fn step_as_json(step: &Step<'_>) -> Value {
    let mut shown = stage_as_json(step.stage);
    let made = match &step.result {
        Ok(Transformed::Message(message)) => json!({"text": message.text, "language": message.language}),
        Ok(Transformed::Dropped(reason)) => json!({"dropped": reason}),
        Err(error) => json!({"failed": error.reason, "detail": error.detail}),
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
