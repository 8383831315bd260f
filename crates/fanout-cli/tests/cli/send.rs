//! `fanout send`.

use momento_webhook::standard::{self, Headers, StandardSecret};
use momento_webhook::{Event, SigningSecret, momento as signature};

use crate::harness::{ClosedPort, SECRET, end, end_with, fanout, momento};
use crate::stub::{RealFunction, Stub, response};

#[tokio::test]
async fn delivers_event_to_function() {
    let momento = momento().await;
    let function = RealFunction::start(&momento, "out", "uppercase").await;
    let args = ["send", "--url", &function.url, "--secret", SECRET, "--text", "hello"];
    let ended = end(fanout(&args)).await.assert_code(0);
    assert!(ended.out.starts_with("200 OK\n{\"status\":\"success\""), "{ended:#?}");
    assert_eq!(momento.published("demo", "out")[0].text(), Some("HELLO"));
}

#[tokio::test]
async fn function_refuses_wrong_signature_and_old_event() {
    let momento = momento().await;
    let function = RealFunction::start(&momento, "out", "echo").await;
    for (wrong, says) in [
        (&["--secret", "another"][..], "signature_wrong"),
        (&["--secret", SECRET, "--header", "momento-signature: 00"], "signature_wrong"),
        (&["--secret", SECRET, "--publish-timestamp", "1704296470565"], "event_too_old"),
        (&["--secret", SECRET, "--topic", "out"], "feeds_itself"),
        (&["--secret", SECRET, "--cache", ""], "not_an_event"),
    ] {
        let ended = end(fanout(&[&["send", "--url", &function.url], wrong].concat())).await.assert_code(1);
        assert!(ended.out.starts_with('4') && ended.out.contains(says), "{says} in {ended:#?}");
        assert!(ended.err.starts_with("fanout: the webhook was not accepted: 4"), "{ended:#?}");
    }
    assert!(momento.published("demo", "out").is_empty());
}

#[tokio::test]
async fn sends_given_members_and_headers() {
    let stub = Stub::start(|_, _| response(204, "")).await;
    let args = [
        "send",
        "--url",
        &stub.url,
        "--cache",
        "c",
        "--topic",
        "t/1",
        "--text",
        "-",
        "--token-id",
        "mo",
        "--sequence-number",
        "7",
        "--sequence-page",
        "8",
        "--event-timestamp",
        "1704296470564",
        "--publish-timestamp",
        "1704296470565",
        "--scheme",
        "both",
        "--id",
        "msg_1",
        "--header",
        "X-Other:  a:b ",
        "--header",
        "user-agent: mine",
    ];
    let mut command = fanout(&args);
    command.env("WEBHOOK_SIGNING_SECRET", SECRET);
    let ended = end_with(command, "two\nlines\n".as_bytes()).await.assert_code(0);
    assert_eq!(ended.out, "204 No Content\n");

    let request = &stub.requests()[0];
    assert_eq!((request.header("x-other"), request.header("user-agent")), ("a:b", "mine"));
    let signed = request.header(signature::SIGNATURE_HEADER).as_bytes();
    let proven = signature::verify(&[SigningSecret::new(SECRET).unwrap()], &request.body, [signed]).unwrap();
    let event = Event {
        cache: "c".to_owned(),
        topic: "t/1".to_owned(),
        event_timestamp: 1_704_296_470_564,
        publish_timestamp: 1_704_296_470_565,
        topic_sequence_number: 7,
        topic_sequence_page: Some(8),
        token_id: Some("mo".to_owned()),
        text: "two\nlines".to_owned(),
    };
    assert_eq!(*proven.event().unwrap(), event);
    let headers = Headers {
        id: request.header(standard::ID_HEADER),
        timestamp: request.header(standard::TIMESTAMP_HEADER),
        signature: request.header(standard::SIGNATURE_HEADER),
    };
    let secret = StandardSecret::parse(SECRET).unwrap();
    assert_eq!(standard::verify(&[secret], &request.body, headers).unwrap().1, 1_704_296_470);
    assert_eq!(headers.id, "msg_1");
}

#[tokio::test]
async fn sends_body_byte_for_byte() {
    let stub = Stub::start(|_, _| response(200, "ok")).await;
    let body = b"{ \"text\":\t\"\\u00e9\" }\n\xff\0\n";
    let args = ["send", "--url", &stub.url, "--secret", "k", "--body", "-"];
    end_with(fanout(&args), body).await.assert_code(0);
    let request = &stub.requests()[0];
    assert_eq!(&request.body[..], body);
    let secret = SigningSecret::new("k").unwrap();
    assert_eq!(request.header(signature::SIGNATURE_HEADER), signature::sign(&secret, body));
}

#[tokio::test]
async fn reports_failure_on_one_line() {
    let closed = ClosedPort::new();
    let to = ["send", "--url", &closed.url];
    let with = |more: &[&str]| fanout(&[&to, more].concat());
    end(with(&["--secret", "k"])).await.assert_code(1).assert_one_error("cannot connect to 127.0.0.1:");
    end(with(&["--secret", "k", "--body", "/no/such/file"]))
        .await
        .assert_code(1)
        .assert_one_error("/no/such/file");
    end(with(&["--secret", "not base64!", "--scheme", "both"]))
        .await
        .assert_code(1)
        .assert_one_error("secret");
    end(with(&[])).await.assert_code(2).assert_err("WEBHOOK_SIGNING_SECRET");
    let mut empty = with(&[]);
    empty.env("WEBHOOK_SIGNING_SECRET", "");
    end(empty).await.assert_code(2).assert_err("no signing secret");
}

#[tokio::test]
async fn does_not_follow_redirect() {
    let stub = Stub::start(|_, _| {
        http::Response::builder().status(307).header("location", "/elsewhere").body(String::new()).unwrap()
    })
    .await;
    end(fanout(&["send", "--url", &stub.url, "--secret", "k"])).await.assert_code(1);
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn removes_either_line_end_from_standard_input() {
    let stub = Stub::start(|_, _| response(200, "")).await;
    let args = ["send", "--url", &stub.url, "--secret", "k", "--text", "-"];
    for input in [&b"two\r\nlines\n"[..], b"two\r\nlines\r\n", b"two\r\nlines"] {
        end_with(fanout(&args), input).await.assert_code(0);
    }
    for request in stub.requests() {
        assert_eq!(request.json()["text"], "two\r\nlines");
    }
}
