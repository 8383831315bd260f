//! `fanout send`: sends one signed webhook to any URL.

use std::time::Duration;

use bytes::Bytes;
use fanout_core::clock::{Clock as _, SystemClock};
use http::{HeaderName, HeaderValue};
use momento_webhook::{Event, Millis};
use reqwest::Url;
use serde_json::json;

use crate::args::{SchemeArg, SecretArgs, duration, message_id, new_message_id};
use crate::error::Error;
use crate::input::{bytes, text};
use crate::output::Output;
use fanout_relay::webhook::deliver;
use fanout_relay::webhook::post::{self, Poster};
use fanout_relay::webhook::signer::Signer;

/// Sign one event and send it to a URL, as Momento does
///
/// Prints the status and the body of the response, which is a text in JSON too. The exit code is 0 if the status is 2xx, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  export WEBHOOK_SIGNING_SECRET=...
  fanout send --url https://abc.lambda-url.eu-west-1.on.aws/ --cache demo --topic 'topic 1' --text hello
  fanout send --url http://127.0.0.1:8000/ --body event.json --scheme both
  fanout send --url http://127.0.0.1:8000/ --header 'momento-signature: 00'    # a wrong signature
  fanout send --url http://127.0.0.1:8000/ --publish-timestamp 1704296470565   # an old event")]
pub(crate) struct Args {
    /// The URL of the function
    #[arg(long, value_name = "URL", value_parser = post::url)]
    url: Url,

    #[command(flatten)]
    secret: SecretArgs,

    /// The scheme of the signature
    #[arg(long, value_enum, default_value_t)]
    scheme: SchemeArg,

    #[command(flatten)]
    event: EventArgs,

    /// Send the bytes of this file instead of an event; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["EventArgs"])]
    body: Option<String>,

    /// The id of the message, for Standard Webhooks [default: a new one]
    #[arg(long, value_name = "ID", value_parser = message_id)]
    id: Option<String>,

    /// An additional header, or another value for a header; can be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// The timeout for the response; Momento's is 5 s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    timeout: Duration,

    /// Print the response as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(id = "EventArgs", multiple = true)]
struct EventArgs {
    /// The event's cache
    #[arg(long, value_name = "NAME", default_value = "demo")]
    cache: String,

    /// The event's topic
    #[arg(long, value_name = "NAME", default_value = "topic 1")]
    topic: String,

    /// The event's text; - is standard input, without its last line end
    #[arg(long, value_name = "TEXT", default_value = "hello", allow_hyphen_values = true)]
    text: String,

    /// The id in the publisher's token
    #[arg(long, value_name = "ID")]
    token_id: Option<String>,

    /// The event's sequence number in its topic
    #[arg(long, value_name = "N", default_value_t = 1)]
    sequence_number: u64,

    /// The page of that number; Momento sends none
    #[arg(long, value_name = "PAGE")]
    sequence_page: Option<u64>,

    /// The time at which the message was published: milliseconds since the Unix epoch [default: now]
    #[arg(long, value_name = "MILLIS")]
    event_timestamp: Option<Millis>,

    /// The time at which the webhook is sent: milliseconds since the Unix epoch [default: now]
    #[arg(long, value_name = "MILLIS")]
    publish_timestamp: Option<Millis>,
}

pub(crate) async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let signer = Signer::new(args.scheme.into(), args.secret.needed()?.reveal())?;
    let now = SystemClock.now();
    let sent = args.event.publish_timestamp.unwrap_or(now);
    let body = match args.body {
        Some(file) => bytes(&file)?,
        None => args.event.event(now)?.to_json().into_bytes(),
    };
    let id = args.id.unwrap_or_else(new_message_id);
    let mut headers = deliver::headers(signer.headers(&id, sent / 1_000, &body)?);
    for (name, value) in args.headers {
        headers.insert(name, value);
    }
    let response = Poster::new(args.url, args.timeout)?.post(headers, Bytes::from(body)).await?;
    if args.json {
        output.json(&json!({ "status": response.status.as_u16(), "body": response.body }))?;
    } else {
        output.result(response.status)?;
        output.results(&response.body)?;
    }
    if response.status.is_success() {
        Ok(())
    } else {
        Err(Error::Failed(format!("the webhook was not accepted: {}", response.status)))
    }
}

impl EventArgs {
    fn event(self, now: Millis) -> Result<Event, Error> {
        Ok(Event {
            cache: self.cache,
            topic: self.topic,
            event_timestamp: self.event_timestamp.unwrap_or(now),
            publish_timestamp: self.publish_timestamp.unwrap_or(now),
            topic_sequence_number: self.sequence_number,
            topic_sequence_page: self.sequence_page,
            token_id: self.token_id.filter(|id| !id.is_empty()),
            text: text(self.text)?,
        })
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("not of the form `name: value`")?;
    let name = name.trim().parse().map_err(|_| "the text before the colon is not the name of a header")?;
    let value = value.trim().parse().map_err(|_| "the text after the colon is not the value of a header")?;
    Ok((name, value))
}
