//! Destinations in caches, by the real SDK over a real connection.

use momento::CacheClient;
use momento::cache::{DictionaryFetchResponse, ListFetchResponse};
use momento_local::{Fault, Rpc};
use momento_webhook::Event;
use serde_json::{Value, json};
use test_support::signed::{self, RawRequest};
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

/// The rooms of a person are in a set, and each room has a topic.
const ROOMS: &str = r#"
    [[routes]]
    topic = "topic {number}"
    transforms = [{ lookup = { as = "rooms", set = "rooms-{token_id}" } }]
    destinations = [{ topic = "{each}-subscribe", for_each = "{lookup.rooms}", max_topics = 3 }]
"#;

async fn announce(function: &Function, request: &RawRequest) -> (u16, Value) {
    let response = function.send(Transport::Http1, request).await;
    (response.status, response.json())
}

fn announcement(number: u64, token_id: &str) -> RawRequest {
    let event = signed::event(CACHE, INBOUND, number, "I am away");
    let event = Event { token_id: Some(token_id.to_owned()), ..event };
    signed::post(SECRET, event.to_json()).unwrap()
}

#[tokio::test]
async fn publishes_to_each_room_that_a_person_is_in() {
    let function = start(&[("FANOUT_CONFIG", ROOMS)]).await;
    let caches = caches(&function.momento);
    for room in ["a", "b"] {
        caches.set_add_elements(CACHE, "rooms-mo", vec![room]).await.unwrap();
    }
    let (status, response) = announce(&function, &announcement(1, "mo")).await;
    assert_eq!((status, &response["status"]), (200, &json!("success")));
    let [destination] = &response["destinations"].as_array().unwrap()[..] else { panic!("{response}") };
    let of = |topic: &str| json!({"cache": CACHE, "topic": topic, "status": "published", "attempts": 1});
    assert_eq!(destination["topic"], "{each}-subscribe");
    let topics = destination["topics"].as_array().unwrap();
    assert!(
        topics.len() == 2 && topics.contains(&of("a-subscribe")) && topics.contains(&of("b-subscribe")),
        "{response}"
    );
    assert_eq!(
        [function.published("a-subscribe"), function.published("b-subscribe")],
        [["I am away"], ["I am away"]]
    );
    let line = function.log_record(|line| line["outcome"] == "success").await;
    assert_eq!((&line["Published"], &line["Failed"]), (&json!(2), &json!(0)));

    // A person in no room, and one in too many.
    let (status, response) = announce(&function, &announcement(2, "jo")).await;
    assert_eq!((status, &response["status"]), (200, &json!("dropped")), "{response}");
    assert_eq!(response["destinations"][0]["reason"], "the list is empty", "{response}");
    caches.set_add_elements(CACHE, "rooms-al", vec!["a", "b", "c", "d"]).await.unwrap();
    let (status, response) = announce(&function, &announcement(3, "al")).await;
    assert_eq!(status, 422, "{response}");
    assert!(response.to_string().contains("the list {lookup.rooms} has more than 3 entries"), "{response}");
    assert_eq!(function.published("a-subscribe").len(), 1);
}

#[tokio::test]
async fn redelivered_event_reaches_only_rooms_that_lack_it() {
    for dedupe in ["memory", "cache"] {
        let function = start(&[("FANOUT_CONFIG", ROOMS), ("DEDUPE", dedupe)]).await;
        let caches = caches(&function.momento);
        caches.set_add_elements(CACHE, "rooms-mo", vec!["a", "b"]).await.unwrap();
        function
            .momento
            .inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).topic("b-subscribe").times(1));
        let request = announcement(1, "mo");
        let (status, response) = announce(&function, &request).await;
        assert_eq!((status, &response["code"]), (422, &json!("destination_refused")), "{response}");
        caches.set_add_elements(CACHE, "rooms-mo", vec!["new"]).await.unwrap();
        let (status, response) = announce(&function, &request).await;
        assert_eq!(status, 200, "{response}");
        for topic in ["a-subscribe", "b-subscribe", "new-subscribe"] {
            assert_eq!(function.published(topic), ["I am away"], "{topic}, with {dedupe}");
        }
        let (_, response) = announce(&function, &request).await;
        assert_eq!(response, json!({"status": "duplicate"}));
    }
}
