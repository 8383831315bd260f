//! A small Amazon Translate: takes what the SDK sends, over real HTTP, and answers what a test wants. It
//! also gives out parameters of the Systems Manager, for the SDK is told one endpoint for both.
//!
//! As <https://docs.aws.amazon.com/translate/latest/APIReference/API_TranslateText.html> and
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html> say.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::aws_json::{self, Answered, Memory, Operation, Service, refusal, response, text};

const TRANSLATE: &str = "AWSShineFrontendService_20170701.TranslateText";
const GET_PARAMETER: &str = "AmazonSSM.GetParameter";
const OPERATIONS: &[Operation] = &[(TRANSLATE, "translate", "1.1"), (GET_PARAMETER, "ssm", "1.1")];

/// The longest text that Amazon Translate takes at once, in bytes.
pub const MAX_TEXT_BYTES: usize = 10_000;

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct TranslateServer {
    service: Service,
    shared: Arc<Shared>,
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

type Shared = Memory<State>;

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
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        let answer = move |operation, body| answer(Arc::clone(&handler), operation, body);
        Ok(Self { service: Service::start(OPERATIONS, answer).await?, shared })
    }

    /// Its URL, for the SDK.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.service.endpoint()
    }

    /// The environment of a process that is to use it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        aws_json::environment(&self.endpoint(), &["AWS_ENDPOINT_URL_TRANSLATE", "AWS_ENDPOINT_URL_SSM"])
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
        self.shared.wait_for(many).await;
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

impl Shared {
    /// Notes a text, and says what the answer is.
    fn translate(&self, request: &TranslateRequest) -> Answer {
        let (scripted, answering) = {
            let mut state = self.state();
            state.requests.push(request.clone());
            let scripted = state.scripts.get_mut(&request.target).and_then(VecDeque::pop_front);
            (scripted, state.answering.clone())
        };
        self.noted();
        scripted.unwrap_or_else(|| match answering {
            Some(answering) => answering(request),
            None => Answer::to(request),
        })
    }
}

async fn answer(shared: Arc<Shared>, operation: &'static str, body: Value) -> Answered {
    if operation == GET_PARAMETER {
        return parameter(&shared, &body).await;
    }
    let Some(request) = TranslateRequest::read(&body) else {
        return Ok(refusal(400, "ValidationException", "a text, its language and another are needed"));
    };
    let answer = shared.translate(&request);
    let applied = body.get("Settings").cloned();
    respond(answer, &request.target, applied).await
}

async fn respond(mut answer: Answer, target: &str, applied: Option<Value>) -> Answered {
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

async fn parameter(shared: &Shared, body: &Value) -> Answered {
    let name = text(body, "Name").unwrap_or_default();
    let with_decryption = body.get("WithDecryption").and_then(Value::as_bool).unwrap_or_default();
    let found = {
        let mut state = shared.state();
        state.parameter_requests.push(ParameterRequest { name: name.clone(), with_decryption });
        state.parameters.get(&name).cloned()
    };
    match found {
        Some(Ok(value)) => Ok(aws_json::parameter(&name, &value, 1)),
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
