//! Signed webhooks: the target of a relay, and what the command line sends.
//!
//! | module | purpose |
//! | --- | --- |
//! | [`deliver`] | delivers one event to one URL, signed, with retries |
//! | [`post`] | sends one `POST` |
//! | [`signer`] | makes the headers that prove a webhook genuine |
//! | `address` | decides which addresses a webhook may be sent to |

mod address;
pub mod deliver;
pub mod post;
pub mod signer;

use std::fmt;

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use reqwest::Url;

use self::address::Addresses;
pub use self::address::Refused;
use self::deliver::{Deliverer, Failure, RETRY};
use self::post::{ClientError, PostResponse, Poster, is_loopback};
use self::signer::Signer;
use crate::body::BodyKind;
use crate::schedule::{Attempt, Target};
use crate::spool::Spooled;

/// The part of a response that is kept with a message, in characters.
const MAX_EXCERPT: usize = 300;

/// A URL that messages are delivered to as signed webhooks.
pub struct Webhook {
    deliverer: Deliverer,
    /// The scheme, the host and the port. The rest of a URL may be a secret.
    origin: String,
}

/// Error for a URL that a relay cannot deliver to.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL has a user or a password.
    #[error("the URL has a user or a password, which the relay does not send")]
    Credentials,
    /// The URL begins with `http://`, and names another machine.
    #[error("the URL is not encrypted; expected https://, except for this machine")]
    Plaintext,
    /// The URL has an address that is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Webhook {
    /// Returns the target `url`, whose requests `signer` signs. Addresses that are not public are refused, unless one of
    /// the networks `allowed` contains them.
    ///
    /// # Errors
    /// If the relay must not deliver to `url`, or if the system's certificates are invalid.
    pub fn new(url: Url, signer: Signer, allowed: &[IpNet]) -> Result<Self, WebhookError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookError::Credentials);
        }
        if url.scheme() != "https" && !is_loopback(&url) {
            return Err(WebhookError::Plaintext);
        }
        let addresses = Addresses::new(&url, allowed)?;
        let origin = url.origin().ascii_serialization();
        let poster = Poster::guarded(url, RETRY.attempt_timeout, addresses)?;
        Ok(Self { deliverer: Deliverer::new(poster, signer, RETRY), origin })
    }
}

/// Shows only the origin of the URL.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

impl Target for Webhook {
    fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
        let (mut event, kind) = BodyKind::of(message);
        Box::pin(async move { result(self.deliverer.attempt(&mut event, kind).await) })
    }
}

/// Returns the result of an attempt for the response of a receiver.
pub(crate) fn result(attempt: Result<PostResponse, Failure>) -> Attempt {
    let failure = match attempt {
        Ok(response) if response.disables => {
            return Attempt::Disabled { error: describe(&Failure::Response(response)) };
        }
        Ok(_) => return Attempt::Delivered,
        Err(failure) => failure,
    };
    let error = describe(&failure);
    if failure.disables() {
        Attempt::Disabled { error }
    } else if failure.is_transient() {
        Attempt::Transient { error, retry_after: failure.retry_after(), progress: None }
    } else {
        Attempt::Permanent { error }
    }
}

/// Returns the part of a response that is kept with a message.
pub(crate) fn excerpt(response: &str) -> String {
    response.trim().chars().take(MAX_EXCERPT).collect()
}

/// Returns the failure, with the beginning of the response.
fn describe(failure: &Failure) -> String {
    let Failure::Response(response) = failure else { return failure.to_string() };
    let disables = if response.disables { ", with webhook-delivery: disable" } else { "" };
    let excerpt = excerpt(&response.body);
    if excerpt.is_empty() {
        format!("{failure}{disables}")
    } else {
        format!("{failure}{disables}: {excerpt}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use momento_webhook::standard::{self, StandardSecret};
    use momento_webhook::{SigningSecret, momento};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::spool::{GapNotice, MessageId, Payload, tests::topic_id};
    use crate::webhook::signer::Scheme;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    pub(crate) fn message(payload: Payload) -> Spooled {
        Spooled {
            id: MessageId::default(),
            topic: topic_id(1),
            cache: "c".to_owned(),
            topic_name: "t".to_owned(),
            page: 9,
            number: 3,
            received_at: 1_704_296_470_565,
            token_id: Some("ana".to_owned()),
            payload,
            attempts: 0,
            due_at: 0,
            error: None,
            progress: None,
            outcome: None,
        }
    }

    fn webhook(url: &str) -> Result<Webhook, WebhookError> {
        Webhook::new(post::url(url).unwrap(), Signer::new(Scheme::Both, SECRET).unwrap(), &[])
    }

    /// Sends `response` to one request, and returns the request.
    async fn responding(response: String) -> (Webhook, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = webhook(&format!("http://{}/hook", listener.local_addr().unwrap())).unwrap();
        let request = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            // The client stops reading a response that is too long.
            let _ = stream.write_all(response.as_bytes()).await;
            if response.contains("slow") {
                // Until the client gives up.
                let _ = stream.read_u8().await;
            }
            String::from_utf8(request).unwrap()
        });
        (target, request)
    }

    async fn attempt(head: &str) -> Attempt {
        let (target, _request) =
            responding(format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")).await;
        target.deliver(&message(Payload::Text("hi".to_owned()))).await
    }

    #[tokio::test]
    async fn each_response_has_its_result() {
        let transient = |error: &str, seconds: Option<u64>| Attempt::Transient {
            error: format!("the response is {error}"),
            retry_after: seconds.map(Duration::from_secs),
            progress: None,
        };
        let permanent = |error: &str| Attempt::Permanent { error: format!("the response is {error}") };
        let disabled = |error: &str| Attempt::Disabled { error: format!("the response is {error}") };
        for (head, expected) in [
            ("200 OK", Attempt::Delivered),
            ("204 No Content", Attempt::Delivered),
            ("200 OK\r\nretry-after: 5", Attempt::Delivered),
            ("200 OK\r\nwebhook-delivery: disable", disabled("200 OK, with webhook-delivery: disable")),
            ("302 Found\r\nlocation: https://example.com/", permanent("302 Found")),
            ("308 x\r\nlocation: /hook", permanent("308 Permanent Redirect")),
            ("400 x", permanent("400 Bad Request")),
            ("403 x", permanent("403 Forbidden")),
            ("404 x\r\nretry-after: 5", permanent("404 Not Found")),
            ("408 x", transient("408 Request Timeout", None)),
            ("410 x", disabled("410 Gone")),
            ("425 x", transient("425 Too Early", None)),
            ("429 x\r\nretry-after: 7", transient("429 Too Many Requests", Some(7))),
            ("500 x\r\nretry-after: 7", transient("500 Internal Server Error", None)),
            ("503 x\r\nretry-after: 7", transient("503 Service Unavailable", Some(7))),
            ("503 x\r\nretry-after: soon", transient("503 Service Unavailable", None)),
            (
                "500 x\r\nwebhook-delivery: disable",
                disabled("500 Internal Server Error, with webhook-delivery: disable"),
            ),
        ] {
            assert_eq!(attempt(head).await, expected, "{head}");
        }
    }

    #[tokio::test]
    async fn huge_response_is_read_up_to_a_bound() {
        let body = "x".repeat(4 * 1024 * 1024);
        let (target, _request) =
            responding(format!("HTTP/1.1 422 x\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        let attempt = target.deliver(&message(Payload::Text("hi".to_owned()))).await;
        let Attempt::Permanent { error } = attempt else { panic!("{attempt:?}") };
        assert_eq!(error, format!("the response is 422 Unprocessable Entity: {}", "x".repeat(MAX_EXCERPT)));
    }

    #[tokio::test]
    async fn slow_response_is_transient_failure() {
        let (mut target, _request) =
            responding("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nslow".to_owned()).await;
        let timeout = Duration::from_millis(100);
        target.deliverer = target.deliverer.with_timeout(timeout);
        let attempt = target.deliver(&message(Payload::Text("hi".to_owned()))).await;
        let error = format!("no response within {timeout:?}");
        assert_eq!(attempt, Attempt::Transient { error, retry_after: None, progress: None });
    }

    #[tokio::test]
    async fn sends_momentos_body_with_valid_signatures() {
        for (payload, text) in [
            (Payload::Text("Here I am!!".to_owned()), r#""text":"Here I am!!"}"#),
            (Payload::Binary(vec![0, 255, 7]), r#""text":"AP8H","encoding":"base64"}"#),
            (
                Payload::Gap(GapNotice { first: 3, last: 5, reason: "lost".to_owned() }),
                r#""text":"","gap":{"first":3,"last":5,"reason":"lost"}}"#,
            ),
        ] {
            let (target, request) =
                responding("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
            let message = message(payload);
            assert_eq!(target.deliver(&message).await, Attempt::Delivered);
            let request = request.await.unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let begin = r#"{"cache":"c","topic":"t","event_timestamp":1704296470565,"publish_timestamp":"#;
            let end =
                format!(r#","topic_sequence_number":3,"topic_sequence_page":9,"token_id":"ana",{text}"#);
            assert!(body.starts_with(begin) && body.ends_with(&end), "{body}");
            let header =
                |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
            assert_eq!(header("user-agent"), momento::USER_AGENT);
            assert_eq!(header("content-type"), "application/json");
            let secret = SigningSecret::new(SECRET).unwrap();
            let signature = header("momento-signature").as_bytes();
            let event = momento::verify(&[secret], body.as_bytes(), [signature]).unwrap().event().unwrap();
            let headers = standard::Headers {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
            };
            let prefix = if text.contains("gap") { "gap" } else { "msg" };
            assert_eq!(headers.id, format!("{prefix}_{}", event.id()));
            let secret = StandardSecret::parse(SECRET).unwrap();
            assert!(standard::verify(&[secret], body.as_bytes(), headers).is_ok());
        }
    }

    #[tokio::test]
    async fn refused_connection_is_transient_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let attempt =
            webhook(&format!("http://{address}/")).unwrap().deliver(&message(Payload::Binary(vec![]))).await;
        assert!(matches!(attempt, Attempt::Transient { .. }), "{attempt:?}");
    }

    #[test]
    fn rejects_urls_that_a_relay_must_not_use() {
        for (url, expected) in [
            ("http://example.com/", "the URL is not encrypted; expected https://, except for this machine"),
            (
                "https://user:s3cr3t@example.com/",
                "the URL has a user or a password, which the relay does not send",
            ),
            (
                "https://169.254.169.254/latest/meta-data",
                "the address 169.254.169.254 is not public, and no network in `allow` contains it",
            ),
        ] {
            assert_eq!(webhook(url).unwrap_err().to_string(), expected, "{url}");
        }
    }

    #[test]
    fn debug_shows_only_origin() {
        assert_eq!(
            format!("{:?}", webhook("https://example.com:8443/s3cr3t?a=b").unwrap()),
            "https://example.com:8443"
        );
    }
}
