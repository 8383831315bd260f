//! The connections of clients, and the ways to cut them.
//!
//! A wrapper around each accepted socket lets other code cut it: a fault of a call on it, [`Gate::block`], or a
//! shutdown whose time is over. A cut connection carries no more bytes in either direction. It ends with a TCP
//! reset, as with a failing network.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The wait before the next accept when the system has no socket to give (too many open files).
pub(crate) const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Accepts or refuses new connections, and cuts open ones.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<GateState>);

#[derive(Debug, Default)]
struct GateState {
    blocked: bool,
    /// The parent of the kill switches of all connections since the last cut.
    connections: CancellationToken,
}

impl Gate {
    /// Cuts all connections and refuses new ones.
    pub(crate) fn block(&self) {
        let mut state = self.state();
        state.blocked = true;
        state.cut();
    }

    /// Accepts connections again.
    pub(crate) fn unblock(&self) {
        self.state().blocked = false;
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.state().blocked
    }

    /// Cuts all connections, and still accepts new ones.
    pub(crate) fn cut(&self) {
        self.state().cut();
    }

    fn admit(&self) -> Option<KillSwitch> {
        let state = self.state();
        (!state.blocked).then(|| KillSwitch(state.connections.child_token()))
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GateState {
    fn cut(&mut self) {
        std::mem::take(&mut self.connections).cancel();
    }
}

/// Cuts one connection. The extensions of each of its requests hold a copy.
#[derive(Clone, Debug)]
pub(crate) struct KillSwitch(CancellationToken);

impl KillSwitch {
    pub(crate) fn cut(&self) {
        self.0.cancel();
    }
}

/// An accepted socket that can be cut.
pub(crate) struct Connection {
    socket: TcpStream,
    switch: KillSwitch,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn new(socket: TcpStream, switch: KillSwitch) -> Self {
        let cut = Box::pin(switch.0.clone().cancelled_owned());
        Self { socket, switch, cut }
    }

    /// Returns the switch that cuts this connection.
    pub(crate) fn switch(&self) -> KillSwitch {
        self.switch.clone()
    }

    fn check(&self) -> io::Result<()> {
        if self.switch.0.is_cancelled() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.check().is_err() {
            reset(&self.socket);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        // A cut wakes the connection here, because HTTP/2 always has a read pending.
        if this.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(this.check());
        }
        Pin::new(&mut this.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

/// Accepts the next connection that the gate allows. Cancel safe: a dropped future loses no connection.
pub(crate) async fn accept(listener: &TcpListener, gate: &Gate) -> Connection {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                if let Some(switch) = gate.admit() {
                    // Small messages must not wait for more data.
                    let _ = socket.set_nodelay(true);
                    return Connection::new(socket, switch);
                }
                reset(&socket);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Makes the close of the socket send a reset. If this fails, the close is an orderly one.
fn reset(socket: &TcpStream) {
    let _ = socket.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn listening() -> (std::net::SocketAddr, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap(), listener)
    }

    #[tokio::test]
    async fn cut_ends_pending_read_and_resets_peer() {
        let (addr, listener) = listening().await;
        let gate = Gate::default();
        let mut client = TcpStream::connect(addr).await.unwrap();
        let mut server = accept(&listener, &gate).await;
        let reading = tokio::spawn(async move {
            let error = server.read_u8().await.unwrap_err();
            let written = server.write_u8(1).await.unwrap_err();
            (error.kind(), written.kind())
        });
        tokio::task::yield_now().await;
        gate.cut();
        let reset = io::ErrorKind::ConnectionReset;
        assert_eq!(reading.await.unwrap(), (reset, reset));
        assert_eq!(client.read_u8().await.unwrap_err().kind(), reset);
    }

    #[tokio::test]
    async fn blocked_gate_refuses_clients_until_unblocked() {
        let (addr, listener) = listening().await;
        let gate = Gate::default();
        gate.block();
        let mut refused = TcpStream::connect(addr).await.unwrap();
        let admitted = async {
            assert_eq!(refused.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            gate.unblock();
            TcpStream::connect(addr).await.unwrap().local_addr().unwrap()
        };
        let (accepted, admitted) = tokio::join!(accept(&listener, &gate), admitted);
        assert_eq!(accepted.socket.peer_addr().unwrap(), admitted);
    }
}
