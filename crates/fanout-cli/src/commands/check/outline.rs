//! The routes of a file as they are shown.

use std::collections::HashMap;

use fanout_core::names::CacheName;
use fanout_core::placeholder::Template;
use fanout_core::route::{Destination, Edge, Inbound, Route, Routes, Topics};
use fanout_core::spanned::{self, Given};
use fanout_core::transform::{Stage, Tree};

use crate::output::Quoted;

/// The most routes that a message names.
const MOST_NAMED: usize = 5;

/// The routes of a file.
#[derive(Debug)]
pub(super) struct Outline<'r> {
    pub(super) routes: &'r Routes,
    /// The most specific first.
    pub(super) outlined: Vec<Outlined<'r>>,
    /// The line of each, by its place in the file.
    lines: Vec<usize>,
}

/// One route.
#[derive(Debug)]
pub(super) struct Outlined<'r> {
    /// Its place in the file.
    pub(super) place: usize,
    pub(super) line: usize,
    pub(super) route: &'r Route,
    /// In the order in which they were given.
    pub(super) ways: Vec<WayOut<'r>>,
}

/// A destination of a route.
#[derive(Debug)]
pub(super) struct WayOut<'r> {
    pub(super) destination: &'r Destination,
    pub(super) steps: Vec<StepOut<'r>>,
    /// The indices of the routes that events can take next.
    pub(super) next: Vec<usize>,
    /// The indices of the routes from which events would come back. The function rejects these events.
    pub(super) refused: Vec<usize>,
}

/// A transform of a destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepOut<'r> {
    pub(super) stage: &'r Stage,
    /// What does the same to the same text has the same number, and is done once.
    pub(super) node: usize,
    /// The index of an earlier destination that shares it.
    pub(super) shared_with: Option<usize>,
}

impl<'r> Outline<'r> {
    /// The outline of `routes`, which were read from `text`.
    pub(super) fn new(text: &str, routes: &'r Routes) -> Self {
        let lines = lines(text);
        let line = |place: usize| lines.get(place).copied().unwrap_or_default();
        let outlined = routes.order().iter().filter_map(|place| {
            let route = routes.all().get(*place)?;
            Some(Outlined { place: *place, line: line(*place), route, ways: ways(routes, *place, route) })
        });
        Self { routes, outlined: outlined.collect(), lines }
    }

    /// The line of a route, by its place in the file.
    pub(super) fn line(&self, place: usize) -> usize {
        self.lines.get(place).copied().unwrap_or_default()
    }

    /// One of its routes.
    pub(super) fn find(&self, route: &Route) -> Option<&Outlined<'r>> {
        self.outlined.iter().find(|outlined| std::ptr::eq(outlined.route, route))
    }

    /// What is right, and still worth a thought.
    pub(super) fn notes(&self) -> Vec<String> {
        self.outlined
            .iter()
            .flat_map(|outlined| outlined.ways.iter().flat_map(|way| self.notes_of(outlined, way)))
            .collect()
    }

    /// Some routes for a message, where there are any.
    fn named(&self, places: &[usize]) -> Option<String> {
        if let [place] = places {
            let inbound = self.routes.all().get(*place)?.inbound().to_string();
            return Some(format!("the route at line {}, {}", self.line(*place), Quoted(&inbound)));
        }
        let lines: Vec<_> =
            places.iter().take(MOST_NAMED).map(|place| self.line(*place).to_string()).collect();
        let more = match places.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!places.is_empty()).then(|| format!("the routes at the lines {}{more}", lines.join(", ")))
    }

    fn notes_of(&self, outlined: &Outlined<'_>, way: &WayOut<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        let topic = way.destination.to.to_string();
        let from = format!("line {}: {}", outlined.line, Quoted(&topic));
        if let Some(routes) = self.named(&way.next) {
            let inbound =
                way.next.first().and_then(|place| self.routes.all().get(*place)).map(Route::inbound);
            let is_sure = inbound.is_some_and(|next| is_sure(outlined.route.inbound(), way, next));
            let goes_on = if is_sure { "goes on" } else { "can go on" };
            notes.push(format!("{from} {goes_on} with {routes}, where that topic has a webhook too"));
        }
        if let Some(routes) = self.named(&way.refused) {
            notes.push(format!(
                "{from} can lead to {routes}, from where it would come back: such an event is refused"
            ));
        }
        if let Some(missing) = way.lacking() {
            notes.push(format!(
                "{from} needs {{{missing}}}, which not every event has: without it this destination refuses the \
                 event, and the others are served"
            ));
        }
        notes
    }
}

impl Outlined<'_> {
    /// How many transforms an event has applied, and how many there would be if none was done once for several.
    pub(super) fn transforms(&self) -> (usize, usize) {
        let unshared = self.ways.iter().map(|way| way.steps.len()).sum();
        (self.route.tree().transforms(), unshared)
    }
}

impl WayOut<'_> {
    /// The field that it needs and an event may lack.
    pub(super) fn lacking(&self) -> Option<&str> {
        self.destination.to.templates().into_iter().find_map(Template::lacking)
    }
}

/// The caches of a route's events, where they are named.
pub(super) fn cache_of(inbound: &Inbound) -> Option<String> {
    inbound.cache.as_ref().map(ToString::to_string)
}

/// The cache of a destination, where it is known or how it is made: else it is the event's own. What is no topic
/// has none.
pub(super) fn cache_to(inbound: &Inbound, to: &Destination) -> Option<String> {
    let topic = to.to.topic()?;
    topic.cache.as_ref().map(ToString::to_string).or_else(|| cache_of(inbound))
}

/// Whether all events of a destination go on with the route `next`.
fn is_sure(from: &Inbound, way: &WayOut<'_>, next: &Inbound) -> bool {
    let Some(to) = way.destination.to.topic() else { return false };
    let cache = match &to.cache {
        Some(cache) => cache.literal(),
        None => from.cache.as_ref().map(CacheName::as_str),
    };
    let is_cache = next.cache.as_ref().is_none_or(|own| Some(own.as_str()) == cache);
    let is_topic = match (&next.topics, to.topic.literal()) {
        (Topics::Any, _) => true,
        (Topics::Like(pattern), Some(topic)) => pattern.find(topic).is_some(),
        (Topics::Like(_), None) => false,
    };
    way.next.len() == 1 && is_cache && is_topic
}

fn ways<'r>(routes: &Routes, place: usize, route: &'r Route) -> Vec<WayOut<'r>> {
    let mut nodes = vec![Vec::new(); route.destinations().len()];
    number(route.tree(), &mut Vec::new(), &mut 0, &mut nodes);
    let mut first = HashMap::new();
    let destinations = route.destinations().iter().zip(nodes).enumerate();
    let ways = destinations.map(|(number, (destination, nodes))| {
        let step = |(stage, node)| {
            let owner = *first.entry(node).or_insert(number);
            StepOut { stage, node, shared_with: (owner != number).then_some(owner) }
        };
        let steps = destination.chain.iter().zip(nodes).map(step).collect();
        let edge = Edge { route: place, destination: number };
        WayOut { destination, steps, next: routes.next(edge), refused: routes.refused(edge) }
    });
    ways.collect()
}

/// Gives every transform of a tree a number, and every destination those on its way.
fn number(tree: &Tree, path: &mut Vec<usize>, next: &mut usize, nodes: &mut [Vec<usize>]) {
    for place in &tree.destinations {
        if let Some(nodes) = nodes.get_mut(*place) {
            nodes.clone_from(path);
        }
    }
    for branch in &tree.branches {
        path.push(*next);
        *next += 1;
        for (_, behind) in &branch.next {
            number(behind, path, next, nodes);
        }
        path.pop();
    }
}

/// The lines at which the routes of a good file begin.
fn lines(text: &str) -> Vec<usize> {
    let routes = Given::document(text).ok().and_then(|mut document| document.take("routes"));
    let Some(Ok(routes)) = routes.map(spanned::array) else { return Vec::new() };
    let line = |start| text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    routes.map(|route| line(route.span().start)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use fanout_core::file;
    use fanout_core::transform::Transforms;

    use super::*;

    /// The routes of a good file.
    pub(in super::super) fn routes(text: &str) -> Routes {
        file::read(text, &Transforms::standard(), fanout_aws::KINDS).unwrap()
    }

    fn outlined<T>(text: &str, look: impl Fn(&Outline<'_>) -> T) -> T {
        look(&Outline::new(text, &routes(text)))
    }

    const TEXT: &str = "
[[routes]]
topic = '{any}-in'
transforms = ['trim']
destinations = ['b', { topic = 'c', extra_transforms = ['uppercase'] }, { topic = 'd', extra_transforms = ['uppercase'] }]

  [[routes]]
topic = 'b'
cache = 'c'
destinations = ['x-{token_id}']";

    #[test]
    fn orders_lines_of_routes_from_most_to_least_specific() {
        assert_eq!(
            outlined(TEXT, |outline| outline.outlined.iter().map(|one| one.line).collect::<Vec<_>>()),
            [7, 2]
        );
    }

    #[test]
    fn what_is_done_once_is_known_and_so_is_where_a_route_leads() {
        let routes = routes(TEXT);
        let outline = Outline::new(TEXT, &routes);
        let ways = &outline.outlined[1].ways;
        let shared: Vec<Vec<_>> = ways
            .iter()
            .map(|way| way.steps.iter().map(|step| step.shared_with.is_some()).collect())
            .collect();
        assert_eq!(shared, [vec![false], vec![true, false], vec![true, true]]);
        assert_eq!(outline.outlined[1].transforms(), (2, 5));
        assert_eq!(ways.iter().map(|way| way.next.as_slice()).collect::<Vec<_>>(), [&[1][..], &[], &[]]);
        let notes = outline.notes();
        assert!(
            notes.iter().any(|note| note.starts_with("line 2: \"b\" can go on with the route at line 7")),
            "{notes:?}"
        );
        assert!(
            notes.iter().any(|note| note.starts_with("line 7: \"x-{token_id}\" can lead to")),
            "{notes:?}"
        );
        assert!(
            notes.iter().any(|note| note.starts_with("line 7: \"x-{token_id}\" needs {token_id}")),
            "{notes:?}"
        );
    }
}
