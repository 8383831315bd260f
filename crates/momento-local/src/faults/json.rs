//! Faults as JSON, for scripts outside the process.
//!
//! ```json
//! {"kind": "error", "code": "unavailable", "message": "try later", "metadata": {"err": "server_is_busy"},
//!  "rpc": "topic-publish", "cache": "demo", "topic": "orders", "times": 2, "when": "after-apply"}
//! ```
//!
//! `kind` is required: `error`, `delay`, `hang` or `cut`. `error` requires `code`, and `delay` requires `delay_ms`.
//! `when` is `before-apply` (the default) or `after-apply`. With `after_messages`, the fault applies to open
//! subscriptions instead.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tonic::Code;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};

use super::metadata::NamedCode;
use super::{Action, ActiveFault, Fault, When};
use crate::rpc::Rpc;

/// A fault in JSON.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultJson {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rpc: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_messages: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Error,
    Delay,
    Hang,
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Moment {
    BeforeApply,
    AfterApply,
}

/// An injected fault in JSON, with its id and hits.
#[derive(Debug, Serialize)]
pub(crate) struct ListedFault {
    pub(crate) id: u64,
    hits: usize,
    #[serde(flatten)]
    fault: FaultJson,
}

impl TryFrom<FaultJson> for Fault {
    type Error = String;

    fn try_from(json: FaultJson) -> Result<Self, String> {
        let action = json.action()?;
        let when = match (json.when, json.after_messages) {
            (Some(_), Some(_)) => return Err("'when' and 'after_messages' cannot be combined".to_owned()),
            (_, Some(messages)) => When::AfterMessages(messages),
            (Some(Moment::AfterApply), None) => When::AfterApply,
            (Some(Moment::BeforeApply) | None, None) => When::BeforeApply,
        };
        let mut rpc = json.rpc.as_deref().map(Rpc::from_str).transpose()?;
        if let When::AfterMessages(_) = when
            && rpc.replace(Rpc::Subscribe).is_some_and(|rpc| rpc != Rpc::Subscribe)
        {
            return Err("'after_messages' is only for the rpc 'topic-subscribe'".to_owned());
        }
        Ok(Self { action, when, rpc, cache: json.cache, topic: json.topic, times: json.times })
    }
}

impl FaultJson {
    fn action(&self) -> Result<Action, String> {
        let error_only = self.code.is_some() || self.message.is_some() || !self.metadata.is_empty();
        if self.kind != Kind::Error && error_only {
            return Err("'code', 'message' and 'metadata' are only for the kind 'error'".to_owned());
        }
        if self.kind != Kind::Delay && self.delay_ms.is_some() {
            return Err("'delay_ms' is only for the kind 'delay'".to_owned());
        }
        match self.kind {
            Kind::Hang => Ok(Action::Hang),
            Kind::Cut => Ok(Action::Cut),
            Kind::Delay => {
                let millis = self.delay_ms.ok_or("the kind 'delay' requires 'delay_ms'")?;
                Ok(Action::Delay(Duration::from_millis(millis)))
            }
            Kind::Error => {
                let NamedCode(code) =
                    self.code.as_deref().ok_or("the kind 'error' requires 'code'")?.parse()?;
                for (key, value) in &self.metadata {
                    if AsciiMetadataKey::from_str(key).is_err()
                        || AsciiMetadataValue::try_from(value).is_err()
                    {
                        return Err(format!("'{key}' is not valid metadata"));
                    }
                }
                let metadata = self.metadata.clone().into_iter().collect();
                Ok(Action::Error { code, message: self.message.clone(), metadata })
            }
        }
    }
}

impl From<&Fault> for FaultJson {
    fn from(fault: &Fault) -> Self {
        let mut json = Self {
            rpc: fault.rpc.map(|rpc| rpc.to_string()),
            cache: fault.cache.clone(),
            topic: fault.topic.clone(),
            times: fault.times,
            ..Self::default()
        };
        match &fault.action {
            Action::Hang => json.kind = Kind::Hang,
            Action::Cut => json.kind = Kind::Cut,
            Action::Delay(delay) => {
                json.kind = Kind::Delay;
                json.delay_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            }
            Action::Error { code, message, metadata } => {
                json.code = Some(code_name(*code).to_owned());
                json.message.clone_from(message);
                json.metadata = metadata.iter().cloned().collect();
            }
        }
        match fault.when {
            When::BeforeApply => {}
            When::AfterApply => json.when = Some(Moment::AfterApply),
            When::AfterMessages(messages) => json.after_messages = Some(messages),
        }
        json
    }
}

impl From<&ActiveFault> for ListedFault {
    fn from(active: &ActiveFault) -> Self {
        Self { id: active.id, hits: *active.hits.borrow(), fault: FaultJson::from(&active.fault) }
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid-argument",
        Code::DeadlineExceeded => "deadline-exceeded",
        Code::NotFound => "not-found",
        Code::AlreadyExists => "already-exists",
        Code::PermissionDenied => "permission-denied",
        Code::ResourceExhausted => "resource-exhausted",
        Code::FailedPrecondition => "failed-precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out-of-range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data-loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Fault, String> {
        serde_json::from_str::<FaultJson>(json).map_err(|error| error.to_string())?.try_into()
    }

    #[test]
    fn parses_and_writes_every_kind() {
        let faults = [
            Fault::error(Code::PermissionDenied).message("no").metadata("err", "why").on(Rpc::Publish),
            Fault::delay(Duration::from_millis(250)).cache("c").topic("t").times(3),
            Fault::hang().after_apply(),
            Fault::cut().after_messages(2),
        ];
        for fault in faults {
            let json = serde_json::to_string(&FaultJson::from(&fault)).unwrap();
            assert_eq!(read(&json), Ok(fault), "{json}");
        }
        for code in (1..=16).map(Code::from_i32) {
            assert_eq!(code_name(code).parse(), Ok(NamedCode(code)));
        }
    }

    #[test]
    fn parses_documented_example() {
        let example = r#"{"kind": "error", "code": "unavailable", "message": "try later",
            "metadata": {"err": "server_is_busy"}, "rpc": "topic-publish", "cache": "demo",
            "topic": "orders", "times": 2, "when": "after-apply"}"#;
        let fault = Fault::error(Code::Unavailable)
            .message("try later")
            .metadata("err", "server_is_busy")
            .on(Rpc::Publish)
            .cache("demo")
            .topic("orders")
            .times(2)
            .after_apply();
        assert_eq!(read(example), Ok(fault));
    }

    #[test]
    fn rejects_contradictory_faults() {
        for (json, expected) in [
            (r#"{"code":"unavailable"}"#, "missing field `kind`"),
            (r#"{"kind":"error"}"#, "requires 'code'"),
            (r#"{"kind":"error","code":"odd"}"#, "unknown code 'odd'"),
            (r#"{"kind":"delay"}"#, "requires 'delay_ms'"),
            (r#"{"kind":"cut","delay_ms":1}"#, "only for the kind 'delay'"),
            (r#"{"kind":"hang","code":"internal"}"#, "only for the kind 'error'"),
            (r#"{"kind":"hang","rpc":"list-reverse"}"#, "unknown rpc 'list-reverse'"),
            (r#"{"kind":"cut","rpc":"ping","after_messages":1}"#, "topic-subscribe"),
            (r#"{"kind":"cut","when":"after-apply","after_messages":1}"#, "cannot be combined"),
            (r#"{"kind":"error","code":"internal","metadata":{"no key":"x"}}"#, "not valid metadata"),
            (r#"{"kind":"cut","often":true}"#, "unknown field `often`"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
