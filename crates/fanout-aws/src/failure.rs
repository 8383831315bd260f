//! Failures of calls, made of the errors of the SDK.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use fanout_core::reason::{Failure, Reason};
use fanout_core::secret_store;

/// An error response of a service, without its message, in which a service may quote the text of the request.
#[derive(Debug, thiserror::Error)]
#[error("{code} (status {status}, request {request_id})")]
struct Refusal {
    code: String,
    status: u16,
    request_id: String,
}

/// Returns the failure of one part of a request, whose response is neither a success nor an error as a whole.
pub(super) fn of_part(code: &str) -> Failure {
    of_entry(code, true)
}

/// Returns the failure of one part of a request, if the response says for unknown codes too whether it is the caller's.
pub(super) fn of_entry(code: &str, is_of_caller: bool) -> Failure {
    let unknown = if is_of_caller {
        (Reason::InvalidArgument, "the service does not accept the request")
    } else {
        (Reason::Internal, "the service failed")
    };
    let (reason, detail) = by_code(code).unwrap_or(unknown);
    Failure::new(reason, detail).because(code.to_owned())
}

/// Returns the failure of a response that lacks its result. It may come from another program than the service.
pub(super) fn no_result() -> Failure {
    Failure::new(Reason::Internal, "the response of the service lacks the result")
}

/// Returns the failure of a secret that cannot be read. The two texts describe missing permissions and a missing secret.
pub(super) fn of_secret(failure: Failure, not_allowed: &'static str, not_found: &'static str) -> Failure {
    let detail = match failure.reason {
        Reason::PermissionDenied => not_allowed.into(),
        Reason::NotFound => not_found.into(),
        Reason::TimedOut => secret_store::timed_out().detail,
        _ => failure.detail,
    };
    Failure { detail, ..failure }
}

/// Returns the failure of a call that did not end by its deadline.
pub(super) fn timed_out() -> Failure {
    Failure::new(Reason::TimedOut, "no response in time")
}

/// Returns the failure of an error of the SDK.
pub(super) fn of_sdk<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let (reason, detail) = match &error {
        SdkError::ServiceError(response) => {
            let status = response.raw().status().as_u16();
            let meta = response.err().meta();
            let code = meta.code();
            let (reason, detail) = code.and_then(by_code).or_else(|| by_status(status)).unwrap_or(UNREADABLE);
            let refusal = Refusal {
                code: code.unwrap_or("no code").to_owned(),
                status,
                request_id: meta.request_id().unwrap_or("unknown").to_owned(),
            };
            return Failure::new(reason, detail).because(refusal);
        }
        SdkError::TimeoutError(_) => (Reason::TimedOut, "no response in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (Reason::TimedOut, "no connection in time")
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            (Reason::Unavailable, "the service cannot be reached")
        }
        error => match credentials(error) {
            Some(error) => by_credentials(error),
            // The connection was closed before or inside the response.
            None if is_cut(error) => (Reason::Unavailable, "the connection was cut"),
            None => match error {
                // A response that another program sends for the service, for example a proxy, has only a status.
                SdkError::ResponseError(response) => {
                    by_status(response.raw().status().as_u16()).unwrap_or(UNREADABLE)
                }
                _ => (Reason::Internal, "the request could not be sent"),
            },
        },
    };
    // The errors of the SDK itself do not contain the text.
    Failure { source: error.into_source().ok(), ..Failure::new(reason, detail) }
}

/// Reads something that may not exist, until `deadline`.
pub(super) async fn optional<T>(
    deadline: Instant,
    read: BoxFuture<'_, Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    match timeout_at(deadline, read).await.unwrap_or_else(|_| Err(timed_out())) {
        Ok(read) => Ok(Some(read)),
        Err(failure) if failure.reason == Reason::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

const UNREADABLE: (Reason, &str) = (Reason::Internal, "the response of the service cannot be read");

/// Returns the kind and the description of an error code: of one service, or common to all.
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn by_code(code: &str) -> Option<(Reason, &'static str)> {
    Some(match code {
        "TooManyRequestsException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "SlowDown"
        | "OverLimit"
        | "KMS.ThrottlingException"
        | "KmsThrottlingException"
        | "ProvisionedThroughputExceeded"
        | "ProvisionedThroughputExceededException"
        | "ThrottlingError"
        | "ExecutionLimitExceeded" => (Reason::RateLimited, "too many requests"),
        "ServiceUnavailableException" | "ServiceUnavailable" => {
            (Reason::Unavailable, "the service is not available")
        }
        "TransactionConflict"
        | "TransactionConflictException"
        | "TransactionInProgressException"
        | "ReplicatedWriteConflictException" => (Reason::Unavailable, "another change is under way"),
        "RequestTimeout" | "RequestTimeoutException" => (Reason::TimedOut, "the service took too long"),
        "InternalServerException"
        | "InternalServerError"
        | "InternalServiceError"
        | "InternalFailure"
        | "InternalError"
        | "InternalException" => (Reason::Internal, "the service failed"),
        "ItemCollectionSizeLimitExceeded" | "ItemCollectionSizeLimitExceededException" => {
            (Reason::TooLarge, "the items with this partition key are too large")
        }
        "TextSizeLimitExceededException" => (Reason::TooLarge, "the text is too long"),
        "UnsupportedLanguagePairException" => {
            (Reason::InvalidArgument, "the service does not translate between these languages")
        }
        "DetectedLanguageLowConfidenceException" => {
            (Reason::InvalidArgument, "the language of the text cannot be told: name it")
        }
        "InvalidRequestException"
        | "InvalidParameterValueException"
        | "InvalidParameterValue"
        | "InvalidParameterException"
        | "ValidationException"
        | "ValidationError"
        | "SerializationException"
        | "InvalidMessageContents"
        | "InvalidAddress"
        | "InvalidSecurity"
        | "InvalidArn"
        | "InvalidExecutionInput"
        | "InvalidName"
        | "InvalidArgument"
        | "MalformedDetail"
        | "MissingParameter"
        | "AWS.SimpleQueueService.UnsupportedOperation"
        | "UnsupportedOperation"
        | "UnknownOperationException" => (Reason::InvalidArgument, "the service does not accept the request"),
        "InvalidKeyId"
        | "DecryptionFailure"
        | "KMS.DisabledException"
        | "KMS.InvalidKeyUsageException"
        | "KMS.InvalidStateException"
        | "KMS.NotFoundException"
        | "KmsInvalidStateException" => (Reason::InvalidArgument, "its key cannot be used"),
        // Of S3.
        "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" => {
            (Reason::InvalidArgument, "the bucket is in another region")
        }
        "ResourceNotFoundException"
        | "ParameterNotFound"
        | "ParameterVersionNotFound"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue"
        | "StateMachineDoesNotExist"
        | "StateMachineDeleting" => (Reason::NotFound, "not found"),
        "AccessDeniedException"
        | "AccessDenied"
        | "NotAuthorized"
        | "OptInRequired"
        | "KMS.AccessDeniedException"
        | "KMS.OptInRequired"
        | "KmsAccessDeniedException"
        | "KMSAccessDeniedException" => (Reason::PermissionDenied, "not allowed to these credentials"),
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            (Reason::Unauthenticated, "the AWS credentials have expired")
        }
        "UnrecognizedClientException"
        | "UnrecognizedClient"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "AuthFailure"
        | "RequestTimeTooSkewed" => (Reason::Unauthenticated, "the AWS credentials are not accepted"),
        _ => return None,
    })
}

/// Returns the kind and the description of a status, for an unknown code. The response may come from a gateway.
const fn by_status(status: u16) -> Option<(Reason, &'static str)> {
    Some(match status {
        401 => (Reason::Unauthenticated, "the AWS credentials are not accepted"),
        403 => (Reason::PermissionDenied, "not allowed to these credentials"),
        404 => (Reason::NotFound, "not found"),
        408 | 504 => (Reason::TimedOut, "the service took too long"),
        413 => (Reason::TooLarge, "the text is too long"),
        429 => (Reason::RateLimited, "too many requests"),
        502 | 503 => (Reason::Unavailable, "the service is not available"),
        400..=499 => (Reason::InvalidArgument, "the service does not accept the request"),
        500..=599 => (Reason::Internal, "the service failed"),
        _ => return None,
    })
}

const fn by_credentials(error: &CredentialsError) -> (Reason, &'static str) {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            (Reason::Unauthenticated, "no AWS credentials are found")
        }
        CredentialsError::InvalidConfiguration(_) => {
            (Reason::Unauthenticated, "the AWS credentials are not set up right")
        }
        CredentialsError::ProviderTimedOut(_) => {
            (Reason::TimedOut, "the AWS credentials were not there in time")
        }
        _ => (Reason::Unavailable, "the AWS credentials cannot be fetched"),
    }
}

/// Returns the error of the credentials that caused `error`, if one did.
fn credentials<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e CredentialsError> {
    sources(error).find_map(|error| error.downcast_ref())
}

fn is_cut(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|error| {
        error.is::<std::io::Error>()
            || error.downcast_ref().is_some_and(|error: &hyper::Error| {
                error.is_incomplete_message() || error.is_closed() || error.is_canceled()
            })
    })
}

fn sources<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_sdk_retries_are_transient() {
        for code in [
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "LimitExceededException",
            "RequestThrottled",
            "SlowDown",
            "PriorRequestNotComplete",
        ] {
            assert_eq!(by_code(code).map(|(reason, _)| reason), Some(Reason::RateLimited), "{code}");
        }
        for code in ["RequestTimeout", "RequestTimeoutException"] {
            assert_eq!(by_code(code).map(|(reason, _)| reason), Some(Reason::TimedOut), "{code}");
        }
        for status in [500, 502, 503, 504] {
            assert!(by_status(status).is_some_and(|(reason, _)| reason.is_transient()), "{status}");
        }
    }

    /// The documented errors of the calls of destinations, without those that mean a duplicate.
    #[test]
    fn documented_errors_of_destinations_have_their_reason() {
        for (reason, codes) in [
            (
                Reason::RateLimited,
                &[
                    "RequestThrottled",
                    "OverLimit",
                    "KMS.ThrottlingException",
                    "KmsThrottlingException",
                    "ProvisionedThroughputExceededException",
                    "ProvisionedThroughputExceeded",
                    "ThrottlingError",
                    "ThrottlingException",
                    "RequestLimitExceeded",
                    "ExecutionLimitExceeded",
                ][..],
            ),
            (
                Reason::Unavailable,
                &[
                    "TransactionConflict",
                    "TransactionConflictException",
                    "TransactionInProgressException",
                    "ReplicatedWriteConflictException",
                ],
            ),
            (Reason::Internal, &["InternalServerError", "InternalException", "InternalFailure"]),
            (
                Reason::NotFound,
                &[
                    "ResourceNotFoundException",
                    "AWS.SimpleQueueService.NonExistentQueue",
                    "QueueDoesNotExist",
                    "StateMachineDoesNotExist",
                    "StateMachineDeleting",
                ],
            ),
            (
                Reason::PermissionDenied,
                &[
                    "AccessDeniedException",
                    "AccessDenied",
                    "KMS.AccessDeniedException",
                    "KMS.OptInRequired",
                    "KmsAccessDeniedException",
                ],
            ),
            (
                Reason::TooLarge,
                &["ItemCollectionSizeLimitExceeded", "ItemCollectionSizeLimitExceededException"],
            ),
            (
                Reason::InvalidArgument,
                &[
                    "InvalidAddress",
                    "InvalidMessageContents",
                    "InvalidSecurity",
                    "AWS.SimpleQueueService.UnsupportedOperation",
                    "KMS.DisabledException",
                    "KMS.InvalidKeyUsageException",
                    "KMS.InvalidStateException",
                    "KMS.NotFoundException",
                    "KmsInvalidStateException",
                    "MalformedDetail",
                    "InvalidArgument",
                    "InvalidArn",
                    "InvalidExecutionInput",
                    "InvalidName",
                    "ValidationException",
                    "ValidationError",
                ],
            ),
        ] {
            for code in codes {
                assert_eq!(by_code(code).map(|(reason, _)| reason), Some(reason), "{code}");
                assert_eq!(of_part(code).reason, reason, "{code}");
            }
        }
        assert_eq!(of_part("Unheard").reason, Reason::InvalidArgument);
        assert_eq!(of_entry("Unheard", false).reason, Reason::Internal);
    }

    #[test]
    fn client_errors_are_permanent() {
        for status in [400, 401, 403, 404, 405, 413, 415] {
            assert!(by_status(status).is_some_and(|(reason, _)| !reason.is_transient()), "{status}");
        }
        assert_eq!(by_status(200), None);
        assert_eq!(by_code("Unheard"), None);
    }
}
