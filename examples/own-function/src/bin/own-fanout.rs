//! The command line `fanout` with the same transforms.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanout_cli::main_with(&own_function::transforms())
}
