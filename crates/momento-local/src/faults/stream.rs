//! Faults in the middle of a subscription.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Code, Status};

use super::{ActiveFault, Call, Registry, When};
use crate::status;

/// What one subscription has carried so far, and which faults that brings about.
#[derive(Debug)]
pub(crate) struct StreamFaults {
    registry: Arc<Registry>,
    injected: watch::Receiver<()>,
    call: Call,
    /// Asked for in the metadata of the request.
    requested: Option<StreamError>,
    /// Messages and gaps.
    messages: u64,
    /// Everything, heartbeats included.
    items: u64,
    seen: HashMap<u64, Seen>,
}

/// An error once a stream has carried `limit` items, heartbeats included: the suites that ask for it count
/// on an idle subscription to run into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamError {
    pub(crate) code: Code,
    pub(crate) limit: u64,
}

/// What a subscription remembers of a fault.
#[derive(Debug)]
struct Seen {
    /// Messages carried when the fault came to be known.
    since: u64,
    /// Messages carried when it last happened: it happens once between two messages.
    happened_at: Option<u64>,
}

impl StreamFaults {
    pub(crate) fn new(registry: Arc<Registry>, call: Call, requested: Option<StreamError>) -> Self {
        let injected = registry.injected.subscribe();
        Self { registry, injected, call, requested, messages: 0, items: 0, seen: HashMap::new() }
    }

    pub(crate) fn carried_message(&mut self) {
        self.messages += 1;
        self.items += 1;
    }

    pub(crate) fn carried_heartbeat(&mut self) {
        self.items += 1;
    }

    /// The error that the request asked for, once it is due.
    pub(crate) fn requested_error(&self) -> Option<Status> {
        let requested = self.requested.filter(|requested| self.items >= requested.limit)?;
        Some(status::error(requested.code, "stream error asked for by the request"))
    }

    /// The injected fault that is due now, if any; it counts as having happened.
    pub(crate) fn due(&mut self) -> Option<Arc<ActiveFault>> {
        self.injected.mark_unchanged();
        let messages = self.messages;
        self.registry.all().into_iter().find(|active| {
            let When::AfterMessages(after) = active.fault.when else { return false };
            if !active.fault.matches(&self.call) {
                return false;
            }
            let seen = self.seen.entry(active.id).or_insert(Seen { since: messages, happened_at: None });
            if messages - seen.since < after || seen.happened_at == Some(messages) || !active.claim() {
                return false;
            }
            seen.happened_at = Some(messages);
            true
        })
    }

    /// Waits until a fault is injected.
    pub(crate) async fn injected(&mut self) {
        // The sender lives in the registry that `self` holds.
        let _ = self.injected.changed().await;
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
    fn messages_are_counted_from_the_opening_or_the_injection() {
        let registry = Arc::new(Registry::default());
        let mut old = faults(&registry, None);
        old.carried_message();
        let handle = registry.inject(Fault::stream_error(Code::Internal).after_messages(2).topic("topic"));
        let mut new = faults(&registry, None);
        for stream in [&mut old, &mut new] {
            assert!(stream.due().is_none());
            stream.carried_message();
            stream.carried_heartbeat();
            assert!(stream.due().is_none());
            stream.carried_message();
            assert!(stream.due().is_some());
        }
        assert_eq!(handle.hits(), 2);
    }

    #[test]
    fn a_fault_happens_once_between_two_messages_and_only_as_often_as_it_says() {
        let registry = Arc::new(Registry::default());
        registry.inject(Fault::delay(std::time::Duration::ZERO).after_messages(0).times(2));
        let mut stream = faults(&registry, None);
        assert!(stream.due().is_some());
        assert!(stream.due().is_none());
        stream.carried_message();
        assert!(stream.due().is_some());
        stream.carried_message();
        assert!(stream.due().is_none());
    }

    #[test]
    fn the_error_that_a_request_asks_for_counts_heartbeats() {
        let registry = Arc::new(Registry::default());
        let mut stream = faults(&registry, Some(StreamError { code: Code::NotFound, limit: 2 }));
        assert!(stream.requested_error().is_none());
        stream.carried_heartbeat();
        stream.carried_message();
        assert_eq!(stream.requested_error().unwrap().code(), Code::NotFound);
    }
}
