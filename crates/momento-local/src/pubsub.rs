//! Topics: the service `cache_client.pubsub.Pubsub`.

use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::BoxStream;
use momento_protos::cache_client::pubsub::pubsub_server::Pubsub;
use momento_protos::cache_client::pubsub::subscription_item::Kind;
use momento_protos::cache_client::pubsub::topic_value;
use momento_protos::cache_client::pubsub::{
    Discontinuity, Heartbeat, PublishRequest, SubscriptionItem, SubscriptionRequest, TopicItem, TopicValue,
};
use momento_protos::common::Empty;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Code, Request, Response, Status};

use crate::call::{Admitted, Shared};
use crate::error::CacheError;
use crate::faults::stream::StreamFaults;
use crate::faults::{Circumstances, Rpc};
use crate::hub::Subscription;
use crate::hub::log::{Event, Gap, Published, Value};
use crate::status;

/// The service.
pub(crate) struct PubsubService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Pubsub for PubsubService {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<Empty>, Status> {
        let message = request.get_ref();
        let admitted = self.0.admit(Rpc::Publish, &request, &message.cache_name, &message.topic).await?;
        let value = self.value(request.into_inner().value)?;
        let Admitted { call, token_id, .. } = &admitted;
        let published = self.0.hub.publish(&call.cache, &call.topic, token_id.clone(), value)?;
        tracing::debug!(
            cache = call.cache,
            topic = call.topic,
            sequence_number = published.sequence_number,
            "published"
        );
        admitted.applied().await?;
        Ok(Response::new(Empty {}))
    }

    type SubscribeStream = BoxStream<'static, Result<SubscriptionItem, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscriptionRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let wanted = request.get_ref();
        let admitted = self.0.admit(Rpc::Subscribe, &request, &wanted.cache_name, &wanted.topic).await?;
        let resume_at = (wanted.resume_at_topic_sequence_number, wanted.sequence_page);
        let subscription = self.0.hub.subscribe(&admitted.call.cache, &admitted.call.topic, resume_at)?;
        admitted.applied().await?;
        let feed = Feed::new(&self.0, admitted, subscription);
        Ok(Response::new(Box::pin(feed.into_stream())))
    }
}

impl PubsubService {
    fn value(&self, value: Option<TopicValue>) -> Result<Value, Status> {
        let value = match value.and_then(|value| value.kind) {
            Some(topic_value::Kind::Text(text)) => Value::Text(text),
            Some(topic_value::Kind::Binary(bytes)) => Value::Binary(bytes),
            None => return Err(status::error(Code::InvalidArgument, "value is missing")),
        };
        let bytes = value.as_bytes().len();
        if bytes > self.0.max_message_bytes {
            return Err(status::too_large(bytes, self.0.max_message_bytes));
        }
        Ok(value)
    }
}

/// One open subscription: everything that is sent to one subscriber, in its order.
struct Feed {
    subscription: Subscription,
    heartbeats: Interval,
    greeted: bool,
    faults: StreamFaults,
    circumstances: Circumstances,
    cache: String,
}

impl Feed {
    fn new(shared: &Arc<Shared>, admitted: Admitted, subscription: Subscription) -> Self {
        let period = shared.heartbeat_interval;
        let mut heartbeats = tokio::time::interval_at(Instant::now() + period, period);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let cache = admitted.call.cache.clone();
        let faults = StreamFaults::new(Arc::clone(&shared.faults), admitted.call, admitted.stream_error);
        let circumstances = admitted.circumstances;
        Self { subscription, heartbeats, greeted: false, faults, circumstances, cache }
    }

    fn into_stream(self) -> impl Stream<Item = Result<SubscriptionItem, Status>> {
        futures_util::stream::unfold(Some(self), |feed| async {
            let mut feed = feed?;
            match feed.next().await {
                Ok(Some(kind)) => Some((Ok(SubscriptionItem { kind: Some(kind) }), Some(feed))),
                Ok(None) => None,
                // Dropping the feed right here unsubscribes before the subscriber hears of the error.
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// The next thing to send; `None` when the server ends.
    async fn next(&mut self) -> Result<Option<Kind>, Status> {
        // A subscription begins with a heartbeat: SDKs take it for the sign that it worked, and the
        // Python SDK takes anything else for an error.
        if !self.greeted {
            self.greeted = true;
            self.faults.carried_heartbeat();
            return Ok(Some(Kind::Heartbeat(Heartbeat {})));
        }
        loop {
            if let Some(status) = self.faults.requested_error() {
                return Err(status);
            }
            while let Some(fault) = self.faults.due() {
                fault.inflict(&self.circumstances).await?;
            }
            tokio::select! {
                // The end and the faults first, or a busy topic would put them off; heartbeats before
                // messages, so that they keep coming on a busy topic as well.
                biased;
                () = self.circumstances.shutdown.cancelled() => return Ok(None),
                () = self.faults.injected() => {}
                _ = self.heartbeats.tick() => {
                    self.faults.carried_heartbeat();
                    return Ok(Some(Kind::Heartbeat(Heartbeat {})));
                }
                event = self.subscription.next() => {
                    let event = event.ok_or_else(|| CacheError::CacheNotFound(self.cache.clone()))?;
                    self.faults.carried_message();
                    return Ok(Some(kind(event)));
                }
            }
        }
    }
}

fn kind(event: Event) -> Kind {
    match event {
        Event::Message(message) => Kind::Item(item(&message)),
        Event::Gap(Gap { last, new, page }) => Kind::Discontinuity(Discontinuity {
            last_topic_sequence: last,
            new_topic_sequence: new,
            new_sequence_page: page,
        }),
    }
}

fn item(message: &Published) -> TopicItem {
    let kind = match &message.value {
        Value::Text(text) => topic_value::Kind::Text(text.clone()),
        Value::Binary(bytes) => topic_value::Kind::Binary(bytes.clone()),
    };
    TopicItem {
        topic_sequence_number: message.sequence_number,
        value: Some(TopicValue { kind: Some(kind) }),
        publisher_id: message.publisher_id.clone(),
        sequence_page: message.sequence_page,
    }
}
