//! Counts, gaps and dead messages, and the requests for all of them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use fanout_relay::file::Listen;
use fanout_relay::operations::{ListedMessage, Operation, Performed, Which, perform};
use fanout_relay::spool::{Location, OpenError, Outcome, Spool};
use http::Method;
use momento_webhook::Millis;
use serde_json::json;

use super::{Loaded, counted};
use crate::error::Error;
use crate::output::{Output, Quoted};

/// The timeout for the response of a running relay.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout for the response to a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Ask a running relay for its health
///
/// For health checks of containers, which have no shell. Prints one JSON object. Fails unless the relay responds.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// Also fail unless every topic is subscribed to, and the spool stores messages
    #[arg(long)]
    ready: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum DeadCommand {
    /// List dead messages, the oldest first
    List {
        /// List messages after this id
        #[arg(long, value_name = "ID", default_value_t = 0)]
        after: i64,
        /// The largest number of messages
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show one message with its content, as JSON
    Show {
        /// Its id
        id: i64,
    },
    /// Deliver dead messages again
    Redrive {
        #[command(flatten)]
        which: WhichArgs,
        /// Print the number of messages as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give dead messages up
    Drop {
        #[command(flatten)]
        which: WhichArgs,
        /// Print the number of messages as one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct WhichArgs {
    /// The ids of messages
    #[arg(value_name = "ID")]
    ids: Vec<i64>,

    /// All dead messages
    #[arg(long)]
    all: bool,
}

pub(super) async fn health(file: &Loaded, args: HealthArgs, output: &mut Output) -> Result<(), Error> {
    let Some(listen) = &file.listen else {
        return Err(Error::Failed("the file does not set `listen`, which health checks need".to_owned()));
    };
    let path = if args.ready { "/health/ready" } else { "/health/live" };
    let (address, response) = request(listen, Method::GET, path, Vec::new(), HEALTH_TIMEOUT).await?;
    let is_success = response.status().is_success();
    let body = response.text().await?;
    if is_success {
        return output.results(&body);
    }
    Err(Error::Failed(format!("the relay at {address} responds: {}", body.trim_end())))
}

pub(super) async fn totals(file: &Loaded, args: ListArgs, output: &mut Output) -> Result<(), Error> {
    let Performed::Totals(topics) = operate(file, Operation::Totals).await? else { return Err(other()) };
    for topic in topics {
        if args.json {
            output.json(&topic)?;
            continue;
        }
        output.result(format_args!(
            "{} in the cache {}, for {}: {} received, {} delivered, {} pending, {} dead, {} expired, {} dropped, {} \
             dead-lettered; {} missing",
            Quoted(&topic.name),
            Quoted(&topic.cache),
            Quoted(&topic.subscription),
            topic.received,
            topic.delivered,
            topic.pending,
            topic.dead,
            topic.expired,
            topic.dropped,
            topic.dead_lettered,
            topic.missing
        ))?;
    }
    Ok(())
}

pub(super) async fn gaps(file: &Loaded, args: ListArgs, output: &mut Output) -> Result<(), Error> {
    let Performed::Gaps(gaps) = operate(file, Operation::Gaps).await? else { return Err(other()) };
    for gap in gaps {
        if args.json {
            output.json(&gap)?;
            continue;
        }
        let numbers = match (gap.gap.first, gap.gap.last) {
            (first, last) if first > last => format!("numbers from {first} on, as far as there were any,"),
            (first, last) if first == last => format!("number {first}"),
            (first, last) => format!("numbers {first} to {last}"),
        };
        output.result(format_args!(
            "{}  {} in the cache {}: {numbers} of page {}: {}",
            time(gap.at),
            Quoted(&gap.topic),
            Quoted(&gap.cache),
            gap.page,
            gap.gap.reason
        ))?;
    }
    Ok(())
}

pub(super) async fn dead(file: &Loaded, command: DeadCommand, output: &mut Output) -> Result<(), Error> {
    let (json, operation, what) = match command {
        DeadCommand::List { after, limit, json } => {
            let list = Operation::List { outcome: Outcome::Dead, after, limit };
            let Performed::Messages(messages) = operate(file, list).await? else { return Err(other()) };
            for message in messages {
                if json { output.json(&message)? } else { output.result(line(&message))? }
            }
            return Ok(());
        }
        DeadCommand::Show { id } => {
            let Performed::Message(message) = operate(file, Operation::Show { id }).await? else {
                return Err(other());
            };
            return output.json(&message);
        }
        DeadCommand::Redrive { which, json } => {
            (json, Operation::Redrive(which.into()), "will be delivered again")
        }
        DeadCommand::Drop { which, json } => (json, Operation::Drop(which.into()), "dropped"),
    };
    changed(file, operation, ("message", what, json), output).await
}

/// Changes messages or topics, and prints their number: with a noun and what happened to them, or as JSON.
pub(super) async fn changed(
    file: &Loaded,
    operation: Operation,
    (noun, what, is_json): (&str, &str, bool),
    output: &mut Output,
) -> Result<(), Error> {
    let Performed::Changed(count) = operate(file, operation).await? else { return Err(other()) };
    if is_json {
        return output.json(&json!({ "changed": count }));
    }
    output.result(format_args!("{} {what}", counted(count, noun)))
}

/// Performs an operation in the file of the spool, or through the port of the relay that has it open.
pub(super) async fn operate(file: &Loaded, operation: Operation) -> Result<Performed, Error> {
    let Location::File(path) = &file.spool else {
        return match &file.listen {
            Some(listen) => ask(listen, &operation).await,
            None => Err(Error::Failed(
                "a spool in memory is reached through `listen` only, which is not set".to_owned(),
            )),
        };
    };
    if !path.exists() {
        return Err(Error::Failed(format!("the spool {} does not exist", path.display())));
    }
    match Spool::open(&file.spool, file.limits) {
        Ok(spool) => {
            let performed = perform(&spool, operation).await;
            spool.close().await;
            Ok(performed?)
        }
        Err(error @ OpenError::InUse(_)) => match &file.listen {
            Some(listen) => ask(listen, &operation).await,
            None => Err(Error::Failed(format!("{error}, and the file does not set `listen`"))),
        },
        Err(error) => Err(error.into()),
    }
}

/// Sends a request to the port of a running relay. Returns its address too.
async fn request(
    listen: &Listen,
    method: Method,
    path: &str,
    body: Vec<u8>,
    timeout: Duration,
) -> Result<(SocketAddr, reqwest::Response), Error> {
    let client = reqwest::Client::builder().no_proxy().timeout(timeout).build()?;
    let address = reachable(listen.address);
    let mut request = client.request(method, format!("http://{address}{path}")).body(body);
    if let Some(token) = &listen.token {
        request = request.header("authorization", token.authorization());
    }
    let sent = request.send().await;
    let response = sent
        .map_err(|error| Error::because(format_args!("the relay at {address} does not respond"), &error))?;
    Ok((address, response))
}

async fn ask(listen: &Listen, operation: &Operation) -> Result<Performed, Error> {
    let body = serde_json::to_vec(operation)?;
    let (address, response) = request(listen, Method::POST, "/operations", body, TIMEOUT).await?;
    let is_success = response.status().is_success();
    let body = response.bytes().await?;
    if is_success {
        return Ok(serde_json::from_slice(&body)?);
    }
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let error = error.get("error").and_then(serde_json::Value::as_str).unwrap_or("not a relay").to_owned();
    Err(Error::Failed(format!("the relay at {address} responds: {error}")))
}

/// Returns the address of a port on this machine, where it listens on all of its addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

impl From<WhichArgs> for Which {
    fn from(args: WhichArgs) -> Self {
        if args.all { Self::All } else { Self::Ids(args.ids) }
    }
}

fn line(message: &ListedMessage) -> String {
    format!(
        "{}  {}  {} in the cache {}: number {} of page {}, {} attempts: {}",
        message.id,
        time(message.received_at),
        Quoted(&message.topic),
        Quoted(&message.cache),
        message.number,
        message.page,
        message.attempts,
        message.error.as_deref().unwrap_or("no error")
    )
}

fn time(at: Millis) -> String {
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(at)).to_string()
}

/// Returns the error for a result of another operation, as from another version of the relay.
pub(super) fn other() -> Error {
    Error::Failed("the relay responds with the result of another operation".to_owned())
}
