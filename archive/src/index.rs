//! The index of one table in one backup: every segment of its grid, the empty ones too, and their chunks.
//!
//! Invariant: a [`TableIndex`] tiles the ring. It can only be made from chunks that do, whether they come from a journal
//! or from a repository. Deliberately absent: where an index is stored; see [`crate::repository`].

mod stored;

use std::collections::HashSet;

use bytes::Bytes;
use ringvault_proto::{grid::Grid, ids::BackupId, v1};

use crate::{
    chunk,
    digest::{Identity, Sums},
    error::{Error, Result},
    manifest::{ObjectRecord, TableEntry},
    names,
};

/// Most chunks a table has: four a segment on the finest grid. Together with [`CHUNK_ENCODED_BYTES_MAX`] it keeps every
/// total far inside 64 bits.
pub const CHUNKS_MAX: u64 = 1 << 26;
/// Longest chunk, in encoded bytes: it ends behind the row that filled it, and no row is near 4 GiB.
pub const CHUNK_ENCODED_BYTES_MAX: u64 = 4 << 30;

pub(crate) use self::stored::Approximation;

/// All chunks of a table, in ring order; they tile the ring together with the empty segments.
#[derive(Clone, Debug, PartialEq)]
pub struct TableIndex {
    table: v1::InspectedTable,
    grid: Grid,
    values_only: bool,
    chunks: Vec<v1::Chunk>,
}

/// Why an index was refused: a segment or a part of one has no place in it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("segments or parts are missing, doubled, or out of order")]
pub(crate) struct NotTiled;

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
    /// What is known of the rows beside their sums.
    pub facts: chunk::Facts,
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
    /// Sorts the chunks by segment and part and checks that they are a table: segments inside the grid, parts without
    /// gaps, every identity and sum whole, no object twice. Segments without a chunk are empty ones.
    ///
    /// # Errors
    /// `Invalid`, naming table, segment and reason.
    pub fn new(table: v1::InspectedTable, grid: Grid, values_only: bool, mut chunks: Vec<v1::Chunk>) -> Result<Self> {
        chunks.sort_by_key(|chunk| (chunk.segment, chunk.part));
        for chunk in &mut chunks {
            chunk.reused = false; // how it came here is no part of what is here
        }
        let index = Self { table: only_what_rows_mean(table), grid, values_only, chunks };
        index.check().map_err(|reason| Error::invalid(format!("the index of {} {reason}", index.name())))?;
        Ok(index)
    }

    /// The table as it was when it was dumped; without estimates and warnings.
    #[must_use]
    pub fn table(&self) -> &v1::InspectedTable {
        &self.table
    }

    /// Unquoted keyspace and table.
    #[must_use]
    pub fn table_name(&self) -> (&str, &str) {
        self.table.table.as_ref().map_or(("", ""), |name| (&name.keyspace, &name.table))
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

    /// The index of the same table as if only these segments held rows.
    #[must_use]
    pub fn only(mut self, keep: impl Fn(u64) -> bool) -> Self {
        self.chunks.retain(|chunk| keep(chunk.segment));
        self
    }

    /// The chunks of one segment, by part; none where it is empty.
    #[must_use]
    pub fn segment_chunks(&self, segment: u64) -> &[v1::Chunk] {
        self.run_chunks(segment, 1)
    }

    /// The chunks of `count` segments from `first`.
    #[must_use]
    pub fn run_chunks(&self, first: u64, count: u64) -> &[v1::Chunk] {
        let start = self.chunks.partition_point(|chunk| chunk.segment < first);
        let end = self.chunks.partition_point(|chunk| chunk.segment < first.saturating_add(count));
        &self.chunks[start..end]
    }

    /// What all chunks amount to.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for chunk in &self.chunks {
            totals.add(chunk);
        }
        totals
    }

    /// What a manifest says of the table, once the index is stored as `index`. `stored_bytes_new` are the bytes that this
    /// backup added to the repository.
    #[must_use]
    pub fn entry(&self, index: ObjectRecord, stored_bytes_new: u64) -> TableEntry {
        let name = self.table.table.clone().unwrap_or_default();
        let totals = self.totals();
        TableEntry {
            keyspace: name.keyspace,
            table: name.table,
            table_id: self.table.table_id.clone(),
            fingerprint: self.table.fingerprint.clone(),
            grid: self.grid,
            index,
            sums: totals.sums,
            chunks: totals.chunks,
            encoded_bytes: totals.encoded_bytes,
            stored_bytes: totals.stored_bytes,
            stored_bytes_new,
            facts: totals.facts,
            approximations: self.table.approximations.clone(),
        }
    }

    /// As stored. Equal indexes of one backup give equal bytes. Blocking: some seconds for millions of chunks.
    ///
    /// # Errors
    /// `Internal` where there is no memory left.
    pub fn encode(&self, backup: &BackupId) -> Result<EncodedIndex> {
        stored::encode(self, backup)
    }

    /// From stored bytes: their identity and length must be the recorded ones, the index must be of this backup, its
    /// segments must tile the ring in order, and its totals must be right. Blocking.
    ///
    /// # Errors
    /// `Corrupt`; `Invalid` where a newer ringvault wrote it.
    pub fn decode(stored: Bytes, record: &ObjectRecord, backup: &BackupId) -> Result<Self> {
        stored::decode(stored, record, backup)
    }

    fn name(&self) -> String {
        let (keyspace, table) = self.table_name();
        format!("{keyspace}.{table}")
    }

    /// Why these chunks are no table, in words behind "the index of shop.orders".
    fn check(&self) -> Result<(), String> {
        let (keyspace, table) = self.table_name();
        if keyspace.is_empty() || table.is_empty() {
            return Err("names no table".into());
        }
        if self.chunks.len() as u64 > CHUNKS_MAX {
            return Err(format!("has {} chunks; the most is {CHUNKS_MAX}", self.chunks.len()));
        }
        let prefix = format!("{}/", names::data_prefix(keyspace, table));
        let mut objects = HashSet::with_capacity(self.chunks.len());
        let mut before: Option<(u64, u32)> = None;
        for chunk in &self.chunks {
            let (segment, part) = (chunk.segment, chunk.part);
            let place = |reason: &str| format!("has a bad chunk (segment {segment}, part {part}): {reason}");
            if segment >= self.grid.segments() {
                return Err(place(&format!("there are {} segments", self.grid.segments())));
            }
            let expected = before.filter(|(last, _)| *last == segment).map_or(Some(0), |(_, last)| last.checked_add(1));
            if Some(part) != expected {
                return Err(place("a part is missing or there twice"));
            }
            if !chunk.object.strip_prefix(&prefix).is_some_and(is_file_name) {
                return Err(place(&format!("{:?} is not below {prefix}", chunk.object)));
            }
            if !objects.insert(chunk.object.as_str()) {
                return Err(place(&format!("{:?} is there twice", chunk.object)));
            }
            check_record(chunk).map_err(|reason| place(&reason))?;
            before = Some((segment, part));
        }
        Ok(())
    }
}

impl Totals {
    /// Counts one chunk in. Its record was checked.
    fn add(&mut self, chunk: &v1::Chunk) {
        self.sums += chunk::sums(chunk).unwrap_or_default();
        self.chunks += 1;
        self.encoded_bytes += chunk.encoded_bytes;
        self.stored_bytes += chunk.stored_bytes;
        self.facts += chunk::facts(chunk);
    }
}

/// A name that can't leave its directory.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']) && !name.contains(char::is_control)
}

/// Whether a record by itself can be true.
fn check_record(chunk: &v1::Chunk) -> Result<(), String> {
    chunk::identity(chunk).and(chunk::sums(chunk)).and(chunk::compression(chunk)).map_err(|e| e.to_string())?;
    if chunk.encoded_bytes == 0 || chunk.encoded_bytes > CHUNK_ENCODED_BYTES_MAX {
        return Err(format!("{} encoded bytes are not 1 to {CHUNK_ENCODED_BYTES_MAX}", chunk.encoded_bytes));
    }
    // What no compressor of ours exceeds, even on random bytes.
    if chunk.stored_bytes == 0 || chunk.stored_bytes > chunk.encoded_bytes + chunk.encoded_bytes / 64 + 1024 {
        return Err(format!("{} stored bytes of {} encoded ones", chunk.stored_bytes, chunk.encoded_bytes));
    }
    let lines = chunk.rows.checked_add(chunk.static_rows);
    if !lines.is_some_and(|lines| lines > 0 && lines <= chunk.encoded_bytes) {
        return Err(format!("{} rows in {} encoded bytes", chunk.rows, chunk.encoded_bytes));
    }
    if chunk.key_only_rows > chunk.rows || chunk.estimated_cells > chunk.encoded_bytes {
        let (rows, cells) = (chunk.key_only_rows, chunk.estimated_cells);
        return Err(format!("{rows} rows without cells and {cells} estimated cells among {} rows", chunk.rows));
    }
    Ok(())
}

/// The parts of the message that say what rows mean; estimates and notes of the moment are left out.
fn only_what_rows_mean(table: v1::InspectedTable) -> v1::InspectedTable {
    v1::InspectedTable {
        bytes_estimated: 0,
        partitions_estimated: 0,
        estimated_by: String::new(),
        warnings: Vec::new(),
        ..table
    }
}

#[cfg(test)]
mod tests;
