//! One topic's messages, over every interruption.
//!
//! The SDK's own `Subscription` swallows heartbeats and discontinuities, comes back without any pause
//! when the service is away, and has the last message sent again. This one speaks to the service
//! through the official stubs: it resumes after the last message, pauses between tries, gives up where
//! no try can help, and tells everything that happens.
//!
//! What was published while the first stream was down, before anything had come over it, is the one
//! thing that is missed and not told: there is no number yet to resume after.

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

use crate::service::{Service, ServiceError, describe};

/// How patient a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How streams are opened: how long one try may take and what the pauses are. There is no last try.
    pub opening: RetryPolicy,
    /// How long a stream may be silent, without even a heartbeat, before it counts as broken.
    pub silence: Duration,
}

impl Default for Patience {
    /// A minute of silence: the service makes no promise about heartbeats, and a dead connection is
    /// noticed long before by its keep-alive.
    fn default() -> Self {
        Self {
            opening: RetryPolicy {
                max_attempts: u32::MAX,
                attempt_timeout: Duration::from_secs(10),
                initial_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(5),
            },
            silence: Duration::from_secs(60),
        }
    }
}

/// A place in a topic: the message that is wanted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its sequence number.
    pub number: u64,
    /// The page of that number; 0 where it is not known.
    pub page: u64,
}

/// What happens to a subscription.
#[derive(Debug)]
pub enum Event {
    /// The service has accepted it: what is published from now on comes, or is told as missing.
    Opened,
    /// A message.
    Item(Item),
    /// Nothing, but the stream is alive.
    Heartbeat,
    /// Messages are missing, or the topic begins anew.
    Discontinuity(Discontinuity),
    /// The stream is gone; another is opened after a pause.
    Interrupted {
        /// What happened to it.
        cause: Interruption,
        /// How long the pause is.
        pause: Duration,
    },
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its sequence number.
    pub number: u64,
    /// The page of that number.
    pub page: u64,
    /// The id inside the publisher's token, where it has one.
    pub publisher_id: Option<String>,
    /// What was published.
    pub value: Value,
}

/// What a message carries.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
    /// Something that this version knows nothing of.
    Unknown,
}

/// Messages that did not come and will not come.
///
/// The service tells of them; where it does not and numbers are left out all the same, they are told
/// of here. A message that comes late, after it was told missing, is still given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discontinuity {
    /// The last number before them; 0 where none is known.
    pub last: u64,
    /// The number after which messages go on.
    pub new: u64,
    /// The page of `new`. Where it is another than before, the topic was reset.
    pub page: u64,
}

/// Why a stream is gone, though another try may help.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    /// The service says so, or it cannot be reached.
    #[error("{}", describe(.0))]
    Status(Box<Status>),
    /// The service ended it, in good order.
    #[error("the service ended the stream")]
    Ended,
    /// Not even a heartbeat for this long.
    #[error("nothing heard for {} s, not even a heartbeat", .0.as_secs())]
    Silent(Duration),
    /// The service did not accept it within this time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// The service does not accept the subscription, and no other try will help.
#[derive(Debug, thiserror::Error)]
#[error("cannot subscribe to {topic} in the cache {cache}: {}", describe(.status))]
pub struct Refused {
    /// The cache.
    pub cache: String,
    /// The topic.
    pub topic: String,
    /// What the service says.
    pub status: Box<Status>,
}

/// A subscription to one topic. It does nothing unless [`next`](Self::next) is called.
pub struct Subscription {
    client: PubsubClient<Channel>,
    authorization: MetadataValue<Ascii>,
    cache: String,
    topic: String,
    patience: Patience,
    /// The message that is wanted next; `None` while any will do.
    place: Option<Place>,
    state: State,
    /// Streams in a row that brought nothing.
    failures: u32,
    /// What goes out before anything else is read.
    held: Option<Item>,
}

type Opening = BoxFuture<'static, Result<Streaming<SubscriptionItem>, Interruption>>;

enum State {
    Pausing(Instant),
    Opening(Opening),
    Open { stream: Box<Streaming<SubscriptionItem>>, since: Instant, heard: Instant },
}

impl Subscription {
    /// A subscription over a connection of its own: to what is published from now on, or from `place` on.
    ///
    /// # Errors
    /// When the endpoint of `service` is no address.
    pub fn new(
        service: &Service,
        cache: &str,
        topic: &str,
        place: Option<Place>,
    ) -> Result<Self, ServiceError> {
        Ok(Self::over(service.channel()?, service.credentials().authorization().clone(), cache, topic, place))
    }

    /// The same over `channel`, which carries 100 subscriptions at most.
    #[must_use]
    pub fn over(
        channel: Channel,
        authorization: MetadataValue<Ascii>,
        cache: &str,
        topic: &str,
        place: Option<Place>,
    ) -> Self {
        Self {
            client: PubsubClient::new(channel),
            authorization,
            cache: cache.to_owned(),
            topic: topic.to_owned(),
            patience: Patience::default(),
            place: place.filter(|place| place.number > 0),
            state: State::Pausing(Instant::now()),
            failures: 0,
            held: None,
        }
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The message that is wanted next: where another subscription would go on. `None` as long as
    /// nothing has come.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        // A message that is held back was not given out yet.
        match &self.held {
            Some(item) => Some(Place { number: item.number, page: item.page }),
            None => self.place,
        }
    }

    /// Waits for what happens next. Can be dropped at any time without losing anything.
    ///
    /// # Errors
    /// When no other try will help: a missing cache or permission, a key or a name that is none.
    pub async fn next(&mut self) -> Result<Event, Refused> {
        if let Some(item) = self.held.take() {
            return Ok(Event::Item(item));
        }
        loop {
            match &mut self.state {
                State::Pausing(until) => {
                    sleep_until(*until).await;
                    self.state = State::Opening(self.open());
                }
                State::Opening(opening) => match opening.await {
                    Ok(stream) => {
                        let now = Instant::now();
                        self.state = State::Open { stream: Box::new(stream), since: now, heard: now };
                        return Ok(Event::Opened);
                    }
                    Err(cause) => return self.interrupted(cause),
                },
                State::Open { stream, heard, .. } => {
                    match timeout_at(*heard + self.patience.silence, stream.message()).await {
                        Ok(Ok(Some(SubscriptionItem { kind }))) => {
                            *heard = Instant::now();
                            // A kind that this version knows nothing of is passed over.
                            if let Some(kind) = kind {
                                return Ok(self.take(kind));
                            }
                        }
                        Ok(Ok(None)) => return self.interrupted(Interruption::Ended),
                        Ok(Err(status)) => return self.interrupted(Interruption::Status(Box::new(status))),
                        Err(_) => return self.interrupted(Interruption::Silent(self.patience.silence)),
                    }
                }
            }
        }
    }

    fn open(&self) -> Opening {
        let (resume_at_topic_sequence_number, sequence_page) =
            self.place.map_or((0, 0), |place| (place.number, place.page));
        let mut request = Request::new(SubscriptionRequest {
            cache_name: self.cache.clone(),
            topic: self.topic.clone(),
            resume_at_topic_sequence_number,
            sequence_page,
        });
        request.metadata_mut().insert("authorization", self.authorization.clone());
        // As the SDKs do. A name that is no header goes in the message alone.
        if let Ok(cache) = self.cache.parse() {
            request.metadata_mut().insert("cache", cache);
        }
        let mut client = self.client.clone();
        let limit = self.patience.opening.attempt_timeout;
        Box::pin(async move {
            match timeout(limit, client.subscribe(request)).await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(Interruption::Status(Box::new(status))),
                Err(_) => Err(Interruption::TimedOut(limit)),
            }
        })
    }

    fn interrupted(&mut self, cause: Interruption) -> Result<Event, Refused> {
        // A stream that lasted was a good one, even if it had nothing to bring.
        let longest = self.patience.opening.max_backoff;
        if matches!(&self.state, State::Open { since, .. } if since.elapsed() >= longest) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = self.patience.opening.backoff(self.failures, &mut rand::rng());
        self.state = State::Pausing(Instant::now() + pause);
        match cause {
            Interruption::Status(status) if is_final(status.code()) => {
                Err(Refused { cache: self.cache.clone(), topic: self.topic.clone(), status })
            }
            cause => Ok(Event::Interrupted { cause, pause }),
        }
    }

    fn take(&mut self, kind: Kind) -> Event {
        match kind {
            Kind::Heartbeat(_) => Event::Heartbeat,
            Kind::Discontinuity(gap) => {
                self.failures = 0;
                let gap = Discontinuity {
                    last: gap.last_topic_sequence,
                    new: gap.new_topic_sequence,
                    page: gap.new_sequence_page,
                };
                self.place = Some(Place { number: gap.new.saturating_add(1), page: gap.page });
                Event::Discontinuity(gap)
            }
            Kind::Item(item) => {
                self.failures = 0;
                let item = Item::from(item);
                let (place, gap) = step(self.place, &item);
                self.place = Some(place);
                match gap {
                    Some(gap) => {
                        self.held = Some(item);
                        Event::Discontinuity(gap)
                    }
                    None => Event::Item(item),
                }
            }
        }
    }
}

/// Where a subscription that wants `place` goes on after `item`, and what it has missed before it.
fn step(place: Option<Place>, item: &Item) -> (Place, Option<Discontinuity>) {
    let after = Place { number: item.number.saturating_add(1), page: item.page };
    let Some(wanted) = place else { return (after, None) };
    let same_page = wanted.page == item.page || wanted.page == 0;
    if item.page < wanted.page || (same_page && item.number < wanted.number) {
        // A late one, from before: it does not lead back.
        return (wanted, None);
    }
    let gap = Discontinuity {
        last: wanted.number.saturating_sub(1),
        new: item.number.saturating_sub(1),
        page: item.page,
    };
    let told = same_page && item.number == wanted.number;
    (after, (!told).then_some(gap))
}

/// Whether the same request will be answered in the same way, however often it is made.
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
                Some(topic_value::Kind::Text(text)) => Value::Text(text),
                Some(topic_value::Kind::Binary(bytes)) => Value::Binary(bytes),
                None => Value::Unknown,
            },
        }
    }
}

/// Shows no message.
impl fmt::Debug for Value {
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
            .field("place", &self.place)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use momento_local::{Fault, MomentoLocal, Rpc};

    use super::*;

    const QUICK: Patience = Patience {
        opening: RetryPolicy {
            max_attempts: u32::MAX,
            attempt_timeout: Duration::from_secs(5),
            initial_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(50),
        },
        silence: Duration::from_secs(60),
    };

    async fn momento() -> MomentoLocal {
        MomentoLocal::builder().cache("c").start().await.unwrap()
    }

    fn subscribe(momento: &MomentoLocal, place: Option<Place>) -> Subscription {
        let service = Service::new(Some(&momento.endpoint()), None).unwrap();
        Subscription::new(&service, "c", "t", place).unwrap().with_patience(QUICK)
    }

    /// The next thing that is no heartbeat.
    async fn next(subscription: &mut Subscription) -> Event {
        loop {
            match subscription.next().await.unwrap() {
                Event::Heartbeat => {}
                event => return event,
            }
        }
    }

    /// The number and the text of the next message, whatever interrupts it.
    async fn next_item(subscription: &mut Subscription) -> (u64, String) {
        loop {
            match next(subscription).await {
                Event::Item(Item { number, value: Value::Text(text), .. }) => return (number, text),
                Event::Opened | Event::Interrupted { .. } => {}
                other => panic!("not a text: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn what_is_published_comes_with_its_number_page_and_kind() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(Event::Opened)));
        assert!(matches!(subscription.next().await, Ok(Event::Heartbeat)));
        let first = momento.publish("c", "t", "").unwrap();
        let Event::Item(item) = next(&mut subscription).await else { panic!("an item") };
        let page = first.sequence_page;
        assert_eq!(item, Item { number: 1, page, publisher_id: None, value: Value::Text(String::new()) });
        momento.publish("c", "t", vec![0, 255]).unwrap();
        let Event::Item(item) = next(&mut subscription).await else { panic!("an item") };
        assert_eq!((item.number, item.value), (2, Value::Binary(vec![0, 255])));
        assert_eq!(subscription.place(), Some(Place { number: 3, page }));
    }

    #[tokio::test]
    async fn it_resumes_after_the_last_message_when_the_connection_is_cut() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(Event::Opened)));
        momento.publish("c", "t", "one").unwrap();
        assert_eq!(next_item(&mut subscription).await, (1, "one".to_owned()));
        momento.block();
        momento.publish("c", "t", "two").unwrap();
        assert!(matches!(next(&mut subscription).await, Event::Interrupted { .. }));
        assert!(matches!(next(&mut subscription).await, Event::Interrupted { .. }), "still blocked");
        momento.unblock();
        momento.publish("c", "t", "three").unwrap();
        assert_eq!(next_item(&mut subscription).await, (2, "two".to_owned()));
        assert_eq!(next_item(&mut subscription).await, (3, "three".to_owned()));
    }

    #[tokio::test]
    async fn an_orderly_end_is_an_interruption() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(Event::Opened)));
        let ((), event) = tokio::join!(momento.shutdown(), next(&mut subscription));
        assert!(matches!(event, Event::Interrupted { cause: Interruption::Ended, .. }), "{event:?}");
    }

    #[tokio::test]
    async fn passing_errors_are_got_over() {
        let momento = momento().await;
        momento.inject(Fault::error(Code::Unavailable).on(Rpc::Subscribe).times(2));
        let mut subscription = subscribe(&momento, None);
        for _ in 0..2 {
            let Event::Interrupted { cause: Interruption::Status(status), .. } =
                next(&mut subscription).await
            else {
                panic!("interrupted")
            };
            assert_eq!(status.code(), Code::Unavailable);
        }
        assert!(matches!(next(&mut subscription).await, Event::Opened));
    }

    #[tokio::test]
    async fn what_no_try_can_help_ends_it() {
        let momento = momento().await;
        for code in [Code::PermissionDenied, Code::Unauthenticated, Code::InvalidArgument] {
            momento.inject(Fault::error(code).on(Rpc::Subscribe).times(1));
            let refused = subscribe(&momento, None).next().await.unwrap_err();
            assert_eq!(refused.status.code(), code);
        }
        let service = Service::new(Some(&momento.endpoint()), None).unwrap();
        let refused = Subscription::new(&service, "elsewhere", "t", None).unwrap().next().await.unwrap_err();
        assert_eq!(refused.status.code(), Code::NotFound);
        assert!(refused.to_string().starts_with("cannot subscribe to t in the cache elsewhere: not found"));
    }

    #[tokio::test]
    async fn a_cache_that_is_deleted_ends_it() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(Event::Opened)));
        momento.delete_cache("c").unwrap();
        loop {
            match subscription.next().await {
                Ok(Event::Heartbeat | Event::Interrupted { .. }) => {}
                Ok(other) => panic!("{other:?}"),
                Err(refused) => break assert_eq!(refused.status.code(), Code::NotFound),
            }
        }
    }

    #[tokio::test]
    async fn it_can_begin_in_the_past() {
        let momento = momento().await;
        for text in ["one", "two", "three"] {
            momento.publish("c", "t", text).unwrap();
        }
        let page = momento.published("c", "t")[0].sequence_page;
        for page in [page, 0] {
            let mut subscription = subscribe(&momento, Some(Place { number: 2, page }));
            assert_eq!(next_item(&mut subscription).await, (2, "two".to_owned()));
            assert_eq!(next_item(&mut subscription).await, (3, "three".to_owned()));
        }
    }

    #[tokio::test]
    async fn a_reset_is_told_and_followed() {
        let momento = momento().await;
        let mut subscription = subscribe(&momento, None);
        assert!(matches!(subscription.next().await, Ok(Event::Opened)));
        for text in ["one", "two"] {
            momento.publish("c", "t", text).unwrap();
            next_item(&mut subscription).await;
        }
        momento.reset_topic("c", "t").unwrap();
        let Event::Discontinuity(gap) = next(&mut subscription).await else { panic!("a discontinuity") };
        assert_eq!((gap.last, gap.new), (2, 0));
        assert_eq!(subscription.place(), Some(Place { number: 1, page: gap.page }));
        momento.publish("c", "t", "first").unwrap();
        assert_eq!(next_item(&mut subscription).await, (1, "first".to_owned()));
    }

    #[tokio::test]
    async fn a_stream_without_heartbeats_is_given_up() {
        let momento = MomentoLocal::builder().cache("c").heartbeat_interval(Duration::from_secs(3_600));
        let momento = momento.start().await.unwrap();
        let silence = Duration::from_millis(50);
        let mut subscription = subscribe(&momento, None).with_patience(Patience { silence, ..QUICK });
        assert!(matches!(next(&mut subscription).await, Event::Opened));
        let Event::Interrupted { cause, .. } = next(&mut subscription).await else { panic!("interrupted") };
        assert!(matches!(cause, Interruption::Silent(silent) if silent == silence), "{cause}");
        assert!(matches!(next(&mut subscription).await, Event::Opened));
    }

    #[tokio::test]
    async fn nothing_is_lost_when_it_is_dropped_while_it_waits() {
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
        assert!(matches!(opened.await, Ok(Event::Opened)));
        assert_eq!(momento.subscriber_count("c", "t"), 1);
    }

    #[test]
    fn numbers_that_are_left_out_are_told_and_late_ones_do_not_lead_back() {
        let item =
            |number, page| Item { number, page, publisher_id: None, value: Value::Text(String::new()) };
        let at = |number, page| Place { number, page };
        let gap = |last, new, page| Some(Discontinuity { last, new, page });
        for (place, (number, page), expected) in [
            (None, (5, 1), (at(6, 1), None)),
            (Some(at(5, 1)), (5, 1), (at(6, 1), None)),
            (Some(at(5, 0)), (5, 1), (at(6, 1), None)),
            (Some(at(5, 1)), (8, 1), (at(9, 1), gap(4, 7, 1))),
            (Some(at(5, 1)), (1, 2), (at(2, 2), gap(4, 0, 2))),
            (Some(at(5, 1)), (5, 2), (at(6, 2), gap(4, 4, 2))),
            (Some(at(5, 1)), (3, 1), (at(5, 1), None)),
            (Some(at(5, 2)), (9, 1), (at(5, 2), None)),
        ] {
            assert_eq!(step(place, &item(number, page)), expected, "{place:?} {number} {page}");
        }
    }

    #[test]
    fn debug_shows_no_message() {
        let item = Item { number: 1, page: 1, publisher_id: None, value: Value::Text("private".to_owned()) };
        assert!(!format!("{item:?}").contains("private"));
    }
}
