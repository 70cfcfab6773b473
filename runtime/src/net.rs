//! Transport between processes: channels to a coordinator, listeners of one. TCP, TCP with mutual TLS, and in-memory; all
//! put one [`Peer`] into the request extensions, so services never ask where a request came from by other means. A call
//! that is traced carries its context, and is served in a span that goes on with it.
//!
//! - `channel`: connecting; `listen`: accepting; `tls`: certificates, read again when their files change; `peer`: who sent
//!   a request and what it may ask for; `refusal`: why a connection failed, in words; `pages`: HTTP for those who look on

mod channel;
mod listen;
pub(crate) mod pages;
mod peer;
mod refusal;
mod tls;

pub use channel::{BadEndpoint, Channel, connect};
pub use listen::{InMemory, Listener, ServeError, in_memory, serve};
pub use peer::{Identity, Peer, Role};
pub use refusal::cause_of;
pub use tls::{Tls, TlsError, TlsFiles};
