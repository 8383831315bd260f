//! The settings of the function `token`.

use fanout_core::file;
use fanout_core::object_id::{self, ObjectId};
use fanout_identity::TokensFile;
use momento_webhook::visible::{single_line, trim_invisible};

use super::{
    ConfigErrors, ListenConfig, LogConfig, MetricsConfig, MomentoConfig, Read, SecretsConfig, Settings,
    Source,
};

/// The variable that names the file.
pub const TOKENS: &str = "TOKENS_CONFIG";

/// All the settings of the function `token`.
#[derive(Debug)]
pub struct TokenConfig {
    /// The API key and endpoint of Momento.
    pub momento: MomentoConfig,
    /// The maximum age of secrets that are fetched.
    pub secrets: SecretsConfig,
    /// The file with the profiles.
    pub tokens: TokensSource,
    /// The HTTP server, outside Lambda.
    pub listen: ListenConfig,
    /// The level of the log.
    pub log: LogConfig,
}

/// Where the profiles are.
#[derive(Clone, Debug)]
pub enum TokensSource {
    /// In the setting, or in a file, which has been read.
    File(Box<TokensFile>),
    /// In a parameter of AWS Systems Manager, which is fetched at start.
    Parameter(String),
    /// In an object of Amazon S3, which is fetched at start.
    Object(ObjectId),
}

impl TokenConfig {
    /// Reads every setting.
    ///
    /// # Errors
    /// All invalid settings.
    pub fn read(source: &dyn Source) -> Result<Self, ConfigErrors> {
        Settings::read(source, |settings| {
            let momento = MomentoConfig::read(settings);
            let secrets = SecretsConfig::read(settings);
            let tokens = TokensSource::read(settings);
            let listen = ListenConfig::read(settings);
            let metrics = MetricsConfig::reject(settings);
            let log = LogConfig::read(settings);
            metrics?;
            Ok(Self { momento: momento?, secrets: secrets?, tokens: tokens?, listen: listen?, log: log? })
        })
    }
}

impl TokensSource {
    fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let Some(given) = settings.get(TOKENS)? else {
            return settings.fault(
                TOKENS,
                "is not set: the path of a tokens.toml, ssm:NAME, s3://BUCKET/KEY, or the text",
            );
        };
        if given.starts_with(object_id::SCHEME) {
            return given
                .parse()
                .map(Self::Object)
                .or_else(|error: object_id::ObjectIdError| settings.fault(TOKENS, error.to_string()));
        }
        if let Some(parameter) = given.strip_prefix("ssm:") {
            return match single_line(parameter) {
                Ok("") => settings.fault(TOKENS, "names no parameter behind ssm:"),
                Ok(name) => Ok(Self::Parameter(name.to_owned())),
                Err(error) => settings.fault(TOKENS, error.to_string()),
            };
        }
        // As with routes: no file with a profile is without, and no usual path has one.
        let (place, text) = if given.contains('=') {
            (String::new(), given)
        } else {
            let path = trim_invisible(given.trim()).to_owned();
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) => return settings.fault(TOKENS, format!("{path}: {error}")),
            };
            match file::text(bytes) {
                Ok(text) => (format!("{path}:"), text),
                Err(error) => return settings.fault(TOKENS, format!("{path}:{error}")),
            }
        };
        match fanout_identity::file::read(text.trim_start_matches('\u{feff}')) {
            Ok(file) => Ok(Self::File(Box::new(file))),
            Err(errors) => {
                for error in errors {
                    let _: Read<()> = settings.fault(TOKENS, format!("{place}{error}"));
                }
                Err(super::Noted)
            }
        }
    }
}
