//! Transforms: they change the text of an event, or drop the event.
//!
//! Each has one file, named after its verb, with the [`TransformSettings`] of a configuration, the [`Transform`] that they build,
//! and the tests.
//!
//! | module | purpose |
//! | --- | --- |
//! | [`registry`] | all transforms by name, and how a configuration names one |
//! | [`stage`] | one transform of a chain, with its settings and its `on_failure` |
//! | [`lookup`] | the transform, and the trait for what it reads |
//! | [`classifier`] | the trait for services that `moderate` asks, such as Amazon Comprehend |
//! | [`translate`] | the transform, and the trait for Amazon Translate |
//! | [`pseudolocalize`] | a substitute for Amazon Translate that needs no account |
//! | [`tree`] | the chains of a route, merged where they begin with the same transforms |
//!
//! To add a transform of your own, implement these two traits, and register the type: see `examples/own-function`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};
use momento_webhook::Event;
use tokio::time::Instant;

use crate::placeholder::Values;
use crate::reason::Failure;

pub mod classifier;
pub mod echo;
pub mod filter;
pub mod json;
mod json_edit;
pub mod lookup;
pub mod lowercase;
pub mod moderate;
pub mod pseudolocalize;
pub mod registry;
pub mod stage;
pub mod template;
pub mod translate;
pub mod tree;
pub mod trim;
pub mod truncate;
pub mod uppercase;

pub use classifier::{Classifier, NoClassifier};
pub use lookup::{ItemReader, Items, NoItems};
pub use pseudolocalize::Pseudolocalizer;
pub use registry::{Build, TransformSettings, Transforms};
pub use stage::{OnFailure, Stage};
pub use translate::Translator;
pub use tree::{Branch, Tree};

/// A transform, built from its settings. It handles any number of messages at once.
pub trait Transform: fmt::Debug + Send + Sync {
    /// Transforms a message. The caller drops the future at the deadline.
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t>;
}

/// The future of [`Transform::apply`].
pub type TransformFuture<'t> = BoxFuture<'t, Result<Transformed<'t>, Failure>>;

/// The input and output of a transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'t> {
    /// The text.
    pub text: Cow<'t, str>,
    /// The code of the language that the original text was written in, such as `en`, if a transform detected it.
    /// Translating the text does not change it.
    pub language: Option<Cow<'t, str>>,
    /// The values that the transforms `lookup` have found: a JSON object.
    pub found: Option<Arc<str>>,
}

/// The data that a transform can use besides the message.
#[derive(Clone, Copy)]
pub struct Context<'c> {
    /// The event, with its original text.
    pub event: &'c Event,
    /// The names and texts of the captures of the route's pattern.
    pub captures: &'c [(&'c str, &'c str)],
    /// The JSON document that contains the message, inside the transform `json`.
    pub document: Option<&'c str>,
    /// The items of caches for the transform `lookup`.
    pub items: Option<&'c Items>,
    /// The time at which the caller stops waiting.
    pub deadline: Instant,
}

/// The result of a transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transformed<'t> {
    /// The message, for the next transform or the destination.
    Message(Message<'t>),
    /// The message is dropped for this reason. Responses and logs show reasons, so no reason contains a part of a text.
    Dropped(Cow<'t, str>),
}

impl<'t> Message<'t> {
    /// Returns a message of which only the text is known.
    pub fn new(text: impl Into<Cow<'t, str>>) -> Self {
        Self { text: text.into(), language: None, found: None }
    }

    /// Replaces the text.
    #[must_use]
    pub fn with_text(self, text: impl Into<Cow<'t, str>>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// Returns a message that borrows from this one.
    #[must_use]
    pub fn borrowed(&self) -> Message<'_> {
        Message {
            text: Cow::Borrowed(&self.text),
            language: self.language.as_deref().map(Cow::Borrowed),
            found: self.found.clone(),
        }
    }

    /// Returns the values of placeholders.
    #[must_use]
    pub fn values<'v>(&'v self, context: &'v Context<'v>) -> Values<'v> {
        let Context { event, captures, document, .. } = *context;
        let (language, found) = (self.language.as_deref(), self.found.as_deref());
        Values { event, captures, text: &self.text, language, document, found }
    }

    /// Returns the future of a transform that results in this message without waiting.
    #[must_use]
    pub fn done(self) -> TransformFuture<'t> {
        Box::pin(ready(Ok(Transformed::Message(self))))
    }
}

/// Shows no document, which contains a message.
impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("event", &self.event)
            .field("captures", &self.captures)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::testing::event;

    /// Returns the result of `stages` for `text`.
    pub(crate) async fn through(stages: &[Stage], text: &str) -> Result<Transformed<'static>, Failure> {
        through_in(stages, text, &[], None).await
    }

    /// Does the same with captures, and a document that contains the text.
    pub(crate) async fn through_in(
        stages: &[Stage],
        text: &str,
        captures: &[(&str, &str)],
        document: Option<&Value>,
    ) -> Result<Transformed<'static>, Failure> {
        let event = event("cache", "topic", 1);
        let deadline = Instant::now() + std::time::Duration::from_secs(4);
        let document = document.map(Value::to_string);
        let context =
            Context { event: &event, captures, document: document.as_deref(), items: None, deadline };
        let mut message = Message::new(text.to_owned());
        for stage in stages {
            match stage.transform().apply(message.borrowed(), &context).await? {
                Transformed::Message(next) => message = owned(next),
                Transformed::Dropped(reason) => return Ok(Transformed::Dropped(reason.into_owned().into())),
            }
        }
        Ok(Transformed::Message(message))
    }

    fn owned(message: Message<'_>) -> Message<'static> {
        Message {
            text: message.text.into_owned().into(),
            language: message.language.map(|code| code.into_owned().into()),
            found: message.found,
        }
    }

    /// Returns the stages of a TOML list, in a route with the captures `room` and `language_code`.
    pub(crate) fn stages(list: &str) -> Vec<Stage> {
        faulty(list).unwrap()
    }

    /// Does the same, or returns the faults: the source at each, and its message.
    pub(crate) fn faulty(list: &str) -> Result<Vec<Stage>, Vec<(String, String)>> {
        faulty_of(&Transforms::standard(), list)
    }

    /// Does the same with other transforms.
    pub(crate) fn faulty_of(
        transforms: &Transforms,
        list: &str,
    ) -> Result<Vec<Stage>, Vec<(String, String)>> {
        faulty_in(transforms, list, false)
    }

    /// Does the same for stages that may be inside another transform.
    pub(crate) fn faulty_in(
        transforms: &Transforms,
        list: &str,
        is_inside: bool,
    ) -> Result<Vec<Stage>, Vec<(String, String)>> {
        let text = format!("transforms = {list}");
        let mut given = crate::spanned::Given::document(&text).unwrap();
        let value = given.take("transforms").unwrap();
        let stages = transforms.list(value, &["room", "language_code"], is_inside);
        let told = |fault: crate::spanned::Fault| (text.get(fault.span).unwrap().to_owned(), fault.message);
        stages.map_err(|faults| faults.into_iter().map(told).collect())
    }

    /// Returns the text that a TOML list of stages makes of `text`.
    pub(crate) async fn text(list: &str, text: &str) -> String {
        match through(&stages(list), text).await.unwrap() {
            Transformed::Message(message) => message.text.into_owned(),
            Transformed::Dropped(reason) => panic!("dropped: {reason}"),
        }
    }

    #[tokio::test]
    async fn simple_transforms_change_text() {
        assert_eq!(text("['echo']", " Straße \0 ").await, " Straße \0 ");
        assert_eq!(text("['uppercase']", "Straße 😀 ǆ").await, "STRASSE 😀 Ǆ");
        assert_eq!(text("['lowercase']", "ΟΔΟΣ İ").await, "οδος i\u{307}");
        assert_eq!(text("['trim']", "\u{a0}\t a b \n\u{3000}").await, "a b");
        for name in ["echo", "uppercase", "lowercase", "trim"] {
            assert_eq!(text(&format!("['{name}']"), "").await, "");
        }
    }

    #[tokio::test]
    async fn stages_run_from_left_to_right() {
        assert_eq!(text("['trim', 'uppercase']", "  hello ").await, "HELLO");
        assert_eq!(text("['uppercase', { lowercase = {} }]", "Hello").await, "hello");
    }
}
