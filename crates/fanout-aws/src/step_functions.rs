//! AWS Step Functions.

use aws_sdk_sfn::config::Config;
use aws_sdk_sfn::operation::start_execution::StartExecutionError;

use crate::client::{Aws, Call};
use crate::failure::{no_result, of_sdk};
use crate::in_time::InTime;
use fanout_core::destination::Accepted;
use fanout_core::destination::step_functions::Execution;
use fanout_core::reason::Failure;

impl Call for Execution {
    async fn call(&self, aws: &Aws, trace: Option<&str>, tries: InTime) -> Result<Accepted, Failure> {
        let Self { state_machine, name, input } = self;
        let call = aws
            .step_functions()
            .await?
            .start_execution()
            .state_machine_arn(state_machine)
            .name(name)
            .input(input)
            .set_trace_header(trace.map(str::to_owned));
        let started = call
            .customize()
            .interceptor(tries.clone())
            .config_override(Config::builder().retry_classifier(tries))
            .send()
            .await;
        match started {
            // The SDK reads a response without an ARN as one with an empty ARN.
            Ok(started) if started.execution_arn().is_empty() => Err(no_result()),
            Ok(_) => Ok(Accepted::Created),
            Err(error)
                if error.as_service_error().is_some_and(StartExecutionError::is_execution_already_exists) =>
            {
                Ok(Accepted::Duplicate)
            }
            Err(error) => Err(of_sdk(error)),
        }
    }
}
