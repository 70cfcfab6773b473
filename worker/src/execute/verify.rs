//! VerifyShard: are the objects what the index says, or are the rows in the database what the backup holds.

use std::{collections::BTreeMap, sync::Arc};

use ringvault_archive::{digest::Sums, merge::Counts, repository::Repository, rows::diff::sums_of, table::TableLayout};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    token::TokenRange,
    v1::{self, verify_shard::Against as What},
};
use ringvault_runtime::telemetry::metrics::{self, ChunkOutcome, Direction};
use tracing::{Instrument, Span};

use super::{
    Context,
    archived::check_chunk,
    dump::scan_options,
    reading::{PieceStore, Reading, read_segments},
    sinks::{SumSink, Summed},
};
use crate::{
    cql::scan::TableScan,
    live::{self, against::Against},
};

pub(super) async fn verify(
    context: &Context,
    assignment: &v1::Assignment,
    work: v1::VerifyShard,
) -> Result<(), Failure> {
    let table = work.table.as_ref().ok_or_else(|| Failure::new(ErrorKind::Invalid, "the shard names no table"))?;
    let layout = Arc::new(TableLayout::from_message(table)?);
    let repository = context.places.repository(&assignment.repository).await?;
    let mut chunks: BTreeMap<u64, Vec<v1::Chunk>> = BTreeMap::new();
    for chunk in &work.chunks {
        chunks.entry(chunk.segment).or_default().push(chunk.clone());
    }
    match work.against() {
        What::Repository => against_repository(context, &work, &repository, &layout, &chunks).await?,
        What::Cluster => {
            Box::pin(against_cluster(context, assignment, &work, table, &layout, &repository, chunks)).await?;
        }
        What::Unspecified => {
            let message = "the assignment does not say what to verify against; update the worker";
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
    }
    context.reporter.finish().await
}

async fn against_repository(
    context: &Context,
    work: &v1::VerifyShard,
    repository: &Repository,
    layout: &Arc<TableLayout>,
    chunks: &BTreeMap<u64, Vec<v1::Chunk>>,
) -> Result<(), Failure> {
    for segment in work.segment_first..work.segment_first + work.segments {
        let chunks = chunks.get(&segment).map_or(&[][..], Vec::as_slice);
        let span = tracing::info_span!("segment", segment);
        let verified = segment_stored(context, repository, layout, segment, chunks).instrument(span).await?;
        context.reporter.complete(|request| request.verified.push(verified)).await?;
    }
    Ok(())
}

/// Looks at the stored chunks of one segment.
async fn segment_stored(
    context: &Context,
    repository: &Repository,
    layout: &Arc<TableLayout>,
    segment: u64,
    chunks: &[v1::Chunk],
) -> Result<v1::SegmentVerified, Failure> {
    let mut verified = v1::SegmentVerified { segment, equal: true, ..v1::SegmentVerified::default() };
    for chunk in chunks {
        let span = tracing::info_span!("chunk", part = chunk.part);
        match check_chunk(context, repository, layout, chunk).instrument(span).await {
            Ok(sums) => {
                verified.rows += sums.rows;
                context.progress.add(sums.rows, chunk.encoded_bytes);
                metrics::rows(Direction::Verify, sums.rows, chunk.encoded_bytes);
                metrics::chunk(ChunkOutcome::Verified);
            }
            Err(failure) if failure.kind == ErrorKind::Corrupt => {
                metrics::chunk(ChunkOutcome::Failed);
                verified.equal = false;
                verified.difference = failure.message;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(verified)
}

async fn against_cluster(
    context: &Context,
    assignment: &v1::Assignment,
    work: &v1::VerifyShard,
    table: &v1::InspectedTable,
    layout: &Arc<TableLayout>,
    repository: &Arc<Repository>,
    chunks: BTreeMap<u64, Vec<v1::Chunk>>,
) -> Result<(), Failure> {
    let cluster = context.places.cluster(&assignment.cluster).await?;
    let rules = work.rules.clone().unwrap_or_default();
    let options = scan_options(context, assignment, work.read_consistency(), work.fetch_size, work.values_only);
    let scan = TableScan::prepare(&cluster, &live::renamed(table, rules.target.as_ref()), options).await?;
    context.progress.follow(&scan);
    let now = live::database_clock(&cluster, &scan.layout().keyspace, &context.clock).await?;
    // What a restore has written carries the times that it was given, also where the backup's server could not tell them.
    let restored = rules.restore_started_unix_ms > 0;
    let untold = if restored { &[][..] } else { &table.approximations[..] };
    let clocked = (&context.tasks, now);
    let against = Against::new(repository, layout, &scan, clocked, &rules, (work.values_only, untold))?;
    let grid = Grid::try_from(work.grid_exponent).map_err(|e| Failure::new(ErrorKind::Invalid, e.to_string()))?;
    let look = Look { context, against, grid, chunks };
    look.run(work.segment_first, work.segments).await
}

/// Compares segments of the table with what the backup holds of them.
struct Look<'a> {
    context: &'a Context,
    against: Against,
    grid: Grid,
    chunks: BTreeMap<u64, Vec<v1::Chunk>>,
}

impl PieceStore<Summed> for Look<'_> {
    async fn store(&self, summed: Vec<(Span, Summed)>) -> Result<(), Failure> {
        let mut verified = Vec::with_capacity(summed.len());
        for (span, Summed { segment, sums }) in summed {
            verified.push(self.compare(segment, Some(sums)).instrument(span).await?);
        }
        self.report(verified).await
    }
}

impl Look<'_> {
    /// Neighbouring segments for which sums may say enough are read in one go, the others row by row.
    async fn run(&self, first: u64, count: u64) -> Result<(), Failure> {
        let by_sums = |segment: u64| self.range(segment).map(|range| self.against.sums_say_enough(range));
        let mut next = first;
        while next < first + count {
            let start = next;
            let fast = by_sums(start)?;
            while next < first + count && by_sums(next)? == fast {
                next += 1;
            }
            if fast {
                let reading = Reading {
                    scan: self.against.scan.clone(),
                    grid: self.grid,
                    first: start,
                    count: next - start,
                    behind: None,
                    limit_rows: 0,
                };
                let progress = (&self.context.tasks, &self.context.progress);
                read_segments(progress, reading, SumSink::default(), self).await?;
                continue;
            }
            for segment in start..next {
                let span = tracing::info_span!("segment", segment);
                let verified = self.compare(segment, None).instrument(span).await?;
                self.report(vec![verified]).await?;
            }
        }
        Ok(())
    }

    async fn report(&self, verified: Vec<v1::SegmentVerified>) -> Result<(), Failure> {
        let rows = verified.iter().map(|segment| segment.rows).sum();
        self.context.reporter.complete(|request| request.verified = verified).await?;
        metrics::rows(Direction::Verify, rows, 0);
        Ok(())
    }

    fn range(&self, segment: u64) -> Result<TokenRange, Failure> {
        let range = self.grid.range(segment);
        range.ok_or_else(|| Failure::new(ErrorKind::Invalid, format!("the grid has no segment {segment}")))
    }

    async fn compare(&self, segment: u64, found: Option<Sums>) -> Result<v1::SegmentVerified, Failure> {
        let chunks = self.chunks.get(&segment).map_or(&[][..], Vec::as_slice);
        if let Some(found) = found
            && self.against.same(&sums_of(chunks)?, &found)
        {
            let rows = found.rows;
            return Ok(v1::SegmentVerified { segment, equal: true, rows, ..v1::SegmentVerified::default() });
        }
        let counts = self.against.count(self.range(segment)?, chunks).await?;
        if found.is_none() {
            self.context.progress.add(counts.right, 0);
        }
        Ok(v1::SegmentVerified {
            segment,
            equal: counts.is_equal(),
            difference: difference(&counts),
            rows: found.map_or(counts.right, |found| found.rows),
            missing: counts.missing,
            extra: counts.extra,
            differing: counts.differing,
        })
    }
}

/// What differs, without a cell value; empty where nothing does.
fn difference(counts: &Counts) -> String {
    let mut parts = Vec::new();
    if counts.missing > 0 {
        parts.push(format!("{} of the backup missing in the table", lines(counts.missing)));
    }
    if counts.extra > 0 {
        parts.push(format!("{} of the table not in the backup", lines(counts.extra)));
    }
    if counts.differing > 0 {
        let behind = counts.fallen_behind.saturating_sub(counts.missing);
        let behind = if behind > 0 { format!(" ({behind} of them with fewer or older cells)") } else { String::new() };
        let differ = if counts.differing == 1 { "differs" } else { "differ" };
        parts.push(format!("{} {differ}{behind}", lines(counts.differing)));
    }
    parts.join(", ")
}

/// Rows and partitions' statics are counted alike.
fn lines(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_in_numbers() {
        let counts = Counts { left: 9, right: 9, missing: 1, extra: 0, differing: 3, fallen_behind: 3 };
        assert_eq!(
            difference(&counts),
            "1 row of the backup missing in the table, 3 rows differ (2 of them with fewer or older cells)"
        );
        assert_eq!(difference(&Counts { left: 9, right: 9, ..Counts::default() }), "");
    }
}
