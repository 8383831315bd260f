//! The metrics of log records, counted for Prometheus, and the port that has them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::{pending, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use local_guard::{Guard, json_response};
use serde_json::json;
use tokio::net::TcpListener;

use fanout_core::prometheus::{Histogram, Label, MEDIA_TYPE, head};

/// The names of counts, each with its description. A log record has the same names in the form of CloudWatch.
const COUNTS: [(&str, &str); 8] = [
    ("received", "Requests."),
    ("published", "Destinations that accepted an event."),
    ("failed", "Destinations that did not accept an event."),
    ("dead_lettered", "Events that are kept as dead letters."),
    ("undelivered", "Verified events that some destination did not accept and that are not kept."),
    ("ignored", "Events that no route matches."),
    ("dedupe_failed", "Events that were handled although the cache of DEDUPE=cache failed."),
    ("routes_not_updated", "Checks of the routes that failed."),
];

/// The counts of a process since its start.
#[derive(Debug, Default)]
pub struct Metrics {
    counts: [AtomicU64; COUNTS.len()],
    /// Rejected requests, by their reason.
    refused: Mutex<BTreeMap<&'static str, u64>>,
    latency: Histogram,
    event_age: Histogram,
}

/// The numbers of one log record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) received: u64,
    pub(crate) published: u64,
    pub(crate) failed: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) undelivered: u64,
    pub(crate) ignored: u64,
    pub(crate) dedupe_failed: u64,
    pub(crate) routes_not_updated: u64,
    pub(crate) refused: Option<&'static str>,
    pub(crate) latency: Option<Duration>,
    pub(crate) event_age: Option<Duration>,
}

impl Metrics {
    /// Adds the numbers of one log record.
    pub(crate) fn add(&self, counted: &Counted) {
        // In the order of `COUNTS`.
        let added = [
            counted.received,
            counted.published,
            counted.failed,
            counted.dead_lettered,
            counted.undelivered,
            counted.ignored,
            counted.dedupe_failed,
            counted.routes_not_updated,
        ];
        for (count, added) in self.counts.iter().zip(added) {
            count.fetch_add(added, Ordering::Relaxed);
        }
        if let Some(reason) = counted.refused {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
        }
        counted.latency.iter().for_each(|latency| self.latency.record(*latency));
        counted.event_age.iter().for_each(|age| self.event_age.record(*age));
    }

    /// Returns all metrics in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for ((name, help), count) in COUNTS.iter().zip(&self.counts) {
            let name = format!("fanout_function_{name}_total");
            head(&mut out, &name, "counter", help);
            let _ = writeln!(out, "{name} {}", count.load(Ordering::Relaxed));
        }
        let name = "fanout_function_refused_total";
        head(&mut out, name, "counter", "Rejected requests, by their reason.");
        for (reason, count) in &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "{name}{{reason=\"{}\"}} {count}", Label(reason));
        }
        for (name, help, histogram) in [
            ("latency", "The time of a request.", &self.latency),
            ("event_age", "The time since a message was published to its topic.", &self.event_age),
        ] {
            let name = format!("fanout_function_{name}_seconds");
            head(&mut out, &name, "histogram", help);
            histogram.write(&mut out, &name, None);
        }
        out
    }
}

/// Serves `GET /metrics` until the future is dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    // Prometheus reaches a container by any name. There is nothing to change, and a page of another origin is rejected.
    let guard = Guard::any_host();
    let respond = move |request: Request<Bytes>| ready(respond(&metrics, &request));
    local_guard::serve(listener, guard, "the port for metrics", pending(), respond).await;
}

fn respond(metrics: &Metrics, request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let (status, error) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let mut response = Response::new(Full::from(metrics.text()));
            let kind = header::HeaderValue::from_static(MEDIA_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            return response;
        }
        (method, "/metrics") => {
            (StatusCode::METHOD_NOT_ALLOWED, format!("/metrics does not support {method}"))
        }
        (_, path) => (StatusCode::NOT_FOUND, format!("unknown path {path}; expected /metrics")),
    };
    json_response(status, &json!({ "error": error }))
}
