//! The function in this process, as the binary `webhook` would serve it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use topic_fanout::journal::Journal;
use topic_fanout::serve;

use super::plan::Plan;
use crate::cli::Error;
use crate::service::Service;

/// The function that events are delivered to.
#[derive(Debug)]
pub(super) enum Function {
    InProcess { url: Url, stop: CancellationToken, serving: JoinHandle<()> },
    Elsewhere(Url),
}

impl Function {
    /// Starts it, where it is not one that runs elsewhere.
    ///
    /// # Errors
    /// When its port is taken, or its client cannot be built.
    pub(super) async fn start(plan: &Plan, service: &Service) -> Result<Self, Error> {
        if let Some(url) = &plan.function.function_url {
            return Ok(Self::Elsewhere(url.clone()));
        }
        let mut config = plan.config()?;
        config.momento.credentials = service.credentials().clone();
        let webhook = Arc::new(topic_fanout::run::build(config, Journal::Off)?);

        let port = plan.function.function_port;
        let taken = |error| Error::System(format!("cannot listen on port {port}"), error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(taken)?;
        let url = url(listener.local_addr().map_err(taken)?)?;
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve::http::serve(listener, webhook, stop.clone().cancelled_owned()));
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

    /// What becomes of `text`, where that is known.
    pub(super) fn becomes(&self, _: &str) -> Option<String> {
        None
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
