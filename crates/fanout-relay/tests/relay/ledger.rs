//! Checks that every published message has exactly one outcome, or is in a gap.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use fanout_relay::spool::{MessageId, Outcome, Payload, Spool};
use momento_local::MomentoLocal;
use test_support::process::TIMEOUT;
use tokio::time::timeout;

/// A message: its topic, page and number.
pub(crate) type Key = (String, u64, u64);

/// What was published.
#[derive(Debug, Default)]
pub(crate) struct Ledger(BTreeSet<Key>);

/// The counts of all topics: published = delivered + dead + expired + missing + unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) delivered: usize,
    pub(crate) dead: usize,
    pub(crate) expired: usize,
    /// In a gap with known numbers.
    pub(crate) missing: usize,
    /// In a gap without an end, before a reset of the topic.
    pub(crate) unknown: usize,
}

impl Sums {
    pub(crate) fn delivered(delivered: usize) -> Self {
        Self { delivered, ..Self::default() }
    }
}

impl Ledger {
    /// Publishes to a topic in the cache `c`.
    pub(crate) fn publish(&mut self, momento: &MomentoLocal, topic: &str, count: usize) {
        for _ in 0..count {
            let text = format!("{topic} {}", self.0.len());
            let published = momento.publish("c", topic, text).unwrap();
            self.0.insert((topic.to_owned(), published.sequence_page, published.sequence_number));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Waits until every message is accounted for.
    pub(crate) async fn settle(&self, spool: &Spool) -> Sums {
        self.settle_within(TIMEOUT, spool).await
    }

    /// Waits until every message is accounted for, for `limit` at most.
    pub(crate) async fn settle_within(&self, limit: Duration, spool: &Spool) -> Sums {
        let mut changes = spool.changes();
        let settled = async {
            loop {
                changes.mark_unchanged();
                match self.sums(spool).await {
                    Ok(sums) => break sums,
                    Err(_) => changes.changed().await.unwrap(),
                }
            }
        };
        if let Ok(sums) = timeout(limit, settled).await {
            return sums;
        }
        panic!("unsettled: {:?}", self.sums(spool).await);
    }

    /// Returns the counts, or the messages that have no outcome yet. A message with two is a fault.
    async fn sums(&self, spool: &Spool) -> Result<Sums, Vec<Key>> {
        let totals = spool.totals().await.unwrap();
        // The rest takes a while.
        if totals.iter().any(|topic| topic.pending > 0) {
            return Err(Vec::new());
        }
        let names: HashMap<_, _> = totals.iter().map(|topic| (topic.topic, topic.name.clone())).collect();
        let mut outcomes = BTreeMap::new();
        for outcome in [Outcome::Delivered, Outcome::Dead, Outcome::Expired] {
            for message in spool.finished(outcome, MessageId::default(), usize::MAX).await.unwrap() {
                if !matches!(message.payload, Payload::Gap(_)) {
                    let key = (message.topic_name, message.page, message.number);
                    assert!(self.0.contains(&key), "{key:?} was not published");
                    assert_eq!(outcomes.insert(key.clone(), outcome), None, "{key:?} has two outcomes");
                }
            }
        }
        let gaps = spool.gaps().await.unwrap();
        let (mut sums, mut open) = (Sums::default(), Vec::new());
        for key in &self.0 {
            let (topic, page, number) = key;
            let mut gaps = gaps
                .iter()
                .filter(|gap| names[&gap.topic] == *topic && gap.page == *page && gap.first <= *number);
            let is_missing = gaps.clone().any(|gap| *number <= gap.last);
            let is_unknown = gaps.any(|gap| gap.last < gap.first);
            match outcomes.get(key) {
                Some(_) if is_missing => panic!("{key:?} arrived and is missing"),
                Some(Outcome::Delivered) => sums.delivered += 1,
                Some(Outcome::Dead) => sums.dead += 1,
                Some(Outcome::Expired | Outcome::Dropped | Outcome::DeadLettered) => sums.expired += 1,
                None if is_missing => sums.missing += 1,
                None if is_unknown => sums.unknown += 1,
                None => open.push(key.clone()),
            }
        }
        if !open.is_empty() {
            return Err(open);
        }
        let total = |count: fn(&fanout_relay::spool::TopicTotals) -> u64| {
            usize::try_from(totals.iter().map(count).sum::<u64>()).unwrap()
        };
        assert_eq!(total(|topic| topic.delivered), sums.delivered);
        assert_eq!(total(|topic| topic.dead), sums.dead);
        assert_eq!(total(|topic| topic.expired), sums.expired);
        assert_eq!(total(|topic| topic.missing), sums.missing);
        assert_eq!(total(|topic| topic.received) + sums.missing + sums.unknown, self.0.len());
        Ok(sums)
    }
}
