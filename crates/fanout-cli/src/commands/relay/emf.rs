//! Metrics in the log, in the embedded metric format of CloudWatch.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_relay::Status;
use fanout_relay::metrics::{Sample, counts, samples};
use fanout_relay::spool::{Spool, SpoolError};
use momento_webhook::Millis;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use topic_fanout::emf::{self, Directive, Metadata, Metric};
use topic_fanout::output::Output;

/// The interval between records, which is the resolution of CloudWatch.
const INTERVAL: Duration = Duration::from_mins(1);

/// The variable with the dimension `Relay`, and its default.
const NAME: &str = "RELAY_NAME";
const DEFAULT_NAME: &str = "relay";

/// Writes a record of each subscription at an interval.
pub(super) struct Records {
    name: String,
    spool: Spool,
    status: Status,
    output: Output,
    /// The counts of the last record.
    last: HashMap<String, Sample>,
}

/// One record. Counts are those since the last one.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names of metrics and dimensions, as CloudWatch shows them")]
struct Record<'r> {
    timestamp: &'r str,
    level: &'static str,
    message: &'static str,
    _aws: Metadata<'r>,
    Relay: &'r str,
    Subscription: &'r str,
    Received: u64,
    Delivered: u64,
    Expired: u64,
    Dropped: u64,
    DeadLettered: u64,
    Missing: u64,
    Dead: u64,
    Pending: u64,
    OldestPending: f64,
    DeafTopics: usize,
    BreakerOpen: u8,
    Disabled: u8,
    SpoolFailing: u8,
}

static DIRECTIVES: OnceLock<Box<RawValue>> = OnceLock::new();

fn directives() -> &'static RawValue {
    DIRECTIVES.get_or_init(|| {
        let counts = [
            "Received",
            "Delivered",
            "Expired",
            "Dropped",
            "DeadLettered",
            "Missing",
            "Dead",
            "Pending",
            "DeafTopics",
            "BreakerOpen",
            "Disabled",
            "SpoolFailing",
        ];
        let mut metrics = counts.map(|name| Metric::new(name, "Count")).to_vec();
        metrics.push(Metric::new("OldestPending", "Seconds"));
        emf::written(&[Directive {
            Namespace: "TopicFanoutRelay",
            Dimensions: &[&["Relay"], &["Relay", "Subscription"]],
            Metrics: metrics,
        }])
    })
}

impl Records {
    /// Counts from what the spool has now.
    ///
    /// # Errors
    /// If the spool cannot be read.
    pub(super) async fn start(spool: Spool, status: Status, output: Output) -> Result<Self, SpoolError> {
        let name = std::env::var(NAME).ok().filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let last = counts(&spool).await?.into_iter().map(|sample| (sample.subscription.clone(), sample));
        Ok(Self { name, last: last.collect(), spool, status, output })
    }

    /// Writes records until the future is dropped.
    pub(super) async fn run(&mut self) {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.write().await;
        }
    }

    /// Writes a record of each subscription now.
    pub(super) async fn write(&mut self) {
        let now = SystemClock.now();
        let samples = match samples(&self.spool, &self.status.subscriptions(), now).await {
            Ok(samples) => samples,
            Err(error) => {
                tracing::warn!(%error, "metrics are left out: the spool cannot be read");
                return;
            }
        };
        let is_failing = self.spool.failure().is_some();
        for sample in samples {
            let last = self.last.get(&sample.subscription);
            self.output.write(&line(&self.name, &sample, last, is_failing, now));
            self.last.insert(sample.subscription.clone(), sample);
        }
    }
}

fn line(name: &str, sample: &Sample, last: Option<&Sample>, is_failing: bool, now: Millis) -> Vec<u8> {
    let since = |count: fn(&Sample) -> u64| count(sample).saturating_sub(last.map_or(0, count));
    let timestamp = emf::timestamp();
    let record = Record {
        timestamp: &timestamp,
        level: "INFO",
        message: "metrics",
        _aws: Metadata { Timestamp: now, CloudWatchMetrics: directives() },
        Relay: name,
        Subscription: &sample.subscription,
        Received: since(|sample| sample.received),
        Delivered: since(|sample| sample.delivered),
        Expired: since(|sample| sample.expired),
        Dropped: since(|sample| sample.dropped),
        DeadLettered: since(|sample| sample.dead_lettered),
        Missing: since(|sample| sample.missing),
        Dead: sample.dead,
        Pending: sample.pending,
        OldestPending: sample.oldest_pending.as_secs_f64(),
        DeafTopics: sample.deaf.len(),
        BreakerOpen: u8::from(sample.breaker_open),
        Disabled: u8::from(sample.disabled.is_some()),
        SpoolFailing: u8::from(is_failing),
    };
    let mut line = serde_json::to_vec(&record).expect("strings and numbers under string keys are JSON");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use fanout_relay::ReaderState;

    use super::*;

    #[test]
    fn record_has_counts_since_the_last_one_and_every_declared_metric() {
        let sample = |received| Sample {
            subscription: "chat".to_owned(),
            received,
            dead: 2,
            oldest_pending: Duration::from_millis(1_500),
            deaf: vec![("t".to_owned(), ReaderState::Connecting)],
            disabled: Some("410".to_owned()),
            ..Sample::default()
        };
        let read = |last: Option<&Sample>| -> serde_json::Value {
            serde_json::from_slice(&line("prod", &sample(10), last, false, 7)).unwrap()
        };
        assert_eq!(read(None)["Received"], 10);
        let record = read(Some(&sample(4)));
        assert_eq!((&record["Received"], &record["Dead"]), (&6.into(), &2.into()));
        assert_eq!((&record["OldestPending"], &record["DeafTopics"]), (&1.5.into(), &1.into()));
        assert_eq!((&record["Disabled"], &record["SpoolFailing"]), (&1.into(), &0.into()));
        let declared = &record["_aws"]["CloudWatchMetrics"][0];
        for metric in declared["Metrics"].as_array().unwrap() {
            assert!(record[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
        for dimension in
            declared["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap())
        {
            assert!(record[dimension.as_str().unwrap()].is_string(), "{dimension}");
        }
    }
}
