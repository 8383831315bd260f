//! Hostile requests to a public URL. None causes a panic, a 500 or a failed invocation, and the function continues.

use std::time::Duration;

use serde_json::json;
use test_support::gateway::Gateway;
use test_support::runtime_api::Invoked;
use test_support::signed::{self, RawRequest};

use crate::support::{BOTH, CACHE, Function, INBOUND, OUTBOUND, SECRET, Transport, genuine};

fn raw(body: &str) -> String {
    body.replace("NOW", &signed::now().to_string())
}

/// Returns hostile bodies, each with the status of its response when it has a valid signature.
fn bodies() -> Vec<(&'static str, Vec<u8>, u16)> {
    let event = |text: &str| {
        raw(&format!(
            r#"{{"cache":"demo","topic":"topic 1","event_timestamp":NOW,"publish_timestamp":NOW,"topic_sequence_number":SEQ,"token_id":"","text":{text}}}"#
        ))
    };
    let good = |number: u64, text: &str| event(text).replace("SEQ", &number.to_string()).into_bytes();
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    vec![
        ("invalid UTF-8", b"{\"cache\":\"demo\xff\xfe\"}".to_vec(), 400),
        ("only bytes", vec![0xff; 100], 400),
        ("no bytes", Vec::new(), 400),
        ("deep nesting", deep.clone().into_bytes(), 400),
        ("deep nesting for a text", good(1, &deep), 400),
        (
            "deep nesting beside the event",
            raw(&format!(
                r#"{{"x":{deep},"cache":"demo","topic":"topic 1","event_timestamp":NOW,"publish_timestamp":NOW,"topic_sequence_number":2,"text":"a"}}"#
            ))
            .into_bytes(),
            200,
        ),
        ("a text given twice", good(3, r#""a","text":"b""#), 400),
        ("a topic given twice", good(4, r#""a","topic":"b""#), 400),
        ("a lone surrogate", good(5, r#""\ud800""#), 400),
        ("surrogates the wrong way round", good(6, r#""\udc00\ud800""#), 400),
        ("NUL", good(7, r#""\u0000""#), 200),
        ("a raw NUL", good(8, "\"\0\""), 400),
        ("an empty text", good(9, r#""""#), 200),
        ("every kind of white space", good(10, r#""\t\r\n\u00a0\u2028""#), 200),
        ("a text that is a number", good(11, "1"), 400),
        ("a huge number", event(r#""a""#).replace("SEQ", "1e400").into_bytes(), 400),
        ("a long number", event(r#""a""#).replace("SEQ", &"9".repeat(10_000)).into_bytes(), 400),
        ("a negative number", event(r#""a""#).replace("SEQ", "-1").into_bytes(), 400),
        ("the largest number", good(u64::MAX, r#""a""#), 200),
        ("a time without end", event(r#""a""#).replace("SEQ", "12").replace("\"event_timestamp\":", "\"event_timestamp\":9").into_bytes(), 200),
        ("a time past all times", raw(r#"{"cache":"demo","topic":"topic 1","event_timestamp":18446744073709551615,"publish_timestamp":NOW,"topic_sequence_number":1,"text":"a"}"#).into_bytes(), 400),
        ("a topic of control characters", raw(r#"{"cache":"demo","topic":"\u0000\n\u001b[31m","event_timestamp":NOW,"publish_timestamp":NOW,"topic_sequence_number":13,"text":"a"}"#).into_bytes(), 200),
        ("a cache that makes no header", raw(r#"{"cache":"\n","topic":"t","event_timestamp":NOW,"publish_timestamp":NOW,"topic_sequence_number":1,"text":"a"}"#).into_bytes(), 422),
        ("a cache that is not ASCII", raw(r#"{"cache":"é","topic":"t","event_timestamp":NOW,"publish_timestamp":NOW,"topic_sequence_number":1,"text":"a"}"#).into_bytes(), 422),
        ("a topic without end", raw(&format!(r#"{{"cache":"demo","topic":"{}","event_timestamp":NOW,"publish_timestamp":NOW,"topic_sequence_number":1,"text":"a"}}"#, "t".repeat(200_000))).into_bytes(), 400),
        ("trailing text", [good(14, r#""a""#), b"x".to_vec()].concat(), 400),
        ("a byte order mark", ["\u{feff}".as_bytes(), &good(15, r#""a""#)].concat(), 400),
    ]
}

/// Checks that the function still publishes, and has not panicked.
async fn still_works(function: &Function, transport: Transport, number: u64) {
    let response = function.deliver(transport, number, "still here").await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(function.published(OUTBOUND).last().map(String::as_str), Some("STILL HERE"));
    let panicked = function.process.output().into_iter().find(|line| line.contains("panicked"));
    assert_eq!(panicked, None);
}

#[tokio::test]
async fn responds_to_hostile_bodies_with_valid_signature() {
    for transport in [Transport::Lambda(Gateway::FunctionUrl, true), Transport::Http1, Transport::Http2] {
        let function = Function::start(transport, &[]).await;
        for (name, body, status) in bodies() {
            let response = function.send(transport, &signed::post(SECRET, body).unwrap()).await;
            assert_eq!(response.status, status, "{transport:?}, {name}: {response:?}");
        }
        still_works(&function, transport, 1_000).await;
    }
}

#[tokio::test]
async fn rejects_hostile_bodies_with_wrong_signature() {
    for transport in [Transport::Lambda(Gateway::RestApi, true), Transport::Http1] {
        let function = Function::start(transport, &[]).await;
        for (name, body, _) in bodies() {
            let response = function.send(transport, &signed::post("another secret", body).unwrap()).await;
            assert_eq!(response.status, 403, "{transport:?}, {name}: {response:?}");
        }
        assert!(function.published(OUTBOUND).is_empty());
        still_works(&function, transport, 1_000).await;
    }
}

#[tokio::test]
async fn rejects_malformed_and_repeated_signatures() {
    let good = genuine(1, "hello");
    let signature = good.headers.iter().find(|(name, _)| name == "momento-signature").unwrap().1.clone();
    let with = |values: &[&[u8]]| {
        let mut headers: Vec<_> =
            good.headers.iter().filter(|(name, _)| name != "momento-signature").cloned().collect();
        headers.extend(values.iter().map(|value| ("momento-signature".to_owned(), value.to_vec())));
        RawRequest { headers, ..good.clone() }
    };
    for transport in Transport::all() {
        let function = Function::start(transport, &[]).await;
        for (name, values) in [
            ("empty", vec![&b""[..]]),
            ("short", vec![&signature[..63]]),
            ("long", vec![&[&signature[..], b"0"].concat()[..]]),
            ("not hexadecimal", vec![&[b'z'; 64]]),
            ("not ASCII", vec!["é".as_bytes()]),
            ("64 bytes that are not ASCII", vec!["é".repeat(32).as_bytes()]),
            ("very long", vec![&[b'a'; 7_000]]),
            ("with its algorithm", vec![&[b"sha3=", &signature[..]].concat()[..]]),
        ] {
            let response = function.send(transport, &with(&values)).await;
            assert_eq!(response.status, 403, "{transport:?}, {name}: {response:?}");
        }
        // The payload of a load balancer without multi-value headers has only the last of two: there
        // they cannot be told apart from one.
        if !matches!(transport, Transport::Lambda(Gateway::LoadBalancer, _)) {
            for two in [[&signature[..], &signature[..]], [&signature[..], b"00"], [b"00", &signature[..]]] {
                let response = function.send(transport, &with(&two)).await;
                assert_eq!(response.status, 403, "{transport:?}, two: {response:?}");
            }
        }
        assert!(function.published(OUTBOUND).is_empty());
        still_works(&function, transport, 1_000).await;
    }
}

#[tokio::test]
async fn ignores_other_headers() {
    for transport in Transport::all() {
        let function = Function::start(transport, &[]).await;
        let mut request = genuine(1, "hello");
        request.headers.push(("x-name".into(), "José".into()));
        request.headers.push(("x-name".into(), b"twice".to_vec()));
        request.headers.push(("x-empty".into(), Vec::new()));
        request.headers.push(("x-forwarded-proto".into(), b"%%%".to_vec()));
        if matches!(transport, Transport::Lambda(..)) {
            request.headers.push(("host".into(), b"no host[ at all".to_vec()));
            request.headers.push(("not a header name".into(), b"\n".to_vec()));
        }
        let response = function.send(transport, &request).await;
        assert_eq!(response.status, 200, "{transport:?}: {response:?}");
        assert_eq!(function.published(OUTBOUND), ["HELLO"], "{transport:?}");
    }
}

#[tokio::test]
async fn rejects_body_that_is_not_base64_as_announced() {
    let function = Function::lambda(&[]).await;
    for gateway in Gateway::ALL {
        for body in ["!", "YQ", "YQ==YQ==", "é", "{\"cache\":\"demo\"}"] {
            let mut payload = gateway.payload(&genuine(1, "hello"), true).unwrap();
            payload["body"] = json!(body);
            let response = function.invoke(payload.to_string().into_bytes()).await;
            assert_eq!(response["statusCode"], 403, "{gateway:?} {body:?}: {response}");
        }
    }
    still_works(&function, Transport::Lambda(Gateway::FunctionUrl, false), 1_000).await;
}

#[tokio::test]
async fn accepts_every_path_and_rejects_every_other_method() {
    let function = Function::lambda(&[]).await;
    for gateway in Gateway::ALL {
        for (number, path) in (1..).zip(["", "/é", "/ /<>\"", "/%zz", "//", "no slash", "/\u{0}"]) {
            let mut payload = gateway.payload(&genuine(number, path), false).unwrap();
            for member in ["rawPath", "path"] {
                if payload.get(member).is_some() {
                    payload[member] = json!(path);
                }
            }
            let response = function.invoke(payload.to_string().into_bytes()).await;
            assert_eq!(response["statusCode"], 200, "{gateway:?} {path:?}: {response}");
        }
        for method in ["", "get", "post", "P ST", "\u{e9}"] {
            let request = RawRequest { method: method.into(), ..genuine(1, "hello") };
            let payload = gateway.payload(&request, false).unwrap();
            let response = function.invoke(payload.to_string().into_bytes()).await;
            assert_eq!(response["statusCode"], 405, "{gateway:?} {method:?}: {response}");
        }
    }
}

#[tokio::test]
async fn gateway_payload_that_is_not_a_request_is_400() {
    let function = Function::lambda(&[]).await;
    for payload in [
        r#"{"requestContext":null}"#,
        r#"{"requestContext":{"http":{}}}"#,
        r#"{"requestContext":{"http":{"method":7}}}"#,
        r#"{"requestContext":{},"httpMethod":null}"#,
        r#"{"requestContext":{},"requestContext":{}}"#,
    ] {
        let response = function.invoke(payload.as_bytes().to_vec()).await;
        assert_eq!(response["statusCode"], 400, "{payload}: {response}");
        let body: serde_json::Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["code"], "not_http", "{payload}");
    }
    still_works(&function, Transport::Lambda(Gateway::FunctionUrl, false), 1_000).await;
}

/// For other services every response means success: a pipe would delete what it has read, a stream would go on.
#[tokio::test]
async fn unknown_invocation_is_an_error_of_the_function() {
    let function = Function::lambda(&[]).await;
    for payload in [
        "{}",
        "null",
        "[]",
        "1",
        "\"text\"",
        r#"{"source":"aws.events","detail-type":"Scheduled Event","detail":{}}"#,
        r#"{"Records":[{"EventSource":"aws:sns","Sns":{}}]}"#,
        r#"{"Records":[{"eventSource":"aws:kinesis","kinesis":{}}]}"#,
        r#"[{"eventSource":"aws:sqs","messageId":"1","body":"{}"}]"#,
    ] {
        let runtime_api = function.runtime_api.as_ref().unwrap();
        let invoked =
            runtime_api.invoke(payload.as_bytes().to_vec().into(), Duration::from_secs(10)).await.unwrap();
        let Invoked::Error(error) = invoked else { panic!("{payload}: {invoked:?}") };
        let error: serde_json::Value = serde_json::from_slice(&error).unwrap();
        assert_eq!(error["errorType"], "UnknownInvocation", "{payload}: {error}");
        assert!(error["errorMessage"].as_str().unwrap().contains("neither an HTTP request"), "{error}");
    }
    still_works(&function, Transport::Lambda(Gateway::FunctionUrl, false), 1_000).await;
}

#[tokio::test]
async fn responds_to_payloads_that_are_not_utf_8_or_json() {
    let function = Function::lambda(&[]).await;
    let mut number = 100;
    for gateway in Gateway::ALL {
        for (bytes, expected) in [
            (&b"\xee"[..], 200),
            (b"\xff\xfe", 200),
            (b"\xc3", 200),
            (b"\\xEE", 400),
            (b"\\u12", 400),
            (b"\n", 400),
        ] {
            number += 1;
            let mut request = genuine(number, "hello");
            request.headers.push(("user-agent".to_owned(), b"MARK".to_vec()));
            let payload = gateway.payload(&request, false).unwrap().to_string();
            let (before, after) = payload.split_once("MARK").unwrap();
            let after = after.replace("MARK", "");
            let payload = [before.as_bytes(), bytes, after.as_bytes()].concat();
            let response = function.invoke(payload).await;
            assert_eq!(response["statusCode"], expected, "{gateway:?} {bytes:?}: {response}");
        }
    }
    still_works(&function, BOTH[0], 1).await;
}

#[tokio::test]
async fn payload_without_headers_or_body_is_403() {
    let function = Function::lambda(&[]).await;
    for gateway in Gateway::ALL {
        for absent in [json!(null), json!({})] {
            let mut payload = gateway.payload(&genuine(1, "hello"), false).unwrap();
            for member in ["headers", "multiValueHeaders"] {
                if payload.get(member).is_some() {
                    payload[member] = absent.clone();
                }
            }
            payload["body"] = json!(null);
            let response = function.invoke(payload.to_string().into_bytes()).await;
            assert_eq!(response["statusCode"], 403, "{gateway:?}: {response}");
        }
    }
}

#[tokio::test]
async fn log_shows_no_text_signature_or_secret() {
    for transport in [Transport::Lambda(Gateway::FunctionUrl, false), Transport::Http1] {
        let function = Function::start(
            transport,
            &[("RUST_LOG", "trace"), ("WEBHOOK_SIGNING_SECRET_PREVIOUS", "older-s3cr3t")],
        )
        .await;
        let mut event = signed::event(CACHE, INBOUND, 1, "a pr1vate text");
        event.token_id = Some("mo".into());
        let good = signed::post(SECRET, event.to_json()).unwrap();
        let signature = String::from_utf8(good.headers[2].1.clone()).unwrap();
        function.send(transport, &good).await;
        let not_an_event = r#"{"cache":"demo","topic":"a pr1vate text","event_timestamp":"a pr1vate text"}"#;
        function.send(transport, &signed::post(SECRET, not_an_event).unwrap()).await;
        function.send(transport, &signed::post("older-s3cr3t", "a pr1vate text").unwrap()).await;
        function.log_record(|line| line["outcome"] == "not_an_event").await;
        let output = function.process.output().join("\n");
        for hidden in ["pr1vate", "PR1VATE", SECRET, "older-s3cr3t", &signature] {
            assert!(!output.contains(hidden), "{hidden} in {output}");
        }
    }
}
