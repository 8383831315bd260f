//! Sends any event through any routes: the whole function, from the request to the response, with a publisher that accepts
//! all texts or none. The first line of the input says which. A line `---` separates the routes from the body, which the
//! target signs.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use fanout_core::destination::{KINDS, Publisher, Topic};
use fanout_core::fan_out::FanOut;
use fanout_core::file;
use fanout_core::reason::{Failure, Reason};
use fanout_core::retry::RetryPolicy;
use fanout_core::transform::Transforms;
use http::Request;
use libfuzzer_sys::fuzz_target;
use momento_webhook::{SignaturePolicy, SigningSecret, momento};
use topic_fanout::request_log::RequestLog;
use topic_fanout::secrets::Rotating;
use topic_fanout::webhook::{Signing, Webhook};

struct Fake {
    accepts: bool,
}

impl Publisher for Fake {
    async fn publish(&self, _: &Topic<'_>, _: &str) -> Result<(), Failure> {
        if self.accepts { Ok(()) } else { Err(Failure::from(Reason::TooLarge)) }
    }
}

const ROUTES: &str = r#"
[[routes]]
topic = "{room}-in"
transforms = ["trim", "moderate"]
destinations = [
    "{room}-out",
    { topic = "{room}-{token_id}", extra_transforms = [{ truncate = { characters = 10, bytes = 30 } }] },
    { topic = "{room}-json", extra_transforms = [{ json = { pointer = "/message", transforms = [{ pseudolocalize = { target = "es" } }] } }] },
    { topic = "{room}-page", extra_transforms = [{ template = { text = "{room} {text | cut(9)} {json.message | default('-')}" } }] },
    { topic = "{room}-some", extra_transforms = [{ filter = { matches = "^[a-z]+$" } }] },
]
"#;

static TRANSFORMS: LazyLock<Transforms> = LazyLock::new(Transforms::standard);

fuzz_target!(|input: &str| {
    let (accepts, input) = input.split_once('\n').unwrap_or((input, ""));
    let (routes, body) = input.split_once("\n---\n").unwrap_or((ROUTES, input));
    let Ok(routes) = file::read(routes, &TRANSFORMS, KINDS) else { return };
    let secret = SigningSecret::new("secret").expect("the secret is not empty");
    let signature = momento::sign(&secret, body.as_bytes());
    let secrets = Rotating::fixed(vec![secret.into()]);
    let (signatures, max_age) = (SignaturePolicy::Momento, std::time::Duration::ZERO);
    let signing = Signing { signatures, secrets, max_age };
    let fan_out = FanOut::new(Fake { accepts: accepts.is_empty() }, RetryPolicy::PUBLISH);
    let webhook = Webhook::new(signing, routes, fan_out, RequestLog::Off);
    let request = Request::post("/")
        .header(momento::SIGNATURE_HEADER, signature)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .expect("a hexadecimal signature is a header value");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    let response = runtime.block_on(webhook.handle(request));
    let status = response.status().as_u16();
    assert!([200, 400, 413, 422, 503].contains(&status), "{status}");
    assert!(status != 503, "no failure is transient here: {:?}", response.body());
    assert!(std::str::from_utf8(response.body()).is_ok_and(|body| body.starts_with('{')));
});
