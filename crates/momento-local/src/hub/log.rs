//! The messages of one topic: their numbers, bounded retention, and the next event of each reader.
//!
//! This module has no locks, clock or I/O. A reader is a [`Cursor`] into the log that all readers share. So a slow
//! reader costs no memory of its own and never delays a publisher. Replayed and live messages come from the same
//! log, so no message is lost or repeated between them.

use std::collections::VecDeque;
use std::sync::Arc;

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// UTF-8 text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

impl Value {
    /// Returns the text, unless the value is binary.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Returns the bytes of the text or of the binary value.
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

/// A message that a topic accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Counts up from 1 within a sequence page.
    pub sequence_number: u64,
    /// The page that the sequence number belongs to. A reset of the topic begins a greater page.
    pub sequence_page: u64,
    /// The token id of the publisher; empty if its token has none.
    pub publisher_id: String,
    /// The content.
    pub value: Value,
}

impl Published {
    /// Returns the text, unless the value is binary.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.value.text()
    }
}

/// The limits of what one topic keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The messages that a resuming subscriber can have replayed.
    pub(crate) history: usize,
    /// The latest messages that a fresh subscriber receives first, as far as they can be replayed.
    pub(crate) latest: usize,
    /// The messages that a subscriber can fall behind before it loses some.
    pub(crate) lag: usize,
    /// The bytes of values kept for both. The newest message is always kept.
    pub(crate) bytes: usize,
}

/// Sequence numbers that a reader skips, and the number where it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last number that the reader is known to have received; 0 if it has received none.
    pub(crate) last: u64,
    /// The number before the next message of the reader.
    pub(crate) new: u64,
    /// The page that `new` belongs to.
    pub(crate) page: u64,
}

/// An event for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Message(Arc<Published>),
    Gap(Gap),
}

/// A reader's position in the log.
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
    /// Returns an empty topic. Its first message will be number 1 of `page`.
    pub(crate) fn new(limits: Limits, page: u64) -> Self {
        Self { limits, page, last: 0, kept: VecDeque::new(), kept_bytes: 0 }
    }

    /// Accepts a message and assigns the next number.
    pub(crate) fn publish(&mut self, publisher_id: String, value: Value) -> Arc<Published> {
        self.last += 1;
        self.kept_bytes += value.as_bytes().len();
        let published =
            Arc::new(Published { sequence_number: self.last, sequence_page: self.page, publisher_id, value });
        self.kept.push_back(Arc::clone(&published));
        self.trim();
        published
    }

    /// Forgets all messages, and restarts the numbers at 1 of `page`.
    pub(crate) fn reset(&mut self, page: u64) {
        self.page = page;
        self.last = 0;
        self.kept.clear();
        self.kept_bytes = 0;
    }

    /// Returns a cursor for the latest messages, and for those that are published from now on.
    ///
    /// A reader that names another page than the current one first receives a gap; page 0 is an unknown page.
    fn at_latest(&self, page: u64) -> Cursor {
        let latest = u64::try_from(self.limits.latest).unwrap_or(u64::MAX);
        let next = self.oldest_replayable().max((self.last + 1).saturating_sub(latest));
        let gap = (page != 0 && page != self.page).then_some(Gap { last: 0, new: next - 1, page: self.page });
        Cursor { page: self.page, next, gap }
    }

    /// Returns a cursor that continues at `number` of `page`; page 0 is an unknown page. Number 0 is a fresh reader, which
    /// begins with the latest messages.
    ///
    /// If the log no longer has that message, the reader first receives a gap, and then the oldest message that
    /// can be replayed.
    pub(crate) fn resume_at(&self, number: u64, page: u64) -> Cursor {
        if number == 0 {
            return self.at_latest(page);
        }
        let oldest = self.oldest_replayable();
        let is_replayable = (oldest..=self.last + 1).contains(&number);
        if is_replayable && (page == self.page || page == 0) {
            return Cursor { page: self.page, next: number, gap: None };
        }
        // If the page is the current one and the number is in its future, the reader has seen all messages.
        // Otherwise the number belongs to another page or is too old, and all kept messages are new to the reader.
        let next = if page == self.page && number > self.last { self.last + 1 } else { oldest };
        let gap = Gap { last: number - 1, new: next - 1, page: self.page };
        Cursor { page: self.page, next, gap: Some(gap) }
    }

    /// Returns the next event of the reader; `None` if it is up to date.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> Option<Event> {
        if cursor.page == self.page
            && let Some(gap) = cursor.gap.take()
        {
            return Some(Event::Gap(gap));
        }
        let oldest = self.oldest_kept();
        if cursor.page != self.page || cursor.next < oldest {
            // An outdated gap that the reader has not received yet is widened: it receives only one.
            let last = cursor.gap.take().map_or(cursor.next - 1, |gap| gap.last);
            *cursor = Cursor { page: self.page, next: oldest, gap: None };
            return Some(Event::Gap(Gap { last, new: oldest - 1, page: self.page }));
        }
        let offset = usize::try_from(cursor.next - oldest).expect("the log fits into memory");
        let message = self.kept.get(offset)?;
        cursor.next += 1;
        Some(Event::Message(Arc::clone(message)))
    }

    /// Returns the messages that a resuming subscriber can have replayed, oldest first.
    pub(crate) fn history(&self) -> Vec<Arc<Published>> {
        let skipped = self.kept.len().saturating_sub(self.limits.history);
        self.kept.iter().skip(skipped).cloned().collect()
    }

    /// Returns the number of the oldest kept message, or of the next one if none is kept.
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

    const LIMITS: Limits = Limits { history: 3, latest: 0, lag: 5, bytes: 1_000 };

    fn log_with(messages: u64) -> Log {
        let mut log = Log::new(LIMITS, 10);
        for number in 1..=messages {
            log.publish(String::new(), number.to_string().into());
        }
        log
    }

    /// Reads all events of the reader: the numbers of messages as `Ok`, gaps as `Err`.
    fn drain(log: &Log, cursor: &mut Cursor) -> Vec<Result<u64, Gap>> {
        std::iter::from_fn(|| log.next(cursor))
            .map(|event| match event {
                Event::Message(message) => Ok(message.sequence_number),
                Event::Gap(gap) => Err(gap),
            })
            .collect()
    }

    #[test]
    fn live_reader_receives_only_new_messages() {
        let mut log = log_with(2);
        let mut cursor = log.resume_at(0, 0);
        assert_eq!(drain(&log, &mut cursor), []);
        let published = log.publish("tok".to_owned(), "three".into());
        assert_eq!((published.sequence_number, published.sequence_page), (3, 10));
        assert_eq!(drain(&log, &mut cursor), [Ok(3)]);
        assert_eq!(drain(&log, &mut cursor), []);
    }

    #[test]
    fn fresh_reader_begins_with_latest_messages_of_history() {
        for (latest, expected) in [(0, &[][..]), (1, &[6]), (2, &[5, 6]), (3, &[4, 5, 6]), (9, &[4, 5, 6])] {
            let mut log = log_with(6);
            log.limits.latest = latest;
            let mut cursor = log.resume_at(0, 0);
            let expected: Vec<_> = expected.iter().map(|number| Ok(*number)).collect();
            assert_eq!(drain(&log, &mut cursor), expected, "{latest}");
            assert_eq!(drain(&log, &mut log.resume_at(0, 10)), expected, "the current page, {latest}");
            log.publish(String::new(), "seven".into());
            assert_eq!(drain(&log, &mut cursor), [Ok(7)], "{latest}");
        }
        let empty = log_with(0);
        assert_eq!(drain(&empty, &mut empty.resume_at(0, 0)), [], "a new topic has no gap");
    }

    #[test]
    fn fresh_reader_on_another_page_receives_gap_before_latest_messages() {
        let mut log = log_with(6);
        log.limits.latest = 2;
        let gap = Gap { last: 0, new: 4, page: 10 };
        assert_eq!(drain(&log, &mut log.resume_at(0, 9)), [Err(gap), Ok(5), Ok(6)]);
        log.reset(20);
        let gap = Gap { last: 0, new: 0, page: 20 };
        assert_eq!(drain(&log, &mut log.resume_at(0, 10)), [Err(gap)]);
    }

    #[test]
    fn resume_within_history_replays_without_gap() {
        let log = log_with(6);
        assert_eq!(drain(&log, &mut log.resume_at(4, 10)), [Ok(4), Ok(5), Ok(6)]);
        assert_eq!(drain(&log, &mut log.resume_at(4, 0)), [Ok(4), Ok(5), Ok(6)]);
        assert_eq!(drain(&log, &mut log.resume_at(7, 10)), []);
    }

    #[test]
    fn resume_before_history_reports_gap() {
        let log = log_with(6);
        let gap = Gap { last: 1, new: 3, page: 10 };
        assert_eq!(drain(&log, &mut log.resume_at(2, 10)), [Err(gap), Ok(4), Ok(5), Ok(6)]);
    }

    #[test]
    fn resume_on_another_page_replays_current_page() {
        let log = log_with(2);
        let gap = Gap { last: 6, new: 0, page: 10 };
        assert_eq!(drain(&log, &mut log.resume_at(7, 9)), [Err(gap), Ok(1), Ok(2)]);
        // The page is unknown. This page has not assigned the number yet, so it is a number of another page.
        assert_eq!(drain(&log, &mut log.resume_at(7, 0)), [Err(gap), Ok(1), Ok(2)]);
    }

    #[test]
    fn resume_after_end_of_page_continues_live() {
        let mut log = log_with(2);
        let mut cursor = log.resume_at(9, 10);
        log.publish(String::new(), "three".into());
        assert_eq!(drain(&log, &mut cursor), [Err(Gap { last: 8, new: 2, page: 10 }), Ok(3)]);
    }

    #[test]
    fn slow_reader_loses_oldest_messages_and_receives_gap() {
        let mut log = log_with(1);
        let mut cursor = log.resume_at(0, 0);
        for _ in 0..7 {
            log.publish(String::new(), "x".into());
        }
        let gap = Gap { last: 1, new: 3, page: 10 };
        assert_eq!(drain(&log, &mut cursor), [Err(gap), Ok(4), Ok(5), Ok(6), Ok(7), Ok(8)]);
    }

    #[test]
    fn reset_begins_page_and_sends_gap_to_readers() {
        let mut log = log_with(3);
        let mut cursor = log.resume_at(0, 0);
        log.reset(20);
        log.publish(String::new(), "new".into());
        assert_eq!(drain(&log, &mut cursor), [Err(Gap { last: 3, new: 0, page: 20 }), Ok(1)]);
    }

    #[test]
    fn drops_oldest_messages_over_byte_limit_and_keeps_newest() {
        let mut log = Log::new(Limits { history: 100, latest: 0, lag: 100, bytes: 10 }, 1);
        for text in ["12345", "12345", "1", "123456789012"] {
            log.publish(String::new(), text.into());
        }
        assert_eq!(log.history().iter().map(|message| message.sequence_number).collect::<Vec<_>>(), [4]);
        assert_eq!(log.kept_bytes, 12);
    }

    #[test]
    fn live_reader_misses_nothing_without_history() {
        let mut log = Log::new(Limits { history: 0, latest: 5, lag: 5, bytes: 1_000 }, 1);
        let mut live = log.resume_at(0, 0);
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

    /// A subscriber that checks after each event that every skipped number was in a gap.
    #[derive(Debug)]
    struct CheckedReader {
        cursor: Cursor,
        page: u64,
        last: u64,
    }

    impl CheckedReader {
        fn subscribe(log: &Log) -> Self {
            let cursor = log.resume_at(0, 0);
            Self { page: log.page, last: cursor.next - 1, cursor }
        }

        fn reconnect(&mut self, log: &Log) {
            self.cursor = log.resume_at(self.last + 1, self.page);
        }

        fn read(&mut self, log: &Log) -> Result<bool, TestCaseError> {
            match log.next(&mut self.cursor) {
                None => return Ok(false),
                Some(Event::Message(message)) => {
                    prop_assert_eq!(message.sequence_page, self.page, "a new page without a gap");
                    prop_assert_eq!(message.sequence_number, self.last + 1, "not the next number");
                    self.last = message.sequence_number;
                }
                Some(Event::Gap(gap)) => {
                    prop_assert_eq!(gap.last, self.last, "the gap does not begin at the last number");
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
        /// For any order of steps, a subscriber receives consecutive numbers, or a gap that begins at its last
        /// number and ends before its next one. It reaches the end of the log.
        #[test]
        fn reports_every_lost_message_and_repeats_none(
            history in 0..8_usize,
            latest in 0..4_usize,
            lag in 1..8_usize,
            bytes in 1..200_usize,
            steps in prop::collection::vec(step(), 0..120),
        ) {
            let mut log = Log::new(Limits { history, latest, lag, bytes }, 1);
            let mut pages = 1;
            let mut readers: Vec<_> = (0..3).map(|_| CheckedReader::subscribe(&log)).collect();
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
                    Step::Subscribe { reader } => readers[reader] = CheckedReader::subscribe(&log),
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
