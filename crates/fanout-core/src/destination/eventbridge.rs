//! A bus of Amazon EventBridge.
//!
//! ```toml
//! [[routes.destinations]]
//! eventbridge = { bus = "orders", detail_type = "order placed" }
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::Spanned;

use super::ServiceRequest;
use super::content::{Content, ContentKeys};
use super::limits::{
    EVENTBRIDGE_BUS, EVENTBRIDGE_BYTES, EVENTBRIDGE_DETAIL_TYPE, EVENTBRIDGE_RESOURCE, EVENTBRIDGE_SOURCE,
};
use super::service::{Fields, MakeRequest, RequestError, ServiceSettings, fitting};
use crate::file::Texts;
use crate::placeholder::Template;

/// A bus, as a route names it.
#[derive(Clone, Debug)]
struct EventBridge {
    bus: Template,
    source: Template,
    /// `None` for `{cache}#{topic}`.
    detail_type: Option<Template>,
    detail: Content,
    resources: Vec<Template>,
}

/// An event for a bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BusEvent {
    /// The name or ARN of the bus.
    pub bus: String,
    /// The source.
    pub source: String,
    /// The detail type.
    pub detail_type: String,
    /// The detail: a JSON object.
    pub detail: String,
    /// The resources, as ARNs.
    pub resources: Vec<String>,
    /// The time, in milliseconds since the Unix epoch.
    pub time: u64,
}

/// A bus of Amazon EventBridge.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct EventBridgeKeys {
    /// The name or the ARN of the bus, which may have placeholders. Default: `default`, which every account has.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    bus: Option<Spanned<String>>,
    /// The source of the event, for the patterns of rules. Default: `Momento`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Spanned<String>>,
    /// The detail type of the event, for the patterns of rules. Default: `{cache}#{topic}`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    detail_type: Option<Spanned<String>>,
    /// The detail of the event. `text` is for texts that are JSON objects themselves. Default: `event`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ContentKeys>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Spanned<ContentKeys>>,
    /// The resources of the event, as ARNs. A resource whose placeholders have no value is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    resources: Vec<Spanned<String>>,
}

const DEFAULT_BUS: &str = "default";
const DEFAULT_SOURCE: &str = "Momento";
/// The start of the sources that AWS services use.
const RESERVED: &str = "aws.";
/// The number of bytes that the time counts for the size of an event.
const TIME_BYTES: usize = 14;

impl ServiceSettings for EventBridgeKeys {
    const KIND: &'static str = "eventbridge";

    fn defaults() -> serde_json::Value {
        json!({ "bus": DEFAULT_BUS, "source": DEFAULT_SOURCE, "detail": "event" })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { bus, source, detail_type, detail, resources } = self;
        if let Some(source) = source.as_ref().filter(|source| source.get_ref().starts_with(RESERVED)) {
            texts.fault(source.span(), "the source begins with aws., which is reserved for AWS services");
        }
        let bus = match bus {
            None => Some(Template::verbatim(DEFAULT_BUS)),
            Some(bus) => texts.name("bus", &bus, check_bus),
        };
        let source = match source {
            None => Some(Template::verbatim(DEFAULT_SOURCE)),
            Some(source) => texts.template("source", &source),
        };
        let detail_type = texts.optional("detail type", detail_type);
        let detail = Content::read(detail, Content::Event, "detail", texts);
        let resources: Vec<_> = resources.iter().map(|given| texts.template("resource", given)).collect();
        Some(Arc::new(EventBridge {
            bus: bus?,
            source: source?,
            detail_type: detail_type?,
            detail: detail?,
            resources: resources.into_iter().collect::<Option<_>>()?,
        }))
    }
}

impl MakeRequest for EventBridge {
    fn name(&self) -> &Template {
        &self.bus
    }

    fn templates(&self) -> Vec<&Template> {
        [&self.bus, &self.source].into_iter().chain(&self.detail_type).collect()
    }

    fn request(&self, fields: &Fields<'_>) -> Result<ServiceRequest, RequestError> {
        let event = fields.context().event;
        let made = BusEvent {
            bus: fields.name(&self.bus, check_bus)?,
            source: fields.render(&self.source)?,
            detail_type: match &self.detail_type {
                Some(detail_type) => fields.render(detail_type)?,
                // A rule can match a hash. It cannot match an event that the bus rejects.
                None => fitting(fields.topic(), EVENTBRIDGE_DETAIL_TYPE, |_| true),
            },
            detail: self.detail.render_json(fields, true)?,
            resources: self
                .resources
                .iter()
                .filter_map(|resource| fields.render_optional(resource).transpose())
                .collect::<Result<_, _>>()?,
            time: event.event_timestamp,
        };
        at_most("detail type", &made.detail_type, EVENTBRIDGE_DETAIL_TYPE)?;
        at_most("source", &made.source, EVENTBRIDGE_SOURCE)?;
        made.resources.iter().try_for_each(|one| at_most("resource", one, EVENTBRIDGE_RESOURCE))?;
        let bytes = made.bytes();
        if bytes >= EVENTBRIDGE_BYTES {
            return Err(RequestError::too_large(format!(
                "the event has {bytes} bytes; EventBridge accepts fewer than {EVENTBRIDGE_BYTES}"
            )));
        }
        Ok(made.into())
    }
}

/// Returns an error if `bus` is not the name or the ARN of a bus.
fn check_bus(bus: &str) -> Result<(), String> {
    let name =
        if bus.starts_with("arn:") { bus.split_once(":event-bus/").map(|(_, name)| name) } else { Some(bus) };
    let is_valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, '/' | '.' | '-' | '_');
    if bus.len() > EVENTBRIDGE_BUS || !name.is_some_and(|name| !name.is_empty() && name.chars().all(is_valid))
    {
        return Err(format!(
            "the bus is not a valid name or ARN; expected at most {EVENTBRIDGE_BUS} of A-Z, a-z, 0-9, /, ., - and _, or \
             arn:aws:events:<region>:<account>:event-bus/<name>"
        ));
    }
    Ok(())
}

/// Returns an error if `text` has more than `most` characters.
fn at_most(name: &str, text: &str, most: usize) -> Result<(), RequestError> {
    let count = text.chars().count();
    if count <= most {
        return Ok(());
    }
    Err(RequestError::too_large(format!(
        "the {name} has {count} characters; EventBridge accepts at most {most}"
    )))
}

impl BusEvent {
    pub(super) fn destination(&self) -> &str {
        &self.bus
    }

    fn bytes(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail].into_iter().chain(&self.resources);
        TIME_BYTES + texts.map(String::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::service::tests::{faults, refused, request_of, shown};
    use crate::reason::Reason;
    use crate::testing::event;

    #[test]
    fn bus_gets_event_by_default() {
        let event = event("chat", "friends-publish", 7);
        assert_eq!(
            shown("eventbridge = {}"),
            json!({
                "bus": "default", "source": "Momento", "detail_type": "chat#friends-publish",
                "detail": event.to_json(), "resources": [], "time": event.event_timestamp,
            })
        );
    }

    #[test]
    fn bus_gets_configured_values() {
        let put = shown(
            "eventbridge = { bus = '{room}', source = 'chat.{room}', detail_type = 'message', resources = ['arn:{room}', '{token_id}'],
             detail = { text = '{text}' } }",
        );
        let time = event("chat", "friends-publish", 7).event_timestamp;
        assert_eq!(
            put,
            json!({
                "bus": "friends", "source": "chat.friends", "detail_type": "message",
                "detail": r#"{"text":"Hello"}"#, "resources": ["arn:friends"], "time": time,
            })
        );
    }

    #[test]
    fn rejects_text_as_detail_that_is_not_json_object() {
        let text = "eventbridge = { detail = 'text' }";
        for other in ["Hello", "[1]", "{", "3", ""] {
            let expected = (Reason::InvalidArgument, "the text is not a JSON object".to_owned());
            assert_eq!(refused(text, other), expected, "{other}");
        }
        let put = request_of(text, |event| event.text = r#" {"a": 1}"#.to_owned()).unwrap();
        assert_eq!(serde_json::to_value(put).unwrap()["detail"], r#" {"a": 1}"#);
    }

    #[test]
    fn rejects_events_of_maximum_size_or_more() {
        // `Momento`, `chat#friends-publish` and the time count too.
        let rest = 7 + 20 + TIME_BYTES;
        let object = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
        let settings = "eventbridge = { detail = 'text' }";
        let (reason, _) = refused(settings, &object(EVENTBRIDGE_BYTES - rest));
        assert_eq!(reason, Reason::TooLarge);
        assert!(request_of(settings, |event| event.text = object(EVENTBRIDGE_BYTES - rest - 1)).is_ok());
    }

    #[test]
    fn rejects_texts_longer_than_documented_limits() {
        let text = |count: usize| "é".repeat(count);
        for (settings, most, name) in [
            ("detail_type = '{text}'", EVENTBRIDGE_DETAIL_TYPE, "detail type"),
            ("source = '{text}'", EVENTBRIDGE_SOURCE, "source"),
            ("resources = ['{text}']", EVENTBRIDGE_RESOURCE, "resource"),
        ] {
            let settings = format!("eventbridge = {{ {settings} }}");
            assert!(request_of(&settings, |event| event.text = text(most)).is_ok(), "{name}");
            let (reason, detail) = refused(&settings, &text(most + 1));
            let expected =
                format!("the {name} has {} characters; EventBridge accepts at most {most}", most + 1);
            assert_eq!((reason, detail), (Reason::TooLarge, expected));
        }
    }

    #[test]
    fn rejects_invalid_buses_at_load_and_before_sending() {
        let longest = "x".repeat(EVENTBRIDGE_BUS);
        let too_long = format!("{longest}x");
        for (bus, is_valid) in [
            ("aws.partner/a.b_c-1", true),
            ("arn:aws:events:eu-west-1:123456789012:event-bus/orders", true),
            (&longest, true),
            (&too_long, false),
            ("my bus", false),
            ("arn:aws:events:eu-west-1:123456789012:event-bus/", false),
            ("arn:aws:sqs:eu-west-1:123456789012:orders", false),
        ] {
            let literal = format!("eventbridge = {{ bus = '{bus}' }}");
            // A name has fewer bytes than the longest bus.
            if bus.len() > 1_024 {
                assert_eq!(faults(&literal).len(), 1, "{bus}");
            } else if is_valid {
                shown(&literal);
            } else {
                assert!(faults(&literal)[0].contains("the bus is not a valid name or ARN"), "{bus}");
            }
            assert_eq!(check_bus(bus).is_ok(), is_valid, "{bus}");
        }
        let (reason, detail) = refused("eventbridge = { bus = '{json.to}' }", r#"{"to":"my bus"}"#);
        assert_eq!(reason, Reason::InvalidArgument);
        assert!(detail.starts_with("the bus is not a valid name or ARN"), "{detail}");
    }

    #[test]
    fn hashes_default_detail_type_longer_than_limit() {
        // The topic is 15 bytes long, and `#` is one more.
        let detail_type = |cache: usize| {
            let made = request_of("eventbridge = {}", |event| event.cache = "c".repeat(cache));
            let ServiceRequest::EventBridge(made) = made.unwrap() else { panic!("an event") };
            made.detail_type
        };
        let longest = EVENTBRIDGE_DETAIL_TYPE - "#friends-publish".len();
        assert_eq!(detail_type(longest), format!("{}#friends-publish", "c".repeat(longest)));
        assert_eq!(detail_type(longest + 1).len(), 64);
    }
}
