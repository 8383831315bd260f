//! Prints what happens, for people or for programs.

use std::time::Duration;

use fanout_core::destination::ServiceRequest;
use serde_json::{Value, json};

use super::chat::Chat;
use super::function::Function;
use super::graph::{GraphDestination, Receiver, TopicGraph, TopicNode};
use super::response::DestinationOutcome;
use super::setup::{Origin, Setup};
use super::tracker::Id;
use crate::error::Error;
use crate::output::{Output, Quoted, Rounded, millis};
use crate::service::Service;
use crate::translations::Translations;
use fanout_relay::webhook::deliver::Delivered;

/// The amount and the form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Everything, for people.
    Human,
    /// Arrivals, drops and failures, for people.
    Quiet,
    /// Everything, one JSON object per line.
    Json,
}

/// Prints what happens.
#[derive(Debug)]
pub(super) struct Report<'o> {
    pub(super) style: Style,
    pub(super) output: &'o mut Output,
}

impl Report<'_> {
    /// Prints that everything runs, and with which settings.
    pub(super) fn ready(
        &mut self,
        setup: &Setup,
        service: &Service,
        function: &Function,
        chat: Option<&Chat>,
        is_typed: bool,
    ) -> Result<(), Error> {
        match self.style {
            Style::Quiet => Ok(()),
            Style::Json => {
                let inbound = setup.graph.inbound();
                let outbound: Vec<_> = setup.graph.outbound().map(|topic| topic.name.as_str()).collect();
                self.output.json(&json!({
                    "event": "ready", "momento": service.endpoint(), "function": function.url().as_str(),
                    "cache": inbound.cache, "inbound": inbound.name, "outbound": outbound,
                    "routes": routes_as_json(&setup.graph),
                    "translations": setup.translates().then(|| setup.translations.name()),
                    "secret": setup.secret.reveal(), "environment": setup.environment(service),
                }))
            }
            Style::Human => {
                self.settings(setup, service, function)?;
                self.topics(setup)?;
                for (label, text) in chat.map(Chat::lines).unwrap_or_default() {
                    self.line(&label, format_args!("{text}"))?;
                }
                if !function.is_in_process() {
                    self.environment(setup, service)?;
                }
                self.output.result("")?;
                if is_typed {
                    let inbound = Quoted(&setup.graph.inbound().name);
                    self.output.result(format_args!(
                        "Type a line to publish it to {inbound}. `help` shows more; `quit`, Ctrl-D or Ctrl-C ends this."
                    ))?;
                }
                Ok(())
            }
        }
    }

    fn settings(&mut self, setup: &Setup, service: &Service, function: &Function) -> Result<(), Error> {
        let momento = match &setup.momento.momento_endpoint {
            None => "in this process",
            Some(_) => "external",
        };
        let (url, is_in_process) = (function.url(), function.is_in_process());
        let runs = match &setup.origin {
            _ if !is_in_process => "external".to_owned(),
            Origin::Flags { transform, .. } => format!("in this process, transform: {transform}"),
            Origin::File(path) => format!("in this process, routes: {path}"),
        };
        self.line("Momento", format_args!("{}  ({momento})", service.endpoint()))?;
        self.line("function", format_args!("{url}  ({runs})"))?;
        if is_in_process && setup.translates() {
            let translations = match setup.translations {
                Translations::Pseudolocalize => {
                    "`pseudolocalize`, which takes all Latin letters for English; --aws uses Amazon Translate"
                }
                Translations::Amazon => "Amazon Translate, which costs money",
            };
            self.line("", format_args!("translations: {translations}"))?;
        }
        if is_in_process && setup.has_aws_destinations() && setup.sender().is_none() {
            self.line(
                "",
                format_args!("requests to AWS destinations are shown and not sent; --aws sends them"),
            )?;
        }
        let secret = if setup.secret_is_new { "new for this run" } else { "as given" };
        self.line("secret", format_args!("{}  ({secret})", setup.secret.reveal()))
    }

    /// Prints the topics on one line, or for each route with its transforms.
    fn topics(&mut self, setup: &Setup) -> Result<(), Error> {
        let graph = &setup.graph;
        let inbound = graph.inbound();
        let (cache, topic) = (Quoted(&inbound.cache), Quoted(&inbound.name));
        if let Origin::Flags { .. } = setup.origin {
            let outbound: Vec<_> = graph.outbound().map(|topic| Quoted(&topic.name).to_string()).collect();
            let outbound = outbound.join(", ");
            return self.line("topics", format_args!("{topic} -> {outbound}, in the cache {cache}"));
        }
        for (index, topic_node) in graph.topics().iter().enumerate() {
            let Some(destinations) = &topic_node.destinations else { continue };
            if index == TopicGraph::INBOUND {
                self.line("route", format_args!("{topic}, in the cache {cache}"))?;
            } else {
                self.line("route", format_args!("{}", graph.name(index)))?;
            }
            for GraphDestination { receiver, chain } in destinations {
                let receiver = match receiver {
                    Receiver::Topic(index) => graph.name(*index),
                    Receiver::Service { name, .. } => name.clone(),
                    Receiver::Unknown { topic, .. } => Quoted(topic).to_string(),
                };
                let chain = if chain.is_empty() { "no transforms".to_owned() } else { chain.join(", ") };
                self.line("", format_args!("-> {receiver}  ({chain})"))?;
            }
        }
        Ok(())
    }

    fn environment(&mut self, setup: &Setup, service: &Service) -> Result<(), Error> {
        self.output.results(
            "\nStart the function with these settings, for example by `cargo lambda watch` in another shell:\n\n",
        )?;
        for line in setup.environment(service) {
            self.output.result(format_args!("  {line}"))?;
        }
        self.output.results("\n--secret and --momento-port keep them the same from run to run.")?;
        if !setup.topics_fit_a_variable() {
            self.output.note(
                "note: OUTBOUND_TOPICS cannot have a name with a comma, or with spaces at its ends, among others; \
                 name the topics in a file",
            );
        }
        Ok(())
    }

    /// Prints what can be typed.
    pub(super) fn help(&mut self, is_edited: bool) -> Result<(), Error> {
        self.output.results(
            "A line is published as it is. `help` shows this, and `quit` ends, as Ctrl-D and Ctrl-C do; with a space \
             before it, each is published.",
        )?;
        if !is_edited {
            return Ok(());
        }
        self.output
            .result("The arrow keys edit the line and bring back earlier ones, and Ctrl-R searches them.")
    }

    /// Prints that a text is about to be published.
    pub(super) fn sent(&mut self, id: Id, text: &str, graph: &TopicGraph) -> Result<(), Error> {
        match self.style {
            Style::Quiet => Ok(()),
            Style::Json => self.output.json(&json!({"event": "sent", "id": id.text, "text": text})),
            Style::Human => {
                let inbound = graph.name(TopicGraph::INBOUND);
                self.line("sent", format_args!("{}  to {inbound}", Quoted(text)))
            }
        }
    }

    /// Prints that an attempt to deliver failed before another one.
    pub(super) fn retry(
        &mut self,
        id: Id,
        failure: &str,
        (attempt, max_attempts): (u32, u32),
        backoff: Duration,
    ) -> Result<(), Error> {
        match self.style {
            Style::Json => self.output.json(&json!({
                "event": "attempt_failed", "id": id.text, "attempt": attempt, "reason": failure,
                "retry_in_ms": millis(backoff),
            })),
            Style::Human | Style::Quiet => {
                let backoff = Rounded(backoff);
                self.note(
                    "retry",
                    format_args!("attempt {attempt} of {max_attempts}: {failure}; next attempt in {backoff}"),
                );
                Ok(())
            }
        }
    }

    /// Prints that the function accepted an event.
    pub(super) fn delivered(
        &mut self,
        id: Id,
        graph: &TopicGraph,
        Delivered { response, attempts }: &Delivered,
        took: Duration,
    ) -> Result<(), Error> {
        match self.style {
            Style::Quiet => Ok(()),
            Style::Json => {
                let body = serde_json::from_str(&response.body).unwrap_or_else(|_| json!(response.body));
                self.output.json(&json!({
                    "event": "delivered", "id": id.text, "topic": graph.topic(id.topic).name,
                    "status": response.status.as_u16(), "attempts": attempts,
                    "took_ms": millis(took), "response": body,
                }))
            }
            Style::Human => {
                let attempt = match attempts {
                    1 => String::new(),
                    attempts => format!(" at attempt {attempts}"),
                };
                let of = match id.topic {
                    TopicGraph::INBOUND => String::new(),
                    index => format!("  for {}", graph.name(index)),
                };
                let status = response.status;
                self.line("webhook", format_args!("{status}{attempt}  in {}{of}", Rounded(took)))
            }
        }
    }

    /// Prints a message of the topic with this index. `of` is its event with the latency, if it is expected.
    pub(super) fn arrived(
        &mut self,
        graph: &TopicGraph,
        index: usize,
        text: &str,
        of: Option<(Id, Duration)>,
    ) -> Result<(), Error> {
        match self.style {
            Style::Json => {
                let TopicNode { cache, name, .. } = graph.topic(index);
                self.output.json(&json!({
                    "event": "arrived", "id": of.map(|(id, _)| id.text), "cache": cache, "topic": name,
                    "text": text, "latency_ms": of.map(|(_, latency)| millis(latency)),
                }))
            }
            Style::Human | Style::Quiet => {
                let latency = match of {
                    Some((_, latency)) => format!("after {}", Rounded(latency)),
                    None => "(not expected)".to_owned(),
                };
                self.line("arrived", format_args!("{}  on {}  {latency}", Quoted(text), graph.name(index)))
            }
        }
    }

    /// Prints that a text was dropped for the topic with this index.
    pub(super) fn dropped_topic(
        &mut self,
        id: Id,
        text: &str,
        graph: &TopicGraph,
        index: usize,
        reason: &str,
    ) -> Result<(), Error> {
        let TopicNode { cache, name, .. } = graph.topic(index);
        self.drop(id, text, (json!({"cache": cache, "topic": name}), &graph.name(index)), reason)
    }

    /// Prints that a text was dropped for a destination that is not subscribed to.
    pub(super) fn dropped(
        &mut self,
        id: Id,
        text: &str,
        graph: &TopicGraph,
        outcome: &DestinationOutcome,
        reason: &str,
    ) -> Result<(), Error> {
        let DestinationOutcome { cache, topic, kind, .. } = outcome;
        let destination = match outcome.service_name() {
            Some(name) => (json!({"kind": kind, "name": topic}), name),
            None => (json!({"cache": cache, "topic": topic}), graph.name_of(cache, topic)),
        };
        self.drop(id, text, (destination.0, &destination.1), reason)
    }

    fn drop(
        &mut self,
        id: Id,
        text: &str,
        (mut destination, name): (Value, &str),
        reason: &str,
    ) -> Result<(), Error> {
        match self.style {
            Style::Json => {
                let mut line = json!({"event": "dropped", "id": id.text, "text": text, "reason": reason});
                let members = destination.as_object_mut().expect("a destination is an object");
                line.as_object_mut().expect("a line is an object").append(members);
                self.output.json(&line)
            }
            Style::Human | Style::Quiet => {
                self.line("dropped", format_args!("{}  for {name}: {reason}", Quoted(text)))
            }
        }
    }

    /// Prints a request to a service destination.
    pub(super) fn service_request(&mut self, request: &ServiceRequest, is_sent: bool) -> Result<(), Error> {
        let is_cache = matches!(request, ServiceRequest::Cache(_));
        let event = if is_cache { "cache_request" } else { "aws_request" };
        match self.style {
            Style::Json => self.output.json(&json!({
                "event": event, "kind": request.kind(), "name": request.name(), "sent": is_sent,
                "request": request,
            })),
            Style::Human | Style::Quiet => {
                let label = if is_sent { "sent" } else { "not sent" };
                self.line(label, format_args!("to {request}"))
            }
        }
    }

    /// Prints that a destination accepted a text that cannot arrive here. JSON has the whole response already.
    pub(super) fn published(
        &mut self,
        graph: &TopicGraph,
        outcome: &DestinationOutcome,
    ) -> Result<(), Error> {
        match (self.style, outcome.service_name()) {
            (Style::Json | Style::Quiet, _) => Ok(()),
            (Style::Human, Some(name)) => self.line("accepted", format_args!("by {name}")),
            (Style::Human, None) => {
                let name = graph.name_of(&outcome.cache, &outcome.topic);
                self.line("published", format_args!("to {name}, which is not subscribed to"))
            }
        }
    }

    /// Prints that a text failed.
    pub(super) fn failed(&mut self, id: Id, text: &str, reason: &str) -> Result<(), Error> {
        match self.style {
            Style::Json => {
                self.output.json(&json!({"event": "failed", "id": id.text, "text": text, "reason": reason}))
            }
            Style::Human | Style::Quiet => {
                self.note("failed", format_args!("{}: {reason}", Quoted(text)));
                Ok(())
            }
        }
    }

    /// Prints something that concerns no event in flight.
    pub(super) fn notice(&mut self, notice: &str) -> Result<(), Error> {
        match self.style {
            Style::Json => self.output.json(&json!({"event": "notice", "notice": notice})),
            Style::Human | Style::Quiet => {
                self.note("note", format_args!("{notice}"));
                Ok(())
            }
        }
    }

    fn note(&mut self, label: &str, rest: std::fmt::Arguments<'_>) {
        self.output.labelled_note(label, rest);
    }

    fn line(&mut self, label: &str, rest: std::fmt::Arguments<'_>) -> Result<(), Error> {
        self.output.labelled_result(label, rest)
    }
}

/// Returns the routes of the topics that are delivered to the function.
fn routes_as_json(graph: &TopicGraph) -> Value {
    let destination = |GraphDestination { receiver, chain }: &GraphDestination| match receiver {
        Receiver::Topic(index) => {
            let TopicNode { cache, name, .. } = graph.topic(*index);
            json!({"cache": cache, "topic": name, "transforms": chain})
        }
        Receiver::Service { is_cache: false, name } => json!({"aws_destination": name, "transforms": chain}),
        Receiver::Service { is_cache: true, name } => json!({"cache_destination": name, "transforms": chain}),
        Receiver::Unknown { topic, reason } => {
            json!({"topic": topic, "transforms": chain, "not_subscribed_to": reason})
        }
    };
    let route = |topic: &TopicNode| {
        let destinations: Vec<_> = topic.destinations.as_ref()?.iter().map(destination).collect();
        Some(json!({"cache": topic.cache, "topic": topic.name, "destinations": destinations}))
    };
    graph.topics().iter().filter_map(route).collect()
}
