//! A TCP proxy with faults on demand: resets, black holes, half-open connections, delays, and cuts after some bytes.
//!
//! A test sets faults and waits for events. Nothing depends on time, except for a delay.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The effect of a proxy on its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// All bytes pass.
    #[default]
    None,
    /// Each piece passes after this time.
    Delay(Duration),
    /// Connections stay open, and nothing passes until the fault ends.
    BlackHole,
    /// Open connections are reset, and so is each new one.
    Reset,
    /// Each connection is reset after so many bytes of the server, those before the fault included.
    ResetAfter(u64),
}

/// A proxy on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct FaultyProxy {
    address: SocketAddr,
    control: watch::Sender<Control>,
    events: watch::Sender<Events>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
struct Control {
    to: SocketAddr,
    fault: Fault,
    /// Connections with a number below are reset.
    reset_below: u64,
    /// Connections with a number below are half-open.
    half_open_below: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Events {
    connections: u64,
    held: u64,
}

/// How a connection ends, unless its two sides end it.
#[derive(Clone, Copy, Debug)]
enum End {
    Reset,
    HalfOpen,
}

impl FaultyProxy {
    /// Starts a proxy without a fault, whose connections lead to `to`.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let control =
            watch::Sender::new(Control { to, fault: Fault::None, reset_below: 0, half_open_below: 0 });
        let events = watch::Sender::new(Events::default());
        let task = tokio::spawn(serve(listener, control.subscribe(), events.clone()));
        Ok(Self { address, control, events, task })
    }

    /// Returns the address of the proxy.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the proxy, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the fault of open and new connections.
    pub fn set(&self, fault: Fault) {
        self.control.send_modify(|control| control.fault = fault);
    }

    /// Leads new connections to another server.
    pub fn lead_to(&self, to: SocketAddr) {
        self.control.send_modify(|control| control.to = to);
    }

    /// Resets all open connections. New ones pass.
    pub fn reset(&self) {
        let below = self.connections();
        self.control.send_modify(|control| control.reset_below = below);
    }

    /// Resets the server's side of all open connections. The client's side stays open, and hears nothing more, as after a
    /// server that lost its power. New connections pass.
    pub fn half_open(&self) {
        let below = self.connections();
        self.control.send_modify(|control| control.half_open_below = below);
    }

    /// Returns the number of connections since the start, those that were reset at once included.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.events.borrow().connections
    }

    /// Waits for this number of connections since the start.
    pub async fn wait_for_connections(&self, number: u64) {
        self.wait(|events| events.connections >= number).await;
    }

    /// Returns the number of pieces that were stopped by black holes.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.events.borrow().held
    }

    /// Waits until black holes have stopped this number of pieces.
    pub async fn wait_for_held(&self, number: u64) {
        self.wait(|events| events.held >= number).await;
    }

    async fn wait(&self, condition: impl FnMut(&Events) -> bool) {
        self.events.subscribe().wait_for(condition).await.expect("the sender lives in `self`");
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, control: watch::Receiver<Control>, events: watch::Sender<Events>) {
    // The connections end with the proxy.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = events.borrow().connections;
        events.send_modify(|events| events.connections += 1);
        connections.spawn(connection(client, number, control.clone(), events.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    mut client: TcpStream,
    number: u64,
    mut control: watch::Receiver<Control>,
    events: watch::Sender<Events>,
) {
    let Control { to, fault, .. } = *control.borrow();
    let server = if fault == Fault::Reset { None } else { TcpStream::connect(to).await.ok() };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let requests = pass(&mut from_client, &mut to_server, control.clone(), &events, false);
        let responses = pass(&mut from_server, &mut to_client, control.clone(), &events, true);
        tokio::select! {
            passed = async { tokio::try_join!(requests, responses) } => passed.err(),
            end = end(&mut control, number) => end,
        }
    };
    match ended {
        None => {}
        Some(End::Reset) => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        Some(End::HalfOpen) => {
            let _ = server.set_zero_linger();
            drop(server);
            std::future::pending::<()>().await;
        }
    }
}

/// Waits until a fault ends the connection.
async fn end(control: &mut watch::Receiver<Control>, number: u64) -> Option<End> {
    let ends = |control: &Control| {
        if number < control.half_open_below {
            Some(End::HalfOpen)
        } else if control.fault == Fault::Reset || number < control.reset_below {
            Some(End::Reset)
        } else {
            None
        }
    };
    let control = control.wait_for(|control| ends(control).is_some()).await.ok()?;
    ends(&control)
}

/// Passes the bytes of one direction, until it ends in good order.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut control: watch::Receiver<Control>,
    events: &watch::Sender<Events>,
    is_response: bool,
) -> Result<(), End> {
    let mut buffer = vec![0; 16 * 1_024];
    let mut passed: u64 = 0;
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| End::Reset)?;
        if control.borrow().fault == Fault::BlackHole {
            events.send_modify(|events| events.held += 1);
        }
        let fault = match control.wait_for(|control| control.fault != Fault::BlackHole).await {
            Ok(control) => control.fault,
            Err(_) => return Err(End::Reset),
        };
        if let Fault::Delay(delay) = fault {
            tokio::time::sleep(delay).await;
        }
        let left = match fault {
            Fault::ResetAfter(bytes) if is_response => bytes.saturating_sub(passed),
            _ => u64::MAX,
        };
        let piece = buffer.get(..length).unwrap_or_default();
        let piece = piece.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(piece);
        passed = passed.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        let is_cut = left <= u64::try_from(length).unwrap_or(u64::MAX);
        if to.write_all(piece).await.is_err() || is_cut {
            return Err(End::Reset);
        }
        if length == 0 {
            return to.shutdown().await.map_err(|_| End::Reset);
        }
    }
}
