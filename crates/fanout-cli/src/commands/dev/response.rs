//! The response of the function: the outcome of each destination.

use serde::Deserialize;
use serde_json::Value;

use crate::output::{Quoted, excerpt};

/// The known members of a response's body. Another function may respond with any body: unknown content counts as
/// missing.
#[derive(Debug, Default)]
pub(super) struct ResponseBody {
    /// The outcome of the event, if the status is 2xx.
    status: Option<String>,
    /// The reason of a drop, if it is the same for all destinations.
    reason: Option<String>,
    /// The outcome of each destination, if they are listed.
    pub(super) destinations: Option<Vec<DestinationOutcome>>,
}

/// The outcome of a destination.
#[derive(Debug, Deserialize)]
pub(super) struct DestinationOutcome {
    /// The cache; empty for an AWS destination.
    #[serde(default)]
    pub(super) cache: String,
    /// The kind of an AWS destination.
    pub(super) kind: Option<String>,
    /// The topic, or the name of an AWS destination.
    #[serde(alias = "name")]
    pub(super) topic: String,
    status: String,
    reason: Option<String>,
    transform: Option<String>,
    detail: Option<String>,
}

impl ResponseBody {
    /// Reads a body.
    pub(super) fn read(body: &str) -> Self {
        let Ok(mut body) = serde_json::from_str::<Value>(body) else { return Self::default() };
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let (status, reason) = (text("status"), text("reason"));
        let destinations = body.get_mut("destinations").map(Value::take);
        let destinations = destinations.and_then(|list| serde_json::from_value(list).ok());
        Self { status, reason, destinations }
    }

    /// Returns true if the function has no route for the topic.
    pub(super) fn is_ignored(&self) -> bool {
        self.status.as_deref() == Some("ignored")
    }

    /// Returns the reason if the event was dropped for all destinations, and they are not listed.
    pub(super) fn drop_reason(&self) -> Option<String> {
        let is_dropped = self.status.as_deref() == Some("dropped") && self.destinations.is_none();
        is_dropped.then(|| self.reason.as_deref().map_or_else(no_reason, excerpt))
    }

    /// Describes the destinations that failed, if any are listed.
    pub(super) fn failures(&self) -> Option<String> {
        let failures: Vec<_> =
            self.destinations.iter().flatten().filter_map(DestinationOutcome::failure).collect();
        (!failures.is_empty()).then(|| failures.join("; "))
    }
}

impl DestinationOutcome {
    /// Returns the reason if the event was dropped for this destination.
    pub(super) fn drop_reason(&self) -> Option<String> {
        if self.status == "already_dropped" {
            return Some("at an earlier delivery".to_owned());
        }
        if self.status != "dropped" {
            return None;
        }
        let reason = self.reason.as_deref().map_or_else(no_reason, excerpt);
        Some(match &self.transform {
            Some(transform) if !reason.starts_with(transform.as_str()) => {
                format!("{}: {reason}", excerpt(transform))
            }
            _ => reason,
        })
    }

    /// Returns true if the destination has the text, from this delivery or an earlier one.
    pub(super) fn is_published(&self) -> bool {
        matches!(self.status.as_str(), "published" | "already_published")
    }

    /// Returns the kind and the name of an AWS destination.
    pub(super) fn service_name(&self) -> Option<String> {
        self.kind.as_ref().map(|kind| excerpt(&format!("{kind} {}", self.topic)))
    }

    fn failure(&self) -> Option<String> {
        if self.is_published() || self.drop_reason().is_some() {
            return None;
        }
        let parts = [&self.reason, &self.transform, &self.detail];
        let parts: Vec<_> = parts.into_iter().flatten().map(|part| excerpt(part)).collect();
        let name = self.service_name().unwrap_or_else(|| Quoted(&self.topic).to_string());
        Some(format!("{name} {}: {}", excerpt(&self.status), parts.join(", ")))
    }
}

fn no_reason() -> String {
    "no reason given".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_unknown_bodies() {
        for body in ["", "OK", "3", "[]", r#"{"status":200}"#, r#"{"destinations":[{"topic":3}]}"#] {
            let read = ResponseBody::read(body);
            assert!(!read.is_ignored() && read.drop_reason().is_none(), "{body}");
            assert!(read.destinations.is_none() && read.failures().is_none(), "{body}");
        }
    }

    #[test]
    fn reads_whether_anything_will_arrive() {
        assert!(ResponseBody::read(r#"{"status":"ignored"}"#).is_ignored());
        for (body, why) in [
            (r#"{"status":"success"}"#, None),
            (r#"{"status":"duplicate"}"#, None),
            (r#"{"status":"dropped"}"#, Some("no reason given")),
            (r#"{"status":"dropped","reason":"ru\u001bde"}"#, Some(r"ru\u{1b}de")),
            (r#"{"status":"dropped","destinations":[]}"#, None),
        ] {
            assert_eq!(ResponseBody::read(body).drop_reason().as_deref(), why, "{body}");
        }
    }

    #[test]
    fn reads_outcome_of_each_destination() {
        let body = ResponseBody::read(
            r#"{"status":503,"destinations":[
                {"cache":"c","topic":"a","status":"published","attempts":1},
                {"cache":"c","topic":"b","status":"dropped","reason":"filter: no","transform":"filter"},
                {"cache":"c","topic":"c","status":"dropped","reason":"too long","transform":"json"},
                {"cache":"c","topic":"d","status":"failed","reason":"timed_out","attempts":4},
                {"cache":"c","topic":"f","status":"already_dropped"},
                {"cache":"c","topic":"e","status":"refused","reason":"too_large","transform":"translate","detail":"no"}]}"#,
        );
        let outcomes = body.destinations.as_ref().unwrap();
        let dropped: Vec<_> = outcomes.iter().map(DestinationOutcome::drop_reason).collect();
        assert_eq!(
            dropped,
            [
                None,
                Some("filter: no".to_owned()),
                Some("json: too long".to_owned()),
                None,
                Some("at an earlier delivery".to_owned()),
                None
            ]
        );
        let published: Vec<_> = outcomes.iter().map(DestinationOutcome::is_published).collect();
        assert_eq!(published, [true, false, false, false, false, false]);
        assert_eq!(
            body.failures().as_deref(),
            Some(r#""d" failed: timed_out; "e" refused: too_large, translate, no"#)
        );
    }
}
