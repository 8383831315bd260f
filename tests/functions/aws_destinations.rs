//! AWS destinations: queues, buses, tables and state machines, against a server that speaks their protocols.

use std::time::Instant;

use momento_webhook::Event;
use serde_json::{Value, json};
use test_support::AwsResponse;
use test_support::aws_server::{AwsRequest, AwsServer, event_failed, transaction_cancelled};
use test_support::signed;

use crate::support::{BOTH, CACHE, Function, SECRET, Transport};

/// The trace that the Runtime API of the tests gives to an invocation.
const TRACE: &str = "Root=1-65957ef6-0123456789abcdef01234567;Sampled=0";
const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:orders";
const QUEUE: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders";

/// Returns a topic and one AWS destination of each kind, with the required settings only.
fn kinds() -> [String; 6] {
    [
        "topic = 'friends-out'".to_owned(),
        format!("sqs = {{ queue = '{QUEUE}' }}"),
        "eventbridge = {}".to_owned(),
        "dynamodb = { table = 'messages', key = { id = '{event_id}' }, item = { text = '{text}' } }"
            .to_owned(),
        "dynamodb = { table = 'rooms', key = { room = '{room}' }, update = { add = { messages = 1 } } }"
            .to_owned(),
        format!("step_functions = {{ state_machine = '{MACHINE}' }}"),
    ]
}

/// The operation of each AWS destination.
const OPERATIONS: [&str; 5] = ["SendMessage", "PutEvents", "PutItem", "TransactWriteItems", "StartExecution"];

/// A function whose route leads to a server of AWS.
struct WithAws {
    function: Function,
    aws: AwsServer,
    transport: Transport,
}

impl WithAws {
    /// Starts a function with a route to these destinations.
    async fn start(transport: Transport, destinations: &[String]) -> Self {
        Self::with(transport, destinations, &[("RUST_LOG", "debug")]).await
    }

    /// Starts a function with a route to these destinations, and with more settings.
    async fn with(transport: Transport, destinations: &[String], more: &[(&str, &str)]) -> Self {
        let aws = AwsServer::start().await.unwrap();
        let destinations: Vec<_> = destinations.iter().map(|settings| format!("{{ {settings} }}")).collect();
        let file = format!(
            "[[routes]]\ntopic = '{{room}}-publish'\ntransforms = ['uppercase']\ndestinations = [{}]",
            destinations.join(",\n")
        );
        let environment = aws.environment();
        let mut settings = vec![("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", &*file)];
        settings.extend(more);
        settings.extend(environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let function = Function::start(transport, &settings).await;
        Self { function, aws, transport }
    }

    async fn one(settings: &str) -> Self {
        Self::start(Transport::Http1, &[settings.to_owned()]).await
    }

    async fn send(&self, event: &Event) -> (u16, Value) {
        let response =
            self.function.send(self.transport, &signed::post(SECRET, event.to_json()).unwrap()).await;
        (response.status, response.json())
    }

    fn received(&self, operation: &str) -> Vec<Value> {
        let requests = self.aws.requests().into_iter();
        requests.filter(|request| request.operation == operation).map(|request| request.body).collect()
    }
}

fn event(number: u64, text: &str) -> Event {
    signed::event(CACHE, "friends-publish", number, text)
}

/// Returns the event with the text that the route's transform makes of it.
fn transformed(event: &Event) -> Event {
    Event { text: event.text.to_uppercase(), ..event.clone() }
}

fn request(operation: &str, body: Value) -> AwsRequest {
    AwsRequest { operation: operation.to_owned(), body }
}

/// Removes a member from a request, and returns it.
fn remove(body: &mut Value, member: &str) -> Option<Value> {
    body.as_object_mut().unwrap().remove(member)
}

fn statuses(response: &Value) -> Vec<&str> {
    response["destinations"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn sends_event_to_each_kind() {
    for transport in BOTH {
        let aws_destinations = WithAws::start(transport, &kinds()).await;
        let event = event(7, "Hello");
        let (status, response) = aws_destinations.send(&event).await;
        assert_eq!((status, &response["status"]), (200, &json!("success")), "{transport:?}: {response}");
        let aws_destination = |kind: &str, name: &str| json!({"kind": kind, "name": name, "status": "published", "attempts": 1});
        assert_eq!(
            response["destinations"],
            json!([
                {"cache": CACHE, "topic": "friends-out", "status": "published", "attempts": 1},
                aws_destination("sqs", "orders"),
                aws_destination("eventbridge", "default"),
                aws_destination("dynamodb", "messages"),
                aws_destination("dynamodb", "rooms"),
                aws_destination("step_functions", "orders"),
            ])
        );
        assert_eq!(aws_destinations.function.published("friends-out"), ["HELLO"]);

        let token = aws_destinations.received("TransactWriteItems")[0]["ClientRequestToken"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(token.len(), 36);
        let name = aws_destinations.received("StartExecution")[0]["name"].as_str().unwrap().to_owned();
        assert_eq!(name.len(), 64);
        let mut requests = aws_destinations.aws.requests();
        requests.sort_by_key(|request| OPERATIONS.iter().position(|known| *known == request.operation));
        // A time has milliseconds, without trailing zeros.
        let time = requests[1].body["Entries"][0]["Time"].take();
        let millis = u32::try_from(event.event_timestamp % 1_000).unwrap();
        let seconds = u32::try_from(event.event_timestamp / 1_000).unwrap();
        assert!(
            (time.as_f64().unwrap() - f64::from(seconds) - f64::from(millis) / 1e3).abs() < 1e-4,
            "{time}"
        );
        // Lambda has a trace for every invocation, and each request carries it.
        let traced = matches!(transport, Transport::Lambda(..)).then(|| json!(TRACE));
        let attribute = traced
            .as_ref()
            .map(|trace| json!({"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}));
        assert_eq!(remove(&mut requests[0].body, "MessageSystemAttributes"), attribute);
        assert_eq!(remove(&mut requests[1].body["Entries"][0], "TraceHeader"), traced);
        assert_eq!(remove(&mut requests[4].body, "traceHeader"), traced);
        let json = transformed(&event).to_json();
        assert_eq!(
            requests,
            [
                request("SendMessage", json!({"QueueUrl": QUEUE, "MessageBody": "HELLO"})),
                request(
                    "PutEvents",
                    json!({"Entries": [{
                        "EventBusName": "default", "Source": "Momento",
                        "DetailType": format!("{CACHE}#friends-publish"), "Detail": json, "Time": null,
                    }]})
                ),
                request(
                    "PutItem",
                    json!({
                        "TableName": "messages", "Item": {"id": {"S": event.id()}, "text": {"S": "HELLO"}},
                        "ConditionExpression": "attribute_not_exists(#k)",
                        "ExpressionAttributeNames": {"#k": "id"},
                    })
                ),
                request(
                    "TransactWriteItems",
                    json!({
                        "ClientRequestToken": token,
                        "TransactItems": [{"Update": {
                            "TableName": "rooms", "Key": {"room": {"S": "friends"}},
                            "UpdateExpression": "ADD #a0 :a0", "ExpressionAttributeNames": {"#a0": "messages"},
                            "ExpressionAttributeValues": {":a0": {"N": "1"}},
                        }}],
                    })
                ),
                request("StartExecution", json!({"stateMachineArn": MACHINE, "name": name, "input": json})),
            ]
        );
    }
}

#[tokio::test]
async fn sends_all_settings_of_destination() {
    let aws_destinations = WithAws::start(
        Transport::Http1,
        &[
            format!(
                "sqs = {{ queue = '{QUEUE}', body = 'event', group = '{{room}}', delay_seconds = 5, attributes = {{ room = '{{room}}', by = '{{token_id}}' }} }}"
            ),
            format!("sqs = {{ queue = '{QUEUE}.fifo', group = '{{room}}', deduplication = '{{topic_sequence_number}}' }}"),
            "eventbridge = { bus = 'orders', detail = { room = '{room}' }, resources = ['arn:{room}'] }".to_owned(),
            "dynamodb = { table = 'table', key = { name = '{room}', at = { number = '{topic_sequence_number}' } }, unless_exists = false,
              item = { size = true, json = { json = '{\"{\"}\"a\": [1, null, \"b\"]{\"}\"}' }, by = '{token_id}' } }".to_owned(),
            "dynamodb = { table = 'table', key = { name = 'a' }, update = { set = { last = '{text}', size = 2 }, add = { count = 1 } } }".to_owned(),
        ],
    )
    .await;
    let event = event(7, "Hello");
    let (status, response) = aws_destinations.send(&event).await;
    assert_eq!(status, 200, "{response}");
    let queued = aws_destinations.received("SendMessage");
    let queued = |queue: &str| queued.iter().find(|body| body["QueueUrl"] == queue).cloned();
    assert_eq!(
        queued(QUEUE).unwrap(),
        json!({
            "QueueUrl": QUEUE, "MessageBody": transformed(&event).to_json(), "MessageGroupId": "friends",
            "DelaySeconds": 5,
            "MessageAttributes": {"room": {"DataType": "String", "StringValue": "friends"}},
        })
    );
    let fifo = format!("{QUEUE}.fifo");
    assert_eq!(
        queued(&fifo).unwrap(),
        json!({
            "QueueUrl": fifo, "MessageBody": "HELLO", "MessageGroupId": "friends", "MessageDeduplicationId": "7",
        })
    );
    let entry = &aws_destinations.received("PutEvents")[0]["Entries"][0];
    assert_eq!(
        (&entry["EventBusName"], &entry["Detail"], &entry["Resources"]),
        (&json!("orders"), &json!(r#"{"room":"friends"}"#), &json!(["arn:friends"]))
    );
    assert_eq!(
        aws_destinations.received("PutItem"),
        [json!({
            "TableName": "table",
            "Item": {
                "name": {"S": "friends"}, "at": {"N": "7"}, "size": {"BOOL": true},
                "json": {"M": {"a": {"L": [{"N": "1"}, {"NULL": true}, {"S": "b"}]}}},
            },
        })]
    );
    let update = &aws_destinations.received("TransactWriteItems")[0]["TransactItems"][0]["Update"];
    assert_eq!(
        update,
        &json!({
            "TableName": "table", "Key": {"name": {"S": "a"}},
            "UpdateExpression": "SET #s0 = :s0, #s1 = :s1 ADD #a0 :a0",
            "ExpressionAttributeNames": {"#s0": "last", "#s1": "size", "#a0": "count"},
            "ExpressionAttributeValues": {":s0": {"S": "HELLO"}, ":s1": {"N": "2"}, ":a0": {"N": "1"}},
        })
    );
}

#[tokio::test]
async fn json_value_is_sent_whole_or_refused() {
    let settings =
        "dynamodb = { table = 'table', key = { id = '{event_id}' }, item = { doc = { json = '{text}' } } }";
    let aws = WithAws::start(
        Transport::Http1,
        &[settings.to_owned(), "eventbridge = { detail = { of = { json = '{text}' } } }".to_owned()],
    )
    .await;
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    for (number, text) in [(1, r#"{"A":"\uD800"}"#), (2, &deep), (3, "{")] {
        let (status, response) = aws.send(&event(number, text)).await;
        assert_eq!((status, statuses(&response)), (422, vec!["refused"; 2]), "{text}: {response}");
        assert_eq!(response["destinations"][0]["detail"], "`doc` is not JSON");
    }
    assert_eq!(aws.aws.requests(), []);
    let text = r#"{"LONG":123456789012345678901234567890,"FINE":0.1234567890123456789}"#;
    let (status, response) = aws.send(&event(4, text)).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(
        aws.received("PutItem")[0]["Item"]["doc"],
        json!({"M": {"LONG": {"N": "123456789012345678901234567890"}, "FINE": {"N": "0.1234567890123456789"}}})
    );
    assert_eq!(aws.received("PutEvents")[0]["Entries"][0]["Detail"], format!(r#"{{"of":{text}}}"#));
}

#[tokio::test]
async fn response_without_result_is_failure() {
    let queue = format!("sqs = {{ queue = '{QUEUE}' }}");
    let machine = format!("step_functions = {{ state_machine = '{MACHINE}' }}");
    let aws_destinations =
        WithAws::start(Transport::Http1, &[queue, "eventbridge = {}".to_owned(), machine]).await;
    let failed = json!({"Entries": [{"ErrorCode": "InternalFailure"}]});
    for body in [json!({}), failed] {
        for operation in ["SendMessage", "PutEvents", "StartExecution"] {
            aws_destinations.aws.script(operation, vec![AwsResponse::success(body.clone()); 9]);
        }
    }
    let (status, response) = aws_destinations.send(&event(1, "Hello")).await;
    assert_eq!((status, statuses(&response)), (503, vec!["failed"; 3]), "{response}");
}

/// A chain can return another text at a second delivery, for example if the translator was not available at the first one.
#[tokio::test]
async fn deduplication_id_does_not_depend_on_text() {
    let fifo = |chain: &str| format!("sqs = {{ queue = '{QUEUE}.fifo' }}, transforms = [{chain}]");
    let counter = |chain: &str| {
        format!(
            "dynamodb = {{ table = 'table', key = {{ a = 'b' }}, update = {{ add = {{ n = 1 }} }} }}, transforms = [{chain}]"
        )
    };
    let passing = "{ translate = { target = 'de', on_failure = 'pass' } }";
    let destinations = ["", "'trim'", passing].map(|chain| [fifo(chain), counter(chain)]).concat();
    let [first, again] = [
        WithAws::start(Transport::Http1, &destinations).await,
        WithAws::start(Transport::Http1, &destinations).await,
    ];
    let event = event(7, "123");
    assert_eq!(first.send(&event).await.0, 200);
    // The second function gets another text.
    assert_eq!(again.send(&Event { text: "456".to_owned(), ..event }).await.0, 200);
    let ids = |aws_destinations: &WithAws, operation: &str, member: &str| {
        let ids: std::collections::BTreeSet<_> = aws_destinations
            .received(operation)
            .into_iter()
            .map(|body| body[member].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 3, "one for each of three chains: {ids:?}");
        ids
    };
    for (operation, member) in
        [("SendMessage", "MessageDeduplicationId"), ("TransactWriteItems", "ClientRequestToken")]
    {
        assert_eq!(ids(&first, operation, member), ids(&again, operation, member));
    }
}

#[tokio::test]
async fn log_does_not_show_session_token() {
    for transport in BOTH {
        let mut with = kinds().to_vec();
        with.rotate_left(1);
        let aws_destinations = WithAws::with(
            transport,
            &with,
            &[("RUST_LOG", "trace"), ("AWS_SESSION_TOKEN", "t0k3n-0f-th3-s3ss10n")],
        )
        .await;
        assert_eq!(aws_destinations.send(&event(1, "a pr1vate text")).await.0, 200);
        let log = aws_destinations.function.process.output().join("\n").to_lowercase();
        assert!(log.contains("\"trace\"") || log.contains(" trace "), "{log}");
        for secret in ["t0k3n-0f-th3-s3ss10n", "pr1vate", "aws4-hmac"] {
            assert!(!log.contains(secret), "{secret}");
        }
    }
}

#[tokio::test]
async fn fifo_queue_gets_topic_as_group_and_same_id_for_same_text() {
    let aws_destinations = WithAws::one(&format!("sqs = {{ queue = '{QUEUE}.fifo' }}")).await;
    let event = event(7, "Hello");
    // The response is lost, and the function sends the message again.
    aws_destinations.aws.script("SendMessage", [AwsResponse::Cut]);
    let (status, response) = aws_destinations.send(&event).await;
    assert_eq!((status, &response["destinations"][0]["attempts"]), (200, &json!(2)), "{response}");
    let received = aws_destinations.received("SendMessage");
    assert_eq!(received[0], received[1]);
    assert_eq!(received[0]["MessageGroupId"], format!("{CACHE}#friends-publish"));
    assert_eq!(received[0]["MessageDeduplicationId"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn retries_transient_failure() {
    let throttled = |kind: &str| AwsResponse::error(400, kind);
    for (place, responses) in [
        (1, vec![throttled("RequestThrottled"), AwsResponse::error(500, "InternalFailure")]),
        (2, vec![throttled("ThrottlingException"), AwsResponse::Cut]),
        (2, vec![event_failed("ThrottlingException"), event_failed("InternalFailure")]),
        (
            3,
            vec![
                throttled("ProvisionedThroughputExceededException"),
                throttled("TransactionConflictException"),
            ],
        ),
        (4, vec![transaction_cancelled("TransactionConflict"), transaction_cancelled("ThrottlingError")]),
        (4, vec![throttled("TransactionInProgressException"), AwsResponse::Cut]),
        (5, vec![throttled("ThrottlingException"), throttled("KmsThrottlingException")]),
    ] {
        let (case, settings) = (format!("{responses:?}"), kinds()[place].clone());
        let aws_destinations = WithAws::one(&settings).await;
        aws_destinations.aws.script(OPERATIONS[place - 1], responses);
        let (status, response) = aws_destinations.send(&event(1, "Hello")).await;
        assert_eq!(
            (status, &response["destinations"][0]["attempts"]),
            (200, &json!(3)),
            "{case}: {response}"
        );
        let received = aws_destinations.received(OPERATIONS[place - 1]);
        assert!(received.len() == 3 && received.iter().all(|one| *one == received[0]), "{case}");
    }
}

#[tokio::test]
async fn gives_up_after_five_attempts() {
    for (place, response, reason) in [
        (1, AwsResponse::error(400, "RequestThrottled"), "rate_limited"),
        (2, event_failed("InternalFailure"), "internal"),
        (4, transaction_cancelled("TransactionConflict"), "unavailable"),
    ] {
        let aws_destinations = WithAws::one(&kinds()[place]).await;
        aws_destinations.aws.script(OPERATIONS[place - 1], vec![response; 20]);
        let (status, response) = aws_destinations.send(&event(1, "Hello")).await;
        let destination = &response["destinations"][0];
        assert_eq!(
            (status, &destination["status"], &destination["reason"], &destination["attempts"]),
            (503, &json!("failed"), &json!(reason), &json!(5)),
            "{response}"
        );
        assert_eq!(aws_destinations.aws.requests().len(), 5);
    }
}

#[tokio::test]
async fn refuses_permanent_failure_at_once() {
    let older = AwsResponse::Json {
        status: 400,
        body: json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist"}),
        query_error: Some("AWS.SimpleQueueService.NonExistentQueue"),
    };
    for (place, response, reason) in [
        (1, older, "not_found"),
        (1, AwsResponse::error(400, "AccessDeniedException"), "permission_denied"),
        (2, AwsResponse::error(400, "AccessDeniedException"), "permission_denied"),
        (2, event_failed("MalformedDetail"), "invalid_argument"),
        (2, event_failed("SomethingNew"), "invalid_argument"),
        (3, AwsResponse::error(400, "AccessDeniedException"), "permission_denied"),
        (3, AwsResponse::error(400, "ResourceNotFoundException"), "not_found"),
        (3, AwsResponse::error(400, "ItemCollectionSizeLimitExceededException"), "too_large"),
        (4, transaction_cancelled("ValidationError"), "invalid_argument"),
        (4, AwsResponse::error(400, "ResourceNotFoundException"), "not_found"),
        (5, AwsResponse::error(400, "AccessDeniedException"), "permission_denied"),
        (5, AwsResponse::error(400, "StateMachineDoesNotExist"), "not_found"),
        (5, AwsResponse::error(400, "InvalidExecutionInput"), "invalid_argument"),
    ] {
        let case = format!("{response:?}");
        let aws_destinations = WithAws::one(&kinds()[place]).await;
        aws_destinations.aws.script(OPERATIONS[place - 1], [response]);
        let (status, response) = aws_destinations.send(&event(1, "Hello")).await;
        let destination = &response["destinations"][0];
        assert_eq!(
            (status, &destination["status"], &destination["reason"], &destination["attempts"]),
            (422, &json!("refused"), &json!(reason), &json!(1)),
            "{case}: {response}"
        );
        assert_eq!(aws_destinations.aws.requests().len(), 1, "{case}");
    }
}

/// Two functions share no memory, so only the services know of the first delivery.
#[tokio::test]
async fn second_delivery_to_another_function_has_no_effect() {
    let [first, second] =
        [WithAws::start(Transport::Http1, &kinds()).await, WithAws::start(Transport::Http1, &kinds()).await];
    let event = event(7, "Hello");
    first.send(&event).await;
    // The second function uses the server of the first one.
    let there = first.aws;
    drop(second);
    let environment = there.environment();
    let file = format!(
        "[[routes]]\ntopic = '{{room}}-publish'\ntransforms = ['uppercase']\ndestinations = [{{ {} }}]",
        kinds().join("}, {")
    );
    let mut settings = vec![("OUTBOUND_TOPIC", ""), ("TRANSFORM", ""), ("FANOUT_CONFIG", &*file)];
    settings.extend(environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let second =
        WithAws { function: Function::http(&settings).await, aws: there, transport: Transport::Http1 };
    let again = Event { publish_timestamp: event.publish_timestamp + 1, ..event };
    let (status, response) = second.send(&again).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(
        statuses(&response),
        // The service knows the token of the counter and does not count again, but its response does not say so.
        ["published", "published", "published", "already_published", "published", "already_published"]
    );
    let counted = second.received("TransactWriteItems");
    assert_eq!(counted[0], counted[1], "the same token for the same change");
}

#[tokio::test]
async fn change_that_differs_at_each_delivery_is_made_once() {
    let settings = "dynamodb = { table = 'table', key = { a = 'b' }, update = { set = { at = '{publish_timestamp}' } } }";
    let aws_destinations = WithAws::one(settings).await;
    let first = event(7, "Hello");
    let again = Event { publish_timestamp: first.publish_timestamp + 1, ..first.clone() };
    // The function does not remember an event whose delivery failed.
    aws_destinations.aws.script("TransactWriteItems", vec![AwsResponse::Cut; 5]);
    assert_eq!(aws_destinations.send(&first).await.0, 503);
    let (status, response) = aws_destinations.send(&again).await;
    assert_eq!((status, statuses(&response)), (200, vec!["already_published"]), "{response}");
}

#[tokio::test]
async fn second_delivery_retries_only_failed_destination() {
    for transport in BOTH {
        let aws_destinations = WithAws::start(transport, &kinds()).await;
        aws_destinations.aws.script("PutEvents", [AwsResponse::error(400, "AccessDeniedException")]);
        let event = event(1, "Hello");
        let (status, response) = aws_destinations.send(&event).await;
        let mut expected = ["published"; 6];
        expected[2] = "refused";
        assert_eq!((status, statuses(&response)), (422, expected.to_vec()), "{transport:?}: {response}");
        let (status, response) = aws_destinations.send(&event).await;
        assert_eq!(status, 200, "{response}");
        for operation in OPERATIONS {
            let many = if operation == "PutEvents" { 2 } else { 1 };
            assert_eq!(aws_destinations.received(operation).len(), many, "{operation}");
        }
        assert_eq!(aws_destinations.function.published("friends-out"), ["HELLO"]);
    }
}

#[tokio::test]
async fn service_that_hangs_fails_before_deadline_and_delays_no_topic() {
    for transport in BOTH {
        let aws_destinations = WithAws::start(transport, &kinds()).await;
        aws_destinations.aws.script("SendMessage", vec![AwsResponse::Hang; 20]);
        let begun = Instant::now();
        let (status, response) = aws_destinations.send(&event(1, "Hello")).await;
        assert!(begun.elapsed().as_secs_f64() < 4.5, "{:?}", begun.elapsed());
        assert_eq!(status, 503, "{response}");
        let destination = &response["destinations"][1];
        assert_eq!(
            (&destination["name"], &destination["status"], &destination["reason"]),
            (&json!("orders"), &json!("failed"), &json!("timed_out"))
        );
        assert_eq!(statuses(&response).iter().filter(|status| **status == "published").count(), 5);
        assert_eq!(aws_destinations.function.published("friends-out"), ["HELLO"]);
    }
}

#[tokio::test]
async fn error_names_field_that_event_lacks() {
    let aws_destinations = WithAws::start(
        Transport::Http1,
        &[
            format!("sqs = {{ queue = '{QUEUE}.fifo', group = '{{token_id}}' }}"),
            "dynamodb = { table = 'table', key = { by = '{token_id}' }, item = {} }".to_owned(),
            "eventbridge = { detail = 'text' }".to_owned(),
            format!("sqs = {{ queue = '{QUEUE}', attributes = {{ by = '{{token_id}}' }} }}"),
        ],
    )
    .await;
    let (status, response) = aws_destinations.send(&Event { token_id: None, ..event(1, "Hello") }).await;
    assert_eq!(status, 422, "{response}");
    let refused = |kind: &str, name: &str, detail: &str| {
        json!({
            "kind": kind, "name": name, "status": "refused", "reason": "invalid_argument", "detail": detail,
        })
    };
    assert_eq!(response["destinations"][0], refused("sqs", "orders.fifo", "the event has no token_id"));
    assert_eq!(response["destinations"][1], refused("dynamodb", "table", "the event has no token_id"));
    assert_eq!(
        response["destinations"][2],
        refused("eventbridge", "default", "the text is not a JSON object")
    );
    assert_eq!(response["destinations"][3]["status"], "published");
    assert_eq!(aws_destinations.aws.requests().len(), 1);
}

#[tokio::test]
async fn log_does_not_show_text_at_level_debug() {
    let aws_destinations = WithAws::start(Transport::Http1, &kinds()).await;
    aws_destinations.aws.script("PutItem", [AwsResponse::error(400, "ValidationException")]);
    aws_destinations.send(&event(1, "a private text")).await;
    aws_destinations.function.log_record(|line| line["outcome"] == "destination_refused").await;
    let output = aws_destinations.function.process.output().join("\n");
    assert!(!output.to_lowercase().contains("private"), "{output}");
}
