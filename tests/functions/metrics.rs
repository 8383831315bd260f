//! The port with metrics for Prometheus.

use std::net::SocketAddr;

use serde_json::Value;
use test_support::signed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{CACHE, Function, INBOUND, Transport, genuine};

/// The counts of log records that all records have, and their names for Prometheus.
const COUNTS: [(&str, &str); 6] = [
    ("Received", "received"),
    ("Published", "published"),
    ("Failed", "failed"),
    ("DeadLettered", "dead_lettered"),
    ("Undelivered", "undelivered"),
    ("Ignored", "ignored"),
];

/// Returns the whole response to a request without a body.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The name of a container, as Prometheus sends it.
    let head = format!("{request} HTTP/1.1\r\nhost: function:9091\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn metrics_are_the_sums_of_log_records() {
    let function = Function::http(&[
        ("METRICS_ADDRESS", "127.0.0.1:0"),
        ("OUTBOUND_TOPICS", "a,b"),
        ("OUTBOUND_TOPIC", ""),
    ])
    .await;
    let find = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "listening for requests of metrics").then_some(())?;
        line["address"].as_str()?.parse::<SocketAddr>().ok()
    };
    let address = function.process.wait_for_line(find).await.unwrap();
    let wrong = signed::post("another secret", signed::event(CACHE, INBOUND, 9, "x").to_json()).unwrap();
    for (request, status) in [(&genuine(1, "one"), 200), (&genuine(2, "two"), 200), (&wrong, 403)] {
        assert_eq!(function.send(Transport::Http1, request).await.status, status);
    }
    function.log_record(|line| line["outcome"] == "signature_wrong").await;
    let response = ask(address, "GET /metrics").await;
    assert!(response.contains("content-type: text/plain; version=0.0.4\r\n"), "{response}");
    let records: Vec<Value> =
        function.process.output().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (name, prometheus) in COUNTS {
        let sum: u64 = records.iter().filter_map(|record| record[name].as_u64()).sum();
        let line = format!("\nfanout_function_{prometheus}_total {sum}\n");
        assert!(response.contains(&line), "{line} in {response}");
    }
    for line in [
        "\nfanout_function_published_total 4\n",
        "\nfanout_function_refused_total{reason=\"signature_wrong\"} 1\n",
        "\nfanout_function_latency_seconds_count 3\n",
        "\nfanout_function_event_age_seconds_count 2\n",
        "\n# TYPE fanout_function_latency_seconds histogram\n",
    ] {
        assert!(response.contains(line), "{line} in {response}");
    }
    assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405 "));
    assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn port_of_webhooks_has_no_metrics() {
    let function = Function::http(&[]).await;
    let response = ask(function.address(), "GET /metrics").await;
    assert!(!response.contains("fanout_function_"), "{response}");
    assert!(!function.process.output().iter().any(|line| line.contains("requests of metrics")));
}
