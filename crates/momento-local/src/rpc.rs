//! The methods of Momento's gRPC services, and the names that faults call them by.

use std::fmt;
use std::str::FromStr;

/// A method that local Momento serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rpc {
    /// `Pubsub/Publish`, in metadata and JSON `topic-publish`.
    Publish,
    /// `Pubsub/Subscribe`, `topic-subscribe`.
    Subscribe,
    /// `ScsControl/CreateCache`, `create-cache`.
    CreateCache,
    /// `ScsControl/DeleteCache`, `delete-cache`.
    DeleteCache,
    /// `ScsControl/ListCaches`, `list-caches`.
    ListCaches,
    /// `ScsControl/FlushCache`, `flush-cache`.
    FlushCache,
    /// `Ping/Ping`, `ping`.
    Ping,
}

impl Rpc {
    const ALL: [Self; 7] = [
        Self::Publish,
        Self::Subscribe,
        Self::CreateCache,
        Self::DeleteCache,
        Self::ListCaches,
        Self::FlushCache,
        Self::Ping,
    ];

    /// Returns the method with this HTTP path.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rpc| rpc.path() == path)
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Publish => "/cache_client.pubsub.Pubsub/Publish",
            Self::Subscribe => "/cache_client.pubsub.Pubsub/Subscribe",
            Self::CreateCache => "/control_client.ScsControl/CreateCache",
            Self::DeleteCache => "/control_client.ScsControl/DeleteCache",
            Self::ListCaches => "/control_client.ScsControl/ListCaches",
            Self::FlushCache => "/control_client.ScsControl/FlushCache",
            Self::Ping => "/cache_client.Ping/Ping",
        }
    }

    /// Returns the name in request metadata and in JSON. The two topic names are those of Momento's own suites.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "topic-publish",
            Self::Subscribe => "topic-subscribe",
            Self::CreateCache => "create-cache",
            Self::DeleteCache => "delete-cache",
            Self::ListCaches => "list-caches",
            Self::FlushCache => "flush-cache",
            Self::Ping => "ping",
        }
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
        Self::ALL.into_iter().find(|rpc| rpc.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join("', '");
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
        for rpc in Rpc::ALL {
            assert_eq!(rpc.to_string().parse(), Ok(rpc));
            assert_eq!(Rpc::from_path(rpc.path()), Some(rpc));
            assert_eq!(metadata_name(rpc.path()), rpc.name());
        }
        assert!("get".parse::<Rpc>().is_err());
        assert_eq!(Rpc::from_path("/cache_client.Scs/Get"), None);
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
