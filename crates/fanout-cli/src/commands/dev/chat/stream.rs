//! The messages for a page, as server-sent events.
//!
//! | event | data | when |
//! | --- | --- | --- |
//! | `hello` | `{"person", "publish", "subscribe"}` | first |
//! | `history` | `{"messages": [TEXT, ...]}`, the oldest first | after the subscription has opened, and again when what was on its way is there |
//! | `message` | `{"text": TEXT}` | a message arrives |
//! | `interrupted` | `{"cause"}` | the subscription is gone, and opens again |
//! | `refused` | `{"cause"}` | there is no token, or Momento refuses the subscription; then the stream ends |
//!
//! The subscription opens before the history is read. A message whose fan-out runs at that moment can be too early for the
//! one and too late for the other: the topic has it before, and the list after. So the history is read once more when each
//! such fan-out has ended. A page that has a message already knows it by its id.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanout_momento::subscription::{Item, ItemValue};
use fanout_momento::{Subscription, SubscriptionError, SubscriptionEvent};
use futures_util::Stream;
use futures_util::stream::unfold;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tonic::Code;
use topic_fanout::serve::RESPONSE_TIMEOUT;

use super::people::{People, Person, detail};
use crate::error::Error;

/// The time after which a fan-out that ran when the subscription opened has ended.
pub(super) const SETTLE: Duration = RESPONSE_TIMEOUT.saturating_add(Duration::from_secs(1));

enum State {
    Begins,
    Open(Box<Open>),
    Ended,
}

struct Open {
    subscription: Subscription,
    /// When the history is read once more.
    history_at: Option<Instant>,
}

/// Returns the stream for a person, whose history is read once more after `settle`. It ends with the connection, because it is
/// dropped then: each heartbeat of the subscription writes to the connection.
pub(super) fn events(
    people: Arc<People>,
    person: Person,
    settle: Duration,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    unfold((people, State::Begins), move |(people, state)| async move {
        let (event, state) = match state {
            State::Begins => match subscription(&people, person).await {
                Ok(subscription) => {
                    let (publish, subscribe) = people.topics(person);
                    let hello =
                        json!({"person": person.to_string(), "publish": publish, "subscribe": subscribe});
                    let open = Open { subscription, history_at: None };
                    (event("hello", &hello), State::Open(Box::new(open)))
                }
                Err(error) => refused(error.message()),
            },
            State::Open(mut open) => match next(&people, person, &mut open, settle).await {
                Ok(text) => (text, State::Open(open)),
                // The token has expired: the next one is issued.
                Err(error) if error.status.code() == Code::Unauthenticated => {
                    people.forget(person).await;
                    (event("interrupted", &json!({ "cause": error.to_string() })), State::Begins)
                }
                Err(error) => refused(&error.to_string()),
            },
            State::Ended => return None,
        };
        Some((Ok(Frame::data(Bytes::from(event))), (people, state)))
    })
}

fn refused(cause: &str) -> (String, State) {
    (event("refused", &json!({ "cause": cause })), State::Ended)
}

async fn subscription(people: &People, person: Person) -> Result<Subscription, Error> {
    let service = people.service(person).await?;
    Ok(service.subscribe(people.cache(), &people.topics(person).1, None)?)
}

/// Returns the next event.
///
/// # Errors
/// If Momento refuses the subscription.
async fn next(
    people: &People,
    person: Person,
    open: &mut Open,
    settle: Duration,
) -> Result<String, SubscriptionError> {
    let happened = tokio::select! {
        happened = open.subscription.next() => happened?,
        () = until(open.history_at) => {
            open.history_at = None;
            return Ok(history(people, person).await);
        }
    };
    Ok(match happened {
        // After a discontinuity, the history has what is missing.
        SubscriptionEvent::Opened | SubscriptionEvent::Discontinuity(_) => {
            open.history_at = Some(Instant::now() + settle);
            history(people, person).await
        }
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::StreamExt as _;
    use momento::CacheClient;
    use momento::cache::configurations::Laptop;
    use momento_local::{Fault, MomentoLocal, Rpc};
    use tokio::time::timeout;

    use super::super::super::setup::tests::setup;
    use super::*;
    use crate::service::Service;

    /// Much longer than anything takes.
    const TIMEOUT: Duration = Duration::from_secs(20);
    const TOPIC: &str = "friends-subscribe-english";

    struct Events(Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>);

    impl Events {
        fn of(people: &Arc<People>, settle: Duration) -> Self {
            Self(Box::pin(events(Arc::clone(people), Person::Ann, settle)))
        }

        /// Returns the next event, without comments; `None` at the end.
        async fn next(&mut self) -> Option<String> {
            loop {
                let frame = timeout(TIMEOUT, self.0.next()).await.expect("an event in time")?;
                let text = String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap();
                if !text.starts_with(':') {
                    return Some(text);
                }
            }
        }

        #[track_caller]
        fn assert(event: Option<&str>, name: &str, says: &str) {
            let is_named = event.is_some_and(|event| event.starts_with(&format!("event: {name}\n")));
            assert!(is_named && event.unwrap().contains(says), "{name} {says:?} in {event:?}");
        }

        async fn assert_opens(&mut self) {
            Self::assert(self.next().await.as_deref(), "hello", TOPIC);
            Self::assert(self.next().await.as_deref(), "history", "\"messages\":[]");
        }
    }

    async fn start() -> (MomentoLocal, Arc<People>) {
        let momento = MomentoLocal::builder().cache("chat").start().await.unwrap();
        let service = Service::new(Some(&momento.endpoint()), None).unwrap();
        let setup = setup(&["--example", "chat"]).unwrap();
        (momento, Arc::new(People::new(&setup, &service)))
    }

    #[tokio::test]
    async fn issues_new_token_when_token_is_no_longer_accepted() {
        let (momento, people) = start().await;
        let mut events = Events::of(&people, TIMEOUT);
        events.assert_opens().await;
        momento.inject(Fault::stream_error(Code::Unauthenticated).on(Rpc::Subscribe).topic(TOPIC).times(1));
        Events::assert(events.next().await.as_deref(), "interrupted", "");
        events.assert_opens().await;
        momento.publish("chat", TOPIC, "hi").unwrap();
        Events::assert(events.next().await.as_deref(), "message", "hi");
    }

    #[tokio::test]
    async fn ends_when_momento_refuses_subscription() {
        let (momento, people) = start().await;
        momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Subscribe).topic(TOPIC));
        let mut events = Events::of(&people, TIMEOUT);
        Events::assert(events.next().await.as_deref(), "hello", TOPIC);
        Events::assert(events.next().await.as_deref(), "refused", "ermission");
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn reads_history_again_for_messages_that_were_on_their_way() {
        let (momento, people) = start().await;
        let mut events = Events::of(&people, Duration::from_millis(300));
        events.assert_opens().await;
        // The topic had the message before the subscription opened, and the list gets it after the history was read.
        let caches = CacheClient::builder()
            .default_ttl(TIMEOUT)
            .configuration(Laptop::latest())
            .credential_provider(momento.credentials())
            .build()
            .unwrap();
        caches.list_concatenate_back("chat", "history-friends-english", vec!["late"]).await.unwrap();
        Events::assert(events.next().await.as_deref(), "history", "\"messages\":[\"late\"]");
    }

    #[tokio::test]
    async fn pages_share_token_and_leave_no_subscription() {
        let (momento, people) = start().await;
        // More than the function `token` issues in a minute.
        for _ in 0..15 {
            let mut events = Events::of(&people, TIMEOUT);
            events.assert_opens().await;
        }
        timeout(TIMEOUT, momento.wait_for_no_subscribers("chat", TOPIC)).await.unwrap();
    }
}
