//! The log record of a request for a token. It is the audit record of the token: who, by which profile, what, until when.
//! It never has the token, the proof, or a claim beside the token id.

use std::time::Duration;

use fanout_identity::Grant;
use momento_webhook::Millis;
use serde::Serialize;

use super::outcome::TokenOutcome;
use crate::emf::{self, Directive, Metadata, Metric, timestamp};
use crate::request_log::{Level, NAMESPACE, RequestLog, millis, write_line};
use crate::trace::{TraceId, XrayId};
use fanout_core::reason::with_sources;

/// The log record of one request for a token.
#[derive(Debug, Serialize)]
pub struct TokenRecord {
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// The members of a line, and below them the metrics.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names of metrics and dimensions, as CloudWatch shows them")]
struct TokenLine<'l> {
    timestamp: &'l str,
    level: Level,
    message: &'l str,
    #[serde(flatten)]
    record: &'l TokenRecord,
    outcome: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    _aws: Option<Metadata<'l>>,
    FunctionName: &'l str,
    Received: u8,
    Issued: u8,
    Refused: u8,
    Failed: u8,
    Latency: f64,
}

impl TokenRecord {
    /// Begins a record at `time`.
    #[must_use]
    pub const fn new(time: Millis, request_id: Option<String>) -> Self {
        Self {
            time,
            request_id,
            trace_id: None,
            xray_trace_id: None,
            token_id: None,
            profile: None,
            permissions: Vec::new(),
            expires_at: None,
        }
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

    /// Sets who asks, and what the token may do.
    pub fn set_grant(&mut self, grant: &Grant<'_>) {
        self.token_id = Some(grant.token_id.clone());
        self.profile = Some(grant.profile.to_owned());
        self.permissions = grant.permissions.iter().map(ToString::to_string).collect();
    }

    /// Sets the time at which the token expires, in seconds since the Unix epoch.
    pub const fn set_expires_at(&mut self, seconds: u64) {
        self.expires_at = Some(seconds);
    }
}

impl RequestLog {
    /// Writes the line of one request for a token.
    pub fn write_token(&self, record: &TokenRecord, outcome: &TokenOutcome, took: Duration) {
        let status = outcome.status();
        let message = match outcome {
            TokenOutcome::Issued(_) => "token issued".to_owned(),
            TokenOutcome::Preflight => "preflight answered".to_owned(),
            TokenOutcome::NotIssued(failure) => {
                format!("Momento has not issued the token: {}", with_sources(failure))
            }
            outcome => outcome.detail(),
        };
        let level = match status.as_u16() {
            ..400 => Level::Info,
            400..500 => Level::Warn,
            _ => Level::Error,
        };
        let name = outcome.name();
        match self {
            Self::Off => {}
            Self::Counted(log, _) => log.write_token(record, outcome, took),
            Self::Human => {
                let (token_id, profile) = (record.token_id.as_deref(), record.profile.as_deref());
                let (permissions, status) = (record.permissions.join(", "), status.as_u16());
                // `tracing` wants the level as a constant.
                macro_rules! log {
                    ($level:ident) => {
                        tracing::$level!(outcome = name, status, token_id, profile, permissions, "{message}")
                    };
                }
                match level {
                    Level::Info => log!(info),
                    Level::Warn => log!(warn),
                    Level::Error => log!(error),
                }
            }
            Self::Json { function, has_emf, output } => {
                let counts =
                    ["Received", "Issued", "Refused", "Failed"].map(|name| Metric::new(name, "Count"));
                let directives = emf::written(&[Directive {
                    Namespace: NAMESPACE,
                    Dimensions: &[&["FunctionName"]],
                    Metrics: counts.into_iter().chain([Metric::new("Latency", "Milliseconds")]).collect(),
                }]);
                let line = TokenLine {
                    timestamp: &timestamp(),
                    level,
                    message: &message,
                    record,
                    outcome: name,
                    status: status.as_u16(),
                    _aws: has_emf
                        .then_some(Metadata { Timestamp: record.time, CloudWatchMetrics: &directives }),
                    FunctionName: function,
                    Received: 1,
                    Issued: u8::from(matches!(outcome, TokenOutcome::Issued(_))),
                    Refused: u8::from(status.is_client_error()),
                    Failed: u8::from(status.is_server_error()),
                    Latency: millis(took),
                };
                write_line(output, &line);
            }
        }
    }
}
