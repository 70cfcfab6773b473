//! An import: the tables of a seed directory one by one into chunks, then schema, indexes and manifest, as every backup is
//! written. Until the manifest stands there is no backup, so a dropped import leaves none.

use std::{collections::BTreeSet, path::PathBuf};

use jiff::{Timestamp, tz::TimeZone};
use ringvault_proto::{
    error::ErrorKind,
    grid::Grid,
    ids::BackupId,
    v1::{self, Compression, Consistency},
};
use ringvault_runtime::{clock::Clock, entropy::Entropy};
use tokio::sync::mpsc;

use super::{
    SeedKeyspace, SeedSchema,
    directory::SeedFile,
    findings::{ALWAYS, Findings},
    table::{Event, TableWork},
};
use crate::{
    error::{Error, Result},
    index::TableIndex,
    manifest::{Cluster, Manifest, Options, TableEntry},
    repository::{ChunkAddress, Repository, blocking},
    schema::{SchemaDocument, SchemaKind, SchemaObject},
};

/// What to import and how.
#[derive(Clone, Debug)]
pub struct Import {
    /// What the schema file creates.
    pub schema: SeedSchema,
    /// Of the chunks; `COMPRESSION_UNSPECIFIED` is zstd.
    pub compression: Compression,
    /// Rows a chunk at most; 0: by bytes only.
    pub chunk_rows_max: u64,
    /// Where rows are sorted; it may need the size of the largest table's rows.
    pub scratch: PathBuf,
}

/// How far an import is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Unquoted.
    pub keyspace: String,
    /// Unquoted.
    pub table: String,
    /// What happens to it.
    pub stage: Stage,
    /// Read so far, with those that are there twice.
    pub rows: u64,
    /// Read so far of this table's files, before decompression.
    pub bytes_read: u64,
    /// Of this table's files.
    pub bytes_total: u64,
    /// New in the repository.
    pub stored_bytes: u64,
}

/// What happens to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its files are read and sorted.
    Reading,
    /// Its chunks are stored.
    Storing,
    /// It is in the repository.
    Stored,
}

impl Import {
    /// Imports a keyspace of a seed directory. Dropped, it leaves no backup, and no file in `scratch`.
    ///
    /// # Errors
    /// `Corrupt` for damaged or missing files and rows, with file and line; `Invalid` for what can't be told from that
    /// tool's encoding, with the column; `NotFound` where there is no table with rows; what the repository fails with.
    pub async fn run(
        self,
        seed: SeedKeyspace,
        repository: &Repository,
        (clock, entropy): (&dyn Clock, &Entropy),
        progress: impl Fn(&Progress) + Send + Sync,
    ) -> Result<Manifest> {
        let id = backup_id(clock.unix_ms(), &entropy.suffix(4))?;
        let name = |table: &v1::InspectedTable| table.table.clone().unwrap_or_default().table;
        let names: Vec<String> = self.schema.tables.iter().map(name).collect();
        let files = seed.files(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        if files.is_empty() {
            let what = format!("the directory holds no rows of keyspace {}: no TABLE_shardN_partM.json", seed.name());
            return Err(Error::not_found(what));
        }
        let mut warnings: Vec<String> = ALWAYS.iter().map(|text| (*text).to_owned()).collect();
        warnings.extend(self.schema.warnings.iter().cloned());
        let absent: Vec<String> = names.iter().filter(|name| !files.contains_key(*name)).cloned().collect();
        if !absent.is_empty() {
            warnings.push(format!(
                "tables {} are in the schema file, but no file holds rows of them: they were not backed up, and are not \
                 in this backup",
                absent.join(", ")
            ));
        }
        let newest = files.values().flatten().map(|file| file.unix_ms).max().unwrap_or_default();
        let started = seed.started_unix_ms().min(newest).min(clock.unix_ms());
        let mut entries = Vec::with_capacity(files.len());
        for table in &self.schema.tables {
            let Some(files) = files.get(&name(table)) else { continue };
            let told = Told { progress: &progress };
            entries.push(self.table(repository, &id, table, files, &told, &mut warnings).await?);
        }
        entries.sort_by(|a, b| (&a.keyspace, &a.table).cmp(&(&b.keyspace, &b.table)));
        let kept: BTreeSet<&str> = entries.iter().map(|entry| entry.table.as_str()).collect();
        let schema = repository.write_schema(&id, &of_tables(&self.schema.document, &kept)).await?;
        let manifest = Manifest {
            ringvault_version: env!("CARGO_PKG_VERSION").to_owned(),
            backup_id: id,
            keyspaces: vec![seed.name().to_owned()],
            started_unix_ms: started,
            finished_unix_ms: newest.max(started),
            cluster: Cluster { name: "cassandra-backup-tool".to_owned(), ..Cluster::default() },
            options: Options {
                keyspaces_chosen: vec![seed.name().to_owned()],
                with_roles: false,
                read_consistency: Consistency::LocalOne,
                compression: or_zstd(self.compression),
                values_only: true,
                limit_rows: 0,
                chunk_rows_max: self.chunk_rows_max,
                tables_chosen: if absent.is_empty() {
                    Vec::new()
                } else {
                    kept.iter().map(|&t| t.to_owned()).collect()
                },
            },
            schema,
            tables: entries,
            warnings,
        };
        repository.write_manifest(&manifest).await?;
        Ok(manifest)
    }

    /// One table: its chunks and its index.
    async fn table(
        &self,
        repository: &Repository,
        id: &BackupId,
        table: &v1::InspectedTable,
        files: &[SeedFile],
        told: &Told<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<TableEntry> {
        let work = TableWork::new(table, files.to_vec(), self.compression, self.chunk_rows_max, &self.scratch)?;
        let layout = work.layout.clone();
        let mut state = Progress {
            keyspace: layout.keyspace.clone(),
            table: layout.table.clone(),
            stage: Stage::Reading,
            rows: 0,
            bytes_read: 0,
            bytes_total: files.iter().map(|file| file.bytes).sum(),
            stored_bytes: 0,
        };
        told.tell(&state);
        // Dropped with the future: then the thread's next message is not wanted, and it ends.
        let (sender, mut events) = mpsc::channel(2);
        let thread = tokio::task::spawn_blocking(move || work.run(|event| sender.blocking_send(event).is_ok()));
        let (mut grid, mut chunks, mut found) = (Grid::WHOLE, Vec::new(), None);
        while let Some(event) = events.recv().await {
            match event {
                Event::Read { rows, bytes } => (state.rows, state.bytes_read) = (rows, bytes),
                Event::Sorted(chosen) => (grid, state.stage) = (chosen, Stage::Storing),
                Event::Chunk { segment, part, chunk } => {
                    let (keyspace, table) = (layout.keyspace.as_str(), layout.table.as_str());
                    let address = ChunkAddress { keyspace, table, grid, segment, part };
                    let stored = repository.store_chunk(&address, *chunk, None).await?;
                    warnings.extend(stored.warning().map(str::to_owned));
                    let record = stored.into_record();
                    state.stored_bytes += if record.reused { 0 } else { record.stored_bytes };
                    chunks.push(record);
                }
                Event::Done(findings) => found = Some(findings),
            }
            told.tell(&state);
        }
        match thread.await {
            Ok(done) => done?,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => return Err(Error::unavailable("the process is ending")),
        }
        let found: Findings = found.ok_or_else(|| Error::internal("an import ended without an end"))?;
        warnings.extend(found.warnings(&layout));
        let entry = publish(repository, id, table.clone(), grid, chunks).await?;
        state.stage = Stage::Stored;
        told.tell(&state);
        Ok(entry)
    }
}

/// Who is told of progress.
struct Told<'a> {
    progress: &'a (dyn Fn(&Progress) + Send + Sync),
}

impl Told<'_> {
    fn tell(&self, state: &Progress) {
        (self.progress)(state);
    }
}

async fn publish(
    repository: &Repository,
    id: &BackupId,
    mut table: v1::InspectedTable,
    grid: Grid,
    chunks: Vec<v1::Chunk>,
) -> Result<TableEntry> {
    let stored_bytes_new = chunks.iter().filter(|chunk| !chunk.reused).map(|chunk| chunk.stored_bytes).sum();
    table.approximations = vec![v1::Approximation {
        what: v1::approximation::What::AllTimes.into(),
        column: String::new(),
        note: "cassandra-backup-tool keeps no times".to_owned(),
    }];
    let index = blocking(move || TableIndex::new(table, grid, true, chunks)).await?;
    let object = repository.write_index(id, &index).await?;
    Ok(index.entry(object, stored_bytes_new))
}

/// The schema without the tables that were not backed up, and what belongs to these.
fn of_tables(document: &SchemaDocument, kept: &BTreeSet<&str>) -> SchemaDocument {
    let keeps = |object: &&SchemaObject| match (object.kind, &object.table) {
        (SchemaKind::Table, _) => kept.contains(object.name.as_str()),
        (_, Some(table)) => kept.contains(table.as_str()),
        (_, None) => true,
    };
    SchemaDocument { objects: document.objects.iter().filter(keeps).cloned().collect(), ..document.clone() }
}

fn or_zstd(compression: Compression) -> Compression {
    if compression == Compression::Unspecified { Compression::Zstd } else { compression }
}

/// The id of a backup that is made now: UTC and sortable.
fn backup_id(unix_ms: u64, suffix: &str) -> Result<BackupId> {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let id = format!("{}-{suffix}", time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ"));
    id.parse().map_err(|e| Error::new(ErrorKind::Internal, format!("{e}")))
}
