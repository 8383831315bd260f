//! The log record of a request to the function `publish`: who, by which profile, which topic, with which outcome. It never
//! has a text.

use std::time::Duration;

use fanout_core::reason::with_sources;
use momento_webhook::Millis;
use serde::Serialize;

use super::outcome::PublishOutcome;
use crate::caller::record::{CallerLine, CallerRecord};
use crate::request_log::RequestLog;

/// The log record of one request.
#[derive(Debug, Serialize)]
pub struct PublishRecord {
    /// The members that every function for people writes.
    #[serde(flatten)]
    pub caller: CallerRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
}

impl PublishRecord {
    /// Begins a record at `time`.
    #[must_use]
    pub const fn new(time: Millis, request_id: Option<String>) -> Self {
        Self { caller: CallerRecord::new(time, request_id), cache: None, topic: None }
    }

    /// Sets the topic that it is about.
    pub fn set_topic(&mut self, cache: &str, topic: &str) {
        self.cache = Some(cache.to_owned());
        self.topic = Some(topic.to_owned());
    }
}

impl RequestLog {
    /// Writes the line of one request to the function `publish`.
    pub fn write_publish(&self, record: &PublishRecord, outcome: &PublishOutcome, took: Duration) {
        let message = match outcome.failure() {
            Some(failure) => format!("{}: {}", outcome.detail(), with_sources(failure)),
            None => outcome.detail(),
        };
        self.write_caller(&CallerLine {
            record,
            caller: &record.caller,
            about: record.topic.clone().unwrap_or_default(),
            outcome: outcome.name(),
            status: outcome.status(),
            message,
            done: vec![("Published", u8::from(matches!(outcome, PublishOutcome::Published(_))))],
            took,
        });
    }
}
