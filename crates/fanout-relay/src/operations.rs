//! The requests of an operator to a spool: on the command line if no relay runs, and through the port of the relay otherwise.

use std::collections::BTreeSet;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::names::{NameError, TopicName};
use momento_webhook::Millis;
use serde::{Deserialize, Serialize};

use crate::spool::{Change, GapNotice, MessageId, Outcome, Payload, Spool, SpoolError, Spooled, TopicTotals};
use crate::topics::MAX_TOPICS;

/// The messages that are read from the spool at once.
const PAGE: usize = 256;

/// A request of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Lists the counts of all topics.
    Totals,
    /// Lists all gaps.
    Gaps,
    /// Lists messages with an outcome.
    List {
        /// The outcome.
        outcome: Outcome,
        /// The last message that is not listed.
        after: i64,
        /// The largest number of messages.
        limit: usize,
    },
    /// Shows one message with its content.
    Show {
        /// Its id.
        id: i64,
    },
    /// Delivers dead messages again.
    Redrive(Which),
    /// Gives dead messages up.
    Drop(Which),
    /// Delivers messages again that the spool still holds.
    Replay(Replay),
    /// Lists the topics that were added at run time.
    Topics,
    /// Adds topics to a subscription. They stay over a restart. Those that it has already stay as they are.
    AddTopics(TopicsOf),
    /// Removes topics that were added. Their messages in the spool are still delivered.
    RemoveTopics(TopicsOf),
    /// Reads the messages that a replay selects, pending ones as well.
    Read {
        /// Selects the messages.
        replay: Replay,
        /// The last message that is not read.
        after: i64,
        /// The largest number of messages; at most 256 are read.
        limit: usize,
    },
}

/// Selects dead messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All of them.
    All,
    /// Those with these ids.
    Ids(Vec<i64>),
}

/// Selects messages of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The name of the subscription; without it, all that have the topic.
    pub subscription: Option<String>,
    /// The topic.
    pub topic: String,
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
}

/// Topics of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicsOf {
    /// The name of the subscription.
    pub subscription: String,
    /// The topics.
    pub topics: Vec<String>,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Performed {
    /// The counts of all topics.
    Totals(Vec<TopicTotals>),
    /// All gaps, the oldest first.
    Gaps(Vec<ListedGap>),
    /// Messages, the oldest first.
    Messages(Vec<ListedMessage>),
    /// One message, with its content.
    Message(Box<ShownMessage>),
    /// Messages with their content, the oldest first.
    Read(Vec<ReadMessage>),
    /// The number of messages or topics that were changed.
    Changed(u64),
    /// The topics that were added at run time, by subscription.
    Topics(Vec<TopicsOf>),
}

/// A gap with the names of its topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGap {
    /// The subscription.
    pub subscription: String,
    /// The cache.
    pub cache: String,
    /// The topic.
    pub topic: String,
    /// The page of the numbers.
    pub page: u64,
    /// The first missing number, the last one, and how they were noticed.
    #[serde(flatten)]
    pub gap: GapNotice,
    /// The time at which they were noticed.
    pub at: Millis,
}

/// A message without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedMessage {
    /// Its id.
    pub id: i64,
    /// The cache.
    pub cache: String,
    /// The topic.
    pub topic: String,
    /// The sequence page.
    pub page: u64,
    /// The sequence number.
    pub number: u64,
    /// The time at which it arrived.
    pub received_at: Millis,
    /// Its attempts.
    pub attempts: u32,
    /// Its outcome, unless it is pending.
    pub outcome: Option<Outcome>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// A message with its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownMessage {
    /// Everything else.
    #[serde(flatten)]
    pub message: ListedMessage,
    /// The id in the publisher's token, if it has one.
    pub token_id: Option<String>,
    /// The text, unless the message is binary.
    pub text: Option<String>,
    /// The bytes of a binary message.
    pub binary: Option<Vec<u8>>,
}

/// A message with its content, and the subscription that it arrived for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadMessage {
    /// The name of the subscription.
    pub subscription: String,
    /// The message.
    #[serde(flatten)]
    pub message: ShownMessage,
}

/// Error for an operation that cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The message is not there, or has another outcome.
    #[error("the spool has no message {0} with an outcome")]
    NoMessage(i64),
    /// The topic is not there.
    #[error("the spool has no topic {0:?} in such a subscription")]
    NoTopic(String),
    /// The subscription is not there.
    #[error("the spool has no subscription {0:?}; a relay with it has to run first")]
    NoSubscription(String),
    /// The name of a topic is invalid.
    #[error("the topic {0:?} {1}")]
    InvalidTopic(String, NameError),
    /// The topic was not added at run time.
    #[error("the topic {0:?} was not added at run time")]
    NotAdded(String),
    /// The subscription has no room.
    #[error("the subscription would have {0} topics that were added; the maximum is {MAX_TOPICS}")]
    TooManyTopics(usize),
    /// The spool fails.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Performs an operation. When it returns, changes are stored.
///
/// # Errors
/// If what it names is not there, or the spool fails.
pub async fn perform(spool: &Spool, operation: Operation) -> Result<Performed, OperationError> {
    Ok(match operation {
        Operation::Totals => Performed::Totals(spool.totals().await?),
        Operation::Gaps => Performed::Gaps(gaps(spool).await?),
        Operation::List { outcome, after, limit } => {
            let messages = spool.finished(outcome, MessageId::new(after), limit).await?;
            Performed::Messages(messages.iter().map(ListedMessage::from).collect())
        }
        Operation::Show { id } => Performed::Message(Box::new(find(spool, id, None).await?.into())),
        Operation::Redrive(which) => {
            let at = SystemClock.now();
            let redrive = |id| Change::Redrive { id, from: Outcome::Dead, at };
            Performed::Changed(change_dead(spool, which, redrive).await?)
        }
        Operation::Drop(which) => {
            let at = SystemClock.now();
            let drop =
                |id| Change::Finished { id, outcome: Outcome::Dropped, attempts: None, at, error: None };
            Performed::Changed(change_dead(spool, which, drop).await?)
        }
        Operation::Replay(replay) => {
            let at = SystemClock.now();
            let (mut changed, mut after) = (0, MessageId::default());
            loop {
                let page = selected(spool, &replay, after, PAGE).await?;
                let Some((_, last)) = page.last() else { break };
                after = last.id;
                for (_, message) in page {
                    let Some(from) = message.outcome else { continue };
                    spool.send(Change::Redrive { id: message.id, from, at }).await?;
                    changed += 1;
                }
            }
            spool.flush().await?;
            Performed::Changed(changed)
        }
        Operation::Topics => {
            let mut all: Vec<TopicsOf> = Vec::new();
            for (subscription, topic) in spool.added_topics(None).await? {
                match all.last_mut() {
                    Some(last) if last.subscription == subscription => last.topics.push(topic),
                    _ => all.push(TopicsOf { subscription, topics: vec![topic] }),
                }
            }
            Performed::Topics(all)
        }
        Operation::AddTopics(topics) => Performed::Changed(change_topics(spool, topics, true).await?),
        Operation::RemoveTopics(topics) => Performed::Changed(change_topics(spool, topics, false).await?),
        Operation::Read { replay, after, limit } => {
            let selected = selected(spool, &replay, MessageId::new(after), limit.min(PAGE)).await?;
            let read =
                |(subscription, message): (_, Spooled)| ReadMessage { subscription, message: message.into() };
            Performed::Read(selected.into_iter().map(read).collect())
        }
    })
}

/// Adds or removes topics. Returns the number of those that are new, or no longer there.
async fn change_topics(
    spool: &Spool,
    TopicsOf { subscription: name, topics }: TopicsOf,
    are_added: bool,
) -> Result<u64, OperationError> {
    let Some(subscription) = spool.find_subscription(&name).await? else {
        return Err(OperationError::NoSubscription(name));
    };
    let before = spool.added_topics(Some(subscription)).await?.into_iter().map(|(_, topic)| topic);
    let before: BTreeSet<String> = before.collect();
    let topics: BTreeSet<String> = topics.into_iter().collect();
    // All of them are checked first, so that a wrong one changes nothing.
    for topic in &topics {
        if let Err(error) = TopicName::new(topic.as_str()) {
            return Err(OperationError::InvalidTopic(topic.clone(), error));
        }
        if !are_added && !before.contains(topic) {
            return Err(OperationError::NotAdded(topic.clone()));
        }
    }
    if are_added && before.union(&topics).count() > MAX_TOPICS {
        return Err(OperationError::TooManyTopics(before.union(&topics).count()));
    }
    let topics: Vec<_> = topics.into_iter().filter(|topic| before.contains(topic) != are_added).collect();
    let changed = topics.len().try_into().unwrap_or(u64::MAX);
    spool.send(Change::Topics { subscription, topics, are_added }).await?;
    spool.flush().await?;
    Ok(changed)
}

/// Returns up to `limit` messages that a replay selects and that come after `after`, the oldest first, each with the name
/// of its subscription.
///
/// # Errors
/// If no topic has this name, or the spool fails.
async fn selected(
    spool: &Spool,
    replay: &Replay,
    after: MessageId,
    limit: usize,
) -> Result<Vec<(String, Spooled)>, OperationError> {
    let topics = spool.totals().await?.into_iter().filter(|topic| {
        topic.name == replay.topic
            && replay.subscription.as_ref().is_none_or(|subscription| topic.subscription == *subscription)
    });
    let mut is_known = false;
    let mut messages = Vec::new();
    for topic in topics {
        is_known = true;
        let page = spool.range(topic.topic, replay.from, replay.to, after, limit).await?;
        messages.extend(page.into_iter().map(|message| (topic.subscription.clone(), message)));
    }
    messages.sort_by_key(|(_, message)| message.id);
    messages.truncate(limit);
    if is_known { Ok(messages) } else { Err(OperationError::NoTopic(replay.topic.clone())) }
}

async fn gaps(spool: &Spool) -> Result<Vec<ListedGap>, OperationError> {
    let topics = spool.totals().await?;
    let gaps = spool.gaps().await?.into_iter().filter_map(|gap| {
        // A topic that began between the two reads has no gap in the first.
        let topic = topics.iter().find(|topic| topic.topic == gap.topic)?;
        Some(ListedGap {
            subscription: topic.subscription.clone(),
            cache: topic.cache.clone(),
            topic: topic.name.clone(),
            page: gap.page,
            gap: GapNotice { first: gap.first, last: gap.last, reason: gap.reason },
            at: gap.at,
        })
    });
    Ok(gaps.collect())
}

/// Returns the message with this id. If `outcome` is given, the message must have it.
async fn find(spool: &Spool, id: i64, outcome: Option<Outcome>) -> Result<Spooled, OperationError> {
    for outcome in Outcome::ALL.into_iter().filter(|any| outcome.is_none_or(|outcome| outcome == *any)) {
        let found = spool.finished(outcome, MessageId::new(id.saturating_sub(1)), 1).await?;
        if let Some(message) = found.into_iter().find(|message| message.id.number() == id) {
            return Ok(message);
        }
    }
    Err(OperationError::NoMessage(id))
}

async fn change_dead(
    spool: &Spool,
    which: Which,
    change: impl Fn(MessageId) -> Change,
) -> Result<u64, OperationError> {
    let mut changed = 0;
    match which {
        Which::Ids(ids) => {
            // All of them are looked up first, so that a wrong id changes nothing.
            for id in &ids {
                find(spool, *id, Some(Outcome::Dead)).await?;
            }
            for id in ids {
                spool.send(change(MessageId::new(id))).await?;
                changed += 1;
            }
        }
        Which::All => {
            let mut after = MessageId::default();
            loop {
                let page = spool.finished(Outcome::Dead, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.id;
                for message in page {
                    spool.send(change(message.id)).await?;
                    changed += 1;
                }
            }
        }
    }
    spool.flush().await?;
    Ok(changed)
}

impl From<&Spooled> for ListedMessage {
    fn from(message: &Spooled) -> Self {
        Self {
            id: message.id.number(),
            cache: message.cache.clone(),
            topic: message.topic_name.clone(),
            page: message.page,
            number: message.number,
            received_at: message.received_at,
            attempts: message.attempts,
            outcome: message.outcome,
            error: message.error.clone(),
        }
    }
}

impl From<Spooled> for ShownMessage {
    fn from(spooled: Spooled) -> Self {
        let message = ListedMessage::from(&spooled);
        let (text, binary) = match spooled.payload {
            Payload::Text(text) => (Some(text), None),
            Payload::Binary(bytes) => (None, Some(bytes)),
            Payload::Gap(_) => (None, None),
        };
        Self { message, token_id: spooled.token_id, text, binary }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Limits, Location, Received};

    /// A spool with six messages: 1 and 2 are dead, 3 is delivered, 4 is expired, 5 and 6 are pending.
    async fn spool() -> Spool {
        let spool = Spool::open(&Location::Memory, Limits::default()).unwrap();
        let subscription = spool.subscription("s").await.unwrap();
        let (topic, _) = spool.topic(subscription, "c", "t").await.unwrap();
        for number in 1..=6 {
            let payload = Payload::Text(format!("text {number}"));
            let (token_id, cursor, received_at) = (Some("ana".to_owned()), None, 7);
            let received = Received { topic, page: 1, number, received_at, token_id, payload, cursor };
            spool.send(Change::Received(received)).await.unwrap();
        }
        let outcomes = [Outcome::Dead, Outcome::Dead, Outcome::Delivered, Outcome::Expired];
        for (message, outcome) in spool.oldest(topic, 9).await.unwrap().iter().zip(outcomes) {
            let (id, error) = (message.id, Some("503".to_owned()));
            let finished = Change::Finished { id, outcome, attempts: Some(3), at: 9, error };
            spool.send(finished).await.unwrap();
        }
        spool
    }

    async fn totals(spool: &Spool) -> (u64, u64, u64, u64, u64) {
        let totals = spool.totals().await.unwrap().remove(0);
        (totals.delivered, totals.dead, totals.expired, totals.dropped, totals.pending)
    }

    async fn dead(spool: &Spool) -> Vec<ListedMessage> {
        let list = Operation::List { outcome: Outcome::Dead, after: 0, limit: 9 };
        let Performed::Messages(messages) = perform(spool, list).await.unwrap() else { panic!() };
        messages
    }

    #[tokio::test]
    async fn lists_and_shows_dead_messages() {
        let spool = spool().await;
        let dead = dead(&spool).await;
        let shown: Vec<_> = dead.iter().map(|message| (message.number, message.error.as_deref())).collect();
        assert_eq!(shown, [(1, Some("503")), (2, Some("503"))]);
        let Performed::Message(shown) = perform(&spool, Operation::Show { id: dead[1].id }).await.unwrap()
        else {
            panic!()
        };
        assert_eq!((shown.text.as_deref(), shown.token_id.as_deref()), (Some("text 2"), Some("ana")));
        assert!(matches!(
            perform(&spool, Operation::Show { id: 99 }).await,
            Err(OperationError::NoMessage(99))
        ));
    }

    #[tokio::test]
    async fn redrives_and_drops_dead_messages_only() {
        let spool = spool().await;
        let ids: Vec<_> = dead(&spool).await.iter().map(|message| message.id).collect();
        let drop = Operation::Drop(Which::Ids(vec![ids[0]]));
        assert_eq!(perform(&spool, drop.clone()).await.unwrap(), Performed::Changed(1));
        assert_eq!(totals(&spool).await, (1, 1, 1, 1, 2));
        assert!(perform(&spool, drop).await.is_err());
        let redrive = Operation::Redrive(Which::All);
        assert_eq!(perform(&spool, redrive).await.unwrap(), Performed::Changed(1));
        assert_eq!(totals(&spool).await, (1, 0, 1, 1, 3));
    }

    #[tokio::test]
    async fn adds_and_removes_topics_of_known_subscription() {
        let spool = spool().await;
        let of = |subscription: &str, topics: &[&str]| TopicsOf {
            subscription: subscription.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        };
        let add = async |topics: TopicsOf| perform(&spool, Operation::AddTopics(topics)).await;
        let remove = async |topics: TopicsOf| perform(&spool, Operation::RemoveTopics(topics)).await;
        assert_eq!(add(of("s", &["b", "a", "a"])).await.unwrap(), Performed::Changed(2));
        assert_eq!(add(of("s", &["b", "c"])).await.unwrap(), Performed::Changed(1));
        for (error, says) in [
            (add(of("unknown", &["a"])).await, "the spool has no subscription \"unknown\""),
            (add(of("s", &["d", ""])).await, "the topic \"\" is empty"),
            (remove(of("s", &["a", "d"])).await, "the topic \"d\" was not added at run time"),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
        let many: Vec<_> = (0..MAX_TOPICS).map(|number| number.to_string()).collect();
        let error = add(TopicsOf { topics: many, ..of("s", &[]) }).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the subscription would have 10003 topics that were added; the maximum is 10000"
        );
        assert_eq!(remove(of("s", &["b"])).await.unwrap(), Performed::Changed(1));
        let listed = perform(&spool, Operation::Topics).await.unwrap();
        assert_eq!(listed, Performed::Topics(vec![of("s", &["a", "c"])]));
    }

    #[tokio::test]
    async fn reads_selected_messages_page_by_page() {
        let spool = spool().await;
        let other = spool.subscription("other").await.unwrap();
        let (topic, _) = spool.topic(other, "c", "t").await.unwrap();
        let payload = Payload::Binary(vec![7]);
        let (token_id, cursor) = (None, None);
        let received = Received { topic, page: 1, number: 5, received_at: 7, token_id, payload, cursor };
        spool.send(Change::Received(received)).await.unwrap();
        let replay = Replay { subscription: None, topic: "t".to_owned(), from: 4, to: 6 };
        let (mut read, mut after) = (Vec::new(), 0);
        loop {
            let operation = Operation::Read { replay: replay.clone(), after, limit: 3 };
            let performed = perform(&spool, operation).await.unwrap();
            // As the port sends it.
            let json = serde_json::to_string(&performed).unwrap();
            let Performed::Read(page) = serde_json::from_str(&json).unwrap() else { panic!("{json}") };
            let Some(last) = page.last() else { break };
            after = last.message.message.id;
            read.extend(page.into_iter().map(|read| {
                let ShownMessage { message, text, binary, .. } = read.message;
                (read.subscription, message.number, text.is_some(), binary)
            }));
        }
        let text = |number| ("s".to_owned(), number, true, None);
        assert_eq!(read, [text(4), text(5), text(6), ("other".to_owned(), 5, false, Some(vec![7]))]);
    }

    #[tokio::test]
    async fn wrong_id_changes_nothing() {
        let spool = spool().await;
        let first = dead(&spool).await[0].id;
        assert!(perform(&spool, Operation::Redrive(Which::Ids(vec![first, 99]))).await.is_err());
        assert_eq!(totals(&spool).await, (1, 2, 1, 0, 2));
    }

    #[tokio::test]
    async fn replays_range_with_any_outcome() {
        let spool = spool().await;
        let replay = |topic: &str, subscription: Option<&str>| Replay {
            subscription: subscription.map(str::to_owned),
            topic: topic.to_owned(),
            from: 2,
            to: 5,
        };
        for (topic, subscription) in [("other", None), ("t", Some("other"))] {
            let replay = Operation::Replay(replay(topic, subscription));
            assert!(matches!(perform(&spool, replay).await, Err(OperationError::NoTopic(_))));
        }
        let replay = Operation::Replay(replay("t", Some("s")));
        assert_eq!(perform(&spool, replay).await.unwrap(), Performed::Changed(3));
        assert_eq!(totals(&spool).await, (0, 1, 0, 0, 5));
    }
}
