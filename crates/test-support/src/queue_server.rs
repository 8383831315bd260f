//! A small Amazon SQS: takes messages over real HTTP and hands them out as Lambda does, as
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html> say.

use std::collections::HashMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::aws_json::{self, Answered, Operation, refusal, response, text};

const SEND: &str = "AmazonSQS.SendMessage";
const OPERATIONS: &[Operation] = &[(SEND, "sqs", "1.0")];

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct QueueServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sent: HashMap<String, Vec<Value>>,
    faults: HashMap<String, Fault>,
    user_agents: Vec<String>,
}

/// What a queue does instead of taking a message.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An error of this status and type.
    Refused(u16, &'static str),
    /// No answer, but an open connection.
    Hangs,
}

impl QueueServer {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be listened to.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let handling = Arc::clone(&shared);
        let handle = move |_, body| handle(Arc::clone(&handling), body);
        let server = tokio::spawn(aws_json::serve(listener, OPERATIONS, handle));
        Ok(Self { address, shared, server })
    }

    /// The environment of a process that is to find it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        aws_json::environment(&format!("http://{}", self.address), &["AWS_ENDPOINT_URL_SQS"])
    }

    /// The URL of a queue. Every queue is there.
    #[must_use]
    pub fn url(&self, queue: &str) -> String {
        format!("http://{}/123456789012/{queue}", self.address)
    }

    /// From now on, a queue does this.
    pub fn fail(&self, queue: &str, fault: Fault) {
        self.shared.state().faults.insert(queue.to_owned(), fault);
    }

    /// From now on, a queue does what queues do.
    pub fn mend(&self, queue: &str) {
        self.shared.state().faults.remove(queue);
    }

    /// The requests by which messages were sent to a queue, in order.
    #[must_use]
    pub fn sent(&self, queue: &str) -> Vec<Value> {
        self.shared.state().sent.get(queue).cloned().unwrap_or_default()
    }

    /// Who has called, by the user agent of each call.
    #[must_use]
    pub fn user_agents(&self) -> Vec<String> {
        self.shared.state().user_agents.clone()
    }

    /// The bodies of these messages.
    #[must_use]
    pub fn bodies(&self, queue: &str) -> Vec<String> {
        self.sent(queue).iter().filter_map(|message| text(message, "MessageBody")).collect()
    }
}

impl Drop for QueueServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn handle(shared: Arc<Shared>, body: Value) -> Answered {
    shared.state().user_agents.push(aws_json::user_agent());
    let url = text(&body, "QueueUrl").unwrap_or_default();
    let queue = url.rsplit('/').next().unwrap_or_default().to_owned();
    let fault = shared.state().faults.get(&queue).cloned();
    match fault {
        Some(Fault::Hangs) => pending().await,
        Some(Fault::Refused(status, kind)) => return Ok(refusal(status, kind, "as the test says")),
        None => {}
    }
    if text(&body, "MessageBody").is_none_or(|body| body.is_empty()) {
        return Ok(refusal(400, "com.amazonaws.sqs#MissingParameter", "MessageBody"));
    }
    shared.state().sent.entry(queue).or_default().push(body);
    let answer =
        json!({ "MessageId": "00000000-0000-4000-8000-000000000002", "MD5OfMessageBody": "unchecked" });
    Ok(response(200, Bytes::from(answer.to_string())))
}

/// A message of a queue, as Lambda hands it to a function.
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
