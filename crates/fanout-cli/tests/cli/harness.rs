//! Runs `fanout`, and checks what it prints.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use momento_local::MomentoLocal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpSocket;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The timeout of every wait in a test, far longer than any wait takes.
const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A process that is running.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
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

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        Self {
            input: child.stdin.take(),
            out: BufReader::new(child.stdout.take().unwrap()).lines(),
            err: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
        }
    }

    /// Types a line.
    pub(crate) async fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("input is open");
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Ends the input, as Ctrl-D does.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits for the next line of standard output that contains `part`.
    pub(crate) async fn out(&mut self, part: &str) -> String {
        Self::find(&mut self.out, part).await
    }

    /// Waits for the next line of standard error that contains `part`.
    pub(crate) async fn err(&mut self, part: &str) -> String {
        Self::find(&mut self.err, part).await
    }

    async fn find<R: tokio::io::AsyncBufRead + Unpin>(lines: &mut Lines<R>, part: &str) -> String {
        let mut seen = Vec::new();
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(part) {
                    return Some(line);
                }
                seen.push(line);
            }
            None
        };
        match timeout(TIMEOUT, found).await {
            Ok(Some(line)) => line,
            other => panic!("no line with {part:?} ({other:?}) in {seen:#?}"),
        }
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs");
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Waits until the process ends, and returns its exit code.
    pub(crate) async fn code(mut self) -> Option<i32> {
        // The input stays open and the output is read, so that neither ends the process.
        let rest = async { while let Ok(Some(_)) = self.out.next_line().await {} };
        let rest_of_errors = async { while let Ok(Some(_)) = self.err.next_line().await {} };
        let (status, (), ()) =
            timeout(TIMEOUT, async { tokio::join!(self.child.wait(), rest, rest_of_errors) })
                .await
                .expect("it ends");
        status.unwrap().code()
    }
}

/// Starts local Momento in this process, with the cache `demo`.
pub(crate) async fn momento() -> MomentoLocal {
    MomentoLocal::builder().cache("demo").start().await.unwrap()
}

/// The URL of a port that is bound and does not listen.
pub(crate) struct ClosedPort {
    pub(crate) url: String,
    _socket: TcpSocket,
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { url: format!("http://{}", socket.local_addr().unwrap()), _socket: socket }
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
