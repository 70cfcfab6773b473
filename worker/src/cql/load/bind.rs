//! A decoded row as the writes that bring it back. Pure: no connection, no clock.
//!
//! - Cells are grouped by (writetime, expiry). The largest group is an INSERT, which makes the row's marker too; every other
//!   group is an UPDATE. Null cells are left unset, never written as tombstones.
//! - A non-frozen list is a write of its own: assigned again at the same timestamp it would double, so it must never share
//!   a batch that is sent twice.
//! - A cell without a readable writetime takes the newest of its row, else the backup's start; without any readable time, the
//!   row's latest expiry.
//! - A cell whose expiry has passed is not written, and counted.
//!
//! Cells are bound as the raw bytes that they are; nothing is decoded.

use ringvault_archive::{
    cql_type::CqlType,
    row::{CellTime, DecodedRow, LineKind},
    table::{ColumnLayout, ColumnRole, TableLayout},
    token,
};
use scylla::serialize::{SerializationError, writers::RowWriter};
use scylla_cql_core::serialize::row::SerializedValues;

use super::statements::Shape;
use crate::cql::errors::{Error, Result};

/// Bytes that the server counts for a cell beside its value: timestamp, TTL, local deletion time.
const CELL_OVERHEAD: usize = 20;
/// Bytes that it counts for a row: liveness, deletion.
const ROW_OVERHEAD: usize = 40;
/// Cells that a non-frozen user type is taken for.
const FIELDS_ASSUMED: usize = 8;

/// The times that a write carries in its USING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Using {
    /// Microseconds.
    pub(super) timestamp: i64,
    /// Absolute second; nothing where the cells stay.
    pub(super) expiry: Option<i64>,
}

/// One statement with its raw values.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) shape: Shape,
    /// Every bound value but those of USING.
    pub(super) values: SerializedValues,
    /// Nothing where the server sets the times.
    pub(super) using: Option<Using>,
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
            using: None,
            cells: 1,
            rows: 1,
            static_rows: 0,
            partition,
            token,
            bytes,
        }
    }
}

/// What binding a row came to, beside its writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bound {
    /// Cells whose time had come.
    pub(super) cells_expired: u64,
    /// Writes that were handed out; a line without any is complete at once.
    pub(super) writes: usize,
}

/// The columns of a table by what becomes of them.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) partition_key: Vec<usize>,
    /// Partition key and clustering.
    pub(super) key: Vec<usize>,
    /// Regular columns but lists.
    pub(super) regular: Vec<usize>,
    /// Static columns but lists.
    pub(super) statics: Vec<usize>,
    /// Non-frozen lists, regular ones and static ones.
    pub(super) lists: Vec<usize>,
}

impl Columns {
    pub(super) fn of(layout: &TableLayout) -> Self {
        let pick = |wanted: &dyn Fn(&ColumnLayout) -> bool| -> Vec<usize> {
            layout.columns.iter().enumerate().filter(|(_, column)| wanted(column)).map(|(index, _)| index).collect()
        };
        Self {
            partition_key: pick(&|column| column.role == ColumnRole::PartitionKey),
            key: pick(&|column| column.role.is_key()),
            regular: pick(&|column| column.role == ColumnRole::Regular && !is_list(column)),
            statics: pick(&|column| column.role == ColumnRole::Static && !is_list(column)),
            lists: pick(&is_list),
        }
    }
}

/// A list whose elements are cells of their own.
pub(super) fn is_list(column: &ColumnLayout) -> bool {
    column.multi_cell && matches!(column.cql_type, CqlType::List(_))
}

/// What the binder does about times.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeRules {
    /// The server sets all times, but for lists.
    pub(super) values_only: bool,
    /// Microseconds: the writetime of what has none.
    pub(super) fallback: i64,
    /// Microseconds: the writetime of lists where the server sets all others.
    pub(super) list_fallback: i64,
}

/// Cells that share their times.
#[derive(Debug, Default)]
struct Group {
    using: Option<Using>,
    columns: Vec<usize>,
}

/// Makes writes of rows. Holds the scratch space of one row.
#[derive(Debug)]
pub(super) struct Binder {
    layout: TableLayout,
    columns: Columns,
    rules: TimeRules,
    groups: Vec<Group>,
    groups_used: usize,
    partition_key: Vec<Vec<u8>>,
    partition: u64,
    token: i64,
}

impl Binder {
    pub(super) fn new(layout: TableLayout, rules: TimeRules) -> Self {
        let columns = Columns::of(&layout);
        Self {
            layout,
            columns,
            rules,
            groups: Vec::new(),
            groups_used: 0,
            partition_key: Vec::new(),
            partition: 0,
            token: 0,
        }
    }

    /// Hands the writes of a line to `write`. `now_s`: the database's clock.
    ///
    /// # Errors
    /// `Corrupt` for a line without its key.
    pub(super) fn bind(&mut self, row: &DecodedRow, now_s: i64, mut write: impl FnMut(Write)) -> Result<Bound> {
        self.place(row)?;
        let kind = row.kind();
        let role = if kind == LineKind::Row { ColumnRole::Regular } else { ColumnRole::Static };
        let newest = RowTimes::of(row, &self.layout, role);
        let mut bound = Bound::default();
        let mut cells = self.group(row, kind, newest, now_s, &mut bound);
        let mut lists = Vec::new();
        for &list in self.columns.lists.iter().filter(|&&list| self.layout.columns[list].role == role) {
            let Some(_) = row.cell(list) else { continue };
            cells += 1;
            let mut using = newest.of_cell(row.time(list), self.rules.fallback);
            if self.rules.values_only {
                using = Using { timestamp: self.rules.list_fallback, expiry: None };
            }
            if has_passed(using.expiry, now_s) {
                bound.cells_expired += 1;
            } else {
                lists.push((list, using));
            }
        }
        let first_list = lists.first().map(|(_, using)| *using);
        self.hand_out(row, kind, cells == 0, first_list, &mut |w| {
            bound.writes += 1;
            write(w);
        })?;
        for (index, (list, using)) in lists.into_iter().enumerate() {
            bound.writes += 1;
            // the first list completes the line of a partition that has no other statics
            let completes = kind == LineKind::Static && self.groups_used == 0 && index == 0;
            write(self.list_write(row, kind, list, using, completes)?);
        }
        Ok(bound)
    }

    /// Takes in the row's partition key: its token and whether it is another than the row's before.
    fn place(&mut self, row: &DecodedRow) -> Result<()> {
        let layout = &self.layout;
        let key = || self.columns.partition_key.iter().map(|&column| row.cell(column).ok_or_else(|| no_key(layout)));
        let known = key().zip(&self.partition_key).all(|(cell, before)| cell.is_ok_and(|cell| cell == before));
        if self.partition == 0 || !known {
            self.partition_key = key().map(|cell| cell.map(<[u8]>::to_vec)).collect::<Result<_>>()?;
            self.partition += 1;
            self.token = token::token_of(&self.partition_key).0;
        }
        Ok(())
    }

    /// Groups the row's cells by their times; gives the number of non-null cells.
    fn group(&mut self, row: &DecodedRow, kind: LineKind, times: RowTimes, now_s: i64, bound: &mut Bound) -> usize {
        let mut cells = 0;
        self.groups_used = 0;
        let columns = if kind == LineKind::Row { &self.columns.regular } else { &self.columns.statics };
        for &column in columns {
            if row.cell(column).is_none() {
                continue;
            }
            cells += 1;
            let using = (!self.rules.values_only).then(|| times.of_cell(row.time(column), self.rules.fallback));
            if has_passed(using.and_then(|using| using.expiry), now_s) {
                bound.cells_expired += 1;
                continue;
            }
            let known = self.groups[..self.groups_used].iter_mut().find(|group| group.using == using);
            if let Some(group) = known {
                group.columns.push(column);
                continue;
            }
            if self.groups_used == self.groups.len() {
                self.groups.push(Group::default());
            }
            let group = &mut self.groups[self.groups_used];
            group.using = using;
            group.columns.clear();
            group.columns.push(column);
            self.groups_used += 1;
        }
        cells
    }

    fn hand_out(
        &self,
        row: &DecodedRow,
        kind: LineKind,
        all_null: bool,
        first_list: Option<Using>,
        write: &mut impl FnMut(Write),
    ) -> Result<()> {
        let groups = &self.groups[..self.groups_used];
        if kind == LineKind::Static {
            for (index, group) in groups.iter().enumerate() {
                let shape = Shape::Static;
                write(self.write(row, shape, &self.columns.statics, group.using, &group.columns, index == 0)?);
            }
            return Ok(());
        }
        // of equally large groups the first, so that equal rows give equal statements
        let largest = (0..groups.len()).rev().max_by_key(|&index| groups[index].columns.len());
        if let Some(largest) = largest {
            let group = &groups[largest];
            write(self.write(row, Shape::Insert, &self.columns.regular, group.using, &group.columns, true)?);
        } else if let Some(list) = first_list {
            let using = (!self.rules.values_only).then_some(list);
            write(self.write(row, Shape::Insert, &self.columns.regular, using, &[], true)?);
        } else if all_null {
            let using = Using { timestamp: self.rules.fallback, expiry: None };
            let using = (!self.rules.values_only).then_some(using);
            write(self.write(row, Shape::Marker, &[], using, &[], true)?);
        }
        for (_, group) in groups.iter().enumerate().filter(|(index, _)| Some(*index) != largest) {
            write(self.write(row, Shape::Update, &self.columns.regular, group.using, &group.columns, false)?);
        }
        Ok(())
    }

    /// A write that sets `set` of `columns` and leaves the others unset.
    fn write(
        &self,
        row: &DecodedRow,
        shape: Shape,
        columns: &[usize],
        using: Option<Using>,
        set: &[usize],
        completes: bool,
    ) -> Result<Write> {
        let is_static = shape == Shape::Static;
        let key = if is_static { &self.columns.partition_key } else { &self.columns.key };
        let mut bytes = ROW_OVERHEAD;
        let (values, ()) = SerializedValues::from_closure(|writer| {
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
            Ok(())
        })
        .map_err(|_| no_key(&self.layout))?;
        Ok(Write {
            shape,
            values,
            using,
            cells: u32::try_from(set.len()).unwrap_or(u32::MAX),
            rows: u32::from(completes && !is_static),
            static_rows: u32::from(completes && is_static),
            partition: self.partition,
            token: self.token,
            bytes,
        })
    }

    fn list_write(
        &self,
        row: &DecodedRow,
        kind: LineKind,
        list: usize,
        using: Using,
        completes: bool,
    ) -> Result<Write> {
        let key = if kind == LineKind::Static { &self.columns.partition_key } else { &self.columns.key };
        let mut bytes = ROW_OVERHEAD;
        let (values, ()) = SerializedValues::from_closure(|writer| {
            bytes += self.put(writer, row, list)?;
            bytes += put_all(writer, row, key)?;
            Ok(())
        })
        .map_err(|_| no_key(&self.layout))?;
        Ok(Write {
            shape: Shape::List(list),
            values,
            using: Some(using),
            cells: 1,
            rows: 0,
            static_rows: u32::from(completes),
            partition: self.partition,
            token: self.token,
            bytes,
        })
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

fn put_all(writer: &mut RowWriter<'_>, row: &DecodedRow, key: &[usize]) -> Result<usize, SerializationError> {
    let mut bytes = 0;
    for &column in key {
        let cell = row.cell(column).ok_or_else(|| SerializationError::new(std::fmt::Error))?;
        writer.make_cell_writer().set_value(cell).map_err(SerializationError::new)?;
        bytes += cell.len();
    }
    Ok(bytes)
}

fn no_key(layout: &TableLayout) -> Error {
    Error::from(ringvault_archive::Error::corrupt(format!(
        "a row of {}.{} in the backup has no complete primary key; run ringvault verify on the backup",
        layout.keyspace, layout.table
    )))
}

fn has_passed(expiry: Option<i64>, now_s: i64) -> bool {
    expiry.is_some_and(|expiry| expiry <= now_s)
}

/// What a row's readable times say about cells whose own can't be read.
#[derive(Clone, Copy, Debug, Default)]
struct RowTimes {
    newest: Option<i64>,
    /// The latest expiry; nothing where a cell with a readable time stays for ever.
    latest: Option<i64>,
}

impl RowTimes {
    fn of(row: &DecodedRow, layout: &TableLayout, role: ColumnRole) -> Self {
        let (mut newest, mut latest, mut stays) = (None, None, false);
        for (index, _) in layout.columns.iter().enumerate().filter(|(_, column)| column.role == role) {
            if row.cell(index).is_none() {
                continue;
            }
            let time = row.time(index);
            newest = newest.max(time.writetime);
            latest = latest.max(time.expiry);
            stays |= time.writetime.is_some() && time.expiry.is_none();
        }
        Self { newest, latest: latest.filter(|_| !stays) }
    }

    fn of_cell(self, time: CellTime, fallback: i64) -> Using {
        let expiry = if time.writetime.is_some() { time.expiry } else { time.expiry.or(self.latest) };
        Using { timestamp: time.writetime.or(self.newest).unwrap_or(fallback), expiry }
    }
}
