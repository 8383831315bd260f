//! Cache control and ping through the official stubs.

use momento_local::{CacheError, MomentoLocal};
use momento_protos::common::Empty;
use momento_protos::control_client::{
    CreateCacheRequest, CreateSigningKeyRequest, DeleteCacheRequest, FlushCacheRequest, ListCachesRequest,
};
use tonic::client::Grpc;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::support::{CACHE, Client, TOPIC, momento, within};

async fn create(client: &Client, name: &str) -> Option<Code> {
    let request = client.request(CreateCacheRequest { cache_name: name.to_owned() });
    within(client.control().create_cache(request)).await.err().map(|status| status.code())
}

async fn delete(client: &Client, name: &str) -> Option<Code> {
    let request = client.request(DeleteCacheRequest { cache_name: name.to_owned() });
    within(client.control().delete_cache(request)).await.err().map(|status| status.code())
}

#[tokio::test]
async fn caches_are_created_listed_and_deleted() {
    let momento = MomentoLocal::start().await.unwrap();
    let client = Client::new(&momento);
    assert_eq!(create(&client, "b").await, None);
    assert_eq!(create(&client, "a").await, None);
    assert_eq!(create(&client, "a").await, Some(Code::AlreadyExists));
    assert_eq!(create(&client, "").await, Some(Code::InvalidArgument));

    let listed = within(client.control().list_caches(ListCachesRequest::default())).await.unwrap();
    let listed = listed.into_inner();
    let names: Vec<_> = listed.cache.iter().map(|cache| cache.cache_name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(listed.cache[0].topic_limits.unwrap().max_publish_message_size_kb, 4);
    assert_eq!(listed.next_token, "");

    assert_eq!(delete(&client, "a").await, None);
    assert_eq!(delete(&client, "a").await, Some(Code::NotFound));
    assert_eq!(momento.create_cache("b"), Err(CacheError::CacheAlreadyExists("b".to_owned())));
    assert_eq!(momento.create_cache("a"), Ok(()));
}

#[tokio::test]
async fn deleting_a_cache_ends_its_subscriptions_and_a_new_one_begins_anew() {
    let momento = momento().await;
    let client = Client::new(&momento);
    momento.publish(CACHE, TOPIC, "old").unwrap();
    let old_page = momento.published(CACHE, TOPIC)[0].sequence_page;
    let mut subscriber = client.subscribe().await;
    assert_eq!(delete(&client, CACHE).await, None);
    assert_eq!(subscriber.end().await.map(|status| status.code()), Some(Code::NotFound));
    assert_eq!(client.publish_code().await, Some(Code::NotFound));

    assert_eq!(create(&client, CACHE).await, None);
    assert_eq!(client.publish_code().await, None);
    let published = momento.published(CACHE, TOPIC);
    assert_eq!(published[0].sequence_number, 1);
    assert!(published[0].sequence_page > old_page);
}

#[tokio::test]
async fn caches_can_be_created_on_first_use() {
    let momento = MomentoLocal::builder().create_caches(true).start().await.unwrap();
    let client = Client::new(&momento);
    assert_eq!(client.publish_code().await, None);
    client.subscribe_to("another", TOPIC, (0, 0)).await.unwrap();
    assert_eq!(create(&client, "another").await, Some(Code::AlreadyExists));
}

#[tokio::test]
async fn flushing_keeps_topics() {
    let momento = momento().await;
    let client = Client::new(&momento);
    momento.publish(CACHE, TOPIC, "kept").unwrap();
    let flush = |name: &str| client.request(FlushCacheRequest { cache_name: name.to_owned() });
    within(client.control().flush_cache(flush(CACHE))).await.unwrap();
    assert_eq!(momento.published(CACHE, TOPIC).len(), 1);
    let missing = within(client.control().flush_cache(flush("nowhere"))).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn what_is_not_part_of_it_says_so() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let request = CreateSigningKeyRequest { ttl_minutes: 1 };
    let refused = within(client.control().create_signing_key(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    for path in ["/cache_client.Scs/Get", "/cache_client.Ping/Pong", "/made.Up/Call"] {
        assert_eq!(call(&client, path).await, Some(Code::Unimplemented), "{path}");
    }
}

#[tokio::test]
async fn ping_answers_those_with_the_key() {
    let momento = MomentoLocal::builder().api_key("right").start().await.unwrap();
    let client = Client::new(&momento);
    assert_eq!(call(&client, "/cache_client.Ping/Ping").await, Some(Code::Unauthenticated));
    let client = client.with("authorization", "right");
    assert_eq!(call(&client, "/cache_client.Ping/Ping").await, None);
}

/// Calls a method that the stubs do not have.
async fn call(client: &Client, path: &'static str) -> Option<Code> {
    let mut grpc = Grpc::new(client.channel.clone());
    within(grpc.ready()).await.unwrap();
    let request: Request<Empty> = client.request(Empty {});
    let codec = ProstCodec::<Empty, Empty>::default();
    let path = http::uri::PathAndQuery::from_static(path);
    within(grpc.unary(request, path, codec)).await.err().map(|status| status.code())
}
