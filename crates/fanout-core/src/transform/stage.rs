//! One transform of a chain, with its settings and its `on_failure`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::moderate::Moderate;
use super::{Context, Message, Transform, TransformSettings as _, Transformed};
use crate::reason::Failure;

/// One transform of a chain.
#[derive(Clone, Debug)]
pub struct Stage {
    name: Cow<'static, str>,
    settings: String,
    on_failure: OnFailure,
    may_pass: bool,
    transform: Arc<dyn Transform>,
    nested: Vec<Self>,
}

/// What happens to a message if a transform fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The destination fails. The sender gets an error, and may send the event again.
    #[default]
    Fail,
    /// The message is dropped for the destination.
    Drop,
    /// The text stays unchanged.
    Pass,
}

impl OnFailure {
    /// Returns what a chain does after a transform has failed on the message `before`.
    ///
    /// # Errors
    /// The same error, if it is a failure of the whole chain.
    pub(crate) fn after<'t, 'e>(
        self,
        error: &'e Failure,
        before: impl FnOnce() -> Message<'t>,
    ) -> Result<Transformed<'t>, &'e Failure> {
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
        Self { name, settings, on_failure, may_pass, transform, nested: Vec::new() }
    }

    /// Adds the transforms that are nested in it.
    pub(crate) fn with_nested(self, nested: Vec<Self>) -> Self {
        Self { nested, ..self }
    }

    /// Returns true if it is, or contains, the transform called `name`.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.name == name || self.nested.iter().any(|stage| stage.uses(name))
    }

    /// Returns true if it is, or contains, a `moderate` with a service.
    #[must_use]
    pub fn classifies(&self) -> bool {
        let settings = || serde_json::from_str::<Value>(&self.settings).expect("the settings are JSON");
        self.name == Moderate::NAME && settings().get("service").is_some()
            || self.nested.iter().any(Self::classifies)
    }

    /// Returns the number of transforms: this one and those inside it.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.nested.iter().map(Self::count).sum::<usize>()
    }

    /// Returns the name of the transform.
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

    /// Returns what happens to a message if it fails.
    #[must_use]
    pub const fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// Returns true if `on_failure = "pass"` is allowed. It is not for a transform that guards a topic.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// Returns the transform.
    #[must_use]
    pub fn transform(&self) -> &dyn Transform {
        &*self.transform
    }

    /// Transforms a message. Follows `on_failure` if that fails.
    ///
    /// # Errors
    /// If it fails with `on_failure = "fail"`. The detail begins with the name of the transform.
    pub async fn apply<'t>(
        &'t self,
        message: Message<'t>,
        context: &'t Context<'t>,
    ) -> Result<Transformed<'t>, Failure> {
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
                Err(Failure { detail, ..error })
            }
        }
    }

    /// Returns true if both have the same name and settings, so that one run is enough. Their `on_failure` may differ.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        (&self.name, &self.settings) == (&other.name, &other.settings)
    }
}

impl PartialEq for Stage {
    fn eq(&self, other: &Self) -> bool {
        self.is_equivalent(other) && self.on_failure == other.on_failure
    }
}

/// Writes the name, the settings that are not defaults, and `on_failure`.
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
