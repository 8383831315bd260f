//! The JSON Schema of `fanout.toml`, made of the types of its settings.
//!
//! This module adds what [`file`](crate::file) reads without such a type: routes, destinations, and the keys that all
//! transforms have.

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::destination::registry::REGISTRY;
use crate::file::{DestinationKeys, RouteKeys};
use crate::transform::{OnFailure, Pseudolocalizer, Transforms};

const TRANSFORMS: &str = "#/$defs/Transforms";

/// Returns the schema, draft 2020-12, of a file that can name these transforms. The settings of transforms from other crates are
/// objects without a description.
#[must_use]
pub fn schema(transforms: &Transforms) -> Value {
    let mut generator =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let generator = &mut generator;
    let mut route = of::<RouteKeys>(generator);
    let destinations = json!({
        "description": "The destinations of the events: names of topics, or tables.",
        "type": "array", "minItems": 1,
        "items": {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/Destination"}]},
    });
    extend(
        &mut route,
        [
            (
                "transforms",
                list(
                    "The transforms of the text, in order, for destinations without `transforms` of their own.",
                ),
            ),
            ("destinations", destinations),
        ],
    );
    require(&mut route, "destinations");
    let mut destinations: Vec<_> = std::iter::once(of::<DestinationKeys>(generator))
        .chain(service_destinations(generator).into_iter().map(|(kind, settings)| {
            object(json!({
                "description": settings.get("description"), "type": "object", "additionalProperties": false,
                "required": [kind], "properties": {kind: settings},
            }))
        }))
        .collect();
    for destination in &mut destinations {
        extend(
            destination,
            [
                ("transforms", list("The transforms of the text, in place of the transforms of the route.")),
                ("extra_transforms", list("The transforms of the text, after the transforms of the route.")),
            ],
        );
        destination.insert("not".to_owned(), json!({"required": ["transforms", "extra_transforms"]}));
    }
    let all = transforms.clone().with_translator(Arc::new(Pseudolocalizer));
    let described = described(&all, generator);
    let named: Vec<_> =
        described.iter().map(|(name, _)| *name).filter(|name| all.named(name).is_ok()).collect();
    let with_settings = described.iter().map(|(name, settings)| {
        json!({
            "type": "object", "additionalProperties": false,
            "required": [name], "properties": {*name: settings},
        })
    });
    let transforms = std::iter::once(json!({"enum": named})).chain(with_settings);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fanout.toml",
        "description": "Routes, destinations and transforms of topic-fanout.",
        "type": "object",
        "additionalProperties": false,
        "required": ["routes"],
        "properties": {
            "routes": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Route"}},
        },
        "$defs": {
            "Route": route,
            "Destination": {"anyOf": destinations},
            "Transforms": {"type": "array", "items": {"anyOf": transforms.collect::<Vec<_>>()}},
        },
    })
}

/// Returns the kinds of service destinations, and the schemas of their settings.
fn service_destinations(generator: &mut SchemaGenerator) -> Vec<(&'static str, Map<String, Value>)> {
    REGISTRY.iter().map(|kind| (kind.name, untitled((kind.schema)(generator)))).collect()
}

/// Returns the names of all transforms, and the schemas of their settings.
fn described<'t>(
    transforms: &'t Transforms,
    generator: &mut SchemaGenerator,
) -> Vec<(&'t str, Map<String, Value>)> {
    let described = transforms.described().map(|(name, schema, may_pass, nests)| {
        let mut settings = match schema {
            Some(schema) => untitled(schema(generator)),
            None => object(json!({"type": "object"})),
        };
        let mut on_failure = of::<OnFailure>(generator);
        on_failure.insert("default".to_owned(), json!("fail"));
        if !may_pass {
            on_failure = object(
                json!({"description": on_failure.get("description"), "enum": ["fail", "drop"], "default": "fail"}),
            );
        }
        extend(&mut settings, [("on_failure", Value::Object(on_failure))]);
        if nests {
            extend(&mut settings, [("transforms", list("The transforms of the string at `pointer`, in order."))]);
        }
        (name, settings)
    });
    described.collect()
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Map<String, Value> {
    untitled(generator.subschema_for::<T>())
}

fn untitled(schema: Schema) -> Map<String, Value> {
    let mut schema = object(schema.to_value());
    schema.remove("title");
    schema
}

fn list(description: &str) -> Value {
    json!({"description": description, "$ref": TRANSFORMS})
}

fn extend<const N: usize>(schema: &mut Map<String, Value>, more: [(&str, Value); N]) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    }
}

fn require(schema: &mut Map<String, Value>, name: &str) {
    if let Value::Array(required) = schema.entry("required").or_insert_with(|| json!([])) {
        required.push(json!(name));
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_every_setting_of_every_kind() {
        let mut generator = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        let standard = Transforms::standard();
        let transforms = described(&standard, &mut generator);
        let names: Vec<_> = transforms.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.join(", "), standard.names());
        let service_destinations = service_destinations(&mut generator);
        let kinds: Vec<_> = service_destinations.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [crate::destination::KINDS, crate::destination::CACHE_KINDS].concat());
        for (kind, settings) in transforms.into_iter().chain(service_destinations) {
            for (name, schema) in settings["properties"].as_object().unwrap() {
                assert!(schema["description"].is_string(), "{kind}.{name}: {schema}");
            }
        }
    }

    /// `cargo fanout schema > fanout.schema.json` writes the file.
    #[test]
    fn schema_in_repository_is_current() {
        let kept: Value = serde_json::from_str(include_str!("../../../fanout.schema.json")).unwrap();
        assert!(
            kept == schema(&Transforms::standard()),
            "fanout.schema.json is old: cargo fanout schema > fanout.schema.json"
        );
    }
}
