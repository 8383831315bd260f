//! The settings of the function `publish`.

use fanout_core::transform::Transforms;

use super::{ConfigErrors, DedupeConfig, RoutesConfig, Settings, Source, TokenConfig};

/// All the settings of the function `publish`.
#[derive(Debug)]
pub struct PublishConfig {
    /// The settings that the function `token` has, too.
    pub people: TokenConfig,
    /// The routes whose transforms texts go through, if some profile is `moderated`.
    pub routes: Option<RoutesConfig>,
    /// Where requests with an `Idempotency-Key` are remembered.
    pub dedupe: DedupeConfig,
}

impl PublishConfig {
    /// Reads every setting.
    ///
    /// # Errors
    /// All invalid settings.
    pub fn read(source: &dyn Source, transforms: &Transforms) -> Result<Self, ConfigErrors> {
        Settings::read(source, |settings| {
            let people = TokenConfig::of(settings);
            let routes = RoutesConfig::read_file(settings, transforms);
            let dedupe = DedupeConfig::read(settings);
            Ok(Self { people: people?, routes: routes?, dedupe: dedupe? })
        })
    }
}
