//! Two environments of the function, which recognize each other's events through a cache.

use std::time::{Duration, Instant};

use momento_local::{Fault, MomentoLocal, Rpc};
use serde_json::{Value, json};
use test_support::HttpResponse;
use test_support::http_client::HttpClient;
use test_support::process::{Process, TIMEOUT};
use test_support::signed::RawRequest;
use tokio::time::timeout;
use tonic::Code;

use crate::support::{CACHE, genuine, listening, program, settings};

/// Two processes with the same settings and the same Momento.
struct Environments {
    momento: MomentoLocal,
    all: [(Process, u16); 2],
}

const TOPICS: [(&str, &str); 2] = [("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b")];

impl Environments {
    async fn start(with: &[(&str, &str)]) -> Self {
        let momento = MomentoLocal::builder().cache(CACHE).cache("seen").start().await.unwrap();
        let with = [&TOPICS[..], &[("DEDUPE", "cache")], with].concat();
        let start = async || {
            let process = Process::start(program(), settings(&momento.endpoint(), &with)).unwrap();
            let port = listening(&process).await;
            (process, port)
        };
        let all = [start().await, start().await];
        Self { momento, all }
    }

    async fn send(&self, index: usize, request: &RawRequest) -> HttpResponse {
        let address = ([127, 0, 0, 1], self.all[index].1).into();
        HttpClient::http1().send(address, request).await.unwrap()
    }

    fn published(&self) -> (usize, usize) {
        let count = |topic| self.momento.published(CACHE, topic).len();
        (count("a"), count("b"))
    }

    /// Waits for the log record of a request to an environment.
    async fn log_record(&self, index: usize) -> Value {
        let record = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            line.get("outcome").is_some().then_some(line)
        };
        self.all[index].0.wait_for_line(record).await.unwrap()
    }
}

fn statuses(response: &HttpResponse) -> Value {
    let response = response.json();
    let destinations = response["destinations"].as_array().unwrap();
    destinations.iter().map(|one| one["status"].clone()).collect()
}

#[tokio::test]
async fn event_of_one_environment_is_duplicate_in_the_other() {
    for with in [&[][..], &[("DEDUPE_CACHE", "seen")]] {
        let environments = Environments::start(with).await;
        let request = genuine(1, "hello");
        assert_eq!(environments.send(0, &request).await.json()["status"], "success");
        for index in [1, 0, 1] {
            let again = environments.send(index, &request).await;
            assert_eq!((again.status, again.json()["status"].clone()), (200, json!("duplicate")));
        }
        assert_eq!(environments.send(1, &genuine(2, "hello")).await.json()["status"], "success");
        assert_eq!(environments.published(), (2, 2));
    }
}

#[tokio::test]
async fn second_environment_serves_only_missing_destinations() {
    let environments = Environments::start(&[]).await;
    let request = genuine(1, "hello");
    let fault = environments.momento.inject(Fault::error(Code::NotFound).on(Rpc::Publish).topic("b"));
    for index in [0, 1, 0] {
        let response = environments.send(index, &request).await;
        assert_eq!(response.status, 422, "{response:?}");
    }
    fault.remove();
    let response = environments.send(1, &request).await;
    assert_eq!((response.status, statuses(&response)), (200, json!(["already_published", "published"])));
    assert_eq!(environments.send(0, &request).await.json()["status"], "duplicate");
    assert_eq!(environments.published(), (1, 1));
}

#[tokio::test]
async fn second_delivery_waits_for_first_in_other_environment() {
    let environments = Environments::start(&[]).await;
    let request = genuine(1, "hello");
    let fault = environments.momento.inject(Fault::hang().on(Rpc::Publish));
    let second = async {
        fault.wait_for_hits(2).await;
        let waits = environments.momento.inject(Fault::delay(Duration::ZERO).on(Rpc::Get).times(2));
        let released = async {
            waits.wait_for_hits(2).await;
            fault.remove();
        };
        tokio::join!(environments.send(1, &request), released).0
    };
    let (first, second) = tokio::join!(environments.send(0, &request), second);
    assert_eq!((first.status, second.json()["status"].clone()), (200, json!("duplicate")), "{first:?}");
    assert_eq!(environments.published(), (1, 1));
}

#[tokio::test]
async fn event_of_killed_environment_is_handled_by_the_other() {
    let environments = Environments::start(&[]).await;
    let request = genuine(1, "hello");
    let fault = environments.momento.inject(Fault::hang().on(Rpc::Publish));
    let address = ([127, 0, 0, 1], environments.all[0].1).into();
    let sent = request.clone();
    let first = tokio::spawn(async move { HttpClient::http1().send(address, &sent).await });
    fault.wait_for_hits(2).await;
    environments.all[0].0.signal("KILL").await.unwrap();
    assert!(first.await.unwrap().is_err());
    fault.remove();
    let begun = Instant::now();
    let handled = async {
        loop {
            let response = environments.send(1, &request).await;
            if response.status == 200 {
                return response;
            }
            assert_eq!(response.json()["code"], "busy");
        }
    };
    let response = timeout(TIMEOUT, handled).await.unwrap();
    assert_eq!(response.json()["status"], "success", "{:?}", begun.elapsed());
}

#[tokio::test]
async fn failing_cache_is_counted_and_delays_no_event() {
    for (rpc, published_again) in [(Rpc::SetIf, true), (Rpc::Set, false)] {
        for fault in [Fault::error(Code::Unavailable), Fault::hang(), Fault::error(Code::PermissionDenied)] {
            let environments = Environments::start(&[]).await;
            let fault = environments.momento.inject(fault.on(rpc));
            let begun = Instant::now();
            let request = genuine(1, "hello");
            let response = environments.send(0, &request).await;
            assert_eq!((response.status, response.json()["status"].clone()), (200, json!("success")));
            assert!(begun.elapsed() < Duration::from_secs(2), "{rpc:?}: {:?}", begun.elapsed());
            assert_eq!(environments.log_record(0).await["DedupeFailed"], 1);
            let said = |line: &str| line.contains("the cache for dedupe failed").then_some(());
            environments.all[0].0.wait_for_line(said).await.unwrap();
            if published_again {
                fault.remove();
                assert_eq!(environments.send(1, &request).await.json()["status"], "success");
                assert_eq!(environments.published(), (2, 2));
            }
        }
    }
}

#[tokio::test]
async fn missing_cache_for_dedupe_is_a_failure_that_says_so() {
    let environments = Environments::start(&[("DEDUPE_CACHE", "missing")]).await;
    assert_eq!(environments.send(0, &genuine(1, "hello")).await.json()["status"], "success");
    let said = |line: &str| (line.contains("dedupe failed") && line.contains("not found")).then_some(());
    environments.all[0].0.wait_for_line(said).await.unwrap();
}
