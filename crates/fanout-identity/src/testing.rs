//! Fixtures for tests.

use serde_json::Value;

use crate::claims::Claims;

/// Returns claims of a JSON object.
pub(crate) fn claims(claims: Value) -> Claims {
    match claims {
        Value::Object(claims) => Claims::assumed(claims),
        other => panic!("an object, not {other}"),
    }
}
