//! The HTTP server, outside Lambda.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Read, Settings};

/// `PORT`, `HTTP_IDLE_TIMEOUT_SECONDS` and `HTTP_BODY_MEMORY_MIB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The TCP port, on all interfaces. 0 takes a free port.
    pub port: u16,
    /// The time that a connection may be without a request after its first one.
    pub idle_timeout: Duration,
    /// The memory for the bodies of all requests together, in bytes.
    pub body_memory: usize,
}

/// `METRICS_ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The address of the port with metrics for Prometheus.
    pub address: Option<SocketAddr>,
}

const METRICS_ADDRESS: &str = "METRICS_ADDRESS";

/// Load balancers expect that they close an idle connection, and not the server. Google's keep theirs for 600 s, AWS's for 60 s.
const IDLE_TIMEOUT: u64 = 620;
/// Room for 128 of the largest bodies, or for 3,000 usual ones. With 64, the process passes 100 MiB under attack.
const BODY_MEMORY_MIB: usize = 32;
/// A day.
const LONGEST_IDLE_TIMEOUT: u64 = 86_400;

impl ListenConfig {
    /// The port without `PORT`.
    pub const DEFAULT_PORT: u16 = 8000;

    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let port = settings.parse("PORT", Self::DEFAULT_PORT, "a port number, 0 to 65535");
        let name = "HTTP_IDLE_TIMEOUT_SECONDS";
        let idle_timeout = settings.parse(name, IDLE_TIMEOUT, "a number of seconds, 1 to 86400");
        let idle_timeout = idle_timeout.and_then(|seconds| match seconds {
            1..=LONGEST_IDLE_TIMEOUT => Ok(Duration::from_secs(seconds)),
            _ => settings.fault(name, "is not a number of seconds, 1 to 86400"),
        });
        let name = "HTTP_BODY_MEMORY_MIB";
        let body_memory = settings.parse(name, BODY_MEMORY_MIB, "a number of MiB, 1 to 65536");
        let body_memory = body_memory.and_then(|mib| match mib {
            1..=65_536 => Ok(mib * 1024 * 1024),
            _ => settings.fault(name, "is not a number of MiB, 1 to 65536"),
        });
        Ok(Self { port: port?, idle_timeout: idle_timeout?, body_memory: body_memory? })
    }
}

impl MetricsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        match settings.line(METRICS_ADDRESS)?.map(|given| given.parse()) {
            None => Ok(Self { address: None }),
            Some(Ok(address)) => Ok(Self { address: Some(address) }),
            Some(Err(_)) => {
                settings.fault(METRICS_ADDRESS, "is not an IP address with a port, such as 127.0.0.1:9091")
            }
        }
    }

    /// Rejects the setting, for a function without such a port.
    pub(super) fn reject(settings: &mut Settings<'_>) -> Read<()> {
        match settings.get(METRICS_ADDRESS)? {
            None => Ok(()),
            Some(_) => settings.fault(METRICS_ADDRESS, "is for the function `webhook`; leave it out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::faults;

    #[test]
    fn rejects_invalid_ports() {
        assert_eq!(faults(&[("PORT", "0")]), []);
        for wrong in ["65536", "-1", "http"] {
            assert_eq!(
                faults(&[("PORT", wrong)]),
                [("PORT".to_owned(), "is not a port number, 0 to 65535".to_owned())]
            );
        }
    }

    #[test]
    fn rejects_invalid_addresses_of_metrics() {
        for good in ["", "127.0.0.1:9091", "0.0.0.0:0", "[::1]:9091"] {
            assert_eq!(faults(&[("METRICS_ADDRESS", good)]), []);
        }
        for wrong in ["9091", ":9091", "localhost:9091", "127.0.0.1"] {
            let expected = "is not an IP address with a port, such as 127.0.0.1:9091";
            let fault = ("METRICS_ADDRESS".to_owned(), expected.to_owned());
            assert_eq!(faults(&[("METRICS_ADDRESS", wrong)]), [fault], "{wrong}");
        }
    }

    #[test]
    fn rejects_numbers_out_of_range() {
        for (name, most, above, expected) in [
            ("HTTP_IDLE_TIMEOUT_SECONDS", "86400", "86401", "a number of seconds, 1 to 86400"),
            ("HTTP_BODY_MEMORY_MIB", "65536", "65537", "a number of MiB, 1 to 65536"),
        ] {
            for given in ["1", most] {
                assert_eq!(faults(&[(name, given)]), []);
            }
            for wrong in ["0", above, "-1", "1m"] {
                assert_eq!(
                    faults(&[(name, wrong)]),
                    [(name.to_owned(), format!("is not {expected}"))],
                    "{wrong}"
                );
            }
        }
    }
}
