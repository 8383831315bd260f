//! `lowercase`: converts the text to lower case, by the rules of Unicode.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings};

/// The transform has no settings.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Lowercase {}

impl TransformSettings for Lowercase {
    const NAME: &'static str = "lowercase";

    fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        Ok(Arc::new(self))
    }
}

impl Transform for Lowercase {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        let Message { text, language, found } = message;
        Message { text: lowercase(text), language, found }.done()
    }
}

fn lowercase(text: Cow<'_, str>) -> Cow<'_, str> {
    // Only an ASCII text is checked first: it is not copied if nothing changes.
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return text;
    }
    Cow::Owned(text.to_lowercase())
}
