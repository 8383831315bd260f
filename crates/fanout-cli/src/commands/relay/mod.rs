//! `fanout relay`: delivers every message of topics as signed webhooks.
//!
//! | module | purpose |
//! | --- | --- |
//! | `run` | the relay itself, until a signal ends it |
//! | `emf` | metrics in the log |
//! | `live` | the line that shows its work in a terminal |
//! | `check` | shows what a file subscribes to |
//! | `operate` | counts, gaps and dead messages: through the port of a running relay, or in the file of its spool |
//! | `replay` | delivers messages again, or shows what would become of them |
//! | `topics` | adds, removes and lists topics at run time |

mod check;
mod emf;
mod live;
mod operate;
mod replay;
mod run;
mod topics;

use std::collections::BTreeSet;

use fanout_core::file::{self as text_file, FileError};
use fanout_core::route::{Route, Routes, Topics};
use fanout_core::transform::Transforms;
use fanout_relay::file::{self, FileSubscription, FileTarget, Listen, LogMetrics, RelayFile};
use fanout_relay::shard::Shard;
use fanout_relay::spool::{Limits, Location};

use crate::args::ServiceArgs;
use crate::commands::check::faults::Faults;
use crate::error::Error;
use crate::input;
use crate::output::Output;
use crate::translations::Translations;

/// Deliver every message of topics as signed webhooks, at least once
///
/// Subscribes to the topics of the file, keeps messages in a spool, and delivers them with retries until they are
/// delivered, dead or expired. SIGTERM and Ctrl-C end it, and a start continues where it ended. SIGHUP reads the
/// file again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fanout relay check
  WEBHOOK_SIGNING_SECRET=... MOMENTO_API_KEY=... fanout relay --config relay.toml
  fanout relay totals
  fanout relay gaps
  fanout relay dead list
  fanout relay dead redrive --all
  fanout relay replay --topic friends-publish --from 10 --to 20
  fanout relay topics add 'room 7' 'room 8'

A file, to begin with:
  spool = \"relay.db\"

  [[subscriptions]]
  cache = \"demo\"
  topics = [\"topic 1\"]
  target = { url = \"http://127.0.0.1:9000/\", secret = \"env:WEBHOOK_SIGNING_SECRET\" }")]
pub(crate) struct Args {
    /// The file with the spool and the subscriptions, or env:NAME for a variable that has its text
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
    Check(check::CheckArgs),
    /// Ask a running relay for its health
    Health(operate::HealthArgs),
    /// List the counts of each topic
    Totals(operate::ListArgs),
    /// List the messages that Momento did not deliver
    Gaps(operate::ListArgs),
    /// List, show, redrive or drop dead messages
    #[command(subcommand)]
    Dead(operate::DeadCommand),
    /// Deliver messages again that the spool still holds
    Replay(replay::ReplayArgs),
    /// Add topics to a subscription at run time, remove or list them
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
}

pub(crate) async fn run(args: Args, transforms: &Transforms, output: &mut Output) -> Result<(), Error> {
    let is_json = matches!(&args.command, Some(Command::Check(args)) if args.json);
    let file = load(&args.config, transforms, is_json, output)?;
    match args.command {
        None => run::run(&args.config, file, &args.service, output).await,
        Some(Command::Check(check)) => check::run(&args.config, &file, &check, output),
        Some(Command::Health(args)) => operate::health(&file, args, output).await,
        Some(Command::Totals(args)) => operate::totals(&file, args, output).await,
        Some(Command::Gaps(args)) => operate::gaps(&file, args, output).await,
        Some(Command::Dead(command)) => operate::dead(&file, command, output).await,
        Some(Command::Topics(command)) => topics::run(&file, command, output).await,
        Some(Command::Replay(replay)) => replay::run(&file, replay, &args.service, output).await,
    }
}

/// A file with the routes that it names.
#[derive(Debug)]
struct Loaded {
    spool: Location,
    limits: Limits,
    listen: Option<Listen>,
    metrics: Option<LogMetrics>,
    shard: Option<Shard>,
    subscriptions: Vec<(FileSubscription, Option<Routes>)>,
    /// The transforms that files of routes can name.
    transforms: Transforms,
}

/// Reads a file and the files that it names. Prints all their errors, for people or as JSON.
fn load(name: &str, transforms: &Transforms, is_json: bool, output: &mut Output) -> Result<Loaded, Error> {
    let text = read(name)?;
    let file = file::read(&text, &|variable| std::env::var(variable).ok());
    let file = file.map_err(|errors| print((name, &text, &errors), is_json, output))?;
    let RelayFile { spool, limits, listen, metrics, shard, subscriptions } = file;
    // The errors of each file are printed before the first of them ends it.
    let loaded: Vec<_> = subscriptions
        .into_iter()
        .map(|mut subscription| {
            let routes = match &subscription.target {
                FileTarget::Routes(path) => {
                    Some(load_routes(&path.display().to_string(), transforms, is_json, output)?)
                }
                FileTarget::Webhook(_) | FileTarget::Sqs(_) | FileTarget::Lambda(..) => None,
            };
            if let (Some(routes), true) = (&routes, subscription.has_topics_of_routes) {
                subscription.topics = exact_topics(&subscription, routes)?;
            }
            if let Some(shard) = shard {
                subscription.topics.retain(|topic| shard.takes(&subscription.cache, topic));
            }
            Ok((subscription, routes))
        })
        .collect();
    let subscriptions = loaded.into_iter().collect::<Result<_, Error>>()?;
    Ok(Loaded { spool, limits, listen, metrics, shard, subscriptions, transforms: transforms.clone() })
}

fn load_routes(
    name: &str,
    transforms: &Transforms,
    is_json: bool,
    output: &mut Output,
) -> Result<Routes, Error> {
    read_routes(name, &Translations::Amazon.transforms(transforms), is_json, output).map(|(_, routes)| routes)
}

/// Reads a file of routes. Returns its text as well.
fn read_routes(
    name: &str,
    transforms: &Transforms,
    is_json: bool,
    output: &mut Output,
) -> Result<(String, Routes), Error> {
    let text = read(name)?;
    match text_file::read(&text, transforms, fanout_aws::KINDS) {
        Ok(routes) => Ok((text, routes)),
        Err(errors) => Err(print((name, &text, &errors), is_json, output)),
    }
}

/// Returns a number with its noun.
fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Returns the topics of the routes of a subscription that are exact, and are for its cache.
fn exact_topics(subscription: &FileSubscription, routes: &Routes) -> Result<Vec<String>, Error> {
    let inbound =
        routes.all().iter().map(Route::inbound).filter(|inbound| {
            inbound.cache.as_ref().is_none_or(|cache| cache.as_str() == subscription.cache)
        });
    let mut topics = BTreeSet::new();
    for inbound in inbound {
        let topic = match &inbound.topics {
            Topics::Like(pattern) => pattern.exact(),
            Topics::Any => None,
        };
        let Some(topic) = topic else {
            let name = &subscription.name;
            return Err(Error::Failed(format!(
                "the subscription {name:?} has a route for {inbound}, which is not one topic; set `topics`"
            )));
        };
        topics.insert(topic.to_owned());
    }
    if topics.is_empty() {
        let FileSubscription { name, cache, .. } = subscription;
        return Err(Error::Failed(format!("the subscription {name:?} has no route for the cache {cache:?}")));
    }
    Ok(topics.into_iter().collect())
}

/// Reads a file, or the variable of `env:NAME`: a container may have no file.
fn read(name: &str) -> Result<String, Error> {
    if let Some(variable) = name.strip_prefix("env:") {
        let text = std::env::var(variable).ok().filter(|text| !text.is_empty());
        return text.ok_or_else(|| Error::Failed(format!("the variable {variable} is not set")));
    }
    text_file::text(input::file(name)?).map_err(|error| Error::Failed(format!("{name}:{error}")))
}

/// Prints the errors of a file with this name and text.
fn print((name, text, errors): (&str, &str, &[FileError]), is_json: bool, output: &mut Output) -> Error {
    let faults = Faults { name, text, errors };
    match faults.print(is_json, output) {
        Ok(()) => Error::Failed(faults.summary()),
        Err(error) => error,
    }
}
