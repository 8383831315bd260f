//! The prompt of `fanout dev`, in a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use nix::pty::openpty;
use rustix::termios::{LocalModes, tcgetattr};
use test_support::process::TIMEOUT;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::harness::{end, fanout, momento};

const ENTER: &str = "\r";
const UP: &str = "\u{1b}[A";
const LEFT: &str = "\u{1b}[D";
const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";
/// What the editor writes when a line is empty.
const EMPTY_PROMPT: &str = "\r\u{1b}[K> \r\u{1b}[2C";

/// A command in a terminal.
struct Terminal {
    child: Child,
    keys: File,
    written: UnboundedReceiver<String>,
    /// What the command has written since the last text that a test waited for.
    unread: String,
}

impl Terminal {
    fn start(command: Command) -> Self {
        Self::start_in("xterm", command)
    }

    fn start_in(kind: &str, mut command: Command) -> Self {
        command.env("TERM", kind);
        let pty = openpty(None, None).unwrap();
        let (mut master, slave) = (File::from(pty.master), pty.slave);
        let keys = master.try_clone().unwrap();
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = command.spawn().unwrap();
        // The command holds the last copies of the terminal's end, so that reading ends with it.
        drop((command, slave));
        let (sender, written) = unbounded_channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                let _ = sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
            }
        });
        Self { child, keys, written, unread: String::new() }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the command has written this text. Returns what it wrote up to it.
    async fn shows(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.unread.find(text) {
                let after = self.unread.split_off(at + text.len());
                let mut before = std::mem::replace(&mut self.unread, after);
                before.truncate(at);
                return before;
            }
            match timeout(TIMEOUT, self.written.recv()).await {
                Ok(Some(written)) => self.unread += &written,
                _ => panic!("{text:?} in {:?}", self.unread),
            }
        }
    }

    /// Waits until the command has ended. Returns the rest of what it wrote.
    async fn ended(mut self) -> String {
        let status = timeout(TIMEOUT, self.child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(0), "{:?}", self.unread);
        let modes = tcgetattr(&self.keys).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "the terminal stays in raw mode");
        while let Some(written) = self.written.recv().await {
            self.unread += &written;
        }
        self.unread
    }
}

#[tokio::test]
async fn edits_lines_and_repeats_them() {
    let mut terminal = Terminal::start(fanout(&["dev"]));
    terminal.shows(EMPTY_PROMPT).await;
    terminal.types(&format!("hullo{LEFT}{LEFT}{LEFT}{LEFT}\u{4}e{ENTER}"));
    terminal.shows(r#""HELLO"  on "topic 2""#).await;
    terminal.types(&format!("{UP}{ENTER}"));
    terminal.shows(r#""HELLO"  on "topic 2""#).await;
    terminal.types(&format!("{UP}!{ENTER}"));
    terminal.shows(r#""HELLO!"  on "topic 2""#).await;
    terminal.types(&format!("help{ENTER}"));
    terminal.shows("The arrow keys").await;
    terminal.types(&format!("quit{ENTER}"));
    let rest = terminal.ended().await;
    assert!(!rest.contains("QUIT"), "{rest:?}");
}

#[tokio::test]
async fn shows_messages_above_line_that_is_typed() {
    let momento = momento().await;
    let endpoint = momento.endpoint();
    let mut command = fanout(&["dev", "--momento-endpoint", &endpoint]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    terminal.shows(EMPTY_PROMPT).await;
    terminal.types("half");
    terminal.shows("half").await;
    end(fanout(&["topic", "publish", "demo", "topic 2", "from elsewhere", "--endpoint", &endpoint])).await;
    let before = terminal.shows("arrived   \"from elsewhere\"").await;
    assert!(before.ends_with("\r\u{1b}[K"), "the line is not cleared first: {before:?}");
    let behind = terminal.shows("> half").await;
    assert!(behind.ends_with("\r\n"), "{behind:?}");
    terminal.types(&format!("way{ENTER}"));
    let before = terminal.shows("arrived   \"HALFWAY\"").await;
    assert!(!before.contains("\u{1b}[3"), "a colour: {before:?}");
    assert_eq!(momento.published("demo", "topic 1").len(), 1);
    terminal.types(CTRL_D);
    terminal.ended().await;
}

#[tokio::test]
async fn leaves_terminal_as_it_was() {
    for (keys, signal) in [(CTRL_D, None), (CTRL_C, None), ("unfinished\u{3}", None)]
        .into_iter()
        .chain(["INT", "TERM"].map(|signal| ("unfinished", Some(signal))))
    {
        let mut terminal = Terminal::start(fanout(&["dev"]));
        terminal.shows(EMPTY_PROMPT).await;
        terminal.types(keys);
        if let Some(signal) = signal {
            terminal.shows(keys).await;
            let id = terminal.child.id().unwrap().to_string();
            let sent = Command::new("kill").args(["-s", signal, &id]).status().await.unwrap();
            assert!(sent.success());
        }
        let rest = terminal.ended().await;
        assert!(rest.ends_with("\r\n"), "{keys:?}: {rest:?}");
        assert!(!rest.contains("UNFINISHED"), "{keys:?}: {rest:?}");
    }
    // The signal comes while the editor starts.
    let mut terminal = Terminal::start(fanout(&["dev"]));
    terminal.shows("ends this.").await;
    let id = terminal.child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().await.unwrap().success());
    terminal.ended().await;
}

#[tokio::test]
async fn simple_terminal_has_plain_lines() {
    let mut terminal = Terminal::start_in("dumb", fanout(&["dev"]));
    terminal.shows("ends this.").await;
    terminal.types("hello\n");
    terminal.shows(r#""HELLO"  on "topic 2""#).await;
    terminal.types("quit\n");
    let rest = terminal.ended().await;
    assert!(!rest.contains("> "), "{rest:?}");
}
