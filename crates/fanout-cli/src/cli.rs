//! The command line: reads it, runs a command, and reports its error.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use fanout_core::transform::Transforms;

mod habits;

use crate::commands::{check, dev, documents, moderate, relay, schema, send, sign, topic};
use crate::error::Error;
use crate::output::{Captured, Output};

/// Run the function on this machine, send it signed webhooks, publish and subscribe to topics
#[derive(Debug, Parser)]
#[command(name = "fanout", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Completions(documents::CompletionsArgs),
    Dev(dev::Args),
    Man(documents::ManArgs),
    Moderate(moderate::Args),
    Relay(relay::Args),
    Schema(schema::Args),
    Send(send::Args),
    Sign(sign::Args),
    /// Publish to a topic, or subscribe to one
    #[command(subcommand)]
    Topic(topic::Command),
}

/// Runs the binary: reads the command line, runs the command, and prints its error on one line.
#[must_use]
pub fn main() -> ExitCode {
    main_with(&Transforms::standard())
}

/// Runs the binary with custom transforms, which files can name.
#[must_use]
pub fn main_with(transforms: &Transforms) -> ExitCode {
    let mut output = Output::standard();
    match Cli::read(std::env::args_os()) {
        Ok(cli) => run(cli, transforms, &mut output),
        // Help and versions come this way too.
        Err(error) => {
            let _ = error.print();
            u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// True if its exit code is 0.
    pub is_success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs a command in this process, for a test of custom transforms. `args` do not have the name of the program.
#[must_use]
pub fn run_in_test(args: &[&str], transforms: &Transforms) -> Ended {
    let (out, err) = (Captured::default(), Captured::default());
    let mut output = Output::new(out.clone(), err.clone());
    let code = match Cli::read([&["fanout"], args].concat()) {
        Ok(cli) => run(cli, transforms, &mut output),
        Err(error) => {
            error.to_string().lines().for_each(|line| output.note(line));
            ExitCode::FAILURE
        }
    };
    Ended { is_success: code == ExitCode::SUCCESS, out: out.text(), err: err.text() }
}

/// Runs a command to its end. Files can name these transforms.
pub fn run(cli: Cli, transforms: &Transforms, output: &mut Output) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&Error::because("no runtime can be built", &error), output),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Check(args) => check::run(args, transforms, output).await,
            Command::Completions(args) => documents::completions(&args, Cli::command(), output),
            Command::Man(args) => documents::man(&args, Cli::command()),
            Command::Dev(args) => dev::run(args, transforms, output).await,
            Command::Moderate(args) => moderate::run(args, output),
            Command::Relay(args) => relay::run(args, transforms, output).await,
            Command::Schema(args) => schema::run(args, transforms, output),
            Command::Send(args) => send::run(args, output).await,
            Command::Sign(args) => sign::run(args, output),
            Command::Topic(command) => topic::run(command, output).await,
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&error, output),
    }
}

fn end(error: &Error, output: &mut Output) -> ExitCode {
    match error {
        Error::Closed => ExitCode::SUCCESS,
        Error::Usage(message) => {
            let message = format!("error: {message}\n\nFor more information, try '--help'.");
            message.lines().for_each(|line| output.note(line));
            ExitCode::from(2)
        }
        Error::Failed(message) => {
            output.note(format_args!("fanout: {message}"));
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    /// Reads a command line, which begins with the name of the program.
    ///
    /// # Errors
    /// If it is invalid, or asks for help.
    pub fn read(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        Self::try_parse_from(&args).map_err(|error| habits::explain(error, &args, &Self::command()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_combinations_of_flags() {
        Cli::command().debug_assert();
        for good in [
            &["dev"][..],
            &[
                "dev",
                "--send",
                "",
                "--send",
                "-x",
                "--outbound",
                "a",
                "--outbound",
                "b",
                "--timeout",
                "500ms",
            ],
            &["dev", "--function-url", "http://127.0.0.1:9000/lambda-url/webhook", "--momento-port", "8080"],
            &["send", "--url", "http://127.0.0.1:1", "--text", "-", "--header", "a: b"],
            &["sign"],
            &["check"],
            &["check", "-", "--event", "event.json", "--format", "json", "--aws"],
            &["relay"],
            &["relay", "--config", "r.toml", "--endpoint", "http://127.0.0.1:8080"],
            &["relay", "check", "--config", "r.toml"],
            &["relay", "dead", "redrive", "--all"],
            &["relay", "dead", "drop", "1", "2", "--config", "r.toml"],
            &["relay", "replay", "--topic", "t", "--from", "1", "--to", "2"],
            &["topic", "publish", "c", "t", "-dashes are fine-"],
            &["topic", "subscribe", "c", "t", "--resume-at", "3", "--page", "7"],
        ] {
            let read = Cli::read([&["fanout"], good].concat());
            assert!(read.is_ok(), "{good:?}: {read:?}");
        }
        for wrong in [
            &[][..],
            &["dev", "--function-url", "127.0.0.1:9000"],
            &["dev", "--function-url", "http://a", "--function-port", "1"],
            &["dev", "--momento-endpoint", "http://a", "--momento-port", "1"],
            &["dev", "--timeout", "0"],
            &["send"],
            &["send", "--url", "http://a", "--body", "-", "--text", "x"],
            &["check", "--format", "svg"],
            &["check", "--aws"],
            &["send", "--url", "http://a", "--header", "no colon"],
            &["send", "--url", "http://a", "--id", "a\nb"],
            &["sign", "--id", "é"],
            &["topic", "subscribe", "c", "t", "--page", "7"],
            &["topic", "subscribe", "c", "t", "--count", "0"],
            &["relay", "dead", "redrive"],
            &["relay", "dead", "drop", "1", "--all"],
            &["relay", "replay", "--topic", "t"],
        ] {
            assert!(Cli::read([&["fanout"], wrong].concat()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn commands_of_other_tools_have_a_remedy() {
        for (line, tip) in [
            ("publish x y", "did you mean `fanout topic publish`?"),
            ("pub x y z", "did you mean `fanout topic publish`?"),
            ("subscribe x y", "did you mean `fanout topic subscribe`?"),
            ("listen x y", "did you mean `fanout topic subscribe`?"),
            ("run", "`fanout dev` runs everything on this machine, and `fanout relay` delivers"),
            ("start", "`fanout dev` runs everything on this machine"),
            ("serve", "`fanout dev` runs everything on this machine"),
            ("watch", "`fanout dev` runs everything on this machine"),
            ("init", "docs/RECIPES.md has files to copy"),
            ("validate", "did you mean `fanout check`?"),
            ("test", "`fanout check` checks a file, and `fanout dev --send TEXT` sends a message through it"),
            ("lint fanout.toml", "did you mean `fanout check`?"),
            ("deploy", "docs/DEPLOYING.md"),
            ("logs", "docs/LOGS.md"),
            ("version", "did you mean `fanout --version`?"),
            ("replay", "did you mean `fanout relay replay`?"),
            ("totals", "did you mean `fanout relay totals`?"),
            ("redrive --all", "did you mean `fanout relay dead redrive`?"),
            ("relay start", "did you mean `fanout relay`?"),
            ("relay run", "did you mean `fanout relay`?"),
            ("relay stop", "Ctrl-C or SIGTERM ends a relay"),
            ("relay status", "did you mean `fanout relay totals`?"),
            ("relay validate", "did you mean `fanout relay check`?"),
            ("relay redrive", "did you mean `fanout relay dead redrive`?"),
            ("topic send c t x", "did you mean `fanout topic publish`?"),
            ("topic listen c t", "did you mean `fanout topic subscribe`?"),
            ("topic list", "Momento does not list topics"),
            ("check --config fanout.toml", "the file has no flag: `fanout check FILE`"),
            ("dev fanout.toml", "a file of routes needs its flag: `fanout dev --config FILE`"),
            ("dev -c fanout.toml", "did you mean `--config`?"),
            ("dev --file fanout.toml", "did you mean `--config`?"),
            ("dev --port 1", "did you mean `--function-port`?"),
            ("relay relay.toml", "a file of subscriptions needs its flag: `fanout relay --config FILE`"),
            ("send --url http://a hello", "the text needs its flag: `fanout send --text TEXT`"),
        ] {
            let error = Cli::read(["fanout"].into_iter().chain(line.split(' '))).unwrap_err().to_string();
            assert!(error.contains(&format!("tip: {tip}")), "{line}: {error}");
            assert_eq!(error.matches("tip:").count(), 1, "{line}: {error}");
        }
        // clap suggests what is similar.
        let error = Cli::read(["fanout", "moderat"]).unwrap_err().to_string();
        assert!(error.contains("a similar subcommand exists: 'moderate'"), "{error}");
        for line in [&["frobnicate"][..], &["dev", "--frobnicate"]] {
            let error = Cli::read([&["fanout"], line].concat()).unwrap_err().to_string();
            assert!(!error.contains("tip:"), "{line:?}: {error}");
        }
    }

    #[test]
    fn prints_completions_and_writes_man_pages() {
        let ended = run_in_test(&["completions", "bash"], &Transforms::standard());
        assert!(ended.is_success && ended.out.contains("complete -F"), "{}", ended.err);
        let directory = tempfile::tempdir().unwrap();
        let ended = run_in_test(&["man", directory.path().to_str().unwrap()], &Transforms::standard());
        assert!(ended.is_success, "{}", ended.err);
        for page in ["fanout.1", "fanout-dev.1", "fanout-relay-check.1"] {
            assert!(directory.path().join(page).is_file(), "{page}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let cli = Cli::read(["fanout", "sign", "--secret", "s3cr3t"]).unwrap();
        assert!(!format!("{cli:?}").contains("s3cr3t"));
    }
}
