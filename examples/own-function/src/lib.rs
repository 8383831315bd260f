//! Two transforms, which `fanout.toml` uses like all others.

use std::sync::Arc;

use fanout_core::transform::{
    Build, Context, Message, Transform, TransformFuture, TransformSettings, Transforms,
};
use serde::{Deserialize, Serialize};

/// Returns the transforms of this function: the standard ones, and two more.
#[must_use]
pub fn transforms() -> Transforms {
    Transforms::standard().with::<Sign>().with_text("reverse", |text| text.chars().rev().collect())
}

/// Appends a name to the text: `{ sign = { name = "the team" } }`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    name: String,
}

impl TransformSettings for Sign {
    const NAME: &'static str = "sign";

    fn build(self, _: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        if self.name.is_empty() {
            return Err("`name` is empty; expected the name to sign with".to_owned());
        }
        Ok(Arc::new(self))
    }
}

impl Transform for Sign {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        let text = format!("{}, {}", message.text, self.name);
        message.with_text(text).done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fanout.toml");

    /// The whole way: local Momento, a signed webhook, the function, and the message that arrives.
    #[test]
    fn message_arrives_transformed() {
        let ended =
            fanout_cli::run_in_test(&["dev", "--config", ROUTES, "--send", "hello", "--json"], &transforms());
        assert!(ended.is_success, "{ended:#?}");
        assert!(ended.out.contains(r#""text":"OLLEH, THE TEAM""#), "{ended:#?}");
    }

    #[test]
    fn schema_for_editors_has_transforms() {
        let ended = fanout_cli::run_in_test(&["schema"], &transforms());
        for part in ["\"reverse\"", "\"sign\": {"] {
            assert!(ended.is_success && ended.out.contains(part), "{part} in {ended:#?}");
        }
    }

    #[test]
    fn check_knows_transforms_and_their_faults() {
        let ended = fanout_cli::run_in_test(&["check", ROUTES], &transforms());
        assert!(
            ended.is_success && ended.out.contains(r#"reverse | sign {"name":"the team"} | uppercase"#),
            "{ended:#?}"
        );
    }
}
