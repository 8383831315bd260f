//! Running `fanout`, and looking at what it says.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use momento_local::MomentoLocal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpSocket;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// What no test comes near to, unless something hangs.
const FOREVER: Duration = Duration::from_mins(1);

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

/// `fanout` with these arguments and nothing of this process's settings.
pub(crate) fn fanout(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanout"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for variable in ["MOMENTO_API_KEY", "MOMENTO_ENDPOINT", "WEBHOOK_SIGNING_SECRET"] {
        command.env_remove(variable);
    }
    // Nobody asks the metadata service of the machine that the tests run on.
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Runs a command to its end.
pub(crate) async fn end(mut command: Command) -> Ended {
    ended(timeout(FOREVER, command.output()).await.expect("it ends").unwrap())
}

/// Runs a command to its end with this input.
pub(crate) async fn end_with(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    ended(timeout(FOREVER, child.wait_with_output()).await.expect("it ends").unwrap())
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    /// The lines of standard output, each a JSON object.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The JSON lines of one kind.
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

    /// That standard error has exactly one line, which begins as all errors do.
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

    /// The next line of standard output that contains `part`.
    pub(crate) async fn out(&mut self, part: &str) -> String {
        Self::find(&mut self.out, part).await
    }

    /// The next line of standard error that contains `part`.
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
        match timeout(FOREVER, found).await {
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

    /// The exit code, once it has ended by itself.
    pub(crate) async fn code(mut self) -> Option<i32> {
        // Its input stays open, and it is read: neither may be what ends it.
        let rest = async { while let Ok(Some(_)) = self.out.next_line().await {} };
        let rest_of_errors = async { while let Ok(Some(_)) = self.err.next_line().await {} };
        let (status, (), ()) =
            timeout(FOREVER, async { tokio::join!(self.child.wait(), rest, rest_of_errors) })
                .await
                .expect("it ends");
        status.unwrap().code()
    }
}

/// Local Momento in this process, with the cache `demo`.
pub(crate) async fn momento() -> MomentoLocal {
    MomentoLocal::builder().cache("demo").start().await.unwrap()
}

/// The URL of a port at which nobody listens, and nobody can as long as this lives.
pub(crate) struct Nobody {
    pub(crate) url: String,
    _socket: TcpSocket,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { url: format!("http://{}", socket.local_addr().unwrap()), _socket: socket }
    }
}
