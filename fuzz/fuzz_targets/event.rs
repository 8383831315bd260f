//! Sends any event through any routes: from the signed body to the outcome of each destination, with a publisher that accepts
//! all texts or none. The first line of the input says which. A line `---` separates the routes from the body, which the
//! target signs.
#![no_main]

use std::sync::LazyLock;

use fanout_core::destination::{KINDS, Publisher, Topic};
use fanout_core::fan_out::{DeliveryOutcome, FanOut};
use fanout_core::file;
use fanout_core::reason::{Failure, Reason};
use fanout_core::retry::RetryPolicy;
use fanout_core::transform::Transforms;
use libfuzzer_sys::fuzz_target;
use momento_webhook::{SignatureHeaders, SignaturePolicy, SigningSecret, momento};
use tokio::time::{Duration, Instant};

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
    { topic = "{room}-to-{each}", for_each = "{json.rooms}" },
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
    let headers =
        SignatureHeaders::collect(|name| (name == momento::SIGNATURE_HEADER).then_some(signature.as_bytes()));
    let verified = headers.verify(SignaturePolicy::Momento, &[secret.into()], body.as_bytes());
    let (body, _) = verified.expect("the body is signed");
    let Ok(event) = body.event() else { return };
    let Ok(Some(plan)) = routes.plan(&event) else { return };
    let fan_out = FanOut::new(Fake { accepts: accepts.is_empty() }, RetryPolicy::PUBLISH);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    let deadline = Duration::from_secs(8);
    let outcomes =
        runtime.block_on(async { fan_out.serve(&plan, None, None, Instant::now() + deadline).await });
    assert_eq!(outcomes.len(), plan.destinations().len());
    for outcome in outcomes {
        check(&outcome, accepts.is_empty());
    }
});

/// Checks the outcome of a destination, with a publisher that accepts all texts or none.
fn check(outcome: &DeliveryOutcome, accepts: bool) {
    match outcome {
        DeliveryOutcome::ForEach(topics) => topics.iter().for_each(|topic| check(&topic.outcome, accepts)),
        DeliveryOutcome::Published { .. } => assert!(accepts, "the publisher accepts nothing"),
        // Neither AWS nor a cache is here.
        DeliveryOutcome::Failed { reason: Reason::Unavailable, .. } => {}
        DeliveryOutcome::Failed { reason, .. } => {
            assert!(!accepts && *reason == Reason::TooLarge, "{reason}")
        }
        other => assert_ne!(other.failure(), Some(Reason::TimedOut), "{other:?}"),
    }
}
