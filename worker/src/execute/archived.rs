//! The rows of a segment as the repository holds them: checked, decoded, added up as of a moment.

use std::sync::Arc;

use ringvault_archive::{
    chunk::ChunkLines,
    digest::Sums,
    repository::Repository,
    row::{CellTime, DecodedRow, LineKind, RowDecoder, RowEncoder},
    table::TableLayout,
};
use ringvault_proto::{error::Failure, v1};

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
    let sums = context.tasks.spawn_blocking(move || sums_as_of(lines, &layout, None)).await.map_err(broken_task)??;
    let recorded = recorded_sums(record)?;
    if sums != recorded {
        let message = format!(
            "the rows of {} don't add up to what the index says; the index or the chunk was changed",
            record.object
        );
        return Err(Failure::new(ringvault_proto::error::ErrorKind::Corrupt, message));
    }
    Ok(sums)
}

/// The sums of a chunk's rows; where `now_s` is given, of what has not expired by then.
///
/// # Errors
/// `Corrupt`
pub(super) fn sums_as_of(mut lines: ChunkLines, layout: &TableLayout, now_s: Option<i64>) -> Result<Sums, Failure> {
    lines.check()?;
    let mut decoder = RowDecoder::new(layout);
    let mut living = Living::new(layout);
    let (mut line, mut row, mut sums) = (Vec::new(), DecodedRow::default(), Sums::default());
    while lines.next_line(&mut line)? {
        decoder.decode(&line, &mut row)?;
        let hash = match now_s {
            Some(now_s) => living.hash(&row, now_s)?,
            None => Some(row.hash()),
        };
        match (row.kind(), hash) {
            (LineKind::Row, Some(hash)) => sums.add_row(&hash),
            (LineKind::Static, Some(hash)) => sums.add_static(&hash),
            (_, None) => {}
        }
    }
    Ok(sums)
}

/// What the index says of a chunk.
///
/// # Errors
/// `Invalid` for a broken record.
pub(super) fn recorded_sums(record: &v1::Chunk) -> Result<Sums, Failure> {
    Ok(Sums {
        rows: record.rows,
        static_rows: record.static_rows,
        values: ringvault_archive::digest::Sum::from_slice(&record.value_sum)?,
        times: ringvault_archive::digest::Sum::from_slice(&record.time_sum)?,
    })
}

/// Hashes rows without their expired cells.
struct Living<'a> {
    layout: &'a TableLayout,
    encoder: RowEncoder,
    scratch: Vec<u8>,
}

impl<'a> Living<'a> {
    fn new(layout: &'a TableLayout) -> Self {
        Self { layout, encoder: RowEncoder::new(layout), scratch: Vec::new() }
    }

    /// The hash of what is left of a row; nothing where it has ended as a whole.
    fn hash(&mut self, row: &DecodedRow, now_s: i64) -> Result<Option<ringvault_archive::digest::RowHash>, Failure> {
        use ringvault_archive::table::ColumnRole;
        let (mut cells, mut times, mut ended, mut left) = (Vec::new(), Vec::new(), 0, 0);
        for (index, column) in self.layout.columns.iter().enumerate() {
            let time = row.time(index);
            let mut cell = row.cell(index);
            if matches!(column.role, ColumnRole::Static | ColumnRole::Regular) && cell.is_some() {
                if time.expiry.is_some_and(|expiry| expiry <= now_s) {
                    cell = None;
                    ended += 1;
                } else {
                    left += 1;
                }
            }
            cells.push(cell);
            times.push(if cell.is_some() { time } else { CellTime::default() });
        }
        if ended == 0 {
            return Ok(Some(row.hash()));
        }
        if left == 0 {
            return Ok(None);
        }
        self.scratch.clear();
        Ok(Some(self.encoder.encode(row.kind(), &cells, &times, &mut self.scratch)?))
    }
}
