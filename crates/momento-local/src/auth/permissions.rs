//! The permissions of a key or token.

use momento_protos::permission_messages::permissions_type::{
    CacheItemSelector, CachePermissions, CacheSelector, TopicPermissions, TopicSelector, cache_item_selector,
    cache_permissions, cache_selector, topic_permissions, topic_selector,
};
use momento_protos::permission_messages::{self as messages, CacheRole, TopicRole, permissions_type};

/// The most permissions of one token. Momento documents no limit; a token must fit into the metadata of a call.
const MAX_PERMISSIONS: usize = 50;

/// The way in which a call uses an item or a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads an item, or subscribes to a topic.
    Read,
    /// Changes an item, or publishes to a topic.
    Write,
    /// Changes an item under a condition. A role that may only write cannot do so, by Momento's definition.
    ReadWrite,
}

/// The calls that the owner of a key or token may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permissions {
    /// Every call, also those that create and delete caches.
    SuperUser,
    /// Each call that one of the permissions allows.
    Explicit(Vec<Permission>),
}

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permission {
    role: Role,
    resource: Resource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    None,
    ReadOnly,
    WriteOnly,
    ReadWrite,
}

/// The items or topics that a permission is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Resource {
    Items {
        cache: Selector,
        key: Selector,
    },
    Topics {
        cache: Selector,
        name: Selector,
    },
    /// Momento Functions, which local Momento does not serve.
    Functions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    All,
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
}

/// Error for the permissions of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPermissions {
    #[error("the request has no permissions")]
    Missing,
    #[error("the list of permissions is empty; expected at least one")]
    Empty,
    #[error("the list has {0} permissions; at most {MAX_PERMISSIONS} are allowed")]
    TooMany(usize),
    #[error("permission {index} has no {part}")]
    Incomplete { index: usize, part: &'static str },
    #[error("permission {0} has an unknown role")]
    UnknownRole(usize),
    #[error(
        "permissions {first} and {second} are for the same items or topics; expected one permission for them"
    )]
    Conflict { first: usize, second: usize },
}

impl Permissions {
    pub(crate) fn allow_item(&self, access: Access, cache: &str, key: &[u8]) -> bool {
        self.allow(access, |resource| {
            matches!(resource, Resource::Items { cache: caches, key: keys }
                if caches.matches(cache.as_bytes()) && keys.matches(key))
        })
    }

    pub(crate) fn allow_topic(&self, access: Access, cache: &str, topic: &str) -> bool {
        self.allow(access, |resource| {
            matches!(resource, Resource::Topics { cache: caches, name: names }
                if caches.matches(cache.as_bytes()) && names.matches(topic.as_bytes()))
        })
    }

    fn allow(&self, access: Access, covers: impl Fn(&Resource) -> bool) -> bool {
        match self {
            Self::SuperUser => true,
            Self::Explicit(permissions) => permissions
                .iter()
                .any(|permission| permission.role.allows(access) && covers(&permission.resource)),
        }
    }
}

impl Role {
    const fn allows(self, access: Access) -> bool {
        match self {
            Self::None => false,
            Self::ReadOnly => matches!(access, Access::Read),
            Self::WriteOnly => matches!(access, Access::Write),
            Self::ReadWrite => true,
        }
    }
}

impl Selector {
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }
}

impl TryFrom<messages::Permissions> for Permissions {
    type Error = InvalidPermissions;

    fn try_from(permissions: messages::Permissions) -> Result<Self, InvalidPermissions> {
        let list = match permissions.kind.ok_or(InvalidPermissions::Missing)? {
            messages::permissions::Kind::SuperUser(_) => return Ok(Self::SuperUser),
            messages::permissions::Kind::Explicit(explicit) => explicit.permissions,
        };
        match list.len() {
            0 => return Err(InvalidPermissions::Empty),
            length if length > MAX_PERMISSIONS => return Err(InvalidPermissions::TooMany(length)),
            _ => {}
        }
        let mut permissions: Vec<Permission> = Vec::with_capacity(list.len());
        for (index, permission) in list.into_iter().enumerate() {
            let permission = Permission::read(index, permission)?;
            let same = |other: &Permission| other.resource == permission.resource;
            if let Some(first) = permissions.iter().position(same) {
                return Err(InvalidPermissions::Conflict { first, second: index });
            }
            permissions.push(permission);
        }
        Ok(Self::Explicit(permissions))
    }
}

impl Permission {
    fn read(index: usize, permission: messages::PermissionsType) -> Result<Self, InvalidPermissions> {
        let missing = |part| InvalidPermissions::Incomplete { index, part };
        match permission.kind.ok_or_else(|| missing("kind"))? {
            permissions_type::Kind::CachePermissions(permission) => {
                let CachePermissions { role, cache, cache_item } = permission;
                let cache = match cache {
                    Some(cache_permissions::Cache::AllCaches(_)) => Some(Selector::All),
                    Some(cache_permissions::Cache::CacheSelector(selector)) => cache_name(selector),
                    None => None,
                };
                let key = match cache_item {
                    Some(cache_permissions::CacheItem::AllItems(_)) | None => Some(Selector::All),
                    Some(cache_permissions::CacheItem::ItemSelector(selector)) => item_key(selector),
                };
                let role = CacheRole::try_from(role).map_err(|_| InvalidPermissions::UnknownRole(index))?;
                let cache = cache.ok_or_else(|| missing("cache"))?;
                let key = key.ok_or_else(|| missing("key"))?;
                Ok(Self { role: role.into(), resource: Resource::Items { cache, key } })
            }
            permissions_type::Kind::TopicPermissions(permission) => {
                let TopicPermissions { role, cache, topic } = permission;
                let cache = match cache {
                    Some(topic_permissions::Cache::AllCaches(_)) => Some(Selector::All),
                    Some(topic_permissions::Cache::CacheSelector(selector)) => cache_name(selector),
                    None => None,
                };
                let name = match topic {
                    Some(topic_permissions::Topic::AllTopics(_)) => Some(Selector::All),
                    Some(topic_permissions::Topic::TopicSelector(selector)) => topic_name(selector),
                    None => None,
                };
                let role = TopicRole::try_from(role).map_err(|_| InvalidPermissions::UnknownRole(index))?;
                let cache = cache.ok_or_else(|| missing("cache"))?;
                let name = name.ok_or_else(|| missing("topic"))?;
                Ok(Self { role: role.into(), resource: Resource::Topics { cache, name } })
            }
            permissions_type::Kind::FunctionPermissions(_) => {
                Ok(Self { role: Role::None, resource: Resource::Functions })
            }
        }
    }
}

fn exact(name: Vec<u8>) -> Option<Selector> {
    (!name.is_empty()).then_some(Selector::Exact(name))
}

/// Returns `None` for an empty prefix, which would select everything.
fn prefix(prefix: Vec<u8>) -> Option<Selector> {
    (!prefix.is_empty()).then_some(Selector::Prefix(prefix))
}

fn cache_name(selector: CacheSelector) -> Option<Selector> {
    let cache_selector::Kind::CacheName(name) = selector.kind?;
    exact(name.into())
}

fn item_key(selector: CacheItemSelector) -> Option<Selector> {
    match selector.kind? {
        cache_item_selector::Kind::Key(key) => exact(key),
        cache_item_selector::Kind::KeyPrefix(start) => prefix(start),
    }
}

fn topic_name(selector: TopicSelector) -> Option<Selector> {
    match selector.kind? {
        topic_selector::Kind::TopicName(name) => exact(name.into()),
        topic_selector::Kind::TopicNamePrefix(start) => prefix(start.into()),
    }
}

impl From<CacheRole> for Role {
    fn from(role: CacheRole) -> Self {
        match role {
            CacheRole::CachePermitNone => Self::None,
            CacheRole::CacheReadWrite => Self::ReadWrite,
            CacheRole::CacheReadOnly => Self::ReadOnly,
            CacheRole::CacheWriteOnly => Self::WriteOnly,
        }
    }
}

impl From<TopicRole> for Role {
    fn from(role: TopicRole) -> Self {
        match role {
            TopicRole::TopicPermitNone => Self::None,
            TopicRole::TopicReadWrite => Self::ReadWrite,
            TopicRole::TopicReadOnly => Self::ReadOnly,
            TopicRole::TopicWriteOnly => Self::WriteOnly,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use momento_protos::permission_messages::ExplicitPermissions;
    use momento_protos::permission_messages::permissions_type::{All, FunctionPermissions};

    use super::*;

    /// Returns the message of a permission for the items of a cache; `None` is every cache.
    pub(in super::super) fn items(
        role: CacheRole,
        cache: Option<&str>,
        key: Option<cache_item_selector::Kind>,
    ) -> permissions_type::Kind {
        let cache = match cache {
            None => cache_permissions::Cache::AllCaches(All {}),
            Some(name) => cache_permissions::Cache::CacheSelector(CacheSelector {
                kind: Some(cache_selector::Kind::CacheName(name.to_owned())),
            }),
        };
        let cache_item = key
            .map(|kind| cache_permissions::CacheItem::ItemSelector(CacheItemSelector { kind: Some(kind) }));
        permissions_type::Kind::CachePermissions(CachePermissions {
            role: role.into(),
            cache: Some(cache),
            cache_item,
        })
    }

    fn topics(role: TopicRole, topic: Option<topic_selector::Kind>) -> permissions_type::Kind {
        let topic = match topic {
            None => topic_permissions::Topic::AllTopics(All {}),
            kind => topic_permissions::Topic::TopicSelector(TopicSelector { kind }),
        };
        permissions_type::Kind::TopicPermissions(TopicPermissions {
            role: role.into(),
            cache: Some(topic_permissions::Cache::AllCaches(All {})),
            topic: Some(topic),
        })
    }

    pub(in super::super) fn message(kinds: Vec<permissions_type::Kind>) -> messages::Permissions {
        let permission = |kind| messages::PermissionsType { kind: Some(kind) };
        let explicit = ExplicitPermissions { permissions: kinds.into_iter().map(permission).collect() };
        messages::Permissions { kind: Some(messages::permissions::Kind::Explicit(explicit)) }
    }

    fn read(kinds: Vec<permissions_type::Kind>) -> Result<Permissions, InvalidPermissions> {
        message(kinds).try_into()
    }

    #[expect(clippy::unnecessary_wraps, reason = "`items` takes an option")]
    fn key(key: &str) -> Option<cache_item_selector::Kind> {
        Some(cache_item_selector::Kind::Key(key.into()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "`items` takes an option")]
    fn key_prefix(prefix: &str) -> Option<cache_item_selector::Kind> {
        Some(cache_item_selector::Kind::KeyPrefix(prefix.into()))
    }

    #[test]
    fn role_allows_its_accesses_and_no_other() {
        for (cache_role, topic_role, expected) in [
            (CacheRole::CachePermitNone, TopicRole::TopicPermitNone, [false, false, false]),
            (CacheRole::CacheReadOnly, TopicRole::TopicReadOnly, [true, false, false]),
            (CacheRole::CacheWriteOnly, TopicRole::TopicWriteOnly, [false, true, false]),
            (CacheRole::CacheReadWrite, TopicRole::TopicReadWrite, [true, true, true]),
        ] {
            let of_items = read(vec![items(cache_role, None, None)]).unwrap();
            let of_topics = read(vec![topics(topic_role, None)]).unwrap();
            for (access, expected) in
                [Access::Read, Access::Write, Access::ReadWrite].into_iter().zip(expected)
            {
                let case = format!("{cache_role:?} {access:?}");
                assert_eq!(of_items.allow_item(access, "cache", b"key"), expected, "{case}");
                assert!(!of_items.allow_topic(access, "cache", "topic"), "{case}");
                assert_eq!(of_topics.allow_topic(access, "cache", "topic"), expected, "{case}");
                assert!(!of_topics.allow_item(access, "cache", b"key"), "{case}");
            }
        }
    }

    #[test]
    fn selectors_match_whole_names_or_their_start() {
        let write = CacheRole::CacheWriteOnly;
        let permissions = read(vec![
            items(write, Some("one"), key("cow")),
            items(write, Some("one"), key_prefix("pet-")),
            items(write, Some("two"), None),
            topics(TopicRole::TopicWriteOnly, Some(topic_selector::Kind::TopicName("room".to_owned()))),
            topics(
                TopicRole::TopicWriteOnly,
                Some(topic_selector::Kind::TopicNamePrefix("lang-".to_owned())),
            ),
        ])
        .unwrap();
        for (cache, key, expected) in [
            ("one", "cow", true),
            ("one", "pet-dog", true),
            ("one", "pet-", true),
            ("one", "cows", false),
            ("one", "co", false),
            ("one", "pet", false),
            ("one", "a pet-dog", false),
            ("two", "anything", true),
            ("On", "cow", false),
            ("three", "cow", false),
            ("", "cow", false),
        ] {
            assert_eq!(
                permissions.allow_item(Access::Write, cache, key.as_bytes()),
                expected,
                "{cache} {key}"
            );
        }
        for (topic, expected) in
            [("room", true), ("lang-en", true), ("rooms", false), ("lang", false), ("", false)]
        {
            assert_eq!(permissions.allow_topic(Access::Write, "any", topic), expected, "{topic}");
        }
    }

    #[test]
    fn rejects_empty_incomplete_and_conflicting_permissions() {
        let read_only = |cache, key| items(CacheRole::CacheReadOnly, cache, key);
        let conflict = Err(InvalidPermissions::Conflict { first: 0, second: 1 });
        let incomplete = |part| Err(InvalidPermissions::Incomplete { index: 0, part });
        assert_eq!(
            Permissions::try_from(messages::Permissions { kind: None }),
            Err(InvalidPermissions::Missing)
        );
        assert_eq!(read(vec![]), Err(InvalidPermissions::Empty));
        let write_all = items(CacheRole::CacheReadWrite, None, None);
        assert_eq!(read(vec![read_only(None, None), write_all]), conflict);
        assert_eq!(read(vec![read_only(Some("a"), key("k")), read_only(Some("a"), key("k"))]), conflict);
        assert!(read(vec![read_only(Some("a"), key("k")), read_only(Some("a"), key_prefix("k"))]).is_ok());
        assert_eq!(read(vec![read_only(Some(""), None)]), incomplete("cache"));
        assert_eq!(read(vec![read_only(Some("a"), key(""))]), incomplete("key"));
        assert_eq!(read(vec![read_only(Some("a"), key_prefix(""))]), incomplete("key"));
        let no_topic = Some(topic_selector::Kind::TopicNamePrefix(String::new()));
        assert_eq!(read(vec![topics(TopicRole::TopicReadOnly, no_topic)]), incomplete("topic"));
        let unknown = CachePermissions { role: 9, cache: None, cache_item: None };
        let unknown = permissions_type::Kind::CachePermissions(unknown);
        assert_eq!(read(vec![unknown]), Err(InvalidPermissions::UnknownRole(0)));
        let topic = |number: usize| Some(topic_selector::Kind::TopicName(number.to_string()));
        let many =
            (0..=MAX_PERMISSIONS).map(|number| topics(TopicRole::TopicReadOnly, topic(number))).collect();
        assert_eq!(read(many), Err(InvalidPermissions::TooMany(MAX_PERMISSIONS + 1)));
    }

    #[test]
    fn permission_for_functions_allows_no_call() {
        let functions = permissions_type::Kind::FunctionPermissions(FunctionPermissions {
            role: 1,
            cache: None,
            function: None,
        });
        let permissions = read(vec![functions]).unwrap();
        assert!(!permissions.allow_item(Access::Read, "cache", b"key"));
        assert!(!permissions.allow_topic(Access::Read, "cache", "topic"));
    }
}
