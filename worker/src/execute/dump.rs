//! DumpShard: segments of a table into chunks of the repository.
//!
//! Way of a chunk: sealed and verified on the encoding thread, stored unless it is there, recorded by the coordinator.
//! A shard goes on behind the last stored chunk of its open segment.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ringvault_archive::{
    chunk::SealedChunk,
    repository::{ChunkAddress, Repository},
    row::{DecodedRow, RowDecoder},
    table::TableLayout,
};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    v1,
};
use ringvault_runtime::telemetry::metrics::{self, ChunkOutcome, Direction};
use tracing::{Instrument, Span};

use super::{
    Context, broken_task,
    reading::{PieceStore, Reading, read_segments},
    sinks::{ChunkSink, Dumped},
};
use crate::cql::{
    Cluster, fingerprint,
    lines::Position,
    scan::{ScanOptions, TableScan},
};

pub(super) async fn dump(context: &Context, assignment: &v1::Assignment, work: v1::DumpShard) -> Result<(), Failure> {
    let table = work.table.as_ref().ok_or_else(|| Failure::new(ErrorKind::Invalid, "the shard names no table"))?;
    let grid = Grid::try_from(work.grid_exponent).map_err(|e| Failure::new(ErrorKind::Invalid, e.to_string()))?;
    let cluster = context.places.cluster(&assignment.cluster).await?;
    let repository = context.places.repository(&assignment.repository).await?;
    check_unchanged(&cluster, table).await?;
    let options = scan_options(context, assignment, work.read_consistency(), work.fetch_size, work.values_only);
    let scan = TableScan::prepare(&cluster, table, options).await?;
    check_told(&scan, table)?;
    context.progress.follow(&scan);
    let behind = match work.resume_parts.last() {
        Some(last) => last_position(context, &repository, scan.layout(), last).await?,
        None => None,
    };
    let first_part = work.resume_parts.last().map_or(0, |chunk| chunk.part + 1);
    let reading = Reading {
        scan: scan.clone(),
        grid,
        first: work.segment_first,
        count: work.segments,
        behind,
        limit_rows: work.limit_rows,
    };
    let sink = ChunkSink::new(work.compression(), context.chunk_bytes_max, work.chunk_rows_max, first_part);
    let store = Store {
        context,
        cluster: &cluster,
        repository: &repository,
        table,
        layout: scan.layout(),
        grid,
        parents: work.parent_chunks.iter().map(|chunk| ((chunk.segment, chunk.part), chunk)).collect(),
    };
    Box::pin(read_segments((&context.tasks, &context.progress), reading, sink, &store)).await?;
    context.reporter.finish().await
}

/// How a table is read for this assignment.
pub(super) fn scan_options(
    context: &Context,
    assignment: &v1::Assignment,
    read_consistency: v1::Consistency,
    fetch_size: u32,
    values_only: bool,
) -> ScanOptions {
    ScanOptions {
        read_consistency,
        fetch_size,
        values_only,
        patience: patience(assignment),
        pace: context.pace.clone(),
        tasks: context.tasks.clone(),
        entropy: context.entropy.clone(),
    }
}

/// How long unavailable replicas are waited for.
pub(super) fn patience(assignment: &v1::Assignment) -> Duration {
    Duration::from_millis(assignment.patience_ms)
}

/// A table whose columns changed since the plan would be read wrongly.
async fn check_unchanged(cluster: &Cluster, table: &v1::InspectedTable) -> Result<(), Failure> {
    let name = table.table.clone().unwrap_or_default();
    let now = fingerprint::fingerprint(cluster, &name.keyspace, &name.table).await?;
    if now.as_deref() == Some(&table.fingerprint) {
        return Ok(());
    }
    let message = format!(
        "table {}.{} was altered or dropped while it was backed up; run the same command with --fresh once the schema is settled",
        name.keyspace, name.table
    );
    Err(Failure::new(ErrorKind::Conflict, message))
}

/// The index says what the server of the plan could not tell; rows read by another rule would make that a lie.
fn check_told(scan: &TableScan, table: &v1::InspectedTable) -> Result<(), Failure> {
    let what = |told: &[v1::Approximation]| -> Vec<(i32, String)> {
        told.iter().map(|approximation| (approximation.what, approximation.column.clone())).collect()
    };
    if what(scan.approximations()) == what(&table.approximations) {
        return Ok(());
    }
    let name = table.table.clone().unwrap_or_default();
    let message = format!(
        "the nodes tell other times of table {}.{} than when the backup was planned, as nodes of different releases do; \
         run the same command with --fresh once all nodes run the same release",
        name.keyspace, name.table
    );
    Err(Failure::new(ErrorKind::Conflict, message))
}

/// Where the rows of a stored chunk end: its last line tells. The position is a key, so it is never journaled or sent.
async fn last_position(
    context: &Context,
    repository: &Repository,
    layout: &Arc<TableLayout>,
    last: &v1::Chunk,
) -> Result<Option<Position>, Failure> {
    let mut lines = repository.fetch_chunk(last).await?;
    let layout = layout.clone();
    let find = move || -> Result<Option<Position>, Failure> {
        lines.check()?;
        let (mut line, mut last) = (Vec::new(), Vec::new());
        while lines.next_line(&mut line)? {
            std::mem::swap(&mut line, &mut last);
        }
        let mut row = DecodedRow::default();
        RowDecoder::new(&layout).decode(&last, &mut row)?;
        Ok(Position::behind(&layout, row.kind(), |column| row.cell(column)))
    };
    context.tasks.spawn_blocking(find).await.map_err(broken_task)?
}

/// Stores pieces and records them.
struct Store<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    repository: &'a Repository,
    table: &'a v1::InspectedTable,
    layout: &'a TableLayout,
    grid: Grid,
    parents: HashMap<(u64, u32), &'a v1::Chunk>,
}

impl PieceStore<Dumped> for Store<'_> {
    async fn store(&self, pieces: Vec<(Span, Dumped)>) -> Result<(), Failure> {
        let mut done: Vec<v1::SegmentDone> = Vec::new();
        for (segment, piece) in pieces {
            let mut record = v1::SegmentDone { segment: piece.segment, chunks: Vec::new(), closed: piece.closed };
            if let Some((part, sealed)) = piece.chunk {
                let span = tracing::info_span!(parent: &segment, "chunk", part);
                record.chunks.push(self.store_chunk(piece.segment, part, sealed).instrument(span).await?);
            }
            done.push(record);
        }
        if done.iter().any(|segment| segment.closed) {
            // What was read under other columns than planned must not be recorded as closed.
            check_unchanged(self.cluster, self.table).await?;
        }
        let stored: Vec<(bool, u64, u64)> = done
            .iter()
            .flat_map(|segment| &segment.chunks)
            .map(|chunk| (chunk.reused, chunk.rows, chunk.encoded_bytes))
            .collect();
        self.context.reporter.complete(|request| request.segments = done).await?;
        for (reused, rows, bytes) in stored {
            metrics::rows(Direction::Backup, rows, bytes);
            metrics::chunk(if reused { ChunkOutcome::Reused } else { ChunkOutcome::Stored });
        }
        Ok(())
    }
}

impl Store<'_> {
    async fn store_chunk(&self, segment: u64, part: u32, sealed: SealedChunk) -> Result<v1::Chunk, Failure> {
        let address =
            ChunkAddress { keyspace: &self.layout.keyspace, table: &self.layout.table, grid: self.grid, segment, part };
        let vouched = self.parents.get(&(segment, part)).copied();
        match self.repository.store_chunk(&address, sealed, vouched).await {
            Ok(stored) => {
                if let Some(warning) = stored.warning() {
                    tracing::warn!("{warning}");
                }
                let chunk = stored.into_record();
                tracing::trace!(table = address.table, segment, part, rows = chunk.rows, "a chunk is stored");
                Ok(chunk)
            }
            Err(error) => {
                metrics::chunk(ChunkOutcome::Failed);
                Err(error.into())
            }
        }
    }
}
