//! Builds and runs the functions. The binaries call only this.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use fanout_aws::Cloud;

use crate::cloud::{self, Complete};
use crate::config::{Config, DedupeConfig, Environment, ListenConfig, PublishConfig, Source, TokenConfig};
use crate::health;
use crate::metrics::{self, Metrics};
use crate::publish::PublishFunction;
use crate::request_log::RequestLog;
use crate::serve::{self, Function, lambda};
use crate::telemetry::Telemetry;
use crate::token::TokenFunction;
use crate::webhook::Webhook;
use fanout_core::dead_letter::DeadLetters;
use fanout_core::dedupe::shared::SharedDedupe;
use fanout_core::destination::Senders;
use fanout_core::fan_out::FanOut;
use fanout_core::reason::with_sources;
use fanout_core::retry::RetryPolicy;
use fanout_core::transform::Transforms;
use fanout_momento::{CacheSender, KeySource, MomentoCache, MomentoPublisher, TokenIssuer};

/// Error for a function that does not start, or ends early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigErrors),
    /// The client of Momento cannot be built.
    #[error("the client of Momento cannot be built")]
    Client(#[source] Box<momento::MomentoError>),
    /// The operating system reports an error.
    #[error("{0}")]
    Io(String, #[source] std::io::Error),
    /// The Lambda runtime ended.
    #[error(transparent)]
    Lambda(#[from] lambda::LambdaError),
}

/// Runs the function `webhook` with the settings of the environment, until a signal ends it.
#[must_use]
pub fn webhook() -> ExitCode {
    webhook_with(&Transforms::standard())
}

/// Runs the function `webhook` with custom transforms.
#[must_use]
pub fn webhook_with(transforms: &Transforms) -> ExitCode {
    start(about, |source, telemetry| run(source, telemetry, transforms))
}

/// Runs the function `token` with the settings of the environment, until a signal ends it.
#[must_use]
pub fn token() -> ExitCode {
    start(about_token, run_token)
}

/// Runs the function `publish` with the settings of the environment, until a signal ends it.
#[must_use]
pub fn publish() -> ExitCode {
    publish_with(&Transforms::standard())
}

/// Runs the function `publish` with custom transforms.
#[must_use]
pub fn publish_with(transforms: &Transforms) -> ExitCode {
    start(about_publish, |source, telemetry| run_publish(source, telemetry, transforms))
}

/// Runs a function: its flags, its log, and its end.
fn start(
    about: fn(&str) -> Option<String>,
    run: impl FnOnce(&dyn Source, &Telemetry) -> Result<(), RunError>,
) -> ExitCode {
    let flag = std::env::args().nth(1);
    if let Some(said) = flag.as_deref().and_then(about) {
        let _ = writeln!(std::io::stdout(), "{said}");
        return ExitCode::SUCCESS;
    }
    let source = Environment;
    if flag.as_deref() == Some("--health") {
        return match health::check(&source) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{}", with_sources(&error));
                ExitCode::FAILURE
            }
        };
    }
    let telemetry = Telemetry::new(lambda::is_environment(&source));
    let ended = run(&source, &telemetry);
    telemetry.end();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let reason = with_sources(&error);
            // Shells, containers and Lambda all show standard error.
            let _ = writeln!(std::io::stderr(), "{reason}");
            if lambda::is_environment(&source) && !matches!(error, RunError::Lambda(_)) {
                lambda::report_start_failure(&reason);
            }
            ExitCode::FAILURE
        }
    }
}

/// Returns the text for `--version` or `--help`.
fn about(flag: &str) -> Option<String> {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    match flag {
        "-V" | "--version" => Some(format!("topic-fanout {VERSION}")),
        "-h" | "--help" => Some(format!(
            "topic-fanout {VERSION}: takes signed webhooks of Momento's topics, and publishes their texts to other topics.\n\
             \n\
             With AWS_LAMBDA_RUNTIME_API in the environment it is an AWS Lambda function, without it an HTTP server. Its\n\
             settings are variables of the environment. The only other flag, --health, asks the server on PORT of this machine for\n\
             its health. At least these are needed:\n\
             \n  \
             MOMENTO_API_KEY         a key or token of Momento (and MOMENTO_ENDPOINT, for a v2 key or a local server)\n  \
             WEBHOOK_SIGNING_SECRET  what the sender signs with\n  \
             FANOUT_CONFIG           the file with the routes; or OUTBOUND_TOPIC, for one topic and no file\n\
             \n\
             docs/REFERENCE.md has them all."
        )),
        _ => None,
    }
}

/// Returns the text for `--version` or `--help` of the function `token`.
fn about_token(flag: &str) -> Option<String> {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    match flag {
        "-V" | "--version" => Some(format!("topic-fanout token {VERSION}")),
        "-h" | "--help" => Some(format!(
            "topic-fanout token {VERSION}: takes a proof of who asks, and issues a token of Momento.\n\
             \n\
             With AWS_LAMBDA_RUNTIME_API in the environment it is an AWS Lambda function, without it an HTTP server. Its\n\
             settings are variables of the environment. The only other flag, --health, asks the server on PORT of this machine for\n\
             its health. At least these are needed:\n\
             \n  \
             MOMENTO_API_KEY  a key of Momento that may issue tokens (and MOMENTO_ENDPOINT, for a local server)\n  \
             TOKENS_CONFIG    the file with the profiles, tokens.toml\n\
             \n\
             docs/TOKENS.md has the rest."
        )),
        _ => None,
    }
}

/// Returns the text for `--version` or `--help` of the function `publish`.
fn about_publish(flag: &str) -> Option<String> {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    match flag {
        "-V" | "--version" => Some(format!("topic-fanout publish {VERSION}")),
        "-h" | "--help" => Some(format!(
            "topic-fanout publish {VERSION}: takes a proof of who asks and a text, and publishes it to a topic of Momento.\n\
             \n\
             With AWS_LAMBDA_RUNTIME_API in the environment it is an AWS Lambda function, without it an HTTP server. Its\n\
             settings are variables of the environment. The only other flag, --health, asks the server on PORT of this machine for\n\
             its health. At least these are needed:\n\
             \n  \
             MOMENTO_API_KEY  a key of Momento that may issue tokens (and MOMENTO_ENDPOINT, for a local server)\n  \
             TOKENS_CONFIG    the file with the profiles, tokens.toml\n\
             \n\
             docs/PUBLISH.md has the rest."
        )),
        _ => None,
    }
}

/// Builds the function from the settings that [`cloud::complete`] returns. It needs a Tokio runtime.
///
/// # Errors
/// If the client of Momento cannot be built.
pub fn build(
    complete: Complete,
    cloud: &Cloud,
    request_log: RequestLog,
) -> Result<Webhook<MomentoPublisher>, RunError> {
    let Complete { keys, signing, routes, dead_letters, dedupe } = complete;
    let keys: Arc<dyn KeySource> = Arc::new(keys);
    let retry = RetryPolicy::PUBLISH;
    let publisher =
        MomentoPublisher::new(Arc::clone(&keys), retry.attempt_timeout).map_err(RunError::Client)?;
    let items = Arc::new(MomentoCache::new(keys, retry.attempt_timeout));
    let cache = Arc::new(CacheSender::new(Arc::clone(&items), retry));
    let sender = Senders { aws: cloud.sender(), cache: Arc::clone(&cache) as _ };
    let shared = match dedupe {
        DedupeConfig::Memory => None,
        DedupeConfig::Cache { cache } => Some(SharedDedupe::new(items, cache)),
    };
    let fan_out = FanOut::new(publisher, retry).with_sender(Arc::new(sender)).with_reader(cache);
    let dead_letters = dead_letters.map(|queue| DeadLetters::new(queue, cloud.sender()));
    let webhook = Webhook::new(signing, routes, fan_out, request_log);
    Ok(webhook.with_dead_letters(dead_letters).with_shared_dedupe(shared))
}

fn run(source: &dyn Source, telemetry: &Telemetry, transforms: &Transforms) -> Result<(), RunError> {
    let cloud = Cloud::default();
    let own = transforms;
    let transforms = cloud.transforms(own);
    let config = Config::read(source, &transforms)?;
    telemetry.start(&config.log);
    let request_log = telemetry.request_log(source, config.log.has_emf, "webhook");
    let is_lambda = lambda::is_environment(source);
    let runtime = runtime(is_lambda && lambda::concurrency(source) <= 1)?;
    let ended = runtime.block_on(async {
        let shutdown = serve::shutdown_signal()
            .map_err(|error| RunError::Io("cannot listen for signals".to_owned(), error))?;
        // In a task of its own, so that the server does not poll it on every wake-up.
        let shutdown = tokio::spawn(shutdown);
        let shutdown = async { drop(shutdown.await) };
        let listen_config = config.listen;
        let counted = match config.metrics.address.filter(|_| !is_lambda) {
            Some(address) => Some((listen_to(address).await?, Arc::<Metrics>::default())),
            None => None,
        };
        let request_log = match &counted {
            Some((_, counts)) => RequestLog::Counted(Box::new(request_log), Arc::clone(counts)),
            None => request_log,
        };
        let complete = Box::pin(cloud::complete(&cloud, config, &transforms, &request_log)).await?;
        if complete.lacks_region(own, source) {
            tracing::warn!(
                "AWS is needed and no region is set: set AWS_REGION, unless this machine's metadata has it"
            );
        }
        let webhook = build(complete, &cloud, request_log)?;
        if let Some((listener, counts)) = counted {
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, "listening for requests of metrics");
            }
            tokio::spawn(metrics::serve(listener, counts));
        }
        serve(source, webhook, listen_config, "webhooks", shutdown).await
    });
    // A DNS lookup cannot be cancelled, and must not delay the end of the process.
    runtime.shutdown_background();
    ended
}

fn run_token(source: &dyn Source, telemetry: &Telemetry) -> Result<(), RunError> {
    let TokenConfig { momento, secrets, tokens, listen, log } = TokenConfig::read(source)?;
    telemetry.start(&log);
    let request_log = telemetry.request_log(source, log.has_emf, "token");
    let runtime = runtime(lambda::is_environment(source) && lambda::concurrency(source) <= 1)?;
    let ended = runtime.block_on(async {
        let shutdown = serve::shutdown_signal()
            .map_err(|error| RunError::Io("cannot listen for signals".to_owned(), error))?;
        let (keys, file) = cloud::complete_token(&Cloud::default(), momento, secrets, tokens).await?;
        let issuer = TokenIssuer::new(Arc::new(keys), RetryPolicy::PUBLISH.attempt_timeout);
        serve(source, TokenFunction::new(file, issuer, request_log), listen, "requests", shutdown).await
    });
    runtime.shutdown_background();
    ended
}

fn run_publish(source: &dyn Source, telemetry: &Telemetry, transforms: &Transforms) -> Result<(), RunError> {
    let cloud = Cloud::default();
    let transforms = cloud.transforms(transforms);
    let PublishConfig { people, routes, dedupe } = PublishConfig::read(source, &transforms)?;
    let TokenConfig { momento, secrets, tokens, listen, log } = people;
    telemetry.start(&log);
    let request_log = telemetry.request_log(source, log.has_emf, "publish");
    let runtime = runtime(lambda::is_environment(source) && lambda::concurrency(source) <= 1)?;
    let ended = runtime.block_on(async {
        let shutdown = serve::shutdown_signal()
            .map_err(|error| RunError::Io("cannot listen for signals".to_owned(), error))?;
        let people = (momento, secrets, tokens);
        let completing = cloud::complete_publish(&cloud, people, routes, &transforms, &request_log);
        let (keys, file, routes) = Box::pin(completing).await?;
        let function = PublishFunction::new(file, Arc::new(keys), routes, dedupe, request_log);
        serve(source, function, listen, "requests", shutdown).await
    });
    runtime.shutdown_background();
    ended
}

/// Serves a function until `shutdown`. `what` it listens for is logged.
async fn serve<F: Function>(
    source: &dyn Source,
    function: F,
    config: ListenConfig,
    what: &str,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let function = Arc::new(function);
    if lambda::is_environment(source) {
        lambda::serve(source, function, shutdown).await?;
    } else {
        let port = config.port;
        let listener = listen(port)
            .await
            .map_err(|error| RunError::Io(format!("cannot listen on port {port}"), error))?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "listening for {what}");
        }
        serve::http::serve(listener, function, config, shutdown).await;
    }
    tracing::info!("ended");
    Ok(())
}

/// Builds the Tokio runtime. One invocation at a time needs only one thread, which starts faster and takes less memory.
fn runtime(one_at_a_time: bool) -> Result<Runtime, RunError> {
    let mut builder = if one_at_a_time { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build().map_err(|error| RunError::Io("no runtime can be built".to_owned(), error))
}

/// Listens on the address of `METRICS_ADDRESS`.
async fn listen_to(address: SocketAddr) -> Result<TcpListener, RunError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| RunError::Io(format!("cannot listen on METRICS_ADDRESS, {address}"), error))
}

/// Listens on all interfaces: with IPv6 and IPv4, or with IPv4 alone if there is no IPv6.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(("::", port)).await {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        listener => listener,
    }
}
