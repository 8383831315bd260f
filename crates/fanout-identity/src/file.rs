//! `tokens.toml`: the proof of who asks, and the profiles of their tokens.
//!
//! ```toml
//! [jwt]
//! issuer = "https://login.example.com/"
//! audience = ["chat"]
//! jwks = "https://login.example.com/.well-known/jwks.json"
//!
//! [[profiles]]
//! name = "member"
//! when = { plan = "paid" }
//! token_id = "{claims.sub}"
//! cache = "chat"
//! publish = ["{claims.room}-publish"]
//! subscribe = ["{claims.room}-subscribe-{claims.languages}"]
//! ```
//!
//! Profiles are read one by one, so that the caller gets every fault, each with its place.

use std::num::NonZeroU32;

use fanout_core::destination::ListEnd;
use fanout_core::file::FileError;
use fanout_core::names::CacheName;
use fanout_core::permission::Role;
use fanout_core::placeholder::SyntaxError;
use fanout_core::route::Pattern;
use fanout_core::spanned::{self, CollectFaults, Fault, Given, Span};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use crate::gateway::Authorizer;
use crate::history::{HistoryKey, HistoryRule};
use crate::jwt::{ALGORITHMS, JwtSettings};
use crate::profile::{Condition, Profile, Profiles, Rule, RuleKind};
use crate::template::ClaimTemplate;

/// The most profiles of a file.
const MAX_PROFILES: usize = 100;
/// The shortest time for which a token is valid, in seconds.
const MIN_TTL: u32 = 10;
/// The longest time for which a token is valid, in seconds: Momento's limit for disposable tokens, 25 hours.
const MAX_TTL: u32 = 25 * 60 * 60;
/// The time for which a token is valid without `ttl_seconds`.
const DEFAULT_TTL: u32 = 60 * 60;
/// The tokens of a person in a minute without `tokens_per_minute`.
const DEFAULT_RATE: u32 = 10;
/// The requests of a person to the function `publish` in a minute without `requests_per_minute`.
const DEFAULT_REQUESTS: u32 = 60;
/// The longest text without `max_text_bytes`: Momento's limit for messages of webhooks.
const DEFAULT_TEXT: u32 = 4 * 1024;
/// The longest text that `max_text_bytes` can allow. As JSON escapes, six times as many bytes, it would not fit into the
/// body of a webhook; few texts have only those.
const MAX_TEXT: u32 = 64 * 1024;

const FILE_KEYS: [&str; 8] = [
    "allowed_origins",
    "tokens_per_minute",
    "requests_per_minute",
    "max_text_bytes",
    "jwt",
    "gateway",
    "profiles",
    "history",
];
const JWT_KEYS: [&str; 5] = ["issuer", "audience", "audience_claim", "jwks", "algorithms"];
const GATEWAY_KEYS: [&str; 1] = ["authorizer"];
const PROFILE_KEYS: [&str; 9] =
    ["name", "when", "token_id", "ttl_seconds", "cache", "publish", "moderated", "subscribe", "keys"];
const HISTORY_KEYS: [&str; 4] = ["topic", "cache", "key", "end"];
const ITEM_KEYS: [&str; 3] = ["key", "prefix", "role"];

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokensFile {
    /// How callers prove who they are.
    pub proof: Proof,
    /// The profiles.
    pub profiles: Profiles,
    /// The origins of web pages that may ask.
    pub allowed_origins: Vec<String>,
    /// The most tokens that a person gets in a minute.
    pub tokens_per_minute: NonZeroU32,
    /// The most requests of a person to the function `publish` in a minute.
    pub requests_per_minute: NonZeroU32,
    /// The longest text that people may publish through the function `publish`, in bytes.
    pub max_text_bytes: usize,
    /// The lists with the last messages of topics. The first that fits a topic counts.
    pub history: Vec<HistoryRule>,
}

/// How callers prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By a JWT, which the function verifies.
    Jwt(JwtSettings),
    /// By an authorizer of the gateway.
    Gateway(Authorizer),
}

/// The keys of a file, beside its proof and its profiles.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct TopKeys {
    /// The origins of web pages that may ask for tokens, as `https://chat.example.com`. Default: none.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    #[serde(default)]
    allowed_origins: Vec<Spanned<String>>,
    /// The most tokens that a person gets in a minute from one instance of the function. Default: 10.
    tokens_per_minute: Option<NonZeroU32>,
    /// The most requests of a person in a minute to one instance of the function `publish`. Default: 60.
    requests_per_minute: Option<NonZeroU32>,
    /// The longest text that people may publish through the function `publish`, 1 to 65536 bytes. Default: 4096.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1, max = 65536)))]
    max_text_bytes: Option<Spanned<i64>>,
}

/// Callers prove who they are by a JWT of an OIDC provider, in the header `Authorization`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct JwtKeys {
    /// The claim `iss`, exactly.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    issuer: Spanned<String>,
    /// The audiences that are accepted.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    audience: Spanned<Vec<String>>,
    /// The claim with the audience. Default: `aud`. Access tokens of Cognito have `client_id`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    audience_claim: Option<Spanned<String>>,
    /// The URL of the provider's keys.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    jwks: Spanned<String>,
    /// The algorithms that are accepted. Default: RS256.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<String>>"))]
    algorithms: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The gateway in front of the function has verified who asks.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewayKeys {
    /// The kind of its authorizer.
    authorizer: Authorizer,
}

/// The permissions of some people's tokens. A person gets the first profile that fits.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileKeys {
    /// The name, for log records.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    name: Spanned<String>,
    /// The id of the token, which subscribers and webhooks see: `{claims.sub}`. At most 64 characters.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    token_id: Spanned<String>,
    /// The time for which a token is valid, 10 to 90000 seconds. Default: 3600.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>"))]
    ttl_seconds: Option<Spanned<i64>>,
    /// The cache of the topics and keys.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    cache: Spanned<String>,
    /// The topics to which the token may publish, as `{claims.room}-publish`.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    #[serde(default)]
    publish: Vec<Spanned<String>>,
    /// Whether texts go through the transforms of their route before they are published. People publish through the function
    /// `publish` only then: their tokens do not allow it. Default: false.
    #[serde(default)]
    moderated: bool,
    /// The topics to which the token may subscribe. A claim that is a list stands for each of its entries.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    #[serde(default)]
    subscribe: Vec<Spanned<String>>,
}

/// An item of the cache that the token may use, or the items whose keys begin with a text.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemKeys {
    /// The key of one item.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    key: Option<Spanned<String>>,
    /// The beginning of the keys of some items, as `user:{claims.sub}:`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    prefix: Option<Spanned<String>>,
    /// The permission for these items.
    role: ItemRole,
}

/// The list of a cache with the last messages of the topics of a pattern. Who may subscribe to a topic may read it.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryKeys {
    /// The topics, as `{room}-subscribe-{language}`.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    topic: Spanned<String>,
    /// The cache of the list. Default: the cache of the topic.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    cache: Option<Spanned<String>>,
    /// The key of the list, which may have the captures of the topic: `last-{room}`.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    key: Spanned<String>,
    /// The end of the list that messages are added to. Default: `back`.
    #[serde(default)]
    end: ListEnd,
}

#[derive(Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum ItemRole {
    Read,
    Write,
    ReadWrite,
}

/// Reads the text of a file.
///
/// # Errors
/// All faults, in the order of the file.
pub fn read(text: &str) -> Result<TokensFile, Vec<FileError>> {
    let mut reader = Reader { faults: Vec::new() };
    let document = Given::document(text).map_err(|faults| reader.faults.extend(faults)).ok();
    let file = document.and_then(|document| reader.document(document));
    let mut faults = reader.faults;
    if let (Some(file), true) = (file, faults.is_empty()) {
        return Ok(file);
    }
    faults.sort_by_key(|fault| fault.span.start);
    Err(faults.into_iter().map(|fault| FileError::new(text, fault)).collect())
}

struct Reader {
    faults: Vec<Fault>,
}

impl CollectFaults for Reader {
    fn faults(&mut self) -> &mut Vec<Fault> {
        &mut self.faults
    }
}

impl Reader {
    fn document(&mut self, mut document: Given<'_>) -> Option<TokensFile> {
        let span = document.span();
        self.correct(&mut document, &FILE_KEYS);
        let (jwt, gateway, profiles) =
            (document.take("jwt"), document.take("gateway"), document.take("profiles"));
        let history = document.take("history");
        let top: Option<TopKeys> = self.rest(document, &FILE_KEYS);
        let proof = match (jwt, gateway) {
            (Some(jwt), None) => self.jwt(jwt).map(Proof::Jwt),
            (None, Some(gateway)) => self.gateway(gateway),
            (Some(_), Some(gateway)) => self.fault(
                gateway.span(),
                "the file has both [jwt] and [gateway]; callers prove who they are in one way",
            ),
            (None, None) => {
                let message =
                    "the file does not say how callers prove who they are; write [jwt] or [gateway]";
                self.fault(span.start..span.start, message)
            }
        };
        let profiles = if let Some(profiles) = profiles {
            self.profiles(profiles)
        } else {
            let message = "the file has no profiles; a profile begins with [[profiles]]";
            self.fault(span.start..span.start, message)
        };
        let history = history.map_or_else(|| Some(Vec::new()), |history| self.history(history));
        let top = top?;
        let max_text_bytes = match top.max_text_bytes {
            None => Some(DEFAULT_TEXT),
            Some(bytes) => match u32::try_from(*bytes.get_ref()) {
                Ok(bytes @ 1..=MAX_TEXT) => Some(bytes),
                _ => self.fault(bytes.span(), format!("expected 1 to {MAX_TEXT} bytes")),
            },
        };
        let allowed_origins =
            top.allowed_origins.into_iter().map(|origin| self.origin(&origin)).collect::<Vec<_>>();
        Some(TokensFile {
            proof: proof?,
            profiles: profiles?,
            allowed_origins: allowed_origins.into_iter().collect::<Option<_>>()?,
            tokens_per_minute: top.tokens_per_minute.unwrap_or(NonZeroU32::new(DEFAULT_RATE)?),
            requests_per_minute: top.requests_per_minute.unwrap_or(NonZeroU32::new(DEFAULT_REQUESTS)?),
            max_text_bytes: usize::try_from(max_text_bytes?).ok()?,
            history: history?,
        })
    }

    fn origin(&mut self, origin: &Spanned<String>) -> Option<String> {
        let given = origin.get_ref();
        let is_origin = given.parse::<http::Uri>().is_ok_and(|uri| {
            let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
            let exact = format!("{}://{authority}", uri.scheme_str().unwrap_or_default());
            matches!(uri.scheme_str(), Some("http" | "https"))
                && exact == *given
                && !authority.contains(['@', '*'])
        });
        if is_origin && given.to_lowercase() == *given {
            return Some(given.clone());
        }
        self.fault(
            origin.span(),
            "not an origin as browsers send it; expected `https://` and a host in lower case, without a path or a wildcard",
        )
    }

    fn history(&mut self, list: Spanned<DeValue<'_>>) -> Option<Vec<HistoryRule>> {
        let list: Vec<_> = self.kept(spanned::array(list))?.collect();
        let read: Vec<_> = list.into_iter().map(|rule| self.history_rule(rule)).collect();
        read.into_iter().collect()
    }

    fn history_rule(&mut self, given: Spanned<DeValue<'_>>) -> Option<HistoryRule> {
        let given = self.kept(Given::table(given))?;
        let keys: HistoryKeys = self.rest(given, &HISTORY_KEYS)?;
        let cache = keys.cache.map(|cache| self.cache(&cache));
        let topics = Pattern::new(keys.topic.get_ref().as_str());
        let topics =
            topics.map_err(|error| self.note(keys.topic.span(), format!("the topic {error}"))).ok()?;
        let key = HistoryKey::new(keys.key.get_ref(), &topics);
        let key = key.map_err(|error| self.note(keys.key.span(), format!("the key {error}"))).ok();
        let cache = match cache {
            None => None,
            Some(cache) => Some(cache?),
        };
        Some(HistoryRule { topics, cache, key: key?, end: keys.end })
    }

    /// Reads the cache of topics, lists and items.
    fn cache(&mut self, cache: &Spanned<String>) -> Option<CacheName> {
        match CacheName::new(cache.get_ref().as_str()) {
            Ok(_) if cache.get_ref().contains(['{', '}', '*']) => {
                self.fault(cache.span(), "the cache is one name, without placeholders")
            }
            Ok(cache) => Some(cache),
            Err(error) => self.fault(cache.span(), format!("the cache {error}")),
        }
    }

    fn jwt(&mut self, given: Spanned<DeValue<'_>>) -> Option<JwtSettings> {
        let given = self.kept(Given::table(given))?;
        let keys: JwtKeys = self.rest(given, &JWT_KEYS)?;
        let issuer = self.filled("issuer", keys.issuer);
        let audience =
            if keys.audience.get_ref().is_empty() || keys.audience.get_ref().iter().any(String::is_empty) {
                self.fault(
                    keys.audience.span(),
                    "the audience is empty; without one, JWTs for other services would count",
                )
            } else {
                Some(keys.audience.into_inner())
            };
        let audience_claim = keys.audience_claim.map(|claim| self.filled("audience claim", claim));
        let jwks = if is_url(keys.jwks.get_ref()) {
            Some(keys.jwks.into_inner())
        } else {
            self.fault(
                keys.jwks.span(),
                "not the URL of keys; expected https:// (or http:// on this machine, for tests)",
            )
        };
        let algorithms = match keys.algorithms {
            None => Some(vec![Algorithm::RS256]),
            Some(list) if list.get_ref().is_empty() => {
                self.fault(list.span(), "the list of algorithms is empty; leave it out for RS256")
            }
            Some(list) => {
                let read: Vec<_> = list.into_inner().iter().map(|name| self.algorithm(name)).collect();
                read.into_iter().collect()
            }
        };
        Some(JwtSettings {
            issuer: issuer?,
            audience: audience?,
            audience_claim: audience_claim.unwrap_or_else(|| Some("aud".to_owned()))?,
            jwks: jwks?,
            algorithms: algorithms?,
        })
    }

    fn algorithm(&mut self, name: &Spanned<String>) -> Option<Algorithm> {
        let given = name.get_ref().as_str();
        if let Some((_, algorithm)) = ALGORITHMS.iter().find(|(known, _)| *known == given) {
            return Some(*algorithm);
        }
        let names = ALGORITHMS.map(|(known, _)| known);
        let message = if given.starts_with("HS") {
            format!(
                "{given} needs a shared secret, with which everyone who verifies can sign; use {}",
                names.join(", ")
            )
        } else if let Some(meant) = names.iter().find(|name| name.eq_ignore_ascii_case(given)) {
            format!("unknown algorithm `{given}`; did you mean `{meant}`?")
        } else {
            format!("unknown algorithm `{given}`; expected one of {}", names.join(", "))
        };
        self.fault(name.span(), message)
    }

    fn gateway(&mut self, given: Spanned<DeValue<'_>>) -> Option<Proof> {
        let given = self.kept(Given::table(given))?;
        let keys: GatewayKeys = self.rest(given, &GATEWAY_KEYS)?;
        Some(Proof::Gateway(keys.authorizer))
    }

    fn profiles(&mut self, list: Spanned<DeValue<'_>>) -> Option<Profiles> {
        let span = list.span();
        let list: Vec<_> = match spanned::array(list) {
            Ok(list) => list.collect(),
            Err(fault) => return self.fault(fault.span, "is not a list; a profile begins with [[profiles]]"),
        };
        if list.is_empty() || list.len() > MAX_PROFILES {
            return self
                .fault(span, format!("the file has {} profiles; expected 1 to {MAX_PROFILES}", list.len()));
        }
        let read: Vec<_> = list.into_iter().map(|profile| (profile.span(), self.profile(profile))).collect();
        let profiles = || read.iter().filter_map(|(span, profile)| Some((span, profile.as_ref()?)));
        let mut faults = Vec::new();
        for (index, (span, profile)) in profiles().enumerate() {
            let mut before = profiles().take(index).map(|(_, before)| before);
            if before.clone().any(|before| before.name == profile.name) {
                faults
                    .push(Fault::new(span.clone(), format!("the file has two profiles `{}`", profile.name)));
            }
            if let Some(all) = before.find(|before| before.when.is_empty()) {
                let message = format!(
                    "no person gets this profile: `{}` before it has no `when`, and fits everyone",
                    all.name
                );
                faults.push(Fault::new(span.clone(), message));
            }
        }
        self.faults.extend(faults);
        read.into_iter().map(|(_, profile)| profile).collect::<Option<_>>().map(Profiles)
    }

    fn profile(&mut self, given: Spanned<DeValue<'_>>) -> Option<Profile> {
        let mut given = self.kept(Given::table(given))?;
        let span = given.span();
        self.correct(&mut given, &PROFILE_KEYS);
        let (when, items) = (given.take("when"), given.take("keys"));
        let when = when.map_or_else(|| Some(Vec::new()), |when| self.conditions(when));
        let items = items.map_or_else(|| Some(Vec::new()), |items| self.items(items));
        let keys: ProfileKeys = self.rest(given, &PROFILE_KEYS)?;
        let name = self.filled("name", keys.name);
        let token_id = self.template("token id", &keys.token_id, ClaimTemplate::name);
        let token_id = match token_id {
            Some(template) if template.is_literal() => self.fault(
                keys.token_id.span(),
                "the token id is the same for everyone; write a claim, as {claims.sub}",
            ),
            template => template,
        };
        let ttl_seconds = match keys.ttl_seconds {
            None => Some(DEFAULT_TTL),
            Some(ttl) => match u32::try_from(*ttl.get_ref()) {
                Ok(seconds @ MIN_TTL..=MAX_TTL) => Some(seconds),
                _ => self
                    .fault(ttl.span(), format!("expected {MIN_TTL} to {MAX_TTL} seconds, which is 25 hours")),
            },
        };
        let cache = self.cache(&keys.cache);
        if keys.moderated && keys.publish.is_empty() {
            self.note(
                span.clone(),
                "the profile is `moderated` and has no topics to publish to; write `publish`",
            );
        }
        let moderated = keys.moderated;
        let topics = |role| move |name: Spanned<String>| (role, name);
        let topics = keys.publish.into_iter().map(topics(Role::Write));
        let topics = topics.chain(keys.subscribe.into_iter().map(|name| (Role::Read, name)));
        let topics: Vec<_> = topics
            .map(|(role, name)| {
                let name = self.template("topic", &name, ClaimTemplate::name)?;
                Some(Rule { kind: RuleKind::Topic, name, role })
            })
            .collect();
        let rules: Option<Vec<_>> = topics.into_iter().collect();
        let rules = [rules?, items?].concat();
        if rules.is_empty() {
            return self.fault(span, "the profile allows nothing; write `publish`, `subscribe` or `keys`");
        }
        Some(Profile {
            name: name?,
            when: when?,
            token_id: token_id?,
            ttl_seconds: ttl_seconds?,
            cache: cache?,
            moderated,
            rules,
        })
    }

    /// Reads what the claims have to be: a table of values, or lists of values.
    fn conditions(&mut self, given: Spanned<DeValue<'_>>) -> Option<Vec<Condition>> {
        let given = self.kept(Given::table(given))?;
        if given.is_empty() {
            return self.fault(given.span(), "`when` is empty; leave it out for a profile of everyone");
        }
        let read: Vec<_> = given
            .into_entries()
            .map(|(claim, value)| {
                let span = value.span();
                let values: Vec<_> = match value.into_inner() {
                    DeValue::Array(values) => values
                        .into_iter()
                        .map(|value| self.condition(value.span(), value.into_inner()))
                        .collect(),
                    one => vec![self.condition(span.clone(), one)],
                };
                if values.is_empty() {
                    return self.fault(span, "the list is empty; no claim has one of its values");
                }
                let values = values.into_iter().collect::<Option<_>>()?;
                Some(Condition { claim: claim.into_inner(), values })
            })
            .collect();
        read.into_iter().collect()
    }

    fn condition(&mut self, span: Span, value: DeValue<'_>) -> Option<Value> {
        match value {
            DeValue::String(text) => Some(Value::String(text.into_owned())),
            DeValue::Boolean(value) => Some(value.into()),
            DeValue::Integer(number) if number.as_str().parse::<i64>().is_ok() => {
                number.as_str().parse::<i64>().ok().map(Value::from)
            }
            _ => self.fault(span, "is not a text, a whole number, true or false, or a list of these"),
        }
    }

    fn items(&mut self, list: Spanned<DeValue<'_>>) -> Option<Vec<Rule>> {
        let list: Vec<_> = self.kept(spanned::array(list))?.collect();
        let read: Vec<_> = list.into_iter().map(|item| self.item(item)).collect();
        read.into_iter().collect()
    }

    fn item(&mut self, given: Spanned<DeValue<'_>>) -> Option<Rule> {
        let given = self.kept(Given::table(given))?;
        let span = given.span();
        let keys: ItemKeys = self.rest(given, &ITEM_KEYS)?;
        let role = match keys.role {
            ItemRole::Read => Role::Read,
            ItemRole::Write => Role::Write,
            ItemRole::ReadWrite => Role::ReadWrite,
        };
        let (kind, name) = match (keys.key, keys.prefix) {
            (Some(key), None) => (RuleKind::Key, self.template("key", &key, ClaimTemplate::name)),
            (None, Some(prefix)) => {
                (RuleKind::KeyPrefix, self.template("prefix", &prefix, ClaimTemplate::prefix))
            }
            _ => return self.fault(span, "expected one of `key` and `prefix`"),
        };
        Some(Rule { kind, name: name?, role })
    }

    fn template(
        &mut self,
        what: &str,
        text: &Spanned<String>,
        read: fn(&str) -> Result<ClaimTemplate, SyntaxError>,
    ) -> Option<ClaimTemplate> {
        read(text.get_ref()).map_err(|error| self.note(text.span(), format!("the {what} {error}"))).ok()
    }

    fn filled(&mut self, what: &str, text: Spanned<String>) -> Option<String> {
        if text.get_ref().trim().is_empty() {
            return self.fault(text.span(), format!("the {what} is empty"));
        }
        Some(text.into_inner())
    }
}

/// Returns true for a URL that keys can be fetched from: over TLS, or from this machine.
fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => matches!(host, "127.0.0.1" | "[::1]" | "localhost"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
allowed_origins = ["https://chat.example.com"]
[jwt]
issuer = "https://login.example.com/"
audience = ["chat"]
jwks = "https://login.example.com/jwks.json"
[[profiles]]
name = "member"
token_id = "{claims.sub}"
cache = "chat"
subscribe = ["lobby"]
"#;

    fn faults(text: &str) -> Vec<String> {
        read(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn least_is_enough_and_defaults_are_narrow() {
        let file = read(GOOD).unwrap();
        let Proof::Jwt(jwt) = &file.proof else { panic!("{file:?}") };
        assert_eq!((jwt.audience_claim.as_str(), &*jwt.algorithms), ("aud", &[Algorithm::RS256][..]));
        assert_eq!(file.tokens_per_minute.get(), 10);
        assert_eq!(file.profiles.0[0].ttl_seconds, 3600);
    }

    #[test]
    fn reports_all_faults_at_once_with_places_and_suggestions() {
        let text = r#"
allowed_origins = ["https://chat.example.com/", "*"]
[jwt]
isuer = "x"
audience = []
jwks = "http://login.example.com/jwks.json"
algorithms = ["HS256", "none", "rs256"]
[[profiles]]
name = "all"
token_id = "guest"
ttl_seconds = 90001
cache = "{claims.cache}"
publish_to = ["{room}-publish"]
keys = [{ prefix = "user:{claims.sub}", role = "read" }, { key = "a", prefix = "b:", role = "write" }]
[[profiles]]
name = "none"
when = { plan = [] }
token_id = "{claims.sub}"
cache = "chat"
"#;
        let faults = faults(text);
        let expected = [
            "2:20: not an origin",
            "2:49: not an origin",
            "4:1: unknown key `isuer`; did you mean `issuer`?",
            "5:12: the audience is empty",
            "6:8: not the URL of keys",
            "7:15: HS256 needs a shared secret",
            "7:24: unknown algorithm `none`; expected one of RS256",
            "7:32: unknown algorithm `rs256`; did you mean `RS256`?",
            "10:12: the token id is the same for everyone",
            "11:15: expected 10 to 90000 seconds",
            "12:9: the cache is one name",
            "13:1: unknown key `publish_to`; did you mean `publish`?",
            "13:15: the topic has the unknown name `room`",
            "14:20: the prefix ends with `{claims.sub}`",
            "14:58: expected one of `key` and `prefix`",
            "15:1: the profile allows nothing",
            "17:17: the list is empty",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}\n{expected}");
        }
    }

    #[test]
    fn files_of_documents_are_valid() {
        let documents = [include_str!("../../../docs/TOKENS.md"), include_str!("../../../docs/PUBLISH.md")];
        let blocks = documents.iter().flat_map(|document| document.split("```toml\n").skip(1));
        let blocks = blocks.filter_map(|rest| rest.split("```").next());
        let files: Vec<_> = blocks.filter(|block| block.contains("[[profiles]]")).collect();
        assert_eq!(files.len(), 2);
        for file in files {
            assert_eq!(faults(file), [""; 0], "{file}");
        }
    }

    #[test]
    fn file_needs_one_proof_and_profiles() {
        assert!(faults("").iter().any(|fault| fault.contains("how callers prove who they are")));
        assert!(faults("").iter().any(|fault| fault.contains("has no profiles")));
        let both = format!("{GOOD}\n[gateway]\nauthorizer = 'jwt'");
        assert!(faults(&both)[0].contains("both [jwt] and [gateway]"), "{:?}", faults(&both));
    }

    #[test]
    fn reads_limits_and_history_and_rejects_faulty_ones() {
        let file = read(GOOD).unwrap();
        assert_eq!((file.requests_per_minute.get(), file.max_text_bytes), (60, 4096));
        assert!(file.history.is_empty() && !file.profiles.0[0].moderated);
        let history = "[[history]]\ntopic = '{room}-out'\nkey = 'last-{room}'\n";
        let file =
            read(&format!("max_text_bytes = 65536\n{GOOD}{history}end = 'front'\ncache = 'old'")).unwrap();
        let [rule] = &file.history[..] else { panic!("{file:?}") };
        assert_eq!((rule.key("a-out").as_deref(), rule.end), (Some("last-a"), ListEnd::Front));
        assert_eq!((rule.cache.as_ref().map(CacheName::as_str), file.max_text_bytes), (Some("old"), 65536));
        for (text, expected) in [
            (format!("max_text_bytes = 65537\n{GOOD}"), "1:18: expected 1 to 65536 bytes"),
            (format!("requests_per_minute = 0\n{GOOD}"), "1:23: "),
            (format!("{GOOD}moderated = true"), "has no topics to publish to"),
            (format!("{GOOD}{history}cache = '{{room}}'"), "the cache is one name"),
            (format!("{GOOD}[[history]]\ntopic = 'a'\nkey = '{{b}}'"), "14:7: the key has `b`"),
            (format!("{GOOD}[[history]]\ntopic = 'a'\nlist = 'b'"), "unknown key `list`"),
        ] {
            let faults = faults(&text);
            assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
        }
    }

    #[test]
    fn rejects_profile_that_no_person_gets() {
        let second = GOOD.replace("\n[[profiles]]", "\n[[profiles]]\nwhen = { plan = 1 }");
        let (_, second) = second.split_once("[[profiles]]").unwrap();
        let faults = faults(&format!("{GOOD}\n[[profiles]]{second}"));
        assert!(faults.iter().any(|fault| fault.contains("two profiles `member`")), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.contains("fits everyone")), "{faults:?}");
    }
}
