//! A small Amazon SQS. It receives messages over real HTTP, as
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html> describes. [`record`]
//! makes the events of <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::AwsResponse;
use crate::aws_json::{Call, Operation, Protocol, Recorder, Service, text};

const OPERATIONS: &[Operation] = &[("AmazonSQS.SendMessage", "sqs", Protocol::Json("1.0"))];

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct QueueServer {
    service: Service,
    recorder: Arc<Recorder<State>>,
}

#[derive(Debug, Default)]
struct State {
    sent: HashMap<String, Vec<Value>>,
    failures: HashMap<String, AwsResponse>,
    user_agents: Vec<String>,
}

impl QueueServer {
    /// Starts the service.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let recorder = Arc::new(Recorder::<State>::default());
        let handler = Arc::clone(&recorder);
        let handle = move |call| std::future::ready(handler.record(|state| state.send(call)));
        Ok(Self { service: Service::start(OPERATIONS, handle).await?, recorder })
    }

    /// Returns the environment of a process that uses the service.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        self.service.environment("AWS_ENDPOINT_URL_SQS")
    }

    /// Returns the URL of a queue. Every queue exists.
    #[must_use]
    pub fn url(&self, queue: &str) -> String {
        format!("{}/123456789012/{queue}", self.service.endpoint())
    }

    /// Makes a queue respond like this, and store no message.
    pub fn fail(&self, queue: &str, response: AwsResponse) {
        self.recorder.state().failures.insert(queue.to_owned(), response);
    }

    /// Makes a queue store messages again.
    pub fn recover(&self, queue: &str) {
        self.recorder.state().failures.remove(queue);
    }

    /// Returns the requests with messages to a queue, in order.
    #[must_use]
    pub fn sent(&self, queue: &str) -> Vec<Value> {
        self.recorder.state().sent.get(queue).cloned().unwrap_or_default()
    }

    /// Returns the user agent of each call.
    #[must_use]
    pub fn user_agents(&self) -> Vec<String> {
        self.recorder.state().user_agents.clone()
    }

    /// Returns the bodies of the messages to a queue, in order.
    #[must_use]
    pub fn bodies(&self, queue: &str) -> Vec<String> {
        self.sent(queue).iter().filter_map(|message| text(message, "MessageBody")).collect()
    }
}

impl State {
    fn send(&mut self, call: Call) -> AwsResponse {
        self.user_agents.push(call.user_agent);
        let url = text(&call.body, "QueueUrl").unwrap_or_default();
        let queue = url.rsplit('/').next().unwrap_or_default().to_owned();
        if let Some(failure) = self.failures.get(&queue) {
            return failure.clone();
        }
        if text(&call.body, "MessageBody").is_none_or(|body| body.is_empty()) {
            return AwsResponse::error(400, "com.amazonaws.sqs#MissingParameter");
        }
        self.sent.entry(queue).or_default().push(call.body);
        accepted()
    }
}

/// Returns the response to an accepted message. The SDK does not compare the digest with the body.
pub(crate) fn accepted() -> AwsResponse {
    AwsResponse::success(json!({
        "MessageId": "00000000-0000-4000-8000-000000000002",
        "MD5OfMessageBody": "5d41402abc4b2a76b9719d911017c592",
    }))
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
