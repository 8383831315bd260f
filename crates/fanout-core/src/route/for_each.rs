//! `for_each`: one destination that publishes to a topic for each entry of a list.
//!
//! ```toml
//! transforms = [{ lookup = { as = "rooms", set = "rooms-{token_id}" } }]
//! destinations = [{ topic = "{each}-subscribe", for_each = "{lookup.rooms}" }]
//! ```
//!
//! The list is a JSON list in the text of the event, or what a transform `lookup` has found. A list with a fault is an error
//! of the destination as a whole: nothing is published to any of its topics.

use std::collections::HashSet;

use super::Outbound;
use crate::destination::{RequestError, Topic};
use crate::placeholder::{EACH, ListError, RenderError, Template, Values};

/// The list of a destination with `for_each`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForEach {
    /// The list: one placeholder.
    pub list: Template,
    /// The most topics of one event.
    pub max_topics: usize,
}

impl ForEach {
    /// The default of `max_topics`.
    pub const DEFAULT_MAX_TOPICS: usize = 100;

    /// Returns the topics of an event, each once, in the order of the list.
    ///
    /// # Errors
    /// If the list is missing or is not a list of texts and numbers, if it has too many entries, or if a name is invalid.
    pub(super) fn topics(
        &self,
        outbound: &Outbound,
        values: Values<'_>,
    ) -> Result<Vec<Topic<'static>>, RequestError> {
        let entries = self.list.list(&values, self.max_topics).map_err(|error| match error {
            ListError::Missing(name) => RequestError::Missing(name),
            ListError::NotAList => self.invalid("is not a list"),
            ListError::Entry => self.invalid("has an entry that is not a text or a number, or is empty"),
            ListError::TooLong => self.invalid(&format!("has more than {} entries", self.max_topics)),
        })?;
        let mut seen = HashSet::new();
        let mut topics = Vec::with_capacity(entries.len());
        for entry in &entries {
            let captures: Vec<_> = values.captures.iter().copied().chain([(EACH, &**entry)]).collect();
            let values = Values { captures: &captures, ..values };
            let topic = outbound.topic(values.event, &values).map_err(|error| match error {
                // An entry is never missing.
                RenderError::TooLarge(_) => self.invalid("has an entry whose topic has too long a name"),
                error @ RenderError::Missing(_) => error.into(),
            })?;
            let topic = Topic::new(topic.cache.into_owned(), topic.topic.into_owned());
            if seen.insert(topic.clone()) {
                topics.push(topic);
            }
        }
        Ok(topics)
    }

    /// Returns the error for a list with a fault.
    pub(super) fn invalid(&self, fault: &str) -> RequestError {
        RequestError::invalid(format!("the list {} {fault}", self.list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::KINDS;
    use crate::reason::Reason;
    use crate::route::{Routes, To};
    use crate::testing::event_with;
    use crate::transform::Transforms;

    const RAW: &str = "{ topic = '{room}-{each}', for_each = '{json.rooms}', max_topics = 3 }";
    const FOUND: &str = "{ topic = 'x-{each}', cache = '{each}', for_each = '{lookup.rooms}' }";

    /// Reads a route to one destination.
    fn read(destination: &str) -> Result<Routes, Vec<String>> {
        let file = format!("[[routes]]\ntopic = '{{room}}-in'\ndestinations = [{destination}]");
        let routes = crate::file::read(&file, &Transforms::standard(), KINDS);
        routes.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    /// Returns the topics for a text and what was found.
    fn topics(routes: &Routes, text: &str, found: Option<&str>) -> Result<Vec<String>, RequestError> {
        let event = event_with("chat", "lobby-in", 1, |event| event.text = text.to_owned());
        let plan = routes.plan(&event).unwrap().unwrap();
        let To::Topic(outbound) = &plan.route().destinations()[0].to else { panic!("it is a topic") };
        let topics = plan.topics_for_each(outbound, outbound.for_each.as_ref().unwrap(), found)?;
        Ok(topics.iter().map(|topic| format!("{}/{}", topic.cache, topic.topic)).collect())
    }

    #[test]
    fn makes_each_topic_once_in_order_of_list() {
        let routes = read(RAW).unwrap();
        for (list, expected) in [
            (r#"["a","b"]"#, &["chat/lobby-a", "chat/lobby-b"][..]),
            (r#"["b","a","b"]"#, &["chat/lobby-b", "chat/lobby-a"]),
            (
                r#"[7, -1.50, "\u00e9 \"{room}\""]"#,
                &["chat/lobby-7", "chat/lobby--1.50", "chat/lobby-é \"{room}\""],
            ),
            ("[]", &[]),
        ] {
            assert_eq!(topics(&routes, &format!(r#"{{"rooms":{list}}}"#), None).unwrap(), expected, "{list}");
        }
        let found = r#"{"rooms":["a","b"]}"#;
        assert_eq!(topics(&read(FOUND).unwrap(), "{}", Some(found)).unwrap(), ["a/x-a", "b/x-b"]);
    }

    #[test]
    fn refuses_faulty_lists_as_a_whole() {
        let routes = read(RAW).unwrap();
        for (text, detail) in [
            (r#"{"rooms":"a"}"#, "the list {json.rooms} is not a list"),
            (r#"{"rooms":{"a":1}}"#, "the list {json.rooms} is not a list"),
            (r#"{"rooms":7}"#, "the list {json.rooms} is not a list"),
            (
                r#"{"rooms":["a",""]}"#,
                "the list {json.rooms} has an entry that is not a text or a number, or is empty",
            ),
            (
                r#"{"rooms":["a",null]}"#,
                "the list {json.rooms} has an entry that is not a text or a number, or is empty",
            ),
            (
                r#"{"rooms":[["a"]]}"#,
                "the list {json.rooms} has an entry that is not a text or a number, or is empty",
            ),
            (r#"{"rooms":["a","a","a","a"]}"#, "the list {json.rooms} has more than 3 entries"),
            (
                r#"{"rooms":["a","in"]}"#,
                "the list {json.rooms} has a topic that is that of the event, or leads back to it",
            ),
        ] {
            let expected = RequestError::Refused { reason: Reason::InvalidArgument, detail: detail.into() };
            assert_eq!(topics(&routes, text, None), Err(expected), "{text}");
        }
        let long = format!(r#"{{"rooms":["{}"]}}"#, "x".repeat(2_000));
        assert!(topics(&routes, &long, None).is_err());
        for (text, missing) in [
            ("{}", "json.rooms"),
            (r#"{"rooms":null}"#, "json.rooms"),
            ("hello", "json.rooms: its text is not JSON"),
        ] {
            assert_eq!(topics(&routes, text, None), Err(RequestError::Missing(missing.to_owned())), "{text}");
        }
    }

    #[test]
    fn rejects_settings_that_do_not_fit() {
        for (destination, says) in [
            ("{ topic = 'x', for_each = '{json.rooms}' }", "`for_each` needs `{each}` in `topic` or `cache`"),
            (
                "'{each}'",
                "has `{each}`, which exists only in the `topic` and the `cache` of a destination with `for_each`",
            ),
            ("{ topic = 'x', max_topics = 3 }", "`max_topics` is for a destination with `for_each`"),
            ("{ topic = '{each}', for_each = '{json.rooms}', max_topics = 0 }", "expected 1 to 500"),
            ("{ topic = '{each}', for_each = '{json.rooms}', max_topics = 501 }", "expected 1 to 500"),
            (
                "{ topic = '{each}', for_each = 'rooms' }",
                "the `for_each` is not a list; expected one placeholder",
            ),
            ("{ topic = '{each}', for_each = '{json.rooms}x' }", "expected one placeholder without filters"),
            (
                "{ topic = '{each}', for_each = \"{json.rooms | join(',')}\" }",
                "expected one placeholder without filters",
            ),
            ("{ topic = '{each}', for_each = '{room}' }", "such as `{lookup.rooms}` or `{json.rooms}`"),
            ("{ topic = '{each}', for_each = ['a'] }", "3:48: is a list; expected text, in quotes"),
            ("{ topic = '{each}', for_each = '{each}' }", "has `{each}`, which exists only in"),
            ("{ topic = '{each}', for_eachh = '{json.rooms}' }", "did you mean `for_each`?"),
            (
                "{ topic = 'x-{each}', for_each = '{json.rooms}', extra_transforms = [{ template = { text = '{each}' } }] }",
                "exists only in",
            ),
            (
                "{ list = { key = 'k' }, for_each = '{json.rooms}' }",
                "a destination with `list` cannot have `for_each`",
            ),
        ] {
            let errors = read(destination).unwrap_err();
            assert!(errors[0].contains(says), "{destination}: {errors:#?}");
        }
        let errors = crate::file::read(
            "[[routes]]\ntopic = '{each}-in'\ndestinations = ['x']",
            &Transforms::standard(),
            KINDS,
        );
        let error = errors.unwrap_err()[0].to_string();
        assert!(error.contains("the capture {each} has the name of the entries of `for_each`"), "{error}");
    }

    #[test]
    fn file_may_lead_back_and_event_may_not() {
        let file = "[[routes]]\ntopic = '{a}-in'\ndestinations = [{ topic = '{each}', for_each = '{json.to}' }]\n\
                    [[routes]]\ntopic = 'b'\ndestinations = ['{json.back}']";
        let routes = crate::file::read(file, &Transforms::standard(), KINDS).unwrap();
        for (list, leads_back) in [(r#"["c","d"]"#, false), (r#"["c","other-in"]"#, true), (r#"["b"]"#, true)]
        {
            assert_eq!(topics(&routes, &format!(r#"{{"to":{list}}}"#), None).is_err(), leads_back, "{list}");
        }
    }
}
