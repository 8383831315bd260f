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
use local_guard::Guard;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin;
use crate::call::Shared;
use crate::connection::accept;
use crate::error::CacheError;
use crate::faults::{Fault, FaultHandle};
use crate::hub::log::{Published, Value};
use crate::service;

/// The streams that one connection of the service carries. The SDKs open more connections for more streams.
const MAX_STREAMS_PER_CONNECTION: u32 = 100;

/// The bytes that HTTP/2 buffers for one stream whose client does not read. The log of the topic keeps the messages,
/// so more would only be copies of them.
const SEND_BUFFER_BYTES: usize = 4 * 1_024;

/// A running local Momento. A drop stops it at once; [`shutdown`](Self::shutdown) stops it in order.
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
        admin: Option<(TcpListener, Guard)>,
        drain: Duration,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let admin_addr = admin.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?;
        let admin =
            admin.map(|(listener, guard)| tokio::spawn(admin::serve(Arc::clone(&shared), listener, guard)));
        let serving = tokio::spawn(serve(Arc::clone(&shared), listener));
        Ok(Self { shared, addr, admin_addr, drain, serving, admin })
    }

    /// Returns the address of gRPC.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address of gRPC as a URL, for SDKs and gRPC channels: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns credentials for clients of the Rust SDK. They have the key that the server accepts, or `local` if it accepts
    /// any.
    #[cfg(feature = "sdk")]
    #[must_use]
    pub fn credentials(&self) -> momento::CredentialProvider {
        use base64::Engine as _;
        let key = self.shared.authenticator.key().unwrap_or("local");
        let token = serde_json::json!({ "api_key": key, "endpoint": "localhost" }).to_string();
        let token = base64::engine::general_purpose::URL_SAFE.encode(token);
        let credentials = momento::CredentialProvider::from_disposable_token(token);
        let credentials = credentials.expect("a token with a key and an endpoint is valid");
        credentials.insecure_endpoint_override(&self.endpoint())
    }

    /// Returns the address of the admin port, if it is open.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Creates a cache.
    ///
    /// # Errors
    ///
    /// If the cache already exists, or the name is invalid.
    pub fn create_cache(&self, name: &str) -> Result<(), CacheError> {
        self.shared.hub.create_cache(name)
    }

    /// Deletes a cache. Subscriptions to its topics end with "not found".
    ///
    /// # Errors
    ///
    /// If no cache has this name.
    pub fn delete_cache(&self, name: &str) -> Result<(), CacheError> {
        self.shared.hub.delete_cache(name)
    }

    /// Publishes from inside the process: without a publisher id, a limit of size, or faults.
    ///
    /// # Errors
    ///
    /// If the cache does not exist, or the topic's name is invalid.
    pub fn publish(
        &self,
        cache: &str,
        topic: &str,
        value: impl Into<Value>,
    ) -> Result<Published, CacheError> {
        let published = self.shared.hub.publish(cache, topic, String::new(), value.into())?;
        Ok(Arc::unwrap_or_clone(published))
    }

    /// Begins a new sequence page on a topic. The topic forgets its messages, numbers restart at 1, and
    /// subscribers receive a discontinuity.
    ///
    /// # Errors
    ///
    /// If the cache does not exist, or the topic's name is invalid.
    pub fn reset_topic(&self, cache: &str, topic: &str) -> Result<(), CacheError> {
        self.shared.hub.reset_topic(cache, topic)
    }

    /// Returns the current number of subscribers of a topic.
    #[must_use]
    pub fn subscriber_count(&self, cache: &str, topic: &str) -> usize {
        self.shared.hub.subscriber_count(cache, topic)
    }

    /// Waits until a topic has at least this many subscribers.
    pub async fn wait_for_subscribers(&self, cache: &str, topic: &str, subscribers: usize) {
        self.shared.hub.wait_until(|hub| hub.subscriber_count(cache, topic) >= subscribers).await;
    }

    /// Waits until a topic has no subscribers.
    pub async fn wait_for_no_subscribers(&self, cache: &str, topic: &str) {
        self.shared.hub.wait_until(|hub| hub.subscriber_count(cache, topic) == 0).await;
    }

    /// Returns the messages that a topic keeps for resuming subscribers, oldest first: at most the
    /// [history](crate::Builder::history), and none from before a reset.
    #[must_use]
    pub fn published(&self, cache: &str, topic: &str) -> Vec<Published> {
        let history = self.shared.hub.history(cache, topic);
        history.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// Waits until a topic keeps at least this many messages, and returns them.
    pub async fn wait_for_published(&self, cache: &str, topic: &str, messages: usize) -> Vec<Published> {
        self.shared.hub.wait_until(|hub| hub.history(cache, topic).len() >= messages).await;
        self.published(cache, topic)
    }

    /// Cuts every connection and refuses new ones, until [`unblock`](Self::unblock).
    pub fn block(&self) {
        self.shared.gate.block();
    }

    /// Accepts connections again.
    pub fn unblock(&self) {
        self.shared.gate.unblock();
    }

    /// Cuts every connection. Clients can connect again at once.
    pub fn cut_connections(&self) {
        self.shared.gate.cut();
    }

    /// Injects a fault: it applies from now on.
    #[expect(clippy::must_use_candidate, reason = "most tests do not need the handle")]
    pub fn inject(&self, fault: Fault) -> FaultHandle {
        self.shared.faults.inject(fault)
    }

    /// Removes all faults. Calls that they hold up continue.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Serves until `shutdown` completes, and then shuts down.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.shutdown().await;
    }

    /// Stops: accepts no more connections, ends subscriptions, and lets running calls finish. After the
    /// [timeout](crate::Builder::drain) it cuts the open connections. When it returns, the port is free and no
    /// task runs.
    pub async fn shutdown(mut self) {
        self.shared.shutdown.cancel();
        if tokio::time::timeout(self.drain, &mut self.serving).await.is_err() {
            tracing::info!("clients are still connected after the timeout; cutting their connections");
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
/// The server of tonic is not used: it enforces the deadline of a call itself and sends "cancelled", in a race
/// with the caller's own "deadline exceeded". Here only the caller enforces a deadline, so a test of one always
/// sees the same error.
async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .max_send_buf_size(SEND_BUFFER_BYTES);
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
