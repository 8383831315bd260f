//! Which message is which: from the text that was sent, over its delivery, to its arrivals.
//!
//! A message has no identity that would survive the function: numbers and ids belong to topics, and the
//! text that arrives is another than the text that was sent. What is there to go by is order, because
//! one event after the other is delivered, and what the function makes of a text, where that is known
//! (it is, of the function in this process). Both are used, so that a message of somebody else's on a
//! shared topic, or one that comes twice, is not taken for one that is waited for.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What a message is called here.
pub(super) type Id = u64;

/// Messages that are on their way.
#[derive(Debug)]
pub(super) struct Tracker {
    topics: usize,
    patience: Duration,
    last_id: Id,
    /// In the order in which they were sent.
    on_the_way: VecDeque<Message>,
}

#[derive(Debug)]
struct Message {
    id: Id,
    text: String,
    /// Whether it was sent here; others are those that somebody else published.
    ours: bool,
    /// What arrives of it, where that is known.
    becomes: Option<String>,
    since: Instant,
    stage: Stage,
    /// Outbound topics, by their place, that it has not arrived on.
    missing: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// About to be published, or published.
    Sent,
    /// Come from the inbound topic.
    Received,
    /// Being delivered: from now on it can arrive.
    Delivering,
    /// Taken by the function.
    Accepted,
}

/// A message of which nothing more will come, or not in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: Id,
    pub(super) text: String,
    pub(super) ours: bool,
    /// Outbound topics, by their place, that it has not arrived on.
    pub(super) missing: Vec<usize>,
    /// Whether the function has said that it took it.
    pub(super) accepted: bool,
    /// Whether it came from the inbound topic at all.
    pub(super) received: bool,
}

/// A message of an outbound topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is what became of this one, so long after it was sent.
    Of { id: Id, latency: Duration },
    /// Nothing of the kind was waited for: somebody else's, or one that came twice.
    Other,
}

impl Tracker {
    /// For so many outbound topics; `patience` is how long a message may take.
    pub(super) fn new(topics: usize, patience: Duration) -> Self {
        Self { topics, patience, last_id: 0, on_the_way: VecDeque::new() }
    }

    /// A text is about to be published on the inbound topic.
    pub(super) fn sent(&mut self, text: &str, becomes: Option<String>, now: Instant) -> Id {
        self.add(text, becomes, now, Stage::Sent)
    }

    /// The inbound topic has brought a text, which will be delivered. One that nobody sent here is
    /// followed from now on.
    pub(super) fn received(&mut self, text: &str, becomes: Option<String>, now: Instant) -> Id {
        let sent = |message: &&mut Message| message.stage == Stage::Sent && message.text == text;
        if let Some(message) = self.on_the_way.iter_mut().find(sent) {
            message.stage = Stage::Received;
            return message.id;
        }
        self.add(text, becomes, now, Stage::Received)
    }

    /// Its delivery begins.
    pub(super) fn delivering(&mut self, id: Id) {
        self.reach(id, Stage::Delivering);
    }

    /// The function has taken it.
    pub(super) fn accepted(&mut self, id: Id) {
        self.reach(id, Stage::Accepted);
        self.forget_if_done(id);
    }

    /// Nothing more will come of it. Gives it back where it is still followed.
    pub(super) fn failed(&mut self, id: Id) -> Option<Ended> {
        let place = self.on_the_way.iter().position(|message| message.id == id)?;
        self.on_the_way.remove(place).map(Ended::from)
    }

    /// An outbound topic, by its place, has brought a text.
    pub(super) fn arrived(&mut self, topic: usize, text: &str, now: Instant) -> Arrival {
        let is_it = |message: &&mut Message| {
            message.stage >= Stage::Delivering
                && message.missing.contains(&topic)
                && message.becomes.as_deref().is_none_or(|becomes| becomes == text)
        };
        let Some(message) = self.on_the_way.iter_mut().find(is_it) else { return Arrival::Other };
        message.missing.retain(|missing| *missing != topic);
        let (id, latency) = (message.id, now.saturating_duration_since(message.since));
        self.forget_if_done(id);
        Arrival::Of { id, latency }
    }

    /// Gives back those that have taken too long.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Ended> {
        let too_late = |message: &Message, patience| now.saturating_duration_since(message.since) >= patience;
        let (late, still): (VecDeque<_>, _) =
            self.on_the_way.drain(..).partition(|message| too_late(message, self.patience));
        self.on_the_way = still;
        late.into_iter().map(Ended::from).collect()
    }

    /// When the next one will have taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.on_the_way.iter().map(|message| message.since + self.patience).min()
    }

    /// How many that were sent here are on their way.
    pub(super) fn ours(&self) -> usize {
        self.on_the_way.iter().filter(|message| message.ours).count()
    }

    fn add(&mut self, text: &str, becomes: Option<String>, since: Instant, stage: Stage) -> Id {
        self.last_id += 1;
        self.on_the_way.push_back(Message {
            id: self.last_id,
            text: text.to_owned(),
            ours: stage == Stage::Sent,
            becomes,
            since,
            stage,
            missing: (0..self.topics).collect(),
        });
        self.last_id
    }

    fn reach(&mut self, id: Id, stage: Stage) {
        if let Some(message) = self.on_the_way.iter_mut().find(|message| message.id == id) {
            message.stage = stage;
        }
    }

    fn forget_if_done(&mut self, id: Id) {
        let done = |message: &Message| message.stage == Stage::Accepted && message.missing.is_empty();
        self.on_the_way.retain(|message| message.id != id || !done(message));
    }
}

impl From<Message> for Ended {
    fn from(message: Message) -> Self {
        Self {
            id: message.id,
            text: message.text,
            ours: message.ours,
            missing: message.missing,
            accepted: message.stage == Stage::Accepted,
            received: message.stage >= Stage::Received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Sends a text that becomes its upper case, as far as the beginning of its delivery.
    fn deliver(tracker: &mut Tracker, text: &str, now: Instant) -> Id {
        let id = tracker.sent(text, Some(text.to_uppercase()), now);
        assert_eq!(tracker.received(text, None, now), id);
        tracker.delivering(id);
        id
    }

    /// The same with a function of which it is not known what it does.
    fn deliver_elsewhere(tracker: &mut Tracker, text: &str, now: Instant) -> Id {
        let id = tracker.sent(text, None, now);
        assert_eq!(tracker.received(text, None, now), id);
        tracker.delivering(id);
        id
    }

    /// The id that an arrival belongs to.
    fn of(arrival: &Arrival) -> Option<Id> {
        match arrival {
            Arrival::Of { id, .. } => Some(*id),
            Arrival::Other => None,
        }
    }

    #[test]
    fn a_message_is_done_when_it_was_accepted_and_has_arrived_everywhere() {
        let now = Instant::now();
        let mut tracker = Tracker::new(2, PATIENCE);
        let id = deliver(&mut tracker, "a", now);
        assert_eq!(of(&tracker.arrived(1, "A", now)), Some(id));
        tracker.accepted(id);
        assert_eq!(tracker.ours(), 1);
        let latency = Duration::from_millis(5);
        assert_eq!(tracker.arrived(0, "A", now + latency), Arrival::Of { id, latency });
        assert_eq!((tracker.ours(), tracker.deadline()), (0, None));
    }

    #[test]
    fn the_answer_may_come_last() {
        let now = Instant::now();
        let mut tracker = Tracker::new(1, PATIENCE);
        let id = deliver(&mut tracker, "", now);
        assert_eq!(of(&tracker.arrived(0, "", now)), Some(id));
        assert_eq!(tracker.ours(), 1);
        tracker.accepted(id);
        assert_eq!(tracker.ours(), 0);
    }

    #[test]
    fn the_same_text_twice_is_two_messages() {
        let now = Instant::now();
        let mut tracker = Tracker::new(1, PATIENCE);
        let ids = [(); 2].map(|()| tracker.sent("a", Some("A".to_owned()), now));
        assert_eq!([(); 2].map(|()| tracker.received("a", None, now)), ids);
        for id in ids {
            tracker.delivering(id);
            assert_eq!(of(&tracker.arrived(0, "A", now)), Some(id));
            tracker.accepted(id);
        }
        assert_eq!((tracker.arrived(0, "A", now), tracker.ours()), (Arrival::Other, 0));
    }

    #[test]
    fn what_comes_twice_is_not_taken_for_the_next() {
        let now = Instant::now();
        let mut tracker = Tracker::new(1, PATIENCE);
        let first = deliver(&mut tracker, "a", now);
        let second = deliver(&mut tracker, "b", now);
        assert_eq!(of(&tracker.arrived(0, "A", now)), Some(first));
        assert_eq!(tracker.arrived(0, "A", now), Arrival::Other);
        assert_eq!(of(&tracker.arrived(0, "B", now)), Some(second));
    }

    #[test]
    fn where_it_is_not_known_what_becomes_of_a_text_order_decides() {
        let now = Instant::now();
        let mut tracker = Tracker::new(1, PATIENCE);
        let first = deliver_elsewhere(&mut tracker, "a", now);
        let second = deliver_elsewhere(&mut tracker, "b", now);
        assert_eq!(of(&tracker.arrived(0, "y", now)), Some(first));
        assert_eq!(of(&tracker.arrived(0, "x", now)), Some(second));
    }

    #[test]
    fn nothing_arrives_before_its_delivery_begins() {
        let now = Instant::now();
        let mut tracker = Tracker::new(1, PATIENCE);
        let id = tracker.sent("a", None, now);
        assert_eq!(tracker.arrived(0, "A", now), Arrival::Other);
        tracker.received("a", None, now);
        assert_eq!(tracker.arrived(0, "A", now), Arrival::Other);
        tracker.delivering(id);
        assert_eq!(of(&tracker.arrived(0, "A", now)), Some(id));
    }

    #[test]
    fn one_that_failed_is_waited_for_no_longer() {
        let now = Instant::now();
        let mut tracker = Tracker::new(1, PATIENCE);
        let first = deliver_elsewhere(&mut tracker, "a", now);
        let second = deliver_elsewhere(&mut tracker, "b", now);
        assert_eq!(tracker.failed(first).unwrap().text, "a");
        assert_eq!(tracker.failed(first), None);
        assert_eq!(of(&tracker.arrived(0, "B", now)), Some(second));
    }

    #[test]
    fn somebody_elses_message_is_followed_but_is_not_ours() {
        let now = Instant::now();
        let mut tracker = Tracker::new(1, PATIENCE);
        let ours = tracker.sent("a", Some("A".to_owned()), now);
        let other = tracker.received("z", Some("Z".to_owned()), now);
        assert_ne!(ours, other);
        assert_eq!(tracker.ours(), 1);
        tracker.delivering(other);
        assert_eq!(of(&tracker.arrived(0, "Z", now)), Some(other));
        assert!(!tracker.failed(other).unwrap().ours);
    }

    #[test]
    fn what_takes_too_long_is_given_back_with_what_is_missing() {
        let now = Instant::now();
        let mut tracker = Tracker::new(2, PATIENCE);
        let id = deliver(&mut tracker, "a", now);
        let later = deliver(&mut tracker, "b", now + Duration::from_secs(1));
        tracker.arrived(0, "A", now);
        assert_eq!(tracker.expired(now + PATIENCE - Duration::from_nanos(1)), []);
        assert_eq!(tracker.deadline(), Some(now + PATIENCE));
        let expired = tracker.expired(now + PATIENCE);
        let [ended] = &expired[..] else { panic!("one, not {expired:?}") };
        assert_eq!(
            (ended.id, &ended.missing[..], ended.received, ended.accepted),
            (id, &[1][..], true, false)
        );
        assert_eq!(tracker.expired(now + PATIENCE * 2)[0].id, later);
    }
}
