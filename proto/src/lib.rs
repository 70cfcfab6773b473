//! Ringvault's vocabulary, shared by every room: the messages of the two services ([`v1`]), ids ([`ids`]), tokens and
//! token ranges ([`token`]), the ring grid ([`grid`]), kinds of errors ([`error`]), and what gRPC makes of them.
//!
//! Deliberately absent: any I/O, any clock, any knowledge of how bytes are stored or how CQL is spoken.

pub mod error;
pub mod grid;
pub mod ids;
pub mod pattern;
pub mod token;

/// Generated from `ringvault/v1/*.proto`; its freshness is checked by `tests/generated_code.rs`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    include!("gen/ringvault.v1.rs");

    /// The encoded `FileDescriptorSet` of the package, for server reflection.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!("gen/ringvault.v1.bin");
}

/// Largest message either service sends or accepts, in bytes; longer lists are sent in several messages.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
