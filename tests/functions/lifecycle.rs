//! How the function starts, runs and ends.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use momento_local::{Fault, MomentoLocal, Rpc};
use serde_json::{Value, json};
use test_support::gateway::Gateway;
use test_support::process::{Process, TIMEOUT};
use test_support::runtime_api::RuntimeApi;
use test_support::signed::RawRequest;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{BOTH, CACHE, Function, OUTBOUND, Transport, genuine, listening, program, settings};

/// Runs a function with these settings until it ends, and returns its exit status and output.
async fn ends(environment: Vec<(String, String)>) -> (Option<i32>, String) {
    let mut process = Process::start(program(), environment).unwrap();
    let status = process.ended().await.unwrap();
    (status.code(), process.output().join("\n"))
}

#[tokio::test]
async fn prints_version_and_help_without_settings() {
    for (flag, says) in
        [("--version", "topic-fanout 0."), ("--help", "MOMENTO_API_KEY"), ("-h", "FANOUT_CONFIG")]
    {
        let told = tokio::process::Command::new(program()).arg(flag).env_clear().output().await.unwrap();
        let out = String::from_utf8(told.stdout).unwrap();
        assert!(told.status.success() && told.stderr.is_empty() && out.contains(says), "{flag}: {out}");
    }
}

#[tokio::test]
async fn invalid_settings_end_function_with_all_faults() {
    let runtime_api = RuntimeApi::start().await.unwrap();
    for environment in [Vec::new(), runtime_api.environment()] {
        let (code, output) = ends(environment).await;
        assert_eq!(code, Some(1), "{output}");
        for name in ["MOMENTO_API_KEY", "WEBHOOK_SIGNING_SECRET", "OUTBOUND_TOPIC"] {
            assert!(output.contains(&format!("{name}: is not set")), "{name} in {output}");
        }
    }
    // A caller of the function sees the reason as well.
    let failure: Value = serde_json::from_slice(&runtime_api.start_failure().unwrap()).unwrap();
    assert_eq!(failure["errorType"], "Runtime.NotStarted");
    let message = failure["errorMessage"].as_str().unwrap();
    assert!(message.contains("WEBHOOK_SIGNING_SECRET: is not set"), "{message}");
}

#[tokio::test]
async fn errors_show_no_value_of_a_setting() {
    let wrong =
        ["MAX_EVENT_AGE_SECONDS", "TRANSFORM", "PORT", "OUTBOUND_TOPICS"].map(|name| (name, "s3cr3t"));
    let (code, output) = ends(settings("s3cr3t s3cr3t", &wrong)).await;
    assert_eq!(code, Some(1));
    for (name, _) in wrong {
        assert!(output.contains(name), "{name} in {output}");
    }
    assert!(!output.contains("s3cr3t"), "{output}");
}

#[tokio::test]
async fn incomplete_lambda_environment_is_reported() {
    let mut environment = settings("http://127.0.0.1:1", &[]);
    environment.push(("AWS_LAMBDA_RUNTIME_API".into(), "127.0.0.1:1".into()));
    let (code, output) = ends(environment).await;
    assert_eq!(code, Some(1));
    for name in ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"]
    {
        assert!(output.contains(name), "{output}");
    }
}

#[tokio::test]
async fn invocation_without_its_headers_ends_function_with_clear_line() {
    for (headers, missing) in [
        ("", "lambda-runtime-aws-request-id"),
        ("lambda-runtime-aws-request-id: 1\r\n", "lambda-runtime-deadline-ms"),
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let runtime_api = RuntimeApi::start().await.unwrap();
        let mut environment = settings("http://127.0.0.1:1", &[]);
        environment.extend(runtime_api.environment());
        environment.push(("AWS_LAMBDA_RUNTIME_API".into(), listener.local_addr().unwrap().to_string()));
        let invocation = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\n\r\n{{}}");
        let answered = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            read_some(&mut connection).await;
            connection.write_all(invocation.as_bytes()).await.unwrap();
            connection
        });
        let (code, output) = ends(environment).await;
        assert_eq!(code, Some(1), "{output}");
        let expected = "the Runtime API sent an invocation without one of its headers: missing ";
        assert!(output.contains(&format!("{expected}{missing}")), "{output}");
        answered.await.unwrap();
    }
}

#[tokio::test]
async fn port_in_use_is_reported() {
    let function = Function::http(&[]).await;
    let port = function.address().port().to_string();
    let (code, output) = ends(settings("http://127.0.0.1:1", &[("PORT", &port)])).await;
    assert_eq!(code, Some(1));
    assert!(output.contains(&format!("cannot listen on port {port}")), "{output}");
}

#[tokio::test]
async fn idle_function_ends_on_sigterm() {
    for transport in BOTH {
        let mut function = Function::start(transport, &[]).await;
        assert_eq!(function.deliver(transport, 1, "hello").await.status, 200);
        if let Some(runtime_api) = &function.runtime_api {
            runtime_api.wait_for_pollers(1).await;
        }
        function.process.terminate().await.unwrap();
        let status = function.process.ended().await.unwrap();
        assert_eq!(status.code(), Some(0), "{transport:?}: {:?}", function.process.output());
    }
}

#[tokio::test]
async fn responds_to_begun_requests_before_it_ends() {
    for transport in BOTH {
        let mut function = Function::start(transport, &[]).await;
        let fault = function.momento.inject(Fault::delay(Duration::from_millis(700)).on(Rpc::Publish));
        let request = genuine(1, "hello");
        let (response, ()) = tokio::join!(function.send(transport, &request), async {
            timeout(TIMEOUT, fault.wait_for_hits(1)).await.expect("a publish");
            function.process.terminate().await.unwrap();
        });
        assert_eq!(response.status, 200, "{transport:?}: {response:?}");
        assert_eq!(function.process.ended().await.unwrap().code(), Some(0), "{transport:?}");
        assert_eq!(function.published(OUTBOUND), ["HELLO"]);
    }
}

#[tokio::test]
async fn idle_connection_does_not_delay_end() {
    let mut function = Function::http(&[]).await;
    let _idle = TcpStream::connect(function.address()).await.unwrap();
    assert_eq!(function.deliver(Transport::Http1, 1, "hello").await.status, 200);
    function.process.terminate().await.unwrap();
    assert_eq!(function.process.ended().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn runs_as_many_invocations_at_once_as_environment_allows() {
    let function = Function::lambda(&[("AWS_LAMBDA_MAX_CONCURRENCY", "4")]).await;
    let runtime_api = function.runtime_api.as_ref().unwrap();
    timeout(TIMEOUT, runtime_api.wait_for_pollers(4)).await.expect("four pollers");
    let fault = function.momento.inject(Fault::hang().on(Rpc::Publish));
    let transport = BOTH[0];
    let requests: Vec<_> = (1..=4).map(|number| genuine(number, "hello")).collect();
    let all = join_all(requests.iter().map(|request| function.send(transport, request)));
    let (responses, ()) = tokio::join!(all, async {
        // This happens only if all four hang at once.
        timeout(TIMEOUT, fault.wait_for_hits(4)).await.expect("four at once");
        fault.remove();
    });
    assert_eq!(responses.iter().map(|response| response.status).collect::<Vec<_>>(), [200; 4]);
    assert_eq!(function.published(OUTBOUND).len(), 4);
}

#[tokio::test]
async fn serves_many_senders_at_once_over_http() {
    let function = Function::http(&[]).await;
    let requests: Vec<_> = (1..=200).map(|number| genuine(number, &format!("hello {number}"))).collect();
    let responses = join_all(requests.iter().map(|request| function.send(Transport::Http1, request))).await;
    assert!(responses.iter().all(|response| response.status == 200));
    // On a busy machine, an attempt can take too long, and another one publishes the same text.
    let published: BTreeSet<_> = function.published(OUTBOUND).into_iter().collect();
    assert_eq!(published, (1..=200).map(|number| format!("HELLO {number}")).collect());
}

/// A genuine request as it looks on the wire, with its length or in chunks.
fn on_the_wire(request: &RawRequest) -> Vec<u8> {
    let signature = String::from_utf8(request.headers[2].1.clone()).unwrap();
    let length = request.body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nmomento-signature: {signature}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), &request.body].concat()
}

/// Reads the first bytes of the response; none if the connection is closed.
async fn read_some(stream: &mut TcpStream) -> String {
    let mut response = vec![0; 64];
    let length = timeout(TIMEOUT, stream.read(&mut response)).await.expect("a response").unwrap_or(0);
    String::from_utf8_lossy(&response[..length]).into_owned()
}

#[tokio::test]
async fn finishes_request_whose_sender_goes_away() {
    let function = Function::http(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b")]).await;
    let fault = function.momento.inject(Fault::delay(Duration::from_millis(300)).on(Rpc::Publish).topic("b"));
    {
        let mut stream = TcpStream::connect(function.address()).await.unwrap();
        stream.write_all(&on_the_wire(&genuine(1, "hello"))).await.unwrap();
        timeout(TIMEOUT, fault.wait_for_hits(1)).await.expect("a publish");
    }
    let line = function.log_record(|line| line["outcome"] == "success").await;
    assert_eq!(line["Published"], 2);
    assert_eq!(function.published("b"), ["HELLO"]);
}

#[tokio::test]
async fn finishes_request_whose_sender_went_away_before_it_ends() {
    let mut function = Function::http(&[]).await;
    let fault = function.momento.inject(Fault::delay(Duration::from_millis(500)).on(Rpc::Publish));
    {
        let mut stream = TcpStream::connect(function.address()).await.unwrap();
        stream.write_all(&on_the_wire(&genuine(1, "hello"))).await.unwrap();
        timeout(TIMEOUT, fault.wait_for_hits(1)).await.expect("a publish");
    }
    function.process.terminate().await.unwrap();
    assert_eq!(function.process.ended().await.unwrap().code(), Some(0));
    assert_eq!(function.published(OUTBOUND), ["HELLO"]);
    let output = function.process.output().join("\n");
    assert!(output.contains(r#""outcome":"success""#), "{output}");
}

#[tokio::test]
async fn sender_that_closes_its_half_gets_response() {
    let function = Function::http(&[]).await;
    for number in 1..=20 {
        let mut stream = TcpStream::connect(function.address()).await.unwrap();
        stream.write_all(&on_the_wire(&genuine(number, "hello"))).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 200 "), "{number}");
    }
    assert_eq!(function.published(OUTBOUND).len(), 20);
}

#[tokio::test]
async fn closes_connections_without_request() {
    let function = Function::http(&[]).await;
    let beginnings: [&[u8]; 4] =
        [b"", b"POST / HT", b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    let closed = beginnings.map(|beginning| async {
        let mut stream = TcpStream::connect(function.address()).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let mut rest = Vec::new();
        timeout(TIMEOUT, stream.read_to_end(&mut rest)).await.is_ok()
    });
    assert_eq!(join_all(closed).await, [true; 4]);
    assert_eq!(function.deliver(Transport::Http1, 1, "hello").await.status, 200);
}

#[tokio::test]
async fn unread_log_delays_no_sender() {
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let mut child = tokio::process::Command::new(program())
        .env_clear()
        .envs(settings(&momento.endpoint(), &[]))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The first line has the address. The test reads no other, and a pipe holds 64 KiB.
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    timeout(TIMEOUT, stdout.read_line(&mut line)).await.expect("a line").unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let port: u16 = line["address"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    let client = test_support::http_client::HttpClient::http1();
    for number in 1..=300 {
        let request = genuine(number, "hello");
        let answered = client.send(([127, 0, 0, 1], port).into(), &request);
        let response = timeout(TIMEOUT, answered).await.expect("a response").unwrap();
        assert_eq!(response.status, 200, "{number}");
    }
    let terminate = format!("kill -TERM {}", child.id().unwrap());
    tokio::process::Command::new("sh").args(["-c", &terminate]).status().await.unwrap();
    let status = timeout(TIMEOUT, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
    drop(stdout);
}

#[tokio::test]
async fn unfinished_body_is_408_and_broken_body_is_400() {
    let function = Function::http(&[]).await;
    for (request, expected) in [
        ("content-length: 100\r\n\r\nonly this", "HTTP/1.1 408 "),
        ("transfer-encoding: chunked\r\n\r\nZZ\r\n", "HTTP/1.1 400 "),
    ] {
        let mut stream = TcpStream::connect(function.address()).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\nmomento-signature: {}\r\n", "0".repeat(64));
        stream.write_all(format!("{head}{request}").as_bytes()).await.unwrap();
        let response = read_some(&mut stream).await;
        assert!(response.starts_with(expected), "{response}");
    }
}

#[tokio::test]
async fn writes_one_log_record_with_metrics_per_invocation() {
    for transport in BOTH {
        let function =
            Function::start(transport, &[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b")]).await;
        function.momento.inject(Fault::error(tonic::Code::PermissionDenied).on(Rpc::Publish).topic("b"));
        assert_eq!(function.deliver(transport, 7, "hello").await.status, 422);
        let line = function.log_record(|_| true).await;
        assert_eq!(line["outcome"], "destination_refused");
        assert_eq!(
            (&line["cache"], &line["topic"], &line["topic_sequence_number"]),
            (&json!("demo"), &json!("topic 1"), &json!(7))
        );
        assert!(line["age_ms"].as_u64().unwrap() < 10_000);
        assert_eq!(line["destinations"][1]["reason"], "permission_denied");
        assert_eq!(
            (&line["Received"], &line["Published"], &line["Failed"], &line["Undelivered"]),
            (&json!(1), &json!(1), &json!(1), &json!(1))
        );
        assert!(line["Latency"].as_f64().unwrap() > 0.0);
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(metrics["Namespace"] == "TopicFanout", matches!(transport, Transport::Lambda(..)));
        assert!(line["request_id"].is_string());
        assert_eq!(line["failed_destinations"], "b");
        let lines = function.process.output();
        assert_eq!(lines.iter().filter(|line| line.contains("\"outcome\"")).count(), 1, "{lines:?}");
    }
}

#[tokio::test]
async fn each_environment_has_its_own_dedupe() {
    // A second environment of the same function has not seen the event, and publishes it again.
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    let request = genuine(1, "hello");
    for _ in 0..2 {
        let process = Process::start(program(), settings(&momento.endpoint(), &[])).unwrap();
        let port = listening(&process).await;
        let client = test_support::http_client::HttpClient::http1();
        let response = client.send(([127, 0, 0, 1], port).into(), &request).await.unwrap();
        assert_eq!(response.json()["status"], "success");
    }
    assert_eq!(momento.published(CACHE, OUTBOUND).len(), 2);
}

#[tokio::test]
async fn payload_of_six_megabytes_is_413() {
    // 6 MB is what Lambda accepts: the payload of a body of 4.5 MB in base64.
    let function = Function::lambda(&[]).await;
    let request = test_support::signed::post(crate::support::SECRET, vec![b'x'; 4_500_000]).unwrap();
    let payload = Gateway::HttpApi.payload(&request, true).unwrap();
    let response = function.invoke(payload.to_string().into_bytes()).await;
    assert_eq!(response["statusCode"], 413);
}

#[tokio::test]
async fn closes_connection_after_idle_timeout() {
    let function = Function::http(&[("HTTP_IDLE_TIMEOUT_SECONDS", "1")]).await;
    let mut connection = TcpStream::connect(function.address()).await.unwrap();
    connection.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let started = std::time::Instant::now();
    let mut received = Vec::new();
    connection.read_to_end(&mut received).await.unwrap();
    assert!(received.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&received));
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}
