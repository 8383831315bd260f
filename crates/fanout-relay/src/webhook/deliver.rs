//! Delivers one event to one URL, with a new signature for each attempt, and retries transient failures.

use std::time::Duration;

use bytes::Bytes;
use fanout_core::clock::{Clock, SystemClock};
use fanout_core::retry::RetryPolicy;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use momento_webhook::Event;
use momento_webhook::momento::USER_AGENT;
use momento_webhook::standard::SignatureError;

use super::post::{PostError, PostResponse, Poster};
use super::signer::{Header, Signer};
use crate::body::BodyKind;

/// The retries of a delivery that a user watches: the timeout is Momento's, and a function that is down fails after a few
/// seconds. Momento itself makes one attempt.
pub const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 4,
    attempt_timeout: Duration::from_secs(5),
    initial_backoff: Duration::from_millis(200),
    max_backoff: Duration::from_secs(2),
};

/// The longest backoff that a response can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Delivers events to one URL.
#[derive(Clone, Debug)]
pub struct Deliverer<C = SystemClock> {
    poster: Poster,
    signer: Signer,
    retry: RetryPolicy,
    clock: C,
}

/// A delivered event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The response, with a status of 2xx.
    pub response: PostResponse,
    /// The number of attempts.
    pub attempts: u32,
}

/// Error for an event that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}, {}", after(*attempts))]
pub struct Undelivered {
    /// The failure of the last attempt.
    pub failure: Failure,
    /// The number of attempts.
    pub attempts: u32,
}

/// The failure of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A response with a status other than 2xx.
    #[error("the response is {}", .0.status)]
    Response(PostResponse),
    /// No response.
    #[error(transparent)]
    Post(#[from] PostError),
    /// The event cannot be signed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// A failed attempt before another one.
#[derive(Debug)]
pub struct Retry<'f> {
    /// The failure of the attempt.
    pub failure: &'f Failure,
    /// The number of the attempt, from 1 on.
    pub attempt: u32,
    /// The largest number of attempts.
    pub max_attempts: u32,
    /// The time until the next attempt.
    pub backoff: Duration,
}

impl Deliverer {
    /// Returns a deliverer that posts through `poster`, whose timeout is that of one attempt, and retries by `retry`.
    #[must_use]
    pub fn new(poster: Poster, signer: Signer, retry: RetryPolicy) -> Self {
        Self { poster, signer, retry, clock: SystemClock }
    }
}

impl<C: Clock> Deliverer<C> {
    /// Sets the clock.
    pub fn with_clock<D: Clock>(self, clock: D) -> Deliverer<D> {
        let Self { poster, signer, retry, clock: _ } = self;
        Deliverer { poster, signer, retry, clock }
    }

    #[cfg(test)]
    pub(super) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.poster.set_timeout(timeout);
        self
    }

    /// Delivers `event`, and sets its `publish_timestamp` for each attempt. Calls `on_retry` before each retry.
    ///
    /// # Errors
    /// If the failure is permanent, or all attempts failed.
    pub async fn deliver(
        &self,
        event: &mut Event,
        mut on_retry: impl FnMut(Retry<'_>),
    ) -> Result<Delivered, Undelivered> {
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(event, BodyKind::Text).await {
                Ok(response) => return Ok(Delivered { response, attempts: attempt }),
                Err(failure) => failure,
            };
            let max_attempts = self.retry.max_attempts;
            if attempt >= max_attempts || !failure.is_transient() {
                return Err(Undelivered { failure, attempts: attempt });
            }
            let backoff = self
                .retry
                .backoff(attempt, &mut rand::rng())
                .max(failure.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER));
            on_retry(Retry { failure: &failure, attempt, max_attempts, backoff });
            tokio::time::sleep(backoff).await;
            attempt += 1;
        }
    }

    /// Makes one attempt, and sets the `publish_timestamp` of `event` for it.
    ///
    /// # Errors
    /// If the response is not 2xx, or there is none.
    pub async fn attempt(&self, event: &mut Event, kind: BodyKind<'_>) -> Result<PostResponse, Failure> {
        event.publish_timestamp = self.clock.now();
        let (headers, body) = signed(&self.signer, event, kind)?;
        self.poster.post(headers, Bytes::from(body)).await?.into_result()
    }
}

/// Returns the headers and the body of a webhook that is sent at the `publish_timestamp` of `event`.
///
/// # Errors
/// If the event cannot be signed.
pub(crate) fn signed(
    signer: &Signer,
    event: &Event,
    kind: BodyKind<'_>,
) -> Result<(HeaderMap, String), SignatureError> {
    let body = kind.body(event);
    let seconds = event.publish_timestamp / 1_000;
    // The id is the same for each attempt, as Standard Webhooks requires. Messages of other topics have other ids.
    let signatures = signer.headers(&kind.id(event), seconds, body.as_bytes())?;
    Ok((headers(signatures), body))
}

impl PostResponse {
    /// Returns the response if it is 2xx.
    pub(crate) fn into_result(self) -> Result<Self, Failure> {
        if self.status.is_success() { Ok(self) } else { Err(Failure::Response(self)) }
    }
}

impl Failure {
    /// Returns true if a retry can succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Post(_) => true,
            Self::Signature(_) => false,
            Self::Response(response) => {
                response.status.is_server_error()
                    || matches!(
                        response.status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
                    )
            }
        }
    }

    /// Returns the backoff that a response with 429 or 503 asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Response(PostResponse {
                status: StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE,
                retry_after,
                ..
            }) => *retry_after,
            _ => None,
        }
    }

    /// Returns true if the receiver wants no more webhooks.
    #[must_use]
    pub fn disables(&self) -> bool {
        matches!(self, Self::Response(response) if response.disables || response.status == StatusCode::GONE)
    }
}

/// Returns the headers of a webhook as Momento sends them: the signatures, the content type and the user agent.
#[must_use]
pub fn headers(signatures: Vec<Header>) -> HeaderMap {
    let header = |(name, value)| {
        let value = HeaderValue::try_from(value).expect("ids and signatures are valid header values");
        (HeaderName::from_static(name), value)
    };
    let mut headers: HeaderMap = signatures.into_iter().map(header).collect();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers
}

fn after(attempts: u32) -> String {
    if attempts == 1 { "after 1 attempt".to_owned() } else { format!("after {attempts} attempts") }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use momento_webhook::Millis;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::webhook::post;
    use crate::webhook::signer::Scheme;

    fn response(status: u16, retry_after: Option<u64>) -> Failure {
        Failure::Response(PostResponse {
            status: StatusCode::from_u16(status).unwrap(),
            body: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
            disables: false,
        })
    }

    #[test]
    fn retries_transient_statuses_only() {
        for (status, transient) in [
            (301, false),
            (400, false),
            (403, false),
            (404, false),
            (408, true),
            (413, false),
            (422, false),
            (425, true),
            (429, true),
            (500, true),
            (502, true),
            (503, true),
            (504, true),
        ] {
            assert_eq!(response(status, None).is_transient(), transient, "{status}");
        }
        assert!(Failure::Post(PostError::TimedOut(RETRY.attempt_timeout)).is_transient());
    }

    #[test]
    fn reads_retry_after_of_429_and_503_only() {
        for (status, seconds) in [(429, Some(2)), (503, Some(2)), (500, None), (404, None)] {
            assert_eq!(response(status, Some(2)).retry_after(), seconds.map(Duration::from_secs), "{status}");
        }
        assert_eq!(response(503, None).retry_after(), None);
    }

    /// A clock that advances by a second each time it is read.
    #[derive(Debug, Default)]
    struct Ticking(AtomicU64);

    impl Clock for Ticking {
        fn now(&self) -> Millis {
            1_704_296_470_565 + 1_000 * self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    /// Sends these responses, one after the other. Returns the requests.
    async fn responding(responses: &'static [&'static str]) -> (Poster, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = post::url(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for response in responses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                // The body has one closing brace, at its end.
                while !request.ends_with(b"}") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                let response = format!("HTTP/1.1 {response}connection: close\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(response.as_bytes()).await.unwrap();
                requests.push(String::from_utf8(request).unwrap());
            }
            requests
        });
        (Poster::new(url, RETRY.attempt_timeout).unwrap(), requests)
    }

    fn event() -> Event {
        Event {
            cache: "c".to_owned(),
            topic: "t".to_owned(),
            event_timestamp: 7,
            publish_timestamp: 7,
            topic_sequence_number: 3,
            topic_sequence_page: Some(9),
            token_id: None,
            text: "text".to_owned(),
        }
    }

    fn deliverer(poster: Poster) -> Deliverer<Ticking> {
        let signer = Signer::new(Scheme::Both, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let retry = RetryPolicy { initial_backoff: Duration::from_millis(1), ..RETRY };
        Deliverer::new(poster, signer, retry).with_clock(Ticking::default())
    }

    #[tokio::test]
    async fn signs_each_attempt_anew_with_the_same_id() {
        let (poster, requests) = responding(&["500 x\r\n", "429 x\r\n", "202 x\r\n"]).await;
        let mut retries = Vec::new();
        let delivered = deliverer(poster)
            .deliver(&mut event(), |retry| retries.push((retry.attempt, retry.max_attempts)))
            .await;
        assert_eq!(delivered.unwrap().attempts, 3);
        assert_eq!(retries, [(1, 4), (2, 4)]);
        let requests = requests.await.unwrap();
        for (request, seconds) in requests.iter().zip(1_704_296_470..) {
            for part in [
                format!("webhook-id: msg_{}\r\n", event().id()),
                format!("webhook-timestamp: {seconds}\r\n"),
                format!("\"event_timestamp\":7,\"publish_timestamp\":{seconds}565,"),
            ] {
                assert!(request.contains(&part), "{part} in {request}");
            }
        }
        let signature = |request: &String, name: &str| {
            request.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap()
        };
        for name in ["momento-signature: ", "webhook-signature: "] {
            assert_ne!(signature(&requests[0], name), signature(&requests[1], name));
        }
    }

    #[tokio::test]
    async fn stops_at_permanent_failure_or_after_last_attempt() {
        let (poster, _requests) = responding(&["422 x\r\n"]).await;
        let undelivered = deliverer(poster)
            .deliver(&mut event(), |_| panic!("a permanent failure is not retried"))
            .await
            .unwrap_err();
        assert_eq!(undelivered.to_string(), "the response is 422 Unprocessable Entity, after 1 attempt");
        let (poster, _requests) = responding(&["503 x\r\n"; 4]).await;
        let undelivered = deliverer(poster).deliver(&mut event(), |_| {}).await.unwrap_err();
        assert_eq!(undelivered.attempts, 4);
    }
}
