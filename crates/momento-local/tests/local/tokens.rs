//! Tokens and API keys, through the official Rust SDK and the official stubs: every permission against every call.

use std::time::Duration;

use momento::auth::{
    CacheSelector, DisposableTokenScope, DisposableTokenScopes, ExpiresIn, GenerateDisposableTokenRequest,
    PermissionScope, PermissionScopes, Permissions, TopicSelector,
};
use momento::cache::{SortedSetOrder, SortedSetUnionStoreSource, configurations::Laptop as CacheLaptop};
use momento::topics::configurations::Laptop as TopicLaptop;
use momento::{AuthClient, CacheClient, CredentialProvider, MomentoErrorCode, MomentoResult, TopicClient};
use momento_local::MomentoLocal;
use momento_protos::auth::auth_client::AuthClient as AuthStub;
use momento_protos::auth::generate_api_token_request::{Expires, Expiry, Never};
use momento_protos::auth::{GenerateApiTokenRequest, GenerateApiTokenResponse, RefreshApiTokenRequest};
use momento_protos::cache_client::pubsub::topic_value::Kind as TopicKind;
use momento_protos::permission_messages::permissions_type::{
    All, CachePermissions, Kind as PermissionKind, TopicPermissions, TopicSelector as TopicSelectorMessage,
    cache_permissions, topic_permissions, topic_selector,
};
use momento_protos::permission_messages::{
    CacheRole, ExplicitPermissions, Permissions as PermissionsMessage, PermissionsType, SuperUserPermissions,
    TopicRole, permissions,
};
use momento_protos::token::generate_disposable_token_request::Expires as DisposableExpires;
use momento_protos::token::token_client::TokenClient;
use momento_protos::token::{
    GenerateDisposableTokenRequest as DisposableMessage, GenerateDisposableTokenResponse,
};
use tonic::{Code, Status};

use crate::support::{CACHE, Client, TOPIC, within};

const OTHER_CACHE: &str = "other-cache";

/// The use that a call makes of a name, as permissions see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Read,
    Write,
    WriteIf,
    Publish,
    Subscribe,
    Control,
}

/// The clients of one key or token.
struct Clients {
    caches: CacheClient,
    topics: TopicClient,
}

fn credentials(momento: &MomentoLocal, token: &str) -> CredentialProvider {
    CredentialProvider::from_disposable_token(token).unwrap().insecure_endpoint_override(&momento.endpoint())
}

/// Returns an SDK's form of a key.
fn v1_key(key: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!(r#"{{"endpoint":"e","api_key":"{key}"}}"#))
}

fn auth(momento: &MomentoLocal, token: &str) -> AuthClient {
    AuthClient::builder().credential_provider(credentials(momento, token)).build().unwrap()
}

fn clients(momento: &MomentoLocal, token: &str) -> Clients {
    let caches = CacheClient::builder()
        .default_ttl(Duration::from_mins(1))
        .configuration(CacheLaptop::latest())
        .credential_provider(credentials(momento, token))
        .build()
        .unwrap();
    let topics = TopicClient::builder()
        .configuration(TopicLaptop::latest())
        .credential_provider(credentials(momento, token))
        .build()
        .unwrap();
    Clients { caches, topics }
}

async fn momento() -> MomentoLocal {
    MomentoLocal::builder().cache(CACHE).cache(OTHER_CACHE).api_key("local").start().await.unwrap()
}

/// Returns a token of this scope for five minutes.
async fn disposable(momento: &MomentoLocal, scope: DisposableTokenScope) -> String {
    let auth = auth(momento, &v1_key("local"));
    within(auth.generate_disposable_token(scope, ExpiresIn::minutes(5))).await.unwrap().auth_token()
}

/// Makes every call on one item and one topic, and returns those that were not denied.
async fn allowed_calls(clients: &Clients, cache: &str, key: &str, topic: &str) -> Vec<(&'static str, Does)> {
    let Clients { caches, topics } = clients;
    let minute = Duration::from_mins(1);
    let mut allowed = Vec::new();
    macro_rules! call {
        ($does:ident, $client:ident.$call:ident($($argument:expr),*)) => {
            let result = within($client.$call($($argument),*)).await;
            match result.map(drop).map_err(|error| error.error_code) {
                Err(MomentoErrorCode::PermissionError) => {}
                // An error about the item itself comes after the check: the calls are for different types.
                Ok(()) | Err(MomentoErrorCode::FailedPreconditionError) => {
                    allowed.push((stringify!($call), Does::$does));
                }
                Err(other) => panic!("{}: {other:?}", stringify!($call)),
            }
        };
    }
    call!(Read, caches.get(cache, key));
    call!(Read, caches.get_batch(cache, vec![key]));
    call!(Read, caches.key_exists(cache, key));
    call!(Read, caches.item_get_ttl(cache, key));
    call!(Read, caches.item_get_type(cache, key));
    call!(Read, caches.dictionary_fetch(cache, key));
    call!(Read, caches.dictionary_get_field(cache, key, "field"));
    call!(Read, caches.dictionary_length(cache, key));
    call!(Read, caches.set_fetch(cache, key));
    call!(Read, caches.list_fetch(cache, key));
    call!(Read, caches.list_length(cache, key));
    call!(Read, caches.sorted_set_fetch_by_rank(cache, key, SortedSetOrder::Ascending, None, None));
    call!(Read, caches.sorted_set_fetch_by_score(cache, key, SortedSetOrder::Ascending));
    call!(Read, caches.sorted_set_get_rank(cache, key, "value"));
    call!(Read, caches.sorted_set_get_score(cache, key, "value"));
    call!(Read, caches.sorted_set_length(cache, key));
    call!(Read, caches.sorted_set_length_by_score(cache, key));
    call!(Write, caches.set(cache, key, "1"));
    call!(Write, caches.set_batch(cache, vec![(key, "1")]));
    call!(Write, caches.increment(cache, key, 1));
    call!(Write, caches.update_ttl(cache, key, minute));
    call!(Write, caches.delete(cache, key));
    call!(Write, caches.dictionary_set_field(cache, key, "field", "1"));
    call!(Write, caches.dictionary_increment(cache, key, "field", 1));
    call!(Write, caches.dictionary_remove_field(cache, key, "field"));
    call!(Write, caches.set_add_elements(cache, key, vec!["a"]));
    call!(Write, caches.set_remove_elements(cache, key, vec!["a"]));
    call!(Write, caches.list_push_front(cache, key, "a"));
    call!(Write, caches.list_push_back(cache, key, "a"));
    call!(Write, caches.list_concatenate_front(cache, key, vec!["a"]));
    call!(Write, caches.list_concatenate_back(cache, key, vec!["a"]));
    call!(Write, caches.list_retain(cache, key, 0, 1));
    call!(Write, caches.list_remove_value(cache, key, "b"));
    call!(Write, caches.list_pop_front(cache, key));
    call!(Write, caches.list_pop_back(cache, key));
    call!(Write, caches.sorted_set_put_element(cache, key, "value", 1.0));
    call!(Write, caches.sorted_set_increment_score(cache, key, "value", 1.0));
    call!(Write, caches.sorted_set_remove_elements(cache, key, vec!["value"]));
    call!(WriteIf, caches.set_if_absent(cache, key, "1"));
    call!(WriteIf, caches.set_if_present(cache, key, "1"));
    call!(WriteIf, caches.set_if_equal(cache, key, "1", "1"));
    call!(WriteIf, caches.increase_ttl(cache, key, minute));
    call!(WriteIf, caches.decrease_ttl(cache, key, minute));
    // Reads its source and writes its destination, which is the same item here.
    let source = SortedSetUnionStoreSource::new(key, 1.0);
    call!(WriteIf, caches.sorted_set_union_store(cache, key, vec![source]));
    call!(Publish, topics.publish(cache, topic, "text"));
    call!(Subscribe, topics.subscribe(cache, topic));
    call!(Control, caches.create_cache(cache));
    call!(Control, caches.flush_cache(cache));
    call!(Control, caches.list_caches());
    allowed
}

/// Calls on an item are allowed by the first four, calls on a topic by the others.
fn scopes() -> Vec<(DisposableTokenScope, &'static str)> {
    use DisposableTokenScopes as Tokens;
    use PermissionScopes as Scopes;
    let all = || CacheSelector::AllCaches;
    let plain = |scope: PermissionScope| scope.into();
    vec![
        (plain(Scopes::cache_read_write(all())), "items any rw"),
        (plain(Scopes::cache_read_only(all())), "items any r"),
        (plain(Scopes::cache_write_only(all())), "items any w"),
        (plain(Scopes::cache_read_write(CACHE)), "items cache rw"),
        (plain(Scopes::cache_read_only(CACHE)), "items cache r"),
        (plain(Scopes::cache_write_only(CACHE)), "items cache w"),
        (Tokens::cache_key_read_write(CACHE, "cow"), "key cache rw"),
        (Tokens::cache_key_read_only(CACHE, "cow"), "key cache r"),
        (Tokens::cache_key_write_only(CACHE, "cow"), "key cache w"),
        (Tokens::cache_key_read_only(all(), "cow"), "key any r"),
        (Tokens::cache_key_prefix_read_write(CACHE, "pet-"), "prefix cache rw"),
        (Tokens::cache_key_prefix_read_only(all(), "pet-"), "prefix any r"),
        (Tokens::cache_key_prefix_write_only(CACHE, "pet-"), "prefix cache w"),
        (plain(Scopes::topic_publish_subscribe(all(), TopicSelector::AllTopics)), "topics any rw"),
        (plain(Scopes::topic_subscribe_only(all(), TopicSelector::AllTopics)), "topics any r"),
        (plain(Scopes::topic_publish_only(CACHE, TopicSelector::AllTopics)), "topics cache w"),
        (plain(Scopes::topic_publish_subscribe(CACHE, "room")), "topic cache rw"),
        (plain(Scopes::topic_subscribe_only(CACHE, "room")), "topic cache r"),
        (plain(Scopes::topic_publish_only(all(), "room")), "topic any w"),
        (Permissions::all_data_read_write().into(), "everything"),
    ]
}

/// Decides by the text of a scope whether it allows a call.
fn expects(scope: &str, does: Does, cache: &str, key: &str, topic: &str) -> bool {
    if scope == "everything" {
        return does != Does::Control;
    }
    let words: Vec<_> = scope.split(' ').collect();
    let [what, caches, role] = words[..] else { panic!("three words: {scope}") };
    let covers = match (what, does) {
        ("items", Does::Read | Does::Write | Does::WriteIf) | ("topics", Does::Publish | Does::Subscribe) => {
            true
        }
        ("key", Does::Read | Does::Write | Does::WriteIf) => key == "cow",
        ("prefix", Does::Read | Does::Write | Does::WriteIf) => key.starts_with("pet-"),
        ("topic", Does::Publish | Does::Subscribe) => topic == "room",
        _ => false,
    };
    let permits = match does {
        Does::Read | Does::Subscribe => role.contains('r'),
        Does::Write | Does::Publish => role.contains('w'),
        Does::WriteIf => role == "rw",
        Does::Control => false,
    };
    covers && permits && (caches == "any" || cache == CACHE)
}

#[tokio::test]
async fn token_allows_calls_of_its_scope_and_no_other() {
    let momento = momento().await;
    let superuser = clients(&momento, &v1_key("local"));
    let every_call = allowed_calls(&superuser, CACHE, "cow", "room").await;
    assert!(every_call.len() > 45, "{every_call:?}");
    for (scope, name) in scopes() {
        let clients = clients(&momento, &disposable(&momento, scope).await);
        for (cache, key, topic) in [
            (CACHE, "cow", "room"),
            (CACHE, "pet-dog", "rooms"),
            (CACHE, "cows", "roo"),
            (OTHER_CACHE, "cow", "room"),
        ] {
            let allowed = allowed_calls(&clients, cache, key, topic).await;
            let expected = every_call.iter().filter(|(_, does)| expects(name, *does, cache, key, topic));
            let expected: Vec<_> = expected.copied().collect();
            assert_eq!(allowed, expected, "{name}: {cache} {key} {topic}");
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as requests have it")]
fn explicit(kinds: Vec<PermissionKind>) -> Option<PermissionsMessage> {
    let permission = |kind| PermissionsType { kind: Some(kind) };
    let explicit = ExplicitPermissions { permissions: kinds.into_iter().map(permission).collect() };
    Some(PermissionsMessage { kind: Some(permissions::Kind::Explicit(explicit)) })
}

fn all_data() -> Option<PermissionsMessage> {
    explicit(vec![PermissionKind::CachePermissions(CachePermissions {
        role: CacheRole::CacheReadWrite.into(),
        cache: Some(cache_permissions::Cache::AllCaches(All {})),
        cache_item: None,
    })])
}

#[expect(clippy::unnecessary_wraps, reason = "as requests have it")]
fn superuser() -> Option<PermissionsMessage> {
    let superuser = permissions::Kind::SuperUser(SuperUserPermissions::SuperUser.into());
    Some(PermissionsMessage { kind: Some(superuser) })
}

async fn generate_key(
    client: &Client,
    key: &str,
    permissions: Option<PermissionsMessage>,
    expiry: Option<Expiry>,
) -> Result<GenerateApiTokenResponse, Status> {
    let request =
        GenerateApiTokenRequest { auth_token: key.to_owned(), permissions, expiry, ..Default::default() };
    let mut stub = AuthStub::new(client.channel.clone());
    within(stub.generate_api_token(client.request(request))).await.map(tonic::Response::into_inner)
}

async fn refresh_key(
    client: &Client,
    api_key: &str,
    refresh_token: &str,
) -> Result<momento_protos::auth::RefreshApiTokenResponse, Status> {
    let request =
        RefreshApiTokenRequest { api_key: api_key.to_owned(), refresh_token: refresh_token.to_owned() };
    let mut stub = AuthStub::new(client.channel.clone());
    within(stub.refresh_api_token(client.request(request))).await.map(tonic::Response::into_inner)
}

async fn generate_disposable(
    client: &Client,
    key: &str,
    permissions: Option<PermissionsMessage>,
    valid_for_seconds: u32,
    token_id: &str,
) -> Result<GenerateDisposableTokenResponse, Status> {
    let request = DisposableMessage {
        expires: Some(DisposableExpires { valid_for_seconds }),
        auth_token: key.to_owned(),
        permissions,
        token_id: token_id.to_owned(),
    };
    let mut stub = TokenClient::new(client.channel.clone());
    within(stub.generate_disposable_token(client.request(request))).await.map(tonic::Response::into_inner)
}

fn code<T>(result: Result<T, Status>) -> Option<Code> {
    result.err().map(|status| status.code())
}

#[tokio::test]
async fn issues_keys_that_only_superusers_can_pass_on() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let minute = || Some(Expiry::Expires(Expires { valid_for_seconds: 60 }));
    let unknown = generate_key(&client, "unknown", superuser(), minute()).await;
    assert_eq!(code(unknown), Some(Code::Unauthenticated));

    let issued = generate_key(&client, "local", superuser(), minute()).await.unwrap();
    assert_eq!(issued.endpoint, momento.addr().to_string());
    let key = issued.api_key.as_str();
    assert_eq!(Client::new(&momento).with("authorization", key).publish_code().await, None);
    let another = generate_key(&client, key, superuser(), minute()).await;
    assert_eq!(code(another), Some(Code::PermissionDenied), "a superuser key cannot make another");
    let data = generate_key(&client, key, all_data(), Some(Expiry::Never(Never {}))).await.unwrap();
    assert_eq!(data.valid_until, 0, "the key never expires");
    for permissions in [superuser(), all_data()] {
        let denied = generate_key(&client, &data.api_key, permissions.clone(), minute()).await;
        assert_eq!(code(denied), Some(Code::PermissionDenied));
        let denied = generate_disposable(&client, &data.api_key, permissions, 60, "").await;
        assert!(matches!(code(denied), Some(Code::PermissionDenied)));
    }
    for (permissions, expiry) in [
        (all_data(), None),
        (all_data(), Some(Expiry::Expires(Expires { valid_for_seconds: 0 }))),
        (explicit(vec![]), minute()),
        (None, minute()),
    ] {
        let invalid = generate_key(&client, "local", permissions, expiry).await;
        assert_eq!(code(invalid), Some(Code::InvalidArgument));
    }
}

#[tokio::test]
async fn refreshes_key_only_with_its_own_refresh_token() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let minute = || Some(Expiry::Expires(Expires { valid_for_seconds: 60 }));
    let old = generate_key(&client, "local", all_data(), minute()).await.unwrap();
    let other = generate_key(&client, "local", all_data(), minute()).await.unwrap();
    let new = refresh_key(&client, &old.api_key, &old.refresh_token).await.unwrap();
    assert_ne!(new.api_key, old.api_key);
    assert!(new.valid_until >= old.valid_until);
    let granted = clients(&momento, &v1_key(&new.api_key));
    within(granted.caches.set(CACHE, "key", "value")).await.unwrap();
    refresh_key(&client, &new.api_key, &new.refresh_token).await.unwrap();

    let mixed = refresh_key(&client, &old.api_key, &other.refresh_token).await;
    assert_eq!(code(mixed), Some(Code::InvalidArgument));
    for (key, refresh) in [
        (old.api_key.as_str(), old.api_key.as_str()),
        (old.refresh_token.as_str(), old.refresh_token.as_str()),
        ("local", old.refresh_token.as_str()),
        (old.api_key.as_str(), "local"),
    ] {
        assert_eq!(code(refresh_key(&client, key, refresh).await), Some(Code::Unauthenticated));
    }
    let as_key = Client::new(&momento).with("authorization", &old.refresh_token);
    assert_eq!(as_key.publish_code().await, Some(Code::Unauthenticated), "a refresh token is not a key");
}

#[tokio::test]
async fn rejects_invalid_disposable_tokens() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let day = 25 * 60 * 60;
    generate_disposable(&client, "local", all_data(), day, &"é".repeat(64)).await.unwrap();
    for (permissions, seconds, token_id) in [
        (all_data(), 0, String::new()),
        (all_data(), day + 1, String::new()),
        (all_data(), 60, "x".repeat(65)),
        (superuser(), 60, String::new()),
        (explicit(vec![]), 60, String::new()),
    ] {
        let invalid = generate_disposable(&client, "local", permissions, seconds, &token_id).await;
        assert_eq!(code(invalid), Some(Code::InvalidArgument));
    }
    assert_eq!(
        code(generate_disposable(&client, "", all_data(), 60, "").await),
        Some(Code::Unauthenticated),
        "the server has a key"
    );
}

#[tokio::test]
async fn rejects_forged_token_also_without_configured_key() {
    let other = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let token = generate_disposable(&Client::new(&other), "", all_data(), 60, "mo").await.unwrap().api_key;
    let client = Client::new(&momento).with("authorization", &token);
    assert_eq!(client.publish_code().await, Some(Code::Unauthenticated), "a token of another server");
    assert_eq!(Client::new(&momento).publish_code().await, None, "any other key is accepted");
}

#[tokio::test]
async fn topic_prefix_and_token_id_apply_to_messages() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let languages = explicit(vec![PermissionKind::TopicPermissions(TopicPermissions {
        role: TopicRole::TopicReadWrite.into(),
        cache: Some(topic_permissions::Cache::AllCaches(All {})),
        topic: Some(topic_permissions::Topic::TopicSelector(TopicSelectorMessage {
            kind: Some(topic_selector::Kind::TopicNamePrefix("lang-".to_owned())),
        })),
    })]);
    let token = generate_disposable(&client, "local", languages, 60, r#"{"user":"mo"}"#).await.unwrap();
    let client = client.with("authorization", &token.api_key);
    let mut subscriber = client.subscribe_to(CACHE, "lang-en", (0, 0)).await.unwrap();
    let text = || TopicKind::Text("hello".to_owned());
    client.publish_to(CACHE, "lang-en", text()).await.unwrap();
    assert_eq!(subscriber.item().await.publisher_id, r#"{"user":"mo"}"#);
    for topic in ["lang", "raw", "a lang-en"] {
        assert_eq!(code(client.publish_to(CACHE, topic, text()).await), Some(Code::PermissionDenied));
        assert_eq!(code(client.subscribe_to(CACHE, topic, (0, 0)).await), Some(Code::PermissionDenied));
    }
}

#[tokio::test]
async fn token_and_its_subscription_end_at_expiry() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let everything = Permissions::all_data_read_write();
    let request = GenerateDisposableTokenRequest::new(everything.into(), ExpiresIn::seconds(1))
        .token_id("mo".to_owned());
    let auth = auth(&momento, &v1_key("local"));
    let response = within(auth.send_request(request)).await.unwrap();
    assert!(response.clone().expires_at().epoch() > 0);
    let token = response.auth_token();
    // The token is checked as SDKs send it, and in the form in which they keep it.
    let mut subscriber =
        client.with("authorization", &token).subscribe_to(CACHE, TOPIC, (0, 0)).await.unwrap();
    let ended: Option<Code> = subscriber.end().await.map(|status| status.code());
    assert_eq!(ended, Some(Code::Unauthenticated));
    let expired: MomentoResult<_> = within(clients(&momento, &token).caches.get(CACHE, "key")).await;
    assert_eq!(expired.unwrap_err().error_code, MomentoErrorCode::AuthenticationError);
    assert_eq!(
        code(generate_disposable(&Client::new(&momento), &token, all_data(), 60, "").await),
        Some(Code::Unauthenticated)
    );
}
