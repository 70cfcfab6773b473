//! Raw cells ↔ one JSON line. Encode and decode stand side by side; equal rows give equal bytes, and decoding gives the
//! bytes that were encoded, for every CQL type at any nesting.

use crate::{digest::RowHash, error::Result, table::TableLayout};

/// Times of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellTime {
    /// Microseconds since the epoch; nothing where it wasn't or couldn't be read.
    pub writetime: Option<i64>,
    /// Absolute second since the epoch at which the cell ends; nothing where it never does.
    pub expiry: Option<i64>,
}

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A row: all key columns and the regular columns.
    Row,
    /// The static columns of a partition: partition key and static columns.
    Static,
}

/// Writes row lines of one table.
#[derive(Debug)]
pub struct RowEncoder {}

impl RowEncoder {
    /// For tables of this layout.
    #[must_use]
    pub fn new(_layout: &TableLayout) -> Self {
        unimplemented!("helper ROW writes this")
    }

    /// Appends one line with its newline to `out` and returns the row's hashes. `cells` and `times` hold one entry a
    /// column of the layout; columns that the kind of line does not hold are ignored; null cells are `None`.
    ///
    /// # Errors
    /// `Corrupt` where a cell can't be of its type in a way that even the verbatim form can't carry.
    pub fn encode(
        &mut self,
        _kind: LineKind,
        _cells: &[Option<&[u8]>],
        _times: &[CellTime],
        _out: &mut Vec<u8>,
    ) -> Result<RowHash> {
        unimplemented!("helper ROW writes this")
    }
}

/// Reads row lines of one table.
#[derive(Debug)]
pub struct RowDecoder {}

/// A decoded line; reused from line to line.
#[derive(Debug, Default)]
pub struct DecodedRow {}

impl DecodedRow {
    /// What the line holds.
    #[must_use]
    pub fn kind(&self) -> LineKind {
        unimplemented!("helper ROW writes this")
    }

    /// Raw bytes of a column's cell, by index in the layout; nothing where it is null or not in the line.
    #[must_use]
    pub fn cell(&self, _column: usize) -> Option<&[u8]> {
        unimplemented!("helper ROW writes this")
    }

    /// The times of that cell.
    #[must_use]
    pub fn time(&self, _column: usize) -> CellTime {
        unimplemented!("helper ROW writes this")
    }

    /// The row's hashes, as the encoder gave them.
    #[must_use]
    pub fn hash(&self) -> RowHash {
        unimplemented!("helper ROW writes this")
    }
}

impl RowDecoder {
    /// For tables of this layout.
    #[must_use]
    pub fn new(_layout: &TableLayout) -> Self {
        unimplemented!("helper ROW writes this")
    }

    /// Decodes one line (with or without its newline) into `row`.
    ///
    /// # Errors
    /// `Corrupt`, with the column and what is wrong, never the value.
    pub fn decode(&mut self, _line: &[u8], _row: &mut DecodedRow) -> Result<()> {
        unimplemented!("helper ROW writes this")
    }
}
