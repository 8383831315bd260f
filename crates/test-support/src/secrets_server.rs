//! A small Secrets Manager, over real HTTP: secrets by their stages. It serves parameters of the Systems Manager as
//! well, with their versions, because they can hold secrets and routes.
//!
//! It implements
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html> and
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::AwsResponse;
use crate::aws_json::{Call, Operation, Recorder, Service, text};

const GET_SECRET: &str = "secretsmanager.GetSecretValue";
const GET_PARAMETER: &str = "AmazonSSM.GetParameter";
const OPERATIONS: &[Operation] = &[(GET_SECRET, "secretsmanager", "1.1"), (GET_PARAMETER, "ssm", "1.1")];

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct SecretsServer {
    service: Service,
    recorder: Arc<Recorder<State>>,
}

/// A recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRequest {
    /// A request for a secret.
    Secret {
        /// Its name or its ARN.
        id: String,
        /// The stage of the version.
        stage: String,
    },
    /// A request for a parameter.
    Parameter {
        /// Its name, with the number of a version if the request has one.
        name: String,
        /// Whether the request asks for decryption.
        with_decryption: bool,
    },
}

/// What the server has under a name.
#[derive(Clone, Debug)]
enum Stored {
    /// Texts, the oldest first.
    Versions(Vec<String>),
    Bytes(Vec<u8>),
    Failure(AwsResponse),
}

#[derive(Debug, Default)]
struct State {
    stored: HashMap<String, Stored>,
    /// The responses to requests for a previous version, where a test sets them.
    previous_failures: HashMap<String, AwsResponse>,
    requests: Vec<SecretRequest>,
    delay: Duration,
}

impl SecretsServer {
    /// Starts the service.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let recorder = Arc::new(Recorder::<State>::default());
        let handler = Arc::clone(&recorder);
        let handle = move |call| {
            let handler = Arc::clone(&handler);
            async move {
                let delay = handler.state().delay;
                tokio::time::sleep(delay).await;
                handler.record(|state| state.respond(&call))
            }
        };
        Ok(Self { service: Service::start(OPERATIONS, handle).await?, recorder })
    }

    /// Returns the URL of the service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.service.endpoint()
    }

    /// Returns the environment of a process that uses the service.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        self.service.environment("AWS_ENDPOINT_URL")
    }

    /// Adds a version of the secret or parameter `name`. The current one becomes the previous one.
    pub fn put(&self, name: &str, value: &str) {
        let mut state = self.recorder.state();
        match state.stored.get_mut(name) {
            Some(Stored::Versions(versions)) => versions.push(value.to_owned()),
            _ => {
                state.stored.insert(name.to_owned(), Stored::Versions(vec![value.to_owned()]));
            }
        }
    }

    /// Stores a binary secret.
    pub fn put_bytes(&self, name: &str, value: &[u8]) {
        self.store(name, Stored::Bytes(value.to_owned()));
    }

    /// Responds like this to requests for `name` from now on.
    pub fn fail(&self, name: &str, response: AwsResponse) {
        self.store(name, Stored::Failure(response));
    }

    /// Responds like this to requests for the previous version of `name` from now on.
    pub fn fail_previous(&self, name: &str, response: AwsResponse) {
        self.recorder.state().previous_failures.insert(name.to_owned(), response);
    }

    /// Returns the previous version of `name` again.
    pub fn recover_previous(&self, name: &str) {
        self.recorder.state().previous_failures.remove(name);
    }

    /// Delays every response from now on.
    pub fn delay(&self, delay: Duration) {
        self.recorder.state().delay = delay;
    }

    /// Returns the recorded requests, in order, retries included.
    #[must_use]
    pub fn requests(&self) -> Vec<SecretRequest> {
        self.recorder.state().requests.clone()
    }

    /// Waits for `number` requests, retries included.
    pub async fn wait_for_requests(&self, number: usize) {
        self.recorder.wait_for(number).await;
    }

    fn store(&self, name: &str, stored: Stored) {
        self.recorder.state().stored.insert(name.to_owned(), stored);
    }
}

impl State {
    fn respond(&mut self, call: &Call) -> AwsResponse {
        if call.operation == GET_PARAMETER { self.parameter(&call.body) } else { self.secret(&call.body) }
    }

    /// Returns what is stored under `name`, or the failure of its previous version.
    fn look_up(&self, name: &str, is_previous: bool) -> Option<Stored> {
        let failure = self.previous_failures.get(name).filter(|_| is_previous).cloned();
        failure.map(Stored::Failure).or_else(|| self.stored.get(name).cloned())
    }

    fn secret(&mut self, body: &Value) -> AwsResponse {
        let id = text(body, "SecretId").unwrap_or_default();
        let stage = text(body, "VersionStage").unwrap_or_else(|| CURRENT.to_owned());
        self.requests.push(SecretRequest::Secret { id: id.clone(), stage: stage.clone() });
        let versions_back = match &*stage {
            CURRENT => 0,
            PREVIOUS => 1,
            _ => usize::MAX,
        };
        let (member, value) = match self.look_up(&id, stage == PREVIOUS) {
            Some(Stored::Failure(failure)) => return failure,
            Some(Stored::Versions(versions)) => {
                ("SecretString", versions.into_iter().rev().nth(versions_back))
            }
            Some(Stored::Bytes(bytes)) => ("SecretBinary", (stage == CURRENT).then(|| BASE64.encode(bytes))),
            None => ("SecretString", None),
        };
        let Some(value) = value else {
            return AwsResponse::error(400, "ResourceNotFoundException");
        };
        AwsResponse::success(json!({
            "ARN": format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{id}-AbCdEf"),
            "Name": id,
            "VersionStages": [stage],
            member: value,
        }))
    }

    fn parameter(&mut self, body: &Value) -> AwsResponse {
        let requested = text(body, "Name").unwrap_or_default();
        let with_decryption = body.get("WithDecryption").and_then(Value::as_bool).unwrap_or_default();
        self.requests.push(SecretRequest::Parameter { name: requested.clone(), with_decryption });
        let (name, version) = match requested.split_once(':') {
            Some((name, version)) => (name, version.parse::<usize>().ok()),
            None => (&*requested, None),
        };
        let versions = match self.look_up(name, version.is_some()) {
            Some(Stored::Failure(failure)) => return failure,
            Some(Stored::Versions(versions)) => versions,
            Some(Stored::Bytes(_)) | None => return AwsResponse::error(400, "ParameterNotFound"),
        };
        let version = version.unwrap_or(versions.len());
        let Some(value) = version.checked_sub(1).and_then(|index| versions.get(index)) else {
            return AwsResponse::error(400, "ParameterVersionNotFound");
        };
        AwsResponse::success(json!({ "Parameter": {
            "ARN": format!("arn:aws:ssm:eu-central-1:123456789012:parameter/{name}"),
            "DataType": "text",
            "Name": name,
            "Type": "SecureString",
            "Value": value,
            "Version": version,
        }}))
    }
}
