//! `fanout dev`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Response;
use momento_local::MomentoLocal;
use momento_webhook::{SigningSecret, momento as signature};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{ClosedPort, Ended, SECRET, end, end_with, fanout, momento, start};
use crate::stub::{RealFunction, Stub, response};

/// Returns the id, the topic and the text of each arrival, sorted.
fn arrivals(ended: &Ended) -> Vec<(u64, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut arrivals: Vec<_> = ended
        .events("arrived")
        .iter()
        .map(|line| {
            assert!(line["latency_ms"].as_f64().unwrap() > 0.0, "{line}");
            (line["id"].as_u64().expect("an id"), text(&line["topic"]), text(&line["text"]))
        })
        .collect();
    arrivals.sort();
    arrivals
}

fn arrival(id: u64, topic: &str, text: &str) -> (u64, String, String) {
    (id, topic.to_owned(), text.to_owned())
}

#[tokio::test]
async fn shows_arrival_of_each_text() {
    let texts = ["hello", "hello", "", "Straße 😀", "-dash"];
    let mut args = vec!["dev", "--json"];
    args.extend(texts.iter().flat_map(|text| ["--send", text]));
    let ended = end(fanout(&args)).await.assert_code(0);
    let expected = ["HELLO", "HELLO", "", "STRASSE 😀", "-DASH"];
    let expected: Vec<_> = (1..).zip(expected).map(|(id, text)| arrival(id, "topic 2", text)).collect();
    assert_eq!(arrivals(&ended), expected);
    let sent: Vec<_> = ended.events("sent").iter().map(|line| line["text"].clone()).collect();
    assert_eq!(sent, texts);
    for delivered in ended.events("delivered") {
        assert_eq!((&delivered["status"], &delivered["attempts"]), (&json!(200), &json!(1)));
        assert_eq!(delivered["response"]["status"], "success");
    }
    assert_eq!(ended.err, "");
}

#[tokio::test]
async fn waits_for_all_outbound_topics() {
    let ended = end(fanout(&[
        "dev",
        "--json",
        "--outbound",
        "b",
        "--outbound",
        "a, with a comma",
        "--outbound",
        " c ",
        "--transform",
        "trim,lowercase",
        "--send",
        " ONE ",
        "--send",
        "TWO",
    ]))
    .await
    .assert_code(0);
    let topics = [" c ", "a, with a comma", "b"];
    let expected: Vec<_> = [(1, "one"), (2, "two")]
        .into_iter()
        .flat_map(|(id, text)| topics.map(|topic| arrival(id, topic, text)))
        .collect();
    assert_eq!(arrivals(&ended), expected);
}

#[tokio::test]
async fn prints_settings_and_arrivals_for_people() {
    let ended = end(fanout(&["dev", "--secret", SECRET, "--send", "a\u{1b}[2Jb"])).await.assert_code(0);
    for part in [
        "http://127.0.0.1:",
        SECRET,
        "as given",
        r#""topic 1" -> "topic 2""#,
        r#""A\u{1b}[2JB"  on "topic 2"  after "#,
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:#?}");
    }
    let quiet = end(fanout(&["dev", "-q", "--send", "x"])).await.assert_code(0);
    let lines: Vec<_> = quiet.out.lines().collect();
    assert!(matches!(&lines[..], [line] if line.contains(r#""X"  on "topic 2"  after"#)), "{quiet:#?}");
}

#[tokio::test]
async fn works_with_external_function_and_momento() {
    let momento = MomentoLocal::start().await.unwrap();
    let function = RealFunction::start(&momento, "x,y", "uppercase").await;
    let endpoint = momento.endpoint();
    let ended = end(fanout(&[
        "dev",
        "--json",
        "--momento-endpoint",
        &endpoint,
        "--function-url",
        &function.url,
        "--secret",
        SECRET,
        "--cache",
        "new one",
        "--inbound",
        "in",
        "--outbound",
        "x",
        "--outbound",
        "y",
        "--send",
        "a",
        "--send",
        "a",
    ]))
    .await
    .assert_code(0);
    let expected = [(1, "x"), (1, "y"), (2, "x"), (2, "y")].map(|(id, topic)| arrival(id, topic, "A"));
    assert_eq!(arrivals(&ended), expected);
    assert_eq!(momento.published("new one", "in").len(), 2);
    let ready = &ended.events("ready")[0];
    assert_eq!(ready["momento"], endpoint);
    let environment = [
        format!("export MOMENTO_ENDPOINT={endpoint}"),
        "export MOMENTO_API_KEY=local".to_owned(),
        format!("export WEBHOOK_SIGNING_SECRET={SECRET}"),
        "export OUTBOUND_TOPICS=x,y".to_owned(),
        "export TRANSFORM=uppercase".to_owned(),
    ];
    assert_eq!(ready["environment"], json!(environment));
}

#[tokio::test]
async fn retries_function_that_is_down_and_stops() {
    let closed = ClosedPort::new();
    let args = ["dev", "--function-url", &closed.url, "--timeout", "6s", "--send", "hi"];
    let ended = end(fanout(&args)).await.assert_code(1);
    for part in [
        "does not listen yet; waiting for the function to start",
        "retry     attempt 3 of 4: cannot connect to 127.0.0.1:",
        "failed    \"hi\": cannot connect to 127.0.0.1:",
        "stopped after 4 attempts",
        "fanout: 1 of 1 texts did not arrive on all outbound topics",
    ] {
        assert!(ended.err.contains(part), "{part} in {ended:#?}");
    }
    assert!(ended.out.contains("export OUTBOUND_TOPIC='topic 2'"), "{ended:#?}");
}

#[tokio::test]
async fn waits_for_function_to_start() {
    let closed = ClosedPort::new();
    let mut running =
        start(fanout(&["dev", "--function-url", &closed.url, "--timeout", "1m", "--send", "hi"]));
    running.next_line("does not listen yet").await.unwrap();
    let _stub = Stub::serve(closed.open(), |_, _| response(403, "{}"));
    running.next_line("failed    \"hi\": ").await.unwrap();
    assert_eq!(running.ended().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn does_not_retry_refusal() {
    let stub = Stub::start(|_, _| response(403, "{\"detail\":\n\"no\"}")).await;
    let ended = end(fanout(&["dev", "--function-url", &stub.url, "--send", "a", "--send", "b"])).await;
    let ended =
        ended.assert_code(1).assert_err(r#""a": the function responded 403 Forbidden: {"detail":\n"no"}"#);
    assert!(ended.err.contains("2 of 2 texts did not arrive"), "{ended:#?}");
    assert_eq!(stub.requests().len(), 2);
}

#[tokio::test]
async fn retries_transient_failure_after_retry_after_with_new_signature() {
    let momento = Arc::new(momento().await);
    let outbound = Arc::clone(&momento);
    let stub = Stub::start(move |number, _| {
        if number == 1 {
            return Response::builder().status(503).header("retry-after", "1").body(String::new()).unwrap();
        }
        outbound.publish("demo", "topic 2", "whatever").unwrap();
        response(200, "fine")
    })
    .await;
    let started = Instant::now();
    let endpoint = momento.endpoint();
    let ended = end(fanout(&[
        "dev",
        "--json",
        "--momento-endpoint",
        &endpoint,
        "--function-url",
        &stub.url,
        "--secret",
        SECRET,
        "--send",
        "é\"\n",
    ]))
    .await
    .assert_code(0);
    assert!(started.elapsed() >= Duration::from_secs(1), "it waited as asked");
    assert_eq!(arrivals(&ended), [arrival(1, "topic 2", "whatever")]);
    let delivered = &ended.events("delivered")[0];
    assert_eq!((&delivered["attempts"], &delivered["response"]), (&json!(2), &json!("fine")));
    assert_eq!(ended.events("attempt_failed")[0]["reason"], "the function responded 503 Service Unavailable");

    let requests = stub.requests();
    let [first, second] = &requests[..] else { panic!("two, not {requests:?}") };
    let secret = SigningSecret::new(SECRET).unwrap();
    for request in [first, second] {
        let signed = request.header("momento-signature").as_bytes();
        assert!(signature::verify(std::slice::from_ref(&secret), &request.body, [signed]).is_ok());
        assert_eq!(request.header("user-agent"), signature::USER_AGENT);
        assert_eq!(request.header("content-type"), "application/json");
        let body = request.json();
        assert_eq!((&body["cache"], &body["topic"]), (&json!("demo"), &json!("topic 1")));
        assert_eq!((&body["text"], &body["token_id"]), (&json!("é\"\n"), &json!("")));
        let published = &momento.published("demo", "topic 1")[0];
        assert_eq!(body["topic_sequence_number"], published.sequence_number);
        assert_eq!(body["topic_sequence_page"], published.sequence_page);
    }
    let time = |body: Value, name: &str| body[name].as_u64().unwrap();
    assert_eq!(time(first.json(), "event_timestamp"), time(second.json(), "event_timestamp"));
    assert!(time(second.json(), "publish_timestamp") >= time(first.json(), "publish_timestamp") + 1_000);
}

#[tokio::test]
async fn reports_text_that_does_not_arrive() {
    let stub = Stub::start(|_, _| response(200, r#"{"status":"success"}"#)).await;
    let args = ["dev", "--function-url", &stub.url, "--timeout", "300ms", "--send", "a", "--outbound", "x"];
    end(fanout(&args))
        .await
        .assert_code(1)
        .assert_err(r#""a": not arrived on "x" within 300.0 ms; the function accepted it"#);
}

#[tokio::test]
async fn does_not_wait_for_text_that_external_function_drops() {
    let whole = r#"{"status":"dropped","reason":"too rude"}"#;
    let listed = r#"{"status":"dropped","destinations":[
        {"cache":"demo","topic":"topic 2","status":"dropped","reason":"too rude"}]}"#;
    for body in [whole, listed] {
        let stub = Stub::start(move |_, _| response(200, body)).await;
        let args = ["dev", "--function-url", &stub.url, "--timeout", "10m", "--send", "a"];
        let ended = end(fanout(&args)).await.assert_code(0);
        assert!(ended.out.contains("dropped   \"a\"  for \"topic 2\": too rude\n"), "{ended:#?}");
    }
}

#[tokio::test]
async fn does_not_wait_for_drop_of_failed_attempt() {
    let momento = Arc::new(momento().await);
    let outbound = Arc::clone(&momento);
    let outcomes = |one: &str, other: &str| {
        format!(
            r#"{{"destinations":[{{"cache":"demo","topic":"a","status":"{one}"}},
                                {{"cache":"demo","topic":"b","status":"{other}"}}]}}"#
        )
    };
    let stub = Stub::start(move |number, _| {
        if number == 1 {
            return response(503, &outcomes("dropped", "failed"));
        }
        outbound.publish("demo", "b", "B").unwrap();
        response(200, &outcomes("already_published", "published"))
    })
    .await;
    let endpoint = momento.endpoint();
    let flags = ["dev", "--json", "--momento-endpoint", &endpoint, "--function-url", &stub.url];
    let topics = ["--outbound", "a", "--outbound", "b", "--timeout", "10m", "--send", "x"];
    let ended = end(fanout(&[&flags[..], &topics].concat())).await.assert_code(0);
    assert_eq!(arrivals(&ended), [arrival(1, "b", "B")]);
    let [dropped] = &ended.events("dropped")[..] else { panic!("one in {ended:#?}") };
    assert_eq!((&dropped["topic"], &dropped["reason"]), (&json!("a"), &json!("no reason given")));
}

#[tokio::test]
async fn reports_function_with_other_settings() {
    let ignored = r#"{"status":"ignored"}"#;
    let other = r#"{"status":"success","destinations":[{"cache":"demo","topic":"x","status":"published"}]}"#;
    for (body, says) in [
        (ignored, "failed    \"a\": the function ignored it: it has no route for this topic"),
        (
            other,
            "failed    \"a\": the function did not publish it to \"topic 2\": it runs with other settings",
        ),
    ] {
        let stub = Stub::start(move |_, _| response(200, body)).await;
        let args = ["dev", "--function-url", &stub.url, "--timeout", "10m", "--send", "a"];
        let ended = end(fanout(&args)).await.assert_code(1).assert_err(says);
        let unseen = "published to \"x\", which is not subscribed to";
        assert_eq!(ended.out.contains(unseen), body == other, "{ended:#?}");
    }
}

#[tokio::test]
async fn reports_text_that_momento_refuses() {
    let long = "x".repeat(5_000);
    end(fanout(&["dev", "-q", "--send", &long]))
        .await
        .assert_code(1)
        .assert_err("not published: limit exceeded: request limit exceeded: the message has 5000 bytes");
}

#[tokio::test]
async fn rejects_cycle_before_start() {
    let ended =
        end(fanout(&["dev", "--inbound", "t", "--outbound", "t", "--send", "a"])).await.assert_code(2);
    assert!(ended.out.is_empty() && ended.err.contains("both inbound and outbound"), "{ended:#?}");
    let ended = end(fanout(&["dev", "--transform", "shout"])).await.assert_code(2);
    assert!(ended.err.contains("expected one of echo,"), "{ended:#?}");
}

#[tokio::test]
async fn publishes_typed_lines_until_input_ends() {
    let ended = end_with(fanout(&["dev"]), "one\n\nStraße\r\n\u{fffd}last".as_bytes()).await.assert_code(0);
    for text in ["\"ONE\"", "\"\"", "\"STRASSE\"", "\"\u{fffd}LAST\""] {
        assert!(ended.out.contains(&format!("arrived   {text}  on \"topic 2\"")), "{text} in {ended:#?}");
    }
    // A skipped line is a failure.
    let ended = end_with(fanout(&["dev", "-q"]), b"\xff\nok\n").await.assert_code(1).assert_err("not UTF-8");
    assert!(ended.err.ends_with("fanout: skipped lines: 1\n"), "{ended:#?}");
    assert!(ended.out.contains("\"OK\""), "{ended:#?}");
}

#[tokio::test]
async fn exits_with_1_if_piped_line_fails() {
    let input = format!("one\n{}\ntwo\n", "x".repeat(5_000));
    let ended = end_with(fanout(&["dev"]), input.as_bytes()).await.assert_code(1);
    for text in ["\"ONE\"", "\"TWO\""] {
        assert!(ended.out.contains(&format!("arrived   {text}")), "{text} in {ended:#?}");
    }
    ended.assert_err("fanout: 1 of 3 texts did not arrive on all outbound topics");
}

#[tokio::test]
async fn exits_with_0_on_signal() {
    for signal in ["INT", "TERM"] {
        let mut running = start(fanout(&["dev"]));
        running.next_line("Type a line").await.unwrap();
        running.type_line("hello").await.unwrap();
        running.next_line("\"HELLO\"").await.unwrap();
        running.signal(signal).await.unwrap();
        assert_eq!(running.ended().await.unwrap().code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn exits_with_1_on_signal_before_all_texts_arrived() {
    let stub = Stub::start(|_, _| response(200, "")).await;
    let mut running = start(fanout(&["dev", "--function-url", &stub.url, "--send", "a", "--send", "b"]));
    running.next_line("webhook").await.unwrap();
    running.signal("INT").await.unwrap();
    running.next_line("interrupted: 2 texts had not arrived").await.unwrap();
    assert_eq!(running.ended().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn delivers_messages_of_other_publishers() {
    let momento = momento().await;
    let endpoint = momento.endpoint();
    let mut running = start(fanout(&["dev", "--momento-endpoint", &endpoint]));
    running.next_line("Type a line").await.unwrap();
    momento.publish("demo", "topic 1", "from elsewhere").unwrap();
    assert!(running.next_line("\"FROM ELSEWHERE\"").await.unwrap().contains("after"));
    momento.publish("demo", "topic 1", vec![0, 1, 2]).unwrap();
    running.next_line("3 bytes that is not a text").await.unwrap();
    momento.publish("demo", "topic 2", "out of nowhere").unwrap();
    assert!(running.next_line("\"out of nowhere\"").await.unwrap().contains("(not expected)"));
    running.close_input();
    assert_eq!(running.ended().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn reports_interruption_and_continues() {
    let momento = momento().await;
    let endpoint = momento.endpoint();
    let mut running = start(fanout(&["dev", "--momento-endpoint", &endpoint]));
    running.next_line("Type a line").await.unwrap();
    running.type_line("one").await.unwrap();
    running.next_line("\"ONE\"").await.unwrap();
    momento.block();
    for _ in 0..2 {
        running.next_line("is interrupted").await.unwrap();
    }
    momento.unblock();
    for _ in 0..2 {
        running.next_line("is open again").await.unwrap();
    }
    running.type_line("two").await.unwrap();
    running.next_line("\"TWO\"").await.unwrap();
    running.signal("TERM").await.unwrap();
    assert_eq!(running.ended().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn reports_failed_start_on_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--momento-port", "--function-port"] {
        end(fanout(&["dev", flag, &port, "--send", "a"])).await.assert_code(1).assert_one_error(&port);
    }
    let closed = ClosedPort::new();
    end(fanout(&["dev", "--momento-endpoint", &closed.url, "--send", "a"]))
        .await
        .assert_code(1)
        .assert_one_error("does not respond: unavailable: ");
}
