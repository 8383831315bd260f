//! Routes that cannot be used together.
//!
//! A destination leads to a route when events published there would take it. Whether it does can depend on what
//! an event has in its fields and captures: `for-{token_id}` leads to `{room}-publish` when somebody is called
//! `mo-publish`. Routes that go round whatever events have in them are refused at load. Ways that close a
//! round only for some events are remembered, and these events are refused when they come.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::pattern::{Pattern, Shape};
use super::{Destination, Inbound, Route, Routes, Topics};

/// Something wrong with routes. They are named by their places in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// Both are for the same topics of the same caches, and neither is closer.
    Ambiguous {
        /// The one that comes first.
        first: usize,
        /// The other.
        second: usize,
    },
    /// Events would go round for ever.
    Round(
        /// The destinations that they would go by, in order; the last leads back to the route of the first.
        Vec<Way>,
    ),
}

/// A way out of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The place of the route.
    pub route: usize,
    /// The place of the destination in it.
    pub destination: usize,
}

/// The ways that close a round for some events only.
#[derive(Clone, Debug, Default)]
pub(super) struct Guards {
    /// For each route, the destinations to look at.
    watched: HashMap<usize, Vec<Watched>>,
    /// For each route, the group of routes that lead to one another, if only for some events.
    groups: Vec<usize>,
}

/// A destination that must lead to no route of its own route's group, but to these.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) destination: usize,
    /// It leads there whatever an event has in it: that has been looked at before.
    always: Vec<usize>,
}

impl Guards {
    /// The destinations of a route that are to be looked at.
    pub(super) fn of(&self, route: usize) -> &[Watched] {
        self.watched.get(&route).map_or(&[], Vec::as_slice)
    }

    /// Whether an event must not go from `route` to `next` by this destination.
    pub(super) fn forbid(&self, route: usize, watched: &Watched, next: usize) -> bool {
        self.groups.get(route) == self.groups.get(next) && !watched.always.contains(&next)
    }
}

/// The routes by what their topics begin and end with. Without it every destination would be held against every
/// route, and with thousands of both that is most of a start.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Those for any topic.
    any: Vec<usize>,
    /// The others, by either end.
    by_head: Sorted,
    by_tail: Sorted,
    /// When each is tried, of those that have no topic of their own.
    ranks: HashMap<usize, usize>,
}

/// Places of routes, in the order of what their topics have at one end.
#[derive(Clone, Debug, Default)]
struct Sorted {
    places: Vec<usize>,
    /// How many bytes that are: each number once.
    lengths: Vec<usize>,
}

/// Where a topic is looked at. From its tail it is read backwards.
#[derive(Clone, Copy, Debug)]
enum End {
    Head,
    Tail,
}

impl Index {
    /// `patterns` are those that have no topic of their own, in the order in which they are tried.
    pub(super) fn new(routes: &[Route], patterns: &[usize]) -> Self {
        let (like, any): (Vec<_>, Vec<_>) =
            (0..routes.len()).partition(|place| shape(routes, *place).is_some());
        let [by_head, by_tail] = [End::Head, End::Tail].map(|end| Sorted::new(end, routes, like.clone()));
        let ranks = patterns.iter().enumerate().map(|(rank, place)| (*place, rank)).collect();
        Self { any, by_head, by_tail, ranks }
    }

    fn rank(&self, place: usize) -> Option<usize> {
        self.ranks.get(&place).copied()
    }

    /// The places of all routes that may be for topics of this shape, and of some that are not, in their order.
    fn candidates(&self, routes: &[Route], topic: &Shape) -> Vec<usize> {
        let heads = self.by_head.around(End::Head, routes, topic);
        let tails = self.by_tail.around(End::Tail, routes, topic);
        let count = |runs: &[&[usize]]| runs.iter().map(|run| run.len()).sum::<usize>();
        let mut places = if count(&tails) < count(&heads) { tails.concat() } else { heads.concat() };
        places.extend(&self.any);
        places.sort_unstable();
        places
    }
}

impl Sorted {
    fn new(end: End, routes: &[Route], mut places: Vec<usize>) -> Self {
        places.sort_by(|one, other| end.compare(end.of(routes, *one), end.of(routes, *other)));
        let mut lengths: Vec<_> = places.iter().map(|place| end.of(routes, *place).len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self { places, lengths }
    }

    /// Those that have at this end what a topic has there, or more of it, or less.
    fn around(&self, end: End, routes: &[Route], topic: &Shape) -> Vec<&[usize]> {
        let text = end.of_shape(topic);
        let run = |text: &str, is_in: fn(End, &str, &str) -> bool| {
            let start =
                self.places.partition_point(|place| end.compare(end.of(routes, *place), text).is_lt());
            let behind = self.places.get(start..).unwrap_or_default();
            let count = behind.partition_point(|place| is_in(end, end.of(routes, *place), text));
            behind.get(..count).unwrap_or_default()
        };
        let shorter = self.lengths.iter().take_while(|length| **length < text.len());
        let shorter = shorter.filter_map(|length| end.part(text, *length));
        let less = shorter.map(|part| run(part, |_, text, part| text == part));
        less.chain([run(text, End::begins)]).collect()
    }
}

impl End {
    fn of(self, routes: &[Route], place: usize) -> &str {
        shape(routes, place).map_or("", |shape| self.of_shape(shape))
    }

    fn of_shape(self, shape: &Shape) -> &str {
        match self {
            Self::Head => shape.head(),
            Self::Tail => shape.tail(),
        }
    }

    fn compare(self, one: &str, other: &str) -> Ordering {
        match self {
            Self::Head => one.cmp(other),
            Self::Tail => one.bytes().rev().cmp(other.bytes().rev()),
        }
    }

    fn begins(self, text: &str, part: &str) -> bool {
        match self {
            Self::Head => text.starts_with(part),
            Self::Tail => text.ends_with(part),
        }
    }

    /// So many bytes of a text, where that is between two characters.
    fn part(self, text: &str, length: usize) -> Option<&str> {
        match self {
            Self::Head => text.get(..length),
            Self::Tail => text.get(text.len().checked_sub(length)?..),
        }
    }
}

fn shape(routes: &[Route], place: usize) -> Option<&Shape> {
    routes.get(place).and_then(|route| route.inbound.pattern()).map(Pattern::shape)
}

/// A text that no route names, for what an event has in a field: what it leads to, it leads to whatever
/// there is.
const ANYTHING: &str = "\u{10fffd}";

/// The ways that have to be watched.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn check(routes: &Routes) -> Result<Guards, Vec<RouteError>> {
    let mut ambiguous = ambiguous(routes);
    ambiguous.sort_by_key(|(first, second)| (*second, *first));
    // One is enough to say that a route cannot stay as it is.
    ambiguous.dedup_by_key(|(_, second)| *second);
    let ambiguous = ambiguous.into_iter().map(|(first, second)| RouteError::Ambiguous { first, second });

    let mut ways = Ways::new(routes);
    let guards = ways.take_guarded();
    let rounds = Rounds::find(&ways).into_iter().map(RouteError::Round);
    let errors: Vec<_> = ambiguous.chain(rounds).collect();
    if errors.is_empty() { Ok(guards) } else { Err(errors) }
}

/// The pairs of routes of which it is not clear which one an event takes, the first given one first.
fn ambiguous(routes: &Routes) -> Vec<(usize, usize)> {
    let inbound = |place: usize| routes.all.get(place).map(|route| &route.inbound);
    let mut pairs = Vec::new();
    let mut compare = |one: usize, other: usize| {
        let (Some(a), Some(b)) = (inbound(one), inbound(other)) else { return };
        if a.cache == b.cache && may_be_alike(&a.topics, &b.topics) {
            pairs.push((one.min(other), one.max(other)));
        }
    };
    for places in routes.exact.values() {
        for (place, one) in places.iter().enumerate() {
            places.iter().skip(place + 1).for_each(|other| compare(*one, *other));
        }
    }
    for one in &routes.patterns {
        let Some(shape) = shape(&routes.all, *one) else { continue };
        let closeness = inbound(*one).map(Inbound::closeness);
        let is_as_close = |other: &usize| inbound(*other).map(Inbound::closeness) == closeness;
        let others = routes.index.candidates(&routes.all, shape);
        others
            .into_iter()
            .filter(|other| other > one)
            .filter(is_as_close)
            .for_each(|other| compare(*one, other));
    }
    pairs
}

fn may_be_alike(one: &Topics, other: &Topics) -> bool {
    match (one, other) {
        (Topics::Like(one), Topics::Like(other)) => one.shape().overlaps(other.shape()),
        _ => true,
    }
}

impl Routes {
    /// The routes that events may take next which leave by `way`, those left out that would bring them back.
    #[must_use]
    pub fn next(&self, way: Way) -> Vec<usize> {
        let refused = self.refused(way);
        self.leads_to(way).into_iter().filter(|next| !refused.contains(next)).collect()
    }

    /// The routes to which `way` must not lead, because they would bring events back: an event with something in
    /// it that leads there is refused.
    #[must_use]
    pub fn refused(&self, way: Way) -> Vec<usize> {
        let watched = self.guards.of(way.route).iter().find(|watched| watched.destination == way.destination);
        let forbidden = |next: &usize| watched.is_some_and(|one| self.guards.forbid(way.route, one, *next));
        self.leads_to(way).into_iter().filter(forbidden).collect()
    }

    /// All routes that events may take next which leave by `way`.
    fn leads_to(&self, way: Way) -> Vec<usize> {
        let route = self.all.get(way.route);
        let to = route.and_then(|route| Some((route, route.destinations.get(way.destination)?)));
        let ways = Ways { routes: self, out: Vec::new() };
        to.map(|(route, to)| ways.next(route, to, |_| None)).unwrap_or_default()
    }
}

/// Where every destination leads.
struct Ways<'r> {
    routes: &'r Routes,
    /// For each route, the ways out of it.
    out: Vec<Vec<Step>>,
}

#[derive(Clone, Copy)]
struct Step {
    by: Way,
    to: usize,
    /// Whether it leads there whatever an event has in it.
    always: bool,
}

impl<'r> Ways<'r> {
    fn new(routes: &'r Routes) -> Self {
        let mut ways = Self { routes, out: Vec::new() };
        ways.out = routes.all.iter().enumerate().map(|(place, route)| ways.out_of(place, route)).collect();
        ways
    }

    fn out_of(&self, place: usize, route: &Route) -> Vec<Step> {
        let mut steps = Vec::new();
        for (destination, to) in route.destinations.iter().enumerate() {
            let by = Way { route: place, destination };
            let always = self.next(route, to, |_| Some(Shape::exact(ANYTHING)));
            let sometimes = self.next(route, to, |_| None);
            let only_sometimes = sometimes.into_iter().filter(|next| !always.contains(next));
            steps.extend(only_sometimes.map(|to| Step { by, to, always: false }));
            steps.extend(always.iter().map(|to| Step { by, to: *to, always: true }));
        }
        steps
    }

    /// The routes that events may take next, when nothing more is known of a field than `field` says.
    fn next(&self, route: &Route, to: &Destination, field: impl Fn(&str) -> Option<Shape>) -> Vec<usize> {
        let known = |name: &str| match (name, &route.inbound.topics, &route.inbound.cache) {
            ("topic", Topics::Like(pattern), _) => Some(pattern.shape().clone()),
            ("cache", _, Some(cache)) => Some(Shape::exact(cache.as_str())),
            _ => field(name),
        };
        // Nothing comes back from a place that is no topic.
        let Some(to) = to.to.topic() else { return Vec::new() };
        let topic = to.topic.shape(known);
        let cache = match &to.cache {
            Some(cache) => Some(cache.shape(known)),
            // The same as the event's own: for a route of any cache it is one more unknown, but the same on
            // both sides of a round.
            None => route.inbound.cache.as_ref().map(|cache| Shape::exact(cache.as_str())),
        };
        if let Some(topic) = topic.literal() {
            return self.takers(cache.as_ref(), topic);
        }
        let takes =
            |inbound: &Inbound| is_for_cache(inbound, cache.as_ref()).possibly && is_like(inbound, &topic);
        let all = &self.routes.all;
        let mut places = self.routes.index.candidates(all, &topic);
        places.retain(|place| all.get(*place).is_some_and(|route| takes(&route.inbound)));
        places
    }

    /// The routes that may take events of this very topic: those before the first that is sure to.
    fn takers(&self, cache: Option<&Shape>, topic: &str) -> Vec<usize> {
        let exact = self.routes.exact.get(topic).map_or(&[][..], Vec::as_slice);
        let shape = Shape::exact(topic);
        let candidates = self.routes.index.candidates(&self.routes.all, &shape);
        let patterns =
            candidates.into_iter().filter_map(|place| Some((self.routes.index.rank(place)?, place)));
        // In the order in which they are tried.
        let mut patterns: Vec<_> = patterns.collect();
        patterns.sort_unstable();
        let mut takers = Vec::new();
        for place in exact.iter().copied().chain(patterns.into_iter().map(|(_, place)| place)) {
            let Some(route) = self.routes.all.get(place) else { continue };
            let is_for = is_for_cache(&route.inbound, cache);
            if is_for.possibly && is_like(&route.inbound, &shape) {
                takers.push(place);
                if is_for.surely {
                    break;
                }
            }
        }
        takers
    }

    /// Takes the steps away that close a round for some events only.
    fn take_guarded(&mut self) -> Guards {
        let groups = self.groups();
        let mut guards = Guards::default();
        for (route, steps) in self.out.iter_mut().enumerate() {
            let is_closing = |step: &Step| !step.always && groups.get(route) == groups.get(step.to);
            let mut closing: Vec<_> =
                steps.iter().filter(|step| is_closing(step)).map(|step| step.by.destination).collect();
            closing.dedup();
            for destination in closing {
                let always = steps.iter().filter(|step| step.always && step.by.destination == destination);
                let always = always.map(|step| step.to).collect();
                guards.watched.entry(route).or_default().push(Watched { destination, always });
            }
            steps.retain(|step| !is_closing(step));
        }
        if !guards.watched.is_empty() {
            guards.groups = groups;
        }
        guards
    }

    /// For each route the number of its group: two routes are in one when each leads to the other. This is
    /// Tarjan's way to find them, which looks at every step once; it does not call itself.
    fn groups(&self) -> Vec<usize> {
        const NONE: usize = usize::MAX;
        let count = self.out.len();
        let (mut numbers, mut lowest, mut groups) = (vec![NONE; count], vec![NONE; count], vec![NONE; count]);
        let (mut next_number, mut next_group) = (0, 0);
        let mut open = Vec::new();
        for start in 0..count {
            if get(&numbers, start) != NONE {
                continue;
            }
            let mut path = vec![(start, 0)];
            while let Some((route, place)) = path.last_mut() {
                let route = *route;
                if *place == 0 {
                    set(&mut numbers, route, next_number);
                    set(&mut lowest, route, next_number);
                    next_number += 1;
                    open.push(route);
                }
                let step = self.out.get(route).and_then(|steps| steps.get(*place));
                *place += 1;
                if let Some(Step { to, .. }) = step {
                    if get(&numbers, *to) == NONE {
                        path.push((*to, 0));
                    } else if get(&groups, *to) == NONE {
                        let low = get(&lowest, route).min(get(&numbers, *to));
                        set(&mut lowest, route, low);
                    }
                    continue;
                }
                path.pop();
                if get(&lowest, route) == get(&numbers, route) {
                    while let Some(member) = open.pop() {
                        set(&mut groups, member, next_group);
                        if member == route {
                            break;
                        }
                    }
                    next_group += 1;
                }
                if let Some((before, _)) = path.last() {
                    let low = get(&lowest, *before).min(get(&lowest, route));
                    set(&mut lowest, *before, low);
                }
            }
        }
        groups
    }
}

fn get(numbers: &[usize], place: usize) -> usize {
    numbers.get(place).copied().unwrap_or(usize::MAX)
}

fn set(numbers: &mut [usize], place: usize, number: usize) {
    if let Some(before) = numbers.get_mut(place) {
        *before = number;
    }
}

/// Looks for destinations that lead back to their own route.
struct Rounds<'w> {
    ways: &'w Ways<'w>,
    /// How far each route has been looked at.
    seen: Vec<Seen>,
    /// The way to where it is looked.
    path: Vec<Way>,
    found: Vec<Vec<Way>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Not,
    OnTheWay,
    Wholly,
}

impl<'w> Rounds<'w> {
    fn find(ways: &'w Ways<'w>) -> Vec<Vec<Way>> {
        let seen = vec![Seen::Not; ways.out.len()];
        let mut rounds = Self { ways, seen, path: Vec::new(), found: Vec::new() };
        for place in 0..ways.out.len() {
            if rounds.seen.get(place) == Some(&Seen::Not) {
                rounds.look_behind(place);
            }
        }
        rounds.found
    }

    /// Looks at all that can be reached from a route. It does not call itself: there may be very many
    /// routes in a row.
    fn look_behind(&mut self, start: usize) {
        self.mark(start, Seen::OnTheWay);
        let mut open = vec![(start, self.out_of(start))];
        while let Some((route, steps)) = open.last_mut() {
            let route = *route;
            let Some(step) = steps.next() else {
                self.mark(route, Seen::Wholly);
                self.path.pop();
                open.pop();
                continue;
            };
            match self.seen.get(step.to) {
                Some(Seen::OnTheWay) => self.note(step),
                Some(Seen::Not) => {
                    self.path.push(step.by);
                    self.mark(step.to, Seen::OnTheWay);
                    open.push((step.to, self.out_of(step.to)));
                }
                Some(Seen::Wholly) | None => {}
            }
        }
    }

    fn out_of(&self, route: usize) -> std::slice::Iter<'w, Step> {
        self.ways.out.get(route).map_or(&[][..], Vec::as_slice).iter()
    }

    fn mark(&mut self, route: usize, seen: Seen) {
        if let Some(before) = self.seen.get_mut(route) {
            *before = seen;
        }
    }

    /// The step leads back to a route that is on the way.
    fn note(&mut self, last: &Step) {
        let from = self.path.iter().position(|way| way.route == last.to).unwrap_or(self.path.len());
        self.found.push(self.path.iter().skip(from).copied().chain([last.by]).collect());
    }
}

/// Whether a route is for events of a cache of which only this is known.
struct IsFor {
    possibly: bool,
    surely: bool,
}

fn is_for_cache(inbound: &Inbound, cache: Option<&Shape>) -> IsFor {
    let Some(own) = &inbound.cache else { return IsFor { possibly: true, surely: true } };
    let own = own.as_str();
    match cache {
        None => IsFor { possibly: true, surely: false },
        Some(cache) => {
            IsFor { possibly: cache.overlaps(&Shape::exact(own)), surely: cache.literal() == Some(own) }
        }
    }
}

fn is_like(inbound: &Inbound, topic: &Shape) -> bool {
    match &inbound.topics {
        Topics::Any => true,
        Topics::Like(pattern) => pattern.shape().overlaps(topic),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::route::FeedsItself;
    use crate::route::tests::route;
    use crate::testing::event_with;

    type Given<'g> = (&'g str, &'g str, &'g [(&'g str, &'g str)]);

    fn errors(routes: &[Given<'_>]) -> Vec<RouteError> {
        let routes = routes.iter().map(|(cache, topic, to)| route(cache, topic, to)).collect();
        Routes::new(routes).err().unwrap_or_default()
    }

    /// A round by the first destination of each route.
    fn round(routes: &[usize]) -> RouteError {
        RouteError::Round(routes.iter().map(|route| Way { route: *route, destination: 0 }).collect())
    }

    #[test]
    fn two_routes_for_the_same_topics_are_ambiguous() {
        const OUT: &[(&str, &str)] = &[("", "out")];
        let ambiguous = [RouteError::Ambiguous { first: 0, second: 1 }];
        for (one, other) in [
            (("", "in"), ("", "in")),
            (("c", "in"), ("c", "in")),
            (("", "{a}-publish"), ("", "{b}-publish")),
            (("", "a-{x}"), ("", "{x}-b")),
        ] {
            assert_eq!(
                errors(&[(one.0, one.1, OUT), (other.0, other.1, OUT)]),
                ambiguous,
                "{one:?} {other:?}"
            );
        }
        for (one, other) in [
            (("", "in"), ("c", "in")),
            (("c", "in"), ("d", "in")),
            (("", "{a}-publish"), ("", "a-publish")),
            (("", "{a}-publish"), ("c", "{a}-publish")),
            (("", "{a}-publish"), ("", "vip-{a}-publish")),
            (("", "a-{x}"), ("", "b-{x}")),
        ] {
            assert_eq!(errors(&[(one.0, one.1, OUT), (other.0, other.1, OUT)]), [], "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_route_that_feeds_itself_is_found() {
        for (topic, to) in [("in", "in"), ("{a}", "{a}-2"), ("a-{b}", "a-{topic}"), ("{a}-x", "{cache}-x")] {
            assert_eq!(errors(&[("", topic, &[("", to)])]), [round(&[0])], "{topic} {to}");
        }
        for (topic, to) in [
            ("{room}-publish", "{room}-subscribe"),
            ("in", "{topic}-out"),
            ("in", "out-{token_id}"),
            ("{a}-x", "{topic}-y"),
        ] {
            assert_eq!(errors(&[("", topic, &[("", to)])]), [], "{topic} {to}");
        }
    }

    #[test]
    fn what_would_go_round_for_some_events_is_refused_for_these() {
        for (cache, topic, to, bad, good) in [
            ("", "in", ("", "{token_id}"), "in", "mo"),
            ("", "{room}-publish", ("", "for-{token_id}"), "a-publish", "a"),
            ("c", "in", ("{token_id}", "in"), "c", "d"),
        ] {
            let routes = Routes::new(vec![route(cache, topic, &[to])]).unwrap();
            let topic = topic.replace("{room}", "friends");
            let plan = |token: &str| {
                let event = event_with("c", &topic, 1, |event| event.token_id = Some(token.to_owned()));
                routes.plan(&event).map(|plan| plan.is_some())
            };
            assert_eq!((plan(bad), plan(good)), (Err(FeedsItself), Ok(true)), "{topic} {to:?}");
        }
    }

    #[test]
    fn what_only_leads_on_for_some_events_is_let_through() {
        let routes = vec![route("", "in", &[("", "{token_id}")]), route("", "user-{name}", &[("", "end")])];
        let routes = Routes::new(routes).unwrap();
        let event = event_with("c", "in", 1, |event| event.token_id = Some("user-7".to_owned()));
        assert!(routes.plan(&event).unwrap().is_some());
    }

    #[test]
    fn routes_that_feed_each_other_are_found() {
        assert_eq!(
            errors(&[("", "a", &[("", "b")]), ("", "b", &[("", "c")]), ("", "c", &[("", "a")])]),
            [round(&[0, 1, 2])]
        );
        assert_eq!(
            errors(&[("", "in", &[("", "a")]), ("", "a", &[("", "b")]), ("", "{x}", &[("", "a")])]),
            [round(&[1, 2])]
        );
        assert_eq!(errors(&[("", "a", &[("", "b")]), ("", "b", &[("", "c")])]), []);
    }

    #[test]
    fn every_round_is_found() {
        let found = errors(&[("", "a", &[("", "a")]), ("", "b", &[("", "b")])]);
        assert_eq!(found, [round(&[0]), round(&[1])]);
    }

    #[test]
    fn another_cache_is_another_topic() {
        assert_eq!(errors(&[("one", "a", &[("two", "a")])]), []);
        assert_eq!(errors(&[("one", "a", &[("two", "a")]), ("two", "a", &[("one", "a")])]), [round(&[0, 1])]);
        assert_eq!(errors(&[("one", "a", &[("", "a")])]), [round(&[0])]);
    }

    #[test]
    fn a_closer_route_takes_what_would_go_round_without_it() {
        assert_eq!(
            errors(&[("", "{any}", &[("", "stop")]), ("", "stop", &[("else", "x")])]),
            [round(&[0, 1])]
        );
        let stops = [("", "{any}-x", &[("", "stop-x")][..]), ("", "stop-x", &[("", "end")])];
        assert_eq!(errors(&stops), []);
    }

    #[test]
    fn where_a_destination_leads_is_known() {
        let to = [("", "{token_id}-b"), ("c", "b"), ("d", "b"), ("", "z"), ("", "{token_id}")];
        let routes = [
            route("", "in", &to),
            route("", "{x}-b", &[("", "end")]),
            route("", "b", &[("", "end")]),
            route("c", "b", &[("", "end")]),
        ];
        let routes = Routes::new(routes.into()).unwrap();
        let way = |destination| Way { route: 0, destination };
        let next = [0, 1, 2, 3, 4].map(|destination| routes.next(way(destination)));
        assert_eq!(next, [vec![1], vec![3], vec![2], vec![], vec![1, 2, 3]]);
        assert_eq!((routes.refused(way(4)), routes.refused(way(0))), (vec![0], vec![]));
        assert_eq!(routes.next(Way { route: 4, destination: 0 }), [0; 0]);
    }

    #[test]
    fn very_many_patterns_are_looked_through() {
        let tenants = |topic: fn(usize) -> String, to: fn(usize) -> String| -> Vec<_> {
            (0..5_000).map(|number| route("", &topic(number), &[("", &to(number))])).collect()
        };
        let begun = Instant::now();
        for routes in [
            tenants(|n| format!("tenant{n}-{{a}}-in"), |n| format!("tenant{n}-{{a}}-out-{{token_id}}")),
            tenants(|n| format!("{{a}}-in-of-{n}+"), |n| format!("{{a}}-out-of-{n}+")),
        ] {
            assert!(Routes::new(routes).is_ok());
        }
        // Each held against each, it is some tens of seconds.
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }

    #[test]
    fn very_many_routes_in_a_row_are_looked_through() {
        let names: Vec<_> = (0..10_001).map(|number| format!("topic {number}")).collect();
        let routes = names.windows(2).map(|pair| route("", &pair[0], &[("", pair[1].as_str())])).collect();
        assert!(Routes::new(routes).is_ok());
    }

    /// Names that often have to do with one another.
    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "a-b", "{x}", "{x}-b", "a-{x}", "{x}-{y}", "b-{x}-b"])
    }

    fn outbound() -> impl Strategy<Value = (&'static str, &'static str)> {
        let topics = ["a", "b", "{topic}", "{topic}-b", "{token_id}", "c-{token_id}", "{cache}-b", "z"];
        (prop::sample::select(vec!["", "", "c", "d"]), prop::sample::select(topics.to_vec()))
    }

    fn routes() -> impl Strategy<Value = Vec<Route>> {
        let caches = prop::sample::select(vec!["", "", "c", "d"]);
        let one = (caches, name(), prop::collection::vec(outbound(), 1..3));
        prop::collection::vec(one.prop_map(|(cache, topic, to)| route(cache, topic, &to)), 1..5)
    }

    proptest! {
        #[test]
        fn no_route_is_left_out_of_the_candidates(
            routes in prop::collection::vec("[ab]{0,2}(\\{x\\}[abé]{0,2})?", 1..8),
            topic in "[ab]{0,2}(\\{x\\}[ab]{1,2})?\\{y\\}[abé]{0,2}|[abé]{1,4}",
        ) {
            let routes: Vec<_> = routes.iter().filter(|topic| !topic.is_empty()).map(|topic| route("", topic, &[])).collect();
            let topic = Pattern::new(topic).unwrap();
            let candidates = Index::new(&routes, &[]).candidates(&routes, topic.shape());
            let is_for = |place: &usize| is_like(&routes[*place].inbound, topic.shape());
            let all: Vec<_> = (0..routes.len()).filter(is_for).collect();
            let found: Vec<_> = candidates.into_iter().filter(is_for).collect();
            prop_assert_eq!(found, all);
        }

        /// What is refused neither at load nor when it comes has an end, however it is chained.
        #[test]
        fn events_of_accepted_routes_never_go_round(
            routes in routes(),
            topic in "[ab-]{1,6}",
            cache in "[cd]",
            token in "[abc-]{0,3}",
        ) {
            let Ok(routes) = Routes::new(routes) else { return Ok(()) };
            let hops = routes.all().len();
            let mut topics = vec![(cache, topic)];
            for _ in 0..=hops {
                let mut next = Vec::new();
                for (cache, topic) in &topics {
                    let event = event_with(cache, topic, 1, |event| event.token_id = Some(token.clone()));
                    let Ok(Some(plan)) = routes.plan(&event) else { continue };
                    let named = plan.destinations().iter().filter(|planned| planned.error.is_none());
                    next.extend(named.filter_map(|planned| planned.target.topic().map(|topic| (topic.cache.to_string(), topic.topic.to_string()))));
                }
                topics = next;
            }
            // More hops than there are routes: else some route was taken twice.
            prop_assert!(topics.is_empty(), "{topics:?}");
        }
    }
}
