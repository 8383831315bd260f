//! The recipes of the documentation, each with its file.

use std::collections::HashMap;

use momento::CacheClient;
use momento::cache::{DictionaryFetchResponse, ListFetchResponse, SetFetchResponse};
use momento_webhook::Event;
use serde_json::{Value, json};
use test_support::signed;

use crate::support::{CACHE, Function, SECRET, Transport, caches};

const DOCUMENT: &str = include_str!("../../docs/RECIPES.md");

/// A running function with the file of a recipe.
struct Recipe {
    function: Function,
    caches: CacheClient,
    number: u64,
}

impl Recipe {
    async fn start(file: &str) -> Self {
        assert!(DOCUMENT.contains(&format!("```toml\n{file}```")), "docs/RECIPES.md shows another file");
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
