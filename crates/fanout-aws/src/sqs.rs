//! Amazon SQS.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sqs::config::Config;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry,
};
use aws_smithy_types::error::operation::BuildError;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::client::{Aws, Call};
use crate::failure::{no_result, of_entry, of_sdk};
use crate::in_time::{InTime, in_time};
use fanout_core::destination::Accepted;
use fanout_core::destination::sqs::{QueueMessage, QueueSender};
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
            .set_message_attributes(values(attributes)?)
            .set_delay_seconds(delay_seconds.map(i32::from));
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

impl QueueSender for Aws {
    fn send_batch<'c>(
        &'c self,
        messages: &'c [QueueMessage],
        deadline: Instant,
    ) -> BoxFuture<'c, Result<Vec<Result<(), Failure>>, Failure>> {
        in_time(deadline, send_batch(self, messages, InTime::new(deadline)))
    }
}

async fn send_batch(
    aws: &Aws,
    messages: &[QueueMessage],
    tries: InTime,
) -> Result<Vec<Result<(), Failure>>, Failure> {
    let Some(QueueMessage { queue, .. }) = messages.first() else { return Ok(Vec::new()) };
    let entries = messages.iter().enumerate().map(|(index, message)| {
        let QueueMessage { queue: _, body, group, deduplication, attributes, delay_seconds } = message;
        SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .message_body(body)
            .set_message_group_id(group.clone())
            .set_message_deduplication_id(deduplication.clone())
            .set_message_attributes(values(attributes)?)
            .set_delay_seconds(delay_seconds.map(i32::from))
            .build()
            .map_err(|error| Failure::invalid("a message of the batch is invalid").because(error))
    });
    let call = aws
        .sqs()
        .await?
        .send_message_batch()
        .queue_url(queue)
        .set_entries(Some(entries.collect::<Result<_, _>>()?))
        .customize()
        .interceptor(tries.clone())
        .config_override(Config::builder().retry_classifier(tries));
    let sent = call.send().await.map_err(of_sdk)?;
    let result = |index: usize| {
        let id = index.to_string();
        if sent.successful().iter().any(|entry| entry.id() == id) {
            return Ok(());
        }
        let failed = sent.failed().iter().find(|entry| entry.id() == id);
        Err(failed.map_or_else(no_result, |entry| of_entry(entry.code(), entry.sender_fault())))
    };
    Ok((0..messages.len()).map(result).collect())
}

fn values(
    attributes: &BTreeMap<String, String>,
) -> Result<Option<HashMap<String, MessageAttributeValue>>, Failure> {
    let value = |(name, text): (&String, &String)| {
        let value = MessageAttributeValue::builder().data_type("String").string_value(text);
        Ok::<_, Failure>((name.clone(), value.build().map_err(invalid_attribute)?))
    };
    let values: HashMap<_, _> = attributes.iter().map(value).collect::<Result<_, _>>()?;
    Ok((!values.is_empty()).then_some(values))
}

fn invalid_attribute(error: BuildError) -> Failure {
    Failure::invalid("an attribute of the message is invalid").because(error)
}
