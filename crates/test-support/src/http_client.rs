//! Requests over plain HTTP.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::HttpResponse;
use crate::signed::RawRequest;

/// A client for one version of HTTP.
#[derive(Clone, Debug)]
pub struct HttpClient(Client<HttpConnector, Full<Bytes>>);

impl HttpClient {
    /// Returns a client for HTTP/1.1.
    #[must_use]
    pub fn http1() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Returns a client for HTTP/2 without TLS, with prior knowledge.
    #[must_use]
    pub fn http2() -> Self {
        Self(Client::builder(TokioExecutor::new()).http2_only(true).build_http())
    }

    /// Sends a request, and reads the whole response.
    ///
    /// # Errors
    /// If the request cannot be sent, or no response arrives.
    pub async fn send(&self, to: SocketAddr, request: &RawRequest) -> anyhow::Result<HttpResponse> {
        let mut sent = Request::new(Full::new(request.body.clone()));
        *sent.method_mut() = request.method.parse()?;
        *sent.uri_mut() = format!("http://{to}{}", request.path.unwrap_or("/webhook")).parse()?;
        for (name, value) in &request.headers {
            sent.headers_mut().append(name.parse::<HeaderName>()?, HeaderValue::from_bytes(value)?);
        }
        let (parts, body) = self.0.request(sent).await?.into_parts();
        let headers = parts.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Ok(HttpResponse {
            status: parts.status.as_u16(),
            headers: headers.collect(),
            body: String::from_utf8(body.collect().await?.to_bytes().to_vec())?,
        })
    }
}
