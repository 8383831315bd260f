//! The pages of `fanout dev --example chat`, over HTTP.

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use test_support::process::{Process, TIMEOUT};
use tokio::time::timeout;

use crate::harness::{end_with, fanout, start};

/// A running chat.
struct Chat {
    running: Process,
    url: String,
    client: Client,
}

/// The events of a page.
struct Events {
    response: Response,
    read: String,
}

impl Chat {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        let mut running = start(fanout(&[&["dev", "--example", "chat"], flags].concat()));
        let line = running.next_line("page ").await.unwrap();
        let url = line.split_whitespace().nth(1).unwrap().trim_end_matches("/ann").to_owned();
        for person in ["ann", "luis"] {
            running.next_line(&format!("{person} ")).await.unwrap();
            let refused = running.next_line("Momento refuses").await.unwrap();
            assert!(
                refused.contains("to subscribe to \"friends-publish\" and to publish to \"friends-sub"),
                "{refused}"
            );
        }
        running.next_line("Type a line").await.unwrap();
        Self { running, url, client: Client::new() }
    }

    async fn events(&self, person: &str) -> Events {
        let response = self.client.get(format!("{}/{person}/events", self.url)).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, read: String::new() }
    }

    async fn post(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.url)).body(body.to_owned());
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

impl Events {
    /// Returns the data of the next event with this name. Skips others, and comments.
    async fn next(&mut self, name: &str) -> Value {
        loop {
            while let Some(end) = self.read.find("\n\n") {
                let event: String = self.read.drain(..end + 2).collect();
                let data =
                    event.trim_end().strip_prefix(&format!("event: {name}\ndata: ")).map(str::to_owned);
                if let Some(data) = data {
                    return serde_json::from_str(&data).unwrap();
                }
            }
            let chunk = timeout(TIMEOUT, self.response.chunk()).await.expect("an event in time");
            self.read.push_str(std::str::from_utf8(&chunk.unwrap().expect("the stream goes on")).unwrap());
        }
    }

    /// Returns the next message.
    async fn message(&mut self) -> Value {
        let message = self.next("message").await;
        serde_json::from_str(message["text"].as_str().unwrap()).unwrap()
    }

    /// Returns true if the stream has ended.
    async fn ended(&mut self) -> bool {
        loop {
            match timeout(TIMEOUT, self.response.chunk()).await.expect("an end in time") {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return true,
            }
        }
    }
}

#[tokio::test]
async fn people_chat_with_names_from_their_tokens() {
    let mut chat = Chat::start().await;
    let (mut ann, mut luis) = (chat.events("ann").await, chat.events("luis").await);
    let hello =
        json!({"person": "luis", "publish": "friends-publish", "subscribe": "friends-subscribe-spanish"});
    assert_eq!(luis.next("hello").await, hello);
    for events in [&mut ann, &mut luis] {
        assert_eq!(events.next("history").await, json!({"messages": []}));
    }

    let (status, body) = chat.post("/ann/publish", "{\"from\": \"luis\"} shit").await;
    assert_eq!((status, &body["token_id"]), (StatusCode::OK, &json!("ann")), "{body}");
    let (english, spanish) = (ann.message().await, luis.message().await);
    assert_eq!((&english["from"], &english["text"]), (&json!("ann"), &json!("{\"from\": \"luis\"} ****")));
    assert_eq!((&spanish["from"], &spanish["id"]), (&json!("ann"), &english["id"]));
    assert!(spanish["text"].as_str().unwrap().starts_with("⟦es⟧"), "{spanish}");

    // Typed without a token.
    chat.running.type_line("Hello").await.unwrap();
    assert_eq!(ann.message().await["from"], "guest");
    chat.running.next_line("webhook").await.unwrap();
    let mut late = chat.events("ann").await;
    let history = late.next("history").await;
    let messages = history["messages"].as_array().unwrap();
    let messages: Vec<Value> =
        messages.iter().map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap()).collect();
    assert_eq!((messages.len(), &messages[0]), (2, &english), "{history}");

    // The end of the command ends the streams.
    chat.running.signal("TERM").await.unwrap();
    for mut events in [ann, luis, late] {
        assert!(events.ended().await);
    }
    assert_eq!(chat.running.ended().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn pages_refuse_what_is_not_theirs() {
    let chat = Chat::start().await;
    let (status, body) = chat.post("/luis/attempts", "").await;
    let attempts = json!([
        {"call": "subscribe to \"friends-publish\"", "refusal": "permission denied"},
        {"call": "publish to \"friends-subscribe-spanish\"", "refusal": "permission denied"},
    ]);
    assert_eq!((status, &body["attempts"]), (StatusCode::OK, &attempts));
    let (status, body) = chat.post("/ann/publish", &"x".repeat(5_000)).await;
    assert_eq!((status, &body["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("text_too_large")));
    for (path, status) in [
        ("/mallory/publish", StatusCode::NOT_FOUND),
        ("/ann/publish/friends-subscribe-english", StatusCode::NOT_FOUND),
        ("/ann/token", StatusCode::NOT_FOUND),
        ("/ann/events", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(chat.post(path, "hi").await.0, status, "{path}");
    }
    for (header, value) in
        [("host", "evil.example"), ("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")]
    {
        for request in [
            chat.client.post(format!("{}/ann/publish", chat.url)).body("hi"),
            chat.client.get(format!("{}/ann/events", chat.url)),
        ] {
            let response = request.header(header, value).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{header}");
        }
    }
    let page = chat.client.get(format!("{}/ann", chat.url)).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(page.text().await.unwrap().contains("/page.js"));
}

#[tokio::test]
async fn name_of_typed_lines_is_not_that_of_people() {
    let mut chat = Chat::start_with(&["--token-id", "mo"]).await;
    let mut ann = chat.events("ann").await;
    ann.next("history").await;
    chat.running.type_line("typed").await.unwrap();
    let typed = ann.message().await;
    assert_eq!((&typed["from"], &typed["text"]), (&json!("mo"), &json!("typed")));
    chat.post("/luis/publish", "written").await;
    let written = ann.message().await;
    assert_eq!((&written["from"], &written["text"]), (&json!("luis"), &json!("written")));
}

#[tokio::test]
async fn has_no_pages_in_another_cache() {
    let args = ["dev", "--example", "chat", "--cache", "other"];
    let ended = end_with(fanout(&args), b"hi\n").await.assert_code(0);
    assert!(!ended.out.contains("page "), "{ended:#?}");
    assert!(ended.err.contains("there are no pages: they are for the cache \"chat\""), "{ended:#?}");
}

#[tokio::test]
async fn rejects_port_of_pages_without_pages() {
    let example = ["dev", "--example", "chat", "--page-port", "0"];
    for (flags, says) in [
        (&["dev", "--page-port", "0"][..], "--example"),
        (&[&example[..], &["--quiet"]].concat(), "cannot be used with '--quiet'"),
        (&[&example[..], &["--json"]].concat(), "cannot be used with '--json'"),
        (&[&example[..], &["--send", "hi"]].concat(), "cannot be used with '--send <TEXT>'"),
    ] {
        end_with(fanout(flags), b"").await.assert_code(2).assert_err(says);
    }
}
