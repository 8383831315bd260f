//! Cache control and ping through the official stubs.

use momento_local::{CacheError, Fault, MomentoLocal};
use momento_protos::common::Empty;
use momento_protos::control_client::{
    CreateCacheRequest, DeleteCacheRequest, FlushCacheRequest, ListCachesRequest,
};
use tonic::Code;

use crate::support::{CACHE, Client, TOPIC, err, momento, within};

async fn create(client: &Client, name: &str) -> Option<Code> {
    let request = client.request(CreateCacheRequest { cache_name: name.to_owned() });
    within(client.control().create_cache(request)).await.err().map(|status| status.code())
}

async fn delete(client: &Client, name: &str) -> Option<Code> {
    let request = client.request(DeleteCacheRequest { cache_name: name.to_owned() });
    within(client.control().delete_cache(request)).await.err().map(|status| status.code())
}

#[tokio::test]
async fn creates_lists_and_deletes_caches() {
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
    let limits = listed.cache[0].topic_limits.unwrap();
    assert_eq!(
        (limits.max_publish_rate, limits.max_subscription_count, limits.max_publish_message_size_kb),
        (10, 100, 4)
    );
    let limits = listed.cache[0].cache_limits.unwrap();
    assert_eq!((limits.max_traffic_rate, limits.max_throughput_kbps), (100, 1_024));
    assert_eq!((limits.max_item_size_kb, limits.max_ttl_seconds), (1_024, 86_400));
    assert_eq!(listed.next_token, "");

    assert_eq!(delete(&client, "a").await, None);
    assert_eq!(delete(&client, "a").await, Some(Code::NotFound));
    assert_eq!(momento.create_cache("b"), Err(CacheError::CacheAlreadyExists("b".to_owned())));
    assert_eq!(momento.create_cache("a"), Ok(()));
}

#[tokio::test]
async fn delete_cache_ends_subscriptions_and_forgets_topics() {
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
async fn creates_missing_cache_on_first_use() {
    let momento = MomentoLocal::builder().create_caches(true).start().await.unwrap();
    let client = Client::new(&momento);
    assert_eq!(client.publish_code().await, None);
    client.subscribe_to("another", TOPIC, (0, 0)).await.unwrap();
    assert_eq!(create(&client, "another").await, Some(Code::AlreadyExists));
}

#[tokio::test]
async fn flush_cache_keeps_topics() {
    let momento = momento().await;
    let client = Client::new(&momento);
    momento.publish(CACHE, TOPIC, "kept").unwrap();
    let flush = |name: &str| client.request(FlushCacheRequest { cache_name: name.to_owned() });
    within(client.control().flush_cache(flush(CACHE))).await.unwrap();
    assert_eq!(momento.published(CACHE, TOPIC).len(), 1);
    let missing = within(client.control().flush_cache(flush("nowhere"))).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

/// Methods that local Momento does not serve: of a service that it serves, of another, and of neither.
const UNSERVED: [(&str, &str); 6] = [
    ("/control_client.ScsControl/CreateSigningKey", "create-signing-key"),
    ("/cache_client.pubsub.Pubsub/Unpublish", "topic-unpublish"),
    ("/cache_client.Scs/ListReverse", "list-reverse"),
    ("/leaderboard.Leaderboard/DeleteLeaderboard", "delete-leaderboard"),
    ("/cache_client.Ping/Pong", "pong"),
    ("/made.Up/Call", "call"),
];

#[tokio::test]
async fn responds_unimplemented_to_unserved_methods() {
    let momento = momento().await;
    let client = Client::new(&momento);
    for (path, _) in UNSERVED {
        let status = client.call(path, Empty {}).await.unwrap();
        assert_eq!(
            (status.code(), err(&status)),
            (Code::Unimplemented, Some("momento_general_err")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn checks_key_before_responding_unimplemented() {
    let momento = MomentoLocal::builder().api_key("right").start().await.unwrap();
    for (path, _) in UNSERVED {
        let status = Client::new(&momento).call(path, Empty {}).await.unwrap();
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
        let status = Client::new(&momento).with("authorization", "right").call(path, Empty {}).await.unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn applies_faults_before_responding_unimplemented() {
    let momento = momento().await;
    for (path, name) in UNSERVED {
        let client = Client::new(&momento)
            .with("request-id", path)
            .with("error-rpcs", name)
            .with("return-error", "unavailable")
            .with("error-count", "1");
        assert_eq!(client.call(path, Empty {}).await.unwrap().code(), Code::Unavailable, "{path}");
        assert_eq!(client.call(path, Empty {}).await.unwrap().code(), Code::Unimplemented, "{path}");
        let misspelled = client.with("return-error", "unavaliable");
        assert_eq!(misspelled.call(path, Empty {}).await.unwrap().code(), Code::InvalidArgument, "{path}");

        let injected = momento.inject(Fault::error(Code::Aborted).cache(CACHE).times(1));
        assert_eq!(
            Client::new(&momento).call(path, Empty {}).await.unwrap().code(),
            Code::Unimplemented,
            "{path}"
        );
        let client = Client::new(&momento).with("cache", CACHE);
        assert_eq!(client.call(path, Empty {}).await.unwrap().code(), Code::Aborted, "{path}");
        assert_eq!(injected.hits(), 1);
    }
}

#[tokio::test]
async fn ping_requires_key() {
    let momento = MomentoLocal::builder().api_key("right").start().await.unwrap();
    let client = Client::new(&momento);
    let status = client.call("/cache_client.Ping/Ping", Empty {}).await.unwrap();
    assert_eq!(status.code(), Code::Unauthenticated);
    let client = client.with("authorization", "right");
    assert!(client.call("/cache_client.Ping/Ping", Empty {}).await.is_none());
}
