//! Counts what a relay does, and writes the counts for Prometheus.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanout_core::prometheus::{self, Histogram, Label};
use momento_webhook::Millis;

use crate::reader::ReaderState;
use crate::relay::SubscriptionStatus;
use crate::schedule::Attempt;
use crate::spool::{Spool, SpoolError, TopicTotals};

/// Momento counts one operation for each part of a message of this size, in bytes.
const OPERATION_BYTES: usize = 1_024;

/// The counts of one subscription since the relay or its configuration was loaded.
#[derive(Debug, Default)]
pub struct SubscriptionMetrics {
    attempts: [AtomicU64; RESULTS.len()],
    attempt_seconds: Histogram,
    latency_seconds: Histogram,
    operations: AtomicU64,
    dead_letter_failures: AtomicU64,
}

/// The results of attempts.
const RESULTS: [&str; 4] = ["delivered", "transient", "permanent", "disabled"];

impl SubscriptionMetrics {
    /// Records one attempt. `age` is the time since the message arrived.
    pub(crate) fn attempt(&self, attempt: &Attempt, took: Duration, age: Duration) {
        let index = match attempt {
            Attempt::Delivered => 0,
            Attempt::Transient { .. } => 1,
            Attempt::Permanent { .. } => 2,
            Attempt::Disabled { .. } => 3,
        };
        if let Some(count) = self.attempts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.attempt_seconds.record(took);
        if *attempt == Attempt::Delivered {
            self.latency_seconds.record(age);
        }
    }

    /// Records a dead letter that was not accepted.
    pub(crate) fn dead_letter_failed(&self) {
        self.dead_letter_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a message that arrived.
    pub(crate) fn received(&self, bytes: usize) {
        let operations = u64::try_from(bytes.div_ceil(OPERATION_BYTES).max(1)).unwrap_or(u64::MAX);
        self.operations.fetch_add(operations, Ordering::Relaxed);
    }
}

type CountOf = fn(&TopicTotals) -> u64;
type HistogramOf = fn(&SubscriptionMetrics) -> &Histogram;

/// The counts and the state of a subscription at one time. Counts are those of the spool, since it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The name of the subscription.
    pub subscription: String,
    /// Messages that arrived, each once.
    pub received: u64,
    /// Messages that the target has.
    pub delivered: u64,
    /// Messages that were not delivered in time.
    pub expired: u64,
    /// Dead messages that the operator gave up.
    pub dropped: u64,
    /// Dead messages that the dead letters have.
    pub dead_lettered: u64,
    /// Messages in gaps.
    pub missing: u64,
    /// Dead messages that the spool holds.
    pub dead: u64,
    /// Messages without an outcome.
    pub pending: u64,
    /// The age of the oldest of them.
    pub oldest_pending: Duration,
    /// The topics of the subscription.
    pub topics: usize,
    /// Those that are not subscribed to, and why.
    pub deaf: Vec<(String, ReaderState)>,
    /// True while the target fails repeatedly.
    pub breaker_open: bool,
    /// Why the target wants no more messages.
    pub disabled: Option<String>,
}

/// Returns the counts of each subscription that the spool knows, without its state.
///
/// # Errors
/// If the spool cannot be read.
pub async fn counts(spool: &Spool) -> Result<Vec<Sample>, SpoolError> {
    let totals = spool.totals().await?;
    let names: BTreeSet<_> = totals.iter().map(|topic| topic.subscription.as_str()).collect();
    Ok(names.into_iter().map(|name| sum(name, &totals)).collect())
}

fn sum(name: &str, totals: &[TopicTotals]) -> Sample {
    let own = totals.iter().filter(|topic| topic.subscription == name);
    let sum = |count: CountOf| own.clone().map(count).sum();
    Sample {
        subscription: name.to_owned(),
        received: sum(|topic| topic.received),
        delivered: sum(|topic| topic.delivered),
        expired: sum(|topic| topic.expired),
        dropped: sum(|topic| topic.dropped),
        dead_lettered: sum(|topic| topic.dead_lettered),
        missing: sum(|topic| topic.missing),
        dead: sum(|topic| topic.dead),
        pending: sum(|topic| topic.pending),
        ..Sample::default()
    }
}

/// Returns a sample of each subscription.
///
/// # Errors
/// If the spool cannot be read.
pub async fn samples(
    spool: &Spool,
    subscriptions: &[SubscriptionStatus],
    now: Millis,
) -> Result<Vec<Sample>, SpoolError> {
    let totals = spool.totals().await?;
    let sample = |status: &SubscriptionStatus| {
        let own = totals.iter().filter(|topic| topic.subscription == status.name);
        let oldest = own.filter_map(|topic| topic.oldest).min();
        let states = status.topics.iter().map(|(topic, state)| (topic, state.borrow().clone()));
        let deaf = states.filter(|(_, state)| *state != ReaderState::Subscribed);
        Sample {
            oldest_pending: Duration::from_millis(oldest.map_or(0, |oldest| now.saturating_sub(oldest))),
            topics: status.topics.len(),
            deaf: deaf.map(|(topic, state)| (topic.clone(), state)).collect(),
            breaker_open: status.breaker.is_open(),
            disabled: status.disabled.clone(),
            ..sum(&status.name, &totals)
        }
    };
    Ok(subscriptions.iter().map(sample).collect())
}

/// Returns all metrics in the text format of Prometheus.
///
/// # Errors
/// If the spool cannot be read.
pub async fn prometheus(
    spool: &Spool,
    subscriptions: &[SubscriptionStatus],
    now: Millis,
) -> Result<String, SpoolError> {
    let totals = spool.totals().await?;
    let of = |name: &str| totals.iter().filter(move |topic| topic.subscription == name).collect::<Vec<_>>();
    let mut out = String::new();
    let counts: [(&str, &str, &str, CountOf); 8] = [
        ("received_total", "counter", "Messages that arrived, each once.", |topic| topic.received),
        ("delivered_total", "counter", "Messages that the target has.", |topic| topic.delivered),
        ("expired_total", "counter", "Messages that were not delivered in time.", |topic| topic.expired),
        ("dropped_total", "counter", "Dead messages that the operator gave up.", |topic| topic.dropped),
        ("dead_lettered_total", "counter", "Dead messages that the dead letters have.", |topic| {
            topic.dead_lettered
        }),
        ("missing_total", "counter", "Messages in gaps.", |topic| topic.missing),
        ("dead", "gauge", "Dead messages that the spool holds.", |topic| topic.dead),
        ("pending", "gauge", "Messages without an outcome.", |topic| topic.pending),
    ];
    for (name, kind, help, count) in counts {
        head(&mut out, name, kind, help);
        for subscription in subscriptions {
            let count: u64 = of(&subscription.name).into_iter().map(count).sum();
            line(&mut out, name, &subscription.name, count);
        }
    }
    head(&mut out, "oldest_pending_seconds", "gauge", "The age of the oldest message without an outcome.");
    for subscription in subscriptions {
        let oldest = of(&subscription.name).into_iter().filter_map(|topic| topic.oldest).min();
        let age =
            oldest.map_or(0.0, |oldest| Duration::from_millis(now.saturating_sub(oldest)).as_secs_f64());
        line(&mut out, "oldest_pending_seconds", &subscription.name, age);
    }
    head(&mut out, "topics", "gauge", "Topics by the state of their reader.");
    for subscription in subscriptions {
        for state in ReaderState::NAMES {
            let with = subscription.topics.iter().filter(|(_, topic)| topic.borrow().name() == state).count();
            let name = Label(&subscription.name);
            let _ = writeln!(out, "fanout_relay_topics{{subscription=\"{name}\",state=\"{state}\"}} {with}");
        }
    }
    head(&mut out, "operations_total", "counter", "Operations of Momento: one for each KB of a message.");
    for subscription in subscriptions {
        let operations = subscription.metrics.operations.load(Ordering::Relaxed);
        line(&mut out, "operations_total", &subscription.name, operations);
    }
    head(
        &mut out,
        "dead_letter_failures_total",
        "counter",
        "Dead letters that were not accepted, by attempt.",
    );
    for subscription in subscriptions {
        let failures = subscription.metrics.dead_letter_failures.load(Ordering::Relaxed);
        line(&mut out, "dead_letter_failures_total", &subscription.name, failures);
    }
    head(&mut out, "breaker_open", "gauge", "1 while the target fails repeatedly, and deliveries wait.");
    for subscription in subscriptions {
        line(&mut out, "breaker_open", &subscription.name, u8::from(subscription.breaker.is_open()));
    }
    head(&mut out, "disabled", "gauge", "1 if the target wants no more messages.");
    for subscription in subscriptions {
        line(&mut out, "disabled", &subscription.name, u8::from(subscription.disabled.is_some()));
    }
    head(&mut out, "attempts_total", "counter", "Attempts by their result.");
    for subscription in subscriptions {
        let name = Label(&subscription.name);
        for (result, count) in RESULTS.iter().zip(&subscription.metrics.attempts) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "fanout_relay_attempts_total{{subscription=\"{name}\",result=\"{result}\"}} {count}"
            );
        }
    }
    let histograms: [(&str, &str, HistogramOf); 2] = [
        ("attempt_seconds", "The duration of attempts.", |metrics| &metrics.attempt_seconds),
        (
            "delivery_seconds",
            "The time from the arrival of a message to its delivery, retries included.",
            |metrics| &metrics.latency_seconds,
        ),
    ];
    for (name, help, histogram) in histograms {
        head(&mut out, name, "histogram", help);
        for subscription in subscriptions {
            let full = format!("fanout_relay_{name}");
            let label = ("subscription", Label(&subscription.name));
            histogram(&subscription.metrics).write(&mut out, &full, Some(label));
        }
    }
    let usage = spool.usage();
    let spool: [(&str, &str, u64); 3] = [
        ("spool_messages", "Messages without an outcome, of all subscriptions.", usage.messages),
        ("spool_bytes", "The size of their bodies.", usage.bytes),
        ("spool_failing", "1 while the spool cannot store messages.", u64::from(spool.failure().is_some())),
    ];
    for (name, help, value) in spool {
        head(&mut out, name, "gauge", help);
        let _ = writeln!(out, "fanout_relay_{name} {value}");
    }
    Ok(out)
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    prometheus::head(out, &format!("fanout_relay_{name}"), kind, help);
}

fn line(out: &mut String, name: &str, subscription: &str, value: impl fmt::Display) {
    let _ = writeln!(out, "fanout_relay_{name}{{subscription=\"{}\"}} {value}", Label(subscription));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_counts_one_operation_for_each_kb() {
        let metrics = SubscriptionMetrics::default();
        for bytes in [0, 1, 1_024, 1_025, 4_096] {
            metrics.received(bytes);
        }
        assert_eq!(metrics.operations.load(Ordering::Relaxed), 1 + 1 + 1 + 2 + 4);
    }
}
