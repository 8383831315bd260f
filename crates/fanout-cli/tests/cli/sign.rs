//! `fanout sign`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use momento_webhook::standard::{self, Headers, StandardSecret};
use serde::Deserialize;

use crate::harness::{SECRET, end, end_with, fanout};

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    secret: String,
    body_base64: String,
    signature: String,
}

#[tokio::test]
async fn signs_known_vectors() {
    let vectors = include_str!("../../../momento-webhook/tests/data/momento_signatures.json");
    let Vectors { vectors } = serde_json::from_str(vectors).unwrap();
    assert!(vectors.len() >= 10);
    for Vector { name, secret, body_base64, signature } in vectors {
        let body = BASE64.decode(body_base64).unwrap();
        let mut command = fanout(&["sign"]);
        command.env("WEBHOOK_SIGNING_SECRET", &secret);
        let ended = end_with(command, &body).await.assert_code(0);
        assert_eq!(ended.out, format!("momento-signature: {signature}\n"), "{name}");
    }
}

#[tokio::test]
async fn makes_valid_standard_webhooks_signature() {
    let args = ["sign", "--secret", SECRET, "--scheme", "standard", "--id", "msg_1", "--timestamp", "7"];
    let ended = end_with(fanout(&args), b"body\n").await.assert_code(0);
    let headers: Vec<_> = ended.out.lines().map(|line| line.split_once(": ").unwrap()).collect();
    let [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)] =
        headers[..]
    else {
        panic!("{headers:?}")
    };
    let secret = StandardSecret::parse(SECRET).unwrap();
    let proven = standard::verify(&[secret], &b"body\n"[..], Headers { id, timestamp, signature });
    assert_eq!(proven.unwrap().1, 7);
}

#[tokio::test]
async fn signs_file_and_prints_flags_for_curl() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let plain = end(fanout(&["sign", file, "--secret", "k"])).await.assert_code(0);
    let secret = momento_webhook::SigningSecret::new("k").unwrap();
    let signature = momento_webhook::momento::sign(&secret, include_bytes!("../../Cargo.toml"));
    assert_eq!(plain.out, format!("momento-signature: {signature}\n"));
    let curl = end(fanout(&["sign", file, "--secret", "k", "--curl"])).await.assert_code(0);
    assert_eq!(curl.out, format!("-H 'momento-signature: {signature}'\n"));
}

#[tokio::test]
async fn reports_failure_on_one_line() {
    let with = |more: &[&str]| fanout(&[&["sign", "--secret", "k"], more].concat());
    end(with(&["/no/such/file"])).await.assert_code(1).assert_one_error("/no/such/file cannot be read");
    end(with(&["--scheme", "standard"])).await.assert_code(1).assert_one_error("base64");
    let args = ["sign", "--secret", SECRET, "--scheme", "standard", "--id", "a.b"];
    end(fanout(&args)).await.assert_code(1).assert_one_error("webhook id");
    end(fanout(&["sign"])).await.assert_code(2).assert_err("no signing secret");
}
