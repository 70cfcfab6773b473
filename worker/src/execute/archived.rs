//! The rows of a segment as the repository holds them: checked, decoded, added up.

use std::sync::Arc;

use ringvault_archive::{
    chunk::{self, ChunkLines},
    digest::Sums,
    repository::Repository,
    row::{DecodedRow, LineKind, RowDecoder},
    table::TableLayout,
};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1,
};

use super::{Context, broken_task};

/// Fetches a chunk and goes through all of it; gives its sums.
///
/// # Errors
/// `Corrupt` where object, lines or sums are not what the index says.
pub(super) async fn check_chunk(
    context: &Context,
    repository: &Repository,
    layout: &Arc<TableLayout>,
    record: &v1::Chunk,
) -> Result<Sums, Failure> {
    let lines = repository.fetch_chunk(record).await?;
    let layout = layout.clone();
    let sums = context.tasks.spawn_blocking(move || sums_of(lines, &layout)).await.map_err(broken_task)??;
    let recorded = chunk::sums(record)?;
    if sums != recorded {
        let message = format!(
            "the rows of {} don't add up to what the index says; the index or the chunk was changed",
            record.object
        );
        return Err(Failure::new(ErrorKind::Corrupt, message));
    }
    Ok(sums)
}

/// The sums of a chunk's rows.
fn sums_of(mut lines: ChunkLines, layout: &TableLayout) -> Result<Sums, Failure> {
    lines.check()?;
    let mut decoder = RowDecoder::new(layout);
    let (mut line, mut row, mut sums) = (Vec::new(), DecodedRow::default(), Sums::default());
    while lines.next_line(&mut line)? {
        decoder.decode(&line, &mut row)?;
        match row.kind() {
            LineKind::Row => sums.add_row(&row.hash()),
            LineKind::Static => sums.add_static(&row.hash()),
        }
    }
    Ok(sums)
}
