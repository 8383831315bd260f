//! Parameters of the Systems Manager.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

use crate::ParameterError;
use crate::client::Aws;
use crate::failure::{Failure, optional};
use fanout_core::reason::Reason;
use fanout_core::secret_store::{SecretError, SecretText, StoredSecret};

/// How long a parameter is waited for. It is read at the start of a function, which has 10 s.
const PARAMETER_TIMEOUT: Duration = Duration::from_secs(5);

impl Aws {
    /// The value of one parameter of the Systems Manager, decrypted if it is a secret.
    ///
    /// # Errors
    /// When there is none of that name, when these credentials may not read it or there are none, or when
    /// the service does not answer in time.
    pub async fn parameter(&self, name: &str) -> Result<String, ParameterError> {
        let read = timeout(PARAMETER_TIMEOUT, self.read(name)).await;
        let text = read.map(|read| read.map(|(text, _)| text));
        text.unwrap_or_else(|_| Err(Failure::timed_out())).map_err(|failure| ParameterError {
            name: name.to_owned(),
            reason: failure.reason,
            detail: match failure.reason {
                Reason::PermissionDenied => "not allowed: ssm:GetParameter, and kms:Decrypt for a secret",
                _ => failure.detail,
            },
            source: failure.source,
        })
    }

    /// Both versions of a secret that is a parameter. The one before need not be there, and is given up on at
    /// `deadline`.
    ///
    /// # Errors
    /// When there is no such parameter, it may not be read or decrypted, or the service does not answer.
    pub async fn secret_parameter(&self, name: &str, deadline: Instant) -> Result<StoredSecret, SecretError> {
        let (current, version) = self.read(name).await.map_err(told)?;
        // Versions are numbered. A name may itself ask for one of them: then no other is meant.
        let has_version = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let previous = match version - 1 {
            before @ 1.. if !has_version => {
                let name = format!("{name}:{before}");
                optional(deadline, self.read(&name).boxed()).await.map_err(told)
            }
            _ => Ok(None),
        };
        Ok(StoredSecret {
            current: SecretText::new(current),
            previous: previous.map(|previous| previous.map(|(text, _)| SecretText::new(text))),
        })
    }

    /// The value, and the number of its version.
    async fn read(&self, name: &str) -> Result<(String, i64), Failure> {
        let call = self.ssm().await?.get_parameter().name(name).with_decryption(true);
        let answer = call.send().await?;
        let value = answer.parameter.and_then(|parameter| Some((parameter.value?, parameter.version)));
        value.ok_or(Failure::new(Reason::Internal, "the service's answer has no value"))
    }
}

fn told(failure: Failure) -> SecretError {
    failure.of_secret(
        "not allowed: it takes ssm:GetParameter, and kms:Decrypt where it has a key of its own",
        "not found: there is no such parameter in this account and region",
    )
}
