//! Service destinations, in AWS and in caches: what all kinds of them have in common.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};
use momento_webhook::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::registry::ServiceRequest;
use crate::described::Described;
use crate::file::Texts;
use crate::placeholder::{RenderError, Template};
use crate::reason::{Failure, Reason};
use crate::route::Destination;
use crate::spanned::Given;
use crate::transform::{Context, Message};

/// The settings of one kind of service destination, as a file gives them. `Serialize` has to keep the names of the file and
/// to leave out what is not set: ids are made of it.
pub(crate) trait ServiceSettings: DeserializeOwned + Serialize + Described {
    /// The key in a file.
    const KIND: &'static str;

    /// Returns the settings whose defaults a file can also set explicitly, and these defaults.
    fn defaults() -> Value;

    /// Returns what makes requests with these settings. Notes every fault in `texts`, and then returns `None`.
    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>>;
}

/// Makes a request of an event: the settings of one service destination, read and checked.
pub(crate) trait MakeRequest: fmt::Debug + Send + Sync {
    /// Returns the template of the name of the destination.
    fn name(&self) -> &Template;

    /// Returns what is shown of a name: in AWS, not the account, the region and the host.
    fn shown<'n>(&self, name: &'n str) -> &'n str {
        short(name)
    }

    /// Returns the templates without which an event has no request.
    fn templates(&self) -> Vec<&Template>;

    /// Makes the request.
    ///
    /// # Errors
    /// When the event lacks a value, or the service does not accept such a request.
    fn request(&self, fields: &Fields<'_>) -> Result<ServiceRequest, RequestError>;
}

/// A service destination, as a route names it.
#[derive(Clone, Debug)]
pub struct ServiceDestination {
    kind: &'static str,
    settings: Value,
    maker: Arc<dyn MakeRequest>,
}

/// Error for an event of which no request can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The event lacks this field, or the field is empty.
    Missing(String),
    /// The destination does not accept such a request.
    Refused {
        /// The kind of failure.
        reason: Reason,
        /// A description of the failure.
        detail: Cow<'static, str>,
    },
}

/// Sends requests to service destinations.
pub trait ServiceSender: fmt::Debug + Send + Sync {
    /// Sends a request, with as many attempts as fit before `deadline`. `trace` is the X-Ray header to pass on.
    fn send<'c>(
        &'c self,
        request: &'c ServiceRequest,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Sent>;
}

/// The result of sending a request.
#[derive(Debug)]
pub struct Sent {
    /// The number of attempts; 0 if the deadline was over.
    pub attempts: u32,
    /// The result of the last attempt.
    pub result: Result<Accepted, Failure>,
}

/// How a service accepted a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The request did something new.
    Created,
    /// An earlier delivery of the event has done the same already.
    Duplicate,
}

/// Sends nothing. For builds without AWS, which reject files with AWS destinations.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoService;

/// Sends each request with the sender of its service.
#[derive(Clone, Debug)]
pub struct Senders {
    /// Sends requests to AWS.
    pub aws: Arc<dyn ServiceSender>,
    /// Changes items in caches.
    pub cache: Arc<dyn ServiceSender>,
}

impl ServiceSender for Senders {
    fn send<'c>(
        &'c self,
        request: &'c ServiceRequest,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Sent> {
        match request {
            ServiceRequest::Cache(_) => self.cache.send(request, trace, deadline),
            _ => self.aws.send(request, trace, deadline),
        }
    }
}

impl ServiceSender for NoService {
    fn send<'c>(&'c self, _: &'c ServiceRequest, _: Option<&'c str>, _: Instant) -> BoxFuture<'c, Sent> {
        let error = Failure::from(Reason::Unavailable);
        Box::pin(ready(Sent { attempts: 0, result: Err(error) }))
    }
}

impl RequestError {
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { reason: Reason::InvalidArgument, detail: detail.into() }
    }

    pub(super) fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { reason: Reason::TooLarge, detail: detail.into() }
    }
}

impl From<RenderError> for RequestError {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Missing(name) => Self::Missing(name),
            RenderError::TooLarge(_) => Self::too_large(error.to_string()),
        }
    }
}

/// The values of which requests are made, for one event.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'f> {
    context: &'f Context<'f>,
    destination: &'f Destination,
    message: &'f Message<'f>,
}

impl<'f> Fields<'f> {
    /// Returns the values of an event for a destination. `message` is the message after the transforms.
    #[must_use]
    pub const fn new(
        context: &'f Context<'f>,
        destination: &'f Destination,
        message: &'f Message<'f>,
    ) -> Self {
        Self { context, destination, message }
    }

    /// Returns the text after the transforms.
    #[must_use]
    pub fn text(&self) -> &'f str {
        &self.message.text
    }

    /// Returns the event and what is known about it.
    #[must_use]
    pub const fn context(&self) -> &'f Context<'f> {
        self.context
    }

    /// Returns an id of this event for this destination: 64 hexadecimal digits, the same at each delivery. Every service
    /// accepts it as an identifier. It includes the destination because two destinations of one queue may send different
    /// requests. It excludes the request, which may have the time of the delivery in it, or a text whose transform failed
    /// at the first delivery.
    #[must_use]
    pub fn id(&self) -> String {
        let ids = self.context.event.id() + self.destination.id();
        hex::encode(Sha256::digest(ids))
    }

    /// Returns the event as the JSON of a webhook, with the text after the transforms.
    #[must_use]
    pub fn event_json(&self) -> String {
        Event { text: self.text().to_owned(), ..self.context.event.clone() }.to_json()
    }

    /// Returns the cache and the topic of the event as `cache#topic`, which is how Momento writes them.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{}#{}", self.context.event.cache, self.context.event.topic)
    }

    /// Renders a template.
    ///
    /// # Errors
    /// When the event lacks a value, or the value is empty, and when the text is too large.
    pub fn render(&self, template: &Template) -> Result<String, RequestError> {
        Ok(template.part(&self.message.values(self.context))?.into_owned())
    }

    /// Renders a template, or returns `None` if the event lacks a value, or the value is empty.
    ///
    /// # Errors
    /// When the text is too large.
    pub fn render_optional(&self, template: &Template) -> Result<Option<String>, RequestError> {
        match self.render(template) {
            Err(RequestError::Missing(_)) => Ok(None),
            made => made.map(Some),
        }
    }

    /// Renders the name of the destination, and checks it. Names are made of the text before the transforms.
    ///
    /// # Errors
    /// When the event lacks a value, or the value is empty, when the name is too long, and the error of `check`.
    pub fn name(
        &self,
        template: &Template,
        check: fn(&str) -> Result<(), String>,
    ) -> Result<String, RequestError> {
        let sent = Message::new(self.context.event.text.as_str());
        let name = template.name(&sent.values(self.context))?.into_owned();
        check(&name).map_err(RequestError::invalid)?;
        Ok(name)
    }
}

impl ServiceDestination {
    /// Reads the settings of one kind, and notes every fault in `texts`.
    pub(super) fn read<S: ServiceSettings>(given: Given<'_>, texts: &mut Texts<'_, '_>) -> Option<Self> {
        let (settings, faults): (Option<S>, _) = given.read_most();
        texts.note_all(faults);
        let given = settings?;
        let mut settings = serde_json::to_value(&given).expect("settings with string keys are JSON");
        if let Value::Object(settings) = &mut settings {
            settings.retain(|key, value| S::defaults().get(key) != Some(value));
        }
        Some(Self { kind: S::KIND, settings, maker: given.build(texts)? })
    }

    /// Returns the kind, as a file names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns the settings as in the file, without those that have their defaults.
    #[must_use]
    pub const fn settings(&self) -> &Value {
        &self.settings
    }

    /// Returns the template of the name.
    #[must_use]
    pub fn name(&self) -> &Template {
        self.maker.name()
    }

    /// Returns what is shown of a name: in AWS, not the account, the region and the host.
    #[must_use]
    pub fn shown<'n>(&self, name: &'n str) -> &'n str {
        self.maker.shown(name)
    }

    /// Returns the templates without which an event has no request.
    #[must_use]
    pub fn templates(&self) -> Vec<&Template> {
        self.maker.templates()
    }

    /// Makes the request for an event.
    ///
    /// # Errors
    /// When the event lacks a value, or the service does not accept such a request.
    pub fn request(&self, fields: &Fields<'_>) -> Result<ServiceRequest, RequestError> {
        self.maker.request(fields)
    }
}

/// Destinations with the same settings are the same.
impl PartialEq for ServiceDestination {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.settings) == (other.kind, &other.settings)
    }
}

/// Returns the last part of an ARN or a URL: the name, without account, region and host.
#[must_use]
pub fn short(name: &str) -> &str {
    // The name of a state machine may be followed by a version or an alias.
    if let Some((_, machine)) = name.split_once(":stateMachine:") {
        return machine;
    }
    name.rsplit(['/', ':']).next().unwrap_or(name)
}

/// Returns `text` if it has at most `most` bytes and only characters that `is_valid` accepts, and otherwise its hash: 64
/// hexadecimal digits, which every service accepts. Equal texts have equal hashes.
pub(super) fn fitting(text: String, most: usize, is_valid: impl Fn(char) -> bool) -> String {
    if text.len() <= most && text.chars().all(is_valid) { text } else { hex::encode(Sha256::digest(&text)) }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::KINDS;
    use crate::file;
    use crate::placeholder::{FIELDS, Scope};
    use crate::route::To;
    use crate::testing::event_with;
    use crate::transform::Transforms;

    fn text_of(settings: &str) -> String {
        format!("[[routes]]\ntopic = '{{room}}-publish'\ndestinations = [{{\n{settings}\n}}]")
    }

    /// Returns the request for the seventh event in the room `friends`.
    pub(crate) fn request_of(
        settings: &str,
        change: impl FnOnce(&mut Event),
    ) -> Result<ServiceRequest, RequestError> {
        let routes = file::read(&text_of(settings), &Transforms::standard(), KINDS).unwrap();
        let event = event_with("chat", "friends-publish", 7, change);
        let plan = routes.plan(&event).unwrap().unwrap();
        let destination = &plan.route().destinations()[0];
        let To::Service(service_destination) = &destination.to else { panic!("a service destination") };
        service_destination.request(&Fields::new(
            &plan.context(Instant::now()),
            destination,
            &Message::new(event.text.as_str()),
        ))
    }

    /// Returns the same request as JSON.
    pub(crate) fn shown(settings: &str) -> Value {
        serde_json::to_value(request_of(settings, |_| ()).unwrap()).unwrap()
    }

    /// Returns the error for an event with this text.
    pub(crate) fn refused(settings: &str, text: &str) -> (Reason, String) {
        match request_of(settings, |event| event.text = text.to_owned()) {
            Err(RequestError::Refused { reason, detail }) => (reason, detail.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// Returns the faults of settings, which begin in the fourth line.
    pub(crate) fn faults(settings: &str) -> Vec<String> {
        let errors = file::read(&text_of(settings), &Transforms::standard(), KINDS).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reports_every_fault_of_destination_with_two_kinds() {
        let told = faults(
            "sqs = { queue = 'orders', group = '{rom}', speed = 3 }, cache = 'x',\n\
             eventbridge = { source = 'aws.orders', detail = 3 }, extra_transforms = ['shout']",
        );
        let said = |line: &str, says: &str| {
            let is_it = |fault: &&String| fault.starts_with(line) && fault.contains(says);
            assert!(told.iter().any(|fault| is_it(&fault)), "{line} {says}: {told:#?}");
        };
        said("4:", "the destination has both `eventbridge` and `sqs`; make it two destinations");
        said("4:", "a destination with `eventbridge` cannot have `cache`");
        said("4:17", "the queue is not a URL");
        said("4:36", "the group has the unknown name `rom`; did you mean `room`?");
        said("4:44", "unknown key `speed`");
        said("5:26", "the source begins with aws.");
        said("5:49", "expected \"event\", \"text\", or a table of texts, numbers and booleans");
        said("5:74", "unknown transform \"shout\"");
        let told = faults("sqs = 'orders'");
        assert_eq!(told, ["4:7: is text; expected a table, as in { key = \"value\" }"]);
        let told = faults("kafka = { topic = 'a' }");
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told.iter().all(|fault| fault.contains("`step_functions`")), "{told:#?}");
    }

    #[test]
    fn reports_missing_keys() {
        for (settings, missing) in [
            ("sqs = {}", "missing key `queue`"),
            ("dynamodb = { key = { a = '{room}' }, item = {} }", "missing key `table`"),
            ("dynamodb = { table = 'table', item = {} }", "missing key `key`"),
            ("step_functions = { name = 'a' }", "missing key `state_machine`"),
        ] {
            let told = faults(settings);
            assert!(told.len() == 1 && told[0].contains(missing), "{settings}: {told:#?}");
        }
    }

    #[test]
    fn hashes_texts_that_are_not_identifiers() {
        let graphic = |char: char| char.is_ascii_graphic();
        assert_eq!(fitting("a#b".to_owned(), 3, graphic), "a#b");
        for text in ["a#bc", "a b", "ä"] {
            let hash = fitting(text.to_owned(), 3, graphic);
            assert_eq!((hash.len(), &hash), (64, &fitting(text.to_owned(), 3, graphic)), "{text}");
        }
    }

    #[test]
    fn shows_request_with_its_destination() {
        let request = request_of(
            "step_functions = { state_machine = 'arn:aws:states:x:1:stateMachine:m', name = 'n', input = {} }",
            |_| (),
        );
        assert_eq!(
            request.unwrap().to_string(),
            r#"step_functions m: {"state_machine":"arn:aws:states:x:1:stateMachine:m","name":"n","input":"{}"}"#
        );
    }

    #[test]
    fn request_can_have_every_field_of_event() {
        let known = FIELDS.iter().filter(|field| field.known <= Scope::Request).map(|field| field.name);
        let names: Vec<_> = known.map(|name| format!("{name} = '{{{name}}}'")).collect();
        let names = names.join(", ");
        let settings = format!("sqs = {{ queue = 'http://q', body = {{ {names}, room = '{{room}}' }} }}");
        let request = request_of(&settings, |event| event.topic_sequence_page = Some(3)).unwrap();
        let ServiceRequest::Sqs(message) = request else { panic!("{request:?}") };
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let event = event_with("chat", "friends-publish", 7, |event| event.topic_sequence_page = Some(3));
        assert_eq!(
            body,
            json!({
                "cache": "chat", "topic": "friends-publish", "topic_sequence_number": "7",
                "topic_sequence_page": "3", "event_timestamp": event.event_timestamp.to_string(),
                "publish_timestamp": event.publish_timestamp.to_string(), "event_id": event.id(),
                "text": "Hello", "original": "Hello", "room": "friends",
            }),
            "the event lacks a token id and a language, and its text is not JSON"
        );
    }

    #[test]
    fn makes_requests_of_text_after_transforms_and_names_of_text_before_them() {
        let settings = "dynamodb = { table = '{json.room}', key = { id = '{json.room}' }, item = {
            wei = { number = '{json.wei}' }, all = { json = '{json.all}' }, in = '{language}', by = '{json.by}',
            short = '{json.by | default(\"nobody\") | cut(2)}' } }";
        let routes = file::read(&text_of(settings), &Transforms::standard(), KINDS).unwrap();
        let event =
            event_with("chat", "friends-publish", 7, |event| event.text = r#"{"room":"aaa"}"#.to_owned());
        let plan = routes.plan(&event).unwrap().unwrap();
        let destination = &plan.route().destinations()[0];
        assert_eq!(plan.destinations()[0].target.to_string(), "dynamodb aaa");
        let To::Service(service_destination) = &destination.to else { panic!("a service destination") };
        let text = r#"{"room":"b","wei":20000000000000000001,"all":[1.10, null]}"#;
        let message = Message { text: text.into(), language: Some("de".into()), found: None };
        let request =
            service_destination.request(&Fields::new(&plan.context(Instant::now()), destination, &message));
        assert_eq!(
            request.unwrap().to_string(),
            r#"dynamodb aaa: {"table":"aaa","key":{"id":"b"},"change":{"put":{"item":{"all":[1.10, null],"in":"de","short":"no","wei":20000000000000000001},"unless_exists":true}}}"#
        );
    }

    #[test]
    fn shortens_names_to_last_part() {
        for (name, shown) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", "orders.fifo"),
            ("arn:aws:events:eu-west-1:123456789012:event-bus/orders", "orders"),
            ("arn:aws:states:eu-west-1:123456789012:stateMachine:orders", "orders"),
            ("arn:aws:states:eu-west-1:123456789012:stateMachine:orders:PROD", "orders:PROD"),
            ("arn:aws:dynamodb:eu-west-1:123456789012:table/orders", "orders"),
            ("orders", "orders"),
        ] {
            assert_eq!(short(name), shown);
        }
    }
}
