//! Misbehaving on demand.
//!
//! A [`Fault`] says what goes wrong (an error, a delay, silence, a cut connection), for which calls, when
//! in the life of a call, and how often. It is put in place with [`MomentoLocal::inject`] or, as JSON,
//! over the admin port ([`json`]). The faults that Momento's own SDK suites ask for in the metadata of
//! a request are in [`metadata`].
//!
//! [`MomentoLocal::inject`]: crate::MomentoLocal::inject

pub(crate) mod json;
pub(crate) mod metadata;
pub(crate) mod stream;

use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tonic::{Code, Status};

use crate::connection::KillSwitch;
use crate::rpc::Rpc;
use crate::status;

/// Something that goes wrong on purpose.
///
/// ```
/// # use momento_local::{Fault, Rpc};
/// # use tonic::Code;
/// // The first two publishes to one topic are turned away.
/// let busy = Fault::error(Code::Unavailable).on(Rpc::Publish).topic("orders").times(2);
/// // The message is accepted, and then the connection breaks: did it arrive or not?
/// let ambiguous = Fault::cut().on(Rpc::Publish).after_apply();
/// // A subscription that breaks after its third message.
/// let broken = Fault::stream_error(Code::Internal).after_messages(3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    action: Action,
    when: When,
    rpc: Option<Rpc>,
    cache: Option<String>,
    topic: Option<String>,
    times: Option<usize>,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Error { code: Code, message: Option<String>, metadata: Vec<(String, String)> },
    Delay(Duration),
    Hang,
    Cut,
}

/// When in the life of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    BeforeApply,
    AfterApply,
    AfterMessages(u64),
}

impl Fault {
    /// The call fails with this code.
    #[must_use]
    pub fn error(code: Code) -> Self {
        Self::new(Action::Error { code, message: None, metadata: Vec::new() })
    }

    /// The call takes longer, and then goes on as usual.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self::new(Action::Delay(delay))
    }

    /// The call gets no answer until the fault is removed; then it goes on as usual.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(Action::Hang)
    }

    /// The TCP connection that carries the call is dropped, with everything else on it.
    #[must_use]
    pub fn cut() -> Self {
        Self::new(Action::Cut)
    }

    /// Subscriptions, those that are open included, end with this code: at once, or with
    /// [`after_messages`](Self::after_messages) later.
    #[must_use]
    pub fn stream_error(code: Code) -> Self {
        Self::error(code).after_messages(0)
    }

    fn new(action: Action) -> Self {
        Self { action, when: When::BeforeApply, rpc: None, cache: None, topic: None, times: None }
    }

    /// Only calls of this kind; otherwise every call.
    #[must_use]
    pub fn on(mut self, rpc: Rpc) -> Self {
        self.rpc = Some(rpc);
        self
    }

    /// Only calls that name this cache.
    #[must_use]
    pub fn cache(mut self, cache: impl Into<String>) -> Self {
        self.cache = Some(cache.into());
        self
    }

    /// Only calls that name this topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Happens this many times, instead of for ever.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// The message of an error, in place of a general one. Without effect on other faults.
    #[must_use]
    pub fn message(mut self, text: impl Into<String>) -> Self {
        if let Action::Error { message, .. } = &mut self.action {
            *message = Some(text.into());
        }
        self
    }

    /// A trailer of an error, for example `err`. Without effect on other faults.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        if let Action::Error { metadata, .. } = &mut self.action {
            metadata.push((key.into(), value.into()));
        }
        self
    }

    /// Happens when the call has already had its effect: the caller cannot know whether it did.
    #[must_use]
    pub fn after_apply(mut self) -> Self {
        self.when = When::AfterApply;
        self
    }

    /// Happens in a subscription, once it has carried this many messages (gaps count, heartbeats do not)
    /// since it was opened or since the fault was injected, whichever is later. A delay is a pause then,
    /// and comes back after every further message.
    #[must_use]
    pub fn after_messages(mut self, messages: u64) -> Self {
        self.when = When::AfterMessages(messages);
        self.rpc = Some(Rpc::Subscribe);
        self
    }

    fn matches(&self, call: &Call) -> bool {
        self.rpc.is_none_or(|rpc| call.rpc == Some(rpc))
            && self.cache.as_ref().is_none_or(|cache| *cache == call.cache)
            && self.topic.as_ref().is_none_or(|topic| *topic == call.topic)
    }
}

impl Action {
    fn status(code: Code, message: Option<&str>, metadata: &[(String, String)]) -> Status {
        let message = message.unwrap_or("injected fault");
        if metadata.is_empty() {
            return status::error(code, message);
        }
        let mut trailers = MetadataMap::new();
        for (key, value) in metadata {
            let (Ok(name), Ok(value)) = (AsciiMetadataKey::from_str(key), value.parse()) else {
                tracing::warn!(key, "a fault's metadata is not valid gRPC metadata; left out");
                continue;
            };
            trailers.append(name, value);
        }
        Status::with_metadata(code, message, trailers)
    }
}

/// A call, as far as faults tell calls apart.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `None` for a method that local Momento does not serve.
    pub(crate) rpc: Option<Rpc>,
    pub(crate) cache: String,
    pub(crate) topic: String,
}

/// What ends a call's waiting besides its fault.
#[derive(Clone, Debug)]
pub(crate) struct CallContext {
    /// Cuts the connection that the call came over.
    pub(crate) connection: Option<KillSwitch>,
    pub(crate) shutdown: CancellationToken,
}

/// A fault in place.
#[derive(Debug)]
pub(crate) struct ActiveFault {
    id: u64,
    fault: Fault,
    hits: watch::Sender<usize>,
    removed: CancellationToken,
}

impl ActiveFault {
    /// Takes one of the fault's turns, if it has any left.
    fn claim(&self) -> bool {
        self.hits.send_if_modified(|hits| {
            let left = !self.removed.is_cancelled() && self.fault.times.is_none_or(|times| *hits < times);
            *hits += usize::from(left);
            left
        })
    }

    /// Makes it happen. `Ok` means that the call goes on.
    pub(crate) async fn apply(&self, context: &CallContext) -> Result<(), Status> {
        let lifted = async {
            match &self.fault.action {
                Action::Delay(delay) => {
                    let _ = tokio::time::timeout(*delay, self.removed.cancelled()).await;
                }
                _ => self.removed.cancelled().await,
            }
        };
        match &self.fault.action {
            Action::Error { code, message, metadata } => {
                Err(Action::status(*code, message.as_deref(), metadata))
            }
            Action::Cut => {
                if let Some(connection) = &context.connection {
                    connection.cut();
                }
                Err(status::cut())
            }
            Action::Delay(_) | Action::Hang => tokio::select! {
                () = lifted => Ok(()),
                () = context.shutdown.cancelled() => Err(status::shutting_down()),
            },
        }
    }
}

/// The faults in place.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// Bumped on every injection, for the subscriptions that are already open.
    injected: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    /// In the order of injection, which is the order in which they are tried.
    active: Vec<Arc<ActiveFault>>,
}

impl Registry {
    pub(crate) fn inject(self: &Arc<Self>, fault: Fault) -> FaultHandle {
        let mut state = self.state();
        state.last_id += 1;
        let active = Arc::new(ActiveFault {
            id: state.last_id,
            fault,
            hits: watch::Sender::new(0),
            removed: CancellationToken::new(),
        });
        state.active.push(Arc::clone(&active));
        drop(state);
        self.injected.send_replace(());
        FaultHandle { registry: Arc::clone(self), active }
    }

    /// Removes one fault; `false` if there is none with this id.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut state = self.state();
        let Some(place) = state.active.iter().position(|active| active.id == id) else { return false };
        state.active.remove(place).removed.cancel();
        true
    }

    pub(crate) fn clear(&self) {
        for active in self.state().active.drain(..) {
            active.removed.cancel();
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<ActiveFault>> {
        self.state().active.clone()
    }

    /// Lets happen what is due at this point of a call: delays one after the other, until something
    /// ends the call.
    pub(crate) async fn apply(&self, when: When, call: &Call, context: &CallContext) -> Result<(), Status> {
        for active in self.all() {
            if active.fault.when == when && active.fault.matches(call) && active.claim() {
                active.apply(context).await?;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault that was injected. Dropping the handle leaves the fault in place.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    registry: Arc<Registry>,
    active: Arc<ActiveFault>,
}

impl FaultHandle {
    /// How often the fault has happened.
    #[must_use]
    pub fn hits(&self) -> usize {
        *self.active.hits.borrow()
    }

    /// Waits until the fault has happened at least `hits` times.
    pub async fn wait_for_hits(&self, hits: usize) {
        // The sender lives in `self`, so this ends only with the hits.
        let _ = self.active.hits.subscribe().wait_for(|happened| *happened >= hits).await;
    }

    /// Takes the fault away. Calls that it holds up go on.
    pub fn remove(&self) {
        self.registry.remove(self.active.id);
    }

    pub(crate) fn id(&self) -> u64 {
        self.active.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(topic: &str) -> Call {
        Call { rpc: Some(Rpc::Publish), cache: "cache".to_owned(), topic: topic.to_owned() }
    }

    fn context() -> CallContext {
        CallContext { connection: None, shutdown: CancellationToken::new() }
    }

    async fn code(registry: &Registry, when: When, call: &Call) -> Option<Code> {
        registry.apply(when, call, &context()).await.err().map(|status| status.code())
    }

    #[tokio::test]
    async fn a_fault_hits_only_what_it_names_and_as_often_as_it_says() {
        let registry = Arc::new(Registry::default());
        let fault = Fault::error(Code::Unavailable).on(Rpc::Publish).cache("cache").topic("a").times(2);
        let handle = registry.inject(fault);
        let before = When::BeforeApply;
        assert_eq!(code(&registry, before, &publish("b")).await, None);
        assert_eq!(code(&registry, When::AfterApply, &publish("a")).await, None);
        let create = Call { rpc: Some(Rpc::CreateCache), ..publish("a") };
        assert_eq!(code(&registry, before, &create).await, None);
        assert_eq!(handle.hits(), 0);
        assert_eq!(code(&registry, before, &publish("a")).await, Some(Code::Unavailable));
        assert_eq!(code(&registry, before, &publish("a")).await, Some(Code::Unavailable));
        assert_eq!(code(&registry, before, &publish("a")).await, None);
        assert_eq!(handle.hits(), 2);
    }

    #[tokio::test]
    async fn the_first_fault_injected_wins_and_can_be_removed() {
        let registry = Arc::new(Registry::default());
        let first = registry.inject(Fault::error(Code::Internal));
        let second = registry.inject(Fault::error(Code::Aborted));
        assert_eq!(code(&registry, When::BeforeApply, &publish("a")).await, Some(Code::Internal));
        first.remove();
        assert_eq!(code(&registry, When::BeforeApply, &publish("a")).await, Some(Code::Aborted));
        registry.clear();
        assert_eq!(code(&registry, When::BeforeApply, &publish("a")).await, None);
        assert_eq!((first.hits(), second.hits()), (1, 1));
    }

    #[tokio::test]
    async fn an_error_carries_its_message_and_metadata() {
        let fault = Fault::error(Code::ResourceExhausted)
            .message("slow down")
            .metadata("err", "operations_rate_limit_exceeded")
            .metadata("not a key", "left out");
        let registry = Arc::new(Registry::default());
        registry.inject(fault);
        let status = registry.apply(When::BeforeApply, &publish("a"), &context()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "slow down"));
        assert_eq!(status.metadata().get("err").unwrap(), "operations_rate_limit_exceeded");
        assert_eq!(status.metadata().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn delays_add_up_and_a_hang_lasts_until_it_is_removed() {
        let registry = Arc::new(Registry::default());
        registry.inject(Fault::delay(Duration::from_secs(2)).times(1));
        registry.inject(Fault::delay(Duration::from_secs(3)).times(1));
        let start = tokio::time::Instant::now();
        assert_eq!(code(&registry, When::BeforeApply, &publish("a")).await, None);
        assert_eq!(start.elapsed().as_secs(), 5);

        let hang = registry.inject(Fault::hang());
        let call = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { code(&registry, When::BeforeApply, &publish("a")).await }
        });
        hang.wait_for_hits(1).await;
        assert!(!call.is_finished());
        hang.remove();
        assert_eq!(call.await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_end_of_the_server_ends_a_hang() {
        let registry = Arc::new(Registry::default());
        registry.inject(Fault::hang());
        let context = context();
        context.shutdown.cancel();
        let status = registry.apply(When::BeforeApply, &publish("a"), &context).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }
}
