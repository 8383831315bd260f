//! The function `token`: a proof of who asks in, a token of Momento out.
//!
//! With `AWS_LAMBDA_RUNTIME_API` in the environment it is a Lambda function, without it the same
//! binary serves HTTP on `PORT`.

use std::process::ExitCode;

fn main() -> ExitCode {
    topic_fanout::run::token()
}
