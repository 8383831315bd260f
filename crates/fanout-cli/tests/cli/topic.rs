//! `fanout topic`.

use momento_local::{Fault, MomentoLocal, Rpc};
use serde_json::{Value, json};
use tokio::process::Command;
use tonic::Code;

use crate::harness::{end, end_with, fanout, momento, start};

fn on(momento: &MomentoLocal, args: &[&str]) -> Command {
    let mut command = fanout(args);
    command.env("MOMENTO_ENDPOINT", momento.endpoint());
    command
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn publishes_text_unchanged() {
    let momento = momento().await;
    end(on(&momento, &["topic", "publish", "demo", "a topic/1", "-é\n"])).await.assert_code(0);
    end_with(on(&momento, &["topic", "publish", "demo", "a topic/1", "-"]), b"in\nput\n")
        .await
        .assert_code(0);
    end_with(on(&momento, &["topic", "publish", "demo", "a topic/1", "-"]), b"in\r\nput\r\n")
        .await
        .assert_code(0);
    end(on(&momento, &["topic", "publish", "demo", "a topic/1", ""])).await.assert_code(0);
    let published = momento.published("demo", "a topic/1");
    let texts: Vec<_> = published.iter().map(|message| message.text().unwrap()).collect();
    assert_eq!(texts, ["-é\n", "in\nput", "in\r\nput", ""]);
}

#[tokio::test]
async fn reports_failed_publish_on_one_line() {
    let momento = momento().await;
    end(on(&momento, &["topic", "publish", "elsewhere", "t", "x"]))
        .await
        .assert_code(1)
        .assert_one_error("not found: cache with name 'elsewhere' does not exist");
    let long = "x".repeat(5_000);
    end(on(&momento, &["topic", "publish", "demo", "t", &long]))
        .await
        .assert_code(1)
        .assert_one_error("limit exceeded");
}

#[tokio::test]
async fn uses_endpoint_and_key_from_flags() {
    let momento = MomentoLocal::builder().cache("demo").api_key("right").start().await.unwrap();
    let endpoint = momento.endpoint();
    let publish = |key: &str| {
        fanout(&["topic", "publish", "demo", "t", "x", "--endpoint", &endpoint, "--api-key", key])
    };
    end(publish("right")).await.assert_code(0);
    end(publish("wr0ng")).await.assert_code(1).assert_one_error("not authenticated");
    end(fanout(&["topic", "subscribe", "demo", "t", "--endpoint", &endpoint, "--api-key", "wr0ng"]))
        .await
        .assert_code(1)
        .assert_one_error("cannot subscribe to t in the cache demo: not authenticated");
    let mut no_key = fanout(&["topic", "publish", "demo", "t", "x"]);
    no_key.env("MOMENTO_API_KEY", "wr0ng");
    let ended = end(no_key).await.assert_code(1).assert_one_error("MOMENTO_API_KEY: is neither");
    assert!(!ended.err.contains("wr0ng"), "{ended:#?}");
}

#[tokio::test]
async fn prints_default_endpoint() {
    // The names are invalid, so that a server at this port does not matter.
    let mut command = fanout(&["topic", "publish", " ", "t", "x"]);
    command.env("MOMENTO_ENDPOINT", "");
    end(command).await.assert_code(1).assert_err("using the local Momento at http://127.0.0.1:8080");
}

#[tokio::test]
async fn shows_messages_heartbeats_and_discontinuities() {
    let momento = momento().await;
    let mut running = start(on(&momento, &["topic", "subscribe", "demo", "t"]));
    running.next_line("subscribed").await.unwrap();
    running.next_line("heartbeat").await.unwrap();
    let page = momento.publish("demo", "t", "he\u{7}llo").unwrap().sequence_page;
    running.next_line(&format!(r#"1 of page {page}  "he\u{{7}}llo""#)).await.unwrap();
    momento.publish("demo", "t", vec![0; 3]).unwrap();
    running.next_line(&format!("2 of page {page}  3 bytes")).await.unwrap();
    momento.reset_topic("demo", "t").unwrap();
    running.next_line("discontinuity after 2: continues after 0 of page").await.unwrap();
    running.signal("INT").await.unwrap();
    assert_eq!(running.ended().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn resumes_at_number_and_ends_after_count() {
    let momento = momento().await;
    let page = ["one", "two", "three", "four"]
        .map(|text| momento.publish("demo", "t", text).unwrap().sequence_page)[0]
        .to_string();
    let args =
        ["topic", "subscribe", "demo", "t", "--resume-at", "2", "--page", &page, "--count", "2", "--json"];
    let ended = end(on(&momento, &args)).await.assert_code(0);
    let message = |number: u64, text: &str| {
        json!({
            "event": "message", "sequence_number": number, "sequence_page": page.parse::<u64>().unwrap(),
            "publisher_id": null, "text": text,
        })
    };
    assert_eq!(ended.events("message"), [message(2, "two"), message(3, "three")]);
    assert_eq!(ended.events("subscribed").len(), 1);
    momento.reset_topic("demo", "t").unwrap();
    momento.publish("demo", "t", "anew").unwrap();
    let ended = end(on(&momento, &[&args[..8], &["--count", "1", "--json"]].concat())).await.assert_code(0);
    let gap = &ended.events("discontinuity")[0];
    assert_eq!((&gap["last_sequence_number"], &gap["new_sequence_number"]), (&json!(1), &json!(0)));
    assert_eq!(ended.events("message")[0]["text"], "anew");
}

#[tokio::test]
async fn shows_token_id_of_publisher() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let momento = momento().await;
    let mut running = start(on(&momento, &["topic", "subscribe", "demo", "t", "-q"]));
    momento.wait_for_subscribers("demo", "t", 1).await;
    let token =
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(r#"{"tid":"mo"}"#));
    let mut publish = on(&momento, &["topic", "publish", "demo", "t", "x"]);
    publish.env("MOMENTO_API_KEY", token);
    end(publish).await.assert_code(0);
    assert!(running.next_line("message").await.unwrap().ends_with("from mo  \"x\""));
}

#[tokio::test]
async fn resubscribes_and_loses_nothing() {
    let momento = momento().await;
    let mut running = start(on(&momento, &["topic", "subscribe", "demo", "t", "--json", "--count", "3"]));
    running.next_line("subscribed").await.unwrap();
    momento.publish("demo", "t", "one").unwrap();
    assert_eq!(json(&running.next_line("message").await.unwrap())["text"], "one");
    momento.block();
    momento.publish("demo", "t", "two").unwrap();
    assert!(json(&running.next_line("interrupted").await.unwrap())["retry_in_ms"].is_number());
    momento.unblock();
    assert_eq!(json(&running.next_line("message").await.unwrap())["text"], "two");
    momento.publish("demo", "t", "three").unwrap();
    assert_eq!(json(&running.next_line("message").await.unwrap())["text"], "three");
    assert_eq!(running.ended().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn ends_on_permanent_failure_with_one_line() {
    let momento = momento().await;
    end(on(&momento, &["topic", "subscribe", "elsewhere", "t"]))
        .await
        .assert_code(1)
        .assert_one_error("cannot subscribe to t in the cache elsewhere: not found");
    momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Subscribe).times(1));
    end(on(&momento, &["topic", "subscribe", "demo", "t"]))
        .await
        .assert_code(1)
        .assert_one_error("permission denied");
}

#[tokio::test]
async fn waits_for_momento_to_start() {
    let momento = momento().await;
    momento.block();
    let mut running = start(on(&momento, &["topic", "subscribe", "demo", "t", "--count", "1"]));
    running.next_line("interrupted   ").await.unwrap();
    momento.unblock();
    running.next_line("subscribed").await.unwrap();
    momento.publish("demo", "t", "x").unwrap();
    assert_eq!(running.ended().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn says_once_what_to_start_without_momento() {
    let momento = momento().await;
    let failures = momento.inject(Fault::error(Code::Unavailable).on(Rpc::Subscribe).times(3));
    let mut running = fanout(&["topic", "subscribe", "demo", "t", "--count", "1"]);
    running.args(["--endpoint", &momento.endpoint()]);
    let ended = tokio::spawn(end(running));
    momento.wait_for_subscribers("demo", "t", 1).await;
    momento.publish("demo", "t", "x").unwrap();
    let ended = ended.await.unwrap().assert_code(0);
    assert_eq!(failures.hits(), 3);
    assert_eq!(ended.out.matches("interrupted").count(), 1, "{ended:#?}");
    assert_eq!(ended.err.matches("cargo run -p momento-local -- --cache demo").count(), 1, "{ended:#?}");
}

#[tokio::test]
async fn exits_with_0_if_reader_closes_the_pipe() {
    let momento = momento().await;
    let mut shell = Command::new("sh");
    let script = format!(
        "{} topic subscribe demo t --endpoint {} 2>&1 | head -n 1",
        env!("CARGO_BIN_EXE_fanout"),
        momento.endpoint()
    );
    let ended = end({
        shell.args(["-c", &script]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        shell
    })
    .await
    .assert_code(0);
    assert_eq!((ended.out.lines().count(), ended.err.as_str()), (1, ""));
}
