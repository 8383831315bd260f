//! Functions that receive webhooks.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use momento_local::MomentoLocal;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use topic_fanout::config::Config;
use topic_fanout::request_log::RequestLog;

use crate::harness::SECRET;

/// A function that sends given responses, and records the requests.
pub(crate) struct Stub {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Received>>>,
    _tasks: JoinSet<()>,
}

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{name} in {self:?}")).to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Stub {
    /// Starts a function that responds with `respond`, called with the number of the request, from 1 on, and the request.
    pub(crate) async fn start(
        respond: impl Fn(usize, &Received) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), respond)
    }

    /// Does the same with this listener.
    pub(crate) fn serve(
        listener: TcpListener,
        respond: impl Fn(usize, &Received) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let respond = Arc::new(respond);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (respond, seen) = (Arc::clone(&respond), Arc::clone(&seen));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (respond, seen) = (Arc::clone(&respond), Arc::clone(&seen));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let path = parts.uri.path().to_owned();
                        let received = Received { path, headers: parts.headers, body };
                        let number = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(received.clone());
                            seen.len()
                        };
                        Ok::<_, Infallible>(
                            respond(number, &received).map(|body| Full::new(Bytes::from(body))),
                        )
                    }
                });
                connections.spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, requests, _tasks: tasks }
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) fn response(status: u16, body: &str) -> Response<String> {
    Response::builder().status(status).body(body.to_owned()).unwrap()
}

/// The real function, on a free port and connected to this Momento.
pub(crate) struct RealFunction {
    pub(crate) url: String,
    _tasks: JoinSet<()>,
}

impl RealFunction {
    pub(crate) async fn start(momento: &MomentoLocal, outbound: &str, transform: &str) -> Self {
        let endpoint = momento.endpoint();
        let source = |name: &str| match name {
            "MOMENTO_API_KEY" => Some("any".to_owned()),
            "MOMENTO_ENDPOINT" => Some(endpoint.clone()),
            "WEBHOOK_SIGNING_SECRET" => Some(SECRET.to_owned()),
            "OUTBOUND_TOPICS" => Some(outbound.to_owned()),
            "TRANSFORM" => Some(transform.to_owned()),
            _ => None,
        };
        let transforms = fanout_core::transform::Transforms::standard();
        let config = Config::read(&source, &transforms).unwrap();
        let listen = config.listen;
        let cloud = fanout_aws::Cloud::default();
        let complete = topic_fanout::cloud::complete(&cloud, config, &transforms, &RequestLog::Off);
        let complete = Box::pin(complete).await.unwrap();
        let webhook = Arc::new(topic_fanout::run::build(complete, &cloud, RequestLog::Off).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(topic_fanout::serve::http::serve(listener, webhook, listen, std::future::pending()));
        Self { url, _tasks: tasks }
    }
}
