//! A TCP proxy on loopback whose connections can be cut, stranded or held up, for tests of what a broken network does.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes that one direction of a connection holds at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// What the proxy does with connections now.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Connections so far.
    accepted: u64,
    /// Connections older than this one are gone.
    cut_below: u64,
    /// Connections older than this one stay open but carry nothing any more.
    stranded_below: u64,
    /// None carries anything for now.
    held_up: bool,
}

impl State {
    fn passes(&self, connection: u64) -> bool {
        !self.held_up && connection >= self.stranded_below
    }
}

/// Forwards connections to one target until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of loopback; each connection goes on to `target`.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on loopback")?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new(State::default()));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&state)));
        Ok(Self { address, state, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every open connection in the middle of whatever it carries; new ones work.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut_below = state.accepted);
    }

    /// Lets every open connection carry nothing any more, not even its end, as where a firewall forgot it; new ones work.
    pub fn strand(&self) {
        self.state.send_modify(|state| state.stranded_below = state.accepted);
    }

    /// Lets no connection carry anything, new ones neither, until [`Proxy::let_go`]; nothing is lost meanwhile.
    pub fn hold_up(&self) {
        self.state.send_modify(|state| state.held_up = true);
    }

    /// Ends [`Proxy::hold_up`].
    pub fn let_go(&self) {
        self.state.send_modify(|state| state.held_up = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.send_modify(|state| state.cut_below = u64::MAX);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, state: Arc<watch::Sender<State>>) {
    loop {
        let Ok((ours, _)) = listener.accept().await else { continue };
        let mut connection = 0;
        state.send_modify(|state| {
            connection = state.accepted;
            state.accepted += 1;
        });
        let (seen, mut cuts) = (state.subscribe(), state.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                () = forward(ours, target, connection, seen) => {}
                // Also where the proxy is gone: its sender ends with the last task that holds it.
                _ = cuts.wait_for(|state| connection < state.cut_below) => {}
            }
        });
    }
}

async fn forward(ours: TcpStream, target: SocketAddr, connection: u64, state: watch::Receiver<State>) {
    // A target that is down shows as a connection that ends at once.
    let Ok(theirs) = TcpStream::connect(target).await else { return };
    // Small messages go out at once, as they came in.
    let _ = (ours.set_nodelay(true), theirs.set_nodelay(true));
    let ((our_end, our_start), (their_end, their_start)) = (ours.into_split(), theirs.into_split());
    tokio::join!(
        pump(our_end, their_start, connection, state.clone()),
        pump(their_end, our_start, connection, state.clone())
    );
}

/// One direction, until its source ends or its sink is gone.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    connection: u64,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if state.wait_for(|state| state.passes(connection)).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
