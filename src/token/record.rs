//! The log record of a request for a token. It is the audit record of the token: who, by which profile, what, until when.
//! It never has the token.

use std::time::Duration;

use fanout_core::permission::Permission;
use fanout_core::reason::with_sources;
use fanout_identity::Grant;
use momento_webhook::Millis;
use serde::Serialize;

use super::outcome::TokenOutcome;
use crate::caller::record::{CallerLine, CallerRecord};
use crate::request_log::RequestLog;

/// The log record of one request for a token.
#[derive(Debug, Serialize)]
pub struct TokenRecord {
    /// The members that every function for people writes.
    #[serde(flatten)]
    pub caller: CallerRecord,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl TokenRecord {
    /// Begins a record at `time`.
    #[must_use]
    pub const fn new(time: Millis, request_id: Option<String>) -> Self {
        let caller = CallerRecord::new(time, request_id);
        Self { caller, permissions: Vec::new(), expires_at: None }
    }

    /// Sets who asks, and what the token may do.
    pub fn set_grant(&mut self, grant: &Grant<'_>, permissions: &[Permission]) {
        self.caller.set_grant(grant);
        self.permissions = permissions.iter().map(ToString::to_string).collect();
    }

    /// Sets the time at which the token expires, in seconds since the Unix epoch.
    pub const fn set_expires_at(&mut self, seconds: u64) {
        self.expires_at = Some(seconds);
    }
}

impl RequestLog {
    /// Writes the line of one request for a token.
    pub fn write_token(&self, record: &TokenRecord, outcome: &TokenOutcome, took: Duration) {
        let message = match outcome {
            TokenOutcome::NotIssued(failure) => {
                format!("Momento has not issued the token: {}", with_sources(failure))
            }
            outcome => outcome.detail(),
        };
        self.write_caller(&CallerLine {
            record,
            caller: &record.caller,
            about: record.permissions.join(", "),
            outcome: outcome.name(),
            status: outcome.status(),
            message,
            done: vec![("Issued", u8::from(matches!(outcome, TokenOutcome::Issued(_))))],
            took,
        });
    }
}
