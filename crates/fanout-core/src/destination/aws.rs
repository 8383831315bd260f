//! What all places of Amazon Web Services have in common.

use std::borrow::Cow;
use std::fmt;

use futures_util::future::{BoxFuture, ready};
use momento_webhook::Event;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::dynamodb::{DynamoDb, Row};
use super::eventbridge::{BusEvent, EventBridge};
use super::sqs::{QueueMessage, Sqs};
use super::step_functions::{Execution, StepFunctions};
use super::{DeliveryError, Target};
use crate::placeholder::{RenderError, Template};
use crate::reason::Reason;
use crate::route::Destination;
use crate::transform::{Context, Message};

/// A place of Amazon Web Services, as a route names it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AwsDestination {
    /// A table.
    DynamoDb(DynamoDb),
    /// A bus.
    EventBridge(EventBridge),
    /// A queue.
    Sqs(Sqs),
    /// A state machine.
    StepFunctions(StepFunctions),
}

/// What is to be handed in at such a place, with everything made of the event that is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AwsRequest {
    /// For a table.
    Row(Row),
    /// For a bus.
    Event(BusEvent),
    /// For a queue.
    Message(QueueMessage),
    /// For a state machine.
    Execution(Execution),
}

impl AwsRequest {
    /// What a file calls the place that it is for.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Row(_) => DynamoDb::KIND,
            Self::Event(_) => EventBridge::KIND,
            Self::Message(_) => Sqs::KIND,
            Self::Execution(_) => StepFunctions::KIND,
        }
    }

    /// That place, as answers and traces name it.
    #[must_use]
    pub fn target(&self) -> Target<'_> {
        Target::Aws { kind: self.kind(), name: self.name().into() }
    }

    /// What that place is called, without what tells more than that.
    #[must_use]
    pub fn name(&self) -> &str {
        short(match self {
            Self::Row(row) => &row.table,
            Self::Event(event) => &event.bus,
            Self::Message(message) => &message.queue,
            Self::Execution(execution) => &execution.state_machine,
        })
    }
}

/// For people: the place, and all of it as JSON.
impl fmt::Display for AwsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{} {}: {json}", self.kind(), self.name())
    }
}

/// Why an event gives no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// It does not have this field, or has nothing in it.
    Missing(String),
    /// Such a text is not taken there.
    Refused {
        /// What is wrong with it.
        reason: Reason,
        /// The same in words.
        detail: Cow<'static, str>,
    },
}

/// Hands in requests: the edge to Amazon Web Services.
pub trait AwsSender: fmt::Debug + Send + Sync {
    /// Hands one in, with as many tries as fit before `deadline`. `trace` is the header of X-Ray that is to go with it.
    fn send<'c>(
        &'c self,
        request: &'c AwsRequest,
        trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Sent>;
}

/// What became of a request.
#[derive(Debug)]
pub struct Sent {
    /// Tries in all; none where the deadline had come before.
    pub attempts: u32,
    /// What the last of them came to.
    pub result: Result<Accepted, DeliveryError>,
}

/// How a request was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// As one that was not there before.
    Created,
    /// It was there already, from an earlier delivery.
    Duplicate,
}

/// Carries nothing: where a build has no AWS in it, and no file with such destinations is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAws;

impl AwsSender for NoAws {
    fn send<'c>(&'c self, _: &'c AwsRequest, _: Option<&'c str>, _: Instant) -> BoxFuture<'c, Sent> {
        let error = DeliveryError { reason: Reason::Unavailable, source: None };
        Box::pin(ready(Sent { attempts: 0, result: Err(error) }))
    }
}

impl From<RenderError> for RequestError {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Missing(name) => Self::Missing(name),
            RenderError::TooLarge(_) => {
                Self::Refused { reason: Reason::TooLarge, detail: error.to_string().into() }
            }
        }
    }
}

/// What a request is made of, for one event.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'f> {
    context: &'f Context<'f>,
    destination: &'f Destination,
    message: &'f Message<'f>,
}

impl<'f> Fields<'f> {
    /// Those of an event on its way to a destination, with its message as it has become.
    #[must_use]
    pub const fn new(
        context: &'f Context<'f>,
        destination: &'f Destination,
        message: &'f Message<'f>,
    ) -> Self {
        Self { context, destination, message }
    }

    /// The text as it has become.
    #[must_use]
    pub fn text(&self) -> &'f str {
        &self.message.text
    }

    /// What transforms know, and AWS destinations too.
    #[must_use]
    pub const fn context(&self) -> &'f Context<'f> {
        self.context
    }

    /// What makes it the same thing that is handed in, however often the event is delivered: 64 characters that
    /// do as an identifier everywhere. It is made of the event and of the destination, for two of one place may make
    /// different things of one event; and not of the thing itself, in which there may be the time of the
    /// delivery, or a text whose transform failed the first time.
    #[must_use]
    pub fn id(&self) -> String {
        let ids = self.context.event.id() + self.destination.id();
        hex::encode(Sha256::digest(ids))
    }

    /// The event as JSON, as a webhook brings it, with the text as it has become.
    #[must_use]
    pub fn event_json(&self) -> String {
        Event { text: self.text().to_owned(), ..self.context.event.clone() }.to_json()
    }

    /// The event's cache and topic, as Momento itself writes them together.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{}#{}", self.context.event.cache, self.context.event.topic)
    }

    /// Returns what a template becomes.
    ///
    /// # Errors
    /// A value that the event does not have, or that is empty.
    pub fn render(&self, template: &Template) -> Result<String, RequestError> {
        Ok(template.part(&self.message.values(self.context))?.into_owned())
    }

    /// Returns the same, or nothing if the event does not have a value, or an empty one.
    ///
    /// # Errors
    /// A text that is too large.
    pub fn render_optional(&self, template: &Template) -> Result<Option<String>, RequestError> {
        match self.render(template) {
            Err(RequestError::Missing(_)) => Ok(None),
            made => made.map(Some),
        }
    }

    /// Returns the name of the destination, which is made of the text as it was sent.
    ///
    /// # Errors
    /// The same.
    pub fn name(&self, template: &Template) -> Result<String, RequestError> {
        let sent = Message::new(self.context.event.text.as_str());
        Ok(template.name(&sent.values(self.context))?.into_owned())
    }
}

impl AwsDestination {
    /// Its kind, as a file calls it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::DynamoDb(_) => DynamoDb::KIND,
            Self::EventBridge(_) => EventBridge::KIND,
            Self::Sqs(_) => Sqs::KIND,
            Self::StepFunctions(_) => StepFunctions::KIND,
        }
    }

    /// How its name is made.
    #[must_use]
    pub const fn name(&self) -> &Template {
        match self {
            Self::DynamoDb(table) => &table.table,
            Self::EventBridge(bus) => &bus.bus,
            Self::Sqs(queue) => &queue.queue,
            Self::StepFunctions(machine) => &machine.state_machine,
        }
    }

    /// All that is made of an event's fields and captures, without which there is nothing to hand in.
    #[must_use]
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::DynamoDb(table) => table.templates(),
            Self::EventBridge(bus) => bus.templates(),
            Self::Sqs(queue) => queue.templates(),
            Self::StepFunctions(machine) => machine.templates(),
        }
    }

    /// What is to be handed in there.
    ///
    /// # Errors
    /// When the event lacks a field, or its text is none for that place.
    pub fn request(&self, fields: &Fields<'_>) -> Result<AwsRequest, RequestError> {
        match self {
            Self::DynamoDb(table) => table.row(fields).map(AwsRequest::Row),
            Self::EventBridge(bus) => bus.event(fields).map(AwsRequest::Event),
            Self::Sqs(queue) => queue.message(fields).map(AwsRequest::Message),
            Self::StepFunctions(machine) => machine.execution(fields).map(AwsRequest::Execution),
        }
    }
}

/// All kinds of AWS destinations, as a file calls them.
pub const KINDS: [&str; 4] = [DynamoDb::KIND, EventBridge::KIND, Sqs::KIND, StepFunctions::KIND];

/// Whether this build can hand in requests at places of this kind.
#[must_use]
pub fn is_built_in(kind: &str) -> bool {
    [
        (DynamoDb::KIND, cfg!(feature = "dynamodb")),
        (EventBridge::KIND, cfg!(feature = "eventbridge")),
        (Sqs::KIND, cfg!(feature = "sqs")),
        (StepFunctions::KIND, cfg!(feature = "step-functions")),
    ]
    .contains(&(kind, true))
}

/// The cargo feature that a kind needs.
#[must_use]
pub fn feature(kind: &str) -> String {
    kind.replace('_', "-")
}

/// The last part of an ARN or a URL: its name, without account, region and host.
#[must_use]
pub fn short(name: &str) -> &str {
    // A state machine may have a version or an alias behind its name.
    if let Some((_, machine)) = name.split_once(":stateMachine:") {
        return machine;
    }
    name.rsplit(['/', ':']).next().unwrap_or(name)
}

/// `text` where it can be an identifier as it is, of at most so many such characters; else its hash, which does as
/// one everywhere: what is the same stays the same.
pub(super) fn fitting(text: String, most: usize, is_of_it: impl Fn(char) -> bool) -> String {
    if text.len() <= most && text.chars().all(is_of_it) { text } else { hex::encode(Sha256::digest(&text)) }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::file;
    use crate::placeholder::{FIELDS, Place};
    use crate::route::To;
    use crate::testing::event_with;
    use crate::transform::Transforms;

    fn text_of(settings: &str) -> String {
        format!("[[routes]]\ntopic = '{{room}}-publish'\ndestinations = [{{\n{settings}\n}}]")
    }

    /// What is handed in of the seventh event in the room `friends`.
    pub(crate) fn request_of(
        settings: &str,
        change: impl FnOnce(&mut Event),
    ) -> Result<AwsRequest, RequestError> {
        let routes = file::read(&text_of(settings), &Transforms::standard()).unwrap();
        let event = event_with("chat", "friends-publish", 7, change);
        let plan = routes.plan(&event).unwrap().unwrap();
        let destination = &plan.route().destinations()[0];
        let To::Aws(aws_destination) = &destination.to else { panic!("an aws_destination") };
        aws_destination.request(&Fields::new(
            &plan.context(Instant::now()),
            destination,
            &Message::new(event.text.as_str()),
        ))
    }

    /// The same as JSON.
    pub(crate) fn shown(settings: &str) -> Value {
        serde_json::to_value(request_of(settings, |_| ()).unwrap()).unwrap()
    }

    /// Why there is nothing to hand in.
    pub(crate) fn refused(settings: &str, text: &str) -> (Reason, String) {
        match request_of(settings, |event| event.text = text.to_owned()) {
            Err(RequestError::Refused { reason, detail }) => (reason, detail.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// What is wrong with settings, which begin in the fourth line.
    pub(crate) fn faults(settings: &str) -> Vec<String> {
        let errors = file::read(&text_of(settings), &Transforms::standard()).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_destination_is_of_one_kind_and_every_fault_is_told() {
        let told = faults(
            "sqs = { queue = 'orders', group = '{rom}', speed = 3 }, cache = 'x',\n\
             eventbridge = { source = 'aws.orders', detail = 3 }, extra_transforms = ['shout']",
        );
        let said = |line: &str, says: &str| {
            let is_it = |fault: &&String| fault.starts_with(line) && fault.contains(says);
            assert!(told.iter().any(|fault| is_it(&fault)), "{line} {says}: {told:#?}");
        };
        said("4:", "a destination is one of `eventbridge` and `sqs`; make it two destinations");
        said("4:", "a destination with `eventbridge` has no `cache` beside it");
        said("4:17", "the queue is given by its URL");
        said("4:36", "the group has the unknown name `rom`; expected one of `room`");
        said("4:44", "there is no `speed` to be set here");
        said("5:26", "sources that begin with aws. are Amazon's own");
        said("5:49", "should be \"event\", \"text\", or a table of texts, numbers and booleans");
        said("5:74", "there is no transform \"shout\"");
        let told = faults("sqs = 'orders'");
        assert_eq!(told, ["4:7: is text, and should be a table"]);
        let told = faults("kafka = { topic = 'a' }");
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told.iter().all(|fault| fault.contains("`step_functions`")), "{told:#?}");
    }

    #[test]
    fn a_kind_that_lacks_what_it_needs_says_what() {
        for (settings, missing) in [
            ("sqs = {}", "there is no `queue` here, and it is needed"),
            (
                "dynamodb = { key = { a = '{room}' }, item = {} }",
                "there is no `table` here, and it is needed",
            ),
            ("dynamodb = { table = 't', item = {} }", "there is no `key` here, and it is needed"),
            ("step_functions = { name = 'a' }", "there is no `state_machine` here, and it is needed"),
        ] {
            let told = faults(settings);
            assert!(told.len() == 1 && told[0].contains(missing), "{settings}: {told:#?}");
        }
    }

    #[test]
    fn what_is_no_identifier_becomes_its_hash() {
        let graphic = |char: char| char.is_ascii_graphic();
        assert_eq!(fitting("a#b".to_owned(), 3, graphic), "a#b");
        for text in ["a#bc", "a b", "ä"] {
            let hash = fitting(text.to_owned(), 3, graphic);
            assert_eq!((hash.len(), &hash), (64, &fitting(text.to_owned(), 3, graphic)), "{text}");
        }
    }

    #[test]
    fn a_parcel_is_shown_with_its_place_and_all_that_is_in_it() {
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
    fn everything_known_of_an_event_can_be_handed_in() {
        let known = FIELDS.iter().filter(|field| field.known <= Place::Request).map(|field| field.name);
        let names: Vec<_> = known.map(|name| format!("{name} = '{{{name}}}'")).collect();
        let names = names.join(", ");
        let settings = format!("sqs = {{ queue = 'http://q', body = {{ {names}, room = '{{room}}' }} }}");
        let request = request_of(&settings, |event| event.topic_sequence_page = Some(3)).unwrap();
        let AwsRequest::Message(message) = request else { panic!("{request:?}") };
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
            "it has no token id, no language, and its text is not JSON"
        );
    }

    #[test]
    fn makes_requests_of_the_message_as_it_has_become_and_names_of_the_text_as_it_was_sent() {
        let settings = "dynamodb = { table = '{json.room}', key = { id = '{json.room}' }, item = {
            wei = { number = '{json.wei}' }, all = { json = '{json.all}' }, in = '{language}', by = '{json.by}',
            short = '{json.by | default(\"nobody\") | cut(2)}' } }";
        let routes = file::read(&text_of(settings), &Transforms::standard()).unwrap();
        let event =
            event_with("chat", "friends-publish", 7, |event| event.text = r#"{"room":"a"}"#.to_owned());
        let plan = routes.plan(&event).unwrap().unwrap();
        let destination = &plan.route().destinations()[0];
        assert_eq!(plan.destinations()[0].target.to_string(), "dynamodb a");
        let To::Aws(aws_destination) = &destination.to else { panic!("an AWS destination") };
        let text = r#"{"room":"b","wei":20000000000000000001,"all":[1.10, null]}"#;
        let message = Message { text: text.into(), language: Some("de".into()) };
        let request =
            aws_destination.request(&Fields::new(&plan.context(Instant::now()), destination, &message));
        assert_eq!(
            request.unwrap().to_string(),
            r#"dynamodb a: {"table":"a","key":{"id":"b"},"change":{"put":{"item":{"all":[1.10, null],"in":"de","short":"no","wei":20000000000000000001},"unless_exists":true}}}"#
        );
    }

    #[test]
    fn names_are_shown_without_account_and_region() {
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
