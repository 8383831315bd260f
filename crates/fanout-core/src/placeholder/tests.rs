//! Tests of the language as its users see it.

use momento_webhook::Event;
use proptest::prelude::*;

use super::*;

const CAPTURES: [&str; 2] = ["room", "seat"];

fn event(text: &str) -> Event {
    Event {
        cache: "chat".into(),
        topic: "friends-publish".into(),
        event_timestamp: 1_704_296_470_564,
        publish_timestamp: 1_704_296_470_565,
        topic_sequence_number: 7,
        topic_sequence_page: None,
        token_id: None,
        text: text.into(),
    }
}

/// The values of an event in the room `friends`.
fn values(event: &Event) -> Values<'_> {
    let captures = &[("room", "friends"), ("seat", "12")];
    Values { event, captures, text: &event.text, language: None, document: None, found: None }
}

fn made(source: &str, text: &str) -> Result<String, RenderError> {
    let template = Template::read(source, &CAPTURES, Scope::Transform)
        .unwrap_or_else(|error| panic!("{source}: {error}"));
    template.text(&values(&event(text)), 1_000).map(Cow::into_owned)
}

fn refused(source: &str, scope: Scope) -> SyntaxError {
    match Template::read(source, &CAPTURES, scope) {
        Err(error) => error,
        Ok(template) => panic!("{source} is {template:?}"),
    }
}

#[test]
fn renders_fields_captures_and_members() {
    let json = r#"{"from":"mo","items":[{"name":"a"},{"name":"b"}],"first name":"Zoë","$t":{"0":true},"o":{"a": [1 ]}}"#;
    for (source, expected) in [
        ("{room}-subscribe-{seat}", "friends-subscribe-12"),
        ("{ room }/{cache}#{topic}", "friends/chat#friends-publish"),
        ("{topic_sequence_number} {event_timestamp} {publish_timestamp}", "7 1704296470564 1704296470565"),
        ("{json.from} has {json.items.1.name}", "mo has b"),
        (r#"{json."first name"} {json.'$t'.0}"#, "Zoë true"),
        ("{json.o} {json.items | tojson}", r#"{"a": [1 ]} [{"name":"a"},{"name":"b"}]"#),
        ("costs {'$'}{seat}, {'100%'}{seat}, {\"{'}'}\"}", "costs $12, 100%12, {'}'}"),
        ("no placeholder, $5, 5%, * and :-) <b>", "no placeholder, $5, 5%, * and :-) <b>"),
        ("", ""),
    ] {
        assert_eq!(made(source, json).as_deref(), Ok(expected), "{source}");
    }
    assert_eq!(made("{text}|{original}|{json}", " [1, 2] ").as_deref(), Ok(" [1, 2] | [1, 2] |[1, 2]"));
    assert_eq!(made("{event_id}", "x"), Ok(event("x").id()));
}

#[test]
fn applies_filters_from_left_to_right() {
    for (source, expected) in [
        ("{json.name | upper | lower}", "zoë & co"),
        ("{json.name | upper}", "ZOË & CO"),
        ("{json.pad | trim}", "x"),
        ("{json.name | replace('o', '0') | replace(\" & \", '')}", "Z0ëC0"),
        (
            "{json.list | join(', ')} {json.list | join} {json.name | join('-')}",
            "a, 1, [2], null a1[2]null Zoë & Co",
        ),
        (
            "{json.name | tojson} {json.big | tojson} {json.list | tojson | tojson}",
            r#""Zoë & Co" 20 "[\"a\",1,[2],null]""#,
        ),
        ("{json.name|cut( 3 )} {json.name | cut(4, '…')} {json.name | cut(8, '...')}", "Zoë Zoë… Zoë & Co"),
        (
            "{json.no | default('-')} {json.null | default(0)} {json.empty | default(false)} {token_id | default(\"x\") | upper}",
            "- 0 false X",
        ),
        ("{json.no | upper | default('none') | tojson} {json.no | default(1.50) | tojson}", r#""none" 1.50"#),
        ("{json.name | default('x')} [{json.empty}]", "Zoë & Co []"),
    ] {
        let json = r#"{"name":"Zoë & Co","pad":" x\n","tag":"<b a='\"'>","list":["a",1,[2],null],"big":20,"null":null,"empty":""}"#;
        assert_eq!(made(source, json).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn keeps_every_digit_of_a_number() {
    for number in ["20000000000000000001", "-0", "1.10", "1e400", "123456789012345678901234567890.5"] {
        let json = format!(r#"{{"wei":{number}}}"#);
        for source in ["{json.wei}", "{json.wei | tojson}", "{json.wei | default(0)}"] {
            assert_eq!(made(source, &json).as_deref(), Ok(number), "{source}");
        }
        assert_eq!(
            made("{json.0 | default('x')}{json.0 | join}", &format!("[{number}]")),
            Ok([number, number].concat())
        );
    }
    assert_eq!(
        made(&format!("{{json | default({})}}", "12345678901234567890123"), "null").as_deref(),
        Ok("12345678901234567890123")
    );
}

#[test]
fn cuts_between_what_a_reader_takes_for_characters() {
    let family = "👩‍👩‍👧‍👦";
    for (text, expected) in [
        (family.repeat(3), format!("{family}…")),
        (family.repeat(2), family.repeat(2)),
        ("e\u{301}e\u{301}e\u{301}".to_owned(), "e\u{301}…".to_owned()),
        ("नमस्ते".to_owned(), "न…".to_owned()),
        ("🇩🇪🇩🇪🇩🇪".to_owned(), "🇩🇪…".to_owned()),
    ] {
        assert_eq!(made("{text | cut(2, '…')}", &text), Ok(expected));
    }
}

#[test]
fn refuses_filters_with_arguments_of_the_wrong_number_or_type() {
    for (source, usage) in [
        ("{text | cut}", "`cut(20, '…')`"),
        ("{text | cut()}", "`cut(20, '…')`"),
        ("{text | cut('20')}", "`cut(20, '…')`"),
        ("{text | cut(20, true)}", "`cut(20, '…')`"),
        ("{text | cut(20, 5)}", "`cut(20, '…')`"),
        ("{text | cut(20, 'a', 'b')}", "`cut(20, '…')`"),
        ("{text | cut(true)}", "`cut(20, '…')`"),
        ("{text | cut(1.5)}", "`cut(20, '…')`"),
        ("{text | cut(-1)}", "`cut(20, '…')`"),
        ("{text | cut(0)}", "`cut(20, '…')`"),
        ("{text | cut(3, '...')}", "`cut(20, '…')`"),
        ("{text | cut(99999999999999999999999)}", "`cut(20, '…')`"),
        ("{text | default}", "`default('guest')`"),
        ("{text | default('a', true)}", "`default('guest')`"),
        ("{text | replace('a')}", "`replace('old', 'new')`"),
        ("{text | replace('a', 1)}", "`replace('old', 'new')`"),
        ("{text | replace('', 'x')}", "`replace('old', 'new')`"),
        ("{text | join(1)}", "`join(', ')`"),
        ("{text | upper(1)}", "`upper`"),
        ("{text | lower('x')}", "`lower`"),
        ("{text | trim(' ')}", "`trim`"),
        ("{text | tojson(2)}", "`tojson`"),
    ] {
        let error = refused(source, Scope::Transform);
        assert!(error.message.contains("arguments") && error.message.ends_with(usage), "{source}: {error}");
        assert_eq!(error.at, Some(8), "{source}");
    }
    for source in ["{text | truncate(20)}", "{text | escape}", "{text | d('x')}"] {
        let error = refused(source, Scope::Request);
        assert!(
            error.message.ends_with(
                "expected one of `cut`, `default`, `join`, `lower`, `replace`, `tojson`, `trim`, `upper`"
            ),
            "{error}"
        );
    }
}

/// A text in another syntax, its position, the offset of the fault, and a part of the message, which names the remedy.
#[test]
fn refuses_other_syntaxes_with_the_remedy() {
    use Scope::{Name, Transform};
    let one_brace = "write one brace, as in `{topic}`, or `{'{'}` for the character itself";
    let default = "for a default write `{token_id | default('guest')}`";
    for (source, scope, at, remedy) in [
        ("a-{{ room }}", Transform, 2, one_brace),
        ("{{room}}", Name, 0, one_brace),
        ("{{{room}}}", Transform, 0, one_brace),
        ("a}}", Transform, 1, "for the character itself write `{'}'}`"),
        ("room}-out", Name, 4, "closes a brace that is not open; for the character itself write `{'}'}`"),
        ("{% if text %}x{% endif %}", Transform, 0, "another destination with the transform `filter`"),
        (
            "{%- for a in json -%}",
            Transform,
            0,
            "there are no blocks; for a value that may be missing write `{token_id | default('guest')}`",
        ),
        ("{# note #}", Transform, 0, "write comments in the file, after `#`"),
        ("a/${room}", Name, 2, "write `{topic}` without the `$`, or `{'$'}` for the character itself"),
        ("{room}: ${text}", Transform, 8, "write `{topic}` without the `$`"),
        ("%{room}", Transform, 0, "write `{topic}` without the `%`, or `{'%'}` for the character itself"),
        (
            "support-*-in",
            Name,
            8,
            "write `{name}` for a part that varies, or `{'*'}` for the character itself",
        ),
        ("{room}*", Name, 6, "write `{name}` for a part that varies, or `{'*'}` for the character itself"),
        ("rooms/+/in", Name, 6, "write `{name}` for a part that varies, or `{'+'}` for the character itself"),
        ("rooms/#", Name, 6, "write `{name}` for a part that varies, or `{'#'}` for the character itself"),
        ("#", Name, 0, "write `{name}` for a part that varies, or `{'#'}` for the character itself"),
        (
            "rooms/:room/in",
            Name,
            6,
            "write `{name}` for a part that varies, or `{':'}` for the character itself",
        ),
        ("a:b/:room", Name, 4, "write `{name}` for a part that varies, or `{':'}` for the character itself"),
        ("<room>-in", Name, 0, "write `{room}`, or `{'<'}` for the character itself"),
        ("a-$Room", Name, 2, "write `{room}`, or `{'$'}` for the character itself"),
        ("$json.from", Name, 0, "write `{json.from}`, or `{'$'}` for the character itself"),
        ("{room}-%room%", Name, 7, "write `{room}`, or `{'%'}` for the character itself"),
        (":room-in", Name, 0, "write `{room}`, or `{':'}` for the character itself"),
        ("{room or 'x'}", Transform, 6, default),
        ("{room ?? 'x'}", Transform, 6, default),
        ("{room || 'x'}", Transform, 7, default),
        ("{room:-x}", Name, 5, default),
        ("{json['from']}", Transform, 5, "for a member write a dot, as in `{json.items.0}`"),
        ("{json[0]}", Transform, 5, "for a member write a dot, as in `{json.items.0}`"),
        ("{text.upper()}", Transform, 11, "for a filter write `|`, as in `{text | upper}`"),
        ("{upper(text)}", Transform, 6, "for a filter write `|`, as in `{text | upper}`"),
        ("{text | upper | cut(3 4)}", Transform, 22, "expected `,` or `)`"),
        ("{text | default(room)}", Transform, 16, "expected a text in quotes, a number, `true` or `false`"),
        ("{text | cut(3,)}", Transform, 14, "expected a text in quotes, a number, `true` or `false`"),
        ("{text + 1}", Transform, 6, "has '+' in a placeholder; expected `|` and a filter, or `}`"),
        ("{Room}", Name, 1, "has 'R' in a placeholder; expected a name; a name consists of a-z, 0-9 and _"),
        ("{room-id}", Name, 5, "expected `|` and a filter, or `}`; a name consists of a-z, 0-9 and _"),
        ("{$room}", Name, 1, "has '$' in a placeholder; expected a name"),
        ("{0}", Transform, 1, "has '0' in a placeholder; expected a name"),
        ("{}", Name, 0, "has a placeholder without a name; for the character itself write `{'{'}`"),
        ("{\"text\": \"{text}\"}", Transform, 0, "For JSON, write a table instead of a text"),
        (
            "é-{room",
            Name,
            3,
            "opens a brace and does not close it; add `}`, or write `{'{'}` for the character itself",
        ),
        ("{room | ", Name, 0, "opens a brace and does not close it"),
        ("{'room}", Name, 1, "opens a quoted text and does not end it; add `'`"),
        ("{json.}", Transform, 6, "expected the name of a member"),
        ("{json..a}", Transform, 6, "expected the name of a member"),
    ] {
        let error = refused(source, scope);
        assert!(error.message.contains(remedy), "{source}: {error}");
        assert_eq!(error.at, Some(at), "{source}: {error}");
    }
}

#[test]
fn allows_signs_of_other_syntaxes_where_they_mean_themselves() {
    for (source, expected) in [
        ("support-{'*'}-in", "support-*-in"),
        ("rooms/{'+'}/in/{\"#\"}", "rooms/+/in/#"),
        ("{cache}#{topic}", "chat#friends-publish"),
        ("chat:{room}", "chat:friends"),
        ("a:b/c#/d+e <3 > 2", "a:b/c#/d+e <3 > 2"),
        ("{'$'}room: $5, 50% of 100%, <a b>", "$room: $5, 50% of 100%, <a b>"),
        ("https://localhost:4566/0/{room}", "https://localhost:4566/0/friends"),
    ] {
        let template = Template::read(source, &CAPTURES, Scope::Name).unwrap();
        assert_eq!(template.name(&values(&event("x"))).as_deref(), Ok(expected));
        assert_eq!(template.to_string(), source);
    }
    assert_eq!(made("@{room}: #{seat} * {'{%'}", "x").as_deref(), Ok("@friends: #12 * {%"));
}

#[test]
fn refuses_unknown_names_with_those_that_are_known_there() {
    let fields = "`cache`, `topic`, `token_id`, `topic_sequence_number`, `topic_sequence_page`, `event_timestamp`, \
                  `publish_timestamp`, `event_id`, `text`, `original`";
    for (scope, more) in [
        (Scope::Name, ", `json`"),
        (Scope::Request, ", `language`, `json`, `lookup`"),
        (Scope::Transform, ", `language`, `json`, `lookup`"),
        (Scope::Inside, ", `language`, `json`, `lookup`, `document`"),
    ] {
        let error = refused("a-{colour}", scope);
        assert_eq!(
            error.message,
            format!("has the unknown name `colour`; expected one of `room`, `seat`, {fields}{more}")
        );
        assert_eq!(error.at, Some(2));
    }
    for (source, scope, says) in [
        ("{language}", Scope::Name, "is unknown here: names are made before the transforms run"),
        ("{document.a}", Scope::Transform, "exists only in the transforms inside `json`"),
        ("{text.a}", Scope::Inside, "`text` has no members; a member of a JSON text is `{json.member}`"),
        ("{room.a | upper}", Scope::Name, "`room` has no members"),
        ("", Scope::Name, "is empty"),
        ("", Scope::Request, "is empty"),
    ] {
        let error = refused(source, scope);
        assert!(error.message.contains(says), "{source}: {error}");
    }
}

#[test]
fn knows_each_field_from_its_place_on() {
    let mut event = event("now");
    event.topic_sequence_page = Some(3);
    event.token_id = Some("mo".into());
    let values = Values {
        text: "[1]",
        language: Some("de"),
        document: Some(r#"{"a":{"b":"c"}}"#),
        found: Some(r#"{"name":"Mo"}"#),
        ..values(&event)
    };
    for field in &FIELDS {
        let template = Template::read(format!("{{{}}}", field.name), &[], field.known).unwrap();
        assert!(template.part(&values).is_ok(), "{}", field.name);
        assert_eq!(template.lacking().next().is_some(), field.is_optional, "{}", field.name);
        assert!(Template::read(format!("{{{}}}", field.name), &[], Scope::Inside).is_ok());
    }
    let made =
        Template::read("{language} {document.a.b} {text} {original} {json.0}", &[], Scope::Inside).unwrap();
    assert_eq!(made.text(&values, 100).as_deref(), Ok("de c [1] now 1"));
}

#[test]
fn fields_of_the_webhook_have_the_names_of_its_members() {
    let json: serde_json::Value = serde_json::from_str(&event("x").to_json()).unwrap();
    for member in json.as_object().unwrap().keys() {
        assert!(Field::named(member).is_some(), "{member}");
    }
}

#[test]
fn fails_without_a_value_or_a_default() {
    let missing = |path: &str| Err(RenderError::Missing(path.into()));
    for (source, text, expected) in [
        ("{token_id}", "x", missing("token_id")),
        ("{json.from | upper}", "{}", missing("json.from")),
        ("{json.a.b.c}", r#"{"a":{"b":1}}"#, missing("json.a.b.c")),
        ("{json.null}", r#"{"null":null}"#, missing("json.null")),
        ("{json.half}", r#"{"half":"\ud83d"}"#, missing("json.half")),
        ("{json | join}", r#"["\ud83d"]"#, missing("json")),
        ("{json.1}", "[0]", missing("json.1")),
        ("{json.00}", "[0]", missing("json.00")),
        ("{json}", "null", missing("json")),
        ("{json.from}", "hello", missing("json.from: its text is not JSON")),
        ("{json}", "{'a': 1}", missing("json: its text is not JSON")),
        ("{json.from | default('-')}", "hello", Ok("-".into())),
        ("{json.other}", r#"{"half":"\ud83d","far":1e999,"\ud83d":1,"other":"y"}"#, Ok("y".into())),
        ("{json.a}", r#"{"a":1,"a":2}"#, Ok("2".into())),
    ] {
        assert_eq!(made(source, text), expected, "{source} of {text}");
    }
    assert_eq!(RenderError::Missing("json.from".into()).to_string(), "the event has no json.from");
}

#[test]
fn refuses_an_empty_value_in_names_and_requests() {
    let event = event("");
    for source in ["a-{text}", "a-{text | trim}", "{json.a | default('')}"] {
        let template = Template::read(source, &CAPTURES, Scope::Name).unwrap();
        assert!(matches!(template.name(&values(&event)), Err(RenderError::Missing(_))), "{source}");
        assert!(template.part(&values(&event)).is_err());
    }
    assert_eq!(made("a-{text}", "").as_deref(), Ok("a-"));
    let template = Template::read("a-{text | default('none')}", &CAPTURES, Scope::Name).unwrap();
    assert_eq!(template.name(&values(&event)).as_deref(), Ok("a-none"));
}

#[test]
fn bounds_what_is_made() {
    let large = event(&"1".repeat(200_000));
    for source in [
        "{text}",
        "{text | upper}",
        "{text | tojson}",
        "{text | replace('1', '12345678901234567890')}",
        "{json.x | default('y')}",
    ] {
        let template = Template::new(source).unwrap();
        let text = template.text(&values(&large), 1_000);
        assert!(text == Err(RenderError::TooLarge(1_000)) || text.as_deref() == Ok("y"), "{source}");
    }
    assert_eq!(Template::new("{text}").unwrap().name(&values(&large)), Err(RenderError::TooLarge(1_024)));
    assert_eq!(
        Template::new("a".repeat(1_025)).unwrap().name(&values(&large)),
        Err(RenderError::TooLarge(1_024))
    );
    let list = event(&format!("[{}1]", "1,".repeat(60_000)));
    let join = Template::new(format!("{{json | join('{}')}}", "-".repeat(60_000))).unwrap();
    assert_eq!(join.part(&values(&list)), Err(RenderError::TooLarge(MAX_VALUE_BYTES)));
}

#[test]
fn bounds_what_is_written() {
    for (source, says) in [
        ("x".repeat(65_537), "has more than 65536 bytes"),
        ("{room}".repeat(257), "has more than 256 placeholders and texts"),
        (format!("{{json{}}}", ".a".repeat(17)), "more than 16"),
        (format!("{{text{}}}", "|trim".repeat(17)), "more than 16"),
        ("{".repeat(60_000), "write one brace"),
        (format!("{{text{}", "|cut(".repeat(12_000)), "in quotes, a number"),
        (format!("{{text | cut{}", "(".repeat(60_000)), "in quotes, a number"),
    ] {
        assert!(refused(&source, Scope::Transform).message.contains(says));
    }
    assert!(Template::new("{room}".repeat(256)).is_ok());
    // JSON that is nested deeply is only skipped, or walked along as many members as the placeholder has.
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(made("{json.0.0.0.0.1 | default('x')}", &deep).as_deref(), Ok("x"));
    assert_eq!(made("{json.b}", &format!(r#"{{"a":{deep},"b":2}}"#)).as_deref(), Ok("2"));
}

#[test]
fn names_what_it_needs() {
    for (source, names, lacking) in [
        ("{room}-{json.a.b}-{room}", vec!["room", "json", "room"], Some("json.a.b")),
        ("{token_id | default('x') | upper}{topic}", vec!["token_id", "topic"], None),
        ("{token_id | upper}", vec!["token_id"], Some("token_id")),
        ("plain", vec![], None),
    ] {
        let template = Template::new(source).unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), names);
        assert_eq!(template.lacking().next(), lacking);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn renders_text_without_braces_unchanged(source in "[^{}]{0,60}") {
        prop_assert_eq!(made(&source, "text"), Ok(source));
    }

    #[test]
    fn verbatim_renders_any_text_unchanged(text in "(\\PC|[{}'\"*\\x00]){0,40}") {
        let template = Template::verbatim(&text);
        prop_assert_eq!(template.literal(), Some(text.as_str()));
        let read = Template::new(template.to_string()).unwrap();
        prop_assert_eq!(read.literal(), Some(text.as_str()));
        prop_assert_eq!(made("{text}", &text), Ok(text.clone()));
        let json: String = serde_json::from_str(&made("{text | tojson}", &text).unwrap()).unwrap();
        prop_assert_eq!(json, text);
    }

    #[test]
    fn parses_or_rejects_any_text(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "{{", "room", "json", ".a", ".0", "text", " | ", "|", "upper", "cut(", "default(", "tojson", "replace(", "join",
                "3", "'x'", "\"", ",", ")", "é", "$", "*", "/", ":", "%", "token_id", " ",
            ]),
            0..14,
        ),
        text in r#"[\[\]{}0-9a-z", :]{0,30}"#,
        max_bytes in 0_usize..40,
    ) {
        let source = parts.concat();
        for scope in [Scope::Name, Scope::Request, Scope::Transform, Scope::Inside] {
            match Template::read(source.as_str(), &CAPTURES, scope) {
                Err(error) => prop_assert!(error.at.is_none_or(|at| source.is_char_boundary(at)), "{source}: {error}"),
                Ok(template) => {
                    prop_assert_eq!(template.to_string(), source.as_str());
                    let event = event(&text);
                    if let Ok(made) = template.text(&values(&event), max_bytes) {
                        prop_assert!(made.len() <= max_bytes);
                    }
                    if let Ok(made) = template.name(&values(&event)) {
                        prop_assert!(template.literal().is_some() || !made.is_empty());
                    }
                }
            }
        }
    }
}
