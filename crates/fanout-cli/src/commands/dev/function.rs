//! The function: in this process, served as the binary `webhook` serves it, or an external one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fanout_core::destination::{Accepted, Publisher, Sent, ServiceRequest, ServiceSender, Topic};
use fanout_core::fan_out::FanOut;
use fanout_core::reason::Failure;
use fanout_core::retry::RetryPolicy;
use fanout_momento::{CacheSender, MomentoPublisher};
use futures_util::future::BoxFuture;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use topic_fanout::config::ListenConfig;
use topic_fanout::request_log::RequestLog;
use topic_fanout::serve;
use topic_fanout::webhook::Webhook;

use super::setup::Setup;
use super::tasks::Update;
use crate::error::Error;
use crate::service::Service;

/// The idle timeout of a connection to the function.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The memory for the bodies of all requests, in bytes. One event is delivered at a time.
const BODY_MEMORY: usize = 64 * 1024 * 1024;

/// The function that events are delivered to.
#[derive(Debug)]
pub(super) enum Function {
    InProcess { url: Url, stop: CancellationToken, serving: JoinHandle<()> },
    External(Url),
}

/// Publishes to Momento, and reports each text before.
///
/// So the session recognises the texts of the function among the messages of other publishers. It cannot apply the
/// transforms itself: a second translation would cost as much, and could differ.
#[derive(Debug)]
struct RecordingPublisher {
    publisher: MomentoPublisher,
    updates: UnboundedSender<Update>,
}

impl Publisher for RecordingPublisher {
    async fn publish(&self, topic: &Topic<'_>, text: &str) -> Result<(), Failure> {
        let (cache, name) = (topic.cache.clone().into_owned(), topic.topic.clone().into_owned());
        let _ = self.updates.send(Update::Publishing { cache, topic: name, text: text.to_owned() });
        self.publisher.publish(topic, text).await
    }
}

/// Reports each request to a service destination. Changes items in caches, and sends requests to AWS with `--aws`.
#[derive(Debug)]
struct RecordingSender {
    aws: Option<Arc<dyn ServiceSender>>,
    cache: Arc<CacheSender>,
    updates: UnboundedSender<Update>,
}

impl ServiceSender for RecordingSender {
    fn send<'c>(
        &'c self,
        request: &'c ServiceRequest,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Sent> {
        Box::pin(async move {
            let is_cache = matches!(request, ServiceRequest::Cache(_));
            let sent = match &self.aws {
                _ if is_cache => self.cache.send(request, trace, deadline).await,
                Some(aws) => aws.send(request, trace, deadline).await,
                None => Sent { attempts: 1, result: Ok(Accepted::Created) },
            };
            if sent.result.is_ok() {
                let (request, is_sent) = (Box::new(request.clone()), is_cache || self.aws.is_some());
                let _ = self.updates.send(Update::ServiceRequest { request, is_sent });
            }
            sent
        })
    }
}

impl Function {
    /// Starts the function, unless it is an external one. Reports its publishes to `updates`.
    ///
    /// # Errors
    /// If its port is in use, or its client cannot be built.
    pub(super) async fn start(
        setup: &Setup,
        service: &Service,
        updates: UnboundedSender<Update>,
    ) -> Result<Self, Error> {
        if let Some(url) = &setup.function.function_url {
            return Ok(Self::External(url.clone()));
        }
        let retry = RetryPolicy::PUBLISH;
        let publisher = service.publisher_within(retry.attempt_timeout)?;
        let cache = Arc::new(service.cache_sender(retry));
        let sender =
            RecordingSender { aws: setup.sender(), cache: Arc::clone(&cache), updates: updates.clone() };
        let publisher = RecordingPublisher { publisher, updates };
        let fan_out = FanOut::new(publisher, retry).with_sender(Arc::new(sender)).with_reader(cache);
        let webhook = Webhook::new(setup.signing()?, setup.routes.clone(), fan_out, RequestLog::Off);

        let port = setup.function.function_port;
        let in_use = |error| Error::because(format_args!("cannot listen on port {port}"), &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(in_use)?;
        let url = url(listener.local_addr().map_err(in_use)?)?;
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let config = ListenConfig { port, idle_timeout: IDLE_TIMEOUT, body_memory: BODY_MEMORY };
        let serving = tokio::spawn(serve::http::serve(listener, Arc::new(webhook), config, shutdown));
        Ok(Self::InProcess { url, stop, serving })
    }

    /// Returns its URL.
    pub(super) const fn url(&self) -> &Url {
        match self {
            Self::InProcess { url, .. } | Self::External(url) => url,
        }
    }

    /// Returns true if it runs in this process.
    pub(super) const fn is_in_process(&self) -> bool {
        matches!(self, Self::InProcess { .. })
    }

    /// Stops it. It completes open requests, within a few seconds.
    pub(super) async fn stop(self) {
        if let Self::InProcess { stop, serving, .. } = self {
            stop.cancel();
            serving.await.expect("the server of the function does not panic");
        }
    }
}

fn url(address: SocketAddr) -> Result<Url, Error> {
    fanout_relay::webhook::post::url(&format!("http://{address}/"))
        .map_err(|error| Error::Failed(error.to_string()))
}
