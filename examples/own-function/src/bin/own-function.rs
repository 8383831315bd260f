//! The function: in AWS Lambda, or as an HTTP server elsewhere.

use std::process::ExitCode;

fn main() -> ExitCode {
    topic_fanout::run::webhook_with(&own_function::transforms())
}
