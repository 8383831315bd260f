//! `fanout relay check`.

use fanout_relay::file::{FileSubscription, SetOfTopics};
use fanout_relay::spool::Location;
use fanout_relay::{Order, STREAMS_PER_CHANNEL, Start};
use serde_json::{Value, json};

use super::Loaded;
use crate::error::Error;
use crate::output::{Output, Quoted};

/// The subscriptions that an account can have in a region by default.
const DEFAULT_SUBSCRIPTIONS: usize = 100;
/// The operations in a second that an account can have in a region by default.
const DEFAULT_OPERATIONS: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Print one JSON object; with errors, one for each file that has some
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(name: &str, file: &Loaded, args: &CheckArgs, output: &mut Output) -> Result<(), Error> {
    if args.json {
        return output.json(&as_json(name, file));
    }
    output.result(format_args!("{name}: valid"))?;
    let (limits, keep_for) = (file.limits, humantime::format_duration(file.limits.keep_for));
    let place = match &file.spool {
        Location::File(path) => format!("the file {}", Quoted(&path.display().to_string())),
        Location::Memory => "memory, which ends with the process".to_owned(),
    };
    output.result(format_args!(
        "spool         {place}; at most {} messages and {} bytes, kept for {keep_for} after delivery",
        limits.max_messages, limits.max_bytes
    ))?;
    for (subscription, _) in &file.subscriptions {
        let schedule = &subscription.schedule;
        output.result(format_args!(
            "subscription  {} in the cache {}, to {}",
            Quoted(&subscription.name),
            Quoted(&subscription.cache),
            subscription.target
        ))?;
        let from = match subscription.from {
            Start::Now => "from now",
            Start::Available => "from the oldest message that Momento has",
        };
        let order = match schedule.order {
            Order::None => "in any order",
            Order::Topic => "one at a time for each topic",
        };
        let rate = schedule.rate.map(|rate| format!(", {rate} attempts a second")).unwrap_or_default();
        output
            .result(format_args!("              {from}, {order}, {} at once{rate}", schedule.concurrency))?;
        output.result(format_args!(
            "              {} attempts, expires after {}",
            schedule.retry.len() + 1,
            humantime::format_duration(schedule.expire_after)
        ))?;
        if let Some(dead_letters) = &subscription.dead_letters {
            output.result(format_args!("              dead messages go to {dead_letters}"))?;
        }
        for topic in &subscription.topics {
            output.result(format_args!("  topic       {}", Quoted(topic)))?;
        }
        if subscription.topics.is_empty() && subscription.topics_from.is_none() {
            output
                .result("  topics      none in the file; `fanout relay topics add` adds them at run time")?;
        }
        if let Some(SetOfTopics { cache, set, every }) = &subscription.topics_from {
            let every = humantime::format_duration(*every);
            output.result(format_args!(
                "  topics      of the set {} in the cache {}, every {every}; not counted below",
                Quoted(set),
                Quoted(cache)
            ))?;
        }
    }
    let streams = streams(file);
    output.result(format_args!(
        "streams       {streams}, over {} connections; an account has {DEFAULT_SUBSCRIPTIONS} subscriptions by default",
        streams.div_ceil(STREAMS_PER_CHANNEL)
    ))?;
    note_excess(streams, output);
    output.note(format_args!(
        "note: each KB of a message counts one operation, when it is published and for each subscription; an account \
         has {DEFAULT_OPERATIONS} operations a second by default"
    ));
    Ok(())
}

fn as_json(name: &str, file: &Loaded) -> Value {
    let spool = match &file.spool {
        Location::File(path) => Some(path.display().to_string()),
        Location::Memory => None,
    };
    let subscription = |subscription: &FileSubscription| {
        let schedule = &subscription.schedule;
        let from = match subscription.from {
            Start::Now => "now",
            Start::Available => "available",
        };
        let order = match schedule.order {
            Order::None => "none",
            Order::Topic => "topic",
        };
        let topics_from = subscription.topics_from.as_ref().map(|SetOfTopics { cache, set, every }| {
            json!({ "cache": cache, "set": set, "every_seconds": every.as_secs_f64() })
        });
        json!({
            "name": subscription.name, "cache": subscription.cache, "target": subscription.target.to_string(),
            "from": from, "order": order, "concurrency": schedule.concurrency, "rate": schedule.rate,
            "attempts": schedule.retry.len() + 1, "expire_after_seconds": schedule.expire_after.as_secs_f64(),
            "dead_letters": subscription.dead_letters.as_ref().map(ToString::to_string),
            "topics": subscription.topics, "topics_from": topics_from,
        })
    };
    let subscriptions: Vec<_> = file.subscriptions.iter().map(|(one, _)| subscription(one)).collect();
    let (limits, streams) = (file.limits, streams(file));
    json!({
        "file": name, "errors": [],
        "spool": {
            "path": spool, "max_messages": limits.max_messages, "max_bytes": limits.max_bytes,
            "keep_for_seconds": limits.keep_for.as_secs_f64(),
        },
        "subscriptions": subscriptions, "streams": streams, "connections": streams.div_ceil(STREAMS_PER_CHANNEL),
    })
}

/// Returns the number of topics that a file lists.
pub(super) fn streams(file: &Loaded) -> usize {
    file.subscriptions.iter().map(|(subscription, _)| subscription.topics.len()).sum()
}

/// Says so if an account has fewer subscriptions by default.
pub(super) fn note_excess(streams: usize, output: &mut Output) {
    if streams > DEFAULT_SUBSCRIPTIONS {
        output.note(format_args!(
            "note: {streams} subscriptions are more than the default limit of an account, {DEFAULT_SUBSCRIPTIONS}; \
             Momento raises it on request"
        ));
    }
}
