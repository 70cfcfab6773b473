//! A chunk: a compressed run of row lines of one segment.
//!
//! `ChunkWriter → SealedChunk → StoredChunk` (the last by [`crate::repository::Repository::store_chunk`]) on the way
//! out, [`ChunkLines`] on the way home.

use bytes::Bytes;
use ringvault_proto::v1::{self, Compression};

use crate::{
    digest::{Identity, RowHash, Sums},
    error::Result,
    row::LineKind,
};

/// Encoded bytes at which a chunk is full.
pub const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// Takes row lines and compresses them as they come.
#[derive(Debug)]
pub struct ChunkWriter {}

impl ChunkWriter {
    /// An empty chunk.
    #[must_use]
    pub fn new(_compression: Compression) -> Self {
        unimplemented!()
    }

    /// Appends one line, its newline included.
    ///
    /// # Errors
    /// `Internal`
    pub fn push(&mut self, _line: &[u8], _kind: LineKind, _hash: &RowHash) -> Result<()> {
        unimplemented!()
    }

    /// Uncompressed bytes so far.
    #[must_use]
    pub fn encoded_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Row lines so far; static lines don't count.
    #[must_use]
    pub fn rows(&self) -> u64 {
        unimplemented!()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }

    /// Whether the chunk ends here: it holds [`CHUNK_BYTES_MAX`] bytes, or `rows_max` rows (0: no limit).
    #[must_use]
    pub fn is_full(&self, _rows_max: u64) -> bool {
        unimplemented!()
    }

    /// Ends the chunk.
    ///
    /// # Errors
    /// `Internal` for an empty chunk.
    pub fn seal(self) -> Result<SealedChunk> {
        unimplemented!()
    }
}

/// A finished chunk, not stored yet.
#[derive(Debug)]
pub struct SealedChunk {}

impl SealedChunk {
    /// BLAKE3 of the uncompressed bytes.
    #[must_use]
    pub fn identity(&self) -> Identity {
        unimplemented!()
    }

    /// The bytes to store.
    #[must_use]
    pub fn stored(&self) -> &Bytes {
        unimplemented!()
    }

    /// Rows and sums.
    #[must_use]
    pub fn sums(&self) -> Sums {
        unimplemented!()
    }

    /// Uncompressed bytes.
    #[must_use]
    pub fn encoded_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// How it is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        unimplemented!()
    }

    /// Decompresses the stored bytes again and compares; blocking.
    ///
    /// # Errors
    /// `Internal`
    pub fn verify(&self) -> Result<()> {
        unimplemented!()
    }
}

/// The lines of a stored chunk. Nothing is handed out before [`ChunkLines::check`] has gone through all of it.
#[derive(Debug)]
pub struct ChunkLines {}

impl ChunkLines {
    /// Over the bytes of an object.
    ///
    /// # Errors
    /// `Corrupt` where the length is not the recorded one or the record is damaged.
    pub fn new(_stored: Bytes, _record: &v1::Chunk) -> Result<Self> {
        unimplemented!()
    }

    /// Goes through the chunk once: identity, length, lines; blocking.
    ///
    /// # Errors
    /// `Corrupt`, naming the object.
    pub fn check(&mut self) -> Result<()> {
        unimplemented!()
    }

    /// Replaces `line` by the next line with its newline; false at the end; blocking.
    ///
    /// # Errors
    /// `Corrupt`; `Internal` before [`ChunkLines::check`].
    pub fn next_line(&mut self, _line: &mut Vec<u8>) -> Result<bool> {
        unimplemented!()
    }
}
