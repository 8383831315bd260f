//! Handles all updates, one after the other.
//!
//! Subscriptions, publishing, delivery and typing are tasks that report to the session. The session decides what an update
//! means, and only the session prints. Texts are published one after the other and delivered one after the other, so that
//! their order is kept.

use std::collections::{HashSet, VecDeque};
use std::io::IsTerminal as _;
use std::pin::pin;
use std::time::Duration;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_momento::SubscriptionEvent;
use fanout_momento::subscription::{Item, ItemValue};
use momento_webhook::Event as Webhook;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::chat::Chat;
use super::function::Function;
use super::graph::TopicGraph;
use super::prompt::Prompt;
use super::report::{Report, Style};
use super::response::ResponseBody;
use super::setup::Setup;
use super::tasks::{Update, deliver, listen, publish, read_lines};
use super::tracker::{Arrival, Id, Incomplete, Outcomes, Tracker};
use crate::error::Error;
use crate::input::Line;
use crate::output::{Rounded, excerpt};
use crate::service::Service;
use fanout_relay::webhook::deliver::{Deliverer, Failure, RETRY, Undelivered};
use fanout_relay::webhook::post::Poster;
use fanout_relay::webhook::signer::{Scheme, Signer};

/// The timeout for all subscriptions to open.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The most events in flight. Lines from a pipe wait.
const MAX_IN_FLIGHT: usize = 100;
/// The number of lines that are read ahead.
const READ_AHEAD: usize = 16;

/// The source of the texts.
#[derive(Debug)]
pub(super) enum Input {
    /// Standard input, line by line.
    Typed,
    /// The command line. Each text is sent when the text before it is complete.
    Texts(VecDeque<String>),
}

pub(super) struct Session<'a> {
    setup: &'a Setup,
    service: &'a Service,
    function: &'a Function,
    chat: Option<&'a Chat>,
    report: Report<'a>,
    tracker: Tracker,
    input: Input,
    /// True if a text is shown when it is sent.
    echo: bool,
    lines: mpsc::Receiver<Line>,
    /// Kept until typing begins.
    lines_sender: Option<mpsc::Sender<Line>>,
    /// The line editor, if the lines come from a terminal. Kept until typing begins.
    prompt: Option<Prompt>,
    is_edited: bool,
    input_ended: bool,
    updates: UnboundedReceiver<Update>,
    to_publish: UnboundedSender<(Id, String)>,
    to_deliver: UnboundedSender<(Id, Webhook)>,
    /// A drop ends the tasks.
    _tasks: JoinSet<()>,
    /// By the indices of their topics.
    subscriptions: Vec<SubscriptionState>,
    /// The time at which all subscriptions have to be open; `None` once they are.
    start_deadline: Option<Instant>,
    /// The numbers of the texts that failed.
    failures: HashSet<u64>,
    sent: usize,
    skipped: usize,
}

#[derive(Debug, Default)]
struct SubscriptionState {
    is_open: bool,
    last_error: Option<String>,
}

impl<'a> Session<'a> {
    /// Starts all tasks but the typing.
    pub(super) fn new(
        (setup, service, function, chat): (&'a Setup, &'a Service, &'a Function, Option<&'a Chat>),
        report: Report<'a>,
        input: Input,
        (sender, updates): (UnboundedSender<Update>, UnboundedReceiver<Update>),
    ) -> Result<Self, Error> {
        let mut tasks = JoinSet::new();
        let topics = setup.graph.topics();
        for (index, topic) in topics.iter().enumerate() {
            let subscription = service.subscribe(&topic.cache, &topic.name, None)?;
            tasks.spawn(listen(subscription, index, sender.clone()));
        }

        let (to_publish, texts) = mpsc::unbounded_channel();
        let inbound = setup.graph.inbound();
        let topic = (inbound.cache.clone(), inbound.name.clone());
        tasks.spawn(publish(service.publisher()?, topic, texts, sender.clone()));

        let poster = Poster::new(function.url().clone(), RETRY.attempt_timeout)?;
        let signer = Signer::new(Scheme::Momento, setup.secret.reveal())?;
        let deliverer = Deliverer::new(poster, signer, RETRY);
        let (to_deliver, events) = mpsc::unbounded_channel();
        // The other half of the time is for the delivery.
        let external = (!function.is_in_process()).then(|| (function.url().clone(), setup.timeout / 2));
        tasks.spawn(deliver(deliverer, external, events, sender));

        let prompt = if matches!(input, Input::Typed) { Prompt::new() } else { None };
        // The session waits for the prompt to show its output, so that the prompt never waits for the session.
        let read_ahead = if prompt.is_some() { Semaphore::MAX_PERMITS } else { READ_AHEAD };
        let (lines_sender, lines) = mpsc::channel(read_ahead);
        Ok(Self {
            setup,
            service,
            function,
            chat,
            tracker: Tracker::new(setup.timeout, function.is_in_process()),
            echo: report.style == Style::Json
                || matches!(input, Input::Texts(_))
                || !std::io::stdin().is_terminal(),
            report,
            input,
            lines,
            lines_sender: Some(lines_sender),
            is_edited: prompt.is_some(),
            prompt,
            input_ended: false,
            updates,
            to_publish,
            to_deliver,
            _tasks: tasks,
            subscriptions: topics.iter().map(|_| SubscriptionState::default()).collect(),
            start_deadline: Some(Instant::now() + START_TIMEOUT),
            failures: HashSet::new(),
            sent: 0,
            skipped: 0,
        })
    }

    /// Runs until all texts are complete, or `shutdown`.
    pub(super) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let ended = self.handle_all(shutdown).await;
        self.report.output.leave_terminal();
        ended
    }

    async fn handle_all(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let mut shutdown = pin!(shutdown);
        while !self.is_complete() {
            let deadline = self.start_deadline.or_else(|| self.tracker.deadline());
            let reads =
                self.start_deadline.is_none() && !self.input_ended && self.tracker.own() < MAX_IN_FLIGHT;
            tokio::select! {
                () = &mut shutdown => return self.interrupted(),
                () = until(deadline) => self.timed_out()?,
                Some(update) = self.updates.recv() => self.handle(update)?,
                line = self.lines.recv(), if reads => self.line(line)?,
            }
            self.next_text()?;
        }
        self.result()
    }

    fn is_complete(&self) -> bool {
        let input_ended = match &self.input {
            Input::Typed => self.input_ended,
            Input::Texts(texts) => texts.is_empty(),
        };
        input_ended && self.start_deadline.is_none() && self.tracker.own() == 0
    }

    /// Returns an error if a text failed or a line was skipped. The user of a terminal has seen it.
    fn result(&self) -> Result<(), Error> {
        let (failures, skipped) = (self.failures.len(), self.skipped);
        let is_watched = matches!(self.input, Input::Typed) && std::io::stdin().is_terminal();
        let mut problems = Vec::new();
        if failures > 0 {
            problems.push(format!("{failures} of {} texts did not arrive on all outbound topics", self.sent));
        }
        if skipped > 0 {
            problems.push(format!("skipped lines: {skipped}"));
        }
        if is_watched || problems.is_empty() { Ok(()) } else { Err(Error::Failed(problems.join("; "))) }
    }

    fn interrupted(&self) -> Result<(), Error> {
        match &self.input {
            Input::Typed => self.result(),
            Input::Texts(texts) => {
                let sent: HashSet<_> =
                    self.tracker.own_texts().chain(self.failures.iter().copied()).collect();
                let missing = texts.len() + sent.len();
                Err(Error::Failed(format!("interrupted: {missing} texts had not arrived")))
            }
        }
    }

    fn handle(&mut self, update: Update) -> Result<(), Error> {
        match update {
            Update::SubscriptionFailed(error) => Err(error.into()),
            Update::Subscription { index, event, at } => self.subscription(index, event, at),
            Update::Publishing { cache, topic, text } => {
                if let Some(index) = self.setup.graph.find(&cache, &topic) {
                    self.tracker.published(index, text);
                }
                Ok(())
            }
            Update::ServiceRequest { request, is_sent } => self.report.service_request(&request, is_sent),
            Update::NotPublished { id, reason } => {
                self.failed(id, &format!("not published: {reason}"), &Outcomes::default())
            }
            Update::Retry { id, failure, attempt, backoff } => {
                self.report.retry(id, &describe(&failure), attempt, backoff)?;
                // The next response may leave out what this attempt did.
                self.record(id, &body(&failure)).map(drop)
            }
            Update::Waiting => {
                let url = self.function.url();
                self.report.notice(&format!("{url} does not listen yet; waiting for the function to start"))
            }
            Update::Delivering { id } => {
                self.tracker.delivering(id);
                Ok(())
            }
            Update::Delivered { id, delivered, took } => {
                self.report.delivered(id, &self.setup.graph, &delivered, took)?;
                self.accepted(id, &ResponseBody::read(&delivered.response.body))
            }
            Update::Undelivered { id, undelivered } => {
                let outcomes = self.record(id, &body(&undelivered.failure))?;
                self.failed(id, &describe_undelivered(&undelivered), &outcomes)
            }
        }
    }

    /// Handles the response to an event that the function accepted.
    fn accepted(&mut self, id: Id, body: &ResponseBody) -> Result<(), Error> {
        if body.is_ignored() {
            let reason = "the function ignored it: it has no route for this topic";
            return self.failed(id, reason, &Outcomes::default());
        }
        let outcomes = self.record(id, body)?;
        if let (Some(_), Some((_, missing))) = (&body.destinations, self.tracker.expected(id)) {
            let unpublished: Vec<_> = missing
                .iter()
                .filter(|index| !outcomes.published.contains(index))
                .map(|index| self.setup.graph.name(*index))
                .collect();
            if !unpublished.is_empty() {
                let topics = unpublished.join(", ");
                let reason =
                    format!("the function did not publish it to {topics}: it runs with other settings");
                return self.failed(id, &reason, &outcomes);
            }
        }
        self.tracker.accepted(id);
        Ok(())
    }

    /// Records the outcome of each destination in a response. A text that was dropped is no longer expected.
    fn record(&mut self, id: Id, body: &ResponseBody) -> Result<Outcomes, Error> {
        let graph = &self.setup.graph;
        let (text, missing) = match self.tracker.expected(id) {
            Some((text, missing)) => (text.to_owned(), missing.to_vec()),
            // The event has timed out, and that was reported.
            None => return Ok(Outcomes::default()),
        };
        if let Some(reason) = body.drop_reason() {
            for index in missing {
                self.dropped(id, index, &text, &reason)?;
            }
        }
        let mut outcomes = Outcomes::default();
        for outcome in body.destinations.iter().flatten() {
            let index = graph.find(&outcome.cache, &outcome.topic);
            match (outcome.drop_reason(), index) {
                (Some(reason), Some(index)) => self.dropped(id, index, &text, &reason)?,
                (Some(reason), None) => self.report.dropped(id, &text, graph, outcome, &reason)?,
                (None, Some(index)) if outcome.is_published() => outcomes.published.push(index),
                // The request of the function in this process was shown before.
                (None, None)
                    if outcome.is_published() && outcome.kind.is_some() && self.function.is_in_process() => {}
                (None, None) if outcome.is_published() => self.report.published(graph, outcome)?,
                (None, index) => outcomes.failed.extend(index),
            }
        }
        Ok(outcomes)
    }

    /// Reports a drop, unless it was reported before.
    fn dropped(&mut self, id: Id, index: usize, text: &str, reason: &str) -> Result<(), Error> {
        if !self.tracker.dropped(id, index) {
            return Ok(());
        }
        self.report.dropped_topic(id, text, &self.setup.graph, index, reason)
    }

    fn subscription(&mut self, index: usize, event: SubscriptionEvent, at: Instant) -> Result<(), Error> {
        let name = || self.setup.graph.name(index);
        match event {
            SubscriptionEvent::Heartbeat => Ok(()),
            SubscriptionEvent::Opened => self.opened(index),
            SubscriptionEvent::Interrupted { cause, .. } => {
                let cause = cause.to_string();
                let notice = format!("the subscription to {} is interrupted: {cause}", name());
                let state = self.subscription_state(index);
                state.last_error = Some(cause);
                let was_open = std::mem::take(&mut state.is_open);
                if was_open { self.report.notice(&notice) } else { Ok(()) }
            }
            SubscriptionEvent::Discontinuity(gap) => self.report.notice(&format!(
                "{} may have lost messages: it was at {} and continues after {} of page {}",
                name(),
                gap.last,
                gap.new,
                gap.page
            )),
            SubscriptionEvent::Item(item) => self.item(index, item, at),
        }
    }

    fn subscription_state(&mut self, index: usize) -> &mut SubscriptionState {
        self.subscriptions.get_mut(index).expect("each topic has a subscription")
    }

    fn opened(&mut self, index: usize) -> Result<(), Error> {
        *self.subscription_state(index) = SubscriptionState { is_open: true, last_error: None };
        if self.start_deadline.is_none() {
            let name = self.setup.graph.name(index);
            return self.report.notice(&format!("the subscription to {name} is open again"));
        }
        if self.subscriptions.iter().all(|subscription| subscription.is_open) {
            self.start_deadline = None;
            let is_typed = matches!(self.input, Input::Typed);
            self.report.ready(self.setup, self.service, self.function, self.chat, is_typed)?;
            for note in self.setup.graph.notes() {
                self.report.notice(&note)?;
            }
            if let (true, Some(lines)) = (is_typed, self.lines_sender.take()) {
                let reading = match self.prompt.take() {
                    Some(prompt) => {
                        prompt.read_lines(lines).map(|screen| self.report.output.share_terminal(screen))
                    }
                    None => read_lines(lines),
                };
                reading.map_err(|error| Error::because("standard input cannot be read", &error))?;
            }
        }
        Ok(())
    }

    /// Handles a message of a topic: an arrival, unless the topic is inbound, and an event for the function if the topic
    /// is delivered to it. Its publisher may be another one.
    fn item(&mut self, index: usize, item: Item, at: Instant) -> Result<(), Error> {
        let graph = &self.setup.graph;
        let is_delivered = graph.is_delivered(index);
        let text = match item.value {
            ItemValue::Text(text) => text,
            ItemValue::Unknown => return Ok(()),
            ItemValue::Binary(bytes) => {
                let skipped = if is_delivered { ": webhooks have texts only" } else { "" };
                let (name, length) = (graph.name(index), bytes.len());
                return self
                    .report
                    .notice(&format!("{name} has a message of {length} bytes that is not a text{skipped}"));
            }
        };
        let expected = graph.next(index);
        let id = if index == TopicGraph::INBOUND {
            self.tracker.received(index, &text, expected, at)
        } else {
            let arrival = self.tracker.arrived(index, &text, at);
            let of = match arrival {
                Arrival::Of { id, latency, .. } => Some((id, latency)),
                Arrival::Unexpected => None,
            };
            self.report.arrived(graph, index, &text, of)?;
            if !is_delivered {
                return Ok(());
            }
            self.tracker.chained(&arrival, index, &text, expected, at)
        };
        let topic = graph.topic(index);
        let now = SystemClock.now();
        let token_id = self.setup.token_id.clone().filter(|_| index == TopicGraph::INBOUND);
        let event = Webhook {
            cache: topic.cache.clone(),
            topic: topic.name.clone(),
            event_timestamp: now,
            publish_timestamp: now,
            topic_sequence_number: item.number,
            topic_sequence_page: Some(item.page),
            // A message with a token of its own, such as one of a page, keeps the id of that token.
            token_id: item.publisher_id.or(token_id),
            text,
        };
        self.to_deliver.send((id, event)).expect("the task runs as long as the session");
        Ok(())
    }

    fn line(&mut self, line: Option<Line>) -> Result<(), Error> {
        match line {
            // In a terminal, this line is a command, as `quit` is. With a space before it, each is a text.
            Some(Ok(text)) if text == "help" && std::io::stdin().is_terminal() => {
                self.report.help(self.is_edited)
            }
            Some(Ok(text)) => self.send(&text),
            Some(Err(reason)) => {
                self.skipped += 1;
                self.report.notice(reason)
            }
            None => {
                self.input_ended = true;
                Ok(())
            }
        }
    }

    /// Sends the next text of the command line when the text before it is complete.
    fn next_text(&mut self) -> Result<(), Error> {
        if self.start_deadline.is_some() || self.tracker.own() > 0 {
            return Ok(());
        }
        let Input::Texts(texts) = &mut self.input else { return Ok(()) };
        match texts.pop_front() {
            Some(text) => self.send(&text),
            None => Ok(()),
        }
    }

    fn send(&mut self, text: &str) -> Result<(), Error> {
        let expected = self.setup.graph.next(TopicGraph::INBOUND);
        let id = self.tracker.sent(TopicGraph::INBOUND, text, expected, Instant::now());
        self.sent += 1;
        self.to_publish.send((id, text.to_owned())).expect("the task runs as long as the session");
        // A terminal shows typed lines.
        if self.echo { self.report.sent(id, text, &self.setup.graph) } else { Ok(()) }
    }

    /// Records that an event failed. The texts that the function published of it are still expected.
    fn failed(&mut self, id: Id, reason: &str, outcomes: &Outcomes) -> Result<(), Error> {
        match self.tracker.failed(id, outcomes) {
            Some(incomplete) => self.report_failed(&incomplete, reason),
            // The event has timed out, and that was reported.
            None => self.report.notice(reason),
        }
    }

    fn report_failed(&mut self, incomplete: &Incomplete, reason: &str) -> Result<(), Error> {
        if incomplete.is_own {
            self.failures.insert(incomplete.id.text);
        }
        self.report.failed(incomplete.id, &incomplete.text, reason)
    }

    fn timed_out(&mut self) -> Result<(), Error> {
        if self.start_deadline.is_some() {
            let cause = self.subscriptions.iter().find_map(|subscription| subscription.last_error.as_deref());
            let (endpoint, cause) = (self.service.endpoint(), cause.unwrap_or("no response"));
            return Err(Error::Failed(format!("cannot subscribe to the topics at {endpoint}: {cause}")));
        }
        for incomplete in self.tracker.expired(Instant::now()) {
            let topics: Vec<_> =
                incomplete.missing.iter().map(|index| self.setup.graph.name(*index)).collect();
            let progress = match (incomplete.is_received, incomplete.is_accepted) {
                (false, _) => "it did not arrive on the inbound topic",
                (true, false) => "the function did not accept it",
                (true, true) => {
                    "the function accepted it: check the cache and the topic that it publishes to"
                }
            };
            let timeout = Rounded(self.setup.timeout);
            let reason = if topics.is_empty() {
                format!("no response of the function within {timeout}")
            } else {
                format!("not arrived on {} within {timeout}; {progress}", topics.join(", "))
            };
            self.report_failed(&incomplete, &reason)?;
        }
        Ok(())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Reads the response of a failed attempt, if there is one.
fn body(failure: &Failure) -> ResponseBody {
    match failure {
        Failure::Response(response) => ResponseBody::read(&response.body),
        _ => ResponseBody::default(),
    }
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Response(response) => {
            let status = response.status;
            // The destinations that failed, if they are listed.
            let detail = body(failure).failures().unwrap_or_else(|| excerpt(&response.body));
            let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
            format!("the function responded {status}{detail}")
        }
        other => other.to_string(),
    }
}

fn describe_undelivered(undelivered: &Undelivered) -> String {
    let failure = describe(&undelivered.failure);
    match undelivered.attempts {
        1 => failure,
        attempts => format!("{failure}; stopped after {attempts} attempts"),
    }
}
