//! What differs between two stored tables: by segments where their sums differ, and in those row by row. Nothing is read
//! where the sums are equal, and no chunk that both tables hold.

use std::{
    collections::HashMap,
    ops::{AddAssign, ControlFlow},
    sync::Arc,
};

use ringvault_proto::{
    error::Failure,
    grid::Grid,
    token::TokenRange,
    v1::{self, approximation::What},
};

use super::{ObjectsRead, StoredRows, choice::RowChoice};
use crate::{
    chunk,
    digest::Sums,
    error::Result,
    index::TableIndex,
    merge::{Comparison, Counts, Difference, Merge, merge},
    repository::Repository,
    table::TableLayout,
};

/// A table of a backup.
#[derive(Clone, Copy, Debug)]
pub struct StoredTable<'t> {
    /// Where its chunks are.
    pub repository: &'t Arc<Repository>,
    /// Its index.
    pub index: &'t TableIndex,
}

/// How two stored tables are compared.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// Leave writetimes out; so they are anyway where one of the tables has none.
    pub values_only: bool,
    /// Only segments of these rows, and in them only these rows.
    pub choice: RowChoice,
    /// Go down to rows; else only segments are told.
    pub rows: bool,
}

/// A segment of the coarser one of two grids, and what each table holds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPair {
    /// Its index.
    pub segment: u64,
    /// Its tokens.
    pub range: TokenRange,
    /// On the left.
    pub left: Sums,
    /// On the right.
    pub right: Sums,
}

/// What a comparison of stored tables came to.
#[derive(Clone, Debug, Default)]
pub struct DiffReport {
    /// Segments of the coarser grid that were compared.
    pub segments: u64,
    /// Those that differ.
    pub differing: Vec<SegmentPair>,
    /// What was read for it, on both sides.
    pub read: ObjectsRead,
    /// Of the rows of the differing segments, but for chunks that both tables hold.
    pub rows: Counts,
}

impl AddAssign for ObjectsRead {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// The coarser one of two grids.
#[must_use]
pub fn coarser(left: Grid, right: Grid) -> Grid {
    left.min(right)
}

/// The chunks of a segment of a grid that is as coarse as the index's own or coarser.
#[must_use]
pub fn chunks_within(index: &TableIndex, grid: Grid, segment: u64) -> &[v1::Chunk] {
    let finer = index.grid().exponent().saturating_sub(grid.exponent());
    index.run_chunks(segment << finer, 1 << finer)
}

/// Compares the sums of two tables, segment by segment of the coarser grid; gives those that differ. Reads nothing.
///
/// # Errors
/// `Corrupt` for a broken record.
pub fn differing_segments(
    left: &TableIndex,
    right: &TableIndex,
    options: &DiffOptions,
) -> Result<(u64, Vec<SegmentPair>)> {
    let grid = coarser(left.grid(), right.grid());
    let values_only = options.values_only || left.values_only() || right.values_only();
    let (mut segments, mut differing) = (0, Vec::new());
    for segment in 0..grid.segments() {
        let Some(range) = grid.range(segment).filter(|range| options.choice.touches(*range)) else { continue };
        segments += 1;
        let of = |index| sums_of(chunks_within(index, grid, segment));
        let (left, right) = (of(left)?, of(right)?);
        let same_times = values_only || left.times == right.times;
        let same = (left.rows, left.static_rows, left.values) == (right.rows, right.static_rows, right.values);
        if !(same && same_times) {
            differing.push(SegmentPair { segment, range, left, right });
        }
    }
    Ok((segments, differing))
}

/// The sums of chunks.
///
/// # Errors
/// `Corrupt` for a broken record.
pub fn sums_of(chunks: &[v1::Chunk]) -> Result<Sums> {
    let mut total = Sums::default();
    for record in chunks {
        total += chunk::sums(record)?;
    }
    Ok(total)
}

/// Compares two stored tables. Every difference between rows is told as it is found, until `told` breaks off.
///
/// # Errors
/// `Conflict` where their rows can't be compared; `Corrupt` where a chunk is not what was written; what a store fails with.
pub async fn diff(
    left: StoredTable<'_>,
    right: StoredTable<'_>,
    options: &DiffOptions,
    mut told: impl FnMut(Difference) -> ControlFlow<()> + Send,
) -> Result<DiffReport, Failure> {
    let (segments, differing) = differing_segments(left.index, right.index, options)?;
    let mut report = DiffReport { segments, differing, ..DiffReport::default() };
    if !options.rows || report.differing.is_empty() {
        return Ok(report);
    }
    let layouts = (layout_of(left.index)?, layout_of(right.index)?);
    let comparison = comparison(left.index, right.index, &layouts, options.values_only)?;
    let grid = coarser(left.index.grid(), right.index.grid());
    for pair in &report.differing {
        let chunks = (chunks_within(left.index, grid, pair.segment), chunks_within(right.index, grid, pair.segment));
        let (of_left, of_right) = without_common(chunks.0, chunks.1);
        let choice = || options.choice.clone();
        let mut of_left = StoredRows::of_chunks(left.repository, &layouts.0, of_left, choice());
        let mut of_right = StoredRows::of_chunks(right.repository, &layouts.1, of_right, choice());
        let mut broken_off = false;
        let tell = |difference| {
            let flow = told(difference);
            broken_off = flow.is_break();
            flow
        };
        let counts = merge(Merge::new(comparison.clone()), &mut of_left, &mut of_right, tell).await;
        report.read += of_left.read();
        report.read += of_right.read();
        report.rows += counts?;
        if broken_off {
            break;
        }
    }
    Ok(report)
}

fn layout_of(index: &TableIndex) -> Result<Arc<TableLayout>> {
    TableLayout::from_message(index.table()).map(Arc::new)
}

fn comparison(
    left: &TableIndex,
    right: &TableIndex,
    layouts: &(Arc<TableLayout>, Arc<TableLayout>),
    values_only: bool,
) -> Result<Comparison> {
    let comparison = Comparison::new(&layouts.0, &layouts.1)?;
    if values_only || left.values_only() || right.values_only() {
        return Ok(comparison.values_only());
    }
    // Where the same server could not tell a time, the same stands in for it on both sides, and a change of it is one.
    let of = |index: &TableIndex| -> Vec<v1::Approximation> {
        let is_of_one_server = |approximation: &&v1::Approximation| approximation.what() != What::RowMarkers;
        index.table().approximations.iter().filter(is_of_one_server).cloned().collect()
    };
    let (of_left, of_right) = (of(left), of(right));
    if of_left == of_right {
        return Ok(comparison);
    }
    Ok(comparison.untold(&of_left).untold(&of_right))
}

/// The chunks of both sides without those that both hold: equal bytes are equal rows.
fn without_common(left: &[v1::Chunk], right: &[v1::Chunk]) -> (Vec<v1::Chunk>, Vec<v1::Chunk>) {
    let mut common: HashMap<&[u8], usize> = HashMap::new();
    for chunk in left {
        *common.entry(&chunk.identity).or_default() += 1;
    }
    let mut of_right = Vec::new();
    for chunk in right {
        match common.get_mut(&chunk.identity[..]).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => of_right.push(chunk.clone()),
        }
    }
    // what is left of the counts stands on the left only
    let mut of_left = Vec::new();
    for chunk in left.iter().rev() {
        if let Some(alone) = common.get_mut(&chunk.identity[..]).filter(|alone| **alone > 0) {
            *alone -= 1;
            of_left.push(chunk.clone());
        }
    }
    of_left.reverse();
    (of_left, of_right)
}

#[cfg(test)]
mod tests;
