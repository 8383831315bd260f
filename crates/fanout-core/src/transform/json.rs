//! `json`: edits a text that is JSON.
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
//! First the `transforms` change the string at `pointer`, then come `move`, `drop` and `set`. All other values keep their
//! digits, escapes and order; only white space between members may be lost. In a list, the indexes in `move` and `drop`
//! are those before the edit.
//!
//! If one of the `transforms` drops the string, the whole text is dropped. If one of them detects the language, it is the
//! language of the whole text. A duplicate member on a pointer's path is an error: a reader of the text might take the
//! member that was not transformed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json_edit::{EditableJson, JsonNode};
use super::template::MAX_BYTES;
use super::{
    Build, Context, Message, OnFailure, Stage, Transform, TransformFuture, TransformSettings, Transformed,
};
use crate::json::{Pointer, RawJson, quoted};
use crate::placeholder::JsonTemplate;
use crate::reason::Failure;

/// At least one of `transforms`, `move`, `drop` and `set` is needed. `transforms` is a list of transforms like any other.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JsonSettings {
    /// The JSON Pointer of the string that `transforms` change, such as `"/message"`; `""` for a text that is only a JSON
    /// string. Needed with `transforms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// What happens to a text that is not JSON, or has no string at `pointer`: `"fail"`, `"drop"`, or `"pass"`, which
    /// leaves it unchanged. Default: `"fail"`. `"pass"` is not allowed with `drop`, or with `moderate` in `transforms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_mismatch: Option<OnFailure>,
    /// Members to move: the old pointer and the new one. All are removed before the first is added again. Missing objects
    /// of the new path are created. If a member is missing, the transform fails.
    #[serde(default, rename = "move", skip_serializing_if = "BTreeMap::is_empty")]
    moved: BTreeMap<String, String>,
    /// Pointers of members to remove. They may be missing.
    #[serde(default, rename = "drop", skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
    /// Members to add or replace: pointer and value. A value is a text, a number, true or false, a list or a table. Texts
    /// may have placeholders. Missing objects of the path are created. `-` adds an entry at the end of a list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct JsonEdit {
    string: Option<StringEdit>,
    on_mismatch: OnFailure,
    moved: Vec<(Pointer, Pointer)>,
    dropped: Vec<Pointer>,
    set: Vec<(Pointer, JsonTemplate)>,
}

/// The transforms of one string.
#[derive(Debug)]
struct StringEdit {
    pointer: Pointer,
    transforms: Vec<Stage>,
}

impl TransformSettings for JsonSettings {
    const NAME: &'static str = "json";
    const NESTS: bool = true;

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let set = self.set.iter().map(|(at, value)| {
            let value = JsonTemplate::new(value.clone(), |text| with.template(text));
            Ok((member(at.clone())?, value.map_err(|error| format!("set {at:?}: {error}"))?))
        });
        let set = set.collect::<Result<Vec<_>, String>>()?;
        let transforms = with.transforms;
        let on_mismatch = self.on_mismatch.unwrap_or_default();
        if on_mismatch == OnFailure::Pass {
            may_pass(&self, &transforms)?;
        }
        let edits_members = !(self.moved.is_empty() && self.dropped.is_empty() && self.set.is_empty());
        let string = match (self.pointer, transforms) {
            (Some(_), transforms) if transforms.is_empty() => {
                return Err(
                    "`pointer` selects the string for `transforms`, and `transforms` is missing".to_owned()
                );
            }
            (None, transforms) if !transforms.is_empty() => {
                return Err("`transforms` needs `pointer`, which selects their string, such as \"/message\""
                    .to_owned());
            }
            (Some(pointer), transforms) => Some(StringEdit { pointer: Pointer::new(pointer)?, transforms }),
            (None, _) if !edits_members => {
                return Err("`json` needs `pointer` and `transforms`, or `move`, `drop` or `set`".to_owned());
            }
            (None, _) => None,
        };
        if edits_members && string.as_ref().is_some_and(|string| string.pointer.is_root()) {
            return Err(
                "`pointer = \"\"` selects a text that is a string, which has no members to change".to_owned()
            );
        }
        let moved = self.moved.into_iter().map(|(from, to)| Ok((member(from)?, member(to)?)));
        let dropped = self.dropped.into_iter().map(member);
        let edit = JsonEdit {
            string,
            on_mismatch,
            moved: moved.collect::<Result<_, String>>()?,
            dropped: dropped.collect::<Result<_, _>>()?,
            set,
        };
        edit.check()?;
        Ok(Arc::new(edit))
    }
}

/// Rejects settings under which `on_mismatch = "pass"` would let a text pass unguarded.
fn may_pass(settings: &JsonSettings, transforms: &[Stage]) -> Result<(), String> {
    let unguarded = if let Some(guard) = transforms.iter().find(|stage| !stage.may_pass()) {
        format!("skip `{}`", guard.name())
    } else if settings.dropped.is_empty() {
        return Ok(());
    } else {
        "keep the members of `drop`".to_owned()
    };
    Err(format!("`on_mismatch = \"pass\"` would let a text {unguarded}; expected \"fail\" or \"drop\""))
}

/// Parses the pointer of a member.
fn member(pointer: String) -> Result<Pointer, String> {
    let pointer = Pointer::new(pointer)?;
    if pointer.is_root() {
        return Err(
            "`move`, `drop` and `set` need the pointer of a member, such as \"/message\"; \"\" is the \
                    whole text"
                .to_owned(),
        );
    }
    Ok(pointer)
}

impl Transform for JsonEdit {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t> {
        Box::pin(self.edit(message, context))
    }
}

impl JsonEdit {
    /// Rejects pointers that contradict each other.
    fn check(&self) -> Result<(), String> {
        for (from, to) in &self.moved {
            if from.overlaps(to) {
                let (from, to) = (from.as_str(), to.as_str());
                return Err(format!("cannot move {from:?} to {to:?}: one contains the other"));
            }
        }
        let sources: Vec<_> = self.moved.iter().map(|(from, _)| from).chain(&self.dropped).collect();
        let set = self.set.iter().map(|(at, _)| at);
        let targets: Vec<_> = self.moved.iter().map(|(_, to)| to).chain(set).collect();
        for pointers in [sources, targets] {
            for (index, one) in pointers.iter().enumerate() {
                let appends = one.as_str().ends_with("/-");
                let overlap = pointers.iter().skip(index + 1).find(|other| one.overlaps(other) && !appends);
                if let Some(other) = overlap {
                    let (one, other) = (one.as_str(), other.as_str());
                    return Err(format!("{one:?} and {other:?} overlap; expected separate members"));
                }
            }
        }
        Ok(())
    }

    async fn edit<'t>(
        &'t self,
        message: Message<'t>,
        context: &'t Context<'t>,
    ) -> Result<Transformed<'t>, Failure> {
        let Message { text, mut language, mut found } = message;
        let Some(mut document) = EditableJson::read(&text) else {
            return self.on_mismatch("the text is not JSON", Message { text, language, found });
        };
        let mut is_changed = false;
        if let Some(StringEdit { pointer, transforms }) = &self.string {
            let value = document.get(pointer)?;
            let Some(string) = value.and_then(RawJson::string) else {
                let at = pointer.as_str();
                let detail = if value.is_some_and(RawJson::is_string) {
                    format!("the string at {at:?} has half of a surrogate pair")
                } else {
                    format!("the text has no string at {at:?}")
                };
                drop(document);
                return self.on_mismatch(detail, Message { text, language, found });
            };
            let context = Context { document: Some(&text), ..*context };
            let mut inner = Message {
                text: Cow::Borrowed(&*string),
                language: language.as_deref().map(Cow::Borrowed),
                found,
            };
            for stage in transforms {
                match stage.apply(inner, &context).await? {
                    Transformed::Message(next) => inner = next,
                    Transformed::Dropped(reason) => {
                        return Ok(Transformed::Dropped(reason.into_owned().into()));
                    }
                }
            }
            if inner.text != string {
                document.put(pointer, JsonNode::Written(quoted(&inner.text)))?;
                is_changed = true;
            }
            found = inner.found.clone();
            let detected = inner.language.map(Cow::into_owned);
            language = detected.map(Cow::Owned);
        }
        let message = Message {
            text: Cow::Borrowed(&*text),
            language: language.as_deref().map(Cow::Borrowed),
            found: found.clone(),
        };
        is_changed |= self.edit_members(&mut document, &message, context)?;
        let text = if is_changed { Cow::Owned(document.to_string()) } else { text };
        Ok(Transformed::Message(Message { text, language, found }))
    }

    /// Moves, drops and sets members. Returns true if the document is changed.
    fn edit_members(
        &self,
        document: &mut EditableJson<'_>,
        message: &Message<'_>,
        context: &Context<'_>,
    ) -> Result<bool, Failure> {
        let mut moved = Vec::new();
        for (from, to) in &self.moved {
            let missing = || format!("the text has no value at {:?} to move", from.as_str());
            let value = document.take(from)?.ok_or_else(|| Failure::invalid(missing()))?;
            moved.push((to, value));
        }
        let mut is_changed = !moved.is_empty() || !self.set.is_empty();
        for (to, value) in moved {
            document.put(to, value)?;
        }
        for at in &self.dropped {
            is_changed |= document.take(at)?.is_some();
        }
        for (at, value) in &self.set {
            document.put(at, JsonNode::Written(value.render(&message.values(context), MAX_BYTES)?))?;
        }
        Ok(is_changed)
    }

    fn on_mismatch<'t>(
        &self,
        detail: impl Into<Cow<'static, str>>,
        message: Message<'t>,
    ) -> Result<Transformed<'t>, Failure> {
        match self.on_mismatch {
            OnFailure::Fail => Err(Failure::invalid(detail)),
            OnFailure::Drop => Ok(Transformed::Dropped(format!("json: {}", detail.into()).into())),
            OnFailure::Pass => Ok(Transformed::Message(message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::reason::Reason;
    use crate::transform::tests::{faulty, faulty_of, stages, text, through};
    use crate::transform::{Pseudolocalizer, Transforms};

    fn rejects(list: &str, wanted: &str) {
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
    async fn transforms_one_string_and_keeps_the_rest() {
        let list = "[{ json = { pointer = '/a/1/message', transforms = ['trim', 'uppercase'] } }]";
        let given = r#"{"id":12345678901234567890123,"x":1.10,"z":1e5,"a":[{ "k" : null },{"message":" h\u00e9\"\n ","b":"\u0041"}],"c":{"d":[ 1, 2 ]}}"#;
        let wanted = r#"{"id":12345678901234567890123,"x":1.10,"z":1e5,"a":[{ "k" : null },{"message":"HÉ\"","b":"\u0041"}],"c":{"d":[ 1, 2 ]}}"#;
        assert_eq!(text(list, given).await, wanted);
        assert_eq!(text("[{ json = { pointer = '', transforms = ['trim'] } }]", "  \" a \" ").await, "\"a\"");
        // An unchanged text keeps its white space.
        let same = " { \"message\" : \"A\" } ";
        assert_eq!(
            text("[{ json = { pointer = '/message', transforms = ['uppercase'] } }]", same).await,
            same
        );
    }

    #[tokio::test]
    async fn moves_then_drops_then_sets_members() {
        let list = "[{ json = { move = { '/from' = '/sender/name', '/list/0' = '/first' }, drop = ['/list/2', '/not/there'], \
                    set = { '/count' = 3, '/tags/-' = 'x', '/n/e/w' = { a = [1, true, 2.5] }, '/list/1' = 'two' } } }]";
        let given = r#"{"from":"me","list":[1,2,3,4],"tags":["a"],"last":null}"#;
        let wanted = r#"{"list":["two",4],"tags":["a","x"],"last":null,"sender":{"name":"me"},"first":1,"count":3,"n":{"e":{"w":{"a":[1,true,2.5]}}}}"#;
        assert_eq!(text(list, given).await, wanted);
        let swap = "[{ json = { move = { '/a' = '/b', '/b' = '/a' } } }]";
        assert_eq!(text(swap, r#"{"a":1,"b":2}"#).await, r#"{"a":2,"b":1}"#);
    }

    #[tokio::test]
    async fn fails_for_missing_or_duplicate_members() {
        let set = "[{ json = { set = { '/a/b' = 1 } } }]";
        assert_eq!(
            detail(set, r#"{"a":"text"}"#).await,
            "cannot write to \"/a/b\": its parent is neither an object nor a list with that index"
        );
        assert_eq!(
            detail(set, r#"{"a":[]}"#).await,
            "cannot write to \"/a/b\": its parent is neither an object nor a list with that index"
        );
        assert_eq!(
            detail(set, "3").await,
            "cannot write to \"/a/b\": its parent is neither an object nor a list with that index"
        );
        assert_eq!(
            detail(set, r#"{"a":{},"a":{}}"#).await,
            "the text has a duplicate member on the path \"/a/b\""
        );
        assert_eq!(detail(set, "{").await, "the text is not JSON");
        let moved = "[{ json = { move = { '/a' = '/b' } } }]";
        assert_eq!(detail(moved, "{}").await, "the text has no value at \"/a\" to move");
        let at = "[{ json = { pointer = '/a', transforms = ['trim'] } }]";
        for other in ["{}", "[1]", r#"{"a":1}"#, "\"a\""] {
            assert_eq!(detail(at, other).await, "the text has no string at \"/a\"");
        }
        assert_eq!(
            detail(at, r#"{"a":" x ","a":" y "}"#).await,
            "the text has a duplicate member on the path \"/a\""
        );
        assert_eq!(
            detail(at, r#"{"a":"Hi \ud83d"}"#).await,
            "the string at \"/a\" has half of a surrogate pair"
        );
    }

    #[tokio::test]
    async fn drops_or_passes_text_without_expected_shape() {
        let list = |what: &str| {
            format!("[{{ json = {{ pointer = '/a', transforms = ['trim'], on_mismatch = '{what}' }} }}]")
        };
        assert_eq!(dropped(&list("drop"), "secret").await, "json: the text is not JSON");
        assert_eq!(dropped(&list("drop"), "{}").await, "json: the text has no string at \"/a\"");
        assert_eq!(text(&list("pass"), " as it was ").await, " as it was ");
        assert_eq!(text(&list("pass"), " {} ").await, " {} ");
        assert_eq!(detail(&list("fail"), "secret").await, "the text is not JSON");
    }

    #[tokio::test]
    async fn nested_failure_follows_its_on_failure() {
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
            "filter: the text is not equal to the expected text"
        );
    }

    /// Takes the language from the document.
    #[derive(Debug)]
    struct FindLanguage;

    impl Transform for FindLanguage {
        fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t> {
            let at = Pointer::new("/lang").unwrap();
            let language = context.document.and_then(|it| at.find_in(it)?.string());
            Message { language, ..message }.done()
        }
    }

    #[tokio::test]
    async fn transforms_inside_see_the_document_around_them() {
        let event = crate::testing::event("cache", "topic", 1);
        let context = Context {
            event: &event,
            captures: &[],
            document: None,
            items: None,
            deadline: tokio::time::Instant::now(),
        };
        let finds = Stage::new("finds".into(), "{}".into(), OnFailure::Fail, true, Arc::new(FindLanguage));
        let settings = JsonSettings { pointer: Some("/a".into()), ..JsonSettings::default() };
        let with = Build {
            captures: &[],
            transforms: vec![finds],
            translator: None,
            classifiers: BTreeMap::new(),
            is_inside: false,
        };
        let json = settings.build(with).unwrap();
        let given = r#"{"lang":"de","a":"x"}"#;
        let done = json.apply(Message::new(given), &context).now_or_never().unwrap().unwrap();
        let Transformed::Message(message) = done else { panic!("dropped") };
        assert!(matches!(message.text, Cow::Borrowed(text) if text == given));
        assert_eq!(message.language.as_deref(), Some("de"));
    }

    #[tokio::test]
    async fn ignores_unreadable_members_beside_the_string() {
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
                let transforms = Transforms::standard().with_translator(Arc::new(Pseudolocalizer));
                let done = through(&faulty_of(&transforms, &list).unwrap(), &given).await.unwrap();
                let Transformed::Message(message) = done else { panic!("dropped: {list}") };
                assert_eq!(message.text, wanted, "{list}");
            }
        }
    }

    #[tokio::test]
    async fn renders_member_of_document_beside_unreadable_members() {
        let list =
            "[{ json = { pointer = '/a', transforms = [{ template = { text = '{document.a}{text}' } }] } }]";
        let deep = format!(r#"{{"a":"b","c":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        for given in [r#"{"a":"b","c":"\ud83d"}"#, r#"{"a":"b","c":1e999}"#, &deep] {
            assert_eq!(text(list, given).await, given.replace("\"b\"", "\"bb\""));
        }
    }

    #[tokio::test]
    async fn renders_placeholders_in_nested_values_of_set() {
        let list = "[{ json = { set = { '/by' = '{token_id | default(\"nobody\")}', '/n' = { topic = ['{topic}', 1], from = '{json.from}' } } } }]";
        assert_eq!(
            text(list, r#"{"from":"a\"b"}"#).await,
            r#"{"from":"a\"b","by":"nobody","n":{"from":"a\"b","topic":["topic",1]}}"#
        );
        assert_eq!(detail(list, "{}").await, "the event has no json.from");
        rejects(
            "[{ json = { set = { '/a' = ['{rom}'] } } }]",
            "set \"/a\": line 1 of the text has the unknown name `rom`",
        );
    }

    #[tokio::test]
    async fn handles_deep_nesting() {
        let deep =
            |levels: usize| format!(r#"{{"a":"b","deep":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let at = "[{ json = { pointer = '/a', transforms = ['uppercase'] } }]";
        assert_eq!(text(at, &deep(100)).await, deep(100).replace("\"b\"", "\"B\""));
        // Edits elsewhere do not read it.
        assert_eq!(text(at, &deep(100_000)).await, deep(100_000).replace("\"b\"", "\"B\""));
        let set = "[{ json = { set = { '/a' = 'B' } } }]";
        assert_eq!(text(set, &deep(100_000)).await, deep(100_000).replace("\"b\"", "\"B\""));
    }

    #[test]
    fn rejects_pass_where_a_guard_would_be_skipped() {
        rejects(
            "[{ json = { pointer = '/a', transforms = ['moderate'], on_mismatch = 'pass' } }]",
            "would let a text skip `moderate`",
        );
        rejects(
            "[{ json = { pointer = '/a', transforms = [{ json = { pointer = '/b', transforms = ['moderate'] } }], on_mismatch = 'pass' } }]",
            "would let a text skip `json`",
        );
        rejects(
            "[{ json = { pointer = '/a', transforms = ['moderate'], on_failure = 'pass' } }]",
            "would let a text skip `json`",
        );
        rejects(
            "[{ json = { drop = ['/a'], on_mismatch = 'pass' } }]",
            "would let a text keep the members of `drop`",
        );
        stages("[{ json = { pointer = '/a', transforms = ['moderate'], on_mismatch = 'drop' } }]");
    }

    #[test]
    fn rejects_invalid_settings() {
        rejects("['json']", "`json` needs `pointer` and `transforms`");
        rejects("[{ json = { pointer = '/a' } }]", "`transforms` is missing");
        rejects("[{ json = { transforms = ['trim'] } }]", "`transforms` needs `pointer`");
        rejects("[{ json = { pointer = 'a', transforms = ['trim'] } }]", "expected a leading `/`");
        rejects(
            "[{ json = { pointer = '', transforms = ['trim'], drop = ['/a'] } }]",
            "no members to change",
        );
        rejects("[{ json = { set = { '' = 1 } } }]", "\"\" is the whole text");
        rejects("[{ json = { set = { '/a~' = 1 } } }]", "write `~0` for `~`");
        rejects("[{ json = { set = { '/a' = 1, '/a/b' = 2 } } }]", "overlap");
        rejects("[{ json = { move = { '/a' = '/c', '/b' = '/c' } } }]", "overlap");
        rejects("[{ json = { move = { '/a' = '/a/b' } } }]", "one contains the other");
        rejects("[{ json = { set = { '/a' = [nan] } } }]", "no inf and no nan");
        rejects("[{ json = { set = { '/a' = 2024-01-01 } } }]", "no dates");
        rejects("[{ json = { pointer = '/a', transforms = ['shout'] } }]", "unknown transform \"shout\"");
        rejects(
            "[{ json = { drop = ['/a'], on_mismatch = 'ignore' } }]",
            "is \"ignore\"; expected one of `fail`, `drop`, `pass`",
        );
        stages("[{ json = { set = { '/a/-' = 1, '/b' = 2 }, move = { '/c' = '/a/-' } } }]");
    }

    proptest! {
        #[test]
        fn keeps_other_members(
            members in prop::collection::btree_map("[b-y\"\\\\é/~ ]{1,4}", value(), 0..5),
            text in ".*",
            place in 0_usize..6,
        ) {
            let mut given: Vec<(String, String)> =
                members.iter().map(|(key, value)| (quoted(key), value.clone())).collect();
            let place = place.min(given.len());
            given.insert(place, ("\"a\"".to_owned(), quoted(&text)));
            let written = written(&given);
            let list = "[{ json = { pointer = '/a', transforms = ['uppercase'], set = { '/zz' = 1 } } }]";
            let done = through(&stages(list), &written).now_or_never().unwrap().unwrap();
            given[place].1 = quoted(&text.to_uppercase());
            given.push(("\"zz\"".to_owned(), "1".to_owned()));
            prop_assert_eq!(done, Transformed::Message(Message::new(self::written(&given))));
        }
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
            prop::sample::select(vec!["null", "true", "0", "1.10", r#""\u0041\/\ud83d\ude00""#, "{}"])
                .prop_map(str::to_owned),
            ".*".prop_map(|text: String| quoted(&text)),
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
