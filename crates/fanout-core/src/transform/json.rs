//! `json`: a text that is JSON, changed in places.
//!
//! ```toml
//! [[transforms]]
//! json.pointer = "/message"
//! json.transforms = ["trim", "moderate"]
//! json.move = { "/from" = "/sender/name" }
//! json.drop = ["/internal"]
//! json.set = { "/moderated" = true }
//! ```
//!
//! First the string at `pointer` goes through the `transforms` and takes its own place again; then comes `move`,
//! then `drop`, then `set`. Places are JSON Pointers (RFC 6901). Everything else stays as it was sent, to
//! the digits of a number and the order of the members; only white space between members may be lost. In a
//! list, the numbers in `move` and `drop` are those that the entries came with.
//!
//! Where a transform inside drops the string, the whole text is dropped. What it has found out about the
//! language holds for the whole text. A member on the way that is given twice makes the text fail: whoever
//! reads it might take the one that was not looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{Document, Looked, Pointer, json_string};
use super::template::MAX_BYTES;
use super::{
    Applying, Around, Build, Context, Message, OnFailure, Settings, Stage, Transform, TransformError,
    Transformed,
};
use crate::placeholder::JsonTemplate;

/// At least one of `transforms`, `move`, `drop` and `set` is needed. The transforms inside are a list as any
/// other, given as `transforms`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Where the string is that the `transforms` are for: `"/message"`, or `""` for a text that is nothing
    /// but a JSON string. Needed with `transforms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// What becomes of a text that is not JSON, or has no string at `pointer`: `"fail"`, `"drop"`, or `"pass"`, which lets
    /// it go on as it was. Default: `"fail"`. It cannot be `"pass"` where something is kept back: with `drop`, or
    /// with a transform such as `moderate` inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_mismatch: Option<OnFailure>,
    /// From where to where members are moved. All are taken out before the first is put in its new place,
    /// which is made if it is not there. Where there is nothing to move, the text fails.
    #[serde(default, rename = "move", skip_serializing_if = "BTreeMap::is_empty")]
    moved: BTreeMap<String, String>,
    /// What is taken out. It need not be there.
    #[serde(default, rename = "drop", skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
    /// What is put where, in place of what may be there: text, number, true or false, list or table. Texts may have
    /// placeholders. Objects that are missing on the way are made; `-` is the place behind the last entry of a list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, Value>,
}

/// The settings, read.
#[derive(Debug)]
struct Edit {
    inside: Option<Inside>,
    on_mismatch: OnFailure,
    moved: Vec<(Pointer, Pointer)>,
    dropped: Vec<Pointer>,
    set: Vec<(Pointer, JsonTemplate)>,
}

/// The transforms of one string.
#[derive(Debug)]
struct Inside {
    at: Pointer,
    transforms: Vec<Stage>,
}

impl Settings for Json {
    const NAME: &'static str = "json";
    const NESTS: bool = true;

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let set = self.set.iter().map(|(at, value)| {
            let value = JsonTemplate::new(value.clone(), |text| with.template(text));
            Ok((place(at.clone())?, value.map_err(|error| format!("set {at:?}: {error}"))?))
        });
        let set = set.collect::<Result<Vec<_>, String>>()?;
        let transforms = with.transforms;
        let on_mismatch = self.on_mismatch.unwrap_or_default();
        if on_mismatch == OnFailure::Pass {
            may_pass(&self, &transforms)?;
        }
        let edits = !(self.moved.is_empty() && self.dropped.is_empty() && self.set.is_empty());
        let inside = match (self.pointer, transforms) {
            (Some(_), transforms) if transforms.is_empty() => {
                return Err(
                    "`pointer` selects the string for `transforms`, and `transforms` is missing".to_owned()
                );
            }
            (None, transforms) if !transforms.is_empty() => {
                return Err("`transforms` needs `pointer`, which selects their string, such as \"/message\""
                    .to_owned());
            }
            (Some(at), transforms) => Some(Inside { at: Pointer::new(at)?, transforms }),
            (None, _) if !edits => {
                return Err("`json` needs `pointer` and `transforms`, or `move`, `drop` or `set`".to_owned());
            }
            (None, _) => None,
        };
        if edits && inside.as_ref().is_some_and(|inside| inside.at.is_root()) {
            return Err(
                "a text that is a string, as `pointer = \"\"` says, has no members to change".to_owned()
            );
        }
        let moved = self.moved.into_iter().map(|(from, to)| Ok((place(from)?, place(to)?)));
        let dropped = self.dropped.into_iter().map(place);
        let edit = Edit {
            inside,
            on_mismatch,
            moved: moved.collect::<Result<_, String>>()?,
            dropped: dropped.collect::<Result<_, _>>()?,
            set,
        };
        edit.check()?;
        Ok(Arc::new(edit))
    }
}

/// Whether a text without the expected shape may go on as it was.
fn may_pass(settings: &Json, transforms: &[Stage]) -> Result<(), String> {
    if let Some(guard) = transforms.iter().find(|stage| !stage.may_pass()) {
        return Err(format!(
            "{} guards what comes behind it: with it inside, on_mismatch may be \"fail\" or \"drop\", not \"pass\"",
            guard.name()
        ));
    }
    if !settings.dropped.is_empty() {
        let message = "with drop, on_mismatch may be \"fail\" or \"drop\", not \"pass\": a text would go on with \
                       what is to be taken out of it";
        return Err(message.to_owned());
    }
    Ok(())
}

/// A place inside a document.
fn place(pointer: String) -> Result<Pointer, String> {
    let pointer = Pointer::new(pointer)?;
    if pointer.is_root() {
        return Err("\"\" is the whole text: move, drop and set are for what is in it".to_owned());
    }
    Ok(pointer)
}

impl Transform for Edit {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> Applying<'t> {
        Box::pin(self.edit(message, context))
    }
}

/// What became of the string inside.
enum Became {
    Message { text: Option<String>, language: Option<String> },
    Dropped(String),
}

impl Edit {
    /// Refuses what could only mean that something is a mistake.
    fn check(&self) -> Result<(), String> {
        for (from, to) in &self.moved {
            if from.overlaps(to) {
                return Err(format!("{:?} cannot be moved into {:?}", from.as_str(), to.as_str()));
            }
        }
        let from: Vec<_> = self.moved.iter().map(|(from, _)| from).chain(&self.dropped).collect();
        let to: Vec<_> =
            self.moved.iter().map(|(_, to)| to).chain(self.set.iter().map(|(at, _)| at)).collect();
        for places in [from, to] {
            for (number, one) in places.iter().enumerate() {
                let is_append = one.as_str().ends_with("/-");
                let clash = places.iter().skip(number + 1).find(|other| one.overlaps(other) && !is_append);
                if let Some(other) = clash {
                    return Err(format!(
                        "{:?} and {:?} are in each other's way",
                        one.as_str(),
                        other.as_str()
                    ));
                }
            }
        }
        Ok(())
    }

    async fn edit<'t>(
        &'t self,
        message: Message<'t>,
        context: &'t Context<'t>,
    ) -> Result<Transformed<'t>, TransformError> {
        let Message { text, mut language } = message;
        let Some(mut document) = Document::read(&text) else {
            return self.on_mismatch("the text is not JSON", Message { text, language });
        };
        let mut is_changed = false;
        if let Some(inside) = &self.inside {
            let looked = document.look(&inside.at)?;
            let Some(string) = looked.and_then(Looked::string) else {
                let at = inside.at.as_str();
                let detail = if looked.is_some_and(Looked::is_string) {
                    format!("the string at {at:?} has half of a surrogate pair, which is no text")
                } else {
                    format!("there is no string at {at:?}")
                };
                drop(document);
                return self.on_mismatch(detail, Message { text, language });
            };
            let around = Around::new(&text);
            match inside.apply(&string, language.as_deref(), &around, context).await {
                Err(error) => return Err(error),
                Ok(Became::Dropped(reason)) => return Ok(Transformed::Dropped(reason.into())),
                Ok(Became::Message { text, language: found }) => {
                    language = found.map(Cow::Owned);
                    if let Some(text) = text {
                        document.replace(&inside.at, json_string(&text))?;
                        is_changed = true;
                    }
                }
            }
        }
        let message =
            Message { text: Cow::Borrowed(text.as_ref()), language: language.as_deref().map(Cow::Borrowed) };
        is_changed |= self.change(&mut document, &message, context)?;
        let text = if is_changed { Cow::Owned(document.to_string()) } else { text };
        Ok(Transformed::Message(Message { text, language }))
    }

    /// Moves, drops and sets. Says whether there was anything to do.
    fn change(
        &self,
        document: &mut Document<'_>,
        message: &Message<'_>,
        context: &Context<'_>,
    ) -> Result<bool, TransformError> {
        let mut taken = Vec::new();
        for (from, to) in &self.moved {
            let nothing = || format!("there is nothing at {:?} to be moved", from.as_str());
            let member = document.take(from)?.ok_or_else(|| TransformError::unfit(nothing()))?;
            taken.push((to, member));
        }
        let mut is_changed = !taken.is_empty() || !self.set.is_empty();
        for (to, member) in taken {
            document.put(to, member)?;
        }
        for at in &self.dropped {
            is_changed |= document.take(at)?.is_some();
        }
        for (at, value) in &self.set {
            document.set(at, value.render(&message.values(context), MAX_BYTES)?)?;
        }
        Ok(is_changed)
    }

    fn on_mismatch<'t>(
        &self,
        detail: impl Into<Cow<'static, str>>,
        message: Message<'t>,
    ) -> Result<Transformed<'t>, TransformError> {
        match self.on_mismatch {
            OnFailure::Fail => Err(TransformError::unfit(detail)),
            OnFailure::Drop => Ok(Transformed::Dropped(format!("json: {}", detail.into()).into())),
            OnFailure::Pass => Ok(Transformed::Message(message)),
        }
    }
}

impl Inside {
    /// What the transforms make of `string`, a member of the document `around` it: its new text, unless it
    /// stayed the same.
    async fn apply(
        &self,
        string: &str,
        language: Option<&str>,
        around: &Around<'_>,
        context: &Context<'_>,
    ) -> Result<Became, TransformError> {
        let context = Context { document: Some(around), ..*context };
        let mut message = Message { text: Cow::Borrowed(string), language: language.map(Cow::Borrowed) };
        for stage in &self.transforms {
            match stage.apply(message, &context).await? {
                Transformed::Message(next) => message = next,
                Transformed::Dropped(reason) => return Ok(Became::Dropped(reason.into_owned())),
            }
        }
        let Message { text, language } = message;
        let text = (text != string).then(|| text.into_owned());
        Ok(Became::Message { text, language: language.map(Cow::into_owned) })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::super::document::look_up;
    use super::*;
    use crate::reason::Reason;
    use crate::transform::tests::{faulty, faulty_of, stages, text, through};
    use crate::transform::{Pseudo, Transforms};

    fn said(list: &str, wanted: &str) {
        let faults = faulty(list).unwrap_err();
        assert!(faults.iter().any(|(_, message)| message.contains(wanted)), "{list}: {faults:?}");
    }

    async fn detail(list: &str, text: &str) -> String {
        let error = through(&stages(list), text).await.unwrap_err();
        assert_eq!(error.reason, Reason::InvalidArgument);
        error.detail.into_owned()
    }

    async fn dropped(list: &str, text: &str) -> String {
        match through(&stages(list), text).await.unwrap() {
            Transformed::Dropped(reason) => reason.into_owned(),
            other @ Transformed::Message(_) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn one_string_is_transformed_and_the_rest_stays_as_it_was() {
        let list = "[{ json = { pointer = '/a/1/message', transforms = ['trim', 'uppercase'] } }]";
        let given = r#"{"id":12345678901234567890123,"x":1.10,"z":1e5,"a":[{ "k" : null },{"message":" h\u00e9\"\n ","b":"\u0041"}],"c":{"d":[ 1, 2 ]}}"#;
        let wanted = r#"{"id":12345678901234567890123,"x":1.10,"z":1e5,"a":[{ "k" : null },{"message":"HÉ\"","b":"\u0041"}],"c":{"d":[ 1, 2 ]}}"#;
        assert_eq!(text(list, given).await, wanted);
        assert_eq!(text("[{ json = { pointer = '', transforms = ['trim'] } }]", "  \" a \" ").await, "\"a\"");
        // What stays the same stays the same to the last blank.
        let same = " { \"message\" : \"A\" } ";
        assert_eq!(
            text("[{ json = { pointer = '/message', transforms = ['uppercase'] } }]", same).await,
            same
        );
    }

    #[tokio::test]
    async fn members_are_moved_then_dropped_then_set() {
        let list = "[{ json = { move = { '/from' = '/sender/name', '/list/0' = '/first' }, drop = ['/list/2', '/not/there'], \
                    set = { '/count' = 3, '/tags/-' = 'x', '/n/e/w' = { a = [1, true, 2.5] }, '/list/1' = 'two' } } }]";
        let given = r#"{"from":"me","list":[1,2,3,4],"tags":["a"],"last":null}"#;
        let wanted = r#"{"list":["two",4],"tags":["a","x"],"last":null,"sender":{"name":"me"},"first":1,"count":3,"n":{"e":{"w":{"a":[1,true,2.5]}}}}"#;
        assert_eq!(text(list, given).await, wanted);
        let swap = "[{ json = { move = { '/a' = '/b', '/b' = '/a' } } }]";
        assert_eq!(text(swap, r#"{"a":1,"b":2}"#).await, r#"{"a":2,"b":1}"#);
    }

    #[tokio::test]
    async fn what_cannot_be_done_fails() {
        let set = "[{ json = { set = { '/a/b' = 1 } } }]";
        assert_eq!(detail(set, r#"{"a":"text"}"#).await, "the JSON has no place \"/a/b\"");
        assert_eq!(detail(set, r#"{"a":[]}"#).await, "the JSON has no place \"/a/b\"");
        assert_eq!(detail(set, "3").await, "the JSON has no place \"/a/b\"");
        assert_eq!(detail(set, r#"{"a":{},"a":{}}"#).await, "a member on the way to \"/a/b\" is given twice");
        assert_eq!(detail(set, "{").await, "the text is not JSON");
        let moved = "[{ json = { move = { '/a' = '/b' } } }]";
        assert_eq!(detail(moved, "{}").await, "there is nothing at \"/a\" to be moved");
        let at = "[{ json = { pointer = '/a', transforms = ['trim'] } }]";
        for other in ["{}", "[1]", r#"{"a":1}"#, "\"a\""] {
            assert_eq!(detail(at, other).await, "there is no string at \"/a\"");
        }
        assert_eq!(
            detail(at, r#"{"a":" x ","a":" y "}"#).await,
            "a member on the way to \"/a\" is given twice"
        );
        assert_eq!(
            detail(at, r#"{"a":"Hi \ud83d"}"#).await,
            "the string at \"/a\" has half of a surrogate pair, which is no text"
        );
    }

    #[tokio::test]
    async fn drops_or_passes_text_without_expected_shape() {
        let list = |what: &str| {
            format!("[{{ json = {{ pointer = '/a', transforms = ['trim'], on_mismatch = '{what}' }} }}]")
        };
        assert_eq!(dropped(&list("drop"), "secret").await, "json: the text is not JSON");
        assert_eq!(dropped(&list("drop"), "{}").await, "json: there is no string at \"/a\"");
        assert_eq!(text(&list("pass"), " as it was ").await, " as it was ");
        assert_eq!(text(&list("pass"), " {} ").await, " {} ");
        assert_eq!(detail(&list("fail"), "secret").await, "the text is not JSON");
    }

    #[tokio::test]
    async fn a_failure_inside_is_told_or_is_what_it_is_set_to() {
        let list = |more: &str| {
            format!(
                "[{{ json = {{ pointer = '/a', transforms = [{{ json = {{ drop = ['/x'] {more} }} }}, 'uppercase'] }} }}]"
            )
        };
        assert_eq!(detail(&list(""), r#"{"a":"b"}"#).await, "json: the text is not JSON");
        assert_eq!(
            dropped(&list(", on_failure = 'drop'"), r#"{"a":"b"}"#).await,
            "json failed: the text is not JSON"
        );
        assert_eq!(text(&list(", on_failure = 'pass'"), r#"{"a":"b"}"#).await, r#"{"a":"B"}"#);
        let filter = "[{ json = { pointer = '/a', transforms = [{ filter = { equals = 'x' } }] } }]";
        assert_eq!(
            dropped(filter, r#"{"a":"b"}"#).await,
            "filter: the text is not the one that is asked for"
        );
    }

    /// Takes the language from the document around.
    #[derive(Debug)]
    struct Finds;

    impl Transform for Finds {
        fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> Applying<'t> {
            let at = Pointer::new("/lang").unwrap();
            let language = context.document.and_then(|it| look_up(it.text(), &at)?.string());
            Message { language, ..message }.done()
        }
    }

    #[tokio::test]
    async fn transforms_inside_see_the_document_around_them() {
        let event = crate::testing::event("cache", "topic", 1);
        let context =
            Context { event: &event, captures: &[], document: None, deadline: tokio::time::Instant::now() };
        let finds = Stage::new("finds".into(), "{}".into(), OnFailure::Fail, true, Arc::new(Finds));
        let settings = Json { pointer: Some("/a".into()), ..Json::default() };
        let with = Build { captures: &[], transforms: vec![finds], translator: None, is_inside: false };
        let json = settings.build(with).unwrap();
        let given = r#"{"lang":"de","a":"x"}"#;
        let done = json.apply(Message::new(given), &context).now_or_never().unwrap().unwrap();
        let Transformed::Message(message) = done else { panic!("dropped") };
        assert!(matches!(message.text, Cow::Borrowed(text) if text == given));
        assert_eq!(message.language.as_deref(), Some("de"));
    }

    #[tokio::test]
    async fn what_is_beside_the_string_matters_to_nobody_who_does_not_ask_for_it() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for beside in [r#""Hi \ud83d""#, "1e999", &deep] {
            for list in [
                "['moderate']",
                "['trim', { translate = { target = 'es', source = '/lang' } }, 'moderate']",
                "['moderate', { template = { text = '{text}' } }]",
                "[{ filter = { contains = 'shit' } }, { template = { text = 'oh ****' } }]",
            ] {
                let list = format!("[{{ json = {{ pointer = '/message', transforms = {list} }} }}]");
                let given = format!(r#"{{"lang":"es","message":"oh shit","preview":{beside}}}"#);
                let wanted = given.replace("shit", "****");
                let transforms = Transforms::standard().with_translator(Arc::new(Pseudo));
                let done = through(&faulty_of(&transforms, &list).unwrap(), &given).await.unwrap();
                let Transformed::Message(message) = done else { panic!("dropped: {list}") };
                assert_eq!(message.text, wanted, "{list}");
            }
        }
    }

    #[tokio::test]
    async fn a_member_of_the_document_is_had_whatever_is_beside_it() {
        let list =
            "[{ json = { pointer = '/a', transforms = [{ template = { text = '{document.a}{text}' } }] } }]";
        let deep = format!(r#"{{"a":"b","c":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        for given in [r#"{"a":"b","c":"\ud83d"}"#, r#"{"a":"b","c":1e999}"#, &deep] {
            assert_eq!(text(list, given).await, given.replace("\"b\"", "\"bb\""));
        }
    }

    #[tokio::test]
    async fn what_is_set_is_made_of_the_event_to_any_depth() {
        let list = "[{ json = { set = { '/by' = '{token_id | default(\"nobody\")}', '/n' = { topic = ['{topic}', 1], from = '{json.from}' } } } }]";
        assert_eq!(
            text(list, r#"{"from":"a\"b"}"#).await,
            r#"{"from":"a\"b","by":"nobody","n":{"from":"a\"b","topic":["topic",1]}}"#
        );
        assert_eq!(detail(list, "{}").await, "the event has no json.from");
        said(
            "[{ json = { set = { '/a' = ['{rom}'] } } }]",
            "set \"/a\": line 1 of the text has the unknown name `rom`",
        );
    }

    #[tokio::test]
    async fn deep_nesting_is_bounded() {
        let deep =
            |levels: usize| format!(r#"{{"a":"b","deep":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let at = "[{ json = { pointer = '/a', transforms = ['uppercase'] } }]";
        assert_eq!(text(at, &deep(100)).await, deep(100).replace("\"b\"", "\"B\""));
        // What needs no tree of it does not mind, and does not go down into it.
        assert_eq!(text(at, &deep(100_000)).await, deep(100_000).replace("\"b\"", "\"B\""));
        let set = "[{ json = { set = { '/a' = 'B' } } }]";
        assert_eq!(text(set, &deep(100_000)).await, deep(100_000).replace("\"b\"", "\"B\""));
    }

    #[test]
    fn a_text_that_was_not_looked_at_cannot_pass_a_guard() {
        said(
            "[{ json = { pointer = '/a', transforms = ['moderate'], on_mismatch = 'pass' } }]",
            "moderate guards what comes behind it",
        );
        said(
            "[{ json = { pointer = '/a', transforms = [{ json = { pointer = '/b', transforms = ['moderate'] } }], on_mismatch = 'pass' } }]",
            "json guards what comes behind it",
        );
        said(
            "[{ json = { pointer = '/a', transforms = ['moderate'], on_failure = 'pass' } }]",
            "json guards",
        );
        said("[{ json = { drop = ['/a'], on_mismatch = 'pass' } }]", "with drop, on_mismatch may be");
        stages("[{ json = { pointer = '/a', transforms = ['moderate'], on_mismatch = 'drop' } }]");
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        said("['json']", "needs `pointer` and `transforms`, or `move`");
        said("[{ json = { pointer = '/a' } }]", "`transforms` is missing");
        said("[{ json = { transforms = ['trim'] } }]", "`transforms` needs `pointer`");
        said("[{ json = { pointer = 'a', transforms = ['trim'] } }]", "should begin with a slash");
        said("[{ json = { pointer = '', transforms = ['trim'], drop = ['/a'] } }]", "has no members");
        said("[{ json = { set = { '' = 1 } } }]", "is the whole text");
        said("[{ json = { set = { '/a~' = 1 } } }]", "a tilde is written ~0");
        said("[{ json = { set = { '/a' = 1, '/a/b' = 2 } } }]", "in each other's way");
        said("[{ json = { move = { '/a' = '/c', '/b' = '/c' } } }]", "in each other's way");
        said("[{ json = { move = { '/a' = '/a/b' } } }]", "cannot be moved into");
        said("[{ json = { set = { '/a' = [nan] } } }]", "no inf and no nan");
        said("[{ json = { set = { '/a' = 2024-01-01 } } }]", "no dates");
        said("[{ json = { pointer = '/a', transforms = ['shout'] } }]", "unknown transform \"shout\"");
        said(
            "[{ json = { drop = ['/a'], on_mismatch = 'ignore' } }]",
            "is \"ignore\"; expected one of `fail`, `drop`, `pass`",
        );
        stages("[{ json = { set = { '/a/-' = 1, '/b' = 2 }, move = { '/c' = '/a/-' } } }]");
    }

    proptest! {
        #[test]
        fn members_that_are_not_meant_are_not_touched(
            members in prop::collection::btree_map("[b-y\"\\\\é/~ ]{1,4}", value(), 0..5),
            text in ".*",
            place in 0_usize..6,
        ) {
            let mut given: Vec<(String, String)> =
                members.iter().map(|(key, value)| (json_string(key), value.clone())).collect();
            let place = place.min(given.len());
            given.insert(place, ("\"a\"".to_owned(), json_string(&text)));
            let written = written(&given);
            let list = "[{ json = { pointer = '/a', transforms = ['uppercase'], set = { '/zz' = 1 } } }]";
            let done = through(&stages(list), &written).now_or_never().unwrap().unwrap();
            given[place].1 = json_string(&text.to_uppercase());
            given.push(("\"zz\"".to_owned(), "1".to_owned()));
            prop_assert_eq!(done, Transformed::Message(Message::new(self::written(&given))));
        }
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
            prop::sample::select(vec!["null", "true", "0", "1.10", r#""\u0041\/\ud83d\ude00""#, "{}"])
                .prop_map(str::to_owned),
            ".*".prop_map(|text: String| json_string(&text)),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|it| format!("[ {} ]", it.join(" ,\n"))),
                prop::collection::vec(inner, 1..3)
                    .prop_map(|it| format!("{{\"k\": {}}}", it.join(",\"k\" :"))),
            ]
        })
    }

    fn written(members: &[(String, String)]) -> String {
        let mut text = String::from("{");
        for (place, (key, value)) in members.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(text, "{comma}{key}:{value}").unwrap();
        }
        text + "}"
    }
}
