//! A small Secrets Manager: gives out secrets by their stages, over real HTTP. It gives out parameters of the
//! Systems Manager as well, with their versions, for secrets may be kept there.
//!
//! As <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html> and
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html> say.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::aws_json::{self, Answered, Operation, refusal, response, text};

const GET_SECRET: &str = "secretsmanager.GetSecretValue";
const GET_PARAMETER: &str = "AmazonSSM.GetParameter";
const OPERATIONS: &[Operation] = &[(GET_SECRET, "secretsmanager", "1.1"), (GET_PARAMETER, "ssm", "1.1")];

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct SecretsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRequest {
    /// A secret.
    Secret {
        /// Its name or its ARN.
        id: String,
        /// The stage of the version.
        stage: String,
    },
    /// A parameter.
    Parameter {
        /// Its name, with the number of a version where one was asked for.
        name: String,
        /// Whether it was to be decrypted.
        with_decryption: bool,
    },
}

/// What there is under a name.
#[derive(Clone)]
enum Kept {
    /// Texts, the oldest first.
    Versions(Vec<String>),
    Bytes(Vec<u8>),
    /// An error of this status and type.
    Refused(u16, String),
    /// No answer, but an open connection.
    Hangs,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    kept: HashMap<String, Kept>,
    /// What the version before is, where it is not what `kept` says.
    before: HashMap<String, Kept>,
    requests: Vec<SecretRequest>,
    late: Duration,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("requests", &self.requests).finish_non_exhaustive()
    }
}

impl SecretsServer {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be listened to.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        let serving = aws_json::serve(listener, OPERATIONS, move |operation, body| {
            let shared = Arc::clone(&handler);
            async move { shared.answer(operation, &body).await }
        });
        Ok(Self { address, shared, server: tokio::spawn(serving) })
    }

    /// Its URL, for the SDK.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The environment of a process that is to use it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        aws_json::environment(&self.endpoint(), &["AWS_ENDPOINT_URL"])
    }

    /// The secret, or the parameter, `name` has this value from now on; what it had is the version before.
    pub fn put(&self, name: &str, value: &str) {
        let mut state = self.shared.state();
        match state.kept.get_mut(name) {
            Some(Kept::Versions(versions)) => versions.push(value.to_owned()),
            _ => {
                state.kept.insert(name.to_owned(), Kept::Versions(vec![value.to_owned()]));
            }
        }
    }

    /// The secret `name` has no text, but these bytes.
    pub fn put_bytes(&self, name: &str, value: &[u8]) {
        self.shared.state().kept.insert(name.to_owned(), Kept::Bytes(value.to_owned()));
    }

    /// Who asks for `name` gets this error from now on.
    pub fn refuse(&self, name: &str, status: u16, kind: &str) {
        self.shared.state().kept.insert(name.to_owned(), Kept::Refused(status, kind.to_owned()));
    }

    /// Who asks for `name` gets no answer from now on.
    pub fn hang(&self, name: &str) {
        self.shared.state().kept.insert(name.to_owned(), Kept::Hangs);
    }

    /// Who asks for the version of `name` before the current one gets this error from now on.
    pub fn refuse_previous(&self, name: &str, status: u16, kind: &str) {
        self.shared.state().before.insert(name.to_owned(), Kept::Refused(status, kind.to_owned()));
    }

    /// Who asks for the version of `name` before the current one gets no answer from now on.
    pub fn hang_previous(&self, name: &str) {
        self.shared.state().before.insert(name.to_owned(), Kept::Hangs);
    }

    /// Who asks for the version of `name` before the current one gets it again.
    pub fn answer_previous(&self, name: &str) {
        self.shared.state().before.remove(name);
    }

    /// Every answer takes that long from now on.
    pub fn answer_late(&self, by: Duration) {
        self.shared.state().late = by;
    }

    /// What was asked for, in its order, tries again included.
    #[must_use]
    pub fn requests(&self) -> Vec<SecretRequest> {
        self.shared.state().requests.clone()
    }

    /// Waits until it was asked `many` times, tries again counted.
    pub async fn wait_for_requests(&self, many: usize) {
        let mut count = self.shared.count.subscribe();
        // The sender is in `self`.
        let _ = count.wait_for(|count| *count >= many).await;
    }
}

impl Drop for SecretsServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is asked for, and says what there is under `name`.
    fn look_up(&self, name: &str, request: SecretRequest, is_before: bool) -> Option<Kept> {
        let kept = {
            let mut state = self.state();
            state.requests.push(request);
            let before = state.before.get(name).filter(|_| is_before);
            before.or_else(|| state.kept.get(name)).cloned()
        };
        self.count.send_modify(|count| *count += 1);
        kept
    }

    async fn answer(&self, operation: &str, body: &Value) -> Answered {
        let late = self.state().late;
        tokio::time::sleep(late).await;
        if operation == GET_PARAMETER { self.parameter(body).await } else { self.secret(body).await }
    }

    async fn secret(&self, body: &Value) -> Answered {
        let Some(id) = text(body, "SecretId") else {
            return Ok(refusal(400, "InvalidParameterException", "SecretId is needed"));
        };
        let stage = text(body, "VersionStage").unwrap_or_else(|| CURRENT.to_owned());
        let request = SecretRequest::Secret { id: id.clone(), stage: stage.clone() };
        let missing =
            refusal(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
        let kept = self.look_up(&id, request, stage == PREVIOUS);
        let Some(member) = (match kept {
            None => None,
            Some(Kept::Versions(versions)) => {
                let back = match &*stage {
                    CURRENT => 0,
                    PREVIOUS => 1,
                    _ => usize::MAX,
                };
                versions.into_iter().rev().nth(back).map(|text| ("SecretString", text))
            }
            Some(Kept::Bytes(bytes)) => (stage == CURRENT).then(|| ("SecretBinary", BASE64.encode(bytes))),
            Some(Kept::Refused(status, kind)) => return Ok(refusal(status, &kind, "")),
            Some(Kept::Hangs) => return hang().await,
        }) else {
            return Ok(missing);
        };
        let mut body = json!({
            "ARN": format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{id}-AbCdEf"),
            "Name": id,
            "VersionStages": [stage],
        });
        if let Some(body) = body.as_object_mut() {
            body.insert(member.0.to_owned(), Value::String(member.1));
        }
        Ok(response(200, Bytes::from(body.to_string())))
    }

    async fn parameter(&self, body: &Value) -> Answered {
        let asked = text(body, "Name").unwrap_or_default();
        let with_decryption = body.get("WithDecryption").and_then(Value::as_bool).unwrap_or_default();
        let (name, number) = match asked.split_once(':') {
            Some((name, number)) => (name.to_owned(), number.parse::<usize>().ok()),
            None => (asked.clone(), None),
        };
        let request = SecretRequest::Parameter { name: asked, with_decryption };
        match self.look_up(&name, request, number.is_some()) {
            Some(Kept::Versions(versions)) => {
                let number = number.unwrap_or(versions.len());
                match number.checked_sub(1).and_then(|place| versions.get(place)) {
                    Some(value) => Ok(aws_json::parameter(&name, value, number)),
                    None => Ok(refusal(400, "ParameterVersionNotFound", "")),
                }
            }
            Some(Kept::Refused(status, kind)) => Ok(refusal(status, &kind, "")),
            Some(Kept::Hangs) => hang().await,
            Some(Kept::Bytes(_)) | None => Ok(refusal(400, "ParameterNotFound", "")),
        }
    }
}

async fn hang() -> io::Result<http::Response<http_body_util::Full<Bytes>>> {
    std::future::pending().await
}
