//! Errors as the service sends them: a code, a message, and an `err` trailer that says more.
//!
//! The values of `err` are those that the SDKs know (`momento::MomentoErrorCode`, the JavaScript, Python
//! and Go error mappers, the comments of Momento's `store.proto`). For "not found" and "already exists"
//! they go by the code alone, unless `err` names a store or an item, so that a cache's errors carry the
//! general value that says "this comes from Momento, not from something in between".

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::error::CacheError;

const ERR: &str = "err";
const GENERAL: &str = "momento_general_err";
const REQUEST_SIZE: &str = "request_size_limit_exceeded";

/// An error with the general `err` trailer.
pub(crate) fn error(code: Code, message: impl Into<String>) -> Status {
    with_err(code, message, GENERAL)
}

/// A message too large. Not documented code by code, but the SDKs read `RESOURCE_EXHAUSTED` with this
/// `err` as "request size limit exceeded", which is what the documented limit of a message is; without
/// trailers they look for "request limit" in the text, so that is in it as well.
pub(crate) fn too_large(bytes: usize, limit: usize) -> Status {
    let message = format!("message of {bytes} bytes is over the request limit of {limit} bytes");
    with_err(Code::ResourceExhausted, message, REQUEST_SIZE)
}

/// What a call is told that the server's end interrupts.
pub(crate) fn shutting_down() -> Status {
    error(Code::Unavailable, "the server is shutting down")
}

/// What a call is told whose connection is cut; never seen, because the connection is gone.
pub(crate) fn cut() -> Status {
    Status::unavailable("connection cut")
}

impl From<CacheError> for Status {
    fn from(refused: CacheError) -> Self {
        let code = match refused {
            CacheError::InvalidCacheName | CacheError::InvalidTopicName => Code::InvalidArgument,
            CacheError::CacheNotFound(_) => Code::NotFound,
            CacheError::CacheAlreadyExists(_) => Code::AlreadyExists,
        };
        error(code, refused.to_string())
    }
}

fn with_err(code: Code, message: impl Into<String>, err: &'static str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(ERR, MetadataValue::from_static(err));
    Status::with_metadata(code, message, metadata)
}
