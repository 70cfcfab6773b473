//! Is what stands in a repository what was written: the check of `ringvault verify` and of a restore's preflight.
//!
//! Damage is a finding, not an error: a check goes on behind it and names everything that is wrong. Deliberately absent:
//! comparing with a database, and repairing.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, stream};
use ringvault_proto::{error::ErrorKind, ids::BackupId, v1};

use crate::{
    chunk::{self, ChunkLines},
    digest::{Identity, Sums, Tally},
    error::{Error, Result},
    index::{NotTiled, TableIndex},
    manifest::{Manifest, ObjectRecord, TableEntry},
    names,
    repository::{Repository, blocking},
    row::{DecodedRow, RowDecoder},
    table::TableLayout,
};

/// Findings kept; a lost directory would give one a chunk.
pub const FINDINGS_MAX: usize = 1000;
/// Up to so many chunks are looked up one by one; more are found in a listing of the table's objects.
const LOOKUPS_MAX: usize = 32;
/// Look-ups at once.
const LOOKUPS_PARALLEL: usize = 8;
/// Chunks read at once: each is held in memory while it is read.
const READS_PARALLEL: usize = 4;
/// Findings that an error message names.
const FINDINGS_TOLD_MAX: usize = 3;

/// How deep a check goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadData {
    /// Manifest, schema, indexes; existence and length of every chunk.
    No,
    /// Also every chunk's bytes, lines and sums.
    All,
    /// The same of so many of a million chunks, drawn by the seed; of each table with rows at least of one.
    Subset {
        /// Of a million.
        per_million: u32,
        /// Another seed draws others.
        seed: u64,
    },
}

impl ReadData {
    /// Whether a chunk's bytes are read, and how it stands in the draw: the lowest is read in any case.
    fn draws(self, chunk: &v1::Chunk) -> (bool, u64) {
        match self {
            Self::No => (false, 0),
            Self::All => (true, 0),
            Self::Subset { per_million, seed } => {
                let drawn = Identity::of(format!("{seed} {}", chunk.object).as_bytes()).0;
                let drawn = drawn[..8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
                (drawn % 1_000_000 < u64::from(per_million), drawn)
            }
        }
    }
}

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// It is not there.
    Missing,
    /// It has another length.
    WrongLength,
    /// Its bytes are not what was written.
    Damaged,
    /// Its rows don't amount to what is recorded.
    WrongSums,
    /// An index whose segments don't tile the ring.
    Gap,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// With which object: a path below the repository's root.
    pub object: String,
    /// For a person; without cell values.
    pub message: String,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckProgress {
    /// Objects checked.
    pub objects_done: u64,
    /// Objects in all.
    pub objects: u64,
    /// Stored bytes of chunks read.
    pub bytes_done: u64,
    /// Stored bytes of chunks to read; 0 where they are not read.
    pub bytes: u64,
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What is wrong; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub findings_more: u64,
    /// What was done.
    pub progress: CheckProgress,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Nothing where all is well, else an error that names the first findings.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn into_result(self) -> Result<()> {
        if self.is_sound() {
            return Ok(());
        }
        let told: Vec<&str> = self.findings.iter().take(FINDINGS_TOLD_MAX).map(|f| f.message.as_str()).collect();
        let more = (self.findings.len() - told.len()) as u64 + self.findings_more;
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        Err(Error::corrupt(format!("{}{more}", told.join("; "))))
    }
}

/// Checks a backup. Cancel safe.
///
/// # Errors
/// `NotFound` where there is no such backup, `Corrupt` where its manifest can't be read, and what keeps the check from
/// going on; any other damage is a finding.
pub async fn check_backup(
    repository: &Repository,
    id: &BackupId,
    read: ReadData,
    progress: &mut (dyn FnMut(&CheckProgress) + Send),
) -> Result<CheckReport> {
    let manifest = repository.manifest(id).await?;
    check_tables(repository, &manifest, &[], read, progress).await
}

/// Checks some tables of a backup, by keyspace and name (none named: all), and its schema. Cancel safe.
///
/// # Errors
/// `NotFound` where the backup does not hold a table, and what keeps the check from going on; damage is a finding.
pub async fn check_tables(
    repository: &Repository,
    manifest: &Manifest,
    tables: &[(String, String)],
    read: ReadData,
    progress: &mut (dyn FnMut(&CheckProgress) + Send),
) -> Result<CheckReport> {
    if let Some((keyspace, table)) = tables.iter().find(|(keyspace, table)| manifest.table(keyspace, table).is_none()) {
        return Err(Error::not_found(format!("backup {} holds no table {keyspace}.{table}", manifest.backup_id)));
    }
    let wanted: HashSet<(&str, &str)> = tables.iter().map(|(k, t)| (k.as_str(), t.as_str())).collect();
    let chosen =
        |entry: &&TableEntry| wanted.is_empty() || wanted.contains(&(entry.keyspace.as_str(), entry.table.as_str()));
    let entries: Vec<&TableEntry> = manifest.tables.iter().filter(chosen).collect();
    let mut check = Check { repository, manifest, report: CheckReport::default(), tell: progress };
    check.expect(&entries, read);
    check.schema().await?;
    for entry in entries {
        check.table(entry, read).await?;
    }
    Ok(check.report)
}

/// Checks that every chunk of an index exists with its length. Cancel safe.
///
/// # Errors
/// What keeps the check from going on; damage is a finding.
pub async fn check_objects(repository: &Repository, index: &TableIndex) -> Result<Vec<Finding>> {
    let chunks = index.chunks();
    let mut lengths: HashMap<&str, u64> = HashMap::new();
    if chunks.len() > LOOKUPS_MAX {
        let wanted: HashSet<&str> = chunks.iter().map(|chunk| chunk.object.as_str()).collect();
        let (keyspace, table) = index.table_name();
        let keep = |object: &str, length| {
            if let Some(object) = wanted.get(object) {
                lengths.insert(object, length);
            }
        };
        repository.list_each(&names::data_prefix(keyspace, table), keep).await?;
    }
    // What a listing does not show is looked up before it is called missing.
    let unseen = chunks.iter().map(|chunk| chunk.object.as_str()).filter(|object| !lengths.contains_key(object));
    let unseen: Vec<&str> = unseen.collect();
    let mut found = stream::iter(unseen)
        .map(|object| async move { (object, repository.length(object).await) })
        .buffered(LOOKUPS_PARALLEL);
    while let Some((object, length)) = found.next().await {
        if let Some(length) = length? {
            lengths.insert(object, length);
        }
    }
    Ok(chunks.iter().filter_map(|chunk| wrong_length(chunk, lengths.get(chunk.object.as_str()).copied())).collect())
}

fn wrong_length(chunk: &v1::Chunk, found: Option<u64>) -> Option<Finding> {
    length_finding(&chunk.object, chunk.stored_bytes, found)
}

fn length_finding(object: &str, recorded: u64, found: Option<u64>) -> Option<Finding> {
    let (kind, message) = match found {
        Some(length) if length == recorded => return None,
        Some(length) => {
            (FindingKind::WrongLength, format!("{object} is damaged: it has {length} bytes, not {recorded}"))
        }
        None => (FindingKind::Missing, format!("{object} is missing")),
    };
    Some(Finding { kind, object: object.to_owned(), message })
}

/// A check under way.
struct Check<'a> {
    repository: &'a Repository,
    manifest: &'a Manifest,
    report: CheckReport,
    tell: &'a mut (dyn FnMut(&CheckProgress) + Send),
}

impl Check<'_> {
    fn expect(&mut self, entries: &[&TableEntry], read: ReadData) {
        let progress = &mut self.report.progress;
        progress.objects = 1; // the schema
        for entry in entries {
            progress.objects = progress.objects.saturating_add(1).saturating_add(entry.chunks);
            if read == ReadData::All {
                progress.bytes = progress.bytes.saturating_add(entry.stored_bytes);
            }
        }
    }

    async fn schema(&mut self) -> Result<()> {
        let record = &self.manifest.schema;
        if self.is_there(record).await? {
            let read = self.repository.read_schema(self.manifest).await;
            self.unless_damaged(&record.object, read)?;
        }
        self.done(1, 0);
        Ok(())
    }

    async fn table(&mut self, entry: &TableEntry, read: ReadData) -> Result<()> {
        let mut index = None;
        if self.is_there(&entry.index).await? {
            let decoded = self.repository.index_of(self.manifest, &entry.keyspace, &entry.table).await;
            index = self.unless_damaged(&entry.index.object, decoded)?;
        }
        self.done(1, 0);
        let Some(index) = index else { return Ok(()) };
        let findings = check_objects(self.repository, &index).await?;
        let bad: HashSet<String> = findings.iter().map(|finding| finding.object.clone()).collect();
        findings.into_iter().for_each(|finding| self.found(finding));
        match read {
            ReadData::No => self.done(index.chunks().len() as u64, 0),
            ReadData::All | ReadData::Subset { .. } => self.data(&index, &bad, read).await?,
        }
        Ok(())
    }

    /// Reads the chunks that are to be read and whose objects are there.
    async fn data(&mut self, index: &TableIndex, bad: &HashSet<String>, read: ReadData) -> Result<()> {
        let layout = TableLayout::from_message(index.table())?;
        let repository = self.repository;
        let sound = || index.chunks().iter().filter(|chunk| !bad.contains(&chunk.object));
        let mut chunks: Vec<&v1::Chunk> = sound().filter(|chunk| read.draws(chunk).0).collect();
        if chunks.is_empty() {
            chunks.extend(sound().min_by_key(|chunk| read.draws(chunk).1));
        }
        self.done((index.chunks().len() - chunks.len()) as u64, 0);
        if read != ReadData::All {
            let bytes = chunks.iter().fold(0_u64, |bytes, chunk| bytes.saturating_add(chunk.stored_bytes));
            self.report.progress.bytes = self.report.progress.bytes.saturating_add(bytes);
        }
        let mut reads = stream::iter(chunks)
            .map(|chunk| {
                let layout = layout.clone();
                async move { (chunk, read_chunk(repository, chunk, layout).await) }
            })
            .buffered(READS_PARALLEL);
        while let Some((chunk, read)) = reads.next().await {
            if let Some(message) = self.unless_damaged(&chunk.object, read)?.flatten() {
                self.found(Finding { kind: FindingKind::WrongSums, object: chunk.object.clone(), message });
            }
            self.done(1, chunk.stored_bytes);
        }
        Ok(())
    }

    async fn is_there(&mut self, record: &ObjectRecord) -> Result<bool> {
        let length = self.repository.length(&record.object).await?;
        match length_finding(&record.object, record.stored_bytes, length) {
            None => Ok(true),
            Some(finding) => {
                self.found(finding);
                Ok(false)
            }
        }
    }

    /// What was read, or nothing and a finding where it is damaged.
    fn unless_damaged<T>(&mut self, object: &str, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                let gap = std::error::Error::source(&e).is_some_and(|source| source.is::<NotTiled>());
                let kind = if gap { FindingKind::Gap } else { FindingKind::Damaged };
                self.found(Finding { kind, object: object.to_owned(), message: e.to_string() });
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn found(&mut self, finding: Finding) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding);
        } else {
            self.report.findings_more += 1;
        }
    }

    fn done(&mut self, objects: u64, bytes: u64) {
        self.report.progress.objects_done += objects;
        self.report.progress.bytes_done += bytes;
        (self.tell)(&self.report.progress);
    }
}

/// Reads a chunk to its end; why its rows aren't those that are recorded.
async fn read_chunk(repository: &Repository, record: &v1::Chunk, layout: TableLayout) -> Result<Option<String>> {
    let lines = repository.fetch_chunk(record).await?;
    let recorded = chunk::sums(record)?;
    let found = {
        let object = record.object.clone();
        blocking(move || sums_of(lines, &layout).map_err(|e| e.within(object))).await?
    };
    let object = &record.object;
    Ok((found != recorded).then(|| {
        format!(
            "{object} holds {} rows and {} static rows, and {} and {} are recorded, with {} sums",
            found.rows,
            found.static_rows,
            recorded.rows,
            recorded.static_rows,
            if (found.values, found.times) == (recorded.values, recorded.times) { "equal" } else { "other" },
        )
    }))
}

/// What the rows of a chunk amount to, by the rows themselves; blocking.
///
/// # Errors
/// `Corrupt` where the chunk, or a line of it, is damaged.
pub fn sums_of(mut lines: ChunkLines, layout: &TableLayout) -> Result<Sums> {
    lines.check()?;
    let (mut decoder, mut row, mut line) = (RowDecoder::new(layout), DecodedRow::default(), Vec::new());
    let mut tally = Tally::default();
    while lines.next_line(&mut line)? {
        let hashed = decoder.decode(&line, &mut row)?;
        tally.add(row.kind(), &hashed);
    }
    Ok(tally.take())
}
