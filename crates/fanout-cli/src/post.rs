//! One `POST`, and what came of it.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Url;
use reqwest::redirect::Policy;

/// How much of an answer's body is kept: it is for people to read.
const MAX_ANSWER: usize = 64 * 1024;

/// Posts to one URL.
#[derive(Clone, Debug)]
pub struct Poster {
    client: reqwest::Client,
    url: Url,
    timeout: Duration,
}

/// An answer, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, or the beginning of a long one; what is not UTF-8 is replaced.
    pub body: String,
    /// How long it asks to wait before another try, where it says so in seconds.
    pub retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Nobody is there.
    #[error("cannot connect to {authority}: {cause}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system says.
        cause: String,
    },
    /// It did not come in time.
    #[error("no answer within {:?}", .0)]
    TimedOut(Duration),
    /// The connection broke, or what came was not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// A client that cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be built")]
pub struct ClientError(#[source] reqwest::Error);

/// A text that is not the URL of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URL that begins with http:// or https://")]
pub struct NotAUrl;

/// Reads the URL of a function.
///
/// # Errors
/// When `text` is something else.
pub fn url(text: &str) -> Result<Url, NotAUrl> {
    let url: Url = text.parse().map_err(|_| NotAUrl)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(NotAUrl) }
}

impl Poster {
    /// Posts to `url`, and waits `timeout` at most for a whole answer.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(url: Url, timeout: Duration) -> Result<Self, ClientError> {
        // A signed event goes where it was addressed to, not where an answer points.
        let mut client = reqwest::Client::builder().redirect(Policy::none());
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        Ok(Self { client: client.build().map_err(ClientError)?, url, timeout })
    }

    /// Where it posts to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Posts once.
    ///
    /// # Errors
    /// When there is no answer; see [`PostError`].
    pub async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, PostError> {
        let request = self.client.post(self.url.clone()).headers(headers).body(body).timeout(self.timeout);
        let mut response = request.send().await.map_err(|error| self.why(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.why(&error))? {
            let room = MAX_ANSWER.saturating_sub(body.len());
            body.extend(chunk.iter().take(room));
            if chunk.len() > room {
                break;
            }
        }
        Ok(Answer {
            status: response.status(),
            body: String::from_utf8_lossy(&body).into_owned(),
            retry_after: response.headers().get(header::RETRY_AFTER).and_then(seconds),
        })
    }

    fn why(&self, error: &reqwest::Error) -> PostError {
        if error.is_timeout() {
            return PostError::TimedOut(self.timeout);
        }
        let cause = root(error);
        if error.is_connect() {
            let port = self.url.port_or_known_default().unwrap_or_default();
            let authority = format!("{}:{port}", self.url.host_str().unwrap_or_default());
            PostError::Connect { authority, cause }
        } else {
            PostError::Broken(cause)
        }
    }
}

/// A date is not read: this machine's clock and the sender's need not agree, and the pauses grow anyway.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What was at the bottom of it: what lies above repeats it, or the URL.
pub(crate) fn root(error: &dyn StdError) -> String {
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
    fn a_function_is_reached_by_http() {
        for good in ["http://127.0.0.1:9000/lambda-url/webhook", "https://abc.lambda-url.eu-west-1.on.aws"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for wrong in ["", "127.0.0.1:9000", "localhost:9000", "ftp://host", "http://", "file:///etc"] {
            assert_eq!(url(wrong), Err(NotAUrl), "{wrong}");
        }
    }

    #[test]
    fn this_machine_is_never_reached_through_a_proxy() {
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
    fn retry_after_is_read_in_seconds() {
        let read = |text: &'static str| seconds(&HeaderValue::from_static(text));
        assert_eq!(read("2"), Some(Duration::from_secs(2)));
        for other in ["", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
