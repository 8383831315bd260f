//! Builds without OpenTelemetry: nothing is recorded, and nothing is left of it in the binary.

use momento_webhook::Event;
use tokio::time::Instant;

use super::Entrance;
use crate::destination::Target;
use crate::reason::Reason;
use crate::trace::{SpanId, TraceContext, TraceId};
use crate::{answer, fan_out};

/// Records spans; here, none.
#[derive(Clone, Debug, Default)]
pub struct Spans(());

/// A part of what becomes of an event.
#[derive(Debug, Default)]
pub struct Span(());

impl Spans {
    /// A request about an event.
    #[must_use]
    pub const fn request(&self, _: Option<&TraceContext>, _: Entrance<'_>, _: &Event, _: Instant) -> Span {
        Span(())
    }

    /// Sends off what has been recorded.
    #[expect(clippy::unused_async, reason = "with the feature `otel` it waits")]
    pub async fn flush(&self) {}
}

impl Span {
    /// A transform.
    #[must_use]
    pub const fn transform(&self, _: &str) -> Self {
        Self(())
    }

    /// A destination.
    #[must_use]
    pub const fn publish(&self, _: &Target<'_>) -> Self {
        Self(())
    }

    /// The trace and the span, where it is recorded.
    #[must_use]
    pub const fn recorded(&self) -> Option<(TraceId, SpanId)> {
        None
    }

    /// The transform has ended.
    pub const fn transformed(self, _: &str, _: Option<Reason>) {}

    /// The destination has been served, or not.
    pub const fn served(self, _: &fan_out::Outcome) {}

    /// The request is answered.
    pub const fn answered(self, _: &answer::Outcome<'_>) {}
}
