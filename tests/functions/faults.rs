//! Every fault of local Momento, on real connections.

use std::time::{Duration, Instant};

use momento_local::{Fault, MomentoLocal, Rpc};
use test_support::HttpResponse;
use test_support::process::Process;
use test_support::runtime_api::RuntimeApi;
use test_support::signed;
use tonic::Code;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{
    BOTH, CACHE, Function, INBOUND, OUTBOUND, SECRET, Transport, genuine, program, settings,
};

/// The time until the response has to be out. The sender stops waiting at 5 s.
const ANSWER_TIME: Duration = Duration::from_millis(4_500);

const LAMBDA: Transport = BOTH[0];

async fn timed(function: &Function, transport: Transport) -> (HttpResponse, Duration) {
    let started = Instant::now();
    let response = function.deliver(transport, 1, "hello").await;
    (response, started.elapsed())
}

fn attempts(response: &HttpResponse) -> u64 {
    response.json()["destinations"][0]["attempts"].as_u64().unwrap()
}

#[tokio::test]
async fn retries_after_unavailable() {
    for transport in BOTH {
        let function = Function::start(transport, &[]).await;
        function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).times(1));
        let (response, _) = timed(&function, transport).await;
        assert_eq!((response.status, attempts(&response)), (200, 2), "{transport:?}");
        assert_eq!(function.published(OUTBOUND), ["HELLO"]);
    }
}

#[tokio::test]
async fn unavailable_momento_is_503_before_deadline() {
    for transport in BOTH {
        let function = Function::start(transport, &[]).await;
        let fault = function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish));
        let (response, took) = timed(&function, transport).await;
        assert_eq!(response.status, 503, "{transport:?}");
        assert_eq!(response.json()["destinations"][0]["reason"], "unavailable");
        assert_eq!(u64::try_from(fault.hits()).unwrap(), attempts(&response), "every attempt is counted");
        assert!(attempts(&response) > 1 && took < ANSWER_TIME, "{took:?}");
    }
}

#[tokio::test]
async fn waits_for_slow_publish() {
    let function = Function::lambda(&[]).await;
    function.momento.inject(Fault::delay(Duration::from_millis(300)).on(Rpc::Publish));
    let (response, took) = timed(&function, LAMBDA).await;
    assert_eq!((response.status, attempts(&response)), (200, 1));
    assert!(took >= Duration::from_millis(300));
}

#[tokio::test]
async fn retries_publish_that_hangs() {
    let function = Function::lambda(&[]).await;
    function.momento.inject(Fault::hang().on(Rpc::Publish).times(1));
    let (response, took) = timed(&function, LAMBDA).await;
    assert_eq!((response.status, attempts(&response)), (200, 2));
    assert!(took < ANSWER_TIME, "{took:?}");
}

#[tokio::test]
async fn hanging_topic_delays_no_other() {
    for transport in BOTH {
        let function =
            Function::start(transport, &[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b,c")]).await;
        let mut subscriber = function.subscribe("c").await;
        function.momento.inject(Fault::hang().on(Rpc::Publish).topic("b"));
        let started = Instant::now();
        let request = genuine(1, "hello");
        let (response, first) = tokio::join!(function.send(transport, &request), subscriber.next());
        let took = started.elapsed();
        assert_eq!(first, "HELLO");
        assert_eq!(response.status, 503, "{transport:?}");
        assert!(took < ANSWER_TIME, "{transport:?}: {took:?}");
        let destinations = response.json()["destinations"].clone();
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
async fn retries_resource_exhausted_unless_message_is_too_large() {
    let limit =
        |err: &str| Fault::error(Code::ResourceExhausted).on(Rpc::Publish).metadata("err", err).times(1);
    let function = Function::lambda(&[]).await;
    function.momento.inject(limit("operations_rate_limit_exceeded"));
    let (response, _) = timed(&function, LAMBDA).await;
    assert_eq!((response.status, attempts(&response)), (200, 2));

    let function = Function::lambda(&[]).await;
    function.momento.inject(limit("request_size_limit_exceeded"));
    let (response, _) = timed(&function, LAMBDA).await;
    assert_eq!((response.status, attempts(&response)), (422, 1));
    assert_eq!(response.json()["destinations"][0]["reason"], "too_large");
}

#[tokio::test]
async fn maps_every_grpc_status_to_response() {
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
        let (response, took) = timed(&function, LAMBDA).await;
        assert_eq!(response.status, status, "{code:?}: {response:?}");
        assert_eq!(fault.hits() > 1, status == 503, "{code:?}");
        assert!(took < ANSWER_TIME, "{code:?}: {took:?}");
        assert!(function.published(OUTBOUND).is_empty());
    }
}

#[tokio::test]
async fn retries_publish_whose_connection_is_cut() {
    for transport in BOTH {
        let function = Function::start(transport, &[]).await;
        let fault = function.momento.inject(Fault::cut().on(Rpc::Publish).times(1));
        let (response, _) = timed(&function, transport).await;
        assert_eq!((response.status, attempts(&response)), (200, 2), "{transport:?}: {response:?}");
        assert_eq!(fault.hits(), 1);
        assert_eq!(function.published(OUTBOUND), ["HELLO"]);
    }
}

#[tokio::test]
async fn warm_environment_survives_cut_connections() {
    let function = Function::lambda(&[]).await;
    for number in 1..=8 {
        assert_eq!(function.deliver(LAMBDA, number, "warm").await.status, 200);
    }
    function.momento.cut_connections();
    for number in 9..=16 {
        let response = function.deliver(LAMBDA, number, "after the cut").await;
        assert_eq!(response.status, 200, "{response:?}");
    }
}

#[tokio::test]
async fn blocked_momento_is_503_until_unblocked() {
    let function = Function::lambda(&[]).await;
    function.momento.block();
    let mut event = signed::event(CACHE, INBOUND, 1, "hello");
    let started = Instant::now();
    let response = function.send(LAMBDA, &signed::post(SECRET, event.to_json()).unwrap()).await;
    assert_eq!(response.status, 503, "{response:?}");
    assert!(started.elapsed() < ANSWER_TIME);
    function.momento.unblock();
    event.publish_timestamp += 1;
    let response = function.send(LAMBDA, &signed::post(SECRET, event.to_json()).unwrap()).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(function.published(OUTBOUND), ["HELLO"]);
}

#[tokio::test]
async fn closed_port_at_endpoint_is_503_before_deadline() {
    // A port that is bound and does not listen, so that connections to it are refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nowhere = format!("http://{}", socket.local_addr().unwrap());
    let function = Function::lambda(&[("MOMENTO_ENDPOINT", &nowhere)]).await;
    let (response, took) = timed(&function, LAMBDA).await;
    assert_eq!(response.status, 503, "{response:?}");
    assert!(took < ANSWER_TIME, "{took:?}");
}

#[tokio::test]
async fn publishes_again_after_lost_response() {
    let function = Function::lambda(&[]).await;
    function.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).after_apply().times(1));
    let (response, _) = timed(&function, LAMBDA).await;
    assert_eq!(response.status, 200);
    assert_eq!(function.published(OUTBOUND), ["HELLO", "HELLO"]);
}

#[tokio::test]
async fn responds_before_lambda_timeout() {
    let function = Function::lambda(&[]).await;
    function.momento.inject(Fault::hang().on(Rpc::Publish));
    let payload = test_support::gateway::Gateway::FunctionUrl.payload(&genuine(1, "hello"), false).unwrap();
    let timeout = Duration::from_secs(2);
    let runtime_api = function.runtime_api.as_ref().unwrap();
    let (_, took) = runtime_api.invoke_timed(payload.to_string().into(), timeout).await.unwrap();
    assert!(took < timeout, "{took:?}");
}

/// A proxy that can forget its connections. They stay open, and no byte passes any more, as when the network has lost
/// their state.
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
async fn replaces_connections_that_network_forgot() {
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
    let (response, took) = timed(&function, LAMBDA).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert!(took < ANSWER_TIME, "{took:?}");
    let started = Instant::now();
    assert_eq!(function.deliver(LAMBDA, 6, "again").await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn publishes_nothing_without_time_left() {
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
    // Dedupe does not remember a delivery that did not begin.
    assert_eq!(function.send(LAMBDA, &request).await.status, 200);
    assert_eq!(function.published(OUTBOUND), ["HELLO"]);
}
