//! No text of a server, a message or a file reaches a terminal with the characters that control it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use momento_local::{Fault, MomentoLocal, Rpc};
use momento_webhook::visible::controls_terminal;
use serde_json::json;
use tonic::Code;

use crate::harness::{Ended, File, SECRET, end, end_with, fanout, momento, start};
use crate::stub::{Stub, response};

/// Sets the title, clears the screen, turns text around, and begins a line of its own.
const HOSTILE: &str = "\u{1b}]0;x\u{7}\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{2066}\u{200f}\u{2028}\r\nFORGED";

/// Asserts that nothing in the output controls a terminal or begins a line, and that the text is shown.
#[track_caller]
fn assert_harmless(name: &str, ended: &Ended) {
    for output in [&ended.out, &ended.err] {
        let found = output.chars().find(|character| *character != '\n' && controls_terminal(*character));
        assert_eq!(found, None, "{name}: {output:?}");
        assert!(!output.lines().any(|line| line.starts_with("FORGED")), "{name}: {output}");
    }
    assert!(format!("{}{}", ended.out, ended.err).contains("FORGED"), "{name}: {ended:#?}");
}

/// Returns a text as a string of JSON or TOML, with all control characters escaped.
fn string(text: &str) -> String {
    let escape = |character| match character {
        character if controls_terminal(character) => format!("\\u{:04x}", u32::from(character)),
        character => character.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// Local Momento whose methods fail with a hostile message.
async fn hostile_momento(code: Code, rpc: Rpc) -> MomentoLocal {
    let momento = momento().await;
    momento.inject(Fault::error(code).on(rpc).message(HOSTILE));
    momento
}

#[tokio::test]
async fn escapes_errors_of_hostile_momento() {
    for (rpc, args) in [
        (Rpc::Publish, &["topic", "publish", "demo", "t", "x"][..]),
        (Rpc::Subscribe, &["topic", "subscribe", "demo", "t"]),
        (Rpc::Subscribe, &["topic", "subscribe", "demo", "t", "--json"]),
        (Rpc::Publish, &["dev", "--send", "x"]),
        (Rpc::Publish, &["dev", "--send", "x", "--json"]),
        (Rpc::Subscribe, &["dev", "--send", "x"]),
        (Rpc::CreateCache, &["dev", "--send", "x"]),
    ] {
        let momento = hostile_momento(Code::InvalidArgument, rpc).await;
        let endpoint = momento.endpoint();
        let flag = if args[0] == "dev" { "--momento-endpoint" } else { "--endpoint" };
        let ended = end(fanout(&[args, &[flag, &endpoint]].concat())).await.assert_code(1);
        assert_harmless(&format!("{rpc:?} {args:?}"), &ended);
    }
}

#[tokio::test]
async fn escapes_causes_of_interruptions() {
    for (args, ready) in [
        (&["topic", "subscribe", "demo", "t"][..], None),
        (&["topic", "subscribe", "demo", "t", "--json"], None),
        (&["dev"], Some("Type a line")),
        (&["dev", "--json"], Some("ready")),
    ] {
        let momento = momento().await;
        let endpoint = momento.endpoint();
        let flag = if args[0] == "dev" { "--momento-endpoint" } else { "--endpoint" };
        let mut running = start(fanout(&[args, &[flag, &endpoint]].concat()));
        running.next_line(ready.unwrap_or("subscribed")).await.unwrap();
        momento.inject(Fault::stream_error(Code::Unavailable).message(HOSTILE));
        let line = running.next_line("interrupted").await.unwrap();
        assert_harmless(&format!("{args:?}"), &Ended { code: None, out: line, err: String::new() });
        running.signal("TERM").await.unwrap();
        running.ended().await.unwrap();
    }
}

#[tokio::test]
async fn escapes_messages_and_ids_of_publishers() {
    for more in [&[][..], &["--json"]] {
        let momento = momento().await;
        let token = json!({ "tid": HOSTILE }).to_string();
        let token = ["{}", &token, "x"].map(|segment| URL_SAFE_NO_PAD.encode(segment)).join(".");
        let mut publish = fanout(&["topic", "publish", "demo", "t", HOSTILE]);
        publish.env("MOMENTO_ENDPOINT", momento.endpoint()).env("MOMENTO_API_KEY", token);
        end(publish).await.assert_code(0);
        let endpoint = momento.endpoint();
        let args =
            ["topic", "subscribe", "demo", "t", "--resume-at", "1", "--count", "1", "--endpoint", &endpoint];
        let ended = end(fanout(&[&args[..], more].concat())).await.assert_code(0);
        assert_harmless("topic subscribe", &ended);
        if !more.is_empty() {
            let message = &ended.events("message")[0];
            assert_eq!((&message["text"], &message["publisher_id"]), (&json!(HOSTILE), &json!(HOSTILE)));
        }
    }
}

#[tokio::test]
async fn escapes_responses_of_hostile_function() {
    let outcome =
        json!({"cache": "demo", "topic": HOSTILE, "status": HOSTILE, "reason": HOSTILE, "detail": HOSTILE});
    let listed =
        |status: &str| json!({"cache": "demo", "topic": "topic 2", "status": status, "reason": HOSTILE});
    let elsewhere = json!({"kind": HOSTILE, "name": HOSTILE, "status": "published"});
    let bodies = [
        HOSTILE.to_owned(),
        json!({"status": "dropped", "reason": HOSTILE}).to_string(),
        json!({"destinations": [outcome]}).to_string(),
        json!({"destinations": [listed("dropped")]}).to_string(),
        json!({"destinations": [elsewhere, listed("failed")]}).to_string(),
    ];
    for (status, body) in bodies.iter().flat_map(|body| [(200, body), (403, body)]) {
        let own = body.clone();
        let stub = Stub::start(move |_, _| response(status, &own)).await;
        for more in [&[][..], &["--json"], &["--quiet", "--secret", SECRET]] {
            let args = ["dev", "--function-url", &stub.url, "--timeout", "300ms", "--send", HOSTILE];
            let ended = end(fanout(&[&args[..], more].concat())).await;
            assert_harmless(&format!("{status} {body} {more:?}"), &ended);
        }
        let args = ["send", "--url", &stub.url, "--secret", SECRET];
        let mut ended = end(fanout(&args)).await;
        // The body keeps its lines.
        ended.out = ended.out.replace("\nFORGED", "\n FORGED");
        assert_harmless(&format!("send {status} {body}"), &ended);
    }
}

#[tokio::test]
async fn escapes_what_function_of_dev_is_given() {
    let hostile = string(HOSTILE);
    let routes = format!(
        "[[routes]]\ntopic = 'in'\ntransforms = [{{ template = {{ text = {hostile} }} }}]\ndestinations = [
         'out', {{ topic = 'x', extra_transforms = [{{ filter = {{ equals = 'y' }} }}] }}, {{ eventbridge = {{ source = {hostile} }} }}]"
    );
    let file = File::new("hostile.toml", &routes);
    for more in [&[][..], &["--json"], &["-q"]] {
        let args = ["dev", "--config", file.path(), "--timeout", "2s", "--send", HOSTILE];
        let ended = end(fanout(&[&args[..], more].concat())).await;
        assert_harmless(&format!("dev {more:?}"), &ended);
    }
}

#[tokio::test]
async fn escapes_hostile_files_and_events() {
    let hostile = string(HOSTILE);
    let event = json!({"cache": "in", "topic": HOSTILE, "text": HOSTILE, "token_id": HOSTILE});
    let file = File::new("hostile-event.json", &event.to_string());
    let event = file.path();
    let broken = [
        format!("# {HOSTILE}\ntopic = {HOSTILE}"),
        format!("[[routes]]\ntopic = {hostile}\ntransforms = [{hostile}]\ncache = {hostile}"),
        format!("[[routes]]\n{hostile} = {hostile}\ndestinations = [{{ {hostile} = 1 }}]"),
    ];
    let route = "[[routes]]\ncache = 'in'\ntopic = '{name}'\n";
    let valid = format!(
        "{route}transforms = [{{ template = {{ text = {hostile} }} }}]
         destinations = [{{ topic = 'a-{{name}}', cache = 'out' }}, {{ topic = {hostile}, cache = 'out' }}, \
         {{ eventbridge = {{ source = {hostile} }} }}]"
    );
    let failing = format!(
        "{route}destinations = [{{ topic = 'a', cache = 'out', transforms = [{{ json = {{ pointer = '/a', transforms = ['trim'] }} }}] }}]"
    );
    let ignoring =
        "[[routes]]\ncache = 'other'\ntopic = '{name}'\ndestinations = [{ eventbridge = {} }]".to_owned();
    let plain = [&[][..], &["--format", "json"]];
    let drawings = [&["--format", "table"][..], &["--format", "mermaid"], &["--format", "dot"]];
    let events = [&["--event", event][..], &["--event", event, "--format", "json"]];
    for (files, formats) in [
        // In JSON, an error of the syntax does not repeat the text.
        (&broken[..1], &plain[..1]),
        (&broken[1..], &plain),
        (std::slice::from_ref(&valid), &[&plain[..], &drawings, &events].concat()),
        (&[failing][..], &events),
        (std::slice::from_ref(&ignoring), &events[..1]),
    ] {
        for (file, flags) in files.iter().flat_map(|file| formats.iter().map(move |flags| (file, *flags))) {
            let ended = end_with(fanout(&[&["check", "-"], flags].concat()), file.as_bytes()).await;
            assert_harmless(&format!("{file} {flags:?}"), &ended);
        }
    }
    let file = File::new("not-json.json", &format!("{{\"{HOSTILE}\""));
    let ended = end_with(fanout(&["check", "-", "--event", file.path()]), ignoring.as_bytes()).await;
    // The error of a text that is not JSON does not repeat it.
    ended.assert_code(1).assert_one_error("the event cannot be used");
}
