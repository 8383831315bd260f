//! The limits on what callers can hold over plain HTTP.

use std::path::Path;
use std::time::Duration;

use momento_local::{Fault, MomentoLocal, Rpc};
use serde_json::Value;
use test_support::process::{Process, TIMEOUT};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{CACHE, Function, OUTBOUND, Transport, genuine, listening, program, settings};

/// The limit of open files, and the connections that the function accepts with it.
const OPEN_FILES: usize = 128;
const CONNECTIONS: usize = 96;

const SIGNATURE: &str =
    "momento-signature: 0000000000000000000000000000000000000000000000000000000000000000\r\n";

async fn with_few_files() -> Function {
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let limited = format!("ulimit -n {OPEN_FILES} && exec {}", program().display());
    let environment = settings(&momento.endpoint(), &[]);
    let process = Process::start_with(Path::new("/bin/sh"), &["-c", &limited], environment).unwrap();
    let port = listening(&process).await;
    Function::over(momento, process, None, port)
}

async fn send(function: &Function, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(function.address()).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    connection
}

/// Returns what the function sends until it closes the connection.
async fn until_closed(mut connection: TcpStream) -> String {
    let mut received = Vec::new();
    // An unread body makes the end of a connection a reset.
    let _ = timeout(TIMEOUT, connection.read_to_end(&mut received)).await.expect("the connection is closed");
    String::from_utf8(received).unwrap()
}

async fn ask_for_health(connection: &mut TcpStream) -> bool {
    connection.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut received = [0; 512];
    let length = timeout(TIMEOUT, connection.read(&mut received)).await.expect("a response").unwrap_or(0);
    received[..length].starts_with(b"HTTP/1.1 200 ")
}

fn warnings(function: &Function) -> Vec<Value> {
    let lines = function.process.output();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"] == "WARN" && line["limit"].is_number()).collect()
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let function = with_few_files().await;
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS + 20 {
        let mut connection = TcpStream::connect(function.address()).await.unwrap();
        assert!(ask_for_health(&mut connection).await, "{number}");
        connections.push(connection);
    }
    // The longest idle are closed, and the others are not.
    for connection in connections.drain(..20) {
        assert_eq!(until_closed(connection).await, "");
    }
    for connection in &mut connections {
        assert!(ask_for_health(connection).await);
    }
    // There are files left for new connections to Momento.
    function.momento.cut_connections();
    for number in 0..10 {
        assert_eq!(function.deliver(Transport::Http1, number, "hello").await.status, 200);
    }
    let warnings = warnings(&function);
    let [warning] = &warnings[..] else { panic!("one warning, not {warnings:?}") };
    assert_eq!(warning["limit"], CONNECTIONS);
    assert_eq!(warning["message"], "connections at the limit: the oldest give way");
}

#[tokio::test]
async fn silent_and_unfinished_connections_give_way_to_new_ones() {
    let function = with_few_files().await;
    let unfinished = format!("POST / HTTP/1.1\r\nhost: x\r\n{SIGNATURE}content-length: 100\r\n\r\nonly this");
    for beginning in ["", "POST / HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &unfinished] {
        let mut connections = Vec::new();
        for _ in 0..=CONNECTIONS {
            connections.push(send(&function, beginning.as_bytes()).await);
        }
        let started = std::time::Instant::now();
        assert_eq!(function.deliver(Transport::Http1, 1, "hello").await.status, 200, "{beginning}");
        assert!(started.elapsed() < Duration::from_secs(2), "{beginning}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn connection_whose_request_is_handled_does_not_give_way() {
    let function = with_few_files().await;
    let fault = function.momento.inject(Fault::hang().on(Rpc::Publish).times(1));
    let request = genuine(1, "hello");
    let (response, ()) = tokio::join!(function.send(Transport::Http1, &request), async {
        timeout(TIMEOUT, fault.wait_for_hits(1)).await.expect("a publish");
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS + 20 {
            let mut connection = TcpStream::connect(function.address()).await.unwrap();
            assert!(ask_for_health(&mut connection).await);
            connections.push(connection);
        }
    });
    assert_eq!(response.status, 200);
    assert_eq!(function.published(OUTBOUND), ["HELLO"]);
}

#[tokio::test]
async fn oldest_unfinished_bodies_get_503_when_memory_runs_short() {
    let function = Function::http(&[("HTTP_BODY_MEMORY_MIB", "1")]).await;
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{SIGNATURE}content-length: 250000\r\n\r\n");
    let unfinished = [head.as_bytes(), &vec![b'x'; 200_000]].concat();
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(send(&function, &unfinished).await);
        // The request of this connection begins before that of the next one.
        assert_eq!(function.deliver(Transport::Http1, 1, "hello").await.status, 200);
    }
    for connection in connections.drain(..2) {
        let response = until_closed(connection).await;
        assert!(response.starts_with("HTTP/1.1 503 ") && response.contains("overloaded"), "{response}");
        assert!(response.contains("retry-after: 2\r\n"), "{response}");
    }
    let record = function.log_record(|line| line["outcome"] == "overloaded").await;
    assert_eq!((&record["status"], &record["Undelivered"]), (&503.into(), &0.into()));
    let warnings = warnings(&function);
    let [warning] = &warnings[..] else { panic!("one warning, not {warnings:?}") };
    assert_eq!(warning["message"], "memory for bodies at the limit: the oldest give way");
}

#[tokio::test]
async fn rejects_on_headers_before_body_is_sent() {
    let function = Function::http(&[]).await;
    let malformed = SIGNATURE.replace("00\r", "0\r");
    let twice = SIGNATURE.repeat(2);
    for (method, signature, length, expected) in [
        ("PUT", SIGNATURE, 10, "405 "),
        ("POST", "", 10, "403 "),
        ("POST", &malformed, 10, "403 "),
        ("POST", &twice, 10, "403 "),
        ("POST", SIGNATURE, 262_145, "413 "),
        ("POST", SIGNATURE, 99_000_000, "413 "),
    ] {
        let head = format!("{method} / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{signature}");
        let head = format!("{head}content-length: {length}\r\n\r\n");
        let response = until_closed(send(&function, head.as_bytes()).await).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {expected}")), "{head}{response}");
    }
}

#[tokio::test]
async fn rejects_headers_over_16_kib() {
    let function = Function::http(&[]).await;
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "b".repeat(20_000));
    let response = until_closed(send(&function, head.as_bytes()).await).await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
}

/// Sends requests over HTTP/2 and allows no byte of a response body. Returns after each has response headers or is
/// refused.
async fn send_without_window(function: &Function, requests: u8) -> TcpStream {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS: a window of 0 bytes.
    bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    for request in 0..requests {
        // HEADERS: a POST without a signature.
        bytes.extend([0, 0, 6, HEADERS, 5, 0, 0, 0, 2 * request + 1, 0x83, 0x86, 0x84, 0x01, 1, b'x']);
    }
    let mut connection = send(function, &bytes).await;
    let mut left = requests;
    while left > 0 {
        let mut head = [0; 9];
        timeout(TIMEOUT, connection.read_exact(&mut head)).await.expect("a frame").unwrap();
        let [_, high, low, kind, ..] = head;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        connection.read_exact(&mut payload).await.unwrap();
        left -= u8::from(matches!(kind, HEADERS | RST_STREAM));
    }
    connection
}

#[tokio::test]
async fn unread_responses_take_little_memory() {
    const CONNECTIONS: u64 = 150;
    let function = Function::http(&[]).await;
    let resident = || {
        let pid = function.process.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    };
    assert_eq!(function.deliver(Transport::Http1, 1, "hello").await.status, 200);
    let before = resident();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(send_without_window(&function, 64).await);
    }
    let each = (resident() - before) / CONNECTIONS;
    assert!(each < 80 << 10, "{} KiB for a connection", each >> 10);
    assert_eq!(function.deliver(Transport::Http1, 2, "hello").await.status, 200);
}
