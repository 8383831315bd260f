//! Faults that a request asks for in its metadata, as the retry suites of Momento's SDKs do.
//!
//! | key | value |
//! | --- | --- |
//! | `request-id` | the id of requests that are counted together; without it, nothing is counted |
//! | `error-rpcs` | the names of the calls that fail, separated by spaces: `topic-publish topic-subscribe` |
//! | `return-error` | their code: `unavailable`, `deadline-exceeded`, `not-found` and so on |
//! | `error-count` | how many calls with this request id fail; without it, all |
//! | `delay-rpcs`, `delay-ms`, `delay-count` | the same for delayed calls |
//! | `stream-error-rpcs`, `stream-error` | subscriptions that end with an error |
//! | `stream-error-message-limit` | the number of items before the error, heartbeats included; without it, 0 |
//!
//! The names may be those of methods that local Momento does not serve. A code may also be a constant of the
//! SDKs, such as `SERVER_UNAVAILABLE`: the JavaScript SDK's middleware sends `stream-error` that way.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::CallContext;
use super::stream::StreamError;
use crate::status;

/// The number of request ids whose counts are kept, least recently used dropped first.
const MAX_REQUEST_IDS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4_095);

/// The longest request id. The suites send UUIDs.
const MAX_REQUEST_ID_BYTES: usize = 256;

/// The errors and delays of each request id so far.
#[derive(Debug)]
pub(crate) struct Counts(Mutex<LruCache<String, Count>>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    errors: u64,
    delays: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_REQUEST_IDS)))
    }
}

impl Counts {
    /// Counts one more fault of a request id and returns true, unless there were `max` already.
    fn claim(&self, id: Option<&str>, max: Option<u64>, count: impl Fn(&mut Count) -> &mut u64) -> bool {
        let (Some(id), Some(max)) = (id, max) else { return true };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let claimed = count(counts.get_or_insert_mut_ref(id, Count::default));
        let is_left = *claimed < max;
        *claimed += u64::from(is_left);
        is_left
    }
}

/// The faults that one request asks for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RequestedFaults {
    request_id: Option<String>,
    delay: Option<(Duration, Option<u64>)>,
    error: Option<(Code, Option<u64>)>,
    /// The error that ends a subscription.
    pub(crate) stream_error: Option<StreamError>,
}

impl RequestedFaults {
    /// Reads the faults for the call with this [name](crate::rpc::metadata_name).
    ///
    /// # Errors
    /// If a value is malformed: a test that misspells its fault must not pass as if it had the fault.
    pub(crate) fn read(rpc: &str, metadata: &MetadataMap) -> Result<Self, Status> {
        let request_id = text(metadata, "request-id");
        if request_id.is_some_and(|id| id.len() > MAX_REQUEST_ID_BYTES) {
            return Err(invalid("request-id"));
        }
        let mut requested = Self { request_id: request_id.map(str::to_owned), ..Self::default() };
        if names(metadata, "delay-rpcs", rpc)
            && let Some(millis) = parse(metadata, "delay-ms")?
        {
            requested.delay = Some((Duration::from_millis(millis), parse(metadata, "delay-count")?));
        }
        if names(metadata, "error-rpcs", rpc)
            && let Some(NamedCode(code)) = parse(metadata, "return-error")?
        {
            requested.error = Some((code, parse(metadata, "error-count")?));
        }
        if names(metadata, "stream-error-rpcs", rpc)
            && let Some(NamedCode(code)) = parse(metadata, "stream-error")?
        {
            let limit = parse(metadata, "stream-error-message-limit")?.unwrap_or(0);
            requested.stream_error = Some(StreamError { code, limit });
        }
        Ok(requested)
    }

    /// Delays and fails the call, as requested and not yet used up.
    pub(crate) async fn apply(&self, counts: &Counts, context: &CallContext) -> Result<(), Status> {
        let id = self.request_id.as_deref();
        if let Some((delay, max)) = self.delay
            && counts.claim(id, max, |count| &mut count.delays)
        {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = context.shutdown.cancelled() => return Err(status::shutting_down()),
            }
        }
        match self.error {
            Some((code, max)) if counts.claim(id, max, |count| &mut count.errors) => {
                Err(status::error(code, "error requested in the metadata"))
            }
            _ => Ok(()),
        }
    }
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

/// Returns true if the list in `key` has the name of the call.
fn names(metadata: &MetadataMap, key: &str, rpc: &str) -> bool {
    text(metadata, key).is_some_and(|list| list.split([' ', ',']).any(|name| name == rpc))
}

fn parse<T: FromStr>(metadata: &MetadataMap, key: &str) -> Result<Option<T>, Status> {
    text(metadata, key).map(|value| value.trim().parse().map_err(|_| invalid(key))).transpose()
}

fn invalid(key: &str) -> Status {
    status::error(Code::InvalidArgument, format!("metadata '{key}' is invalid"))
}

/// A status code, parsed from its name or from a constant of an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedCode(pub(crate) Code);

impl FromStr for NamedCode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let code = match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "cancelled" | "cancelled-error" => Code::Cancelled,
            "unknown" | "unknown-error" | "unknown-service-error" => Code::Unknown,
            "invalid-argument" | "invalid-argument-error" | "bad-request-error" => Code::InvalidArgument,
            "deadline-exceeded" | "timeout-error" => Code::DeadlineExceeded,
            "not-found"
            | "not-found-error"
            | "cache-not-found-error"
            | "store-not-found-error"
            | "item-not-found-error" => Code::NotFound,
            "already-exists"
            | "already-exists-error"
            | "cache-already-exists-error"
            | "store-already-exists-error" => Code::AlreadyExists,
            "permission-denied" | "permission-error" => Code::PermissionDenied,
            "resource-exhausted" | "limit-exceeded-error" | "client-resource-exhausted" => {
                Code::ResourceExhausted
            }
            "failed-precondition" | "failed-precondition-error" => Code::FailedPrecondition,
            "aborted" => Code::Aborted,
            "out-of-range" => Code::OutOfRange,
            "unimplemented" => Code::Unimplemented,
            "internal" | "internal-server-error" => Code::Internal,
            "unavailable" | "server-unavailable" | "connection-error" => Code::Unavailable,
            "data-loss" => Code::DataLoss,
            "unauthenticated" | "authentication-error" => Code::Unauthenticated,
            _ => return Err(format!("unknown code '{name}'")),
        };
        Ok(Self(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;
    use tonic::metadata::AsciiMetadataKey;

    fn metadata(pairs: &[(&str, &str)]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for (key, value) in pairs {
            metadata.insert(AsciiMetadataKey::from_str(key).unwrap(), value.parse().unwrap());
        }
        metadata
    }

    fn context() -> CallContext {
        CallContext { connection: None, shutdown: CancellationToken::new() }
    }

    #[test]
    fn requests_no_faults_without_matching_metadata() {
        assert_eq!(
            RequestedFaults::read("topic-publish", &metadata(&[])).unwrap(),
            RequestedFaults::default()
        );
        let other_calls = metadata(&[("error-rpcs", "get set-if"), ("return-error", "unavailable")]);
        assert_eq!(RequestedFaults::read("topic-publish", &other_calls).unwrap(), RequestedFaults::default());
        let no_calls = metadata(&[("return-error", "unavailable")]);
        assert_eq!(RequestedFaults::read("topic-publish", &no_calls).unwrap(), RequestedFaults::default());
    }

    #[tokio::test]
    async fn counts_errors_for_each_request_id() {
        let counts = Counts::default();
        let ask = async |id: &str, count: &str| {
            let metadata = metadata(&[
                ("request-id", id),
                ("error-rpcs", "get topic-publish"),
                ("return-error", "unavailable"),
                ("error-count", count),
            ]);
            let requested = RequestedFaults::read("topic-publish", &metadata).unwrap();
            requested.apply(&counts, &context()).await.map_err(|status| status.code())
        };
        assert_eq!(ask("one", "2").await, Err(Code::Unavailable));
        assert_eq!(ask("one", "2").await, Err(Code::Unavailable));
        assert_eq!(ask("one", "2").await, Ok(()));
        assert_eq!(ask("two", "2").await, Err(Code::Unavailable));
        assert_eq!(ask("one", "").await, Err(Code::Unavailable), "without a count, all calls fail");
    }

    #[tokio::test(start_paused = true)]
    async fn delays_before_error() {
        let metadata = metadata(&[
            ("request-id", "one"),
            ("delay-rpcs", "topic-publish"),
            ("delay-ms", "1500"),
            ("delay-count", "1"),
            ("error-rpcs", "topic-publish"),
            ("return-error", "internal"),
        ]);
        let (counts, start) = (Counts::default(), tokio::time::Instant::now());
        let requested = RequestedFaults::read("topic-publish", &metadata).unwrap();
        for _ in 0..2 {
            let status = requested.apply(&counts, &context()).await.unwrap_err();
            assert_eq!(status.code(), Code::Internal);
            assert_eq!(start.elapsed().as_millis(), 1500, "the second call is not delayed");
        }
    }

    #[test]
    fn parses_stream_error_in_both_spellings() {
        for name in ["unavailable", "SERVER_UNAVAILABLE"] {
            let metadata = metadata(&[
                ("stream-error-rpcs", "topic-subscribe"),
                ("stream-error", name),
                ("stream-error-message-limit", "3"),
            ]);
            let requested = RequestedFaults::read("topic-subscribe", &metadata).unwrap();
            assert_eq!(requested.stream_error, Some(StreamError { code: Code::Unavailable, limit: 3 }));
        }
    }

    #[test]
    fn rejects_misspelled_values() {
        for (key, value) in [
            ("return-error", "sometimes"),
            ("error-count", "many"),
            ("delay-ms", "-1"),
            ("request-id", &"x".repeat(257)),
        ] {
            let mut asked = metadata(&[
                ("error-rpcs", "topic-publish"),
                ("return-error", "unavailable"),
                ("delay-rpcs", "topic-publish"),
                ("delay-ms", "1"),
            ]);
            asked.insert(AsciiMetadataKey::from_str(key).unwrap(), value.parse().unwrap());
            let error = RequestedFaults::read("topic-publish", &asked).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{key}");
            assert!(error.message().contains(key));
        }
    }

    #[test]
    fn forgets_least_recently_used_request_ids() {
        let counts = Counts::default();
        for id in 0..2 * MAX_REQUEST_IDS.get() {
            assert!(counts.claim(Some(&id.to_string()), Some(1), |count| &mut count.errors));
        }
        assert_eq!(counts.0.lock().unwrap().len(), MAX_REQUEST_IDS.get());
    }
}
