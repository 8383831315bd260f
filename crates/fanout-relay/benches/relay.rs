//! Measures the relay between local Momento and a receiver: messages in a second, latency, and memory, beside a bare loop that
//! subscribes and posts.
//!
//! `scripts/bench-relay` runs this. Each measured process is this program again. Compare ratios: times depend on the machine
//! and the day.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use fanout_momento::subscription::{ItemValue, SubscriptionPolicy};
use fanout_momento::{Credentials, Subscription, SubscriptionEvent};
use fanout_relay::spool::{Limits, Location, MessageId, Payload, Spool, Spooled};
use fanout_relay::webhook::signer::{Scheme, Signer};
use fanout_relay::webhook::{Webhook, post};
use fanout_relay::{Attempt, STREAMS_PER_CHANNEL, Schedule, Start, Status, SubscriptionConfig, Target, run};
use http::{Request, StatusCode};
use local_guard::{Guard, json_response, serve};
use momento_local::MomentoLocal;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

const CACHE: &str = "c";
const CONCURRENCY: usize = 16;
/// The longest wait for anything.
const TIMEOUT: Duration = Duration::from_mins(2);
/// A message is as long as this, in bytes.
const TEXT: usize = 100;

/// What is measured: a bare loop, and the relay with each kind of spool.
const KINDS: [&str; 3] = ["floor", "memory", "file"];

/// The sizes of the measurement.
struct Sizes {
    rounds: usize,
    messages: usize,
    samples: usize,
    spooled: usize,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(at) = args.iter().position(|argument| argument == "--measured") {
        let [kind, endpoint, target, topics, spool] = args.get(at + 1..).unwrap_or_default() else {
            bail!("a measured process has five arguments");
        };
        return runtime.block_on(measured(kind, endpoint, target.parse()?, topics.parse()?, spool));
    }
    let sizes = if args.iter().any(|argument| argument == "--quick") {
        Sizes { rounds: 1, messages: 500, samples: 20, spooled: 10_000 }
    } else {
        Sizes { rounds: 3, messages: 20_000, samples: 300, spooled: 1_000_000 }
    };
    runtime.block_on(measure(&sizes))
}

// The measured processes.

async fn measured(
    kind: &str,
    endpoint: &str,
    target: SocketAddr,
    topics: usize,
    spool: &str,
) -> anyhow::Result<()> {
    let credentials = Credentials::new("any", Some(&endpoint.parse()?))?;
    let signer = Signer::new(Scheme::Momento, "secret")?;
    let target = Webhook::new(post::url(&format!("http://{target}/"))?, signer, &[])?;
    match kind {
        "floor" => floor(&credentials, Arc::new(target), topics).await,
        "memory" => relay(&credentials, target, topics, Location::Memory).await,
        _ => relay(&credentials, target, topics, Location::File(spool.into())).await,
    }
}

fn topic(number: usize) -> String {
    format!("topic {number}")
}

/// Subscribes and posts, and keeps nothing.
async fn floor(credentials: &Credentials, target: Arc<Webhook>, topics: usize) -> anyhow::Result<()> {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let mut readers = JoinSet::new();
    let mut channel = credentials.channel()?;
    for number in 0..topics {
        if number % STREAMS_PER_CHANNEL == 0 {
            channel = credentials.channel()?;
        }
        let authorization = credentials.authorization().clone();
        let topic = topic(number);
        let mut subscription = Subscription::over(channel.clone(), authorization, CACHE, &topic, None);
        let (permits, target) = (Arc::clone(&permits), Arc::clone(&target));
        readers.spawn(async move {
            loop {
                let SubscriptionEvent::Item(item) = subscription.next().await? else { continue };
                let ItemValue::Text(text) = item.value else { bail!("not a text") };
                let permit = Arc::clone(&permits).acquire_owned().await?;
                let message = Spooled {
                    id: MessageId::default(),
                    topic: serde_json::from_value(1.into())?,
                    cache: CACHE.to_owned(),
                    topic_name: topic.clone(),
                    page: item.page,
                    number: item.number,
                    received_at: 0,
                    token_id: None,
                    payload: Payload::Text(text),
                    attempts: 0,
                    due_at: 0,
                    error: None,
                    progress: None,
                    outcome: None,
                };
                let target = Arc::clone(&target);
                tokio::spawn(async move {
                    let attempt = target.deliver(&message).await;
                    drop(permit);
                    assert_eq!(attempt, Attempt::Delivered);
                });
            }
        });
    }
    readers.join_next().await.context("no topics")??
}

async fn relay(
    credentials: &Credentials,
    target: Webhook,
    topics: usize,
    location: Location,
) -> anyhow::Result<()> {
    let spool = Spool::open(&location, Limits { max_messages: 2_000_000, ..Limits::default() })?;
    let shown = spool.clone();
    // The parent reads how many messages are spooled.
    tokio::spawn(async move {
        loop {
            println!("{}", shown.usage().messages);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let subscription = SubscriptionConfig {
        name: "measured".to_owned(),
        cache: CACHE.to_owned(),
        topics: (0..topics).map(topic).collect(),
        topics_from: None,
        from: Start::Now,
        gap_notices: false,
        schedule: Schedule { concurrency: CONCURRENCY, ..Schedule::default() },
        target: Arc::new(target),
        dead_letters: None,
    };
    let (status, policy) = (Status::default(), SubscriptionPolicy::default());
    run(vec![subscription], &spool, credentials, policy, &status, std::future::pending()).await?;
    Ok(())
}

// The measurement.

/// When each message arrived, by its number.
#[derive(Debug)]
struct Arrivals {
    times: Mutex<Vec<Option<Instant>>>,
    count: watch::Sender<usize>,
}

impl Arrivals {
    fn reset(&self, messages: usize) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = vec![None; messages];
        self.count.send_replace(0);
    }

    fn record(&self, number: usize) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        // A message that arrives again counts once.
        if let Some(time @ None) = times.get_mut(number) {
            *time = Some(Instant::now());
            drop(times);
            self.count.send_modify(|count| *count += 1);
        }
    }

    async fn wait(&self, messages: usize) -> anyhow::Result<()> {
        let mut count = self.count.subscribe();
        let all = timeout(TIMEOUT, count.wait_for(|count| *count >= messages)).await;
        let seen = *self.count.borrow();
        all.with_context(|| format!("{seen} of {messages} messages have arrived"))??;
        Ok(())
    }

    fn at(&self, number: usize) -> Option<Instant> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).get(number).copied().flatten()
    }
}

/// Starts a receiver, which accepts everything.
async fn receiver(arrivals: Arc<Arrivals>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let respond = move |request: Request<Bytes>| {
        let arrivals = Arc::clone(&arrivals);
        async move {
            if let Some(number) = number(request.body()) {
                arrivals.record(number);
            }
            json_response(StatusCode::OK, &serde_json::Value::Null)
        }
    };
    tokio::spawn(serve(listener, Guard::loopback(), "the receiver", std::future::pending(), respond));
    Ok(address)
}

/// Returns the number at the beginning of the text.
fn number(body: &[u8]) -> Option<usize> {
    let body = std::str::from_utf8(body).ok()?;
    body.split_once("\"text\":\"")?.1.split_once(' ')?.0.parse().ok()
}

fn text(number: usize) -> String {
    format!("{number} {}", "x".repeat(TEXT.saturating_sub(8)))
}

/// A measured process. It ends when this is dropped.
struct Measured {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
}

impl Measured {
    async fn start(
        kind: &str,
        momento: &MomentoLocal,
        target: SocketAddr,
        topics: usize,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--measured", kind, &momento.endpoint(), &target.to_string(), &topics.to_string()])
            .arg(folder.path().join("relay.db"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("standard output is missing")?).lines();
        for number in 0..topics {
            let topic = topic(number);
            let subscribed = momento.wait_for_subscribers(CACHE, &topic, 1);
            timeout(TIMEOUT, subscribed).await.with_context(|| format!("{kind} does not subscribe"))?;
        }
        Ok(Self { child, lines, folder })
    }

    /// Returns the resident memory in MiB.
    fn memory(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("the process has ended")?;
        let status = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line.and_then(|line| line.trim().split(' ').next()).context("no VmRSS")?.parse()?;
        Ok(kib / 1_024.0)
    }

    /// Waits until this many messages are spooled.
    async fn wait_for_spooled(&mut self, messages: usize) -> anyhow::Result<()> {
        let spooled = async {
            loop {
                let line = self.lines.next_line().await?.context("the process has ended")?;
                if line.parse::<usize>()? >= messages {
                    return Ok(());
                }
            }
        };
        timeout(TIMEOUT, spooled).await.context("the messages are not spooled")?
    }

    async fn end(mut self, momento: &MomentoLocal, topics: usize) -> anyhow::Result<()> {
        self.child.kill().await?;
        for number in 0..topics {
            timeout(TIMEOUT, momento.wait_for_no_subscribers(CACHE, &topic(number))).await?;
        }
        drop(self.folder);
        Ok(())
    }
}

/// The figures of one process in one round.
struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
}

async fn measure(sizes: &Sizes) -> anyhow::Result<()> {
    let arrivals = Arc::new(Arrivals { times: Mutex::default(), count: watch::Sender::new(0) });
    let target = receiver(Arc::clone(&arrivals)).await?;
    println!(
        "| topics | | floor | relay, spool in memory | relay, spool in a file | memory / floor | file / floor |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for topics in [1, 100, 1_000] {
        let momento = momento().await?;
        let mut figures = KINDS.map(|_| Vec::new());
        for _ in 0..sizes.rounds {
            // In turns, so that the load of the machine is the same for all.
            for (kind, figures) in KINDS.iter().zip(&mut figures) {
                figures.push(one(kind, &momento, &arrivals, target, topics, sizes).await?);
            }
        }
        let median = |of: fn(&Figures) -> f64| {
            figures.each_ref().map(|rounds| percentile(rounds.iter().map(of).collect(), 0.5))
        };
        let [floor, memory, file] = median(|figures| figures.rate);
        println!(
            "| {topics} | messages in a second | {floor:.0} | {memory:.0} | {file:.0} | {:.2} | {:.2} |",
            memory / floor,
            file / floor
        );
        for (name, of) in [
            ("p50 when idle", (|figures: &Figures| figures.p50) as fn(&Figures) -> f64),
            ("p99 when idle", |figures| figures.p99),
        ] {
            let [floor, memory, file] = median(of);
            println!(
                "| {topics} | {name} | {floor:.2} ms | {memory:.2} ms | {file:.2} ms | {:+.2} ms | {:+.2} ms |",
                memory - floor,
                file - floor
            );
        }
        momento.shutdown().await;
    }
    println!();
    memory(&arrivals, target, sizes).await
}

async fn momento() -> anyhow::Result<MomentoLocal> {
    let builder = MomentoLocal::builder().cache(CACHE).history(0).latest(0);
    Ok(builder.subscriber_lag(2_000_000).topic_bytes(1 << 30).start().await?)
}

/// Measures one process.
async fn one(
    kind: &str,
    momento: &MomentoLocal,
    arrivals: &Arrivals,
    target: SocketAddr,
    topics: usize,
    sizes: &Sizes,
) -> anyhow::Result<Figures> {
    arrivals.reset(sizes.messages.max(sizes.samples) + topics);
    let process = Measured::start(kind, momento, target, topics).await?;
    // The connections to the receiver are opened.
    for number in 0..topics.min(64) {
        momento.publish(CACHE, &topic(number), text(number))?;
    }
    arrivals.wait(topics.min(64)).await?;
    let mut latencies = Vec::new();
    arrivals.reset(sizes.samples);
    for number in 0..sizes.samples {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let published = Instant::now();
        momento.publish(CACHE, &topic(number % topics), text(number))?;
        arrivals.wait(number + 1).await?;
        let arrived = arrivals.at(number).context("it has arrived")?;
        latencies.push(arrived.duration_since(published).as_secs_f64() * 1e3);
    }
    arrivals.reset(sizes.messages);
    let begun = Instant::now();
    for number in 0..sizes.messages {
        momento.publish(CACHE, &topic(number % topics), text(number))?;
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    arrivals.wait(sizes.messages).await?;
    #[expect(clippy::cast_precision_loss, reason = "some thousand messages")]
    let rate = sizes.messages as f64 / begun.elapsed().as_secs_f64();
    process.end(momento, topics).await?;
    Ok(Figures { rate, p50: percentile(latencies.clone(), 0.5), p99: percentile(latencies, 0.99) })
}

/// Measures the memory of the relay with a spool in a file.
async fn memory(arrivals: &Arrivals, target: SocketAddr, sizes: &Sizes) -> anyhow::Result<()> {
    println!("| resident memory of the relay | |");
    println!("| --- | --- |");
    let momento = momento().await?;
    for topics in [1, 1_000] {
        let process = Measured::start("file", &momento, target, topics).await?;
        let before = process.memory()?;
        let messages = sizes.messages.min(20_000);
        arrivals.reset(messages);
        for number in 0..messages {
            momento.publish(CACHE, &topic(number % topics), text(number))?;
        }
        arrivals.wait(messages).await?;
        println!(
            "| {topics} subscriptions, and after {messages} messages | {before:.1} MiB, {:.1} MiB |",
            process.memory()?
        );
        process.end(&momento, topics).await?;
    }
    // A port that does not listen: all messages stay in the spool.
    let closed = TcpListener::bind("127.0.0.1:0").await?;
    let target = closed.local_addr()?;
    drop(closed);
    let mut process = Measured::start("file", &momento, target, 1).await?;
    let begun = Instant::now();
    let mut published = 0;
    for share in [10, 4, 2, 1] {
        while published < sizes.spooled / share {
            momento.publish(CACHE, &topic(0), text(published))?;
            published += 1;
            if published % 10_000 == 0 {
                process.wait_for_spooled(published.saturating_sub(10_000)).await?;
            }
        }
        process.wait_for_spooled(published).await?;
        println!("| {published} messages spooled | {:.1} MiB |", process.memory()?);
    }
    let size = std::fs::metadata(process.folder.path().join("relay.db"))?.len();
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let (rate, size) = (published as f64 / begun.elapsed().as_secs_f64(), size as f64 / 1_048_576.0);
    println!("| the file, and how fast it was filled | {size:.0} MiB, {rate:.0} messages in a second |");
    ensure!(process.child.try_wait()?.is_none(), "the process has ended");
    let path = process.folder.path().join("relay.db");
    process.child.kill().await?;
    let begun = Instant::now();
    let spool = Spool::open(&Location::File(path), Limits::default())?;
    let opened = begun.elapsed();
    ensure!(spool.usage().messages >= u64::try_from(published)?, "messages are missing");
    spool.close().await;
    println!("| to open it after a kill, with all checks | {:.1} s |", opened.as_secs_f64());
    momento.shutdown().await;
    Ok(())
}

fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}
