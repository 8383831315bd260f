//! The chat: one room and many languages, against a server that speaks the protocol of Amazon Translate.

use momento_local::MomentoLocal;
use serde_json::{Value, json};
use test_support::AwsResponse;
use test_support::comprehend_server::ComprehendServer;
use test_support::object_server::ObjectServer;
use test_support::process::Process;
use test_support::secrets_server::SecretsServer;
use test_support::signed;
use test_support::translate_server::TranslateServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{BOTH, CACHE, Function, SECRET, Subscriber, Transport, program, settings};

const LANGUAGES: [&str; 8] = ["en", "es", "fr", "de", "it", "ja", "ko", "pt"];

/// Returns routes for messages in JSON. Only the text that a person wrote is moderated and translated.
fn chat() -> String {
    let destination = |language: &str| {
        format!(
            "{{ topic = \"{{room}}-{language}\", extra_transforms = [\
             {{ json = {{ pointer = \"/message\", transforms = [{{ translate = {{ target = \"{language}\" }} }}], \
             set = {{ \"/sourceLanguage\" = \"{{language | default('und')}}\" }} }} }}] }}"
        )
    };
    let mut destinations: Vec<_> = LANGUAGES.into_iter().map(destination).collect();
    // A second destination in the same language needs no further call.
    destinations.push(destination("es").replace("{room}-es", "{room}-mx"));
    format!(
        "[[routes]]\ntopic = \"{{room}}-publish\"\n\
         transforms = [{{ json = {{ pointer = \"/message\", transforms = [\"trim\", \"moderate\"] }} }}]\n\
         destinations = [\n{}\n]\n",
        destinations.join(",\n")
    )
}

/// Returns a route to one destination, with one transform.
fn one(transform: &str) -> String {
    format!(
        "[[routes]]\ntopic = \"{{room}}-publish\"\ndestinations = [{{ topic = \"{{room}}-out\", extra_transforms = [{transform}] }}]"
    )
}

struct Chat {
    function: Function,
    translate: TranslateServer,
}

impl Chat {
    async fn start(transport: Transport, file: &str) -> Self {
        let translate = TranslateServer::start().await.unwrap();
        let environment = translate.environment();
        let function = with(transport, file, &environment).await;
        Self { function, translate }
    }

    async fn say(&self, transport: Transport, number: u64, text: &str) -> (u16, Value) {
        say(&self.function, transport, number, text).await
    }
}

/// Starts a function with these routes, and this environment of AWS.
async fn with(transport: Transport, file: &str, environment: &[(String, String)]) -> Function {
    let mut settings =
        vec![("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", file), ("RUST_LOG", "trace")];
    settings.extend(environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Function::start(transport, &settings).await
}

async fn say(function: &Function, transport: Transport, number: u64, text: &str) -> (u16, Value) {
    let event = signed::event(CACHE, "friends-publish", number, text);
    let response = function.send(transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
    (response.status, response.json())
}

fn statuses(response: &Value) -> Vec<&str> {
    response["destinations"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect()
}

fn message(text: &str) -> String {
    json!({"messageType": "text", "message": text, "timestamp": 1_704_296_470_564_u64}).to_string()
}

#[tokio::test]
async fn moderates_message_once_and_publishes_every_language() {
    for transport in BOTH {
        let chat = Chat::start(transport, &chat()).await;
        let mut subscribers = Vec::new();
        for language in LANGUAGES.into_iter().chain(["mx"]) {
            let topic = format!("friends-{language}");
            subscribers.push((language, Subscriber::new(&chat.function.momento, &topic).await));
        }
        let (status, response) = chat.say(transport, 1, &message("  Oh shit, hello  ")).await;
        assert_eq!((status, &response["status"]), (200, &json!("success")), "{transport:?}: {response}");
        for (language, subscriber) in &mut subscribers {
            let message: Value = serde_json::from_str(&subscriber.next().await).unwrap();
            let target = if *language == "mx" { "es" } else { *language };
            let said = message["message"].as_str().unwrap();
            assert!(said.starts_with(&format!("[{target}] Oh ****, hello")), "{language}: {message}");
            assert_eq!(
                (&message["messageType"], &message["sourceLanguage"], &message["timestamp"]),
                (&json!("text"), &json!("en"), &json!(1_704_296_470_564_u64))
            );
        }
        let requests = chat.translate.requests();
        assert!(requests.iter().all(|request| request.text == "Oh ****, hello"), "{requests:?}");
        assert_eq!(requests.len(), LANGUAGES.len(), "one call for each language");
    }
}

#[tokio::test]
async fn failure_of_one_language_affects_no_other() {
    for transport in BOTH {
        let chat = Chat::start(transport, &chat()).await;
        let unsupported = || AwsResponse::error_with_message(400, "UnsupportedLanguagePairException", "no");
        chat.translate.script("ja", [unsupported()]);
        let event = signed::event(CACHE, "friends-publish", 1, &message("hello")).to_json();
        let response = chat.function.send(transport, &signed::post(SECRET, event.clone()).unwrap()).await;
        let (status, response) = (response.status, response.json());
        assert_eq!(
            (status, &response["code"]),
            (422, &json!("destination_refused")),
            "{transport:?}: {response}"
        );
        let published = ["published"; 3];
        assert_eq!(statuses(&response), [&["published"; 5][..], &["refused"], &published].concat());
        assert_eq!(
            response["destinations"][5],
            json!({
                "cache": CACHE, "topic": "friends-ja", "status": "refused", "reason": "invalid_argument",
                "transform": "json",
                "detail": "translate: the service does not translate between these languages",
            })
        );
        assert!(chat.function.published("friends-ja").is_empty());
        assert_eq!(chat.function.published("friends-ko").len(), 1);

        // The second delivery translates into that language only.
        let before = chat.translate.requests().len();
        let response = chat.function.send(transport, &signed::post(SECRET, event).unwrap()).await;
        assert_eq!(response.status, 200, "{response:?}");
        let requests = chat.translate.requests();
        let again: Vec<_> = requests[before..].iter().map(|request| request.target.as_str()).collect();
        assert_eq!(again, ["ja"]);
        assert_eq!(chat.function.published("friends-ko").len(), 1);
    }
}

#[tokio::test]
async fn retries_throttled_translation_before_deadline() {
    for transport in BOTH {
        let chat = Chat::start(transport, &chat()).await;
        for language in LANGUAGES {
            chat.translate.script(language, [AwsResponse::throttled(), AwsResponse::throttled()]);
        }
        let (status, response) = chat.say(transport, 1, &message("hello")).await;
        assert_eq!(status, 200, "{transport:?}: {response}");
        assert_eq!(chat.translate.requests().len(), 3 * LANGUAGES.len());
    }
}

#[tokio::test]
async fn translation_that_hangs_fails_before_deadline_or_passes_text_on() {
    let file = format!(
        "{}\n[[routes]]\ntopic = \"other\"\ndestinations = [\"x\"]\n",
        one("{ translate = { target = \"de\" } }").replace(
            "destinations = [",
            "destinations = [{ topic = \"as-it-was\", extra_transforms = [{ translate = { target = \"de\", on_failure = \"pass\" } }] }, "
        )
    );
    for transport in BOTH {
        let chat = Chat::start(transport, &file).await;
        chat.translate.respond_with(|_| AwsResponse::Hang);
        let begun = std::time::Instant::now();
        let (status, response) = chat.say(transport, 1, "hello").await;
        assert!(begun.elapsed().as_secs_f64() < 4.5, "{:?}", begun.elapsed());
        assert_eq!(
            (status, statuses(&response)),
            (503, vec!["published", "failed"]),
            "{transport:?}: {response}"
        );
        assert_eq!(response["destinations"][1]["reason"], "timed_out");
        assert_eq!(chat.function.published("as-it-was"), ["hello"]);
    }
}

#[tokio::test]
async fn refuses_text_that_is_not_a_message_without_translating() {
    let chat = Chat::start(Transport::Http1, &chat()).await;
    let (status, response) = chat.say(Transport::Http1, 1, "no JSON").await;
    assert_eq!((status, &response["destinations"][0]["transform"]), (422, &json!("json")), "{response}");
    let (status, response) = chat.say(Transport::Http1, 2, &message(" 12:30 ... 😀 ")).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(chat.translate.requests(), [], "there is nothing to translate in either");
}

#[tokio::test]
async fn log_does_not_show_text_at_any_level() {
    let chat = Chat::start(Transport::Http1, &chat()).await;
    chat.translate.script(
        "es",
        [AwsResponse::error_with_message(400, "ValidationException", "Value 'a-private-text' is wrong")],
    );
    chat.say(Transport::Http1, 1, &message("a-private-text")).await;
    chat.function.log_record(|line| line["outcome"] == "destination_refused").await;
    let output = chat.function.process.output().join("\n");
    assert!(!output.contains("a-private-text"), "{output}");
}

#[tokio::test]
async fn comprehend_classifies_what_the_lists_leave_and_its_failure_never_passes_a_text() {
    for transport in BOTH {
        let comprehend = ComprehendServer::start().await.unwrap();
        let file = one("{ moderate = { service = \"comprehend\" } }");
        let function = with(transport, &file, &comprehend.environment()).await;
        for (number, text) in [(1, "Hello"), (2, "shit happens"), (3, "so toxic")] {
            let (status, response) = say(&function, transport, number, text).await;
            assert_eq!(status, 200, "{transport:?}: {text}: {response}");
        }
        let published = function.published("friends-out");
        assert_eq!(published, ["Hello", "**** happens", "** *****"], "{transport:?}");
        assert_eq!(comprehend.requests(), [["Hello"], ["**** happens"], ["so toxic"]]);

        comprehend.script([AwsResponse::error(400, "AccessDeniedException")]);
        let (status, response) = say(&function, transport, 4, "hello").await;
        assert_ne!(status, 200, "{transport:?}: {response}");
        assert_eq!(response["destinations"][0]["reason"], "permission_denied", "{response}");
        assert_eq!(function.published("friends-out"), published);
    }
}

#[tokio::test]
async fn reads_region_endpoint_and_credentials_from_environment_of_aws() {
    let file = one("{ translate = { target = \"de\" } }");
    let translate = TranslateServer::start().await.unwrap();
    let owned = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };

    let folder = test_support::tempdir().unwrap();
    let profile = folder.path().join("config");
    let keys = "aws_access_key_id = test\naws_secret_access_key = test";
    std::fs::write(&profile, format!("[profile fan]\nregion = eu-west-1\n{keys}\n")).unwrap();

    let container = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let credentials = format!("http://{}/credentials", container.local_addr().unwrap());
    let giving = tokio::spawn(async move {
        let (mut stream, _) = container.accept().await.unwrap();
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).await.unwrap();
        let body =
            r#"{"AccessKeyId":"k","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}"#;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    });

    let endpoint = translate.endpoint();
    for environment in [
        translate.environment(),
        owned(&[
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_CONFIG_FILE", profile.to_str().unwrap()),
            ("AWS_PROFILE", "fan"),
        ]),
        owned(&[
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &credentials),
        ]),
    ] {
        let function = with(Transport::Http1, &file, &environment).await;
        let (status, response) = say(&function, Transport::Http1, 1, "Hello").await;
        assert_eq!(status, 200, "{environment:?}: {response}");
        assert_eq!(function.published("friends-out"), ["[de] Hello"]);
    }
    giving.await.unwrap();
}

#[tokio::test]
async fn missing_region_is_reported_at_start() {
    let inside = "{ json = { pointer = \"/message\", transforms = [{ translate = { target = \"de\" } }] } }";
    let warned = async |transform: &str, environment: &[(&str, &str)]| {
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let function = with(Transport::Http1, &one(transform), &environment).await;
        say(&function, Transport::Http1, 1, "{}").await;
        function.process.output().iter().any(|line| line.contains("no region is set"))
    };
    for transform in ["{ translate = { target = \"de\" } }", inside] {
        assert!(warned(transform, &[]).await, "{transform}");
        assert!(!warned(transform, &[("AWS_DEFAULT_REGION", "eu-west-1")]).await, "{transform}");
    }
    assert!(!warned("{ pseudolocalize = { target = \"de\" } }", &[]).await);
    // A profile can have a region.
    assert!(!warned(inside, &[("AWS_CONFIG_FILE", "Cargo.toml")]).await);
}

#[tokio::test]
async fn missing_credentials_are_reported_before_deadline() {
    let file = one("{ translate = { target = \"de\" } }");
    let translate = TranslateServer::start().await.unwrap();
    // A metadata service that accepts connections and never responds.
    let metadata = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let metadata = format!("http://{}", metadata.local_addr().unwrap());
    let environment = [
        ("AWS_ENDPOINT_URL".to_owned(), translate.endpoint()),
        ("AWS_EC2_METADATA_DISABLED".to_owned(), "false".to_owned()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), metadata),
        ("AWS_REGION".to_owned(), "eu-west-1".to_owned()),
    ];
    let function = with(Transport::Http1, &file, &environment).await;
    let (status, response) = say(&function, Transport::Http1, 1, "Hello").await;
    let destination = &response["destinations"][0];
    assert_eq!(
        (status, &destination["reason"], &destination["detail"]),
        (422, &json!("unauthenticated"), &json!("no AWS credentials are found"))
    );
    assert_eq!(translate.requests(), []);
}

#[tokio::test]
async fn fetches_routes_from_parameter() {
    let parameters = SecretsServer::start().await.unwrap();
    parameters.put("/chat/routes", &one("\"uppercase\""));
    let environment: Vec<_> = parameters.environment();
    for transport in BOTH {
        let function = with(transport, "ssm:/chat/routes", &environment).await;
        assert_eq!(say(&function, transport, 1, "Hello").await.0, 200);
        assert_eq!(function.published("friends-out"), ["HELLO"]);
    }
}

#[tokio::test]
async fn fetches_routes_from_object() {
    let objects = ObjectServer::start().await.unwrap();
    objects.put("/chat.example/a%20b/fanout.toml", one("\"uppercase\""));
    objects.put("/chat.example/a%20b/fanout.toml", "not routes");
    let environment = objects.environment();
    for transport in BOTH {
        let file = "s3://chat.example/a b/fanout.toml?versionId=1";
        let function = with(transport, file, &environment).await;
        assert_eq!(say(&function, transport, 1, "Hello").await.0, 200);
        assert_eq!(function.published("friends-out"), ["HELLO"]);
    }
    assert_eq!(objects.requests(), ["/chat.example/a%20b/fanout.toml?versionId=1"; 2]);
}

#[tokio::test]
async fn unusable_object_ends_function_with_reason() {
    let objects = ObjectServer::start().await.unwrap();
    objects.put("/chat/wrong", "[[routes]]\ntopic = \"a\"\ndestinations = [\"a\", \"{b}\"]");
    objects.put("/chat/binary", vec![b'#', 0xff]);
    objects.put("/chat/large", vec![b'#'; 4 * 1024 * 1024 + 1]);
    objects.fail("/chat/closed", [(403, "AccessDenied")]);
    objects.fail("/far/routes", [(301, "PermanentRedirect")]);
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    for (object, says) in [
        ("s3://chat/none", "FANOUT_CONFIG: s3://chat/none: not found"),
        ("s3://chat/wrong?versionId=2", "FANOUT_CONFIG: s3://chat/wrong?versionId=2: not found"),
        (
            "s3://chat/closed",
            "FANOUT_CONFIG: s3://chat/closed: not allowed, or not found: it needs s3:GetObject, ",
        ),
        ("s3://far/routes", "FANOUT_CONFIG: s3://far/routes: the bucket is in another region"),
        ("s3://chat/large", "FANOUT_CONFIG: s3://chat/large: the object has more than 4 MiB"),
        ("s3://chat/binary", "FANOUT_CONFIG: s3://chat/binary:1:2: the file is not UTF-8"),
        ("s3://chat/wrong", "FANOUT_CONFIG: s3://chat/wrong:3:23: the topic has the unknown name `b`"),
    ] {
        let with = [("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", object)];
        let environment = settings(&momento.endpoint(), &with).into_iter().chain(objects.environment());
        let mut process = Process::start(program(), environment).unwrap();
        assert!(!process.ended().await.unwrap().success());
        let output = process.output().join("\n");
        assert!(output.contains(says), "{says:?} is not in:\n{output}");
    }
}

#[tokio::test]
async fn unusable_parameter_ends_function_with_reason() {
    let parameters = SecretsServer::start().await.unwrap();
    parameters.put("/wrong", "[[routes]]\ntopic = \"a\"\ndestinations = [\"a\", \"{b}\"]");
    parameters.fail("/closed", AwsResponse::error(400, "AccessDeniedException"));
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    for (parameter, says) in [
        ("ssm:/none", "FANOUT_CONFIG: parameter /none: not found"),
        ("ssm:/closed", "FANOUT_CONFIG: parameter /closed: not allowed: ssm:GetParameter"),
        ("ssm:/wrong", "FANOUT_CONFIG: ssm:/wrong:3:23: the topic has the unknown name `b`"),
    ] {
        let with = [("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", parameter)];
        let environment = settings(&momento.endpoint(), &with).into_iter().chain(parameters.environment());
        let mut process = Process::start(program(), environment).unwrap();
        assert!(!process.ended().await.unwrap().success());
        let output = process.output().join("\n");
        assert!(output.contains(says), "{says:?} is not in:\n{output}");
    }
}
