//! Runs `fanout`, and checks what it prints.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use momento_local::MomentoLocal;
use serde_json::Value;
use test_support::process::{Process, TIMEOUT};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::Command;
use tokio::time::timeout;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Returns the command `fanout` with these arguments, without the settings of this process.
pub(crate) fn fanout(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanout"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for variable in ["MOMENTO_API_KEY", "MOMENTO_ENDPOINT", "WEBHOOK_SIGNING_SECRET"] {
        command.env_remove(variable);
    }
    // The metadata service of the machine that runs the tests is not asked.
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Starts a command with an open input.
pub(crate) fn start(mut command: Command) -> Process {
    command.stdin(Stdio::piped());
    Process::spawn(command).unwrap()
}

/// Runs a command until it ends.
pub(crate) async fn end(mut command: Command) -> Ended {
    ended(timeout(TIMEOUT, command.output()).await.expect("it ends").unwrap())
}

/// Runs a command with this input until it ends.
pub(crate) async fn end_with(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    ended(timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends").unwrap())
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    /// Returns the lines of standard output, each a JSON object.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Returns the JSON lines of one kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        self.json().into_iter().filter(|line| line["event"] == kind).collect()
    }

    #[track_caller]
    pub(crate) fn assert_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn assert_err(self, says: &str) -> Self {
        assert!(self.err.contains(says), "{says:?} in {self:#?}");
        self
    }

    /// Asserts that standard error has exactly one line, which begins as all errors do.
    #[track_caller]
    pub(crate) fn assert_one_error(self, says: &str) -> Self {
        let lines: Vec<_> = self.err.lines().collect();
        assert!(
            matches!(&lines[..], [line] if line.starts_with("fanout: ") && line.contains(says)),
            "{self:#?}"
        );
        self
    }
}

/// Starts local Momento in this process, with the cache `demo`.
pub(crate) async fn momento() -> MomentoLocal {
    MomentoLocal::builder().cache("demo").start().await.unwrap()
}

/// The URL of a port that is bound and does not listen.
pub(crate) struct ClosedPort {
    pub(crate) url: String,
    socket: TcpSocket,
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { url: format!("http://{}", socket.local_addr().unwrap()), socket }
    }

    /// Begins to listen.
    pub(crate) fn open(self) -> TcpListener {
        self.socket.listen(16).unwrap()
    }
}

/// A file that is removed when this is dropped.
pub(crate) struct File(PathBuf);

impl File {
    /// Writes a file. Each test uses another name.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
