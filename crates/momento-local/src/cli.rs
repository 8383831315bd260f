//! The flags of the binary, and its run.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use crate::builder::{
    Builder, DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_HISTORY, DEFAULT_LATEST, DEFAULT_MAX_ITEMS_BYTES,
    DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_MAX_SUBSCRIPTIONS,
};
use crate::{MomentoLocal, StartError};

/// The official SDKs expect a local Momento on these ports.
const DEFAULT_PORT: u16 = 8080;
const DEFAULT_ADMIN_PORT: u16 = 9090;

/// A local Momento: topics and caches over real gRPC, for development and tests.
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
pub struct Args {
    /// Address for gRPC, without TLS; port 0 takes a free port
    #[arg(long, value_name = "ADDR", default_value_t = (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into())]
    pub listen: SocketAddr,

    /// Address of the admin port (block, cut, faults); port 0 takes a free port
    #[arg(long, value_name = "ADDR", default_value_t = (Ipv4Addr::LOCALHOST, DEFAULT_ADMIN_PORT).into())]
    pub admin: SocketAddr,

    /// Name or address that clients use for the admin port, in addition to localhost; repeatable
    #[arg(long = "admin-host", value_name = "HOST")]
    pub admin_hosts: Vec<String>,

    /// Open no admin port
    #[arg(long, conflicts_with_all = ["admin", "admin_hosts"])]
    pub no_admin: bool,

    /// Cache that exists from the start; repeatable
    #[arg(long = "cache", value_name = "NAME")]
    pub caches: Vec<String>,

    /// Create a missing cache when a topic or an item in it is used
    #[arg(long)]
    pub create_caches: bool,

    /// Accept only this API key; by default any key, or none
    #[arg(long, value_name = "KEY", env = "MOMENTO_LOCAL_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,

    /// Largest message
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_MESSAGE_BYTES)]
    pub max_message_bytes: usize,

    /// Messages of a topic that a resuming subscriber can have replayed
    #[arg(long, value_name = "N", default_value_t = DEFAULT_HISTORY)]
    pub history: usize,

    /// Latest messages that a fresh subscriber receives first
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LATEST)]
    pub latest: usize,

    /// Subscriptions that are open at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_SUBSCRIPTIONS)]
    pub max_subscriptions: usize,

    /// Bytes of items that all caches keep together
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_ITEMS_BYTES)]
    pub max_items_bytes: usize,

    /// Seconds between two heartbeats of a subscription
    #[arg(long, value_name = "SECONDS", default_value_t = default_heartbeat_seconds())]
    pub heartbeat_seconds: NonZeroU32,

    /// Level of the log on standard error: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::WARN)]
    pub log: LevelFilter,
}

fn default_heartbeat_seconds() -> NonZeroU32 {
    u32::try_from(DEFAULT_HEARTBEAT_INTERVAL.as_secs())
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MIN)
}

impl From<Args> for Builder {
    fn from(args: Args) -> Self {
        let mut builder = MomentoLocal::builder()
            .listen(args.listen)
            .create_caches(args.create_caches)
            .max_message_bytes(args.max_message_bytes)
            .history(args.history)
            .latest(args.latest)
            .max_subscriptions(args.max_subscriptions)
            .max_items_bytes(args.max_items_bytes)
            .heartbeat_interval(Duration::from_secs(args.heartbeat_seconds.get().into()));
        if !args.no_admin {
            builder = builder.admin(args.admin);
        }
        // Some tools can only set a variable to empty, not unset it.
        if let Some(key) = args.api_key.filter(|key| !key.is_empty()) {
            builder = builder.api_key(key);
        }
        builder = args.admin_hosts.into_iter().fold(builder, Builder::admin_host);
        args.caches.into_iter().fold(builder, Builder::cache)
    }
}

/// Starts, prints the addresses on standard output, and serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// If the server cannot start; see [`StartError`].
pub async fn run(args: Args) -> Result<(), RunError> {
    // First, because a reader of the addresses can send a signal at once.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let momento = Builder::from(args).start().await?;
    announce(&momento);
    momento
        .run_until(async {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "shutting down");
        })
        .await;
    Ok(())
}

/// Error of the binary.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process cannot receive signals.
    #[error("cannot listen for signals")]
    Signals(#[from] std::io::Error),
}

/// Prints the addresses. A closed standard output is not an error.
fn announce(momento: &MomentoLocal) {
    let admin = momento.admin_addr().map_or_else(String::new, |addr| format!(", admin on http://{addr}"));
    let _ = writeln!(std::io::stdout(), "momento-local: gRPC on {}{admin}", momento.endpoint());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn parses_defaults_and_rejects_invalid_flags() {
        Args::command().debug_assert();
        let args = Args::parse_from(["momento-local"]);
        assert_eq!(args.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(args.admin.to_string(), "127.0.0.1:9090");
        assert_eq!(args.heartbeat_seconds.get(), 1);
        for invalid in [
            &["--listen", "localhost"][..],
            &["--heartbeat-seconds", "0"],
            &["--no-admin", "--admin", "127.0.0.1:1"],
            &["--history", "-1"],
        ] {
            assert!(Args::try_parse_from([&["momento-local"], invalid].concat()).is_err(), "{invalid:?}");
        }
    }
}
