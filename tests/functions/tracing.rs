//! The trace of an event: which headers are read, logged and passed on.

use serde_json::{Value, json};
use test_support::gateway::Gateway;
use test_support::http_client::HttpClient;
use test_support::signed::RawRequest;

use crate::support::{BOTH, Function, OUTBOUND, Transport, genuine};

const HTTP: Transport = BOTH[1];
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-53995c3f42cd8ad9-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

/// The trace header of the Runtime API, unless a test sets another.
const OWN: &str = "65957ef60123456789abcdef01234567";

fn with(request: RawRequest, headers: &[(&str, &str)]) -> RawRequest {
    let more = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    RawRequest { headers: request.headers.into_iter().chain(more).collect(), ..request }
}

/// Sends an event to a function in Lambda through a gateway that adds no X-Ray header. A function URL adds one.
async fn deliver_bare(function: &Function, number: u64) {
    let mut payload = Gateway::FunctionUrl.payload(&genuine(number, "hello"), false).unwrap();
    payload["headers"].as_object_mut().unwrap().remove("x-amzn-trace-id").unwrap();
    assert_eq!(function.invoke(payload.to_string().into_bytes()).await["statusCode"], 200, "{number}");
}

/// Waits for the log record of the event with this number.
async fn line(function: &Function, number: u64) -> Value {
    function.log_record(|line| line["topic_sequence_number"] == number).await
}

#[tokio::test]
async fn log_record_has_trace_of_event() {
    for transport in BOTH {
        let function = Function::start(transport, &[]).await;
        let sent = [
            ("traceparent", TRACEPARENT, TRACE, "1-4bf92f35-77b34da6a3ce929d0e0e4736"),
            (
                "x-amzn-trace-id",
                XRAY,
                "5759e988bd862e3fe1be46a994272793",
                "1-5759e988-bd862e3fe1be46a994272793",
            ),
        ];
        for (number, (name, value, trace, xray)) in (1..).zip(sent) {
            let response = function.send(transport, &with(genuine(number, "hello"), &[(name, value)])).await;
            assert_eq!(response.status, 200, "{transport:?} {name}");
            let line = line(&function, number).await;
            assert_eq!(
                (&line["trace_id"], &line["xray_trace_id"]),
                (&json!(trace), &json!(xray)),
                "{transport:?}"
            );
        }
    }
}

#[tokio::test]
async fn log_record_has_trace_of_lambda_if_request_has_none() {
    let function = Function::lambda(&[]).await;
    let transport = BOTH[0];
    deliver_bare(&function, 1).await;
    assert_eq!(line(&function, 1).await["trace_id"], OWN);

    // A trace that X-Ray records is preferred: it shows more than the one of the request.
    let runtime_api = function.runtime_api.as_ref().unwrap();
    runtime_api.trace(
        "Root=1-65957ef6-fedcba9876543210fedcba98;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0",
    );
    function.send(transport, &with(genuine(2, "hello"), &[("x-amzn-trace-id", XRAY)])).await;
    let recorded = line(&function, 2).await;
    assert_eq!(recorded["xray_trace_id"], "1-65957ef6-fedcba9876543210fedcba98");

    runtime_api.trace("nonsense");
    deliver_bare(&function, 3).await;
    assert_eq!(line(&function, 3).await.get("trace_id"), None);
}

#[tokio::test]
async fn ignores_malformed_trace_headers() {
    let function = Function::http(&[]).await;
    let long = "0".repeat(4_000);
    let wrong: [&[(&str, &str)]; 7] = [
        &[("traceparent", "")],
        &[("traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-53995c3f42cd8ad9-01")],
        &[("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)],
        &[("traceparent", "ff-\",\"trace_id\":\"-00"), ("tracestate", "a=1")],
        &[("tracestate", "a=1")],
        &[("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=maybe")],
        &[("traceparent", &long), ("x-amzn-trace-id", &long)],
    ];
    for (number, headers) in (1..).zip(wrong) {
        let response = function.send(HTTP, &with(genuine(number, "hello"), headers)).await;
        assert_eq!(response.status, 200, "{headers:?}");
        let line = line(&function, number).await;
        assert_eq!((line.get("trace_id"), line.get("xray_trace_id")), (None, None), "{headers:?}");
    }
    assert_eq!(function.published(OUTBOUND).len(), wrong.len());
}

#[tokio::test]
async fn rejected_request_writes_no_header_to_log() {
    let function = Function::http(&[]).await;
    let forged = RawRequest { headers: Vec::new(), ..genuine(1, "hello") };
    let response = function.send(HTTP, &with(forged, &[("traceparent", TRACEPARENT)])).await;
    assert_eq!(response.status, 403);
    let refused = function.log_record(|line| line["status"] == 403).await;
    assert_eq!(refused.get("trace_id"), None, "{refused}");
    // A health check writes no header either.
    let health = RawRequest { method: "GET".into(), path: Some("/health"), ..genuine(2, "") };
    let response =
        HttpClient::http1().send(function.address(), &with(health, &[("traceparent", TRACEPARENT)])).await;
    assert_eq!(response.unwrap().status, 200);
}

#[cfg(feature = "aws")]
mod onward {
    use momento_local::{Fault, MomentoLocal, Rpc};
    use test_support::aws_server::{AwsServer, record};
    use test_support::process::Process;
    use test_support::runtime_api::RuntimeApi;
    use test_support::signed;
    use tonic::Code;

    use super::*;
    use crate::support::{CACHE, INBOUND, program, settings};

    const DEAD: &str = "dead-letters";

    async fn start(queues: &AwsServer, with: &[(&str, &str)]) -> Function {
        let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
        let runtime_api = RuntimeApi::start().await.unwrap();
        let mut environment = settings(&momento.endpoint(), with);
        environment.extend(queues.environment());
        environment.extend(runtime_api.environment());
        let process = Process::start(program(), environment).unwrap();
        Function::over(momento, process, Some(runtime_api), 0)
    }

    fn header(message: &Value) -> Option<&str> {
        let attribute = &message["MessageSystemAttributes"]["AWSTraceHeader"];
        assert!(attribute.is_null() || attribute["DataType"] == "String", "{message}");
        attribute["StringValue"].as_str()
    }

    #[tokio::test]
    async fn dead_letter_has_trace_of_its_message() {
        let queues = AwsServer::start().await.unwrap();
        let function = start(&queues, &[("DEAD_LETTER_QUEUE_URL", &queues.queue_url(DEAD))]).await;
        let runtime_api = function.runtime_api.as_ref().unwrap();
        runtime_api.trace(
            "Root=1-65957ef6-fedcba9876543210fedcba98;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=1:a87bd80c:0",
        );
        function.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Publish).topic(OUTBOUND));

        let event = signed::event(CACHE, INBOUND, 1, "hello").to_json();
        let mut message = record("events", "1", &event);
        message["attributes"]["AWSTraceHeader"] = json!(XRAY);
        function.invoke(json!({ "Records": [message] }).to_string().into_bytes()).await;
        assert_eq!(line(&function, 1).await["trace_id"], "5759e988bd862e3fe1be46a994272793");

        // One request with its own trace header, and one with Lambda's header only.
        function.send(BOTH[0], &with(genuine(2, "hello"), &[("traceparent", TRACEPARENT)])).await;
        deliver_bare(&function, 3).await;

        let [of_record, of_request, of_lambda] = &queues.sent(DEAD)[..] else {
            panic!("{:?}", queues.sent(DEAD))
        };
        // All carry Lambda's lineage, by which AWS detects that a queue leads back to its function.
        let lineage = ";Lineage=1:a87bd80c:0";
        assert_eq!(header(of_record), Some(format!("{XRAY}{lineage}").as_str()));
        let parent = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=53995c3f42cd8ad9;Sampled=1";
        assert_eq!(header(of_request), Some(format!("{parent}{lineage}").as_str()));
        let own = "Root=1-65957ef6-fedcba9876543210fedcba98;Parent=53995c3f42cd8ad8;Sampled=0";
        assert_eq!(header(of_lambda), Some(format!("{own}{lineage}").as_str()));
    }

    #[tokio::test]
    async fn queue_gets_trace_only_if_there_is_one() {
        let queues = AwsServer::start().await.unwrap();
        let file = format!(
            "[[routes]]\ntopic = '{INBOUND}'\ndestinations = [{{ sqs = {{ queue = '{}' }} }}]\n",
            queues.queue_url("orders")
        );
        let with_file = [("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", file.as_str())];
        let function = start(&queues, &with_file).await;
        function.runtime_api.as_ref().unwrap().trace("none");
        let response =
            function.send(BOTH[0], &with(genuine(1, "hello"), &[("traceparent", TRACEPARENT)])).await;
        assert_eq!(response.status, 200, "{}", response.body);
        deliver_bare(&function, 2).await;
        let [traced, plain] = &queues.sent("orders")[..] else { panic!("{:?}", queues.sent("orders")) };
        let parent = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=53995c3f42cd8ad9;Sampled=1";
        assert_eq!(header(traced), Some(parent));
        assert_eq!(header(plain), None);

        // Each request names its caller.
        let agents = queues.user_agents();
        let name = concat!("app/topic-fanout-", env!("CARGO_PKG_VERSION"));
        assert!(!agents.is_empty() && agents.iter().all(|agent| agent.contains(name)), "{agents:?}");
    }
}
