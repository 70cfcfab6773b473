//! Transport between processes: channels to a coordinator, listeners of one. TCP, TCP with mutual TLS, and in-memory; all
//! put one [`Peer`] into the request extensions, so services never ask where a request came from by other means.
//!
//! - `channel`: connecting; `listen`: accepting; `tls`: certificates, read again when their files change; `peer`: who sent
//!   a request and what it may ask for

mod channel;
mod listen;
mod peer;
mod tls;

pub use channel::{BadEndpoint, connect};
pub use listen::{InMemory, Listener, ServeError, in_memory, serve};
pub use peer::{Identity, Peer, Role};
pub use tls::{Tls, TlsError, TlsFiles};
