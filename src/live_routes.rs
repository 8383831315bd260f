//! The routes in use, read again when their source may have changed.
//!
//! [`LiveRoutes::current`] never waits. [`LiveRoutes::check`] starts a check when the last one is old enough. Listeners call it
//! after an event, so that a check delays no event, and no timer is needed: Lambda stops the clock between two
//! invocations. New routes without faults replace those in use. An event that is being handled keeps the routes that it
//! began with.
//!
//! A check that fails leaves the routes as they are. It writes a line with the metric `RoutesNotUpdated`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use momento_webhook::Millis;
use rand::Rng as _;
use tokio::sync::watch;

use crate::request_log::RequestLog;
use fanout_core::clock::Clock;
use fanout_core::file::{self, FileError};
use fanout_core::route::Routes;
use fanout_core::transform::Transforms;

/// Routes, and the version of the text that has them.
#[derive(Clone, Debug, Default)]
pub struct VersionedRoutes {
    /// The routes.
    pub routes: Routes,
    /// The beginning of the SHA-256 of their text; `None` if the settings define them without a text.
    pub version: Option<String>,
    /// The number of routes that were in use before them in this process.
    pub generation: u64,
}

/// Why the routes could not be updated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotUpdated {
    /// The source could not be read.
    Unreadable(String),
    /// The text has faults.
    Invalid(String),
}

/// Reads the text of the routes.
pub type ReadText = Box<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// Makes routes from a text. An error lists all faults.
pub type ParseRoutes = Box<dyn Fn(&str) -> Result<VersionedRoutes, String> + Send + Sync>;

/// What a check needs.
pub struct RoutesOrigin {
    /// The place of the text, as in `FANOUT_CONFIG`.
    pub place: String,
    /// Reads the text.
    pub read: ReadText,
    /// Makes the routes.
    pub parse: ParseRoutes,
    /// The time of day. A monotonic clock can stand still while Lambda does.
    pub clock: Arc<dyn Clock>,
    /// The age of a check after which there is another one.
    pub max_age: Duration,
    /// Takes the line of a check that failed.
    pub log: RequestLog,
}

/// Routes that are replaced when their source changes. A clone has the same routes.
#[derive(Clone)]
pub struct LiveRoutes {
    state: watch::Sender<State>,
    /// `None` for routes that do not change.
    origin: Option<Arc<RoutesOrigin>>,
}

struct State {
    routes: Arc<VersionedRoutes>,
    /// When the next check may start.
    due: Millis,
    /// True while a check runs. There is one at a time.
    is_checking: bool,
    /// The version that the last check has rejected, and why.
    not_updated: Option<(Option<String>, NotUpdated)>,
}

/// What a check has found.
enum Checked {
    Same,
    New(Box<VersionedRoutes>),
    Failed(Option<String>, NotUpdated),
}

impl VersionedRoutes {
    /// Reads the routes in a text.
    ///
    /// # Errors
    /// All faults, in the order of the text.
    pub fn read(text: &str, transforms: &Transforms) -> Result<Self, Vec<FileError>> {
        let routes = file::read(text, transforms, fanout_aws::KINDS)?;
        Ok(Self { routes, version: Some(file::version(text)), generation: 0 })
    }
}

impl From<Routes> for VersionedRoutes {
    fn from(routes: Routes) -> Self {
        Self { routes, version: None, generation: 0 }
    }
}

/// Wraps routes that do not change.
impl From<VersionedRoutes> for LiveRoutes {
    fn from(routes: VersionedRoutes) -> Self {
        Self::new(routes, None)
    }
}

/// Wraps routes that do not change.
impl From<Routes> for LiveRoutes {
    fn from(routes: Routes) -> Self {
        VersionedRoutes::from(routes).into()
    }
}

impl LiveRoutes {
    /// Wraps routes that were read from `origin`; `None` if they do not change.
    #[must_use]
    pub fn new(routes: VersionedRoutes, origin: Option<RoutesOrigin>) -> Self {
        let due = origin.as_ref().map_or(Millis::MAX, RoutesOrigin::due);
        let state = State { routes: Arc::new(routes), due, is_checking: false, not_updated: None };
        Self { state: watch::Sender::new(state), origin: origin.map(Arc::new) }
    }

    /// Returns the routes in use.
    #[must_use]
    pub fn current(&self) -> Arc<VersionedRoutes> {
        Arc::clone(&self.state.borrow().routes)
    }

    /// Returns why the last check failed, if it did.
    #[must_use]
    pub fn not_updated(&self) -> Option<NotUpdated> {
        self.state.borrow().not_updated.as_ref().map(|(_, reason)| reason.clone())
    }

    /// Starts a check if the last one is old enough and none runs. It needs a Tokio runtime then.
    pub fn check(&self) {
        let Some(origin) = &self.origin else { return };
        let starts = self.state.send_if_modified(|state| {
            let starts = !state.is_checking && origin.clock.now() >= state.due;
            state.is_checking |= starts;
            starts
        });
        if !starts {
            return;
        }
        let (state, origin) = (self.state.clone(), Arc::clone(origin));
        tokio::spawn(async move {
            let (in_use, rejected) = {
                let state = state.borrow();
                let rejected = state.not_updated.clone();
                (Arc::clone(&state.routes), rejected)
            };
            // In a task of its own, a panic is a failed check and not one that never ends.
            let checking = tokio::spawn(Arc::clone(&origin).check(in_use, rejected));
            let checked = checking.await.unwrap_or_else(|_| {
                Checked::Failed(None, NotUpdated::Unreadable("the check panicked".to_owned()))
            });
            origin.end_check(&state, checked);
        });
    }

    /// Waits until the current check ends. Lambda stands still between two invocations, and would cut off a check.
    pub async fn settled(&self) {
        let mut state = self.state.subscribe();
        state.wait_for(|state| !state.is_checking).await.expect("the sender is in `self`");
    }
}

impl RoutesOrigin {
    /// Returns the time of the next check: up to half earlier than at the maximum age, because many environments start at
    /// the same time.
    fn due(&self) -> Millis {
        let most = Millis::try_from(self.max_age.as_millis()).unwrap_or(Millis::MAX);
        self.clock.now().saturating_add(rand::rng().random_range(most / 2..=most))
    }

    /// Reads the source. `rejected` is the version that the last check has rejected: it is not read again.
    async fn check(
        self: Arc<Self>,
        in_use: Arc<VersionedRoutes>,
        rejected: Option<(Option<String>, NotUpdated)>,
    ) -> Checked {
        let text = match (self.read)().await {
            Ok(text) => text,
            Err(error) => return Checked::Failed(None, NotUpdated::Unreadable(error)),
        };
        let version = Some(file::version(&text));
        if version == in_use.version {
            return Checked::Same;
        }
        if let Some((known, reason)) = rejected.filter(|(known, _)| *known == version) {
            return Checked::Failed(known, reason);
        }
        match (self.parse)(&text) {
            Ok(routes) => {
                Checked::New(Box::new(VersionedRoutes { generation: in_use.generation + 1, ..routes }))
            }
            Err(faults) => Checked::Failed(version, NotUpdated::Invalid(faults)),
        }
    }

    fn end_check(&self, state: &watch::Sender<State>, checked: Checked) {
        let due = self.due();
        let (place, mut failure) = (&self.place, None);
        state.send_modify(|state| {
            (state.due, state.is_checking, state.not_updated) = (due, false, None);
            match checked {
                Checked::Same => {}
                Checked::New(routes) => {
                    let version = routes.version.as_deref();
                    tracing::info!(place, version, "the routes have changed");
                    state.routes = Arc::from(routes);
                }
                Checked::Failed(version, reason) => {
                    failure = Some((state.routes.version.clone(), reason.clone()));
                    state.not_updated = Some((version, reason));
                }
            }
        });
        if let Some((in_use, NotUpdated::Unreadable(reason) | NotUpdated::Invalid(reason))) = failure {
            self.log.write_routes_not_updated(self.clock.now(), place, in_use.as_deref(), &reason);
        }
    }
}

impl fmt::Debug for LiveRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.origin.as_ref().map(|origin| &origin.place);
        f.debug_struct("LiveRoutes").field("place", &place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    const MAX_AGE: Duration = Duration::from_mins(5);
    const FIRST: &str = "[[routes]]\ntopic = 'in'\ndestinations = ['first']";
    const SECOND: &str = "[[routes]]\ntopic = 'in'\ndestinations = ['second']";
    const FAULTY: &str = "[[routes]]\ntopic = 'in'\ndestinations = ['in']";

    #[derive(Debug, Default)]
    struct FakeClock(AtomicU64);

    impl Clock for FakeClock {
        fn now(&self) -> Millis {
            self.0.load(Ordering::SeqCst)
        }
    }

    struct Fixture {
        routes: LiveRoutes,
        clock: Arc<FakeClock>,
        text: Arc<Mutex<Result<String, String>>>,
        reads: Arc<AtomicU64>,
        parses: Arc<AtomicU64>,
        gate: Arc<Semaphore>,
    }

    fn parsed(text: &str) -> Result<VersionedRoutes, String> {
        VersionedRoutes::read(text, &Transforms::standard()).map_err(|errors| errors[0].to_string())
    }

    /// Routes of `FIRST`. A read waits while the gate is closed.
    fn fixture() -> Fixture {
        let (clock, gate) = (Arc::<FakeClock>::default(), Arc::new(Semaphore::new(1_000)));
        let text = Arc::new(Mutex::new(Ok(FIRST.to_owned())));
        let (reads, parses) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let read: ReadText = {
            let (text, reads, gate) = (Arc::clone(&text), Arc::clone(&reads), Arc::clone(&gate));
            Box::new(move || {
                let (text, reads, gate) = (Arc::clone(&text), Arc::clone(&reads), Arc::clone(&gate));
                async move {
                    reads.fetch_add(1, Ordering::SeqCst);
                    drop(gate.acquire().await);
                    text.lock().unwrap().clone()
                }
                .boxed()
            })
        };
        let counted = Arc::clone(&parses);
        let parse: ParseRoutes = Box::new(move |text| {
            counted.fetch_add(1, Ordering::SeqCst);
            assert!(!text.contains("panic"));
            parsed(text)
        });
        let origin = RoutesOrigin {
            place: "ssm:/routes".to_owned(),
            read,
            parse,
            clock: Arc::<FakeClock>::clone(&clock),
            max_age: MAX_AGE,
            log: RequestLog::Off,
        };
        let routes = LiveRoutes::new(parsed(FIRST).unwrap(), Some(origin));
        Fixture { routes, clock, text, reads, parses, gate }
    }

    impl Fixture {
        fn put(&self, text: &str) {
            *self.text.lock().unwrap() = Ok(text.to_owned());
        }

        fn advance(&self, by: Duration) {
            self.clock.0.fetch_add(Millis::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
        }

        /// Lets the maximum age pass, and waits for the check.
        async fn checked(&self) {
            self.advance(MAX_AGE);
            self.routes.check();
            self.routes.settled().await;
        }

        fn outbound(&self) -> String {
            outbound(&self.routes.current())
        }
    }

    fn outbound(routes: &VersionedRoutes) -> String {
        routes.routes.all()[0].destinations()[0].to.to_string()
    }

    #[tokio::test]
    async fn reads_source_once_within_maximum_age_and_not_earlier_than_half_of_it() {
        let fixture = fixture();
        fixture.advance(Duration::from_millis(149_999));
        fixture.routes.check();
        fixture.routes.settled().await;
        assert_eq!(fixture.reads.load(Ordering::SeqCst), 0);
        for reads in 1..4 {
            fixture.advance(MAX_AGE);
            for _ in 0..10 {
                fixture.routes.check();
                fixture.routes.settled().await;
            }
            assert_eq!(fixture.reads.load(Ordering::SeqCst), reads);
        }
        assert_eq!(fixture.parses.load(Ordering::SeqCst), 0, "the text is the same");
    }

    #[tokio::test]
    async fn takes_over_new_routes_and_leaves_old_ones_to_their_events() {
        let fixture = fixture();
        let old = fixture.routes.current();
        fixture.put(SECOND);
        fixture.gate.forget_permits(usize::MAX);
        fixture.advance(MAX_AGE);
        fixture.routes.check();
        assert_eq!(fixture.outbound(), "first", "a check delays nothing");
        fixture.gate.add_permits(1);
        fixture.routes.settled().await;
        let new = fixture.routes.current();
        assert_eq!((outbound(&old), outbound(&new)), ("first".to_owned(), "second".to_owned()));
        assert_eq!((old.generation, new.generation), (0, 1));
        assert_ne!(old.version, new.version);
        fixture.put(FIRST);
        fixture.gate.add_permits(1);
        fixture.checked().await;
        let restored = fixture.routes.current();
        assert_eq!((restored.generation, &restored.version), (2, &old.version));
    }

    #[tokio::test]
    async fn keeps_routes_while_new_ones_have_faults() {
        let fixture = fixture();
        fixture.put(FAULTY);
        for _ in 0..3 {
            fixture.checked().await;
            assert_eq!(fixture.outbound(), "first");
            let Some(NotUpdated::Invalid(faults)) = fixture.routes.not_updated() else {
                panic!("it is invalid")
            };
            assert!(faults.contains("feeds itself"), "{faults}");
        }
        assert_eq!(fixture.parses.load(Ordering::SeqCst), 1, "the same text is not parsed again");
        fixture.put("panic");
        fixture.checked().await;
        assert_eq!(fixture.outbound(), "first");
        assert!(fixture.routes.not_updated().is_some());
        fixture.put(SECOND);
        fixture.checked().await;
        assert_eq!((fixture.outbound().as_str(), fixture.routes.not_updated()), ("second", None));
    }

    #[tokio::test]
    async fn keeps_routes_while_source_cannot_be_read() {
        let fixture = fixture();
        *fixture.text.lock().unwrap() = Err("not allowed".to_owned());
        fixture.checked().await;
        assert_eq!(fixture.outbound(), "first");
        let expected = Some(NotUpdated::Unreadable("not allowed".to_owned()));
        assert_eq!(fixture.routes.not_updated(), expected);
        fixture.put(FIRST);
        fixture.checked().await;
        assert_eq!(fixture.routes.not_updated(), None);
    }

    #[tokio::test]
    async fn never_checks_fixed_routes() {
        let routes = LiveRoutes::from(parsed(FIRST).unwrap());
        routes.check();
        routes.settled().await;
        assert_eq!(outbound(&routes.current()), "first");
    }
}
