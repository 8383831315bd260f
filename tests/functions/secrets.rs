//! Secrets in AWS: the real binary with the real SDK, against a service on this machine.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use momento_local::{Fault, MomentoLocal, Rpc};
use serde_json::json;
use test_support::gateway::Gateway;
use test_support::process::{Process, TIMEOUT};
use test_support::runtime_api::{Invoked, RuntimeApi};
use test_support::secrets_server::{SecretRequest, SecretsServer};
use test_support::signed::{self, RawRequest};
use test_support::{AwsResponse, HttpResponse};
use tokio::time::timeout;
use tonic::Code;

use crate::support::{BOTH, CACHE, Function, INBOUND, OUTBOUND, Transport, listening, program, settings};

const OLD: &str = "the 0ld secret";
const NEW: &str = "the n3w secret";
const OLD_KEY: &str = "the-0ld-key";
const NEW_KEY: &str = "the-n3w-key";

/// The `code` of a request that may be genuine.
const UNDECIDED: Option<&str> = Some("signature_undecided");

/// Settings that name both values in one secret.
const IN_ONE: [(&str, &str); 2] =
    [("MOMENTO_API_KEY_SECRET_ID", "chat/keys#momento"), ("WEBHOOK_SIGNING_SECRET_ID", "chat/keys#webhook")];

fn in_one(key: &str, secret: &str) -> String {
    json!({"momento": key, "webhook": secret}).to_string()
}

/// Returns the settings of a function whose secrets are in AWS.
fn environment(endpoint: &str, secrets: &SecretsServer, with: &[(&str, &str)]) -> Vec<(String, String)> {
    let given = [("MOMENTO_API_KEY", ""), ("WEBHOOK_SIGNING_SECRET", ""), ("RUST_LOG", "trace")];
    let mut environment = settings(endpoint, &[&given, with].concat());
    environment.extend(secrets.environment());
    environment
}

/// Starts a function, and a local Momento that accepts only `key`.
async fn start(transport: Transport, key: &str, secrets: &SecretsServer, with: &[(&str, &str)]) -> Function {
    let momento = MomentoLocal::builder().cache(CACHE).api_key(key).start().await.unwrap();
    let mut environment = environment(&momento.endpoint(), secrets, with);
    if let Transport::Lambda(..) = transport {
        let runtime_api = RuntimeApi::start().await.unwrap();
        environment.extend(runtime_api.environment());
        let process = Process::start(program(), environment).unwrap();
        // Polling starts after all secrets are fetched.
        timeout(TIMEOUT, runtime_api.wait_for_pollers(1)).await.expect("it starts");
        return Function::over(momento, process, Some(runtime_api), 0);
    }
    let process = Process::start(program(), environment).unwrap();
    let port = listening(&process).await;
    Function::over(momento, process, None, port)
}

/// Sends an event signed with `secret`.
async fn deliver(
    function: &Function,
    transport: Transport,
    secret: &str,
    number: u64,
    text: &str,
) -> HttpResponse {
    let event = signed::event(CACHE, INBOUND, number, text);
    function.send(transport, &signed::post(secret, event.to_json()).unwrap()).await
}

fn secret(id: &str, stage: &str) -> SecretRequest {
    SecretRequest::Secret { id: id.to_owned(), stage: stage.to_owned() }
}

/// Checks that a function asks for the next invocation only when a fetch that takes 300 ms has ended. The environment may
/// stop then.
async fn is_fetched_before_next_invocation(function: &Function, secrets: &SecretsServer) {
    assert_eq!(secrets.requests().len(), 1, "the response does not wait");
    let runtime_api = function.runtime_api.as_ref().unwrap();
    timeout(TIMEOUT, runtime_api.wait_for_pollers(1)).await.expect("it asks for the next invocation");
    assert_eq!(secrets.requests().len(), 2);
}

fn shows_no_secret(function: &Function) {
    let output = function.process.output().join("\n");
    for hidden in [OLD, NEW, OLD_KEY, NEW_KEY] {
        assert!(!output.contains(hidden), "{hidden} in {output}");
    }
}

/// Returns the output of a function that cannot start.
async fn ends(secrets: &SecretsServer, with: &[(&str, &str)]) -> String {
    let mut process = Process::start(program(), environment("http://127.0.0.1:1", secrets, with)).unwrap();
    let status = process.ended().await.unwrap();
    let output = process.output().join("\n");
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(!output.contains(OLD) && !output.contains(OLD_KEY), "{output}");
    output
}

#[tokio::test]
async fn fetches_one_secret_with_both_values_once() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
        for number in 1..4 {
            let response = deliver(&function, transport, OLD, number, "hello").await;
            assert_eq!(response.status, 200, "{transport:?}: {}", response.body);
        }
        assert_eq!(function.published(OUTBOUND), ["HELLO", "HELLO", "HELLO"]);
        assert_eq!(secrets.requests(), [secret("chat/keys", "AWSCURRENT")]);
        shows_no_secret(&function);
    }
}

#[tokio::test]
async fn decrypts_parameters_and_accepts_their_previous_version() {
    let transport = BOTH[0];
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("/chat/momento", OLD_KEY);
    secrets.put("/chat/keys", &json!({"webhook": OLD}).to_string());
    secrets.put("/chat/keys", &json!({"webhook": NEW}).to_string());
    let with = [
        ("MOMENTO_API_KEY_SECRET_ID", "ssm:/chat/momento"),
        ("WEBHOOK_SIGNING_SECRET_ID", "ssm:/chat/keys#webhook"),
    ];
    let function = start(transport, OLD_KEY, &secrets, &with).await;
    for (number, secret) in [(1, NEW), (2, OLD)] {
        let response = deliver(&function, transport, secret, number, "hello").await;
        assert_eq!(response.status, 200, "{}", response.body);
    }
    let asked = |name: &str| {
        let name = name.to_owned();
        secrets.requests().contains(&SecretRequest::Parameter { name, with_decryption: true })
    };
    for name in ["/chat/momento", "/chat/keys", "/chat/keys:1"] {
        assert!(asked(name), "{name} in {:?}", secrets.requests());
    }
    assert_eq!(
        secrets.requests().len(),
        4,
        "the previous version is fetched when its signature is not known"
    );
    shows_no_secret(&function);
}

#[tokio::test]
async fn accepts_previous_secret_of_the_environment_beside_a_stored_one() {
    let transport = BOTH[0];
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/webhook", NEW);
    let with = [
        ("MOMENTO_API_KEY", OLD_KEY),
        ("WEBHOOK_SIGNING_SECRET_ID", "chat/webhook"),
        ("WEBHOOK_SIGNING_SECRET_PREVIOUS", OLD),
    ];
    let function = start(transport, OLD_KEY, &secrets, &with).await;
    for (number, secret) in [(1, NEW), (2, OLD)] {
        assert_eq!(deliver(&function, transport, secret, number, "hello").await.status, 200);
    }
}

/// Momento makes a secret for each of its webhooks.
#[tokio::test]
async fn accepts_each_secret_of_a_list() {
    let transport = BOTH[0];
    let list = |secrets: &[&str]| json!({"momento": OLD_KEY, "webhooks": secrets}).to_string();
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/keys", &list(&["first", "second"]));
    let with = [
        ("MOMENTO_API_KEY_SECRET_ID", "chat/keys#momento"),
        ("WEBHOOK_SIGNING_SECRET_ID", "chat/keys#webhooks"),
        ("WEBHOOK_SIGNING_SECRET_PREVIOUS", r#"["older","oldest"]"#),
    ];
    let function = start(transport, OLD_KEY, &secrets, &with).await;
    for (number, secret) in [(1, "first"), (2, "second"), (3, "older"), (4, "oldest")] {
        let response = deliver(&function, transport, secret, number, "hello").await;
        assert_eq!(response.status, 200, "{secret}: {}", response.body);
    }
    // One secret of the list is rotated. Those of the list before are accepted as well.
    secrets.put("chat/keys", &list(&["first", "third"]));
    for (number, secret) in [(5, "third"), (6, "second"), (7, "first")] {
        let response = deliver(&function, transport, secret, number, "hello").await;
        assert_eq!(response.status, 200, "{secret}: {}", response.body);
    }
    assert_eq!(secrets.requests().len(), 3, "fetched at start, and once more");
    assert_eq!(deliver(&function, transport, &list(&["first", "third"]), 8, "hello").await.status, 403);
}

#[tokio::test]
async fn keeps_secrets_when_new_list_is_invalid() {
    let transport = BOTH[0];
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/keys", r#"["first"]"#);
    let with = [("MOMENTO_API_KEY", OLD_KEY), ("WEBHOOK_SIGNING_SECRET_ID", "chat/keys")];
    let function = start(transport, OLD_KEY, &secrets, &with).await;
    secrets.put("chat/keys", r#"["first", "second", "second"]"#);
    let response = deliver(&function, transport, "second", 1, "hello").await;
    assert_eq!((response.status, response.json()["code"].as_str()), (503, UNDECIDED));
    assert_eq!(deliver(&function, transport, "first", 2, "hello").await.status, 200);
    let said = "secret number 3 is the same as number 2";
    assert!(function.process.output().iter().any(|line| line.contains(said)));
}

#[tokio::test]
async fn reports_all_unusable_secrets_at_start() {
    let secrets = SecretsServer::start().await.unwrap();
    secrets.fail("closed", AwsResponse::error(400, "AccessDeniedException"));
    secrets.fail("/closed", AwsResponse::error(400, "AccessDeniedException"));
    secrets.put("plain", OLD);
    secrets.put("object", &in_one(OLD_KEY, OLD));
    secrets.put_bytes("bytes", OLD.as_bytes());
    secrets.put("line", "the-0ld\nkey");
    for (key, secret, said) in [
        (
            "none",
            "closed",
            [
                "MOMENTO_API_KEY_SECRET_ID: secret none: not found in this account and region",
                "WEBHOOK_SIGNING_SECRET_ID: secret closed: not allowed: it needs secretsmanager:GetSecretValue, and kms:Decrypt",
            ],
        ),
        (
            "plain#momento",
            "object#other",
            [
                "MOMENTO_API_KEY_SECRET_ID: secret plain is not a JSON object, which it has to be for #momento",
                "WEBHOOK_SIGNING_SECRET_ID: secret object has no member \"other\"",
            ],
        ),
        (
            "ssm:/none",
            "ssm:/closed",
            [
                "MOMENTO_API_KEY_SECRET_ID: parameter /none: not found in this account",
                "WEBHOOK_SIGNING_SECRET_ID: parameter /closed: not allowed: it needs ssm:GetParameter",
            ],
        ),
        (
            "line",
            "bytes",
            [
                "MOMENTO_API_KEY_SECRET_ID: contains the invisible character U+000A",
                "WEBHOOK_SIGNING_SECRET_ID: secret bytes: is binary; expected a text",
            ],
        ),
    ] {
        let with = [("MOMENTO_API_KEY_SECRET_ID", key), ("WEBHOOK_SIGNING_SECRET_ID", secret)];
        let output = ends(&secrets, &with).await;
        for line in said {
            assert!(output.contains(line), "{line} in {output}");
        }
    }
}

/// Editors, shells and consoles add such characters.
#[tokio::test]
async fn ignores_invisible_characters_around_stored_secrets() {
    let transport = BOTH[0];
    for invisible in ["\u{feff}", "\u{200b}", "\r\n"] {
        let around = |text: &str| format!("{invisible}{text}{invisible}");
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &around(&in_one(&around(OLD_KEY), "unused")));
        secrets.put("chat/webhook", &around(OLD));
        let with = [
            ("MOMENTO_API_KEY_SECRET_ID", "chat/keys#momento"),
            ("WEBHOOK_SIGNING_SECRET_ID", &around("chat/webhook")),
        ];
        let function = start(transport, OLD_KEY, &secrets, &with).await;
        let response = deliver(&function, transport, OLD, 1, "hello").await;
        assert_eq!(response.status, 200, "{invisible:?}: {}", response.body);
        // The same holds for a later version.
        secrets.put("chat/webhook", &around(NEW));
        let response = deliver(&function, transport, NEW, 2, "hello").await;
        assert_eq!(response.status, 200, "{invisible:?}: {}", response.body);
        shows_no_secret(&function);
    }
}

#[tokio::test]
async fn stops_waiting_at_start_for_service_that_does_not_respond() {
    let secrets = SecretsServer::start().await.unwrap();
    secrets.fail("chat/keys", AwsResponse::Hang);
    secrets.fail("/chat/webhook", AwsResponse::Hang);
    let ids =
        [("MOMENTO_API_KEY_SECRET_ID", "chat/keys"), ("WEBHOOK_SIGNING_SECRET_ID", "ssm:/chat/webhook")];
    let begun = Instant::now();
    let output = ends(&secrets, &ids).await;
    for said in [
        "MOMENTO_API_KEY_SECRET_ID: secret chat/keys: no response in time",
        "WEBHOOK_SIGNING_SECRET_ID: parameter /chat/webhook: no response in time",
    ] {
        assert!(output.contains(said), "{said} in {output}");
    }
    assert!(begun.elapsed() < Duration::from_secs(9), "both are waited for at once");
}

#[tokio::test]
async fn fetches_nothing_when_secrets_are_in_the_environment() {
    let transport = BOTH[0];
    let secrets = SecretsServer::start().await.unwrap();
    let with = [("MOMENTO_API_KEY", OLD_KEY), ("WEBHOOK_SIGNING_SECRET", OLD)];
    let function = start(transport, OLD_KEY, &secrets, &with).await;
    assert_eq!(deliver(&function, transport, OLD, 1, "hello").await.status, 200);
    assert_eq!(deliver(&function, transport, NEW, 2, "hello").await.status, 403);
    assert_eq!(secrets.requests(), []);
}

#[tokio::test]
async fn rotation_of_signing_secret_loses_nothing() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
        assert_eq!(deliver(&function, transport, OLD, 1, "one").await.status, 200);
        secrets.put("chat/keys", &in_one(OLD_KEY, NEW));
        for (number, secret, text) in [(2, OLD, "two"), (3, NEW, "three"), (4, OLD, "four"), (5, NEW, "five")]
        {
            let response = deliver(&function, transport, secret, number, text).await;
            assert_eq!(response.status, 200, "{transport:?} {text}: {}", response.body);
        }
        assert_eq!(function.published(OUTBOUND), ["ONE", "TWO", "THREE", "FOUR", "FIVE"]);
        assert_eq!(secrets.requests().len(), 3, "fetched at start, and once more");
        shows_no_secret(&function);
    }
}

#[tokio::test]
async fn fetches_again_within_seconds_after_failed_fetch() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
        secrets.fail("chat/keys", AwsResponse::error(400, "AccessDeniedException"));
        let response = deliver(&function, transport, NEW, 1, "one").await;
        assert_eq!((response.status, response.json()["code"].as_str()), (503, UNDECIDED), "{transport:?}");
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        secrets.put("chat/keys", &in_one(OLD_KEY, NEW));
        let (begun, mut number) = (Instant::now(), 2);
        while deliver(&function, transport, NEW, number, "again").await.status != 200 {
            assert!(begun.elapsed() < Duration::from_secs(20), "{transport:?}");
            number += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(deliver(&function, transport, OLD, number + 1, "old").await.status, 200, "{transport:?}");
        shows_no_secret(&function);
    }
}

async fn ready(function: &Function, transport: Transport) -> HttpResponse {
    let path = Some("/health/ready");
    let request = RawRequest { method: "GET".to_owned(), path, headers: Vec::new(), body: Vec::new().into() };
    function.send(transport, &request).await
}

#[tokio::test]
async fn is_ready_unless_last_fetch_failed() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
        assert_eq!(ready(&function, transport).await.status, 200, "{transport:?}");
        secrets.fail("chat/keys", AwsResponse::error(400, "AccessDeniedException"));
        assert_eq!(deliver(&function, transport, NEW, 1, "one").await.status, 503, "{transport:?}");
        let response = ready(&function, transport).await;
        assert_eq!((response.status, response.json()["code"].as_str()), (503, Some("secrets_unreadable")));
        assert!(!response.body.contains("chat/keys"), "{}", response.body);
        assert_eq!(deliver(&function, transport, OLD, 2, "two").await.status, 200, "it works on");
    }
}

/// A deployment invokes a new version, and shows what is wrong with it.
#[tokio::test]
async fn start_failure_names_unreadable_secret_to_lambda() {
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/webhook", OLD);
    let with = [("MOMENTO_API_KEY_SECRET_ID", "chat/none"), ("WEBHOOK_SIGNING_SECRET_ID", "chat/webhook")];
    let runtime_api = RuntimeApi::start().await.unwrap();
    let mut environment = environment("http://127.0.0.1:1", &secrets, &with);
    environment.extend(runtime_api.environment());
    let mut process = Process::start(program(), environment).unwrap();
    assert_eq!(process.ended().await.unwrap().code(), Some(1));
    let failure = runtime_api.start_failure().unwrap();
    let failure = String::from_utf8_lossy(&failure);
    assert!(failure.contains("MOMENTO_API_KEY_SECRET_ID: secret chat/none: not found"), "{failure}");
    assert!(!failure.contains(OLD), "{failure}");
}

#[tokio::test]
async fn responds_503_when_signature_cannot_be_decided_in_time() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/webhook", OLD);
        let with = [("MOMENTO_API_KEY", OLD_KEY), ("WEBHOOK_SIGNING_SECRET_ID", "chat/webhook")];
        let function = start(transport, OLD_KEY, &secrets, &with).await;
        secrets.fail("chat/webhook", AwsResponse::Hang);
        let begun = Instant::now();
        let response = deliver(&function, transport, NEW, 1, "one").await;
        let took = begun.elapsed();
        assert_eq!((response.status, response.json()["code"].as_str()), (503, UNDECIDED), "{transport:?}");
        assert_eq!(response.headers["retry-after"], "2");
        assert!(
            took < Duration::from_millis(3_800),
            "the fetch ends before the time for the response: {took:?}"
        );
        let line = function.log_record(|line| line["outcome"] == "signature_undecided").await;
        assert_eq!((&line["Refused"], &line["Reason"]), (&json!(1), &json!("signature_undecided")));
        // A signature that is certainly wrong gets its own response.
        secrets.put("chat/webhook", OLD);
        let (begun, mut number) = (Instant::now(), 2);
        while deliver(&function, transport, "a guess", number, "forged").await.status != 403 {
            assert!(begun.elapsed() < Duration::from_secs(20), "{transport:?}");
            number += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn responds_503_when_invocation_ends_before_fetch() {
    let (transport, gateway) = (BOTH[0], Gateway::FunctionUrl);
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/webhook", OLD);
    let with = [("MOMENTO_API_KEY", OLD_KEY), ("WEBHOOK_SIGNING_SECRET_ID", "chat/webhook")];
    let function = start(transport, OLD_KEY, &secrets, &with).await;
    secrets.put("chat/webhook", NEW);
    secrets.delay(Duration::from_millis(1_300));
    let request = signed::post(NEW, signed::event(CACHE, INBOUND, 1, "one").to_json()).unwrap();
    let payload = gateway.payload(&request, false).unwrap().to_string();
    let runtime_api = function.runtime_api.as_ref().unwrap();
    let invoked = runtime_api.invoke(payload.into_bytes().into(), Duration::from_secs(1)).await.unwrap();
    let Invoked::Response(response) = invoked else { panic!("{invoked:?}") };
    let response = gateway.http_response(&serde_json::from_slice(&response).unwrap()).unwrap();
    assert_eq!((response.status, response.json()["code"].as_str()), (503, UNDECIDED), "{}", response.body);
    // The fetch continued, and the next request joins it.
    assert_eq!(deliver(&function, transport, NEW, 1, "one").await.status, 200);
    assert_eq!(secrets.requests().len(), 3, "fetched at start, and once more");
}

/// For example, the current version is encrypted with another KMS key.
#[tokio::test]
async fn uses_current_version_when_previous_cannot_be_read() {
    let transport = BOTH[0];
    for (name, id, named, refusal, said) in [
        ("chat/keys", "chat/keys", "secret chat/keys", "AccessDeniedException", "kms:Decrypt"),
        ("chat/keys", "chat/keys", "secret chat/keys", "DecryptionFailure", "its key cannot be used"),
        ("/k", "ssm:/k", "parameter /k", "AccessDeniedException", "kms:Decrypt"),
        ("/k", "ssm:/k", "parameter /k", "InvalidKeyId", "its key cannot be used"),
        ("/k", "ssm:/k", "parameter /k", "KMS.DisabledException", "its key cannot be used"),
    ] {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put(name, "the first");
        secrets.put(name, OLD);
        secrets.fail_previous(name, AwsResponse::error(400, refusal));
        let with = [("MOMENTO_API_KEY", OLD_KEY), ("WEBHOOK_SIGNING_SECRET_ID", id)];
        let function = start(transport, OLD_KEY, &secrets, &with).await;
        assert_eq!(deliver(&function, transport, OLD, 1, "one").await.status, 200, "{id} {refusal}");
        secrets.put(name, NEW);
        assert_eq!(deliver(&function, transport, NEW, 2, "two").await.status, 200, "{id} {refusal}");
        let output = function.process.output();
        let is_it = |line: &&String| {
            let parts = ["WARN", "the version before of a secret", named, refusal, said];
            parts.iter().all(|part| line.contains(part))
        };
        assert_eq!(output.iter().filter(is_it).count(), 1, "{id} {refusal}: {output:?}");
        shows_no_secret(&function);
    }
}

#[tokio::test]
async fn uses_current_version_when_previous_hangs() {
    let transport = BOTH[0];
    for (name, id) in [("chat/keys", "chat/keys"), ("/k", "ssm:/k")] {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put(name, "the first");
        secrets.put(name, OLD);
        secrets.fail_previous(name, AwsResponse::Hang);
        let with = [("MOMENTO_API_KEY", OLD_KEY), ("WEBHOOK_SIGNING_SECRET_ID", id)];
        let function = start(transport, OLD_KEY, &secrets, &with).await;
        assert_eq!(deliver(&function, transport, OLD, 1, "one").await.status, 200, "{id}");
        secrets.put(name, NEW);
        assert_eq!(deliver(&function, transport, NEW, 2, "two").await.status, 200, "{id}");
    }
}

#[tokio::test]
async fn transient_failure_of_previous_version_loses_nothing() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("/k", "the first");
        secrets.put("/k", OLD);
        let with = [("MOMENTO_API_KEY", OLD_KEY), ("WEBHOOK_SIGNING_SECRET_ID", "ssm:/k")];
        secrets.fail_previous("/k", AwsResponse::error(400, "ThrottlingException"));
        let function = start(transport, OLD_KEY, &secrets, &with).await;
        // The version is readable again before a request needs it.
        secrets.recover_previous("/k");
        assert_eq!(deliver(&function, transport, "the first", 1, "one").await.status, 200, "{transport:?}");

        let function = start(transport, OLD_KEY, &secrets, &with).await;
        secrets.fail_previous("/k", AwsResponse::error(400, "ThrottlingException"));
        secrets.put("/k", NEW);
        for (number, secret, text) in [(2, OLD, "two"), (3, NEW, "three"), (4, OLD, "four")] {
            let response = deliver(&function, transport, secret, number, text).await;
            assert_eq!(response.status, 200, "{transport:?} {text}: {}", response.body);
        }
        shows_no_secret(&function);
    }
}

#[tokio::test]
async fn rotation_of_key_loses_nothing() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        // The key of the start is withdrawn before the first event.
        let function = start(transport, NEW_KEY, &secrets, &IN_ONE).await;
        secrets.put("chat/keys", &in_one(NEW_KEY, OLD));
        for (number, text) in [(1, "one"), (2, "two")] {
            let response = deliver(&function, transport, OLD, number, text).await;
            assert_eq!(response.status, 200, "{transport:?}: {}", response.body);
            assert_eq!(response.json()["destinations"][0]["attempts"], 1);
        }
        assert_eq!(function.published(OUTBOUND), ["ONE", "TWO"]);
        assert_eq!(secrets.requests().len(), 3, "fetched at start, and once more");
        shows_no_secret(&function);
    }
}

#[tokio::test]
async fn concurrent_refusals_of_key_cause_one_fetch() {
    let transport = BOTH[0];
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
    // All are published within the deadline of a request, also on a busy machine with a debug build.
    let topics: Vec<_> = (0..8).map(|number| format!("out {number}")).collect();
    let outbound = topics.join(",");
    let with = [&IN_ONE[..], &[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", &outbound)]].concat();
    let function = start(transport, NEW_KEY, &secrets, &with).await;
    secrets.put("chat/keys", &in_one(NEW_KEY, OLD));
    let response = deliver(&function, transport, OLD, 1, "one").await;
    assert_eq!(response.status, 200, "{}", response.body);
    for topic in &topics {
        // More than once if a response came too late for its attempt.
        assert_eq!(function.published(topic).first().map(String::as_str), Some("ONE"));
    }
    assert_eq!(secrets.requests().len(), 3, "fetched at start, and once more");
}

#[tokio::test]
async fn uses_previous_key_until_momento_accepts_new_one() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        secrets.put("chat/keys", &in_one(NEW_KEY, OLD));
        let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
        for (number, text) in [(1, "one"), (2, "two"), (3, "three")] {
            let response = deliver(&function, transport, OLD, number, text).await;
            assert_eq!(response.status, 200, "{transport:?}: {}", response.body);
        }
        assert_eq!(function.published(OUTBOUND), ["ONE", "TWO", "THREE"]);
        assert_eq!(secrets.requests().len(), 3, "fetched at start, and once more");
        shows_no_secret(&function);
    }
}

#[tokio::test]
async fn uses_previous_key_while_fetch_hangs() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        secrets.put("chat/keys", &in_one(NEW_KEY, OLD));
        let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
        assert_eq!(deliver(&function, transport, OLD, 1, "one").await.status, 200);
        secrets.fail("chat/keys", AwsResponse::Hang);
        for (number, text) in [(2, "two"), (3, "three")] {
            let begun = Instant::now();
            let response = deliver(&function, transport, OLD, number, text).await;
            let took = begun.elapsed();
            assert_eq!(response.status, 200, "{transport:?}: {}", response.body);
            assert_eq!(response.json()["destinations"][0]["attempts"], 1);
            assert!(took < Duration::from_secs(2), "{transport:?}: {took:?}");
        }
        assert_eq!(function.published(OUTBOUND), ["ONE", "TWO", "THREE"]);
        shows_no_secret(&function);
    }
}

#[tokio::test]
async fn fetches_key_again_after_permission_denied() {
    let transport = BOTH[0];
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
    let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
    // Without a newer version, the response reports the failure.
    let fault = function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish));
    let response = deliver(&function, transport, OLD, 1, "one").await;
    assert_eq!((response.status, fault.hits()), (422, 1), "{}", response.body);
    assert_eq!(response.json()["destinations"][0]["reason"], "permission_denied");
    assert_eq!(secrets.requests().len(), 3, "fetched at start, and once more");
    // The previous version is tried, and fails as well.
    fault.remove();
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/keys", &in_one(NEW_KEY, OLD));
    secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
    let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
    let fault = function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).times(1));
    let response = deliver(&function, transport, OLD, 1, "one").await;
    assert_eq!((response.status, fault.hits()), (422, 1), "{}", response.body);
    assert_eq!(
        response.json()["destinations"][0]["reason"],
        "permission_denied",
        "what the current one was told"
    );
    assert_eq!(deliver(&function, transport, OLD, 2, "two").await.status, 200, "the current one is used on");
}

#[tokio::test]
async fn forged_signatures_cause_one_fetch_and_delay_no_other_request() {
    let transport = Transport::Http1;
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
    let function = start(transport, OLD_KEY, &secrets, &IN_ONE).await;
    // The fetch that they cause hangs, and so do they.
    secrets.fail("chat/keys", AwsResponse::Hang);
    let forged = async {
        let forged = (0..20).map(|number| deliver(&function, transport, "a guess", number, "forged"));
        join_all(forged).await
    };
    let genuine = async {
        secrets.wait_for_requests(3).await;
        let begun = Instant::now();
        let response = deliver(&function, transport, OLD, 100, "genuine").await;
        (response.status, begun.elapsed())
    };
    let (forged, (status, took)) = tokio::join!(forged, genuine);
    // A genuine request with the new secret gets the same response.
    assert!(forged.iter().all(|response| response.status == 503), "{forged:?}");
    assert_eq!(status, 200);
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The fetch has timed out, and the old value stays in use.
    let fetched = secrets.requests().len();
    assert!(fetched <= 1 + 2 * 5, "one fetch, with what the SDK tries again: {fetched}");
    let warned = function
        .process
        .wait_for_line(|line| line.contains("a secret could not be fetched again").then_some(()));
    warned.await.unwrap();
    let fetched = secrets.requests().len();
    for number in 0..20 {
        assert_eq!(deliver(&function, transport, "a guess", number, "forged").await.status, 503);
    }
    assert_eq!(secrets.requests().len(), fetched, "not within a moment");
    assert_eq!(deliver(&function, transport, OLD, 101, "genuine").await.status, 200);
    shows_no_secret(&function);
}

#[tokio::test]
async fn fetches_key_of_maximum_age_before_lambda_can_stop() {
    let transport = BOTH[0];
    let secrets = SecretsServer::start().await.unwrap();
    secrets.put("chat/key", OLD_KEY);
    let with = [
        ("MOMENTO_API_KEY_SECRET_ID", "chat/key"),
        ("WEBHOOK_SIGNING_SECRET", OLD),
        ("SECRETS_MAX_AGE_SECONDS", "1"),
    ];
    let function = start(transport, OLD_KEY, &secrets, &with).await;
    secrets.delay(Duration::from_millis(300));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(deliver(&function, transport, OLD, 1, "one").await.status, 200);
    is_fetched_before_next_invocation(&function, &secrets).await;
}

#[tokio::test]
async fn rejects_withdrawn_secret_after_maximum_age() {
    for transport in BOTH {
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put("chat/keys", &in_one(OLD_KEY, OLD));
        let with = [&IN_ONE[..], &[("SECRETS_MAX_AGE_SECONDS", "1")]].concat();
        let function = start(transport, OLD_KEY, &secrets, &with).await;
        assert_eq!(deliver(&function, transport, OLD, 1, "one").await.status, 200);
        // After two rotations, the first secret is neither the current nor the previous one.
        secrets.put("chat/keys", &in_one(OLD_KEY, NEW));
        secrets.put("chat/keys", &in_one(OLD_KEY, "a third"));
        secrets.delay(Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(
            deliver(&function, transport, OLD, 2, "two").await.status,
            200,
            "it is fetched beside this one"
        );
        // In Lambda, the function asks for the next invocation after the fetch.
        if transport == Transport::Http1 {
            let changed = function.process.wait_for_line(|line| {
                let is_it =
                    line.contains("a secret has changed") && line.contains("WEBHOOK_SIGNING_SECRET_ID");
                is_it.then_some(())
            });
            changed.await.unwrap();
        }
        assert_eq!(deliver(&function, transport, OLD, 3, "three").await.status, 403, "{transport:?}");
        assert_eq!(deliver(&function, transport, NEW, 4, "four").await.status, 200, "{transport:?}");
        shows_no_secret(&function);
    }
}
