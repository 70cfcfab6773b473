//! More records than fit into memory, in order: runs of sorted records in files, then a merge of the runs. Records are of
//! one kind here, the lines of a table with the keys that they sort by.
//!
//! The files hold rows of the database: they stand in a directory that only this user can enter, and go with it.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::{
    chunk::Facts,
    digest::HashInput,
    error::{Error, Result},
    row::{EncodedLine, LineKind},
};

/// Bytes of records that are sorted in memory.
const RUN_BYTES: usize = 64 << 20;
/// Runs that are merged at once; each has a file open.
const RUNS_MAX: usize = 128;
const BUFFER_BYTES: usize = 128 << 10;

/// One line of a table, on its way to its place. Ordered by key, then by where it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// Token, partition key, kind and clustering as bytes that compare.
    pub(super) key: Vec<u8>,
    /// Index of the file that it was read from.
    pub(super) file: u32,
    /// Line in that file.
    pub(super) at: u64,
    /// The row line; empty for a partition without statics.
    pub(super) line: Vec<u8>,
    /// A static line.
    pub(super) is_static: bool,
    /// Nothing but its key is there.
    pub(super) key_only: bool,
}

impl Record {
    pub(super) fn kind(&self) -> LineKind {
        if self.is_static { LineKind::Static } else { LineKind::Row }
    }

    /// The row line; the seed tool keeps no times.
    pub(super) fn encoded(&self) -> EncodedLine<'_> {
        EncodedLine {
            kind: self.kind(),
            bytes: &self.line,
            hashed: HashInput::without_times(&self.line),
            facts: Facts { key_only_rows: u64::from(self.key_only), ..Facts::default() },
        }
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.line.len() + size_of::<Self>()
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| io::Error::other("a row is too long"));
        out.write_all(&length(&self.key)?.to_le_bytes())?;
        out.write_all(&length(&self.line)?.to_le_bytes())?;
        out.write_all(&self.file.to_le_bytes())?;
        out.write_all(&self.at.to_le_bytes())?;
        out.write_all(&[u8::from(self.is_static), u8::from(self.key_only)])?;
        out.write_all(&self.key)?;
        out.write_all(&self.line)
    }

    /// The next record; nothing at the end.
    fn read(input: &mut impl Read, left: &mut u64) -> io::Result<Option<Self>> {
        if *left == 0 {
            return Ok(None);
        }
        *left -= 1;
        let key = u32::from_le_bytes(array(input)?);
        let line = u32::from_le_bytes(array(input)?);
        let file = u32::from_le_bytes(array(input)?);
        let at = u64::from_le_bytes(array(input)?);
        let [is_static, key_only] = array(input)?;
        let mut bytes = |length: u32| {
            let mut bytes = vec![0; length as usize];
            input.read_exact(&mut bytes).map(|()| bytes)
        };
        let (is_static, key_only) = (is_static == 1, key_only == 1);
        Ok(Some(Self { key: bytes(key)?, line: bytes(line)?, file, at, is_static, key_only }))
    }
}

fn array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map(|()| bytes)
}

/// A directory of our own, removed with all it holds.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one below `parent`.
    pub(super) fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("ringvault-import-{}", Uuid::new_v4().simple()));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|e| {
            let what = format!("a directory for sorting can't be made in {}: {e}; name another one", parent.display());
            Error::unavailable(what).caused_by(e)
        })?;
        Ok(Self { path })
    }

    fn file(&self, number: usize) -> PathBuf {
        self.path.join(format!("run-{number}"))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::unavailable(format!("sorting in {} failed: {error}; is the disk full?", self.path.display()))
            .caused_by(error)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.path) {
            tracing::warn!("{} could not be removed: {e}", self.path.display());
        }
    }
}

/// Takes records in any order.
#[derive(Debug)]
pub(super) struct Sorter<'s> {
    scratch: &'s Scratch,
    run_bytes: usize,
    records: Vec<Record>,
    bytes: usize,
    /// Files of sorted runs with their number of records.
    runs: Vec<(PathBuf, u64)>,
    files: usize,
}

impl<'s> Sorter<'s> {
    pub(super) fn new(scratch: &'s Scratch) -> Self {
        Self::with_runs_of(scratch, RUN_BYTES)
    }

    fn with_runs_of(scratch: &'s Scratch, run_bytes: usize) -> Self {
        Self { scratch, run_bytes, records: Vec::new(), bytes: 0, runs: Vec::new(), files: 0 }
    }

    pub(super) fn push(&mut self, record: Record) -> Result<()> {
        self.bytes += record.bytes();
        self.records.push(record);
        if self.bytes < self.run_bytes {
            return Ok(());
        }
        let mut records = std::mem::take(&mut self.records);
        self.bytes = 0;
        records.sort_unstable();
        self.write_run(records.drain(..).map(Ok))?;
        self.records = records;
        if self.runs.len() >= RUNS_MAX {
            let merged = self.merge_runs()?;
            self.write_run(merged)?;
        }
        Ok(())
    }

    /// All records in order.
    pub(super) fn finish(mut self) -> Result<Merge> {
        self.records.sort_unstable();
        let mut merge = self.merge_runs()?;
        merge.add(Source::Memory(std::mem::take(&mut self.records).into_iter()))?;
        Ok(merge)
    }

    fn write_run(&mut self, records: impl Iterator<Item = Result<Record>>) -> Result<()> {
        let path = self.scratch.file(self.files);
        self.files += 1;
        let failed = |e| self.scratch.failed(e);
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create_new(&path).map_err(failed)?);
        let mut count = 0;
        for record in records {
            record?.write(&mut out).map_err(failed)?;
            count += 1;
        }
        out.flush().map_err(failed)?;
        self.runs.push((path, count));
        Ok(())
    }

    fn merge_runs(&mut self) -> Result<Merge> {
        let mut merge = Merge { sources: Vec::new(), heads: BinaryHeap::new() };
        for (path, count) in self.runs.drain(..) {
            let file = File::open(&path).map_err(|e| self.scratch.failed(e))?;
            // Its name goes now, its bytes with the last handle.
            let _ = fs::remove_file(&path);
            merge.add(Source::Run(BufReader::with_capacity(BUFFER_BYTES, file), count))?;
        }
        Ok(merge)
    }
}

/// Sorted sources as one.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<Source>,
    heads: BinaryHeap<Reverse<(Record, usize)>>,
}

#[derive(Debug)]
enum Source {
    Memory(std::vec::IntoIter<Record>),
    /// With the number of records left.
    Run(BufReader<File>, u64),
}

impl Merge {
    fn add(&mut self, source: Source) -> Result<()> {
        self.sources.push(source);
        self.advance(self.sources.len() - 1)
    }

    fn advance(&mut self, source: usize) -> Result<()> {
        let next = match &mut self.sources[source] {
            Source::Memory(records) => records.next(),
            Source::Run(input, left) => Record::read(input, left)
                .map_err(|e| Error::unavailable(format!("the files of a sort can't be read back: {e}")).caused_by(e))?,
        };
        self.heads.extend(next.map(|record| Reverse((record, source))));
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((record, source)) = self.heads.pop()?;
        Some(self.advance(source).map(|()| record))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record((key, line): (Vec<u8>, Vec<u8>), at: usize) -> Record {
        let is_static = at.is_multiple_of(2);
        Record { key, file: 1, at: at as u64, line, is_static, key_only: !is_static }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn records_come_out_sorted_and_whole(
            given in prop::collection::vec((prop::collection::vec(0u8..3, 0..4), prop::collection::vec(any::<u8>(), 0..9)), 0..600),
            run_bytes in prop::sample::select(vec![1usize, 700, 1 << 20]),
        ) {
            let parent = tempfile::tempdir().expect("a directory");
            let scratch = Scratch::new(parent.path()).expect("a directory");
            let mut sorter = Sorter::with_runs_of(&scratch, run_bytes);
            let mut expected: Vec<Record> = given.into_iter().enumerate().map(|(at, r)| record(r, at)).collect();
            for record in &expected {
                sorter.push(record.clone()).expect("space");
            }
            expected.sort();
            let sorted: Vec<Record> = sorter.finish().expect("files").map(|r| r.expect("a record")).collect();
            prop_assert_eq!(sorted, expected);
            drop(scratch);
            prop_assert_eq!(fs::read_dir(parent.path()).expect("a directory").count(), 0);
        }
    }
}
