//! Tests of the documentation: its files are valid, and its examples have the results that it shows.

use std::sync::Arc;

use tokio::time::Instant;

use crate::destination::{CACHE_KINDS, Fields, KINDS};
use crate::file;
use crate::placeholder::{FIELDS, FILTERS};
use crate::route::To;
use crate::testing::TIMEOUT;
use crate::testing::event;
use crate::transform::moderate::COMPREHEND;
use crate::transform::tests::faulty_of;
use crate::transform::{Context, Message, NoClassifier, Pseudolocalizer, Stage, Transformed, Transforms};

const DOCUMENTS: [(&str, &str); 6] = [
    ("docs/CONFIGURATION.md", include_str!("../../../docs/CONFIGURATION.md")),
    ("README.md", include_str!("../../../README.md")),
    ("docs/RECIPES.md", include_str!("../../../docs/RECIPES.md")),
    ("docs/LOGS.md", include_str!("../../../docs/LOGS.md")),
    ("docs/REFERENCE.md", include_str!("../../../docs/REFERENCE.md")),
    ("examples/chat/README.md", include_str!("../../../examples/chat/README.md")),
];

/// A fenced block of a document.
struct Block<'d> {
    language: &'d str,
    text: &'d str,
    /// The document and the line, for a message.
    place: String,
}

fn blocks() -> Vec<Block<'static>> {
    let mut blocks = Vec::new();
    for (name, document) in DOCUMENTS {
        let mut rest = document;
        while let Some((_, begun)) = rest.split_once("\n```") {
            let (language, text) = begun.split_once('\n').unwrap();
            let (text, after) = text.split_once("```").unwrap();
            let line = document.get(..document.len() - begun.len()).unwrap().lines().count();
            blocks.push(Block { language, text, place: format!("{name}:{line}") });
            rest = after;
        }
    }
    blocks
}

fn transforms() -> Transforms {
    let transforms = Transforms::standard().with_translator(Arc::new(Pseudolocalizer));
    transforms.with_classifier(COMPREHEND, Arc::new(NoClassifier))
}

#[test]
fn describes_every_field_and_filter() {
    let fields = FIELDS.iter().map(|field| (field.name, field.description));
    for (name, description) in fields.chain(FILTERS.map(|(_, usage, description)| (usage, description))) {
        let row = format!("\n| `{name}` | {description} |\n");
        assert!(DOCUMENTS[0].1.contains(&row), "{} has no row{row}", DOCUMENTS[0].0);
    }
}

#[test]
fn readme_has_versions_of_manifest() {
    let manifest = include_str!("../../../Cargo.toml");
    let value =
        |key: &str| manifest.split_once(&format!("\n{key} = \"")).unwrap().1.split('"').next().unwrap();
    let (rust, license) = (value("rust-version"), value("license").replace('-', "--"));
    for shown in [
        format!("badge/Rust-{rust}%2B-"),
        format!("| Rust | {rust} or newer."),
        format!("badge/license-{license}-"),
    ] {
        assert!(DOCUMENTS[1].1.contains(&shown), "README.md lacks {shown:?}");
    }
}

#[test]
fn files_are_valid() {
    let files: Vec<_> = blocks()
        .into_iter()
        .filter(|block| block.language == "toml" && block.text.contains("[[routes]]"))
        .collect();
    assert!(files.len() >= 4, "{} files", files.len());
    for Block { text, place, .. } in files {
        if let Err(errors) = file::read(text, &transforms(), KINDS) {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            panic!("{place}: {errors:#?}");
        }
    }
}

/// A file with one service destination is followed by its request for the first event of the room `friends`.
#[test]
fn requests_are_those_that_are_shown() {
    let (mut kinds, mut wrong) = (std::collections::HashSet::new(), Vec::new());
    for pair in blocks().windows(2) {
        let [file, shown] = pair else { continue };
        let is_pair = file.language == "toml" && shown.language == "json" && file.text.contains("[[routes]]");
        // Recipes show an event after a file.
        if !is_pair || !file.place.starts_with(DOCUMENTS[0].0) {
            continue;
        }
        let routes = file::read(file.text, &transforms(), KINDS).unwrap();
        let event = event("chat", "friends-publish", 1);
        let plan = routes.plan(&event).unwrap().unwrap();
        let destination = &plan.route().destinations()[0];
        let To::Service(service_destination) = &destination.to else { panic!("{}", file.place) };
        let context = plan.context(Instant::now());
        let request = service_destination
            .request(&Fields::new(&context, destination, &Message::new(plan.text())))
            .unwrap();
        let made = serde_json::to_value(&request).unwrap();
        if serde_json::from_str::<serde_json::Value>(shown.text).ok().as_ref() != Some(&made) {
            wrong.push(format!("{}: {}", shown.place, serde_json::to_string_pretty(&request).unwrap()));
        }
        kinds.insert(service_destination.kind());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(kinds.len(), KINDS.len() + CACHE_KINDS.len());
}

/// An example is a list of transforms in TOML, followed by lines with a text and its result.
#[tokio::test]
async fn examples_have_results_that_are_shown() {
    let (mut examples, mut wrong) = (0, Vec::new());
    let blocks = blocks();
    for pair in blocks.windows(2) {
        let [transforms, results] = pair else { continue };
        let Some(list) =
            transforms.text.strip_prefix("transforms = ").filter(|_| transforms.language == "toml")
        else {
            continue;
        };
        let place = &transforms.place;
        let stages =
            faulty_of(&self::transforms(), list).unwrap_or_else(|faults| panic!("{place}: {faults:#?}"));
        if results.language != "text" {
            continue;
        }
        for line in results.text.lines() {
            let mut strings = serde_json::Deserializer::from_str(line).into_iter::<String>();
            let text = strings.next().unwrap().unwrap_or_else(|error| panic!("{place}: {error}: {line}"));
            let expected = line.get(strings.byte_offset()..).unwrap().trim();
            let became = result_of(&stages, &text).await;
            if became != expected {
                wrong.push(format!("{place}: {text:?} {became}"));
            }
            examples += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(examples >= 20, "{examples} examples");
}

/// Returns the result for a text of the room `friends`.
async fn result_of(stages: &[Stage], text: &str) -> String {
    let event = event("chat", "friends-publish", 1);
    let captures = [("room", "friends"), ("language_code", "en")];
    let deadline = Instant::now() + TIMEOUT;
    let context = Context { event: &event, captures: &captures, document: None, items: None, deadline };
    let (mut text, mut language) = (text.to_owned(), None);
    for stage in stages {
        let message = Message { text: text.as_str().into(), language: language.clone(), found: None };
        let next = match stage.apply(message, &context).await {
            Ok(Transformed::Message(next)) => next,
            Ok(Transformed::Dropped(reason)) => return format!("is dropped: {reason}"),
            Err(error) => return format!("fails: {error}"),
        };
        language = next.language.map(|code| code.into_owned().into());
        text = next.text.into_owned();
    }
    format!("becomes {}", serde_json::to_string(&text).unwrap())
}

/// Returns the lines of the text blocks of a document, in order.
fn lines_of_text_blocks(document: &'static str) -> impl Iterator<Item = &'static str> {
    document
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix("text\n"))
        .flat_map(str::lines)
}

#[test]
fn architecture_shows_existing_files_and_dependencies() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let (mut files, mut crates) = (0, 0);
    for line in lines_of_text_blocks(include_str!("../../../docs/ARCHITECTURE.md")) {
        let Some((package, dependencies)) = line.split_once("->") else {
            let path = line.split_whitespace().next().unwrap();
            assert!(root.join(path).exists(), "{path}");
            files += 1;
            continue;
        };
        let package = package.trim();
        let folder =
            if package == "topic-fanout" { root.to_owned() } else { root.join("crates").join(package) };
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let normal = manifest.split_once("\n[dependencies]").unwrap().1.split("\n[").next().unwrap();
        let is_ours = |name: &&str| !name.is_empty() && root.join("crates").join(name).exists();
        let actual: Vec<_> =
            normal.lines().filter_map(|line| line.split([' ', '.']).next()).filter(is_ours).collect();
        assert_eq!(actual, dependencies.split_whitespace().collect::<Vec<_>>(), "{package}");
        crates += 1;
    }
    assert!(files > 20 && crates == 11, "{files} {crates}");
}
