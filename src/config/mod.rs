//! The settings, read once at start.
//!
//! Each concern has a struct and a file. Settings are read through a [`Source`], so that tests need not change their own
//! environment. All faults are reported at once. Each names its variable, and none shows a value.

use std::fmt;

mod credentials;
mod dead_letters;
mod dedupe;
mod file;
mod listen;
mod log;
mod publish;
mod routes;
mod secrets;
mod signing;
mod token;

pub use credentials::MomentoConfig;
pub use dead_letters::DeadLettersConfig;
pub use dedupe::DedupeConfig;
pub use file::FileSource;
pub use listen::{ListenConfig, MetricsConfig};
pub use log::LogConfig;
pub use publish::PublishConfig;
pub use routes::{ROUTES, RoutesConfig, RoutesSource};
pub use secrets::SecretsConfig;
pub use signing::{SigningConfig, signing_secret, signing_secrets};
pub use token::{TOKENS, TokenConfig, TokensSource};

use fanout_core::transform::Transforms;
use momento_webhook::visible::{single_line, trim_invisible};

use fanout_core::secret_store::SecretId;

/// A source of settings.
pub trait Source {
    /// Returns the value of `name`, if it is set.
    ///
    /// # Errors
    /// If the value is not UTF-8.
    fn get(&self, name: &str) -> Result<Option<String>, NotUtf8>;
}

/// A value that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment;

impl Source for Environment {
    fn get(&self, name: &str) -> Result<Option<String>, NotUtf8> {
        std::env::var_os(name).map(|value| value.into_string().map_err(|_| NotUtf8)).transpose()
    }
}

impl<F: Fn(&str) -> Option<String>> Source for F {
    fn get(&self, name: &str) -> Result<Option<String>, NotUtf8> {
        Ok(self(name))
    }
}

/// All the settings of the function `webhook`.
#[derive(Debug)]
pub struct Config {
    /// The API key and endpoint of Momento.
    pub momento: MomentoConfig,
    /// The signing secrets.
    pub signing: SigningConfig,
    /// The maximum age of secrets that are fetched.
    pub secrets: SecretsConfig,
    /// The routes.
    pub routes: RoutesConfig,
    /// The queue for dead letters.
    pub dead_letters: DeadLettersConfig,
    /// Where the progress of events is kept.
    pub dedupe: DedupeConfig,
    /// The HTTP server, outside Lambda.
    pub listen: ListenConfig,
    /// The port with metrics, outside Lambda.
    pub metrics: MetricsConfig,
    /// The level of the log.
    pub log: LogConfig,
}

/// A value, or the name of the secret that has it.
#[derive(Clone, Debug)]
pub enum Sourced<T, S> {
    /// The value.
    Given(T),
    /// The secret, which has to be fetched.
    Secret(S),
}

impl<T, S> Sourced<T, S> {
    /// Returns the name of the secret.
    pub const fn secret(&self) -> Option<&S> {
        match self {
            Self::Given(_) => None,
            Self::Secret(secret) => Some(secret),
        }
    }
}

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    /// All invalid settings.
    pub fn read(source: &dyn Source, transforms: &Transforms) -> Result<Self, ConfigErrors> {
        Settings::read(source, |settings| {
            // All settings are read before the first invalid one ends it.
            let momento = MomentoConfig::read(settings);
            let signing = SigningConfig::read(settings);
            let secrets = SecretsConfig::read(settings);
            let routes = RoutesConfig::read(settings, transforms);
            let dead_letters = DeadLettersConfig::read(settings);
            let dedupe = DedupeConfig::read(settings);
            let listen = ListenConfig::read(settings);
            let metrics = MetricsConfig::read(settings);
            let log = LogConfig::read(settings);
            Ok(Self {
                momento: momento?,
                signing: signing?,
                secrets: secrets?,
                routes: routes?,
                dead_letters: dead_letters?,
                dedupe: dedupe?,
                listen: listen?,
                metrics: metrics?,
                log: log?,
            })
        })
    }
}

/// One invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {fault}")]
pub struct ConfigError {
    /// The variable.
    pub name: String,
    /// What is wrong, and what is expected; never the value.
    pub fault: String,
}

/// All invalid settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// A setting, or [`Noted`] if it is invalid.
type Read<T> = Result<T, Noted>;

/// The setting is invalid, and its fault is noted.
struct Noted;

/// A source, and the faults found in it so far.
struct Settings<'s> {
    source: &'s dyn Source,
    faults: Vec<ConfigError>,
}

impl<'s> Settings<'s> {
    /// Applies `read` to `source`, and returns the faults if it notes any.
    fn read<T>(source: &'s dyn Source, read: impl FnOnce(&mut Self) -> Read<T>) -> Result<T, ConfigErrors> {
        let mut settings = Self { source, faults: Vec::new() };
        match read(&mut settings) {
            Ok(config) if settings.faults.is_empty() => Ok(config),
            _ => Err(ConfigErrors(settings.faults)),
        }
    }

    /// Returns the value of `name`, without a byte order mark. An empty variable counts as not set: templates and
    /// compose files pass optional settings that way.
    fn get(&mut self, name: &str) -> Read<Option<String>> {
        match self.source.get(name) {
            Ok(value) => {
                let value = value.map(|value| value.trim_start_matches('\u{feff}').to_owned());
                Ok(value.filter(|value| !value.is_empty()))
            }
            Err(NotUtf8) => self.fault(name, "is not valid UTF-8"),
        }
    }

    /// Returns the value of `name`, which is one line, without invisible characters at its ends.
    fn line(&mut self, name: &str) -> Read<Option<String>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        match single_line(&value) {
            Ok(line) => Ok(Some(line.to_owned()).filter(|line| !line.is_empty())),
            Err(error) => self.fault(name, error.to_string()),
        }
    }

    /// Returns the value of `name` as `T`, or `default` if it is not set. `wanted` says what is expected.
    fn parse<T: std::str::FromStr>(&mut self, name: &str, default: T, wanted: &str) -> Read<T> {
        match self.get(name)? {
            None => Ok(default),
            Some(value) => match trim_invisible(value.trim()).trim().parse() {
                Ok(value) => Ok(value),
                Err(_) => self.fault(name, format!("is not {wanted}")),
            },
        }
    }

    /// Notes a fault.
    fn fault<T>(&mut self, name: &str, fault: impl Into<String>) -> Read<T> {
        self.faults.push(ConfigError { name: name.to_owned(), fault: fault.into() });
        Err(Noted)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A source with these variables.
    pub(crate) fn vars<'v>(vars: &'v [(&'v str, &'v str)]) -> impl Fn(&str) -> Option<String> + 'v {
        |name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    /// The least that is needed.
    pub(crate) const LEAST: [(&str, &str); 4] = [
        ("MOMENTO_API_KEY", "any key"),
        ("MOMENTO_ENDPOINT", "http://127.0.0.1:8080"),
        ("WEBHOOK_SIGNING_SECRET", "secret"),
        ("OUTBOUND_TOPIC", "topic 2"),
    ];

    /// The settings of `source`.
    pub(crate) fn read(source: &dyn Source) -> Result<Config, ConfigErrors> {
        Config::read(source, &Transforms::standard())
    }

    /// What is reported for the least that is needed and these.
    pub(crate) fn faults(changes: &[(&str, &str)]) -> Vec<(String, String)> {
        match read(&vars(&[changes, &LEAST].concat())) {
            Ok(_) => Vec::new(),
            Err(ConfigErrors(errors)) => errors.into_iter().map(|error| (error.name, error.fault)).collect(),
        }
    }

    #[test]
    fn the_least_is_enough() {
        let config = read(&vars(&LEAST)).unwrap();
        assert_eq!(config.listen.port, 8000);
        assert_eq!(config.signing.max_age.as_secs(), 60);
        assert!(matches!(config.routes.source, RoutesSource::Settings(_)));
    }

    #[test]
    fn every_fault_is_reported_and_no_value_shown() {
        let source = vars(&[
            ("MOMENTO_API_KEY", "s3cr3t"),
            ("OUTBOUND_TOPIC", "s3cr3t"),
            ("OUTBOUND_TOPICS", "s3cr3t,b"),
            ("TRANSFORM", "s3cr3t"),
            ("MAX_EVENT_AGE_SECONDS", "s3cr3t"),
            ("PORT", "s3cr3t"),
        ]);
        let error = read(&source).unwrap_err();
        let names: Vec<_> = error.0.iter().map(|error| error.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "MOMENTO_API_KEY",
                "WEBHOOK_SIGNING_SECRET",
                "MAX_EVENT_AGE_SECONDS",
                "OUTBOUND_TOPICS",
                "TRANSFORM",
                "PORT"
            ]
        );
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
    }

    #[test]
    fn set_and_empty_is_not_set() {
        assert_eq!(faults(&[("OUTBOUND_TOPICS", ""), ("PORT", ""), ("OUTBOUND_CACHE", "")]), []);
    }

    #[test]
    fn what_is_not_utf8_is_named_and_nothing_else_is() {
        struct Broken(&'static str);
        impl Source for Broken {
            fn get(&self, name: &str) -> Result<Option<String>, NotUtf8> {
                if name == self.0 { Err(NotUtf8) } else { vars(&LEAST).get(name) }
            }
        }
        for name in [
            "MOMENTO_API_KEY",
            "MOMENTO_API_KEY_SECRET_ID",
            "MOMENTO_ENDPOINT",
            "WEBHOOK_SIGNING_SECRET",
            "WEBHOOK_SIGNING_SECRET_ID",
            "WEBHOOK_SIGNING_SECRET_PREVIOUS",
            "WEBHOOK_SIGNATURE",
            "SECRETS_MAX_AGE_SECONDS",
            "ROUTES_MAX_AGE_SECONDS",
            "OUTBOUND_TOPIC",
            "OUTBOUND_TOPICS",
            "OUTBOUND_CACHE",
            "TRANSFORM",
            "FANOUT_CONFIG",
            "MAX_EVENT_AGE_SECONDS",
            "DEDUPE",
            "DEDUPE_CACHE",
            "PORT",
            "RUST_LOG",
        ] {
            let ConfigErrors(errors) = read(&Broken(name)).unwrap_err();
            assert_eq!(errors, [ConfigError { name: name.into(), fault: "is not valid UTF-8".into() }]);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = read(&vars(&[
            ("MOMENTO_API_KEY", "s3cr3t"),
            ("MOMENTO_ENDPOINT", "http://127.0.0.1:8080"),
            ("WEBHOOK_SIGNING_SECRET", "s3cr3t"),
            ("WEBHOOK_SIGNING_SECRET_PREVIOUS", "s3cr3t"),
            ("OUTBOUND_TOPIC", "topic 2"),
        ]));
        assert!(!format!("{:?}", config.unwrap()).contains("s3cr3t"));
    }
}
