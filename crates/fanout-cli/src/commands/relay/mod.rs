//! `fanout relay`: delivers every message of topics as signed webhooks.
//!
//! | module | purpose |
//! | --- | --- |
//! | `run` | the relay itself, until a signal ends it |
//! | `check` | shows what a file subscribes to |
//! | `operate` | gaps, dead messages and replays: through the port of a running relay, or in the file of its spool |

mod check;
mod operate;
mod run;

use fanout_core::file as text_file;
use fanout_relay::file::{self, RelayFile};

use crate::args::ServiceArgs;
use crate::commands::check::faults::Faults;
use crate::error::Error;
use crate::input;
use crate::output::Output;

/// Deliver every message of topics as signed webhooks, at least once
///
/// Subscribes to the topics of the file, keeps messages in a spool, and delivers them with retries until they are
/// delivered, dead or expired. SIGTERM and Ctrl-C end it, and a start continues where it ended. SIGHUP reads the
/// file again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fanout relay check
  WEBHOOK_SIGNING_SECRET=... MOMENTO_API_KEY=... fanout relay --config relay.toml
  fanout relay gaps
  fanout relay dead list
  fanout relay dead redrive --all
  fanout relay replay --topic friends-publish --from 10 --to 20

A file, to begin with:
  spool = \"relay.db\"

  [[subscriptions]]
  cache = \"demo\"
  topics = [\"topic 1\"]
  target = { url = \"http://127.0.0.1:9000/\", secret = \"env:WEBHOOK_SIGNING_SECRET\" }")]
pub(crate) struct Args {
    /// The file with the spool and the subscriptions
    #[arg(long, global = true, value_name = "FILE", default_value = "relay.toml")]
    config: String,

    #[command(flatten)]
    service: ServiceArgs,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check the file, and show what it subscribes to
    Check,
    /// List the messages that Momento did not deliver
    Gaps(operate::GapsArgs),
    /// List, show, redrive or drop dead messages
    #[command(subcommand)]
    Dead(operate::DeadCommand),
    /// Deliver messages again that the spool still holds
    Replay(operate::ReplayArgs),
}

pub(crate) async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let file = load(&args.config, output)?;
    match args.command {
        None => run::run(&args.config, file, &args.service, output).await,
        Some(Command::Check) => check::run(&args.config, &file, output),
        Some(Command::Gaps(args)) => operate::gaps(&file, args, output).await,
        Some(Command::Dead(command)) => operate::dead(&file, command, output).await,
        Some(Command::Replay(args)) => operate::replay(&file, args, output).await,
    }
}

/// Reads a file, and prints all its errors.
fn load(name: &str, output: &mut Output) -> Result<RelayFile, Error> {
    let text =
        text_file::text(input::file(name)?).map_err(|error| Error::Failed(format!("{name}:{error}")))?;
    file::read(&text, &|variable| std::env::var(variable).ok()).map_err(|errors| {
        let faults = Faults { name, text: &text, errors: &errors };
        faults.print(output);
        Error::Failed(faults.summary())
    })
}
