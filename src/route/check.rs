//! Routes that cannot be used together.
//!
//! What cannot be known before there is an event is decided for the worse: a destination whose name has holes
//! leads to every route whose topics it could name.

use super::pattern::Shape;
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

/// Everything that is wrong.
pub(super) fn errors(routes: &Routes) -> Vec<RouteError> {
    let mut errors = ambiguous(routes);
    errors.sort_by_key(|(first, second)| (*second, *first));
    let ambiguous = errors.into_iter().map(|(first, second)| RouteError::Ambiguous { first, second });
    ambiguous.chain(Rounds::find(routes).into_iter().map(RouteError::Round)).collect()
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
    // They are in the order of their closeness: only neighbours can be as close.
    for (place, one) in routes.patterns.iter().enumerate() {
        let closeness = inbound(*one).map(Inbound::closeness);
        let others = routes.patterns.iter().skip(place + 1);
        others
            .take_while(|other| inbound(**other).map(Inbound::closeness) == closeness)
            .for_each(|other| compare(*one, *other));
    }
    pairs
}

fn may_be_alike(one: &Topics, other: &Topics) -> bool {
    match (one, other) {
        (Topics::Like(one), Topics::Like(other)) => one.shape().overlaps(other.shape()),
        _ => true,
    }
}

/// Looks for destinations that lead back to their own route.
struct Rounds<'r> {
    routes: &'r Routes,
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

impl<'r> Rounds<'r> {
    fn find(routes: &'r Routes) -> Vec<Vec<Way>> {
        let seen = vec![Seen::Not; routes.all.len()];
        let mut rounds = Self { routes, seen, path: Vec::new(), found: Vec::new() };
        for place in 0..routes.all.len() {
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
        let mut open = vec![(start, self.ways_out(start))];
        while let Some((route, ways)) = open.last_mut() {
            let route = *route;
            let Some((way, next)) = ways.next() else {
                self.mark(route, Seen::Wholly);
                self.path.pop();
                open.pop();
                continue;
            };
            match self.seen.get(next) {
                Some(Seen::OnTheWay) => self.note(way, next),
                Some(Seen::Not) => {
                    self.path.push(way);
                    self.mark(next, Seen::OnTheWay);
                    open.push((next, self.ways_out(next)));
                }
                Some(Seen::Wholly) | None => {}
            }
        }
    }

    fn mark(&mut self, route: usize, seen: Seen) {
        if let Some(before) = self.seen.get_mut(route) {
            *before = seen;
        }
    }

    /// `last` leads back to `route`, which is on the way.
    fn note(&mut self, last: Way, route: usize) {
        let from = self.path.iter().position(|way| way.route == route).unwrap_or(self.path.len());
        let round = self.path.iter().skip(from).copied().chain([last]).collect();
        self.found.push(round);
    }

    /// The routes that events of a route may take next, and by which destination.
    fn ways_out(&self, place: usize) -> std::vec::IntoIter<(Way, usize)> {
        let Some(route) = self.routes.all.get(place) else { return Vec::new().into_iter() };
        let mut ways = Vec::new();
        for (destination, to) in route.destinations.iter().enumerate() {
            let way = Way { route: place, destination };
            ways.extend(self.next(route, to).into_iter().map(|next| (way, next)));
        }
        ways.into_iter()
    }

    fn next(&self, route: &Route, to: &Destination) -> Vec<usize> {
        let known = |name: &str| match (name, &route.inbound.topics) {
            ("topic", Topics::Like(pattern)) => Some(pattern.shape().clone()),
            ("cache", _) => route.inbound.cache.as_ref().map(|cache| Shape::exact(cache.as_str())),
            _ => None,
        };
        let topic = to.topic.shape(known);
        let cache = match &to.cache {
            Some(cache) => Some(cache.shape(known)),
            None => known("cache"),
        };
        if let Some(topic) = topic.literal() {
            return self.takers(cache.as_ref(), topic);
        }
        let takes =
            |inbound: &Inbound| is_for_cache(inbound, cache.as_ref()).possibly && is_like(inbound, &topic);
        let routes = self.routes.all.iter().enumerate();
        routes.filter(|(_, route)| takes(&route.inbound)).map(|(place, _)| place).collect()
    }

    /// The routes that may take events of this very topic: those before the first that is sure to.
    fn takers(&self, cache: Option<&Shape>, topic: &str) -> Vec<usize> {
        let exact = self.routes.exact.get(topic).map_or(&[][..], Vec::as_slice);
        let mut takers = Vec::new();
        for place in exact.iter().chain(&self.routes.patterns) {
            let Some(route) = self.routes.all.get(*place) else { continue };
            let is_for = is_for_cache(&route.inbound, cache);
            if is_for.possibly && is_like(&route.inbound, &Shape::exact(topic)) {
                takers.push(*place);
                if is_for.surely {
                    break;
                }
            }
        }
        takers
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
    use super::*;
    use crate::route::tests::route;

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
        for (topic, to) in [
            ("in", "in"),
            ("{a}", "{a}-2"),
            ("a-{b}", "a-{topic}"),
            ("in", "{token_id}"),
            ("{a}-x", "{cache}-x"),
        ] {
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
        assert_eq!(errors(&[("one", "a", &[("{token_id}", "a")])]), [round(&[0])]);
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
    fn very_many_routes_in_a_row_are_looked_through() {
        let names: Vec<_> = (0..10_001).map(|number| format!("topic {number}")).collect();
        let routes = names.windows(2).map(|pair| route("", &pair[0], &[("", pair[1].as_str())])).collect();
        assert!(Routes::new(routes).is_ok());
    }
}
