//! Every fault of local Momento, on a real wire.

use std::time::{Duration, Instant};

use momento_local::{Fault, MomentoLocal, Rpc};
use test_support::HttpResponse;
use test_support::process::Process;
use test_support::runtime_api::RuntimeApi;
use test_support::signed;
use tonic::Code;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{BOTH, CACHE, Function, INBOUND, OUTBOUND, SECRET, Way, genuine, program, settings};

/// The sender stops waiting at 5 s; the answer is out before this.
const ANSWER_TIME: Duration = Duration::from_millis(4_500);

const LAMBDA: Way = BOTH[0];

async fn timed(function: &Function, way: Way) -> (HttpResponse, Duration) {
    let started = Instant::now();
    let answer = function.deliver(way, 1, "hello").await;
    (answer, started.elapsed())
}

fn attempts(answer: &HttpResponse) -> u64 {
    answer.json()["destinations"][0]["attempts"].as_u64().unwrap()
}

#[tokio::test]
async fn unavailable_once_is_got_over() {
    for way in BOTH {
        let function = Function::start(way, &[]).await;
        function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).times(1));
        let (answer, _) = timed(&function, way).await;
        assert_eq!((answer.status, attempts(&answer)), (200, 2), "{way:?}");
        assert_eq!(function.published(OUTBOUND), ["HELLO"]);
    }
}

#[tokio::test]
async fn unavailable_for_ever_is_503_in_time() {
    for way in BOTH {
        let function = Function::start(way, &[]).await;
        let fault = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish));
        let (answer, took) = timed(&function, way).await;
        assert_eq!(answer.status, 503, "{way:?}");
        assert_eq!(answer.json()["destinations"][0]["reason"], "unavailable");
        assert_eq!(u64::try_from(fault.hits()).unwrap(), attempts(&answer), "every try is counted");
        assert!(attempts(&answer) > 1 && took < ANSWER_TIME, "{took:?}");
    }
}

#[tokio::test]
async fn slow_is_waited_for() {
    let function = Function::lambda(&[]).await;
    function.momento.inject(Fault::delay(Duration::from_millis(300)).on(Rpc::Publish));
    let (answer, took) = timed(&function, LAMBDA).await;
    assert_eq!((answer.status, attempts(&answer)), (200, 1));
    assert!(took >= Duration::from_millis(300));
}

#[tokio::test]
async fn hanging_once_is_got_over() {
    let function = Function::lambda(&[]).await;
    function.momento.inject(Fault::hang().on(Rpc::Publish).times(1));
    let (answer, took) = timed(&function, LAMBDA).await;
    assert_eq!((answer.status, attempts(&answer)), (200, 2));
    assert!(took < ANSWER_TIME, "{took:?}");
}

#[tokio::test]
async fn one_topic_hangs_and_the_others_are_served_in_time() {
    for way in BOTH {
        let function = Function::start(way, &[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b,c")]).await;
        let mut subscriber = function.subscribe("c").await;
        function.momento.inject(Fault::hang().on(Rpc::Publish).topic("b"));
        let started = Instant::now();
        let request = genuine(1, "hello");
        let (answer, first) = tokio::join!(function.send(way, &request), subscriber.next());
        let took = started.elapsed();
        assert_eq!(first, "HELLO");
        assert_eq!(answer.status, 503, "{way:?}");
        assert!(took < ANSWER_TIME, "{way:?}: {took:?}");
        let destinations = answer.json()["destinations"].clone();
        assert_eq!(destinations[1]["reason"], "timed_out");
        for served in [0, 2] {
            assert_eq!(destinations[served]["status"], "published");
        }
        assert_eq!(
            (function.published("a"), function.published("c")),
            (vec!["HELLO".into()], vec!["HELLO".into()])
        );
    }
}

#[tokio::test]
async fn resource_exhausted_is_tried_again_unless_it_is_about_the_size() {
    let limit =
        |err: &str| Fault::error(Code::ResourceExhausted).on(Rpc::Publish).metadata("err", err).times(1);
    let function = Function::lambda(&[]).await;
    function.momento.inject(limit("operations_rate_limit_exceeded"));
    let (answer, _) = timed(&function, LAMBDA).await;
    assert_eq!((answer.status, attempts(&answer)), (200, 2));

    let function = Function::lambda(&[]).await;
    function.momento.inject(limit("request_size_limit_exceeded"));
    let (answer, _) = timed(&function, LAMBDA).await;
    assert_eq!((answer.status, attempts(&answer)), (422, 1));
    assert_eq!(answer.json()["destinations"][0]["reason"], "too_large");
}

#[tokio::test]
async fn every_status_comes_to_its_answer() {
    for (code, status) in [
        (Code::Cancelled, 503),
        (Code::Unknown, 503),
        (Code::InvalidArgument, 422),
        (Code::DeadlineExceeded, 503),
        (Code::NotFound, 422),
        (Code::PermissionDenied, 422),
        (Code::ResourceExhausted, 503),
        (Code::FailedPrecondition, 422),
        (Code::Aborted, 503),
        (Code::OutOfRange, 422),
        (Code::Unimplemented, 422),
        (Code::Internal, 503),
        (Code::Unavailable, 503),
        (Code::DataLoss, 503),
        (Code::Unauthenticated, 422),
    ] {
        let function = Function::lambda(&[]).await;
        let fault = function.momento.inject(Fault::error(code).on(Rpc::Publish));
        let (answer, took) = timed(&function, LAMBDA).await;
        assert_eq!(answer.status, status, "{code:?}: {answer:?}");
        assert_eq!(fault.hits() > 1, status == 503, "{code:?}");
        assert!(took < ANSWER_TIME, "{code:?}: {took:?}");
        assert!(function.published(OUTBOUND).is_empty());
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_call_is_got_over() {
    for way in BOTH {
        let function = Function::start(way, &[]).await;
        let fault = function.momento.inject(Fault::cut().on(Rpc::Publish).times(1));
        let (answer, _) = timed(&function, way).await;
        assert_eq!((answer.status, attempts(&answer)), (200, 2), "{way:?}: {answer:?}");
        assert_eq!(fault.hits(), 1);
        assert_eq!(function.published(OUTBOUND), ["HELLO"]);
    }
}

#[tokio::test]
async fn a_warm_environment_gets_over_cut_connections() {
    let function = Function::lambda(&[]).await;
    for number in 1..=8 {
        assert_eq!(function.deliver(LAMBDA, number, "warm").await.status, 200);
    }
    function.momento.cut_connections();
    for number in 9..=16 {
        let answer = function.deliver(LAMBDA, number, "after the cut").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn away_is_503_and_back_is_200() {
    let function = Function::lambda(&[]).await;
    function.momento.block();
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    let started = Instant::now();
    let answer = function.send(LAMBDA, &signed::post(SECRET, event.to_json()).unwrap()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(started.elapsed() < ANSWER_TIME);
    function.momento.unblock();
    event.publish_timestamp += 1;
    let answer = function.send(LAMBDA, &signed::post(SECRET, event.to_json()).unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(function.published(OUTBOUND), ["HELLO"]);
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_503_in_time() {
    // A port that nobody listens on: it was free a moment ago, and stays ours until the end.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nowhere = format!("http://{}", socket.local_addr().unwrap());
    let function = Function::lambda(&[("MOMENTO_ENDPOINT", &nowhere)]).await;
    let (answer, took) = timed(&function, LAMBDA).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(took < ANSWER_TIME, "{took:?}");
}

#[tokio::test]
async fn published_though_it_seemed_to_fail_is_published_at_least_once() {
    let function = Function::lambda(&[]).await;
    function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).after_apply().times(1));
    let (answer, _) = timed(&function, LAMBDA).await;
    assert_eq!(answer.status, 200);
    assert_eq!(function.published(OUTBOUND), ["HELLO", "HELLO"]);
}

#[tokio::test]
async fn the_answer_is_out_before_lambda_ends_the_function() {
    let function = Function::lambda(&[]).await;
    function.momento.inject(Fault::hang().on(Rpc::Publish));
    let payload = test_support::gateway::Gateway::FunctionUrl.payload(&genuine(1, "hello"), false).unwrap();
    let timeout = Duration::from_secs(2);
    let runtime_api = function.runtime_api.as_ref().unwrap();
    let (_, took) = runtime_api.invoke_timed(payload.to_string().into(), timeout).await.unwrap();
    assert!(took < timeout, "{took:?}");
}

/// Passes connections on to `to`, until it is told to forget those that there are: they stay open, and
/// nothing comes through them any more, as when the network has lost its state.
struct Proxy {
    endpoint: String,
    forgotten: watch::Sender<u64>,
}

impl Proxy {
    async fn start(to: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (forgotten, generation) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(to).await.unwrap();
                let mut generation = generation.clone();
                generation.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = generation.changed() => std::future::pending::<()>().await,
                    }
                });
            }
        });
        Self { endpoint, forgotten }
    }

    fn forget_connections(&self) {
        self.forgotten.send_modify(|generation| *generation += 1);
    }
}

#[tokio::test]
async fn connections_that_the_network_forgot_are_replaced() {
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let proxy = Proxy::start(momento.addr()).await;
    let runtime_api = RuntimeApi::start().await.unwrap();
    let environment = settings(&proxy.endpoint, &[]).into_iter().chain(runtime_api.environment());
    let process = Process::start(program(), environment).unwrap();
    let function = Function::over(momento, process, Some(runtime_api), 0);
    for number in 1..=4 {
        assert_eq!(function.deliver(LAMBDA, number, "connect").await.status, 200);
    }
    proxy.forget_connections();
    let (answer, took) = timed(&function, LAMBDA).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(took < ANSWER_TIME, "{took:?}");
    let started = Instant::now();
    assert_eq!(function.deliver(LAMBDA, 6, "again").await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn without_time_left_nothing_is_published() {
    let function = Function::lambda(&[]).await;
    let runtime_api = function.runtime_api.as_ref().unwrap();
    let event = signed::event(CACHE, INBOUND, 1, "hello");
    let request = signed::post(SECRET, event.to_json()).unwrap();
    let payload = test_support::gateway::Gateway::FunctionUrl.payload(&request, false).unwrap().to_string();
    let invoked = runtime_api.invoke(payload.into(), Duration::from_millis(150)).await.unwrap();
    let test_support::runtime_api::Invoked::Response(response) = invoked else { panic!("a response") };
    let response: serde_json::Value = serde_json::from_slice(&response).unwrap();
    assert_eq!(response["statusCode"], 503, "{response}");
    assert!(function.published(OUTBOUND).is_empty());
    // What was not begun is not remembered as begun.
    assert_eq!(function.send(LAMBDA, &request).await.status, 200);
    assert_eq!(function.published(OUTBOUND), ["HELLO"]);
}
