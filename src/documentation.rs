//! What the documentation shows is true: its files are read, and its examples come out as it says.

use std::sync::Arc;

use crate::config::file;
use crate::transform::tests::{faulty_of, through};
use crate::transform::{Pseudo, Transformed, Transforms};

const DOCUMENTS: [(&str, &str); 3] = [
    ("docs/CONFIGURATION.md", include_str!("../docs/CONFIGURATION.md")),
    ("README.md", include_str!("../README.md")),
    ("examples/chat/README.md", include_str!("../examples/chat/README.md")),
];

/// One part of a document between fences.
struct Block<'d> {
    language: &'d str,
    text: &'d str,
    /// For a message.
    place: String,
}

fn blocks() -> Vec<Block<'static>> {
    let mut blocks = Vec::new();
    for (name, document) in DOCUMENTS {
        let mut rest = document;
        while let Some((_, begun)) = rest.split_once("\n```") {
            let (language, text) = begun.split_once('\n').unwrap();
            let (text, after) = text.split_once("```").unwrap();
            let line = document[..document.len() - begun.len()].lines().count();
            blocks.push(Block { language, text, place: format!("{name}:{line}") });
            rest = after;
        }
    }
    blocks
}

fn transforms() -> Transforms {
    Transforms::standard().with_translator(Arc::new(Pseudo))
}

#[test]
fn every_file_is_read() {
    let files: Vec<_> =
        blocks().into_iter().filter(|block| block.language == "toml" && block.text.contains("[[routes]]")).collect();
    assert!(files.len() >= 4, "{} files", files.len());
    for Block { text, place, .. } in files {
        if let Err(errors) = file::read(text, &transforms()) {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            panic!("{place}: {errors:#?}");
        }
    }
}

/// An example is a list of transforms in TOML and behind it lines with a text and what becomes of it.
#[tokio::test]
async fn every_example_comes_out_as_it_is_shown() {
    let mut examples = 0;
    let blocks = blocks();
    for pair in blocks.windows(2) {
        let [transforms, results] = pair else { continue };
        let Some(list) = transforms.text.strip_prefix("transforms = ").filter(|_| transforms.language == "toml")
        else {
            continue;
        };
        let place = &transforms.place;
        let stages = faulty_of(&self::transforms(), list).unwrap_or_else(|faults| panic!("{place}: {faults:#?}"));
        if results.language != "text" {
            continue;
        }
        for line in results.text.lines() {
            let mut strings = serde_json::Deserializer::from_str(line).into_iter::<String>();
            let text = strings.next().unwrap().unwrap_or_else(|error| panic!("{place}: {error}: {line}"));
            let expected = line[strings.byte_offset()..].trim();
            let became = match through(&stages, &text).await {
                Ok(Transformed::Message(message)) => {
                    format!("becomes {}", serde_json::to_string(&message.text).unwrap())
                }
                Ok(Transformed::Dropped(reason)) => format!("is dropped: {reason}"),
                Err(error) => format!("fails: {error}"),
            };
            assert_eq!(became, expected, "{place}: {line}");
            examples += 1;
        }
    }
    assert!(examples >= 20, "{examples} examples");
}
