//! `fanout check tokens.toml`: what the token of a person with given claims could do, and what not.

use std::collections::{BTreeMap, BTreeSet};

use fanout_core::permission::{Access, Permission, Resource};
use fanout_core::route::{Plan, Routes};
use fanout_identity::profile::{Rule, RuleKind};
use fanout_identity::{Claims, Grant, Profile, TokensFile};
use momento_webhook::{Event, Verified};
use serde_json::{Map, Value, json};

use super::table::aligned;
use crate::error::Error;
use crate::output::Output;

/// A file of profiles, and what it is checked with.
pub(super) struct TokensCheck<'c> {
    pub(super) file: &'c TokensFile,
    /// The claims of a person.
    pub(super) claims: Option<Map<String, Value>>,
    /// Routes, whose inbound topics have texts as people wrote them.
    pub(super) routes: Option<&'c Routes>,
}

/// A call on a topic or on keys, and whether the token allows it.
struct Call {
    verb: &'static str,
    name: String,
    is_allowed: bool,
    /// True if the person may publish through the function `publish`, and the token may not.
    is_moderated: bool,
}

impl TokensCheck<'_> {
    /// Shows every profile, or what the person with the claims gets.
    ///
    /// # Errors
    /// If the person gets no token.
    pub(super) fn show(self, is_json: bool, output: &mut Output) -> Result<(), Error> {
        let Some(claims) = self.claims.clone() else { return self.show_profiles(is_json, output) };
        let claims = Claims::assumed(claims);
        let grant = match self.file.profiles.grant(&claims) {
            Ok(grant) => grant,
            Err(denied) => {
                if is_json {
                    output.json(&json!({"denied": denied.code(), "detail": denied.to_string()}))?;
                }
                return Err(Error::Failed(format!("no token: {denied}")));
            }
        };
        let calls = self.calls(&grant, &claims);
        let raw: Vec<_> = grant.permissions.iter().filter_map(|permission| self.raw(permission)).collect();
        let unmoderated = if grant.moderated { self.unmoderated(&grant.permissions) } else { Vec::new() };
        let Grant { profile, token_id, ttl_seconds, .. } = &grant;
        if is_json {
            let calls = calls.iter().map(
                |Call { verb, name, is_allowed, is_moderated }| {
                    json!({"call": verb, "name": name, "allowed": is_allowed, "moderated": is_moderated})
                },
            );
            return output.json(&json!({
                "profile": profile, "token_id": token_id, "ttl_seconds": ttl_seconds,
                "calls": calls.collect::<Vec<_>>(), "inbound_topics": raw, "unmoderated_topics": unmoderated,
            }));
        }
        output.result(format_args!("profile {profile}: token id {token_id}, for {ttl_seconds} s"))?;
        let row = |Call { verb, name, is_allowed, is_moderated }: &Call| {
            let answer = match (is_allowed, is_moderated) {
                (true, _) => "allowed",
                (false, true) => "moderated",
                (false, false) => "denied",
            };
            [answer.to_owned(), (*verb).to_owned(), name.clone()]
        };
        for line in aligned(calls.iter().map(row), &[0, 1], output.width()) {
            output.result(line)?;
        }
        output.result("denied   every other call")?;
        if grant.moderated {
            output.note("moderated: through the function publish only; the token does not allow it");
        }
        warn(&raw, output);
        warn_of_unmoderated(&unmoderated, output);
        Ok(())
    }

    fn show_profiles(self, is_json: bool, output: &mut Output) -> Result<(), Error> {
        let profiles = &self.file.profiles.0;
        // One word stands for every claim: a capture of a route takes it as any other.
        let of_rules = |profile: &Profile| {
            let rules = profile.rules.iter().filter(|rule| rule.kind == RuleKind::Topic);
            let permission = |rule: &Rule| {
                let resource = Resource::Topic(rule.name.with_claims("claim"));
                Permission { cache: profile.cache.clone(), resource, role: rule.role }
            };
            let permissions: Vec<_> = rules.map(permission).collect();
            let unmoderated = if profile.moderated { self.unmoderated(&permissions) } else { Vec::new() };
            (
                permissions.iter().filter_map(|permission| self.raw(permission)).collect::<Vec<_>>(),
                unmoderated,
            )
        };
        if is_json {
            let shown = profiles.iter().map(|profile| {
                let when: Vec<_> = profile.when.iter().map(ToString::to_string).collect();
                let (raw, unmoderated) = of_rules(profile);
                json!({"name": profile.name, "when": when, "inbound_topics": raw, "unmoderated_topics": unmoderated})
            });
            return output.json(&json!({"profiles": shown.collect::<Vec<_>>()}));
        }
        for profile in profiles {
            let when: Vec<_> = profile.when.iter().map(ToString::to_string).collect();
            let when = if when.is_empty() { "everyone".to_owned() } else { when.join(" and ") };
            output.result(format_args!("profile {}: {when}", profile.name))?;
            let (raw, unmoderated) = of_rules(profile);
            warn(&raw, output);
            warn_of_unmoderated(&unmoderated, output);
        }
        output.note("with --claims, this shows what the token of one person allows and denies");
        Ok(())
    }

    /// Returns the calls on everything that the grant, the other profiles and the routes name for this person.
    fn calls(&self, grant: &Grant<'_>, claims: &Claims) -> Vec<Call> {
        let mut topics: BTreeSet<(String, String)> = BTreeSet::new();
        let mut keys: BTreeMap<String, &Permission> = BTreeMap::new();
        for permission in &grant.permissions {
            match &permission.resource {
                Resource::Topic(topic) => {
                    topics.insert((permission.cache.as_str().to_owned(), topic.clone()));
                    topics.extend(self.destinations(permission.cache.as_str(), topic, &grant.token_id));
                }
                Resource::Key(key) => drop(keys.insert(format!("{}/{key}", permission.cache), permission)),
                Resource::KeyPrefix(prefix) => {
                    keys.insert(format!("{}/{prefix}*", permission.cache), permission);
                }
            }
        }
        for profile in &self.file.profiles.0 {
            let rules = profile.rules.iter().filter(|rule| rule.kind == RuleKind::Topic);
            let names = rules.filter_map(|rule| rule.name.all(claims).ok()).flatten();
            topics.extend(names.map(|name| (profile.cache.as_str().to_owned(), name)));
        }
        let mut calls = Vec::new();
        for (cache, topic) in topics {
            for (verb, access) in [("publish", Access::Write), ("subscribe", Access::Read)] {
                let mut permissions = grant.permissions.iter();
                let is_in_profile =
                    permissions.any(|permission| permission.allows_topic(access, &cache, &topic));
                let is_moderated = is_in_profile && grant.moderated && access == Access::Write;
                let is_allowed = is_in_profile && !is_moderated;
                calls.push(Call { verb, name: format!("{cache}/{topic}"), is_allowed, is_moderated });
            }
        }
        for (name, permission) in keys {
            for (verb, access) in [("read", Access::Read), ("write", Access::Write)] {
                let is_allowed = permission.role.allows(access);
                calls.push(Call { verb, name: name.clone(), is_allowed, is_moderated: false });
            }
        }
        calls
    }

    /// Returns the topics to which the routes publish what is published to this one.
    fn destinations(&self, cache: &str, topic: &str, token_id: &str) -> Vec<(String, String)> {
        let event = event(cache, topic, token_id);
        let plan = self.routes.and_then(|routes| routes.plan(&event).ok().flatten());
        let topics = plan.iter().flat_map(Plan::known_topics);
        topics.map(|topic| (topic.cache.to_string(), topic.topic.to_string())).collect()
    }

    /// Returns the topics of permissions to publish for which no route has transforms. With them, a `moderated` profile
    /// publishes nothing.
    fn unmoderated(&self, permissions: &[Permission]) -> Vec<String> {
        let Some(routes) = self.routes else { return Vec::new() };
        let lacks_transforms = |permission: &Permission| {
            let Resource::Topic(topic) = &permission.resource else { return None };
            let transforms = routes.transforms(permission.cache.as_str(), topic);
            let has_transforms = transforms.is_some_and(|(stages, _)| !stages.is_empty());
            (permission.role.allows(Access::Write) && !has_transforms)
                .then(|| format!("{}/{topic}", permission.cache))
        };
        permissions.iter().filter_map(lacks_transforms).collect()
    }

    /// Returns the topic of a permission to subscribe, if it is an inbound topic of the routes.
    fn raw(&self, permission: &Permission) -> Option<String> {
        let Resource::Topic(topic) = &permission.resource else { return None };
        let event = event(permission.cache.as_str(), topic, "id");
        let is_inbound = !matches!(self.routes?.plan(&event), Ok(None));
        (permission.role.allows(Access::Read) && is_inbound).then(|| format!("{}/{topic}", permission.cache))
    }
}

fn warn(raw: &[String], output: &mut Output) {
    for topic in raw {
        output.note(format_args!(
            "warning: may subscribe to {topic}, an inbound topic of the routes: its texts have not passed moderation or any other transform"
        ));
    }
}

fn warn_of_unmoderated(topics: &[String], output: &mut Output) {
    for topic in topics {
        output.note(format_args!(
            "warning: the profile is moderated, and no route has transforms for {topic}: the function publish rejects every text"
        ));
    }
}

fn event(cache: &str, topic: &str, token_id: &str) -> Verified<Event> {
    Verified::trusted(Event {
        cache: cache.to_owned(),
        topic: topic.to_owned(),
        event_timestamp: 0,
        publish_timestamp: 0,
        topic_sequence_number: 0,
        topic_sequence_page: None,
        token_id: Some(token_id.to_owned()),
        text: "{}".to_owned(),
    })
}
