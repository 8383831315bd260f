//! Measures invocations: the function `webhook`, compared with an empty function on the same runtime and with the bare SDK, in
//! one run against one local Momento.
//!
//! `scripts/bench` builds the functions and runs this. Compare ratios: times depend on the machine and the day.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use momento_local::MomentoLocal;
use test_support::gateway::Gateway;
use test_support::process::Process;
use test_support::runtime_api::{Invoked, RuntimeApi};
use test_support::signed;

const SECRET: &str = "a secret of the benchmark";
const LAMBDA_TIMEOUT: Duration = Duration::from_secs(30);

/// Rounds of each measurement.
struct Rounds {
    cold: usize,
    warm: usize,
    wide: usize,
}

fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let rounds = if quick {
        Rounds { cold: 5, warm: 100, wide: 20 }
    } else {
        Rounds { cold: 60, warm: 4_000, wide: 400 }
    };
    let binaries = Binaries::find()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&binaries, &rounds))
}

struct Binaries {
    webhook: PathBuf,
    /// `webhook` without AWS.
    small: PathBuf,
    baseline: PathBuf,
}

impl Binaries {
    fn find() -> anyhow::Result<Self> {
        // This is target/release/deps/invocation-….
        let here = std::env::current_exe()?;
        let release = here.parent().and_then(Path::parent).context("no target folder")?;
        let target = release.parent().context("no target folder")?;
        let binaries = Self {
            webhook: release.join("webhook"),
            small: target.join("small").join("release").join("webhook"),
            baseline: release.join("examples").join("baseline"),
        };
        for binary in [&binaries.webhook, &binaries.small, &binaries.baseline] {
            ensure!(binary.exists(), "{} is not there: run scripts/bench", binary.display());
        }
        Ok(binaries)
    }
}

async fn measure(binaries: &Binaries, rounds: &Rounds) -> anyhow::Result<()> {
    let momento = MomentoLocal::builder().cache("demo").start().await?;
    println!("| what | hello world | bare SDK | webhook | ratio | budget |");
    println!("| --- | --- | --- | --- | --- | --- |");
    cold_start(binaries, &momento, rounds.cold).await?;
    warm(binaries, &momento, 1, rounds.warm).await?;
    warm(binaries, &momento, 10, rounds.wide).await?;
    warm(binaries, &momento, 100, rounds.wide).await?;
    memory(binaries, &momento, rounds.warm).await?;
    size(binaries)?;
    println!();
    variants(binaries, &momento, rounds.cold).await?;
    momento.shutdown().await;
    Ok(())
}

/// The number of first rounds that are not counted, because the client connects its four channels in them.
const CONNECTING: usize = 20;

/// One function under its own Runtime API.
struct Function {
    process: Process,
    runtime_api: RuntimeApi,
}

impl Function {
    async fn start(program: &Path, momento: &MomentoLocal, topics: Option<usize>) -> anyhow::Result<Self> {
        let runtime_api = RuntimeApi::start().await?;
        let process = start(program, &runtime_api, momento, topics)?;
        Ok(Self { process, runtime_api })
    }

    /// Invokes the function. Returns the body of the response, and the time from invocation to response.
    async fn invoke(&self, payload: &Bytes) -> anyhow::Result<(String, Duration)> {
        let (invoked, took) = self.runtime_api.invoke_timed(payload.clone(), LAMBDA_TIMEOUT).await?;
        Ok((body(invoked)?, took))
    }
}

fn start(
    program: &Path,
    runtime_api: &RuntimeApi,
    momento: &MomentoLocal,
    topics: Option<usize>,
) -> anyhow::Result<Process> {
    Process::start(program, environment(runtime_api, momento, topics))
}

fn environment(
    runtime_api: &RuntimeApi,
    momento: &MomentoLocal,
    topics: Option<usize>,
) -> Vec<(String, String)> {
    let names: Vec<_> = (0..topics.unwrap_or(1)).map(|number| format!("topic {number}")).collect();
    let mut environment = runtime_api.environment();
    let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
    set("MOMENTO_API_KEY", "local".to_owned());
    set("MOMENTO_ENDPOINT", momento.endpoint());
    set("WEBHOOK_SIGNING_SECRET", SECRET.to_owned());
    set("OUTBOUND_TOPICS", names.join(","));
    set("TRANSFORM", "uppercase".to_owned());
    if let Some(topics) = topics {
        set("BASELINE_TOPICS", topics.to_string());
    }
    environment
}

fn body(invoked: Invoked) -> anyhow::Result<String> {
    match invoked {
        Invoked::Response(response) => {
            let response: serde_json::Value = serde_json::from_slice(&response)?;
            ensure!(response.get("statusCode").is_some_and(|status| *status == 200), "{response}");
            let body = response.get("body").and_then(serde_json::Value::as_str);
            Ok(body.with_context(|| format!("no body in {response}"))?.to_owned())
        }
        Invoked::Error(error) => bail!("the function failed: {}", String::from_utf8_lossy(&error)),
    }
}

fn payload(number: u64) -> anyhow::Result<Bytes> {
    let event = signed::event("demo", "inbound", number, "Hello, is anybody there?");
    let request = signed::post(SECRET, event.to_json())?;
    Ok(Gateway::FunctionUrl.payload(&request, false)?.to_string().into())
}

/// Measures the time from the start of a process to its first response, before which `webhook` publishes its message.
async fn cold_start(binaries: &Binaries, momento: &MomentoLocal, rounds: usize) -> anyhow::Result<()> {
    let (mut hello, mut webhook) = (Times::default(), Times::default());
    for number in 0..rounds {
        for (program, times) in [(&binaries.baseline, &mut hello), (&binaries.webhook, &mut webhook)] {
            let runtime_api = RuntimeApi::start().await?;
            let payload = payload(u64::try_from(number)?)?;
            let started = Instant::now();
            let _process = start(program, &runtime_api, momento, None)?;
            let invoked = runtime_api.invoke(payload, LAMBDA_TIMEOUT).await?;
            times.push(started.elapsed());
            body(invoked)?;
        }
    }
    row("process start to first response", Some(&mut hello), None, &mut webhook, "1.50");
    Ok(())
}

/// Measures a warm invocation that publishes to `topics` topics at once.
async fn warm(
    binaries: &Binaries,
    momento: &MomentoLocal,
    topics: usize,
    rounds: usize,
) -> anyhow::Result<()> {
    let hello_world = Function::start(&binaries.baseline, momento, None).await?;
    let bare_sdk = Function::start(&binaries.baseline, momento, Some(topics)).await?;
    let function = Function::start(&binaries.webhook, momento, Some(topics)).await?;
    let (mut hello, mut bare, mut webhook) = (Times::default(), Times::default(), Times::default());
    for number in 0..rounds + CONNECTING {
        let payload = payload(u64::try_from(number)?)?;
        let (_, took_hello) = hello_world.invoke(&payload).await?;
        let (published, _) = bare_sdk.invoke(&payload).await?;
        let (_, took_webhook) = function.invoke(&payload).await?;
        if number >= CONNECTING {
            hello.push(took_hello);
            bare.push(Duration::from_micros(published.parse()?));
            webhook.push(took_webhook);
        }
    }
    let (what, budget) = match topics {
        1 => ("warm, 1 topic".to_owned(), "1.05"),
        100 => ("warm, 100 topics".to_owned(), "1.00"),
        _ => (format!("warm, {topics} topics"), "-"),
    };
    row(&what, Some(&mut hello), Some(&mut bare), &mut webhook, budget);
    let mut handled = latencies(&function.process, CONNECTING);
    let own_budget = if topics == 100 { "1.00" } else { "-" };
    row(&format!("{what}, by the function's own clock"), None, Some(&mut bare), &mut handled, own_budget);
    Ok(())
}

/// Returns the metric `Latency` of the invocations after the first `skip`: the time from the request to the outcome of every
/// destination.
fn latencies(process: &Process, skip: usize) -> Times {
    let lines = process.output().into_iter().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line).ok()?;
        line.get("Latency")?.as_f64()
    });
    Times(lines.skip(skip).map(|millis| Duration::from_secs_f64(millis / 1e3)).collect())
}

async fn memory(binaries: &Binaries, momento: &MomentoLocal, rounds: usize) -> anyhow::Result<()> {
    let hello_world = Function::start(&binaries.baseline, momento, None).await?;
    let function = Function::start(&binaries.webhook, momento, Some(10)).await?;
    for number in 0..rounds {
        let payload = payload(u64::try_from(number)?)?;
        hello_world.invoke(&payload).await?;
        function.invoke(&payload).await?;
    }
    let (hello, webhook) = (resident(&hello_world.process)?, resident(&function.process)?);
    println!(
        "| resident memory after {rounds} invocations | {hello:.1} MiB | | {webhook:.1} MiB | {:.2} | 10 MiB |",
        webhook / hello
    );
    Ok(())
}

/// Returns the maximum resident memory of a process in MiB.
fn resident(process: &Process) -> anyhow::Result<f64> {
    let id = process.id().context("it has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// Measures start and memory of different builds and configurations.
async fn variants(binaries: &Binaries, momento: &MomentoLocal, rounds: usize) -> anyhow::Result<()> {
    let route = |transforms: &str| {
        format!(
            "[[routes]]\ntopic = \"inbound\"\ntransforms = [{transforms}]\ndestinations = [\"outbound\"]\n"
        )
    };
    let file = |transforms: &str| Some(route(transforms));
    let variants = [
        ("hello world", &binaries.baseline, None),
        ("without AWS: settings", &binaries.small, None),
        ("settings", &binaries.webhook, None),
        ("a file: `uppercase`", &binaries.webhook, file("\"uppercase\"")),
        ("a file: `template`", &binaries.webhook, file("{ template = { text = \"{text}!\" } }")),
        // The text is in the target language already, so AWS is not called.
        (
            "a file: `translate`, not called",
            &binaries.webhook,
            file(
                "{ filter = { contains = \"?\" } }, { filter = { contains = \"!\" } }, { translate = { target = \"es\" } }",
            ),
        ),
        ("a file: `moderate`", &binaries.webhook, file("\"moderate\"")),
    ];
    let mut measured: Vec<(Times, f64)> = variants.iter().map(|_| Default::default()).collect();
    for number in 0..rounds {
        for ((_, program, file), (times, memory)) in variants.iter().zip(&mut measured) {
            let runtime_api = RuntimeApi::start().await?;
            let payload = payload(u64::try_from(number)?)?;
            let mut environment = environment(&runtime_api, momento, None);
            if let Some(file) = file {
                environment.retain(|(name, _)| name != "OUTBOUND_TOPICS" && name != "TRANSFORM");
                environment.push(("FANOUT_CONFIG".to_owned(), file.clone()));
            }
            let started = Instant::now();
            let process = Process::start(program, environment)?;
            let invoked = runtime_api.invoke(payload, LAMBDA_TIMEOUT).await?;
            times.push(started.elapsed());
            body(invoked)?;
            *memory = memory.max(resident(&process)?);
        }
    }
    println!("| process start to first response | | ratio | memory | binary | zipped |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut against = None;
    for ((what, program, _), (times, memory)) in variants.iter().zip(&mut measured) {
        let median = times.percentile(50).as_secs_f64();
        let ratio = median / *against.get_or_insert(median);
        let (binary, zipped) = megabytes(program)?;
        println!(
            "| {what} | {} | {ratio:.2} | {memory:.1} MiB | {binary:.2} MB | {zipped:.2} MB |",
            times.shown()
        );
    }
    println!();
    Ok(())
}

fn megabytes(path: &Path) -> anyhow::Result<(f64, f64)> {
    let zipped = std::process::Command::new("gzip").args(["-9", "-c"]).arg(path).output()?;
    ensure!(zipped.status.success(), "gzip failed");
    #[expect(clippy::cast_precision_loss, reason = "sizes of a few megabytes")]
    let mb = |bytes: u64| bytes as f64 / 1e6;
    Ok((mb(std::fs::metadata(path)?.len()), mb(u64::try_from(zipped.stdout.len())?)))
}

fn size(binaries: &Binaries) -> anyhow::Result<()> {
    let (hello, hello_zipped) = megabytes(&binaries.baseline)?;
    let (webhook, webhook_zipped) = megabytes(&binaries.webhook)?;
    println!("| binary | {hello:.2} MB | | {webhook:.2} MB | {:.2} | - |", webhook / hello);
    println!(
        "| binary, zipped | {hello_zipped:.2} MB | | {webhook_zipped:.2} MB | {:.2} | 3 MB |",
        webhook_zipped / hello_zipped
    );
    Ok(())
}

/// The times of one measurement, in order.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    fn shown(&mut self) -> String {
        format!("{} ({})", micros(self.percentile(50)), micros(self.percentile(99)))
    }

    fn percentile(&mut self, percent: usize) -> Duration {
        self.0.sort_unstable();
        let place = (self.0.len().saturating_sub(1)) * percent / 100;
        *self.0.get(place).expect("a time was measured")
    }
}

/// Prints medians, with the 99th percentile in brackets, and the ratio of the medians.
fn row(what: &str, hello: Option<&mut Times>, bare: Option<&mut Times>, webhook: &mut Times, budget: &str) {
    let mut against = Duration::ZERO;
    let baselines = [hello, bare].map(|times| match times {
        Some(times) => {
            against += times.percentile(50);
            times.shown()
        }
        None => String::new(),
    });
    let ratio = webhook.percentile(50).as_secs_f64() / against.as_secs_f64();
    println!("| {what} | {} | {} | {ratio:.2} | {budget} |", baselines.join(" | "), webhook.shown());
}

fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}
