//! Protects an HTTP port of this machine against web pages of other origins.
//!
//! A browser sends requests to a loopback port for any page that it shows. Same-origin rules keep the response from
//! the page, but the request has its effect. With DNS rebinding, a page reads the response as well: it maps its own
//! name to `127.0.0.1`. So a local port without authentication checks every request with a [`Guard`] before it does
//! anything else. [`serve()`] serves such a port.
//!
//! | check | accepts | rejects |
//! | --- | --- | --- |
//! | `Host`, or `:authority` in HTTP/2 | `localhost`, `127.0.0.0/8`, `[::1]`, configured hosts; any port | other names, no host, two hosts |
//! | `Origin` | none, or the host and port of the request | other hosts and ports, `null` |
//! | `Sec-Fetch-Site` | none, `same-origin`, `none` | `same-site` (a page of another port), `cross-site`, other values |
//!
//! A request that changes something must not be a GET. A port that cannot avoid one accepts it only where
//! [`is_from_browser`] is false.
//!
//! ```
//! use http::{Request, StatusCode};
//! use local_guard::Guard;
//!
//! let guard = Guard::loopback().and_host("console.internal").unwrap();
//! let request = |host: &str| Request::get("/").header("host", host).body(()).unwrap();
//! assert_eq!(guard.check(&request("127.0.0.1:9090")), Ok(()));
//! assert_eq!(guard.check(&request("console.internal")), Ok(()));
//! let rejected = guard.check(&request("attacker.example")).unwrap_err();
//! assert_eq!(rejected.status(), StatusCode::FORBIDDEN);
//! ```

mod serve;

use std::net::{IpAddr, Ipv6Addr};

pub use self::serve::{json_response, serve};

use http::uri::Authority;
use http::{HeaderMap, Request, StatusCode, header};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Decides which requests a local port accepts.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The accepted hosts in addition to loopback addresses.
    hosts: Vec<Host>,
    any_host: bool,
}

/// Error for a host that cannot be configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid host `{0}`; expected a name or an IP address, without a port")]
pub struct InvalidHost(pub String);

/// The reason to reject a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The request has neither a `Host` header nor an authority.
    #[error("the request has no host")]
    MissingHost,
    /// The header appears more than once.
    #[error("the request has more than one header `{0}`")]
    RepeatedHeader(&'static str),
    /// The value of the header is malformed.
    #[error("the header `{0}` is malformed")]
    MalformedHeader(&'static str),
    /// The `Host` header and the request target name different hosts.
    #[error("the header `host` and the request target differ")]
    DifferentHosts,
    /// The host is neither a loopback address nor configured.
    #[error("host `{0}` is not allowed; expected `localhost`, a loopback address or a configured host")]
    ForeignHost(String),
    /// The request comes from a page of another origin.
    #[error("origin `{0}` is not allowed; expected the origin of this port")]
    ForeignOrigin(String),
    /// A browser says that the request comes from another site or another port.
    #[error("`sec-fetch-site: {0}` is not allowed; expected `same-origin` or `none`")]
    ForeignSite(String),
}

impl Rejected {
    /// Returns 400 for a malformed request, and 403 for one that the port must not serve.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::MissingHost | Self::RepeatedHeader(_) | Self::MalformedHeader(_) | Self::DifferentHosts => {
                StatusCode::BAD_REQUEST
            }
            Self::ForeignHost(_) | Self::ForeignOrigin(_) | Self::ForeignSite(_) => StatusCode::FORBIDDEN,
        }
    }
}

impl Guard {
    /// Returns a guard that accepts `localhost` and loopback addresses.
    #[must_use]
    pub const fn loopback() -> Self {
        Self { hosts: Vec::new(), any_host: false }
    }

    /// Returns a guard that accepts every host, for a port whose requests need a token. A page of another origin does not
    /// know the token, and is rejected all the same.
    #[must_use]
    pub const fn any_host() -> Self {
        Self { hosts: Vec::new(), any_host: true }
    }

    /// Accepts one more host, such as the name of a container.
    ///
    /// # Errors
    /// If `host` is not a name or an IP address, or has a port.
    pub fn and_host(mut self, host: &str) -> Result<Self, InvalidHost> {
        // An IPv6 address has brackets only in a URL.
        let ip = host.parse().map(Host::Ip).ok();
        let parsed = || Place::parse(host).filter(|place| place.port.is_none()).map(|place| place.host);
        self.hosts.push(ip.or_else(parsed).ok_or_else(|| InvalidHost(host.to_owned()))?);
        Ok(self)
    }

    /// Checks the headers of a request.
    ///
    /// # Errors
    /// If the request is malformed, or a page of another origin can have sent it.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Rejected> {
        let headers = request.headers();
        let place = place(request)?;
        if !self.any_host && !place.host.is_loopback() && !self.hosts.contains(&place.host) {
            return Err(Rejected::ForeignHost(place.host.to_string()));
        }
        if let Some(origin) = single(headers, header::ORIGIN.as_str())?
            && !place.is_origin(origin)
        {
            return Err(Rejected::ForeignOrigin(origin.to_owned()));
        }
        match single(headers, SEC_FETCH_SITE)? {
            None | Some("same-origin" | "none") => Ok(()),
            Some(site) => Err(Rejected::ForeignSite(site.to_owned())),
        }
    }
}

/// Returns true if the request has a header that only browsers send: `Origin` or `Sec-Fetch-Site`.
///
/// A browser also sends a GET on its own, for example to load a page in advance.
#[must_use]
pub fn is_from_browser<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
}

/// A host, for comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// A name in lower case.
    Name(String),
}

impl Host {
    fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => name == "localhost",
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

/// A host and its port, as `Host` and `Origin` have them.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: Host,
    port: Option<u16>,
}

impl Place {
    /// Parses `host` or `host:port`; `None` if it is malformed.
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        let port = match text.strip_prefix(host)? {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        let ip = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .map_or_else(|| host.parse().ok(), |ip| ip.parse::<Ipv6Addr>().map(IpAddr::V6).ok());
        let host = ip.map_or_else(|| Host::Name(host.to_ascii_lowercase()), Host::Ip);
        Some(Self { host, port })
    }

    /// Returns true if `origin` has this host and this port, with or without TLS.
    fn is_origin(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        Self::parse(authority).is_some_and(|origin| {
            origin.host == self.host
                && origin.port.unwrap_or(default_port) == self.port.unwrap_or(default_port)
        })
    }
}

/// Returns the host and port that a request is for.
///
/// HTTP/1.1 has the header `Host`, and HTTP/2 an authority. A request of HTTP/1.1 with an absolute URI has both, and
/// one of HTTP/2 may.
fn place<B>(request: &Request<B>) -> Result<Place, Rejected> {
    let malformed = || Rejected::MalformedHeader("host");
    let parse = |text| Place::parse(text).ok_or_else(malformed);
    let header = single(request.headers(), header::HOST.as_str())?.map(parse).transpose()?;
    let target = request.uri().authority().map(|authority| parse(authority.as_str())).transpose()?;
    match (header, target) {
        (Some(header), Some(target)) if header != target => Err(Rejected::DifferentHosts),
        (Some(place), _) | (None, Some(place)) => Ok(place),
        (None, None) => Err(Rejected::MissingHost),
    }
}

/// Returns the value of a header that may appear once.
fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Rejected> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejected::RepeatedHeader(name));
    }
    value.to_str().map(Some).map_err(|_| Rejected::MalformedHeader(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_host_is_accepted_in_any_case_and_with_any_port() {
        let guard = Guard::loopback().and_host("Momento").unwrap().and_host("fd00::1").unwrap();
        let check = |host: &str| guard.check(&Request::get("/").header("host", host).body(()).unwrap());
        for host in ["momento", "MOMENTO:9090", "[fd00::1]", "[fd00:0::1]:80", "localhost"] {
            assert_eq!(check(host), Ok(()), "{host}");
        }
        for host in ["momento.example", "[fd00::2]", "fd00::1"] {
            assert!(check(host).is_err(), "{host}");
        }
    }

    #[test]
    fn guard_for_any_host_still_rejects_other_origins() {
        let request = |origin: &str| {
            let request = Request::get("/").header("host", "10.0.0.7:9100");
            let request = if origin.is_empty() { request } else { request.header("origin", origin) };
            Guard::any_host().check(&request.body(()).unwrap())
        };
        assert_eq!(request(""), Ok(()));
        assert!(matches!(request("http://attacker.example"), Err(Rejected::ForeignOrigin(_))));
    }

    #[test]
    fn rejects_invalid_configured_host() {
        for host in ["", " ", "a b", "name:80", "http://name", "user@name", "name/path", "[::1]:80"] {
            assert_eq!(Guard::loopback().and_host(host).unwrap_err(), InvalidHost(host.to_owned()));
        }
    }

    #[test]
    fn origin_of_tls_proxy_is_accepted_for_configured_host() {
        let guard = Guard::loopback().and_host("console.internal").unwrap();
        let check = |origin: &str| {
            let request = Request::post("/").header("host", "console.internal").header("origin", origin);
            guard.check(&request.body(()).unwrap())
        };
        for origin in ["https://console.internal", "https://console.internal:443", "http://console.internal"]
        {
            assert_eq!(check(origin), Ok(()), "{origin}");
        }
        for origin in ["https://console.internal:8443", "ftp://console.internal", "console.internal"] {
            assert_eq!(check(origin), Err(Rejected::ForeignOrigin(origin.to_owned())));
        }
    }
}
