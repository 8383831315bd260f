//! A small Amazon: queues, buses, tables and state machines, over real HTTP and in the services' own protocols.
//!
//! It keeps what it is sent and answers as the services do, or as a test wants. What it knows of each:
//! `SendMessage` of <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>,
//! `PutEvents` of <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>,
//! `PutItem` and `TransactWriteItems` of <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/>, and
//! `StartExecution` of <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::aws_json::{self, Answered, Memory, Operation, Service, response};

const OPERATIONS: &[Operation] = &[
    ("AmazonSQS.SendMessage", "sqs", "1.0"),
    ("AWSEvents.PutEvents", "events", "1.1"),
    ("DynamoDB_20120810.PutItem", "dynamodb", "1.0"),
    ("DynamoDB_20120810.TransactWriteItems", "dynamodb", "1.0"),
    ("AWSStepFunctions.StartExecution", "states", "1.0"),
];

/// Services on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct AwsServer {
    service: Service,
    shared: Arc<Shared>,
}

/// A request that came in.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsRequest {
    /// The operation, as `SendMessage`.
    pub operation: String,
    /// Its body.
    pub body: Value,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum AwsAnswer {
    /// An error, and the name that it had in an older protocol.
    Error {
        /// Its status.
        status: u16,
        /// Its type.
        kind: String,
        /// What the queues call it beside that.
        older: Option<String>,
        /// What it has beside type and message.
        more: Value,
    },
    /// This body, with a status of success.
    Body(Value),
    /// No answer, but an open connection.
    Hang,
    /// The request is done, and the connection is closed without an answer.
    Lost,
}

impl AwsAnswer {
    /// An error of this type.
    #[must_use]
    pub fn error(status: u16, kind: &str) -> Self {
        Self::Error { status, kind: kind.to_owned(), older: None, more: json!({}) }
    }

    /// An event that the bus does not take, in an answer of success.
    #[must_use]
    pub fn event_failed(code: &str) -> Self {
        let entry = json!({"ErrorCode": code, "ErrorMessage": "something about it"});
        Self::Body(json!({"FailedEntryCount": 1, "Entries": [entry]}))
    }

    /// A transaction that is not done, for this reason.
    #[must_use]
    pub fn cancelled(code: &str) -> Self {
        let more = json!({"CancellationReasons": [{"Code": code, "Message": "something about it"}]});
        Self::Error { status: 400, kind: "TransactionCanceledException".to_owned(), older: None, more }
    }
}

type Shared = Memory<State>;

#[derive(Debug, Default)]
struct State {
    requests: Vec<AwsRequest>,
    scripts: HashMap<String, VecDeque<AwsAnswer>>,
    /// What is there already: items by table and key, executions by machine and name, transactions by token.
    there: HashSet<String>,
}

impl AwsServer {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be listened to.
    pub async fn start() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let answering = Arc::clone(&shared);
        let service = Service::start(OPERATIONS, move |target, body| {
            let operation = target.split_once('.').map_or(target, |(_, operation)| operation);
            respond(answering.answer(operation, &body))
        });
        Ok(Self { service: service.await?, shared })
    }

    /// Its URL, for the SDK.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.service.endpoint()
    }

    /// The environment of a process that is to use it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        aws_json::environment(&self.endpoint(), &["AWS_ENDPOINT_URL"])
    }

    /// Requests for `operation` are answered so, one after the other, and then as the service does.
    pub fn script(&self, operation: &str, answers: impl IntoIterator<Item = AwsAnswer>) {
        self.shared.state().scripts.entry(operation.to_owned()).or_default().extend(answers);
    }

    /// The requests that came in, in their order.
    #[must_use]
    pub fn requests(&self) -> Vec<AwsRequest> {
        self.shared.state().requests.clone()
    }

    /// Waits until `many` requests have come in, tries again counted.
    pub async fn wait_for_requests(&self, many: usize) {
        self.shared.wait_for(many).await;
    }
}

impl Shared {
    /// Notes a request, and says what the answer is.
    fn answer(&self, operation: &str, body: &Value) -> AwsAnswer {
        let answer = {
            let mut state = self.state();
            state.requests.push(AwsRequest { operation: operation.to_owned(), body: body.clone() });
            match state.scripts.get_mut(operation).and_then(VecDeque::pop_front) {
                Some(AwsAnswer::Lost) => {
                    state.done(operation, body);
                    AwsAnswer::Lost
                }
                Some(scripted) => scripted,
                None => state.done(operation, body),
            }
        };
        self.noted();
        answer
    }
}

impl State {
    /// What a service does with a request.
    fn done(&mut self, operation: &str, body: &Value) -> AwsAnswer {
        let is_new = |there: &mut HashSet<String>, what: Value| there.insert(what.to_string());
        match operation {
            "SendMessage" => match body.get("MessageBody").and_then(Value::as_str) {
                None | Some("") => AwsAnswer::error(400, "MissingParameter"),
                // The SDK does not compare it with the body.
                Some(_) => AwsAnswer::Body(json!({
                    "MessageId": "00000000-0000-4000-8000-000000000002",
                    "MD5OfMessageBody": "5d41402abc4b2a76b9719d911017c592",
                })),
            },
            "PutEvents" => AwsAnswer::Body(json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})),
            "PutItem" => {
                let condition = body.get("ConditionExpression").and_then(Value::as_str);
                let name = body.pointer("/ExpressionAttributeNames/#k").and_then(Value::as_str);
                let held = name.and_then(|name| body.pointer(&format!("/Item/{name}")));
                let is_there = !is_new(&mut self.there, json!([operation, body.get("TableName"), held]));
                if condition == Some("attribute_not_exists(#k)") && is_there {
                    return AwsAnswer::error(400, "ConditionalCheckFailedException");
                }
                AwsAnswer::Body(json!({}))
            }
            "TransactWriteItems" => {
                let (token, items) = (body.get("ClientRequestToken"), body.get("TransactItems"));
                let is_same = !is_new(&mut self.there, json!([operation, token, items]));
                let is_known = !is_new(&mut self.there, json!([operation, token]));
                if is_known && !is_same {
                    return AwsAnswer::error(400, "IdempotentParameterMismatchException");
                }
                AwsAnswer::Body(json!({}))
            }
            "StartExecution" => {
                let (machine, name) = (body.get("stateMachineArn"), body.get("name"));
                if !is_new(&mut self.there, json!([operation, machine, name])) {
                    return AwsAnswer::error(400, "ExecutionAlreadyExists");
                }
                let arn = "arn:aws:states:eu-central-1:123456789012:execution:machine:name";
                AwsAnswer::Body(json!({"executionArn": arn, "startDate": 1_704_296_470.564}))
            }
            _ => AwsAnswer::error(400, "UnknownOperationException"),
        }
    }
}

async fn respond(answer: AwsAnswer) -> Answered {
    let (status, body, older) = match answer {
        AwsAnswer::Body(body) => (200, body, None),
        AwsAnswer::Error { status, kind, older, more } => {
            let mut body = json!({"__type": kind, "message": "something about it"});
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
                body.extend(more);
            }
            (status, body, older)
        }
        AwsAnswer::Hang => std::future::pending().await,
        AwsAnswer::Lost => return Err(io::Error::other("lost")),
    };
    let mut response = response(status, Bytes::from(body.to_string()));
    if let Some(older) = older {
        let value = HeaderValue::from_str(&format!("{older};Sender")).map_err(io::Error::other)?;
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    Ok(response)
}
