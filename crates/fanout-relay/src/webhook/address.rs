//! The addresses that a webhook may be sent to.
//!
//! Names are checked when the relay connects, and not only when it starts: a name of the public internet can later get the
//! address of a private host, or of the metadata service of a cloud.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::post::{host_address, is_loopback};

/// The addresses of one target: public ones, and those of allowed networks. If the URL names this machine, they are the
/// loopback addresses.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    is_loopback: bool,
    allowed: Arc<[IpNet]>,
    lookup: Lookup,
}

/// Returns the addresses of a name.
type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

fn lookup(name: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
}

/// Error for an address that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address {0} is not public, and no network in `allow` contains it")]
pub struct Refused(pub IpAddr);

/// The networks of IPv4 that are not public. Source: the IANA IPv4 Special-Purpose Address Registry, and RFC 1112.
const NOT_PUBLIC_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// The only network of IPv6 with public addresses. Addresses that contain one of IPv4 are outside of it, except for those
/// of Teredo and 6to4. Source: the IANA IPv6 Address Space.
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0], 3);

/// The parts of [`PUBLIC_V6`] that are not public: protocols (Teredo among them), documentation, and 6to4.
/// Source: the IANA IPv6 Special-Purpose Address Registry.
const NOT_PUBLIC_V6: [Ipv6Net; 4] =
    [v6([0x2001, 0], 23), v6([0x2001, 0xdb8], 32), v6([0x2002, 0], 16), v6([0x3fff, 0], 20)];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b]: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            PUBLIC_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&address))
        }
    }
}

impl Addresses {
    /// Returns the addresses for `url`.
    ///
    /// # Errors
    /// If the host of `url` is an address that is refused.
    pub(super) fn new(url: &Url, allowed: &[IpNet]) -> Result<Self, Refused> {
        let addresses = Self { is_loopback: is_loopback(url), allowed: allowed.into(), lookup };
        // Such a host is not resolved.
        match host_address(url) {
            Some(address) if !addresses.contains(address) => Err(Refused(address)),
            _ => Ok(addresses),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        if self.is_loopback {
            return address.is_loopback();
        }
        is_public(address) || self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Returns the permitted ones of the addresses of a name.
    fn permitted(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let (permitted, refused): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| self.contains(address.ip()));
        match refused.first() {
            Some(refused) if permitted.is_empty() => Err(Refused(refused.ip())),
            _ => Ok(permitted),
        }
    }
}

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.clone();
        Box::pin(async move {
            let found = (addresses.lookup)(name.as_str().to_owned()).await?;
            let addresses: Addrs = Box::new(addresses.permitted(found)?.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use http::HeaderMap;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::webhook::post::{self, Poster};

    #[test]
    fn knows_public_addresses() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("100.128.0.1", true),
            ("172.32.0.1", true),
            ("2606:4700::1111", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.100.100.200", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:1.1.1.1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("2001:0:4136:e378::1", false),
            ("2002:a9fe:a9fe::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn refuses_literal_addresses_unless_allowed() {
        let allowed: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "64:ff9b::/96".parse().unwrap()];
        let refused =
            |url: &str, allowed: &[IpNet]| Addresses::new(&post::url(url).unwrap(), allowed).is_err();
        for url in ["https://10.0.0.1/", "https://167772161/", "https://0xa.1/", "https://[64:ff9b::a00:1]/"]
        {
            assert!(refused(url, &[]), "{url}");
            assert!(!refused(url, &allowed), "{url}");
        }
        for url in ["https://192.168.0.1/", "https://169.254.169.254/", "https://[::ffff:10.0.0.1]/"] {
            assert!(refused(url, &allowed), "{url}");
        }
        for url in ["http://127.0.0.1/", "http://[::1]/", "https://1.1.1.1/"] {
            assert!(!refused(url, &[]), "{url}");
        }
    }

    #[test]
    fn filters_addresses_of_names() {
        let of = |url: &str| Addresses::new(&post::url(url).unwrap(), &[]).unwrap();
        let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
        let (public, private, local) = (address("1.1.1.1"), address("10.0.0.1"), address("127.0.0.1"));
        let name = of("https://example.com/");
        assert_eq!(name.permitted(vec![private, public]), Ok(vec![public]));
        assert_eq!(name.permitted(vec![private]), Err(Refused(private.ip())));
        assert_eq!(name.permitted(vec![local]), Err(Refused(local.ip())));
        // A name of this machine stays on this machine.
        let localhost = of("http://localhost:1/");
        assert_eq!(localhost.permitted(vec![local]), Ok(vec![local]));
        assert_eq!(localhost.permitted(vec![public]), Err(Refused(public.ip())));
    }

    #[tokio::test]
    async fn resolver_refuses_name_with_private_address() {
        // Every machine resolves this name to itself.
        let addresses = Addresses { is_loopback: false, allowed: Arc::default(), lookup };
        let resolved = addresses.resolve("localhost".parse().unwrap()).await;
        let error = resolved.err().expect("it is refused").to_string();
        assert!(error.ends_with("is not public, and no network in `allow` contains it"), "{error}");
    }

    #[tokio::test]
    async fn name_that_changes_to_metadata_address_is_refused_at_next_connection() {
        static HAS_CHANGED: AtomicBool = AtomicBool::new(false);
        fn changing(_: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let has_changed = HAS_CHANGED.swap(true, Ordering::SeqCst);
            let ip = if has_changed { [169, 254, 169, 254] } else { [127, 0, 0, 1] };
            Box::pin(std::future::ready(Ok(vec![SocketAddr::from((ip, 0))])))
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = post::url(&format!("http://hook.example:{}/", listener.local_addr().unwrap().port()));
        let allowed = Arc::new(["127.0.0.0/8".parse().unwrap()]);
        let addresses = Addresses { is_loopback: false, allowed, lookup: changing };
        let poster = Poster::guarded(url.unwrap(), Duration::from_secs(5), addresses).unwrap();
        let receiver = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"body") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let response = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(response).await.unwrap();
        });
        let post = async || poster.post(HeaderMap::new(), Bytes::from("body")).await;
        assert!(post().await.unwrap().status.is_success());
        receiver.await.unwrap();
        let error = post().await.unwrap_err().to_string();
        assert!(error.contains("the address 169.254.169.254 is not public"), "{error}");
    }
}
