//! What all calls have in common: the check of the key, the faults, and the state that calls share.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::uri::Authority;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::auth::permissions::Permissions;
use crate::auth::{Authenticator, Caller};
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
    pub(crate) shared: Arc<Shared>,
    cache: String,
    caller: Caller,
    /// The address by which the caller knows this server.
    authority: Option<Authority>,
    stream_error: Option<StreamError>,
    context: CallContext,
}

/// A call whose message is decoded, and which no fault has stopped before its effect.
pub(crate) struct Started {
    pub(crate) call: Call,
    pub(crate) context: CallContext,
    pub(crate) caller: Caller,
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
        let path = head.uri.path();
        let rpc = Rpc::from_path(path);
        let caller = if rpc.is_some_and(Rpc::has_key_in_message) {
            Caller::unknown()
        } else {
            self.authenticator.check_metadata(&metadata)?
        };
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
            rpc,
            shared: Arc::clone(self),
            cache: cache.to_owned(),
            caller,
            authority: head.uri.authority().cloned(),
            stream_error: requested.stream_error,
            context,
        })
    }
}

impl Admitted {
    /// Starts the call on a cache and a topic; empty for a method without one.
    ///
    /// SDKs name the cache in the message and in the metadata `cache`. The message takes precedence. `allow` decides
    /// whether the caller may make the call on this cache.
    ///
    /// # Errors
    /// If the caller's permissions do not allow the call, or an injected fault fails it before its effect.
    pub(crate) async fn start(
        self,
        cache: &str,
        topic: &str,
        allow: impl FnOnce(&Permissions, &str) -> bool,
    ) -> Result<Started, Status> {
        let Self { rpc, shared, caller, stream_error, context, .. } = self;
        let cache = if cache.is_empty() { self.cache } else { cache.to_owned() };
        if !allow(&caller.permissions, &cache) {
            return Err(status::denied());
        }
        let call = Call { rpc, cache, topic: topic.to_owned() };
        shared.faults.apply(When::BeforeApply, &call, &context).await?;
        Ok(Started { call, context, caller, stream_error, shared })
    }

    /// Checks the key in the message of a call.
    pub(crate) fn check_key(&self, key: &str) -> Result<Caller, Status> {
        self.shared.authenticator.check(key)
    }

    /// Starts a call that issues tokens, whose key is checked. Returns the endpoint for the tokens as well.
    pub(crate) async fn start_issuing(self) -> Result<(Started, String), Status> {
        let endpoint = self.authority.as_ref().map_or("localhost", Authority::as_str).to_owned();
        Ok((self.start("", "", |_, _| true).await?, endpoint))
    }
}

impl Started {
    /// Applies the faults that are due after the call's effect and before its response.
    pub(crate) async fn applied(&self) -> Result<(), Status> {
        self.shared.faults.apply(When::AfterApply, &self.call, &self.context).await
    }
}
