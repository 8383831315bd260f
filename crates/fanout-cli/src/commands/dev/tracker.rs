//! Follows each message, from its publish over its delivery to its arrivals.
//!
//! A message has no identity that survives the function: numbers and ids belong to topics, and the text that arrives
//! differs from the text that was sent. Two things identify it: the order, because events are delivered one after
//! the other, and the texts that the function in this process publishes during a delivery. So a message of another
//! publisher on a shared topic, or one that arrives twice, is not mistaken for an expected one.
//!
//! If an outbound topic is delivered to the function too, what arrives there is another event of the same text. A text
//! is complete when all its events are.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// One event: a message that is delivered to the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    /// The number of its text, from 1.
    pub(super) text: u64,
    /// The index of the topic that it is delivered from.
    pub(super) topic: usize,
    number: u64,
}

/// The events in flight.
#[derive(Debug)]
pub(super) struct Tracker {
    timeout: Duration,
    /// True if the texts that the function publishes are known.
    knows_published: bool,
    texts: u64,
    events: u64,
    /// The last event whose delivery has begun.
    delivering: Option<Id>,
    /// In the order of their publishes.
    in_flight: VecDeque<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    id: Id,
    text: String,
    /// False for a message of another publisher.
    is_own: bool,
    /// The time at which its text was sent.
    since: Instant,
    progress: Progress,
    /// The topics, by their indices, on which it has not arrived. A topic that gets two texts is there twice.
    missing: Vec<usize>,
    /// The texts that the function published during its delivery, with the index of the topic.
    published: Vec<(usize, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// Published, or about to be.
    Sent,
    /// Received from its topic.
    Received,
    /// Being delivered: from now on it can arrive.
    Delivering,
    /// Accepted by the function.
    Accepted,
    /// Not accepted. What the function published can still arrive.
    Failed,
}

/// An event that failed or timed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Incomplete {
    pub(super) id: Id,
    pub(super) text: String,
    /// False for a message of another publisher.
    pub(super) is_own: bool,
    /// The topics, by their indices, on which it has not arrived.
    pub(super) missing: Vec<usize>,
    pub(super) is_accepted: bool,
    /// True if it was received from its topic.
    pub(super) is_received: bool,
}

/// The outcomes of an event's destinations in a response, by the indices of their topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    /// They have the text, from this delivery or an earlier one.
    pub(super) published: Vec<usize>,
    pub(super) failed: Vec<usize>,
}

/// A message of an outbound topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The result of this event, with the time since its text was sent.
    Of { id: Id, latency: Duration, is_own: bool },
    /// Not expected: from another publisher, or a repetition.
    Unexpected,
}

impl Tracker {
    /// Returns a tracker that gives a text the time `timeout` to arrive. `knows_published` promises calls of
    /// [`published`](Self::published).
    pub(super) fn new(timeout: Duration, knows_published: bool) -> Self {
        let in_flight = VecDeque::new();
        Self { timeout, knows_published, texts: 0, events: 0, delivering: None, in_flight }
    }

    /// Adds a text that is about to be published to `topic`, and that is expected on the topics `expected`.
    pub(super) fn sent(&mut self, topic: usize, text: &str, expected: Vec<usize>, now: Instant) -> Id {
        self.texts += 1;
        self.add((self.texts, topic), text, expected, (now, true), Progress::Sent)
    }

    /// Records that a text arrived on `topic` and will be delivered. Adds a text of another publisher.
    pub(super) fn received(&mut self, topic: usize, text: &str, expected: Vec<usize>, now: Instant) -> Id {
        let is_sent = |message: &&mut InFlight| {
            message.progress == Progress::Sent && message.id.topic == topic && message.text == text
        };
        if let Some(message) = self.in_flight.iter_mut().find(is_sent) {
            message.progress = Progress::Received;
            return message.id;
        }
        self.texts += 1;
        self.add((self.texts, topic), text, expected, (now, false), Progress::Received)
    }

    /// Adds an arrival on `topic` that will be delivered in turn.
    pub(super) fn chained(
        &mut self,
        arrival: &Arrival,
        topic: usize,
        text: &str,
        expected: Vec<usize>,
        now: Instant,
    ) -> Id {
        match arrival {
            Arrival::Unexpected => self.received(topic, text, expected, now),
            Arrival::Of { id, latency, is_own } => {
                let since = now.checked_sub(*latency).unwrap_or(now);
                self.add((id.text, topic), text, expected, (since, *is_own), Progress::Received)
            }
        }
    }

    /// Records that the delivery of an event begins.
    pub(super) fn delivering(&mut self, id: Id) {
        self.delivering = Some(id);
        if let Some(message) = self.find(id) {
            message.progress = Progress::Delivering;
        }
    }

    /// Records that the function publishes a text to `topic`.
    pub(super) fn published(&mut self, topic: usize, text: String) {
        let Some(message) = self.delivering.and_then(|id| self.find(id)) else { return };
        message.published.push((topic, text));
    }

    /// Records that the event was dropped for `topic`. Returns true if it was expected there.
    pub(super) fn dropped(&mut self, id: Id, topic: usize) -> bool {
        let Some(message) = self.find(id) else { return false };
        message.remove_missing(topic)
    }

    /// Records that the function accepted the event.
    pub(super) fn accepted(&mut self, id: Id) {
        if let Some(message) = self.find(id) {
            message.progress = Progress::Accepted;
        }
        self.remove_if_complete(id);
    }

    /// Records that the event failed, and returns it if it is in flight. The texts that the function published
    /// are still expected.
    pub(super) fn failed(&mut self, id: Id, outcomes: &Outcomes) -> Option<Incomplete> {
        let message = self.find(id)?;
        let incomplete = message.incomplete();
        message.progress = Progress::Failed;
        message.missing.retain(|missing| outcomes.published.contains(missing));
        for topic in &outcomes.failed {
            message.remove_missing(*topic);
        }
        self.remove_if_complete(id);
        Some(incomplete)
    }

    /// Records that a text arrived on `topic`, and returns the event that it is the result of.
    pub(super) fn arrived(&mut self, topic: usize, text: &str, now: Instant) -> Arrival {
        let knows_published = self.knows_published;
        let is_expected = |message: &&mut InFlight| {
            let is_published = |(at, published): &(usize, String)| *at == topic && published == text;
            message.progress >= Progress::Delivering
                && message.missing.contains(&topic)
                && (!knows_published || message.published.iter().any(is_published))
        };
        let Some(message) = self.in_flight.iter_mut().find(is_expected) else { return Arrival::Unexpected };
        message.remove_missing(topic);
        let (id, is_own) = (message.id, message.is_own);
        let latency = now.saturating_duration_since(message.since);
        self.remove_if_complete(id);
        Arrival::Of { id, latency, is_own }
    }

    /// Removes and returns the events that have timed out.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Incomplete> {
        let timeout = self.timeout;
        let is_late = |message: &InFlight| now.saturating_duration_since(message.since) >= timeout;
        let (late, in_flight): (VecDeque<_>, _) = self.in_flight.drain(..).partition(is_late);
        self.in_flight = in_flight;
        late.iter().map(InFlight::incomplete).collect()
    }

    /// Returns the time at which the next event times out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.in_flight.iter().map(|message| message.since + self.timeout).min()
    }

    /// Returns the number of events in flight, without those of other publishers.
    pub(super) fn own(&self) -> usize {
        self.own_texts().count()
    }

    /// Returns the number of a text for each of its events in flight. Leaves out other publishers.
    pub(super) fn own_texts(&self) -> impl Iterator<Item = u64> {
        self.in_flight.iter().filter(|message| message.is_own).map(|message| message.id.text)
    }

    /// Returns the text of an event in flight, and the topics on which it is missing.
    pub(super) fn expected(&self, id: Id) -> Option<(&str, &[usize])> {
        let message = self.in_flight.iter().find(|message| message.id == id)?;
        Some((&message.text, &message.missing))
    }

    fn add(
        &mut self,
        (of, topic): (u64, usize),
        text: &str,
        missing: Vec<usize>,
        (since, is_own): (Instant, bool),
        progress: Progress,
    ) -> Id {
        self.events += 1;
        let id = Id { text: of, topic, number: self.events };
        let (text, published) = (text.to_owned(), Vec::new());
        self.in_flight.push_back(InFlight { id, text, is_own, since, progress, missing, published });
        id
    }

    fn find(&mut self, id: Id) -> Option<&mut InFlight> {
        self.in_flight.iter_mut().find(|message| message.id == id)
    }

    fn remove_if_complete(&mut self, id: Id) {
        let is_complete =
            |message: &InFlight| message.progress >= Progress::Accepted && message.missing.is_empty();
        self.in_flight.retain(|message| message.id != id || !is_complete(message));
    }
}

impl InFlight {
    /// Removes a topic once from the missing ones. Returns true if it was missing.
    fn remove_missing(&mut self, topic: usize) -> bool {
        let index = self.missing.iter().position(|missing| *missing == topic);
        index.map(|index| self.missing.remove(index)).is_some()
    }

    fn incomplete(&self) -> Incomplete {
        Incomplete {
            id: self.id,
            text: self.text.clone(),
            is_own: self.is_own,
            missing: self.missing.clone(),
            is_accepted: self.progress == Progress::Accepted,
            is_received: self.progress >= Progress::Received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    /// The inbound topic, and two outbound topics.
    const IN: usize = 0;
    const A: usize = 1;
    const B: usize = 2;

    /// The tracker for a function in this process.
    fn in_process() -> Tracker {
        Tracker::new(TIMEOUT, true)
    }

    /// The tracker for an external function.
    fn external() -> Tracker {
        Tracker::new(TIMEOUT, false)
    }

    /// Sends a text, until its delivery begins.
    fn deliver(tracker: &mut Tracker, text: &str, to: &[usize], now: Instant) -> Id {
        let id = tracker.sent(IN, text, to.to_vec(), now);
        assert_eq!(tracker.received(IN, text, Vec::new(), now), id);
        tracker.delivering(id);
        id
    }

    /// Sends a text, until the function publishes its upper case.
    fn publish(tracker: &mut Tracker, text: &str, to: &[usize], now: Instant) -> Id {
        let id = deliver(tracker, text, to, now);
        for topic in to {
            tracker.published(*topic, text.to_uppercase());
        }
        id
    }

    /// Returns the event of an arrival.
    fn of(arrival: &Arrival) -> Option<Id> {
        match arrival {
            Arrival::Of { id, .. } => Some(*id),
            Arrival::Unexpected => None,
        }
    }

    #[test]
    fn completes_message_that_is_accepted_and_has_arrived_everywhere() {
        let now = Instant::now();
        let mut tracker = in_process();
        let id = publish(&mut tracker, "a", &[A, B], now);
        assert_eq!(of(&tracker.arrived(B, "A", now)), Some(id));
        tracker.accepted(id);
        assert_eq!(tracker.own(), 1);
        let latency = Duration::from_millis(5);
        assert_eq!(tracker.arrived(A, "A", now + latency), Arrival::Of { id, latency, is_own: true });
        assert_eq!((tracker.own(), tracker.deadline()), (0, None));
    }

    #[test]
    fn completes_message_whose_response_is_last() {
        let now = Instant::now();
        let mut tracker = in_process();
        let id = publish(&mut tracker, "", &[A], now);
        assert_eq!(of(&tracker.arrived(A, "", now)), Some(id));
        assert_eq!(tracker.own(), 1);
        tracker.accepted(id);
        assert_eq!(tracker.own(), 0);
    }

    #[test]
    fn matches_different_texts_of_destinations() {
        let now = Instant::now();
        let mut tracker = in_process();
        let id = deliver(&mut tracker, "hi", &[A, B], now);
        tracker.published(B, "HI".to_owned());
        tracker.published(A, "¡hola!".to_owned());
        assert_eq!(tracker.arrived(A, "HI", now), Arrival::Unexpected);
        assert_eq!(of(&tracker.arrived(A, "¡hola!", now)), Some(id));
        assert_eq!(tracker.arrived(B, "¡hola!", now), Arrival::Unexpected);
        assert_eq!(of(&tracker.arrived(B, "HI", now)), Some(id));
    }

    #[test]
    fn matches_several_texts_on_one_topic() {
        let now = Instant::now();
        let mut tracker = in_process();
        let id = deliver(&mut tracker, "x", &[A, A], now);
        // A publish that is retried is reported again.
        for text in ["one", "one", "other"] {
            tracker.published(A, text.to_owned());
        }
        tracker.accepted(id);
        assert_eq!(of(&tracker.arrived(A, "other", now)), Some(id));
        assert_eq!(tracker.own(), 1);
        assert_eq!(of(&tracker.arrived(A, "one", now)), Some(id));
        assert_eq!((tracker.own(), tracker.arrived(A, "one", now)), (0, Arrival::Unexpected));
    }

    #[test]
    fn does_not_expect_dropped_text() {
        let now = Instant::now();
        let mut tracker = in_process();
        let some = deliver(&mut tracker, "a", &[A, B], now);
        assert_eq!(tracker.expected(some), Some(("a", &[A, B][..])));
        assert!(tracker.dropped(some, B));
        // A second time, or for a topic on which nothing is expected.
        assert!(!tracker.dropped(some, B) && !tracker.dropped(some, 7));
        tracker.published(A, "x".to_owned());
        tracker.accepted(some);
        assert_eq!((of(&tracker.arrived(A, "x", now)), tracker.own()), (Some(some), 0));

        let all = deliver(&mut tracker, "b", &[A, B], now);
        assert!(tracker.dropped(all, A) && tracker.dropped(all, B));
        assert_eq!(tracker.own(), 1);
        tracker.accepted(all);
        assert_eq!((tracker.own(), tracker.expected(all)), (0, None));
    }

    #[test]
    fn keeps_number_of_text_for_chained_event() {
        let now = Instant::now();
        let later = now + Duration::from_millis(5);
        let mut tracker = in_process();
        let first = publish(&mut tracker, "a", &[A], now);
        let arrival = tracker.arrived(A, "A", later);
        let second = tracker.chained(&arrival, A, "A", vec![B], later);
        assert_eq!((second.text, second.topic), (first.text, A));
        tracker.accepted(first);
        assert_eq!((tracker.own(), tracker.deadline()), (1, Some(now + TIMEOUT)));
        tracker.delivering(second);
        tracker.published(B, "AA".to_owned());
        tracker.accepted(second);
        let latency = Duration::from_millis(9);
        assert_eq!(
            tracker.arrived(B, "AA", now + latency),
            Arrival::Of { id: second, latency, is_own: true }
        );
        assert_eq!(tracker.own(), 0);
        // The next text has the next number, not the number of the next event.
        assert_eq!(deliver(&mut tracker, "b", &[A], now).text, 2);
    }

    #[test]
    fn chained_event_of_another_publisher_is_not_own() {
        let now = Instant::now();
        let mut tracker = in_process();
        let id = tracker.chained(&Arrival::Unexpected, A, "x", vec![B], now);
        assert_eq!((tracker.own(), id.topic), (0, A));
    }

    #[test]
    fn distinguishes_equal_texts() {
        let now = Instant::now();
        let mut tracker = in_process();
        let ids = [(); 2].map(|()| tracker.sent(IN, "a", vec![A], now));
        assert_eq!([(); 2].map(|()| tracker.received(IN, "a", vec![A], now)), ids);
        for id in ids {
            tracker.delivering(id);
            tracker.published(A, "A".to_owned());
            assert_eq!(of(&tracker.arrived(A, "A", now)), Some(id));
            tracker.accepted(id);
        }
        assert_eq!((tracker.arrived(A, "A", now), tracker.own()), (Arrival::Unexpected, 0));
    }

    #[test]
    fn does_not_mistake_repetition_for_next_text() {
        let now = Instant::now();
        let mut tracker = in_process();
        let first = publish(&mut tracker, "a", &[A], now);
        let second = publish(&mut tracker, "b", &[A], now);
        assert_eq!(of(&tracker.arrived(A, "A", now)), Some(first));
        assert_eq!(tracker.arrived(A, "A", now), Arrival::Unexpected);
        assert_eq!(of(&tracker.arrived(A, "B", now)), Some(second));
    }

    #[test]
    fn matches_by_order_for_external_function() {
        let now = Instant::now();
        let mut tracker = external();
        let first = deliver(&mut tracker, "a", &[A], now);
        let second = deliver(&mut tracker, "b", &[A], now);
        assert_eq!(of(&tracker.arrived(A, "y", now)), Some(first));
        assert_eq!(of(&tracker.arrived(A, "x", now)), Some(second));
    }

    #[test]
    fn expects_nothing_before_delivery_begins() {
        let now = Instant::now();
        let mut tracker = external();
        let id = tracker.sent(IN, "a", vec![A], now);
        assert_eq!(tracker.arrived(A, "A", now), Arrival::Unexpected);
        tracker.received(IN, "a", vec![A], now);
        assert_eq!(tracker.arrived(A, "A", now), Arrival::Unexpected);
        tracker.delivering(id);
        assert_eq!(of(&tracker.arrived(A, "A", now)), Some(id));
    }

    #[test]
    fn does_not_expect_failed_event() {
        let now = Instant::now();
        let mut tracker = external();
        let first = deliver(&mut tracker, "a", &[A], now);
        let second = deliver(&mut tracker, "b", &[A], now);
        assert_eq!(tracker.failed(first, &Outcomes::default()).unwrap().text, "a");
        assert_eq!(tracker.failed(first, &Outcomes::default()), None);
        assert_eq!(of(&tracker.arrived(A, "B", now)), Some(second));
    }

    #[test]
    fn expects_published_texts_of_failed_event() {
        let now = Instant::now();
        let mut tracker = external();
        // One of the two texts for topic A was published.
        let id = deliver(&mut tracker, "a", &[A, A, B], now);
        let outcomes = Outcomes { published: vec![A], failed: vec![A, B] };
        assert_eq!(tracker.failed(id, &outcomes).unwrap().missing, [A, A, B]);
        assert_eq!(tracker.arrived(B, "x", now), Arrival::Unexpected);
        assert_eq!(tracker.own(), 1);
        assert_eq!((of(&tracker.arrived(A, "x", now)), tracker.own()), (Some(id), 0));
    }

    #[test]
    fn follows_message_of_another_publisher() {
        let now = Instant::now();
        let mut tracker = in_process();
        let own_id = tracker.sent(IN, "a", vec![A], now);
        let other = tracker.received(IN, "z", vec![A], now);
        assert_ne!(own_id.text, other.text);
        assert_eq!(tracker.own(), 1);
        tracker.delivering(other);
        tracker.published(A, "Z".to_owned());
        assert_eq!(of(&tracker.arrived(A, "Z", now)), Some(other));
        assert!(!tracker.failed(other, &Outcomes::default()).unwrap().is_own);
    }

    #[test]
    fn returns_expired_event_with_missing_topics() {
        let now = Instant::now();
        let mut tracker = in_process();
        let id = publish(&mut tracker, "a", &[A, B], now);
        let later = publish(&mut tracker, "b", &[A, B], now + Duration::from_secs(1));
        tracker.arrived(A, "A", now);
        assert_eq!(tracker.expired(now + TIMEOUT - Duration::from_nanos(1)), []);
        assert_eq!(tracker.deadline(), Some(now + TIMEOUT));
        let expired = tracker.expired(now + TIMEOUT);
        let [ended] = &expired[..] else { panic!("one, not {expired:?}") };
        assert_eq!(
            (ended.id, &ended.missing[..], ended.is_received, ended.is_accepted),
            (id, &[B][..], true, false)
        );
        assert_eq!(tracker.expired(now + TIMEOUT * 2)[0].id, later);
    }
}
