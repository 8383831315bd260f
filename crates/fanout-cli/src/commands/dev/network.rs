//! The topics that texts go through: the one that they are typed to, those that the function publishes to,
//! and where these are taken in turn, those behind them.
//!
//! They are found before anything runs, by asking the routes what becomes of a sample event of each topic.

use std::collections::HashSet;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::destination::Target;
use fanout_core::names::{CacheName, TopicName};
use fanout_core::placeholder::{Field, Template};
use fanout_core::route::{Destination, Planned, Routes};
use momento_webhook::{Event, EventError, Verified};

use crate::error::Error;
use crate::event::verified;
use crate::output::Quoted;

/// All topics that are subscribed to. They are known by their places; the inbound topic has the first.
#[derive(Debug)]
pub(super) struct Network {
    topics: Vec<Topic>,
}

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) cache: String,
    pub(super) name: String,
    /// Where its messages go; nothing where they are not delivered to the function.
    pub(super) ways: Option<Vec<Way>>,
}

/// One destination of a topic's messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) to: To,
    /// What is done to a text on the way, in order.
    pub(super) chain: Vec<String>,
}

/// Where a way leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum To {
    /// To the topic in this place.
    Place(usize),
    /// To a place that is no topic, by its kind and its name.
    Aws(String),
    /// To a topic that cannot be subscribed to.
    Unknown {
        /// Its name, as the routes have it.
        topic: String,
        why: String,
    },
}

impl Network {
    /// The place of the topic that texts are published to.
    pub(super) const INBOUND: usize = 0;

    /// Everything that can be reached from the topic `inbound`. What goes on from an outbound topic counts
    /// too, if `follows`: a webhook that belongs to one topic does not bring it back.
    ///
    /// # Errors
    /// When no route is for the inbound topic, or an event of it would come back to it.
    pub(super) fn find(
        routes: &Routes,
        (cache, inbound, token_id): (&CacheName, &TopicName, Option<&str>),
        follows: bool,
    ) -> Result<Self, Error> {
        let first = Topic { cache: cache.to_string(), name: inbound.to_string(), ways: None };
        let mut network = Self { topics: vec![first] };
        let mut place = Self::INBOUND;
        while let Some(topic) = network.topics.get(place) {
            if place == Self::INBOUND || follows {
                // Whatever the function publishes, it does with a key of its own.
                let token_id = token_id.filter(|_| place == Self::INBOUND);
                match sample(topic, token_id) {
                    Ok(event) => network.look_behind(place, routes, &event)?,
                    // The function would not take it either.
                    Err(_) if place != Self::INBOUND => {}
                    Err(error) => return Err(Error::Usage(format!("--cache, --inbound: {error}"))),
                }
            }
            place += 1;
        }
        if network.inbound().ways.is_none() {
            let known: Vec<_> = routes.all().iter().map(|route| format!("\"{}\"", route.inbound())).collect();
            return Err(Error::Usage(format!(
                "no route is for the topic {} in the cache {}; there are routes for {}",
                Quoted(inbound.as_str()),
                Quoted(cache.as_str()),
                known.join(", ")
            )));
        }
        Ok(network)
    }

    fn look_behind(&mut self, place: usize, routes: &Routes, event: &Verified<Event>) -> Result<(), Error> {
        let plan = routes.plan(event).map_err(|error| {
            Error::Usage(format!("what is published to {} would come back: {error}", Quoted(&event.topic)))
        })?;
        let Some(plan) = plan else { return Ok(()) };
        let destinations = plan.route().destinations().iter().zip(plan.destinations());
        let ways = destinations.map(|(destination, planned)| Way {
            to: self.to(destination, planned, event.token_id.is_some()),
            chain: destination.chain.iter().map(ToString::to_string).collect(),
        });
        let ways = ways.collect();
        if let Some(topic) = self.topics.get_mut(place) {
            topic.ways = Some(ways);
        }
        Ok(())
    }

    /// Where a destination is; it gets a place where it has none yet.
    fn to(&mut self, destination: &Destination, planned: &Planned<'_>, is_token_known: bool) -> To {
        let Target::Topic(target) = &planned.target else {
            return To::Aws(destination.to.to_string());
        };
        let mut names = destination.to.templates().into_iter().flat_map(Template::names);
        // Fields that differ from message to message: such a topic is not known before there is the message.
        let is_changing = |name: &&str| match *name {
            "cache" | "topic" => false,
            "token_id" if is_token_known => false,
            name => Field::named(name).is_some(),
        };
        let why = match names.find(is_changing) {
            Some(name) => Some(format!("{{{name}}} is another from message to message")),
            None => CacheName::new(&*target.cache)
                .err()
                .map(|error| format!("the name of its cache, {}, {error}", Quoted(&target.cache))),
        };
        if let Some(why) = why {
            return To::Unknown { topic: destination.to.to_string(), why };
        }
        let (cache, topic) = (&*target.cache, &*target.topic);
        To::Place(self.place(cache, topic).unwrap_or_else(|| {
            self.topics.push(Topic { cache: cache.to_owned(), name: topic.to_owned(), ways: None });
            self.topics.len() - 1
        }))
    }

    /// All topics, in the order of their places.
    pub(super) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The topic in this place.
    pub(super) fn topic(&self, place: usize) -> Option<&Topic> {
        self.topics.get(place)
    }

    /// The place of a topic, where it has one.
    pub(super) fn place(&self, cache: &str, topic: &str) -> Option<usize> {
        self.topics.iter().position(|known| known.cache == cache && known.name == topic)
    }

    /// The topic that texts are published to.
    pub(super) fn inbound(&self) -> &Topic {
        const NOTHING: &Topic = &Topic { cache: String::new(), name: String::new(), ways: None };
        // It is there from the beginning.
        self.topics.first().unwrap_or(NOTHING)
    }

    /// The topics that the function publishes to.
    pub(super) fn outbound(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().skip(1)
    }

    /// All caches, each once.
    pub(super) fn caches(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.topics.iter().map(|topic| topic.cache.as_str()).filter(|cache| seen.insert(*cache)).collect()
    }

    /// The places at which a message of the topic in `place` is to arrive; one as often as it is to.
    pub(super) fn behind(&self, place: usize) -> Vec<usize> {
        let ways = self.topic(place).and_then(|topic| topic.ways.as_deref()).unwrap_or_default();
        let place = |way: &Way| match way.to {
            To::Place(place) => Some(place),
            To::Aws(_) | To::Unknown { .. } => None,
        };
        ways.iter().filter_map(place).collect()
    }

    /// Whether messages of the topic in `place` are delivered to the function.
    pub(super) fn is_taken(&self, place: usize) -> bool {
        self.topic(place).is_some_and(|topic| topic.ways.is_some())
    }

    /// The name of the topic in `place`, for people: with its cache where that is not the inbound topic's.
    pub(super) fn name(&self, place: usize) -> String {
        self.topic(place).map(|topic| self.name_of(&topic.cache, &topic.name)).unwrap_or_default()
    }

    /// The same for a topic that may have no place.
    pub(super) fn name_of(&self, cache: &str, topic: &str) -> String {
        if cache == self.inbound().cache {
            Quoted(topic).to_string()
        } else {
            format!("{} in the cache {}", Quoted(topic), Quoted(cache))
        }
    }

    /// What is not subscribed to, and why.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |way: &Way| match &way.to {
            To::Place(_) | To::Aws(_) => None,
            To::Unknown { topic, why } => {
                Some(format!("{} cannot be subscribed to in advance: {why}", Quoted(topic)))
            }
        };
        self.topics.iter().flat_map(|topic| topic.ways.iter().flatten()).filter_map(note).collect()
    }
}

/// Returns an event of a topic, such as that of a typed line.
fn sample(topic: &Topic, token_id: Option<&str>) -> Result<Verified<Event>, EventError> {
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

    /// The network of these routes (TOML) from a topic of the cache `c`.
    pub(in super::super) fn network(routes: &str, inbound: &str) -> Result<Network, Error> {
        let routes = file::read(routes, &Transforms::standard(), fanout_aws::KINDS).unwrap();
        let names = (&CacheName::new("c").unwrap(), &TopicName::new(inbound).unwrap(), None);
        Network::find(&routes, names, true)
    }

    fn topics(network: &Network) -> Vec<(&str, &str)> {
        network.topics().iter().map(|topic| (topic.cache.as_str(), topic.name.as_str())).collect()
    }

    #[test]
    fn captures_name_the_topics() {
        let routes = "[[routes]]\ntopic = '{room}-publish'\ntransforms = ['trim']\n\
                      destinations = ['{room}-a', { topic = '{topic}-b', extra_transforms = ['uppercase'] }]";
        let network = network(routes, "friends-publish").unwrap();
        assert_eq!(
            topics(&network),
            [("c", "friends-publish"), ("c", "friends-a"), ("c", "friends-publish-b")]
        );
        let ways = network.inbound().ways.as_ref().unwrap();
        assert_eq!(ways[0], Way { to: To::Place(1), chain: vec!["trim".to_owned()] });
        assert_eq!(ways[1].chain, ["trim", "uppercase"]);
        assert_eq!(network.behind(0), [1, 2]);
        assert_eq!((0..3).map(|place| network.is_taken(place)).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn what_goes_on_from_an_outbound_topic_is_followed() {
        let routes = "[[routes]]\ntopic = 'in'\ndestinations = ['middle', 'aside']\n\
                      [[routes]]\ntopic = 'middle'\ndestinations = ['{topic}-2', 'aside']\n\
                      [[routes]]\ntopic = 'middle-2'\ndestinations = ['end']\n\
                      [[routes]]\ntopic = 'elsewhere'\ndestinations = ['never']";
        let network = network(routes, "in").unwrap();
        let names: Vec<_> = topics(&network).into_iter().map(|(_, topic)| topic).collect();
        assert_eq!(names, ["in", "middle", "aside", "middle-2", "end"]);
        assert_eq!((network.behind(0), network.behind(1)), (vec![1, 2], vec![3, 2]));
        assert_eq!((network.behind(2), network.behind(3)), (vec![], vec![4]));
        assert!(network.is_taken(1) && network.is_taken(3) && !network.is_taken(2) && !network.is_taken(4));
    }

    #[test]
    fn a_webhook_of_one_topic_is_not_followed() {
        let to = |topic: &str| Destination::verbatim(None, &TopicName::new(topic).unwrap(), Vec::new());
        let routes = Routes::one(vec![to("a"), to("b")]);
        let names = (&CacheName::new("c").unwrap(), &TopicName::new("in").unwrap(), None);
        let network = Network::find(&routes, names, false).unwrap();
        assert_eq!(topics(&network), [("c", "in"), ("c", "a"), ("c", "b")]);
        assert!(network.is_taken(0) && !network.is_taken(1));
    }

    #[test]
    fn another_cache_is_another_topic() {
        let routes = "[[routes]]\ntopic = 'in'\ncache = 'c'\n\
                      destinations = [{ cache = 'd', topic = 'in' }, { cache = '{cache}-2', topic = 'x' }]";
        let network = network(routes, "in").unwrap();
        assert_eq!(topics(&network), [("c", "in"), ("d", "in"), ("c-2", "x")]);
        assert_eq!(network.caches(), ["c", "d", "c-2"]);
        assert_eq!(network.name(0), "\"in\"");
        assert_eq!(network.name(1), "\"in\" in the cache \"d\"");
        assert!(!network.is_taken(1));
    }

    #[test]
    fn what_is_named_by_a_message_is_noted() {
        let routes = "[[routes]]\ntopic = 'in-{x}'\ndestinations = ['a', 'b-{token_id}', \
                      { cache = 'c{topic_sequence_number}', topic = 'd' }, { cache = '{x}', topic = 'e' }]";
        let network = network(routes, "in-é").unwrap();
        assert_eq!(topics(&network), [("c", "in-é"), ("c", "a")]);
        assert_eq!(
            network.notes(),
            [
                "\"b-{token_id}\" cannot be subscribed to in advance: {token_id} is another from message to message",
                "\"d\" cannot be subscribed to in advance: {topic_sequence_number} is another from message to message",
                "\"e\" cannot be subscribed to in advance: the name of its cache, \"é\", has a character that is not visible ASCII",
            ]
        );
    }

    #[test]
    fn an_inbound_topic_without_a_route_is_said() {
        let routes = "[[routes]]\ntopic = '{room}-publish'\ndestinations = ['a']";
        let Err(Error::Usage(said)) = network(routes, "friends") else { panic!("no route") };
        assert_eq!(
            said,
            "no route is for the topic \"friends\" in the cache \"c\"; there are routes for \"{room}-publish\""
        );
        let Err(Error::Usage(said)) = network(routes, &format!("{}-publish", "x".repeat(1_024))) else {
            panic!("no event has such a name")
        };
        assert!(
            said.starts_with("--cache, --inbound: not an event: a name of more than 1024 bytes"),
            "{said}"
        );
    }
}
