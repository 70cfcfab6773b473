//! What encoder and decoder know of a table: its columns with their JSON keys, and which cells a line must have.

use std::sync::Arc;

use super::{LineKind, cursor::Defect, text};
use crate::{
    cql_type::CqlType,
    error::{Error, Result},
    table::{ColumnRole, TableLayout},
};

/// The columns of a table, ready to be written and read.
pub(super) struct LinePlan {
    /// `keyspace.table`, for messages.
    pub(super) table: String,
    pub(super) columns: Vec<ColumnPlan>,
    /// Columns by role. Only where there are statics, lines differ in kind, and clustering columns tell it.
    partition_key: Vec<usize>,
    clustering: Vec<usize>,
    statics: Vec<usize>,
    regular: Vec<usize>,
}

/// One column.
pub(super) struct ColumnPlan {
    name: String,
    /// Its JSON key with quotes and colon.
    pub(super) key: Vec<u8>,
    pub(super) role: ColumnRole,
    pub(super) cql_type: CqlType,
    pub(super) timed: bool,
    /// Its elements may have times of their own in a line: a non-frozen map, set or user type.
    pub(super) elements: bool,
}

/// Where in a line reading has come to, for messages.
#[derive(Default)]
pub(super) struct Place {
    /// The last column that was begun.
    pub(super) column: Option<usize>,
    /// Bytes from the start of the line.
    pub(super) at: usize,
}

impl LinePlan {
    pub(super) fn new(layout: &TableLayout) -> Arc<Self> {
        let columns = layout.columns.iter().map(|column| {
            let mut key = Vec::new();
            text::write_name(&column.name, &mut key);
            ColumnPlan {
                name: column.name.clone(),
                key,
                role: column.role,
                cql_type: column.cql_type.clone(),
                timed: column.timed,
                elements: column.has_element_times(),
            }
        });
        let of_role = |role: ColumnRole| {
            let columns = layout.columns.iter().enumerate().filter(move |(_, column)| column.role == role);
            columns.map(|(index, _)| index).collect()
        };
        Arc::new(Self {
            table: format!("{}.{}", layout.keyspace, layout.table),
            columns: columns.collect(),
            partition_key: of_role(ColumnRole::PartitionKey),
            clustering: of_role(ColumnRole::Clustering),
            statics: of_role(ColumnRole::Static),
            regular: of_role(ColumnRole::Regular),
        })
    }

    /// Checks that the key cells stand there that a line of this kind can't do without.
    pub(super) fn check_keys(&self, kind: LineKind, is_there: impl Fn(usize) -> bool) -> Result<()> {
        let missing = self.partition_key.iter().find(|column| !is_there(**column));
        let what = match missing {
            Some(column) => format!("{:?} is null", self.columns[*column].name),
            None if kind == LineKind::Row && self.has_statics() && !self.clustering.iter().any(|c| is_there(*c)) => {
                "all its clustering columns are null".to_owned()
            }
            None => return Ok(()),
        };
        Err(Error::corrupt(format!("the database gave a row of {} that it can't have: of its key, {what}", self.table)))
    }

    /// What a line is that holds these cells.
    pub(super) fn kind_of(&self, is_there: impl Fn(usize) -> bool) -> Result<LineKind, Defect> {
        let has_any = |columns: &[usize]| columns.iter().any(|column| is_there(*column));
        if !self.partition_key.iter().all(|column| is_there(*column)) {
            return Err("a column of the partition key is missing, or a column is unknown or out of order");
        }
        if !self.has_statics() {
            return Ok(LineKind::Row);
        }
        match (has_any(&self.clustering), has_any(&self.statics), has_any(&self.regular)) {
            (true, false, _) => Ok(LineKind::Row),
            (false, _, false) => Ok(LineKind::Static),
            (true, true, _) => Err("a row holds a static column"),
            (false, _, true) => Err("a row holds no clustering column"),
        }
    }

    fn has_statics(&self) -> bool {
        !self.statics.is_empty()
    }

    /// The error of a cell that has not the elements that times came for.
    pub(super) fn no_such_elements(&self, column: usize) -> Error {
        Error::corrupt(format!(
            "the database gave times for elements of column {:?} of {} that its value does not have",
            self.columns[column].name, self.table
        ))
    }

    /// The error of a line that can't be read.
    pub(super) fn corrupt(&self, place: &Place, defect: Defect) -> Error {
        let column = place.column.and_then(|index| self.columns.get(index));
        let column = column.map(|column| format!(" in or behind column {:?}", column.name)).unwrap_or_default();
        Error::corrupt(format!(
            "a row line of {} can't be read: {defect} (byte {}{column}); it is damaged, or was written for other \
             columns than its index says",
            self.table, place.at
        ))
    }
}
