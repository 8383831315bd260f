//! Items of Momento Cache: lists, dictionaries, single items, counters and sets.
//!
//! ```toml
//! [[routes.destinations]]
//! list = { key = "last-{room}", max_length = 100 }
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::Spanned;

use super::registry::ServiceRequest;
use super::service::{Fields, MakeRequest, RequestError, ServiceSettings};
use crate::file::Texts;
use crate::names::CacheName;
use crate::placeholder::Template;

/// Momento's default limit of a time to live: a day.
const DEFAULT_TTL_SECONDS: u32 = 24 * 60 * 60;

/// A change of an item in a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CacheWrite {
    /// The cache.
    pub cache: String,
    /// The key of the item.
    pub key: String,
    /// The change.
    #[serde(flatten)]
    pub change: CacheChange,
    /// The time to live of the item in seconds.
    pub ttl_seconds: u32,
}

/// The change that a [`CacheWrite`] makes to its item. The texts in it are `T`: templates in a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CacheChange<T = String> {
    /// Adds a value to a list.
    List {
        /// The value.
        value: T,
        /// The end that the value is added to.
        end: ListEnd,
        /// The number of values that the list keeps: the other end loses the excess.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_length: Option<u32>,
        /// Whether the time to live begins anew.
        refresh_ttl: bool,
    },
    /// Sets a field of a dictionary.
    Field {
        /// The field.
        field: T,
        /// The value.
        value: T,
        /// Whether the time to live begins anew.
        refresh_ttl: bool,
    },
    /// Adds to the number in a field of a dictionary.
    FieldCounter {
        /// The field.
        field: T,
        /// The number to add.
        increment: i64,
        /// Whether the time to live begins anew.
        refresh_ttl: bool,
    },
    /// Sets an item.
    Item {
        /// The value.
        value: T,
        /// Whether an item that exists stays as it is.
        unless_exists: bool,
    },
    /// Adds to a number.
    Counter {
        /// The number to add.
        increment: i64,
    },
    /// Adds an element to a set.
    Set {
        /// The element.
        element: T,
        /// Whether the time to live begins anew.
        refresh_ttl: bool,
    },
}

/// An end of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ListEnd {
    /// The first value.
    Front,
    /// The last value.
    #[default]
    Back,
}

/// A list in a cache: the text of each event is added to one end.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ListKeys {
    /// The cache, which may have placeholders. Default: the cache of the event.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Spanned<String>>,
    /// The name of the list, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    key: Spanned<String>,
    /// The value to add, which may have placeholders. Default: `{text}`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Spanned<String>>,
    /// The end that the value is added to. Default: `back`.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<ListEnd>,
    /// The number of values that the list keeps: the other end loses the excess. Default: no limit.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<Spanned<u32>>,
    /// The time to live of the list in seconds. Default: 86400.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<Spanned<u32>>,
    /// Whether each value begins the time to live anew. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_ttl: Option<bool>,
}

/// A field of a dictionary in a cache: it is set to the text of each event, or counts the events.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct DictionaryKeys {
    /// The cache, which may have placeholders. Default: the cache of the event.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Spanned<String>>,
    /// The name of the dictionary, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    key: Spanned<String>,
    /// The field, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    field: Spanned<String>,
    /// The value of the field, which may have placeholders. Default: `{text}`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Spanned<String>>,
    /// The number to add to the field, in place of a value. A missing field counts as 0.
    #[cfg_attr(feature = "schema", schemars(with = "Option<i64>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    increment: Option<Spanned<i64>>,
    /// The time to live of the dictionary in seconds. Default: 86400.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<Spanned<u32>>,
    /// Whether each change begins the time to live anew. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_ttl: Option<bool>,
}

/// An item in a cache: it is set to the text of each event.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemKeys {
    /// The cache, which may have placeholders. Default: the cache of the event.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Spanned<String>>,
    /// The key of the item, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    key: Spanned<String>,
    /// The value, which may have placeholders. Default: `{text}`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Spanned<String>>,
    /// Whether an item that exists stays as it is. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    unless_exists: Option<bool>,
    /// The time to live of the item in seconds. Default: 86400.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<Spanned<u32>>,
}

/// A counter in a cache: each event adds to it.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct CounterKeys {
    /// The cache, which may have placeholders. Default: the cache of the event.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Spanned<String>>,
    /// The key of the counter, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    key: Spanned<String>,
    /// The number to add. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    increment: Option<i64>,
    /// The time to live of the counter in seconds, which each event begins anew. Default: 86400.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<Spanned<u32>>,
}

/// A set in a cache: each event adds an element to it.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SetKeys {
    /// The cache, which may have placeholders. Default: the cache of the event.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Spanned<String>>,
    /// The name of the set, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    key: Spanned<String>,
    /// The element, which may have placeholders. Default: `{text}`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    element: Option<Spanned<String>>,
    /// The time to live of the set in seconds. Default: 86400.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<Spanned<u32>>,
    /// Whether each element begins the time to live anew. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_ttl: Option<bool>,
}

/// An item, as a route names it, and what to do to it.
#[derive(Clone, Debug)]
struct Write {
    cache: Option<Template>,
    key: Template,
    ttl_seconds: u32,
    change: CacheChange<Template>,
}

impl<T> CacheChange<T> {
    /// Returns the texts.
    fn texts(&self) -> Vec<&T> {
        match self {
            Self::List { value, .. } | Self::Item { value, .. } => vec![value],
            Self::Field { field, value, .. } => vec![field, value],
            Self::FieldCounter { field, .. } => vec![field],
            Self::Counter { .. } => Vec::new(),
            Self::Set { element, .. } => vec![element],
        }
    }

    /// Makes the same change with other texts.
    fn map<U, E>(&self, make: impl Fn(&T) -> Result<U, E>) -> Result<CacheChange<U>, E> {
        Ok(match *self {
            Self::List { ref value, end, max_length, refresh_ttl } => {
                CacheChange::List { value: make(value)?, end, max_length, refresh_ttl }
            }
            Self::Field { ref field, ref value, refresh_ttl } => {
                CacheChange::Field { field: make(field)?, value: make(value)?, refresh_ttl }
            }
            Self::FieldCounter { ref field, increment, refresh_ttl } => {
                CacheChange::FieldCounter { field: make(field)?, increment, refresh_ttl }
            }
            Self::Item { ref value, unless_exists } => {
                CacheChange::Item { value: make(value)?, unless_exists }
            }
            Self::Counter { increment } => CacheChange::Counter { increment },
            Self::Set { ref element, refresh_ttl } => {
                CacheChange::Set { element: make(element)?, refresh_ttl }
            }
        })
    }
}

/// Returns what makes requests, unless a text or a number is faulty.
fn build(
    cache: Option<Spanned<String>>,
    key: &Spanned<String>,
    ttl_seconds: Option<Spanned<u32>>,
    change: impl FnOnce(&mut Texts<'_, '_>) -> Option<CacheChange<Template>>,
    texts: &mut Texts<'_, '_>,
) -> Option<Arc<dyn MakeRequest>> {
    let cache = cache.map_or(Some(None), |cache| texts.name("cache", &cache, check_cache).map(Some));
    let key = texts.name("key", key, |_| Ok(()));
    let ttl_seconds = positive("time to live", ttl_seconds, texts);
    let change = change(texts);
    let ttl_seconds = ttl_seconds?.unwrap_or(DEFAULT_TTL_SECONDS);
    Some(Arc::new(Write { cache: cache?, key: key?, ttl_seconds, change: change? }))
}

fn check_cache(name: &str) -> Result<(), String> {
    CacheName::new(name).map(drop).map_err(|error| format!("the cache {error}"))
}

/// Reads a number that may be left out. The outer `None` means a fault.
#[expect(clippy::option_option, reason = "the outer one is for faults, as in `file`")]
fn positive(what: &str, number: Option<Spanned<u32>>, texts: &mut Texts<'_, '_>) -> Option<Option<u32>> {
    if let Some(zero) = number.as_ref().filter(|number| *number.get_ref() == 0) {
        texts.fault(zero.span(), format!("the {what} is 0; expected at least 1"));
        return None;
    }
    Some(number.map(Spanned::into_inner))
}

/// Reads a text that may be left out for the text of the event.
fn or_text(what: &str, text: Option<Spanned<String>>, texts: &mut Texts<'_, '_>) -> Option<Template> {
    match text {
        Some(text) => texts.template(what, &text),
        None => Some(Template::new("{text}").expect("a valid template")),
    }
}

impl ServiceSettings for ListKeys {
    const KIND: &'static str = "list";

    fn defaults() -> serde_json::Value {
        json!({ "value": "{text}", "end": "back", "ttl_seconds": DEFAULT_TTL_SECONDS, "refresh_ttl": true })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { cache, key, value, end, max_length, ttl_seconds, refresh_ttl } = self;
        let change = |texts: &mut Texts<'_, '_>| {
            let value = or_text("value", value, texts);
            let max_length = positive("maximum length", max_length, texts);
            Some(CacheChange::List {
                value: value?,
                end: end.unwrap_or_default(),
                max_length: max_length?,
                refresh_ttl: refresh_ttl.unwrap_or(true),
            })
        };
        build(cache, &key, ttl_seconds, change, texts)
    }
}

impl ServiceSettings for DictionaryKeys {
    const KIND: &'static str = "dictionary";

    fn defaults() -> serde_json::Value {
        json!({ "value": "{text}", "ttl_seconds": DEFAULT_TTL_SECONDS, "refresh_ttl": true })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { cache, key, field, value, increment, ttl_seconds, refresh_ttl } = self;
        let change = |texts: &mut Texts<'_, '_>| {
            if let (Some(_), Some(increment)) = (&value, &increment) {
                texts.fault(
                    increment.span(),
                    "`increment` counts, and `value` sets the field; give one of the two",
                );
            }
            let refresh_ttl = refresh_ttl.unwrap_or(true);
            let field = texts.template("field", &field);
            let value = or_text("value", value, texts);
            let (field, value) = (field?, value?);
            Some(match increment.map(Spanned::into_inner) {
                Some(increment) => CacheChange::FieldCounter { field, increment, refresh_ttl },
                None => CacheChange::Field { field, value, refresh_ttl },
            })
        };
        build(cache, &key, ttl_seconds, change, texts)
    }
}

impl ServiceSettings for ItemKeys {
    const KIND: &'static str = "item";

    fn defaults() -> serde_json::Value {
        json!({ "value": "{text}", "unless_exists": false, "ttl_seconds": DEFAULT_TTL_SECONDS })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { cache, key, value, unless_exists, ttl_seconds } = self;
        let change = |texts: &mut Texts<'_, '_>| {
            let value = or_text("value", value, texts)?;
            Some(CacheChange::Item { value, unless_exists: unless_exists.unwrap_or(false) })
        };
        build(cache, &key, ttl_seconds, change, texts)
    }
}

impl ServiceSettings for CounterKeys {
    const KIND: &'static str = "counter";

    fn defaults() -> serde_json::Value {
        json!({ "increment": 1, "ttl_seconds": DEFAULT_TTL_SECONDS })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { cache, key, increment, ttl_seconds } = self;
        let increment = increment.unwrap_or(1);
        build(cache, &key, ttl_seconds, |_| Some(CacheChange::Counter { increment }), texts)
    }
}

impl ServiceSettings for SetKeys {
    const KIND: &'static str = "set";

    fn defaults() -> serde_json::Value {
        json!({ "element": "{text}", "ttl_seconds": DEFAULT_TTL_SECONDS, "refresh_ttl": true })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { cache, key, element, ttl_seconds, refresh_ttl } = self;
        let change = |texts: &mut Texts<'_, '_>| {
            let element = or_text("element", element, texts)?;
            Some(CacheChange::Set { element, refresh_ttl: refresh_ttl.unwrap_or(true) })
        };
        build(cache, &key, ttl_seconds, change, texts)
    }
}

impl MakeRequest for Write {
    fn name(&self) -> &Template {
        &self.key
    }

    fn shown<'n>(&self, name: &'n str) -> &'n str {
        name
    }

    fn templates(&self) -> Vec<&Template> {
        std::iter::once(&self.key).chain(&self.cache).chain(self.change.texts()).collect()
    }

    fn request(&self, fields: &Fields<'_>) -> Result<ServiceRequest, RequestError> {
        let cache = match &self.cache {
            Some(cache) => fields.name(cache, check_cache)?,
            None => fields.context().event.cache.clone(),
        };
        let change = self.change.map(|text| fields.render(text))?;
        let key = fields.name(&self.key, |_| Ok(()))?;
        Ok(CacheWrite { cache, key, change, ttl_seconds: self.ttl_seconds }.into())
    }
}

impl CacheWrite {
    pub(super) const fn kind(&self) -> &'static str {
        match self.change {
            CacheChange::List { .. } => ListKeys::KIND,
            CacheChange::Field { .. } | CacheChange::FieldCounter { .. } => DictionaryKeys::KIND,
            CacheChange::Item { .. } => ItemKeys::KIND,
            CacheChange::Counter { .. } => CounterKeys::KIND,
            CacheChange::Set { .. } => SetKeys::KIND,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::destination::service::tests::{faults, request_of, shown};
    use crate::destination::{CACHE_KINDS, RequestError};
    use crate::file;
    use crate::testing::event_with;
    use crate::transform::Transforms;

    #[test]
    fn each_kind_makes_its_change() {
        for (settings, expected) in [
            (
                "list = { key = 'last-{room}' }",
                json!({"cache": "chat", "key": "last-friends", "value": "Hello", "end": "back", "refresh_ttl": true,
                       "ttl_seconds": 86400}),
            ),
            (
                "list = { key = 'k', cache = '{room}', value = '{topic}: {text}', end = 'front', max_length = 3,
                          ttl_seconds = 60, refresh_ttl = false }",
                json!({"cache": "friends", "key": "k", "value": "friends-publish: Hello", "end": "front",
                       "max_length": 3, "refresh_ttl": false, "ttl_seconds": 60}),
            ),
            (
                "dictionary = { key = 'k', field = '{room}' }",
                json!({"cache": "chat", "key": "k", "field": "friends", "value": "Hello", "refresh_ttl": true,
                       "ttl_seconds": 86400}),
            ),
            (
                "dictionary = { key = 'k', field = '{room}', increment = -2 }",
                json!({"cache": "chat", "key": "k", "field": "friends", "increment": -2, "refresh_ttl": true,
                       "ttl_seconds": 86400}),
            ),
            (
                "item = { key = 'k', unless_exists = true }",
                json!({"cache": "chat", "key": "k", "value": "Hello", "unless_exists": true, "ttl_seconds": 86400}),
            ),
            (
                "counter = { key = 'a:b/{room}' }",
                json!({"cache": "chat", "key": "a:b/friends", "increment": 1, "ttl_seconds": 86400}),
            ),
            (
                "set = { key = 'k', element = '{topic}' }",
                json!({"cache": "chat", "key": "k", "element": "friends-publish", "refresh_ttl": true,
                       "ttl_seconds": 86400}),
            ),
        ] {
            assert_eq!(shown(settings), expected, "{settings}");
        }
    }

    #[test]
    fn target_shows_whole_key() {
        let request = request_of("counter = { key = 'a:b/{room}' }", |_| ()).unwrap();
        assert_eq!((request.kind(), request.name()), ("counter", "a:b/friends"));
        assert_eq!(request.target().to_string(), "counter a:b/friends");
    }

    #[test]
    fn key_is_made_of_token_id_and_original_text_only() {
        let settings = "list = { key = 'of-{token_id}' }";
        let missing = Err(RequestError::Missing("token_id".to_owned()));
        assert_eq!(request_of(settings, |_| ()), missing, "an event without a token id");
        let with_id = |event: &mut momento_webhook::Event| {
            event.token_id = Some("mo".to_owned());
            event.text = "{token_id} of-jo".to_owned();
        };
        let request = request_of(settings, with_id).unwrap();
        assert_eq!(request.name(), "of-mo", "a text with a placeholder stays a text");
        let told = faults("list = { key = '{language}' }");
        assert!(told.len() == 1 && told[0].contains("names are made before the transforms run"), "{told:#?}");
    }

    #[test]
    fn rejects_invalid_settings() {
        for (settings, says) in [
            ("list = {}", "missing key `key`"),
            ("list = { key = '' }", "the key is empty"),
            ("list = { key = 'k', cache = 'ä' }", "the cache has a character that is not visible ASCII"),
            ("list = { key = 'k', max_length = 0 }", "the maximum length is 0; expected at least 1"),
            ("list = { key = 'k', ttl_seconds = 0 }", "the time to live is 0; expected at least 1"),
            ("list = { key = 'k', end = 'middle' }", "middle"),
            ("list = { key = '{rom}' }", "the key has the unknown name `rom`"),
            ("dictionary = { key = 'k' }", "missing key `field`"),
            ("dictionary = { key = 'k', field = 'f', value = 'v', increment = 1 }", "give one of the two"),
            ("counter = { key = 'k', value = 'v' }", "unknown key `value`"),
        ] {
            let told = faults(settings);
            assert!(told.len() == 1 && told[0].contains(says), "{settings}: {told:#?}");
        }
    }

    #[test]
    fn file_needs_no_build_with_aws() {
        for kind in CACHE_KINDS {
            let field = if *kind == "dictionary" { ", field = 'f'" } else { "" };
            let text =
                format!("[[routes]]\ntopic = 'a'\ndestinations = [{{ {kind} = {{ key = 'k'{field} }} }}]");
            let routes = file::read(&text, &Transforms::standard(), &[]).unwrap();
            let event = event_with("chat", "a", 1, |_| ());
            let plan = routes.plan(&event).unwrap().unwrap();
            assert_eq!(plan.destinations()[0].target.to_string(), format!("{kind} k"));
        }
    }
}
