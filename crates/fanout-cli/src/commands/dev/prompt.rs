//! Reads lines from a terminal, with editing and with the history of the session.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use rustyline::error::{ReadlineError, Signal as Received};
use rustyline::{Config, DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc::Sender;

use super::tasks::QUIT;
use crate::input::Line;
use crate::output::Screen;

const PROMPT: &str = "> ";
/// The time after which an editor that does not end is left to the end of the process.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The line editor of a terminal.
pub(super) struct Prompt {
    editor: DefaultEditor,
    printer: Box<dyn ExternalPrinter + Send>,
}

impl Prompt {
    /// Returns the line editor, or `None` unless standard input and output are a terminal that can have one.
    pub(super) fn new() -> Option<Self> {
        // Lines that are pasted are several texts, as lines that are typed.
        let config = Config::builder().auto_add_history(true).bracketed_paste(false).build();
        let mut editor = DefaultEditor::with_config(config).ok()?;
        let printer = Box::new(editor.create_external_printer().ok()?);
        Some(Self { editor, printer })
    }

    /// Reads lines on a thread of its own. Returns the screen, which keeps other output apart from the line that is edited.
    /// The sender must not wait for its receiver, which may wait for the screen.
    pub(super) fn read_lines(self, lines: Sender<Line>) -> io::Result<Box<dyn Screen>> {
        let Self { editor, printer } = self;
        let is_ended = Arc::new(AtomicBool::new(false));
        let thread = {
            let is_ended = Arc::clone(&is_ended);
            thread::Builder::new().name("typing".to_owned()).spawn(move || read(editor, &lines, &is_ended))?
        };
        Ok(Box::new(PromptScreen { printer, thread, is_ended }))
    }
}

fn read(mut editor: DefaultEditor, lines: &Sender<Line>, is_ended: &AtomicBool) {
    while !is_ended.load(Ordering::SeqCst) {
        match editor.readline(PROMPT) {
            Ok(line) if line == QUIT => return,
            Ok(line) => {
                if lines.blocking_send(Ok(line)).is_err() {
                    return;
                }
            }
            // While a line is edited, Ctrl-C is a key, and the editor catches the signal. It ends the command as at other
            // times.
            Err(ReadlineError::Interrupted | ReadlineError::Signal(Received::Interrupt)) => {
                interrupt();
                return;
            }
            // Ctrl-D. An error ends the input too.
            Err(_) => return,
        }
    }
}

fn interrupt() {
    let _ = kill_process(getpid(), Signal::INT);
}

/// The terminal while lines are edited in it. A drop ends the editor, which leaves the terminal as it was.
struct PromptScreen {
    printer: Box<dyn ExternalPrinter + Send>,
    thread: JoinHandle<()>,
    is_ended: Arc<AtomicBool>,
}

impl Screen for PromptScreen {
    fn print(&mut self, line: &str) -> bool {
        self.printer.print(format!("{line}\n")).is_ok()
    }
}

impl Drop for PromptScreen {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::SeqCst);
        let pause = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        // The signal ends an editor that waits for a key. It is lost on one that is about to wait.
        while !self.thread.is_finished() && waited < END_TIMEOUT {
            interrupt();
            thread::sleep(pause);
            waited += pause;
        }
    }
}
