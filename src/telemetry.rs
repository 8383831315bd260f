//! The log beside the log records of invocations: the start, the end, and faults between them.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, Source};
use crate::output::Output;
use crate::request_log::RequestLog;
use crate::serve::lambda::is_environment;

/// The form of the log, and its writer.
#[derive(Clone, Debug)]
pub struct Telemetry {
    is_json: bool,
    output: Output,
}

impl Telemetry {
    /// Selects the form for this process: JSON in Lambda and wherever standard output is not a terminal.
    #[must_use]
    pub fn new(is_lambda: bool) -> Self {
        Self {
            is_json: is_lambda || !std::io::stdout().is_terminal(),
            output: if is_lambda { Output::Direct } else { Output::queued() },
        }
    }

    /// Returns the request log, in the same form and with the same writer. With `has_emf`, and in Lambda, its records declare
    /// their metrics for CloudWatch. `name` is that of the function outside of Lambda.
    #[must_use]
    pub fn request_log(&self, source: &dyn Source, has_emf: bool, name: &str) -> RequestLog {
        if !self.is_json {
            return RequestLog::Human;
        }
        let function = source.get("AWS_LAMBDA_FUNCTION_NAME").ok().flatten().filter(|name| !name.is_empty());
        RequestLog::Json {
            function: function.unwrap_or_else(|| name.to_owned()),
            has_emf: has_emf || is_environment(source),
            output: self.output.clone(),
        }
    }

    /// Returns the writer of log lines.
    #[must_use]
    pub const fn output(&self) -> &Output {
        &self.output
    }

    /// Returns true if log lines are for a person at a terminal.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        !self.is_json
    }

    /// Starts logging. From then on the process logs where it panics, and never prints the message of a panic.
    pub fn start(&self, config: &LogConfig) {
        let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(self.output.clone());
        let registry = tracing_subscriber::registry().with(config.filter.clone());
        // A program that embeds this library may have started logging before.
        let _ = if self.is_json {
            registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()
        } else {
            registry.with(layer).try_init()
        };
        std::panic::set_hook(Box::new(log_panic));
    }

    /// Waits until the log is written, for a second at most.
    pub fn end(&self) {
        self.output.flush();
    }
}

/// Logs the location of a panic. Its message may quote the text of an event.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    tracing::error!(location, "the function panicked");
}
