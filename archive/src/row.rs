//! Raw cells ↔ one JSON line. Encode and decode stand side by side; equal rows give equal bytes, and decoding gives the
//! bytes that were encoded, for every CQL type at any nesting. `FORMAT.md`, "Row line", says it byte by byte.
//!
//! - here: lines, encoder and decoder; `line`: the plan that both follow, the columns of a line
//! - `value`, `composite`: one value of any type; `number`, `text`, `time`, `vint`: scalars
//! - `times`: writetimes and expiries; `elements`: the cells of collections; `cursor`: JSON tokens
//!
//! Both sides go once over their input and reuse their buffers: no allocation a cell. A line that was damaged gives
//! `Corrupt`, never a panic, and messages name columns, never values.

mod composite;
mod cursor;
mod decoded;
mod elements;
mod line;
mod number;
pub(crate) mod parts;
mod text;
mod time;
mod times;
mod value;
mod vint;

use std::{fmt, sync::Arc};

use ringvault_proto::error::ErrorKind;

use self::{
    cursor::{Cursor, Defect},
    line::{ColumnPlan, LinePlan},
    times::LineTimes,
    value::{ValueReader, ValueWriter},
};
pub use self::{
    decoded::DecodedRow,
    elements::{Element, ElementTimes, collection, elements},
};
use crate::{
    chunk::Facts,
    digest::{HashInput, RowHash},
    error::{Error, Result},
    table::{ColumnRole, TableLayout},
};

/// Times of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellTime {
    /// Microseconds since the epoch; nothing where it wasn't or couldn't be read.
    pub writetime: Option<i64>,
    /// Absolute second since the epoch at which the cell ends; nothing where it never does.
    pub expiry: Option<i64>,
}

/// What a line holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LineKind {
    /// A row: all key columns and the regular columns.
    #[default]
    Row,
    /// The static columns of a partition: partition key and static columns.
    Static,
}

impl LineKind {
    /// Whether lines of this kind hold columns of this role.
    #[must_use]
    pub fn holds(self, role: ColumnRole) -> bool {
        match role {
            ColumnRole::PartitionKey => true,
            ColumnRole::Clustering | ColumnRole::Regular => self == Self::Row,
            ColumnRole::Static => self == Self::Static,
        }
    }
}

/// A row line as its encoder wrote it.
#[derive(Clone, Copy, Debug)]
pub struct EncodedLine<'a> {
    /// What it holds.
    pub kind: LineKind,
    /// Its bytes with the newline.
    pub bytes: &'a [u8],
    /// What its hashes are made of.
    pub hashed: HashInput<'a>,
    /// What is known of it beside its bytes; of `estimated_cells` only its reader knows.
    pub facts: Facts,
}

impl EncodedLine<'_> {
    /// Its hashes.
    #[must_use]
    pub fn hash(&self) -> RowHash {
        self.hashed.hash()
    }
}

/// Writes row lines of one table.
pub struct RowEncoder {
    plan: Arc<LinePlan>,
    values: ValueWriter,
    times: LineTimes,
}

impl RowEncoder {
    /// For tables of this layout.
    #[must_use]
    pub fn new(layout: &TableLayout) -> Self {
        Self { plan: LinePlan::new(layout), values: ValueWriter::default(), times: LineTimes::default() }
    }

    /// Appends one line with its newline to `out`. `cells` holds one entry a column of the
    /// layout, and so does `times` unless it is empty (no times at all); columns that the kind of line does not hold
    /// are ignored; null cells are `None`, and their times are ignored. Where `elements` knows a column, its entry in
    /// `times` is ignored.
    ///
    /// # Errors
    /// `Corrupt` where a key column is null that can't be: any of the partition key, and all clustering columns of a
    /// row in a table with statics; and where a cell has not as many elements as times are given for. `Internal` where
    /// the numbers of cells and columns differ. `out` is then unchanged.
    pub fn encode<'a>(
        &'a mut self,
        kind: LineKind,
        cells: &[Option<&[u8]>],
        times: &[CellTime],
        elements: &ElementTimes,
        out: &'a mut Vec<u8>,
    ) -> Result<EncodedLine<'a>> {
        let columns = self.plan.columns.len();
        if cells.len() != columns || !(times.is_empty() || times.len() == columns) {
            return Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "a row of {} has {} cells and {} times for {columns} columns",
                    self.plan.table,
                    cells.len(),
                    times.len()
                ),
            ));
        }
        let time = |column: usize| times.get(column).copied().unwrap_or_default();
        self.encode_by(kind, |column| cells[column], time, elements, out)
    }

    /// As [`RowEncoder::encode`], of a decoded line, whose cells and times may have been changed since.
    ///
    /// # Errors
    /// As [`RowEncoder::encode`].
    pub fn encode_row<'a>(&'a mut self, row: &DecodedRow, out: &'a mut Vec<u8>) -> Result<EncodedLine<'a>> {
        self.encode_by(row.kind, |column| row.cell(column), |column| row.time(column), &row.elements, out)
    }

    fn encode_by<'a, 'c>(
        &'a mut self,
        kind: LineKind,
        cell: impl Fn(usize) -> Option<&'c [u8]>,
        time: impl Fn(usize) -> CellTime,
        elements: &ElementTimes,
        out: &'a mut Vec<u8>,
    ) -> Result<EncodedLine<'a>> {
        let Self { plan, values, times } = self;
        plan.check_keys(kind, |column| cell(column).is_some())?;
        let start = out.len();
        times.clear();
        out.push(b'{');
        for (index, column) in plan.columns.iter().enumerate() {
            let Some(bytes) = cell(index).filter(|_| kind.holds(column.role)) else { continue };
            if out.len() > start + 1 {
                out.push(b',');
            }
            out.extend_from_slice(&column.key);
            values.value(&column.cql_type, bytes, out);
            if column.role.is_key() {
                continue;
            }
            let mut whole = time(index);
            if let Some(given) = elements.of(index) {
                let taken = take_elements(column, bytes, given).and_then(|given| {
                    let shared = times.elements.set(index, given);
                    shared.or_else(|| times.elements.summary(index))
                });
                let Some(taken) = taken else {
                    out.truncate(start);
                    return Err(plan.no_such_elements(index));
                };
                whole = taken;
            }
            times.cells.push((index, whole));
        }
        let end_of_values = out.len();
        times.write(plan, out);
        out.extend_from_slice(b"}\n");
        let facts = times.facts(kind);
        let hashed = times.hash_input(plan, &out[start..end_of_values]);
        Ok(EncodedLine { kind, bytes: &out[start..], hashed, facts })
    }
}

/// The times of a cell's elements as a line holds them: nothing for null fields, "not known" for others without any.
/// Nothing where they are not the cell's.
fn take_elements(column: &ColumnPlan, cell: &[u8], given: &[Option<CellTime>]) -> Option<Vec<Option<CellTime>>> {
    let found = elements(&column.cql_type, cell).filter(|found| column.elements && found.len() == given.len())?;
    let time =
        |(element, time): (&Element<'_>, &Option<CellTime>)| (!element.is_null).then(|| time.unwrap_or_default());
    Some(found.iter().zip(given).map(time).collect())
}

/// Names the table only: a buffer may hold cells.
impl fmt::Debug for RowEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowEncoder").field("table", &self.plan.table).finish_non_exhaustive()
    }
}

/// Reads row lines of one table.
pub struct RowDecoder {
    plan: Arc<LinePlan>,
    values: ValueReader,
    times: LineTimes,
}

impl RowDecoder {
    /// For tables of this layout.
    #[must_use]
    pub fn new(layout: &TableLayout) -> Self {
        Self { plan: LinePlan::new(layout), values: ValueReader::default(), times: LineTimes::default() }
    }

    /// Decodes one line (with or without its newline) into `row`, whose buffers are reused. What is hashed is the
    /// line as it stands: one that is readable but not canonical has other hashes.
    ///
    /// # Errors
    /// `Corrupt`, with the column and what is wrong, never the value. `row` is then empty.
    pub fn decode<'a>(&'a mut self, line: &'a [u8], row: &mut DecodedRow) -> Result<HashInput<'a>> {
        row.reset(self.plan.columns.len());
        self.values.reset();
        self.times.clear();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut place = line::Place::default();
        let read = match std::str::from_utf8(line) {
            Ok(_) => self.read(line, &mut place, row),
            Err(e) => {
                place.at = e.valid_up_to();
                Err("it is not UTF-8")
            }
        };
        match read {
            Ok(end_of_values) => Ok(self.times.hash_input(&self.plan, &line[..end_of_values])),
            Err(defect) => {
                row.reset(0);
                Err(self.plan.corrupt(&place, defect))
            }
        }
    }

    /// Reads a line; where its values end.
    fn read(&mut self, line: &[u8], place: &mut line::Place, row: &mut DecodedRow) -> Result<usize, Defect> {
        let mut cursor = Cursor::new(line);
        let columns = self.read_columns(&mut cursor, place, row);
        place.at = cursor.at();
        columns?;
        place.column = None;
        let end_of_values = cursor.at();
        if cursor.eat(times::TIMES) {
            let is_null = |column: usize| {
                let plan = &self.plan.columns[column];
                let found = elements(&plan.cql_type, row.cell(column)?).filter(|_| plan.elements)?;
                Some(found.iter().map(|element| element.is_null).collect())
            };
            let times = self.times.read(&self.plan, &mut cursor, is_null);
            place.at = cursor.at();
            times?;
        }
        for (column, time) in &self.times.cells {
            row.times[*column] = *time;
        }
        row.elements.clone_from(&self.times.elements);
        cursor
            .expect(b"}", "the object does not end behind its last column, or a column is unknown or out of order")?;
        place.at = cursor.at();
        if cursor.is_at_end() { Ok(end_of_values) } else { Err("something follows the object") }
    }

    /// Reads the columns, up to the times or the end of the object.
    fn read_columns(
        &mut self,
        cursor: &mut Cursor<'_>,
        place: &mut line::Place,
        row: &mut DecodedRow,
    ) -> Result<(), Defect> {
        cursor.expect(b"{", "a line starts with {")?;
        for (index, column) in self.plan.columns.iter().enumerate() {
            let ahead = cursor.rest();
            let key = if place.column.is_none() { Some(ahead) } else { ahead.strip_prefix(b",") };
            if !key.is_some_and(|key| key.starts_with(&column.key)) {
                continue;
            }
            cursor.eat(b",");
            cursor.eat(&column.key);
            place.column = Some(index);
            let start = row.bytes.len();
            self.values.value(&column.cql_type, cursor, &mut row.bytes)?;
            row.cells[index] = Some((start, row.bytes.len()));
            if !column.role.is_key() {
                self.times.cells.push((index, CellTime::default()));
            }
        }
        row.kind = self.plan.kind_of(|column| row.cells[column].is_some())?;
        Ok(())
    }
}

/// Names the table only: a buffer may hold cells.
impl fmt::Debug for RowDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowDecoder").field("table", &self.plan.table).finish_non_exhaustive()
    }
}
