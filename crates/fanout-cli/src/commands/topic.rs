//! `fanout topic`: publishes to a topic, and subscribes to one.

use std::num::NonZeroU64;

use fanout_core::destination::{Publisher as _, Topic};
use fanout_momento::SubscriptionEvent;
use fanout_momento::status::describe_failure;
use fanout_momento::subscription::{Cursor, Item, ItemValue};
use serde_json::json;
use topic_fanout::serve::shutdown_signal;

use crate::args::ServiceArgs;
use crate::error::Error;
use crate::input::text;
use crate::output::{Output, Quoted, millis, shell_word};
use crate::service::Service;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Publish(PublishArgs),
    Subscribe(SubscribeArgs),
}

/// Publish a text to a topic
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fanout topic publish demo 'topic 1' hello
  date | fanout topic publish demo 'topic 1' -
  MOMENTO_API_KEY=... MOMENTO_ENDPOINT=... fanout topic publish demo 'topic 1' hello")]
pub(crate) struct PublishArgs {
    /// The cache
    cache: String,

    /// The topic
    topic: String,

    /// The text; - reads standard input, without its last line end
    #[arg(allow_hyphen_values = true)]
    text: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    service: ServiceArgs,
}

/// Print the messages of a topic, until Ctrl-C
///
/// After an interruption, which it shows once, it subscribes again, with backoff, and resumes after the last
/// message. It ends if that cannot help, for example if the cache does not exist.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:
  fanout topic subscribe demo 'topic 2'
  fanout topic subscribe demo 'topic 2' --json --quiet --count 1 | jq -r .text
  fanout topic subscribe demo 'topic 2' --resume-at 12 --page 1704296470564"
)]
pub(crate) struct SubscribeArgs {
    /// The cache
    cache: String,

    /// The topic
    topic: String,

    /// Begin at this sequence number, if the service still has it
    #[arg(long, value_name = "N")]
    resume_at: Option<u64>,

    /// The page of that sequence number
    #[arg(long, value_name = "PAGE", requires = "resume_at")]
    page: Option<u64>,

    /// End after this number of messages
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,

    /// Print messages only
    #[arg(short, long)]
    quiet: bool,

    /// Print one JSON object per line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(crate) async fn run(command: Command, output: &mut Output) -> Result<(), Error> {
    match command {
        Command::Publish(args) => publish(args, output).await,
        Command::Subscribe(args) => subscribe(args, output).await,
    }
}

async fn publish(args: PublishArgs, output: &mut Output) -> Result<(), Error> {
    let service = args.service.service(output)?;
    let text = text(args.text)?;
    let topic = Topic::new(&*args.cache, &*args.topic);
    match service.publisher()?.publish(&topic, &text).await {
        Ok(()) if args.json => {
            output.json(&json!({ "cache": args.cache, "topic": args.topic, "bytes": text.len() }))
        }
        Ok(()) => output.result(format_args!(
            "published {} bytes to {} in the cache {}",
            text.len(),
            Quoted(&args.topic),
            Quoted(&args.cache)
        )),
        Err(error) => {
            let at = service.endpoint();
            Err(Error::Failed(format!("not published, Momento at {at}: {}", describe_failure(&error))))
        }
    }
}

async fn subscribe(args: SubscribeArgs, output: &mut Output) -> Result<(), Error> {
    let shutdown = shutdown_signal().map_err(|error| Error::because("cannot listen for signals", &error))?;
    tokio::pin!(shutdown);
    let service = args.service.service(output)?;
    let cursor = args.resume_at.map(|number| Cursor { number, page: args.page.unwrap_or(0) });
    let mut subscription = service.subscribe(&args.cache, &args.topic, cursor)?;
    let mut wanted = args.count.map(NonZeroU64::get);
    let (mut was_open, mut is_interrupted) = (false, false);
    while wanted != Some(0) {
        let event = tokio::select! {
            biased;
            () = &mut shutdown => break,
            event = subscription.next() => event?,
        };
        if let (SubscriptionEvent::Item(_), Some(wanted)) = (&event, &mut wanted) {
            *wanted -= 1;
        }
        let was_interrupted = is_interrupted;
        match &event {
            SubscriptionEvent::Opened => (was_open, is_interrupted) = (true, false),
            SubscriptionEvent::Interrupted { .. } => is_interrupted = true,
            _ => {}
        }
        if is_interrupted && !was_interrupted && !was_open && service.is_local() {
            output.note(format_args!(
                "note: Momento at {} does not respond; to start a local one: \
                 cargo run -p momento-local -- --cache {}",
                service.endpoint(),
                shell_word(&args.cache)
            ));
        }
        if args.quiet && !matches!(event, SubscriptionEvent::Item(_)) {
            continue;
        }
        if args.json {
            output.json(&as_json(&event))?;
        } else if !(is_interrupted && was_interrupted) {
            print(&event, &args, &service, output)?;
        }
    }
    Ok(())
}

fn print(
    event: &SubscriptionEvent,
    args: &SubscribeArgs,
    service: &Service,
    output: &mut Output,
) -> Result<(), Error> {
    match event {
        SubscriptionEvent::Opened => output.result(format_args!(
            "subscribed    {} in the cache {} at {}",
            Quoted(&args.topic),
            Quoted(&args.cache),
            service.endpoint()
        ))?,
        SubscriptionEvent::Heartbeat => output.result("heartbeat")?,
        SubscriptionEvent::Item(Item { number, page, publisher_id, value }) => {
            let from = match publisher_id {
                Some(id) => format!("  from {id}"),
                None => String::new(),
            };
            let value = match value {
                ItemValue::Text(text) => Quoted(text).to_string(),
                ItemValue::Binary(bytes) => format!("{} bytes", bytes.len()),
                ItemValue::Unknown => "a value of an unknown kind".to_owned(),
            };
            output.result(format_args!("message       {number} of page {page}{from}  {value}"))?;
        }
        SubscriptionEvent::Discontinuity(gap) => output.result(format_args!(
            "discontinuity after {}: continues after {} of page {}",
            gap.last, gap.new, gap.page
        ))?,
        SubscriptionEvent::Interrupted { cause, .. } => {
            output.result(format_args!("interrupted   {cause}; it tries again until it succeeds"))?;
        }
    }
    Ok(())
}

fn as_json(event: &SubscriptionEvent) -> serde_json::Value {
    match event {
        SubscriptionEvent::Opened => json!({"event": "subscribed"}),
        SubscriptionEvent::Heartbeat => json!({"event": "heartbeat"}),
        SubscriptionEvent::Item(Item { number, page, publisher_id, value }) => {
            let (member, value) = match value {
                ItemValue::Text(text) => ("text", json!(text)),
                ItemValue::Binary(bytes) => ("binary_bytes", json!(bytes.len())),
                ItemValue::Unknown => ("unknown", json!(true)),
            };
            json!({
                "event": "message", "sequence_number": number, "sequence_page": page,
                "publisher_id": publisher_id, member: value,
            })
        }
        SubscriptionEvent::Discontinuity(gap) => json!({
            "event": "discontinuity", "last_sequence_number": gap.last,
            "new_sequence_number": gap.new, "new_sequence_page": gap.page,
        }),
        SubscriptionEvent::Interrupted { cause, backoff } => json!({
            "event": "interrupted", "cause": cause.to_string(), "retry_in_ms": millis(*backoff),
        }),
    }
}
