//! The routes of a file as they are shown.

use std::collections::HashMap;
use std::ptr;

use fanout_core::names::CacheName;
use fanout_core::placeholder::Template;
use fanout_core::route::{Destination, Edge, Inbound, Route, Routes, Topics};
use fanout_core::spanned::{self, Given};
use fanout_core::transform::{Branch, Stage, Tree};
use serde_json::Value;

use super::doubts;
use crate::output::Quoted;

/// The most routes that a message names.
const MOST_NAMED: usize = 5;

/// The routes of a file.
#[derive(Debug)]
pub(super) struct Outline<'r> {
    pub(super) routes: &'r Routes,
    /// The most specific first.
    pub(super) outlined: Vec<OutlinedRoute<'r>>,
    /// The line of each route, in the order of the file.
    lines: Vec<usize>,
}

/// One route.
#[derive(Debug)]
pub(super) struct OutlinedRoute<'r> {
    /// Its index in the file.
    pub(super) index: usize,
    pub(super) line: usize,
    pub(super) route: &'r Route,
    /// In the order of the file.
    pub(super) destinations: Vec<OutlinedDestination<'r>>,
}

/// A destination of a route.
#[derive(Debug)]
pub(super) struct OutlinedDestination<'r> {
    pub(super) destination: &'r Destination,
    pub(super) steps: Vec<OutlinedStep<'r>>,
    /// The indices of the routes that events can take next.
    pub(super) next: Vec<usize>,
    /// The indices of the routes from which events would come back. The function rejects these events.
    pub(super) refused: Vec<usize>,
}

/// A transform of a destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutlinedStep<'r> {
    pub(super) stage: &'r Stage,
    /// The index of the first destination with the same transforms up to here, if it is another one. The transform
    /// is applied once for all of them.
    pub(super) shared_with: Option<usize>,
}

impl<'r> Outline<'r> {
    /// Returns the outline of `routes`, which were read from `text`.
    pub(super) fn new(text: &str, routes: &'r Routes) -> Self {
        let mut outline = Self { routes, outlined: Vec::new(), lines: lines(text) };
        let outlined = |index: &usize| OutlinedRoute {
            index: *index,
            line: outline.line(*index),
            route: outline.route(*index),
            destinations: destinations(routes, *index, outline.route(*index)),
        };
        outline.outlined = routes.order().iter().map(outlined).collect();
        outline
    }

    /// Returns the line of a route, by its index in the file.
    pub(super) fn line(&self, index: usize) -> usize {
        *self.lines.get(index).expect("each route of a file has a line")
    }

    /// Returns a route, by its index in the file.
    pub(super) fn route(&self, index: usize) -> &'r Route {
        self.routes.all().get(index).expect("the index of a route")
    }

    /// Returns the outline of one of the routes.
    pub(super) fn find(&self, route: &Route) -> &OutlinedRoute<'r> {
        let mut all = self.outlined.iter();
        all.find(|outlined| ptr::eq(outlined.route, route)).expect("the outline has all routes")
    }

    /// Returns notes about valid settings that may be a mistake.
    pub(super) fn notes(&self) -> Vec<String> {
        let notes = |outlined: &OutlinedRoute<'r>| {
            let of = |destination| self.notes_of(outlined, destination);
            outlined.destinations.iter().flat_map(of).collect::<Vec<_>>()
        };
        self.doubts().into_iter().chain(self.outlined.iter().flat_map(notes)).collect()
    }

    /// Returns the notes about settings that are probably a habit from another tool.
    pub(super) fn doubts(&self) -> Vec<String> {
        let doubts = |outlined: &OutlinedRoute<'r>| {
            let doubts = doubts::doubts(outlined.route).into_iter();
            doubts.map(|doubt| format!("line {}: {doubt}", outlined.line)).collect::<Vec<_>>()
        };
        self.outlined.iter().flat_map(doubts).collect()
    }

    /// Names routes in a message, if there are any.
    fn named(&self, indices: &[usize]) -> Option<String> {
        if let [index] = indices {
            let inbound = self.route(*index).inbound().to_string();
            return Some(format!("the route at line {}, {}", self.line(*index), Quoted(&inbound)));
        }
        let lines: Vec<_> =
            indices.iter().take(MOST_NAMED).map(|index| self.line(*index).to_string()).collect();
        let more = match indices.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!indices.is_empty()).then(|| format!("the routes at the lines {}{more}", lines.join(", ")))
    }

    fn notes_of(&self, outlined: &OutlinedRoute<'_>, destination: &OutlinedDestination<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        let topic = destination.destination.to.to_string();
        let from = format!("line {}: {}", outlined.line, Quoted(&topic));
        if let Some(routes) = self.named(&destination.next) {
            let is_certain = match &destination.next[..] {
                [next] => always_matches(outlined.route.inbound(), destination, self.route(*next).inbound()),
                _ => false,
            };
            let leads = if is_certain { "leads" } else { "can lead" };
            notes.push(format!("{from} {leads} to {routes}, if that topic has a webhook too"));
        }
        if let Some(routes) = self.named(&destination.refused) {
            notes.push(format!(
                "{from} can lead to {routes}, and from there back: the function refuses such an event"
            ));
        }
        let (mut missing, mut unknown) = (None, None);
        for name in destination.lacking() {
            match name.strip_prefix("lookup.").map(|member| destination.lookup(member)) {
                Some(None) => unknown = unknown.or(Some(name)),
                Some(Some(true)) => {}
                None if name == "token_id" && outlined.route.requires_token_id() => {}
                _ => missing = missing.or(Some(name)),
            }
        }
        if let Some(unknown) = unknown {
            notes.push(format!(
                "{from} needs {{{unknown}}}, and none of its transforms is a `lookup` as {:?}",
                unknown.trim_start_matches("lookup.")
            ));
        }
        if let Some(missing) = missing {
            notes.push(format!(
                "{from} needs {{{missing}}}, which some events lack: this destination refuses them, and the others \
                 accept them"
            ));
        }
        notes
    }
}

impl OutlinedRoute<'_> {
    /// Returns the number of transforms that are applied to an event, and their number if none were shared.
    pub(super) fn transforms(&self) -> (usize, usize) {
        let unshared = self.destinations.iter().map(|destination| destination.steps.len()).sum();
        (self.route.tree().transforms(), unshared)
    }
}

impl OutlinedDestination<'_> {
    /// Returns true if the `lookup` for this member always has a value: a default, or a list, which may be empty. Returns
    /// `None` without such a `lookup`.
    fn lookup(&self, member: &str) -> Option<bool> {
        let settings = self.steps.iter().filter(|step| step.stage.name() == "lookup").map(|step| {
            let settings = serde_json::from_str::<Value>(step.stage.settings());
            settings.expect("the settings of a stage are JSON")
        });
        let is_named = |settings: &Value| settings["as"].as_str() == member.split('.').next();
        let settings = settings.rev().find(is_named)?;
        Some(["default", "list", "set"].iter().any(|key| settings.get(key).is_some()))
    }

    /// Returns the fields that it needs and that an event may lack.
    fn lacking(&self) -> impl Iterator<Item = &str> {
        self.destination.to.templates().into_iter().flat_map(Template::lacking)
    }
}

/// Returns the cache of a route, if it names one.
pub(super) fn cache_of(inbound: &Inbound) -> Option<String> {
    inbound.cache.as_ref().map(ToString::to_string)
}

/// Returns the cache of a destination as the file names it, or that of its route. An AWS destination has none.
pub(super) fn cache_to(inbound: &Inbound, to: &Destination) -> Option<String> {
    let topic = to.to.topic()?;
    topic.cache.as_ref().map(ToString::to_string).or_else(|| cache_of(inbound))
}

/// Returns true if the route `next` matches every event of a destination.
fn always_matches(from: &Inbound, destination: &OutlinedDestination<'_>, next: &Inbound) -> bool {
    let Some(to) = destination.destination.to.topic() else { return false };
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
    is_cache && is_topic
}

fn destinations<'r>(routes: &Routes, index: usize, route: &'r Route) -> Vec<OutlinedDestination<'r>> {
    let mut owners = HashMap::new();
    let destinations = route.destinations().iter().enumerate().map(|(number, destination)| {
        let steps = destination.chain.iter().zip(branches(route.tree(), &destination.chain));
        let step = |(stage, branch)| {
            let owner = *owners.entry(ptr::from_ref::<Branch>(branch)).or_insert(number);
            OutlinedStep { stage, shared_with: (owner != number).then_some(owner) }
        };
        let steps = steps.map(step).collect();
        let edge = Edge { route: index, destination: number };
        OutlinedDestination { destination, steps, next: routes.next(edge), refused: routes.refused(edge) }
    });
    destinations.collect()
}

/// Returns the branch of each transform of a chain. Chains that share a transform share its branch.
fn branches<'t>(mut tree: &'t Tree, chain: &[Stage]) -> Vec<&'t Branch> {
    let mut branches = Vec::with_capacity(chain.len());
    for stage in chain {
        let branch = tree.branches.iter().find(|branch| branch.stage.is_equivalent(stage));
        let branch = branch.expect("the tree has all chains");
        let behind = branch.next.iter().find(|(on_failure, _)| *on_failure == stage.on_failure());
        tree = &behind.expect("the tree has all chains").1;
        branches.push(branch);
    }
    branches
}

/// Returns the lines at which the routes of a valid file begin.
fn lines(text: &str) -> Vec<usize> {
    let mut document = Given::document(text).expect("the text was read before");
    let routes = document.take("routes").expect("a valid file has routes");
    let line = |start| 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    let routes = spanned::array(routes).expect("the routes of a valid file are an array");
    routes.map(|route| line(route.span().start)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use fanout_core::file;
    use fanout_core::transform::Transforms;

    use super::*;

    /// Returns the routes of a valid file.
    pub(in super::super) fn routes(text: &str) -> Routes {
        file::read(text, &Transforms::standard(), fanout_aws::KINDS).unwrap()
    }

    fn outlined<T>(text: &str, look: impl Fn(&Outline<'_>) -> T) -> T {
        look(&Outline::new(text, &routes(text)))
    }

    #[test]
    fn notes_lookups_that_find_nothing() {
        let file = "[[routes]]
topic = 'in'
transforms = [{ lookup = { as = 'rooms', set = 's' } }, { lookup = { as = 'name', item = 'i' } },
              { lookup = { as = 'ban', item = 'b', default = 'no' } }]
destinations = [
    { topic = 'x-{each}', for_each = '{lookup.rooms}' }, { topic = 'x-{each}', for_each = '{lookup.room}' },
    { list = { key = 'k', value = '{lookup.name}{lookup.ban}' } }]";
        let routes = routes(file);
        let notes = Outline::new(file, &routes).notes();
        let [unknown, missing] = &notes[..] else { panic!("two notes: {notes:#?}") };
        assert!(
            unknown.ends_with("needs {lookup.room}, and none of its transforms is a `lookup` as \"room\""),
            "{unknown}"
        );
        assert!(missing.contains("needs {lookup.name}, which some events lack"), "{missing}");
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
    fn knows_shared_transforms_and_next_routes() {
        let routes = routes(TEXT);
        let outline = Outline::new(TEXT, &routes);
        let destinations = &outline.outlined[1].destinations;
        let shared: Vec<Vec<_>> = destinations
            .iter()
            .map(|destination| destination.steps.iter().map(|step| step.shared_with.is_some()).collect())
            .collect();
        assert_eq!(shared, [vec![false], vec![true, false], vec![true, true]]);
        assert_eq!(outline.outlined[1].transforms(), (2, 5));
        let next: Vec<_> = destinations.iter().map(|destination| destination.next.as_slice()).collect();
        assert_eq!(next, [&[1][..], &[], &[]]);
        let notes = outline.notes();
        assert!(
            notes.iter().any(|note| note.starts_with("line 2: \"b\" can lead to the route at line 7")),
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
