//! Fakes and fixtures for the tests of this crate and of the crates above it, with the feature `testing`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use momento_webhook::{Event, Millis, SigningSecret, Verified, momento};

use crate::destination::{Publisher, Topic};
use crate::reason::{Failure, Reason};
use crate::transform::{Stage, Transforms};

/// The time of all fixtures, in milliseconds since the Unix epoch.
pub const NOW: Millis = 1_704_296_470_565;

/// The timeout of a fan-out.
pub const TIMEOUT: Duration = Duration::from_secs(4);

/// The secret that all fixtures are signed with.
#[must_use]
pub fn secret() -> SigningSecret {
    SigningSecret::new("secret").unwrap()
}

/// Returns an event with a change, signed and verified.
pub fn event_with(cache: &str, topic: &str, number: u64, change: impl FnOnce(&mut Event)) -> Verified<Event> {
    let body = body(cache, topic, number, change);
    let signature = momento::sign(&secret(), body.as_bytes());
    momento::verify(&[secret()], body, [signature.as_bytes()]).unwrap().event().unwrap()
}

/// Returns the verified event of this cache, topic and number, with the text `Hello`.
#[must_use]
pub fn event(cache: &str, topic: &str, number: u64) -> Verified<Event> {
    event_with(cache, topic, number, |_| ())
}

/// Returns the JSON of an event with a change.
pub fn body(cache: &str, topic: &str, number: u64, change: impl FnOnce(&mut Event)) -> String {
    let mut event = Event {
        cache: cache.into(),
        topic: topic.into(),
        event_timestamp: NOW - 1,
        publish_timestamp: NOW,
        topic_sequence_number: number,
        topic_sequence_page: None,
        token_id: None,
        text: "Hello".into(),
    };
    change(&mut event);
    event.to_json()
}

/// A publisher that records calls, and fails on request.
#[derive(Debug, Default)]
pub struct FakePublisher {
    published: Mutex<Vec<(String, String, String)>>,
    calls: AtomicUsize,
    failures: Mutex<HashMap<String, Vec<PublishFault>>>,
}

/// A failure of the fake publisher.
#[derive(Clone, Copy, Debug)]
pub enum PublishFault {
    /// It fails at once, for this reason.
    Because(Reason),
    /// It never responds.
    Hangs,
}

impl FakePublisher {
    /// Lets publishes to `topic` fail `times` times.
    #[must_use]
    pub fn fail(self, topic: &str, failure: PublishFault, times: usize) -> Self {
        self.failures.lock().unwrap().insert(topic.to_owned(), vec![failure; times]);
        self
    }

    /// Returns what was published: cache, topic and text.
    #[must_use]
    pub fn published(&self) -> Vec<(String, String, String)> {
        self.published.lock().unwrap().clone()
    }

    /// Returns the number of attempts.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Publisher for FakePublisher {
    async fn publish(&self, topic: &Topic<'_>, text: &str) -> Result<(), Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let failure = self.failures.lock().unwrap().get_mut(&*topic.topic).and_then(Vec::pop);
        match failure {
            Some(PublishFault::Because(reason)) => Err(Failure::from(reason)),
            Some(PublishFault::Hangs) => std::future::pending().await,
            None => {
                let published = (topic.cache.to_string(), topic.topic.to_string(), text.to_owned());
                self.published.lock().unwrap().push(published);
                Ok(())
            }
        }
    }
}

impl<P: Publisher> Publisher for Arc<P> {
    fn publish(&self, topic: &Topic<'_>, text: &str) -> impl Future<Output = Result<(), Failure>> + Send {
        P::publish(self, topic, text)
    }
}

/// Returns the stages of a TOML list, in a route with the captures `room` and `language_code`.
#[must_use]
pub fn stages(list: &str) -> Vec<Stage> {
    let text = format!("transforms = {list}");
    let mut given = crate::spanned::Given::document(&text).unwrap();
    Transforms::standard().stages(given.take("transforms").unwrap(), &["room", "language_code"]).unwrap()
}
