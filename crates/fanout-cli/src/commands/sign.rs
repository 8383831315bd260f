//! `fanout sign`: prints the headers for a body.

use std::collections::BTreeMap;

use fanout_core::clock::{Clock as _, SystemClock};

use crate::args::{SchemeArg, SecretArgs, message_id, new_message_id};
use crate::error::Error;
use crate::input;
use crate::output::{Output, shell_word};
use fanout_relay::webhook::signer::Signer;

/// Sign a body, and print the headers that prove it genuine
///
/// Signs the bytes of the body as they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  export WEBHOOK_SIGNING_SECRET=...
  fanout sign event.json > headers
  curl -H @headers --data-binary @event.json https://example.com/
  fanout sign --curl < event.json
  fanout sign --json event.json")]
pub(crate) struct Args {
    /// The file of the body; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    body: String,

    #[command(flatten)]
    secret: SecretArgs,

    /// The scheme of the signature
    #[arg(long, value_enum, default_value_t)]
    scheme: SchemeArg,

    /// The id of the message, for Standard Webhooks [default: a new one]
    #[arg(long, value_name = "ID", value_parser = message_id)]
    id: Option<String>,

    /// The time of the attempt, for Standard Webhooks: seconds since the Unix epoch [default: now]
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<u64>,

    /// Print flags for curl instead of `name: value`
    #[arg(long)]
    curl: bool,

    /// Print one JSON object with the headers
    #[arg(long, conflicts_with = "curl")]
    json: bool,
}

pub(crate) fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let secret = args.secret.needed()?;
    let signer = Signer::new(args.scheme.into(), secret.reveal())?;
    let id = args.id.unwrap_or_else(new_message_id);
    let seconds = args.timestamp.unwrap_or_else(|| SystemClock.now() / 1_000);
    let body = input::bytes(&args.body)?;
    let headers = signer.headers(&id, seconds, &body)?;
    if args.json {
        return output.json(&headers.into_iter().collect::<BTreeMap<_, _>>());
    }
    for (name, value) in headers {
        let header = format!("{name}: {value}");
        if args.curl {
            output.result(format_args!("-H {}", shell_word(&header)))?;
        } else {
            output.result(header)?;
        }
    }
    Ok(())
}
