//! Where an event goes.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`pattern`] | topics with holes in them: which they are, and what they become |
//! | [`check`] | routes that cannot be used together: ambiguous ones, and those that go round |

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use momento_webhook::{Event, Verified};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::destination::aws::short;
use crate::destination::{AwsDestination, Target, Topic};
use crate::names::{CacheName, TopicName};
use crate::transform::{Context, Stage, Tree};

pub mod check;
pub mod pattern;

pub use check::{RouteError, Way};
pub use pattern::{Pattern, Template};

/// The fields of an event that the names of destinations can be made of.
pub const FIELDS: [&str; 4] = ["cache", "topic", "token_id", "topic_sequence_number"];

/// All routes of a function.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    all: Vec<Route>,
    /// The routes of one topic, by its name; those for one cache before those for all.
    exact: HashMap<String, Vec<usize>>,
    /// The others, the closest first.
    patterns: Vec<usize>,
    /// Which of them may be for a topic.
    index: check::Index,
    /// The ways that events must not take.
    guards: check::Guards,
}

/// Which events, what is done to them, and where they go.
#[derive(Clone, Debug)]
pub struct Route {
    inbound: Inbound,
    destinations: Vec<Destination>,
    tree: Tree,
}

/// Which events take a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Those of this cache; else of any.
    pub cache: Option<CacheName>,
    /// Those of these topics.
    pub topics: Topics,
}

/// Which topics a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// All of them: the function's webhook belongs to one topic, and the settings name only where its events
    /// go.
    Any,
    /// Those that are like this.
    Like(Pattern),
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Where to.
    pub to: To,
    /// What is done to a text, in order.
    pub chain: Vec<Stage>,
}

/// Where a text goes.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// To a topic of Momento.
    Topic(Outbound),
    /// To a place of Amazon Web Services.
    Aws(Box<AwsDestination>),
}

/// A topic of Momento, as a route names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The cache to publish in; else the event's own.
    pub cache: Option<Template>,
    /// The topic to publish to.
    pub topic: Template,
}

/// A route that would lead an event back to where it came from, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one of the event's destinations is its own topic, or leads back to it")]
pub struct FeedsItself;

/// What becomes of one event.
#[derive(Debug)]
pub struct Plan<'r> {
    route: &'r Route,
    event: &'r Event,
    captures: Vec<(&'r str, &'r str)>,
    destinations: Vec<Planned<'r>>,
}

/// One destination of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned<'r> {
    /// Where to.
    pub target: Target<'r>,
    /// The field that the event would have to have, and has not, for the name to be made. `target` is then as
    /// the route has it.
    pub missing: Option<String>,
}

impl Routes {
    /// Routes of which every event takes one at most: that for its very topic before those with a pattern,
    /// a closer pattern before one that is less close, one for its cache before one for all.
    ///
    /// # Errors
    /// When it is not clear which of two routes an event would take, or events would go round for ever.
    pub fn new(routes: Vec<Route>) -> Result<Self, Vec<RouteError>> {
        let mut routes = Self::unchecked(routes);
        routes.guards = check::check(&routes)?;
        Ok(routes)
    }

    /// The one route of a function whose webhook belongs to one topic.
    #[must_use]
    pub fn one(destinations: Vec<Destination>) -> Self {
        let inbound = Inbound { cache: None, topics: Topics::Any };
        Self::unchecked(vec![Route::new(inbound, destinations)])
    }

    fn unchecked(routes: Vec<Route>) -> Self {
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        let mut patterns = Vec::new();
        for (place, route) in routes.iter().enumerate() {
            match route.inbound.topic() {
                Some(topic) => exact.entry(topic.to_owned()).or_default().push(place),
                None => patterns.push((route.inbound.closeness(), place)),
            }
        }
        let is_for_all =
            |place: &usize| routes.get(*place).is_some_and(|route| route.inbound.cache.is_none());
        for places in exact.values_mut() {
            places.sort_by_key(is_for_all);
        }
        patterns.sort_by_key(|(closeness, place)| (Reverse(*closeness), is_for_all(place)));
        let patterns: Vec<_> = patterns.into_iter().map(|(_, place)| place).collect();
        let index = check::Index::new(&routes, &patterns);
        Self { all: routes, exact, patterns, index, guards: check::Guards::default() }
    }

    /// All of them, in the order in which they were given.
    #[must_use]
    pub fn all(&self) -> &[Route] {
        &self.all
    }

    /// The places of all routes in the order in which they are tried: first those for one topic each, of which
    /// only those for the same topic stand in each other's way, then the patterns.
    #[must_use]
    pub fn tried(&self) -> Vec<usize> {
        let mut exact: Vec<_> = self.exact.values().collect();
        exact.sort_by_key(|places| places.iter().min());
        exact.into_iter().flatten().chain(&self.patterns).copied().collect()
    }

    /// What becomes of `event`; nothing, where no route is for it.
    ///
    /// # Errors
    /// When the event would come back as another event of the same topic.
    pub fn plan<'r>(&'r self, event: &'r Verified<Event>) -> Result<Option<Plan<'r>>, FeedsItself> {
        let event: &Event = event;
        let Some((place, captures)) = self.find(&event.cache, &event.topic) else { return Ok(None) };
        let route = self.all.get(place).expect("a route that was found is there");
        let plan = Plan::new(route, event, captures);
        let comes_back =
            plan.destinations.iter().any(|destination| destination.is(&event.cache, &event.topic));
        if comes_back || self.goes_round(place, &plan) {
            return Err(FeedsItself);
        }
        Ok(Some(plan))
    }

    /// Whether the event has something in it that leads to a route from where it would come back.
    fn goes_round(&self, place: usize, plan: &Plan<'_>) -> bool {
        self.guards.of(place).iter().any(|watched| {
            let planned = plan.destinations.get(watched.destination);
            let planned = planned.filter(|planned| planned.missing.is_none());
            let topic = planned.and_then(|planned| planned.target.topic());
            let next = topic.and_then(|topic| self.find(&topic.cache, &topic.topic));
            next.is_some_and(|(next, _)| self.guards.forbid(place, watched, next))
        })
    }

    /// The place of the route that events of this topic take, and what its captures are for it.
    fn find<'t>(&'t self, cache: &str, topic: &'t str) -> Option<(usize, Vec<(&'t str, &'t str)>)> {
        let inbound = |place: usize| {
            self.all.get(place).map(|route| &route.inbound).filter(|inbound| inbound.is_for_cache(cache))
        };
        let exact = self.exact.get(topic).map_or(&[][..], Vec::as_slice);
        if let Some(place) = exact.iter().find(|place| inbound(**place).is_some()) {
            return Some((*place, Vec::new()));
        }
        self.patterns.iter().find_map(|place| Some((*place, inbound(*place)?.captures(topic)?)))
    }
}

impl Route {
    /// A route from one place to some others.
    #[must_use]
    pub fn new(inbound: Inbound, destinations: Vec<Destination>) -> Self {
        let chains = destinations.iter().map(|destination| destination.chain.as_slice());
        let tree = Tree::new(chains.enumerate());
        Self { inbound, destinations, tree }
    }

    /// Which events take it.
    #[must_use]
    pub const fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// Where they go, in the order in which it was given.
    #[must_use]
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// What is done on the way.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Inbound {
    /// The names of what the topic is made of.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pattern().into_iter().flat_map(Pattern::names)
    }

    const fn pattern(&self) -> Option<&Pattern> {
        match &self.topics {
            Topics::Any => None,
            Topics::Like(pattern) => Some(pattern),
        }
    }

    /// The one topic that it is for, where it is one.
    fn topic(&self) -> Option<&str> {
        self.pattern().and_then(Pattern::exact)
    }

    fn closeness(&self) -> Option<pattern::Closeness> {
        self.pattern().map(Pattern::closeness)
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

/// The topics, as a file gives them.
impl fmt::Display for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pattern() {
            None => f.write_str("(any topic)"),
            Some(pattern) => pattern.fmt(f),
        }
    }
}

impl Destination {
    /// This topic, by its very name.
    #[must_use]
    pub fn verbatim(cache: Option<&CacheName>, topic: &TopicName, chain: Vec<Stage>) -> Self {
        let cache = cache.map(|cache| Template::verbatim(cache.as_str()));
        let topic = Template::verbatim(topic.as_str());
        Self { to: To::Topic(Outbound { cache, topic }), chain }
    }

    /// What tells it from the other destinations of its route, and is the same wherever it stands in it: a hash of
    /// what is done to a text and of where that goes, as 64 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let stages = self.chain.iter().map(Stage::to_string);
        let mut hash = Sha256::new();
        for part in stages.chain([format!("{:?}", self.to)]) {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize())
    }
}

impl To {
    /// The topic, where it is one.
    #[must_use]
    pub const fn topic(&self) -> Option<&Outbound> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::Aws(_) => None,
        }
    }

    /// All that is made of an event's fields and captures.
    #[must_use]
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Topic(Outbound { cache, topic }) => std::iter::once(topic).chain(cache).collect(),
            Self::Aws(aws_destination) => aws_destination.templates(),
        }
    }
}

/// As a file gives it: the topic, or the kind and the name.
impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(Outbound { topic, .. }) => topic.fmt(f),
            Self::Aws(aws_destination) => {
                write!(f, "{} {}", aws_destination.kind(), short(&aws_destination.name().to_string()))
            }
        }
    }
}

impl<'r> Plan<'r> {
    fn new(route: &'r Route, event: &'r Event, captures: Vec<(&'r str, &'r str)>) -> Self {
        let destinations =
            route.destinations.iter().map(|destination| planned(destination, event, &captures));
        Self { route, event, destinations: destinations.collect(), captures }
    }

    /// The route that the event takes.
    #[must_use]
    pub const fn route(&self) -> &'r Route {
        self.route
    }

    /// Where it goes. The same event has the same destinations in the same order, every time.
    #[must_use]
    pub fn destinations(&self) -> &[Planned<'r>] {
        &self.destinations
    }

    /// What its destinations are called, in their order.
    pub fn into_targets(self) -> impl Iterator<Item = Target<'r>> {
        self.destinations.into_iter().map(|destination| destination.target)
    }

    /// The text as it was sent.
    #[must_use]
    pub fn text(&self) -> &'r str {
        &self.event.text
    }

    /// What transforms may know, which have until `deadline`.
    #[must_use]
    pub fn context(&self, deadline: Instant) -> Context<'_> {
        Context { event: self.event, captures: &self.captures, document: None, deadline }
    }

    /// What is to be done for the destinations at the places in `pending`, or for all.
    #[must_use]
    pub fn tree(&self, pending: Option<&[usize]>) -> Cow<'r, Tree> {
        let Some(pending) = pending else { return Cow::Borrowed(&self.route.tree) };
        let chain = |index: &usize| {
            let destination = self.route.destinations.get(*index).expect("the index is of this plan");
            (*index, destination.chain.as_slice())
        };
        Cow::Owned(Tree::new(pending.iter().map(chain)))
    }
}

impl Planned<'_> {
    fn is(&self, cache: &str, topic: &str) -> bool {
        let is = |target: &Topic<'_>| target.cache == cache && target.topic == topic;
        self.missing.is_none() && self.target.topic().is_some_and(is)
    }
}

fn planned<'r>(
    destination: &'r Destination,
    event: &'r Event,
    captures: &[(&'r str, &'r str)],
) -> Planned<'r> {
    let value = |name: &str| -> Option<Cow<'r, str>> {
        match name {
            "cache" => Some(Cow::Borrowed(event.cache.as_str())),
            "topic" => Some(Cow::Borrowed(event.topic.as_str())),
            "token_id" => event.token_id.as_deref().map(Cow::Borrowed),
            "topic_sequence_number" => Some(Cow::Owned(event.topic_sequence_number.to_string())),
            _ => captures.iter().find(|(known, _)| *known == name).map(|(_, text)| Cow::Borrowed(*text)),
        }
    };
    let (target, missing) = match &destination.to {
        To::Topic(Outbound { cache, topic }) => {
            let cache_name = match cache {
                None => Ok(Cow::Borrowed(event.cache.as_str())),
                Some(cache) => cache.render(value),
            };
            match (cache_name, topic.render(value)) {
                (Ok(cache), Ok(topic)) => (Target::Topic(Topic { cache, topic }), None),
                (Err(missing), _) | (_, Err(missing)) => {
                    let cache = match cache {
                        None => Cow::Borrowed(event.cache.as_str()),
                        Some(cache) => Cow::Owned(cache.to_string()),
                    };
                    let topic = Topic { cache, topic: Cow::Owned(topic.to_string()) };
                    (Target::Topic(topic), Some(missing.name))
                }
            }
        }
        To::Aws(aws_destination) => {
            let (name, missing) = match aws_destination.name().render(value) {
                Ok(name) => (name, None),
                Err(missing) => (Cow::Owned(aws_destination.name().to_string()), Some(missing.name)),
            };
            (Target::Aws { kind: aws_destination.kind(), name: shortened(name) }, missing)
        }
    };
    Planned { target, missing }
}

fn shortened(name: Cow<'_, str>) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(short(name)),
        Cow::Owned(name) => Cow::Owned(short(&name).to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{event, event_with};

    /// A route as (cache, topic) to some (cache, topic).
    pub(crate) fn route(cache: &str, topic: &str, destinations: &[(&str, &str)]) -> Route {
        let cache = (!cache.is_empty()).then(|| CacheName::new(cache).unwrap());
        let inbound = Inbound { cache, topics: Topics::Like(Pattern::new(topic).unwrap()) };
        let destination = |(cache, topic): &(&str, &str)| Destination {
            to: To::Topic(Outbound {
                cache: (!cache.is_empty()).then(|| Template::new(*cache).unwrap()),
                topic: Template::new(*topic).unwrap(),
            }),
            chain: Vec::new(),
        };
        Route::new(inbound, destinations.iter().map(destination).collect())
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
    fn destinations_are_in_the_events_own_cache_or_the_one_that_is_set() {
        let routes = Routes::new(vec![route("", "in", &[("", "a"), ("other", "b")])]).unwrap();
        let expected = [("chat", "a"), ("other", "b")].map(|(cache, topic)| (cache.into(), topic.into()));
        assert_eq!(goes_to(&routes, &event("chat", "in", 1)).unwrap(), expected);
    }

    #[test]
    fn an_event_without_a_route_goes_nowhere() {
        let routes = Routes::new(vec![route("chat", "in", &[("", "out")])]).unwrap();
        assert!(goes_to(&routes, &event("chat", "in", 1)).is_some());
        assert!(goes_to(&routes, &event("chat", "elsewhere", 1)).is_none());
        assert!(goes_to(&routes, &event("elsewhere", "in", 1)).is_none());
    }

    #[test]
    fn the_closest_route_is_taken() {
        // Events of the first would go round, but none does here.
        let routes = Routes::unchecked(vec![
            route("", "{any}", &[("z", "any")]),
            route("", "{room}-publish", &[("z", "pattern")]),
            route("chat", "{room}-publish", &[("z", "pattern, chat")]),
            route("", "vip-{room}-publish", &[("z", "closer pattern")]),
            route("", "vip-1-publish", &[("z", "exact")]),
            route("chat", "vip-1-publish", &[("z", "exact, chat")]),
        ]);
        for (cache, topic, taken) in [
            ("chat", "vip-1-publish", "exact, chat"),
            ("c", "vip-1-publish", "exact"),
            ("chat", "vip-2-publish", "closer pattern"),
            ("chat", "a-publish", "pattern, chat"),
            ("c", "a-publish", "pattern"),
            ("c", "-publish", "any"),
        ] {
            assert_eq!(first(&routes, cache, topic).as_deref(), Some(taken), "{cache} {topic}");
        }
    }

    #[test]
    fn routes_are_tried_from_the_closest_to_the_least_close() {
        let routes = Routes::unchecked(vec![
            route("", "{any}", &[]),
            route("", "b", &[]),
            route("", "{any}-publish", &[]),
            route("", "a", &[]),
            route("chat", "b", &[]),
            route("chat", "{any}", &[]),
        ]);
        assert_eq!(routes.tried(), [4, 1, 3, 2, 5, 0]);
    }

    #[test]
    fn names_are_made_of_captures_and_fields() {
        let to = [("{cache}-2", "{room}/{token_id}/{topic_sequence_number}/{topic}")];
        let routes = Routes::unchecked(vec![route("", "{room}-publish", &to)]);
        let event = event_with("chat", "a-b-publish", 7, |event| event.token_id = Some("mo".into()));
        let expected = ("chat-2".to_owned(), "a-b/mo/7/a-b-publish".to_owned());
        assert_eq!(goes_to(&routes, &event).unwrap(), [expected]);
    }

    #[test]
    fn what_an_event_does_not_have_makes_no_name() {
        let routes = Routes::new(vec![route("", "in", &[("", "for-{token_id}"), ("", "out")])]).unwrap();
        let event = event("chat", "in", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        let missing: Vec<_> = plan.destinations().iter().map(|planned| planned.missing.as_deref()).collect();
        assert_eq!(missing, [Some("token_id"), None]);
        assert_eq!(plan.destinations()[0].target.to_string(), "for-{token_id}");
    }

    #[test]
    fn no_event_comes_back_to_its_own_topic() {
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
    fn a_second_delivery_does_only_what_is_left_to_do() {
        let chain = |list| crate::transform::tests::stages(list);
        let to = |name: &str, chain| Destination::verbatim(None, &TopicName::new(name).unwrap(), chain);
        let routes = Routes::one(vec![
            to("a", chain("['trim']")),
            to("b", chain("['uppercase']")),
            to("c", Vec::new()),
        ]);
        let event = event("chat", "in", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        assert_eq!((plan.tree(None).transforms(), plan.tree(None).places().len()), (2, 3));
        let tree = plan.tree(Some(&[1]));
        assert_eq!((tree.transforms(), tree.places()), (1, vec![1]));
    }
}
