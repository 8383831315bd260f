//! Faults on demand.
//!
//! A [`Fault`] is an error, a delay, a hang or a cut connection. It says which calls it applies to, at which
//! point of a call, and how often. [`MomentoLocal::inject`] injects it, and so does the admin port, as JSON
//! ([`json`]). Momento's own SDK suites request faults in the metadata of a request ([`metadata`]).
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

/// A fault to inject.
///
/// ```
/// # use momento_local::{Fault, Rpc};
/// # use tonic::Code;
/// // The first two publishes to one topic fail.
/// let busy = Fault::error(Code::Unavailable).on(Rpc::Publish).topic("orders").times(2);
/// // The topic accepts the message, and then the connection breaks.
/// let ambiguous = Fault::cut().on(Rpc::Publish).after_apply();
/// // A subscription ends with an error after its third message.
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

/// The effect of a fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Error { code: Code, message: Option<String>, metadata: Vec<(String, String)> },
    Delay(Duration),
    Hang,
    Cut,
}

/// The point of a call at which a fault applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    BeforeApply,
    AfterApply,
    AfterMessages(u64),
}

impl Fault {
    /// Fails the call with this code.
    #[must_use]
    pub fn error(code: Code) -> Self {
        Self::new(Action::Error { code, message: None, metadata: Vec::new() })
    }

    /// Delays the call, which then continues as usual.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self::new(Action::Delay(delay))
    }

    /// Holds the call up until the fault is removed. Then the call continues as usual.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(Action::Hang)
    }

    /// Cuts the TCP connection of the call, with all other calls on it.
    #[must_use]
    pub fn cut() -> Self {
        Self::new(Action::Cut)
    }

    /// Ends subscriptions with this code, including the open ones: at once, or later with
    /// [`after_messages`](Self::after_messages).
    #[must_use]
    pub fn stream_error(code: Code) -> Self {
        Self::error(code).after_messages(0)
    }

    fn new(action: Action) -> Self {
        Self { action, when: When::BeforeApply, rpc: None, cache: None, topic: None, times: None }
    }

    /// Limits the fault to calls of this method. Default: every call.
    #[must_use]
    pub fn on(mut self, rpc: Rpc) -> Self {
        self.rpc = Some(rpc);
        self
    }

    /// Limits the fault to calls that name this cache.
    #[must_use]
    pub fn cache(mut self, cache: impl Into<String>) -> Self {
        self.cache = Some(cache.into());
        self
    }

    /// Limits the fault to calls that name this topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Limits how often the fault applies. Default: without limit.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Sets the message of an error. No effect on other faults.
    #[must_use]
    pub fn message(mut self, text: impl Into<String>) -> Self {
        if let Action::Error { message, .. } = &mut self.action {
            *message = Some(text.into());
        }
        self
    }

    /// Adds a trailer to an error, for example `err`. No effect on other faults.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        if let Action::Error { metadata, .. } = &mut self.action {
            metadata.push((key.into(), value.into()));
        }
        self
    }

    /// Applies the fault after the call's effect: the caller cannot know whether the call succeeded.
    #[must_use]
    pub fn after_apply(mut self) -> Self {
        self.when = When::AfterApply;
        self
    }

    /// Applies the fault to a subscription after this many messages (gaps count, heartbeats do not). The count
    /// begins at the start of the subscription or at the injection of the fault, whichever is later. A delay
    /// applies again after each further message.
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
                tracing::warn!(key, "ignored invalid gRPC metadata of a fault");
                continue;
            };
            trailers.append(name, value);
        }
        Status::with_metadata(code, message, trailers)
    }
}

/// The properties of a call that faults match.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `None` for a method that local Momento does not serve.
    pub(crate) rpc: Option<Rpc>,
    pub(crate) cache: String,
    pub(crate) topic: String,
}

/// What a fault can cut, and what ends its wait.
#[derive(Clone, Debug)]
pub(crate) struct CallContext {
    /// Cuts the connection of the call.
    pub(crate) connection: Option<KillSwitch>,
    pub(crate) shutdown: CancellationToken,
}

/// An injected fault, with its hits.
#[derive(Debug)]
pub(crate) struct ActiveFault {
    id: u64,
    fault: Fault,
    hits: watch::Sender<usize>,
    removed: CancellationToken,
}

impl ActiveFault {
    /// Counts a hit and returns true, unless the fault is removed or used up.
    fn claim(&self) -> bool {
        self.hits.send_if_modified(|hits| {
            let is_left = !self.removed.is_cancelled() && self.fault.times.is_none_or(|times| *hits < times);
            *hits += usize::from(is_left);
            is_left
        })
    }

    /// Applies the fault. `Ok` means that the call continues.
    pub(crate) async fn apply(&self, context: &CallContext) -> Result<(), Status> {
        let released = async {
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
                () = released => Ok(()),
                () = context.shutdown.cancelled() => Err(status::shutting_down()),
            },
        }
    }
}

/// The active faults.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// Notifies open subscriptions of each injection.
    injected: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    /// In the order of injection, in which they are tried.
    active: Vec<Arc<ActiveFault>>,
}

impl Registry {
    pub(crate) fn inject(self: &Arc<Self>, fault: Fault) -> FaultHandle {
        self.inject_within(usize::MAX, fault).expect("memory ends before this limit")
    }

    /// Injects a fault; returns `None` if `limit` faults are active.
    pub(crate) fn inject_within(self: &Arc<Self>, limit: usize, fault: Fault) -> Option<FaultHandle> {
        let mut state = self.state();
        if state.active.len() >= limit {
            return None;
        }
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
        Some(FaultHandle { registry: Arc::clone(self), active })
    }

    /// Removes a fault; returns false if the id is unknown.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut state = self.state();
        let Some(index) = state.active.iter().position(|active| active.id == id) else { return false };
        state.active.remove(index).removed.cancel();
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

    /// Applies the faults that are due at this point of a call, one after the other, until one ends the call.
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

/// A handle of an injected fault. A drop does not remove the fault.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    registry: Arc<Registry>,
    active: Arc<ActiveFault>,
}

impl FaultHandle {
    /// Returns how often the fault has applied.
    #[must_use]
    pub fn hits(&self) -> usize {
        *self.active.hits.borrow()
    }

    /// Waits until the fault has applied at least `hits` times.
    pub async fn wait_for_hits(&self, hits: usize) {
        let mut counted = self.active.hits.subscribe();
        counted.wait_for(|counted| *counted >= hits).await.expect("the sender lives in `self`");
    }

    /// Removes the fault. Calls that it holds up continue.
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
    async fn applies_fault_only_to_matching_calls_and_limited_times() {
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
    async fn applies_first_injected_fault_until_removed() {
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
    async fn error_has_message_and_metadata_of_fault() {
        let fault = Fault::error(Code::ResourceExhausted)
            .message("slow down")
            .metadata("err", "operations_rate_limit_exceeded")
            .metadata("not a key", "ignored");
        let registry = Arc::new(Registry::default());
        registry.inject(fault);
        let status = registry.apply(When::BeforeApply, &publish("a"), &context()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "slow down"));
        assert_eq!(status.metadata().get("err").unwrap(), "operations_rate_limit_exceeded");
        assert_eq!(status.metadata().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn adds_up_delays_and_hangs_until_removed() {
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
    async fn shutdown_ends_hang() {
        let registry = Arc::new(Registry::default());
        registry.inject(Fault::hang());
        let context = context();
        context.shutdown.cancel();
        let status = registry.apply(When::BeforeApply, &publish("a"), &context).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }
}
