//! The methods of Momento's gRPC services, and the names that faults call them by.

use std::fmt;
use std::str::FromStr;

/// Defines the methods that local Momento serves: each with its HTTP path and its name.
macro_rules! rpcs {
    ($($(#[$doc:meta])* $rpc:ident, $path:literal, $name:literal;)*) => {
        /// A method that local Momento serves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rpc {
            $(
                #[doc = concat!("`", $path, "`, in metadata and JSON `", $name, "`.")]
                $(#[$doc])*
                $rpc,
            )*
        }

        impl Rpc {
            const ALL: &[Self] = &[$(Self::$rpc),*];

            const fn path(self) -> &'static str {
                match self {
                    $(Self::$rpc => $path,)*
                }
            }

            /// Returns the name in request metadata and in JSON. The names are those of Momento's own suites, or formed
            /// like them.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$rpc => $name,)*
                }
            }
        }
    };
}

rpcs! {
    Publish, "/cache_client.pubsub.Pubsub/Publish", "topic-publish";
    Subscribe, "/cache_client.pubsub.Pubsub/Subscribe", "topic-subscribe";
    CreateCache, "/control_client.ScsControl/CreateCache", "create-cache";
    DeleteCache, "/control_client.ScsControl/DeleteCache", "delete-cache";
    ListCaches, "/control_client.ScsControl/ListCaches", "list-caches";
    FlushCache, "/control_client.ScsControl/FlushCache", "flush-cache";
    Ping, "/cache_client.Ping/Ping", "ping";
    GenerateDisposableToken, "/token.Token/GenerateDisposableToken", "generate-disposable-token";
    GenerateApiToken, "/auth.Auth/GenerateApiToken", "generate-api-token";
    RefreshApiToken, "/auth.Auth/RefreshApiToken", "refresh-api-token";
    Get, "/cache_client.Scs/Get", "get";
    GetBatch, "/cache_client.Scs/GetBatch", "get-batch";
    GetWithHash, "/cache_client.Scs/GetWithHash", "get-with-hash";
    Set, "/cache_client.Scs/Set", "set";
    SetBatch, "/cache_client.Scs/SetBatch", "set-batch";
    SetIf, "/cache_client.Scs/SetIf", "set-if";
    SetIfHash, "/cache_client.Scs/SetIfHash", "set-if-hash";
    /// In the metadata of the SDKs it is `set-if`, too.
    SetIfNotExists, "/cache_client.Scs/SetIfNotExists", "set-if-not-exists";
    Delete, "/cache_client.Scs/Delete", "delete";
    KeysExist, "/cache_client.Scs/KeysExist", "keys-exist";
    Increment, "/cache_client.Scs/Increment", "increment";
    UpdateTtl, "/cache_client.Scs/UpdateTtl", "update-ttl";
    ItemGetTtl, "/cache_client.Scs/ItemGetTtl", "item-get-ttl";
    ItemGetType, "/cache_client.Scs/ItemGetType", "item-get-type";
    DictionaryGet, "/cache_client.Scs/DictionaryGet", "dictionary-get";
    DictionaryFetch, "/cache_client.Scs/DictionaryFetch", "dictionary-fetch";
    DictionarySet, "/cache_client.Scs/DictionarySet", "dictionary-set";
    DictionaryIncrement, "/cache_client.Scs/DictionaryIncrement", "dictionary-increment";
    DictionaryDelete, "/cache_client.Scs/DictionaryDelete", "dictionary-delete";
    DictionaryLength, "/cache_client.Scs/DictionaryLength", "dictionary-length";
    SetFetch, "/cache_client.Scs/SetFetch", "set-fetch";
    SetSample, "/cache_client.Scs/SetSample", "set-sample";
    SetUnion, "/cache_client.Scs/SetUnion", "set-union";
    SetDifference, "/cache_client.Scs/SetDifference", "set-difference";
    SetContains, "/cache_client.Scs/SetContains", "set-contains";
    SetLength, "/cache_client.Scs/SetLength", "set-length";
    SetPop, "/cache_client.Scs/SetPop", "set-pop";
    ListPushFront, "/cache_client.Scs/ListPushFront", "list-push-front";
    ListPushBack, "/cache_client.Scs/ListPushBack", "list-push-back";
    ListPopFront, "/cache_client.Scs/ListPopFront", "list-pop-front";
    ListPopBack, "/cache_client.Scs/ListPopBack", "list-pop-back";
    /// In the metadata of the SDKs it is `list-remove`, too.
    ListErase, "/cache_client.Scs/ListErase", "list-erase";
    ListRemove, "/cache_client.Scs/ListRemove", "list-remove";
    ListFetch, "/cache_client.Scs/ListFetch", "list-fetch";
    ListLength, "/cache_client.Scs/ListLength", "list-length";
    ListConcatenateFront, "/cache_client.Scs/ListConcatenateFront", "list-concatenate-front";
    ListConcatenateBack, "/cache_client.Scs/ListConcatenateBack", "list-concatenate-back";
    ListRetain, "/cache_client.Scs/ListRetain", "list-retain";
    SortedSetPut, "/cache_client.Scs/SortedSetPut", "sorted-set-put";
    SortedSetFetch, "/cache_client.Scs/SortedSetFetch", "sorted-set-fetch";
    SortedSetGetScore, "/cache_client.Scs/SortedSetGetScore", "sorted-set-get-score";
    SortedSetRemove, "/cache_client.Scs/SortedSetRemove", "sorted-set-remove";
    SortedSetIncrement, "/cache_client.Scs/SortedSetIncrement", "sorted-set-increment";
    SortedSetGetRank, "/cache_client.Scs/SortedSetGetRank", "sorted-set-get-rank";
    SortedSetLength, "/cache_client.Scs/SortedSetLength", "sorted-set-length";
    SortedSetLengthByScore, "/cache_client.Scs/SortedSetLengthByScore", "sorted-set-length-by-score";
    SortedSetUnionStore, "/cache_client.Scs/SortedSetUnionStore", "sorted-set-union-store";
}

impl Rpc {
    /// Returns the method with this HTTP path.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rpc| rpc.path() == path)
    }

    /// Returns true if the message of the call has the caller's key, and the metadata may lack it.
    pub(crate) const fn has_key_in_message(self) -> bool {
        matches!(self, Self::GenerateDisposableToken | Self::GenerateApiToken | Self::RefreshApiToken)
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Rpc {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|rpc| rpc.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|rpc| rpc.name()).collect();
            let names = names.join("', '");
            format!("unknown rpc '{name}'; expected one of '{names}'")
        })
    }
}

/// Returns the name that request metadata has for the method of an HTTP path, whether it is served or not:
/// `sorted-set-fetch` for `/cache_client.Scs/SortedSetFetch`, `topic-publish` for a method of `Pubsub`.
///
/// The exceptions are those of the SDKs (`MomentoRPCMethodMetadataConverter` in JavaScript).
pub(crate) fn metadata_name(path: &str) -> String {
    let (service, method) = path.rsplit_once('/').unwrap_or(("", path));
    let (prefix, method) = match method {
        "ListErase" => ("", "ListRemove"),
        "SetIfNotExists" => ("", "SetIf"),
        _ if service.ends_with(".Pubsub") => ("topic", method),
        _ => ("", method),
    };
    let mut name = prefix.to_owned();
    for character in method.chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_rpc_from_its_name_and_its_path() {
        for rpc in Rpc::ALL.iter().copied() {
            assert_eq!(rpc.to_string().parse(), Ok(rpc));
            assert_eq!(Rpc::from_path(rpc.path()), Some(rpc));
            if !matches!(rpc, Rpc::SetIfNotExists | Rpc::ListErase) {
                assert_eq!(metadata_name(rpc.path()), rpc.name());
            }
        }
        assert!("list-reverse".parse::<Rpc>().is_err());
        assert_eq!(Rpc::from_path("/cache_client.Scs/ListReverse"), None);
    }

    #[test]
    fn names_unserved_methods_as_sdks_do() {
        for (path, name) in [
            ("/cache_client.Scs/Get", "get"),
            ("/cache_client.Scs/SortedSetLengthByScore", "sorted-set-length-by-score"),
            ("/cache_client.Scs/ListErase", "list-remove"),
            ("/cache_client.Scs/SetIfNotExists", "set-if"),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(metadata_name(path), name);
        }
    }
}
