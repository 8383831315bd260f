//! Where events go, and what is done to them on the way.

use crate::names::{CacheName, TopicName};
use crate::transform::Transform;

use super::{Read, Settings};

const ONE: &str = "OUTBOUND_TOPIC";
const SEVERAL: &str = "OUTBOUND_TOPICS";

/// `OUTBOUND_TOPIC` or `OUTBOUND_TOPICS`, `OUTBOUND_CACHE` and `TRANSFORM`.
#[derive(Clone, Debug)]
pub struct RoutesConfig {
    /// The topics to publish to: one or more, no two the same.
    pub outbound: Vec<TopicName>,
    /// The cache to publish in; else the event's own.
    pub outbound_cache: Option<CacheName>,
    /// What is done to a text, in order.
    pub transforms: Vec<Transform>,
}

impl RoutesConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let outbound = outbound(settings);
        let outbound_cache = outbound_cache(settings);
        let transforms = transforms(settings);
        Ok(Self { outbound: outbound?, outbound_cache: outbound_cache?, transforms: transforms? })
    }
}

fn outbound_cache(settings: &mut Settings<'_>) -> Read<Option<CacheName>> {
    const NAME: &str = "OUTBOUND_CACHE";
    match settings.get(NAME)?.map(CacheName::new).transpose() {
        Ok(cache) => Ok(cache),
        Err(error) => settings.fault(NAME, error.to_string()),
    }
}

fn outbound(settings: &mut Settings<'_>) -> Read<Vec<TopicName>> {
    let (one, several) = (settings.get(ONE), settings.get(SEVERAL));
    let names = match (one?, several?) {
        (Some(name), None) => vec![name],
        (None, Some(names)) => names.split(',').map(|name| name.trim().to_owned()).collect(),
        (Some(_), Some(_)) => {
            return settings.fault(SEVERAL, format!("is set beside {ONE}; set one of the two"));
        }
        (None, None) => {
            return settings.fault(ONE, format!("is not set, and neither is {SEVERAL}; set one of the two"));
        }
    };
    let topics: Result<Vec<_>, _> = names.into_iter().map(TopicName::new).collect();
    let Ok(topics) = topics else {
        return settings.fault(SEVERAL, "has an empty name between its commas");
    };
    let twice =
        topics.iter().enumerate().find(|(place, topic)| topics.iter().take(*place).any(|t| t == *topic));
    match twice {
        Some((place, _)) => {
            settings.fault(SEVERAL, format!("names a topic twice: name number {}", place + 1))
        }
        None => Ok(topics),
    }
}

fn transforms(settings: &mut Settings<'_>) -> Read<Vec<Transform>> {
    let Some(names) = settings.get("TRANSFORM")? else { return Ok(vec![Transform::Echo]) };
    let transforms: Option<Vec<_>> = names.split(',').map(|name| Transform::named(name.trim())).collect();
    match transforms {
        Some(transforms) => Ok(transforms),
        None => settings.fault(
            "TRANSFORM",
            format!(
                "names a transform that is none of {}, or is empty between its commas",
                Transform::names()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::tests::{LEAST, faults, vars};
    use crate::transform::Transform;

    fn topics(changes: &[(&str, &str)]) -> Vec<String> {
        let config = Config::read(&vars(&[changes, &LEAST].concat())).unwrap();
        config.routes.outbound.iter().map(ToString::to_string).collect()
    }

    fn fault(changes: &[(&str, &str)]) -> (String, String) {
        let faults = faults(changes);
        let [fault] = &faults[..] else { panic!("one fault, not {faults:?}") };
        fault.clone()
    }

    #[test]
    fn one_topic_is_taken_verbatim() {
        assert_eq!(topics(&[("OUTBOUND_TOPIC", " a, b ")]), [" a, b "]);
    }

    #[test]
    fn several_topics_are_separated_by_commas() {
        let several = [("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "topic 2, topic/3 ,x")];
        assert_eq!(topics(&several), ["topic 2", "topic/3", "x"]);
    }

    #[test]
    fn one_or_several_not_both_not_none() {
        assert_eq!(
            fault(&[("OUTBOUND_TOPICS", "a,b")]),
            ("OUTBOUND_TOPICS".into(), "is set beside OUTBOUND_TOPIC; set one of the two".into())
        );
        assert_eq!(
            fault(&[("OUTBOUND_TOPIC", "")]),
            (
                "OUTBOUND_TOPIC".into(),
                "is not set, and neither is OUTBOUND_TOPICS; set one of the two".into()
            )
        );
    }

    #[test]
    fn no_name_is_empty_or_there_twice() {
        for wrong in ["a,,b", ",", "a,"] {
            assert_eq!(
                fault(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", wrong)]),
                ("OUTBOUND_TOPICS".into(), "has an empty name between its commas".into())
            );
        }
        assert_eq!(
            fault(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b,a")]),
            ("OUTBOUND_TOPICS".into(), "names a topic twice: name number 3".into())
        );
    }

    #[test]
    fn transforms_are_named_in_order() {
        let config = Config::read(&vars(&[&[("TRANSFORM", "trim, uppercase")][..], &LEAST].concat()));
        assert_eq!(config.unwrap().routes.transforms, [Transform::Trim, Transform::Uppercase]);
        let config = Config::read(&vars(&LEAST)).unwrap();
        assert_eq!(config.routes.transforms, [Transform::Echo]);
        for wrong in ["shout", "trim,,trim", "Uppercase"] {
            assert_eq!(
                fault(&[("TRANSFORM", wrong)]),
                (
                    "TRANSFORM".into(),
                    "names a transform that is none of echo, lowercase, trim, uppercase, or is empty between its commas".into()
                )
            );
        }
    }

    #[test]
    fn what_cannot_be_a_cache_is_no_cache() {
        assert_eq!(fault(&[("OUTBOUND_CACHE", "  ")]), ("OUTBOUND_CACHE".into(), "is blank".into()));
        for wrong in ["x\n", "é"] {
            assert_eq!(
                fault(&[("OUTBOUND_CACHE", wrong)]),
                ("OUTBOUND_CACHE".into(), "has a character that is not visible ASCII".into())
            );
        }
    }
}
