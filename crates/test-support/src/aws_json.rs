//! The common part of the AWS test servers: HTTP, and the protocols `awsJson1_0`, `awsJson1_1` and `rpcv2Cbor` on it.
//!
//! A request must be signed, but the signature is not checked.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// An operation as `x-amz-target` names it, the service in the signature, and the version of the protocol.
pub(crate) type Operation = (&'static str, &'static str, &'static str);

/// The version of an [`Operation`] of the protocol `rpcv2Cbor`, whose bodies are CBOR. Its path names the operation,
/// and not a header.
pub(crate) const CBOR: &str = "cbor";

/// A call of an operation.
pub(crate) struct Call {
    /// The operation, as `x-amz-target` names it.
    pub(crate) operation: &'static str,
    pub(crate) body: Value,
    /// The header `x-amz-user-agent`, in which the SDKs give more details than in `user-agent`.
    pub(crate) user_agent: String,
}

/// A response of an AWS service.
#[derive(Clone, Debug)]
pub enum AwsResponse {
    /// A JSON body.
    Json {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: Value,
        /// The error code of the older query protocol, which SQS sends as a header.
        query_error: Option<&'static str>,
    },
    /// A status and any body.
    Raw(u16, Bytes),
    /// Another response, after a delay.
    Late(Duration, Box<Self>),
    /// No response, on an open connection.
    Hang,
    /// No response, and a closed connection. A server handles the request first.
    Cut,
}

impl AwsResponse {
    /// Returns a successful response with this body.
    #[must_use]
    pub const fn success(body: Value) -> Self {
        Self::Json { status: 200, body, query_error: None }
    }

    /// Returns an error of this type.
    #[must_use]
    pub fn error(status: u16, kind: &str) -> Self {
        Self::error_with_message(status, kind, "a message of the test")
    }

    /// Returns an error of this type, with a message.
    #[must_use]
    pub fn error_with_message(status: u16, kind: &str, message: &str) -> Self {
        Self::Json { status, body: json!({ "__type": kind, "message": message }), query_error: None }
    }

    /// Returns the error of a service that receives too many requests.
    #[must_use]
    pub fn throttled() -> Self {
        Self::error_with_message(400, "ThrottlingException", "Rate exceeded")
    }

    async fn into_http(self, version: &str) -> io::Result<Response<Full<Bytes>>> {
        let mut response = self;
        while let Self::Late(delay, late) = response {
            tokio::time::sleep(delay).await;
            response = *late;
        }
        let (status, body, query_error) = match response {
            Self::Json { status, body, query_error } => (status, encode(version, &body)?, query_error),
            Self::Raw(status, body) => (status, body, None),
            Self::Hang | Self::Late(..) => std::future::pending().await,
            Self::Cut => return Err(io::Error::other("cut")),
        };
        let mut response = Response::builder()
            .status(status)
            .header(CONTENT_TYPE, content_type(version))
            .header("x-amzn-requestid", "00000000-0000-4000-8000-000000000001");
        if version == CBOR {
            response = response.header("smithy-protocol", "rpc-v2-cbor");
        }
        if let Some(code) = query_error {
            response = response.header("x-amzn-query-error", format!("{code};Sender"));
        }
        response.body(Full::new(body)).map_err(io::Error::other)
    }
}

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Service {
    /// Starts a service with these operations.
    pub(crate) async fn start<F, R>(operations: &'static [Operation], handle: F) -> anyhow::Result<Self>
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = AwsResponse> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, server: tokio::spawn(serve(listener, operations, handle)) })
    }

    /// Returns the URL of the service.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the environment of a process that uses the service at the URL in `variable`.
    pub(crate) fn environment(&self, variable: &str) -> Vec<(String, String)> {
        [
            (variable, self.endpoint().as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The state of a service, and the number of requests that it has recorded.
#[derive(Debug, Default)]
pub(crate) struct Recorder<S> {
    state: Mutex<S>,
    requests: watch::Sender<usize>,
}

impl<S> Recorder<S> {
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request in the state and wakes waiting tests.
    pub(crate) fn record<T>(&self, record: impl FnOnce(&mut S) -> T) -> T {
        let recorded = record(&mut self.state());
        self.requests.send_modify(|requests| *requests += 1);
        recorded
    }

    /// Waits for this number of requests.
    pub(crate) async fn wait_for(&self, number: usize) {
        let mut requests = self.requests.subscribe();
        requests.wait_for(|requests| *requests >= number).await.expect("the sender lives in `self`");
    }
}

/// Serves these operations, one call after the other on each connection.
async fn serve<F, R>(listener: TcpListener, operations: &'static [Operation], handle: F)
where
    F: Fn(Call) -> R + Send + Sync + 'static,
    R: Future<Output = AwsResponse> + Send + 'static,
{
    let handle = Arc::new(handle);
    // The connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let handle = Arc::clone(&handle);
        connections.spawn(async move {
            let service = service_fn(move |request| respond(operations, Arc::clone(&handle), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn respond<F, R>(
    operations: &[Operation],
    handle: Arc<F>,
    request: Request<Incoming>,
) -> io::Result<Response<Full<Bytes>>>
where
    F: Fn(Call) -> R,
    R: Future<Output = AwsResponse>,
{
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = parts.uri.path().strip_prefix("/service/");
    let target = path.map_or_else(
        || header(&parts.headers, "x-amz-target").to_owned(),
        |path| path.replacen("/operation/", ".", 1),
    );
    let operation = operations
        .iter()
        .find(|(operation, _, version)| *operation == target && (*version == CBOR) == path.is_some());
    let Some((operation, service, version)) = operation.filter(|_| parts.method == Method::POST) else {
        return AwsResponse::error_with_message(400, "UnknownOperationException", &target)
            .into_http("1.1")
            .await;
    };
    let response = if header(&parts.headers, CONTENT_TYPE.as_str()) != content_type(version) {
        AwsResponse::error_with_message(400, "SerializationException", "wrong content type")
    } else if !is_signed(&parts.headers, service) {
        AwsResponse::error(403, "MissingAuthenticationTokenException")
    } else if let Some(body) = decode(version, &body) {
        let user_agent = header(&parts.headers, "x-amz-user-agent").to_owned();
        handle(Call { operation, body, user_agent }).await
    } else {
        AwsResponse::error_with_message(400, "SerializationException", "invalid body")
    };
    response.into_http(version).await
}

fn content_type(version: &str) -> String {
    if version == CBOR { "application/cbor".to_owned() } else { format!("application/x-amz-json-{version}") }
}

fn encode(version: &str, body: &Value) -> io::Result<Bytes> {
    if version != CBOR {
        return Ok(body.to_string().into());
    }
    let mut bytes = Vec::new();
    ciborium::into_writer(body, &mut bytes).map_err(io::Error::other)?;
    Ok(bytes.into())
}

fn decode(version: &str, body: &[u8]) -> Option<Value> {
    if version == CBOR { ciborium::from_reader(body).ok() } else { serde_json::from_slice(body).ok() }
}

/// Returns the string `name` of a JSON object.
pub(crate) fn text(body: &Value, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Returns true if the headers have a signature of version 4 for `service`.
fn is_signed(headers: &HeaderMap, service: &str) -> bool {
    let authorization = header(headers, AUTHORIZATION.as_str());
    authorization.starts_with("AWS4-HMAC-SHA256 ")
        && authorization.contains(&format!("/{service}/aws4_request"))
        && ["Credential=", "SignedHeaders=", "Signature="].iter().all(|part| authorization.contains(part))
        && headers.contains_key("x-amz-date")
}
