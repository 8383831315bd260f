//! The official Rust SDK, unchanged.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt as _;
use momento::cache::{
    CollectionTtl, CreateCacheResponse, DecreaseTtlResponse, GetResponse, IncreaseTtlResponse,
    ItemGetTtlResponse, ItemGetTypeResponse, ItemType, ListFetchResponse, ListLengthResponse,
    ListPushBackRequest, SetAddElementsRequest, SetFetchResponse, SetIfAbsentOrEqualResponse,
    SetIfAbsentResponse, SetIfEqualResponse, SetIfNotEqualResponse, SetIfPresentAndNotEqualResponse,
    SetIfPresentResponse, SetRequest, SortedSetGetRankResponse, SortedSetOrder, UpdateTtlResponse,
};
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

#[tokio::test]
async fn sdk_accepts_token_of_readme() {
    let readme = include_str!("../../README.md");
    let (_, token) = readme.split_once("let token = \"").unwrap();
    let (token, _) = token.split_once('"').unwrap();
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let credentials = CredentialProvider::from_disposable_token(token).unwrap();
    let topics = TopicClient::builder()
        .configuration(momento::topics::configurations::Laptop::latest())
        .credential_provider(credentials.insecure_endpoint_override(&momento.endpoint()))
        .build()
        .unwrap();
    within(topics.publish(CACHE, TOPIC, "x")).await.unwrap();
    assert_eq!(momento.published(CACHE, TOPIC).len(), 1);
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

async fn value(caches: &CacheClient, key: &str) -> Option<String> {
    match within(caches.get(CACHE, key)).await.unwrap() {
        GetResponse::Hit { value } => Some(value.try_into().unwrap()),
        GetResponse::Miss => None,
    }
}

async fn remaining_ttl(caches: &CacheClient, key: &str) -> Option<Duration> {
    match within(caches.item_get_ttl(CACHE, key)).await.unwrap() {
        ItemGetTtlResponse::Hit { remaining_ttl } => Some(remaining_ttl),
        ItemGetTtlResponse::Miss => None,
    }
}

async fn elements(caches: &CacheClient, name: &str) -> Option<Vec<String>> {
    match within(caches.set_fetch(CACHE, name)).await.unwrap() {
        SetFetchResponse::Hit { values } => {
            let mut elements: Vec<String> = values.try_into().unwrap();
            elements.sort();
            Some(elements)
        }
        SetFetchResponse::Miss => None,
    }
}

#[tokio::test]
async fn sdk_gets_sets_and_deletes_scalars() {
    let momento = momento().await;
    let caches = caches(&momento);
    assert_eq!(value(&caches, "key").await, None);
    within(caches.set(CACHE, "key", "value")).await.unwrap();
    assert_eq!(value(&caches, "key").await.unwrap(), "value");
    assert!(within(caches.key_exists(CACHE, "key")).await.unwrap().exists);
    let batch = within(caches.get_batch(CACHE, vec!["key", "none"])).await.unwrap();
    let hits: HashMap<Vec<u8>, Vec<u8>> = batch.into();
    assert_eq!(hits, HashMap::from([("key".into(), "value".into())]));
    within(caches.delete(CACHE, "key")).await.unwrap();
    assert_eq!(value(&caches, "key").await, None);

    within(caches.set(CACHE, "key", "value")).await.unwrap();
    within(caches.flush_cache(CACHE)).await.unwrap();
    assert_eq!(value(&caches, "key").await, None);
}

#[tokio::test]
async fn sdk_sets_under_every_condition() {
    let momento = momento().await;
    let caches = caches(&momento);
    let present = within(caches.set_if_present(CACHE, "key", "no")).await.unwrap();
    assert_eq!(present, SetIfPresentResponse::NotStored);
    let equal = within(caches.set_if_equal(CACHE, "key", "no", "old")).await.unwrap();
    assert_eq!(equal, SetIfEqualResponse::NotStored);
    let absent = within(caches.set_if_absent(CACHE, "key", "one")).await.unwrap();
    assert_eq!(absent, SetIfAbsentResponse::Stored);
    let absent = within(caches.set_if_absent(CACHE, "key", "no")).await.unwrap();
    assert_eq!(absent, SetIfAbsentResponse::NotStored);
    let equal = within(caches.set_if_equal(CACHE, "key", "two", "one")).await.unwrap();
    assert_eq!(equal, SetIfEqualResponse::Stored);
    let not_equal = within(caches.set_if_not_equal(CACHE, "key", "no", "two")).await.unwrap();
    assert_eq!(not_equal, SetIfNotEqualResponse::NotStored);
    let not_equal = within(caches.set_if_present_and_not_equal(CACHE, "key", "three", "one")).await.unwrap();
    assert_eq!(not_equal, SetIfPresentAndNotEqualResponse::Stored);
    let or_equal = within(caches.set_if_absent_or_equal(CACHE, "key", "no", "two")).await.unwrap();
    assert_eq!(or_equal, SetIfAbsentOrEqualResponse::NotStored);
    assert_eq!(value(&caches, "key").await.unwrap(), "three");
}

#[tokio::test]
async fn sdk_reads_and_changes_ttl() {
    let momento = momento().await;
    let caches = caches(&momento);
    let seconds = Duration::from_secs;
    assert_eq!(remaining_ttl(&caches, "key").await, None);
    assert_eq!(within(caches.update_ttl(CACHE, "key", seconds(9))).await.unwrap(), UpdateTtlResponse::Miss);
    within(caches.send_request(SetRequest::new(CACHE, "key", "value").ttl(seconds(100)))).await.unwrap();
    let ttl = remaining_ttl(&caches, "key").await.unwrap();
    assert!(ttl > seconds(50) && ttl <= seconds(100), "{ttl:?}");
    let increased = within(caches.increase_ttl(CACHE, "key", seconds(10))).await.unwrap();
    assert_eq!(increased, IncreaseTtlResponse::NotSet);
    let decreased = within(caches.decrease_ttl(CACHE, "key", seconds(40))).await.unwrap();
    assert_eq!(decreased, DecreaseTtlResponse::Set);
    assert!(remaining_ttl(&caches, "key").await.unwrap() <= seconds(40));
    let updated = within(caches.update_ttl(CACHE, "key", seconds(1_000))).await.unwrap();
    assert_eq!(updated, UpdateTtlResponse::Set);
    assert!(remaining_ttl(&caches, "key").await.unwrap() > seconds(500));

    within(caches.update_ttl(CACHE, "key", Duration::from_millis(1))).await.unwrap();
    within(async { while value(&caches, "key").await.is_some() {} }).await;
    let zero = within(caches.send_request(SetRequest::new(CACHE, "key", "x").ttl(Duration::ZERO))).await;
    assert_eq!(zero.unwrap_err().error_code, MomentoErrorCode::InvalidArgumentError);
}

#[tokio::test]
async fn sdk_increments_and_uses_sets() {
    let momento = momento().await;
    let caches = caches(&momento);
    assert_eq!(within(caches.increment(CACHE, "counter", 2)).await.unwrap().value, 2);
    assert_eq!(within(caches.increment(CACHE, "counter", -3)).await.unwrap().value, -1);
    assert_eq!(value(&caches, "counter").await.unwrap(), "-1");

    assert_eq!(elements(&caches, "set").await, None);
    let ttl = CollectionTtl::new(Some(Duration::from_mins(2)), true);
    let request = SetAddElementsRequest::new(CACHE, "set", vec!["b", "a"]).ttl(ttl);
    within(caches.send_request(request)).await.unwrap();
    within(caches.set_add_elements(CACHE, "set", vec!["a", "c"])).await.unwrap();
    assert_eq!(elements(&caches, "set").await.unwrap(), ["a", "b", "c"]);
    within(caches.set_remove_elements(CACHE, "set", vec!["a", "b"])).await.unwrap();
    assert_eq!(elements(&caches, "set").await.unwrap(), ["c"]);
    let item_type = within(caches.item_get_type(CACHE, "set")).await.unwrap();
    assert_eq!(item_type, ItemGetTypeResponse::Hit { key_type: ItemType::Set });
    within(caches.set_remove_elements(CACHE, "set", vec!["c"])).await.unwrap();
    assert_eq!(elements(&caches, "set").await, None);
}

#[tokio::test]
async fn sdk_uses_lists() {
    let momento = momento().await;
    let caches = caches(&momento);
    assert_eq!(within(caches.list_fetch(CACHE, "list")).await.unwrap(), ListFetchResponse::Miss);
    within(caches.list_concatenate_back(CACHE, "list", vec!["b", "c"])).await.unwrap();
    within(caches.list_push_front(CACHE, "list", "a")).await.unwrap();
    within(caches.list_push_back(CACHE, "list", "d")).await.unwrap();
    let last_three = ListPushBackRequest::new(CACHE, "list", "e").truncate_front_to_size(3);
    within(caches.send_request(last_three)).await.unwrap();
    let fetched: Vec<String> = within(caches.list_fetch(CACHE, "list")).await.unwrap().try_into().unwrap();
    assert_eq!(fetched, ["c", "d", "e"]);
    let front: String = within(caches.list_pop_front(CACHE, "list")).await.unwrap().try_into().unwrap();
    assert_eq!(front, "c");
    within(caches.list_remove_value(CACHE, "list", "d")).await.unwrap();
    let length = within(caches.list_length(CACHE, "list")).await.unwrap();
    assert_eq!(length, ListLengthResponse::Hit { length: 1 });
    let item_type = within(caches.item_get_type(CACHE, "list")).await.unwrap();
    assert_eq!(item_type, ItemGetTypeResponse::Hit { key_type: ItemType::List });
}

#[tokio::test]
async fn sdk_uses_dictionaries() {
    let momento = momento().await;
    let caches = caches(&momento);
    let fields = vec![("mo", "squirrel"), ("jo", "1")];
    within(caches.dictionary_set_fields(CACHE, "people", fields)).await.unwrap();
    let counted = within(caches.dictionary_increment(CACHE, "people", "jo", 41)).await.unwrap();
    assert_eq!(counted.value, 42);
    let got = within(caches.dictionary_get_field(CACHE, "people", "mo")).await.unwrap();
    assert_eq!(TryInto::<String>::try_into(got).unwrap(), "squirrel");
    within(caches.dictionary_remove_field(CACHE, "people", "mo")).await.unwrap();
    let fetched = within(caches.dictionary_fetch(CACHE, "people")).await.unwrap();
    let fetched: HashMap<String, String> = fetched.try_into().unwrap();
    assert_eq!(fetched, HashMap::from([("jo".to_owned(), "42".to_owned())]));
}

#[tokio::test]
async fn sdk_uses_sorted_sets() {
    let momento = momento().await;
    let caches = caches(&momento);
    let scores = vec![("b", 2.0), ("a", 1.0), ("c", 3.0)];
    within(caches.sorted_set_put_elements(CACHE, "scores", scores)).await.unwrap();
    let raised = within(caches.sorted_set_increment_score(CACHE, "scores", "a", 9.0)).await.unwrap();
    assert!((raised.score - 10.0).abs() < f64::EPSILON);
    let fetch =
        caches.sorted_set_fetch_by_rank(CACHE, "scores", SortedSetOrder::Descending, Some(0), Some(2));
    let highest: Vec<(String, f64)> = within(fetch).await.unwrap().try_into().unwrap();
    assert_eq!(highest, [("a".to_owned(), 10.0), ("c".to_owned(), 3.0)]);
    let rank = within(caches.sorted_set_get_rank(CACHE, "scores", "c")).await.unwrap();
    assert_eq!(rank, SortedSetGetRankResponse::Hit { rank: 1 });
}

#[tokio::test]
async fn sdk_maps_errors_of_items_to_its_codes() {
    let momento = MomentoLocal::builder().cache(CACHE).max_items_bytes(3 << 20).start().await.unwrap();
    let caches = caches(&momento);
    let code = |error: momento::MomentoError| error.error_code;
    let missing = within(caches.get("nowhere", "key")).await.map_err(code);
    assert_eq!(missing, Err(MomentoErrorCode::CacheNotFoundError));
    within(caches.set(CACHE, "key", "text")).await.unwrap();
    let not_a_number = within(caches.increment(CACHE, "key", 1)).await.map_err(code);
    assert_eq!(not_a_number.unwrap_err(), MomentoErrorCode::FailedPreconditionError);
    let wrong_type = within(caches.set_fetch(CACHE, "key")).await.map_err(code);
    assert_eq!(wrong_type.unwrap_err(), MomentoErrorCode::FailedPreconditionError);

    let too_large = within(caches.set(CACHE, "large", vec![0; (1 << 20) + 1])).await.unwrap_err();
    assert_eq!(too_large.error_code, MomentoErrorCode::LimitExceededError);
    assert!(too_large.message.contains("tem size"), "{}", too_large.message);
    for key in ["one", "two"] {
        within(caches.set(CACHE, key, vec![0; 1 << 20])).await.unwrap();
    }
    let full = within(caches.set(CACHE, "three", vec![0; 1 << 20])).await.unwrap_err();
    assert_eq!(full.error_code, MomentoErrorCode::LimitExceededError);
    assert!(format!("{full:?}").contains("at most 3145728 bytes of items"), "{full:?}");
    within(caches.delete(CACHE, "one")).await.unwrap();
    within(caches.set(CACHE, "three", vec![0; 1 << 20])).await.unwrap();

    momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Get).cache(CACHE).times(1));
    let denied = within(caches.get(CACHE, "key")).await.map_err(code);
    assert_eq!(denied, Err(MomentoErrorCode::PermissionError));
    assert_eq!(value(&caches, "key").await.unwrap(), "text");
}
