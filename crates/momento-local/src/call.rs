//! What all calls have in common: who calls, what was asked to go wrong, and the state that they share.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::auth::Authenticator;
use crate::connection::{Gate, KillSwitch};
use crate::faults::metadata::{Counts, Wishes};
use crate::faults::stream::StreamError;
use crate::faults::{Call, Circumstances, Registry, Rpc, When};
use crate::hub::Hub;

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

/// A call that was let in.
pub(crate) struct Admitted {
    pub(crate) call: Call,
    pub(crate) circumstances: Circumstances,
    /// The id in the caller's token; empty where it has none.
    pub(crate) token_id: String,
    pub(crate) stream_error: Option<StreamError>,
    shared: Arc<Shared>,
}

impl Shared {
    /// Lets a call in: its key is right, and no fault is due before it has its effect.
    ///
    /// The SDKs send the name of the cache in the message and in the `cache` metadata; either will do.
    pub(crate) async fn admit<T>(
        self: &Arc<Self>,
        rpc: Rpc,
        request: &Request<T>,
        cache: &str,
        topic: &str,
    ) -> Result<Admitted, Status> {
        let metadata = request.metadata();
        let caller = self.authenticator.check(metadata)?;
        let wishes = Wishes::read(rpc, metadata)?;
        let cache = match cache {
            "" => metadata.get("cache").and_then(|value| value.to_str().ok()).unwrap_or_default(),
            named => named,
        };
        let call = Call { rpc, cache: cache.to_owned(), topic: topic.to_owned() };
        let switch = request.extensions().get::<KillSwitch>().cloned();
        let circumstances = Circumstances { switch, shutdown: self.shutdown.clone() };
        tracing::debug!(%rpc, cache = call.cache, topic, "call");
        wishes.grant(&self.counts, &circumstances).await?;
        self.faults.apply(When::BeforeApply, &call, &circumstances).await?;
        Ok(Admitted {
            call,
            circumstances,
            token_id: caller.token_id,
            stream_error: wishes.stream_error,
            shared: Arc::clone(self),
        })
    }
}

impl Admitted {
    /// To be called when the call has had its effect, before it is answered.
    pub(crate) async fn applied(&self) -> Result<(), Status> {
        self.shared.faults.apply(When::AfterApply, &self.call, &self.circumstances).await
    }
}
