use std::fs;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

const NOW: Millis = 1_704_296_470_564;

fn message(topic: TopicId, number: u64) -> Received {
    Received {
        topic,
        page: 1,
        number,
        received_at: NOW,
        token_id: None,
        payload: Payload::Text(format!("text {number}")),
        cursor: Some(Cursor { number: number + 1, page: 1 }),
    }
}

/// Returns the id of a topic that no spool has.
pub(crate) fn topic_id(id: i64) -> TopicId {
    TopicId(id)
}

fn finished(id: MessageId, outcome: Outcome) -> Change {
    Change::Finished { id, outcome, attempts: Some(1), at: NOW, error: None }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    (folder, path)
}

/// A spool with one topic.
async fn open(location: &Location, limits: Limits) -> (Spool, SubscriptionId, TopicId, Option<Cursor>) {
    let spool = Spool::open(location, limits).unwrap();
    let subscription = spool.subscription("s").await.unwrap();
    let (topic, cursor) = spool.topic(subscription, "cache", "topic").await.unwrap();
    (spool, subscription, topic, cursor)
}

#[tokio::test]
async fn keeps_messages_cursor_and_totals_in_file() {
    let (_folder, path) = folder();
    let location = Location::File(path);
    let (spool, subscription, topic, cursor) = open(&location, Limits::default()).await;
    assert_eq!(cursor, None);
    for number in 1..=3 {
        spool.send(Change::Received(message(topic, number))).await.unwrap();
    }
    let due = spool.due(subscription, NOW, 10).await.unwrap();
    assert_eq!(due.iter().map(|message| message.number).collect::<Vec<_>>(), [1, 2, 3]);
    spool.send(finished(due[1].id, Outcome::Delivered)).await.unwrap();
    spool.close().await;

    let (spool, subscription, again, cursor) = open(&location, Limits::default()).await;
    assert_eq!((again, cursor), (topic, Some(Cursor { number: 4, page: 1 })));
    let due = spool.due(subscription, NOW, 10).await.unwrap();
    assert_eq!(due.iter().map(|message| message.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(due[0].payload, Payload::Text("text 1".to_owned()));
    assert_eq!(spool.usage(), Usage { messages: 2, bytes: 12 });
    let totals = spool.totals().await.unwrap();
    assert_eq!((totals[0].received, totals[0].delivered, totals[0].pending), (3, 1, 2));
}

#[tokio::test]
async fn stores_message_once_that_arrives_twice() {
    let (spool, subscription, topic, _) = open(&Location::Memory, Limits::default()).await;
    for number in [7, 7, 8, 7] {
        spool.send(Change::Received(message(topic, number))).await.unwrap();
    }
    assert_eq!(spool.due(subscription, NOW, 10).await.unwrap().len(), 2);
    assert_eq!(spool.totals().await.unwrap()[0].received, 2);
}

#[tokio::test]
async fn keeps_every_number_page_and_byte() {
    let (spool, subscription, topic, _) = open(&Location::Memory, Limits::default()).await;
    let sent = Received {
        page: u64::MAX,
        number: u64::MAX - 1,
        token_id: Some("é\0\u{1F600}".to_owned()),
        payload: Payload::Binary(vec![0, 0xFF, b'a']),
        cursor: Some(Cursor { number: u64::MAX, page: u64::MAX }),
        ..message(topic, 0)
    };
    spool.send(Change::Received(sent.clone())).await.unwrap();
    let stored = spool.due(subscription, NOW, 1).await.unwrap().remove(0);
    assert_eq!((stored.page, stored.number), (sent.page, sent.number));
    assert_eq!((stored.token_id, stored.payload), (sent.token_id, sent.payload));
    let (_, cursor) = spool.topic(subscription, "cache", "topic").await.unwrap();
    assert_eq!(cursor, sent.cursor);
}

#[tokio::test]
async fn returns_message_when_retry_is_due_and_not_before() {
    let (spool, subscription, topic, _) = open(&Location::Memory, Limits::default()).await;
    spool.send(Change::Received(message(topic, 1))).await.unwrap();
    let id = spool.due(subscription, NOW, 1).await.unwrap()[0].id;
    let (error, progress) = ("503".to_owned(), Some("[2]".to_owned()));
    let retry = Change::Retry { id, attempts: 3, due_at: NOW + 10, error, progress: progress.clone() };
    spool.send(retry).await.unwrap();
    assert_eq!(spool.due(subscription, NOW + 9, 1).await.unwrap(), []);
    assert_eq!(spool.next_due(subscription, NOW).await.unwrap(), Some(NOW + 10));
    let due = spool.due(subscription, NOW + 10, 1).await.unwrap().remove(0);
    assert_eq!((due.attempts, due.error.as_deref(), due.progress), (3, Some("503"), progress));
}

#[tokio::test]
async fn lists_topics_whose_oldest_message_is_due() {
    let (spool, subscription, first, _) = open(&Location::Memory, Limits::default()).await;
    let other = spool.subscription("other").await.unwrap();
    let topic = async |subscription, name| spool.topic(subscription, "cache", name).await.unwrap().0;
    let (second, third) = (topic(subscription, "second").await, topic(subscription, "third").await);
    let foreign = topic(other, "topic").await;
    topic(subscription, "empty").await;
    for (topic, number) in [(first, 1), (first, 2), (second, 1), (third, 1), (third, 2), (foreign, 1)] {
        spool.send(Change::Received(message(topic, number))).await.unwrap();
    }
    // The head of the third topic waits. The message behind it does not overtake it.
    let id = spool.oldest(third, 1).await.unwrap()[0].id;
    let error = "503".to_owned();
    spool.send(Change::Retry { id, attempts: 1, due_at: NOW + 5, error, progress: None }).await.unwrap();
    assert_eq!(spool.due_topics(subscription, NOW).await.unwrap(), [first, second]);
    assert_eq!(spool.due_topics(subscription, NOW + 5).await.unwrap(), [first, second, third]);
    assert_eq!(spool.due_topics(other, NOW).await.unwrap(), [foreign]);
}

#[tokio::test]
async fn keeps_first_outcome() {
    let (spool, subscription, topic, _) = open(&Location::Memory, Limits::default()).await;
    spool.send(Change::Received(message(topic, 1))).await.unwrap();
    let id = spool.due(subscription, NOW, 1).await.unwrap()[0].id;
    spool.send(finished(id, Outcome::Expired)).await.unwrap();
    spool.send(finished(id, Outcome::Delivered)).await.unwrap();
    spool.send(finished(id, Outcome::Dropped)).await.unwrap();
    let totals = spool.totals().await.unwrap().remove(0);
    assert_eq!((totals.expired, totals.delivered, totals.dropped), (1, 0, 0));
}

#[tokio::test]
async fn redrives_dead_message() {
    let (spool, subscription, topic, _) = open(&Location::Memory, Limits::default()).await;
    spool.send(Change::Received(message(topic, 1))).await.unwrap();
    let id = spool.due(subscription, NOW, 1).await.unwrap()[0].id;
    let error = Some("404".to_owned());
    spool
        .send(Change::Finished { id, outcome: Outcome::Dead, attempts: Some(2), at: NOW, error })
        .await
        .unwrap();
    let dead = spool.finished(Outcome::Dead, MessageId::default(), 10).await.unwrap();
    assert_eq!((dead[0].id, dead[0].error.as_deref(), dead[0].attempts), (id, Some("404"), 2));
    spool.send(Change::Redrive { id, from: Outcome::Dead, at: NOW + 5 }).await.unwrap();
    assert_eq!(spool.due(subscription, NOW + 5, 1).await.unwrap()[0].attempts, 0);
    let totals = spool.totals().await.unwrap().remove(0);
    assert_eq!((totals.dead, totals.pending), (0, 1));
}

#[tokio::test]
async fn keeps_added_topics_and_announces_changes() {
    let (_folder, path) = folder();
    let location = Location::File(path);
    let (spool, subscription, ..) = open(&location, Limits::default()).await;
    let other = spool.subscription("other").await.unwrap();
    let mut changes = spool.topic_changes();
    let set = |subscription, topics: &[&str], are_added| {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Change::Topics { subscription, topics, are_added }
    };
    for change in [
        set(subscription, &["b", "a", "d"], true),
        set(other, &["b"], true),
        set(subscription, &["a"], true),
        set(subscription, &["d", "unknown"], false),
    ] {
        changes.mark_unchanged();
        spool.send(change).await.unwrap();
        changes.changed().await.unwrap();
    }
    spool.close().await;
    let (spool, ..) = open(&location, Limits::default()).await;
    let pair = |name: &str, topic: &str| (name.to_owned(), topic.to_owned());
    assert_eq!(spool.added_topics(None).await.unwrap(), [pair("other", "b"), pair("s", "a"), pair("s", "b")]);
    let of_one = spool.added_topics(Some(other)).await.unwrap();
    assert_eq!(of_one, [pair("other", "b")]);
    assert_eq!(spool.find_subscription("unknown").await.unwrap(), None);
}

#[tokio::test]
async fn lists_dead_messages_of_one_subscription() {
    let (spool, subscription, topic, _) = open(&Location::Memory, Limits::default()).await;
    let other = spool.subscription("other").await.unwrap();
    let (foreign, _) = spool.topic(other, "cache", "topic").await.unwrap();
    for (topic, number) in [(topic, 1), (foreign, 2), (topic, 3), (topic, 4)] {
        spool.send(Change::Received(message(topic, number))).await.unwrap();
    }
    for message in spool.range(topic, 1, 3, MessageId::default(), 9).await.unwrap() {
        spool.send(finished(message.id, Outcome::Dead)).await.unwrap();
    }
    let id = spool.oldest(foreign, 1).await.unwrap()[0].id;
    spool.send(finished(id, Outcome::Dead)).await.unwrap();
    let dead = spool.dead(subscription, MessageId::default(), 9).await.unwrap();
    assert_eq!(dead.iter().map(|message| message.number).collect::<Vec<_>>(), [1, 3]);
    let rest = spool.dead(subscription, dead[0].id, 9).await.unwrap();
    assert_eq!(rest.len(), 1);
    spool.send(finished(dead[0].id, Outcome::DeadLettered)).await.unwrap();
    let totals = spool.totals().await.unwrap().remove(0);
    assert_eq!((totals.dead, totals.dead_lettered, totals.pending), (1, 1, 1));
}

#[tokio::test]
async fn expires_old_messages_except_those_in_delivery() {
    let (spool, subscription, topic, _) = open(&Location::Memory, Limits::default()).await;
    for number in 1..=3 {
        spool.send(Change::Received(message(topic, number))).await.unwrap();
    }
    let id = spool.due(subscription, NOW, 1).await.unwrap()[0].id;
    let expire = |received_before| Change::Expire {
        subscription,
        received_before,
        at: NOW,
        due_until: Millis::MAX,
        except: HashSet::from([id]),
    };
    spool.send(expire(NOW)).await.unwrap();
    assert_eq!(spool.due(subscription, NOW, 10).await.unwrap().len(), 3);
    spool.send(expire(NOW + 1)).await.unwrap();
    assert_eq!(spool.due(subscription, NOW, 10).await.unwrap()[0].id, id);
    assert_eq!(spool.totals().await.unwrap()[0].expired, 2);
    assert_eq!(spool.usage().messages, 1);
}

#[tokio::test]
async fn records_gap_and_cursor_together() {
    let (spool, subscription, topic, _) = open(&Location::Memory, Limits::default()).await;
    let cursor = Some(Cursor { number: 10, page: 2 });
    let gap = GapRecord { topic, page: 2, first: 4, last: 9, reason: "outage".to_owned(), at: NOW, cursor };
    spool.send(Change::Gap { gap: gap.clone(), notice: false }).await.unwrap();
    assert_eq!(spool.gaps().await.unwrap(), [GapRecord { cursor: None, ..gap }]);
    let totals = spool.totals().await.unwrap().remove(0);
    assert_eq!((totals.missing, totals.pending), (6, 0));
    assert_eq!(spool.topic(subscription, "cache", "topic").await.unwrap().1, cursor);
}

#[tokio::test]
async fn makes_senders_wait_while_full() {
    let limits = Limits { max_messages: 2, ..Limits::default() };
    let (spool, subscription, topic, _) = open(&Location::Memory, limits).await;
    for number in 1..=2 {
        spool.room(Room::All).await.unwrap();
        spool.send(Change::Received(message(topic, number))).await.unwrap();
        spool.flush().await.unwrap();
    }
    let mut room = Box::pin(spool.room(Room::All));
    tokio::select! {
        biased;
        _ = &mut room => panic!("the spool is full"),
        () = std::future::ready(()) => {}
    }
    let id = spool.due(subscription, NOW, 1).await.unwrap()[0].id;
    spool.send(finished(id, Outcome::Delivered)).await.unwrap();
    room.await.unwrap();
}

#[tokio::test]
async fn subscription_takes_no_more_room_than_it_leaves_to_others() {
    let limits = Limits { max_messages: 8, ..Limits::default() };
    let (spool, first, topic, _) = open(&Location::Memory, limits).await;
    let second = spool.subscription("second").await.unwrap();
    let other = spool.topic(second, "cache", "topic").await.unwrap().0;
    let fill = async |subscription, topic| {
        let mut number = 0;
        while spool.has_room(Room::Shared(subscription)) {
            number += 1;
            spool.send(Change::Received(message(topic, number))).await.unwrap();
            spool.flush().await.unwrap();
        }
        number
    };
    assert_eq!(fill(first, topic).await, 4);
    assert!(spool.has_room(Room::All));
    assert_eq!(fill(second, other).await, 2);
    assert!(!spool.has_room(Room::Shared(first)));
}

#[tokio::test]
async fn keeps_changes_and_reports_failure_while_disk_is_full() {
    let (_folder, path) = folder();
    let location = Location::File(path);
    let (spool, subscription, topic, _) = open(&location, Limits::default()).await;
    // A limit of pages is how SQLite lets a test fill the disk.
    spool.fill_disk(2).await;
    let mut large = message(topic, 1);
    large.payload = Payload::Text("x".repeat(1_000_000));
    spool.send(Change::Received(large)).await.unwrap();
    let failure = spool.failure.clone().wait_for(Option::is_some).await.unwrap().clone();
    assert!(failure.unwrap().contains("full"));
    spool.failure.clone().wait_for(Option::is_none).await.unwrap();
    assert_eq!(spool.due(subscription, NOW, 2).await.unwrap().len(), 1);
}

#[tokio::test]
async fn stores_nothing_after_a_change_that_it_gave_up() {
    let (_folder, path) = folder();
    let location = Location::File(path);
    let (spool, _, topic, _) = open(&location, Limits::default()).await;
    spool.fill_disk(2).await;
    let large = Received { payload: Payload::Text("x".repeat(1_000_000)), ..message(topic, 1) };
    spool.send(Change::Received(large)).await.unwrap();
    spool.failure.clone().wait_for(Option::is_some).await.unwrap();
    // The disk has room again for the second message, after the first was given up.
    spool.send(Change::Received(message(topic, 2))).await.unwrap();
    spool.close().await;
    let (spool, _, topic, cursor) = open(&location, Limits::default()).await;
    assert_eq!(cursor, None, "the first message is not behind the cursor");
    assert_eq!(spool.oldest(topic, 2).await.unwrap(), []);
}

#[tokio::test]
async fn rejects_file_that_another_process_uses() {
    let (_folder, path) = folder();
    let _first = Spool::open(&Location::File(path.clone()), Limits::default()).unwrap();
    let error = Spool::open(&Location::File(path), Limits::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
}

#[test]
fn rejects_foreign_file_and_leaves_it_as_it_is() {
    let (_folder, path) = folder();
    fs::write(&path, "not a database, but a long text of another program".repeat(100)).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Foreign(_))));
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (id)").unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Foreign(_))));
}

#[test]
fn does_not_start_from_nothing_where_a_spool_was() {
    let (folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    let topic = topic_of(&store);
    store.apply(&[&Change::Received(message(topic, 1))], &mut Usages::default()).unwrap();
    let wal = folder.path().join("relay.db-wal");
    let content = fs::read(&wal).unwrap();
    drop(store);
    for (is_missing, expected) in [(false, "it is empty"), (true, "it is missing, but ")] {
        fs::write(&wal, &content).unwrap();
        if is_missing {
            fs::remove_file(&path).unwrap();
        } else {
            fs::write(&path, "").unwrap();
        }
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::read(&wal).unwrap(), content);
        assert_eq!(path.exists(), !is_missing);
    }
}

#[test]
fn rejects_file_that_lacks_messages() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    let topic = topic_of(&store);
    let changes: Vec<_> = (1..=3).map(|number| Change::Received(message(topic, number))).collect();
    store.apply(&changes.iter().collect::<Vec<_>>(), &mut Usages::default()).unwrap();
    drop(store);
    Connection::open(&path).unwrap().execute("DELETE FROM messages WHERE number = 2", []).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("the topic \"topic\" has other messages than it counts"), "{error}");
}

#[tokio::test]
async fn removes_old_messages_as_fast_as_they_come() {
    let (_folder, path) = folder();
    let location = Location::File(path);
    // These messages were delivered years ago.
    let forever = Limits { keep_for: Duration::MAX, ..Limits::default() };
    let (spool, subscription, topic, _) = open(&location, forever).await;
    for number in 1..=5_000 {
        spool.send(Change::Received(message(topic, number))).await.unwrap();
    }
    for message in spool.due(subscription, NOW, 5_000).await.unwrap() {
        spool.send(finished(message.id, Outcome::Delivered)).await.unwrap();
    }
    spool.close().await;
    let (spool, ..) = open(&location, Limits::default()).await;
    let begun = std::time::Instant::now();
    while !spool.finished(Outcome::Delivered, MessageId::default(), 1).await.unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "old messages stay");
    }
    assert_eq!(spool.totals().await.unwrap()[0].delivered, 5_000);
}

#[test]
fn rejects_file_of_newer_version() {
    let (_folder, path) = folder();
    drop(Store::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Newer { found: 99, .. })));
}

#[test]
fn rejects_damaged_file() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    let topic = topic_of(&store);
    let changes: Vec<_> = (0..500).map(|number| Change::Received(message(topic, number))).collect();
    store.apply(&changes.iter().collect::<Vec<_>>(), &mut Usages::default()).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    // All pages but the first, which says what kind of file it is.
    bytes.iter_mut().skip(4_096).step_by(7).for_each(|byte| *byte = !*byte);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Damaged { .. })));
}

#[cfg(unix)]
#[test]
fn checkpoint_leaves_no_page_in_both_files() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    let topic = topic_of(&store);
    let in_wal = |store: &Store| -> i64 {
        store.connection().query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).unwrap()
    };
    for number in 0..20 {
        let payload = Payload::Text("text".repeat(1_000));
        let received = Change::Received(Received { payload, ..message(topic, number) });
        store.apply(&[&received], &mut Usages::default()).unwrap();
    }
    assert!(in_wal(&store) > 20);
    store.checkpoint(1).unwrap();
    assert_eq!(in_wal(&store), 1, "only the page that emptied the WAL");
    // By itself, after enough pages.
    let long = Payload::Text("text".repeat(1_000 * 1_024));
    store
        .apply(&[&Change::Received(Received { payload: long, ..message(topic, 20) })], &mut Usages::default())
        .unwrap();
    assert_eq!(in_wal(&store), 1);
}

#[test]
fn creates_file_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, path) = folder();
    let store = Store::open(&path).unwrap();
    store.subscription("s").unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
}

fn topic_of(store: &Store) -> TopicId {
    let subscription = store.subscription("s").unwrap();
    store.topic(subscription, "cache", "topic").unwrap().0
}

/// A step of the model. Positions select one of the messages that exist, modulo their number.
#[derive(Clone, Debug)]
enum Step {
    Receive(u64),
    Retry(usize),
    Finish(usize, Outcome),
    Redrive(usize, Outcome),
    Crash,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(Outcome::ALL.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_u64).prop_map(Step::Receive),
        2 => (0..40_usize).prop_map(Step::Retry),
        4 => (0..40_usize, outcome()).prop_map(|(at, outcome)| Step::Finish(at, outcome)),
        1 => (0..40_usize, outcome()).prop_map(|(at, from)| Step::Redrive(at, from)),
        1 => Just(Step::Crash),
    ]
}

/// The content of the spool: number, attempts and outcome of each message, in the order of arrival.
#[derive(Debug, Default)]
struct Model {
    messages: Vec<(u64, u32, Option<Outcome>)>,
    cursor: Option<Cursor>,
}

impl Model {
    fn get(&mut self, number: u64) -> &mut (u64, u32, Option<Outcome>) {
        self.messages.iter_mut().find(|(has, ..)| *has == number).unwrap()
    }

    fn with(&self, outcome: Option<Outcome>) -> Vec<(u64, u32)> {
        let with = self.messages.iter().filter(|(.., has)| *has == outcome);
        with.map(|(number, attempts, _)| (*number, *attempts)).collect()
    }
}

fn check(store: &Store, model: &Model) {
    let subscription = store.subscription("s").unwrap();
    let (topic, cursor) = store.topic(subscription, "cache", "topic").unwrap();
    assert_eq!(cursor, model.cursor);
    let shown = |messages: Vec<Spooled>| -> Vec<(u64, u32)> {
        messages.into_iter().map(|message| (message.number, message.attempts)).collect()
    };
    assert_eq!(shown(store.oldest(topic, usize::MAX).unwrap()), model.with(None));
    for outcome in Outcome::ALL {
        let finished = store.finished(outcome, MessageId::default(), usize::MAX).unwrap();
        assert_eq!(shown(finished), model.with(Some(outcome)), "{outcome:?}");
    }
    let totals = store.totals().unwrap().remove(0);
    let dead = totals.dead + totals.dropped + totals.dead_lettered;
    let sum = totals.delivered + dead + totals.expired + totals.pending;
    let all = model.messages.len() as u64;
    assert_eq!((totals.received, sum), (all, all));
    assert_eq!(store.usages().unwrap().all.messages, model.with(None).len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// Each list of steps is one transaction. A crash opens a copy of the files as they are on disk.
    #[test]
    fn agrees_with_model_after_crash_at_any_step(
        transactions in prop::collection::vec(prop::collection::vec(step(), 1..8), 1..12)
    ) {
        let mut folders = vec![folder()];
        let mut store = Store::open(&folders[0].1).unwrap();
        let topic = topic_of(&store);
        let (mut model, mut usages) = (Model::default(), Usages::default());
        for transaction in transactions {
            let crash = transaction.iter().any(|step| matches!(step, Step::Crash));
            let known = store.range(topic, 0, u64::MAX >> 1, MessageId::default(), usize::MAX).unwrap();
            let nth = |at: usize| at.checked_rem(known.len()).map(|at| (known[at].id, known[at].number));
            let mut changes = Vec::new();
            for step in transaction {
                match step {
                    Step::Receive(number) => {
                        let received = message(topic, number);
                        model.cursor = received.cursor;
                        changes.push(Change::Received(received));
                        if !model.messages.iter().any(|(has, ..)| *has == number) {
                            model.messages.push((number, 0, None));
                        }
                    }
                    Step::Retry(at) => if let Some((id, number)) = nth(at) {
                        let error = "503".to_owned();
                        changes.push(Change::Retry { id, attempts: 9, due_at: NOW, error, progress: None });
                        let entry = model.get(number);
                        if entry.2.is_none() {
                            entry.1 = 9;
                        }
                    },
                    Step::Finish(at, outcome) => if let Some((id, number)) = nth(at) {
                        changes.push(finished(id, outcome));
                        let entry = model.get(number);
                        if entry.2 == outcome.follows_dead().then_some(Outcome::Dead) {
                            *entry = (number, 1, Some(outcome));
                        }
                    },
                    Step::Redrive(at, from) => if let Some((id, number)) = nth(at) {
                        changes.push(Change::Redrive { id, from, at: NOW });
                        let entry = model.get(number);
                        if entry.2 == Some(from) {
                            *entry = (number, 0, None);
                        }
                    },
                    Step::Crash => {}
                }
            }
            store.apply(&changes.iter().collect::<Vec<_>>(), &mut usages).unwrap();
            prop_assert_eq!(usages.all, store.usages().unwrap().all);
            if crash {
                let (next, path) = folder();
                for file in fs::read_dir(folders.last().unwrap().0.path()).unwrap() {
                    let file = file.unwrap();
                    fs::copy(file.path(), next.path().join(file.file_name())).unwrap();
                }
                store = Store::open(&path).unwrap();
                folders.push((next, path));
            }
            check(&store, &model);
        }
    }
}

/// What a damaged spool still has.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    cursor: Option<Cursor>,
    totals: Vec<u64>,
    messages: Vec<(u64, Option<Outcome>, u32, Payload)>,
}

impl Content {
    fn of(store: &Store) -> rusqlite::Result<Self> {
        let subscription = store.subscription("s")?;
        let (topic, cursor) = store.topic(subscription, "cache", "topic")?;
        let all = store.range(topic, 0, u64::MAX >> 1, MessageId::default(), usize::MAX)?;
        let totals = store.totals()?;
        let counts = |topic: &TopicTotals| {
            [topic.received, topic.delivered, topic.dead, topic.expired, topic.dropped, topic.pending]
        };
        Ok(Self {
            cursor,
            totals: totals.iter().flat_map(counts).collect(),
            messages: all
                .into_iter()
                .map(|message| (message.number, message.outcome, message.attempts, message.payload))
                .collect(),
        })
    }

    /// Returns the messages with their outcomes. SQLite has no checksums for the rest.
    fn outcomes(&self) -> Vec<(u64, Option<Outcome>)> {
        self.messages.iter().map(|(number, outcome, ..)| (*number, *outcome)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 10, ..ProptestConfig::default() })]

    /// A damaged file is rejected, or it has everything that was committed. With a damaged WAL, it may be everything that was
    /// committed up to some time: Momento is asked again for what came after. A damage is in the WAL or in the database, a bit
    /// that flips or an end that is missing, at a share of the length.
    #[test]
    fn loses_nothing_in_silence_when_a_file_is_damaged(
        transactions in prop::collection::vec(prop::collection::vec(step(), 1..8), 1..16),
        damages in prop::collection::vec((any::<bool>(), any::<bool>(), 0.0..1.0_f64, 0..8_u8), 12),
    ) {
        let (folder_of_original, path) = folder();
        let mut store = Store::open(&path).unwrap();
        let topic = topic_of(&store);
        let mut committed = vec![Content::of(&store).unwrap()];
        for (index, transaction) in transactions.into_iter().enumerate() {
            let known = store.range(topic, 0, u64::MAX >> 1, MessageId::default(), usize::MAX).unwrap();
            let nth = |at: usize| at.checked_rem(known.len()).map(|at| known[at].id);
            let mut changes = Vec::new();
            for step in &transaction {
                let change = match *step {
                    Step::Receive(number) => {
                        let payload = Payload::Text("text".repeat(usize::try_from(number * 57).unwrap()));
                        Some(Change::Received(Received { payload, ..message(topic, number) }))
                    }
                    Step::Retry(at) => nth(at).map(|id| {
                        let error = "503".to_owned();
                        Change::Retry { id, attempts: 9, due_at: NOW, error, progress: None }
                    }),
                    Step::Finish(at, outcome) => nth(at).map(|id| finished(id, outcome)),
                    Step::Redrive(at, from) => nth(at).map(|id| Change::Redrive { id, from, at: NOW }),
                    Step::Crash => None,
                };
                changes.extend(change);
            }
            store.apply(&changes.iter().collect::<Vec<_>>(), &mut Usages::default()).unwrap();
            committed.push(Content::of(&store).unwrap());
            if transaction.iter().any(|step| matches!(step, Step::Crash)) {
                if index % 2 == 0 {
                    // What was committed before is in the file, and in no WAL.
                    drop(store);
                    store = Store::open(&path).unwrap();
                    committed.drain(..committed.len() - 1);
                } else {
                    // What was committed before is in the file, and what comes after in the WAL.
                    store.checkpoint(0).unwrap();
                    committed.drain(..committed.len() - 1);
                }
            }
        }
        let database = fs::read(&path).unwrap();
        let wal = fs::read(folder_of_original.path().join("relay.db-wal")).unwrap_or_default();
        for (in_wal, flips, share, bit) in damages {
            let (mut database, mut wal) = (database.clone(), wal.clone());
            let bytes = if in_wal { &mut wal } else { &mut database };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "any place will do"
            )]
            let at = (share * bytes.len() as f64) as usize;
            if !flips {
                bytes.truncate(at);
            } else if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
            let (folder, path) = folder();
            fs::write(&path, database).unwrap();
            fs::write(folder.path().join("relay.db-wal"), wal).unwrap();
            // Another error than these is a fault of the test.
            let found = match Store::open(&path) {
                Err(OpenError::Damaged { .. } | OpenError::Foreign(_) | OpenError::Newer { .. } | OpenError::Io { .. }) => continue,
                Err(error) => panic!("{error}"),
                Ok(store) => Content::of(&store),
            };
            let Ok(found) = found else { continue };
            let last = committed.last().unwrap();
            let is_whole = match (in_wal, flips) {
                (true, _) => committed.contains(&found),
                (false, true) => found.outcomes() == last.outcomes() && found.totals == last.totals,
                (false, false) => found == *last,
            };
            prop_assert!(is_whole, "in the WAL: {in_wal}, a bit: {flips}, at {at}: {found:?} of {committed:?}");
        }
    }
}
