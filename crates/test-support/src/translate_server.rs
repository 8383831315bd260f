//! A small Amazon Translate: takes what the SDK sends, over real HTTP, and answers what a test wants. It
//! also gives out parameters of the Systems Manager, for the SDK is told one endpoint for both.
//!
//! As <https://docs.aws.amazon.com/translate/latest/APIReference/API_TranslateText.html> and
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html> say. Signatures
//! are looked for and not checked.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The longest text that Amazon Translate takes at once, in bytes.
pub const MAX_TEXT_BYTES: usize = 10_000;

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct TranslateServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// A text that was to be translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslateRequest {
    /// The text.
    pub text: String,
    /// Its language, or `auto`.
    pub source: String,
    /// The language that is wanted.
    pub target: String,
    /// `Formality` of the settings.
    pub formality: Option<String>,
    /// `Profanity` of the settings.
    pub profanity: Option<String>,
    /// Names of terminologies.
    pub terminology: Vec<String>,
}

/// A parameter that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterRequest {
    /// Its name.
    pub name: String,
    /// Whether it was to be decrypted.
    pub with_decryption: bool,
}

/// What the service answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The text in the other language.
    Translated {
        /// That text.
        text: String,
        /// What language it was written in.
        source: String,
    },
    /// An error.
    Error {
        /// Its status.
        status: u16,
        /// Its type, such as `UnsupportedLanguagePairException`.
        kind: String,
        /// Its words.
        message: String,
    },
    /// Another answer, late.
    Late(Duration, Box<Answer>),
    /// This body, whatever it is.
    Raw(u16, Bytes),
    /// No answer, but an open connection.
    Hang,
    /// No answer, and the connection is closed.
    Cut,
}

impl Answer {
    /// An error with these words for a message.
    #[must_use]
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        Self::Error { status, kind: kind.to_owned(), message: message.to_owned() }
    }

    /// What Amazon Translate answers to those who ask too often.
    #[must_use]
    pub fn throttled() -> Self {
        Self::error(400, "ThrottlingException", "Rate exceeded")
    }

    /// A status of success, and half a body.
    #[must_use]
    pub const fn broken() -> Self {
        Self::Raw(200, Bytes::from_static(b"{\"TranslatedText\": \"Hal"))
    }

    /// The text marked with the language that it was to be translated to, and its own language by a crude
    /// rule where that was not said.
    #[must_use]
    pub fn to(request: &TranslateRequest) -> Self {
        if request.text.len() > MAX_TEXT_BYTES {
            return Self::error(400, "TextSizeLimitExceededException", "Input text size exceeds limit");
        }
        let source = if request.source == "auto" { detect(&request.text) } else { &request.source };
        Self::Translated { text: format!("[{}] {}", request.target, request.text), source: source.to_owned() }
    }
}

type Answering = dyn Fn(&TranslateRequest) -> Answer + Send + Sync;

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    requests: Vec<TranslateRequest>,
    scripts: HashMap<String, VecDeque<Answer>>,
    answering: Option<Arc<Answering>>,
    parameters: HashMap<String, Result<String, Answer>>,
    parameter_requests: Vec<ParameterRequest>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("requests", &self.requests).finish_non_exhaustive()
    }
}

impl TranslateServer {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be listened to.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    /// Its URL, for the SDK.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The environment of a process that is to use it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL_TRANSLATE", self.endpoint()),
            ("AWS_ENDPOINT_URL_SSM", self.endpoint()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Texts into the language `target` are answered so, one after the other, and then as all others.
    pub fn script(&self, target: &str, answers: impl IntoIterator<Item = Answer>) {
        self.shared.state().scripts.entry(target.to_owned()).or_default().extend(answers);
    }

    /// Texts are answered so, where nothing is scripted; [`Answer::to`] is what it is otherwise.
    pub fn answer_with(&self, answering: impl Fn(&TranslateRequest) -> Answer + Send + Sync + 'static) {
        self.shared.state().answering = Some(Arc::new(answering));
    }

    /// The texts that came in, in their order.
    #[must_use]
    pub fn requests(&self) -> Vec<TranslateRequest> {
        self.shared.state().requests.clone()
    }

    /// Waits until `many` texts have come in, tries again counted.
    pub async fn wait_for_requests(&self, many: usize) {
        let mut count = self.shared.count.subscribe();
        // The sender is in `self`.
        let _ = count.wait_for(|count| *count >= many).await;
    }

    /// There is a parameter `name` from now on.
    pub fn set_parameter(&self, name: &str, value: &str) {
        self.shared.state().parameters.insert(name.to_owned(), Ok(value.to_owned()));
    }

    /// Who asks for the parameter `name` is answered so from now on.
    pub fn refuse_parameter(&self, name: &str, answer: Answer) {
        self.shared.state().parameters.insert(name.to_owned(), Err(answer));
    }

    /// The parameters that were asked for, in their order.
    #[must_use]
    pub fn parameter_requests(&self) -> Vec<ParameterRequest> {
        self.shared.state().parameter_requests.clone()
    }
}

impl Drop for TranslateServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a text, and says what the answer is.
    fn translate(&self, request: &TranslateRequest) -> Answer {
        let (scripted, answering) = {
            let mut state = self.state();
            state.requests.push(request.clone());
            let scripted = state.scripts.get_mut(&request.target).and_then(VecDeque::pop_front);
            (scripted, state.answering.clone())
        };
        self.count.send_modify(|count| *count += 1);
        scripted.unwrap_or_else(|| match answering {
            Some(answering) => answering(request),
            None => Answer::to(request),
        })
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // The connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// An error closes the connection.
async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if (&parts.method, parts.uri.path()) != (&Method::POST, "/") {
        return Ok(refusal(404, "UnknownOperationException", "POST / is all there is"));
    }
    let target = header(&parts.headers, "x-amz-target");
    let service = match target {
        "AWSShineFrontendService_20170701.TranslateText" => "translate",
        "AmazonSSM.GetParameter" => "ssm",
        _ => return Ok(refusal(400, "UnknownOperationException", target)),
    };
    if header(&parts.headers, CONTENT_TYPE.as_str()) != "application/x-amz-json-1.1" {
        return Ok(refusal(400, "SerializationException", "not the content type of the protocol"));
    }
    if !is_signed(&parts.headers, service) {
        return Ok(refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return Ok(refusal(400, "SerializationException", "not JSON"));
    };
    if service == "ssm" {
        return parameter(&shared, &body).await;
    }
    let Some(request) = TranslateRequest::read(&body) else {
        return Ok(refusal(400, "ValidationException", "a text, its language and another are needed"));
    };
    let answer = shared.translate(&request);
    let applied = body.get("Settings").cloned();
    respond(answer, &request.target, applied).await
}

async fn respond(
    mut answer: Answer,
    target: &str,
    applied: Option<Value>,
) -> io::Result<Response<Full<Bytes>>> {
    while let Answer::Late(by, late) = answer {
        tokio::time::sleep(by).await;
        answer = *late;
    }
    Ok(match answer {
        Answer::Translated { text, source } => {
            let mut body = json!({
                "TranslatedText": text,
                "SourceLanguageCode": source,
                "TargetLanguageCode": target,
            });
            if let (Some(body), Some(applied)) = (body.as_object_mut(), applied) {
                body.insert("AppliedSettings".to_owned(), applied);
            }
            response(200, Bytes::from(body.to_string()))
        }
        Answer::Error { status, kind, message } => refusal(status, &kind, &message),
        Answer::Raw(status, body) => response(status, body),
        // `Late` is gone by now.
        Answer::Hang | Answer::Late(..) => std::future::pending().await,
        Answer::Cut => return Err(io::Error::other("cut")),
    })
}

async fn parameter(shared: &Shared, body: &Value) -> io::Result<Response<Full<Bytes>>> {
    let name = text(body, "Name").unwrap_or_default();
    let with_decryption = body.get("WithDecryption").and_then(Value::as_bool).unwrap_or_default();
    let found = {
        let mut state = shared.state();
        state.parameter_requests.push(ParameterRequest { name: name.clone(), with_decryption });
        state.parameters.get(&name).cloned()
    };
    match found {
        Some(Ok(value)) => {
            let body = json!({ "Parameter": {
                "ARN": format!("arn:aws:ssm:eu-central-1:123456789012:parameter/{name}"),
                "DataType": "text",
                "Name": name,
                "Type": "SecureString",
                "Value": value,
                "Version": 1,
            }});
            Ok(response(200, Bytes::from(body.to_string())))
        }
        Some(Err(answer)) => respond(answer, "", None).await,
        None => Ok(refusal(400, "ParameterNotFound", "")),
    }
}

impl TranslateRequest {
    fn read(body: &Value) -> Option<Self> {
        let settings = body.get("Settings").unwrap_or(&Value::Null);
        let terminology = body.get("TerminologyNames").and_then(Value::as_array).map(Vec::as_slice);
        let terminology = terminology.unwrap_or_default().iter();
        Some(Self {
            text: text(body, "Text").filter(|text| !text.is_empty())?,
            source: text(body, "SourceLanguageCode")?,
            target: text(body, "TargetLanguageCode")?,
            formality: text(settings, "Formality"),
            profanity: text(settings, "Profanity"),
            terminology: terminology.filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
}

fn text(body: &Value, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).map(str::to_owned)
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

fn detect(text: &str) -> &'static str {
    let any = |of: &str| text.to_lowercase().chars().any(|char| of.contains(char));
    if any("äöüß") {
        "de"
    } else if any("ñ¿¡") {
        "es"
    } else if any("àâçèéêîôû") {
        "fr"
    } else if text.chars().any(|char| ('\u{3040}'..'\u{3100}').contains(&char)) {
        "ja"
    } else {
        "en"
    }
}

fn refusal(status: u16, kind: &str, message: &str) -> Response<Full<Bytes>> {
    response(status, Bytes::from(json!({ "__type": kind, "message": message }).to_string()))
}

fn response(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-amz-json-1.1"));
    headers
        .insert("x-amzn-requestid", http::HeaderValue::from_static("00000000-0000-4000-8000-000000000001"));
    response
}
