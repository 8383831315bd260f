//! The settings of the function `token`.

use fanout_identity::TokensFile;

use super::file::FileSource;
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
pub type TokensSource = FileSource<TokensFile>;

impl TokenConfig {
    /// Reads every setting.
    ///
    /// # Errors
    /// All invalid settings.
    pub fn read(source: &dyn Source) -> Result<Self, ConfigErrors> {
        Settings::read(source, Self::of)
    }

    pub(super) fn of(settings: &mut Settings<'_>) -> Read<Self> {
        let momento = MomentoConfig::read(settings);
        let secrets = SecretsConfig::read(settings);
        let tokens = tokens(settings);
        let listen = ListenConfig::read(settings);
        let metrics = MetricsConfig::reject(settings);
        let log = LogConfig::read(settings);
        metrics?;
        Ok(Self { momento: momento?, secrets: secrets?, tokens: tokens?, listen: listen?, log: log? })
    }
}

fn tokens(settings: &mut Settings<'_>) -> Read<TokensSource> {
    match settings.get(TOKENS)? {
        None => settings
            .fault(TOKENS, "is not set: the path of a tokens.toml, ssm:NAME, s3://BUCKET/KEY, or the text"),
        Some(given) => FileSource::read(settings, TOKENS, &given, fanout_identity::file::read),
    }
}
