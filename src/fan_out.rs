//! One text to all its destinations at once, with an outcome for each.
//!
//! Failures that may pass are tried again, each destination by itself: one that hangs keeps no other
//! from being served, and none is waited for beyond the deadline.

use std::time::Duration;

use futures_util::future::join_all;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use tokio::time::{Instant, sleep, timeout_at};

use crate::destination::{DeliveryError, Publisher, Reason, Topic};
use crate::retry::RetryPolicy;

/// A try that could not take at least this long is not begun: nobody would learn what came of it.
const LEAST_ATTEMPT: Duration = Duration::from_millis(20);

/// Publishes to many topics at once.
#[derive(Debug)]
pub struct FanOut<P> {
    publisher: P,
    retry: RetryPolicy,
}

/// What became of one destination.
#[derive(Debug)]
pub struct Delivery<'d> {
    /// The destination.
    pub topic: Topic<'d>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of one destination.
#[derive(Debug)]
pub enum Outcome {
    /// It took the text, after this many tries.
    Published {
        /// Tries, the good one included.
        attempts: u32,
    },
    /// It had taken the text at an earlier delivery of the same event.
    AlreadyPublished,
    /// It did not take the text, in this many tries.
    Failed {
        /// Tries in all; none where the deadline had come before.
        attempts: u32,
        /// What the last of them came to.
        error: DeliveryError,
    },
}

impl<P: Publisher> FanOut<P> {
    /// Publishes through `publisher`, and tries again as `retry` says.
    pub const fn new(publisher: P, retry: RetryPolicy) -> Self {
        Self { publisher, retry }
    }

    /// Publishes `text` to every one of `topics` at once. Every outcome is known when `deadline`
    /// comes, and they are in the order of the topics.
    pub async fn publish<'d>(
        &self,
        topics: impl IntoIterator<Item = Topic<'d>>,
        text: &str,
        deadline: Instant,
    ) -> Vec<Delivery<'d>> {
        join_all(topics.into_iter().map(|topic| self.publish_one(topic, text, deadline))).await
    }

    async fn publish_one<'d>(&self, topic: Topic<'d>, text: &str, deadline: Instant) -> Delivery<'d> {
        let last_start = deadline.checked_sub(LEAST_ATTEMPT).unwrap_or(deadline);
        if Instant::now() > last_start {
            let error = DeliveryError { reason: Reason::TimedOut, source: None };
            return Delivery { topic, outcome: Outcome::Failed { attempts: 0, error } };
        }
        let mut attempts = 0;
        let outcome = loop {
            attempts += 1;
            let error = match self.attempt(topic, text, deadline).await {
                Ok(()) => break Outcome::Published { attempts },
                Err(error) => error,
            };
            let pause = self.retry.pause(attempts, &mut rand::rng());
            let is_last = attempts >= self.retry.max_attempts || Instant::now() + pause > last_start;
            if is_last || !error.reason.is_passing() {
                break Outcome::Failed { attempts, error };
            }
            tracing::debug!(cache = topic.cache, topic = topic.topic, attempts, reason = %error.reason, "publish tried again");
            sleep(pause).await;
        };
        Delivery { topic, outcome }
    }

    async fn attempt(&self, topic: Topic<'_>, text: &str, deadline: Instant) -> Result<(), DeliveryError> {
        let end = deadline.min(Instant::now() + self.retry.attempt_timeout);
        match timeout_at(end, self.publisher.publish(topic, text)).await {
            Ok(result) => result,
            Err(_) => Err(DeliveryError { reason: Reason::TimedOut, source: None }),
        }
    }
}

impl Outcome {
    /// Whether the destination has the text, from this delivery or an earlier one.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        matches!(self, Self::Published { .. } | Self::AlreadyPublished)
    }

    /// Why the destination does not have the text.
    #[must_use]
    pub const fn failure(&self) -> Option<Reason> {
        match self {
            Self::Published { .. } | Self::AlreadyPublished => None,
            Self::Failed { error, .. } => Some(error.reason),
        }
    }
}

/// As the answer and the log show it.
impl Serialize for Delivery<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (status, attempts) = match &self.outcome {
            Outcome::Published { attempts } => ("published", Some(attempts)),
            Outcome::AlreadyPublished => ("already_published", None),
            Outcome::Failed { attempts, error } if error.reason.is_passing() => ("failed", Some(attempts)),
            Outcome::Failed { attempts, .. } => ("refused", Some(attempts)),
        };
        let reason = self.outcome.failure();
        let fields = 3 + usize::from(attempts.is_some()) + usize::from(reason.is_some());
        let mut delivery = serializer.serialize_struct("Delivery", fields)?;
        delivery.serialize_field("cache", self.topic.cache)?;
        delivery.serialize_field("topic", self.topic.topic)?;
        delivery.serialize_field("status", status)?;
        if let Some(reason) = reason {
            delivery.serialize_field("reason", &reason)?;
        }
        if let Some(attempts) = attempts {
            delivery.serialize_field("attempts", attempts)?;
        }
        delivery.end()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::webhook::TIME_TO_ANSWER;

    /// Records what is published, and fails as told.
    #[derive(Default)]
    pub(crate) struct FakePublisher {
        published: Mutex<Vec<(String, String, String)>>,
        calls: AtomicUsize,
        failures: Mutex<HashMap<String, Vec<Failure>>>,
    }

    #[derive(Clone, Copy)]
    pub(crate) enum Failure {
        Because(Reason),
        Hangs,
    }

    impl FakePublisher {
        /// `topic` fails this way `times`, then takes what it is given.
        pub(crate) fn fail(self, topic: &str, failure: Failure, times: usize) -> Self {
            self.failures.lock().unwrap().insert(topic.to_owned(), vec![failure; times]);
            self
        }

        pub(crate) fn published(&self) -> Vec<(String, String, String)> {
            self.published.lock().unwrap().clone()
        }

        pub(crate) fn calls(&self) -> usize {
            self.calls.load(Ordering::Relaxed)
        }
    }

    impl Publisher for FakePublisher {
        async fn publish(&self, topic: Topic<'_>, text: &str) -> Result<(), DeliveryError> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let failure = self.failures.lock().unwrap().get_mut(topic.topic).and_then(Vec::pop);
            match failure {
                Some(Failure::Because(reason)) => Err(DeliveryError { reason, source: None }),
                Some(Failure::Hangs) => std::future::pending().await,
                None => {
                    let published = (topic.cache.to_owned(), topic.topic.to_owned(), text.to_owned());
                    self.published.lock().unwrap().push(published);
                    Ok(())
                }
            }
        }
    }

    impl<P: Publisher> Publisher for Arc<P> {
        fn publish(
            &self,
            topic: Topic<'_>,
            text: &str,
        ) -> impl Future<Output = Result<(), DeliveryError>> + Send {
            P::publish(self, topic, text)
        }
    }

    const EVER: usize = 1_000;

    fn topics(names: &[&'static str]) -> Vec<Topic<'static>> {
        names.iter().map(|topic| Topic { cache: "c", topic }).collect()
    }

    async fn publish(
        publisher: FakePublisher,
        names: &[&'static str],
    ) -> (Vec<Delivery<'static>>, Duration, usize) {
        let fan_out = FanOut::new(publisher, RetryPolicy::PUBLISH);
        let start = Instant::now();
        let deliveries = fan_out.publish(topics(names), "text", start + TIME_TO_ANSWER).await;
        (deliveries, start.elapsed(), fan_out.publisher.calls())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again() {
        for reason in [Reason::Unavailable, Reason::TimedOut, Reason::RateLimited, Reason::Internal] {
            let publisher = FakePublisher::default().fail("a", Failure::Because(reason), 2);
            let (deliveries, _, calls) = publish(publisher, &["a"]).await;
            assert!(matches!(deliveries[0].outcome, Outcome::Published { attempts: 3 }), "{reason}");
            assert_eq!(calls, 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_for_good_is_not_tried_again() {
        for reason in [
            Reason::InvalidArgument,
            Reason::TooLarge,
            Reason::NotFound,
            Reason::PermissionDenied,
            Reason::Unauthenticated,
        ] {
            let publisher = FakePublisher::default().fail("a", Failure::Because(reason), EVER);
            let (deliveries, took, calls) = publish(publisher, &["a"]).await;
            assert_eq!(deliveries[0].outcome.failure(), Some(reason));
            assert_eq!((calls, took), (1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_the_last_try() {
        let publisher = FakePublisher::default().fail("a", Failure::Because(Reason::Unavailable), EVER);
        let (deliveries, took, calls) = publish(publisher, &["a"]).await;
        assert!(matches!(deliveries[0].outcome, Outcome::Failed { attempts: 5, .. }));
        assert_eq!(calls, 5);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_keeps_no_other_and_ends_at_the_deadline() {
        let publisher = FakePublisher::default().fail("b", Failure::Hangs, EVER);
        let (deliveries, took, _) = publish(publisher, &["a", "b", "c"]).await;
        let taken: Vec<_> = deliveries.iter().map(|delivery| delivery.outcome.is_taken()).collect();
        assert_eq!(taken, [true, false, true]);
        assert_eq!(deliveries[1].outcome.failure(), Some(Reason::TimedOut));
        assert!(took <= TIME_TO_ANSWER, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_hang_is_got_over_within_the_deadline() {
        let publisher = FakePublisher::default().fail("a", Failure::Hangs, 1);
        let (deliveries, took, _) = publish(publisher, &["a"]).await;
        assert!(matches!(deliveries[0].outcome, Outcome::Published { attempts: 2 }));
        assert!(took < Duration::from_millis(1_200), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_time_nothing_is_begun() {
        for left in [0, 19] {
            let fan_out = FanOut::new(FakePublisher::default(), RetryPolicy::PUBLISH);
            let deadline = Instant::now() + Duration::from_millis(left);
            let deliveries = fan_out.publish(topics(&["a"]), "text", deadline).await;
            assert!(matches!(deliveries[0].outcome, Outcome::Failed { attempts: 0, .. }), "{left} ms");
            assert_eq!(deliveries[0].outcome.failure(), Some(Reason::TimedOut));
            assert_eq!(fan_out.publisher.calls(), 0, "{left} ms");
        }
    }

    #[test]
    fn a_delivery_says_what_became_of_it() {
        let shown = |outcome| {
            serde_json::to_string(&Delivery { topic: Topic { cache: "c", topic: "t" }, outcome }).unwrap()
        };
        let failed = |reason| Outcome::Failed { attempts: 2, error: DeliveryError { reason, source: None } };
        assert_eq!(
            shown(Outcome::Published { attempts: 1 }),
            r#"{"cache":"c","topic":"t","status":"published","attempts":1}"#
        );
        assert_eq!(
            shown(Outcome::AlreadyPublished),
            r#"{"cache":"c","topic":"t","status":"already_published"}"#
        );
        assert_eq!(
            shown(failed(Reason::TimedOut)),
            r#"{"cache":"c","topic":"t","status":"failed","reason":"timed_out","attempts":2}"#
        );
        assert_eq!(
            shown(failed(Reason::TooLarge)),
            r#"{"cache":"c","topic":"t","status":"refused","reason":"too_large","attempts":2}"#
        );
    }
}
