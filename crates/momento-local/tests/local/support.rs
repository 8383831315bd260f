//! Clients of the official stubs, and waits with a timeout.

use std::time::Duration;

use http::uri::PathAndQuery;
use momento_local::MomentoLocal;
use momento_protos::cache_client::pubsub::pubsub_client::PubsubClient;
use momento_protos::cache_client::pubsub::subscription_item::Kind;
use momento_protos::cache_client::pubsub::topic_value;
use momento_protos::cache_client::pubsub::{
    Discontinuity, PublishRequest, SubscriptionItem, SubscriptionRequest, TopicItem, TopicValue,
};
use momento_protos::common::Empty;
use momento_protos::control_client::scs_control_client::ScsControlClient;
use tonic::client::Grpc;
use tonic::codec::Codec;
use tonic::metadata::AsciiMetadataKey;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

pub(crate) const CACHE: &str = "cache";
pub(crate) const TOPIC: &str = "topic";

/// Long enough for a busy machine. Only a failing test waits this long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits for `future`, and panics after a timeout.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(TIMEOUT, future).await.expect("no timeout")
}

/// Starts a server with one cache.
pub(crate) async fn momento() -> MomentoLocal {
    MomentoLocal::builder().cache(CACHE).start().await.unwrap()
}

/// A client with its own connection.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    pub(crate) metadata: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn new(momento: &MomentoLocal) -> Self {
        let channel = Endpoint::from_shared(momento.endpoint()).unwrap().connect_lazy();
        Self { channel, metadata: Vec::new() }
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.metadata.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn control(&self) -> ScsControlClient<Channel> {
        ScsControlClient::new(self.channel.clone())
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (key, value) in &self.metadata {
            let key: AsciiMetadataKey = key.parse().unwrap();
            request.metadata_mut().insert(key, value.parse().unwrap());
        }
        request
    }

    pub(crate) async fn publish_to(
        &self,
        cache: &str,
        topic: &str,
        kind: topic_value::Kind,
    ) -> Result<(), Status> {
        let message = PublishRequest {
            cache_name: cache.to_owned(),
            topic: topic.to_owned(),
            value: Some(TopicValue { kind: Some(kind) }),
        };
        let mut client = PubsubClient::new(self.channel.clone());
        within(client.publish(self.request(message))).await.map(|_| ())
    }

    pub(crate) async fn publish(&self, text: &str) -> Result<(), Status> {
        self.publish_to(CACHE, TOPIC, topic_value::Kind::Text(text.to_owned())).await
    }

    /// Calls a method by its path, for which there may be no stub, and returns its error.
    pub(crate) async fn call<M>(&self, path: &'static str, message: M) -> Option<Status>
    where
        M: Send + Sync + 'static,
        ProstCodec<M, Empty>: Codec<Encode = M, Decode = Empty>,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        within(grpc.ready()).await.unwrap();
        let codec = ProstCodec::<M, Empty>::default();
        within(grpc.unary(self.request(message), PathAndQuery::from_static(path), codec)).await.err()
    }

    /// Publishes a text, and returns the code of the error.
    pub(crate) async fn publish_code(&self) -> Option<Code> {
        self.publish("message").await.err().map(|status| status.code())
    }

    pub(crate) async fn subscribe_to(
        &self,
        cache: &str,
        topic: &str,
        resume_at: (u64, u64),
    ) -> Result<Subscriber, Status> {
        let message = SubscriptionRequest {
            cache_name: cache.to_owned(),
            topic: topic.to_owned(),
            resume_at_topic_sequence_number: resume_at.0,
            sequence_page: resume_at.1,
        };
        let mut client = PubsubClient::new(self.channel.clone());
        let stream = within(client.subscribe(self.request(message))).await?.into_inner();
        Ok(Subscriber(stream))
    }

    pub(crate) async fn subscribe(&self) -> Subscriber {
        self.resume_at(0, 0).await
    }

    pub(crate) async fn resume_at(&self, number: u64, page: u64) -> Subscriber {
        self.subscribe_to(CACHE, TOPIC, (number, page)).await.unwrap()
    }
}

/// The stream of a subscription.
pub(crate) struct Subscriber(pub(crate) Streaming<SubscriptionItem>);

/// The number and the text of a message, for comparisons.
pub(crate) type Seen = (u64, String);

impl Subscriber {
    /// Returns the next item, heartbeats included; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Kind>, Status> {
        let item = within(self.0.message()).await?;
        Ok(item.map(|item| item.kind.expect("every item has a kind")))
    }

    /// Returns the next message or gap.
    pub(crate) async fn next_event(&mut self) -> Kind {
        // Heartbeats never end, so the timeout is for the whole loop.
        within(async {
            loop {
                match self.next().await.unwrap().expect("the stream has not ended") {
                    Kind::Heartbeat(_) => {}
                    other => return other,
                }
            }
        })
        .await
    }

    pub(crate) async fn item(&mut self) -> TopicItem {
        match self.next_event().await {
            Kind::Item(item) => item,
            other => panic!("not a message: {other:?}"),
        }
    }

    pub(crate) async fn message(&mut self) -> Seen {
        let item = self.item().await;
        match item.value.and_then(|value| value.kind) {
            Some(topic_value::Kind::Text(text)) => (item.topic_sequence_number, text),
            other => panic!("not a text: {other:?}"),
        }
    }

    pub(crate) async fn messages(&mut self, count: usize) -> Vec<Seen> {
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            messages.push(self.message().await);
        }
        messages
    }

    pub(crate) async fn gap(&mut self) -> Discontinuity {
        match self.next_event().await {
            Kind::Discontinuity(gap) => gap,
            other => panic!("not a discontinuity: {other:?}"),
        }
    }

    /// Reads to the end of the stream, and returns its error if it has one.
    pub(crate) async fn end(&mut self) -> Option<Status> {
        within(async {
            loop {
                match self.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                }
            }
        })
        .await
    }
}

pub(crate) fn seen(number: u64, text: &str) -> Seen {
    (number, text.to_owned())
}

/// Returns the trailer `err`.
pub(crate) fn err(status: &Status) -> Option<&str> {
    status.metadata().get("err").and_then(|value| value.to_str().ok())
}
