//! A decoded line, and what a restore may change of it before it is written or compared.

use std::fmt;

use super::{CellTime, ElementTimes, LineKind, elements, elements::without};
use crate::cql_type::CqlType;

/// A decoded line; reused from line to line.
#[derive(Clone, Default)]
pub struct DecodedRow {
    pub(super) kind: LineKind,
    /// The cells, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Start and end in `bytes`, by column.
    pub(super) cells: Vec<Option<(usize, usize)>>,
    pub(super) times: Vec<CellTime>,
    pub(super) elements: ElementTimes,
}

impl DecodedRow {
    /// What the line holds.
    #[must_use]
    pub fn kind(&self) -> LineKind {
        self.kind
    }

    /// Raw bytes of a column's cell, by index in the layout; nothing where it is null or not in the line.
    #[must_use]
    pub fn cell(&self, column: usize) -> Option<&[u8]> {
        let (start, end) = (*self.cells.get(column)?)?;
        self.bytes.get(start..end)
    }

    /// All cells, by column.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        (0..self.cells.len()).map(|column| self.cell(column))
    }

    /// The times of that cell; none for a key column and a null cell. Where its elements differ in theirs, the newest
    /// writetime and the latest expiry; see [`DecodedRow::element_times`].
    #[must_use]
    pub fn time(&self, column: usize) -> CellTime {
        self.times.get(column).copied().unwrap_or_default()
    }

    /// The times of all cells, by column.
    #[must_use]
    pub fn times(&self) -> &[CellTime] {
        &self.times
    }

    /// The times of a cell's elements, one an element in the order of its raw value (nothing for a null field), where
    /// they differ.
    #[must_use]
    pub fn element_times(&self, column: usize) -> Option<&[Option<CellTime>]> {
        self.elements.of(column)
    }

    /// The same of all columns.
    #[must_use]
    pub fn elements(&self) -> &ElementTimes {
        &self.elements
    }

    /// Makes a cell null, as a restore does whose time has come.
    pub fn clear_cell(&mut self, column: usize) {
        if let (Some(cell), Some(time)) = (self.cells.get_mut(column), self.times.get_mut(column)) {
            *cell = None;
            *time = CellTime::default();
            self.elements.remove(column);
        }
    }

    /// Replaces the raw bytes of a cell that is not null; its times stay, so another number of elements needs other times.
    pub fn set_cell(&mut self, column: usize, cell: &[u8]) {
        if self.cell(column).is_some() {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(cell);
            self.cells[column] = Some((start, self.bytes.len()));
        }
    }

    /// Gives a cell that is not null a time, and all its elements too.
    pub fn set_time(&mut self, column: usize, time: CellTime) {
        if self.cell(column).is_some() {
            self.times[column] = time;
            self.elements.remove(column);
        }
    }

    /// Gives the elements of a cell that is not null their times, one an element in the order of its raw value.
    pub fn set_element_times(&mut self, column: usize, times: impl IntoIterator<Item = Option<CellTime>>) {
        if self.cell(column).is_none() {
            return;
        }
        let shared = self.elements.set(column, times);
        self.times[column] = shared.or_else(|| self.elements.summary(column)).unwrap_or_default();
    }

    /// Changes the time of a cell, or of each of its elements where they differ.
    pub fn map_times(&mut self, column: usize, change: impl Fn(CellTime) -> CellTime) {
        match self.elements.of(column) {
            Some(times) => {
                let times: Vec<_> = times.iter().map(|time| time.map(&change)).collect();
                self.set_element_times(column, times);
            }
            None => self.set_time(column, change(self.time(column))),
        }
    }

    /// Takes out those elements of a cell with times of their own that are not to be kept; gives how many. A field of a
    /// user type becomes null; a cell of which nothing is left is null. `cql_type` is the column's.
    pub fn retain_elements(
        &mut self,
        column: usize,
        cql_type: &CqlType,
        mut keep: impl FnMut(CellTime) -> bool,
    ) -> usize {
        let (Some(cell), Some(times)) = (self.cell(column), self.elements.of(column)) else { return 0 };
        let Some(found) = elements(cql_type, cell).filter(|found| found.len() == times.len()) else { return 0 };
        let kept: Vec<bool> = times.iter().map(|time| time.is_none_or(&mut keep)).collect();
        let gone = kept.iter().filter(|kept| !**kept).count();
        if gone == 0 {
            return 0;
        }
        let Some(left) = without(cql_type, &found, &kept) else {
            self.clear_cell(column);
            return gone;
        };
        let is_udt = matches!(cql_type, CqlType::Udt(_));
        let times: Vec<_> = times
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| **kept || is_udt)
            .map(|(time, kept)| time.filter(|_| *kept))
            .collect();
        self.set_cell(column, &left);
        self.set_element_times(column, times);
        gone
    }

    pub(super) fn reset(&mut self, columns: usize) {
        self.kind = LineKind::Row;
        self.bytes.clear();
        self.cells.clear();
        self.cells.resize(columns, None);
        self.times.clear();
        self.times.resize(columns, CellTime::default());
        self.elements.clear();
    }
}

/// Without the cells: they must not get into a log.
impl fmt::Debug for DecodedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodedRow").field("kind", &self.kind).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}
