//! A process, with its output.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The timeout of every wait in a test, far longer than any wait takes.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A running process. A drop kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Arc<Lines>,
    /// The number of lines that [`next_line`](Self::next_line) has passed.
    passed: usize,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Lines {
    all: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

impl Process {
    /// Starts `program` with only this environment. By default the process does not ask the metadata service of the
    /// virtual machine on which the tests may run.
    ///
    /// # Errors
    /// If the process does not start.
    pub fn start<N: AsRef<str>, V: AsRef<str>>(
        program: &Path,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> anyhow::Result<Self> {
        Self::start_with(program, &[], environment)
    }

    /// Starts `program` with these arguments, and otherwise as [`start`](Self::start) does.
    ///
    /// # Errors
    /// If the process does not start.
    pub fn start_with<N: AsRef<str>, V: AsRef<str>>(
        program: &Path,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").stdin(Stdio::null());
        for (name, value) in environment {
            command.env(name.as_ref(), value.as_ref());
        }
        Self::spawn(command)
    }

    /// Starts a command, and reads its output.
    ///
    /// # Errors
    /// If the process does not start.
    pub fn spawn(mut command: Command) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{command:?} does not start"))?;
        let lines = Arc::new(Lines::default());
        let out = child.stdout.take().context("standard output is missing")?;
        let err = child.stderr.take().context("standard error is missing")?;
        let readers = vec![read(out, Arc::clone(&lines)), read(err, Arc::clone(&lines))];
        Ok(Self { input: child.stdin.take(), child, lines, passed: 0, readers })
    }

    /// Returns the process id, while the process runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns all lines of the output so far.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        self.lines.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line for which `find` returns a value, from the first line on, and returns that value.
    ///
    /// # Errors
    /// If no such line arrives.
    pub async fn wait_for_line<T>(&self, find: impl FnMut(&str) -> Option<T>) -> anyhow::Result<T> {
        self.find_line(0, find).await.map(|(_, found)| found)
    }

    /// Waits for the next line that contains `part`, after the line that the last call returned.
    ///
    /// # Errors
    /// If no such line arrives.
    pub async fn next_line(&mut self, part: &str) -> anyhow::Result<String> {
        let find = |line: &str| line.contains(part).then(|| line.to_owned());
        let (index, line) = self.find_line(self.passed, find).await.with_context(|| format!("{part:?}"))?;
        self.passed = index + 1;
        Ok(line)
    }

    /// Finds a line, from the index `seen` on. Returns its index too.
    async fn find_line<T>(
        &self,
        mut seen: usize,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> anyhow::Result<(usize, T)> {
        let mut count = self.lines.count.subscribe();
        let found = timeout(TIMEOUT, async {
            loop {
                let lines = self.output();
                for (index, line) in lines.iter().enumerate().skip(seen) {
                    if let Some(found) = find(line) {
                        return Some((index, found));
                    }
                }
                seen = lines.len();
                count.wait_for(|count| *count > seen).await.ok()?;
            }
        });
        match found.await {
            Ok(Some(found)) => Ok(found),
            _ => bail!("the line did not arrive; the output is:\n{}", self.output().join("\n")),
        }
    }

    /// Types a line into standard input.
    ///
    /// # Errors
    /// If standard input is not piped, or is closed.
    pub async fn type_line(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("standard input is not open")?;
        Ok(input.write_all(format!("{line}\n").as_bytes()).await?)
    }

    /// Closes standard input, as Ctrl-D does.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Sends SIGTERM, as platforms do.
    ///
    /// # Errors
    /// If the process has already ended.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.signal("TERM").await
    }

    /// Sends a signal, by its name without `SIG`.
    ///
    /// # Errors
    /// If the process has already ended.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.id().context("the process has already ended")?;
        // The built-in `kill` of the shell, because some machines lack the program.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().await?;
        if sent.success() { Ok(()) } else { bail!("SIG{name} was not sent") }
    }

    /// Waits until the process has ended and all its output is read.
    ///
    /// # Errors
    /// If the process does not end.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let Ok(status) = timeout(TIMEOUT, self.child.wait()).await else {
            bail!("the process does not end; its output is:\n{}", self.output().join("\n"));
        };
        for reader in self.readers.drain(..) {
            reader.await?;
        }
        Ok(status?)
    }
}

fn read(stream: impl AsyncRead + Send + Unpin + 'static, lines: Arc<Lines>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut stream = BufReader::new(stream).lines();
        while let Ok(Some(line)) = stream.next_line().await {
            lines.all.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            lines.count.send_modify(|count| *count += 1);
        }
    })
}
