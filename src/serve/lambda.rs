//! AWS Lambda, behind a function URL, an HTTP API, a REST API or an Application Load Balancer; and with batches of
//! messages from queues.
//!
//! The runtime is that of `lambda_http`. Its conversion of invocations to requests is not used. It panics on a body that is
//! not base64 although announced so, and on a `host` header that is not part of a URL. It fails an invocation with a header
//! value that is not ASCII, and keeps only one of two headers of the same name. Any caller can send those to a public URL.
//! Here they are requests like any other.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use lambda_http::lambda_runtime::{Diagnostic, LambdaInvocation, Runtime};
use lambda_http::tower::{Layer, Service};
use lambda_http::{LambdaEvent, service_fn};
use lambda_runtime_api_client::body::Body;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Batch, BatchResponse, DRAIN, Function, FunctionRequest, RESPONSE_TIMEOUT};
use crate::config::Source;
use crate::response::Rejection;
use crate::trace::TraceContext;
use fanout_identity::GatewayContext;

/// The time that a response needs to leave, kept free before the deadline of the invocation.
const MARGIN: Duration = Duration::from_millis(200);

/// The maximum time that background work gets after a response.
const SETTLING: Duration = Duration::from_secs(1);

/// The time for the report of a failure. The Runtime API is on the same host.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// The type of the error of a function that does not start.
const START_FAILURE: &str = "Runtime.NotStarted";

/// The variables that the runtime needs beside its address.
const NEEDED: [&str; 3] =
    ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"];

/// Why the runtime ended.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// Variables are missing. Lambda sets all of them, an emulator may not.
    #[error("not set, though AWS_LAMBDA_RUNTIME_API is: {}", .0.join(", "))]
    Environment(Vec<&'static str>),
    /// The Runtime API failed.
    #[error("the runtime ended")]
    Runtime(#[source] lambda_http::Error),
    /// The Runtime API sent an invocation without a header that Lambda always sends.
    #[error("the Runtime API sent an invocation without one of its headers: {0}")]
    Header(String),
    /// The runtime panicked. The log has the location.
    #[error("the runtime panicked")]
    Panicked,
}

impl LambdaError {
    /// Reads the message of the runtime's panic. Only the one about a header is passed on: others may quote an event.
    fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        match message {
            Some(message) if message.starts_with("missing lambda-runtime-") => {
                Self::Header(message.to_owned())
            }
            _ => Self::Panicked,
        }
    }
}

/// Returns true if this is a Lambda environment.
#[must_use]
pub fn is_environment(source: &dyn Source) -> bool {
    is_set(source, "AWS_LAMBDA_RUNTIME_API")
}

/// Returns the number of invocations that run in this environment at once, as the runtime reads it.
#[must_use]
pub fn concurrency(source: &dyn Source) -> u32 {
    let value = source.get("AWS_LAMBDA_MAX_CONCURRENCY").ok().flatten();
    value.and_then(|value| value.parse().ok()).unwrap_or(1)
}

fn is_set(source: &dyn Source, name: &str) -> bool {
    source.get(name).is_ok_and(|value| value.is_some_and(|value| !value.is_empty()))
}

/// Serves `function` to the Runtime API until `shutdown`, then finishes the invocations that have begun.
///
/// # Errors
/// If the environment is not Lambda's, or the Runtime API cannot be reached.
pub async fn serve<F: Function>(
    source: &dyn Source,
    function: Arc<F>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LambdaError> {
    let missing: Vec<_> = NEEDED.into_iter().filter(|name| !is_set(source, name)).collect();
    if !missing.is_empty() {
        return Err(LambdaError::Environment(missing));
    }
    let handling = Arc::clone(&function);
    let handler = service_fn(move |event: LambdaEvent<Invocation>| {
        let function = Arc::clone(&handling);
        async move { handle(&*function, event).await }
    });
    let (count, mut in_flight) = watch::channel(0_usize);
    let running = Runtime::new(handler).layer(AroundInvocations { function, count }).run_concurrent();
    // The runtime panics when an invocation lacks a header.
    let running = AssertUnwindSafe(running).catch_unwind();
    tokio::pin!(running, shutdown);
    tokio::select! {
        ended = &mut running => return match ended {
            Ok(ended) => ended.map_err(LambdaError::Runtime),
            Err(panic) => Err(LambdaError::of_panic(&*panic)),
        },
        () = &mut shutdown => {}
    }
    // The runtime continues until all begun invocations have their response. Only its wait for the next one is cut off.
    let drained = async {
        tokio::select! {
            _ = &mut running => {}
            _ = in_flight.wait_for(|count| *count == 0) => {}
        }
    };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("invocations still running at the end");
    }
    Ok(())
}

/// Tells Lambda why the function does not start. The caller of an invocation gets this text with the error, so a deployment
/// can show it; the caller of a URL gets only a status. Nothing is said if Lambda does not take it: the process ends in any
/// case.
pub fn report_start_failure(reason: &str) {
    let diagnostic = Diagnostic { error_type: START_FAILURE.to_owned(), error_message: reason.to_owned() };
    let body = serde_json::to_vec(&diagnostic).expect("texts can be written as JSON");
    let request = lambda_runtime_api_client::build_request()
        .method(Method::POST)
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", START_FAILURE)
        .body(Body::from(body))
        .expect("the parts of the request are valid");
    let report = async {
        let client = lambda_runtime_api_client::Client::builder().build().ok()?;
        timeout(REPORT_TIMEOUT, client.call(request)).await.ok()?.ok()
    };
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        let _ = runtime.block_on(report);
    }
}

async fn handle<F: Function>(
    function: &F,
    event: LambdaEvent<Invocation>,
) -> Result<LambdaResponse, Unusable> {
    let LambdaEvent { payload, context } = event;
    let time_left = time_left(&context).unwrap_or(RESPONSE_TIMEOUT);
    let trace = context.xray_trace_id.as_deref().and_then(TraceContext::of_lambda);
    Ok(match payload {
        Invocation::Http(invocation) => {
            let HttpInvocation { gateway, request, rejection } = *invocation;
            let request =
                FunctionRequest { request, rejection, id: Some(context.request_id), trace, time_left };
            LambdaResponse::Http(GatewayResponse::new(gateway, function.handle(request).await))
        }
        Invocation::Batch(batch) => {
            let response = function.handle_batch(batch, trace.as_ref(), time_left).await;
            LambdaResponse::Batch(response.ok_or(Unusable::UnknownInvocation)?)
        }
        Invocation::Unusable(unusable) => return Err(unusable),
    })
}

/// Returns the time until the response of an invocation has to leave. Returns `None` for a deadline in the past: Lambda begins
/// no invocation after it, but emulators invent deadlines.
fn time_left(context: &lambda_http::Context) -> Option<Duration> {
    let left = context.deadline().duration_since(std::time::SystemTime::now()).ok();
    left.map(|left| left.saturating_sub(MARGIN))
}

/// The response of an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum LambdaResponse {
    Http(GatewayResponse),
    Batch(BatchResponse),
}

/// An invocation that the function does not know, and that no stranger can send through a gateway. It becomes an error of
/// the function: for pipes, streams and topics every response means success, and their message would be lost.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Unusable {
    /// The batch is malformed. None of its messages is deleted.
    #[error("the messages of the batch cannot be read")]
    UnreadableBatch,
    /// The invocation is not from a gateway or a queue.
    #[error("the invocation is neither an HTTP request of a gateway nor a batch of SQS messages")]
    UnknownInvocation,
}

impl From<Unusable> for Diagnostic {
    fn from(error: Unusable) -> Self {
        Self { error_type: format!("{error:?}"), error_message: error.to_string() }
    }
}

/// The payload of an invocation.
#[derive(Debug)]
enum Invocation {
    Http(Box<HttpInvocation>),
    Batch(Batch),
    Unusable(Unusable),
}

/// The gateway that invokes the function, recognized by the shape of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gateway {
    /// A REST API: payload format 1.0.
    RestApi,
    /// An HTTP API or a function URL: payload format 2.0.
    HttpApi,
    /// An Application Load Balancer.
    LoadBalancer,
}

/// An invocation, read as a request.
#[derive(Debug)]
struct HttpInvocation {
    gateway: Gateway,
    request: Request<Bytes>,
    rejection: Option<Rejection>,
}

/// The members that are read of all three shapes. Others are skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    request_context: RequestContext,
    #[serde(default)]
    http_method: Option<String>,
    #[serde(default)]
    raw_path: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    raw_query_string: Option<String>,
    #[serde(default)]
    query_string_parameters: Option<HashMap<String, String>>,
    #[serde(default)]
    headers: Option<HashMap<String, String>>,
    #[serde(default)]
    multi_value_headers: Option<HashMap<String, Vec<String>>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct RequestContext {
    #[serde(default)]
    http: Option<HttpContext>,
    #[serde(default)]
    elb: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    authorizer: Option<Value>,
    #[serde(default)]
    identity: Option<Value>,
}

#[derive(Deserialize)]
struct HttpContext {
    method: String,
}

/// Reads any payload. An invalid request of a gateway is rejected later. An error here would be reported as a failure of the
/// function.
impl<'de> Deserialize<'de> for Invocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let raw = raw.get();
        if let Some(request) = serde_json::from_str(raw).ok().and_then(HttpInvocation::read) {
            return Ok(Self::Http(Box::new(request)));
        }
        Ok(if is_batch(raw) {
            serde_json::from_str(raw).map_or(Self::Unusable(Unusable::UnreadableBatch), Self::Batch)
        } else if is_from_gateway(raw) {
            Self::Http(Box::new(HttpInvocation::not_http()))
        } else {
            Self::Unusable(Unusable::UnknownInvocation)
        })
    }
}

/// Returns true if an invocation has the member that all gateways add.
fn is_from_gateway(raw: &str) -> bool {
    let members = serde_json::from_str::<HashMap<String, &RawValue>>(raw);
    members.is_ok_and(|members| members.contains_key("requestContext"))
}

/// Returns true if an invocation has messages of a queue, readable or not.
fn is_batch(raw: &str) -> bool {
    #[derive(Deserialize)]
    struct Records {
        #[serde(rename = "Records")]
        records: Vec<Record>,
    }
    #[derive(Deserialize)]
    struct Record {
        #[serde(rename = "eventSource")]
        source: String,
    }
    let records = serde_json::from_str::<Records>(raw).map(|read| read.records).unwrap_or_default();
    records.iter().any(|record| record.source == "aws:sqs")
}

impl HttpInvocation {
    fn read(payload: Payload) -> Option<Self> {
        let RequestContext { http, elb, authorizer, identity } = payload.request_context;
        let (gateway, method) = match (http, elb) {
            (Some(http), _) => (Gateway::HttpApi, http.method),
            (None, Some(_)) => (Gateway::LoadBalancer, payload.http_method?),
            (None, None) => (Gateway::RestApi, payload.http_method?),
        };
        let body = payload.body.unwrap_or_default();
        // A body that is not base64 as announced is used unchanged. Its signature is wrong.
        let decoded = if payload.is_base64_encoded { BASE64.decode(&body).ok() } else { None };
        let mut request = Request::new(decoded.map_or_else(|| Bytes::from(body), Bytes::from));
        let path = payload.raw_path.or(payload.path).unwrap_or_default();
        let parameters = payload.query_string_parameters.unwrap_or_default();
        // A REST API has decoded them. The only one that a function reads is a number.
        let pairs =
            || parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let query = payload.raw_query_string.unwrap_or_else(pairs);
        let uri = if query.is_empty() { path.parse() } else { format!("{path}?{query}").parse() };
        // An invalid path is replaced by `/`, and an invalid query left out.
        *request.uri_mut() = uri.or_else(|_| path.parse()).unwrap_or_default();
        // Only the gateway writes it. A load balancer does not have it.
        if gateway != Gateway::LoadBalancer {
            request.extensions_mut().insert(GatewayContext { authorizer, identity });
        }
        *request.headers_mut() = headers(payload.multi_value_headers, payload.headers);
        // An invalid method is not POST in any case.
        *request.method_mut() = method.parse().unwrap_or(Method::TRACE);
        Some(Self { gateway, request, rejection: None })
    }

    fn not_http() -> Self {
        Self { gateway: Gateway::RestApi, request: Request::default(), rejection: Some(Rejection::NotHttp) }
    }
}

/// Returns the headers of an invocation, with all values if it has those. Invalid headers are left out.
fn headers(all: Option<HashMap<String, Vec<String>>>, single: Option<HashMap<String, String>>) -> HeaderMap {
    let all = all.unwrap_or_default();
    let single = if all.is_empty() { single.unwrap_or_default() } else { HashMap::new() };
    let all =
        all.into_iter().flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)));
    let valid = all.chain(single).filter_map(|(name, value)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in valid {
        headers.append(name, value);
    }
    headers
}

/// A response in the shape of the gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayResponse {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    headers: HashMap<String, String>,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    multi_value_headers: HashMap<String, [String; 1]>,
    /// Always empty. `cargo lambda watch` requires it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<[String; 0]>,
    body: String,
    is_base64_encoded: bool,
}

impl GatewayResponse {
    fn new(gateway: Gateway, response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        // No response has a header twice.
        let headers = parts.headers.iter().map(|(name, value)| {
            let value = value.to_str().expect("the headers of a response are ASCII");
            (name.as_str().to_owned(), value.to_owned())
        });
        let headers: HashMap<_, _> = headers.collect();
        let multi_value_headers = match gateway {
            // A load balancer reads one of the two, by its configuration; the others read `headers`.
            Gateway::LoadBalancer => {
                headers.iter().map(|(name, value)| (name.clone(), [value.clone()])).collect()
            }
            Gateway::RestApi | Gateway::HttpApi => HashMap::new(),
        };
        Self {
            status_code: parts.status.as_u16(),
            status_description: (gateway == Gateway::LoadBalancer).then(|| parts.status.to_string()),
            headers,
            multi_value_headers,
            cookies: (gateway == Gateway::HttpApi).then_some([]),
            body: String::from_utf8(body.into()).expect("the body of a response is JSON"),
            is_base64_encoded: false,
        }
    }
}

/// Counts the invocations whose response is pending. After a response it waits for background work: when the runtime asks
/// for the next invocation, the environment may stop, and would cut off a fetch. The caller has the response by then.
struct AroundInvocations<F> {
    function: Arc<F>,
    count: watch::Sender<usize>,
}

impl<S, F> Layer<S> for AroundInvocations<F> {
    type Service = Around<S, F>;

    fn layer(&self, inner: S) -> Around<S, F> {
        Around { inner, function: Arc::clone(&self.function), count: self.count.clone() }
    }
}

struct Around<S, F> {
    inner: S,
    function: Arc<F>,
    count: watch::Sender<usize>,
}

impl<S: Clone, F> Clone for Around<S, F> {
    fn clone(&self) -> Self {
        let Self { inner, function, count } = self;
        Self { inner: inner.clone(), function: Arc::clone(function), count: count.clone() }
    }
}

impl<S, F> Service<LambdaInvocation> for Around<S, F>
where
    S: Service<LambdaInvocation, Response: Send, Error: Send>,
    S::Future: Send + 'static,
    F: Function,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        invocation.body = readable(invocation.body);
        let one = InFlight::new(self.count.clone());
        let context = invocation.context.clone();
        let handled = self.inner.call(invocation);
        let function = Arc::clone(&self.function);
        Box::pin(async move {
            let result = handled.await;
            drop(one);
            let limit = time_left(&context).map_or(SETTLING, |left| left.min(SETTLING));
            let _ = timeout(limit, function.settled()).await;
            result
        })
    }
}

/// Returns an invocation that the runtime can read, where it comes from a gateway. Some gateways copy the bytes of a header as
/// they are, and bytes that are not UTF-8, or escapes that JSON does not have, would make the invocation fail.
fn readable(body: Bytes) -> Bytes {
    let is_json = |body: &[u8]| serde_json::from_slice::<&RawValue>(body).is_ok();
    if is_json(&body) {
        return body;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    if is_json(text.as_bytes()) {
        text.into()
    } else if text.contains("\"requestContext\"") {
        // It is then read as a request that is not HTTP. A batch of a queue stays unreadable, so that nothing is deleted.
        Bytes::from_static(br#"{"requestContext":{}}"#)
    } else {
        body
    }
}

/// One invocation, counted until it is dropped.
struct InFlight(watch::Sender<usize>);

impl InFlight {
    fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
