//! The items that a call reads or changes, for the check of permissions.
//!
//! A role that may only write can also remove and return an element, and add to a number: Momento's page about permissions
//! names `listPopFront` and `sortedSetIncrementScore`. By the definition of the role, a change under a condition needs
//! both rights.

use momento_protos::cache_client::update_ttl_request::UpdateTtl;
use momento_protos::cache_client::{
    DeleteRequest, DictionaryDeleteRequest, DictionaryFetchRequest, DictionaryGetRequest,
    DictionaryIncrementRequest, DictionaryLengthRequest, DictionarySetRequest, GetBatchRequest, GetRequest,
    GetWithHashRequest, IncrementRequest, ItemGetTtlRequest, ItemGetTypeRequest, KeysExistRequest,
    ListConcatenateBackRequest, ListConcatenateFrontRequest, ListEraseRequest, ListFetchRequest,
    ListLengthRequest, ListPopBackRequest, ListPopFrontRequest, ListPushBackRequest, ListPushFrontRequest,
    ListRemoveRequest, ListRetainRequest, SetBatchRequest, SetContainsRequest, SetDifferenceRequest,
    SetFetchRequest, SetIfHashRequest, SetIfNotExistsRequest, SetIfRequest, SetLengthRequest, SetPopRequest,
    SetRequest, SetSampleRequest, SetUnionRequest, SortedSetFetchRequest, SortedSetGetRankRequest,
    SortedSetGetScoreRequest, SortedSetIncrementRequest, SortedSetLengthByScoreRequest,
    SortedSetLengthRequest, SortedSetPutRequest, SortedSetRemoveRequest, SortedSetUnionStoreRequest,
    UpdateTtlRequest,
};

use crate::auth::permissions::Access;

/// A request that names the items which it reads or changes.
pub(crate) trait Touch {
    /// Returns true if `allow` returns true for every item.
    fn is_allowed(&self, allow: impl Fn(Access, &[u8]) -> bool) -> bool;
}

/// Defines requests for one item: each with its access and the field that has the key.
macro_rules! touch {
    ($($access:ident { $($request:ty, $key:ident;)* })*) => {
        $($(
            impl Touch for $request {
                fn is_allowed(&self, allow: impl Fn(Access, &[u8]) -> bool) -> bool {
                    allow(Access::$access, &self.$key)
                }
            }
        )*)*
    };
}

touch! {
    Read {
        GetRequest, cache_key;
        GetWithHashRequest, cache_key;
        ItemGetTtlRequest, cache_key;
        ItemGetTypeRequest, cache_key;
        DictionaryGetRequest, dictionary_name;
        DictionaryFetchRequest, dictionary_name;
        DictionaryLengthRequest, dictionary_name;
        SetFetchRequest, set_name;
        SetSampleRequest, set_name;
        SetContainsRequest, set_name;
        SetLengthRequest, set_name;
        ListFetchRequest, list_name;
        ListLengthRequest, list_name;
        SortedSetFetchRequest, set_name;
        SortedSetGetScoreRequest, set_name;
        SortedSetGetRankRequest, set_name;
        SortedSetLengthRequest, set_name;
        SortedSetLengthByScoreRequest, set_name;
    }
    Write {
        SetRequest, cache_key;
        DeleteRequest, cache_key;
        IncrementRequest, cache_key;
        DictionarySetRequest, dictionary_name;
        DictionaryIncrementRequest, dictionary_name;
        DictionaryDeleteRequest, dictionary_name;
        SetUnionRequest, set_name;
        SetDifferenceRequest, set_name;
        SetPopRequest, set_name;
        ListPushFrontRequest, list_name;
        ListPushBackRequest, list_name;
        ListPopFrontRequest, list_name;
        ListPopBackRequest, list_name;
        ListEraseRequest, list_name;
        ListRemoveRequest, list_name;
        ListConcatenateFrontRequest, list_name;
        ListConcatenateBackRequest, list_name;
        ListRetainRequest, list_name;
        SortedSetPutRequest, set_name;
        SortedSetRemoveRequest, set_name;
        SortedSetIncrementRequest, set_name;
    }
    ReadWrite {
        SetIfRequest, cache_key;
        SetIfHashRequest, cache_key;
        SetIfNotExistsRequest, cache_key;
    }
}

impl Touch for GetBatchRequest {
    fn is_allowed(&self, allow: impl Fn(Access, &[u8]) -> bool) -> bool {
        self.items.iter().all(|request| allow(Access::Read, &request.cache_key))
    }
}

impl Touch for SetBatchRequest {
    fn is_allowed(&self, allow: impl Fn(Access, &[u8]) -> bool) -> bool {
        self.items.iter().all(|request| allow(Access::Write, &request.cache_key))
    }
}

impl Touch for KeysExistRequest {
    fn is_allowed(&self, allow: impl Fn(Access, &[u8]) -> bool) -> bool {
        self.cache_keys.iter().all(|key| allow(Access::Read, key))
    }
}

impl Touch for UpdateTtlRequest {
    fn is_allowed(&self, allow: impl Fn(Access, &[u8]) -> bool) -> bool {
        let access = match self.update_ttl {
            Some(UpdateTtl::IncreaseToMilliseconds(_) | UpdateTtl::DecreaseToMilliseconds(_)) => {
                Access::ReadWrite
            }
            Some(UpdateTtl::OverwriteToMilliseconds(_)) | None => Access::Write,
        };
        allow(access, &self.cache_key)
    }
}

impl Touch for SortedSetUnionStoreRequest {
    fn is_allowed(&self, allow: impl Fn(Access, &[u8]) -> bool) -> bool {
        allow(Access::Write, &self.set_name)
            && self.sources.iter().all(|source| allow(Access::Read, &source.set_name))
    }
}
