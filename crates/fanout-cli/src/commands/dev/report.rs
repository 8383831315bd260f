//! What a person, or a program, gets to see.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::function::Function;
use super::plan::Plan;
use super::tracker::Id;
use crate::cli::Error;
use crate::deliver::Delivered;
use crate::output::{Output, Printable, Quoted, Took, millis};
use crate::service::Service;

/// The longest part of an answer that is shown to people.
const SHOWN: usize = 300;

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
        let outbound: Vec<_> = plan.outbound.iter().map(|topic| Quoted(topic.as_str()).to_string()).collect();
        match self.style {
            Style::Quiet => Ok(()),
            Style::Json => self.json(&json!({
                "event": "ready", "momento": service.endpoint(), "function": function.url().as_str(),
                "cache": plan.cache, "inbound": plan.inbound, "outbound": plan.outbound,
                "secret": plan.secret.reveal(), "environment": plan.environment(service),
            })),
            Style::Human => {
                let momento = if plan.momento.momento_endpoint.is_none() {
                    "in this process"
                } else {
                    "running elsewhere"
                };
                let runs = if function.is_in_process() {
                    format!("in this process, transform: {}", plan.transform)
                } else {
                    "running elsewhere".to_owned()
                };
                let secret = if plan.secret_is_new { "made for this run" } else { "as given" };
                self.line("Momento", format_args!("{}  ({momento})", service.endpoint()))?;
                self.line("function", format_args!("{}  ({runs})", function.url()))?;
                self.line("secret", format_args!("{}  ({secret})", Printable(plan.secret.reveal())))?;
                let (cache, inbound) = (Quoted(plan.cache.as_str()), Quoted(plan.inbound.as_str()));
                self.line(
                    "topics",
                    format_args!("{inbound} -> {}, in the cache {cache}", outbound.join(", ")),
                )?;
                if !function.is_in_process() {
                    self.environment(plan, service)?;
                }
                self.output.result("")?;
                if typed {
                    self.output.result(format_args!(
                        "Type a line to publish it to {inbound}; Ctrl-D or Ctrl-C ends this."
                    ))?;
                }
                Ok(())
            }
        }
    }

    fn environment(&mut self, plan: &Plan, service: &Service) -> Told {
        self.output.result(
            "\nThe function has to run with these settings, as with `cargo lambda watch` in another shell:\n",
        )?;
        for line in plan.environment(service) {
            self.output.result(format_args!("  {line}"))?;
        }
        self.output.result("\n--secret and --momento-port keep them the same from run to run.")?;
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
            Style::Json => self.json(&json!({"event": "sent", "id": id, "text": text})),
            Style::Human => {
                self.line("sent", format_args!("{}  to {}", Quoted(text), Quoted(plan.inbound.as_str())))
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
                "event": "attempt_failed", "id": id, "attempt": attempt, "reason": failure,
                "retry_in_ms": millis(pause),
            })),
            Style::Human | Style::Quiet => {
                let pause = Took(pause);
                self.aside("retry", format_args!("attempt {attempt} of {of}: {failure}; again in {pause}"));
                Ok(())
            }
        }
    }

    /// The function has taken an event.
    pub(super) fn delivered(&mut self, id: Id, delivered: &Delivered, took: Duration) -> Told {
        let status = delivered.answer.status.as_u16();
        match self.style {
            Style::Quiet => Ok(()),
            Style::Json => {
                let answer = serde_json::from_str(&delivered.answer.body)
                    .unwrap_or_else(|_| json!(delivered.answer.body));
                self.json(&json!({
                    "event": "delivered", "id": id, "status": status, "attempts": delivered.attempts,
                    "took_ms": millis(took), "answer": answer,
                }))
            }
            Style::Human => {
                let attempt = match delivered.attempts {
                    1 => String::new(),
                    attempts => format!(" at attempt {attempts}"),
                };
                let status = reason_phrase(delivered.answer.status);
                self.line("webhook", format_args!("{status}{attempt}  in {}", Took(took)))
            }
        }
    }

    /// A message has arrived; `of` says what it is, where that is known.
    pub(super) fn arrived(&mut self, topic: &str, value: &str, of: Option<(Id, Duration)>) -> Told {
        match self.style {
            Style::Json => self.json(&json!({
                "event": "arrived", "id": of.map(|(id, _)| id), "topic": topic, "text": value,
                "latency_ms": of.map(|(_, latency)| millis(latency)),
            })),
            Style::Human | Style::Quiet => {
                let (value, topic) = (Quoted(value), Quoted(topic));
                match of {
                    Some((_, latency)) => {
                        self.line("arrived", format_args!("{value}  on {topic}  after {}", Took(latency)))
                    }
                    None => self.line("arrived", format_args!("{value}  on {topic}  (of nothing sent here)")),
                }
            }
        }
    }

    /// Nothing more will come of a message.
    pub(super) fn failed(&mut self, id: Id, text: &str, reason: &str) -> Told {
        match self.style {
            Style::Json => self.json(&json!({"event": "failed", "id": id, "text": text, "reason": reason})),
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
        Ok(self.output.result(format_args!("{label:<9} {rest}"))?)
    }

    fn json(&mut self, line: &serde_json::Value) -> Told {
        Ok(self.output.json(line)?)
    }
}

/// A status with its name.
pub(super) fn reason_phrase(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(name) => format!("{} {name}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// The beginning of an answer's body, on one line.
pub(super) fn excerpt(body: &str) -> String {
    let body = body.trim();
    let shown: String = body.chars().take(SHOWN).collect();
    let more = if shown.len() < body.len() { " ..." } else { "" };
    format!("{}{more}", Printable(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_cut_at_a_character() {
        assert_eq!(excerpt(" {\"a\":\n1} "), "{\"a\":\\n1}");
        let long = "é".repeat(SHOWN + 1);
        assert_eq!(excerpt(&long), format!("{} ...", "é".repeat(SHOWN)));
    }

    #[test]
    fn a_status_without_a_name_is_a_number() {
        assert_eq!(reason_phrase(StatusCode::OK), "200 OK");
        assert_eq!(reason_phrase(StatusCode::from_u16(299).unwrap()), "299");
    }
}
