//! Errors as the service sends them: a code, a message, and the trailer `err`.
//!
//! The values of `err` are those that the SDKs know (`momento::MomentoErrorCode`, the JavaScript, Python
//! and Go error mappers, the comments of Momento's `store.proto`). For "not found" and "already exists" the
//! SDKs go by the code alone, unless `err` names a store or an item. So the errors of a cache carry the general
//! value, which says that the error comes from Momento and not from a proxy.

use std::fmt;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::error::CacheError;
use crate::items::ItemError;

const ERR: &str = "err";
const GENERAL: &str = "momento_general_err";
const REQUEST_SIZE: &str = "request_size_limit_exceeded";
const ITEM_SIZE: &str = "item_size_limit_exceeded";
const ELEMENT_SIZE: &str = "element_size_limit_exceeded";
const SUBSCRIPTIONS: &str = "topic_subscriptions_limit_exceeded";

/// Returns an error with the general `err` trailer.
pub(crate) fn error(code: Code, message: impl Into<String>) -> Status {
    with_err(code, message, GENERAL)
}

/// Returns the error for a call that the caller's key or token does not allow.
pub(crate) fn denied() -> Status {
    error(Code::PermissionDenied, "Insufficient permissions: the key or token does not allow this call")
}

/// Returns the error for a message or request that is too large.
///
/// Momento documents the limit and not its code. The SDKs read `RESOURCE_EXHAUSTED` with this `err` as
/// "request size limit exceeded". Without trailers they look for "request limit" in the text.
pub(crate) fn too_large(detail: impl fmt::Display) -> Status {
    with_err(Code::ResourceExhausted, format!("request limit exceeded: {detail}"), REQUEST_SIZE)
}

/// Returns the error for a request that `tonic` cannot decode, with the `err` trailer that it lacks.
pub(crate) fn undecodable(error: &Status) -> Status {
    match error.code() {
        Code::OutOfRange => too_large(error.message()),
        code => self::error(code, error.message()),
    }
}

/// Returns the error for a call that the shutdown of the server interrupts.
pub(crate) fn shutting_down() -> Status {
    error(Code::Unavailable, "the server is shutting down")
}

/// Returns the error for a call whose connection is cut. The caller never receives it.
pub(crate) fn cut() -> Status {
    Status::unavailable("connection cut")
}

impl From<CacheError> for Status {
    fn from(refused: CacheError) -> Self {
        let code = match refused {
            CacheError::InvalidCacheName | CacheError::InvalidTopicName => Code::InvalidArgument,
            CacheError::CacheNotFound(_) => Code::NotFound,
            CacheError::CacheAlreadyExists(_) => Code::AlreadyExists,
            CacheError::TooManySubscriptions(_) => {
                return with_err(Code::ResourceExhausted, refused.to_string(), SUBSCRIPTIONS);
            }
        };
        error(code, refused.to_string())
    }
}

impl From<ItemError> for Status {
    fn from(failed: ItemError) -> Self {
        let (code, err) = match failed {
            ItemError::Cache(failed) => return failed.into(),
            ItemError::ZeroTtl
            | ItemError::Missing(_)
            | ItemError::NotANumber
            | ItemError::TooManySources(_) => (Code::InvalidArgument, GENERAL),
            ItemError::WrongType { .. } | ItemError::NotAnInteger | ItemError::Overflow => {
                (Code::FailedPrecondition, GENERAL)
            }
            ItemError::TooLarge { what: "element", .. } => (Code::ResourceExhausted, ELEMENT_SIZE),
            ItemError::TooLarge { .. } => (Code::ResourceExhausted, ITEM_SIZE),
            ItemError::OutOfMemory(_) | ItemError::ResponseTooLarge(_) => (Code::ResourceExhausted, GENERAL),
        };
        with_err(code, failed.to_string(), err)
    }
}

fn with_err(code: Code, message: impl Into<String>, err: &'static str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(ERR, MetadataValue::from_static(err));
    Status::with_metadata(code, message, metadata)
}
