//! `fanout dev`: local Momento, the function and the delivery to it, in one process.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `plan` | what is to run, checked before anything does |
//! | `example` | routes that are built in |
//! | `translations` | what translates |
//! | `network` | the topics that texts go through |
//! | `function` | the function in this process, or where it is |
//! | `session` | what happens, one thing after the other |
//! | `workers` | what runs beside it: subscriptions, publishing, delivery, typing |
//! | `tracker` | which message is which, from sending to arriving |
//! | `answer` | what the function's answer says of each destination |
//! | `report` | what is printed |

mod answer;
mod example;
mod function;
mod network;
mod plan;
mod report;
mod session;
mod tracker;
mod translations;
mod workers;

use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::Duration;

use momento_local::{Builder, MomentoLocal};
use reqwest::Url;
use tokio::sync::mpsc;
use topic_fanout::serve::shutdown_signal;

use self::example::Example;
use self::function::Function;
use self::plan::Plan;
use self::report::{Report, Style};
use self::session::{Input, Session};
use crate::cli::{Error, Secret, SecretArgs};
use crate::output::Output;
use crate::service::Service;
use crate::{duration, post};

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
    cache: Option<String>,

    /// The topic whose messages are delivered to the function [default: topic 1; or that of the first route
    /// in the file, or the example's]
    #[arg(long, value_name = "TOPIC")]
    inbound: Option<String>,

    /// The id inside the token that texts are published with, for routes and transforms that go by it
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    token_id: Option<String>,

    /// A topic that the function publishes to; can be given several times
    #[arg(long, value_name = "TOPIC", default_value = "topic 2", conflicts_with_all = ["config", "example"])]
    outbound: Vec<String>,

    /// What the function does to a text: transforms, separated by commas
    #[arg(long, value_name = "NAMES", default_value = "uppercase", conflicts_with_all = ["config", "example"])]
    transform: String,

    /// The function's routes, from a file such as the function itself is given
    #[arg(long, value_name = "FILE", conflicts_with = "example")]
    config: Option<String>,

    /// Routes that are built in
    #[arg(long, value_name = "NAME")]
    example: Option<Example>,

    /// Have Amazon Translate do what `translate` says, in place of what stands in for it, and send what is for
    /// queues, buses, tables and state machines, in place of only showing it
    #[arg(long, conflicts_with = "function_url")]
    aws: bool,

    #[command(flatten)]
    secret: SecretArgs,

    #[command(flatten)]
    function: FunctionArgs,

    #[command(flatten)]
    momento: MomentoArgs,

    /// Publish this text instead of what is typed, and end when it has arrived everywhere, or was dropped; can
    /// be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    send: Vec<String>,

    /// How long a text may take to arrive on all outbound topics
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,

    /// Show only what arrives, what is dropped and what fails
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,

    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct FunctionArgs {
    /// Where the function is to listen; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    function_port: u16,

    /// Deliver to this function instead: `cargo lambda watch`, a container, a deployed one
    #[arg(long, value_name = "URL", value_parser = post::url, conflicts_with = "function_port")]
    function_url: Option<Url>,
}

#[derive(Debug, clap::Args)]
struct MomentoArgs {
    /// Where local Momento is to listen; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    momento_port: u16,

    /// Use this Momento instead: http://host:port of a local one, or the endpoint of an API key
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "momento_port")]
    momento_endpoint: Option<String>,

    /// API key or token for --momento-endpoint; a local Momento needs none
    #[arg(long, value_name = "KEY", env = "MOMENTO_API_KEY", hide_env_values = true)]
    api_key: Option<Secret>,
}

pub(crate) async fn run(mut args: Args, output: &mut Output) -> Result<(), Error> {
    let style = match (args.json, args.quiet) {
        (true, _) => Style::Json,
        (false, true) => Style::Quiet,
        (false, false) => Style::Human,
    };
    let texts = std::mem::take(&mut args.send);
    let input = if texts.is_empty() { Input::Typed } else { Input::Texts(texts.into()) };
    let plan = Plan::new(args)?;
    // From here on, being told to end is an orderly end.
    let shutdown =
        shutdown_signal().map_err(|error| Error::System("cannot listen for signals".to_owned(), error))?;

    let mut shutdown = pin!(shutdown);
    let (service, local) = tokio::select! {
        () = &mut shutdown => return Ok(()),
        started = momento(&plan) => started?,
    };
    let (happen, happenings) = mpsc::unbounded_channel();
    let ended = match Function::start(&plan, &service, happen.clone()).await {
        Ok(function) => {
            let report = Report { style, output };
            let running = (&plan, &service, &function);
            let ended = match Session::new(running, report, input, (happen, happenings)) {
                Ok(session) => session.run(shutdown).await,
                Err(error) => Err(error),
            };
            function.stop().await;
            ended
        }
        Err(error) => Err(error),
    };
    if let Some(local) = local {
        local.shutdown().await;
    }
    ended
}

/// The Momento that is wanted, with the caches in it.
async fn momento(plan: &Plan) -> Result<(Service, Option<MomentoLocal>), Error> {
    let caches = plan.network.caches();
    if let Some(endpoint) = &plan.momento.momento_endpoint {
        let key = plan.momento.api_key.as_ref().map(Secret::reveal).filter(|key| !key.is_empty());
        let service = Service::new(Some(endpoint), key)?;
        for cache in caches {
            service.ensure_cache(cache).await?;
        }
        return Ok((service, None));
    }
    let local = MomentoLocal::builder().listen((Ipv4Addr::LOCALHOST, plan.momento.momento_port));
    let local = caches.into_iter().fold(local, Builder::cache).start().await?;
    Ok((Service::new(Some(&local.endpoint()), None)?, Some(local)))
}
