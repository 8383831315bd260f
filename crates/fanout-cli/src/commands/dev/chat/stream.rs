//! The messages for a page, as server-sent events.
//!
//! | event | data | when |
//! | --- | --- | --- |
//! | `hello` | `{"person", "publish", "subscribe"}` | first |
//! | `history` | `{"messages": [TEXT, ...]}`, the oldest first | after the subscription has opened, also after an interruption |
//! | `message` | `{"text": TEXT}` | a message arrives |
//! | `interrupted` | `{"cause"}` | the subscription is gone, and opens again |
//! | `refused` | `{"cause"}` | there is no token, or Momento refuses the subscription; then the stream ends |
//!
//! The subscription opens before the history is read, so no message is missing in between. A page that has a message already
//! knows it by its id.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use fanout_momento::subscription::{Item, ItemValue};
use fanout_momento::{Subscription, SubscriptionEvent};
use futures_util::Stream;
use futures_util::stream::unfold;
use hyper::body::Frame;
use serde_json::{Value, json};

use super::people::{People, Person, detail};
use crate::error::Error;

enum State {
    Begins,
    Open(Box<Subscription>),
    Ended,
}

/// Returns the stream for a person. It ends with the connection, because it is dropped then: each heartbeat of the
/// subscription writes to the connection.
pub(super) fn events(
    people: Arc<People>,
    person: Person,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    unfold((people, State::Begins), move |(people, state)| async move {
        let (event, state) = match state {
            State::Begins => match subscription(&people, person).await {
                Ok(subscription) => {
                    let (publish, subscribe) = people.topics(person);
                    let hello =
                        json!({"person": person.to_string(), "publish": publish, "subscribe": subscribe});
                    (event("hello", &hello), State::Open(Box::new(subscription)))
                }
                Err(error) => (event("refused", &json!({ "cause": error.message() })), State::Ended),
            },
            State::Open(mut subscription) => match next(&people, person, &mut subscription).await {
                Ok(text) => (text, State::Open(subscription)),
                Err(cause) => (event("refused", &json!({ "cause": cause })), State::Ended),
            },
            State::Ended => return None,
        };
        Some((Ok(Frame::data(Bytes::from(event))), (people, state)))
    })
}

async fn subscription(people: &People, person: Person) -> Result<Subscription, Error> {
    let service = people.service(person).await?;
    Ok(service.subscribe(people.cache(), &people.topics(person).1, None)?)
}

/// Returns the next event.
///
/// # Errors
/// If Momento refuses the subscription.
async fn next(people: &People, person: Person, subscription: &mut Subscription) -> Result<String, String> {
    Ok(match subscription.next().await.map_err(|error| error.to_string())? {
        // After a discontinuity, the history has what is missing.
        SubscriptionEvent::Opened | SubscriptionEvent::Discontinuity(_) => history(people, person).await,
        SubscriptionEvent::Item(Item { value: ItemValue::Text(text), .. }) => {
            event("message", &json!({ "text": text }))
        }
        SubscriptionEvent::Interrupted { cause, .. } => {
            event("interrupted", &json!({ "cause": cause.to_string() }))
        }
        // A comment, which a page does not see.
        SubscriptionEvent::Item(_) | SubscriptionEvent::Heartbeat => ":\n\n".to_owned(),
    })
}

async fn history(people: &People, person: Person) -> String {
    let response = people.history(person).await;
    let body = String::from_utf8_lossy(response.body());
    let messages =
        serde_json::from_str(&body).ok().and_then(|mut body: Value| Some(body.get_mut("messages")?.take()));
    match messages {
        Some(messages) => event("history", &json!({ "messages": messages })),
        None => event("interrupted", &json!({ "cause": format!("no history: {}", detail(&body)) })),
    }
}

/// Returns an event. JSON has no line breaks, which would end its data.
fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
