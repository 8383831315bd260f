//! Writes the lines of the log and the request log to standard output.
//!
//! In Lambda each line is written at once. The environment stops after a response, so a line that is still queued would be
//! written minutes later, or never. Elsewhere standard output can be a pipe whose reader stops. A separate thread writes
//! there. When it is stuck, lines are lost and counted, and no request waits. The same thread keeps a status line below the
//! lines in a terminal, so that the two do not mix.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// The maximum number of queued lines.
const WAITING: usize = 1_024;

/// The timeout for writing the queued lines at the end.
const FLUSH: Duration = Duration::from_secs(1);

/// Returns to the begin of the row and clears it.
const CLEAR: &str = "\r\x1b[K";
/// Keep the terminal from continuing a long line in the next row, and undo that.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// The writer of lines.
#[derive(Clone, Debug)]
pub enum Output {
    /// Writes to standard output.
    Direct,
    /// Passes lines to a thread that writes them.
    Queued(Queue),
}

/// The queue of the thread that writes lines.
#[derive(Clone, Debug)]
pub struct Queue {
    sender: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Replaces the status line.
    Status(Option<String>),
    /// Is confirmed when everything before it is written.
    Flush(SyncSender<()>),
}

impl Output {
    /// Starts a thread that writes to standard output. If that fails, lines are written directly.
    #[must_use]
    pub fn queued() -> Self {
        Self::queued_to(io::stdout(), WAITING)
    }

    fn queued_to(writer: impl Write + Send + 'static, waiting: usize) -> Self {
        let (sender, items) = mpsc::sync_channel(waiting);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let thread = thread::Builder::new().name("output".to_owned());
        match thread.spawn(move || write_all(writer, &items, &counted)) {
            Ok(_) => Self::Queued(Queue { sender, lost }),
            Err(_) => Self::Direct,
        }
    }

    /// Writes one line, which includes its line end. A failure is ignored, because it cannot be logged.
    pub fn write(&self, line: &[u8]) {
        match self {
            Self::Direct => {
                let _ = io::stdout().lock().write_all(line);
            }
            Self::Queued(Queue { sender, lost }) => {
                if let Err(TrySendError::Full(_)) = sender.try_send(Item::Line(line.to_vec())) {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Shows a status line below all other lines, or removes it. For a terminal only, and without a line end.
    pub fn status(&self, status: Option<String>) {
        if let Self::Queued(Queue { sender, .. }) = self {
            // If the queue is full, the next one follows soon.
            let _ = sender.try_send(Item::Status(status));
        }
    }

    /// Waits until all lines are written, for a second at most.
    pub fn flush(&self) {
        let Self::Queued(Queue { sender, .. }) = self else { return };
        let until = Instant::now() + FLUSH;
        let (done, written) = mpsc::sync_channel(1);
        while let Err(TrySendError::Full(_)) = sender.try_send(Item::Flush(done.clone())) {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn write_all(mut writer: impl Write, items: &Receiver<Item>, lost: &AtomicU64) {
    let mut status = None;
    for item in items {
        match item {
            Item::Line(line) => {
                clear(&mut writer, status.as_deref());
                let _ = writer.write_all(&line);
                show(&mut writer, status.as_deref());
            }
            Item::Status(next) => {
                clear(&mut writer, status.as_deref());
                status = next;
                show(&mut writer, status.as_deref());
            }
            Item::Flush(done) => {
                let _ = writer.flush();
                let _ = done.send(());
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                writer,
                r#"{{"level":"WARN","message":"log lines lost: standard output is not read fast enough","lost":{lost}}}"#
            );
        }
    }
}

fn clear(writer: &mut impl Write, status: Option<&str>) {
    if status.is_some() {
        let _ = writer.write_all(CLEAR.as_bytes());
    }
}

fn show(writer: &mut impl Write, status: Option<&str>) {
    if let Some(status) = status {
        let _ = write!(writer, "{NO_WRAP}{status}{WRAP}");
        let _ = writer.flush();
    }
}

/// For `tracing`, which writes each line with one call.
impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        Self::write(self, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Output {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A writer that blocks while it is closed.
    #[derive(Clone, Default)]
    struct Gate {
        closed: Arc<Mutex<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.closed.lock().unwrap();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writes_whole_lines_in_order() {
        let gate = Gate::default();
        let output = Output::queued_to(gate.clone(), 100);
        for number in 0..100 {
            output.write(format!("line {number}\n").as_bytes());
        }
        output.flush();
        let written = String::from_utf8(gate.written.lock().unwrap().clone()).unwrap();
        assert!(written.lines().eq((0..100).map(|number| format!("line {number}"))), "{written}");
    }

    #[test]
    fn keeps_status_line_below_all_others() {
        let gate = Gate::default();
        let output = Output::queued_to(gate.clone(), 100);
        output.write(b"one\n");
        output.status(Some("busy".to_owned()));
        output.write(b"two\n");
        output.status(Some("idle".to_owned()));
        output.status(None);
        output.write(b"three\n");
        output.flush();
        let written = String::from_utf8(gate.written.lock().unwrap().clone()).unwrap();
        let shown = |status| format!("{NO_WRAP}{status}{WRAP}");
        let (busy, idle) = (shown("busy"), shown("idle"));
        assert_eq!(written, format!("one\n{busy}{CLEAR}two\n{busy}{CLEAR}{idle}{CLEAR}three\n"));
    }

    #[test]
    fn counts_lost_lines_and_blocks_no_writer() {
        let gate = Gate::default();
        let closed = gate.closed.lock().unwrap();
        let output = Output::queued_to(gate.clone(), 2);
        // The thread may hold one line, and two are queued.
        for _ in 0..50 {
            output.write(b"line\n");
        }
        let started = Instant::now();
        output.flush();
        assert!(started.elapsed() < 2 * FLUSH);
        drop(closed);
        output.flush();
        let written = String::from_utf8(gate.written.lock().unwrap().clone()).unwrap();
        let lines = written.lines().filter(|line| *line == "line").count();
        let lost: Vec<serde_json::Value> =
            written.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let lost: u64 = lost.iter().map(|line| line["lost"].as_u64().unwrap()).sum();
        assert!((2..=3).contains(&lines), "{written}");
        assert_eq!(u64::try_from(lines).unwrap() + lost, 50, "{written}");
    }
}
