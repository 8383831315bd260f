//! The function in this process, as the binary `webhook` would serve it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fanout_core::destination::{Accepted, AwsRequest, AwsSender, DeliveryError, Publisher, Sent, Topic};
use fanout_core::fan_out::FanOut;
use fanout_core::retry::RetryPolicy;
use fanout_momento::MomentoPublisher;
use futures_util::future::BoxFuture;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use topic_fanout::request_log::RequestLog;
use topic_fanout::serve;
use topic_fanout::webhook::Webhook;

use super::plan::Plan;
use super::workers::Happening;
use crate::error::Error;
use crate::service::Service;

/// The time that a connection to the function may be idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The function that events are delivered to.
#[derive(Debug)]
pub(super) enum Function {
    InProcess { url: Url, stop: CancellationToken, serving: JoinHandle<()> },
    Elsewhere(Url),
}

/// Publishes to Momento, and tells of it before.
///
/// What arrives can be told from what somebody else publishes that way, whatever the transforms make of a
/// text: to apply them here once more would cost what a translation costs, and need not give the same.
#[derive(Debug)]
struct Telling {
    publisher: MomentoPublisher,
    happen: UnboundedSender<Happening>,
}

impl Publisher for Telling {
    async fn publish(&self, topic: &Topic<'_>, text: &str) -> Result<(), DeliveryError> {
        let (cache, name) = (topic.cache.clone().into_owned(), topic.topic.clone().into_owned());
        let _ = self.happen.send(Happening::Publishing { cache, topic: name, text: text.to_owned() });
        self.publisher.publish(topic, text).await
    }
}

/// Tells what is handed in where there is no topic, and hands it in where that is asked for.
#[derive(Debug)]
struct RecordingSender {
    aws: Option<Arc<dyn AwsSender>>,
    happen: UnboundedSender<Happening>,
}

impl AwsSender for RecordingSender {
    fn send<'c>(
        &'c self,
        request: &'c AwsRequest,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Sent> {
        Box::pin(async move {
            let sent = match &self.aws {
                Some(aws) => aws.send(request, trace, deadline).await,
                None => Sent { attempts: 1, result: Ok(Accepted::Created) },
            };
            if sent.result.is_ok() {
                let request = Box::new(request.clone());
                let _ = self.happen.send(Happening::HandingIn { request, is_sent: self.aws.is_some() });
            }
            sent
        })
    }
}

impl Function {
    /// Starts it, where it is not one that runs elsewhere. What it publishes is handed in to `happen`.
    ///
    /// # Errors
    /// When its port is taken, or its client cannot be built.
    pub(super) async fn start(
        plan: &Plan,
        service: &Service,
        happen: UnboundedSender<Happening>,
    ) -> Result<Self, Error> {
        if let Some(url) = &plan.function.function_url {
            return Ok(Self::Elsewhere(url.clone()));
        }
        let retry = RetryPolicy::PUBLISH;
        let publisher = service.publisher_within(retry.attempt_timeout)?;
        let sender = RecordingSender { aws: plan.sender(), happen: happen.clone() };
        let fan_out = FanOut::new(Telling { publisher, happen }, retry).with_sender(Arc::new(sender));
        let webhook = Webhook::new(plan.signing()?, plan.routes.clone(), fan_out, RequestLog::Off);

        let port = plan.function.function_port;
        let taken = |error| Error::because(format_args!("cannot listen on port {port}"), &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(taken)?;
        let url = url(listener.local_addr().map_err(taken)?)?;
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let serving = tokio::spawn(serve::http::serve(listener, Arc::new(webhook), IDLE_TIMEOUT, shutdown));
        Ok(Self::InProcess { url, stop, serving })
    }

    /// Where it is.
    pub(super) const fn url(&self) -> &Url {
        match self {
            Self::InProcess { url, .. } | Self::Elsewhere(url) => url,
        }
    }

    /// Whether it runs in this process.
    pub(super) const fn is_in_process(&self) -> bool {
        matches!(self, Self::InProcess { .. })
    }

    /// Ends it: what it has begun is finished, within a few seconds.
    pub(super) async fn stop(self) {
        if let Self::InProcess { stop, serving, .. } = self {
            stop.cancel();
            let _ = serving.await;
        }
    }
}

fn url(address: SocketAddr) -> Result<Url, Error> {
    crate::post::url(&format!("http://{address}/")).map_err(|error| Error::Failed(error.to_string()))
}
