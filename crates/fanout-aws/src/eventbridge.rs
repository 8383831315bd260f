//! Amazon EventBridge.

use aws_sdk_eventbridge::config::Config;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_smithy_types::DateTime;

use crate::client::{Aws, Call};
use crate::failure::{no_result, of_part, of_sdk};
use crate::in_time::InTime;
use fanout_core::destination::Accepted;
use fanout_core::destination::eventbridge::BusEvent;
use fanout_core::reason::Failure;

impl Call for BusEvent {
    async fn call(&self, aws: &Aws, trace: Option<&str>, tries: InTime) -> Result<Accepted, Failure> {
        let Self { bus, source, detail_type, detail, resources, time } = self;
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(bus)
            .source(source)
            .detail_type(detail_type)
            .detail(detail)
            .set_resources((!resources.is_empty()).then(|| resources.clone()))
            .set_trace_header(trace.map(str::to_owned))
            .time(DateTime::from_millis(i64::try_from(*time).unwrap_or(i64::MAX)))
            .build();
        let call = aws.eventbridge().await?.put_events().entries(entry);
        let call = call
            .customize()
            .interceptor(tries.clone())
            .config_override(Config::builder().retry_classifier(tries));
        let put = call.send().await.map_err(of_sdk)?;
        // The SDK returns a response that counts failures as a success.
        match put.entries() {
            [entry] if put.failed_entry_count == 0 && entry.event_id().is_some() => Ok(Accepted::Created),
            entries => {
                let code = entries.iter().find_map(|entry| entry.error_code());
                Err(code.map_or_else(no_result, of_part))
            }
        }
    }
}
