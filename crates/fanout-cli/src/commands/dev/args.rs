//! The flags of `fanout dev`.

use std::time::Duration;

use reqwest::Url;

use super::example::Example;
use crate::args::{Secret, SecretArgs, duration};
use fanout_relay::webhook::post;

/// Run local Momento, the function, and the delivery of signed webhooks between them
///
/// Publishes each typed line to the inbound topic, delivers it to the function as Momento's
/// webhooks do, and shows what arrives on the outbound topics, with the latency. If a route of
/// --config or --example matches an outbound topic, its messages are delivered to the function too.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:
  fanout dev
  fanout dev --send hello --send 'once more'         # for scripts: exits with 0 if all texts arrive
  fanout dev --outbound a --outbound b --transform trim,lowercase
  fanout dev --example chat                          # a chat in three languages
  fanout dev --config fanout.toml                    # the routes of a deployed function
  fanout dev --config examples/chat/fanout.toml --inbound cooking-publish
  fanout dev --momento-port 8080 --function-url http://127.0.0.1:9000/lambda-url/webhook/
                                                     # the function is `cargo lambda watch`"
)]
pub(crate) struct Args {
    /// The cache of the inbound topic [default: the cache of its route in the file, or demo]
    #[arg(long, value_name = "NAME")]
    pub(super) cache: Option<String>,

    /// The topic to publish to, whose messages are delivered to the function [default: the topic of the first
    /// route in the file, or topic 1]
    #[arg(long, value_name = "TOPIC")]
    pub(super) inbound: Option<String>,

    /// The id in the token of the publisher, for routes and transforms that depend on it. A message that another
    /// publisher sends with a token keeps the id of that token
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) token_id: Option<String>,

    /// A topic that the function publishes to; can be given several times
    #[arg(long, value_name = "TOPIC", default_value = "topic 2", conflicts_with_all = ["config", "example"])]
    pub(super) outbound: Vec<String>,

    /// The transforms of a text, separated by commas
    #[arg(long, value_name = "NAMES", default_value = "uppercase", conflicts_with_all = ["config", "example"])]
    pub(super) transform: String,

    /// The file with the function's routes
    #[arg(long, value_name = "FILE", conflicts_with = "example")]
    pub(super) config: Option<String>,

    /// Built-in routes
    #[arg(long, value_name = "NAME")]
    pub(super) example: Option<Example>,

    /// The port of the pages of --example; 0 takes a free one
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        requires = "example",
        conflicts_with_all = ["quiet", "json", "send"]
    )]
    pub(super) page_port: u16,

    /// Use Amazon Translate instead of `pseudolocalize`, and send requests to queues, buses, tables and state
    /// machines instead of only showing them
    #[arg(long, conflicts_with = "function_url")]
    pub(super) aws: bool,

    #[command(flatten)]
    pub(super) secret: SecretArgs,

    #[command(flatten)]
    pub(super) function: FunctionArgs,

    #[command(flatten)]
    pub(super) momento: MomentoArgs,

    /// Publish this text instead of typed lines, and exit when it has arrived everywhere or was dropped; can be
    /// given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) send: Vec<String>,

    /// The timeout for a text to arrive on all outbound topics
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) timeout: Duration,

    /// Show only arrivals, drops and failures
    #[arg(short, long, conflicts_with = "json")]
    pub(super) quiet: bool,

    /// Print one JSON object per line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct FunctionArgs {
    /// The port of the function; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) function_port: u16,

    /// Deliver to an external function: `cargo lambda watch`, a container, a deployed one
    #[arg(long, value_name = "URL", value_parser = post::url, conflicts_with = "function_port")]
    pub(super) function_url: Option<Url>,
}

#[derive(Debug, clap::Args)]
pub(super) struct MomentoArgs {
    /// The port of local Momento; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) momento_port: u16,

    /// Use another Momento: http://host:port of a local one, or the endpoint of an API key
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "momento_port")]
    pub(super) momento_endpoint: Option<String>,

    /// API key or token for --momento-endpoint; a local Momento needs none
    #[arg(long, value_name = "KEY", env = "MOMENTO_API_KEY", hide_env_values = true)]
    pub(super) api_key: Option<Secret>,
}
