//! The clients of AWS with the real SDK over real HTTP, against services on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use fanout_aws::{AmazonTranslator, Aws, ComprehendClassifier, Settings};
use fanout_core::reason::{Failure, Reason};
use fanout_core::transform::classifier::{ClassificationRequest, Classifier as _, Label};
use fanout_core::transform::translate::{Formality, Translation, TranslationRequest, Translator as _};
use futures_util::future::join_all;
use serde_json::json;
use test_support::AwsResponse;
use test_support::comprehend_server::ComprehendServer;
use test_support::object_server::ObjectServer;
use test_support::secrets_server::{SecretRequest, SecretsServer};
use test_support::translate_server::{TranslateRequest, TranslateServer, translation, truncated};
use tokio::net::TcpListener;
use tokio::time::Instant;

const TIME: Duration = Duration::from_secs(4);

fn at(endpoint: &str) -> Aws {
    Aws::with(Settings {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        credentials: Some(SharedCredentialsProvider::new(Credentials::new("k", "s", None, None, "test"))),
    })
}

fn translator(server: &TranslateServer) -> AmazonTranslator {
    AmazonTranslator::new(Arc::new(at(&server.endpoint())))
}

fn to(target: &str) -> TranslationRequest<'_> {
    TranslationRequest {
        text: "Hello",
        source: None,
        target,
        formality: None,
        mask_profanity: false,
        terminologies: &[],
        deadline: Instant::now() + TIME,
    }
}

fn received(target: &str) -> TranslateRequest {
    TranslateRequest {
        text: "Hello".to_owned(),
        source: "auto".to_owned(),
        target: target.to_owned(),
        formality: None,
        profanity: None,
        terminology: vec![],
    }
}

type Translated = Result<Translation, Failure>;

/// Translates a text against these responses, and returns the result and the number of attempts.
async fn translate(responses: impl IntoIterator<Item = AwsResponse>) -> anyhow::Result<(Translated, usize)> {
    let server = TranslateServer::start().await?;
    server.script("de", responses);
    let result = translator(&server).translate(to("de")).await;
    Ok((result, server.requests().len()))
}

/// Translates a text that always gets this response, and returns the reason of the failure and the number of attempts.
async fn failed(response: AwsResponse) -> anyhow::Result<(Reason, usize)> {
    match translate(vec![response; 20]).await? {
        (Ok(translation), attempts) => bail!("{translation:?} after {attempts} attempts"),
        (Err(error), attempts) => Ok((error.reason, attempts)),
    }
}

#[tokio::test]
async fn translates_text_and_reports_its_language() {
    let server = TranslateServer::start().await.unwrap();
    let translation = translator(&server).translate(to("de")).await.unwrap();
    assert_eq!(translation, Translation { text: "[de] Hello".to_owned(), source: "en".to_owned() });
    assert_eq!(server.requests(), [received("de")]);
}

#[tokio::test]
async fn sends_all_parts_of_request() {
    let server = TranslateServer::start().await.unwrap();
    let terminology = ["products".to_owned()];
    let request = TranslationRequest {
        source: Some("en"),
        formality: Some(Formality::Informal),
        mask_profanity: true,
        terminologies: &terminology,
        ..to("de")
    };
    translator(&server).translate(request).await.unwrap();
    let formal = TranslationRequest { formality: Some(Formality::Formal), ..to("fr") };
    translator(&server).translate(formal).await.unwrap();
    let expected = [
        TranslateRequest {
            source: "en".to_owned(),
            formality: Some("INFORMAL".to_owned()),
            profanity: Some("MASK".to_owned()),
            terminology: terminology.to_vec(),
            ..received("de")
        },
        TranslateRequest { formality: Some("FORMAL".to_owned()), ..received("fr") },
    ];
    assert_eq!(server.requests(), expected);
}

#[tokio::test]
async fn retries_transient_failure() {
    for response in [
        AwsResponse::throttled(),
        AwsResponse::error(400, "TooManyRequestsException"),
        AwsResponse::error(400, "LimitExceededException"),
        AwsResponse::Raw(429, "slow down".into()),
        AwsResponse::error(500, "InternalServerException"),
        AwsResponse::error(503, "ServiceUnavailableException"),
        truncated(),
        AwsResponse::Cut,
        AwsResponse::Hang,
    ] {
        let case = format!("{response:?}");
        // A response that hangs takes the most time, and has one retry.
        let many = if matches!(response, AwsResponse::Hang) { 1 } else { 2 };
        let (result, attempts) = translate(vec![response; many]).await.unwrap();
        assert_eq!(result.unwrap().text, "[de] Hello", "{case}");
        assert_eq!(attempts, many + 1, "{case}");
    }
}

#[tokio::test]
async fn reports_repeated_transient_failure_before_deadline() {
    let cases = [
        (AwsResponse::throttled(), Reason::RateLimited),
        (AwsResponse::error(400, "TooManyRequestsException"), Reason::RateLimited),
        (AwsResponse::Raw(429, "".into()), Reason::RateLimited),
        (AwsResponse::error(500, "InternalServerException"), Reason::Internal),
        (AwsResponse::error(503, "ServiceUnavailableException"), Reason::Unavailable),
        (AwsResponse::Raw(502, "<html>".into()), Reason::Unavailable),
        (truncated(), Reason::Internal),
        (AwsResponse::Cut, Reason::Unavailable),
    ];
    join_all(cases.map(async |(response, reason)| {
        let (case, begun) = (format!("{response:?}"), Instant::now());
        assert_eq!(failed(response).await.unwrap(), (reason, 5), "{case}");
        assert!(begun.elapsed() < TIME, "{case}: {:?}", begun.elapsed());
    }))
    .await;
}

#[tokio::test]
async fn does_not_retry_permanent_failure() {
    for (response, reason) in [
        (AwsResponse::error(400, "UnsupportedLanguagePairException"), Reason::InvalidArgument),
        (AwsResponse::error(400, "DetectedLanguageLowConfidenceException"), Reason::InvalidArgument),
        (AwsResponse::error(400, "InvalidRequestException"), Reason::InvalidArgument),
        (AwsResponse::error(400, "ValidationException"), Reason::InvalidArgument),
        (AwsResponse::error(400, "SomethingNewException"), Reason::InvalidArgument),
        (AwsResponse::error(400, "TextSizeLimitExceededException"), Reason::TooLarge),
        (AwsResponse::error(400, "ResourceNotFoundException"), Reason::NotFound),
        (AwsResponse::error(400, "AccessDeniedException"), Reason::PermissionDenied),
        (AwsResponse::Raw(403, "Forbidden".into()), Reason::PermissionDenied),
        (AwsResponse::error(400, "UnrecognizedClientException"), Reason::Unauthenticated),
        (AwsResponse::error(400, "InvalidSignatureException"), Reason::Unauthenticated),
        (AwsResponse::error(400, "ExpiredTokenException"), Reason::Unauthenticated),
    ] {
        let case = format!("{response:?}");
        assert_eq!(failed(response).await.unwrap(), (reason, 1), "{case}");
    }
}

#[tokio::test]
async fn response_without_text_is_permanent_failure() {
    for body in [json!({}), json!({"SourceLanguageCode": "en"}), json!({"TranslatedText": "Hallo"})] {
        let failed = failed(AwsResponse::success(body.clone())).await.unwrap();
        assert_eq!(failed, (Reason::Internal, 1), "{body}");
    }
}

#[tokio::test]
async fn rejects_text_over_limit() {
    let server = TranslateServer::start().await.unwrap();
    let text = "x".repeat(10_001);
    let error =
        translator(&server).translate(TranslationRequest { text: &text, ..to("de") }).await.unwrap_err();
    assert_eq!(error.reason, Reason::TooLarge);
}

#[tokio::test]
async fn error_does_not_show_text() {
    let said = AwsResponse::error_with_message(
        400,
        "ValidationException",
        "Value 'Hello' at 'text' failed to satisfy",
    );
    let (result, _) = translate([said]).await.unwrap();
    let error = result.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("Hello"), "{shown}");
    assert!(shown.contains("ValidationException"), "{shown}");
    assert!(shown.contains("00000000-0000-4000-8000-000000000001"), "{shown}");
}

#[tokio::test]
async fn stops_waiting_at_deadline() {
    let server = TranslateServer::start().await.unwrap();
    let late = AwsResponse::Late(Duration::from_mins(1), Box::new(AwsResponse::throttled()));
    server.respond_with(move |_| late.clone());
    let begun = Instant::now();
    let deadline = begun + Duration::from_millis(400);
    let error = translator(&server).translate(TranslationRequest { deadline, ..to("de") }).await.unwrap_err();
    assert_eq!(error.reason, Reason::TimedOut);
    let took = begun.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_millis(700)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn begins_no_attempt_that_cannot_end_before_deadline() {
    let server = TranslateServer::start().await.unwrap();
    server.respond_with(|_| AwsResponse::throttled());
    let translator = translator(&server);
    // The first request builds the client, which takes time.
    let _ = translator.translate(to("fr")).await;
    let before = server.requests().len();
    let deadline = Instant::now() + Duration::from_millis(190);
    let error = translator.translate(TranslationRequest { deadline, ..to("de") }).await.unwrap_err();
    assert_eq!((error.reason, server.requests().len()), (Reason::RateLimited, before + 1));
    let deadline = Instant::now() + Duration::from_millis(20);
    let error = translator.translate(TranslationRequest { deadline, ..to("de") }).await.unwrap_err();
    assert_eq!((error.reason, server.requests().len()), (Reason::TimedOut, before + 1));
}

#[tokio::test]
async fn closed_endpoint_is_unavailable() {
    let endpoint = format!("http://{}", unused().await.unwrap());
    let begun = Instant::now();
    let error = AmazonTranslator::new(Arc::new(at(&endpoint))).translate(to("de")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Unavailable, "{error:?}");
    assert!(begun.elapsed() < TIME);
}

#[tokio::test]
async fn translates_into_eight_languages_at_once() {
    let server = TranslateServer::start().await.unwrap();
    let languages = ["de", "fr", "es", "it", "ja", "pt", "nl", "pl"];
    for language in languages {
        server.script(language, [AwsResponse::Hang]);
    }
    let translator = translator(&server);
    let translations = async { join_all(languages.map(|language| translator.translate(to(language)))).await };
    let together = async {
        let begun = Instant::now();
        server.wait_for_requests(languages.len()).await;
        begun.elapsed()
    };
    let (translations, together) = tokio::join!(translations, together);
    // The first attempts hang. If one waited for another, this would be the timeout of an attempt.
    assert!(together < Duration::from_millis(1_400), "{together:?}");
    for (language, translation) in languages.iter().zip(translations) {
        assert_eq!(translation.unwrap().text, format!("[{language}] Hello"));
    }
}

#[tokio::test]
async fn retries_after_many_throttled_events() {
    let server = TranslateServer::start().await.unwrap();
    let translator = translator(&server);
    // The SDK's own token bucket would be empty after 25 texts: four retries of five tokens each, of 500.
    server.respond_with(|_| AwsResponse::throttled());
    let texts = (0..40).map(|_| translator.translate(to("de")));
    assert!(join_all(texts).await.iter().all(Result::is_err));
    assert_eq!(server.requests().len(), 200);
    server.script("fr", [AwsResponse::throttled()]);
    server.respond_with(translation);
    translator.translate(to("fr")).await.unwrap();
}

#[tokio::test]
async fn reads_and_decrypts_parameter() {
    let server = SecretsServer::start().await.unwrap();
    server.put("/fanout/key", "secret");
    assert_eq!(at(&server.endpoint()).parameter("/fanout/key").await.unwrap(), "secret");
    let asked = SecretRequest::Parameter { name: "/fanout/key".to_owned(), with_decryption: true };
    assert_eq!(server.requests(), [asked]);
}

#[tokio::test]
async fn error_names_unreadable_parameter() {
    let server = SecretsServer::start().await.unwrap();
    for (name, response) in [
        ("/closed", AwsResponse::error(400, "AccessDeniedException")),
        ("/expired", AwsResponse::error(400, "ExpiredTokenException")),
        ("/odd", AwsResponse::Raw(200, "{}".into())),
    ] {
        server.fail(name, response);
    }
    let aws = at(&server.endpoint());
    for (name, said) in [
        ("/none", "parameter /none: not found"),
        ("/closed", "parameter /closed: not allowed: ssm:GetParameter, and kms:Decrypt for a secret"),
        ("/expired", "parameter /expired: the AWS credentials have expired"),
        ("/odd", "parameter /odd: the response of the service lacks the value"),
    ] {
        assert_eq!(aws.parameter(name).await.unwrap_err().to_string(), said);
    }
    let endpoint = format!("http://{}", unused().await.unwrap());
    let error = at(&endpoint).parameter("/key").await.unwrap_err();
    assert_eq!(error.to_string(), "parameter /key: the service cannot be reached");
}

#[tokio::test]
async fn stops_waiting_for_parameter() {
    let server = SecretsServer::start().await.unwrap();
    server.fail("/key", AwsResponse::Hang);
    let begun = Instant::now();
    let error = at(&server.endpoint()).parameter("/key").await.unwrap_err();
    assert_eq!(error.to_string(), "parameter /key: no response in time");
    assert!(begun.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn reads_object_and_retries_transient_failures() {
    let server = ObjectServer::start().await.unwrap();
    server.put("/bucket/key", "first");
    server.put("/bucket/key", "second");
    server.put("/bucket/empty", "");
    server.fail("/bucket/key", [(503, "SlowDown"), (500, "InternalError")]);
    let aws = Aws::with(Settings {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(server.endpoint()),
        credentials: Some(SharedCredentialsProvider::new(Credentials::new(
            "test", "test", None, None, "test",
        ))),
    });
    let read = async |id: &str| aws.object(&id.parse().unwrap()).await;
    assert_eq!(read("s3://bucket/key").await.unwrap(), b"second");
    assert_eq!(server.requests().len(), 3);
    assert_eq!(read("s3://bucket/key?versionId=1").await.unwrap(), b"first");
    assert_eq!(read("s3://bucket/empty").await.unwrap(), b"");
    let error = read("s3://bucket/none").await.unwrap_err();
    assert_eq!((error.reason, server.requests().len()), (Reason::NotFound, 6));
    assert_eq!(error.source.unwrap().to_string(), "NoSuchKey (status 404, request 4442587FB7D0A2F9)");

    let unknown = Aws::with(Settings {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(server.endpoint()),
        credentials: Some(SharedCredentialsProvider::new(Credentials::new(
            "test", "wrong", None, None, "test",
        ))),
    });
    let error = unknown.object(&"s3://bucket/key".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.reason, Reason::Unauthenticated);
}

/// Returns an address without a listener.
async fn unused() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?)
}

fn classifier(server: &ComprehendServer) -> ComprehendClassifier {
    ComprehendClassifier::new(Arc::new(at(&server.endpoint())))
}

fn of<'s>(segments: &'s [&'s str]) -> ClassificationRequest<'s> {
    ClassificationRequest { segments, deadline: Instant::now() + TIME }
}

#[tokio::test]
async fn comprehend_labels_each_segment() {
    let server = ComprehendServer::start().await.unwrap();
    let labels = classifier(&server).classify(of(&["how toxic", "Zoë is nice"])).await.unwrap();
    let scores = |scores: [f32; 3]| {
        let names = ["insult", "hate_speech", "toxicity"];
        names
            .iter()
            .zip(scores)
            .map(|(name, score)| Label { name: (*name).to_owned(), score })
            .collect::<Vec<_>>()
    };
    assert_eq!(labels, [scores([0.9, 0.05, 0.9]), scores([0.1, 0.05, 0.1])]);
    assert_eq!(server.requests(), [["how toxic", "Zoë is nice"]]);
}

#[tokio::test]
async fn comprehend_retries_transient_failures_only() {
    for (response, expected) in [
        (AwsResponse::throttled(), Ok(())),
        (AwsResponse::error(500, "InternalServerException"), Ok(())),
        (AwsResponse::Cut, Ok(())),
        (AwsResponse::error(400, "InvalidRequestException"), Err(Reason::InvalidArgument)),
        (AwsResponse::error(400, "UnsupportedLanguageException"), Err(Reason::InvalidArgument)),
        (AwsResponse::error(400, "TextSizeLimitExceededException"), Err(Reason::TooLarge)),
        (AwsResponse::error(400, "AccessDeniedException"), Err(Reason::PermissionDenied)),
        (AwsResponse::success(json!({})), Err(Reason::Internal)),
        (AwsResponse::success(json!({"ResultList": []})), Err(Reason::Internal)),
        (AwsResponse::success(json!({"ResultList": [{"Labels": []}]})), Err(Reason::Internal)),
        (
            AwsResponse::success(json!({"ResultList": [{"Labels": [{"Name": "INSULT"}], "Toxicity": 0.1}]})),
            Err(Reason::Internal),
        ),
    ] {
        let server = ComprehendServer::start().await.unwrap();
        server.script([response.clone()]);
        let result = classifier(&server).classify(of(&["hello"])).await;
        let calls = if expected.is_ok() { 2 } else { 1 };
        assert_eq!(result.map(drop).map_err(|failure| failure.reason), expected, "{response:?}");
        assert_eq!(server.requests().len(), calls, "{response:?}");
    }
}
