//! The tables of the spool and the statements on them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fanout_momento::subscription::Cursor;
use momento_webhook::Millis;
use rusqlite::config::DbConfig;
use rusqlite::types::ToSql;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, Transaction, params};

use super::{
    Change, GapRecord, MessageId, Outcome, Payload, Received, Spooled, SubscriptionId, TopicId, TopicTotals,
};

/// The first version that does not lose commits when a second connection resets the WAL.
/// Source: <https://sqlite.org/wal.html>, "The WAL-reset bug".
const OLDEST_SQLITE: i32 = 3_051_003;
/// Marks a database as a spool: `FNRS` in ASCII.
const APPLICATION_ID: i32 = 0x464E_5253;
/// The version of the tables.
const SCHEMA_VERSION: i32 = 1;
/// The pages in the WAL after which they are moved to the database.
const CHECKPOINT_PAGES: i64 = 1_000;
/// A WAL that has grown larger is cut to this size at the next checkpoint.
const MAX_WAL_BYTES: i64 = 64 * 1024 * 1024;
/// The longest wait for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The time in milliseconds by which a message can arrive after `at` of a change that was sent before it.
const FUTURE: Millis = 1_000;
/// The messages that expire in one change, so that it does not hold up others. A scheduler notices the rest by itself.
const EXPIRE_ROWS: i64 = 1_000;
/// The largest number of rows that one purge removes, so that it does not hold up messages.
const PURGE_ROWS: i64 = 1_000;

/// Numbers and pages are 64-bit patterns: SQLite's integers are signed, so the highest bit is the sign here.
const TABLES: &str = "
PRAGMA auto_vacuum = INCREMENTAL;
CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    subscription INTEGER NOT NULL REFERENCES subscriptions,
    cache TEXT NOT NULL,
    topic TEXT NOT NULL,
    -- The next message; NULL until one has arrived.
    page INTEGER,
    number INTEGER,
    received INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    dead_lettered INTEGER NOT NULL DEFAULT 0,
    UNIQUE (subscription, cache, topic)
) STRICT;
CREATE TABLE messages (
    -- AUTOINCREMENT: an id is never used again, so ids are in the order of arrival.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic INTEGER NOT NULL REFERENCES topics,
    subscription INTEGER NOT NULL,
    page INTEGER NOT NULL,
    number INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    token_id TEXT,
    -- 0 is binary, 1 is text, 2 is the notice of a gap.
    kind INTEGER NOT NULL,
    body BLOB NOT NULL,
    -- 0 is pending; the others are those of Outcome.
    state INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- The next attempt of a pending message; the time of the outcome otherwise.
    due_at INTEGER NOT NULL,
    error TEXT,
    progress TEXT,
    UNIQUE (topic, page, number, kind)
) STRICT;
CREATE INDEX pending ON messages (subscription, due_at, id) WHERE state = 0;
CREATE INDEX pending_by_topic ON messages (subscription, topic, id) WHERE state = 0;
CREATE INDEX pending_by_age ON messages (subscription, received_at) WHERE state = 0;
CREATE INDEX finished ON messages (state, due_at) WHERE state > 0;
CREATE INDEX dead ON messages (subscription, id) WHERE state = 2;
CREATE TABLE added_topics (
    subscription INTEGER NOT NULL REFERENCES subscriptions,
    topic TEXT NOT NULL,
    PRIMARY KEY (subscription, topic)
) STRICT, WITHOUT ROWID;
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic INTEGER NOT NULL REFERENCES topics,
    page INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX gaps_by_topic ON gaps (topic);
";

const COLUMNS: &str = "m.id, m.topic, t.cache, t.topic, m.page, m.number, m.received_at, m.token_id, m.kind, m.body, \
                       m.attempts, m.due_at, m.error, m.progress, m.state";

/// Error for a spool that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The linked SQLite has a known fault that loses commits.
    #[error("SQLite {0} can lose commits; 3.51.3 or newer is needed")]
    SqliteTooOld(&'static str),
    /// Another process has the file open.
    #[error("the spool {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file is a database of another program, or not a database.
    #[error("{} is not a spool of this program", .0.display())]
    Foreign(PathBuf),
    /// A newer version of this program wrote the file.
    #[error("the spool {} has the format {found}, and this version reads formats up to {SCHEMA_VERSION}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: i32,
    },
    /// The file is damaged. It is left as it is.
    #[error("the spool {} is damaged: {detail}; restore its files from a copy, or move all of them away to start with an empty one", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// The file cannot be read or written.
    #[error("the spool {} cannot be opened", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system or SQLite says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// One open database. Only one thread uses it.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    #[cfg(test)]
    full_for: std::cell::Cell<u32>,
}

/// The messages that wait, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Messages without an outcome.
    pub messages: u64,
    /// The size of their bodies.
    pub bytes: u64,
}

/// The messages that wait, of all subscriptions and of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Usages {
    pub(super) all: Usage,
    of: BTreeMap<SubscriptionId, Usage>,
    arrivals: BTreeMap<SubscriptionId, u64>,
}

impl Usages {
    /// Returns the messages of one subscription that wait.
    pub(super) fn of(&self, subscription: SubscriptionId) -> Usage {
        self.of.get(&subscription).copied().unwrap_or_default()
    }

    /// Returns how many messages of a subscription have become pending.
    pub(super) fn arrivals(&self, subscription: SubscriptionId) -> u64 {
        self.arrivals.get(&subscription).copied().unwrap_or_default()
    }

    fn add(&mut self, Difference { subscription, messages, bytes }: Difference) {
        if messages > 0 {
            *self.arrivals.entry(subscription).or_default() += messages.unsigned_abs();
        }
        for usage in [&mut self.all, self.of.entry(subscription).or_default()] {
            usage.messages = usage.messages.saturating_add_signed(messages);
            usage.bytes = usage.bytes.saturating_add_signed(bytes);
        }
    }
}

/// The difference that a change makes to [`Usages`].
#[derive(Clone, Copy, Debug)]
struct Difference {
    subscription: SubscriptionId,
    messages: i64,
    bytes: i64,
}

impl Store {
    /// Opens or creates the database at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        check_version()?;
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let damaged = |detail| OpenError::Damaged { path: path.to_owned(), detail };
        let fail = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse(path.to_owned()),
            Some(ErrorCode::NotADatabase) => OpenError::Foreign(path.to_owned()),
            Some(ErrorCode::DatabaseCorrupt) => damaged(error.to_string()),
            _ => OpenError::Io { path: path.to_owned(), source: Box::new(error) },
        };
        match fs::metadata(path) {
            Ok(file) if file.len() > 0 => {}
            // SQLite would take it for a new database.
            Ok(_) => return Err(damaged("it is empty".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path)?,
            Err(error) => return Err(io(Box::new(error))),
        }
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fail)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        // A file that is rejected stays as it is.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fail)?;
        // The lock is held until the connection closes, so a second relay cannot deliver the same messages.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(fail)?;
        connection.execute_batch("BEGIN IMMEDIATE; COMMIT").map_err(fail)?;
        match marks(&connection).map_err(fail)? {
            (APPLICATION_ID, SCHEMA_VERSION) => {}
            (APPLICATION_ID, found) if found > SCHEMA_VERSION => {
                return Err(OpenError::Newer { path: path.to_owned(), found });
            }
            _ => return Err(OpenError::Foreign(path.to_owned())),
        }
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
            .map_err(fail)?;
        if mode != "wal" {
            return Err(io(format!("SQLite uses the journal mode {mode} and not WAL").into()));
        }
        connection.pragma_update(None, "journal_size_limit", MAX_WAL_BYTES).map_err(fail)?;
        // See `checkpoint`.
        connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(fail)?;
        let store = Self::set_up(connection).map_err(fail)?;
        if let Some(damage) = store.damage().map_err(fail)? {
            return Err(damaged(damage));
        }
        store.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(fail)?;
        Ok(store)
    }

    /// Creates the database at `path`. A crash leaves a whole one or none, so an empty file is damage.
    fn create(path: &Path) -> Result<(), OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let beside = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        // SQLite would remove it, with the messages in it.
        let wal = beside("-wal");
        if fs::metadata(&wal).is_ok_and(|file| file.len() > 0) {
            let detail = format!("it is missing, but {} is there", wal.display());
            return Err(OpenError::Damaged { path: path.to_owned(), detail });
        }
        let new = beside(&format!("-new-{}", std::process::id()));
        let created = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            // Messages are for the owner alone. The other files of SQLite take the mode of this one.
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&new)?;
            let connection = Self::set_up(Connection::open(&new)?)?.connection;
            connection.close().map_err(|(_, error)| error)?;
            // Unlike a rename, a link does not replace the file of another process that was faster.
            match fs::hard_link(&new, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Some file systems have no links.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fs::rename(&new, path)?,
                linked => linked?,
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(())
        };
        let created = created();
        let _ = fs::remove_file(&new);
        created.map_err(io)
    }

    /// Returns what is wrong with the content: with the structure, with an index, or with the counts of a topic.
    fn damage(&self) -> rusqlite::Result<Option<String>> {
        let check: String = self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            return Ok(Some(check));
        }
        self.connection
            .prepare(
                "SELECT t.topic FROM topics t LEFT JOIN (
                     SELECT topic, sum(state = 0) pending, sum(state = 1) delivered, sum(state = 2) dead,
                         sum(state = 3) expired, sum(state = 4) dropped, sum(state = 5) dead_lettered
                     FROM messages WHERE kind < 2 GROUP BY topic
                 ) m ON m.topic = t.id
                 WHERE t.received <> t.delivered + t.dead + t.dead_lettered + t.expired + t.dropped
                         + coalesce(m.pending, 0)
                     OR t.dead <> coalesce(m.dead, 0)
                     OR t.delivered < m.delivered OR t.expired < m.expired OR t.dropped < m.dropped
                     OR t.dead_lettered < m.dead_lettered LIMIT 1",
            )?
            .query_row([], |row| row.get(0))
            .optional()
            .map(|topic: Option<String>| {
                topic.map(|topic| format!("the topic {topic:?} has other messages than it counts"))
            })
    }

    /// Creates a database that ends with the process.
    pub(super) fn in_memory() -> Result<Self, OpenError> {
        check_version()?;
        let path = PathBuf::from(":memory:");
        Connection::open_in_memory()
            .and_then(Self::set_up)
            .map_err(|source| OpenError::Io { path, source: Box::new(source) })
    }

    fn set_up(mut connection: Connection) -> rusqlite::Result<Self> {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let (_, version) = marks(&connection)?;
        if version == 0 {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()?;
        }
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self {
            connection,
            #[cfg(test)]
            full_for: std::cell::Cell::default(),
        })
    }

    #[cfg(test)]
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Makes the disk full for this many transactions.
    #[cfg(test)]
    pub(super) fn fill_disk(&self, transactions: u32) -> rusqlite::Result<()> {
        self.full_for.set(transactions);
        // SQLite raises a limit below the present size to that size.
        self.connection.pragma_update(None, "max_page_count", 1)
    }

    /// Applies all changes, or none.
    pub(super) fn apply(&mut self, changes: &[&Change], usages: &mut Usages) -> rusqlite::Result<()> {
        #[cfg(test)]
        match self.full_for.get() {
            0 => self.connection.pragma_update(None, "max_page_count", i64::from(u32::MAX) - 1)?,
            left => self.full_for.set(left - 1),
        }
        let transaction = self.connection.transaction()?;
        let mut differences = Vec::new();
        for change in changes {
            apply(&transaction, change, &mut differences)?;
        }
        transaction.commit()?;
        for difference in differences {
            usages.add(difference);
        }
        // All is committed, so an error here is no error of the changes: the next checkpoint moves these pages too.
        if let Err(error) = self.checkpoint(CHECKPOINT_PAGES) {
            tracing::warn!(%error, "the pages in the WAL of the spool stay there until the next attempt");
        }
        Ok(())
    }

    /// Moves the pages in the WAL to the database if there are as many as `pages`, and empties the WAL.
    ///
    /// SQLite's own checkpoints leave the pages in the WAL as well, until the next write. If the WAL is damaged then, the pages
    /// before the damage hide newer ones of the database, and the content is one that never was.
    pub(super) fn checkpoint(&self, pages: i64) -> rusqlite::Result<()> {
        let in_wal: i64 =
            self.connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get(1))?;
        if in_wal < pages {
            return Ok(());
        }
        self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
        // The next write is the one that empties the WAL.
        self.connection.pragma_update(None, "user_version", SCHEMA_VERSION)
    }

    /// Returns the messages that wait.
    pub(super) fn usages(&self) -> rusqlite::Result<Usages> {
        let mut usages = Usages::default();
        self.connection
            .prepare("SELECT subscription, count(*), sum(length(body)) FROM messages WHERE state = 0 GROUP BY subscription")?
            .query_map([], |row| {
                let subscription = SubscriptionId(row.get(0)?);
                Ok(Difference { subscription, messages: row.get(1)?, bytes: row.get(2)? })
            })?
            .try_for_each(|difference| difference.map(|difference| usages.add(difference)))?;
        Ok(usages)
    }

    pub(super) fn subscription(&self, name: &str) -> rusqlite::Result<SubscriptionId> {
        self.connection.execute("INSERT OR IGNORE INTO subscriptions (name) VALUES (?)", [name])?;
        self.find_subscription(name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    pub(super) fn find_subscription(&self, name: &str) -> rusqlite::Result<Option<SubscriptionId>> {
        let id = self.connection.query_row("SELECT id FROM subscriptions WHERE name = ?", [name], |row| {
            row.get(0).map(SubscriptionId)
        });
        id.optional()
    }

    pub(super) fn added_topics(
        &self,
        subscription: Option<SubscriptionId>,
    ) -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = self.connection.prepare(
            "SELECT s.name, a.topic FROM added_topics a JOIN subscriptions s ON s.id = a.subscription
             WHERE ?1 IS NULL OR s.id = ?1 ORDER BY s.name, a.topic",
        )?;
        let id = subscription.map(|subscription| subscription.0);
        statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    pub(super) fn waiting_subscriptions(&self) -> rusqlite::Result<Vec<(String, SubscriptionId)>> {
        self.connection
            .prepare_cached(
                "SELECT name, id FROM subscriptions s
                 WHERE EXISTS (SELECT * FROM messages WHERE subscription = s.id AND state = 0)",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1).map(SubscriptionId)?)))?
            .collect()
    }

    pub(super) fn topic(
        &self,
        subscription: SubscriptionId,
        cache: &str,
        topic: &str,
    ) -> rusqlite::Result<(TopicId, Option<Cursor>)> {
        self.connection.execute(
            "INSERT OR IGNORE INTO topics (subscription, cache, topic) VALUES (?, ?, ?)",
            params![subscription.0, cache, topic],
        )?;
        self.connection.query_row(
            "SELECT id, page, number FROM topics WHERE subscription = ? AND cache = ? AND topic = ?",
            params![subscription.0, cache, topic],
            |row| {
                let page = row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned);
                let number = row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned);
                let cursor = page.zip(number).map(|(page, number)| Cursor { number, page });
                Ok((TopicId(row.get(0)?), cursor))
            },
        )
    }

    /// Returns up to `limit` messages of a subscription that are due at `now`, the longest due first.
    pub(super) fn due(
        &self,
        subscription: SubscriptionId,
        now: Millis,
        limit: usize,
    ) -> rusqlite::Result<Vec<Spooled>> {
        let condition =
            "m.subscription = ?1 AND m.state = 0 AND m.due_at <= ?2 ORDER BY m.due_at, m.id LIMIT ?3";
        self.select(condition, params![subscription.0, time(now), rows(limit)])
    }

    /// Returns up to `limit` pending messages of one topic, the oldest first, due or not.
    pub(super) fn oldest(&self, topic: TopicId, limit: usize) -> rusqlite::Result<Vec<Spooled>> {
        let condition =
            "m.subscription = t.subscription AND m.topic = ?1 AND m.state = 0 ORDER BY m.id LIMIT ?2";
        self.select(condition, params![topic.0, rows(limit)])
    }

    /// Returns the time after `now` at which the next message of a subscription is due.
    pub(super) fn next_due(
        &self,
        subscription: SubscriptionId,
        now: Millis,
    ) -> rusqlite::Result<Option<Millis>> {
        self.connection
            .prepare_cached(
                "SELECT min(due_at) FROM messages WHERE subscription = ? AND state = 0 AND due_at > ?",
            )?
            .query_row(params![subscription.0, time(now)], |row| row.get(0))
    }

    /// Returns the topics of a subscription whose oldest pending message is due at `now`.
    pub(super) fn due_topics(
        &self,
        subscription: SubscriptionId,
        now: Millis,
    ) -> rusqlite::Result<Vec<TopicId>> {
        // The index is walked from topic to topic, not from message to message.
        self.connection
            .prepare_cached(
                "WITH RECURSIVE pending (topic) AS (
                     SELECT min(topic) FROM messages WHERE subscription = ?1 AND state = 0
                     UNION ALL
                     SELECT (SELECT min(topic) FROM messages WHERE subscription = ?1 AND state = 0 AND topic > p.topic)
                     FROM pending p WHERE p.topic IS NOT NULL)
                 SELECT topic FROM pending p WHERE topic IS NOT NULL AND (
                     SELECT due_at FROM messages WHERE subscription = ?1 AND topic = p.topic AND state = 0
                     ORDER BY id LIMIT 1) <= ?2",
            )?
            .query_map(params![subscription.0, time(now)], |row| row.get(0).map(TopicId))?
            .collect()
    }

    /// Returns messages with this outcome that come after `after`, the oldest first.
    pub(super) fn finished(
        &self,
        outcome: Outcome,
        after: MessageId,
        limit: usize,
    ) -> rusqlite::Result<Vec<Spooled>> {
        let condition = "m.state = ?1 AND m.id > ?2 ORDER BY m.id LIMIT ?3";
        self.select(condition, params![outcome.code(), after.0, rows(limit)])
    }

    /// Returns dead messages of a subscription that come after `after`, the oldest first.
    pub(super) fn dead(
        &self,
        subscription: SubscriptionId,
        after: MessageId,
        limit: usize,
    ) -> rusqlite::Result<Vec<Spooled>> {
        // An index of dead messages is used only if the statement itself has their state.
        let condition = "m.state = 2 AND m.subscription = ?1 AND m.id > ?2 ORDER BY m.id LIMIT ?3";
        self.select(condition, params![subscription.0, after.0, rows(limit)])
    }

    /// Returns the messages of a topic by number, with any outcome or none: page by page in the order of arrival. Notices of
    /// gaps are not among them.
    pub(super) fn range(
        &self,
        topic: TopicId,
        from: u64,
        to: u64,
        after: MessageId,
        limit: usize,
    ) -> rusqlite::Result<Vec<Spooled>> {
        let condition = "m.topic = ?1 AND m.number BETWEEN ?2 AND ?3 AND m.id > ?4 AND m.kind < 2 \
                         ORDER BY m.id LIMIT ?5";
        let params = params![topic.0, from.cast_signed(), to.cast_signed(), after.0, rows(limit)];
        self.select(condition, params)
    }

    pub(super) fn gaps(&self) -> rusqlite::Result<Vec<GapRecord>> {
        let mut statement =
            self.connection.prepare("SELECT topic, page, first, last, reason, at FROM gaps ORDER BY id")?;
        let gaps = statement.query_map([], |row| {
            Ok(GapRecord {
                topic: TopicId(row.get(0)?),
                page: row.get::<_, i64>(1)?.cast_unsigned(),
                first: row.get::<_, i64>(2)?.cast_unsigned(),
                last: row.get::<_, i64>(3)?.cast_unsigned(),
                reason: row.get(4)?,
                at: row.get(5)?,
                cursor: None,
            })
        })?;
        gaps.collect()
    }

    pub(super) fn totals(&self) -> rusqlite::Result<Vec<TopicTotals>> {
        let mut statement = self.connection.prepare(
            "SELECT t.id, s.name, t.cache, t.topic, t.received, t.delivered, t.dead, t.expired, t.dropped,
                    t.dead_lettered,
                    (SELECT count(*) FROM messages m
                     WHERE m.subscription = t.subscription AND m.topic = t.id AND m.state = 0 AND m.kind < 2),
                    (SELECT coalesce(sum(max(g.last - g.first + 1, 0)), 0) FROM gaps g WHERE g.topic = t.id),
                    (SELECT received_at FROM messages m
                     WHERE m.subscription = t.subscription AND m.topic = t.id AND m.state = 0 ORDER BY m.id LIMIT 1)
             FROM topics t JOIN subscriptions s ON s.id = t.subscription ORDER BY t.id",
        )?;
        let totals = statement.query_map([], |row| {
            Ok(TopicTotals {
                topic: TopicId(row.get(0)?),
                subscription: row.get(1)?,
                cache: row.get(2)?,
                name: row.get(3)?,
                received: row.get(4)?,
                delivered: row.get(5)?,
                dead: row.get(6)?,
                expired: row.get(7)?,
                dropped: row.get(8)?,
                dead_lettered: row.get(9)?,
                pending: row.get(10)?,
                missing: row.get(11)?,
                oldest: row.get(12)?,
            })
        })?;
        totals.collect()
    }

    /// Removes messages whose outcome is older than `before`, except dead ones. Returns true if more are left.
    pub(super) fn purge(&self, before: Millis) -> rusqlite::Result<bool> {
        let removed = self
            .connection
            .prepare_cached(
                "DELETE FROM messages WHERE id IN (
                     SELECT id FROM messages WHERE state IN (?1, ?2, ?3, ?4) AND due_at < ?5 LIMIT ?6)",
            )?
            .execute(params![
                Outcome::Delivered.code(),
                Outcome::Expired.code(),
                Outcome::Dropped.code(),
                Outcome::DeadLettered.code(),
                time(before),
                PURGE_ROWS
            ])?;
        if removed > 0 {
            self.connection.execute_batch("PRAGMA incremental_vacuum(1000)")?;
        }
        Ok(i64::try_from(removed).is_ok_and(|removed| removed == PURGE_ROWS))
    }

    /// Returns messages: `condition` is what stands behind WHERE.
    fn select(&self, condition: &str, params: &[&dyn ToSql]) -> rusqlite::Result<Vec<Spooled>> {
        let sql =
            format!("SELECT {COLUMNS} FROM messages m JOIN topics t ON t.id = m.topic WHERE {condition}");
        self.connection.prepare_cached(&sql)?.query_map(params, spooled)?.collect()
    }
}

fn apply(
    transaction: &Transaction<'_>,
    change: &Change,
    differences: &mut Vec<Difference>,
) -> rusqlite::Result<()> {
    match change {
        Change::Received(received) => insert(transaction, received, differences),
        Change::Gap { gap, notice } => {
            transaction
                .prepare_cached("INSERT INTO gaps (topic, page, first, last, reason, at) VALUES (?, ?, ?, ?, ?, ?)")?
                .execute(params![
                    gap.topic.0,
                    gap.page.cast_signed(),
                    gap.first.cast_signed(),
                    gap.last.cast_signed(),
                    gap.reason,
                    time(gap.at)
                ])?;
            if *notice {
                insert(transaction, &gap.notice(), differences)?;
            }
            advance(transaction, gap.topic, 0, gap.cursor)
        }
        Change::Retry { id, attempts, due_at, error, progress } => transaction
            .prepare_cached(
                "UPDATE messages SET attempts = ?2, due_at = ?3, error = ?4, progress = ?5 WHERE id = ?1 AND state = 0",
            )?
            .execute(params![id.0, attempts, time(*due_at), error, progress])
            .map(drop),
        Change::Finished { id, outcome, attempts, at, error } => {
            finish(transaction, *id, *outcome, *attempts, *at, error.as_deref(), differences)
        }
        Change::Redrive { id, from, at } => redrive(transaction, *id, *from, *at, differences),
        Change::Topics { subscription, topics, are_added } => {
            let sql = if *are_added {
                "INSERT OR IGNORE INTO added_topics (subscription, topic) VALUES (?, ?)"
            } else {
                "DELETE FROM added_topics WHERE subscription = ? AND topic = ?"
            };
            let mut statement = transaction.prepare_cached(sql)?;
            topics.iter().try_for_each(|topic| statement.execute(params![subscription.0, topic]).map(drop))
        }
        Change::Expire { subscription, received_before, at, due_until, except } => {
            // Each part of the union has its index.
            transaction
                .prepare_cached(
                    "UPDATE messages SET received_at = min(received_at, ?2), due_at = ?2 WHERE id IN (
                         SELECT id FROM messages WHERE subscription = ?1 AND state = 0 AND received_at > ?3
                         UNION SELECT id FROM messages WHERE subscription = ?1 AND state = 0 AND due_at > ?4)",
                )?
                .execute(params![
                    subscription.0,
                    time(*at),
                    time(at.saturating_add(FUTURE)),
                    time(*due_until)
                ])?;
            let limit = rows(except.len()).saturating_add(EXPIRE_ROWS);
            let ids: Vec<i64> = transaction
                .prepare_cached("SELECT id FROM messages WHERE subscription = ? AND state = 0 AND received_at < ? LIMIT ?")?
                .query_map(params![subscription.0, time(*received_before), limit], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for id in ids.into_iter().map(MessageId).filter(|id| !except.contains(id)) {
                finish(transaction, id, Outcome::Expired, None, *at, None, differences)?;
            }
            Ok(())
        }
    }
}

fn insert(
    transaction: &Transaction<'_>,
    received: &Received,
    differences: &mut Vec<Difference>,
) -> rusqlite::Result<()> {
    let Received { topic, page, number, received_at, token_id, payload, cursor } = received;
    let (kind, body) = match payload {
        Payload::Binary(bytes) => (BINARY, Cow::Borrowed(bytes.as_slice())),
        Payload::Text(text) => (TEXT, Cow::Borrowed(text.as_bytes())),
        Payload::Gap(notice) => {
            (GAP, Cow::Owned(serde_json::to_vec(notice).expect("numbers and texts are valid JSON")))
        }
    };
    let inserted: Option<i64> = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO messages
                 (topic, subscription, page, number, received_at, token_id, kind, body, due_at)
             VALUES (?1, (SELECT subscription FROM topics WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?4)
             RETURNING subscription",
        )?
        .query_row(
            params![
                topic.0,
                page.cast_signed(),
                number.cast_signed(),
                time(*received_at),
                token_id,
                kind,
                body
            ],
            |row| row.get(0),
        )
        .optional()?;
    // The message is there already if Momento sends it again.
    if let Some(subscription) = inserted {
        let subscription = SubscriptionId(subscription);
        differences.push(Difference { subscription, messages: 1, bytes: size(body.len()) });
    }
    advance(transaction, *topic, u32::from(inserted.is_some() && kind != GAP), *cursor)
}

/// Counts messages that a topic received, and moves its cursor.
fn advance(
    transaction: &Transaction<'_>,
    topic: TopicId,
    received: u32,
    cursor: Option<Cursor>,
) -> rusqlite::Result<()> {
    let page = cursor.map(|cursor| cursor.page.cast_signed());
    let number = cursor.map(|cursor| cursor.number.cast_signed());
    transaction
        .prepare_cached(
            "UPDATE topics SET received = received + ?2, page = coalesce(?3, page), number = coalesce(?4, number)
             WHERE id = ?1",
        )?
        .execute(params![topic.0, received, page, number])
        .map(drop)
}

/// Gives a pending message its outcome. A message that has one keeps it, except that a dead one can be dropped or
/// dead-lettered.
fn finish(
    transaction: &Transaction<'_>,
    id: MessageId,
    outcome: Outcome,
    attempts: Option<u32>,
    at: Millis,
    error: Option<&str>,
    differences: &mut Vec<Difference>,
) -> rusqlite::Result<()> {
    let from = if outcome.follows_dead() { Outcome::Dead.code() } else { PENDING };
    let updated: Option<(i64, i64, i64, i64)> = transaction
        .prepare_cached(
            "UPDATE messages SET state = ?2, due_at = ?3, attempts = coalesce(?4, attempts), error = coalesce(?5, error)
             WHERE id = ?1 AND state = ?6 RETURNING topic, length(body), kind, subscription",
        )?
        .query_row(params![id.0, outcome.code(), time(at), attempts, error, from], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((topic, bytes, kind, subscription)) = updated else { return Ok(()) };
    if from == PENDING {
        let subscription = SubscriptionId(subscription);
        differences.push(Difference { subscription, messages: -1, bytes: -bytes });
    }
    // The totals count messages only.
    if kind == GAP {
        return Ok(());
    }
    if from != PENDING {
        add_to_total(transaction, TopicId(topic), Outcome::Dead, -1)?;
    }
    add_to_total(transaction, TopicId(topic), outcome, 1)
}

/// Makes a message with the outcome `from` pending again, with all attempts before it.
fn redrive(
    transaction: &Transaction<'_>,
    id: MessageId,
    from: Outcome,
    at: Millis,
    differences: &mut Vec<Difference>,
) -> rusqlite::Result<()> {
    let updated: Option<(i64, i64, i64, i64)> = transaction
        .prepare_cached(
            "UPDATE messages SET state = 0, attempts = 0, due_at = ?2, received_at = ?2, progress = NULL
             WHERE id = ?1 AND state = ?3 RETURNING topic, length(body), kind, subscription",
        )?
        .query_row(params![id.0, time(at), from.code()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((topic, bytes, kind, subscription)) = updated else { return Ok(()) };
    differences.push(Difference { subscription: SubscriptionId(subscription), messages: 1, bytes });
    if kind == GAP { Ok(()) } else { add_to_total(transaction, TopicId(topic), from, -1) }
}

fn add_to_total(
    transaction: &Transaction<'_>,
    topic: TopicId,
    outcome: Outcome,
    count: i64,
) -> rusqlite::Result<()> {
    let column = outcome.name();
    transaction
        .prepare_cached(&format!("UPDATE topics SET {column} = {column} + ?2 WHERE id = ?1"))?
        .execute(params![topic.0, count])
        .map(drop)
}

const PENDING: i64 = 0;

const BINARY: i64 = 0;
const TEXT: i64 = 1;
const GAP: i64 = 2;

impl Outcome {
    /// The outcome as `messages.state` has it.
    const fn code(self) -> i64 {
        match self {
            Self::Delivered => 1,
            Self::Dead => 2,
            Self::Expired => 3,
            Self::Dropped => 4,
            Self::DeadLettered => 5,
        }
    }

    /// Returns the outcome with this code; `None` for a pending message.
    const fn of(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Delivered),
            2 => Some(Self::Dead),
            3 => Some(Self::Expired),
            4 => Some(Self::Dropped),
            5 => Some(Self::DeadLettered),
            _ => None,
        }
    }
}

fn spooled(row: &Row<'_>) -> rusqlite::Result<Spooled> {
    let body: Vec<u8> = row.get(9)?;
    let invalid = |error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(9, rusqlite::types::Type::Blob, error)
    };
    let payload = match row.get(8)? {
        BINARY => Payload::Binary(body),
        TEXT => Payload::Text(String::from_utf8(body).map_err(|error| invalid(Box::new(error)))?),
        GAP => Payload::Gap(serde_json::from_slice(&body).map_err(|error| invalid(Box::new(error)))?),
        kind => return Err(rusqlite::Error::IntegralValueOutOfRange(8, kind)),
    };
    Ok(Spooled {
        id: MessageId(row.get(0)?),
        topic: TopicId(row.get(1)?),
        cache: row.get(2)?,
        topic_name: row.get(3)?,
        page: row.get::<_, i64>(4)?.cast_unsigned(),
        number: row.get::<_, i64>(5)?.cast_unsigned(),
        received_at: row.get(6)?,
        token_id: row.get(7)?,
        payload,
        attempts: row.get(10)?,
        due_at: row.get(11)?,
        error: row.get(12)?,
        progress: row.get(13)?,
        outcome: Outcome::of(row.get(14)?),
    })
}

/// Returns the application id and the schema version.
fn marks(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application, version))
}

fn check_version() -> Result<(), OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::SqliteTooOld(rusqlite::version()));
    }
    Ok(())
}

/// A time as SQLite stores it. Times in the far future all mean the same.
fn time(at: Millis) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("no body is larger than memory")
}
