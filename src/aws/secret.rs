//! Secrets of the Secrets Manager.

use aws_sdk_secretsmanager::Client;
use futures_util::future::try_join;

use super::Aws;
use super::failure::{Failure, optional};
use crate::reason::Reason;
use crate::secrets::{NO_ANSWER, SecretError, SecretText, Versioned};

/// The labels that Secrets Manager moves from version to version.
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

impl Aws {
    /// Both versions of a secret, at once. The one before need not be there.
    ///
    /// # Errors
    /// When there is no such secret, it may not be read, it is no text, or the service does not answer.
    pub async fn secret(&self, name: &str) -> Result<Versioned<SecretText>, SecretError> {
        self.stages(name).await.map_err(|failure| SecretError {
            reason: failure.reason,
            detail: match failure.reason {
                Reason::PermissionDenied => {
                    "not allowed: it takes secretsmanager:GetSecretValue, and kms:Decrypt where it has a key of its own"
                }
                Reason::NotFound => {
                    "not found: there is no such secret in this account and region, or it has no value yet"
                }
                Reason::TimedOut => NO_ANSWER,
                _ => failure.detail,
            },
            source: failure.source,
        })
    }

    async fn stages(&self, name: &str) -> Result<Versioned<SecretText>, Failure> {
        let client = self.secrets_manager().await?;
        let previous = async { optional(stage(client, name, PREVIOUS).await) };
        let (current, previous) = try_join(stage(client, name, CURRENT), previous).await?;
        let current = match current {
            Held::Text(text) => text,
            Held::Bytes => {
                return Err(Failure::new(Reason::InvalidArgument, "is bytes, and has to be a text"));
            }
            Held::Nothing => return Err(Failure::new(Reason::Internal, "the service's answer has no value")),
        };
        // A version of another form, or that never got a value, is none: it was not in use.
        let previous = match previous {
            Some(Held::Text(text)) => Some(text),
            Some(Held::Bytes | Held::Nothing) | None => None,
        };
        Ok(Versioned { current, previous })
    }
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
