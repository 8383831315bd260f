//! CloudWatch's
//! [embedded metric format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html):
//! a log line whose member `_aws` says which of its other members are metrics.

use momento_webhook::Millis;
use serde::Serialize;
use serde_json::value::RawValue;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::response::IS_JSON;

/// The member `_aws`.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(non_snake_case, reason = "the names that the format gives")]
pub struct Metadata<'d> {
    /// The time of the metrics.
    pub Timestamp: Millis,
    /// The result of [`written`].
    pub CloudWatchMetrics: &'d RawValue,
}

/// Metrics with the same dimensions.
#[derive(Clone, Debug, Serialize)]
#[expect(non_snake_case, reason = "the names that the format gives")]
pub struct Directive {
    /// The namespace of the metrics.
    pub Namespace: &'static str,
    /// The sets of dimensions, each by the names of the members that have their values.
    pub Dimensions: &'static [&'static [&'static str]],
    /// The metrics.
    pub Metrics: Vec<Metric>,
}

/// A metric.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(non_snake_case, reason = "the names that the format gives")]
pub struct Metric {
    /// The name of the member that has its value.
    pub Name: &'static str,
    /// Its unit, such as `Count`.
    pub Unit: &'static str,
}

impl Metric {
    /// Returns a metric with this name and unit.
    #[must_use]
    pub const fn new(name: &'static str, unit: &'static str) -> Self {
        Self { Name: name, Unit: unit }
    }
}

/// Returns directives as JSON, which can be made once for many lines.
#[must_use]
pub fn written(directives: &[Directive]) -> Box<RawValue> {
    serde_json::value::to_raw_value(directives).expect(IS_JSON)
}

/// Returns the current time in the form of the other log lines.
#[must_use]
pub fn timestamp() -> String {
    let mut timestamp = String::new();
    SystemTime.format_time(&mut Writer::new(&mut timestamp)).expect("a string takes all that is written");
    timestamp
}
