//! Parameters of AWS Systems Manager.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

use crate::ParameterError;
use crate::client::Aws;
use crate::failure::{of_sdk, of_secret, optional, timed_out};
use fanout_core::reason::{Failure, Reason};
use fanout_core::secret_store::{SecretText, StoredSecret};

/// The timeout of a parameter. A function reads it at its start, which Lambda ends after 10 s.
const PARAMETER_TIMEOUT: Duration = Duration::from_secs(5);

impl Aws {
    /// Reads one parameter, and decrypts it if it is a secret.
    ///
    /// # Errors
    /// When the parameter does not exist, when the credentials are missing or do not allow to read it, and when the service
    /// does not respond in time.
    pub async fn parameter(&self, name: &str) -> Result<String, ParameterError> {
        let read = timeout(PARAMETER_TIMEOUT, self.read(name)).await;
        let text = read.map(|read| read.map(|(text, _)| text));
        text.unwrap_or_else(|_| Err(timed_out())).map_err(|failure| {
            let not_allowed = "not allowed: ssm:GetParameter, and kms:Decrypt for a secret";
            let failure = match failure.reason {
                Reason::PermissionDenied => Failure { detail: not_allowed.into(), ..failure },
                _ => failure,
            };
            ParameterError { name: name.to_owned(), failure }
        })
    }

    /// Reads a secret in a parameter, and then its previous version until `previous_until`. Does not ask for the previous
    /// version if that is `None`.
    ///
    /// # Errors
    /// When the parameter does not exist, when it cannot be read or decrypted, and when the service does not respond.
    pub async fn secret_parameter(
        &self,
        name: &str,
        previous_until: Option<Instant>,
    ) -> Result<StoredSecret, Failure> {
        let (current, version) = self.read(name).await.map_err(secret_error)?;
        // Versions have numbers. A name that includes a version has no previous one.
        let has_version = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let previous = match (version - 1, previous_until) {
            (before @ 1.., Some(deadline)) if !has_version => {
                let name = format!("{name}:{before}");
                optional(deadline, self.read(&name).boxed()).await.map_err(secret_error)
            }
            _ => Ok(None),
        };
        Ok(StoredSecret {
            current: SecretText::new(current),
            previous: previous.map(|previous| previous.map(|(text, _)| SecretText::new(text))),
        })
    }

    /// Reads the value and the number of its version.
    async fn read(&self, name: &str) -> Result<(String, i64), Failure> {
        let call = self.ssm().await?.get_parameter().name(name).with_decryption(true);
        let response = call.send().await.map_err(of_sdk)?;
        let value = response.parameter.and_then(|parameter| Some((parameter.value?, parameter.version)));
        value.ok_or(Failure::new(Reason::Internal, "the response of the service lacks the value"))
    }
}

fn secret_error(failure: Failure) -> Failure {
    of_secret(
        failure,
        "not allowed: it needs ssm:GetParameter, and kms:Decrypt for a key of its own",
        "not found in this account and region",
    )
}
