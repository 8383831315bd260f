//! A value made of a secret, fetched again when it may have changed.
//!
//! Who uses the value never waits for anything: it is a pointer, copied. It is fetched again in two cases.
//!
//! - Somebody was refused with it, or refused another by it. That may be a rotation, and whoever noticed waits
//!   to go on with what is new. It may be a forgery as well, of which there can be any number: so this happens
//!   at most once in a [pause](Policy::pause), however many ask, and each asker is told what came of it. After one that
//!   failed the pause is [short](Policy::FIRST_PAUSE) at first: the service may be well again, and nobody knows yet
//!   whether there is something new.
//! - It has reached its [age](Policy::max_age). It is fetched beside the next use, which goes on with what
//!   there is. There is no timer, for Lambda stops the clock between two invocations; and it stops what is being
//!   fetched as well, so that there [`settled`](Rotating::settled) is waited for before an answer is given.
//!
//! What cannot be fetched, or not be used, leaves the value as it was.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use momento_webhook::Millis;

use super::{
    Kept, REFETCH_TIMEOUT, SecretError, SecretStore, SecretText, Versioned, Wanted, fetch_one, pick,
};
use crate::config::ConfigErrors;
use fanout_core::clock::Clock;

/// When a secret is fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// After how long it is fetched without anybody asking for it; `None` for never.
    pub max_age: Option<Duration>,
    /// How long nothing is fetched after it was fetched because of a refusal; for its age, after it could not be.
    pub pause: Duration,
}

impl Policy {
    /// The pause of a function.
    pub const PAUSE: Duration = Duration::from_secs(60);

    /// How long nothing is fetched for a refusal after one fetch that failed. It doubles with each that fails, up to
    /// the whole pause: who sends forged signatures does not keep a service down that is just about to get up.
    pub const FIRST_PAUSE: Duration = Duration::from_secs(2);

    /// The pause after so many fetches in a row that failed.
    fn pause_after(&self, failures: u32) -> Duration {
        Self::FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(30)).min(self.pause)
    }
}

/// What a value that rotates needs to be fetched again.
#[derive(Clone)]
pub struct Keeper {
    /// What keeps the secret.
    pub store: Arc<dyn SecretStore>,
    /// What time it is. The time of day: a monotonic clock may stand still while Lambda does.
    pub clock: Arc<dyn Clock>,
    /// When it is fetched again.
    pub policy: Policy,
    /// What is being fetched beside what uses it.
    pub beside: Beside,
}

/// What is being fetched while nobody waits for it, of all values of one keeper.
#[derive(Clone, Default)]
pub struct Beside(Arc<Mutex<Vec<Flight>>>);

/// A value that may be replaced by what its secret becomes. A clone is the same value.
#[derive(Debug)]
pub struct Rotating<T> {
    room: Arc<Room<T>>,
}

struct Room<T> {
    value: RwLock<Arc<T>>,
    /// Where it comes from; `None` where it was given and stays as it is.
    origin: Option<Origin<T>>,
}

struct Origin<T> {
    wanted: Arc<dyn Wanted<Value = T>>,
    keeper: Keeper,
    /// When it is to be fetched for its age. Beside the lock: it is asked for every message.
    due: AtomicU64,
    progress: Mutex<Progress>,
}

struct Progress {
    /// What the value was made of.
    secret: Versioned<SecretText>,
    /// Since when, and for how long, it is not fetched because of a refusal.
    held: Option<(Millis, Duration)>,
    /// How many times in a row it could not be fetched.
    failures: u32,
    /// Done where it is over.
    flight: Option<Flight>,
}

/// It is being fetched. Many may wait for it, and it goes on without any of them.
type Flight = Shared<BoxFuture<'static, ()>>;

/// Somebody who waits for what is being fetched. Who stops before it is over leaves it to those who wait until
/// everything is settled.
struct Waiting<'b> {
    flights: Vec<Flight>,
    beside: &'b Beside,
}

/// What has come instead of a value that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead<T> {
    /// This one.
    New(Arc<T>),
    /// None: it is what its secret is, or was a short while ago.
    Nothing,
    /// Nobody knows. The secret could not be fetched, or only half of it.
    Unknown,
}

impl<T: Send + Sync + 'static> Rotating<T> {
    /// A value that stays as it is.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        Self::with(value, None)
    }

    /// What is `wanted` of a secret that was fetched.
    ///
    /// # Errors
    /// When it could not be fetched, or is not what is wanted.
    pub fn start(
        wanted: Arc<dyn Wanted<Value = T>>,
        fetched: Result<&Kept, &SecretError>,
        keeper: Keeper,
    ) -> Result<Self, ConfigErrors> {
        let secret = pick(&*wanted, fetched)?;
        let value = wanted.read(&secret)?;
        let progress = Mutex::new(Progress { secret, held: None, failures: 0, flight: None });
        let origin = Origin { wanted, keeper, due: AtomicU64::new(Millis::MAX), progress };
        if fetched.is_ok_and(Kept::is_half) {
            origin.half_fetched();
        } else {
            origin.fetched();
        }
        Ok(Self::with(value, Some(origin)))
    }

    fn with(value: T, origin: Option<Origin<T>>) -> Self {
        Self { room: Arc::new(Room { value: RwLock::new(Arc::new(value)), origin }) }
    }

    /// The value as it is now. Where it has reached its age, it is being fetched from here on, for which a Tokio
    /// runtime has to be there.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        if let Some(origin) = &self.room.origin {
            let now = origin.keeper.clock.now();
            if now >= origin.due.load(Ordering::Relaxed) {
                drop(self.fetch(origin, Cause::Age(now)));
            }
        }
        self.room.value()
    }

    /// What has come instead of `used`, which was refused: at once where others have noticed, or where it was fetched
    /// for that a short while ago, else after it was fetched.
    pub async fn instead_of(&self, used: &Arc<T>) -> Instead<T> {
        let Some(origin) = &self.room.origin else { return Instead::Nothing };
        loop {
            let value = self.room.value();
            if !Arc::ptr_eq(&value, used) {
                return Instead::New(value);
            }
            // One that others began may have been too early for what was refused here: then this one is
            // entitled to another, unless they were refused too, or it failed.
            let flights = match self.fetch(origin, Cause::Refusal) {
                Ok(flight) => vec![flight],
                Err(instead) => return instead,
            };
            Waiting { flights, beside: &origin.keeper.beside }.until_over().await;
        }
    }

    /// What has come instead of `used`, which was refused, by now. Where nothing has, it is being fetched from here on, if
    /// that may be, for which a Tokio runtime has to be there.
    #[must_use]
    pub fn by_now_instead_of(&self, used: &Arc<T>) -> Option<Arc<T>> {
        let origin = self.room.origin.as_ref()?;
        let value = self.room.value();
        if !Arc::ptr_eq(&value, used) {
            return Some(value);
        }
        if let Ok(flight) = self.fetch(origin, Cause::Refusal) {
            origin.keeper.beside.add(flight);
        }
        None
    }

    /// Waits until nothing is being fetched any more that nobody waits for: neither for this value nor for the
    /// others of its keeper. Of several who call it, one waits. Where that one stops before, the next one waits.
    pub async fn settled(&self) {
        let Some(origin) = &self.room.origin else { return };
        let flights = std::mem::take(&mut *origin.keeper.beside.lock());
        Waiting { flights, beside: &origin.keeper.beside }.until_over().await;
    }

    /// Joins those who wait for it, or has it fetched, if that may be. Else what is known.
    fn fetch(&self, origin: &Origin<T>, cause: Cause) -> Result<Flight, Instead<T>> {
        let mut progress = origin.progress();
        if let Some(flight) = progress.flight.as_ref().filter(|flight| flight.peek().is_none()) {
            return Ok(flight.clone());
        }
        match cause {
            // Others may have been faster.
            Cause::Age(now) if now < origin.due.load(Ordering::Relaxed) => return Err(Instead::Nothing),
            Cause::Age(_) => {}
            Cause::Refusal => {
                let now = origin.keeper.clock.now();
                // None where the clock was set back: better once too often than never again.
                let held = progress.held.and_then(|(since, pause)| Some((now.checked_sub(since)?, pause)));
                if held.is_some_and(|(since, pause)| u128::from(since) < pause.as_millis()) {
                    return Err(if progress.failures > 0 { Instead::Unknown } else { Instead::Nothing });
                }
                progress.held = Some((now, origin.keeper.policy.pause));
            }
        }
        origin.due_in(Some(origin.keeper.policy.pause));
        let room = Arc::clone(&self.room);
        // In a task of its own: a request that ends does not call it off.
        let task = tokio::spawn(async move { room.refresh().await });
        let flight = task.map(drop).boxed().shared();
        // It is over when it is, and not only when somebody asks: nobody may ever.
        tokio::spawn(flight.clone());
        progress.flight = Some(flight.clone());
        if matches!(cause, Cause::Age(_)) {
            origin.keeper.beside.add(flight.clone());
        }
        Ok(flight)
    }
}

impl Beside {
    fn lock(&self) -> MutexGuard<'_, Vec<Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, flight: Flight) {
        let mut flights = self.lock();
        flights.retain(|other| other.peek().is_none() && !other.ptr_eq(&flight));
        if flight.peek().is_none() {
            flights.push(flight);
        }
    }
}

impl Waiting<'_> {
    async fn until_over(self) {
        join_all(self.flights.iter().cloned()).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.flights.drain(..).for_each(|flight| self.beside.add(flight));
    }
}

#[derive(Clone, Copy)]
enum Cause {
    Age(Millis),
    Refusal,
}

impl<T: Send + Sync + 'static> Room<T> {
    fn value(&self) -> Arc<T> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn refresh(&self) {
        let Some(origin) = &self.origin else { return };
        let setting = origin.wanted.setting();
        let fetched = fetch_one(&*origin.keeper.store, &origin.wanted.id().name, REFETCH_TIMEOUT).await;
        let is_half = fetched.as_ref().is_ok_and(Kept::is_half);
        let picked = pick(&*origin.wanted, fetched.as_ref());
        match picked.and_then(|secret| self.replace(origin, secret, is_half)) {
            Ok(is_new) => {
                if is_half {
                    origin.failed();
                    origin.half_fetched();
                } else {
                    origin.fetched();
                }
                if is_new {
                    tracing::info!(setting, "a secret has changed");
                }
            }
            Err(ConfigErrors(faults)) => {
                origin.failed();
                for error in faults {
                    tracing::warn!(setting, %error, "a secret could not be fetched again; what there was is used on");
                }
            }
        }
    }

    /// Puts the value of `secret` in the place of the one that there is, if it is another. Of one that is half
    /// fetched, the version before is taken from what there is: who still uses that is not to be refused for now.
    fn replace(
        &self,
        origin: &Origin<T>,
        mut secret: Versioned<SecretText>,
        is_half: bool,
    ) -> Result<bool, ConfigErrors> {
        let mut progress = origin.progress();
        if is_half {
            let Versioned { current, previous } = &progress.secret;
            secret.previous =
                if secret.current == *current { previous.clone() } else { Some(current.clone()) };
        }
        if progress.secret == secret {
            return Ok(false);
        }
        let value = Arc::new(origin.wanted.read(&secret)?);
        progress.secret = secret;
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
        Ok(true)
    }
}

impl<T> Origin<T> {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is as it should be, from now on for as long as it may age.
    fn fetched(&self) {
        self.progress().failures = 0;
        self.due_in(self.keeper.policy.max_age);
    }

    /// It could not be fetched. The pause begins now: a fetch that hangs takes longer than the first.
    fn failed(&self) {
        let mut progress = self.progress();
        progress.failures = progress.failures.saturating_add(1);
        progress.held = Some((self.keeper.clock.now(), self.keeper.policy.pause_after(progress.failures)));
    }

    /// Its current version is as it should be, and the one before it is to be known soon: also of what never ages, for
    /// meanwhile one may be accepted that no longer counts.
    fn half_fetched(&self) {
        let pause = self.keeper.policy.pause_after(self.progress().failures);
        self.due.store(self.after(pause), Ordering::Relaxed);
    }

    fn due_in(&self, time: Option<Duration>) {
        // Nothing is due of what never ages, not even when it could not be fetched.
        let time = time.filter(|_| self.keeper.policy.max_age.is_some());
        self.due.store(time.map_or(Millis::MAX, |time| self.after(time)), Ordering::Relaxed);
    }

    fn after(&self, time: Duration) -> Millis {
        self.keeper.clock.now().saturating_add(Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX))
    }
}

impl<T> Clone for Rotating<T> {
    fn clone(&self) -> Self {
        Self { room: Arc::clone(&self.room) }
    }
}

/// Its value may be a secret.
impl<T> fmt::Debug for Room<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.origin.as_ref().map(|origin| &origin.wanted);
        f.debug_struct("Room").field("wanted", &wanted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;
    use crate::config::SecretId;
    use crate::secrets::FETCH_TIMEOUT;
    use fanout_core::reason::Reason;
    use fanout_core::secret_store::SecretName;

    /// Gives out one secret, and counts. What is asked for while it is closed is answered when it opens.
    #[derive(Debug)]
    struct FakeStore {
        secret: Mutex<Result<Versioned<SecretText>, Reason>>,
        /// Why the version before cannot be had.
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
        fn fetch<'s>(&'s self, _: &'s SecretName, _: Instant) -> BoxFuture<'s, Result<Kept, SecretError>> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            async {
                drop(self.gate.acquire().await);
                let failed = |reason| SecretError { reason, detail: "failed", source: None };
                let Versioned { current, previous } = self.secret.lock().unwrap().clone().map_err(failed)?;
                let previous = match *self.previous.lock().unwrap() {
                    None => Ok(previous),
                    Some(reason) => Err(failed(reason)),
                };
                Ok(Kept { current, previous })
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

    /// The text itself, of which `refused` is not what is wanted.
    #[derive(Debug)]
    struct Text(SecretId);

    impl Wanted for Text {
        type Value = String;

        fn setting(&self) -> &'static str {
            "SETTING"
        }

        fn id(&self) -> &SecretId {
            &self.0
        }

        fn read(&self, secret: &Versioned<SecretText>) -> Result<String, ConfigErrors> {
            match secret.current.reveal() {
                "refused" => Err(ConfigErrors(Vec::new())),
                text => Ok(text.to_owned()),
            }
        }
    }

    struct Fixture {
        store: Arc<FakeStore>,
        clock: Arc<FakeClock>,
        value: Rotating<String>,
    }

    const HOUR: Duration = Duration::from_secs(3_600);
    const ALMOST: Duration = Duration::from_secs(3_599);
    /// Only a test that fails waits for it.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A value that is `old` and may become an hour old, of a secret that is `new` by now.
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
        let wanted = Text("id".parse().unwrap());
        let fetched = fetch_one(&*store, &wanted.0.name, FETCH_TIMEOUT).await;
        let keeper = Keeper {
            store: Arc::<FakeStore>::clone(&store),
            clock: Arc::<FakeClock>::clone(&clock),
            policy: Policy { max_age, pause: Policy::PAUSE },
            beside: Beside::default(),
        };
        let value = Rotating::start(Arc::new(wanted), fetched.as_ref(), keeper).unwrap();
        store.put("new", Some("old"));
        Fixture { store, clock, value }
    }

    fn new(value: &str) -> Instead<String> {
        Instead::New(Arc::new(value.to_owned()))
    }

    /// The current version and the one before it.
    fn versions(value: &Rotating<String>) -> [Option<String>; 2] {
        let secret = value.room.origin.as_ref().unwrap().progress().secret.clone();
        [Some(secret.current), secret.previous].map(|text| text.map(|text| text.reveal().to_owned()))
    }

    fn are(value: &Rotating<String>, current: &str, previous: Option<&str>) -> bool {
        versions(value) == [Some(current), previous].map(|text| text.map(str::to_owned))
    }

    #[tokio::test]
    async fn what_is_given_stays_as_it_is() {
        let value = Rotating::fixed("given".to_owned());
        assert_eq!(value.instead_of(&value.current()).await, Instead::Nothing);
        value.settled().await;
        assert_eq!(*value.current(), "given");
    }

    #[tokio::test]
    async fn what_is_refused_is_fetched_again_once_in_a_pause() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.put("old", None);
        let used = value.current();
        assert_eq!(value.instead_of(&used).await, Instead::Nothing);
        assert_eq!(store.fetches(), 2);
        store.put("new", Some("old"));
        clock.advance(Duration::from_millis(59_999));
        for _ in 0..100 {
            assert_eq!(value.instead_of(&used).await, Instead::Nothing);
        }
        assert_eq!(store.fetches(), 2);
        clock.advance(Duration::from_millis(1));
        assert_eq!(value.instead_of(&used).await, new("new"));
        assert_eq!((store.fetches(), value.current().as_str()), (3, "new"));
        // Who noticed late is told at once, and nothing is fetched for it.
        assert_eq!(value.instead_of(&used).await, new("new"));
        assert_eq!(store.fetches(), 3);
    }

    #[tokio::test]
    async fn many_who_are_refused_at_once_cause_one_fetch_and_delay_nobody_else() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        let used = value.current();
        let refused: Vec<_> = (0..100)
            .map(|_| {
                let (value, used) = (value.clone(), Arc::clone(&used));
                tokio::spawn(async move { value.instead_of(&used).await })
            })
            .collect();
        while store.fetches() < 2 {
            tokio::task::yield_now().await;
        }
        // It hangs; what there is can be used.
        assert_eq!(*value.current(), "old");
        store.open();
        for told in join_all(refused).await {
            assert_eq!(told.unwrap(), new("new"));
        }
        assert_eq!(store.fetches(), 2);
    }

    #[tokio::test]
    async fn a_request_that_ends_does_not_call_it_off() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        let used = value.current();
        let waited = tokio::time::timeout(Duration::from_millis(1), value.instead_of(&used)).await;
        assert!(waited.is_err());
        store.open();
        assert_eq!(value.instead_of(&used).await, new("new"));
        assert_eq!(store.fetches(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_fetched_or_used_leaves_what_there_was() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        let used = value.current();
        store.fail(Reason::Unavailable);
        assert_eq!(value.instead_of(&used).await, Instead::Unknown);
        clock.advance(Policy::PAUSE);
        store.put("", None);
        assert_eq!(value.instead_of(&used).await, Instead::Unknown);
        clock.advance(Policy::PAUSE);
        store.put("refused", None);
        assert_eq!(value.instead_of(&used).await, Instead::Unknown);
        assert_eq!((store.fetches(), value.current().as_str()), (4, "old"));
        clock.advance(Policy::PAUSE);
        store.put("new", None);
        assert_eq!(value.instead_of(&used).await, new("new"));
    }

    #[tokio::test]
    async fn who_has_something_else_to_do_need_not_wait() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        let used = value.current();
        for _ in 0..10 {
            assert_eq!(value.by_now_instead_of(&used), None);
        }
        store.open();
        value.settled().await;
        let told = value.by_now_instead_of(&used).map(Instead::New);
        assert_eq!((told, store.fetches()), (Some(new("new")), 2));
    }

    #[tokio::test]
    async fn the_pause_after_a_failure_is_short_and_grows() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        let used = value.current();
        let is_fetched = async || {
            let before = store.fetches();
            let told = value.instead_of(&used).await;
            let is_known = store.secret.lock().unwrap().is_ok();
            assert_eq!(told, if is_known { Instead::Nothing } else { Instead::Unknown });
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
        // It is well again: the whole pause, and the next failure is a first one.
        store.put("old", None);
        clock.advance(Policy::PAUSE);
        assert!(is_fetched().await);
        clock.advance(Duration::from_millis(59_999));
        assert!(!is_fetched().await);
        clock.advance(Duration::from_millis(1));
        store.fail(Reason::Unavailable);
        assert!(is_fetched().await);
        store.put("new", None);
        clock.advance(Policy::FIRST_PAUSE);
        assert_eq!(value.instead_of(&used).await, new("new"));
    }

    #[tokio::test]
    async fn the_pause_begins_when_a_fetch_has_failed() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.fail(Reason::Unavailable);
        store.close();
        let used = value.current();
        let failing = async {
            while store.fetches() < 2 {
                tokio::task::yield_now().await;
            }
            clock.advance(Policy::FIRST_PAUSE * 2);
            store.open();
        };
        let (told, ()) = tokio::join!(value.instead_of(&used), failing);
        assert_eq!(told, Instead::Unknown);
        assert_eq!(value.instead_of(&used).await, Instead::Unknown);
        assert_eq!(store.fetches(), 2);
    }

    #[tokio::test]
    async fn what_who_was_refused_no_longer_waits_for_is_waited_for_in_the_end() {
        let moment = Duration::from_millis(1);
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        assert!(tokio::time::timeout(moment, value.instead_of(&value.current())).await.is_err());
        // Who has no time for it leaves it to the next.
        for _ in 0..2 {
            assert!(tokio::time::timeout(moment, value.settled()).await.is_err());
        }
        store.open();
        value.settled().await;
        assert_eq!((store.fetches(), value.current().as_str()), (2, "new"));
    }

    #[tokio::test]
    async fn a_version_before_that_cannot_be_read_is_none() {
        for reason in [Reason::PermissionDenied, Reason::InvalidArgument] {
            let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
            store.fail_previous(Some(reason));
            assert_eq!(value.instead_of(&value.current()).await, new("new"));
            assert!(are(&value, "new", None), "{reason}: {:?}", versions(&value));
            clock.advance(ALMOST);
            assert_eq!((value.current().as_str(), store.fetches()), ("new", 2), "{reason}");
        }
    }

    #[tokio::test]
    async fn a_version_before_that_is_not_known_for_now_is_what_it_was_and_fetched_soon() {
        for (max_age, reason) in [(Some(HOUR), Reason::RateLimited), (None, Reason::TimedOut)] {
            let Fixture { store, clock, value } = fixture(max_age).await;
            store.fail_previous(Some(reason));
            assert_eq!(value.instead_of(&value.current()).await, new("new"));
            assert!(are(&value, "new", Some("old")), "who still uses the old one is not to be refused");
            assert_eq!(value.instead_of(&value.current()).await, Instead::Unknown, "there may be another");
            for pause in [2, 4] {
                let fetches = store.fetches();
                clock.advance(Duration::from_millis(pause * 1_000 - 1));
                let _ = value.current();
                value.settled().await;
                assert_eq!(store.fetches(), fetches, "{pause}");
                clock.advance(Duration::from_millis(1));
                let _ = value.current();
                value.settled().await;
                assert_eq!(store.fetches(), fetches + 1, "{pause}");
                assert!(are(&value, "new", Some("old")), "{:?}", versions(&value));
            }
            // It was changed twice: the old one is not to be accepted.
            store.put("new", Some("between"));
            store.fail_previous(None);
            clock.advance(Duration::from_secs(8));
            let _ = value.current();
            value.settled().await;
            assert!(are(&value, "new", Some("between")), "{:?}", versions(&value));
            let fetches = store.fetches();
            clock.advance(ALMOST);
            let _ = value.current();
            value.settled().await;
            assert_eq!(store.fetches(), fetches, "all is known");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_given_up_on() {
        let Fixture { store, value, .. } = fixture(Some(HOUR)).await;
        store.close();
        assert_eq!(value.instead_of(&value.current()).await, Instead::Unknown);
        assert_eq!(*value.current(), "old");
    }

    #[tokio::test]
    async fn what_has_reached_its_age_is_fetched_beside_its_use() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        clock.advance(ALMOST);
        assert_eq!(*value.current(), "old");
        value.settled().await;
        assert_eq!(store.fetches(), 1);
        clock.advance(Duration::from_secs(1));
        for _ in 0..100 {
            assert_eq!(*value.current(), "old");
        }
        value.settled().await;
        assert_eq!((store.fetches(), value.current().as_str()), (2, "new"));
        clock.advance(ALMOST);
        let _ = value.current();
        value.settled().await;
        assert_eq!(store.fetches(), 2, "its age begins anew");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_over_all_the_same() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        for (fetches, text) in [(2, "second"), (3, "third")] {
            store.put(text, None);
            clock.advance(HOUR);
            let _ = value.current();
            let changed = async {
                while *value.current() != text {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, changed).await.expect("it is fetched");
            assert_eq!(store.fetches(), fetches);
        }
    }

    #[tokio::test]
    async fn what_could_not_be_fetched_for_its_age_is_tried_again_after_a_pause() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.fail(Reason::Unavailable);
        clock.advance(HOUR);
        for fetches in [2, 3] {
            for _ in 0..10 {
                assert_eq!(*value.current(), "old");
                value.settled().await;
            }
            assert_eq!(store.fetches(), fetches);
            clock.advance(Policy::PAUSE);
        }
        store.put("new", None);
        let _ = value.current();
        value.settled().await;
        assert_eq!(*value.current(), "new");
    }

    #[tokio::test]
    async fn without_an_age_only_a_refusal_has_it_fetched() {
        let Fixture { store, clock, value } = fixture(None).await;
        for _ in 0..10 {
            clock.advance(HOUR * 24 * 365);
            let _ = value.current();
            value.settled().await;
        }
        assert_eq!(store.fetches(), 1);
        assert_eq!(value.instead_of(&value.current()).await, new("new"));
    }

    #[tokio::test]
    async fn a_refusal_during_a_fetch_for_its_age_is_told_what_came_of_it() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.close();
        clock.advance(HOUR);
        let used = value.current();
        let refused = async { tokio::join!(value.instead_of(&used), async { store.open() }).0 };
        assert_eq!(refused.await, new("new"));
        assert_eq!(store.fetches(), 2);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_make_it_wait_for_ever() {
        let Fixture { store, clock, value } = fixture(Some(HOUR)).await;
        store.fail(Reason::Unavailable);
        let used = value.current();
        assert_eq!(value.instead_of(&used).await, Instead::Unknown);
        clock.0.store(1, Ordering::SeqCst);
        store.put("new", None);
        assert_eq!(value.instead_of(&used).await, new("new"));
    }

    #[tokio::test]
    async fn its_debug_shows_no_value() {
        let Fixture { value, .. } = fixture(None).await;
        assert!(!format!("{value:?}").contains("old"));
    }
}
