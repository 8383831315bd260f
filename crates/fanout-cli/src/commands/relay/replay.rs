//! `fanout relay replay`: delivers messages again, to their own target or to another one, or shows what would become of them.

use std::collections::HashMap;
use std::sync::Arc;

use fanout_core::route::Routes;
use fanout_core::transform::Transforms;
use fanout_relay::Target;
use fanout_relay::file::{FileTarget, read_target};
use fanout_relay::operations::{Operation, Performed, ReadMessage, Replay, ShownMessage};
use fanout_relay::replay::{Replayed, replay};
use momento_webhook::Event;
use serde_json::json;

use super::operate::{changed, operate, other};
use super::{Loaded, counted, load_routes, print, read_routes};
use crate::args::ServiceArgs;
use crate::commands::check::{self, merged};
use crate::error::Error;
use crate::event::verified;
use crate::output::{Output, Quoted};
use crate::translations::Translations;

/// The messages that are read at once.
const PAGE: usize = 100;
/// The name of the flag in errors.
const TARGET: &str = "--target";

/// Deliver messages again that the spool still holds
///
/// Messages with an outcome count as if they had just arrived. The spool holds them for `keep_for` after that outcome.
/// With --target, they are delivered to another target, by this command and not by the relay, and nothing changes in the
/// spool. With --dry-run, nothing is delivered, and the command shows what the routes make of each message.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fanout relay replay --topic friends-publish --from 10 --to 20
  fanout relay replay --topic friends-publish --from 10 --to 20 --target http://127.0.0.1:9000/
  fanout relay replay --topic friends-publish --from 10 --to 20 --target '{ routes = \"fanout.toml\" }'
  fanout relay replay --topic friends-publish --from 10 --to 20 --dry-run --config new.toml
  fanout relay replay --topic friends-publish --from 10 --to 20 --dry-run --routes new-fanout.toml

--target is a URL or the ARN of a function, which get signatures with the secret in WEBHOOK_SIGNING_SECRET, or a target in
the form of the file.")]
pub(super) struct ReplayArgs {
    /// The topic
    #[arg(long)]
    topic: String,

    /// The first sequence number
    #[arg(long, value_name = "N")]
    from: u64,

    /// The last sequence number
    #[arg(long, value_name = "N")]
    to: u64,

    /// The name of the subscription [default: all that have the topic]
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,

    /// Deliver the messages to this target, each once and with three retries
    #[arg(long, value_name = "TARGET", conflicts_with = "dry_run")]
    target: Option<String>,

    /// Show step by step what the messages become, and deliver nothing
    #[arg(long)]
    dry_run: bool,

    /// The file with the routes to show [default: those of the target]
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    routes: Option<String>,

    /// Translate by Amazon Translate, with the credentials of this shell, instead of `pseudolocalize`
    #[arg(long, requires = "dry_run")]
    aws: bool,

    /// Print one JSON object; with --dry-run, one for each message
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    file: &Loaded,
    args: ReplayArgs,
    service: &ServiceArgs,
    output: &mut Output,
) -> Result<(), Error> {
    let ReplayArgs { topic, from, to, subscription, target, dry_run, routes, aws, json } = args;
    if from > to {
        return Err(Error::Usage("--from is greater than --to".to_owned()));
    }
    let selected = Replay { subscription, topic, from, to };
    if let Some(target) = target {
        let target = other_target(&target, &file.transforms, service, output)?;
        return deliver(file, selected, &target, json, output).await;
    }
    if dry_run {
        return show(file, selected, routes, (json, Translations::new(aws)?), output).await;
    }
    let operation = Operation::Replay(selected);
    changed(file, operation, ("message", "will be delivered again", json), output).await
}

/// Reads one page of the selected messages.
async fn page(file: &Loaded, replay: &Replay, after: i64) -> Result<Vec<ReadMessage>, Error> {
    let read = Operation::Read { replay: replay.clone(), after, limit: PAGE };
    let Performed::Read(messages) = operate(file, read).await? else { return Err(other()) };
    Ok(messages)
}

/// Returns the target of the flag.
fn other_target(
    given: &str,
    transforms: &Transforms,
    service: &ServiceArgs,
    output: &mut Output,
) -> Result<Arc<dyn Target>, Error> {
    let key = if given.starts_with("arn:") { "lambda" } else { "url" };
    let text = if given.trim_start().starts_with('{') {
        given.to_owned()
    } else {
        // The escapes of JSON are also those of TOML.
        let given = serde_json::to_string(given)?;
        format!("{{ {key} = {given}, secret = \"env:WEBHOOK_SIGNING_SECRET\" }}")
    };
    let text = format!("target = {text}");
    let target = read_target(&text, &|variable| std::env::var(variable).ok());
    let target = target.map_err(|errors| print((TARGET, &text, &errors), false, output))?;
    let routes = match &target {
        FileTarget::Routes(path) => {
            Some(load_routes(&path.display().to_string(), transforms, false, output)?)
        }
        FileTarget::Webhook(_) | FileTarget::Sqs(_) | FileTarget::Lambda(..) => None,
    };
    let service = routes.as_ref().map(|_| service.service(output)).transpose()?;
    super::run::target(target, routes.zip(service.as_ref()))
}

/// Delivers the selected messages to `target`.
///
/// # Errors
/// If the target does not take one of them.
async fn deliver(
    file: &Loaded,
    selected: Replay,
    target: &Arc<dyn Target>,
    is_json: bool,
    output: &mut Output,
) -> Result<(), Error> {
    let (mut all, mut taken, mut after) = (0, 0, 0);
    loop {
        let messages = page(file, &selected, after).await?;
        let Some(last) = messages.last() else { break };
        after = last.message.message.id;
        let messages: Vec<_> = messages.into_iter().map(|read| read.message).collect();
        let Replayed { delivered, dead } = replay(messages, Arc::clone(target)).await?;
        for message in &dead {
            let error = message.error.as_deref().unwrap_or("no error");
            output.note(format_args!("number {} of page {}: {error}", message.number, message.page));
        }
        taken += delivered;
        all += delivered + u64::try_from(dead.len()).unwrap_or(u64::MAX);
    }
    if is_json {
        output.json(&json!({ "messages": all, "delivered": taken }))?;
    } else {
        output.result(format_args!("{taken} of {} delivered to {target:?}", counted(all, "message")))?;
    }
    if taken < all { Err(Error::Failed("the target does not take every message".to_owned())) } else { Ok(()) }
}

/// Shows what the selected messages become by the routes in the file `routes`, or else by those of their targets.
///
/// # Errors
/// If a destination would not accept one of them.
async fn show(
    file: &Loaded,
    selected: Replay,
    routes: Option<String>,
    (is_json, translations): (bool, Translations),
    output: &mut Output,
) -> Result<(), Error> {
    // Each file is read once, with its text.
    let mut files: HashMap<String, (String, Routes)> = HashMap::new();
    let (mut all, mut refused, mut after) = (0, 0, 0);
    loop {
        let messages = page(file, &selected, after).await?;
        let Some(last) = messages.last() else { break };
        after = last.message.message.id;
        for ReadMessage { subscription, message } in &messages {
            all += 1;
            let mut subscriptions = file.subscriptions.iter().map(|(found, _)| found);
            let found = subscriptions.find(|found| found.name == *subscription);
            let (page, number) = (message.message.page, message.message.number);
            let about = json!({ "number": number, "page": page, "subscription": subscription });
            if !is_json {
                output
                    .result(format_args!("number {number} of page {page}, for {}", Quoted(subscription)))?;
            }
            let is_to = match (&routes, found.map(|found| &found.target)) {
                (Some(routes), _) => Ok(routes.clone()),
                (None, Some(FileTarget::Routes(path))) => Ok(path.display().to_string()),
                (None, Some(target)) => Err(("delivered", format!("would be delivered to {target}"))),
                (None, None) => {
                    let unknown = "would not be delivered: the file has no such subscription";
                    Err(("unknown_subscription", unknown.to_owned()))
                }
            };
            let binary =
                || ("binary", "would be dead: the message is binary, and routes take texts".to_owned());
            let taken = is_to.and_then(|routes| Ok((routes, event(message).ok_or_else(binary)?)));
            let (routes, event) = match taken {
                Ok(taken) => taken,
                Err((status, detail)) => {
                    refused += u64::from(status != "delivered");
                    if is_json {
                        output.json(&merged(about, json!({ "status": status, "detail": detail })))?;
                    } else {
                        output.result(detail)?;
                    }
                    continue;
                }
            };
            if !files.contains_key(&routes) {
                let transforms = translations.transforms(&file.transforms);
                files.insert(routes.clone(), read_routes(&routes, &transforms, false, output)?);
            }
            let (text, routes) = files.get(&routes).expect("it was read");
            let about = is_json.then_some(about);
            match check::show(text, routes, &verified(&event)?, (about, translations), output).await {
                Err(Error::Closed) => return Err(Error::Closed),
                Err(_) => refused += 1,
                Ok(()) => {}
            }
            if !is_json {
                output.result("")?;
            }
        }
    }
    if refused > 0 {
        return Err(Error::Failed(format!("{refused} of {} would not be accepted", counted(all, "message"))));
    }
    if is_json {
        return Ok(());
    }
    output.result(format_args!("{} would be accepted", counted(all, "message")))
}

/// Returns the event of a message; `None` if it is binary.
fn event(message: &ShownMessage) -> Option<Event> {
    let ShownMessage { message, token_id, text, .. } = message;
    Some(Event {
        cache: message.cache.clone(),
        topic: message.topic.clone(),
        event_timestamp: message.received_at,
        publish_timestamp: message.received_at,
        topic_sequence_number: message.number,
        topic_sequence_page: Some(message.page),
        token_id: token_id.clone(),
        text: text.clone()?,
    })
}
