//! `lookup`: reads an item of a cache, for the placeholders of later transforms.
//!
//! ```toml
//! transforms = [
//!     { lookup = { as = "name", item = "name-{token_id}", default = "guest" } },
//!     { template = { text = "{lookup.name}: {text}" } },
//! ]
//! ```
//!
//! An [`ItemReader`] reads the items. Equal look-ups of one event happen once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings, Transformed};
use crate::names::CacheName;
use crate::placeholder::Template;
use crate::reason::{Failure, Reason};

/// The most entries of a list or a set that a look-up returns.
pub const MAX_ENTRIES: usize = 1_000;

/// Exactly one of `item`, `dictionary`, `list` and `set` is needed.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LookupSettings {
    /// The name of the value: `{lookup.name}` is what a look-up as `name` has found.
    #[serde(rename = "as")]
    name: String,
    /// The cache, which may have placeholders. Default: the cache of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
    /// The key of an item, which may have placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<String>,
    /// The name of a dictionary, which may have placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    dictionary: Option<String>,
    /// The field of the dictionary, which may have placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The name of a list, which may have placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<String>,
    /// The name of a set, which may have placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<String>,
    /// The value if the item or the field does not exist. Default: no value. A missing list or set is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
}

/// The item or part of an item that a look-up reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ItemQuery {
    /// The cache.
    pub cache: String,
    /// The key of the item.
    pub key: String,
    /// The part of the item.
    pub part: ItemPart,
}

/// The type of an item, and the part of it that a look-up reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ItemPart {
    /// The value of an item.
    Value,
    /// A field of a dictionary.
    Field(String),
    /// The first [`MAX_ENTRIES`] values of a list.
    List,
    /// At most [`MAX_ENTRIES`] elements of a set.
    Set,
}

/// Reads items of caches.
pub trait ItemReader: fmt::Debug + Send + Sync {
    /// Reads the texts of an item: one of a value or a field, several of a list or a set; `None` if it does not exist. Makes
    /// as many attempts as fit before `deadline`.
    fn read<'r>(
        &'r self,
        query: &'r ItemQuery,
        deadline: Instant,
    ) -> BoxFuture<'r, Result<Option<Vec<String>>, Failure>>;
}

/// The texts of an item; `None` if it does not exist.
type Found = Option<Vec<String>>;

/// The items that the look-ups of one event have read.
#[derive(Debug)]
pub struct Items {
    reader: Arc<dyn ItemReader>,
    read: Mutex<HashMap<ItemQuery, Arc<OnceCell<Found>>>>,
}

impl Items {
    /// Reads items with `reader`, each once.
    #[must_use]
    pub fn new(reader: Arc<dyn ItemReader>) -> Self {
        Self { reader, read: Mutex::default() }
    }

    /// Reads an item. Look-ups that ask for the same item at the same time share one call, and a failed one is made again.
    async fn read(&self, query: &ItemQuery, deadline: Instant) -> Result<Option<Vec<String>>, Failure> {
        let cell = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(read.entry(query.clone()).or_default())
        };
        cell.get_or_try_init(|| self.reader.read(query, deadline)).await.cloned()
    }
}

/// Finds nothing: every look-up has its default. For `check`, which reaches no service.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoItems;

impl ItemReader for NoItems {
    fn read<'r>(
        &'r self,
        _: &'r ItemQuery,
        _: Instant,
    ) -> BoxFuture<'r, Result<Option<Vec<String>>, Failure>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

#[derive(Debug)]
struct Lookup {
    name: String,
    cache: Option<Template>,
    key: Template,
    part: Part,
    default: Option<String>,
}

#[derive(Debug)]
enum Part {
    Value,
    Field(Template),
    List,
    Set,
}

impl TransformSettings for LookupSettings {
    const NAME: &'static str = "lookup";

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let Self { name, cache, item, dictionary, field, list, set, default } = self;
        if name.is_empty() || !name.chars().all(|char| matches!(char, 'a'..='z' | '0'..='9' | '_')) {
            return Err(format!("`as` is {name:?}; expected a name of a-z, 0-9 and _"));
        }
        let (key, part) = match (item, dictionary, list, set) {
            (Some(key), None, None, None) => (key, Part::Value),
            (None, Some(key), None, None) => {
                let field = field.as_ref().ok_or("`lookup` of a dictionary needs `field`")?;
                (key, Part::Field(with.template(field)?))
            }
            (None, None, Some(key), None) => (key, Part::List),
            (None, None, None, Some(key)) => (key, Part::Set),
            _ => return Err("`lookup` needs one of `item`, `dictionary`, `list` and `set`".to_owned()),
        };
        if field.is_some() && !matches!(part, Part::Field(_)) {
            return Err("`field` is for a dictionary only; leave it out".to_owned());
        }
        if default.is_some() && matches!(part, Part::List | Part::Set) {
            return Err(
                "`default` is not for lists and sets: a missing one is empty; leave it out".to_owned()
            );
        }
        if key.is_empty() {
            return Err("the key of `lookup` is empty".to_owned());
        }
        let cache = cache.map(|cache| with.template(&cache)).transpose()?;
        if let Some(Err(error)) = cache.as_ref().and_then(Template::literal).map(CacheName::new) {
            return Err(format!("the cache {error}"));
        }
        Ok(Arc::new(Lookup { name, cache, key: with.template(&key)?, part, default }))
    }
}

impl Lookup {
    fn query(&self, message: &Message<'_>, context: &Context<'_>) -> Result<ItemQuery, Failure> {
        let values = message.values(context);
        let cache = match &self.cache {
            Some(cache) => cache.name(&values)?.into_owned(),
            None => context.event.cache.clone(),
        };
        CacheName::new(cache.as_str())
            .map_err(|error| Failure::new(Reason::InvalidArgument, format!("the cache {error}")))?;
        let part = match &self.part {
            Part::Value => ItemPart::Value,
            Part::Field(field) => ItemPart::Field(field.part(&values)?.into_owned()),
            Part::List => ItemPart::List,
            Part::Set => ItemPart::Set,
        };
        Ok(ItemQuery { cache, key: self.key.name(&values)?.into_owned(), part })
    }
}

impl Transform for Lookup {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t> {
        Box::pin(async move {
            let query = self.query(&message, context)?;
            let items = context.items.ok_or_else(|| Failure::new(Reason::Internal, "no cache to look in"))?;
            let read = items.read(&query, context.deadline).await?;
            let value = match self.part {
                Part::List | Part::Set => Some(Value::from(read.unwrap_or_default())),
                Part::Value | Part::Field(_) => read
                    .and_then(|texts| texts.into_iter().next())
                    .or_else(|| self.default.clone())
                    .map(Value::from),
            };
            let mut found: Map<String, Value> = match &message.found {
                Some(found) => serde_json::from_str(found).expect("an earlier look-up has made JSON of it"),
                None => Map::new(),
            };
            found.remove(&self.name);
            found.extend(value.map(|value| (self.name.clone(), value)));
            let found = Some(Value::Object(found).to_string().into());
            Ok(Transformed::Message(Message { found, ..message }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::testing::{TIMEOUT, event_with};
    use crate::transform::tests::{faulty, stages};

    /// Has the items of two people, and counts the reads.
    #[derive(Debug, Default)]
    struct FakeItems {
        reads: AtomicUsize,
        fails: bool,
    }

    impl ItemReader for FakeItems {
        fn read<'r>(
            &'r self,
            query: &'r ItemQuery,
            _: Instant,
        ) -> BoxFuture<'r, Result<Option<Vec<String>>, Failure>> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let found = match (query.cache.as_str(), query.key.as_str(), &query.part) {
                ("c", "name-mo", ItemPart::Value) => Some(vec!["Mo \"the squirrel\" {text}".to_owned()]),
                ("people", "names", ItemPart::Field(field)) if field == "mo" => Some(vec!["Mo".to_owned()]),
                ("c", "rooms-mo", ItemPart::List) => Some(vec!["a".to_owned(), "b".to_owned()]),
                _ => None,
            };
            let result = if self.fails { Err(Reason::Unavailable.into()) } else { Ok(found) };
            Box::pin(std::future::ready(result))
        }
    }

    /// Applies transforms to the text `hi` of a person.
    async fn apply(list: &str, person: Option<&str>, items: &Items) -> Result<Transformed<'static>, Failure> {
        let event = event_with("c", "t", 1, |event| event.token_id = person.map(str::to_owned));
        let deadline = Instant::now() + TIMEOUT;
        let context = Context { event: &event, captures: &[], document: None, items: Some(items), deadline };
        let (mut text, mut found) = ("hi".to_owned(), None);
        for stage in stages(list) {
            let message = Message { text: text.as_str().into(), language: None, found };
            match stage.apply(message, &context).await? {
                Transformed::Message(next) => {
                    found = next.found.clone();
                    text = next.text.into_owned();
                }
                Transformed::Dropped(reason) => return Ok(Transformed::Dropped(reason.into_owned().into())),
            }
        }
        Ok(Transformed::Message(Message::new(text)))
    }

    async fn text(list: &str, person: &str) -> String {
        match apply(list, Some(person), &Items::new(Arc::new(FakeItems::default()))).await.unwrap() {
            Transformed::Message(message) => message.text.into_owned(),
            Transformed::Dropped(reason) => format!("dropped: {reason}"),
        }
    }

    #[tokio::test]
    async fn later_transforms_see_what_was_found() {
        let by_item =
            "[{ lookup = { as = 'name', item = 'name-{token_id}', default = 'guest' } }, 'uppercase',
                        { template = { text = '{lookup.name}: {text}' } }]";
        assert_eq!(text(by_item, "mo").await, "Mo \"the squirrel\" {text}: HI", "a value is never parsed");
        assert_eq!(text(by_item, "jo").await, "guest: HI");
        let by_field = "[{ lookup = { as = 'name', cache = 'people', dictionary = 'names', field = '{token_id}' } },
                         { lookup = { as = 'rooms', list = 'rooms-{token_id}' } },
                         { template = { text = \"{lookup.name | default('?')} in {lookup.rooms | join(', ')}\" } }]";
        assert_eq!(text(by_field, "mo").await, "Mo in a, b");
        let inside = "[{ lookup = { as = 'name', item = 'name-{token_id}' } },
                       { template = { json = { m = '{text}' } } },
                       { json = { pointer = '/m', transforms = [{ template = { text = '{lookup.name}' } }] } }]";
        assert_eq!(text(inside, "mo").await, r#"{"m":"Mo \"the squirrel\" {text}"}"#);
    }

    #[tokio::test]
    async fn filter_decides_by_what_was_found() {
        let list = "[{ lookup = { as = 'name', dictionary = 'names', cache = 'people', field = '{token_id}', default = 'no' } },
                     { filter = { value = '{lookup.name}', equals = 'Mo' } }]";
        assert_eq!(text(list, "mo").await, "hi");
        assert!(text(list, "jo").await.starts_with("dropped: filter"));
    }

    #[tokio::test]
    async fn equal_lookups_of_one_event_happen_once() {
        let reader = Arc::new(FakeItems::default());
        let items = Items::new(Arc::clone(&reader) as _);
        let list = "[{ lookup = { as = 'a', item = 'name-{token_id}' } }, { lookup = { as = 'b', item = 'name-{token_id}' } },
                     { lookup = { as = 'c', item = 'name-{token_id}', cache = 'people', default = 'x' } }]";
        apply(list, Some("mo"), &items).await.unwrap();
        assert_eq!(reader.reads.load(Ordering::Relaxed), 2);
        apply(list, Some("mo"), &items).await.unwrap();
        assert_eq!(reader.reads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn fails_without_value_for_key_and_without_service() {
        let list = "[{ lookup = { as = 'name', item = 'name-{token_id}', default = 'x' } }]";
        let items = Items::new(Arc::new(FakeItems::default()));
        assert_eq!(apply(list, None, &items).await.unwrap_err().reason, Reason::InvalidArgument);
        let items = Items::new(Arc::new(FakeItems { fails: true, ..FakeItems::default() }));
        assert_eq!(apply(list, Some("mo"), &items).await.unwrap_err().reason, Reason::Unavailable);
    }

    #[test]
    fn rejects_contradictory_settings() {
        for (settings, says) in [
            ("as = 'name'", "needs one of `item`, `dictionary`, `list` and `set`"),
            ("as = 'name', item = 'a', list = 'b'", "needs one of"),
            ("as = 'name', dictionary = 'a'", "needs `field`"),
            ("as = 'name', item = 'a', field = 'b'", "`field` is for a dictionary only"),
            ("as = 'name', list = 'a', default = 'b'", "`default` is not for lists and sets"),
            ("as = 'Name', item = 'a'", "expected a name of a-z, 0-9 and _"),
            ("as = 'name', item = ''", "the key of `lookup` is empty"),
            ("as = 'name', item = 'a', cache = 'ä'", "the cache has a character"),
        ] {
            let told = faulty(&format!("[{{ lookup = {{ {settings} }} }}]")).unwrap_err();
            let told = format!("{told:?}");
            assert!(told.contains(says), "{settings}: {told}");
        }
    }
}
