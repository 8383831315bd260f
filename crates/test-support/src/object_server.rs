//! A small Amazon S3 with `GetObject`, over real HTTP: objects with their versions, at paths that begin with the bucket.
//!
//! It implements <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>. Unlike the other services here it
//! checks the signature of a request, because the function composes requests to S3 itself:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, RANGE};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::aws_json::Recorder;

const SECRET_KEY: &str = "test";

/// A service on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct ObjectServer {
    address: SocketAddr,
    recorder: Arc<Recorder<State>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The versions of each path, the oldest first.
    objects: HashMap<String, Vec<Bytes>>,
    /// The responses to requests for a path, where a test sets them: a status and a code.
    failures: HashMap<String, Vec<(u16, &'static str)>>,
    requests: Vec<String>,
}

impl ObjectServer {
    /// Starts the service.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let recorder = Arc::<Recorder<State>>::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&recorder)));
        Ok(Self { address, recorder, server })
    }

    /// Returns the URL of the service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the environment of a process that uses the service.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL_S3", self.endpoint().as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Adds a version of the object at `path`, as it is in a request: `/bucket/key`, encoded. The id of a version is its
    /// number, from 1.
    pub fn put(&self, path: &str, object: impl Into<Bytes>) {
        self.recorder.state().objects.entry(path.to_owned()).or_default().push(object.into());
    }

    /// Responds to the next requests for `path` like this, one after the other.
    pub fn fail(&self, path: &str, failures: impl IntoIterator<Item = (u16, &'static str)>) {
        self.recorder.state().failures.insert(path.to_owned(), failures.into_iter().collect());
    }

    /// Returns the paths of the recorded requests, in order, retries included.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.recorder.state().requests.clone()
    }

    /// Waits for `number` requests, retries included.
    pub async fn wait_for_requests(&self, number: usize) {
        self.recorder.wait_for(number).await;
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, recorder: Arc<Recorder<State>>) {
    // The connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let recorder = Arc::clone(&recorder);
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = recorder.record(|state| state.respond(&request));
                async move { response }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl State {
    fn respond(&mut self, request: &Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        self.requests.push(request.uri().to_string());
        if request.method() != Method::GET {
            return error(405, "MethodNotAllowed");
        }
        if !is_signed(request.headers(), path, query) {
            return error(403, "SignatureDoesNotMatch");
        }
        if let Some(failures) = self.failures.get_mut(path).filter(|failures| !failures.is_empty()) {
            let (status, code) = failures.remove(0);
            return error(status, code);
        }
        let Some(versions) = self.objects.get(path) else { return error(404, "NoSuchKey") };
        let object = match query.strip_prefix("versionId=") {
            Some(number) => {
                number.parse::<usize>().ok().and_then(|number| versions.get(number.checked_sub(1)?))
            }
            None => versions.last(),
        };
        let Some(object) = object else { return error(404, "NoSuchVersion") };
        let last = header(request.headers(), RANGE.as_str())
            .strip_prefix("bytes=0-")
            .and_then(|last| last.parse::<usize>().ok());
        match last {
            Some(_) if object.is_empty() => error(416, "InvalidRange"),
            Some(last) => response(206, object.slice(..object.len().min(last + 1))),
            None => response(200, object.clone()),
        }
    }
}

fn response(status: u16, body: Bytes) -> io::Result<Response<Full<Bytes>>> {
    let response = Response::builder().status(status).header("x-amz-request-id", "4442587FB7D0A2F9");
    response.body(Full::new(body)).map_err(io::Error::other)
}

fn error(status: u16, code: &str) -> io::Result<Response<Full<Bytes>>> {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>of the test</Message></Error>"
    );
    response(status, document.into())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Returns true if a GET without a body has a valid signature of version 4.
fn is_signed(headers: &HeaderMap, path: &str, query: &str) -> bool {
    let authorization = header(headers, AUTHORIZATION.as_str());
    let part = |name: &str| {
        let mut parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ").unwrap_or_default().split(", ");
        parts.find_map(|part| part.strip_prefix(name)).unwrap_or_default()
    };
    let scope = part("Credential=test/");
    let [date, region, "s3", "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else { return false };
    let names = part("SignedHeaders=");
    if !names.split(';').any(|name| name == "host") {
        return false;
    }
    let line = |signed: String, name| signed + name + ":" + header(headers, name) + "\n";
    let signed = names.split(';').fold(String::new(), line);
    let of_body = header(headers, "x-amz-content-sha256");
    let request = format!("GET\n{path}\n{query}\n{signed}\n{names}\n{of_body}");
    let time = header(headers, "x-amz-date");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(request)));
    let mac = |key: &[u8], text: &str| {
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key can have any length");
        mac.chain_update(text).finalize().into_bytes()
    };
    let key = [date, region, "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, text| mac(&key, text).to_vec());
    of_body == hex::encode(Sha256::digest("")) && part("Signature=") == hex::encode(mac(&key, &text))
}
