//! What the function's answer says of each destination.

use serde::Deserialize;
use serde_json::Value;

use crate::output::excerpt;

/// The part of an answer that matters here. Other functions may answer anything: what is not understood is
/// as if it were not there.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What became of the event, where all went well.
    pub(super) status: Option<String>,
    /// Why it was dropped, where there is one reason for all.
    pub(super) reason: Option<String>,
    /// What became of each destination, where they are listed.
    pub(super) destinations: Option<Vec<Outcome>>,
}

/// What became of a destination.
#[derive(Debug, Deserialize)]
pub(super) struct Outcome {
    /// Empty for what is no topic.
    #[serde(default)]
    pub(super) cache: String,
    /// What it is, where it is no topic.
    pub(super) kind: Option<String>,
    /// Its name, where it is no topic.
    #[serde(alias = "name")]
    pub(super) topic: String,
    status: String,
    reason: Option<String>,
    transform: Option<String>,
    detail: Option<String>,
}

impl Told {
    /// Reads the body of an answer.
    pub(super) fn read(body: &str) -> Self {
        let Ok(mut body) = serde_json::from_str::<Value>(body) else { return Self::default() };
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let (status, reason) = (text("status"), text("reason"));
        let destinations = body.get_mut("destinations").map(Value::take);
        let destinations = destinations.and_then(|list| serde_json::from_value(list).ok());
        Self { status, reason, destinations }
    }

    /// Whether the function has no route for the topic.
    pub(super) fn is_ignored(&self) -> bool {
        self.status.as_deref() == Some("ignored")
    }

    /// Why nothing will arrive anywhere, where that is what was decided.
    pub(super) fn all_dropped(&self) -> Option<String> {
        let is_dropped = self.status.as_deref() == Some("dropped") && self.destinations.is_none();
        is_dropped.then(|| self.reason.as_deref().map_or_else(no_reason, excerpt))
    }

    /// The destinations that did not take the text, and why; nothing where none is listed.
    pub(super) fn failures(&self) -> Option<String> {
        let failures: Vec<_> = self.destinations.iter().flatten().filter_map(Outcome::failure).collect();
        (!failures.is_empty()).then(|| failures.join("; "))
    }
}

impl Outcome {
    /// Why there was decided that it gets nothing.
    pub(super) fn dropped(&self) -> Option<String> {
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

    /// Whether it has the text, or had it before.
    pub(super) fn is_published(&self) -> bool {
        matches!(self.status.as_str(), "published" | "already_published")
    }

    fn failure(&self) -> Option<String> {
        if self.is_published() || self.dropped().is_some() {
            return None;
        }
        let parts = [&self.reason, &self.transform, &self.detail];
        let parts: Vec<_> = parts.into_iter().flatten().map(|part| excerpt(part)).collect();
        let place = match &self.kind {
            Some(kind) => excerpt(&format!("{kind} {}", self.topic)),
            None => crate::output::Quoted(&self.topic).to_string(),
        };
        Some(format!("{place} {}: {}", excerpt(&self.status), parts.join(", ")))
    }
}

fn no_reason() -> String {
    "no reason given".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_not_there() {
        for body in ["", "OK", "3", "[]", r#"{"status":200}"#, r#"{"destinations":[{"topic":3}]}"#] {
            let told = Told::read(body);
            assert!(!told.is_ignored() && told.all_dropped().is_none(), "{body}");
            assert!(told.destinations.is_none() && told.failures().is_none(), "{body}");
        }
    }

    #[test]
    fn an_answer_tells_whether_anything_will_arrive() {
        assert!(Told::read(r#"{"status":"ignored"}"#).is_ignored());
        for (body, why) in [
            (r#"{"status":"success"}"#, None),
            (r#"{"status":"duplicate"}"#, None),
            (r#"{"status":"dropped"}"#, Some("no reason given")),
            (r#"{"status":"dropped","reason":"ru\u001bde"}"#, Some(r"ru\u{1b}de")),
            (r#"{"status":"dropped","destinations":[]}"#, None),
        ] {
            assert_eq!(Told::read(body).all_dropped().as_deref(), why, "{body}");
        }
    }

    #[test]
    fn each_destination_has_its_outcome() {
        let told = Told::read(
            r#"{"status":503,"destinations":[
                {"cache":"c","topic":"a","status":"published","attempts":1},
                {"cache":"c","topic":"b","status":"dropped","reason":"filter: no","transform":"filter"},
                {"cache":"c","topic":"c","status":"dropped","reason":"too long","transform":"json"},
                {"cache":"c","topic":"d","status":"failed","reason":"timed_out","attempts":4},
                {"cache":"c","topic":"f","status":"already_dropped"},
                {"cache":"c","topic":"e","status":"refused","reason":"too_large","transform":"translate","detail":"no"}]}"#,
        );
        let outcomes = told.destinations.as_ref().unwrap();
        let dropped: Vec<_> = outcomes.iter().map(Outcome::dropped).collect();
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
        let published: Vec<_> = outcomes.iter().map(Outcome::is_published).collect();
        assert_eq!(published, [true, false, false, false, false, false]);
        assert_eq!(
            told.failures().as_deref(),
            Some(r#""d" failed: timed_out; "e" refused: too_large, translate, no"#)
        );
    }
}
