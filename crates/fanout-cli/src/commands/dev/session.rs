//! What happens, one thing after the other.
//!
//! Subscriptions, publishing, delivery and typing run beside each other and hand in what happens; this
//! decides what it means, and is the only one that prints. Texts are published one after the other and
//! delivered one after the other, so that order is kept.

use std::collections::{HashSet, VecDeque};
use std::io::IsTerminal as _;
use std::pin::pin;
use std::time::Duration;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_momento::SubscriptionEvent;
use fanout_momento::subscription::{Item, ItemValue};
use momento_webhook::{Event as Webhook, Millis};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::answer::Told;
use super::function::Function;
use super::network::Network;
use super::plan::Plan;
use super::report::{Report, Style};
use super::tracker::{Arrival, Ended, Id, Noted, Tracker};
use super::workers::{Happening, deliver, listen, publish, read_lines};
use crate::deliver::{Deliverer, Failure, RETRY, Undelivered};
use crate::error::Error;
use crate::input::Line;
use crate::output::{excerpt, reason_phrase};
use crate::post::Poster;
use crate::service::Service;
use crate::signer::{Scheme, Signer};

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
    /// By the places of their topics.
    subscriptions: Vec<Subscribed>,
    /// When all have to be subscribed; `None` once they are.
    start_by: Option<Instant>,
    /// The texts that came to no good.
    failures: HashSet<u64>,
    sent: usize,
    left_out: usize,
}

/// How far a subscription is.
#[derive(Debug, Default)]
struct Subscribed {
    open: bool,
    /// What was last wrong with it.
    trouble: Option<String>,
}

impl<'a> Session<'a> {
    /// Starts everything but the typing.
    pub(super) fn new(
        (plan, service, function): (&'a Plan, &'a Service, &'a Function),
        report: Report<'a>,
        input: Input,
        (happen, happenings): (UnboundedSender<Happening>, UnboundedReceiver<Happening>),
    ) -> Result<Self, Error> {
        let mut tasks = JoinSet::new();
        let topics = plan.network.topics();
        for (place, topic) in topics.iter().enumerate() {
            let subscription = service.subscribe(&topic.cache, &topic.name, None)?;
            tasks.spawn(listen(subscription, place, happen.clone()));
        }

        let (to_publish, texts) = mpsc::unbounded_channel();
        let inbound = plan.network.inbound();
        let topic = (inbound.cache.clone(), inbound.name.clone());
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
            tracker: Tracker::new(plan.timeout, function.is_in_process()),
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
            subscriptions: topics.iter().map(|_| Subscribed::default()).collect(),
            start_by: Some(Instant::now() + START_TIMEOUT),
            failures: HashSet::new(),
            sent: 0,
            left_out: 0,
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

    /// What it came to. Whoever sits at a terminal has seen it.
    fn verdict(&self) -> Result<(), Error> {
        let (failures, left_out) = (self.failures.len(), self.left_out);
        let watched = matches!(self.input, Input::Typed) && std::io::stdin().is_terminal();
        let mut said = Vec::new();
        if failures > 0 {
            said.push(format!("{failures} of {} texts did not arrive on all outbound topics", self.sent));
        }
        if left_out > 0 {
            said.push(format!("lines that were left out: {left_out}"));
        }
        if watched || said.is_empty() { Ok(()) } else { Err(Error::Failed(said.join("; "))) }
    }

    fn interrupted(&self) -> Result<(), Error> {
        match &self.input {
            Input::Typed => self.verdict(),
            Input::Texts(texts) => {
                let begun: HashSet<_> =
                    self.tracker.our_texts().chain(self.failures.iter().copied()).collect();
                let missing = texts.len() + begun.len();
                Err(Error::Failed(format!("ended early: {missing} texts had not arrived")))
            }
        }
    }

    fn handle(&mut self, happening: Happening) -> Result<(), Error> {
        match happening {
            Happening::Refused(refused) => Err(refused.into()),
            Happening::Subscription { place, event, at } => self.subscription(place, event, at),
            Happening::Publishing { cache, topic, text } => {
                if let Some(place) = self.plan.network.place(&cache, &topic) {
                    self.tracker.published(place, text);
                }
                Ok(())
            }
            Happening::HandingIn { request, is_sent } => self.report.handing_in(&request, is_sent),
            Happening::NotPublished { id, reason } => {
                self.failed(id, &format!("not published: {reason}"), &Noted::default())
            }
            Happening::TryAgain { id, failure, attempt, pause } => {
                self.report.try_again(id, &describe(&failure), attempt, pause)?;
                // The next answer need not say again what was done at this attempt.
                self.take_note(id, &told(&failure)).map(drop)
            }
            Happening::Delivering { id } => {
                self.tracker.delivering(id);
                Ok(())
            }
            Happening::Delivered { id, delivered, took } => {
                self.report.delivered(id, &self.plan.network, &delivered, took)?;
                self.accepted(id, &Told::read(&delivered.answer.body))
            }
            Happening::Undelivered { id, undelivered } => {
                let noted = self.take_note(id, &told(&undelivered.failure))?;
                self.failed(id, &why(&undelivered), &noted)
            }
        }
    }

    /// The function has taken an event, and says what became of it.
    fn accepted(&mut self, id: Id, told: &Told) -> Result<(), Error> {
        if told.is_ignored() {
            let why = "the function ignored it: it has no route for this topic";
            return self.failed(id, why, &Noted::default());
        }
        let noted = self.take_note(id, told)?;
        if told.destinations.is_some() {
            let missing = self.tracker.waits_for(id).map(|(_, missing)| missing).unwrap_or_default();
            let never: Vec<_> = missing.iter().filter(|place| !noted.published.contains(place)).collect();
            if !never.is_empty() {
                let never: Vec<_> = never.into_iter().map(|place| self.plan.network.name(*place)).collect();
                let why = format!(
                    "the function has not published it to {}: its settings are others",
                    never.join(", ")
                );
                return self.failed(id, &why, &noted);
            }
        }
        self.tracker.accepted(id);
        Ok(())
    }

    /// Takes note of what an answer says of each destination: nothing is to arrive where it was dropped.
    fn take_note(&mut self, id: Id, told: &Told) -> Result<Noted, Error> {
        let network = &self.plan.network;
        let (text, missing) = match self.tracker.waits_for(id) {
            Some((text, missing)) => (text.to_owned(), missing.to_vec()),
            // It had taken too long already, and that was told.
            None => return Ok(Noted::default()),
        };
        if let Some(reason) = told.all_dropped() {
            for place in missing {
                self.dropped(id, place, &text, &reason)?;
            }
        }
        let mut noted = Noted::default();
        for outcome in told.destinations.iter().flatten() {
            let place = network.place(&outcome.cache, &outcome.topic);
            match (outcome.dropped(), place) {
                (Some(reason), Some(place)) => self.dropped(id, place, &text, &reason)?,
                (Some(reason), None) if outcome.kind.is_some() => {
                    self.report.dropped_elsewhere(id, &text, outcome, &reason)?;
                }
                (Some(reason), None) => {
                    let topic = (network, outcome.cache.as_str(), outcome.topic.as_str());
                    self.report.dropped(id, &text, topic, &reason)?;
                }
                (None, Some(place)) if outcome.is_published() => noted.published.push(place),
                (None, None) if outcome.is_published() && outcome.kind.is_some() => {
                    // Of the function in this process it was told what it was.
                    if !self.function.is_in_process() {
                        self.report.taken_elsewhere(outcome)?;
                    }
                }
                (None, None) if outcome.is_published() => {
                    self.report.published_unseen(network, &outcome.cache, &outcome.topic)?;
                }
                (None, place) => noted.failed.extend(place),
            }
        }
        Ok(noted)
    }

    fn dropped(&mut self, id: Id, place: usize, text: &str, reason: &str) -> Result<(), Error> {
        let network = &self.plan.network;
        match network.topic(place) {
            Some(topic) if self.tracker.dropped(id, place) => {
                self.report.dropped(id, text, (network, &topic.cache, &topic.name), reason)
            }
            // Told before.
            _ => Ok(()),
        }
    }

    fn subscription(&mut self, place: usize, event: SubscriptionEvent, at: Instant) -> Result<(), Error> {
        match event {
            SubscriptionEvent::Heartbeat => Ok(()),
            SubscriptionEvent::Opened => self.opened(place),
            SubscriptionEvent::Interrupted { cause, .. } => {
                let trouble = cause.to_string();
                let notice = format!(
                    "the subscription to {} is interrupted: {trouble}",
                    self.plan.network.name(place)
                );
                let was_open = match self.subscriptions.get_mut(place) {
                    Some(subscribed) => {
                        subscribed.trouble = Some(trouble);
                        std::mem::take(&mut subscribed.open)
                    }
                    None => false,
                };
                if was_open { self.report.notice(&notice) } else { Ok(()) }
            }
            SubscriptionEvent::Discontinuity(gap) => self.report.notice(&format!(
                "{} may have lost messages: it was at {} and goes on after {} of page {}",
                self.plan.network.name(place),
                gap.last,
                gap.new,
                gap.page
            )),
            SubscriptionEvent::Item(item) => self.item(place, item, at),
        }
    }

    fn opened(&mut self, place: usize) -> Result<(), Error> {
        let again = self.start_by.is_none();
        if let Some(subscribed) = self.subscriptions.get_mut(place) {
            subscribed.open = true;
            subscribed.trouble = None;
        }
        if again {
            return self
                .report
                .notice(&format!("the subscription to {} is open again", self.plan.network.name(place)));
        }
        if self.subscriptions.iter().all(|subscribed| subscribed.open) {
            self.start_by = None;
            let typed = matches!(self.input, Input::Typed);
            self.report.ready(self.plan, self.service, self.function, typed)?;
            for note in self.plan.network.notes() {
                self.report.notice(&note)?;
            }
            if let (true, Some(lines)) = (typed, self.lines_sender.take()) {
                read_lines(lines).map_err(|error| Error::because("standard input cannot be read", &error))?;
            }
        }
        Ok(())
    }

    /// A topic has brought a message: an arrival, unless it is the inbound topic, and an event for the function
    /// where that takes the topic, whoever published it.
    fn item(&mut self, place: usize, item: Item, at: Instant) -> Result<(), Error> {
        let network = &self.plan.network;
        let is_taken = network.is_taken(place);
        let text = match &item.value {
            ItemValue::Text(text) => text,
            ItemValue::Unknown => return Ok(()),
            ItemValue::Binary(bytes) => {
                let but = if is_taken { ": webhooks carry texts only" } else { "" };
                let (name, length) = (network.name(place), bytes.len());
                return self
                    .report
                    .notice(&format!("{name} has brought {length} bytes that are no text{but}"));
            }
        };
        let to = network.behind(place);
        let id = if place == Network::INBOUND {
            self.tracker.received(place, text, to, at)
        } else {
            let arrival = self.tracker.arrived(place, text, at);
            let of = match arrival {
                Arrival::Of { id, latency, .. } => Some((id, latency)),
                Arrival::Other => None,
            };
            self.report.arrived(network, place, text, of)?;
            if !is_taken {
                return Ok(());
            }
            self.tracker.goes_on(&arrival, place, text, to, at)
        };
        self.deliver(id, item);
        Ok(())
    }

    fn deliver(&self, id: Id, item: Item) {
        let (Some(topic), ItemValue::Text(text)) = (self.plan.network.topic(id.place), item.value) else {
            return;
        };
        let event_timestamp = now();
        let given = self.plan.token_id.as_ref().filter(|_| id.place == Network::INBOUND);
        let event = Webhook {
            cache: topic.cache.clone(),
            topic: topic.name.clone(),
            event_timestamp,
            publish_timestamp: event_timestamp,
            topic_sequence_number: item.number,
            topic_sequence_page: Some(item.page),
            token_id: given.cloned().or(item.publisher_id),
            text,
        };
        // The other end lives as long as this.
        let _ = self.to_deliver.send((id, event));
    }

    fn line(&mut self, line: Option<Line>) -> Result<(), Error> {
        match line {
            Some(Ok(text)) => self.send(&text),
            Some(Err(why)) => {
                self.left_out += 1;
                self.report.notice(why)
            }
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
        let to = self.plan.network.behind(Network::INBOUND);
        let id = self.tracker.sent(Network::INBOUND, text, to, Instant::now());
        self.sent += 1;
        // The other end lives as long as this.
        let _ = self.to_publish.send((id, text.to_owned()));
        // What was typed into a terminal can be seen there.
        if self.echo { self.report.sent(id, text, self.plan) } else { Ok(()) }
    }

    /// An event came to no good; what was published of it, as far as is known, is waited for all the same.
    fn failed(&mut self, id: Id, reason: &str, noted: &Noted) -> Result<(), Error> {
        match self.tracker.failed(id, noted) {
            Some(ended) => self.gave_up(&ended, reason),
            // It had taken too long already, and that was told.
            None => self.report.notice(reason),
        }
    }

    fn gave_up(&mut self, ended: &Ended, reason: &str) -> Result<(), Error> {
        if ended.ours {
            self.failures.insert(ended.id.text);
        }
        self.report.failed(ended.id, &ended.text, reason)
    }

    fn time_is_up(&mut self) -> Result<(), Error> {
        if self.start_by.is_some() {
            return Err(Error::Failed(self.not_started()));
        }
        for ended in self.tracker.expired(Instant::now()) {
            let topics: Vec<_> = ended.missing.iter().map(|place| self.plan.network.name(*place)).collect();
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

/// What the function's answer says, where it is one.
fn told(failure: &Failure) -> Told {
    match failure {
        Failure::Answer(answer) => Told::read(&answer.body),
        _ => Told::default(),
    }
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Answer(answer) if answer.body.trim().is_empty() => {
            format!("the function answered {}", reason_phrase(answer.status))
        }
        Failure::Answer(answer) => {
            // Of many destinations, those that are at fault matter.
            let said = told(failure).failures().unwrap_or_else(|| excerpt(&answer.body));
            format!("the function answered {}: {said}", reason_phrase(answer.status))
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
