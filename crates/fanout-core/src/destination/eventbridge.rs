//! A bus of Amazon EventBridge.
//!
//! ```toml
//! [[routes.destinations]]
//! eventbridge = { bus = "orders", detail_type = "order placed" }
//! ```

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::aws::{Fields, RequestError};
use super::content::{Content, ContentKeys};
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

/// An entry has to be smaller than this, in bytes: 1 MB since January 2026, 256 KB before. Counted as
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/calculate-putevents-entry-size.html> says.
const TOO_LARGE: usize = 1_048_576;
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
                None => fields.topic(),
            },
            detail: self.detail.render_json(fields, true)?,
            resources: self
                .resources
                .iter()
                .filter_map(|one| fields.render_optional(one).transpose())
                .collect::<Result<_, _>>()?,
            time: event.event_timestamp,
        };
        if made.bytes() >= TOO_LARGE {
            return Err(RequestError::too_large(
                "the event is larger than a bus takes: it has to be less than 1 MB",
            ));
        }
        Ok(made)
    }
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
        let (reason, _) = refused(settings, &object(TOO_LARGE - rest));
        assert_eq!(reason, Reason::TooLarge);
        assert!(request_of(settings, |event| event.text = object(TOO_LARGE - rest - 1)).is_ok());
    }
}
