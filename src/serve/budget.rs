//! Limits on what callers can hold before a request is verified: connections, and memory for bodies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The time between two warnings about the same budget.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// An amount that many leases share. When it runs short, the lease that has been evictable for longest is evicted.
#[derive(Debug)]
pub(super) struct Budget {
    name: &'static str,
    limit: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// The part of `used` whose leases are evicted and not dropped yet.
    leaving: usize,
    /// The evictable leases, in the order in which they became evictable.
    evictable: BTreeMap<u64, Evictable>,
    next_ticket: u64,
    evicted_since_warning: u64,
    last_warning: Option<Instant>,
}

#[derive(Debug)]
struct Evictable {
    amount: usize,
    evicted: CancellationToken,
}

/// A part of a [`Budget`]. It is free again when the lease is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    budget: Arc<Budget>,
    amount: usize,
    /// The place in the order of evictable leases.
    ticket: Option<u64>,
    evicted: CancellationToken,
}

/// The lease is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evicted;

impl Budget {
    /// Creates a budget. The log names it by `name` when it runs short.
    pub(super) fn new(name: &'static str, limit: usize) -> Arc<Self> {
        Arc::new(Self { name, limit, state: Mutex::default(), changed: Notify::new() })
    }

    /// Returns an empty lease that is not evictable.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        let evicted = CancellationToken::new();
        Lease { budget: Arc::clone(self), amount: 0, ticket: None, evicted }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts leases until `amount` is free once they are dropped, or no lease is evictable.
    fn evict_for(&self, state: &mut State, amount: usize) {
        while state.used - state.leaving + amount > self.limit {
            let Some((_, lease)) = state.evictable.pop_first() else { return };
            state.leaving += lease.amount;
            lease.evicted.cancel();
            state.evicted_since_warning += 1;
        }
    }

    /// Logs evictions, at most once in [`WARNING_INTERVAL`].
    fn warn(&self, state: &mut State) {
        let is_due = state.last_warning.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL);
        if state.evicted_since_warning > 0 && is_due {
            state.last_warning = Some(Instant::now());
            let evicted = std::mem::take(&mut state.evicted_since_warning);
            tracing::warn!(limit = self.limit, evicted, "{} at the limit: the oldest give way", self.name);
        }
    }
}

impl Lease {
    /// Takes `amount` more. If it is not free, evicts other leases and waits for it.
    ///
    /// # Errors
    /// If this lease is evicted itself.
    pub(super) async fn grow(&mut self, amount: usize) -> Result<(), Evicted> {
        let budget = Arc::clone(&self.budget);
        let mut has_waited = false;
        loop {
            {
                let mut state = budget.state();
                if !self.evicted.is_cancelled() {
                    budget.evict_for(&mut state, amount);
                    budget.warn(&mut state);
                }
                if self.evicted.is_cancelled() {
                    return Err(Evicted);
                }
                if state.used + amount <= budget.limit {
                    state.used += amount;
                    self.amount += amount;
                    if let Some(place) = self.ticket.and_then(|ticket| state.evictable.get_mut(&ticket)) {
                        place.amount = self.amount;
                    }
                    if has_waited {
                        // Each change wakes one lease, so that thousands do not wake for each change. There may be room for
                        // another one.
                        budget.changed.notify_one();
                    }
                    return Ok(());
                }
            }
            budget.changed.notified().await;
            has_waited = true;
        }
    }

    /// Makes the lease evictable, after all others that are, or not evictable. An evicted lease stays evicted.
    pub(super) fn set_evictable(&mut self, is_evictable: bool) {
        let mut state = self.budget.state();
        if self.evicted.is_cancelled() {
            return;
        }
        if let Some(ticket) = self.ticket {
            state.evictable.remove(&ticket);
        }
        self.ticket = is_evictable.then_some(state.next_ticket);
        if let Some(ticket) = self.ticket {
            let place = Evictable { amount: self.amount, evicted: self.evicted.clone() };
            state.evictable.insert(ticket, place);
            state.next_ticket += 1;
            self.budget.changed.notify_one();
        }
    }

    /// Returns the token that is cancelled when the lease is evicted.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        if self.evicted.is_cancelled() {
            state.leaving -= self.amount;
        } else if let Some(ticket) = self.ticket {
            state.evictable.remove(&ticket);
        }
        state.used -= self.amount;
        self.budget.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    async fn evictable(budget: &Arc<Budget>, amount: usize) -> Lease {
        let mut lease = budget.lease();
        lease.grow(amount).await.unwrap();
        lease.set_evictable(true);
        lease
    }

    fn are_evicted(leases: &[&Lease]) -> Vec<bool> {
        leases.iter().map(|lease| lease.evicted().is_cancelled()).collect()
    }

    fn in_use(budget: &Budget) -> (usize, usize) {
        let state = budget.state();
        (state.used, state.leaving)
    }

    #[tokio::test]
    async fn evicts_lease_that_has_been_evictable_for_longest() {
        let budget = Budget::new("leases", 3);
        let mut first = evictable(&budget, 1).await;
        let second = evictable(&budget, 1).await;
        let third = evictable(&budget, 1).await;
        first.set_evictable(true);
        let mut new = budget.lease();
        assert_eq!(new.grow(1).now_or_never(), None);
        assert_eq!(are_evicted(&[&first, &second, &third]), [false, true, false]);
        // The wait for one that is leaving evicts no other.
        assert_eq!(new.grow(1).now_or_never(), None);
        assert_eq!(are_evicted(&[&first, &second, &third]), [false, true, false]);
        drop(second);
        assert_eq!(new.grow(1).now_or_never(), Some(Ok(())));
        drop((first, third, new));
        assert_eq!(in_use(&budget), (0, 0));
    }

    #[tokio::test]
    async fn waits_until_lease_becomes_evictable_or_is_dropped() {
        let budget = Budget::new("leases", 2);
        let mut one = budget.lease();
        one.grow(1).await.unwrap();
        let mut other = budget.lease();
        other.grow(1).await.unwrap();
        let mut new = budget.lease();
        {
            let mut growing = pin!(new.grow(1));
            assert!(futures_util::poll!(&mut growing).is_pending());
            one.set_evictable(true);
            assert!(futures_util::poll!(&mut growing).is_pending());
            assert_eq!(are_evicted(&[&one, &other]), [true, false]);
            drop(one);
            growing.await.unwrap();
        }
        let mut another = budget.lease();
        let mut growing = pin!(another.grow(1));
        assert!(futures_util::poll!(&mut growing).is_pending());
        drop(other);
        growing.await.unwrap();
    }

    #[tokio::test]
    async fn evicts_as_many_leases_as_amount_needs() {
        let budget = Budget::new("leases", 10);
        let leases = [evictable(&budget, 4).await, evictable(&budget, 4).await, evictable(&budget, 2).await];
        let mut new = budget.lease();
        assert_eq!(new.grow(6).now_or_never(), None);
        assert_eq!(are_evicted(&leases.each_ref()), [true, true, false]);
        drop(leases);
        new.grow(10).await.unwrap();
    }

    #[tokio::test]
    async fn evicted_lease_does_not_grow_and_cannot_be_kept() {
        let budget = Budget::new("leases", 2);
        let mut oldest = evictable(&budget, 2).await;
        assert_eq!(oldest.grow(1).await, Err(Evicted));
        oldest.set_evictable(false);
        assert!(oldest.evicted().is_cancelled());
        assert_eq!(oldest.grow(0).await, Err(Evicted));
        drop(oldest);
        assert_eq!(in_use(&budget), (0, 0));
    }
}
