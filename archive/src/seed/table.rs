//! One table: its files read twice, in effect. First every row is decoded and sorted on disk, then the sorted lines are cut
//! into the chunks of a grid that fits their size. Blocking; what it makes goes out through a channel.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ringvault_proto::{
    grid::{GRID_EXPONENT_MAX, Grid},
    token::Token,
    v1::{self, Compression},
};

use super::{
    directory::SeedFile,
    findings::Findings,
    rows::{Place, RowReader},
    sort::{Merge, Record, Scratch, Sorter},
    stream::RowStream,
};
use crate::{
    chunk::{CHUNK_BYTES_MAX, ChunkWriter, SealedChunk},
    error::{Error, Result},
    table::TableLayout,
};

/// Rows between two reports.
const REPORT_ROWS: u64 = 10_000;

/// What reading a table gives on its way.
pub(super) enum Event {
    /// Rows were read.
    Read { rows: u64, bytes: u64 },
    /// All rows are sorted; the chunks that follow are of this grid.
    Sorted(Grid),
    /// The next part of a segment.
    Chunk { segment: u64, part: u32, chunk: Box<SealedChunk> },
    /// No chunk follows.
    Done(Findings),
}

/// How a table is imported.
pub(super) struct TableWork {
    pub(super) layout: Arc<TableLayout>,
    pub(super) reversed: Vec<bool>,
    pub(super) files: Vec<SeedFile>,
    pub(super) compression: Compression,
    pub(super) chunk_rows_max: u64,
    pub(super) scratch: std::path::PathBuf,
}

impl TableWork {
    /// Of a table as its schema has it.
    ///
    /// # Errors
    /// `Invalid` for columns that no row line can hold.
    pub(super) fn new(
        table: &v1::InspectedTable,
        files: Vec<SeedFile>,
        compression: Compression,
        chunk_rows_max: u64,
        scratch: &Path,
    ) -> Result<Self> {
        Ok(Self {
            layout: Arc::new(TableLayout::from_message(table)?),
            reversed: table.columns.iter().map(|column| column.reversed).collect(),
            files,
            compression,
            chunk_rows_max,
            scratch: scratch.to_owned(),
        })
    }

    /// Reads, sorts and cuts; `send` says false where nobody wants it any more. Blocking.
    ///
    /// # Errors
    /// `Corrupt` and `Invalid` for what stands in the files, `Unavailable` for files that can't be read or sorted.
    pub(super) fn run(self, mut send: impl FnMut(Event) -> bool) -> Result<()> {
        let scratch = Scratch::new(&self.scratch)?;
        let mut sorter = Sorter::new(&scratch);
        let mut bytes = 0;
        let mut findings = self.read(&mut send, |record| {
            bytes += record.line.len() as u64;
            sorter.push(record)
        })?;
        let grid = by_size(bytes);
        go_on(send(Event::Sorted(grid)))?;
        self.cut(sorter.finish()?, grid, &mut findings, &mut send)?;
        go_on(send(Event::Done(findings)))
    }

    fn read(
        &self,
        send: &mut impl FnMut(Event) -> bool,
        mut push: impl FnMut(Record) -> Result<()>,
    ) -> Result<Findings> {
        let mut reader = RowReader::new(&self.layout, self.reversed.clone());
        let read = Arc::new(AtomicU64::new(0));
        let mut findings = Findings::default();
        let (mut row, mut rows, mut shard) = (Vec::new(), 0_u64, None);
        for (file, number) in self.files.iter().zip(0_u32..) {
            if findings.shards.is_empty() || shard != file.shard {
                findings.shards.push(0);
                shard = file.shard;
            }
            let name = file_name(file);
            let mut stream = RowStream::open(&file.path, &read)?;
            while let Some(line) = stream.next_row(&mut row)? {
                for record in reader.records(&row, Place { file_name: &name, file: number, line })? {
                    push(record)?;
                }
                rows += 1;
                if let Some(shard) = findings.shards.last_mut() {
                    *shard += 1;
                }
                if rows.is_multiple_of(REPORT_ROWS) {
                    go_on(send(Event::Read { rows, bytes: read.load(Ordering::Relaxed) }))?;
                }
            }
        }
        go_on(send(Event::Read { rows, bytes: read.load(Ordering::Relaxed) }))?;
        findings.losses = reader.losses;
        Ok(findings)
    }

    /// Cuts sorted lines into chunks, each row once.
    fn cut(
        &self,
        merge: Merge,
        grid: Grid,
        findings: &mut Findings,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Result<()> {
        let mut writer = ChunkWriter::new(self.compression);
        let (mut segment, mut part) = (0, 0);
        let mut last: Option<Record> = None;
        for record in merge {
            let record = record?;
            if let Some(last) = last.as_ref().filter(|last| last.key == record.key) {
                if last.line != record.line {
                    return Err(self.differing(last, &record));
                }
                findings.doubles += u64::from(!record.is_static);
                continue;
            }
            let here = segment_of(grid, &record.key);
            if !writer.is_empty() && (here != segment || writer.is_full(CHUNK_BYTES_MAX, self.chunk_rows_max)) {
                go_on(send(sealed(&mut writer, segment, part)?))?;
                part += 1;
            }
            if here != segment {
                (segment, part) = (here, 0);
            }
            if !record.line.is_empty() {
                writer.push(&record.encoded())?;
            }
            last = Some(record);
        }
        if !writer.is_empty() {
            go_on(send(sealed(&mut writer, segment, part)?))?;
        }
        Ok(())
    }

    /// Two rows of one primary key, or two statics of one partition, that hold different values.
    fn differing(&self, first: &Record, second: &Record) -> Error {
        let place = |record: &Record| {
            let file = self.files.get(record.file as usize).map(file_name).unwrap_or_default();
            format!("{file} line {}", record.at)
        };
        let what = if first.is_static {
            "rows of one partition hold different static columns"
        } else {
            "two rows of one primary key hold different values"
        };
        Error::invalid(format!(
            "table {}.{}: {what} ({} and {}); which is the newer one can't be told, since cassandra-backup-tool keeps no \
             times: remove the wrong one by hand",
            self.layout.keyspace,
            self.layout.table,
            place(first),
            place(second)
        ))
    }
}

fn sealed(writer: &mut ChunkWriter, segment: u64, part: u32) -> Result<Event> {
    Ok(Event::Chunk { segment, part, chunk: Box::new(writer.seal()?) })
}

fn go_on(wanted: bool) -> Result<()> {
    if wanted { Ok(()) } else { Err(Error::unavailable("the import was given up")) }
}

fn file_name(file: &SeedFile) -> String {
    file.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Keys start with the token, its sign turned over.
fn segment_of(grid: Grid, key: &[u8]) -> u64 {
    let token = key.first_chunk::<8>().copied().unwrap_or_default();
    grid.segment_of(Token(i64::from_be_bytes(token) ^ i64::MIN))
}

/// The grid that a backup of so many encoded bytes gets: segments of table bytes / 4096, within 4 to 32 MiB.
fn by_size(bytes: u64) -> Grid {
    const SEGMENT_BYTES_MIN: u64 = 4 << 20;
    const SEGMENT_BYTES_MAX: u64 = 32 << 20;
    let aim = (bytes / 4096).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    let mut exponent = (bytes / aim).max(1).ilog2();
    while exponent < GRID_EXPONENT_MAX && bytes >> exponent > SEGMENT_BYTES_MAX {
        exponent += 1;
    }
    Grid::try_from(exponent.min(GRID_EXPONENT_MAX)).expect("at most the largest exponent")
}
