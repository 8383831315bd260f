//! The body of a webhook, and of a message for a queue.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use momento_webhook::Event;
use serde::Serialize;

use crate::spool::{GapNotice, Payload, Spooled};

/// The kind of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind<'b> {
    /// The body of Momento: the text is the message.
    Text,
    /// The message is binary, and the text is its base64. The member `encoding` says so.
    Base64,
    /// The notice of a gap, in the member `gap`. The text is empty.
    Gap(&'b GapNotice),
}

#[derive(Serialize)]
struct Body<'e> {
    #[serde(flatten)]
    event: &'e Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<&'e GapNotice>,
}

impl<'b> BodyKind<'b> {
    /// Returns the event of a message, and the kind of its body.
    pub(crate) fn of(message: &'b Spooled) -> (Event, Self) {
        let (text, kind) = match &message.payload {
            Payload::Text(text) => (text.clone(), Self::Text),
            Payload::Binary(bytes) => (STANDARD.encode(bytes), Self::Base64),
            Payload::Gap(notice) => (String::new(), Self::Gap(notice)),
        };
        (message.event(text), kind)
    }

    /// Returns the body.
    pub(crate) fn body(self, event: &Event) -> String {
        let with = |encoding, gap| {
            let body = Body { event, encoding, gap };
            serde_json::to_string(&body).expect("texts and integers are always valid JSON")
        };
        match self {
            Self::Text => event.to_json(),
            Self::Base64 => with(Some("base64"), None),
            Self::Gap(notice) => with(None, Some(notice)),
        }
    }

    /// Returns the id of the message. The notice of a gap has another than the message that is missing.
    pub(crate) fn id(self, event: &Event) -> String {
        let prefix = if matches!(self, Self::Gap(_)) { "gap" } else { "msg" };
        format!("{prefix}_{}", event.id())
    }
}
