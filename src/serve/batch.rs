//! Batches of messages from Amazon SQS.
//!
//! Lambda takes the messages of a queue and invokes the function with some of them at once. The answer names those
//! that are not done with; the rest is deleted from the queue. That holds where the event source mapping has
//! `ReportBatchItemFailures`: without it, Lambda deletes all of them whatever is answered.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::trace::TraceContext;
use crate::webhook::{Clock, Queued, Webhook};
use fanout_core::destination::Publisher;
use fanout_core::destination::sqs::is_fifo;

/// Messages that are handled at once. Each may be published to many topics.
const AT_ONCE: usize = 32;

/// A message that could not have at least this long is not begun: it comes again, with all the time there is.
const LEAST: Duration = Duration::from_millis(500);

/// What is read of a batch.
#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    body: Option<String>,
    attributes: Option<Attributes>,
    message_attributes: Option<HashMap<String, Attribute>>,
    #[serde(default, rename = "eventSourceARN")]
    source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    message_group_id: Option<String>,
    #[serde(rename = "AWSTraceHeader")]
    trace: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attribute {
    string_value: Option<String>,
}

/// What Lambda is told of a batch.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchResponse {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl Batch {
    /// Handles all messages, each within the time that is left for all.
    pub(super) async fn serve<P: Publisher, C: Clock>(
        self,
        webhook: &Webhook<P, C>,
        own: Option<&TraceContext>,
        time_left: Duration,
    ) -> BatchResponse {
        let end = Instant::now() + time_left;
        let groups = self.in_groups().into_iter().map(|group| serve_group(webhook, group, own, end));
        let failed: Vec<_> = stream::iter(groups).buffer_unordered(AT_ONCE).collect().await;
        let failures = failed.into_iter().flatten().map(|item_identifier| Failure { item_identifier });
        BatchResponse { batch_item_failures: failures.collect() }
    }

    /// Messages that have to be handled one after the other: those of one group of a FIFO queue.
    fn in_groups(self) -> Vec<Vec<Record>> {
        let mut groups: Vec<Vec<Record>> = Vec::new();
        let mut known: HashMap<(String, String), usize> = HashMap::new();
        for record in self.records {
            // Standard queues may have groups too, to share fairly; they keep no order.
            let group = record.group().filter(|_| is_fifo(&record.source));
            let Some(group) = group else {
                groups.push(vec![record]);
                continue;
            };
            let index = *known.entry((record.source.clone(), group)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups.get_mut(index).expect("a known group is in the list").push(record);
        }
        groups
    }
}

/// Handles messages one after the other up to the first that is not done with: those behind it must not overtake
/// it. Gives those that are not done with.
async fn serve_group<P: Publisher, C: Clock>(
    webhook: &Webhook<P, C>,
    group: Vec<Record>,
    own: Option<&TraceContext>,
    end: Instant,
) -> Vec<String> {
    let mut records = group.into_iter();
    let mut failed = Vec::new();
    for record in records.by_ref() {
        let id = record.message_id.clone();
        let time_left = end.saturating_duration_since(Instant::now());
        if time_left < LEAST || !webhook.take(record.queued(own, time_left)).await {
            failed.push(id);
            break;
        }
    }
    failed.extend(records.map(|record| record.message_id));
    failed
}

impl Record {
    /// The group of which it is, whatever the queue makes of that.
    fn group(&self) -> Option<String> {
        self.attributes.as_ref()?.message_group_id.clone()
    }

    fn queued(self, own: Option<&TraceContext>, time_left: Duration) -> Queued {
        let signature = |(name, attribute): (String, Attribute)| {
            name.eq_ignore_ascii_case(momento_webhook::momento::SIGNATURE_HEADER)
                .then(|| attribute.string_value.unwrap_or_default())
        };
        // That of the message, which its sender has begun; an invocation may bring messages of many.
        let trace = self.attributes.as_ref().and_then(|attributes| attributes.trace.as_deref());
        let trace = trace.and_then(|header| TraceContext::of_record(header, own));
        Queued {
            id: self.message_id,
            queue: self.source.rsplit(':').next().unwrap_or_default().to_owned(),
            body: self.body.unwrap_or_default(),
            signatures: self.message_attributes.into_iter().flatten().filter_map(signature).collect(),
            trace: trace.or_else(|| own.cloned()),
            time_left,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(id: &str, queue: &str, group: Option<&str>) -> Value {
        json!({
            "messageId": id, "receiptHandle": "x", "body": "{}", "md5OfBody": "x", "awsRegion": "eu-west-1",
            "attributes": {"ApproximateReceiveCount": "1", "MessageGroupId": group},
            "messageAttributes": {
                "Momento-Signature": {"stringValue": "abc", "dataType": "String", "binaryListValues": []},
                "other": {"binaryValue": "AA==", "dataType": "Binary"},
            },
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:eu-west-1:123456789012:{queue}"),
        })
    }

    fn ids(groups: Vec<Vec<Record>>) -> Vec<Vec<String>> {
        groups.into_iter().map(|group| group.into_iter().map(|record| record.message_id).collect()).collect()
    }

    #[test]
    fn only_what_is_in_one_group_of_a_fifo_queue_goes_one_by_one() {
        let records = [
            record("1", "a.fifo", Some("x")),
            record("2", "a.fifo", Some("y")),
            record("3", "a.fifo", Some("x")),
            record("4", "b.fifo", Some("x")),
            record("5", "plain", None),
            record("6", "plain", Some("x")),
            record("7", "plain", Some("x")),
        ];
        let batch: Batch = serde_json::from_value(json!({"Records": records})).unwrap();
        let expected: [&[&str]; 6] = [&["1", "3"], &["2"], &["4"], &["5"], &["6"], &["7"]];
        assert_eq!(ids(batch.in_groups()), expected.map(<[_]>::to_vec));
    }

    #[test]
    fn a_message_is_read_with_its_queue_and_signature() {
        let record: Record = serde_json::from_value(record("1", "plain", None)).unwrap();
        let queued = record.queued(None, Duration::ZERO);
        assert_eq!((queued.id.as_str(), queued.queue.as_str(), queued.body.as_str()), ("1", "plain", "{}"));
        assert_eq!(queued.signatures, ["abc"]);
    }

    #[test]
    fn a_message_is_part_of_its_own_trace_or_else_of_the_invocations() {
        let own = TraceContext::of_lambda("Root=1-65957ef6-0123456789abcdef01234567;Sampled=0").unwrap();
        let sent = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        for (header, expected) in [(sent, sent.to_owned()), ("nonsense", own.to_xray())] {
            let mut value = record("1", "plain", None);
            value["attributes"]["AWSTraceHeader"] = json!(header);
            let record: Record = serde_json::from_value(value).unwrap();
            let trace = record.queued(Some(&own), Duration::ZERO).trace.unwrap();
            assert_eq!(trace.to_xray(), expected, "{header}");
        }
    }

    #[test]
    fn the_answer_has_the_names_that_lambda_reads() {
        let failures = vec![Failure { item_identifier: "1".to_owned() }];
        let response = BatchResponse { batch_item_failures: failures };
        let expected = json!({"batchItemFailures": [{"itemIdentifier": "1"}]});
        assert_eq!(serde_json::to_value(response).unwrap(), expected);
    }
}
