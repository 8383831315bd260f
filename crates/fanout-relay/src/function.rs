//! A function of AWS Lambda as a target. It needs no public URL.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::function::{FunctionArn, FunctionInvoker, Invoked};
use fanout_core::reason::Reason;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use momento_webhook::Millis;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::body::BodyKind;
use crate::schedule::{Attempt, Target};
use crate::spool::Spooled;
use crate::webhook::deliver::{RETRY, signed};
use crate::webhook::post::PostResponse;
use crate::webhook::signer::Signer;
use crate::webhook::{excerpt, result};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Invokes a function with each message, as its function URL would with a webhook.
pub struct FunctionTarget {
    function: FunctionArn,
    signer: Signer,
    invoker: Arc<dyn FunctionInvoker>,
}

impl FunctionTarget {
    /// Returns the target for a function, which verifies the signatures of `signer`.
    #[must_use]
    pub fn new(function: FunctionArn, signer: Signer, invoker: Arc<dyn FunctionInvoker>) -> Self {
        Self { function, signer, invoker }
    }

    async fn attempt(&self, message: &Spooled) -> Attempt {
        let (mut event, kind) = BodyKind::of(message);
        event.publish_timestamp = SystemClock.now();
        let (headers, body) = match signed(&self.signer, &event, kind) {
            Ok(signed) => signed,
            Err(error) => return Attempt::Permanent { error: error.to_string() },
        };
        let payload = payload(&headers, &body, &kind.id(&event), event.publish_timestamp);
        let deadline = Instant::now() + RETRY.attempt_timeout;
        let transient = |error| Attempt::Transient { error, retry_after: None, progress: None };
        match self.invoker.invoke(&self.function, payload, deadline).await {
            Ok(Invoked::Responded(payload)) => result(response(&payload).into_result()),
            Ok(Invoked::Failed(payload)) => {
                transient(format!("the function failed: {}", excerpt(&String::from_utf8_lossy(&payload))))
            }
            Err(failure) if failure.reason == Reason::TooLarge => {
                Attempt::Permanent { error: failure.to_string() }
            }
            // A missing function or permission is a fault of the target, and not of the message.
            Err(failure) => transient(failure.to_string()),
        }
    }
}

impl Target for FunctionTarget {
    fn deliver<'a>(&'a self, message: &'a Spooled) -> BoxFuture<'a, Attempt> {
        Box::pin(self.attempt(message))
    }
}

impl fmt::Debug for FunctionTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.as_str())
    }
}

/// Returns the payload of a function URL, in the format 2.0.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>.
fn payload(headers: &HeaderMap, body: &str, id: &str, now: Millis) -> Vec<u8> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let user_agent = headers.get(header::USER_AGENT).map(text);
    let headers: Map<_, _> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value).into())).collect();
    let payload = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "relay",
            "domainName": "relay",
            "domainPrefix": "relay",
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": user_agent,
            },
            "requestId": id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time(now),
            "timeEpoch": now,
        },
        "body": body,
        "isBase64Encoded": false,
    });
    payload.to_string().into_bytes()
}

/// Returns a time such as `03/Jan/2024:15:41:10 +0000`.
fn time(at: Millis) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
    let text = humantime::format_rfc3339_seconds(at).to_string();
    let parts: Vec<_> = text.split(['-', 'T', 'Z']).collect();
    let month = |number: &str| MONTHS.get(number.parse::<usize>().ok()?.checked_sub(1)?).copied();
    match &*parts {
        [year, number, day, time, _] => {
            format!("{day}/{}/{year}:{time} +0000", month(number).expect("a time of RFC 3339 has a month"))
        }
        _ => text,
    }
}

/// Reads the response as a function URL does: without a status code, the payload is the body of a response with 200.
fn response(payload: &[u8]) -> PostResponse {
    let Ok(Value::Object(mut response)) = serde_json::from_slice(payload) else {
        return PostResponse::new(StatusCode::OK, &HeaderMap::new(), payload);
    };
    let Some(code) = response.get("statusCode") else {
        return PostResponse::new(StatusCode::OK, &HeaderMap::new(), payload);
    };
    let code = code.as_u64().and_then(|code| StatusCode::from_u16(code.try_into().ok()?).ok());
    let header = |(name, value): (String, Value)| {
        let name: HeaderName = name.parse().ok()?;
        Some((name, value.as_str()?.parse::<HeaderValue>().ok()?))
    };
    let headers = match response.remove("headers") {
        Some(Value::Object(headers)) => headers.into_iter().filter_map(header).collect(),
        _ => HeaderMap::new(),
    };
    let body = response.get("body").and_then(Value::as_str).unwrap_or_default();
    let is_base64 = response.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or_default();
    let decoded = if is_base64 { STANDARD.decode(body).ok() } else { None };
    // Lambda's own response to a malformed one of the function.
    let status = code.unwrap_or(StatusCode::BAD_GATEWAY);
    PostResponse::new(status, &headers, decoded.as_deref().unwrap_or(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use fanout_core::reason::Failure;
    use momento_webhook::{SigningSecret, momento};

    use super::*;
    use crate::spool::{GapNotice, Payload};
    use crate::webhook::signer::Scheme;
    use crate::webhook::tests::message;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// Records payloads, and returns this result.
    #[derive(Debug)]
    struct Fake(fn() -> Result<Invoked, Failure>, Mutex<Vec<Value>>);

    impl FunctionInvoker for Fake {
        fn invoke<'c>(
            &'c self,
            _: &'c FunctionArn,
            payload: Vec<u8>,
            _: Instant,
        ) -> BoxFuture<'c, Result<Invoked, Failure>> {
            self.1.lock().unwrap().push(serde_json::from_slice(&payload).unwrap());
            Box::pin(std::future::ready(self.0()))
        }
    }

    async fn attempt(payload: Payload, result: fn() -> Result<Invoked, Failure>) -> (Attempt, Value) {
        let fake = Arc::new(Fake(result, Mutex::default()));
        let function = FunctionArn::new("arn:aws:lambda:eu-west-1:123456789012:function:f:live").unwrap();
        let signer = Signer::new(Scheme::Both, SECRET).unwrap();
        let invoker = Arc::clone(&fake) as Arc<dyn FunctionInvoker>;
        let attempt = FunctionTarget::new(function, signer, invoker).deliver(&message(payload)).await;
        let payload = fake.1.lock().unwrap().remove(0);
        (attempt, payload)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is one of the results")]
    fn answer(text: &str) -> Result<Invoked, Failure> {
        Ok(Invoked::Responded(text.as_bytes().to_vec()))
    }

    fn hi() -> Payload {
        Payload::Text("hi".to_owned())
    }

    #[tokio::test]
    async fn function_gets_signed_webhook_in_the_payload_of_its_url() {
        for payload in [
            hi(),
            Payload::Binary(vec![0, 255]),
            Payload::Gap(GapNotice { first: 3, last: 5, reason: "lost".to_owned() }),
        ] {
            let (attempt, sent) = attempt(payload, || Ok(Invoked::Responded(b"{}".to_vec()))).await;
            assert_eq!(attempt, Attempt::Delivered);
            let http = &sent["requestContext"]["http"];
            assert_eq!((&http["method"], &http["userAgent"]), (&json!("POST"), &json!(momento::USER_AGENT)));
            assert_eq!((&sent["version"], &sent["isBase64Encoded"]), (&json!("2.0"), &json!(false)));
            let header = |name: &str| sent["headers"][name].as_str().unwrap();
            assert_eq!(header("content-type"), "application/json");
            assert_eq!(header("webhook-id"), sent["requestContext"]["requestId"]);
            let body = sent["body"].as_str().unwrap().as_bytes();
            let signature = header("momento-signature").as_bytes();
            assert!(momento::verify(&[SigningSecret::new(SECRET).unwrap()], body, [signature]).is_ok());
        }
    }

    #[tokio::test]
    async fn each_result_of_an_invocation_has_its_attempt() {
        macro_rules! cases {
            ($($result:expr => $expected:pat,)*) => {$(
                let made = attempt(hi(), || $result).await.0;
                assert!(matches!(&made, $expected), "{}: {made:?}", stringify!($result));
            )*};
        }
        cases! {
            answer(r#"{"statusCode":204}"#) => Attempt::Delivered,
            answer("null") => Attempt::Delivered,
            answer("\"OK\"") => Attempt::Delivered,
            answer(r#"{"message":"no status code"}"#) => Attempt::Delivered,
            answer(r#"{"statusCode":403,"body":"{\"status\":\"wrong\"}"}"#) => Attempt::Permanent { .. },
            answer(r#"{"statusCode":302}"#) => Attempt::Permanent { .. },
            answer(r#"{"statusCode":410}"#) => Attempt::Disabled { .. },
            answer(r#"{"statusCode":200,"headers":{"Webhook-Delivery":"disable"}}"#) => Attempt::Disabled { .. },
            answer(r#"{"statusCode":503,"headers":{"Retry-After":"7"}}"#) => Attempt::Transient { retry_after: Some(_), .. },
            answer(r#"{"statusCode":"200"}"#) => Attempt::Transient { .. },
            answer(r#"{"statusCode":9}"#) => Attempt::Transient { .. },
            Ok(Invoked::Failed(br#"{"errorType":"Runtime.ExitError"}"#.to_vec())) => Attempt::Transient { .. },
            Err(Reason::RateLimited.into()) => Attempt::Transient { .. },
            Err(Reason::TimedOut.into()) => Attempt::Transient { .. },
            Err(Reason::NotFound.into()) => Attempt::Transient { .. },
            Err(Reason::PermissionDenied.into()) => Attempt::Transient { .. },
            Err(Reason::InvalidArgument.into()) => Attempt::Transient { .. },
            Err(Reason::TooLarge.into()) => Attempt::Permanent { .. },
        }
    }

    #[tokio::test]
    async fn error_has_the_body_of_the_response() {
        let (attempt, _) = attempt(hi(), || {
            Ok(Invoked::Responded(br#"{"statusCode":422,"body":"bm8=","isBase64Encoded":true}"#.to_vec()))
        })
        .await;
        let error = "the response is 422 Unprocessable Entity: no".to_owned();
        assert_eq!(attempt, Attempt::Permanent { error });
    }

    #[test]
    fn writes_times_as_gateways_do() {
        assert_eq!(time(1_704_296_470_565), "03/Jan/2024:15:41:10 +0000");
    }
}
