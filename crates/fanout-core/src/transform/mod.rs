//! What is done to a text on the way to a destination.
//!
//! Transforms are verbs, one per file, and all of one anatomy: the [`Settings`] that a file may give, what
//! is built of them, a [`Transform`] that is applied to each message, and the tests.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`registry`] | which transforms there are, by name, and how a configuration gives one |
//! | [`stage`] | a transform in its place: with its settings, and what happens when it fails |
//! | [`translate`] | the seam behind which Amazon Translate is, beside the transform |
//! | [`pseudolocalize`] | what stands in for it where there is no Amazon |
//! | [`tree`] | the chains of a route, so that what they begin with in common is done once |
//!
//! One of your own is a type with these two traits, registered under its name: see
//! `examples/own_transform.rs`.

use std::borrow::Cow;
use std::fmt;

use futures_util::future::{BoxFuture, ready};
use momento_webhook::Event;
use tokio::time::Instant;

use crate::placeholder::Values;
use crate::reason::Reason;

mod around;
mod document;
pub mod echo;
pub mod filter;
pub mod json;
pub mod lowercase;
pub mod moderate;
mod phrases;
pub mod pseudolocalize;
pub mod registry;
mod shown;
pub mod stage;
pub mod template;
pub mod translate;
pub mod tree;
pub mod trim;
pub mod truncate;
pub mod uppercase;

pub use around::Around;
pub use pseudolocalize::Pseudo;
pub use registry::{Build, Settings, Transforms};
pub use stage::{OnFailure, Stage};
pub use translate::Translator;
pub use tree::{Branch, Tree};

/// One transform, ready to be applied to any number of messages at once.
pub trait Transform: fmt::Debug + Send + Sync {
    /// What becomes of a message. It is given up on when the time is up.
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> Applying<'t>;
}

/// What becomes of a message, in time.
pub type Applying<'t> = BoxFuture<'t, Result<Transformed<'t>, TransformError>>;

/// A text on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'t> {
    /// The text.
    pub text: Cow<'t, str>,
    /// The language that the text was written in, once a transform has found out: a code such as `en`.
    /// It stays the same when the text is translated.
    pub language: Option<Cow<'t, str>>,
}

/// What a transform may know beside the message.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The event that the message came from, with its text as it was sent.
    pub event: &'c Event,
    /// What the holes of the route's pattern stand for: names and texts.
    pub captures: &'c [(&'c str, &'c str)],
    /// The JSON document that the message is a member of, inside the transform `json`.
    pub document: Option<&'c Around<'c>>,
    /// When nobody waits for the transform any more.
    pub deadline: Instant,
}

/// What a transform made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transformed<'t> {
    /// A message, to go on.
    Message(Message<'t>),
    /// It goes no further, for this reason. Reasons are shown to the sender and in the log: none has a part
    /// of the text in it.
    Dropped(Cow<'t, str>),
}

/// Why a transform could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct TransformError {
    /// What went wrong: whether it is worth trying again depends on it.
    pub reason: Reason,
    /// The same in words; never a part of the text.
    pub detail: Cow<'static, str>,
    /// What was underneath.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl<'t> Message<'t> {
    /// A text of which nothing else is known.
    pub fn new(text: impl Into<Cow<'t, str>>) -> Self {
        Self { text: text.into(), language: None }
    }

    /// The same message with another text.
    #[must_use]
    pub fn with_text(self, text: impl Into<Cow<'t, str>>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// The same message, borrowed from this one.
    #[must_use]
    pub fn borrowed(&self) -> Message<'_> {
        Message { text: Cow::Borrowed(&self.text), language: self.language.as_deref().map(Cow::Borrowed) }
    }

    /// What the placeholders of a text stand for.
    #[must_use]
    pub fn values<'v>(&'v self, context: &'v Context<'v>) -> Values<'v> {
        let Context { event, captures, document, .. } = *context;
        let document = document.map(|document| document.text());
        Values { event, captures, text: &self.text, language: self.language.as_deref(), document }
    }

    /// The message as what a transform has made: for those that need not wait for anything.
    #[must_use]
    pub fn done(self) -> Applying<'t> {
        Box::pin(ready(Ok(Transformed::Message(self))))
    }
}

impl TransformError {
    /// An error with nothing underneath.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), source: None }
    }

    /// The text cannot be transformed, now or later.
    pub fn unfit(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::InvalidArgument, detail)
    }

    /// The same with what was underneath.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::testing::event;

    /// What `stages` make of `text`, one after the other.
    pub(crate) async fn through(
        stages: &[Stage],
        text: &str,
    ) -> Result<Transformed<'static>, TransformError> {
        through_in(stages, text, &[], None).await
    }

    /// The same with captures and a document around it.
    pub(crate) async fn through_in(
        stages: &[Stage],
        text: &str,
        captures: &[(&str, &str)],
        document: Option<&Value>,
    ) -> Result<Transformed<'static>, TransformError> {
        let event = event("cache", "topic", 1);
        let deadline = Instant::now() + std::time::Duration::from_secs(4);
        let document = document.map(Value::to_string);
        let around = document.as_deref().map(Around::new);
        let context = Context { event: &event, captures, document: around.as_ref(), deadline };
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
        }
    }

    /// The stages that a TOML list describes, as a file gives them in a route with the captures `room` and
    /// `language_code`.
    pub(crate) fn stages(list: &str) -> Vec<Stage> {
        faulty(list).unwrap()
    }

    /// The same, or what is wrong with it: the place and the message.
    pub(crate) fn faulty(list: &str) -> Result<Vec<Stage>, Vec<(String, String)>> {
        faulty_of(&Transforms::standard(), list)
    }

    /// The same with other transforms than the standard ones.
    pub(crate) fn faulty_of(
        transforms: &Transforms,
        list: &str,
    ) -> Result<Vec<Stage>, Vec<(String, String)>> {
        faulty_in(transforms, list, false)
    }

    /// The same, and whether they are inside another transform.
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

    /// The text that is left when `stages` (a TOML list) are applied.
    pub(crate) async fn text(list: &str, text: &str) -> String {
        match through(&stages(list), text).await.unwrap() {
            Transformed::Message(message) => message.text.into_owned(),
            Transformed::Dropped(reason) => panic!("dropped: {reason}"),
        }
    }

    #[tokio::test]
    async fn each_does_what_its_name_says() {
        assert_eq!(text("['echo']", " Straße \0 ").await, " Straße \0 ");
        assert_eq!(text("['uppercase']", "Straße 😀 ǆ").await, "STRASSE 😀 Ǆ");
        assert_eq!(text("['lowercase']", "ΟΔΟΣ İ").await, "οδος i\u{307}");
        assert_eq!(text("['trim']", "\u{a0}\t a b \n\u{3000}").await, "a b");
        for name in ["echo", "uppercase", "lowercase", "trim"] {
            assert_eq!(text(&format!("['{name}']"), "").await, "");
        }
    }

    #[tokio::test]
    async fn they_go_from_left_to_right() {
        assert_eq!(text("['trim', 'uppercase']", "  hello ").await, "HELLO");
        assert_eq!(text("['uppercase', { lowercase = {} }]", "Hello").await, "hello");
    }
}
