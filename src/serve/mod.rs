//! The listeners. Each takes its shutdown from the caller, finishes the requests that have begun within a deadline, and
//! passes every request to the same [`Webhook`](crate::webhook::Webhook).

use std::time::Duration;

mod budget;
pub mod http;
pub mod lambda;
mod sqs_batch;

/// The time for requests that have begun to finish after the shutdown.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Completes when the process receives `SIGTERM`, as from platforms, or `SIGINT`, as from a terminal.
///
/// # Errors
/// If the process cannot listen for signals.
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
