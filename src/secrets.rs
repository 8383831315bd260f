//! A value from a secret, fetched again when the secret may have changed.
//!
//! [`Rotating::current`] never waits. A fetch starts for one of two reasons:
//!
//! - The value is rejected, or something is rejected because of it. That can be a rotation, and the caller of
//!   [`Rotating::refresh`] waits for the new value. It can also be a forged signature, and there can be any number of
//!   those. So a rejection starts at most one fetch a minute, for all callers together. After a fetch that failed, the
//!   next one may start after 2 s, then 4 s, up to the minute.
//! - The value reaches its maximum age. Its users keep the old value meanwhile. A timer would not help: Lambda stops
//!   the clock between two invocations.
//!
//! A fetch that fails leaves the value as it is.
//!
//! The start fetches only the current version. The first rejection fetches the previous one as well, before anything is
//! called wrong, and every later fetch does. A start is frequent, a rotation is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fanout_core::clock::Clock;
use fanout_core::reason::Failure;
use fanout_core::reason::with_sources;
use fanout_core::retry::RetryPolicy;
use fanout_core::secret_store::{SecretId, SecretName, SecretStore, SecretText, StoredSecret, Versioned};
use futures_util::future::join_all;
use momento_webhook::Millis;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The timeout for the first fetch. A function has 10 s to start.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Every later fetch. Requests wait for it, which have 4 s, and need some of that afterwards.
const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: u32::MAX,
    attempt_timeout: Duration::from_secs(3),
    initial_backoff: Duration::from_secs(2),
    max_backoff: COOLDOWN,
};

/// The time after a fetch in which a rejection does not start another.
const COOLDOWN: Duration = Duration::from_mins(1);

/// The part of a timeout that is left when the store gives up on the previous version.
const MARGIN: Duration = Duration::from_millis(500);

/// A setting whose value is in a secret.
pub struct SecretSetting<T> {
    /// The variable that names the secret.
    pub name: &'static str,
    /// The secret.
    pub id: SecretId,
    /// Makes the value. An error says what is wrong with the current version, without the value.
    pub parse: Parse<T>,
}

/// Makes a value from both versions of a secret.
pub type Parse<T> = Box<dyn Fn(&Versioned<SecretText>) -> Result<T, String> + Send + Sync>;

/// What a fetch needs, and the age after which it starts.
#[derive(Clone)]
pub struct Refresh {
    /// The store of the secret.
    pub store: Arc<dyn SecretStore>,
    /// The time of day. A monotonic clock can stand still while Lambda does.
    pub clock: Arc<dyn Clock>,
    /// The maximum age of a value; `None` for no limit.
    pub max_age: Option<Duration>,
}

/// A value that is replaced when its secret changes. A clone is the same value.
pub struct Rotating<T> {
    state: watch::Sender<State<T>>,
    /// `None` for a value that does not change.
    origin: Option<Arc<Origin<T>>>,
}

struct Origin<T> {
    setting: SecretSetting<T>,
    refresh: Refresh,
}

struct State<T> {
    value: Arc<T>,
    /// What the value was made from.
    secret: Option<Versioned<SecretText>>,
    /// When a fetch starts without a rejection.
    due: Millis,
    /// When a rejection does not start a fetch.
    cooldown: Range<Millis>,
    /// Failed fetches in a row.
    failures: u32,
    /// True while a fetch runs. There is one at a time.
    is_fetching: bool,
}

/// The result of [`Rotating::refresh`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed<T> {
    /// There is a newer value.
    Changed(Arc<T>),
    /// The secret has the same value, or had it less than a minute ago.
    Unchanged,
    /// The secret, or its previous version, could not be fetched.
    Unknown,
}

struct Loaded<T> {
    secret: Versioned<SecretText>,
    value: T,
    /// The previous version could not be fetched for now.
    is_partial: bool,
}

/// Fetches the current versions of secrets at the start of a function, all at once.
pub async fn fetch_all<'n>(
    store: &dyn SecretStore,
    names: impl IntoIterator<Item = &'n SecretName>,
) -> BTreeMap<SecretName, Result<StoredSecret, Failure>> {
    let names: BTreeSet<_> = names.into_iter().collect();
    let fetches = names
        .into_iter()
        .map(async |name| (name.clone(), fetch(store, name, START_TIMEOUT, Versions::Current).await));
    join_all(fetches).await.into_iter().collect()
}

/// The versions that a fetch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Versions {
    Current,
    Both,
}

async fn fetch(
    store: &dyn SecretStore,
    name: &SecretName,
    timeout: Duration,
    versions: Versions,
) -> Result<StoredSecret, Failure> {
    let now = Instant::now();
    let previous_until = (versions == Versions::Both).then(|| now + timeout.saturating_sub(MARGIN));
    let stored = timeout_at(now + timeout, store.fetch(name, previous_until))
        .await
        .unwrap_or_else(|_| Err(fanout_core::secret_store::timed_out()))?;
    if let Err(error) = &stored.previous {
        let error = with_sources(error);
        tracing::warn!(%name, error, "the version before of a secret cannot be read; the current one is used");
    }
    Ok(stored)
}

impl<T: Send + Sync + 'static> Rotating<T> {
    /// Wraps a value that does not change.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        Self::new(value, None, Millis::MAX, None)
    }

    /// Makes the value of `setting` from a secret that was fetched at the start.
    ///
    /// # Errors
    /// If the secret is invalid. The error does not show its value.
    pub fn start(
        setting: SecretSetting<T>,
        fetched: Result<&StoredSecret, &Failure>,
        refresh: Refresh,
    ) -> Result<Self, String> {
        let Loaded { secret, value, .. } = setting.load(fetched, None)?;
        let due = refresh.clock.now().saturating_add(millis(refresh.max_age));
        Ok(Self::new(value, Some(secret), due, Some(Arc::new(Origin { setting, refresh }))))
    }

    fn new(
        value: T,
        secret: Option<Versioned<SecretText>>,
        due: Millis,
        origin: Option<Arc<Origin<T>>>,
    ) -> Self {
        let value = Arc::new(value);
        let state = State { value, secret, due, cooldown: 0..0, failures: 0, is_fetching: false };
        Self { state: watch::Sender::new(state), origin }
    }

    /// Returns the value. Starts a fetch if the value has reached its maximum age, which needs a Tokio runtime.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        let (value, due) = {
            let state = self.state.borrow();
            (Arc::clone(&state.value), state.due)
        };
        if let Some(origin) = &self.origin {
            let now = origin.refresh.clock.now();
            if now >= due {
                self.start_fetch(origin, Versions::Current, |state| now >= state.due);
            }
        }
        value
    }

    /// Returns true if the last fetch failed, so that there may be a newer value.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.state.borrow().failures > 0
    }

    /// Looks for a value that is newer than `rejected`. Starts a fetch when it is first polled, or joins the one that
    /// runs, and waits for it. The fetch continues if the caller stops waiting.
    pub async fn refresh(&self, rejected: &Arc<T>) -> Refreshed<T> {
        let Some(origin) = &self.origin else { return Refreshed::Unchanged };
        loop {
            let now = origin.refresh.clock.now();
            {
                let state = self.state.borrow();
                if !Arc::ptr_eq(&state.value, rejected) {
                    return Refreshed::Changed(Arc::clone(&state.value));
                }
                // A clock that is set back leaves the range.
                if !state.is_fetching && state.cooldown.contains(&now) {
                    return if state.failures > 0 { Refreshed::Unknown } else { Refreshed::Unchanged };
                }
            }
            // A fetch that already runs may have been too early for this rejection. The next turn starts another,
            // unless the first one failed, or began with a rejection as well.
            self.start_fetch(origin, Versions::Both, |state| {
                let may = !state.cooldown.contains(&now);
                if may {
                    state.cooldown = now..now.saturating_add(millis(Some(COOLDOWN)));
                }
                may
            });
            self.until_fetched().await;
        }
    }

    /// Waits until the current fetch ends, unless another caller waits for it already. Lambda stands still after a
    /// response, and would cut off a fetch.
    pub async fn settled(&self) {
        if self.state.receiver_count() == 0 {
            self.until_fetched().await;
        }
    }

    async fn until_fetched(&self) {
        let mut state = self.state.subscribe();
        state.wait_for(|state| !state.is_fetching).await.expect("the sender is in `self`");
    }

    /// Starts a fetch unless one runs, or `may_start` returns false. It fetches both versions if the previous one is in use,
    /// or could not be fetched before.
    fn start_fetch(
        &self,
        origin: &Arc<Origin<T>>,
        versions: Versions,
        may_start: impl FnOnce(&mut State<T>) -> bool,
    ) {
        let starts = self.state.send_if_modified(|state| {
            let starts = !state.is_fetching && may_start(state);
            state.is_fetching |= starts;
            starts
        });
        if !starts {
            return;
        }
        let (state, origin) = (self.state.clone(), Arc::clone(origin));
        let (known, versions) = {
            let state = state.borrow();
            let has_previous = state.secret.as_ref().is_some_and(|secret| secret.previous.is_some());
            let is_needed = has_previous || state.failures > 0;
            (state.secret.clone(), if is_needed { Versions::Both } else { versions })
        };
        tokio::spawn(async move {
            // In a task of its own, a panic is a failed fetch and not one that never ends.
            let loading = tokio::spawn(Arc::clone(&origin).load_again(known, versions));
            let loaded = loading.await.unwrap_or_else(|_| Err("the fetch panicked".to_owned()));
            let setting = origin.setting.name;
            if let Err(error) = &loaded {
                tracing::warn!(
                    setting,
                    error,
                    "a secret could not be fetched again; its last value stays in use"
                );
            }
            let mut is_changed = false;
            state.send_modify(|state| is_changed = state.end_fetch(loaded, &origin.refresh));
            if is_changed {
                tracing::info!(setting, "a secret has changed");
            }
        });
    }
}

impl<T> Origin<T> {
    async fn load_again(
        self: Arc<Self>,
        known: Option<Versioned<SecretText>>,
        versions: Versions,
    ) -> Result<Loaded<T>, String> {
        let fetched =
            fetch(&*self.refresh.store, &self.setting.id.name, RETRY.attempt_timeout, versions).await;
        self.setting.load(fetched.as_ref(), known)
    }
}

impl<T> SecretSetting<T> {
    /// Makes the value. Replaces a previous version that cannot be fetched for now by what is `known`: a caller that
    /// still uses the old secret is not rejected meanwhile.
    fn load(
        &self,
        fetched: Result<&StoredSecret, &Failure>,
        known: Option<Versioned<SecretText>>,
    ) -> Result<Loaded<T>, String> {
        let name = &self.id.name;
        let StoredSecret { current, previous } =
            fetched.map_err(|error| format!("{name}: {}", with_sources(error)))?;
        let is_partial = previous.as_ref().is_err_and(|error| error.reason.is_transient());
        let previous = previous.as_ref().ok().cloned().flatten();
        let mut secret = Versioned { current: current.clone(), previous }
            .try_map(|text| self.id.select(text))
            .map_err(|error| format!("{name} {error}"))?;
        if let Some(known) = known.filter(|_| is_partial) {
            let is_same = secret.current == known.current;
            secret.previous = if is_same { known.previous } else { Some(known.current) };
        }
        let value = (self.parse)(&secret)?;
        Ok(Loaded { secret, value, is_partial })
    }
}

impl<T> State<T> {
    /// Records the end of a fetch. Returns true if the value has changed.
    fn end_fetch(&mut self, loaded: Result<Loaded<T>, String>, refresh: &Refresh) -> bool {
        let now = refresh.clock.now();
        let is_partial = loaded.as_ref().is_ok_and(|loaded| loaded.is_partial);
        self.is_fetching = false;
        if loaded.is_ok() && !is_partial {
            self.failures = 0;
            self.due = now.saturating_add(millis(refresh.max_age));
        } else {
            // Counted from now: a fetch that hangs takes longer than the first backoff.
            self.failures = self.failures.saturating_add(1);
            let end = now.saturating_add(millis(Some(RETRY.backoff_limit(self.failures))));
            self.cooldown = now..end;
            if is_partial {
                // The version that stands in may be withdrawn. So even a value without a maximum age is fetched again.
                self.due = end;
            } else if self.due != Millis::MAX {
                self.due = now.saturating_add(millis(Some(COOLDOWN)));
            }
        }
        match loaded {
            Ok(Loaded { secret, value, .. }) if self.secret.as_ref() != Some(&secret) => {
                (self.value, self.secret) = (Arc::new(value), Some(secret));
                true
            }
            _ => false,
        }
    }
}

/// Returns [`Millis::MAX`], which is never, for `None`.
fn millis(duration: Option<Duration>) -> Millis {
    duration.and_then(|duration| Millis::try_from(duration.as_millis()).ok()).unwrap_or(Millis::MAX)
}

impl<T> Clone for Rotating<T> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), origin: self.origin.clone() }
    }
}

/// Shows no value, which may be a secret.
impl<T> fmt::Debug for Rotating<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.origin.as_ref().map(|origin| &origin.setting.id);
        f.debug_struct("Rotating").field("id", &id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use tokio::sync::Semaphore;
    use tokio::task::yield_now;

    use super::*;
    use fanout_core::reason::Reason;

    /// Returns one secret, and counts fetches. While it is closed, a fetch waits.
    #[derive(Debug)]
    struct FakeStore {
        secret: Mutex<Result<Versioned<SecretText>, Reason>>,
        /// Why the previous version cannot be fetched.
        previous: Mutex<Option<Reason>>,
        fetches: AtomicU64,
        gate: Semaphore,
    }

    impl FakeStore {
        fn put(&self, current: &str, previous: Option<&str>) {
            let previous = previous.map(SecretText::new);
            *self.secret.lock().unwrap() = Ok(Versioned { current: SecretText::new(current), previous });
        }

        fn fail(&self, reason: Reason) {
            *self.secret.lock().unwrap() = Err(reason);
        }

        fn fail_previous(&self, reason: Option<Reason>) {
            *self.previous.lock().unwrap() = reason;
        }

        fn close(&self) {
            self.gate.forget_permits(usize::MAX);
        }

        fn open(&self) {
            self.gate.add_permits(1_000);
        }

        fn fetches(&self) -> u64 {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    impl SecretStore for FakeStore {
        fn fetch<'s>(
            &'s self,
            _: &'s SecretName,
            previous_until: Option<Instant>,
        ) -> BoxFuture<'s, Result<StoredSecret, Failure>> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            async move {
                drop(self.gate.acquire().await);
                let failed = |reason| Failure::new(reason, "failed");
                let Versioned { current, previous } = self.secret.lock().unwrap().clone().map_err(failed)?;
                let previous = match *self.previous.lock().unwrap() {
                    _ if previous_until.is_none() => Ok(None),
                    None => Ok(previous),
                    Some(reason) => Err(failed(reason)),
                };
                Ok(StoredSecret { current, previous })
            }
            .boxed()
        }
    }

    #[derive(Debug, Default)]
    struct FakeClock(AtomicU64);

    impl FakeClock {
        fn advance(&self, by: Duration) {
            self.0.fetch_add(Millis::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> Millis {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// Returns the text itself, unless it is `invalid`.
    fn parse(secret: &Versioned<SecretText>) -> Result<String, String> {
        match secret.current.reveal() {
            "invalid" => Err("is invalid".to_owned()),
            "panic" => panic!("the value is {:?}", secret.current),
            text => Ok(text.to_owned()),
        }
    }

    struct Fixture {
        store: Arc<FakeStore>,
        clock: Arc<FakeClock>,
        value: Rotating<String>,
    }

    const HOUR: Duration = Duration::from_hours(1);
    const ALMOST: Duration = Duration::from_secs(3_599);
    /// The limit for a test that fails.
    const TEST_TIMEOUT: Duration = Duration::from_secs(10);

    /// A value that is `old`, of a secret that has changed to `new` since.
    async fn fixture(max_age: Option<Duration>) -> Fixture {
        let secret = Versioned { current: SecretText::new("old"), previous: None };
        let store = Arc::new(FakeStore {
            secret: Mutex::new(Ok(secret)),
            previous: Mutex::new(None),
            fetches: AtomicU64::new(0),
            gate: Semaphore::new(1_000),
        });
        let clock = Arc::new(FakeClock::default());
        clock.advance(HOUR);
        let setting = SecretSetting { name: "SETTING", id: "id".parse().unwrap(), parse: Box::new(parse) };
        let fetched = fetch(&*store, &setting.id.name, START_TIMEOUT, Versions::Current).await;
        let refresh = Refresh {
            store: Arc::<FakeStore>::clone(&store),
            clock: Arc::<FakeClock>::clone(&clock),
            max_age,
        };
        let value = Rotating::start(setting, fetched.as_ref(), refresh).unwrap();
        store.put("new", Some("old"));
        Fixture { store, clock, value }
    }

    impl Fixture {
        /// Uses the value, and waits for the fetch that this may start.
        async fn fetches_after_use(&self) -> u64 {
            let _ = self.value.current();
            self.value.settled().await;
            self.store.fetches()
        }
    }

    fn changed(value: &str) -> Refreshed<String> {
        Refreshed::Changed(Arc::new(value.to_owned()))
    }

    /// The current and the previous version.
    fn versions(value: &Rotating<String>) -> [Option<String>; 2] {
        let secret = value.state.borrow().secret.clone().unwrap();
        [Some(secret.current), secret.previous].map(|text| text.map(|text| text.reveal().to_owned()))
    }

    fn are(value: &Rotating<String>, current: &str, previous: Option<&str>) -> bool {
        versions(value) == [Some(current), previous].map(|text| text.map(str::to_owned))
    }

    #[tokio::test]
    async fn keeps_fixed_value() {
        let value = Rotating::fixed("given".to_owned());
        assert_eq!(value.refresh(&value.current()).await, Refreshed::Unchanged);
        value.settled().await;
        assert_eq!(*value.current(), "given");
    }

    #[tokio::test]
    async fn rejection_starts_one_fetch_a_minute() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.put("old", None);
        let rejected = value.current();
        assert_eq!(value.refresh(&rejected).await, Refreshed::Unchanged);
        assert_eq!(store.fetches(), 2);
        store.put("new", Some("old"));
        clock.advance(Duration::from_millis(59_999));
        for _ in 0..100 {
            assert_eq!(value.refresh(&rejected).await, Refreshed::Unchanged);
        }
        assert_eq!(store.fetches(), 2);
        clock.advance(Duration::from_millis(1));
        assert_eq!(value.refresh(&rejected).await, changed("new"));
        assert_eq!((store.fetches(), value.current().as_str()), (3, "new"));
        // A later caller gets the new value without a fetch.
        assert_eq!(value.refresh(&rejected).await, changed("new"));
        assert_eq!(store.fetches(), 3);
    }

    #[tokio::test]
    async fn concurrent_rejections_share_one_fetch_and_delay_no_other_caller() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        let rejected = value.current();
        let refreshing: Vec<_> = (0..100)
            .map(|_| {
                let (value, rejected) = (value.clone(), Arc::clone(&rejected));
                tokio::spawn(async move { value.refresh(&rejected).await })
            })
            .collect();
        while store.fetches() < 2 {
            yield_now().await;
        }
        // The fetch hangs, and the old value can be used.
        assert_eq!(*value.current(), "old");
        store.open();
        for refreshed in join_all(refreshing).await {
            assert_eq!(refreshed.unwrap(), changed("new"));
        }
        assert_eq!(store.fetches(), 2);
    }

    #[tokio::test]
    async fn fetch_continues_when_its_caller_stops_waiting() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        let rejected = value.current();
        let waited = tokio::time::timeout(Duration::from_millis(1), value.refresh(&rejected)).await;
        assert!(waited.is_err());
        store.open();
        assert_eq!(value.refresh(&rejected).await, changed("new"));
        assert_eq!(store.fetches(), 2);
    }

    #[tokio::test]
    async fn keeps_value_when_fetch_fails() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        let rejected = value.current();
        store.fail(Reason::Unavailable);
        assert_eq!(value.refresh(&rejected).await, Refreshed::Unknown);
        clock.advance(COOLDOWN);
        store.put("", None);
        assert_eq!(value.refresh(&rejected).await, Refreshed::Unknown);
        clock.advance(COOLDOWN);
        for (fetches, text) in [(4, "invalid"), (5, "panic")] {
            store.put(text, None);
            assert_eq!(value.refresh(&rejected).await, Refreshed::Unknown);
            assert_eq!((store.fetches(), value.current().as_str()), (fetches, "old"));
            clock.advance(COOLDOWN);
        }
        store.put("new", None);
        assert_eq!(value.refresh(&rejected).await, changed("new"));
    }

    #[tokio::test]
    async fn refresh_can_be_polled_once_to_start_a_fetch() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        let rejected = value.current();
        for _ in 0..10 {
            assert_eq!(value.refresh(&rejected).now_or_never(), None);
        }
        store.open();
        value.settled().await;
        let refreshed = value.refresh(&rejected).now_or_never();
        assert_eq!((refreshed, store.fetches()), (Some(changed("new")), 2));
    }

    #[tokio::test]
    async fn backoff_after_failure_doubles_up_to_a_minute() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        let rejected = value.current();
        let is_fetched = async || {
            let before = store.fetches();
            let refreshed = value.refresh(&rejected).await;
            let is_known = store.secret.lock().unwrap().is_ok();
            assert_eq!(refreshed, if is_known { Refreshed::Unchanged } else { Refreshed::Unknown });
            store.fetches() > before
        };
        store.fail(Reason::Unavailable);
        assert!(is_fetched().await);
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            clock.advance(Duration::from_millis(seconds * 1_000 - 1));
            assert!(!is_fetched().await, "{seconds}");
            clock.advance(Duration::from_millis(1));
            assert!(is_fetched().await, "{seconds}");
        }
        // After a success, the whole cooldown counts, and backoff starts again.
        store.put("old", None);
        clock.advance(COOLDOWN);
        assert!(is_fetched().await);
        clock.advance(Duration::from_millis(59_999));
        assert!(!is_fetched().await);
        clock.advance(Duration::from_millis(1));
        store.fail(Reason::Unavailable);
        assert!(is_fetched().await);
        store.put("new", None);
        clock.advance(RETRY.initial_backoff);
        assert_eq!(value.refresh(&rejected).await, changed("new"));
    }

    #[tokio::test]
    async fn backoff_begins_at_the_end_of_a_fetch() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.fail(Reason::Unavailable);
        store.close();
        let rejected = value.current();
        let failing = async {
            while store.fetches() < 2 {
                yield_now().await;
            }
            clock.advance(RETRY.initial_backoff * 2);
            store.open();
        };
        let (refreshed, ()) = tokio::join!(value.refresh(&rejected), failing);
        assert_eq!(refreshed, Refreshed::Unknown);
        assert_eq!(value.refresh(&rejected).await, Refreshed::Unknown);
        assert_eq!(store.fetches(), 2);
    }

    #[tokio::test]
    async fn settled_waits_for_fetch_that_its_caller_left() {
        let moment = Duration::from_millis(1);
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        assert!(tokio::time::timeout(moment, value.refresh(&value.current())).await.is_err());
        // A caller without enough time leaves it to the next one.
        for _ in 0..2 {
            assert!(tokio::time::timeout(moment, value.settled()).await.is_err());
        }
        store.open();
        value.settled().await;
        assert_eq!((store.fetches(), value.current().as_str()), (2, "new"));
    }

    #[tokio::test]
    async fn settled_does_not_wait_while_another_caller_does() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        let rejected = value.current();
        let (refreshed, ()) = tokio::join!(value.refresh(&rejected), async {
            value.settled().await;
            store.open();
        });
        assert_eq!(refreshed, changed("new"));
    }

    #[tokio::test]
    async fn leaves_out_previous_version_that_cannot_be_read() {
        for reason in [Reason::PermissionDenied, Reason::InvalidArgument] {
            let fixture = fixture(Some(HOUR)).await;
            let Fixture { store, clock, value } = &fixture;
            store.fail_previous(Some(reason));
            assert_eq!(value.refresh(&value.current()).await, changed("new"));
            assert!(are(value, "new", None), "{reason}: {:?}", versions(value));
            clock.advance(ALMOST);
            assert_eq!(fixture.fetches_after_use().await, 2, "{reason}");
        }
    }

    #[tokio::test]
    async fn keeps_known_previous_version_until_it_can_be_fetched() {
        for (max_age, reason) in [(Some(HOUR), Reason::RateLimited), (None, Reason::TimedOut)] {
            let fixture = fixture(max_age).await;
            let Fixture { store, clock, value } = &fixture;
            store.fail_previous(Some(reason));
            assert_eq!(value.refresh(&value.current()).await, changed("new"));
            assert!(are(value, "new", Some("old")), "the old one is still in use");
            assert_eq!(value.refresh(&value.current()).await, Refreshed::Unknown, "there may be another");
            for (seconds, fetches) in [(2, 3), (4, 4)] {
                clock.advance(Duration::from_millis(seconds * 1_000 - 1));
                assert_eq!(fixture.fetches_after_use().await, fetches - 1, "{seconds}");
                clock.advance(Duration::from_millis(1));
                assert_eq!(fixture.fetches_after_use().await, fetches, "{seconds}");
                assert!(are(value, "new", Some("old")), "{:?}", versions(value));
            }
            // The secret was changed twice: the old one is withdrawn.
            store.put("new", Some("between"));
            store.fail_previous(None);
            clock.advance(Duration::from_secs(8));
            assert_eq!(fixture.fetches_after_use().await, 5);
            assert!(are(value, "new", Some("between")), "{:?}", versions(value));
            clock.advance(ALMOST);
            assert_eq!(fixture.fetches_after_use().await, 5, "both versions are known");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_store_that_hangs() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        assert_eq!(value.refresh(&value.current()).await, Refreshed::Unknown);
        assert_eq!(*value.current(), "old");
    }

    #[tokio::test]
    async fn fetches_value_at_maximum_age_while_it_is_used() {
        let fixture = fixture(Some(HOUR)).await;
        let Fixture { store, clock, value } = &fixture;
        clock.advance(ALMOST);
        assert_eq!(fixture.fetches_after_use().await, 1);
        clock.advance(Duration::from_secs(1));
        for _ in 0..100 {
            assert_eq!(*value.current(), "old");
        }
        value.settled().await;
        assert_eq!((store.fetches(), value.current().as_str()), (2, "new"));
        clock.advance(ALMOST);
        assert_eq!(fixture.fetches_after_use().await, 2, "its age begins anew");
    }

    #[tokio::test]
    async fn asks_for_previous_version_from_first_rejection_on() {
        let fixture = fixture(Some(HOUR)).await;
        let Fixture { store, clock, value } = &fixture;
        assert!(are(value, "old", None));
        clock.advance(HOUR);
        assert_eq!(fixture.fetches_after_use().await, 2);
        assert!(are(value, "new", None), "nothing was rejected: {:?}", versions(value));
        assert_eq!(value.refresh(&value.current()).await, changed("new"));
        assert!(are(value, "new", Some("old")), "{:?}", versions(value));
        store.put("newer", Some("new"));
        clock.advance(HOUR);
        assert_eq!(fixture.fetches_after_use().await, 4);
        assert!(are(value, "newer", Some("new")), "{:?}", versions(value));
    }

    #[tokio::test]
    async fn fetch_ends_without_a_caller_that_waits() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        for (fetches, text) in [(2, "second"), (3, "third")] {
            store.put(text, None);
            clock.advance(HOUR);
            let _ = value.current();
            let changed = async {
                while *value.current() != text {
                    yield_now().await;
                }
            };
            tokio::time::timeout(TEST_TIMEOUT, changed).await.expect("it is fetched");
            assert_eq!(store.fetches(), fetches);
        }
    }

    #[tokio::test]
    async fn retries_fetch_at_maximum_age_after_a_minute() {
        let fixture = fixture(Some(HOUR)).await;
        let Fixture { store, clock, value } = &fixture;
        store.fail(Reason::Unavailable);
        clock.advance(HOUR);
        for fetches in [2, 3] {
            for _ in 0..10 {
                assert_eq!(fixture.fetches_after_use().await, fetches);
            }
            clock.advance(COOLDOWN);
        }
        store.put("new", None);
        assert_eq!((fixture.fetches_after_use().await, value.current().as_str()), (4, "new"));
    }

    #[tokio::test]
    async fn without_maximum_age_only_a_rejection_starts_a_fetch() {
        let fixture = fixture(None).await;
        let Fixture { store, clock, value } = &fixture;
        for _ in 0..10 {
            clock.advance(HOUR * 24 * 365);
            assert_eq!(fixture.fetches_after_use().await, 1);
        }
        store.fail(Reason::Unavailable);
        assert_eq!(value.refresh(&value.current()).await, Refreshed::Unknown);
        clock.advance(HOUR);
        assert_eq!(fixture.fetches_after_use().await, 2);
        store.put("new", None);
        assert_eq!(value.refresh(&value.current()).await, changed("new"));
    }

    #[tokio::test]
    async fn rejection_joins_fetch_at_maximum_age() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.close();
        clock.advance(HOUR);
        let rejected = value.current();
        let refreshing = async { tokio::join!(value.refresh(&rejected), async { store.open() }).0 };
        assert_eq!(refreshing.await, changed("new"));
        assert_eq!(store.fetches(), 2);
    }

    #[tokio::test]
    async fn clock_set_back_ends_cooldown() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.fail(Reason::Unavailable);
        let rejected = value.current();
        assert_eq!(value.refresh(&rejected).await, Refreshed::Unknown);
        clock.0.store(1, Ordering::SeqCst);
        store.put("new", None);
        assert_eq!(value.refresh(&rejected).await, changed("new"));
    }

    #[tokio::test]
    async fn debug_shows_no_value() {
        let Fixture { value, .. } = fixture(None).await;
        assert!(!format!("{value:?}").contains("old"));
    }
}
