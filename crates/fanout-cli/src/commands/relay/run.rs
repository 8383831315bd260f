//! The relay itself.

use std::future::{self, Future};
use std::sync::Arc;

use fanout_aws::Cloud;
use fanout_core::destination::Senders;
use fanout_core::fan_out::FanOut;
use fanout_core::retry::RetryPolicy;
use fanout_core::route::Routes;
use fanout_core::transform::Transforms;
use fanout_momento::CacheSet;
use fanout_momento::subscription::SubscriptionPolicy;
use fanout_relay::dead_letter::DeadLetterTopic;
use fanout_relay::file::{FileDeadLetters, FileSubscription, FileTarget, Listen, LogMetrics};
use fanout_relay::function::FunctionTarget;
use fanout_relay::queue::QueueTarget;
use fanout_relay::routes::RoutesTarget;
use fanout_relay::shard::Shard;
use fanout_relay::spool::{Limits, Location, Spool};
use fanout_relay::topics::TopicsFrom;
use fanout_relay::{Status, SubscriptionConfig, Target, port};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use topic_fanout::config::{Environment, LogConfig};
use topic_fanout::serve::shutdown_signal;
use topic_fanout::telemetry::Telemetry;

use super::{Loaded, emf, live, load};
use crate::args::ServiceArgs;
use crate::aws::{function_invoker, queue_sender};
use crate::error::Error;
use crate::output::Output;
use crate::service::{Service, ServiceError};

/// Runs until a signal ends it.
pub(super) async fn run(
    name: &str,
    file: Loaded,
    service: &ServiceArgs,
    output: &mut Output,
) -> Result<(), Error> {
    let signals = |error| Error::because("cannot listen for signals", &error);
    let shutdown = shutdown_signal().map_err(signals)?;
    let hangup = signal(SignalKind::hangup()).map_err(signals)?;
    let log = LogConfig::from_source(&Environment)?;
    let service = service.service(output)?;
    let telemetry = Telemetry::new(false);
    telemetry.start(&log);
    let ended = serve(name, file, &service, &telemetry, (shutdown, hangup), output).await;
    telemetry.end();
    ended
}

async fn serve(
    name: &str,
    file: Loaded,
    service: &Service,
    telemetry: &Telemetry,
    (shutdown, mut hangup): (impl Future<Output = ()>, Signal),
    output: &mut Output,
) -> Result<(), Error> {
    let fixed = (file.spool.clone(), file.limits, file.listen.clone());
    let transforms = file.transforms.clone();
    let (location, limits, listen) = &fixed;
    let spool = Spool::open(location, *limits)?;
    let pending = spool.usage().messages;
    match location {
        Location::File(path) => tracing::info!(spool = %path.display(), pending, "spool opened"),
        Location::Memory => {
            tracing::warn!("the spool is in memory: messages that wait are lost when the process ends");
        }
    }
    let status = Status::default();
    let port = match listen {
        None => None,
        Some(Listen { address, token }) => {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| Error::because(format_args!("cannot listen on {address}"), &error))?;
            let address = listener.local_addr()?;
            let has_token = token.is_some();
            tracing::info!(%address, has_token, "listening for operators");
            Some(tokio::spawn(port::serve(listener, spool.clone(), status.clone(), token.clone())))
        }
    };
    let mut records = match file.metrics {
        None => None,
        Some(LogMetrics::Emf) => {
            Some(emf::Records::start(spool.clone(), status.clone(), telemetry.output().clone()).await?)
        }
    };
    let mut shutdown = std::pin::pin!(shutdown);
    let mut next = Some(file);
    while let Some(Loaded { subscriptions, shard, .. }) = next.take() {
        let topics: usize = subscriptions.iter().map(|(subscription, _)| subscription.topics.len()).sum();
        tracing::info!(
            endpoint = service.endpoint(),
            subscriptions = subscriptions.len(),
            topics,
            "relay started"
        );
        let subscriptions = subscriptions
            .into_iter()
            .map(|subscription| config(subscription, shard, service))
            .collect::<Result<_, _>>()?;
        let stop = async {
            loop {
                tokio::select! {
                    () = &mut shutdown => return None,
                    _ = hangup.recv() => {}
                }
                match reload(name, &transforms, &fixed, output) {
                    Ok(file) => return Some(file),
                    Err(error) => {
                        tracing::error!(error, "the file is not loaded; the relay continues as before");
                    }
                }
            }
        };
        let mut reloaded = None;
        let stop = async { reloaded = stop.await };
        let policy = SubscriptionPolicy::default();
        let shown = async {
            match &mut records {
                Some(records) => records.run().await,
                None => future::pending().await,
            }
        };
        let live = async {
            if telemetry.is_terminal() {
                live::run(&spool, &status, telemetry.output()).await;
            } else {
                future::pending::<()>().await;
            }
        };
        tokio::select! {
            ended = fanout_relay::run(subscriptions, &spool, service.credentials(), policy, &status, stop) => ended?,
            () = shown => {}
            () = live => {}
        }
        next = reloaded;
    }
    telemetry.output().status(None);
    if let Some(records) = &mut records {
        records.write().await;
    }
    if let Some(port) = port {
        port.abort();
        // It was just ended.
        let _ = port.await;
    }
    let pending = spool.usage().messages;
    spool.close().await;
    tracing::info!(pending, "ended");
    Ok(())
}

/// Reads the file as it is now. What is `fixed` must not differ.
fn reload(
    name: &str,
    transforms: &Transforms,
    fixed: &(Location, Limits, Option<Listen>),
    output: &mut Output,
) -> Result<Loaded, String> {
    let file = load(name, transforms, false, output).map_err(|error| match error {
        Error::Usage(message) | Error::Failed(message) => message,
        Error::Closed => "standard output is closed".to_owned(),
    })?;
    if (&file.spool, file.limits, &file.listen) != (&fixed.0, fixed.1, &fixed.2) {
        return Err("the spool, its bounds and `listen` can change at a restart only".to_owned());
    }
    tracing::info!("the file is loaded again");
    Ok(file)
}

fn config(
    (subscription, routes): (FileSubscription, Option<Routes>),
    shard: Option<Shard>,
    service: &Service,
) -> Result<SubscriptionConfig, Error> {
    let FileSubscription {
        name,
        cache,
        topics,
        topics_from,
        from,
        gap_notices,
        schedule,
        target,
        dead_letters,
        has_topics_of_routes: _,
    } = subscription;
    let dead_letters: Option<Arc<dyn Target>> = match dead_letters {
        None => None,
        Some(FileDeadLetters::Sqs(queue)) => {
            let target = QueueTarget::new(queue, queue_sender()?);
            Some(Arc::new(target.for_dead_letters(name.clone())))
        }
        Some(FileDeadLetters::Topic(topic)) => {
            Some(Arc::new(DeadLetterTopic::new(name.clone(), topic, service.publisher()?)))
        }
    };
    let topics_from = match topics_from {
        None => None,
        Some(set) => Some(TopicsFrom {
            source: Arc::new(
                CacheSet::new(service.credentials(), &set.cache, &set.set).map_err(ServiceError::Client)?,
            ),
            interval: set.every,
            shard: shard.map(|shard| (shard, cache.clone())),
        }),
    };
    let target = self::target(target, routes.map(|routes| (routes, service)))?;
    Ok(SubscriptionConfig {
        name,
        cache,
        topics,
        topics_from,
        from,
        gap_notices,
        schedule,
        target,
        dead_letters,
    })
}

/// Returns a target. One with routes needs them, and Momento to publish to.
pub(super) fn target(
    target: FileTarget,
    routes: Option<(Routes, &Service)>,
) -> Result<Arc<dyn Target>, Error> {
    Ok(match target {
        FileTarget::Webhook(webhook) => Arc::new(*webhook),
        FileTarget::Sqs(queue) => Arc::new(QueueTarget::new(queue, queue_sender()?)),
        FileTarget::Lambda(function, signer) => {
            Arc::new(FunctionTarget::new(function, *signer, function_invoker()?))
        }
        FileTarget::Routes(path) => {
            let (routes, service) = routes.expect("the caller reads the routes of each such target");
            let retry = RetryPolicy::PUBLISH;
            let publisher = service.publisher_within(retry.attempt_timeout)?;
            let cache = Arc::new(service.cache_sender(retry));
            let sender = Senders { aws: Cloud::default().sender(), cache: Arc::clone(&cache) as _ };
            let fan_out = FanOut::new(publisher, retry).with_sender(Arc::new(sender)).with_reader(cache);
            Arc::new(RoutesTarget::new(path.display().to_string(), routes, fan_out))
        }
    })
}
