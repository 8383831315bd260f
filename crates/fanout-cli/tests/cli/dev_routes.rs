//! `fanout dev` with routes from a file.

use serde_json::{Value, json};
use test_support::aws_server::AwsServer;
use test_support::translate_server::TranslateServer;

use crate::harness::{Ended, File, end, end_with, fanout};
use crate::stub::{Stub, response};

/// Returns the id, cache, topic and text of each arrival, sorted.
fn arrivals(ended: &Ended) -> Vec<(u64, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let arrival = |line: &Value| {
        let id = line["id"].as_u64().expect("an id");
        (id, text(&line["cache"]), text(&line["topic"]), text(&line["text"]))
    };
    let mut arrivals: Vec<_> = ended.events("arrived").iter().map(arrival).collect();
    arrivals.sort();
    arrivals
}

/// Returns the arrivals of the chat, with the text of each message. Its author has no token.
fn messages(ended: &Ended) -> Vec<(u64, String, String, String)> {
    let text = |text: &str| {
        let message: Value = serde_json::from_str(text).unwrap();
        assert_eq!(message["from"], "guest");
        message["text"].as_str().unwrap().to_owned()
    };
    arrivals(ended)
        .into_iter()
        .map(|(id, cache, topic, message)| (id, cache, topic, text(&message)))
        .collect()
}

fn arrival(id: u64, cache: &str, topic: &str, text: &str) -> (u64, String, String, String) {
    (id, cache.to_owned(), topic.to_owned(), text.to_owned())
}

#[tokio::test]
async fn chat_example_arrives_in_three_languages() {
    let args = ["dev", "--example", "chat", "--json", "--send", "Hello, friends!", "--send", "shit"];
    let ended = end(fanout(&args)).await.assert_code(0);
    let languages = ["english", "japanese", "spanish"].map(|name| format!("friends-subscribe-{name}"));
    let texts = ["Hello, friends!", "⟦ja⟧ Ĥéļļö, ƒŕîéñðš!", "⟦es⟧ Ĥéļļö, ƒŕîéñðš!"];
    let translated = languages.iter().zip(&texts).map(|(topic, text)| arrival(1, "chat", topic, text));
    // The moderated text has nothing to translate.
    let masked = languages.iter().map(|topic| arrival(2, "chat", topic, "****"));
    assert_eq!(messages(&ended), translated.chain(masked).collect::<Vec<_>>());
    let ready = &ended.events("ready")[0];
    assert_eq!(
        (&ready["translations"], &ready["inbound"]),
        (&json!("pseudolocalize"), &json!("friends-publish"))
    );
    let destinations = ready["routes"][0]["destinations"].as_array().unwrap();
    let spanish =
        destinations.iter().position(|destination| destination["topic"] == "friends-subscribe-spanish");
    let [spanish, history] = &destinations[spanish.unwrap()..][..2] else { panic!("{ready}") };
    assert_eq!(spanish["transforms"][1], r#"translate {"target":"es"}"#);
    // The same chain, so that a text is translated once for both.
    assert_eq!(history["cache_destination"], "list history-{room}-spanish");
    assert_eq!(history["transforms"], spanish["transforms"]);
    assert_eq!(ended.err, "");
}

#[tokio::test]
async fn documented_examples_run() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    let example =
        ["--config", "examples/chat/fanout.toml", "--inbound", "cooking-publish", "--token-id", "mo"];
    for (more, arrive) in [(&["--config", "fanout.toml"][..], 1), (&example, 3)] {
        let mut command = fanout(&[&["dev", "--json", "--send", "Hello"], more].concat());
        command.current_dir(root);
        let ended = end(command).await.assert_code(0);
        assert_eq!(arrivals(&ended).len(), arrive, "{more:?}");
    }
}

#[tokio::test]
async fn publishes_with_given_token_id() {
    let routes = "[[routes]]\ntopic = 'in'\ntransforms = [{ filter = { token_id = 'mo' } }]\ndestinations = ['for-{token_id}']";
    let file = File::new("token.toml", routes);
    let args = ["dev", "--config", file.path(), "--token-id", "mo", "--json", "--send", "Hello"];
    let ended = end(fanout(&args)).await.assert_code(0);
    assert_eq!(arrivals(&ended), [arrival(1, "demo", "for-mo", "Hello")]);
}

#[tokio::test]
async fn translates_with_amazon_if_asked() {
    let amazon = TranslateServer::start().await.unwrap();
    let mut command = fanout(&["dev", "--example", "chat", "--aws", "--json", "--send", "Hello"]);
    command.envs(amazon.environment());
    let ended = end(command).await.assert_code(0);
    let expected = [("english", "[en] Hello"), ("japanese", "[ja] Hello"), ("spanish", "[es] Hello")];
    let expected =
        expected.map(|(name, text)| arrival(1, "chat", &format!("friends-subscribe-{name}"), text));
    assert_eq!(messages(&ended), expected);
    assert_eq!(ended.events("ready")[0]["translations"], "aws");
}

#[tokio::test]
async fn prints_translator_and_routes_for_people() {
    let ended = end_with(fanout(&["dev", "--example", "chat"]), "hi\n".as_bytes()).await.assert_code(0);
    for part in [
        "(in this process, routes: examples/chat/fanout.toml)\n",
        "          translations: `pseudolocalize`, which takes all Latin letters for English; --aws uses Amazon Translate\n",
        "route     \"friends-publish\", in the cache \"chat\"\n",
        "          -> \"friends-subscribe-japanese\"  (moderate, translate {\"target\":\"ja\"}, template ",
        "\\\"text\\\":\\\"⟦es⟧ ĥî\\\"}\"  on \"friends-subscribe-spanish\"  after ",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
    let room = ["dev", "--example", "chat", "--inbound", "work-publish", "--send", "hi", "-q"];
    let ended = end(fanout(&room)).await.assert_code(0);
    assert!(ended.out.contains("on \"work-subscribe-english\""), "{ended:#?}");
    let help = end(fanout(&["dev", "--help"])).await.assert_code(0);
    assert!(help.out.contains("- chat: "), "{help:#?}");
}

/// A text of a room is trimmed, archived in another cache, and published again in capitals.
const CHAINED: &str = r#"
[[routes]]
topic = "{room}-publish"
transforms = ["trim"]
destinations = ["{room}-clean", { cache = "archive", topic = "{room}" }]

[[routes]]
topic = "{room}-clean"
transforms = ["uppercase"]
destinations = ["{room}-loud", "{room}-louder"]
"#;

#[tokio::test]
async fn delivers_outbound_topic_that_a_route_matches() {
    let file = File::new("chained.toml", CHAINED);
    let flags = ["dev", "--config", file.path(), "--inbound", "a-publish"];
    let ended = end(fanout(&[&flags[..], &["--json", "--send", " one", "--send", "two "]].concat())).await;
    let ended = ended.assert_code(0);
    let expected = [(1, "one", "ONE"), (2, "two", "TWO")].map(|(id, text, loud)| {
        [
            arrival(id, "archive", "a", text),
            arrival(id, "demo", "a-clean", text),
            arrival(id, "demo", "a-loud", loud),
            arrival(id, "demo", "a-louder", loud),
        ]
    });
    assert_eq!(arrivals(&ended), expected.concat());
    let delivered = ended.events("delivered");
    let topics: Vec<_> = delivered.iter().map(|line| (&line["id"], &line["topic"])).collect();
    let (one, two, publish, clean) = (json!(1), json!(2), json!("a-publish"), json!("a-clean"));
    assert_eq!(topics, [(&one, &publish), (&one, &clean), (&two, &publish), (&two, &clean)]);

    let ended = end(fanout(&[&flags[..], &["--send", "x"]].concat())).await.assert_code(0);
    for part in [
        "route     \"a-publish\", in the cache \"demo\"\n",
        "          -> \"a\" in the cache \"archive\"  (trim)\n",
        "route     \"a-clean\"\n          -> \"a-loud\"  (uppercase)\n",
        "arrived   \"x\"  on \"a\" in the cache \"archive\"  after ",
        "  for \"a-clean\"\n",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
}

/// A long text reaches one topic only.
const DROPPING: &str = r#"
[[routes]]
topic = "in"
destinations = [
    { topic = "short", transforms = [{ filter = { matches = "^.{0,5}$" } }, { translate = { target = "es" } }] },
    { topic = "all" },
]

[[routes]]
topic = "all"
destinations = [
    { topic = "short too", transforms = [{ translate = { target = "ja", max_bytes = 5, on_failure = "drop" } }] },
]
"#;

#[tokio::test]
async fn reports_drop_and_does_not_wait() {
    let file = File::new("dropping.toml", DROPPING);
    let flags = ["dev", "--config", file.path(), "--timeout", "10m"];
    let texts = ["--json", "--send", "too long", "--send", "brief"];
    let ended = end(fanout(&[&flags[..], &texts].concat())).await.assert_code(0);
    let expected = [
        arrival(1, "demo", "all", "too long"),
        arrival(2, "demo", "all", "brief"),
        arrival(2, "demo", "short", "⟦es⟧ ƀŕîéƒ"),
        arrival(2, "demo", "short too", "⟦ja⟧ ƀŕîéƒ"),
    ];
    assert_eq!(arrivals(&ended), expected);
    let dropped = ended.events("dropped");
    let topics: Vec<_> = dropped.iter().map(|line| (&line["id"], line["topic"].as_str().unwrap())).collect();
    let one = json!(1);
    assert_eq!(topics, [(&one, "short"), (&one, "short too")]);

    for piped in [false, true] {
        let ended = if piped {
            end_with(fanout(&flags), b"too long\n").await
        } else {
            end(fanout(&[&flags[..], &["-q", "--send", "too long"]].concat())).await
        };
        let ended = ended.assert_code(0);
        for line in [
            "dropped   \"too long\"  for \"short\": filter: the text does not match the pattern\n",
            "dropped   \"too long\"  for \"short too\": translate: failed: the text has more than 5 bytes, the limit \
             for a translation\n",
        ] {
            assert!(ended.out.contains(line), "{line} in {ended:#?}");
        }
        assert_eq!(ended.err, "");
    }
}

#[tokio::test]
async fn notes_topic_that_depends_on_message() {
    let routes = "[[routes]]\ntopic = 'in'\n\
                  destinations = ['out', 'for-{token_id}', 'number-{topic_sequence_number}']";
    let file = File::new("unknown.toml", routes);
    let ended = end(fanout(&["dev", "--config", file.path(), "--send", "x"])).await.assert_code(1);
    for part in [
        "note      \"for-{token_id}\" cannot be subscribed to in advance: ",
        "note      \"number-{topic_sequence_number}\" cannot be subscribed to in advance: ",
        // The function refuses an event without a token id.
        "failed    \"x\": the function responded 422 Unprocessable Entity: \"for-{token_id}\" refused: ",
    ] {
        assert!(ended.err.contains(part), "{part} in {ended:#?}");
    }
    for part in
        ["arrived   \"x\"  on \"out\"  after ", "published to \"number-1\", which is not subscribed to"]
    {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
}

#[tokio::test]
async fn reports_all_errors_of_file_before_start() {
    let routes = "[[routes]]\ntopic = 'in'\ntransforms = ['shout']\ndestinations = ['a', '']";
    let file = File::new("faulty.toml", routes);
    let ended = end(fanout(&["dev", "--config", file.path(), "--send", "x"])).await.assert_code(2);
    let lines: Vec<_> = ended.err.lines().filter(|line| line.starts_with(file.path())).collect();
    let [first, second] = &lines[..] else { panic!("two lines in {ended:#?}") };
    assert!(first.contains(".toml:3:15: unknown transform \"shout\""), "{first}");
    assert!(second.contains(".toml:4:22: the topic is empty"), "{second}");
    assert_eq!(ended.out, "");
}

#[tokio::test]
async fn rejects_contradicting_flags_and_files() {
    let file = File::new("flags.toml", CHAINED);
    for (flags, says) in [
        (&["--config", file.path()][..], "as in --inbound room-publish"),
        (
            &["--config", file.path(), "--inbound", "b"],
            "no route matches the topic \"b\" in the cache \"demo\"",
        ),
        (&["--config", file.path(), "--outbound", "b"], "cannot be used with"),
        (&["--example", "chat", "--transform", "trim"], "cannot be used with"),
        (&["--example", "chat", "--config", file.path()], "cannot be used with"),
        (&["--example", "chess"], "possible values: chat"),
    ] {
        let ended = end(fanout(&[&["dev"], flags].concat())).await.assert_code(2).assert_err(says);
        assert_eq!(ended.out, "", "{flags:?}");
    }
    end(fanout(&["dev", "--config", "no/such/file"])).await.assert_code(1).assert_one_error("no/such/file");
}

#[tokio::test]
async fn prints_file_for_external_function() {
    let file = File::new("elsewhere.toml", CHAINED);
    let stub = Stub::start(|_, request| {
        let body = request.json();
        assert_eq!(body["topic"], "a-publish");
        response(200, r#"{"status":"dropped","reason":"why not"}"#)
    })
    .await;
    let flags = ["dev", "--json", "--config", file.path(), "--inbound", "a-publish"];
    let ended = end(fanout(&[&flags[..], &["--function-url", &stub.url, "--send", "x"]].concat())).await;
    let ended = ended.assert_code(0);
    assert_eq!(ended.events("dropped").len(), 2);
    let environment = &ended.events("ready")[0]["environment"];
    assert_eq!(environment[3], format!("export FANOUT_CONFIG={}", file.path()));
    assert_eq!(environment.as_array().unwrap().len(), 4);
}

const AWS_DESTINATIONS: &str = r#"
[[routes]]
topic = "in"
destinations = [
    "out",
    { sqs = { queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders" }, extra_transforms = ["uppercase"] },
    { eventbridge = {}, extra_transforms = [{ filter = { contains = "order" } }] },
]
"#;

#[tokio::test]
async fn shows_aws_request_and_sends_it_only_with_aws() {
    let file = File::new("aws_destinations.toml", AWS_DESTINATIONS);
    let aws = AwsServer::start().await.unwrap();
    let flags = ["dev", "--config", file.path(), "--json", "--send", "Hello"];
    let request =
        json!({"queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "body": "HELLO"});
    for (is_sent, more) in [(false, &[][..]), (true, &["--aws"])] {
        let mut command = fanout(&[&flags[..], more].concat());
        command.envs(aws.environment());
        let ended = end(command).await.assert_code(0);
        let requests = ended.events("aws_request");
        assert_eq!(requests.len(), 1, "{ended:#?}");
        assert_eq!((&requests[0]["sent"], &requests[0]["request"]), (&json!(is_sent), &request));
        assert_eq!(requests[0]["name"], "orders");
        let dropped = &ended.events("dropped")[0];
        assert_eq!((&dropped["kind"], &dropped["name"]), (&json!("eventbridge"), &json!("default")));
        assert_eq!(arrivals(&ended), [arrival(1, "demo", "out", "Hello")]);
        assert_eq!(aws.requests().len(), usize::from(is_sent));
    }
}

#[tokio::test]
async fn prints_aws_requests_that_are_not_sent() {
    let file = File::new("not-sent.toml", AWS_DESTINATIONS);
    let ended = end(fanout(&["dev", "--config", file.path(), "--send", "an order"])).await.assert_code(0);
    for part in [
        "          requests to AWS destinations are shown and not sent; --aws sends them\n",
        "          -> sqs orders  (uppercase)\n",
        "not sent  to sqs orders: {\"queue\":\"https://sqs.eu-west-1.amazonaws.com/123456789012/orders\",\"body\":\"AN ORDER\"}\n",
        "not sent  to eventbridge default: {\"bus\":\"default\",\"source\":\"Momento\",",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
    assert_eq!(ended.err, "");
}
