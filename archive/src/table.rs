//! The columns of a table in the order of a row line: partition key, clustering, then static and regular by name.

use std::collections::HashSet;

use ringvault_proto::v1;

use crate::{
    cql_type::{CqlType, UserTypes},
    error::{Error, Result},
};

/// Columns of a table, at most: the time sum counts them with 16 bits, as CQL's own messages do.
pub const COLUMNS_MAX: usize = 1 << 16;

/// Role of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ColumnRole {
    PartitionKey,
    Clustering,
    Static,
    Regular,
}

impl ColumnRole {
    /// Part of the primary key.
    #[must_use]
    pub fn is_key(self) -> bool {
        matches!(self, Self::PartitionKey | Self::Clustering)
    }

    /// Where columns of this role stand in a row line; static and regular ones never share a line.
    fn rank(self) -> u8 {
        match self {
            Self::PartitionKey => 0,
            Self::Clustering => 1,
            Self::Static | Self::Regular => 2,
        }
    }
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
    /// The type as the database writes it, for messages: `frozen<map<text, int>>`.
    pub type_text: String,
}

impl ColumnLayout {
    /// Its elements or fields can carry times of their own: a non-frozen map, set or user type, but no list, whose elements
    /// can't be addressed.
    #[must_use]
    pub fn has_element_times(&self) -> bool {
        self.multi_cell && matches!(self.cql_type, CqlType::Set(_) | CqlType::Map(..) | CqlType::Udt(_))
    }
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
    /// `Invalid` for a type that CQL can't select or bind (custom types), for one that names an unknown type, and for
    /// columns that are no table's: none in the partition key, a name twice, or in another order than a row line's.
    pub fn from_message(message: &v1::InspectedTable) -> Result<Self> {
        let name = message.table.clone().unwrap_or_default();
        let on_table = |what: String| {
            Error::invalid(format!("table {}.{} can't be backed up or restored: {what}", name.keyspace, name.table))
        };
        let types = UserTypes::from_message(&message.types).map_err(|e| on_table(e.to_string()))?;
        let columns = message
            .columns
            .iter()
            .map(|column| column_layout(column, &types))
            .collect::<Result<Vec<_>, String>>()
            .and_then(|columns| check_columns(&columns).map(|()| columns))
            .map_err(on_table)?;
        Ok(Self { keyspace: name.keyspace, table: name.table, columns, counter: message.counter })
    }

    /// The index of the column of this (unquoted) name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Whether partitions may have static lines.
    #[must_use]
    pub fn has_statics(&self) -> bool {
        self.columns.iter().any(|column| column.role == ColumnRole::Static)
    }
}

fn column_layout(column: &v1::Column, types: &UserTypes) -> Result<ColumnLayout, String> {
    let role = match column.kind() {
        v1::ColumnKind::PartitionKey => ColumnRole::PartitionKey,
        v1::ColumnKind::Clustering => ColumnRole::Clustering,
        v1::ColumnKind::Static => ColumnRole::Static,
        v1::ColumnKind::Regular => ColumnRole::Regular,
        v1::ColumnKind::Unspecified => return Err(format!("the role of column {:?} is not known", column.name)),
    };
    let (cql_type, frozen) = CqlType::parse_column(&column.r#type, types).map_err(|e| {
        format!("column {:?}: {e}; leave the table out by naming the others with --tables", column.name)
    })?;
    let of_cells = matches!(cql_type, CqlType::List(_) | CqlType::Set(_) | CqlType::Map(..) | CqlType::Udt(_));
    let multi_cell = of_cells && !frozen && !role.is_key();
    let list_of_cells = multi_cell && matches!(cql_type, CqlType::List(_));
    Ok(ColumnLayout {
        name: column.name.clone(),
        role,
        timed: !role.is_key() && cql_type != CqlType::Counter && !list_of_cells,
        multi_cell,
        cql_type,
        type_text: column.r#type.clone(),
    })
}

fn check_columns(columns: &[ColumnLayout]) -> Result<(), String> {
    if columns.len() > COLUMNS_MAX {
        return Err(format!("it has {} columns, {COLUMNS_MAX} are the most", columns.len()));
    }
    if columns.first().is_none_or(|column| column.role != ColumnRole::PartitionKey) {
        return Err("its columns don't start with a partition key".to_owned());
    }
    if !columns.is_sorted_by_key(|column| column.role.rank()) {
        return Err("its columns are not in the order partition key, clustering, others".to_owned());
    }
    let mut names = HashSet::new();
    match columns.iter().find(|column| !names.insert(column.name.as_str())) {
        Some(twice) => Err(format!("column {:?} stands there twice", twice.name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ringvault_proto::error::ErrorKind;

    use super::*;

    fn column(name: &str, kind: v1::ColumnKind, cql_type: &str) -> v1::Column {
        v1::Column { name: name.to_owned(), kind: kind.into(), r#type: cql_type.to_owned(), reversed: false }
    }

    fn table(columns: Vec<v1::Column>) -> v1::InspectedTable {
        let address = v1::UserType {
            name: "address".to_owned(),
            fields: vec![column("street", v1::ColumnKind::Unspecified, "text")],
        };
        v1::InspectedTable {
            table: Some(v1::TableName { keyspace: "shop".to_owned(), table: "orders".to_owned() }),
            columns,
            types: vec![address],
            ..v1::InspectedTable::default()
        }
    }

    #[test]
    fn keys_counters_and_lists_of_cells_are_not_timed() {
        use v1::ColumnKind::{Clustering, PartitionKey, Regular, Static};
        let layout = TableLayout::from_message(&table(vec![
            column("pk", PartitionKey, "frozen<list<int>>"),
            column("ck", Clustering, "list<int>"),
            column("st", Static, "frozen<address>"),
            column("c", Regular, "counter"),
            column("fl", Regular, "frozen<list<int>>"),
            column("l", Regular, "list<int>"),
            column("m", Regular, "map<int, int>"),
            column("t", Regular, "tuple<int, int>"),
            column("u", Regular, "address"),
        ]))
        .expect("a table");
        let flags: Vec<_> = layout.columns.iter().map(|c| (c.name.as_str(), c.multi_cell, c.timed)).collect();
        assert_eq!(
            flags,
            [
                ("pk", false, false),
                ("ck", false, false),
                ("st", false, true),
                ("c", false, false),
                ("fl", false, true),
                ("l", true, false),
                ("m", true, true),
                ("t", false, true),
                ("u", true, true),
            ]
        );
        assert_eq!(layout.column("l"), Some(5));
        assert!(layout.has_statics());
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_name_and_column() {
        use v1::ColumnKind::{Clustering, PartitionKey, Regular, Unspecified};
        let pk = column("pk", PartitionKey, "int");
        for (columns, part) in [
            (vec![], "partition key"),
            (vec![column("v", Regular, "int")], "partition key"),
            (vec![pk.clone(), column("v", Unspecified, "int")], "role of column \"v\""),
            (vec![pk.clone(), column("v", Regular, "'com.example.Money'")], "column \"v\": type 'com.example.Money'"),
            (vec![pk.clone(), column("v", Regular, "int"), column("ck", Clustering, "int")], "order"),
            (vec![pk, column("pk", Regular, "int")], "column \"pk\" stands there twice"),
        ] {
            let error = TableLayout::from_message(&table(columns)).expect_err(part);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("shop.orders") && error.to_string().contains(part), "{error}");
        }
    }
}
