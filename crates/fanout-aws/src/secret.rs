//! Secrets of AWS Secrets Manager.

use aws_sdk_secretsmanager::Client;
use futures_util::FutureExt as _;
use futures_util::future::try_join;
use tokio::time::Instant;

use crate::client::Aws;
use crate::failure::{of_sdk, of_secret, optional};
use fanout_core::reason::{Failure, Reason};
use fanout_core::secret_store::{SecretText, StoredSecret};

/// The labels that Secrets Manager moves from version to version.
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

impl Aws {
    /// Reads a secret, and its previous version at the same time until `previous_until`. Does not ask for the previous
    /// version if that is `None`.
    ///
    /// # Errors
    /// When the secret does not exist, cannot be read, or is not a text, and when the service does not respond.
    pub async fn secret(&self, name: &str, previous_until: Option<Instant>) -> Result<StoredSecret, Failure> {
        self.stages(name, previous_until).await.map_err(secret_error)
    }

    async fn stages(&self, name: &str, previous_until: Option<Instant>) -> Result<StoredSecret, Failure> {
        let client = self.secrets_manager().await?;
        let previous = async {
            Ok(match previous_until {
                Some(deadline) => optional(deadline, stage(client, name, PREVIOUS).boxed()).await,
                None => Ok(None),
            })
        };
        let (current, previous) = try_join(stage(client, name, CURRENT), previous).await?;
        let current = match current {
            Held::Text(text) => text,
            Held::Bytes => {
                return Err(Failure::new(Reason::InvalidArgument, "is binary; expected a text"));
            }
            Held::Nothing => {
                return Err(Failure::new(Reason::Internal, "the response of the service lacks the value"));
            }
        };
        // A previous version without a text was never in use.
        let text = |held| match held {
            Held::Text(text) => Some(text),
            Held::Bytes | Held::Nothing => None,
        };
        Ok(StoredSecret { current, previous: previous.map(|held| held.and_then(text)).map_err(secret_error) })
    }
}

fn secret_error(failure: Failure) -> Failure {
    of_secret(
        failure,
        "not allowed: it needs secretsmanager:GetSecretValue, and kms:Decrypt for a key of its own",
        "not found in this account and region, or without a value yet",
    )
}

/// The value of a version.
enum Held {
    Text(SecretText),
    Bytes,
    Nothing,
}

async fn stage(client: &Client, name: &str, stage: &str) -> Result<Held, Failure> {
    let response =
        client.get_secret_value().secret_id(name).version_stage(stage).send().await.map_err(of_sdk)?;
    Ok(match (response.secret_string, response.secret_binary) {
        (Some(text), _) => Held::Text(SecretText::new(text)),
        (None, Some(_)) => Held::Bytes,
        (None, None) => Held::Nothing,
    })
}
