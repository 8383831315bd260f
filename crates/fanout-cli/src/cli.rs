//! The commands and flags, errors and exit codes.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Parser, Subcommand};
use momento_webhook::standard::SignatureError;

use crate::commands::{check, dev, schema, send, sign, topic};
use crate::output::Output;
use crate::post::{ClientError, PostError};
use crate::service::{self, Service, ServiceError};
use crate::signer::SignerError;
use crate::subscriber::Refused;

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
    Dev(dev::Args),
    Schema(schema::Args),
    Send(send::Args),
    Sign(sign::Args),
    /// Publish to a topic, or subscribe to one
    #[command(subcommand)]
    Topic(topic::Command),
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The flags do not go together.
    #[error("{0}")]
    Usage(String),
    /// Something that should be read cannot be.
    #[error("{0} cannot be read")]
    Input(String, #[source] io::Error),
    /// Nobody reads what is printed.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
    /// The operating system does not give what is needed.
    #[error("{0}")]
    System(String, #[source] io::Error),
    /// Local Momento does not start.
    #[error("local Momento does not start")]
    Local(#[from] momento_local::StartError),
    /// Momento cannot be used.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A topic cannot be subscribed to.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The secret cannot be used.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The body cannot be signed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no answer.
    #[error(transparent)]
    Post(#[from] PostError),
    /// The in-process function cannot be built.
    #[error("the function cannot be built")]
    Function(#[from] topic_fanout::run::RunError),
    /// It did what it should, and it came to no good.
    #[error("{0}")]
    Failed(String),
}

/// A signing secret, as given; it is not shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Where the signing secret comes from.
#[derive(Debug, clap::Args)]
pub struct SecretArgs {
    /// The signing secret; other users of this machine can see flags, but not the environment
    #[arg(long, value_name = "SECRET", env = "WEBHOOK_SIGNING_SECRET", hide_env_values = true)]
    secret: Option<Secret>,
}

/// Where Momento is, and who we are there.
#[derive(Debug, clap::Args)]
pub struct ServiceArgs {
    /// Endpoint of an API key, or http://host:port of a local Momento
    #[arg(long, value_name = "ENDPOINT", env = "MOMENTO_ENDPOINT")]
    endpoint: Option<String>,

    /// API key or token; a local Momento needs none
    #[arg(long, value_name = "KEY", env = "MOMENTO_API_KEY", hide_env_values = true)]
    api_key: Option<Secret>,
}

/// The binary: reads the command line, runs the command, and says in one line what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let mut output = Output::standard();
    match Cli::read(std::env::args_os()) {
        Ok(cli) => run(cli, &mut output),
        // Help and versions come this way too.
        Err(error) => {
            let _ = error.print();
            u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

/// Runs a command until it is done.
pub fn run(cli: Cli, output: &mut Output) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&Error::System("no runtime can be built".to_owned(), error), output),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Check(args) => check::run(args, output).await,
            Command::Dev(args) => dev::run(args, output).await,
            Command::Schema(args) => schema::run(args, output),
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
        // Whoever reads has seen enough: `fanout topic subscribe … | head -1`.
        Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Error::Usage(_) => {
            output.note(format_args!("error: {error}\n\nFor more information, try '--help'."));
            return ExitCode::from(2);
        }
        _ => {}
    }
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        said = format!("{said}: {error}");
        source = error.source();
    }
    output.note(format_args!("fanout: {said}"));
    ExitCode::FAILURE
}

impl Cli {
    /// Reads a command line, the name of the program included.
    ///
    /// # Errors
    /// When it cannot be understood, or asks for help.
    pub fn read(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        Self::try_parse_from(args)
    }
}

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(secret: &str) -> Result<Self, Self::Err> {
        Ok(Self(secret.to_owned()))
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

impl SecretArgs {
    /// The secret, where one is given. A variable that is set and empty counts as not set.
    #[must_use]
    pub fn given(self) -> Option<Secret> {
        self.secret.filter(|secret| !secret.0.is_empty())
    }

    /// The secret.
    ///
    /// # Errors
    /// When none is given.
    pub fn needed(self) -> Result<Secret, Error> {
        let missing = "no signing secret: set WEBHOOK_SIGNING_SECRET, or give --secret";
        self.given().ok_or_else(|| Error::Usage(missing.to_owned()))
    }
}

impl ServiceArgs {
    /// Momento as the flags and the environment say; where they say nothing, a local one in its usual place,
    /// and that is told.
    ///
    /// # Errors
    /// When the endpoint is no endpoint, or the key no key.
    pub fn service(&self, output: &mut Output) -> Result<Service, Error> {
        let mut endpoint = self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
        let key = self.api_key.as_ref().map(Secret::reveal).filter(|key| !key.is_empty());
        if endpoint.is_none() && key.is_none() {
            output.note(format_args!(
                "neither MOMENTO_ENDPOINT nor MOMENTO_API_KEY is set: using the local Momento at {}",
                service::DEFAULT_ENDPOINT
            ));
            endpoint = Some(service::DEFAULT_ENDPOINT);
        }
        Ok(Service::new(endpoint, key)?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_hang_together() {
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
            &["topic", "subscribe", "c", "t", "--page", "7"],
            &["topic", "subscribe", "c", "t", "--count", "0"],
        ] {
            assert!(Cli::read([&["fanout"], wrong].concat()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let cli = Cli::read(["fanout", "sign", "--secret", "s3cr3t"]).unwrap();
        assert!(!format!("{cli:?}").contains("s3cr3t"));
    }
}
