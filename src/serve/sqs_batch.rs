//! The queue edge: batches of messages from Amazon SQS.
//!
//! Lambda receives messages from the queue and invokes the function with a batch of them. The response lists the messages
//! that failed, and Lambda deletes the others from the queue. The event source mapping needs `ReportBatchItemFailures`:
//! without it, Lambda ignores the response and deletes all of them.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use momento_webhook::{Event, SignatureHeaders, Verified};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::pipeline::Job;
use crate::request_log::LogRecord;
use crate::response::{Outcome, Rejection};
use crate::trace::TraceContext;
use crate::webhook::{Webhook, contained};
use fanout_core::clock::Clock;
use fanout_core::dead_letter::DeadLetter;
use fanout_core::destination::Publisher;
use fanout_core::destination::sqs::is_fifo;

/// The number of messages that are handled at once. Each may go to many topics.
const CONCURRENCY: usize = 32;

/// The least time that a message is started with. With less it comes again, with all the time of another invocation.
const LEAST_TIME: Duration = Duration::from_millis(500);

/// A batch, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    #[serde(default)]
    body: Option<String>,
    attributes: Option<Attributes>,
    message_attributes: Option<HashMap<String, Attribute>>,
    #[serde(default, rename = "eventSourceARN")]
    queue_arn: String,
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

/// The response to a batch.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

impl Batch {
    /// Handles all messages within `time_left`. `invocation` is the trace of the invocation.
    pub(crate) async fn serve<P: Publisher, C: Clock>(
        self,
        webhook: &Webhook<P, C>,
        invocation: Option<&TraceContext>,
        time_left: Duration,
    ) -> BatchResponse {
        let deadline = Instant::now() + time_left;
        let groups = self.groups().into_iter();
        let groups = groups.map(|group| serve_group(webhook, group, invocation, deadline));
        let failed: Vec<_> = stream::iter(groups).buffer_unordered(CONCURRENCY).collect().await;
        let failures = failed.into_iter().flatten();
        let failures = failures.map(|record| ItemFailure { item_identifier: record.message_id });
        webhook.pipeline.routes().check();
        BatchResponse { batch_item_failures: failures.collect() }
    }

    /// Returns the messages in groups that are handled in order: one for each message group of a FIFO queue.
    fn groups(self) -> Vec<Vec<Record>> {
        let mut groups: Vec<Vec<Record>> = Vec::new();
        let mut known: HashMap<(String, String), usize> = HashMap::new();
        for record in self.records {
            // Standard queues may have message groups too, for fair sharing. They keep no order.
            let group = record.group().filter(|_| is_fifo(&record.queue_arn));
            let Some(group) = group else {
                groups.push(vec![record]);
                continue;
            };
            let index = *known.entry((record.queue_arn.clone(), group)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups.get_mut(index).expect("a known group is in the list").push(record);
        }
        groups
    }
}

/// Handles messages in order, up to the first that fails: those behind it must not overtake it. Returns that message and
/// those behind it.
async fn serve_group<P: Publisher, C: Clock>(
    webhook: &Webhook<P, C>,
    mut group: Vec<Record>,
    invocation: Option<&TraceContext>,
    deadline: Instant,
) -> Vec<Record> {
    let mut done = 0;
    for record in &group {
        let time_left = deadline.saturating_duration_since(Instant::now());
        if time_left < LEAST_TIME || !handle(webhook, record, invocation, deadline).await {
            break;
        }
        done += 1;
    }
    group.split_off(done)
}

/// Handles one message. Returns true if it is done, and false if the queue has to redeliver it; when the queue has done
/// that as often as its redrive policy says, it moves the message to its own dead-letter queue.
async fn handle<P: Publisher, C: Clock>(
    webhook: &Webhook<P, C>,
    record: &Record,
    invocation: Option<&TraceContext>,
    deadline: Instant,
) -> bool {
    let started = Instant::now();
    let id = Some(record.message_id.clone());
    let mut log = LogRecord::new(webhook.clock.now(), id).from_queue(record.queue().to_owned());
    let trace = record.trace(invocation);
    log.set_trace(trace.as_ref().map(TraceContext::trace));
    let handling = async {
        let content = match record.read(webhook, deadline).await {
            Ok(content) => content,
            Err(rejection) => return finish(webhook, &log, &Outcome::Rejected(rejection), started),
        };
        let (event, dead_letter) = (content.event(), content.dead_letter());
        log.set_event(event);
        let xray = trace.as_ref().map(TraceContext::to_xray);
        let policy = webhook.pipeline.policy_for_message(record.queue(), dead_letter.is_some());
        let (now, xray) = (log.time(), xray.as_deref());
        let routes = &webhook.pipeline.routes().current();
        let handled =
            webhook.pipeline.run(Job { routes, event, dead_letter, policy, now, xray, deadline }).await;
        log.set_dedupe_failed(handled.dedupe_failed);
        finish(webhook, &log, &handled.outcome, started)
    };
    match contained(handling).await {
        Some(is_done) => is_done,
        None => finish(webhook, &log, &Outcome::Crashed, started),
    }
}

fn finish<P: Publisher, C: Clock>(
    webhook: &Webhook<P, C>,
    record: &LogRecord,
    outcome: &Outcome<'_>,
    started: Instant,
) -> bool {
    webhook.log(record, outcome, started);
    outcome.status().is_success()
}

/// The content of a message.
enum Content {
    Event(Verified<Event>),
    DeadLetter(DeadLetter),
}

impl Content {
    const fn event(&self) -> &Verified<Event> {
        match self {
            Self::Event(event) => event,
            Self::DeadLetter(dead_letter) => &dead_letter.event,
        }
    }

    const fn dead_letter(&self) -> Option<&DeadLetter> {
        match self {
            Self::Event(_) => None,
            Self::DeadLetter(dead_letter) => Some(dead_letter),
        }
    }
}

impl Record {
    /// Reads the message. It is trusted because of the queue that it comes from. A signature beside it is verified all
    /// the same.
    async fn read<P: Publisher, C: Clock>(
        &self,
        webhook: &Webhook<P, C>,
        deadline: Instant,
    ) -> Result<Content, Rejection> {
        // A message that SQS delivers without a body is not an event.
        let body = self.body.as_deref().unwrap_or("");
        let signatures = self.signatures();
        if signatures.has_any(webhook.signatures()) {
            let (verified, _) = webhook.verify(body.as_bytes(), signatures, deadline).await?;
            return Ok(Content::Event(verified.event()?));
        }
        Ok(match DeadLetter::read(body)? {
            Some(dead_letter) => Content::DeadLetter(dead_letter),
            None => Content::Event(Verified::trusted(body.as_bytes()).event()?),
        })
    }

    /// Returns the signatures in message attributes, which have the names of headers. One without a text is an invalid
    /// signature.
    fn signatures(&self) -> SignatureHeaders<'_> {
        SignatureHeaders::collect(|wanted| {
            let attributes = self.message_attributes.iter().flatten();
            let values = attributes.filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
            values.map(|(_, attribute)| attribute.string_value.as_deref().unwrap_or("").as_bytes())
        })
    }

    /// Returns its message group, whether or not the queue keeps an order.
    fn group(&self) -> Option<String> {
        self.attributes.as_ref()?.message_group_id.clone()
    }

    /// Returns the name of the queue.
    fn queue(&self) -> &str {
        self.queue_arn.rsplit_once(':').map_or(&self.queue_arn, |(_, name)| name)
    }

    /// Returns its own trace, or else that of the invocation, which may bring messages of many traces.
    fn trace(&self, invocation: Option<&TraceContext>) -> Option<TraceContext> {
        let header = self.attributes.as_ref().and_then(|attributes| attributes.trace.as_deref());
        let own = header.and_then(|header| TraceContext::of_record(header, invocation));
        own.or_else(|| invocation.cloned())
    }
}

#[cfg(test)]
mod tests {
    use momento_webhook::SignaturePolicy;
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
        assert_eq!(ids(batch.groups()), expected.map(<[_]>::to_vec));
    }

    #[test]
    fn a_message_is_read_with_its_queue_and_signature() {
        let record: Record = serde_json::from_value(record("1", "plain", None)).unwrap();
        assert_eq!(
            (record.message_id.as_str(), record.queue(), record.body.as_deref()),
            ("1", "plain", Some("{}"))
        );
        assert!(record.signatures().has_any(SignaturePolicy::Momento));
        assert!(!record.signatures().has_any(SignaturePolicy::Standard));
    }

    #[test]
    fn a_message_is_part_of_its_own_trace_or_else_of_the_invocations() {
        let own = TraceContext::of_lambda("Root=1-65957ef6-0123456789abcdef01234567;Sampled=0").unwrap();
        let sent = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        for (header, expected) in [(sent, sent.to_owned()), ("nonsense", own.to_xray())] {
            let mut value = record("1", "plain", None);
            value["attributes"]["AWSTraceHeader"] = json!(header);
            let record: Record = serde_json::from_value(value).unwrap();
            let trace = record.trace(Some(&own)).unwrap();
            assert_eq!(trace.to_xray(), expected, "{header}");
        }
    }

    #[test]
    fn the_answer_has_the_names_that_lambda_reads() {
        let failures = vec![ItemFailure { item_identifier: "1".to_owned() }];
        let response = BatchResponse { batch_item_failures: failures };
        let expected = json!({"batchItemFailures": [{"itemIdentifier": "1"}]});
        assert_eq!(serde_json::to_value(response).unwrap(), expected);
    }
}
