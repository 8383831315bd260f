//! The JSON Schema of `tokens.toml`, made of the types of its keys.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::file::{GatewayKeys, HistoryKeys, ItemKeys, JwtKeys, ProfileKeys, TopKeys};

/// Returns the schema, draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut generator =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let generator = &mut generator;
    let value = json!({"type": ["string", "integer", "boolean"]});
    let when = json!({
        "description": "What the claims have to be: a value, or a list of values of which the claim has one. Default: anything.",
        "type": "object", "minProperties": 1,
        "additionalProperties": {"anyOf": [value, {"type": "array", "minItems": 1, "items": value}]},
    });
    let keys = json!({
        "description": "The items of the cache that the token may use.",
        "type": "array", "items": of::<ItemKeys>(generator, Map::new()),
    });
    let profile = of::<ProfileKeys>(generator, members([("when", when), ("keys", keys)]));
    let history = json!({
        "description": "The lists with the last messages of topics, for the function `publish`. The first that fits a topic counts.",
        "type": "array", "items": of::<HistoryKeys>(generator, Map::new()),
    });
    let more = members([
        ("history", history),
        ("jwt", of::<JwtKeys>(generator, Map::new())),
        ("gateway", of::<GatewayKeys>(generator, Map::new())),
        ("profiles", json!({"type": "array", "minItems": 1, "items": profile})),
    ]);
    let mut file = of::<TopKeys>(generator, more);
    if let Value::Object(file) = &mut file {
        file.extend(members([
            ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
            ("title", json!("tokens.toml")),
            ("description", json!("Who gets tokens of Momento, and what they may do.")),
            ("required", json!(["profiles"])),
            ("oneOf", json!([{"required": ["jwt"]}, {"required": ["gateway"]}])),
        ]));
    }
    file
}

/// Returns the schema of a type, with `more` properties.
fn of<T: JsonSchema>(generator: &mut SchemaGenerator, more: Map<String, Value>) -> Value {
    let mut schema = generator.subschema_for::<T>().to_value();
    if let Value::Object(schema) = &mut schema {
        schema.remove("title");
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.extend(more);
        }
    }
    schema
}

fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo fanout schema tokens > tokens.schema.json` writes the file.
    #[test]
    fn schema_in_repository_is_current() {
        let kept: Value = serde_json::from_str(include_str!("../../../tokens.schema.json")).unwrap();
        assert!(
            kept == schema(),
            "tokens.schema.json is old: cargo fanout schema tokens > tokens.schema.json"
        );
    }
}
