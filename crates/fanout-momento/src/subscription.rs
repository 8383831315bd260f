//! A subscription to one topic that survives interruptions.
//!
//! The SDK's `Subscription` swallows heartbeats and discontinuities, resubscribes without backoff when the service is
//! away, and requests the last message again. This one speaks to the service through the official stubs. It resumes after
//! the last message, backs off between attempts, ends where another attempt cannot help, and reports everything that
//! happens.
//!
//! One loss is not reported: messages that are published while the first stream is down, before it has brought
//! anything. There is no number yet to resume after.

use std::fmt;
use std::time::Duration;

use fanout_core::retry::RetryPolicy;
use futures_util::future::BoxFuture;
use momento_protos::cache_client::pubsub::pubsub_client::PubsubClient;
use momento_protos::cache_client::pubsub::subscription_item::Kind;
use momento_protos::cache_client::pubsub::{self, SubscriptionItem, SubscriptionRequest, topic_value};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::credentials::Credentials;
use crate::status::describe;

/// The timeouts and the backoff of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionPolicy {
    /// How streams are opened.
    pub open: RetryPolicy,
    /// The longest time without a message or a heartbeat. A stream that is silent for longer counts as broken.
    pub idle_timeout: Duration,
}

impl Default for SubscriptionPolicy {
    /// An idle timeout of a minute: the service makes no promise about heartbeats, and the keep-alive of the connection
    /// notices a dead one long before.
    fn default() -> Self {
        Self {
            open: RetryPolicy {
                max_attempts: u32::MAX,
                attempt_timeout: Duration::from_secs(10),
                initial_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(5),
            },
            idle_timeout: Duration::from_mins(1),
        }
    }
}

/// The next message of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The sequence number.
    pub number: u64,
    /// The page of that number; 0 if it is not known.
    pub page: u64,
}

/// What happens to a subscription.
#[derive(Debug)]
pub enum SubscriptionEvent {
    /// The service has accepted the subscription. Later messages arrive, or are reported as missing.
    Opened,
    /// A message.
    Item(Item),
    /// The stream is alive.
    Heartbeat,
    /// Messages are missing, or the topic begins anew.
    Discontinuity(Discontinuity),
    /// The stream is gone. Another one is opened after the backoff.
    Interrupted {
        /// The cause.
        cause: Interruption,
        /// The time until the next attempt.
        backoff: Duration,
    },
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The sequence number.
    pub number: u64,
    /// The page of that number.
    pub page: u64,
    /// The id in the publisher's token, if it has one.
    pub publisher_id: Option<String>,
    /// What was published.
    pub value: ItemValue,
}

/// The value of a message. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum ItemValue {
    /// A text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
    /// A kind that this version does not know.
    Unknown,
}

/// Messages that did not arrive and will not arrive.
///
/// The service reports them. If it does not, and numbers are missing, the subscription does. A message that arrives late,
/// after it was reported as missing, is still returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discontinuity {
    /// The last number before them; 0 if none is known.
    pub last: u64,
    /// The number after which messages continue.
    pub new: u64,
    /// The page of `new`. If it differs from the page before, the topic was reset.
    pub page: u64,
}

/// Error for a stream that is gone, if another attempt may help.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    /// The service says so, or it is unreachable.
    #[error("{}", describe(.0))]
    Status(Box<Status>),
    /// The service ended the stream in good order.
    #[error("the service ended the stream")]
    Ended,
    /// The stream was silent for this long.
    #[error("nothing heard for {} s, not even a heartbeat", .0.as_secs())]
    Idle(Duration),
    /// The service did not respond within this time.
    #[error("no response within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Error for a subscription that the service does not accept, where another attempt cannot help.
#[derive(Debug, thiserror::Error)]
#[error("cannot subscribe to {topic} in the cache {cache}: {}", describe(.status))]
pub struct SubscriptionError {
    /// The cache.
    pub cache: String,
    /// The topic.
    pub topic: String,
    /// What the service says.
    pub status: Box<Status>,
}

/// A subscription to one topic. It does nothing until [`next`](Self::next) is called.
pub struct Subscription {
    client: PubsubClient<Channel>,
    authorization: MetadataValue<Ascii>,
    cache: String,
    topic: String,
    policy: SubscriptionPolicy,
    /// The next message; `None` while any message will do.
    cursor: Option<Cursor>,
    state: State,
    /// Streams in a row that brought nothing.
    failures: u32,
    /// Returned before anything else is read.
    held: Option<Item>,
}

type Opening = BoxFuture<'static, Result<Streaming<SubscriptionItem>, Interruption>>;

enum State {
    BackingOff(Instant),
    Opening(Opening),
    Open { stream: Box<Streaming<SubscriptionItem>>, since: Instant, heard: Instant },
}

impl Subscription {
    /// Creates a subscription over a connection of its own: to later messages, or from `cursor` on.
    ///
    /// # Errors
    /// If the endpoint of `credentials` is not a valid URL.
    pub fn new(
        credentials: &Credentials,
        cache: &str,
        topic: &str,
        cursor: Option<Cursor>,
    ) -> Result<Self, tonic::transport::Error> {
        Ok(Self::over(credentials.channel()?, credentials.authorization().clone(), cache, topic, cursor))
    }

    /// Creates a subscription over `channel`, which carries at most 100.
    #[must_use]
    pub fn over(
        channel: Channel,
        authorization: MetadataValue<Ascii>,
        cache: &str,
        topic: &str,
        cursor: Option<Cursor>,
    ) -> Self {
        Self {
            client: PubsubClient::new(channel),
            authorization,
            cache: cache.to_owned(),
            topic: topic.to_owned(),
            policy: SubscriptionPolicy::default(),
            // Number 0 of an unknown page is the latest message, whichever that is.
            cursor: cursor.filter(|cursor| cursor.number > 0 || cursor.page > 0),
            state: State::BackingOff(Instant::now()),
            failures: 0,
            held: None,
        }
    }

    /// Sets the timeouts and the backoff.
    #[must_use]
    pub fn with_policy(self, policy: SubscriptionPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Returns the next message, from which another subscription can continue. Returns `None` until a message arrives.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        // A message that is held was not returned yet.
        match &self.held {
            Some(item) => Some(Cursor { number: item.number, page: item.page }),
            None => self.cursor,
        }
    }

    /// Ends the stream. [`next`](Self::next) opens another, which continues with the next message. A stream that is not
    /// read would hold up the others on its connection. Without a message to continue with, the stream stays.
    pub fn pause(&mut self) {
        if self.cursor.is_some() {
            self.state = State::BackingOff(Instant::now());
        }
    }

    /// Waits for what happens next. The future can be dropped at any time without a loss.
    ///
    /// # Errors
    /// If another attempt cannot help: the cache or the permission is missing, or the key or a name is invalid.
    pub async fn next(&mut self) -> Result<SubscriptionEvent, SubscriptionError> {
        if let Some(item) = self.held.take() {
            return Ok(SubscriptionEvent::Item(item));
        }
        loop {
            match &mut self.state {
                State::BackingOff(until) => {
                    sleep_until(*until).await;
                    self.state = State::Opening(self.open());
                }
                State::Opening(opening) => match opening.await {
                    Ok(stream) => {
                        let now = Instant::now();
                        self.state = State::Open { stream: Box::new(stream), since: now, heard: now };
                        return Ok(SubscriptionEvent::Opened);
                    }
                    Err(cause) => return self.interrupted(cause),
                },
                State::Open { stream, heard, .. } => {
                    match timeout_at(*heard + self.policy.idle_timeout, stream.message()).await {
                        Ok(Ok(Some(SubscriptionItem { kind }))) => {
                            *heard = Instant::now();
                            // A kind that this version does not know is skipped.
                            if let Some(kind) = kind {
                                return Ok(self.take(kind));
                            }
                        }
                        Ok(Ok(None)) => return self.interrupted(Interruption::Ended),
                        Ok(Err(status)) => return self.interrupted(Interruption::Status(Box::new(status))),
                        Err(_) => return self.interrupted(Interruption::Idle(self.policy.idle_timeout)),
                    }
                }
            }
        }
    }

    fn open(&self) -> Opening {
        let (resume_at_topic_sequence_number, sequence_page) =
            self.cursor.map_or((0, 0), |cursor| (cursor.number, cursor.page));
        let mut request = Request::new(SubscriptionRequest {
            cache_name: self.cache.clone(),
            topic: self.topic.clone(),
            resume_at_topic_sequence_number,
            sequence_page,
        });
        request.metadata_mut().insert("authorization", self.authorization.clone());
        // As the SDKs do. A name that cannot be a header is in the message only.
        if let Ok(cache) = self.cache.parse() {
            request.metadata_mut().insert("cache", cache);
        }
        let mut client = self.client.clone();
        let limit = self.policy.open.attempt_timeout;
        Box::pin(async move {
            match timeout(limit, client.subscribe(request)).await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(Interruption::Status(Box::new(status))),
                Err(_) => Err(Interruption::TimedOut(limit)),
            }
        })
    }

    fn interrupted(&mut self, cause: Interruption) -> Result<SubscriptionEvent, SubscriptionError> {
        // A stream that lasted was good, even if it brought nothing.
        let min_duration = self.policy.open.max_backoff;
        if matches!(&self.state, State::Open { since, .. } if since.elapsed() >= min_duration) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let backoff = self.policy.open.backoff(self.failures, &mut rand::rng());
        self.state = State::BackingOff(Instant::now() + backoff);
        match cause {
            Interruption::Status(status) if is_final(status.code()) => {
                Err(SubscriptionError { cache: self.cache.clone(), topic: self.topic.clone(), status })
            }
            cause => Ok(SubscriptionEvent::Interrupted { cause, backoff }),
        }
    }

    fn take(&mut self, kind: Kind) -> SubscriptionEvent {
        match kind {
            Kind::Heartbeat(_) => SubscriptionEvent::Heartbeat,
            Kind::Discontinuity(gap) => {
                self.failures = 0;
                let gap = Discontinuity {
                    last: gap.last_topic_sequence,
                    new: gap.new_topic_sequence,
                    page: gap.new_sequence_page,
                };
                self.cursor = Some(Cursor { number: gap.new.saturating_add(1), page: gap.page });
                SubscriptionEvent::Discontinuity(gap)
            }
            Kind::Item(item) => {
                self.failures = 0;
                let item = Item::from(item);
                let (cursor, gap) = step(self.cursor, &item);
                self.cursor = Some(cursor);
                match gap {
                    Some(gap) => {
                        self.held = Some(item);
                        SubscriptionEvent::Discontinuity(gap)
                    }
                    None => SubscriptionEvent::Item(item),
                }
            }
        }
    }
}

/// Returns the cursor after `item`, and the messages that are missing before it.
fn step(cursor: Option<Cursor>, item: &Item) -> (Cursor, Option<Discontinuity>) {
    let after = Cursor { number: item.number.saturating_add(1), page: item.page };
    let Some(expected) = cursor else { return (after, None) };
    let same_page = expected.page == item.page || expected.page == 0;
    if item.page < expected.page || (same_page && item.number < expected.number) {
        // A late message does not move the cursor back.
        return (expected, None);
    }
    let gap = Discontinuity {
        last: expected.number.saturating_sub(1),
        new: item.number.saturating_sub(1),
        page: item.page,
    };
    let is_next = same_page && item.number == expected.number;
    (after, (!is_next).then_some(gap))
}

/// Returns true if another attempt gets the same response.
const fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
    )
}

impl From<pubsub::TopicItem> for Item {
    fn from(item: pubsub::TopicItem) -> Self {
        Self {
            number: item.topic_sequence_number,
            page: item.sequence_page,
            publisher_id: Some(item.publisher_id).filter(|id| !id.is_empty()),
            value: match item.value.and_then(|value| value.kind) {
                Some(topic_value::Kind::Text(text)) => ItemValue::Text(text),
                Some(topic_value::Kind::Binary(bytes)) => ItemValue::Binary(bytes),
                None => ItemValue::Unknown,
            },
        }
    }
}

/// Does not show the value.
impl fmt::Debug for ItemValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text(<{} bytes>)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary(<{} bytes>)", bytes.len()),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("cache", &self.cache)
            .field("topic", &self.topic)
            .field("cursor", &self.cursor)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use momento_local::{Fault, MomentoLocal, Rpc};

    use super::*;

    const QUICK: SubscriptionPolicy = SubscriptionPolicy {
        open: RetryPolicy {
            max_attempts: u32::MAX,
            attempt_timeout: Duration::from_secs(5),
            initial_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(50),
        },
        idle_timeout: Duration::from_mins(1),
    };

    async fn momento() -> MomentoLocal {
        MomentoLocal::builder().cache("c").start().await.unwrap()
    }

    fn subscribe(momento: &MomentoLocal, cursor: Option<Cursor>) -> Subscription {
        Subscription::new(&credentials(momento), "c", "t", cursor).unwrap().with_policy(QUICK)
    }

    fn credentials(momento: &MomentoLocal) -> Credentials {
        Credentials::new("any", Some(&momento.endpoint().parse().unwrap())).unwrap()
    }

    /// Returns the next event that is not a heartbeat.
    async fn next(subscription: &mut Subscription) -> SubscriptionEvent {
        loop {
            match subscription.next().await.unwrap() {
                SubscriptionEvent::Heartbeat => {}
                event => return event,
            }
        }
    }

    /// Returns the number and text of the next message, after any interruptions.
    async fn next_item(subscription: &mut Subscription) -> (u64, String) {
        loop {
            match next(subscription).await {
                SubscriptionEvent::Item(Item { number, value: ItemValue::Text(text), .. }) => {
                    return (number, text);
                }
                SubscriptionEvent::Opened | SubscriptionEvent::Interrupted { .. } => {}
                other => panic!("not a text: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn returns_messages_with_number_page_and_kind() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(SubscriptionEvent::Opened)));
        assert!(matches!(subscription.next().await, Ok(SubscriptionEvent::Heartbeat)));
        let first = momento.publish("c", "t", "").unwrap();
        let SubscriptionEvent::Item(item) = next(&mut subscription).await else { panic!("an item") };
        let page = first.sequence_page;
        assert_eq!(item, Item { number: 1, page, publisher_id: None, value: ItemValue::Text(String::new()) });
        momento.publish("c", "t", vec![0, 255]).unwrap();
        let SubscriptionEvent::Item(item) = next(&mut subscription).await else { panic!("an item") };
        assert_eq!((item.number, item.value), (2, ItemValue::Binary(vec![0, 255])));
        assert_eq!(subscription.cursor(), Some(Cursor { number: 3, page }));
    }

    #[tokio::test]
    async fn resumes_after_last_message_when_connection_is_cut() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(SubscriptionEvent::Opened)));
        momento.publish("c", "t", "one").unwrap();
        assert_eq!(next_item(&mut subscription).await, (1, "one".to_owned()));
        momento.block();
        momento.publish("c", "t", "two").unwrap();
        assert!(matches!(next(&mut subscription).await, SubscriptionEvent::Interrupted { .. }));
        assert!(
            matches!(next(&mut subscription).await, SubscriptionEvent::Interrupted { .. }),
            "still blocked"
        );
        momento.unblock();
        momento.publish("c", "t", "three").unwrap();
        assert_eq!(next_item(&mut subscription).await, (2, "two".to_owned()));
        assert_eq!(next_item(&mut subscription).await, (3, "three".to_owned()));
    }

    #[tokio::test]
    async fn paused_subscription_continues_with_next_message() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(SubscriptionEvent::Opened)));
        // It has nothing to continue with yet.
        subscription.pause();
        for text in ["one", "two", "three"] {
            momento.publish("c", "t", text).unwrap();
        }
        assert_eq!(next_item(&mut subscription).await, (1, "one".to_owned()));
        subscription.pause();
        momento.wait_for_no_subscribers("c", "t").await;
        assert_eq!(next_item(&mut subscription).await, (2, "two".to_owned()));
        assert_eq!(next_item(&mut subscription).await, (3, "three".to_owned()));
    }

    #[tokio::test]
    async fn orderly_end_is_an_interruption() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(SubscriptionEvent::Opened)));
        let ((), event) = tokio::join!(momento.shutdown(), next(&mut subscription));
        assert!(
            matches!(event, SubscriptionEvent::Interrupted { cause: Interruption::Ended, .. }),
            "{event:?}"
        );
    }

    #[tokio::test]
    async fn survives_transient_errors() {
        let momento = momento().await;
        momento.inject(Fault::error(Code::Unavailable).on(Rpc::Subscribe).times(2));
        let mut subscription = subscribe(&momento, None);
        for _ in 0..2 {
            let SubscriptionEvent::Interrupted { cause: Interruption::Status(status), .. } =
                next(&mut subscription).await
            else {
                panic!("interrupted")
            };
            assert_eq!(status.code(), Code::Unavailable);
        }
        assert!(matches!(next(&mut subscription).await, SubscriptionEvent::Opened));
    }

    #[tokio::test]
    async fn permanent_errors_end_the_subscription() {
        let momento = momento().await;
        for code in [Code::PermissionDenied, Code::Unauthenticated, Code::InvalidArgument] {
            momento.inject(Fault::error(code).on(Rpc::Subscribe).times(1));
            let error = subscribe(&momento, None).next().await.unwrap_err();
            assert_eq!(error.status.code(), code);
        }
        let mut elsewhere = Subscription::new(&credentials(&momento), "elsewhere", "t", None).unwrap();
        let error = elsewhere.next().await.unwrap_err();
        assert_eq!(error.status.code(), Code::NotFound);
        assert!(error.to_string().starts_with("cannot subscribe to t in the cache elsewhere: not found"));
    }

    #[tokio::test]
    async fn deleted_cache_ends_the_subscription() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(SubscriptionEvent::Opened)));
        momento.delete_cache("c").unwrap();
        loop {
            match subscription.next().await {
                Ok(SubscriptionEvent::Heartbeat | SubscriptionEvent::Interrupted { .. }) => {}
                Ok(other) => panic!("{other:?}"),
                Err(error) => break assert_eq!(error.status.code(), Code::NotFound),
            }
        }
    }

    #[tokio::test]
    async fn begins_in_the_past_with_a_cursor() {
        let momento = momento().await;
        for text in ["one", "two", "three"] {
            momento.publish("c", "t", text).unwrap();
        }
        let page = momento.published("c", "t")[0].sequence_page;
        for page in [page, 0] {
            let mut subscription = subscribe(&momento, Some(Cursor { number: 2, page }));
            assert_eq!(next_item(&mut subscription).await, (2, "two".to_owned()));
            assert_eq!(next_item(&mut subscription).await, (3, "three".to_owned()));
        }
    }

    #[tokio::test]
    async fn reports_what_is_missing_after_cursor_at_number_0() {
        let momento = momento().await;
        for text in ["one", "two", "three"] {
            momento.publish("c", "t", text).unwrap();
        }
        let page = momento.published("c", "t")[0].sequence_page;
        // With number 0, Momento begins with the latest message.
        let mut subscription = subscribe(&momento, Some(Cursor { number: 0, page }));
        assert!(matches!(subscription.next().await, Ok(SubscriptionEvent::Opened)));
        let SubscriptionEvent::Discontinuity(gap) = next(&mut subscription).await else {
            panic!("a discontinuity")
        };
        assert_eq!((gap.new, gap.page), (2, page));
        assert_eq!(subscription.cursor(), Some(Cursor { number: 3, page }));
        assert_eq!(next_item(&mut subscription).await, (3, "three".to_owned()));
    }

    #[tokio::test]
    async fn reports_and_follows_reset_of_topic() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(SubscriptionEvent::Opened)));
        for text in ["one", "two"] {
            momento.publish("c", "t", text).unwrap();
            next_item(&mut subscription).await;
        }
        momento.reset_topic("c", "t").unwrap();
        let SubscriptionEvent::Discontinuity(gap) = next(&mut subscription).await else {
            panic!("a discontinuity")
        };
        assert_eq!((gap.last, gap.new), (2, 0));
        assert_eq!(subscription.cursor(), Some(Cursor { number: 1, page: gap.page }));
        momento.publish("c", "t", "first").unwrap();
        assert_eq!(next_item(&mut subscription).await, (1, "first".to_owned()));
    }

    #[tokio::test]
    async fn gives_up_on_silent_stream() {
        let momento = MomentoLocal::builder().cache("c").heartbeat_interval(Duration::from_hours(1));
        let momento = momento.start().await.unwrap();
        let idle_timeout = Duration::from_millis(50);
        let mut subscription =
            subscribe(&momento, None).with_policy(SubscriptionPolicy { idle_timeout, ..QUICK });
        assert!(matches!(next(&mut subscription).await, SubscriptionEvent::Opened));
        let SubscriptionEvent::Interrupted { cause, .. } = next(&mut subscription).await else {
            panic!("interrupted")
        };
        assert!(matches!(cause, Interruption::Idle(idle) if idle == idle_timeout), "{cause}");
        assert!(matches!(next(&mut subscription).await, SubscriptionEvent::Opened));
    }

    #[tokio::test]
    async fn loses_nothing_when_next_is_dropped() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        // Polled once each, also in the middle of connecting.
        let opened = async {
            loop {
                if let Ok(event) = timeout(Duration::ZERO, subscription.next()).await {
                    break event;
                }
                tokio::task::yield_now().await;
            }
        };
        assert!(matches!(opened.await, Ok(SubscriptionEvent::Opened)));
        assert_eq!(momento.subscriber_count("c", "t"), 1);
    }

    #[test]
    fn reports_missing_numbers_and_ignores_late_ones() {
        let item =
            |number, page| Item { number, page, publisher_id: None, value: ItemValue::Text(String::new()) };
        let at = |number, page| Cursor { number, page };
        let gap = |last, new, page| Some(Discontinuity { last, new, page });
        for (cursor, (number, page), expected) in [
            (None, (5, 1), (at(6, 1), None)),
            (Some(at(5, 1)), (5, 1), (at(6, 1), None)),
            (Some(at(5, 0)), (5, 1), (at(6, 1), None)),
            (Some(at(5, 1)), (8, 1), (at(9, 1), gap(4, 7, 1))),
            (Some(at(5, 1)), (1, 2), (at(2, 2), gap(4, 0, 2))),
            (Some(at(5, 1)), (5, 2), (at(6, 2), gap(4, 4, 2))),
            (Some(at(5, 1)), (3, 1), (at(5, 1), None)),
            (Some(at(5, 2)), (9, 1), (at(5, 2), None)),
        ] {
            assert_eq!(step(cursor, &item(number, page)), expected, "{cursor:?} {number} {page}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let item =
            Item { number: 1, page: 1, publisher_id: None, value: ItemValue::Text("private".to_owned()) };
        assert!(!format!("{item:?}").contains("private"));
    }
}
