//! Transport between processes: channels to a coordinator, listeners of one. Two of each, TCP and in-memory; both put
//! one [`Peer`] into the request extensions, so services never ask where a request came from by other means.

mod channel;
mod listen;

pub use channel::{BadEndpoint, connect};
pub use listen::{InMemory, Listener, ServeError, in_memory, serve};

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process that reached us over TCP.
    Remote(std::net::SocketAddr),
    /// This process itself.
    Embedded,
}
