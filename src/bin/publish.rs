//! The function `publish`: a proof of who asks and a text in, a message of a topic out.
//!
//! With `AWS_LAMBDA_RUNTIME_API` in the environment it is a Lambda function, without it the same
//! binary serves HTTP on `PORT`.

use std::process::ExitCode;

fn main() -> ExitCode {
    topic_fanout::run::publish()
}
