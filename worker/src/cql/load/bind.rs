//! A decoded row as the writes that bring it back. Pure: no connection, no clock.
//!
//! - Cells are grouped by (writetime, expiry). One group is an INSERT, which makes the row's marker too; every other group is
//!   an UPDATE. Null cells are left unset, never written as tombstones.
//! - Elements of maps, sets and user types that differ in their times are UPDATEs that add, one a group; see [`super::group`].
//! - A non-frozen list is a write of its own: assigned again at the same timestamp it would double, so it must never share
//!   a batch that is sent twice.
//!
//! Rows come as they are to be sent (`ringvault_archive::sent`): without what has ended, with the times that were asked for.
//! Cells are bound as the raw bytes that they are; nothing is decoded.

use std::cell::RefCell;

use ringvault_archive::{
    cql_type::CqlType,
    row::{DecodedRow, LineKind},
    table::TableLayout,
    token::token_of,
};
use scylla::serialize::{SerializationError, writers::RowWriter};
use scylla_cql_core::serialize::row::SerializedValues;

use super::{
    columns::{Columns, role_of},
    group::{Added, Groups, Using, leader},
    statements::Shape,
};
use crate::cql::errors::{Error, Result};

/// Bytes that the server counts for a cell beside its value: timestamp, TTL, local deletion time.
const CELL_OVERHEAD: usize = 20;
/// Bytes that it counts for a row: liveness, deletion.
const ROW_OVERHEAD: usize = 40;
/// Cells that a non-frozen user type is taken for.
const FIELDS_ASSUMED: usize = 8;

/// One statement with its raw values.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) shape: Shape,
    /// Every bound value but those of USING.
    pub(super) values: SerializedValues,
    pub(super) using: Using,
    /// Non-null cells in it, for counting what expires before it is sent.
    pub(super) cells: u32,
    /// Rows and static lines that are complete with it.
    pub(super) rows: u32,
    pub(super) static_rows: u32,
    /// Counts the partitions of the loader's input.
    pub(super) partition: u64,
    pub(super) token: i64,
    /// About what the server counts for it.
    pub(super) bytes: usize,
}

impl Write {
    #[cfg(test)]
    pub(super) fn of_size(partition: u64, token: i64, bytes: usize) -> Self {
        Self {
            shape: Shape::Insert,
            values: SerializedValues::new(),
            using: Using::default(),
            cells: 1,
            rows: 1,
            static_rows: 0,
            partition,
            token,
            bytes,
        }
    }
}

/// Makes writes of rows. Holds the scratch space of one row.
#[derive(Debug)]
pub(super) struct Binder {
    layout: TableLayout,
    columns: Columns,
    beside: bool,
    groups: Groups,
    partition_key: Vec<Vec<u8>>,
    partition: u64,
    token: i64,
    /// Values of the write in the making, as a request holds them.
    values: RefCell<Vec<u8>>,
}

impl Binder {
    /// `beside`: other rows, or other elements, may stand in the table.
    pub(super) fn new(layout: TableLayout, beside: bool) -> Self {
        let columns = Columns::of(&layout);
        Self {
            layout,
            columns,
            beside,
            groups: Groups::default(),
            partition_key: Vec::new(),
            partition: 0,
            token: 0,
            values: RefCell::default(),
        }
    }

    /// Hands the writes of a line to `write`; gives their number. A line without any is complete at once.
    ///
    /// # Errors
    /// `Corrupt` for a line without its key.
    pub(super) fn bind(&mut self, row: &DecodedRow, mut write: impl FnMut(Write)) -> Result<usize> {
        self.place(row)?;
        let mut groups = std::mem::take(&mut self.groups);
        groups.fill(row, &self.layout, &self.columns, self.beside);
        let mut writes = 0;
        let bound = self.hand_out(row, &groups, &mut |made| {
            writes += 1;
            write(made);
        });
        self.groups = groups;
        bound.map(|()| writes)
    }

    /// Takes in the row's partition key: its token and whether it is another than the row's before.
    fn place(&mut self, row: &DecodedRow) -> Result<()> {
        let layout = &self.layout;
        let key = || self.columns.partition_key.iter().map(|&column| row.cell(column).ok_or_else(|| no_key(layout)));
        let known = key().zip(&self.partition_key).all(|(cell, before)| cell.is_ok_and(|cell| cell == before));
        if self.partition == 0 || !known {
            self.partition_key = key().map(|cell| cell.map(<[u8]>::to_vec)).collect::<Result<_>>()?;
            self.partition += 1;
            self.token = token_of(&self.partition_key).0;
        }
        Ok(())
    }

    fn hand_out(&self, row: &DecodedRow, groups: &Groups, write: &mut impl FnMut(Write)) -> Result<()> {
        let (kind, groups) = (row.kind(), groups.all());
        let is_its = |list: &&usize| self.layout.columns[**list].role == role_of(kind) && row.cell(**list).is_some();
        let lists: Vec<usize> = self.columns.lists.iter().filter(is_its).copied().collect();
        let mut whole = Whole { to_come: true };
        let lead = leader(groups, kind);
        if kind == LineKind::Row {
            // a row whose lists are all that it holds is as old as the first of them
            let of_list = lists.first().map(|list| Using::of(row.time(*list)));
            let made = match (lead, of_list) {
                (Some(lead), _) => self.assigning(row, Shape::Insert, groups[lead].using, &groups[lead].columns)?,
                (None, Some(using)) => self.assigning(row, Shape::Insert, using, &[])?,
                (None, None) => self.assigning(row, Shape::Marker, Using::default(), &[])?,
            };
            write(whole.of(made, kind));
        }
        for (index, group) in groups.iter().enumerate() {
            if Some(index) != lead && !group.columns.is_empty() {
                let shape = if kind == LineKind::Row { Shape::Update } else { Shape::Static };
                write(whole.of(self.assigning(row, shape, group.using, &group.columns)?, kind));
            }
            if !group.added.is_empty() {
                write(whole.of(self.adding(row, group.using, &group.added)?, kind));
            }
        }
        for list in lists {
            write(whole.of(self.list_write(row, list)?, kind));
        }
        Ok(())
    }

    /// A write that sets `set` of the columns that its shape has and leaves the others unset.
    fn assigning(&self, row: &DecodedRow, shape: Shape, using: Using, set: &[usize]) -> Result<Write> {
        let key = self.columns.key_of(row.kind());
        let columns = if shape == Shape::Marker { &[] } else { self.columns.cells_of(row.kind()) };
        self.write(shape, using, set.len(), |writer| {
            let mut bytes = 0;
            if shape != Shape::Update {
                bytes += put_all(writer, row, key)?;
            }
            let mut next = set.iter().peekable();
            for column in columns {
                if next.next_if_eq(&column).is_some() {
                    bytes += self.put(writer, row, *column)?;
                } else {
                    writer.make_cell_writer().set_unset();
                }
            }
            if shape == Shape::Update {
                bytes += put_all(writer, row, key)?;
            }
            Ok(bytes)
        })
    }

    /// A write that adds elements and fields, and leaves the others unset.
    fn adding(&self, row: &DecodedRow, using: Using, added: &[Added]) -> Result<Write> {
        let kind = row.kind();
        let elements = added.iter().map(|added| added.elements).sum();
        self.write(Shape::Add(kind), using, elements, |writer| {
            let mut bytes = 0;
            let mut next = added.iter().peekable();
            for slot in 0..self.columns.slots_of(kind).len() {
                let cell = writer.make_cell_writer();
                if let Some(added) = next.next_if(|added| added.slot == slot) {
                    cell.set_value(&added.value).map_err(SerializationError::new)?;
                    bytes += added.value.len() + added.elements * CELL_OVERHEAD;
                } else {
                    cell.set_unset();
                }
            }
            Ok(bytes + put_all(writer, row, self.columns.key_of(kind))?)
        })
    }

    fn list_write(&self, row: &DecodedRow, list: usize) -> Result<Write> {
        self.write(Shape::List(list), Using::of(row.time(list)), 1, |writer| {
            Ok(self.put(writer, row, list)? + put_all(writer, row, self.columns.key_of(row.kind()))?)
        })
    }

    /// A write whose values `put` puts; it gives about what the server counts for them.
    fn write(
        &self,
        shape: Shape,
        using: Using,
        cells: usize,
        put: impl FnOnce(&mut RowWriter<'_>) -> Result<usize, SerializationError>,
    ) -> Result<Write> {
        // gathered in one place and copied once into memory of their size, where the driver would let it grow cell by cell
        let mut gathered = self.values.borrow_mut();
        gathered.clear();
        gathered.extend_from_slice(&[0; 2]);
        let mut writer = RowWriter::new(&mut gathered);
        let bytes = put(&mut writer).map_err(|_| no_key(&self.layout))?;
        let count = u16::try_from(writer.value_count()).map_err(|_| self.unreadable())?;
        gathered[..2].copy_from_slice(&count.to_be_bytes());
        let values = SerializedValues::new_from_frame(&mut &gathered[..]).map_err(|_| self.unreadable())?;
        Ok(Write {
            shape,
            values,
            using,
            cells: u32::try_from(cells).unwrap_or(u32::MAX),
            rows: 0,
            static_rows: 0,
            partition: self.partition,
            token: self.token,
            bytes: bytes + ROW_OVERHEAD,
        })
    }

    fn unreadable(&self) -> Error {
        Error::internal(format!("the values of a row of {}.{} can't be bound", self.layout.keyspace, self.layout.table))
    }

    /// Puts a non-key cell; gives about what the server counts for it.
    fn put(&self, writer: &mut RowWriter<'_>, row: &DecodedRow, column: usize) -> Result<usize, SerializationError> {
        let cell = row.cell(column).unwrap_or_default();
        writer.make_cell_writer().set_value(cell).map_err(SerializationError::new)?;
        let layout = &self.layout.columns[column];
        let cells = match layout.cql_type {
            CqlType::Udt(_) if layout.multi_cell => FIELDS_ASSUMED,
            _ if layout.multi_cell => cell.first_chunk().map_or(0, |count| u32::from_be_bytes(*count) as usize),
            _ => 1,
        };
        Ok(cell.len() + cells.clamp(1, cell.len().max(1)) * CELL_OVERHEAD)
    }
}

/// Lets the first write of a line count as the line.
struct Whole {
    to_come: bool,
}

impl Whole {
    fn of(&mut self, mut write: Write, kind: LineKind) -> Write {
        if std::mem::take(&mut self.to_come) {
            match kind {
                LineKind::Row => write.rows = 1,
                LineKind::Static => write.static_rows = 1,
            }
        }
        write
    }
}

fn put_all(writer: &mut RowWriter<'_>, row: &DecodedRow, key: &[usize]) -> Result<usize, SerializationError> {
    let mut bytes = 0;
    for &column in key {
        let cell = row.cell(column).ok_or_else(|| SerializationError::new(std::fmt::Error))?;
        writer.make_cell_writer().set_value(cell).map_err(SerializationError::new)?;
        bytes += cell.len();
    }
    Ok(bytes)
}

pub(super) fn no_key(layout: &TableLayout) -> Error {
    Error::from(ringvault_archive::Error::corrupt(format!(
        "a row of {}.{} in the backup has no complete primary key; run ringvault verify on the backup",
        layout.keyspace, layout.table
    )))
}
