//! Calls on scalars.

use std::hash::{DefaultHasher, Hasher as _};

use momento_protos::cache_client::set_if_hash_request::Condition as HashCondition;
use momento_protos::cache_client::set_if_request::Condition;
use momento_protos::cache_client::{
    ECacheResult, GetBatchRequest, GetRequest, GetResponse, GetWithHashRequest, GetWithHashResponse,
    IncrementRequest, IncrementResponse, SetBatchRequest, SetIfHashRequest, SetIfHashResponse,
    SetIfNotExistsRequest, SetIfNotExistsResponse, SetIfRequest, SetIfResponse, SetRequest, SetResponse,
    get_with_hash_response, set_if_hash_response, set_if_not_exists_response, set_if_response,
};

use super::{Content, ItemError, Items, Value, check_size};

impl Content for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// Returns the bytes of a scalar; `None` if it does not exist.
fn existing<'i>(items: &'i Items<'_>, key: &[u8]) -> Result<Option<&'i [u8]>, ItemError> {
    Ok(items.read::<Vec<u8>>(key)?.map(Vec::as_slice))
}

/// Stores a scalar in place of an item of any type.
fn store(items: &mut Items<'_>, key: Vec<u8>, value: Vec<u8>, ttl: u64) -> Result<(), ItemError> {
    check_size("item", value.len())?;
    let expires = items.expiry(ttl)?;
    items.put(key, Value::Scalar(value), expires)
}

/// Returns the hash of a value. The service does not document its own; clients only compare it.
fn hash(value: &[u8]) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish().to_be_bytes().into()
}

pub(crate) fn get(items: &mut Items<'_>, request: GetRequest) -> Result<GetResponse, ItemError> {
    let (result, cache_body) = match existing(items, &request.cache_key)? {
        Some(value) => (ECacheResult::Hit, value.to_vec()),
        None => (ECacheResult::Miss, Vec::new()),
    };
    Ok(GetResponse { result: result.into(), cache_body, message: String::new() })
}

pub(crate) fn get_batch(
    items: &mut Items<'_>,
    request: GetBatchRequest,
) -> Result<Vec<GetResponse>, ItemError> {
    let mut total = 0;
    let get = |request: GetRequest| {
        items.respond(&mut total, existing(items, &request.cache_key)?.map_or(0, <[u8]>::len))?;
        get(items, request)
    };
    request.items.into_iter().map(get).collect()
}

pub(crate) fn get_with_hash(
    items: &mut Items<'_>,
    request: GetWithHashRequest,
) -> Result<GetWithHashResponse, ItemError> {
    use get_with_hash_response::{Found, Missing, Result};
    let result = match existing(items, &request.cache_key)? {
        Some(value) => Result::Found(Found { value: value.to_vec(), hash: hash(value) }),
        None => Result::Missing(Missing {}),
    };
    Ok(GetWithHashResponse { result: Some(result) })
}

pub(crate) fn set(items: &mut Items<'_>, request: SetRequest) -> Result<SetResponse, ItemError> {
    store(items, request.cache_key, request.cache_body, request.ttl_milliseconds)?;
    Ok(SetResponse { result: ECacheResult::Ok.into(), message: String::new() })
}

pub(crate) fn set_batch(
    items: &mut Items<'_>,
    request: SetBatchRequest,
) -> Result<Vec<SetResponse>, ItemError> {
    request.items.into_iter().map(|request| set(items, request)).collect()
}

pub(crate) fn set_if(items: &mut Items<'_>, request: SetIfRequest) -> Result<SetIfResponse, ItemError> {
    use set_if_response::{NotStored, Result, Stored};
    let key = &request.cache_key;
    let exists = items.get(key).is_some();
    let equals = |value: &[u8]| existing(items, key).map(|current| current == Some(value));
    let holds = match request.condition.ok_or(ItemError::Missing("condition"))? {
        Condition::Present(_) => exists,
        Condition::Absent(_) => !exists,
        Condition::Equal(other) => equals(&other.value_to_check)?,
        Condition::NotEqual(other) => !equals(&other.value_to_check)?,
        Condition::PresentAndNotEqual(other) => exists && !equals(&other.value_to_check)?,
        Condition::AbsentOrEqual(other) => !exists || equals(&other.value_to_check)?,
    };
    if !holds {
        return Ok(SetIfResponse { result: Some(Result::NotStored(NotStored {})) });
    }
    store(items, request.cache_key, request.cache_body, request.ttl_milliseconds)?;
    Ok(SetIfResponse { result: Some(Result::Stored(Stored {})) })
}

/// The older call for the condition `Absent`.
pub(crate) fn set_if_not_exists(
    items: &mut Items<'_>,
    request: SetIfNotExistsRequest,
) -> Result<SetIfNotExistsResponse, ItemError> {
    use set_if_not_exists_response::{NotStored, Result, Stored};
    if items.get(&request.cache_key).is_some() {
        return Ok(SetIfNotExistsResponse { result: Some(Result::NotStored(NotStored {})) });
    }
    store(items, request.cache_key, request.cache_body, request.ttl_milliseconds)?;
    Ok(SetIfNotExistsResponse { result: Some(Result::Stored(Stored {})) })
}

pub(crate) fn set_if_hash(
    items: &mut Items<'_>,
    request: SetIfHashRequest,
) -> Result<SetIfHashResponse, ItemError> {
    use set_if_hash_response::{NotStored, Result, Stored};
    let current = existing(items, &request.cache_key)?.map(hash);
    let exists = current.is_some();
    let equals = |hash: Vec<u8>| current == Some(hash);
    let holds = match request.condition.ok_or(ItemError::Missing("condition"))? {
        HashCondition::PresentAndHashEqual(other) => equals(other.hash_to_check),
        HashCondition::PresentAndNotHashEqual(other) => exists && !equals(other.hash_to_check),
        HashCondition::AbsentOrHashEqual(other) => !exists || equals(other.hash_to_check),
        HashCondition::AbsentOrNotHashEqual(other) => !equals(other.hash_to_check),
        HashCondition::Unconditional(_) => true,
    };
    if !holds {
        return Ok(SetIfHashResponse { result: Some(Result::NotStored(NotStored {})) });
    }
    let new_hash = hash(&request.cache_body);
    store(items, request.cache_key, request.cache_body, request.ttl_milliseconds)?;
    Ok(SetIfHashResponse { result: Some(Result::Stored(Stored { new_hash })) })
}

/// Adds to a number, and begins its time to live anew.
pub(crate) fn increment(
    items: &mut Items<'_>,
    request: IncrementRequest,
) -> Result<IncrementResponse, ItemError> {
    let value = super::increment(existing(items, &request.cache_key)?, request.amount)?;
    store(items, request.cache_key, value.to_string().into(), request.ttl_milliseconds)?;
    Ok(IncrementResponse { value })
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use momento_protos::common::{
        Absent, AbsentOrEqual, AbsentOrHashEqual, AbsentOrNotHashEqual, Equal, NotEqual, Present,
        PresentAndHashEqual, PresentAndNotEqual, PresentAndNotHashEqual, Unconditional,
    };

    use super::super::set::{self as sets};
    use super::super::{MAX_ITEM_BYTES, Store};
    use super::*;

    pub(in super::super) fn set_request(key: &str, value: &str, ttl_milliseconds: u64) -> SetRequest {
        SetRequest { cache_key: key.into(), cache_body: value.into(), ttl_milliseconds }
    }

    fn got(items: &mut Items<'_>) -> Option<String> {
        let response = get(items, GetRequest { cache_key: b"key".into() }).unwrap();
        match response.result() {
            ECacheResult::Hit => Some(String::from_utf8(response.cache_body).unwrap()),
            ECacheResult::Miss => None,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn set_replaces_value_and_ttl() {
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        assert_eq!(got(&mut items), None);
        set(&mut items, set_request("key", "one", 1_000)).unwrap();
        set(&mut items, set_request("key", "two", 5_000)).unwrap();
        assert_eq!(got(&mut items).unwrap(), "two");
        tokio::time::advance(Duration::from_millis(4_999)).await;
        assert_eq!(got(&mut store.cache("cache")).unwrap(), "two");
        tokio::time::advance(Duration::from_millis(1)).await;
        let mut items = store.cache("cache");
        assert_eq!(got(&mut items), None);
        assert_eq!(set(&mut items, set_request("key", "one", 0)), Err(ItemError::ZeroTtl));
        let large = set(&mut items, set_request("key", &"x".repeat(MAX_ITEM_BYTES + 1), 1));
        assert_eq!(large, Err(ItemError::TooLarge { what: "item", bytes: MAX_ITEM_BYTES + 1 }));
    }

    #[tokio::test]
    async fn set_if_stores_under_its_condition() {
        let value_to_check = || b"old".to_vec();
        let equal = || Condition::Equal(Equal { value_to_check: value_to_check() });
        let not_equal = || Condition::NotEqual(NotEqual { value_to_check: value_to_check() });
        let present = || Condition::Present(Present {});
        let absent = || Condition::Absent(Absent {});
        let present_not_equal =
            || Condition::PresentAndNotEqual(PresentAndNotEqual { value_to_check: value_to_check() });
        let absent_or_equal = || Condition::AbsentOrEqual(AbsentOrEqual { value_to_check: value_to_check() });
        for (current, holding, failing) in [
            (None, [absent(), not_equal(), absent_or_equal()], [present(), equal(), present_not_equal()]),
            (
                Some("old"),
                [present(), equal(), absent_or_equal()],
                [absent(), not_equal(), present_not_equal()],
            ),
            (
                Some("other"),
                [present(), not_equal(), present_not_equal()],
                [absent(), equal(), absent_or_equal()],
            ),
        ] {
            let conditions = holding.map(|condition| (condition, true)).into_iter();
            for (condition, holds) in conditions.chain(failing.map(|condition| (condition, false))) {
                let mut store = Store::new(1_000);
                let mut items = store.cache("cache");
                if let Some(current) = current {
                    set(&mut items, set_request("key", current, 1_000)).unwrap();
                }
                let case = format!("{current:?} {condition:?}");
                let request = SetIfRequest {
                    cache_key: b"key".into(),
                    cache_body: b"new".into(),
                    ttl_milliseconds: 1_000,
                    condition: Some(condition),
                };
                let result = set_if(&mut items, request).unwrap().result.unwrap();
                assert_eq!(matches!(result, set_if_response::Result::Stored(_)), holds, "{case}");
                assert_eq!(got(&mut items).as_deref(), if holds { Some("new") } else { current }, "{case}");
            }
        }
    }

    #[tokio::test]
    async fn set_if_hash_stores_under_its_condition() {
        let old = || hash(b"old");
        let equal = || HashCondition::PresentAndHashEqual(PresentAndHashEqual { hash_to_check: old() });
        let not_equal =
            || HashCondition::PresentAndNotHashEqual(PresentAndNotHashEqual { hash_to_check: old() });
        let absent_equal = || HashCondition::AbsentOrHashEqual(AbsentOrHashEqual { hash_to_check: old() });
        let absent_not_equal =
            || HashCondition::AbsentOrNotHashEqual(AbsentOrNotHashEqual { hash_to_check: old() });
        let always = || HashCondition::Unconditional(Unconditional {});
        for (current, expected) in [
            (None, [false, false, true, true, true]),
            (Some("old"), [true, false, true, false, true]),
            (Some("other"), [false, true, false, true, true]),
        ] {
            let conditions = [equal(), not_equal(), absent_equal(), absent_not_equal(), always()];
            for (condition, holds) in conditions.into_iter().zip(expected) {
                let mut store = Store::new(1_000);
                let mut items = store.cache("cache");
                if let Some(current) = current {
                    set(&mut items, set_request("key", current, 1_000)).unwrap();
                }
                let case = format!("{current:?} {condition:?}");
                let request = SetIfHashRequest {
                    cache_key: b"key".into(),
                    cache_body: b"new".into(),
                    ttl_milliseconds: 1_000,
                    condition: Some(condition),
                };
                let result = set_if_hash(&mut items, request).unwrap().result.unwrap();
                let stored = set_if_hash_response::Stored { new_hash: hash(b"new") };
                assert_eq!(result == set_if_hash_response::Result::Stored(stored), holds, "{case}");
                let found =
                    get_with_hash(&mut items, GetWithHashRequest { cache_key: b"key".into() }).unwrap();
                let expected = if holds { Some("new") } else { current }.map(|value| {
                    let (value, hash) = (value.as_bytes().to_vec(), hash(value.as_bytes()));
                    get_with_hash_response::Result::Found(get_with_hash_response::Found { value, hash })
                });
                let missing = get_with_hash_response::Result::Missing(get_with_hash_response::Missing {});
                assert_eq!(found.result, expected.or(Some(missing)), "{case}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn increment_counts_from_zero_and_refreshes_ttl() {
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        let add = |items: &mut Items<'_>, amount| {
            let request = IncrementRequest { cache_key: b"key".into(), amount, ttl_milliseconds: 1_000 };
            increment(items, request).map(|response| response.value)
        };
        assert_eq!(add(&mut items, 41), Ok(41));
        assert_eq!(add(&mut items, -42), Ok(-1));
        assert_eq!(got(&mut items).unwrap(), "-1");
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(add(&mut store.cache("cache"), 0), Ok(-1));
        tokio::time::advance(Duration::from_millis(999)).await;
        let mut items = store.cache("cache");
        assert_eq!(add(&mut items, i64::MIN), Err(ItemError::Overflow));
        assert_eq!(got(&mut items).unwrap(), "-1");
        for text in ["abc", "", "1.5", "9223372036854775808"] {
            set(&mut items, set_request("key", text, 1_000)).unwrap();
            assert_eq!(add(&mut items, 1), Err(ItemError::NotAnInteger), "{text}");
        }
    }

    #[tokio::test]
    async fn rejects_item_of_another_type_unless_it_is_replaced() {
        use momento_protos::cache_client::SetUnionRequest;
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        let (set_name, elements) = (b"key".to_vec(), vec![b"a".to_vec()]);
        let request = SetUnionRequest { set_name, elements, ttl_milliseconds: 1_000, refresh_ttl: false };
        sets::union(&mut items, request).unwrap();
        let wrong = ItemError::WrongType { actual: "set", expected: "scalar" };
        assert_eq!(get(&mut items, GetRequest { cache_key: b"key".into() }), Err(wrong));
        set(&mut items, set_request("key", "value", 1_000)).unwrap();
        assert_eq!(got(&mut items).unwrap(), "value");
    }
}
