//! The listeners. Each takes its shutdown from the caller, finishes what it has begun within a
//! deadline, and hands every request to the same [`Webhook`](crate::webhook::Webhook).

use std::time::Duration;

mod budget;
pub mod http;
pub mod lambda;
mod sqs_batch;

/// How long requests that have begun may take to end once no more are accepted.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Completes when the process is asked to end: by `SIGTERM`, as platforms do, or by `SIGINT`, as
/// people do.
///
/// # Errors
/// When signals cannot be listened to.
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
