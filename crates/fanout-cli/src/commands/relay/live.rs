//! The line that shows the work of a relay in a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use fanout_core::clock::{Clock as _, SystemClock};
use fanout_relay::Status;
use fanout_relay::metrics::{Sample, samples};
use fanout_relay::spool::Spool;
use tokio::time::{Instant, sleep};
use topic_fanout::output::Output;

use crate::output::{Printable, Quoted};

/// The interval between updates.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows the line until the future is dropped.
pub(super) async fn run(spool: &Spool, status: &Status, output: &Output) {
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut last: Option<(Instant, (u64, u64))> = None;
    loop {
        sleep(INTERVAL).await;
        // The log says why the spool fails.
        let Ok(samples) = samples(spool, &status.subscriptions(), SystemClock.now()).await else { continue };
        let now = Instant::now();
        let counts = (sum(&samples, |sample| sample.received), sum(&samples, |sample| sample.delivered));
        let rates = last.map_or((0.0, 0.0), |(then, (received, delivered))| {
            let rate = |now: u64, before: u64| per_second(now.saturating_sub(before), then.elapsed());
            (rate(counts.0, received), rate(counts.1, delivered))
        });
        last = Some((now, counts));
        output.status(Some(line(&samples, rates, spool.failure().is_some(), color)));
    }
}

fn sum(samples: &[Sample], count: fn(&Sample) -> u64) -> u64 {
    samples.iter().map(count).sum()
}

fn per_second(count: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64().max(0.001)
}

/// Returns the line. What needs an operator comes first.
fn line(samples: &[Sample], (received, delivered): (f64, f64), is_failing: bool, color: bool) -> String {
    let mut line = String::new();
    if let Some(alarm) = alarm(samples, is_failing) {
        let alarm = Printable(&alarm);
        // Bold red, so that the line is seen from afar.
        let _ =
            if color { write!(line, "\u{1b}[1;31m{alarm}\u{1b}[0m  ") } else { write!(line, "{alarm}  ") };
    }
    let topics: usize = samples.iter().map(|sample| sample.topics).sum();
    let deaf: usize = samples.iter().map(|sample| sample.deaf.len()).sum();
    let pending = sum(samples, |sample| sample.pending);
    let oldest = samples.iter().map(|sample| sample.oldest_pending).max().unwrap_or_default();
    let oldest = humantime::format_duration(Duration::from_secs(oldest.as_secs()));
    let _ = write!(
        line,
        "in {received:.1}/s  out {delivered:.1}/s  spool {pending}, oldest {oldest}  dead {}  missing {}  topics {}/{topics}",
        sum(samples, |sample| sample.dead),
        sum(samples, |sample| sample.missing),
        topics - deaf,
    );
    line
}

fn alarm(samples: &[Sample], is_failing: bool) -> Option<String> {
    if is_failing {
        return Some("THE SPOOL FAILS".to_owned());
    }
    let mut deaf = samples.iter().flat_map(|sample| sample.deaf.iter().map(move |topic| (sample, topic)));
    if let Some((sample, (topic, state))) = deaf.next() {
        let more = match deaf.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let cause = state.cause().unwrap_or_default();
        return Some(format!(
            "DEAF: {}, topic {}{more}: {cause}",
            Quoted(&sample.subscription),
            Quoted(topic)
        ));
    }
    let stopped = samples.iter().find_map(|sample| {
        let cause = sample.disabled.as_ref()?;
        Some(format!("STOPPED: {} wants no more messages: {cause}", Quoted(&sample.subscription)))
    });
    let failing = || {
        let sample = samples.iter().find(|sample| sample.breaker_open)?;
        Some(format!("THE TARGET FAILS: {}", Quoted(&sample.subscription)))
    };
    stopped.or_else(failing)
}

#[cfg(test)]
mod tests {
    use fanout_relay::ReaderState;

    use super::*;

    fn sample() -> Sample {
        Sample {
            subscription: "chat".to_owned(),
            pending: 3,
            dead: 1,
            missing: 2,
            oldest_pending: Duration::from_millis(61_500),
            topics: 2,
            ..Sample::default()
        }
    }

    const CALM: &str = "in 1.5/s  out 2.0/s  spool 3, oldest 1m 1s  dead 1  missing 2  topics 2/2";

    #[test]
    fn shows_rates_spool_and_topics() {
        assert_eq!(line(&[sample()], (1.5, 2.0), false, true), CALM);
        assert!(line(&[], (0.0, 0.0), false, true).ends_with("topics 0/0"));
    }

    #[test]
    fn says_first_what_needs_an_operator() {
        let rejected = ("t\u{1b}".to_owned(), ReaderState::Rejected("permission denied".to_owned()));
        let waiting = ("u".to_owned(), ReaderState::Waiting);
        for (change, says) in [
            (
                Sample { deaf: vec![rejected, waiting], ..sample() },
                "DEAF: \"chat\", topic \"t\\u{1b}\" and 1 more: permission denied  ",
            ),
            (
                Sample { disabled: Some("410 Gone".to_owned()), ..sample() },
                "STOPPED: \"chat\" wants no more messages: 410 Gone  ",
            ),
            (Sample { breaker_open: true, ..sample() }, "THE TARGET FAILS: \"chat\"  "),
        ] {
            let shown = line(std::slice::from_ref(&change), (1.5, 2.0), false, false);
            assert!(shown.starts_with(says), "{shown}");
            assert!(!shown.contains('\u{1b}'), "{shown:?}");
            let colored = line(&[change], (1.5, 2.0), false, true);
            assert!(colored.starts_with("\u{1b}[1;31m") && colored.contains("\u{1b}[0m  in "), "{colored:?}");
        }
        assert!(line(&[sample()], (1.5, 2.0), true, false).starts_with("THE SPOOL FAILS  in "));
    }
}
