//! What the small services of AWS have in common: HTTP, and the protocols `awsJson1_0` and `awsJson1_1` on it.
//!
//! Signatures are looked for and not checked.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is answered. An error closes the connection.
pub(crate) type Answered = io::Result<Response<Full<Bytes>>>;

/// An operation as `x-amz-target` names it, the service that requests are signed for, and the protocol's version.
pub(crate) type Operation = (&'static str, &'static str, &'static str);

tokio::task_local! {
    /// Who makes the call that is being answered: the header in which the SDKs say more than in `user-agent`.
    static CALLER: String;
}

/// Who makes the call that is being answered.
pub(crate) fn user_agent() -> String {
    CALLER.try_with(Clone::clone).unwrap_or_default()
}

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Service {
    /// Starts one with these operations.
    pub(crate) async fn start<F, A>(operations: &'static [Operation], handle: F) -> anyhow::Result<Self>
    where
        F: Fn(&'static str, Value) -> A + Send + Sync + 'static,
        A: Future<Output = Answered> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, server: tokio::spawn(serve(listener, operations, handle)) })
    }

    /// Its URL.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What a service knows, and how many requests have been noted in it.
#[derive(Debug, Default)]
pub(crate) struct Memory<S> {
    state: Mutex<S>,
    noted: watch::Sender<usize>,
}

impl<S> Memory<S> {
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more request has been noted, whose lock is released by now.
    pub(crate) fn noted(&self) {
        self.noted.send_modify(|noted| *noted += 1);
    }

    /// Waits until there are so many.
    pub(crate) async fn wait_for(&self, many: usize) {
        let mut noted = self.noted.subscribe();
        // The sender is in `self`.
        let _ = noted.wait_for(|noted| *noted >= many).await;
    }
}

/// Serves these operations, one call after the other on each connection.
async fn serve<F, A>(listener: TcpListener, operations: &'static [Operation], handle: F)
where
    F: Fn(&'static str, Value) -> A + Send + Sync + 'static,
    A: Future<Output = Answered> + Send + 'static,
{
    let handle = Arc::new(handle);
    // The connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let handle = Arc::clone(&handle);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(operations, Arc::clone(&handle), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer<F, A>(operations: &[Operation], handle: Arc<F>, request: Request<Incoming>) -> Answered
where
    F: Fn(&'static str, Value) -> A,
    A: Future<Output = Answered>,
{
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if (&parts.method, parts.uri.path()) != (&Method::POST, "/") {
        return Ok(refusal(404, "UnknownOperationException", "POST / is all there is"));
    }
    let target = header(&parts.headers, "x-amz-target");
    let Some(&(operation, service, version)) = operations.iter().find(|(operation, ..)| *operation == target)
    else {
        return Ok(refusal(400, "UnknownOperationException", target));
    };
    let content_type = format!("application/x-amz-json-{version}");
    if header(&parts.headers, CONTENT_TYPE.as_str()) != content_type {
        return Ok(refusal(400, "SerializationException", "not the content type of the protocol"));
    }
    if !is_signed(&parts.headers, service) {
        return Ok(refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return Ok(refusal(400, "SerializationException", "not JSON"));
    };
    let caller = header(&parts.headers, "x-amz-user-agent").to_owned();
    let mut response = CALLER.scope(caller, handle(operation, body)).await?;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_str(&content_type).map_err(io::Error::other)?);
    Ok(response)
}

/// The environment of a process that is to find a service there, `variables` naming where.
pub(crate) fn environment(endpoint: &str, variables: &[&str]) -> Vec<(String, String)> {
    let endpoints = variables.iter().map(|name| (*name, endpoint));
    endpoints
        .chain([
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ])
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The parameter `name`, as the Systems Manager gives it out.
pub(crate) fn parameter(name: &str, value: &str, version: usize) -> Response<Full<Bytes>> {
    let body = json!({ "Parameter": {
        "ARN": format!("arn:aws:ssm:eu-central-1:123456789012:parameter/{name}"),
        "DataType": "text",
        "Name": name,
        "Type": "SecureString",
        "Value": value,
        "Version": version,
    }});
    response(200, Bytes::from(body.to_string()))
}

/// The string `name` of a request.
pub(crate) fn text(body: &Value, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).map(str::to_owned)
}

pub(crate) fn refusal(status: u16, kind: &str, message: &str) -> Response<Full<Bytes>> {
    response(status, Bytes::from(json!({ "__type": kind, "message": message }).to_string()))
}

pub(crate) fn response(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    headers.insert("x-amzn-requestid", HeaderValue::from_static("00000000-0000-4000-8000-000000000001"));
    response
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether there is a signature, of the fourth version and made for `service`.
fn is_signed(headers: &HeaderMap, service: &str) -> bool {
    let authorization = header(headers, AUTHORIZATION.as_str());
    authorization.starts_with("AWS4-HMAC-SHA256 ")
        && authorization.contains(&format!("/{service}/aws4_request"))
        && ["Credential=", "SignedHeaders=", "Signature="].iter().all(|part| authorization.contains(part))
        && headers.contains_key("x-amz-date")
}
