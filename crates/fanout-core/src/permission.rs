//! Permissions of tokens, for topics and for items of caches.

use std::fmt;

use serde::Serialize;

use crate::names::CacheName;

/// A way to use a topic or an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Subscribes to a topic, or reads an item.
    Read,
    /// Publishes to a topic, or changes an item.
    Write,
}

/// The ways that a permission allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Only subscribing, or reading.
    Read,
    /// Only publishing, or changing.
    Write,
    /// Both.
    ReadWrite,
}

/// The topic or the items that a permission is for. Each is named in full: a permission for all topics or for all items does
/// not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The topic with this name.
    Topic(String),
    /// The item with this key.
    Key(String),
    /// The items whose keys begin with this text, which is not empty.
    KeyPrefix(String),
}

/// A permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The cache of the topic or of the items.
    pub cache: CacheName,
    /// The topic or the items.
    pub resource: Resource,
    /// The ways that it allows.
    pub role: Role,
}

impl Role {
    /// Returns true if the role allows `access`.
    #[must_use]
    pub const fn allows(self, access: Access) -> bool {
        matches!(
            (self, access),
            (Self::ReadWrite, _) | (Self::Read, Access::Read) | (Self::Write, Access::Write)
        )
    }

    /// Returns the role that allows what one of both allows.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Read, Self::Read) => Self::Read,
            (Self::Write, Self::Write) => Self::Write,
            _ => Self::ReadWrite,
        }
    }
}

impl Permission {
    /// Returns true if it allows `access` to the topic.
    #[must_use]
    pub fn allows_topic(&self, access: Access, cache: &str, topic: &str) -> bool {
        let is_topic = matches!(&self.resource, Resource::Topic(name) if name == topic);
        is_topic && self.cache.as_str() == cache && self.role.allows(access)
    }
}

/// Names the permission for a log record: `publish chat/lobby-publish`.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, resource, role } = self;
        match resource {
            Resource::Topic(topic) => {
                let verb = match role {
                    Role::Read => "subscribe",
                    Role::Write => "publish",
                    Role::ReadWrite => "publish and subscribe",
                };
                write!(f, "{verb} {cache}/{topic}")
            }
            Resource::Key(_) | Resource::KeyPrefix(_) => {
                let verb = match role {
                    Role::Read => "read",
                    Role::Write => "write",
                    Role::ReadWrite => "read and write",
                };
                match resource {
                    Resource::KeyPrefix(prefix) => write!(f, "{verb} {cache}/{prefix}*"),
                    Resource::Topic(key) | Resource::Key(key) => write!(f, "{verb} {cache}/{key}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_only_its_topic_cache_and_role() {
        let permission = |role| Permission {
            cache: CacheName::new("chat").unwrap(),
            resource: Resource::Topic("a".into()),
            role,
        };
        assert!(permission(Role::Read).allows_topic(Access::Read, "chat", "a"));
        assert!(permission(Role::ReadWrite).allows_topic(Access::Write, "chat", "a"));
        for (access, cache, topic) in [
            (Access::Write, "chat", "a"),
            (Access::Read, "other", "a"),
            (Access::Read, "chat", "ab"),
            (Access::Read, "chat", ""),
        ] {
            assert!(!permission(Role::Read).allows_topic(access, cache, topic), "{cache} {topic}");
        }
    }

    #[test]
    fn role_of_two_permissions_allows_what_one_allows() {
        let roles = [Role::Read, Role::Write, Role::ReadWrite];
        for (one, other) in roles.into_iter().flat_map(|one| roles.map(|other| (one, other))) {
            for access in [Access::Read, Access::Write] {
                assert_eq!(one.or(other).allows(access), one.allows(access) || other.allows(access));
            }
        }
    }
}
