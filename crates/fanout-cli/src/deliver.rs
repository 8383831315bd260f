//! One event to one URL: signed anew for every attempt, and tried again while that can help.

use std::time::Duration;

use bytes::Bytes;
use fanout_core::clock::{Clock, SystemClock};
use fanout_core::retry::RetryPolicy;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use momento_webhook::Event;
use momento_webhook::momento::USER_AGENT;
use momento_webhook::standard::SignatureError;

use crate::post::{Answer, PostError, Poster};
use crate::signer::{Header, Signer};

/// Delivery while somebody is watching: an answer within the 5 s that Momento waits for one, and not so
/// many tries that a function which is not there is waited for long. Momento itself tries once.
pub const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 4,
    attempt_timeout: Duration::from_secs(5),
    initial_backoff: Duration::from_millis(200),
    max_backoff: Duration::from_secs(2),
};

/// The longest pause that an answer can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Delivers events to one URL.
#[derive(Clone, Debug)]
pub struct Deliverer<C = SystemClock> {
    poster: Poster,
    signer: Signer,
    retry: RetryPolicy,
    clock: C,
}

/// An event that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The answer, with a status of 2xx.
    pub answer: Answer,
    /// Attempts, the good one included.
    pub attempts: u32,
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}, {}", tries(*attempts))]
pub struct Undelivered {
    /// What the last attempt came to.
    pub failure: Failure,
    /// Attempts in all.
    pub attempts: u32,
}

/// What an attempt came to that was no success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An answer with a status other than 2xx.
    #[error("the answer is {}", .0.status)]
    Answer(Answer),
    /// No answer.
    #[error(transparent)]
    Post(#[from] PostError),
    /// It cannot be signed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// An attempt that failed and is followed by another.
#[derive(Debug)]
pub struct TryAgain<'f> {
    /// What it came to.
    pub failure: &'f Failure,
    /// Which attempt it was, from 1 on.
    pub attempt: u32,
    /// How many there are at most.
    pub max_attempts: u32,
    /// How long the pause is before the next.
    pub pause: Duration,
}

impl Deliverer {
    /// Delivers through `poster`, whose timeout is that of an attempt, and tries again as `retry` says.
    #[must_use]
    pub fn new(poster: Poster, signer: Signer, retry: RetryPolicy) -> Self {
        Self { poster, signer, retry, clock: SystemClock }
    }
}

impl<C: Clock> Deliverer<C> {
    /// The same with another clock.
    pub fn with_clock<D: Clock>(self, clock: D) -> Deliverer<D> {
        let Self { poster, signer, retry, clock: _ } = self;
        Deliverer { poster, signer, retry, clock }
    }

    /// Delivers `event`; its `publish_timestamp` is set anew for every attempt. `told` hears of every
    /// attempt that is followed by another.
    ///
    /// # Errors
    /// When it was not taken, and no further try would help or the last one was made.
    pub async fn deliver(
        &self,
        event: &mut Event,
        mut told: impl FnMut(TryAgain<'_>),
    ) -> Result<Delivered, Undelivered> {
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(event).await {
                Ok(answer) => return Ok(Delivered { answer, attempts: attempt }),
                Err(failure) => failure,
            };
            let max_attempts = self.retry.max_attempts;
            if attempt >= max_attempts || !failure.is_transient() {
                return Err(Undelivered { failure, attempts: attempt });
            }
            let pause = self.retry.backoff(attempt, &mut rand::rng()).max(failure.retry_after());
            told(TryAgain { failure: &failure, attempt, max_attempts, pause });
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Delivers `event` once, sent now.
    ///
    /// # Errors
    /// When it was not taken.
    pub async fn attempt(&self, event: &mut Event) -> Result<Answer, Failure> {
        event.publish_timestamp = self.clock.now();
        let body = event.to_json();
        let seconds = event.publish_timestamp / 1_000;
        let headers = headers(self.signer.headers(&message_id(event), seconds, body.as_bytes())?);
        let answer = self.poster.post(headers, Bytes::from(body)).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(Failure::Answer(answer)) }
    }
}

impl Failure {
    /// Whether the same event may be taken at another try.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Post(_) => true,
            Self::Signature(_) => false,
            Self::Answer(answer) => {
                answer.status.is_server_error()
                    || matches!(
                        answer.status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
                    )
            }
        }
    }

    fn retry_after(&self) -> Duration {
        match self {
            Self::Post(_) | Self::Signature(_) => Duration::ZERO,
            Self::Answer(answer) => answer.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER),
        }
    }
}

/// The headers of a webhook, as Momento sends them: the signatures, what the body is, and who sends it.
#[must_use]
pub fn headers(signatures: Vec<Header>) -> HeaderMap {
    // A signature is made of letters, digits and a few marks: each is a header's value.
    let header = |(name, value): Header| {
        HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value))
    };
    let mut headers: HeaderMap = signatures.into_iter().filter_map(header).collect();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers
}

/// Standard Webhooks wants the same id at every attempt.
fn message_id(event: &Event) -> String {
    let page = event.topic_sequence_page.unwrap_or(event.event_timestamp);
    format!("msg_{page}_{}", event.topic_sequence_number)
}

fn tries(attempts: u32) -> String {
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
    use crate::post;
    use crate::signer::Scheme;

    fn answer(status: u16, retry_after: Option<u64>) -> Failure {
        Failure::Answer(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        })
    }

    #[test]
    fn what_another_try_cannot_change_is_final() {
        for (status, passing) in [
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
            assert_eq!(answer(status, None).is_transient(), passing, "{status}");
        }
        assert!(Failure::Post(PostError::TimedOut(RETRY.attempt_timeout)).is_transient());
    }

    #[test]
    fn an_answer_can_ask_for_a_pause_but_not_for_any() {
        assert_eq!(answer(503, Some(2)).retry_after(), Duration::from_secs(2));
        assert_eq!(answer(503, Some(86_400)).retry_after(), LONGEST_RETRY_AFTER);
        assert_eq!(answer(503, None).retry_after(), Duration::ZERO);
    }

    /// A clock that is a second further on at every look.
    #[derive(Debug, Default)]
    struct Ticking(AtomicU64);

    impl Clock for Ticking {
        fn now(&self) -> Millis {
            1_704_296_470_565 + 1_000 * self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    /// Gives these answers, one after the other, and then the requests as they came.
    async fn answering(answers: &'static [&'static str]) -> (Poster, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = post::url(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                // The body ends with its only brace that closes.
                while !request.ends_with(b"}") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                let answer = format!("HTTP/1.1 {answer}connection: close\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
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
    async fn every_attempt_has_the_same_id_and_a_time_and_signatures_of_its_own() {
        let (poster, requests) = answering(&["500 x\r\n", "429 x\r\n", "202 x\r\n"]).await;
        let mut told = Vec::new();
        let delivered = deliverer(poster)
            .deliver(&mut event(), |again| told.push((again.attempt, again.max_attempts)))
            .await;
        assert_eq!(delivered.unwrap().attempts, 3);
        assert_eq!(told, [(1, 4), (2, 4)]);
        let requests = requests.await.unwrap();
        for (request, seconds) in requests.iter().zip(1_704_296_470..) {
            for part in [
                "webhook-id: msg_9_3\r\n".to_owned(),
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
    async fn it_gives_up_at_once_where_no_try_can_help_and_else_after_the_last() {
        let (poster, _requests) = answering(&["422 x\r\n"]).await;
        let undelivered =
            deliverer(poster).deliver(&mut event(), |_| panic!("no other try")).await.unwrap_err();
        assert_eq!(undelivered.to_string(), "the answer is 422 Unprocessable Entity, after 1 attempt");
        let (poster, _requests) = answering(&["503 x\r\n"; 4]).await;
        let undelivered = deliverer(poster).deliver(&mut event(), |_| {}).await.unwrap_err();
        assert_eq!(undelivered.attempts, 4);
    }
}
