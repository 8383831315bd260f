//! Which message is which: from the text that was sent, over its delivery, to its arrivals.
//!
//! A message has no identity that would survive the function: numbers and ids belong to topics, and the
//! text that arrives is another than the text that was sent. What is there to go by is order, because
//! one event after the other is delivered, and what the function publishes while it has an event, where that
//! can be seen (it can, of the function in this process). Both are used, so that a message of somebody else's
//! on a shared topic, or one that comes twice, is not taken for one that is waited for.
//!
//! Where an outbound topic is taken by the function in turn, what arrives there is an event of its own, which
//! belongs to the same text. A text has come to its end when all its events have.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// One event: a message that is delivered to the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    /// The number of the text that it came of, from 1.
    pub(super) text: u64,
    /// The place of the topic that it is delivered from.
    pub(super) place: usize,
    number: u64,
}

/// Events that are on their way.
#[derive(Debug)]
pub(super) struct Tracker {
    patience: Duration,
    /// Whether it is told what the function publishes.
    sees: bool,
    texts: u64,
    events: u64,
    /// The last one whose delivery has begun.
    delivering: Option<Id>,
    /// In the order in which they were sent.
    on_the_way: VecDeque<Message>,
}

#[derive(Debug)]
struct Message {
    id: Id,
    text: String,
    /// Whether it was sent here; others are those that somebody else published.
    ours: bool,
    /// When the text was sent that it came of.
    since: Instant,
    stage: Stage,
    /// Topics, by their place, that it has not arrived on; one as often as it is to.
    missing: Vec<usize>,
    /// What the function has published while it was being delivered.
    published: Vec<(usize, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// About to be published, or published.
    Sent,
    /// Come from its topic.
    Received,
    /// Being delivered: from now on it can arrive.
    Delivering,
    /// Taken by the function.
    Accepted,
    /// Not taken; what the function published all the same is still to arrive.
    Failed,
}

/// An event of which nothing more will come, or not in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: Id,
    pub(super) text: String,
    pub(super) ours: bool,
    /// Topics, by their place, that it has not arrived on.
    pub(super) missing: Vec<usize>,
    /// Whether the function has said that it took it.
    pub(super) accepted: bool,
    /// Whether it came from the inbound topic at all.
    pub(super) received: bool,
}

/// What the function says of the destinations of an event, by the places of their topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// They have the text, now or from before.
    pub(super) published: Vec<usize>,
    /// They have not, and should.
    pub(super) failed: Vec<usize>,
}

/// A message of an outbound topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is what became of this event, so long after its text was sent.
    Of { id: Id, latency: Duration, ours: bool },
    /// Nothing of the kind was waited for: somebody else's, or one that came twice.
    Other,
}

impl Tracker {
    /// `patience` is how long a text may take; `sees` is whether [`published`](Self::published) is going to be
    /// called.
    pub(super) fn new(patience: Duration, sees: bool) -> Self {
        Self { patience, sees, texts: 0, events: 0, delivering: None, on_the_way: VecDeque::new() }
    }

    /// A text is about to be published on the topic in `place`, and is to arrive at all of `to`.
    pub(super) fn sent(&mut self, place: usize, text: &str, to: Vec<usize>, now: Instant) -> Id {
        self.texts += 1;
        self.add((self.texts, place), text, to, (now, true), Stage::Sent)
    }

    /// The topic in `place` has brought a text, which will be delivered. One that nobody sent here is
    /// followed from now on.
    pub(super) fn received(&mut self, place: usize, text: &str, to: Vec<usize>, now: Instant) -> Id {
        let sent = |message: &&mut Message| {
            message.stage == Stage::Sent && message.id.place == place && message.text == text
        };
        if let Some(message) = self.on_the_way.iter_mut().find(sent) {
            message.stage = Stage::Received;
            return message.id;
        }
        self.texts += 1;
        self.add((self.texts, place), text, to, (now, false), Stage::Received)
    }

    /// What has arrived on the topic in `place` will be delivered in turn.
    pub(super) fn goes_on(
        &mut self,
        arrival: &Arrival,
        place: usize,
        text: &str,
        to: Vec<usize>,
        now: Instant,
    ) -> Id {
        match arrival {
            Arrival::Other => self.received(place, text, to, now),
            Arrival::Of { id, latency, ours } => {
                let since = now.checked_sub(*latency).unwrap_or(now);
                self.add((id.text, place), text, to, (since, *ours), Stage::Received)
            }
        }
    }

    /// Its delivery begins.
    pub(super) fn delivering(&mut self, id: Id) {
        self.delivering = Some(id);
        if let Some(message) = self.find(id) {
            message.stage = Stage::Delivering;
        }
    }

    /// The function publishes a text to the topic in `place`.
    pub(super) fn published(&mut self, place: usize, text: String) {
        let Some(message) = self.delivering.and_then(|id| self.find(id)) else { return };
        message.published.push((place, text));
    }

    /// It was decided that the topic in `place` gets nothing of it. Whether that was waited for.
    pub(super) fn dropped(&mut self, id: Id, place: usize) -> bool {
        let Some(message) = self.find(id) else { return false };
        message.misses_no_more(place)
    }

    /// The function has taken it.
    pub(super) fn accepted(&mut self, id: Id) {
        if let Some(message) = self.find(id) {
            message.stage = Stage::Accepted;
        }
        self.forget_if_done(id);
    }

    /// It came to no good. Gives it back where it is still followed; that goes on for what has come to
    /// good all the same.
    pub(super) fn failed(&mut self, id: Id, noted: &Noted) -> Option<Ended> {
        let message = self.find(id)?;
        let ended = message.ended();
        message.stage = Stage::Failed;
        message.missing.retain(|missing| noted.published.contains(missing));
        for place in &noted.failed {
            message.misses_no_more(*place);
        }
        self.forget_if_done(id);
        Some(ended)
    }

    /// The topic in `place` has brought a text.
    pub(super) fn arrived(&mut self, place: usize, text: &str, now: Instant) -> Arrival {
        let sees = self.sees;
        let is_it = |message: &&mut Message| {
            let is_published = |(at, published): &(usize, String)| *at == place && published == text;
            message.stage >= Stage::Delivering
                && message.missing.contains(&place)
                && (!sees || message.published.iter().any(is_published))
        };
        let Some(message) = self.on_the_way.iter_mut().find(is_it) else { return Arrival::Other };
        message.misses_no_more(place);
        let (id, ours) = (message.id, message.ours);
        let latency = now.saturating_duration_since(message.since);
        self.forget_if_done(id);
        Arrival::Of { id, latency, ours }
    }

    /// Gives back those that have taken too long.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Ended> {
        let too_late = |message: &Message, patience| now.saturating_duration_since(message.since) >= patience;
        let (late, still): (VecDeque<_>, _) =
            self.on_the_way.drain(..).partition(|message| too_late(message, self.patience));
        self.on_the_way = still;
        late.iter().map(Message::ended).collect()
    }

    /// When the next one will have taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.on_the_way.iter().map(|message| message.since + self.patience).min()
    }

    /// How many that came of what was sent here are on their way.
    pub(super) fn ours(&self) -> usize {
        self.on_the_way.iter().filter(|message| message.ours).count()
    }

    /// The numbers of the texts that these came of, one as often as there are events of it.
    pub(super) fn our_texts(&self) -> impl Iterator<Item = u64> {
        self.on_the_way.iter().filter(|message| message.ours).map(|message| message.id.text)
    }

    /// The text of an event and where it is still to arrive, if it is still followed.
    pub(super) fn waits_for(&self, id: Id) -> Option<(&str, &[usize])> {
        let message = self.on_the_way.iter().find(|message| message.id == id)?;
        Some((&message.text, &message.missing))
    }

    fn add(
        &mut self,
        (of, place): (u64, usize),
        text: &str,
        missing: Vec<usize>,
        (since, ours): (Instant, bool),
        stage: Stage,
    ) -> Id {
        self.events += 1;
        let id = Id { text: of, place, number: self.events };
        let (text, published) = (text.to_owned(), Vec::new());
        self.on_the_way.push_back(Message { id, text, ours, since, stage, missing, published });
        id
    }

    fn find(&mut self, id: Id) -> Option<&mut Message> {
        self.on_the_way.iter_mut().find(|message| message.id == id)
    }

    fn forget_if_done(&mut self, id: Id) {
        let done = |message: &Message| message.stage >= Stage::Accepted && message.missing.is_empty();
        self.on_the_way.retain(|message| message.id != id || !done(message));
    }
}

impl Message {
    /// One text less is to arrive on the topic in `place`. Whether one was to.
    fn misses_no_more(&mut self, place: usize) -> bool {
        let at = self.missing.iter().position(|missing| *missing == place);
        at.map(|at| self.missing.remove(at)).is_some()
    }

    fn ended(&self) -> Ended {
        Ended {
            id: self.id,
            text: self.text.clone(),
            ours: self.ours,
            missing: self.missing.clone(),
            accepted: self.stage == Stage::Accepted,
            received: self.stage >= Stage::Received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// The inbound topic, and two outbound ones.
    const IN: usize = 0;
    const A: usize = 1;
    const B: usize = 2;

    /// Of a function in this process.
    fn seeing() -> Tracker {
        Tracker::new(PATIENCE, true)
    }

    /// Of a function elsewhere.
    fn blind() -> Tracker {
        Tracker::new(PATIENCE, false)
    }

    /// Sends a text, as far as the beginning of its delivery.
    fn deliver(tracker: &mut Tracker, text: &str, to: &[usize], now: Instant) -> Id {
        let id = tracker.sent(IN, text, to.to_vec(), now);
        assert_eq!(tracker.received(IN, text, Vec::new(), now), id);
        tracker.delivering(id);
        id
    }

    /// The same, and the function publishes its upper case.
    fn publish(tracker: &mut Tracker, text: &str, to: &[usize], now: Instant) -> Id {
        let id = deliver(tracker, text, to, now);
        for place in to {
            tracker.published(*place, text.to_uppercase());
        }
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
        let mut tracker = seeing();
        let id = publish(&mut tracker, "a", &[A, B], now);
        assert_eq!(of(&tracker.arrived(B, "A", now)), Some(id));
        tracker.accepted(id);
        assert_eq!(tracker.ours(), 1);
        let latency = Duration::from_millis(5);
        assert_eq!(tracker.arrived(A, "A", now + latency), Arrival::Of { id, latency, ours: true });
        assert_eq!((tracker.ours(), tracker.deadline()), (0, None));
    }

    #[test]
    fn the_answer_may_come_last() {
        let now = Instant::now();
        let mut tracker = seeing();
        let id = publish(&mut tracker, "", &[A], now);
        assert_eq!(of(&tracker.arrived(A, "", now)), Some(id));
        assert_eq!(tracker.ours(), 1);
        tracker.accepted(id);
        assert_eq!(tracker.ours(), 0);
    }

    #[test]
    fn every_destination_has_a_text_of_its_own() {
        let now = Instant::now();
        let mut tracker = seeing();
        let id = deliver(&mut tracker, "hi", &[A, B], now);
        tracker.published(B, "HI".to_owned());
        tracker.published(A, "¡hola!".to_owned());
        assert_eq!(tracker.arrived(A, "HI", now), Arrival::Other);
        assert_eq!(of(&tracker.arrived(A, "¡hola!", now)), Some(id));
        assert_eq!(tracker.arrived(B, "¡hola!", now), Arrival::Other);
        assert_eq!(of(&tracker.arrived(B, "HI", now)), Some(id));
    }

    #[test]
    fn one_topic_can_have_several_texts_of_an_event() {
        let now = Instant::now();
        let mut tracker = seeing();
        let id = deliver(&mut tracker, "x", &[A, A], now);
        // A publish that is tried again is seen again.
        for text in ["one", "one", "other"] {
            tracker.published(A, text.to_owned());
        }
        tracker.accepted(id);
        assert_eq!(of(&tracker.arrived(A, "other", now)), Some(id));
        assert_eq!(tracker.ours(), 1);
        assert_eq!(of(&tracker.arrived(A, "one", now)), Some(id));
        assert_eq!((tracker.ours(), tracker.arrived(A, "one", now)), (0, Arrival::Other));
    }

    #[test]
    fn what_is_dropped_is_not_waited_for() {
        let now = Instant::now();
        let mut tracker = seeing();
        let some = deliver(&mut tracker, "a", &[A, B], now);
        assert_eq!(tracker.waits_for(some), Some(("a", &[A, B][..])));
        assert!(tracker.dropped(some, B));
        // Told a second time, or of a topic that nothing is waited for on.
        assert!(!tracker.dropped(some, B) && !tracker.dropped(some, 7));
        tracker.published(A, "x".to_owned());
        tracker.accepted(some);
        assert_eq!((of(&tracker.arrived(A, "x", now)), tracker.ours()), (Some(some), 0));

        let all = deliver(&mut tracker, "b", &[A, B], now);
        assert!(tracker.dropped(all, A) && tracker.dropped(all, B));
        assert_eq!(tracker.ours(), 1);
        tracker.accepted(all);
        assert_eq!((tracker.ours(), tracker.waits_for(all)), (0, None));
    }

    #[test]
    fn what_goes_on_belongs_to_the_same_text() {
        let now = Instant::now();
        let later = now + Duration::from_millis(5);
        let mut tracker = seeing();
        let first = publish(&mut tracker, "a", &[A], now);
        let arrival = tracker.arrived(A, "A", later);
        let second = tracker.goes_on(&arrival, A, "A", vec![B], later);
        assert_eq!((second.text, second.place), (first.text, A));
        tracker.accepted(first);
        assert_eq!((tracker.ours(), tracker.deadline()), (1, Some(now + PATIENCE)));
        tracker.delivering(second);
        tracker.published(B, "AA".to_owned());
        tracker.accepted(second);
        let latency = Duration::from_millis(9);
        assert_eq!(tracker.arrived(B, "AA", now + latency), Arrival::Of { id: second, latency, ours: true });
        assert_eq!(tracker.ours(), 0);
        // The next text has the next number, however many events the one before it was.
        assert_eq!(deliver(&mut tracker, "b", &[A], now).text, 2);
    }

    #[test]
    fn what_goes_on_of_somebody_elses_is_somebody_elses() {
        let now = Instant::now();
        let mut tracker = seeing();
        let id = tracker.goes_on(&Arrival::Other, A, "x", vec![B], now);
        assert_eq!((tracker.ours(), id.place), (0, A));
    }

    #[test]
    fn the_same_text_twice_is_two_messages() {
        let now = Instant::now();
        let mut tracker = seeing();
        let ids = [(); 2].map(|()| tracker.sent(IN, "a", vec![A], now));
        assert_eq!([(); 2].map(|()| tracker.received(IN, "a", vec![A], now)), ids);
        for id in ids {
            tracker.delivering(id);
            tracker.published(A, "A".to_owned());
            assert_eq!(of(&tracker.arrived(A, "A", now)), Some(id));
            tracker.accepted(id);
        }
        assert_eq!((tracker.arrived(A, "A", now), tracker.ours()), (Arrival::Other, 0));
    }

    #[test]
    fn what_comes_twice_is_not_taken_for_the_next() {
        let now = Instant::now();
        let mut tracker = seeing();
        let first = publish(&mut tracker, "a", &[A], now);
        let second = publish(&mut tracker, "b", &[A], now);
        assert_eq!(of(&tracker.arrived(A, "A", now)), Some(first));
        assert_eq!(tracker.arrived(A, "A", now), Arrival::Other);
        assert_eq!(of(&tracker.arrived(A, "B", now)), Some(second));
    }

    #[test]
    fn where_it_is_not_seen_what_is_published_order_decides() {
        let now = Instant::now();
        let mut tracker = blind();
        let first = deliver(&mut tracker, "a", &[A], now);
        let second = deliver(&mut tracker, "b", &[A], now);
        assert_eq!(of(&tracker.arrived(A, "y", now)), Some(first));
        assert_eq!(of(&tracker.arrived(A, "x", now)), Some(second));
    }

    #[test]
    fn nothing_arrives_before_its_delivery_begins() {
        let now = Instant::now();
        let mut tracker = blind();
        let id = tracker.sent(IN, "a", vec![A], now);
        assert_eq!(tracker.arrived(A, "A", now), Arrival::Other);
        tracker.received(IN, "a", vec![A], now);
        assert_eq!(tracker.arrived(A, "A", now), Arrival::Other);
        tracker.delivering(id);
        assert_eq!(of(&tracker.arrived(A, "A", now)), Some(id));
    }

    #[test]
    fn one_that_failed_is_waited_for_no_longer() {
        let now = Instant::now();
        let mut tracker = blind();
        let first = deliver(&mut tracker, "a", &[A], now);
        let second = deliver(&mut tracker, "b", &[A], now);
        assert_eq!(tracker.failed(first, &Noted::default()).unwrap().text, "a");
        assert_eq!(tracker.failed(first, &Noted::default()), None);
        assert_eq!(of(&tracker.arrived(A, "B", now)), Some(second));
    }

    #[test]
    fn what_was_published_of_one_that_failed_is_still_waited_for() {
        let now = Instant::now();
        let mut tracker = blind();
        // Of the two texts for one topic, one is there.
        let id = deliver(&mut tracker, "a", &[A, A, B], now);
        let noted = Noted { published: vec![A], failed: vec![A, B] };
        assert_eq!(tracker.failed(id, &noted).unwrap().missing, [A, A, B]);
        assert_eq!(tracker.arrived(B, "x", now), Arrival::Other);
        assert_eq!(tracker.ours(), 1);
        assert_eq!((of(&tracker.arrived(A, "x", now)), tracker.ours()), (Some(id), 0));
    }

    #[test]
    fn somebody_elses_message_is_followed_but_is_not_ours() {
        let now = Instant::now();
        let mut tracker = seeing();
        let ours = tracker.sent(IN, "a", vec![A], now);
        let other = tracker.received(IN, "z", vec![A], now);
        assert_ne!(ours.text, other.text);
        assert_eq!(tracker.ours(), 1);
        tracker.delivering(other);
        tracker.published(A, "Z".to_owned());
        assert_eq!(of(&tracker.arrived(A, "Z", now)), Some(other));
        assert!(!tracker.failed(other, &Noted::default()).unwrap().ours);
    }

    #[test]
    fn what_takes_too_long_is_given_back_with_what_is_missing() {
        let now = Instant::now();
        let mut tracker = seeing();
        let id = publish(&mut tracker, "a", &[A, B], now);
        let later = publish(&mut tracker, "b", &[A, B], now + Duration::from_secs(1));
        tracker.arrived(A, "A", now);
        assert_eq!(tracker.expired(now + PATIENCE - Duration::from_nanos(1)), []);
        assert_eq!(tracker.deadline(), Some(now + PATIENCE));
        let expired = tracker.expired(now + PATIENCE);
        let [ended] = &expired[..] else { panic!("one, not {expired:?}") };
        assert_eq!(
            (ended.id, &ended.missing[..], ended.received, ended.accepted),
            (id, &[B][..], true, false)
        );
        assert_eq!(tracker.expired(now + PATIENCE * 2)[0].id, later);
    }
}
