//! Names of tables: to be ordered, looked up and told.

use std::fmt;

use ringvault_proto::v1;

/// A table by keyspace and name, unquoted. Several keyspaces of a job may hold tables of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableKey {
    pub(crate) keyspace: String,
    pub(crate) table: String,
}

impl TableKey {
    /// The name of an inspected table.
    pub(crate) fn of(table: &v1::InspectedTable) -> Self {
        table.table.as_ref().map(Self::from).unwrap_or_default()
    }
}

impl From<&v1::TableName> for TableKey {
    fn from(name: &v1::TableName) -> Self {
        Self { keyspace: name.keyspace.clone(), table: name.table.clone() }
    }
}

impl From<&TableKey> for v1::TableName {
    fn from(key: &TableKey) -> Self {
        Self { keyspace: key.keyspace.clone(), table: key.table.clone() }
    }
}

impl fmt::Display for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.keyspace, self.table)
    }
}
