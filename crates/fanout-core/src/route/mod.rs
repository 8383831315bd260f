//! The routes of events.
//!
//! | module | contents |
//! | --- | --- |
//! | [`for_each`] | a topic for each entry of a list |
//! | [`pattern`] | topics with captures: the topics of a pattern, and the texts that can be topics |
//! | [`check`] | routes that do not work together: ambiguous routes and cycles |

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use momento_webhook::{Event, Verified};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::destination::{RequestError, ServiceDestination, Target, Topic};
use crate::names::{CacheName, TopicName};
use crate::placeholder::{RenderError, Values};
use crate::transform::{Context, Stage, Tree};

pub mod check;
pub mod for_each;
pub mod pattern;

pub use check::{Edge, RouteError};
pub use for_each::ForEach;
pub use pattern::Pattern;

pub use crate::placeholder::Template;

/// All routes of a function.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    all: Vec<Route>,
    /// The indices of all routes, the most specific first: exact topics before patterns.
    order: Vec<usize>,
    /// The routes of each exact topic, in that order.
    exact: HashMap<String, Vec<usize>>,
    /// The routes with a pattern, in that order.
    patterns: Vec<usize>,
    /// For each route, the routes that its events must not reach.
    back_edges: Vec<Vec<usize>>,
}

/// The events of a route, their transforms and their destinations.
#[derive(Clone, Debug)]
pub struct Route {
    inbound: Inbound,
    transforms: Vec<Stage>,
    destinations: Vec<Destination>,
    tree: Tree,
    requires_token_id: bool,
}

/// The events that a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The cache of the events; `None` for any cache.
    pub cache: Option<CacheName>,
    /// The topics of the events.
    pub topics: Topics,
}

/// The topics that a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// Every topic. The function's webhook has one topic, and the settings name only the destinations.
    Any,
    /// The topics that match a pattern.
    Like(Pattern),
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// The receiver of the text.
    pub to: To,
    /// The transforms of the text, in order.
    pub chain: Vec<Stage>,
    id: String,
}

/// The receiver of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// A topic of Momento.
    Topic(Outbound),
    /// A queue, bus, table or state machine of AWS, or an item in a cache.
    Service(ServiceDestination),
}

/// A topic of Momento, as a route names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The cache of the topic; `None` for the cache of the event.
    pub cache: Option<Template>,
    /// The name of the topic.
    pub topic: Template,
    /// The list of which each entry makes a topic; `None` for one topic.
    pub for_each: Option<ForEach>,
}

/// Error for an event that would come back to its own topic, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a destination of the event is its own topic, or leads back to it")]
pub struct FeedsItself;

/// The route and the destinations of one event.
#[derive(Debug)]
pub struct Plan<'r> {
    routes: &'r Routes,
    /// The index of the route.
    index: usize,
    route: &'r Route,
    event: &'r Event,
    captures: Vec<(&'r str, &'r str)>,
    destinations: Vec<Planned<'r>>,
}

/// One destination of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned<'r> {
    /// The receiver. With `for_each`, whose topics are known after the transforms, it has the templates of the route.
    pub target: Target<'r>,
    /// The error of the name that cannot be made of the event. `target` then has the template of the route in place of
    /// the name.
    pub error: Option<RequestError>,
}

/// The transforms of a route, and the names and texts of its captures.
pub type RouteTransforms<'r> = (&'r [Stage], Vec<(&'r str, &'r str)>);

impl Routes {
    /// Creates routes of which each event takes at most one: a route for exactly its topic before one with a
    /// pattern, a more specific pattern before a less specific one, a route for its cache before one for any cache.
    ///
    /// The check compares each destination with each route. Sources of routes bound both numbers by
    /// [`MAX_ROUTES`](crate::limits::MAX_ROUTES) and [`MAX_DESTINATIONS`](crate::limits::MAX_DESTINATIONS).
    ///
    /// # Errors
    /// Returns all ambiguous routes and all cycles.
    pub fn new(routes: Vec<Route>) -> Result<Self, Vec<RouteError>> {
        let mut routes = Self::unchecked(routes);
        routes.back_edges = check::check(&routes)?;
        Ok(routes)
    }

    /// Creates the one route of a function whose webhook has one topic.
    #[must_use]
    pub fn one(destinations: Vec<Destination>) -> Self {
        let inbound = Inbound { cache: None, topics: Topics::Any };
        Self::unchecked(vec![Route::new(inbound, destinations)])
    }

    fn unchecked(routes: Vec<Route>) -> Self {
        let mut order: Vec<_> = routes.iter().map(|route| &route.inbound).enumerate().collect();
        order.sort_by_cached_key(|(_, inbound)| {
            let is_pattern = inbound.topic().is_none();
            (is_pattern, is_pattern.then(|| Reverse(inbound.specificity())), inbound.cache.is_none())
        });
        let (mut exact, mut patterns) = (HashMap::<_, Vec<_>>::new(), Vec::new());
        for (index, inbound) in &order {
            match inbound.topic() {
                Some(topic) => exact.entry(topic.to_owned()).or_default().push(*index),
                None => patterns.push(*index),
            }
        }
        let order = order.into_iter().map(|(index, _)| index).collect();
        let back_edges = vec![Vec::new(); routes.len()];
        Self { all: routes, order, exact, patterns, back_edges }
    }

    /// Returns all routes, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Route] {
        &self.all
    }

    /// Returns the indices of all routes, the most specific first.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Returns the route and the destinations of `event`, or `None` if it has no route.
    ///
    /// # Errors
    /// When the event would come back as another event of the same topic.
    pub fn plan<'r>(&'r self, event: &'r Verified<Event>) -> Result<Option<Plan<'r>>, FeedsItself> {
        let event: &Event = event;
        let Some((index, captures)) = self.find(&event.cache, &event.topic) else { return Ok(None) };
        let plan = Plan::new(self, index, event, captures);
        if plan.known_topics().any(|topic| plan.leads_back(topic)) {
            return Err(FeedsItself);
        }
        Ok(Some(plan))
    }

    /// Returns the transforms that the route of a topic itself names, and its captures; `None` without a route.
    #[must_use]
    pub fn transforms<'t>(&'t self, cache: &str, topic: &'t str) -> Option<RouteTransforms<'t>> {
        let (index, captures) = self.find(cache, topic)?;
        Some((&self.route(index).transforms, captures))
    }

    /// Returns true if a topic leads to a route from which an event of `route` would come back.
    fn takes_back_edge(&self, route: usize, topic: &Topic<'_>) -> bool {
        let is_back = || {
            let next = self.find(&topic.cache, &topic.topic);
            next.is_some_and(|(next, _)| self.is_back_edge(route, next))
        };
        // Most routes have no back edges, and do not need the search.
        self.back_edges.get(route).is_some_and(|edges| !edges.is_empty()) && is_back()
    }

    /// Returns true if events of `route` must not reach `next`.
    fn is_back_edge(&self, route: usize, next: usize) -> bool {
        self.back_edges.get(route).is_some_and(|edges| edges.binary_search(&next).is_ok())
    }

    /// Returns the index of the route for a topic, and its captures.
    fn find<'t>(&'t self, cache: &str, topic: &'t str) -> Option<(usize, Vec<(&'t str, &'t str)>)> {
        let is_for_cache = |index: &&usize| self.route(**index).inbound.is_for_cache(cache);
        if let Some(index) = self.exact.get(topic).and_then(|exact| exact.iter().find(is_for_cache)) {
            return Some((*index, Vec::new()));
        }
        let mut patterns = self.patterns.iter().filter(is_for_cache);
        patterns.find_map(|index| Some((*index, self.route(*index).inbound.captures(topic)?)))
    }

    fn route(&self, index: usize) -> &Route {
        self.all.get(index).expect("an index of these routes")
    }
}

impl Route {
    /// Creates a route, and the tree of the chains of its destinations.
    #[must_use]
    pub fn new(inbound: Inbound, destinations: Vec<Destination>) -> Self {
        let chains = destinations.iter().map(|destination| destination.chain.as_slice());
        let tree = Tree::new(chains.enumerate());
        Self { inbound, transforms: Vec::new(), destinations, tree, requires_token_id: false }
    }

    /// Sets the transforms that the route itself names, which its destinations begin with unless they have their own.
    #[must_use]
    pub fn with_transforms(self, transforms: Vec<Stage>) -> Self {
        Self { transforms, ..self }
    }

    /// Drops events whose publisher has no token id, if `required`.
    #[must_use]
    pub fn with_required_token_id(self, required: bool) -> Self {
        Self { requires_token_id: required, ..self }
    }

    /// Returns true if the route drops events whose publisher has no token id.
    #[must_use]
    pub const fn requires_token_id(&self) -> bool {
        self.requires_token_id
    }

    /// Returns the events that the route is for.
    #[must_use]
    pub const fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// Returns the destinations, in the order of the file.
    #[must_use]
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    fn chain(&self, destination: usize) -> &[Stage] {
        &self.destinations.get(destination).expect("an index of a destination of this route").chain
    }

    /// Returns the transforms of all destinations as a tree.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Inbound {
    /// Returns the names of the captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pattern().into_iter().flat_map(Pattern::names)
    }

    const fn pattern(&self) -> Option<&Pattern> {
        match &self.topics {
            Topics::Any => None,
            Topics::Like(pattern) => Some(pattern),
        }
    }

    /// Returns the topic if the route is for exactly one.
    fn topic(&self) -> Option<&str> {
        self.pattern().and_then(Pattern::exact)
    }

    fn specificity(&self) -> Option<pattern::Specificity> {
        self.pattern().map(Pattern::specificity)
    }

    fn is_for_cache(&self, cache: &str) -> bool {
        self.cache.as_ref().is_none_or(|own| own.as_str() == cache)
    }

    fn captures<'r>(&'r self, topic: &'r str) -> Option<Vec<(&'r str, &'r str)>> {
        match self.pattern() {
            None => Some(Vec::new()),
            Some(pattern) => Some(pattern.names().zip(pattern.find(topic)?).collect()),
        }
    }
}

/// The topics as in the file.
impl fmt::Display for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pattern() {
            None => f.write_str("(any topic)"),
            Some(pattern) => pattern.fmt(f),
        }
    }
}

impl Destination {
    /// Creates a destination for the topic of exactly this name.
    #[must_use]
    pub fn verbatim(cache: Option<&CacheName>, topic: &TopicName, chain: Vec<Stage>) -> Self {
        let cache = cache.map(|cache| Template::verbatim(cache.as_str()));
        let topic = Template::verbatim(topic.as_str());
        Self::new(To::Topic(Outbound { cache, topic, for_each: None }), chain)
    }

    /// Creates a destination.
    #[must_use]
    pub fn new(to: To, chain: Vec<Stage>) -> Self {
        let id = id(&to, &chain);
        Self { to, chain, id }
    }

    /// Returns an id of the destination that is unique in its route and does not depend on the order there: 64
    /// hexadecimal digits. Dead letters, deduplication ids and names of executions depend on it, so it stays the same from
    /// one release to the next.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Returns the SHA-256 of a receiver and its chain in version 1 of their canonical form: the JSON of what a file says,
/// without the settings that have their defaults, and with members in the order of their names. Another form needs another
/// version.
fn id(to: &To, chain: &[Stage]) -> String {
    let to = match to {
        To::Topic(Outbound { cache, topic, for_each }) => {
            let list = for_each.as_ref().map(|for_each| &for_each.list);
            let max_topics = for_each.as_ref().map(|for_each| for_each.max_topics);
            let max_topics = max_topics.filter(|max| *max != ForEach::DEFAULT_MAX_TOPICS);
            let mut to =
                json!({ "topic": topic, "cache": cache, "for_each": list, "max_topics": max_topics });
            to.as_object_mut().expect("it is an object").retain(|_, setting| !setting.is_null());
            to
        }
        To::Service(service_destination) => {
            json!({ service_destination.kind(): service_destination.settings() })
        }
    };
    let transforms: Vec<_> = chain.iter().map(Stage::to_json).collect();
    let mut canonical = json!({ "version": 1, "to": to, "transforms": transforms });
    Value::sort_all_objects(&mut canonical);
    hex::encode(Sha256::digest(canonical.to_string()))
}

impl To {
    /// Returns the topic if it is a topic of Momento.
    #[must_use]
    pub const fn topic(&self) -> Option<&Outbound> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::Service(_) => None,
        }
    }

    /// Returns all templates: the texts that contain fields and captures of the event.
    #[must_use]
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Topic(Outbound { cache, topic, for_each }) => {
                let list = for_each.iter().map(|for_each| &for_each.list);
                std::iter::once(topic).chain(cache).chain(list).collect()
            }
            Self::Service(service_destination) => service_destination.templates(),
        }
    }
}

impl Outbound {
    /// Returns the topic of an event.
    ///
    /// # Errors
    /// If the event lacks a value of a name, or a name is too long.
    fn topic<'v>(&'v self, event: &'v Event, values: &Values<'_>) -> Result<Topic<'v>, RenderError> {
        let cache = match &self.cache {
            Some(cache) => cache.name(values)?,
            None => Cow::Borrowed(event.cache.as_str()),
        };
        Ok(Topic { cache, topic: self.topic.name(values)? })
    }

    /// Returns the names as in the file.
    fn as_written<'e>(&self, event: &'e Event) -> Topic<'e> {
        let own = Cow::Borrowed(event.cache.as_str());
        let cache = self.cache.as_ref().map_or(own, |cache| cache.to_string().into());
        Topic { cache, topic: self.topic.to_string().into() }
    }
}

/// The topic as in the file, or the kind and the name.
impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(Outbound { topic, .. }) => topic.fmt(f),
            Self::Service(service_destination) => {
                write!(
                    f,
                    "{} {}",
                    service_destination.kind(),
                    service_destination.shown(&service_destination.name().to_string())
                )
            }
        }
    }
}

impl<'r> Plan<'r> {
    fn new(routes: &'r Routes, index: usize, event: &'r Event, captures: Vec<(&'r str, &'r str)>) -> Self {
        let route = routes.route(index);
        let destinations =
            route.destinations.iter().map(|destination| planned(destination, event, &captures));
        Self { routes, index, route, event, destinations: destinations.collect(), captures }
    }

    /// Returns the topics that are known before the transforms.
    pub fn known_topics(&self) -> impl Iterator<Item = &Topic<'r>> {
        let both = self.destinations.iter().zip(&self.route.destinations);
        both.filter_map(|(planned, destination)| match (&planned.target, &destination.to) {
            (Target::Topic(topic), To::Topic(Outbound { for_each: None, .. })) => {
                planned.error.is_none().then_some(topic)
            }
            _ => None,
        })
    }

    /// Returns the topics of a destination with `for_each`, in the order of its list. `found` is what the transforms `lookup`
    /// have found.
    ///
    /// # Errors
    /// If the list or a topic is invalid, and if a topic leads back to that of the event.
    pub fn topics_for_each(
        &self,
        outbound: &Outbound,
        for_each: &ForEach,
        found: Option<&str>,
    ) -> Result<Vec<Topic<'static>>, RequestError> {
        let topics = for_each.topics(outbound, Values { found, ..values(self.event, &self.captures) })?;
        if topics.iter().any(|topic| self.leads_back(topic)) {
            return Err(for_each.invalid("has a topic that is that of the event, or leads back to it"));
        }
        Ok(topics)
    }

    /// Returns true if the event would come back from a topic.
    fn leads_back(&self, topic: &Topic<'_>) -> bool {
        let is_own = topic.cache == self.event.cache && topic.topic == self.event.topic;
        is_own || self.routes.takes_back_edge(self.index, topic)
    }

    /// Returns the route of the event.
    #[must_use]
    pub const fn route(&self) -> &'r Route {
        self.route
    }

    /// Returns the destinations. The same event always has the same destinations in the same order.
    #[must_use]
    pub fn destinations(&self) -> &[Planned<'r>] {
        &self.destinations
    }

    /// Returns the receivers of all destinations, in order.
    pub fn into_targets(self) -> impl Iterator<Item = Target<'r>> {
        self.destinations.into_iter().map(|destination| destination.target)
    }

    /// Returns true if the route drops the event, because it requires a token id and the event has none.
    #[must_use]
    pub const fn lacks_token_id(&self) -> bool {
        self.route.requires_token_id && self.event.token_id.is_none()
    }

    /// Returns the text of the event, before all transforms.
    #[must_use]
    pub fn text(&self) -> &'r str {
        &self.event.text
    }

    /// Returns what transforms can read, and the `deadline` that they have.
    #[must_use]
    pub fn context(&self, deadline: Instant) -> Context<'_> {
        Context { event: self.event, captures: &self.captures, document: None, items: None, deadline }
    }

    /// Returns the transforms for the destinations with the indices in `pending`, or for all destinations.
    #[must_use]
    pub fn tree(&self, pending: Option<&[usize]>) -> Cow<'r, Tree> {
        let Some(pending) = pending else { return Cow::Borrowed(&self.route.tree) };
        Cow::Owned(Tree::new(pending.iter().map(|index| (*index, self.route.chain(*index)))))
    }
}

/// Returns the values of names: what is known before the transforms.
fn values<'v>(event: &'v Event, captures: &'v [(&'v str, &'v str)]) -> Values<'v> {
    Values { event, captures, text: &event.text, language: None, document: None, found: None }
}

fn planned<'r>(
    destination: &'r Destination,
    event: &'r Event,
    captures: &[(&'r str, &'r str)],
) -> Planned<'r> {
    let values = values(event, captures);
    let (target, error) = match &destination.to {
        To::Topic(outbound) => match outbound.for_each {
            None => match outbound.topic(event, &values) {
                Ok(topic) => (Target::Topic(topic), None),
                Err(error) => (Target::Topic(outbound.as_written(event)), Some(error)),
            },
            Some(_) => (Target::Topic(outbound.as_written(event)), None),
        },
        To::Service(service_destination) => {
            let (name, error) = match service_destination.name().name(&values) {
                Ok(name) => (name, None),
                Err(error) => (service_destination.name().to_string().into(), Some(error)),
            };
            (
                Target::Service { kind: service_destination.kind(), name: shown(service_destination, name) },
                error,
            )
        }
    };
    Planned { target, error: error.map(RequestError::from) }
}

fn shown<'n>(destination: &ServiceDestination, name: Cow<'n, str>) -> Cow<'n, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(destination.shown(name)),
        Cow::Owned(name) => Cow::Owned(destination.shown(&name).to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::reason::Reason;
    use crate::testing::{event, event_with};
    use crate::transform::Transforms;

    /// A route as (cache, topic) to some (cache, topic).
    pub(crate) fn route(cache: &str, topic: &str, destinations: &[(&str, &str)]) -> Route {
        let cache = (!cache.is_empty()).then(|| CacheName::new(cache).unwrap());
        let inbound = Inbound { cache, topics: Topics::Like(Pattern::new(topic).unwrap()) };
        let destination = |(cache, topic): &(&str, &str)| {
            let to = To::Topic(Outbound {
                cache: (!cache.is_empty()).then(|| Template::new(*cache).unwrap()),
                topic: Template::new(*topic).unwrap(),
                for_each: None,
            });
            Destination::new(to, Vec::new())
        };
        Route::new(inbound, destinations.iter().map(destination).collect())
    }

    /// A changed id here means a changed id of every such destination that is in use.
    #[test]
    fn keeps_ids_from_one_release_to_the_next() {
        let file = r#"
            [[routes]]
            topic = "{room}-in"
            transforms = ["trim", { truncate = { characters = 20 } }]
            destinations = [
                "out",
                { topic = "{room}-out", cache = "{cache}", transforms = [] },
                { topic = "out", transforms = [{ filter = { contains = "a", on_failure = "drop" } }] },
                { topic = "out", transforms = [{ moderate = { mask = "*", deny = ["b", "a"], profane = "severe" } }] },
                { topic = "out", transforms = [{ template = { text = "{text} in {room}", max_bytes = 100 } }, { template = { json = { b = "{text}", a = [1.5] } } }] },
                { topic = "out", transforms = [{ translate = { target = "es", source = "en", formality = "formal" } }] },
                { topic = "out", transforms = [{ pseudolocalize = { target = "es" } }] },
                { topic = "out", transforms = ["echo", "lowercase", "uppercase"] },
                { topic = "out", transforms = [{ json = {
                    pointer = "/m", transforms = ["trim", { moderate = { on_failure = "drop" } }], on_mismatch = "drop",
                    move = { "/a" = "/b" }, drop = ["/c"], set = { "/d" = { e = [1, "{room}"] } } } }] },
                { sqs = { queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/a.fifo", body = "event", group = "{room}",
                          deduplication = "{event_id}", attributes = { room = "{room}" } } },
                { sqs = { queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/a", delay_seconds = 3,
                          body = { b = "text", a = 1, c = { json = "{text}" } } } },
                { eventbridge = { bus = "chat", source = "a", detail_type = "b", detail = { n = { number = "{topic_sequence_number}" } },
                                  resources = ["arn:{room}"] } },
                { dynamodb = { table = "table", key = { id = "{event_id}" }, item = { text = "{text}", on = true, n = 1.5 } } },
                { dynamodb = { table = "table", key = { id = "{event_id}" }, item = {}, unless_exists = false } },
                { dynamodb = { table = "table", key = { id = "{room}" }, update = { set = { j = { json = "{text}" } }, add = { n = 1 } } } },
                { step_functions = { state_machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:m", name = "{event_id}",
                                     input = "text" } },
                { list = { key = "{room}", value = "{token_id}", end = "front", max_length = 3, ttl_seconds = 60 } },
                { dictionary = { key = "{room}", field = "{token_id}", increment = 2, refresh_ttl = false } },
                { item = { cache = "{room}", key = "a", unless_exists = true } },
                { counter = { key = "a", increment = 2 } },
                { set = { key = "a", element = "{token_id}" } },
                { topic = "{each}", for_each = "{json.rooms}", max_topics = 7 },
            ]
        "#;
        let ids: Vec<_> = ids(file).into_iter().map(|id| id.get(..16).unwrap().to_owned()).collect();
        let expected = [
            "ff771562916922c6",
            "7d93a61cf53d2d52",
            "71ed781bf23dafee",
            "552a263e75976297",
            "f8893ee20c1067cb",
            "4ca1900f7f35f600",
            "63438193b1f2b3d3",
            "dc34e8609acc9ea5",
            "184c1857abb7751b",
            "75fcf5288f8205f5",
            "8c7797c18972897b",
            "14dfb6bc99ddbaa9",
            "917082433b2b8754",
            "29da04c8cf1df6bb",
            "76ebfd96361b8711",
            "fd0956d67537990a",
            "546d43dacd52241b",
            "437ae1dc1a92d423",
            "f1cbc7802e867e0f",
            "48d1764e30e8705f",
            "c058069ecd7dd348",
            "b6d5b073a98844a7",
        ];
        assert_eq!(ids, expected);
    }

    fn ids(file: &str) -> Vec<String> {
        let transforms =
            Transforms::standard().with_translator(std::sync::Arc::new(crate::transform::Pseudolocalizer));
        let routes = crate::file::read(file, &transforms, crate::destination::KINDS).unwrap();
        routes.all()[0].destinations().iter().map(|one| one.id().to_owned()).collect()
    }

    #[test]
    fn id_depends_on_settings_and_not_on_their_order_or_explicit_defaults() {
        let ids = |destination: &str| {
            ids(&format!("[[routes]]\ntopic = 'in'\ndestinations = [{{ {destination} }}]")).remove(0)
        };
        for (one, other) in [
            (
                "topic = 'a', transforms = [{ filter = { contains = 'a', not = true } }]",
                "topic = 'a', transforms = [{ filter = { not = true, contains = 'a' } }]",
            ),
            (
                "topic = 'a', transforms = ['trim']",
                "topic = 'a', transforms = [{ trim = { on_failure = 'fail' } }]",
            ),
            ("sqs = { queue = 'https://q/a', body = 'text' }", "sqs = { queue = 'https://q/a' }"),
            ("eventbridge = { bus = 'default', source = 'Momento', detail = 'event' }", "eventbridge = {}"),
            (
                "step_functions = { input = 'event', state_machine = 'arn:a' }",
                "step_functions = { state_machine = 'arn:a' }",
            ),
            (
                "list = { key = 'k', value = '{text}', end = 'back', ttl_seconds = 86400, refresh_ttl = true }",
                "list = { key = 'k' }",
            ),
            ("counter = { increment = 1, key = 'k' }", "counter = { key = 'k' }"),
            (
                "topic = '{each}', for_each = '{json.a}', max_topics = 100",
                "for_each = '{json.a}', topic = '{each}'",
            ),
            (
                "dynamodb = { table = 'table', key = { a = 1 }, item = {}, unless_exists = true }",
                "dynamodb = { item = {}, key = { a = 1 }, table = 'table' }",
            ),
        ] {
            assert_eq!(ids(one), ids(other), "{one} {other}");
        }
        let differ = [
            "topic = 'a'",
            "topic = 'a', cache = 'b'",
            "topic = '{each}', for_each = '{json.a}'",
            "topic = '{each}', for_each = '{json.b}'",
            "topic = '{each}', for_each = '{json.a}', max_topics = 7",
            "topic = 'a', transforms = ['trim']",
            "topic = 'a', transforms = [{ trim = { on_failure = 'drop' } }]",
            "sqs = { queue = 'https://q/a' }",
            "sqs = { queue = 'https://q/a', body = {} }",
        ];
        let unique: std::collections::HashSet<_> =
            differ.iter().map(|destination| ids(destination)).collect();
        assert_eq!(unique.len(), differ.len());
    }

    fn topics(plan: &Plan<'_>) -> Vec<(String, String)> {
        let topics = plan.destinations().iter().filter_map(|planned| planned.target.topic());
        topics.map(|topic| (topic.cache.to_string(), topic.topic.to_string())).collect()
    }

    fn goes_to(routes: &Routes, event: &Verified<Event>) -> Option<Vec<(String, String)>> {
        routes.plan(event).unwrap().as_ref().map(topics)
    }

    fn first(routes: &Routes, cache: &str, topic: &str) -> Option<String> {
        goes_to(routes, &event(cache, topic, 1)).map(|topics| topics[0].1.clone())
    }

    #[test]
    fn destination_is_in_its_cache_or_in_cache_of_event() {
        let routes = Routes::new(vec![route("", "in", &[("", "a"), ("other", "b")])]).unwrap();
        let expected = [("chat", "a"), ("other", "b")].map(|(cache, topic)| (cache.into(), topic.into()));
        assert_eq!(goes_to(&routes, &event("chat", "in", 1)).unwrap(), expected);
    }

    #[test]
    fn event_without_route_has_no_plan() {
        let routes = Routes::new(vec![route("chat", "in", &[("", "out")])]).unwrap();
        assert!(goes_to(&routes, &event("chat", "in", 1)).is_some());
        assert!(goes_to(&routes, &event("chat", "elsewhere", 1)).is_none());
        assert!(goes_to(&routes, &event("elsewhere", "in", 1)).is_none());
    }

    #[test]
    fn takes_most_specific_route() {
        // The first route feeds itself for some caches. This test does not publish.
        let routes = Routes::unchecked(vec![
            route("", "{any}", &[("z", "any")]),
            route("", "{room}-publish", &[("z", "pattern")]),
            route("chat", "{room}-publish", &[("z", "pattern, chat")]),
            route("", "vip-{room}-publish", &[("z", "more specific pattern")]),
            route("", "vip-1-publish", &[("z", "exact")]),
            route("chat", "vip-1-publish", &[("z", "exact, chat")]),
        ]);
        for (cache, topic, taken) in [
            ("chat", "vip-1-publish", "exact, chat"),
            ("c", "vip-1-publish", "exact"),
            ("chat", "vip-2-publish", "more specific pattern"),
            ("chat", "a-publish", "pattern, chat"),
            ("c", "a-publish", "pattern"),
            ("c", "-publish", "any"),
        ] {
            assert_eq!(first(&routes, cache, topic).as_deref(), Some(taken), "{cache} {topic}");
        }
    }

    #[test]
    fn orders_routes_from_most_to_least_specific() {
        let routes = Routes::unchecked(vec![
            route("", "{any}", &[]),
            route("", "b", &[]),
            route("", "{any}-publish", &[]),
            route("", "a", &[]),
            route("chat", "b", &[]),
            route("chat", "{any}", &[]),
        ]);
        assert_eq!(routes.order(), [4, 1, 3, 2, 5, 0]);
    }

    #[test]
    fn fills_names_with_captures_and_fields() {
        let to = [("{cache}-2", "{room}/{token_id}/{topic_sequence_number}/{topic}")];
        let routes = Routes::unchecked(vec![route("", "{room}-publish", &to)]);
        let event = event_with("chat", "a-b-publish", 7, |event| event.token_id = Some("mo".into()));
        let expected = ("chat-2".to_owned(), "a-b/mo/7/a-b-publish".to_owned());
        assert_eq!(goes_to(&routes, &event).unwrap(), [expected]);
    }

    #[test]
    fn destination_with_missing_field_keeps_its_template() {
        let routes = Routes::new(vec![route("", "in", &[("", "for-{token_id}"), ("", "out")])]).unwrap();
        let event = event("chat", "in", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        let errors: Vec<_> = plan.destinations().iter().map(|planned| planned.error.clone()).collect();
        assert_eq!(errors, [Some(RequestError::Missing("token_id".into())), None]);
        assert_eq!(plan.destinations()[0].target.to_string(), "for-{token_id}");
    }

    #[test]
    fn makes_names_of_the_text_as_it_was_sent() {
        let routes =
            Routes::new(vec![route("", "in", &[("{json.c | default('main')}", "to-{json.to | lower}")])]);
        let routes = routes.unwrap();
        let named = |text: &str| {
            let event = event_with("chat", "in", 1, |event| event.text = text.to_owned());
            let plan = routes.plan(&event).unwrap().unwrap();
            (plan.destinations()[0].target.to_string(), plan.destinations()[0].error.clone())
        };
        assert_eq!(named(r#"{"to":"Mo"}"#), ("to-mo".to_owned(), None));
        assert_eq!(named("{}").1, Some(RequestError::Missing("json.to".into())));
        let not_json = "json.to: its text is not JSON";
        assert_eq!(named("hello").1, Some(RequestError::Missing(not_json.into())));
        let (_, error) = named(&format!(r#"{{"to":"{}"}}"#, "x".repeat(1_022)));
        assert!(matches!(error, Some(RequestError::Refused { reason: Reason::TooLarge, .. })), "{error:?}");
    }

    #[test]
    fn refuses_an_event_whose_text_leads_back() {
        let routes = Routes::new(vec![route("", "{room}-in", &[("", "{json.to}")])]).unwrap();
        for (text, leads_back) in [(r#"{"to":"a-in"}"#, true), (r#"{"to":"a-out"}"#, false), ("{}", false)] {
            let event = event_with("chat", "b-in", 1, |event| event.text = text.to_owned());
            assert_eq!(routes.plan(&event).is_err(), leads_back, "{text}");
        }
    }

    #[test]
    fn rejects_event_whose_destination_is_its_own_topic() {
        let one = |cache: Option<&str>, topic: &str| {
            let cache = cache.map(|name| CacheName::new(name).unwrap());
            let topic = TopicName::new(topic).unwrap();
            Routes::one(vec![Destination::verbatim(cache.as_ref(), &topic, Vec::new())])
        };
        let event = event("chat", "{in}", 1);
        assert_eq!(one(None, "{in}").plan(&event).unwrap_err(), FeedsItself);
        assert_eq!(one(Some("chat"), "{in}").plan(&event).unwrap_err(), FeedsItself);
        assert!(one(Some("other"), "{in}").plan(&event).is_ok());
        assert!(one(None, "in").plan(&event).is_ok());
    }

    #[test]
    fn second_delivery_has_only_pending_transforms() {
        let chain = |list| crate::transform::tests::stages(list);
        let to = |name: &str, chain| Destination::verbatim(None, &TopicName::new(name).unwrap(), chain);
        let routes = Routes::one(vec![
            to("a", chain("['trim']")),
            to("b", chain("['uppercase']")),
            to("c", Vec::new()),
        ]);
        let event = event("chat", "in", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        assert_eq!((plan.tree(None).transforms(), plan.tree(None).indexes().len()), (2, 3));
        let tree = plan.tree(Some(&[1]));
        assert_eq!((tree.transforms(), tree.indexes()), (1, vec![1]));
    }
}
