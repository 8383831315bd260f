//! What runs beside the session, and hands in what happens.

use std::io::{BufRead, Read as _};
use std::time::Duration;

use fanout_core::destination::{AwsRequest, Publisher as _, Topic};
use momento_webhook::Event as Webhook;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use topic_fanout::publisher::MomentoPublisher;

use super::tracker::Id;
use crate::deliver::{Delivered, Deliverer, Failure, Undelivered};
use crate::service::describe_failure;
use crate::subscriber::{Event, Refused, Subscription};

/// The longest line that is read: many times what a message may have, so that Momento says so.
const MAX_LINE: usize = 1024 * 1024;

/// A line that was typed, or why it is not sent.
pub(super) type Line = Result<String, &'static str>;

/// What happens.
pub(super) enum Happening {
    /// To the subscription to the topic in this place.
    Subscription {
        place: usize,
        event: Event,
        at: Instant,
    },
    /// The function is about to publish; not told of one that runs elsewhere.
    Publishing {
        cache: String,
        topic: String,
        text: String,
    },
    /// The function has something for a place that is no topic; not told of one that runs elsewhere.
    HandingIn {
        request: Box<AwsRequest>,
        /// Whether it was really sent.
        is_sent: bool,
    },
    Refused(Refused),
    NotPublished {
        id: Id,
        reason: String,
    },
    TryAgain {
        id: Id,
        failure: Failure,
        attempt: (u32, u32),
        pause: Duration,
    },
    Delivering {
        id: Id,
    },
    Delivered {
        id: Id,
        delivered: Delivered,
        took: Duration,
    },
    Undelivered {
        id: Id,
        undelivered: Undelivered,
    },
}

/// Hands in everything that happens to a subscription, until nobody takes it or it is refused.
pub(super) async fn listen(mut subscription: Subscription, place: usize, happen: UnboundedSender<Happening>) {
    loop {
        let happening = match subscription.next().await {
            Ok(event) => Happening::Subscription { place, event, at: Instant::now() },
            Err(refused) => Happening::Refused(refused),
        };
        let over = matches!(happening, Happening::Refused(_));
        if happen.send(happening).is_err() || over {
            return;
        }
    }
}

/// Publishes one text after the other. Not tried again: that could publish twice.
pub(super) async fn publish(
    publisher: MomentoPublisher,
    (cache, topic): (String, String),
    mut texts: UnboundedReceiver<(Id, String)>,
    happen: UnboundedSender<Happening>,
) {
    let topic = Topic::new(&*cache, &*topic);
    while let Some((id, text)) = texts.recv().await {
        if let Err(error) = publisher.publish(&topic, &text).await {
            let _ = happen.send(Happening::NotPublished { id, reason: describe_failure(&error) });
        }
    }
}

/// Delivers one event after the other.
pub(super) async fn deliver(
    target: Deliverer,
    mut events: UnboundedReceiver<(Id, Webhook)>,
    happen: UnboundedSender<Happening>,
) {
    while let Some((id, mut event)) = events.recv().await {
        let _ = happen.send(Happening::Delivering { id });
        let begun = Instant::now();
        let outcome = target
            .deliver(&mut event, |again| {
                let failure = again.failure.clone();
                let attempt = (again.attempt, again.max_attempts);
                let _ = happen.send(Happening::TryAgain { id, failure, attempt, pause: again.pause });
            })
            .await;
        let _ = happen.send(match outcome {
            Ok(delivered) => Happening::Delivered { id, delivered, took: begun.elapsed() },
            Err(undelivered) => Happening::Undelivered { id, undelivered },
        });
    }
}

/// A thread of its own, that the process does not wait for when it ends: reading a terminal cannot be
/// broken off.
pub(super) fn read_lines(lines: mpsc::Sender<Line>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("typing".to_owned());
    thread.spawn(move || {
        let mut input = std::io::stdin().lock();
        // What cannot be read has ended.
        while let Ok(Some((line, is_last))) = read_line(&mut input) {
            if lines.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(())
}

/// The next line without its end, and whether it is the last; `None` after that.
///
/// What ends without a line end is the last: a terminal gives it when its end is typed in the middle of a line,
/// and would have to be told once more if it were read on.
fn read_line(input: &mut impl BufRead) -> std::io::Result<Option<(Line, bool)>> {
    let mut line = Vec::new();
    // One byte more than is kept, to see whether there is more; and the line end.
    let limit = u64::try_from(MAX_LINE + 2).unwrap_or(u64::MAX);
    if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let whole = line.pop_if(|byte| *byte == b'\n').is_some();
    if line.len() > MAX_LINE {
        if !whole {
            input.skip_until(b'\n')?;
        }
        return Ok(Some((Err("a line longer than any message was left out"), false)));
    }
    let text = String::from_utf8(line).map_err(|_| "a line that is not UTF-8 was left out: texts are UTF-8");
    Ok(Some((text, !whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are() {
        let long = [&vec![b'x'; MAX_LINE + 1][..], b"\n"].concat();
        let longer = [&vec![b'x'; 3 * MAX_LINE][..], b"\n"].concat();
        let most = vec![b'y'; MAX_LINE];
        let input = [&b" a \r\n\n\xff\n"[..], &long, b"after\n", &longer, &most, b"\nlast"].concat();
        let mut input = &input[..];
        let mut lines = Vec::new();
        let mut last = Vec::new();
        while let Some((line, is_last)) = read_line(&mut input).unwrap() {
            lines.push(line);
            last.push(is_last);
        }
        assert_eq!(last, [false, false, false, false, false, false, false, true]);
        let most = String::from_utf8(most).unwrap();
        let texts: Vec<_> = lines.iter().map(|line| line.as_deref().ok()).collect();
        assert_eq!(
            texts,
            [Some(" a \r"), Some(""), None, None, Some("after"), None, Some(most.as_str()), Some("last")]
        );
    }
}
