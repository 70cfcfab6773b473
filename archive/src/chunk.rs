//! A chunk: a compressed run of row lines of one segment, the unit of checkpoint.
//!
//! `ChunkWriter → SealedChunk → StoredChunk` (the last by [`crate::repository::Repository::store_chunk`]) on the way
//! out, [`ChunkLines`] on the way home. Everything here computes and blocks: call it off the async threads.
//! Deliberately absent: what a line says; see [`crate::row`].

use std::{fmt, ops::AddAssign};

use bytes::Bytes;
use ringvault_proto::v1::{self, Compression};

use crate::{
    compressed::{Expected, Lines, Press},
    digest::{Identity, Sum, Sums, Tally},
    error::{Error, Result},
    row::EncodedLine,
};

/// Encoded bytes at which a chunk is full; it ends behind the row that reaches them. Large enough that requests to an
/// object store don't matter, small enough that a crash costs little and a slot's memory is bounded.
pub const CHUNK_BYTES_MAX: u64 = 8 << 20;

/// Memory for lines that a writer keeps from one chunk to the next.
const PLAIN_BYTES_KEPT: usize = CHUNK_BYTES_MAX as usize + (1 << 20);

/// What is known of row lines beside their bytes and sums; for the fidelity report and for a restore's preflight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Rows of which nothing but the key is there: nobody can read their markers' times.
    pub key_only_rows: u64,
    /// Cells whose times could not be read.
    pub estimated_cells: u64,
    /// Greatest writetime, in microseconds; 0: none.
    pub writetime_us_max: i64,
    /// Latest expiry, in seconds; 0: none.
    pub expiry_s_max: i64,
}

impl AddAssign for Facts {
    fn add_assign(&mut self, other: Self) {
        self.key_only_rows += other.key_only_rows;
        self.estimated_cells += other.estimated_cells;
        self.writetime_us_max = self.writetime_us_max.max(other.writetime_us_max);
        self.expiry_s_max = self.expiry_s_max.max(other.expiry_s_max);
    }
}

/// Takes row lines and makes chunks of them, one after the other.
pub struct ChunkWriter {
    press: Press,
    plain: Vec<u8>,
    tally: Tally,
    facts: Facts,
}

impl ChunkWriter {
    /// An empty chunk. `COMPRESSION_UNSPECIFIED` is zstd.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self { press: Press::new(compression), plain: Vec::new(), tally: Tally::default(), facts: Facts::default() }
    }

    /// Appends one line, and what is known of it.
    ///
    /// # Errors
    /// `Internal` for what is no line.
    pub fn push(&mut self, line: &EncodedLine<'_>) -> Result<()> {
        if line.bytes.last() != Some(&b'\n') {
            return Err(Error::internal("a row line without its newline was to be stored"));
        }
        self.plain.extend_from_slice(line.bytes);
        self.tally.add(line.kind, &line.hashed);
        self.facts += line.facts;
        Ok(())
    }

    /// Uncompressed bytes so far.
    #[must_use]
    pub fn encoded_bytes(&self) -> u64 {
        self.plain.len() as u64
    }

    /// Row lines so far; static lines don't count.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tally.rows()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.encoded_bytes() == 0
    }

    /// Whether the chunk ends here: it holds `bytes_max` bytes ([`CHUNK_BYTES_MAX`] unless memory is short), or `rows_max`
    /// rows (0: no limit). The one rule of where parts end; it looks at the segment's rows only.
    #[must_use]
    pub fn is_full(&self, bytes_max: u64, rows_max: u64) -> bool {
        self.encoded_bytes() >= bytes_max.min(CHUNK_BYTES_MAX) || (rows_max > 0 && self.rows() >= rows_max)
    }

    /// Ends the chunk, compresses it, and reads that again, so that a defect of a compressor or of memory is found before
    /// anything relies on it. The next line begins another chunk.
    ///
    /// # Errors
    /// `Internal` for a chunk without a line (an empty segment has no chunk), where there is no memory left, and where the
    /// compressed bytes do not read as what they were made of.
    pub fn seal(&mut self) -> Result<SealedChunk> {
        if self.is_empty() {
            return Err(Error::internal("a chunk without a line was to be stored"));
        }
        let sealed = SealedChunk {
            identity: Identity::of(&self.plain),
            stored: self.press.press(&self.plain)?,
            sums: self.tally.take(),
            facts: std::mem::take(&mut self.facts),
            encoded_bytes: self.encoded_bytes(),
            compression: self.press.compression(),
        };
        self.plain.clear();
        self.plain.shrink_to(PLAIN_BYTES_KEPT); // a huge row made it large
        Ok(sealed)
    }
}

/// Shows no line: it holds cells.
impl fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkWriter").field("tally", &self.tally).field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// A finished chunk, not stored yet.
#[derive(Clone, Debug)]
pub struct SealedChunk {
    identity: Identity,
    stored: Bytes,
    sums: Sums,
    facts: Facts,
    encoded_bytes: u64,
    compression: Compression,
}

impl SealedChunk {
    /// BLAKE3 of the uncompressed bytes.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The bytes to store.
    #[must_use]
    pub fn stored(&self) -> &Bytes {
        &self.stored
    }

    /// Rows and sums.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.sums
    }

    /// Uncompressed bytes.
    #[must_use]
    pub fn encoded_bytes(&self) -> u64 {
        self.encoded_bytes
    }

    /// How it is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether `stored` decompresses to this chunk.
    pub(crate) fn compare(&self, stored: Bytes, compression: Compression, object: &str) -> Result<()> {
        let expected = Expected {
            object: object.to_owned(),
            compression,
            identity: self.identity,
            encoded_bytes: self.encoded_bytes,
            lines: Some(self.sums.rows + self.sums.static_rows),
        };
        Lines::new(stored, expected).check()
    }

    /// The record of this chunk as it stands at `object`.
    pub(crate) fn record(&self, segment: u64, part: u32, object: String, stored_bytes: u64) -> v1::Chunk {
        v1::Chunk {
            segment,
            part,
            identity: Bytes::copy_from_slice(&self.identity.0),
            object,
            compression: self.compression.into(),
            rows: self.sums.rows,
            static_rows: self.sums.static_rows,
            encoded_bytes: self.encoded_bytes,
            stored_bytes,
            value_sum: Bytes::copy_from_slice(&self.sums.values.to_bytes()),
            time_sum: Bytes::copy_from_slice(&self.sums.times.to_bytes()),
            reused: false,
            key_only_rows: self.facts.key_only_rows,
            estimated_cells: self.facts.estimated_cells,
            writetime_us_max: self.facts.writetime_us_max,
            expiry_s_max: self.facts.expiry_s_max,
        }
    }
}

/// The lines of a stored chunk. Nothing is handed out before [`ChunkLines::check`] has gone through all of it, and never
/// more than one line and the decompressor's window are in memory beside the stored bytes.
#[derive(Debug)]
pub struct ChunkLines {
    lines: Lines,
}

impl ChunkLines {
    /// Over the bytes of the object that `record` names.
    ///
    /// # Errors
    /// `Corrupt` where the length is not the recorded one, or the record itself is damaged.
    pub fn new(stored: Bytes, record: &v1::Chunk) -> Result<Self> {
        let object = record.object.clone();
        if stored.len() as u64 != record.stored_bytes {
            let (found, recorded) = (stored.len(), record.stored_bytes);
            return Err(Error::corrupt(format!("{object} is damaged: it has {found} bytes, not {recorded}")));
        }
        let expected = Expected {
            compression: compression(record)?,
            identity: identity(record)?,
            encoded_bytes: record.encoded_bytes,
            lines: Some(record.rows.saturating_add(record.static_rows)),
            object,
        };
        Ok(Self { lines: Lines::new(stored, expected) })
    }

    /// Goes through the chunk once and compares identity, length and number of lines with the record. Going through it
    /// again is free.
    ///
    /// # Errors
    /// `Corrupt`, naming the object.
    pub fn check(&mut self) -> Result<()> {
        self.lines.check()
    }

    /// Replaces `line` by the next line with its newline; false at the end.
    ///
    /// # Errors
    /// `Internal` before [`ChunkLines::check`].
    pub fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        self.lines.next_line(line)
    }
}

/// The identity that a record names.
///
/// # Errors
/// `Corrupt` where it is none.
pub fn identity(record: &v1::Chunk) -> Result<Identity> {
    Identity::from_slice(&record.identity).map_err(|_| damaged(record, "its identity has not 32 bytes"))
}

/// What a record says of its lines beside their sums.
#[must_use]
pub fn facts(record: &v1::Chunk) -> Facts {
    Facts {
        key_only_rows: record.key_only_rows,
        estimated_cells: record.estimated_cells,
        writetime_us_max: record.writetime_us_max,
        expiry_s_max: record.expiry_s_max,
    }
}

/// The rows and sums that a record names.
///
/// # Errors
/// `Corrupt` where they are none.
pub fn sums(record: &v1::Chunk) -> Result<Sums> {
    let sum = |bytes: &[u8]| Sum::from_slice(bytes).map_err(|_| damaged(record, "a sum has not 32 bytes"));
    Ok(Sums {
        rows: record.rows,
        static_rows: record.static_rows,
        values: sum(&record.value_sum)?,
        times: sum(&record.time_sum)?,
    })
}

/// How a record's object is compressed.
pub(crate) fn compression(record: &v1::Chunk) -> Result<Compression> {
    Compression::try_from(record.compression).map_err(|_| damaged(record, "its compression is unknown"))
}

fn damaged(record: &v1::Chunk, reason: &str) -> Error {
    Error::corrupt(format!("the record of {} is damaged: {reason}", record.object))
}

#[cfg(test)]
mod tests;
