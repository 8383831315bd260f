//! `fanout.toml`: routes, their destinations and transforms.
//!
//! ```toml
//! [[routes]]
//! topic = "{room}-publish"
//! transforms = ["moderate"]
//!
//! [[routes.destinations]]
//! topic = "{room}-subscribe-english"
//!
//! [[routes.destinations]]
//! topic = "{room}-subscribe-spanish"
//! extra_transforms = [{ translate = { target = "es" } }]
//! ```
//!
//! Routes and destinations are read one by one, so that the caller gets every fault, each with its place.

use std::fmt;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use toml::Spanned;
use toml::de::DeValue;

use crate::destination::ServiceDestination;
use crate::destination::registry::{self, CACHE_KINDS, KINDS, Kind, REGISTRY};
use crate::limits::{MAX_DESTINATIONS, MAX_ROUTES, MAX_TOPICS, MAX_TRANSFORMS};
use crate::names::CacheName;
use crate::placeholder::{EACH, Field, Scope, SyntaxError, Template, is_literal};
use crate::route::{
    Destination, Edge, ForEach, Inbound, Outbound, Pattern, Route, RouteError, Routes, To, Topics,
};
use crate::spanned::{self, CollectFaults, Fault, Given, Span};
use crate::transform::{Stage, Transforms};

/// A fault in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// Reads the routes in the text of a file. `aws_kinds` are the kinds of AWS destinations that this build can send to, of
/// [`KINDS`].
///
/// # Errors
/// All faults, in the order of the file.
pub fn read(text: &str, transforms: &Transforms, aws_kinds: &[&str]) -> Result<Routes, Vec<FileError>> {
    let mut reader = Reader { transforms, aws_kinds, text, faults: Vec::new(), destinations: 0 };
    let routes = Given::document(text).map_err(|faults| reader.faults.extend(faults)).ok();
    let routes = routes.and_then(|document| reader.document(document));
    let mut faults = reader.faults;
    if let (Some(routes), true) = (routes, faults.is_empty()) {
        return Ok(routes);
    }
    faults.sort_by_key(|fault| fault.span.start);
    Err(faults.into_iter().map(|fault| FileError::new(text, fault)).collect())
}

/// Converts the bytes of a file to its text.
///
/// # Errors
/// When they are not UTF-8.
pub fn text(bytes: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).map(String::from_utf8_lossy).unwrap_or_default();
        let (line, column) = position(&before, before.len());
        let message = "the file is not UTF-8; save it with that encoding".to_owned();
        FileError { line, column, message }
    })
}

/// Returns a version of a text: the beginning of its SHA-256, in hexadecimal digits.
#[must_use]
pub fn version(text: &str) -> String {
    let mut version = hex::encode(Sha256::digest(text));
    version.truncate(VERSION_DIGITS);
    version
}

/// The length of a [`version`]. Texts of one file that differ have different versions, but for one in 10^14.
const VERSION_DIGITS: usize = 12;

struct Reader<'r> {
    transforms: &'r Transforms,
    aws_kinds: &'r [&'r str],
    text: &'r str,
    faults: Vec<Fault>,
    /// The number of destinations so far, over all routes.
    destinations: usize,
}

/// The places of a route and of its destinations.
struct Places {
    route: Span,
    destinations: Vec<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Reads the texts in the settings of a service destination, and notes faults with their places.
pub(crate) struct Texts<'t, 'r> {
    reader: &'t mut Reader<'r>,
    captures: &'t [&'t str],
    /// True if every key of the settings was read. Faulty keys are left out.
    is_complete: bool,
}

impl Texts<'_, '_> {
    /// Reads a template. Faults call it `what`.
    pub(crate) fn template(&mut self, what: &str, text: &Spanned<String>) -> Option<Template> {
        self.reader.template(what, text, self.captures, Scope::Request)
    }

    /// Reads a template that may be left out. The outer `None` means a fault.
    #[expect(clippy::option_option, reason = "the outer one is for faults, as everywhere in this module")]
    pub(crate) fn optional(&mut self, what: &str, text: Option<Spanned<String>>) -> Option<Option<Template>> {
        text.map_or(Some(None), |text| self.template(what, &text).map(Some))
    }

    /// Reads the template of the name of the destination. Checks the name if it is the same for every event.
    pub(crate) fn name(
        &mut self,
        what: &str,
        text: &Spanned<String>,
        check: fn(&str) -> Result<(), String>,
    ) -> Option<Template> {
        let template = self.reader.template(what, text, self.captures, Scope::Name)?;
        match template.literal().map(check) {
            Some(Err(message)) => self.reader.fault(text.span(), message),
            _ => Some(template),
        }
    }

    /// Notes that a key is missing, unless the key is there and has a fault.
    pub(crate) fn lack(&mut self, span: Span, message: impl Into<String>) {
        if self.is_complete {
            self.fault(span, message);
        }
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, span: Span, message: impl Into<String>) {
        self.reader.note(span, message);
    }

    /// Notes the faults of reading the keys.
    pub(crate) fn note_all(&mut self, faults: Vec<Fault>) {
        self.is_complete = faults.is_empty();
        self.reader.faults.extend(faults);
    }
}

/// The maximum number of faults between routes in a report. A generated file may have one for every route.
const MAX_TOGETHER: usize = 20;

const NO_ROUTES: &str = "the file has no routes; a route begins with [[routes]]";

/// Transforms that are written as keys of a route or a destination by mistake.
const TRANSFORMS: [&str; 6] = ["filter", "json", "moderate", "template", "translate", "truncate"];

/// Keys by which other tools name a receiver.
const OTHER_RECEIVERS: [&str; 10] =
    ["url", "webhook", "http", "https", "lambda", "function", "endpoint", "queue", "bus", "table"];

/// The keys of a route.
const ROUTE_KEYS: [&str; 5] = ["topic", "cache", "require_token_id", "transforms", "destinations"];

/// The keys of a destination, beside the kinds of service destinations.
const KEYS: [&str; 6] = ["topic", "cache", "for_each", "max_topics", "transforms", "extra_transforms"];

/// A route: the events that it is for, their transforms, and their destinations.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteKeys {
    /// The inbound topic: a name, or a pattern with captures, as `{room}-publish`.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    topic: Spanned<String>,
    /// The cache of the events. Default: any cache.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    cache: Option<Spanned<String>>,
    /// Whether events are dropped whose publisher's token has no id. Default: false.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    require_token_id: bool,
}

/// A destination of events.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct DestinationKeys {
    /// The outbound topic: a name, which may have placeholders, as `{room}-subscribe`.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    topic: Spanned<String>,
    /// The cache to publish in, which may have placeholders. Default: the cache of the event.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    cache: Option<Spanned<String>>,
    /// A list, such as `{lookup.rooms}` or `{json.rooms}`: the text is published to a topic for each entry. `topic` and
    /// `cache` have the entry as `{each}`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    for_each: Option<Spanned<String>>,
    /// With `for_each`, the most topics of one event: a longer list is refused. Default: 100.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1, max = 500)))]
    max_topics: Option<Spanned<u32>>,
}

impl Reader<'_> {
    fn document(&mut self, mut document: Given<'_>) -> Option<Routes> {
        let span = document.span();
        self.correct(&mut document, &["routes"]);
        let routes = document.take("routes");
        if routes.is_none()
            && let Some(key) = ROUTE_KEYS.iter().find(|key| document.contains(key))
        {
            let message =
                format!("the file has no routes, and `{key}` outside of one; write [[routes]] above it");
            return self.fault(span.start..span.start, message);
        }
        if let Some(key) = document.keys().find(|key| key.get_ref() == "destinations") {
            return self
                .fault(key.span(), "`destinations` is outside of a route; write [[routes.destinations]]");
        }
        self.rest::<Nothing>(document, &["routes"]);
        let Some(routes) = routes else {
            return self.fault(span.start..span.start, NO_ROUTES);
        };
        let span = routes.span();
        let routes: Vec<_> = self.tables("[[routes]]", routes)?.collect();
        if let Some(first) = routes.get(MAX_ROUTES) {
            let message = format!("the file has {} routes; the maximum is {MAX_ROUTES}", routes.len());
            return self.fault(first.span(), message);
        }
        let routes: Vec<_> = routes.into_iter().map(|route| self.route(route)).collect();
        if routes.is_empty() {
            return self.fault(span, NO_ROUTES);
        }
        // Routes whose topic could be read are checked together, even if they have other faults: one run reports all
        // faults.
        let (routes, places): (Vec<_>, Vec<_>) = routes.into_iter().flatten().unzip();
        match Routes::new(routes.clone()) {
            Ok(routes) => Some(routes),
            Err(errors) => {
                for error in errors.iter().take(MAX_TOGETHER) {
                    self.together(error, &routes, &places);
                }
                if let Some(more) = errors.len().checked_sub(MAX_TOGETHER).filter(|more| *more > 0) {
                    self.note(
                        self.text.len()..self.text.len(),
                        format!("{more} more routes have such faults"),
                    );
                }
                None
            }
        }
    }

    /// Reads a route, and leaves out its faulty destinations and transforms.
    fn route(&mut self, given: Spanned<DeValue<'_>>) -> Option<(Route, Places)> {
        let mut given = self.kept(Given::table(given))?;
        let span = given.span();
        self.correct(&mut given, &ROUTE_KEYS);
        let (transforms, destinations) = (given.take("transforms"), given.take("destinations"));
        let keys: Option<RouteKeys> = self.rest(given, &ROUTE_KEYS);
        let (topics, cache, requires_token_id) = match keys {
            None => (None, None, false),
            Some(keys) => (self.pattern(&keys.topic), self.inbound_cache(keys.cache), keys.require_token_id),
        };
        // The captures of a route with a faulty topic are unknown: every name in braces may be one.
        let captures = topics.as_ref().map_or_else(|| named(self.text), |topic| topic.names().collect());
        let default = transforms.map(|list| {
            let span = list.span();
            self.stages(list, &captures).and_then(|stages| self.at_most(stages, &span, "route"))
        });
        let default = default.unwrap_or_else(|| Some(Vec::new()));
        let destinations = if let Some(destinations) = destinations {
            self.destinations(destinations, default.as_deref(), &captures)
        } else {
            let message = "the route has no destinations; a destination begins with [[routes.destinations]], or \
                           write destinations = [\"a topic\"]";
            self.note(span.clone(), message);
            Vec::new()
        };
        let (destinations, places) = destinations.into_iter().unzip();
        let inbound = Inbound { cache: cache?, topics: Topics::Like(topics?) };
        let route = Route::new(inbound, destinations)
            .with_required_token_id(requires_token_id)
            .with_transforms(default.unwrap_or_default());
        Some((route, Places { route: span, destinations: places }))
    }

    fn pattern(&mut self, topic: &Spanned<String>) -> Option<Pattern> {
        let pattern = match Pattern::new(topic.get_ref().as_str()) {
            Ok(pattern) => pattern,
            Err(error) => return self.syntax("topic", topic, &error),
        };
        let reserved = pattern.names().find(|name| *name == EACH || Field::named(name).is_some());
        match reserved {
            None => Some(pattern),
            Some(name) => {
                let of = if name == EACH { "the entries of `for_each`" } else { "a field of the event" };
                let message = format!("the capture {{{name}}} has the name of {of}; give it another name");
                self.fault(self.inside(topic, pattern.place(name)), message)
            }
        }
    }

    /// Reads the cache of a route, which may be left out. The outer `None` means a fault.
    #[expect(clippy::option_option, reason = "the outer one is for faults, as everywhere in this module")]
    fn inbound_cache(&mut self, cache: Option<Spanned<String>>) -> Option<Option<CacheName>> {
        let Some(cache) = cache else { return Some(None) };
        match CacheName::new(cache.get_ref().as_str()) {
            Ok(_) if !is_literal(cache.get_ref()) => {
                let message =
                    "the cache of a route is one name, without placeholders; leave it out for any cache";
                self.fault(cache.span(), message)
            }
            Ok(name) => Some(Some(name)),
            Err(error) => self.fault(cache.span(), format!("the cache {error}")),
        }
    }

    /// Reads a list of destinations. Returns the valid ones with their places.
    fn destinations(
        &mut self,
        list: Spanned<DeValue<'_>>,
        default: Option<&[Stage]>,
        captures: &[&str],
    ) -> Vec<(Destination, Span)> {
        let span = list.span();
        let Some(list) = self.tables("[[routes.destinations]]", list) else { return Vec::new() };
        let list: Vec<_> = list.collect();
        let before = self.destinations;
        self.destinations += list.len();
        if self.destinations > MAX_DESTINATIONS {
            if before <= MAX_DESTINATIONS {
                let message =
                    format!("the file has more than {MAX_DESTINATIONS} destinations, which is the maximum");
                self.note(span, message);
            }
            return Vec::new();
        }
        if list.is_empty() {
            self.note(span, "the route has no destinations; write destinations = [\"a topic\"]");
        }
        let mut destinations: Vec<(Destination, Span)> = Vec::new();
        for given in list {
            let span = given.span();
            let faults = self.faults.len();
            let Some(destination) = self.destination(given, default, captures) else { continue };
            // Without its transforms it may look like another destination.
            let is_complete = default.is_some() && self.faults.len() == faults;
            let same = destinations.iter().find(|(known, _)| is_complete && *known == destination);
            if let Some((_, first)) = same {
                let line = self.line(first);
                self.note(span.clone(), format!("the route has this destination already, at line {line}"));
            }
            destinations.push((destination, span));
        }
        destinations
    }

    fn destination(
        &mut self,
        given: Spanned<DeValue<'_>>,
        default: Option<&[Stage]>,
        captures: &[&str],
    ) -> Option<Destination> {
        if matches!(given.get_ref(), DeValue::String(_)) {
            let topic = self.kept(spanned::text(given))?;
            let topic = self.template("topic", &topic, captures, Scope::Name)?;
            let to = To::Topic(Outbound { cache: None, topic, for_each: None });
            return Some(Destination::new(to, default.unwrap_or_default().to_vec()));
        }
        let span = given.span();
        let Ok(mut given) = Given::table(given) else {
            let message = format!(
                "not a destination; expected the name of a topic, or a table with `topic` or one of {}",
                quoted_kinds()
            );
            return self.fault(span, message);
        };
        self.correct(&mut given, &[&KEYS[..], KINDS, CACHE_KINDS].concat());
        let (transforms, then) = (given.take("transforms"), given.take("extra_transforms"));
        if let (Some(_), Some(then)) = (&transforms, &then) {
            self.note(
                then.span(),
                "`extra_transforms` adds to the transforms of the route, and `transforms` replaces them; give one of the two",
            );
        }
        let own = transforms.map(|list| self.stages(list, captures));
        let then = then.map(|list| self.stages(list, captures));
        let chain = match (own, then) {
            (Some(own), _) => own,
            (None, Some(then)) => default.zip(then).map(|(default, then)| [default, &then].concat()),
            (None, None) => default.map(<[Stage]>::to_vec),
        };
        let chain = chain.map(|chain| self.at_most(chain, &span, "destination"));
        let to = self.to(given, captures)?;
        Some(Destination::new(to, chain.unwrap_or_else(|| Some(Vec::new()))?))
    }

    /// Returns `chain`, or notes that it has too many transforms.
    fn at_most(&mut self, chain: Vec<Stage>, span: &Span, what: &str) -> Option<Vec<Stage>> {
        let count: usize = chain.iter().map(Stage::count).sum();
        if count <= MAX_TRANSFORMS {
            return Some(chain);
        }
        let message = format!(
            "the {what} has {count} transforms, those inside `json` included; the maximum is {MAX_TRANSFORMS}"
        );
        self.fault(span.clone(), message)
    }

    /// Reads the receiver of a destination: a topic, or a service destination.
    fn to(&mut self, mut given: Given<'_>, captures: &[&str]) -> Option<To> {
        let kinds: Vec<_> = REGISTRY.iter().filter_map(|kind| Some((kind, given.take(kind.name)?))).collect();
        let mut kinds = kinds.into_iter();
        let Some((kind, settings)) = kinds.next() else {
            // The key of another receiver is the fault, and not a missing topic.
            let other = given.keys().find(|key| OTHER_RECEIVERS.contains(&key.get_ref().as_str()));
            if let (Some(other), false) = (other, given.contains("topic")) {
                return self.fault(other.span(), Self::unknown(other.get_ref(), &KEYS));
            }
            // Known even if its value has a fault.
            let each: &[&str] = if given.contains("for_each") { &[EACH] } else { &[] };
            let keys: DestinationKeys = self.rest(given, &[&KEYS[..], KINDS, CACHE_KINDS].concat())?;
            return self.outbound(&keys, captures, each).map(To::Topic);
        };
        for (other, settings) in kinds {
            let message = format!(
                "the destination has both `{}` and `{}`; make it two destinations",
                kind.name, other.name
            );
            self.note(settings.span(), message);
            // Its other faults are reported as well.
            self.service_destination(other, settings, captures);
        }
        for (key, value) in given.into_entries() {
            let message = format!("a destination with `{}` cannot have `{}`", kind.name, key.get_ref());
            self.note(value.span(), message);
        }
        self.service_destination(kind, settings, captures).map(To::Service)
    }

    /// Reads a topic. Its names have the captures, and those of `each`.
    fn outbound(&mut self, keys: &DestinationKeys, captures: &[&str], each: &[&str]) -> Option<Outbound> {
        let for_each = self.for_each(keys, captures);
        let captures = [captures, each].concat();
        let cache = match &keys.cache {
            None => Some(None),
            Some(cache) => self.cache_template(cache, &captures).map(Some),
        };
        let topic = self.template("topic", &keys.topic, &captures, Scope::Name);
        let (cache, topic) = (cache?, topic?);
        let is_used = || cache.iter().chain([&topic]).flat_map(Template::names).any(|name| name == EACH);
        if let (Some(list), false) = (&keys.for_each, is_used()) {
            return self.fault(
                list.span(),
                "`for_each` needs `{each}` in `topic` or `cache`: all entries would have the same topic",
            );
        }
        Some(Outbound { cache, topic, for_each: for_each? })
    }

    /// Reads the list of a destination, which may be left out. The outer `None` means a fault.
    #[expect(clippy::option_option, reason = "the outer one is for faults, as everywhere in this module")]
    fn for_each(&mut self, keys: &DestinationKeys, captures: &[&str]) -> Option<Option<ForEach>> {
        let max_topics = match &keys.max_topics {
            None => Some(ForEach::DEFAULT_MAX_TOPICS),
            Some(max) if keys.for_each.is_none() => {
                self.fault(max.span(), "`max_topics` is for a destination with `for_each`; leave it out")
            }
            Some(max) if !(1..=MAX_TOPICS).contains(max.get_ref()) => self
                .fault(max.span(), format!("`max_topics` is {}; expected 1 to {MAX_TOPICS}", max.get_ref())),
            Some(max) => Some(usize::try_from(*max.get_ref()).expect("a usize has 32 bits or more")),
        };
        let Some(list) = &keys.for_each else { return max_topics.map(|_| None) };
        match Template::read_list(list.get_ref().as_str(), captures) {
            Ok(list) => Some(Some(ForEach { list, max_topics: max_topics? })),
            Err(error) => self.syntax("`for_each`", list, &error),
        }
    }

    fn service_destination(
        &mut self,
        kind: &Kind,
        settings: Spanned<DeValue<'_>>,
        captures: &[&str],
    ) -> Option<ServiceDestination> {
        let name = kind.name;
        if KINDS.contains(&name) && !self.aws_kinds.contains(&name) {
            let feature = registry::feature(name);
            self.note(settings.span(), format!("`{name}` needs a build with the cargo feature `{feature}`"));
        }
        let settings = self.kept(Given::table(settings))?;
        (kind.read)(settings, &mut Texts { reader: self, captures, is_complete: true })
    }

    /// Reads a list of tables. With one bracket too few in the heading, it is a table.
    fn tables<'v>(
        &mut self,
        heading: &str,
        list: Spanned<DeValue<'v>>,
    ) -> Option<impl Iterator<Item = Spanned<DeValue<'v>>> + use<'v>> {
        if matches!(list.get_ref(), DeValue::Table(_)) {
            let message = format!("expected a list of tables; write {heading}, with two brackets");
            return self.fault(list.span(), message);
        }
        self.kept(spanned::array(list))
    }

    fn stages(&mut self, list: Spanned<DeValue<'_>>, captures: &[&str]) -> Option<Vec<Stage>> {
        let stages = self.transforms.stages(list, captures);
        stages.map_err(|faults| self.faults.extend(faults)).ok()
    }

    fn cache_template(&mut self, text: &Spanned<String>, captures: &[&str]) -> Option<Template> {
        let template = self.template("cache", text, captures, Scope::Name)?;
        match template.literal().map(CacheName::new) {
            Some(Err(error)) => self.fault(text.span(), format!("the cache {error}")),
            _ => Some(template),
        }
    }

    fn template(
        &mut self,
        what: &str,
        text: &Spanned<String>,
        captures: &[&str],
        scope: Scope,
    ) -> Option<Template> {
        match Template::read(text.get_ref().as_str(), captures, scope) {
            Ok(template) => Some(template),
            Err(error) => self.syntax(what, text, &error),
        }
    }

    /// Returns the place of a byte of a text, or the place of the whole text if it has escapes.
    fn inside(&self, text: &Spanned<String>, byte: Option<usize>) -> Span {
        let span = text.span();
        let written = self.text.get(span.clone()).unwrap_or_default();
        let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| written.starts_with(quotes));
        let length = text.get_ref().len();
        let begins = quotes
            .and_then(|quotes| written.len().checked_sub(quotes.len() + length))
            .filter(|begins| written.get(*begins..begins + length) == Some(text.get_ref().as_str()));
        match (begins, byte) {
            (Some(begins), Some(byte)) => span.start + begins + byte..span.end,
            _ => span,
        }
    }

    /// Notes an error between routes that are valid one by one.
    #[expect(clippy::indexing_slicing, reason = "an error has indices of these routes and destinations")]
    fn together(&mut self, error: &RouteError, routes: &[Route], places: &[Places]) {
        match error {
            RouteError::Ambiguous { first, second } => {
                let topics = match [first, second].map(|index| &routes[*index].inbound().topics) {
                    [Topics::Like(one), Topics::Like(other)] if one.shape() != other.shape() => {
                        let common = one.shape().common(other.shape()).unwrap_or_default();
                        format!("some of the same topics, such as \"{common}\"")
                    }
                    _ => "the same topics".to_owned(),
                };
                let message = format!(
                    "the route at line {} is for {topics}, and neither is more specific: give one of them a \
                     cache, or more text around its captures",
                    self.line(&places[*first].route)
                );
                self.note(places[*second].route.clone(), message);
            }
            RouteError::Cycle(edges) => {
                let Edge { route, destination } = edges[0];
                let path = edges.iter().map(|edge| &routes[edge.route].destinations()[edge.destination].to);
                let path: Vec<_> = path.map(|to| format!("\"{to}\"")).collect();
                let message = format!(
                    "the route feeds itself: \"{}\" -> {}, which the route at line {} takes again; name a \
                     topic that leads elsewhere",
                    routes[route].inbound(),
                    path.join(" -> "),
                    self.line(&places[route].route)
                );
                self.note(places[route].destinations[destination].clone(), message);
            }
        }
    }

    fn syntax<T>(&mut self, what: &str, text: &Spanned<String>, error: &SyntaxError) -> Option<T> {
        self.fault(self.inside(text, error.at), format!("the {what} {error}"))
    }

    fn line(&self, span: &Span) -> usize {
        position(self.text, span.start).0
    }
}

impl CollectFaults for Reader<'_> {
    fn faults(&mut self) -> &mut Vec<Fault> {
        &mut self.faults
    }

    fn unknown(key: &str, keys: &[&str]) -> String {
        if !keys.contains(&"transforms") {
            return spanned::unknown(key, keys);
        }
        let list = if keys.contains(&"extra_transforms") { "extra_transforms" } else { "transforms" };
        match key {
            _ if TRANSFORMS.contains(&key) => {
                format!(
                    "unknown key `{key}`; a transform is in a list, as in {list} = [{{ {key} = {{ ... }} }}]"
                )
            }
            "queue" => format!("unknown key `{key}`; write sqs = {{ queue = ... }}"),
            "bus" => format!("unknown key `{key}`; write eventbridge = {{ bus = ... }}"),
            "table" => format!("unknown key `{key}`; write dynamodb = {{ table = ... }}"),
            _ if OTHER_RECEIVERS.contains(&key) => {
                format!("unknown key `{key}`; URLs and functions are targets of the relay, in `relay.toml`")
            }
            _ => spanned::unknown(key, keys),
        }
    }

    fn explain(message: String, keys: &[&str]) -> String {
        let is_destination = keys.contains(&"extra_transforms");
        if message == spanned::NOT_ONE_TEXT {
            let each = if is_destination { "destination for each" } else { "route for each, or a pattern" };
            return format!("{message}; for several, write a {each}");
        }
        if message != spanned::missing("topic") {
            return message;
        }
        if is_destination {
            format!("{message}; expected topic = \"a name\", or one of {}", quoted_kinds())
        } else {
            format!("{message}; expected topic = \"a name\"")
        }
    }
}

impl FileError {
    /// Returns the error for a fault in `text`.
    #[must_use]
    pub fn new(text: &str, fault: Fault) -> Self {
        let (line, column) = position(text, fault.span.start);
        Self { line, column, message: fault.message }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Returns the names of all kinds of service destinations, for a message.
fn quoted_kinds() -> String {
    let kinds: Vec<_> = KINDS.iter().chain(CACHE_KINDS).map(|kind| format!("`{kind}`")).collect();
    kinds.join(", ")
}

/// Returns all names in braces.
fn named(text: &str) -> Vec<&str> {
    let is_end = |char: char| !matches!(char, 'a'..='z' | '0'..='9' | '_');
    text.split('{').skip(1).filter_map(|behind| behind.trim_start().split(is_end).next()).collect()
}

/// Returns the line and the column of a byte, both from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = r#"
[[routes]]
cache = "chat"
topic = "{room}-publish"
transforms = ["trim"]
destinations = ["{room}-a", { topic = "{room}-b", cache = "{cache}-2", extra_transforms = ["uppercase"] }]

[[routes.destinations]]
topic = "nonsense"
"#;

    fn errors(text: &str) -> Vec<String> {
        let errors = read(text, &Transforms::standard(), KINDS).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    }

    /// Returns the one error of `text`.
    fn error(text: &str) -> String {
        let errors = errors(text);
        let [error] = &errors[..] else { panic!("one error, not {errors:#?}") };
        error.clone()
    }

    #[test]
    fn destination_has_transforms_of_route_or_own_or_more() {
        let text = r#"
[[routes]]
topic = "in"
transforms = ["trim"]
destinations = ["a", { topic = "b" }, { topic = "c", extra_transforms = ["uppercase"] }, { topic = "d", transforms = ["echo"] }]
"#;
        let routes = read(text, &Transforms::standard(), KINDS).unwrap();
        let chain = |destination: &Destination| -> Vec<_> {
            destination.chain.iter().map(|stage| stage.name().to_owned()).collect()
        };
        let chains: Vec<_> = routes.all()[0].destinations().iter().map(chain).collect();
        assert_eq!(chains, [vec!["trim"], vec!["trim"], vec!["trim", "uppercase"], vec!["echo"]]);
    }

    #[test]
    fn rejects_bytes_that_are_not_utf8_with_their_place() {
        let wrong = text(b"a = 1\nb = '\xc3\xa9\xff'".to_vec()).unwrap_err();
        assert_eq!(wrong.to_string(), "2:7: the file is not UTF-8; save it with that encoding");
        assert_eq!(text(b"a = 1".to_vec()).unwrap(), "a = 1");
    }

    #[test]
    fn rejects_text_that_is_not_toml_with_its_place() {
        assert!(errors(CHAT)[0].starts_with("8:"), "{:?}", errors(CHAT));
        assert!(error("[[routes]\n").starts_with("1:"));
        assert_eq!(
            error(
                "[[routes]]\ntopic = 'a'\ntransforms = ['trim'\ndestinations = ['b']\n[[routes]]\ntopic = 'c'\n"
            ),
            "3:14: the list that begins here has no end; expected `]`"
        );
    }

    #[test]
    fn rejects_file_without_routes_or_destinations() {
        assert_eq!(error(""), "1:1: the file has no routes; a route begins with [[routes]]");
        assert_eq!(
            error("[routes]\ntopic = 'a'"),
            "1:1: expected a list of tables; write [[routes]], with two brackets"
        );
        assert_eq!(
            error("[[routes]]\ntopic = 'a'\n[routes.destinations]\ntopic = 'b'"),
            "3:1: expected a list of tables; write [[routes.destinations]], with two brackets"
        );
        assert_eq!(error("routes = []"), "1:10: the file has no routes; a route begins with [[routes]]");
        assert!(error("[[routes]]\ntopic = 'a'").starts_with("1:1: the route has no destinations"));
        assert!(
            error("[[routes]]\ntopic = 'a'\ndestinations = []").starts_with("3:16: the route has no dest")
        );
    }

    #[test]
    fn reports_all_faults_of_file() {
        let told = errors(
            r#"
speed = 3
[[routes]]
tpoic = "a"
cache = " "
transforms = ["shout"]
destinations = ["{", { topic = "{x}", extra_transforms = [] , transforms = [] }, { topics = "b" }, 3]
[[routes]]
topic = "{a}{b}"
destinations = ["{c}"]
[[routes]]
topic = "{text}-{token_id}"
destinations = ["b", "b", "{rom}"]
"#,
        );
        let said = |line: &str, says: &str| {
            assert!(
                told.iter().any(|error| error.starts_with(line) && error.contains(says)),
                "{says}: {told:#?}"
            );
        };
        said("2:1", "unknown key `speed`; expected `routes`");
        said("6:15", "unknown transform \"shout\"");
        said("4:1", "unknown key `tpoic`; did you mean `topic`?");
        said("7:18", "the topic opens a brace and does not close it");
        said("7:58", "give one of the two");
        said("7:84", "unknown key `topics`; did you mean `topic`?");
        said("7:100", "not a destination; expected the name of a topic");
        said("9:13", "has two captures with nothing between them");
        said("12:10", "the capture {text} has the name of a field");
        said("13:22", "the route has this destination already, at line 13");
    }

    #[test]
    fn reports_faults_between_routes_beside_faults_in_them() {
        let told = errors(
            r#"
[[routes]]
topic = "a"
transform_s = ["trim"]
destinations = [{ topic = "b", extra_transforms = ["shout"] }, "{rom}"]
[[routes]]
topic = "b"
transforms = ["shout"]
destinations = ["c", { topic = "c", transforms = ["shout"] }, "a"]
[[routes]]
topic = "{x}-a"
[[routes]]
topic = "{y}-a"
destinations = ["c"]
"#,
        );
        let places: Vec<_> = told.iter().map(|error| error.split_once(' ').unwrap().0).collect();
        let expected = ["4:1:", "5:17:", "5:52:", "5:65:", "8:15:", "9:51:", "10:1:", "12:1:"];
        assert_eq!(places, expected, "{told:#?}");
    }

    #[test]
    fn rejects_unknown_placeholder_in_name() {
        assert_eq!(
            error("[[routes]]\ntopic = '{room}-in'\ndestinations = ['{rom}-out']"),
            "3:18: the topic has the unknown name `rom`; did you mean `room`?"
        );
    }

    #[test]
    fn refuses_wildcards_and_parameters_of_other_syntaxes() {
        for (topic, destination, says) in [
            ("support-*-in", "out", "2:18: the topic has `*`, which is not a wildcard here; write `{name}`"),
            ("{room}-in", "{{room}}", "3:18: the topic has `{{`; write one brace, as in `{topic}`"),
            ("{room}-in", "${room}", "3:18: the topic has `${`; write `{topic}` without the `$`"),
            ("rooms/:room", "out", "2:16: the topic has `:`"),
            ("{room | upper}-in", "out", "2:10: the topic has `{room | upper}`; a capture is a name"),
        ] {
            let told = error(&format!("[[routes]]\ntopic = '{topic}'\ndestinations = ['{destination}']"));
            assert!(told.starts_with(says), "{told}");
        }
        assert_eq!(errors("[[routes]]\ntopic = \"a-{'*'}\"\ndestinations = ['b']"), [""; 0]);
    }

    #[test]
    fn counts_faults_between_routes_beyond_maximum() {
        let routes = (0..300).map(|n| format!("[[routes]]\ntopic='{{a{n}}}-in'\ndestinations=['x']\n"));
        let text = routes.collect::<Vec<_>>().concat();
        let told = errors(&text);
        assert_eq!(told.len(), MAX_TOGETHER + 1);
        assert!(told[0].starts_with("4:1: the route at line 1 is"), "{}", told[0]);
        assert!(told[MAX_TOGETHER].ends_with("279 more routes have such faults"), "{}", told[MAX_TOGETHER]);
    }

    #[test]
    fn rejects_more_than_maximum_of_routes_and_destinations() {
        let routes = |count: usize| -> String {
            let routes: Vec<_> =
                (0..count).map(|n| format!("[[routes]]\ntopic='in{n}'\ndestinations=['x']\n")).collect();
            routes.concat()
        };
        assert!(read(&routes(MAX_ROUTES), &Transforms::standard(), KINDS).is_ok());
        assert_eq!(error(&routes(MAX_ROUTES + 2)), "3001:1: the file has 1002 routes; the maximum is 1000");
        let list = |count: usize| vec!["'x'"; count].join(",");
        let text = |count: usize| format!("[[routes]]\ntopic='in'\ndestinations=[{}]", list(count));
        assert_eq!(
            error(&text(MAX_DESTINATIONS + 1)),
            "3:14: the file has more than 10000 destinations, which is the maximum"
        );
    }

    #[test]
    fn reports_place_of_fault_inside_text() {
        let at = |topic: &str| {
            let told = error(&format!("[[routes]]\ntopic = 'in'\ndestinations = [{topic}]"));
            told.split_once(": ").unwrap().0.to_owned()
        };
        assert_eq!(at("'é-{rom}'"), "3:20");
        assert_eq!(at("\"\"\"{rom}\"\"\""), "3:20");
        assert_eq!(at("'''\n{rom}'''"), "4:1");
        assert_eq!(at("'ab{'"), "3:20");
        assert_eq!(at("'a{B}'"), "3:20");
        // An escape is longer than its character.
        assert_eq!(at("\"\\u00e9{rom}\""), "3:17");
    }

    #[test]
    fn rejects_same_destination_twice() {
        let told = error("[[routes]]\ntopic = 'in'\ndestinations = ['a',\n'b', 'a']");
        assert_eq!(told, "4:6: the route has this destination already, at line 3");
    }

    #[test]
    fn fault_between_routes_names_both() {
        let told = error(
            "[[routes]]\ntopic = '{a}-in'\ndestinations = ['x']\n[[routes]]\ntopic = '{b}-in'\ndestinations = ['x']",
        );
        assert!(told.starts_with("4:1: the route at line 1 is for the same topics"), "{told}");
        let told = error(
            "[[routes]]\ntopic = '{a}-x'\ndestinations = ['z']\n[[routes]]\ntopic = 'y-{b}'\ndestinations = ['z']",
        );
        assert!(
            told.starts_with("4:1: the route at line 1 is for some of the same topics, such as \"y-x\", and"),
            "{told}"
        );
        let told = error(
            "[[routes]]\ntopic = 'a'\ndestinations = ['b']\n[[routes]]\ntopic = 'b'\ndestinations = ['x', 'a']",
        );
        assert_eq!(
            told,
            "3:17: the route feeds itself: \"a\" -> \"b\" -> \"a\", which the route at line 1 takes again; name a topic that leads elsewhere"
        );
    }

    #[test]
    fn reports_kind_that_build_lacks_beside_other_faults() {
        let errors = |destination: &str, aws_kinds: &[&str]| -> Vec<String> {
            let text = format!("[[routes]]\ntopic = 'a'\ndestinations = [{{ {destination} }}]");
            let errors = read(&text, &Transforms::standard(), aws_kinds).err().unwrap_or_default();
            errors.iter().map(ToString::to_string).collect()
        };
        let machine = "step_functions = { state_machine = 'arn:x' }";
        let lacking = "3:36: `step_functions` needs a build with the cargo feature `step-functions`";
        assert_eq!(errors(machine, &[]), [lacking]);
        assert_eq!(errors(machine, &["sqs", "dynamodb"]), [lacking]);
        assert_eq!(errors(machine, &["step_functions"]), [""; 0]);
        let told = errors("sqs = { queue = 'orders' }", &["step_functions"]);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert_eq!(told[0], "3:25: `sqs` needs a build with the cargo feature `sqs`");
        assert!(told[1].contains("the queue is not a URL"), "{told:#?}");
    }

    #[test]
    fn rejects_invalid_names_of_caches() {
        let told =
            errors("[[routes]]\ntopic = 'a'\ncache = ' '\ndestinations = [{ topic = 'b', cache = 'é' }]");
        assert_eq!(
            told,
            [
                "3:9: the cache is blank; expected a name",
                "4:40: the cache has a character that is not visible ASCII"
            ]
        );
    }
}
