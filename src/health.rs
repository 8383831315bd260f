//! The health check of a container, which has no shell: asks the HTTP server on this machine.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::{ListenConfig, Source};

/// The timeout for each step: connecting, writing, reading.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the function is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// `PORT` cannot be read, or is invalid.
    #[error("PORT is not a port number, 1 to 65535")]
    Port,
    /// The server does not respond.
    #[error("the server on port {0} does not respond")]
    NoResponse(u16, #[source] std::io::Error),
    /// The server responds with another status than 200.
    #[error("the server on port {0} responds with another status than 200")]
    Status(u16),
}

/// Asks the function that listens on `PORT` for its health.
///
/// # Errors
/// If it does not respond with 200 in time.
pub fn check(source: &dyn Source) -> Result<(), HealthError> {
    let port = match source.get("PORT") {
        Ok(Some(port)) if !port.is_empty() => port.parse().map_err(|_| HealthError::Port)?,
        Ok(_) => ListenConfig::DEFAULT_PORT,
        Err(_) => return Err(HealthError::Port),
    };
    let is_ok = ask(port).map_err(|error| HealthError::NoResponse(port, error))?;
    if is_ok { Ok(()) } else { Err(HealthError::Status(port)) }
}

fn ask(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut start = *b"HTTP/1.1 200";
    stream.read_exact(&mut start)?;
    Ok(start == *b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::tests::vars;

    /// Serves one response, and returns the result of a check.
    fn check_of(response: &'static [u8]) -> Result<(), HealthError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(response).unwrap();
            request[..read].to_vec()
        });
        let checked = check(&vars(&[("PORT", &port)]));
        assert!(server.join().unwrap().starts_with(b"GET /health HTTP/1.1\r\n"));
        checked
    }

    #[test]
    fn check_fails_unless_response_is_200() {
        assert!(check_of(b"HTTP/1.1 200 OK\r\n\r\n").is_ok());
        assert!(matches!(check_of(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), Err(HealthError::Status(_))));
        assert!(matches!(check_of(b""), Err(HealthError::NoResponse(..))));
    }

    #[test]
    fn check_rejects_invalid_port() {
        assert!(matches!(check(&vars(&[("PORT", "http")])), Err(HealthError::Port)));
    }
}
