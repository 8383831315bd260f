//! Calls on dictionaries.

use std::collections::BTreeMap;

use momento_protos::cache_client::dictionary_delete_request::Delete;
use momento_protos::cache_client::dictionary_get_response::DictionaryGetResponsePart;
use momento_protos::cache_client::{
    DictionaryDeleteRequest, DictionaryDeleteResponse, DictionaryFetchRequest, DictionaryFetchResponse,
    DictionaryFieldValuePair, DictionaryGetRequest, DictionaryGetResponse, DictionaryIncrementRequest,
    DictionaryIncrementResponse, DictionaryLengthRequest, DictionaryLengthResponse, DictionarySetRequest,
    DictionarySetResponse, ECacheResult, dictionary_fetch_response, dictionary_get_response,
    dictionary_length_response,
};

use super::{Content, ItemError, Items, Lifetime, check_elements, element_charge, response_length};

/// The fields of a dictionary, with the bytes that they count for.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    fields: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

impl Content for Fields {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Fields {
    fn insert(&mut self, field: Vec<u8>, value: Vec<u8>) {
        self.remove(&field);
        self.bytes += charge(&field, &value);
        self.fields.insert(field, value);
    }

    fn remove(&mut self, field: &[u8]) {
        if let Some(value) = self.fields.remove(field) {
            self.bytes -= charge(field, &value);
        }
    }
}

fn charge(field: &[u8], value: &[u8]) -> usize {
    element_charge(field) + value.len()
}

/// Returns the dictionary of this name; `None` if it does not exist.
fn existing<'i>(items: &'i Items<'_>, name: &[u8]) -> Result<Option<&'i Fields>, ItemError> {
    items.read(name)
}

pub(crate) fn get(
    items: &mut Items<'_>,
    request: DictionaryGetRequest,
) -> Result<DictionaryGetResponse, ItemError> {
    use dictionary_get_response::{Dictionary, Found, Missing};
    let Some(dictionary) = existing(items, &request.dictionary_name)? else {
        return Ok(DictionaryGetResponse { dictionary: Some(Dictionary::Missing(Missing {})) });
    };
    let mut total = 0;
    let get = |field: Vec<u8>| {
        let value = dictionary.fields.get(&field);
        items.respond(&mut total, value.map_or(0, Vec::len))?;
        let result = if value.is_some() { ECacheResult::Hit } else { ECacheResult::Miss };
        Ok(DictionaryGetResponsePart {
            result: result.into(),
            cache_body: value.cloned().unwrap_or_default(),
        })
    };
    let parts = request.fields.into_iter().map(get).collect::<Result<_, ItemError>>()?;
    Ok(DictionaryGetResponse { dictionary: Some(Dictionary::Found(Found { items: parts })) })
}

pub(crate) fn fetch(
    items: &mut Items<'_>,
    request: DictionaryFetchRequest,
) -> Result<DictionaryFetchResponse, ItemError> {
    use dictionary_fetch_response::{Dictionary, Found, Missing};
    let pair = |(field, value): (&Vec<u8>, &Vec<u8>)| DictionaryFieldValuePair {
        field: field.clone(),
        value: value.clone(),
    };
    let dictionary = match existing(items, &request.dictionary_name)? {
        Some(dictionary) => Dictionary::Found(Found { items: dictionary.fields.iter().map(pair).collect() }),
        None => Dictionary::Missing(Missing {}),
    };
    Ok(DictionaryFetchResponse { dictionary: Some(dictionary) })
}

pub(crate) fn set(
    items: &mut Items<'_>,
    request: DictionarySetRequest,
) -> Result<DictionarySetResponse, ItemError> {
    let lifetime = items.lifetime(request.ttl_milliseconds, request.refresh_ttl)?;
    store(items, request.dictionary_name, request.items, lifetime)?;
    Ok(DictionarySetResponse {})
}

fn store(
    items: &mut Items<'_>,
    name: Vec<u8>,
    pairs: Vec<DictionaryFieldValuePair>,
    lifetime: Lifetime,
) -> Result<(), ItemError> {
    check_elements(pairs.iter().flat_map(|pair| [&pair.field, &pair.value]))?;
    let old = existing(items, &name)?;
    let old_charge =
        |field: &Vec<u8>| old.and_then(|old| old.fields.get(field)).map_or(0, |value| charge(field, value));
    let added = pairs
        .iter()
        .map(|pair| charge(&pair.field, &pair.value).saturating_sub(old_charge(&pair.field)))
        .sum();
    items.add(name, added, lifetime, |dictionary: &mut Fields| {
        for pair in pairs {
            dictionary.insert(pair.field, pair.value);
        }
        Ok(())
    })
}

/// Adds to the number in a field. A missing field counts as 0.
pub(crate) fn increment(
    items: &mut Items<'_>,
    request: DictionaryIncrementRequest,
) -> Result<DictionaryIncrementResponse, ItemError> {
    let lifetime = items.lifetime(request.ttl_milliseconds, request.refresh_ttl)?;
    let current = existing(items, &request.dictionary_name)?.and_then(|old| old.fields.get(&request.field));
    let value = super::increment(current.map(Vec::as_slice), request.amount)?;
    let pair = DictionaryFieldValuePair { field: request.field, value: value.to_string().into() };
    store(items, request.dictionary_name, vec![pair], lifetime)?;
    Ok(DictionaryIncrementResponse { value })
}

pub(crate) fn delete(
    items: &mut Items<'_>,
    request: DictionaryDeleteRequest,
) -> Result<DictionaryDeleteResponse, ItemError> {
    let delete = request.delete.ok_or(ItemError::Missing("fields to delete"))?;
    items.alter(&request.dictionary_name, |dictionary: &mut Fields, _| match delete {
        Delete::Some(some) => some.fields.iter().for_each(|field| dictionary.remove(field)),
        Delete::All(_) => *dictionary = Fields::default(),
    })?;
    Ok(DictionaryDeleteResponse {})
}

pub(crate) fn length(
    items: &mut Items<'_>,
    request: DictionaryLengthRequest,
) -> Result<DictionaryLengthResponse, ItemError> {
    use dictionary_length_response::{Dictionary, Found, Missing};
    let dictionary = match existing(items, &request.dictionary_name)? {
        Some(dictionary) => Dictionary::Found(Found { length: response_length(dictionary.fields.len()) }),
        None => Dictionary::Missing(Missing {}),
    };
    Ok(DictionaryLengthResponse { dictionary: Some(dictionary) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use momento_protos::cache_client::dictionary_delete_request::{All, Some as SomeFields};

    use super::super::scalar::{self, tests::set_request};
    use super::super::{MAX_ITEM_BYTES, OVERHEAD_BYTES, Store};
    use super::*;

    fn put(
        items: &mut Items<'_>,
        pairs: &[(&str, &str)],
        ttl: u64,
        refresh_ttl: bool,
    ) -> Result<(), ItemError> {
        let pair = |(field, value): &(&str, &str)| DictionaryFieldValuePair {
            field: field.as_bytes().into(),
            value: value.as_bytes().into(),
        };
        let request = DictionarySetRequest {
            dictionary_name: b"people".into(),
            items: pairs.iter().map(pair).collect(),
            ttl_milliseconds: ttl,
            refresh_ttl,
        };
        set(items, request).map(|_| ())
    }

    fn add(items: &mut Items<'_>, field: &str, amount: i64) -> Result<i64, ItemError> {
        let request = DictionaryIncrementRequest {
            dictionary_name: b"people".into(),
            field: field.as_bytes().into(),
            amount,
            ttl_milliseconds: 1_000,
            refresh_ttl: false,
        };
        increment(items, request).map(|response| response.value)
    }

    /// Returns the fields with their values; `None` if the dictionary does not exist.
    fn fetched(items: &mut Items<'_>) -> Option<Vec<String>> {
        let request = DictionaryFetchRequest { dictionary_name: b"people".into() };
        match fetch(items, request).unwrap().dictionary.unwrap() {
            dictionary_fetch_response::Dictionary::Missing(_) => None,
            dictionary_fetch_response::Dictionary::Found(found) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let pairs = found.items.iter();
                Some(pairs.map(|pair| format!("{}={}", text(&pair.field), text(&pair.value))).collect())
            }
        }
    }

    #[tokio::test]
    async fn sets_gets_and_counts_fields() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        let got = |items: &mut Items<'_>| {
            let fields = vec![b"b".to_vec(), b"no".to_vec()];
            let request = DictionaryGetRequest { dictionary_name: b"people".into(), fields };
            match get(items, request).unwrap().dictionary.unwrap() {
                dictionary_get_response::Dictionary::Missing(_) => None,
                dictionary_get_response::Dictionary::Found(found) => Some(
                    found.items.into_iter().map(|part| (part.result(), part.cache_body)).collect::<Vec<_>>(),
                ),
            }
        };
        assert_eq!((got(&mut items), fetched(&mut items)), (None, None));
        put(&mut items, &[], 1_000, false).unwrap();
        assert_eq!(fetched(&mut items), None, "a dictionary without fields does not exist");
        put(&mut items, &[("b", "old"), ("a", "1")], 1_000, false).unwrap();
        put(&mut items, &[("b", "2")], 1_000, false).unwrap();
        assert_eq!(fetched(&mut items).unwrap(), ["a=1", "b=2"]);
        let expected = vec![(ECacheResult::Hit, b"2".to_vec()), (ECacheResult::Miss, Vec::new())];
        assert_eq!(got(&mut items), Some(expected));
        let request = DictionaryLengthRequest { dictionary_name: b"people".into() };
        let found = dictionary_length_response::Found { length: 2 };
        assert_eq!(
            length(&mut items, request).unwrap().dictionary,
            Some(dictionary_length_response::Dictionary::Found(found))
        );
        assert_eq!(items.store.bytes, OVERHEAD_BYTES + 6 + 2 * (OVERHEAD_BYTES + 2));
    }

    #[tokio::test]
    async fn increments_field_from_zero_and_rejects_text() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        assert_eq!(add(&mut items, "mo", 2), Ok(2));
        assert_eq!(add(&mut items, "mo", -3), Ok(-1));
        assert_eq!(add(&mut items, "jo", i64::MAX), Ok(i64::MAX));
        assert_eq!(add(&mut items, "jo", 1), Err(ItemError::Overflow));
        put(&mut items, &[("mo", "text")], 1_000, false).unwrap();
        assert_eq!(add(&mut items, "mo", 1), Err(ItemError::NotAnInteger));
        assert_eq!(fetched(&mut items).unwrap(), ["jo=9223372036854775807", "mo=text"]);
    }

    #[tokio::test]
    async fn deletes_fields_and_empty_dictionary() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        let remove = |items: &mut Items<'_>, which| {
            delete(items, DictionaryDeleteRequest { dictionary_name: b"people".into(), delete: which })
        };
        let some = |fields: &[&str]| {
            let fields = fields.iter().map(|field| field.as_bytes().to_vec()).collect();
            Some(Delete::Some(SomeFields { fields }))
        };
        remove(&mut items, some(&["a"])).unwrap();
        put(&mut items, &[("a", "1"), ("b", "2"), ("c", "3")], 1_000, false).unwrap();
        remove(&mut items, some(&["b", "no"])).unwrap();
        assert_eq!(fetched(&mut items).unwrap(), ["a=1", "c=3"]);
        remove(&mut items, some(&["a", "c"])).unwrap();
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
        put(&mut items, &[("a", "1")], 1_000, false).unwrap();
        assert_eq!(remove(&mut items, None), Err(ItemError::Missing("fields to delete")));
        remove(&mut items, Some(Delete::All(All {}))).unwrap();
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_ttl_unless_request_refreshes_it() {
        let mut store = Store::new(10_000);
        put(&mut store.cache("cache"), &[("a", "1")], 1_000, false).unwrap();
        put(&mut store.cache("cache"), &[("a", "2")], 5_000, false).unwrap();
        tokio::time::advance(Duration::from_millis(999)).await;
        put(&mut store.cache("cache"), &[("a", "3")], 5_000, true).unwrap();
        tokio::time::advance(Duration::from_millis(4_999)).await;
        assert_eq!(fetched(&mut store.cache("cache")).unwrap(), ["a=3"]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(fetched(&mut store.cache("cache")), None);
        assert_eq!(put(&mut store.cache("cache"), &[("a", "1")], 0, false), Err(ItemError::ZeroTtl));
    }

    #[tokio::test]
    async fn rejects_scalar_large_value_and_response_beyond_limit() {
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        let large = put(&mut items, &[("a", &"x".repeat(MAX_ITEM_BYTES + 1))], 1_000, false);
        assert_eq!(large, Err(ItemError::TooLarge { what: "element", bytes: MAX_ITEM_BYTES + 1 }));
        put(&mut items, &[("a", &"x".repeat(700))], 1_000, false).unwrap();
        let full = put(&mut items, &[("b", &"x".repeat(700))], 1_000, false);
        assert_eq!(full, Err(ItemError::OutOfMemory(1_000)));
        put(&mut items, &[("a", &"y".repeat(700))], 1_000, false).unwrap();
        let twice = DictionaryGetRequest { dictionary_name: b"people".into(), fields: vec![b"a".into(); 2] };
        assert_eq!(get(&mut items, twice), Err(ItemError::ResponseTooLarge(1_000)));
        scalar::set(&mut items, set_request("people", "scalar", 1_000)).unwrap();
        let wrong = ItemError::WrongType { actual: "scalar", expected: "dictionary" };
        assert_eq!(put(&mut items, &[("a", "1")], 1_000, false), Err(wrong.clone()));
        assert_eq!(add(&mut items, "a", 1), Err(wrong));
    }
}
