//! The flags of `fanout dev`.

use std::time::Duration;

use reqwest::Url;

use super::example::Example;
use crate::args::{Secret, SecretArgs, duration};
use crate::post;

/// Run it all on this machine: local Momento, the function, and signed webhooks from one to the other
///
/// Every line that is typed is published to the inbound topic. From there it is delivered
/// to the function as Momento's webhooks are, and what the function publishes to the outbound
/// topics is shown with its latency. An outbound topic that a route of --config or --example is
/// for goes on to the function in turn.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:
  fanout dev
  fanout dev --send hello --send 'once more'         # no terminal: ends with 0 when all has arrived
  fanout dev --outbound a --outbound b --transform trim,lowercase
  fanout dev --example chat                          # a chat in three languages
  fanout dev --config fanout.toml                    # what the function itself is given
  fanout dev --config examples/chat/fanout.toml --inbound cooking-publish
  fanout dev --momento-port 8080 --function-url http://127.0.0.1:9000/lambda-url/webhook/
                                                     # the function is `cargo lambda watch`"
)]
pub(crate) struct Args {
    /// The cache of the inbound topic [default: that of its route in the file; else demo, or the example's]
    #[arg(long, value_name = "NAME")]
    pub(super) cache: Option<String>,

    /// The topic whose messages are delivered to the function [default: topic 1; or that of the first route
    /// in the file, or the example's]
    #[arg(long, value_name = "TOPIC")]
    pub(super) inbound: Option<String>,

    /// The id inside the token that texts are published with, for routes and transforms that go by it
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) token_id: Option<String>,

    /// A topic that the function publishes to; can be given several times
    #[arg(long, value_name = "TOPIC", default_value = "topic 2", conflicts_with_all = ["config", "example"])]
    pub(super) outbound: Vec<String>,

    /// What the function does to a text: transforms, separated by commas
    #[arg(long, value_name = "NAMES", default_value = "uppercase", conflicts_with_all = ["config", "example"])]
    pub(super) transform: String,

    /// The function's routes, from a file such as the function itself is given
    #[arg(long, value_name = "FILE", conflicts_with = "example")]
    pub(super) config: Option<String>,

    /// Routes that are built in
    #[arg(long, value_name = "NAME")]
    pub(super) example: Option<Example>,

    /// Have Amazon Translate do what `translate` says, in place of what stands in for it, and send what is for
    /// queues, buses, tables and state machines, in place of only showing it
    #[arg(long, conflicts_with = "function_url")]
    pub(super) aws: bool,

    #[command(flatten)]
    pub(super) secret: SecretArgs,

    #[command(flatten)]
    pub(super) function: FunctionArgs,

    #[command(flatten)]
    pub(super) momento: MomentoArgs,

    /// Publish this text instead of what is typed, and end when it has arrived everywhere, or was dropped; can
    /// be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) send: Vec<String>,

    /// How long a text may take to arrive on all outbound topics
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) timeout: Duration,

    /// Show only what arrives, what is dropped and what fails
    #[arg(short, long, conflicts_with = "json")]
    pub(super) quiet: bool,

    /// Print one JSON object per line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct FunctionArgs {
    /// Where the function is to listen; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) function_port: u16,

    /// Deliver to this function instead: `cargo lambda watch`, a container, a deployed one
    #[arg(long, value_name = "URL", value_parser = post::url, conflicts_with = "function_port")]
    pub(super) function_url: Option<Url>,
}

#[derive(Debug, clap::Args)]
pub(super) struct MomentoArgs {
    /// Where local Momento is to listen; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) momento_port: u16,

    /// Use this Momento instead: http://host:port of a local one, or the endpoint of an API key
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "momento_port")]
    pub(super) momento_endpoint: Option<String>,

    /// API key or token for --momento-endpoint; a local Momento needs none
    #[arg(long, value_name = "KEY", env = "MOMENTO_API_KEY", hide_env_values = true)]
    pub(super) api_key: Option<Secret>,
}
