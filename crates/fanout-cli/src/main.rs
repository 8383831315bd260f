//! The binary `fanout`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanout_cli::main()
}
