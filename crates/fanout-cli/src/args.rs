//! Flags that several commands have.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fanout_relay::webhook::signer::Scheme;
use rand::Rng as _;

use crate::error::Error;
use crate::output::Output;
use crate::service::{self, Service};

/// A signing secret or an API key, as given. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The flag for the signing secret.
#[derive(Debug, clap::Args)]
pub struct SecretArgs {
    /// The signing secret; other users of this machine can see flags, but not the environment
    #[arg(long, value_name = "SECRET", env = "WEBHOOK_SIGNING_SECRET", hide_env_values = true)]
    secret: Option<Secret>,
}

/// The scheme that signs a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SchemeArg {
    /// Momento's scheme: hex of HMAC-SHA3-256 over the body
    #[default]
    Momento,
    /// Standard Webhooks: HMAC-SHA256 over the id, the time and the body, with a secret of the form `whsec_` and
    /// base64; the function `webhook` does not accept it
    Standard,
    /// Both schemes
    Both,
}

/// The flags for Momento: its address, and the key to use there.
#[derive(Debug, clap::Args)]
pub struct ServiceArgs {
    /// The endpoint of an API key, or http://host:port of a local Momento
    #[arg(long, value_name = "ENDPOINT", env = "MOMENTO_ENDPOINT")]
    endpoint: Option<String>,

    /// An API key or token; a local Momento needs none
    #[arg(long, value_name = "KEY", env = "MOMENTO_API_KEY", hide_env_values = true)]
    api_key: Option<Secret>,
}

/// Reads a duration that is longer than zero, such as `10s`, `500ms` or `2m`.
///
/// # Errors
/// If `text` is not one.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("it has to be longer than zero".to_owned()),
        Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("it has no unit; write {text}s for seconds"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Returns a new id for a message, for Standard Webhooks.
pub(crate) fn new_message_id() -> String {
    format!("msg_{:016x}", rand::rng().random::<u64>())
}

/// Reads the id of a message, which is sent as a header.
///
/// # Errors
/// If `text` cannot be the value of a header.
pub(crate) fn message_id(text: &str) -> Result<String, &'static str> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible { Ok(text.to_owned()) } else { Err("it has to be visible ASCII, without spaces") }
}

impl From<SchemeArg> for Scheme {
    fn from(scheme: SchemeArg) -> Self {
        match scheme {
            SchemeArg::Momento => Self::Momento,
            SchemeArg::Standard => Self::Standard,
            SchemeArg::Both => Self::Both,
        }
    }
}

impl Secret {
    /// Returns the secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(secret: &str) -> Result<Self, Self::Err> {
        Ok(Self(secret.to_owned()))
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

impl SecretArgs {
    /// Returns the secret, if it is given. A variable that is set and empty counts as not set.
    #[must_use]
    pub fn given(self) -> Option<Secret> {
        self.secret.filter(|secret| !secret.0.is_empty())
    }

    /// Returns the secret.
    ///
    /// # Errors
    /// If it is not given.
    pub fn needed(self) -> Result<Secret, Error> {
        let missing = "no signing secret: set WEBHOOK_SIGNING_SECRET, or give --secret";
        self.given().ok_or_else(|| Error::Usage(missing.to_owned()))
    }
}

impl ServiceArgs {
    /// Returns the Momento that the flags and the environment name. If they name none, it is the local one at its
    /// default address, and `output` says so.
    ///
    /// # Errors
    /// If the endpoint or the key is invalid.
    pub fn service(&self, output: &mut Output) -> Result<Service, Error> {
        let mut endpoint = self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
        let key = self.api_key.as_ref().map(Secret::reveal).filter(|key| !key.is_empty());
        if endpoint.is_none() && key.is_none() {
            output.note(format_args!(
                "neither MOMENTO_ENDPOINT nor MOMENTO_API_KEY is set: using the local Momento at {}",
                service::DEFAULT_ENDPOINT
            ));
            endpoint = Some(service::DEFAULT_ENDPOINT);
        }
        Ok(Service::new(endpoint, key)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_with_units() {
        for (text, millis) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1s 500ms", 1_500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn rejects_durations_without_unit_or_length() {
        for text in ["", "3", "s", "0", "0ms", "-1s", "1e3s", "9999999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
