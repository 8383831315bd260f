//! What a person, or a program, gets to see.

use std::time::Duration;

use fanout_core::destination::AwsRequest;
use serde_json::json;

use super::answer::Outcome;
use super::function::Function;
use super::network::{Network, To, Topic, Way};
use super::plan::{Origin, Plan};
use super::tracker::Id;
use crate::deliver::Delivered;
use crate::error::Error;
use crate::output::{Output, Quoted, Took, millis, reason_phrase};
use crate::service::Service;
use crate::translations::Translations;

/// How much is told, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Everything, for people.
    Human,
    /// Arrivals and failures, for people.
    Quiet,
    /// Everything, one JSON object per line.
    Json,
}

/// Tells what happens.
#[derive(Debug)]
pub(super) struct Report<'o> {
    pub(super) style: Style,
    pub(super) output: &'o mut Output,
}

type Told = Result<(), Error>;

impl Report<'_> {
    /// Everything runs.
    pub(super) fn ready(&mut self, plan: &Plan, service: &Service, function: &Function, typed: bool) -> Told {
        let inbound = plan.network.inbound();
        match self.style {
            Style::Quiet => Ok(()),
            Style::Json => {
                let outbound: Vec<_> = plan.network.outbound().map(|topic| topic.name.as_str()).collect();
                self.json(&json!({
                    "event": "ready", "momento": service.endpoint(), "function": function.url().as_str(),
                    "cache": inbound.cache, "inbound": inbound.name, "outbound": outbound,
                    "routes": routes(&plan.network),
                    "translations": plan.translates().then(|| plan.translations.name()),
                    "secret": plan.secret.reveal(), "environment": plan.environment(service),
                }))
            }
            Style::Human => {
                let momento = if plan.momento.momento_endpoint.is_none() {
                    "in this process"
                } else {
                    "running elsewhere"
                };
                let runs = match (&plan.origin, function.is_in_process()) {
                    (_, false) => "running elsewhere".to_owned(),
                    (Origin::Flags { transform, .. }, true) => {
                        format!("in this process, transform: {transform}")
                    }
                    (Origin::File(path), true) => format!("in this process, routes: {path}"),
                };
                let secret = if plan.secret_is_new { "made for this run" } else { "as given" };
                self.line("Momento", format_args!("{}  ({momento})", service.endpoint()))?;
                self.line("function", format_args!("{}  ({runs})", function.url()))?;
                if function.is_in_process() && plan.translates() {
                    self.line(
                        "",
                        format_args!(
                            "{}",
                            match plan.translations {
                                Translations::Pseudolocalize =>
                                    "translations: stood in for by `pseudolocalize`; --aws asks Amazon Translate",
                                Translations::Amazon =>
                                    "translations: by Amazon Translate, which costs money",
                            }
                        ),
                    )?;
                }
                if function.is_in_process() && plan.leaves_momento() && plan.sender().is_none() {
                    self.line(
                        "",
                        format_args!("what is for no topic is shown and not sent; --aws sends it"),
                    )?;
                }
                self.line("secret", format_args!("{}  ({secret})", plan.secret.reveal()))?;
                self.topics(plan)?;
                if !function.is_in_process() {
                    self.environment(plan, service)?;
                }
                self.output.result("")?;
                if typed {
                    let inbound = Quoted(&inbound.name);
                    self.output.result(format_args!(
                        "Type a line to publish it to {inbound}; Ctrl-D or Ctrl-C ends this."
                    ))?;
                }
                Ok(())
            }
        }
    }

    /// Where texts go: on one line, or with what is done on the way where that is another from destination
    /// to destination.
    fn topics(&mut self, plan: &Plan) -> Told {
        let network = &plan.network;
        if let Origin::Flags { .. } = plan.origin {
            let inbound = network.inbound();
            let outbound: Vec<_> = network.outbound().map(|topic| Quoted(&topic.name).to_string()).collect();
            let (cache, inbound) = (Quoted(&inbound.cache), Quoted(&inbound.name));
            return self
                .line("topics", format_args!("{inbound} -> {}, in the cache {cache}", outbound.join(", ")));
        }
        for (place, topic) in network.topics().iter().enumerate() {
            let Some(ways) = &topic.ways else { continue };
            if place == Network::INBOUND {
                let (cache, topic) = (Quoted(&topic.cache), Quoted(&topic.name));
                self.line("route", format_args!("{topic}, in the cache {cache}"))?;
            } else {
                self.line("route", format_args!("{}", network.name(place)))?;
            }
            for way in ways {
                let to = match &way.to {
                    To::Place(place) => network.name(*place),
                    To::Aws(aws_destination) => aws_destination.clone(),
                    To::Unknown { topic, .. } => Quoted(topic).to_string(),
                };
                let chain = if way.chain.is_empty() { "as it is".to_owned() } else { way.chain.join(", ") };
                self.line("", format_args!("-> {to}  ({chain})"))?;
            }
        }
        Ok(())
    }

    fn environment(&mut self, plan: &Plan, service: &Service) -> Told {
        self.output.results(
            "\nThe function has to run with these settings, as with `cargo lambda watch` in another shell:\n\n",
        )?;
        for line in plan.environment(service) {
            self.output.result(format_args!("  {line}"))?;
        }
        self.output.results("\n--secret and --momento-port keep them the same from run to run.")?;
        if !plan.topics_fit_a_variable() {
            self.output.note(
                "OUTBOUND_TOPICS cannot hold a name with a comma or with spaces at its ends beside others: \
                 the function has to name its topics in another way",
            );
        }
        Ok(())
    }

    /// A text is about to be published.
    pub(super) fn sent(&mut self, id: Id, text: &str, plan: &Plan) -> Told {
        match self.style {
            Style::Quiet => Ok(()),
            Style::Json => self.json(&json!({"event": "sent", "id": id.text, "text": text})),
            Style::Human => {
                let inbound = plan.network.name(Network::INBOUND);
                self.line("sent", format_args!("{}  to {inbound}", Quoted(text)))
            }
        }
    }

    /// An attempt to deliver has failed, and another follows.
    pub(super) fn try_again(
        &mut self,
        id: Id,
        failure: &str,
        (attempt, of): (u32, u32),
        pause: Duration,
    ) -> Told {
        match self.style {
            Style::Json => self.json(&json!({
                "event": "attempt_failed", "id": id.text, "attempt": attempt, "reason": failure,
                "retry_in_ms": millis(pause),
            })),
            Style::Human | Style::Quiet => {
                let pause = Took(pause);
                self.aside("retry", format_args!("attempt {attempt} of {of}: {failure}; again in {pause}"));
                Ok(())
            }
        }
    }

    /// The function has taken an event of `topic`.
    pub(super) fn delivered(
        &mut self,
        id: Id,
        network: &Network,
        delivered: &Delivered,
        took: Duration,
    ) -> Told {
        let status = delivered.answer.status.as_u16();
        match self.style {
            Style::Quiet => Ok(()),
            Style::Json => {
                let answer = serde_json::from_str(&delivered.answer.body)
                    .unwrap_or_else(|_| json!(delivered.answer.body));
                self.json(&json!({
                    "event": "delivered", "id": id.text, "topic": network.topic(id.place).map(|topic| &topic.name),
                    "status": status, "attempts": delivered.attempts,
                    "took_ms": millis(took), "answer": answer,
                }))
            }
            Style::Human => {
                let attempt = match delivered.attempts {
                    1 => String::new(),
                    attempts => format!(" at attempt {attempts}"),
                };
                let of = match id.place {
                    Network::INBOUND => String::new(),
                    place => format!("  for {}", network.name(place)),
                };
                let status = reason_phrase(delivered.answer.status);
                self.line("webhook", format_args!("{status}{attempt}  in {}{of}", Took(took)))
            }
        }
    }

    /// A message has arrived on the topic in `place`; `of` says what it is, where that is known.
    pub(super) fn arrived(
        &mut self,
        network: &Network,
        place: usize,
        value: &str,
        of: Option<(Id, Duration)>,
    ) -> Told {
        match self.style {
            Style::Json => {
                let topic = network.topic(place);
                self.json(&json!({
                    "event": "arrived", "id": of.map(|(id, _)| id.text),
                    "cache": topic.map(|topic| &topic.cache), "topic": topic.map(|topic| &topic.name),
                    "text": value, "latency_ms": of.map(|(_, latency)| millis(latency)),
                }))
            }
            Style::Human | Style::Quiet => {
                let (value, topic) = (Quoted(value), network.name(place));
                match of {
                    Some((_, latency)) => {
                        self.line("arrived", format_args!("{value}  on {topic}  after {}", Took(latency)))
                    }
                    None => self.line("arrived", format_args!("{value}  on {topic}  (of nothing sent here)")),
                }
            }
        }
    }

    /// It was decided that a topic gets nothing of a text.
    pub(super) fn dropped(
        &mut self,
        id: Id,
        text: &str,
        (network, cache, topic): (&Network, &str, &str),
        reason: &str,
    ) -> Told {
        match self.style {
            Style::Json => self.json(&json!({
                "event": "dropped", "id": id.text, "text": text, "cache": cache, "topic": topic,
                "reason": reason,
            })),
            Style::Human | Style::Quiet => {
                let (text, topic) = (Quoted(text), network.name_of(cache, topic));
                self.line("dropped", format_args!("{text}  for {topic}: {reason}"))
            }
        }
    }

    /// The function has something for a place that is no topic.
    pub(super) fn handing_in(&mut self, request: &AwsRequest, is_sent: bool) -> Told {
        match self.style {
            Style::Json => self.json(&json!({
                "event": "handed_in", "kind": request.kind(), "name": request.name(), "sent": is_sent,
                "what": request,
            })),
            Style::Human | Style::Quiet => {
                let label = if is_sent { "sent" } else { "not sent" };
                self.line(label, format_args!("to {request}"))
            }
        }
    }

    /// A function that runs elsewhere has handed something in.
    pub(super) fn taken_elsewhere(&mut self, outcome: &Outcome) -> Told {
        match self.style {
            // The answer is shown whole.
            Style::Json | Style::Quiet => Ok(()),
            Style::Human => self.line("taken", format_args!("by {}", place(outcome))),
        }
    }

    /// It was decided that a place that is no topic gets nothing of a text.
    pub(super) fn dropped_elsewhere(&mut self, id: Id, text: &str, outcome: &Outcome, reason: &str) -> Told {
        match self.style {
            Style::Json => self.json(&json!({
                "event": "dropped", "id": id.text, "text": text, "kind": outcome.kind, "name": outcome.topic,
                "reason": reason,
            })),
            Style::Human | Style::Quiet => {
                let (text, place) = (Quoted(text), place(outcome));
                self.line("dropped", format_args!("{text}  for {place}: {reason}"))
            }
        }
    }

    /// The function has published to a topic that is not subscribed to.
    pub(super) fn published_unseen(&mut self, network: &Network, cache: &str, topic: &str) -> Told {
        match self.style {
            // The answer is shown whole.
            Style::Json | Style::Quiet => Ok(()),
            Style::Human => self.line(
                "published",
                format_args!("to {}, which is not subscribed to", network.name_of(cache, topic)),
            ),
        }
    }

    /// Nothing more will come of a message.
    pub(super) fn failed(&mut self, id: Id, text: &str, reason: &str) -> Told {
        match self.style {
            Style::Json => {
                self.json(&json!({"event": "failed", "id": id.text, "text": text, "reason": reason}))
            }
            Style::Human | Style::Quiet => {
                self.aside("failed", format_args!("{}: {reason}", Quoted(text)));
                Ok(())
            }
        }
    }

    /// Something that concerns no message, or none that is followed.
    pub(super) fn notice(&mut self, notice: &str) -> Told {
        match self.style {
            Style::Json => self.json(&json!({"event": "notice", "notice": notice})),
            Style::Human | Style::Quiet => {
                self.aside("note", format_args!("{notice}"));
                Ok(())
            }
        }
    }

    fn aside(&mut self, label: &str, rest: std::fmt::Arguments<'_>) {
        self.output.note(format_args!("{label:<9} {rest}"));
    }

    fn line(&mut self, label: &str, rest: std::fmt::Arguments<'_>) -> Told {
        self.output.result(format_args!("{label:<9} {rest}"))
    }

    fn json(&mut self, line: &serde_json::Value) -> Told {
        self.output.json(line)
    }
}

/// What is no topic, by its kind and its name.
fn place(outcome: &Outcome) -> String {
    let kind = outcome.kind.as_deref().unwrap_or_default();
    format!("{kind} {}", outcome.topic)
}

/// Where texts go, for programs.
fn routes(network: &Network) -> serde_json::Value {
    let way = |way: &Way| match &way.to {
        To::Place(place) => {
            let topic = network.topic(*place);
            let (cache, topic) = (topic.map(|topic| &topic.cache), topic.map(|topic| &topic.name));
            json!({"cache": cache, "topic": topic, "transforms": way.chain})
        }
        To::Aws(aws_destination) => json!({"aws_destination": aws_destination, "transforms": way.chain}),
        To::Unknown { topic, why } => {
            json!({"topic": topic, "transforms": way.chain, "not_subscribed_to": why})
        }
    };
    let route = |topic: &Topic| {
        let ways: Vec<_> = topic.ways.as_ref()?.iter().map(way).collect();
        Some(json!({"cache": topic.cache, "topic": topic.name, "destinations": ways}))
    };
    network.topics().iter().filter_map(route).collect()
}
