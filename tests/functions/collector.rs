//! A collector of spans, as OTLP over HTTP has it, with as much of protobuf as it takes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub(crate) struct Collector {
    endpoint: String,
    received: Arc<Mutex<Vec<(Bytes, String)>>>,
}

/// A span, as <https://github.com/open-telemetry/opentelemetry-proto> writes it.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) status: u64,
    attributes: HashMap<String, String>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let receiving = Arc::clone(&received);
        // It ends with the runtime of the test.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let received = Arc::clone(&receiving);
                let service = service_fn(move |request| receive(Arc::clone(&received), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { endpoint, received }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Whole requests.
    pub(crate) fn received(&self) -> Vec<Bytes> {
        self.received.lock().unwrap().iter().map(|(body, _)| body.clone()).collect()
    }

    /// The header `x-api-key` of each.
    pub(crate) fn headers(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|(_, key)| key.clone()).collect()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let received = self.received();
        let resources = received.iter().flat_map(|body| parts(body, 1));
        resources.flat_map(|of| parts(of, 2)).flat_map(|scope| parts(scope, 2)).map(span).collect()
    }

    /// An attribute of who has sent the spans.
    pub(crate) fn resource(&self, name: &str) -> String {
        let received = self.received();
        let resource = parts(parts(&received[0], 1)[0], 1)[0];
        attributes(resource, 1).remove(name).unwrap_or_default()
    }
}

impl Span {
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

async fn receive(
    received: Arc<Mutex<Vec<(Bytes, String)>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/v1/traces"));
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let key = request.headers().get("x-api-key").map(|key| key.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    received.lock().unwrap().push((body, key.unwrap_or_default()));
    Ok(Response::new(Full::default()))
}

fn span(span: &[u8]) -> Span {
    let text = |number| String::from_utf8(parts(span, number).concat()).unwrap();
    let id = |number| hex::encode(parts(span, number).concat());
    Span {
        trace: id(1),
        id: id(2),
        state: text(3),
        parent: id(4),
        name: text(5),
        kind: number(span, 6),
        attributes: attributes(span, 9),
        status: parts(span, 15).first().map_or(0, |status| number(status, 3)),
    }
}

fn attributes(of: &[u8], field: u64) -> HashMap<String, String> {
    let attribute = |pair: &[u8]| {
        let value = parts(pair, 2)[0];
        let text = parts(value, 1).first().map(|text| String::from_utf8(text.to_vec()).unwrap());
        let text = text.unwrap_or_else(|| number(value, 3).to_string());
        (String::from_utf8(parts(pair, 1)[0].to_vec()).unwrap(), text)
    };
    parts(of, field).into_iter().map(attribute).collect()
}

enum Field<'m> {
    Number(u64),
    Bytes(&'m [u8]),
    Fixed,
}

/// The fields of a message.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                Field::Bytes(message.split_off(..length).unwrap())
            }
            wire @ (1 | 5) => {
                message.split_off(..if wire == 1 { 8 } else { 4 }).unwrap();
                Field::Fixed
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn parts(message: &[u8], wanted: u64) -> Vec<&[u8]> {
    let part = |(number, field)| match field {
        Field::Bytes(bytes) if number == wanted => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(part).collect()
}

fn number(message: &[u8], wanted: u64) -> u64 {
    let value = |(number, field)| match field {
        Field::Number(value) if number == wanted => Some(value),
        _ => None,
    };
    fields(message).into_iter().find_map(value).unwrap_or_default()
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first().unwrap();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
