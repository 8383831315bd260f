//! One topic's messages: numbering, bounded retention, and what a reader at a given place sees next.
//!
//! Pure: no locks, no clock, no I/O. A reader is a [`Cursor`] into the one log that all readers share, so
//! a slow reader costs no memory of its own, never holds up a publisher, and goes from replayed to live
//! messages without a seam at which one could be lost or doubled.

use std::collections::VecDeque;
use std::sync::Arc;

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// UTF-8 text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

impl Value {
    /// The text, unless the value is binary.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The value's bytes, whichever kind it is.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// A message as the topic accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Counts up from 1 within a sequence page.
    pub sequence_number: u64,
    /// Which numbering the sequence number belongs to; a reset of the topic begins a greater one.
    pub sequence_page: u64,
    /// The token id of the publisher; empty where its token holds none.
    pub publisher_id: String,
    /// What was published.
    pub value: Value,
}

impl Published {
    /// The text, unless the value is binary.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.value.text()
    }
}

/// How much one topic keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Messages that a resuming subscriber can have replayed.
    pub(crate) history: usize,
    /// Messages that a subscriber may be behind before it loses some.
    pub(crate) lag: usize,
    /// Bytes of values kept for both; the newest message is kept whatever its size.
    pub(crate) bytes: usize,
}

/// Numbers that a reader will not get, and where its reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last number that the reader is known to have had; 0 where there is none.
    pub(crate) last: u64,
    /// The number after which reading goes on: the next message is this plus one.
    pub(crate) new: u64,
    /// The page that `new` belongs to.
    pub(crate) page: u64,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Message(Arc<Published>),
    Gap(Gap),
}

/// A reader's place in the log.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    page: u64,
    next: u64,
    gap: Option<Gap>,
}

/// The messages of one topic.
#[derive(Debug)]
pub(crate) struct Log {
    limits: Limits,
    page: u64,
    last: u64,
    kept: VecDeque<Arc<Published>>,
    kept_bytes: usize,
}

impl Log {
    /// An empty topic whose first message will be number 1 of `page`.
    pub(crate) fn new(limits: Limits, page: u64) -> Self {
        Self { limits, page, last: 0, kept: VecDeque::new(), kept_bytes: 0 }
    }

    /// Accepts a message and gives it the next number.
    pub(crate) fn publish(&mut self, publisher_id: String, value: Value) -> Arc<Published> {
        self.last += 1;
        self.kept_bytes += value.as_bytes().len();
        let published =
            Arc::new(Published { sequence_number: self.last, sequence_page: self.page, publisher_id, value });
        self.kept.push_back(Arc::clone(&published));
        self.trim();
        published
    }

    /// Forgets everything and begins numbering anew, at 1 of `page`.
    pub(crate) fn reset(&mut self, page: u64) {
        self.page = page;
        self.last = 0;
        self.kept.clear();
        self.kept_bytes = 0;
    }

    /// A reader of what is published from now on.
    pub(crate) fn at_latest(&self) -> Cursor {
        Cursor { page: self.page, next: self.last + 1, gap: None }
    }

    /// A reader that wants to go on at `number` of `page`, or of a page that it does not know (0).
    ///
    /// Where the log no longer has that place, the reader begins at the oldest message that it may have,
    /// and first gets a gap that says so.
    pub(crate) fn resume_at(&self, number: u64, page: u64) -> Cursor {
        if number == 0 {
            return self.at_latest();
        }
        let oldest = self.oldest_replayable();
        let in_reach = (oldest..=self.last + 1).contains(&number);
        if in_reach && (page == self.page || page == 0) {
            return Cursor { page: self.page, next: number, gap: None };
        }
        // A number of this very page that was never given out: there is nothing to replay to its
        // holder. In every other case the numbers are of another page (or too old), and all that is
        // kept is news.
        let next = if page == self.page && number > self.last { self.last + 1 } else { oldest };
        let gap = Gap { last: number - 1, new: next - 1, page: self.page };
        Cursor { page: self.page, next, gap: Some(gap) }
    }

    /// What the reader gets next; `None` when it has everything.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> Option<Event> {
        if cursor.page == self.page
            && let Some(gap) = cursor.gap.take()
        {
            return Some(Event::Gap(gap));
        }
        let oldest = self.oldest_kept();
        if cursor.page != self.page || cursor.next < oldest {
            // A gap that was not read yet and is out of date by now is widened, not doubled.
            let last = cursor.gap.take().map_or(cursor.next - 1, |gap| gap.last);
            *cursor = Cursor { page: self.page, next: oldest, gap: None };
            return Some(Event::Gap(Gap { last, new: oldest - 1, page: self.page }));
        }
        let offset = usize::try_from(cursor.next - oldest).ok()?;
        let message = self.kept.get(offset)?;
        cursor.next += 1;
        Some(Event::Message(Arc::clone(message)))
    }

    /// What a resuming subscriber could have replayed, oldest first.
    pub(crate) fn history(&self) -> Vec<Arc<Published>> {
        let skipped = self.kept.len().saturating_sub(self.limits.history);
        self.kept.iter().skip(skipped).cloned().collect()
    }

    /// The number of the oldest message kept, or of the next one to come.
    fn oldest_kept(&self) -> u64 {
        self.kept.front().map_or(self.last + 1, |message| message.sequence_number)
    }

    fn oldest_replayable(&self) -> u64 {
        let history = u64::try_from(self.limits.history).unwrap_or(u64::MAX);
        self.oldest_kept().max((self.last + 1).saturating_sub(history))
    }

    fn trim(&mut self) {
        let most = self.limits.history.max(self.limits.lag).max(1);
        while self.kept.len() > most || (self.kept_bytes > self.limits.bytes && self.kept.len() > 1) {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.kept_bytes -= oldest.value.as_bytes().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { history: 3, lag: 5, bytes: 1_000 };

    fn log_with(messages: u64) -> Log {
        let mut log = Log::new(LIMITS, 10);
        for number in 1..=messages {
            log.publish(String::new(), number.to_string().into());
        }
        log
    }

    /// Everything that the reader gets now: `Ok` numbers and `Err` gaps.
    fn drain(log: &Log, cursor: &mut Cursor) -> Vec<Result<u64, Gap>> {
        std::iter::from_fn(|| log.next(cursor))
            .map(|event| match event {
                Event::Message(message) => Ok(message.sequence_number),
                Event::Gap(gap) => Err(gap),
            })
            .collect()
    }

    #[test]
    fn numbers_begin_at_one_and_a_live_reader_sees_only_what_is_new() {
        let mut log = log_with(2);
        let mut cursor = log.at_latest();
        assert_eq!(drain(&log, &mut cursor), []);
        let published = log.publish("tok".to_owned(), "three".into());
        assert_eq!((published.sequence_number, published.sequence_page), (3, 10));
        assert_eq!(drain(&log, &mut cursor), [Ok(3)]);
        assert_eq!(drain(&log, &mut cursor), []);
    }

    #[test]
    fn resuming_within_the_history_replays_without_a_gap() {
        let log = log_with(6);
        assert_eq!(drain(&log, &mut log.resume_at(4, 10)), [Ok(4), Ok(5), Ok(6)]);
        assert_eq!(drain(&log, &mut log.resume_at(4, 0)), [Ok(4), Ok(5), Ok(6)]);
        assert_eq!(drain(&log, &mut log.resume_at(7, 10)), []);
    }

    #[test]
    fn resuming_before_the_history_says_what_is_lost() {
        let log = log_with(6);
        let gap = Gap { last: 1, new: 3, page: 10 };
        assert_eq!(drain(&log, &mut log.resume_at(2, 10)), [Err(gap), Ok(4), Ok(5), Ok(6)]);
    }

    #[test]
    fn resuming_on_another_page_replays_what_this_one_has() {
        let log = log_with(2);
        let gap = Gap { last: 6, new: 0, page: 10 };
        assert_eq!(drain(&log, &mut log.resume_at(7, 9)), [Err(gap), Ok(1), Ok(2)]);
        // The page is unknown, but the number was never given out here: it must be another page's.
        assert_eq!(drain(&log, &mut log.resume_at(7, 0)), [Err(gap), Ok(1), Ok(2)]);
    }

    #[test]
    fn resuming_after_the_end_of_this_page_goes_on_live() {
        let mut log = log_with(2);
        let mut cursor = log.resume_at(9, 10);
        log.publish(String::new(), "three".into());
        assert_eq!(drain(&log, &mut cursor), [Err(Gap { last: 8, new: 2, page: 10 }), Ok(3)]);
    }

    #[test]
    fn a_reader_that_falls_behind_loses_the_oldest_and_is_told() {
        let mut log = log_with(1);
        let mut cursor = log.at_latest();
        for _ in 0..7 {
            log.publish(String::new(), "x".into());
        }
        let gap = Gap { last: 1, new: 3, page: 10 };
        assert_eq!(drain(&log, &mut cursor), [Err(gap), Ok(4), Ok(5), Ok(6), Ok(7), Ok(8)]);
    }

    #[test]
    fn a_reset_begins_a_page_and_every_reader_is_told() {
        let mut log = log_with(3);
        let mut cursor = log.at_latest();
        log.reset(20);
        log.publish(String::new(), "new".into());
        assert_eq!(drain(&log, &mut cursor), [Err(Gap { last: 3, new: 0, page: 20 }), Ok(1)]);
    }

    #[test]
    fn bytes_are_bounded_but_the_newest_message_stays() {
        let mut log = Log::new(Limits { history: 100, lag: 100, bytes: 10 }, 1);
        for text in ["12345", "12345", "1", "123456789012"] {
            log.publish(String::new(), text.into());
        }
        assert_eq!(log.history().iter().map(|message| message.sequence_number).collect::<Vec<_>>(), [4]);
        assert_eq!(log.kept_bytes, 12);
    }

    #[test]
    fn without_history_nothing_is_replayed_but_live_readers_miss_nothing() {
        let mut log = Log::new(Limits { history: 0, lag: 5, bytes: 1_000 }, 1);
        let mut live = log.at_latest();
        log.publish(String::new(), "one".into());
        log.publish(String::new(), "two".into());
        assert_eq!(log.history(), []);
        assert_eq!(drain(&log, &mut live), [Ok(1), Ok(2)]);
        assert_eq!(drain(&log, &mut log.resume_at(1, 1)), [Err(Gap { last: 0, new: 2, page: 1 })]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Publish { bytes: usize },
        Reset,
        Subscribe { reader: usize },
        Reconnect { reader: usize },
        Read { reader: usize, events: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..40_usize).prop_map(|bytes| Step::Publish { bytes }),
            1 => Just(Step::Reset),
            1 => (0..3_usize).prop_map(|reader| Step::Subscribe { reader }),
            2 => (0..3_usize).prop_map(|reader| Step::Reconnect { reader }),
            4 => (0..3_usize, 1..6_usize).prop_map(|(reader, events)| Step::Read { reader, events }),
        ]
    }

    /// A subscriber that checks, event by event, that it was told of everything that it did not get.
    #[derive(Debug)]
    struct Witness {
        cursor: Cursor,
        page: u64,
        last: u64,
    }

    impl Witness {
        fn subscribe(log: &Log) -> Self {
            Self { cursor: log.at_latest(), page: log.page, last: log.last }
        }

        fn reconnect(&mut self, log: &Log) {
            self.cursor = log.resume_at(self.last + 1, self.page);
        }

        fn read(&mut self, log: &Log) -> Result<bool, TestCaseError> {
            match log.next(&mut self.cursor) {
                None => return Ok(false),
                Some(Event::Message(message)) => {
                    prop_assert_eq!(message.sequence_page, self.page, "a page came unannounced");
                    prop_assert_eq!(message.sequence_number, self.last + 1, "not the next number");
                    self.last = message.sequence_number;
                }
                Some(Event::Gap(gap)) => {
                    prop_assert_eq!(gap.last, self.last, "the gap does not begin where reading ended");
                    if gap.page == self.page {
                        prop_assert!(gap.new > self.last, "a gap that skips nothing: {:?}", gap);
                    } else {
                        prop_assert!(gap.page > self.page, "pages go up: {:?}", gap);
                    }
                    self.page = gap.page;
                    self.last = gap.new;
                }
            }
            Ok(true)
        }
    }

    proptest! {
        /// Whatever happens in whatever order, a subscriber sees consecutive numbers or a gap that
        /// begins at its last number and ends right before its next one, and ends up at the end.
        #[test]
        fn nothing_is_lost_doubled_or_reordered_in_silence(
            history in 0..8_usize,
            lag in 1..8_usize,
            bytes in 1..200_usize,
            steps in prop::collection::vec(step(), 0..120),
        ) {
            let mut log = Log::new(Limits { history, lag, bytes }, 1);
            let mut pages = 1;
            let mut readers: Vec<_> = (0..3).map(|_| Witness::subscribe(&log)).collect();
            for step in steps {
                match step {
                    Step::Publish { bytes } => {
                        log.publish(String::new(), vec![0; bytes].into());
                        prop_assert!(log.kept.len() <= history.max(lag));
                        prop_assert!(log.kept_bytes <= log.limits.bytes || log.kept.len() == 1);
                        prop_assert!(log.history().len() <= history);
                    }
                    Step::Reset => {
                        pages += 3;
                        log.reset(pages);
                    }
                    Step::Subscribe { reader } => readers[reader] = Witness::subscribe(&log),
                    Step::Reconnect { reader } => readers[reader].reconnect(&log),
                    Step::Read { reader, events } => {
                        for _ in 0..events {
                            if !readers[reader].read(&log)? {
                                break;
                            }
                        }
                    }
                }
            }
            for mut reader in readers {
                while reader.read(&log)? {}
                prop_assert_eq!((reader.page, reader.last), (log.page, log.last));
            }
        }
    }
}
