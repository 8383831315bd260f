//! `fanout moderate`.

use serde_json::{Value, json};

use crate::harness::{end, end_with, fanout};

#[tokio::test]
async fn shows_what_was_found_and_the_result() {
    let ended = end(fanout(&["moderate", "Oh sh1t, hello Scunthorpe"])).await.assert_code(0);
    let wanted = "\"Oh sh1t, hello Scunthorpe\" becomes \"Oh ****, hello Scunthorpe\"\n  \
                  3..7 \"sh1t\": entry \"shit\" (profane)\n";
    assert_eq!(ended.out, wanted);
    let ended = end(fanout(&["moderate", "Hello"])).await.assert_code(0);
    assert_eq!(ended.out, "nothing found\n");
}

#[tokio::test]
async fn takes_settings_of_file_and_counts_messages() {
    let settings = "{ action = 'drop', deny = ['acme*'] }";
    let args = ["moderate", "--settings", settings, "--file", "-"];
    let ended = end_with(fanout(&args), "Hello\nAcmes\nshit\n".as_bytes()).await.assert_code(0);
    let wanted = "\"Acmes\" is dropped: moderate: the text has words that are not let through (denied)\n  \
                  0..5 \"Acmes\": entry \"acme*\" (denied)\n\
                  \"shit\" is dropped: moderate: the text has words that are not let through (profane)\n  \
                  0..4 \"shit\": entry \"shit\" (profane)\n\
                  2 of 3 messages have something in them\n";
    assert_eq!(ended.out, wanted);
}

#[tokio::test]
async fn prints_json_for_programs() {
    let settings = "{ action = 'drop' }";
    let args = ["moderate", "--json", "--settings", settings, "--file", "-"];
    let ended = end_with(fanout(&args), "Hello\nf u c k\n".as_bytes()).await.assert_code(0);
    let lines: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reason = "moderate: the text has words that are not let through (profane)";
    let found = json!([{"at": [[0, 7]], "entry": "fuck", "kinds": ["profane"]}]);
    assert_eq!(
        lines,
        [
            json!({"text": "f u c k", "result": null, "dropped": reason, "found": found}),
            json!({"messages": 2, "with_something": 1}),
        ]
    );
    let ended = end(fanout(&["moderate", "--json", "Hello"])).await.assert_code(0);
    let wanted = json!({"text": "Hello", "result": "Hello", "dropped": null, "found": []});
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap(), wanted);
}

#[tokio::test]
async fn rejects_unknown_settings() {
    let ended = end(fanout(&["moderate", "--settings", "{ speed = 1 }", "x"])).await.assert_code(2);
    assert!(ended.err.contains("speed"), "{}", ended.err);
}
