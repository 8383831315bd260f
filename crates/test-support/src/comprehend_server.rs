//! A small Amazon Comprehend, over real HTTP. It implements
//! <https://docs.aws.amazon.com/comprehend/latest/APIReference/API_DetectToxicContent.html>.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::AwsResponse;
use crate::aws_json::{Call, Operation, Recorder, Service, text};

const OPERATIONS: &[Operation] = &[("Comprehend_20171127.DetectToxicContent", "comprehend", "1.1")];

/// The maximum size in bytes of a segment.
const MAX_SEGMENT_BYTES: usize = 1024;

/// The maximum number of segments of a request.
const MAX_SEGMENTS: usize = 10;

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct ComprehendServer {
    service: Service,
    recorder: Arc<Recorder<State>>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Vec<String>>,
    script: VecDeque<AwsResponse>,
}

/// Returns scores of the segments: a segment with `toxic` in it is an insult for sure, and others are not.
#[must_use]
pub fn classification(segments: &[String]) -> AwsResponse {
    let results = segments.iter().map(|segment| {
        let score = if segment.contains("toxic") { 0.9 } else { 0.1 };
        json!({ "Labels": [{ "Name": "INSULT", "Score": score }, { "Name": "HATE_SPEECH", "Score": 0.05 }], "Toxicity": score })
    });
    AwsResponse::success(json!({ "ResultList": results.collect::<Vec<_>>() }))
}

impl ComprehendServer {
    /// Starts the service.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let recorder = Arc::new(Recorder::<State>::default());
        let handler = Arc::clone(&recorder);
        let handle = move |call: Call| ready(handler.record(|state| state.respond(&call.body)));
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
        self.service.environment("AWS_ENDPOINT_URL_COMPREHEND")
    }

    /// Responds to the next requests with `responses`, in order, and then with [`classification`].
    pub fn script(&self, responses: impl IntoIterator<Item = AwsResponse>) {
        self.recorder.state().script.extend(responses);
    }

    /// Returns the segments of each request, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Vec<String>> {
        self.recorder.state().requests.clone()
    }
}

impl State {
    fn respond(&mut self, body: &Value) -> AwsResponse {
        let Some(segments) = read(body) else { return AwsResponse::error(400, "InvalidRequestException") };
        if segments.iter().any(|segment| segment.len() > MAX_SEGMENT_BYTES) {
            return AwsResponse::error(400, "TextSizeLimitExceededException");
        }
        let response = self.script.pop_front().unwrap_or_else(|| classification(&segments));
        self.requests.push(segments);
        response
    }
}

fn read(body: &Value) -> Option<Vec<String>> {
    if text(body, "LanguageCode")? != "en" {
        return None;
    }
    let segments = body.get("TextSegments")?.as_array()?;
    let segments: Option<Vec<_>> =
        segments.iter().map(|segment| text(segment, "Text").filter(|text| !text.is_empty())).collect();
    segments.filter(|segments| (1..=MAX_SEGMENTS).contains(&segments.len()))
}
