//! The level of the log.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{ConfigErrors, Read, Settings, Source};

/// Lambda's own setting, which its console writes, and the usual one.
const LEVELS: [&str; 2] = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"];

/// Selects the metrics in log records outside of Lambda.
const METRICS: &str = "METRICS";

/// `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG`, and `METRICS`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// Selects the lines that are written.
    pub filter: Targets,
    /// True if log records declare their metrics for CloudWatch, as they do in Lambda.
    pub has_emf: bool,
}

impl LogConfig {
    /// Reads the level only.
    ///
    /// # Errors
    /// If the level is invalid.
    pub fn from_source(source: &dyn Source) -> Result<Self, ConfigErrors> {
        Settings::read(source, Self::read)
    }

    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let has_emf = match settings.line(METRICS)?.as_deref() {
            None => false,
            Some("emf") => true,
            Some(_) => return settings.fault(METRICS, "is not emf, the only value"),
        };
        for name in LEVELS {
            let Some(value) = settings.line(name)? else { continue };
            return match parse(&value) {
                Some(filter) => Ok(Self { filter: quiet(filter), has_emf }),
                None => settings.fault(
                    name,
                    "is not a level (error, warn, info, debug, trace, off), nor target=level separated by commas",
                ),
            };
        }
        Ok(Self { has_emf, ..Self::default() })
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: quiet(Targets::new().with_default(LevelFilter::INFO)), has_emf: false }
    }
}

/// Reads a level or a list. A single word is a level, and not a target as in [`Targets`]: there, a misspelt level would
/// switch the log off.
fn parse(value: &str) -> Option<Targets> {
    let mut filter = Targets::new();
    for directive in value.split(',').filter(|directive| !directive.trim().is_empty()) {
        filter = match directive.split_once('=') {
            None => filter.with_default(level(directive)?),
            Some((target, wanted)) => filter.with_target(target.trim(), level(wanted)?),
        };
    }
    Some(filter)
}

fn level(word: &str) -> Option<LevelFilter> {
    match word.trim().to_lowercase().as_str() {
        // The parser below accepts an empty level.
        "" => None,
        // Lambda offers this level. The next one is `error`.
        "fatal" => Some(LevelFilter::ERROR),
        word => word.parse().ok(),
    }
}

/// Limits the levels of libraries. At `trace` the Lambda runtime logs whole invocations, with text and signature, and the AWS
/// SDK logs whole requests, with the session token.
const QUIET: [(&str, LevelFilter); 2] = [("lambda_runtime", LevelFilter::DEBUG), ("aws_", LevelFilter::INFO)];

fn quiet(filter: Targets) -> Targets {
    QUIET.into_iter().fold(filter, |filter, (loud, most)| {
        // A level for a module of the library is limited as well.
        let parts: Vec<_> = filter.iter().filter(|(target, _)| target.starts_with(loud)).collect();
        let parts: Vec<_> = parts.into_iter().map(|(target, level)| (target.to_owned(), level)).collect();
        let whole = filter.default_level().unwrap_or(LevelFilter::OFF);
        let filter = filter.with_target(loud, whole.min(most));
        parts.into_iter().fold(filter, |filter, (part, level)| filter.with_target(part, level.min(most)))
    })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use crate::config::tests::{LEAST, faults, read, vars};

    fn enabled(changes: &[(&str, &str)], target: &str, level: Level) -> bool {
        let config = read(&vars(&[changes, &LEAST].concat())).unwrap();
        config.log.filter.would_enable(target, &level)
    }

    #[test]
    fn info_is_the_default_and_lambdas_setting_goes_first() {
        for unset in [&[][..], &[("RUST_LOG", "")], &[("AWS_LAMBDA_LOG_LEVEL", "")]] {
            assert!(enabled(unset, "any", Level::INFO) && !enabled(unset, "any", Level::DEBUG));
        }
        let both = [("AWS_LAMBDA_LOG_LEVEL", "ERROR"), ("RUST_LOG", "debug")];
        assert!(enabled(&both, "any", Level::ERROR) && !enabled(&both, "any", Level::WARN));
        let empty = [("AWS_LAMBDA_LOG_LEVEL", ""), ("RUST_LOG", " debug ")];
        assert!(enabled(&empty, "any", Level::DEBUG));
    }

    #[test]
    fn reads_levels_and_targets() {
        let mixed = [("RUST_LOG", "warn, topic_fanout = debug")];
        assert!(enabled(&mixed, "topic_fanout::fan_out", Level::DEBUG));
        assert!(enabled(&mixed, "h2", Level::WARN) && !enabled(&mixed, "h2", Level::INFO));
        assert!(enabled(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")], "any", Level::ERROR));
        assert!(!enabled(&[("RUST_LOG", "off")], "any", Level::ERROR));
        assert!(enabled(&[("RUST_LOG", "info,")], "any", Level::INFO));
    }

    #[test]
    fn rejects_unknown_levels() {
        for wrong in ["verbose", "a=verbose", "a=", "topic_fanout"] {
            let faults = faults(&[("RUST_LOG", wrong)]);
            assert!(matches!(&faults[..], [(name, _)] if name == "RUST_LOG"), "{wrong}: {faults:?}");
        }
    }

    #[test]
    fn runtime_never_logs_whole_invocations() {
        for all in ["trace", "lambda_runtime=trace", "info,lambda_runtime=trace"] {
            assert!(!enabled(&[("RUST_LOG", all)], "lambda_runtime::layers", Level::TRACE), "{all}");
        }
        assert!(enabled(&[("RUST_LOG", "trace")], "topic_fanout", Level::TRACE));
        assert!(enabled(&[("RUST_LOG", "trace")], "lambda_runtime", Level::DEBUG));
        assert!(!enabled(&[("RUST_LOG", "error")], "lambda_runtime", Level::WARN));
    }
}
