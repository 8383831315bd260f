//! A small Amazon Translate, over real HTTP. It implements
//! <https://docs.aws.amazon.com/translate/latest/APIReference/API_TranslateText.html>.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::AwsResponse;
use crate::aws_json::{CBOR, Call, Operation, Recorder, Service, text};

const OPERATIONS: &[Operation] = &[("AWSShineFrontendService_20170701.TranslateText", "translate", CBOR)];

/// The longest text that Amazon Translate accepts, in bytes.
pub const MAX_TEXT_BYTES: usize = 10_000;

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct TranslateServer {
    service: Service,
    recorder: Arc<Recorder<State>>,
}

/// A request for a translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslateRequest {
    /// The text.
    pub text: String,
    /// The language of the text, or `auto`.
    pub source: String,
    /// The language of the translation.
    pub target: String,
    /// `Formality` of the settings.
    pub formality: Option<String>,
    /// `Profanity` of the settings.
    pub profanity: Option<String>,
    /// The names of terminologies.
    pub terminology: Vec<String>,
}

type Respond = dyn Fn(&TranslateRequest) -> AwsResponse + Send + Sync;

#[derive(Default)]
struct State {
    requests: Vec<TranslateRequest>,
    scripts: HashMap<String, VecDeque<AwsResponse>>,
    respond: Option<Box<Respond>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("requests", &self.requests).finish_non_exhaustive()
    }
}

/// Returns a successful response with half of a body: a map of one entry, and its key.
#[must_use]
pub const fn truncated() -> AwsResponse {
    AwsResponse::Raw(200, Bytes::from_static(b"\xa1\x6eTranslatedText"))
}

/// Returns the text with the target language in brackets. A simple rule detects the language of the text, unless
/// the request names it.
#[must_use]
pub fn translation(request: &TranslateRequest) -> AwsResponse {
    if request.text.len() > MAX_TEXT_BYTES {
        return AwsResponse::error(400, "TextSizeLimitExceededException");
    }
    let source = if request.source == "auto" { detect(&request.text) } else { &request.source };
    AwsResponse::success(json!({
        "TranslatedText": format!("[{}] {}", request.target, request.text),
        "SourceLanguageCode": source,
        "TargetLanguageCode": request.target,
    }))
}

impl TranslateServer {
    /// Starts the service.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let recorder = Arc::new(Recorder::<State>::default());
        let handler = Arc::clone(&recorder);
        let handle = move |call: Call| {
            ready(match TranslateRequest::read(&call.body) {
                Some(request) => handler.record(|state| state.respond(request)),
                None => AwsResponse::error(400, "ValidationException"),
            })
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
        self.service.environment("AWS_ENDPOINT_URL_TRANSLATE")
    }

    /// Responds to the next requests for the language `target` with `responses`, in order, and then as to others.
    pub fn script(&self, target: &str, responses: impl IntoIterator<Item = AwsResponse>) {
        self.recorder.state().scripts.entry(target.to_owned()).or_default().extend(responses);
    }

    /// Responds with `respond` to requests without a script, in place of [`translation`].
    pub fn respond_with(&self, respond: impl Fn(&TranslateRequest) -> AwsResponse + Send + Sync + 'static) {
        self.recorder.state().respond = Some(Box::new(respond));
    }

    /// Returns the recorded requests, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<TranslateRequest> {
        self.recorder.state().requests.clone()
    }

    /// Waits for `number` requests, retries included.
    pub async fn wait_for_requests(&self, number: usize) {
        self.recorder.wait_for(number).await;
    }
}

impl State {
    fn respond(&mut self, request: TranslateRequest) -> AwsResponse {
        let scripted = self.scripts.get_mut(&request.target).and_then(VecDeque::pop_front);
        let response = scripted.unwrap_or_else(|| match &self.respond {
            Some(respond) => respond(&request),
            None => translation(&request),
        });
        self.requests.push(request);
        response
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

fn detect(text: &str) -> &'static str {
    let has_any = |characters: &str| text.to_lowercase().contains(|character| characters.contains(character));
    if has_any("äöüß") {
        "de"
    } else if has_any("ñ¿¡") {
        "es"
    } else if has_any("àâçèéêîôû") {
        "fr"
    } else if text.contains(|character| ('\u{3040}'..'\u{3100}').contains(&character)) {
        "ja"
    } else {
        "en"
    }
}
