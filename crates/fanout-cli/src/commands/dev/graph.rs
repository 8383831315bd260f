//! The topics that a text passes: the inbound topic, the outbound topics, and those behind them.
//!
//! They are found before anything runs: the routes are asked for the destinations of a sample event of each topic.

use std::collections::HashSet;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::destination::{CACHE_KINDS, Target};
use fanout_core::names::{CacheName, TopicName};
use fanout_core::placeholder::{Field, Template};
use fanout_core::route::{Destination, Planned, Routes};
use momento_webhook::{Event, EventError, Verified};

use crate::error::Error;
use crate::event::verified;
use crate::output::Quoted;

/// All subscribed topics. An index names each; the inbound topic has the first.
#[derive(Debug)]
pub(super) struct TopicGraph {
    topics: Vec<TopicNode>,
}

/// One topic.
#[derive(Debug)]
pub(super) struct TopicNode {
    pub(super) cache: String,
    pub(super) name: String,
    /// The destinations of its messages, if they are delivered to the function.
    pub(super) destinations: Option<Vec<GraphDestination>>,
}

/// One destination of a topic's messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GraphDestination {
    pub(super) receiver: Receiver,
    /// The transforms, in order.
    pub(super) chain: Vec<String>,
}

/// The receiver behind a destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Receiver {
    /// The topic with this index.
    Topic(usize),
    /// A service destination, by its kind and its name.
    Service { is_cache: bool, name: String },
    /// A topic that cannot be subscribed to.
    Unknown {
        /// Its name in the routes.
        topic: String,
        reason: String,
    },
}

impl TopicGraph {
    /// The index of the inbound topic.
    pub(super) const INBOUND: usize = 0;

    /// Returns all topics that can be reached from the topic `inbound`. With `is_chained`, an outbound topic that a route
    /// matches is delivered to the function too.
    ///
    /// # Errors
    /// If no route matches the inbound topic, or a destination leads back to it.
    pub(super) fn new(
        routes: &Routes,
        (cache, inbound, token_id): (&CacheName, &TopicName, Option<&str>),
        is_chained: bool,
    ) -> Result<Self, Error> {
        let first = TopicNode { cache: cache.to_string(), name: inbound.to_string(), destinations: None };
        let mut graph = Self { topics: vec![first] };
        let mut index = Self::INBOUND;
        while let Some(topic) = graph.topics.get(index) {
            if index == Self::INBOUND || is_chained {
                // The function publishes with a key of its own.
                let token_id = token_id.filter(|_| index == Self::INBOUND);
                match sample(topic, token_id) {
                    Ok(event) => graph.add_destinations(index, routes, &event)?,
                    // The function rejects such an event too.
                    Err(_) if index != Self::INBOUND => {}
                    Err(error) => return Err(Error::Usage(format!("--cache, --inbound: {error}"))),
                }
            }
            index += 1;
        }
        if graph.inbound().destinations.is_none() {
            let known: Vec<_> = routes.all().iter().map(|route| format!("\"{}\"", route.inbound())).collect();
            return Err(Error::Usage(format!(
                "no route matches the topic {} in the cache {}; expected one of {}",
                Quoted(inbound.as_str()),
                Quoted(cache.as_str()),
                known.join(", ")
            )));
        }
        Ok(graph)
    }

    fn add_destinations(
        &mut self,
        index: usize,
        routes: &Routes,
        event: &Verified<Event>,
    ) -> Result<(), Error> {
        let plan = routes.plan(event).map_err(|error| {
            Error::Usage(format!("the topic {} cannot be inbound: {error}", Quoted(&event.topic)))
        })?;
        let Some(plan) = plan else { return Ok(()) };
        let destinations = plan.route().destinations().iter().zip(plan.destinations());
        let destinations = destinations.map(|(destination, planned)| GraphDestination {
            receiver: self.receiver(destination, planned, event.token_id.is_some()),
            chain: destination.chain.iter().map(ToString::to_string).collect(),
        });
        let destinations = destinations.collect();
        self.topics.get_mut(index).expect("the index of a topic").destinations = Some(destinations);
        Ok(())
    }

    /// Returns the receiver of a destination. Adds its topic to the graph if it is new.
    fn receiver(&mut self, destination: &Destination, planned: &Planned<'_>, has_token_id: bool) -> Receiver {
        let Target::Topic(target) = &planned.target else {
            let is_cache =
                matches!(planned.target, Target::Service { kind, .. } if CACHE_KINDS.contains(&kind));
            return Receiver::Service { is_cache, name: destination.to.to_string() };
        };
        let mut names = destination.to.templates().into_iter().flat_map(Template::names);
        // A topic that is named by a field of each message is not known in advance.
        let varies = |name: &&str| match *name {
            "cache" | "topic" => false,
            "token_id" if has_token_id => false,
            name => Field::named(name).is_some(),
        };
        let reason = match names.find(varies) {
            Some(name) => Some(format!("{{{name}}} differs from message to message")),
            None => CacheName::new(&*target.cache)
                .err()
                .map(|error| format!("the name of its cache, {}, {error}", Quoted(&target.cache))),
        };
        if let Some(reason) = reason {
            return Receiver::Unknown { topic: destination.to.to_string(), reason };
        }
        let (cache, topic) = (&*target.cache, &*target.topic);
        Receiver::Topic(self.find(cache, topic).unwrap_or_else(|| {
            let (cache, name) = (cache.to_owned(), topic.to_owned());
            self.topics.push(TopicNode { cache, name, destinations: None });
            self.topics.len() - 1
        }))
    }

    /// Returns all topics, by their indices.
    pub(super) fn topics(&self) -> &[TopicNode] {
        &self.topics
    }

    /// Returns the topic with this index.
    pub(super) fn topic(&self, index: usize) -> &TopicNode {
        self.topics.get(index).expect("the index of a topic")
    }

    /// Returns the index of a topic, if it is subscribed to.
    pub(super) fn find(&self, cache: &str, topic: &str) -> Option<usize> {
        self.topics.iter().position(|known| known.cache == cache && known.name == topic)
    }

    /// Returns the topic that texts are published to.
    pub(super) fn inbound(&self) -> &TopicNode {
        self.topic(Self::INBOUND)
    }

    /// Returns the topics that the function publishes to.
    pub(super) fn outbound(&self) -> impl Iterator<Item = &TopicNode> {
        self.topics.iter().skip(1)
    }

    /// Returns all caches, without repetitions.
    pub(super) fn caches(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.topics.iter().map(|topic| topic.cache.as_str()).filter(|cache| seen.insert(*cache)).collect()
    }

    /// Returns the topics at which a message of a topic arrives, by their indices. A topic that is the receiver of two
    /// destinations is there twice.
    pub(super) fn next(&self, index: usize) -> Vec<usize> {
        let topic = |destination: &GraphDestination| match destination.receiver {
            Receiver::Topic(index) => Some(index),
            Receiver::Service { .. } | Receiver::Unknown { .. } => None,
        };
        self.topic(index).destinations.iter().flatten().filter_map(topic).collect()
    }

    /// Returns true if messages of this topic are delivered to the function.
    pub(super) fn is_delivered(&self, index: usize) -> bool {
        self.topic(index).destinations.is_some()
    }

    /// Returns the name of a topic for people: with its cache, unless that is the cache of the inbound topic.
    pub(super) fn name(&self, index: usize) -> String {
        let topic = self.topic(index);
        self.name_of(&topic.cache, &topic.name)
    }

    /// Returns such a name of a topic that may be missing in the graph.
    pub(super) fn name_of(&self, cache: &str, topic: &str) -> String {
        if cache == self.inbound().cache {
            Quoted(topic).to_string()
        } else {
            format!("{} in the cache {}", Quoted(topic), Quoted(cache))
        }
    }

    /// Returns a note for each topic that cannot be subscribed to.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |destination: &GraphDestination| match &destination.receiver {
            Receiver::Topic(_) | Receiver::Service { .. } => None,
            Receiver::Unknown { topic, reason } => {
                Some(format!("{} cannot be subscribed to in advance: {reason}", Quoted(topic)))
            }
        };
        self.topics.iter().flat_map(|topic| topic.destinations.iter().flatten()).filter_map(note).collect()
    }
}

/// Returns an event of a topic, such as that of a typed line.
fn sample(topic: &TopicNode, token_id: Option<&str>) -> Result<Verified<Event>, EventError> {
    let now = SystemClock.now();
    verified(&Event {
        cache: topic.cache.clone(),
        topic: topic.name.clone(),
        event_timestamp: now,
        publish_timestamp: now,
        topic_sequence_number: 1,
        topic_sequence_page: None,
        token_id: token_id.map(ToOwned::to_owned),
        text: String::new(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use fanout_core::file;
    use fanout_core::transform::Transforms;

    use super::*;

    /// Returns the graph of these routes (TOML) from a topic of the cache `c`.
    fn graph(routes: &str, inbound: &str) -> Result<TopicGraph, Error> {
        let routes = file::read(routes, &Transforms::standard(), fanout_aws::KINDS).unwrap();
        let names = (&CacheName::new("c").unwrap(), &TopicName::new(inbound).unwrap(), None);
        TopicGraph::new(&routes, names, true)
    }

    fn topics(graph: &TopicGraph) -> Vec<(&str, &str)> {
        graph.topics().iter().map(|topic| (topic.cache.as_str(), topic.name.as_str())).collect()
    }

    #[test]
    fn names_topics_by_captures() {
        let routes = "[[routes]]\ntopic = '{room}-publish'\ntransforms = ['trim']\n\
                      destinations = ['{room}-a', { topic = '{topic}-b', extra_transforms = ['uppercase'] }]";
        let graph = graph(routes, "friends-publish").unwrap();
        assert_eq!(
            topics(&graph),
            [("c", "friends-publish"), ("c", "friends-a"), ("c", "friends-publish-b")]
        );
        let destinations = graph.inbound().destinations.as_ref().unwrap();
        assert_eq!(
            destinations[0],
            GraphDestination { receiver: Receiver::Topic(1), chain: vec!["trim".to_owned()] }
        );
        assert_eq!(destinations[1].chain, ["trim", "uppercase"]);
        assert_eq!(graph.next(0), [1, 2]);
        assert_eq!((0..3).map(|index| graph.is_delivered(index)).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn follows_outbound_topic_that_a_route_matches() {
        let routes = "[[routes]]\ntopic = 'in'\ndestinations = ['middle', 'aside']\n\
                      [[routes]]\ntopic = 'middle'\ndestinations = ['{topic}-2', 'aside']\n\
                      [[routes]]\ntopic = 'middle-2'\ndestinations = ['end']\n\
                      [[routes]]\ntopic = 'elsewhere'\ndestinations = ['never']";
        let graph = graph(routes, "in").unwrap();
        let names: Vec<_> = topics(&graph).into_iter().map(|(_, topic)| topic).collect();
        assert_eq!(names, ["in", "middle", "aside", "middle-2", "end"]);
        assert_eq!((graph.next(0), graph.next(1)), (vec![1, 2], vec![3, 2]));
        assert_eq!((graph.next(2), graph.next(3)), (vec![], vec![4]));
        assert!(
            graph.is_delivered(1)
                && graph.is_delivered(3)
                && !graph.is_delivered(2)
                && !graph.is_delivered(4)
        );
    }

    #[test]
    fn stops_at_outbound_topics_without_chaining() {
        let to = |topic: &str| Destination::verbatim(None, &TopicName::new(topic).unwrap(), Vec::new());
        let routes = Routes::one(vec![to("a"), to("b")]);
        let names = (&CacheName::new("c").unwrap(), &TopicName::new("in").unwrap(), None);
        let graph = TopicGraph::new(&routes, names, false).unwrap();
        assert_eq!(topics(&graph), [("c", "in"), ("c", "a"), ("c", "b")]);
        assert!(graph.is_delivered(0) && !graph.is_delivered(1));
    }

    #[test]
    fn distinguishes_topics_by_their_caches() {
        let routes = "[[routes]]\ntopic = 'in'\ncache = 'c'\n\
                      destinations = [{ cache = 'd', topic = 'in' }, { cache = '{cache}-2', topic = 'x' }]";
        let graph = graph(routes, "in").unwrap();
        assert_eq!(topics(&graph), [("c", "in"), ("d", "in"), ("c-2", "x")]);
        assert_eq!(graph.caches(), ["c", "d", "c-2"]);
        assert_eq!(graph.name(0), "\"in\"");
        assert_eq!(graph.name(1), "\"in\" in the cache \"d\"");
        assert!(!graph.is_delivered(1));
    }

    #[test]
    fn notes_topics_that_depend_on_a_message() {
        let routes = "[[routes]]\ntopic = 'in-{x}'\ndestinations = ['a', 'b-{token_id}', \
                      { cache = 'c{topic_sequence_number}', topic = 'd' }, { cache = '{x}', topic = 'e' }]";
        let graph = graph(routes, "in-é").unwrap();
        assert_eq!(topics(&graph), [("c", "in-é"), ("c", "a")]);
        assert_eq!(
            graph.notes(),
            [
                "\"b-{token_id}\" cannot be subscribed to in advance: {token_id} differs from message to message",
                "\"d\" cannot be subscribed to in advance: {topic_sequence_number} differs from message to message",
                "\"e\" cannot be subscribed to in advance: the name of its cache, \"é\", has a character that is not visible ASCII",
            ]
        );
    }

    #[test]
    fn rejects_inbound_topic_without_route() {
        let routes = "[[routes]]\ntopic = '{room}-publish'\ndestinations = ['a']";
        let Err(Error::Usage(message)) = graph(routes, "friends") else { panic!("no route") };
        assert_eq!(
            message,
            "no route matches the topic \"friends\" in the cache \"c\"; expected one of \"{room}-publish\""
        );
        let Err(Error::Usage(message)) = graph(routes, &format!("{}-publish", "x".repeat(1_024))) else {
            panic!("no event has such a name")
        };
        assert!(
            message.starts_with("--cache, --inbound: not an event: a name of more than 1024 bytes"),
            "{message}"
        );
    }
}
