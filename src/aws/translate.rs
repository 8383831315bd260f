//! Amazon Translate.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_translate::config::Config;
use aws_sdk_translate::config::interceptors::InterceptorContext;
use aws_sdk_translate::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_translate::types::{Formality as AmazonFormality, Profanity, TranslationSettings};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::{Aws, FIRST_PAUSE, LONGEST_PAUSE};
use crate::reason::Reason;
use crate::transform::TransformError;
use crate::transform::translate::{Formality, Request, Translation, Translator};

/// A try that could not take at least this long is not begun: nobody would learn what came of it.
const LEAST_ATTEMPT: Duration = Duration::from_millis(100);

/// How Amazon Translate is told to find out the language by itself.
const DETECTED: &str = "auto";

/// Translates with Amazon Translate.
///
/// Failures that may pass are tried again by the SDK itself, which knows best which those are; it is only
/// told how often, with what pauses, and not beyond the caller's deadline.
#[derive(Clone, Debug)]
pub struct AmazonTranslator {
    aws: Arc<Aws>,
}

impl AmazonTranslator {
    /// Translates with what `aws` is set up with. Nothing happens before the first text.
    #[must_use]
    pub const fn new(aws: Arc<Aws>) -> Self {
        Self { aws }
    }

    async fn translate(&self, request: Request<'_>) -> Result<Translation, Failure> {
        if request.deadline.saturating_duration_since(Instant::now()) < LEAST_ATTEMPT {
            return Err(Failure::timed_out());
        }
        match timeout_at(request.deadline, self.call(request)).await {
            Ok(translated) => translated,
            Err(_) => Err(Failure::timed_out()),
        }
    }

    async fn call(&self, request: Request<'_>) -> Result<Translation, Failure> {
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
            .config_override(Config::builder().retry_classifier(InTime::new(request.deadline)));
        let translated = call.send().await?;
        // The SDK reads an answer that lacks a field as one where it is empty.
        if translated.translated_text.is_empty() || translated.source_language_code.is_empty() {
            return Err(Failure::new(Reason::Internal, "the service's answer has no text"));
        }
        Ok(Translation { text: translated.translated_text, source: translated.source_language_code })
    }
}

impl Translator for AmazonTranslator {
    fn translate<'t>(&'t self, request: Request<'t>) -> BoxFuture<'t, Result<Translation, TransformError>> {
        Box::pin(async move { Ok(self.translate(request).await?) })
    }
}

impl From<Failure> for TransformError {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.reason, detail: Cow::Borrowed(failure.detail), source: failure.source }
    }
}

/// None where all is left as Amazon does it: settings are not for every language.
fn settings(request: &Request<'_>) -> Option<TranslationSettings> {
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

/// Has a say in whether a failed try is followed by another: not by one that could not end in time.
///
/// So the caller hears of what really happened, a rate limit for example, and not of a deadline.
#[derive(Debug)]
struct InTime {
    deadline: Instant,
    failed: AtomicU32,
}

impl InTime {
    const fn new(deadline: Instant) -> Self {
        Self { deadline, failed: AtomicU32::new(0) }
    }
}

impl ClassifyRetry for InTime {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        if !attempt.is_failed() {
            return RetryAction::NoActionIndicated;
        }
        let failed = self.failed.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << failed).min(LONGEST_PAUSE);
        if Instant::now() + pause + LEAST_ATTEMPT > self.deadline {
            return RetryAction::RetryForbidden;
        }
        match attempt.response().map(|response| response.status().as_u16()) {
            // Two that the SDK leaves alone: a rate limit without a code, and an answer that is none.
            Some(429) => RetryAction::throttling_error(),
            Some(200..=299) => RetryAction::server_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "in time"
    }
}
