//! `uppercase`: converts the text to upper case, by the rules of Unicode. The text can get longer: `ß` becomes `SS`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings};

/// The transform has no settings.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Uppercase {}

impl TransformSettings for Uppercase {
    const NAME: &'static str = "uppercase";

    fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        Ok(Arc::new(self))
    }
}

impl Transform for Uppercase {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        let Message { text, language, found } = message;
        Message { text: uppercase(text), language, found }.done()
    }
}

fn uppercase(text: Cow<'_, str>) -> Cow<'_, str> {
    // Only an ASCII text is checked first: it is not copied if nothing changes.
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return text;
    }
    Cow::Owned(text.to_uppercase())
}
