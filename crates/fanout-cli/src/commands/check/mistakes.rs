//! The mistakes of newcomers. Each has one message, with its remedy.

use std::borrow::Cow;
use std::collections::HashMap;

use fanout_core::file;
use fanout_core::placeholder::{Template, Values};
use fanout_core::transform::Transforms;
use momento_webhook::Event;

use super::outline::Outline;
use crate::translations::Translations;

/// Returns the errors of a file or, if it is valid, the notes about what is doubtful in it.
fn said(text: &str) -> Vec<String> {
    let transforms = Translations::Pseudolocalize.transforms(&Transforms::standard());
    match file::read(text, &transforms, fanout_aws::KINDS) {
        Ok(routes) => Outline::new(text, &routes).doubts(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn assert_says(text: &str, remedy: &str) {
    let said = said(text);
    assert!(matches!(&said[..], [message] if message.contains(remedy)), "{text}\n{remedy}\n{said:#?}");
}

#[test]
fn names_of_other_tools_have_a_remedy() {
    for (topic, remedy) in [
        ("support-*-in", "write `{name}` for a part that varies, or `{'*'}`"),
        ("support.*", "write `{name}` for a part that varies"),
        ("support/#", "write `{name}` for a part that varies"),
        ("support/+/in", "write `{name}` for a part that varies"),
        ("support/>", "write `{name}` for a part that varies"),
        ("support-?-in", "write `{name}` for a part that varies, or `{'?'}` if it is meant"),
        ("^support-(.+)-in$", "looks like a regular expression"),
        ("support-[a-z]-in", "has `[`, which is not a wildcard here"),
        ("/support/:room", "write `{name}` for a part that varies"),
        (":room-in", "write `{room}`, or `{':'}`"),
        ("${room}-in", "write `{topic}` without the `$`"),
        ("$room-in", "write `{room}`, or `{'$'}`"),
        ("<room>-in", "write `{room}`, or `{'<'}`"),
        ("%room%-in", "write `{room}`, or `{'%'}`"),
        ("$(room)-in", "write `{room}`, or `{'$'}`"),
        ("%(room)s-in", "write `{room}`, or `{'%'}`"),
        ("%{room}-in", "write `{topic}` without the `%`"),
        ("%s-in", "has `%s`, which is a plain text; write `{name}` for a part that varies"),
        ("#{room}-in", "write `{topic}` without the `#`, or `{'#'}`"),
        ("{:room}-in", "expected a name"),
        ("{0}-in", "expected a name"),
        ("{{room}}-in", "write one brace"),
        ("{Room}-in", "a name consists of a-z, 0-9 and _"),
        ("{room-in", "expected `|` and a filter, or `}`"),
        ("{room", "opens a brace and does not close it; add `}`"),
        (" in", "begins or ends with white space"),
        ("{topic}-in", "has the name of a field of the event; give it another name"),
    ] {
        assert_says(&format!("[[routes]]\ntopic = \"{topic}\"\ndestinations = ['out']"), remedy);
    }
}

#[test]
fn destinations_of_other_tools_have_a_remedy() {
    for (destination, remedy) in [
        ("'{{ json.from }}-out'", "write one brace"),
        ("'${room}-out'", "write `{topic}` without the `$`"),
        ("'$room-out'", "write `{room}`"),
        ("'$(room)-out'", "write `{room}`"),
        ("'$.from'", "write `{json.from}`"),
        ("'%{room}-out'", "write `{topic}` without the `%`"),
        ("'<room>-out'", "write `{room}`"),
        ("':room-out'", "write `{room}`"),
        ("'out:room'", "has `:room`, which is a plain text; for its value write `{room}`"),
        ("'%s-out'", "has `%s`, which is a plain text"),
        ("'#{room}-out'", "write `{topic}` without the `#`"),
        ("{ list = { key = '#{room}' } }", "write `{topic}` without the `#`"),
        ("{ list = { key = '%s' } }", "for a value write a placeholder, such as `{text}`"),
        ("{ list = { key = '%{room}' } }", "write `{topic}` without the `%`"),
        ("{ list = { key = '$room' } }", "write `{room}`"),
        ("{ list = { key = '<room>' } }", "write `{room}`"),
        ("{ list = { key = ':room' } }", "write `{room}`"),
        ("{ list = { key = 'history:room' } }", "for its value write `{room}`"),
        ("'https://example.com/hook'", "URLs are targets of the relay"),
        ("{ url = 'https://example.com/hook' }", "URLs and functions are targets of the relay"),
        ("{ lambda = 'arn:aws:lambda:eu-west-1:123456789012:function:x' }", "are targets of the relay"),
        (
            "{ queue = 'https://sqs.eu-west-1.amazonaws.com/123456789012/orders' }",
            "write sqs = { queue = ... }",
        ),
        (
            "{ sqs = { url = 'https://sqs.eu-west-1.amazonaws.com/123456789012/orders' } }",
            "did you mean `queue`?",
        ),
        ("{ list = { name = 'k' } }", "did you mean `key`?"),
        ("{ counter = { key = 'k', by = 2 } }", "did you mean `increment`?"),
        ("'{payload}'", "did you mean `text`?"),
        ("'{user_id}'", "did you mean `token_id`?"),
        ("'{timestamp}'", "did you mean `event_timestamp`?"),
        ("'{uuid}'", "did you mean `event_id`?"),
        ("'{json.from | default(guest)}'", "write `'guest'`"),
        ("{ topic = ['a', 'b'] }", "for several, write a destination for each"),
        (
            "{ dynamodb = { table = 'abc', key = '{room}', item = {} } }",
            "expected a table, as in { key = \"value\" }",
        ),
        ("'{{.room}}-out'", "write one brace"),
        ("'{% if room %}'", "but there are no blocks"),
        ("'{upper(room)}'", "for a filter write `|`, as in `{text | upper}`"),
        ("'{myRoom}'", "a name consists of a-z, 0-9 and _"),
        ("'{text.from}'", "a member of a JSON text is `{json.member}`"),
        ("{ sqs = 'https://sqs.eu-west-1.amazonaws.com/123456789012/orders' }", "as in { key = \"value\" }"),
        ("{ list = { key = 'k', ttl_seconds = '300' } }", "write 300, without quotes"),
        ("{ list = { key = 'k', ttl_seconds = '5m' } }", "write a number of seconds"),
        ("{ list = { key = 'k', maxLength = 3 } }", "did you mean `max_length`?"),
        ("'{roomm}-out'", "did you mean `room`?"),
        ("'{txt}'", "did you mean `text`?"),
        ("'{json.from | uppr}'", "did you mean `upper`?"),
        ("'{room | truncate(3)}'", "expected one of `cut`, "),
        ("'a, b'", "for several, write a list of names"),
        (
            "{ dynamo = { table = 'people', key = { id = '{event_id}' }, item = {} } }",
            "did you mean `dynamodb`?",
        ),
    ] {
        assert_says(&format!("[[routes]]\ntopic = '{{room}}-in'\ndestinations = [{destination}]"), remedy);
    }
}

#[test]
fn transforms_of_other_tools_have_a_remedy() {
    for (destination, remedy) in [
        (
            "{ topic = 'o', filter = { contains = 'x' } }",
            "a transform is in a list, as in extra_transforms = [",
        ),
        ("{ topic = 'o', transforms = ['censor'] }", "did you mean \"moderate\"?"),
        ("{ topic = 'o', transforms = ['none'] }", "did you mean \"echo\"?"),
        ("{ topic = 'o', transforms = [{ truncate = 100 }] }", "as in { truncate = { characters = 100 } }"),
        ("{ topic = 'o', transforms = [{ truncate = { length = 3 } }] }", "did you mean `characters`?"),
        ("{ topic = 'o', transforms = [{ filter = 'x' }] }", "as in { filter = { contains = \"help\" } }"),
        ("{ topic = 'o', transforms = [{ filter = { regex = 'x' } }] }", "did you mean `matches`?"),
        ("{ topic = 'o', transforms = [{ translate = { to = 'es' } }] }", "did you mean `target`?"),
        (
            "{ topic = 'o', transforms = [{ json = { path = '/a', transforms = ['trim'] } }] }",
            "did you mean `pointer`?",
        ),
        ("{ topic = 'o', transforms = [{ template = { text = '%s!' } }] }", "such as `{text}`"),
        ("{ topic = 'o', transforms = ['translate'] }", "write { translate = { target = ... } }"),
        ("{ topic = 'o', transforms = ['Uppercase'] }", "did you mean \"uppercase\"?"),
        ("{ topic = 'o', transforms = ['translate(es)'] }", "did you mean \"translate\"?"),
        ("'{language}'", "names are made before the transforms run"),
        ("{ topic = 'o', extra_transform = ['trim'] }", "did you mean `extra_transforms`?"),
        ("{ topic = 'o', transforms = ['uperase'] }", "did you mean \"uppercase\"?"),
        ("{ topic = 'o', transforms = ['upper'] }", "did you mean \"uppercase\"?"),
        ("{ topic = 'o', transforms = ['shout'] }", "expected one of echo, filter, "),
        ("{ topic = 'o', transforms = 'trim' }", "expected a list; write [\"trim\"]"),
        ("{ topic = 'o', transforms = [{ translate = 'es' }] }", "as in { translate = { target = \"es\" } }"),
        (
            "{ topic = 'o', transforms = [{ name = 'translate', target = 'es' }] }",
            "or its name with settings, such as { translate = { target = \"es\" } }",
        ),
        ("{ topic = 'o', transforms = [{ truncate = { character = 3 } }] }", "did you mean `characters`?"),
        (
            "{ topic = 'o', transforms = [{ filter = { contains = '{room}' } }] }",
            "its settings have no placeholders",
        ),
        (
            "{ topic = 'o', transforms = [{ template = { text = '$room: hi' } }] }",
            "for its value write `{room}`",
        ),
        (
            "{ topic = 'o', transforms = [{ template = { json = { by = '<json.from>' } } }] }",
            "for its value write `{json.from}`",
        ),
        (
            "{ topic = 'o', transforms = [{ json = { pointer = '$.message', transforms = ['trim'] } }] }",
            "expected a leading `/`, as in `/message`",
        ),
        (
            "{ topic = 'o', transforms = [{ moderate = { on_failure = 'pass' } }] }",
            "expected \"fail\" or \"drop\"",
        ),
        (
            "{ topic = 'o', transforms = [{ trim = { on_failure = 'ignore' } }] }",
            "\"fail\", \"drop\" or \"pass\"",
        ),
    ] {
        assert_says(&format!("[[routes]]\ntopic = '{{room}}-in'\ndestinations = [{destination}]"), remedy);
    }
}

#[test]
fn files_of_other_tools_have_a_remedy() {
    for (text, remedy) in [
        ("[routes]\ntopic = 'in'\ndestinations = ['o']", "write [[routes]], with two brackets"),
        ("[[route]]\ntopic = 'in'\ndestinations = ['o']", "did you mean `routes`?"),
        ("[[routes]]\ntopic = 'in'\n[routes.destinations]\ntopic = 'o'", "write [[routes.destinations]]"),
        ("[[routes]]\nfrom = 'in'\ndestinations = ['o']", "did you mean `topic`?"),
        ("[[routes]]\ntopic = 'in'\nto = ['o']", "did you mean `destinations`?"),
        (
            "[[routes]]\ntopic = 'in'\nmoderate = true\ndestinations = ['o']",
            "a transform is in a list, as in transforms = [{ moderate = { ... } }]",
        ),
        ("[[routes]]\ntopic = 'in'\n[[destinations]]\ntopic = 'o'", "write [[routes.destinations]]"),
        ("[[routes]]\ntopik = 'in'\ndestinations = ['o']", "did you mean `topic`?"),
        ("[[routes]]\ntopic = 'in'\ndestination = ['o']", "did you mean `destinations`?"),
        (
            "[[routes]]\ntopic = ['a', 'b']\ndestinations = ['o']",
            "for several, write a route for each, or a pattern",
        ),
        (
            "[[routes]]\ncache = ['a', 'b']\ntopic = 'in'\ndestinations = ['o']",
            "for several, write a route for each",
        ),
        ("[[routes]]\ntopic = 'in'\ndestinations = 'o'", "expected a list; write [\"o\"]"),
        ("[[routes]]\ntopic = 'in'", "write destinations = [\"a topic\"]"),
        ("[[routes]]\ntopic = in\ndestinations = ['o']", "write \"in\""),
        ("[[routes]]\ntopic = {room}-in\ndestinations = ['o']", "write \"{room}-in\""),
        ("[[routes]]\ntopic = 'in'\ndestinations = [out]", "write \"out\""),
        ("[[routes]]\ntopic = “in”\ndestinations = ['o']", "has the quotation mark “; write \""),
        ("[[routes]]\ntopic = 'in'\ndestinations = ['o'", "expected `]`"),
        (
            "[[routes]]\ntopic = 'in'\ndestinations = ['o']\ntopic = 'inn'",
            "duplicate key `topic`; the table has it at line 2 already",
        ),
        ("[[routes]]\ncache = '{tenant}'\ntopic = 'in'\ndestinations = ['o']", "leave it out for any cache"),
        ("{\"routes\": [{\"topic\": \"in\"}]}", "the file is JSON; expected TOML"),
        ("routes:\n  - topic: in\n", "the file is YAML; expected TOML"),
        ("[{\"topic\": \"in\"}]", "the file is JSON; expected TOML"),
        ("<routes/>", "the file is XML; expected TOML"),
        ("// routes\n[[routes]]\ntopic = 'in'\ndestinations = ['o']", "a comment begins with `#`"),
        ("[[routes]]\ntopic: 'in'\ndestinations = ['o']", "has `:` behind a key; write `=`"),
        (
            "[[routes]]\ntopic\u{a0}= 'in'\ndestinations = ['o']",
            "has the character U+00A0, which is not a plain space",
        ),
        ("topic = 'in'\ndestinations = ['o']", "`topic` outside of one; write [[routes]] above it"),
        ("[[Routes]]\ntopic = 'in'\ndestinations = ['o']", "did you mean `routes`?"),
        ("[[routes]]\nTopic = 'in'\ndestinations = ['o']", "did you mean `topic`?"),
        ("[[routes]\ntopic = 'in'\ndestinations = ['o']", "expected `]`"),
        ("# nothing\n", "a route begins with [[routes]]"),
        ("", "a route begins with [[routes]]"),
    ] {
        assert_says(text, remedy);
    }
}

#[test]
fn destination_that_loses_moderation_has_a_note() {
    let routes = |more: &str| {
        format!(
            "[[routes]]\ntopic = 'in'\ntransforms = ['moderate']\ndestinations = ['a', {{ topic = 'b', {more} = ['trim'] }}]"
        )
    };
    assert_says(&routes("transforms"), "`extra_transforms` adds to them");
    assert_eq!(said(&routes("extra_transforms")), [""; 0]);
}

#[test]
fn other_line_ends_tabs_and_commas_are_valid() {
    let text = "[[routes]]\n\ttopic\t= 'in'\n\tdestinations = [\n\t\t{ topic = 'o', },\n\t]\n";
    assert_eq!(said(text), [""; 0]);
    assert_eq!(said(&text.replace('\n', "\r\n")), [""; 0]);
}

#[test]
fn name_that_two_people_can_share_has_a_note() {
    let remedy = "`field` of a `dictionary` keeps them apart";
    let course = "{token_id}-{json.course}";
    for destination in [
        format!("'{course}'"),
        format!("{{ list = {{ key = '{course}' }} }}"),
        format!("{{ dictionary = {{ key = 'k', field = '{course}' }} }}"),
        format!("{{ set = {{ key = 'k', element = '{course}' }} }}"),
        format!("{{ dynamodb = {{ table = 'abc', key = {{ id = '{course}' }}, item = {{}} }} }}"),
        format!("{{ topic = 'o', transforms = [{{ lookup = {{ as = 'a', item = '{course}' }} }}] }}"),
        "'{room}{token_id}'".to_owned(),
    ] {
        assert_says(&format!("[[routes]]\ntopic = '{{room}}-in'\ndestinations = [{destination}]"), remedy);
    }
    let apart = "[[routes]]\ntopic = '{room}-in'\ndestinations = [
        { dictionary = { key = '{room}', field = '{token_id}', value = '{token_id}: {text}' } }, 'for-{token_id}']";
    assert_eq!(said(apart), [""; 0]);
}

/// Characters of the ids of people, and of what these people write.
const HOSTILE: [&str; 9] = ["-", "{", "}", "*", "%", "/", "\u{e9}", "e\u{301}", "\u{202e}"];

#[test]
fn names_without_note_differ_between_people() {
    let texts: Vec<_> = HOSTILE
        .iter()
        .flat_map(|one| HOSTILE.iter().flat_map(move |other| [format!("{one}{other}"), (*one).to_owned()]))
        .chain([String::new(), "{token_id}".to_owned()])
        .collect();
    for (name, may_be_shared) in [
        ("of-{token_id}", false),
        ("{token_id}-{cache}", false),
        ("{token_id}-{topic_sequence_number}", false),
        ("{token_id}-{json.a}", true),
        ("{room}-{token_id}", true),
    ] {
        let template = Template::new(name).unwrap();
        let mut owners = HashMap::new();
        let mut is_shared = false;
        let event = crate::event::read("f", br#"{"cache": "c", "topic": "in", "text": ""}"#).unwrap();
        for (person, written) in texts.iter().flat_map(|one| texts.iter().map(move |other| (one, other))) {
            let text = serde_json::json!({ "a": written }).to_string();
            let captures = [("room", written.as_str())];
            let event = Event { token_id: Some(person.clone()), text, ..(*event).clone() };
            let (event, captures) = (&event, &captures[..]);
            let values =
                Values { event, captures, text: &event.text, language: None, document: None, found: None };
            let Ok(made) = template.name(&values).map(Cow::into_owned) else {
                assert!(person.is_empty() || written.is_empty(), "{name} {person:?} {written:?}");
                continue;
            };
            assert!(!person.is_empty() && made.contains(person.as_str()), "{name} {person:?} {made:?}");
            is_shared |= owners.insert(made, person).is_some_and(|other| other != person);
        }
        assert_eq!(is_shared, may_be_shared, "{name}");
        let file = format!("[[routes]]\ntopic = '{{room}}-in'\ndestinations = ['{name}']");
        assert_eq!(said(&file).len(), usize::from(may_be_shared), "{name}");
    }
}

#[test]
fn settings_that_are_meant_have_no_note() {
    let text = "[[routes]]
topic = \"{room}-in{'?'}\"
destinations = [
    \"{room}: out > {'[x]'}\",
    { list = { key = \"last:room:{room}\", value = \"100%d {'#'}{json.number} {'%'}s\" } },
    { topic = 'o', transforms = [{ filter = { value = '{json.from}', contains = 'x' } }] },
    { topic = 'o', transforms = [{ filter = { contains = '{x}' } }, { template = { text = '$5 <b> {text} #{room}' } }] },
]";
    let said = said(&text.replace(" > ", " "));
    assert_eq!(said, [""; 0]);
}
