//! Everything that is logged beside the journal: the start, the end, and what goes wrong between.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Source;
use crate::journal::Journal;
use crate::serve::lambda;

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line: in Lambda, and wherever nobody looks at a terminal.
    Json,
    /// For people.
    Human,
}

impl LogFormat {
    /// What suits where this runs.
    #[must_use]
    pub fn detect(source: &dyn Source) -> Self {
        if lambda::is_environment(source) || !std::io::stdout().is_terminal() {
            Self::Json
        } else {
            Self::Human
        }
    }

    /// The journal in this format.
    #[must_use]
    pub fn journal(self, source: &dyn Source) -> Journal {
        match self {
            Self::Human => Journal::Human,
            Self::Json => {
                let function = source.get("AWS_LAMBDA_FUNCTION_NAME").ok().flatten();
                Journal::Json { function: function.unwrap_or_else(|| "webhook".to_owned()) }
            }
        }
    }
}

/// Starts logging to standard output. The level is Lambda's own setting, `AWS_LAMBDA_LOG_LEVEL`, or
/// `RUST_LOG` (a level, or `target=level` pairs separated by commas), or else `info`.
pub fn init(source: &dyn Source, format: LogFormat) {
    let level =
        ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"].into_iter().find_map(|name| source.get(name).ok().flatten());
    let filter = level.and_then(|level| level.to_lowercase().parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let layer = tracing_subscriber::fmt::layer().with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    // Somebody who embeds this library may have started logging before.
    let _ = match format {
        LogFormat::Json => {
            registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()
        }
        LogFormat::Human => registry.with(layer).try_init(),
    };
}
