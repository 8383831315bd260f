//! Small Amazon queues, buses, tables and state machines, over real HTTP and in the protocols of the services.
//!
//! The server records requests, and responds as the services do or as a test scripts. It implements
//! `SendMessage` of <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>,
//! `PutEvents` of <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>,
//! `PutItem` and `TransactWriteItems` of <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/>, and
//! `StartExecution` of <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::ready;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::AwsResponse;
use crate::aws_json::{Operation, Protocol, Recorder, Service};
use crate::queue_server::accepted;

const OPERATIONS: &[Operation] = &[
    ("AmazonSQS.SendMessage", "sqs", Protocol::Json("1.0")),
    ("AWSEvents.PutEvents", "events", Protocol::Json("1.1")),
    ("DynamoDB_20120810.PutItem", "dynamodb", Protocol::Json("1.0")),
    ("DynamoDB_20120810.TransactWriteItems", "dynamodb", Protocol::Json("1.0")),
    ("AWSStepFunctions.StartExecution", "states", Protocol::Json("1.0")),
];

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
    scripts: HashMap<String, VecDeque<AwsResponse>>,
    /// Items by table and key, executions by machine and name, transactions by token.
    existing: HashSet<String>,
}

/// Returns a successful response of a bus that rejects the event.
#[must_use]
pub fn event_failed(code: &str) -> AwsResponse {
    let entry = json!({"ErrorCode": code, "ErrorMessage": "a message of the test"});
    AwsResponse::success(json!({"FailedEntryCount": 1, "Entries": [entry]}))
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
        let handle = move |call: crate::aws_json::Call| {
            let operation = call.operation.split_once('.').map_or(call.operation, |(_, operation)| operation);
            ready(handler.record(|state| state.respond(operation, call.body)))
        };
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
    fn respond(&mut self, operation: &str, body: Value) -> AwsResponse {
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
            "SendMessage" => match body.get("MessageBody").and_then(Value::as_str) {
                None | Some("") => AwsResponse::error(400, "MissingParameter"),
                Some(_) => accepted(),
            },
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
