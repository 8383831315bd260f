//! Spans by OpenTelemetry, sent to a collector by OTLP over HTTP.
//!
//! The SDK's own batches are not used: they are sent by a thread and a clock of its own, and in Lambda both stand still
//! between two invocations. Here spans are kept until somebody asks for them to be sent: in Lambda each
//! invocation before its answer, elsewhere a task now and then.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use momento_webhook::Event;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, TraceFlags, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider, Span as SdkSpan, SpanData,
    SpanExporter as _, SpanProcessor,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::{Entrance, system};
use crate::config::TracesConfig;
use crate::destination::{Target, Topic};
use crate::reason::Reason;
use crate::trace::{SpanId, TraceContext, TraceId};
use crate::{answer, fan_out};

/// How long a request is held back for its spans, and the end of the process for the last.
const FLUSH: Duration = Duration::from_millis(500);
/// How long they may take in the background.
const EXPORT: Duration = Duration::from_secs(10);
/// How often they are sent in the background.
const PERIOD: Duration = Duration::from_secs(5);
/// How long a collector that did not take any is left alone, so that one that hangs does not hold back every request.
const REST: Duration = Duration::from_secs(5);
/// How often it is logged that spans are lost.
const SILENCE: Duration = Duration::from_secs(60);
/// The most spans that are kept.
const MOST: usize = 2_048;
/// How many are enough to be sent before it is time.
const MANY: usize = 512;

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SpansError {
    /// The client of HTTP cannot be built.
    #[error("no client for the collector can be built")]
    Client(#[from] reqwest::Error),
    /// The exporter refuses its settings.
    #[error("the settings OTEL_EXPORTER_OTLP_... cannot be used")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Records spans and sends them; or not, where no collector is named.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<Recorder>>);

/// A part of what becomes of an event.
#[derive(Debug, Default)]
pub struct Span(Option<Active>);

struct Active {
    tracer: SdkTracer,
    span: SdkSpan,
}

struct Recorder {
    tracer: SdkTracer,
    ended: Arc<Ended>,
    exporter: SpanExporter,
    state: tokio::sync::Mutex<State>,
}

/// How it has gone with the collector.
#[derive(Debug, Default)]
struct State {
    rests_until: Option<Instant>,
    lost: usize,
    told: Option<Instant>,
}

/// Spans that have ended and are to be sent.
#[derive(Debug, Default)]
struct Ended {
    spans: Mutex<(Vec<SpanData>, usize)>,
    many: Notify,
}

impl Spans {
    /// As `config` says.
    ///
    /// # Errors
    /// When the exporter cannot be built.
    pub fn start(config: &TracesConfig) -> Result<Self, SpansError> {
        let Some(endpoint) = &config.endpoint else { return Ok(Self::default()) };
        let client =
            reqwest::Client::builder().timeout(EXPORT).redirect(reqwest::redirect::Policy::none()).build()?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint.as_str())
            .with_http_client(Client(client))
            // Its own pauses would block the thread.
            .with_retry_policy(RetryPolicy::default().with_max_retries(0))
            .build()?;
        let resource = resource(config);
        exporter.set_resource(&resource);
        let ended = Arc::new(Ended::default());
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_id_generator(Ids::default())
            .with_span_processor(Processor(Arc::clone(&ended)))
            .build();
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        // The tracer keeps its provider.
        let tracer = provider.tracer_with_scope(scope);
        Ok(Self(Some(Arc::new(Recorder { tracer, ended, exporter, state: tokio::sync::Mutex::default() }))))
    }

    /// Sends spans now and then, for as long as the runtime lives.
    pub fn send_in_background(&self) {
        let Some(recorder) = self.0.clone() else { return };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sleep(PERIOD) => {}
                    () = recorder.ended.many.notified() => {}
                }
                recorder.export(EXPORT).await;
            }
        });
    }

    /// A request about an event.
    #[must_use]
    pub fn request(
        &self,
        trace: Option<&TraceContext>,
        entrance: Entrance<'_>,
        event: &Event,
        started: Instant,
    ) -> Span {
        let Some(recorder) = &self.0 else { return Span::default() };
        let mut attributes = vec![
            KeyValue::new("momento.cache", event.cache.clone()),
            KeyValue::new("momento.topic", event.topic.clone()),
            KeyValue::new("momento.topic_sequence_number", integer(event.topic_sequence_number)),
        ];
        let kind = match entrance {
            Entrance::Http => {
                attributes.push(KeyValue::new("http.request.method", "POST"));
                SpanKind::Server
            }
            Entrance::Queue(queue) => {
                attributes.push(KeyValue::new("messaging.system", "aws_sqs"));
                attributes.push(KeyValue::new("messaging.operation.name", "process"));
                attributes.push(KeyValue::new("messaging.operation.type", "process"));
                attributes.push(KeyValue::new("messaging.destination.name", queue.to_owned()));
                SpanKind::Consumer
            }
        };
        let now = SystemTime::now();
        let builder = recorder
            .tracer
            .span_builder("webhook")
            .with_kind(kind)
            .with_attributes(attributes)
            .with_start_time(now.checked_sub(started.elapsed()).unwrap_or(now));
        let parent = trace.and_then(parent_in);
        // A trace that has a number and no span yet begins with this one.
        let number = trace.filter(|_| parent.is_none()).map(TraceContext::trace);
        let context =
            parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        NEXT.set(number);
        let span = recorder.tracer.build_with_context(builder, &context);
        NEXT.set(None);
        Span(Some(Active { tracer: recorder.tracer.clone(), span }))
    }

    /// Sends off what has been recorded, which takes half a second at most.
    pub async fn flush(&self) {
        if let Some(recorder) = &self.0 {
            recorder.export(FLUSH).await;
        }
    }
}

impl Recorder {
    /// Sends all there is. A failure is logged now and then, and is nobody else's.
    async fn export(&self, at_most: Duration) {
        let sending = async {
            let mut state = self.state.lock().await;
            if state.rests_until.is_some_and(|until| Instant::now() < until) {
                return;
            }
            let (spans, lost) = self.ended.take();
            state.lost += lost;
            if spans.is_empty() {
                return;
            }
            let count = spans.len();
            // Until it has been taken it is not: this may be given up on at any time.
            state.lost += count;
            state.rests_until = Some(Instant::now() + REST);
            match self.exporter.export(spans).await {
                Ok(()) => {
                    state.lost -= count;
                    state.rests_until = None;
                    state.tell(&"there were too many at once");
                }
                Err(error) => state.tell(&error),
            }
        };
        if timeout(at_most, sending).await.is_err()
            && let Ok(mut state) = self.state.try_lock()
        {
            state.tell(&"the collector did not answer in time");
        }
    }
}

impl State {
    fn tell(&mut self, error: &dyn fmt::Display) {
        let is_silent = self.told.is_some_and(|told| told.elapsed() < SILENCE);
        if self.lost > 0 && !is_silent {
            tracing::warn!(spans = mem::take(&mut self.lost), %error, "spans lost");
            self.told = Some(Instant::now());
        }
    }
}

impl Ended {
    fn take(&self) -> (Vec<SpanData>, usize) {
        mem::take(&mut *self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Span {
    /// A transform.
    #[must_use]
    pub fn transform(&self, name: &str) -> Self {
        self.child(|| (format!("transform {name}"), SpanKind::Internal, Vec::new()))
    }

    /// A destination.
    #[must_use]
    pub fn publish(&self, target: &Target<'_>) -> Self {
        self.child(|| {
            let mut attributes = vec![
                KeyValue::new("messaging.system", system(target)),
                KeyValue::new("messaging.operation.name", "publish"),
                KeyValue::new("messaging.operation.type", "send"),
            ];
            let (kind, name) = match target {
                Target::Topic(Topic { cache, topic }) => {
                    attributes.push(KeyValue::new("momento.cache", cache.to_string()));
                    ("topic", topic)
                }
                Target::Outlet { kind, name } => (*kind, name),
            };
            attributes.push(KeyValue::new("messaging.destination.name", name.to_string()));
            (format!("publish {kind}"), SpanKind::Producer, attributes)
        })
    }

    fn child(&self, make: impl FnOnce() -> (String, SpanKind, Vec<KeyValue>)) -> Self {
        let Some(Active { tracer, span }) = &self.0 else { return Self::default() };
        let (name, kind, attributes) = make();
        let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        let span = tracer.build_with_context(builder, &context);
        Self(Some(Active { tracer: tracer.clone(), span }))
    }

    /// The trace and the span, where it is recorded.
    #[must_use]
    pub fn recorded(&self) -> Option<(TraceId, SpanId)> {
        let Active { span, .. } = self.0.as_ref().filter(|active| active.span.is_recording())?;
        let context = span.span_context();
        Some((TraceId::new(context.trace_id().to_bytes())?, SpanId::new(context.span_id().to_bytes())?))
    }

    /// The transform has ended.
    pub fn transformed(self, outcome: &'static str, failure: Option<Reason>) {
        self.end(failure.map(Reason::name), |span| {
            span.set_attribute(KeyValue::new("topic_fanout.outcome", outcome));
        });
    }

    /// The destination has been served, or not.
    pub fn served(self, outcome: &fan_out::Outcome) {
        use fan_out::Outcome::{Failed, Published};
        self.end(outcome.failure().map(Reason::name), |span| {
            span.set_attribute(KeyValue::new("topic_fanout.outcome", outcome.status()));
            if let Published { attempts, .. } | Failed { attempts, .. } = outcome {
                span.set_attribute(KeyValue::new("topic_fanout.attempts", i64::from(*attempts)));
            }
        });
    }

    /// The request is answered.
    pub fn answered(self, outcome: &answer::Outcome<'_>) {
        let status = outcome.status();
        self.end(status.is_server_error().then(|| outcome.name()), |span| {
            span.set_attribute(KeyValue::new("topic_fanout.outcome", outcome.name()));
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        });
    }

    fn end(self, error: Option<&'static str>, describe: impl FnOnce(&mut SdkSpan)) {
        let Some(Active { mut span, .. }) = self.0.filter(|active| active.span.is_recording()) else {
            return;
        };
        describe(&mut span);
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.span.span_context().fmt(f)
    }
}

impl fmt::Debug for Recorder {
    /// Without the exporter, whose headers may have a key in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

fn integer(number: u64) -> Value {
    Value::I64(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The span that sent the request.
fn parent_in(trace: &TraceContext) -> Option<SpanContext> {
    let (parent, sampled) = trace.parent()?;
    Some(SpanContext::new(
        opentelemetry::TraceId::from_bytes(trace.trace().bytes()),
        opentelemetry::SpanId::from_bytes(parent.bytes()),
        if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        trace.state().and_then(|state| state.parse().ok()).unwrap_or_default(),
    ))
}

/// Who sends the spans. What the environment says is more than what is known here.
fn resource(config: &TracesConfig) -> Resource {
    let known = config.attributes.iter().map(|(name, value)| KeyValue::new(*name, value.clone()));
    let resource = Resource::builder_empty()
        .with_service_name(env!("CARGO_PKG_NAME"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(known)
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match &config.service {
        Some(name) => resource.with_service_name(name.clone()),
        None => resource,
    }
    .build()
}

thread_local! {
    /// The number of the trace that is begun next: the SDK asks for one in the call that begins it.
    static NEXT: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Numbers by chance, but for traces that have one.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> opentelemetry::TraceId {
        NEXT.take()
            .map_or_else(|| self.0.new_trace_id(), |given| opentelemetry::TraceId::from_bytes(given.bytes()))
    }

    fn new_span_id(&self) -> opentelemetry::SpanId {
        self.0.new_span_id()
    }
}

/// Keeps what has ended.
#[derive(Debug)]
struct Processor(Arc<Ended>);

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut SdkSpan, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let mut ended = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let (spans, lost) = &mut *ended;
        if spans.len() < MOST {
            spans.push(span);
        } else {
            *lost += 1;
        }
        if spans.len() == MANY {
            self.0.many.notify_one();
        }
    }

    /// What is kept is sent by those who can wait for it.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The client of HTTP that the SDK of Momento brings.
#[derive(Debug)]
struct Client(reqwest::Client);

type Sending<'s> = Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 's>>;

impl HttpClient for Client {
    fn send_bytes<'c, 's>(&'c self, request: http::Request<Bytes>) -> Sending<'s>
    where
        'c: 's,
        Self: 's,
    {
        Box::pin(async move {
            let answer = self.0.execute(request.try_into()?).await?;
            let mut response = http::Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            *response.body_mut() = answer.bytes().await?;
            Ok(response)
        })
    }
}
