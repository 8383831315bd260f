//! Whether a file fits into a parameter of AWS Systems Manager, in which the function can read it.

use serde_json::{Value, json};

/// The maximum size of a parameter of each tier, in bytes. The documentation says KB; counting bytes is never too few.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html>
const TIERS: [(&str, usize); 2] = [("standard", 4 * 1024), ("advanced", 8 * 1024)];

/// The text that a parameter cannot have. The service refuses it, because it refers to another parameter.
const REFERENCE: &str = "{{";

/// Returns the smallest tier that takes `text`.
fn tier(text: &str) -> Option<&'static str> {
    TIERS.into_iter().find_map(|(tier, most)| (text.len() <= most).then_some(tier))
}

/// Returns the lines, from 1, that a parameter cannot have.
fn refused(text: &str) -> Vec<usize> {
    let lines = text.lines().zip(1..);
    lines.filter_map(|(line, number)| line.contains(REFERENCE).then_some(number)).collect()
}

/// Returns notes about a text that does not fit into a standard parameter.
pub(super) fn notes(text: &str) -> Vec<String> {
    let bytes = text.len();
    let size = match tier(text) {
        Some("standard") => None,
        Some(tier) => Some(format!(
            "the file has {bytes} bytes: a parameter of Systems Manager needs the {tier} tier for it (--tier Advanced)"
        )),
        None => Some(format!(
            "the file has {bytes} bytes, which do not fit into a parameter of Systems Manager: put it into S3, and set \
             FANOUT_CONFIG=s3://bucket/key"
        )),
    };
    let refused = refused(text).into_iter().map(|line| {
        format!(
            "line {line}: Systems Manager refuses a parameter with `{REFERENCE}`: write it in another way, or put the file \
             into S3"
        )
    });
    size.into_iter().chain(refused).collect()
}

/// Returns the same for programs.
pub(super) fn as_json(text: &str) -> Value {
    json!({"bytes": text.len(), "tier": tier(text), "refused_lines": refused(text)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_tiers_by_size() {
        for (bytes, tier, said) in [
            (0, Some("standard"), None),
            (4_096, Some("standard"), None),
            (
                4_097,
                Some("advanced"),
                Some("4097 bytes: a parameter of Systems Manager needs the advanced tier"),
            ),
            (8_192, Some("advanced"), Some("8192 bytes")),
            (8_193, None, Some("8193 bytes, which do not fit")),
        ] {
            let text = "#".repeat(bytes);
            assert_eq!(as_json(&text), json!({"bytes": bytes, "tier": tier, "refused_lines": []}));
            let notes = notes(&text);
            assert_eq!(notes.len(), usize::from(said.is_some()), "{notes:?}");
            assert!(notes.iter().all(|note| note.contains(said.unwrap_or_default())), "{notes:?}");
        }
    }

    #[test]
    fn tells_lines_that_service_refuses() {
        let text = "# {{ssm:x}} {{\n[[routes]]\nx = [{ a = { b = 1 }}]\n# {{";
        assert_eq!(as_json(text)["refused_lines"], json!([1, 4]));
        let notes = notes(text);
        assert!(notes[0].starts_with("line 1: Systems Manager refuses a parameter with `{{`: "), "{notes:?}");
    }
}
