//! The columns of a table in the order of a row line: partition key, clustering, then static and regular by name.

use ringvault_proto::v1;

use crate::{cql_type::CqlType, error::Result};

/// Role of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ColumnRole {
    PartitionKey,
    Clustering,
    Static,
    Regular,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnLayout {
    /// Unquoted.
    pub name: String,
    /// Its role.
    pub role: ColumnRole,
    /// Its type.
    pub cql_type: CqlType,
    /// A non-frozen collection or UDT: made of cells of their own.
    pub multi_cell: bool,
    /// Its times are part of the time sum: not key columns, not counters, not non-frozen lists (restored lists get
    /// new element times).
    pub timed: bool,
    /// The index of the column's key in the type text, for messages: `frozen<map<text, int>>`.
    pub type_text: String,
}

/// What one needs to know of a table to read and write its row lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLayout {
    /// Unquoted.
    pub keyspace: String,
    /// Unquoted.
    pub table: String,
    /// All columns, in row order.
    pub columns: Vec<ColumnLayout>,
    /// A counter table.
    pub counter: bool,
}

impl TableLayout {
    /// From the message that inspection, index and shards carry.
    ///
    /// # Errors
    /// `Invalid` for a type that CQL can't select or bind (custom types) and for one that names an unknown type.
    pub fn from_message(_message: &v1::InspectedTable) -> Result<Self> {
        unimplemented!("helper ROW writes this")
    }
}
