//! The binary: its output and its exit.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tonic::transport::Endpoint;

use crate::support::{CACHE, Client, within};

fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_momento-local"));
    command
        .args(args)
        .env_remove("MOMENTO_LOCAL_API_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Starts the binary and reads the line with its addresses.
pub(crate) async fn start(args: &[&str]) -> (Child, String) {
    let mut child = binary(args).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = within(lines.next_line()).await.unwrap().expect("a line with the addresses");
    (child, line)
}

async fn send_signal(child: &Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().await.unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn prints_addresses_serves_and_ends_on_signal() {
    for signal in ["-TERM", "-INT"] {
        let args = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cache", CACHE];
        let (mut child, line) = start(&args).await;
        let rest = line.strip_prefix("momento-local: gRPC on ").unwrap();
        let (endpoint, admin) = rest.split_once(", admin on ").unwrap();
        assert!(admin.starts_with("http://127.0.0.1:") && !admin.ends_with(":0"), "{line}");

        let channel = Endpoint::from_shared(endpoint.to_owned()).unwrap().connect_lazy();
        let client = Client { channel, metadata: Vec::new() };
        let mut subscriber = client.subscribe().await;
        client.publish("hello").await.unwrap();
        assert_eq!(subscriber.message().await.1, "hello");

        send_signal(&child, signal).await;
        assert!(within(child.wait()).await.unwrap().success(), "{signal}");
        subscriber.end().await;
    }
}

#[tokio::test]
async fn opens_no_admin_port_with_no_admin() {
    let (child, line) = start(&["--listen", "127.0.0.1:0", "--no-admin"]).await;
    assert!(!line.contains("admin"), "{line}");
    send_signal(&child, "-TERM").await;
    assert!(within(child.wait_with_output()).await.unwrap().status.success());
}

#[tokio::test]
async fn reports_start_error_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().map(|addr| (addr.to_string(), taken)).unwrap();
    for (args, expected) in [
        (&["--listen", taken.0.as_str(), "--no-admin"][..], format!("cannot listen on {}: ", taken.0)),
        (
            &["--listen", "127.0.0.1:0", "--admin", &taken.0],
            format!("cannot open the admin port on {}: ", taken.0),
        ),
        (
            &["--listen", "127.0.0.1:0", "--no-admin", "--cache", ""],
            "cannot create cache '': cache name must be".to_owned(),
        ),
    ] {
        let output = within(binary(args).output()).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with(&format!("momento-local: {expected}")), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    let output = within(binary(&["--history", "much"]).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
}
