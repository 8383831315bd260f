//! The connections of clients, and how to break them.
//!
//! Every accepted socket is wrapped so that it can be cut from elsewhere: by a fault that a call on it
//! runs into, by [`Gate::block`], or because the time for an orderly shutdown is over. A cut connection
//! carries no more bytes in either direction and ends with a TCP reset, as a failing network path would.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long accepting pauses when the system will not hand out sockets (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Lets connections in or keeps them out, and can cut those that are in.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<GateState>);

#[derive(Debug, Default)]
struct GateState {
    blocked: bool,
    /// Parent of the kill switches of all connections let in since the last cut.
    connections: CancellationToken,
}

impl Gate {
    /// Cuts all connections and lets no new one in.
    pub(crate) fn block(&self) {
        let mut state = self.state();
        state.blocked = true;
        state.cut();
    }

    /// Lets connections in again.
    pub(crate) fn unblock(&self) {
        self.state().blocked = false;
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.state().blocked
    }

    /// Cuts all connections; new ones are welcome.
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

/// Cuts one connection. Found in the extensions of every request that came over it.
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

    /// What cuts it.
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
        // HTTP/2 always has a read pending, so that this is what wakes the connection when it is cut.
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

/// The next connection that the gate lets in. Can be dropped at any time without losing one.
pub(crate) async fn accept(listener: &TcpListener, gate: &Gate) -> Connection {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                if let Some(switch) = gate.admit() {
                    // Small messages go out at once, as a service that is measured in milliseconds must.
                    let _ = socket.set_nodelay(true);
                    return Connection::new(socket, switch);
                }
                reset(&socket);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Makes closing the socket send a reset. Without it the close is an orderly one, which is no worse than
/// a test that is less sharp.
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
    async fn a_cut_ends_a_pending_read_and_resets_the_peer() {
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
    async fn a_blocked_gate_turns_clients_away_until_it_is_unblocked() {
        let (addr, listener) = listening().await;
        let gate = Gate::default();
        gate.block();
        let mut turned_away = TcpStream::connect(addr).await.unwrap();
        let let_in = async {
            assert_eq!(turned_away.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            gate.unblock();
            TcpStream::connect(addr).await.unwrap().local_addr().unwrap()
        };
        let (accepted, let_in) = tokio::join!(accept(&listener, &gate), let_in);
        assert_eq!(accepted.socket.peer_addr().unwrap(), let_in);
    }
}
