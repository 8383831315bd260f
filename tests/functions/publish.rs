//! The function `publish`: who may publish what, moderation, repeated requests, and the history of topics.

use std::time::Duration;

use fanout_core::testing::TIMEOUT;
use futures_util::StreamExt as _;
use momento_local::{Fault, MomentoLocal, Rpc};
use serde_json::{Value, json};
use test_support::HttpResponse;
use test_support::gateway::Gateway;
use test_support::http_client::HttpClient;
use test_support::process::Process;
use test_support::runtime_api::RuntimeApi;
use test_support::signed::RawRequest;
use tokio::time::timeout;
use tonic::Code;

use crate::support::{Function, caches, client, listening};
use crate::token::{ISSUER, Provider, environment, header, person, seconds, with};

const REST: &str = r#"
[[profiles]]
name = "member"
when = { plan = "paid" }
token_id = "{claims.sub}"
ttl_seconds = 600
cache = "demo"
publish = ["{claims.room}-publish", "notes"]
subscribe = ["{claims.room}-subscribe-{claims.languages}", "notes"]

[[profiles]]
name = "guest"
when = { plan = "free" }
token_id = "{claims.sub}"
cache = "demo"
moderated = true
publish = ["{claims.room}-publish", "unrouted"]
subscribe = ["lobby-subscribe-en"]

[[history]]
topic = "{room}-subscribe-{language}"
key = "last-{room}-{language}"

[[history]]
topic = "news"
cache = "other"
key = "last-news"
"#;

const ROUTES: &str = r#"
[[routes]]
topic = "{room}-publish"
transforms = [
    "trim",
    { moderate = { action = "drop", deny = ["spamcoin"] } },
    { moderate = { deny = ["heck"] } },
    { json = { pointer = "", transforms = ["trim"], on_mismatch = "pass" } },
]
destinations = ["{room}-subscribe-en"]
"#;

fn file(provider: &Provider) -> String {
    format!(
        "allowed_origins = ['https://chat.example.com']\nrequests_per_minute = 1000\n[jwt]\nissuer = '{ISSUER}'\n\
         audience = ['chat']\njwks = '{}'\nalgorithms = ['ES256']\n{REST}",
        provider.url
    )
}

/// The function, over HTTP.
struct Running {
    momento: MomentoLocal,
    process: Process,
    port: u16,
}

impl Running {
    async fn start(file: &str) -> Self {
        Self::start_with(file, &[]).await
    }

    async fn start_with(file: &str, settings: &[(&str, &str)]) -> Self {
        let momento =
            MomentoLocal::builder().cache("demo").cache("other").api_key("local").start().await.unwrap();
        let (process, port) = start_beside(&momento, file, settings).await;
        Self { momento, process, port }
    }

    async fn send(&self, request: &RawRequest) -> HttpResponse {
        send(self.port, request).await
    }

    /// Returns the status and the body.
    async fn ask(&self, request: &RawRequest) -> (u16, Value) {
        let response = self.send(request).await;
        (response.status, serde_json::from_str(&response.body).unwrap())
    }

    /// Returns the texts of a topic, and the ids of their publishers.
    fn published(&self, topic: &str) -> Vec<(String, String)> {
        let published = self.momento.published("demo", topic).into_iter();
        published.map(|message| (message.publisher_id.clone(), message.text().unwrap().to_owned())).collect()
    }
}

/// Starts another instance of the function.
async fn start_beside(momento: &MomentoLocal, file: &str, settings: &[(&str, &str)]) -> (Process, u16) {
    let mut environment = environment(momento, file);
    environment.push(("FANOUT_CONFIG".to_owned(), ROUTES.to_owned()));
    environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let process = Process::start(env!("CARGO_BIN_EXE_publish").as_ref(), environment).unwrap();
    let port = listening(&process).await;
    (process, port)
}

async fn send(port: u16, request: &RawRequest) -> HttpResponse {
    HttpClient::http1().send(([127, 0, 0, 1], port).into(), request).await.unwrap()
}

fn raw(path: &'static str, token: &str, body: impl Into<Vec<u8>>) -> RawRequest {
    RawRequest {
        method: "POST".to_owned(),
        path: Some(path),
        headers: vec![("authorization".to_owned(), format!("Bearer {token}").into_bytes())],
        body: body.into().into(),
    }
}

fn message(token: &str, topic: &str, text: &str) -> RawRequest {
    raw("/publish", token, json!({"topicName": topic, "topicValue": text}).to_string())
}

fn history(path: &'static str, token: &str) -> RawRequest {
    RawRequest { method: "GET".to_owned(), ..raw(path, token, "") }
}

fn and(mut request: RawRequest, name: &str, value: &str) -> RawRequest {
    request.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    request
}

fn published(topic: &str) -> Value {
    json!({"cache": "demo", "topic": topic, "token_id": "ann"})
}

#[tokio::test]
async fn subscriber_sees_text_and_id_of_publisher() {
    let provider = Provider::start().await;
    let function = Running::start(&file(&provider)).await;
    let subscriber = client(&function.momento);
    let mut messages = subscriber.subscribe("demo", "lobby-publish").await.unwrap();
    timeout(TIMEOUT, function.momento.wait_for_subscribers("demo", "lobby-publish", 1)).await.unwrap();
    let ann = provider.good(&person());
    let answer = function.ask(&message(&ann, "lobby-publish", "hello")).await;
    assert_eq!(answer, (200, published("lobby-publish")));
    let item = timeout(TIMEOUT, messages.next()).await.unwrap().unwrap();
    assert_eq!(item.publisher_id, "ann");

    let bob = provider.good(&with("sub", json!("bob")));
    for request in
        [raw("/publish/lobby-publish", &bob, " {é}\n"), raw("/prod/publish/lobby%2dpublish", &bob, "")]
    {
        let response = function.send(&request).await;
        assert_eq!(response.status, 200, "{}", response.body);
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
    }
    let texts = [("ann", "hello"), ("bob", " {é}\n"), ("bob", "")];
    assert_eq!(
        function.published("lobby-publish"),
        texts.map(|(who, text)| (who.to_owned(), text.to_owned()))
    );

    let record = function.process.wait_for_line(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["outcome"] == "published" && line["token_id"] == "bob").then_some(line)
    });
    let record = record.await.unwrap();
    assert_eq!((&record["profile"], &record["topic"]), (&json!("member"), &json!("lobby-publish")));
    assert_eq!(
        (&record["Published"], &record["Refused"], &record["Failed"]),
        (&json!(1), &json!(0), &json!(0))
    );
    for line in function.process.output() {
        assert!(!line.contains("hello") && !line.contains("{é}") && !line.contains(&ann), "{line}");
    }
}

#[tokio::test]
async fn refuses_what_profile_does_not_allow_and_what_is_not_a_message() {
    let provider = Provider::start().await;
    let function = Running::start(&file(&provider)).await;
    let ann = provider.good(&person());
    let guest = provider.good(&with("plan", json!("free")));
    let anonymous = |mut request: RawRequest| {
        request.headers.clear();
        request
    };
    let method =
        |method: &str, path, token: &str| RawRequest { method: method.to_owned(), ..raw(path, token, "") };
    let key = |key: &str| and(message(&ann, "notes", "x"), "idempotency-key", key);
    let long = "x".repeat(4_097);
    let table = [
        ("no proof", anonymous(message(&ann, "notes", "x")), 401, "proof_missing"),
        ("not a JWT", message("x", "notes", "x"), 401, "proof_malformed"),
        (
            "expired",
            message(&provider.good(&with("exp", json!(seconds() - 60))), "notes", "x"),
            401,
            "proof_expired",
        ),
        ("no profile", message(&provider.good(&with("plan", json!("no"))), "notes", "x"), 403, "no_profile"),
        (
            "hostile claim",
            message(&provider.good(&with("room", json!("*"))), "*-publish", "x"),
            403,
            "claim_unusable",
        ),
        ("another room", message(&ann, "other-publish", "x"), 403, "topic_not_allowed"),
        ("topic to subscribe to", message(&ann, "lobby-subscribe-es", "x"), 403, "topic_not_allowed"),
        ("topic in another case", message(&ann, "Lobby-publish", "x"), 403, "topic_not_allowed"),
        ("topic of another profile", message(&ann, "unrouted", "x"), 403, "topic_not_allowed"),
        ("path with another room", raw("/publish/other-publish", &ann, "x"), 403, "topic_not_allowed"),
        ("path that climbs", raw("/publish/x/../notes", &ann, "x"), 403, "topic_not_allowed"),
        ("no topic", message(&ann, "", "x"), 400, "topic_invalid"),
        ("not JSON", raw("/publish", &ann, "hello"), 400, "message_invalid"),
        ("a list", raw("/publish", &ann, r#"["notes", "x"]"#), 400, "message_invalid"),
        (
            "another member",
            raw("/publish", &ann, r#"{"topicName":"notes","topicValue":"x","tokenId":"eve"}"#),
            400,
            "message_invalid",
        ),
        ("binary", raw("/publish/notes", &ann, b"\xff\x00".to_vec()), 400, "not_text"),
        ("long text", message(&ann, "notes", &long), 413, "text_too_large"),
        ("long raw text", raw("/publish/notes", &ann, long.clone()), 413, "text_too_large"),
        ("huge body", raw("/publish/notes", &ann, vec![b'x'; 300_000]), 413, "body_too_large"),
        ("empty key", key(""), 400, "idempotency_key_invalid"),
        ("long key", key(&"k".repeat(256)), 400, "idempotency_key_invalid"),
        ("two keys", and(key("a"), "idempotency-key", "b"), 400, "idempotency_key_invalid"),
        ("another path", raw("/topics", &ann, "x"), 404, "not_found"),
        ("another method", method("PUT", "/publish", &ann), 405, "method_not_allowed"),
        ("another method for history", method("POST", "/history/notes", &ann), 405, "method_not_allowed"),
        (
            "another web page",
            and(message(&ann, "notes", "x"), "origin", "https://evil.example.com"),
            403,
            "origin_not_allowed",
        ),
        ("moderated without a route", message(&guest, "unrouted", "x"), 500, "no_transforms"),
        ("dropped by moderation", message(&guest, "lobby-publish", "buy spamcoin"), 422, "rejected"),
        ("history of another room", history("/history/other-subscribe-es", &ann), 403, "topic_not_allowed"),
        (
            "history of another language",
            history("/history/lobby-subscribe-fr", &ann),
            403,
            "topic_not_allowed",
        ),
        ("history to publish to", history("/history/lobby-publish", &ann), 403, "topic_not_allowed"),
        ("history that a profile does not name", history("/history/news", &ann), 403, "topic_not_allowed"),
        ("history of a topic without a list", history("/history/notes", &ann), 404, "no_history"),
        ("history without proof", anonymous(history("/history/notes", &ann)), 401, "proof_missing"),
        ("too much history", history("/history/lobby-subscribe-es?limit=101", &ann), 400, "limit_invalid"),
    ];
    for (case, request, status, code) in table {
        let response = function.send(&request).await;
        let body: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!((response.status, &body["code"]), (status, &json!(code)), "{case}: {body}");
        assert!(!response.body.contains("spamcoin"), "{case}: {body}");
    }
    for topic in ["notes", "lobby-publish", "other-publish", "unrouted", "*-publish", "lobby-subscribe-es"] {
        assert_eq!(function.published(topic), [], "{topic}");
    }
    let most = function.ask(&message(&ann, "notes", &"x".repeat(4_096))).await;
    assert_eq!(most, (200, published("notes")));
    let response = function.send(&method("OPTIONS", "/publish/notes", &ann)).await;
    assert_eq!(response.status, 204);
    assert_eq!(function.send(&method("GET", "/health/ready", &ann)).await.status, 200);
}

#[tokio::test]
async fn moderated_text_is_published_as_it_is_returned_or_rejected_with_reason() {
    let provider = Provider::start().await;
    let function = Running::start(&file(&provider)).await;
    let guest = provider.good(&with("plan", json!("free")));
    let (status, body) = function.ask(&message(&guest, "lobby-publish", "  what the heck ")).await;
    assert_eq!((status, &body["text"]), (200, &json!("what the ****")), "{body}");
    let response = function.send(&raw("/publish/lobby-publish", &guest, "buy spamcoin now")).await;
    let body: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!((response.status, &body["code"]), (422, &json!("rejected")), "{body}");
    assert_eq!(body["transform"], "moderate");
    assert!(body["detail"].as_str().unwrap().contains("(denied)"), "{body}");
    assert_eq!(header(&response, "content-type"), Some("application/problem+json"));
    assert_eq!(function.published("lobby-publish"), [("ann".to_owned(), "what the ****".to_owned())]);
    // The profile of a member is not moderated.
    let ann = provider.good(&person());
    assert_eq!(
        function.ask(&message(&ann, "lobby-publish", "heck")).await,
        (200, published("lobby-publish"))
    );
    for line in function.process.output() {
        assert!(!line.contains("heck") && !line.contains("spamcoin"), "{line}");
    }
}

#[tokio::test]
async fn moderated_profile_needs_routes() {
    let provider = Provider::start().await;
    let momento = MomentoLocal::builder().cache("demo").start().await.unwrap();
    let environment = environment(&momento, &file(&provider));
    let mut process = Process::start(env!("CARGO_BIN_EXE_publish").as_ref(), environment).unwrap();
    assert!(!process.ended().await.unwrap().success());
    let output = process.output().join("\n");
    assert!(output.contains("FANOUT_CONFIG: is not set, and the profile `guest`"), "{output}");
}

#[tokio::test]
async fn repeated_request_gets_first_result_and_publishes_once() {
    let provider = Provider::start().await;
    let function = Running::start(&file(&provider)).await;
    let (ann, bob) = (provider.good(&person()), provider.good(&with("sub", json!("bob"))));
    let guest = provider.good(&with("plan", json!("free")));
    let keyed = |request, key| and(request, "idempotency-key", key);
    let first = function.ask(&keyed(message(&ann, "notes", "one"), "k")).await;
    assert_eq!(first, (200, published("notes")));
    for _ in 0..2 {
        assert_eq!(function.ask(&keyed(message(&ann, "notes", "one"), "k")).await, first);
    }
    assert_eq!(function.ask(&keyed(raw("/publish/notes", &ann, "one"), "k")).await, first);
    let (status, body) = function.ask(&keyed(message(&ann, "notes", "two"), "k")).await;
    assert_eq!((status, &body["code"]), (422, &json!("idempotency_key_reused")), "{body}");
    assert_eq!(function.ask(&keyed(message(&ann, "notes", "one"), "k2")).await.0, 200);
    assert_eq!(function.ask(&keyed(message(&bob, "notes", "one"), "k")).await.0, 200);
    let publishers = ["ann", "ann", "bob"].map(|who| (who.to_owned(), "one".to_owned()));
    assert_eq!(function.published("notes"), publishers);

    let moderated = || keyed(message(&guest, "lobby-publish", "heck"), "m");
    let (first, second) = (function.ask(&moderated()).await, function.ask(&moderated()).await);
    assert_eq!((&first, &first.1["text"]), (&second, &json!("****")));
    assert_eq!(function.published("lobby-publish").len(), 1);

    // A request that failed is carried out again.
    let fault = function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).times(1));
    let failed = || keyed(message(&ann, "notes", "three"), "k3");
    assert_eq!([function.ask(&failed()).await.0, function.ask(&failed()).await.0], [502, 200]);
    assert_eq!(fault.hits(), 1);

    // Requests at the same time publish once.
    let same = keyed(message(&ann, "notes", "four"), "k4");
    let (one, other) = tokio::join!(function.send(&same), function.send(&same));
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(function.published("notes").iter().filter(|(_, text)| text == "four").count(), 1);
}

#[tokio::test]
async fn instances_that_share_a_cache_publish_repeated_request_once() {
    let provider = Provider::start().await;
    let file = file(&provider);
    let settings = [("DEDUPE", "cache"), ("DEDUPE_CACHE", "other")];
    let function = Running::start_with(&file, &settings).await;
    let (_other, port) = start_beside(&function.momento, &file, &settings).await;
    let ann = provider.good(&person());
    let request = |text| and(message(&ann, "notes", text), "idempotency-key", "k");
    let first = function.ask(&request("one")).await;
    assert_eq!(first, (200, published("notes")));
    let again = send(port, &request("one")).await;
    assert_eq!((again.status, serde_json::from_str(&again.body).unwrap()), first);
    assert_eq!(send(port, &request("two")).await.status, 422);
    assert_eq!(function.published("notes").len(), 1);

    // A claim ends when its request fails.
    let fault = function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).times(1));
    let failed = || and(message(&ann, "notes", "x"), "idempotency-key", "k2");
    assert_eq!(function.send(&failed()).await.status, 502);
    assert_eq!((send(port, &failed()).await.status, fault.hits()), (200, 1));

    // A text twice is better than a lost one.
    function.momento.inject(Fault::error(Code::Internal).on(Rpc::SetIf));
    let response = function.send(&and(message(&ann, "notes", "y"), "idempotency-key", "k3")).await;
    assert_eq!(response.status, 200, "{}", response.body);
}

#[tokio::test]
async fn history_is_for_those_who_may_subscribe() {
    let provider = Provider::start().await;
    let function = Running::start(&file(&provider)).await;
    let caches = caches(&function.momento);
    let texts: Vec<_> = (1..=30).map(|number| format!("text {number}")).collect();
    caches.list_concatenate_back("demo", "last-lobby-es", texts.clone()).await.unwrap();
    caches.list_concatenate_back("other", "last-lobby-es", vec!["wrong"]).await.unwrap();
    let ann = provider.good(&person());
    for (path, count) in [
        ("/history/lobby-subscribe-es?limit=2", 2),
        ("/prod/history/lobby%2Dsubscribe-es", 20),
        ("/history/lobby-subscribe-es?limit=100", 30),
        ("/history/lobby-subscribe-de", 0),
    ] {
        let (status, body) = function.ask(&history(path, &ann)).await;
        assert_eq!((status, &body["messages"]), (200, &json!(texts[30 - count..])), "{path} {body}");
    }
    let guest = provider.good(&with("plan", json!("free")));
    assert_eq!(function.ask(&history("/history/lobby-subscribe-es", &guest)).await.0, 403);
    assert_eq!(function.ask(&history("/history/lobby-subscribe-en", &guest)).await.0, 200);
    let fault = function.momento.inject(Fault::error(Code::Internal).on(Rpc::ListFetch));
    let (status, body) = function.ask(&history("/history/lobby-subscribe-es", &ann)).await;
    assert_eq!((status, &body["code"]), (503, &json!("history_unreadable")), "{body}");
    assert!(fault.hits() > 1);
}

#[tokio::test]
async fn person_may_send_so_many_requests_a_minute() {
    let provider = Provider::start().await;
    let function = Running::start(&file(&provider).replace("= 1000", "= 2")).await;
    let ann = provider.good(&person());
    let request = message(&ann, "notes", "x");
    assert_eq!([function.ask(&request).await.0, function.ask(&request).await.0], [200, 200]);
    for request in [request, history("/history/lobby-subscribe-es", &ann)] {
        let response = function.send(&request).await;
        assert_eq!(response.status, 429, "{}", response.body);
        assert!(header(&response, "retry-after").is_some());
    }
    let bob = provider.good(&with("sub", json!("bob")));
    assert_eq!(function.ask(&message(&bob, "notes", "x")).await.0, 200);
    assert_eq!(function.published("notes").len(), 3);
}

#[tokio::test]
async fn services_that_are_away_give_503_and_those_that_refuse_502() {
    let provider = Provider::start().await;
    let file = file(&provider);
    let function = Running::start(&file).await;
    let ann = provider.good(&person());
    let request = message(&ann, "notes", "x");
    function.momento.block();
    let response = function.send(&request).await;
    assert_eq!(response.status, 503, "{}", response.body);
    assert!(response.body.contains("not_issued") && header(&response, "retry-after").is_some());
    function.momento.unblock();
    assert_eq!(function.ask(&request).await.0, 200);
    let fault = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish));
    let (status, body) = function.ask(&request).await;
    assert_eq!((status, &body["code"]), (503, &json!("not_published")), "{body}");
    fault.remove();
    // One that fails for a moment is asked again.
    function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).times(1));
    assert_eq!(function.ask(&request).await.0, 200);

    let (_refused, port) = start_beside(&function.momento, &file, &[("MOMENTO_API_KEY", "another")]).await;
    let response = send(port, &request).await;
    assert_eq!(response.status, 502, "{}", response.body);

    *provider.response.lock().unwrap() = None;
    let (_unproven, port) = start_beside(&function.momento, &file, &[]).await;
    let response = send(port, &request).await;
    assert_eq!(response.status, 503, "{}", response.body);
    assert!(response.body.contains("keys_unavailable"), "{}", response.body);
}

#[tokio::test]
async fn browser_may_publish_from_a_page_on_the_list() {
    let provider = Provider::start().await;
    let function = Running::start(&file(&provider)).await;
    let origin = "https://chat.example.com";
    let ann = provider.good(&person());
    let preflight = RawRequest { method: "OPTIONS".to_owned(), ..raw("/publish", &ann, "") };
    let response = function.send(&and(preflight, "origin", origin)).await;
    assert_eq!((response.status, header(&response, "access-control-allow-origin")), (204, Some(origin)));
    assert_eq!(header(&response, "access-control-allow-methods"), Some("GET, POST"));
    assert!(header(&response, "access-control-allow-headers").unwrap().contains("idempotency-key"));
    let response = function.send(&and(message(&ann, "notes", "x"), "origin", origin)).await;
    assert_eq!((response.status, header(&response, "access-control-allow-origin")), (200, Some(origin)));
}

/// Every gateway passes the query on, and the claims that it has verified.
#[tokio::test]
async fn gateway_proves_who_publishes_and_passes_path_and_query() {
    let file = format!("[gateway]\nauthorizer = \"jwt\"\n{REST}");
    let claims = json!({"sub": "ann", "plan": "paid", "room": "lobby", "languages": "es"});
    for (gateway, context) in [
        (Gateway::HttpApi, json!({"jwt": {"claims": claims}})),
        (Gateway::RestApi, json!({"claims": claims})),
    ] {
        let momento = MomentoLocal::builder().cache("demo").start().await.unwrap();
        let texts = vec!["1", "2", "3"];
        caches(&momento).list_concatenate_back("demo", "last-lobby-es", texts).await.unwrap();
        let runtime_api = RuntimeApi::start().await.unwrap();
        let environment = environment(&momento, &file).into_iter().chain(runtime_api.environment());
        let environment = environment.chain([("FANOUT_CONFIG".to_owned(), ROUTES.to_owned())]);
        let process = Process::start(env!("CARGO_BIN_EXE_publish").as_ref(), environment).unwrap();
        let function = Function::over(momento, process, Some(runtime_api), 0);
        let invoke = async |request: RawRequest, authorizer: &Value, query: Option<Value>| {
            let mut payload = gateway.payload(&request, false).unwrap();
            payload["requestContext"]["authorizer"] = authorizer.clone();
            if let Some(query) = query {
                payload["rawQueryString"] = query["raw"].clone();
                payload["queryStringParameters"] = query["parameters"].clone();
            }
            let response = function.invoke(payload.to_string().into_bytes()).await;
            let body = serde_json::from_str(response["body"].as_str().unwrap()).unwrap_or(Value::Null);
            (response["statusCode"].as_u64().unwrap(), body)
        };
        let answer = invoke(raw("/publish/notes", "x", "hello"), &context, None).await;
        assert_eq!(answer, (200, published("notes")), "{gateway:?}");
        let query = match gateway {
            Gateway::HttpApi => json!({"raw": "limit=2", "parameters": {"limit": "2"}}),
            _ => json!({"raw": null, "parameters": {"limit": "2"}}),
        };
        let asked = history("/history/lobby-subscribe-es", "x");
        let (status, body) = invoke(asked, &context, Some(query)).await;
        assert_eq!((status, &body["messages"]), (200, &json!(["2", "3"])), "{gateway:?} {body}");
        for nothing in [json!(null), json!({"lambda": {"sub": "ann"}})] {
            let (status, body) = invoke(raw("/publish/notes", "x", "hello"), &nothing, None).await;
            assert_eq!(status, 401, "{gateway:?} {body}");
        }
        assert_eq!(function.momento.published("demo", "notes").len(), 1);
    }
}

#[tokio::test]
async fn service_that_hangs_gives_503_in_time() {
    let provider = Provider::start().await;
    let function = Running::start(&file(&provider)).await;
    let guest = provider.good(&with("plan", json!("free")));
    let fault = function.momento.inject(Fault::hang().on(Rpc::Publish));
    let started = tokio::time::Instant::now();
    let (status, body) = function.ask(&message(&guest, "lobby-publish", "x")).await;
    assert_eq!(status, 503, "{body}");
    assert!(started.elapsed() < Duration::from_secs(5) && fault.hits() > 1);
}
