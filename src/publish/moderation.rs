//! The transforms of a route, before a text is published.

use std::sync::Arc;

use fanout_core::clock::{Clock, SystemClock};
use fanout_core::reason::{Failure, Reason};
use fanout_core::transform::{Context, Items, Message as Chained, Transformed};
use fanout_identity::Grant;
use fanout_momento::CacheSender;
use momento_webhook::Event;
use tokio::time::{Instant, timeout_at};

use super::outcome::PublishOutcome;
use super::request::Message;
use crate::live_routes::LiveRoutes;

/// Returns what the transforms of the route make of a text.
///
/// # Errors
/// If no route has transforms for the topic, a transform drops the text, or one fails.
pub(super) async fn moderate(
    routes: Option<&LiveRoutes>,
    items: &Arc<CacheSender>,
    grant: &Grant<'_>,
    Message { topic, text }: &Message,
    deadline: Instant,
) -> Result<String, PublishOutcome> {
    let routes = routes.map(LiveRoutes::current);
    let cache = grant.cache.as_str();
    let transforms = routes.as_ref().and_then(|routes| routes.routes.transforms(cache, topic));
    let Some((stages, captures)) = transforms.filter(|(stages, _)| !stages.is_empty()) else {
        return Err(PublishOutcome::NoTransforms);
    };
    let now = SystemClock.now();
    let event = Event {
        cache: cache.to_owned(),
        topic: topic.clone(),
        event_timestamp: now,
        publish_timestamp: now,
        topic_sequence_number: 0,
        topic_sequence_page: None,
        token_id: Some(grant.token_id.clone()),
        text: text.clone(),
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let items = Items::new(Arc::clone(items) as _);
    let context = Context {
        event: &event,
        captures: &captures,
        document: None,
        items: Some(&items),
        // As in the fan-out, a quarter of the time is left to publish.
        deadline: deadline - left / 4,
    };
    let mut message = Chained::new(text.as_str());
    for stage in stages {
        let applied = timeout_at(context.deadline, stage.apply(message, &context)).await;
        let applied = applied.unwrap_or_else(|_| {
            Err(Failure::new(Reason::TimedOut, format!("{}: it did not end in time", stage.name())))
        });
        match applied.map_err(PublishOutcome::NotTransformed)? {
            Transformed::Message(next) => message = next,
            Transformed::Dropped(reason) => {
                let (transform, reason) = (stage.name().to_owned(), reason.into_owned());
                return Err(PublishOutcome::Rejected { transform, reason });
            }
        }
    }
    Ok(message.text.into_owned())
}
