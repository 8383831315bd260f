//! The official Rust SDK, unchanged.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt as _;
use momento::cache::CreateCacheResponse;
use momento::topics::{SubscribeRequest, SubscriptionValue, ValueKind};
use momento::{CacheClient, CredentialProvider, MomentoErrorCode, TopicClient};
use momento_local::{Fault, MomentoLocal, Rpc};
use tonic::Code;

use crate::support::{CACHE, TOPIC, momento, within};

fn credentials(momento: &MomentoLocal, key: &str) -> CredentialProvider {
    let token = URL_SAFE.encode(format!(r#"{{"api_key":"{key}","endpoint":"unused.example"}}"#));
    CredentialProvider::from_disposable_token(token).unwrap().insecure_endpoint_override(&momento.endpoint())
}

fn topics(momento: &MomentoLocal, key: &str) -> TopicClient {
    TopicClient::builder()
        .configuration(momento::topics::configurations::Laptop::latest())
        .credential_provider(credentials(momento, key))
        .build()
        .unwrap()
}

fn caches(momento: &MomentoLocal) -> CacheClient {
    CacheClient::builder()
        .default_ttl(Duration::from_mins(1))
        .configuration(momento::cache::configurations::Laptop::latest())
        .credential_provider(credentials(momento, "key"))
        .build()
        .unwrap()
}

fn text(value: SubscriptionValue) -> (u64, String) {
    match value.kind {
        ValueKind::Text(text) => (value.topic_sequence_number, text),
        ValueKind::Binary(bytes) => panic!("not a text: {bytes:?}"),
    }
}

async fn publish_error(topics: &TopicClient, cache: &str, message: &str) -> MomentoErrorCode {
    within(topics.publish(cache, TOPIC, message)).await.unwrap_err().error_code
}

#[tokio::test]
async fn sdk_uses_caches_and_topics() {
    let momento = MomentoLocal::start().await.unwrap();
    let (caches, topics) = (caches(&momento), topics(&momento, "key"));
    assert_eq!(within(caches.create_cache(CACHE)).await.unwrap(), CreateCacheResponse::Created);
    assert_eq!(within(caches.create_cache(CACHE)).await.unwrap(), CreateCacheResponse::AlreadyExists);
    let listed = within(caches.list_caches()).await.unwrap().caches;
    assert_eq!(listed.iter().map(|cache| cache.name.as_str()).collect::<Vec<_>>(), [CACHE]);

    let mut subscription = within(topics.subscribe(CACHE, TOPIC)).await.unwrap();
    within(topics.publish(CACHE, TOPIC, "hello")).await.unwrap();
    within(topics.publish(CACHE, TOPIC, vec![1_u8, 2])).await.unwrap();
    assert_eq!(text(within(subscription.next()).await.unwrap()), (1, "hello".to_owned()));
    let binary = within(subscription.next()).await.unwrap();
    assert_eq!((binary.topic_sequence_number, binary.kind), (2, ValueKind::Binary(vec![1, 2])));

    let resume = SubscribeRequest::new(CACHE, TOPIC, Some(1), Some(binary.topic_sequence_page));
    let mut resumed = within(topics.send_request(resume)).await.unwrap();
    assert_eq!(text(within(resumed.next()).await.unwrap()), (1, "hello".to_owned()));
    within(caches.delete_cache(CACHE)).await.unwrap();
}

#[tokio::test]
async fn sdk_maps_errors_to_its_codes() {
    let momento = MomentoLocal::builder().cache(CACHE).api_key("right").start().await.unwrap();
    let wrong = topics(&momento, "wrong");
    assert_eq!(publish_error(&wrong, CACHE, "x").await, MomentoErrorCode::AuthenticationError);

    let topics = topics(&momento, "right");
    assert_eq!(publish_error(&topics, "nowhere", "x").await, MomentoErrorCode::CacheNotFoundError);
    let too_large = within(topics.publish(CACHE, TOPIC, "x".repeat(4_097))).await.unwrap_err();
    assert_eq!(too_large.error_code, MomentoErrorCode::LimitExceededError);
    assert!(too_large.message.contains("size"), "the trailer names the limit: {}", too_large.message);
    let empty_topic = within(topics.publish(CACHE, "", "x")).await.unwrap_err();
    assert_eq!(empty_topic.error_code, MomentoErrorCode::InvalidArgumentError);

    momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).times(1));
    assert_eq!(publish_error(&topics, CACHE, "x").await, MomentoErrorCode::PermissionError);
    within(topics.publish(CACHE, TOPIC, "x".repeat(4_096))).await.unwrap();
}

#[tokio::test]
async fn sdk_resumes_broken_subscription() {
    let momento = momento().await;
    let topics = topics(&momento, "key");
    let mut subscription = within(topics.subscribe(CACHE, TOPIC)).await.unwrap();
    momento.publish(CACHE, TOPIC, "one").unwrap();
    assert_eq!(text(within(subscription.next()).await.unwrap()), (1, "one".to_owned()));

    momento.cut_connections();
    within(momento.wait_for_no_subscribers(CACHE, TOPIC)).await;
    momento.publish(CACHE, TOPIC, "two").unwrap();
    // The SDK resumes at its last number, so it receives that message again.
    assert_eq!(text(within(subscription.next()).await.unwrap()), (1, "one".to_owned()));
    assert_eq!(text(within(subscription.next()).await.unwrap()), (2, "two".to_owned()));
}
