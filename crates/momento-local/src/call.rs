//! What all calls have in common: the check of the key, the faults, and the state that calls share.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::auth::Authenticator;
use crate::connection::{Gate, KillSwitch};
use crate::faults::metadata::{Counts, RequestedFaults};
use crate::faults::stream::StreamError;
use crate::faults::{Call, CallContext, Registry, When};
use crate::hub::Hub;
use crate::rpc::{Rpc, metadata_name};
use crate::status;

/// One server's state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) faults: Arc<Registry>,
    pub(crate) counts: Counts,
    pub(crate) authenticator: Authenticator,
    pub(crate) max_message_bytes: usize,
    pub(crate) heartbeat_interval: Duration,
    /// Ends streams, and calls that a fault holds up.
    pub(crate) shutdown: CancellationToken,
}

/// A call with an accepted key, whose metadata asks for no error. Its message is not decoded yet.
pub(crate) struct Admitted {
    /// The method; `None` for one that local Momento does not serve.
    pub(crate) rpc: Option<Rpc>,
    cache: String,
    token_id: String,
    stream_error: Option<StreamError>,
    context: CallContext,
    shared: Arc<Shared>,
}

/// A call whose message is decoded, and which no fault has stopped before its effect.
pub(crate) struct Started {
    pub(crate) call: Call,
    pub(crate) context: CallContext,
    /// The id in the caller's token; empty if the token has none.
    pub(crate) token_id: String,
    pub(crate) stream_error: Option<StreamError>,
    pub(crate) shared: Arc<Shared>,
}

impl Shared {
    /// Admits a call by its HTTP head.
    ///
    /// # Errors
    /// If the key is not accepted, or the metadata asks for an error.
    pub(crate) async fn admit(self: &Arc<Self>, head: &Parts) -> Result<Admitted, Status> {
        let metadata = MetadataMap::from_headers(head.headers.clone());
        let token_id = self.authenticator.check(&metadata)?.token_id;
        let path = head.uri.path();
        let requested = RequestedFaults::read(&metadata_name(path), &metadata)?;
        let connection = head.extensions.get::<KillSwitch>().cloned();
        let context = CallContext { connection, shutdown: self.shutdown.clone() };
        tracing::debug!(path, "call");
        requested.apply(&self.counts, &context).await?;
        if metadata.get("grpc-encoding").is_some_and(|encoding| encoding != "identity") {
            return Err(status::error(tonic::Code::Unimplemented, "compressed requests are not supported"));
        }
        let cache = metadata.get("cache").and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Admitted {
            rpc: Rpc::from_path(path),
            cache: cache.to_owned(),
            token_id,
            stream_error: requested.stream_error,
            context,
            shared: Arc::clone(self),
        })
    }
}

impl Admitted {
    /// Starts the call on a cache and a topic; empty for a method without one.
    ///
    /// SDKs name the cache in the message and in the metadata `cache`. The message takes precedence.
    ///
    /// # Errors
    /// If an injected fault fails the call before its effect.
    pub(crate) async fn start(self, cache: &str, topic: &str) -> Result<Started, Status> {
        let Self { rpc, token_id, stream_error, context, shared, .. } = self;
        let cache = if cache.is_empty() { self.cache } else { cache.to_owned() };
        let call = Call { rpc, cache, topic: topic.to_owned() };
        shared.faults.apply(When::BeforeApply, &call, &context).await?;
        Ok(Started { call, context, token_id, stream_error, shared })
    }
}

impl Started {
    /// Applies the faults that are due after the call's effect and before its response.
    pub(crate) async fn applied(&self) -> Result<(), Status> {
        self.shared.faults.apply(When::AfterApply, &self.call, &self.context).await
    }
}
