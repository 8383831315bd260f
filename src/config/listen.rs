//! Where plain HTTP is served, outside Lambda.

use super::{Read, Settings};

/// `PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The TCP port, on all interfaces; 0 takes a free one.
    pub port: u16,
}

impl ListenConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        settings.parse("PORT", 8000, "a port number, 0 to 65535").map(|port| Self { port })
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
}
