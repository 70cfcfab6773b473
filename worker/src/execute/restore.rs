//! RestoreShard: rows of chunks into the database.
//!
//! A chunk is checked as a whole before its first row is sent, the next one is fetched meanwhile, and a chunk counts as
//! done when every write of it was acknowledged. The next one is unpacked and checked when all rows of this one are on their
//! way and its memory is free: a slot holds one unpacked chunk and one as it is stored.

use std::{sync::Arc, time::Duration};

use ringvault_archive::{
    chunk::ChunkLines,
    repository::Repository,
    row::{DecodedRow, LineKind, RowDecoder},
    rows::Now,
    sent::{Fate, Sent},
    table::TableLayout,
};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1,
};
use ringvault_runtime::telemetry::metrics::{self, ChunkOutcome, Direction};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{Context, broken_task, dump::patience};
use crate::{
    cql::load::{Feed, FeedError, LoadCounts, LoadOptions, Loader},
    live,
};

pub(super) async fn restore(
    context: &Context,
    assignment: &v1::Assignment,
    work: v1::RestoreShard,
) -> Result<(), Failure> {
    let table = work.table.as_ref().ok_or_else(|| Failure::new(ErrorKind::Invalid, "the shard names no table"))?;
    let layout = Arc::new(TableLayout::from_message(table)?);
    let cluster = context.places.cluster(&assignment.cluster).await?;
    let repository = context.places.repository(&assignment.repository).await?;
    let options = load_options(context, assignment, &work);
    let target = TableLayout::from_message(&live::renamed(table, options.rules.target.as_ref()))?;
    let loader = Loader::prepare(&cluster, &target, &options, &context.clock, &context.entropy).await?;
    let rows = Rows {
        sent: Sent::new(&layout, &options.rules, work.values_only)?,
        now: live::database_clock(&cluster, &target.keyspace, &context.clock).await?,
        layout,
    };
    let mut ahead = Some(fetch(context, &repository, work.chunks.first(), async {}).await?);
    for (index, chunk) in work.chunks.iter().enumerate() {
        let lines =
            ahead.take().flatten().ok_or_else(|| Failure::new(ErrorKind::Internal, "a chunk was not fetched"))?;
        let (fed, is_fed) = oneshot::channel();
        let next = fetch(context, &repository, work.chunks.get(index + 1), async { drop(is_fed.await) });
        let segment = tracing::info_span!("segment", segment = chunk.segment);
        let span = tracing::info_span!(parent: &segment, "chunk", part = chunk.part);
        let (done, next) = tokio::join!(load(context, &loader, &rows, (lines, fed), chunk).instrument(span), next);
        let done = done.inspect_err(|_| metrics::chunk(ChunkOutcome::Failed))?;
        context.reporter.complete(|request| request.chunks.push(done)).await?;
        metrics::rows(Direction::Restore, chunk.rows, chunk.encoded_bytes);
        metrics::chunk(ChunkOutcome::Restored);
        ahead = Some(next?);
    }
    context.reporter.finish().await
}

fn load_options(context: &Context, assignment: &v1::Assignment, work: &v1::RestoreShard) -> LoadOptions {
    LoadOptions {
        consistency: work.write_consistency(),
        batch_rows_max: work.batch_rows_max,
        retries: work.retries,
        retry_delay: Duration::from_millis(work.retry_delay_ms),
        patience: patience(assignment),
        values_only: work.values_only,
        read_consistency: work.read_consistency(),
        rules: work.rules.clone().unwrap_or_default(),
        epoch: context.reporter.lease().epoch.0,
        pace: context.pace.clone(),
    }
}

/// Fetches a chunk and, when it is time, checks all of it.
async fn fetch(
    context: &Context,
    repository: &Repository,
    chunk: Option<&v1::Chunk>,
    time: impl Future<Output = ()>,
) -> Result<Option<ChunkLines>, Failure> {
    let Some(chunk) = chunk else { return Ok(None) };
    let mut lines = repository.fetch_chunk(chunk).await?;
    time.await;
    let check = move || lines.check().map(|()| lines);
    Ok(Some(context.tasks.spawn_blocking(check).await.map_err(broken_task)??))
}

async fn load(
    context: &Context,
    loader: &Arc<Loader>,
    rows: &Rows,
    (lines, all_fed): (ChunkLines, oneshot::Sender<()>),
    chunk: &v1::Chunk,
) -> Result<v1::ChunkDone, Failure> {
    let (feed, sending) = loader.chunk();
    let (rows, progress) = (rows.clone(), context.progress.clone());
    let fed = context.tasks.spawn_blocking(move || {
        let fed = feed_lines(feed, lines, rows);
        drop(all_fed); // who waits for it hears that
        fed
    });
    let lines_in_all = (chunk.rows + chunk.static_rows).max(1);
    let bytes_per_line = chunk.encoded_bytes / lines_in_all;
    let sent = sending
        .run(|counts| {
            progress.add(counts.rows, (counts.rows + counts.static_rows) * bytes_per_line);
            progress.retries.fetch_add(counts.retries, std::sync::atomic::Ordering::Relaxed);
            tracing::trace!(rows = counts.rows, "rows are acknowledged");
        })
        .await;
    let fed = fed.await.map_err(broken_task)?;
    let counts = match (sent, fed) {
        (Ok(counts), Ok(())) => counts,
        (_, Err(FeedError::Row(error))) => return Err(error.into()),
        (Err(error), _) => return Err(error.into()),
        (Ok(_), Err(FeedError::Ended)) => {
            return Err(Failure::new(ErrorKind::Internal, "the sending of rows ended before all were fed"));
        }
    };
    if (counts.rows, counts.static_rows) != (chunk.rows, chunk.static_rows) {
        let message = format!(
            "{} holds {} rows and {} partitions' statics, but {} and {} were written; nothing may be missing",
            chunk.object, chunk.rows, chunk.static_rows, counts.rows, counts.static_rows
        );
        return Err(Failure::new(ErrorKind::Internal, message));
    }
    Ok(v1::ChunkDone {
        segment: chunk.segment,
        part: chunk.part,
        rows: counts.rows + counts.static_rows,
        cells_expired: counts.cells_expired,
        rows_skipped: counts.rows_skipped,
    })
}

/// What becomes of the rows of a shard.
#[derive(Clone)]
struct Rows {
    layout: Arc<TableLayout>,
    sent: Sent,
    now: Now,
}

/// Decodes every line, makes it what is sent of it, and binds it; on a blocking thread.
fn feed_lines(mut feed: Feed, mut lines: ChunkLines, rows: Rows) -> Result<(), FeedError> {
    let Rows { layout, mut sent, now } = rows;
    let mut decoder = RowDecoder::new(&layout);
    let (mut line, mut row) = (Vec::new(), DecodedRow::default());
    let broken = |error: ringvault_archive::Error| FeedError::Row(error.into());
    while lines.next_line(&mut line).map_err(broken)? {
        decoder.decode(&line, &mut row).map_err(broken)?;
        let treated = sent.apply(&mut row, now());
        let mut counts = LoadCounts { cells_expired: treated.cells_expired, ..LoadCounts::default() };
        if treated.fate == Fate::Sent {
            feed.push(&row)?;
        } else {
            // of such a line nothing is to be written: it is complete
            match row.kind() {
                LineKind::Row => counts.rows = 1,
                LineKind::Static => counts.static_rows = 1,
            }
            counts.rows_skipped = u64::from(treated.fate == Fate::Skipped);
        }
        feed.count(counts);
    }
    feed.finish()
}
