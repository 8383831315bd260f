//! What becomes of an event, as spans of a trace: one for the request, and below it one for each transform and one
//! for each destination.
//!
//! They are recorded by OpenTelemetry in builds with the cargo feature `otel`, and there only where the settings
//! name a collector. In other builds a [`Span`] has no size and does nothing. Spans are handed on as values:
//! whose child one is does not depend on which task or thread it was begun in, and there is none among the log's.
//!
//! No span has a text, a signature or a secret in it.

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod otel;

#[cfg(not(feature = "otel"))]
pub use off::{Span, Spans};
#[cfg(feature = "otel")]
pub use otel::{Span, Spans, SpansError};

use crate::destination::Target;
use crate::trace::{TraceContext, TraceId};

/// Where a request stands: in whose trace, and in which span of ours.
#[derive(Debug, Default)]
pub struct Trail {
    trace: Option<TraceContext>,
    /// The span.
    pub span: Span,
}

impl Trail {
    /// Of a request that came with `trace`, in `span`.
    #[must_use]
    pub const fn new(trace: Option<TraceContext>, span: Span) -> Self {
        Self { trace, span }
    }

    /// Which trace it is; none where nobody has begun one.
    #[must_use]
    pub fn trace(&self) -> Option<TraceId> {
        let ours = || self.span.recorded().map(|(trace, _)| trace);
        self.trace.as_ref().map(TraceContext::trace).or_else(ours)
    }

    /// The header of X-Ray for what is sent from here: its parent is the span where there is one, else who sent the
    /// request.
    #[must_use]
    pub fn xray(&self, span: &Span) -> Option<String> {
        let context = match (span.recorded(), &self.trace) {
            (Some((_, span)), Some(trace)) => trace.clone().behind(span, true),
            (Some((trace, span)), None) => TraceContext::begun_with(trace).behind(span, true),
            (None, Some(trace)) => return Some(trace.to_xray()),
            (None, None) => return None,
        };
        Some(context.to_xray())
    }
}

/// How a request has come.
#[derive(Clone, Copy, Debug)]
pub enum Entrance<'e> {
    /// Over HTTP.
    Http,
    /// From the queue of this name.
    Queue(&'e str),
}

/// What a trace calls the service behind a destination.
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only spans say it"))]
fn system(target: &Target<'_>) -> String {
    match target {
        Target::Topic(_) => "momento".to_owned(),
        Target::Outlet { kind, .. } => format!("aws_{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "otel"))]
    #[test]
    fn without_the_feature_a_span_is_nothing() {
        assert_eq!((size_of::<Span>(), size_of::<Spans>()), (0, 0));
    }

    #[test]
    fn what_is_not_recorded_is_passed_on_as_it_came() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let trail = Trail::new(TraceContext::from_xray(header), Span::default());
        assert_eq!(trail.xray(&Span::default()).as_deref(), Some(header));
        assert_eq!(trail.trace().unwrap().to_string(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!(Trail::default().xray(&Span::default()), None);
    }
}
