//! Parameters of the Systems Manager.

use std::time::Duration;

use tokio::time::timeout;

use super::Aws;
use super::failure::Failure;
use crate::reason::Reason;

/// How long a parameter is waited for. It is read at the start of a function, which has 10 s.
const PARAMETER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a parameter could not be read.
#[derive(Debug, thiserror::Error)]
#[error("parameter {name}: {detail}")]
pub struct ParameterError {
    /// The parameter.
    pub name: String,
    /// What went wrong.
    pub reason: Reason,
    detail: &'static str,
    /// What the client library said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Aws {
    /// The value of one parameter of the Systems Manager, decrypted if it is a secret.
    ///
    /// # Errors
    /// When there is none of that name, when these credentials may not read it or there are none, or when
    /// the service does not answer in time.
    pub async fn parameter(&self, name: &str) -> Result<String, ParameterError> {
        let read = timeout(PARAMETER_TIMEOUT, self.read(name)).await;
        read.unwrap_or_else(|_| Err(Failure::timed_out())).map_err(|failure| ParameterError {
            name: name.to_owned(),
            reason: failure.reason,
            detail: match failure.reason {
                Reason::PermissionDenied => "not allowed: ssm:GetParameter, and kms:Decrypt for a secret",
                _ => failure.detail,
            },
            source: failure.source,
        })
    }

    async fn read(&self, name: &str) -> Result<String, Failure> {
        let call = self.ssm().await?.get_parameter().name(name).with_decryption(true);
        let answer = call.send().await?;
        let value = answer.parameter.and_then(|parameter| parameter.value);
        value.ok_or(Failure::new(Reason::Internal, "the service's answer has no value"))
    }
}
