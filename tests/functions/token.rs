//! The function `token`: what proves who asks, and what the tokens allow, with clients of the real SDK.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;
use momento::cache::configurations::Laptop as CacheLaptop;
use momento::topics::configurations::Laptop as TopicLaptop;
use momento::{CacheClient, CredentialProvider, MomentoErrorCode, MomentoResult, TopicClient};
use momento_local::MomentoLocal;
use serde_json::{Value, json};
use test_support::HttpResponse;
use test_support::gateway::Gateway;
use test_support::http_client::HttpClient;
use test_support::process::Process;
use test_support::runtime_api::RuntimeApi;
use test_support::signed::{self, RawRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Function, listening};

pub(crate) const ISSUER: &str = "https://login.example.com/";

/// A provider of identities: its keys, and a server of its JWKS.
pub(crate) struct Provider {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    pub(crate) url: String,
    /// The response of the server; `None` to hang.
    pub(crate) response: Arc<Mutex<Option<String>>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let rsa = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let response = Arc::new(Mutex::new(None::<String>));
        let shared = Arc::clone(&response);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let response = shared.lock().unwrap().clone();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4_096]).await;
                    match response {
                        Some(response) => drop(stream.write_all(response.as_bytes()).await),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        let provider = Self { rsa, ec, url, response };
        provider.respond("200 OK", &provider.keys().to_string());
        provider
    }

    fn respond(&self, status: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        *self.response.lock().unwrap() = Some(head + body);
    }

    fn keys(&self) -> Value {
        let public = self.rsa.public_key();
        let (n, e) = (public.modulus(), public.exponent());
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
             "n": BASE64_URL.encode(n.big_endian_without_leading_zero()),
             "e": BASE64_URL.encode(e.big_endian_without_leading_zero())},
            {"kty": "EC", "kid": "ec", "crv": "P-256",
             "x": BASE64_URL.encode(&point[1..33]), "y": BASE64_URL.encode(&point[33..])},
            {"kty": "oct", "kid": "shared", "alg": "HS256", "k": BASE64_URL.encode("a shared secret")},
            {"kty": "AKP", "kid": "future", "alg": "ML-DSA-44", "pub": "x"},
        ]})
    }

    fn ec(&self, header: &str, claims: &str) -> String {
        let random = SystemRandom::new();
        jwt(header, claims, |message| self.ec.sign(&random, message).unwrap().as_ref().to_vec())
    }

    fn rsa(&self, header: &str, claims: &str) -> String {
        jwt(header, claims, |message| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        })
    }

    /// Returns a JWT that is accepted.
    pub(crate) fn good(&self, claims: &Value) -> String {
        self.ec(r#"{"alg":"ES256","kid":"ec"}"#, &claims.to_string())
    }

    /// Returns a JWT that is accepted, by the algorithm that files allow by default.
    pub(crate) fn good_rs(&self, claims: &Value) -> String {
        self.rsa(r#"{"alg":"RS256","kid":"rsa"}"#, &claims.to_string())
    }

    fn file(&self) -> String {
        format!(
            r#"
allowed_origins = ["https://chat.example.com"]
tokens_per_minute = 1000

[jwt]
issuer = "{ISSUER}"
audience = ["chat", "other"]
jwks = "{}"
algorithms = ["RS256", "ES256"]
{PROFILES}"#,
            self.url
        )
    }
}

const PROFILES: &str = r#"
[[profiles]]
name = "member"
when = { plan = "paid" }
token_id = "{claims.sub}"
ttl_seconds = 600
cache = "demo"
publish = ["{claims.room}-publish"]
subscribe = ["{claims.room}-subscribe-{claims.languages}"]
keys = [{ prefix = "user:{claims.sub}:", role = "read_write" }, { key = "motd", role = "read" }]

[[profiles]]
name = "guest"
when = { plan = "free" }
token_id = "{claims.sub}"
cache = "demo"
subscribe = ["lobby-subscribe-en"]
"#;

fn jwt(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", BASE64_URL.encode(header), BASE64_URL.encode(claims));
    let signature = BASE64_URL.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub(crate) fn seconds() -> u64 {
    signed::now() / 1_000
}

pub(crate) fn person() -> Value {
    json!({
        "iss": ISSUER, "aud": "chat", "sub": "ann", "exp": seconds() + 300, "plan": "paid",
        "room": "lobby", "languages": ["es", "de"],
    })
}

pub(crate) fn with(name: &str, value: Value) -> Value {
    let mut person = person();
    person[name] = value;
    person
}

fn without(name: &str) -> Value {
    let mut person = person();
    person.as_object_mut().unwrap().remove(name);
    person
}

fn request(headers: &[(&str, &str)]) -> RawRequest {
    RawRequest {
        method: "POST".to_owned(),
        path: Some("/token"),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body: b"{\"sub\":\"root\",\"plan\":\"paid\"}".as_slice().into(),
    }
}

fn asking(token: &str) -> RawRequest {
    request(&[("authorization", &format!("Bearer {token}"))])
}

/// The function, over HTTP.
struct Running {
    momento: MomentoLocal,
    process: Process,
    port: u16,
}

impl Running {
    async fn start(file: &str) -> Self {
        let momento =
            MomentoLocal::builder().cache("demo").cache("other").api_key("local").start().await.unwrap();
        let process =
            Process::start(env!("CARGO_BIN_EXE_token").as_ref(), environment(&momento, file)).unwrap();
        let port = listening(&process).await;
        Self { momento, process, port }
    }

    async fn send(&self, request: &RawRequest) -> HttpResponse {
        HttpClient::http1().send(([127, 0, 0, 1], self.port).into(), request).await.unwrap()
    }

    /// Asks with a JWT. Returns the status, and the body.
    async fn ask(&self, token: &str) -> (u16, Value) {
        let response = self.send(&asking(token)).await;
        (response.status, serde_json::from_str(&response.body).unwrap())
    }

    async fn token(&self, provider: &Provider, claims: &Value) -> String {
        let (status, body) = self.ask(&provider.good(claims)).await;
        assert_eq!(status, 200, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }

    fn credentials(&self, token: &str) -> CredentialProvider {
        let provider = CredentialProvider::from_disposable_token(token).unwrap();
        provider.insecure_endpoint_override(&self.momento.endpoint())
    }
}

pub(crate) fn environment(momento: &MomentoLocal, file: &str) -> Vec<(String, String)> {
    let settings = [
        ("MOMENTO_API_KEY", "local"),
        ("MOMENTO_ENDPOINT", &momento.endpoint()),
        ("TOKENS_CONFIG", file),
        ("PORT", "0"),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

#[tokio::test]
async fn only_a_valid_jwt_gets_a_token() {
    let provider = Provider::start().await;
    let function = Running::start(&provider.file()).await;
    let (es, rs) = (r#"{"alg":"ES256","kid":"ec"}"#, r#"{"alg":"RS256","kid":"rsa"}"#);
    let text = person().to_string();
    let now = seconds();
    let stranger = Provider::start().await;
    let hs = |key: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        move |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec()
    };
    let modulus = provider.rsa.public_key().modulus().big_endian_without_leading_zero().to_vec();
    let cut = |token: String| token.rsplit_once('.').unwrap().0.to_owned();
    let twice = |member: &str| format!("{{{member},{}", text.trim_start_matches('{'));
    let table = [
        ("not a JWT", "x".to_owned(), "proof_malformed"),
        ("two parts", cut(provider.ec(es, &text)), "proof_malformed"),
        ("five parts, as an encrypted one", "a.b.c.d.e".to_owned(), "proof_malformed"),
        ("huge", provider.good(&with("padding", json!("x".repeat(9_000)))), "proof_too_large"),
        ("alg none", jwt(r#"{"alg":"none"}"#, &text, |_| Vec::new()), "algorithm_not_allowed"),
        ("alg None", jwt(r#"{"alg":"None","kid":"ec"}"#, &text, |_| Vec::new()), "algorithm_not_allowed"),
        ("no alg", provider.ec(r#"{"kid":"ec"}"#, &text), "algorithm_not_allowed"),
        (
            "HS256 by the public key",
            jwt(r#"{"alg":"HS256","kid":"rsa"}"#, &text, hs(&modulus)),
            "algorithm_not_allowed",
        ),
        (
            "HS256 by a shared key",
            jwt(r#"{"alg":"HS256","kid":"shared"}"#, &text, hs(b"a shared secret")),
            "algorithm_not_allowed",
        ),
        ("RS256 by an EC key", provider.rsa(r#"{"alg":"RS256","kid":"ec"}"#, &text), "algorithm_not_allowed"),
        (
            "ES256 by an RSA key",
            provider.ec(r#"{"alg":"ES256","kid":"rsa"}"#, &text),
            "algorithm_not_allowed",
        ),
        (
            "algorithm off the list",
            provider.rsa(r#"{"alg":"RS512","kid":"rsa"}"#, &text),
            "algorithm_not_allowed",
        ),
        ("no kid", provider.ec(r#"{"alg":"ES256"}"#, &text), "key_unknown"),
        ("unknown kid", provider.ec(r#"{"alg":"ES256","kid":"gone"}"#, &text), "key_unknown"),
        ("symmetric key of the set", provider.ec(r#"{"alg":"ES256","kid":"shared"}"#, &text), "key_unknown"),
        ("kid of another type", provider.ec(r#"{"alg":"ES256","kid":7}"#, &text), "proof_malformed"),
        ("kid twice", provider.ec(r#"{"alg":"ES256","kid":"gone","kid":"ec"}"#, &text), "proof_malformed"),
        (
            "crit",
            provider.ec(r#"{"alg":"ES256","kid":"ec","crit":["b64"],"b64":false}"#, &text),
            "proof_malformed",
        ),
        ("key of a stranger", stranger.ec(es, &text), "signature_wrong"),
        ("RSA key of a stranger", stranger.rsa(rs, &text), "signature_wrong"),
        ("no signature", format!("{}.", cut(provider.ec(es, &text))), "signature_wrong"),
        (
            "signature of other claims",
            {
                let other = provider.good(&with("sub", json!("bob")));
                format!("{}.{}", cut(provider.ec(es, &text)), other.rsplit_once('.').unwrap().1)
            },
            "signature_wrong",
        ),
        ("expired", provider.good(&with("exp", json!(now - 60))), "proof_expired"),
        ("no exp", provider.good(&without("exp")), "claim_invalid"),
        ("exp of another type", provider.good(&with("exp", json!("9999999999"))), "claim_invalid"),
        ("not yet valid", provider.good(&with("nbf", json!(now + 300))), "proof_not_yet_valid"),
        ("nbf of another type", provider.good(&with("nbf", json!("0"))), "claim_invalid"),
        ("wrong issuer", provider.good(&with("iss", json!("https://evil.example.com/"))), "issuer_wrong"),
        (
            "issuer without its slash",
            provider.good(&with("iss", json!("https://login.example.com"))),
            "issuer_wrong",
        ),
        ("no issuer", provider.good(&without("iss")), "claim_invalid"),
        ("wrong audience", provider.good(&with("aud", json!("chat2"))), "audience_wrong"),
        ("no audience", provider.good(&without("aud")), "audience_wrong"),
        ("empty audience", provider.good(&with("aud", json!([]))), "audience_wrong"),
        ("claim twice", provider.ec(es, &twice(r#""sub":"root""#)), "proof_malformed"),
        ("exp twice", provider.ec(es, &twice(r#""exp":1"#)), "proof_malformed"),
        ("claims that are a list", provider.ec(es, "[]"), "proof_malformed"),
        ("claims that are not JSON", provider.ec(es, "x"), "proof_malformed"),
    ];
    for (case, token, code) in table {
        let (status, body) = function.ask(&token).await;
        assert_eq!((status, &body["code"]), (401, &json!(code)), "{case}: {body}");
        assert_eq!(body.get("token"), None, "{case}: {body}");
    }
}

#[tokio::test]
async fn good_jwt_gets_a_token_in_one_bearer_header_only() {
    let provider = Provider::start().await;
    let function = Running::start(&provider.file()).await;
    let text = person().to_string();
    for wrong in [
        &[][..],
        &[("authorization", "")],
        &[("authorization", "Basic YTpi")],
        &[("authorization", "Bearer")],
    ] {
        let response = function.send(&request(wrong)).await;
        assert_eq!(response.status, 401, "{wrong:?} {}", response.body);
        assert_eq!(header(&response, "www-authenticate"), Some("Bearer"));
    }
    let good = format!("Bearer {}", provider.good(&person()));
    let two = function.send(&request(&[("authorization", &good), ("authorization", &good)])).await;
    assert_eq!(two.status, 401, "{}", two.body);
    for (case, token) in [
        ("EC", provider.good(&person())),
        ("RSA", provider.rsa(r#"{"alg":"RS256","kid":"rsa"}"#, &text)),
        ("one of several audiences", provider.good(&with("aud", json!(["x", "other"])))),
        ("a clock that is 10 s behind", provider.good(&with("exp", json!(seconds() - 10)))),
    ] {
        let (status, body) = function.ask(&token).await;
        assert_eq!(status, 200, "{case}: {body}");
    }
}

#[tokio::test]
async fn claims_without_profile_or_with_hostile_values_get_nothing() {
    let provider = Provider::start().await;
    let function = Running::start(&provider.file()).await;
    for (claims, code) in [
        (with("plan", json!("PAID")), "no_profile"),
        (without("plan"), "no_profile"),
        (without("room"), "claim_unusable"),
        (with("room", json!("")), "claim_unusable"),
        (with("room", json!("*")), "claim_unusable"),
        (with("room", json!("lobby-subscribe-es")), "claim_unusable"),
        (with("sub", json!("ann:admin")), "claim_unusable"),
        (with("sub", json!("ann\u{200b}")), "claim_unusable"),
        (with("room", json!({"a": "lobby"})), "claim_unusable"),
        (with("sub", json!("x".repeat(65))), "token_id_too_long"),
        (with("languages", json!((0..60).collect::<Vec<_>>())), "claim_unusable"),
    ] {
        let (status, body) = function.ask(&provider.good(&claims)).await;
        assert_eq!((status, &body["code"]), (403, &json!(code)), "{claims} {body}");
    }
}

#[tokio::test]
async fn provider_that_is_away_or_slow_gives_503() {
    let provider = Provider::start().await;
    for (case, response) in [
        ("500", Some("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned())),
        ("a redirect", Some("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".to_owned())),
        ("no keys", Some("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"keys\":[]}".to_owned())),
        ("huge", Some(format!("HTTP/1.1 200 OK\r\n\r\n{{\"keys\":[\"{}\"]}}", "x".repeat(200_000)))),
        ("hangs", None),
    ] {
        *provider.response.lock().unwrap() = response;
        let function = Running::start(&provider.file()).await;
        let response = function.send(&asking(&provider.good(&person()))).await;
        assert_eq!(response.status, 503, "{case}: {}", response.body);
        assert!(response.body.contains("keys_unavailable"), "{case}: {}", response.body);
        assert!(header(&response, "retry-after").is_some(), "{case}");
    }
}

#[tokio::test]
async fn response_and_audit_record_say_what_was_issued() {
    let provider = Provider::start().await;
    let function = Running::start(&provider.file()).await;
    let proof = provider.good(&person());
    let response = function.send(&asking(&proof)).await;
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    let body: Value = serde_json::from_str(&response.body).unwrap();
    let expires_at = body["expires_at"].as_u64().unwrap();
    assert!((seconds() + 590..=seconds() + 600).contains(&expires_at), "{body}");
    assert_eq!(body["token_id"], "ann");
    let topic = |topic, publish, subscribe| json!({"cache": "demo", "topic": topic, "publish": publish, "subscribe": subscribe});
    assert_eq!(
        body["topics"],
        json!([
            topic("lobby-publish", true, false),
            topic("lobby-subscribe-es", false, true),
            topic("lobby-subscribe-de", false, true),
        ])
    );
    let record = function.process.wait_for_line(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["outcome"] == "issued").then_some(line)
    });
    let record = record.await.unwrap();
    assert_eq!((&record["token_id"], &record["profile"]), (&json!("ann"), &json!("member")));
    assert_eq!(record["expires_at"], expires_at);
    assert_eq!(record["permissions"][0], "publish demo/lobby-publish");
    assert_eq!((&record["Issued"], &record["Refused"], &record["Failed"]), (&json!(1), &json!(0), &json!(0)));
    let token = body["token"].as_str().unwrap();
    for line in function.process.output() {
        assert!(!line.contains(token) && !line.contains(&proof), "{line}");
    }
}

/// Every call that a token must not make is refused, and each that it may make succeeds.
#[tokio::test]
async fn token_allows_what_its_profile_says_and_nothing_else() {
    let provider = Provider::start().await;
    let function = Running::start(&provider.file()).await;
    let member = function.token(&provider, &person()).await;
    let guest = function.token(&provider, &with("plan", json!("free"))).await;
    let bob = function.token(&provider, &with("sub", json!("an"))).await;
    let (publish, subscribe) = (&["lobby-publish"][..], &["lobby-subscribe-es", "lobby-subscribe-de"][..]);
    let keys =
        ["user:ann:name", "user:ann:", "user:anna:name", "user:an:name", "user:ann", "user:", "motd", "x"];
    let anns = &["user:ann:name", "user:ann:"][..];
    for (who, token, may_publish, may_subscribe, may_read, may_write) in [
        ("member", member, publish, subscribe, &["user:ann:name", "user:ann:", "motd"][..], anns),
        ("guest", guest, &[][..], &["lobby-subscribe-en"][..], &[][..], &[][..]),
        (
            "person whose name begins another's",
            bob,
            publish,
            subscribe,
            &["user:an:name", "motd"],
            &["user:an:name"],
        ),
    ] {
        let topics = TopicClient::builder().configuration(TopicLaptop::latest());
        let topics = topics.credential_provider(function.credentials(&token)).build().unwrap();
        let caches =
            CacheClient::builder().default_ttl(Duration::from_mins(1)).configuration(CacheLaptop::latest());
        let caches = caches.credential_provider(function.credentials(&token)).build().unwrap();
        let names = [
            "lobby-publish",
            "lobby-subscribe-es",
            "lobby-subscribe-de",
            "lobby-subscribe-en",
            "lobby",
            "other-publish",
            "lobby-publish-2",
            "Lobby-publish",
        ];
        for (cache, name) in ["demo", "other"].into_iter().flat_map(|cache| names.map(|name| (cache, name))) {
            let is = |list: &[&str]| cache == "demo" && list.contains(&name);
            let published = is_allowed(topics.publish(cache, name, "hello").await);
            assert_eq!(published, is(may_publish), "{who} publishes to {cache}/{name}");
            let subscribed = is_allowed(topics.subscribe(cache, name).await);
            assert_eq!(subscribed, is(may_subscribe), "{who} subscribes to {cache}/{name}");
        }
        for (cache, key) in ["demo", "other"].into_iter().flat_map(|cache| keys.map(|key| (cache, key))) {
            let is = |list: &[&str]| cache == "demo" && list.contains(&key);
            assert_eq!(is_allowed(caches.get(cache, key).await), is(may_read), "{who} reads {cache}/{key}");
            assert_eq!(
                is_allowed(caches.set(cache, key, "1").await),
                is(may_write),
                "{who} writes {cache}/{key}"
            );
            let both = is(may_read) && is(may_write);
            assert_eq!(
                is_allowed(caches.delete(cache, key).await),
                is(may_write),
                "{who} deletes {cache}/{key}"
            );
            assert_eq!(is_allowed(caches.set_if_absent(cache, key, "1").await), both, "{who} {cache}/{key}");
        }
        assert!(!is_allowed(caches.create_cache("new").await), "{who}");
        assert!(!is_allowed(caches.flush_cache("demo").await), "{who}");
    }
    let published = function.momento.published("demo", "lobby-publish");
    let ids: Vec<_> = published.iter().map(|message| message.publisher_id.as_str()).collect();
    assert_eq!(ids, ["ann", "an"]);
}

fn is_allowed<T>(result: MomentoResult<T>) -> bool {
    match result.map_err(|error| error.error_code) {
        Ok(_) => true,
        Err(MomentoErrorCode::PermissionError) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn token_of_moderated_profile_may_not_publish() {
    let provider = Provider::start().await;
    let file = provider.file().replace("publish = [", "moderated = true\npublish = [");
    let file = format!(
        "{file}\n[[profiles]]\nname = 'writer'\ntoken_id = '{{claims.sub}}'\ncache = 'demo'\nmoderated = true\npublish = ['a']"
    );
    let function = Running::start(&file).await;
    let (status, body) = function.ask(&provider.good(&person())).await;
    assert_eq!(status, 200, "{body}");
    let topics = body["topics"].as_array().unwrap();
    assert_eq!(topics.len(), 2, "{body}");
    assert!(topics.iter().all(|topic| topic["publish"] == false), "{body}");
    let token = body["token"].as_str().unwrap();
    let topics = TopicClient::builder().configuration(TopicLaptop::latest());
    let topics = topics.credential_provider(function.credentials(token)).build().unwrap();
    assert!(!is_allowed(topics.publish("demo", "lobby-publish", "hello").await));
    assert!(is_allowed(topics.subscribe("demo", "lobby-subscribe-es").await));
    let (status, body) = function.ask(&provider.good(&with("plan", json!("none")))).await;
    assert_eq!((status, &body["code"]), (403, &json!("nothing_allowed")), "{body}");
}

#[tokio::test]
async fn browser_may_ask_from_a_page_on_the_list_only() {
    let provider = Provider::start().await;
    let function = Running::start(&provider.file()).await;
    let proof = format!("Bearer {}", provider.good(&person()));
    let origin = "https://chat.example.com";
    let preflight = |origin| RawRequest {
        method: "OPTIONS".to_owned(),
        ..request(&[("origin", origin), ("access-control-request-method", "POST")])
    };
    let response = function.send(&preflight(origin)).await;
    assert_eq!((response.status, header(&response, "access-control-allow-origin")), (204, Some(origin)));
    assert_eq!(header(&response, "vary"), Some("origin"));
    let response = function.send(&request(&[("origin", origin), ("authorization", &proof)])).await;
    assert_eq!((response.status, header(&response, "access-control-allow-origin")), (200, Some(origin)));
    for other in [
        "https://chat.example.com.evil.com",
        "http://chat.example.com",
        "null",
        "*",
        "https://CHAT.example.com",
    ] {
        for request in [preflight(other), request(&[("origin", other), ("authorization", &proof)])] {
            let response = function.send(&request).await;
            assert_eq!(response.status, 403, "{other} {}", response.body);
            assert_eq!(header(&response, "access-control-allow-origin"), None, "{other}");
        }
    }
    for (method, path, status) in [
        ("GET", "/token", 405),
        ("PUT", "/token", 405),
        ("POST", "/tokens", 404),
        ("GET", "/health", 200),
        ("POST", "/prod/token", 200),
    ] {
        let request = RawRequest {
            method: method.to_owned(),
            path: Some(path),
            ..request(&[("authorization", &proof)])
        };
        let response = function.send(&request).await;
        assert_eq!(response.status, status, "{method} {path}: {}", response.body);
    }
    let huge = RawRequest { body: vec![b'x'; 20_000].into(), ..request(&[("authorization", &proof)]) };
    assert_eq!(function.send(&huge).await.status, 413);
}

#[tokio::test]
async fn person_gets_so_many_tokens_a_minute() {
    let provider = Provider::start().await;
    let function = Running::start(&provider.file().replace("= 1000", "= 2")).await;
    let ann = provider.good(&person());
    assert_eq!([function.ask(&ann).await.0, function.ask(&ann).await.0], [200, 200]);
    let response = function.send(&asking(&ann)).await;
    assert_eq!(response.status, 429, "{}", response.body);
    assert!(header(&response, "retry-after").is_some());
    assert_eq!(function.ask(&provider.good(&with("sub", json!("bob")))).await.0, 200);
}

#[tokio::test]
async fn momento_that_is_away_gives_503_and_one_that_refuses_502() {
    let provider = Provider::start().await;
    let function = Running::start(&provider.file()).await;
    let ann = provider.good(&person());
    function.momento.block();
    let (status, body) = function.ask(&ann).await;
    assert_eq!((status, &body["code"]), (503, &json!("not_issued")), "{body}");
    function.momento.unblock();
    assert_eq!(function.ask(&ann).await.0, 200);

    let file = provider.file();
    let mut environment = environment(&function.momento, &file);
    environment.push(("MOMENTO_API_KEY".to_owned(), "another".to_owned()));
    let process = Process::start(env!("CARGO_BIN_EXE_token").as_ref(), environment).unwrap();
    let port = listening(&process).await;
    let response = HttpClient::http1().send(([127, 0, 0, 1], port).into(), &asking(&ann)).await.unwrap();
    assert_eq!(response.status, 502, "{}", response.body);
}

#[tokio::test]
async fn gateway_proves_who_asks_and_nobody_else_can() {
    let file = |authorizer| format!("[gateway]\nauthorizer = \"{authorizer}\"\n{PROFILES}");
    let momento = || async { MomentoLocal::builder().cache("demo").start().await.unwrap() };
    let claims = json!({"sub": "ann", "plan": "paid", "room": "lobby", "languages": "es"});
    let forged = request(&[("authorization", "Bearer x"), ("x-amzn-oidc-data", "x")]);
    for (gateway, authorizer, context) in [
        (Gateway::HttpApi, "jwt", json!({"jwt": {"claims": claims}})),
        (Gateway::RestApi, "jwt", json!({"claims": claims})),
        (Gateway::HttpApi, "lambda", json!({"lambda": claims})),
        (Gateway::RestApi, "lambda", claims.clone()),
    ] {
        let momento = momento().await;
        let runtime_api = RuntimeApi::start().await.unwrap();
        let environment =
            environment(&momento, &file(authorizer)).into_iter().chain(runtime_api.environment());
        let process = Process::start(env!("CARGO_BIN_EXE_token").as_ref(), environment).unwrap();
        let function = Function::over(momento, process, Some(runtime_api), 0);
        let status = |response: Value| response["statusCode"].as_u64().unwrap();
        let mut payload = gateway.payload(&forged, false).unwrap();
        payload["requestContext"]["authorizer"] = context.clone();
        let response = function.invoke(payload.to_string().into_bytes()).await;
        assert_eq!(status(response.clone()), 200, "{gateway:?} {response}");
        for nothing in [json!(null), json!({}), json!({"other": {}})] {
            payload["requestContext"]["authorizer"] = nothing;
            let response = function.invoke(payload.to_string().into_bytes()).await;
            assert!([401, 403].contains(&status(response.clone())), "{gateway:?} {response}");
        }
        let mut balancer = Gateway::LoadBalancer.payload(&forged, false).unwrap();
        balancer["requestContext"]["authorizer"] = context;
        let response = function.invoke(balancer.to_string().into_bytes()).await;
        assert_eq!(status(response.clone()), 401, "{response}");
    }
    // Outside Lambda no gateway has verified anything.
    let function = Running::start(&file("jwt")).await;
    assert_eq!(function.send(&forged).await.status, 401);
}

#[tokio::test]
async fn faults_of_settings_are_reported_together_and_show_no_value() {
    let settings = [
        ("MOMENTO_API_KEY", ""),
        ("TOKENS_CONFIG", "[jwt]\nisuer = 's3cr3t'"),
        ("PORT", "x"),
        ("METRICS_ADDRESS", "127.0.0.1:0"),
    ];
    let mut process = Process::start(env!("CARGO_BIN_EXE_token").as_ref(), settings).unwrap();
    assert!(!process.ended().await.unwrap().success());
    let output = process.output().join("\n");
    for part in [
        "MOMENTO_API_KEY: is not set",
        "TOKENS_CONFIG: 2:1: unknown key `isuer`; did you mean `issuer`?",
        "has no profiles",
        "PORT: ",
        "METRICS_ADDRESS: is for the function `webhook`; leave it out",
    ] {
        assert!(output.contains(part), "{part}\n{output}");
    }
    assert!(!output.contains("s3cr3t"), "{output}");
}

pub(crate) fn header<'r>(response: &'r HttpResponse, name: &str) -> Option<&'r str> {
    response.headers.get(name).map(String::as_str)
}
