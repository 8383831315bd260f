//! The request log: one log record for each invocation.
//!
//! In Lambda, and wherever standard output is not a terminal, a record is a line of JSON with its own metrics: so every point
//! of a graph has its line. In Lambda, and where the settings ask for it, the line also declares them in CloudWatch's
//! [embedded metric format](emf). In a terminal a record is a sentence, with the same names. Neither contains a text, a signature or a
//! secret.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use momento_webhook::{Event, Millis};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::emf::{self, Directive, Metadata, Metric, timestamp};
use crate::metrics::{Counted, Metrics};
use crate::output::Output;
use crate::response::{IS_JSON, Outcome, Rejection};
use crate::trace::{TraceId, XrayId};
use fanout_core::fan_out::{Delivery, DeliveryOutcome};

/// The namespace of the metrics.
pub const NAMESPACE: &str = "TopicFanout";

/// The usual size of a line in bytes, with a few destinations.
const USUAL_LINE: usize = 1_024;

/// The form and the writer of log records.
#[derive(Clone, Debug)]
pub enum RequestLog {
    /// JSON, with metrics.
    Json {
        /// The dimension `FunctionName` of the metrics.
        function: String,
        /// True if each line declares its metrics for CloudWatch.
        has_emf: bool,
        /// The writer.
        output: Output,
    },
    /// Sentences in the log, for a terminal.
    Human,
    /// No log records.
    Off,
    /// Records in the form of another one, whose numbers are counted as well.
    Counted(Box<RequestLog>, Arc<Metrics>),
}

/// The log record of one invocation.
#[derive(Debug, Serialize)]
pub struct LogRecord {
    #[serde(skip)]
    time: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    /// The same id in X-Ray's form. X-Ray and CloudWatch find the record by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    xray_trace_id: Option<XrayId>,
    #[serde(flatten)]
    event: Option<EventFields>,
    #[serde(skip)]
    dedupe_failed: bool,
}

#[derive(Debug, Serialize)]
struct EventFields {
    cache: String,
    topic: String,
    topic_sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_sequence_page: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// Milliseconds since the message was published.
    age_ms: u64,
}

/// The log record of an invocation that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'r> {
    record: &'r LogRecord,
    outcome: &'r Outcome<'r>,
    destinations: Option<&'r RawValue>,
    took: Duration,
}

impl LogRecord {
    /// Begins a record at `time`.
    #[must_use]
    pub const fn new(time: Millis, request_id: Option<String>) -> Self {
        Self {
            time,
            request_id,
            queue: None,
            trace_id: None,
            xray_trace_id: None,
            event: None,
            dedupe_failed: false,
        }
    }

    /// Marks it as the record of a message of this queue.
    #[must_use]
    pub fn from_queue(self, queue: String) -> Self {
        Self { queue: Some(queue), ..self }
    }

    /// Returns the time at which it began.
    #[must_use]
    pub const fn time(&self) -> Millis {
        self.time
    }

    /// Sets the trace that it is part of.
    pub fn set_trace(&mut self, trace: Option<TraceId>) {
        self.trace_id = trace;
        self.xray_trace_id = trace.map(XrayId);
    }

    /// Sets the event that it is about.
    pub fn set_event(&mut self, event: &Event) {
        self.event = Some(EventFields {
            cache: event.cache.clone(),
            topic: event.topic.clone(),
            topic_sequence_number: event.topic_sequence_number,
            topic_sequence_page: event.topic_sequence_page,
            token_id: event.token_id.clone(),
            age_ms: self.time.saturating_sub(event.event_timestamp),
        });
    }

    /// Sets whether the cache for dedupe failed.
    pub const fn set_dedupe_failed(&mut self, failed: bool) {
        self.dedupe_failed = failed;
    }

    /// Adds the outcome and the time that it took.
    #[must_use]
    pub const fn finished<'r>(
        &'r self,
        outcome: &'r Outcome<'r>,
        destinations: Option<&'r RawValue>,
        took: Duration,
    ) -> Finished<'r> {
        Finished { record: self, outcome, destinations, took }
    }
}

impl RequestLog {
    /// Writes the line of one invocation.
    pub fn write(&self, finished: &Finished<'_>) {
        match self {
            Self::Off => {}
            Self::Human => finished.log(),
            Self::Counted(log, metrics) => {
                metrics.add(&finished.counted());
                log.write(finished);
            }
            Self::Json { function, has_emf, output } => {
                let mut line = finished.line(function, *has_emf, &timestamp());
                line.push(b'\n');
                output.write(&line);
            }
        }
    }
}

impl RequestLog {
    /// Writes a line, with its metric, about routes at `place` that could not be updated. `version` is that of the routes in
    /// use.
    pub fn write_routes_not_updated(&self, time: Millis, place: &str, version: Option<&str>, reason: &str) {
        const MESSAGE: &str = "the routes could not be updated; those in use stay in use";
        match self {
            Self::Off => {}
            Self::Human => tracing::error!(place, version, reason, "{MESSAGE}"),
            Self::Counted(log, metrics) => {
                metrics.add(&Counted { routes_not_updated: 1, ..Counted::default() });
                log.write_routes_not_updated(time, place, version, reason);
            }
            Self::Json { function, has_emf, output } => {
                let directive = Directive {
                    Namespace: NAMESPACE,
                    Dimensions: &[&["FunctionName"]],
                    Metrics: vec![Metric::new("RoutesNotUpdated", "Count")],
                };
                let directives = emf::written(&[directive]);
                let line = RoutesLine {
                    timestamp: &timestamp(),
                    level: Level::Error,
                    message: MESSAGE,
                    place,
                    version,
                    reason,
                    _aws: has_emf.then_some(Metadata { Timestamp: time, CloudWatchMetrics: &directives }),
                    FunctionName: function,
                    RoutesNotUpdated: 1,
                };
                write_line(output, &line);
            }
        }
    }
}

/// Writes the members of a line.
pub(crate) fn write_line(output: &Output, line: &impl Serialize) {
    let mut line = serde_json::to_vec(line).expect(IS_JSON);
    line.push(b'\n');
    output.write(&line);
}

/// The members of a line about routes, and below them its metric.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names of metrics and dimensions, as CloudWatch shows them")]
struct RoutesLine<'l> {
    timestamp: &'l str,
    level: Level,
    message: &'static str,
    place: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'l str>,
    reason: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    _aws: Option<Metadata<'l>>,
    FunctionName: &'l str,
    RoutesNotUpdated: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

/// The members of a line, and below them the metrics, whose values stand at the root.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names of metrics and dimensions, as CloudWatch shows them")]
struct Line<'l> {
    timestamp: &'l str,
    level: Level,
    message: &'static str,
    #[serde(flatten)]
    record: &'l LogRecord,
    outcome: &'static str,
    status: u16,
    /// The names of the destinations that did not accept the event, in one text: logs are searched by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_destinations: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destinations: Option<&'l RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    _aws: Option<Metadata<'l>>,
    FunctionName: &'l str,
    Received: u8,
    Published: usize,
    Failed: usize,
    DeadLettered: u8,
    Undelivered: u8,
    Ignored: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    Latency: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    QueueLatency: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    EventAge: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    DedupeFailed: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    Refused: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    Reason: Option<&'static str>,
}

/// The properties of a record that decide which members are metrics.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each adds or names metrics, whatever the others are")]
struct Kind {
    /// True for a message of a queue. Its time is a separate metric, because no sender waits for it.
    from_queue: bool,
    has_event: bool,
    dedupe_failed: bool,
    refused: bool,
}

/// The declarations of metrics. Each is serialized once for its kind.
static DIRECTIVES: [OnceLock<Box<RawValue>>; 16] = [const { OnceLock::new() }; 16];

impl Kind {
    fn index(self) -> usize {
        [self.from_queue, self.has_event, self.dedupe_failed, self.refused]
            .iter()
            .fold(0, |index, flag| index * 2 + usize::from(*flag))
    }

    fn directives(self) -> &'static RawValue {
        let directives = DIRECTIVES.get(self.index()).expect("four flags make sixteen kinds");
        directives.get_or_init(|| self.written())
    }

    fn written(self) -> Box<RawValue> {
        let counts = ["Received", "Published", "Failed", "DeadLettered", "Undelivered", "Ignored"];
        let mut metrics = counts.map(|name| Metric::new(name, "Count")).to_vec();
        let latency = if self.from_queue { "QueueLatency" } else { "Latency" };
        metrics.push(Metric::new(latency, "Milliseconds"));
        metrics.extend(self.has_event.then(|| Metric::new("EventAge", "Milliseconds")));
        metrics.extend(self.dedupe_failed.then(|| Metric::new("DedupeFailed", "Count")));
        let mut directives =
            vec![Directive { Namespace: NAMESPACE, Dimensions: &[&["FunctionName"]], Metrics: metrics }];
        directives.extend(self.refused.then(|| Directive {
            Namespace: NAMESPACE,
            Dimensions: &[&["FunctionName"], &["FunctionName", "Reason"]],
            Metrics: vec![Metric::new("Refused", "Count")],
        }));
        emf::written(&directives)
    }
}

/// Returns milliseconds, to the microsecond.
pub(crate) fn millis(time: Duration) -> f64 {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1e3
}

impl Finished<'_> {
    fn published(&self) -> usize {
        let published =
            |delivery: &&Delivery<'_>| matches!(delivery.outcome, DeliveryOutcome::Published { .. });
        self.deliveries().filter(published).count()
    }

    fn failed(&self) -> usize {
        self.deliveries().filter(|delivery| !delivery.outcome.is_done()).count()
    }

    /// Returns the deliveries, each topic of a destination with `for_each` for itself.
    fn deliveries(&self) -> impl Iterator<Item = &Delivery<'_>> {
        self.outcome.deliveries().iter().flat_map(Delivery::each)
    }

    fn level(&self) -> Level {
        match self.outcome {
            Outcome::Rejected(Rejection::FeedsItself(_) | Rejection::NoSuchDestination(_))
            | Outcome::DeadLettered(_)
            | Outcome::Crashed => Level::Error,
            Outcome::Rejected(_) | Outcome::Busy => Level::Warn,
            Outcome::Delivered(_) if self.failed() > 0 => Level::Error,
            Outcome::Delivered(_) | Outcome::Ignored | Outcome::Duplicate => Level::Info,
        }
    }

    fn message(&self) -> &'static str {
        match self.outcome {
            Outcome::Rejected(Rejection::FeedsItself(_)) => {
                "event rejected: a destination leads back to its topic, and the function would invoke itself forever"
            }
            Outcome::Rejected(_) => "request rejected",
            Outcome::Delivered(_) if self.failed() > 0 => "some destinations did not accept the event",
            Outcome::Delivered(_) => "event handled",
            Outcome::DeadLettered(_) => {
                "some destinations did not accept the event, which is kept as a dead letter"
            }
            Outcome::Ignored => "event ignored: no route matches its topic",
            Outcome::Duplicate => "event handled before",
            Outcome::Busy => "the same event is still being handled",
            Outcome::Crashed => "the function failed itself",
        }
    }

    /// Returns the names of the destinations that did not accept the event.
    fn failed_destinations(&self) -> Option<String> {
        let failed = self.deliveries().filter(|delivery| !delivery.outcome.is_done());
        let names: Vec<_> = failed.map(|delivery| delivery.target.to_string()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Returns its numbers for Prometheus: those of its line.
    fn counted(&self) -> Counted {
        let from_queue = self.record.queue.is_some();
        let number = |count: usize| u64::try_from(count).expect("a usize fits into 64 bits");
        Counted {
            received: 1,
            published: number(self.published()),
            failed: number(self.failed()),
            dead_lettered: matches!(self.outcome, Outcome::DeadLettered(_)).into(),
            undelivered: (!from_queue && self.outcome.is_undelivered()).into(),
            ignored: matches!(self.outcome, Outcome::Ignored).into(),
            dedupe_failed: self.record.dedupe_failed.into(),
            routes_not_updated: 0,
            refused: matches!(self.outcome, Outcome::Rejected(_)).then(|| self.outcome.name()),
            latency: (!from_queue).then_some(self.took),
            event_age: self.record.event.as_ref().map(|event| Duration::from_millis(event.age_ms)),
        }
    }

    fn line(&self, function: &str, has_emf: bool, timestamp: &str) -> Vec<u8> {
        let refused = matches!(self.outcome, Outcome::Rejected(_));
        let age = self.record.event.as_ref().map(|event| event.age_ms);
        let dedupe_failed = self.record.dedupe_failed;
        let from_queue = self.record.queue.is_some();
        let kind = Kind { from_queue, has_event: age.is_some(), dedupe_failed, refused };
        let took = millis(self.took);
        let line = Line {
            timestamp,
            level: self.level(),
            message: self.message(),
            record: self.record,
            outcome: self.outcome.name(),
            status: self.outcome.status().as_u16(),
            failed_destinations: self.failed_destinations(),
            destinations: self.destinations,
            _aws: has_emf
                .then(|| Metadata { Timestamp: self.record.time, CloudWatchMetrics: kind.directives() }),
            FunctionName: function,
            Received: 1,
            Published: self.published(),
            Failed: self.failed(),
            DeadLettered: u8::from(matches!(self.outcome, Outcome::DeadLettered(_))),
            // A message of a queue stays in the queue, and is redelivered.
            Undelivered: u8::from(!kind.from_queue && self.outcome.is_undelivered()),
            Ignored: u8::from(matches!(self.outcome, Outcome::Ignored)),
            Latency: (!kind.from_queue).then_some(took),
            QueueLatency: kind.from_queue.then_some(took),
            EventAge: age,
            DedupeFailed: dedupe_failed.then_some(1),
            Refused: refused.then_some(1),
            Reason: refused.then(|| self.outcome.name()),
        };
        let mut written = Vec::with_capacity(USUAL_LINE);
        serde_json::to_writer(&mut written, &line).expect(IS_JSON);
        written
    }

    fn log(&self) {
        let outcome = self.outcome.name();
        let status = self.outcome.status().as_u16();
        let message = self.message();
        let request_id = self.record.request_id.as_deref();
        let latency = millis(self.took);
        let (published, failed) = (self.published(), self.failed());
        let event = self.record.event.as_ref();
        let cache = event.map(|event| event.cache.as_str());
        let topic = event.map(|event| event.topic.as_str());
        let topic_sequence_number = event.map(|event| event.topic_sequence_number);
        let age_ms = event.map(|event| event.age_ms);
        let failures: Vec<_> = self
            .outcome
            .deliveries()
            .iter()
            .filter_map(|one| one.outcome.failure().map(|reason| format!("{}: {reason}", one.target)))
            .collect();
        let failed_destinations = (!failures.is_empty()).then(|| failures.join(", "));
        // `tracing` wants the level as a constant.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    outcome,
                    status,
                    cache,
                    topic,
                    topic_sequence_number,
                    age_ms,
                    Published = published,
                    Failed = failed,
                    failed_destinations,
                    Latency = latency,
                    request_id,
                    "{message}"
                )
            };
        }
        match self.level() {
            Level::Info => log!(info),
            Level::Warn => log!(warn),
            Level::Error => log!(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use momento_webhook::{ReceivedError, momento::SignatureError};
    use serde_json::json;

    use super::*;
    use fanout_core::destination::{Target, Topic};
    use fanout_core::reason::Reason;
    use fanout_core::route::FeedsItself;
    use fanout_core::testing::{NOW, event_with};

    fn wrong_signature() -> Outcome<'static> {
        Outcome::Rejected(ReceivedError::from(SignatureError::Mismatch).into())
    }

    fn line(outcome: &Outcome<'_>, with_event: bool) -> serde_json::Value {
        line_of(LogRecord::new(NOW, Some("id-1".into())), outcome, with_event)
    }

    fn line_of(mut record: LogRecord, outcome: &Outcome<'_>, with_event: bool) -> serde_json::Value {
        if with_event {
            let event = event_with("chat", "in", 7, |event| {
                event.token_id = Some("mo".into());
                event.text = "a private text".into();
            });
            record.set_event(&event);
        }
        let destinations = outcome.destinations();
        let finished = record.finished(outcome, destinations.as_deref(), Duration::from_micros(1_500));
        let line = finished.line("webhook", true, "now");
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn line_has_outcome_destinations_and_metrics() {
        let deliveries = vec![
            Delivery {
                target: Target::Topic(Topic::new("chat", "a")),
                outcome: DeliveryOutcome::Published { attempts: 1 },
            },
            Delivery {
                target: Target::Topic(Topic::new("chat", "b")),
                outcome: DeliveryOutcome::Failed { attempts: 4, reason: Reason::TimedOut },
            },
        ];
        assert_eq!(
            line(&Outcome::Delivered(deliveries), true),
            json!({
                "timestamp": "now", "level": "ERROR", "message": "some destinations did not accept the event",
                "request_id": "id-1",
                "cache": "chat", "topic": "in", "topic_sequence_number": 7, "token_id": "mo", "age_ms": 1,
                "outcome": "destination_failed", "status": 503, "failed_destinations": "b",
                "destinations": [
                    {"cache": "chat", "topic": "a", "status": "published", "attempts": 1},
                    {"cache": "chat", "topic": "b", "status": "failed", "reason": "timed_out", "attempts": 4},
                ],
                "_aws": {"Timestamp": NOW, "CloudWatchMetrics": [{
                    "Namespace": "TopicFanout", "Dimensions": [["FunctionName"]],
                    "Metrics": [
                        {"Name": "Received", "Unit": "Count"},
                        {"Name": "Published", "Unit": "Count"},
                        {"Name": "Failed", "Unit": "Count"},
                        {"Name": "DeadLettered", "Unit": "Count"},
                        {"Name": "Undelivered", "Unit": "Count"},
                        {"Name": "Ignored", "Unit": "Count"},
                        {"Name": "Latency", "Unit": "Milliseconds"},
                        {"Name": "EventAge", "Unit": "Milliseconds"},
                    ],
                }]},
                "FunctionName": "webhook", "Received": 1, "Published": 1, "Failed": 1, "DeadLettered": 0,
                "Undelivered": 1, "Ignored": 0, "Latency": 1.5, "EventAge": 1,
            })
        );
    }

    #[test]
    fn line_without_emf_has_the_same_counts() {
        let mut record = LogRecord::new(NOW, None);
        record.set_event(&event_with("chat", "in", 7, |_| ()));
        let (outcome, took) = (Outcome::Delivered(Vec::new()), Duration::from_micros(1_500));
        let line = |has_emf| -> serde_json::Value {
            let line = record.finished(&outcome, None, took).line("webhook", has_emf, "now");
            serde_json::from_slice(&line).unwrap()
        };
        let mut with = line(true);
        assert!(with.as_object_mut().unwrap().remove("_aws").is_some());
        assert_eq!(line(false), with);
    }

    #[test]
    fn counts_rejections_by_reason() {
        let line = line(&wrong_signature(), false);
        assert_eq!(line["Refused"], 1);
        assert_eq!(line["Reason"], "signature_wrong");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["_aws"]["CloudWatchMetrics"][1]["Dimensions"][1], json!(["FunctionName", "Reason"]));
        assert_eq!(line["_aws"]["CloudWatchMetrics"][1]["Metrics"][0]["Name"], "Refused");
    }

    #[test]
    fn logs_cycle_as_error() {
        let line = line(&Outcome::Rejected(FeedsItself.into()), true);
        assert_eq!(line["level"], "ERROR");
        assert!(line["message"].as_str().unwrap().contains("invoke itself forever"));
    }

    #[test]
    fn every_declared_metric_has_a_value() {
        for (outcome, with_event) in [
            (Outcome::Ignored, true),
            (Outcome::Duplicate, true),
            (Outcome::Delivered(Vec::new()), true),
            (Outcome::Rejected(Rejection::Method), false),
        ] {
            for queue in [None, Some("letters")] {
                let mut record = LogRecord::new(NOW, None);
                record.queue = queue.map(str::to_owned);
                record.set_dedupe_failed(with_event);
                let line = line_of(record, &outcome, with_event);
                for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                    for metric in directive["Metrics"].as_array().unwrap() {
                        let name = metric["Name"].as_str().unwrap();
                        assert!(line[name].is_number(), "{name} in {line}");
                    }
                    for dimension in directive["Dimensions"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .flat_map(|set| set.as_array().unwrap())
                    {
                        assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension} in {line}");
                    }
                }
            }
        }
    }

    #[test]
    fn counts_failures_of_dedupe_only_where_they_occur() {
        for failed in [false, true] {
            let mut record = LogRecord::new(NOW, None);
            record.set_dedupe_failed(failed);
            let line = line_of(record, &Outcome::Delivered(Vec::new()), true);
            let declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
            assert_eq!(declared.contains("DedupeFailed"), failed);
            assert_eq!(line.get("DedupeFailed"), failed.then(|| json!(1)).as_ref());
        }
    }

    #[test]
    fn message_of_queue_has_queue_latency() {
        let from_queue = LogRecord::new(NOW, None).from_queue("letters".into());
        for (record, has, has_not) in
            [(LogRecord::new(NOW, None), "Latency", "QueueLatency"), (from_queue, "QueueLatency", "Latency")]
        {
            let line = line_of(record, &Outcome::Ignored, true);
            assert_eq!(line[has], 1.5);
            assert!(line.get(has_not).is_none(), "{line}");
            let declared = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"][6]["Name"];
            assert_eq!(declared, has);
        }
    }

    #[test]
    fn counts_undelivered_and_ignored_events() {
        let failing = || {
            let target = Target::Topic(Topic::new("chat", "a"));
            let outcome = DeliveryOutcome::Failed { attempts: 4, reason: Reason::TimedOut };
            vec![Delivery { target, outcome }]
        };
        for (outcome, undelivered, ignored) in [
            (Outcome::Delivered(failing()), 1, 0),
            (Outcome::DeadLettered(failing()), 0, 0),
            (Outcome::Rejected(FeedsItself.into()), 1, 0),
            (wrong_signature(), 0, 0),
            (Outcome::Ignored, 0, 1),
            (Outcome::Duplicate, 0, 0),
        ] {
            let of_request = line_of(LogRecord::new(NOW, None), &outcome, true);
            assert_eq!(
                (&of_request["Undelivered"], &of_request["Ignored"]),
                (&json!(undelivered), &json!(ignored))
            );
            let from_queue = line_of(LogRecord::new(NOW, None).from_queue("letters".into()), &outcome, true);
            assert_eq!((&from_queue["Undelivered"], &from_queue["Ignored"]), (&json!(0), &json!(ignored)));
        }
    }

    #[test]
    fn line_shows_no_text() {
        assert!(!line(&Outcome::Duplicate, true).to_string().contains("private"));
    }
}
