//! Measures routes: finding the route of an event among many, reading a file with many, and sharing equal transforms.
//!
//! `cargo bench --package test-support --bench routing`. Compare the growth: times depend on the machine and the day.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fanout_core::destination::{KINDS, Publisher, Topic};
use fanout_core::fan_out::FanOut;
use fanout_core::file;
use fanout_core::reason::Failure;
use fanout_core::retry::RetryPolicy;
use fanout_core::route::Routes;
use fanout_core::transform::Transforms;
use momento_webhook::{Event, SigningSecret, Verified, momento};

fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let time = if quick { Duration::from_millis(20) } else { Duration::from_secs(1) };
    finding(time)?;
    sharing(time)
}

/// Measures planning one event with different numbers of routes.
fn finding(time: Duration) -> anyhow::Result<()> {
    println!("| routes | read and checked | plan, taken | plan, ignored |");
    println!("| --- | --- | --- | --- |");
    for count in [1, 100, 1_000] {
        let text = routes(count, |number| (format!("room-{number}"), format!("room-{number}-out")));
        report(&format!("{count} exact"), &text, &format!("room-{}", count - 1), time)?;
    }
    for count in [1, 100, 1_000] {
        let text = routes(count, |number| {
            (format!("tenant{number}-{{room}}-publish"), format!("tenant{number}-{{room}}-subscribe"))
        });
        let topic = format!("tenant{}-friends-publish", count - 1);
        report(&format!("{count} patterns"), &text, &topic, time)?;
    }
    // All patterns have the same end, so that each one is tried, and the one that matches comes last. Their lengths differ,
    // because routes that are equally specific are rejected.
    let text = routes(1_000, |number| {
        (format!("{{a}}-kind{}-{{b}}-publish", "+".repeat(number)), format!("{{b}}-{number}"))
    });
    for bytes in [60, 1_000] {
        let topic = format!("x-kind-{:f<1$}-publish", "", bytes - 15);
        report(&format!("1000 patterns that end alike, topic of {bytes} bytes"), &text, &topic, time)?;
    }
    println!();
    Ok(())
}

fn routes(count: usize, names: impl Fn(usize) -> (String, String)) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let (inbound, outbound) = names(number);
        // Writing to a string cannot fail.
        let _ = write!(text, "[[routes]]\ntopic = \"{inbound}\"\ndestinations = [\"{outbound}\"]\n");
        text
    })
}

fn report(what: &str, text: &str, topic: &str, time: Duration) -> anyhow::Result<()> {
    let read = || read(text);
    let routes = read()?;
    let load = median(time, || read().is_ok());
    let (taken, ignored) = (event(topic, "Hello")?, event("elsewhere", "Hello")?);
    anyhow::ensure!(routes.plan(&taken)?.is_some() && routes.plan(&ignored)?.is_none(), "{what}");
    let plan = |event: &Verified<Event>| median(time, || routes.plan(black_box(event)).is_ok());
    println!("| {what} | {load:.0?} | {:.2?} | {:.2?} |", plan(&taken), plan(&ignored));
    Ok(())
}

/// Measures one event with eight chains that share `moderate`, and with eight that do not.
fn sharing(time: Duration) -> anyhow::Result<()> {
    const LANGUAGES: [&str; 8] = ["en", "es", "fr", "de", "it", "ja", "ko", "pt"];
    println!("| 8 languages, text of | moderated once | moderated 8 times | ratio |");
    println!("| --- | --- | --- | --- |");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for bytes in [40, 400, 4_000] {
        let text = "What a nice day it is to be out there with all of you. ".repeat(bytes / 55 + 1);
        let event = event("in", text.get(..bytes).context("a part of it")?)?;
        let mut times = Vec::new();
        for is_shared in [true, false] {
            let chains = LANGUAGES.iter().enumerate().map(|(number, language)| {
                // A different allowed word makes each transform a different one.
                let moderate =
                    if is_shared { String::new() } else { format!("allow = [\"word{number}\"]") };
                format!(
                    "{{ topic = \"{language}\", transforms = [{{ moderate = {{ {moderate} }} }}, {{ pseudolocalize = {{ target = \"{language}\" }} }}] }}"
                )
            });
            let chains: Vec<_> = chains.collect();
            let routes =
                read(&format!("[[routes]]\ntopic = \"in\"\ndestinations = [{}]", chains.join(", ")))?;
            let fan_out = FanOut::new(AcceptAll, RetryPolicy::PUBLISH);
            let plan = routes.plan(&event)?.context("a plan")?;
            times.push(median(time, || {
                let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
                runtime.block_on(fan_out.serve(&plan, None, None, deadline)).len()
            }));
        }
        let [shared, unshared] = times[..] else { anyhow::bail!("two times") };
        let ratio = unshared.as_secs_f64() / shared.as_secs_f64();
        println!("| {bytes} bytes | {shared:.1?} | {unshared:.1?} | {ratio:.1} |");
    }
    Ok(())
}

/// Accepts every text at once.
struct AcceptAll;

impl Publisher for AcceptAll {
    async fn publish(&self, _: &Topic<'_>, text: &str) -> Result<(), Failure> {
        black_box(text);
        Ok(())
    }
}

fn read(text: &str) -> anyhow::Result<Routes> {
    file::read(text, &Transforms::standard(), KINDS).map_err(|errors| {
        let errors: Vec<_> = errors.iter().take(3).map(ToString::to_string).collect();
        anyhow::anyhow!("the routes are wrong: {}", errors.join(", "))
    })
}

fn event(topic: &str, text: &str) -> anyhow::Result<Verified<Event>> {
    let secret = SigningSecret::new("secret")?;
    let body = test_support::signed::event("cache", topic, 1, text).to_json();
    let signature = momento::sign(&secret, body.as_bytes());
    Ok(momento::verify(&[secret], body, [signature.as_bytes()])?.event()?)
}

/// Returns the median of as many runs as fit into `time`, and at least ten. Short runs are timed in batches.
fn median<T>(time: Duration, mut run: impl FnMut() -> T) -> Duration {
    let begun = Instant::now();
    black_box(run());
    let once = begun.elapsed().max(Duration::from_nanos(50));
    let batch = u32::try_from(Duration::from_micros(100).as_nanos() / once.as_nanos()).unwrap_or(1).max(1);
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time || times.len() < 10 {
        let start = Instant::now();
        for _ in 0..batch {
            black_box(run());
        }
        times.push(start.elapsed() / batch);
    }
    times.sort_unstable();
    *times.get(times.len() / 2).expect("there are ten times or more")
}
