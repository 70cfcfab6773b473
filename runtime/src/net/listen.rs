//! Listeners of a coordinator: TCP with or without TLS for fleets, an in-memory duplex for the embedded mode. Health and
//! reflection are always served.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    codegen::http,
    service::Routes,
    transport::{Endpoint, Server, server::Connected},
};
use tracing::Span;

use super::{Channel, Peer, channel::TRACE_PARENT, refusal, tls::Tls};
use crate::telemetry;

/// Bytes that one direction of an in-memory connection buffers.
const DUPLEX_BYTES: usize = 256 << 10;
/// Connections that wait to be accepted.
const BACKLOG: usize = 16;
/// Handshakes under way at most; peers beyond them try again.
const HANDSHAKES_MAX: usize = 1024;
/// How often a silent connection is probed, so that a dead peer's place is free again.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long the answer to such a probe may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept, which most likely lacks file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where requests come from.
#[derive(Debug)]
pub enum Listener {
    /// A bound TCP socket.
    Tcp(TcpListener),
    /// A bound TCP socket whose peers must show a certificate.
    Tls(TcpListener, Tls),
    /// The other half of an [`InMemory`].
    InMemory(mpsc::Receiver<DuplexStream>),
}

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC listener failed")]
pub struct ServeError(#[from] tonic::transport::Error);

/// The connecting half of an in-memory transport.
#[derive(Clone, Debug)]
pub struct InMemory(mpsc::Sender<DuplexStream>);

impl InMemory {
    /// A channel to the listening half; real gRPC over a duplex stream.
    #[must_use]
    pub fn channel(&self) -> Channel {
        let sender = self.0.clone();
        let connector = tower::service_fn(move |_| {
            let sender = sender.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(DUPLEX_BYTES);
                let gone = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the embedded coordinator has ended");
                sender.send(theirs).await.map_err(gone)?;
                Ok::<_, io::Error>(TokioIo::new(ours))
            }
        });
        Channel::of(Endpoint::from_static("http://embedded.invalid").connect_with_connector_lazy(connector))
    }
}

/// Both halves of an in-memory transport.
#[must_use]
pub fn in_memory() -> (InMemory, Listener) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    (InMemory(sender), Listener::InMemory(receiver))
}

/// Serves `routes` until `shutdown`, then lets requests in flight end.
///
/// # Errors
/// Where the transport fails as a whole; single connections that break are not errors.
pub async fn serve(
    listener: Listener,
    routes: Routes,
    descriptor_set: &'static [u8],
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptor_set)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let sound = "our descriptor set is generated together with our services";
    // The older one too: Python's client of reflection and older grpcurls speak no other.
    let (newer, older) = (reflection().build_v1().expect(sound), reflection().build_v1alpha().expect(sound));
    let routes = routes.add_service(health_service).add_service(newer).add_service(older);
    let incoming: BoxStream<'static, io::Result<Connection>> = match listener {
        Listener::Tcp(listener) => {
            TcpListenerStream::new(listener).map(|stream| stream.and_then(Connection::tcp)).boxed()
        }
        Listener::Tls(listener, tls) => {
            let (greeted, connections) = mpsc::channel(BACKLOG);
            tokio::spawn(greet(listener, tls, greeted, shutdown.clone()));
            ReceiverStream::new(connections).map(Ok).boxed()
        }
        Listener::InMemory(receiver) => {
            ReceiverStream::new(receiver).map(|stream| Ok(Connection::Embedded(stream))).boxed()
        }
    };
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .trace_fn(span_of)
        .add_routes(routes)
        .serve_with_incoming_shutdown(Incoming(incoming), shutdown.cancelled_owned())
        .await?;
    Ok(())
}

/// The span of a call that belongs to a trace; a call of none, as the polls and reports of idle workers are, begins none.
fn span_of(request: &http::Request<()>) -> Span {
    let header = request.headers().get(TRACE_PARENT).and_then(|value| value.to_str().ok());
    let Some(parent) = header.filter(|parent| !telemetry::trace_id(parent).is_empty()) else { return Span::none() };
    let method = request.uri().path().trim_start_matches('/');
    let span = tracing::info_span!("call", otel.name = method, otel.kind = "server");
    telemetry::continue_trace(&span, parent);
    span
}

/// Accepts connections and greets each in a task of its own, so that nobody waits for another's handshake.
async fn greet(listener: TcpListener, tls: Tls, greeted: mpsc::Sender<Connection>, shutdown: CancellationToken) {
    let mut handshakes = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = handshakes.join_next(), if !handshakes.is_empty() => continue,
            () = shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, address)) if handshakes.len() < HANDSHAKES_MAX => {
                let (tls, greeted) = (tls.clone(), greeted.clone());
                handshakes.spawn(async move {
                    match tls.accept(stream).await {
                        Ok((stream, identity)) => {
                            let peer = Peer::Certified(address, identity);
                            let _ = greeted.send(Connection::Tls(Box::new(stream), peer)).await;
                        }
                        Err(error) => {
                            tracing::warn!(%address, cause = refusal::of_peer(&error), "a connection was refused");
                        }
                    }
                });
            }
            Ok((_, address)) => tracing::warn!(%address, "a connection was refused: too many handshakes at once"),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Incoming(BoxStream<'static, io::Result<Connection>>);

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

/// One accepted connection.
enum Connection {
    Tcp(TcpStream, std::net::SocketAddr),
    Tls(Box<TlsStream<TcpStream>>, Peer),
    Embedded(DuplexStream),
}

impl Connection {
    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let address = stream.peer_addr()?;
        Ok(Self::Tcp(stream, address))
    }
}

impl Connected for Connection {
    /// tonic puts it into the extensions of every request of the connection.
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        match self {
            Self::Tcp(_, address) => Peer::Remote(*address),
            Self::Tls(_, peer) => peer.clone(),
            Self::Embedded(_) => Peer::Embedded,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream, _) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream, _) => Pin::new(stream).poll_read(cx, buf),
            Self::Embedded(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream, _) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream, _) => Pin::new(stream).poll_write(cx, buf),
            Self::Embedded(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream, _) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream, _) => Pin::new(stream).poll_flush(cx),
            Self::Embedded(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream, _) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream, _) => Pin::new(stream).poll_shutdown(cx),
            Self::Embedded(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
