//! Calls on items of every type.

use momento_protos::cache_client::update_ttl_request::UpdateTtl;
use momento_protos::cache_client::{
    DeleteRequest, DeleteResponse, ItemGetTtlRequest, ItemGetTtlResponse, ItemGetTypeRequest,
    ItemGetTypeResponse, KeysExistRequest, KeysExistResponse, UpdateTtlRequest, UpdateTtlResponse,
    item_get_ttl_response, item_get_type_response, update_ttl_response,
};

use super::{ItemError, Items};

pub(crate) fn delete(items: &mut Items<'_>, request: DeleteRequest) -> Result<DeleteResponse, ItemError> {
    items.remove(&request.cache_key);
    Ok(DeleteResponse {})
}

pub(crate) fn keys_exist(
    items: &mut Items<'_>,
    request: KeysExistRequest,
) -> Result<KeysExistResponse, ItemError> {
    let exists = request.cache_keys.iter().map(|key| items.get(key).is_some()).collect();
    Ok(KeysExistResponse { exists })
}

pub(crate) fn get_ttl(
    items: &mut Items<'_>,
    request: ItemGetTtlRequest,
) -> Result<ItemGetTtlResponse, ItemError> {
    use item_get_ttl_response::{Found, Missing, Result};
    let result = match items.item(&request.cache_key) {
        Some(item) => {
            let millis = item.expires.duration_since(items.now).as_millis();
            Result::Found(Found { remaining_ttl_millis: u64::try_from(millis).unwrap_or(u64::MAX) })
        }
        None => Result::Missing(Missing {}),
    };
    Ok(ItemGetTtlResponse { result: Some(result) })
}

pub(crate) fn get_type(
    items: &mut Items<'_>,
    request: ItemGetTypeRequest,
) -> Result<ItemGetTypeResponse, ItemError> {
    use item_get_type_response::{Found, Missing, Result};
    let result = match items.get(&request.cache_key) {
        Some(value) => Result::Found(Found { item_type: value.item_type().into() }),
        None => Result::Missing(Missing {}),
    };
    Ok(ItemGetTypeResponse { result: Some(result) })
}

pub(crate) fn update_ttl(
    items: &mut Items<'_>,
    request: UpdateTtlRequest,
) -> Result<UpdateTtlResponse, ItemError> {
    use update_ttl_response::{Missing, NotSet, Result, Set};
    let update = request.update_ttl.ok_or(ItemError::Missing("time to live"))?;
    let (UpdateTtl::IncreaseToMilliseconds(ttl)
    | UpdateTtl::DecreaseToMilliseconds(ttl)
    | UpdateTtl::OverwriteToMilliseconds(ttl)) = update;
    let expires = items.expiry(ttl)?;
    let result = items.change(&request.cache_key, |item| {
        let is_set = match update {
            UpdateTtl::IncreaseToMilliseconds(_) => expires > item.expires,
            UpdateTtl::DecreaseToMilliseconds(_) => expires < item.expires,
            UpdateTtl::OverwriteToMilliseconds(_) => true,
        };
        if !is_set {
            return Result::NotSet(NotSet {});
        }
        item.expires = expires;
        Result::Set(Set {})
    });
    Ok(UpdateTtlResponse { result: Some(result.unwrap_or(Result::Missing(Missing {}))) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Store;
    use super::super::scalar::{self, tests::set_request};
    use super::*;

    fn ttl(items: &mut Items<'_>) -> Option<u64> {
        match get_ttl(items, ItemGetTtlRequest { cache_key: b"key".into() }).unwrap().result.unwrap() {
            item_get_ttl_response::Result::Found(found) => Some(found.remaining_ttl_millis),
            item_get_ttl_response::Result::Missing(_) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn updates_ttl_only_under_its_condition() {
        use update_ttl_response::{Missing, NotSet, Result, Set};
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        let update = |items: &mut Items<'_>, change| {
            let request = UpdateTtlRequest { cache_key: b"key".into(), update_ttl: Some(change) };
            update_ttl(items, request).map(|response| response.result.unwrap())
        };
        let (increase, decrease, overwrite) = (
            UpdateTtl::IncreaseToMilliseconds,
            UpdateTtl::DecreaseToMilliseconds,
            UpdateTtl::OverwriteToMilliseconds,
        );
        assert_eq!(update(&mut items, overwrite(5)), Ok(Result::Missing(Missing {})));
        assert_eq!(ttl(&mut items), None);
        scalar::set(&mut items, set_request("key", "value", 1_000)).unwrap();
        for (change, expected, left) in [
            (increase(999), Result::NotSet(NotSet {}), 1_000),
            (increase(1_000), Result::NotSet(NotSet {}), 1_000),
            (increase(1_001), Result::Set(Set {}), 1_001),
            (decrease(1_002), Result::NotSet(NotSet {}), 1_001),
            (decrease(500), Result::Set(Set {}), 500),
            (overwrite(700), Result::Set(Set {}), 700),
            (overwrite(300), Result::Set(Set {}), 300),
        ] {
            assert_eq!(update(&mut items, change), Ok(expected), "{change:?}");
            assert_eq!(ttl(&mut items), Some(left), "{change:?}");
        }
        assert_eq!(update(&mut items, overwrite(0)), Err(ItemError::ZeroTtl));
        let none = UpdateTtlRequest { cache_key: b"key".into(), update_ttl: None };
        assert_eq!(update_ttl(&mut items, none), Err(ItemError::Missing("time to live")));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(ttl(&mut store.cache("cache")), Some(200));
    }

    #[tokio::test]
    async fn deletes_item_and_reports_which_keys_exist() {
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        scalar::set(&mut items, set_request("key", "value", 1_000)).unwrap();
        let keys = KeysExistRequest { cache_keys: vec![b"no".into(), b"key".into()] };
        assert_eq!(keys_exist(&mut items, keys.clone()).unwrap().exists, [false, true]);
        for _ in 0..2 {
            delete(&mut items, DeleteRequest { cache_key: b"key".into() }).unwrap();
        }
        assert_eq!(keys_exist(&mut items, keys).unwrap().exists, [false, false]);
    }
}
