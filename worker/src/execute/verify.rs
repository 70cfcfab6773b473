//! VerifyShard: are the objects what the index says, or are the rows in the database what the backup holds.

use std::{collections::BTreeMap, sync::Arc};

use ringvault_archive::{digest::Sums, repository::Repository, table::TableLayout};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    v1::{self, verify_shard::Against},
};
use tokio::sync::Mutex;

use super::{
    Context,
    archived::{check_chunk, recorded_sums, sums_as_of},
    broken_task,
    dump::scan_options,
    reading::{PieceStore, Reading, read_segments},
    sinks::{SumSink, Summed},
};
use crate::cql::scan::TableScan;

/// Readings of a segment whose sums differ before it counts as different: cells may expire between two looks.
const LOOKS_MAX: usize = 3;

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
        Against::Repository => against_repository(context, &work, &repository, &layout, &chunks).await?,
        Against::Cluster => against_cluster(context, assignment, &work, table, repository, chunks).await?,
        Against::Unspecified => {
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
        let mut verified = v1::SegmentVerified { segment, equal: true, ..v1::SegmentVerified::default() };
        for chunk in chunks.get(&segment).into_iter().flatten() {
            match check_chunk(context, repository, layout, chunk).await {
                Ok(sums) => {
                    verified.rows += sums.rows;
                    context.progress.add(sums.rows, chunk.encoded_bytes);
                }
                Err(failure) if failure.kind == ErrorKind::Corrupt => {
                    verified.equal = false;
                    verified.difference = failure.message;
                }
                Err(failure) => return Err(failure),
            }
        }
        context.reporter.complete(|request| request.verified.push(verified)).await?;
    }
    Ok(())
}

async fn against_cluster(
    context: &Context,
    assignment: &v1::Assignment,
    work: &v1::VerifyShard,
    table: &v1::InspectedTable,
    repository: Arc<Repository>,
    chunks: BTreeMap<u64, Vec<v1::Chunk>>,
) -> Result<(), Failure> {
    let cluster = context.places.cluster(&assignment.cluster).await?;
    let options = scan_options(context, assignment, work.read_consistency(), work.fetch_size, work.values_only);
    let pace = options.pace.clone();
    let scan = TableScan::prepare(&cluster, table, options).await?;
    context.progress.follow(&scan, &pace);
    let grid = Grid::try_from(work.grid_exponent).map_err(|e| Failure::new(ErrorKind::Invalid, e.to_string()))?;
    let look = Look { context, scan: &scan, grid, repository: &repository, work, chunks: &chunks };
    read_segments(context, look.reading(work.segment_first, work.segments), SumSink::default(), &look).await
}

/// Compares segments of the table with what the backup holds of them.
struct Look<'a> {
    context: &'a Context,
    scan: &'a TableScan,
    grid: Grid,
    repository: &'a Repository,
    work: &'a v1::VerifyShard,
    chunks: &'a BTreeMap<u64, Vec<v1::Chunk>>,
}

impl PieceStore<Summed> for Look<'_> {
    async fn store(&self, summed: Vec<Summed>) -> Result<(), Failure> {
        let mut verified = Vec::with_capacity(summed.len());
        for Summed { segment, sums } in summed {
            let chunks = self.chunks.get(&segment).map_or(&[][..], Vec::as_slice);
            verified.push(self.compare(segment, sums, chunks).await?);
        }
        self.context.reporter.complete(|request| request.verified = verified).await
    }
}

/// Adds up what a second look finds.
#[derive(Default)]
struct Total(Mutex<Sums>);

impl PieceStore<Summed> for Total {
    async fn store(&self, summed: Vec<Summed>) -> Result<(), Failure> {
        let mut total = self.0.lock().await;
        for piece in summed {
            *total += piece.sums;
        }
        Ok(())
    }
}

impl Look<'_> {
    fn reading(&self, first: u64, count: u64) -> Reading {
        Reading { scan: self.scan.clone(), grid: self.grid, first, count, behind: None, limit_rows: 0 }
    }

    async fn compare(&self, segment: u64, found: Sums, chunks: &[v1::Chunk]) -> Result<v1::SegmentVerified, Failure> {
        let mut expected = Sums::default();
        for chunk in chunks {
            expected += recorded_sums(chunk)?;
        }
        let mut found = found;
        let mut equal = self.same(&expected, &found);
        for _ in 0..LOOKS_MAX {
            if equal {
                break;
            }
            // Cells may have expired since the backup: what is expected now, and does the table hold it?
            let before = self.expected_now(chunks).await?;
            found = self.sum_again(segment).await?;
            let after = self.expected_now(chunks).await?;
            equal = self.same(&before, &found) || self.same(&after, &found);
            expected = after;
        }
        let difference = if equal { String::new() } else { difference(&expected, &found) };
        Ok(v1::SegmentVerified { segment, equal, difference, rows: found.rows, ..v1::SegmentVerified::default() })
    }

    fn same(&self, expected: &Sums, found: &Sums) -> bool {
        expected.rows == found.rows
            && expected.static_rows == found.static_rows
            && expected.values == found.values
            && (self.work.values_only || expected.times == found.times)
    }

    /// The sums of the backup's rows without what has expired by now.
    async fn expected_now(&self, chunks: &[v1::Chunk]) -> Result<Sums, Failure> {
        let now_s = i64::try_from(self.context.clock.unix_ms() / 1000).unwrap_or(i64::MAX);
        let mut total = Sums::default();
        for chunk in chunks {
            let lines = self.repository.fetch_chunk(chunk).await?;
            let layout = self.scan.layout().clone();
            let summed = self.context.tasks.spawn_blocking(move || sums_as_of(lines, &layout, Some(now_s)));
            total += summed.await.map_err(broken_task)??;
        }
        Ok(total)
    }

    async fn sum_again(&self, segment: u64) -> Result<Sums, Failure> {
        let total = Total::default();
        read_segments(self.context, self.reading(segment, 1), SumSink::default(), &total).await?;
        Ok(total.0.into_inner())
    }
}

/// What differs, without a cell value.
fn difference(expected: &Sums, found: &Sums) -> String {
    if expected.rows != found.rows {
        return format!("{} rows in the backup, {} in the table", expected.rows, found.rows);
    }
    if expected.static_rows != found.static_rows {
        let (expected, found) = (expected.static_rows, found.static_rows);
        return format!("{expected} partitions with statics in the backup, {found} in the table");
    }
    if expected.values == found.values {
        return "writetimes differ".to_owned();
    }
    "values differ".to_owned()
}
