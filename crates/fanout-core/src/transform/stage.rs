//! A transform in its place: with its settings, and what happens when it fails.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Context, Message, Transform, TransformError, Transformed};

/// One transform of a chain.
#[derive(Clone, Debug)]
pub struct Stage {
    name: Cow<'static, str>,
    settings: String,
    on_failure: OnFailure,
    may_pass: bool,
    transform: Arc<dyn Transform>,
    inside: Vec<Self>,
}

/// What becomes of a message when a transform fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The destination fails: the sender is told, and may send the event again.
    #[default]
    Fail,
    /// The destination does without this message.
    Drop,
    /// The text goes on as it was.
    Pass,
}

impl OnFailure {
    /// Returns what a chain does after a transform has failed on the message `before`.
    ///
    /// # Errors
    /// The same error, if it is a failure of the whole chain.
    pub(crate) fn after<'t, 'e>(
        self,
        error: &'e TransformError,
        before: impl FnOnce() -> Message<'t>,
    ) -> Result<Transformed<'t>, &'e TransformError> {
        match self {
            Self::Pass => Ok(Transformed::Message(before())),
            Self::Drop => Ok(Transformed::Dropped(format!("failed: {error}").into())),
            Self::Fail => Err(error),
        }
    }
}

impl Stage {
    /// Returns the stage that applies `transform`. `settings` are its settings as JSON, with sorted keys.
    #[must_use]
    pub const fn new(
        name: Cow<'static, str>,
        settings: String,
        on_failure: OnFailure,
        may_pass: bool,
        transform: Arc<dyn Transform>,
    ) -> Self {
        Self { name, settings, on_failure, may_pass, transform, inside: Vec::new() }
    }

    /// The same with the transforms that it applies itself.
    pub(crate) fn with_inside(self, inside: Vec<Self>) -> Self {
        Self { inside, ..self }
    }

    /// Whether it is the transform of this name, or has it inside.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.name == name || self.inside.iter().any(|stage| stage.uses(name))
    }

    /// Returns the number of transforms: this one and those inside it.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.inside.iter().map(Self::count).sum::<usize>()
    }

    /// What the transform is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its settings as JSON, with sorted keys and without those that have their defaults. They include the
    /// transforms inside.
    #[must_use]
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// Returns the transform as a file gives it: its name, or a table with its name and its settings. Settings that have
    /// their defaults are left out.
    pub(crate) fn to_json(&self) -> Value {
        let settings = serde_json::from_str(&self.settings).expect("the settings are JSON");
        match (settings, self.on_failure) {
            (Value::Object(settings), OnFailure::Fail) if settings.is_empty() => json!(self.name),
            (settings, OnFailure::Fail) => json!({ self.name(): settings }),
            (Value::Object(mut settings), on_failure) => {
                settings.insert("on_failure".to_owned(), json!(on_failure));
                json!({ self.name(): settings })
            }
            (settings, on_failure) => json!({ self.name(): [settings, on_failure] }),
        }
    }

    /// What becomes of a message when it fails.
    #[must_use]
    pub const fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// Whether a text may go on as it was when this fails. What guards a topic must not let it.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// The transform itself.
    #[must_use]
    pub fn transform(&self) -> &dyn Transform {
        &*self.transform
    }

    /// What becomes of a message, with what `on_failure` says of one that the transform fails on.
    ///
    /// # Errors
    /// When it fails, and a failure is one of the whole chain. The detail begins with the transform's name.
    pub async fn apply<'t>(
        &'t self,
        message: Message<'t>,
        context: &'t Context<'t>,
    ) -> Result<Transformed<'t>, TransformError> {
        let before = (self.on_failure == OnFailure::Pass).then(|| message.clone());
        let error = match self.transform.apply(message, context).await {
            Ok(transformed) => return Ok(transformed),
            Err(error) => error,
        };
        match self.on_failure.after(&error, || before.expect("`pass` keeps the message")) {
            Ok(Transformed::Message(message)) => Ok(Transformed::Message(message)),
            Ok(Transformed::Dropped(reason)) => {
                Ok(Transformed::Dropped(format!("{} {reason}", self.name).into()))
            }
            Err(_) => {
                let detail = format!("{}: {}", self.name, error.detail).into();
                Err(TransformError { detail, ..error })
            }
        }
    }

    /// Whether both do the same to the same text, so that doing it once is enough. What happens when that
    /// fails may differ.
    #[must_use]
    pub fn does_the_same(&self, other: &Self) -> bool {
        (&self.name, &self.settings) == (&other.name, &other.settings)
    }
}

impl PartialEq for Stage {
    fn eq(&self, other: &Self) -> bool {
        self.does_the_same(other) && self.on_failure == other.on_failure
    }
}

/// As it is given in a file, without what is left to its default.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.settings != "{}" {
            write!(f, " {}", self.settings)?;
        }
        match self.on_failure {
            OnFailure::Fail => Ok(()),
            OnFailure::Drop => f.write_str(", on failure: drop"),
            OnFailure::Pass => f.write_str(", on failure: pass"),
        }
    }
}
