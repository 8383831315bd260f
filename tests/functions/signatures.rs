//! The schemes that `WEBHOOK_SIGNATURE` accepts, over every transport.

use momento_webhook::momento;
use momento_webhook::standard::{self, StandardSecret};
use momento_webhook::{Event, SigningSecret};
use serde_json::json;
use test_support::signed::{self, RawRequest};

use crate::support::{BOTH, CACHE, Function, INBOUND, OUTBOUND, Transport};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn event(number: u64) -> Event {
    signed::event(CACHE, INBOUND, number, "hello")
}

/// Returns a request with this body and headers.
fn request(body: String, headers: &[(&str, String)]) -> RawRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()));
    RawRequest { method: "POST".to_owned(), path: None, headers: headers.collect(), body: body.into() }
}

fn by_momento(body: &str) -> Vec<(&'static str, String)> {
    vec![(momento::SIGNATURE_HEADER, momento::sign(&SigningSecret::new(SECRET).unwrap(), body.as_bytes()))]
}

fn by_standard(secrets: &[&str], seconds: u64, body: &str) -> Vec<(&'static str, String)> {
    let secrets: Vec<_> = secrets.iter().map(|secret| StandardSecret::parse(secret).unwrap()).collect();
    vec![
        (standard::ID_HEADER, "msg_1".to_owned()),
        (standard::TIMESTAMP_HEADER, seconds.to_string()),
        (standard::SIGNATURE_HEADER, standard::sign(&secrets, "msg_1", seconds, body.as_bytes()).unwrap()),
    ]
}

async fn start(transport: Transport, policy: &str) -> Function {
    let settings = [("WEBHOOK_SIGNATURE", policy), ("WEBHOOK_SIGNING_SECRET", SECRET)];
    Function::start(transport, &settings).await
}

#[tokio::test]
async fn each_policy_accepts_its_signatures_over_every_transport() {
    for transport in Transport::all() {
        for (policy, momento, standard) in
            [("momento", 200, 403), ("standard", 403, 200), ("either", 200, 200)]
        {
            let function = start(transport, policy).await;
            let (first, second) = (event(1), event(2));
            let body = first.to_json();
            let response = function.send(transport, &request(body.clone(), &by_momento(&body))).await;
            assert_eq!(response.status, momento, "{transport:?} {policy}: {response:?}");
            let (body, seconds) = (second.to_json(), second.publish_timestamp / 1_000);
            // A sender that rotates signs with both secrets.
            let signed = request(body.clone(), &by_standard(&[OTHER, SECRET], seconds, &body));
            let response = function.send(transport, &signed).await;
            assert_eq!(response.status, standard, "{transport:?} {policy}: {response:?}");
            for rejected in [momento, standard].into_iter().filter(|status| *status != 200) {
                assert_eq!(rejected, 403);
            }
            assert_eq!(
                function.published(OUTBOUND).len(),
                usize::from(momento == 200) + usize::from(standard == 200)
            );
        }
    }
}

#[tokio::test]
async fn standard_webhooks_are_as_old_as_their_header_says() {
    let transport = BOTH[1];
    let function = start(transport, "either").await;
    let now = event(1).publish_timestamp / 1_000;
    // The body of a retry is as it was at the first attempt.
    let mut old = event(1);
    old.publish_timestamp -= 600_000;
    for (seconds, by_momento_too, status, code) in [
        (now - 600, false, 403, json!("event_too_old")),
        (now + 600, false, 403, json!("event_from_the_future")),
        (now - 600, true, 403, json!("event_too_old")),
        (now, false, 200, json!(null)),
    ] {
        let body = old.to_json();
        let mut headers = by_standard(&[SECRET], seconds, &body);
        headers.extend(by_momento_too.then(|| by_momento(&body)).into_iter().flatten());
        let response = function.send(transport, &request(body, &headers)).await;
        assert_eq!((response.status, response.json()["code"].clone()), (status, code), "{response:?}");
    }
    // Without the headers that are not signed by Momento's scheme, the time in the body counts.
    let body = old.to_json();
    let response = function.send(transport, &request(body.clone(), &by_momento(&body))).await;
    assert_eq!((response.status, response.json()["code"].clone()), (403, json!("event_too_old")));
}

#[tokio::test]
async fn changed_request_is_rejected_by_every_policy() {
    for policy in ["standard", "either"] {
        let transport = BOTH[1];
        let function = start(transport, policy).await;
        let event = event(1);
        let (body, seconds) = (event.to_json(), event.publish_timestamp / 1_000);
        let valid = by_standard(&[SECRET], seconds, &body);
        let with = |name: &str, value: &str| -> Vec<_> {
            let changed = valid.iter().cloned();
            changed.map(|(known, old)| (known, if known == name { value.to_owned() } else { old })).collect()
        };
        for (headers, body, code) in [
            (Vec::new(), body.clone(), "signature_missing"),
            (valid[..2].to_vec(), body.clone(), "signature_missing"),
            (valid.clone(), body.replace("hello", "hallo"), "signature_wrong"),
            (with(standard::ID_HEADER, "msg_2"), body.clone(), "signature_wrong"),
            (with(standard::TIMESTAMP_HEADER, &(seconds + 1).to_string()), body.clone(), "signature_wrong"),
            (with(standard::TIMESTAMP_HEADER, "now"), body.clone(), "signature_wrong"),
            (with(standard::SIGNATURE_HEADER, "v1a,AAAA"), body.clone(), "signature_wrong"),
            ([&valid[..], &valid[..1]].concat(), body.clone(), "signature_wrong"),
            (by_standard(&[OTHER], seconds, &body), body.clone(), "signature_wrong"),
        ] {
            let response = function.send(transport, &request(body, &headers)).await;
            assert_eq!(
                (response.status, response.json()["code"].clone()),
                (403, json!(code)),
                "{policy} {headers:?}"
            );
        }
        assert!(function.published(OUTBOUND).is_empty());
    }
}
