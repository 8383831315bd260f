//! `relay.toml`: the spool, and the subscriptions with their targets.
//!
//! ```toml
//! spool = "relay.db"
//!
//! [[subscriptions]]
//! cache = "chat"
//! topics = ["friends-publish"]
//! target = { url = "https://example.com/hook", secret = "env:WEBHOOK_SIGNING_SECRET" }
//! ```
//!
//! Subscriptions are read one by one, so that the caller gets every fault, each with its place.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use fanout_core::destination::{Topic, sqs};
use fanout_core::file::FileError;
use fanout_core::function::FunctionArn;
use fanout_core::names::{CacheName, TopicName};
use fanout_core::placeholder::is_literal;
use fanout_core::spanned::{self, A_DURATION, CollectFaults, Fault, Given, Span};
use ipnet::IpNet;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::DeValue;

use crate::relay::Start;
use crate::schedule::{Order, Schedule};
use crate::shard::{Shard, ShardError};
use crate::spool::{Limits, Location};
use crate::token::Token;
use crate::webhook::post;
use crate::webhook::signer::{Scheme, Signer, SignerError};
use crate::webhook::{Webhook, WebhookError};

/// The largest number of subscriptions.
const MAX_SUBSCRIPTIONS: usize = 1_000;
/// The largest number of topics of one subscription.
const MAX_TOPICS: usize = 10_000;
/// The largest number of deliveries at the same time.
const MAX_CONCURRENCY: usize = 1_000;
/// The interval at which a set of topics is read.
const DEFAULT_EVERY: Duration = Duration::from_secs(30);
/// The name of a spool in memory.
const MEMORY: &str = "memory";

const FILE_KEYS: [&str; 9] = [
    "spool",
    "max_messages",
    "max_bytes",
    "keep_for",
    "listen",
    "listen_token",
    "metrics",
    "shard",
    "subscriptions",
];
const SUBSCRIPTION_KEYS: [&str; 13] = [
    "name",
    "cache",
    "topics",
    "topics_from",
    "target",
    "from",
    "gaps",
    "order",
    "concurrency",
    "rate",
    "retry",
    "expire_after",
    "dead_letters",
];
const WEBHOOK_KEYS: [&str; 4] = ["url", "secret", "signature", "allow"];
const FUNCTION_KEYS: [&str; 3] = ["lambda", "secret", "signature"];

/// The content of a file.
#[derive(Debug)]
pub struct RelayFile {
    /// Where messages wait.
    pub spool: Location,
    /// The bounds of the spool.
    pub limits: Limits,
    /// The port for operators.
    pub listen: Option<Listen>,
    /// The form of metrics in the log; `None` for no metrics there.
    pub metrics: Option<LogMetrics>,
    /// The part of all topics that this relay takes.
    pub shard: Option<Shard>,
    /// The subscriptions, each with another name.
    pub subscriptions: Vec<FileSubscription>,
}

/// The form of metrics in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogMetrics {
    /// The embedded metric format of CloudWatch.
    Emf,
}

/// The port for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Its address. It is a loopback address if there is no token.
    pub address: SocketAddr,
    /// What operators send.
    pub token: Option<Token>,
}

/// A subscription in a file.
#[derive(Debug)]
pub struct FileSubscription {
    /// Its name.
    pub name: String,
    /// The cache of its topics.
    pub cache: String,
    /// Its topics.
    pub topics: Vec<String>,
    /// True if the file lists no topics, so that they are the exact topics of the routes.
    pub has_topics_of_routes: bool,
    /// The set in a cache that has more topics.
    pub topics_from: Option<SetOfTopics>,
    /// Where a topic starts that the spool does not know.
    pub from: Start,
    /// True if the target is told of gaps.
    pub gap_notices: bool,
    /// How messages are delivered.
    pub schedule: Schedule,
    /// Where they are delivered to.
    pub target: FileTarget,
    /// Where copies of dead messages go.
    pub dead_letters: Option<FileDeadLetters>,
}

/// A set in a cache, whose texts are topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOfTopics {
    /// The cache of the set.
    pub cache: String,
    /// The name of the set.
    pub set: String,
    /// The interval at which it is read.
    pub every: Duration,
}

/// A target in a file.
#[derive(Debug)]
pub enum FileTarget {
    /// A URL for signed webhooks.
    Webhook(Box<Webhook>),
    /// The path of a `fanout.toml`, whose routes the caller reads.
    Routes(PathBuf),
    /// The URL of a queue of Amazon SQS.
    Sqs(String),
    /// A function of AWS Lambda, and the signer of what it gets.
    Lambda(FunctionArn, Box<Signer>),
}

/// A queue or a topic for dead letters in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileDeadLetters {
    /// The URL of a queue of Amazon SQS.
    Sqs(String),
    /// A topic of Momento.
    Topic(Topic<'static>),
}

/// Reads the text of a file. `variable` returns the value of a variable of the environment.
///
/// # Errors
/// All faults, in the order of the file.
pub fn read(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<RelayFile, Vec<FileError>> {
    let mut reader = Reader { variable, faults: Vec::new() };
    let document = Given::document(text).map_err(|faults| reader.faults.extend(faults)).ok();
    let file = document.and_then(|document| reader.document(document));
    reader.end(text, file)
}

/// Reads the text of a target, such as `target = { url = "https://example.com/", secret = "env:SECRET" }`.
///
/// # Errors
/// All faults, in the order of the text.
pub fn read_target(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<FileTarget, Vec<FileError>> {
    let mut reader = Reader { variable, faults: Vec::new() };
    let document = Given::document(text).map_err(|faults| reader.faults.extend(faults)).ok();
    let target = document.and_then(|mut document| match document.take("target") {
        Some(target) => reader.target(target),
        None => reader.fault(document.span(), spanned::missing("target")),
    });
    reader.end(text, target)
}

impl fmt::Display for FileTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(webhook) => write!(f, "{webhook:?}"),
            Self::Routes(path) => write!(f, "the routes of {}", path.display()),
            Self::Lambda(function, _) => write!(f, "the function {function}"),
            Self::Sqs(queue) => write!(f, "the queue {queue}, with up to {} messages a call", sqs::MAX_BATCH),
        }
    }
}

impl fmt::Display for FileDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqs(queue) => write!(f, "the queue {queue}"),
            Self::Topic(Topic { cache, topic }) => write!(f, "the topic {topic:?} in the cache {cache:?}"),
        }
    }
}

struct Reader<'r> {
    variable: &'r dyn Fn(&str) -> Option<String>,
    faults: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKeys {
    spool: Spanned<String>,
    max_messages: Option<NonZeroU64>,
    max_bytes: Option<NonZeroU64>,
    keep_for: Option<Spanned<GivenDuration>>,
    listen: Option<Spanned<String>>,
    listen_token: Option<Spanned<String>>,
    metrics: Option<LogMetrics>,
    shard: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionKeys {
    name: Option<Spanned<String>>,
    cache: Spanned<String>,
    topics: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    from: Start,
    #[serde(default)]
    gaps: Gaps,
    #[serde(default)]
    order: Order,
    concurrency: Option<Spanned<NonZeroUsize>>,
    rate: Option<NonZeroU32>,
    retry: Option<Vec<Spanned<GivenDuration>>>,
    expire_after: Option<Spanned<GivenDuration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetKeys {
    cache: Spanned<String>,
    set: Spanned<String>,
    every: Option<Spanned<GivenDuration>>,
}

/// The settings of a file that belong to all subscriptions.
struct Top {
    spool: Location,
    limits: Limits,
    listen: Option<Listen>,
    metrics: Option<LogMetrics>,
    shard: Option<Shard>,
}

/// The treatment of gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Gaps {
    /// It is recorded.
    #[default]
    Record,
    /// It is recorded, and the target is told.
    Deliver,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicKeys {
    topic: Spanned<String>,
    cache: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionKeys {
    lambda: Spanned<String>,
    secret: Spanned<String>,
    signature: Option<Scheme>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookKeys {
    url: Spanned<String>,
    secret: Spanned<String>,
    signature: Option<Scheme>,
    #[serde(default)]
    allow: Vec<Spanned<String>>,
}

impl Reader<'_> {
    /// Returns what was read from `text`, or the faults.
    fn end<T>(self, text: &str, read: Option<T>) -> Result<T, Vec<FileError>> {
        let mut faults = self.faults;
        match read {
            Some(read) if faults.is_empty() => return Ok(read),
            _ => {}
        }
        faults.sort_by_key(|fault| fault.span.start);
        Err(faults.into_iter().map(|fault| FileError::new(text, fault)).collect())
    }

    fn document(&mut self, mut document: Given<'_>) -> Option<RelayFile> {
        let span = document.span();
        self.correct(&mut document, &FILE_KEYS);
        let subscriptions = document.take("subscriptions");
        let keys: Option<FileKeys> = self.rest(document, &FILE_KEYS);
        let keys = keys.and_then(|keys| self.top(keys));
        let Some(subscriptions) = subscriptions else {
            return self.fault(
                span.start..span.start,
                "the file has no subscriptions; a subscription begins with [[subscriptions]]",
            );
        };
        let span = subscriptions.span();
        if matches!(subscriptions.get_ref(), DeValue::Table(_)) {
            let message = "expected a list of tables; write [[subscriptions]], with two brackets";
            return self.fault(span, message);
        }
        let subscriptions: Vec<_> = self.kept(spanned::array(subscriptions))?.collect();
        if subscriptions.len() > MAX_SUBSCRIPTIONS {
            let message = format!(
                "the file has {} subscriptions; the maximum is {MAX_SUBSCRIPTIONS}",
                subscriptions.len()
            );
            return self.fault(span, message);
        }
        if subscriptions.is_empty() {
            return self.fault(span, "the file has no subscriptions");
        }
        let subscriptions: Vec<_> =
            subscriptions.into_iter().map(|subscription| self.subscription(subscription)).collect();
        let subscriptions: Vec<_> = subscriptions.into_iter().flatten().collect();
        for (index, (subscription, span)) in subscriptions.iter().enumerate() {
            if subscriptions.iter().take(index).any(|(other, _)| other.name == subscription.name) {
                let message = format!(
                    "another subscription has the name `{}`; set `name`, whose default is the cache",
                    subscription.name
                );
                self.note(span.clone(), message);
            }
        }
        let Top { spool, limits, listen, metrics, shard } = keys?;
        let subscriptions = subscriptions.into_iter().map(|(subscription, _)| subscription).collect();
        Some(RelayFile { spool, limits, listen, metrics, shard, subscriptions })
    }

    fn top(&mut self, keys: FileKeys) -> Option<Top> {
        let default = Limits::default();
        let keep_for = self.duration_or(keys.keep_for, default.keep_for);
        let listen = self.listen(keys.listen, keys.listen_token);
        let shard = keys.shard.map(|shard| match shard.get_ref().parse() {
            Ok(shard) => Some(shard),
            Err(error) => self.fault(shard.span(), ShardError::to_string(&error)),
        });
        let spool = match keys.spool.get_ref().as_str() {
            "" => return self.fault(keys.spool.span(), "the spool is empty; expected a file, or \"memory\""),
            MEMORY => Location::Memory,
            path => Location::File(PathBuf::from(path)),
        };
        let limits = Limits {
            max_messages: keys.max_messages.map_or(default.max_messages, NonZeroU64::get),
            max_bytes: keys.max_bytes.map_or(default.max_bytes, NonZeroU64::get),
            keep_for: keep_for?,
        };
        let listen = listen?;
        let shard = match shard {
            None => None,
            Some(shard) => Some(shard?),
        };
        Some(Top { spool, limits, listen, metrics: keys.metrics, shard })
    }

    /// Returns the port; `None` if a key is invalid.
    #[expect(clippy::option_option, reason = "the outer one is that of all keys")]
    fn listen(
        &mut self,
        listen: Option<Spanned<String>>,
        token: Option<Spanned<String>>,
    ) -> Option<Option<Listen>> {
        let has_token = token.is_some();
        let token = match token {
            None => Some(None),
            Some(token) if listen.is_none() => self.fault(token.span(), "`listen_token` needs `listen`"),
            Some(token) => self.token(&token).map(Some),
        };
        let Some(listen) = listen else { return token.map(|_| None) };
        let address = match listen.get_ref().parse::<SocketAddr>() {
            Ok(address) if has_token || address.ip().is_loopback() => Some(address),
            Ok(_) => self.fault(
                listen.span(),
                "the address is not a loopback address; expected 127.0.0.1:PORT, or a token in `listen_token`",
            ),
            Err(_) => self.fault(listen.span(), "not an address; expected 127.0.0.1:PORT"),
        };
        Some(Some(Listen { address: address?, token: token? }))
    }

    fn token(&mut self, given: &Spanned<String>) -> Option<Token> {
        let (name, token) = self.secret(given)?;
        match Token::new(token) {
            Ok(token) => Some(token),
            Err(error) => self.fault(given.span(), format!("the variable {name}: {error}")),
        }
    }

    fn subscription(&mut self, given: Spanned<DeValue<'_>>) -> Option<(FileSubscription, Span)> {
        let mut given = self.kept(Given::table(given))?;
        let span = given.span();
        self.correct(&mut given, &SUBSCRIPTION_KEYS);
        let (target, set) = (given.take("target"), given.take("topics_from"));
        let dead_letters = given.take("dead_letters");
        let keys: Option<SubscriptionKeys> = self.rest(given, &SUBSCRIPTION_KEYS);
        let target = match target {
            Some(target) => self.target(target),
            None => self.fault(span.clone(), spanned::missing("target")),
        };
        let has_set = set.is_some();
        let set = set.map(|set| self.set_of_topics(set));
        let keys = keys?;
        let cache = match CacheName::new(keys.cache.get_ref().as_str()) {
            Ok(cache) => Some(cache.as_str().to_owned()),
            Err(error) => self.fault(keys.cache.span(), format!("the cache {error}")),
        };
        let name = match keys.name {
            Some(name) if name.get_ref().trim().is_empty() => self.fault(name.span(), "the name is blank"),
            Some(name) => Some(name.into_inner()),
            None => cache.clone(),
        };
        let has_topics_of_routes =
            keys.topics.is_none() && !has_set && matches!(target, Some(FileTarget::Routes(_)));
        let topics = match (keys.topics, &target) {
            (Some(topics), _) => self.topics(topics),
            (None, Some(FileTarget::Routes(_)) | None) => Some(Vec::new()),
            (None, Some(_)) if has_set => Some(Vec::new()),
            (None, Some(FileTarget::Webhook(_) | FileTarget::Sqs(_) | FileTarget::Lambda(..))) => {
                self.fault(span.clone(), spanned::missing("topics"))
            }
        };
        if keys.gaps == Gaps::Deliver && matches!(target, Some(FileTarget::Routes(_))) {
            self.note(span.clone(), "routes take no notices of gaps; remove `gaps`");
        }
        let default = Schedule::default();
        let concurrency = match keys.concurrency {
            Some(given) if given.get_ref().get() > MAX_CONCURRENCY => {
                let message = format!("is {}; the maximum is {MAX_CONCURRENCY}", given.get_ref());
                self.fault(given.span(), message)
            }
            given => Some(given.map_or(default.concurrency, |given| given.get_ref().get())),
        };
        let retry = match keys.retry {
            None => Some(default.retry),
            // All of them are read, so that each fault is found.
            Some(waits) => {
                let waits: Vec<_> = waits.into_iter().map(|wait| self.duration(&wait)).collect();
                waits.into_iter().collect()
            }
        };
        let expire_after = self.duration_or(keys.expire_after, default.expire_after);
        let schedule = Schedule {
            order: keys.order,
            concurrency: concurrency?,
            rate: keys.rate,
            retry: retry?,
            expire_after: expire_after?,
            breaker: default.breaker,
        };
        let dead_letters = match dead_letters {
            None => Some(None),
            Some(given) => self.dead_letters(given, cache.as_deref(), topics.as_deref()).map(Some),
        };
        let subscription = FileSubscription {
            name: name?,
            cache: cache?,
            topics: topics?,
            has_topics_of_routes,
            dead_letters: dead_letters?,
            topics_from: match set {
                None => None,
                Some(set) => Some(set?),
            },
            from: keys.from,
            gap_notices: keys.gaps == Gaps::Deliver,
            schedule,
            target: target?,
        };
        Some((subscription, span))
    }

    fn topics(&mut self, given: Spanned<Vec<Spanned<String>>>) -> Option<Vec<String>> {
        let span = given.span();
        let given = given.into_inner();
        if given.len() > MAX_TOPICS {
            let message = format!("the subscription has {} topics; the maximum is {MAX_TOPICS}", given.len());
            return self.fault(span, message);
        }
        let mut topics = Vec::with_capacity(given.len());
        let before = self.faults.len();
        let mut seen = std::collections::HashSet::new();
        for topic in given {
            let span = topic.span();
            match TopicName::new(topic.into_inner()) {
                Err(error) => self.note(span, format!("the topic {error}")),
                Ok(topic) if !is_literal(topic.as_str()) => self.note(
                    span,
                    "the topic has a placeholder or a wildcard; a subscription has whole names. For topics that come \
                     and go, see `topics_from`",
                ),
                Ok(topic) if !seen.insert(topic.as_str().to_owned()) => {
                    self.note(span, "the subscription has this topic already");
                }
                Ok(topic) => topics.push(topic.as_str().to_owned()),
            }
        }
        (self.faults.len() == before).then_some(topics)
    }

    fn set_of_topics(&mut self, given: Spanned<DeValue<'_>>) -> Option<SetOfTopics> {
        let given = self.kept(Given::table(given))?;
        let keys: SetKeys = self.rest(given, &["cache", "set", "every"])?;
        let every = self.duration_or(keys.every, DEFAULT_EVERY);
        if let Err(error) = CacheName::new(keys.cache.get_ref().as_str()) {
            return self.fault(keys.cache.span(), format!("the cache {error}"));
        }
        if keys.set.get_ref().is_empty() {
            return self.fault(keys.set.span(), "the name of the set is empty");
        }
        Some(SetOfTopics { cache: keys.cache.into_inner(), set: keys.set.into_inner(), every: every? })
    }

    /// Reads where dead letters of a subscription with this cache and these topics go.
    fn dead_letters(
        &mut self,
        given: Spanned<DeValue<'_>>,
        cache: Option<&str>,
        topics: Option<&[String]>,
    ) -> Option<FileDeadLetters> {
        let mut given = self.kept(Given::table(given))?;
        let span = given.span();
        self.correct(&mut given, &["sqs", "topic", "cache"]);
        if let Some(queue) = given.take("sqs") {
            self.no_more(given, "dead letters", "sqs");
            return self.queue(queue).map(FileDeadLetters::Sqs);
        }
        let keys: TopicKeys = self.rest(given, &["sqs", "topic", "cache"])?;
        let topic = match TopicName::new(keys.topic.get_ref().as_str()) {
            Ok(topic) => Some(topic.as_str().to_owned()),
            Err(error) => self.fault(keys.topic.span(), format!("the topic {error}")),
        };
        let to = match keys.cache {
            None => cache.map(str::to_owned),
            Some(given) => match CacheName::new(given.get_ref().as_str()) {
                Ok(cache) => Some(cache.as_str().to_owned()),
                Err(error) => self.fault(given.span(), format!("the cache {error}")),
            },
        };
        let (topic, to) = (topic?, to?);
        if Some(to.as_str()) == cache && topics.is_some_and(|topics| topics.contains(&topic)) {
            return self.fault(span, "the subscription has this topic, so its dead letters would come back");
        }
        Some(FileDeadLetters::Topic(Topic::new(to, topic)))
    }

    fn queue(&mut self, given: Spanned<DeValue<'_>>) -> Option<String> {
        let queue = self.kept(spanned::text(given))?;
        match sqs::check_queue(queue.get_ref()) {
            Ok(()) => Some(queue.into_inner()),
            Err(message) => self.fault(queue.span(), message),
        }
    }

    fn target(&mut self, given: Spanned<DeValue<'_>>) -> Option<FileTarget> {
        let mut given = self.kept(Given::table(given))?;
        let span = given.span();
        self.correct(&mut given, &[&WEBHOOK_KEYS[..], &["routes", "sqs", "lambda"]].concat());
        if let Some(routes) = given.take("routes") {
            self.no_more(given, "a target", "routes");
            let path = self.kept(spanned::text(routes))?;
            if path.get_ref().is_empty() {
                return self.fault(path.span(), "the path is empty; expected the path of a fanout.toml");
            }
            return Some(FileTarget::Routes(PathBuf::from(path.into_inner())));
        }
        if let Some(queue) = given.take("sqs") {
            self.no_more(given, "a target", "sqs");
            return self.queue(queue).map(FileTarget::Sqs);
        }
        if given.contains("lambda") {
            let keys: FunctionKeys = self.rest(given, &FUNCTION_KEYS)?;
            let signer = self.signer(&keys.secret, keys.signature.unwrap_or(Scheme::Both));
            return match FunctionArn::new(keys.lambda.get_ref()) {
                Ok(function) => Some(FileTarget::Lambda(function, Box::new(signer?))),
                Err(error) => self.fault(keys.lambda.span(), error.to_string()),
            };
        }
        if given.is_empty() {
            let message =
                "the target is empty; expected `url` and `secret`, `lambda` and `secret`, `routes` or `sqs`";
            return self.fault(span, message);
        }
        let keys: WebhookKeys = self.rest(given, &WEBHOOK_KEYS)?;
        let signer = self.signer(&keys.secret, keys.signature.unwrap_or(Scheme::Both));
        let allow: Vec<_> = keys.allow.into_iter().map(|network| self.network(&network)).collect();
        let allow: Option<Vec<IpNet>> = allow.into_iter().collect();
        let Ok(url) = post::url(keys.url.get_ref()) else {
            return self.fault(keys.url.span(), "not a URL; expected https://HOST/PATH");
        };
        match Webhook::new(url, signer?, &allow?) {
            Ok(webhook) => Some(FileTarget::Webhook(Box::new(webhook))),
            Err(WebhookError::Client(error)) => {
                let message = format!("{error}: {}", fanout_core::reason::with_sources(&error));
                self.fault(keys.url.span(), message)
            }
            Err(error) => self.fault(keys.url.span(), error.to_string()),
        }
    }

    /// Notes the keys that `what` with the key `kind` cannot have.
    fn no_more(&mut self, given: Given<'_>, what: &str, kind: &str) {
        for (key, value) in given.into_entries() {
            self.note(value.span(), format!("{what} with `{kind}` cannot have `{}`", key.get_ref()));
        }
    }

    /// Returns the name and the value of the variable that has a secret.
    fn secret<'g>(&mut self, given: &'g Spanned<String>) -> Option<(&'g str, String)> {
        let Some(name) = given.get_ref().strip_prefix("env:").filter(|name| !name.is_empty()) else {
            let message = "not the source of a secret; expected \"env:NAME\", with the name of a variable";
            return self.fault(given.span(), message);
        };
        let Some(secret) = (self.variable)(name).filter(|secret| !secret.is_empty()) else {
            return self.fault(given.span(), format!("the variable {name} is not set"));
        };
        Some((name, secret))
    }

    fn signer(&mut self, given: &Spanned<String>, scheme: Scheme) -> Option<Signer> {
        let (name, secret) = self.secret(given)?;
        match Signer::new(scheme, &secret) {
            Ok(signer) => Some(signer),
            Err(error @ SignerError::Standard(_)) => {
                let message = format!("the variable {name}: {error}; or set signature = \"momento\"");
                self.fault(given.span(), message)
            }
            Err(error) => self.fault(given.span(), format!("the variable {name}: {error}")),
        }
    }

    fn network(&mut self, given: &Spanned<String>) -> Option<IpNet> {
        match given.get_ref().parse() {
            Ok(network) => Some(network),
            Err(_) => self.fault(given.span(), "not a network; expected ADDRESS/LENGTH, such as 10.0.0.0/8"),
        }
    }

    fn duration_or(&mut self, given: Option<Spanned<GivenDuration>>, default: Duration) -> Option<Duration> {
        given.map_or(Some(default), |given| self.duration(&given))
    }

    fn duration(&mut self, given: &Spanned<GivenDuration>) -> Option<Duration> {
        let GivenDuration(text) = given.get_ref();
        match humantime::parse_duration(text) {
            Ok(duration) if !duration.is_zero() => Some(duration),
            _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => self
                .fault(given.span(), format!("is {text:?}, without a unit; write \"{text}s\" for seconds")),
            _ => self.fault(given.span(), "not a duration; expected a number with a unit, such as \"30s\""),
        }
    }
}

/// A duration as it is written.
#[derive(Debug)]
struct GivenDuration(String);

impl<'de> Deserialize<'de> for GivenDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(GivenDurationVisitor)
    }
}

struct GivenDurationVisitor;

impl Visitor<'_> for GivenDurationVisitor {
    type Value = GivenDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A_DURATION)
    }

    fn visit_str<E>(self, text: &str) -> Result<GivenDuration, E> {
        Ok(GivenDuration(text.to_owned()))
    }
}

impl CollectFaults for Reader<'_> {
    fn faults(&mut self) -> &mut Vec<Fault> {
        &mut self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn variable(name: &str) -> Option<String> {
        match name {
            "SECRET" => Some(SECRET.to_owned()),
            "PLAIN" => Some("not base64!".to_owned()),
            "TOKEN" => Some("a-token-of-the-tests".to_owned()),
            _ => None,
        }
    }

    fn faults(text: &str) -> Vec<String> {
        read(text, &variable).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_all_keys() {
        let file = read(
            r#"
            spool = "relay.db"
            max_messages = 10
            max_bytes = 20
            keep_for = "1h"
            listen = "0.0.0.0:9100"
            listen_token = "env:TOKEN"
            metrics = "emf"
            shard = "1/4"

            [[subscriptions]]
            name = "friends"
            cache = "chat"
            topics = ["a", "b c"]
            target = { url = "https://example.com/hook", secret = "env:SECRET", signature = "momento", allow = ["10.0.0.0/8"] }
            from = "available"
            gaps = "deliver"
            order = "topic"
            concurrency = 4
            rate = 50
            retry = ["1s", "2m"]
            expire_after = "2h"
            "#,
            &variable,
        )
        .unwrap();
        assert_eq!(file.spool, Location::File(PathBuf::from("relay.db")));
        let limits = Limits { max_messages: 10, max_bytes: 20, keep_for: Duration::from_hours(1) };
        let listen = Listen {
            address: "0.0.0.0:9100".parse().unwrap(),
            token: Some(Token::new("a-token-of-the-tests").unwrap()),
        };
        assert_eq!((file.limits, &file.listen), (limits, &Some(listen)));
        assert_eq!(file.metrics, Some(LogMetrics::Emf));
        assert_eq!(file.shard, Some("1/4".parse().unwrap()));
        let [subscription] = &file.subscriptions[..] else { panic!("{file:?}") };
        assert_eq!((subscription.name.as_str(), subscription.cache.as_str()), ("friends", "chat"));
        assert_eq!(
            (&subscription.topics[..], subscription.from),
            (&["a".to_owned(), "b c".to_owned()][..], Start::Available)
        );
        assert!(subscription.gap_notices);
        let schedule = Schedule {
            order: Order::Topic,
            concurrency: 4,
            rate: NonZeroU32::new(50),
            retry: vec![Duration::from_secs(1), Duration::from_mins(2)],
            expire_after: Duration::from_hours(2),
            ..Schedule::default()
        };
        assert_eq!(subscription.schedule, schedule);
        assert_eq!(subscription.target.to_string(), "https://example.com");
    }

    #[test]
    fn has_defaults_for_all_but_spool_cache_topics_and_target() {
        let text = "spool = 'memory'\n[[subscriptions]]\ncache = 'c'\ntopics = ['t']\n\
                    target = { url = 'http://127.0.0.1:1/', secret = 'env:SECRET' }";
        let file = read(text, &variable).unwrap();
        assert_eq!((file.spool, file.limits, file.listen), (Location::Memory, Limits::default(), None));
        let subscription = &file.subscriptions[0];
        assert_eq!((subscription.name.as_str(), subscription.from), ("c", Start::Now));
        assert!(!subscription.gap_notices);
        assert_eq!(subscription.schedule, Schedule::default());
        for key in ["spool", "target", "cache", "topics"] {
            let (begin, keys) = text.split_once("[[subscriptions]]\n").unwrap();
            let without = |part: &str| -> String {
                part.lines().filter(|line| !line.starts_with(key)).flat_map(|line| [line, "\n"]).collect()
            };
            let text = format!("{}[[subscriptions]]\n{}", without(begin), without(keys));
            let missing = format!("missing key `{key}`");
            assert!(matches!(&faults(&text)[..], [fault] if fault.ends_with(&missing)), "{text}");
        }
    }

    #[test]
    fn reports_every_fault_with_its_place() {
        let text = r#"spool = ""
speed = 1
keep_for = "0s"
listen = "0.0.0.0:1"
[[subscriptions]]
cache = ""
topics = ["a", "", "a"]
target = { url = "http://example.com", secret = "env:SECRET", allow = ["10.0.0.0"] }
from = "soon"
concurrency = 5000
retry = ["1", "1s", "x"]
[[subscriptions]]
cache = "c"
topics = []
target = { url = "http://example.com", secret = "env:SECRET" }
[[subscriptions]]
cache = "c"
topics = ["a"]
target = { url = "https://example.com", secret = "env:PLAIN" }
[[subscriptions]]
cache = "d"
topics = ["a"]
target = { url = "https://10.0.0.1", secret = "s3cr3t", speed = 1 }
[[subscriptions]]
cache = "d"
topics = ["a"]
target = { url = "https://example.com", secret = "env:UNSET" }
"#;
        assert_eq!(
            faults(text),
            [
                "1:9: the spool is empty; expected a file, or \"memory\"",
                "2:1: unknown key `speed`; expected one of `spool`, `max_messages`, `max_bytes`, `keep_for`, `listen`, \
                 `listen_token`, `metrics`, `shard`, `subscriptions`",
                "3:12: not a duration; expected a number with a unit, such as \"30s\"",
                "4:10: the address is not a loopback address; expected 127.0.0.1:PORT, or a token in `listen_token`",
                "6:9: the cache is blank; expected a name",
                "7:16: the topic is empty",
                "7:20: the subscription has this topic already",
                "8:72: not a network; expected ADDRESS/LENGTH, such as 10.0.0.0/8",
                "9:8: is \"soon\"; expected `now` or `available`",
                "10:15: is 5000; the maximum is 1000",
                "11:10: is \"1\", without a unit; write \"1s\" for seconds",
                "11:21: not a duration; expected a number with a unit, such as \"30s\"",
                "15:18: the URL is not encrypted; expected https://, except for this machine",
                "19:50: the variable PLAIN: Standard Webhooks needs a secret of the form whsec_ and base64; or set \
                 signature = \"momento\"",
                "23:47: not the source of a secret; expected \"env:NAME\", with the name of a variable",
                "23:57: unknown key `speed`; expected one of `url`, `secret`, `signature`, `allow`",
                "27:50: the variable UNSET is not set",
            ]
        );
    }

    #[test]
    fn port_beyond_this_machine_needs_token() {
        let read_listen = |keys: &str| {
            let text = format!(
                "{keys}\nspool = 'memory'\n[[subscriptions]]\ncache = 'c'\ntopics = ['t']\n\
                 target = {{ routes = 'f' }}"
            );
            read(&text, &variable).map(|file| file.listen).map_err(|faults| faults[0].to_string())
        };
        for address in ["0.0.0.0:1", "[::]:1", "127.0.0.1:1"] {
            let listen =
                read_listen(&format!("listen = '{address}'\nlisten_token = 'env:TOKEN'")).unwrap().unwrap();
            assert!(listen.address.to_string() == address && listen.token.is_some());
        }
        assert_eq!(read_listen("listen = '[::1]:1'").unwrap().unwrap().token, None);
        for (keys, fault) in [
            ("listen_token = 'env:TOKEN'", "1:16: `listen_token` needs `listen`"),
            (
                "listen = '127.0.0.1:1'\nlisten_token = 'env:PLAIN'",
                "2:16: the variable PLAIN: the token has a character that is not visible ASCII",
            ),
            ("listen = '127.0.0.1:1'\nlisten_token = 'env:UNSET'", "2:16: the variable UNSET is not set"),
            (
                "listen = '127.0.0.1:1'\nlisten_token = 's3cr3t'",
                "2:16: not the source of a secret; expected \"env:NAME\", with the name of a variable",
            ),
        ] {
            assert_eq!(read_listen(keys).unwrap_err(), fault);
        }
    }

    #[test]
    fn reads_set_of_topics_in_place_of_topics() {
        let read_set = |set: &str| {
            let text = format!(
                "spool = 'memory'\n[[subscriptions]]\ncache = 'c'\ntopics_from = {set}\n\
                 target = {{ url = 'https://example.com/', secret = 'env:SECRET' }}"
            );
            read(&text, &variable)
                .map(|mut file| file.subscriptions.remove(0))
                .map_err(|faults| faults[0].to_string())
        };
        let subscription = read_set("{ cache = 'd', set = 'rooms' }").unwrap();
        let set = SetOfTopics { cache: "d".to_owned(), set: "rooms".to_owned(), every: DEFAULT_EVERY };
        assert_eq!((subscription.topics.len(), subscription.topics_from), (0, Some(set)));
        for (set, fault) in [
            ("{ cache = '', set = 'rooms' }", "4:25: the cache is blank; expected a name"),
            ("{ cache = 'd', set = '' }", "4:36: the name of the set is empty"),
            ("{ cache = 'd' }", "4:15: missing key `set`"),
            (
                "{ cache = 'd', set = 's', every = '0s' }",
                "4:49: not a duration; expected a number with a unit, such as \"30s\"",
            ),
        ] {
            assert_eq!(read_set(set).unwrap_err(), fault);
        }
    }

    #[test]
    fn rejects_two_subscriptions_with_the_same_name() {
        let one = "[[subscriptions]]\ncache = 'c'\ntopics = ['t']\n\
                   target = { url = 'https://example.com/', secret = 'env:SECRET' }\n";
        let faults = faults(&format!("spool = 'memory'\n{one}{one}"));
        assert_eq!(
            faults,
            ["6:1: another subscription has the name `c`; set `name`, whose default is the cache"]
        );
    }

    #[test]
    fn reads_routes_with_and_without_topics() {
        let read_target = |more: &str| {
            let text = format!("spool = 'memory'\n[[subscriptions]]\ncache = 'c'\n{more}");
            read(&text, &variable)
                .map(|mut file| file.subscriptions.remove(0))
                .map_err(|faults| faults[0].to_string())
        };
        for (more, count) in [("", 0), ("topics = ['t']\n", 1)] {
            let subscription = read_target(&format!("{more}target = {{ routes = 'fanout.toml' }}")).unwrap();
            assert_eq!(subscription.topics.len(), count);
            assert!(matches!(subscription.target, FileTarget::Routes(path) if path == *"fanout.toml"));
        }
        for (more, fault) in [
            ("target = { routes = '' }", "the path is empty; expected the path of a fanout.toml"),
            ("target = { routes = 'f', url = 'x' }", "a target with `routes` cannot have `url`"),
            ("target = { routes = 'f' }\ngaps = 'deliver'", "routes take no notices of gaps; remove `gaps`"),
            (
                "target = {}\ntopics = ['t']",
                "the target is empty; expected `url` and `secret`, `lambda` and `secret`, `routes` or `sqs`",
            ),
            (
                "target = { sqs = 'q' }\ntopics = ['t']",
                "expected https://sqs.<region>.amazonaws.com/<account>/<name>",
            ),
            (
                "target = { sqs = 'https://q/e', secret = 'x' }\ntopics = ['t']",
                "a target with `sqs` cannot have `secret`",
            ),
        ] {
            let error = read_target(more).unwrap_err();
            assert!(error.ends_with(fault), "{error}");
        }
    }

    #[test]
    fn reads_target_alone() {
        let target = read_target("target = { sqs = 'https://q/events' }", &variable).unwrap();
        assert!(matches!(target, FileTarget::Sqs(queue) if queue == "https://q/events"));
        for (text, fault) in [
            ("target = { url = 'x', secret = 'env:UNSET' }", "1:32: the variable UNSET is not set"),
            ("other = 1", "1:1: missing key `target`"),
            ("target = { sqs = 'q' ", "1:"),
        ] {
            let faults = read_target(text, &variable).unwrap_err();
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            assert!(faults.iter().any(|found| found.starts_with(fault)), "{text}: {faults:?}");
        }
    }

    #[test]
    fn reads_queue_or_topic_for_dead_letters() {
        let read_letters = |letters: &str| {
            let text = format!(
                "spool = 'memory'\n[[subscriptions]]\ncache = 'c'\ntopics = ['t']\n\
                 target = {{ url = 'https://example.com/', secret = 'env:SECRET' }}\ndead_letters = {letters}"
            );
            read(&text, &variable)
                .map(|mut file| file.subscriptions.remove(0).dead_letters.unwrap().to_string())
                .map_err(|faults| faults[0].to_string())
        };
        for (letters, expected) in [
            ("{ sqs = 'https://q/dead' }", "the queue https://q/dead"),
            ("{ topic = 'dead' }", "the topic \"dead\" in the cache \"c\""),
            ("{ topic = 't', cache = 'd' }", "the topic \"t\" in the cache \"d\""),
        ] {
            assert_eq!(read_letters(letters).as_deref(), Ok(expected));
        }
        for (letters, fault) in [
            ("{ topic = 't' }", "6:16: the subscription has this topic, so its dead letters would come back"),
            ("{ topic = '' }", "6:26: the topic is empty"),
            ("{ topic = 'd', cache = ' ' }", "6:39: the cache is blank; expected a name"),
            ("{ sqs = 'https://q/d', topic = 'd' }", "6:47: dead letters with `sqs` cannot have `topic`"),
            ("{}", "6:16: missing key `topic`"),
            (
                "{ topic = 'd', queue = 'x' }",
                "6:31: unknown key `queue`; expected one of `sqs`, `topic`, `cache`",
            ),
        ] {
            assert_eq!(read_letters(letters).unwrap_err(), fault);
        }
    }

    #[test]
    fn reads_function_that_verifies_signatures() {
        let read_target = |target: &str| {
            let text = format!(
                "spool = 'memory'\n[[subscriptions]]\ncache = 'c'\ntopics = ['t']\ntarget = {target}"
            );
            read(&text, &variable)
                .map(|mut file| file.subscriptions.remove(0).target.to_string())
                .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:webhook:live";
        let target = read_target(&format!("{{ lambda = '{arn}', secret = 'env:SECRET' }}"));
        assert_eq!(target, Ok(format!("the function {arn}")));
        assert!(
            read_target(&format!("{{ lambda = '{arn}', secret = 'env:PLAIN', signature = 'momento' }}"))
                .is_ok()
        );
        for (target, expected) in [
            (format!("{{ lambda = '{arn}' }}"), &["5:10: missing key `secret`"][..]),
            (
                "{ lambda = 'webhook', secret = 'env:UNSET' }".to_owned(),
                &[
                    "5:21: not the ARN of a function; expected \
                     arn:aws:lambda:<region>:<account>:function:<name>, perhaps with :<alias>",
                    "5:41: the variable UNSET is not set",
                ],
            ),
            (
                format!("{{ lambda = '{arn}', secret = 'env:SECRET', url = 'x' }}"),
                &["5:107: unknown key `url`; expected one of `lambda`, `secret`, `signature`"],
            ),
        ] {
            assert_eq!(read_target(&target).unwrap_err(), expected, "{target}");
        }
    }

    #[test]
    fn faults_do_not_show_secrets() {
        let text = "spool = 'memory'\n[[subscriptions]]\ncache = 'c'\ntopics = ['t']\n\
                    target = { url = 'https://example.com/', secret = 's3cr3t' }";
        assert!(!faults(text).concat().contains("s3cr3t"));
    }
}
