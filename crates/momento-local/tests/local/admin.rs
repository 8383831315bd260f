//! The admin port, over a plain socket.

use momento_local::MomentoLocal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::{CACHE, Client, TOPIC, within};

async fn momento() -> MomentoLocal {
    MomentoLocal::builder().cache(CACHE).admin(([127, 0, 0, 1], 0)).start().await.unwrap()
}

async fn send(momento: &MomentoLocal, request: &str, body: &str) -> (u16, Value) {
    send_with(momento, request, "host: localhost", body).await
}

async fn send_with(momento: &MomentoLocal, request: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(momento.admin_addr().unwrap()).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\n{headers}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut response = String::new();
    within(socket.read_to_string(&mut response)).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn blocks_unblocks_and_cuts_connections() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let ok = |blocked: bool| (200, json!({ "status": "ok", "blocked": blocked }));
    assert_eq!(send(&momento, "GET /health", "").await, ok(false));
    let mut subscriber = client.subscribe().await;
    assert_eq!(send(&momento, "GET /block", "").await, ok(true));
    assert!(subscriber.end().await.is_some());
    assert!(client.publish("x").await.is_err());
    assert_eq!(send(&momento, "GET /unblock", "").await, ok(false));
    let mut subscriber = client.subscribe().await;
    let subscribers = send(&momento, &format!("GET /subscribers?cache={CACHE}&topic={TOPIC}"), "").await;
    assert_eq!(subscribers, (200, json!({ "subscribers": 1 })));
    assert_eq!(send(&momento, "POST /cut", "").await, ok(false));
    assert!(subscriber.end().await.is_some());
}

#[tokio::test]
async fn injects_lists_and_removes_faults() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let fault = json!({ "kind": "error", "code": "permission-denied", "rpc": "topic-publish", "times": 5 });
    assert_eq!(send(&momento, "POST /faults", &fault.to_string()).await, (201, json!({ "id": 1 })));
    assert_eq!(client.publish_code().await, Some(Code::PermissionDenied));
    let listed = json!({ "faults": [{
        "id": 1, "hits": 1, "kind": "error", "code": "permission-denied", "rpc": "topic-publish", "times": 5
    }] });
    assert_eq!(send(&momento, "GET /faults", "").await, (200, listed));
    assert_eq!(send(&momento, "DELETE /faults/1", "").await.0, 200);
    assert_eq!(client.publish_code().await, None);
    assert_eq!(send(&momento, "DELETE /faults/1", "").await.0, 404);

    assert_eq!(send(&momento, "POST /faults", r#"{"kind":"hang"}"#).await, (201, json!({ "id": 2 })));
    assert_eq!(send(&momento, "DELETE /faults", "").await, (200, json!({ "faults": [] })));
    assert_eq!(client.publish_code().await, None);
}

#[tokio::test]
async fn resets_topic() {
    let momento = momento().await;
    let before = momento.publish(CACHE, TOPIC, "before").unwrap();
    let name = json!({ "cache": CACHE, "topic": TOPIC }).to_string();
    assert_eq!(send(&momento, "POST /reset", &name).await, (200, json!({ "reset": true })));
    let after = momento.publish(CACHE, TOPIC, "after").unwrap();
    assert_eq!(after.sequence_number, 1);
    assert!(after.sequence_page > before.sequence_page);
    let nowhere = json!({ "cache": "nowhere", "topic": TOPIC }).to_string();
    assert_eq!(send(&momento, "POST /reset", &nowhere).await.0, 422);
}

#[tokio::test]
async fn ignores_repeated_and_trailing_slashes_of_every_path() {
    let momento = momento().await;
    for (block, unblock) in
        [("//block", "//unblock"), ("/block/", "/unblock/"), ("//block//", "///unblock/?from=suite")]
    {
        for (path, blocked) in [(block, true), (unblock, false)] {
            let expected = (200, json!({ "status": "ok", "blocked": blocked }));
            assert_eq!(send(&momento, &format!("GET {path}"), "").await, expected, "{path}");
        }
    }
    assert_eq!(send(&momento, "GET //health/", "").await.0, 200);
    assert_eq!(send(&momento, "POST //faults/", r#"{"kind":"hang"}"#).await, (201, json!({ "id": 1 })));
    assert_eq!(send(&momento, "DELETE /faults//1/", "").await.0, 200);
    assert_eq!(send(&momento, "PUT //block", "").await.0, 405);
    assert_eq!(send(&momento, "GET /block/1", "").await.0, 404);
}

#[tokio::test]
async fn rejects_invalid_requests() {
    let momento = momento().await;
    for (request, body, status) in [
        ("GET /nowhere", "", 404),
        ("DELETE /faults/one", "", 404),
        ("PUT /faults", "{}", 405),
        ("GET /cut", "", 405),
        ("GET /subscribers", "", 400),
        ("POST /faults", "{", 400),
        ("POST /faults", r#"{"kind":"odd"}"#, 400),
        ("POST /faults", &" ".repeat(70_000), 400),
        ("POST /reset", "{}", 400),
    ] {
        let (received, body) = send(&momento, request, body).await;
        assert_eq!(received, status, "{request}");
        assert!(body["error"].is_string(), "{request}: {body}");
    }
}

#[tokio::test]
async fn rejects_pages_of_other_origins_without_effect() {
    let momento = momento().await;
    let fault = r#"{"kind":"hang"}"#;
    for headers in [
        "host: attacker.example",
        "host: 127.0.0.1.evil.com",
        "host: localhost\r\norigin: http://attacker.example",
        "host: localhost\r\norigin: http://localhost:3000",
        "host: localhost\r\norigin: null",
        "host: localhost\r\nsec-fetch-site: cross-site",
        "host: localhost\r\nsec-fetch-site: same-site",
    ] {
        for (request, body) in [
            ("GET /block", ""),
            ("POST /block", ""),
            ("POST /cut", ""),
            ("POST /faults", fault),
            ("GET /faults", ""),
        ] {
            let (status, body) = send_with(&momento, request, headers, body).await;
            assert_eq!(status, 403, "{request} {headers}");
            assert!(body["error"].as_str().unwrap().contains("is not allowed"), "{body}");
        }
    }
    assert_eq!(send_with(&momento, "GET /block", "x-host: none", "").await.0, 400);
    let health = (200, json!({ "status": "ok", "blocked": false }));
    assert_eq!(send(&momento, "GET /health", "").await, health);
    assert_eq!(send(&momento, "GET /faults", "").await, (200, json!({ "faults": [] })));
}

#[tokio::test]
async fn browser_blocks_only_with_post() {
    let momento = momento().await;
    for headers in ["host: localhost\r\nsec-fetch-site: none", "host: localhost\r\norigin: http://localhost"]
    {
        assert_eq!(send_with(&momento, "GET /block", headers, "").await.0, 405, "{headers}");
        assert_eq!(send_with(&momento, "GET /health", headers, "").await.1["blocked"], false);
        assert_eq!(send_with(&momento, "POST /block", headers, "").await.1["blocked"], true);
        assert_eq!(send_with(&momento, "GET /unblock", headers, "").await.0, 405, "{headers}");
        assert_eq!(send_with(&momento, "POST /unblock", headers, "").await.1["blocked"], false);
    }
}

#[tokio::test]
async fn rejects_more_faults_than_limit_until_one_is_removed() {
    let momento = momento().await;
    let fault = r#"{"kind":"cut","topic":"none"}"#;
    for id in 1..=1_000 {
        assert_eq!(send(&momento, "POST /faults", fault).await, (201, json!({ "id": id })));
    }
    let (status, body) = send(&momento, "POST /faults", fault).await;
    assert_eq!(status, 409);
    assert!(body["error"].as_str().unwrap().starts_with("1000 faults are injected"), "{body}");
    assert_eq!(send(&momento, "DELETE /faults/7", "").await.0, 200);
    assert_eq!(send(&momento, "POST /faults", fault).await, (201, json!({ "id": 1_001 })));
}

#[tokio::test]
async fn accepts_configured_host() {
    let builder = MomentoLocal::builder().admin(([127, 0, 0, 1], 0)).admin_host("momento");
    let momento = builder.start().await.unwrap();
    assert_eq!(send_with(&momento, "GET /health", "host: momento:9090", "").await.0, 200);
    assert_eq!(send_with(&momento, "GET /health", "host: other:9090", "").await.0, 403);
}

#[tokio::test]
async fn shuts_down_despite_idle_admin_connection() {
    let momento = momento().await;
    let mut idle = TcpStream::connect(momento.admin_addr().unwrap()).await.unwrap();
    send(&momento, "GET /health", "").await;
    within(momento.shutdown()).await;
    assert!(within(idle.read_u8()).await.is_err());
}
