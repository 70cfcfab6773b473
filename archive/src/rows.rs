//! Rows of a stored table one after the other, in token order: all of them, a token range, or one partition; as they stand
//! there or as a restore sends them. What `cat` shows, and what comparisons merge.
//!
//! A chunk is fetched and checked as a whole before its first row is handed out; one batch of rows is in memory beside it.
//! Deliberately absent: what differs between two tables ([`crate::merge`]).

pub mod choice;
pub mod diff;

use std::{collections::VecDeque, fmt, sync::Arc};

use ringvault_proto::{error::Failure, token::Token, v1};

use self::choice::RowChoice;
use crate::{
    chunk::ChunkLines,
    error::Result,
    index::TableIndex,
    repository::{Repository, blocking},
    row::{DecodedRow, LineKind, RowDecoder, RowEncoder},
    sent::{Fate, Partition, Sent},
    table::{ColumnRole, TableLayout},
};

/// Bytes of lines in a batch, about: enough to outweigh its way from thread to thread.
const BATCH_BYTES: usize = 256 << 10;

/// A row's primary key as it is compared: a hash of the kind of line and the raw key cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey([u8; 16]);

impl RowKey {
    /// Before every other.
    pub(crate) const LEAST: Self = Self([0; 16]);

    /// Of a row of this layout.
    #[must_use]
    pub fn of(layout: &TableLayout, row: &DecodedRow) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[u8::from(row.kind() == LineKind::Static)]);
        for (index, _) in layout.columns.iter().enumerate().filter(|(_, column)| column.role.is_key()) {
            match row.cell(index) {
                Some(cell) => {
                    hasher.update(&(cell.len() as u64).to_le_bytes());
                    hasher.update(cell);
                }
                None => {
                    hasher.update(&[0xff; 8]);
                }
            }
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(key)
    }
}

/// One row of a stream.
#[derive(Clone)]
pub struct KeyedRow {
    /// Of its partition.
    pub token: Token,
    /// Its primary key.
    pub key: RowKey,
    /// Its cells and times.
    pub row: DecodedRow,
    /// Its line, with the newline.
    pub line: Vec<u8>,
    /// The database's clock when it was read, or when it was decided what of it has ended; nothing where time stands still.
    pub as_of_s: Option<i64>,
    /// All that it holds has ended: it may be there still as a bare key, or be gone.
    pub ended: bool,
}

/// Without the cells: they must not get into a log.
impl fmt::Debug for KeyedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRow").field("token", &self.token).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Rows in token order, some at a time.
pub trait RowSource: Send {
    /// The next rows; nothing at the end. Never an empty batch.
    ///
    /// # Errors
    /// What keeps the rows from being read.
    fn next_batch(&mut self) -> impl Future<Output = Result<Option<Vec<KeyedRow>>, Failure>> + Send;
}

/// What was read of a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectsRead {
    /// Chunks.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

/// Tells the database's clock, in seconds.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Rows of chunks, in the order of the chunks.
pub struct StoredRows {
    repository: Arc<Repository>,
    chunks: VecDeque<v1::Chunk>,
    open: Option<ChunkLines>,
    reader: Option<Reader>,
    read: ObjectsRead,
}

impl StoredRows {
    /// All rows of a table.
    ///
    /// # Errors
    /// `Invalid` for a table whose rows this version can't read.
    pub fn all(repository: &Arc<Repository>, index: &TableIndex) -> Result<Self> {
        Self::chosen(repository, index, RowChoice::default())
    }

    /// The chosen rows of a table; only the segments that can hold some are read.
    ///
    /// # Errors
    /// As [`StoredRows::all`].
    pub fn chosen(repository: &Arc<Repository>, index: &TableIndex, choice: RowChoice) -> Result<Self> {
        let layout = Arc::new(TableLayout::from_message(index.table())?);
        let grid = index.grid();
        let may_hold = |chunk: &&v1::Chunk| grid.range(chunk.segment).is_some_and(|range| choice.touches(range));
        let chunks = index.chunks().iter().filter(may_hold).cloned().collect();
        Ok(Self::of_chunks(repository, &layout, chunks, choice))
    }

    /// The chosen rows of these chunks, which stand in ring order.
    #[must_use]
    pub fn of_chunks(
        repository: &Arc<Repository>,
        layout: &Arc<TableLayout>,
        chunks: Vec<v1::Chunk>,
        choice: RowChoice,
    ) -> Self {
        Self {
            repository: repository.clone(),
            chunks: chunks.into(),
            open: None,
            reader: Some(Reader::new(layout, choice)),
            read: ObjectsRead::default(),
        }
    }

    /// The same rows as a restore sends them; `now` decides what of them has ended.
    #[must_use]
    pub fn as_sent(mut self, sent: Sent, now: Now) -> Self {
        if let Some(reader) = &mut self.reader {
            reader.sent = Some((sent, now));
        }
        self
    }

    /// What was read so far.
    #[must_use]
    pub fn read(&self) -> ObjectsRead {
        self.read
    }

    async fn next_rows(&mut self) -> Result<Option<Vec<KeyedRow>>> {
        loop {
            let mut lines = match self.open.take() {
                Some(lines) => lines,
                None => {
                    let Some(chunk) = self.chunks.pop_front() else { return Ok(None) };
                    self.read.objects += 1;
                    self.read.bytes += chunk.stored_bytes;
                    self.repository.fetch_chunk(&chunk).await?
                }
            };
            let Some(mut reader) = self.reader.take() else {
                return Err(crate::Error::internal("rows were asked for after their reading had failed"));
            };
            let work = move || {
                lines.check()?; // free, but for the first time
                let (batch, more) = reader.batch(&mut lines)?;
                Ok((batch, more.then_some(lines), reader))
            };
            let (batch, open, reader) = blocking(work).await?;
            (self.open, self.reader) = (open, Some(reader));
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
    }
}

impl fmt::Debug for StoredRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRows")
            .field("chunks", &self.chunks.len())
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl RowSource for StoredRows {
    /// Not cancel safe: a dropped call ends the reading.
    async fn next_batch(&mut self) -> Result<Option<Vec<KeyedRow>>, Failure> {
        Ok(self.next_rows().await?)
    }
}

/// Makes rows of lines; its home is a blocking thread.
struct Reader {
    layout: Arc<TableLayout>,
    choice: RowChoice,
    decoder: RowDecoder,
    encoder: RowEncoder,
    partition: Partition,
    sent: Option<(Sent, Now)>,
}

impl Reader {
    fn new(layout: &Arc<TableLayout>, choice: RowChoice) -> Self {
        Self {
            layout: layout.clone(),
            choice,
            decoder: RowDecoder::new(layout),
            encoder: RowEncoder::new(layout),
            partition: Partition::default(),
            sent: None,
        }
    }

    /// Some rows; whether there may be more.
    fn batch(&mut self, lines: &mut ChunkLines) -> Result<(Vec<KeyedRow>, bool)> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut line = Vec::new();
        while bytes < BATCH_BYTES {
            if !lines.next_line(&mut line)? {
                return Ok((batch, false));
            }
            bytes += line.len();
            batch.extend(self.row(&line)?);
        }
        Ok((batch, true))
    }

    fn row(&mut self, line: &[u8]) -> Result<Option<KeyedRow>> {
        let mut row = DecodedRow::default();
        self.decoder.decode(line, &mut row)?;
        let token = self.partition.token_of(&self.layout, &row);
        if !self.choice.has(&self.layout, token, &row) {
            return Ok(None);
        }
        let mut keyed =
            KeyedRow { token, key: RowKey::of(&self.layout, &row), row, line: Vec::new(), as_of_s: None, ended: false };
        if let Some((sent, now)) = &mut self.sent {
            let now_s = now();
            let treated = sent.apply(&mut keyed.row, now_s);
            if treated.fate == Fate::Skipped {
                return Ok(None);
            }
            keyed.as_of_s = Some(now_s);
            keyed.ended = treated.fate == Fate::Expired;
            if treated.changed {
                self.encoder.encode_row(&keyed.row, &mut keyed.line)?;
                return Ok(Some(keyed));
            }
        }
        keyed.line.extend_from_slice(line);
        Ok(Some(keyed))
    }
}

/// Whether a table has key columns of the same names and types, in the same order, as another.
#[must_use]
pub fn same_key(left: &TableLayout, right: &TableLayout) -> bool {
    let key = |layout: &TableLayout| -> Vec<(String, ColumnRole, crate::cql_type::CqlType)> {
        let key = layout.columns.iter().filter(|column| column.role.is_key());
        key.map(|column| (column.name.clone(), column.role, column.cql_type.clone())).collect()
    };
    key(left) == key(right)
}

#[cfg(test)]
pub(crate) mod tests;
