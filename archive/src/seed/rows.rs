//! One row as cassandra-backup-tool wrote it → the records that it becomes: its row line, and the static line of its
//! partition, which that tool repeats in every row.

use super::{
    json::{self, Json},
    names::Names,
    order,
    sort::Record,
    value::{self, Losses},
};
use crate::{
    cql_type::CqlType,
    error::{Error, Result},
    row::{ElementTimes, LineKind, RowEncoder},
    table::{ColumnRole, TableLayout},
    token,
};

/// Stands in a key where static lines do, before [`ROW`].
const STATIC: u8 = 0;
const ROW: u8 = 1;

/// Reads the rows of one table.
pub(super) struct RowReader<'l> {
    layout: &'l TableLayout,
    /// By column: `CLUSTERING ORDER BY … DESC`.
    reversed: Vec<bool>,
    names: Names,
    encoder: RowEncoder,
    has_statics: bool,
    has_clustering: bool,
    /// The last static record, so that a partition's statics are not sorted once a row.
    last_static: Option<Record>,
    /// By column.
    pub(super) losses: Vec<Losses>,
}

/// Where a row stands, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) file_name: &'a str,
    pub(super) file: u32,
    pub(super) line: u64,
}

impl<'l> RowReader<'l> {
    /// Of a table; `reversed` holds an entry a column.
    pub(super) fn new(layout: &'l TableLayout, reversed: Vec<bool>) -> Self {
        Self {
            layout,
            reversed,
            names: Names::new(layout.columns.iter().map(|column| column.name.as_str())),
            encoder: RowEncoder::new(layout),
            has_statics: layout.has_statics(),
            has_clustering: layout.columns.iter().any(|column| column.role == ColumnRole::Clustering),
            last_static: None,
            losses: vec![Losses::default(); layout.columns.len()],
        }
    }

    /// The records of a row: one, or two with the statics of its partition.
    ///
    /// # Errors
    /// `Corrupt` for what is no row of this table; `Invalid` for a value that can't be told. They name file, line and
    /// column, never a value.
    pub(super) fn records(&mut self, row: &[u8], place: Place<'_>) -> Result<Vec<Record>> {
        let cells = self.cells(row, place)?;
        let clustered = self.layout.columns.iter().zip(&cells).filter(|(c, _)| c.role == ColumnRole::Clustering);
        let nulls = clustered.clone().filter(|(_, cell)| cell.is_none()).count();
        let statics_only = self.has_clustering && nulls == clustered.count();
        if nulls > 0 && !(statics_only && self.has_statics) {
            return Err(self.corrupt(place, "a clustering column is null"));
        }
        let mut partition = Vec::new();
        for (column, cell) in self.layout.columns.iter().zip(&cells) {
            if column.role == ColumnRole::PartitionKey {
                let cell =
                    cell.as_deref().ok_or_else(|| self.corrupt(place, "a column of the partition key is null"))?;
                partition.push(cell);
            }
        }
        let serialized = token::serialized_key(&partition);
        let ring = (token::token_of_serialized(&serialized).0 ^ i64::MIN).to_be_bytes();
        let mut key = ring.to_vec();
        order::escaped(&serialized, &mut key);
        let mut records = Vec::with_capacity(2);
        if self.has_statics {
            records.extend(self.static_record(&key, &cells, statics_only, place)?);
        }
        if !statics_only {
            key.push(ROW);
            for (index, column) in self.layout.columns.iter().enumerate() {
                if column.role == ColumnRole::Clustering {
                    let cell = cells[index].as_deref().unwrap_or_default();
                    order::append_clustering(&column.cql_type, cell, self.reversed[index], &mut key);
                }
            }
            records.push(self.record(LineKind::Row, key, &cells, place)?);
        }
        Ok(records)
    }

    /// The statics of a row's partition; nothing where the row before told them.
    fn static_record(
        &mut self,
        partition: &[u8],
        cells: &[Option<Vec<u8>>],
        statics_only: bool,
        place: Place<'_>,
    ) -> Result<Option<Record>> {
        let is_static = |index: &usize| self.layout.columns[*index].role == ColumnRole::Static;
        let any = (0..cells.len()).filter(is_static).any(|index| cells[index].is_some());
        if statics_only && !any {
            return Err(self.corrupt(place, "all clustering and static columns are null"));
        }
        let mut key = partition.to_vec();
        key.push(STATIC);
        let record = if any {
            self.record(LineKind::Static, key, cells, place)?
        } else {
            Record { key, file: place.file, at: place.line, is_static: true, ..Record::default() }
        };
        let same = |last: &Record| last.key == record.key && last.line == record.line;
        if self.last_static.as_ref().is_some_and(same) {
            return Ok(None);
        }
        self.last_static = Some(record.clone());
        Ok(Some(record))
    }

    fn record(&mut self, kind: LineKind, key: Vec<u8>, cells: &[Option<Vec<u8>>], place: Place<'_>) -> Result<Record> {
        let cells: Vec<Option<&[u8]>> = cells.iter().map(Option::as_deref).collect();
        let mut line = Vec::new();
        let encoded = self.encoder.encode(kind, &cells, &[], &ElementTimes::default(), &mut line)?;
        let key_only = encoded.facts.key_only_rows > 0;
        Ok(Record { key, file: place.file, at: place.line, line, is_static: kind == LineKind::Static, key_only })
    }

    /// The raw cells of a row, by column.
    fn cells(&mut self, row: &[u8], place: Place<'_>) -> Result<Vec<Option<Vec<u8>>>> {
        let members = match json::parse(row) {
            Ok(Json::Object(members)) => members,
            Ok(_) => return Err(self.corrupt(place, "it is no object")),
            Err(defect) => return Err(self.corrupt(place, defect)),
        };
        let columns = self.names.columns(members.iter().map(|(name, _)| name.as_ref()));
        let columns = columns.map_err(|misfit| self.corrupt(place, &misfit.to_string()))?;
        let mut cells = vec![None; self.layout.columns.len()];
        for (index, (_, json)) in columns.into_iter().zip(&members) {
            let column = &self.layout.columns[index];
            if *json == Json::Null || (column.multi_cell && is_nothing(&column.cql_type, json)) {
                continue;
            }
            let (mut cell, mut losses) = (Vec::new(), Losses::default());
            value::read(&column.cql_type, json, &mut losses, &mut cell).map_err(|defect| {
                Error::invalid(format!(
                    "a value of {}.{}, column {:?} ({}), can't be told from what cassandra-backup-tool wrote ({}, line \
                     {}): {defect}; read it from the database again, or correct the file by hand",
                    self.layout.keyspace, self.layout.table, column.name, column.type_text, place.file_name, place.line
                ))
            })?;
            self.losses[index].add(losses);
            cells[index] = Some(cell);
        }
        Ok(cells)
    }

    fn corrupt(&self, place: Place<'_>, reason: &str) -> Error {
        Error::corrupt(format!(
            "{} (line {}) holds no row of {}.{}: {reason}",
            place.file_name, place.line, self.layout.keyspace, self.layout.table
        ))
    }
}

/// What a collection or user type without any cell is written as.
fn is_nothing(cql_type: &CqlType, json: &Json<'_>) -> bool {
    match json {
        Json::Array(fields) if matches!(cql_type, CqlType::Udt(_)) => fields.iter().all(|field| *field == Json::Null),
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => false,
    }
}
