//! Hostile requests over real sockets, in HTTP/1.1 and HTTP/2.

#![cfg(test)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use local_guard::Guard;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the address of a server for both versions of HTTP, whose response to an accepted request is 200.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| async move {
                    let checked = Guard::loopback().check(&request);
                    let status =
                        checked.as_ref().map_or_else(local_guard::Rejected::status, |()| StatusCode::OK);
                    let body = checked.map_or_else(|rejected| rejected.to_string(), |()| String::new());
                    let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
                    Ok::<_, Infallible>(response.unwrap())
                });
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    addr
}

/// Sends a request of HTTP/1.1 as it is, and returns the status and the body of the response.
async fn send(addr: SocketAddr, line: &str, headers: &[&str]) -> (u16, String) {
    send_on(TcpStream::connect(addr).await.unwrap(), line, headers).await
}

/// Sends a request as [`send`] does, on an open connection.
async fn send_on(mut socket: TcpStream, line: &str, headers: &[&str]) -> (u16, String) {
    let lines: String = headers.iter().flat_map(|header| [*header, "\r\n"]).collect();
    let request = format!("{line}\r\n{lines}connection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    tokio::time::timeout(TIMEOUT, socket.read_to_end(&mut response)).await.unwrap().unwrap();
    let response = String::from_utf8(response).unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

#[tokio::test]
async fn accepts_loopback_host_without_origin_in_any_form() {
    let addr = server().await;
    for host in [
        "localhost",
        "LocalHost:1",
        "127.0.0.1:9090",
        "127.255.0.1",
        "[::1]",
        "[::1]:9090",
        "[0:0:0:0:0:0:0:1]:1",
    ] {
        for line in ["GET / HTTP/1.1".to_owned(), format!("GET http://{host}/ HTTP/1.1")] {
            assert_eq!(
                send(addr, &line, &[&format!("host: {host}")]).await,
                (200, String::new()),
                "{line} {host}"
            );
        }
    }
    assert_eq!(send(addr, "GET / HTTP/1.0", &["host: localhost"]).await.0, 200);
}

#[tokio::test]
async fn rejects_foreign_host_that_resembles_loopback() {
    let addr = server().await;
    for host in [
        "attacker.example",
        "attacker.example:9090",
        "127.0.0.1.evil.com",
        "127.0.0.1.",
        "localhost.",
        "localhost.evil.com",
        "evil-localhost",
        "0.0.0.0",
        "0.0.0.0:9090",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
    ] {
        let (status, body) = send(addr, "GET / HTTP/1.1", &[&format!("host: {host}")]).await;
        assert_eq!(status, 403, "{host}");
        assert!(body.contains("is not allowed; expected `localhost`"), "{host}: {body}");
    }
}

#[tokio::test]
async fn rejects_missing_repeated_and_malformed_host() {
    let addr = server().await;
    for (line, headers) in [
        ("GET / HTTP/1.1", &[][..]),
        ("GET / HTTP/1.0", &[]),
        ("GET / HTTP/1.1", &["host: localhost", "host: localhost"]),
        ("GET / HTTP/1.1", &["host: localhost", "host: attacker.example"]),
        ("GET / HTTP/1.1", &["host: attacker.example", "host: localhost"]),
        ("GET / HTTP/1.1", &["host:"]),
        ("GET / HTTP/1.1", &["host: localhost, attacker.example"]),
        ("GET / HTTP/1.1", &["host: localhost:"]),
        ("GET / HTTP/1.1", &["host: localhost:port"]),
        ("GET / HTTP/1.1", &["host: localhost:99999"]),
        ("GET / HTTP/1.1", &["host: localhost:80:80"]),
        ("GET / HTTP/1.1", &["host: user@localhost"]),
        ("GET / HTTP/1.1", &["host: localhost@attacker.example"]),
        ("GET / HTTP/1.1", &["host: http://localhost"]),
        ("GET / HTTP/1.1", &["host: localhost/"]),
        ("GET / HTTP/1.1", &["host: ::1"]),
        ("GET / HTTP/1.1", &["host: [::1"]),
        ("GET / HTTP/1.1", &["host: l\u{f6}calhost"]),
        ("GET http://localhost/ HTTP/1.1", &["host: attacker.example"]),
        ("GET http://attacker.example/ HTTP/1.1", &["host: localhost"]),
        ("GET http://user@localhost/ HTTP/1.1", &["host: localhost"]),
    ] {
        assert_eq!(send(addr, line, headers).await.0, 400, "{line} {headers:?}");
    }
    let absolute = "GET http://attacker.example/ HTTP/1.1";
    assert_eq!(send(addr, absolute, &["host: attacker.example"]).await.0, 403);
}

#[tokio::test]
async fn accepts_only_origin_of_port_itself() {
    let addr = server().await;
    for (host, origin, status) in [
        ("localhost:9090", "http://localhost:9090", 200),
        ("127.0.0.1:9090", "http://127.0.0.1:9090", 200),
        ("[::1]:9090", "http://[::1]:9090", 200),
        ("localhost", "http://localhost:80", 200),
        ("localhost:80", "http://localhost", 200),
        ("localhost:9090", "http://localhost:3000", 403),
        ("localhost:9090", "http://localhost", 403),
        ("localhost:9090", "http://127.0.0.1:9090", 403),
        ("localhost:9090", "http://attacker.example", 403),
        ("localhost:9090", "http://attacker.example:9090", 403),
        ("localhost:9090", "http://localhost:9090@attacker.example", 403),
        ("localhost:9090", "http://localhost:9090/", 403),
        ("localhost:9090", "http://localhost.:9090", 403),
        ("localhost:9090", "null", 403),
        ("localhost:9090", "", 403),
        ("localhost:9090", "file://", 403),
        ("localhost:9090", "chrome-extension://abcdef", 403),
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let headers = [format!("host: {host}"), format!("origin: {origin}")];
            let headers = [&*headers[0], &*headers[1]];
            assert_eq!(send(addr, &format!("{method} / HTTP/1.1"), &headers).await.0, status, "{headers:?}");
        }
    }
    let twice = ["host: localhost", "origin: http://localhost", "origin: http://localhost"];
    assert_eq!(send(addr, "GET / HTTP/1.1", &twice).await.0, 400);
}

#[tokio::test]
async fn rejects_request_of_page_of_another_site_or_port() {
    let addr = server().await;
    for (site, status) in [
        ("none", 200),
        ("same-origin", 200),
        ("same-site", 403),
        ("cross-site", 403),
        ("Cross-Site", 403),
        ("same-origin, cross-site", 403),
        ("", 403),
    ] {
        let headers = ["host: localhost", &format!("sec-fetch-site: {site}")];
        assert_eq!(send(addr, "GET / HTTP/1.1", &headers).await.0, status, "{site}");
    }
    let twice = ["host: localhost", "sec-fetch-site: none", "sec-fetch-site: cross-site"];
    assert_eq!(send(addr, "GET / HTTP/1.1", &twice).await.0, 400);
}

#[tokio::test]
async fn checks_authority_of_http2() {
    let addr = server().await;
    let socket = TcpStream::connect(addr).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    for (authority, header, status) in [
        ("localhost", None, 200),
        ("127.0.0.1:9090", None, 200),
        ("[::1]:9090", None, 200),
        ("localhost", Some(("host", "localhost")), 200),
        ("attacker.example", None, 403),
        ("127.0.0.1.evil.com", None, 403),
        ("localhost.", None, 403),
        ("attacker.example", Some(("host", "localhost")), 400),
        ("localhost", Some(("host", "attacker.example")), 400),
        ("localhost", Some(("origin", "http://attacker.example")), 403),
        ("localhost", Some(("origin", "null")), 403),
        ("localhost", Some(("sec-fetch-site", "cross-site")), 403),
    ] {
        let mut request = Request::get(format!("http://{authority}/"));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let response = tokio::time::timeout(TIMEOUT, response).await.unwrap().unwrap();
        assert_eq!(response.status(), status, "{authority} {header:?}");
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn serves_requests_while_others_keep_more_connections_than_may_be_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let respond = |request: Request<Bytes>| async move {
        local_guard::json_response(StatusCode::OK, &serde_json::json!(request.body().len()))
    };
    let serve = local_guard::serve(listener, Guard::loopback(), "the port", std::future::pending(), respond);
    tokio::spawn(serve);
    for beginning in
        ["", "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n"]
    {
        let mut kept = Vec::new();
        for number in 0..300 {
            let mut socket = TcpStream::connect(addr).await.unwrap();
            socket.write_all(beginning.as_bytes()).await.unwrap();
            kept.push(socket);
            if number % 10 == 0 {
                // Its request arrives after the next connection.
                let slow = TcpStream::connect(addr).await.unwrap();
                let response = send(addr, "GET / HTTP/1.1", &["host: localhost"]).await;
                assert_eq!(response, (200, "0\n".to_owned()), "{beginning:?} {number}");
                let response = send_on(slow, "GET / HTTP/1.1", &["host: localhost"]).await;
                assert_eq!(response, (200, "0\n".to_owned()), "{beginning:?} {number}");
            }
        }
        // The oldest are closed.
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(TIMEOUT, kept[0].read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty());
    }
    // A head that is too long takes no memory.
    let long = format!("x-a: {}", "b".repeat(17 * 1_024));
    assert_eq!(send(addr, "GET / HTTP/1.1", &["host: localhost", &long]).await.0, 431);
}
