//! A function with everything around it.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use momento::topics::configurations::Laptop;
use momento::topics::{Subscription, ValueKind};
use momento::{CredentialProvider, TopicClient};
use momento_local::MomentoLocal;
use serde_json::Value;
use test_support::HttpResponse;
use test_support::gateway::Gateway;
use test_support::http_client::HttpClient;
use test_support::process::{Process, TIMEOUT};
use test_support::runtime_api::{Invoked, RuntimeApi};
use test_support::signed::{self, RawRequest};
use tokio::time::timeout;

pub(crate) const CACHE: &str = "demo";
pub(crate) const INBOUND: &str = "topic 1";
pub(crate) const OUTBOUND: &str = "topic 2";
pub(crate) const SECRET: &str = "a secret of the tests";

/// How long Lambda lets the function run, where a test does not say otherwise.
const LAMBDA_TIMEOUT: Duration = Duration::from_secs(10);

/// The way by which a request reaches the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through Lambda, from this gateway, the body as base64 or not.
    Lambda(Gateway, bool),
    Http1,
    Http2,
}

/// One way of each kind, for tests to which the shape of the payload does not matter.
pub(crate) const BOTH: [Way; 2] = [Way::Lambda(Gateway::FunctionUrl, false), Way::Http1];

impl Way {
    pub(crate) fn all() -> Vec<Self> {
        let lambda = Gateway::ALL
            .into_iter()
            .flat_map(|gateway| [false, true].map(|base64| Self::Lambda(gateway, base64)));
        lambda.chain([Self::Http1, Self::Http2]).collect()
    }
}

/// The function, running.
pub(crate) struct Function {
    pub(crate) momento: MomentoLocal,
    pub(crate) process: Process,
    pub(crate) runtime_api: Option<RuntimeApi>,
    port: u16,
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_webhook"))
}

/// The settings of all tests; what comes later in `settings` wins.
pub(crate) fn settings(endpoint: &str, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let defaults = [
        ("MOMENTO_API_KEY", "local"),
        ("MOMENTO_ENDPOINT", endpoint),
        ("WEBHOOK_SIGNING_SECRET", SECRET),
        ("OUTBOUND_TOPIC", OUTBOUND),
        ("TRANSFORM", "uppercase"),
        ("PORT", "0"),
    ];
    defaults.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Function {
    /// For requests that come by `way`.
    pub(crate) async fn start(way: Way, settings: &[(&str, &str)]) -> Self {
        match way {
            Way::Lambda(..) => Self::lambda(settings).await,
            Way::Http1 | Way::Http2 => Self::http(settings).await,
        }
    }

    pub(crate) async fn lambda(with: &[(&str, &str)]) -> Self {
        let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
        let runtime_api = RuntimeApi::start().await.unwrap();
        let environment = settings(&momento.endpoint(), with).into_iter().chain(runtime_api.environment());
        let process = Process::start(program(), environment).unwrap();
        Self { momento, process, runtime_api: Some(runtime_api), port: 0 }
    }

    /// Of parts that a test has put together itself.
    pub(crate) fn over(
        momento: MomentoLocal,
        process: Process,
        runtime_api: Option<RuntimeApi>,
        port: u16,
    ) -> Self {
        Self { momento, process, runtime_api, port }
    }

    pub(crate) async fn http(with: &[(&str, &str)]) -> Self {
        let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
        let process = Process::start(program(), settings(&momento.endpoint(), with)).unwrap();
        let port = listening(&process).await;
        Self { momento, process, runtime_api: None, port }
    }

    pub(crate) async fn send(&self, way: Way, request: &RawRequest) -> HttpResponse {
        match way {
            Way::Lambda(gateway, base64) => {
                let payload = gateway.payload(request, base64).unwrap();
                let response = self.invoke(payload.to_string().into_bytes()).await;
                gateway.http_response(&response).unwrap_or_else(|error| panic!("{error}: {response}"))
            }
            Way::Http1 => {
                HttpClient::http1().send(([127, 0, 0, 1], self.port).into(), request).await.unwrap()
            }
            Way::Http2 => {
                HttpClient::http2().send(([127, 0, 0, 1], self.port).into(), request).await.unwrap()
            }
        }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Invokes the function in Lambda with any payload. An error of the function fails the test: to a
    /// gateway it is a 502.
    pub(crate) async fn invoke(&self, payload: Vec<u8>) -> Value {
        let runtime_api = self.runtime_api.as_ref().expect("the function is in Lambda");
        let invoked = runtime_api.invoke(payload.into(), LAMBDA_TIMEOUT);
        match timeout(TIMEOUT, invoked).await.expect("the function answers").unwrap() {
            Invoked::Response(body) => serde_json::from_slice(&body).unwrap(),
            Invoked::Error(body) => panic!("the function failed: {}", String::from_utf8_lossy(&body)),
        }
    }

    /// Sends a genuine event with this text.
    pub(crate) async fn deliver(&self, way: Way, number: u64, text: &str) -> HttpResponse {
        self.send(way, &genuine(number, text)).await
    }

    pub(crate) async fn subscribe(&self, topic: &str) -> Subscriber {
        Subscriber::new(&self.momento, topic).await
    }

    /// The line of the journal about an invocation, the first that `wanted` holds for.
    pub(crate) async fn journal(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let line = self.process.wait_for_line(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line.get("outcome").is_some() && wanted(&line)).then_some(line)
        });
        line.await.unwrap()
    }

    /// Texts published to a topic so far.
    pub(crate) fn published(&self, topic: &str) -> Vec<String> {
        let published = self.momento.published(CACHE, topic);
        published.iter().map(|message| message.text().expect("text").to_owned()).collect()
    }
}

pub(crate) async fn listening(process: &Process) -> u16 {
    let port = process.wait_for_line(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "listening for webhooks").then_some(())?;
        line["address"].as_str()?.rsplit_once(':')?.1.parse().ok()
    });
    port.await.unwrap()
}

/// A genuine request with this text, from the inbound topic, just now.
pub(crate) fn genuine(number: u64, text: &str) -> RawRequest {
    let event = signed::event(CACHE, INBOUND, number, text);
    signed::post(SECRET, event.to_json()).unwrap()
}

/// A client of the real SDK.
pub(crate) fn client(momento: &MomentoLocal) -> TopicClient {
    // {"api_key":"local","endpoint":"local"}
    let key = "eyJhcGlfa2V5IjoibG9jYWwiLCJlbmRwb2ludCI6ImxvY2FsIn0=";
    let credentials = CredentialProvider::from_disposable_token(key)
        .unwrap()
        .insecure_endpoint_override(&momento.endpoint());
    TopicClient::builder().configuration(Laptop::latest()).credential_provider(credentials).build().unwrap()
}

/// A subscriber of the real SDK.
pub(crate) struct Subscriber {
    subscription: Subscription,
    _client: TopicClient,
}

impl Subscriber {
    pub(crate) async fn new(momento: &MomentoLocal, topic: &str) -> Self {
        let client = client(momento);
        let subscription = client.subscribe(CACHE, topic).await.unwrap();
        timeout(TIMEOUT, momento.wait_for_subscribers(CACHE, topic, 1)).await.expect("a subscriber");
        Self { subscription, _client: client }
    }

    pub(crate) async fn next(&mut self) -> String {
        let item = timeout(TIMEOUT, self.subscription.next()).await.expect("a message").expect("a message");
        match item.kind {
            ValueKind::Text(text) => text,
            ValueKind::Binary(_) => panic!("a text"),
        }
    }
}
