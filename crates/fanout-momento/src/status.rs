//! Failures of Momento: their reason, and their description.

use std::error::Error;

use fanout_core::reason::{Failure, Reason};
use momento::{ErrorSource, MomentoError, MomentoErrorCode};
use tonic::{Code, Status};

/// Returns the gRPC status under an error of the SDK.
#[must_use]
pub fn status(error: &MomentoError) -> Option<&Status> {
    match &error.inner_error {
        Some(ErrorSource::TonicStatus(status)) => Some(status),
        _ => None,
    }
}

/// Returns the reason for an error of the SDK.
///
/// The SDK's own codes do not tell a rate limit from a text that is too large, and take some broken connections for a
/// limit. So the gRPC status decides, if there is one.
pub(crate) fn reason(error: &MomentoError) -> Reason {
    let Some(status) = status(error) else {
        return match error.error_code {
            MomentoErrorCode::InvalidArgumentError => Reason::InvalidArgument,
            _ => Reason::Internal,
        };
    };
    match status.code() {
        Code::Unavailable => Reason::Unavailable,
        // A connection that is refused, or cut during a call, comes as any of these.
        Code::Cancelled | Code::Unknown | Code::Internal if is_connection(status) => Reason::Unavailable,
        // A client cancels the call at its own deadline.
        Code::DeadlineExceeded | Code::Cancelled => Reason::TimedOut,
        Code::ResourceExhausted => exhausted(status),
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::Unimplemented => {
            Reason::InvalidArgument
        }
        Code::NotFound => Reason::NotFound,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::Unknown | Code::Internal | Code::Aborted | Code::DataLoss | Code::AlreadyExists | Code::Ok => {
            Reason::Internal
        }
    }
}

/// Returns true if the connection failed, and the service did not respond.
fn is_connection(status: &Status) -> bool {
    sources(status).any(|error| error.is::<std::io::Error>() || error.is::<hyper::Error>())
}

/// Tells which limit was exceeded. The service names it in the metadata `err`, and older versions in the message, as the
/// SDK's `errors.rs` reads them.
fn exhausted(status: &Status) -> Reason {
    let too_large = if let Some(limit) = status.metadata().get("err") {
        let sizes =
            ["request_size_limit_exceeded", "item_size_limit_exceeded", "element_size_limit_exceeded"];
        sizes.iter().any(|size| limit == size)
    } else {
        let message = status.message().to_lowercase();
        ["request limit", "item size", "element size"].iter().any(|size| message.contains(size))
    };
    if too_large { Reason::TooLarge } else { Reason::RateLimited }
}

/// Describes a failed publish: what Momento says, or the reason.
#[must_use]
pub fn describe_failure(error: &Failure) -> String {
    let source = error.source.as_deref().and_then(|source| source.downcast_ref::<MomentoError>());
    source.map_or_else(|| error.detail.to_string(), describe_error)
}

/// Describes an error of the SDK.
#[must_use]
pub fn describe_error(error: &MomentoError) -> String {
    match status(error) {
        Some(status) => describe(status),
        None if error.error_code == MomentoErrorCode::InvalidArgumentError => error.message.clone(),
        None => sources(error).last().map_or_else(|| error.to_string(), ToString::to_string),
    }
}

/// Describes a status: the kind of failure, and its root cause or the message of the service.
#[must_use]
pub fn describe(status: &Status) -> String {
    let kind = match status.code() {
        Code::Ok => "no error",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown error",
        Code::InvalidArgument => "invalid argument",
        Code::DeadlineExceeded => "deadline exceeded",
        Code::NotFound => "not found",
        Code::AlreadyExists => "already exists",
        Code::PermissionDenied => "permission denied",
        Code::ResourceExhausted => "limit exceeded",
        Code::FailedPrecondition => "failed precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out of range",
        Code::Unimplemented => "not implemented",
        Code::Internal => "internal error",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data loss",
        Code::Unauthenticated => "not authenticated",
    };
    let detail = sources(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string);
    if detail.is_empty() { kind.to_owned() } else { format!("{kind}: {detail}") }
}

/// Returns the error under `error`, the error under that, and so on.
fn sources<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: Status) -> Reason {
        reason(&MomentoError::from(status))
    }

    #[test]
    fn maps_every_status_to_a_reason() {
        for (code, expected) in [
            (Code::Cancelled, Reason::TimedOut),
            (Code::Unknown, Reason::Internal),
            (Code::InvalidArgument, Reason::InvalidArgument),
            (Code::DeadlineExceeded, Reason::TimedOut),
            (Code::NotFound, Reason::NotFound),
            (Code::AlreadyExists, Reason::Internal),
            (Code::PermissionDenied, Reason::PermissionDenied),
            (Code::ResourceExhausted, Reason::RateLimited),
            (Code::FailedPrecondition, Reason::InvalidArgument),
            (Code::Aborted, Reason::Internal),
            (Code::OutOfRange, Reason::InvalidArgument),
            (Code::Unimplemented, Reason::InvalidArgument),
            (Code::Internal, Reason::Internal),
            (Code::Unavailable, Reason::Unavailable),
            (Code::DataLoss, Reason::Internal),
            (Code::Unauthenticated, Reason::Unauthenticated),
        ] {
            assert_eq!(of(Status::new(code, "")), expected, "{code:?}");
        }
    }

    #[test]
    fn tells_text_that_is_too_large_from_rate_limit() {
        let with = |err: &'static str| {
            let mut status = Status::resource_exhausted("");
            status.metadata_mut().insert("err", err.parse().unwrap());
            of(status)
        };
        assert_eq!(with("request_size_limit_exceeded"), Reason::TooLarge);
        assert_eq!(with("item_size_limit_exceeded"), Reason::TooLarge);
        assert_eq!(with("operations_rate_limit_exceeded"), Reason::RateLimited);
        assert_eq!(with("throughput_rate_limit_exceeded"), Reason::RateLimited);
        assert_eq!(of(Status::resource_exhausted("Request limit exceeded")), Reason::TooLarge);
        assert_eq!(of(Status::resource_exhausted("too many operations")), Reason::RateLimited);
    }

    #[test]
    fn broken_connection_is_transient_though_the_sdk_calls_it_a_limit() {
        let reason = of(Status::internal("h2 protocol error: error reading a body from connection"));
        assert!(reason.is_transient(), "{reason:?}");
    }

    #[test]
    fn describes_status_by_kind_and_message() {
        assert_eq!(describe(&Status::not_found("no such cache")), "not found: no such cache");
        assert_eq!(describe(&Status::unavailable("")), "unavailable");
    }
}
