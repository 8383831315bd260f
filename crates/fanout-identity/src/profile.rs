//! Profiles: from the claims of a person to what that person's token may do.

use std::fmt;

use fanout_core::names::CacheName;
use fanout_core::permission::{Access, Permission, Resource, Role};
use serde_json::Value;

use crate::claims::Claims;
use crate::template::ClaimTemplate;

/// The most characters of a token id. Source: Momento's SDKs.
pub const MAX_TOKEN_ID_CHARS: usize = 64;

/// The most permissions of a token. A token travels in a header.
pub const MAX_PERMISSIONS: usize = 50;

/// All profiles. The first that fits a person is that person's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles(pub Vec<Profile>);

/// The permissions of some people's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name, for log records.
    pub name: String,
    /// The conditions for the claims. All must hold.
    pub when: Vec<Condition>,
    /// The id of the token, which subscribers and webhooks see.
    pub token_id: ClaimTemplate,
    /// The time for which the token is valid, in seconds.
    pub ttl_seconds: u32,
    /// The cache of all permissions.
    pub cache: CacheName,
    /// True if texts go through the transforms of their route before they are published.
    pub moderated: bool,
    /// The topics and items that the token is for.
    pub rules: Vec<Rule>,
}

/// What one claim has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The name of the claim.
    pub claim: String,
    /// The values that it may have. A claim that is a list has one of them as an entry.
    pub values: Vec<Value>,
}

/// A permission whose name depends on claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The kind of its resource.
    pub kind: RuleKind,
    /// The name, key or prefix.
    pub name: ClaimTemplate,
    /// The ways that it allows.
    pub role: Role,
}

/// The kind of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// A topic.
    Topic,
    /// An item of a cache.
    Key,
    /// The items whose keys begin with a text.
    KeyPrefix,
}

/// What one person may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant<'p> {
    /// The profile that it is by.
    pub profile: &'p str,
    /// The id of the token.
    pub token_id: String,
    /// The time for which the token is valid, in seconds.
    pub ttl_seconds: u32,
    /// The cache of the permissions.
    pub cache: &'p CacheName,
    /// True if texts go through the transforms of their route before they are published.
    pub moderated: bool,
    /// The permissions: one at least, and one for each resource.
    pub permissions: Vec<Permission>,
}

impl Grant<'_> {
    /// Returns true if the person may use a topic of the profile's cache in this way.
    #[must_use]
    pub fn allows_topic(&self, access: Access, topic: &str) -> bool {
        let mut permissions = self.permissions.iter();
        permissions.any(|permission| permission.allows_topic(access, self.cache.as_str(), topic))
    }

    /// Returns the permissions of a token that the person gets. Of a `moderated` profile it may not publish: that would go
    /// past moderation.
    ///
    /// # Errors
    /// If nothing is left.
    pub fn token_permissions(&self) -> Result<Vec<Permission>, Denied> {
        let permission = |permission: &Permission| match (&permission.resource, permission.role) {
            (Resource::Topic(_), Role::Write) if self.moderated => None,
            (Resource::Topic(_), Role::ReadWrite) if self.moderated => {
                Some(Permission { role: Role::Read, ..permission.clone() })
            }
            _ => Some(permission.clone()),
        };
        let left: Vec<_> = self.permissions.iter().filter_map(permission).collect();
        if left.is_empty() { Err(Denied::OnlyPublishes) } else { Ok(left) }
    }

    /// Returns the permissions of a token with which the function `publish` publishes for the person.
    #[must_use]
    pub fn publish_permissions(&self) -> Vec<Permission> {
        let is_publish = |permission: &&Permission| {
            matches!(permission.resource, Resource::Topic(_)) && permission.role.allows(Access::Write)
        };
        let publish = self.permissions.iter().filter(is_publish);
        publish.map(|permission| Permission { role: Role::Write, ..permission.clone() }).collect()
    }
}

/// Why a person gets no token. No message shows a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No profile fits the claims.
    #[error("no profile fits the claims of the caller")]
    NoProfile,
    /// The profile that fits allows nothing, because claims that are lists are empty.
    #[error("the profile of the caller allows nothing: the lists in the claims are empty")]
    Nothing,
    /// The profile that fits only lets its people publish, and through the function `publish`.
    #[error(
        "the profile of the caller allows nothing that needs a token: its people publish through the function `publish`"
    )]
    OnlyPublishes,
    /// A claim cannot be used.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The token would have too many permissions.
    #[error("the token would have {0} permissions; the maximum is {MAX_PERMISSIONS}")]
    TooManyPermissions(usize),
    /// The token id is too long.
    #[error("the token id would have {0} characters; the maximum is {MAX_TOKEN_ID_CHARS}")]
    TokenIdTooLong(usize),
}

/// Why a claim cannot be used in a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The claim is missing or empty.
    #[error("the caller has no `{0}`, or an empty one")]
    Missing(String),
    /// The claim is not a text, a number, `true` or `false`.
    #[error("`{0}` is not a text")]
    NotText(String),
    /// The claim has a character that could change what it means.
    #[error("`{0}` has white space at its ends, an invisible character, or `*`")]
    Character(String),
    /// The claim contains the text that separates it from the next one.
    #[error("`{path}` contains {separator:?}, which separates it from what follows")]
    Separator {
        /// The claim.
        path: String,
        /// The text behind it.
        separator: String,
    },
    /// A list has too many entries.
    #[error("`{path}` makes more than {limit} names")]
    TooMany {
        /// The claim.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// The name is too long.
    #[error("`{template}` makes a name of more than {limit} bytes")]
    TooLong {
        /// The text of the file.
        template: String,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Denied {
    /// Returns its name in responses and log records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoProfile => "no_profile",
            Self::Nothing | Self::OnlyPublishes => "nothing_allowed",
            Self::Claim(_) => "claim_unusable",
            Self::TooManyPermissions(_) => "too_many_permissions",
            Self::TokenIdTooLong(_) => "token_id_too_long",
        }
    }
}

impl Profiles {
    /// Returns what the token of a person with these claims may do.
    ///
    /// # Errors
    /// If no profile fits, or a claim that the profile needs cannot be used. Then the person gets nothing, and not a part.
    pub fn grant(&self, claims: &Claims) -> Result<Grant<'_>, Denied> {
        let profile = self.0.iter().find(|profile| profile.fits(claims)).ok_or(Denied::NoProfile)?;
        profile.grant(claims)
    }
}

impl Profile {
    fn fits(&self, claims: &Claims) -> bool {
        self.when.iter().all(|condition| condition.holds(claims))
    }

    fn grant(&self, claims: &Claims) -> Result<Grant<'_>, Denied> {
        let token_id = self.token_id.one(claims)?;
        let length = token_id.chars().count();
        if length > MAX_TOKEN_ID_CHARS {
            return Err(Denied::TokenIdTooLong(length));
        }
        let mut permissions: Vec<Permission> = Vec::new();
        for rule in &self.rules {
            for name in rule.name.all(claims)? {
                let resource = rule.kind.resource(name);
                let role = rule.role;
                match permissions.iter_mut().find(|known| known.resource == resource) {
                    Some(known) => known.role = known.role.or(role),
                    None => permissions.push(Permission { cache: self.cache.clone(), resource, role }),
                }
            }
        }
        match permissions.len() {
            0 => Err(Denied::Nothing),
            1..=MAX_PERMISSIONS => {
                let Self { name: profile, ttl_seconds, cache, moderated, .. } = self;
                Ok(Grant {
                    profile,
                    token_id,
                    ttl_seconds: *ttl_seconds,
                    cache,
                    moderated: *moderated,
                    permissions,
                })
            }
            many => Err(Denied::TooManyPermissions(many)),
        }
    }
}

impl Condition {
    fn holds(&self, claims: &Claims) -> bool {
        match claims.get(&[&self.claim]) {
            Some(Value::Array(entries)) => entries.iter().any(|entry| self.values.contains(entry)),
            Some(value) => self.values.contains(value),
            None => false,
        }
    }
}

impl RuleKind {
    const fn resource(self, name: String) -> Resource {
        match self {
            Self::Topic => Resource::Topic(name),
            Self::Key => Resource::Key(name),
            Self::KeyPrefix => Resource::KeyPrefix(name),
        }
    }
}

/// Names the condition: `plan = "paid" or "staff"`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<_> = self.values.iter().map(ToString::to_string).collect();
        write!(f, "{} = {}", self.claim, values.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::file;
    use crate::testing::claims;

    const FILE: &str = r#"
        [gateway]
        authorizer = "jwt"

        [[profiles]]
        name = "paid"
        when = { plan = ["paid", "staff"], email_verified = true }
        token_id = "{claims.sub}"
        cache = "chat"
        publish = ["{claims.room}-publish", "both"]
        subscribe = ["{claims.room}-subscribe-{claims.languages}", "both"]
        keys = [{ prefix = "user:{claims.sub}:", role = "read_write" }, { key = "motd", role = "read" }]

        [[profiles]]
        name = "guest"
        when = { plan = "free" }
        token_id = "{claims.sub}"
        ttl_seconds = 60
        cache = "chat"
        subscribe = ["lobby-subscribe-english"]
    "#;

    fn profiles() -> Profiles {
        file::read(FILE).unwrap().profiles
    }

    fn paid() -> Value {
        json!({"sub": "ann", "plan": "paid", "email_verified": true, "room": "lobby", "languages": ["es"]})
    }

    fn with(name: &str, value: Value) -> Claims {
        let mut person = paid();
        person[name] = value;
        claims(person)
    }

    #[test]
    fn first_profile_that_fits_decides() {
        let profiles = profiles();
        let grant = profiles.grant(&claims(paid())).unwrap();
        let shown: Vec<_> = grant.permissions.iter().map(ToString::to_string).collect();
        assert_eq!((grant.profile, &*grant.token_id, grant.ttl_seconds), ("paid", "ann", 3600));
        assert_eq!(
            shown,
            [
                "publish chat/lobby-publish",
                "publish and subscribe chat/both",
                "subscribe chat/lobby-subscribe-es",
                "read and write chat/user:ann:*",
                "read chat/motd",
            ]
        );
        let grant = profiles.grant(&with("plan", json!(["x", "free"]))).unwrap();
        assert_eq!((grant.profile, grant.ttl_seconds, grant.permissions.len()), ("guest", 60, 1));
    }

    #[test]
    fn token_of_moderated_profile_does_not_publish() {
        let shown =
            |permissions: &[Permission]| permissions.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (open, text) = (profiles(), FILE.replace("publish = [", "moderated = true\npublish = ["));
        let moderated = file::read(&text).unwrap().profiles;
        let publish = ["publish chat/lobby-publish", "publish chat/both"];
        for (profiles, token) in [
            (&open, &["publish chat/lobby-publish", "publish and subscribe chat/both"][..]),
            (&moderated, &["subscribe chat/both"]),
        ] {
            let grant = profiles.grant(&claims(paid())).unwrap();
            let rest =
                ["subscribe chat/lobby-subscribe-es", "read and write chat/user:ann:*", "read chat/motd"];
            assert_eq!(shown(&grant.token_permissions().unwrap()), [token, &rest].concat());
            assert_eq!(shown(&grant.publish_permissions()), publish);
            assert!(grant.allows_topic(Access::Write, "lobby-publish"));
            assert!(!grant.allows_topic(Access::Write, "lobby-subscribe-es"));
        }
        let only = text.replace("subscribe = [\"{claims.room}-subscribe-{claims.languages}\", \"both\"]", "");
        let only = only.lines().filter(|line| !line.contains("keys = ")).collect::<Vec<_>>().join("\n");
        let only = file::read(&only).unwrap().profiles;
        let grant = only.grant(&claims(paid())).unwrap();
        assert_eq!(grant.token_permissions(), Err(Denied::OnlyPublishes));
    }

    #[test]
    fn claims_that_fit_no_profile_get_nothing() {
        let profiles = profiles();
        for (name, value) in [
            ("plan", json!("PAID")),
            ("plan", json!("paid ")),
            ("plan", json!(null)),
            ("plan", json!({"paid": true})),
            ("plan", json!([])),
            ("email_verified", json!("true")),
            ("email_verified", json!(false)),
        ] {
            assert_eq!(
                profiles.grant(&with(name, value.clone())),
                Err(Denied::NoProfile),
                "{name} = {value}"
            );
        }
    }

    #[test]
    fn claim_that_cannot_be_used_denies_the_whole_token() {
        let profiles = profiles();
        let denied = |name, value| profiles.grant(&with(name, value)).unwrap_err().code();
        assert_eq!(denied("room", json!(null)), "claim_unusable");
        assert_eq!(denied("sub", json!("ann:b")), "claim_unusable");
        assert_eq!(denied("sub", json!(["ann"])), "claim_unusable");
        assert_eq!(denied("sub", json!("x".repeat(65))), "token_id_too_long");
        assert!(profiles.grant(&with("sub", json!("é".repeat(64)))).is_ok());
        assert_eq!(denied("languages", json!((0..50).collect::<Vec<_>>())), "too_many_permissions");
    }
}
