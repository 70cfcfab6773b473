//! The index of one table in one backup: every segment and its chunks.

use bytes::Bytes;
use ringvault_proto::{grid::Grid, ids::BackupId, v1};

use crate::{
    digest::{Identity, Sums},
    error::Result,
};

/// All chunks of a table, in ring order; they tile the ring together with the empty segments.
#[derive(Clone, Debug, PartialEq)]
pub struct TableIndex {
    table: v1::InspectedTable,
    grid: Grid,
    values_only: bool,
    chunks: Vec<v1::Chunk>,
}

/// What the chunks of a table amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows and sums.
    pub sums: Sums,
    /// Chunks.
    pub chunks: u64,
    /// Uncompressed bytes.
    pub encoded_bytes: u64,
    /// Bytes of the objects.
    pub stored_bytes: u64,
}

/// An index as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedIndex {
    /// BLAKE3 of the uncompressed bytes.
    pub identity: Identity,
    /// Uncompressed bytes.
    pub encoded_bytes: u64,
    /// The bytes to store.
    pub stored: Bytes,
}

impl TableIndex {
    /// Sorts the chunks and checks that they are a table: segments inside the grid, parts without gaps, sums whole.
    ///
    /// # Errors
    /// `Invalid`, naming table and segment.
    pub fn new(_table: v1::InspectedTable, _grid: Grid, _values_only: bool, _chunks: Vec<v1::Chunk>) -> Result<Self> {
        unimplemented!()
    }

    /// The table as it was when it was dumped.
    #[must_use]
    pub fn table(&self) -> &v1::InspectedTable {
        &self.table
    }

    /// Its grid.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Whether writetimes and expiries were left out.
    #[must_use]
    pub fn values_only(&self) -> bool {
        self.values_only
    }

    /// All chunks, by segment and part.
    #[must_use]
    pub fn chunks(&self) -> &[v1::Chunk] {
        &self.chunks
    }

    /// All chunks, by segment and part.
    #[must_use]
    pub fn into_chunks(self) -> Vec<v1::Chunk> {
        self.chunks
    }

    /// The chunks of one segment, by part; none where it is empty.
    #[must_use]
    pub fn segment_chunks(&self, _segment: u64) -> &[v1::Chunk] {
        unimplemented!()
    }

    /// What all chunks amount to.
    #[must_use]
    pub fn totals(&self) -> Totals {
        unimplemented!()
    }

    /// As stored. Equal indexes give equal bytes.
    ///
    /// # Errors
    /// `Internal`
    pub fn encode(&self, _backup: &BackupId) -> Result<EncodedIndex> {
        unimplemented!()
    }
}
