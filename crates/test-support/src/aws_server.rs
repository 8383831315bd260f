//! Small Amazon queues, buses, tables and state machines, over real HTTP and in the protocols of the services.
//!
//! The server records requests, and responds as the services do or as a test scripts. It implements
//! `SendMessage` and `SendMessageBatch` of <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>,
//! `PutEvents` of <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>,
//! `PutItem` and `TransactWriteItems` of <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/>, and
//! `StartExecution` of <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>.
//! [`record`] makes the events of <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::ready;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::AwsResponse;
use crate::aws_json::{Call, Operation, Recorder, Service, text};

const OPERATIONS: &[Operation] = &[
    ("AmazonSQS.SendMessage", "sqs", "1.0"),
    ("AmazonSQS.SendMessageBatch", "sqs", "1.0"),
    ("AWSEvents.PutEvents", "events", "1.1"),
    ("DynamoDB_20120810.PutItem", "dynamodb", "1.0"),
    ("DynamoDB_20120810.TransactWriteItems", "dynamodb", "1.0"),
    ("AWSStepFunctions.StartExecution", "states", "1.0"),
];

/// The largest number of messages of one `SendMessageBatch`.
const MAX_ENTRIES: usize = 10;

/// Services on a free port of this machine, until they are dropped.
#[derive(Debug)]
pub struct AwsServer {
    service: Service,
    recorder: Arc<Recorder<State>>,
}

/// A recorded request.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsRequest {
    /// The operation, such as `SendMessage`.
    pub operation: String,
    /// The body.
    pub body: Value,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<AwsRequest>,
    user_agents: Vec<String>,
    scripts: HashMap<String, VecDeque<AwsResponse>>,
    /// The requests with the messages that a queue has stored, by the name of the queue.
    sent: HashMap<String, Vec<Value>>,
    queue_failures: HashMap<String, AwsResponse>,
    /// Items by table and key, executions by machine and name, transactions by token.
    existing: HashSet<String>,
}

/// Returns a successful response of a bus that rejects the event.
#[must_use]
pub fn event_failed(code: &str) -> AwsResponse {
    let entry = json!({"ErrorCode": code, "ErrorMessage": "a message of the test"});
    AwsResponse::success(json!({"FailedEntryCount": 1, "Entries": [entry]}))
}

/// Returns the response to a batch of messages in which these entries fail, each with a code and whether it is the caller's
/// fault. The others have the result of a stored message.
#[must_use]
pub fn entries_failed(entries: usize, failed: &[(usize, &str, bool)]) -> AwsResponse {
    let is_failed = |index: usize| failed.iter().any(|(failed, ..)| *failed == index);
    let successful: Vec<_> = (0..entries).filter(|index| !is_failed(*index)).map(stored_entry).collect();
    let failed = failed.iter().map(|(index, code, is_of_caller)| {
        json!({"Id": index.to_string(), "Code": code, "SenderFault": is_of_caller, "Message": "a message of the test"})
    });
    AwsResponse::success(json!({"Successful": successful, "Failed": failed.collect::<Vec<_>>()}))
}

fn stored_entry(index: usize) -> Value {
    json!({
        "Id": index.to_string(),
        "MessageId": format!("00000000-0000-4000-8000-{index:012}"),
        "MD5OfMessageBody": "5d41402abc4b2a76b9719d911017c592",
    })
}

/// Returns the error of a transaction that is cancelled for this reason.
#[must_use]
pub fn transaction_cancelled(code: &str) -> AwsResponse {
    let reason = json!({"Code": code, "Message": "a message of the test"});
    let body = json!({"__type": "TransactionCanceledException", "CancellationReasons": [reason]});
    AwsResponse::Json { status: 400, body, query_error: None }
}

impl AwsServer {
    /// Starts the services.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let recorder = Arc::new(Recorder::<State>::default());
        let handler = Arc::clone(&recorder);
        let handle = move |call| ready(handler.record(|state| state.respond(call)));
        Ok(Self { service: Service::start(OPERATIONS, handle).await?, recorder })
    }

    /// Returns the URL of the services.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.service.endpoint()
    }

    /// Returns the environment of a process that uses the services.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        self.service.environment("AWS_ENDPOINT_URL")
    }

    /// Responds to the next requests for `operation` with `responses`, in order, and then as the service does.
    pub fn script(&self, operation: &str, responses: impl IntoIterator<Item = AwsResponse>) {
        self.recorder.state().scripts.entry(operation.to_owned()).or_default().extend(responses);
    }

    /// Returns the URL of a queue. Every queue exists.
    #[must_use]
    pub fn queue_url(&self, queue: &str) -> String {
        format!("{}/123456789012/{queue}", self.endpoint())
    }

    /// Makes a queue respond like this, and store no message.
    pub fn fail_queue(&self, queue: &str, response: AwsResponse) {
        self.recorder.state().queue_failures.insert(queue.to_owned(), response);
    }

    /// Makes a queue store messages again.
    pub fn recover_queue(&self, queue: &str) {
        self.recorder.state().queue_failures.remove(queue);
    }

    /// Returns the requests with the messages that a queue has stored, in order.
    #[must_use]
    pub fn sent(&self, queue: &str) -> Vec<Value> {
        self.recorder.state().sent.get(queue).cloned().unwrap_or_default()
    }

    /// Returns the bodies of the messages that a queue has stored, in order.
    #[must_use]
    pub fn bodies(&self, queue: &str) -> Vec<String> {
        self.sent(queue).iter().filter_map(|message| text(message, "MessageBody")).collect()
    }

    /// Returns the user agent of each request.
    #[must_use]
    pub fn user_agents(&self) -> Vec<String> {
        self.recorder.state().user_agents.clone()
    }

    /// Returns the recorded requests, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<AwsRequest> {
        self.recorder.state().requests.clone()
    }

    /// Waits for `number` requests, retries included.
    pub async fn wait_for_requests(&self, number: usize) {
        self.recorder.wait_for(number).await;
    }
}

impl State {
    fn respond(&mut self, call: Call) -> AwsResponse {
        let Call { operation, body, user_agent } = call;
        let operation = operation.split_once('.').map_or(operation, |(_, operation)| operation);
        self.user_agents.push(user_agent);
        let response = match self.scripts.get_mut(operation).and_then(VecDeque::pop_front) {
            Some(AwsResponse::Cut) => {
                self.apply(operation, &body);
                AwsResponse::Cut
            }
            Some(scripted) => scripted,
            None => self.apply(operation, &body),
        };
        self.requests.push(AwsRequest { operation: operation.to_owned(), body });
        response
    }

    /// Applies a request as the service does.
    fn apply(&mut self, operation: &str, body: &Value) -> AwsResponse {
        let mut is_new = |key: Value| self.existing.insert(key.to_string());
        let empty = AwsResponse::success(json!({}));
        match operation {
            "SendMessage" | "SendMessageBatch" => {
                let url = text(body, "QueueUrl").unwrap_or_default();
                let queue = url.rsplit('/').next().unwrap_or_default();
                if let Some(failure) = self.queue_failures.get(queue) {
                    return failure.clone();
                }
                let entries = body.get("Entries").and_then(Value::as_array);
                let messages = entries.cloned().unwrap_or_else(|| vec![body.clone()]);
                if messages.len() > MAX_ENTRIES {
                    return AwsResponse::error(400, "com.amazonaws.sqs#TooManyEntriesInBatchRequest");
                }
                let is_empty = |message| text(message, "MessageBody").is_none_or(|body| body.is_empty());
                if messages.iter().any(is_empty) {
                    return AwsResponse::error(400, "com.amazonaws.sqs#MissingParameter");
                }
                let count = messages.len();
                self.sent.entry(queue.to_owned()).or_default().extend(messages);
                if entries.is_some() {
                    return entries_failed(count, &[]);
                }
                // The SDK does not compare the digest with the body.
                AwsResponse::success(json!({
                    "MessageId": "00000000-0000-4000-8000-000000000002",
                    "MD5OfMessageBody": "5d41402abc4b2a76b9719d911017c592",
                }))
            }
            "PutEvents" => {
                AwsResponse::success(json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}))
            }
            "PutItem" => {
                let condition = body.get("ConditionExpression").and_then(Value::as_str);
                let name = body.pointer("/ExpressionAttributeNames/#k").and_then(Value::as_str);
                let key = name.and_then(|name| body.pointer(&format!("/Item/{name}")));
                let exists = !is_new(json!([operation, body.get("TableName"), key]));
                if condition == Some("attribute_not_exists(#k)") && exists {
                    return AwsResponse::error(400, "ConditionalCheckFailedException");
                }
                empty
            }
            "TransactWriteItems" => {
                let (token, items) = (body.get("ClientRequestToken"), body.get("TransactItems"));
                let is_same = !is_new(json!([operation, token, items]));
                let is_known = !is_new(json!([operation, token]));
                if is_known && !is_same {
                    return AwsResponse::error(400, "IdempotentParameterMismatchException");
                }
                empty
            }
            "StartExecution" => {
                if !is_new(json!([operation, body.get("stateMachineArn"), body.get("name")])) {
                    return AwsResponse::error(400, "ExecutionAlreadyExists");
                }
                let arn = "arn:aws:states:eu-central-1:123456789012:execution:machine:name";
                AwsResponse::success(json!({"executionArn": arn, "startDate": 1_704_296_470.564}))
            }
            _ => AwsResponse::error(400, "UnknownOperationException"),
        }
    }
}

/// Returns a message of a queue as Lambda passes it to a function.
#[must_use]
pub fn record(queue: &str, id: &str, body: &str) -> Value {
    json!({
        "messageId": id,
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:eu-central-1:123456789012:{queue}"),
        "awsRegion": "eu-central-1",
    })
}
