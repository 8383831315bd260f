//! Suggests a command or a flag to users of other tools.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

const RUN: &str =
    "`fanout dev` runs everything on this machine, and `fanout relay` delivers the messages of real topics";
const PUBLISH: &str = "did you mean `fanout topic publish`?";
const SUBSCRIBE: &str = "did you mean `fanout topic subscribe`?";
const CHECK: &str = "did you mean `fanout check`?";
const CONFIG: &str = "did you mean `--config`?";

/// Commands of other tools, each with its parent and its remedy. The names of our own commands need no line.
const COMMANDS: [(&str, &[&str], &str); 16] = [
    ("", &["pub"], PUBLISH),
    ("", &["sub", "listen", "tail"], SUBSCRIBE),
    ("", &["run", "start", "serve", "watch", "up", "local"], RUN),
    ("", &["validate", "verify", "lint", "config", "explain", "plan"], CHECK),
    (
        "",
        &["test"],
        "`fanout check` checks a file, and `fanout dev --send TEXT` sends a message through it on this machine",
    ),
    ("", &["init", "new", "create", "generate"], "docs/RECIPES.md has files to copy"),
    ("", &["deploy"], "docs/DEPLOYING.md has the steps, with SAM or Terraform"),
    ("", &["logs", "log"], "docs/LOGS.md describes the log records, and has queries"),
    ("", &["version"], "did you mean `fanout --version`?"),
    ("relay", &["run", "start", "serve", "up"], "did you mean `fanout relay`?"),
    ("relay", &["stop", "down"], "Ctrl-C or SIGTERM ends a relay"),
    ("relay", &["status", "stats", "list", "ls"], "did you mean `fanout relay totals`?"),
    ("relay", &["validate", "verify", "lint", "test"], "did you mean `fanout relay check`?"),
    ("topic", &["send", "pub"], PUBLISH),
    ("topic", &["listen", "tail", "sub", "watch"], SUBSCRIBE),
    ("topic", &["list", "ls", "create"], "Momento does not list topics: publish or subscribe to any name"),
];

/// Arguments of other tools, each with its command and its remedy. `""` stands for an argument without a flag.
const ARGUMENTS: [(&str, &[&str], &str); 7] = [
    ("check", &["--config", "--file", "-c", "-f"], "the file has no flag: `fanout check FILE`"),
    ("dev", &["-c", "-f", "--file", "--routes"], CONFIG),
    ("dev", &[""], "a file of routes needs its flag: `fanout dev --config FILE`"),
    ("dev", &["--port", "-p"], "did you mean `--function-port`?"),
    ("relay", &["-c", "-f", "--file"], CONFIG),
    ("relay", &[".toml"], "a file of subscriptions needs its flag: `fanout relay --config FILE`"),
    ("send", &[""], "the text needs its flag: `fanout send --text TEXT`"),
];

/// Adds the remedy to an error about an unknown command or argument, if there is one.
pub(super) fn explain(mut error: clap::Error, args: &[OsString], root: &Command) -> clap::Error {
    let first = args.get(1).and_then(|arg| arg.to_str()).unwrap_or_default();
    let tip = match (error.kind(), context(&error)) {
        (ErrorKind::InvalidSubcommand, Some(word)) => {
            let parent = if first == word { "" } else { first };
            of_command(parent, &word)
                .or_else(|| argument(first, &word))
                .or_else(|| nested(root, parent, &word))
        }
        (ErrorKind::UnknownArgument, Some(word)) => argument(first, &word),
        _ => None,
    };
    if let Some(tip) = tip {
        for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
            error.remove(kind);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Returns the command or the argument that an error is about.
fn context(error: &clap::Error) -> Option<String> {
    [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| {
        match error.get(kind) {
            Some(ContextValue::String(word)) => Some(word.clone()),
            _ => None,
        }
    })
}

fn of_command(parent: &str, word: &str) -> Option<String> {
    let known = COMMANDS.iter().find(|(of, words, _)| *of == parent && words.contains(&word));
    known.map(|(_, _, tip)| (*tip).to_owned())
}

fn argument(command: &str, word: &str) -> Option<String> {
    let is_meant = |meant: &&str| match *meant {
        "" => !word.starts_with('-'),
        ending if ending.starts_with('.') => word.ends_with(ending),
        flag => flag == word,
    };
    let known = ARGUMENTS.iter().find(|(of, words, _)| *of == command && words.iter().any(is_meant));
    known.map(|(_, _, tip)| (*tip).to_owned())
}

/// Returns the remedy for the name of a command that is further down: `publish` is `topic publish`.
fn nested(root: &Command, parent: &str, word: &str) -> Option<String> {
    let from = if parent.is_empty() { root } else { root.find_subcommand(parent)? };
    let mut open = vec![(from, [root.get_name(), parent].join(" ").trim_end().to_owned())];
    while let Some((command, path)) = open.pop() {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            if below.get_name() == word {
                return Some(format!("did you mean `{path}`?"));
            }
            open.push((below, path));
        }
    }
    None
}
