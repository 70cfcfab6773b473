//! A TCP proxy on loopback whose connections can be cut, for tests of what a broken network does.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards connections to one target until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    cuts: Arc<watch::Sender<u64>>,
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
        let cuts = Arc::new(watch::Sender::new(0));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&cuts)));
        Ok(Self { address, cuts, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every open connection in the middle of whatever it carries; new ones work.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, cuts: Arc<watch::Sender<u64>>) {
    loop {
        let Ok((mut ours, _)) = listener.accept().await else { continue };
        let mut cut = cuts.subscribe();
        cut.mark_unchanged();
        tokio::spawn(async move {
            // A target that is down shows as a connection that ends at once.
            let Ok(mut theirs) = TcpStream::connect(target).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut ours, &mut theirs) => {}
                _ = cut.changed() => {}
            }
        });
    }
}
