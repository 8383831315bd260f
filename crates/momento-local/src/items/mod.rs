//! The items of caches: scalars and collections, each with a time to live.
//!
//! | module | calls |
//! | --- | --- |
//! | [`scalar`] | `Get`, `Set`, conditional sets, `Increment`, and their batches |
//! | [`list`] | `ListFetch`, `ListPushBack` and all others of lists |
//! | [`dictionary`] | `DictionaryGet`, `DictionarySet` and all others of dictionaries |
//! | [`set`] | `SetFetch`, `SetUnion` and all others of sets |
//! | [`sorted_set`] | `SortedSetFetch`, `SortedSetPut` and all others of sorted sets |
//! | [`any`] | `Delete`, `KeysExist`, `ItemGetTtl`, `ItemGetType`, `UpdateTtl`: items of every type |
//! | [`touch`] | which items each of these calls reads or changes |
//!
//! A call is a function of the [`Items`] of one cache and of a request; it has no I/O and no locks. A further type of
//! item is one more file with its calls and its [`Content`], and one line in the list of [`Value`].
//!
//! A collection without elements does not exist: the call that removes the last element deletes it.
//!
//! All items together have a limit of bytes. Local Momento evicts nothing: a call that exceeds the limit fails, so that
//! a test never loses an item without a reason that it can see.

#![expect(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "all calls have one signature")]

pub(crate) mod any;
pub(crate) mod dictionary;
pub(crate) mod list;
pub(crate) mod scalar;
pub(crate) mod set;
pub(crate) mod sorted_set;
pub(crate) mod touch;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use momento_protos::cache_client::item_get_type_response::ItemType;
use tokio::time::Instant;

use crate::error::CacheError;

/// The largest key, scalar or element of a collection, in bytes. Momento documents 1 MB for an item.
pub(crate) const MAX_ITEM_BYTES: usize = 1_024 * 1_024;

/// The memory that an item takes in addition to its key and its value, and an element of a collection in addition to
/// its bytes: roughly, so that many small ones have a limit as well.
const OVERHEAD_BYTES: usize = 64;

/// The largest number of sets that one union reads, so that it does not hold up all other calls.
const MAX_SOURCES: usize = 1_000;

/// A hundred years. A longer time to live is cut to it.
const MAX_TTL_MILLISECONDS: u64 = 100 * 365 * 24 * 60 * 60 * 1_000;

/// The reason why a call on items fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ItemError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("time to live is 0 milliseconds; expected at least 1")]
    ZeroTtl,
    #[error("the request has no {0}")]
    Missing(&'static str),
    #[error("the item is a {actual}; expected a {expected}")]
    WrongType { actual: &'static str, expected: &'static str },
    #[error("the value is not an integer; expected a number of 64 bits in base 10")]
    NotAnInteger,
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    #[error("the score or weight is not a number")]
    NotANumber,
    #[error("the request has {0} sources; at most {MAX_SOURCES} are allowed")]
    TooManySources(usize),
    // The JavaScript SDK looks for "item size" and "element size" in the text.
    #[error("{what} size exceeded: {bytes} bytes, and at most {MAX_ITEM_BYTES} are allowed")]
    TooLarge { what: &'static str, bytes: usize },
    #[error("local Momento keeps at most {0} bytes of items; delete some, or raise the limit")]
    OutOfMemory(usize),
    #[error("the response would have more than {0} bytes; ask for less")]
    ResponseTooLarge(usize),
}

/// The content of an item.
pub(crate) trait Content: Default {
    /// Returns the bytes that the content counts for.
    fn bytes(&self) -> usize;

    /// Returns true for a collection without elements.
    fn is_empty(&self) -> bool;
}

/// The content of one variant of [`Value`].
pub(crate) trait Kind: Content {
    /// The name of the type, for errors.
    const NAME: &'static str;

    fn of(value: &Value) -> Option<&Self>;

    fn of_mut(value: &mut Value) -> Option<&mut Self>;

    fn into_value(self) -> Value;
}

/// Defines the types of items: each with its variant, its content and its name in errors.
macro_rules! values {
    ($($variant:ident($content:ty), $name:literal;)*) => {
        /// The value of an item.
        #[derive(Debug)]
        pub(crate) enum Value {
            $($variant($content),)*
        }

        impl Value {
            fn bytes(&self) -> usize {
                match self {
                    $(Self::$variant(content) => content.bytes(),)*
                }
            }

            const fn item_type(&self) -> ItemType {
                match self {
                    $(Self::$variant(_) => ItemType::$variant,)*
                }
            }

            /// Returns the name of the type, for errors.
            const fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }
        }

        $(
            impl Kind for $content {
                const NAME: &'static str = $name;

                fn of(value: &Value) -> Option<&Self> {
                    if let Value::$variant(content) = value { Some(content) } else { None }
                }

                fn of_mut(value: &mut Value) -> Option<&mut Self> {
                    if let Value::$variant(content) = value { Some(content) } else { None }
                }

                fn into_value(self) -> Value {
                    Value::$variant(self)
                }
            }
        )*
    };
}

values! {
    Scalar(Vec<u8>), "scalar";
    Dictionary(dictionary::Fields), "dictionary";
    Set(set::Elements), "set";
    List(list::Elements), "list";
    SortedSet(sorted_set::Scores), "sorted set";
}

/// The time to live that a call on a collection asks for.
#[derive(Clone, Copy, Debug)]
struct Lifetime {
    expires: Instant,
    /// If false, it applies only to a new collection.
    refresh: bool,
}

/// A value with the time of its expiry.
#[derive(Debug)]
pub(crate) struct Item {
    value: Value,
    expires: Instant,
}

/// The items of all caches.
#[derive(Debug)]
pub(crate) struct Store {
    max_bytes: usize,
    bytes: usize,
    caches: HashMap<String, HashMap<Vec<u8>, Item>>,
}

impl Store {
    /// Returns an empty store for at most `max_bytes` of items.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, caches: HashMap::new() }
    }

    /// Returns the items of a cache at this moment.
    pub(crate) fn cache<'s>(&'s mut self, name: &'s str) -> Items<'s> {
        Items { store: self, cache: name, now: Instant::now() }
    }

    /// Deletes all items of a cache.
    pub(crate) fn clear(&mut self, cache: &str) {
        let items = self.caches.remove(cache).unwrap_or_default();
        self.bytes -= items.iter().map(charge).sum::<usize>();
    }

    fn remove_expired(&mut self, now: Instant) {
        for items in self.caches.values_mut() {
            for item in items.extract_if(|_, item| item.expires <= now) {
                self.bytes -= charge((&item.0, &item.1));
            }
        }
    }
}

/// Returns the bytes that an item counts for.
fn charge((key, item): (&Vec<u8>, &Item)) -> usize {
    OVERHEAD_BYTES + key.len() + item.value.bytes()
}

/// The items of one cache at one moment. An expired item does not exist.
#[derive(Debug)]
pub(crate) struct Items<'s> {
    store: &'s mut Store,
    cache: &'s str,
    now: Instant,
}

impl Items<'_> {
    fn item(&self, key: &[u8]) -> Option<&Item> {
        self.store.caches.get(self.cache)?.get(key).filter(|item| item.expires > self.now)
    }

    fn get(&self, key: &[u8]) -> Option<&Value> {
        self.item(key).map(|item| &item.value)
    }

    /// Returns the content of an item; `None` if it does not exist.
    fn read<K: Kind>(&self, key: &[u8]) -> Result<Option<&K>, ItemError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || ItemError::WrongType { actual: value.type_name(), expected: K::NAME };
        K::of(value).map(Some).ok_or_else(wrong)
    }

    fn remove(&mut self, key: &[u8]) -> Option<Item> {
        let (key, item) = self.store.caches.get_mut(self.cache)?.remove_entry(key)?;
        self.store.bytes -= charge((&key, &item));
        (item.expires > self.now).then_some(item)
    }

    /// Changes an item in place; returns `None` if it does not exist. The caller has reserved the bytes that it adds.
    fn change<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Item) -> R) -> Option<R> {
        let item = self.store.caches.get_mut(self.cache)?.get_mut(key)?;
        if item.expires <= self.now {
            return None;
        }
        let before = item.value.bytes();
        let changed = change(item);
        self.store.bytes = self.store.bytes - before + item.value.bytes();
        Some(changed)
    }

    /// Changes an existing collection, and deletes it if it is empty then. Returns `None` if it does not exist. The
    /// caller has reserved the bytes that it adds.
    fn alter<K: Kind, R>(
        &mut self,
        key: &[u8],
        alter: impl FnOnce(&mut K, &mut Instant) -> R,
    ) -> Result<Option<R>, ItemError> {
        self.read::<K>(key)?;
        let altered = self.change(key, |item| {
            let content = K::of_mut(&mut item.value).expect("its type is checked above");
            (alter(content, &mut item.expires), content.is_empty())
        });
        let Some((result, is_empty)) = altered else { return Ok(None) };
        if is_empty {
            self.remove(key);
        }
        Ok(Some(result))
    }

    /// Adds up to `bytes` to a collection, which comes into being if it does not exist. `add` changes nothing if it
    /// fails.
    fn add<K: Kind, R>(
        &mut self,
        key: Vec<u8>,
        bytes: usize,
        lifetime: Lifetime,
        add: impl FnOnce(&mut K) -> Result<R, ItemError>,
    ) -> Result<R, ItemError> {
        if self.read::<K>(&key)?.is_none() {
            let mut content = K::default();
            let result = add(&mut content)?;
            if !content.is_empty() {
                self.put(key, content.into_value(), lifetime.expires)?;
            }
            return Ok(result);
        }
        self.reserve(bytes)?;
        let added = self.alter(&key, |content, expires| {
            let result = add(content)?;
            if lifetime.refresh {
                *expires = lifetime.expires;
            }
            Ok(result)
        });
        added?.expect("the collection exists")
    }

    /// Stores an item in place of the one with this key.
    fn put(&mut self, key: Vec<u8>, value: Value, expires: Instant) -> Result<(), ItemError> {
        check_size("item", key.len())?;
        let item = Item { value, expires };
        let new = charge((&key, &item));
        let old =
            self.store.caches.get(self.cache).and_then(|items| items.get_key_value(&key)).map_or(0, charge);
        self.reserve(new.saturating_sub(old))?;
        self.remove(&key);
        self.store.bytes += new;
        self.store.caches.entry(self.cache.to_owned()).or_default().insert(key, item);
        Ok(())
    }

    /// Fails if `bytes` more exceed the limit, also without the expired items.
    fn reserve(&mut self, bytes: usize) -> Result<(), ItemError> {
        let max = self.store.max_bytes;
        if self.store.bytes.saturating_add(bytes) > max {
            self.store.remove_expired(self.now);
        }
        if self.store.bytes.saturating_add(bytes) > max { Err(ItemError::OutOfMemory(max)) } else { Ok(()) }
    }

    /// Returns the time at which an item with this time to live expires.
    fn expiry(&self, ttl_milliseconds: u64) -> Result<Instant, ItemError> {
        if ttl_milliseconds == 0 {
            return Err(ItemError::ZeroTtl);
        }
        Ok(self.now + Duration::from_millis(ttl_milliseconds.min(MAX_TTL_MILLISECONDS)))
    }

    fn lifetime(&self, ttl_milliseconds: u64, refresh: bool) -> Result<Lifetime, ItemError> {
        Ok(Lifetime { expires: self.expiry(ttl_milliseconds)?, refresh })
    }

    /// Counts the bytes of a part of the response. A request can name the same key many times, so a response could be
    /// larger than all items together.
    fn respond(&self, total: &mut usize, bytes: usize) -> Result<(), ItemError> {
        *total = total.saturating_add(OVERHEAD_BYTES + bytes);
        let max = self.store.max_bytes;
        if *total > max { Err(ItemError::ResponseTooLarge(max)) } else { Ok(()) }
    }
}

/// Fails if an item (its key or its value) or an element is too large.
fn check_size(what: &'static str, bytes: usize) -> Result<(), ItemError> {
    if bytes > MAX_ITEM_BYTES { Err(ItemError::TooLarge { what, bytes }) } else { Ok(()) }
}

/// Fails if an element of the request is too large.
fn check_elements<'e>(elements: impl IntoIterator<Item = &'e Vec<u8>>) -> Result<(), ItemError> {
    elements.into_iter().try_for_each(|element| check_size("element", element.len()))
}

/// Returns the bytes that an element of a collection counts for.
fn element_charge(element: &[u8]) -> usize {
    OVERHEAD_BYTES + element.len()
}

/// Adds to a number in base 10. A missing one counts as 0.
fn increment(current: Option<&[u8]>, amount: i64) -> Result<i64, ItemError> {
    let current = match current {
        Some(bytes) => {
            let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
            number.ok_or(ItemError::NotAnInteger)?
        }
        None => 0,
    };
    current.checked_add(amount).ok_or(ItemError::Overflow)
}

/// Returns the indexes between two bounds of a request. A negative bound counts from the end.
fn index_range(length: usize, start: Option<i32>, end: Option<i32>) -> Range<usize> {
    let index = |bound: i32| {
        let distance = usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX);
        if bound < 0 { length.saturating_sub(distance) } else { distance.min(length) }
    };
    let start = start.map_or(0, index);
    start..end.map_or(length, index).max(start)
}

/// Returns a length for a response.
fn response_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &mut Store, cache: &str, key: &str, bytes: usize, ttl: u64) -> Result<(), ItemError> {
        let mut items = store.cache(cache);
        let expires = items.expiry(ttl).unwrap();
        items.put(key.into(), Value::Scalar(vec![0; bytes]), expires)
    }

    #[tokio::test(start_paused = true)]
    async fn rejects_item_beyond_limit_until_others_expire_or_are_deleted() {
        let mut store = Store::new(3 * (OVERHEAD_BYTES + 1 + 100));
        put(&mut store, "one", "a", 100, 1_000).unwrap();
        put(&mut store, "one", "b", 100, 5_000).unwrap();
        put(&mut store, "two", "a", 100, 5_000).unwrap();
        let full = Err(ItemError::OutOfMemory(store.max_bytes));
        assert_eq!(put(&mut store, "two", "b", 0, 1_000), full);
        assert_eq!(put(&mut store, "two", "a", 101, 1_000), full);
        assert!(store.cache("two").get(b"a").is_some(), "a failed put changes nothing");
        assert_eq!(put(&mut store, "two", "a", 100, 1_000), Ok(()), "an item makes room for its successor");

        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(put(&mut store, "two", "b", 100, 1_000), Ok(()), "expired items make room");
        assert_eq!(put(&mut store, "two", "c", 100, 1_000), Ok(()));
        assert_eq!(put(&mut store, "two", "d", 100, 1_000), full);
        store.clear("two");
        assert_eq!(store.bytes, OVERHEAD_BYTES + 1 + 100);
        store.cache("one").remove(b"b");
        assert_eq!(store.bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn item_ends_at_its_expiry() {
        let mut store = Store::new(1_000);
        put(&mut store, "cache", "a", 1, 1_000).unwrap();
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(store.cache("cache").get(b"a").is_some());
        assert!(store.cache("other").get(b"a").is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(store.cache("cache").get(b"a").is_none());
        assert!(store.cache("cache").remove(b"a").is_none());
        assert_eq!(store.bytes, 0);
    }

    #[test]
    fn index_range_stays_within_collection() {
        for (start, end, expected) in [
            (None, None, 0..5),
            (Some(1), Some(3), 1..3),
            (Some(-2), None, 3..5),
            (None, Some(-1), 0..4),
            (Some(-4), Some(-2), 1..3),
            (Some(9), None, 5..5),
            (Some(3), Some(1), 3..3),
            (Some(-9), Some(9), 0..5),
            (Some(i32::MIN), Some(i32::MAX), 0..5),
        ] {
            assert_eq!(index_range(5, start, end), expected, "{start:?} {end:?}");
        }
    }

    #[tokio::test]
    async fn accepts_any_positive_ttl() {
        let mut store = Store::new(1_000);
        assert_eq!(store.cache("cache").expiry(0), Err(ItemError::ZeroTtl));
        assert!(store.cache("cache").expiry(u64::MAX).is_ok());
        let large = put(&mut store, "cache", &"k".repeat(MAX_ITEM_BYTES + 1), 0, 1);
        assert_eq!(large, Err(ItemError::TooLarge { what: "item", bytes: MAX_ITEM_BYTES + 1 }));
    }
}
