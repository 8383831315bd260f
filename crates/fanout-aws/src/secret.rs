//! Secrets of the Secrets Manager.

use aws_sdk_secretsmanager::Client;
use futures_util::FutureExt as _;
use futures_util::future::try_join;
use tokio::time::Instant;

use crate::client::Aws;
use crate::failure::{Failure, optional};
use fanout_core::reason::Reason;
use fanout_core::secret_store::{SecretError, SecretText, StoredSecret};

/// The labels that Secrets Manager moves from version to version.
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

impl Aws {
    /// Both versions of a secret, at once. The one before need not be there, and is given up on at `deadline`.
    ///
    /// # Errors
    /// When there is no such secret, it may not be read, it is no text, or the service does not answer.
    pub async fn secret(&self, name: &str, deadline: Instant) -> Result<StoredSecret, SecretError> {
        self.stages(name, deadline).await.map_err(told)
    }

    async fn stages(&self, name: &str, deadline: Instant) -> Result<StoredSecret, Failure> {
        let client = self.secrets_manager().await?;
        let previous = optional(deadline, stage(client, name, PREVIOUS).boxed()).map(Ok);
        let (current, previous) = try_join(stage(client, name, CURRENT), previous).await?;
        let current = match current {
            Held::Text(text) => text,
            Held::Bytes => {
                return Err(Failure::new(Reason::InvalidArgument, "is bytes, and has to be a text"));
            }
            Held::Nothing => return Err(Failure::new(Reason::Internal, "the service's answer has no value")),
        };
        // A version of another form, or that never got a value, is none: it was not in use.
        let text = |held| match held {
            Held::Text(text) => Some(text),
            Held::Bytes | Held::Nothing => None,
        };
        Ok(StoredSecret { current, previous: previous.map(|held| held.and_then(text)).map_err(told) })
    }
}

fn told(failure: Failure) -> SecretError {
    failure.of_secret(
        "not allowed: it takes secretsmanager:GetSecretValue, and kms:Decrypt where it has a key of its own",
        "not found: there is no such secret in this account and region, or it has no value yet",
    )
}

/// What there is in a version.
enum Held {
    Text(SecretText),
    Bytes,
    Nothing,
}

async fn stage(client: &Client, name: &str, stage: &str) -> Result<Held, Failure> {
    let answer = client.get_secret_value().secret_id(name).version_stage(stage).send().await?;
    Ok(match (answer.secret_string, answer.secret_binary) {
        (Some(text), _) => Held::Text(SecretText::new(text)),
        (None, Some(_)) => Held::Bytes,
        (None, None) => Held::Nothing,
    })
}
