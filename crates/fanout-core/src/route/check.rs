//! Routes that do not work together: two routes for the same topics, and routes that feed themselves.
//!
//! Each route is a node of a graph. An edge leads from a route to each route that takes events published by one
//! of its destinations. Whether it does can depend on the event: the destination `for-{token_id}` leads to the
//! route `{room}-publish` only if the token id ends in `-publish`. So the module builds the graph twice:
//!
//! | graph | an edge means |
//! | --- | --- |
//! | may lead | some event can go there |
//! | always leads | an ordinary event goes there: no field or capture contains the name of another route |
//!
//! [`Routes::new`] rejects a cycle of edges that always lead. Every other cycle has an edge that only may lead.
//! [`Routes::plan`] rejects the events that would take such an edge, so that no event runs in a cycle.
//!
//! The module compares every destination with every route. [`MAX_ROUTES`](crate::limits::MAX_ROUTES) and
//! [`MAX_DESTINATIONS`](crate::limits::MAX_DESTINATIONS) bound that.

use std::collections::VecDeque;
use std::{iter, mem};

use super::pattern::{Pattern, Shape};
use super::{Inbound, Routes};

/// Error for routes that do not work together. It names routes by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// Both routes are for the same topics of the same caches, and neither is more specific.
    Ambiguous {
        /// The route with the lower index.
        first: usize,
        /// The other route.
        second: usize,
    },
    /// Events would go from route to route forever.
    Cycle(
        /// The destinations on the cycle, in order. The last one leads to the route of the first.
        Vec<Edge>,
    ),
}

/// One destination of one route, as an edge of the graph of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The index of the route.
    pub route: usize,
    /// The index of the destination in its route.
    pub destination: usize,
}

/// The value of every unknown field and capture of an ordinary event: a private use character, which the routes of
/// a file do not contain.
const ORDINARY: &str = "\u{10fffd}";

/// Returns for each route the routes that its events must not reach, because they would come back.
///
/// # Errors
/// All ambiguous routes, and a cycle for each route that feeds itself.
pub(super) fn check(routes: &Routes) -> Result<Vec<Vec<usize>>, Vec<RouteError>> {
    let (may_lead, always_leads) = (Graph::new(routes, None), Graph::new(routes, Some(ORDINARY)));
    let component = may_lead.components();
    let cycles = always_leads.cycles(&component).into_iter();
    let cycles = cycles.map(|cycle| RouteError::Cycle(routes.edges_of(&cycle)));
    let errors: Vec<_> = ambiguous(routes).into_iter().chain(cycles).collect();
    if errors.is_empty() { Ok(may_lead.back_edges(&always_leads, &component)) } else { Err(errors) }
}

/// Returns for each ambiguous route the first route that it conflicts with.
fn ambiguous(routes: &Routes) -> Vec<RouteError> {
    let inbounds: Vec<_> =
        routes.all.iter().map(|route| (&route.inbound, route.inbound.specificity())).collect();
    let conflict = |(second, (other, specificity)): (usize, &(&Inbound, _))| {
        let shape = other.pattern().map(Pattern::shape);
        let first = inbounds.iter().take(second).position(|(one, as_specific)| {
            specificity == as_specific && one.cache == other.cache && one.may_take(shape)
        })?;
        Some(RouteError::Ambiguous { first, second })
    };
    inbounds.iter().enumerate().filter_map(conflict).collect()
}

impl Inbound {
    /// Returns true if the route is for a topic of this shape. Without a shape, the topic can be any.
    fn may_take(&self, topic: Option<&Shape>) -> bool {
        let (Some(own), Some(topic)) = (self.pattern(), topic) else { return true };
        #[cfg(test)]
        tests::COMPARISONS.with(|count| count.set(count.get() + 1));
        own.shape().overlaps(topic)
    }
}

impl Routes {
    /// Returns the routes that events can take after this destination, by ascending index.
    #[must_use]
    pub fn next(&self, edge: Edge) -> Vec<usize> {
        self.may_lead_to(edge, false)
    }

    /// Returns the routes that this destination leads to for some events, and from which they would come back.
    /// [`Routes::plan`] rejects these events.
    #[must_use]
    pub fn refused(&self, edge: Edge) -> Vec<usize> {
        self.may_lead_to(edge, true)
    }

    fn may_lead_to(&self, edge: Edge, back: bool) -> Vec<usize> {
        let mut next = self.leads_to(edge, None);
        next.retain(|next| self.is_back_edge(edge.route, *next) == back);
        next.sort_unstable();
        next
    }

    /// Returns the routes that an edge leads to, the most specific first, for events whose unknown fields and
    /// captures are `unknown`, or any text.
    fn leads_to(&self, edge: Edge, unknown: Option<&str>) -> Vec<usize> {
        // Only a topic of Momento can send another webhook.
        let ends = self
            .all
            .get(edge.route)
            .and_then(|route| Some((&route.inbound, route.destinations.get(edge.destination)?.to.topic()?)));
        let Some((from, to)) = ends else { return Vec::new() };
        let own_cache = || from.cache.as_ref().map(|cache| Shape::exact(cache.as_str()));
        let field = |name: &str| {
            let known = match name {
                "topic" => from.pattern().map(|pattern| pattern.shape().clone()),
                "cache" => own_cache(),
                _ => None,
            };
            known.or_else(|| unknown.map(Shape::exact))
        };
        let topic = to.topic.shape(field);
        let cache = to.cache.as_ref().map_or_else(own_cache, |cache| Some(cache.shape(field)));
        let mut next = Vec::new();
        for index in &self.order {
            let inbound = &self.route(*index).inbound;
            let takes_cache = match (&inbound.cache, &cache) {
                (Some(own), Some(cache)) => cache.overlaps(&Shape::exact(own.as_str())),
                _ => true,
            };
            if takes_cache && inbound.may_take(Some(&topic)) {
                next.push(*index);
                let cache = cache.as_ref().and_then(Shape::literal);
                // Less specific routes get nothing if this one takes every such event.
                if topic.literal().is_some()
                    && inbound.cache.as_ref().is_none_or(|own| Some(own.as_str()) == cache)
                {
                    break;
                }
            }
        }
        next
    }

    /// Returns the edges of a cycle of routes that always lead.
    fn edges_of(&self, cycle: &[usize]) -> Vec<Edge> {
        let ends = cycle.iter().cycle().skip(1);
        let edge = |(route, next): (&usize, &usize)| {
            let edges = 0..self.route(*route).destinations.len();
            let mut edges = edges.map(|destination| Edge { route: *route, destination });
            let edge = edges.find(|edge| self.leads_to(*edge, Some(ORDINARY)).contains(next));
            edge.expect("a graph has an edge only where a destination leads")
        };
        cycle.iter().zip(ends).map(edge).collect()
    }
}

/// For each route, by its index, the routes that its edges lead to, by ascending index.
struct Graph(Vec<Vec<usize>>);

#[expect(clippy::indexing_slicing, reason = "the indices in a graph are the indices of its routes")]
impl Graph {
    /// Returns the graph for events whose unknown fields and captures are `unknown`, or any text.
    fn new(routes: &Routes, unknown: Option<&str>) -> Self {
        let next = |(route, destinations): (usize, usize)| {
            let mut is_next = vec![false; routes.all.len()];
            let edges = (0..destinations).map(|destination| Edge { route, destination });
            edges.flat_map(|edge| routes.leads_to(edge, unknown)).for_each(|next| is_next[next] = true);
            (0..is_next.len()).filter(|next| is_next[*next]).collect()
        };
        let destinations = routes.all.iter().map(|route| route.destinations.len());
        Self(destinations.enumerate().map(next).collect())
    }

    /// Returns the strongly connected component of each route: two routes are in the same component if each
    /// leads to the other. This is Kosaraju's algorithm; it visits each edge twice.
    fn components(&self) -> Vec<usize> {
        let count = self.0.len();
        let mut reversed = Self(vec![Vec::new(); count]);
        for (route, next) in self.0.iter().enumerate() {
            for next in next {
                reversed.0[*next].push(route);
            }
        }
        let (mut seen, mut order) = (vec![false; count], Vec::new());
        (0..count).for_each(|route| self.visit(route, &mut seen, &mut order));
        let (mut seen, mut component) = (vec![false; count], vec![0; count]);
        for root in order.into_iter().rev() {
            let mut members = Vec::new();
            reversed.visit(root, &mut seen, &mut members);
            for member in members {
                component[member] = root;
            }
        }
        component
    }

    /// Appends the unseen routes that `start` leads to, itself included, each after those that it leads to itself.
    /// It does not call itself, because a file decides how long the path becomes.
    fn visit(&self, start: usize, seen: &mut [bool], order: &mut Vec<usize>) {
        if mem::replace(&mut seen[start], true) {
            return;
        }
        let mut path = vec![(start, self.0[start].iter())];
        while let Some((route, next)) = path.last_mut() {
            if let Some(next) = next.find(|next| !mem::replace(&mut seen[**next], true)) {
                path.push((*next, self.0[*next].iter()));
            } else {
                order.push(*route);
                path.pop();
            }
        }
    }

    /// Returns one cycle for each route on a cycle that is not in a cycle before it.
    fn cycles(&self, component: &[usize]) -> Vec<Vec<usize>> {
        let mut is_found = vec![false; self.0.len()];
        let mut cycles = Vec::new();
        for start in 0..self.0.len() {
            let cycle = if is_found[start] { None } else { self.shortest_cycle(start, component) };
            cycle.iter().flatten().for_each(|route| is_found[*route] = true);
            cycles.extend(cycle);
        }
        cycles
    }

    /// Returns the shortest path from a route back to itself. Such a path stays in the component of the route.
    fn shortest_cycle(&self, start: usize, component: &[usize]) -> Option<Vec<usize>> {
        let mut before = vec![None; self.0.len()];
        let mut open = VecDeque::from([start]);
        while let Some(route) = open.pop_front() {
            for next in &self.0[route] {
                if *next == start {
                    let mut cycle: Vec<_> = iter::successors(Some(route), |route| before[*route]).collect();
                    cycle.reverse();
                    return Some(cycle);
                }
                if component[*next] == component[start] && before[*next].is_none() {
                    before[*next] = Some(route);
                    open.push_back(*next);
                }
            }
        }
        None
    }

    /// Returns the edges that close a cycle and only may lead.
    fn back_edges(mut self, always_leads: &Self, component: &[usize]) -> Vec<Vec<usize>> {
        for (route, next) in self.0.iter_mut().enumerate() {
            let always = &always_leads.0[route];
            next.retain(|next| component[*next] == component[route] && always.binary_search(next).is_err());
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::limits::{MAX_DESTINATIONS, MAX_ROUTES};
    use crate::route::FeedsItself;
    use crate::route::Route;
    use crate::route::tests::route;
    use crate::testing::event_with;

    thread_local! {
        /// How many shapes this thread has compared.
        pub(super) static COMPARISONS: Cell<usize> = const { Cell::new(0) };
    }

    /// Creates routes, and returns how many shapes that compared.
    fn count(routes: Vec<Route>) -> (Routes, usize) {
        COMPARISONS.set(0);
        let routes = Routes::new(routes).unwrap();
        (routes, COMPARISONS.get())
    }

    type Given<'g> = (&'g str, &'g str, &'g [(&'g str, &'g str)]);

    fn errors(routes: &[Given<'_>]) -> Vec<RouteError> {
        let routes = routes.iter().map(|(cache, topic, to)| route(cache, topic, to)).collect();
        Routes::new(routes).err().unwrap_or_default()
    }

    /// Returns a cycle through the first destination of each route.
    fn cycle(routes: &[usize]) -> RouteError {
        RouteError::Cycle(routes.iter().map(|route| Edge { route: *route, destination: 0 }).collect())
    }

    #[test]
    fn rejects_routes_for_same_topics_as_ambiguous() {
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
    fn rejects_route_that_feeds_itself() {
        for (topic, to) in [("in", "in"), ("{a}", "{a}-2"), ("a-{b}", "a-{topic}"), ("{a}-x", "{cache}-x")] {
            assert_eq!(errors(&[("", topic, &[("", to)])]), [cycle(&[0])], "{topic} {to}");
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
    fn rejects_only_events_that_would_come_back() {
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
    fn plans_event_that_leads_to_another_route() {
        let routes = vec![route("", "in", &[("", "{token_id}")]), route("", "user-{name}", &[("", "end")])];
        let routes = Routes::new(routes).unwrap();
        let event = event_with("c", "in", 1, |event| event.token_id = Some("user-7".to_owned()));
        assert!(routes.plan(&event).unwrap().is_some());
    }

    #[test]
    fn rejects_routes_that_feed_each_other() {
        assert_eq!(
            errors(&[("", "a", &[("", "b")]), ("", "b", &[("", "c")]), ("", "c", &[("", "a")])]),
            [cycle(&[0, 1, 2])]
        );
        assert_eq!(
            errors(&[("", "in", &[("", "a")]), ("", "a", &[("", "b")]), ("", "{x}", &[("", "a")])]),
            [cycle(&[1, 2])]
        );
        assert_eq!(errors(&[("", "a", &[("", "b")]), ("", "b", &[("", "c")])]), []);
    }

    #[test]
    fn reports_every_cycle() {
        let found = errors(&[("", "a", &[("", "a")]), ("", "b", &[("", "b")])]);
        assert_eq!(found, [cycle(&[0]), cycle(&[1])]);
    }

    #[test]
    fn same_topic_in_another_cache_is_another_topic() {
        assert_eq!(errors(&[("one", "a", &[("two", "a")])]), []);
        assert_eq!(errors(&[("one", "a", &[("two", "a")]), ("two", "a", &[("one", "a")])]), [cycle(&[0, 1])]);
        assert_eq!(errors(&[("one", "a", &[("", "a")])]), [cycle(&[0])]);
    }

    #[test]
    fn accepts_route_whose_cycle_a_more_specific_route_breaks() {
        assert_eq!(
            errors(&[("", "{any}", &[("", "stop")]), ("", "stop", &[("else", "x")])]),
            [cycle(&[0, 1])]
        );
        let stops = [("", "{any}-x", &[("", "stop-x")][..]), ("", "stop-x", &[("", "end")])];
        assert_eq!(errors(&stops), []);
    }

    #[test]
    fn lists_routes_that_destination_leads_to() {
        let to = [("", "{token_id}-b"), ("c", "b"), ("d", "b"), ("", "z"), ("", "{token_id}")];
        let routes = [
            route("", "in", &to),
            route("", "{x}-b", &[("", "end")]),
            route("", "b", &[("", "end")]),
            route("c", "b", &[("", "end")]),
        ];
        let routes = Routes::new(routes.into()).unwrap();
        let edge = |destination| Edge { route: 0, destination };
        let next = [0, 1, 2, 3, 4].map(|destination| routes.next(edge(destination)));
        assert_eq!(next, [vec![1], vec![3], vec![2], vec![], vec![1, 2, 3]]);
        assert_eq!((routes.refused(edge(4)), routes.refused(edge(0))), (vec![0], vec![]));
        assert_eq!(routes.next(Edge { route: 4, destination: 0 }), [0; 0]);
    }

    #[test]
    fn reports_every_cycle_through_shared_route() {
        let hub = ("", "hub", &[("", "a"), ("", "b")][..]);
        let edges = |edges: &[(usize, usize)]| {
            RouteError::Cycle(
                edges
                    .iter()
                    .map(|(route, destination)| Edge { route: *route, destination: *destination })
                    .collect(),
            )
        };
        let found = errors(&[hub, ("", "a", &[("", "hub")]), ("", "b", &[("", "x"), ("", "hub")])]);
        assert_eq!(found, [edges(&[(0, 0), (1, 0)]), edges(&[(2, 1), (0, 1)])]);
    }

    #[test]
    fn accepts_edge_that_may_lead_out_of_cycle() {
        // The first two routes can feed each other. The third only takes what they publish.
        let to = [("", "{token_id}")];
        let end = [("z", "end")];
        let routes =
            vec![route("c", "a-{x}", &to), route("d", "a-{x}", &[("c", "{x}")]), route("c", "b-{x}", &end)];
        let routes = Routes::new(routes).unwrap();
        let plan = |token: &str| {
            let event = event_with("c", "a-1", 1, |event| event.token_id = Some(token.to_owned()));
            routes.plan(&event).map(|plan| plan.is_some())
        };
        assert_eq!((plan("b-1"), plan("a-1"), plan("a-2")), (Ok(true), Err(FeedsItself), Err(FeedsItself)));
    }

    #[test]
    fn cycles_need_no_stack() {
        // A path and a cycle through every route of the largest file.
        let topic = |number: usize| format!("topic {number}");
        let ring = |to: fn(usize) -> usize| -> Vec<_> {
            (0..MAX_ROUTES).map(|number| route("", &topic(number), &[("", &topic(to(number)))])).collect()
        };
        assert!(Routes::new(ring(|number| number + 1)).is_ok());
        let all: Vec<_> = (0..MAX_ROUTES).collect();
        assert_eq!(Routes::new(ring(|number| (number + 1) % MAX_ROUTES)).unwrap_err(), [cycle(&all)]);
    }

    #[test]
    fn compares_each_destination_of_largest_file_twice_with_each_route() {
        let to = |number: usize| -> Vec<_> {
            (0..MAX_DESTINATIONS / MAX_ROUTES)
                .map(|to| format!("tenant{number}-{{a}}-{{token_id}}-out{to}"))
                .collect()
        };
        let tenant = |number: usize| {
            let to = to(number);
            let to: Vec<_> = to.iter().map(|topic| ("", topic.as_str())).collect();
            route("", &format!("tenant{number}-{{a}}-in"), &to)
        };
        let (routes, comparisons) = count((0..MAX_ROUTES).map(tenant).collect());
        assert!(routes.back_edges.iter().all(Vec::is_empty));
        let most = 2 * MAX_DESTINATIONS * MAX_ROUTES + MAX_ROUTES * MAX_ROUTES / 2;
        assert!(comparisons <= most, "{comparisons}");
    }

    #[test]
    fn densest_graph_has_one_edge_for_each_pair_of_routes() {
        // Each destination may lead to each route, that of its own included.
        let to = [("", "{token_id}"), ("", "{a}")];
        let routes =
            (0..MAX_ROUTES).map(|number| route("", &format!("{{a}}{}", "+".repeat(number + 1)), &to));
        let (routes, _) = count(routes.collect());
        assert!(routes.back_edges.iter().all(|edges| edges.len() == MAX_ROUTES));
    }

    /// Topics that often overlap.
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
        /// An event that is rejected neither at load nor later comes to an end, whatever route takes it.
        #[test]
        fn accepted_events_never_run_in_cycle(
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
            // A path with more hops than routes has taken a route twice.
            prop_assert!(topics.is_empty(), "{topics:?}");
        }
    }
}
