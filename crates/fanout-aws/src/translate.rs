//! Amazon Translate.

use std::sync::Arc;

use aws_sdk_translate::config::Config;
use aws_sdk_translate::types::{Formality as AmazonFormality, Profanity, TranslationSettings};
use futures_util::future::BoxFuture;

use crate::client::Aws;
use crate::failure::of_sdk;
use crate::in_time::{InTime, in_time};
use fanout_core::reason::{Failure, Reason};
use fanout_core::transform::translate::{Formality, Translation, TranslationRequest, Translator};

/// The language code that makes Amazon Translate detect the language.
const DETECTED: &str = "auto";

/// Translates with Amazon Translate.
///
/// The SDK retries transient failures. This type sets the number of attempts, the backoff, and the deadline.
#[derive(Clone, Debug)]
pub struct AmazonTranslator {
    aws: Arc<Aws>,
}

impl AmazonTranslator {
    /// Returns a translator with the settings of `aws`. It does nothing before the first text.
    #[must_use]
    pub const fn new(aws: Arc<Aws>) -> Self {
        Self { aws }
    }

    async fn call(&self, request: TranslationRequest<'_>) -> Result<Translation, Failure> {
        let tries = InTime::new(request.deadline);
        let call = self
            .aws
            .translate()
            .await?
            .translate_text()
            .text(request.text)
            .source_language_code(request.source.unwrap_or(DETECTED))
            .target_language_code(request.target)
            .set_settings(settings(&request))
            .set_terminology_names(
                (!request.terminologies.is_empty()).then(|| request.terminologies.to_vec()),
            )
            .customize()
            .interceptor(tries.clone())
            .config_override(Config::builder().retry_classifier(tries));
        let translated = call.send().await.map_err(of_sdk)?;
        // The SDK reads a response without a field as one where the field is empty.
        if translated.translated_text.is_empty() || translated.source_language_code.is_empty() {
            return Err(Failure::new(Reason::Internal, "the response of the service lacks the text"));
        }
        Ok(Translation { text: translated.translated_text, source: translated.source_language_code })
    }
}

impl Translator for AmazonTranslator {
    fn translate<'t>(
        &'t self,
        request: TranslationRequest<'t>,
    ) -> BoxFuture<'t, Result<Translation, Failure>> {
        in_time(request.deadline, self.call(request))
    }
}

/// Returns the settings, or `None` if all have their defaults: Amazon Translate does not support settings for every language.
fn settings(request: &TranslationRequest<'_>) -> Option<TranslationSettings> {
    if request.formality.is_none() && !request.mask_profanity {
        return None;
    }
    let formality = request.formality.map(|formality| match formality {
        Formality::Formal => AmazonFormality::Formal,
        Formality::Informal => AmazonFormality::Informal,
    });
    let profanity = request.mask_profanity.then_some(Profanity::Mask);
    Some(TranslationSettings::builder().set_formality(formality).set_profanity(profanity).build())
}
