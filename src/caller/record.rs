//! The log record of a request of a person: who, by which profile, with which outcome. It never has the proof, or a claim
//! beside the token id.

use std::collections::BTreeMap;
use std::time::Duration;

use fanout_identity::Grant;
use http::StatusCode;
use momento_webhook::Millis;
use serde::Serialize;

use crate::emf::{self, Directive, Metadata, Metric, timestamp};
use crate::request_log::{Level, NAMESPACE, RequestLog, millis, write_line};
use crate::trace::{TraceId, XrayId};

/// The members that every such record has.
#[derive(Debug, Serialize)]
pub struct CallerRecord {
    #[serde(skip)]
    time: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xray_trace_id: Option<XrayId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
}

/// A record that has ended.
#[derive(Debug)]
pub(crate) struct CallerLine<'l, R> {
    /// The record, with all its members.
    pub(crate) record: &'l R,
    /// The part of it that every record has.
    pub(crate) caller: &'l CallerRecord,
    /// What it is about, for a terminal.
    pub(crate) about: String,
    pub(crate) outcome: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The metrics of what the function does, each with its number.
    pub(crate) done: Vec<(&'static str, u8)>,
    pub(crate) took: Duration,
}

/// The members of a line, and below them the metrics.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names of metrics and dimensions, as CloudWatch shows them")]
struct Line<'l, R> {
    timestamp: &'l str,
    level: Level,
    message: &'l str,
    #[serde(flatten)]
    record: &'l R,
    outcome: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    _aws: Option<Metadata<'l>>,
    FunctionName: &'l str,
    Received: u8,
    #[serde(flatten)]
    done: BTreeMap<&'static str, u8>,
    Refused: u8,
    Failed: u8,
    Latency: f64,
}

impl CallerRecord {
    /// Begins a record at `time`.
    #[must_use]
    pub const fn new(time: Millis, request_id: Option<String>) -> Self {
        Self { time, request_id, trace_id: None, xray_trace_id: None, token_id: None, profile: None }
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

    /// Sets who asks.
    pub fn set_grant(&mut self, grant: &Grant<'_>) {
        self.token_id = Some(grant.token_id.clone());
        self.profile = Some(grant.profile.to_owned());
    }
}

impl RequestLog {
    /// Writes the line of one request.
    pub(crate) fn write_caller<R: Serialize>(&self, line: &CallerLine<'_, R>) {
        let CallerLine { record, caller, about, outcome, status, message, done, took } = line;
        let level = match status.as_u16() {
            ..400 => Level::Info,
            400..500 => Level::Warn,
            _ => Level::Error,
        };
        match self {
            Self::Off => {}
            Self::Counted(log, _) => log.write_caller(line),
            Self::Human => {
                let (token_id, profile) = (caller.token_id.as_deref(), caller.profile.as_deref());
                let status = status.as_u16();
                // `tracing` wants the level as a constant.
                macro_rules! log {
                    ($level:ident) => {
                        tracing::$level!(outcome, status, token_id, profile, about, "{message}")
                    };
                }
                match level {
                    Level::Info => log!(info),
                    Level::Warn => log!(warn),
                    Level::Error => log!(error),
                }
            }
            Self::Json { function, has_emf, output } => {
                let names = done.iter().map(|(name, _)| *name);
                let counts = ["Received", "Refused", "Failed"].into_iter().chain(names);
                let counts = counts.map(|name| Metric::new(name, "Count"));
                let directives = emf::written(&[Directive {
                    Namespace: NAMESPACE,
                    Dimensions: &[&["FunctionName"]],
                    Metrics: counts.chain([Metric::new("Latency", "Milliseconds")]).collect(),
                }]);
                let line = Line {
                    timestamp: &timestamp(),
                    level,
                    message,
                    record,
                    outcome,
                    status: status.as_u16(),
                    _aws: has_emf
                        .then_some(Metadata { Timestamp: caller.time, CloudWatchMetrics: &directives }),
                    FunctionName: function,
                    Received: 1,
                    done: done.iter().copied().collect(),
                    Refused: u8::from(status.is_client_error()),
                    Failed: u8::from(status.is_server_error()),
                    Latency: millis(*took),
                };
                write_line(output, &line);
            }
        }
    }
}
