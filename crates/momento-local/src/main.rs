//! The binary `momento-local`. It parses the flags, logs to standard error and runs the library.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::process::ExitCode;

use clap::Parser as _;
use momento_local::cli::{Args, run};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // Only warnings of other crates: their details would show headers with keys.
    let levels =
        Targets::new().with_target("momento_local", args.log).with_default(args.log.min(LevelFilter::WARN));
    let log = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    tracing_subscriber::registry().with(log).with(levels).init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut causes = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                causes = format!("{causes}: {cause}");
                source = cause.source();
            }
            let _ = writeln!(stderr(), "momento-local: {causes}");
            ExitCode::FAILURE
        }
    }
}
