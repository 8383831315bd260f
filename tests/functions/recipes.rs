//! The recipes of the documentation, each with its file.

use std::collections::HashMap;

use momento::CacheClient;
use momento::cache::{DictionaryFetchResponse, ListFetchResponse, SetFetchResponse};
use momento_webhook::Event;
use serde_json::{Value, json};
use test_support::http_client::HttpClient;
use test_support::process::Process;
use test_support::signed::{self, RawRequest};

use crate::support::{CACHE, Function, SECRET, Transport, caches, listening};
use crate::token::{Provider, environment, person};

const DOCUMENT: &str = include_str!("../../docs/RECIPES.md");

/// A running function with the file of a recipe.
struct Recipe {
    function: Function,
    caches: CacheClient,
    number: u64,
}

impl Recipe {
    async fn start(file: &str) -> Self {
        assert_shown(file);
        let with = [("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", file)];
        let function = Function::http(&with).await;
        let caches = caches(&function.momento);
        Self { function, caches, number: 0 }
    }

    /// Publishes a text with a token, and returns the statuses of the destinations.
    async fn say(&mut self, topic: &str, token_id: Option<&str>, text: &str) -> Vec<String> {
        self.number += 1;
        let event = signed::event(CACHE, topic, self.number, text);
        let event = Event { token_id: token_id.map(str::to_owned), ..event };
        let request = signed::post(SECRET, event.to_json()).unwrap();
        let response = self.function.send(Transport::Http1, &request).await.json();
        let destinations = response["destinations"].as_array().unwrap();
        destinations.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
    }

    async fn list(&self, key: &str) -> Vec<Value> {
        let ListFetchResponse::Hit { values } = self.caches.list_fetch(CACHE, key).await.unwrap() else {
            return Vec::new();
        };
        let values: Vec<String> = values.try_into().unwrap();
        values.iter().map(|value| serde_json::from_str(value).unwrap()).collect()
    }

    async fn dictionary(&self, key: &str) -> HashMap<String, String> {
        match self.caches.dictionary_fetch(CACHE, key).await.unwrap() {
            DictionaryFetchResponse::Hit { value } => value.try_into().unwrap(),
            DictionaryFetchResponse::Miss => HashMap::new(),
        }
    }
}

fn assert_shown(file: &str) {
    assert!(DOCUMENT.contains(&format!("```toml\n{file}```")), "docs/RECIPES.md shows another file");
}

fn fields(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn uppercase_publishes_to_second_topic() {
    let mut recipe = Recipe::start(include_str!("../../examples/recipes/uppercase.toml")).await;
    recipe.say("topic 1", None, "Hello").await;
    assert_eq!(recipe.function.published("topic 2"), ["HELLO"]);
}

#[tokio::test]
async fn comments_are_stored_under_token_id() {
    let mut recipe = Recipe::start(include_str!("../../examples/recipes/comments.toml")).await;
    // The text claims to be of another person.
    let text = r#"{"courseId": 7, "comment": "Hi", "by": "jo", "token_id": "jo"}"#;
    assert_eq!(recipe.say("comments", Some("mo"), text).await, ["published"; 3]);
    assert_eq!(recipe.say("comments", None, text).await, ["dropped"; 3]);
    let stored = json!({"by": "mo", "comment": "Hi"});
    assert_eq!(recipe.function.published("course-7"), [stored.to_string()]);
    assert_eq!(recipe.list("comments-7").await, [stored]);
    assert_eq!(recipe.dictionary("comments").await, fields(&[("mo", "1")]));
}

#[tokio::test]
async fn history_has_moderated_messages_and_people() {
    let mut recipe = Recipe::start(include_str!("../../examples/recipes/history.toml")).await;
    recipe.say("friends-publish", Some("mo"), " Hello ").await;
    recipe.say("friends-publish", Some("jo"), "you fucking idiot").await;
    recipe.say("friends-publish", None, "Hello").await;
    let history = recipe.list("history-friends").await;
    assert_eq!(history[0], json!({"by": "mo", "text": "Hello"}));
    assert!(!format!("{history:?}").contains("fucking"), "{history:?}");
    assert_eq!(recipe.function.published("friends-subscribe").len(), history.len());
    let people = recipe.caches.set_fetch(CACHE, "people-friends").await.unwrap();
    let SetFetchResponse::Hit { values } = people else { panic!("a set") };
    assert!(TryInto::<Vec<String>>::try_into(values).unwrap().contains(&"mo".to_owned()));
}

#[tokio::test]
async fn poll_counts_last_vote_of_each_person() {
    let mut recipe = Recipe::start(include_str!("../../examples/recipes/poll.toml")).await;
    for (person, text) in [("mo", "Yes"), ("jo", " no"), ("mo", "no"), ("jo", "maybe")] {
        recipe.say("lunch-vote", Some(person), text).await;
    }
    assert_eq!(recipe.dictionary("votes-lunch").await, fields(&[("mo", "no"), ("jo", "no")]));
    assert_eq!(recipe.function.published("lunch-votes"), ["yes", "no", "no"]);
}

#[tokio::test]
async fn announcement_reaches_every_room_of_its_author() {
    let mut recipe = Recipe::start(include_str!("../../examples/recipes/rooms.toml")).await;
    recipe.caches.set_add_elements(CACHE, "rooms-mo", vec!["friends", "work"]).await.unwrap();
    recipe.caches.set_add_elements(CACHE, "rooms-jo", vec!["secret"]).await.unwrap();
    let text = r#"{"rooms":["secret"],"token_id":"jo"}"#;
    assert_eq!(recipe.say("announce", Some("mo"), text).await, ["published"]);
    for room in ["friends", "work"] {
        let said = json!({"by": "mo", "text": text}).to_string();
        assert_eq!(recipe.function.published(&format!("{room}-subscribe")), [said]);
    }
    assert_eq!(recipe.function.published("secret-subscribe"), [""; 0]);
    assert_eq!(recipe.say("announce", Some("al"), "Hello").await, ["dropped"]);
}

#[tokio::test]
async fn publish_service_moderates_and_has_history() {
    let routes = include_str!("../../examples/recipes/publish.toml");
    let tokens = include_str!("../../examples/recipes/publish-tokens.toml");
    let mut recipe = Recipe::start(routes).await;
    assert_shown(tokens);
    let provider = Provider::start().await;
    let tokens = tokens.replace("https://login.example.com/.well-known/jwks.json", &provider.url);
    let mut environment = environment(&recipe.function.momento, &tokens);
    environment.push(("FANOUT_CONFIG".to_owned(), routes.to_owned()));
    let process = Process::start(env!("CARGO_BIN_EXE_publish").as_ref(), environment).unwrap();
    let port = listening(&process).await;
    let authorization = format!("Bearer {}", provider.good_rs(&person())).into_bytes();
    let ask = async |method: &str, path: &'static str, text: &'static str| {
        let headers = vec![("authorization".to_owned(), authorization.clone())];
        let request =
            RawRequest { method: method.to_owned(), path: Some(path), headers, body: text.as_bytes().into() };
        let response = HttpClient::http1().send(([127, 0, 0, 1], port).into(), &request).await.unwrap();
        (response.status, serde_json::from_str::<Value>(&response.body).unwrap())
    };

    let (status, body) = ask("POST", "/publish/friends-publish", " Hello ").await;
    assert_eq!((status, &body["text"]), (200, &json!("Hello")), "{body}");
    let (status, body) = ask("POST", "/publish/friends-publish", "you fucking idiot").await;
    assert_eq!((status, &body["code"]), (422, &json!("rejected")), "{body}");
    let published = recipe.function.momento.published(CACHE, "friends-publish");
    let published: Vec<_> =
        published.iter().map(|one| (one.publisher_id.as_str(), one.text().unwrap())).collect();
    assert_eq!(published, [("ann", "Hello")]);

    // What a relay delivers.
    recipe.say("friends-publish", Some(published[0].0), published[0].1).await;
    let message = json!({"by": "ann", "text": "Hello"}).to_string();
    assert_eq!(recipe.function.published("friends-subscribe"), std::slice::from_ref(&message));
    let (status, body) = ask("GET", "/history/friends-subscribe", "").await;
    assert_eq!((status, &body["messages"]), (200, &json!([message])), "{body}");
}
