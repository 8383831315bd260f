//! A bus of Amazon EventBridge.
//!
//! ```toml
//! [[routes.destinations]]
//! eventbridge = { bus = "orders", detail_type = "order placed" }
//! ```

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::aws::{Fields, RequestError, fitting};
use super::content::{Content, ContentKeys};
use super::limits::{EVENTBRIDGE_BYTES, EVENTBRIDGE_DETAIL_TYPE, EVENTBRIDGE_RESOURCE, EVENTBRIDGE_SOURCE};
use crate::file::Texts;
use crate::placeholder::Template;

/// A bus, as a route names it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventBridge {
    pub(super) bus: Template,
    source: Template,
    /// `{cache}#{topic}` where it is none.
    detail_type: Option<Template>,
    detail: Content,
    resources: Vec<Template>,
}

/// An event for a bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BusEvent {
    /// The name or ARN of the bus.
    pub bus: String,
    /// Who says it.
    pub source: String,
    /// What kind of event it is.
    pub detail_type: String,
    /// What is in it: a JSON object.
    pub detail: String,
    /// What it is about.
    pub resources: Vec<String>,
    /// When it was, in milliseconds since the Unix epoch.
    pub time: u64,
}

/// A bus of Amazon EventBridge.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct EventBridgeKeys {
    /// The name or the ARN of the bus, which may have placeholders. Default: `default`, the account's own.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    bus: Option<Spanned<String>>,
    /// The source of the event, which rules can look at. Default: `Momento`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    source: Option<Spanned<String>>,
    /// The detail type of the event, which rules can look at. Default: `{cache}#{topic}`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    detail_type: Option<Spanned<String>>,
    /// What is in the event. `text` is for texts that are JSON objects themselves. Default: `event`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ContentKeys>"))]
    detail: Option<Spanned<ContentKeys>>,
    /// What the event is about, as ARNs. One whose placeholders have no value is left out.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    resources: Vec<Spanned<String>>,
}

/// What a time counts in that sum.
const TIME_BYTES: usize = 14;
/// What sources of Amazon's own begin with.
const RESERVED: &str = "aws.";

impl EventBridge {
    /// What a file calls it.
    pub const KIND: &'static str = "eventbridge";

    pub(crate) fn read(keys: EventBridgeKeys, texts: &mut Texts<'_, '_>) -> Option<Self> {
        let EventBridgeKeys { bus, source, detail_type, detail, resources } = keys;
        if let Some(source) = source.as_ref().filter(|source| source.get_ref().starts_with(RESERVED)) {
            texts.fault(source.span(), "sources that begin with aws. are Amazon's own; name it otherwise");
        }
        let bus = match bus {
            None => Some(Template::verbatim("default")),
            Some(bus) => texts.name("bus", &bus),
        };
        let source = match source {
            None => Some(Template::verbatim("Momento")),
            Some(source) => texts.template("source", &source),
        };
        let detail_type = detail_type.map(|given| texts.template("detail type", &given));
        let detail = Content::read(detail, Content::Event, "detail", texts);
        let resources: Vec<_> = resources.iter().map(|given| texts.template("resource", given)).collect();
        Some(Self {
            bus: bus?,
            source: source?,
            detail_type: match detail_type {
                None => None,
                Some(given) => Some(given?),
            },
            detail: detail?,
            resources: resources.into_iter().collect::<Option<_>>()?,
        })
    }

    pub(super) fn templates(&self) -> Vec<&Template> {
        [&self.bus, &self.source].into_iter().chain(&self.detail_type).collect()
    }

    pub(super) fn event(&self, fields: &Fields<'_>) -> Result<BusEvent, RequestError> {
        let event = fields.context().event;
        let made = BusEvent {
            bus: fields.name(&self.bus)?,
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
                .filter_map(|one| fields.render_optional(one).transpose())
                .collect::<Result<_, _>>()?,
            time: event.event_timestamp,
        };
        at_most("detail type", &made.detail_type, EVENTBRIDGE_DETAIL_TYPE)?;
        at_most("source", &made.source, EVENTBRIDGE_SOURCE)?;
        made.resources.iter().try_for_each(|one| at_most("resource", one, EVENTBRIDGE_RESOURCE))?;
        if made.bytes() >= EVENTBRIDGE_BYTES {
            return Err(RequestError::too_large(
                "the event is larger than a bus takes: it has to be less than 1 MB",
            ));
        }
        Ok(made)
    }
}

/// Returns an error if `text` has more than `most` characters.
fn at_most(name: &str, text: &str, most: usize) -> Result<(), RequestError> {
    let count = text.chars().count();
    if count <= most {
        return Ok(());
    }
    Err(RequestError::too_large(format!(
        "the {name} has {count} characters; EventBridge takes {most} at most"
    )))
}

impl BusEvent {
    fn bytes(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail].into_iter().chain(&self.resources);
        TIME_BYTES + texts.map(String::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::AwsRequest;
    use crate::destination::aws::tests::{refused, request_of, shown};
    use crate::reason::Reason;
    use crate::testing::event;

    #[test]
    fn by_default_it_is_the_event_as_momento_would_put_it() {
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
    fn everything_can_be_said_otherwise() {
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
    fn a_text_as_detail_is_a_json_object() {
        let text = "eventbridge = { detail = 'text' }";
        for other in ["Hello", "[1]", "{", "3", ""] {
            let expected = (Reason::InvalidArgument, "the text is no JSON object".to_owned());
            assert_eq!(refused(text, other), expected, "{other}");
        }
        let put = request_of(text, |event| event.text = r#" {"a": 1}"#.to_owned()).unwrap();
        assert_eq!(serde_json::to_value(put).unwrap()["detail"], r#" {"a": 1}"#);
    }

    #[test]
    fn an_entry_is_less_than_a_megabyte() {
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
                format!("the {name} has {} characters; EventBridge takes {most} at most", most + 1);
            assert_eq!((reason, detail), (Reason::TooLarge, expected));
        }
    }

    #[test]
    fn hashes_default_detail_type_longer_than_limit() {
        // The topic is 15 bytes long, and `#` is one more.
        let detail_type = |cache: usize| {
            let made = request_of("eventbridge = {}", |event| event.cache = "c".repeat(cache));
            let AwsRequest::Event(made) = made.unwrap() else { panic!("an event") };
            made.detail_type
        };
        let longest = EVENTBRIDGE_DETAIL_TYPE - "#friends-publish".len();
        assert_eq!(detail_type(longest), format!("{}#friends-publish", "c".repeat(longest)));
        assert_eq!(detail_type(longest + 1).len(), 64);
    }
}
