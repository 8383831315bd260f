//! Metrics in the [text format](https://prometheus.io/docs/instrumenting/exposition_formats/) of Prometheus, for the function and
//! the relay.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4";

/// The upper bounds of the buckets of a histogram, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];

/// Writes the lines before the values of a metric: its help, and its kind, such as `counter`.
pub fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A value of a label, escaped.
#[derive(Clone, Copy, Debug)]
pub struct Label<'l>(pub &'l str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

/// Counts durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some((_, bucket)) = BUCKETS.iter().zip(&self.buckets).find(|(bound, _)| seconds <= **bound) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Writes the lines of all buckets, of the sum and of the count. `label` is a name and a value, if there is one.
    pub fn write(&self, out: &mut String, name: &str, label: Option<(&str, Label<'_>)>) {
        let label = label.map(|(name, value)| format!("{name}=\"{value}\""));
        let (first, alone) = match &label {
            None => (String::new(), String::new()),
            Some(label) => (format!("{label},"), format!("{{{label}}}")),
        };
        let mut sum = 0;
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            sum += bucket.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{first}le=\"{bound}\"}} {sum}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let seconds = Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(out, "{name}_bucket{{{first}le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{alone} {seconds}\n{name}_count{alone} {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_counts_each_duration_once_and_adds_up() {
        let histogram = Histogram::default();
        for millis in [1, 3, 3_600_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut out = String::new();
        histogram.write(&mut out, "x", Some(("subscription", Label("a\"b"))));
        for line in [
            "x_bucket{subscription=\"a\\\"b\",le=\"0.001\"} 1\n",
            "x_bucket{subscription=\"a\\\"b\",le=\"0.002\"} 1\n",
            "x_bucket{subscription=\"a\\\"b\",le=\"60\"} 2\n",
            "x_bucket{subscription=\"a\\\"b\",le=\"+Inf\"} 3\n",
            "x_sum{subscription=\"a\\\"b\"} 3600.004\n",
            "x_count{subscription=\"a\\\"b\"} 3\n",
        ] {
            assert!(out.contains(line), "{line} in {out}");
        }
        out.clear();
        histogram.write(&mut out, "x", None);
        assert!(
            out.contains("x_bucket{le=\"60\"} 2\n") && out.ends_with("x_sum 3600.004\nx_count 3\n"),
            "{out}"
        );
    }
}
