//! The queue for dead letters.

use super::{Read, Settings};

/// `DEAD_LETTER_QUEUE_URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLettersConfig {
    /// The URL of the queue; `None` without one.
    pub queue: Option<String>,
}

const QUEUE: &str = "DEAD_LETTER_QUEUE_URL";

impl DeadLettersConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let Some(url) = settings.line(QUEUE)? else { return Ok(Self { queue: None }) };
        let url = url.trim();
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        // A host, usually an account, and a name at the end, by which messages of the queue are recognized.
        let mut parts = rest.split('/');
        let is_url =
            parts.clone().count() >= 2 && parts.all(|part| !part.is_empty() && !part.contains(['?', '#']));
        if !is_url {
            return settings.fault(
                QUEUE,
                "is not the URL of a queue: https://sqs.<region>.amazonaws.com/<account>/<name>",
            );
        }
        if !cfg!(feature = "sqs") {
            return settings.fault(QUEUE, "needs a build with the cargo feature `sqs`");
        }
        Ok(Self { queue: Some(url.to_owned()) })
    }
}

#[cfg(all(test, feature = "sqs"))]
mod tests {
    use crate::config::tests::faults;

    #[test]
    fn a_queue_is_given_by_its_url() {
        let right = [
            "",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
            "http://localhost:4566/000000000000/dead",
        ];
        for right in right {
            assert_eq!(faults(&[("DEAD_LETTER_QUEUE_URL", right)]), []);
        }
        for wrong in [
            "dead",
            "arn:aws:sqs:eu-west-1:123456789012:dead",
            "https://",
            "https://host/",
            "ftp://a/b/c",
            "https://host/1/dead/",
            "https://host/1/dead?x",
            "https://host//dead",
            "https://host/1/dead#x",
        ] {
            let faults = faults(&[("DEAD_LETTER_QUEUE_URL", wrong)]);
            assert!(matches!(&faults[..], [(_, fault)] if fault.starts_with("is not the URL")), "{wrong}");
        }
    }
}
