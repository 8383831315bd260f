//! `trim`: removes white space at both ends, as Unicode defines it.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings};

/// The transform has no settings.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Trim {}

impl TransformSettings for Trim {
    const NAME: &'static str = "trim";

    fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        Ok(Arc::new(self))
    }
}

impl Transform for Trim {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        let Message { text, language, found } = message;
        Message { text: trim(text), language, found }.done()
    }
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}
