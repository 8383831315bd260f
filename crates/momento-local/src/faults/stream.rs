//! Faults of open subscriptions.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Code, Status};

use super::{ActiveFault, Call, Registry, When};
use crate::status;

/// The faults of one subscription, and the counts that they depend on.
#[derive(Debug)]
pub(crate) struct StreamFaults {
    registry: Arc<Registry>,
    injected: watch::Receiver<()>,
    call: Call,
    /// Requested in the metadata.
    requested: Option<StreamError>,
    /// The number of messages and gaps.
    messages: u64,
    /// The number of all items, heartbeats included.
    items: u64,
    progress: HashMap<u64, Progress>,
}

/// An error after `limit` items of a stream. Heartbeats count, because the SDKs' suites expect the error on an
/// idle subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamError {
    pub(crate) code: Code,
    pub(crate) limit: u64,
}

/// The state of a fault in one subscription.
#[derive(Debug)]
struct Progress {
    /// The number of messages when the subscription first saw the fault.
    since: u64,
    /// The number of messages when the fault last applied. It applies once between two messages.
    applied_at: Option<u64>,
}

impl StreamFaults {
    pub(crate) fn new(registry: Arc<Registry>, call: Call, requested: Option<StreamError>) -> Self {
        let injected = registry.injected.subscribe();
        Self { registry, injected, call, requested, messages: 0, items: 0, progress: HashMap::new() }
    }

    pub(crate) fn count_message(&mut self) {
        self.messages += 1;
        self.items += 1;
    }

    pub(crate) fn count_heartbeat(&mut self) {
        self.items += 1;
    }

    /// Returns the error that the metadata requested, once it is due.
    pub(crate) fn requested_error(&self) -> Option<Status> {
        let requested = self.requested.filter(|requested| self.items >= requested.limit)?;
        Some(status::error(requested.code, "stream error requested in the metadata"))
    }

    /// Returns an injected fault that is due now, and counts it as applied.
    pub(crate) fn due(&mut self) -> Option<Arc<ActiveFault>> {
        self.injected.mark_unchanged();
        let messages = self.messages;
        let all = self.registry.all();
        if self.progress.len() > all.len() {
            self.progress.retain(|id, _| all.iter().any(|active| active.id == *id));
        }
        all.into_iter().find(|active| {
            let When::AfterMessages(after) = active.fault.when else { return false };
            if !active.fault.matches(&self.call) {
                return false;
            }
            let progress = self.progress.entry(active.id);
            let progress = progress.or_insert(Progress { since: messages, applied_at: None });
            if messages - progress.since < after || progress.applied_at == Some(messages) || !active.claim() {
                return false;
            }
            progress.applied_at = Some(messages);
            true
        })
    }

    /// Waits until a fault is injected.
    pub(crate) async fn injected(&mut self) {
        self.injected.changed().await.expect("the sender lives in the registry of `self`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, Rpc};

    fn faults(registry: &Arc<Registry>, requested: Option<StreamError>) -> StreamFaults {
        let call = Call { rpc: Some(Rpc::Subscribe), cache: "cache".to_owned(), topic: "topic".to_owned() };
        StreamFaults::new(Arc::clone(registry), call, requested)
    }

    #[test]
    fn counts_messages_from_start_or_injection() {
        let registry = Arc::new(Registry::default());
        let mut old = faults(&registry, None);
        old.count_message();
        let handle = registry.inject(Fault::stream_error(Code::Internal).after_messages(2).topic("topic"));
        let mut new = faults(&registry, None);
        for stream in [&mut old, &mut new] {
            assert!(stream.due().is_none());
            stream.count_message();
            stream.count_heartbeat();
            assert!(stream.due().is_none());
            stream.count_message();
            assert!(stream.due().is_some());
        }
        assert_eq!(handle.hits(), 2);
    }

    #[test]
    fn applies_fault_once_between_messages_and_limited_times() {
        let registry = Arc::new(Registry::default());
        registry.inject(Fault::delay(std::time::Duration::ZERO).after_messages(0).times(2));
        let mut stream = faults(&registry, None);
        assert!(stream.due().is_some());
        assert!(stream.due().is_none());
        stream.count_message();
        assert!(stream.due().is_some());
        stream.count_message();
        assert!(stream.due().is_none());
    }

    #[test]
    fn forgets_removed_faults() {
        let registry = Arc::new(Registry::default());
        let mut stream = faults(&registry, None);
        for _ in 0..3 {
            let fault = registry.inject(Fault::cut().after_messages(1));
            assert!(stream.due().is_none());
            assert!(stream.progress.len() <= 2, "{stream:?}");
            fault.remove();
        }
    }

    #[test]
    fn requested_error_counts_heartbeats() {
        let registry = Arc::new(Registry::default());
        let mut stream = faults(&registry, Some(StreamError { code: Code::NotFound, limit: 2 }));
        assert!(stream.requested_error().is_none());
        stream.count_heartbeat();
        stream.count_message();
        assert_eq!(stream.requested_error().unwrap().code(), Code::NotFound);
    }
}
