//! The JSON Schema of `fanout.toml`, made from the types that it is read into.
//!
//! What is read by hand there is put together by hand here: routes, destinations, and what all transforms have
//! in common.

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::destination::dynamodb::{DynamoDb, DynamoDbKeys};
use crate::destination::eventbridge::{EventBridge, EventBridgeKeys};
use crate::destination::sqs::{Sqs, SqsKeys};
use crate::destination::step_functions::{StepFunctions, StepFunctionsKeys};
use crate::file::{DestinationKeys, RouteKeys};
use crate::transform::echo::Echo;
use crate::transform::filter::Filter;
use crate::transform::json::Json;
use crate::transform::lowercase::Lowercase;
use crate::transform::moderate::Moderate;
use crate::transform::pseudolocalize::PseudolocalizeSettings;
use crate::transform::template::TemplateSettings;
use crate::transform::translate::TranslateSettings;
use crate::transform::trim::Trim;
use crate::transform::truncate::Truncate;
use crate::transform::uppercase::Uppercase;
use crate::transform::{OnFailure, Pseudo, Settings, Transforms};

const TRANSFORMS: &str = "#/$defs/Transforms";

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut generator =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let generator = &mut generator;
    let mut route = of::<RouteKeys>(generator);
    let destinations = json!({
        "description": "Where events go: names of topics, or tables.",
        "type": "array", "minItems": 1,
        "items": {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/Destination"}]},
    });
    extend(
        &mut route,
        [
            (
                "transforms",
                list(
                    "What is done to the text, in order, for the destinations that have no `transforms` of their own.",
                ),
            ),
            ("destinations", destinations),
        ],
    );
    require(&mut route, "destinations");
    let mut destinations: Vec<_> = std::iter::once(of::<DestinationKeys>(generator))
        .chain(aws_destinations(generator).into_iter().map(|(kind, settings)| {
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
                ("transforms", list("What is done to the text, in place of what the route has.")),
                ("extra_transforms", list("What is done to the text, behind what the route has.")),
            ],
        );
        destination.insert("not".to_owned(), json!({"required": ["transforms", "extra_transforms"]}));
    }
    let kinds = kinds(generator);
    let transforms = Transforms::standard().with_translator(Arc::new(Pseudo));
    let named: Vec<_> =
        kinds.iter().map(|kind| kind.name).filter(|name| transforms.named(name).is_ok()).collect();
    let with_settings = kinds.into_iter().map(|kind| {
        json!({
            "type": "object", "additionalProperties": false,
            "required": [kind.name], "properties": {kind.name: kind.settings},
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

/// All kinds of AWS destinations, and their settings.
fn aws_destinations(generator: &mut SchemaGenerator) -> [(&'static str, Map<String, Value>); 4] {
    [
        (DynamoDb::KIND, of::<DynamoDbKeys>(generator)),
        (EventBridge::KIND, of::<EventBridgeKeys>(generator)),
        (Sqs::KIND, of::<SqsKeys>(generator)),
        (StepFunctions::KIND, of::<StepFunctionsKeys>(generator)),
    ]
}

/// One kind of transform.
struct Kind {
    name: &'static str,
    settings: Map<String, Value>,
}

/// All of them.
fn kinds(generator: &mut SchemaGenerator) -> Vec<Kind> {
    vec![
        kind::<Echo>(generator),
        kind::<Filter>(generator),
        kind::<Json>(generator),
        kind::<Lowercase>(generator),
        kind::<Moderate>(generator),
        kind::<PseudolocalizeSettings>(generator),
        kind::<TemplateSettings>(generator),
        kind::<TranslateSettings>(generator),
        kind::<Trim>(generator),
        kind::<Truncate>(generator),
        kind::<Uppercase>(generator),
    ]
}

fn kind<S: Settings + JsonSchema>(generator: &mut SchemaGenerator) -> Kind {
    let mut settings = of::<S>(generator);
    let mut on_failure = of::<OnFailure>(generator);
    on_failure.insert("default".to_owned(), json!("fail"));
    if !S::MAY_PASS {
        on_failure = object(
            json!({"description": on_failure.get("description"), "enum": ["fail", "drop"], "default": "fail"}),
        );
    }
    extend(&mut settings, [("on_failure", Value::Object(on_failure))]);
    if S::NESTS {
        extend(&mut settings, [("transforms", list("What is done inside of it, in order."))]);
    }
    Kind { name: S::NAME, settings }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut schema = object(generator.subschema_for::<T>().to_value());
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
    fn every_transform_is_in_it() {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let names: Vec<_> = kinds(&mut generator).iter().map(|kind| kind.name).collect();
        assert_eq!(names.join(", "), Transforms::standard().names());
    }

    #[test]
    fn every_setting_says_what_it_is() {
        let mut generator = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        for kind in kinds(&mut generator) {
            let properties = kind.settings["properties"].as_object().unwrap();
            for (name, schema) in properties {
                assert!(schema["description"].is_string(), "{}.{name}: {schema}", kind.name);
            }
        }
    }

    #[test]
    fn every_kind_of_outlet_is_in_it_and_says_what_its_settings_are() {
        let mut generator = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        let aws_destinations = aws_destinations(&mut generator);
        assert_eq!(aws_destinations.each_ref().map(|(kind, _)| *kind), crate::destination::aws::KINDS);
        for (kind, settings) in aws_destinations {
            for (name, schema) in settings["properties"].as_object().unwrap() {
                assert!(schema["description"].is_string(), "{kind}.{name}: {schema}");
            }
        }
    }

    /// `cargo fanout schema > fanout.schema.json` makes it so.
    #[test]
    fn the_schema_in_the_repository_is_this_one() {
        let kept: Value = serde_json::from_str(include_str!("../../../fanout.schema.json")).unwrap();
        assert!(kept == schema(), "fanout.schema.json is old: cargo fanout schema > fanout.schema.json");
    }
}
