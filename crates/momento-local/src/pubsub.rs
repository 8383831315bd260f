//! Topics: the service `cache_client.pubsub.Pubsub`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use momento_protos::cache_client::pubsub::subscription_item::Kind;
use momento_protos::cache_client::pubsub::topic_value;
use momento_protos::cache_client::pubsub::{
    Discontinuity, Heartbeat, PublishRequest, SubscriptionItem, SubscriptionRequest, TopicItem, TopicValue,
};
use momento_protos::common::Empty;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Code, Status};

use crate::auth;
use crate::auth::issuer::{self, InvalidToken};
use crate::auth::permissions::{Access, Permissions};
use crate::call::{Admitted, Started};
use crate::error::CacheError;
use crate::faults::CallContext;
use crate::faults::stream::StreamFaults;
use crate::hub::Subscription;
use crate::hub::log::{Event, Gap, Published, Value};
use crate::status;

pub(crate) async fn publish(admitted: Admitted, request: PublishRequest) -> Result<Empty, Status> {
    let allow = |permissions: &Permissions, cache: &str| {
        permissions.allow_topic(Access::Write, cache, &request.topic)
    };
    let started = admitted.start(&request.cache_name, &request.topic, allow).await?;
    let Started { call, caller, shared, .. } = &started;
    let value = value(request.value, shared.max_message_bytes)?;
    let published = shared.hub.publish(&call.cache, &call.topic, caller.token_id.clone(), value)?;
    tracing::debug!(
        cache = call.cache,
        topic = call.topic,
        sequence_number = published.sequence_number,
        "published"
    );
    started.applied().await?;
    Ok(Empty {})
}

pub(crate) async fn subscribe(
    admitted: Admitted,
    request: SubscriptionRequest,
) -> Result<impl Stream<Item = Result<SubscriptionItem, Status>> + Send, Status> {
    let allow =
        |permissions: &Permissions, cache: &str| permissions.allow_topic(Access::Read, cache, &request.topic);
    let started = admitted.start(&request.cache_name, &request.topic, allow).await?;
    let Started { call, shared, .. } = &started;
    let resume_at = (request.resume_at_topic_sequence_number, request.sequence_page);
    let subscription = shared.hub.subscribe(&call.cache, &call.topic, resume_at)?;
    started.applied().await?;
    Ok(Feed::new(started, subscription).into_stream())
}

fn value(value: Option<TopicValue>, max_bytes: usize) -> Result<Value, Status> {
    let value = match value.and_then(|value| value.kind) {
        Some(topic_value::Kind::Text(text)) => Value::Text(text),
        Some(topic_value::Kind::Binary(bytes)) => Value::Binary(bytes),
        None => return Err(status::error(Code::InvalidArgument, "value is missing")),
    };
    let bytes = value.as_bytes().len();
    if bytes > max_bytes {
        return Err(status::too_large(format_args!(
            "the message has {bytes} bytes, and at most {max_bytes} are allowed"
        )));
    }
    Ok(value)
}

/// One open subscription: everything that is sent to one subscriber, in order.
struct Feed {
    subscription: Subscription,
    heartbeats: Interval,
    /// True if the first heartbeat has been sent.
    is_open: bool,
    faults: StreamFaults,
    context: CallContext,
    cache: String,
    /// The end of the subscriber's token.
    expires: Option<Instant>,
}

impl Feed {
    fn new(started: Started, subscription: Subscription) -> Self {
        let Started { call, context, caller, stream_error, shared, .. } = started;
        let period = shared.heartbeat_interval;
        let mut heartbeats = tokio::time::interval_at(Instant::now() + period, period);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let cache = call.cache.clone();
        let faults = StreamFaults::new(Arc::clone(&shared.faults), call, stream_error);
        let seconds_left = |last: u64| Duration::from_secs((last + 1).saturating_sub(issuer::now()));
        let expires = caller.expires.map(|last| Instant::now() + seconds_left(last));
        Self { subscription, heartbeats, is_open: false, faults, context, cache, expires }
    }

    fn into_stream(self) -> impl Stream<Item = Result<SubscriptionItem, Status>> {
        futures_util::stream::unfold(Some(self), |feed| async {
            let mut feed = feed?;
            match feed.next().await {
                Ok(Some(kind)) => Some((Ok(SubscriptionItem { kind: Some(kind) }), Some(feed))),
                Ok(None) => None,
                // Dropping the feed here unsubscribes before the subscriber receives the error.
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// Returns the next item to send; `None` at the shutdown of the server.
    async fn next(&mut self) -> Result<Option<Kind>, Status> {
        // A subscription begins with a heartbeat. SDKs take it as the sign of success, and the Python SDK
        // takes any other first item as an error.
        if !self.is_open {
            self.is_open = true;
            self.faults.count_heartbeat();
            return Ok(Some(Kind::Heartbeat(Heartbeat {})));
        }
        loop {
            if let Some(status) = self.faults.requested_error() {
                return Err(status);
            }
            while let Some(fault) = self.faults.due() {
                fault.apply(&self.context).await?;
            }
            tokio::select! {
                // Shutdown and faults come first: a busy topic must not delay them. Heartbeats come before
                // messages, so that a busy topic sends them as well.
                biased;
                () = self.context.shutdown.cancelled() => return Ok(None),
                () = wait_until(self.expires) => return Err(auth::invalid(InvalidToken::Expired)),
                () = self.faults.injected() => {}
                _ = self.heartbeats.tick() => {
                    self.subscription.turn().await;
                    self.faults.count_heartbeat();
                    return Ok(Some(Kind::Heartbeat(Heartbeat {})));
                }
                event = self.subscription.next() => {
                    let event = event.ok_or_else(|| CacheError::CacheNotFound(self.cache.clone()))?;
                    self.faults.count_message();
                    return Ok(Some(kind(event)));
                }
            }
        }
    }
}

/// Waits until the end of a token; without an end, forever.
async fn wait_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
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
