//! Sends one `POST`.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Url;
use reqwest::redirect::Policy;

use super::address::Addresses;

/// The part of a response's body that is kept, in bytes. People read it.
const MAX_BODY: usize = 64 * 1024;

/// The header with which a receiver asks for no more webhooks.
const DELIVERY_HEADER: &str = "webhook-delivery";

/// Posts to one URL.
#[derive(Clone, Debug)]
pub struct Poster {
    client: reqwest::Client,
    url: Url,
    timeout: Duration,
}

/// A response with any status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostResponse {
    /// The status.
    pub status: StatusCode,
    /// The body, or the beginning of a long one. Bytes that are not UTF-8 are replaced.
    pub body: String,
    /// The backoff that the header `Retry-After` asks for, if it is in seconds.
    pub retry_after: Option<Duration>,
    /// True if the header `webhook-delivery: disable` asks for no more webhooks.
    pub disables: bool,
}

/// Error for a request without a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The connection failed.
    #[error("cannot connect to {authority}: {cause}")]
    Connect {
        /// Host and port.
        authority: String,
        /// The error of the system.
        cause: String,
    },
    /// The response did not arrive in this time.
    #[error("no response within {:?}", .0)]
    TimedOut(Duration),
    /// The connection broke, or the response was not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Error for an HTTP client that cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be built")]
pub struct ClientError(#[source] reqwest::Error);

/// Error for a text that is not the URL of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URL that begins with http:// or https://")]
pub struct NotAUrl;

/// Reads the URL of a function.
///
/// # Errors
/// If `text` is not one.
pub fn url(text: &str) -> Result<Url, NotAUrl> {
    let url: Url = text.parse().map_err(|_| NotAUrl)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(NotAUrl) }
}

impl PostResponse {
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        Self {
            status,
            body: String::from_utf8_lossy(body).into_owned(),
            retry_after: headers.get(header::RETRY_AFTER).and_then(seconds),
            disables: headers.get(DELIVERY_HEADER).is_some_and(|value| value == "disable"),
        }
    }
}

impl Poster {
    /// Returns a client that posts to `url`, and waits for a whole response for `timeout`.
    ///
    /// # Errors
    /// If the system's certificates are invalid.
    pub fn new(url: Url, timeout: Duration) -> Result<Self, ClientError> {
        let client = reqwest::Client::builder();
        let client = if is_loopback(&url) { client.no_proxy() } else { client };
        Self::build(client, url, timeout)
    }

    /// Returns a client as [`new`](Self::new) does, which connects to `addresses` only. It uses no proxy: a proxy would
    /// connect to any address.
    pub(super) fn guarded(url: Url, timeout: Duration, addresses: Addresses) -> Result<Self, ClientError> {
        let client = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(addresses));
        Self::build(client, url, timeout)
    }

    fn build(client: reqwest::ClientBuilder, url: Url, timeout: Duration) -> Result<Self, ClientError> {
        // A signed event goes to this URL only, not to the target of a redirect.
        let client = client.redirect(Policy::none()).build().map_err(ClientError)?;
        Ok(Self { client, url, timeout })
    }

    #[cfg(test)]
    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Posts once.
    ///
    /// # Errors
    /// If there is no response; see [`PostError`].
    pub async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<PostResponse, PostError> {
        let request = self.client.post(self.url.clone()).headers(headers).body(body).timeout(self.timeout);
        let mut response = request.send().await.map_err(|error| self.error(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.error(&error))? {
            let room = MAX_BODY.saturating_sub(body.len());
            body.extend(chunk.iter().take(room));
            if chunk.len() > room {
                break;
            }
        }
        Ok(PostResponse::new(response.status(), response.headers(), &body))
    }

    fn error(&self, error: &reqwest::Error) -> PostError {
        if error.is_timeout() {
            return PostError::TimedOut(self.timeout);
        }
        let cause = root(error);
        if error.is_connect() {
            let port = self.url.port_or_known_default().expect("HTTP has a default port");
            let authority = format!("{}:{port}", self.url.host_str().expect("`url` checked the host"));
            PostError::Connect { authority, cause }
        } else {
            PostError::Broken(cause)
        }
    }
}

/// Reads `Retry-After` in seconds. A date is ignored: the two clocks may differ, and the backoff grows anyway.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || host_address(url).is_some_and(|address| address.is_loopback())
}

/// Returns the address that is the host of a URL, if the host is not a name.
pub(super) fn host_address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str().expect("`url` checked the host");
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Returns the root cause of an error. The errors above it repeat it, or the URL.
fn root(error: &dyn StdError) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_http_urls() {
        for good in ["http://127.0.0.1:9000/lambda-url/webhook", "https://abc.lambda-url.eu-west-1.on.aws"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for wrong in ["", "127.0.0.1:9000", "localhost:9000", "ftp://host", "http://", "file:///etc"] {
            assert_eq!(url(wrong), Err(NotAUrl), "{wrong}");
        }
    }

    #[test]
    fn knows_loopback_hosts() {
        for (given, loopback) in [
            ("http://127.0.0.1:1/", true),
            ("http://[::1]:1/", true),
            ("http://localhost/", true),
            ("http://10.0.0.1/", false),
            ("https://example.com/", false),
        ] {
            assert_eq!(is_loopback(&url(given).unwrap()), loopback, "{given}");
        }
    }

    #[test]
    fn reads_retry_after_in_seconds() {
        let read = |text: &'static str| seconds(&HeaderValue::from_static(text));
        assert_eq!(read("2"), Some(Duration::from_secs(2)));
        for other in ["", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
