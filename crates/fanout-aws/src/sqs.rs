//! Amazon SQS.

use aws_sdk_sqs::config::Config;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
};

use crate::client::{Aws, Call};
use crate::failure::{no_result, of_sdk};
use crate::in_time::InTime;
use fanout_core::destination::Accepted;
use fanout_core::destination::sqs::QueueMessage;
use fanout_core::reason::Failure;

impl Call for QueueMessage {
    async fn call(&self, aws: &Aws, trace: Option<&str>, tries: InTime) -> Result<Accepted, Failure> {
        let Self { queue, body, group, deduplication, attributes, delay_seconds } = self;
        let mut call = aws
            .sqs()
            .await?
            .send_message()
            .queue_url(queue)
            .message_body(body)
            .set_message_group_id(group.clone())
            .set_message_deduplication_id(deduplication.clone())
            .set_delay_seconds(delay_seconds.map(i32::from));
        for (name, text) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(text);
            call = call.message_attributes(name, value.build().map_err(invalid_attribute)?);
        }
        if let Some(trace) = trace {
            let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace);
            let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
            call = call.message_system_attributes(name, value.build().map_err(invalid_attribute)?);
        }
        let call = call
            .customize()
            .interceptor(tries.clone())
            .config_override(Config::builder().retry_classifier(tries));
        let sent = call.send().await.map_err(of_sdk)?;
        sent.message_id().map(|_| Accepted::Created).ok_or_else(no_result)
    }
}

fn invalid_attribute(error: aws_smithy_types::error::operation::BuildError) -> Failure {
    Failure::invalid("an attribute of the message is invalid").because(error)
}
