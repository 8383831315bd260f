//! Everything that is logged beside the journal: the start, the end, and what goes wrong between.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, Source};
use crate::output::Output;
use crate::request_log::RequestLog;
use crate::serve::lambda;

/// How the log looks, and where it goes.
#[derive(Clone, Debug)]
pub struct Telemetry {
    is_json: bool,
    output: Output,
}

impl Telemetry {
    /// What suits where this runs: JSON in Lambda and wherever nobody looks at a terminal.
    #[must_use]
    pub fn detect(source: &dyn Source) -> Self {
        let is_lambda = lambda::is_environment(source);
        Self {
            is_json: is_lambda || !std::io::stdout().is_terminal(),
            output: if is_lambda { Output::Direct } else { Output::queued() },
        }
    }

    /// The journal, in the same form and to the same place.
    #[must_use]
    pub fn journal(&self, source: &dyn Source) -> RequestLog {
        if !self.is_json {
            return RequestLog::Human;
        }
        let function = source.get("AWS_LAMBDA_FUNCTION_NAME").ok().flatten().filter(|name| !name.is_empty());
        RequestLog::Json {
            function: function.unwrap_or_else(|| "webhook".to_owned()),
            output: self.output.clone(),
        }
    }

    /// Starts logging.
    pub fn start(&self, config: &LogConfig) {
        let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(self.output.clone());
        let registry = tracing_subscriber::registry().with(config.filter.clone());
        // Somebody who embeds this library may have started logging before.
        let _ = if self.is_json {
            registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()
        } else {
            registry.with(layer).try_init()
        };
    }

    /// Waits until all that was logged is written, but not for long.
    pub fn end(&self) {
        self.output.flush();
    }
}
