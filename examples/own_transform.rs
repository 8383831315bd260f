//! The function `webhook` with two additional transforms. A file uses them like all others:
//!
//! ```toml
//! [[routes]]
//! topic = "in"
//! destinations = [{ topic = "out", transforms = ["reverse", { sign = { name = "the team" } }] }]
//! ```

use std::process::ExitCode;
use std::sync::Arc;

use fanout_core::transform::{
    Build, Context, Message, Transform, TransformFuture, TransformSettings, Transforms,
};
use serde::{Deserialize, Serialize};
use topic_fanout::run;

/// Appends a name to the text.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    name: String,
}

impl TransformSettings for Sign {
    const NAME: &'static str = "sign";

    fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        Ok(Arc::new(self))
    }
}

impl Transform for Sign {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        let text = format!("{}, {}", message.text, self.name);
        message.with_text(text).done()
    }
}

fn main() -> ExitCode {
    let transforms = Transforms::standard().with::<Sign>();
    run::webhook_with(&transforms.with_text("reverse", |text| text.chars().rev().collect()))
}
