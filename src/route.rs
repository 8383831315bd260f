//! Where an event goes.

use momento_webhook::{Event, Verified};

use crate::config::RoutesConfig;
use crate::destination::Topic;
use crate::names::{CacheName, TopicName};
use crate::transform::Transform;

/// All routes of a function.
#[derive(Clone, Debug)]
pub struct Routes {
    routes: Vec<Route>,
}

/// Which events, what is done to them, and where they go.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which events take this route.
    pub inbound: Inbound,
    /// What is done to a text, in order.
    pub transforms: Vec<Transform>,
    /// The cache to publish in; else the event's own.
    pub cache: Option<CacheName>,
    /// The topics to publish to.
    pub topics: Vec<TopicName>,
}

/// Which events take a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// All of them: the function's webhook belongs to one topic, and the settings name only where
    /// its events go.
    Any,
    /// Those of one topic, in any cache.
    Topic(TopicName),
}

/// A route that would lead an event back to where it came from, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event's own topic is one of its destinations")]
pub struct FeedsItself;

/// What becomes of one event.
#[derive(Debug)]
pub struct Plan<'r> {
    /// What is done to its text.
    pub transforms: &'r [Transform],
    /// Where it goes. The same event has the same destinations in the same order, every time.
    pub destinations: Vec<Topic<'r>>,
}

impl Routes {
    /// The first route that an event can take is the one that it takes.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        Self { routes }
    }

    /// What becomes of `event`; nothing, where no route is for it.
    ///
    /// # Errors
    /// When the event would come back as another event of the same topic.
    pub fn plan<'r>(&'r self, event: &'r Verified<Event>) -> Result<Option<Plan<'r>>, FeedsItself> {
        let Some(route) = self.routes.iter().find(|route| route.inbound.takes(event)) else {
            return Ok(None);
        };
        let cache = route.cache.as_ref().map_or(event.cache.as_str(), CacheName::as_str);
        let destinations: Vec<_> =
            route.topics.iter().map(|topic| Topic { cache, topic: topic.as_str() }).collect();
        if destinations.contains(&Topic { cache: &event.cache, topic: &event.topic }) {
            return Err(FeedsItself);
        }
        Ok(Some(Plan { transforms: &route.transforms, destinations }))
    }
}

impl Inbound {
    fn takes(&self, event: &Event) -> bool {
        match self {
            Self::Any => true,
            Self::Topic(topic) => topic.as_str() == event.topic,
        }
    }
}

impl From<RoutesConfig> for Routes {
    fn from(config: RoutesConfig) -> Self {
        Self::new(vec![Route {
            inbound: Inbound::Any,
            transforms: config.transforms,
            cache: config.outbound_cache,
            topics: config.outbound,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::tests::event;

    fn topics(names: &[&str]) -> Vec<TopicName> {
        names.iter().map(|name| TopicName::new(*name).unwrap()).collect()
    }

    fn routes(inbound: Inbound, cache: Option<&str>, names: &[&str]) -> Routes {
        let cache = cache.map(|name| CacheName::new(name).unwrap());
        Routes::new(vec![Route { inbound, transforms: vec![Transform::Trim], cache, topics: topics(names) }])
    }

    #[test]
    fn destinations_are_in_the_events_own_cache_or_the_one_that_is_set() {
        let event = event("chat", "in", 1);
        for (set, expected) in [(None, "chat"), (Some("other"), "other")] {
            let routes = routes(Inbound::Any, set, &["a", "b"]);
            let plan = routes.plan(&event).unwrap().unwrap();
            assert_eq!(
                plan.destinations,
                [Topic { cache: expected, topic: "a" }, Topic { cache: expected, topic: "b" }]
            );
            assert_eq!(plan.transforms, [Transform::Trim]);
        }
    }

    #[test]
    fn an_event_without_a_route_goes_nowhere() {
        let routes = routes(Inbound::Topic(TopicName::new("in").unwrap()), None, &["out"]);
        assert!(routes.plan(&event("chat", "in", 1)).unwrap().is_some());
        assert!(routes.plan(&event("chat", "elsewhere", 1)).unwrap().is_none());
    }

    #[test]
    fn no_event_comes_back_to_its_own_topic() {
        let event = event("chat", "in", 1);
        assert_eq!(routes(Inbound::Any, None, &["out", "in"]).plan(&event).unwrap_err(), FeedsItself);
        assert_eq!(routes(Inbound::Any, Some("chat"), &["in"]).plan(&event).unwrap_err(), FeedsItself);
        assert!(routes(Inbound::Any, Some("other"), &["in"]).plan(&event).is_ok());
    }
}
