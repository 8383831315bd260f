//! A running local Momento.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin;
use crate::call::Shared;
use crate::connection::accept;
use crate::error::CacheError;
use crate::faults::{Fault, FaultHandle};
use crate::hub::log::{Published, Value};
use crate::service;

/// Streams that the service lets one connection carry; the SDKs count on it and open more connections.
const MAX_STREAMS_PER_CONNECTION: u32 = 100;

/// A local Momento that is running. Dropping it stops it at once; [`shutdown`](Self::shutdown) does so
/// in an orderly way.
#[derive(Debug)]
pub struct MomentoLocal {
    shared: Arc<Shared>,
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    drain: Duration,
    serving: JoinHandle<()>,
    admin: Option<JoinHandle<()>>,
}

impl MomentoLocal {
    pub(crate) fn serve(
        shared: Arc<Shared>,
        listener: TcpListener,
        admin: Option<TcpListener>,
        drain: Duration,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let admin_addr = admin.as_ref().map(TcpListener::local_addr).transpose()?;
        let admin = admin.map(|listener| tokio::spawn(admin::serve(Arc::clone(&shared), listener)));
        let serving = tokio::spawn(serve(Arc::clone(&shared), listener));
        Ok(Self { shared, addr, admin_addr, drain, serving, admin })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as a URL, as SDKs and gRPC channels want it: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where the admin port is, if there is one.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Creates a cache.
    ///
    /// # Errors
    ///
    /// It exists already, or the name is not valid.
    pub fn create_cache(&self, name: &str) -> Result<(), CacheError> {
        self.shared.hub.create_cache(name)
    }

    /// Deletes a cache; subscriptions to its topics end with "not found".
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn delete_cache(&self, name: &str) -> Result<(), CacheError> {
        self.shared.hub.delete_cache(name)
    }

    /// Publishes from inside the process, without a publisher id and whatever the size. Faults do not
    /// touch it.
    ///
    /// # Errors
    ///
    /// The cache does not exist, or the topic's name is not valid.
    pub fn publish(
        &self,
        cache: &str,
        topic: &str,
        value: impl Into<Value>,
    ) -> Result<Published, CacheError> {
        let published = self.shared.hub.publish(cache, topic, String::new(), value.into())?;
        Ok(Arc::unwrap_or_clone(published))
    }

    /// Begins a new sequence page on a topic: what it held is forgotten, numbers begin at 1 again, and
    /// subscribers get a discontinuity.
    ///
    /// # Errors
    ///
    /// The cache does not exist, or the topic's name is not valid.
    pub fn reset_topic(&self, cache: &str, topic: &str) -> Result<(), CacheError> {
        self.shared.hub.reset_topic(cache, topic)
    }

    /// How many are subscribed to a topic right now.
    #[must_use]
    pub fn subscriber_count(&self, cache: &str, topic: &str) -> usize {
        self.shared.hub.subscriber_count(cache, topic)
    }

    /// Waits until at least so many are subscribed to a topic.
    pub async fn wait_for_subscribers(&self, cache: &str, topic: &str, subscribers: usize) {
        self.shared.hub.wait_until(|hub| hub.subscriber_count(cache, topic) >= subscribers).await;
    }

    /// Waits until nobody is subscribed to a topic.
    pub async fn wait_for_no_subscribers(&self, cache: &str, topic: &str) {
        self.shared.hub.wait_until(|hub| hub.subscriber_count(cache, topic) == 0).await;
    }

    /// What a topic holds for subscribers that resume, oldest first: at most the
    /// [history](crate::Builder::history), and nothing from before a reset.
    #[must_use]
    pub fn published(&self, cache: &str, topic: &str) -> Vec<Published> {
        let history = self.shared.hub.history(cache, topic);
        history.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// Waits until a topic holds at least so many messages, and returns them.
    pub async fn wait_for_published(&self, cache: &str, topic: &str, messages: usize) -> Vec<Published> {
        self.shared.hub.wait_until(|hub| hub.history(cache, topic).len() >= messages).await;
        self.published(cache, topic)
    }

    /// Cuts every connection and turns new ones away, until [`unblock`](Self::unblock).
    pub fn block(&self) {
        self.shared.gate.block();
    }

    /// Lets connections in again.
    pub fn unblock(&self) {
        self.shared.gate.unblock();
    }

    /// Cuts every connection; clients may connect again at once.
    pub fn cut_connections(&self) {
        self.shared.gate.cut();
    }

    /// Makes something go wrong from now on.
    #[expect(clippy::must_use_candidate, reason = "most tests have no use for the handle")]
    pub fn inject(&self, fault: Fault) -> FaultHandle {
        self.shared.faults.inject(fault)
    }

    /// Removes all faults. Calls that they hold up go on.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Serves until the future completes, and then shuts down.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.shutdown().await;
    }

    /// Stops: takes no more connections, ends subscriptions, lets calls under way finish, and cuts what
    /// is left after the [deadline](crate::Builder::drain). When it returns, the port is free and no task runs.
    pub async fn shutdown(mut self) {
        self.shared.shutdown.cancel();
        if tokio::time::timeout(self.drain, &mut self.serving).await.is_err() {
            tracing::info!("clients are still connected at the deadline, cutting them off");
            self.shared.gate.block();
            let _ = (&mut self.serving).await;
        }
        if let Some(admin) = &mut self.admin {
            let _ = admin.await;
        }
    }
}

impl Drop for MomentoLocal {
    fn drop(&mut self) {
        self.shared.shutdown.cancel();
        self.shared.gate.block();
        self.serving.abort();
        if let Some(admin) = &self.admin {
            admin.abort();
        }
    }
}

/// Serves until the shutdown, and then until the last connection is closed.
///
/// This is not tonic's own server because that one answers when the deadline of a call is over, with
/// "cancelled", in a race with the caller's "deadline exceeded". Here a deadline is the caller's business:
/// what a test of one sees is the same every time.
async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS_PER_CONNECTION);
    let connections = GracefulShutdown::new();
    loop {
        let connection = tokio::select! {
            connection = accept(&listener, &shared.gate) => connection,
            () = shared.shutdown.cancelled() => break,
        };
        let (switch, shared) = (connection.switch(), Arc::clone(&shared));
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(switch.clone());
            service::serve(Arc::clone(&shared), request).map(Ok::<_, Infallible>)
        });
        let serving = connections.watch(http2.serve_connection(TokioIo::new(connection), service));
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::debug!(%error, "connection ended early");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}
