//! Where plain HTTP is served, outside Lambda.

use std::time::Duration;

use super::{Read, Settings};

/// `PORT` and `HTTP_IDLE_TIMEOUT_SECONDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The TCP port, on all interfaces; 0 takes a free one.
    pub port: u16,
    /// The time that a connection may be without a request after its first one.
    pub idle_timeout: Duration,
}

/// Load balancers expect that they close an idle connection, and not the server. Google's keep theirs for 600 s, AWS's for 60 s.
const IDLE_TIMEOUT: u64 = 620;
/// A day.
const LONGEST_IDLE_TIMEOUT: u64 = 86_400;

impl ListenConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let port = settings.parse("PORT", 8000, "a port number, 0 to 65535");
        let name = "HTTP_IDLE_TIMEOUT_SECONDS";
        let idle_timeout = settings.parse(name, IDLE_TIMEOUT, "a number of seconds, 1 to 86400");
        let idle_timeout = idle_timeout.and_then(|seconds| match seconds {
            1..=LONGEST_IDLE_TIMEOUT => Ok(Duration::from_secs(seconds)),
            _ => settings.fault(name, "is not a number of seconds, 1 to 86400"),
        });
        Ok(Self { port: port?, idle_timeout: idle_timeout? })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::faults;

    #[test]
    fn a_port_is_a_port() {
        assert_eq!(faults(&[("PORT", "0")]), []);
        for wrong in ["65536", "-1", "http"] {
            assert_eq!(
                faults(&[("PORT", wrong)]),
                [("PORT".to_owned(), "is not a port number, 0 to 65535".to_owned())]
            );
        }
    }

    #[test]
    fn rejects_idle_timeouts_out_of_range() {
        let name = "HTTP_IDLE_TIMEOUT_SECONDS";
        for given in ["1", "86400"] {
            assert_eq!(faults(&[(name, given)]), []);
        }
        for wrong in ["0", "86401", "-1", "1m"] {
            let fault = "is not a number of seconds, 1 to 86400".to_owned();
            assert_eq!(faults(&[(name, wrong)]), [(name.to_owned(), fault)], "{wrong}");
        }
    }
}
