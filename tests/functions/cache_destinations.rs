//! Destinations in caches, by the real SDK over a real connection.

use momento::CacheClient;
use momento::cache::{DictionaryFetchResponse, ListFetchResponse};
use momento_local::{Fault, Rpc};
use momento_webhook::Event;
use serde_json::{Value, json};
use test_support::signed;
use tonic::Code;

use crate::support::{CACHE, Function, INBOUND, SECRET, Transport, caches};

const FILE: &str = r#"
[[routes]]
topic = "topic {number}"
require_token_id = true
destinations = [
    "out",
    { list = { key = "comments-{json.course}", value = "{token_id}: {json.comment}", max_length = 2 }, transforms = [] },
    { dictionary = { key = "comments", field = "{token_id}", increment = 1 } },
]
"#;

async fn start(with: &[(&str, &str)]) -> Function {
    let with = [&[("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", FILE)][..], with].concat();
    Function::http(&with).await
}

/// Sends a comment in the course 7, and returns the status and the destinations of the response.
async fn comment(function: &Function, number: u64, token_id: Option<&str>, text: &str) -> (u16, Value) {
    let text = json!({"course": 7, "comment": text}).to_string();
    let event = signed::event(CACHE, INBOUND, number, &text);
    let event = Event { token_id: token_id.map(str::to_owned), ..event };
    let response = function.send(Transport::Http1, &signed::post(SECRET, event.to_json()).unwrap()).await;
    (response.status, response.json()["destinations"].clone())
}

async fn comments(caches: &CacheClient) -> Vec<String> {
    match caches.list_fetch(CACHE, "comments-7").await.unwrap() {
        ListFetchResponse::Hit { values } => values.try_into().unwrap(),
        ListFetchResponse::Miss => Vec::new(),
    }
}

async fn count(caches: &CacheClient, token_id: &str) -> Option<String> {
    let fields: std::collections::HashMap<String, String> =
        match caches.dictionary_fetch(CACHE, "comments").await.unwrap() {
            DictionaryFetchResponse::Hit { value } => value.try_into().unwrap(),
            DictionaryFetchResponse::Miss => return None,
        };
    fields.get(token_id).cloned()
}

#[tokio::test]
async fn stores_comments_by_token_id_and_drops_those_without() {
    let function = start(&[]).await;
    let caches = caches(&function.momento);
    let (status, destinations) = comment(&function, 1, Some("mo"), "one").await;
    assert_eq!(status, 200);
    let accepted = json!({"kind": "list", "name": "comments-7", "status": "published", "attempts": 1});
    assert_eq!(destinations[1], accepted);
    comment(&function, 2, Some("jo"), "two").await;
    comment(&function, 3, Some("mo"), "three").await;
    assert_eq!(comments(&caches).await, ["jo: two", "mo: three"]);
    assert_eq!(count(&caches, "mo").await.as_deref(), Some("2"));
    assert_eq!(function.published("out").len(), 3);

    let (status, destinations) = comment(&function, 4, None, "four").await;
    assert_eq!(status, 200);
    for destination in destinations.as_array().unwrap() {
        assert_eq!(destination["status"], "dropped");
        assert_eq!(destination["transform"], "require_token_id");
    }
    assert_eq!(comments(&caches).await.len(), 2);
}

#[tokio::test]
async fn redelivered_event_changes_nothing_with_dedupe() {
    let function = start(&[("DEDUPE", "cache")]).await;
    let caches = caches(&function.momento);
    let fault = Fault::error(Code::PermissionDenied).on(Rpc::DictionaryIncrement).times(1);
    function.momento.inject(fault);
    let text = json!({"course": 7, "comment": "one"}).to_string();
    let event = signed::event(CACHE, INBOUND, 1, &text);
    let event = Event { token_id: Some("mo".to_owned()), ..event };
    let request = signed::post(SECRET, event.to_json()).unwrap();
    let statuses = async || {
        let response = function.send(Transport::Http1, &request).await.json();
        let destinations = response["destinations"].as_array().cloned().unwrap_or_default();
        destinations.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(statuses().await, ["published", "published", "refused"]);
    assert_eq!(statuses().await, ["already_published", "already_published", "published"]);
    assert_eq!(statuses().await.len(), 0, "a duplicate");
    assert_eq!(comments(&caches).await, ["mo: one"]);
    assert_eq!(count(&caches, "mo").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn looks_up_publisher_before_it_publishes() {
    const LOOKUP: &str = r#"
        [[routes]]
        topic = "topic {number}"
        require_token_id = true
        transforms = [
            { lookup = { as = "banned", item = "banned-{token_id}", default = "no" } },
            { filter = { value = "{lookup.banned}", equals = "no" } },
            { lookup = { as = "name", dictionary = "names", field = "{token_id}", default = "guest" } },
            { template = { text = "{lookup.name}: {text}" } },
        ]
        destinations = ["out", { set = { key = "speakers", element = "{lookup.name}" } }]
    "#;
    let function = start(&[("FANOUT_CONFIG", LOOKUP)]).await;
    let caches = caches(&function.momento);
    caches.dictionary_set_field(CACHE, "names", "mo", "Mo").await.unwrap();
    caches.set(CACHE, "banned-jo", "yes").await.unwrap();
    let say = async |number, token_id: &str| {
        let event = signed::event(CACHE, INBOUND, number, "hello");
        let event = Event { token_id: Some(token_id.to_owned()), ..event };
        let response = function.send(Transport::Http1, &signed::post(SECRET, event.to_json()).unwrap()).await;
        response.json()["destinations"][0]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(say(1, "mo").await, "published");
    assert_eq!(say(2, "jo").await, "dropped");
    assert_eq!(say(3, "new").await, "published");
    assert_eq!(function.published("out"), ["Mo: hello", "guest: hello"]);
    // An error is not a miss: a person who may be banned is not heard.
    function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Get));
    assert_eq!(say(4, "mo").await, "refused");
    assert_eq!(function.published("out").len(), 2);
}
