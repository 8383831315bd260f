//! `fanout check`.

use serde_json::{Value, json};

use crate::harness::{Ended, File, end, end_with, fanout};

const CHAT: &str = r#"
[[routes]]
cache = "chat"
topic = "{any_topic}"
destinations = [{ topic = "audit", cache = "log" }]

[[routes]]
cache = "chat"
topic = "{room}-publish"
transforms = ["trim"]

[[routes.destinations]]
topic = "{room}-loud"
cache = "out"
extra_transforms = ["uppercase"]

[[routes.destinations]]
topic = "{room}-spanish"
cache = "out"
extra_transforms = [{ translate = { target = "es" } }]

[[routes.destinations]]
topic = "for-{token_id}"
cache = "out"

[[routes]]
cache = "log"
topic = "audit"
destinations = ["seen"]
"#;

/// Checks routes from standard input.
async fn check(routes: &str, more: &[&str]) -> Ended {
    end_with(fanout(&[&["check", "-"], more].concat()), routes.as_bytes()).await
}

/// Shows what an event becomes with these routes.
async fn event(name: &str, routes: &str, event: &Value, more: &[&str]) -> Ended {
    let event = File::new(name, &event.to_string());
    check(routes, &[&["--event", event.path()], more].concat()).await
}

#[tokio::test]
async fn prints_valid_file_as_table() {
    let file = File::new("good.toml", CHAT);
    let ended = end(fanout(&["check", file.path()])).await.assert_code(0);
    let expected = r#"line  cache   topic                 cache  topic             transforms
26    "log"   "audit"           ->  "log"  "seen"            (none)
7     "chat"  "{room}-publish"  ->  "out"  "{room}-loud"     trim | uppercase
                                ->  "out"  "{room}-spanish"  (trim) | translate {"target":"es"}
                                ->  "out"  "for-{token_id}"  (trim)
2     "chat"  "{any_topic}"     ->  "log"  "audit"           (none)

(in parentheses: applied once, together with the destinations above)
note: line 7: "for-{token_id}" needs {token_id}, which some events lack: this destination refuses them, and the others accept them
note: line 2: "audit" leads to the route at line 26, "audit", if that topic has a webhook too
"#;
    let (table, rest) = ended.out.split_at(expected.len());
    assert_eq!(table, expected);
    let summary =
        "3 routes, 5 destinations; at most 3 transforms for each event (5 if each destination had its own)\n";
    assert_eq!(rest, format!("{}: {summary}", file.path()));
    assert_eq!(ended.err, "");
}

#[tokio::test]
async fn prints_only_the_requested_format() {
    let table = check(CHAT, &["--format", "table"]).await.assert_code(0);
    assert_eq!(table.out, check(CHAT, &[]).await.out);
    let mermaid = check(CHAT, &["--format", "mermaid"]).await.assert_code(0);
    assert!(mermaid.out.starts_with("flowchart LR\n    n0([\"log / audit\"])\n"), "{}", mermaid.out);
    let dot = check(CHAT, &["--format", "dot"]).await.assert_code(0);
    assert!(dot.out.starts_with("digraph fanout {\n") && dot.out.ends_with("\n}\n"), "{}", dot.out);
    assert_eq!(mermaid.out.matches("[\"trim\"]").count(), 1);
    assert_eq!(dot.out.matches("label=\"trim\"").count(), 1);
}

#[tokio::test]
async fn prints_json_for_programs() {
    let ended = check(CHAT, &["--format", "json"]).await.assert_code(0);
    let [object] = &ended.json()[..] else { panic!("{}", ended.out) };
    assert_eq!(object["errors"], json!([]));
    assert_eq!(object["routes"][1]["line"], 7);
    assert_eq!(object["routes"][1]["destinations"][1]["transforms"][1]["settings"], json!({"target": "es"}));
    assert_eq!(object["routes"][2]["destinations"][0]["next_lines"], json!([26]));

    let ended = check("[[routes]]\ntopic = 'a'", &["--format", "json"]).await.assert_code(1);
    let [object] = &ended.json()[..] else { panic!("{}", ended.out) };
    assert_eq!((&object["errors"][0]["line"], &object["errors"][0]["column"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn reports_all_errors_at_once() {
    let file = File::new(
        "wrong.toml",
        r#"[[routes]]
topic = "{room}-publish"
transform_s = ["trim"]
transforms = ["shout"]
destinations = ["{rom}-subscribe"]

[[routes]]
topic = "{place}-publish"
destinations = ["x"]

[[routes]]
topic = "loop"
destinations = ["y", "loop"]

[[routes]]
topic = "a"
	destinations = ["b"]
[[routes]]
topic = "b"
destinations = ["a"]
"#,
    );
    let ended = end(fanout(&["check", file.path()])).await.assert_code(1);
    assert_eq!(ended.out, "");
    let errors: Vec<_> = ended
        .err
        .lines()
        .filter_map(|line| line.strip_prefix(file.path()).and_then(|line| line.strip_prefix(':')))
        .collect();
    for (index, (begins, says)) in [
        ("3:1: unknown key `transform_s`", "did you mean `transforms`?"),
        ("4:15: unknown transform \"shout\"", "expected one of echo, "),
        ("5:18: the topic has the unknown name `rom`", "did you mean `room`?"),
        ("7:1: the route at line 1 is for the same topics", "give one of them a cache"),
        ("13:22: the route feeds itself", "name a topic that leads elsewhere"),
        ("17:18: the route feeds itself", "\"a\" -> \"b\" -> \"a\""),
    ]
    .iter()
    .enumerate()
    {
        let error = errors.get(index).copied().unwrap_or_default();
        assert!(error.starts_with(begins) && error.contains(says), "{error}: {}", ended.err);
    }
    assert_eq!(errors.len(), 6, "{}", ended.err);
    assert!(ended.err.contains(" 4 | transforms = [\"shout\"]\n   |               ^\n"), "{}", ended.err);
    assert!(
        ended.err.contains(" 17 |     destinations = [\"b\"]\n    |                     ^\n"),
        "{}",
        ended.err
    );
    assert_eq!(ended.err.lines().last(), Some(format!("fanout: {}: 6 errors", file.path()).as_str()));
}

#[tokio::test]
async fn reports_unreadable_file_on_one_line() {
    end(fanout(&["check", "no/such.toml"]))
        .await
        .assert_code(1)
        .assert_one_error("no/such.toml cannot be read");
    let binary = end_with(fanout(&["check", "-"]), b"topic = \"\xff\"").await.assert_code(1);
    binary.assert_one_error("<stdin>:1:10: the file is not UTF-8");
    // These exit before they read.
    let both = end(fanout(&["check", "-", "--event", "-"])).await.assert_code(2);
    both.assert_err("cannot both be standard input");
    let drawn = end(fanout(&["check", "--event", "e", "--format", "dot"])).await.assert_code(2);
    drawn.assert_err("do not draw an event");
    let broken = check("topic = \u{1b}[31m", &[]).await.assert_code(1).assert_err("<stdin>:1:9: ");
    assert!(!broken.err.contains('\u{1b}'), "{}", broken.err);
}

#[tokio::test]
async fn shows_event_step_by_step() {
    let given = json!({"cache": "chat", "topic": "lobby-publish", "text": " Hello\u{1b} ", "token_id": "mo"});
    let ended = event("steps.json", CHAT, &given, &[]).await.assert_code(0);
    let expected = r#"event    "lobby-publish" in the cache "chat", from "mo"
text     " Hello\u{1b} "
route    line 7: "{room}-publish" in the cache "chat"
         {room} is "lobby"
         not the route at line 2, "{any_topic}": it is less specific

1.  "lobby-loud" in the cache "out"
    trim       "Hello\u{1b}"
    uppercase  "HELLO\u{1b}"
    => would be published: "HELLO\u{1b}"

2.  "lobby-spanish" in the cache "out"
    trim                       shared with 1
    translate {"target":"es"}  "⟦es⟧ Ĥéļļö\u{1b}"  (written in en)
    => would be published: "⟦es⟧ Ĥéļļö\u{1b}"

3.  "for-mo" in the cache "out"
    trim  shared with 1
    => would be published: "Hello\u{1b}"

nothing was published or sent
"#;
    assert_eq!(ended.out, expected);
    assert_eq!(
        ended.err,
        "note: `pseudolocalize` translated in place of Amazon Translate; --aws uses Amazon Translate\n"
    );
}

#[tokio::test]
async fn shows_next_route_of_event_from_standard_input() {
    let file = File::new("check-chained.toml", CHAT);
    let given = json!({"cache": "chat", "topic": "x", "text": "t", "event_timestamp": 1, "publish_timestamp": 1,
        "topic_sequence_number": 1});
    let command = fanout(&["check", file.path(), "--event", "-"]);
    let ended = end_with(command, given.to_string().as_bytes()).await.assert_code(0);
    assert!(
        ended.out.contains("published: \"t\"\n       and take the route at line 26, \"audit\", next\n"),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn exits_with_1_if_destination_refuses_event() {
    let given = json!({"cache": "chat", "topic": "lobby-publish", "text": "x"});
    let ended = event("lacking.json", CHAT, &given, &[]).await.assert_code(1);
    assert!(ended.out.contains("3.  \"for-{token_id}\" in the cache \"out\"\n"), "{}", ended.out);
    assert!(ended.out.contains("would be refused: the event lacks token_id"), "{}", ended.out);
    let ended = ended.assert_err("1 of 3 destinations would not accept it");
    assert!(ended.err.contains("fanout: "));
}

#[tokio::test]
async fn shows_event_without_route_as_ignored() {
    let given = json!({"cache": "other", "topic": "x", "text": "t"});
    let ended = event("ignored.json", CHAT, &given, &[]).await.assert_code(0);
    assert!(ended.out.contains("\nignored  no route matches this cache and topic"), "{}", ended.out);
    assert!(ended.out.contains("line 2, \"{any_topic}\": its cache is \"chat\""), "{}", ended.out);
    let ended = event("ignored-json.json", CHAT, &given, &["--format", "json"]).await.assert_code(0);
    assert_eq!(ended.json(), [json!({"status": "ignored", "destinations": []})]);
}

#[tokio::test]
async fn applies_on_failure_of_failed_transform() {
    let limited = |on_failure: &str| {
        format!("{{ translate = {{ target = \"es\", max_bytes = 1, on_failure = \"{on_failure}\" }} }}")
    };
    let routes = format!(
        "[[routes]]\ntopic = 'in'\ndestinations = [{}]",
        ["fail", "drop", "pass"]
            .map(|how| format!("{{ topic = '{how}', transforms = [{}, 'uppercase'] }}", limited(how)))
            .join(", ")
    );
    let given = json!({"cache": "c", "topic": "in", "text": "hello"});
    let ended = event("failing.json", &routes, &given, &["--format", "json"]).await.assert_code(1);
    let [object] = &ended.json()[..] else { panic!("{}", ended.out) };
    let statuses: Vec<_> = (0..3).map(|index| &object["destinations"][index]["status"]).collect();
    assert_eq!(statuses, ["refused", "dropped", "published"], "{object:#}");
    assert_eq!(object["destinations"][2]["text"], "HELLO");
    assert_eq!(object["destinations"][2]["steps"][0]["shared_with"], 1);

    let ended = event("failing-text.json", &routes, &given, &[]).await.assert_code(1);
    for says in [
        "=> would be refused, and a retry would not help (translate, ",
        "failed, shared with 1; on_failure drops the event\n    => would be dropped by translate: failed: ",
        "failed, shared with 1; on_failure passes the text on unchanged\n",
    ] {
        assert!(ended.out.contains(says), "{says}: {}", ended.out);
    }
}

#[tokio::test]
async fn shows_event_that_feeds_itself_as_refused() {
    let routes = "[[routes]]\ntopic = 'in'\ndestinations = ['{token_id}']";
    let checked = check(routes, &["--format", "table"]).await.assert_code(0);
    assert!(
        checked.out.contains("and from there back: the function refuses such an event"),
        "{}",
        checked.out
    );
    let given = json!({"cache": "c", "topic": "in", "text": "t", "token_id": "in"});
    let ended = event("round.json", routes, &given, &[]).await.assert_code(1);
    assert!(ended.out.contains("\nrefused  feeds_itself"), "{}", ended.out);
    ended.assert_one_error("the function refuses the event");
}

#[tokio::test]
async fn reports_invalid_event_on_one_line() {
    for (name, given, says) in [
        ("a.json", json!({"cache": "c", "topic": "in"}), "the event cannot be used: missing field `text`"),
        ("b.json", json!({"cache": "", "topic": "in", "text": ""}), "not an event: an empty name"),
        ("c.json", json!([]), "c.json: the event cannot be used: expected a JSON object, such as {"),
        (
            "e.json",
            json!(["c", "in", "t", 1, 1, 7, null, "mo"]),
            "e.json: the event cannot be used: expected a JSON object, such as {",
        ),
        ("d.json", json!({"cache": "c", "topic": "t", "text": 7}), "expected a string at line 1"),
    ] {
        event(name, CHAT, &given, &[]).await.assert_code(1).assert_one_error(says);
    }
    let routes = File::new("no-event.toml", CHAT);
    let ended = end(fanout(&["check", routes.path(), "--event", "Cargo.toml"])).await.assert_code(1);
    ended.assert_one_error("Cargo.toml: the event cannot be used");
}

#[tokio::test]
async fn accepts_event_with_byte_order_mark() {
    let routes = File::new("marked.toml", CHAT);
    let given = "\u{feff} {\"cache\": \"chat\", \"topic\": \"lobby\", \"text\": \"t\"}";
    let command = fanout(&["check", routes.path(), "--event", "-"]);
    end_with(command, given.as_bytes()).await.assert_code(0);
}

#[tokio::test]
async fn keeps_hostile_topic_in_its_label() {
    let name = r#"a"]) --> n9["b\u001b\n#<script>"#;
    let routes =
        format!("[[routes]]\ntopic = 'in'\ndestinations = [\"{{'{}'}}\"]", name.replace('"', "\\\""));
    let mermaid = check(&routes, &["--format", "mermaid"]).await.assert_code(0);
    let lines: Vec<_> = mermaid.out.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 4, "{}", mermaid.out);
    assert_eq!((lines[1], lines[3]), ("n0([\"(any cache) / in\"])", "n0 --> n1"));
    assert_eq!(lines[2].matches('"').count(), 2, "{}", lines[2]);
    assert!(!lines[2].contains(['<', '>', '\u{1b}']), "{}", lines[2]);
    let dot = check(&routes, &["--format", "dot"]).await.assert_code(0);
    assert!(
        dot.out.contains(r#"label="(any cache) / {'a\"]) --> n9[\"b\\u{1b}\\n#<script>'}", style"#),
        "{}",
        dot.out
    );
    assert_eq!(dot.out.lines().count(), 7, "{}", dot.out);
}

const AWS_DESTINATIONS: &str = r#"
[[routes]]
topic = "{room}-publish"

[[routes.destinations]]
sqs = { queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", deduplication = "{topic_sequence_number}" }
extra_transforms = ["uppercase"]

[[routes.destinations]]
dynamodb = { table = "people", key = { id = "{token_id}" }, item = {} }

[[routes.destinations]]
eventbridge = { detail = "text" }
"#;

#[tokio::test]
async fn shows_aws_destinations() {
    let file = File::new("check-aws.toml", AWS_DESTINATIONS);
    let ended = end(fanout(&["check", file.path()])).await.assert_code(0);
    for part in [
        "->         sqs orders.fifo      uppercase\n",
        "->         eventbridge default  (none)\n",
        "note: line 2: \"dynamodb people\" needs {token_id}, which some events lack",
        "3 destinations",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
    let ended = end(fanout(&["check", file.path(), "--format", "mermaid"])).await.assert_code(0);
    assert!(ended.out.contains("n1[(\"sqs orders#46;fifo\")]"), "{ended:#?}");
    let ended = end(fanout(&["check", file.path(), "--format", "dot"])).await.assert_code(0);
    assert!(ended.out.contains(r#"[label="sqs orders.fifo", shape=cylinder];"#), "{ended:#?}");
    let ended = end(fanout(&["check", file.path(), "--format", "json"])).await.assert_code(0);
    let destination = &ended.json()[0]["routes"][0]["destinations"][1];
    assert_eq!((&destination["kind"], &destination["name"]), (&json!("dynamodb"), &json!("people")));
}

#[tokio::test]
async fn shows_cache_destinations_and_required_token_id() {
    let text = r#"
[[routes]]
topic = "{room}-publish"
require_token_id = true
destinations = [{ list = { key = "of-{token_id}", max_length = 3 } }, { counter = { key = "{json.course}" } }]
"#;
    let file = File::new("check-cache.toml", text);
    let ended = end(fanout(&["check", file.path()])).await.assert_code(0);
    for part in [
        "\"{room}-publish\", with a token id  ->         list of-{token_id}",
        "note: line 2: \"counter {json.course}\" needs {json.course}, which some events lack",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
    assert!(!ended.out.contains("needs {token_id}"), "{ended:#?}");
    let ended = end(fanout(&["check", file.path(), "--format", "mermaid"])).await.assert_code(0);
    assert!(ended.out.contains("n1[(\"list of-{token_id}\")]"), "{ended:#?}");
    let ended = end(fanout(&["check", file.path(), "--format", "json"])).await.assert_code(0);
    assert_eq!(ended.json()[0]["routes"][0]["require_token_id"], true);

    let event = |token_id: &str| {
        format!(r#"{{"cache": "c", "topic": "lobby-publish", "text": "{{\"course\": 7}}"{token_id}}}"#)
    };
    let args = ["check", file.path(), "--event", "-"];
    let ended = end_with(fanout(&args), event(r#", "token_id": "mo""#).as_bytes()).await.assert_code(0);
    let write = r#"{"cache":"c","key":"of-mo","value":"{\"course\": 7}","end":"back","max_length":3,"refresh_ttl":true,"ttl_seconds":86400}"#;
    assert!(ended.out.contains(&format!("=> would be sent to list of-mo: {write}\n")), "{ended:#?}");
    let ended = end_with(fanout(&args), event("").as_bytes()).await;
    assert!(ended.out.contains("the publisher's token has no id"), "{ended:#?}");
}

#[tokio::test]
async fn draws_diagrams_of_recipes() {
    let document = include_str!("../../../../docs/RECIPES.md");
    for recipe in ["uppercase", "comments", "history", "poll", "rooms", "publish"] {
        let path = format!("{}/../../examples/recipes/{recipe}.toml", env!("CARGO_MANIFEST_DIR"));
        let ended = end(fanout(&["check", &path, "--format", "mermaid"])).await.assert_code(0);
        assert!(document.contains(&format!("```mermaid\n{}```", ended.out)), "{recipe}: {}", ended.out);
    }
}

#[tokio::test]
async fn shows_calls_of_recipe_with_tokens() {
    let document = include_str!("../../../../docs/RECIPES.md");
    let recipe = include_str!("../../../../examples/recipes/cognito-tokens.toml");
    assert!(document.contains(&format!("```toml\n{recipe}```")), "docs/RECIPES.md shows another file");
    let file = File::new("recipe-tokens.toml", recipe);
    let routes = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/chat/fanout.toml");
    let claims = document.rsplit_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    let claims = File::new("recipe-claims.json", claims);
    let args = ["check", file.path(), "--claims", claims.path(), "--routes", routes];
    let ended = end(fanout(&args)).await.assert_code(0);
    assert!(document.contains(&format!("```text\n{}```", ended.out)), "{}", ended.out);
}

#[tokio::test]
async fn tokens_of_chat_allow_own_language_only() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/chat");
    let (tokens, routes) = (format!("{folder}/tokens.toml"), format!("{folder}/fanout.toml"));
    let claims = File::new("chat-claims.json", r#"{"sub": "ann", "room": "friends", "language": "english"}"#);
    let args = ["check", &tokens, "--claims", claims.path(), "--routes", &routes];
    let ended = end(fanout(&args)).await.assert_code(0);
    let expected = "profile member: token id ann, for 3600 s\n\
                    allowed  publish    chat/friends-publish\n\
                    denied   subscribe  chat/friends-publish\n\
                    denied   publish    chat/friends-subscribe-english\n\
                    allowed  subscribe  chat/friends-subscribe-english\n\
                    denied   publish    chat/friends-subscribe-japanese\n\
                    denied   subscribe  chat/friends-subscribe-japanese\n\
                    denied   publish    chat/friends-subscribe-spanish\n\
                    denied   subscribe  chat/friends-subscribe-spanish\n\
                    denied   every other call\n";
    assert_eq!((ended.out.as_str(), ended.err.as_str()), (expected, ""));
    // No name of the provider, no token.
    for claims in [r#"{"room": "friends", "language": "english"}"#, r#"{"sub": "ann", "room": "friends"}"#] {
        let claims = File::new("lacking-claims.json", claims);
        let ended = end(fanout(&["check", &tokens, "--claims", claims.path()])).await;
        ended.assert_code(1).assert_one_error("no token: ");
    }
}

#[tokio::test]
async fn shows_aws_requests_of_event() {
    let file = File::new("sent.toml", AWS_DESTINATIONS);
    let event = br#"{"cache": "c", "topic": "lobby-publish", "text": "Hi", "topic_sequence_number": 7}"#;
    let ended = end_with(fanout(&["check", file.path(), "--event", "-"]), event).await.assert_code(1);
    let body = r#"{"queue":"https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo","body":"HI","group":"c#lobby-publish","deduplication":"7"}"#;
    for part in [
        &format!(
            "1.  sqs orders.fifo\n    uppercase  \"HI\"\n    => would be sent to sqs orders.fifo: {body}\n"
        ),
        "2.  dynamodb people\n    => would be refused: the event lacks token_id, which the destination needs\n",
        "    => would be refused, and a retry would not help (invalid argument: the text is not a JSON object)\n",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
    let args = ["check", file.path(), "--event", "-", "--format", "json"];
    let ended = end_with(fanout(&args), event).await.assert_code(1);
    let destinations = &ended.json()[0]["destinations"];
    assert_eq!(destinations[0]["sent"], serde_json::from_str::<Value>(body).unwrap());
    assert_eq!(destinations[2]["reason"], "invalid_argument");
}

const TOKENS: &str = r#"
[gateway]
authorizer = "jwt"

[[profiles]]
name = "member"
when = { plan = "paid" }
token_id = "{claims.sub}"
cache = "chat"
publish = ["{claims.room}-publish"]
subscribe = ["{claims.room}-loud"]
keys = [{ prefix = "user:{claims.sub}:", role = "read" }]

[[profiles]]
name = "auditor"
when = { plan = "staff" }
token_id = "{claims.sub}"
cache = "chat"
subscribe = ["{claims.room}-publish"]
"#;

#[tokio::test]
async fn shows_what_token_allows_and_denies() {
    let file = File::new("shown-tokens.toml", TOKENS);
    let routes = File::new("routes-of-tokens.toml", CHAT);
    let claims = |claims: Value| File::new("claims.json", &claims.to_string());
    let run = async |claims: &File| {
        let arguments = ["check", file.path(), "--claims", claims.path(), "--routes", routes.path()];
        end(fanout(&arguments)).await
    };
    let member = run(&claims(json!({"plan": "paid", "sub": "ann", "room": "lobby"}))).await.assert_code(0);
    let expected = "profile member: token id ann, for 3600 s
denied   publish    chat/lobby-loud
allowed  subscribe  chat/lobby-loud
allowed  publish    chat/lobby-publish
denied   subscribe  chat/lobby-publish
denied   publish    log/audit
denied   subscribe  log/audit
denied   publish    out/for-ann
denied   subscribe  out/for-ann
denied   publish    out/lobby-loud
denied   subscribe  out/lobby-loud
denied   publish    out/lobby-spanish
denied   subscribe  out/lobby-spanish
allowed  read       chat/user:ann:*
denied   write      chat/user:ann:*
denied   every other call
";
    assert_eq!(member.out, expected);
    // The routes have a pattern for any topic of the cache.
    assert!(member.err.contains("may subscribe to chat/lobby-loud, an inbound topic"), "{}", member.err);
    let auditor = run(&claims(json!({"plan": "staff", "sub": "bob", "room": "lobby"}))).await.assert_code(0);
    assert!(auditor.err.contains("may subscribe to chat/lobby-publish, an inbound topic"), "{}", auditor.err);
    run(&claims(json!({"plan": "free"}))).await.assert_code(1).assert_err("no profile fits");
    run(&claims(json!({"plan": "paid", "sub": "ann:b", "room": "x"})))
        .await
        .assert_code(1)
        .assert_err("separates");

    let all = end(fanout(&["check", file.path(), "--routes", routes.path()])).await.assert_code(0);
    assert_eq!(all.out, "profile member: plan = \"paid\"\nprofile auditor: plan = \"staff\"\n");
    assert!(all.err.contains("may subscribe to chat/claim-publish, an inbound topic"), "{}", all.err);
}

#[tokio::test]
async fn shows_what_moderated_profile_publishes_and_warns_without_transforms() {
    let tokens = TOKENS.replacen("publish = [", "moderated = true\npublish = [", 1);
    let file = File::new("moderated-tokens.toml", &tokens);
    let claims = File::new(
        "moderated-claims.json",
        &json!({"plan": "paid", "sub": "ann", "room": "lobby"}).to_string(),
    );
    let route = "[[routes]]\ntopic = '{room}-publish'\ndestinations = ['{room}-loud']\n";
    for (transforms, warns) in [("transforms = ['trim']", false), ("", true)] {
        let routes = File::new("routes-of-moderated.toml", &format!("{route}{transforms}"));
        let arguments = ["check", file.path(), "--claims", claims.path(), "--routes", routes.path()];
        let member = end(fanout(&arguments)).await.assert_code(0);
        assert!(member.out.contains("moderated  publish    chat/lobby-publish\n"), "{}", member.out);
        let all = end(fanout(&["check", file.path(), "--routes", routes.path()])).await.assert_code(0);
        for (err, topic) in [(&member.err, "lobby-publish"), (&all.err, "claim-publish")] {
            let warning = format!("no route has transforms for chat/{topic}");
            assert_eq!(err.contains(&warning), warns, "{err}");
        }
    }
}

#[tokio::test]
async fn reports_faults_of_profiles_with_their_lines() {
    let file =
        File::new("faulty-tokens.toml", &TOKENS.replace("token_id = \"{claims.sub}\"", "tokenid = \"x\""));
    let ended = end(fanout(&["check", file.path()])).await.assert_code(1);
    assert!(ended.err.contains("unknown key `tokenid`; did you mean `token_id`?"), "{}", ended.err);
    assert!(ended.err.contains("4 errors"), "{}", ended.err);
}
