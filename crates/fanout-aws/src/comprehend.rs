//! Amazon Comprehend.

use std::sync::Arc;

use aws_sdk_comprehend::config::Config;
use aws_sdk_comprehend::types::{LanguageCode, TextSegment, ToxicLabels};
use futures_util::future::BoxFuture;

use crate::client::Aws;
use crate::failure::{no_result, of_sdk};
use crate::in_time::{InTime, in_time};
use fanout_core::reason::{Failure, Reason};
use fanout_core::transform::classifier::{ClassificationRequest, Classifier, Label};

/// The name of the score of a whole segment, beside those of the labels.
const TOXICITY: &str = "toxicity";

/// Classifies texts with `DetectToxicContent` of Amazon Comprehend, which knows English only.
///
/// The SDK retries transient failures. This type sets the number of attempts, the backoff, and the deadline.
#[derive(Clone, Debug)]
pub struct ComprehendClassifier {
    aws: Arc<Aws>,
}

impl ComprehendClassifier {
    /// Returns a classifier with the settings of `aws`. It does nothing before the first text.
    #[must_use]
    pub const fn new(aws: Arc<Aws>) -> Self {
        Self { aws }
    }

    async fn call(&self, request: ClassificationRequest<'_>) -> Result<Vec<Vec<Label>>, Failure> {
        let segments = request.segments.iter().map(|text| TextSegment::builder().text(*text).build());
        let segments = segments.collect::<Result<Vec<_>, _>>();
        let segments = segments.map_err(|error| {
            Failure::new(Reason::Internal, "a segment has no text").because(error.to_string())
        })?;
        let tries = InTime::new(request.deadline);
        let call = self
            .aws
            .comprehend()
            .await?
            .detect_toxic_content()
            .set_text_segments(Some(segments))
            .language_code(LanguageCode::En)
            .customize()
            .interceptor(tries.clone())
            .config_override(Config::builder().retry_classifier(tries));
        let results = call.send().await.map_err(of_sdk)?.result_list.unwrap_or_default();
        if results.len() != request.segments.len() {
            return Err(no_result());
        }
        results.iter().map(labels).collect()
    }
}

impl Classifier for ComprehendClassifier {
    fn classify<'c>(
        &'c self,
        request: ClassificationRequest<'c>,
    ) -> BoxFuture<'c, Result<Vec<Vec<Label>>, Failure>> {
        in_time(request.deadline, self.call(request))
    }
}

/// Returns the labels of one segment.
///
/// # Errors
/// If the response lacks the score of the segment, or a label its name or score.
fn labels(result: &ToxicLabels) -> Result<Vec<Label>, Failure> {
    let whole = Label { name: TOXICITY.to_owned(), score: result.toxicity.ok_or_else(no_result)? };
    let labels = result.labels().iter().map(|label| {
        let name = label.name.as_ref().ok_or_else(no_result)?;
        Ok(Label { name: name.as_str().to_ascii_lowercase(), score: label.score.ok_or_else(no_result)? })
    });
    labels.chain([Ok(whole)]).collect()
}
