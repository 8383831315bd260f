//! A running function, with local Momento and a Lambda Runtime API.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use momento::topics::configurations::Laptop;
use momento::topics::{Subscription, ValueKind};
use momento::{CacheClient, CredentialProvider, TopicClient};
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

/// The timeout of an invocation, unless a test has its own.
const LAMBDA_TIMEOUT: Duration = Duration::from_secs(10);

/// The transport of a request to the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Lambda, with the payload of this gateway. The body is base64 if the flag is true.
    Lambda(Gateway, bool),
    Http1,
    Http2,
}

/// One transport of each kind, for tests that do not depend on the shape of the payload.
pub(crate) const BOTH: [Transport; 2] = [Transport::Lambda(Gateway::FunctionUrl, false), Transport::Http1];

impl Transport {
    pub(crate) fn all() -> Vec<Self> {
        let lambda = Gateway::ALL
            .into_iter()
            .flat_map(|gateway| [false, true].map(|base64| Self::Lambda(gateway, base64)));
        lambda.chain([Self::Http1, Self::Http2]).collect()
    }
}

/// A running function.
pub(crate) struct Function {
    pub(crate) momento: MomentoLocal,
    pub(crate) process: Process,
    pub(crate) runtime_api: Option<RuntimeApi>,
    port: u16,
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_webhook"))
}

/// Returns the settings of all tests, followed by these. Later settings replace earlier ones.
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
    /// Starts the function for requests over `transport`.
    pub(crate) async fn start(transport: Transport, settings: &[(&str, &str)]) -> Self {
        match transport {
            Transport::Lambda(..) => Self::lambda(settings).await,
            Transport::Http1 | Transport::Http2 => Self::http(settings).await,
        }
    }

    pub(crate) async fn lambda(with: &[(&str, &str)]) -> Self {
        let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
        let runtime_api = RuntimeApi::start().await.unwrap();
        let environment = settings(&momento.endpoint(), with).into_iter().chain(runtime_api.environment());
        let process = Process::start(program(), environment).unwrap();
        Self { momento, process, runtime_api: Some(runtime_api), port: 0 }
    }

    /// Returns a function made of parts that a test has started.
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

    pub(crate) async fn send(&self, transport: Transport, request: &RawRequest) -> HttpResponse {
        match transport {
            Transport::Lambda(gateway, base64) => {
                let payload = gateway.payload(request, base64).unwrap();
                let response = self.invoke(payload.to_string().into_bytes()).await;
                gateway.http_response(&response).unwrap_or_else(|error| panic!("{error}: {response}"))
            }
            Transport::Http1 => {
                HttpClient::http1().send(([127, 0, 0, 1], self.port).into(), request).await.unwrap()
            }
            Transport::Http2 => {
                HttpClient::http2().send(([127, 0, 0, 1], self.port).into(), request).await.unwrap()
            }
        }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Invokes the function in Lambda with any payload. An error of the function fails the test. A gateway turns such an
    /// error into 502.
    pub(crate) async fn invoke(&self, payload: Vec<u8>) -> Value {
        let runtime_api = self.runtime_api.as_ref().expect("the function is in Lambda");
        let invoked = runtime_api.invoke(payload.into(), LAMBDA_TIMEOUT);
        match timeout(TIMEOUT, invoked).await.expect("a response").unwrap() {
            Invoked::Response(body) => serde_json::from_slice(&body).unwrap(),
            Invoked::Error(body) => panic!("the function failed: {}", String::from_utf8_lossy(&body)),
        }
    }

    /// Sends a genuine event with this text.
    pub(crate) async fn deliver(&self, transport: Transport, number: u64, text: &str) -> HttpResponse {
        self.send(transport, &genuine(number, text)).await
    }

    pub(crate) async fn subscribe(&self, topic: &str) -> Subscriber {
        Subscriber::new(&self.momento, topic).await
    }

    /// Waits for a log record for which `wanted` returns true, and returns the first.
    pub(crate) async fn log_record(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let line = self.process.wait_for_line(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line.get("outcome").is_some() && wanted(&line)).then_some(line)
        });
        line.await.unwrap()
    }

    /// Returns the texts published to a topic so far.
    pub(crate) fn published(&self, topic: &str) -> Vec<String> {
        let published = self.momento.published(CACHE, topic);
        published.iter().map(|message| message.text().expect("text").to_owned()).collect()
    }
}

pub(crate) async fn listening(process: &Process) -> u16 {
    let port = process.wait_for_line(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        matches!(line["message"].as_str()?, "listening for webhooks" | "listening for requests")
            .then_some(())?;
        line["address"].as_str()?.rsplit_once(':')?.1.parse().ok()
    });
    port.await.unwrap()
}

/// A genuine request with this text, from the inbound topic, just now.
pub(crate) fn genuine(number: u64, text: &str) -> RawRequest {
    let event = signed::event(CACHE, INBOUND, number, text);
    signed::post(SECRET, event.to_json()).unwrap()
}

/// Credentials for clients of the real SDK.
pub(crate) fn credentials(momento: &MomentoLocal) -> CredentialProvider {
    momento.credentials()
}

/// Returns a client of the caches, as the official SDK has it.
pub(crate) fn caches(momento: &MomentoLocal) -> CacheClient {
    CacheClient::builder()
        .default_ttl(Duration::from_mins(1))
        .configuration(momento::cache::configurations::Laptop::latest())
        .credential_provider(credentials(momento))
        .build()
        .unwrap()
}

/// A client of the real SDK.
pub(crate) fn client(momento: &MomentoLocal) -> TopicClient {
    let client = TopicClient::builder().configuration(Laptop::latest());
    client.credential_provider(momento.credentials()).build().unwrap()
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
