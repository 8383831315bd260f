//! `echo`: leaves the text unchanged.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings};

/// The transform has no settings.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Echo {}

impl TransformSettings for Echo {
    const NAME: &'static str = "echo";

    fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        Ok(Arc::new(self))
    }
}

impl Transform for Echo {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        message.done()
    }
}
