//! What happens, one thing after the other.
//!
//! Subscriptions, publishing, delivery and typing run beside each other and hand in what happens; this
//! decides what it means, and is the only one that prints. Texts are published one after the other and
//! delivered one after the other, so that order is kept.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::pin::pin;
use std::time::Duration;

use momento_webhook::{Event as Webhook, Millis};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use topic_fanout::names::TopicName;
use topic_fanout::webhook::{Clock as _, SystemClock};

use super::function::Function;
use super::plan::Plan;
use super::report::{Report, Style, excerpt, reason_phrase};
use super::tracker::{Arrival, Ended, Id, Tracker};
use super::workers::{Happening, Line, Side, deliver, listen, publish, read_lines};
use crate::cli::Error;
use crate::deliver::{Deliverer, Failure, RETRY, Undelivered};
use crate::output::Quoted;
use crate::post::Poster;
use crate::service::Service;
use crate::signer::{Scheme, Signer};
use crate::subscriber::{Event, Item, Subscription, Value};

/// How long it may take until all topics are subscribed to.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines that may be on their way at once: whoever pipes a file in waits for the topics.
const MAX_ON_THE_WAY: usize = 100;
/// Lines that are read ahead.
const READ_AHEAD: usize = 16;

/// Where texts come from.
#[derive(Debug)]
pub(super) enum Input {
    /// Standard input, line by line.
    Typed,
    /// The command line: one after the other, each when the one before it is done.
    Texts(VecDeque<String>),
}

pub(super) struct Session<'a> {
    plan: &'a Plan,
    service: &'a Service,
    function: &'a Function,
    report: Report<'a>,
    tracker: Tracker,
    input: Input,
    /// Whether a text is shown when it is sent.
    echo: bool,
    lines: mpsc::Receiver<Line>,
    /// Kept until typing may begin.
    lines_sender: Option<mpsc::Sender<Line>>,
    input_ended: bool,
    happenings: UnboundedReceiver<Happening>,
    to_publish: UnboundedSender<(Id, String)>,
    to_deliver: UnboundedSender<(Id, Webhook)>,
    /// Ended when this is dropped.
    _tasks: JoinSet<()>,
    subscriptions: Vec<Subscribed>,
    /// When all have to be subscribed; `None` once they are.
    start_by: Option<Instant>,
    failures: usize,
    sent: usize,
}

/// How far a subscription is: of the inbound topic first, then of the outbound ones.
#[derive(Debug, Default)]
struct Subscribed {
    open: bool,
    /// What was last wrong with it.
    trouble: Option<String>,
}

impl<'a> Session<'a> {
    /// Starts everything but the typing.
    pub(super) fn new(
        plan: &'a Plan,
        service: &'a Service,
        function: &'a Function,
        report: Report<'a>,
        input: Input,
    ) -> Result<Self, Error> {
        let (happen, happenings) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let cache = plan.cache.as_str();
        let outbound = plan.outbound.iter().enumerate().map(|(place, topic)| (Side::Outbound(place), topic));
        for (side, topic) in std::iter::once((Side::Inbound, &plan.inbound)).chain(outbound) {
            let subscription = Subscription::new(service, cache, topic.as_str(), None)?;
            tasks.spawn(listen(subscription, side, happen.clone()));
        }

        let (to_publish, texts) = mpsc::unbounded_channel();
        let topic = (cache.to_owned(), plan.inbound.as_str().to_owned());
        tasks.spawn(publish(service.publisher()?, topic, texts, happen.clone()));

        let poster = Poster::new(function.url().clone(), RETRY.attempt_timeout)?;
        let signer = Signer::new(Scheme::Momento, plan.secret.reveal())?;
        let deliverer = Deliverer::new(poster, signer, RETRY);
        let (to_deliver, events) = mpsc::unbounded_channel();
        tasks.spawn(deliver(deliverer, events, happen));

        let (lines_sender, lines) = mpsc::channel(READ_AHEAD);
        Ok(Self {
            plan,
            service,
            function,
            tracker: Tracker::new(plan.outbound.len(), plan.timeout),
            echo: report.style == Style::Json
                || matches!(input, Input::Texts(_))
                || !std::io::stdin().is_terminal(),
            report,
            input,
            lines,
            lines_sender: Some(lines_sender),
            input_ended: false,
            happenings,
            to_publish,
            to_deliver,
            _tasks: tasks,
            subscriptions: (0..=plan.outbound.len()).map(|_| Subscribed::default()).collect(),
            start_by: Some(Instant::now() + START_TIMEOUT),
            failures: 0,
            sent: 0,
        })
    }

    /// Runs until the texts have ended, or `shutdown`.
    pub(super) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let mut shutdown = pin!(shutdown);
        while !self.is_over() {
            let deadline = self.start_by.or_else(|| self.tracker.deadline());
            let read = self.start_by.is_none() && !self.input_ended && self.tracker.ours() < MAX_ON_THE_WAY;
            tokio::select! {
                () = &mut shutdown => return self.interrupted(),
                () = until(deadline) => self.time_is_up()?,
                Some(happening) = self.happenings.recv() => self.handle(happening)?,
                line = self.lines.recv(), if read => self.line(line)?,
            }
            self.next_text()?;
        }
        self.verdict()
    }

    fn is_over(&self) -> bool {
        let no_more = match &self.input {
            Input::Typed => self.input_ended,
            Input::Texts(texts) => texts.is_empty(),
        };
        no_more && self.start_by.is_none() && self.tracker.ours() == 0
    }

    /// What it came to.
    fn verdict(&self) -> Result<(), Error> {
        match (&self.input, self.failures) {
            (Input::Typed, _) | (_, 0) => Ok(()),
            (Input::Texts(_), failures) => Err(Error::Failed(format!(
                "{failures} of {} texts did not arrive on all outbound topics",
                self.sent
            ))),
        }
    }

    fn interrupted(&self) -> Result<(), Error> {
        match &self.input {
            Input::Typed => Ok(()),
            Input::Texts(texts) => {
                let missing = texts.len() + self.tracker.ours() + self.failures;
                Err(Error::Failed(format!("ended early: {missing} texts had not arrived")))
            }
        }
    }

    fn handle(&mut self, happening: Happening) -> Result<(), Error> {
        match happening {
            Happening::Refused(refused) => Err(refused.into()),
            Happening::Subscription { side, event, at } => self.subscription(side, event, at),
            Happening::NotPublished { id, reason } => self.failed(id, &format!("not published: {reason}")),
            Happening::TryAgain { id, failure, attempt, pause } => {
                self.report.try_again(id, &describe(&failure), attempt, pause)
            }
            Happening::Delivering { id } => {
                self.tracker.delivering(id);
                Ok(())
            }
            Happening::Delivered { id, delivered, took } => {
                self.report.delivered(id, &delivered, took)?;
                if let Some(why) = goes_nowhere(&delivered.answer.body) {
                    return self.failed(id, &why);
                }
                self.tracker.accepted(id);
                Ok(())
            }
            Happening::Undelivered { id, undelivered } => self.failed(id, &why(&undelivered)),
        }
    }

    fn subscription(&mut self, side: Side, event: Event, at: Instant) -> Result<(), Error> {
        match event {
            Event::Heartbeat => Ok(()),
            Event::Opened => self.opened(side),
            Event::Interrupted { cause, .. } => {
                let trouble = cause.to_string();
                let notice = format!("the subscription to {} is interrupted: {trouble}", self.name(side));
                let was_open = match self.subscribed(side) {
                    Some(subscribed) => {
                        subscribed.trouble = Some(trouble);
                        std::mem::take(&mut subscribed.open)
                    }
                    None => false,
                };
                if was_open { self.report.notice(&notice) } else { Ok(()) }
            }
            Event::Discontinuity(gap) => self.report.notice(&format!(
                "{} may have lost messages: it was at {} and goes on after {} of page {}",
                self.name(side),
                gap.last,
                gap.new,
                gap.page
            )),
            Event::Item(item) => match side {
                Side::Inbound => self.inbound(item, at),
                Side::Outbound(place) => self.outbound(place, &item, at),
            },
        }
    }

    fn opened(&mut self, side: Side) -> Result<(), Error> {
        let again = self.start_by.is_none();
        if let Some(subscribed) = self.subscribed(side) {
            subscribed.open = true;
            subscribed.trouble = None;
        }
        if again {
            return self.report.notice(&format!("the subscription to {} is open again", self.name(side)));
        }
        if self.subscriptions.iter().all(|subscribed| subscribed.open) {
            self.start_by = None;
            let typed = matches!(self.input, Input::Typed);
            self.report.ready(self.plan, self.service, self.function, typed)?;
            if let (true, Some(lines)) = (typed, self.lines_sender.take()) {
                read_lines(lines)
                    .map_err(|error| Error::System("standard input cannot be read".to_owned(), error))?;
            }
        }
        Ok(())
    }

    /// The inbound topic has brought a message: it is delivered, whoever published it.
    fn inbound(&mut self, item: Item, at: Instant) -> Result<(), Error> {
        let text = match item.value {
            Value::Text(text) => text,
            Value::Binary(bytes) => {
                let length = bytes.len();
                return self.report.notice(&format!(
                    "{} has brought {length} bytes that are no text: webhooks carry texts only",
                    self.name(Side::Inbound)
                ));
            }
            Value::Unknown => return Ok(()),
        };
        let becomes = self.function.becomes(&text);
        let id = self.tracker.received(&text, becomes, at);
        let event_timestamp = now();
        let event = Webhook {
            cache: self.plan.cache.as_str().to_owned(),
            topic: self.plan.inbound.as_str().to_owned(),
            event_timestamp,
            publish_timestamp: event_timestamp,
            topic_sequence_number: item.number,
            topic_sequence_page: Some(item.page),
            token_id: item.publisher_id,
            text,
        };
        // The other end lives as long as this.
        let _ = self.to_deliver.send((id, event));
        Ok(())
    }

    fn outbound(&mut self, place: usize, item: &Item, at: Instant) -> Result<(), Error> {
        let topic = self.plan.outbound.get(place).map_or("", TopicName::as_str);
        let Value::Text(text) = &item.value else {
            let notice = format!("{} has brought something that is no text", Quoted(topic));
            return self.report.notice(&notice);
        };
        match self.tracker.arrived(place, text, at) {
            Arrival::Of { id, latency, .. } => self.report.arrived(topic, text, Some((id, latency))),
            Arrival::Other => self.report.arrived(topic, text, None),
        }
    }

    fn line(&mut self, line: Option<Line>) -> Result<(), Error> {
        match line {
            Some(Ok(text)) => self.send(&text),
            Some(Err(why)) => self.report.notice(why),
            None => {
                self.input_ended = true;
                Ok(())
            }
        }
    }

    /// Sends the next text of the command line, once the one before it is done.
    fn next_text(&mut self) -> Result<(), Error> {
        if self.start_by.is_some() || self.tracker.ours() > 0 {
            return Ok(());
        }
        let Input::Texts(texts) = &mut self.input else { return Ok(()) };
        match texts.pop_front() {
            Some(text) => self.send(&text),
            None => Ok(()),
        }
    }

    fn send(&mut self, text: &str) -> Result<(), Error> {
        let becomes = self.function.becomes(text);
        let id = self.tracker.sent(text, becomes, Instant::now());
        self.sent += 1;
        // The other end lives as long as this.
        let _ = self.to_publish.send((id, text.to_owned()));
        // What was typed into a terminal can be seen there.
        if self.echo { self.report.sent(id, text, self.plan) } else { Ok(()) }
    }

    fn failed(&mut self, id: Id, reason: &str) -> Result<(), Error> {
        match self.tracker.failed(id) {
            Some(ended) => self.gave_up(&ended, reason),
            // It had taken too long already, and that was told.
            None => self.report.notice(reason),
        }
    }

    fn gave_up(&mut self, ended: &Ended, reason: &str) -> Result<(), Error> {
        self.failures += usize::from(ended.ours);
        self.report.failed(ended.id, &ended.text, reason)
    }

    fn time_is_up(&mut self) -> Result<(), Error> {
        if self.start_by.is_some() {
            return Err(Error::Failed(self.not_started()));
        }
        for ended in self.tracker.expired(Instant::now()) {
            let topics: Vec<_> =
                ended.missing.iter().map(|place| self.name(Side::Outbound(*place))).collect();
            let stage = match (ended.received, ended.accepted) {
                (false, _) => "it did not even come back from the inbound topic",
                (true, false) => "the function has not taken it",
                (true, true) => "the function has taken it: does it publish to that topic of that cache?",
            };
            let within = crate::output::Took(self.plan.timeout);
            let reason = if topics.is_empty() {
                format!("the function has not answered within {within}")
            } else {
                format!("not arrived on {} within {within}; {stage}", topics.join(", "))
            };
            self.gave_up(&ended, &reason)?;
        }
        Ok(())
    }

    fn not_started(&self) -> String {
        let trouble = self.subscriptions.iter().find_map(|subscribed| subscribed.trouble.as_deref());
        format!(
            "the topics at {} cannot be subscribed to: {}",
            self.service.endpoint(),
            trouble.unwrap_or("no answer")
        )
    }

    fn subscribed(&mut self, side: Side) -> Option<&mut Subscribed> {
        self.subscriptions.get_mut(match side {
            Side::Inbound => 0,
            Side::Outbound(place) => place + 1,
        })
    }

    fn name(&self, side: Side) -> String {
        let topic = match side {
            Side::Inbound => Some(&self.plan.inbound),
            Side::Outbound(place) => self.plan.outbound.get(place),
        };
        Quoted(topic.map_or("", TopicName::as_str)).to_string()
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn now() -> Millis {
    SystemClock.now()
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Answer(answer) if answer.body.trim().is_empty() => {
            format!("the function answered {}", reason_phrase(answer.status))
        }
        Failure::Answer(answer) => {
            format!("the function answered {}: {}", reason_phrase(answer.status), excerpt(&answer.body))
        }
        other => other.to_string(),
    }
}

fn why(undelivered: &Undelivered) -> String {
    let failure = describe(&undelivered.failure);
    match undelivered.attempts {
        1 => failure,
        attempts => format!("{failure}; given up after {attempts} attempts"),
    }
}

/// Why nothing will arrive, though the function has taken the event.
fn goes_nowhere(answer: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Answer {
        status: String,
        reason: Option<String>,
    }
    let answer: Answer = serde_json::from_str(answer).ok()?;
    match answer.status.as_str() {
        "dropped" => {
            let reason = answer.reason.unwrap_or_else(|| "no reason given".to_owned());
            Some(format!("the function dropped it: {}", excerpt(&reason)))
        }
        "ignored" => Some("the function ignored it: it has no route for this topic".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_whether_anything_will_arrive() {
        for (answer, says) in [
            (r#"{"status":"success"}"#, None),
            (r#"{"status":"duplicate"}"#, None),
            ("OK", None),
            ("", None),
            (r#"{"status":"ignored"}"#, Some("no route")),
            (r#"{"status":"dropped","reason":"rude"}"#, Some("dropped it: rude")),
        ] {
            let said = goes_nowhere(answer);
            assert_eq!(said.is_some(), says.is_some(), "{answer}");
            assert!(said.unwrap_or_default().contains(says.unwrap_or_default()), "{answer}");
        }
    }
}
